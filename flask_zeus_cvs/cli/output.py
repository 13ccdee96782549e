"""What commands print: tables that a terminal lines up, moments in Japan, and JSON for machines."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import click
from flask import current_app

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.payments import Payments, payments_of

#: Lines of a list that fit a screen; the rest is counted.
MOST_LINES = 50
_WIDE = frozenset("WF")


def payments_here() -> Payments:
    """Return the verbs of the app that the command runs in."""
    return payments_of(current_app._get_current_object())  # type: ignore[attr-defined]


def day(moment: datetime) -> str:
    return f"{moment.astimezone(JST):%Y-%m-%d %H:%M} JST"


def show_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their heads, numbers to the right; kana and kanji count as two columns, as terminals draw them."""
    lines = [[_text(cell) for cell in row] for row in rows]
    numeric = [all(line[i].replace(",", "").isdecimal() for line in lines) for i in range(len(head))]
    widths = [max(map(_width, column)) for column in zip(head, *lines, strict=True)]
    for row in (head, ["-" * width for width in widths], *lines):
        cells = zip(row, widths, numeric, strict=True)
        click.echo("  ".join(_padded(*cell) for cell in cells).rstrip())


def show_json(value: Any) -> None:
    """Print one JSON document: moments in ISO 8601 with their zone, Japanese as it is."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(JST).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _text(cell: object) -> str:
    """One line, without the control characters that could steer a terminal."""
    if isinstance(cell, datetime):
        return day(cell)
    text = "-" if cell is None or cell == "" else str(cell)
    return "".join(
        each if unicodedata.category(each)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for each in text
    )


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in _WIDE else 1
        for each in text
    )


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
