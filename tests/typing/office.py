"""A shop's extras as its author would write them: back office, Celery, OpenTelemetry, its orders for the drill.

It is never run, it only has to type-check.
"""

from __future__ import annotations

from typing import Any, assert_type

from celery import Celery  # type: ignore[import-untyped]
from flask import Flask, session
from flask_admin import Admin  # type: ignore[import-untyped]
from flask_sqlalchemy import SQLAlchemy

from flask_zeus_cvs import ConfigurationError, Customer, State, ZeusCVS
from flask_zeus_cvs.contrib.admin import add_views, make_admin
from flask_zeus_cvs.contrib.celery import DELIVER_DUE, DELIVER_EVENT, EXPIRE, deliver_with
from flask_zeus_cvs.contrib.otel import instrument, uninstrument
from flask_zeus_cvs.drill import Orders, Standing
from flask_zeus_cvs.models import Payment

SETTINGS: dict[str, Any] = {
    "ZEUS_CVS_CLIENT_IP": "1234567890",
    "ZEUS_CVS_CALLBACK_IPS": ["192.0.2.0/24", "2001:db8::/32"],
    "ZEUS_CVS_STORES": ["D002", "D030"],
    "ZEUS_CVS_DELIVERY": "deferred",
}

db = SQLAlchemy()
zeus = ZeusCVS()


def is_staff() -> bool:
    return session.get("staff") is True


def who() -> str:
    return str(session["name"])


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(SETTINGS)
    db.init_app(app)
    zeus.init_app(app, db)
    admin = Admin(app)
    add_views(admin, allowed=is_staff, may_reveal=lambda: False, who=who, category=None)
    make_admin(app, allowed=is_staff, url="/staff/konbini")
    celery = Celery("shop")
    celery.conf.task_routes = {name: {"queue": "shop"} for name in (DELIVER_EVENT, DELIVER_DUE, EXPIRE)}
    try:
        deliver_with(celery, app)
    except ConfigurationError as error:
        raise SystemExit(str(error)) from error
    instrument()
    uninstrument()
    return app


class ShopOrders:
    """The shop's orders, for the drill: no base class of ours."""

    def prepare(self) -> None:
        db.session.commit()

    def place(self, amount: int) -> Payment:
        payment = zeus.create_payment(
            amount=amount, reference=f"A-{amount}", customer=Customer(name="ヤマダ")
        )
        db.session.commit()
        return payment

    def standing(self, reference: str) -> Standing:
        found = zeus.find(reference)
        return Standing(parcels=int(found is not None and found.state is State.RECEIVED))


def orders() -> Orders:
    made: Orders = ShopOrders()
    assert_type(made.standing("A-1001"), Standing)
    return made
