"""What may happen: the state of every application before and after, and what the table makes of the input between.

It is the design told a second time, over what stands in the database, without the code under test but with its table.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from flask_zeus_cvs.lifecycle import AFTER_CANCEL, TABLE, Input, State
from flask_zeus_cvs.protocol.messages import Answer, Outcome
from tests.fuzz.reading import LIMIT, Heard

_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
)  # order numbers may look like it, and are then not told apart
_REPLACED = {
    State.SUPERSEDED,
    State.RECEIVED_AFTER_CANCEL,
    State.CONFIRMED_AFTER_CANCEL,
    State.CANCELLED_AFTER_CANCEL,
}
_OUTCOMES = {
    Outcome.accepted: Input.ACCEPTED,
    Outcome.declined: Input.DECLINED,
    Outcome.unknown: Input.UNKNOWN,
}


class Violation(AssertionError):
    """Something happened that may not happen."""


@dataclass(frozen=True)
class Slip:
    """One application, as it stands in the database."""

    id: int
    payment_id: int
    sendid: str
    amount: int
    state: State
    order_no: str
    #: Payment numbers, deadline, link and error code: set once, they never change.
    numbers: tuple[str, ...] = field(compare=False)


@dataclass(frozen=True)
class Waiting:
    """A notice that is kept until somebody knows its order number."""

    order_no: str
    status: Input
    money: int | None
    raw: bytes = field(default=b"", compare=False)


@dataclass(frozen=True)
class Kept:
    """The row of a notice."""

    raw: bytes
    times: int
    verdict: str


@dataclass(frozen=True)
class World:
    """What matters of the database at one moment."""

    slips: dict[int, Slip]
    waiting: tuple[Waiting, ...]
    reviews: int


def seen(look: sqlite3.Connection) -> World:
    """Look at the database."""
    rows = look.execute(
        "select a.id, a.payment_id, a.sendid, p.amount, a.stored_state, coalesce(a.order_no, ''), a.pay_no1,"
        " a.pay_no2, coalesce(a.pay_limit, ''), a.pay_url, a.error_code"
        " from zeus_cvs_applications a join zeus_cvs_payments p on p.id = a.payment_id order by a.id"
    )
    slips = {row[0]: _slip(row) for row in rows}
    rows = look.execute(
        "select order_no, status, money, raw from zeus_cvs_notifications where verdict = 'waiting' order by id"
    )
    waiting = tuple(Waiting(row[0], Input(row[1]), row[2], row[3]) for row in rows)
    (reviews,) = look.execute("select count(*) from zeus_cvs_reviews").fetchone()
    return World(slips, waiting, reviews)


@lru_cache(maxsize=10_000)
def _slip(row: tuple[Any, ...]) -> Slip:
    """Make a value of a row, the same one each time: most of them are as they were."""
    id_, payment_id, sendid, amount, state, order_no, *numbers = row
    return Slip(id_, payment_id, sendid, amount, State(state), order_no, tuple(numbers))


def kept(look: sqlite3.Connection, identity: str) -> Kept | None:
    """Find the row of a notice."""
    row = look.execute(
        "select raw, times, verdict from zeus_cvs_notifications where identity = ?", (identity,)
    ).fetchone()
    return Kept(*row) if row else None


@dataclass
class Expectation:
    """The world as it must be afterwards; a new application has no id yet and stands under 0."""

    slips: dict[int, Slip]
    reviews: bool = False
    #: Applications that the input was about: only their blanks may be filled.
    touched: set[int] = field(default_factory=set)
    #: The cells of the table that were looked up.
    cells: list[tuple[State, Input]] = field(default_factory=list)

    def move(self, slip_id: int, given: Input) -> None:
        """Move one application by the table."""
        slip = self.slips[slip_id]
        self.cells.append((slip.state, given))
        cell = TABLE[slip.state, given]
        self.slips[slip_id] = replace(slip, state=cell.state or slip.state)
        self.reviews |= cell.review
        self.touched.add(slip_id)

    def bind(self, slip_id: int, order_no: str, waiting: Iterable[Waiting]) -> None:
        """Give an application its order number, and take what waits for it."""
        self.slips[slip_id] = slip = replace(self.slips[slip_id], order_no=order_no)
        for each in waiting:
            if each.order_no == order_no:
                self._take(slip_id, each, slip.amount)

    def _take(self, slip_id: int, notice: Waiting, amount: int) -> None:
        if notice.money in (None, amount):
            self.move(slip_id, notice.status)
        else:
            self.reviews = True


def after_notice(before: World, notice: Heard, row: Kept | None) -> Expectation:
    """Tell what a notice must make of the world; ``row`` is how it was kept before, if it came before."""
    expected = Expectation(dict(before.slips))
    slips = sorted(before.slips.values(), key=lambda each: each.id)
    named = [each for each in slips if notice.order_no and each.order_no == notice.order_no]
    family = [each for each in slips if notice.sendid and each.sendid == notice.sendid]
    repeat = row is not None and row.verdict != "waiting"
    if repeat or notice.foreign or not (named or family):
        expected.reviews = row is None
        return expected
    amount = (named or family)[0].amount
    if notice.money not in (None, amount):
        expected.reviews = True
        return expected
    family = family if not named else [each for each in family if each.payment_id == named[0].payment_id]
    _apply(expected, notice, named, family, _others(before, notice, row))
    return expected


def unmoved(before: World, *, reviewed: bool) -> Expectation:
    """Tell that nothing may move."""
    return Expectation(dict(before.slips), reviewed)


def _others(before: World, notice: Heard, row: Kept | None) -> tuple[Waiting, ...]:
    """What else waits for the notice's order number: not itself, if it waited."""
    own = Waiting(notice.order_no, notice.status, notice.money)
    return tuple(each for each in before.waiting if row is None or each != own)


def _apply(
    expected: Expectation,
    notice: Heard,
    named: list[Slip],
    family: list[Slip],
    waiting: tuple[Waiting, ...],
) -> None:
    """Law 12: the application of this order number, else the one that has none, else a re-issue."""
    standing = [each for each in family if each.state not in _REPLACED]
    unbound = [each for each in family if not each.order_no]
    if named:
        expected.move(named[0].id, notice.status)
    elif not notice.order_no:
        expected.move((standing or family)[-1].id, notice.status)
    elif unbound and notice.status not in AFTER_CANCEL:
        expected.move(unbound[-1].id, notice.status)
        expected.bind(unbound[-1].id, notice.order_no, waiting)
    else:
        model = family[-1]
        expected.slips[0] = replace(model, id=0, state=State.UNKNOWN, order_no=notice.order_no, numbers=())
        if standing and notice.status not in AFTER_CANCEL:
            expected.move(standing[-1].id, Input.SUPERSEDED)
        expected.move(0, notice.status)
        expected.bind(0, notice.order_no, waiting)


def after_answer(before: World, slip_id: int, answer: Answer) -> Expectation:
    """Tell what an answer must make of the world: it fills blanks and lowers nothing."""
    expected = Expectation(dict(before.slips))
    slip, given = before.slips[slip_id], _OUTCOMES[answer.outcome]
    taken = any(each.order_no == answer.order_no for each in before.slips.values() if each.id != slip_id)
    expected.move(slip_id, given)
    if not answer.order_no or given is Input.UNKNOWN or answer.order_no == slip.order_no:
        return expected
    if slip.order_no or taken:
        expected.reviews = True
    else:
        expected.bind(slip_id, answer.order_no, before.waiting)
    return expected


def after_sweep(before: World, after: World) -> Expectation:
    """Tell what a sweep may make of the world: whatever it touched has expired, by the table."""
    expected = Expectation(dict(before.slips))
    for each in before.slips.values():
        if after.slips[each.id].state is not each.state:
            expected.move(each.id, Input.SWEEP)
    return expected


def compare(before: World, expected: Expectation, after: World) -> list[tuple[State, State]]:
    """Raise `Violation` if anything is other than expected; returns the moves."""
    moves: list[tuple[State, State]] = []
    new = sorted(set(after.slips) - set(before.slips))
    if len(new) != (1 if 0 in expected.slips else 0):
        raise Violation(f"{len(new)} applications appeared, of them expected: {int(0 in expected.slips)}")
    if new:
        _match(expected.slips[0], replace(after.slips[new[0]], id=0))
        moves.append((State.UNKNOWN, after.slips[new[0]].state))
    for each in before.slips.values():
        now = after.slips.get(each.id)
        if now is None:
            raise Violation(f"application {each.id} is gone")
        if now is each is expected.slips[each.id]:
            continue
        _match(expected.slips[each.id], now)
        _only_filled(each, now, allowed=each.id in expected.touched)
        if now.state is not each.state:
            moves.append((each.state, now.state))
    if expected.reviews and after.reviews == before.reviews:
        raise Violation("a person must look, and no review is open")
    return moves


def _match(expected: Slip, now: Slip) -> None:
    if expected != now:
        raise Violation(f"expected {expected}\n but it is {now}")


def _only_filled(before: Slip, now: Slip, *, allowed: bool) -> None:
    """What is set once stays for ever; blanks are filled where the input was about this application."""
    for old, new in zip((before.order_no, *before.numbers), (now.order_no, *now.numbers), strict=True):
        if old != new and (old or not allowed):
            raise Violation(f"application {before.id} had {old!r}, which became {new!r}")


def check_kept(before: Kept | None, after: Kept | None, raw: bytes) -> None:
    """Raise `Violation` unless the bytes stand in the database: as they came first, and counted each time."""
    if after is None:
        raise Violation("the notice was answered, and is not kept")
    if before is None and after.raw != raw[:LIMIT]:
        raise Violation(f"other bytes were kept: {after.raw!r}")
    if before is not None and after.raw != before.raw:
        raise Violation(f"the bytes that were kept became others: {after.raw!r}")
    if after.times != (before.times if before else 0) + 1:
        raise Violation(f"it was counted {after.times} times")


def check_answer(raw: bytes, answer: Answer, before: World, slip: Slip) -> None:
    """Raise `Violation` if what was read is not in the bytes: the word that decides, and each number that was stored.

    The numbers may also stand in a notice that waited for this answer.
    """
    words = {
        Outcome.accepted: b"Success_order",
        Outcome.declined: answer.parameter.encode() or b"failure_order",
    }
    if words.get(answer.outcome, b"") not in raw:
        raise Violation(f"read as {answer.outcome}, and the word is not there")
    told = b"\n".join(
        (raw, *(unquote_to_bytes(each.raw) for each in before.waiting if each.order_no == slip.order_no))
    )
    earlier = before.slips[slip.id]
    for old, new in zip((earlier.order_no, *earlier.numbers), (slip.order_no, *slip.numbers), strict=True):
        spelled = new.replace("-", "") if _DATE.fullmatch(new) else new
        if old != new and spelled.encode() not in told:
            raise Violation(f"{new!r} was stored, and nobody told it")
