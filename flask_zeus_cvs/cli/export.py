"""``flask zeus-cvs export``: writes payments to a file, for a spreadsheet or a program."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
from flask.cli import with_appcontext

from flask_zeus_cvs.cli.filters import filtered
from flask_zeus_cvs.cli.output import payments_here, progress
from flask_zeus_cvs.database import Database
from flask_zeus_cvs.settings import LOCALES
from flask_zeus_cvs.staff.export import EXCEL_LINES, LACKING, Csv, JsonLines, batches, columns
from flask_zeus_cvs.staff.search import Filters, count
from flask_zeus_cvs.telemetry import Action, said

log = logging.getLogger(__name__)

_STDOUT = "-"


@click.command()
@click.argument("out", metavar="OUT")
@filtered
@click.option(
    "--language", type=click.Choice(LOCALES), help="Of the heads and states. Default: ZEUS_CVS_LOCALE."
)
@click.option(
    "--encoding",
    type=click.Choice(["utf-8", "cp932"]),
    default="utf-8",
    show_default=True,
    help="UTF-8 is written with the mark by which Excel knows it; cp932 is what older programs read.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object a line, in UTF-8.")
@click.option(
    "--plain", is_flag=True, help='Payment numbers and the like without ="…": for programs that read CSV.'
)
@click.option("--reveal", is_flag=True, help="With customers' names, telephone numbers and e-mail addresses.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@with_appcontext
def export(
    out: str,
    filters: Filters,
    language: str | None,
    encoding: str,
    as_json: bool,
    plain: bool,
    reveal: bool,
    force: bool,
) -> None:
    """Write payments to the file OUT (- for the standard output), oldest first, one line per application.

    Finds them as list does, by TEXT and the same options. Amounts add up over the lines whose column "counts" is 1. The
    file is there when it is whole: one that was broken off leaves nothing behind.

    Example: flask zeus-cvs export november.csv --from 2026-11-01 --to 2026-11-30
    """
    if as_json and (plain or language or encoding != "utf-8"):
        raise click.UsageError(
            "--json is always UTF-8, in codes and plain: leave out --encoding, --language, --plain."
        )
    payments = payments_here()
    chosen = columns(reveal=reveal)
    table = (
        JsonLines(chosen) if as_json else Csv(chosen, language or payments.settings.locale, encoding, plain)
    )
    began = time.monotonic()
    with _opened(out, force) as file:
        lines, found = _written(file, table, payments.database, filters)
    seconds = round(time.monotonic() - began, 3)
    log.info(
        "%d payments were exported",
        found,
        extra=said(Action.EXPORT, count=found, revealed=reveal, seconds=seconds),
    )
    _tell(out, lines, found, seconds, table)


def _written(
    file: IO[bytes], table: Csv | JsonLines, database: Database, filters: Filters
) -> tuple[int, int]:
    """Write everything; returns how many lines, and how many payments."""
    lines = found = 0

    def expected() -> int:
        return database.read(lambda session: count(session, filters, sys.maxsize))

    with progress("Exporting", expected) as step:
        file.write(table.heads())
        for batch in batches(database, filters):
            file.write(table.write(batch))
            lines += len(batch)
            for _ in range(members := len({each.payment.id for each in batch})):
                step()
            found += members
    return lines, found


@contextmanager
def _opened(out: str, force: bool) -> Iterator[IO[bytes]]:
    """Open what is to be written; a file has its name, and only its owner can read it, once it is whole."""
    if out == _STDOUT:
        yield sys.stdout.buffer
        return
    target = Path(out)
    _refuse_to_overwrite(target, force)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=target.absolute().parent
        )
    except OSError as error:
        raise click.ClickException(
            f"{out} cannot be written: {error.strerror}. Name another place."
        ) from None
    with _removed_unless_whole(Path(name)) as keep, os.fdopen(handle, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
        _refuse_to_overwrite(target, force)
        keep(target)


@contextmanager
def _removed_unless_whole(part: Path) -> Iterator[Callable[[Path], object]]:
    try:
        yield part.replace
    finally:
        part.unlink(missing_ok=True)


def _refuse_to_overwrite(target: Path, force: bool) -> None:
    if target.is_dir():
        raise click.UsageError(f"{target} is a directory: name a file in it.")
    if target.exists() and not force:
        raise click.UsageError(
            f"{target} is there already: name another file, or say --force to write over it."
        )


def _many(number: int, things: str) -> str:
    return f"{number:,} {things}{'' if number == 1 else 's'}"


def _tell(out: str, lines: int, found: int, seconds: float, table: Csv | JsonLines) -> None:
    place = "" if out == _STDOUT else f" to {out}"
    click.echo(
        f"{_many(found, 'payment')}, {_many(lines, 'line')} written{place} in {seconds:.1f} s", err=True
    )
    if table.replaced:
        click.echo(f"{table.replaced:,} characters that the encoding lacks became {LACKING}.", err=True)
    if lines >= EXCEL_LINES and isinstance(table, Csv):
        click.echo(f"Excel shows {EXCEL_LINES:,} lines of a file: export one year after the other.", err=True)
