"""The sandbox's web server: a WSGI application on a listening socket, with keep-alive and connections that break on cue.

It leaves nothing behind: when `Server.stop` returns, every thread has ended and every socket is closed.
"""

from __future__ import annotations

import contextlib
import io
import selectors
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

#: A view puts one of the two cuts here to have the connection broken instead of a whole answer.
CUT = "zeus_sandbox.cut"
CUT_BEFORE = "before"  # not a byte of the answer leaves
CUT_MIDDLE = "middle"  # the headers promise the whole body, half of it comes

#: Bytes of a request body; an application with every field full is under 1,000.
MAX_BODY = 65536
#: Seconds that a silent connection is kept.
IDLE = 75.0


class Server:
    """One listening socket, one thread that accepts, one thread per connection."""

    app: WSGIApplication

    def __init__(self, host: str, port: int) -> None:
        """Bind at once: a taken port is an `OSError` here and not in a thread."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=256)
        self.host, self.port = host, int(self._listener.getsockname()[1])
        self._wake_out, self._wake_in = socket.socketpair()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._accepting = threading.Thread(target=self._accept, name="zeus-sandbox-accept", daemon=True)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self, app: WSGIApplication) -> None:
        self.app = app
        self._accepting.start()

    def wait(self, seconds: float) -> None:
        """Wait as a view that answers late does; `stop` ends the wait."""
        self._stopping.wait(seconds)

    def stop(self) -> None:
        """Close every connection, also one in the middle of an answer, and wait for the threads."""
        self._stopping.set()
        self._wake_in.send(b".")
        self._accepting.join()
        with self._lock:
            remaining = dict(self._open)
        for connection, thread in remaining.items():
            with contextlib.suppress(OSError):  # the thread may have closed it first
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()
        for each in (self._listener, self._wake_in, self._wake_out):
            each.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ)
            ready.register(self._wake_out, selectors.EVENT_READ)
            while not self._stopping.is_set():
                if any(key.fileobj is self._listener for key, _ in ready.select()):
                    self._welcome()

    def _welcome(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError:  # gone before we took it, or no file handle left
            self._stopping.wait(0.02)
            return
        thread = threading.Thread(
            target=self._serve, args=(connection, address), name="zeus-sandbox-connection", daemon=True
        )
        with self._lock:
            self._open[connection] = thread
        thread.start()

    def _serve(self, connection: socket.socket, address: Any) -> None:
        try:
            _Conversation(connection, address, self)
        except OSError:  # the client went away
            pass
        finally:
            with self._lock:
                del self._open[connection]
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


class _Conversation(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE
    wbufsize = -1  # headers and body in one packet
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, address: Any, home: Server) -> None:
        self.home = home
        super().__init__(connection, address, cast(socketserver.BaseServer, home))

    def version_string(self) -> str:
        return "zeus-cvs-sandbox"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a request line can hold what a customer typed."""

    def answer(self) -> None:
        body = self._body()
        if body is None:
            return
        environ = self._environ(body)
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            head[:] = [status, headers]

        produced = self.home.app(environ, cast(Any, start_response))
        try:
            self._send(head[0], head[1], b"".join(produced), environ.get(CUT))
        finally:
            _close(produced)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def _body(self) -> bytes | None:
        """Read the whole request body, so that the next request of the connection starts where it should."""
        length = self.headers.get("Content-Length", "0")
        if refusal := _unbounded(self.headers, length):
            self.close_connection = True
            self._send(refusal, [("Content-Type", "text/plain")], b"", None)
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _environ(self, body: bytes) -> WSGIEnvironment:
        path, _, query = self.path.partition("?")
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": self.home.host,
            "SERVER_PORT": str(self.home.port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": str(self.client_address[0]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name in set(self.headers) - {"Content-Type", "Content-Length"}:
            if "_" not in name:
                key = "HTTP_" + name.upper().replace("-", "_")
                environ[key] = ",".join(self.headers.get_all(name, []))
        return environ

    def _send(self, status: str, headers: list[tuple[str, str]], body: bytes, cut: str | None) -> None:
        if cut == CUT_BEFORE:
            self.close_connection = True
            return
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if cut or self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.wfile.flush()


def _unbounded(headers: Message, length: str) -> str:
    if "Transfer-Encoding" in headers:
        return "411 Length Required"
    if not (length.isascii() and length.isdigit()):
        return "400 Bad Request"
    return "413 Content Too Large" if len(length) > 9 or int(length) > MAX_BODY else ""


def _close(produced: Iterable[bytes]) -> None:
    """Tell the application that its answer has left: what it does then comes after the last byte."""
    close = getattr(produced, "close", None)
    if close is not None:
        close()
