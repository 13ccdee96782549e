"""The shop's pages: cart, order form, staff page."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from sqlalchemy import select

from example_shop import create_app
from example_shop.database import Product, db
from example_shop.fulfilment import zeus
from example_shop.tests.conftest import PASSWORD, Books
from example_shop.tests.running import Visitor
from flask_zeus_cvs import Health
from flask_zeus_cvs.simulator import Simulator


def test_the_cart_holds_what_was_chosen(visitor: Visitor) -> None:
    """Quantities add up, can be changed, and 0 takes a product out."""
    visitor.open("/goods/sencha")
    visitor.send("/cart/add", slug="sencha", quantity="2")
    visitor.open("/goods/sencha")
    visitor.send("/cart/add", slug="sencha", quantity="1")
    assert "3,888円" in visitor.page
    visitor.send("/cart", **{"quantity-sencha": "1"})
    assert "1,796円" in visitor.page
    visitor.send("/cart", **{"quantity-sencha": "0"})
    assert "カートには何も入っていません" in visitor.page


@pytest.mark.parametrize("quantity", ["-1", "", "many"])
def test_a_quantity_is_a_number(visitor: Visitor, quantity: str) -> None:
    """Anything else is refused with the shop's own page."""
    visitor.open("/goods/sencha")
    visitor.send("/cart/add", slug="sencha", quantity=quantity)
    assert visitor.status == 400
    assert "もう一度お試しください" in visitor.page


def test_a_form_from_elsewhere_is_refused(visitor: Visitor) -> None:
    """Without the page's token nothing is done: the shop's own forms are protected as a whole."""
    visitor.send("/cart/add", slug="sencha", quantity="1")
    assert visitor.status == 400
    assert "カートには何も入っていません" in visitor.open("/cart")


def test_missing_details_come_back_with_what_was_typed(visitor: Visitor, zeus_simulator: Simulator) -> None:
    """The form says what is missing, keeps the rest, and nothing is ordered."""
    page = visitor.order(kana="", email="nonsense")
    assert visitor.status == 422
    assert "フリガナを入力してください" in page
    assert "メールアドレスの形を確かめてください" in page
    assert "山田 花子" in page
    assert not zeus_simulator.applications


def test_what_customers_type_is_shown_as_text(visitor: Visitor, books: Books) -> None:
    """Markup in a name is no markup on the staff page."""
    visitor.order(name="<script>alert(1)</script>")
    page = visitor.open("/staff/", PASSWORD)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_what_is_sold_out_meanwhile_is_not_ordered(visitor: Visitor, books: Books) -> None:
    """If others buy while the form is filled in, the customer is told, and orders nothing that was not on the page."""
    visitor.open("/goods/kyusu")
    visitor.send("/cart/add", slug="kyusu", quantity="4")
    visitor.open("/order")
    buy_as_another(visitor, "kyusu", 3)
    page = visitor.send_order()
    assert visitor.status == 422
    assert "残り2点になったため、数量を変更しました" in page
    assert "合計金額が変わりました" in page
    assert books.stock("kyusu") == 2

    visitor.send_order()
    assert books.order.total == 2 * 6800 + 500
    assert books.stock("kyusu") == 0


def test_nothing_is_left_to_order(visitor: Visitor, books: Books) -> None:
    """If the last piece is gone, the customer is led back to the cart and told."""
    visitor.open("/goods/kyusu")
    visitor.send("/cart/add", slug="kyusu", quantity="1")
    visitor.open("/order")
    buy_as_another(visitor, "kyusu", 5)
    page = visitor.send_order()
    assert "残り0点になったため" in page
    assert "カートには何も入っていません" in page
    assert "品切れ" in visitor.open("/goods/kyusu")


def test_the_shelf_gives_no_more_than_it_has(app: Flask, books: Books) -> None:
    """Of two customers at the same moment, one gets the last pieces; stock never goes below zero."""
    kyusu = db.session.scalars(select(Product).where(Product.slug == "kyusu")).one()
    assert kyusu.reserve(3)
    assert not kyusu.reserve(3)
    db.session.commit()
    assert books.stock("kyusu") == 2


def buy_as_another(visitor: Visitor, slug: str, quantity: int) -> None:
    """Order as a second customer."""
    other = Visitor(visitor.address)
    other.order(slug, quantity)
    other.close()


def test_an_amount_over_the_limit_is_not_ordered(visitor: Visitor, app: Flask, books: Books) -> None:
    """Convenience stores take 299,999 yen at most: the customer is told, and the goods stay on the shelf."""
    costly = db.session.scalars(select(Product).where(Product.slug == "kyusu")).one()
    costly.price = 80_000
    db.session.commit()
    page = visitor.order("kyusu", 4)
    assert visitor.status == 422
    assert "299,999円まで" in page
    assert books.stock("kyusu") == 5


def test_the_staff_page_wants_the_password(visitor: Visitor) -> None:
    """No password, no names and addresses; nor with a wrong one."""
    visitor.order()
    for password in (None, "wrong", "オープン"):
        page = visitor.open("/staff/", password)
        assert visitor.status == 401
        assert "山田" not in page
    assert "山田 花子" in visitor.open("/staff/", PASSWORD)


def test_the_staff_page_is_closed_while_no_password_is_set(app: Flask) -> None:
    """A shop that forgot to set a password shows nothing, whatever is typed."""
    app.config["STAFF_PASSWORD"] = ""
    for password in ("", PASSWORD):
        answer = app.test_client().get("/staff/", auth=("staff", password))
        assert answer.status_code == 403
        assert "SHOP_STAFF_PASSWORD" in answer.text


def test_staff_tick_off_what_they_have_settled(visitor: Visitor, books: Books, app: Flask) -> None:
    """A settled matter leaves the list, and stays in the books."""
    app.test_client().get("/zeus-cvs/callback?order_no=9999-1&status=04&money=3000")
    (todo,) = books.todos
    assert "注文不明" in visitor.open("/staff/", PASSWORD)
    visitor.send(f"/staff/todos/{todo.id}/done", PASSWORD)
    assert visitor.status == 200
    assert not books.todos


def test_nobody_ticks_off_without_the_password(visitor: Visitor, books: Books, app: Flask) -> None:
    """The password guards what changes things, too."""
    app.test_client().get("/zeus-cvs/callback?order_no=9999-1&status=04&money=3000")
    visitor.open("/goods/sencha")
    visitor.send(f"/staff/todos/{books.todos[0].id}/done")
    assert visitor.status == 401
    assert books.todos


def test_another_customers_order_cannot_be_guessed(visitor: Visitor, books: Books) -> None:
    """An order's page is found by its token and not by its number."""
    visitor.order()
    for guess in (books.order.number, "1", "x" * 22):
        visitor.open(f"/orders/{guess}")
        assert visitor.status == 404
    assert "ページが見つかりません" in visitor.page


def test_a_shop_without_a_secret_key_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and the cure."""
    monkeypatch.delenv("SHOP_SECRET_KEY", raising=False)
    with pytest.raises(RuntimeError, match="SHOP_SECRET_KEY is not set"):
        create_app({"ZEUS_CVS_CLIENT_IP": "1234567890"})


def test_the_shop_is_configured_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts with SHOP_ is read as text, so leading zeros and digits survive."""
    for name, value in {
        "SHOP_SECRET_KEY": "12345678901234567890",
        "SHOP_STAFF_PASSWORD": "0042",
        "SHOP_ZEUS_CVS_CLIENT_IP": "0123456789",
        "SHOP_ZEUS_CVS_CALLBACK_IPS": "192.0.2.10, 192.0.2.11",
        "SHOP_SQLALCHEMY_DATABASE_URI": "sqlite://",
    }.items():
        monkeypatch.setenv(name, value)
    app = create_app({"TESTING": True})
    assert app.config["STAFF_PASSWORD"] == "0042"
    assert app.extensions["zeus_cvs"].settings.client_ip == "0123456789"


def test_behind_a_proxy_the_sender_is_the_one_the_proxy_saw(app: Flask, tmp_path: object) -> None:
    """With SHOP_PROXIES=1 a notice is judged by the address in the proxy's header, not by the proxy's."""
    behind = create_app({**app.config, "PROXIES": "1"})
    notice = "/zeus-cvs/callback?order_no=9999-1&status=04&money=3000"
    for sender, status in (("127.0.0.1", 200), ("203.0.113.9", 403)):
        answer = behind.test_client().get(
            notice, environ_base={"REMOTE_ADDR": "10.0.0.1"}, headers={"X-Forwarded-For": sender}
        )
        assert answer.status_code == status
    with behind.app_context():
        db.engine.dispose()


def test_every_page_keeps_strangers_out(visitor: Visitor, app: Flask) -> None:
    """Pages load nothing from elsewhere, and nobody frames them; what is personal is not cached."""
    answer = app.test_client().get("/")
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_monitor_asks_for_the_health(visitor: Visitor) -> None:
    """Behind the password of the staff: well, in figures, without a name or an address."""
    visitor.open("/staff/health")
    assert visitor.status == 401
    visitor.order()
    told = json.loads(visitor.open("/staff/health", PASSWORD))
    assert visitor.status == 200
    assert told == {
        "ok": True,
        "database": True,
        "delivering": None,
        "overdue": 0,
        "parked": 0,
        "open_reviews": 0,
        "last_notice_at": None,
    }


def test_a_monitor_is_told_of_trouble(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, so that the monitor needs to understand nothing else."""
    monkeypatch.setattr(zeus, "health", lambda: Health(ok=False, database=False, delivering=None))
    assert json.loads(visitor.open("/staff/health", PASSWORD))["ok"] is False
    assert visitor.status == 503
