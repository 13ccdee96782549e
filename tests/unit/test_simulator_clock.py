"""The sandbox's clock: it is moved forward, and what falls due on the way happens in order, each at its moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from flask_zeus_cvs.simulator.clock import JST, Clock, duration, japan_now

START = datetime(2026, 11, 24, 9, tzinfo=JST)


@pytest.fixture
def clock() -> Clock:
    """One that stands still until it is moved."""
    return Clock(lambda: START)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("+1 hour", 3600),
        ("1 hour", 3600),
        (" +30 Minutes ", 1800),
        ("90seconds", 90),
        ("+ 2 days", 172_800),
        ("1 weeks", 604_800),
        ("0 hours", 0),
    ],
)
def test_a_step_is_read(text: str, seconds: int) -> None:
    """A number and a unit, one or many, with a plus or without."""
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "hour", "-1 hour", "1.5 hours", "1 month", "1 hour 2 minutes", "12345 days"]
)
def test_what_is_no_step_is_said_so(text: str) -> None:
    """The message says how to write one."""
    with pytest.raises(ValueError, match=r"as \+1 hour"):
        duration(text)


def test_it_tells_japans_time() -> None:
    """Whatever zone its base has."""
    assert Clock(lambda: START.astimezone(UTC)).now().isoformat() == "2026-11-24T09:00:00+09:00"
    assert abs(Clock().now() - japan_now()) < timedelta(minutes=1)


def test_it_moves_on_top_of_its_base() -> None:
    """The base goes on by itself, and the sandbox with it."""
    base = [START]
    clock = Clock(lambda: base[0])
    clock.forward(timedelta(hours=1))
    base[0] += timedelta(minutes=5)
    assert clock.now() == START + timedelta(hours=1, minutes=5)
    assert clock.moved == timedelta(hours=1)


def test_what_falls_due_happens_in_order_at_its_moment(clock: Clock) -> None:
    """By moments, not by when it was set down; of one moment, by when it was set down; each sees its own moment."""
    happened: list[tuple[str, datetime]] = []
    for name, days in (("late", 9), ("third", 3), ("first", 1), ("fourth", 3), ("second", 2)):
        clock.at(START + timedelta(days=days), lambda name=name: happened.append((name, clock.now())))  # type: ignore[misc]
    clock.forward(timedelta(days=5))
    assert happened == [
        ("first", START + timedelta(days=1)),
        ("second", START + timedelta(days=2)),
        ("third", START + timedelta(days=3)),
        ("fourth", START + timedelta(days=3)),
    ]
    assert clock.now() == START + timedelta(days=5)


def test_what_follows_from_it_happens_on_the_way_too(clock: Clock) -> None:
    """Something due on the first day sets down something for the second, and both are over after the third."""
    happened: list[datetime] = []

    def first() -> None:
        clock.at(clock.now() + timedelta(days=1), lambda: happened.append(clock.now()))

    clock.at(START + timedelta(days=1), first)
    clock.at(START + timedelta(days=3), lambda: happened.append(clock.now()))
    clock.forward(timedelta(days=3))
    assert happened == [START + timedelta(days=2), START + timedelta(days=3)]


def test_due_is_due_at_the_moment_itself(clock: Clock) -> None:
    """Not a second before."""
    happened: list[bool] = []
    clock.at(START + timedelta(hours=1), lambda: happened.append(True))
    clock.forward(timedelta(minutes=59, seconds=59))
    assert not happened
    clock.forward(timedelta(seconds=1))
    assert happened == [True]


def test_time_runs_without_being_moved() -> None:
    """`run_due` looks at the base alone."""
    base = [START]
    clock = Clock(lambda: base[0])
    happened: list[datetime] = []
    clock.at(START + timedelta(seconds=1), lambda: happened.append(clock.now()))
    clock.run_due()
    assert not happened
    base[0] += timedelta(seconds=30)
    clock.run_due()
    assert happened == [START + timedelta(seconds=1)]


def test_it_never_goes_back(clock: Clock) -> None:
    """Nothing that is due at a time comes twice; only a reset brings it back."""
    clock.forward(timedelta(days=1))
    with pytest.raises(ValueError, match="only goes forward"):
        clock.forward(-timedelta(seconds=1))
    with pytest.raises(ValueError, match="only goes forward"):
        clock.forward_to(START)
    with pytest.raises(ValueError, match="with its zone"):
        clock.forward_to(datetime(2026, 12, 1, 9))  # noqa: DTZ001
    assert clock.moved == timedelta(days=1)


@pytest.mark.parametrize("step", [timedelta(days=365 * 1000), timedelta.max])
def test_it_does_not_run_off_the_calendar(clock: Clock, step: timedelta) -> None:
    """A step that no date could follow is refused, and the clock goes on as before."""
    with pytest.raises(ValueError, match="ends with the year 2999"):
        clock.forward(step)
    assert clock.now() == START


def test_the_next_day_begins_at_midnight_in_japan(clock: Clock) -> None:
    """Also from a midnight."""
    clock.forward_to(clock.next_midnight())
    assert clock.now().isoformat() == "2026-11-25T00:00:00+09:00"
    clock.forward_to(clock.next_midnight())
    assert clock.now().isoformat() == "2026-11-26T00:00:00+09:00"


def test_a_reset_forgets_what_was_to_happen(clock: Clock) -> None:
    """And the move with it."""
    happened: list[bool] = []
    clock.at(START + timedelta(days=2), lambda: happened.append(True))
    clock.forward(timedelta(days=1))
    clock.reset()
    assert clock.now() == START
    clock.forward(timedelta(days=9))
    assert not happened


def test_many_threads_move_it(clock: Clock) -> None:
    """Each step counts, and each thing happens once, one at a time."""
    happened: list[int] = []
    at_once = threading.Lock()

    def happen(number: int) -> None:
        assert at_once.acquire(blocking=False)
        happened.append(number)
        at_once.release()

    for number in range(200):
        clock.at(START + timedelta(minutes=number), lambda number=number: happen(number))  # type: ignore[misc]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: clock.forward(timedelta(minutes=1)), range(200)))
    assert clock.moved == timedelta(minutes=200)
    assert happened == list(range(200))


def test_nobody_reads_while_something_is_still_happening(clock: Clock) -> None:
    """A thread that comes while another runs what is due waits until that is over."""
    begun, go_on, happened = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait(10)
        happened.set()

    def read() -> bool:
        clock.run_due()
        return happened.is_set()

    clock.at(START + timedelta(hours=1), slow)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(clock.forward, timedelta(hours=2))
        assert begun.wait(10)
        reader = pool.submit(read)
        assert not reader.done()
        go_on.set()
        assert reader.result(10)


def test_an_act_that_fails_does_not_stop_the_clock(clock: Clock) -> None:
    """What comes after it happens all the same, at the next look."""
    happened: list[bool] = []

    def fail() -> None:
        raise RuntimeError("a mistake")

    clock.at(START + timedelta(hours=1), fail)
    clock.at(START + timedelta(hours=2), lambda: happened.append(True))
    with pytest.raises(RuntimeError):
        clock.forward(timedelta(hours=3))
    clock.run_due()
    assert happened == [True]
