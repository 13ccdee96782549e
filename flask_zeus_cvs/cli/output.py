"""What commands print: tables that a terminal lines up, moments in Japan, and JSON for machines."""

from __future__ import annotations

import getpass
import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import click
from flask import current_app

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.payments import Payments, payments_of

#: Lines of a list that fit a screen; the rest is counted.
MOST_LINES = 50
#: Characters that are kept of the name of who decided.
MOST_OF_A_NAME = 100
_WIDE = frozenset("WF")


class CannotRun(click.ClickException):
    """What keeps a command from being run at all; the message ends in the cure."""

    exit_code = 2


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


def show_facts(at: datetime, title: str, facts: Iterable[tuple[str, object]]) -> None:
    """Print what happened at a moment, and under it what is known of it, lined up by its names."""
    told = [(name, _text(value)) for name, value in facts]
    click.echo(f"{at.astimezone(JST):%Y-%m-%d %H:%M:%S} JST  {_text(title)}")
    width = max((_width(name) for name, _ in told), default=0)
    for name, text in told:
        click.echo(f"    {_padded(name, width, False)}  {text}")


def who(by: str) -> str:
    """Return who decides: as they named themselves, else their login name. Raises `click.UsageError`."""
    try:
        name = by.strip() or getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise click.UsageError("This account has no login name: say who decides, --by NAME.") from None
    if len(name) > MOST_OF_A_NAME:
        raise click.UsageError(f"--by holds {MOST_OF_A_NAME} characters.")
    return name


def is_terminal() -> bool:
    """Tell whether a person sees what is printed, and that it is printed."""
    return sys.stdout.isatty() and sys.stderr.isatty()


@contextmanager
def progress(label: str, count: Callable[[], int]) -> Iterator[Callable[[], None]]:
    """Draw a bar while something is done ``count()`` times: call what is given after each.

    It is drawn on stderr, and only for a person at a terminal; nothing is counted otherwise.
    """
    if not is_terminal():
        yield lambda: None
        return
    with click.progressbar(length=count(), label=label, file=sys.stderr) as bar:
        yield lambda: bar.update(1)


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
    if isinstance(cell, tuple):
        return ", ".join(map(_text, cell))
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
