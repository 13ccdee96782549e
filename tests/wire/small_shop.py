"""The smallest shop there is, for real servers: one route that sells, one that tells what was shipped."""

from __future__ import annotations

import json
import os
from typing import Any, cast

import sqlalchemy as sa
from flask import Flask, jsonify
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.pool import QueuePool

from flask_zeus_cvs import EventData, ZeusCVS, fulfillment_ready
from flask_zeus_cvs.models import Payment, Review


def create_app(settings: dict[str, Any] | None = None) -> Flask:
    """Make the shop; its settings come as JSON in SHOP, unless they are given: then the tables are made too."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="not a secret", ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"])
    app.config.update(settings or json.loads(os.environ["SHOP"]))
    db = SQLAlchemy(app)
    zeus = ZeusCVS(app, db)
    shipped = sa.Table(
        "shipped",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("reference", sa.String(40), nullable=False),
    )

    @fulfillment_ready.connect_via(app)
    def ship(app: Flask, *, payment: Payment, event: EventData, **extra: Any) -> None:
        db.session.execute(shipped.insert().values(reference=payment.reference))

    @app.post("/sell/<reference>")
    def sell(reference: str) -> ResponseReturnValue:
        payment = zeus.create_payment(amount=3000, reference=reference)
        db.session.commit()
        return jsonify(checkout=payment.checkout_url, result=payment.result_url)

    @app.get("/reviews")
    def reviews() -> ResponseReturnValue:
        return jsonify(
            [str(reason) for reason in db.session.scalars(sa.select(Review.reason).order_by(Review.id))]
        )

    @app.get("/orders")
    def orders() -> ResponseReturnValue:
        found = db.session.scalars(sa.select(Payment).order_by(Payment.id)).all()
        sent = db.session.scalars(sa.select(shipped.c.reference)).all()
        return jsonify({each.reference: [each.state, sent.count(each.reference)] for each in found})

    @app.get("/connections")
    def connections() -> ResponseReturnValue:
        """How many of this process's database connections are in use."""
        return jsonify(cast(QueuePool, db.engine.pool).checkedout())

    if settings is not None:
        with app.app_context():
            db.create_all()
            db.engine.dispose()
    return app
