"""The shop behind gunicorn: its processes, its staff's commands, and what the driver does to them.

Only processes of our own are ever ended: gunicorn's master, and its children as the system lists them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORKERS, THREADS = 2, 4
#: Where Linux lists the children of a process, by which gunicorn's workers are found.
PROCESSES = Path("/proc")
#: Seconds that gunicorn may take to come up, and to end; and a staff's command.
COMING_UP, ENDING, COMMAND = 60.0, 20.0, 120.0


class Site:
    """A shop that is running."""

    def __init__(self, master: subprocess.Popen[bytes], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self.environment = environment
        self._master = master
        self.port = self._await_port()

    def workers(self) -> list[int]:
        """The pids of gunicorn's workers now."""
        return children(self._master.pid)

    def kill(self, worker: int) -> bool:
        """Kill one worker at once; False if it is none of ours, or gone."""
        return worker in self.workers() and kill(worker)

    def staff(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run ``flask zeus-cvs …`` as a person of the shop would."""
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "tests.torture.shop", "zeus-cvs", *command],
            env=self.environment,
            cwd=self.log.parent,
            capture_output=True,
            text=True,
            timeout=COMMAND,
        )

    def _await_port(self) -> int:
        give_up = time.monotonic() + COMING_UP
        while time.monotonic() < give_up and self._master.poll() is None:
            found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", self.log.read_text("utf-8"))
            if found and len(self.workers()) == WORKERS:
                return int(found[1])
            time.sleep(0.05)
        raise RuntimeError(f"gunicorn did not start:\n{self.log.read_text('utf-8')[-2000:]}")


@contextmanager
def serving(folder: Path, settings: dict[str, Any]) -> Iterator[Site]:
    """Run the shop of these settings until the block ends."""
    environment = {**os.environ, "SHOP": json.dumps(settings), "PYTHONPATH": str(ROOT)}
    log = folder / f"gunicorn-{len(list(folder.glob('gunicorn-*')))}.log"
    with log.open("wb") as out:
        master = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0"),
                *("-w", str(WORKERS), "--threads", str(THREADS), "-k", "gthread"),
                "tests.torture.shop:create_app()",
            ],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield Site(master, log, environment)
    finally:
        _end(master)


def children(pid: int) -> list[int]:
    """The pids of a process's children now."""
    with suppress(OSError):
        listed = (PROCESSES / f"{pid}/task/{pid}/children").read_text("ascii")
        return [int(each) for each in listed.split()]
    return []


def kill(pid: int) -> bool:
    """Kill a process of ours at once; False if it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _end(master: subprocess.Popen[bytes]) -> None:
    """End gunicorn, gently first."""
    master.terminate()
    try:
        master.wait(ENDING)
    except subprocess.TimeoutExpired:
        for pid in [*children(master.pid), master.pid]:
            kill(pid)
        master.wait(ENDING)
