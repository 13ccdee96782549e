"""From the shelf to the parcel, over real sockets, at each of the six stores."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from example_shop.database import Stage
from example_shop.tests.conftest import Books
from example_shop.tests.running import Visitor
from flask_zeus_cvs.simulator import Simulator

LABELS = {
    "D001": ("払込票番号",),
    "D002": ("受付番号", "確認番号"),
    "D030": ("注文番号", "企業コード"),
    "D015": ("お支払受付番号",),
    "D050": ("受付番号", "確認番号"),
    "D060": ("オンライン決済番号",),
}


@pytest.mark.parametrize("store", LABELS)
def test_a_purchase_goes_through(
    store: str,
    visitor: Visitor,
    zeus_simulator: Simulator,
    slip: Callable[..., str],
    books: Books,
) -> None:
    """Numbers under the store's own names, paid, shipped once, confirmed: at every store."""
    order_no = slip(store)
    application = zeus_simulator.application(order_no)
    for label, number in zip(LABELS[store], (application.pay_no1, application.pay_no2), strict=False):
        assert label in visitor.page
        assert number in visitor.page

    path = f"/orders/{books.order.token}"
    assert "お支払いをお待ちしています" in visitor.open(path)

    zeus_simulator.pay(order_no)
    zeus_simulator.settle()
    assert "商品を発送しました" in visitor.open(path)
    shipped_at = books.order.stage_since

    zeus_simulator.confirm(order_no)
    zeus_simulator.resend(order_no)
    zeus_simulator.settle()
    assert "お支払いの確定も済んでいます" in visitor.open(path)
    assert books.order.stage is Stage.SHIPPED
    assert books.order.stage_since == shipped_at
    assert not books.todos


def test_the_checkout_form_is_filled_with_what_the_shop_knows(visitor: Visitor) -> None:
    """The customer does not type name, telephone and e-mail twice."""
    page = visitor.order()
    for known in ("ヤマダ　ハナコ", "09012345678", "hanako@example.com"):
        assert f'value="{known}"' in page


def test_the_amount_is_goods_and_postage(
    visitor: Visitor, zeus_simulator: Simulator, slip: Callable[..., str]
) -> None:
    """ZEUS is asked for what the order comes to."""
    order_no = slip(slug="kyusu", quantity=2)
    assert zeus_simulator.application(order_no).money == 2 * 6800 + 500


def test_the_order_page_leads_to_the_payment(visitor: Visitor) -> None:
    """Whoever left before choosing a store finds the way back on the order's page."""
    visitor.order()
    checkout = visitor.url
    page = visitor.back_to_order()
    assert "お支払いの手続きが残っています" in page
    assert checkout.removeprefix(visitor.address) in page


def test_the_order_page_says_so_while_the_answer_is_missing(
    visitor: Visitor, zeus_simulator: Simulator, books: Books
) -> None:
    """No answer from ZEUS is not a refusal: the customer is asked to wait, and the payment arrives after all."""
    zeus_simulator.answer_next("lost")
    visitor.order()
    zeus_simulator.notify = None
    visitor.apply("D015")
    path = f"/orders/{books.order.token}"
    assert "お支払い番号を確認しています" in visitor.open(path)
    order_no = zeus_simulator.applications[-1].order_no
    zeus_simulator.notify = f"{visitor.address}/zeus-cvs/callback"
    zeus_simulator.resend(order_no)
    zeus_simulator.settle()
    assert "お支払いをお待ちしています" in visitor.open(path)
