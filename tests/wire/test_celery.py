"""Two machines that sell and two that deliver, one database, one broker: whatever dies, every effect is there once."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CLIENT_IP
from tests.servers import Redis, Server
from tests.wire import queue_shop
from tests.wire.delivery_shop import Books, Desk, paid
from tests.wire.sites import Site, at_once, environment, serving, until
from tests.wire.test_delivery import NOT_BEHIND_A_RECEIVER, once, pay
from tests.workers import ALONE, Worker, working

SLIPS = 60


@pytest.fixture
def uri(postgresql: Server, closing: ExitStack) -> str:
    uri = postgresql.create()
    closing.callback(postgresql.drop, uri)
    return uri


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def settings(uri: str, redis: Redis, tmp_path: Path) -> dict[str, Any]:
    return {
        "SQLALCHEMY_DATABASE_URI": uri,
        "ZEUS_CVS_CLIENT_IP": CLIENT_IP,
        "ZEUS_CVS_DELIVERY": "deferred",
        "SHOP_DESK": str(tmp_path),
        "SHOP_SLIPS": SLIPS,
        "SHOP_USE_FIRST": True,
        "CELERY": {
            "broker_url": redis.url,
            "broker_connection_retry_on_startup": True,
            "beat_max_loop_interval": 0.5,
            "beat_schedule": {"zeus_cvs.deliver_due": {"task": "zeus_cvs.deliver_due", "schedule": 1.0}},
        },
    }


class Machines:
    """What the shop runs on, each machine in a folder of its own."""

    def __init__(self, folder: Path, settings: dict[str, Any], stack: ExitStack) -> None:
        self._folder = folder
        self._settings = settings
        self._stack = stack

    def sell(self, name: str) -> Site:
        folder = self._new(name)
        site = serving(folder, "-w", "2", "--preload", shop=queue_shop, **self._settings)
        return self._stack.enter_context(site)

    def deliver(self, name: str) -> Worker:
        return self._celery(name, "worker", "--concurrency=2", f"--hostname={name}@localhost", *ALONE)

    def beat(self) -> Worker:
        return self._celery("beat", "beat", "--schedule=schedule")

    def _celery(self, name: str, *options: str) -> Worker:
        of = environment(self._settings)
        run = working(self._new(name), name, "tests.wire.queue_worker", of, *options, "--loglevel=INFO")
        return self._stack.enter_context(run)

    def _new(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder


@pytest.fixture
def machines(tmp_path: Path, settings: dict[str, Any], closing: ExitStack) -> Machines:
    return Machines(tmp_path, settings, closing)


def test_machines_and_broker_die_and_every_effect_is_there_once(
    machines: Machines, redis: Redis, desk: Desk, uri: str
) -> None:
    """A worker's machine dies in the middle of a receiver, then the broker with all of its messages.

    No notice waits for either of them. What had been begun is delivered by the other worker once its lease is over,
    what the broker lost is found by the sweep, and nothing is delivered twice.
    """
    books = Books(uri)
    one, other = machines.sell("one"), machines.sell("other")
    workers = [machines.deliver("first"), machines.deliver("second")]
    desk.put_to_sleep()
    pay(one, 0)
    until(lambda: len(desk.noted("begin")), 1)
    machines.beat()
    ((asleep, _),) = desk.noted("begin")
    (victim,) = [each for each in workers if each.has(asleep)]
    pay(other, 1)
    victim.kill()
    desk.wake()
    pay_at_both(one, other, range(2, 20))
    until(books.counted, once(*range(20)))
    assert asleep not in {pid for pid, _ in desk.noted("end")}

    redis.stop()
    pay_at_both(one, other, range(20, 30))
    redis.start()
    machines.deliver("third")
    pay_at_both(one, other, range(30, 40))
    redis.restart()
    pay_at_both(one, other, range(40, SLIPS))
    until(books.counted, once(*range(SLIPS)))
    until(books.deliveries, Counter(done=SLIPS))


def pay_at_both(one: Site, other: Site, numbers: range) -> None:
    """Notify both machines of the same payments at the same time, as ZEUS may when an answer was lost."""
    calls = at_once([partial(site.call, paid(number)) for number in numbers for site in (one, other)])
    assert [call.status for call in calls] == [200] * 2 * len(numbers), one.said() + other.said()
    assert max(call.seconds for call in calls) < NOT_BEHIND_A_RECEIVER
