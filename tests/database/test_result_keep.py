"""What a customer takes along from the result page: numbers to type, its link, the deadline, the QR code."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import icalendar
import pytest

from flask_zeus_cvs import State
from flask_zeus_cvs.lifecycle import STATES
from flask_zeus_cvs.models import Application, Payment
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.web import qr
from tests.conftest import CUSTOMER, Shop, ShopMaker
from tests.database.test_result import NUMBERS, numbers_on, payment_in
from tests.visitors import Browser, text_of


def page_of(shop: Shop, payment: Payment) -> str:
    return Browser(shop.app).result(payment).text


def calendar_of(shop: Shop, payment: Payment) -> Any:
    """The event in the calendar file, as another implementation reads it."""
    answer = Browser(shop.app).http.get(f"/zeus-cvs/result/{payment.token}/deadline.ics")
    assert answer.status_code == 200
    assert answer.content_type == "text/calendar; charset=utf-8"
    (event,) = icalendar.Calendar.from_ical(answer.data).walk("VEVENT")
    return event


# Numbers to type and to copy


@pytest.mark.parametrize("store", list(Store))
def test_what_is_copied_is_the_plain_number(sqlite_shop: Shop, store: Store) -> None:
    """Each number's button copies exactly what ZEUS issued; without a script there is no button."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, store, **NUMBERS)
    page = page_of(sqlite_shop, payment)
    buttons = re.findall(r'<button ([^>]*data-zeus-copy="([^"]*)"[^>]*)>', page)

    assert [value for _, value in buttons[:-1]] == [value for _, value in numbers_on(page)]
    assert buttons[-1][1] == f"http://localhost/zeus-cvs/result/{payment.token}"
    assert all(re.search(r"\bhidden\b", rest) for rest, _ in buttons)


@pytest.mark.parametrize("store", list(Store))
def test_counter_mode_has_the_numbers_in_the_kiosks_order(sqlite_shop: Shop, store: Store) -> None:
    """What one tap enlarges is the same numbers in the same order, already in the page: no network is needed."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, store, **NUMBERS)
    page = page_of(sqlite_shop, payment)
    counter = page.partition('id="zeus-counter"')[2]
    shown = [re.sub("<[^>]+>", "", each) for each in re.findall("<dd>(.+?)</dd>", counter)]

    assert 'href="#zeus-counter"' in page
    assert shown[: len(numbers_on(page))] == [value for _, value in numbers_on(page)]


def test_seicomart_reminds_of_the_telephone_number(sqlite_shop: Shop) -> None:
    """The machine asks for it too; its end is enough to know which one it was, and the whole is on no page."""
    page = page_of(sqlite_shop, payment_in(sqlite_shop, State.AWAITING_PAYMENT, Store.SEICOMART, **NUMBERS))

    assert page.count("末尾が5678の番号") == 2
    assert CUSTOMER.phone not in page


@pytest.mark.parametrize(
    "details", [{}, {"pay_limit": date(2026, 1, 1), "pay_no1": "123456", "pay_no2": "12"}]
)
def test_no_counter_mode_without_numbers_to_pay_with(sqlite_shop: Shop, details: dict[str, Any]) -> None:
    """Where no number is known, or it can be paid no more, nothing offers to enlarge or copy it."""
    page = page_of(sqlite_shop, payment_in(sqlite_shop, State.AWAITING_PAYMENT, **details))

    assert "zeus-counter" not in page
    assert "をコピー" not in page.replace("リンクをコピー", "")


# The calendar


def test_calendar_says_what_is_due_and_leads_back(sqlite_shop: Shop) -> None:
    """Store, amount, order and the page's link are in the event; the numbers, which may change, are not."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **{**NUMBERS, "pay_limit": date(2026, 12, 1)})
    payment.reference = "A-1001; x,y\\z"
    sqlite_shop.db.session.commit()
    link = f"http://localhost/zeus-cvs/result/{payment.token}"
    event = calendar_of(sqlite_shop, payment)
    answer = Browser(sqlite_shop.app).http.get(f"/zeus-cvs/result/{payment.token}/deadline.ics")

    assert event["SUMMARY"] == "コンビニ払いの期限（ローソン、23:59まで）"
    assert event["LOCATION"] == "ローソン"
    assert event["DESCRIPTION"] == f"ご注文番号: A-1001; x,y\\z\nお支払い金額: 3,000円\nお支払い番号: {link}"
    assert event["URL"] == link
    assert not any(
        each.encode() in answer.data for each in (NUMBERS["pay_no1"], CUSTOMER.phone, CUSTOMER.email)
    )
    assert payment.token not in event["UID"]


def test_a_new_application_moves_the_same_event(sqlite_shop: Shop) -> None:
    """Whoever applies again and takes the new deadline along has one event, not two."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **NUMBERS)
    before = calendar_of(sqlite_shop, payment)
    payment.applications[0].stored_state = State.EXPIRED
    payment.applications.append(
        Application(
            store=Store.LAWSON,
            stored_state=State.AWAITING_PAYMENT,
            customer=CUSTOMER,
            sendid="S2",
            answer_due_at=payment.created_at,
            pay_limit=date(2098, 1, 1),
        )
    )
    sqlite_shop.db.session.commit()
    after = calendar_of(sqlite_shop, payment)

    assert after["UID"] == before["UID"]
    assert after["SEQUENCE"] > before["SEQUENCE"]


@pytest.mark.parametrize(
    ("state", "limit"),
    [
        *((each, date(2099, 12, 31)) for each in STATES if each is not State.AWAITING_PAYMENT),
        (State.AWAITING_PAYMENT, None),
        (State.AWAITING_PAYMENT, date(2026, 1, 1)),
        (State.AWAITING_PAYMENT, date.max),
    ],
)
def test_no_calendar_unless_there_is_something_to_pay(
    sqlite_shop: Shop, state: State, limit: date | None
) -> None:
    """There is neither file nor link before a deadline is known, after it, or once the payment has gone on."""
    payment = payment_in(sqlite_shop, state, **{**NUMBERS, "pay_limit": limit})
    http = Browser(sqlite_shop.app).http

    assert http.get(f"/zeus-cvs/result/{payment.token}/deadline.ics").status_code == 404
    assert "deadline.ics" not in page_of(sqlite_shop, payment)


def test_calendar_of_a_year_that_no_calendar_has(sqlite_shop: Shop) -> None:
    """A deadline as far off as dates go is a page like any other."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **{**NUMBERS, "pay_limit": date(9998, 12, 31)})

    assert calendar_of(sqlite_shop, payment)["DTSTART"].dt.year == 9998


# The QR code


def test_qr_code_is_offered_where_the_extra_is(sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra the page shows a picture from our own address; without, there is neither picture nor route."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **NUMBERS)
    http = Browser(sqlite_shop.app).http
    with_it = page_of(sqlite_shop, payment)
    picture = http.get(f"/zeus-cvs/result/{payment.token}/qr.svg")
    monkeypatch.setattr(qr, "_IS_INSTALLED", False)

    assert f'<img src="/zeus-cvs/result/{payment.token}/qr.svg"' in with_it
    assert picture.mimetype == "image/svg+xml"
    assert picture.data.startswith(b"<svg")
    assert "qr.svg" not in page_of(sqlite_shop, payment)
    assert http.get(f"/zeus-cvs/result/{payment.token}/qr.svg").status_code == 404


def test_qr_code_carries_the_address_that_was_asked(
    make_shop: ShopMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code holds the page's whole address, scheme and host as the customer's browser knows them."""
    shop = make_shop()
    payment = payment_in(shop, State.AWAITING_PAYMENT, **NUMBERS)
    drawn: list[str] = []

    def draw(link: str) -> bytes:
        drawn.append(link)
        return b"<svg/>"

    monkeypatch.setattr("flask_zeus_cvs.web.views.qr_code", draw)
    Browser(shop.app).http.get(f"/zeus-cvs/result/{payment.token}/qr.svg", base_url="https://shop.example.jp")

    assert drawn == [f"https://shop.example.jp/zeus-cvs/result/{payment.token}"]


# 7-Eleven


@pytest.mark.parametrize(
    ("details", "slip", "number"),
    [
        ({"pay_url": "https://slip.example.com/1"}, True, False),
        ({"pay_url": "https://slip.example.com/1", "pay_no1": "4912345678901"}, True, True),
        ({"pay_no1": "4912345678901"}, False, True),
    ],
)
def test_seven_eleven_on_a_return_visit(
    sqlite_shop: Shop, details: dict[str, Any], slip: bool, number: bool
) -> None:
    """The page works with the slip's address, with the number, and with both."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, Store.SEVEN_ELEVEN, **details)
    answer = Browser(sqlite_shop.app).result(payment)

    assert (
        '<a class="zeus-button" href="https://slip.example.com/1">払込票を表示する</a>' in answer.text
    ) is slip
    assert (("払込票番号", "4912345678901") in numbers_on(answer.text)) is number
    assert ("お申し込みのメールアドレスに届くメール" in text_of(answer).partition("お支払い期限")[0]) is False
