"""Finding applications: by words, statuses, stores, days and test; and what those that were found come to.

Words are kept here under a number, so that no name and no telephone number stands in an address.
"""

from __future__ import annotations

import threading
import unicodedata
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Self

from werkzeug.datastructures import MultiDict

from flask_zeus_cvs.protocol.codes import STORES, Store
from flask_zeus_cvs.simulator.ledger import INFO, SimulatedApplication, Standing

#: Rows on a page.
PAGE = 50
#: Searches that are remembered; the oldest is forgotten.
REMEMBERED = 200

_HIRAGANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}
_DROPPED: dict[int, None] = {ord(each): None for each in "-‐‑–—−"}
_STANDINGS: Mapping[str, Standing] = {str(each): each for each in INFO}


def plain(text: str) -> str:
    """Write `text` as it is compared: full width or half, hiragana or katakana, with hyphens or without."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_HIRAGANA)
    return text.translate(_DROPPED).casefold()


@dataclass(frozen=True)
class Query:
    """What is looked for; whatever is blank does not matter. `since` and `until` are days of application."""

    words: str = field(default="", repr=False)
    statuses: frozenset[Standing] = frozenset()
    stores: frozenset[Store] = frozenset()
    since: date | None = None
    until: date | None = None
    test: bool | None = None

    @classmethod
    def read(cls, given: MultiDict[str, str], words: str) -> Self:
        """Read an address or a form; what it cannot say is left out. See `wrong_days`."""
        return cls(
            words=words,
            statuses=frozenset(_STANDINGS[each] for each in given.getlist("status") if each in _STANDINGS),
            stores=frozenset(Store(each) for each in given.getlist("store") if each in STORES),
            since=_day(given, "since"),
            until=_day(given, "until"),
            test={"1": True, "0": False}.get(given.get("test", "")),
        )

    def address(self) -> dict[str, Any]:
        """Say it as the query of an address, without the words."""
        return {
            "status": [each for each in _STANDINGS if each in self.statuses],
            "store": [each for each in STORES if each in self.stores],
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
            "test": None if self.test is None else str(int(self.test)),
        }

    def find(self, applications: Iterable[SimulatedApplication]) -> list[SimulatedApplication]:
        """Return those that fit, in their order."""
        return [each for each in self._worded(applications) if self._fits(each)]

    def _fits(self, application: SimulatedApplication) -> bool:
        day = application.applied_at.date()
        return (
            (not self.statuses or application.status in self.statuses)
            and (not self.stores or application.store in self.stores)
            and (self.test is None or application.test is self.test)
            and (self.since is None or day >= self.since)
            and (self.until is None or day <= self.until)
        )

    def _worded(self, applications: Iterable[SimulatedApplication]) -> Iterable[SimulatedApplication]:
        words = plain(self.words).split()
        if not words:
            return applications
        return (each for each in applications if _says(each, words))


def _says(application: SimulatedApplication, words: Sequence[str]) -> bool:
    said = plain(
        "\n".join(
            (
                application.order_no,
                application.sendid,
                application.username,
                application.telno,
                application.email,
                application.pay_no1,
                application.pay_no2,
            )
        )
    ).replace(" ", "")
    return all(word in said for word in words)


def wrong_days(given: MultiDict[str, str]) -> list[str]:
    """Name the fields in which something stands that is no day."""
    return [name for name in ("since", "until") if given.get(name, "").strip() and not _day(given, name)]


def _day(given: MultiDict[str, str], name: str) -> date | None:
    try:
        return date.fromisoformat(given.get(name, "").strip())
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Totals:
    """How many, and yen; tests move no money, so only `count` and `tests` have them."""

    count: int
    tests: int
    money: int
    payable_count: int
    payable_money: int

    @classmethod
    def of(cls, found: Sequence[SimulatedApplication]) -> Self:
        real = [each for each in found if not each.test]
        payable = [each.money for each in real if each.info.payable]
        return cls(
            len(found), len(found) - len(real), sum(each.money for each in real), len(payable), sum(payable)
        )


def tally(applications: Iterable[SimulatedApplication]) -> Counter[Standing]:
    """Count the applications of each status."""
    return Counter(each.status for each in applications)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows, counted from 1; a number beyond the ends is the nearest one."""

    rows: Sequence[Any]
    number: int
    last: int
    total: int

    @classmethod
    def of(cls, rows: Sequence[Any], number: int, size: int = PAGE) -> Self:
        last = max(1, -(-len(rows) // size))
        number = min(max(number, 1), last)
        return cls(rows[(number - 1) * size : number * size], number, last, len(rows))

    @property
    def first_row(self) -> int:
        return (self.number - 1) * PAGE + 1 if self.total else 0

    @property
    def last_row(self) -> int:
        return self.first_row + len(self.rows) - 1 if self.total else 0


class Words:
    """The words of the latest searches, each under a number. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._count = 0

    def keep(self, words: str) -> str | None:
        """Return the number under which `words` are found again; None for none."""
        if not words:
            return None
        with self._lock:
            self._count += 1
            self._kept[str(self._count)] = words
            while len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
            return str(self._count)

    def find(self, number: str | None) -> str | None:
        """Return the words; ``""`` without a number, None if they are forgotten."""
        if not number:
            return ""
        with self._lock:
            return self._kept.get(number)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()


def next_days(applications: Iterable[SimulatedApplication], count: int) -> list[SimulatedApplication]:
    """Return the unpaid applications whose deadlines come next."""
    waiting = [each for each in applications if each.code == "01" and each.deadline]
    return sorted(waiting, key=lambda each: each.deadline or each.applied_at + timedelta())[:count]
