"""Reviews as a person decides about them: what is asked, of which payment, and what came of a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from flask_zeus_cvs.exceptions import UnknownReview
from flask_zeus_cvs.lifecycle import HOLDS_MONEY, State
from flask_zeus_cvs.models import (
    LARGEST_ID,
    Application,
    Event,
    Payment,
    Resolution,
    Review,
    ReviewReason,
)
from flask_zeus_cvs.payments import Payments
from flask_zeus_cvs.protocol.wire import SHIFT_JIS
from flask_zeus_cvs.staff.timeline import EventTold, NoticeCame, event_of, notice_of


@dataclass(frozen=True)
class Case:
    """A review, and what it is about; ``payment_id`` and its like are None for a notice that matched none.

    ``order_no`` is that of the application, else of the notice; ``amount`` is in yen.
    """

    review_id: int
    reason: ReviewReason
    since: datetime
    payment_id: int | None
    reference: str | None
    amount: int | None
    state: State | None
    order_no: str
    notice: NoticeCame | None
    resolved_at: datetime | None
    resolution: Resolution | None
    by: str
    note: str


class Oddity(StrEnum):
    """Why a notice that matched none is likely to be given to the wrong payment."""

    OTHER_AMOUNT = "other_amount"
    HOLDS_MONEY = "holds_money"


@dataclass(frozen=True)
class Decision:
    """What a decision changed: the case as it was and as it is, and the events that it emitted."""

    before: Case
    after: Case
    events: tuple[EventTold, ...]


def open_cases(
    session: Session, limit: int, *, reveal: bool = False, encoding: str = SHIFT_JIS
) -> tuple[Case, ...]:
    """Read the reviews that wait for a person, oldest first."""
    found = _reviews().where(Review.resolved_at.is_(None)).order_by(Review.id).limit(limit)
    return tuple(_case(session, each, reveal, encoding) for each in session.scalars(found))


def count_open(session: Session) -> int:
    """Count the reviews that wait for a person."""
    return session.scalar(sa.select(sa.func.count(Review.id)).where(Review.resolved_at.is_(None))) or 0


def case_of(session: Session, review_id: int, *, reveal: bool = False, encoding: str = SHIFT_JIS) -> Case:
    """Read one review, open or not. Raises `UnknownReview`."""
    review = session.scalar(_reviews().where(Review.id == review_id)) if review_id <= LARGEST_ID else None
    if review is None:
        raise UnknownReview(review_id)
    return _case(session, review, reveal, encoding)


def oddities(notice_money: int | None, payment: Payment, decided: Resolution) -> tuple[Oddity, ...]:
    """Say what a person should look at once more before a notice that matched none is given to this payment."""
    if decided is Resolution.IGNORED:
        return ()
    odd = {
        Oddity.OTHER_AMOUNT: notice_money is not None and notice_money != payment.amount,
        Oddity.HOLDS_MONEY: payment.state in HOLDS_MONEY,
    }
    return tuple(each for each, is_so in odd.items() if is_so)


def decide(
    payments: Payments,
    review_id: int,
    resolution: Resolution,
    *,
    by: str,
    note: str = "",
    payment: Payment | None = None,
) -> Decision:
    """Resolve a review, in a transaction of its own, and tell what it changed. Raises as `Payments.resolve`."""
    encoding = payments.settings.callback_encoding
    before = payments.database.read(lambda session: case_of(session, review_id, encoding=encoding))
    last = payments.database.read(lambda session: session.scalar(sa.select(sa.func.max(Event.id)))) or 0
    payments.resolve(review_id, resolution, by=by, note=note, payment=payment)
    payments.stop()  # what a thread of this process was about to deliver, it delivers now

    def look(session: Session) -> Decision:
        after = case_of(session, review_id, encoding=encoding)
        return Decision(before, after, _events_since(session, after.payment_id, last))

    return payments.database.read(look)


def _reviews() -> sa.Select[Any]:
    return sa.select(Review).options(joinedload(Review.payment), joinedload(Review.notification))


def _events_since(session: Session, payment_id: int | None, last: int) -> tuple[EventTold, ...]:
    found = sa.select(Event).where(Event.payment_id == payment_id, Event.id > last).order_by(Event.id)
    return tuple(map(event_of, session.scalars(found)))


def _case(session: Session, review: Review, reveal: bool, encoding: str) -> Case:
    payment, notice = review.payment, review.notification
    application = session.get(Application, review.application_id) if review.application_id else None
    return Case(
        review_id=review.id,
        reason=review.reason,
        since=review.created_at,
        payment_id=payment.id if payment else None,
        reference=payment.reference if payment else None,
        amount=payment.amount if payment else None,
        state=payment.state if payment else None,
        order_no=(application.order_no if application else None) or (notice.order_no if notice else ""),
        notice=notice_of(notice, reveal=reveal, encoding=encoding) if notice else None,
        resolved_at=review.resolved_at,
        resolution=review.resolution,
        by=review.by,
        note=review.note,
    )


def reasons_of(cases: Sequence[Case]) -> dict[ReviewReason, list[Case]]:
    """Put cases together that are asked the same."""
    found: dict[ReviewReason, list[Case]] = {}
    for each in cases:
        found.setdefault(each.reason, []).append(each)
    return found
