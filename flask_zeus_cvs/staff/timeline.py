"""The story of one payment, in order of time: for the terminal, for the back office, and as JSON.

Customers' details are masked as the story is read, unless they are asked for: whoever has a story can show all of it.
A payment's token, the key of the customer's pages, is in none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, selectinload

from flask_zeus_cvs.customer import Customer, masked
from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import (
    Application,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Resolution,
    Review,
    ReviewReason,
    Verdict,
)
from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.protocol.fields import NOTICE, check
from flask_zeus_cvs.protocol.wire import SHIFT_JIS, decode_form

#: What stands for a value that is not shown.
HIDDEN = "***"
#: What the gateway calls the customer's details, and what is the shop's own and may hold them.
_PERSONAL = frozenset({"username", "telno", "email", "sendpoint"})
_PLAIN = frozenset(NOTICE) - _PERSONAL


class Kind(StrEnum):
    """What an entry of the story is, in the order in which things of one moment are told."""

    CREATED = "created"
    APPLIED = "applied"
    NOTICE = "notice"
    EVENT = "event"
    REVIEW = "review"
    RESOLVED = "resolved"
    EXPIRED = "expired"
    CLOSED = "closed"
    PURGED = "purged"


@dataclass(frozen=True)
class Entry:
    """One thing that happened; ``at`` is aware, in UTC."""

    kind: ClassVar[Kind]
    at: datetime


@dataclass(frozen=True)
class Created(Entry):
    """The shop asked for an amount, in yen; ``expires_at`` is the end of its offer."""

    kind = Kind.CREATED
    amount: int
    expires_at: datetime | None
    customer: Customer


@dataclass(frozen=True)
class Applied(Entry):
    """An application was sent, or made on ZEUS's screen (``reissued``); with what is known of it by now.

    ``deadline`` is the last day for paying. ``parameter`` is what ZEUS named as wrong in our request.
    """

    kind = Kind.APPLIED
    application_id: int
    state: State
    leads: bool
    store: Store
    sendid: str
    order_no: str | None
    pay_no1: str
    pay_no2: str
    deadline: date | None
    error_code: str
    parameter: str
    test: bool
    reissued: bool
    reminded_at: datetime | None
    customer: Customer
    pay_url: str


@dataclass(frozen=True)
class NoticeCame(Entry):
    """A notice came, ``times`` times until ``last_at``; ``faults`` were left out of account.

    ``source`` is ``callback``, or the file that it was read from. ``raw`` is as it came, and masked is there only
    where it could not be read.
    """

    kind = Kind.NOTICE
    notification_id: int
    application_id: int | None
    status: Status | None
    money: int | None
    order_no: str
    verdict: Verdict
    times: int
    last_at: datetime
    source: str
    faults: tuple[str, ...]
    read: tuple[tuple[str, str], ...]
    raw: str


@dataclass(frozen=True)
class Told:
    """What became of an event for one subscriber; ``due_at`` is its next try while it is pending."""

    delivery_id: int
    subscriber: str
    state: DeliveryState
    attempts: int
    due_at: datetime
    done_at: datetime | None
    last_error: str
    decided_by: str


@dataclass(frozen=True)
class EventTold(Entry):
    """An event was written, and its deliveries were fixed."""

    kind = Kind.EVENT
    event_id: int
    event: EventKind
    previous_state: State | None
    test: bool
    application_id: int | None
    notification_id: int | None
    deliveries: tuple[Told, ...]


@dataclass(frozen=True)
class ReviewRaised(Entry):
    """Something did not fit, and a person had to look, or still has to."""

    kind = Kind.REVIEW
    review_id: int
    reason: ReviewReason
    is_open: bool
    application_id: int | None
    notification_id: int | None


@dataclass(frozen=True)
class ReviewResolved(Entry):
    """A person decided; or the package itself, where an order number became known."""

    kind = Kind.RESOLVED
    review_id: int
    reason: ReviewReason
    resolution: Resolution | None
    by: str
    note: str


@dataclass(frozen=True)
class OfferEnded(Entry):
    """The offer ended at its ``expires_at``, without a slip or money."""

    kind = Kind.EXPIRED


@dataclass(frozen=True)
class Closed(Entry):
    """The shop takes no further application."""

    kind = Kind.CLOSED


@dataclass(frozen=True)
class Purged(Entry):
    """The customer's details were taken out."""

    kind = Kind.PURGED


@dataclass(frozen=True)
class Story:
    """One payment as it stands, and everything that happened to it, oldest first.

    ``siblings`` are the ids of the other payments of the same reference, newest first.
    """

    payment_id: int
    reference: str
    amount: int
    state: State
    attempts: int
    under_review: bool
    fulfilled_at: datetime | None
    siblings: tuple[int, ...]
    entries: tuple[Entry, ...]


def story_of(session: Session, payment: Payment, *, reveal: bool = False, encoding: str = SHIFT_JIS) -> Story:
    """Read the story of a payment of ``session``; ``encoding`` is that of the notices (ZEUS_CVS_CALLBACK_ENCODING)."""
    shown = _Shown(reveal, encoding)
    entries = [*_of_payment(payment, shown), *_of_rows(session, payment, shown)]
    return Story(
        payment_id=payment.id,
        reference=payment.reference,
        amount=payment.amount,
        state=payment.state,
        attempts=payment.attempts,
        under_review=any(isinstance(each, ReviewRaised) and each.is_open for each in entries),
        fulfilled_at=payment.fulfilled_at,
        siblings=_siblings(session, payment),
        entries=tuple(sorted(entries, key=lambda each: (each.at, _ORDER[each.kind]))),
    )


def notice_of(row: Notification, *, reveal: bool = False, encoding: str = SHIFT_JIS) -> NoticeCame:
    """Show one notice by itself, as a review of it needs to."""
    return _notice(row, _Shown(reveal, encoding))


def as_json(value: object) -> Any:
    """Turn a story, or a part of one, into what `json` takes: each entry names its kind; moments stay moments."""
    if isinstance(value, (tuple, list)):
        return [as_json(each) for each in value]
    if not hasattr(value, "__dataclass_fields__"):
        return value
    plain = {each.name: as_json(getattr(value, each.name)) for each in fields(value)}  # type: ignore[arg-type]
    if isinstance(value, NoticeCame):
        plain["read"] = dict(value.read)
    return {"kind": value.kind, **plain} if isinstance(value, Entry) else plain


_ORDER: Mapping[Kind, int] = {kind: place for place, kind in enumerate(Kind)}
#: How many other payments of a reference are named.
_MOST_SIBLINGS = 20


@dataclass(frozen=True)
class _Shown:
    """How much is shown, and how bytes are read."""

    reveal: bool
    encoding: str

    def customer(self, customer: Customer) -> Customer:
        return customer if self.reveal else masked(customer)

    def secret(self, text: str) -> str:
        return text if self.reveal or not text else HIDDEN


def _siblings(session: Session, payment: Payment) -> tuple[int, ...]:
    others = sa.select(Payment.id).where(Payment.reference == payment.reference, Payment.id != payment.id)
    return tuple(session.scalars(others.order_by(Payment.id.desc()).limit(_MOST_SIBLINGS)))


def _of_payment(payment: Payment, shown: _Shown) -> Iterator[Entry]:
    customer = shown.customer(payment.customer)
    yield Created(payment.created_at, amount=payment.amount, expires_at=payment.expires_at, customer=customer)
    leading = payment.application
    for each in payment.applications:
        yield _application(each, shown, leads=each is leading)
    ends: tuple[tuple[datetime | None, Callable[[datetime], Entry]], ...] = (
        (payment.expired_at, OfferEnded),
        (payment.closed_at, Closed),
        (payment.purged_at, Purged),
    )
    yield from (ended(at) for at, ended in ends if at is not None)


def _application(each: Application, shown: _Shown, *, leads: bool) -> Applied:
    return Applied(
        each.created_at,
        application_id=each.id,
        state=each.state,
        leads=leads,
        store=each.store,
        sendid=each.sendid,
        order_no=each.order_no,
        pay_no1=each.pay_no1,
        pay_no2=each.pay_no2,
        deadline=each.pay_limit,
        error_code=each.error_code,
        parameter=each.parameter,
        test=each.test,
        reissued=each.reissued,
        reminded_at=each.reminded_at,
        customer=shown.customer(each.customer),
        pay_url=shown.secret(each.pay_url),
    )


def _of_rows(session: Session, payment: Payment, shown: _Shown) -> Iterator[Entry]:
    def rows(model: type[Any], *options: Any) -> Sequence[Any]:
        of_payment = sa.select(model).where(model.payment_id == payment.id).options(*options)
        return session.scalars(of_payment.order_by(model.id)).all()

    reviews: Sequence[Review] = rows(Review, joinedload(Review.notification))
    notices = {each.id: each for each in rows(Notification)}
    notices |= {each.notification.id: each.notification for each in reviews if each.notification is not None}
    yield from (_notice(each, shown) for each in notices.values())
    yield from (event_of(each) for each in rows(Event, selectinload(Event.deliveries)))
    for review in reviews:
        yield from _review(review)


def _notice(row: Notification, shown: _Shown) -> NoticeCame:
    return NoticeCame(
        row.first_at,
        notification_id=row.id,
        application_id=row.application_id,
        status=Status(row.status) if row.status else None,
        money=row.money,
        order_no=row.order_no,
        verdict=row.verdict,
        times=row.times,
        last_at=row.last_at,
        source=row.source,
        faults=tuple(each for each in row.faults.split(",") if each),
        read=_read(row.raw, shown),
        raw=_raw(row, shown),
    )


def _read(raw: bytes, shown: _Shown) -> tuple[tuple[str, str], ...]:
    """Read the parameters that are ZEUS's own, in their order; what is not shown, or is no text, is `HIDDEN`."""
    pairs = [(name, HIDDEN if value is None else value) for name, value in decode_form(raw, shown.encoding)]
    if shown.reveal:
        return tuple(pairs)
    return tuple(
        (name, value if _is_plain(name, value) else HIDDEN) for name, value in pairs if name in NOTICE
    )


def _is_plain(name: str, value: str | None) -> bool:
    """Tell whether a value is what its name says, and nothing of the customer's."""
    if name not in _PLAIN or value is None:
        return False
    try:
        check(name, value)
    except InvalidField:
        return not value
    return True


def _raw(row: Notification, shown: _Shown) -> str:
    if shown.reveal:
        return row.raw.decode("ascii", "backslashreplace")
    return _masked_raw(row.raw) if row.verdict is Verdict.UNREADABLE else ""


def _masked_raw(raw: bytes) -> str:
    """Keep the form of a notice: names that are ZEUS's, values that are plain, and how it was encoded."""
    return "&".join(map(_masked_piece, raw.split(b"&")))


def _masked_piece(piece: bytes) -> str:
    name, equals, value = piece.partition(b"=")
    if name.decode("ascii", "replace") not in NOTICE:
        return HIDDEN if piece else ""
    shown = re.fullmatch(rb"[!-~]*", value) and all(_is_plain(*pair) for pair in decode_form(piece))
    return f"{name.decode()}{equals.decode()}{value.decode('ascii') if shown else HIDDEN}"


def event_of(row: Event) -> EventTold:
    """Show one event by itself, with its deliveries."""
    return EventTold(
        row.occurred_at,
        event_id=row.id,
        event=row.kind,
        previous_state=row.previous_state,
        test=row.test,
        application_id=row.application_id,
        notification_id=row.notification_id,
        deliveries=tuple(map(_told, row.deliveries)),
    )


def _told(each: Delivery) -> Told:
    return Told(
        delivery_id=each.id,
        subscriber=each.subscriber,
        state=each.state,
        attempts=each.attempts,
        due_at=each.due_at,
        done_at=each.done_at,
        last_error=each.last_error,
        decided_by=each.decided_by,
    )


def _review(row: Review) -> Iterator[Entry]:
    yield ReviewRaised(
        row.created_at,
        review_id=row.id,
        reason=row.reason,
        is_open=row.resolved_at is None,
        application_id=row.application_id,
        notification_id=row.notification_id,
    )
    if row.resolved_at is not None:
        yield ReviewResolved(
            row.resolved_at,
            review_id=row.id,
            reason=row.reason,
            resolution=row.resolution,
            by=row.by,
            note=row.note,
        )
