"""Celery's processes: each a group of its own, as if it were alone on its machine, and ended as a machine would be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds that a worker may take to finish what it is at.
ENDING = 20.0
#: Connections to other workers, which they do without here.
ALONE = ("--without-gossip", "--without-mingle", "--without-heartbeat")


class Worker:
    """A worker with the processes that it forks, or beat; ``options`` are Celery's own, the first of them its command."""

    def __init__(
        self, folder: Path, name: str, app: str, environment: Mapping[str, str], *options: str
    ) -> None:
        self._log = folder / f"celery-{name}.log"
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--app", app, *options],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def has(self, pid: int) -> bool:
        """Tell whether a process is one of this worker's."""
        try:
            return os.getpgid(pid) == self.pid
        except ProcessLookupError:
            return False

    def said(self) -> str:
        """What it has logged."""
        return self._log.read_text("utf-8")

    def end(self) -> None:
        """Have it finish what it is at, then end."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)

    def kill(self) -> None:
        """End all of its processes at once, as a power failure would."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(ENDING)


@contextmanager
def working(
    folder: Path, name: str, app: str, environment: Mapping[str, str], *options: str
) -> Iterator[Worker]:
    """Run a worker, or beat, until the block ends."""
    worker = Worker(folder, name, app, environment, *options)
    try:
        yield worker
        worker.end()
    finally:
        worker.kill()
