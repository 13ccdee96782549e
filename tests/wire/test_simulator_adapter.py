"""The sandbox without a socket: the adapter for applications, the WSGI application for notices."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import requests
from flask import Flask

from flask_zeus_cvs.simulator import Simulator
from tests.blocks import block
from tests.visitors import FORM, Visitor
from tests.wire.simulator_peers import FIELDS, form, suite
from tests.wire.small_shop import create_app

ZEUS = "https://linkpt.cardservice.co.jp/cgi-bin/cvs.cgi"
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on whoever makes a socket fails."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("somebody made a socket")

    monkeypatch.setattr(socket.socket, "__init__", refuse)


@pytest.fixture
def zeus(no_sockets: None, zeus_simulator_in_process: Simulator) -> Simulator:
    """The sandbox of the fixture, under the ban: nothing here makes a socket, or its test fails."""
    return zeus_simulator_in_process


@pytest.fixture
def session(zeus: Simulator) -> requests.Session:
    """A session of the shop's own, with the adapter in it."""
    session = requests.Session()
    session.mount("https://", zeus.adapter())
    return session


def send(
    session: requests.Session, timeout: Any = (5, 20), url: str = ZEUS, **changes: bytes | None
) -> bytes:
    answer = session.post(url, form(**changes), headers=FORM_TYPE, timeout=timeout)
    assert answer.status_code == 200
    return answer.content


def test_an_application_is_answered_as_over_a_socket(zeus: Simulator, session: requests.Session) -> None:
    """The same bytes, type and length; any host will do."""
    answer = session.post(ZEUS, form(), headers=FORM_TYPE, timeout=5)
    [application] = zeus.applications
    assert (
        answer.content
        == (
            f"rel=Success_order\norder_no={application.order_no}\npay_no1={application.pay_no1}\n"
            f"pay_no2={application.pay_no2}\npay_limit={application.pay_limit:%Y%m%d}\npay_url=\nerror_code=\n"
        ).encode()
    )
    assert answer.headers["Content-Type"] == "text/plain; charset=Shift_JIS"
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert send(session, url="https://shop.example/cgi-bin/cvs.cgi", money=b"1") == b"Invalid money"


def test_a_form_may_be_given_as_text_or_fields(zeus: Simulator, session: requests.Session) -> None:
    """As requests allows: a text, or a dict that it encodes."""
    assert session.post(ZEUS, form().decode(), headers=FORM_TYPE, timeout=5).text.startswith(
        "rel=Success_order"
    )
    fields = {name: value.decode() for name, value in FIELDS.items()} | {"email": "hanako@example.jp"}
    assert session.post(ZEUS, {**fields, "username": "x"}, timeout=5).content == b"Invalid username"
    assert len(zeus.applications) == 1


@pytest.mark.parametrize(
    ("fault", "how", "error", "slips"),
    [
        ("lost", {}, requests.ConnectionError, 1),
        ("never", {}, requests.ReadTimeout, 1),
        ("cut", {}, requests.exceptions.ChunkedEncodingError, 1),
        ("", {"delay": 30}, requests.ReadTimeout, 1),
        ("lost", {"registered": False}, requests.ConnectionError, 0),
        ("never", {"registered": False}, requests.ReadTimeout, 0),
    ],
)
def test_no_whole_answer_is_an_error_at_once(
    zeus: Simulator,
    session: requests.Session,
    fault: str,
    how: dict[str, Any],
    error: type[Exception],
    slips: int,
) -> None:
    """As requests raises it after waiting; here nobody waits. Whether a slip exists is as over a socket."""
    began = time.monotonic()
    zeus.answer_next(fault, **how)
    with pytest.raises(error):
        send(session)
    assert time.monotonic() - began < 5
    assert len(zeus.applications) == slips


@pytest.mark.parametrize("timeout", [None, 40, (5, 40)])
def test_an_answer_within_the_time_out_comes_at_once(
    zeus: Simulator, session: requests.Session, timeout: Any
) -> None:
    """It would come in time, so it comes."""
    zeus.answer_next(delay=30)
    assert send(session, timeout).startswith(b"rel=Success_order\n")


@pytest.mark.parametrize(
    ("fault", "how", "answer"),
    [
        ("empty", {}, rb""),
        ("maintenance", {}, rb"maintenance"),
        ("html", {}, rb"(?s)<!DOCTYPE html>.*</html>\n"),
        ("", {"error_code": "0013"}, rb"(?s)rel=failure_order\n.*error_code=0013\n"),
        ("", {"parameter": "telno"}, rb"Invalid telno"),
        ("", {"body": b"\x83\x84"}, rb"\x83\x84"),
        ("", {"crlf": True}, rb"(?s)rel=Success_order\r\norder_no=.*"),
    ],
)
def test_other_faults_are_bodies(
    zeus: Simulator, session: requests.Session, fault: str, how: dict[str, Any], answer: bytes
) -> None:
    """Byte by byte as over a socket."""
    zeus.answer_next(fault, **how)
    assert re.fullmatch(answer, send(session))


def test_an_http_error_is_a_status(zeus: Simulator, session: requests.Session) -> None:
    """As scripted."""
    zeus.answer_next("html", status=503)
    assert session.post(ZEUS, form(), headers=FORM_TYPE, timeout=5).status_code == 503


@pytest.mark.parametrize(("method", "url"), [("GET", ZEUS), ("POST", "https://shop.example/other")])
def test_nothing_else_is_taken(session: requests.Session, method: str, url: str) -> None:
    """A mistake in a test is said plainly, and never reaches a network."""
    with pytest.raises(requests.exceptions.InvalidURL, match="only takes a POST to"):
        session.request(method, url, timeout=5)


class Listener:
    """A WSGI application that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.answer: Callable[[], str] = lambda: "200 OK"

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.heard.append({**environ, "body": environ["wsgi.input"].read()})
        start_response(self.answer(), [("Content-Type", "text/plain")])
        return [b"O", b"K"]


def test_notices_reach_an_application_in_this_process(zeus: Simulator, session: requests.Session) -> None:
    """The query byte by byte; the address, headers and own query that were given; POST if so agreed."""
    listener = Listener()
    zeus.attach(listener, "/cgi?shop=7", remote_addr="192.0.2.7", headers={"X-Forwarded-Proto": "https"})
    zeus.contract.parameters = ("status", "username")
    send(session)
    zeus.settle()
    zeus.contract.change({"method": "POST"})
    zeus.pay(zeus.applications[0].order_no)
    zeus.settle()
    first, second = listener.heard
    assert (first["REQUEST_METHOD"], first["PATH_INFO"]) == ("GET", "/cgi")
    assert first["QUERY_STRING"] == "shop=7&status=01&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E"
    assert (first["REMOTE_ADDR"], first["HTTP_X_FORWARDED_PROTO"]) == ("192.0.2.7", "https")
    assert (second["REQUEST_METHOD"], second["QUERY_STRING"]) == ("POST", "shop=7")
    assert second["body"] == b"status=04&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E"
    assert second["CONTENT_TYPE"] == "application/x-www-form-urlencoded"
    assert [(call.answer, call.said) for call in zeus.calls] == [(200, b"OK"), (200, b"OK")]


def test_an_application_that_fails_is_a_500(zeus: Simulator, session: requests.Session) -> None:
    """As its server would answer; the notices after it go on."""
    listener = Listener()
    answers = iter(["404 NOT FOUND", "boom", "200 OK"])

    def answer() -> str:
        said = next(answers)
        if said == "boom":
            raise RuntimeError("the shop has a mistake")
        return said

    listener.answer = answer
    zeus.attach(listener)
    for _ in range(3):
        send(session)
    zeus.settle()
    assert [call.answer for call in zeus.calls] == [404, 500, 200]


@pytest.mark.parametrize("end", [SystemExit, pytest.fail.Exception])
def test_an_application_that_ends_gives_no_answer(
    zeus: Simulator, session: requests.Session, end: type[BaseException]
) -> None:
    """What would end its server's process, or a test: no answer, and the notices after it go on."""
    listener = Listener()
    answers: Iterator[str | None] = iter([None, "none of HTTP's", "200 OK"])

    def answer() -> str:
        said = next(answers)
        if said is None:
            raise end("the shop has a mistake")
        return said

    listener.answer = answer
    zeus.attach(listener)
    for _ in range(3):
        send(session)
    zeus.settle()
    assert [call.answer for call in zeus.calls] == [None, None, 200]


def test_nonsense_in_the_contract_costs_one_notice(
    zeus: Simulator, session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says where to look; nobody waits for ever, and what comes after it is sent."""
    zeus.attach(Listener())
    zeus.contract.parameters = ("status", "no_such_parameter")
    send(session)
    zeus.settle()
    assert zeus.calls == []
    assert "look at what the contract was given" in caplog.text
    zeus.contract.parameters = ("status",)
    send(session)
    zeus.settle()
    assert [call.answer for call in zeus.calls] == [200]


def test_an_application_that_hangs_does_not_hang_the_end() -> None:
    """It has its usual time; then the sandbox ends, and may be started again without it."""
    hanging, heard = threading.Event(), threading.Event()

    def hangs(_environ: Any, _start_response: Any) -> Iterable[bytes]:
        heard.set()
        hanging.wait(60)
        return []

    zeus = Simulator(listen=False, notice_timeout=0.1).start()
    zeus.attach(hangs)
    with requests.Session() as session:
        session.mount("https://", zeus.adapter())
        send(session)
        assert heard.wait(10)
        began = time.monotonic()
        zeus.stop()
        assert time.monotonic() - began < 30
        zeus.start()
        zeus.attach(Listener())
        send(session)
        zeus.settle()
        hanging.set()
        zeus.stop()
    assert [call.answer for call in zeus.calls] == [200]


def test_reset_keeps_what_is_attached(zeus: Simulator, session: requests.Session) -> None:
    """The shop of a test suite is attached once; each test begins anew."""
    listener = Listener()
    zeus.attach(listener)
    zeus.reset()
    send(session)
    zeus.settle()
    assert len(listener.heard) == 1


@pytest.fixture
def shop(zeus: Simulator, tmp_path: Path) -> Flask:
    """A small shop on Flask-Zeus-CVS, wired to the sandbox without a socket."""
    app = create_app(
        {
            "TESTING": True,
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.db'}",
            "ZEUS_CVS_CLIENT_IP": zeus.contract.clientip,
            "ZEUS_CVS_TRANSPORT": zeus.adapter(),
        }
    )
    zeus.attach(app)
    return app


def states(shop: Flask) -> dict[str, Any]:
    answer = Visitor(shop, shop.response_class).get("/orders")
    return answer.get_json()  # type: ignore[no-any-return]


def buy(shop: Flask, reference: str) -> None:
    """As a customer: open the checkout, fill the form in, send it."""
    customer = Visitor(shop, shop.response_class, use_cookies=True)
    checkout = customer.post(f"/sell/{reference}").get_json()["checkout"]
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', customer.get(checkout).text)
    assert found
    customer.post(checkout, data={**FORM, "csrf_token": found[1], "amount": "3000"})


def test_a_shops_unit_tests_need_no_socket(zeus: Simulator, shop: Flask) -> None:
    """From the form to the goods, with the shop's own views, database and receivers, under the ban."""
    buy(shop, "A-1")
    zeus.settle()
    assert states(shop) == {"A-1": ["awaiting_payment", 0]}
    order_no = zeus.applications[0].order_no
    zeus.pay(order_no)
    zeus.settle()
    assert states(shop) == {"A-1": ["received", 1]}
    zeus.forward(days=3)
    zeus.settle()
    assert states(shop) == {"A-1": ["confirmed", 1]}


def test_a_lost_answer_is_mended_by_its_notice(zeus: Simulator, shop: Flask) -> None:
    """No answer is not a refusal: the slip exists, and the shop learns of it from 01."""
    zeus.answer_next("never")
    zeus.notify_next("drop")
    buy(shop, "A-1")
    zeus.settle()
    assert states(shop) == {"A-1": ["unknown", 0]}
    zeus.resend(zeus.applications[0].order_no)
    zeus.settle()
    assert states(shop) == {"A-1": ["awaiting_payment", 0]}


@pytest.mark.parametrize(
    ("fault", "how", "state"),
    [
        ("lost", {}, "unknown"),
        ("cut", {}, "unknown"),
        ("never", {}, "unknown"),
        ("", {"delay": 60}, "unknown"),
        ("empty", {}, "unknown"),
        ("html", {}, "unknown"),
        ("maintenance", {}, "unknown"),
        ("", {"error_code": "0008"}, "declined"),
        ("", {"parameter": "telno"}, "declined"),
        ("", {"shuffled": True, "crlf": True, "spaced": True}, "awaiting_payment"),
    ],
)
def test_the_extension_takes_each_fault_for_what_it_is(
    zeus: Simulator, shop: Flask, fault: str, how: dict[str, Any], state: str
) -> None:
    """What leaves open whether a slip exists is unknown; a refusal is declined."""
    zeus.notify_while("drop")
    zeus.answer_next(fault, **how)
    buy(shop, "A-1")
    assert states(shop) == {"A-1": [state, 0]}


def test_the_fixtures_work_with_nothing_but_the_package(tmp_path: Path) -> None:
    """A shop's own suite, elsewhere, with warnings as errors and a ban on sockets: installed is enough."""
    (tmp_path / "test_shop.py").write_text(
        "import requests, socket\n"
        "def test_shop(zeus_simulator_in_process, monkeypatch):\n"
        "    monkeypatch.setattr(socket.socket, '__init__', None)\n"
        "    session = requests.Session()\n"
        "    session.mount('https://', zeus_simulator_in_process.adapter())\n"
        f"    answer = session.post({ZEUS!r}, {form()!r}, headers={FORM_TYPE!r})\n"
        "    assert answer.text.startswith('rel=Success_order')\n"
        "    order_no = zeus_simulator_in_process.applications[0].order_no\n"
        "    assert zeus_simulator_in_process.pay(order_no).status == '04'\n"
        "def test_again(zeus_simulator_in_process):\n"
        "    assert zeus_simulator_in_process.applications == []\n"
    )
    assert "2 passed" in suite(tmp_path, "-W", "error")


def test_without_listening_there_is_no_address(zeus: Simulator) -> None:
    """Asked for, it says what to use instead."""
    with pytest.raises(RuntimeError, match="without listen=False"):
        _ = zeus.endpoint


def test_the_guides_examples_work_as_they_stand_there(tmp_path: Path) -> None:
    """The quickstart's shop and the guide's two suites, in a folder with nothing else, warnings as errors."""
    (tmp_path / "shop.py").write_text(block("1-quickstart", "from flask import Flask"), "utf-8")
    (tmp_path / "conftest.py").write_text(block("15-sandbox", "import pytest\nfrom shop"), "utf-8")
    (tmp_path / "test_shop.py").write_text(
        block("15-sandbox", "from flask_zeus_cvs import Customer"), "utf-8"
    )
    (tmp_path / "test_live_shop.py").write_text(block("15-sandbox", "import threading"), "utf-8")
    assert "2 passed" in suite(tmp_path, "-W", "error")
