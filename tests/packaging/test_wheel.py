"""What is shipped: the wheel has everything that runs, and nothing else; installed elsewhere, it works alone."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest
from trove_classifiers import classifiers

from flask_zeus_cvs import __version__
from tests.conftest import missing
from tests.matrix.environments import EXTRAS, PYTHONS
from tests.packaging.commands import BUILT, ROOT, run

#: What stands at the top of the sdist; hatchling adds the two at the end.
PAPERS = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.ja.md",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
    "PKG-INFO",
    ".gitignore",
}
#: Which files each folder of the sdist may have.
KINDS = {
    "flask_zeus_cvs": {".py", ".typed", ".html", ".css", ".js", ".svg", ".po", ".mo"},
    "example_shop": {".py", ".html", ".css", ".svg"},
    "tests": {".py", ".lua"},
    "docs": {".md", ".py", ".css", ".html", ".svg", ".webp"},
}


@pytest.fixture(scope="module")
def contents(built: Path) -> set[str]:
    """The files of the sdist, by their paths in the project."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {each.name.partition("/")[2] for each in archive.getmembers() if each.isfile()}


def test_the_wheel_has_all_of_the_package_and_nothing_else(wheel: Path, contents: set[str]) -> None:
    """Every source, template, style sheet and marker is in it; no test, no example, no leftovers."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {name for name in contents if name.startswith("flask_zeus_cvs/")}
    facts = f"flask_zeus_cvs-{__version__}.dist-info"
    assert names == ours | {
        f"{facts}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    for needed in (
        "py.typed",
        "static/zeus_cvs.css",
        "templates/zeus_cvs/checkout.html",
        "templates/zeus_cvs/result/lawson.html",
        "translations/en/LC_MESSAGES/zeus_cvs.mo",
        "simulator/static/sandbox.css",
        "simulator/templates/counter.html",
    ):
        assert f"flask_zeus_cvs/{needed}" in names


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        told = archive.read(f"flask_zeus_cvs-{__version__}.dist-info/METADATA")
    return Parser().parsestr(told.decode())


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    """Name, version, licence and Python are told; the sandbox's fixture is found by pytest; no path of ours leaks."""
    facts = f"flask_zeus_cvs-{__version__}.dist-info"
    metadata = metadata_of(wheel)
    with zipfile.ZipFile(wheel) as archive:
        entry_points = ConfigParser()
        entry_points.read_string(archive.read(f"{facts}/entry_points.txt").decode())
        licence = archive.read(f"{facts}/licenses/LICENSE")
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert metadata["Name"] == "Flask-Zeus-CVS"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert dict(entry_points["pytest11"]) == {"zeus_cvs": "flask_zeus_cvs.simulator.pytest_plugin"}
    assert str(ROOT).encode() not in everything


def test_the_pythons_that_are_named_are_those_that_are_tested(wheel: Path) -> None:
    """A classifier for each Python of `make matrix`, and for no other; one that the index knows, or it takes nothing."""
    named = metadata_of(wheel).get_all("Classifier", [])
    language = "Programming Language :: Python :: "
    found = {each.removeprefix(language) for each in named if each.startswith(language)}
    assert found == {"3", "3 :: Only", *PYTHONS}
    assert set(named) <= classifiers


def test_the_page_of_an_index_is_the_readme(wheel: Path) -> None:
    """What an index shows of the project is the README, whole, and said to be Markdown."""
    metadata = metadata_of(wheel)
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("paper", ["docs/2-settings.md", "docs/ja/2-settings.md"])
def test_each_extra_is_documented_and_tried_alone(wheel: Path, paper: str) -> None:
    """The settings page has a row for each extra, with what it installs; `make matrix` installs each by itself."""
    metadata = metadata_of(wheel)
    wanted = [each.partition(">=")[0] for each in metadata.get_all("Requires-Dist", []) if "extra ==" in each]
    rows = re.findall(
        r"^\| `Flask-Zeus-CVS\[(\w+)\]` \| ([\w-]+) \|", (ROOT / paper).read_text("utf-8"), re.MULTILINE
    )
    assert [name for name, _ in rows] == sorted(metadata.get_all("Provides-Extra", [])) == sorted(EXTRAS)
    assert sorted(installed.lower() for _, installed in rows) == sorted(each.lower() for each in wanted)


def test_the_sdist_has_what_its_own_tests_need(contents: set[str]) -> None:
    """Sources, tests, example, docs and the pages that the README links to; each file is of a kind that belongs there."""
    assert contents >= {*PAPERS, "tests/conftest.py", "tests/packaging/test_wheel.py", "docs/1-quickstart.md"}
    strange = {
        name
        for name in contents - PAPERS
        if PurePosixPath(name).suffix not in KINDS.get(name.partition("/")[0], ()) or "__pycache__" in name
    }
    assert not strange


def test_the_sdist_has_what_is_in_the_repository_and_nothing_else(contents: set[str]) -> None:
    """What lies about in somebody's clone is not shipped, and what is kept there is: all but the CI's own files."""
    if BUILT or not (ROOT / ".git").exists():
        missing("the repository")
    listed = run("git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard", cwd=ROOT)
    kept = {name for name in listed.splitlines() if not name.startswith(".ci/") and (ROOT / name).is_file()}
    assert contents == kept | {"PKG-INFO"}


def test_it_works_where_only_the_wheel_is(elsewhere: Path, tmp_path: Path) -> None:
    """Installed elsewhere, it shows the form, applies at the sandbox and shows the numbers with its own files."""
    script = shutil.copy(Path(__file__).with_name("buying.py"), tmp_path)
    told = json.loads(run(sys.executable, "-I", "-W", "error", script, elsewhere, cwd=tmp_path))
    assert all(file.startswith(str(elsewhere)) for file in told.pop("files"))
    assert told == {
        "pages": [200, 200, 200],
        "number shown": True,
        "style": "text/css",
        "missing": [],
        "version": __version__,
    }


def test_the_sandbox_starts_where_only_the_wheel_is(elsewhere: Path, tmp_path: Path) -> None:
    """``python -m flask_zeus_cvs.simulator`` is there."""
    told = run(
        sys.executable, "-m", "flask_zeus_cvs.simulator", "--help", cwd=tmp_path, PYTHONPATH=str(elsewhere)
    )
    assert "--notify" in told


def test_a_shops_own_tests_find_the_sandbox(elsewhere: Path, tmp_path: Path) -> None:
    """pytest offers ``zeus_simulator`` to whoever has installed the package."""
    (tmp_path / "test_shop.py").write_text(
        "import flask_zeus_cvs\n"
        "def test_sandbox(zeus_simulator):\n"
        f"    assert flask_zeus_cvs.__file__.startswith({str(elsewhere)!r})\n"
        "    assert zeus_simulator.endpoint.startswith('http://127.0.0.1:')\n",
        "utf-8",
    )
    pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert "1 passed" in run(*pytest_, cwd=tmp_path, PYTHONPATH=str(elsewhere))
