"""A shop whose receivers note what they hear of a payment, or fail at it if SHOP_FAILS is set."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Flask

from flask_zeus_cvs import (
    EventData,
    application_accepted,
    payment_cancelled,
    payment_received,
    sale_confirmed,
)
from flask_zeus_cvs.models import Payment
from tests.wire import small_shop


def create_app(settings: dict[str, Any] | None = None) -> Flask:
    """Make the small shop, and connect the receivers; settings as there."""
    app = small_shop.create_app(settings)
    db = app.extensions["sqlalchemy"]
    heard = sa.Table(
        "heard",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("what", sa.String(80), nullable=False),
    )

    def note(app: Flask, *, payment: Payment, event: EventData, **extra: Any) -> None:
        if app.config.get("SHOP_FAILS"):
            raise KeyError(payment.reference)
        db.session.execute(heard.insert().values(what=f"{event.kind} {payment.reference}"))

    for signal in (application_accepted, payment_received, sale_confirmed, payment_cancelled):
        signal.connect(note, sender=app, name="shop.note")
    if settings is not None:
        with app.app_context():
            db.create_all()
            db.engine.dispose()
    return app
