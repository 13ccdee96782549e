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
    #: Whether it ended unpaid: nobody can pay it any more, and money never came.
    lapsed: bool = False


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
_ALL_MONEY = _MONEY | _MONEY_AFTER_CANCEL
_AFTER_CANCEL = _MONEY_AFTER_CANCEL | {Status.CANCELLED_AFTER_CANCEL}
_GONE = frozenset({Status.PAYMENT_CANCELLED, Status.CANCELLED_AFTER_CANCEL})
_OVER = frozenset({State.EXPIRED, State.SUPERSEDED, State.DECLINED, State.FAILED})
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
    standings = _Standings(life, told, swept_at - terms.grace, disputed=disputed)
    for attempt in life.attempts:
        failed_later = Status.APPLICATION_FAILED in told.get(attempt.slip, ())
        if attempt.got is Got.DECLINED or (attempt.got is Got.NOTHING and failed_later):
            found.events[EventKind.APPLICATION_DECLINED] += 1
        if not attempt.slip:
            found.slipless.append(standings.of_attempt(attempt))
    for slip in told:
        found.states[slip] = standings.of_slip(slip, slips[slip])
    _Replay(life, terms, closed_at, found).run()
    found.paid = any(each & _MONEY and not each & _GONE for each in told.values())
    found.taken_back = any(Status.PAYMENT_CANCELLED in each for each in told.values())
    found.after_cancel = any(each & _AFTER_CANCEL for each in told.values())
    found.lapsed = _lapsed(found, closed_at)
    return found


def _lapsed(found: Expected, closed_at: datetime | None) -> bool:
    """Tell whether every application is certainly over, one of them by its deadline, and none ever had money."""
    ends = [*found.states.values(), *(frozenset({each}) for each in found.slipless)]
    over = all(len(each) == 1 and each <= _OVER for each in ends) and frozenset({State.EXPIRED}) in ends
    return over and not found.questions and closed_at is None


class _Standings:
    """What the applications of a payment are in the end: `over` is the moment before which a deadline has lapsed."""

    def __init__(
        self, life: Life, told: Mapping[str, set[Status]], over: datetime, *, disputed: bool
    ) -> None:
        self._life, self._told, self._over, self._disputed = life, told, over, disputed
        self._got = {each.slip: each.got for each in life.attempts}

    def of_attempt(self, attempt: Attempt) -> State:
        """Tell what an application is that has no slip."""
        lapsed = attempt.at + timedelta(days=MAX_DAYS) <= self._over and not self._disputed
        return State.EXPIRED if lapsed and attempt.got is Got.NOTHING else _WITHOUT_SLIP[attempt.got]

    def of_slip(self, slip: str, at_zeus: Slip) -> frozenset[State]:
        """Tell what a slip may be; nothing, if it is a re-issue of which nobody has told the shop."""
        heard, got = self._told[slip], self._got.get(slip)
        money = next((state for status, state in _STANDINGS.items() if status in heard), None)
        if money is not None:
            return frozenset({money})
        if any(old == slip and self._told[new] for new, old in self._life.reissues.items()):
            return frozenset({State.SUPERSEDED})
        if Status.EXPIRED in heard:
            return frozenset({State.EXPIRED})
        failed = {State.FAILED} if Status.APPLICATION_FAILED in heard else set()
        if failed or got is Got.DECLINED:  # 02 may overtake the answer
            return frozenset(failed | ({State.DECLINED} if got is Got.DECLINED else set()))
        if not heard and got is None:
            return frozenset()
        known = got is Got.ACCEPTED or Status.AWAITING_PAYMENT in heard
        return self._unpaid(at_zeus.ends(known=known), known=known)

    def _unpaid(self, ends: datetime, *, known: bool) -> frozenset[State]:
        waiting = frozenset({State.AWAITING_PAYMENT if known else State.UNKNOWN})
        if ends > self._over:
            return waiting
        return waiting | {State.EXPIRED} if self._disputed else frozenset({State.EXPIRED})


_WITHOUT_SLIP: Mapping[Got, State] = MappingProxyType(
    {Got.DECLINED: State.DECLINED, Got.NOT_SENT: State.FAILED, Got.NOTHING: State.UNKNOWN}
)


def money_is_there(heard: Iterable[Heard], moment: datetime) -> bool:
    """Tell whether the shop had heard by then of money that had not been taken back."""
    told: dict[str, set[Status]] = {}
    for each in heard:
        if each.at <= moment:
            told.setdefault(each.slip, set()).add(each.status)
    return any(each & _ALL_MONEY and not each & _GONE for each in told.values())


def _with_what_came_before(heard: Iterable[Heard]) -> Iterator[tuple[Heard, set[Status]]]:
    """Yield each notice with the statuses of which its slip had heard before."""
    known: dict[str, set[Status]] = {}
    for each in heard:
        before = known.setdefault(each.slip, set())
        yield each, set(before)
        before.add(each.status)


class _Replay:
    """Goes through what the shop heard, in its order: events, questions to a person, and whether goods may ship."""

    def __init__(self, life: Life, terms: Terms, closed_at: datetime | None, found: Expected) -> None:
        self._life, self._terms, self._closed_at, self._found = life, terms, closed_at, found
        self._holding: set[str] = set()
        self._doubtful: set[str] = set()

    def run(self) -> None:
        """Write down what must have happened."""
        answered = {each.slip for each in self._life.attempts if each.got is Got.ACCEPTED}
        self._found.events[EventKind.APPLICATION_ACCEPTED] += len(answered)
        if self._life.forged:
            self._found.questions.append("a notice names another amount")
        for each, before in _with_what_came_before(self._life.heard):
            if not before and each.slip not in answered and each.status in _SLIP_IS_NEWS:
                self._found.events[EventKind.APPLICATION_ACCEPTED] += 1
            if each.status in before:
                self._repeat(each, before)
            elif each.status in _TOLD_BY:
                self._first(each, before)

    def _repeat(self, each: Heard, before: set[Status]) -> None:
        if each.status in _ALL_MONEY and before & _GONE:
            self._found.questions.append(f"{each.status} came again after the money was taken back")

    def _first(self, each: Heard, before: set[Status]) -> None:
        kind, said_already = _TOLD_BY[each.status]
        if not before & said_already:
            self._found.events[kind] += 1
        if each.status in _GONE:
            self._holding.discard(each.slip)
        elif before & _GONE:
            self._found.questions.append(f"{each.status} came after the money had been taken back")
        else:
            self._money(each)

    def _money(self, each: Heard) -> None:
        """Money came, or became certain: is there a question about it, and may goods ship?"""
        closed = self._closed_at is not None and self._closed_at <= each.at
        if each.slip not in self._holding:
            doubts = list(self._doubts(closed=closed))
            self._found.questions += doubts
            self._holding.add(each.slip)
            self._doubtful |= {each.slip} if doubts else set()
        if not self._may_ship(each):
            return
        if closed:
            self._found.questions.append("the payment was closed before the sale was confirmed")
        else:
            self._found.events[EventKind.FULFILLMENT_READY] = 1

    def _doubts(self, *, closed: bool) -> Iterator[str]:
        """Name what is odd about money that has just come."""
        if closed:
            yield "money came after the payment was closed"
        if self._holding:
            yield "it was paid twice"
        if self._found.events[EventKind.PAYMENT_CANCELLED]:
            yield "money came after a payment was taken back"

    def _may_ship(self, each: Heard) -> bool:
        wanted = {Status.SALE_CONFIRMED} if self._terms.at_confirmation else _MONEY
        return (
            each.status in wanted
            and each.slip not in self._doubtful
            and not self._found.events[EventKind.FULFILLMENT_READY]
            and (self._terms.test_fulfills or not self._life.test)
        )
