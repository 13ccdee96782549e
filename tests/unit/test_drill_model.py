"""The drill's own idea of what must become of a payment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_zeus_cvs.drill.model import Attempt, Expected, Got, Heard, Life, Slip, Terms, expected
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.protocol.codes import Status

DAY = timedelta(days=1)
START = datetime(2026, 11, 24, tzinfo=UTC)
READY = EventKind.FULFILLMENT_READY


def heard(*told: str) -> list[Heard]:
    """Write notices as ``A04``: slip and status, an hour apart."""
    return [
        Heard(START + (place + 1) * timedelta(hours=1), each[0], Status(each[1:]))
        for place, each in enumerate(told)
    ]


def outcome(
    told: Sequence[str],
    attempts: Sequence[Attempt] = (Attempt(Got.ACCEPTED, START, "A"),),
    *,
    swept: timedelta = 2 * DAY,
    closed: timedelta | None = None,
    reissues: dict[str, str] | None = None,
    disputed: bool = False,
    at_confirmation: bool = False,
    **life: Any,
) -> Expected:
    return expected(
        Life(1, "", attempts=list(attempts), heard=heard(*told), reissues=reissues or {}, **life),
        Terms(at_confirmation=at_confirmation, test_fulfills=False, grace=DAY),
        closed_at=START + closed if closed is not None else None,
        slips={slip: Slip(f"sendid-{slip}", START, START + 7 * DAY) for slip in "AB"},
        swept_at=START + swept,
        disputed=disputed,
    )


@pytest.mark.parametrize(
    ("told", "state", "ready", "questions"),
    [
        (["A01"], State.AWAITING_PAYMENT, 0, 0),
        (["A01", "A04"], State.RECEIVED, 1, 0),
        (["A05", "A04", "A01"], State.CONFIRMED, 1, 0),
        (["A04", "A04", "A05", "A05"], State.CONFIRMED, 1, 0),
        (["A03", "A04"], State.RECEIVED, 1, 0),
        (["A04", "A06"], State.CANCELLED, 1, 0),
        (["A06", "A04"], State.CANCELLED, 0, 1),
        (["A04", "A06", "A04"], State.CANCELLED, 1, 1),
        (["A11", "A12"], State.CONFIRMED_AFTER_CANCEL, 0, 0),
        (["A13", "A11"], State.CANCELLED_AFTER_CANCEL, 0, 1),
    ],
)
def test_what_was_told_decides(told: list[str], state: State, ready: int, questions: int) -> None:
    """The state, whether goods ship, and how many questions a person is asked."""
    right = outcome(told)
    assert right.states == {"A": frozenset({state})}
    assert right.events[READY] == ready
    assert len(right.questions) == questions


def test_goods_ship_at_05_where_the_shop_wants_that() -> None:
    """And not at 04."""
    assert outcome(["A04"], at_confirmation=True).events[READY] == 0
    assert outcome(["A04", "A05"], at_confirmation=True).events[READY] == 1


def test_money_for_a_closed_payment_is_a_question() -> None:
    """It ships nothing; closing afterwards changes nothing."""
    late = outcome(["A04"], closed=timedelta(minutes=1))
    assert (late.events[READY], bool(late.questions)) == (0, True)
    early = outcome(["A04"], closed=timedelta(hours=2))
    assert (early.events[READY], bool(early.questions)) == (1, False)


def test_two_slips_with_money_are_a_question() -> None:
    """The first one ships."""
    both = (Attempt(Got.NOTHING, START, "A"), Attempt(Got.ACCEPTED, START, "B"))
    right = outcome(["B04", "A04"], both)
    assert right.events[READY] == 1
    assert right.questions == ["it was paid twice"]


def test_a_reissue_replaces_once_the_shop_has_heard_of_it() -> None:
    """Until then the old slip stands, and the new one cannot be in the books."""
    unheard = outcome(["A01"], reissues={"B": "A"})
    assert unheard.states == {"A": frozenset({State.AWAITING_PAYMENT}), "B": frozenset()}
    told = outcome(["A01", "B01"], reissues={"B": "A"})
    assert told.states["A"] == {State.SUPERSEDED}


def test_what_nobody_paid_lapses_after_the_grace() -> None:
    """Unless a review is open; and later, if the shop does not know of the deadline."""
    assert outcome([], swept=7 * DAY).states["A"] == {State.AWAITING_PAYMENT}
    assert outcome([], swept=8 * DAY).states["A"] == {State.EXPIRED}
    assert outcome([], swept=8 * DAY, disputed=True).states["A"] == {State.EXPIRED, State.AWAITING_PAYMENT}
    unanswered = (Attempt(Got.NOTHING, START, "A"),)
    assert outcome([], unanswered, swept=59 * DAY).states["A"] == {State.UNKNOWN}
    assert outcome([], unanswered, swept=60 * DAY).states["A"] == {State.EXPIRED}


@pytest.mark.parametrize(
    ("got", "state"),
    [(Got.DECLINED, State.DECLINED), (Got.NOT_SENT, State.FAILED), (Got.NOTHING, State.UNKNOWN)],
)
def test_an_application_without_a_slip(got: Got, state: State) -> None:
    """What the shop got for it is all there is to know."""
    assert outcome([], (Attempt(got, START),)).slipless == [state]


def test_a_failure_may_be_told_before_the_answer() -> None:
    """02 and a refusal mean the same, and are one event, whichever comes first."""
    right = outcome(["A02"], (Attempt(Got.DECLINED, START, "A"),))
    assert right.states["A"] == {State.DECLINED, State.FAILED}
    assert right.events[EventKind.APPLICATION_DECLINED] == 1


def test_a_test_ships_nothing() -> None:
    """And is told of like any other."""
    right = outcome(["A04", "A05"], test=True)
    assert right.events[READY] == 0
    assert right.events[EventKind.SALE_CONFIRMED] == 1


def test_another_amount_is_a_question() -> None:
    """Whatever else becomes of the payment."""
    assert outcome(["A04"], forged=1).questions == ["a notice names another amount"]
