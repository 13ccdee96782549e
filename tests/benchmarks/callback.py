"""The callback against the least that could be done: requests per second, latency, CPU and memory, as ratios.

Each round runs every contestant once, on a fresh copy of the same database, behind real gunicorn, from wrk. A run fails
if a notice that was answered with 200 is not in the database.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import click
import sqlalchemy as sa

from flask_zeus_cvs.models import Delivery, Notification
from tests.benchmarks.contestants import CONTESTANTS, EFFECTS, NOTICES
from tests.benchmarks.processes import cpu_seconds, family, memory
from tests.benchmarks.store import engine_of, fill, settle
from tests.servers import PostgreSQL

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("notices.lua")
#: Applications whose notices warm the workers up, and are not measured; of few that are stored, a fifth.
WARM_UP = 2000
#: Seconds for gunicorn to come up, and for subscribers to be told of the rest.
PATIENCE = 60.0
#: Seconds in which a server deals with what wrk has left behind.
SETTLED_WITHIN = 10.0
_OURS = sa.select(sa.func.substr(Notification.order_no, 1, 8), Notification.status)
_THEIRS = sa.select(sa.func.substr(NOTICES.c.identity, 1, 8), sa.func.substr(NOTICES.c.identity, 12))
_FIGURES = re.compile(r"^FIGURES (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """What the contestants run on, and against how much that is stored."""

    database: str = "postgresql"
    workers: int = 2
    #: Of each worker; 1 means sync workers.
    threads: int = 1
    #: Payments, of which each gets two notices.
    stored: int = 20_000
    contestants: tuple[str, ...] = tuple(CONTESTANTS)

    @property
    def warm_up(self) -> int:
        return min(WARM_UP, self.stored // 5)

    @property
    def connections(self) -> int:
        """What wrk holds open: each worker has one more at hand when it has answered."""
        return self.workers * self.threads * 2


@dataclass(frozen=True)
class Run:
    """One contestant in one round. Times in seconds, memory in bytes."""

    rate: float
    p50: float
    p99: float
    cpu_app: float
    cpu_database: float
    memory: int


class Arena:
    """A database of one kind with what every contestant finds in it, and copies of it."""

    def __init__(self, kind: str, stored: int, folder: Path) -> None:
        self._folder = folder
        self._server = PostgreSQL(durable=True) if kind == "postgresql" else None
        self._uri = self._server.create() if self._server else f"sqlite:///{folder / 'base.db'}"
        self._copies = 0
        fill(self._uri, stored)

    @property
    def pid(self) -> int | None:
        process = self._server._process if self._server else None
        return process.pid if process else None

    @contextlib.contextmanager
    def copy(self) -> Iterator[str]:
        """Give a copy of the database; it is gone afterwards."""
        if self._server is None:
            self._copies += 1
            path = self._folder / f"copy{self._copies}.db"
            shutil.copyfile(self._folder / "base.db", path)
            yield f"sqlite:///{path}"
            for each in self._folder.glob(f"{path.name}*"):
                each.unlink()
            return
        uri = self._server.copy(self._uri)
        settle(engine_of(uri))
        yield uri
        self._server.drop(uri)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


@contextlib.contextmanager
def serving(name: str, uri: str, workers: int, threads: int) -> Iterator[tuple[int, int]]:
    """Run gunicorn with one contestant; gives its port and its process."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--workers",
            str(workers),
            "--bind",
            f"fd://{listener.fileno()}",
        ]
        command += ["--threads", str(threads)] if threads > 1 else []
        command += ["--log-level", "warning", "tests.benchmarks.contestants:create()"]
        environment = {**os.environ, "BENCH_CONTESTANT": name, "BENCH_URI": uri}
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=[listener.fileno()], start_new_session=True
        )
    try:
        give_up = time.monotonic() + PATIENCE
        while len(family(child.pid)) <= workers or not _answers(port):
            if child.poll() is not None or time.monotonic() > give_up:
                raise click.ClickException("gunicorn did not come up; its messages are above.")
            time.sleep(0.05)
        yield port, child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()


def _answers(port: int) -> bool:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 404
        except OSError:
            return False


def shoot(
    port: int, first: int, count: int, connections: int, seconds: int
) -> tuple[int, float, float, float]:
    """Send notices of ``count`` applications for so long; returns answers, and seconds: in all, p50, p99."""
    command = [
        "wrk",
        "-t",
        "1",
        "-c",
        str(connections),
        "-d",
        str(seconds),
        "--timeout",
        "30",
        "-s",
        str(SCRIPT),
    ]
    command += [f"http://127.0.0.1:{port}/", "--", str(first), str(count)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout
    found = _FIGURES.search(said)
    if found is None:
        raise click.ClickException(f"wrk said nothing of use:\n{said}")
    answers, took, broken, refused, late, p50, p99 = map(int, found.groups())
    if broken or refused or late:
        raise click.ClickException(f"{refused} refused, {broken} broken off, {late} too late: no fair run")
    return answers, took / 1e6, p50 / 1e6, p99 / 1e6


def run(arena: Arena, name: str, cell: Cell, seconds: int) -> Run:
    first = 1 + cell.warm_up
    with arena.copy() as uri, serving(name, uri, cell.workers, cell.threads) as (port, pid):
        shoot(port, 1, cell.warm_up, cell.connections, 2)
        engine = engine_of(uri)
        pids = family(pid)
        _drain(engine, name)
        spent = cpu_seconds(pids), _cpu_of(arena)
        began = time.monotonic()
        answers, took, p50, p99 = shoot(port, first, cell.stored - cell.warm_up, cell.connections, seconds)
        took += _drain(engine, name, began + took)
        used = cpu_seconds(pids) - spent[0], _cpu_of(arena) - spent[1]
        if name != "null":
            _insist_on_all(engine, name, first, answers)
        largest = max(memory(each) for each in pids[1:])
        return Run(answers / took, p50, p99, used[0] / answers, used[1] / answers, largest)


def _cpu_of(arena: Arena) -> float:
    return cpu_seconds(family(arena.pid)) if arena.pid else 0.0


def _insist_on_all(engine: sa.Engine, name: str, first: int, answers: int) -> None:
    """Raise if a notice is missing that was answered with 200.

    wrk does not tell which were answered, but it sends them in the order of their numbers. At its end it leaves one of
    each connection without an answer; a server takes these as well in a moment, and then no number is missing.
    """
    give_up = time.monotonic() + SETTLED_WITHIN
    while (gaps := _gaps(stored := _stored(engine, name, first), first)) and time.monotonic() < give_up:
        time.sleep(0.1)
    missing = max(gaps, answers - sum(map(len, stored.values())))
    if missing > 0:
        raise click.ClickException(f"{name}: {missing} notices are missing, and {answers} were answered")


def _gaps(stored: Mapping[str, set[int]], first: int) -> int:
    """Count the numbers that were passed over; the first is one, as wrk makes it for a trial."""
    return sum(len(set(range(first + 1, max(numbers))) - numbers) for numbers in stored.values())


def _stored(engine: sa.Engine, name: str, first: int) -> dict[str, set[int]]:
    """Return the numbers of the orders whose notices are there, by status; only those from ``first`` on."""
    stored: dict[str, set[int]] = {}
    with engine.connect() as connection:
        for number, status in connection.execute(_OURS if name.startswith("ours") else _THEIRS):
            if int(number) >= first:
                stored.setdefault(status, set()).add(int(number))
    return stored


def _drain(engine: sa.Engine, name: str, since: float = 0.0) -> float:
    """Wait until the one subscriber has been told of everything; returns the seconds that this took."""
    if name != "ours, one subscriber":
        return 0.0
    undone = sa.select(sa.func.count()).where(Delivery.state != "done")
    told = sa.select(sa.func.count()).select_from(EFFECTS)
    give_up = time.monotonic() + PATIENCE * 2
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.scalar(undone):
            if time.monotonic() > give_up:
                raise click.ClickException("The subscriber was not told of everything in time.")
            time.sleep(0.05)
        assert connection.scalar(told)
    return max(0.0, time.monotonic() - since) if since else 0.0


Runs = dict[str, list[Run]]


def measure(cell: Cell, rounds: int, seconds: int) -> Runs:
    """Run each contestant once in each round, every round in another order."""
    names = list(cell.contestants)
    runs: Runs = {each: [] for each in names}
    with arena_of(cell) as arena:
        for turn in range(rounds):
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                runs[name].append(run(arena, name, cell, seconds))
    return runs


@contextlib.contextmanager
def arena_of(cell: Cell) -> Iterator[Arena]:
    """Fill a database of a cell's kind; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="zeus-bench-") as folder:
        arena = Arena(cell.database, cell.stored, Path(folder))
        try:
            yield arena
        finally:
            arena.close()


def ratio(runs: Runs, name: str, base: str = "floor") -> float:
    """Return the median of the ratios of requests per second to those of ``base``, each in one round."""
    return statistics.median(
        each.rate / other.rate for each, other in zip(runs[name], runs[base], strict=True)
    )


def median(runs: Sequence[Run], figure: str) -> float:
    return float(statistics.median(getattr(each, figure) for each in runs))


def report(runs: Runs, base: str = "floor") -> Iterator[str]:
    """Write medians, and the ratio to ``base``."""
    head = ("", "req/s", f"to {base}", "p50 ms", "p99 ms", "CPU app ms", "CPU db ms", "MB/worker")
    yield "{:<22}{:>9}{:>10}{:>9}{:>9}{:>12}{:>11}{:>11}".format(*head)
    for name, done in runs.items():
        middle = {key: median(done, key) for key in Run.__dataclass_fields__}
        yield (
            f"{name:<22}{middle['rate']:>9,.0f}{ratio(runs, name, base):>10.2f}"
            f"{middle['p50'] * 1e3:>9.2f}{middle['p99'] * 1e3:>9.2f}"
            f"{middle['cpu_app'] * 1e3:>12.2f}{middle['cpu_database'] * 1e3:>11.2f}{middle['memory'] / 2**20:>11.1f}"
        )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks callback", description=__doc__)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each worker; 1 means sync workers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument(
        "--stored", type=int, default=20_000, help="payments in the database; each gets two notices"
    )
    parser.add_argument("--only", nargs="*", choices=list(CONTESTANTS), help="besides floor")
    given = parser.parse_args(arguments)
    insist_on_wrk()
    names = tuple(each for each in CONTESTANTS if not given.only or each in {"floor", *given.only})
    cell = Cell(given.database, given.workers, given.threads, given.stored, names)
    for line in report(measure(cell, given.rounds, given.seconds)):
        click.echo(line)
    return 0


def insist_on_wrk() -> None:
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk is missing. On Debian and Ubuntu: apt-get install wrk")
