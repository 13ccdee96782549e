"""``flask zeus-cvs reconcile``: 消込, ZEUS's list against our books."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from flask.cli import with_appcontext

from flask_zeus_cvs.cli.output import MOST_LINES, CannotRun, day, payments_here, show_json, show_table
from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.exceptions import UnreadableStatement
from flask_zeus_cvs.memos import recall, remember
from flask_zeus_cvs.payments import Payments
from flask_zeus_cvs.protocol.codes import STATUSES, Status
from flask_zeus_cvs.staff.export import neutralised
from flask_zeus_cvs.staff.reconciliation import (
    WORDS,
    Applied,
    Finding,
    Kind,
    Reconciliation,
    Report,
    Span,
    Way,
)
from flask_zeus_cvs.staff.statement import NAMES, Fault, Standing, Statement

COLUMNS = "reconcile.columns"
_WAYS: Mapping[Way, str] = {
    Way.DIFFERS: "ours differs",
    Way.UNKNOWN_TO_US: "unknown to us",
    Way.UNKNOWN_TO_THEM: "unknown to them",
}
_NAMES: Mapping[Status | None, str] = {row.status: row.name for row in STATUSES}


def _mapping(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    columns = {}
    for each in given:
        thing, equals, name = each.partition("=")
        if not equals or thing not in NAMES or not name.strip():
            raise click.BadParameter(f"say THING=NAME, where THING is one of {', '.join(NAMES)}.")
        columns[thing] = name.strip()
    return columns


def _codec(_context: click.Context, _option: click.Parameter, given: str) -> str:
    try:
        "".encode(given or "utf-8")
    except LookupError:
        raise click.BadParameter(f"There is no encoding {given}: say cp932 or utf-8.") from None
    return given


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--apply", "mend", is_flag=True, help="Take the missing notices from the list, and open the reviews."
)
@click.option("--yes", is_flag=True, help="With --apply: do not ask.")
@click.option(
    "--unknown", is_flag=True, help="With --apply: keep the notices of orders we do not know, as reviews."
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="THING=NAME",
    callback=_mapping,
    help="Which column is meant, by its name or as #5; remembered. THING: order_no, status, money, sendid, …",
)
@click.option("--forget", is_flag=True, help="Forget the columns of earlier runs.")
@click.option(
    "--encoding",
    default="",
    metavar="CODEC",
    callback=_codec,
    help="How the file is encoded, if it is not found out.",
)
@click.option(
    "--from",
    "first",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Our applications since this day should be in it.",
)
@click.option(
    "--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Our applications up to this day should be in it."
)
@click.option("--json", "as_json", is_flag=True, help="For machines: every difference, as JSON.")
@click.option(
    "--csv",
    "out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every difference into this file.",
)
@with_appcontext
def reconcile(
    file: Path | None,
    mend: bool,
    yes: bool,
    unknown: bool,
    columns: dict[str, str],
    forget: bool,
    encoding: str,
    first: datetime | None,
    last: datetime | None,
    as_json: bool,
    out: Path | None,
) -> None:
    """Compare the list that ZEUS's screen gives (CSV) with your books: 消込.

    Says what agrees, what differs, and what only one side knows; changes nothing without --apply. That takes the
    notices that never came, and puts before a person what no notice tells of.

    Exits with 0 if all agrees, 1 if something differs or a person is needed, 2 if it could not run.

    Example: flask zeus-cvs reconcile zeus-202611.csv --apply
    """
    payments = payments_here()
    if forget:
        payments.database.write(lambda session: remember(session, COLUMNS, {}))
    if file is None:
        if not forget:
            raise click.UsageError("Say which FILE: the list from ZEUS's screen, as CSV.")
        click.echo("The columns of earlier runs are forgotten.")
        return
    if mend and not yes and (as_json or not _is_terminal()):
        raise click.UsageError("Nobody is here to agree that notices are taken from the list: say --yes.")
    run = _Run(payments, _opened(payments, file, columns, encoding), quiet=as_json)
    report = run.compare(_span(first, last))
    if out is not None:
        _write(out, report)
    if not as_json:
        _show(run.statement, report)
    done = run.mend(report, unknown=unknown, ask=not yes) if mend else None
    if as_json:
        show_json(_as_json(run.statement, report, done))
    elif done is not None:
        _show_done(done)
    if _is_left(run.statement, report, done):
        raise click.exceptions.Exit(1)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _opened(payments: Payments, file: Path, columns: Mapping[str, str], encoding: str) -> Statement:
    """Open the list with the columns that were named now or earlier, and remember them if it can be read."""
    known = payments.database.read(lambda session: recall(session, COLUMNS))
    wanted = {**(known.value if known else {}), **columns}
    try:
        statement = Statement(file, wanted, encoding)
        assert statement.contents is not None
    except UnreadableStatement as error:
        note = (
            f" (--column is remembered from {day(known.written_at)}; --forget.)"
            if known and known.value
            else ""
        )
        raise CannotRun(f"{error}{note}") from None
    if columns:
        payments.database.write(lambda session: remember(session, COLUMNS, wanted))
    return statement


def _span(first: datetime | None, last: datetime | None) -> Span | None:
    if first is None and last is None:
        return None
    if first is None or last is None or last < first:
        raise click.UsageError("Say both, and --from not after --to.")
    return Span(first.replace(tzinfo=JST), last.replace(tzinfo=JST) + timedelta(days=1))


@dataclass(frozen=True)
class _Run:
    """One run on one list."""

    payments: Payments
    statement: Statement
    quiet: bool

    @property
    def reconciliation(self) -> Reconciliation:
        return Reconciliation(self.payments, self.statement)

    def compare(self, span: Span | None) -> Report:
        with _progress("Comparing", len(self.statement.contents.places), quiet=self.quiet) as tick:
            return self.reconciliation.compare(span, tick)

    def mend(self, report: Report, *, unknown: bool, ask: bool) -> Applied | None:
        """Apply, if a person agrees; None if there is nothing to do, or they do not."""
        notices, questions = self.reconciliation.to_do(report, unknown=unknown)
        if not notices and not questions:
            return None
        if ask and not click.confirm(
            f"Take {_many(notices, 'notice')} from the list and open {_many(questions, 'review')}?"
        ):
            return None
        try:
            with _progress("Applying", len(report.findings), quiet=self.quiet) as tick:
                return self.reconciliation.apply(report, unknown=unknown, tick=tick)
        except KeyboardInterrupt:
            click.echo("Broken off. What is done is done; run it again for the rest.", err=True)
            raise click.exceptions.Exit(1) from None


@contextmanager
def _progress(label: str, length: int, *, quiet: bool) -> Iterator[Callable[[int], object]]:
    if quiet or not sys.stdout.isatty():
        yield lambda _done: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


# --- for people ------------------------------------------------------------------------------------


def _show(statement: Statement, report: Report) -> None:
    contents, form = statement.contents, statement.format
    click.echo(
        f"{statement.path.name}: {_many(contents.lines, 'line')}, {form.encoding}, {_SEPARATED[form.delimiter]}"
    )
    if contents.tests:
        click.echo(f"  {contents.tests} of them {'is a test' if contents.tests == 1 else 'are tests'}")
    if contents.repeated:
        click.echo(f"  {_many(contents.repeated, 'line')} repeat an order number; the most advanced counts")
    if statement.mangled:
        click.echo("  leading zeros are lost (Excel): payment numbers are not taken from it")
    for thing, number in statement.dropped.items():
        click.echo(f"  {form.named(thing)} breaks its rule {_many(number, 'time')}, and is left out there")
    if "sendid" not in form.places:
        click.echo("  no column for sendid: slips whose answer was lost, and re-issues, cannot be recognised")
    click.echo()
    rows: list[tuple[str, object]] = [("agree", report.agree)]
    rows += [(label, len(report.of(way))) for way, label in _WAYS.items()]
    if report.span is None:
        rows[-1] = (_WAYS[Way.UNKNOWN_TO_THEM], "not looked at")
    show_table(("", "applications"), rows)
    if report.decided:
        click.echo(f"Of those that agree, a person had decided about {report.decided}.")
    if report.span is None:
        click.echo(
            "What of ours is unknown to them was not looked at, as the list does not say which days it covers: "
            "say --from and --to."
        )
    else:
        click.echo(f"Looked for among theirs: ours of {day(report.span.since)} to {day(report.span.until)}.")
    for kind, words in WORDS.items():
        if found := [each for each in report.findings if each.kind is kind]:
            click.echo(f"\n{_WAYS[words.way]}: {words.label}: {len(found)}")
            show_table(_HEAD, map(_row, found[:MOST_LINES]))
            _and_more(len(found))
            click.echo(words.advice)
    if contents.faulty:
        click.echo(f"\ncannot be read, and left out: {contents.faulty}")
        show_table(("line", "column", ""), map(_fault_row, contents.faults[:MOST_LINES]))
        _and_more(contents.faulty)


_SEPARATED = {",": "comma", "\t": "tab", ";": "semicolon"}
_HEAD = ("line", "order number", "reference", "ours", "ZEUS", "missing notices")


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _and_more(number: int) -> None:
    if number > MOST_LINES:
        click.echo(f"and {number - MOST_LINES} more; --csv FILE has them all")


def _row(finding: Finding) -> tuple[object, ...]:
    ours, line = finding.ours, finding.line
    state = "re-issue" if finding.reissue else ours.state.value if ours is not None else ""
    if finding.kind is Kind.MISSED:
        state += f" → {finding.after.value if finding.after else 'review'}"
    theirs = _named(line.standing) if line is not None else ""
    if finding.kind is Kind.AMOUNT and ours is not None and line is not None:
        state, theirs = f"{state} {ours.amount:,} yen", f"{theirs} {line.money:,} yen"
    return (
        line.number if line is not None else "",
        finding.order_no,
        ours.reference[:24] if ours is not None else "",
        state,
        theirs,
        " ".join(finding.missing),
    )


def _fault_row(fault: Fault) -> tuple[object, ...]:
    return fault.number, fault.column, fault.wrong


def _named(standing: Standing) -> str:
    return f"{standing} {_NAMES[standing]}" if isinstance(standing, Status) else standing.value


def _show_done(done: Applied) -> None:
    told = ", ".join(f"{status} ×{number}" for status, number in sorted(done.notices.items()))
    taken = f"{_many(done.notices.total(), 'notice')} of {_many(len(done.slips), 'slip')}"
    click.echo(f"\nTaken: {taken}{f' ({told})' if told else ''}.")
    group = payments_here().settings.cli_group
    click.echo(f"Reviews opened: {done.reviews}.{f' See flask {group} resolve.' if done.reviews else ''}")


def _is_left(statement: Statement, report: Report, done: Applied | None) -> bool:
    """Tell whether anything still differs, or a person is needed."""
    mended = {Kind.MISSED} if done is not None else set()
    left = [each for each in report.findings if each.kind not in mended and not each.words.harmless]
    return bool(left or statement.contents.faulty or (done is not None and done.reviews))


# --- for machines ------------------------------------------------------------------------------------


def _as_dict(finding: Finding) -> dict[str, Any]:
    ours, line = finding.ours, finding.line
    return {
        "way": finding.words.way.value,
        "kind": finding.kind.value,
        "line": line.number if line is not None else None,
        "order_no": finding.order_no,
        "reference": ours.reference if ours is not None else None,
        "ours": ours.state.value if ours is not None and not finding.reissue else None,
        "reissue": finding.reissue,
        "after": finding.after.value if finding.after is not None else None,
        "theirs": _named(line.standing) if line is not None else None,
        "amount_ours": ours.amount if ours is not None else None,
        "amount_theirs": line.money if line is not None else None,
        "missing": [each.value for each in finding.missing],
        "test": line.test if line is not None else None,
        "advice": finding.words.advice,
    }


def _as_json(statement: Statement, report: Report, done: Applied | None) -> dict[str, Any]:
    contents, span = statement.contents, report.span
    return {
        "file": statement.path.name,
        "encoding": statement.format.encoding,
        "lines": contents.lines,
        "agree": report.agree,
        "decided": report.decided,
        **{way.value: len(report.of(way)) for way in Way},
        "looked_for": {"since": span.since, "until": span.until} if span is not None else None,
        "unreadable": contents.faulty,
        "faults": [
            {"line": each.number, "column": each.column, "wrong": each.wrong} for each in contents.faults
        ],
        "differences": [_as_dict(each) for each in report.findings],
        "applied": None
        if done is None
        else {
            "notices": {status.value: number for status, number in sorted(done.notices.items())},
            "slips": len(done.slips),
            "reviews": done.reviews,
        },
    }


def _write(out: Path, report: Report) -> None:
    """Write every difference for a spreadsheet: UTF-8 with a mark, no cell that it would take for a formula."""
    rows = [_as_dict(each) for each in report.findings]
    head: Sequence[str] = list(_as_dict(Finding(Kind.UNKNOWN, "")))
    try:
        with out.open("w", encoding="utf-8-sig", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(head)
            lines.writerows([_cell(value) for value in row.values()] for row in rows)
    except OSError as error:
        raise CannotRun(f"{out} cannot be written ({type(error).__name__}). Say another path.") from None


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = " ".join(value)
    return neutralised(value) if isinstance(value, str) else value
