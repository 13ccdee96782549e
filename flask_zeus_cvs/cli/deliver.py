"""``flask zeus-cvs deliver``: tells subscribers what is due, and lets a person decide about what was given up on."""

from __future__ import annotations

from collections.abc import Callable

import click
from flask.cli import with_appcontext

from flask_zeus_cvs.cli.output import MOST_LINES, day, payments_here, progress, who
from flask_zeus_cvs.exceptions import UnknownDelivery
from flask_zeus_cvs.payments import Payments


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
@click.option("--by", default="", help="Who decided; your login name if left out.")
@click.option("--quiet", is_flag=True, help="Say something only if a person is needed: for cron.")
@with_appcontext
def deliver(hasten: bool, retry: tuple[str, ...], dismiss: tuple[str, ...], by: str, quiet: bool) -> None:
    """Tell subscribers what is due, and try again what failed.

    Run it every minute from cron; with ZEUS_CVS_DELIVERY=deferred nothing else delivers.
    Exits with 1 while something is parked, or waits for a receiver that is not connected here.

    Example: * * * * *  flask zeus-cvs deliver --quiet
    """
    payments = payments_here()
    person = who(by) if retry or dismiss else ""
    known = _decided("dismissed", lambda which: payments.dismiss(which, person), dismiss)
    known &= _decided("to be tried again", lambda which: payments.retry(which, person), retry)
    if hasten:
        payments.hasten()
    with progress("Delivering", payments.count_due) as step:
        done = payments.deliver_now(step)
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
            f"  {each.id}  {day(each.occurred_at)}  {each.kind}  {each.reference or '-'}  {each.subscriber}"
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
