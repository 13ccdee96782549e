"""What is played, and what must become of it: the plan keeps its word, and the model agrees with the design."""

from __future__ import annotations

import pytest

from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.protocol.messages import Notice
from tests.torture.lives import LONGEST, Plan, plan
from tests.torture.model import Life, Outcome, Slip, Told, outcomes

AMOUNT = 3000


@pytest.fixture(scope="module", params=[1, 2])
def drawn(request: pytest.FixtureRequest) -> Plan:
    """A plan of a thousand calls."""
    return plan(request.param, 1000, 200)


def test_a_seed_gives_one_plan() -> None:
    """The same seed plays the same calls, another one others."""
    assert plan(7, 200, 40) == plan(7, 200, 40)
    assert plan(7, 200, 40).calls != plan(8, 200, 40).calls


def test_the_plan_has_what_was_asked_for(drawn: Plan) -> None:
    """So many calls, a tenth of them repeats; every message is sent, and no two are the same notice."""
    assert len(drawn.calls) == 1000
    assert len(drawn.messages) == 900
    assert {call.message.number for call in drawn.calls} == set(range(900))
    assert len({message.key for message in drawn.messages}) == 900
    assert all(1 <= len(charge.notices) <= LONGEST for charge in drawn.charges)
    assert sum(call.cut for call in drawn.calls) == 20


def test_a_call_says_what_its_message_says(drawn: Plan) -> None:
    """However a call is spelled, the gateway's language reads the message's own identity from it."""
    for call in drawn.calls:
        notice = Notice.parse(call.form)
        named = notice.order_no or f"sendid:{notice.sendid}"
        assert (named, notice.status.value, notice.money) == call.message.key
        assert notice.sendid == call.message.sendid


def test_the_calls_of_a_volley_stand_together(drawn: Plan) -> None:
    """Those that are to be sent at the same moment follow one another, and are as many as they say."""
    volleys = {call.message.number: call.together for call in drawn.calls if call.together > 1}
    sent = [call.message.number if call.together > 1 else -1 for call in drawn.calls]
    for number, together in volleys.items():
        first = sent.index(number)
        assert (
            sent[first : first + together] == [number] * together == [each for each in sent if each == number]
        )
    assert max(volleys.values()) >= 3


def test_names_that_differ_in_case_are_told_apart(drawn: Plan) -> None:
    """Some order numbers differ in nothing but the case of their letters: a database may take them for the same."""
    numbers = {message.told.order_no for message in drawn.messages}
    assert len({number.lower() for number in numbers}) < len(numbers)


def test_orders_that_differ_are_reviewed(drawn: Plan) -> None:
    """The design's promise holds for every set of notices that is played: where orders differ, a person is asked."""
    differing = 0
    for charge in drawn.charges:
        possible = outcomes(charge.life, charge.notices)
        if len({each.slips for each in possible}) > 1:
            differing += 1
            assert all(each.reviewed for each in possible), charge
    assert differing > 20


X, Y = "0001-a", "0001-a.2"


def told(status: str, order_no: str = X, *, ours: bool = False, money: int | None = AMOUNT) -> Told:
    return Told(status, order_no, ours, money)


def ends(state: State, number: str, *notices: Told) -> set[tuple[frozenset[tuple[str, str]], bool]]:
    """Where all orders of the notices lead, from one slip in ``state``."""
    found = outcomes(Life(AMOUNT, (Slip(number, state),)), frozenset(notices))
    return {(frozenset((no, str(state)) for no, state in each.slips), each.reviewed) for each in found}


def end(*slips: tuple[str, str], reviewed: bool = False) -> tuple[frozenset[tuple[str, str]], bool]:
    return frozenset(slips), reviewed


def test_an_ordinary_life_has_one_end() -> None:
    """01, 04 and 05 in any order end confirmed, and nobody is asked."""
    notices = told("01"), told("04"), told("05")
    assert ends(State.AWAITING_PAYMENT, X, *notices) == {end((X, "confirmed"))}


def test_a_sale_beside_a_reversal_has_two() -> None:
    """05 and 06: whichever came first stands, with a review."""
    two = {end((X, "confirmed"), reviewed=True), end((X, "cancelled"), reviewed=True)}
    assert ends(State.RECEIVED, X, told("05"), told("06")) == two


def test_other_money_changes_nothing() -> None:
    """A wrong amount is a review, and no payment."""
    wrong = told("04", money=1)
    assert ends(State.AWAITING_PAYMENT, X, wrong) == {end((X, "awaiting_payment"), reviewed=True)}
    assert ends(State.AWAITING_PAYMENT, X, told("04", money=None)) == {end((X, "received"))}


def test_a_sendid_binds() -> None:
    """Law 12: the first notice with our sendid gives the slip its number, and what waited for it is taken."""
    notices = told("01", ours=True), told("04")
    assert ends(State.UNKNOWN, "", *notices) == {end((X, "received"))}
    assert ends(State.UNKNOWN, "", told("04")) == {end(("", "unknown"))}
    assert ends(State.UNKNOWN, "", told("04", "", ours=True)) == {end(("", "received"))}


def test_a_re_issue_supersedes() -> None:
    """Law 12: another number under our sendid is a new slip; the old one is superseded, unless it holds money."""
    new = told("01", Y, ours=True)
    assert ends(State.AWAITING_PAYMENT, X, new) == {end((X, "superseded"), (Y, "awaiting_payment"))}
    assert ends(State.RECEIVED, X, new) == {end((X, "received"), (Y, "awaiting_payment"), reviewed=True)}
    old = told("11", Y, ours=True)
    assert ends(State.AWAITING_PAYMENT, X, old) == {
        end((X, "awaiting_payment"), (Y, "received_after_cancel"))
    }


def test_money_twice_or_after_a_reversal_is_a_review() -> None:
    """Each is a question to a person, although the table itself has none."""
    paid = told("04", Y, ours=True)
    assert ends(State.RECEIVED, X, paid) == {end((X, "received"), (Y, "received"), reviewed=True)}
    both = ends(State.AWAITING_PAYMENT, X, told("06"), told("11", Y, ours=True))
    assert end((X, "cancelled"), (Y, "received_after_cancel"), reviewed=True) in both


def test_an_outcome_can_be_compared() -> None:
    """What the judge reads from the database and what the model says are the same kind of thing."""
    possible = outcomes(Life(AMOUNT, (Slip(X, State.UNKNOWN),)), frozenset({told("02")}))
    assert possible == {Outcome(frozenset({(X, State.FAILED)}), False)}
