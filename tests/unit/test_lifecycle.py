"""The transition table against the design, cell by cell, and what must hold for every order of notices."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest

from flask_zeus_cvs.lifecycle import (
    HOLDS_MONEY,
    LIVE,
    MAY_APPLY,
    NOTICES,
    STATES,
    TABLE,
    Cell,
    EventKind,
    Input,
    State,
    events,
)
from flask_zeus_cvs.protocol.codes import Status

# The design's table, spelled out a second time: "–" no effect, "?" a review, "+?" the state and a review.
DESIGN = """
                        01      02      03      04      05      06      11      12      13
submitting              await   failed  expired recv    conf    canc    recv_ac conf_ac canc_ac
unknown                 await   failed  expired recv    conf    canc    recv_ac conf_ac canc_ac
declined                await+? –       –       ?       ?       ?       ?       ?       ?
failed                  await+? –       –       ?       ?       ?       ?       ?       ?
awaiting_payment        –       ?       expired recv    conf    canc    recv_ac conf_ac canc_ac
expired                 –       ?       –       recv    conf    canc    recv_ac conf_ac canc_ac
received                –       ?       –       –       conf    canc    ?       conf_ac canc_ac
confirmed               –       ?       –       –       –       ?       ?       ?       ?
cancelled               –       ?       –       ?       ?       –       ?       ?       canc_ac
superseded              –       ?       –       ?       ?       ?       recv_ac conf_ac canc_ac
received_after_cancel   –       ?       –       ?       ?       ?       –       conf_ac canc_ac
confirmed_after_cancel  –       ?       –       –       ?       ?       –       –       ?
cancelled_after_cancel  –       ?       –       ?       ?       –       ?       ?       –
"""

OURS = """
                        accepted declined unknown not_sent sweep   superseded
submitting              await    declined unknown failed   expired superseded
unknown                 await    declined –       –        expired superseded
declined                await+?  –        –       –        –       superseded
failed                  await+?  –        –       –        –       superseded
awaiting_payment        –        ?        –       –        expired superseded
expired                 –        ?        –       –        –       superseded
received                –        ?        –       –        –       ?
confirmed               –        ?        –       –        –       ?
cancelled               –        ?        –       –        –       ?
superseded              –        ?        –       –        –       –
received_after_cancel   –        ?        –       –        –       ?
confirmed_after_cancel  –        ?        –       –        –       ?
cancelled_after_cancel  –        ?        –       –        –       ?
"""

SHORT = {
    "await": State.AWAITING_PAYMENT,
    "recv": State.RECEIVED,
    "conf": State.CONFIRMED,
    "canc": State.CANCELLED,
    "recv_ac": State.RECEIVED_AFTER_CANCEL,
    "conf_ac": State.CONFIRMED_AFTER_CANCEL,
    "canc_ac": State.CANCELLED_AFTER_CANCEL,
}


def cells(text: str) -> list[tuple[State, Input, Cell]]:
    head, *rows = text.strip("\n").splitlines()
    found = []
    for row in rows:
        state, *words = row.split()
        for given, word in zip(head.split(), words, strict=True):
            found.append((State(state), Input(given), cell(word)))
    return found


def cell(word: str) -> Cell:
    name, _, mark = word.partition("+")
    if name in ("–", "?"):
        return Cell(None, review=name == "?")
    return Cell(SHORT.get(name) or State(name), review=mark == "?")


@pytest.mark.parametrize(("state", "given", "expected"), [*cells(DESIGN), *cells(OURS)])
def test_each_cell_is_as_designed(state: State, given: Input, expected: Cell) -> None:
    """What each notice, answer and sweep does in each state is what the design says."""
    assert TABLE[state, given] == expected


@pytest.mark.parametrize("state", STATES)
def test_a_person_may_decide_in_any_state(state: State) -> None:
    """A decision leads to what was decided, from any state, raises no further review, and lowers no sale."""
    confirmed = state in (State.CONFIRMED, State.CONFIRMED_AFTER_CANCEL)
    received = TABLE[state, Input.RESOLVED_RECEIVED]
    assert (received.state or state) is (State.CONFIRMED if confirmed else State.RECEIVED)
    assert (TABLE[state, Input.RESOLVED_CONFIRMED].state or state) is State.CONFIRMED
    assert TABLE[state, Input.RESOLVED_CANCELLED] == Cell(State.CANCELLED)
    assert not received.review


def test_the_table_is_complete() -> None:
    """Every state meets every input, and every status on the wire is an input."""
    assert set(TABLE) == {(state, given) for state in STATES for given in Input}
    assert {status.value for status in Status} == {given.value for given in NOTICES}
    assert len(cells(DESIGN)) + len(cells(OURS)) + 3 * len(STATES) == len(TABLE)


def play(start: State, order: tuple[Input, ...]) -> tuple[State, bool]:
    state, reviewed = start, False
    for given in order:
        found = TABLE[state, given]
        state, reviewed = found.state or state, reviewed or found.review
    return state, reviewed


@pytest.mark.parametrize("start", STATES)
def test_order_matters_only_where_a_person_looks(start: State) -> None:
    """For every set of up to six notices: all orders that raise no review end in one state.

    And where two orders end in different states, at least one of them raised a review.
    """
    for size in range(2, 7):
        for chosen in combinations(NOTICES, size):
            played = [play(start, order) for order in permutations(chosen)]
            assert len({state for state, reviewed in played if not reviewed}) <= 1, chosen
            if len({state for state, _ in played}) > 1:
                assert any(reviewed for _, reviewed in played), chosen


@pytest.mark.parametrize("state", sorted(HOLDS_MONEY))
def test_money_is_never_lowered_silently(state: State) -> None:
    """No notice but 06 and 13, and no input of ours, takes money from a state without a review."""
    for given in Input:
        after = TABLE[state, given].state
        if after is not None and after not in HOLDS_MONEY:
            assert given in (Input.NOTICE_06, Input.NOTICE_13, Input.RESOLVED_CANCELLED)


def test_an_answer_never_lowers_what_a_notice_has_set() -> None:
    """accepted, declined, unknown and not_sent move nothing that has gone beyond declined or failed."""
    for state in set(STATES) - {State.SUBMITTING, State.UNKNOWN, State.DECLINED, State.FAILED}:
        for given in (Input.ACCEPTED, Input.DECLINED, Input.UNKNOWN, Input.NOT_SENT):
            assert TABLE[state, given].state is None


def test_states_are_sorted_into_kinds() -> None:
    """Live, holding money and free to apply exclude each other, except for unknown after its wait."""
    assert not LIVE & HOLDS_MONEY
    assert {State.UNKNOWN} == LIVE & MAY_APPLY
    assert not MAY_APPLY & HOLDS_MONEY


@pytest.mark.parametrize(
    ("before", "given", "after", "expected"),
    [
        (State.SUBMITTING, Input.ACCEPTED, State.AWAITING_PAYMENT, ["application_accepted"]),
        (State.UNKNOWN, Input.NOTICE_01, State.AWAITING_PAYMENT, ["application_accepted"]),
        (State.UNKNOWN, Input.NOTICE_04, State.RECEIVED, ["application_accepted", "payment_received"]),
        (State.SUBMITTING, Input.NOTICE_05, State.CONFIRMED, ["application_accepted", "sale_confirmed"]),
        (State.SUBMITTING, Input.DECLINED, State.DECLINED, ["application_declined"]),
        (State.SUBMITTING, Input.NOTICE_02, State.FAILED, ["application_declined"]),
        (State.SUBMITTING, Input.NOT_SENT, State.FAILED, []),
        (State.SUBMITTING, Input.UNKNOWN, State.UNKNOWN, []),
        (State.AWAITING_PAYMENT, Input.NOTICE_03, State.EXPIRED, ["payment_expired"]),
        (State.AWAITING_PAYMENT, Input.SWEEP, State.EXPIRED, ["payment_expired"]),
        (State.AWAITING_PAYMENT, Input.NOTICE_04, State.RECEIVED, ["payment_received"]),
        (State.EXPIRED, Input.NOTICE_04, State.RECEIVED, ["payment_received"]),
        (State.RECEIVED, Input.NOTICE_04, State.RECEIVED, []),
        (State.RECEIVED, Input.NOTICE_05, State.CONFIRMED, ["sale_confirmed"]),
        (State.RECEIVED, Input.NOTICE_06, State.CANCELLED, ["payment_cancelled"]),
        (
            State.SUPERSEDED,
            Input.NOTICE_11,
            State.RECEIVED_AFTER_CANCEL,
            ["payment_received_after_cancel"],
        ),
        (
            State.SUPERSEDED,
            Input.NOTICE_12,
            State.CONFIRMED_AFTER_CANCEL,
            ["sale_confirmed_after_cancel"],
        ),
        (
            State.SUPERSEDED,
            Input.NOTICE_13,
            State.CANCELLED_AFTER_CANCEL,
            ["payment_cancelled_after_cancel"],
        ),
        (State.AWAITING_PAYMENT, Input.SUPERSEDED, State.SUPERSEDED, []),
        (State.CANCELLED, Input.RESOLVED_RECEIVED, State.RECEIVED, ["payment_received"]),
    ],
)
def test_each_move_has_its_events(before: State, given: Input, after: State, expected: list[str]) -> None:
    """Subscribers hear what a move means, once, and a slip that only its payment tells of is announced first."""
    assert events(before, given, after) == tuple(EventKind(name) for name in expected)
