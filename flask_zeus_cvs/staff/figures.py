"""The numbers of the dashboard, as frozen values: what was applied for, paid, confirmed and given up, day by day.

Days are Japan's. Counted is what happened in a period: what was paid on Monday may have been applied for on Sunday.
Test applications are left out. Rows of before a period are not read: ids grow with time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.lifecycle import HOLDS_MONEY, EventKind, State
from flask_zeus_cvs.models import (
    Application,
    Base,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
)
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.staff.search import GROWS_WITH_ID, MARGIN, day_begins, first_id_since

#: Payments that a distribution is drawn from, the latest of the period: more would change nothing that one sees.
SAMPLE = 5_000
#: The longest period, in days, and the longest for which yen are added up: that looks at every payment.
LONGEST = 3 * 366
LONGEST_FOR_YEN = 92
#: Notices among which the last one is looked for: a repeat keeps its row.
_RECENT = 500

#: Upper ends of the columns, in hours and in days; the last column has none.
HOURS = (1, 3, 6, 12, 24, 48, 72, 120)
DAYS = (1, 2, 3, 4, 5, 6, 7, 10, 14)


@dataclass(frozen=True)
class Day:
    """What happened on one day, or from this day until the next of the list."""

    day: date
    #: Slips that came into being.
    applied: int = 0
    #: Money that came at the till (04, or 05 without one); late: after the slip had expired, counted in `paid` too.
    paid: int = 0
    late: int = 0
    #: Sales that were confirmed (05).
    confirmed: int = 0
    #: Payments that nobody made in time.
    expired: int = 0
    #: Money that was taken back (06).
    cancelled: int = 0
    #: Money on slips that had been re-issued (11, or 12 without one).
    after_cancel: int = 0

    def __add__(self, other: Day) -> Day:
        sums = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        return Day(self.day, **sums)


COUNTS = ("applied", "paid", "late", "confirmed", "expired", "cancelled", "after_cancel")


@dataclass(frozen=True)
class StoreFigures:
    """Of the slips that were applied for in the period: how many a store had, and how many of them hold money now."""

    store: Store
    applied: int
    paid: int


@dataclass(frozen=True)
class Spread:
    """How long something took: a count for each column, and what half of them took no longer than."""

    #: Upper ends; there is one count more, for what took longer.
    bounds: tuple[int, ...]
    counts: tuple[int, ...]
    median: float | None
    #: Whether only the latest `SAMPLE` were looked at.
    sampled: bool = False

    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class Figures:
    """A period's numbers. ``first`` and ``last`` are its days."""

    first: date
    last: date
    days: tuple[Day, ...]
    #: What was paid, in yen; None for a period of more than `LONGEST_FOR_YEN` days.
    yen: int | None
    stores: tuple[StoreFigures, ...]
    hours_to_pay: Spread
    days_to_confirm: Spread

    @property
    def total(self) -> Day:
        """The whole period as one."""
        return sum(self.days, Day(self.first))

    def in_steps(self, days: int) -> tuple[Day, ...]:
        """Put so many days into one each; the last one may have fewer."""
        steps = [self.days[at : at + days] for at in range(0, len(self.days), days)]
        return tuple(sum(step[1:], step[0]) for step in steps)


@dataclass(frozen=True)
class Desk:
    """What needs a person now, and when ZEUS last called."""

    open_reviews: int
    parked: int
    #: Aware, UTC; None before the first notice.
    last_notice_at: datetime | None


def desk(session: Session) -> Desk:
    """Count what needs a person."""
    recent = sa.select(Notification.last_at).order_by(Notification.id.desc()).limit(_RECENT).subquery()
    parked = sa.select(sa.func.count()).where(Delivery.state == DeliveryState.PARKED)
    return Desk(
        open_reviews=session.scalar(sa.select(sa.func.count()).where(Review.resolved_at.is_(None))) or 0,
        parked=session.scalar(parked) or 0,
        last_notice_at=session.scalar(sa.select(sa.func.max(recent.c.last_at))),
    )


def figures(session: Session, first: date, last: date) -> Figures:
    """Read the numbers of a period, both days included. Raises `ValueError` if it is none, or longer than `LONGEST`."""
    if not timedelta() <= last - first < timedelta(days=LONGEST):
        raise ValueError(f"a period has 1 to {LONGEST} days")
    period = _Period(session, first, last)
    return Figures(
        first=first,
        last=last,
        days=_days(period),
        yen=_yen(period) if (last - first).days < LONGEST_FOR_YEN else None,
        stores=_stores(period),
        hours_to_pay=_hours_to_pay(period),
        days_to_confirm=_days_to_confirm(period),
    )


def today() -> date:
    """Tell the day in Japan."""
    return now().astimezone(JST).date()


@dataclass
class _Period:
    """A period of days as the database finds it: by moments, and by the ids that lie between them."""

    session: Session
    first: date
    last: date
    begins: datetime = field(init=False)
    ends: datetime = field(init=False)
    _ids: dict[type[Base], tuple[int, int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.begins = day_begins(self.first)
        self.ends = day_begins(self.last) + timedelta(days=1)

    def covers(self, model: type[Application] | type[Event]) -> tuple[sa.ColumnElement[bool], ...]:
        """Match the rows of a period: by their moment, and for the index's sake by their ids."""
        if model not in self._ids:
            over = first_id_since(self.session, model, self.ends + 2 * MARGIN)
            self._ids[model] = first_id_since(self.session, model, self.begins), over
        low, over = self._ids[model]
        moment = GROWS_WITH_ID[model]
        return (model.id >= low, model.id < over, moment >= self.begins, moment < self.ends)


class _day_in_japan(GenericFunction[Any]):
    """The day of a stored moment, as text."""

    type = sa.String()
    inherit_cache = True


@compiles(_day_in_japan)
def _of_sqlite(element: _day_in_japan, compiler: SQLCompiler, **how: Any) -> str:
    return f"date({compiler.process(element.clauses, **how)}, '+9 hours')"


@compiles(_day_in_japan, "postgresql")
def _of_postgresql(element: _day_in_japan, compiler: SQLCompiler, **how: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **how)} + interval '9 hours' AS date)"


@compiles(_day_in_japan, "mysql", "mariadb")
def _of_mariadb(element: _day_in_japan, compiler: SQLCompiler, **how: Any) -> str:
    return f"date({compiler.process(element.clauses, **how)} + interval 9 hour)"


#: What an event adds to a day's counts.
_COUNTED: Mapping[EventKind, str] = {
    EventKind.APPLICATION_ACCEPTED: "applied",
    EventKind.PAYMENT_RECEIVED: "paid",
    EventKind.SALE_CONFIRMED: "confirmed",
    EventKind.PAYMENT_EXPIRED: "expired",
    EventKind.PAYMENT_CANCELLED: "cancelled",
    EventKind.PAYMENT_RECEIVED_AFTER_CANCEL: "after_cancel",
}
#: Events that are the first word of money unless it was there already, and what they then add.
_FIRST_WORD: Mapping[EventKind, str] = {
    EventKind.SALE_CONFIRMED: "paid",
    EventKind.SALE_CONFIRMED_AFTER_CANCEL: "after_cancel",
}
_TELLS = (EventKind.PAYMENT_RECEIVED, EventKind.SALE_CONFIRMED)


def _days(period: _Period) -> tuple[Day, ...]:
    day = _day_in_japan(Event.occurred_at)
    counted = (
        sa.select(day, Event.kind, Event.previous_state, sa.func.count())
        .where(
            *period.covers(Event),
            Event.kind.in_({**_COUNTED, **_FIRST_WORD}),
            Event.test.is_(False),
        )
        .group_by(day, Event.kind, Event.previous_state)
    )
    sums: Counter[tuple[date, str]] = Counter()
    for on, kind, before, count in period.session.execute(counted):
        for name in _names(kind, before):
            sums[date.fromisoformat(str(on)), name] += count
    length = (period.last - period.first).days + 1
    days = (period.first + timedelta(days=number) for number in range(length))
    return tuple(Day(each, **{name: sums[each, name] for name in COUNTS}) for each in days)


def _names(kind: EventKind, before: State | None) -> Iterable[str]:
    """Name the counts that an event belongs to."""
    if kind in _COUNTED:
        yield _COUNTED[kind]
    if kind in _FIRST_WORD and before not in HOLDS_MONEY:
        yield _FIRST_WORD[kind]
    if kind in _TELLS and before is State.EXPIRED:
        yield "late"


def _told_first(period: _Period) -> tuple[sa.ColumnElement[bool], ...]:
    """Match the first word of each payment's money."""
    return (
        *period.covers(Event),
        Event.kind.in_(_TELLS),
        sa.or_(Event.previous_state.is_(None), Event.previous_state.not_in(HOLDS_MONEY)),
        Event.test.is_(False),
    )


def _yen(period: _Period) -> int:
    paid = sa.select(sa.func.sum(Payment.amount)).join(Event, Event.payment_id == Payment.id)
    return int(period.session.scalar(paid.where(*_told_first(period))) or 0)


def _stores(period: _Period) -> tuple[StoreFigures, ...]:
    paid = sa.case((Application.stored_state.in_(HOLDS_MONEY), 1), else_=0)
    counted = (
        sa.select(Application.store, sa.func.count(), sa.func.sum(paid))
        .where(
            *period.covers(Application),
            Application.order_no.is_not(None),
            Application.test.is_(False),
        )
        .group_by(Application.store)
    )
    found = {
        store: StoreFigures(store, count, int(held)) for store, count, held in period.session.execute(counted)
    }
    return tuple(found[each] for each in Store if each in found)


def _hours_to_pay(period: _Period) -> Spread:
    """From the application to the first word of its money."""
    paid = (
        sa.select(Event.occurred_at, Event.application_id)
        .where(*_told_first(period))
        .order_by(Event.id.desc())
        .limit(SAMPLE)
        .subquery()
    )
    moments = sa.select(Application.created_at, paid.c.occurred_at).join(
        paid, paid.c.application_id == Application.id
    )
    rows = period.session.execute(moments).all()
    return _spread(HOURS, [(told - applied) / timedelta(hours=1) for applied, told in rows])


def _days_to_confirm(period: _Period) -> Spread:
    """From 04 to 05, in nights of Japan."""
    confirmed = (
        sa.select(Event.occurred_at, Event.payment_id, Event.application_id)
        .where(
            *period.covers(Event),
            Event.kind == EventKind.SALE_CONFIRMED,
            Event.test.is_(False),
        )
        .order_by(Event.id.desc())
        .limit(SAMPLE)
        .subquery()
    )
    received = aliased(Event)
    moments = sa.select(received.occurred_at, confirmed.c.occurred_at).join(
        received,
        sa.and_(
            received.payment_id == confirmed.c.payment_id,
            received.application_id == confirmed.c.application_id,
            received.kind == EventKind.PAYMENT_RECEIVED,
        ),
    )
    rows = period.session.execute(moments).all()
    return _spread(DAYS, [(_day(late) - _day(early)).days for early, late in rows])


def _day(moment: datetime) -> date:
    return moment.astimezone(JST).date()


def _spread(bounds: tuple[int, ...], values: Sequence[float]) -> Spread:
    counts = Counter(
        next((i for i, bound in enumerate(bounds) if value < bound), len(bounds)) for value in values
    )
    return Spread(
        bounds=bounds,
        counts=tuple(counts[i] for i in range(len(bounds) + 1)),
        median=float(median(values)) if values else None,
        sampled=len(values) >= SAMPLE,
    )
