"""Who sends too much, or never ends: what a real server makes of it, over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flask_zeus_cvs.receiving import MAX_RAW
from tests.conftest import CLIENT_IP
from tests.wire.sites import Site, serving

POST = b"POST /zeus-cvs/callback HTTP/1.1\r\nHost: shop\r\n"
#: How an endless body begins: with a length that it never comes to, or with a chunk that it never fills.
ENDLESS = (
    POST + b"Content-Length: 1000000000\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n3b9aca00\r\n",
)
BAD_REQUEST = b"HTTP/1.1 400 BAD REQUEST"
KINDS = {"gthread": ["--threads", "2"], "sync": []}
NOTICE = "order_no=9999-9&status=04&money=3000"
#: Seconds; a machine that is busy with other tests answers well within them.
SOON = 10.0


class Sender:
    """A connection to the shop, spoken by hand."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line

    def send(self, pieces: Iterable[bytes], pause: float = 0.02) -> bytes:
        """Send piece by piece, with a ``pause`` of seconds after each, until there is an answer or no piece."""
        answer, end = b"", time.monotonic() + SOON
        for piece in pieces:
            self.line.sendall(piece)
            answer = self.hear(pause)
            if answer or time.monotonic() > end:
                break
        return answer

    def hear(self, seconds: float = SOON) -> bytes:
        """Wait for the first line of the answer; blank if there is none by then."""
        self.line.settimeout(seconds)
        try:
            return self.line.recv(65536).partition(b"\r\n")[0]
        except TimeoutError:
            return b""


@contextmanager
def sender(site: Site, head: bytes) -> Iterator[Sender]:
    """Connect, and send the head of a request."""
    where = urlsplit(site.url)
    with socket.create_connection((where.hostname, where.port or 80), timeout=SOON) as line:
        line.sendall(head)
        yield Sender(line)


@pytest.fixture(params=KINDS)
def options(request: pytest.FixtureRequest) -> list[str]:
    """gunicorn's options for one worker of each kind."""
    return ["-w", "1", *KINDS[request.param]]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.db'}",
        "ZEUS_CVS_CLIENT_IP": CLIENT_IP,
    }


def test_of_an_endless_body_no_more_than_the_limit_is_awaited(
    options: list[str], settings: dict[str, Any], tmp_path: Path
) -> None:
    """With one byte more than the limit, in drips, the answer is 400: no further byte is needed for it."""
    drips = [b"x" * 1024] * (MAX_RAW // 1024)
    with serving(tmp_path, *options, **settings) as site:
        for head in ENDLESS:
            with sender(site, head) as zeus:
                assert zeus.send(drips) == b"", "a notice of just the limit could still end here"
                assert (zeus.send([b"x"]) or zeus.hear()) == BAD_REQUEST
        assert site.reviews() == ["unreadable"]


def test_a_sender_that_never_ends_is_answered_and_others_are_served(
    options: list[str], settings: dict[str, Any], tmp_path: Path
) -> None:
    """A permitted sender that goes on and on is answered 400 soon, and the only worker is free for the next notice."""
    with serving(tmp_path, *options, **settings) as site:
        for head in ENDLESS:
            began = time.monotonic()
            with sender(site, head) as zeus:
                assert zeus.send(repeat(b"x" * 1024)) == BAD_REQUEST
            assert time.monotonic() - began < SOON
        assert site.notify(NOTICE) == (200, "OK")
        assert site.reviews() == ["unreadable", "unknown_order"]


def test_broken_chunks_are_not_understood(
    options: list[str], settings: dict[str, Any], tmp_path: Path
) -> None:
    """What the server cannot take apart is answered like any notice that is not understood, and a person is told."""
    with serving(tmp_path, *options, **settings) as site:
        for body in (b"zz\r\n", b"5\r\nabcdeXX", b"9\r\nstatus=04\r\n"):
            with sender(site, POST + b"Transfer-Encoding: chunked\r\n\r\n" + body) as zeus:
                zeus.line.shutdown(socket.SHUT_WR)
                assert zeus.hear() == BAD_REQUEST
        assert site.reviews() == ["unreadable"]


def test_a_refused_sender_need_not_send_its_body(
    options: list[str], settings: dict[str, Any], tmp_path: Path
) -> None:
    """From an address that is not permitted 403 comes before a byte of the body, and nothing is kept."""
    settings["ZEUS_CVS_CALLBACK_IPS"] = ["192.0.2.10"]
    with serving(tmp_path, *options, **settings) as site:
        for head in ENDLESS:
            with sender(site, head) as stranger:
                assert stranger.hear() == b"HTTP/1.1 403 FORBIDDEN"
        assert site.reviews() == []
