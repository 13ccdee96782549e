"""The shop of `delivery_shop`, whose receivers run in Celery's workers. CELERY in its settings configures them."""

from __future__ import annotations

from typing import Any

from celery import Celery  # type: ignore[import-untyped]
from flask import Flask

from flask_zeus_cvs.contrib.celery import deliver_with
from tests.wire import delivery_shop


def create_app(settings: dict[str, Any] | None = None) -> Flask:
    app = delivery_shop.create_app(settings)
    celery = Celery(app.name, set_as_current=False)
    celery.config_from_object(app.config["CELERY"])
    deliver_with(celery, app)
    app.extensions["celery"] = celery
    return app
