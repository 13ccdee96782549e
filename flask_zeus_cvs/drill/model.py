"""What must have become of a payment, worked out from what was done and told: a model that is not the package's own.

It knows of no transition table: which notices a slip has heard of decides, and their order only where the promise
says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.protocol.fields import MAX_DAYS


class Got(StrEnum):
    """What the shop got for one application."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    NOTHING = "nothing"  # no answer, or none that can be understood
    NOT_SENT = "not_sent"


@dataclass
class Attempt:
    """One application of the shop: what it got, and the slip that exists for it, if one does."""

    got: Got
    at: datetime
    slip: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """A notice that the shop has answered with 200."""

    at: datetime
    slip: str
    status: Status


@dataclass(frozen=True, slots=True)
class Slip:
    """What ZEUS knows of an application: our key for it, and until when it can be paid, if it can."""

    sendid: str
    applied_at: datetime
    deadline: datetime | None

    def ends(self, *, known: bool) -> datetime:
        """Tell when it lapses for the shop, which may not know of its deadline: then that is as late as can be."""
        return self.deadline if known and self.deadline else self.applied_at + timedelta(days=MAX_DAYS)


@dataclass
class Life:
    """One payment as the drill played it."""

    number: int
    story: str
    reference: str = ""
    payment_id: int = 0
    token: str = ""
    amount: int = 0
    test: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    #: New order number → the one that it replaces on ZEUS's screen.
    reissues: dict[str, str] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    #: Notices of this payment with another amount, which nobody but the drill has sent.
    forged: int = 0

    @property
    def slips(self) -> list[str]:
        """The order numbers of all its slips, those of re-issues too."""
        return [each.slip for each in self.attempts if each.slip] + list(self.reissues)


@dataclass(frozen=True)
class Terms:
    """The settings that decide what is expected."""

    at_confirmation: bool
    test_fulfills: bool
    grace: timedelta


@dataclass
class Expected:
    """What must be found in the shop's database about one payment."""

    #: Of each slip and each application without one, in order of appearance: the states that are right.
    states: dict[str, frozenset[State]] = field(default_factory=dict)
    slipless: list[State] = field(default_factory=list)
    events: Counter[EventKind] = field(default_factory=Counter)
    #: Why a person must be asked about it; empty: nobody must be bothered.
    questions: list[str] = field(default_factory=list)
    #: Whether the goods are the customer's in the end: paid, and not taken back.
    paid: bool = False
    taken_back: bool = False
    after_cancel: bool = False


#: What a slip is, by the notices it has heard of: the first row that fits. Money that came for a slip that had been
#: re-issued is a matter of its own.
_STANDINGS: Mapping[Status, State] = MappingProxyType(
    {
        Status.CANCELLED_AFTER_CANCEL: State.CANCELLED_AFTER_CANCEL,
        Status.CONFIRMED_AFTER_CANCEL: State.CONFIRMED_AFTER_CANCEL,
        Status.RECEIVED_AFTER_CANCEL: State.RECEIVED_AFTER_CANCEL,
        Status.PAYMENT_CANCELLED: State.CANCELLED,
        Status.SALE_CONFIRMED: State.CONFIRMED,
        Status.PAYMENT_RECEIVED: State.RECEIVED,
    }
)
#: The event of a notice, and the notices that, heard of before it, have said already what it says.
_TOLD_BY: Mapping[Status, tuple[EventKind, frozenset[Status]]] = MappingProxyType(
    {
        Status.PAYMENT_RECEIVED: (
            EventKind.PAYMENT_RECEIVED,
            frozenset({Status.SALE_CONFIRMED, Status.PAYMENT_CANCELLED}),
        ),
        Status.SALE_CONFIRMED: (EventKind.SALE_CONFIRMED, frozenset({Status.PAYMENT_CANCELLED})),
        Status.PAYMENT_CANCELLED: (EventKind.PAYMENT_CANCELLED, frozenset({Status.SALE_CONFIRMED})),
        Status.RECEIVED_AFTER_CANCEL: (
            EventKind.PAYMENT_RECEIVED_AFTER_CANCEL,
            frozenset({Status.CONFIRMED_AFTER_CANCEL, Status.CANCELLED_AFTER_CANCEL}),
        ),
        Status.CONFIRMED_AFTER_CANCEL: (
            EventKind.SALE_CONFIRMED_AFTER_CANCEL,
            frozenset({Status.CANCELLED_AFTER_CANCEL}),
        ),
        Status.CANCELLED_AFTER_CANCEL: (
            EventKind.PAYMENT_CANCELLED_AFTER_CANCEL,
            frozenset({Status.CONFIRMED_AFTER_CANCEL}),
        ),
    }
)
_MONEY = frozenset({Status.PAYMENT_RECEIVED, Status.SALE_CONFIRMED})
_MONEY_AFTER_CANCEL = frozenset({Status.RECEIVED_AFTER_CANCEL, Status.CONFIRMED_AFTER_CANCEL})
_AFTER_CANCEL = _MONEY_AFTER_CANCEL | {Status.CANCELLED_AFTER_CANCEL}
_GONE = frozenset({Status.PAYMENT_CANCELLED, Status.CANCELLED_AFTER_CANCEL})
_SLIP_IS_NEWS = frozenset({Status.AWAITING_PAYMENT}) | _MONEY


def expected(
    life: Life,
    terms: Terms,
    *,
    closed_at: datetime | None,
    slips: Mapping[str, Slip],
    swept_at: datetime,
    disputed: bool,
) -> Expected:
    """Work out what must be true of a payment.

    `closed_at`: when the shop itself has closed it. `swept_at`: the last sweep. `disputed`: a review is open, so
    that no slip of it is swept.
    """
    found = Expected()
    told = {slip: {each.status for each in life.heard if each.slip == slip} for slip in life.slips}
    for attempt in life.attempts:
        ends = attempt.at + timedelta(days=MAX_DAYS)
        _of_attempt(attempt, told, found, swept=not disputed and ends + terms.grace <= swept_at)
    got = {each.slip: each.got for each in life.attempts}
    for slip, heard in told.items():
        if heard or slip in got:  # of a re-issue that nobody has told it of, the shop cannot know
            known = got.get(slip) is Got.ACCEPTED or Status.AWAITING_PAYMENT in heard
            late = slips[slip].ends(known=known) + terms.grace <= swept_at
            unpaid = {State.EXPIRED} if late else set()
            if disputed or not late:
                unpaid.add(State.AWAITING_PAYMENT if known else State.UNKNOWN)
            replaced = any(old == slip and told[new] for new, old in life.reissues.items())
            found.states[slip] = _state(heard, got.get(slip), replaced=replaced) or frozenset(unpaid)
    _replay(life, terms, closed_at, found)
    holding = [slip for slip in life.slips if told[slip] & _MONEY and not told[slip] & _GONE]
    found.paid = bool(holding)
    found.taken_back = any(Status.PAYMENT_CANCELLED in each for each in told.values())
    found.after_cancel = any(each & _AFTER_CANCEL for each in told.values())
    return found


def _of_attempt(attempt: Attempt, told: Mapping[str, set[Status]], found: Expected, *, swept: bool) -> None:
    failed_later = Status.APPLICATION_FAILED in told.get(attempt.slip, set())
    if attempt.got is Got.DECLINED or (attempt.got is Got.NOTHING and failed_later):
        found.events[EventKind.APPLICATION_DECLINED] += 1
    if not attempt.slip:
        lapsed = swept and attempt.got is Got.NOTHING
        found.slipless.append(State.EXPIRED if lapsed else _WITHOUT_SLIP[attempt.got])


_WITHOUT_SLIP: Mapping[Got, State] = MappingProxyType(
    {Got.DECLINED: State.DECLINED, Got.NOT_SENT: State.FAILED, Got.NOTHING: State.UNKNOWN}
)


def _state(heard: set[Status], got: Got | None, *, replaced: bool) -> frozenset[State] | None:
    """Tell what a slip is, unless it may still be paid, or has lapsed."""
    for status, state in _STANDINGS.items():
        if status in heard:
            return frozenset({state})
    failed = {State.FAILED} if Status.APPLICATION_FAILED in heard else set()
    for true, states in (
        (replaced, {State.SUPERSEDED}),
        (Status.EXPIRED in heard, {State.EXPIRED}),
        (got is Got.DECLINED, {State.DECLINED, *failed}),  # 02 may overtake the answer
        (bool(failed), failed),
    ):
        if true:
            return frozenset(states)
    return None


def _firsts(heard: Iterable[Heard]) -> Iterator[tuple[Heard, set[Status], bool]]:
    """Yield each notice with what the slip had heard of before; True: it is a repeat."""
    before: dict[str, set[Status]] = {}
    for each in heard:
        known = before.setdefault(each.slip, set())
        yield each, set(known), each.status in known
        known.add(each.status)


def _replay(life: Life, terms: Terms, closed_at: datetime | None, found: Expected) -> None:
    """Go through what the shop heard, in its order: events, questions to a person, and whether goods may ship."""
    accepted = {each.slip for each in life.attempts if each.got is Got.ACCEPTED}
    found.events[EventKind.APPLICATION_ACCEPTED] += len(accepted)
    holding: set[str] = set()
    doubtful: set[str] = set()
    ready = False
    if life.forged:
        found.questions.append("a notice names another amount")
    for each, before, repeat in _firsts(life.heard):
        slip, status = each.slip, each.status
        if repeat:
            if status in _MONEY | _MONEY_AFTER_CANCEL and before & _GONE:
                found.questions.append(f"{status} came again after the money was taken back")
            continue
        if not before and slip not in accepted and status in _SLIP_IS_NEWS:
            found.events[EventKind.APPLICATION_ACCEPTED] += 1
        if status not in _TOLD_BY:
            continue
        kind, said_already = _TOLD_BY[status]
        if not before & said_already:
            found.events[kind] += 1
        if status in _GONE:
            holding.discard(slip)
            continue
        if before & _GONE:
            found.questions.append(f"{status} came after the money had been taken back")
            continue
        closed = closed_at is not None and closed_at <= each.at
        if slip not in holding:
            why = list(_doubts(holding, found.events, closed=closed))
            found.questions += why
            holding.add(slip)
            if why:
                doubtful.add(slip)
        qualifies = status is Status.SALE_CONFIRMED or (
            status is Status.PAYMENT_RECEIVED and not terms.at_confirmation
        )
        if ready or not qualifies or slip in doubtful or (life.test and not terms.test_fulfills):
            continue
        if closed:
            found.questions.append("the payment was closed before the sale was confirmed")
        else:
            ready = True
    found.events[EventKind.FULFILLMENT_READY] += ready


def _doubts(holding: set[str], events: Counter[EventKind], *, closed: bool) -> Iterator[str]:
    """Name what is odd about money that has just come; `holding`: the other slips that hold some."""
    if closed:
        yield "money came after the payment was closed"
    if holding:
        yield "it was paid twice"
    if events[EventKind.PAYMENT_CANCELLED]:
        yield "money came after a payment was taken back"
