"""``flask zeus-cvs drill``: plays weeks of trade against the shop."""

from __future__ import annotations

import sys
import traceback

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_zeus_cvs.drill.databases import Choice
from flask_zeus_cvs.drill.play import Play, Result
from flask_zeus_cvs.drill.report import lines
from flask_zeus_cvs.drill.stage import set_up
from flask_zeus_cvs.exceptions import ConfigurationError


@click.command()
@click.option(
    "--payments",
    "size",
    default=300,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="How many; with 30 or more, every kind of life is played.",
)
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

    Example: flask zeus-cvs drill --payments 300
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
