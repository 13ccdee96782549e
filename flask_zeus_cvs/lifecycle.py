"""The life of an application: its states, and the one table of what each notice, answer and decision does to it.

The table is data. The code below looks up and never branches on a state, and the documentation draws its
diagram from here. For any set of notices the final state depends on their order only where a review was raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """What an application is; a payment is what its leading application is, or `OPEN` or `CLOSED`."""

    OPEN = "open"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    DECLINED = "declined"
    FAILED = "failed"
    AWAITING_PAYMENT = "awaiting_payment"
    EXPIRED = "expired"
    RECEIVED = "received"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    RECEIVED_AFTER_CANCEL = "received_after_cancel"
    CONFIRMED_AFTER_CANCEL = "confirmed_after_cancel"
    CANCELLED_AFTER_CANCEL = "cancelled_after_cancel"
    CLOSED = "closed"


class EventKind(StrEnum):
    """What subscribers hear; each kind has a signal of the same name."""

    APPLICATION_ACCEPTED = "application_accepted"
    APPLICATION_DECLINED = "application_declined"
    PAYMENT_RECEIVED = "payment_received"
    SALE_CONFIRMED = "sale_confirmed"
    FULFILLMENT_READY = "fulfillment_ready"
    PAYMENT_CANCELLED = "payment_cancelled"
    PAYMENT_EXPIRED = "payment_expired"
    DEADLINE_NEAR = "deadline_near"
    PAYMENT_RECEIVED_AFTER_CANCEL = "payment_received_after_cancel"
    SALE_CONFIRMED_AFTER_CANCEL = "sale_confirmed_after_cancel"
    PAYMENT_CANCELLED_AFTER_CANCEL = "payment_cancelled_after_cancel"
    REVIEW_REQUIRED = "review_required"
    SILENCE_SUSPECTED = "silence_suspected"


class Input(StrEnum):
    """Whatever may move an application: the nine notices under their wire codes, and our own inputs."""

    NOTICE_01 = "01"
    NOTICE_02 = "02"
    NOTICE_03 = "03"
    NOTICE_04 = "04"
    NOTICE_05 = "05"
    NOTICE_06 = "06"
    NOTICE_11 = "11"
    NOTICE_12 = "12"
    NOTICE_13 = "13"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    SWEEP = "sweep"
    SUPERSEDED = "superseded"
    RESOLVED_RECEIVED = "resolved_received"
    RESOLVED_CONFIRMED = "resolved_confirmed"
    RESOLVED_CANCELLED = "resolved_cancelled"


@dataclass(frozen=True)
class Cell:
    """One cell of the table: the state to go to (None: stay), and whether a person must look."""

    state: State | None = None
    review: bool = False


OPEN, CLOSED = State.OPEN, State.CLOSED
HOLDS_MONEY = frozenset(
    {State.RECEIVED, State.CONFIRMED, State.RECEIVED_AFTER_CANCEL, State.CONFIRMED_AFTER_CANCEL}
)
#: A slip exists or may exist, and nobody has paid it: no second application beside it.
LIVE = frozenset({State.SUBMITTING, State.UNKNOWN, State.AWAITING_PAYMENT})
#: From here a customer may apply (again); `UNKNOWN` only after RETRY_UNKNOWN_AFTER.
MAY_APPLY = frozenset({State.OPEN, State.DECLINED, State.FAILED, State.EXPIRED, State.UNKNOWN})
#: Which application leads its payment, and so says what the payment is: the one of the highest rank, of these the
#: latest. Money, then a slip that is out or on its way, then whatever stands.
RANK: Mapping[State, int] = MappingProxyType(
    {
        **dict.fromkeys(State, 0),
        **dict.fromkeys(HOLDS_MONEY, 2),
        **dict.fromkeys((State.SUBMITTING, State.AWAITING_PAYMENT), 1),
        **dict.fromkeys((State.SUPERSEDED, State.CANCELLED_AFTER_CANCEL), -1),
    }
)
#: 11, 12 and 13: they speak of the old slip of a re-issue.
AFTER_CANCEL = frozenset({Input.NOTICE_11, Input.NOTICE_12, Input.NOTICE_13})
#: Notices that say money is gone: when one repeats after a person has decided that it is there, they must look again.
REVERSALS = frozenset({Input.NOTICE_06, Input.NOTICE_13})
#: Notices that say money is there: when one repeats after a cancellation, a person must look.
MONEY_NOTICES = frozenset({Input.NOTICE_04, Input.NOTICE_05, Input.NOTICE_11, Input.NOTICE_12})

#: The natural course of a slip: what ZEUS has told of it before each notice, in order.
TOLD_BEFORE: Mapping[Input, tuple[Input, ...]] = MappingProxyType(
    {
        Input.NOTICE_01: (),
        Input.NOTICE_02: (),
        Input.NOTICE_03: (Input.NOTICE_01,),
        Input.NOTICE_04: (Input.NOTICE_01,),
        Input.NOTICE_05: (Input.NOTICE_01, Input.NOTICE_04),
        Input.NOTICE_06: (Input.NOTICE_01, Input.NOTICE_04),
        Input.NOTICE_11: (Input.NOTICE_01,),
        Input.NOTICE_12: (Input.NOTICE_01, Input.NOTICE_11),
        Input.NOTICE_13: (Input.NOTICE_01, Input.NOTICE_11),
    }
)

NOTICES = tuple(each for each in Input if each.value.isdigit())
STATES = tuple(each for each in State if each not in (OPEN, CLOSED))

_STAY = Cell()
_LOOK = Cell(review=True)
_SLIP_AFTER_ALL = Cell(State.AWAITING_PAYMENT, review=True)
_WAIT, _FAIL, _DECL, _UNKN = (
    Cell(State.AWAITING_PAYMENT),
    Cell(State.FAILED),
    Cell(State.DECLINED),
    Cell(State.UNKNOWN),
)
_EXPI, _RECV, _CONF, _CANC, _SUPE = (
    Cell(State.EXPIRED),
    Cell(State.RECEIVED),
    Cell(State.CONFIRMED),
    Cell(State.CANCELLED),
    Cell(State.SUPERSEDED),
)
_R_AC, _C_AC, _X_AC = (
    Cell(State.RECEIVED_AFTER_CANCEL),
    Cell(State.CONFIRMED_AFTER_CANCEL),
    Cell(State.CANCELLED_AFTER_CANCEL),
)

# fmt: off
#: What a notice does; the columns are 01 02 03 04 05 06 11 12 13.
_BY_NOTICE: Mapping[State, tuple[Cell, ...]] = {
    State.SUBMITTING:             (_WAIT, _FAIL, _EXPI, _RECV, _CONF, _CANC, _R_AC, _C_AC, _X_AC),
    State.UNKNOWN:                (_WAIT, _FAIL, _EXPI, _RECV, _CONF, _CANC, _R_AC, _C_AC, _X_AC),
    State.DECLINED:               (_SLIP_AFTER_ALL, _STAY, _STAY, _LOOK, _LOOK, _LOOK, _LOOK, _LOOK, _LOOK),
    State.FAILED:                 (_SLIP_AFTER_ALL, _STAY, _STAY, _LOOK, _LOOK, _LOOK, _LOOK, _LOOK, _LOOK),
    State.AWAITING_PAYMENT:       (_STAY, _LOOK, _EXPI, _RECV, _CONF, _CANC, _R_AC, _C_AC, _X_AC),
    State.EXPIRED:                (_STAY, _LOOK, _STAY, _RECV, _CONF, _CANC, _R_AC, _C_AC, _X_AC),
    State.RECEIVED:               (_STAY, _LOOK, _STAY, _STAY, _CONF, _CANC, _LOOK, _C_AC, _X_AC),
    State.CONFIRMED:              (_STAY, _LOOK, _STAY, _STAY, _STAY, _LOOK, _LOOK, _LOOK, _LOOK),
    State.CANCELLED:              (_STAY, _LOOK, _STAY, _LOOK, _LOOK, _STAY, _LOOK, _LOOK, _X_AC),
    State.SUPERSEDED:             (_STAY, _LOOK, _STAY, _LOOK, _LOOK, _LOOK, _R_AC, _C_AC, _X_AC),
    State.RECEIVED_AFTER_CANCEL:  (_STAY, _LOOK, _STAY, _LOOK, _LOOK, _LOOK, _STAY, _C_AC, _X_AC),
    State.CONFIRMED_AFTER_CANCEL: (_STAY, _LOOK, _STAY, _STAY, _LOOK, _LOOK, _STAY, _STAY, _LOOK),
    State.CANCELLED_AFTER_CANCEL: (_STAY, _LOOK, _STAY, _LOOK, _LOOK, _STAY, _LOOK, _LOOK, _STAY),
}

#: What our own inputs do; the columns are accepted, declined, unknown, not_sent, sweep, superseded.
#: An answer never lowers a state that a notice has set.
_BY_OURS: Mapping[State, tuple[Cell, ...]] = {
    State.SUBMITTING:             (_WAIT, _DECL, _UNKN, _FAIL, _EXPI, _SUPE),
    State.UNKNOWN:                (_WAIT, _DECL, _STAY, _STAY, _EXPI, _SUPE),
    State.DECLINED:               (_SLIP_AFTER_ALL, _STAY, _STAY, _STAY, _STAY, _SUPE),
    State.FAILED:                 (_SLIP_AFTER_ALL, _STAY, _STAY, _STAY, _STAY, _SUPE),
    State.AWAITING_PAYMENT:       (_STAY, _LOOK, _STAY, _STAY, _EXPI, _SUPE),
    State.EXPIRED:                (_STAY, _LOOK, _STAY, _STAY, _STAY, _SUPE),
    State.RECEIVED:               (_STAY, _LOOK, _STAY, _STAY, _STAY, _LOOK),
    State.CONFIRMED:              (_STAY, _LOOK, _STAY, _STAY, _STAY, _LOOK),
    State.CANCELLED:              (_STAY, _LOOK, _STAY, _STAY, _STAY, _LOOK),
    State.SUPERSEDED:             (_STAY, _LOOK, _STAY, _STAY, _STAY, _STAY),
    State.RECEIVED_AFTER_CANCEL:  (_STAY, _LOOK, _STAY, _STAY, _STAY, _LOOK),
    State.CONFIRMED_AFTER_CANCEL: (_STAY, _LOOK, _STAY, _STAY, _STAY, _LOOK),
    State.CANCELLED_AFTER_CANCEL: (_STAY, _LOOK, _STAY, _STAY, _STAY, _LOOK),
}
# fmt: on

#: A person has decided, from any state: received, confirmed, cancelled. A sale that is confirmed stays so.
_BY_PERSON = (_RECV, _CONF, _CANC)
_BY_PERSON_CONFIRMED: Mapping[State, tuple[Cell, ...]] = {
    State.CONFIRMED: (_STAY, _STAY, _CANC),
    State.CONFIRMED_AFTER_CANCEL: (_CONF, _CONF, _CANC),
}
_OURS = tuple(Input)[len(NOTICES) : len(NOTICES) + 6]
_PERSON = tuple(Input)[len(NOTICES) + 6 :]


def _joined() -> Iterator[tuple[tuple[State, Input], Cell]]:
    for state in STATES:
        row = (*_BY_NOTICE[state], *_BY_OURS[state], *_BY_PERSON_CONFIRMED.get(state, _BY_PERSON))
        for given, cell in zip((*NOTICES, *_OURS, *_PERSON), row, strict=True):
            yield (state, given), cell


#: Every state and every input: 13 × 18 cells.
TABLE: Mapping[tuple[State, Input], Cell] = MappingProxyType(dict(_joined()))

#: The event that belongs to a state, when an application enters it by a notice, an answer, a sweep or a person.
_EVENT_OF: Mapping[State, EventKind] = MappingProxyType(
    {
        State.AWAITING_PAYMENT: EventKind.APPLICATION_ACCEPTED,
        State.DECLINED: EventKind.APPLICATION_DECLINED,
        State.EXPIRED: EventKind.PAYMENT_EXPIRED,
        State.RECEIVED: EventKind.PAYMENT_RECEIVED,
        State.CONFIRMED: EventKind.SALE_CONFIRMED,
        State.CANCELLED: EventKind.PAYMENT_CANCELLED,
        State.RECEIVED_AFTER_CANCEL: EventKind.PAYMENT_RECEIVED_AFTER_CANCEL,
        State.CONFIRMED_AFTER_CANCEL: EventKind.SALE_CONFIRMED_AFTER_CANCEL,
        State.CANCELLED_AFTER_CANCEL: EventKind.PAYMENT_CANCELLED_AFTER_CANCEL,
    }
)
_NO_SLIP_YET = frozenset({State.SUBMITTING, State.UNKNOWN, State.DECLINED, State.FAILED})
_PAID_IN_TIME = frozenset({State.RECEIVED, State.CONFIRMED})


def events(before: State, given: Input, after: State) -> tuple[EventKind, ...]:
    """Name what subscribers hear of a move, in order; nothing where the state did not change.

    A slip of which only its payment tells us is announced first. 02 is a refusal by ZEUS, as is a
    declined answer; an application that was never sent (also `FAILED`) is neither.
    """
    if after is before:
        return ()
    if after is State.FAILED:
        return (EventKind.APPLICATION_DECLINED,) if given is Input.NOTICE_02 else ()
    own = (_EVENT_OF[after],) if after in _EVENT_OF else ()
    if before in _NO_SLIP_YET and after in _PAID_IN_TIME and given in NOTICES:
        return (EventKind.APPLICATION_ACCEPTED, *own)
    return own
