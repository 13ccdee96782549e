"""The checkout form in a whole shop: what is shown, what is sent to ZEUS, and where the customer is led."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from werkzeug.exceptions import NotFound

from flask_zeus_cvs import Customer, InvalidCustomer, InvalidField
from flask_zeus_cvs.exceptions import NotSent, Unanswered
from flask_zeus_cvs.models import Application, Payment
from flask_zeus_cvs.payments import Payments
from flask_zeus_cvs.protocol.codes import STORES, Store
from flask_zeus_cvs.protocol.fields import Problem
from flask_zeus_cvs.protocol.messages import ApplicationRequest
from flask_zeus_cvs.web import views, wording
from tests.conftest import CUSTOMER, Shop, ShopMaker, accepted
from tests.visitors import FORM, Browser, text_of

PAY_URL = "https://slip.example.com/show?id=1&key=a%2Fb"
DECLINED = "rel = failure_order\norder_no =\npay_no1 =\npay_no2 =\npay_limit=\npay_url=\nerror_code={}\n"
ABROAD = {"REMOTE_ADDR": "203.0.113.7"}


def declined(code: str = "900000") -> bytes:
    return DECLINED.format(code).encode()


def seven_eleven(pay_url: str = PAY_URL) -> bytes:
    return accepted().replace(b"pay_url=\n", f"pay_url={pay_url}\n".encode())


def value_of(page: str, name: str) -> str | None:
    found = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]*)"', page)
    return found[1] if found else None


def checked_store(page: str) -> str | None:
    found = re.search(r'<input checked[^>]*value="(D\d+)"', page)
    return found[1] if found else None


# What is shown


def test_page_offers_the_stores_in_the_shops_order(make_shop: ShopMaker) -> None:
    """Only the stores of the setting are offered, in its order, by name."""
    shop = make_shop(STORES="D060,D001,D030")
    page = Browser(shop.app).checkout(shop.payment()).text

    assert re.findall(r'type="radio" value="(D\d+)"', page) == ["D060", "D001", "D030"]
    assert re.findall(r'<label for="zeus-store-\d">(.+?)</label>', page) == [
        "デイリーヤマザキ",
        "セブン-イレブン",
        "ファミリーマート",
    ]


def test_page_shows_what_is_paid(sqlite_shop: Shop) -> None:
    """The amount and the shop's own order number are in view."""
    said = text_of(Browser(sqlite_shop.app).checkout(sqlite_shop.payment(299_999, "No. <7>")))

    assert "299,999円" in said
    assert "No. <7>" in said


def test_details_from_the_shop_are_filled_in(sqlite_shop: Shop) -> None:
    """What the shop knows of its customer need not be typed."""
    payment = sqlite_shop.payment(customer=CUSTOMER)
    page = Browser(sqlite_shop.app).checkout(payment).text

    assert [value_of(page, name) for name in ("name", "phone", "email")] == [
        CUSTOMER.name,
        CUSTOMER.phone,
        CUSTOMER.email,
    ]
    assert checked_store(page) is None


def test_known_details_are_read_and_not_typed(sqlite_shop: Shop) -> None:
    """Details that the shop has passed stand as a summary; the inputs are behind it, and are sent all the same."""
    browser = Browser(sqlite_shop.app)
    page = browser.checkout(sqlite_shop.payment(customer=CUSTOMER))

    assert "<details" in page.text
    assert "ヤマダ タロウ 09012345678 taro@example.com 変更する" in text_of(page)
    assert "<details" not in browser.checkout(sqlite_shop.payment(reference="other")).text


@pytest.mark.parametrize(
    ("customer", "typed"),
    [
        (Customer(name="ヤマダ", phone="0312345678"), {}),
        (Customer(name="山田", phone="0312345678", email="a@example.com"), {}),
        (CUSTOMER, {"phone": "0312345678"}),
        (CUSTOMER, {"phone": "1"}),
    ],
)
def test_details_that_need_a_look_are_open(
    sqlite_shop: Shop, customer: Customer, typed: dict[str, str]
) -> None:
    """Nothing is hidden that is missing, wrong, or not what the shop has passed."""
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment(customer=customer)
    known = {"name": customer.name, "phone": customer.phone, "email": customer.email}
    page = browser.apply(payment, **{**known, **typed, "store": None})

    assert page.status_code == 422
    assert "<details" not in page.text


def test_known_details_stay_a_summary_when_the_store_is_missing(sqlite_shop: Shop) -> None:
    """A complaint about the store does not ask for details that are right."""
    payment = sqlite_shop.payment(customer=CUSTOMER)
    known = {"name": CUSTOMER.name, "phone": CUSTOMER.phone, "email": CUSTOMER.email}
    page = Browser(sqlite_shop.app).apply(payment, **known, store=None)

    assert page.status_code == 422
    assert "<details" in page.text


@pytest.mark.parametrize(
    ("days", "told"), [(None, "お支払い期限 次の画面に表示します"), (7, "お支払い期限 お申し込みから7日以内")]
)
def test_page_tells_the_deadline_as_far_as_it_is_known(
    make_shop: ShopMaker, days: int | None, told: str
) -> None:
    """The shop's own number of days if it sends one; else where the deadline will be told."""
    shop = make_shop(**({"PAY_WITHIN_DAYS": days} if days else {}))

    assert told in text_of(Browser(shop.app).checkout(shop.payment()))


@pytest.mark.parametrize(
    ("settings", "told"), [({}, True), ({"REDIRECT_711": False}, False), ({"STORES": "D002,D030"}, False)]
)
def test_page_tells_that_seven_elevens_number_is_elsewhere(
    make_shop: ShopMaker, settings: dict[str, Any], told: bool
) -> None:
    """Said only where customers are led away."""
    shop = make_shop(**settings)

    assert ("別のページ（収納代行会社）" in text_of(Browser(shop.app).checkout(shop.payment()))) is told


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("name", {"type": "text", "autocomplete": "name", "autocapitalize": "none", "spellcheck": "false"}),
        ("phone", {"type": "tel", "autocomplete": "tel", "inputmode": "tel"}),
        (
            "email",
            {
                "type": "email",
                "autocomplete": "email",
                "inputmode": "email",
                "autocapitalize": "none",
                "spellcheck": "false",
                "enterkeyhint": "send",
            },
        ),
    ],
)
def test_every_field_brings_its_keyboard(sqlite_shop: Shop, name: str, attributes: dict[str, str]) -> None:
    """Telephones show the right keys and offer what they know; nothing is capitalised or underlined."""
    page = Browser(sqlite_shop.app).checkout(sqlite_shop.payment()).text
    (tag,) = re.findall(rf'<input[^>]*name="{name}"[^>]*>', page)

    assert dict(re.findall(r'([a-z-]+)="([^"]*)"', tag)).items() >= attributes.items()


def test_complaints_lead_to_their_fields(sqlite_shop: Shop) -> None:
    """Each line of the summary is a link to an input of the page, the first store's for all of them."""
    page = (
        Browser(sqlite_shop.app).apply(sqlite_shop.payment(), store=None, name="", phone="1", email="x").text
    )
    links = re.findall(r'<li><a href="#([^"]+)">', page)

    assert links == ["zeus-store-0", "zeus-name", "zeus-phone", "zeus-email"]
    assert all(re.search(rf'<input[^>]*id="{each}"', page) for each in links)


def test_every_store_has_a_colour() -> None:
    """A store without one would stand there grey."""
    sheet = (Path(views.__file__).parents[1] / "static" / "checkout.css").read_text("utf-8")

    assert {info.slug for info in STORES.values()} == set(re.findall(r"\.zeus-store-(\w+) \{", sheet))


def test_unknown_token_is_not_found(shop: Shop) -> None:
    """A token that is nobody's, or could be nobody's, is a 404 like any other."""
    shop.payment()
    browser = Browser(shop.app)

    for page in ("checkout", "result"):
        for token in ("x" * 32, "x" * 5000, "%00", "%ff", "a%20b", "%E3%83%88", "..", "'", "x" * 31 + "%0A"):
            assert browser.http.get(f"/zeus-cvs/{page}/{token}").status_code == 404


def test_unknown_token_shows_the_hosts_own_page(sqlite_shop: Shop) -> None:
    """A shop's page for 404 is used for ours, and the answer still goes into no cache."""
    sqlite_shop.app.register_error_handler(404, lambda error: (f"shop's {NotFound.code}", 404))
    answer = Browser(sqlite_shop.app).http.get("/zeus-cvs/checkout/" + "x" * 32)

    assert answer.text == "shop's 404"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("store", list(Store))
def test_page_runs_under_a_strict_policy(sqlite_shop: Shop, store: Store) -> None:
    """Nothing inline, nothing from elsewhere, on the form and on every store's result page."""
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    pages = [browser.checkout(payment), browser.apply(payment, name="?")]
    sqlite_shop.submit(payment, store)
    pages.append(browser.result(payment))

    for page in pages:
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=|javascript:", page.text)
        assert all(
            each.startswith("/zeus-cvs/") for each in re.findall(r'(?:link[^>]*href|src)="([^"]+)', page.text)
        )
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert page.headers["X-Robots-Tag"] == "noindex"
        assert page.headers["X-Content-Type-Options"] == "nosniff"


def test_style_sheet_is_served_and_may_be_cached(sqlite_shop: Shop) -> None:
    """The style sheet is ours and the same for all, so no-store is not for it."""
    answer = Browser(sqlite_shop.app).http.get("/zeus-cvs/static/zeus_cvs.css")

    assert (answer.status_code, answer.mimetype) == (200, "text/css")
    assert answer.headers["Cache-Control"] != "no-store"
    answer.close()


# A good form


@pytest.mark.parametrize("store", list(Store))
def test_good_form_applies_and_leads_to_the_numbers(sqlite_shop: Shop, store: Store) -> None:
    """One application is sent, with the details in ZEUS's spelling, and the customer is led to the numbers."""
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    answer = browser.apply(payment, store=store.value)

    assert answer.status_code == 303
    assert answer.location == f"/zeus-cvs/result/{payment.token}"
    (sent,) = sqlite_shop.gateway.sent
    assert (sent.pay_cvs, sent.money) == (store, 3000)
    assert (sent.username, sent.telno, sent.email) == ("ヤマダ　タロウ", "09012345678", "taro@example.com")
    assert browser.result(payment).status_code == 200


def test_seven_eleven_leads_to_the_agencys_page(sqlite_shop: Shop) -> None:
    """7-Eleven's numbers are shown by the collection agency; its address is not changed by a byte."""
    sqlite_shop.gateway.answers = [seven_eleven()]
    answer = Browser(sqlite_shop.app).apply(sqlite_shop.payment(), store="D001")

    assert (answer.status_code, answer.location) == (303, PAY_URL)


def test_seven_eleven_stays_with_us_if_the_shop_wants(make_shop: ShopMaker) -> None:
    """With ZEUS_CVS_REDIRECT_711 off the customer sees our page, with a link to the agency's."""
    shop = make_shop(REDIRECT_711=False)
    shop.gateway.answers = [seven_eleven()]
    browser, payment = Browser(shop.app), shop.payment()

    assert browser.apply(payment, store="D001").location == f"/zeus-cvs/result/{payment.token}"
    assert f'href="{PAY_URL.replace("&", "&amp;")}"' in browser.result(payment).text


def test_seven_eleven_without_an_address_stays_with_us(sqlite_shop: Shop) -> None:
    """A blank pay_url is no place to go to."""
    sqlite_shop.gateway.answers = [seven_eleven("")]
    payment = sqlite_shop.payment()

    assert (
        Browser(sqlite_shop.app).apply(payment, store="D001").location == f"/zeus-cvs/result/{payment.token}"
    )


def test_only_seven_eleven_is_led_away(sqlite_shop: Shop) -> None:
    """An address that comes with another store is not followed."""
    sqlite_shop.gateway.answers = [seven_eleven()]
    payment = sqlite_shop.payment()

    assert (
        Browser(sqlite_shop.app).apply(payment, store="D002").location == f"/zeus-cvs/result/{payment.token}"
    )


def test_second_click_is_led_to_the_same_slip(sqlite_shop: Shop) -> None:
    """A form sent twice, even for another store, makes one application and leads to its slip."""
    sqlite_shop.gateway.answers = [seven_eleven()]
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    form = {**FORM, "csrf_token": browser.token(payment), "amount": "3000"}

    first = browser.send(payment, {**form, "store": "D001"})
    second = browser.send(payment, {**form, "store": "D002"})

    assert first.location == second.location == PAY_URL
    assert len(sqlite_shop.gateway.sent) == 1


def test_no_connection_is_held_while_zeus_is_awaited(make_shop: ShopMaker, database_uri: str) -> None:
    """Law 2, through the view: while ZEUS takes its time, the pool has every connection."""
    shop = make_shop(database_uri)
    payment = shop.payment()
    browser = Browser(shop.app)
    token = browser.token(payment)
    shop.db.session.remove()
    held: list[int] = []

    def look(_: ApplicationRequest) -> None:
        with shop.app.app_context():
            held.append(shop.db.engine.pool.checkedout())  # type: ignore[attr-defined]

    shop.gateway.before_answer = look
    browser.send(payment, {**FORM, "csrf_token": token, "amount": "3000"})

    assert held == [0]


# A wrong form


@pytest.mark.parametrize(
    ("field", "typed", "message"),
    [
        ("name", "山田", "「山」はカタカナではありません"),
        ("name", '"><script>alert(1)</script>', "はカタカナではありません"),
        ("name", "ア" * 21, "名前は全角20文字までです"),
        ("name", "", "お名前を入力してください"),
        ("phone", "12345", "0から始まる番号"),
        ("phone", "090-1234-567x", "「x」は電話番号に使えません"),
        ("email", "taro", "メールアドレスの形が正しくありません"),
        ("email", "ta ro@example.com", "メールアドレスに使えません"),
        ("store", "D999", "表示されているコンビニの中から"),
        ("store", None, "コンビニを選んでください"),
    ],
)
def test_wrong_field_comes_back_with_its_message(
    sqlite_shop: Shop, field: str, typed: str | None, message: str
) -> None:
    """422, the message at the field, everything as it was typed, nothing sent and nothing stored."""
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    answer = browser.apply(payment, **{field: typed})

    assert answer.status_code == 422
    assert message in text_of(answer)
    assert f'id="zeus-{field}-error"' in answer.text
    kept = {**FORM, field: typed}
    for name in ("name", "phone", "email"):
        shown = (kept[name] or "").replace('"', "&#34;").replace("<", "&lt;").replace(">", "&gt;")
        assert value_of(answer.text, name) == shown
    assert checked_store(answer.text) == (None if field == "store" else "D002")
    assert sqlite_shop.gateway.sent == []
    assert sqlite_shop.all(Application) == []


@pytest.mark.parametrize("amount", ["200", "2999", "0", "-3000", "3000.0", "３０００", ""])
def test_other_amount_is_refused(sqlite_shop: Shop, amount: str) -> None:
    """Law 9: an amount from the browser that is not the payment's own sends nothing."""
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    answer = browser.apply(payment, amount=amount)

    assert answer.status_code == 422
    assert wording.WRONG_AMOUNT in text_of(answer)
    assert value_of(answer.text, "amount") == "3000"
    assert sqlite_shop.gateway.sent == []


def test_what_the_verb_refuses_is_shown_at_the_form(
    sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should `submit` be stricter than the form, its complaint still reaches the customer."""

    def refuse(*_: Any) -> Application:
        raise InvalidCustomer([InvalidField("pay_cvs", Problem.choice)])

    monkeypatch.setattr(Payments, "apply_for", refuse)
    answer = Browser(sqlite_shop.app).apply(sqlite_shop.payment())

    assert answer.status_code == 422
    assert "表示されているコンビニの中から" in text_of(answer)


def test_json_is_refused_like_an_empty_form(sqlite_shop: Shop) -> None:
    """A body that is no form is answered with the form, not with an error of ours."""
    payment = sqlite_shop.payment()
    answer = Browser(sqlite_shop.app).http.post(
        f"/zeus-cvs/checkout/{payment.token}", json={**FORM, "phone": 9012345678}
    )

    assert answer.status_code == 422
    assert sqlite_shop.gateway.sent == []


def test_no_detail_reaches_a_log(sqlite_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Law 11: neither a good nor a wrong form leaves a word of the customer's in a log, nor the whole token."""
    caplog.set_level(logging.DEBUG)
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    browser.apply(payment, phone="x0312345678")
    sqlite_shop.gateway.answers = [Unanswered("timed out")]
    browser.apply(payment)

    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for secret in ("タロウ", "12345678", "taro@example.com", payment.token):
        assert secret not in logged


# What ZEUS declines


@pytest.mark.parametrize(
    ("parameter", "field"),
    [("username", "name"), ("telno", "phone"), ("email", "email"), ("pay_cvs", "store")],
)
def test_detail_that_zeus_refuses_comes_back_at_its_field(
    sqlite_shop: Shop, parameter: str, field: str
) -> None:
    """A parameter error about the customer's detail is the form again, with the input; so is a later visit."""
    sqlite_shop.gateway.answers = [f"Invalid {parameter}".encode()]
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    answer = browser.apply(payment)

    assert answer.status_code == 422
    assert value_of(answer.text, "phone") == FORM["phone"]
    later = browser.checkout(payment)
    assert later.status_code == 200
    assert value_of(later.text, "phone") == "09012345678"
    for page in (answer, later):
        assert f'id="zeus-{field}-error"' in page.text
        assert wording.REFUSED_FIELDS[field] in text_of(page)
        assert checked_store(page.text) == "D002"

    assert browser.apply(payment).status_code == 303
    assert len(sqlite_shop.gateway.sent) == 2


def test_detail_refused_at_the_last_attempt_leads_to_the_result(make_shop: ShopMaker) -> None:
    """A form that could not be sent again is not shown."""
    shop = make_shop(MAX_ATTEMPTS=1)
    shop.gateway.answers = [b"Invalid telno"]
    browser, payment = Browser(shop.app), shop.payment()

    assert browser.apply(payment).location == f"/zeus-cvs/result/{payment.token}"
    assert "上限" in text_of(browser.result(payment))


def test_parameter_that_is_the_shops_own_leads_to_the_result(sqlite_shop: Shop) -> None:
    """The customer cannot mend what the shop fills in."""
    sqlite_shop.gateway.answers = [b"Invalid clientip"]
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()

    assert browser.apply(payment).location == f"/zeus-cvs/result/{payment.token}"
    assert "ショップ側の設定" in text_of(browser.result(payment))


def test_declined_application_leads_back_with_the_input_kept(sqlite_shop: Shop) -> None:
    """After a refusal the result page leads to the form, filled in as applied."""
    sqlite_shop.gateway.answers = [declined()]
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment(customer=Customer(name="サトウ"))

    assert browser.apply(payment, store="D030").location == f"/zeus-cvs/result/{payment.token}"
    assert f'href="/zeus-cvs/checkout/{payment.token}"' in browser.result(payment).text
    page = browser.checkout(payment).text
    assert [value_of(page, name) for name in ("name", "phone", "email")] == [
        "ヤマダ　タロウ",
        "09012345678",
        "taro@example.com",
    ]
    assert checked_store(page) == "D030"
    assert browser.apply(payment).status_code == 303


def test_store_under_maintenance_is_said_at_the_stores(sqlite_shop: Shop) -> None:
    """Where another store helps, the form says so when the customer returns."""
    sqlite_shop.gateway.answers = [declined("0008")]
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    browser.apply(payment)

    assert wording.OTHER_STORE in text_of(browser.checkout(payment))


def test_application_that_was_never_sent_may_be_repeated_at_once(sqlite_shop: Shop) -> None:
    """Nothing reached ZEUS: the result page says so and leads back."""
    sqlite_shop.gateway.answers = [NotSent("refused")]
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()

    browser.apply(payment)
    assert "送信されていません" in text_of(browser.result(payment))
    assert browser.checkout(payment).status_code == 200


# When no application is possible


def close(shop: Shop, payment: Payment) -> None:
    shop.zeus.close(payment)
    shop.db.session.commit()


def pay(shop: Shop, payment: Payment) -> None:
    shop.submit(payment)
    shop.zeus.receive(b"status=04&order_no=0001-1&money=3000")


def leave_open(shop: Shop, payment: Payment) -> None:
    shop.gateway.answers = [Unanswered("timed out")]
    shop.submit(payment)


def use_up(shop: Shop, payment: Payment) -> None:
    shop.gateway.answers = [declined()] * 5
    for _ in range(5):
        shop.submit(payment)


def end_offer(shop: Shop, payment: Payment) -> None:
    payment.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    shop.db.session.commit()


@pytest.mark.parametrize(
    "happened", [close, pay, leave_open, use_up, end_offer, lambda shop, payment: shop.submit(payment)]
)
def test_form_leads_to_the_result_when_nothing_can_be_applied_for(sqlite_shop: Shop, happened: Any) -> None:
    """Paid, live, being checked, closed, over, or tried too often: no form, and a good or bad post sends nothing."""
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    token = browser.token(payment)
    happened(sqlite_shop, payment)
    sent = len(sqlite_shop.gateway.sent)
    form = {**FORM, "csrf_token": token, "amount": "3000"}

    for answer in (
        browser.checkout(payment),
        browser.send(payment, form),
        browser.send(payment, {**form, "name": ""}),
    ):
        assert (answer.status_code, answer.location) == (303, f"/zeus-cvs/result/{payment.token}")
    assert browser.result(payment).status_code == 200
    assert len(sqlite_shop.gateway.sent) == sent


def test_form_returns_when_the_outcome_stays_unknown(sqlite_shop: Shop) -> None:
    """After RETRY_UNKNOWN_AFTER the customer may apply again, and the page warns of paying twice."""
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()
    leave_open(sqlite_shop, payment)

    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=901)):
        assert "どちらか一方だけ" in text_of(browser.result(payment))
        assert browser.apply(payment).status_code == 303
    assert len(sqlite_shop.gateway.sent) == 2


# Https


@pytest.mark.parametrize("page", ["checkout", "result"])
def test_plain_http_is_refused(make_shop: ShopMaker, page: str) -> None:
    """Away from home, a customer page on plain http is a 403 that says what to do; no header talks it round."""
    shop = make_shop()
    payment = shop.payment(customer=CUSTOMER)
    answer = Browser(shop.app).http.get(
        f"/zeus-cvs/{page}/{payment.token}",
        environ_overrides=ABROAD,
        headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"},
    )

    assert answer.status_code == 403
    assert "https" in text_of(answer)
    assert CUSTOMER.email not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


def test_post_on_plain_http_sends_nothing(sqlite_shop: Shop) -> None:
    """Details that came unprotected go no further."""
    sqlite_shop.app.config["WTF_CSRF_ENABLED"] = False
    answer = Browser(sqlite_shop.app).send(sqlite_shop.payment(), dict(FORM), environ_overrides=ABROAD)

    assert answer.status_code == 403
    assert sqlite_shop.gateway.sent == []


@pytest.mark.parametrize(
    ("settings", "base_url", "address"),
    [
        ({}, "https://localhost", "203.0.113.7"),
        ({}, "http://localhost", "127.0.0.1"),
        ({}, "http://localhost", "::1"),
        ({}, "http://localhost", "::ffff:127.0.0.1"),
        ({"REQUIRE_HTTPS": False}, "http://localhost", "203.0.113.7"),
    ],
)
def test_https_and_a_developers_machine_are_let_in(
    make_shop: ShopMaker, settings: dict[str, Any], base_url: str, address: str
) -> None:
    """Https is fine from anywhere, http from the same machine while testing, or where the shop allows it."""
    shop = make_shop(**settings)
    payment = shop.payment()
    answer = Browser(shop.app).checkout(
        payment, base_url=base_url, environ_overrides={"REMOTE_ADDR": address}
    )

    assert answer.status_code == 200


def test_loopback_is_no_excuse_in_earnest(make_shop: ShopMaker) -> None:
    """In production a request from loopback is a proxy that does not say https: refused."""
    shop = make_shop(testing=False, DELIVERY="deferred")

    assert Browser(shop.app).checkout(shop.payment()).status_code == 403


# The shop's own frame


def test_pages_stand_in_the_shops_frame(make_shop: ShopMaker, tmp_path: Any) -> None:
    """With ZEUS_CVS_BASE_TEMPLATE every page fills the blocks of the shop's own base."""
    (tmp_path / "shop.html").write_text(
        "<title>{% block title %}{% endblock %} | Shop</title>{% block head %}<!-- shop's -->{% endblock %}"
        "<nav>menu</nav>{% block content %}{% endblock %}",
        "utf-8",
    )
    shop = make_shop(BASE_TEMPLATE="shop.html")
    shop.app.template_folder = str(tmp_path)
    browser, payment = Browser(shop.app), shop.payment()
    pages = [browser.checkout(payment), browser.checkout(payment, environ_overrides=ABROAD)]
    shop.submit(payment)
    pages.append(browser.result(payment))

    for page in pages:
        assert "<nav>menu</nav>" in page.text
        assert " | Shop</title>" in page.text
        assert "<!-- shop's -->" in page.text
        assert "zeus_cvs.css" in page.text
        assert page.text.count("<h1>") == 1


def test_every_page_of_a_test_says_so(make_shop: ShopMaker) -> None:
    """While the test keys are set each page carries the mark, and a test application keeps it afterwards."""
    shop = make_shop(TEST_ID="12345678", TEST_TYPE="0")
    browser, payment = Browser(shop.app), shop.payment()
    pages = [browser.checkout(payment), browser.checkout(payment, environ_overrides=ABROAD)]
    browser.apply(payment)
    pages.append(browser.result(payment))

    assert all("テスト用のページ" in text_of(page) for page in pages)


def test_a_real_payment_has_no_test_mark(sqlite_shop: Shop) -> None:
    """Without test keys nothing speaks of a test; a slip that was a test says so whatever the settings are now."""
    browser, payment = Browser(sqlite_shop.app), sqlite_shop.payment()

    assert "テスト" not in text_of(browser.checkout(payment))
    application = sqlite_shop.submit(payment)
    assert "テスト" not in text_of(browser.result(payment))
    sqlite_shop.db.session.get_one(Application, application.id).test = True
    sqlite_shop.db.session.commit()
    assert "テスト用のページ" in text_of(browser.result(payment))


def test_every_store_has_a_name_on_the_form(sqlite_shop: Shop) -> None:
    """All six are offered unless the shop says otherwise."""
    said = text_of(Browser(sqlite_shop.app).checkout(sqlite_shop.payment()))

    assert all(info.name in said for info in STORES.values())
