"""Notices to the shop: one sender, real GETs in percent-encoded Shift_JIS, in the order in which things happened.

A notice is sent once: whatever the shop answers, or does not answer, it is not repeated.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask_zeus_cvs.protocol.codes import Status

#: Seconds that the manual gives the shop for its answer.
LIMIT = 40.0
#: Bytes that are read of what the shop answers.
MAX_ANSWER = 65536


@dataclass(frozen=True, slots=True)
class Call:
    """One notice as it was sent, and what the shop made of it.

    `answer` is the HTTP status, or None: then `failure` says why (``timeout``, ``connection failed``,
    ``no valid answer``). `query` is the bytes after the question mark.
    """

    order_no: str
    status: Status
    query: bytes = field(repr=False)
    answer: int | None
    failure: str = ""
    seconds: float = 0.0

    @property
    def delivered(self) -> bool:
        """200 and nothing else; ZEUS mails the shop about any other call."""
        return self.answer == 200


_OPEN = threading.Event()
_OPEN.set()


@dataclass(frozen=True, slots=True)
class _Job:
    order_no: str
    status: Status
    query: bytes = field(repr=False)
    gate: threading.Event  # the shop's POST has been answered


class Sender:
    """The queue of notices and the one thread that sends them.

    A notice that is put `held` waits, and with it all later ones of the same application, while the shop's
    POST has no answer: `line_up` gives them their places just before the answer leaves, so that whatever
    the shop does on reading it is told later; `release` lets them go when the answer has left.
    """

    def __init__(self, target: Callable[[], str | None], limit: float = LIMIT) -> None:
        """Ask `target` for the shop's address before each call; without one nothing is sent."""
        self.limit = limit
        self._target = target
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._held: dict[str, list[_Job]] = {}
        self._gates: dict[str, threading.Event] = {}
        self._unsent: Counter[str] = Counter()
        self._calls: list[Call] = []
        self._by_order: dict[str, list[Call]] = {}
        self._stopping = True
        self._conversation: _Conversation | None = None
        self._thread: threading.Thread | None = None

    @property
    def calls(self) -> list[Call]:
        """The calls that are over, in order."""
        with self._changed:
            return list(self._calls)

    def calls_for(self, order_no: str) -> list[Call]:
        """Those of one application."""
        with self._changed:
            return list(self._by_order.get(order_no, ()))

    def start(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="zeus-sandbox-notices", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Break off the call that is under way, and drop what has not been sent."""
        with self._changed:
            self._stopping = True
            if self._conversation:
                self._conversation.abort()
            for gate in self._gates.values():
                gate.set()
        self._queue.put(None)
        if self._thread:
            self._thread.join()
        with self._changed:
            self._queue = queue.SimpleQueue()
            self._held.clear()
            self._gates.clear()
            self._unsent.clear()
            self._changed.notify_all()

    def put(self, order_no: str, status: Status, query: bytes, *, held: bool = False) -> None:
        with self._changed:
            if self._stopping:
                return
            self._unsent[order_no] += 1
            if held:
                self._held[order_no] = []
                self._gates[order_no] = threading.Event()
            job = _Job(order_no, status, query, self._gates.get(order_no, _OPEN))
            if order_no in self._held:
                self._held[order_no].append(job)
            else:
                self._queue.put(job)

    def line_up(self, order_no: str) -> None:
        """Give the held notices of an application their places; harmless where there are none."""
        with self._changed:
            for job in self._held.pop(order_no, ()):
                self._queue.put(job)

    def release(self, order_no: str) -> None:
        """Let them go."""
        self.line_up(order_no)
        with self._changed:
            self._gates.pop(order_no, _OPEN).set()

    def settle(self, timeout: float, order_no: str = "") -> bool:
        """Wait until every notice (of one application) has been answered; False when time runs out."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not (self._unsent[order_no] if order_no else self._unsent.total()), timeout
            )

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            job.gate.wait()
            target = self._target()
            call = self._send(target, job) if target else None
            with self._changed:
                if call:
                    self._calls.append(call)
                    self._by_order.setdefault(job.order_no, []).append(call)
                self._unsent[job.order_no] -= 1
                if not self._unsent[job.order_no]:
                    del self._unsent[job.order_no]
                self._changed.notify_all()

    def _send(self, target: str, job: _Job) -> Call | None:
        conversation = _Conversation(target, job.query, self.limit)
        with self._changed:
            if self._stopping:
                return None
            self._conversation = conversation
        began = time.monotonic()
        answer, failure = conversation.run()
        with self._changed:
            self._conversation = None
        return Call(job.order_no, job.status, job.query, answer, failure, time.monotonic() - began)


class _Conversation:
    """One GET on a connection of its own, over when the limit is, however slowly the answer drips."""

    def __init__(self, target: str, query: bytes, limit: float) -> None:
        self._url = urlsplit(target)
        self._query = query
        self._limit = limit
        self._over = False
        self._late = False
        self._socket: socket.socket | None = None

    def run(self) -> tuple[int | None, str]:
        """Return the HTTP status, or None and why there is none."""
        watchdog = threading.Timer(self._limit, self._time_out)
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._exchange()
        finally:
            watchdog.cancel()
            watchdog.join()

    def abort(self) -> None:
        self._over = True
        if self._socket:
            with contextlib.suppress(OSError):  # it may have ended by itself
                self._socket.shutdown(socket.SHUT_RDWR)

    def _time_out(self) -> None:
        self._late = True
        self.abort()

    def _exchange(self) -> tuple[int | None, str]:
        connection = self._connection()
        try:
            connection.connect()
        except OSError as error:
            return None, "timeout" if isinstance(error, TimeoutError) else "connection failed"
        try:
            self._socket = connection.sock
            if self._over:
                return None, "timeout" if self._late else "no valid answer"
            # The manual's agent name is confidential, and named for port 80 only: none is sent.
            connection.putrequest("GET", self._path(), skip_accept_encoding=True)
            connection.putheader("Connection", "close")
            connection.endheaders()
            with connection.getresponse() as response:
                response.read(MAX_ANSWER)
                status = response.status
        except (OSError, HTTPException) as error:
            late = self._late or isinstance(error, TimeoutError)
            return None, "timeout" if late else "no valid answer"
        finally:
            connection.close()
        return (None, "timeout") if self._late else (status, "")

    def _connection(self) -> HTTPConnection:
        host = self._url.hostname or ""
        if self._url.scheme == "https":
            return HTTPSConnection(host, self._url.port, timeout=self._limit, context=_tls(host))
        return HTTPConnection(host, self._url.port, timeout=self._limit)

    def _path(self) -> str:
        query = "&".join(filter(None, (self._url.query, self._query.decode("ascii"))))
        return f"{self._url.path or '/'}?{query}"


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(host: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if is_loopback(host):  # a development server's certificate is its own
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
