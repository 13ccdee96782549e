"""The machines that deliver where the shop leaves that to Celery: each a worker, started again when it has died."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers import Redis
from tests.torture.faults import Victim
from tests.torture.site import children, kill
from tests.workers import ALONE, Worker, working

APP = "tests.torture.worker"
#: Machines, and the processes of each that deliver.
MACHINES, CONCURRENCY = 2, 2


class Broker(Victim):
    """Redis, which is crashed with all of its messages, or halted."""

    kinds = ("broker restart", "broker freeze")

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def suffer(self, kind: str, seconds: float, stop: threading.Event) -> None:
        if kind == "broker restart":
            self._redis.stop()
            stop.wait(seconds)
            self._redis.start()
        else:
            self._redis.freeze()
            stop.wait(seconds)
            self._redis.thaw()


class Deliverer:
    """A machine with one worker."""

    def __init__(self, folder: Path, name: str, environment: Mapping[str, str]) -> None:
        self._folder, self._name, self._environment = folder, name, environment
        self._restarting = threading.Lock()
        self._worker = self._start()

    def workers(self) -> list[int]:
        """The pids of the processes that deliver now."""
        return children(self._worker.pid)

    def kill(self, worker: int) -> bool:
        """Kill one process at once; False if it is none of ours, or gone."""
        return worker in self.workers() and kill(worker)

    def die(self) -> list[int]:
        """Kill all of its processes at once, and start the worker again; returns the pids that are gone."""
        with self._restarting:
            gone = [*self.workers(), self._worker.pid]
            self._worker.kill()
            self._worker = self._start()
        return gone

    def end(self) -> None:
        """End, gently first."""
        self._worker.end()
        self._worker.kill()

    def _start(self) -> Worker:
        options = (f"--concurrency={CONCURRENCY}", f"--hostname={self._name}@localhost", *ALONE)
        return Worker(self._folder, self._name, APP, self._environment, "worker", *options)


@contextmanager
def delivering(folder: Path, environment: Mapping[str, str]) -> Iterator[list[Deliverer]]:
    """Run the workers of the shop of this environment, and beat, until the block ends."""
    crew = [Deliverer(folder, f"worker-{number}", environment) for number in range(MACHINES)]
    try:
        with working(folder, "beat", APP, environment, "beat", "--schedule=beat"):
            yield crew
    finally:
        for each in crew:
            each.end()
