"""The shop's own tables: goods, orders, and what a person has to look at.

An order points at its payment with an ordinary foreign key; nothing of the payment is copied into it.
"""

from __future__ import annotations

import secrets
import sqlite3
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CheckConstraint, DateTime, Engine, Enum, ForeignKey, String, Text, event, update
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship

from flask_zeus_cvs.models import Payment

#: Postage inside Japan, in yen.
POSTAGE = 500
#: How long the goods of an order are kept for a customer who has not chosen a store yet.
KEPT_FOR = timedelta(days=3)


class Base(DeclarativeBase):
    """The tables of the shop. They derive from it and not from ``db.Model``, which type checkers cannot read."""


db = SQLAlchemy(model_class=Base)


def _now() -> datetime:
    return datetime.now(UTC)


class Product(Base):
    """One kind of goods; ``stock`` is what can still be ordered."""

    __tablename__ = "shop_products"
    __table_args__ = (CheckConstraint("stock >= 0"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    blurb: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    price: Mapped[int]
    stock: Mapped[int]

    def reserve(self, quantity: int) -> bool:
        """Take `quantity` off the shelf, unless fewer are left. Joins the caller's transaction."""
        taken = db.session.scalars(
            update(Product)
            .where(Product.id == self.id, Product.stock >= quantity)
            .values(stock=Product.stock - quantity)
            .returning(Product.id)
        )
        return taken.one_or_none() is not None

    def put_back(self, quantity: int) -> None:
        """Return `quantity` to the shelf. Joins the caller's transaction."""
        db.session.execute(
            update(Product).where(Product.id == self.id).values(stock=Product.stock + quantity)
        )


class Stage(StrEnum):
    """Where an order stands in the shop's own eyes."""

    PLACED = "placed"
    SHIPPED = "shipped"
    CLOSED = "closed"
    STOPPED = "stopped"


class Order(Base):
    """What a customer ordered. Goods are taken off the shelf when it is placed."""

    __tablename__ = "shop_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    #: Stands in the address of the order's page, so it cannot be guessed.
    token: Mapped[str] = mapped_column(String(32), unique=True, default=lambda: secrets.token_urlsafe(16))
    name: Mapped[str] = mapped_column(String(80))
    kana: Mapped[str] = mapped_column(String(80))
    phone: Mapped[str] = mapped_column(String(30))
    email: Mapped[str] = mapped_column(String(120))
    address: Mapped[str] = mapped_column(String(200))
    postage: Mapped[int] = mapped_column(default=POSTAGE)
    placed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)
    stage: Mapped[Stage] = mapped_column(Enum(Stage, native_enum=False, length=10), default=Stage.PLACED)
    stage_since: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    # The extension's tables are copied into this metadata, so the foreign key names the table as a string;
    # Payment itself is mapped on the extension's own base, so the join is spelled out.
    payment_id: Mapped[int | None] = mapped_column(ForeignKey("zeus_cvs_payments.id"), unique=True)
    payment: Mapped[Payment | None] = relationship(
        Payment, primaryjoin=lambda: foreign(Order.payment_id) == Payment.id, viewonly=True
    )
    lines: Mapped[list[OrderLine]] = relationship(back_populates="order", order_by="OrderLine.id")
    todos: Mapped[list[Todo]] = relationship(back_populates="order", order_by="Todo.id")

    @property
    def number(self) -> str:
        """The order number that customers and staff speak of."""
        return f"T-{1000 + self.id}"

    @property
    def goods_total(self) -> int:
        return sum(line.total for line in self.lines)

    @property
    def total(self) -> int:
        return self.goods_total + self.postage

    def move(self, to: Stage) -> bool:
        """Leave `Stage.PLACED` for `to`; False if the order has left it before. Joins the caller's transaction.

        One conditional update, so that of two receivers in two processes only one moves the order.
        """
        moved = db.session.scalars(
            update(Order)
            .where(Order.id == self.id, Order.stage == Stage.PLACED)
            .values(stage=to, stage_since=_now())
            .returning(Order.id)
        )
        return moved.one_or_none() is not None

    def confirm(self) -> None:
        """Note when the money became certain. Joins the caller's transaction."""
        self.confirmed_at = self.confirmed_at or _now()

    def restock(self) -> None:
        """Put the goods back on the shelf. Joins the caller's transaction."""
        for line in self.lines:
            line.product.put_back(line.quantity)


class OrderLine(Base):
    """So many of one product, at the price of the day."""

    __tablename__ = "shop_order_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("shop_orders.id"))
    product_id: Mapped[int] = mapped_column(ForeignKey("shop_products.id"))
    price: Mapped[int]
    quantity: Mapped[int]

    order: Mapped[Order] = relationship(back_populates="lines")
    product: Mapped[Product] = relationship()

    @property
    def total(self) -> int:
        return self.price * self.quantity


class Todo(Base):
    """Something that only a person can settle; ``order`` is None where money fits no order."""

    __tablename__ = "shop_todos"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("shop_orders.id"))
    text: Mapped[str] = mapped_column(String(200))
    raised_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)
    done_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    order: Mapped[Order | None] = relationship(back_populates="todos")

    def done(self) -> None:
        """Tick it off; a second tick changes nothing. Joins the caller's transaction."""
        self.done_at = self.done_at or _now()


def set_pragmas(engine: Engine) -> None:
    """Make SQLite fit for several workers, and safe at power loss. Other databases are left alone."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        for pragma in (
            "busy_timeout = 10000",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
