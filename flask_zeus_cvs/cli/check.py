"""``flask zeus-cvs check``: what is wrong with the shop's set-up, and whether notices stay away."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from urllib.parse import urlsplit

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from flask_zeus_cvs.cli.output import payments_here, show_json
from flask_zeus_cvs.payments import Payments
from flask_zeus_cvs.settings import is_loopback
from flask_zeus_cvs.staff.doctor import EXAMINATIONS, Patient, examine
from flask_zeus_cvs.staff.findings import RULES, Finding, Severity
from flask_zeus_cvs.staff.silence import listen
from flask_zeus_cvs.staff.soundness import reachable
from flask_zeus_cvs.web.texts import ours

WIDTH = 80
_HEADS: Mapping[Severity, str] = MappingProxyType(
    {
        Severity.ERROR: "ERRORS",
        Severity.WARNING: "WARNINGS",
        Severity.ADVICE: "ADVICE",
        Severity.FINE: "FINE",
    }
)
_EXIT: Mapping[Severity, int] = MappingProxyType({Severity.ERROR: 2, Severity.WARNING: 1})


@click.command()
@click.option(
    "--url",
    default="",
    metavar="URL",
    help="The shop as others reach it, to ask its callback; else SERVER_NAME.",
)
@click.option(
    "--live", is_flag=True, help="Only see whether notices stay away, and tell subscribers: for cron."
)
@click.option(
    "--ignore", multiple=True, metavar="CODE", help="Leave a finding out; several times for several."
)
@click.option("--quiet", is_flag=True, help="Say something only if there are errors or warnings: for cron.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@with_appcontext
def check(url: str, live: bool, ignore: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Look for what is wrong with settings, database, callback and the work at hand, each with its cure.

    With --live, only see whether ZEUS's notices stay away against what is to be expected. Subscribers of
    silence_suspected are told once for each silence.

    Exits with 0 if all is fine, with advice at most; with 1 for warnings; with 2 for errors.

    Example: flask zeus-cvs check --url https://shop.example
    """
    _refuse_strangers(ignore)
    _refuse_no_url(url)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    if live:
        findings = _listened(payments_here())
    else:
        findings = examine(Patient(app, payments_here(), url or _own_url(app), ours()))
    kept = [each for each in findings if each.code not in ignore]
    if as_json:
        show_json({"exit": _status(kept), "findings": [asdict(each) for each in kept]})
    elif not quiet or _status(kept):
        _show(kept, Severity.WARNING if quiet else Severity.FINE)
    raise click.exceptions.Exit(_status(kept))


def _listened(payments: Payments) -> list[Finding]:
    """Listen, if the database answers: a silence cannot be told from one that is away."""
    return list(reachable(payments.database)) or listen(payments)


def _refuse_strangers(codes: Iterable[str]) -> None:
    known = {*RULES, *(each.code for each in EXAMINATIONS)}
    for code in codes:
        if code not in known:
            raise click.UsageError(
                f"There is no finding called {code}. The code of each stands at its end, in brackets."
            )


def _refuse_no_url(url: str) -> None:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc):
        raise click.UsageError("--url wants the root of the shop, like https://shop.example.")


def _own_url(app: Flask) -> str:
    """Make the shop's root of SERVER_NAME; https, since nothing else is right for customers."""
    name = app.config["SERVER_NAME"]
    if not name:
        return ""
    host = name.rpartition(":")[0] or name
    root = app.config["APPLICATION_ROOT"].rstrip("/")
    return f"{'http' if is_loopback(host) else 'https'}://{name}{root}"


def _status(findings: Collection[Finding]) -> int:
    return max((_EXIT.get(each.severity, 0) for each in findings), default=0)


def _show(findings: Sequence[Finding], least: Severity) -> None:
    """Print the findings worst first, 80 columns wide, and in the words of this shop's command group."""
    group = payments_here().settings.cli_group
    for severity in Severity:
        those = [each for each in findings if each.severity is severity]
        if those:
            click.secho(f"{_HEADS[severity]} ({len(those)})", bold=True)
            for each in those:
                for line in _lines(each):
                    click.echo(line.replace("flask zeus-cvs", f"flask {group}"))
            click.echo()
        if severity is least:
            break


def _lines(finding: Finding) -> list[str]:
    if finding.severity is Severity.FINE:
        return _wrapped(finding.what, "  ")
    lines = _wrapped(f"{finding.what} [{finding.code}]", "  ")
    cure, *typed = finding.cure.split("\n")
    lines += [*_wrapped(finding.why, "    "), *_wrapped(f"Cure: {cure}", "    ")]
    return [*lines, *("        " + each for each in typed)]


def _wrapped(text: str, indent: str) -> list[str]:
    """Fold a text at spaces."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
