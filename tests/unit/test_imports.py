"""What a worker that sells does not import: each module, and each optional package, is there for whoever uses it."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: What only commands, the back office, other processes or certain pages need; with all that is in it.
WHEN_USED = (
    "flask_zeus_cvs.simulator",
    "flask_zeus_cvs.contrib",
    "flask_zeus_cvs.drill",
    "flask_zeus_cvs.purge",
    "flask_zeus_cvs.cli.",
    "flask_zeus_cvs.staff.",
    "celery",
    "redis",
    "flask_admin",
    "flask_migrate",
    "holidays",
    "opentelemetry",
    "segno",
    "barcode",
)
#: Small, and part of the package's front.
EXCEPT = ("flask_zeus_cvs.staff.health",)

IMPORTED = "import flask_zeus_cvs"
SET_UP = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_zeus_cvs import ZeusCVS
app = Flask("shop")
app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", ZEUS_CVS_CLIENT_IP="1234567890", TESTING=True)
db = SQLAlchemy(app)
ZeusCVS(app, db)
"""
SERVING = f"""{SET_UP}
app.secret_key = "not a secret"
with app.app_context():
    db.create_all()
assert app.test_client().get("/zeus-cvs/checkout/nobody", base_url="https://localhost").status_code == 404
"""


@pytest.mark.parametrize("script", [IMPORTED, SET_UP, SERVING], ids=["imported", "set up", "serving"])
def test_nothing_is_imported_that_nobody_uses(script: str) -> None:
    """Importing the package, setting it up and answering a customer leave all of this alone."""
    look = f"{script}\nimport sys; print('\\n'.join(sys.modules))"
    modules = subprocess.check_output([sys.executable, "-c", look], text=True).split()
    assert "flask_zeus_cvs.payments" in modules
    assert [each for each in modules if each.startswith(WHEN_USED) and each not in EXCEPT] == []


def test_no_database_is_imported_with_us() -> None:
    """SQLAlchemy's part for MariaDB, which takes a while, is imported when an app is set up and no sooner."""
    modules = subprocess.check_output(
        [sys.executable, "-c", f"{IMPORTED}; import sys; print(*sys.modules)"], text=True
    ).split()
    assert not any(each.startswith("sqlalchemy.dialects.mysql") for each in modules)


NOTICE_FIRST = f"""{SET_UP.replace("ZeusCVS(", "zeus = ZeusCVS(")}
with app.app_context():
    db.create_all()
    print(zeus.receive(b"clientip=9999999999&order_no=7&money=3000&status=04").verdict)
"""


def test_a_notice_may_be_the_first_that_a_process_sees() -> None:
    """A fresh process that has neither made a payment nor looked for one keeps a notice as any other does."""
    said = subprocess.run([sys.executable, "-c", NOTICE_FIRST], capture_output=True, text=True, check=False)
    assert (said.stdout, said.returncode) == ("review\n", 0), said.stderr
