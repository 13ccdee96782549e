"""What a shop's own monitor is told, every ten seconds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy.event import listen, remove
from sqlalchemy.orm import Session

from flask_zeus_cvs import State, database, fulfillment_ready, payment_received
from flask_zeus_cvs.staff import health
from tests.conftest import Shop, ShopMaker
from tests.database.test_receive import notice
from tests.visitors import Visitor

NOON = datetime(2026, 12, 1, 3, tzinfo=UTC)


def test_a_shop_at_rest_is_well(shop: Shop) -> None:
    """Nothing due, nothing parked, nothing heard yet; and all of it fits into JSON."""
    found = shop.zeus.health()
    assert found == health.Health(
        ok=True, database=True, delivering=None, overdue=0, parked=0, open_reviews=0, last_notice_at=None
    )
    assert found.as_dict() == {
        "ok": True,
        "database": True,
        "delivering": None,
        "overdue": 0,
        "parked": 0,
        "open_reviews": 0,
        "last_notice_at": None,
    }


def test_what_waits_is_counted(make_shop: ShopMaker, database_uri: str) -> None:
    """What is due and not delivered makes the shop unwell after a quarter of an hour; reviews and parked ones do not."""
    shop = make_shop(database_uri, DELIVERY="deferred", DELIVERY_ATTEMPTS=1)

    def fail(app: object, **extra: Any) -> None:
        raise RuntimeError

    with time_machine.travel(NOON, tick=False) as clock, payment_received.connected_to(fail, shop.app):
        payment, _ = shop.awaiting()
        shop.zeus.receive(notice("04"))
        assert shop.zeus.health().ok
        clock.shift(timedelta(minutes=15))
        assert (shop.zeus.health().ok, shop.zeus.health().overdue) == (True, 900)
        clock.shift(1)
        assert (shop.zeus.health().ok, shop.zeus.health().overdue) == (False, 901)
        shop.zeus.deliver_now()
        shop.zeus.receive(notice("04", order_no="9999-9"))
        found = shop.zeus.health()
        assert (found.ok, found.overdue, found.parked, found.open_reviews) == (True, 0, 1, 1)
        assert found.last_notice_at == NOON + timedelta(minutes=15, seconds=1)
        assert found.as_dict()["last_notice_at"] == "2026-12-01T03:15:01+00:00"
        assert payment.reference not in str(found.as_dict())


def test_a_delivery_under_way_is_not_late(sqlite_shop: Shop) -> None:
    """A receiver may take its time: while its lease runs, nothing is overdue."""
    seen: list[int | None] = []

    def slow(app: object, **extra: Any) -> None:
        clock.shift(timedelta(minutes=9))
        seen.append(health.health_of(sqlite_shop.payments).overdue)

    with (
        time_machine.travel(NOON, tick=False) as clock,
        fulfillment_ready.connected_to(slow, sqlite_shop.app),
    ):
        sqlite_shop.awaiting()
        sqlite_shop.zeus.receive(notice("04"))
    assert seen == [0]


def test_the_background_thread_is_seen(make_shop: ShopMaker) -> None:
    """With DELIVERY=background a process without its thread is not well; the first request starts it."""
    shop = make_shop(DELIVERY="background")
    assert (shop.zeus.health().delivering, shop.zeus.health().ok) == (False, False)
    shop.app.add_url_rule("/health", view_func=lambda: shop.zeus.health().as_dict())
    answer = Visitor(shop.app, shop.app.response_class).get("/health")
    assert answer.json is not None
    assert (answer.json["delivering"], answer.json["ok"]) == (True, True)


@pytest.fixture
def hanging(sqlite_shop: Shop) -> Iterator[list[str]]:
    """A database that takes statements and does not answer; the list fills with them."""
    asked: list[str] = []
    end = threading.Event()

    def hang(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(statement)
        end.wait(60)

    listen(sqlite_shop.db.engine, "before_cursor_execute", hang)
    yield asked
    remove(sqlite_shop.db.engine, "before_cursor_execute", hang)
    end.set()
    for each in sqlite_shop.payments.database._impatient:
        each.join(60)


def test_a_database_that_hangs(
    sqlite_shop: Shop, hanging: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes within the bound, and a monitor that asks on does not pile questions up."""
    monkeypatch.setattr(health, "WITHIN", 0.2)
    found = [sqlite_shop.zeus.health() for _ in range(5)]
    assert found == [health.Health(ok=False, database=False, delivering=None)] * 5
    assert found[0].as_dict()["overdue"] is None
    assert len(hanging) == 1


def test_an_impatient_monitor_shortens_nobodys_time(
    sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a monitor has given up on a slow question is no reason to give a notice less time: it would be a 500."""
    monkeypatch.setattr(health, "WITHIN", 0.05)
    monkeypatch.setattr(database, "ANSWER_WITHIN_HANGING", 0.0)
    answered, end = health.backlog, threading.Event()

    def slow(session: Session) -> health.Backlog:
        end.wait(60)
        return answered(session)

    monkeypatch.setattr(health, "backlog", slow)
    payment, _ = sqlite_shop.awaiting()
    try:
        assert not sqlite_shop.zeus.health().database
        sqlite_shop.zeus.receive(notice("04"))
    finally:
        end.set()
    assert sqlite_shop.state(payment) is State.RECEIVED


def test_tables_that_are_not_there(make_shop: ShopMaker) -> None:
    """Before the first migration the answer is that the shop is not well, and no traceback."""
    shop = make_shop()
    shop.db.drop_all()
    assert shop.zeus.health() == health.Health(ok=False, database=False, delivering=None)
