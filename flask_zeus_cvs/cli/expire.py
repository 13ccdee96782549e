"""``flask zeus-cvs expire``: the sweep that cron runs once an hour."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_zeus_cvs.cli.output import payments_here, progress


@click.command()
@click.option("--quiet", is_flag=True, help="Say nothing if all went well: for cron.")
@with_appcontext
def expire(quiet: bool) -> None:
    """Expire slips that nobody paid, end offers that ran out, and announce deadlines that are near.

    Run it once an hour from cron: ZEUS does not tell of expired slips unless asked to.

    Example: 5 * * * *  flask zeus-cvs expire --quiet
    """
    payments = payments_here()
    with progress("Sweeping", payments.count_overdue) as step:
        swept = payments.expire(step)
    if not quiet:
        click.echo(f"slips expired {swept.expired}, offers ended {swept.ended}, reminders {swept.reminded}")
