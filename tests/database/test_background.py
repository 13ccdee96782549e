"""Where deliveries run: a thread that begins when it is needed and ends when it is told, a request, or neither."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flask_zeus_cvs import EventData, payment_received
from flask_zeus_cvs.exceptions import ConfigurationError
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
