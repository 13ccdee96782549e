"""What the shop does when it hears of a payment: restock, stop, ask a person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

import requests
import time_machine
from flask import Flask

from example_shop.database import KEPT_FOR, Stage, db
from example_shop.fulfilment import zeus
from example_shop.tests.conftest import Books
from example_shop.tests.running import Visitor
from flask_zeus_cvs import Customer
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.models import Application
from flask_zeus_cvs.simulator import Simulator

Slip = Callable[..., str]


def test_goods_are_reserved_when_they_are_ordered(visitor: Visitor, books: Books) -> None:
    """What one customer ordered, no other can buy."""
    before = books.stock()
    visitor.order(quantity=3)
    assert books.stock() == before - 3


def test_goods_go_back_when_nobody_pays(
    visitor: Visitor, zeus_simulator: Simulator, slip: Slip, books: Books
) -> None:
    """An expired slip restocks once, and the payment takes no further application."""
    before = books.stock()
    order_no = slip(quantity=2)
    checkout = books.order.payment
    assert checkout is not None
    zeus_simulator.expire(order_no)
    zeus_simulator.resend(order_no)
    zeus_simulator.settle()
    assert books.stock() == before
    assert books.order.stage is Stage.CLOSED
    assert books.order.payment is not None
    assert books.order.payment.closed_at is not None
    assert "ご注文は終了しました" in visitor.open(f"/orders/{books.order.token}")
    sent = len(zeus_simulator.applications)
    visitor.open(f"/zeus-cvs/checkout/{books.order.payment.token}")
    visitor.apply("D002")
    assert len(zeus_simulator.applications) == sent


def test_a_person_hears_of_a_silence(app: Flask, zeus_simulator: Simulator, slip: Slip, books: Books) -> None:
    """Two customers apply, and no notice comes any more: within the hour it stands on the staff page, once."""
    check = ["zeus-cvs", "check", "--live", "--quiet"]
    slip()
    assert app.test_cli_runner().invoke(args=check).exit_code == 0
    zeus_simulator.notify = ""
    slip()
    slip()
    with time_machine.travel(now() + timedelta(minutes=30)):
        assert [app.test_cli_runner().invoke(args=check).exit_code for _ in range(2)] == [2, 2]
    (todo,) = books.todos
    assert "通知が途絶えています" in todo.text


def test_goods_go_back_when_no_store_is_chosen(visitor: Visitor, app: Flask, books: Books) -> None:
    """An order whose customer never came back is closed by the hourly sweep."""
    before = books.stock()
    visitor.order()
    with time_machine.travel(now() + KEPT_FOR + timedelta(minutes=1)):
        assert app.test_cli_runner().invoke(args=["zeus-cvs", "expire"]).exit_code == 0
    assert books.stock() == before
    assert books.order.stage is Stage.CLOSED


def test_money_for_a_closed_order_asks_a_person(
    zeus_simulator: Simulator, slip: Slip, books: Books, address: str
) -> None:
    """A customer who pays after the order was closed is neither shipped to nor overlooked."""
    order_no = slip()
    zeus_simulator.expire(order_no)
    zeus_simulator.settle()
    tell(address, books, order_no, status="04")
    assert books.order.stage is Stage.CLOSED
    assert [todo.order_id for todo in books.todos] == [books.order.id]


def test_a_payment_taken_back_after_shipping_asks_a_person(
    visitor: Visitor, zeus_simulator: Simulator, slip: Slip, books: Books
) -> None:
    """The parcel is on its way, so a person calls; the customer reads that, too."""
    order_no = slip()
    zeus_simulator.pay(order_no)
    zeus_simulator.settle()
    stock = books.stock()
    zeus_simulator.cancel(order_no)
    zeus_simulator.settle()
    assert books.order.stage is Stage.SHIPPED
    assert books.stock() == stock
    assert [todo.order_id for todo in books.todos] == [books.order.id]
    assert "取り消された" in visitor.open(f"/orders/{books.order.token}")


def test_a_payment_taken_back_before_shipping_stops_the_order(
    app: Flask, visitor: Visitor, zeus_simulator: Simulator, books: Books, slip: Slip
) -> None:
    """Nothing was shipped yet: the goods go back, and nobody needs to look."""
    before = books.stock()
    order_no = slip()
    tell(visitor.address, books, order_no, status="06")
    assert books.order.stage is Stage.STOPPED
    assert books.stock() == before
    assert not books.todos
    assert "発送を止めています" in visitor.open(f"/orders/{books.order.token}")


def test_money_on_a_replaced_slip_asks_a_person(zeus_simulator: Simulator, slip: Slip, books: Books) -> None:
    """11, 12 and 13 of the old slip ship nothing; each is put before a person."""
    old = slip()
    zeus_simulator.reissue(old)
    zeus_simulator.pay(old)
    zeus_simulator.confirm(old)
    zeus_simulator.settle()
    assert books.order.stage is Stage.PLACED
    assert [todo.order_id for todo in books.todos] == [books.order.id] * 2


def test_money_taken_back_from_a_replaced_slip_asks_a_person(
    zeus_simulator: Simulator, slip: Slip, books: Books
) -> None:
    """13 ships nothing and is put before a person."""
    old = slip()
    zeus_simulator.reissue(old)
    zeus_simulator.pay(old)
    zeus_simulator.cancel(old)
    zeus_simulator.settle()
    assert books.order.stage is Stage.PLACED
    assert len(books.todos) == 2


def test_a_reissued_slip_ships_the_order(zeus_simulator: Simulator, slip: Slip, books: Books) -> None:
    """The slip that staff issued anew on ZEUS's screen pays the same order."""
    new = zeus_simulator.reissue(slip())
    zeus_simulator.pay(new.order_no)
    zeus_simulator.settle()
    assert books.order.stage is Stage.SHIPPED
    assert not books.todos


def test_a_notice_nobody_knows_asks_a_person(address: str, books: Books) -> None:
    """Money for an order that is not ours stands on the staff page, with no order."""
    answer = requests.get(
        f"{address}/zeus-cvs/callback", {"order_no": "9999-1", "status": "04", "money": "3000"}, timeout=10
    )
    assert answer.status_code == 200
    assert [todo.order_id for todo in books.todos] == [None]


def test_a_wrong_amount_ships_nothing(slip: Slip, books: Books, address: str) -> None:
    """A notice of another amount is no payment; a person looks."""
    order_no = slip()
    tell(address, books, order_no, status="04", money="200")
    assert books.order.stage is Stage.PLACED
    assert [todo.order_id for todo in books.todos] == [books.order.id]


def test_sqlite_is_set_up_for_several_workers(app: Flask) -> None:
    """WAL, a wait for the lock, and every commit on the disk."""
    with db.engine.connect() as connection:
        read = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    assert read == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 10000, "foreign_keys": 1}


def tell(address: str, books: Books, order_no: str, *, status: str, money: str | None = None) -> None:
    """Send a notice that the sandbox would not: out of turn, or with another amount."""
    amount = money or str(books.order.total)
    query = urlencode({"order_no": order_no, "status": status, "money": amount})
    requests.get(f"{address}/zeus-cvs/callback?{query}", timeout=10).raise_for_status()


def test_an_operation_test_belongs_to_no_order(zeus_simulator: Simulator, address: str, books: Books) -> None:
    """ZEUS's test is paid and taken back: nobody is asked about a parcel that never was."""
    payment = zeus.create_payment(amount=1000, reference="TEST-1")
    db.session.commit()
    application = zeus.submit(payment, Customer("テスト", "0312345678", "test@example.com"), "D002")
    db.session.get_one(Application, application.id).test = True
    db.session.commit()
    (slip,) = zeus_simulator.applications
    zeus_simulator.pay(slip.order_no)
    zeus_simulator.cancel(slip.order_no)
    zeus_simulator.settle()
    db.session.refresh(payment)
    assert payment.state == "cancelled"
    assert books.todos == []
