"""Bad luck on demand: for the next so many, for a share of them, or for as long as it is switched on."""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from types import TracebackType
from typing import Generic, Self, TypeVar

Plan = TypeVar("Plan")

#: As many as people and programs may set down at once: what is set down is listed one by one.
MAX_TIMES = 10_000


class Switch(Generic[Plan]):
    """Something that is switched on, until `off`; as a context manager, until its end."""

    def __init__(self, script: Script[Plan], number: int, plan: Plan, share: float) -> None:
        self._script = script
        self.number = number
        self.plan = plan
        self.share = share

    def off(self) -> None:
        """Switch it off; a second time changes nothing."""
        self._script.off(self.number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.off()


class Script(Generic[Plan]):
    """What happens to the next ones: first those set down one by one, then what is switched on, in that order."""

    def __init__(self, chance: random.Random) -> None:
        """Draw from `chance` which ones a share takes."""
        self._chance = chance
        self._lock = threading.Lock()
        self._plans: deque[Plan] = deque()
        self._switches: dict[int, Switch[Plan]] = {}
        self._numbers = itertools.count(1)

    def add(self, plan: Plan, times: int) -> None:
        """Set `plan` down for the next `times`. Raises `ValueError` unless that is at least 1."""
        if times < 1:
            raise ValueError(f"times is {times}: give 1 or more")
        with self._lock:
            self._plans.extend([plan] * times)

    def switch_on(self, plan: Plan, share: float) -> Switch[Plan]:
        """Have `plan` take a `share` of all, above 0 and up to 1. Raises `ValueError` for another share."""
        if not 0 < share <= 1:
            raise ValueError(f"the share is {share}: give one above 0, up to 1")
        with self._lock:
            switch = Switch(self, next(self._numbers), plan, share)
            self._switches[switch.number] = switch
            return switch

    def off(self, number: int) -> bool:
        with self._lock:
            return self._switches.pop(number, None) is not None

    def clear(self) -> None:
        """Forget what is set down and switch everything off."""
        with self._lock:
            self._plans.clear()
            self._switches.clear()

    def take(self) -> Plan | None:
        """Return what happens to this one; None: nothing special."""
        with self._lock:
            if self._plans:
                return self._plans.popleft()
            switched = self._switches.values()
            return next((each.plan for each in switched if self._chance.random() < each.share), None)

    @property
    def pending(self) -> list[Plan]:
        """What is set down and not yet used up."""
        with self._lock:
            return list(self._plans)

    @property
    def switches(self) -> list[Switch[Plan]]:
        with self._lock:
            return list(self._switches.values())
