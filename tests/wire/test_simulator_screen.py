"""ZEUS's screen: finding applications, their CSV, one with all that became of it, test ids, and the contract."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from html import unescape

import pytest
import requests
from werkzeug.datastructures import MultiDict

from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.simulator import Contract, MailKind, SimulatedApplication, Simulator
from flask_zeus_cvs.simulator.clock import JST
from flask_zeus_cvs.simulator.ledger import INFO
from flask_zeus_cvs.simulator.search import PAGE, REMEMBERED
from flask_zeus_cvs.simulator.site import make_app
from flask_zeus_cvs.simulator.spreadsheet import COLUMNS
from flask_zeus_cvs.simulator.terms import COMPLAINTS, as_form
from tests.wire.page_reader import Page
from tests.wire.simulator_peers import Ear, apply, eventually, form, post, talk

#: What is done to an application to bring it to each status; "refuse" is an error code at the application.
PATHS: dict[str, list[str]] = {
    "01": [],
    "02": ["refuse"],
    "03": ["expire"],
    "04": ["pay"],
    "05": ["pay", "confirm"],
    "06": ["pay", "cancel"],
    "cancelled": ["reissue"],
    "11": ["reissue", "pay"],
    "12": ["reissue", "pay", "confirm"],
    "13": ["reissue", "pay", "cancel"],
    "stopped": ["stop_service", "pay", "resume_service"],
}
ROW = re.compile(r'<th role="rowheader"[^>]*><a class="number" href="/applications/([^"]+)"')
NOON = datetime(2026, 11, 24, 12, 0, 5, tzinfo=JST)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is asked directly, whatever the machine's settings are."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")


@pytest.fixture
def zeus() -> Iterator[Simulator]:
    """A sandbox at noon, that notifies nobody."""
    with Simulator(clock=lambda: NOON) as simulator:
        yield simulator


def applied(zeus: Simulator, **changes: bytes | None) -> SimulatedApplication:
    apply(zeus.url, **changes)
    return zeus.applications[-1]


def brought_to(zeus: Simulator, status: str) -> SimulatedApplication:
    """Apply, and do what leads to a status."""
    if PATHS[status] == ["refuse"]:
        zeus.answer_next(error_code="0008")
        return applied(zeus)
    application = applied(zeus)
    for verb in PATHS[status]:
        if verb.endswith("_service"):
            getattr(zeus, verb)()
        else:
            getattr(zeus, verb)(application.order_no)
    return zeus.application(application.order_no)


def get(zeus: Simulator, path: str) -> requests.Response:
    return requests.get(zeus.url + path, timeout=10)


def send(zeus: Simulator, path: str, data: object = None, *, follow: bool = True) -> requests.Response:
    return requests.post(zeus.url + path, data, timeout=10, allow_redirects=follow)  # type: ignore[arg-type]


def found(zeus: Simulator, **asked: object) -> list[str]:
    """Send the search form, and return what the list shows."""
    answer = send(zeus, "/screen", asked)
    assert answer.history[0].status_code == 303
    return ROW.findall(answer.text)


# The list


@pytest.mark.parametrize("status", PATHS)
def test_each_status_can_be_filtered(zeus: Simulator, status: str) -> None:
    """Of all eleven, those and no others."""
    assert list(PATHS) == [str(each) for each in INFO]
    for each in PATHS:
        assert brought_to(zeus, each).status == each
    expected = [each.order_no for each in reversed(zeus.applications) if each.status == status]
    assert expected
    assert found(zeus, status=status) == expected
    assert f'value="{status}" checked' in get(zeus, f"/screen?status={status}").text


def test_several_filters_at_once(zeus: Simulator) -> None:
    """Several statuses and stores widen, different filters narrow."""
    one, two = brought_to(zeus, "01"), brought_to(zeus, "04")
    three = applied(zeus, pay_cvs=b"D001")
    test = applied(zeus, pay_cvs=b"D001", testid=b"12345678", test_type=b"0")
    numbers = [each.order_no for each in (test, three, two, one)]
    assert found(zeus, status=["01", "04"]) == numbers
    assert found(zeus, store=["D001", "D002"], status="01") == [numbers[0], numbers[1], numbers[3]]
    assert found(zeus, store="D001", test="0") == [three.order_no]
    assert found(zeus, test="1") == [test.order_no]
    assert found(zeus, status="99", store="D999", test="x") == numbers


@pytest.mark.parametrize(
    "words",
    [
        "MEMO-7",
        "ヤマダ",
        "ヤマダ　タロウ",
        "やまだ たろう",
        "ﾔﾏﾀﾞ",
        "ヤマダタロウ",
        "03-1234-5678",
        "０３１２３４",
        "Hanako@",
        "{order_no}",
        "{pay_no1} {pay_no2}",
        "タロウ memo7 0312345678",
    ],
)
def test_words_find_an_application(zeus: Simulator, words: str) -> None:
    """By order number, sendid, name, telephone, e-mail or payment number, however people write them."""
    wanted = applied(zeus, sendid=b"MEMO-7")
    applied(zeus, username=b"%83n%83i%83R", telno=b"0987654321", email=b"jiro%40example.jp")
    typed = words.format(
        order_no=wanted.order_no,
        pay_no1=wanted.pay_no1[:3] + "-" + wanted.pay_no1[3:],
        pay_no2=wanted.pay_no2,
    )
    assert found(zeus, words=typed) == [wanted.order_no]
    assert found(zeus, words=f"{typed} nobody") == []


def test_what_was_searched_for_stands_in_no_address(zeus: Simulator) -> None:
    """The words are kept under a number; the form has them again, and old ones are forgotten with a word of it."""
    applied(zeus)
    answer = send(zeus, "/screen", {"words": "ヤマダ 0312345678", "status": "01"}, follow=False)
    assert answer.headers["Location"] == "/screen?status=01&words=1"
    assert 'value="ヤマダ 0312345678"' in get(zeus, "/screen?status=01&words=1").text
    for _ in range(REMEMBERED):
        send(zeus, "/screen", {"words": "x"}, follow=False)
    assert "もう一度検索してください" in get(zeus, "/screen?words=1").text
    zeus.reset()
    assert "もう一度検索してください" in get(zeus, "/screen?words=2").text


def test_days_of_application(zeus: Simulator) -> None:
    """Both ends count; a day that is none, or an end before its beginning, comes back beside its field."""
    first = applied(zeus)
    zeus.next_day()
    second = applied(zeus)
    assert found(zeus, since="2026-11-25") == [second.order_no]
    assert found(zeus, until="2026-11-24") == [first.order_no]
    assert found(zeus, since="2026-11-24", until="2026-11-25") == [second.order_no, first.order_no]
    wrong = send(zeus, "/screen", {"since": "tomorrow", "words": "ヤマダ", "status": "05"})
    assert (wrong.status_code, 'value="tomorrow" aria-invalid' in wrong.text) == (422, True)
    assert 'id="since-wrong">日付を' in wrong.text
    assert 'value="ヤマダ"' in wrong.text
    assert 'value="05" checked' in wrong.text
    wrong = send(zeus, "/screen", {"since": "2026-11-25", "until": "2026-11-24"})
    assert (wrong.status_code, 'id="until-wrong">' in wrong.text) == (422, True)
    assert get(zeus, "/screen?since=tomorrow&page=x").status_code == 200


def test_totals(zeus: Simulator) -> None:
    """Number, yen, and what is payable to the shop: 04, 05, 11 and 12, no tests."""
    for status in PATHS:
        brought_to(zeus, status)
    applied(zeus, testid=b"12345678", test_type=b"1", money=b"299999")
    zeus.settle()
    page = get(zeus, "/screen").text
    totals = re.findall(r"<dd>(.*?)</dd>", page[page.index('class="totals"') :])[:3]
    # eleven, and the four new slips of what was re-issued; 3,000 yen each
    assert totals[0] == "16件 <small>うちテスト1件</small>"
    assert totals[1] == "45,000円"
    assert totals[2] == "12,000円 <small>4件</small>"
    assert "0円 <small>0件" in get(zeus, "/screen?status=stopped").text


def test_paging(zeus: Simulator) -> None:
    """Fifty on a page, newest first; a page beyond the last is the last."""
    for _ in range(PAGE + 1):
        apply(zeus.url)
    numbers = [each.order_no for each in reversed(zeus.applications)]
    first = get(zeus, "/screen?status=01").text
    assert ROW.findall(first) == numbers[:PAGE]
    assert f"{PAGE + 1}件のうち 1–{PAGE}件目" in first
    assert 'rel="next" href="/screen?page=2&amp;status=01"' in first
    for page in ("2", "99"):
        last = get(zeus, f"/screen?status=01&page={page}").text
        assert ROW.findall(last) == numbers[PAGE:]
        assert 'rel="next"' not in last
    assert ROW.findall(get(zeus, "/screen?page=-1").text) == numbers[:PAGE]


def test_an_empty_list_says_why(zeus: Simulator) -> None:
    """Nothing yet is not the same as nothing that fits."""
    assert "まだ申込はありません" in get(zeus, "/screen").text
    applied(zeus)
    assert "この条件に合う申込はありません" in get(zeus, "/screen?status=05").text


# CSV

HEADER = (
    b"order_no,status,status_name,pay_cvs,money,username,telno,email,sendid,sendpoint,pay_no1,pay_no2,"
    b"pay_limit,error_code,test,applied_at,changed_at,replaces,replaced_by\r\n"
)


def test_csv_as_bytes(zeus: Simulator) -> None:
    """cp932 and CRLF, oldest first, values as they were sent, quoted where a comma or a quote is in them."""
    old = applied(zeus, sendid=b"=1%2B1", sendpoint=b"%7Ca%20b%7C")
    zeus.forward("+1 hour")
    new = zeus.reissue(old.order_no)
    numbers, fresh = f"{old.pay_no1},{old.pay_no2}".encode(), f"{new.pay_no1},{new.pay_no2}".encode()
    who = b"\x83\x84\x83\x7d\x83_\x81\x40\x83\x5e\x83\x8d\x83E,0312345678,hanako@example.jp,=1+1,|a b|"
    one, two = old.order_no.encode(), new.order_no.encode()
    answer = get(zeus, "/screen.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=Shift_JIS"
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="zeus-sandbox-20261124-130005.csv"'
    )
    assert answer.content == (
        HEADER
        + one + b",,\x83L\x83\x83\x83\x93\x83Z\x83\x8b,D002,3000," + who + b"," + numbers
        + b",20261204,,0,2026-11-24 12:00:05,2026-11-24 13:00:05,," + two + b"\r\n"
        + two + b",01,\x96\xa2\x93\xfc\x8b\xe0,D002,3000," + who + b"," + fresh
        + b",20261204,,0,2026-11-24 13:00:05,2026-11-24 13:00:05," + one + b",\r\n"
    )  # fmt: skip


def test_csv_in_utf_8_of_what_is_filtered(zeus: Simulator) -> None:
    """With a byte order mark; the filter and the words of the list count."""
    applied(zeus)
    failed = brought_to(zeus, "02")
    send(zeus, "/screen", {"words": "ヤマダ"})
    answer = get(zeus, "/screen.csv?encoding=utf-8&status=02&words=1")
    head, *lines = answer.content.split(b"\r\n")
    assert head + b"\r\n" == b"\xef\xbb\xbf" + HEADER
    assert lines == [
        f"{failed.order_no},02,申込エラー,D002,3000,ヤマダ　タロウ,0312345678,hanako@example.jp,A1B2C3,,,,"
        ",0008,0,2026-11-24 12:00:05,2026-11-24 12:00:05,,".encode(),
        b"",
    ]
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"


def test_the_csv_is_documented(zeus: Simulator) -> None:
    """Every column stands on the page about the format."""
    page = get(zeus, "/screen/csv").text
    assert re.findall(r'<th scope="row"><code>(\w+)</code>', page) == list(COLUMNS)
    for each in ("cp932", "encoding=utf-8", "BOM", "CRLF"):
        assert each in page


# One application


def test_an_application_with_all_that_became_of_it() -> None:
    """Every fact, the history with who did it, each call with what was sent and what the shop said."""
    with Ear() as ear, Simulator(ear.url, clock=lambda: NOON) as zeus:
        application = applied(zeus, sendid=b"MEMO-7", sendpoint=b"P-1")
        zeus.settle()
        ear.answers.append(b"HTTP/1.1 500 Oops\r\nContent-Length: 6\r\n\r\n\x8e\xb8\x94s <")
        zeus.pay(application.order_no)
        zeus.settle()
        page = unescape(get(zeus, f"/applications/{application.order_no}").text)
        assert application.deadline
        for each in (
            application.pay_no1,
            application.pay_no2,
            "3,000円",
            "2026年12月4日(金) 24時まで",
            "ヤマダ　タロウ",
            "0312345678",
            "hanako@example.jp",
            "MEMO-7",
            "P-1",
            "2026-11-24 12:00:05",
            "お店からの申込",
            "店頭での支払い",
            "→ 200",
            "→ 500",
            "1回目",
            "失敗 <",
            "CGI送信エラー通知",
        ):
            assert each in page, each
        sent = re.search(rb"GET \S+\?(\S+) HTTP", ear.heard[1])
        assert sent
        assert f"<pre>{sent[1].decode()}</pre>" in page
        table = dict(re.findall(r"<code>(\w+)</code></th><td>[^<]*</td><td>([^<]*)</td>", page))
        assert (table["username"], table["status"], table["money"]) == ("ヤマダ　タロウ", "04", "3000")
        assert table["error_code"] == "（空欄）"


def test_an_older_notice_is_sent_again() -> None:
    """Each status that the shop was told has a button; a status that it was not told is refused."""
    with Ear() as ear, Simulator(ear.url) as zeus:
        order_no = applied(zeus).order_no
        zeus.pay(order_no)
        zeus.settle()
        page = get(zeus, f"/applications/{order_no}").text
        assert re.findall(r'name="status" value="(\d\d)"', page) == ["01", "04"]
        done = send(zeus, f"/applications/{order_no}/resend", {"status": "01"})
        assert "通知を再送信しました。" in done.text
        zeus.settle()
        send(zeus, f"/applications/{order_no}/resend")
        zeus.settle()
        assert ear.statuses == ["01", "04", "01", "04"]
        refused = send(zeus, f"/applications/{order_no}/resend", {"status": "05"})
        assert refused.status_code == 409
        assert f'href="/applications/{order_no}"' in refused.text


def test_a_notice_under_way_is_said_to_be() -> None:
    """Whoever looks at once learns that the answer is still to come."""
    with Ear() as ear, Simulator(ear.url, notice_timeout=5) as zeus:
        ear.answers.append(None)
        order_no = applied(zeus).order_no
        eventually(lambda: ear.heard)
        assert "送信待ちの通知が1件あります" in get(zeus, f"/applications/{order_no}").text
        zeus.reset()
        apply(zeus.url)
        zeus.settle()
        assert "送信待ち" not in get(zeus, f"/applications/{zeus.applications[0].order_no}").text


def test_the_screens_buttons(zeus: Simulator) -> None:
    """A button does its verb and says so; one that has become impossible explains itself."""
    old = applied(zeus)
    url = f"/applications/{old.order_no}"
    offered = re.findall(rf'action="{url}/(\w+)"', get(zeus, url).text)
    assert offered == ["expire", "reissue", "resend"]
    done = send(zeus, f"{url}/reissue")
    new = zeus.applications[1].order_no
    assert done.history[0].headers["Location"] == f"/applications/{new}?done=reissue"
    assert "の再発行です" in done.text
    assert f'href="/applications/{new}"' in get(zeus, url).text
    refused = send(zeus, f"{url}/reissue")
    assert (refused.status_code, "この操作はできません" in refused.text) == (409, True)
    assert "期日切にしました" in send(zeus, f"/applications/{new}/expire").text
    zeus.pay(old.order_no)
    assert "売上確定にしました" in send(zeus, f"{url}/confirm").text
    assert [each.status for each in zeus.applications] == ["12", "03"]
    for path in ("/applications/nobody", "/applications/nobody/reissue", f"{url}/pay"):
        assert send(zeus, path).status_code in (404, 405)
    assert get(zeus, "/applications/nobody").status_code == 404


# Test ids


def test_test_ids_are_issued_and_withdrawn(zeus: Simulator) -> None:
    """A test is taken with an id that stands on the page, and is 800000 once it is withdrawn."""
    assert "テストID 00000001 を発行しました" in send(zeus, "/screen/test-ids", {"testid": "00000001"}).text
    assert b"Success_order" in apply(zeus.url, testid=b"00000001", test_type=b"0")
    send(zeus, "/screen/test-ids/00000001/withdraw")
    assert b"error_code=800000" in apply(zeus.url, testid=b"00000001", test_type=b"0")
    send(zeus, "/screen/test-ids", {"testid": ""})
    assert re.fullmatch(r"\d{8}", zeus.contract.testids[-1])
    assert len(zeus.contract.testids) == 2


@pytest.mark.parametrize(
    ("testid", "says"), [("12345678", "もう発行されています"), ("x1", "半角数字で"), ("123456789", "8桁まで")]
)
def test_a_wrong_test_id_comes_back(zeus: Simulator, testid: str, says: str) -> None:
    """Beside the field, with what was typed."""
    answer = send(zeus, "/screen/test-ids", {"testid": testid})
    assert (answer.status_code, says in answer.text) == (422, True)
    assert f'value="{testid}" inputmode="numeric"' in answer.text
    assert zeus.contract.testids == ("12345678",)


# The contract


def test_every_term_is_on_the_page(zeus: Simulator) -> None:
    """All of the contract can be read and changed there; what is wrong with each can be said."""
    assert set(COMPLAINTS) == {each.name for each in fields(Contract)}
    page = get(zeus, "/screen/terms").text
    for name in set(COMPLAINTS) - {"stopped", "confirm_after_days", "mails_off"}:
        assert f'name="{name}"' in page, name
    assert page.count('name="days_') == 6
    assert page.count('name="mails"') == len(MailKind)


def test_the_form_says_what_the_contract_is(zeus: Simulator) -> None:
    """Sent back as it is shown, it changes nothing, whatever the contract is."""
    zeus.contract.change(
        {
            "stores": ["D001", "D030"],
            "parameters": ["status", "order_no", "money"],
            "on_request": ["03"],
            "notify": "http://127.0.0.1:9/cgi?shop=1",
            "method": "POST",
            "testids": ["1", "22"],
            "mails_off": ["customer"],
            "confirm_after_days": {"D002": 1},
            "customer_message": "一行目\n二行目",
            "agent": "sandbox agent",
            "sent_from": "127.0.0.2",
        }
    )
    before = zeus.contract.as_json()
    shown = Page(get(zeus, "/screen/terms").text).form("/screen/terms")
    changed = send(zeus, "/screen/terms", shown.pairs)
    assert "契約内容を変更しました" in changed.text
    assert zeus.contract.as_json() == before


def _pairs(form: MultiDict[str, str]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in form.items(multi=True)]


CHANGES: dict[str, tuple[Mapping[str, object], object]] = {
    "clientip": ({"clientip": "0000000001"}, "0000000001"),
    "testids": ({"testids": "11\r\n22"}, ("11", "22")),
    "stores": ({"stores": ["D001"]}, (Store.SEVEN_ELEVEN,)),
    "pay_within_days": ({"pay_within_days": "59"}, 59),
    "on_request": ({"on_request": ["02", "03"]}, {Status.APPLICATION_FAILED, Status.EXPIRED}),
    "notify": ({"notify": "https://shop.example/cgi"}, "https://shop.example/cgi"),
    "parameters": (
        {
            "parameters": ["status", "order_no", "money"],
            "place_money": "1",
            "place_status": "2",
            "place_order_no": "9",
        },
        ("money", "status", "order_no"),
    ),
    "method": ({"method": "POST"}, "POST"),
    "agent": ({"agent": "Agent 1"}, "Agent 1"),
    "sent_from": ({"sent_from": "127.0.0.2"}, "127.0.0.2"),
    "retries": ({"retries": "3"}, 3),
    "retry_minutes": ({"retry_minutes": "0.5"}, 0.5),
    "confirm_after_days": ({f"days_{code}": "" for code in Store} | {"days_D002": "0"}, {Store.LAWSON: 0}),
    "test_outcome_minutes": ({"test_outcome_minutes": "1"}, 1),
    "mail_to": ({"mail_to": "desk@example.com"}, "desk@example.com"),
    "mails_off": ({"mails": ["customer"]}, set(MailKind) - {MailKind.CUSTOMER, MailKind.CALL_FAILED}),
    "customer_message": ({"customer_message": "一\r\n二"}, "一\n二"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_term_is_changed(zeus: Simulator, name: str) -> None:
    """That one, and no other."""
    assert set(CHANGES) == set(COMPLAINTS) - {"stopped"}
    typed, expected = CHANGES[name]
    form = as_form(zeus.contract)
    for field, value in typed.items():
        form.setlist(field, value if isinstance(value, list) else [str(value)])
    before = vars(zeus.contract).copy()
    assert send(zeus, "/screen/terms", _pairs(form)).status_code == 200
    assert vars(zeus.contract) == {**before, name: expected}


WRONG: list[tuple[str, dict[str, str]]] = [
    ("clientip", {"clientip": "123"}),
    ("testids", {"testids": "12 x"}),
    ("stores", {"stores": "D999"}),
    ("pay_within_days", {"pay_within_days": "60"}),
    ("on_request", {"on_request": "04"}),
    ("notify", {"notify": "ftp://shop.example"}),
    ("parameters", {"place_money": "first"}),
    ("method", {"method": "PUT"}),
    ("agent", {"agent": "エージェント"}),
    ("sent_from", {"sent_from": "localhost"}),
    ("retries", {"retries": "11"}),
    ("retry_minutes", {"retry_minutes": "soon"}),
    ("confirm_after_days", {"days_D002": "-1"}),
    ("test_outcome_minutes", {"test_outcome_minutes": "31"}),
    ("mail_to", {"mail_to": "desk"}),
]


@pytest.mark.parametrize(("name", "typed"), WRONG, ids=[each[0] for each in WRONG])
def test_a_wrong_term_comes_back(zeus: Simulator, name: str, typed: dict[str, str]) -> None:
    """With the complaint beside its field and what was typed; nothing of the form is taken."""
    form = as_form(zeus.contract)
    form["customer_message"] = "残ります"
    form.update(typed)
    for field, value in typed.items():
        form.setlist(field, [value])
    before = zeus.contract.as_json()
    answer = send(zeus, "/screen/terms", _pairs(form))
    assert answer.status_code == 422
    assert f'id="{name}-wrong">{COMPLAINTS[name]}' in answer.text
    assert answer.text.count('class="wrong"') == 1
    assert "残ります" in answer.text
    for value in typed.values():
        assert value in unescape(answer.text) or name in {"stores", "on_request", "method"}
    assert zeus.contract.as_json() == before


def test_the_service_is_stopped_and_goes_on() -> None:
    """番組停止: every page says so, applications are 800001, a till takes money of which nobody is told."""
    with Ear() as ear, Simulator(ear.url) as zeus:
        application = applied(zeus)
        zeus.settle()
        assert "いま<strong>停止中</strong>です" in send(zeus, "/screen/service", {"stopped": "on"}).text
        assert "番組停止中です" in get(zeus, "/counter").text
        assert b"error_code=800001" in apply(zeus.url)
        typed = {
            "store": "D002",
            "pay_no1": application.pay_no1,
            "pay_no2": application.pay_no2,
            "action": "pay",
        }
        paid = send(zeus, "/counter", typed)
        assert "お預かりしました" in paid.text
        assert "領収書" in paid.text
        zeus.settle()
        assert zeus.application(application.order_no).status == "stopped"
        assert (ear.statuses, len(zeus.mails)) == (["01"], 2)
        assert "いま<strong>提供中</strong>です" in send(zeus, "/screen/service", {"stopped": "off"}).text
        assert "番組停止中です" not in get(zeus, "/counter").text


# Whoever means harm


def test_hostile_values_are_only_text() -> None:
    """What customers, shops and searchers send never becomes markup, nor code of a template."""
    script = "<script>alert(1)</script>"
    with Ear() as ear, Simulator(ear.url) as zeus:
        zeus.contract.change({"customer_message": script})
        said = f"HTTP/1.1 500 Oops\r\nContent-Length: {len(script)}\r\n\r\n{script}"
        ear.answers.append(said.encode())
        application = applied(zeus, sendid=b"%7B%7B7*7%7D%7D", email=b"%22%3E%3Cimg%40x.jp")
        zeus.settle()
        send(zeus, "/screen", {"words": f'">{script}'})
        pages = [
            get(zeus, path).text
            for path in (
                "/",
                "/screen?words=1",
                f"/applications/{application.order_no}",
                "/mails",
                "/mails/1",
                "/screen/terms",
                f"/screen/test-ids?issued={script}",
                f"/clock?since={script}&until=2026-11-24&back={script}",
                f"/trouble?done={script}",
            )
        ]
        for page in pages:
            assert "<script" not in page
            assert "<img" not in page
        assert "{{7*7}}" in pages[2]
        assert "&lt;script&gt;" in pages[2]
        assert "&lt;script&gt;" in pages[4]


def test_no_form_can_be_sent_from_another_site() -> None:
    """Whatever changes anything refuses a page of another site, and has changed nothing."""
    with Simulator() as zeus:
        order_no = applied(zeus).order_no
        filled = {
            "order_no": order_no,
            "verb": "reissue",
            "testid": "12345678",
            "which": "answers",
            "number": 1,
        }
        rules = make_app(zeus._works, anywhere=False).url_map.bind("127.0.0.1")
        routes = [rule for rule in rules.map.iter_rules() if "POST" in (rule.methods or ())]
        before = (zeus.applications, zeus.contract.as_json(), zeus._works.clock.moved)
        zeus.answer_next("lost")
        for rule in routes:
            arguments = {name: filled.get(name, "pay") for name in rule.arguments}
            path = rules.build(rule.endpoint, arguments, method="POST")
            body = form() if "cvs.cgi" in path else b"stopped=on&step=%2B1+hour&forward=%2B1+hour"
            assert talk(zeus.url, post(body, path, "Sec-Fetch-Site: cross-site"))[0] == 403, path
        assert len(routes) >= 13
        assert len(zeus._works.answers.pending) == 1
        assert before == (zeus.applications, zeus.contract.as_json(), zeus._works.clock.moved)


def test_no_page_logs_personal_data(zeus: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what customers gave nor what is searched for."""
    with caplog.at_level(logging.DEBUG):
        order_no = applied(zeus).order_no
        send(zeus, "/screen", {"words": "ヤマダ 0312345678"})
        for path in (f"/applications/{order_no}", "/screen.csv", "/mails", "/mails/1", "/mails/1.eml"):
            assert get(zeus, path).status_code == 200
        send(zeus, "/counter", {"store": "D015", "pay_no1": "1", "telno": "0312345678"})
    said = [
        each.getMessage() for each in caplog.records if each.name.startswith(("flask", "werkzeug", "zeus"))
    ]
    assert said
    for each in ("ヤマダ", "0312345678", "hanako"):
        assert each not in "\n".join(said)
