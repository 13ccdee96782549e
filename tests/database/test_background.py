"""Where deliveries run: a thread that begins when it is needed and ends when it is told, a request, or neither."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from flask_zeus_cvs import EventData, fulfillment_ready, payment_received
from flask_zeus_cvs import outbox as module
from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.ledger import Ledger, write
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import Delivery, DeliveryState, Payment
from flask_zeus_cvs.outbox import Summary
from tests.conftest import Shop, ShopMaker
from tests.database.test_receive import notice
from tests.waiting import until


class Slow:
    """A receiver that waits until it is let go."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.free = threading.Event()

    def hear(self, app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        self.heard.append(threading.current_thread().name)
        assert self.free.wait(20)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def shop(make_shop: ShopMaker, slow: Slow) -> Shop:
    """A shop with two slips out, which delivers in the background."""
    shop = make_shop(DELIVERY="background")
    payment_received.connect(slow.hear, shop.app, name="slow")
    for number in (1, 2):
        shop.awaiting(order_no=f"000{number}-{number}", reference=f"A-{number}")
    shop.db.session.remove()
    return shop


def states(shop: Shop) -> list[DeliveryState]:
    return [each.state for each in shop.all(Delivery)]


def test_a_thread_that_is_told_to_end_finishes_one_call_only(shop: Shop, slow: Slow) -> None:
    """It ends after the call it is at; what else is due stays due, for the next thread."""
    shop.zeus.receive(notice("04", "0001-1"))
    until(lambda: len(slow.heard) == 1)
    shop.zeus.receive(notice("04", "0002-2"))
    outbox = shop.payments._outbox
    outbox.stop(0)
    slow.free.set()
    until(lambda: not any(each.name == slow.heard[0] for each in threading.enumerate()))
    assert states(shop) == [DeliveryState.DONE, DeliveryState.PENDING]
    shop.db.session.remove()
    outbox.start(look=True)
    until(lambda: states(shop) == [DeliveryState.DONE] * 2)


def test_many_calls_start_one_thread(shop: Shop, slow: Slow) -> None:
    """Eight requests at once see that a thread runs, and only one does."""
    outbox = shop.payments._outbox
    start = threading.Barrier(8)

    def wake() -> None:
        start.wait(20)
        outbox.start(look=True)

    callers = [threading.Thread(target=wake) for _ in range(8)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(20)
    name = f"zeus-cvs-{shop.app.name}"
    assert [each.name for each in threading.enumerate()].count(name) == 1


def test_a_system_without_a_thread_to_spare(
    shop: Shop, slow: Slow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If no thread is to be had the notice is stored all the same, and the next request delivers."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    slow.free.set()
    outbox = shop.payments._outbox
    outbox.stop()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        shop.zeus.receive(notice("04", "0001-1"))
    assert "Delivering failed: RuntimeError" in caplog.text
    assert states(shop) == [DeliveryState.PENDING]
    shop.db.session.remove()
    outbox.start()
    until(lambda: states(shop) == [DeliveryState.DONE])


def test_a_database_that_is_away_before_the_call_costs_no_try(
    make_shop: ShopMaker, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be looked at again is not begun: it is due once the database is back, with all its tries."""
    shop = make_shop(DELIVERY="background", DELIVERY_ATTEMPTS=2)
    fulfillment_ready.connect(slow.hear, shop.app, name="slow")
    slow.free.set()
    shop.awaiting()
    outbox = shop.payments._outbox
    look_again, away = outbox._look_again, threading.Event()

    def fail_once(*args: Any) -> Any:
        if not away.is_set():
            away.set()
            raise OSError("the database is away")
        return look_again(*args)

    monkeypatch.setattr(outbox, "_look_again", fail_once)
    shop.zeus.receive(notice("04"))
    assert away.wait(20)
    outbox.start(look=True)
    until(lambda: states(shop) == [DeliveryState.DONE])
    assert [each.attempts for each in shop.all(Delivery)] == [1]


def test_a_receiver_that_is_disconnected_is_not_called(shop: Shop, slow: Slow) -> None:
    """Deliveries that are fixed for it wait until it is connected again, also those that the thread has already."""
    shop.zeus.receive(notice("04", "0001-1"))
    until(lambda: len(slow.heard) == 1)
    shop.zeus.receive(notice("04", "0002-2"))
    payment_received.disconnect(slow.hear, shop.app)
    slow.free.set()
    until(lambda: states(shop)[0] is DeliveryState.DONE)
    until(lambda: all(each.lease is None for each in shop.all(Delivery)))
    assert states(shop)[1] is DeliveryState.PENDING
    payment_received.connect(slow.hear, shop.app, name="slow")
    assert shop.zeus.deliver_now() == Summary(done=1)


def test_a_single_try_is_not_spent_in_advance(make_shop: ShopMaker, slow: Slow) -> None:
    """With one try, a process that is killed takes that of the call with it that was under way, and no other."""
    shop = make_shop(DELIVERY="background", DELIVERY_ATTEMPTS=1)
    payment_received.connect(slow.hear, shop.app, name="slow")
    for number in (1, 2):
        shop.awaiting(order_no=f"000{number}-{number}", reference=f"A-{number}")
    for number in (1, 2):
        shop.zeus.receive(notice("04", f"000{number}-{number}"))
    until(lambda: len(slow.heard) == 1)
    assert [each.attempts for each in shop.all(Delivery)] == [1, 0]
    slow.free.set()
    until(lambda: states(shop) == [DeliveryState.DONE] * 2)


def test_a_thread_that_is_kept_takes_nothing_more(
    shop: Shop, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while one call takes long is not leased to this process: another one may deliver it now."""
    monkeypatch.setattr(module, "PROMPT_SECONDS", 0)
    shop.zeus.receive(notice("04", "0001-1"))
    until(lambda: len(slow.heard) == 1)
    shop.zeus.receive(notice("04", "0002-2"))
    assert [each.lease is None for each in shop.all(Delivery)] == [False, True]
    slow.free.set()
    until(lambda: states(shop) == [DeliveryState.DONE] * 2)


def test_a_lease_is_as_old_as_its_row_says(shop: Shop, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that hangs uses up the lease: what is committed too late is left to whoever comes."""
    slow.free.set()
    outbox = shop.payments._outbox
    taken: list[Any] = []
    monkeypatch.setattr(outbox._thread, "take", taken.append)
    appended: list[float] = []

    def work(ledger: Ledger) -> None:
        outbox.append(ledger, EventKind.PAYMENT_RECEIVED, ledger.lock(1))
        appended.append(time.monotonic())

    write(shop.payments.database, work)
    assert [each.leased_at <= moment for each, moment in zip(taken, appended, strict=True)] == [True]


def test_inline_leaves_a_long_queue_to_the_next_request(
    make_shop: ShopMaker, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ZEUS is not kept waiting for whatever else is due: after some seconds no further delivery is begun."""
    shop = make_shop()
    slow.free.set()
    payment_received.connect(slow.hear, shop.app, name="slow")
    shop.awaiting()
    monkeypatch.setattr("flask_zeus_cvs.outbox.INLINE_SECONDS", -1)
    shop.zeus.receive(notice("04"))
    assert slow.heard == []
    assert shop.zeus.deliver_now() == Summary(done=1)


@pytest.mark.parametrize(
    "options",
    [
        {"isolation_level": "AUTOCOMMIT"},
        {"execution_options": {"isolation_level": "AUTOCOMMIT"}},
        {"connect_args": {"isolation_level": None}},
    ],
)
def test_autocommit_is_refused(make_shop: ShopMaker, options: dict[str, Any]) -> None:
    """Where each statement commits, nothing belongs together: refused, with the cure."""
    shop = make_shop(engine=options)
    with pytest.raises(ConfigurationError, match=r"AUTOCOMMIT.*Remove that"):
        shop.zeus.receive(notice("04"))
