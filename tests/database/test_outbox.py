"""Delivery: each subscriber succeeds once, its writes and its done-mark together, whatever the others do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine

from flask_zeus_cvs import (
    EventData,
    State,
    deadline_near,
    fulfillment_ready,
    payment_expired,
    payment_received,
    review_required,
)
from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.exceptions import LeaseLost
from flask_zeus_cvs.ledger import write
from flask_zeus_cvs.models import Application, Delivery, DeliveryState, Event, Payment
from flask_zeus_cvs.outbox import LEASE, Summary, retry_after
from tests.conftest import Shop, ShopMaker
from tests.database.test_receive import notice
from tests.waiting import until


def rows(shop: Shop, table: sa.Table) -> int:
    shop.db.session.rollback()
    return shop.db.session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def states(shop: Shop) -> list[DeliveryState]:
    return [each.state for each in shop.all(Delivery)]


@contextmanager
def later(by: timedelta) -> Iterator[None]:
    with time_machine.travel(datetime.now(UTC) + by):
        yield


def test_a_receiver_hears_payment_and_event(shop: Shop) -> None:
    """Receivers get the app, the payment in db.session and the frozen event."""
    heard: list[tuple[Any, str, EventData]] = []

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        assert payment in shop.db.session()
        heard.append((app, payment.reference, event))

    payment_received.connect(listen, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    ((app, reference, event),) = heard
    assert app is shop.app
    assert reference == "A-1001"
    assert (event.kind, event.previous_state, event.test) == (
        "payment_received",
        State.AWAITING_PAYMENT,
        False,
    )
    assert event.notification_id is not None
    assert event.occurred_at.tzinfo is not None


def test_writes_and_mark_commit_together(shop: Shop, counted: sa.Table) -> None:
    """What a receiver writes through db.session is there once its delivery is done."""

    def count(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shop.db.session.execute(counted.insert().values(event_id=event.id))

    fulfillment_ready.connect(count, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert rows(shop, counted) == 1
    assert states(shop) == [DeliveryState.DONE]
    assert shop.zeus.deliver_now() == Summary()


def test_a_failure_takes_its_writes_back_and_is_tried_again(shop: Shop, counted: sa.Table) -> None:
    """A receiver that raises leaves no write; the next try, later, counts once."""
    tries: list[int] = []

    def count(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shop.db.session.execute(counted.insert().values(event_id=event.id))
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("out of paper")

    fulfillment_ready.connect(count, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert rows(shop, counted) == 0
    assert shop.zeus.deliver_now() == Summary()
    with later(timedelta(minutes=2)):
        assert shop.zeus.deliver_now() == Summary(failed=1)
    with later(timedelta(hours=1)):
        assert shop.zeus.deliver_now() == Summary(done=1)
    assert rows(shop, counted) == 1
    (delivery,) = shop.all(Delivery)
    assert (delivery.state, delivery.attempts) == (DeliveryState.DONE, 3)


def test_one_that_raises_stops_no_other(shop: Shop, counted: sa.Table) -> None:
    """Each subscriber has a delivery of its own; the one that fails is alone tried again."""

    def bad(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        raise RuntimeError("bad")

    def good(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shop.db.session.execute(counted.insert().values(event_id=event.id))

    fulfillment_ready.connect(bad, shop.app)
    fulfillment_ready.connect(good, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    with later(timedelta(hours=1)):
        shop.zeus.deliver_now()
    assert rows(shop, counted) == 1
    assert sorted(states(shop)) == [DeliveryState.DONE, DeliveryState.PENDING]


def test_the_answer_does_not_hear_of_a_failing_receiver(shop: Shop) -> None:
    """Law 5: receive returns as if nothing had happened; only log and delivery tell."""

    def bad(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        raise RuntimeError("bad")

    payment_received.connect(bad, shop.app)
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert shop.state(payment) is State.RECEIVED


def test_it_is_parked_after_its_last_try(make_shop: ShopMaker, database_uri: str) -> None:
    """After DELIVERY_ATTEMPTS failures a delivery is parked, and never tried again by itself."""
    shop = make_shop(database_uri, DELIVERY_ATTEMPTS=2)
    calls: list[int] = []

    def bad(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        calls.append(1)
        raise RuntimeError("bad")

    payment_received.connect(bad, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    with later(timedelta(days=1)):
        assert shop.zeus.deliver_now() == Summary(parked=1)
    with later(timedelta(days=9)):
        assert shop.zeus.deliver_now() == Summary()
    assert len(calls) == 2
    assert states(shop) == [DeliveryState.PARKED]


def test_an_error_is_named_without_its_message(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Law 11: a receiver's error may hold personal data; its kind and place are enough."""

    def bad(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        raise RuntimeError("cannot mail taro@example.com")

    payment_received.connect(bad, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    (delivery,) = shop.all(Delivery)
    assert delivery.last_error.startswith("RuntimeError at test_outbox.py:")
    assert "taro" not in caplog.text
    assert "RuntimeError at test_outbox.py" in caplog.text


def test_a_subscriber_that_is_not_here_is_waited_for(shop: Shop) -> None:
    """A renamed receiver, or one that this process did not import, costs no try; it is named, and done once back."""

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(event.id)

    heard: list[int] = []
    shop.awaiting()
    payment_received.connect(listen, shop.app, name="listen")
    shop.payments._outbox.after_commit = lambda: None  # type: ignore[method-assign]
    shop.zeus.receive(notice("04"))
    payment_received.disconnect(listen, shop.app)
    assert shop.zeus.deliver_now() == Summary()
    assert shop.payments.stranded() == {"listen": 1}
    told = shop.app.test_cli_runner().invoke(args=["zeus-cvs", "deliver"])
    assert "waiting for receivers that are not connected here:\n  listen  1\n" in told.output
    assert shop.all(Delivery)[0].attempts == 0
    payment_received.connect(listen, shop.app, name="listen")
    assert shop.payments.stranded() == {}
    assert shop.zeus.deliver_now() == Summary(done=1)
    assert len(heard) == 1


def test_two_apps_on_one_database(make_shop: ShopMaker, database_uri: str) -> None:
    """An app leaves alone what only another app's receivers can take."""
    shop = make_shop(database_uri, DELIVERY="deferred")
    office = make_shop(database_uri)
    heard: list[Any] = []

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(app)

    payment_received.connect(listen, shop.app)
    with shop.app.app_context():
        shop.awaiting()
        shop.zeus.receive(notice("04"))
    with office.app.app_context():
        assert office.zeus.deliver_now() == Summary()
    with shop.app.app_context():
        assert shop.zeus.deliver_now() == Summary(done=1)
    assert heard == [shop.app]


def test_deliveries_are_fixed_when_the_event_is_appended(shop: Shop) -> None:
    """A subscriber that connects later does not hear what happened before."""
    shop.awaiting()
    shop.payments._outbox.after_commit = lambda: None  # type: ignore[method-assign]
    shop.zeus.receive(notice("04"))

    def late(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        raise AssertionError("it connected too late")

    payment_received.connect(late, shop.app)
    assert shop.zeus.deliver_now() == Summary()
    assert {event.kind for event in shop.all(Event)} >= {"payment_received"}


def test_deferred_delivers_only_when_told(make_shop: ShopMaker, database_uri: str) -> None:
    """With DELIVERY=deferred a notice delivers nothing; deliver_now does."""
    shop = make_shop(database_uri, DELIVERY="deferred")
    heard: list[int] = []

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(event.id)

    payment_received.connect(listen, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert heard == []
    assert shop.zeus.deliver_now() == Summary(done=1)
    assert len(heard) == 1


def test_background_delivers_beside_the_request(make_shop: ShopMaker, database_uri: str) -> None:
    """Law 5: with DELIVERY=background a slow subscriber delays no notice, and is called in a thread of its own."""
    shop = make_shop(database_uri, DELIVERY="background")
    free, heard = threading.Event(), list[str]()

    def slow(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(threading.current_thread().name)
        free.wait(10)

    payment_received.connect(slow, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    until(lambda: bool(heard))
    shop.awaiting(order_no="0002-2", reference="A-2")
    shop.zeus.receive(notice("04", "0002-2"))
    free.set()
    until(lambda: states(shop) == [DeliveryState.DONE] * 2)
    assert all(name.startswith("zeus-cvs-") for name in heard)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_worker_starts_a_thread_of_its_own(make_shop: ShopMaker, database_uri: str) -> None:
    """A child inherits the objects, not the thread: what it receives is delivered by itself."""
    shop = make_shop(database_uri, DELIVERY="background")

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        pass

    payment_received.connect(listen, shop.app)
    shop.awaiting()
    shop.awaiting(order_no="0002-2", reference="A-2")
    shop.zeus.receive(notice("04"))
    until(lambda: states(shop) == [DeliveryState.DONE])
    shop.payments._outbox.stop()  # it may not have given its connection back yet
    shop.db.session.remove()
    shop.db.engine.dispose()
    child = os.fork()
    if child == 0:
        shop.db.engine.dispose(close=False)
        try:
            shop.zeus.receive(notice("04", "0002-2"))
            until(lambda: states(shop) == [DeliveryState.DONE] * 2)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert states(shop) == [DeliveryState.DONE] * 2


def test_a_leased_delivery_is_left_alone_until_its_lease_ends(shop: Shop) -> None:
    """A worker that died is taken over when its lease has ended, not before."""

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        pass

    payment_received.connect(listen, shop.app)
    shop.awaiting()
    outbox = shop.payments._outbox
    outbox.after_commit = lambda: None  # type: ignore[method-assign]
    shop.zeus.receive(notice("04"))
    ((delivery_id, receiver),) = outbox._due()
    write(
        shop.payments._database, lambda ledger: outbox._claim(ledger, delivery_id, receiver)
    )  # and then it died
    assert shop.zeus.deliver_now() == Summary()
    with later(LEASE - timedelta(seconds=5)):
        assert shop.zeus.deliver_now() == Summary()
    with later(LEASE + timedelta(seconds=5)):
        assert shop.zeus.deliver_now() == Summary(done=1)
    assert shop.all(Delivery)[0].attempts == 2


def test_a_call_that_outlives_its_lease_cannot_finish_twice(shop: Shop, counted: sa.Table) -> None:
    """While one worker is slow past its lease, another takes over; only one of them commits."""
    entered, leave = threading.Event(), threading.Event()
    calls: list[int] = []

    def slow(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            entered.set()
            assert leave.wait(10)
        shop.db.session.execute(counted.insert().values(event_id=event.id))

    payment_received.connect(slow, shop.app)
    shop.awaiting()
    outbox = shop.payments._outbox
    outbox.after_commit = lambda: None  # type: ignore[method-assign]
    shop.zeus.receive(notice("04"))
    first: list[Summary] = []
    worker = threading.Thread(target=lambda: first.append(outbox.deliver_due()))
    worker.start()
    assert entered.wait(10)
    shop.db.session.execute(sa.update(Delivery).values(leased_until=datetime.now(UTC) - timedelta(seconds=1)))
    shop.db.session.commit()
    assert shop.zeus.deliver_now() == Summary(done=1)
    leave.set()
    worker.join(20)
    assert first == [Summary(failed=1)]
    assert rows(shop, counted) == 1
    assert states(shop) == [DeliveryState.DONE]


def test_many_workers_deliver_each_once(shop: Shop, counted: sa.Table) -> None:
    """Four threads deliver twenty events at once: every event is counted once."""

    def count(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shop.db.session.execute(counted.insert().values(event_id=event.id))

    review_required.connect(count, shop.app)
    outbox = shop.payments._outbox
    outbox.after_commit = lambda: None  # type: ignore[method-assign]
    for number in range(20):
        shop.zeus.receive(notice("04", f"unknown-{number}"))
    shop.db.session.remove()
    workers = [threading.Thread(target=outbox.deliver_due) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    shop.zeus.deliver_now()
    shop.db.session.rollback()
    counts = shop.db.session.execute(sa.select(counted.c.event_id)).scalars().all()
    assert len(counts) == len(set(counts)) == 20
    assert set(states(shop)) == {DeliveryState.DONE}


def test_a_shipment_overtaken_by_a_06_is_withdrawn(shop: Shop) -> None:
    """Looked at again before it is sent: after a 06 the goods stay, and a later decision may still ship them."""
    shipped: list[int] = []

    def ship(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shipped.append(event.id)

    fulfillment_ready.connect(ship, shop.app)
    payment, _ = shop.awaiting()
    outbox = shop.payments._outbox
    outbox.after_commit = lambda: None  # type: ignore[method-assign]
    shop.zeus.receive(notice("04"))
    shop.zeus.receive(notice("06"))
    assert shop.zeus.deliver_now() == Summary(obsolete=1)
    assert shipped == []
    assert states(shop) == [DeliveryState.OBSOLETE]
    assert shop.state(payment) is State.CANCELLED


def test_an_expiry_overtaken_by_money_is_withdrawn(shop: Shop) -> None:
    """Nothing is restocked that has been paid meanwhile."""
    restocked: list[int] = []

    def restock(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        restocked.append(event.id)

    payment_expired.connect(restock, shop.app)
    shop.awaiting()
    outbox = shop.payments._outbox
    outbox.after_commit = lambda: None  # type: ignore[method-assign]
    shop.zeus.receive(notice("03"))
    shop.zeus.receive(notice("04"))
    assert shop.zeus.deliver_now() == Summary(obsolete=1)
    assert restocked == []


def test_retries_double_and_last_about_a_day() -> None:
    """Twelve tries take about a day, each wait doubled and spread by a fifth."""
    waits = [retry_after(number) for number in range(1, 12)]
    assert timedelta(hours=16) < sum(waits, timedelta()) < timedelta(hours=30)
    assert all(0.8 <= wait / (timedelta(seconds=40) * 2**power) <= 1.2 for power, wait in enumerate(waits))
    assert retry_after(1000) <= timedelta(hours=12) * 1.2


def test_a_receiver_may_close_its_payment(shop: Shop) -> None:
    """close joins the receiver's transaction: both or neither."""

    def restock(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shop.zeus.close(payment)

    payment_expired.connect(restock, shop.app)
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("03"))
    assert shop.state(payment) is State.CLOSED


def test_an_async_receiver_is_awaited(shop: Shop) -> None:
    """Receivers may be coroutine functions, as Flask's views may."""
    heard: list[int] = []

    async def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(event.id)

    deadline_near.connect(listen, shop.app)
    _, application = shop.awaiting()
    row = shop.db.session.get_one(Application, application.id)
    row.pay_limit = datetime.now(JST).date()
    shop.db.session.commit()
    shop.zeus.expire()
    assert len(heard) == 1


def test_a_lost_lease_finishes_nothing(shop: Shop, counted: sa.Table) -> None:
    """While another worker has taken over and is still at it, the slow one's writes are undone, and the lease stays."""

    def count(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shop.db.session.execute(counted.insert().values(event_id=event.id))

    payment_received.connect(count, shop.app)
    shop.awaiting()
    outbox = shop.payments._outbox
    outbox.after_commit = lambda: None  # type: ignore[method-assign]
    shop.zeus.receive(notice("04"))
    ((delivery_id, receiver),) = outbox._due()
    claim = write(shop.payments._database, lambda ledger: outbox._claim(ledger, delivery_id, receiver))
    shop.db.session.execute(sa.update(Delivery).values(lease="another"))
    shop.db.session.commit()
    with pytest.raises(LeaseLost):
        outbox._tell(claim)  # type: ignore[arg-type]
    assert rows(shop, counted) == 0
    (delivery,) = shop.all(Delivery)
    assert (delivery.state, delivery.lease) == (DeliveryState.PENDING, "another")
