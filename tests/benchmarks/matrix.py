"""``make bench ARGS=all``: every table that the goals speak of, and whether each goal is met.

Fails if a notice is missing that was answered; for a goal that is missed only with ``--strict``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from types import MappingProxyType

import click

from tests.benchmarks.callback import (
    Cell,
    Runs,
    arena_of,
    insist_on_wrk,
    measure,
    median,
    ratio,
    report,
    run,
)
from tests.benchmarks.store import engine_of
from tests.servers import postgresql

SYNC = "PostgreSQL, 2 sync workers"
THREADS = "PostgreSQL, 2 workers of 4 threads"
SQLITE = "SQLite in WAL with synchronous=FULL, 2 sync workers"
CELLS: Mapping[str, Cell] = MappingProxyType(
    {SYNC: Cell(), THREADS: Cell(threads=4), SQLITE: Cell(database="sqlite")}
)
#: Payments in the smaller and in the larger database.
FEW, MANY = 1_000, 1_000_000
GROWTH = f"PostgreSQL, 2 sync workers, ours with {FEW:,} and with {MANY:,} payments stored"
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Goal:
    """What is promised; `measured` reads it off what was run."""

    words: str
    measured: Callable[[Mapping[str, Runs]], float]
    limit: float
    #: Whether less is better.
    at_most: bool = False

    def line(self, done: Mapping[str, Runs]) -> str:
        sign, found = ("at most" if self.at_most else "at least"), self.measured(done)
        return f"{self.words:<58}{sign:>9} {self.limit:<6g}{found:>7.2f}  {'met' if self.is_met(done) else 'MISSED'}"

    def is_met(self, done: Mapping[str, Runs]) -> bool:
        found = self.measured(done)
        return found <= self.limit if self.at_most else found >= self.limit


def _to_floor(cell: str, contestant: str) -> Callable[[Mapping[str, Runs]], float]:
    return lambda done: ratio(done[cell], contestant)


def _growth(done: Mapping[str, Runs]) -> float:
    return ratio(done[GROWTH], f"{MANY:,}", f"{FEW:,}")


def _memory(done: Mapping[str, Runs]) -> float:
    """MB that a worker of ours has more than one of *floor*, whoever of ours has most."""
    runs = done[SYNC]
    ours = max(median(runs[name], "memory") for name in runs if name.startswith("ours"))
    return (ours - median(runs["floor"], "memory")) / MEBIBYTE


GOALS = (
    Goal("PostgreSQL, no subscriber, to floor", _to_floor(SYNC, "ours"), 1.0),
    Goal("PostgreSQL, deferred, to floor", _to_floor(SYNC, "ours, deferred"), 0.95),
    Goal("PostgreSQL, one subscriber, to floor", _to_floor(SYNC, "ours, one subscriber"), 0.7),
    Goal("SQLite, no subscriber, to floor", _to_floor(SQLITE, "ours"), 1.2),
    Goal(f"PostgreSQL, {MANY:,} payments to {FEW:,}", _growth, 0.9),
    Goal("MB of a worker above floor's", _memory, 8, at_most=True),
)


def grown(rounds: int, seconds: int) -> Runs:
    """Run ours on a small and on a large database in turn."""
    small = Cell(stored=FEW)
    cells = [small, replace(small, stored=MANY)]
    runs: Runs = {f"{cell.stored:,}": [] for cell in cells}
    with contextlib.ExitStack() as stack:
        arenas = [(stack.enter_context(arena_of(cell)), cell) for cell in cells]
        for turn in range(rounds):
            for arena, cell in arenas if turn % 2 else arenas[::-1]:
                runs[f"{cell.stored:,}"].append(run(arena, "ours", cell, seconds))
    return runs


def facts() -> Iterator[str]:
    """Tell what it was run on."""
    packages = ("Flask", "Flask-SQLAlchemy", "SQLAlchemy", "psycopg", "gunicorn")
    yield f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()} {platform.release()}"
    yield f"Python {platform.python_version()}, " + ", ".join(f"{each} {version(each)}" for each in packages)
    yield f"PostgreSQL {_postgresql()}, SQLite {sqlite3.sqlite_version}"


def _postgresql() -> str:
    with postgresql() as server, engine_of(server.uri(server.main)).connect() as connection:
        return str(connection.exec_driver_sql("SHOW server_version").scalar())


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks all", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--strict", action="store_true", help="fail for a goal that is missed")
    given = parser.parse_args(arguments)
    insist_on_wrk()
    for fact in facts():
        click.echo(fact)
    done: dict[str, Runs] = {}
    for title, cell in CELLS.items():
        done[title] = measure(cell, given.rounds, given.seconds)
        _show(title, report(done[title]))
    done[GROWTH] = grown(given.rounds, given.seconds)
    _show(GROWTH, report(done[GROWTH], base=f"{FEW:,}"))
    _show("Goals", (each.line(done) for each in GOALS))
    return int(given.strict and not all(each.is_met(done) for each in GOALS))


def _show(title: str, lines: Iterable[str]) -> None:
    click.echo(f"\n{title}")
    for line in lines:
        click.echo(line)
