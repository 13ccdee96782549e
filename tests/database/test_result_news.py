"""What changes while a customer looks: news of the payment, what the shop looks into, and the receipt."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine

from flask_zeus_cvs import State
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.lifecycle import STATES
from flask_zeus_cvs.models import Application, Payment, Review, ReviewReason
from flask_zeus_cvs.protocol.codes import Store
from tests.conftest import CUSTOMER, Shop, ShopMaker
from tests.database.test_result import NUMBERS, payment_in
from tests.visitors import FORM, Browser, text_of

ABROAD = {"REMOTE_ADDR": "203.0.113.7"}


def state_of(shop: Shop, payment: Payment) -> dict[str, str]:
    """What the page's script is told."""
    answer = Browser(shop.app).http.get(f"/zeus-cvs/result/{payment.token}/state")
    assert answer.status_code == 200
    told: dict[str, str] = json.loads(answer.data)
    return told


def said(shop: Shop, payment: Payment) -> str:
    return text_of(Browser(shop.app).result(payment))


def look_into(shop: Shop, payment: Payment, reason: ReviewReason = ReviewReason.OUT_OF_ORDER) -> Review:
    review = Review(reason=reason, payment_id=payment.id)
    shop.db.session.add(review)
    shop.db.session.commit()
    return review


# News


@pytest.mark.parametrize("state", STATES)
def test_page_and_script_know_the_same(sqlite_shop: Shop, state: State) -> None:
    """The page carries the version that the script is told until something changes: nothing reloads for nothing."""
    payment = payment_in(sqlite_shop, state, **NUMBERS)
    told = state_of(sqlite_shop, payment)
    page = Browser(sqlite_shop.app).result(payment)

    assert told["state"] == state.value
    assert ("data-zeus-version" in page.text) is (f'data-zeus-version="{told["version"]}"' in page.text)
    assert state_of(sqlite_shop, payment) == told


def test_slip_that_waits_is_watched(sqlite_shop: Shop) -> None:
    """The page says where its script asks, also once paid, for the till can take a payment back; not once confirmed."""
    payment, _ = sqlite_shop.awaiting()
    asked = f'data-zeus-watch="/zeus-cvs/result/{payment.token}/state"'
    before = Browser(sqlite_shop.app).result(payment).text
    sqlite_shop.zeus.receive(b"status=04&order_no=0001-1&money=3000")
    paid = Browser(sqlite_shop.app).result(payment).text
    sqlite_shop.zeus.receive(b"status=05&order_no=0001-1&money=3000")
    confirmed = Browser(sqlite_shop.app).result(payment).text

    assert asked in before
    assert asked in paid
    assert "data-zeus-watch" not in confirmed


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(b"status=04&order_no=0001-1&money=3000", id="paid"),
        pytest.param(b"status=03&order_no=0001-1&money=3000", id="expired"),
        pytest.param(b"status=01&order_no=0002-1&sendid=%s&money=3000&pay_no1=555666", id="re-issued"),
        pytest.param(b"status=04&order_no=0001-1&money=2000", id="under review"),
    ],
)
def test_whatever_changes_the_page_is_news(sqlite_shop: Shop, change: bytes) -> None:
    """Money, an end, other numbers, a question for the shop: each gives the page another version."""
    payment, application = sqlite_shop.awaiting()
    before = state_of(sqlite_shop, payment)["version"]
    sqlite_shop.zeus.receive(change.replace(b"%s", application.sendid.encode()))

    assert state_of(sqlite_shop, payment)["version"] != before


def test_a_new_day_is_news(sqlite_shop: Shop) -> None:
    """A page left open over midnight does not go on saying that there is one day more, or that one can still pay."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **{**NUMBERS, "pay_limit": date(2026, 12, 2)})
    versions = []
    for moment in (
        "2026-11-30T15:00:00",
        "2026-12-01T14:59:59",
        "2026-12-01T15:00:00",
        "2026-12-02T15:00:00",
    ):
        with time_machine.travel(datetime.fromisoformat(moment).replace(tzinfo=UTC), tick=False):
            versions.append(state_of(sqlite_shop, payment)["version"])

    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_news_hold_nothing_but_the_state(sqlite_shop: Shop) -> None:
    """No number, name or order stands in the answer, nor can it be worked out from the version by trying."""
    first, second = (
        payment_in(sqlite_shop, State.AWAITING_PAYMENT, **{**NUMBERS, "sendid": each})
        for each in ("S1", "S2")
    )
    told = state_of(sqlite_shop, first)

    assert set(told) == {"state", "version"}
    assert len(told["version"]) == 16
    assert told["version"] != state_of(sqlite_shop, second)["version"]


@pytest.mark.parametrize("way", ["state", "deadline.ics", "qr.svg"])
def test_what_belongs_to_the_page_is_as_private(sqlite_shop: Shop, way: str) -> None:
    """It goes into no cache and no index, sets no cookie, and is found only by the page's own key."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **NUMBERS)
    http = Browser(sqlite_shop.app).http
    answer = http.get(f"/zeus-cvs/result/{payment.token}/{way}")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["X-Robots-Tag"] == "noindex"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers
    for token in ("unknown", "x" * 200, "%00", "a.b"):
        assert http.get(f"/zeus-cvs/result/{token}/{way}").status_code == 404


@pytest.mark.parametrize("way", ["state", "deadline.ics", "qr.svg"])
def test_what_belongs_to_the_page_needs_https(make_shop: ShopMaker, way: str) -> None:
    """Over plain http from elsewhere it is refused like the page."""
    shop = make_shop()
    payment = payment_in(shop, State.AWAITING_PAYMENT, **NUMBERS)
    url = f"/zeus-cvs/result/{payment.token}/{way}"
    http = Browser(shop.app).http

    assert http.get(url, environ_overrides=ABROAD).status_code == 403
    assert http.get(url, environ_overrides=ABROAD, base_url="https://localhost").status_code == 200


# What the shop looks into


@pytest.mark.parametrize("state", [each for each in STATES if each.value not in ("submitting", "unknown")])
def test_a_customer_is_told_that_the_shop_looks_into_it(sqlite_shop: Shop, state: State) -> None:
    """While a review is open nothing leads to a second payment, and the reason stays the shop's."""
    payment = payment_in(sqlite_shop, state, **NUMBERS)
    review = look_into(sqlite_shop, payment, ReviewReason.PAID_TWICE)
    page = Browser(sqlite_shop.app).result(payment).text
    review.resolved_at = datetime.now(UTC)
    sqlite_shop.db.session.commit()

    assert "ショップで確認して" in page
    assert "/zeus-cvs/checkout/" not in page
    assert "data-zeus-watch" in page
    assert "paid_twice" not in page
    if not state.value.endswith("after_cancel"):
        assert "ショップで確認して" not in said(sqlite_shop, payment)


def test_money_of_another_amount_keeps_nobody_paying(sqlite_shop: Shop) -> None:
    """Someone who has paid the wrong amount sees their numbers with the warning not to pay again."""
    payment, _ = sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(b"status=04&order_no=0001-1&money=2000")
    page = Browser(sqlite_shop.app).result(payment).text

    assert "もう一度お支払いにならず" in page
    assert "お申し込みを受け付けました" not in page
    assert "1234567890123" in page


@pytest.mark.parametrize("state", [State.DECLINED, State.FAILED, State.EXPIRED])
def test_no_form_while_the_shop_looks_into_it(sqlite_shop: Shop, state: State) -> None:
    """The form's own link, and a form that was open before, lead to the page that asks to wait; nothing is sent."""
    payment = payment_in(sqlite_shop, state, **NUMBERS)
    browser = Browser(sqlite_shop.app)
    open_before = browser.token(payment)
    look_into(sqlite_shop, payment)
    answers = (
        browser.checkout(payment),
        browser.send(payment, {**FORM, "csrf_token": open_before, "amount": str(payment.amount)}),
    )

    for answer in answers:
        assert (answer.status_code, answer.location) == (303, f"/zeus-cvs/result/{payment.token}")
    assert sqlite_shop.gateway.sent == []


def test_counter_mode_hides_no_warning(sqlite_shop: Shop) -> None:
    """The page comes anew when a review opens, counter mode too: it must not cover the words that ask not to pay."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **NUMBERS)
    before = Browser(sqlite_shop.app).result(payment).text
    look_into(sqlite_shop, payment)
    after = Browser(sqlite_shop.app).result(payment).text

    assert 'id="zeus-counter"' in before
    assert "zeus-counter" not in after


def test_another_customers_review_is_not_ours(sqlite_shop: Shop) -> None:
    """A review of one payment says nothing on the page of another."""
    payment = payment_in(sqlite_shop, State.AWAITING_PAYMENT, **NUMBERS)
    look_into(sqlite_shop, payment_in(sqlite_shop, State.AWAITING_PAYMENT, **{**NUMBERS, "sendid": "S2"}))

    assert "ショップで確認して" not in said(sqlite_shop, payment)


# Another slip of the same order


@pytest.mark.parametrize(
    ("state", "other", "warning"),
    [
        (State.AWAITING_PAYMENT, State.UNKNOWN, "お支払いはどちらか一方だけにしてください"),
        (State.AWAITING_PAYMENT, State.AWAITING_PAYMENT, "お支払いはどちらか一方だけにしてください"),
        (State.DECLINED, State.UNKNOWN, "もう一度お申し込みにならず、その番号でお支払いください"),
        (State.RECEIVED, State.UNKNOWN, "あとから届いた場合も、お支払いにならないでください"),
        (State.RECEIVED, State.AWAITING_PAYMENT, "あとから届いた場合も、お支払いにならないでください"),
    ],
)
def test_nobody_pays_two_slips_of_one_order(
    sqlite_shop: Shop, state: State, other: State, warning: str
) -> None:
    """An earlier application has a slip, or may still turn out to have one: the page says what to do with it."""
    alone = payment_in(sqlite_shop, state, **NUMBERS)
    beside = payment_in(sqlite_shop, other, sendid="S2")
    second = {**NUMBERS, "store": Store.LAWSON, "stored_state": state, "answer_due_at": now(), "sendid": "S3"}
    beside.applications.append(Application(customer=CUSTOMER, **second))
    sqlite_shop.db.session.commit()

    assert warning not in said(sqlite_shop, alone)
    assert warning in said(sqlite_shop, beside)
    assert "お支払い番号は発行されておらず" not in said(sqlite_shop, beside)


# The receipt


def test_receipt_tells_when_the_money_was_told_of(sqlite_shop: Shop) -> None:
    """Store, amount, order and the minute in Japan, which a later confirmation does not change."""
    payment, _ = sqlite_shop.awaiting()
    with time_machine.travel(datetime(2026, 11, 24, 15, 30, tzinfo=UTC), tick=False):
        sqlite_shop.zeus.receive(b"status=04&order_no=0001-1&money=3000")
    with time_machine.travel(datetime(2026, 11, 28, 1, 0, tzinfo=UTC), tick=False):
        sqlite_shop.zeus.receive(b"status=05&order_no=0001-1&money=3000")
    page = Browser(sqlite_shop.app).result(payment)

    assert (
        "ご注文番号 A-1001 お支払い金額 3,000円 コンビニ ローソン 確認した日時 2026年11月25日（水）00:30"
        in text_of(page)
    )
    assert 'datetime="2026-11-25T00:30+09:00"' in page.text


def test_receipt_without_a_time(sqlite_shop: Shop) -> None:
    """Where nothing tells when, the page does not guess."""
    assert "確認した日時" not in said(sqlite_shop, payment_in(sqlite_shop, State.RECEIVED))


def test_receipt_is_of_this_payment(sqlite_shop: Shop) -> None:
    """The time of another order's money is not told here."""
    other, _ = sqlite_shop.awaiting(reference="A-1002")
    payment = payment_in(sqlite_shop, State.RECEIVED)
    sqlite_shop.zeus.receive(b"status=04&order_no=0001-1&money=3000")

    assert "確認した日時" in said(sqlite_shop, other)
    assert "確認した日時" not in said(sqlite_shop, payment)


def test_money_for_a_closed_payment_is_no_happy_end(sqlite_shop: Shop) -> None:
    """Paid after the shop closed: the customer is told of the money, not that all is done, also when decided."""
    payment, _ = sqlite_shop.awaiting()
    sqlite_shop.zeus.close(payment)
    sqlite_shop.db.session.commit()
    sqlite_shop.zeus.receive(b"status=04&order_no=0001-1&money=3000")
    (review,) = sqlite_shop.all(Review)
    asked = said(sqlite_shop, payment)
    review.resolved_at = datetime.now(UTC)
    sqlite_shop.db.session.commit()
    decided = said(sqlite_shop, payment)

    assert "お支払いを確認しました" in asked
    assert "ショップで確認しています" in asked
    assert "ショップが受付を終了しています" in decided
    assert not any("これで完了です" in each for each in (asked, decided))


# The end


@pytest.mark.parametrize(
    ("state", "details", "first"),
    [
        (State.RECEIVED, {}, True),
        (State.CANCELLED, {}, True),
        (State.AWAITING_PAYMENT, {"pay_limit": date(2026, 1, 1)}, True),
        (State.EXPIRED, {}, False),
        (State.AWAITING_PAYMENT, {}, False),
        (State.DECLINED, {}, False),
    ],
)
def test_the_way_home_is_a_button_where_it_is_next(
    sqlite_shop: Shop, state: State, details: dict[str, Any], first: bool
) -> None:
    """Where a customer has nothing left to do, the shop is one large button away; elsewhere a plain link."""
    page = Browser(sqlite_shop.app).result(payment_in(sqlite_shop, state, **{**NUMBERS, **details})).text

    assert ('<a class="zeus-button" href="/orders/A-1001">' in page) is first
    assert page.count('href="/orders/A-1001"') == 1


def test_expired_without_another_try_leads_home(sqlite_shop: Shop) -> None:
    """After the last attempt the page leads back to the shop."""
    payment = payment_in(sqlite_shop, State.EXPIRED)
    payment.attempts = 5
    sqlite_shop.db.session.commit()

    assert '<a class="zeus-button" href="/orders/A-1001">' in Browser(sqlite_shop.app).result(payment).text


@pytest.mark.parametrize(
    ("days", "left"), [(0, "本日まで"), (1, "明日まで"), (2, "あと2日"), (3, "あと3日"), (59, "あと59日")]
)
def test_days_are_counted_in_japan(sqlite_shop: Shop, days: int, left: str) -> None:
    """What is left is counted in Japan's days: at 23:59 there it is still the day before, whatever the server's zone."""
    payment = payment_in(
        sqlite_shop,
        State.AWAITING_PAYMENT,
        **{**NUMBERS, "pay_limit": date(2026, 12, 1) + timedelta(days=days)},
    )
    for moment in ("2026-11-30T15:00:00", "2026-12-01T14:59:59"):
        with time_machine.travel(datetime.fromisoformat(moment).replace(tzinfo=UTC), tick=False):
            assert left in said(sqlite_shop, payment)
