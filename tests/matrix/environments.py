"""The environments: which Pythons there are, and what is installed for them. uv does it, as pip knows no lowest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: As in the classifiers of pyproject.toml, which a test compares.
PYTHONS = ("3.11", "3.12", "3.13")
#: Which dependencies, and how uv calls that.
DEPENDENCIES: Mapping[str, str] = {"newest": "highest", "lowest": "lowest-direct"}
#: Each extra, and what works only with it.
EXTRAS: Mapping[str, str] = {
    "admin": "import flask_zeus_cvs.contrib.admin",
    "babel": "import flask_zeus_cvs.web.texts as it; assert it.get_locale",
    "celery": "import flask_zeus_cvs.contrib.celery",
    "holidays": "import flask_zeus_cvs.staff.hours as it; assert it.holidays",
    "otel": "import flask_zeus_cvs.contrib.otel as it; it.instrument()",
    "qr": "import flask_zeus_cvs.web.qr as it; assert it._IS_INSTALLED",
    "sandbox": "import flask_zeus_cvs.simulator.barcode as it; assert it.modules('1234567890123')",
}
#: Nothing that a developer's shell says of Python, and no CI: what is missing here is skipped, and counted.
_UNSET = ("CI", "PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "VIRTUAL_ENV")


class Failed(Exception):
    """A command failed, and has said why."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def install(self, *what: str | Path) -> None:
        uv("pip", "install", "--python", self.python, *what)

    def versions(self) -> dict[str, str]:
        """What is installed, by names in lower case."""
        listed = uv("pip", "freeze", "--python", self.python)
        pairs = (line.partition("==") for line in listed.lower().splitlines())
        return {name: version for name, _, version in pairs if version}


def found(version: str) -> Path | None:
    """Find a Python of this version: on the PATH, or pyenv's newest of it."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    ours = sorted(pyenv.glob(f"{version}.*/bin/python"), key=_patch, reverse=True)
    on_path = shutil.which(f"python{version}")
    for each in (Path(on_path) if on_path else None, *ours):
        if each is not None and _is(each, version):
            return each
    return None


def _patch(python: Path) -> int:
    number = python.parents[1].name.rpartition(".")[2]
    return int(number) if number.isdigit() else -1


def _is(python: Path, version: str) -> bool:
    """Whether it runs, and is what it is called: pyenv's stand-ins are there for versions that are not."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    said = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, env=surroundings(), check=False
    )
    return said.stdout.strip() == version


def make(folder: Path, python: Path) -> Environment:
    uv("venv", "--clear", "--seed", "--python", python, folder)
    return Environment(folder)


def install(
    environment: Environment, wheel: Path, dependencies: str, requirements: Path, *options: str
) -> None:
    """Install the wheel, not editable, with the lowest or the newest of what ``requirements`` names."""
    environment.install(f"--resolution={DEPENDENCIES[dependencies]}", "-r", requirements, *options, wheel)


def install_tests(environment: Environment, project: Path) -> None:
    """Install what the tests need besides, without moving what the package asked for."""
    fixed = environment.folder / "fixed.txt"
    fixed.write_text(
        "".join(f"{name}=={version}\n" for name, version in environment.versions().items()), "utf-8"
    )
    environment.install("-c", fixed, "--group", f"{project}:test")


def extras(wheel: Path, python: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Install each extra alone; yields its name and what went wrong, if anything."""
    for name, use in EXTRAS.items():
        environment = make(folder / name, python)
        try:
            environment.install(f"{wheel}[{name}]")
            run(environment.python, "-W", "error", "-c", use, cwd=folder)
        except Failed as error:
            yield name, str(error)
        else:
            yield name, ""


def uv(*arguments: str | Path) -> str:
    return run(sys.executable, "-m", "uv", "--quiet", *arguments, cwd=Path.cwd())


def run(*command: str | Path, cwd: Path) -> str:
    """Run to the end, and return what was said. Raises `Failed` with it."""
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def surroundings(**more: str) -> dict[str, str]:
    """The environment variables of what is started."""
    return {name: value for name, value in os.environ.items() if name not in _UNSET} | more
