"""Compares what the shop's database and its orders say with what the model expects, and puts each difference into
a sentence on which the shop's developer can act."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session, selectinload

from flask_zeus_cvs.drill.model import Expected, Life, Slip, Terms, expected
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
    """A promise that was not kept: what is wrong, and of which payments (references), as far as it is theirs."""

    sentence: str
    references: tuple[str, ...] = ()


@dataclass
class Findings:
    """Broken promises, those of one kind put together."""

    _by_sentence: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, sentence: str, reference: str = "") -> None:
        self._by_sentence[sentence] += [reference] if reference else []

    @property
    def broken(self) -> list[Broken]:
        return [Broken(sentence, tuple(found)) for sentence, found in self._by_sentence.items()]


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


def judge_payment(
    findings: Findings,
    life: Life,
    terms: Terms,
    books: Books,
    slips: Mapping[str, Slip],
    swept_at: datetime,
    standing: Standing | None,
) -> None:
    """Judge one payment, and the order behind it if the shop tells of its orders."""
    payment = books.payments[life.payment_id]
    reviews = books.reviews.get(payment.id, [])
    right = expected(
        life,
        terms,
        closed_at=payment.closed_at,
        slips=slips,
        swept_at=swept_at,
        disputed=any(each.resolved_at is None for each in reviews),
    )
    for sentence in (
        *_wrong_states(life, right, payment.applications, slips),
        *_wrong_events(right, books.count(payment.id), len(reviews)),
        *_wrong_reviews(right, reviews),
        *_withheld(right, books.events.get(payment.id, [])),
        *(_wrong_order(right, standing, books.count(payment.id)) if standing else ()),
    ):
        findings.add(sentence, life.reference)


def _wrong_states(
    life: Life, right: Expected, applications: list[Application], slips: Mapping[str, Slip]
) -> Iterator[str]:
    by_key = {each.order_no or each.sendid: each for each in applications}
    for slip, states in right.states.items():
        found = by_key.pop(slip, None) or by_key.pop(slips[slip].sendid, None)
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
            yield f"{kind} happened {_times(found[kind])}, and must happen {_times(right.events[kind])}."
    if found[EventKind.REVIEW_REQUIRED] != reviews:
        yield f"review_required happened {_times(found[EventKind.REVIEW_REQUIRED])} for {reviews} reviews."


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _wrong_reviews(right: Expected, reviews: list[Review]) -> Iterator[str]:
    if right.questions and not reviews:
        yield f"Nobody is asked to look, although {right.questions[0]}."
    if reviews and not right.questions:
        yield f"A person is asked to look ({reviews[0].reason}), and nothing is odd about it."


def _withheld(right: Expected, events: list[Event]) -> Iterator[str]:
    """Find a shipment that was called off although the money is there."""
    if not right.paid:
        return
    for event in events:
        if event.kind is EventKind.FULFILLMENT_READY:
            for delivery in event.deliveries:
                if delivery.state is DeliveryState.OBSOLETE:
                    yield f"fulfillment_ready was withheld from {delivery.subscriber} although the payment stands."


def _wrong_order(right: Expected, standing: Standing, events: Counter[EventKind]) -> Iterator[str]:
    ready = right.events[EventKind.FULFILLMENT_READY]
    sent = "goods leave" if standing.parcels == 1 else f"goods leave {_times(standing.parcels)}"
    if standing.parcels > 1:
        yield f"{sent} for one payment (heard: {_kinds(events)}). Make the receiver that ships look whether it has."
    elif standing.parcels and right.taken_back and not right.paid and not standing.asked:
        yield (
            "The payment was taken back (06), and the shop leaves the order as if it were paid: "
            f"{sent}, and nobody was asked. {_who_heard(EventKind.PAYMENT_CANCELLED)}"
        )
    elif standing.parcels and not ready:
        yield f"{sent} although the payment never became ready to ship (heard: {_kinds(events)})."
    elif ready and right.paid and not standing.parcels and not (standing.asked and right.questions):
        yield f"Paid, and no goods leave. {_who_heard(EventKind.FULFILLMENT_READY)}"
    if (right.questions or right.after_cancel) and not standing.asked:
        reason = right.questions[0] if right.questions else "money moved on a slip that had been re-issued"
        yield f"Nobody of the shop is asked to look at the order, although {reason}."


def _who_heard(kind: EventKind) -> str:
    return f"See what your receivers of {kind} do."


def _kinds(events: Counter[EventKind]) -> str:
    return ", ".join(
        f"{kind} ×{number}" if number > 1 else str(kind) for kind, number in sorted(events.items())
    )


def judge_receivers(findings: Findings, app: Flask, books: Books) -> None:
    """Judge whether each event found a receiver, and each receiver succeeded."""
    happened = Counter(event.kind for events in books.events.values() for event in events)
    for kind, why in CALLS_FOR.items():
        if happened[kind] and not SIGNALS[kind].subscribers(app):
            findings.add(
                f"{CAUSES[kind]} came {_times(happened[kind])} and nobody listens to {kind}: {why}. "
                f"Connect a receiver: flask_zeus_cvs.{kind}.connect(…, sender=app)."
            )
    for (subscriber, kind), deliveries in _unfinished(books).items():
        findings.add(*_failing(subscriber, kind, deliveries, happened[kind]))


def _unfinished(books: Books) -> Mapping[tuple[str, EventKind], list[Delivery]]:
    found: dict[tuple[str, EventKind], list[Delivery]] = defaultdict(list)
    for events in books.events.values():
        for event in events:
            for each in event.deliveries:
                if each.state in (DeliveryState.PENDING, DeliveryState.PARKED):
                    found[each.subscriber, event.kind].append(each)
    return found


def _failing(subscriber: str, kind: EventKind, deliveries: list[Delivery], happened: int) -> tuple[str]:
    errors = Counter(each.last_error or "not tried" for each in deliveries)
    parked = sum(each.state is DeliveryState.PARKED for each in deliveries)
    most = ", ".join(f"{error} ({number})" for error, number in errors.most_common(3))
    return (
        f"Receiver {subscriber} did not get through with {len(deliveries)} of {happened} {kind}: {most}. "
        f"{parked} are parked, {len(deliveries) - parked} wait for another try.",
    )
