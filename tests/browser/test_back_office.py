"""A walk through the back office in a real browser: on a desk and on a telephone, under the strictest policy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from flask_admin import Admin  # type: ignore[import-untyped]
from flask_admin.theme import Bootstrap4Theme  # type: ignore[import-untyped]
from flask_babel import Babel  # type: ignore[import-untyped]
from flask_sqlalchemy import SQLAlchemy
from playwright.sync_api import Browser, Page, expect

from example_shop.tests.running import RunningDemo, serving
from flask_zeus_cvs import ZeusCVS, fulfillment_ready
from flask_zeus_cvs.contrib.admin import add_views, make_admin
from tests.browser.looking import axe
from tests.browser.walking import choose_store, fits, order_something, watch_for_blocked_content
from tests.conftest import CLIENT_IP, Shop, accepted
from tests.office import receive

POLICY = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"
DESK, PHONE = 1280, 390
URL = "/staff/konbini"
#: Every page, by its address.
PAGES = {
    "dashboard": "/",
    "a year": "/?days=365",
    "no period": "/?from=2026-04-02&to=2026-04-01",
    "payments": "/payments/",
    "nothing found": "/payments/?q=nothing",
    "payment": "/payments/1",
    "payment under review": "/payments/3",
    "reviews": "/reviews/",
    "review": "/reviews/1",
    "review of a stray notice": "/reviews/2",
    "parked": "/parked/",
    "retry": "/parked/decide?what=retry&id=1",
    "dismiss": "/parked/decide?what=dismiss&id=1",
    "notices": "/notices/",
    "notice": "/notices/1",
    "events": "/events/",
    "event": "/events/1",
    "expire": "/expire",
    "reset": "/payments/1/reset",
}
#: What is wrong with Flask-Admin's own frame, and a page inside it cannot mend: its document names no language, and its
#: menu is too pale on its bar.
NOT_OURS = ("axe: html-has-lang", "axe: color-contrast (serious) at ['a[href$=")


def fails(_app: Flask, **_: Any) -> None:
    raise RuntimeError("no parcel today")


def fill(shop: Shop) -> None:
    """Bring about what the pages show: paid, waiting, taken back, a wrong amount, a stray notice, a parked delivery."""
    for number, store in enumerate(("D001", "D002", "D030", "D050", "D015"), 1):
        payment = shop.payment(1000 * number, reference=f"A-{1000 + number}")
        shop.gateway.answers.append(accepted(f"26-{number}"))
        shop.submit(payment, store)
    receive(shop, "04", "26-1", money=1000)
    receive(shop, "05", "26-1", money=1000)
    receive(shop, "04", "26-3", money=2999)
    receive(shop, "05", "99-9", money=5000)
    receive(shop, "04", "26-4", money=4000)
    receive(shop, "06", "26-4", money=4000)


class Site:
    """A shop with the back office in one of its frames, served."""

    def __init__(self, folder: Path, frame: str) -> None:
        self.frame = frame
        app = Flask(__name__)
        app.config.update(
            TESTING=True,
            SECRET_KEY="not a secret",
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'shop.db'}",
            ZEUS_CVS_CLIENT_IP=CLIENT_IP,
            ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"],
            ZEUS_CVS_DELIVERY_ATTEMPTS=1,
            ZEUS_CVS_MAX_ATTEMPTS=1,
            BABEL_DEFAULT_LOCALE="ja",
        )
        db = SQLAlchemy(app)
        self.shop = Shop(app, db, ZeusCVS(app, db))
        Babel(app)
        if frame == "ours":
            make_admin(app, url=URL, allowed=lambda: True, may_reveal=lambda: True)
        else:
            own = Admin(app, name="Shop", url=URL, theme=Bootstrap4Theme(swatch="default"))
            add_views(own, allowed=lambda: True, may_reveal=lambda: True)
        fulfillment_ready.connect(fails, sender=app)
        app.after_request(_defend)

    def address(self, path: str) -> str:
        """Where a page is: in the shop's own admin the dashboard is not the first one."""
        first = "/" if self.frame == "ours" else "/dashboard/"
        return f"{URL}{first}{path[1:]}" if path.startswith(("/?", "/expire")) or path == "/" else URL + path


def _defend(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    return response


@pytest.fixture(scope="module", params=["ours", "the shop's"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A shop with pages of every kind to look at."""
    site = Site(tmp_path_factory.mktemp("office"), request.param)
    with site.shop.app.app_context():
        site.shop.db.create_all()
        fill(site.shop)
        yield site
        site.shop.payments._outbox.stop()
        site.shop.db.session.remove()
        site.shop.db.engine.dispose()


@pytest.fixture(scope="module")
def home(site: Site) -> Iterator[str]:
    with serving(site.shop.app) as address:
        yield address


@pytest.fixture(scope="module", params=[(DESK, "light"), (PHONE, "dark")], ids=str)
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A window at a desk in daylight, and on a telephone in the dark."""
    width, scheme = request.param
    with browser.new_context(viewport={"width": width, "height": 780}, color_scheme=scheme) as context:
        yield context.new_page()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_in_order(site: Site, home: str, page: Page, name: str) -> None:
    """Nothing is blocked by the policy or asked for elsewhere, nothing sticks out, and axe finds nothing of ours."""
    blocked, asked = watch_for_blocked_content(page), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    response = page.goto(home + site.address(PAGES[name]))

    assert response is not None
    assert response.status == 200
    assert page.get_by_role("heading", level=1).count() == 1
    assert fits(page)
    assert not [each for each in asked if not each.startswith(home)]
    assert not blocked
    faults = axe(page)
    assert not [each for each in faults if site.frame == "ours" or not each.startswith(NOT_OURS)]


def test_the_numbers_of_a_chart_can_be_read(site: Site, home: str, page: Page) -> None:
    """Each chart has a name, and its numbers as a table behind it."""
    page.goto(home + site.address("/"))
    charts = page.locator("figure.zeus-chart")
    expect(charts).to_have_count(5)
    expect(page.get_by_role("img", name="日ごとの推移").locator("visible=true")).to_have_count(1)
    page.get_by_text("数字を表で見る").first.click()
    table = charts.first.get_by_role("table")
    expect(table.get_by_role("columnheader", name="申し込み")).to_be_visible()
    expect(table.get_by_role("row")).to_have_count(31)


def test_a_clerk_decides_about_a_review(site: Site, home: str, browser: Browser) -> None:
    """From the dashboard to the review, with the keyboard's own ways: choose, note, name, tick, send."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(home + site.address("/"))
        page.get_by_role("link", name="確認が必要な通知").click()
        page.get_by_role("link", name="金額の相違").first.click()
        page.get_by_label("変更しない").check()
        page.get_by_label("メモ").fill("店に確かめた")
        page.get_by_label("あなたのお名前").fill("鈴木")
        page.get_by_label("売上管理画面と照らし合わせました").check()
        page.get_by_role("button", name="判断を記録する").click()
        expect(page.get_by_text("判断を記録しました。")).to_be_visible()
        expect(page.get_by_text("店に確かめた")).to_be_visible()
        expect(page.get_by_text("鈴木")).to_be_visible()


def test_a_clerk_has_a_delivery_tried_again(site: Site, home: str, browser: Browser) -> None:
    """Ticked in the list, asked once more, done; the list says so."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(home + site.address("/parked/"))
        page.get_by_role("checkbox").first.check()
        page.get_by_role("button", name="選んだものをもう一度行う").click()
        page.get_by_label("あなたのお名前").fill("鈴木")
        page.get_by_label("内容を確かめました").check()
        page.get_by_role("button", name="もう一度行う").click()
        expect(page.get_by_text("1件をもう一度行います。")).to_be_visible()


def test_the_demos_staff_reach_the_back_office(demo: RunningDemo, browser: Browser) -> None:
    """From the shop's staff page, with its password and not without; an order's payment tells its story."""
    with browser.new_context() as context:
        customer = context.new_page()
        order_something(customer, demo)
        choose_store(customer, "ローソン")
        assert customer.request.get(f"{demo.shop}{URL}/payments/").status == 401
    with browser.new_context(http_credentials={"username": "hanako", "password": demo.password}) as context:
        desk = context.new_page()
        blocked = watch_for_blocked_content(desk)
        desk.goto(f"{demo.shop}/staff/")
        desk.get_by_role("link", name="コンビニ決済の管理").click()
        desk.get_by_role("link", name="支払い", exact=True).click()
        desk.get_by_role("link", name=re.compile(r"^T-\d+$")).first.click()
        expect(desk.get_by_text("ローソン")).to_be_visible()
        assert not blocked
