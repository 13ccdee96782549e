"""Whatever can go wrong on demand: answers that are late, cut, odd or missing; notices dropped, doubled, out of order."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest

from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.simulator import Simulator, VerbRefused
from tests.wire.simulator_peers import OK, Ear, Line, apply, eventually, form, order_no_of, post

GOOD = rb"rel=Success_order\norder_no=[-\d]+\npay_no1=\d{6}\npay_no2=\d{6}\npay_limit=\d{8}\npay_url=\nerror_code=\n"
LINES = [b"rel", b"order_no", b"pay_no1", b"pay_no2", b"pay_limit", b"pay_url", b"error_code"]


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as listening:
        yield listening


@pytest.fixture
def zeus(ear: Ear) -> Iterator[Simulator]:
    with Simulator(ear.url, notice_timeout=10, seed=7) as simulator:
        yield simulator


def applied(zeus: Simulator, **changes: bytes | None) -> str:
    return order_no_of(apply(zeus.url, **changes))


def answer(zeus: Simulator) -> bytes | None:
    """What comes back for an application; None where the connection is cut, whatever came before."""
    with Line(zeus.url) as line:
        line.send(post(form()))
        head = line.rest_of_line()
        if not head:
            return None
        length = 0
        while header := line.rest_of_line().strip():
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        body = line._file.read(length)
        return body if len(body) == length else None


#: Each fault of an answer: how it is asked for, what the shop gets (None: a cut connection), whether a slip exists.
ANSWERS: list[tuple[str, dict[str, Any], bytes | None, bool]] = [
    ("lost", {}, None, True),
    ("cut", {}, None, True),
    ("empty", {}, rb"", False),
    ("html", {}, rb"(?s)<!DOCTYPE html>.*</html>\n", False),
    ("maintenance", {}, rb"maintenance", False),
    ("", {"delay": 0.02}, GOOD, True),
    ("", {"notice_first": True}, GOOD, True),
    ("", {"crlf": True}, GOOD.replace(rb"\n", rb"\r\n"), True),
    ("", {"spaced": True}, GOOD.replace(b"=", b" = ", 4), True),
    ("", {"parameter": "telno"}, rb"Invalid telno", False),
    *(
        (
            "",
            {"error_code": code},
            rb"rel=failure_order\norder_no=\npay_no1=\npay_no2=\npay_limit=\npay_url=\nerror_code="
            + code.encode()
            + rb"\n",
            False,
        )
        for code in ("800000", "800001", "800002", "900000", "0011", "0008", "0013")
    ),
]
NAMES = [fault or "-".join(map(str, *how.items())) for fault, how, _, _ in ANSWERS]


@pytest.mark.parametrize(("fault", "how", "body", "slip"), ANSWERS, ids=NAMES)
def test_an_answer_goes_wrong_for_the_next_so_many(
    zeus: Simulator, fault: str, how: dict[str, Any], body: bytes | None, slip: bool
) -> None:
    """Twice as asked, then no more; each time there is a slip or not."""
    zeus.answer_next(fault, times=2, **how)
    for _ in range(2):
        got = answer(zeus)
        assert got is body is None or re.fullmatch(body or b"", got or b"")
    assert re.fullmatch(GOOD, answer(zeus) or b"")
    slips = [each for each in zeus.applications if each.status is Status.AWAITING_PAYMENT]
    assert len(slips) == (3 if slip else 1)


@pytest.mark.parametrize(("fault", "how", "body", "slip"), ANSWERS, ids=NAMES)
def test_an_answer_goes_wrong_while_it_is_switched_on(
    zeus: Simulator, fault: str, how: dict[str, Any], body: bytes | None, slip: bool
) -> None:
    """All of them, until it is off."""
    with zeus.answer_while(fault, **how):
        for _ in range(2):
            got = answer(zeus)
            assert got is body is None or re.fullmatch(body or b"", got or b"")
    assert re.fullmatch(GOOD, answer(zeus) or b"")


def test_a_share_of_the_answers_goes_wrong() -> None:
    """The same ones with the same seed, about as many as were asked for."""
    drawn = []
    for _ in range(2):
        with Simulator(seed=7) as zeus:
            zeus.answer_while("maintenance", share=0.3)
            drawn.append([apply(zeus.url) == b"maintenance" for _ in range(100)])
    assert drawn[0] == drawn[1]
    assert 15 < sum(drawn[0]) < 45


def test_lines_in_another_order(zeus: Simulator) -> None:
    """Each line is there once; and not always in the same order."""
    zeus.answer_while(shuffled=True)
    orders = set()
    for _ in range(5):
        lines = (answer(zeus) or b"").splitlines()
        assert sorted(line.partition(b"=")[0] for line in lines) == sorted(LINES)
        orders.add(tuple(line.partition(b"=")[0] for line in lines))
    assert len(orders) > 1


def test_an_answer_that_never_comes(zeus: Simulator, ear: Ear) -> None:
    """The connection stays and says nothing; the slip exists, and its notice comes."""
    zeus.answer_next("never")
    with Line(zeus.url) as line:
        line.send(post(form()))
        with ThreadPoolExecutor(1) as pool:
            said = pool.submit(line.rest)
            eventually(lambda: ear.statuses == ["01"])
            assert not said.done()
            assert len(zeus.applications) == 1
            zeus.stop()
            assert said.result(10) == b""


def test_a_late_answer_is_late_by_so_much(zeus: Simulator) -> None:
    """Real seconds."""
    zeus.answer_next(delay=0.2)
    began = time.monotonic()
    assert answer(zeus)
    assert time.monotonic() - began >= 0.2


def test_faults_off_ends_them_all(zeus: Simulator, ear: Ear) -> None:
    """Of answers and of notices, scripted and switched on."""
    zeus.answer_next("lost", times=9)
    zeus.answer_while("maintenance")
    zeus.notify_next("drop", times=9)
    zeus.notify_while("repeat")
    zeus.faults_off()
    applied(zeus)
    zeus.settle()
    assert ear.statuses == ["01"]


# Notices on their way


def test_a_notice_is_dropped(zeus: Simulator, ear: Ear) -> None:
    """The shop never sees it, and ZEUS takes it for sent: no mail about it; staff can send it again."""
    zeus.notify_next("drop")
    order_no = applied(zeus)
    zeus.pay(order_no)
    zeus.settle()
    assert ear.statuses == ["04"]
    assert [(call.status, call.failure) for call in zeus.calls] == [("01", "dropped"), ("04", "")]
    assert "call_failed" not in [mail.kind for mail in zeus.mails]
    zeus.resend(order_no, Status.AWAITING_PAYMENT)
    zeus.settle()
    assert ear.statuses == ["04", "01"]


def test_a_notice_is_repeated(zeus: Simulator, ear: Ear) -> None:
    """Byte by byte the same, one after the other."""
    zeus.notify_next("repeat")
    order_no = applied(zeus)
    zeus.pay(order_no)
    zeus.settle()
    assert ear.statuses == ["01", "01", "04"]
    assert ear.heard[0] == ear.heard[1]
    assert len(zeus.calls) == 3


def test_a_notice_is_overtaken_by_the_next(zeus: Simulator, ear: Ear) -> None:
    """Also of another application."""
    zeus.notify_next("reorder")
    one = applied(zeus)
    two = applied(zeus)
    zeus.settle()
    assert [call.order_no for call in zeus.calls] == [two, one]


def test_a_notice_waits_in_vain_to_be_overtaken(zeus: Simulator, ear: Ear) -> None:
    """Where none follows it is sent all the same, soon."""
    zeus.notify_next("reorder")
    applied(zeus)
    eventually(lambda: ear.statuses == ["01"])


def test_all_notices_out_of_order(zeus: Simulator, ear: Ear) -> None:
    """While it is on they come in pairs, each the wrong way round."""
    order_nos = []
    with zeus.notify_while("reorder"):
        zeus.contract.notify = None
        order_nos = [applied(zeus) for _ in range(4)]
        zeus.settle()
        zeus.contract.notify = ear.url
        for order_no in order_nos:
            zeus.pay(order_no)
        eventually(lambda: len(ear.heard) == 4)
    assert [call.order_no for call in zeus.calls] == [order_nos[1], order_nos[0], order_nos[3], order_nos[2]]


def test_a_notice_is_late(zeus: Simulator, ear: Ear) -> None:
    """Others overtake it; `settle` waits for it."""
    zeus.notify_next("delay", seconds=1)
    one = applied(zeus)
    zeus.pay(one)
    eventually(lambda: ear.statuses == ["04"])
    zeus.settle()
    assert ear.statuses == ["04", "01"]
    assert zeus.calls[-1].at is not None


@pytest.mark.parametrize(("trouble", "heard"), [("drop", 0), ("repeat", 20), ("delay", 10), ("reorder", 10)])
def test_trouble_for_the_next_while_on_and_for_a_share(
    zeus: Simulator, ear: Ear, trouble: str, heard: int
) -> None:
    """Each trouble in each way: so many times, all, none after it is off, and a seeded share."""
    zeus.notify_next(trouble, times=10, seconds=0.01)
    for _ in range(10):
        applied(zeus)
    zeus.settle()
    assert len(ear.heard) == heard
    with zeus.notify_while(trouble, seconds=0.01):
        for _ in range(10):
            applied(zeus)
        zeus.settle()
    assert len(ear.heard) == 2 * heard
    before = len(zeus.calls)
    zeus.notify_while(trouble, share=0.5, seconds=0.01)
    for _ in range(20):
        applied(zeus)
    zeus.settle()
    if trouble == "drop":
        assert 0 < sum(call.failure == "dropped" for call in zeus.calls[before:]) < 20
    if trouble == "repeat":
        assert 20 < len(zeus.calls[before:]) < 40


@pytest.mark.parametrize(
    ("trouble", "how"),
    [("lose", {}), ("delay", {"seconds": -1}), ("drop", {"times": 0}), ("delay", {"seconds": 3601})],
)
def test_trouble_that_cannot_be(zeus: Simulator, trouble: str, how: dict[str, Any]) -> None:
    """Refused with what there is."""
    with pytest.raises(ValueError, match=r"take one of drop|give 0 to 3600|give 1 or more"):
        zeus.notify_next(trouble, **how)


# How they are sent


def test_a_subset_in_any_order(zeus: Simulator, ear: Ear) -> None:
    """The shop's choice of parameters, byte by byte."""
    zeus.contract.change({"parameters": "status,username,order_no"})
    order_no = applied(zeus)
    zeus.settle()
    expected = f"GET /zeus-cvs/callback?status=01&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E&order_no={order_no} "
    assert ear.heard[0].startswith(expected.encode())


def test_a_post(zeus: Simulator, ear: Ear) -> None:
    """The same text as its body, with type and length; the registered address keeps its own query."""
    zeus.contract.change({"method": "POST", "parameters": "status,money", "notify": ear.url + "?shop=7"})
    applied(zeus)
    zeus.settle()
    head, _, body = ear.heard[0].partition(b"\r\n\r\n")
    assert body == b"status=01&money=3000"
    assert head.splitlines()[0] == b"POST /zeus-cvs/callback?shop=7 HTTP/1.1"
    assert b"Content-Type: application/x-www-form-urlencoded" in head
    assert b"Content-Length: 20" in head
    assert zeus.calls[0].method == "POST"


def test_no_parameter_at_all(zeus: Simulator, ear: Ear) -> None:
    """A shop that chose none hears that something happened."""
    zeus.contract.change({"parameters": []})
    applied(zeus)
    zeus.settle()
    assert ear.heard[0].startswith(b"GET /zeus-cvs/callback HTTP/1.1\r\n")


def test_reset_leaves_nothing_of_a_call_under_way(ear: Ear) -> None:
    """A test that ends while the shop still thinks leaves no call, mail, fault or retry to the next."""
    with Simulator(ear.url, notice_timeout=20) as zeus:
        zeus.contract.retries = 3
        for _ in range(3):
            ear.answers.append(None)
            applied(zeus)
            eventually(lambda: ear.heard)
            zeus.notify_next("delay", times=5)
            zeus.answer_while("lost")
            zeus.forward(days=2)
            zeus.reset()
            zeus.contract.retries = 3
            ear.heard.clear()
            assert (zeus.applications, zeus.calls, zeus.mails) == ([], [], [])
        zeus.settle(timeout=5)
        zeus.forward(days=60)
        assert ear.heard == []
        assert (zeus.calls, zeus.mails) == ([], [])
        ear.answers.clear()
        order_no = applied(zeus)
        zeus.settle()
        assert [(call.order_no, call.answer) for call in zeus.calls] == [(order_no, 200)]


def test_applications_from_many_threads_with_trouble_on(zeus: Simulator, ear: Ear) -> None:
    """Nothing is lost or doubled besides what was asked for."""
    zeus.notify_while("reorder", share=0.3)
    zeus.answer_while(shuffled=True, share=0.3)
    ear.answers.extend([OK] * 5)
    with ThreadPoolExecutor(8) as pool:
        order_nos = list(pool.map(lambda _: applied(zeus), range(40)))
        list(pool.map(zeus.pay, order_nos))
    zeus.settle(timeout=30)
    assert sorted(call.order_no for call in zeus.calls) == sorted(order_nos * 2)


# Money that nobody tells of


def test_what_is_paid_while_the_service_is_stopped_is_told_to_nobody(zeus: Simulator, ear: Ear) -> None:
    """番組停止: the till takes the money; no call, no mail, not on resend, not after the service goes on."""
    order_no = applied(zeus)
    zeus.settle()
    zeus.stop_service()
    assert apply(zeus.url).endswith(b"error_code=800001\n")
    told = (len(ear.heard), len(zeus.mails))
    assert zeus.pay(order_no).status == "stopped"
    zeus.forward("9 weeks")
    zeus.resume_service()
    zeus.settle()
    assert (len(ear.heard), len(zeus.mails)) == told
    assert zeus.application(order_no).status == "stopped"
    for verb in (zeus.pay, zeus.confirm, zeus.cancel, zeus.expire, zeus.reissue):
        with pytest.raises(VerbRefused):
            verb(order_no)
    assert apply(zeus.url).startswith(b"rel=Success_order\n")


# Who calls


def test_where_calls_come_from(zeus: Simulator, ear: Ear) -> None:
    """The address that the shop checks can be chosen among this machine's."""
    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError:
        pytest.skip("this system has but one loopback address")
    zeus.contract.change({"sent_from": "127.0.0.2"})
    applied(zeus)
    zeus.settle()
    assert ear.callers == ["127.0.0.2"]


def test_the_agent_name_is_for_port_80_alone(
    zeus: Simulator, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On plain http there, and nowhere else."""
    zeus.contract.change({"agent": "Sandbox 1.0"})
    applied(zeus)
    zeus.settle()
    assert b"Sandbox 1.0" not in ear.heard[0]
    real = HTTPConnection.connect

    def connect_to_ear(connection: HTTPConnection) -> None:
        assert connection.port == 80
        connection.port = ear.port
        real(connection)

    monkeypatch.setattr(HTTPConnection, "connect", connect_to_ear)
    zeus.notify = "http://127.0.0.1/cgi"
    zeus.resend(zeus.applications[0].order_no)
    zeus.settle()
    assert b"\r\nUser-Agent: Sandbox 1.0\r\n" in ear.heard[1]


def test_nothing_in_a_call_tells_two_alike_apart(zeus: Simulator, ear: Ear) -> None:
    """No signature, no number, no time: one that is sent again is the same, byte by byte."""
    order_no = applied(zeus)
    zeus.settle()
    zeus.forward("1 week")
    zeus.resend(order_no)
    zeus.settle()
    assert ear.heard[0] == ear.heard[1]
