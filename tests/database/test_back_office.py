"""The back office: who may come in, what is listed, shown and saved, and what each decision does."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from flask import Flask, abort, redirect
from flask_admin import Admin  # type: ignore[import-untyped]
from flask_babel import Babel  # type: ignore[import-untyped]

from flask_zeus_cvs import fulfillment_ready
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.contrib.admin import add_views, lists, views
from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.models import Application, Delivery, DeliveryState, Event, Payment, Resolution, Review
from tests.conftest import CUSTOMER, Shop, ShopMaker
from tests.office import URL, Office, receive, routes

LISTS = ("payments", "reviews", "parked", "notices", "events")


@pytest.fixture
def office(sqlite_shop: Shop) -> Office:
    return Office(sqlite_shop)


def fails(_app: Flask, **_: Any) -> None:
    raise RuntimeError("no parcel today")


@pytest.fixture
def parked(make_shop: ShopMaker) -> Office:
    """A shop whose receiver has failed for good."""
    shop = make_shop(DELIVERY_ATTEMPTS=1)
    office = Office(shop)
    fulfillment_ready.connect(fails, sender=shop.app)
    shop.awaiting()
    receive(shop, "04", "0001-1")
    return office


def delivery(shop: Shop) -> Delivery:
    [found] = shop.all(Delivery)
    assert isinstance(found, Delivery)
    return found


def resolve(office: Office, number: int = 1, **fields: Any) -> Any:
    given = {"resolution": "ignored", "note": "asked the store", "sure": "y", **fields}
    return office.send(f"/reviews/{number}", **{k: v for k, v in given.items() if v})


# --- who may come in -------------------------------------------------------------------------------------------


def denials() -> list[Any]:
    async def coroutine() -> bool:
        return False

    return [
        pytest.param({"allowed": None}, id="no check"),
        pytest.param({"allowed": lambda: None}, id="returns nothing"),
        pytest.param({"allowed": lambda: False}, id="says no"),
        pytest.param({"allowed": lambda: 1}, id="only looks true"),
        pytest.param({"allowed": lambda: denials}, id="a function that was not called"),
        pytest.param({"allowed": lambda: 1 / 0}, id="raises"),
        pytest.param({"allowed": coroutine}, id="asynchronous, says no"),
    ]


@pytest.mark.parametrize("checks", denials())
def test_nobody_comes_in_without_the_shops_permission(sqlite_shop: Shop, checks: dict[str, Any]) -> None:
    """Every route of ours answers 403, whatever the method, and does nothing, unless the check says True."""
    office = Office(sqlite_shop, **checks)
    sqlite_shop.awaiting()
    found = routes(sqlite_shop.app)

    assert {"GET", "HEAD", "POST"} <= {method for _, method in found}
    assert {f"{URL}/{name}/" for name in LISTS} | {f"{URL}/", f"{URL}/expire"} <= {each for each, _ in found}
    for address, method in found:
        answer = office.client.open(address, method=method)
        assert answer.status_code == 403, f"{method} {address}"
        assert b"A-1001" not in answer.data


def test_nobody_comes_into_the_shops_own_admin_either(sqlite_shop: Shop) -> None:
    """The same for our pages in an admin of the shop's; its menu does not show them."""
    admin = Admin(sqlite_shop.app, name="Shop", url="/admin")
    add_views(admin)
    client = sqlite_shop.app.test_client()
    found = routes(sqlite_shop.app)

    assert len(found) > 20
    for address, method in found:
        assert client.open(address, method=method).status_code == 403, f"{method} {address}"


@pytest.mark.parametrize(
    ("check", "status"), [(lambda: abort(401), 401), (lambda: abort(redirect("/login")), 302)]
)
def test_a_check_may_lead_to_its_login(sqlite_shop: Shop, check: Callable[[], Any], status: int) -> None:
    """A check that aborts is obeyed: 401 for the browser to ask, or a redirect."""
    office = Office(sqlite_shop, allowed=check)
    assert office.client.get(f"{URL}/payments/").status_code == status


def test_a_check_that_fails_is_named_in_the_log(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """The shop finds out why nobody comes in; what the error says is not quoted."""
    office.staff.allowed = RuntimeError("taro@example.com")
    assert office.client.get(f"{URL}/").status_code == 403
    office.staff.allowed = "yes"
    assert office.client.get(f"{URL}/").status_code == 403

    actions = [record for record in caplog.records if getattr(record, "action", "") == "permission"]
    assert len(actions) >= 2
    assert "RuntimeError" in caplog.text
    assert "str, not True" in caplog.text
    assert "taro@example.com" not in caplog.text


def test_with_permission_every_page_opens(office: Office) -> None:
    """Each address of a page answers 200, in private."""
    shop = office.shop
    shop.awaiting()
    receive(shop, "04", "0001-1")
    receive(shop, "04", "unknown-1")

    for address, method in routes(shop.app):
        if method == "GET":
            answer = office.client.get(address)
            assert answer.status_code == 200 or (address.endswith("/decide") and answer.status_code == 404)
            if answer.status_code == 200:
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Referrer-Policy"] == "same-origin"


def test_pages_need_no_script_and_nothing_inline(office: Office) -> None:
    """Under default-src 'self' nothing is missing: no script, no style attribute, no handler, nothing from elsewhere."""
    office.shop.awaiting()
    receive(office.shop, "04", "0001-1")
    for path in ("/", *(f"/{each}/" for each in LISTS), "/payments/1", "/expire"):
        page = office.open(path)
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page), path
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page), path


# --- lists -----------------------------------------------------------------------------------------------------


def test_payments_are_found(office: Office) -> None:
    """By the shop's number, ZEUS's number, state, store, day and test; what makes no sense is left out of account."""
    shop = office.shop
    shop.awaiting(reference="A-1", order_no="11-1")
    paid, _ = shop.awaiting(reference="A-2", order_no="22-2")
    receive(shop, "04", "22-2")
    shop.payment(reference="A-3")
    today, tomorrow = (now() + timedelta(hours=9)).date(), (now() + timedelta(hours=33)).date()

    def found(**query: Any) -> list[str]:
        return [row.split()[0] for row in office.rows("/payments/", **query)]

    assert found() == ["A-3", "A-2", "A-1"]
    assert found(q="A-2") == found(q="22-2") == found(state="received") == ["A-2"]
    assert found(state="awaiting_payment") == ["A-1"]
    assert found(store="D002") == ["A-2", "A-1"]
    assert found(store="D001") == []
    assert found(since=today, until=today) == ["A-3", "A-2", "A-1"]
    assert found(since=tomorrow) == []
    assert found(sort="reference") == ["A-1", "A-2", "A-3"]
    assert found(state="nonsense", since="yesterday", sort="token", after="x") == ["A-3", "A-2", "A-1"]
    assert paid.id == 2


def test_pages_follow_each_other(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row is on one page, whichever way one goes, in every order, also where many rows are alike."""
    monkeypatch.setattr(lists, "PAGE_ROWS", 3)
    for number in range(8):
        office.shop.payment(1000 if number % 3 else 2000, reference=f"A-{number}")

    for order in ("", "-amount", "amount", "reference", "-created"):
        forth, last = walk(office, f"/payments/?sort={order}", "next")
        back, _ = walk(office, last, "prev")
        assert sorted(forth) == [f"A-{number}" for number in range(8)], order
        assert len(forth) == 8
        assert sorted(back) == sorted(forth)


def walk(office: Office, path: str, direction: str) -> tuple[list[str], str]:
    """Follow the links of one direction to the end; returns what was seen, and the last page's address."""
    seen: list[str] = []
    while True:
        page = office.open(path)
        seen += re.findall(r">(A-\d)</a>", page)
        link = re.search(rf'rel="{direction}" href="{URL}([^"]+)"', page)
        if link is None:
            return seen, path
        path = link[1].replace("&amp;", "&")


def test_notices_events_and_reviews_are_found(office: Office) -> None:
    """Each by what belongs to it: status and verdict, kind, reason; and by the payment's number."""
    shop = office.shop
    shop.awaiting(reference="A-1", order_no="11-1")
    receive(shop, "04", "11-1")
    receive(shop, "05", "strange-1")

    assert len(office.rows("/notices/")) == 2
    assert len(office.rows("/notices/", status="04")) == 1
    assert len(office.rows("/notices/", q="A-1")) == len(office.rows("/notices/", q="11-1")) == 1
    assert len(office.rows("/notices/", verdict="unreadable")) == 0
    assert len(office.rows("/events/", kind="payment_received")) == 1
    assert "review_required" not in str(office.rows("/events/", q="A-1"))
    [review] = office.rows("/reviews/", open="yes")
    assert "strange-1" in review
    assert office.rows("/reviews/", open="no") == []
    assert len(office.rows("/reviews/", q="strange-1")) == 1


def test_a_payment_tells_its_story(office: Office) -> None:
    """Applications, notices, events with each receiver, and reviews stand on one page, in order of time."""
    fulfillment_ready.connect(fails, sender=office.shop.app, name="parcels")
    office.shop.awaiting()
    receive(office.shop, "04", "0001-1")
    page = office.open("/payments/1")

    order = [
        page.index(text) for text in ("支払いの作成", "ローソン", "払込票の発行", "04 入金済", "parcels")
    ]
    assert order == sorted(order)


def test_nobody_finds_what_is_not_there(office: Office) -> None:
    """A number that no row has is 404, one too large for the database too."""
    for path in ("/payments/7", "/notices/7", "/events/7", "/reviews/7", "/payments/99999999999999999999"):
        assert office.client.get(URL + path).status_code == 404
    assert "A-1001" not in office.open("/payments/", after="99999999999999999999", before="-1")
    assert office.client.get(f"{URL}/parked/decide?what=retry&id=99999999999999999999").status_code == 303


# --- customers' details ----------------------------------------------------------------------------------------

DETAILS = (CUSTOMER.name, CUSTOMER.phone, CUSTOMER.email, "ヤマダ")


def test_details_are_masked(office: Office) -> None:
    """No page and no file shows a customer's details or the payment's token, nor does any address on a page."""
    payment, _ = office.shop.awaiting(customer=CUSTOMER)
    receive(office.shop, "04", "0001-1")
    receive(office.shop, "99", "0001-1")
    for address, method in routes(office.shop.app):
        if method == "GET":
            page = office.client.get(address).text
            assert not [each for each in (*DETAILS, payment.token, payment.token[:8]) if each in page], (
                address
            )
    assert "***5678" in office.open("/payments/1")


def test_only_who_may_sees_details(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """Asking for them takes the second permission, and leaves word of who it was."""
    caplog.set_level(logging.INFO)
    office.shop.awaiting(customer=CUSTOMER)
    receive(office.shop, "04", "0001-1")
    pages = ("/payments/1", "/notices/1", "/payments/export.csv")
    for path in pages:
        assert office.client.get(f"{URL}{path}?whole=yes").status_code == 403
    assert "whole=yes" not in office.open("/payments/1")
    assert "お客様の情報を含むため、伏せています。" in office.open("/notices/1")

    office.staff.may_reveal = True
    for path in pages:
        assert CUSTOMER.phone in office.open(path, whole="yes")
        assert CUSTOMER.phone not in office.open(path)
    noted = [record for record in caplog.records if getattr(record, "action", "") == "office"]
    assert [getattr(record, "by", "") for record in noted] == ["Suzuki"] * 3
    assert CUSTOMER.phone not in caplog.text


# --- export ----------------------------------------------------------------------------------------------------


def saved(office: Office, path: str, **query: Any) -> list[list[str]]:
    text = office.open(path, **query)
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text[1:], newline="")))


def test_an_export_has_what_is_asked_for(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the filters, all of them though they are read in steps, and no customers' details."""
    monkeypatch.setattr(lists, "EXPORT_ROWS", 2)
    for number in range(5):
        office.shop.payment(reference=f"A-{number}", customer=CUSTOMER)
    office.shop.awaiting(reference="B-1")

    head, *rows = saved(office, "/payments/export.csv", state="open")
    assert [row[1] for row in rows] == ["A-0", "A-1", "A-2", "A-3", "A-4"]
    assert len({len(row) for row in (head, *rows)}) == 1
    assert [row[2] for row in saved(office, "/events/export.csv")] == ["ショップの注文番号", "B-1"]
    monkeypatch.setattr("flask_zeus_cvs.staff.export.BATCH", 2)
    assert len(saved(office, "/payments/export.csv")) == 7


@pytest.mark.parametrize("name", LISTS)
def test_every_list_can_be_exported(parked: Office, name: str) -> None:
    """With a head, in Japanese, and a file name that says what and when."""
    receive(parked.shop, "04", "unknown-1")
    answer = parked.client.get(f"{URL}/{name}/export.csv")
    assert re.search(rf'filename="{name}-\d{{4}}-\d\d-\d\d\.csv"', answer.headers["Content-Disposition"])
    assert len(saved(parked, f"/{name}/export.csv")) >= 2


@pytest.mark.parametrize("reference", ["=1+1", "+81", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0"])
def test_an_export_runs_no_formula(office: Office, reference: str) -> None:
    """A cell that a spreadsheet would compute is made plain text."""
    office.shop.awaiting(reference=reference)
    [_, payment] = saved(office, "/payments/export.csv")
    [_, event] = saved(office, "/events/export.csv")
    assert payment[1] == event[2] == f"'{reference}"


# --- decisions -------------------------------------------------------------------------------------------------


def review_of(shop: Shop) -> Review:
    [found] = shop.all(Review)
    assert isinstance(found, Review)
    return found


def test_a_review_is_resolved(office: Office) -> None:
    """As chosen, with the note and the name of the person; the payment follows, and it cannot be done again."""
    shop = office.shop
    payment, _ = shop.awaiting()
    receive(shop, "04", "0001-1", money=2999)
    answer = resolve(office, resolution="received")

    assert answer.status_code == 303
    review = review_of(shop)
    assert (review.resolution, review.by, review.note) == (Resolution.RECEIVED, "Suzuki", "asked the store")
    assert shop.state(payment) is State.RECEIVED
    page = office.open("/reviews/1")
    assert "<form" not in page
    assert "asked the store" in page


def test_a_notice_that_fits_nothing_is_given_to_a_payment(office: Office) -> None:
    """The shop's number says whose it is; without it, or with a wrong one, the page says what is missing."""
    shop = office.shop
    payment, _ = shop.awaiting(reference="A-7")
    receive(shop, "04", "strange-1")

    assert "注文番号で入力" in resolve(office, resolution="received").text
    assert "見つかりません" in resolve(office, resolution="received", reference="A-8").text
    assert review_of(shop).resolved_at is None
    assert resolve(office, resolution="received", reference=" A-7 ").status_code == 303
    assert shop.state(payment) is State.RECEIVED


def test_a_notice_is_not_given_to_whichever_payment_is_the_newest(office: Office) -> None:
    """Of several payments of one order number the page asks which: the amounts and states are told, nothing is done."""
    shop = office.shop
    first, _ = shop.awaiting(reference="A-7", order_no="1-1")
    newer, _ = shop.awaiting(amount=5000, reference="A-7", order_no="2-1")
    receive(shop, "04", "strange-1")

    answer = resolve(office, resolution="received", reference="A-7")
    assert (answer.status_code, "いくつもあります" in answer.text) == (422, True)
    assert f"{first.id} (入金待ち 3,000)" in answer.text
    assert review_of(shop).resolved_at is None
    assert resolve(office, resolution="received", reference=str(first.id)).status_code == 303
    assert (shop.state(first), shop.state(newer)) == (State.RECEIVED, State.AWAITING_PAYMENT)


@pytest.mark.parametrize(
    ("amount", "paid", "says"), [(5000, False, "金額と違います"), (3000, True, "すでに入金")]
)
def test_an_odd_payment_is_asked_about_once_more(office: Office, amount: int, paid: bool, says: str) -> None:
    """Another amount, or money that is there already, is likely a wrong number; who says so again is believed."""
    shop = office.shop
    payment, _ = shop.awaiting(amount=amount, reference="A-7", order_no="1-1")
    if paid:
        receive(shop, "04", "1-1")
    receive(shop, "04", "strange-1")

    answer = resolve(office, resolution="received", reference="A-7")
    assert (answer.status_code, says in answer.text) == (422, True)
    assert review_of(shop).resolved_at is None
    found = re.search(r'name="insisted" value="(\d+)"', answer.text)
    assert found is not None
    for insisted, status in (("999", 422), (found[1], 303)):
        again = resolve(office, resolution="received", reference="A-7", insisted=insisted)
        assert again.status_code == status
    assert shop.state(payment) is State.RECEIVED


def test_a_name_keeps_to_one_line_of_the_log(sqlite_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """What staff type as their name cannot write a second record."""
    office = Office(sqlite_shop, who=None)
    with caplog.at_level("INFO", "flask_zeus_cvs"):
        office.send("/expire", sure="y", by="Tanaka\nCRITICAL forged\x1b[2J")
    assert [each for each in caplog.messages if each.startswith("swept")] == [
        "swept, by TanakaCRITICAL forged[2J"
    ]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sure": ""}, "チェックを入れて"),
        ({"resolution": ""}, "どうするかを選んで"),
        ({"resolution": "nonsense"}, "どうするかを選んで"),
        ({"note": "x" * 2001}, "2000文字まで"),
    ],
)
def test_a_decision_is_asked_for_once_more(office: Office, fields: dict[str, Any], says: str) -> None:
    """Without the tick, or with something missing, nothing is done, and the page says what."""
    office.shop.awaiting()
    receive(office.shop, "04", "0001-1", money=2999)
    answer = resolve(office, **fields)

    assert answer.status_code == 422
    assert says in answer.text
    assert review_of(office.shop).resolved_at is None


def test_who_decides_is_asked_where_the_shop_does_not_say(sqlite_shop: Shop) -> None:
    """Without ``who`` the page asks for a name, and takes none that is blank or too long."""
    office = Office(sqlite_shop, who=None)
    sqlite_shop.awaiting()
    receive(sqlite_shop, "04", "0001-1", money=2999)

    for name in ("", "   ", "x" * 101):
        assert resolve(office, by=name).status_code == 422
    assert resolve(office, by="Tanaka").status_code == 303
    assert review_of(sqlite_shop).by == "Tanaka"


def test_a_name_cannot_be_borrowed(office: Office) -> None:
    """Where the shop says who it is, a name in the form counts for nothing."""
    office.shop.awaiting()
    receive(office.shop, "04", "0001-1", money=2999)
    resolve(office, by="Tanaka")
    assert review_of(office.shop).by == "Suzuki"


def test_what_was_given_up_on_is_tried_again(parked: Office) -> None:
    """With the name of who decided it; the receiver is called anew."""
    shop = parked.shop
    number = delivery(shop).id
    assert delivery(shop).state is DeliveryState.PARKED
    assert "/parked/decide" in parked.open("/parked/")
    answer = parked.send(f"/parked/decide?what=retry&id={number}", sure="y")

    assert answer.status_code == 303
    assert (delivery(shop).state, delivery(shop).decided_by) == (DeliveryState.PENDING, "Suzuki")


def test_what_was_given_up_on_is_dismissed(parked: Office) -> None:
    """For good, with the name of who decided it; a second time changes nothing."""
    path = f"/parked/decide?what=dismiss&id={delivery(parked.shop).id}"
    assert parked.send(path, sure="y").status_code == 303
    assert (delivery(parked.shop).state, delivery(parked.shop).decided_by) == (
        DeliveryState.DISMISSED,
        "Suzuki",
    )
    parked.staff.who = "Tanaka"
    assert parked.send(path, sure="y").status_code == 303
    assert delivery(parked.shop).decided_by == "Suzuki"
    assert len(parked.rows("/parked/", state="dismissed")) == 1
    assert parked.rows("/parked/") == []


def overdue(shop: Shop) -> Application:
    _, application = shop.awaiting()
    past = now().date() - timedelta(days=10)
    shop.db.session.execute(sa.update(Application).values(pay_limit=past))
    shop.db.session.commit()
    return application


def test_slips_are_expired_now(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """The sweep runs when somebody has said so twice, and the page tells what it did."""
    caplog.set_level(logging.INFO)
    overdue(office.shop)
    assert "最大1件" in office.open("/expire")
    assert office.send("/expire", sure="y").status_code == 303

    assert [each.state for each in office.shop.all(Application)] == [State.EXPIRED]
    assert "期限切れにした申し込み 1件" in office.open("/")
    assert ("swept", "Suzuki") in [(getattr(r, "what", ""), getattr(r, "by", "")) for r in caplog.records]


def test_a_long_sweep_ends_before_the_worker_is_killed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one request does not manage is left for the next; what it did stays done."""
    monkeypatch.setattr("flask_zeus_cvs.contrib.admin.dashboard.SWEEP_SECONDS", -1.0)
    shop = office.shop
    for number in range(3):
        shop.awaiting(reference=f"A-{number}", order_no=f"{number}-1")
    past = now().date() - timedelta(days=10)
    shop.db.session.execute(sa.update(Application).values(pay_limit=past))
    shop.db.session.commit()
    answer = office.send("/expire", sure="y")

    assert answer.headers["Location"].endswith("/expire")
    assert [each.state for each in shop.all(Application)].count(State.EXPIRED) == 1


def test_attempts_are_reset(make_shop: ShopMaker) -> None:
    """A customer who has used them up can apply again; the link is there only then."""
    office = Office(make_shop(MAX_ATTEMPTS=1))
    shop = office.shop
    shop.payment(reference="A-0")
    shop.awaiting()
    assert "/reset" not in office.open("/payments/1")
    assert "/reset" in office.open("/payments/2")
    assert office.send("/payments/2/reset", sure="y").status_code == 303
    assert [each.attempts for each in shop.all(Payment)] == [0, 0]


POSTS = ("/reviews/1", "/parked/decide?what=dismiss&id=1", "/expire", "/payments/1/reset")


@pytest.mark.parametrize("path", POSTS)
def test_a_form_from_elsewhere_does_nothing(parked: Office, path: str) -> None:
    """Without the page's token, or by GET, nothing is decided, whatever else is sent."""
    shop = parked.shop
    receive(shop, "06", "unknown-1")
    fields = {"sure": "y", "resolution": "ignored", "by": "x"}
    before = everything(shop)
    answer = parked.send(path, token=False, **fields)
    parked.client.get(f"{URL}{path}{'&' if '?' in path else '?'}{urlencode(fields)}")

    assert answer.status_code == 422
    assert "時間がたった" in answer.text
    assert everything(shop) == before


@pytest.mark.parametrize("path", POSTS)
def test_decisions_work_beside_a_global_protection(make_shop: ShopMaker, path: str) -> None:
    """A shop's own CSRFProtect and ours take the same token."""
    shop = make_shop(DELIVERY_ATTEMPTS=1)
    protect = pytest.importorskip("flask_wtf").CSRFProtect
    protect(shop.app)
    office = Office(shop)
    fulfillment_ready.connect(fails, sender=shop.app)
    shop.awaiting()
    receive(shop, "04", "0001-1")
    receive(shop, "06", "unknown-1")
    assert office.send(path, sure="y", resolution="ignored").status_code == 303
    assert office.client.post(URL + path, data={"sure": "y"}).status_code == 400


def everything(shop: Shop) -> list[Any]:
    """What a decision could change."""
    return [
        [(each.id, each.resolved_at) for each in shop.all(Review)],
        [(each.id, each.state, each.decided_by) for each in shop.all(Delivery)],
        [(each.id, each.attempts) for each in shop.all(Payment)],
        [(each.id, each.stored_state) for each in shop.all(Application)],
        len(shop.all(Event)),
    ]


def test_no_page_writes(office: Office) -> None:
    """Opening every page changes nothing in the database."""
    shop = office.shop
    shop.awaiting()
    receive(shop, "04", "0001-1", money=2999)
    before = everything(shop)
    for address, method in routes(shop.app):
        if method == "GET":
            office.client.get(address)
    assert everything(shop) == before


# --- languages, and the shop's own admin ------------------------------------------------------------------------


def test_staff_read_japanese_unless_the_shop_says_otherwise(make_shop: ShopMaker) -> None:
    """By default the pages are Japanese; with ZEUS_CVS_LOCALE they are English, to the last word."""
    english = Office(make_shop(LOCALE="en"))
    english.shop.awaiting()
    receive(english.shop, "04", "0001-1", money=2999)
    for path in ("/", *(f"/{each}/" for each in LISTS), "/payments/1", "/reviews/1", "/expire"):
        page = english.open(path)
        assert '<html lang="en">' in page
        assert not re.search("[ぁ-ヿ一-鿿]", re.sub(r"ヤ＊＊＊", "", page)), path


def test_the_shops_own_admin_shows_our_pages(sqlite_shop: Shop) -> None:
    """One line adds them to a menu of the shop's, in its frame."""
    Babel(sqlite_shop.app)  # Flask-Admin wants it wherever Flask-Babel is installed
    admin = Admin(sqlite_shop.app, name="Shop", url="/admin")
    add_views(admin, allowed=lambda: True)
    sqlite_shop.payment()
    page = sqlite_shop.app.test_client().get("/admin/payments/")

    assert page.status_code == 200
    assert "A-1001" in page.text
    assert "navbar-brand" in page.text
    assert "Konbini payments" in page.text  # the language is Flask-Babel's


def test_an_admin_made_before_its_app_is_as_good(sqlite_shop: Shop) -> None:
    """Views can be added first and the app later, as factories do."""
    Babel(sqlite_shop.app)
    admin = Admin(name="Shop", url="/admin")
    add_views(admin, allowed=lambda: True)
    admin.init_app(sqlite_shop.app)
    assert sqlite_shop.app.test_client().get("/admin/reviews/").status_code == 200


def test_rows_are_read_on_every_database(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists, orders, searches and the dashboard are in SQL that each database has."""
    monkeypatch.setattr(lists, "PAGE_ROWS", 1)
    office = Office(shop)
    for number in range(3):
        shop.awaiting(reference=f"A-{number}", order_no=f"{number}-1")
    receive(shop, "04", "1-1")
    receive(shop, "05", "strange-1")
    for view in (
        views.PaymentsPage,
        views.NoticesPage,
        views.EventsPage,
        views.ReviewsPage,
        views.ParkedPage,
    ):
        name = view.__name__.removesuffix("Page").lower()
        for order in view.listing.sorts():
            office.open(f"/{name}/", sort=order, after=1)
            office.open(
                f"/{name}/", sort=f"-{order}", before=1, q="A-1", since="2026-01-01", until="2099-01-01"
            )
        for choice in view.listing.choices:
            for value in choice.options():
                office.open(f"/{name}/", **{choice.name: value})
    assert walk(office, "/payments/", "next")[0] == ["A-2", "A-1", "A-0"]
    assert "A-1" in str(office.rows("/notices/", q="A-1"))
    office.open("/")


def test_pending_work_is_left_alone(sqlite_shop: Shop) -> None:
    """The pages read in sessions of their own: a shop's pending work on db.session is not theirs."""
    office = Office(sqlite_shop)
    sqlite_shop.zeus.create_payment(amount=3000, reference="pending")
    assert "pending" not in office.open("/payments/")
