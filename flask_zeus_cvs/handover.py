"""The handover: ids of events go to the shop's own queue, from a thread, so that no request waits for a broker.

The outbox's rows are the record, and what is handed over is only a hint: a queue that loses or doubles it, or is away,
costs nothing but the time until the next sweep.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from flask_zeus_cvs.telemetry import Action, said

log = logging.getLogger(__name__)

#: Puts a job for one event, by its id, into the shop's queue.
Enqueue = Callable[[int], object]

#: How long a queue that failed is left alone; what comes meanwhile waits for the first call after it.
PAUSE_SECONDS = 2.0
#: How often a line is logged while the queue is away.
SAY_SECONDS = 60.0
#: How many ids wait in a process at most; the oldest are left to the sweep.
MOST_WAITING = 10_000


class Handover:
    """The ids that one process has yet to hand over. A fork has a copy: handing over twice does no harm."""

    def __init__(self, enqueue: Enqueue) -> None:
        self._enqueue = enqueue
        self._waiting: deque[int] = deque(maxlen=MOST_WAITING)
        self._paused_until = 0.0
        self._silent_until = 0.0
        self._unsaid = 0

    def add(self, event_id: int) -> None:
        """Have an id handed over by the next `hand_over`; does not wait."""
        self._waiting.append(event_id)

    def hand_over(self, over: Callable[[], bool]) -> None:
        """Hand over what waits, oldest first, until ``over`` or the queue fails; never raises for the queue."""
        while self._waiting and not over() and time.monotonic() >= self._paused_until:
            event_id = self._waiting.popleft()
            try:
                self._enqueue(event_id)
            except Exception as error:
                if len(self._waiting) < MOST_WAITING:  # else it is the oldest, and left to the sweep
                    self._waiting.appendleft(event_id)
                self._paused_until = time.monotonic() + PAUSE_SECONDS
                self._say(event_id, error)

    def _say(self, event_id: int, error: Exception) -> None:
        """Log at most one line in `SAY_SECONDS`, with the kind of the error: its text may hold a password."""
        if time.monotonic() < self._silent_until:
            self._unsaid += 1
            return
        kind = type(error).__name__
        log.error(
            "Event %d could not be handed over to your queue (%s). It is delivered by the next sweep at the latest.",
            *(event_id, kind),
            extra=said(Action.HANDOVER, event=event_id, reason=kind, more=self._unsaid),
        )
        self._silent_until, self._unsaid = time.monotonic() + SAY_SECONDS, 0
