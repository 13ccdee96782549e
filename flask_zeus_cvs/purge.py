"""Takes customers' details out of payments that are over; what was charged, paid and told stays.

A payment is left alone while it may still matter to someone who would need the details: see `Why`. What a later
notice, or a new application, brings again makes the payment due for the next run (`payments` resets ``purged_at``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.database import Database, lock_each
from flask_zeus_cvs.exceptions import UnreadableNotice
from flask_zeus_cvs.lifecycle import LIVE, State
from flask_zeus_cvs.models import (
    Application,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
    Verdict,
)
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.protocol.messages import Notice

#: Days that must have passed since anything happened: a 05 comes a week after its 04, and questions come later.
MIN_DAYS = 30
#: Payments, or notices that belong to none, in one transaction.
BATCH = 200
#: What of a notice tells of the customer.
PERSONAL = frozenset({"username", "telno", "email"})

_FACTS = tuple(name for name in NOTICE if name not in PERSONAL)
_NOBODY = {"customer_name": "", "customer_phone": "", "customer_email": ""}
#: Slips that nobody has paid, and of whose deadline ZEUS may think otherwise.
_UNPAID = (State.EXPIRED, State.SUPERSEDED, State.DECLINED, State.FAILED)
_UNFINISHED = (DeliveryState.PENDING, DeliveryState.PARKED)


class Why(StrEnum):
    """Why an old payment, or a notice that belongs to none, keeps its details."""

    LIVE = "a slip that may still be paid"
    REVIEW = "an open review"
    DELIVERY = "a delivery that is due or parked"
    RECENT = "something has happened to it since"


@dataclass
class Tally:
    """What a run has found, and taken out or would take out; how much it has left alone, and why."""

    payments: int = 0
    notices: int = 0
    kept: Counter[Why] = field(default_factory=Counter)


class Purge:
    """One run: what nothing has happened to for ``days``. ``encoding`` is that of the notices.

    With ``notes``, also what staff wrote when they resolved reviews.
    """

    def __init__(self, database: Database, encoding: str, days: int, *, notes: bool = False) -> None:
        self._database = database
        self._encoding = encoding
        self._notes = notes
        self._before = now() - timedelta(days=days)

    def old(self) -> int:
        """Count the payments that are old enough to be looked at."""
        found = sa.select(sa.func.count()).select_from(Payment).where(*self._is_old())
        return self._database.read(lambda session: session.scalar(found) or 0)

    def run(self, step: Callable[[], object] = lambda: None, *, really: bool) -> Tally:
        """Look at everything old, and take the details out if ``really``; ``step`` is called for each old payment.

        Each batch is a transaction of its own under its payments' locks: a run that is broken off has done what it
        has done, and the next goes on.
        """
        tally = Tally()
        for ids in self._batches(Payment.id, *self._is_old()):
            due, kept = self._database.read(lambda session, ids=ids: self._sorted(session, ids))  # type: ignore[misc]
            if really and due:
                due = self._database.write(lambda session, due=due: self._take_out(session, due))  # type: ignore[misc]
            tally.payments += len(due)
            tally.kept += kept
            for _ in ids:
                step()
        for ids in self._batches(Notification.id, Notification.payment_id.is_(None), self._is_old_notice()):
            look = self._database.write if really else self._database.read
            tally.notices += look(
                lambda session, ids=ids: self._take_out_of_strays(session, ids, really=really)  # type: ignore[misc]
            )
        return tally

    def _is_old(self) -> tuple[sa.ColumnElement[bool], ...]:
        due: sa.ColumnElement[bool] = Payment.purged_at.is_(None)
        if self._notes:  # also of what an earlier run without them has purged
            noted = sa.select(Review.payment_id).where(Review.note != "", Review.payment_id.is_not(None))
            due = sa.or_(due, Payment.id.in_(noted))
        return due, Payment.created_at < self._before

    def _is_old_notice(self) -> sa.ColumnElement[bool]:
        return Notification.last_at < self._before

    def _batches(self, column: Any, *where: sa.ColumnElement[bool]) -> Iterator[Sequence[int]]:
        """Find ids in their order, in batches; one that has ceased to match meanwhile ends nothing."""
        last = 0
        while True:
            more = sa.select(column).where(*where, column > last).order_by(column).limit(BATCH)
            ids = self._database.read(lambda session, more=more: session.scalars(more).all())  # type: ignore[misc]
            if not ids:
                return
            yield ids
            last = ids[-1]

    # --- payments ----------------------------------------------------------------------------------------------

    def _sorted(self, session: Session, ids: Sequence[int]) -> tuple[list[int], Counter[Why]]:
        """Tell which payments are due, and how many are kept for which reason; each has one, the first."""
        left, kept = set(ids), Counter[Why]()
        for why, reasons in self._reasons(ids).items():
            found = left.intersection(session.scalars(sa.union_all(*reasons)))
            kept[why] = len(found)
            left -= found
        return sorted(left), +kept

    def _reasons(self, ids: Sequence[int]) -> Mapping[Why, Sequence[sa.Select[Any]]]:
        """Find the payments among these that keep their details."""
        day = self._before.astimezone(JST).date()
        unfinished = sa.select(Event.payment_id).join(Event.deliveries)
        application = sa.select(Application.payment_id).where(Application.payment_id.in_(ids))
        review = sa.select(Review.payment_id).where(Review.payment_id.in_(ids))
        ended = sa.or_(Payment.closed_at >= self._before, Payment.expired_at >= self._before)
        return {
            Why.LIVE: [application.where(Application.stored_state.in_(LIVE))],
            Why.REVIEW: [review.where(Review.resolved_at.is_(None))],
            Why.DELIVERY: [unfinished.where(Delivery.state.in_(_UNFINISHED), Event.payment_id.in_(ids))],
            Why.RECENT: [
                application.where(Application.created_at >= self._before),
                application.where(Application.pay_limit >= day, Application.stored_state.in_(_UNPAID)),
                review.where(Review.resolved_at >= self._before),
                sa.select(Event.payment_id).where(
                    Event.payment_id.in_(ids), Event.occurred_at >= self._before
                ),
                sa.select(Notification.payment_id).where(
                    Notification.payment_id.in_(ids), Notification.last_at >= self._before
                ),
                sa.select(Payment.id).where(Payment.id.in_(ids), ended),
            ],
        }

    def _take_out(self, session: Session, wanted: Sequence[int]) -> list[int]:
        """Take the details out of what is due still, now that nothing can happen to it; returns whose."""
        lock_each(session, wanted)
        due, _ = self._sorted(session, wanted)
        _update(session, Payment, Payment.id.in_(due), **_NOBODY)
        _update(session, Payment, Payment.id.in_(due) & Payment.purged_at.is_(None), purged_at=now())
        _update(session, Application, Application.payment_id.in_(due), **_NOBODY)
        if self._notes:
            _update(session, Review, Review.payment_id.in_(due), note="")
        self._take_out_of_notices(session, Notification.payment_id.in_(due))
        return due

    # --- notices -----------------------------------------------------------------------------------------------

    def _take_out_of_strays(self, session: Session, ids: Sequence[int], *, really: bool) -> int:
        """Take the details out of notices that belong to no payment, and of which nobody has to decide any more."""
        asked = sa.select(Review.notification_id).where(
            Review.notification_id.in_(ids),
            sa.or_(Review.resolved_at.is_(None), Review.resolved_at >= self._before),
        )
        unfinished = (
            sa.select(Event.notification_id)
            .join(Event.deliveries)
            .where(Delivery.state.in_(_UNFINISHED), Event.notification_id.in_(ids))
        )
        due = set(ids).difference(session.scalars(sa.union_all(asked, unfinished)))
        if self._notes and really:
            _update(session, Review, Review.notification_id.in_(due), note="")
        where = sa.and_(
            Notification.id.in_(sorted(due)), Notification.payment_id.is_(None), self._is_old_notice()
        )
        return self._take_out_of_notices(session, where, really=really)

    def _take_out_of_notices(
        self, session: Session, where: sa.ColumnElement[bool], *, really: bool = True
    ) -> int:
        """Write notices anew without the customer; returns how many had one. Repeats are known by `identity`."""
        table = Notification.__table__
        found = session.execute(
            sa.select(Notification.id, Notification.raw, Notification.verdict).where(where).with_for_update()
        )
        changed = [
            {"row": row_id, "bare": bare}
            for row_id, raw, verdict in found
            if (bare := without_customer(raw, verdict, self._encoding)) != raw
        ]
        if changed and really:
            anew = sa.update(table).where(table.c.id == sa.bindparam("row"))  # type: ignore[arg-type]
            session.connection().execute(anew.values(raw=sa.bindparam("bare")), changed)
        return len(changed)


def without_customer(raw: bytes, verdict: Verdict, encoding: str) -> bytes:
    """Return the parameters of a notice that say nothing of the customer, as far as they keep their rules.

    Nothing is left of one that cannot be read: whatever it holds may be a name.
    """
    if verdict is Verdict.UNREADABLE:
        return b""
    try:
        notice = Notice.parse(raw, encoding)
    except UnreadableNotice:
        return b""
    given = [name for name in _FACTS if getattr(notice, name) not in ("", None)]
    return notice.encode(given)


def _update(session: Session, model: Any, where: sa.ColumnElement[bool], **values: object) -> None:
    session.execute(
        sa.update(model).where(where).values(**values).execution_options(synchronize_session=False)
    )
