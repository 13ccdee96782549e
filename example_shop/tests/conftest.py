"""A shop on a database of its own, served over real HTTP, with the sandbox on the other side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from example_shop import create_app
from example_shop.database import Order, Product, Todo, db
from example_shop.goods import stock_up
from example_shop.tests.running import Visitor, serving
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.simulator import Simulator

PASSWORD = "open sesame"


@pytest.fixture
def app(tmp_path: Path, zeus_simulator: Simulator) -> Iterator[Flask]:
    """A shop with its goods on the shelves; receivers run in the request, after the commit."""
    app = create_app(
        {
            "TESTING": True,
            "SECRET_KEY": "not a secret",
            "SESSION_COOKIE_SECURE": False,
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.db'}",
            "STAFF_PASSWORD": PASSWORD,
            "ZEUS_CVS_CLIENT_IP": "1234567890",
            "ZEUS_CVS_CALLBACK_IPS": ["127.0.0.1"],
            "ZEUS_CVS_ENDPOINT": zeus_simulator.endpoint,
        }
    )
    with app.app_context():
        stock_up()
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def address(app: Flask, zeus_simulator: Simulator) -> Iterator[str]:
    """The shop's address; the sandbox notifies it, of 02 and 03 too."""
    with serving(app) as address:
        zeus_simulator.notify = f"{address}/zeus-cvs/callback"
        zeus_simulator.contract.on_request = frozenset({Status.APPLICATION_FAILED, Status.EXPIRED})
        yield address
        zeus_simulator.settle()


@pytest.fixture
def visitor(address: str) -> Iterator[Visitor]:
    """Someone who visits the shop."""
    visitor = Visitor(address)
    yield visitor
    visitor.close()


class Books:
    """What stands in the shop's own tables, read afresh each time."""

    @property
    def order(self) -> Order:
        """The newest order."""
        db.session.rollback()
        db.session.expire_all()
        return db.session.scalars(select(Order).order_by(Order.id.desc())).first() or pytest.fail("no order")

    @property
    def todos(self) -> list[Todo]:
        """What waits for a person."""
        db.session.rollback()
        db.session.expire_all()
        return list(db.session.scalars(select(Todo).where(Todo.done_at.is_(None)).order_by(Todo.id)))

    def stock(self, slug: str = "sencha") -> int:
        db.session.rollback()
        return db.session.scalars(select(Product.stock).where(Product.slug == slug)).one()


@pytest.fixture
def books(app: Flask) -> Books:
    return Books()


@pytest.fixture
def slip(visitor: Visitor, zeus_simulator: Simulator) -> Callable[..., str]:
    """Order something and apply at a store; returns ZEUS's number of the slip. The visitor sees the result page."""

    def order(store: str = "D002", **more: object) -> str:
        visitor.order(**more)  # type: ignore[arg-type]
        visitor.apply(store)
        zeus_simulator.settle()
        return zeus_simulator.applications[-1].order_no

    return order
