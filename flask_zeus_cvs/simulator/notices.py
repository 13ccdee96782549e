"""Notices to the shop: one sender, in percent-encoded Shift_JIS, in the order in which things happened.

A notice is sent once. Only a call that timed out is repeated, and only if the shop has asked for that.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import itertools
import logging
import socket
import ssl
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from http.client import HTTPS_PORT, HTTPConnection, HTTPException
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.protocol.messages import CONTENT_TYPE, Notice
from flask_zeus_cvs.simulator.contract import Contract, Method
from flask_zeus_cvs.simulator.script import Script

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

logger = logging.getLogger("flask_zeus_cvs.simulator")

#: Seconds that the manual gives the shop for its answer.
LIMIT = 40.0
#: Bytes that are read of what the shop answers, and how many of them are kept.
MAX_ANSWER = 65536
KEPT = 200
#: Seconds that a notice which is to be overtaken waits for another one.
OVERTAKEN_WITHIN = 0.5


class Failure(StrEnum):
    """Why a call has no HTTP status."""

    TIMEOUT = "timeout"
    CONNECTION = "connection failed"
    NO_ANSWER = "no valid answer"
    DROPPED = "dropped"  # on demand: the shop never saw it


class Trouble(StrEnum):
    """What becomes of a notice on its way."""

    DROP = "drop"  # it does not arrive; ZEUS takes it for sent
    REPEAT = "repeat"  # it arrives twice
    REORDER = "reorder"  # the next one arrives before it
    DELAY = "delay"  # it arrives later, and others overtake it


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of one notice; `seconds` of real time for a delay."""

    trouble: Trouble
    seconds: float = 1.0


def plan(trouble: str, *, seconds: float = 1.0) -> Plan:
    """Make a `Plan`; a mistake is a `ValueError` that says what there is."""
    if trouble not in list(Trouble):
        raise ValueError(f"there is no trouble {trouble!r}: take one of {', '.join(Trouble)}")
    if not 0 <= seconds <= 3600:
        raise ValueError(f"seconds is {seconds}: give 0 to 3600")
    return Plan(Trouble(trouble), seconds)


@dataclass(frozen=True, slots=True)
class Call:
    """One notice as it was sent, and what the shop made of it.

    `answer` is the HTTP status, or None: then `failure` says why. `query` is the bytes after the question mark, or
    the body of a POST; `said` the beginning of what the shop answered. `at` is JST, by the sandbox's clock.
    """

    order_no: str
    status: Status
    query: bytes = field(repr=False)
    answer: int | None
    failure: str = ""
    seconds: float = 0.0
    method: Method = Method.GET
    said: bytes = field(default=b"", repr=False)
    at: datetime | None = None
    attempt: int = 1

    @property
    def delivered(self) -> bool:
        """200 and nothing else; ZEUS mails the shop about any other call."""
        return self.answer == 200

    @property
    def timed_out(self) -> bool:
        """A time-out or the like: the only case in which ZEUS may try again."""
        return self.failure in {Failure.TIMEOUT, Failure.CONNECTION, Failure.NO_ANSWER}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A WSGI application in this process that takes the notices, and what its server would say of the sender."""

    app: WSGIApplication = field(repr=False)
    path: str
    remote_addr: str
    headers: Mapping[str, str]


_OPEN = threading.Event()
_OPEN.set()


@dataclass(frozen=True, slots=True)
class _Job:
    notice: Notice = field(repr=False)
    gate: threading.Event  # the shop's POST has been answered
    at: datetime
    attempt: int = 1
    generation: int = 0  # of the sender's memory: older ones are forgotten
    spared: bool = False  # trouble has had its turn
    overtaken: bool = False


class Sender:
    """The queue of notices and the one thread that sends them.

    A notice that is put `held` waits, and with it all later ones of the same application, while the shop's
    POST has no answer: `line_up` gives them their places just before the answer leaves, so that whatever
    the shop does on reading it is told later; `release` lets them go when the answer has left.
    """

    def __init__(
        self,
        contract: Contract,
        script: Script[Plan],
        afterwards: Callable[[Notice, Call], None],
        limit: float = LIMIT,
    ) -> None:
        """Ask `contract` before each call where and how; say of each call `afterwards` what came of it.

        `limit`: seconds that the shop has for its answer.
        """
        self.limit = limit
        #: Takes the notices instead of the address in the contract.
        self.attachment: Attachment | None = None
        self._contract = contract
        self._script = script
        self._afterwards = afterwards
        self._changed = threading.Condition(threading.RLock())
        self._ready: deque[_Job] = deque()
        self._delayed: list[tuple[float, int, _Job]] = []
        self._places = itertools.count()
        self._held: dict[str, list[_Job]] = {}
        self._gates: dict[str, threading.Event] = {}
        self._unsent: Counter[str] = Counter()
        self._settling = 0
        self._generation = 0
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

    def waiting(self, order_no: str) -> int:
        """Count the notices of one application that have not been answered yet."""
        with self._changed:
            return self._unsent[order_no]

    def start(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="zeus-sandbox-notices", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Break off the call that is under way, and drop what has not been sent.

        A call of an attached application cannot be broken off: it has its usual time to answer, then it is left.
        """
        with self._changed:
            self._stopping = True
            self._drop_unsent()
        thread, self._thread = self._thread, None
        if thread:
            thread.join(self.limit if self.attachment else None)

    def clear(self) -> None:
        """Forget every call, and drop what has not been sent."""
        with self._changed:
            self._drop_unsent()
            self._calls.clear()
            self._by_order.clear()

    def _drop_unsent(self) -> None:
        self._generation += 1
        if self._conversation:
            self._conversation.abort()
        for gate in self._gates.values():
            gate.set()
        for each in (self._ready, self._delayed, self._held, self._gates, self._unsent):
            each.clear()
        self._changed.notify_all()

    def put(self, notice: Notice, at: datetime, *, held: bool = False, attempt: int = 1) -> None:
        """Queue a notice of something that happened `at`; dropped while nothing takes notices in the end."""
        order_no = notice.order_no
        with self._changed:
            if self._stopping:
                return
            self._unsent[order_no] += 1
            if held:
                self._held[order_no] = []
                self._gates[order_no] = threading.Event()
            gate = self._gates.get(order_no, _OPEN)
            job = _Job(notice, gate, at, attempt, generation=self._generation)
            if order_no in self._held:
                self._held[order_no].append(job)
            else:
                self._ready.append(job)
                self._changed.notify_all()

    def line_up(self, order_no: str) -> None:
        """Give the held notices of an application their places; harmless where there are none."""
        with self._changed:
            self._ready.extend(self._held.pop(order_no, ()))
            self._changed.notify_all()

    def release(self, order_no: str) -> None:
        """Let them go."""
        self.line_up(order_no)
        with self._changed:
            self._gates.pop(order_no, _OPEN).set()

    def settle(self, timeout: float, order_no: str = "") -> bool:
        """Wait until every notice (of one application) has been answered; False when time runs out."""
        with self._changed:
            self._settling += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(
                    lambda: not (self._unsent[order_no] if order_no else self._unsent.total()), timeout
                )
            finally:
                self._settling -= 1

    def _run(self) -> None:
        while (job := self._next()) is not None:
            job.gate.wait()
            try:
                self._treat(job)
            except Exception as error:  # nonsense in the contract: the next notices, and who settles, go on
                logger.error(
                    "notice %s could not be sent (%s): look at what the contract was given",
                    job.notice.status,
                    type(error).__name__,
                )
                self._over(job, None)

    def _treat(self, job: _Job) -> None:
        if not (self.attachment or self._contract.notify):
            self._over(job, None)
            return
        plan = None if job.spared else self._script.take()
        if plan is None:
            self._do(job)
        else:
            _TROUBLES[plan.trouble](self, replace(job, spared=True), plan)

    def _next(self) -> _Job | None:
        """Wait for what is to be sent now; None: stopping."""
        with self._changed:
            while self._thread is threading.current_thread() and not self._stopping:
                if self._delayed and self._delayed[0][0] <= time.monotonic():
                    return heapq.heappop(self._delayed)[2]
                if not self._ready and self._settling:
                    self._bring_back()
                if self._ready:
                    return self._ready.popleft()
                self._changed.wait(self._delayed[0][0] - time.monotonic() if self._delayed else None)
            return None

    def _bring_back(self) -> None:
        """Put what was to be overtaken first: it has been, or never will be."""
        overtaken = sorted((entry for entry in self._delayed if entry[2].overtaken), reverse=True)
        if overtaken:
            self._delayed = [entry for entry in self._delayed if not entry[2].overtaken]
            heapq.heapify(self._delayed)
            self._ready.extendleft(entry[2] for entry in overtaken)

    def _do(self, job: _Job) -> None:
        self._over(job, self._send(job))
        with self._changed:
            if not job.spared:
                self._bring_back()

    def _drop(self, job: _Job, _plan: Plan) -> None:
        self._over(job, self._made(job, self._written(job), None, Failure.DROPPED))

    def _repeat(self, job: _Job, _plan: Plan) -> None:
        with self._changed:
            if job.generation == self._generation:
                self._unsent[job.notice.order_no] += 1
                self._ready.appendleft(job)
        self._do(job)

    def _reorder(self, job: _Job, _plan: Plan) -> None:
        """Have it overtaken by the next; but if one waits for that already, this one overtakes it."""
        with self._changed:
            waiting = any(entry[2].overtaken for entry in self._delayed)
        if waiting:
            self._do(replace(job, spared=False))
        else:
            self._put_off(replace(job, overtaken=True), OVERTAKEN_WITHIN)

    def _delay(self, job: _Job, plan: Plan) -> None:
        self._put_off(job, plan.seconds)

    def _put_off(self, job: _Job, seconds: float) -> None:
        with self._changed:
            if job.generation == self._generation:
                heapq.heappush(self._delayed, (time.monotonic() + seconds, next(self._places), job))

    def _over(self, job: _Job, call: Call | None) -> None:
        """Write down what came of a notice, unless all of it has been forgotten meanwhile."""
        order_no = job.notice.order_no
        if call and job.generation == self._generation:
            self._afterwards(job.notice, call)
        with self._changed:
            if job.generation != self._generation:
                return
            if call:
                self._calls.append(call)
                self._by_order.setdefault(order_no, []).append(call)
            self._unsent[order_no] -= 1
            if not self._unsent[order_no]:
                del self._unsent[order_no]
            self._changed.notify_all()

    def _written(self, job: _Job) -> bytes:
        return job.notice.encode(self._contract.parameters)

    def _made(
        self,
        job: _Job,
        query: bytes,
        answer: int | None,
        failure: str = "",
        said: bytes = b"",
        seconds: float = 0.0,
    ) -> Call:
        return Call(
            job.notice.order_no,
            job.notice.status,
            query,
            answer,
            failure,
            seconds,
            method=Method(self._contract.method),
            said=said[:KEPT],
            at=job.at,
            attempt=job.attempt,
        )

    def _send(self, job: _Job) -> Call | None:
        query, began = self._written(job), time.monotonic()
        outcome = self._ask_attached(query) if self.attachment else self._ask(query, job)
        if outcome is None:
            return None
        seconds = time.monotonic() - began
        if seconds > self.limit:
            outcome = _Outcome(None, Failure.TIMEOUT)
        return self._made(job, query, outcome.answer, outcome.failure, outcome.said, seconds)

    def _ask(self, query: bytes, job: _Job) -> _Outcome | None:
        conversation = _Conversation(self._contract, query, self.limit)
        with self._changed:
            if self._stopping or job.generation != self._generation:
                return None
            self._conversation = conversation
        outcome = conversation.run()
        with self._changed:
            self._conversation = None
        return outcome

    def _ask_attached(self, query: bytes) -> _Outcome:
        assert self.attachment is not None
        return call_attached(self.attachment, self._contract.method, query)


_TROUBLES: Mapping[Trouble, Callable[[Sender, _Job, Plan], None]] = {
    Trouble.DROP: Sender._drop,
    Trouble.REPEAT: Sender._repeat,
    Trouble.REORDER: Sender._reorder,
    Trouble.DELAY: Sender._delay,
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the shop said: an HTTP status, or why there is none."""

    answer: int | None
    failure: str = ""
    said: bytes = field(default=b"", repr=False)


def call_attached(attachment: Attachment, method: str, query: bytes) -> _Outcome:
    """Call a WSGI application as its server would."""
    environ = _environ(attachment, method, query)
    head: list[str] = []

    def start_response(status: str, _headers: object, _exc_info: object = None) -> Callable[[bytes], object]:
        head[:] = [status]
        return head.__contains__  # the old way to write a body, which no framework uses

    try:
        produced = attachment.app(environ, start_response)
        try:
            said = b"".join(produced)
        finally:
            close = getattr(produced, "close", None)
            if close:
                close()
    except Exception:  # what a server makes a 500 of
        return _Outcome(500)
    except BaseException:  # what ends a server's process, and what test frameworks raise
        return _Outcome(None, Failure.NO_ANSWER)
    status = "".join(head)[:3]
    return _Outcome(int(status), said=said) if status.isdecimal() else _Outcome(None, Failure.NO_ANSWER)


def _environ(attachment: Attachment, method: str, query: bytes) -> WSGIEnvironment:
    url = urlsplit(attachment.path)
    post = method == Method.POST
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": str(method),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
        "QUERY_STRING": url.query if post else _joined(url.query, query),
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.example",
        "REMOTE_ADDR": attachment.remote_addr,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(query if post else b""),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if post:
        environ |= {"CONTENT_TYPE": CONTENT_TYPE, "CONTENT_LENGTH": str(len(query))}
    for name, value in attachment.headers.items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ


def _joined(own: str, query: bytes) -> str:
    """Put the notice after what the registered address has for a query of its own."""
    return "&".join(filter(None, (own, query.decode("ascii"))))


class _Conversation:
    """One call on a connection of its own, over when the limit is, however slowly the answer drips."""

    def __init__(self, contract: Contract, query: bytes, limit: float) -> None:
        self._target = contract.notify or ""
        self._url = urlsplit("")
        self._method = contract.method
        self._agent = contract.agent
        self._source = (contract.sent_from, 0) if contract.sent_from else None
        self._query = query
        self._limit = limit
        self._over = False
        self._late = False
        self._socket: socket.socket | None = None

    def run(self) -> _Outcome:
        watchdog = threading.Timer(self._limit, self._time_out)
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._exchange()
        except ValueError:  # no address at all: a port that is none, letters that no request line takes
            return _Outcome(None, Failure.CONNECTION)
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

    def _exchange(self) -> _Outcome:
        self._url = urlsplit(self._target)
        connection = self._connection()
        try:
            connection.connect()
            if self._url.scheme == "https":
                connection.sock = self._secured(connection.sock)
        except OSError as error:
            return _Outcome(None, _why(error, Failure.CONNECTION, late=self._late))
        try:
            self._socket = connection.sock
            if self._over:
                return _Outcome(None, Failure.TIMEOUT if self._late else Failure.NO_ANSWER)
            self._request(connection)
            with connection.getresponse() as response:
                outcome = _Outcome(response.status, said=response.read(MAX_ANSWER))
        except (OSError, HTTPException) as error:
            return _Outcome(None, _why(error, Failure.NO_ANSWER, late=self._late))
        finally:
            connection.close()
        return _Outcome(None, Failure.TIMEOUT) if self._late else outcome

    def _request(self, connection: HTTPConnection) -> None:
        post = self._method == Method.POST
        connection.putrequest(
            str(self._method), self._path(b"" if post else self._query), skip_accept_encoding=True
        )
        connection.putheader("Connection", "close")
        if self._agent and is_port_80(self._url):
            connection.putheader("User-Agent", self._agent)
        if post:
            connection.putheader("Content-Type", CONTENT_TYPE)
            connection.putheader("Content-Length", str(len(self._query)))
        connection.endheaders(self._query if post else None)

    def _connection(self) -> HTTPConnection:
        connection = HTTPConnection(self._url.hostname or "", self._url.port, timeout=self._limit)
        if self._url.scheme == "https":
            connection.default_port = HTTPS_PORT  # or it would stand in the Host header
            connection.port = self._url.port or HTTPS_PORT
        connection._create_connection = self._dial  # type: ignore[attr-defined]  # http.client's own seam
        return connection

    def _secured(self, plain: socket.socket) -> ssl.SSLSocket:
        """Shake hands on a socket that `abort` reaches meanwhile."""
        host = self._url.hostname or ""
        secure = _tls(host).wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._socket = secure
        try:
            if self._over:
                raise ConnectionAbortedError
            secure.do_handshake()
        except OSError:
            secure.close()
            raise
        return secure

    def _dial(self, address: tuple[str, int], *_: object) -> socket.socket:
        """Connect as http.client would, but on a socket that `abort` reaches while nobody answers."""
        failure = OSError("the name has no address")
        for family, kind, protocol, _name, where in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
            self._socket = trial = socket.socket(family, kind, protocol)
            try:
                if self._over:
                    raise ConnectionAbortedError
                trial.settimeout(self._limit)
                if self._source:
                    trial.bind(self._source)
                trial.connect(where)
            except OSError as error:
                trial.close()
                failure = error
            else:
                return trial
        raise failure

    def _path(self, query: bytes) -> str:
        joined = _joined(self._url.query, query)
        return f"{self._url.path or '/'}?{joined}" if joined else self._url.path or "/"


def _why(error: Exception, otherwise: Failure, *, late: bool) -> Failure:
    return Failure.TIMEOUT if late or isinstance(error, TimeoutError) else otherwise


def is_port_80(url: SplitResult) -> bool:
    """Tell whether calls to an address are those that carry the sender's agent name."""
    return url.scheme == "http" and url.port in (None, 80)


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
