"""``flask zeus-cvs purge``: takes customers' details out of old payments."""

from __future__ import annotations

import logging
import time

import click
from flask.cli import with_appcontext

from flask_zeus_cvs.cli.output import payments_here, progress, show_json
from flask_zeus_cvs.purge import MIN_DAYS, Purge, Tally
from flask_zeus_cvs.telemetry import Action, said

log = logging.getLogger(__name__)


@click.command()
@click.option(
    "--older-than",
    "days",
    required=True,
    type=click.IntRange(MIN_DAYS, 36_500),
    metavar="DAYS",
    help=f"Only where nothing has happened for so many days; at least {MIN_DAYS}.",
)
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
@click.option(
    "--notes", is_flag=True, help="Also empty the notes that staff wrote when they resolved reviews."
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@with_appcontext
def purge(days: int, yes: bool, notes: bool, as_json: bool) -> None:
    """Take customers' details out of payments that ended DAYS ago: names, telephone numbers, e-mail addresses.

    They are gone for good, also from notices as they came. Amounts, states, numbers and moments stay. Never touched
    is what can still be paid, has an open review, or a delivery that is due or parked. It can be broken off: the next
    run goes on.

    Example: flask zeus-cvs purge --older-than 400 --yes
    """
    payments = payments_here()
    run = Purge(payments.database, payments.settings.callback_encoding, days, notes=notes)
    began = time.monotonic()
    with progress("Purging" if yes else "Looking", run.old) as step:
        tally = run.run(step, really=yes)
    seconds = round(time.monotonic() - began, 3)
    if yes:
        extra = said(Action.PURGE, count=tally.payments, seconds=seconds)
        log.info("%d payments were purged", tally.payments, extra=extra)
    if as_json:
        kept = {why.name.lower(): number for why, number in tally.kept.items()}
        show_json({"payments": tally.payments, "notices": tally.notices, "kept": kept, "done": yes})
        return
    _tell(tally, days, seconds, done=yes)


def _tell(tally: Tally, days: int, seconds: float, *, done: bool) -> None:
    click.echo(
        f"{'Purged' if done else 'To be purged'}: payments {tally.payments:,}, "
        f"notices that belong to none {tally.notices:,} ({seconds:.1f} s)"
    )
    if tally.kept:
        click.echo(f"Kept, although they were made more than {days} days ago:")
    for why, number in tally.kept.most_common():
        click.echo(f"  {number:,}  {why.value}")
    if not done:
        click.echo("Nothing was changed. Say --yes to take the customers' details out, for good.")
