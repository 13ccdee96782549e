"""What a notice costs does not grow with the tables: PostgreSQL looks rows up, and reads nothing from end to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_zeus_cvs import payment_received, sale_confirmed
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import Base, Delivery, DeliveryState, Payment, ReviewReason, Verdict
from flask_zeus_cvs.payments import Payments
from tests.benchmarks import million
from tests.benchmarks.plans import KINDS, MANY, SMALL, Plan, Statement, believing, executed, plan, recorded
from tests.conftest import Shop, ShopMaker
from tests.servers import PostgreSQL

WORDS = frozenset(each.value for words in (EventKind, ReviewReason, Verdict) for each in words)
#: Payments that are stored, with all that two years have made of them: enough for honest statistics.
STORED = 5000


@pytest.fixture(scope="module")
def two_years(postgresql: PostgreSQL) -> Iterator[str]:
    """What a shop has after two years, in little, to be copied."""
    uri = postgresql.create()
    million.fill(sa.make_url(uri), STORED)
    yield uri
    postgresql.drop(uri)


@pytest.fixture
def uri(postgresql: PostgreSQL, two_years: str, closing: ExitStack) -> str:
    uri = postgresql.copy(two_years)
    closing.callback(postgresql.drop, uri)
    return uri


@pytest.fixture
def shop(make_shop: ShopMaker, uri: str) -> Shop:
    """A shop of two years."""
    return make_shop(uri)


def subscribe(shop: Shop) -> None:
    def book(app: Flask, **heard: Any) -> None:
        """Hear of the money."""

    for signal in (payment_received, sale_confirmed):
        signal.connect(book, shop.app, name="book")


def explained(shop: Shop, statements: list[Statement]) -> list[Plan]:
    """Have statements explained as on tables of ten million rows."""
    with believing(shop.db.engine) as connection:
        return [plan(connection, each) for each in statements]


def by_inline(payments: Payments) -> None:
    """The notice's own request has delivered."""


def by_command(payments: Payments) -> None:
    """Deliver as ``flask zeus-cvs deliver`` does."""
    payments.deliver_now()


def by_thread(payments: Payments) -> None:
    """Wait until the background thread has delivered."""
    waiting = sa.select(Delivery.id).where(
        Delivery.subscriber == "book", Delivery.state == DeliveryState.PENDING
    )
    end = time.monotonic() + 20
    while payments.database.read(lambda session: session.scalar(waiting.limit(1))):
        assert time.monotonic() < end, "the subscriber was not told"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("delivery", "afterwards"), [("inline", by_inline), ("deferred", by_command), ("background", by_thread)]
)
def test_a_notice_reads_nothing_from_end_to_end(
    make_shop: ShopMaker, uri: str, delivery: str, afterwards: Callable[[Payments], object]
) -> None:
    """Of each kind, with a subscriber, however it is told: no statement reads a whole table of ours, or index."""
    shop = make_shop(uri, DELIVERY=delivery)
    subscribe(shop)

    told = executed(shop.app, afterwards)

    faults = [
        f"{kind}: {', '.join(each.faults)}\n{each}"
        for kind, statements in told.items()
        for each in explained(shop, statements)
        if each.faults
    ]
    assert not faults, "\n".join(faults)
    assert len([each for each in shop.all(Delivery) if each.subscriber == "book"]) > 5


def meaning(statement: Statement) -> tuple[object, ...]:
    """Tell a statement by its text, by what it names of our words, and by how much it leaves blank."""
    given = statement.values.values() if isinstance(statement.values, dict) else statement.values
    words = {str(each) for each in given if isinstance(each, str) and each in WORDS}
    return statement.text, frozenset(words), sum(each is None for each in given)


def test_each_kind_of_notice_takes_its_own_way(shop: Shop) -> None:
    """The kinds above are what they say, so that none of the statements is left out for a wrong notice."""
    told = executed(shop.app, by_inline)

    ways = [frozenset(map(meaning, statements)) for statements in told.values()]
    assert list(told) == list(KINDS)
    assert len(set(ways)) == len(ways)


@pytest.mark.parametrize("table", [name for name in Base.metadata.tables if name != SMALL])
def test_the_planner_believes_in_ten_million_rows(shop: Shop, table: str) -> None:
    """Else it would read small tables from end to end, and rightly so."""
    everything = Statement(f"TABLE {table}", ())

    [found] = explained(shop, [everything])

    assert found.root["Plan Rows"] == pytest.approx(MANY, rel=0.1)
    assert found.faults == [f"reads all of {table}"]


def test_a_whole_index_is_a_fault_too(shop: Shop) -> None:
    """An index that is read from end to end grows with the table as well."""
    [found] = explained(shop, [Statement("SELECT id FROM zeus_cvs_payments ORDER BY id LIMIT 1", ())])

    assert found.faults == ["reads all of pk_zeus_cvs_payments"]


#: What each index is there for besides the primary keys, as somebody does it.
USERS: Mapping[str, Callable[[Shop], object]] = MappingProxyType(
    {
        # a notice
        "uq_zeus_cvs_applications_order_no": lambda shop: take(shop, order_no="7"),
        "ix_zeus_cvs_applications_sendid": lambda shop: take(shop, order_no="7", sendid="S7"),
        "ix_zeus_cvs_applications_payment_id": lambda shop: pay(shop),
        "uq_zeus_cvs_notifications_identity": lambda shop: take(shop, order_no="7"),
        "ix_zeus_cvs_notifications_order_no": lambda shop: take(shop, order_no="7"),
        "ix_zeus_cvs_reviews_payment_id": lambda shop: pay(shop),
        "ix_zeus_cvs_events_payment_id": lambda shop: pay(shop),
        # a notice that waited for its order number
        "ix_zeus_cvs_reviews_notification_id": lambda shop: overtake(shop),
        # deliveries
        "ix_zeus_cvs_deliveries_due": lambda shop: shop.zeus.deliver_now(),
        # customers and the shop
        "uq_zeus_cvs_payments_token": lambda shop: shop.payments.by_token("token"),
        "ix_zeus_cvs_payments_reference": lambda shop: shop.zeus.find("A-1"),
        "uq_zeus_cvs_payments_once_key": lambda shop: shop.payment(once=True),
        # the sweep
        "ix_zeus_cvs_applications_open": lambda shop: shop.zeus.expire(),
        "ix_zeus_cvs_payments_expires_at": lambda shop: shop.zeus.expire(),
        # staff
        "ix_zeus_cvs_notifications_payment_id": lambda shop: shop.zeus.story(first(shop)),
        "uq_zeus_cvs_deliveries_event_id_subscriber": lambda shop: shop.zeus.story(first(shop)),
    }
)


def first(shop: Shop) -> Payment:
    return shop.db.session.get_one(Payment, 1)


def take(shop: Shop, **fields: str) -> None:
    """Receive a notice of an order that nobody knows."""
    shop.zeus.receive(f"status=04&{'&'.join(f'{key}={value}' for key, value in fields.items())}".encode())


def overtake(shop: Shop) -> None:
    """Receive a notice before the answer that tells its order number."""
    take(shop, order_no="overtaking")
    shop.awaiting(order_no="overtaking")


def pay(shop: Shop) -> None:
    """Receive a notice of each kind."""
    executed(shop.app, by_inline)


@pytest.mark.parametrize("name", USERS)
def test_each_index_has_its_user(shop: Shop, name: str) -> None:
    """No index is kept for nobody: the work that is named here looks something up in it."""
    subscribe(shop)

    with recorded() as statements:
        USERS[name](shop)

    used = set[str]().union(*(each.indexes for each in explained(shop, statements)))
    assert name in used


def test_the_table_of_indexes_is_complete() -> None:
    """Every index and unique key of ours is named above: who adds one adds its user."""
    names = {
        str(each.name)
        for table in Base.metadata.sorted_tables
        for each in (*table.indexes, *table.constraints)
        if isinstance(each, (sa.Index, sa.UniqueConstraint))
    }

    assert names == set(USERS)
