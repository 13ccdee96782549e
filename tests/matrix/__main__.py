"""The command: which Pythons, which dependencies, how much; ends with a table, and with 1 if anything failed."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.matrix import environments
from tests.matrix.environments import DEPENDENCIES, PYTHONS, Environment, Failed, run
from tests.packaging.buying import OPTIONAL

ROOT = Path(__file__).resolve().parents[2]
#: What runs, in this order: of the packaging only the wheel; the rest is about a clone.
TESTS = ("tests/unit", "tests/database", "tests/wire", "example_shop/tests", "tests/packaging/test_wheel.py")
#: On which databases: CI has the newest dependencies meet all three.
DATABASES = {"newest": "not postgresql and not mariadb", "lowest": ""}
SHOWN = ("Flask", "SQLAlchemy", "WTForms", "requests")
#: Seconds for one environment's tests, several times what they take.
LIMIT = 2400


@dataclass(frozen=True)
class Built:
    """What was built, and the sdist without the package."""

    wheel: Path
    sdist: Path
    project: Path


@dataclass(frozen=True)
class Row:
    """One environment's line of the table."""

    python: str
    dependencies: str
    versions: tuple[str, ...]
    passed: int
    failed: int
    skipped: int
    seconds: float


def main() -> int:
    """Run what was asked for; returns the exit code."""
    asked = arguments()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="matrix-") as place:
        try:
            built = build(Path(place))
            rows = list(environment_rows(asked, built, Path(place)))
            broken = [] if asked.quick else alone(asked, built, Path(place))
        except Failed as error:
            say(str(error))
            return 1
    say(
        "",
        *table(rows),
        *(f"Absent, skipped: Python {each}" for each in asked.python if not environments.found(each)),
    )
    say(*(f"FAILED: the extra {each}" for each in broken))
    say(f"{(time.monotonic() - began) / 60:.1f} minutes in all")
    return int(not rows or bool(broken) or any(row.failed or not row.passed for row in rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.matrix", description="The package as others install it."
    )
    parser.add_argument("--python", action="append", choices=PYTHONS, help="only this one; may be repeated")
    parser.add_argument("--deps", action="append", choices=[*DEPENDENCIES], help="only these")
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--quick", action="store_true", help="unit tests only")
    much.add_argument(
        "--smoke", action="store_true", help="no tests: the wheel alone, and one order in the sandbox"
    )
    asked = parser.parse_args()
    asked.python = asked.python or list(PYTHONS)
    asked.deps = asked.deps or [*DEPENDENCIES]
    return asked


def build(place: Path) -> Built:
    """Build the sdist, and the wheel from it; check both; unpack the sdist, without the package."""
    say("Building sdist and wheel")
    dist = place / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, ROOT, cwd=place)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, cwd=place)
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "sdist", filter="data")
    (project,) = (place / "sdist").iterdir()
    shutil.rmtree(project / "flask_zeus_cvs")
    return Built(wheel, sdist, project)


def environment_rows(asked: argparse.Namespace, built: Built, place: Path) -> Iterator[Row]:
    """Go through the environments, one at a time."""
    for version in asked.python:
        python = environments.found(version)
        for dependencies in asked.deps if python is not None else ():
            assert python is not None
            began = time.monotonic()
            environment = environments.make(place / f"{version}-{dependencies}", python)
            try:
                passed, failed, skipped = tried(asked, environment, dependencies, built)
            except Failed as error:
                say(str(error))
                passed, failed, skipped = 0, 1, 0
            took = time.monotonic() - began
            say(f"Python {version}, {dependencies}: {passed} passed, {failed} failed, {took:.0f} s")
            yield Row(version, dependencies, shown(environment), passed, failed, skipped, took)
            shutil.rmtree(environment.folder)


def tried(
    asked: argparse.Namespace, environment: Environment, dependencies: str, built: Built
) -> tuple[int, int, int]:
    """Install and run; returns how many passed, failed and were skipped."""
    requirements, extras = built.project / "pyproject.toml", () if asked.smoke else ("--all-extras",)
    environments.install(environment, built.wheel, dependencies, requirements, *extras)
    if asked.smoke:
        return bought(environment, built)
    environments.install_tests(environment, requirements)
    code = "import flask_zeus_cvs; print(flask_zeus_cvs.__file__)"
    where = run(environment.python, "-c", code, cwd=built.project).strip()
    if not Path(where).is_relative_to(environment.folder):
        raise Failed(f"what would be tested is not what was installed, but {where}")
    return tested(environment, built, TESTS[:1] if asked.quick else TESTS, DATABASES[dependencies])


def bought(environment: Environment, built: Built) -> tuple[int, int, int]:
    """Place one order where only the wheel is, and what it asks for: nothing of the extras."""
    script = built.project / "tests/packaging/buying.py"
    printed = run(environment.python, "-W", "error", script, cwd=built.wheel.parent)
    told = json.loads(printed.splitlines()[-1])  # what it logs comes before
    if told["pages"] != [200, 200, 200] or not told["number shown"] or told["missing"] != OPTIONAL:
        raise Failed(json.dumps(told))
    return 1, 0, 0


def tested(environment: Environment, built: Built, tests: Sequence[str], chosen: str) -> tuple[int, int, int]:
    """Run the chosen tests of the sdist against what is installed; what pytest says is shown as it comes."""
    report = environment.folder / "report.xml"
    command = [
        environment.python,
        "-m",
        "pytest",
        "-q",
        "--no-header",
        "-n",
        "auto",
        "-p",
        "no:cacheprovider",
    ]
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [*map(str, command), "-k", chosen, f"--junitxml={report}", *tests],
            cwd=built.project,
            env=environments.surroundings(ZEUS_CVS_BUILT=str(built.wheel.parent)),
            timeout=LIMIT,
            check=False,
        )
    if not report.exists():
        raise Failed(f"pytest wrote no report in {LIMIT} seconds")
    suite = ElementTree.parse(report).getroot()[0]
    ran, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    return ran - failed - skipped, failed, skipped


def alone(asked: argparse.Namespace, built: Built, place: Path) -> list[str]:
    """Install each extra alone, with the first Python that is here; returns those that fail."""
    python = next(filter(None, map(environments.found, asked.python)), None)
    if python is None:
        return []
    say("Installing each extra alone")
    (place / "extras").mkdir()
    results = environments.extras(built.wheel, python, place / "extras")
    return [f"{name}: {error}" for name, error in results if error]


def shown(environment: Environment) -> tuple[str, ...]:
    try:
        versions = environment.versions()
    except Failed:
        versions = {}
    return tuple(versions.get(name.lower(), "–") for name in SHOWN)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of the table."""
    line = "{:7} {:7}" + " {:11}" * len(SHOWN) + " {:>7} {:>7} {:>8} {:>8}"
    yield line.format("Python", "deps", *SHOWN, "passed", "failed", "skipped", "minutes")
    for row in rows:
        counts = row.passed, row.failed, row.skipped, f"{row.seconds / 60:.1f}"
        yield line.format(row.python, row.dependencies, *row.versions, *counts)


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
