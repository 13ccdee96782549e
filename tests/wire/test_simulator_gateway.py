"""The sandbox's ``cvs.cgi`` over real sockets: requests and answers as literal bytes."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest

from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.simulator import Simulator
from tests.wire.simulator_peers import Line, apply, form, order_no_of, post, talk

NUMBERS = [
    ("D001", rb"pay_no1=\d{13}\npay_no2=\n"),
    ("D002", rb"pay_no1=\d{6}\npay_no2=\d{6}\n"),
    ("D030", rb"pay_no1=\d{12}\npay_no2=\d{5}\n"),
    ("D015", rb"pay_no1=\d{6}\npay_no2=\n"),
    ("D050", rb"pay_no1=\d{6}\npay_no2=\d{6}\n"),
    ("D060", rb"pay_no1=\d{11}\npay_no2=\n"),
]

#: A field, its value as it is sent, and why the manual does not have it. None: it is left out.
WRONG: list[tuple[str, bytes | None, str]] = [
    ("clientip", None, "required"),
    ("clientip", b"", "blank"),
    ("clientip", b"123456789", "nine digits"),
    ("clientip", b"12345678901", "eleven digits"),
    ("clientip", b"12345678AB", "letters"),
    ("act", None, "required"),
    ("act", b"secure_link", "not the fixed word"),
    ("money", None, "required"),
    ("money", b"199", "below 200"),
    ("money", b"300000", "above 299999"),
    ("money", b"0003000", "seven digits"),
    ("money", b"3%2C000", "a comma"),
    ("money", b"-3000", "a sign"),
    ("money", b"%82%52%82%4F%82%4F%82%4F", "full-width digits"),
    ("username", None, "required"),
    ("username", b"%81%40%81%40", "spaces alone"),
    ("username", b"%82%E2%82%DC%82%BE", "hiragana"),
    ("username", b"%8ER%93c", "kanji"),
    ("username", b"Yamada", "half-width letters"),
    ("username", b"%D4%CF%C0%DE", "half-width katakana"),
    ("username", b"%E3%83%A4%E3%83%9E%E3%83%80", "UTF-8"),
    ("username", b"%83", "half a character"),
    ("username", b"%83%84%0A", "a line break"),
    ("username", b"%83%84" * 21, "42 bytes"),
    ("telno", None, "required"),
    ("telno", b"03123456", "eight digits"),
    ("telno", b"090123456789", "twelve digits"),
    ("telno", b"1312345678", "does not start with 0"),
    ("telno", b"03-1234-5678", "hyphens"),
    ("email", None, "required"),
    ("email", b"hana+ko%40example.jp", "a space"),
    ("email", b"a" * 44 + b"%40sam.jp", "51 bytes"),
    ("email", b"%82%81%40example.jp", "a full-width letter"),
    ("pay_cvs", None, "required"),
    ("pay_cvs", b"", "blank"),
    ("pay_cvs", b"D0011", "five characters"),
    ("pay_cvs", b"%83%8D", "not half-width"),
    ("sendid", b"a" * 26, "26 bytes"),
    ("sendid", b"a%3Cb", "a symbol that is not in the set"),
    ("sendid", b"%83%84", "not half-width"),
    ("sendpoint", b"a" * 51, "51 bytes"),
    ("sendpoint", b"a%26b", "a symbol that is not in the set"),
    ("testid", b"123456789", "nine digits"),
    ("testid", b"1234567X", "a letter"),
    ("test_type", b"3", "none of the three"),
    ("test_type", b"01", "two digits"),
    ("span", b"1", "below 2"),
    ("span", b"60", "above 59"),
    ("span", b"x", "not a number"),
]

#: What the manual has, at its limits.
RIGHT: list[dict[str, bytes]] = [
    {"money": b"200"},
    {"money": b"299999"},
    {"username": b"%83%84" * 20},
    {"username": b"%83%84%83%7d%83_"},
    {"username": b"\x83\x84\x83\x7d"},
    {"telno": b"031234567"},
    {"telno": b"09012345678"},
    {"email": b"a" * 43 + b"%40sam.jp"},
    {"email": b"foo..bar.%40docomo.ne.jp"},
    {"sendid": b"%5C%21%23%24%25%28%29%7E%7C-+%40%5B%3A%5D.%2F%60%7B%2A%7D%3F_%2B%3D"},
    {"sendpoint": b"%5E" + b"z" * 49},
    {"sendid": b"", "sendpoint": b"", "testid": b"", "test_type": b""},
    {"unheard_of": b"%FF"},
]


def failure(code: str) -> bytes:
    return (
        b"rel=failure_order\norder_no=\npay_no1=\npay_no2=\npay_limit=\npay_url=\nerror_code="
        + code.encode()
        + b"\n"
    )


def midnight_in_japan() -> datetime:
    return datetime(2026, 11, 23, 15, 30, tzinfo=UTC)  # the 24th, half past midnight


@pytest.mark.parametrize(("store", "numbers"), NUMBERS)
def test_an_application_is_accepted(zeus_simulator: Simulator, store: str, numbers: bytes) -> None:
    """Seven lines in the manual's order, and numbers shaped as the store's are."""
    answer = apply(zeus_simulator.url, pay_cvs=store.encode())
    url = rb"http://127\.0\.0\.1:\d+/slip/seven_eleven\?order_no=[-\d]+" if store == "D001" else b""
    expected = (
        rb"rel=Success_order\norder_no=[A-Za-z0-9.-]{1,50}\n"
        + numbers
        + rb"pay_limit=\d{8}\npay_url="
        + url
        + rb"\nerror_code=\n"
    )
    assert re.fullmatch(expected, answer)
    [application] = zeus_simulator.applications
    assert (application.store, application.money, application.sendid) == (store, 3000, "A1B2C3")
    assert (application.username, application.telno) == ("ヤマダ　タロウ", "0312345678")
    assert (application.email, application.status) == ("hanako@example.jp", "01")
    assert not application.test


def test_the_answer_has_a_length_and_a_type(zeus_simulator: Simulator) -> None:
    """A shop that keeps its connection knows where the answer ends."""
    status, headers, body = talk(zeus_simulator.url, post(form()))
    assert (status, headers["content-length"]) == (200, str(len(body)))
    assert headers["content-type"] == "text/plain; charset=Shift_JIS"


@pytest.mark.parametrize(("field", "value", "why"), WRONG, ids=[f"{f}: {why}" for f, _, why in WRONG])
def test_a_wrong_parameter_is_named(
    zeus_simulator: Simulator, field: str, value: bytes | None, why: str
) -> None:
    """A value outside the manual's table is answered by its name alone, and nothing is registered."""
    assert apply(zeus_simulator.url, **{field: value}) == b"Invalid " + field.encode(), why
    assert zeus_simulator.applications == []


def test_the_first_wrong_parameter_is_named(zeus_simulator: Simulator) -> None:
    """Several are wrong: the first of the manual's list is named."""
    assert apply(zeus_simulator.url, telno=b"1", money=b"1", username=b"x") == b"Invalid money"


@pytest.mark.parametrize("changes", RIGHT, ids=repr)
def test_the_limits_are_within(zeus_simulator: Simulator, changes: dict[str, bytes]) -> None:
    """The longest, the shortest, every symbol of the set, either case of hex: all accepted."""
    assert apply(zeus_simulator.url, **changes).startswith(b"rel=Success_order\n")


def test_another_merchants_ip_code_is_stopped(zeus_simulator: Simulator) -> None:
    """An IP code that is well formed and not in use is 800001; its leading zeros count."""
    assert apply(zeus_simulator.url, clientip=b"0234567890") == failure("800001")
    assert apply(zeus_simulator.url, clientip=b"0234567890", pay_cvs=b"D999") == failure("800001")
    assert zeus_simulator.applications == []


def test_a_store_that_is_not_designated_is_refused(zeus_simulator: Simulator) -> None:
    """A code of no store, or of one that the shop has no contract for, is 800002."""
    zeus_simulator.contract.stores = (Store.LAWSON,)
    assert apply(zeus_simulator.url, pay_cvs=b"D999") == failure("800002")
    assert apply(zeus_simulator.url, pay_cvs=b"D001") == failure("800002")
    assert apply(zeus_simulator.url, pay_cvs=b"D002").startswith(b"rel=Success_order\n")


def test_another_merchants_test_id_completes_no_test(zeus_simulator: Simulator) -> None:
    """A wrong test id never becomes a real slip."""
    assert apply(zeus_simulator.url, testid=b"87654321", test_type=b"0") == failure("800000")
    assert zeus_simulator.applications == []


def test_only_a_form_is_read(zeus_simulator: Simulator) -> None:
    """A multipart body or none names the first parameter; a GET is not taken."""
    multipart = post(form(), "/cgi-bin/cvs.cgi", "Content-Type: multipart/form-data; boundary=x")
    assert talk(zeus_simulator.url, multipart)[2] == b"Invalid clientip"
    assert talk(zeus_simulator.url, post(b""))[2] == b"Invalid clientip"
    request = b"GET /cgi-bin/cvs.cgi?" + form() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert talk(zeus_simulator.url, request)[0] == 405


def test_the_deadline_is_counted_in_japan() -> None:
    """The default and ``span`` count from Japan's day, which may be ahead of ours."""
    with Simulator(clock=midnight_in_japan) as zeus:
        assert b"\npay_limit=20261204\n" in apply(zeus.url)
        assert b"\npay_limit=20261126\n" in apply(zeus.url, span=b"2")
        assert b"\npay_limit=20270122\n" in apply(zeus.url, span=b"59")
        zeus.contract.pay_within_days = 7
        assert b"\npay_limit=20261201\n" in apply(zeus.url)
        assert zeus.applications[0].pay_limit == date(2026, 12, 4)
        assert zeus.applications[0].deadline == datetime(2026, 12, 4, 15, tzinfo=UTC)


def test_a_connection_is_kept(zeus_simulator: Simulator) -> None:
    """Many applications go through one connection, also pages, and also when two are sent at once."""
    with Line(zeus_simulator.url) as line:
        line.send(post(form(sendid=b"one")) + post(form(sendid=b"two")))
        assert [line.read()[0] for _ in range(2)] == [200, 200]
        line.send(b"GET /api/applications HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert line.read()[0] == 200
    assert [each.sendid for each in zeus_simulator.applications] == ["one", "two"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n", 411),
        (b"Content-Length: x\r\n", 400),
        (b"Content-Length: 65537\r\n", 413),
        (b"Content-Length: 99999999999999999999\r\n", 413),
    ],
)
def test_a_body_without_end_is_not_read(zeus_simulator: Simulator, headers: bytes, status: int) -> None:
    """The length must be known and bounded; the connection is closed, for what follows cannot be told."""
    with Line(zeus_simulator.url) as line:
        line.send(b"POST /cgi-bin/cvs.cgi HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")
        assert line.read()[0] == status
        assert line.rest() == b""


def test_a_body_cut_short_is_not_applied(zeus_simulator: Simulator) -> None:
    """Half a request registers nothing."""
    with Line(zeus_simulator.url) as line:
        line.send(post(form())[:-1])
    with Line(zeus_simulator.url) as line:
        line.send(b"nonsense\r\n\r\n")
        assert b"400" in line.rest()
    assert zeus_simulator.applications == []


def test_expect_continue_is_answered(zeus_simulator: Simulator) -> None:
    """curl asks before it sends a large body."""
    request = post(form(), "/cgi-bin/cvs.cgi", "Expect: 100-continue")
    with Line(zeus_simulator.url) as line:
        line.send(request)
        assert line.rest_of_line() == b"HTTP/1.1 100 Continue\r\n"


def test_applications_from_many_threads_are_all_kept(zeus_simulator: Simulator) -> None:
    """Two hundred at once: as many order numbers, and no two payable slips share their numbers."""
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: apply(zeus_simulator.url), range(200)))
    assert len({order_no_of(each) for each in answers}) == 200
    assert len({(each.pay_no1, each.pay_no2) for each in zeus_simulator.applications}) == 200


# Scripted answers


def test_a_lost_answer_leaves_a_slip(zeus_simulator: Simulator) -> None:
    """The connection is cut before a byte of the answer, and the next one is whole."""
    zeus_simulator.answer_next("lost")
    with Line(zeus_simulator.url) as line:
        line.send(post(form(sendid=b"lost")))
        assert line.rest() == b""
    assert [each.sendid for each in zeus_simulator.applications] == ["lost"]
    assert apply(zeus_simulator.url).startswith(b"rel=Success_order\n")


def test_a_cut_answer_leaves_a_slip(zeus_simulator: Simulator) -> None:
    """The headers promise more than comes."""
    zeus_simulator.answer_next("cut")
    with Line(zeus_simulator.url) as line:
        line.send(post(form()))
        _, headers, body = line.read()
    assert body.startswith(b"rel=Success_order\n")
    assert 0 < len(body) < int(headers["content-length"])
    assert len(zeus_simulator.applications) == 1


@pytest.mark.parametrize(
    ("fault", "begins"),
    [("empty", b""), ("html", b"<!DOCTYPE html>"), ("maintenance", b"maintenance")],
)
@pytest.mark.parametrize("registered", [False, True])
def test_an_unintelligible_answer(
    zeus_simulator: Simulator, fault: str, begins: bytes, registered: bool
) -> None:
    """Nothing is registered, unless the test says that it was."""
    zeus_simulator.answer_next(fault, registered=registered or None, status=503)
    status, headers, body = talk(zeus_simulator.url, post(form()))
    assert status == 503
    assert body == begins if fault != "html" else body.startswith(begins)
    assert headers["content-type"].startswith("text/html" if fault == "html" else "text/plain")
    assert len(zeus_simulator.applications) == registered


@pytest.mark.parametrize("code", ["800000", "800001", "800002", "900000", "0011", "0008", "0013"])
def test_each_error_code(zeus_simulator: Simulator, code: str) -> None:
    """The answer is the failure with its code; what failed behind ZEUS is in the books as 02."""
    zeus_simulator.answer_next(error_code=code)
    assert apply(zeus_simulator.url) == failure(code)
    expected = [(Status.APPLICATION_FAILED, code)] if code.startswith("00") else []
    assert [(each.status, each.error_code) for each in zeus_simulator.applications] == expected


def test_a_scripted_parameter_error(zeus_simulator: Simulator) -> None:
    """A parameter can be named although the request is right."""
    zeus_simulator.answer_next(parameter="email")
    assert apply(zeus_simulator.url) == b"Invalid email"
    assert zeus_simulator.applications == []


def test_any_bytes(zeus_simulator: Simulator) -> None:
    """A test can spell an answer itself."""
    zeus_simulator.answer_next(body=b"rel = Success_order\r\n")
    assert apply(zeus_simulator.url) == b"rel = Success_order\r\n"
    assert zeus_simulator.applications == []


def test_a_late_answer(zeus_simulator: Simulator) -> None:
    """The slip exists at once, the answer comes later, and other answers do not wait for it."""
    zeus_simulator.answer_next(delay=0.4, times=8)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: apply(zeus_simulator.url), range(8)))
    assert all(each.startswith(b"rel=Success_order\n") for each in answers)
    assert 0.4 <= time.monotonic() - began < 2.5
    began = time.monotonic()
    apply(zeus_simulator.url)
    assert time.monotonic() - began < 0.4


def test_scripts_are_used_up_in_order(zeus_simulator: Simulator) -> None:
    """Each POST takes one; then answers are as the manual has them."""
    zeus_simulator.answer_next("maintenance", times=2)
    zeus_simulator.answer_next("empty")
    answers = [apply(zeus_simulator.url) for _ in range(4)]
    assert answers[:3] == [b"maintenance", b"maintenance", b""]
    assert answers[3].startswith(b"rel=Success_order\n")


def test_a_slip_needs_a_good_request_even_if_the_answer_is_lost(zeus_simulator: Simulator) -> None:
    """A scripted fault does not make the gateway take what it would refuse."""
    zeus_simulator.answer_next("lost")
    zeus_simulator.answer_next(error_code="0008")
    with Line(zeus_simulator.url) as line:
        line.send(post(form(telno=b"1")))
        assert line.rest() == b""
    assert apply(zeus_simulator.url, telno=b"1") == failure("0008")
    assert zeus_simulator.applications == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"fault": "slow"}, "take one of lost, cut, never, empty, html, maintenance"),
        ({"error_code": "8"}, "take one of 800000"),
        ({"parameter": "name"}, "take one of clientip"),
        ({"fault": "lost", "error_code": "0008"}, "an answer is one thing"),
        ({"error_code": "0008", "registered": True}, "leave registered out"),
    ],
)
def test_a_script_that_cannot_be_is_refused(
    zeus_simulator: Simulator, arguments: dict[str, Any], says: str
) -> None:
    """A mistake in a test says what there is to choose from."""
    with pytest.raises(ValueError, match=says):
        zeus_simulator.answer_next(**arguments)
