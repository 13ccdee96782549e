"""One HTTPS conversation with ZEUS: bytes out, an answer or a sorted failure back. It decides nothing.

A request of which a byte may have left is never sent again, and no redirect of it is followed.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from flask_zeus_cvs.exceptions import NotSent, Unanswered
from flask_zeus_cvs.protocol.messages import CONTENT_TYPE, Answer, ApplicationRequest
from flask_zeus_cvs.settings import Settings, is_loopback

#: Bytes of an answer that are read at most; a real one has a few hundred.
MAX_ANSWER = 64 * 1024


class _Conversation:
    """What is known of one POST while it runs: whether a byte may have left, and when it must be over."""

    def __init__(self, seconds: float) -> None:
        self.sent = False
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def begin(self, connection: HTTPConnection) -> None:
        self.sent = True
        self._timer = threading.Timer(self._seconds, _cut, [connection.sock])
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _cut(connected: socket.socket) -> None:
    """End a conversation that drips: requests' own time-out starts anew with every chunk."""
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


_current: ContextVar[_Conversation] = ContextVar("zeus_cvs_conversation")


class _Watched:
    """Note the moment before the first byte of a request leaves; a tunnel's own CONNECT does not count."""

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        assert isinstance(self, HTTPConnection)
        if self.sock is None:
            self.connect()
        _current.get().begin(self)
        super().endheaders(*args, **kwargs)  # type: ignore[misc]


class _PlainConnection(_Watched, HTTPConnection):
    pass


class _SecureConnection(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _PlainPool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    """TLS 1.2 or later, watched connections, and no retry of its own."""

    def __init__(self) -> None:
        self._context = ssl.create_default_context()
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(pool_maxsize=32, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class Gateway:
    """ZEUS's ``cvs.cgi``; safe for threads and across forks, connections are kept alive."""

    def __init__(self, settings: Settings) -> None:
        self._endpoint = settings.endpoint
        self._connect_timeout = settings.connect_timeout
        self._read_timeout = settings.read_timeout
        self._session: requests.Session | None = None
        self._owner = 0

    @property
    def session(self) -> requests.Session:
        """The session of this process: a connection shared across a fork would mix answers up."""
        if self._session is None or self._owner != os.getpid():
            session = requests.Session()
            session.mount("https://", _Adapter())
            session.mount("http://", _Adapter())
            self._session, self._owner = session, os.getpid()
        return self._session

    def apply(self, request: ApplicationRequest) -> Answer:
        """POST one application and read the answer.

        Only a failure to connect is tried once more, within CONNECT_TIMEOUT. Raises `NotSent` if no byte can
        have arrived, `Unanswered` if ZEUS may have registered the application. `InvalidField` if the request
        breaks the manual's rules.
        """
        body = request.encode()
        give_up = time.monotonic() + self._connect_timeout
        try:
            return self._post(body, self._connect_timeout)
        except NotSent:
            left = give_up - time.monotonic()
            if left <= 0.1:
                raise
            return self._post(body, left)

    def _post(self, body: bytes, connect_seconds: float) -> Answer:
        conversation = _Conversation(self._read_timeout)
        token = _current.set(conversation)
        try:
            return Answer.parse(self._exchange(body, connect_seconds))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            kind = type(error).__name__
            if conversation.sent:
                raise Unanswered(f"no whole answer from ZEUS ({kind})") from None
            raise NotSent(f"could not connect to ZEUS ({kind})") from None
        finally:
            conversation.end()
            _current.reset(token)

    def _exchange(self, body: bytes, connect_seconds: float) -> bytes:
        prepared = requests.Request(
            "POST",
            self._endpoint,
            data=body,
            headers={
                "Content-Type": CONTENT_TYPE,
                "Accept-Encoding": "identity",
                "User-Agent": "Flask-Zeus-CVS",
            },
        ).prepare()
        response = self.session.send(
            prepared,
            stream=True,
            allow_redirects=False,
            timeout=(connect_seconds, self._read_timeout),
            verify=os.environ.get("REQUESTS_CA_BUNDLE") or True,
            proxies=self._proxies(),
        )
        with response:
            answer = response.raw.read(MAX_ANSWER + 1, decode_content=True)
        if len(answer) > MAX_ANSWER:
            raise ValueError("the answer is too large")
        return bytes(answer)

    def _proxies(self) -> dict[str, str]:
        if is_loopback(urlsplit(self._endpoint).hostname or ""):
            return {}
        return dict(get_environ_proxies(self._endpoint))
