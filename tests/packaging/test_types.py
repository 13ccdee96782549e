"""What a shop's own type checker makes of the installed package: `tests/typing` is checked as a shop's code would be."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.packaging.commands import run

SAMPLES = Path(__file__).parents[1] / "typing"
#: As strict as mypy gets, and pyright as it comes. The samples themselves ask for a needless ignore to be an error.
CHECKERS = {
    "mypy": ("--strict", "--config-file=", "--cache-dir=cache", "--python-executable"),
    "pyright": ("--pythonpath",),
}
#: Something wrong that nothing hides, and something right that is said to be wrong.
BROKEN = """
# pyright: reportUnnecessaryTypeIgnoreComment=true
from flask_zeus_cvs import ZeusCVS
zeus = ZeusCVS()
zeus.create_payment(amount="3000", reference="A-1001")
zeus.create_payment(amount=3000, reference="A-1001")  # type: ignore[arg-type]
"""


@pytest.fixture(scope="session")
def shop(elsewhere: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop's code, and beside it a virtual environment with the wheel; its other packages are this Python's."""
    folder = tmp_path_factory.mktemp("shop")
    venv.create(folder / "venv", with_pip=False)
    base = str(folder / "venv")
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": base, "platbase": base}))
    shutil.copytree(elsewhere, packages, dirs_exist_ok=True)
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    for each in SAMPLES.glob("*.py"):
        shutil.copy(each, folder)
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "basic"}), "utf-8")
    return folder


def check(checker: str, shop: Path, *files: Path) -> str:
    """Have a shop's files checked; fails with what the checker said."""
    if importlib.util.find_spec(checker) is None:
        missing(checker)
    python = shop / "venv" / Path(sys.executable).relative_to(sys.prefix)
    command: tuple[str | Path, ...] = (sys.executable, "-m", checker, *CHECKERS[checker], python, *files)
    return run(*command, cwd=shop, PYRIGHT_PYTHON_IGNORE_WARNINGS="1")


def test_the_shop_has_the_wheel_and_no_source_of_ours(shop: Path, elsewhere: Path) -> None:
    """What is checked below is what was installed."""
    python = shop / "venv" / Path(sys.executable).relative_to(sys.prefix)
    code = "import flask_zeus_cvs; print(flask_zeus_cvs.__file__)"
    assert Path(run(python, "-c", code, cwd=shop).strip()).is_relative_to(shop / "venv")


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_shops_code_has_the_types_that_are_promised(checker: str, shop: Path) -> None:
    """What is right has the types that are asserted, and what is wrong is an error, in every sample."""
    samples = sorted(shop.glob("*.py"))
    assert len(samples) >= 4
    check(checker, shop, *samples)


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_mistake_and_a_needless_ignore_are_found(checker: str, shop: Path, tmp_path: Path) -> None:
    """The test above can fail: neither checker takes the package for `Any`, and an ignore proves an error."""
    broken = tmp_path / "broken.py"
    broken.write_text(BROKEN, "utf-8")
    with pytest.raises(AssertionError) as told:
        check(checker, shop, broken)
    assert all(f"broken.py:{line}" in str(told.value) for line in (5, 6))
