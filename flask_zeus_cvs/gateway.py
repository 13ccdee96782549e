"""One HTTPS conversation with ZEUS: bytes out, an answer or a sorted failure back. It decides nothing.

A request of which a byte may have left is never sent again, and no redirect of it is followed.

Of requests only the adapter is used. Its session is not made for threads, keeps cookies, and reads the body of a
redirect without a limit even where it does not follow it. Adapter and pool are made for threads: each conversation
takes a connection out for itself. Nobody waits for one: beyond `KEEP_CONNECTIONS` at once they are opened and closed.
With gevent the same is true of greenlets, if it patches before this module is imported; if later, we refuse.
A host's own adapter (ZEUS_CVS_TRANSPORT) is believed what it raises: all the rest is about ours.

Time is kept by the sockets, without a thread: each wait lasts until the end of the phase at most, connecting (proxy
and TLS included) or answering. Two keep a time of their own: the system's resolver (a name that comes late is not
used), and gevent's TLS handshake, where each byte that drips in begins it anew.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies
from urllib3 import HTTPResponse, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from flask_zeus_cvs.exceptions import ConfigurationError, GatewayError, NotSent, Unanswered
from flask_zeus_cvs.protocol.messages import CONTENT_TYPE, Answer, ApplicationRequest
from flask_zeus_cvs.settings import Settings, is_loopback

#: Bytes of an answer that are read at most; a real one has a few hundred.
MAX_ANSWER = 64 * 1024
#: Idle connections that a process keeps.
KEEP_CONNECTIONS = 32
#: Seconds that an idle connection is kept. Less than the 5 of Apache and than any firewall's patience: to send
#: into a connection that is closing costs the customer an unknown outcome, a new one only a few milliseconds.
KEEP_SECONDS = 4
#: Responses that have no body; one that comes late would be read as the answer to the next application.
_WITHOUT_BODY = (204, 304)


def refuse_late_patch() -> None:
    """Raise `ConfigurationError` if gevent has replaced Python's sockets after we derived ours from them."""
    if socket.socket not in _Socket.__mro__:
        raise ConfigurationError(
            "gevent replaced Python's sockets after flask_zeus_cvs was imported, so no application could reach ZEUS. "
            "Patch first: with gunicorn --preload, let gunicorn.conf.py begin with "
            "'from gevent import monkey; monkey.patch_all()'."
        )


class _Conversation:
    """What is known of one POST while it runs: whether a byte may have left, and when its phase is over."""

    def __init__(self, connect_seconds: float, answer_seconds: float) -> None:
        self.sent = False
        self._answer_seconds = answer_seconds
        self._over = time.monotonic() + connect_seconds

    def begin(self) -> None:
        """The first byte is about to leave."""
        self.sent = True
        self._over = time.monotonic() + self._answer_seconds

    def left(self) -> float:
        """Return the seconds left, more than 0; raises `TimeoutError` if there are none."""
        seconds = self._over - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the time is over")
        return seconds


_current: ContextVar[_Conversation] = ContextVar("zeus_cvs_conversation")


class _Socket(socket.socket):
    """Wait no longer than the conversation has left: urllib3's time-outs begin anew with every byte that drips in."""

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        self.settimeout(_current.get().left())
        return super().recv(*args, **kwargs)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_current.get().left())
        return super().recv_into(*args, **kwargs)


class _SecureSocket(_Socket, ssl.SSLSocket):
    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        try:
            return super().recv(*args, **kwargs)
        except OSError:
            self.close()  # CPython tries this before the handshake, and forgets the socket if it was reset
            raise


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        super().begin()
        # urllib3 logs what stands where headers should be: it may be the answer itself, the slip's address in it
        self.headers.defects = []
        self.headers.set_payload("")


class _PlainConnection(HTTPConnection):
    """Note the moment before the first byte of a request leaves; a tunnel's own CONNECT does not count."""

    debuglevel = 0  # a host that sets http.client's would have customers' details printed
    response_class = _Response
    _answered = 0.0

    @property
    def is_connected(self) -> bool:
        return super().is_connected and time.monotonic() < self._answered + KEEP_SECONDS

    def _new_conn(self) -> socket.socket:
        """Connect to one of the name's addresses; one that hangs leaves the others their share of the time."""
        try:
            addresses = socket.getaddrinfo(self._dns_host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NewConnectionError(self, "the name has no address") from error
        failure: OSError | None = None
        for place, (family, kind, protocol, _, address) in enumerate(addresses):
            connected = _Socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    connected.setsockopt(*option)
                connected.settimeout(_current.get().left() / (len(addresses) - place))
                connected.connect(address)
                connected.settimeout(_current.get().left())  # CPython takes it for the whole TLS handshake
            except OSError as error:
                connected.close()
                failure = error
            else:
                return connected
        raise NewConnectionError(self, "no address takes the connection") from failure

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        _current.get().begin()
        super().endheaders(*args, **kwargs)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        response = super().getresponse()
        self._answered = time.monotonic()
        return response


class _SecureConnection(_PlainConnection, HTTPSConnection):
    def connect(self) -> None:
        """Connect, and make sure of the handshake: CPython leaves it out where the other side has gone already."""
        super().connect()
        connected: Any = self.sock  # an SSLSocket, or urllib3's own where a proxy speaks TLS too
        if connected.version() is None:
            raise ConnectionResetError("closed before the handshake")


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection  # pyright: ignore[reportAssignmentType]  # as in urllib3 itself


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection  # pyright: ignore[reportAssignmentType]  # as in urllib3 itself


_POOLS = {"http": _PlainPool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    """Connections that are watched, TLS 1.2 or later that is always verified, and no retry of its own.

    Trusted are the authorities that requests trusts, or only those that REQUESTS_CA_BUNDLE names.
    """

    def __init__(self) -> None:
        trusted = os.environ.get("REQUESTS_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH
        folder = os.path.isdir(trusted)
        self._context = ssl.create_default_context(
            cafile=None if folder else trusted, capath=trusted if folder else None
        )
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.sslsocket_class = _SecureSocket
        super().__init__(pool_maxsize=KEEP_CONNECTIONS, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **_: Any) -> Any:
        """Return the manager of an http or https proxy; no thread sees it before its connections are watched."""
        manager = self.proxy_manager.get(proxy)
        if manager is None:
            manager = ProxyManager(
                proxy,
                proxy_headers=self.proxy_headers(proxy),
                proxy_ssl_context=self._context,
                ssl_context=self._context,
                maxsize=KEEP_CONNECTIONS,
            )
            manager.pool_classes_by_scheme = _POOLS
            manager = self.proxy_manager.setdefault(proxy, manager)
        return manager

    def cert_verify(self, conn: Any, *_: object) -> None:
        """Leave it to the context: requests would load its authorities anew for every connection."""
        conn.cert_reqs = "CERT_REQUIRED"


class Gateway:
    """ZEUS's ``cvs.cgi``; safe for threads and across forks, connections are kept alive."""

    def __init__(self, settings: Settings) -> None:
        self._endpoint = settings.endpoint
        self._connect_timeout = settings.connect_timeout
        self._read_timeout = settings.read_timeout
        self._transport = settings.transport
        self._adapters: dict[int, _Adapter] = {}

    def apply(self, request: ApplicationRequest) -> Answer:
        """POST one application and read the answer.

        Only a failure to connect is tried once more, within CONNECT_TIMEOUT. Raises `NotSent` if no byte can
        have arrived, `Unanswered` if ZEUS may have registered the application. `InvalidField` if the request
        breaks the manual's rules.
        """
        ask = self._converse if self._transport is None else self._have_carried
        answered = ask(request.encode())
        if isinstance(answered, GatewayError):
            raise answered  # here, where neither a local nor a context of the error knows the body
        return Answer.parse(answered)

    def close(self) -> None:
        """Close the connections that are kept; the next application opens one."""
        while self._adapters:
            self._adapters.popitem()[1].close()

    def _converse(self, body: bytes) -> bytes | GatewayError:
        conversation = _Conversation(self._connect_timeout, self._read_timeout)
        token = _current.set(conversation)
        try:
            for _ in range(2):
                try:
                    return self._post(body)
                except Exception as error:  # whatever it was, the question is the same: may a byte have left?
                    reason = _innermost(error)
                if conversation.sent:
                    return Unanswered(f"no whole answer from ZEUS ({reason})")
            return NotSent(f"could not connect to ZEUS ({reason})")
        finally:
            _current.reset(token)

    def _have_carried(self, body: bytes) -> bytes | GatewayError:
        """As `_converse`, by a host's adapter: whether a byte may have left is what its error says."""
        assert self._transport is not None
        for _ in range(2):
            try:
                with self._transport.send(self._prepared(body), timeout=self._timeout) as response:
                    return response.content or b""
            except Exception as error:
                reason = _innermost(error)
                if not _never_connected(error):
                    return Unanswered(f"no whole answer from ZEUS ({reason})")
        return NotSent(f"could not connect to ZEUS ({reason})")

    def _post(self, body: bytes) -> bytes:
        _current.get().left()
        with self._adapter.send(
            self._prepared(body), stream=True, timeout=self._timeout, proxies=self._proxies()
        ) as response:
            return _whole_body(response)

    def _prepared(self, body: bytes) -> requests.PreparedRequest:
        headers = {
            "Content-Type": CONTENT_TYPE,
            "Accept-Encoding": "identity",
            "User-Agent": "Flask-Zeus-CVS",
        }
        return requests.Request("POST", self._endpoint, data=body, headers=headers).prepare()

    @property
    def _timeout(self) -> tuple[float, float]:
        return self._connect_timeout, self._read_timeout

    @property
    def _adapter(self) -> _Adapter:
        """The adapter of this process: a connection shared across a fork would mix answers up."""
        process = os.getpid()
        adapter = self._adapters.get(process)
        if adapter is None:
            for inherited in set(self._adapters) - {process}:
                self._adapters.pop(inherited, None)
            adapter = self._adapters.setdefault(process, _Adapter())
        return adapter

    def _proxies(self) -> dict[str, str]:
        if is_loopback(urlsplit(self._endpoint).hostname or ""):
            return {}
        return dict(get_environ_proxies(self._endpoint))


def _whole_body(response: requests.Response) -> bytes:
    """Read the body, whatever the status; raises `ValueError` for what cannot be a whole answer."""
    if response.status_code < 200 or response.status_code in _WITHOUT_BODY:
        raise ValueError("a response that has no body")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise ValueError("a compressed answer, which was not asked for")
    received = bytearray()
    while len(received) <= MAX_ANSWER:
        piece = response.raw.read(MAX_ANSWER, decode_content=False)
        if not piece:
            return bytes(received)
        received += piece
    raise ValueError("an answer that is too large")


def _never_connected(error: BaseException) -> bool:
    """Tell whether requests says that there was no connection, so that no byte can have left."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    return isinstance(error, requests.ConnectionError) and any(
        isinstance(each, NewConnectionError) for each in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[object]:
    """Yield an error and what it was made of: requests wraps urllib3's as an argument, that one as a reason."""
    wrapped = error.args[0] if error.args else None
    yield from (error, wrapped, getattr(wrapped, "reason", None))
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from _causes(cause)


def _innermost(error: BaseException) -> str:
    """Name the error at the bottom: what it was, without what requests says of URL and host."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return type(error).__name__
