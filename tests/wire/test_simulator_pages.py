"""The sandbox's pages over real sockets: stores, mailbox, clock, trouble; readable for all, closed to other sites."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email import message_from_bytes
from email.policy import default
from html import unescape

import pytest
import requests

from flask_zeus_cvs.protocol.codes import ERROR_CODES, STORES, Status
from flask_zeus_cvs.simulator import SimulatedApplication, Simulator, barcode
from flask_zeus_cvs.simulator.clock import JST
from flask_zeus_cvs.simulator.gateway import Fault, plan
from flask_zeus_cvs.simulator.notices import Trouble
from flask_zeus_cvs.simulator.pages import NO_DEADLINE, NO_MOMENT, PAST, TOO_FAR
from flask_zeus_cvs.simulator.trouble import COMPLAINTS, MANNERS
from tests.wire.page_reader import Form, Page
from tests.wire.simulator_peers import Ear, apply, form, post, talk

#: Per store: the labels of what is entered, in the order in which its terminal asks.
ENTERED = {
    "D001": ["払込票番号"],
    "D002": ["受付番号", "確認番号"],
    "D030": ["企業コード", "注文番号"],
    "D015": ["お支払受付番号", "電話番号"],
    "D050": ["受付番号", "確認番号"],
    "D060": ["オンライン決済番号"],
}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is asked directly, whatever the machine's settings are."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")


def applied(zeus: Simulator, **changes: bytes | None) -> SimulatedApplication:
    apply(zeus.url, **changes)
    return zeus.applications[-1]


def enter(zeus: Simulator, application: SimulatedApplication, **changes: str) -> requests.Response:
    """Send the counter's form with the numbers of `application`."""
    typed = {"store": str(application.store), "pay_no1": application.pay_no1, "pay_no2": application.pay_no2}
    return requests.post(f"{zeus.url}/counter", {**typed, **changes}, timeout=10, allow_redirects=False)


def till_form(text: str) -> Form:
    """Read the form of a terminal or till."""
    return Page(text).form("/counter")


def send(zeus: Simulator, path: str, **data: str) -> requests.Response:
    return requests.post(zeus.url + path, data, timeout=10)


def get(zeus: Simulator, path: str) -> requests.Response:
    return requests.get(zeus.url + path, timeout=10)


@pytest.mark.parametrize("store", ENTERED)
def test_pay_and_take_back_at_the_counter(zeus_simulator: Simulator, store: str) -> None:
    """A person finds the store, enters the numbers under its own labels, pays, and takes the payment back."""
    application = applied(zeus_simulator, pay_cvs=store.encode())
    name = STORES[application.store].name
    assert f'href="/counter?store={store}">{name}</a>' in get(zeus_simulator, "/counter").text
    blank = get(zeus_simulator, f"/counter?store={store}")
    assert till_form(blank.text).labels == ENTERED[store]
    filled = till_form(get(zeus_simulator, f"/counter?order_no={application.order_no}").text)
    assert filled.labels == ENTERED[store]

    till = requests.post(f"{zeus_simulator.url}/counter", filled.fields, timeout=10)
    assert "3,000円を支払う" in till.text
    assert till_form(till.text).buttons == ["pay"]
    paid = requests.post(
        f"{zeus_simulator.url}/counter", {**till_form(till.text).fields, "action": "pay"}, timeout=10
    )
    assert paid.history[0].status_code == 303
    assert "3,000円をお預かりしました。" in paid.text
    assert zeus_simulator.applications[0].status == "04"

    back = requests.post(
        f"{zeus_simulator.url}/counter", {**till_form(paid.text).fields, "action": "cancel"}, timeout=10
    )
    assert "入金を取り消しました。" in back.text
    assert zeus_simulator.applications[0].status == "06"


def test_numbers_may_be_written_with_spaces_and_hyphens(zeus_simulator: Simulator) -> None:
    """People copy numbers as they are printed."""
    application = applied(zeus_simulator, pay_cvs=b"D030")
    number = application.pay_no1
    entered = enter(
        zeus_simulator, application, pay_no1=f" {number[:4]}-{number[4:8]} {number[8:]} ", action="pay"
    )
    assert entered.status_code == 303
    wide = str.maketrans("0123456789", "０１２３４５６７８９")
    other = applied(zeus_simulator)
    typed = {"pay_no1": other.pay_no1.translate(wide), "pay_no2": other.pay_no2.translate(wide)}
    assert enter(zeus_simulator, other, **typed, action="pay").status_code == 303


@pytest.mark.parametrize(
    "changes", [{"store": "D050"}, {"pay_no1": "000"}, {"pay_no2": ""}, {"pay_no1": "", "pay_no2": ""}]
)
def test_the_till_reads_a_slip_only_by_its_store_and_numbers(
    zeus_simulator: Simulator, changes: dict[str, str]
) -> None:
    """Another store or a wrong number: the form again with what was typed, and nothing is paid."""
    application = applied(zeus_simulator)
    answer = enter(zeus_simulator, application, **changes, action="pay")
    assert answer.status_code == 422
    assert "この番号のお支払いは見つかりません" in answer.text
    assert till_form(answer.text).fields["pay_no1"] == changes.get("pay_no1", application.pay_no1)
    assert zeus_simulator.applications[0].status == "01"


def test_seicomart_asks_for_the_telephone_number(zeus_simulator: Simulator) -> None:
    """The number alone is not enough there."""
    application = applied(zeus_simulator, pay_cvs=b"D015")
    assert enter(zeus_simulator, application, action="pay").status_code == 422
    assert enter(zeus_simulator, application, action="pay", telno="03-1234-5678").status_code == 303


def test_a_store_must_be_chosen(zeus_simulator: Simulator) -> None:
    """A form without a store, or with a code of none, leads back to the choice."""
    application = applied(zeus_simulator)
    for store in ("", "D999"):
        answer = enter(zeus_simulator, application, store=store)
        assert (answer.status_code, "お店を選んでください" in answer.text) == (422, True)
    assert "どのお店で支払いますか" in get(zeus_simulator, "/counter?store=D999").text


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (["pay"], "お支払い済みです。"),
        (["pay", "confirm"], "売上も確定しています。"),
        (["pay", "cancel"], "入金が取り消された番号です。"),
        (["expire"], "支払期限が過ぎている"),
        (["expire", "reissue"], "支払期限が過ぎている"),
        (["reissue", "pay"], "お支払い済みです。"),
    ],
)
def test_the_till_refuses_what_cannot_be_paid(zeus_simulator: Simulator, path: list[str], says: str) -> None:
    """It reads the number, says why, and offers no button to pay; a payment that is tried is a 409."""
    application = applied(zeus_simulator)
    for verb in path:
        getattr(zeus_simulator, verb)(application.order_no)
    before = zeus_simulator.applications
    read = enter(zeus_simulator, application)
    assert (read.status_code, says in read.text) == (200, True)
    assert "pay" not in till_form(read.text).buttons
    tried = enter(zeus_simulator, application, action="pay")
    assert (tried.status_code, says in tried.text) == (409, True)
    assert zeus_simulator.applications == before


def test_nothing_to_take_back(zeus_simulator: Simulator) -> None:
    """A slip that is not paid has no payment to take back."""
    application = applied(zeus_simulator)
    answer = enter(zeus_simulator, application, action="cancel")
    assert (answer.status_code, "取り消せる入金がありません。" in answer.text) == (409, True)
    assert (
        "まだ支払われていません"
        in get(zeus_simulator, f"/counter/receipt?order_no={application.order_no}").text
    )


def test_a_test_slip_is_of_no_use_in_a_store(zeus_simulator: Simulator) -> None:
    """The counter says so; its notices come by themselves."""
    application = applied(zeus_simulator, testid=b"12345678", test_type=b"0")
    answer = enter(zeus_simulator, application, action="pay")
    assert (answer.status_code, "テストの申込です" in answer.text) == (422, True)
    assert zeus_simulator.applications[0].status == "01"


def test_the_old_slip_of_a_reissue_is_still_paid_at_the_counter(zeus_simulator: Simulator) -> None:
    """Two slips with different numbers: the till takes either."""
    old = applied(zeus_simulator)
    new = zeus_simulator.reissue(old.order_no)
    assert enter(zeus_simulator, old, action="pay").status_code == 303
    assert enter(zeus_simulator, new, action="pay").status_code == 303
    assert [each.status for each in zeus_simulator.applications] == ["11", "04"]


def test_pay_url_shows_the_slip(zeus_simulator: Simulator) -> None:
    """7-Eleven's customers are sent to a page with the number, the amount and the deadline."""
    application = applied(zeus_simulator, pay_cvs=b"D001")
    page = requests.get(application.pay_url, timeout=10)
    assert page.status_code == 200
    for each in (application.pay_no1, "払込票番号", "3,000円", "ヤマダ　タロウ 様", "支払期限"):
        assert each in page.text
    zeus_simulator.pay(application.order_no)
    assert "お支払い済みです。" in requests.get(application.pay_url, timeout=10).text
    other = applied(zeus_simulator)
    assert get(zeus_simulator, f"/slip/seven_eleven?order_no={other.order_no}").status_code == 404


def test_the_slip_has_its_barcode(zeus_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bars of its own number, inline; without the library a line says how to get them."""
    application = applied(zeus_simulator, pay_cvs=b"D001")
    bars = barcode.path(barcode.modules(application.pay_no1))
    page = requests.get(application.pay_url, timeout=10).text
    assert '<svg viewBox="0 0 143 1"' in page
    assert f'<path d="{bars}"/>' in page
    monkeypatch.setattr(barcode, "Code128", None)
    page = requests.get(application.pay_url, timeout=10).text
    assert "<svg" not in page
    assert 'pip install "Flask-Zeus-CVS[sandbox]"' in page
    assert application.pay_no1 in page


def test_a_receipt(zeus_simulator: Simulator) -> None:
    """Store, time by the sandbox's clock, amount and numbers; after taking back, what is returned."""
    application = applied(zeus_simulator, pay_cvs=b"D030")
    zeus_simulator.forward(days=1)
    zeus_simulator.pay(application.order_no)
    paid_at = zeus_simulator.application(application.order_no).history[-1].at
    path = f"/counter/receipt?order_no={application.order_no}"
    page = get(zeus_simulator, path).text
    for each in (
        "領収書",
        "ファミリーマート",
        f"{paid_at:%Y-%m-%d %H:%M:%S}",
        "3,000円",
        application.pay_no1,
    ):
        assert each in page
    zeus_simulator.cancel(application.order_no)
    assert "返金レシート" in get(zeus_simulator, path).text


def test_the_first_page_lists_the_applications() -> None:
    """What the shop must be set to, and the newest first, with its answers and links to counter and screen."""
    with Ear() as ear, Simulator(ear.url) as zeus:
        assert "まだ申込はありません" in get(zeus, "/").text
        ear.answers.append(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        first, second = applied(zeus), applied(zeus, pay_cvs=b"D001")
        zeus.pay(first.order_no)
        zeus.settle()
        page = get(zeus, "/").text
        assert page.index(second.order_no) < page.index(first.order_no)
        for each in (ear.url, zeus.endpoint, "01 → 500", "04 → 200", "受付番号", "払込票番号", "2件"):
            assert each in page
        for path in (f"/counter?order_no={second.order_no}", f"/applications/{first.order_no}", "/screen"):
            assert f'href="{path}"' in page
        assert "ヤマダ" not in page


#: Every page; ORDER is the number of an application that was paid.
PAGES = [
    "/",
    "/counter",
    "/counter?store=D015",
    "/counter?order_no=ORDER",
    "/counter/receipt?order_no=ORDER",
    "/slip/seven_eleven?order_no=ORDER",
    "/screen",
    "/screen?status=04",
    "/screen/csv",
    "/screen/terms",
    "/screen/test-ids",
    "/applications/ORDER",
    "/mails",
    "/mails/1",
    "/clock",
    "/clock?since=2020-01-01&until=2030-01-01",
    "/trouble",
    "/reset",
    "/operation-test",
    "/nowhere",
]


def shown(zeus: Simulator, path: str) -> requests.Response:
    """Open a page of a sandbox in which something has happened."""
    application = applied(zeus, pay_cvs=b"D001")
    zeus.pay(application.order_no)
    applied(zeus, testid=b"12345678", test_type=b"1")
    zeus.answer_while("lost")
    zeus.notify_next("drop")
    return get(zeus, path.replace("ORDER", application.order_no))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_can_be_read_by_all(zeus_simulator: Simulator, path: str) -> None:
    """One first heading and no level left out; every control has a name, every reference leads somewhere."""
    answer = shown(zeus_simulator, path)
    assert answer.status_code == (404 if path == "/nowhere" else 200)
    assert '<html lang="ja">' in answer.text
    page = Page(answer.text)
    levels = [level for level, _ in page.headings]
    assert levels.count(1) == 1
    assert all(text for _, text in page.headings)
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))
    assert page.nameless == []
    assert page.dangling == set()
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_tells_the_sandboxs_time(zeus_simulator: Simulator, path: str) -> None:
    """And by how much it was moved; from each it can be moved, and the way leads back."""
    zeus_simulator.forward(days=1, hours=2)
    page = shown(zeus_simulator, path).text
    assert "+1日2時間" in page
    assert f'<time datetime="{zeus_simulator.now:%Y-%m-%dT}' in page
    move = next(each for each in Page(page).forms if "+1 hour" in each.buttons)
    assert move.action == "/clock"
    assert move.fields["back"].startswith("" if "/clock" in path else path.partition("ORDER")[0])


def test_the_way_back_survives_several_moves(zeus_simulator: Simulator) -> None:
    """It leads to the page from which the clock was first moved, not from one move to the other."""
    page = send(zeus_simulator, "/clock", step="+1 hour", back="/screen?status=01").text
    assert {form.fields["back"] for form in Page(page).forms} == {"/screen?status=01"}
    wrong = send(zeus_simulator, "/clock", to="soon", back="/screen?status=01").text
    assert {form.fields["back"] for form in Page(wrong).forms} == {"/screen?status=01"}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_that_it_is_not_zeus(zeus_simulator: Simulator, path: str) -> None:
    """In Japanese and English, with no script, no inline style, and headers that allow neither."""
    page = shown(zeus_simulator, path)
    assert "これはZEUSではありません" in page.text
    assert "This is not ZEUS" in page.text
    assert not re.search(r"<script|<style|style=|\son[a-z]+=", page.text)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert page.headers["Cache-Control"] == "no-store"


def test_the_style_sheet_is_there(zeus_simulator: Simulator) -> None:
    """It comes with the package."""
    found = re.search(r'href="([^"]+\.css)"', get(zeus_simulator, "/").text)
    assert found
    assert get(zeus_simulator, found[1]).headers["Content-Type"].startswith("text/css")


# The mailbox


def test_the_mailbox() -> None:
    """Newest first: to whom, what, when; by kind and by application; each as it was received."""
    with Ear() as ear, Simulator(ear.url) as zeus:
        ear.answers.append(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        first = applied(zeus, email=b"foo..bar%40docomo.ne.jp")
        zeus.settle()
        second = applied(zeus)
        zeus.settle()
        shop, customer, failed = "お申し込みを受け付けました", "お支払い番号のお知らせ", "CGI送信エラー通知"

        def subjects(query: str) -> list[str]:
            listed = re.findall(r"【サンドボックス】(.*?)</a>", get(zeus, f"/mails{query}").text)
            return [each.removeprefix("コンビニでの") for each in listed]

        assert subjects("") == [shop, customer, failed, shop, customer]
        assert subjects("?kind=customer") == [customer, customer]
        assert subjects("?kind=shop") == [shop, shop]
        assert subjects("?kind=failed") == [failed]
        assert subjects(f"?order_no={second.order_no}") == [shop, customer]
        assert subjects(f"?kind=failed&order_no={second.order_no}") == []
        assert "この条件に合うメールはありません" in get(zeus, "/mails?order_no=nobody").text
        page = unescape(get(zeus, "/mails/1").text)
        for each in (*zeus.mails[0].text.splitlines(), zeus.mails[0].subject, "foo..bar@docomo.ne.jp"):
            assert each in page
        assert f"/applications/{first.order_no}" in page
        raw = message_from_bytes(get(zeus, "/mails/1.eml").content, policy=default)
        assert raw["To"] == "foo..bar@docomo.ne.jp"
        body = raw.get_body()
        assert body is not None
        assert body.get_content().splitlines() == zeus.mails[0].text.splitlines()
        for path in ("/mails/0", "/mails/6", "/mails/x", "/mails/6.eml"):
            assert get(zeus, path).status_code == 404


# The clock


def test_the_clock_is_moved_and_says_what_fell_due(zeus_simulator: Simulator) -> None:
    """By the buttons; each deadline, confirmation and test that came about is named, and the way back offered."""
    zeus = zeus_simulator
    unpaid, paid = applied(zeus), applied(zeus, pay_cvs=b"D001")
    test = applied(zeus, testid=b"12345678", test_type=b"2")
    zeus.pay(paid.order_no)
    answer = send(zeus, "/clock", step="+1 hour", back="/screen?status=01")
    assert answer.history[0].status_code == 303
    assert f'href="/applications/{test.order_no}"' in answer.text
    for each in ("次の1件", "06 入金取消", "テスト決済の自動処理"):
        assert each in answer.text
    assert '<a class="button quiet" href="/screen?status=01">元のページへ戻る</a>' in answer.text
    answer = send(zeus, "/clock", step="+1 week")
    for each in ("次の1件", "05 売上確定", "コンビニ本部の確定", paid.order_no):
        assert each in answer.text
    answer = send(zeus, "/clock", deadline=unpaid.order_no)
    for each in ("03 期日切", "支払期限が過ぎたため"):
        assert each in answer.text
    assert zeus.application(unpaid.order_no).status == "03"
    assert "期限が来たものはありません" in send(zeus, "/clock", step="next day").text


def test_a_repeated_call_is_named_among_what_fell_due() -> None:
    """A call that timed out and was sent again by the clock."""
    with Ear() as ear, Simulator(ear.url, notice_timeout=0.1) as zeus:
        zeus.contract.retries = 1
        ear.answers.append(None)
        applied(zeus)
        zeus.settle()
        answer = send(zeus, "/clock", step="+1 hour")
        zeus.settle()
        again = get(zeus, answer.request.path_url)
        assert "01の通知を再送（2回目 → 200）" in again.text


def test_the_clock_goes_to_a_day(zeus_simulator: Simulator) -> None:
    """In Japanese time, to the minute; the next day begins at midnight."""
    start = zeus_simulator.now
    there = (start + timedelta(days=3)).replace(hour=9, minute=30, second=0, microsecond=0)
    send(zeus_simulator, "/clock", to=f"{there:%Y-%m-%dT%H:%M}")
    assert abs(zeus_simulator.now - there) < timedelta(seconds=30)
    send(zeus_simulator, "/clock", step="next day")
    assert abs(zeus_simulator.now - there.replace(hour=0, minute=0) - timedelta(days=1)) < timedelta(
        seconds=30
    )


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"to": ""}, NO_MOMENT),
        ({"to": "soon"}, NO_MOMENT),
        ({"to": "0001-01-01T00:00+14:00"}, NO_MOMENT),
        ({"to": "2020-01-01T00:00"}, PAST),
        ({"to": "2999-01-01T00:00"}, TOO_FAR),
        ({"to": "9999-12-31T23:59"}, TOO_FAR),
        ({"step": "backwards"}, NO_MOMENT),
        ({"step": "9999 weeks"}, TOO_FAR),
        ({}, NO_MOMENT),
    ],
)
def test_a_wrong_time_comes_back(zeus_simulator: Simulator, typed: dict[str, str], says: str) -> None:
    """Beside the field, with what was typed; the clock has not moved."""
    answer = send(zeus_simulator, "/clock", **typed)
    assert answer.status_code == 422
    assert f'id="to-wrong">{says}' in answer.text
    assert f'value="{typed.get("to", "")}" aria-invalid="true"' in answer.text
    assert zeus_simulator._works.clock.moved == timedelta()


def test_a_clocks_address_may_hold_anything(zeus_simulator: Simulator) -> None:
    """Moments at the calendar's ends, in whatever zone: the page comes all the same."""
    for since, until in (
        ("0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"),
        ("0001-01-01T00:00", "9999-12-31T23:59"),
    ):
        asked = {"since": since, "until": until}
        assert requests.get(f"{zeus_simulator.url}/clock", asked, timeout=10).status_code == 200


def test_a_deadline_that_is_past_or_none(zeus_simulator: Simulator) -> None:
    """An application that failed has none, one that lapsed had one."""
    zeus_simulator.answer_next(error_code="0008")
    failed = applied(zeus_simulator)
    assert NO_DEADLINE in send(zeus_simulator, "/clock", deadline=failed.order_no).text
    lapsed = applied(zeus_simulator)
    zeus_simulator.forward_to_deadline(lapsed.order_no)
    assert NO_DEADLINE in send(zeus_simulator, "/clock", deadline=lapsed.order_no).text
    assert send(zeus_simulator, "/clock", deadline="nobody").status_code == 404


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb"]
)
def test_the_way_back_stays_here(zeus_simulator: Simulator, back: str) -> None:
    """A link that was put together elsewhere leads to no other site."""
    answer = send(zeus_simulator, "/clock", step="+1 hour", back=back)
    assert "元のページへ戻る" not in answer.text
    asked = requests.get(
        f"{zeus_simulator.url}/clock",
        {"since": "2026-01-01", "until": "2026-01-02", "back": back},
        timeout=10,
    )
    assert "まで進めました" in asked.text
    assert "元のページへ戻る" not in asked.text


# Trouble

WHOLE = {"fault": "whole", "delay": "0", "how": "next", "times": "1", "percent": "100"}


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_can_be_set_down(zeus_simulator: Simulator, fault: Fault) -> None:
    """What the form sets down is what `answer_next` would."""
    done = send(zeus_simulator, "/trouble/answers", **{**WHOLE, "fault": fault, "times": "3"})
    assert "不具合を用意しました" in done.text
    for path in ("/counter", "/trouble"):
        assert '3<span class="hidden">件を用意しています' in get(zeus_simulator, path).text
    assert "次の3回" in done.text
    assert zeus_simulator._works.answers.pending == [plan(fault)] * 3


def test_errors_and_manners_can_be_set_down(zeus_simulator: Simulator) -> None:
    """Every error code, a parameter, and how a whole answer is written and when it comes."""
    expected = []
    for code in ERROR_CODES:
        send(zeus_simulator, "/trouble/answers", **{**WHOLE, "fault": "error_code", "error_code": code})
        expected.append(plan(error_code=code))
    send(zeus_simulator, "/trouble/answers", **{**WHOLE, "fault": "parameter", "parameter": "telno"})
    send(zeus_simulator, "/trouble/answers", **{**WHOLE, "delay": "2.5"}, **dict.fromkeys(MANNERS, "on"))
    expected += [
        plan(parameter="telno"),
        plan(delay=2.5, notice_first=True, crlf=True, spaced=True, shuffled=True),
    ]
    assert zeus_simulator._works.answers.pending == expected
    page = get(zeus_simulator, "/trouble").text
    for each in ("エラーコード 0011", "パラメータの誤り（telno）", "2.5秒遅れて", "改行をCRLFにする"):
        assert each in page


def test_what_is_switched_on_is_switched_off(zeus_simulator: Simulator) -> None:
    """A share until it is stopped, one by one or all at once; answers and notices are told apart."""
    works = zeus_simulator._works
    send(zeus_simulator, "/trouble/answers", **{**WHOLE, "fault": "cut", "how": "while", "percent": "25"})
    for trouble in Trouble:
        send(
            zeus_simulator,
            "/trouble/notices",
            trouble=trouble,
            seconds="2",
            how="while",
            percent="50",
            times="1",
        )
    assert [(each.plan.fault, each.share) for each in works.answers.switches] == [("cut", 0.25)]
    assert [(each.plan.trouble, each.share) for each in works.troubles.switches] == [
        (t, 0.5) for t in Trouble
    ]
    page = get(zeus_simulator, "/trouble").text
    assert "止めるまで25％" in page
    assert "遅れて届く（2秒）" in page
    send(zeus_simulator, f"/trouble/notices/{works.troubles.switches[0].number}/off")
    assert (len(works.answers.switches), len(works.troubles.switches)) == (1, 3)
    send(zeus_simulator, "/trouble/off")
    assert (works.answers.switches, works.troubles.switches) == ([], [])
    assert get(zeus_simulator, "/trouble").text.count("<p>ありません。</p>") == 2
    assert "用意しています" not in get(zeus_simulator, "/").text


@pytest.mark.parametrize(
    ("which", "name", "typed"),
    [
        ("answers", "fault", "fire"),
        ("answers", "delay", "-1"),
        ("answers", "times", "0"),
        ("answers", "times", "1.5"),
        ("answers", "error_code", "999999"),
        ("answers", "parameter", "order_no"),
        ("answers", "percent", "0"),
        ("notices", "trouble", "fire"),
        ("notices", "seconds", "3601"),
        ("notices", "times", "many"),
        ("notices", "percent", "101"),
    ],
)
def test_a_wrong_trouble_comes_back(zeus_simulator: Simulator, which: str, name: str, typed: str) -> None:
    """Beside its field, with what was typed; nothing is set down."""
    good = {**WHOLE, "trouble": "drop", "seconds": "1"}
    if name in {"error_code", "parameter"}:
        good["fault"] = name
    if name == "percent":
        good["how"] = "while"
    answer = send(zeus_simulator, f"/trouble/{which}", **{**good, name: typed})
    assert answer.status_code == 422
    assert f'id="{which}-{name}-wrong">{COMPLAINTS[name]}' in answer.text
    assert answer.text.count('class="wrong"') == 1
    works = zeus_simulator._works
    assert [script.pending + script.switches for script in (works.answers, works.troubles)] == [[], []]
    if name not in {"fault", "trouble", "error_code", "parameter"}:
        assert (name, typed) in Page(answer.text).form(f"/trouble/{which}").pairs


def test_starting_anew_is_asked_first(zeus_simulator: Simulator) -> None:
    """A page says what will be gone; its button forgets everything and says so."""
    applied(zeus_simulator)
    zeus_simulator.forward(days=1)
    zeus_simulator.contract.stopped = True
    asked = get(zeus_simulator, "/reset").text
    assert "申込1件" in asked
    assert len(zeus_simulator.applications) == 1
    assert "はじめの状態に戻しました" in send(zeus_simulator, "/reset").text
    assert (zeus_simulator.applications, zeus_simulator.mails) == ([], [])
    assert not zeus_simulator.contract.stopped
    assert zeus_simulator._works.clock.moved == timedelta()


# The operation test


def test_the_operation_test_looks_at_the_latest_test() -> None:
    """Four checks, each with what became of it, and links to the data; the time can be moved on from there."""
    with Ear() as ear, Simulator(ear.url) as zeus:
        page = get(zeus, "/operation-test").text
        assert "まだテストの申込はありません" in page
        assert page.count("まだです") == 3
        test = applied(zeus, testid=b"12345678", test_type=b"1")
        zeus.settle()
        page = get(zeus, "/operation-test").text
        assert page.count("できています") == 3
        for each in (f"/applications/{test.order_no}", "/screen?test=1", f"/mails?order_no={test.order_no}"):
            assert f'href="{each}"' in page
        for each in (test.pay_no1, "受付番号", "確認番号", "04 → 200"):
            assert each in page
        send(zeus, "/clock", step="+30 minutes", back="/operation-test")
        assert zeus.application(test.order_no).status == Status.SALE_CONFIRMED


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        (datetime(2026, 11, 24, 9, 0, tzinfo=JST), "いまその時間内です"),
        (datetime(2026, 11, 24, 17, 30, tzinfo=JST), "いまその時間外です"),
        (datetime(2026, 11, 22, 12, 0, tzinfo=JST), "いまその時間外です"),
    ],
)
def test_the_hours_of_the_operation_test(moment: datetime, says: str) -> None:
    """Monday to Friday, 9:00 to 17:30."""
    with Simulator(clock=lambda: moment) as zeus:
        assert says in get(zeus, "/operation-test").text


# Other sites

FOREIGN = [
    "Origin: https://shop.example",
    "Origin: null",
    "Origin: http://127.0.0.1:1",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",
]


@pytest.mark.parametrize("header", FOREIGN)
@pytest.mark.parametrize("where", ["api", "page", "counter", "gateway"])
def test_another_sites_page_cannot_drive_it(zeus_simulator: Simulator, where: str, header: str) -> None:
    """A browser says where a request comes from; that is refused before anything happens."""
    application = applied(zeus_simulator)
    path = {
        "api": f"/api/applications/{application.order_no}/pay",
        "page": f"/applications/{application.order_no}/expire",
        "counter": "/counter",
        "gateway": "/cgi-bin/cvs.cgi",
    }[where]
    counter = f"store=D002&pay_no1={application.pay_no1}&pay_no2={application.pay_no2}&action=pay"
    body = {"counter": counter.encode(), "gateway": form()}.get(where, b"")
    assert talk(zeus_simulator.url, post(body, path, header))[0] == 403
    assert [each.status for each in zeus_simulator.applications] == ["01"]


def test_its_own_pages_can(zeus_simulator: Simulator) -> None:
    """The headers that a browser sends with the sandbox's own forms."""
    order_no = applied(zeus_simulator).order_no
    path = f"/api/applications/{order_no}"
    port = zeus_simulator.url.rsplit(":", 1)[1]
    own = f"POST {path}/pay HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n\r\n"
    assert talk(zeus_simulator.url, own.encode())[0] == 200
    assert talk(zeus_simulator.url, post(b"", f"{path}/confirm", "Sec-Fetch-Site: same-origin"))[0] == 200
    assert talk(zeus_simulator.url, post(b"", f"{path}/resend", "Sec-Fetch-Site: none"))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5001", "[::1", ""])
def test_another_name_is_refused(zeus_simulator: Simulator, host: str) -> None:
    """A site whose name was made to mean 127.0.0.1 can neither read nor write."""
    request = f"GET /api/applications HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    assert talk(zeus_simulator.url, request)[0] == 403
