"""``python -m tests.torture``: torture a shop on each database with as many seeds as asked for, and judge it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import click

from tests.servers import Redis, Server, Unavailable, mariadb, postgresql, redis
from tests.torture.run import FULL, SHORT, Place, Report, Size, file_place, run, served_place
from tests.torture.site import PROCESSES

SERVERS: dict[str, Callable[[], Server]] = {"postgresql": postgresql, "mariadb": mariadb}
DATABASES = ("sqlite", *SERVERS)
#: How many findings are shown; the others are in the folder that is kept.
SHOWN = 10


@click.command()
@click.option("--database", type=click.Choice([*DATABASES, "all"]), default="all", show_default=True)
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--seeds", default=1, show_default=True, help="How many seeds, one after the other.")
@click.option("--notices", type=int, default=None, help=f"Calls of the callback.  [default: {FULL.notices}]")
@click.option("--payments", type=int, default=None, help=f"[default: {FULL.payments}]")
@click.option("--short", is_flag=True, help="As make test has it: few notices, few faults.")
@click.option(
    "--celery",
    is_flag=True,
    help="Two machines sell, two deliver with Celery, and the broker goes away, too.",
)
def torture(
    database: str,
    seed: int,
    seeds: int,
    notices: int | None,
    payments: int | None,
    short: bool,
    celery: bool,
) -> None:
    """Kill workers, take the database away and have receivers misbehave while notices flow; then count.

    Exits with 1, and keeps what the run has left, if anything was lost or doubled.
    """
    size = SHORT if short else FULL
    size = replace(size, notices=notices or size.notices, payments=payments or size.payments)
    if not 3 * size.payments <= size.notices <= 5 * size.payments:
        raise click.UsageError("Give each payment three to five notices.")
    if not PROCESSES.exists():
        raise click.UsageError("Workers can only be found, and killed, on Linux.")
    names = DATABASES if database == "all" else (database,)
    good = [tortured(name, range(seed, seed + seeds), size, celery=celery) for name in names]
    sys.exit(0 if all(good) else 1)


def tortured(name: str, seeds: range, size: Size, *, celery: bool) -> bool:
    """Run every seed on one kind of database; tells whether nothing was found."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(SERVERS[name]()) if name in SERVERS else None
            broker = stack.enter_context(redis()) if celery else None
        except Unavailable as error:
            click.echo(f"{name}: left out, because {error} is missing")
            return os.environ.get("CI") != "true"
        good = [one_run(name, server, broker, seed, size) for seed in seeds]
        return all(good)


def one_run(name: str, server: Server | None, broker: Redis | None, seed: int, size: Size) -> bool:
    """Run one seed and print its table; tells whether nothing was found. What a failed run has left is kept."""
    folder = Path(tempfile.mkdtemp(prefix="zeus-torture-"))
    try:
        with place(folder, server, seed) as where:
            report = run(where, seed, size, folder, broker)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    except Exception:
        click.echo(f"{name}, seed {seed}: the run broke off. Its log: {folder}")
        raise
    show(name, seed, report, folder)
    if not report.findings:
        shutil.rmtree(folder)
    return not report.findings


@contextmanager
def place(folder: Path, server: Server | None, seed: int) -> Iterator[Place]:
    if server is None:
        yield file_place(folder, seed)
    else:
        with served_place(server, seed) as where:
            yield where


def show(name: str, seed: int, report: Report, folder: Path) -> None:
    """Print the table of one run, and the first of what was found."""
    click.echo(f"\n{name}, seed {seed}")
    for figure, number in report.figures.items():
        click.echo(f"  {figure:<20}{number:>10,}")
    for finding in report.findings[:SHOWN]:
        click.echo(f"  {finding.kind}: {finding.text}")
    if report.findings:
        click.echo(
            f"  {len(report.findings)} findings with seed {seed} on {name}. All of them, and the log: {folder}"
        )


def interrupted(number: int, _frame: object) -> None:
    click.echo(f"Ended by {signal.Signals(number).name}")
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)  # so that it ends what it has started, as after a Ctrl-C
    torture()
