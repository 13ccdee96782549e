"""The commands of ``flask zeus-cvs``: what cron runs."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import AppGroup

from flask_zeus_cvs.payments import Payments, payments_of
from flask_zeus_cvs.settings import Settings


def make_commands(settings: Settings) -> AppGroup:
    """Make the command group of one app, under the name that its settings give."""
    group = AppGroup(settings.cli_group, help="Convenience-store payment through ZEUS.")
    group.add_command(deliver)
    group.add_command(expire)
    return group


def _payments() -> Payments:
    return payments_of(current_app._get_current_object())  # type: ignore[attr-defined]


@click.command()
def deliver() -> None:
    """Tell subscribers what is due, and try again what failed.

    Run it every minute from cron; with ZEUS_CVS_DELIVERY=deferred nothing else delivers.
    Exits with 1 when a delivery was given up on, or waits for a receiver that is not connected here.

    Example: * * * * *  flask zeus-cvs deliver
    """
    done = _payments().deliver_now()
    click.echo(
        f"delivered {done.done}, to be tried again {done.failed}, parked {done.parked}, obsolete {done.obsolete}"
    )
    waiting = _payments().stranded()
    if waiting:
        click.echo(f"waiting for receivers that are not connected here: {', '.join(waiting)}")
    if done.parked or waiting:
        raise click.exceptions.Exit(1)


@click.command()
def expire() -> None:
    """Expire slips that nobody paid, end offers that ran out, and announce deadlines that are near.

    Run it once an hour from cron: ZEUS does not tell of expired slips unless asked to.

    Example: 5 * * * *  flask zeus-cvs expire
    """
    swept = _payments().expire()
    click.echo(f"slips expired {swept.expired}, offers ended {swept.ended}, reminders {swept.reminded}")
