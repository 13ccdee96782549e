"""The sandbox's time: a clock that can be moved forward, and an agenda of what falls due by it.

What is run late still happens at the moment for which it was set down, in the order of those moments.
"""

from __future__ import annotations

import heapq
import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, time, timedelta, timezone
from types import MappingProxyType

#: Japan has no daylight saving time.
JST = timezone(timedelta(hours=9), "JST")

#: Some margin before the calendar of the language ends: deadlines are counted from here too.
LAST = datetime(2999, 12, 31, 23, 59, tzinfo=JST)

_UNITS: Mapping[str, str] = MappingProxyType(
    {"second": "seconds", "minute": "minutes", "hour": "hours", "day": "days", "week": "weeks"}
)
_STEP = re.compile(rf"\+?\s*(\d{{1,4}})\s*({'|'.join(_UNITS)})s?")


def japan_now() -> datetime:
    return datetime.now(JST)


def duration(text: str) -> timedelta:
    """Read ``+1 hour``, ``3 days`` and the like; raises `ValueError` that says what there is."""
    found = _STEP.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no step: write a number and one of {', '.join(_UNITS)}, as +1 hour")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


class Clock:
    """A clock and what falls due by it. Safe for threads; it never goes back except by `reset`."""

    def __init__(self, base: Callable[[], datetime] = japan_now) -> None:
        """Take the time from `base` (aware), and add to it what the clock is moved by."""
        self._base = base
        self._moved = timedelta()
        self._lock = threading.Lock()
        self._running = threading.RLock()
        self._places = itertools.count()
        self._busy = False
        self._agenda: list[tuple[datetime, int, Callable[[], object]]] = []
        self._here = threading.local()

    @property
    def moved(self) -> timedelta:
        """By how much it is ahead of its base."""
        return self._moved

    def now(self) -> datetime:
        """Tell the time in Japan; to what is being run from the agenda, the moment it was due."""
        moment: datetime | None = getattr(self._here, "moment", None)
        return moment or (self._base() + self._moved).astimezone(JST)

    def forward(self, step: timedelta) -> None:
        """Move on, and run what falls due on the way. Raises `ValueError` for a step back."""
        if step < timedelta():
            raise ValueError("time only goes forward; reset() brings the clock back and forgets everything")
        if step > LAST - self.now():
            raise ValueError(f"that is too far: the sandbox's time ends with the year {LAST.year}")
        with self._lock:
            self._moved += step
        self.run_due()

    def forward_to(self, moment: datetime) -> None:
        """Move on to an aware `moment`; raises `ValueError` if it is past."""
        if moment.tzinfo is None:
            raise ValueError("give a time with its zone, as 2026-12-01T09:00:00+09:00")
        self.forward(moment - self.now())

    def next_midnight(self) -> datetime:
        return datetime.combine(self.now().date() + timedelta(days=1), time(), JST)

    def at(self, moment: datetime, act: Callable[[], object]) -> None:
        """Set down what is to be done at `moment`; things of one moment are done in this order."""
        with self._lock:
            heapq.heappush(self._agenda, (moment, next(self._places), act))

    def run_due(self) -> None:
        """Run what is due, in order; when it returns, that is over. Do not hold a lock that it may need."""
        if self._is_running_here or not self._is_due():
            return
        with self._running:
            while (due := self._take()) is not None:
                with self._being(due[0]):
                    due[1]()

    def reset(self) -> None:
        """Back to the base, with nothing to do."""
        with self._running, self._lock:
            self._moved = timedelta()
            self._agenda.clear()

    @property
    def _is_running_here(self) -> bool:
        return getattr(self._here, "moment", None) is not None

    def _is_due(self) -> bool:
        """Tell whether anything is to be run, or is being run by another thread."""
        with self._lock:
            return self._busy or (bool(self._agenda) and self._agenda[0][0] <= self._base() + self._moved)

    def _take(self) -> tuple[datetime, Callable[[], object]] | None:
        with self._lock:
            self._busy = bool(self._agenda) and self._agenda[0][0] <= self._base() + self._moved
            if not self._busy:
                return None
            moment, _, act = heapq.heappop(self._agenda)
            return moment, act

    @contextmanager
    def _being(self, moment: datetime) -> Iterator[None]:
        self._here.moment = moment
        try:
            yield
        finally:
            self._here.moment = None
