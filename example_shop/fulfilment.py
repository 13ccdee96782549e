"""What the shop does when it hears of a payment.

The extension calls each function here once per event. What it writes through ``db.session`` is committed
together with the mark that it is done, so none of them commits; one that raises is called again later.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from sqlalchemy import select

from example_shop.database import Order, Stage, Todo, db
from flask_zeus_cvs import (
    EventData,
    ZeusCVS,
    fulfillment_ready,
    payment_cancelled,
    payment_cancelled_after_cancel,
    payment_expired,
    payment_received_after_cancel,
    review_required,
    sale_confirmed,
    sale_confirmed_after_cancel,
    silence_suspected,
)
from flask_zeus_cvs.models import Payment

zeus = ZeusCVS()


def _order_of(payment: Payment | None) -> Order | None:
    if payment is None:
        return None
    return db.session.scalars(select(Order).where(Order.payment_id == payment.id)).one_or_none()


def _ask_a_person(order: Order | None, text: str) -> None:
    db.session.add(Todo(order_id=order.id if order else None, text=text))


def ship(_app: Flask, *, payment: Payment, **_: Any) -> None:
    """Send the goods off, once; an order that was closed or stopped before is for a person."""
    order = _order_of(payment)
    if order is None:
        _ask_a_person(None, f"入金がありましたが、注文 {payment.reference} が見つかりません。")
    elif not order.move(to=Stage.SHIPPED):
        _ask_a_person(order, "終了した注文に入金がありました。在庫を確かめ、発送するか返金してください。")


def confirm(_app: Flask, *, payment: Payment, **_: Any) -> None:
    """Note that the money is certain."""
    order = _order_of(payment)
    if order is not None:
        order.confirm()


def give_up(_app: Flask, *, payment: Payment, **_: Any) -> None:
    """Put the goods of an order that nobody paid back on the shelf, and take no further application for it."""
    order = _order_of(payment)
    if order is not None and order.move(to=Stage.CLOSED):
        order.restock()
        zeus.close(payment)


def take_back(_app: Flask, *, payment: Payment, event: EventData, **_: Any) -> None:
    """Stop an order whose payment was taken back at the till; one that is on its way is for a person.

    A payment of ZEUS's operation test belongs to no order.
    """
    order = _order_of(payment)
    if order is not None and order.move(to=Stage.STOPPED):
        order.restock()
    elif not event.test:
        _ask_a_person(order, "発送したあとに入金が取り消されました。お客様に連絡してください。")


def review(_app: Flask, *, payment: Payment | None, **_: Any) -> None:
    """Something does not fit the books; money may have come that belongs to no order."""
    _ask_a_person(
        _order_of(payment),
        "確認が必要な入金通知があります。ゼウスの売上管理画面と照らし合わせてください。",
    )


def received_after_cancel(_app: Flask, *, payment: Payment, **_: Any) -> None:
    _ask_a_person(
        _order_of(payment), "再発行する前の古い番号で入金がありました。二重払いでないか確かめてください。"
    )


def confirmed_after_cancel(_app: Flask, *, payment: Payment, **_: Any) -> None:
    _ask_a_person(_order_of(payment), "再発行する前の古い番号での入金が、売上として確定しました。")


def cancelled_after_cancel(_app: Flask, *, payment: Payment, **_: Any) -> None:
    _ask_a_person(_order_of(payment), "再発行する前の古い番号での入金が、取り消されました。")


def silence(_app: Flask, **_: Any) -> None:
    """ZEUS has fallen silent: the callback may be broken, and money may come of which the shop does not hear."""
    _ask_a_person(
        None,
        "ゼウスからの通知が途絶えています。flask zeus-cvs check --url で通知の受け口を確かめてください。",
    )


def listen(app: Flask) -> None:
    """Subscribe the functions above to what this app sends."""
    fulfillment_ready.connect(ship, sender=app)
    sale_confirmed.connect(confirm, sender=app)
    payment_expired.connect(give_up, sender=app)
    payment_cancelled.connect(take_back, sender=app)
    review_required.connect(review, sender=app)
    silence_suspected.connect(silence, sender=app)
    payment_received_after_cancel.connect(received_after_cancel, sender=app)
    sale_confirmed_after_cancel.connect(confirmed_after_cancel, sender=app)
    payment_cancelled_after_cancel.connect(cancelled_after_cancel, sender=app)
