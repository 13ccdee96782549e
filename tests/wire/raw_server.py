"""An HTTP server of raw sockets on loopback, for what no HTTP library would do: cut, drip, mislead.

Every response is spelled by hand; threads and waits are bounded and end with the server.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

#: An accepted answer, spelled as in the manual's sample.
SUCCESS = (
    b"rel = Success_order\norder_no = 0001-1\npay_no1 = 12345678\npay_no2 = 987654\n"
    b"pay_limit=20991231\npay_url=\nerror_code=\n"
)


def reply(body: bytes = SUCCESS, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Spell a whole response."""
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def echo(request: tuple[bytes, bytes]) -> bytes:
    """Accept a request, with its own sendid as order_no."""
    return reply(b"rel=Success_order\norder_no=" + request[1].rpartition(b"sendid=")[2] + b"\n")


def endless(*headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Spell the head of a response whose end is the end of the connection."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers]) + b"\r\n\r\n"


@dataclass
class Peer:
    """The server's end of one connection."""

    sock: socket.socket
    received: bytes = b""

    def read_request(self) -> tuple[bytes, bytes] | None:
        """Return the head and the body of the next request; None when the client has gone."""
        while b"\r\n\r\n" not in self.received:
            if not self._receive():
                return None
        head, _, rest = self.received.partition(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        while len(rest) < length:
            if not self._receive():
                return None
            rest = self.received.partition(b"\r\n\r\n")[2]
        self.received = rest[length:]
        return head, rest[:length]

    def _receive(self) -> bytes:
        data = self.sock.recv(65536)
        self.received += data
        return data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, begin: bytes = b"") -> None:
        """Send ``begin``, then one byte every twentieth of a second, until the client goes."""
        self.send(begin)
        for byte in data:
            if select.select([self.sock], [], [], 0.05)[0]:
                return
            self.send(bytes([byte]))

    def until_gone(self, begin: bytes = b"") -> None:
        """Send ``begin``, then nothing until the client closes."""
        self.send(begin)
        select.select([self.sock], [], [], 10)

    def say_goodbye(self) -> None:
        """Say that TLS ends here, and wait for no reply."""
        assert isinstance(self.sock, ssl.SSLSocket)
        self.sock.settimeout(0.05)
        with suppress(OSError):
            self.sock.unwrap()

    def reset(self, begin: bytes = b"") -> None:
        """Send ``begin``, then close with RST instead of FIN."""
        self.send(begin)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Talk = Callable[["Server", Peer], object]


@dataclass
class Server:
    """Accept on a free port of loopback and hand each connection to ``talk``, in a thread of its own."""

    talk: Talk
    tls: ssl.SSLContext | None = None
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    connections: int = 0
    ended: list[socket.socket] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.threads[0].join(5)
        for each in self.sockets:
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(5)
            assert not thread.is_alive()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/cgi-bin/cvs.cgi"

    def answer(self, peer: Peer, answer: bytes) -> bool:
        """Read one request, note it, and send ``answer``; False when the client has gone."""
        request = peer.read_request()
        if request is not None:
            self.requests.append(request)
            peer.send(answer)
        return request is not None

    def until_ended(self, connections: int) -> None:
        """Wait until so many connections have been closed on this side."""
        deadline = time.monotonic() + 5
        while len(self.ended) < connections:
            assert time.monotonic() < deadline
            select.select([], [], [], 0.005)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(10)
                self.connections += 1
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            with suppress(OSError):
                if self.tls is not None:
                    sock = self.tls.wrap_socket(sock, server_side=True)
                self.sockets.append(sock)
                self.talk(self, Peer(sock))
        finally:
            sock.close()
            self.ended.append(sock)


def always(answer: bytes) -> Talk:
    """Answer every request of a connection alike."""

    def talk(server: Server, peer: Peer) -> None:
        while server.answer(peer, answer):
            pass

    return talk


def after_request(act: Callable[[Peer], object]) -> Talk:
    """Read one whole request, then do something else than answering it well."""

    def talk(server: Server, peer: Peer) -> None:
        if server.answer(peer, b""):
            act(peer)

    return talk
