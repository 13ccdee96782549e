"""Compares what the shop's database and its orders say with what the model expects, and puts each difference into
a sentence on which the shop's developer can act."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, selectinload

from flask_zeus_cvs.drill.model import Expected, Life, Slip, Terms, expected, money_is_there
from flask_zeus_cvs.drill.orders import Standing
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import Application, Delivery, DeliveryState, Event, Payment, Review
from flask_zeus_cvs.signals import SIGNALS

#: Events that nobody may ignore, and why. Of the others the shop may take its pick.
CALLS_FOR: Mapping[EventKind, str] = MappingProxyType(
    {
        EventKind.FULFILLMENT_READY: "paid goods do not leave by themselves",
        EventKind.PAYMENT_CANCELLED: "the money is gone, and the goods leave all the same",
        EventKind.PAYMENT_RECEIVED_AFTER_CANCEL: "money came for an old slip, and nobody hears of it",
        EventKind.SALE_CONFIRMED_AFTER_CANCEL: "money that came for an old slip is certain, and nobody hears of it",
        EventKind.PAYMENT_CANCELLED_AFTER_CANCEL: "money that came for an old slip is gone, and nobody hears of it",
        EventKind.REVIEW_REQUIRED: "something does not fit the books, and nobody is asked to look",
    }
)
#: Which notice or other cause an event has, for people.
CAUSES: Mapping[EventKind, str] = MappingProxyType(
    {
        EventKind.FULFILLMENT_READY: "a payment was complete",
        EventKind.PAYMENT_CANCELLED: "06 (入金取消)",
        EventKind.PAYMENT_RECEIVED_AFTER_CANCEL: "11 (キャンセル後入金)",
        EventKind.SALE_CONFIRMED_AFTER_CANCEL: "12 (キャンセル後売上)",
        EventKind.PAYMENT_CANCELLED_AFTER_CANCEL: "13 (キャンセル後取消)",
        EventKind.REVIEW_REQUIRED: "a review",
    }
)
#: The events of which the model knows the exact number.
_COUNTED = (
    EventKind.APPLICATION_ACCEPTED,
    EventKind.APPLICATION_DECLINED,
    EventKind.PAYMENT_RECEIVED,
    EventKind.SALE_CONFIRMED,
    EventKind.FULFILLMENT_READY,
    EventKind.PAYMENT_CANCELLED,
    EventKind.PAYMENT_RECEIVED_AFTER_CANCEL,
    EventKind.SALE_CONFIRMED_AFTER_CANCEL,
    EventKind.PAYMENT_CANCELLED_AFTER_CANCEL,
)


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept: what is wrong, of which payments (references), and whether that is our own fault."""

    sentence: str
    references: tuple[str, ...] = ()
    ours: bool = False


class Findings:
    """Broken promises, those of one kind put together."""

    def __init__(self) -> None:
        self._found: dict[tuple[bool, str], list[str]] = {}

    def add(self, sentence: str, reference: str = "", *, ours: bool = False) -> None:
        """Note one; `ours`: no shop can mend it."""
        self._found.setdefault((ours, sentence), []).extend([reference] if reference else [])

    @property
    def broken(self) -> list[Broken]:
        """The shop's own first."""
        found = sorted(self._found.items(), key=lambda each: each[0][0])
        return [Broken(sentence, tuple(of), ours) for (ours, sentence), of in found]


@dataclass(frozen=True)
class Books:
    """What the shop's database says in the end, detached."""

    payments: Mapping[int, Payment]
    events: Mapping[int | None, list[Event]]
    reviews: Mapping[int | None, list[Review]]

    def count(self, payment_id: int | None) -> Counter[EventKind]:
        return Counter(each.kind for each in self.events.get(payment_id, ()))


@dataclass(frozen=True, slots=True)
class Marks:
    """The last ids before the drill: what is older is not its own."""

    payment: int
    event: int
    review: int


def mark(session: Session) -> Marks:
    """Remember what is there already."""
    return Marks(*(session.scalar(sa.select(sa.func.max(of.id))) or 0 for of in (Payment, Event, Review)))


def read_books(session: Session, since: Marks) -> Books:
    """Read payments, events and reviews of the drill."""
    payments = session.scalars(
        sa.select(Payment).where(Payment.id > since.payment).options(selectinload(Payment.applications))
    )
    of_payment: dict[int | None, list[Event]] = defaultdict(list)
    events = sa.select(Event).where(Event.id > since.event).options(selectinload(Event.deliveries))
    for event in session.scalars(events.order_by(Event.id)):
        of_payment[event.payment_id].append(event)
    reviews: dict[int | None, list[Review]] = defaultdict(list)
    for review in session.scalars(sa.select(Review).where(Review.id > since.review)):
        reviews[review.payment_id].append(review)
    return Books({each.id: each for each in payments}, of_payment, reviews)


@dataclass(frozen=True)
class Judge:
    """Everything that a judgement rests on."""

    findings: Findings
    app: Flask
    books: Books
    terms: Terms
    slips: Mapping[str, Slip]
    swept_at: datetime

    def payment(self, life: Life, standing: Standing | None) -> None:
        """Judge one payment, and the order behind it if the shop tells of its orders."""
        payment = self.books.payments[life.payment_id]
        reviews = self.books.reviews.get(payment.id, [])
        counts = self.books.count(payment.id)
        right = expected(
            life,
            self.terms,
            closed_at=payment.closed_at,
            slips=self.slips,
            swept_at=self.swept_at,
            disputed=any(each.resolved_at is None for each in reviews),
        )
        for sentence in (
            *_wrong_states(life, right, payment.applications, self.slips),
            *_wrong_events(right, counts, len(reviews)),
            *_wrong_reviews(right, reviews),
            *_wrong_endings(right, self.books.events.get(payment.id, [])),
            *_withheld(right, self.books.events.get(payment.id, [])),
            *_overtaken(life, right, self.books.events.get(payment.id, [])),
        ):
            self.findings.add(sentence, life.reference, ours=True)
        for sentence in _wrong_order(right, standing, counts, self._heard_by) if standing else ():
            self.findings.add(sentence, life.reference)

    def receivers(self) -> None:
        """Judge whether each event found a receiver, and each receiver succeeded."""
        happened = Counter(event.kind for events in self.books.events.values() for event in events)
        for kind, why in CALLS_FOR.items():
            if happened[kind] and not SIGNALS[kind].subscribers(self.app):
                self.findings.add(
                    f"{CAUSES[kind]} came {_times(happened[kind])} and nobody listens to {kind}: {why}. "
                    f"Connect a receiver: flask_zeus_cvs.{kind}.connect(receiver, sender=app)."
                )
        for (subscriber, kind), deliveries in _unfinished(self.books).items():
            self.findings.add(_failing(subscriber, kind, deliveries, happened[kind]))

    def _heard_by(self, kind: EventKind) -> str:
        names = ", ".join(SIGNALS[kind].subscribers(self.app))
        return f"{kind} goes to {names}: see what that does." if names else f"Nobody listens to {kind}."


def _wrong_states(
    life: Life, right: Expected, applications: list[Application], slips: Mapping[str, Slip]
) -> Iterator[str]:
    by_key = {each.order_no or each.sendid: each for each in applications}
    for slip, states in right.states.items():
        found = by_key.pop(slip, None) or by_key.pop(slips[slip].sendid, None)
        if not states:
            continue
        if found is None:
            yield "A slip of ZEUS's is missing from the books."
        elif found.state not in states:
            wanted = " or ".join(sorted(states))
            yield f"An application is {found.state} in the books, and must be {wanted} ({_told(life, slip)})."
    left = sorted(each.state for each in by_key.values())
    if left != sorted(right.slipless):
        yield f"Applications without a slip are {_listed(left)}, and must be {_listed(right.slipless)}."


def _told(life: Life, slip: str) -> str:
    heard = [each.status for each in life.heard if each.slip == slip]
    return f"ZEUS told {', '.join(heard)}" if heard else "ZEUS told nothing of it"


def _listed(words: Iterable[object]) -> str:
    return ", ".join(sorted(str(each) for each in words)) or "none"


def _wrong_events(right: Expected, found: Counter[EventKind], reviews: int) -> Iterator[str]:
    for kind in _COUNTED:
        if found[kind] != right.events[kind]:
            yield f"{kind} happened {_times(found[kind])}; right would be: {_times(right.events[kind])}."
    if found[EventKind.REVIEW_REQUIRED] != reviews:
        yield f"review_required happened {_times(found[EventKind.REVIEW_REQUIRED])}; reviews: {reviews}."


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _wrong_reviews(right: Expected, reviews: list[Review]) -> Iterator[str]:
    if right.questions and not reviews:
        yield f"Nobody is asked to look, although {right.questions[0]}."
    if reviews and not right.questions:
        yield f"A person is asked to look ({reviews[0].reason}), and nothing is odd about it."


def _wrong_endings(right: Expected, events: list[Event]) -> Iterator[str]:
    """Judge what is told of deadlines: that a payment ended unpaid, and, once for each slip, that its end is near."""
    ended = sum(each.kind is EventKind.PAYMENT_EXPIRED for each in events)
    if right.lapsed and not ended:
        yield "The payment ended unpaid, and payment_expired never happened."
    if ended > max(1, len(right.states) + len(right.slipless)):
        yield f"payment_expired happened {_times(ended)}, more often than a slip of it could lapse."
    near = Counter(each.application_id for each in events if each.kind is EventKind.DEADLINE_NEAR)
    if any(number > 1 for number in near.values()):
        yield f"deadline_near happened {_times(max(near.values()))} for one slip."


def _withheld(right: Expected, events: list[Event]) -> Iterator[str]:
    """Find a shipment that was called off although the money is there."""
    if not right.paid:
        return
    for event in events:
        if event.kind is EventKind.FULFILLMENT_READY:
            for delivery in event.deliveries:
                if delivery.state is DeliveryState.OBSOLETE:
                    yield f"fulfillment_ready was withheld from {delivery.subscriber} although the payment stands."


def _overtaken(life: Life, right: Expected, events: list[Event]) -> Iterator[str]:
    """Find a shipment that was told although the money had been taken back by then."""
    if right.questions:  # a person may have decided so
        return
    for event in events:
        if event.kind is EventKind.FULFILLMENT_READY:
            for delivery in event.deliveries:
                done = delivery.done_at
                if delivery.state is DeliveryState.DONE and done and not money_is_there(life.heard, done):
                    yield f"fulfillment_ready was told to {delivery.subscriber} after the money had been taken back."


def _wrong_order(
    right: Expected, standing: Standing, events: Counter[EventKind], heard_by: Callable[[EventKind], str]
) -> Iterator[str]:
    ready = right.events[EventKind.FULFILLMENT_READY]
    given_up = bool(right.questions) or events[EventKind.PAYMENT_EXPIRED] > 0
    if standing.parcels > 1:
        yield (
            f"The goods of one payment leave {_times(standing.parcels)} (it had {_kinds(events)}). Ship at "
            f"fulfillment_ready only; and where a receiver does something outside of db.session, let it look whether "
            f"it has: after a crash it is called again for the same event.id. {heard_by(EventKind.FULFILLMENT_READY)}"
        )
    elif standing.parcels and right.taken_back and not right.paid and not standing.asked:
        yield (
            "The payment was taken back (06), and the order stands as if it were paid: its goods leave, and nobody "
            f"was asked. {heard_by(EventKind.PAYMENT_CANCELLED)}"
        )
    elif standing.parcels and not ready:
        yield f"The goods leave, and the payment was never ready to ship (it had {_kinds(events)})."
    elif ready and right.paid and not standing.parcels and not (standing.asked and given_up):
        yield f"The payment is complete, and no goods leave. {heard_by(EventKind.FULFILLMENT_READY)}"
    if (right.questions or right.after_cancel) and not standing.asked:
        reason = right.questions[0] if right.questions else "money moved on a slip that had been re-issued"
        yield f"Nobody of the shop was asked to look at the order, although {reason}."


def _kinds(events: Counter[EventKind]) -> str:
    return ", ".join(
        f"{kind} ×{number}" if number > 1 else str(kind) for kind, number in sorted(events.items())
    )


def _unfinished(books: Books) -> Mapping[tuple[str, EventKind], list[Delivery]]:
    found: dict[tuple[str, EventKind], list[Delivery]] = defaultdict(list)
    for events in books.events.values():
        for event in events:
            for each in event.deliveries:
                if each.state in (DeliveryState.PENDING, DeliveryState.PARKED):
                    found[each.subscriber, event.kind].append(each)
    return found


def _failing(subscriber: str, kind: EventKind, deliveries: list[Delivery], happened: int) -> str:
    errors = Counter(each.last_error or "not tried" for each in deliveries)
    parked = sum(each.state is DeliveryState.PARKED for each in deliveries)
    most = ", ".join(f"{error} ({number})" for error, number in errors.most_common(3))
    return (
        f"Receiver {subscriber} did not get through with {len(deliveries)} of {happened} {kind}: {most}. "
        f"Parked: {parked}; waiting for another try: {len(deliveries) - parked}."
    )
