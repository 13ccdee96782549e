"""The one clock of the package, and how the drill moves it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from flask_zeus_cvs.clock import journey, now


def is_now(moment: datetime) -> bool:
    return abs(moment - datetime.now(UTC)) < timedelta(minutes=1)


def test_it_is_right() -> None:
    """Nobody has moved it: it tells the real time, in UTC."""
    assert is_now(now())
    assert now().tzinfo is UTC


def test_a_journey_takes_every_thread_along() -> None:
    """What another thread reads is the moved time, and it goes on from there."""
    there = datetime.now(UTC) + timedelta(days=9)
    seen: list[datetime] = []
    with journey() as clock:
        clock.to(there)
        thread = threading.Thread(target=lambda: seen.append(now()))
        thread.start()
        thread.join()
    assert timedelta() <= seen[0] - there < timedelta(minutes=1)


def test_it_never_goes_back() -> None:
    """A moment that is over changes nothing."""
    with journey() as clock:
        clock.to(now() + timedelta(days=2))
        clock.to(now() - timedelta(days=1))
        assert not is_now(now() - timedelta(days=1))
        assert is_now(now() - timedelta(days=2))


def test_it_is_right_again_afterwards() -> None:
    """A journey that ends, even by an error, leaves nothing behind."""
    with pytest.raises(ZeroDivisionError), journey() as clock:  # noqa: PT012
        clock.to(now() + timedelta(days=2))
        raise ZeroDivisionError
    assert is_now(now())


def test_two_journeys_at_once_are_refused() -> None:
    """Two drills of one process would move each other's time."""
    with journey(), pytest.raises(RuntimeError, match="moved already"), journey():
        pass
