"""The sandbox's pages and its API over real sockets: a counter for people, JSON for programs, nothing for other sites."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
import requests

from flask_zeus_cvs.protocol.codes import STORES
from flask_zeus_cvs.simulator import SimulatedApplication, Simulator
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


class Form(HTMLParser):
    """The fields of a page's own part, their values, and the text of their labels in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.labels: list[str] = []
        self.buttons: list[str] = []
        self._label = False
        self.feed(page.partition("<main")[2])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._label = tag == "label"
        if tag == "input":
            self.fields[given["name"] or ""] = given.get("value") or ""
        if tag == "button" and given.get("value"):
            self.buttons.append(given["value"] or "")

    def handle_data(self, data: str) -> None:
        if self._label and data.strip():
            self.labels.append(data)


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


def get(zeus: Simulator, path: str) -> requests.Response:
    return requests.get(zeus.url + path, timeout=10)


@pytest.mark.parametrize("store", ENTERED)
def test_pay_and_take_back_at_the_counter(zeus_simulator: Simulator, store: str) -> None:
    """A person finds the store, enters the numbers under its own labels, pays, and takes the payment back."""
    application = applied(zeus_simulator, pay_cvs=store.encode())
    name = STORES[application.store].name
    assert f'href="/counter?store={store}">{name}</a>' in get(zeus_simulator, "/counter").text
    blank = get(zeus_simulator, f"/counter?store={store}")
    assert Form(blank.text).labels == ENTERED[store]
    filled = Form(get(zeus_simulator, f"/counter?order_no={application.order_no}").text)
    assert filled.labels == ENTERED[store]

    till = requests.post(f"{zeus_simulator.url}/counter", filled.fields, timeout=10)
    assert "3,000円を支払う" in till.text
    assert Form(till.text).buttons == ["pay"]
    paid = requests.post(
        f"{zeus_simulator.url}/counter", {**Form(till.text).fields, "action": "pay"}, timeout=10
    )
    assert paid.history[0].status_code == 303
    assert "3,000円をお預かりしました。" in paid.text
    assert zeus_simulator.applications[0].status == "04"

    back = requests.post(
        f"{zeus_simulator.url}/counter", {**Form(paid.text).fields, "action": "cancel"}, timeout=10
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
    assert Form(answer.text).fields["pay_no1"] == changes.get("pay_no1", application.pay_no1)
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
    assert "pay" not in Form(read.text).buttons
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


@pytest.mark.parametrize(
    "path", ["/", "/counter", "/counter?store=D030", "/nowhere", "/slip/seven_eleven?order_no=1"]
)
def test_every_page_says_that_it_is_not_zeus(zeus_simulator: Simulator, path: str) -> None:
    """In Japanese and English, with no script, no inline style, and headers that allow neither."""
    page = get(zeus_simulator, path)
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
