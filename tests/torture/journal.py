"""The journal: what receivers did to the world outside the database, one line a fact, written at once.

A line is one write to a file opened for appending, so that several processes share the journal and a process that
is killed loses nothing of what it has said.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One line: what happened, when (seconds since the epoch), and in which process and thread.

    ``start``: a process has made its app. ``begin`` and ``end``: a receiver was called and came back, with the
    ``outcome`` ok or raised. ``failed`` and ``parked``: the outbox told of a delivery that failed, or is given up on.
    """

    what: str
    at: float
    pid: int
    thread: int
    event: int = 0
    subscriber: str = ""
    #: Of ``begin`` and ``end``: which claim of the delivery it is, and until when it is leased.
    lease: str = ""
    until: float = 0.0
    outcome: str = ""


class Journal:
    """A journal that is open for writing, in this process and those forked from it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(
        self,
        what: str,
        event: int = 0,
        subscriber: str = "",
        lease: str = "",
        until: float = 0.0,
        outcome: str = "",
    ) -> None:
        """Write one line."""
        entry = Entry(
            what, time.time(), os.getpid(), threading.get_ident(), event, subscriber, lease, until, outcome
        )
        os.write(self._file, json.dumps(asdict(entry)).encode() + b"\n")


def read(path: Path, start: int = 0) -> list[Entry]:
    """Read a journal from a byte on, in the order in which it was written; a line that is not whole is left."""
    with path.open("rb") as file:
        file.seek(start)
        lines = file.read().split(b"\n")[:-1]
    return [Entry(**json.loads(line)) for line in lines]
