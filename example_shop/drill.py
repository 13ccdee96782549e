"""What stands for this shop's orders when ``flask zeus-cvs drill`` plays weeks of trade against it."""

from __future__ import annotations

from sqlalchemy import select

from example_shop.database import KEPT_FOR, Order, OrderLine, Product, Stage, db
from example_shop.fulfilment import zeus
from example_shop.goods import stock_up
from flask_zeus_cvs import Customer
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.drill import Standing
from flask_zeus_cvs.models import Payment

#: Enough of everything for any drill.
PLENTY = 1_000_000


class Orders:
    """Places orders as the checkout does, and tells whether their goods leave; the setting names this class."""

    def prepare(self) -> None:
        stock_up()
        for product in db.session.scalars(select(Product)):
            product.stock += PLENTY
        db.session.commit()

    def place(self, amount: int) -> Payment:
        """Order as many of the first product as come close to the amount."""
        product = db.session.scalars(select(Product).order_by(Product.id)).first()
        assert product is not None
        quantity = max(1, amount // product.price - 1)
        assert product.reserve(quantity)
        order = Order(
            name="訓練 花子",
            kana="クンレン ハナコ",
            phone="09090000000",
            email="kunren0@example.jp",
            address="東京都千代田区見本町1-2-3",
            lines=[OrderLine(product=product, price=product.price, quantity=quantity)],
        )
        db.session.add(order)
        db.session.flush()
        payment = zeus.create_payment(
            amount=order.total,
            reference=order.number,
            customer=Customer(name=order.kana, phone=order.phone, email=order.email),
            expires_at=now() + KEPT_FOR,  # by the package's clock, which the drill moves
        )
        order.payment_id = payment.id
        db.session.commit()
        return payment

    def standing(self, reference: str) -> Standing:
        order = db.session.get_one(Order, int(reference.removeprefix("T-")) - 1000)
        return Standing(parcels=int(order.stage is Stage.SHIPPED), asked=bool(order.todos))
