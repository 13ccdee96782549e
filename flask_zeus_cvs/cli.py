"""The commands of ``flask zeus-cvs``: what cron runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import click
from flask import current_app
from flask.cli import AppGroup

from flask_zeus_cvs.exceptions import UnknownDelivery
from flask_zeus_cvs.models import JST
from flask_zeus_cvs.payments import Payments, payments_of
from flask_zeus_cvs.settings import Settings

#: Lines of a list that fit a screen; the rest is counted.
MOST_LINES = 50


def make_commands(settings: Settings) -> AppGroup:
    """Make the command group of one app, under the name that its settings give."""
    group = AppGroup(settings.cli_group, help="Convenience-store payment through ZEUS.")
    group.add_command(deliver)
    group.add_command(expire)
    return group


def _payments() -> Payments:
    return payments_of(current_app._get_current_object())  # type: ignore[attr-defined]


@click.command()
@click.option("--now", "hasten", is_flag=True, help="Also what waits for its next try.")
@click.option(
    "--retry",
    multiple=True,
    metavar="WHICH",
    help="Try again what is parked: a delivery's number, a receiver's name, or 'all'.",
)
@click.option(
    "--dismiss",
    multiple=True,
    metavar="WHICH",
    help="Give up for good what is parked, or waits for a receiver that is gone.",
)
def deliver(hasten: bool, retry: tuple[str, ...], dismiss: tuple[str, ...]) -> None:
    """Tell subscribers what is due, and try again what failed.

    Run it every minute from cron; with ZEUS_CVS_DELIVERY=deferred nothing else delivers.
    Exits with 1 while something is parked, or waits for a receiver that is not connected here.

    Example: * * * * *  flask zeus-cvs deliver
    """
    payments = _payments()
    _say_changed("dismissed", [_decided(payments.dismiss, which) for which in dismiss])
    _say_changed("to be tried again", [_decided(payments.retry, which) for which in retry])
    if hasten:
        payments.hasten()
    done = payments.deliver_now()
    click.echo(
        f"delivered {done.done}, failed {done.failed}, parked {done.parked}, no longer true {done.obsolete}"
    )
    if _show_parked(payments) | _show_stranded(payments):
        raise click.exceptions.Exit(1)


def _decided(decide: Callable[[str], int], which: str) -> int:
    try:
        return decide(which)
    except UnknownDelivery as error:
        raise click.ClickException(f"{error}. 'flask zeus-cvs deliver' lists them.") from None


def _say_changed(what: str, counts: list[int]) -> None:
    if counts:
        click.echo(f"{what}: {sum(counts)}")


def _show_parked(payments: Payments) -> bool:
    parked = payments.parked()
    if not parked:
        return False
    click.echo(f"parked, waiting for a person: {len(parked)}")
    for each in parked[:MOST_LINES]:
        click.echo(
            f"  {each.id}  {_day(each.occurred_at)}  {each.kind}  {each.reference or '-'}  {each.subscriber}"
        )
        click.echo(f"      {_tries(each.attempts)}, last: {each.last_error}")
    if len(parked) > MOST_LINES:
        click.echo(f"  and {len(parked) - MOST_LINES} more")
    click.echo(
        "Mend the cause, then --retry NUMBER, --retry RECEIVER or --retry all; --dismiss gives up for good."
    )
    return True


def _show_stranded(payments: Payments) -> bool:
    stranded = payments.stranded()
    if not stranded:
        return False
    click.echo("waiting for receivers that are not connected here:")
    for name, count in stranded.items():
        click.echo(f"  {name}  {count}")
    click.echo("Connect them where this command runs too, or give them up: --dismiss RECEIVER.")
    return True


def _tries(number: int) -> str:
    return f"{number} try" if number == 1 else f"{number} tries"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(JST):%Y-%m-%d %H:%M} JST"


@click.command()
def expire() -> None:
    """Expire slips that nobody paid, end offers that ran out, and announce deadlines that are near.

    Run it once an hour from cron: ZEUS does not tell of expired slips unless asked to.

    Example: 5 * * * *  flask zeus-cvs expire
    """
    swept = _payments().expire()
    click.echo(f"slips expired {swept.expired}, offers ended {swept.ended}, reminders {swept.reminded}")
