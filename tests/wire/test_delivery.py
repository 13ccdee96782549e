"""Delivery beside real servers: whatever receivers do, however processes end, no notice waits and none is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import CLIENT_IP
from tests.wire import delivery_shop
from tests.wire.delivery_shop import Books, Desk, paid
from tests.wire.sites import Site, at_once, command, environment, serving, until

#: Kinds of workers: two processes that take one request each, or four each, as threads.
SYNC = ("-w", "2")
THREADS = ("-w", "2", "--threads", "4")
GEVENT = ("-w", "2", "-k", "gevent")
#: Payments that are made until every worker is busy, at most.
MOST = 30
#: What a slow receiver sleeps; no test waits so long.
SLEEP = 60
#: An answer that took less did not wait for a receiver. It says nothing of speed: the machine may be busy.
NOT_BEHIND_A_RECEIVER = 10
#: A process that took less to end did not wait for a receiver's minute; gunicorn itself kills after 30 seconds.
NOT_BEHIND_ITS_THREAD = 20

Serve = Callable[..., AbstractContextManager[Site]]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def settings(database_uri: str, tmp_path: Path) -> dict[str, Any]:
    return {
        "SQLALCHEMY_DATABASE_URI": database_uri,
        "ZEUS_CVS_CLIENT_IP": CLIENT_IP,
        "SHOP_DESK": str(tmp_path),
        "SHOP_SLIPS": 80,
        "SHOP_SLEEP": SLEEP,
    }


@pytest.fixture
def books(database_uri: str) -> Books:
    return Books(database_uri)


@pytest.fixture
def serve(tmp_path: Path, settings: dict[str, Any]) -> Serve:
    """Run the shop under gunicorn, with options of gunicorn's and settings of the shop."""

    def run(*options: str, **more: Any) -> AbstractContextManager[Site]:
        return serving(tmp_path, *options, shop=delivery_shop, **{**settings, **more})

    return run


def only(*databases: str) -> pytest.MarkDecorator:
    """On these kinds of databases, where others would add nothing."""
    return pytest.mark.parametrize("database_uri", databases, indirect=True)


def pay(site: Site, *numbers: int) -> None:
    """Notify the shop of payments, one after the other; each answer is a 200 that did not wait for a receiver."""
    for number in numbers:
        call = site.call(paid(number))
        assert call.status == 200, site.said()
        assert call.seconds < NOT_BEHIND_A_RECEIVER


def pay_at_once(site: Site, *numbers: int) -> None:
    """Notify the shop of payments, all at the same time."""
    calls = at_once([partial(site.call, paid(number)) for number in numbers])
    assert [call.status for call in calls] == [200] * len(numbers), site.said()
    assert max(call.seconds for call in calls) < NOT_BEHIND_A_RECEIVER


def once(*numbers: int) -> Counter[str]:
    """Each order counted once."""
    return Counter(f"A-{number}" for number in numbers)


def occupy(site: Site, desk: Desk) -> int:
    """Have a receiver asleep in both workers, which may start late; returns how many payments that took."""
    desk.put_to_sleep()
    paying = count()

    def busy() -> int:
        pay(site, min(next(paying), MOST - 1))
        return len(desk.busy())

    until(busy, 2)
    return min(next(paying), MOST)


@pytest.mark.parametrize(
    ("database_uri", "options"),
    [
        pytest.param("sqlite", SYNC, id="sqlite-sync"),
        pytest.param("sqlite", THREADS, id="sqlite-threads"),
        pytest.param("postgresql", THREADS, id="postgresql-threads"),
        pytest.param("mariadb", THREADS, id="mariadb-threads"),
        pytest.param("sqlite", GEVENT, id="sqlite-gevent"),
        pytest.param("postgresql", GEVENT, id="postgresql-gevent"),
        pytest.param("mariadb", (*GEVENT, "--preload"), id="mariadb-gevent-preload"),
    ],
    indirect=["database_uri"],
)
def test_sleeping_receivers_delay_no_notice(
    serve: Serve, desk: Desk, books: Books, options: tuple[str, ...]
) -> None:
    """Law 5: while every worker's delivery sleeps a minute, notices are answered and their connections closed.

    Then all processes are killed in the middle of it; after a new start each order is counted once.
    """
    with serve(*options) as site:
        first = occupy(site, desk)
        pay(site, *range(first, first + 10))
        pay_at_once(site, *range(first + 10, first + 22))
        site.kill()
    assert books.counted() == Counter()
    desk.wake()
    with serve(*options) as site:
        pay(site, 0)
        until(books.counted, once(*range(first + 22)))
        until(books.deliveries, Counter(done=first + 22))


def deliver(settings: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``flask zeus-cvs deliver`` in a process of its own, as cron would."""
    return subprocess.run(
        command("flask", "--app", f"{delivery_shop.__name__}:create_app", "zeus-cvs", "deliver", *options),
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_killed_worker_loses_nothing(serve: Serve, desk: Desk, books: Books) -> None:
    """A worker is killed between its 200 and the end of the delivery: another takes over when the lease is over."""
    with serve(*SYNC) as site:
        desk.put_to_sleep()
        pay(site, 0)
        until(lambda: len(desk.noted("begin")), 1)
        desk.wake()
        ((victim, _),) = desk.noted("begin")
        os.kill(victim, signal.SIGKILL)
        pay(site, 1)
        until(books.counted, once(0, 1))
        until(books.deliveries, Counter(done=2))
        assert victim not in {pid for pid, _ in desk.noted("end")}


@only("postgresql")
def test_cron_delivers_for_workers_that_were_killed(
    serve: Serve, settings: dict[str, Any], desk: Desk, books: Books
) -> None:
    """All workers die at once, some after their 200 and some in a receiver: the command delivers what is left."""
    with serve(*THREADS) as site:
        desk.put_to_sleep()
        pay_at_once(site, *range(6))
        site.kill()
    desk.wake()
    assert books.counted() == Counter()

    def delivered() -> Counter[str]:
        assert deliver(settings).returncode == 0
        return books.counted()

    until(delivered, once(*range(6)))
    assert deliver(settings).stdout == "delivered 0, failed 0, parked 0, obsolete 0\n"


@pytest.mark.parametrize("options", [SYNC, THREADS, GEVENT], ids=["sync", "threads", "gevent"])
@only("sqlite")
def test_a_process_that_ends_finishes_what_it_delivers(
    serve: Serve, desk: Desk, books: Books, settings: dict[str, Any], options: tuple[str, ...]
) -> None:
    """SIGTERM during a receiver of two seconds: the process waits for it, and the order is counted once, not twice."""
    settings["SHOP_SLEEP"] = 2
    with serve(*options) as site:
        occupy(site, desk)
        began = desk.noted("begin")
        assert site.end() < NOT_BEHIND_ITS_THREAD
        assert set(began) <= set(desk.noted("end"))
    assert set(once(*(int(reference[2:]) for _, reference in began))) <= set(books.counted())
    assert set(books.counted().values()) == {1}
    assert_no_complaint(site)


@pytest.mark.parametrize("options", [SYNC, THREADS, GEVENT], ids=["sync", "threads", "gevent"])
@only("sqlite")
def test_a_process_that_ends_does_not_wait_for_a_sleeper(
    serve: Serve, desk: Desk, books: Books, options: tuple[str, ...]
) -> None:
    """SIGTERM during a receiver of a minute: the process ends soon, and its delivery is taken over later."""
    with serve(*options, SHOP_EXIT_SECONDS=1) as site:
        first = occupy(site, desk)
        assert site.end() < NOT_BEHIND_ITS_THREAD
    assert books.counted() == Counter()
    assert_no_complaint(site)
    desk.wake()
    with serve(*options) as site:
        pay(site, 0)
        until(books.counted, once(*range(first)))


@pytest.mark.parametrize(
    "options",
    [
        SYNC,
        THREADS,
        GEVENT,
        (*GEVENT, "--preload"),
    ],
    ids=["sync", "threads", "gevent", "gevent-preload"],
)
@only("sqlite")
def test_a_process_that_delivers_nothing_ends_at_once(
    serve: Serve, books: Books, options: tuple[str, ...]
) -> None:
    """SIGTERM when all is delivered: nobody waits until the time for a last call is over."""
    with serve(*options, SHOP_EXIT_SECONDS=60) as site:
        pay(site, *range(4))
        until(partial(counted_after_a_call, site, books), once(*range(4)))
        assert site.end() < NOT_BEHIND_ITS_THREAD
    assert_no_complaint(site)


@only("sqlite")
def test_a_worker_that_is_replaced_delivers_what_it_took(serve: Serve, desk: Desk, books: Books) -> None:
    """A worker ends with its fifth request, and no other comes: what it took is delivered before its time is over."""
    desk.put_to_sleep()
    with serve("-w", "1", "--max-requests", "5", SHOP_SLEEP=0.3, SHOP_EXIT_SECONDS=25) as site:
        (first,) = site.booted()
        pay(site, *range(5))
        until(lambda: first in site.workers(), False)
        assert books.counted() == once(*range(5))


@only("postgresql")
def test_a_reload_while_receivers_sleep(serve: Serve, desk: Desk, books: Books) -> None:
    """SIGHUP while every old worker's receiver sleeps a minute: new workers answer, and deliver what the old left."""
    with serve(*THREADS, SHOP_EXIT_SECONDS=1) as site:
        first = occupy(site, desk)
        old = desk.busy()
        desk.wake()
        site.reload()
        pay(site, *range(first, first + 5))
        until(lambda: old & set(site.workers()), set())
        pay(site, *range(first + 5, first + 10))
        until(books.counted, once(*range(first + 10)))
        assert not old & {pid for pid, _ in desk.noted("end")}


@pytest.mark.parametrize(
    ("database_uri", "options"),
    [
        pytest.param("sqlite", SYNC, id="sqlite-sync"),
        pytest.param("postgresql", (*THREADS, "--preload"), id="postgresql-threads-preload"),
    ],
    indirect=["database_uri"],
)
def test_workers_that_are_replaced_all_the_time(
    serve: Serve, desk: Desk, books: Books, options: tuple[str, ...]
) -> None:
    """Forty notices for workers that end after five requests each: every one is answered, and counted once."""
    with serve(*options, "--max-requests", "5") as site:
        pay(site, *range(20))
        for number in range(20, 40, 5):
            pay_at_once(site, *range(number, number + 5))
        until(partial(counted_after_a_call, site, books), once(*range(40)))
        assert len(site.booted()) > 5
        assert Counter(reference for _, reference in desk.noted("begin")) == once(*range(40))
    assert_no_complaint(site)


def counted_after_a_call(site: Site, books: Books) -> Counter[str]:
    """What is counted, after one more request: a new worker begins to deliver with its first."""
    pay(site, 0)
    return books.counted()


def assert_no_complaint(site: Site) -> None:
    """Nothing in the log that a shop owner would wonder about; what gevent says of --preload is known."""
    lines = [line for line in site.said().splitlines() if "MonkeyPatchWarning" not in line]
    for word in ("Traceback", "Exception", "Error", "ERROR", "CRITICAL", "Warning"):
        assert word not in "\n".join(lines), site.said()


@pytest.mark.parametrize("options", [THREADS, GEVENT], ids=["threads", "gevent"])
@only("postgresql", "mariadb")
def test_workers_forked_from_a_process_that_has_used_the_database(
    serve: Serve, desk: Desk, books: Books, options: tuple[str, ...]
) -> None:
    """With --preload and open connections in the parent's pool: no worker speaks on a connection of another."""
    with serve(*options, "--preload", SHOP_USE_FIRST=True) as site:
        for number in range(0, 60, 20):
            pay_at_once(site, *range(number, number + 20))
        until(books.counted, once(*range(60)))
        assert Counter(reference for _, reference in desk.noted("begin")) == once(*range(60))
    assert_no_complaint(site)


@pytest.mark.parametrize(
    ("database_uri", "way"),
    [
        pytest.param("sqlite", "fork", id="sqlite-fork"),
        pytest.param("postgresql", "fork", id="postgresql-fork"),
        pytest.param("mariadb", "multiprocessing", id="mariadb-multiprocessing"),
    ],
    indirect=["database_uri"],
)
def test_children_of_a_shop(settings: dict[str, Any], desk: Desk, books: Books, way: str) -> None:
    """A process that has open connections, and delivers, forks four others: all take notices, none is lost or doubled."""
    run_forking(settings, way)
    assert books.counted() == once(*range(50))


@only("postgresql", "mariadb")
def test_children_that_python_did_not_notice(settings: dict[str, Any], books: Books) -> None:
    """Servers written in C fork past Python's hooks: such children leave the parent's connections alone too."""
    run_forking(settings, "fork-unnoticed")
    assert books.counted() == once(*range(50))


def run_forking(settings: dict[str, Any], way: str) -> None:
    """Run the shop that forks; its database has been used by then."""
    settings["SHOP_USE_FIRST"] = True
    delivery_shop.create_app(settings)
    ran = subprocess.run(
        command("tests.wire.forking", way),
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr


def delivered_by(ran: subprocess.CompletedProcess[str]) -> int:
    """How many deliveries a ``deliver`` command says that it made."""
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = re.match(r"delivered (\d+), failed 0, parked 0, obsolete 0$", ran.stdout)
    assert found is not None, ran.stdout
    return int(found[1])


@only("sqlite", "mariadb")
def test_two_commands_beside_running_workers(
    serve: Serve, settings: dict[str, Any], desk: Desk, books: Books
) -> None:
    """Two ``deliver`` at once, while workers deliver too: each order is counted once, by whoever had it."""
    with serve(*SYNC) as site:
        pay(site, *range(20))
        acts: list[Callable[[], object]] = [lambda: delivered_by(deliver(settings))] * 2
        acts.append(lambda: pay(site, *range(20, 40)))
        assert len(at_once(acts)) == 3
        until(books.counted, once(*range(40)))
        assert Counter(reference for _, reference in desk.noted("begin")) == once(*range(40))
    assert_no_complaint(site)


@only("postgresql")
def test_deferred_delivery_is_left_to_the_command(
    serve: Serve, settings: dict[str, Any], desk: Desk, books: Books
) -> None:
    """With ZEUS_CVS_DELIVERY=deferred no worker has a thread that delivers; two commands at once do it all, once."""
    settings["ZEUS_CVS_DELIVERY"] = "deferred"
    with serve(*THREADS) as site:
        pay_at_once(site, *range(20))
        for _ in range(10):
            threads = requests.get(f"{site.url}/process", timeout=30).json()["threads"]
            assert not [name for name in threads if name.startswith(f"zeus-cvs-{delivery_shop.__name__}")]
        assert books.counted() == Counter()
        ran = at_once([partial(deliver, settings)] * 2)
        assert sum(map(delivered_by, ran)) == 20
    assert books.counted() == once(*range(20))
    assert Counter(reference for _, reference in desk.noted("begin")) == once(*range(20))
    assert_no_complaint(site)


@only("sqlite")
def test_no_transaction_lets_other_greenlets_run(settings: dict[str, Any]) -> None:
    """SQLite has one writer: another greenlet would wait for it in C, and keep it from going on."""
    delivery_shop.create_app(settings)
    told = subprocess.run(
        command("tests.wire.greenlets"),
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.stdout == "0\n", told.stderr
