"""What docs/18-scaling.md has a shop run works, as it stands there."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_zeus_cvs import State, payment_received
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.models import (
    Application,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
    ReviewReason,
)
from tests.blocks import block
from tests.conftest import Shop, ShopMaker
from tests.database.test_parked import Printer
from tests.database.test_receive import notice
from tests.database.test_staff_commands import run
from tests.office import Office, routes
from tests.servers import Server

POOLER = block("18-scaling", "SQLALCHEMY_ENGINE_OPTIONS")
#: Parents last.
MODELS: tuple[Any, ...] = (Delivery, Event, Notification, Application, Payment)


# --- PgBouncer, and a replica --------------------------------------------------------------------


@pytest.fixture
def postgresql_uri(postgresql: Server, closing: ExitStack) -> str:
    """An empty database on PostgreSQL, whose SQL the page has."""
    uri = postgresql.create()
    closing.callback(postgresql.drop, uri)
    return uri


def run_sql(shop: Shop, statements: str) -> list[Any]:
    """Run each statement of a block by itself, as psql does; returns the last one's rows, or how many it changed."""
    shop.db.session.remove()
    with shop.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for each in filter(str.strip, statements.split(";")):
            result = connection.exec_driver_sql(each)
        return list(result.all()) if result.returns_rows else [result.rowcount]


def paid(shop: Shop, number: int) -> Payment:
    """A payment whose money has come."""
    payment, _ = shop.awaiting(order_no=f"000{number}-1", reference=f"A-{number}")
    shop.zeus.receive(notice("04", f"000{number}-1"))
    return payment


def test_nothing_is_left_on_a_connection(make_shop: ShopMaker, postgresql_uri: str) -> None:
    """With the page's setting nothing is prepared, nor set beyond its transaction: the next may be another's."""
    scope: dict[str, Any] = {}
    exec(POOLER, scope)
    one = {**scope["SQLALCHEMY_ENGINE_OPTIONS"], "pool_size": 1, "max_overflow": 0}
    shop = make_shop(postgresql_uri, engine=one)
    for number in range(7):
        paid(shop, number)
    shop.zeus.expire()
    shop.db.session.rollback()
    left = sa.text("SELECT count(*), current_setting('lock_timeout') FROM pg_prepared_statements")
    assert tuple(shop.db.session.execute(left).one()) == (0, "0")


def test_staff_read_where_nothing_can_be_written(
    make_shop: ShopMaker, postgresql_uri: str, closing: ExitStack
) -> None:
    """With the page's role, as on a replica: every page and file opens, as do the commands that change nothing.

    A decision fails, and decides nothing.
    """
    shop = make_shop(postgresql_uri, DELIVERY_ATTEMPTS=1)
    payment_received.connect(Printer().hear, shop.app, name="printer")
    paid(shop, 1)
    shop.zeus.receive(notice("05", money=1))
    run_sql(shop, block("18-scaling", "CREATE ROLE office"))
    closing.callback(run_sql, shop, "DROP OWNED BY office; DROP ROLE office")
    uri = sa.make_url(postgresql_uri).set(username="office").render_as_string(hide_password=False)
    reader = make_shop(uri, testing=False, DELIVERY="deferred")
    office = Office(reader)
    for address, method in routes(reader.app):
        query = {"what": "retry", "id": "1"} if address.endswith("/decide") else None
        if method == "GET":
            assert office.client.get(address, query_string=query).status_code == 200, address
    for command in ("list", "show A-1", "export - A-1", "purge --older-than 400"):
        assert run(reader, *command.split()).exit_code == 0, command
    assert "wrong_amount" in run(reader, "resolve", "--json").output
    assert reader.zeus.health().parked == 1
    assert office.send("/parked/decide?what=retry&id=1", sure="y").status_code == 500


def test_what_was_purged_can_be_archived(make_shop: ShopMaker, postgresql_uri: str) -> None:
    """All rows of a payment that is over move, and no others; what still comes for it is a review, not lost."""
    shop = make_shop(postgresql_uri)
    payment_received.connect(Printer().hear, shop.app, name="printer")
    over, _ = paid(shop, 1), paid(shop, 2)
    shop.db.session.execute(sa.update(Delivery).values(state=DeliveryState.DONE))
    shop.db.session.execute(
        sa.update(Payment).where(Payment.id == over.id).values(purged_at=now() - timedelta(days=31))
    )
    shop.db.session.commit()
    before = {model: len(shop.all(model)) for model in MODELS}
    run_sql(shop, block("18-scaling", "CREATE SCHEMA cold"))
    run_sql(shop, block("18-scaling", "CREATE INDEX CONCURRENTLY"))
    assert [run_sql(shop, block("18-scaling", "WITH old")) for _ in range(2)] == [[1], [0]]
    with shop.db.engine.connect() as connection:
        for model in MODELS:
            cold = sa.table(model.__tablename__, schema="cold")
            moved = connection.scalar(sa.select(sa.func.count()).select_from(cold))
            assert moved == before[model] - len(shop.all(model)) == before[model] / 2
    assert shop.zeus.find("A-1") is None
    shop.zeus.receive(notice("05", "0001-1"))
    assert [each.reason for each in shop.all(Review)] == [ReviewReason.UNKNOWN_ORDER]
    shop.zeus.receive(notice("05", "0002-1"))
    assert shop.state(shop.all(Payment)[0]) is State.CONFIRMED


def test_the_peak_and_the_settings(make_shop: ShopMaker, postgresql_uri: str) -> None:
    """PostgreSQL takes both blocks; the first tells the busiest minutes, most notices first."""
    shop = make_shop(postgresql_uri)
    for number in range(3):
        paid(shop, number)
    ((_, busiest), *_) = run_sql(shop, block("18-scaling", "SELECT date_trunc"))
    assert busiest > 0
    run_sql(shop, block("18-scaling", "ALTER TABLE zeus_cvs_payments"))
    changed = "SELECT relname FROM pg_class WHERE relname LIKE 'zeus%%' AND reloptions IS NOT NULL"
    assert len(run_sql(shop, changed)) == 5
