"""The lives of payments: what customers, tills, chains, ZEUS's staff and the network do to them.

Each is a generator that acts and then says how long nothing happens. None of them knows what must come of it: that
is worked out afterwards, from what was done and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Protocol

from flask_zeus_cvs.drill.model import Life
from flask_zeus_cvs.protocol.codes import ERROR_CODES, Status, TestType

Story = Iterator[timedelta]


class Trade(Protocol):
    """What a story can do, and have done; each act is over when it returns."""

    def apply(self, life: Life, fault: str = "", **how: Any) -> str: ...
    def click_again(self, life: Life) -> None: ...
    def lose_line(self, life: Life) -> None: ...
    def test(self, life: Life, kind: TestType) -> str: ...
    def pay(self, slip: str, *, told: bool = True) -> bool: ...
    def take_back(self, slip: str) -> bool: ...
    def confirm(self, slip: str) -> bool: ...
    def reissue(self, life: Life, slip: str) -> str: ...
    def resend(self, slip: str, status: Status | None = None) -> None: ...
    def forge(self, life: Life, slip: str) -> None: ...
    def trouble(self, kind: str) -> None: ...
    def together(self) -> Any: ...
    def until_deadline(self, slip: str) -> timedelta: ...
    def until_swept(self) -> timedelta: ...
    def patience(self) -> timedelta: ...
    def between(self, least: float, most: float) -> timedelta: ...
    def one_of(self, *choices: Any) -> Any: ...


#: Answers that look unusual and mean the same.
_DRESSES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"crlf": True},
    {"spaced": True},
    {"shuffled": True},
    {"notice_first": True},
    {"delay": 0.5},
)


def _buy(trade: Trade, life: Life) -> str:
    """Apply, and get an answer that is as it should be."""
    return trade.apply(life, **trade.one_of(*_DRESSES))


def pays(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.between(0.2, 60)
    trade.pay(slip)


def pays_at_the_last_minute(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.until_deadline(slip) - timedelta(minutes=5)
    trade.pay(slip)


def is_told_everything_twice(trade: Trade, life: Life) -> Story:
    trade.trouble("repeat")
    slip = _buy(trade, life)
    yield trade.between(1, 48)
    trade.trouble("repeat")
    trade.pay(slip)
    yield trade.between(1, 24)
    trade.resend(slip)
    yield timedelta(days=8)
    trade.resend(slip)
    trade.resend(slip, Status.AWAITING_PAYMENT)


def is_taken_back(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.between(0.2, 40)
    trade.pay(slip)
    yield trade.between(0.05, 20)
    trade.take_back(slip)


def is_taken_back_and_told_again(trade: Trade, life: Life) -> Story:
    yield from is_taken_back(trade, life)
    yield trade.between(2, 30)
    trade.resend(life.slips[-1], Status.PAYMENT_RECEIVED)


def is_taken_back_at_once(trade: Trade, life: Life) -> Story:
    """Before anybody could ship: the goods must stay."""
    slip = _buy(trade, life)
    yield trade.between(1, 40)
    with trade.together():
        trade.pay(slip)
        trade.take_back(slip)


def is_taken_back_in_disorder(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.between(1, 40)
    with trade.together():
        trade.trouble("reorder")
        trade.pay(slip)
        trade.take_back(slip)


def is_confirmed_in_disorder(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.between(1, 40)
    with trade.together():
        trade.trouble("reorder")
        trade.pay(slip)
        trade.confirm(slip)


def is_paid_and_nobody_tells(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.between(1, 60)
    trade.trouble("drop")
    trade.pay(slip)
    yield trade.between(20, 100)
    trade.resend(slip, Status.PAYMENT_RECEIVED)


def is_told_after_the_deadline(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.until_deadline(slip) - timedelta(minutes=30)
    trade.trouble("drop")
    trade.pay(slip)
    yield trade.until_swept()
    trade.resend(slip, Status.PAYMENT_RECEIVED)


def never_pays(trade: Trade, life: Life) -> Story:
    _buy(trade, life)
    yield timedelta(hours=1)


def never_pays_and_nobody_tells(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.until_deadline(slip) - timedelta(minutes=1)
    trade.trouble("drop")
    yield timedelta(minutes=2)
    yield trade.until_swept()
    trade.resend(slip, Status.EXPIRED)


def never_chooses_a_store(trade: Trade, life: Life) -> Story:  # noqa: ARG001
    yield timedelta(hours=1)


def clicks_twice(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    trade.click_again(life)
    yield trade.between(1, 60)
    trade.pay(slip)
    trade.click_again(life)
    yield timedelta(hours=1)


def is_declined(trade: Trade, life: Life) -> Story:
    code = tuple(ERROR_CODES)[life.number % len(ERROR_CODES)]
    trade.apply(life, error_code=code)
    yield trade.between(0.05, 2)
    slip = _buy(trade, life)
    yield trade.between(1, 60)
    trade.pay(slip)


def has_details_refused(trade: Trade, life: Life) -> Story:
    trade.apply(life, parameter=trade.one_of("telno", "username", "email", "money"))
    yield trade.between(0.02, 1)
    slip = _buy(trade, life)
    yield trade.between(1, 60)
    trade.pay(slip)


def finds_the_line_down(trade: Trade, life: Life) -> Story:
    trade.lose_line(life)
    yield trade.between(0.2, 3)
    slip = _buy(trade, life)
    yield trade.between(1, 60)
    trade.pay(slip)


def gets_no_answer(trade: Trade, life: Life) -> Story:
    """The slip exists, and the notice 01 tells of it."""
    slip = trade.apply(life, trade.one_of("lost", "cut", "never"))
    trade.click_again(life)
    yield trade.between(1, 60)
    trade.pay(slip)


def gets_no_answer_and_applies_again(trade: Trade, life: Life) -> Story:
    """Two slips exist, and the customer pays one of them."""
    trade.trouble("drop")
    first = trade.apply(life, trade.one_of("lost", "never"))
    trade.click_again(life)
    yield trade.patience()
    second = _buy(trade, life)
    yield trade.between(1, 60)
    trade.pay(trade.one_of(first, second))


def pays_both_of_two_slips(trade: Trade, life: Life) -> Story:
    trade.trouble("drop")
    first = trade.apply(life, "never")
    yield trade.patience()
    second = _buy(trade, life)
    yield trade.between(1, 60)
    trade.pay(second)
    yield trade.between(1, 24)
    trade.pay(first)


def gets_a_garbled_answer(trade: Trade, life: Life) -> Story:
    """No slip exists, which nobody can know."""
    trade.apply(life, trade.one_of("empty", "html", "maintenance"))
    yield trade.patience()
    slip = _buy(trade, life)
    yield trade.between(1, 60)
    trade.pay(slip)


def fails_behind_zeus(trade: Trade, life: Life) -> Story:
    """The answer comes too late, and the notice 02 tells what it would have said."""
    trade.apply(life, error_code=trade.one_of("0008", "0011", "0013"), delay=LATE)
    yield trade.patience()
    slip = _buy(trade, life)
    yield trade.between(1, 60)
    trade.pay(slip)


#: Seconds that are later than any time-out that can be set.
LATE = 121.0


def is_reissued(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.between(1, 60)
    slip = trade.reissue(life, slip)
    yield trade.between(1, 40)
    trade.pay(slip)


def is_reissued_after_the_deadline(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.until_deadline(slip) + trade.between(3, 60)
    slip = trade.reissue(life, slip)
    yield trade.between(1, 40)
    trade.pay(slip)


def pays_the_old_slip(trade: Trade, life: Life) -> Story:
    """11, and 12 some days after it."""
    slip = _buy(trade, life)
    yield trade.between(1, 60)
    trade.reissue(life, slip)
    yield trade.between(1, 40)
    trade.pay(slip)


def pays_the_old_slip_and_has_it_taken_back(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.between(1, 40)
    trade.reissue(life, slip)
    yield trade.between(1, 20)
    trade.pay(slip)
    yield trade.between(0.1, 20)
    trade.take_back(slip)


def pays_the_new_slip_in_the_end(trade: Trade, life: Life) -> Story:
    """The old one is paid and taken back: that is no reason to call the order off."""
    old = _buy(trade, life)
    yield trade.between(1, 40)
    new = trade.reissue(life, old)
    yield trade.between(1, 20)
    trade.pay(old)
    yield trade.between(0.1, 10)
    trade.take_back(old)
    yield trade.between(1, 20)
    trade.pay(new)


def pays_the_old_slip_and_the_new(trade: Trade, life: Life) -> Story:
    old = _buy(trade, life)
    yield trade.between(1, 40)
    both = [old, trade.reissue(life, old)]
    if trade.one_of(True, False):
        both.reverse()
    for slip in both:
        yield trade.between(1, 30)
        trade.pay(slip)


def is_told_a_wrong_amount(trade: Trade, life: Life) -> Story:
    slip = _buy(trade, life)
    yield trade.between(1, 40)
    trade.forge(life, slip)
    if trade.one_of(True, False):
        yield trade.between(1, 20)
        trade.pay(slip)


def pays_while_the_service_is_stopped(trade: Trade, life: Life) -> Story:
    """番組停止: money of which no notice tells."""
    slip = _buy(trade, life)
    yield trade.between(1, 40)
    trade.pay(slip, told=False)


def is_a_test(trade: Trade, life: Life) -> Story:
    trade.test(life, tuple(TestType)[life.number % len(TestType)])
    yield timedelta(hours=1)


#: How many of a hundred lives are like this, about; each is played at least once, if there are enough payments.
USUAL: Mapping[Callable[[Trade, Life], Story], int] = MappingProxyType(
    {
        pays: 36,
        never_pays: 8,
        is_taken_back: 6,
        pays_at_the_last_minute: 3,
        is_told_everything_twice: 4,
        is_declined: 4,
        gets_no_answer: 4,
        is_paid_and_nobody_tells: 3,
        is_reissued: 3,
        pays_the_old_slip: 2,
        clicks_twice: 2,
        finds_the_line_down: 2,
        gets_a_garbled_answer: 2,
        never_chooses_a_store: 2,
        never_pays_and_nobody_tells: 1,
        has_details_refused: 1,
        is_taken_back_and_told_again: 1,
        is_taken_back_at_once: 1,
        is_taken_back_in_disorder: 1,
        is_confirmed_in_disorder: 1,
        is_told_after_the_deadline: 2,
        gets_no_answer_and_applies_again: 2,
        pays_both_of_two_slips: 1,
        fails_behind_zeus: 1,
        is_reissued_after_the_deadline: 1,
        pays_the_old_slip_and_has_it_taken_back: 1,
        pays_the_new_slip_in_the_end: 1,
        pays_the_old_slip_and_the_new: 2,
        is_told_a_wrong_amount: 1,
        pays_while_the_service_is_stopped: 1,
    }
)
#: Played besides if the shop has a test id, so many times each test type.
TESTS = 2
