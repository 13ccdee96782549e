"""What a receiver may do to its session: its writes and its done-mark are stored together, or neither is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from flask_zeus_cvs import EventData, State, payment_received, sale_confirmed
from flask_zeus_cvs.models import Delivery, DeliveryState, Payment
from flask_zeus_cvs.outbox import Summary
from tests.conftest import Shop
from tests.database.test_receive import notice

Act = Callable[[Session, int], object]


class Till:
    """A shop's own table, and a receiver that does to it what a test says."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.table = sa.Table(
            "till",
            shop.db.metadata,
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        )
        shop.db.create_all()
        self.acts: list[Act] = []
        payment_received.connect(self.hear, shop.app, name="till")

    def hear(self, app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        self.acts.pop(0)(self.shop.db.session(), event.id)

    def put(self, session: Session, number: int) -> None:
        session.execute(self.table.insert().values(id=number))

    def pay(self, *acts: Act, order_no: str = "0001-1") -> None:
        """Let a payment come, for which the receiver does one of the acts per call."""
        self.acts = list(acts)
        self.shop.awaiting(order_no=order_no, reference=f"A-{order_no}")
        self.shop.zeus.receive(notice("04", order_no))

    @property
    def rows(self) -> list[int]:
        self.shop.db.session.remove()
        return list(self.shop.db.session.scalars(sa.select(self.table.c.id).order_by(self.table.c.id)))

    @property
    def delivery(self) -> Delivery:
        delivery: Delivery = self.shop.all(Delivery)[-1]
        return delivery

    def again(self) -> Summary:
        """Deliver as if the next try were due."""
        self.shop.payments.hasten()
        return self.shop.zeus.deliver_now()


@pytest.fixture
def till(shop: Shop) -> Till:
    return Till(shop)


def test_a_receiver_that_commits_by_itself_counts_once(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    """Its writes are there once, it is not called again, and the log says once what to change."""

    def commits(session: Session, number: int) -> None:
        till.put(session, number)
        session.commit()

    till.pay(commits)
    till.pay(commits, order_no="0002-2")
    assert len(till.rows) == 2
    assert till.delivery.state is DeliveryState.DONE
    assert till.again() == Summary()
    said = [record.message for record in caplog.records if "db.session.commit()" in record.message]
    assert len(said) == 1
    assert said[0].startswith("Receiver till calls db.session.commit(). Remove that")


def test_an_own_commit_carries_a_mark(till: Till) -> None:
    """From the moment that a receiver's own commit is stored, nobody but a person can have it called again."""
    seen: list[DeliveryState] = []

    def commits(session: Session, number: int) -> None:
        till.put(session, number)
        session.commit()
        read = till.shop.payments._database.read
        seen.append(read(lambda other: other.scalars(sa.select(Delivery.state)).one()))

    till.pay(commits)
    assert seen == [DeliveryState.PARKED]
    assert till.delivery.state is DeliveryState.DONE


def test_a_failure_after_an_own_commit_is_parked(till: Till) -> None:
    """It cannot be tried again without doubling what was committed: a person decides."""

    def commits_and_fails(session: Session, number: int) -> None:
        till.put(session, number)
        session.commit()
        till.put(session, number + 1000)
        raise RuntimeError("out of paper")

    till.pay(commits_and_fails)
    assert len(till.rows) == 1
    (parked,) = till.shop.payments.parked()
    assert parked.subscriber == "till"
    assert parked.attempts == 1
    assert parked.last_error.startswith("RuntimeError at test_receivers.py:")
    assert parked.last_error.endswith("ended after it had committed by itself")
    assert till.again() == Summary()


def test_a_worker_that_dies_after_an_own_commit_leaves_it_parked(till: Till) -> None:
    """It is shown once its lease has ended, and nobody takes it over by itself."""

    class Killed(KeyboardInterrupt):
        pass

    def commits_and_dies(session: Session, number: int) -> None:
        till.put(session, number)
        session.commit()
        raise Killed

    with pytest.raises(Killed):
        till.pay(commits_and_dies)
    assert till.shop.payments.parked() == []
    with_lease_over(till)
    (parked,) = till.shop.payments.parked()
    assert parked.last_error == "ended after it had committed by itself"
    assert till.again() == Summary()
    assert len(till.rows) == 1


def with_lease_over(till: Till) -> None:
    till.shop.db.session.execute(
        sa.update(Delivery).values(leased_until=datetime.now(UTC) - timedelta(seconds=1))
    )
    till.shop.db.session.commit()


def test_an_own_commit_that_fails_is_tried_again(till: Till) -> None:
    """If the commit itself fails, nothing was stored: an ordinary failure."""

    def collides(session: Session, number: int) -> None:
        till.put(session, number)
        till.put(session, number)
        session.commit()

    def behaves(session: Session, number: int) -> None:
        till.put(session, number)

    till.pay(collides, behaves)
    assert till.rows == []
    assert till.again() == Summary(done=1)
    assert len(till.rows) == 1


def test_an_own_commit_without_a_lease_stores_nothing(till: Till) -> None:
    """A call that was taken over cannot commit by itself either."""

    def loses_its_lease(session: Session, number: int) -> None:
        till.shop.payments._database.write(
            lambda other: other.execute(sa.update(Delivery).values(lease="another worker's"))
        )
        till.put(session, number)
        session.commit()

    till.pay(loses_its_lease)
    assert till.rows == []
    assert till.delivery.state is DeliveryState.PENDING
    assert till.delivery.lease == "another worker's"


def test_savepoints_are_a_receivers_own_affair(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    """Nested transactions, kept, undone or left open, are no commit of its own; what is kept counts once."""

    def nests(session: Session, number: int) -> None:
        till.put(session, number)
        with session.begin_nested():
            till.put(session, number + 1000)
        undone = session.begin_nested()
        till.put(session, number + 2000)
        undone.rollback()
        session.begin_nested()
        till.put(session, number + 3000)

    till.pay(nests)
    number = till.rows[0]
    assert till.rows == [number, number + 1000, number + 3000]
    assert till.delivery.state is DeliveryState.DONE
    assert "db.session.commit()" not in caplog.text


def test_a_savepoint_that_fails_after_another_is_undone_whole(till: Till) -> None:
    """A failure takes the savepoints that were kept with it."""

    def nests_and_fails(session: Session, number: int) -> None:
        with session.begin_nested():
            till.put(session, number)
        raise RuntimeError("out of paper")

    till.pay(nests_and_fails)
    assert till.rows == []
    assert till.delivery.state is DeliveryState.PENDING


def test_a_receiver_that_rolls_back_and_goes_on(till: Till) -> None:
    """What it wrote after its rollback is stored with the mark; what it wrote before is its own decision."""

    def thinks_again(session: Session, number: int) -> None:
        till.put(session, number)
        session.rollback()
        till.put(session, number + 1000)

    till.pay(thinks_again)
    (row,) = till.rows
    assert row > 1000
    assert till.delivery.state is DeliveryState.DONE


@pytest.mark.parametrize("ended", ["remove", "close"])
def test_a_receiver_that_ends_its_session_and_goes_on(till: Till, ended: str) -> None:
    """``db.session.remove()`` undoes what it wrote; the next session's writes and the mark belong together."""

    def leaves(session: Session, number: int) -> None:
        till.put(session, number)
        getattr(till.shop.db.session, ended)()
        till.put(till.shop.db.session(), number + 1000)

    till.pay(leaves)
    (row,) = till.rows
    assert row > 1000
    assert till.delivery.state is DeliveryState.DONE


def test_a_receiver_that_breaks_the_session_is_tried_again(till: Till) -> None:
    """A failed flush that it swallows leaves a session that cannot commit: nothing is stored, nothing is done."""

    def swallows(session: Session, number: int) -> None:
        till.put(session, number)
        broken = Delivery(event_id=None, subscriber="x")
        session.add(broken)
        with pytest.raises(DBAPIError):
            session.flush()

    def behaves(session: Session, number: int) -> None:
        till.put(session, number)

    till.pay(swallows, behaves)
    assert till.rows == []
    assert till.delivery.state is DeliveryState.PENDING
    assert till.again() == Summary(done=1)
    assert len(till.rows) == 1


def test_a_rolled_back_collision_is_an_ordinary_success(till: Till) -> None:
    """The usual way to write 'only once' with a unique key: on a collision roll back, and return."""
    till.shop.db.session.execute(till.table.insert().values(id=7))
    till.shop.db.session.commit()

    def insists(session: Session, number: int) -> None:
        try:
            session.execute(till.table.insert().values(id=7))
        except IntegrityError:
            session.rollback()

    till.pay(insists)
    assert till.rows == [7]
    assert till.delivery.state is DeliveryState.DONE


def test_a_shop_commits_outside_of_receivers_as_it_likes(
    till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    """The watch over own commits looks at receivers only, also right after one was called."""
    till.pay(till.put)
    till.shop.db.session.execute(till.table.insert().values(id=9000))
    till.shop.db.session.commit()
    assert till.rows[-1] == 9000
    assert "db.session.commit()" not in caplog.text


def test_verbs_inside_a_receiver_are_no_commit_of_its_own(
    till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver may take another notice, which commits in a transaction of ours."""

    def receives(session: Session, number: int) -> None:
        till.shop.zeus.receive(notice("05"))

    till.pay(receives)
    payment = till.shop.zeus.find("A-0001-1")
    assert payment is not None
    assert till.shop.state(payment) is State.CONFIRMED
    assert "db.session.commit()" not in caplog.text


def test_two_receivers_are_warned_of_each(till: Till, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Each receiver that commits by itself is named."""

    def books(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shop.db.session.commit()

    sale_confirmed.connect(books, shop.app, name="books")
    till.pay(lambda session, number: session.commit())
    shop.zeus.receive(notice("05"))
    named = [record.message.split()[1] for record in warnings(caplog)]
    assert named == ["till", "books"]


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if getattr(each, "action", "") == "own_commit"]


def test_a_time_out_that_is_no_exception_is_a_failure_like_others(
    till: Till, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio's and gevent's are BaseExceptions: recorded, told without their text, and the others are called."""
    heard: list[int] = []

    def other(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(event.id)

    def times_out(session: Session, number: int) -> None:
        raise asyncio.CancelledError("taro@example.com")

    payment_received.connect(other, shop.app, name="zzz")
    till.pay(times_out, till.put)
    assert len(heard) == 1
    assert "CancelledError at test_receivers.py" in caplog.text
    assert "taro" not in caplog.text
    assert till.again() == Summary(done=1)
    assert len(till.rows) == 1
