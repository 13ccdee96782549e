"""A shop that runs, and someone who visits it."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

ROOT = Path(__file__).resolve().parents[2]
#: Seconds for anything that a test waits for.
PATIENCE = 30

DETAILS = {
    "name": "山田 花子",
    "kana": "ヤマダ ハナコ",
    "phone": "090-1234-5678",
    "email": "hanako@example.com",
    "address": "東京都千代田区見本町1-2-3",
}


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve the app over real HTTP on a free port; yields the address."""
    server = ThreadedWSGIServer("127.0.0.1", 0, app, handler=_Quiet)
    server.daemon_threads = False  # so that closing waits for requests, which then have closed their sessions
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _staff(password: str | None) -> dict[str, str]:
    credentials = base64.b64encode(f"staff:{password}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"} if password else {}


class Visitor:
    """A customer with a browser of sorts: keeps cookies, follows redirects, sends the token of the last page."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.page = ""
        self.url = ""
        self.status = 0
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        self._session.close()

    def open(self, path: str, password: str | None = None) -> str:
        """Open a page and return it."""
        return self._remember(self._session.get(self._at(path), headers=_staff(password), timeout=PATIENCE))

    def send(self, path: str, password: str | None = None, **fields: str) -> str:
        """Send a form with the token of the page last seen; return the page that it leads to."""
        data = {"csrf_token": self.token(), **fields}
        return self._remember(
            self._session.post(self._at(path), data=data, headers=_staff(password), timeout=PATIENCE)
        )

    def token(self) -> str:
        found = re.search(r'name="csrf_token"[^>]*value="([^"]*)"', self.page)
        return unescape(found[1]) if found else ""

    def order(self, slug: str = "sencha", quantity: int = 1, **details: str) -> str:
        """Put goods into the cart and order them; return the checkout page."""
        self.open(f"/goods/{slug}")
        self.send("/cart/add", slug=slug, quantity=str(quantity))
        self.open("/order")
        return self.send_order(**details)

    def send_order(self, **details: str) -> str:
        """Fill in the order form that is open, and send it with the total that it shows."""
        total = re.search(r'name="total" value="(\d+)"', self.page)
        assert total is not None, self.page
        return self.send("/order", **{"total": total[1], **DETAILS, **details})

    def apply(self, store: str) -> str:
        """Choose a store on the checkout page; return the result page."""
        return self.send(
            self.url, name="ヤマダ ハナコ", phone="09012345678", email="hanako@example.com", store=store
        )

    def back_to_order(self) -> str:
        """Follow the link to the order; its address is then `url`."""
        found = re.search(r'href="(/orders/[^"]+)"', self.page)
        assert found, "there is no way back to the order"
        return self.open(found[1])

    def _at(self, path: str) -> str:
        return path if path.startswith("http") else self.address + path

    def _remember(self, response: requests.Response) -> str:
        self.page, self.url, self.status = response.text, response.url, response.status_code
        return self.page


class RunningDemo:
    """``python -m example_shop`` in a process of its own, on free ports unless `ports` says otherwise."""

    def __init__(self, ports: Mapping[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        own = {"PORT": "0", "SANDBOX_PORT": "0", "DEMO_FOLDER": self._folder.name}
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "example_shop"],
            cwd=ROOT,
            env={**os.environ, **own, **(ports or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self.shop = self.sandbox = self.password = ""

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        watchdog = threading.Timer(PATIENCE, self.process.kill)
        watchdog.start()
        for line in self.process.stdout:
            self.output += line
            if "Ctrl-C" in line:
                break
        watchdog.cancel()
        self.shop = self._told(r"The shop\s+(http\S+)/")
        self.sandbox = self._told(r"The sandbox\s+(http\S+)/")
        self.password = self._told(r"password (\S+)")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGINT)

    def end(self, number: signal.Signals) -> int:
        """Send a signal, wait, and return the exit status; what it said is in `output`."""
        self.process.send_signal(number)
        return self.finish()

    def finish(self) -> int:
        """Wait for the end, and return the exit status."""
        try:
            said, _ = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        finally:
            self._folder.cleanup()
        self.output += said
        return self.process.returncode

    def _told(self, pattern: str) -> str:
        found = re.search(pattern, self.output)
        if found is None:
            self.process.kill()
            self.finish()
            raise AssertionError(f"the demo did not say {pattern}:\n{self.output}")
        return found[1]
