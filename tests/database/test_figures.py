"""The dashboard's numbers: counted on the right day of Japan, each once, on every database."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import Application, Event, Notification, Verdict
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.staff.figures import LONGEST, Day, Figures, desk, figures
from tests.conftest import CUSTOMER, Shop
from tests.office import receive

MONDAY = date(2026, 4, 6)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=JST)


class Books:
    """Writes what happened when, and counts it."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._payment = shop.payment()

    def apply(self, moment: datetime, store: Store = Store.LAWSON, **values: object) -> Application:
        """A slip that came into being."""
        given = {
            "order_no": f"{moment.timestamp()}-{store}",
            "stored_state": State.AWAITING_PAYMENT,
            **values,
        }
        application = Application(
            payment_id=self._payment.id,
            sendid="S1",
            store=store,
            created_at=moment,
            answer_due_at=moment,
            customer=CUSTOMER,
            **given,
        )
        self._shop.db.session.add(application)
        self._shop.db.session.commit()
        return application

    def tell(
        self,
        kind: EventKind,
        moment: datetime,
        before: State | None = State.AWAITING_PAYMENT,
        application: Application | None = None,
        test: bool = False,
    ) -> None:
        self._shop.db.session.add(
            Event(
                kind=kind,
                occurred_at=moment,
                previous_state=before,
                payment_id=self._payment.id,
                application_id=application.id if application else None,
                test=test,
            )
        )
        self._shop.db.session.commit()

    def count(self, first: date = MONDAY, last: date = MONDAY) -> Figures:
        self._shop.db.session.rollback()
        with Session(self._shop.db.engine) as session:
            return figures(session, first, last)


@pytest.fixture
def books(shop: Shop) -> Books:
    return Books(shop)


def test_days_are_japans(books: Books) -> None:
    """A day begins and ends at midnight in Japan, whatever the database's own clock says."""
    received = EventKind.PAYMENT_RECEIVED
    for moment in (
        at(MONDAY, 0) - timedelta(seconds=1),
        at(MONDAY, 0),
        at(MONDAY, 8, 59),
        at(MONDAY, 9),
        at(MONDAY, 23, 59),
        at(MONDAY, 24 - 1, 59) + timedelta(minutes=1),
    ):
        books.tell(received, moment)
    week = books.count(MONDAY - timedelta(days=1), MONDAY + timedelta(days=1))

    assert [each.paid for each in week.days] == [1, 4, 1]
    assert [each.day.day for each in week.days] == [5, 6, 7]
    assert books.count().total == Day(MONDAY, paid=4)
    assert week.total.paid == 6
    assert week.yen == 6 * 3000


def test_each_event_is_counted_once(books: Books) -> None:
    """A sale that is confirmed without an 04 is money too; one that follows its 04 is not money twice."""
    noon = at(MONDAY, 12)
    books.tell(EventKind.APPLICATION_ACCEPTED, noon, State.SUBMITTING)
    books.tell(EventKind.PAYMENT_RECEIVED, noon)
    books.tell(EventKind.FULFILLMENT_READY, noon)
    books.tell(EventKind.SALE_CONFIRMED, noon, State.RECEIVED)
    books.tell(EventKind.SALE_CONFIRMED, noon, State.AWAITING_PAYMENT)
    books.tell(EventKind.PAYMENT_RECEIVED, noon, State.EXPIRED)
    books.tell(EventKind.PAYMENT_CANCELLED, noon, State.RECEIVED)
    books.tell(EventKind.PAYMENT_EXPIRED, noon)
    books.tell(EventKind.PAYMENT_RECEIVED_AFTER_CANCEL, noon, State.SUPERSEDED)
    books.tell(EventKind.SALE_CONFIRMED_AFTER_CANCEL, noon, State.RECEIVED_AFTER_CANCEL)
    books.tell(EventKind.SALE_CONFIRMED_AFTER_CANCEL, noon, State.SUPERSEDED)
    books.tell(EventKind.PAYMENT_RECEIVED, noon, test=True)

    [day] = books.count().days
    assert day == Day(MONDAY, applied=1, paid=3, late=1, confirmed=2, expired=1, cancelled=1, after_cancel=2)


def test_stores_have_their_share(books: Books) -> None:
    """Slips of the period by store, with those that hold money now; refusals and tests are none."""
    books.apply(at(MONDAY, 1) - timedelta(days=1), Store.MINISTOP)
    books.apply(at(MONDAY, 1), Store.LAWSON, stored_state=State.CONFIRMED)
    books.apply(at(MONDAY, 2), Store.LAWSON)
    books.apply(at(MONDAY, 3), Store.SEVEN_ELEVEN, stored_state=State.RECEIVED)
    books.apply(at(MONDAY, 4), Store.LAWSON, order_no=None, stored_state=State.DECLINED)
    books.apply(at(MONDAY, 5), Store.LAWSON, test=True)

    found = [(each.store, each.applied, each.paid) for each in books.count().stores]
    assert found == [(Store.SEVEN_ELEVEN, 1, 1), (Store.LAWSON, 2, 1)]


def test_waits_are_measured(books: Books) -> None:
    """Hours from the application to its money, and days of Japan from 04 to 05; both of the same application."""
    slips = [books.apply(at(MONDAY, 1) - timedelta(hours=hours)) for hours in (200, 30, 0.5)]
    for slip in slips:
        books.tell(EventKind.PAYMENT_RECEIVED, at(MONDAY, 1), application=slip)
    for days, slip in zip((2, 3, 3), slips, strict=True):
        moment = at(MONDAY + timedelta(days=days), 0, 5)
        books.tell(EventKind.SALE_CONFIRMED, moment, State.RECEIVED, slip)
    found = books.count(MONDAY, MONDAY + timedelta(days=7))

    assert found.hours_to_pay.total == 3
    assert found.hours_to_pay.median == pytest.approx(30)
    assert (found.hours_to_pay.counts[0], found.hours_to_pay.counts[-1]) == (1, 1)
    assert found.days_to_confirm.counts[2:4] == (1, 2)
    assert found.days_to_confirm.median == 3
    assert not found.days_to_confirm.sampled


def test_an_empty_period_is_whole(books: Books) -> None:
    """Every day is there, and nothing divides by zero."""
    found = books.count(MONDAY, MONDAY + timedelta(days=364))
    assert len(found.days) == 365
    assert found.total == Day(MONDAY)
    assert (found.stores, found.hours_to_pay.median, found.yen) == ((), None, None)
    assert [len(found.in_steps(7)), len(found.in_steps(28))] == [53, 14]


@pytest.mark.parametrize("days", [-1, LONGEST])
def test_a_period_has_an_end(sqlite_shop: Shop, days: int) -> None:
    """One that ends before it begins, or is endless, is refused."""
    with Session(sqlite_shop.db.engine) as session, pytest.raises(ValueError, match="a period has 1 to"):
        figures(session, MONDAY, MONDAY + timedelta(days=days))


def test_rows_that_came_late_are_counted(books: Books) -> None:
    """Ids follow the clock only nearly: a row of before midnight may stand after one of after it."""
    books.tell(EventKind.PAYMENT_RECEIVED, at(MONDAY, 0, 5) + timedelta(days=1))
    books.tell(EventKind.PAYMENT_RECEIVED, at(MONDAY, 23, 59))
    assert books.count().total.paid == 1


def test_the_desk_shows_what_waits(shop: Shop) -> None:
    """Open reviews, parked deliveries, and when ZEUS last called, a repeat included."""
    shop.awaiting()
    receive(shop, "04", "0001-1")
    receive(shop, "05", "strange-1")
    later = now() + timedelta(hours=1)
    shop.db.session.add(Notification(identity="x", raw=b"", verdict=Verdict.NO_EFFECT, last_at=now()))
    shop.db.session.commit()
    shop.db.session.execute(sa.update(Notification).where(Notification.id == 1).values(last_at=later))
    shop.db.session.commit()
    with Session(shop.db.engine) as session:
        found = desk(session)

    assert (found.open_reviews, found.parked) == (1, 0)
    assert found.last_notice_at is not None
    assert abs(found.last_notice_at - later) < timedelta(seconds=1)


def test_a_new_shop_has_no_notice(sqlite_shop: Shop) -> None:
    """Before the first one there is none."""
    with Session(sqlite_shop.db.engine) as session:
        assert desk(session).last_notice_at is None
