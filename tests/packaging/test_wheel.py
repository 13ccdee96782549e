"""What is shipped: the wheel has everything that runs, and nothing else; installed elsewhere, it works alone."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import pytest

from flask_zeus_cvs import __version__
from tests.conftest import missing

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flask_zeus_cvs"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command to its end, and return what it said."""
    done = subprocess.run(
        [str(each) for each in command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONUTF8": "1", **environment},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and a wheel built from it: nothing that the sdist lacks can be in the wheel."""
    for needed in ("build", "hatchling"):
        if importlib.util.find_spec(needed) is None:
            missing(needed)
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, far from the sources, that the wheel is installed into; its dependencies are this Python's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder)
    return folder


def test_the_wheel_has_all_of_the_package_and_nothing_else(wheel: Path) -> None:
    """Every source, template, style sheet and marker is in it; no test, no example, no leftovers."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if path.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}
    facts = f"flask_zeus_cvs-{__version__}.dist-info"
    assert names == ours | {
        f"{facts}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    for needed in (
        "py.typed",
        "static/zeus_cvs.css",
        "templates/zeus_cvs/checkout.html",
        "templates/zeus_cvs/result/lawson.html",
        "simulator/static/sandbox.css",
        "simulator/templates/counter.html",
    ):
        assert f"flask_zeus_cvs/{needed}" in names


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    """Name, version, licence and Python are told; the sandbox's fixture is found by pytest; no path of ours leaks."""
    facts = f"flask_zeus_cvs-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"{facts}/METADATA").decode())
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


def test_the_sdist_has_what_its_own_tests_need(built: Path) -> None:
    """Sources, tests, example, docs and the pages that the README links to; no environment, no database."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in (
        *(
            "pyproject.toml",
            "Makefile",
            "LICENSE",
            "README.md",
            "README.ja.md",
            "CHANGELOG.md",
            "SECURITY.md",
        ),
        *("CONTRIBUTING.md", "flask_zeus_cvs/py.typed", "tests/conftest.py", "tests/packaging/test_wheel.py"),
    ):
        assert needed in names
    assert any(name.startswith("docs/") for name in names)
    assert any(name.startswith("example_shop/") for name in names)
    tops = {name.partition("/")[0] for name in names}
    assert not tops & {".venv", ".git", "instance", "dist", "build", ".hypothesis", ".mypy_cache"}
    assert not [name for name in names if name.endswith((".db", ".pyc"))]


BUYING = '''
"""A shop that has only the installed package."""
import importlib, json, pkgutil, sys
from importlib.metadata import distributions

sys.path.insert(0, sys.argv[1])
import flask_zeus_cvs
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_zeus_cvs.simulator import Simulator

for module in pkgutil.walk_packages(flask_zeus_cvs.__path__, "flask_zeus_cvs."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
app = Flask("shop")
db = SQLAlchemy()
zeus = flask_zeus_cvs.ZeusCVS()
with Simulator() as sandbox:
    app.config.update(TESTING=True, SECRET_KEY="not a secret", SQLALCHEMY_DATABASE_URI="sqlite://")
    app.config.update(ZEUS_CVS_CLIENT_IP="1234567890", ZEUS_CVS_ENDPOINT=sandbox.endpoint)
    db.init_app(app)
    zeus.init_app(app, db)
    browser = app.test_client()
    with app.app_context():
        db.create_all()
        payment = zeus.create_payment(amount=3000, reference="A-1001")
        db.session.commit()
        form = browser.get(payment.checkout_url, base_url="https://localhost")
        customer = flask_zeus_cvs.Customer("ヤマダ　タロウ", "09012345678", "taro@example.com")
        zeus.submit(payment, customer, "D002")
        result = browser.get(payment.result_url, base_url="https://localhost")
        style = browser.get("/zeus-cvs/static/zeus_cvs.css")
        number = payment.application.pay_no1
modules = [each for name, each in sys.modules.items() if name.split(".")[0] == "flask_zeus_cvs"]
print(json.dumps({
    "files": sorted({each.__file__ for each in modules}),
    "pages": [form.status_code, result.status_code, style.status_code],
    "number shown": number in result.text and "受付番号" in result.text,
    "style": style.mimetype,
    "distributions": [each.version for each in distributions(path=[sys.argv[1]])],
}))
'''


def test_it_works_where_only_the_wheel_is(elsewhere: Path, tmp_path: Path) -> None:
    """Installed elsewhere, it shows the form, applies at the sandbox and shows the numbers with its own files."""
    script = tmp_path / "buying.py"
    script.write_text(BUYING, "utf-8")
    told = json.loads(run(sys.executable, "-I", "-W", "error", script, elsewhere, cwd=tmp_path))
    assert all(file.startswith(str(elsewhere)) for file in told.pop("files"))
    assert told == {
        "pages": [200, 200, 200],
        "number shown": True,
        "style": "text/css",
        "distributions": [__version__],
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
