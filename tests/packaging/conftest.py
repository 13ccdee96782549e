"""What is built and installed once for all of these tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.packaging.commands import BUILT, ROOT, run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and a wheel built from it: nothing that the sdist lacks can be in the wheel."""
    if BUILT:
        return Path(BUILT)
    for needed in ("build", "hatchling"):
        if importlib.util.find_spec(needed) is None:
            missing(needed)
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, far from the sources, that the wheel is installed into; its dependencies are this Python's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder)
    return folder
