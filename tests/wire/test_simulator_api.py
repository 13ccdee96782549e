"""The sandbox's JSON API, as a program in any language sees it: names, spellings, errors, and its own paper."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flask_zeus_cvs.simulator import Contract, Silent, Simulator
from flask_zeus_cvs.simulator.api import ERRORS, PREFIX, ROUTES
from flask_zeus_cvs.simulator.ledger import INFO
from flask_zeus_cvs.simulator.site import make_app
from tests.conftest import missing
from tests.wire.simulator_peers import OK, Ear, apply, eventually, order_no_of

Told = tuple[int, Any]

#: The faults while there are none.
NOTHING: dict[str, Any] = {kind: {"next": [], "switched_on": []} for kind in ("answers", "notices")}


def ask(
    zeus: Simulator, method: str, path: str, body: bytes | str | dict[str, Any] = b"", kind: str = ""
) -> Told:
    """One request; a dict goes as JSON, anything else as it is. The answer must be JSON in UTF-8."""
    url = urlsplit(zeus.url)
    connection = HTTPConnection(url.hostname or "", url.port, timeout=20)
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    headers = {"Content-Type": kind} if kind else {}
    try:
        connection.request(method, "/api" + path, raw, headers)
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(response.read().decode("utf-8"))
    finally:
        connection.close()


def get(zeus: Simulator, path: str) -> Any:
    status, answer = ask(zeus, "GET", path)
    assert status == 200, answer
    return answer


def send(zeus: Simulator, path: str, method: str = "POST", /, **values: Any) -> Any:
    status, answer = ask(zeus, method, path, values)
    assert status == 200, answer
    return answer


def refused(zeus: Simulator, method: str, path: str, body: bytes | str | dict[str, Any] = b"") -> Any:
    """What it says, after a look at what every error has."""
    status, answer = ask(zeus, method, path, body)
    assert status == answer["status"] >= 400
    assert all(answer[name] for name in ("error", "message", "cure"))
    return answer


@pytest.fixture
def zeus() -> Iterator[Simulator]:
    with Ear() as ear, Simulator(ear.url) as simulator:
        yield simulator


def applied(zeus: Simulator, **changes: bytes | None) -> str:
    return order_no_of(apply(zeus.url, **changes))


# What it knows


def test_an_application_is_told_in_full() -> None:
    """Everything that was sent and issued, what happened to it, the calls and their answers, and what is possible."""
    at = "2026-11-24T00:30:00+09:00"
    with Ear() as ear, Simulator(ear.url, clock=lambda: datetime.fromisoformat(at)) as zeus:
        order_no = applied(zeus, sendpoint=b"p")
        zeus.settle()
        [call] = zeus.calls
        application = zeus.application(order_no)
        assert get(zeus, f"/applications/{order_no}") == {
            "order_no": order_no,
            "sendid": "A1B2C3",
            "sendpoint": "p",
            "store": "D002",
            "store_name": "ローソン",
            "money": 3000,
            "username": "ヤマダ　タロウ",
            "telno": "0312345678",
            "email": "hanako@example.jp",
            "status": "01",
            "status_name": "未入金",
            "pay_no1": application.pay_no1,
            "pay_no2": application.pay_no2,
            "pay_limit": "20261204",
            "pay_url": "",
            "error_code": "",
            "test": False,
            "applied_at": at,
            "deadline": "2026-12-05T00:00:00+09:00",
            "replaced_by": "",
            "replaces": "",
            "verbs": ["pay", "expire", "reissue", "resend"],
            "notices": ["01"],
            "history": [{"at": at, "status": "01", "by": "apply"}],
            "calls": [
                {
                    "order_no": order_no,
                    "status": "01",
                    "answer": 200,
                    "failure": "",
                    "delivered": True,
                    "attempt": 1,
                    "at": at,
                    "seconds": round(call.seconds, 3),
                    "method": "GET",
                    "query": call.query.decode(),
                    "parameters": {
                        "clientip": "1234567890",
                        "money": "3000",
                        "username": "ヤマダ　タロウ",
                        "telno": "0312345678",
                        "email": "hanako@example.jp",
                        "sendid": "A1B2C3",
                        "sendpoint": "p",
                        "order_no": order_no,
                        "pay_cvs": "D002",
                        "pay_no1": application.pay_no1,
                        "pay_no2": application.pay_no2,
                        "pay_limit": "20261204",
                        "status": "01",
                        "error_code": "",
                    },
                    "said": "OK",
                }
            ],
        }


@pytest.fixture(scope="module")
def many() -> Iterator[Simulator]:
    """Applications named by their sendid, in most statuses."""
    with Simulator() as zeus:
        orders = {
            name: applied(zeus, sendid=name.encode()) for name in ("waits", "paid", "sold", "back", "old")
        }
        orders["seven"] = applied(zeus, sendid=b"seven", pay_cvs=b"D001")
        orders["test"] = applied(zeus, sendid=b"test", testid=b"12345678", test_type=b"0")
        orders["late"] = applied(zeus, sendid=b"late")
        for name in ("paid", "sold", "back"):
            zeus.pay(orders[name])
        zeus.confirm(orders["sold"])
        zeus.cancel(orders["back"])
        zeus.reissue(orders["old"])
        zeus.expire(orders["late"])
        yield zeus


@pytest.mark.parametrize(
    ("query", "sendids"),
    [
        ("", "waits paid sold back old seven test late old"),
        ("status=04", "paid"),
        ("status=04,05&status=06", "paid sold back"),
        ("status=cancelled", "old"),
        ("status=stopped", ""),
        ("status=03&status=02", "late"),
        ("store=D001", "seven"),
        ("store=D001,D002&status=01", "waits seven test old"),
        ("sendid=old", "old old"),
        ("sendid=ol", ""),
        ("test=true", "test"),
        ("test=false&status=01", "waits seven old"),
        ("since=2020-01-01&status=04", "paid"),
        ("since=2999-01-01", ""),
        ("limit=2", "waits paid"),
        ("limit=2&offset=2", "sold back"),
        ("limit=2&newest=true", "old late"),
        ("newest=on&status=04,05,06&offset=1", "sold paid"),
    ],
)
def test_the_list_is_filtered_and_paged(many: Simulator, query: str, sendids: str) -> None:
    """Filters narrow each other; several statuses or stores widen; the oldest come first."""
    answer = get(many, f"/applications?{query}")
    assert [each["sendid"] for each in answer["applications"]] == sendids.split()


def test_pages_lead_to_the_end(many: Simulator) -> None:
    """`next` is the offset of what follows, and null at the end; the total is that of all pages."""
    seen, offset = [], 0
    while offset is not None:
        answer = get(many, f"/applications?limit=4&offset={offset}")
        assert answer["total"] == 9
        seen += [each["order_no"] for each in answer["applications"]]
        offset = answer["next"]
    assert seen == [each.order_no for each in many.applications]


def test_since_is_a_moment_or_a_day_in_japan() -> None:
    """A time with its zone; a day begins at midnight in Japan; a form's blank for the plus is understood."""
    with Simulator(clock=lambda: datetime.fromisoformat("2026-11-23T15:30:00+00:00")) as zeus:
        applied(zeus)  # on the 24th in Japan, at half past midnight
        for since, count in [
            ("2026-11-24", 1),
            ("2026-11-25", 0),
            ("2026-11-24T00:30:00%2B09:00", 1),
            ("2026-11-24T00:30:00+09:00", 1),
            ("2026-11-24T00:30:01%2B09:00", 0),
            ("2026-11-23T15:30:00Z", 1),
        ]:
            assert get(zeus, f"/applications?since={since}")["total"] == count, since


@pytest.mark.parametrize(
    ("verbs", "statuses"),
    [
        (["pay", "resend", "confirm"], ["01", "04", "04", "05"]),
        (["pay", "cancel"], ["01", "04", "06"]),
        (["expire"], ["01"]),
        (["reissue", "pay", "confirm"], ["01", "01", "11", "12"]),
        (["reissue", "pay", "cancel"], ["01", "01", "11", "13"]),
    ],
)
def test_every_verb(verbs: list[str], statuses: list[str]) -> None:
    """As in Python: each answers the application as it is then, and the shop is told."""
    with Ear() as ear, Simulator(ear.url) as zeus:
        order_no = applied(zeus)
        for verb in verbs:
            answer = send(zeus, f"/applications/{order_no}/{verb}")
            expected = zeus.applications[-1] if verb == "reissue" else zeus.application(order_no)
            assert (answer["order_no"], answer["status"]) == (expected.order_no, expected.status)
        send(zeus, "/settle", timeout=5)
        assert ear.statuses == statuses


def test_resend_says_a_status_of_long_ago() -> None:
    """Any that the shop was told; another is refused."""
    with Ear() as ear, Simulator(ear.url) as zeus:
        order_no = applied(zeus)
        zeus.pay(order_no)
        send(zeus, f"/applications/{order_no}/resend", status="01")
        zeus.settle()
        assert ear.statuses == ["01", "04", "01"]
        answer = refused(zeus, "POST", f"/applications/{order_no}/resend", "status=05")
        assert (answer["error"], answer["verb"]) == ("refused", "resend")


def test_a_slip_past_its_deadline_cannot_be_paid(zeus: Simulator) -> None:
    """The old slip of a re-issue would be payable by its status; among the verbs that are possible it is not."""
    order_no = applied(zeus)
    zeus.reissue(order_no)
    assert "pay" in get(zeus, f"/applications/{order_no}")["verbs"]
    zeus.forward_to_deadline(order_no)
    assert get(zeus, f"/applications/{order_no}")["verbs"] == ["resend"]
    assert refused(zeus, "POST", f"/applications/{order_no}/pay")["cure"] == "possible now: resend"


# The counter


def entered(zeus: Simulator, order_no: str, **changes: str) -> dict[str, str]:
    """What its customer types at the store."""
    application = zeus.application(order_no)
    telno = {"telno": application.telno} if application.store == "D015" else {}
    shown = {"store": application.store, "pay_no1": application.pay_no1, "pay_no2": application.pay_no2}
    return {**shown, **telno, **changes}


@pytest.mark.parametrize("store", ["D001", "D002", "D030", "D015", "D050", "D060"])
def test_paying_and_taking_back_at_the_counter(zeus: Simulator, store: str) -> None:
    """By the numbers alone, as a customer has them; forgiving what people type."""
    order_no = applied(zeus, pay_cvs=store.encode())
    numbers = entered(zeus, order_no)
    assert send(zeus, "/counter", **numbers)["order_no"] == order_no
    numbers["pay_no1"] = f" {numbers['pay_no1'][:3]}-{numbers['pay_no1'][3:]} "
    assert send(zeus, "/counter/pay", **numbers)["status"] == "04"
    assert refused(zeus, "POST", "/counter/pay", numbers)["error"] == "refused"
    assert send(zeus, "/counter/cancel", **numbers)["status"] == "06"
    assert refused(zeus, "POST", "/counter/cancel", numbers)["status"] == 409


def test_a_till_reads_a_slip_only_at_its_store_and_in_time(zeus: Simulator) -> None:
    """Another store, other numbers, another telephone number: no slip. Past the deadline: refused."""
    lawson, seicomart = applied(zeus), applied(zeus, pay_cvs=b"D015")
    for wrong in (
        entered(zeus, lawson, store="D050"),
        entered(zeus, lawson, pay_no2="000000"),
        entered(zeus, seicomart, telno="0300000000"),
        entered(zeus, seicomart, telno=""),
    ):
        assert refused(zeus, "POST", "/counter/pay", wrong)["error"] == "not_found"
    assert refused(zeus, "POST", "/counter/pay", entered(zeus, lawson, store="D999"))["status"] == 422
    assert refused(zeus, "POST", "/counter/pay", {"store": "D002"})["status"] == 400
    zeus.forward_to_deadline(lawson)
    assert refused(zeus, "POST", "/counter/pay", entered(zeus, lawson))["error"] == "refused"


def test_a_tests_numbers_work_in_no_store(zeus: Simulator) -> None:
    """It runs by itself."""
    order_no = applied(zeus, testid=b"12345678", test_type=b"0")
    assert "in no store" in refused(zeus, "POST", "/counter/pay", entered(zeus, order_no))["message"]
    assert zeus.application(order_no).status == "01"


# The contract


def test_the_contract_is_told_and_changed_in_part(zeus: Simulator) -> None:
    """What is not named stays; lists may be JSON's or texts; the answer is the whole contract."""
    changed = send(zeus, "/contract", "PATCH", retries=2, method="post", on_request=["02", "03"])
    assert changed == get(zeus, "/contract") == json.loads(json.dumps(zeus.contract.as_json()))
    assert (changed["retries"], changed["method"], changed["on_request"]) == (2, "POST", ["02", "03"])
    status, answer = ask(
        zeus,
        "PATCH",
        "/contract",
        "parameters=status&parameters=order_no&confirm_after_days=D001%3D1",
        "application/x-www-form-urlencoded",
    )
    assert (status, answer["parameters"]) == (200, ["status", "order_no"])
    assert (answer["confirm_after_days"], answer["retries"]) == ({"D001": 1}, 2)


def test_a_wrong_term_changes_nothing(zeus: Simulator) -> None:
    """All of it or none; the message says what there is."""
    answer = refused(zeus, "PATCH", "/contract", {"retries": 5, "method": "PUT"})
    assert (answer["status"], answer["message"]) == (422, "method: there is no 'PUT': take one of GET, POST")
    assert zeus.contract.retries == 0
    answer = refused(zeus, "PATCH", "/contract", {"colour": "red"})
    assert (answer["status"], answer["error"]) == (400, "unreadable")
    assert "notify" in answer["message"]


def test_every_term_can_be_changed(zeus: Simulator) -> None:
    """The table of the address has exactly what a contract has."""
    [route] = [each for each in ROUTES if each.method == "PATCH"]
    assert [each.name for each in route.takes] == list(Contract().as_json())
    assert send(zeus, "/contract", "PATCH", **get(zeus, "/contract")) == get(zeus, "/contract")


# Faults


def test_faults_for_the_next_ones(zeus: Simulator) -> None:
    """They add up, in order, and are used up."""
    send(zeus, "/faults/answers", error_code="0008", times=2)
    answer = send(zeus, "/faults/answers", body="なに", status=503)
    assert answer == {
        "switch": None,
        "next": [
            {"error_code": "0008", "registered": False},
            {"error_code": "0008", "registered": False},
            {"body": "なに", "status": 503, "registered": False},
        ],
        "switched_on": [],
    }
    assert apply(zeus.url).endswith(b"error_code=0008\n")
    assert len(get(zeus, "/faults")["answers"]["next"]) == 2


def test_faults_are_switched_on_and_off(zeus: Simulator) -> None:
    """Each has a number among its kind: two of one number are told apart by their kind."""
    first = send(zeus, "/faults/answers", fault="maintenance", on=True)
    other = send(zeus, "/faults/notices", trouble="delay", share="0.25", seconds=3)
    assert first["switch"] == other["switch"] == 1
    assert get(zeus, "/faults") == {
        "answers": {
            "next": [],
            "switched_on": [{"number": 1, "share": 1.0, "fault": "maintenance", "registered": False}],
        },
        "notices": {
            "next": [],
            "switched_on": [{"number": 1, "share": 0.25, "trouble": "delay", "seconds": 3.0}],
        },
    }
    assert [apply(zeus.url) for _ in range(3)] == [b"maintenance"] * 3
    status, left = ask(zeus, "DELETE", "/faults/answers/1")
    assert (status, left["answers"]["switched_on"]) == (200, [])
    assert [each["number"] for each in left["notices"]["switched_on"]] == [1]
    assert apply(zeus.url).startswith(b"rel=Success_order\n")
    assert refused(zeus, "DELETE", "/faults/answers/1")["error"] == "not_found"


def test_all_faults_of_a_kind_or_all_at_once(zeus: Simulator) -> None:
    """What is scripted and what is switched on alike."""
    for _ in range(2):
        for path, what in (("/faults/answers", {"fault": "lost"}), ("/faults/notices", {"trouble": "drop"})):
            send(zeus, path, **what, times=3)
            send(zeus, path, **what, share=0.5)
        status, left = ask(zeus, "DELETE", "/faults/notices")
        assert (status, left["notices"]) == (200, {"next": [], "switched_on": []})
        assert len(left["answers"]["next"]) == 3
        status, left = ask(zeus, "DELETE", "/faults")
        assert left == NOTHING


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("answers", {}, "nothing would happen"),
        ("answers", {"times": 2}, "nothing would happen"),
        ("answers", {"fault": "gone"}, "take one of lost, cut"),
        ("answers", {"fault": "lost", "error_code": "0008"}, "an answer is one thing"),
        ("answers", {"fault": "lost", "times": 0}, "times: give a number from 1"),
        ("answers", {"fault": "lost", "times": 10_001}, "times: give a number from 1 to 10000"),
        ("answers", {"fault": "lost", "times": 1, "on": True}, "one of times, share and on"),
        ("answers", {"fault": "lost", "share": 0.5, "on": True}, "one of times, share and on"),
        ("answers", {"fault": "lost", "share": 0}, "share: give a number above 0"),
        ("answers", {"fault": "lost", "share": 1.5}, "share: give a number from 0 to 1"),
        ("answers", {"fault": "lost", "on": False}, "use DELETE"),
        ("answers", {"delay": -1}, "delay: give a number from 0"),
        ("answers", {"status": 99}, "status: give a number from 200"),
        ("answers", {"body": "\u30f7"}, "body: it has a character"),
        ("answers", {"body": 7}, "body: give a text"),
        ("answers", {"crlf": "maybe"}, "crlf: give true or false"),
        ("notices", {"trouble": "lost"}, "take one of drop, repeat, reorder, delay"),
        ("notices", {"trouble": "delay", "seconds": 3601}, "seconds: give a number from 0 to 3600"),
    ],
)
def test_a_fault_that_cannot_be(zeus: Simulator, kind: str, given: dict[str, Any], says: str) -> None:
    """422 with what there is; nothing is scripted."""
    answer = refused(zeus, "POST", f"/faults/{kind}", given)
    assert (answer["status"], answer["error"]) == (422, "invalid")
    assert says in answer["message"]
    assert get(zeus, "/faults") == NOTHING


# Calls, mails


def test_calls_are_listed_and_filtered() -> None:
    """By application, status, and whether they were answered with 200; what the shop said is there."""
    with Ear() as ear, Simulator(ear.url) as zeus:
        ear.answers.extend([OK, b"HTTP/1.1 500 Oops\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry"])
        one, two = applied(zeus), applied(zeus)
        zeus.pay(one)
        zeus.settle()
        assert [each["order_no"] for each in get(zeus, "/calls")["calls"]] == [one, two, one]
        assert [each["status"] for each in get(zeus, f"/calls?order_no={one}")["calls"]] == ["01", "04"]
        assert [each["order_no"] for each in get(zeus, "/calls?status=04,05")["calls"]] == [one]
        assert get(zeus, "/calls?limit=1&offset=1")["next"] == 2
        [failed] = get(zeus, "/calls?delivered=false")["calls"]
        assert (failed["order_no"], failed["answer"], failed["said"]) == (two, 500, "sorry")
        assert get(zeus, "/calls?delivered=true")["total"] == 2
        assert get(zeus, "/calls?order_no=nobody") == {"total": 0, "next": None, "calls": []}


def test_mails_are_listed_and_filtered(zeus: Simulator) -> None:
    """By kind and application; one by its number, as it was received."""
    one, two = applied(zeus), applied(zeus)
    zeus.pay(two)
    told = get(zeus, "/mails")["mails"]
    assert [each["kind"] for each in told] == ["customer", "application_completed"] * 2 + ["payment_received"]
    assert [each["number"] for each in get(zeus, f"/mails?order_no={two}")["mails"]] == [3, 4, 5]
    [mail] = get(zeus, f"/mails?kind=customer&order_no={one}")["mails"]
    assert mail == get(zeus, "/mails/1")
    assert (mail["to"], mail["name"]) == ("hanako@example.jp", "お支払いのご案内（お客様あて）")
    assert zeus.application(one).pay_no1 in mail["text"]
    assert refused(zeus, "GET", "/mails/6")["error"] == "not_found"


# Time


def test_the_clock_is_moved(zeus: Simulator) -> None:
    """By a step, to a moment, to the next day, to a deadline; what falls due on the way has happened."""
    order_no = applied(zeus)
    start = datetime.fromisoformat(get(zeus, "/clock")["now"])
    told = send(zeus, "/clock", forward="+1 hour")
    assert 3600 <= told["moved_seconds"] < 3660
    assert datetime.fromisoformat(told["now"]) >= start + timedelta(hours=1)
    status, told = ask(zeus, "POST", "/clock", b"forward=%2B30+minutes", "application/x-www-form-urlencoded")
    assert (status, told["moved_seconds"]) == (200, 5400)
    assert send(zeus, "/clock", to="next day")["now"][11:19] == "00:00:00"
    moment = (start + timedelta(days=3)).replace(microsecond=0)
    assert send(zeus, "/clock", to=moment.isoformat())["now"][:19] == moment.isoformat()[:19]
    send(zeus, "/clock", to="deadline", order_no=order_no)
    assert get(zeus, f"/applications/{order_no}")["status"] == "03"


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({}, 422, "one of forward and to"),
        ({"forward": "+1 hour", "to": "next day"}, 422, "one of forward and to"),
        ({"forward": "-1 hour"}, 422, "as +1 hour"),
        ({"forward": "a while"}, 422, "second, minute, hour, day, week"),
        ({"forward": 1}, 422, "forward: give a text"),
        ({"to": "yesterday"}, 422, "as 2026-12-01T09:00:00+09:00"),
        ({"to": "2099-01-01T00:00:00"}, 422, "with its zone"),
        ({"to": "2001-01-01T00:00:00+09:00"}, 422, "only goes forward"),
        ({"to": "9999-12-31T23:59:59-09:00"}, 422, "give a day"),
        ({"to": "9999-01-01"}, 422, "too far"),
        ({"to": "deadline"}, 422, "order_no"),
        ({"to": "next day", "order_no": "1"}, 422, "order_no"),
        ({"to": "deadline", "order_no": "nobody"}, 404, "nobody"),
    ],
)
def test_a_time_that_cannot_be(zeus: Simulator, given: dict[str, Any], status: int, says: str) -> None:
    """The message says how to write it, and the clock stays."""
    answer = refused(zeus, "POST", "/clock", given)
    assert answer["status"] == status
    assert says in answer["message"]
    assert get(zeus, "/clock")["moved_seconds"] == 0


def test_settle_waits_for_the_shop() -> None:
    """Until it has answered; 409 when it does not in time."""
    with Ear() as ear, Simulator(ear.url) as zeus:
        heard: list[str] = []
        ear.answers.append(None)
        applied(zeus)
        answer = refused(zeus, "POST", "/settle", "timeout=0.05")
        assert (answer["status"], answer["error"]) == (409, "not_settled")
    with Ear() as ear, Simulator(ear.url) as zeus, ThreadPoolExecutor(1) as pool:
        ear.on_hearing = lambda: heard.append("heard")
        ear.answers.append([b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"])
        applied(zeus)
        assert pool.submit(send, zeus, "/settle").result(20) == {"settled": True, "calls": 1}
        assert heard == ["heard"]


def test_settle_ends_with_the_sandbox() -> None:
    """Who waits does not hold up its end."""
    with Ear() as ear, ThreadPoolExecutor(1) as pool:
        ear.answers.append(None)
        with Simulator(ear.url) as zeus:
            applied(zeus)
            eventually(lambda: ear.heard)
            pool.submit(ask, zeus, "POST", "/settle", {"timeout": 600})
            eventually(lambda: zeus._works.sender._settling)


def test_reset_forgets_everything(zeus: Simulator) -> None:
    """Applications, calls, mails, faults, the moved clock, the changed contract."""
    applied(zeus)
    zeus.settle()
    send(zeus, "/contract", "PATCH", retries=3, stopped=True, notify="")
    send(zeus, "/faults/answers", fault="lost", on=True)
    send(zeus, "/clock", forward="3 weeks")
    assert send(zeus, "/reset")["moved_seconds"] == 0
    assert [get(zeus, each)["total"] for each in ("/applications", "/calls", "/mails")] == [0, 0, 0]
    assert get(zeus, "/faults")["answers"]["switched_on"] == []
    contract = get(zeus, "/contract")
    assert (contract["retries"], contract["stopped"]) == (0, False)
    assert contract["notify"].endswith("/zeus-cvs/callback")
    applied(zeus)
    zeus.settle()
    assert len(zeus.calls) == 1


# Spellings, errors


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/clock", b'{"forward": "1 day"}', "application/json"),
        ("/clock", b' {"forward": "1 day"}', "application/x-www-form-urlencoded"),
        ("/clock", b'{"forward": "1 day"}', ""),
        ("/clock", b"forward=1+day", ""),
        ("/clock", b"forward=1+day", "application/x-www-form-urlencoded"),
        ("/clock", b"forward=1%20day", "application/x-www-form-urlencoded; charset=UTF-8"),
        (
            "/clock",
            b'--x\r\nContent-Disposition: form-data; name="forward"\r\n\r\n1 day\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        ("/clock?forward=1+day", b"", ""),
    ],
)
def test_json_form_and_query_mean_the_same(zeus: Simulator, path: str, body: bytes, kind: str) -> None:
    """JSON is known by its first character, also where a client calls it a form."""
    assert ask(zeus, "POST", path, body, kind)[1]["moved_seconds"] == 86400


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"forward": }',
        b"[1]",
        b'"text"',
        b"\xff\xfe",
        b"{" * 60000,
        b'{"a":' + b"[" * 60000,
        b"{\xff}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_cannot_be_read(zeus: Simulator, body: bytes) -> None:
    """400 that says what to look at; never a 500, and the connection goes on."""
    answer = refused(zeus, "POST", "/clock", body)
    assert (answer["status"], answer["error"]) == (400, "unreadable")


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("POST", "/applications/nobody/pay", 404, "unknown_application"),
        ("POST", "/applications/nobody/resend", 404, "unknown_application"),
        ("POST", "/applications/nobody/fly", 404, "not_found"),
        ("GET", "/applications/nobody", 404, "unknown_application"),
        ("GET", "/applications/nobody/pay", 405, "method_not_allowed"),
        ("GET", "/applications?status=99", 422, "invalid"),
        ("GET", "/applications?store=D999", 422, "invalid"),
        ("GET", "/applications?limit=1001", 422, "invalid"),
        ("GET", "/applications?limit=0", 422, "invalid"),
        ("GET", "/applications?since=today", 422, "invalid"),
        ("GET", "/applications?colour=red", 400, "unreadable"),
        ("GET", "/calls?status=cancelled", 422, "invalid"),
        ("GET", "/mails?kind=letter", 422, "invalid"),
        ("GET", "/mails/one", 404, "not_found"),
        ("GET", "/clock?now=1", 400, "unreadable"),
        ("POST", "/faults/notices", 400, "unreadable"),
        ("DELETE", "/faults/letters", 404, "not_found"),
        ("DELETE", "/faults/letters/1", 404, "not_found"),
        ("DELETE", "/faults/notices/x", 404, "not_found"),
        ("POST", "/settle?timeout=601", 422, "invalid"),
        ("PUT", "/contract", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "not_found"),
    ],
)
def test_errors_are_json_with_a_cure(
    zeus_simulator: Simulator, method: str, path: str, status: int, error: str
) -> None:
    """A program never gets a page: what is wrong has a name, a sentence and a cure."""
    answer = refused(zeus_simulator, method, path)
    assert (answer["status"], answer["error"]) == (status, error)


def test_head_is_answered_too(zeus_simulator: Simulator) -> None:
    """As GET, without the body; an error of it is one as well."""
    for path, status in (("/applications", 200), ("/applications?limit=0", 422), ("/nothing", 404)):
        connection = HTTPConnection("127.0.0.1", urlsplit(zeus_simulator.url).port, timeout=20)
        connection.request("HEAD", PREFIX + path)
        with connection.getresponse() as response:
            assert (response.status, response.read()) == (status, b"")
        connection.close()


def test_another_sites_page_is_told_so(zeus_simulator: Simulator) -> None:
    """As JSON too, with the name that the page has for it."""
    url = urlsplit(zeus_simulator.url)
    connection = HTTPConnection("127.0.0.1", url.port, timeout=20)
    connection.request("DELETE", PREFIX + "/faults", headers={"Origin": "https://shop.example"})
    with connection.getresponse() as response:
        assert (response.status, json.load(response)["error"]) == (403, "forbidden")
    connection.close()


def test_every_error_is_documented(zeus_simulator: Simulator) -> None:
    """With its status."""
    text = page(zeus_simulator)
    for name, (status, _) in ERRORS.items():
        assert f"<code>{name}</code></th><td>{status.value}</td>" in text


def test_an_impossible_verb_is_a_conflict(zeus_simulator: Simulator) -> None:
    """409 with the reason and what is possible instead; nothing has changed."""
    order_no = applied(zeus_simulator)
    assert refused(zeus_simulator, "POST", f"/applications/{order_no}/confirm") == {
        "error": "refused",
        "status": 409,
        "verb": "confirm",
        "message": f"cannot confirm {order_no}: it is 01 awaiting payment, "
        "confirm needs 04 payment received or 11 received after cancel",
        "cure": "possible now: pay, expire, reissue, resend",
    }
    assert zeus_simulator.applications[0].status == "01"


# Its own paper

COMMAND = re.compile(r'<pre class="command"[^>]*><code>(.*?)</code></pre>', re.DOTALL)
NEEDED: dict[str, list[str]] = {"confirm": ["pay"], "cancel": ["pay"]}


def page(zeus: Simulator) -> str:
    connection = HTTPConnection("127.0.0.1", urlsplit(zeus.url).port, timeout=20)
    connection.request("GET", PREFIX)
    with connection.getresponse() as response:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        text = response.read().decode("utf-8")
    connection.close()
    return text


def test_every_address_is_documented(zeus_simulator: Simulator) -> None:
    """Whatever is routed under /api is a row of the table, on the page and in openapi.json; and nothing else is."""
    rules = make_app(zeus_simulator._works, anywhere=False).url_map.iter_rules()
    routed = {
        (method, str(rule))
        for rule in rules
        if str(rule).startswith(PREFIX)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routed == {(route.method, route.rule) for route in ROUTES}
    assert len({route.anchor for route in ROUTES}) == len(ROUTES)
    text = page(zeus_simulator)
    for route in ROUTES:
        assert f"<code>{route.method} {route.path}</code>" in text
        assert f'id="{route.anchor}"' in text
        for field in route.takes:
            assert f"<code>{field.name}</code>" in text
    described = get(zeus_simulator, "/openapi.json")["paths"]
    assert {(method.upper(), path) for path, methods in described.items() for method in methods} == {
        (route.method, route.path) for route in ROUTES
    }


def test_the_page_says_that_it_is_not_zeus(zeus_simulator: Simulator) -> None:
    """In both languages, as on every page."""
    text = page(zeus_simulator)
    assert "これはZEUSではありません" in text
    assert "This is not ZEUS" in text


def test_openapi_says_what_is_taken(zeus_simulator: Simulator) -> None:
    """Names, kinds and choices, in the query or the body, as the table has them."""
    described = get(zeus_simulator, "/openapi.json")
    assert described["openapi"] == "3.1.0"
    assert described["servers"] == [{"url": zeus_simulator.url}]
    listed = {each["name"]: each for each in described["paths"]["/api/applications"]["get"]["parameters"]}
    assert listed["status"]["schema"]["items"]["enum"] == list(map(str, INFO))
    assert listed["limit"]["schema"] == {"type": "integer"}
    notices = described["paths"]["/api/faults/notices"]["post"]["requestBody"]["content"]["application/json"]
    assert notices["schema"]["required"] == ["trouble"]
    assert notices["schema"]["properties"]["trouble"]["enum"] == ["drop", "repeat", "reorder", "delay"]


@pytest.fixture
def shell(tmp_path: Path) -> Any:
    """Run a command as it is printed; curl is quiet and adds the HTTP status in a line of its own."""
    if subprocess.run(["sh", "-c", "command -v curl"], capture_output=True, check=False).returncode:
        missing("curl")
    (tmp_path / ".curlrc").write_text('silent\nmax-time = 30\nnoproxy = "*"\nwrite-out = "\\n%{http_code}"\n')

    def run(command: str) -> tuple[str, int]:
        ended = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            check=True,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", "CURL_HOME": str(tmp_path), "HOME": str(tmp_path)},
        )
        body, _, status = ended.stdout.decode("utf-8").rpartition("\n")
        return body, int(status)

    return run


@pytest.mark.parametrize("number", range(len(ROUTES) + 1), ids=["apply", *(route.anchor for route in ROUTES)])
def test_every_example_runs_as_printed(zeus: Simulator, shell: Any, number: int) -> None:
    """Copied from the page into a shell, each does what its address is for."""
    order_no = applied(zeus)
    for verb in NEEDED.get(ROUTES[number - 1].needs or "", []):
        send(zeus, f"/applications/{order_no}/{verb}")
    zeus.answer_while("lost", share=0.5)
    zeus.answer_next(delay=0)
    command = html.unescape(COMMAND.findall(page(zeus))[number])
    assert command.startswith("curl ")
    body, status = shell(command)
    assert status == 200, body
    if number == 0:
        assert body.startswith("rel=Success_order\n")
    elif ROUTES[number - 1].returns == "application/json":
        assert "error" not in json.loads(body)


def test_examples_are_about_applications_that_there_are(zeus: Simulator) -> None:
    """The newest that allows what the example does; a word in capitals where there is none."""
    assert "/applications/ORDER_NO/pay" in page(zeus)
    paid, fresh = applied(zeus), applied(zeus)
    zeus.pay(paid)
    text = page(zeus)
    assert f"/applications/{paid}/confirm" in text
    assert f"/applications/{fresh}/pay" in text


def test_nothing_is_logged_of_a_customer(zeus: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is asked for and listed: neither name nor address nor telephone number."""
    caplog.set_level("DEBUG")
    order_no = applied(zeus)
    for path in ("/applications", f"/applications/{order_no}", "/calls", "/mails"):
        get(zeus, path)
    refused(zeus, "PATCH", "/contract", {"mail_to": "hanako at example.jp"})
    logged = caplog.text + repr([vars(each) for each in caplog.records])
    for each in ("ヤマダ", "0312345678", "hanako", "A1B2C3"):
        assert each not in logged


def test_all_statuses_can_be_listed() -> None:
    """The filter takes all eleven, the two without a code by their names."""
    [listing] = [each for each in ROUTES if (each.method, each.path) == ("GET", "/api/applications")]
    [status] = [each for each in listing.takes if each.name == "status"]
    assert len(status.choices) == 11
    assert {str(Silent.CANCELLED), str(Silent.STOPPED)} < set(status.choices)
