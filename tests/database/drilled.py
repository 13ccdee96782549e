"""A small shop for drills: its receivers are given by each test, and so is what it makes of its orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from click.testing import Result
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_zeus_cvs import EventData, EventKind, ZeusCVS
from flask_zeus_cvs.drill import Standing
from flask_zeus_cvs.models import Payment
from flask_zeus_cvs.signals import SIGNALS


class Base(DeclarativeBase):
    """The shop's tables."""


class Order(Base):
    """One order: how many parcels have left, and how often a person was asked to look."""

    __tablename__ = "orders"

    reference: Mapped[str] = mapped_column(sa.String(20), primary_key=True)
    parcels: Mapped[int] = mapped_column(default=0)
    asked: Mapped[int] = mapped_column(default=0)


Receiver = Callable[..., Any]


@dataclass
class Shop:
    """The app, and what its receivers use."""

    app: Flask
    db: SQLAlchemy
    zeus: ZeusCVS = field(default_factory=ZeusCVS)
    placed: int = 0

    def prepare(self) -> None:
        """Nothing is sold out."""

    def place(self, amount: int) -> Payment:
        self.placed += 1
        payment = self.zeus.create_payment(amount=amount, reference=f"A-{self.placed}")
        self.db.session.add(Order(reference=payment.reference))
        self.db.session.commit()
        return payment

    def standing(self, reference: str) -> Standing:
        order = self.db.session.get_one(Order, reference)
        return Standing(parcels=order.parcels, asked=bool(order.asked))

    def ship(self, _app: Flask, *, payment: Payment, **_: Any) -> None:
        self._change(payment, "parcels")

    def ask(self, _app: Flask, *, payment: Payment | None, **_: Any) -> None:
        self._change(payment, "asked")

    def _change(self, payment: Payment | None, name: str) -> None:
        if payment is not None:
            column = getattr(Order, name)
            change = sa.update(Order).where(Order.reference == payment.reference)
            self.db.session.execute(change.values({name: column + 1}))

    @property
    def good_receivers(self) -> dict[EventKind, Receiver]:
        """What a shop must do at least."""
        asked = (
            EventKind.PAYMENT_CANCELLED,
            EventKind.PAYMENT_RECEIVED_AFTER_CANCEL,
            EventKind.SALE_CONFIRMED_AFTER_CANCEL,
            EventKind.PAYMENT_CANCELLED_AFTER_CANCEL,
            EventKind.REVIEW_REQUIRED,
        )
        return {EventKind.FULFILLMENT_READY: self.ship, **dict.fromkeys(asked, self.ask)}

    def connect(self, changes: Mapping[EventKind, Receiver | None] | None = None) -> None:
        """Connect the good receivers, with some of them changed or, where None, left out."""
        for kind, receiver in {**self.good_receivers, **(changes or {})}.items():
            if receiver is not None:
                SIGNALS[kind].connect(receiver, sender=self.app)

    def drill(self, *options: str, payments: int = 30) -> Result:
        """Run the command as a script would."""
        args = ["zeus-cvs", "drill", "--yes", "--weeks", "1", "--payments", str(payments), *options]
        return self.app.test_cli_runner().invoke(args=args)


def make_shop(folder: Path, **settings: Any) -> Shop:
    """Make a shop with a database file of its own; its tables are not created."""
    app = Flask("drilled")
    app.config.update(
        SECRET_KEY="not a secret",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'own.db'}",
        ZEUS_CVS_CLIENT_IP="1234567890",
        ZEUS_CVS_CALLBACK_IPS="192.0.2.10,192.0.2.11",
    )
    app.config.update(settings)
    db = SQLAlchemy(model_class=Base)
    shop = Shop(app, db)
    app.config.setdefault("ZEUS_CVS_DRILL_ORDERS", shop)
    db.init_app(app)
    shop.zeus.init_app(app, db)
    return shop


def deaf(_app: Flask, *, payment: Payment | None, event: EventData, **_: Any) -> None:
    """Hear of it, and do nothing."""
