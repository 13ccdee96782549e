"""The sandbox's notices: real GETs to a shop that keeps their bytes, and what becomes of an application."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.simulator import Silent, Simulator, UnknownApplication, VerbRefused
from tests.wire.simulator_peers import OK, Ear, Line, apply, eventually, form, order_no_of, post


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as listening:
        yield listening


@pytest.fixture
def zeus(ear: Ear) -> Iterator[Simulator]:
    """A sandbox that tells `ear`."""
    with Simulator(ear.url, notice_timeout=10) as simulator:
        yield simulator


def applied(zeus: Simulator, **changes: bytes | None) -> str:
    return order_no_of(apply(zeus.url, **changes))


def test_a_notice_byte_by_byte(zeus: Simulator, ear: Ear) -> None:
    """A GET with all fourteen parameters in the manual's order, percent-encoded Shift_JIS, and no agent name."""
    order_no = applied(zeus, sendpoint=b"a+%5C%2B")
    zeus.settle()
    [application] = zeus.applications
    assert ear.heard == [
        b"GET /zeus-cvs/callback?clientip=1234567890&money=3000"
        b"&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E"
        b"&telno=0312345678&email=hanako%40example.jp&sendid=A1B2C3&sendpoint=a+%5C%2B"
        + f"&order_no={order_no}&pay_cvs=D002&pay_no1={application.pay_no1}".encode()
        + f"&pay_no2={application.pay_no2}&pay_limit={application.pay_limit:%Y%m%d}".encode()
        + b"&status=01&error_code= HTTP/1.1\r\n"
        + f"Host: 127.0.0.1:{ear.port}\r\nConnection: close\r\n\r\n".encode()
    ]


def test_the_registered_address_keeps_its_own_query(zeus: Simulator, ear: Ear) -> None:
    """Parameters that the shop registered with its address come first."""
    zeus.notify = ear.url + "?shop=7&lang=ja"
    applied(zeus)
    zeus.settle()
    assert ear.heard[0].startswith(b"GET /zeus-cvs/callback?shop=7&lang=ja&clientip=1234567890&money=3000&")


def test_pay_and_confirm(zeus: Simulator, ear: Ear) -> None:
    """01 after acceptance, 04 from the till, 05 from the head office; each call is on record."""
    order_no = applied(zeus)
    assert zeus.pay(order_no).status == "04"
    assert zeus.confirm(order_no).status == "05"
    zeus.settle()
    assert ear.statuses == ["01", "04", "05"]
    assert [(call.order_no, call.status, call.answer) for call in zeus.calls] == [
        (order_no, Status.AWAITING_PAYMENT, 200),
        (order_no, Status.PAYMENT_RECEIVED, 200),
        (order_no, Status.SALE_CONFIRMED, 200),
    ]
    assert all(call.delivered and not call.failure for call in zeus.calls)
    assert zeus.application(order_no).notices == ("01", "04", "05")


def test_pay_and_take_back(zeus: Simulator, ear: Ear) -> None:
    """The clerk takes the payment back: 06."""
    order_no = applied(zeus)
    zeus.pay(order_no)
    zeus.cancel(order_no)
    zeus.settle()
    assert ear.statuses == ["01", "04", "06"]


def test_many_notices_come_in_order(zeus: Simulator, ear: Ear) -> None:
    """There is one sender: what happened first is told first, over all applications."""
    order_nos = [applied(zeus) for _ in range(20)]
    for order_no in order_nos:
        zeus.pay(order_no)
    for order_no in order_nos:
        zeus.confirm(order_no)
    zeus.settle()
    assert ear.statuses == ["01"] * 20 + ["04"] * 20 + ["05"] * 20
    assert [call.order_no for call in zeus.calls] == order_nos * 3


def test_a_notice_waits_for_the_answer(zeus: Simulator, ear: Ear) -> None:
    """While the answer is late nothing is told, not even a payment; then all of it in order."""
    zeus.answer_next(delay=0.3)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(apply, zeus.url)
        eventually(lambda: zeus.applications)
        zeus.pay(zeus.applications[0].order_no)
        other = applied(zeus, sendid=b"other")
        eventually(lambda: ear.heard)
        assert b"sendid=other" in ear.heard[0]
        assert not answer.done()
        answer.result()
    zeus.settle()
    assert zeus.calls[0].order_no == other
    assert ear.statuses == ["01", "01", "04"]


def test_a_notice_overtakes_the_answer(zeus: Simulator, ear: Ear) -> None:
    """Scripted so, the shop has heard and answered 01 before its POST is answered."""
    zeus.answer_next(notice_first=True)
    with Line(zeus.url) as line:
        line.send(post(form()))
        eventually(lambda: ear.heard)
        status, _, answer = line.read()
    assert (status, ear.statuses) == (200, ["01"])
    assert order_no_of(answer).encode() in ear.heard[0]
    assert [call.answer for call in zeus.calls] == [200]


def test_a_shop_that_hears_first_knows_nothing_of_the_answer(zeus: Simulator, ear: Ear) -> None:
    """The answer is not on its way while the shop handles the notice."""
    answered = threading.Event()
    seen: list[bool] = []
    ear.on_hearing = lambda: seen.append(answered.wait(0.2))
    zeus.answer_next(notice_first=True)
    apply(zeus.url)
    answered.set()
    assert seen == [False]


def test_a_lost_answer_is_followed_by_its_notice(zeus: Simulator, ear: Ear) -> None:
    """The slip exists, so 01 comes, with the sendid by which the shop finds its application."""
    zeus.answer_next("lost")
    with Line(zeus.url) as line:
        line.send(post(form(sendid=b"lost")))
        assert line.rest() == b""
    zeus.settle()
    assert ear.statuses == ["01"]
    assert b"&sendid=lost&" in ear.heard[0]


@pytest.mark.parametrize(
    ("test_type", "statuses"), [(b"0", ["01"]), (b"1", ["01", "04", "05"]), (b"2", ["01", "04", "06"])]
)
def test_a_test_application_runs_by_itself(
    zeus: Simulator, ear: Ear, test_type: bytes, statuses: list[str]
) -> None:
    """Type 0 stays unpaid; 1 is paid and confirmed, 2 is paid and taken back, half an hour after its 04."""
    order_no = applied(zeus, testid=b"12345678", test_type=test_type)
    zeus.settle()
    assert ear.statuses == statuses[:2]
    zeus.forward("+29 minutes")
    zeus.settle()
    assert ear.statuses == statuses[:2]
    zeus.forward("+1 minute")
    zeus.settle()
    assert ear.statuses == statuses
    assert zeus.application(order_no).test
    assert zeus.application(order_no).status == statuses[-1]


@pytest.mark.parametrize("fields", [{"testid": b"12345678"}, {"test_type": b"1"}])
def test_half_a_test_is_none(zeus: Simulator, ear: Ear, fields: dict[str, bytes]) -> None:
    """Only testid and test_type together make a test."""
    order_no = applied(zeus, **fields)
    zeus.settle()
    assert ear.statuses == ["01"]
    assert not zeus.application(order_no).test


def test_some_statuses_are_told_on_request_only(zeus: Simulator, ear: Ear) -> None:
    """02 and 03 stay with ZEUS, until the shop has asked for them."""
    zeus.expire(applied(zeus))
    zeus.answer_next(error_code="0008")
    apply(zeus.url)
    zeus.settle()
    assert ear.statuses == ["01"]
    zeus.contract.on_request = frozenset({Status.APPLICATION_FAILED, Status.EXPIRED})
    zeus.expire(applied(zeus))
    zeus.answer_next(error_code="0013")
    apply(zeus.url)
    zeus.settle()
    assert ear.statuses == ["01", "01", "03", "02"]
    assert re.search(rb"&pay_no1=&pay_no2=&pay_limit=&status=02&error_code=0013 ", ear.heard[-1])


def test_a_reissue_is_silent_about_the_old_slip(zeus: Simulator, ear: Ear) -> None:
    """Same sendid, new order_no and numbers, 01 for the new slip; the old one turns into キャンセル unheard."""
    old = zeus.application(applied(zeus))
    new = zeus.reissue(old.order_no)
    zeus.settle()
    assert ear.statuses == ["01", "01"]
    assert f"&sendid=A1B2C3&sendpoint=&order_no={new.order_no}&".encode() in ear.heard[1]
    assert new.order_no != old.order_no
    assert (new.sendid, new.money, new.username) == (old.sendid, old.money, old.username)
    assert (new.pay_no1, new.pay_no2) != (old.pay_no1, old.pay_no2)
    retired = zeus.application(old.order_no)
    assert (retired.status, retired.info.name, retired.replaced_by) == (
        Silent.CANCELLED,
        "キャンセル",
        new.order_no,
    )


def test_a_reissued_7_eleven_slip_has_its_own_page(zeus: Simulator) -> None:
    """The new pay_url is the new order's."""
    old = applied(zeus, pay_cvs=b"D001")
    new = zeus.reissue(old)
    assert new.pay_url == f"{zeus.url}/slip/seven_eleven?order_no={new.order_no}"


@pytest.mark.parametrize(
    ("verbs", "statuses"),
    [
        (["pay"], ["11"]),
        (["pay", "confirm"], ["11", "12"]),
        (["pay", "cancel"], ["11", "13"]),
    ],
)
def test_the_old_slip_is_paid(zeus: Simulator, ear: Ear, verbs: list[str], statuses: list[str]) -> None:
    """Money for the slip that was re-issued is told as after-cancel, with the old order_no."""
    old = applied(zeus)
    zeus.reissue(old)
    for verb in verbs:
        getattr(zeus, verb)(old)
    zeus.settle()
    assert ear.statuses == ["01", "01", *statuses]
    assert f"&order_no={old}&".encode() in ear.heard[-1]


def test_resend_says_the_last_notice_again(zeus: Simulator, ear: Ear) -> None:
    """The same bytes come once more, also for a slip that has silently become キャンセル."""
    order_no = applied(zeus)
    zeus.pay(order_no)
    zeus.resend(order_no)
    zeus.settle()
    assert ear.statuses == ["01", "04", "04"]
    assert ear.heard[1] == ear.heard[2]
    old = applied(zeus)
    zeus.reissue(old)
    assert zeus.resend(old).status is Silent.CANCELLED
    zeus.settle()
    assert ear.statuses[-3:] == ["01", "01", "01"]
    assert f"&order_no={old}&".encode() in ear.heard[-1]


@pytest.mark.parametrize(
    ("answer", "status", "failure"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, ""),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, ""),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 302, ""),
        (b"hello", None, "no valid answer"),
        (b"", None, "no valid answer"),
    ],
)
def test_a_notice_is_never_repeated(
    zeus: Simulator, ear: Ear, answer: bytes, status: int | None, failure: str
) -> None:
    """Whatever the shop answers is recorded; no redirect is followed, and the next notice is sent."""
    ear.answers.append(answer)
    order_no = applied(zeus)
    zeus.pay(order_no)
    zeus.settle()
    assert ear.statuses == ["01", "04"]
    assert (zeus.calls[0].answer, zeus.calls[0].failure) == (status, failure)
    assert not zeus.calls[0].delivered
    assert zeus.calls[1].delivered


@pytest.mark.parametrize(
    "answer", [None, [b"HTTP/1.1 200 OK\r\n", *[b"X-More: x\r\n"] * 30]], ids=["silence", "drip"]
)
def test_the_shop_has_a_limit(ear: Ear, answer: bytes | list[bytes] | None) -> None:
    """A shop that does not answer in time, or never ends its answer, is a time-out and is not asked again."""
    with Simulator(ear.url, notice_timeout=0.3) as zeus:
        ear.answers.append(answer)
        order_no = applied(zeus)
        zeus.pay(order_no)
        zeus.settle()
        assert ear.statuses == ["01", "04"]
        assert [(call.answer, call.failure) for call in zeus.calls] == [(None, "timeout"), (200, "")]
        assert 0.3 <= zeus.calls[0].seconds < 1.5


def test_an_answer_within_the_limit_counts(ear: Ear) -> None:
    """A slow answer is an answer."""
    with Simulator(ear.url) as zeus:
        ear.answers.append([OK[:5], OK[5:20], OK[20:]])
        applied(zeus)
        zeus.settle()
        assert [call.answer for call in zeus.calls] == [200]


def test_a_shop_that_is_down(zeus: Simulator) -> None:
    """Nobody listens: recorded as such."""
    with Ear() as gone:
        address = gone.url
    zeus.notify = address
    applied(zeus)
    zeus.settle()
    assert [(call.answer, call.failure) for call in zeus.calls] == [(None, "connection failed")]


def test_a_shop_on_https() -> None:
    """On loopback a development certificate is taken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Ear(context) as ear, Simulator(ear.url) as zeus:
        applied(zeus)
        zeus.settle()
        assert [call.answer for call in zeus.calls] == [200]
        assert ear.statuses == ["01"]


def test_without_an_address_nothing_is_sent(zeus_simulator: Simulator, ear: Ear) -> None:
    """An address that is set later counts from then on."""
    order_no = applied(zeus_simulator)
    zeus_simulator.settle()
    assert zeus_simulator.calls == []
    zeus_simulator.notify = ear.url
    zeus_simulator.pay(order_no)
    zeus_simulator.settle()
    assert ear.statuses == ["04"]


def test_settle_gives_up(zeus: Simulator, ear: Ear) -> None:
    """A shop that hangs makes settle fail instead of the test hang."""
    ear.answers.append(None)
    applied(zeus)
    with pytest.raises(TimeoutError, match=r"not answered every notice within 0\.05 seconds"):
        zeus.settle(timeout=0.05)


def test_stop_does_not_wait_for_a_shop(ear: Ear) -> None:
    """A call under way and a late answer are broken off; no thread is left."""
    others = set(threading.enumerate())
    zeus = Simulator(ear.url).start()
    ear.answers.append(None)
    applied(zeus)
    zeus.answer_next(delay=60)
    zeus.answer_next(notice_first=True)
    with Line(zeus.url) as late, Line(zeus.url) as overtaken, Line(zeus.url):
        late.send(post(form()))
        eventually(lambda: len(zeus.applications) == 2)
        overtaken.send(post(form()))
        eventually(lambda: len(zeus.applications) == 3 and ear.heard)
        began = time.monotonic()
        zeus.stop()
        assert time.monotonic() - began < 3
    assert not [each.name for each in set(threading.enumerate()) - others if each.name.startswith("zeus-")]
    zeus.stop()


def test_stop_does_not_wait_for_a_connection() -> None:
    """An address where nobody answers the knock, as behind a firewall, holds up neither the end nor a reset."""
    with socket.socket() as full, contextlib.ExitStack() as knocking:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # more than it lets wait
            knock = knocking.enter_context(socket.socket())
            knock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                knock.connect(full.getsockname())
        zeus = Simulator(f"http://127.0.0.1:{full.getsockname()[1]}/cgi").start()
        applied(zeus)
        sender = zeus._works.sender
        eventually(lambda: sender._conversation and sender._conversation._socket)
        began = time.monotonic()
        zeus.stop()
        assert time.monotonic() - began < 20  # the shop's limit would be 40


def test_stop_does_not_wait_for_a_handshake() -> None:
    """A shop that takes the connection and never speaks TLS holds up neither the end nor a reset."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        zeus = Simulator(f"https://127.0.0.1:{silent.getsockname()[1]}/cgi").start()
        applied(zeus)
        with silent.accept()[0] as connection:
            assert connection.recv(1)  # it has begun to shake hands
            began = time.monotonic()
            zeus.stop()
            assert time.monotonic() - began < 20  # the shop's limit would be 40


def test_a_stopped_sandbox_says_so_and_starts_again(ear: Ear) -> None:
    """The applications are still there; the address is new."""
    zeus = Simulator(ear.url)
    with pytest.raises(RuntimeError, match=r"start\(\) it"):
        _ = zeus.endpoint
    with zeus:
        order_no = applied(zeus)
        with pytest.raises(RuntimeError, match=r"stop\(\) it first"):
            zeus.start()
        zeus.settle()
    zeus.resend(order_no)
    with zeus:
        zeus.pay(order_no)
        zeus.settle()
    assert ear.statuses == ["01", "04"]


# What can happen to an application

#: How to reach each status, and what is possible from there: verb → status. Written from the manual.
LIFE: dict[str, tuple[list[str], dict[str, str]]] = {
    "未入金": ([], {"pay": "04", "expire": "03", "reissue": "01"}),
    "期日切": (["expire"], {"reissue": "01"}),
    "入金済": (["pay"], {"confirm": "05", "cancel": "06"}),
    "売上確定": (["pay", "confirm"], {}),
    "入金取消": (["pay", "cancel"], {}),
    "キャンセル": (["reissue"], {"pay": "11"}),
    "キャンセル後入金": (["reissue", "pay"], {"confirm": "12", "cancel": "13"}),
    "キャンセル後売上": (["reissue", "pay", "confirm"], {}),
    "キャンセル後取消": (["reissue", "pay", "cancel"], {}),
    "番組停止": (["stop_service", "pay"], {}),
}


@pytest.mark.parametrize("verb", ["pay", "confirm", "cancel", "expire", "reissue"])
@pytest.mark.parametrize("status", LIFE)
def test_every_verb_in_every_status(zeus_simulator: Simulator, status: str, verb: str) -> None:
    """What the manual has happens; anything else is refused with a reason, and nothing has changed."""
    path, possible = LIFE[status]
    order_no = applied(zeus_simulator)
    for step in path:
        getattr(zeus_simulator, step)(*([] if step == "stop_service" else [order_no]))
    before = zeus_simulator.applications
    assert before[0].info.name == status
    if verb in possible:
        assert getattr(zeus_simulator, verb)(order_no).status == possible[verb]
        return
    with pytest.raises(VerbRefused, match=f"cannot {verb} {order_no}: it is .*, {verb} needs "):
        getattr(zeus_simulator, verb)(order_no)
    assert zeus_simulator.applications == before


def test_a_failed_application_cannot_be_paid(zeus_simulator: Simulator) -> None:
    """申込エラー has no slip: no verb is possible, and no notice can be sent again."""
    zeus_simulator.answer_next(error_code="0008")
    apply(zeus_simulator.url)
    order_no = zeus_simulator.applications[0].order_no
    for verb in ("pay", "confirm", "cancel", "expire", "reissue", "resend"):
        with pytest.raises(VerbRefused):
            getattr(zeus_simulator, verb)(order_no)


def test_an_unknown_application(zeus_simulator: Simulator) -> None:
    """A wrong order_no is a clear error, also a LookupError."""
    with pytest.raises(UnknownApplication, match="'nobody'"):
        zeus_simulator.pay("nobody")
    with pytest.raises(LookupError):
        zeus_simulator.application("nobody")


class MovingClock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_the_deadline_passes_by_the_clock(ear: Ear) -> None:
    """The till takes money until the day of the deadline ends in Japan, and not after."""
    clock = MovingClock()
    with Simulator(ear.url, clock=clock) as zeus:
        zeus.contract.on_request = frozenset({Status.EXPIRED})
        first, second, third = (applied(zeus, span=b"2") for _ in range(3))
        zeus.reissue(third)
        clock.now = datetime(2026, 11, 25, 14, 59, 59, tzinfo=UTC)
        assert zeus.pay(first).status == "04"
        clock.now += timedelta(seconds=1)
        with pytest.raises(VerbRefused, match="it is 03 expired"):
            zeus.pay(second)
        with pytest.raises(VerbRefused, match="its deadline, 2026-11-25, has passed"):
            zeus.pay(third)
        assert [each.status for each in zeus.applications] == ["04", "03", Silent.CANCELLED, "03"]
        zeus.settle()
        assert ear.statuses == ["01", "01", "01", "01", "04", "03", "03"]
        assert zeus.reissue(second).pay_limit == datetime(2026, 11, 28, tzinfo=UTC).date()


def test_an_expired_slip_is_not_payable_after_a_reissue(zeus_simulator: Simulator) -> None:
    """The old slip was past its deadline before it became キャンセル."""
    order_no = applied(zeus_simulator)
    zeus_simulator.expire(order_no)
    zeus_simulator.reissue(order_no)
    with pytest.raises(VerbRefused, match="has passed"):
        zeus_simulator.pay(order_no)


def test_no_repr_holds_personal_data(zeus: Simulator) -> None:
    """Applications and calls are printed when a test fails."""
    zeus.pay(applied(zeus, sendpoint=b"secret", pay_cvs=b"D001"))
    zeus.settle()
    shown = repr(zeus.applications) + repr(zeus.calls)
    for each in ("ヤマダ", "%83%84", "0312345678", "hanako", "secret", "slip/"):
        assert each not in shown
