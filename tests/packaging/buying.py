"""A shop that has the installed package and nothing of this project: it sells one thing, and tells what it saw.

Run as a script, by its path; the first argument, if any, is a folder that the package was installed into.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from typing import Any

#: What the extras and a shop's own tests bring, and nothing else imports.
OPTIONAL = ["celery", "flask_admin", "opentelemetry", "pytest"]


def import_everything() -> Iterator[str]:
    """Import each module of the package; yields which of `OPTIONAL` was missing."""
    package = importlib.import_module("flask_zeus_cvs")
    for module in pkgutil.walk_packages(package.__path__, "flask_zeus_cvs.", onerror=lambda name: None):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                wanted = (error.name or "").partition(".")[0]
                if wanted not in OPTIONAL:
                    raise
                yield wanted


def buy() -> dict[str, Any]:
    """Show the form, apply at the sandbox, show the numbers."""
    from flask import Flask  # noqa: PLC0415  # from the folder of the first argument
    from flask_sqlalchemy import SQLAlchemy  # noqa: PLC0415

    from flask_zeus_cvs import Customer, ZeusCVS  # noqa: PLC0415
    from flask_zeus_cvs.simulator import Simulator  # noqa: PLC0415

    app = Flask("shop")
    db = SQLAlchemy()
    zeus = ZeusCVS()
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
            zeus.submit(payment, Customer("ヤマダ　タロウ", "09012345678", "taro@example.com"), "D002")
            result = browser.get(payment.result_url, base_url="https://localhost")
            style = browser.get("/zeus-cvs/static/zeus_cvs.css")
            application = payment.application
    return {
        "pages": [form.status_code, result.status_code, style.status_code],
        "number shown": application is not None
        and application.pay_no1 in result.text
        and "受付番号" in result.text,
        "style": style.mimetype,
    }


def main() -> None:
    sys.path[:0] = sys.argv[1:2]
    missing = sorted(set(import_everything()))
    told = buy()
    ours = [each for name, each in sys.modules.items() if name.partition(".")[0] == "flask_zeus_cvs"]
    told["missing"] = missing
    told["files"] = sorted({str(each.__file__) for each in ours})
    told["version"] = distribution("Flask-Zeus-CVS").version
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
