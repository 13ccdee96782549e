"""The handover to a shop's queue: in order, at most so many, and quiet about a queue that is away."""

from __future__ import annotations

import logging

import pytest

from flask_zeus_cvs import handover
from flask_zeus_cvs.handover import Handover


class Broken(Exception):
    """A queue that is away; its text may hold a password."""


class Queue:
    """A queue that takes ids, unless it is away."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.tried = 0
        self.away = False

    def enqueue(self, event_id: int) -> None:
        self.tried += 1
        if self.away:
            raise Broken("redis://:secret@queue.example")
        self.taken.append(event_id)


@pytest.fixture
def queue() -> Queue:
    return Queue()


def waiting(queue: Queue, *ids: int) -> Handover:
    """A handover in which these ids wait."""
    made = Handover(queue.enqueue)
    for each in ids:
        made.add(each)
    return made


def never() -> bool:
    return False


def test_everything_is_handed_over_once_and_in_order(queue: Queue) -> None:
    """Oldest first, and a second look finds nothing."""
    made = waiting(queue, 1, 2, 3)
    made.hand_over(never)
    made.hand_over(never)
    assert queue.taken == [1, 2, 3]


def test_it_ends_when_told(queue: Queue) -> None:
    """Between two ids it looks whether its time is over; the rest stays."""
    made = waiting(queue, 1, 2, 3)
    made.hand_over(lambda: len(queue.taken) == 2)
    assert queue.taken == [1, 2]
    made.hand_over(never)
    assert queue.taken == [1, 2, 3]


def test_a_queue_that_is_away_is_left_alone_for_a_while(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One try, then none until the pause is over; nothing is lost by it."""
    made = waiting(queue, 1, 2)
    queue.away = True
    for _ in range(2):
        made.hand_over(lambda: queue.tried == 2)
    assert queue.tried == 1
    queue.away = False
    monkeypatch.setattr("time.monotonic", lambda: made._paused_until)
    made.hand_over(never)
    assert queue.taken == [1, 2]


def test_an_outage_is_a_line_a_minute(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the kind of the error and counts what it did not say; the error's own text is not quoted."""
    monkeypatch.setattr(handover, "PAUSE_SECONDS", 0)
    made = waiting(queue, 7)
    queue.away = True
    over = iter([False] * 5 + [True])
    made.hand_over(lambda: next(over))
    (record,) = caplog.records
    assert (record.levelno, vars(record)["action"], vars(record)["event"]) == (logging.ERROR, "handover", 7)
    assert "Event 7 could not be handed over to your queue (Broken)" in caplog.text
    assert "secret" not in caplog.text
    monkeypatch.setattr(made, "_silent_until", 0)
    over = iter([False, True])
    made.hand_over(lambda: next(over))
    assert vars(caplog.records[1])["more"] == 4


def test_memory_is_bounded(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is away for days costs a process no more than so many ids: the oldest are left to the sweep."""
    monkeypatch.setattr(handover, "MOST_WAITING", 3)
    made = waiting(queue, *range(10))
    made.hand_over(never)
    assert queue.taken == [7, 8, 9]


def test_a_full_queue_of_ids_leaves_the_oldest_to_the_sweep(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the one that could not be handed over is the oldest: what came meanwhile has its place."""
    monkeypatch.setattr(handover, "MOST_WAITING", 2)
    monkeypatch.setattr(handover, "PAUSE_SECONDS", 0.0)
    made = Handover(queue.enqueue)

    def away(event_id: int) -> None:
        made.add(2)
        made.add(3)
        raise Broken

    made._enqueue = away
    made.add(1)
    made.hand_over(lambda: len(made._waiting) > 1)
    made._enqueue = queue.enqueue
    made.hand_over(never)
    assert queue.taken == [2, 3]
