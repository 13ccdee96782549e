"""What customers see: goods, cart, order form, and the page of an order."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug import Response

from example_shop import cart
from example_shop.database import KEPT_FOR, POSTAGE, Order, OrderLine, Product, db
from example_shop.forms import OrderForm
from example_shop.fulfilment import zeus
from flask_zeus_cvs import Customer, InvalidAmount
from flask_zeus_cvs.models import Payment

blueprint = Blueprint("shop", __name__)
blueprint.add_app_template_global(cart.pieces, "pieces_in_cart")


def _wanted(name: str) -> int:
    quantity = request.form.get(name, type=int)
    if quantity is None or quantity < 0:
        abort(400)
    return quantity


@blueprint.get("/")
def index() -> str:
    products = db.session.scalars(select(Product).order_by(Product.id)).all()
    return render_template("shop/index.html", products=products)


@blueprint.get("/goods/<slug>")
def product(slug: str) -> str:
    found = db.first_or_404(select(Product).where(Product.slug == slug))
    return render_template("shop/product.html", product=found, most=min(found.stock, cart.MOST))


@blueprint.post("/cart/add")
def add_to_cart() -> Response:
    found = db.first_or_404(select(Product).where(Product.slug == request.form.get("slug", "")))
    cart.add(found.slug, _wanted("quantity"))
    return redirect(url_for("shop.show_cart"), 303)


@blueprint.get("/cart")
def show_cart() -> str:
    return render_template("shop/cart.html", cart=cart.read(), most=cart.MOST, postage=POSTAGE)


@blueprint.post("/cart")
def change_cart() -> Response:
    for line in cart.read().lines:
        cart.put(line.product.slug, _wanted(f"quantity-{line.product.slug}"))
    return redirect(url_for("shop.show_cart"), 303)


@blueprint.route("/order", methods=["GET", "POST"])
def order() -> Response | str | tuple[str, int]:
    """Ask for the details, take the goods off the shelf and lead to the payment."""
    wanted, form = cart.read(), OrderForm(request.form)
    if not wanted.lines:
        return redirect(url_for("shop.show_cart"), 303)
    if request.method == "GET":
        return render_template("shop/order_form.html", form=form, cart=wanted, postage=POSTAGE)
    if form.validate() and _as_seen(wanted):
        payment = _place(wanted, form)
        if payment is not None:
            cart.empty()
            return redirect(payment.checkout_url, 303)
        wanted = cart.read()
    return render_template("shop/order_form.html", form=form, cart=wanted, postage=POSTAGE), 422


def _as_seen(wanted: cart.Cart) -> bool:
    """Order only what the customer saw: price or stock may have changed since the page was opened."""
    if request.form.get("total", type=int) == wanted.total:
        return True
    flash("合計金額が変わりました。ご注文の内容をもう一度お確かめください。")
    return False


def _place(wanted: cart.Cart, form: OrderForm) -> Payment | None:
    """Order, stock and payment in one transaction: all of it, or nothing and a word to the customer."""
    for line in wanted.lines:
        if not line.product.reserve(line.quantity):
            db.session.rollback()
            return None  # somebody was faster; reading the cart again tells the customer
    placed = Order(
        name=form.name.data,
        kana=form.kana.data,
        phone=form.phone.data,
        email=form.email.data,
        address=form.address.data,
        postage=POSTAGE,
        lines=[
            OrderLine(product=line.product, price=line.product.price, quantity=line.quantity)
            for line in wanted.lines
        ],
    )
    db.session.add(placed)
    db.session.flush()
    try:
        payment = zeus.create_payment(
            amount=placed.total,
            reference=placed.number,
            customer=Customer(name=placed.kana, phone=placed.phone, email=placed.email),
            return_url=url_for("shop.show_order", token=placed.token),
            expires_at=datetime.now(UTC) + KEPT_FOR,
        )
    except InvalidAmount:
        db.session.rollback()
        flash("コンビニでのお支払いは、合計299,999円までです。数量を減らしてください。")
        return None
    placed.payment_id = payment.id
    db.session.commit()
    return payment


@blueprint.get("/orders/<token>")
def show_order(token: str) -> str:
    found = db.first_or_404(select(Order).where(Order.token == token))
    return render_template("shop/order.html", order=found)


@blueprint.after_request
def keep_private(response: Response) -> Response:
    """Pages with a cart or an order on them stay out of every cache."""
    response.headers["Cache-Control"] = "no-store"
    return response
