"""The cart: what a visitor wants, kept in the session as ``{slug: quantity}``."""

from __future__ import annotations

from dataclasses import dataclass

from flask import flash, session
from sqlalchemy import select

from example_shop.database import POSTAGE, Product, db

#: Nobody orders more than this of one product.
MOST = 9


@dataclass(frozen=True)
class Line:
    """A product in the cart."""

    product: Product
    quantity: int

    @property
    def total(self) -> int:
        return self.product.price * self.quantity


@dataclass(frozen=True)
class Cart:
    """The cart as it stands now."""

    lines: tuple[Line, ...]

    @property
    def goods_total(self) -> int:
        return sum(line.total for line in self.lines)

    @property
    def total(self) -> int:
        return self.goods_total + POSTAGE


def _kept() -> dict[str, int]:
    kept: dict[str, int] = session.get("cart", {})
    return kept


def pieces() -> int:
    """Count what lies in the cart, without asking the database."""
    return sum(_kept().values())


def read() -> Cart:
    """Look the cart up at today's prices; what the shelf has no more of is taken out, and the customer told."""
    kept = _kept()
    products = db.session.scalars(select(Product).where(Product.slug.in_(kept)).order_by(Product.id)).all()
    for each in products:
        if each.stock < kept[each.slug]:
            put(each.slug, each.stock)
            flash(f"「{each.name}」は残り{each.stock}点になったため、数量を変更しました。")
    kept = _kept()
    return Cart(tuple(Line(each, kept[each.slug]) for each in products if each.slug in kept))


def put(slug: str, quantity: int) -> None:
    """Set how many of a product are wanted; 0 takes it out."""
    kept = {**_kept(), slug: min(quantity, MOST)}
    session["cart"] = {each: number for each, number in kept.items() if number > 0}


def add(slug: str, quantity: int) -> None:
    """Want so many more of a product."""
    put(slug, _kept().get(slug, 0) + quantity)


def empty() -> None:
    session.pop("cart", None)
