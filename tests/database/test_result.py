"""The result page in a whole shop: every state, every store, and what is said where something is missing."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine

from flask_zeus_cvs import State
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.exceptions import Unanswered
from flask_zeus_cvs.lifecycle import STATES
from flask_zeus_cvs.models import Application, Payment
from flask_zeus_cvs.protocol.codes import ERROR_CODES, STORES, SUPPORT_PHONES, Remedy, Store
from tests.conftest import CUSTOMER, Shop, ShopMaker, accepted
from tests.visitors import Browser, text_of

NUMBERS: dict[str, Any] = {"pay_no1": "123456789012", "pay_no2": "98765", "pay_limit": date(2099, 12, 31)}


def payment_in(shop: Shop, state: State, store: Store = Store.LAWSON, **details: Any) -> Payment:
    """A payment whose one application is in this state."""
    payment = shop.payment(return_url="/orders/A-1001")
    values: dict[str, Any] = {"answer_due_at": now() + timedelta(seconds=85), "sendid": "S1", **details}
    payment.applications.append(Application(store=store, stored_state=state, customer=CUSTOMER, **values))
    shop.db.session.commit()
    return payment


def said(shop: Shop, payment: Payment) -> str:
    answer = Browser(shop.app).result(payment)
    assert answer.status_code == 200
    return text_of(answer)


def numbers_on(page: str) -> list[tuple[str, str]]:
    """The numbers that can be copied from a page, each under its name; their groups are only tags between digits."""
    rows = re.findall(r'<dt>(.+?)</dt>\s*<dd class="zeus-digits">(.+?)</dd>', page)
    return [(re.sub("<[^>]+>", "", label), re.sub("<[^>]+>", "", digits)) for label, digits in rows]


@pytest.mark.parametrize(
    ("state", "heading"),
    [
        (State.SUBMITTING, "お申し込みを確認しています"),
        (State.UNKNOWN, "お申し込みを確認しています"),
        (State.DECLINED, "お申し込みは完了していません"),
        (State.FAILED, "お申し込みは完了していません"),
        (State.AWAITING_PAYMENT, "お支払い番号のご案内"),
        (State.EXPIRED, "お支払い期限が過ぎました"),
        (State.RECEIVED, "お支払いを確認しました"),
        (State.CONFIRMED, "お支払いを確認しました"),
        (State.CANCELLED, "お支払いが取り消されました"),
        (State.SUPERSEDED, "このお支払い番号は無効になりました"),
        (State.RECEIVED_AFTER_CANCEL, "ショップで確認しています"),
        (State.CONFIRMED_AFTER_CANCEL, "ショップで確認しています"),
        (State.CANCELLED_AFTER_CANCEL, "ショップで確認しています"),
    ],
)
def test_every_state_has_its_page(sqlite_shop: Shop, state: State, heading: str) -> None:
    """Each state has a page that says what happened, what was ordered, and leads back to the shop."""
    browser, payment = Browser(sqlite_shop.app), payment_in(sqlite_shop, state, **NUMBERS)
    answer = browser.result(payment)
    said = text_of(answer)

    assert answer.status_code == 200
    assert f"<h1>{heading}</h1>" in answer.text
    assert "A-1001" in said
    assert "3,000円" in said
    assert len(re.findall('<a [^>]*href="/orders/A-1001">ショップに戻る</a>', answer.text)) == 1
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("Refresh" in answer.headers) is (state in (State.SUBMITTING, State.UNKNOWN))


def test_the_table_above_is_complete() -> None:
    """No state of an application is left out of the test above."""
    tested: Any = test_every_state_has_its_page
    (mark,) = [each for each in tested.pytestmark if each.name == "parametrize"]

    assert {state for state, _ in mark.args[1]} == set(STATES)


def test_payment_without_an_application_leads_to_the_form(sqlite_shop: Shop) -> None:
    """There is nothing to show yet."""
    payment = sqlite_shop.payment()
    answer = Browser(sqlite_shop.app).result(payment)

    assert (answer.status_code, answer.location) == (303, f"/zeus-cvs/checkout/{payment.token}")


@pytest.mark.parametrize("state", [each for each in STATES if each is not State.AWAITING_PAYMENT])
def test_numbers_are_shown_only_while_they_can_be_paid(sqlite_shop: Shop, state: State) -> None:
    """Whoever has paid, or must not pay, is shown no numbers to pay with."""
    page = Browser(sqlite_shop.app).result(payment_in(sqlite_shop, state, **NUMBERS)).text

    assert NUMBERS["pay_no1"] not in re.sub("<[^>]+>", "", page)


# The numbers


@pytest.mark.parametrize(
    ("store", "labels"),
    [
        (Store.SEVEN_ELEVEN, [("払込票番号", "123456789012")]),
        (Store.LAWSON, [("受付番号", "123456789012"), ("確認番号", "98765")]),
        (Store.FAMILYMART, [("企業コード", "98765"), ("注文番号", "123456789012")]),
        (Store.SEICOMART, [("お支払受付番号", "123456789012")]),
        (Store.MINISTOP, [("受付番号", "123456789012"), ("確認番号", "98765")]),
        (Store.DAILY_YAMAZAKI, [("オンライン決済番号", "123456789012")]),
    ],
)
def test_numbers_bear_the_stores_names_in_the_stores_order(
    sqlite_shop: Shop, store: Store, labels: list[tuple[str, str]]
) -> None:
    """Each number is shown whole under its store's name for it, in the order in which the machine asks."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, store, **NUMBERS)
    page = Browser(sqlite_shop.app).result(payment).text

    assert numbers_on(page) == labels
    assert f"{STORES[store].name}でのお支払い方法" in page
    assert page.count("<li>") >= 3


def test_deadline_has_weekday_and_time(sqlite_shop: Shop) -> None:
    """The deadline is the end of its day in Japan."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **NUMBERS)

    assert "お支払い期限 2099年12月31日（木）23:59まで" in said(sqlite_shop, payment)


@pytest.mark.parametrize(
    ("moment", "overdue"), [("2026-12-01T14:59:59+00:00", False), ("2026-12-01T15:00:00+00:00", True)]
)
def test_a_slip_past_its_deadline_is_not_offered_for_payment(
    sqlite_shop: Shop, moment: str, overdue: bool
) -> None:
    """From 24:00 JST on the page no longer asks to pay, though our own sweep waits for its grace."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **{**NUMBERS, "pay_limit": date(2026, 12, 1)})
    with time_machine.travel(datetime.fromisoformat(moment), tick=False):
        page = said(sqlite_shop, payment)

    assert ("この番号ではもうお支払いになれません" in page) is overdue
    assert ("でのお支払い方法" in page) is not overdue


@pytest.mark.parametrize("store", list(Store))
def test_numbers_that_were_never_told_come_by_mail(sqlite_shop: Shop, store: Store) -> None:
    """A blank number or deadline is no error: the page says where it is found, under its name."""
    page = said(sqlite_shop, payment_in(sqlite_shop, State.AWAITING_PAYMENT, store))

    for label in (STORES[store].pay_no1, STORES[store].pay_no2, "お支払い期限"):
        assert label is None or f"{label} お申し込みのメールアドレスに届くメール" in page


def test_seven_elevens_slip_is_linked(sqlite_shop: Shop) -> None:
    """On a return visit the agency's slip is one click away, also where only its address is known."""
    payment = payment_in(
        sqlite_shop, State.AWAITING_PAYMENT, Store.SEVEN_ELEVEN, pay_url="https://slip.example.com/?a=1&b=2"
    )
    page = Browser(sqlite_shop.app).result(payment).text

    assert 'href="https://slip.example.com/?a=1&amp;b=2"' in page
    assert "からご確認ください" in page


def test_no_link_without_an_address(sqlite_shop: Shop) -> None:
    """Without pay_url the 7-Eleven page has numbers and steps, and no dead link."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, Store.SEVEN_ELEVEN, **NUMBERS)

    assert "払込票を表示する" not in said(sqlite_shop, payment)


def test_a_re_issued_slip_replaces_the_old_one(sqlite_shop: Shop) -> None:
    """After a re-issue on ZEUS's screen the page shows the new numbers."""
    payment, application = sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(
        f"status=01&order_no=0002-1&sendid={application.sendid}&money=3000&pay_no1=555666".encode()
    )
    page = Browser(sqlite_shop.app).result(payment).text

    assert numbers_on(page) == [("受付番号", "555666")]
    assert "1234567890123" not in page


# What to do next


@pytest.mark.parametrize("code", list(ERROR_CODES))
def test_every_error_code_says_what_to_do(sqlite_shop: Shop, code: str) -> None:
    """A refusal says what helps, gives ZEUS's support numbers where it can help, and leads back to the form."""
    payment = payment_in(sqlite_shop, State.DECLINED, error_code=code)
    answer = Browser(sqlite_shop.app).result(payment)

    supported = ERROR_CODES[code].remedy is not Remedy.shop_fault
    assert all((phone in answer.text) is supported for phone in SUPPORT_PHONES)
    assert code in text_of(answer)
    assert f'href="/zeus-cvs/checkout/{payment.token}"' in answer.text


@pytest.mark.parametrize(
    ("code", "first"),
    [("800000", "ショップに戻る"), ("800001", "ショップに戻る"), ("0008", "入力画面に戻る")],
)
def test_only_what_a_customer_can_mend_leads_to_the_form_first(
    sqlite_shop: Shop, code: str, first: str
) -> None:
    """Where the shop is at fault the way home is the button, and nobody is told to correct what is right."""
    payment = payment_in(sqlite_shop, State.DECLINED, error_code=code)
    payment.return_url = "/orders/1"
    sqlite_shop.db.session.commit()
    page = Browser(sqlite_shop.app).result(payment).text

    assert re.findall(r'<a class="zeus-button"[^>]*>([^<]*)</a>', page) == [first]
    assert ("直すところだけ" in page) is (first == "入力画面に戻る")


def test_no_way_back_after_the_last_attempt(sqlite_shop: Shop) -> None:
    """When the attempts are used up, the page says so instead of leading to a form that leads back."""
    payment = payment_in(sqlite_shop, State.DECLINED)
    payment.attempts = 5
    sqlite_shop.db.session.commit()
    answer = Browser(sqlite_shop.app).result(payment)

    assert "上限" in text_of(answer)
    assert "/zeus-cvs/checkout/" not in answer.text


def test_page_of_an_unknown_outcome_refreshes_itself(sqlite_shop: Shop) -> None:
    """While the outcome is checked the page comes again by itself, without a script, and offers no second form."""
    sqlite_shop.gateway.answers = [Unanswered("timed out")]
    payment = sqlite_shop.payment()
    sqlite_shop.submit(payment)
    answer = Browser(sqlite_shop.app).result(payment)

    assert int(answer.headers["Refresh"]) <= 15
    assert "/zeus-cvs/checkout/" not in answer.text
    assert len(sqlite_shop.gateway.sent) == 1


def test_page_shows_the_numbers_once_the_outcome_is_known(sqlite_shop: Shop) -> None:
    """A notice that recovers a lost answer ends the waiting: the same address shows the numbers."""
    sqlite_shop.gateway.answers = [Unanswered("timed out")]
    payment = sqlite_shop.payment()
    application = sqlite_shop.submit(payment)
    sqlite_shop.zeus.receive(
        f"status=01&order_no=0009-1&sendid={application.sendid}&money=3000&pay_no1=777888&pay_no2=4321".encode()
    )
    answer = Browser(sqlite_shop.app).result(payment)

    assert "777888" in answer.text
    assert "Refresh" not in answer.headers


def test_expired_slip_leads_to_a_new_application(sqlite_shop: Shop) -> None:
    """Whoever missed the deadline may apply again, and is warned not to if they have paid."""
    payment = payment_in(sqlite_shop, State.EXPIRED)
    answer = Browser(sqlite_shop.app).result(payment)

    assert f'href="/zeus-cvs/checkout/{payment.token}"' in answer.text
    assert "もう一度お申し込みにならないでください" in text_of(answer)


@pytest.mark.parametrize("swept", [False, True])
def test_offer_that_is_over_says_so(sqlite_shop: Shop, swept: bool) -> None:
    """After expires_at there is nothing to apply for, before the sweep has run as after it; no loop of redirects."""
    payment = sqlite_shop.payment(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    if swept:
        sqlite_shop.zeus.expire()
    page = said(sqlite_shop, payment)

    assert "お申し込み期限が過ぎました" in page


def test_declined_application_of_an_offer_that_is_over(sqlite_shop: Shop) -> None:
    """No numbers were ever given, so the page does not speak of a deadline for paying."""
    payment = payment_in(sqlite_shop, State.DECLINED)
    payment.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    sqlite_shop.db.session.commit()
    assert "お申し込み期限は過ぎています" in said(sqlite_shop, payment)
    sqlite_shop.zeus.expire()
    assert "お知らせした番号" not in said(sqlite_shop, payment)


def test_closed_payment_asks_not_to_pay(sqlite_shop: Shop) -> None:
    """A slip that is out stays payable at ZEUS; the page asks the customer not to."""
    payment, _ = sqlite_shop.awaiting()
    sqlite_shop.zeus.close(payment)
    sqlite_shop.db.session.commit()
    page = said(sqlite_shop, payment)

    assert "お支払いにならないでください" in page
    assert "1234567890123" not in page


def test_customer_who_has_paid_is_told_so_even_when_closed(sqlite_shop: Shop) -> None:
    """Closing a paid payment does not take the confirmation from its customer."""
    payment, _ = sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(b"status=04&order_no=0001-1&money=3000")
    sqlite_shop.zeus.close(payment)
    sqlite_shop.db.session.commit()

    assert "お支払いを確認しました" in said(sqlite_shop, payment)


def test_what_the_shop_and_zeus_wrote_is_escaped(sqlite_shop: Shop) -> None:
    """No value can bring markup of its own."""
    payment = sqlite_shop.payment(reference='<b>"1"</b>', return_url="/orders/?a=1&b='\"<x>")
    sqlite_shop.gateway.answers = [accepted()]
    sqlite_shop.submit(payment)
    page = Browser(sqlite_shop.app).result(payment).text

    assert "<b>" not in page
    assert "<x>" not in page
    assert "&lt;b&gt;" in page


def test_no_way_back_unless_the_shop_gave_one(sqlite_shop: Shop) -> None:
    """Without return_url there is no link back."""
    payment, _ = sqlite_shop.awaiting()

    assert "ショップに戻る" not in said(sqlite_shop, payment)


# The shop's own templates


def test_shop_may_replace_one_stores_page(make_shop: ShopMaker, tmp_path: Any) -> None:
    """A template of the shop's under the same name replaces one block of one store, and nothing else."""
    folder = tmp_path / "templates" / "zeus_cvs" / "result"
    folder.mkdir(parents=True)
    (folder / "lawson.html").write_text(
        '{% extends "zeus_cvs/result/loppi.html" %}{% block hints %}<p>our own hint</p>{% endblock %}',
        "utf-8",
    )
    shop = make_shop()
    shop.app.template_folder = str(tmp_path / "templates")
    lawson = payment_in(shop, State.AWAITING_PAYMENT, Store.LAWSON, **NUMBERS)
    ministop = payment_in(shop, State.AWAITING_PAYMENT, Store.MINISTOP, **{**NUMBERS, "sendid": "S2"})

    assert "our own hint" in said(shop, lawson)
    assert "Loppi" in said(shop, lawson)
    assert "our own hint" not in said(shop, ministop)
