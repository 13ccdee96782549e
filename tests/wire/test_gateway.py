"""The gateway client against a raw socket server on loopback: what leaves, what comes back, and how failures sort.

Both sides of the wire are spelled by hand; no HTTP library stands on the server's side.
"""

from __future__ import annotations

import gc
import gzip
import http.client
import logging
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_zeus_cvs import gateway as gateway_module
from flask_zeus_cvs.exceptions import InvalidField, NotSent, Unanswered
from flask_zeus_cvs.gateway import Gateway
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.protocol.messages import Answer, ApplicationRequest, Outcome
from flask_zeus_cvs.settings import Settings
from tests.conftest import missing
from tests.samples import answers
from tests.wire.raw_server import SUCCESS, Peer, Server, Talk, after_request, always, echo, endless, reply

REQUEST = ApplicationRequest(
    clientip="0012345678",
    money=3000,
    username="ヤマダ　タロウ",
    telno="09012345678",
    email="taro@example.com",
    pay_cvs=Store.LAWSON,
    sendid="SENDID0001",
)
#: REQUEST as Shift_JIS, percent-encoded by hand from the code chart: ヤ 8384, マ 837D, ダ 835F, space 8140 …
BODY = (
    b"clientip=0012345678&act=secure_order&money=3000"
    b"&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E"
    b"&telno=09012345678&email=taro%40example.com&pay_cvs=D002&sendid=SENDID0001"
)
#: What must never be seen outside the POST itself.
PERSONAL = ("09012345678", "taro", "%83%84", "ヤマダ", "タロウ", "\\x83\\x84")

#: Bytes of an answer that are read.
LIMIT = 65_536
#: Seconds for what must not last; a shop can set whole ones only.
BRIEF = 0.5
#: Seconds that a loaded machine may add to a promised time.
SLACK = 2


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Expect that the block takes no longer."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of this machine's own environment."""
    for name in list(os.environ):
        if name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)


Maker = Callable[..., Gateway]


@pytest.fixture
def make_gateway() -> Iterator[Maker]:
    """Make clients of an endpoint, more patient than a test is; they are closed at the end."""
    made: list[Gateway] = []

    def make(endpoint: str, connect_timeout: Any = 20, read_timeout: Any = 20) -> Gateway:
        made.append(
            Gateway(
                Settings(
                    client_ip="0012345678",
                    endpoint=endpoint,
                    connect_timeout=connect_timeout,
                    read_timeout=read_timeout,
                )
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certification authority that nobody knows."""
    return trustme.CA()


def certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Make a server's side of TLS, with a certificate for ``names``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """A file with the certificate of the authority."""
    path = tmp_path / "own-ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def trusted(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority as a shop would: through the environment."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)


@pytest.fixture
def hanging() -> Iterator[int]:
    """A port of loopback that takes no connection and refuses none: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting: list[socket.socket] = []
        for _ in range(20):
            waiting.append(socket.socket())
            waiting[-1].settimeout(0.1)
            try:
                waiting[-1].connect(("127.0.0.1", port))
            except TimeoutError:
                break
        else:
            missing("a backlog that can be full")
        yield port
        for each in waiting:
            each.close()


@pytest.fixture
def refused() -> Iterator[int]:
    """A port of loopback where nobody listens, and which nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# --- what leaves ---------------------------------------------------------------------------------


def test_post_is_exactly_these_bytes(make_gateway: Maker) -> None:
    """One POST with a Shift_JIS form, and no header that the manual does not need."""
    with Server(always(reply())) as server:
        make_gateway(server.url).apply(REQUEST)
    [(head, body)] = server.requests
    first, *rest = head.split(b"\r\n")
    assert first == b"POST /cgi-bin/cvs.cgi HTTP/1.1"
    assert sorted(rest) == [
        b"Accept-Encoding: identity",
        b"Content-Length: %d" % len(BODY),
        b"Content-Type: application/x-www-form-urlencoded",
        b"Host: 127.0.0.1:%d" % server.port,
        b"User-Agent: Flask-Zeus-CVS",
    ]
    assert body == BODY


def test_cookie_is_not_kept(make_gateway: Maker) -> None:
    """A cookie that comes with an answer is not sent with the next application, another customer's."""
    with Server(always(reply(SUCCESS, b"Set-Cookie: visitor=1; Path=/"))) as server:
        gateway = make_gateway(server.url)
        gateway.apply(REQUEST)
        gateway.apply(REQUEST)
    assert len(server.requests) == 2
    assert not any(b"Cookie" in head for head, _ in server.requests)


def test_netrc_is_not_read(make_gateway: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that the machine keeps for the host goes nowhere."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login shop password secret\ndefault login shop password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with Server(always(reply())) as server:
        make_gateway(server.url).apply(REQUEST)
    assert b"Authorization" not in server.requests[0][0]


@pytest.mark.parametrize(
    "status", [b"301 Moved", b"302 Found", b"303 See Other", b"307 Temporary", b"308 Permanent"]
)
def test_redirect_is_not_followed(make_gateway: Maker, status: bytes) -> None:
    """The answer is in the body of whatever status; where it points to is not asked."""
    with Server(always(reply(SUCCESS, b"Location: /elsewhere", status=status))) as server:
        answer = make_gateway(server.url).apply(REQUEST)
    assert answer.order_no == "0001-1"
    assert len(server.requests) == 1


def test_head_and_body_leave_at_once(make_gateway: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of the two packets does not wait for the first one's receipt (Nagle's algorithm is off)."""
    options: list[int] = []

    class Seen(gateway_module._Socket):
        def connect(self, *args: Any) -> None:
            super().connect(*args)
            options.append(self.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(gateway_module, "_Socket", Seen)
    with Server(always(reply())) as server:
        make_gateway(server.url).apply(REQUEST)
    assert options == [1]


def test_request_that_breaks_a_rule_stays_home(make_gateway: Maker) -> None:
    """The manual's rules are checked before anything is connected."""
    with Server(always(reply())) as server, pytest.raises(InvalidField):
        make_gateway(server.url).apply(replace(REQUEST, money=199))
    assert server.connections == 0


# --- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize("sample", answers.ANSWERS, ids=lambda sample: sample.source)
def test_answer_is_read(make_gateway: Maker, sample: answers.Sample) -> None:
    """Every sample of an answer comes through the wire as what it says."""
    with Server(always(reply(sample.raw))) as server:
        assert make_gateway(server.url).apply(REQUEST) == sample.value


@pytest.mark.parametrize(
    "status",
    [
        b"200 OK",
        b"201 Created",
        b"206 Partial",
        b"400 Bad",
        b"401 No",
        b"404 Gone",
        b"500 Broken",
        b"503 Busy",
        b"999 Odd",
    ],
)
def test_status_decides_nothing(make_gateway: Maker, status: bytes) -> None:
    """The manual names no HTTP status, so the body alone counts."""
    with Server(always(reply(status=status))) as server:
        assert make_gateway(server.url).apply(REQUEST).outcome is Outcome.accepted


@pytest.mark.parametrize(
    "answer",
    [
        reply(SUCCESS.replace(b"\n", b"\r\n")),
        reply(SUCCESS, b"Content-Type: text/plain; charset=Shift_JIS"),
        b"HTTP/1.0 200 OK\r\n\r\n" + SUCCESS,
        b"HTTP/1.1 200\r\nConnection: close\r\n\r\n" + SUCCESS,
        b"HTTP/1.1 100 Continue\r\n\r\n" + reply(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SUCCESS), SUCCESS),
    ],
    ids=["crlf", "charset", "http10", "no length", "continue", "chunked"],
)
def test_framing_is_understood(make_gateway: Maker, answer: bytes) -> None:
    """However HTTP marks the end of the answer, it is read whole."""
    with Server(lambda server, peer: server.answer(peer, answer)) as server:
        answered = make_gateway(server.url).apply(REQUEST)
    assert answered == Answer.parse(SUCCESS)


@pytest.mark.parametrize("body", [b"", b"maintenance", b"<html><body>email telno</body></html>"])
def test_unintelligible_answer_is_unknown(make_gateway: Maker, body: bytes) -> None:
    """An answer that says nothing is an answer of unknown outcome, not a refusal."""
    with Server(always(reply(body))) as server:
        assert make_gateway(server.url).apply(REQUEST) == Answer(Outcome.unknown)


def test_answer_cut_without_a_length_keeps_no_half_number(make_gateway: Maker) -> None:
    """A cut that HTTP cannot see leaves no truncated payment number behind."""
    cut = b"rel = Success_order\norder_no = 0001-1\npay_no1 = 123"
    with Server(lambda server, peer: server.answer(peer, endless() + cut)) as server:
        answer = make_gateway(server.url).apply(REQUEST)
    assert answer == Answer(Outcome.accepted, order_no="0001-1", faults=("pay_no1",))


# --- not sent ------------------------------------------------------------------------------------


def never_shakes_hands(drops: bytes) -> Talk:
    """Take the client's first word of TLS, and answer with no more than these bytes, one by one."""

    def talk(_: Server, peer: Peer) -> None:
        peer.sock.recv(65536)
        peer.drip(drops)
        peer.until_gone()

    return talk


def as_https(server: Server) -> str:
    return server.url.replace("http:", "https:")


def test_refused_port(make_gateway: Maker, refused: int) -> None:
    """Nobody listens: nothing was sent."""
    with pytest.raises(NotSent):
        make_gateway(f"http://127.0.0.1:{refused}/").apply(REQUEST)


def test_unknown_name(make_gateway: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that has no address: nothing was sent. (The resolver is played: its questions would leave loopback.)"""

    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(NotSent, match="gaierror"):
        make_gateway("https://zeus.example/").apply(REQUEST)


def test_name_that_is_none(make_gateway: Maker) -> None:
    """A label that is too long for DNS is refused before the resolver is asked."""
    with pytest.raises(NotSent):
        make_gateway(f"https://{'z' * 64}.example/").apply(REQUEST)


def test_connect_timeout(make_gateway: Maker, hanging: int) -> None:
    """Nobody takes the connection: nothing was sent, and CONNECT_TIMEOUT is not spent twice."""
    with within(BRIEF + SLACK), pytest.raises(NotSent):
        make_gateway(f"http://127.0.0.1:{hanging}/", BRIEF).apply(REQUEST)


def play_resolver(monkeypatch: pytest.MonkeyPatch, *ports: int) -> list[object]:
    """Give every name several addresses: loopback, at these ports. Returns the list of names asked for."""
    asked: list[object] = []

    def resolve(name: object, *_: object, **__: object) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_many_addresses_share_the_connect_timeout(
    make_gateway: Maker, hanging: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with twenty addresses that hang takes no longer than one, and is not asked for again."""
    asked = play_resolver(monkeypatch, *[hanging] * 20)
    with within(BRIEF + SLACK), pytest.raises(NotSent):
        make_gateway("https://zeus.example/", BRIEF).apply(REQUEST)
    assert asked == ["zeus.example"]


def test_address_that_hangs_leaves_time_for_the_next(
    make_gateway: Maker, hanging: int, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that is down does not use up what the good one needs."""
    with Server(always(reply())) as server:
        play_resolver(monkeypatch, hanging, refused, server.port)
        answer = make_gateway("http://localhost:1/", 3 * BRIEF).apply(REQUEST)
    assert answer.outcome is Outcome.accepted


def test_untrusted_certificate(make_gateway: Maker, authority: trustme.CA) -> None:
    """A certificate of an unknown authority: nothing was sent; the failure to connect is tried once more."""
    with (
        Server(always(reply()), certified(authority, "127.0.0.1")) as server,
        pytest.raises(NotSent, match="SSLCertVerificationError"),
    ):
        make_gateway(server.url).apply(REQUEST)
    assert server.requests == []
    assert server.connections == 2


@pytest.mark.usefixtures("trusted")
def test_certificate_of_another_host(make_gateway: Maker, authority: trustme.CA) -> None:
    """A good certificate of somebody else: nothing was sent."""
    with Server(always(reply()), certified(authority, "other.example")) as server, pytest.raises(NotSent):
        make_gateway(server.url).apply(REQUEST)
    assert server.requests == []


@pytest.mark.usefixtures("trusted")
def test_tls_1_1_is_too_old(make_gateway: Maker, authority: trustme.CA, bundle: str) -> None:
    """A server that speaks no newer TLS than 1.1 gets nothing, though an older client would talk to it."""
    context = certified(authority, "127.0.0.1")
    old = ssl.create_default_context(cafile=bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for each in (context, old):
            each.minimum_version = each.maximum_version = ssl.TLSVersion.TLSv1_1
            each.set_ciphers("ALL:@SECLEVEL=0")
    with Server(always(reply()), context) as server:
        with (
            socket.create_connection(("127.0.0.1", server.port), 5) as plain,
            old.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            assert secure.version() == "TLSv1.1"
        with pytest.raises(NotSent):
            make_gateway(server.url).apply(REQUEST)
    assert server.requests == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_newer_tls_is_taken(make_gateway: Maker, authority: trustme.CA, newest: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 both carry an application, and a second one over the same connection."""
    context = certified(authority, "127.0.0.1")
    context.maximum_version = newest
    with Server(always(reply()), context) as server:
        gateway = make_gateway(server.url)
        assert gateway.apply(REQUEST).outcome is Outcome.accepted
        assert gateway.apply(REQUEST).outcome is Outcome.accepted
    assert server.connections == 1


def test_tls_has_only_the_time_that_connecting_left(
    make_gateway: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that took nearly all of CONNECT_TIMEOUT leaves the handshake the rest, not all of it again."""
    clock: Any = SimpleNamespace(monotonic=lambda: time.monotonic() + clock.ahead, ahead=0.0)

    class Slow(gateway_module._Socket):
        def connect(self, *args: Any) -> None:
            super().connect(*args)
            clock.ahead = 20 - BRIEF

    monkeypatch.setattr(gateway_module, "time", clock)
    monkeypatch.setattr(gateway_module, "_Socket", Slow)
    with Server(never_shakes_hands(b"")) as server, within(BRIEF + SLACK), pytest.raises(NotSent):
        make_gateway(as_https(server), connect_timeout=20).apply(REQUEST)


def test_handshake_cut(make_gateway: Maker) -> None:
    """A connection that is cut before TLS stands: nothing was sent, and it is tried once more."""
    with Server(lambda _, peer: peer.reset()) as server, pytest.raises(NotSent):
        make_gateway(as_https(server)).apply(REQUEST)
    assert server.connections == 2


@pytest.mark.parametrize("noticed", [False, True])
def test_handshake_cut_before_it_begins(
    make_gateway: Maker, monkeypatch: pytest.MonkeyPatch, noticed: bool
) -> None:
    """CPython begins no handshake on a socket that is reset already, and says nothing: still, nothing was sent."""

    class Late(gateway_module._Socket):
        def connect(self, *args: Any) -> None:
            super().connect(*args)
            select.select([self], [], [], 5)
            if noticed:
                self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    monkeypatch.setattr(gateway_module, "_Socket", Late)
    with Server(lambda _, peer: peer.reset()) as server, pytest.raises(NotSent):
        make_gateway(as_https(server)).apply(REQUEST)
    gc.collect()
    assert server.connections == 2


@pytest.mark.usefixtures("trusted")
def test_second_try_to_connect_goes_through(make_gateway: Maker, authority: trustme.CA) -> None:
    """A connection that failed once is made good by the second try, with one POST."""
    tls = certified(authority, "127.0.0.1")

    def talk(server: Server, peer: Peer) -> None:
        if server.connections > 1:
            with tls.wrap_socket(peer.sock, server_side=True) as secure:
                server.sockets.append(secure)
                always(reply())(server, Peer(secure))

    with Server(talk) as server:
        assert make_gateway(as_https(server)).apply(REQUEST).outcome is Outcome.accepted
    assert (server.connections, len(server.requests)) == (2, 1)


@pytest.mark.parametrize(
    "drops", [b"", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(200)], ids=["silent", "drips"]
)
def test_handshake_without_end(make_gateway: Maker, drops: bytes) -> None:
    """A handshake that never ends is given up within CONNECT_TIMEOUT, and not tried again."""
    with Server(never_shakes_hands(drops)) as server, within(BRIEF + SLACK), pytest.raises(NotSent):
        make_gateway(as_https(server), BRIEF).apply(REQUEST)
    assert server.connections == 1


# --- unanswered ----------------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"rel = Success_order\norder_no = 0001-1\npay_no1 = 12345678\n" + b"\n" * 500
COMPRESSED = gzip.compress(b"rel=Success_order\n" + b"\n" * 5_000_000)

#: What happens after the request was read, and never ends.
ENDLESS: dict[str, Callable[[Peer], object]] = {
    "silence": Peer.until_gone,
    "head drips": lambda peer: peer.drip(endless(*[b"X-Header: %d" % each for each in range(90)])),
    "continues for ever": lambda peer: peer.drip(b"HTTP/1.1 100 C\r\n\r\n" * 50),
    "body drips": lambda peer: peer.drip(LONG, endless(b"Content-Length: 999")),
    "body without length drips": lambda peer: peer.drip(LONG, endless()),
    "chunk drips": lambda peer: peer.drip(LONG, CHUNKED + b"3e7\r\n"),
    "trailer drips": lambda peer: peer.drip(b"X: y\r\n" * 100, CHUNKED + b"0\r\n"),
    "length too large": lambda peer: peer.until_gone(endless(b"Content-Length: 999") + SUCCESS),
}
#: What happens after the request was read, and leaves no doubt that there is no whole answer.
SPOILT: dict[str, Callable[[Peer], object]] = {
    "closed": lambda _: None,
    "reset": Peer.reset,
    "length too large, then closed": lambda peer: peer.send(endless(b"Content-Length: 999") + SUCCESS),
    "length too large, then reset": lambda peer: peer.reset(endless(b"Content-Length: 999") + SUCCESS),
    "lengths contradict": lambda peer: peer.send(
        endless(b"Content-Length: 3", b"Content-Length: 4") + SUCCESS
    ),
    "chunk sizes are garbage": lambda peer: peer.send(CHUNKED + b"garbage\r\n" + SUCCESS),
    "last chunk is missing": lambda peer: peer.send(CHUNKED + b"%x\r\n%b\r\n" % (len(SUCCESS), SUCCESS)),
    "not HTTP": lambda peer: peer.send(SUCCESS),
    "HTTP/2": lambda peer: peer.send(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80"),
    "101 headers": lambda peer: peer.send(endless(*[b"X-Header: %d" % each for each in range(101)])),
    "too large": lambda peer: peer.send(reply(SUCCESS.ljust(LIMIT + 1, b"\n"))),
    "too large without length": lambda peer: peer.send(endless() + SUCCESS + b"\n" * LIMIT),
    "redirect too large": lambda peer: peer.send(
        reply(SUCCESS + b"\n" * LIMIT, b"Location: /", status=b"302 Found")
    ),
    "gzip bomb": lambda peer: peer.send(reply(COMPRESSED, b"Content-Encoding: gzip")),
    "gzip bomb in a redirect": lambda peer: peer.send(
        reply(COMPRESSED, b"Content-Encoding: gzip", b"Location: /", status=b"302 Found")
    ),
    "early hints and no answer": lambda peer: peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize("act", ENDLESS.values(), ids=ENDLESS)
def test_answer_without_end(make_gateway: Maker, act: Callable[[Peer], object]) -> None:
    """READ_TIMEOUT is for the whole answer, however it is drawn out; the POST is not repeated."""
    with Server(after_request(act)) as server:
        gateway = make_gateway(server.url, read_timeout=BRIEF)
        with within(BRIEF + SLACK), pytest.raises(Unanswered):
            gateway.apply(REQUEST)
    assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("act", SPOILT.values(), ids=SPOILT)
def test_no_whole_answer(make_gateway: Maker, act: Callable[[Peer], object]) -> None:
    """Once the POST has left, whatever is not a whole answer is `Unanswered` at once, and never repeated."""
    with Server(after_request(act)) as server:
        gateway = make_gateway(server.url)
        with within(SLACK), pytest.raises(Unanswered):
            gateway.apply(REQUEST)
    assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "name", ["silence", "head drips", "body drips", "body without length drips", "chunk drips"]
)
def test_answer_without_end_over_tls(make_gateway: Maker, authority: trustme.CA, name: str) -> None:
    """TLS waits no longer, and its cut is not taken for the end of the answer."""
    with Server(after_request(ENDLESS[name]), certified(authority, "127.0.0.1")) as server:
        gateway = make_gateway(server.url, read_timeout=BRIEF)
        with within(BRIEF + SLACK), pytest.raises(Unanswered):
            gateway.apply(REQUEST)
    assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("name", ["closed", "reset", "length too large, then closed"])
def test_no_whole_answer_over_tls(make_gateway: Maker, authority: trustme.CA, name: str) -> None:
    """The same over TLS."""
    with Server(after_request(SPOILT[name]), certified(authority, "127.0.0.1")) as server:
        gateway = make_gateway(server.url)
        with within(SLACK), pytest.raises(Unanswered):
            gateway.apply(REQUEST)
    assert (server.connections, len(server.requests)) == (1, 1)


def test_huge_answer_is_not_read_to_its_end(make_gateway: Maker) -> None:
    """Reading stops at the limit, not when the time is over; a redirect's body has no other limit."""

    def pour(peer: Peer) -> None:
        peer.send(endless(b"Location: /elsewhere", status=b"302 Found"))
        while True:
            peer.send(b"\n" * 65536)

    with Server(after_request(pour)) as server, within(SLACK), pytest.raises(Unanswered):
        make_gateway(server.url).apply(REQUEST)


def test_answer_at_the_limit_is_read(make_gateway: Maker) -> None:
    """The limit itself is still an answer."""
    with Server(always(reply(SUCCESS.ljust(LIMIT, b"\n")))) as server:
        assert make_gateway(server.url).apply(REQUEST).outcome is Outcome.accepted


def test_request_cut_while_it_is_written(make_gateway: Maker) -> None:
    """A server that goes after the first bytes of the request may have understood it."""

    def talk(_: Server, peer: Peer) -> None:
        peer.sock.recv(10)
        peer.reset()

    with Server(talk) as server, pytest.raises(Unanswered):
        make_gateway(server.url).apply(REQUEST)
    assert server.connections == 1


def test_request_that_nobody_reads(make_gateway: Maker) -> None:
    """What waits in the other side's buffer may still be read."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        within(BRIEF + SLACK),
        pytest.raises(Unanswered),
    ):
        make_gateway(f"http://127.0.0.1:{listener.getsockname()[1]}/", read_timeout=BRIEF).apply(REQUEST)


def test_odd_failure_is_sorted_too(make_gateway: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that no library promises is sorted by the same question: may a byte have left?"""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("taro")

    with Server(always(reply())) as server:
        gateway = make_gateway(server.url)
        with monkeypatch.context() as patched:
            patched.setattr(http.client.HTTPResponse, "begin", fail)
            with pytest.raises(Unanswered, match=r"RuntimeError"):
                gateway.apply(REQUEST)
        server.until_ended(1)
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        with pytest.raises(NotSent, match=r"RuntimeError"):
            gateway.apply(REQUEST)
    assert server.connections == 1


# --- connections that are kept -------------------------------------------------------------------


def test_connection_is_kept(make_gateway: Maker) -> None:
    """The second application takes the first one's connection."""
    with Server(always(reply())) as server:
        gateway = make_gateway(server.url)
        gateway.apply(REQUEST)
        gateway.apply(REQUEST)
    assert (server.connections, len(server.requests)) == (1, 2)


def test_connection_is_not_kept_for_long(make_gateway: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for a while is not used: something between may have dropped it unseen."""
    monkeypatch.setattr(gateway_module, "KEEP_SECONDS", 0)
    with Server(always(reply())) as server:
        gateway = make_gateway(server.url)
        gateway.apply(REQUEST)
        gateway.apply(REQUEST)
    assert (server.connections, len(server.requests)) == (2, 2)


def test_kept_connection_that_was_closed_is_replaced(make_gateway: Maker) -> None:
    """A connection that the server has closed meanwhile is noticed before it is used."""
    with Server(lambda server, peer: server.answer(peer, reply())) as server:
        gateway = make_gateway(server.url)
        for count in (1, 2, 3):
            assert gateway.apply(REQUEST).outcome is Outcome.accepted
            server.until_ended(count)
    assert (server.connections, len(server.requests)) == (3, 3)


def test_race_for_a_kept_connection_is_lost(make_gateway: Maker) -> None:
    """A server that closes just as the request comes may have read it: unanswered, and not sent twice."""

    def talk(server: Server, peer: Peer) -> None:
        if server.answer(peer, reply()):
            server.answer(peer, b"")

    with Server(talk) as server:
        gateway = make_gateway(server.url)
        assert gateway.apply(REQUEST).outcome is Outcome.accepted
        with pytest.raises(Unanswered):
            gateway.apply(REQUEST)
        assert (server.connections, len(server.requests)) == (1, 2)
        assert gateway.apply(REQUEST).outcome is Outcome.accepted
    assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize(
    "first",
    [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 204 None\r\n\r\n", b"HTTP/1.1 304 Same\r\n\r\n"],
    ids=["103", "204", "304"],
)
def test_late_answer_reaches_nobody_else(make_gateway: Maker, first: bytes) -> None:
    """What still comes for one application is never taken for the answer to the next one."""

    def talk(server: Server, peer: Peer) -> None:
        if not server.answer(peer, first if server.connections == 1 else reply()):
            return
        if server.answer(peer, reply(b"rel=Success_order\norder_no=somebody-else\n")):
            peer.until_gone()

    with Server(talk) as server:
        gateway = make_gateway(server.url)
        with pytest.raises(Unanswered):
            gateway.apply(REQUEST)
        assert gateway.apply(REQUEST).order_no == "0001-1"


def test_more_than_the_answer_is_read_by_nobody(make_gateway: Maker) -> None:
    """Bytes behind an answer end the connection; they are not the beginning of the next answer."""
    with Server(always(reply() + reply(b"rel=Success_order\norder_no=somebody-else\n"))) as server:
        gateway = make_gateway(server.url)
        assert [gateway.apply(REQUEST).order_no for _ in range(3)] == ["0001-1"] * 3


def test_threads_get_their_own_answers(make_gateway: Maker) -> None:
    """Twenty applications at once, twice: each has its own answer, over twenty connections."""
    together = threading.Barrier(20, timeout=5)

    def talk(server: Server, peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            together.wait()
            peer.send(echo(request))

    with Server(talk) as server, ThreadPoolExecutor(20) as threads:
        gateway = make_gateway(server.url)
        for turn in "AB":
            ids = [f"{turn}{number}" for number in range(20)]
            answered = threads.map(lambda sendid: gateway.apply(replace(REQUEST, sendid=sendid)), ids)
            assert [answer.order_no for answer in answered] == ids
    assert server.connections == 20


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.usefixtures("trusted")
def test_handshakes_are_as_few_as_threads(
    make_gateway: Maker,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    version: ssl.TLSVersion,
) -> None:
    """A hundred applications of one worker need one TLS handshake; of several threads, one for each at most."""
    monkeypatch.setattr(gateway_module, "KEEP_SECONDS", 60)
    context = certified(authority, "127.0.0.1")
    context.minimum_version = context.maximum_version = version
    with Server(always(reply()), context) as server, ThreadPoolExecutor(threads) as customers:
        gateway = make_gateway(server.url)
        answered = list(customers.map(gateway.apply, [REQUEST] * 100))
    assert {each.outcome for each in answered} == {Outcome.accepted}
    assert len(server.requests) == 100
    assert server.connections <= threads


@pytest.mark.parametrize("says_so", [True, False], ids=["close_notify", "closed"])
@pytest.mark.usefixtures("trusted")
def test_kept_tls_connection_that_was_closed_is_replaced(
    make_gateway: Maker, authority: trustme.CA, says_so: bool
) -> None:
    """However ZEUS ends a connection that is kept, it is noticed before a byte of the next application leaves."""

    def talk(server: Server, peer: Peer) -> None:
        server.answer(peer, reply())
        if says_so:
            peer.say_goodbye()

    with Server(talk, certified(authority, "127.0.0.1")) as server:
        gateway = make_gateway(server.url)
        for count in (1, 2, 3):
            assert gateway.apply(REQUEST).outcome is Outcome.accepted
            server.until_ended(count)
    assert (server.connections, len(server.requests)) == (3, 3)


FORK = """
import os, sys
from dataclasses import replace
from flask_zeus_cvs.gateway import Gateway
from flask_zeus_cvs.settings import Settings
from tests.wire.test_gateway import REQUEST

def apply(sendid):
    assert gateway.apply(replace(REQUEST, sendid=sendid)).order_no == sendid

gateway = Gateway(Settings(client_ip="0012345678", endpoint=sys.argv[1]))
apply("parent1")
child = os.fork()
if not child:
    apply("child1")
    apply("child2")
    assert len(gateway._adapters) == 1, "the child keeps its parent's connections open"
    gateway.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0, "the child failed"
apply("parent2")
gateway.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_child_opens_its_own_connection() -> None:
    """After a fork, parent and child each keep a connection of their own."""
    connections: list[list[bytes]] = []

    def talk(_: Server, peer: Peer) -> None:
        sendids: list[bytes] = []
        connections.append(sendids)
        while (request := peer.read_request()) is not None:
            sendids.append(request[1].rpartition(b"sendid=")[2])
            peer.send(echo(request))

    with Server(talk) as server:
        subprocess.run(
            [sys.executable, "-W", "error", "-c", FORK, server.url],
            cwd=Path(__file__).parents[2],
            check=True,
            timeout=20,
        )
    assert connections == [[b"parent1", b"parent2"], [b"child1", b"child2"]]


def test_nothing_is_left_after_close(make_gateway: Maker) -> None:
    """An application starts no thread, and `close` ends the connection; the next application opens one."""
    before = set(threading.enumerate())
    with Server(always(reply())) as server:
        gateway = make_gateway(server.url)
        gateway.apply(REQUEST)
        assert set(threading.enumerate()) - before == set(server.threads)
        gateway.close()
        server.until_ended(1)
        assert gateway.apply(REQUEST).outcome is Outcome.accepted
        assert server.connections == 2


# --- whom we trust, and through whom -------------------------------------------------------------


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_blank_bundle_does_not_weaken(
    make_gateway: Maker, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A blank variable, which has switched verification off elsewhere, changes nothing here."""
    monkeypatch.setenv(name, "")
    with Server(always(reply()), certified(authority, "127.0.0.1")) as server, pytest.raises(NotSent):
        make_gateway(server.url).apply(REQUEST)
    assert server.requests == []


@pytest.mark.usefixtures("trusted")
def test_shop_may_trust_its_own_authority(make_gateway: Maker, authority: trustme.CA) -> None:
    """REQUESTS_CA_BUNDLE names whom to trust, as everywhere in requests."""
    with Server(always(reply()), certified(authority, "127.0.0.1")) as server:
        assert make_gateway(server.url).apply(REQUEST).outcome is Outcome.accepted


@pytest.mark.usefixtures("trusted")
def test_own_authority_replaces_the_others(make_gateway: Maker, authority: trustme.CA) -> None:
    """With REQUESTS_CA_BUNDLE only what it names is trusted, after a connection was made as before."""
    with (
        Server(always(reply()), certified(authority, "127.0.0.1")) as known,
        Server(always(reply()), certified(trustme.CA(), "127.0.0.1")) as unknown,
    ):
        gateway = make_gateway(known.url)
        gateway.apply(REQUEST)
        assert gateway._adapter._context.cert_store_stats()["x509_ca"] == 1
        with pytest.raises(NotSent):
            make_gateway(unknown.url).apply(REQUEST)


def test_bundle_may_be_a_folder(
    make_gateway: Maker, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without our authority is taken for a folder, and the authority is not trusted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    with (
        Server(always(reply()), certified(authority, "127.0.0.1")) as server,
        pytest.raises(NotSent, match="SSLCertVerificationError"),
    ):
        make_gateway(server.url).apply(REQUEST)


def test_bundle_that_is_not_there(
    make_gateway: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A wrong path trusts nobody; it does not fall back to the others."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    with Server(always(reply())) as server, pytest.raises(NotSent, match="FileNotFoundError"):
        make_gateway(as_https(server)).apply(REQUEST)


def test_loopback_takes_no_proxy(make_gateway: Maker, refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox on this machine is reached directly, whatever proxy the environment names."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{refused}")
    with Server(always(reply())) as server:
        for host in ("127.0.0.1", "localhost"):
            answer = make_gateway(f"http://{host}:{server.port}/").apply(REQUEST)
            assert answer.outcome is Outcome.accepted


def tunnel(to: Server) -> Talk:
    """Be an HTTP proxy that takes whatever CONNECT asks for to one server."""

    def talk(proxy: Server, peer: Peer) -> None:
        while b"\r\n\r\n" not in peer.received:
            if not peer._receive():
                return
        proxy.requests.append((peer.received, b""))
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", to.port), 5) as onward:
            other = {peer.sock: onward, onward: peer.sock}
            while ready := select.select([*other], [], [], 10)[0]:
                data = ready[0].recv(65536)
                if not data:
                    return
                other[ready[0]].sendall(data)

    return talk


@pytest.mark.usefixtures("trusted")
def test_proxy_carries_an_encrypted_application(
    make_gateway: Maker, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a proxy, ZEUS's certificate is verified as ever, and the tunnel is kept for the next application."""
    with Server(always(reply()), certified(authority, "zeus.example")) as zeus, Server(tunnel(zeus)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        gateway = make_gateway("https://zeus.example/cgi-bin/cvs.cgi")
        assert gateway.apply(REQUEST).outcome is Outcome.accepted
        assert gateway.apply(REQUEST).outcome is Outcome.accepted
        gateway.close()
    [(connect, _)] = proxy.requests
    assert connect.startswith(b"CONNECT zeus.example:443 HTTP/1.")
    assert [body for _, body in zeus.requests] == [BODY, BODY]


@pytest.mark.usefixtures("trusted")
def test_proxy_may_speak_tls_itself(
    make_gateway: Maker, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that is reached by https is verified too, and carries TLS within TLS."""
    with (
        Server(always(reply()), certified(authority, "zeus.example")) as zeus,
        Server(tunnel(zeus), certified(authority, "127.0.0.1")) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy.port}")
        gateway = make_gateway("https://zeus.example/cgi-bin/cvs.cgi")
        assert gateway.apply(REQUEST).outcome is Outcome.accepted
        gateway.close()
    assert [body for _, body in zeus.requests] == [BODY]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("name", ["silence", "body drips", "body without length drips", "closed", "reset"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_whole_answer_through_a_proxy(
    make_gateway: Maker, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    """What left through a tunnel has left."""
    act = {**ENDLESS, **SPOILT}[name]
    with (
        Server(after_request(act), certified(authority, "zeus.example")) as zeus,
        Server(tunnel(zeus), certified(authority, "127.0.0.1") if scheme == "https" else None) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")
        with within(BRIEF + SLACK), pytest.raises(Unanswered):
            make_gateway("https://zeus.example/", read_timeout=BRIEF).apply(REQUEST)
    assert len(zeus.requests) == 1


PROXIES: dict[str, Talk] = {
    "closes": after_request(lambda _: None),
    "refuses": always(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    "wants a password": always(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
    "drips": lambda _, peer: peer.drip(b"HTTP/1.1 200 Connection established\r\nX: " + b"x" * 200),
    "is silent": after_request(Peer.until_gone),
    "connects and closes": after_request(lambda peer: peer.send(b"HTTP/1.1 200 OK\r\n\r\n")),
}


@pytest.mark.parametrize("talk", PROXIES.values(), ids=PROXIES)
def test_proxy_that_fails(make_gateway: Maker, monkeypatch: pytest.MonkeyPatch, talk: Talk) -> None:
    """As long as only CONNECT has left, nothing was sent; CONNECT_TIMEOUT is for all of it."""
    with Server(talk) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with within(BRIEF + SLACK), pytest.raises(NotSent):
            make_gateway("https://zeus.example/", BRIEF).apply(REQUEST)


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:1", "socks5h://127.0.0.1:1", "ftp://127.0.0.1:1", "http://"]
)
def test_proxy_of_another_kind(make_gateway: Maker, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """A proxy that cannot be spoken to carries nothing; it is not passed by."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(NotSent):
        make_gateway("https://zeus.example/").apply(REQUEST)


@pytest.mark.usefixtures("trusted")
def test_threads_begin_together_behind_a_proxy(
    make_gateway: Maker, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads meet at the first application, each POST that got no answer counts as sent."""
    with (
        Server(after_request(Peer.reset), certified(authority, "zeus.example")) as zeus,
        Server(tunnel(zeus)) as proxy,
        ThreadPoolExecutor(8) as threads,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        gateway = make_gateway("https://zeus.example/")
        together = threading.Barrier(8, timeout=5)

        def apply(_: int) -> type[Exception]:
            together.wait()
            with pytest.raises((NotSent, Unanswered)) as caught:
                gateway.apply(REQUEST)
            return caught.type

        assert list(threads.map(apply, range(8))) == [Unanswered] * 8
    assert len(zeus.requests) == 8


# --- what nobody else may see --------------------------------------------------------------------


def locals_of(error: BaseException) -> str:
    """Show what an error tracker shows: the locals of every frame that the error went through."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return "".join(
        repr(frame.f_locals) for frame in frames if frame.f_globals["__name__"].startswith("flask_zeus_cvs")
    )


def test_failure_tells_nothing_of_the_customer(
    make_gateway: Maker,
    refused: int,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No name, number or address in the error, what caused it, its traceback, any log, or http.client's own output."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    caplog.set_level(logging.DEBUG)
    with Server(after_request(Peer.reset)) as server:
        for url in (server.url, f"http://127.0.0.1:{refused}/"):
            with pytest.raises((NotSent, Unanswered)) as caught:
                make_gateway(url).apply(REQUEST)
            error = caught.value
            logging.getLogger("shop").error("no slip: %r", error, exc_info=error)
            assert error.__cause__ is None
            assert error.__context__ is None
            assert not any(each in locals_of(error) for each in PERSONAL)
    seen = caplog.text + capsys.readouterr().out
    assert seen.count("no slip") == 2
    assert not any(each in seen for each in PERSONAL)


def test_success_tells_nothing_of_the_customer(
    make_gateway: Maker,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does an application that goes well, at the most talkative log level."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    caplog.set_level(logging.DEBUG)
    with Server(always(reply())) as server:
        make_gateway(server.url).apply(REQUEST)
    seen = caplog.text + capsys.readouterr().out
    assert not any(each in seen for each in PERSONAL)


@pytest.mark.parametrize("first", [b"", b" ", b": "], ids=["line", "continuation", "no name"])
def test_misplaced_answer_is_not_logged(
    make_gateway: Maker, caplog: pytest.LogCaptureFixture, first: bytes
) -> None:
    """What stands where headers should be may be the customer's slip: urllib3 would log it."""
    caplog.set_level(logging.DEBUG)
    misplaced = b"HTTP/1.1 200 OK\r\n" + first + b"pay_no1 = secret\r\npay_no2 = secret\r\n\r\n"
    with Server(lambda server, peer: server.answer(peer, misplaced)) as server:
        outcome_of(make_gateway(server.url))
    assert "secret" not in caplog.text


# --- whatever comes ------------------------------------------------------------------------------


def outcome_of(gateway: Gateway) -> Answer | Unanswered:
    """Apply; anything but an answer or `Unanswered` goes on as an error."""
    try:
        return gateway.apply(REQUEST)
    except Unanswered as error:
        return error


def test_any_body_is_an_answer(make_gateway: Maker) -> None:
    """Whatever bytes are the body, there is an answer, over one kept connection."""
    bodies: list[bytes] = []

    def talk(server: Server, peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            server.requests.append(request)
            peer.send(reply(bodies[-1]))

    with Server(talk) as server:
        gateway = make_gateway(server.url)

        @settings(max_examples=50, deadline=None)
        @given(st.binary() | st.lists(st.sampled_from(SUCCESS.splitlines(keepends=True))).map(b"".join))
        def check(body: bytes) -> None:
            bodies.append(body)
            assert gateway.apply(REQUEST) == Answer.parse(body)

        check()
    assert len(server.requests) == len(bodies)
    assert server.connections == 1


pieces = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 500 \r\n", b"HTTP/9 0 x\r\n"),
        *(b"Content-Length: 9\r\n", b"Content-Length: -1\r\n", b"Content-Length: 1, 1\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Location: //[\r\n"),
        *(
            b"Set-Cookie: a=b; expires=x\r\n",
            b"Content-Type: multipart/x; boundary==\r\n",
            b"Connection: close\r\n",
        ),
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b":",
            b" ",
            b"\xff",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"ffffffffffffffffff\r\n",
        ),
        SUCCESS,
    ]
)


def test_any_bytes_are_an_answer_or_none(make_gateway: Maker) -> None:
    """Whatever bytes come instead of a response, there is an answer or `Unanswered`, and one POST."""
    said: list[bytes] = []

    def talk(server: Server, peer: Peer) -> None:
        server.answer(peer, said[-1])

    with Server(talk) as server:
        gateway = make_gateway(server.url)

        @settings(max_examples=150, deadline=None)
        @given(st.lists(pieces | st.binary(max_size=20), max_size=12).map(b"".join), st.booleans())
        def check(data: bytes, begins_well: bool) -> None:
            said.append(b"HTTP/1.1 200 OK\r\n" + data if begins_well else data)
            outcome_of(gateway)
            server.until_ended(len(said))

        check()
    assert len(server.requests) == len(said)
