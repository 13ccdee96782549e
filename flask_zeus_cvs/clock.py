"""The package's one clock, and Japan's time.

Only the drill moves it, and then for the whole process: a shop and the sandbox live through weeks together. A shop's
own code keeps the real clock, unless it asks `now` here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone

#: Japan has no daylight saving time.
JST = timezone(timedelta(hours=9), "JST")


class Journey:
    """A clock that can be moved; forwards only, since nothing that is due at a time may come twice."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def to(self, moment: datetime) -> None:
        """Go to an aware ``moment``; one that is over already changes nothing."""
        self.ahead += max(moment - now(), timedelta())


_journeys: list[Journey] = []


def now() -> datetime:
    """Tell the time, aware, in UTC."""
    moment = datetime.now(UTC)
    return moment + _journeys[-1].ahead if _journeys else moment


@contextmanager
def journey() -> Iterator[Journey]:
    """Let the clock be moved inside a with block, in every thread of the process; then it is right again."""
    if _journeys:
        raise RuntimeError("the clock is being moved already, by another drill of this process")
    _journeys.append(Journey())
    try:
        yield _journeys[-1]
    finally:
        _journeys.clear()
