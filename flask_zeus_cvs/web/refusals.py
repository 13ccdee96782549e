"""Which refusals are logged: the first few of each reason one by one, then one a minute that tells of the rest.

Whoever floods the callback fills neither the disk nor the memory, and one reason takes no line from another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask

from flask_zeus_cvs.web.guard import Refusal

EXTENSION = "zeus_cvs_refusals"
#: Lines that a reason may have at once.
BURST = 5
#: Seconds after which it may have one more.
PAUSE = 60.0


@dataclass(frozen=True)
class Unsaid:
    """What happened since the last line of the same reason, and had none of its own."""

    calls: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        """Read as the end of the line; blank where there is nothing to add."""
        return f" (and {self.calls} more like it in the last {self.seconds:.0f} s)" if self.calls else ""


class Refusals:
    """The refusals of one app in one process, counted by reason; threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        began = clock()
        self._of = {reason: _Tally(began) for reason in Refusal}

    def count(self, reason: Refusal) -> Unsaid | None:
        """Count one refusal; None if it has no line of its own, else what its line adds."""
        with self._guard:
            return self._of[reason].count(self._clock())


class _Tally:
    """The lines that one reason has left, and the calls that had none."""

    def __init__(self, moment: float) -> None:
        self._lines = float(BURST)
        self._seen = self._said = moment
        self._unsaid = 0

    def count(self, moment: float) -> Unsaid | None:
        self._lines = min(float(BURST), self._lines + (moment - self._seen) / PAUSE)
        self._seen = moment
        if self._lines < 1:
            self._unsaid += 1
            return None
        told = Unsaid(self._unsaid, moment - self._said)
        self._lines, self._unsaid, self._said = self._lines - 1, 0, moment
        return told


def refusals_of(app: Flask) -> Refusals:
    """Return the refusals of an app, which has one count for all its threads."""
    if EXTENSION not in app.extensions:
        app.extensions.setdefault(EXTENSION, Refusals())  # of two threads that come first, one has its way
    refusals: Refusals = app.extensions[EXTENSION]
    return refusals
