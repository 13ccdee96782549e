"""Lists of a million rows, read a page at a time: by key, never by counting rows or skipping them.

A page is found by the row that it comes after, so the hundredth costs what the first does, and rows that come in
meanwhile shift nothing. Each list says as a table which columns it has, what narrows it, and what a search means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from flask_zeus_cvs.models import LARGEST_ID
from flask_zeus_cvs.staff.search import GROWS_WITH_ID, MARGIN, day_begins, first_id_since

#: Rows of a page, and of one step of an export.
PAGE_ROWS = 50
EXPORT_ROWS = 1000


@dataclass(frozen=True)
class Column:
    """One column: what it is called, what a row has in it, and what it is sorted by, if it can be.

    ``kind`` chooses how a page shows it: text, number, moment, day, state (a badge), yes, long.
    """

    name: str
    label: str
    value: Callable[[Any], Any]
    kind: str = "text"
    sort: Any = None
    #: Whether a page has it; an export has every column.
    shown: bool = True
    #: The page of ours that a cell leads to: its endpoint, and the number of the row there.
    link: Callable[[Any], tuple[str, int] | None] = lambda row: None  # noqa: ARG005


@dataclass(frozen=True)
class Choice:
    """What narrows a list: a choice of a few values, and what they are called."""

    name: str
    label: str
    options: Callable[[], Mapping[str, str]]
    #: What holds where nothing is chosen; blank: everything.
    default: str = ""


@dataclass(frozen=True)
class Listing:
    """A list, as a table of what it has."""

    model: Any
    columns: tuple[Column, ...]
    choices: tuple[Choice, ...]
    #: The conditions of what is asked for; the session finds where a day begins.
    narrow: Callable[[Session, Asked], Iterable[sa.ColumnElement[bool]]]
    #: What the field for a search says.
    hint: str
    #: How rows are loaded: what belongs to them, in one look for a page of them.
    load: tuple[Any, ...] = ()
    #: Whether its file can have customers' details; no page of a list shows any.
    has_details: bool = False

    def sorts(self) -> Mapping[str, Any]:
        return {each.name: each.sort for each in self.columns if each.sort is not None}


@dataclass(frozen=True)
class Asked:
    """What a request wants to see of a list; whatever makes no sense is left out of account."""

    listing: Listing
    text: str = ""
    chosen: Mapping[str, str] = field(default_factory=dict)
    since: date | None = None
    until: date | None = None
    sort: str = ""
    descending: bool = True
    #: The row that the page comes after, or before: on the way back.
    after: int | None = None
    before: int | None = None

    @classmethod
    def of(cls, listing: Listing, given: MultiDict[str, str]) -> Asked:
        """Read what stands in an address."""
        sort = given.get("sort", "")
        known = sort.lstrip("-") in listing.sorts()
        return cls(
            listing,
            text=given.get("q", "").strip()[:255],
            chosen=_chosen(listing, given),
            since=_day(given.get("since")),
            until=_day(given.get("until")),
            sort=sort.lstrip("-") if known else "",
            descending=sort.startswith("-") or not known,
            after=given.get("after", type=_id),
            before=given.get("before", type=_id),
        )

    @property
    def order(self) -> str:
        """How the order is spelled in an address."""
        return f"{'-' if self.descending else ''}{self.sort}" if self.sort else ""

    def address(self, **other: Any) -> dict[str, Any]:
        """Spell this as an address again, with something else in it; a page's place is not part of it."""
        words = {
            "q": self.text,
            **self.chosen,
            "since": self.since.isoformat() if self.since else "",
            "until": self.until.isoformat() if self.until else "",
            "sort": self.order,
        }
        return {name: value for name, value in {**words, **other}.items() if value not in ("", None)}

    def sorted_by(self, name: str) -> dict[str, Any]:
        """The address of the list sorted by a column: downwards first, then upwards."""
        down = not (self.sort == name and self.descending)
        return self.address(sort=f"{'-' if down else ''}{name}")

    @property
    def narrowed(self) -> bool:
        by_choice = any(each.default != self.chosen.get(each.name, "") for each in self.listing.choices)
        return bool(self.text or by_choice or self.since or self.until)


@dataclass(frozen=True)
class Found:
    """One page of rows, and the rows that the pages around it begin at; None where there is none."""

    rows: tuple[Any, ...]
    later: int | None
    earlier: int | None


def read_page(session: Session, asked: Asked) -> Found:
    """Read one page."""
    backwards = asked.before is not None
    edge = asked.before if backwards else asked.after
    query = _query(session, asked, edge, backwards).limit(PAGE_ROWS + 1)
    rows = list(session.scalars(query))
    more, rows = len(rows) > PAGE_ROWS, rows[:PAGE_ROWS]
    if backwards:
        rows.reverse()
    goes_on, came_from = (True, more) if backwards else (more, edge is not None)
    return Found(
        tuple(rows),
        later=rows[-1].id if rows and goes_on else None,
        earlier=rows[0].id if rows and came_from else None,
    )


def read_all(read: Callable[[Callable[[Session], list[Any]]], list[Any]], asked: Asked) -> Iterator[Any]:
    """Read every row that is asked for, a step at a time: no transaction stays open, and no more than a step is held."""
    edge: int | None = None
    while True:
        rows = read(
            lambda session, edge=edge: list(  # type: ignore[misc]
                session.scalars(_query(session, asked, edge, False).limit(EXPORT_ROWS))
            )
        )
        yield from rows
        if len(rows) < EXPORT_ROWS:
            return
        edge = rows[-1].id


def _query(session: Session, asked: Asked, edge: int | None, backwards: bool) -> sa.Select[Any]:
    listing = asked.listing
    query = sa.select(listing.model).where(*listing.narrow(session, asked)).options(*listing.load)
    keys = [listing.sorts()[asked.sort]] if asked.sort else []
    if not keys or keys[0] is not listing.model.id:
        keys.append(listing.model.id)
    downwards = asked.descending is not backwards
    if edge is not None:
        query = query.where(_beyond(session, listing, keys, edge, downwards))
    return query.order_by(*(key.desc() if downwards else key.asc() for key in keys))


def _beyond(
    session: Session, listing: Listing, keys: list[Any], edge: int, downwards: bool
) -> sa.ColumnElement[bool]:
    """Match what comes after a row in the order of the keys; everything, if that row is gone."""
    values = session.execute(sa.select(*keys).where(listing.model.id == edge)).first()
    if values is None:
        return sa.true()
    here, there = sa.tuple_(*keys), sa.tuple_(*values)
    return here < there if downwards else here > there


def within_days(session: Session, model: Any, asked: Asked) -> Iterator[sa.ColumnElement[bool]]:
    """Match the days of Japan that are asked for: by their moments, and for the index's sake by their ids."""
    at = GROWS_WITH_ID[model]
    if asked.since is not None:
        begins = day_begins(asked.since)
        yield at >= begins
        yield model.id >= first_id_since(session, model, begins)
    if asked.until is not None:
        over = day_begins(asked.until) + timedelta(days=1)
        yield at < over
        yield model.id < first_id_since(session, model, over + 2 * MARGIN)


def _chosen(listing: Listing, given: MultiDict[str, str]) -> dict[str, str]:
    wanted = {each.name: given.get(each.name) or each.default for each in listing.choices}
    return {each.name: wanted[each.name] for each in listing.choices if wanted[each.name] in each.options()}


def _id(text: str) -> int:
    number = int(text)
    if not 0 <= number <= LARGEST_ID:
        raise ValueError("no row has such a number")
    return number


def _day(text: str | None) -> date | None:
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2999 else None
