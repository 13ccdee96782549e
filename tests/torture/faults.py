"""What is done to the shop and its database while notices flow, and when its database was away."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from tests.servers import Server
from tests.torture import journal

#: Seconds that one waits for a receiver to be at the point where its worker is to be killed.
PATIENCE = 3.0


@dataclass(frozen=True)
class Outage:
    """When the database was away or out of reach; in seconds since the epoch."""

    kind: str
    began: float
    ended: float


@dataclass(frozen=True)
class Kill:
    """A worker that the driver has killed."""

    pid: int
    at: float


@dataclass(frozen=True)
class Fault:
    """One fault, due once so many calls have begun; ``seconds`` long, where it has a length."""

    after: int
    kind: str
    seconds: float = 0.0


class Victim(ABC):
    """A database, or a broker, that can be taken away from the shop."""

    #: What can be done to it.
    kinds: ClassVar[tuple[str, ...]]

    @abstractmethod
    def suffer(self, kind: str, seconds: float, stop: threading.Event) -> None:
        """Be away, in the way that ``kind`` names; returns when it is back."""


class File(Victim):
    """An SQLite file, which someone else locks."""

    kinds = ("lock",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def suffer(self, kind: str, seconds: float, stop: threading.Event) -> None:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            stop.wait(seconds)
            connection.execute("ROLLBACK")
        finally:
            connection.close()


class Served(Victim):
    """A database of a server, which is crashed and started again, halted, or hangs up on everyone."""

    kinds = ("restart", "cut", "freeze")

    def __init__(self, server: Server, uri: str) -> None:
        self._server = server
        self._uri = uri

    def suffer(self, kind: str, seconds: float, stop: threading.Event) -> None:
        if kind == "restart":
            self._server.stop()
            stop.wait(seconds)
            self._server.start()
        elif kind == "cut":
            self._server.cut(self._uri)
        else:
            self._server.freeze()
            stop.wait(seconds)
            self._server.thaw()


class Machine(Protocol):
    """What has worker processes: a gunicorn, or a Celery worker."""

    def workers(self) -> list[int]: ...

    def kill(self, worker: int) -> bool: ...


class Mortal(Machine, Protocol):
    """A machine that dies as a whole, and comes back."""

    def die(self) -> list[int]: ...


@dataclass
class Faults:
    """Brings about what is planned, each when its time has come; faults of one victim one after the other.

    ``sellers`` take notices. They deliver, too, unless ``deliverers`` do, which ``broker`` tells what.
    """

    planned: list[Fault]
    sellers: Sequence[Machine]
    victim: Victim
    journal: Path
    stop: threading.Event
    dice: random.Random
    deliverers: Sequence[Mortal] = ()
    broker: Victim | None = None
    outages: list[Outage] = field(default_factory=list)
    #: When the broker was away, which excuses nothing.
    broker_outages: list[Outage] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self._one_by_one = {each: threading.Lock() for each in (self.victim, self.broker)}
        self._threads: list[threading.Thread] = []
        self.broken: list[str] = []

    def reached(self, number: int) -> None:
        """Begin what is due once ``number`` calls have begun; does not wait for it."""
        with self._guard:
            due = [fault for fault in self.planned if fault.after <= number]
            self.planned = [fault for fault in self.planned if fault.after > number]
            for fault in due:
                thread = threading.Thread(target=self._begin, args=[fault], name=f"fault-{fault.kind}")
                self._threads.append(thread)
                thread.start()

    def settle(self) -> None:
        """Wait until every fault that has begun is over."""
        for thread in self._threads:
            thread.join()

    def _begin(self, fault: Fault) -> None:
        try:
            self._bring_about(fault)
        except Exception as error:  # a fault that fails proves nothing: the run must say so
            self.broken.append(f"{fault.kind}: {type(error).__name__}: {error}")

    def _bring_about(self, fault: Fault) -> None:
        if fault.kind in _WHOM:
            self._kill(_WHOM[fault.kind])
        elif fault.kind == DEATH:
            gone = self.dice.choice(self.deliverers).die()
            self.kills += [Kill(pid, time.time()) for pid in gone]
        elif self.broker is not None and fault.kind in self.broker.kinds:
            self._take_away(self.broker, fault, self.broker_outages)
        else:
            self._take_away(self.victim, fault, self.outages)

    def _take_away(self, victim: Victim, fault: Fault, outages: list[Outage]) -> None:
        with self._one_by_one[victim]:
            began = time.time()
            try:
                victim.suffer(fault.kind, fault.seconds, self.stop)
            finally:
                outages.append(Outage(fault.kind, began, time.time()))

    def _kill(self, whom: Callable[[Faults], int | None]) -> None:
        pid = whom(self)
        if pid is not None and any(each.kill(pid) for each in (*self.sellers, *self.deliverers)):
            self.kills.append(Kill(pid, time.time()))

    def any_worker(self) -> int | None:
        """Choose one at random, among those that take notices."""
        workers = _all(self.sellers)
        return self.dice.choice(workers) if workers else None

    def one_that_delivers(self) -> int | None:
        """Wait for a receiver that comes back, and choose its worker: before the done-mark, or soon after it."""
        seen = self.journal.stat().st_size
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up and not self.stop.is_set():
            for entry in journal.read(self.journal, seen):
                if entry.what == "end" and entry.pid in _all(self.deliverers or self.sellers):
                    return entry.pid
            self.stop.wait(0.001)
        return self.any_worker()


def _all(machines: Sequence[Machine]) -> list[int]:
    return [pid for each in machines for pid in each.workers()]


#: Whom each kind of kill is for.
_WHOM: dict[str, Callable[[Faults], int | None]] = {
    "kill": Faults.any_worker,
    "kill in delivery": Faults.one_that_delivers,
}
#: The kind of fault that takes a whole machine.
DEATH = "kill a machine"
