"""Which refusals get a line in the log: the first few, then one a minute that counts the rest."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
from flask import Flask

from flask_zeus_cvs.web.guard import Refusal
from flask_zeus_cvs.web.refusals import BURST, PAUSE, Refusals, Unsaid, refusals_of


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refusals(clock: Clock) -> Refusals:
    return Refusals(clock)


def flood(refusals: Refusals, calls: int, reason: Refusal = Refusal.ADDRESS) -> list[Unsaid]:
    """Refuse as often, and return what got a line."""
    said = [refusals.count(reason) for _ in range(calls)]
    return [each for each in said if each is not None]


def test_the_first_few_are_told_one_by_one(refusals: Refusals) -> None:
    """Someone who sets a shop up sees each of the first calls, with nothing added to its line."""
    said = flood(refusals, BURST)

    assert len(said) == BURST
    assert {str(each) for each in said} == {""}


def test_a_flood_is_told_in_a_handful_of_lines(refusals: Refusals) -> None:
    """Ten thousand calls at once have as many lines as five calls."""
    assert len(flood(refusals, 10_000)) == BURST


def test_the_next_line_tells_how_many_had_none(refusals: Refusals, clock: Clock) -> None:
    """What was kept back is not lost: a minute later one line counts it, and the count starts again."""
    flood(refusals, BURST + 523)
    clock.seconds += PAUSE + 1
    (line,) = flood(refusals, 10)
    clock.seconds += PAUSE + 1
    (next_line,) = flood(refusals, 10)

    assert str(line) == " (and 523 more like it in the last 61 s)"
    assert (next_line.calls, next_line.seconds) == (9, PAUSE + 1)


def test_a_flood_that_lasts_has_one_line_a_minute(refusals: Refusals, clock: Clock) -> None:
    """A day of ten calls a second fills no disk: one line a minute, in which every call is counted."""
    said: list[Unsaid] = []
    for _ in range(24 * 60 * 6):
        clock.seconds += 10
        said += flood(refusals, 100)
    told = len(said) + sum(each.calls for each in said)

    assert len(said) <= BURST + 24 * 60
    assert 24 * 60 * 600 - told < 600, "only what is younger than the last line is not told yet"


def test_after_a_quiet_time_the_first_few_are_told_again(refusals: Refusals, clock: Clock) -> None:
    """A flood of last week makes nobody miss today's mistake; no more than a few lines are ever saved up."""
    flood(refusals, 10_000)
    clock.seconds += 7 * 24 * 3600

    assert len(flood(refusals, 10_000)) == BURST


def test_reasons_do_not_silence_each_other(refusals: Refusals) -> None:
    """While one reason floods, the first call for another has its line."""
    flood(refusals, 10_000, Refusal.ADDRESS)

    assert [len(flood(refusals, 1, reason)) for reason in Refusal] == [
        0 if reason is Refusal.ADDRESS else 1 for reason in Refusal
    ]


def test_a_clock_that_stands_still_says_no_more(refusals: Refusals) -> None:
    """Without time passing there is nothing to earn, however many calls come."""
    flood(refusals, BURST)

    assert flood(refusals, 1_000) == []


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.000_005)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_share_one_count(refusals: Refusals, clock: Clock) -> None:
    """Eight threads at once get the same few lines, and no call is counted twice or lost."""
    said: list[Unsaid] = []
    threads = [threading.Thread(target=lambda: said.extend(flood(refusals, 2_000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    clock.seconds += PAUSE + 1
    (last,) = flood(refusals, 1)

    assert len(said) == BURST
    assert sum(each.calls for each in said) + last.calls + BURST == 16_000


def test_each_app_has_one_of_its_own() -> None:
    """Two apps of one process do not share their lines; one app asks for the same each time."""
    one, other = Flask("one"), Flask("other")

    assert refusals_of(one) is refusals_of(one)
    assert refusals_of(one) is not refusals_of(other)
