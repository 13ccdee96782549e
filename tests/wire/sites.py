"""Shops behind a real gunicorn, as a customer's browser and ZEUS reach them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from tests.wire import small_shop

T = TypeVar("T")

FORM = {"name": "ヤマダ　タロウ", "phone": "09012345678", "email": "taro@example.com", "store": "D030"}
ROOT = Path(__file__).parents[2]
CALLBACK = "/zeus-cvs/callback"
#: Newer gunicorns listen for commands on a socket in the user's home; older ones ignore this line.
QUIET = "control_socket_disable = True\n"
#: Has each worker say that it takes requests and signals: one that is told to end before it does goes on.
READY = 'def post_worker_init(worker):\n    worker.log.info("Worker is ready: %s", worker.pid)\n'
#: Seconds that a test waits for what must come; on a busy machine everything takes long.
PATIENCE = 60.0


@dataclass(frozen=True)
class Call:
    """What a call of the shop came to; seconds until the shop had closed the connection."""

    status: int
    seconds: float


class Site:
    """A shop behind gunicorn: its address, its log, and its processes, which are a group of their own."""

    def __init__(self, url: str, server: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self._server = server
        self._log = log

    def sell(self, reference: str) -> dict[str, str]:
        return dict(requests.post(f"{self.url}/sell/{reference}", timeout=30).json())

    def orders(self) -> dict[str, list[Any]]:
        return dict(requests.get(f"{self.url}/orders", timeout=30).json())

    def reviews(self) -> list[str]:
        return list(requests.get(f"{self.url}/reviews", timeout=30).json())

    def connections(self) -> int:
        return int(requests.get(f"{self.url}/connections", timeout=30).json())

    def notify(self, query: str, path: str = CALLBACK, **headers: str) -> tuple[int, str]:
        """Call the shop as ZEUS would; returns status and body."""
        answer = requests.get(f"{self.url}{path}?{query}", headers=headers, timeout=30)
        return answer.status_code, answer.text

    def call(self, query: str) -> Call:
        """Call the shop as ZEUS would, and wait until it has closed the connection."""
        place = urlsplit(self.url)
        request = f"GET {CALLBACK}?{query} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n"
        answer = b""
        began = time.monotonic()
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            connection.sendall(request.encode("ascii"))
            while piece := connection.recv(65536):
                answer += piece
        return Call(int(answer.split()[1]) if answer else 0, time.monotonic() - began)

    def apply(self, reference: str) -> tuple[dict[str, str], str]:
        """Sell, fill in the form and send it; returns the order's addresses and the page that came."""
        order = self.sell(reference)
        browser, fields = self.opened(order)
        return order, browser.post(self.url + order["checkout"], data=fields, timeout=60).text

    def opened(self, order: dict[str, str]) -> tuple[requests.Session, dict[str, str]]:
        """Open the form; returns the browser and the filled fields."""
        browser = requests.Session()
        page = browser.get(self.url + order["checkout"], timeout=30)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
        assert token is not None
        return browser, {**FORM, "amount": "3000", "csrf_token": token[1]}

    def said(self) -> str:
        """What gunicorn and its workers have logged."""
        return self._log.read_text("utf-8")

    def booted(self) -> list[int]:
        """The processes of all workers that there were."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.said())]

    def workers(self) -> list[int]:
        """The processes of the workers that there are."""
        return [pid for pid in self.booted() if _runs(pid)]

    def reload(self) -> None:
        """Have gunicorn put new workers in the place of all."""
        self._server.send_signal(signal.SIGHUP)

    def end(self) -> float:
        """End gunicorn and its workers gracefully; returns the seconds that they took."""
        began = time.monotonic()
        self._server.terminate()
        self._server.wait(PATIENCE)
        return time.monotonic() - began

    def kill(self) -> None:
        """End all of its processes at once, as a power failure would."""
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait(PATIENCE)


@contextmanager
def serving(
    folder: Path, *options: str, shop: ModuleType = small_shop, conf: str = "", **settings: Any
) -> Iterator[Site]:
    """Run a shop under gunicorn on a free port until the block ends; ``conf`` goes into its gunicorn.conf.py."""
    shop.create_app(settings)
    folder.joinpath("gunicorn.conf.py").write_text(conf + QUIET + READY)
    log = folder / f"gunicorn-{len(list(folder.glob('gunicorn-*')))}.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            command("gunicorn", "-b", "127.0.0.1:0", *options, f"{shop.__name__}:create_app()"),
            env=environment(settings),
            stdout=out,
            stderr=out,
            cwd=folder,
            start_new_session=True,
        )
    site = Site("", server, log)
    try:
        site.url = address_in(log, server, workers=_workers(options))
        yield site
        site.end()
    finally:
        site.kill()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def command(module: str, *arguments: str) -> list[str]:
    """A command of Python's, as this environment has it."""
    return [sys.executable, "-m", module, *arguments]


def environment(settings: dict[str, Any]) -> dict[str, str]:
    """The environment of a shop's process."""
    return {**os.environ, "SHOP": json.dumps(settings), "PYTHONPATH": str(ROOT)}


def _workers(options: Sequence[str]) -> int:
    """How many workers gunicorn is told to have."""
    return int(options[options.index("-w") + 1]) if "-w" in options else 1


def address_in(log: Path, server: subprocess.Popen[bytes], workers: int) -> str:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        said = log.read_text("utf-8")
        found = re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", said)
        if found and said.count("Worker is ready") >= workers:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"gunicorn did not start:\n{log.read_text('utf-8')}")


def at_once(acts: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of it at the same moment, each in a thread."""
    start = threading.Barrier(len(acts))
    answers: list[T] = []

    def run(act: Callable[[], T]) -> None:
        start.wait(30)
        answers.append(act())

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return answers


def until(found: Callable[[], object], wanted: object) -> None:
    """Wait until something is as wanted."""
    end = time.monotonic() + PATIENCE
    while found() != wanted:
        assert time.monotonic() < end, found()
        time.sleep(0.05)
