"""The commands of ``flask zeus-cvs``: what cron runs, and the drill."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from datetime import datetime

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.drill.databases import Choice
from flask_zeus_cvs.drill.play import Play, Result
from flask_zeus_cvs.drill.report import lines
from flask_zeus_cvs.drill.stage import set_up
from flask_zeus_cvs.exceptions import ConfigurationError, UnknownDelivery
from flask_zeus_cvs.payments import Payments, payments_of
from flask_zeus_cvs.settings import Settings

#: Lines of a list that fit a screen; the rest is counted.
MOST_LINES = 50


def make_commands(settings: Settings) -> AppGroup:
    """Make the command group of one app, under the name that its settings give."""
    group = AppGroup(settings.cli_group, help="Convenience-store payment through ZEUS.")
    group.add_command(deliver)
    group.add_command(expire)
    group.add_command(drill)
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
@click.option("--quiet", is_flag=True, help="Say something only if a person is needed: for cron.")
@with_appcontext
def deliver(hasten: bool, retry: tuple[str, ...], dismiss: tuple[str, ...], quiet: bool) -> None:
    """Tell subscribers what is due, and try again what failed.

    Run it every minute from cron; with ZEUS_CVS_DELIVERY=deferred nothing else delivers.
    Exits with 1 while something is parked, or waits for a receiver that is not connected here.

    Example: * * * * *  flask zeus-cvs deliver --quiet
    """
    payments = _payments()
    known = _decided("dismissed", payments.dismiss, dismiss)
    known &= _decided("to be tried again", payments.retry, retry)
    if hasten:
        payments.hasten()
    done = payments.deliver_now()
    if not quiet:
        click.echo(
            f"delivered {done.done}, failed {done.failed}, parked {done.parked}, obsolete {done.obsolete}"
        )
    if _show_parked(payments) | _show_stranded(payments) | (not known):
        raise click.exceptions.Exit(1)


def _decided(what: str, decide: Callable[[str], int], named: tuple[str, ...]) -> bool:
    """Do and say what a person decided; names what there is not, and tells whether all was there."""
    changed, unknown = 0, False
    for which in named:
        try:
            changed += decide(which)
        except UnknownDelivery as error:
            unknown = True
            click.echo(f"Error: {error}.", err=True)
    if named:
        click.echo(f"{what}: {changed}")
    return not unknown


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
@with_appcontext
def expire() -> None:
    """Expire slips that nobody paid, end offers that ran out, and announce deadlines that are near.

    Run it once an hour from cron: ZEUS does not tell of expired slips unless asked to.

    Example: 5 * * * *  flask zeus-cvs expire
    """
    swept = _payments().expire()
    click.echo(f"slips expired {swept.expired}, offers ended {swept.ended}, reminders {swept.reminded}")


@click.command()
@click.option("--payments", "size", default=300, show_default=True, type=click.IntRange(1, 100_000))
@click.option(
    "--weeks", default=4, show_default=True, type=click.IntRange(1, 52), help="Of trade, by its clock."
)
@click.option("--seed", default=1, show_default=True, help="The same seed plays the same lives.")
@click.option("--yes", is_flag=True, help="Do not ask: for scripts.")
@click.option("--keep", is_flag=True, help="Keep the throw-away database, and say where it is.")
@click.option(
    "--database", "uri", default="", metavar="URI", help="Use this database instead of a throw-away one."
)
@click.option("--own-database", is_flag=True, help="Use the app's own, if it holds no payments.")
@click.option("--force", is_flag=True, help="Use a database that holds payments; leave other binds in place.")
@with_appcontext
def drill(
    size: int, weeks: int, seed: int, yes: bool, keep: bool, uri: str, own_database: bool, force: bool
) -> None:
    """Play weeks of trade against this app: its pages, its receivers, its settings, in about a minute.

    ZEUS is the sandbox, in this process: nothing reaches the real one. The database is a throw-away SQLite file. What
    your receivers send to others IS sent, unless they look at flask_zeus_cvs.drill.is_running().

    Exits with 0 if every promise was kept, 1 if one was broken, 2 if the drill could not run.
    """
    if uri and own_database:
        raise click.UsageError("--database and --own-database name two databases: say one.")
    _agree(yes)
    try:
        result = _drilled(size, weeks, seed, Choice(uri=uri, own=own_database, keep=keep, force=force))
    except ConfigurationError as error:
        raise click.UsageError(f"The drill cannot run: {error}") from None
    except (Exception, KeyboardInterrupt) as error:
        click.echo("".join(traceback.format_exception(error)), err=True)
        click.echo(f"The drill was broken off: {type(error).__name__}.", err=True)
        raise click.exceptions.Exit(2) from None
    for line in lines(result):
        click.echo(line)
    if result.broken:
        raise click.exceptions.Exit(1)


def _agree(yes: bool) -> None:
    """Have a person agree that receivers run in earnest, and end here if none does."""
    if yes:
        return
    if not _is_terminal():
        raise click.UsageError("Nobody is here to agree that your receivers run in earnest: say --yes.")
    click.echo("Your receivers really run: the mails, parcels and bookings that they send are sent.")
    if not click.confirm("Play the drill now?"):
        raise click.exceptions.Exit(2)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _drilled(size: int, weeks: int, seed: int, choice: Choice) -> Result:
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    with (
        set_up(app, seed, choice, click.echo) as stage,
        click.progressbar(
            length=size, label=f"Trade of {weeks} weeks" if weeks > 1 else "Trade of a week"
        ) as bar,
    ):
        return Play(stage, size, weeks, lambda: bar.update(1)).run()
