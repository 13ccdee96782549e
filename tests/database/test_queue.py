"""A queue of the shop's own: it is told of events after their commit, and no answer waits for it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine

from flask_zeus_cvs import EventData, handover, payment_received, sale_confirmed
from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.ledger import Ledger, write
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import Delivery, DeliveryState, Event, Payment
from flask_zeus_cvs.outbox import LONGEST_RETRY, Summary
from tests.conftest import Shop, ShopMaker
from tests.database.test_background import states
from tests.database.test_receive import notice
from tests.waiting import until


class Receiver:
    """Counts in the shop's own table; raises when told to, or waits."""

    def __init__(self, shop: Shop) -> None:
        self.raises = False
        self.calls: list[int] = []
        self.begun, self.free = threading.Event(), threading.Event()
        self.free.set()
        payment_received.connect(self.hear, shop.app, name="first")
        sale_confirmed.connect(self.hear, shop.app, name="second")

    def hear(self, app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        self.calls.append(event.id)
        self.begun.set()
        assert self.free.wait(20)
        if self.raises:
            raise ValueError


class Queue:
    """A broker that can be away or hang; it notes what it was given, where, and what was committed by then."""

    def __init__(self, shop: Shop) -> None:
        self._engine = sa.create_engine(shop.db.engine.url, poolclass=sa.pool.NullPool)
        self.taken: list[int] = []
        self.threads: set[str] = set()
        self.unseen: list[int] = []
        self.away = False
        self.reached, self.free = threading.Event(), threading.Event()
        self.free.set()

    def enqueue(self, event_id: int) -> None:
        self.reached.set()
        self.threads.add(threading.current_thread().name)
        assert self.free.wait(20)
        if self.away:
            raise ConnectionRefusedError
        with self._engine.connect() as connection:
            if connection.scalar(sa.select(Event.id).where(Event.id == event_id)) is None:
                self.unseen.append(event_id)
        self.taken.append(event_id)


@pytest.fixture
def shop(make_shop: ShopMaker, database_uri: str) -> Shop:
    """A shop with two slips out, whose web processes deliver nothing."""
    return with_slips(make_shop(database_uri, DELIVERY="deferred"))


@pytest.fixture
def sqlite(make_shop: ShopMaker) -> Shop:
    """The same, for what does not depend on the database."""
    return with_slips(make_shop(DELIVERY="deferred"))


def with_slips(shop: Shop) -> Shop:
    for number in (1, 2):
        shop.awaiting(order_no=f"000{number}-{number}", reference=f"A-{number}")
    shop.db.session.remove()
    return shop


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again soon, and pause for a moment only."""
    monkeypatch.setattr("flask_zeus_cvs.outbox.POLL_SECONDS", 0.05)
    monkeypatch.setattr(handover, "PAUSE_SECONDS", 0.05)


def receive(shop: Shop, status: str, order_no: str = "0001-1") -> None:
    shop.zeus.receive(notice(status, order_no))
    shop.db.session.remove()


def events(shop: Shop, kind: EventKind) -> list[int]:
    found = [each.id for each in shop.all(Event) if each.kind is kind]
    shop.db.session.remove()
    return found


def test_an_event_is_handed_over_when_it_is_committed(shop: Shop) -> None:
    """Another connection sees it by then, and no request's thread has waited for the queue."""
    Receiver(shop)
    queue = Queue(shop)
    shop.zeus.deliver_through(queue.enqueue)
    receive(shop, "04")
    receive(shop, "05")
    wanted = [
        *events(shop, EventKind.PAYMENT_RECEIVED),
        *events(shop, EventKind.SALE_CONFIRMED),
    ]
    until(lambda: queue.taken == wanted)
    assert queue.unseen == []
    assert queue.threads == {f"zeus-cvs-{shop.app.name}"}
    assert states(shop) == [DeliveryState.PENDING] * 2


def test_nobody_is_told_of_what_was_undone(sqlite: Shop) -> None:
    """An event whose transaction is rolled back is not handed over; nor is one that nobody hears."""
    Receiver(sqlite)
    queue = Queue(sqlite)
    sqlite.zeus.deliver_through(queue.enqueue)
    payments = sqlite.payments

    def append_in_vain(ledger: Ledger) -> None:
        payments._outbox.append(ledger, EventKind.PAYMENT_RECEIVED, ledger.lock(1))
        raise KeyError

    with pytest.raises(KeyError):
        write(payments.database, append_in_vain)
    receive(sqlite, "06")
    receive(sqlite, "04", "0002-2")
    until(lambda: queue.taken == events(sqlite, EventKind.PAYMENT_RECEIVED))
    assert len(queue.taken) == 1


def test_a_queue_that_is_away_costs_a_line(sqlite: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Notices are stored and answered, one line is logged, and the queue has everything when it is back."""
    Receiver(sqlite)
    queue = Queue(sqlite)
    queue.away = True
    sqlite.zeus.deliver_through(queue.enqueue)
    receive(sqlite, "04")
    until(queue.reached.is_set)
    queue.reached.clear()
    receive(sqlite, "05")
    until(queue.reached.is_set)
    queue.away = False
    until(lambda: len(queue.taken) == 2)
    said = [each for each in caplog.records if vars(each).get("action") == "handover"]
    assert len(said) == 1


def test_a_queue_that_hangs_holds_up_nobody(sqlite: Shop) -> None:
    """While it hangs notices are taken, and the sweep delivers what it has not been told of."""
    receiver = Receiver(sqlite)
    queue = Queue(sqlite)
    queue.free.clear()
    sqlite.zeus.deliver_through(queue.enqueue)
    receive(sqlite, "04")
    until(queue.reached.is_set)
    receive(sqlite, "05")
    assert queue.taken == []
    assert sqlite.zeus.deliver_now() == Summary(done=2)
    queue.free.set()
    until(lambda: len(queue.taken) == 2)
    assert [sqlite.zeus.deliver_event(each) for each in queue.taken] == [Summary()] * 2
    assert len(receiver.calls) == 2


def test_a_process_that_ends_hands_over_the_rest(sqlite: Shop) -> None:
    """What waits while the process is told to end is handed over before it does."""
    Receiver(sqlite)
    queue = Queue(sqlite)
    queue.free.clear()
    sqlite.zeus.deliver_through(queue.enqueue)
    receive(sqlite, "04")
    until(queue.reached.is_set)
    receive(sqlite, "05")
    threading.Timer(0.05, queue.free.set).start()
    sqlite.payments.stop()
    assert len(queue.taken) == 2


def test_a_process_that_ends_does_not_wait_for_a_queue_that_is_away(
    sqlite: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the pause after a failure nothing is tried any more: the sweep has it."""
    Receiver(sqlite)
    queue = Queue(sqlite)
    queue.away = True
    monkeypatch.setattr(handover, "PAUSE_SECONDS", 600)
    sqlite.zeus.deliver_through(queue.enqueue)
    receive(sqlite, "04")
    until(queue.reached.is_set)
    queue.reached.clear()
    sqlite.payments._outbox.stop(60)
    assert not queue.reached.is_set()
    assert not [each for each in threading.enumerate() if each.name == f"zeus-cvs-{sqlite.app.name}"]
    assert states(sqlite) == [DeliveryState.PENDING]


def test_a_process_delivers_itself_or_leaves_it_to_a_queue(make_shop: ShopMaker) -> None:
    """Beside the background thread a queue is refused, with the cure."""
    shop = make_shop(DELIVERY="background")
    with pytest.raises(ConfigurationError, match="Set ZEUS_CVS_DELIVERY to 'deferred'"):
        shop.zeus.deliver_through(lambda event_id: None)


def test_receivers_run_inline_while_testing(make_shop: ShopMaker) -> None:
    """A shop's own tests need no queue: what is in the request anyway is handed to nobody."""
    shop = with_slips(make_shop())
    receiver = Receiver(shop)
    queue = Queue(shop)
    shop.zeus.deliver_through(queue.enqueue)
    receive(shop, "04")
    assert len(receiver.calls) == 1
    shop.payments.stop()
    assert not queue.reached.is_set()


def test_one_event_is_delivered(shop: Shop) -> None:
    """A job delivers what is due of its own event; a second does nothing, nor does one of an event that is none."""
    receiver = Receiver(shop)
    receive(shop, "04")
    receive(shop, "05")
    (received,), (confirmed,) = (
        events(shop, EventKind.PAYMENT_RECEIVED),
        events(shop, EventKind.SALE_CONFIRMED),
    )
    assert shop.zeus.deliver_event(confirmed) == Summary(done=1)
    assert shop.zeus.deliver_event(confirmed) == Summary()
    assert shop.zeus.deliver_event(987_654) == Summary()
    assert receiver.calls == [confirmed]
    assert shop.zeus.deliver_event(received) == Summary(done=1)


def test_two_workers_with_the_same_message(shop: Shop) -> None:
    """A broker that gives a message to two workers at once has the receiver called once."""
    receiver = Receiver(shop)
    receive(shop, "04")
    (received,) = events(shop, EventKind.PAYMENT_RECEIVED)
    receiver.free.clear()
    done: list[Summary] = []

    def deliver() -> None:
        with shop.app.app_context():
            done.append(shop.zeus.deliver_event(received))

    other = threading.Thread(target=deliver)
    other.start()
    until(receiver.begun.is_set)
    assert shop.zeus.deliver_event(received) == Summary()
    receiver.free.set()
    other.join(20)
    assert done == [Summary(done=1)]
    assert receiver.calls == [received]


def test_what_fails_is_tried_again_by_the_sweep(shop: Shop) -> None:
    """A job never raises for a receiver; the next try has its time, and a repeated message does not hasten it."""
    receiver = Receiver(shop)
    receive(shop, "04")
    (received,) = events(shop, EventKind.PAYMENT_RECEIVED)
    receiver.raises = True
    assert shop.zeus.deliver_event(received) == Summary(failed=1)
    assert shop.zeus.deliver_event(received) == Summary()
    receiver.raises = False
    with time_machine.travel(datetime.now(UTC) + LONGEST_RETRY):
        assert shop.zeus.deliver_now() == Summary(done=1)
    assert [each.attempts for each in shop.all(Delivery)] == [2]
