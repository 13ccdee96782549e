"""``flask zeus-cvs test-order``: the manual's operation test, as a guided run with a report."""

from __future__ import annotations

import getpass
import os
import platform
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError

from flask_zeus_cvs.cli.output import CannotRun, payments_here, show_json
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.customer import Customer, checked, masked
from flask_zeus_cvs.exceptions import InvalidCustomer, InvalidField
from flask_zeus_cvs.payments import Payments
from flask_zeus_cvs.protocol.codes import STORES, Store, TestType
from flask_zeus_cvs.protocol.fields import MAX_AMOUNT, MIN_AMOUNT, check
from flask_zeus_cvs.settings import is_loopback
from flask_zeus_cvs.staff.hours import hours
from flask_zeus_cvs.staff.operation_report import WRITERS, file_name, write
from flask_zeus_cvs.staff.operation_run import Rehearsal, rest
from flask_zeus_cvs.staff.operation_test import (
    ITEMS,
    POINTS,
    Finding,
    Mark,
    Run,
    Seen,
    Trial,
    after,
    causes,
)
from flask_zeus_cvs.staff.operation_words import Remark

#: Seconds without any notice after which the likely causes are told, so that they can be mended meanwhile.
HINT_SECONDS = 120.0
#: Columns of the text.
_WIDTH = 110
_MARKS = {Mark.PASSED: "ok", Mark.FAILED: "FAILED", Mark.OPEN: "open"}
_ALL_STORES = "all"
#: What each detail of the tester must be, by its wire name.
_RULES = {
    "username": "--name: full-width katakana, at most 20 characters, such as テスト　タロウ",
    "telno": "--phone: 9 to 11 digits that begin with 0",
    "email": "--email: half-width characters, at most 50",
}


@dataclass(frozen=True)
class Plan:
    """What a run is to be, once everything is known and right."""

    kind: TestType
    test_id: str
    stores: tuple[Store, ...]
    amount: int
    customer: Customer
    patience: float
    by: str
    version: str
    reports: tuple[Path, ...]


@click.command()
@click.option(
    "--type",
    "kind",
    type=click.Choice([each.value for each in TestType]),
    help="0 stays unpaid, 1 is paid and confirmed, 2 is paid and taken back. Default: ZEUS_CVS_TEST_TYPE.",
)
@click.option("--store", default="", metavar="CODE|all", help="Default: the first of ZEUS_CVS_STORES.")
@click.option(
    "--amount",
    default=1000,
    show_default=True,
    type=click.IntRange(MIN_AMOUNT, MAX_AMOUNT),
    help="Yen. No money moves.",
)
@click.option(
    "--test-id", default="", help="From テストカード番号管理 on ZEUS's screen. Default: ZEUS_CVS_TEST_ID."
)
@click.option(
    "--name", default="", help="The tester's name, in katakana: ZEUS mails him or her as a customer."
)
@click.option("--phone", default="", help="The tester's telephone number.")
@click.option("--email", default="", help="The tester's e-mail address.")
@click.option("--by", default="", help="Who carries the test out, for the report. Default: your user name.")
@click.option("--shop-version", default="", help="Your shop's own version, for the report.")
@click.option(
    "--timeout",
    default=40.0,
    show_default=True,
    type=click.FloatRange(0, 240, min_open=True),
    metavar="MINUTES",
    help="How long to wait for the next notice: a test's 05 or 06 follows its 04 within 30 minutes.",
)
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A new file that ends in .md or .html. Default: both, here, named by date and type.",
)
@click.option("--yes", is_flag=True, help="Ask nothing: points that need a person are left open.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@with_appcontext
def test_order(
    kind: str | None,
    store: str,
    amount: int,
    test_id: str,
    name: str,
    phone: str,
    email: str,
    by: str,
    shop_version: str,
    timeout: float,
    reports: tuple[Path, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Carry out ZEUS's operation test: apply, wait for the notices, check each point, write a report.

    Run it beside your running shop, with the same settings. The test's own hold in this process alone: your customers get
    no test slips. Points that only a person can see are asked for.

    Exits with 0 if no point failed, 1 if one did or the run was broken off, 2 if the test could not run. Points that are
    left open fail nothing; the last line counts them.

    Example: flask zeus-cvs test-order --type 1
    """
    own, asks = payments_here(), not yes
    _refuse_without_person(asks)
    chosen = _kind(kind, own, asks)
    plan = Plan(
        kind=chosen,
        test_id=_test_id(test_id or own.settings.test_id, asks),
        stores=_stores(store, own),
        amount=amount,
        customer=_customer(Customer(name, phone, email), asks),
        patience=timeout * 60,
        by=by.strip() or _user(),
        version=shop_version.strip(),
        reports=_reports(reports, chosen),
    )
    run = _carried_out(own, plan, asks=asks, quiet=as_json)
    sent = any(trial.sent for trial in run.trials)
    written = _written(run, plan.reports) if sent else ()
    (_show_json if as_json else _show)(run, written)
    if not sent:
        click.echo("Nothing reached ZEUS, so there is nothing to report.", err=True)
        raise click.exceptions.Exit(2)
    if run.marks[Mark.FAILED] or run.interrupted:
        raise click.exceptions.Exit(1)


# --- what is asked for before anything is sent -----------------------------------------------------------


def _refuse_without_person(asks: bool) -> None:
    if asks and not _is_terminal():
        raise click.UsageError("Nobody is here to answer questions: say --yes.")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _kind(given: str | None, own: Payments, asks: bool) -> TestType:
    kind = given or own.settings.test_type
    if kind is None and asks:
        kinds = click.Choice([each.value for each in TestType])
        kind = click.prompt("Type (0 stays unpaid, 1 confirmed, 2 taken back)", type=kinds, err=True)
    if kind is None:
        raise click.UsageError("Which test? Say --type 0, 1 or 2, or set ZEUS_CVS_TEST_TYPE.")
    return TestType(kind)


def _test_id(given: str, asks: bool) -> str:
    if not given and asks:
        given = click.prompt("Test id, from テストカード番号管理 on ZEUS's screen", err=True)
    try:
        check("testid", given)
    except InvalidField:
        raise click.UsageError(
            "The test id is missing or not 1 to 8 digits: copy it from テストカード番号管理 on ZEUS's screen into "
            "--test-id, or set ZEUS_CVS_TEST_ID."
        ) from None
    return given


def _stores(given: str, own: Payments) -> tuple[Store, ...]:
    offered = own.settings.stores
    if given in ("", _ALL_STORES):
        return offered if given else offered[:1]
    if given not in offered:
        raise click.UsageError(
            f"Your shop does not offer the store {given!r}: take one of {', '.join(offered)}, or all."
        )
    return (Store(given),)


def _customer(given: Customer, asks: bool) -> Customer:
    """Return the tester's details as ZEUS takes them; asks for what is missing, and again for what is wrong."""
    while True:
        blanks = {"username": given.name, "telno": given.phone, "email": given.email}
        if asks:
            given = Customer(*(value or _asked(field) for field, value in blanks.items()))
        try:
            return checked(given)
        except InvalidCustomer as error:
            wrong = {each.field for each in error.problems}
        if not asks:
            raise click.UsageError(
                f"ZEUS mails the tester. Say {'; '.join(_RULES[each] for each in _RULES if each in wrong)}."
            )
        for each in sorted(wrong):
            click.echo(f"That cannot be sent. {_RULES[each]}", err=True)
        kept = ("" if field in wrong else value for field, value in zip(_RULES, _values(given), strict=True))
        given = Customer(*kept)


def _values(customer: Customer) -> tuple[str, str, str]:
    return customer.name, customer.phone, customer.email


def _asked(field: str) -> str:
    texts = {
        "username": "The tester's name, in katakana",
        "telno": "The tester's telephone number",
        "email": "The tester's e-mail address",
    }
    return str(click.prompt(texts[field], err=True))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "-"


def _reports(given: Sequence[Path], kind: TestType) -> tuple[Path, ...]:
    """Find where the reports go; refuses, before anything is sent, what cannot be written or would be overwritten."""
    moment = now()
    paths = tuple(given) or tuple(_free(Path(file_name(kind, moment, suffix))) for suffix in WRITERS)
    for path in paths:
        if path.suffix.lower() not in WRITERS:
            raise click.UsageError(f"{path}: name the report with .md or .html at the end.")
        if path.exists():
            raise click.UsageError(
                f"{path} is there already, and reports are never overwritten: take another name."
            )
        if not os.access(path.parent, os.W_OK):
            raise click.UsageError(
                f"{path.parent} cannot be written to: choose another folder with --report."
            )
    return paths


def _free(path: Path) -> Path:
    """Number a name that is taken."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


# --- the run ---------------------------------------------------------------------------------------------


def _carried_out(own: Payments, plan: Plan, *, asks: bool, quiet: bool) -> Run:
    """Send, wait and ask; on Ctrl-C return what there is as far as it came."""
    rehearsal = Rehearsal.of(own, plan.test_id, plan.kind)
    _refuse_without_tables(rehearsal)
    run = _begun(own, plan)
    for remark in (*run.notes, *run.hours):
        _tell(f"- {remark.english}", err=quiet)
    if asks and not click.confirm(
        f"Send {_count(len(plan.stores), 'test application')} to {run.host} now?", err=True
    ):
        raise click.exceptions.Exit(2)
    try:
        with rehearsal.in_place():
            for latest in _steps(rehearsal, run, plan, asks=asks, quiet=quiet):
                run = latest
    except (KeyboardInterrupt, click.Abort):
        run = _broken_off(run, Remark.of("interrupted"))
    except DBAPIError as error:
        run = _broken_off(run, Remark.of("database_failed", error=type(error).__name__))
    return run


def _broken_off(run: Run, why: Remark) -> Run:
    return replace(run, interrupted=True, notes=(*run.notes, why), ended=now())


def _refuse_without_tables(rehearsal: Rehearsal) -> None:
    try:
        missing = rehearsal.missing_tables()
    except DBAPIError as error:
        raise CannotRun(
            f"The database cannot be reached ({type(error).__name__}): look at SQLALCHEMY_DATABASE_URI."
        ) from None
    if missing:
        raise CannotRun(
            f"The database lacks tables ({', '.join(missing)}): run your migrations (flask db upgrade) "
            "or db.create_all()."
        )


def _begun(own: Payments, plan: Plan) -> Run:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    moment = now()
    endpoint = urlsplit(own.settings.endpoint)
    notes = [Remark.of("goods_ship" if own.settings.test_fulfills else "goods_stay")]
    if is_loopback(endpoint.hostname or "") or own.settings.transport is not None:
        notes.insert(0, Remark.of("sandbox", host=endpoint.netloc))
    return Run(
        kind=plan.kind,
        amount=plan.amount,
        host=endpoint.netloc,
        by=plan.by,
        tester=masked(plan.customer),
        shop=app.import_name,
        versions=_versions(plan.version),
        began=moment,
        ended=moment,
        trials=(),
        hours=hours(moment),
        notes=tuple(notes),
    )


def _versions(shop: str) -> tuple[tuple[str, str], ...]:
    extension, flask = (_version(each) for each in ("Flask-Zeus-CVS", "Flask"))
    software = f"Flask-Zeus-CVS {extension}、Flask {flask}、Python {platform.python_version()}"
    return ("ショップのバージョン", shop or "（記載なし）"), ("ソフトウェア", software)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # used from a folder, without being installed
        return "-"


def _steps(rehearsal: Rehearsal, run: Run, plan: Plan, *, asks: bool, quiet: bool) -> Iterator[Run]:
    """Send, wait and ask, step by step; yield what there is after each."""
    for store in plan.stores:
        trial = rehearsal.prepare(store, plan.amount)
        yield replace(run, trials=(*run.trials, trial))
        trial = rehearsal.apply(trial, plan.customer)
        run = replace(run, trials=(*run.trials, trial), ended=now())
        yield run
    for latest in _watched(rehearsal, run, plan.patience, quiet):
        run = latest
        yield run
    if not any(trial.has_slip for trial in run.trials):
        yield _with_persons(run, Remark.of("no_slip"))
    elif not asks:
        yield _with_persons(run, Remark.of("nobody_asked"))
    else:
        yield from _questions(run, rehearsal)


# --- waiting ---------------------------------------------------------------------------------------------


def _watched(rehearsal: Rehearsal, run: Run, patience: float, quiet: bool) -> Iterator[Run]:
    waiting = len(run.awaited())
    if not waiting:
        return
    with _progress(waiting, patience, quiet) as tell:
        for latest in rehearsal.watch(run, patience):
            yield latest  # before anything is said of it: after Ctrl-C it is what there is
            tell(latest)


@contextmanager
def _progress(waiting: int, patience: float, quiet: bool) -> Iterator[Callable[[Run], None]]:
    """Show how the wait goes on: a bar in a terminal, else a line for each notice; after a while the likely causes."""
    hint = _Hint()
    if quiet:
        yield hint
    elif not sys.stdout.isatty():
        yield _both(hint, _Lines())
    else:
        with click.progressbar(
            length=waiting,
            label="Notices",
            file=sys.stderr,
            item_show_func=_as_it_is,
        ) as bar:
            yield _both(
                hint, lambda run: bar.update(waiting - len(run.awaited()) - bar.pos, _pending(run, patience))
            )


def _as_it_is(said: str | None) -> str | None:
    return said


def _both(first: Callable[[Run], None], then: Callable[[Run], None]) -> Callable[[Run], None]:
    def tell(run: Run) -> None:
        first(run)
        then(run)

    return tell


def _pending(run: Run, patience: float) -> str:
    """Say what is waited for, and for how long at most."""
    awaited = run.awaited()
    if not awaited:
        return "waiting for the receivers"
    left = int(max(0.0, rest(run, patience)))
    trial, status = awaited[0]
    return f"waiting for {status} ({STORES[trial.store].name}), at most {left // 60}:{left % 60:02d} more"


class _Lines:
    """Says each notice once, where no bar can be drawn."""

    def __init__(self) -> None:
        self._said: set[tuple[Store, str]] = set()

    def __call__(self, run: Run) -> None:
        for trial in run.trials:
            for seen in trial.books.notices:
                if (trial.store, seen.status) not in self._said:
                    self._said.add((trial.store, seen.status))
                    click.echo(
                        f"{seen.status} ({STORES[trial.store].name}) came after {after(trial, seen):.0f} s"
                    )


class _Hint:
    """Says once what may keep the notices away, while there is time to mend it."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, run: Run) -> None:
        came = any(trial.books.notices for trial in run.trials)
        if self._said or came or run.waited < HINT_SECONDS:
            return
        self._said = True
        click.echo("\nNo notice so far. Likely causes, the likeliest first:", err=True)
        for number, cause in enumerate(causes(run), 1):
            _tell(cause.english, indent=5, first=f"  {number}. ", err=True)
        for remark in ("where_to_look", "mend_and_resend"):
            _tell(Remark.of(remark).english, indent=2, err=True)


# --- what only a person can see ----------------------------------------------------------------------------


def _with_persons(run: Run, why: Remark) -> Run:
    """Leave open what a person would have to look at."""
    left = {key: Finding(Mark.OPEN, (why,)) for key, point in POINTS.items() if point.question}
    return replace(run, persons={**left, **run.persons})


def _questions(run: Run, rehearsal: Rehearsal) -> Iterator[Run]:
    click.echo("\nSome points only a person can see.", err=True)
    if click.confirm(
        "Show the links of the result pages, to open them on a phone? Whoever has them sees the numbers",
        err=True,
    ):
        for link in rehearsal.links(run):
            click.echo(f"  {'https://YOUR-SHOP' if link.startswith('/') else ''}{link}", err=True)
    for key, point in POINTS.items():
        if point.question:
            run = replace(run, persons={**run.persons, key: _answered(point.question, run.by)}, ended=now())
            yield run


def _answered(question: str, by: str) -> Finding:
    said = click.prompt(
        f"{question} y, n, or o to leave it open", type=click.Choice(["y", "n", "o"]), err=True
    )
    if said == "y":
        return Finding(Mark.PASSED, (Remark.of("person_says_yes", by=by),))
    if said == "o":
        return Finding(Mark.OPEN, (Remark.of("person_skipped", by=by),))
    note = click.prompt("What was to be seen instead? (It goes into the report.)", err=True)
    return Finding(Mark.FAILED, (Remark.of("person_says_no", by=by, note=note),))


# --- what came of it -----------------------------------------------------------------------------------------


def _written(run: Run, reports: Sequence[Path]) -> tuple[Path, ...]:
    """Write the reports; returns those that could be."""
    written = []
    for path in reports:
        try:
            write(run, path)
        except OSError as error:
            click.echo(f"Error: {path} could not be written: {error.strerror}.", err=True)
        else:
            written.append(path)
    return tuple(written)


def _show(run: Run, reports: Sequence[Path]) -> None:
    item = 0
    for point, finding, stores in run.grouped():
        if point.item != item:
            item = point.item
            click.echo(f"\n{item}. {ITEMS[item][0]}")
        _show_finding(point.english + _where(stores), finding)
    click.echo()
    for path in reports:
        click.echo(f"Report: {path}")
    marks = run.marks
    click.echo(f"Passed {marks[Mark.PASSED]}, failed {marks[Mark.FAILED]}, left open {marks[Mark.OPEN]}.")


def _where(stores: Sequence[Store]) -> str:
    return f" ({', '.join(STORES[each].name for each in stores)})" if stores else ""


def _show_finding(title: str, finding: Finding) -> None:
    said = [each.english for each in finding.remarks]
    if finding.mark is not Mark.FAILED:
        _tell(f"{title}: {' '.join(said)}", indent=9, first=f"  {_MARKS[finding.mark]:<7}")
        return
    click.echo(f"  {_MARKS[finding.mark]:<7}{title}")
    for each in said:
        _tell(each, indent=9)
    if finding.causes:
        click.echo(f"{'':9}Likely causes, the likeliest first:")
    for number, cause in enumerate(finding.causes, 1):
        _tell(cause.english, indent=14, first=f"{'':11}{number}. ")


def _tell(text: str, indent: int = 0, *, first: str = "", err: bool = False) -> None:
    """Say a sentence in lines that fit a terminal, without the control characters that could steer it."""
    clean = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    margin = " " * indent
    shape = textwrap.TextWrapper(_WIDTH, first or margin, margin, break_on_hyphens=False)
    click.echo(shape.fill(clean), err=err)


def _show_json(run: Run, reports: Sequence[Path]) -> None:
    marks = run.marks
    show_json(
        {
            "type": run.kind,
            "amount": run.amount,
            "host": run.host,
            "by": run.by,
            "tester": {"name": run.tester.name, "phone": run.tester.phone, "email": run.tester.email},
            "began": run.began,
            "ended": run.ended,
            "in_time": run.in_time,
            "interrupted": run.interrupted,
            "notes": [each.english for each in (*run.notes, *run.hours)],
            "marks": {each.name.lower(): marks[each] for each in Mark},
            "stores": [_store_json(run, trial) for trial in run.trials],
            "reports": [str(path) for path in reports],
        }
    )


def _store_json(run: Run, trial: Trial) -> dict[str, Any]:
    return {
        "store": trial.store,
        "reference": trial.reference,
        "order_no": trial.answer.order_no if trial.answer else "",
        "state": trial.books.state,
        "points": [_point_json(key, each) for key, each in run.findings[trial.store].items()],
        "notices": [_notice_json(trial, each) for each in trial.books.notices],
    }


def _point_json(key: str, finding: Finding) -> dict[str, Any]:
    return {
        "point": key,
        "item": POINTS[key].item,
        "mark": finding.mark.name.lower(),
        "said": [each.english for each in finding.remarks],
        "causes": [each.english for each in finding.causes],
    }


def _notice_json(trial: Trial, seen: Seen) -> dict[str, Any]:
    return {
        "status": seen.status,
        "at": seen.at,
        "seconds": round(after(trial, seen), 1),
        "times": seen.times,
        "missing": seen.missing,
        "unread": seen.unread,
        "differs": seen.differs,
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
