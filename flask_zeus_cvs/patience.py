"""Waiting with a bound: whoever has to answer in time gives up on a database that hangs.

No driver can be told from outside to stop waiting, so there are two ways. A connection that is in hand is watched, and
cut when its time is over: that costs next to nothing. Where a connection has yet to be made, or cannot be cut, another
thread does the work, and its caller stops waiting for it.
"""

from __future__ import annotations

import contextvars
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: How often what is watched is looked at.
LOOK_SECONDS = 0.25


class Hand:
    """A thread that does one piece of work after the other, for whoever cannot wait without a bound."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Outcome[Any] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="zeus-cvs-storing", daemon=True)
        self.thread.start()

    @classmethod
    def at_rest(cls) -> Hand:
        """Return one that has nothing to do, or a new one. Raises `RuntimeError` if no thread is to be had."""
        try:
            return _AT_REST.setdefault(os.getpid(), []).pop()
        except IndexError:
            return cls()

    def do(self, outcome: Outcome[Any], seconds: float) -> bool:
        """Have a piece of work done; False if that takes longer: it goes on, and the thread ends after it."""
        self._todo.put(outcome)
        if not outcome.is_found.acquire(timeout=seconds):
            self._todo.put(None)
            return False
        _AT_REST[os.getpid()].append(self)
        return True

    def _run(self) -> None:
        while (outcome := self._todo.get()) is not None:
            outcome.find()
            del outcome  # what it holds is the caller's


#: The hands of each process that have nothing to do; a forked child has none.
_AT_REST: dict[int, list[Hand]] = {}


class Outcome(Generic[T]):
    """What comes of a piece of work that another thread does, in the context of this one."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._context = contextvars.copy_context()
        self._results: list[T] = []
        self._error: BaseException | None = None
        self.is_found = threading.Lock()
        self.is_found.acquire()

    def find(self) -> None:
        try:
            self._results.append(self._context.run(self._work))
        except BaseException as error:
            self._error = error
        finally:
            self.is_found.release()

    def told(self) -> T:
        if self._error is not None:
            raise self._error
        return self._results[0]


class Watched:
    """A driver's connection that is cut when its time is over."""

    def __init__(self, connection: Any, until: float) -> None:
        self._connection = connection
        self.until = until
        self._lock = threading.Lock()
        self._is_over = False

    def __enter__(self) -> Watched:
        _watch_of_this_process().add(self)
        return self

    def __exit__(self, *ended: object) -> None:
        with self._lock:  # else the next to use this connection could be cut
            self._is_over = True
        _watch_of_this_process().discard(self)

    def cut(self) -> None:
        """End whatever waits for the server on this connection."""
        with self._lock:
            if not self._is_over:
                self._is_over = True
                _shut(self._connection)


def can_be_cut(connection: Any) -> bool:
    """Whether a driver's connection tells its socket: psycopg, psycopg2 and PyMySQL do."""
    return _socket_of(connection) is not None


def _socket_of(connection: Any) -> int | None:
    tell = getattr(connection, "fileno", None) or getattr(getattr(connection, "_sock", None), "fileno", None)
    try:
        number = int(tell()) if tell is not None else -1
    except Exception:  # of each driver's own kinds: it is closed
        return None
    return number if number >= 0 else None


def _shut(connection: Any) -> None:
    number = _socket_of(connection)
    if number is not None:
        with (
            suppress(OSError),
            closing(socket.socket(fileno=os.dup(number))) as same,
        ):  # it may have ended by itself
            same.shutdown(socket.SHUT_RDWR)


class _Watch:
    """The one thread of a process that looks whose time is over; it ends with the process."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._begun = threading.Lock()
        self._is_begun = False

    def add(self, each: Watched) -> None:
        self._watched.add(each)
        if not self._is_begun:
            self._begin()

    def discard(self, each: Watched) -> None:
        self._watched.discard(each)

    def _begin(self) -> None:
        with self._begun:
            if not self._is_begun:
                threading.Thread(target=self._look, name="zeus-cvs-watch", daemon=True).start()
                self._is_begun = True

    def _look(self) -> None:
        never = threading.Event()
        while not never.wait(LOOK_SECONDS):
            moment = time.monotonic()
            for each in list(self._watched):
                if moment >= each.until:
                    each.cut()


#: The watch of each process: a forked child inherits the objects, not the thread.
_WATCHES: dict[int, _Watch] = {}


def _watch_of_this_process() -> _Watch:
    return _WATCHES.setdefault(os.getpid(), _Watch())
