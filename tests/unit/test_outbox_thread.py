"""The outbox's thread, at the first requests of a process: there is one, however many ask for it at once."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from flask_zeus_cvs import outbox as module
from flask_zeus_cvs.outbox import _Background

ROUNDS = 300
AT_ONCE = 6


class IdleOutbox:
    """Has nothing to deliver."""

    def try_to_deliver(self, over: Callable[[], bool]) -> None:
        pass

    def name_stranded(self) -> None:
        pass

    def give_back(self, claims: list[Any]) -> None:
        assert claims == []


class Interrupted(IdleOutbox):
    """Is told to end while it is at its first round, as by a server that goes down."""

    def __init__(self) -> None:
        self.background = _Background(cast(Any, self), "interrupted")
        self.looked_again = threading.Event()

    def try_to_deliver(self, over: Callable[[], bool]) -> None:
        deliverer = self.background._here.deliverer
        if deliverer is None:
            self.looked_again.set()
        else:
            threading.Thread(target=self.background.stop, args=[30]).start()
            while deliverer._end is None:
                time.sleep(0.01)


@pytest.fixture
def hasty() -> Iterator[None]:
    """Have threads interrupt each other as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def wake_at_once(background: _Background) -> None:
    start = threading.Barrier(AT_ONCE)

    def wake() -> None:
        start.wait(30)
        background.wake(look=True)

    callers = [threading.Thread(target=wake) for _ in range(AT_ONCE)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)


@pytest.mark.usefixtures("hasty")
def test_the_first_requests_of_a_process_start_one_thread() -> None:
    """Six requests at the same moment in a fresh process, three hundred times: each has one thread, and it ends."""
    outbox: Any = IdleOutbox()
    for number in range(ROUNDS):
        background = _Background(outbox, f"hasty-{number}")
        wake_at_once(background)
        background.stop(30)
    left = [thread.name for thread in threading.enumerate() if "hasty-" in thread.name]
    assert left == []


def test_what_comes_in_the_last_moment_has_a_round_of_its_own() -> None:
    """Whoever tells the thread to end in the middle of a round has it look once more."""
    outbox = Interrupted()
    outbox.background.wake(look=True)
    assert outbox.looked_again.wait(30)


class Busy(IdleOutbox):
    """Is given one thing after the other, and never has a moment to itself."""

    def __init__(self) -> None:
        self.background = _Background(cast(Any, self), "busy")
        self.looked = threading.Semaphore(0)
        self.is_over = False

    def try_to_deliver(self, over: Callable[[], bool]) -> None:
        self.looked.release()

    def deliver_claimed(self, claim: Any) -> None:
        if not self.is_over:
            self.background.take(claim)
        time.sleep(0.001)


def test_a_thread_that_is_always_busy_looks_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed delivery is due again in its time, also in a process that is given something new all the time."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.1)
    outbox = Busy()
    outbox.background.wake(look=True)
    assert outbox.looked.acquire(timeout=30)
    outbox.background.take(cast(Any, "a claim"))
    assert all(outbox.looked.acquire(timeout=10) for _ in range(3))
    outbox.is_over = True
    outbox.background.stop(30)


class Ended(IdleOutbox):
    """Is ended by what it calls, as gevent ends a greenlet."""

    def __init__(self) -> None:
        self.background = _Background(cast(Any, self), "ended")
        self.given_back: list[Any] = []

    def deliver_claimed(self, claim: Any) -> None:
        self.background.take(cast(Any, "the next"))
        raise SystemExit

    def give_back(self, claims: list[Any]) -> None:
        self.given_back += claims


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_is_ended_gives_back_what_it_has() -> None:
    """What it did not come to is due for others at once, and so is what it is given after its end."""
    outbox = Ended()
    outbox.background.wake(look=True)
    thread = outbox.background._here.deliverer.thread  # type: ignore[union-attr]
    outbox.background.take(cast(Any, "the first"))
    thread.join(30)
    outbox.background.take(cast(Any, "the last"))
    assert outbox.given_back == ["the next", "the last"]
