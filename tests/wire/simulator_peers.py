"""What the sandbox talks to in its tests: raw bytes on a socket, and a shop that keeps what it hears."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

#: An application with every required field, spelled by hand: the kana are rows 1 and 5 of JIS X 0208.
FIELDS: dict[str, bytes] = {
    "clientip": b"1234567890",
    "act": b"secure_order",
    "money": b"3000",
    "username": b"%83%84%83%7D%83_%81%40%83%5E%83%8D%83E",
    "telno": b"0312345678",
    "email": b"hanako%40example.jp",
    "pay_cvs": b"D002",
    "sendid": b"A1B2C3",
}


def form(**changes: bytes | None) -> bytes:
    """The body of a POST; a change of None leaves the field out."""
    fields = {**FIELDS, **changes}
    return b"&".join(name.encode() + b"=" + value for name, value in fields.items() if value is not None)


def post(body: bytes, path: str = "/cgi-bin/cvs.cgi", *headers: str) -> bytes:
    """A whole request, as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    if not any(each.startswith("Content-Type:") for each in headers):
        lines.append("Content-Type: application/x-www-form-urlencoded")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


class Line:
    """One connection to the sandbox."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def read(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers in lower case, and as much of the body as comes."""
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self._file.read(int(headers["content-length"]))

    def rest_of_line(self) -> bytes:
        return self._file.readline()

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        return self._file.read()


def talk(url: str, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own."""
    with Line(url) as line:
        line.send(raw)
        return line.read()


def apply(url: str, **changes: bytes | None) -> bytes:
    """POST an application, and return the body of the answer."""
    status, _, body = talk(url, post(form(**changes)))
    assert status == 200
    return body


def order_no_of(answer: bytes) -> str:
    found = re.search(rb"^order_no=(\S+)$", answer, re.MULTILINE)
    assert found
    return found[1].decode()


def eventually(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `true`, and fail after `seconds`."""
    give_up = time.monotonic() + seconds
    pause = threading.Event()
    while not true():
        assert time.monotonic() < give_up, "it has not come true in time"
        pause.wait(0.005)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"


class Listener:
    """Listens on a free port of loopback, and converses with one caller after the other; see `converse`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener")

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()

    def converse(self, connection: socket.socket, caller: str) -> None:
        """Say what is to be said to a caller, at an address; a connection that breaks is no error."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                connection, caller = self._listener.accept()
                connection.settimeout(10)
                with connection:
                    self.converse(connection, caller[0])


class Ear(Listener):
    """Where a shop takes notices: keeps the bytes of each request, and answers what it is told, else 200.

    An answer of None is silence until the sandbox hangs up; several pieces are sent with `pause` between them.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.heard: list[bytes] = []
        self.callers: list[str] = []
        self.answers: deque[bytes | list[bytes] | None] = deque()
        self.on_hearing: Callable[[], None] = lambda: None
        self.pause = 0.05
        self._tls = tls

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/zeus-cvs/callback"

    @property
    def statuses(self) -> list[str]:
        """The status in each notice that was heard."""
        return [found[1].decode() for each in self.heard if (found := re.search(rb"[&?]status=(\d\d)", each))]

    def converse(self, connection: socket.socket, caller: str) -> None:
        self.callers.append(caller)
        with self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as each:
            self._answer(each)

    def _answer(self, connection: socket.socket) -> None:
        raw = b""
        while not _whole(raw) and (more := connection.recv(65536)):
            raw += more
        self.heard.append(raw)
        self.on_hearing()
        answer = self.answers.popleft() if self.answers else OK
        if answer is None:
            connection.recv(1)
            return
        for piece in [answer] if isinstance(answer, bytes) else answer:
            connection.sendall(piece)
            self._over.wait(self.pause if isinstance(answer, list) else 0)


def _whole(raw: bytes) -> bool:
    """Whether a request is there to its end."""
    head, end, body = raw.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def suite(folder: Path, *options: str) -> str:
    """Run a shop's own tests in `folder`, in a process of its own, and return what it says."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return ended.stdout + ended.stderr
