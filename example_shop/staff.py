"""What the people of the shop see: what needs them, the orders, the shelf."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug import Response

from example_shop.database import Order, Product, Todo, db
from example_shop.fulfilment import zeus

blueprint = Blueprint("staff", __name__, url_prefix="/staff")


@blueprint.before_request
def ask_password() -> Response | None:
    """Let nobody in without the password; while none is set, let nobody in at all."""
    password = current_app.config["STAFF_PASSWORD"]
    if not password:
        abort(403, "SHOP_STAFF_PASSWORD is not set, so the staff page is closed.")
    given = request.authorization
    if given and given.type == "basic" and compare_digest((given.password or "").encode(), password.encode()):
        return None
    return Response(
        "Password, please.\n",
        401,
        {"WWW-Authenticate": 'Basic realm="staff", charset="UTF-8"'},
        mimetype="text/plain",
    )


def is_staff() -> bool:
    """Let the back office in as these pages do: the browser is asked for the password, or the answer is 403."""
    refused = ask_password()
    if refused is not None:
        abort(refused)
    return True


def name() -> str:
    """Who signed in: the name under a decision."""
    return (request.authorization and request.authorization.username) or ""


@blueprint.get("/")
def orders() -> str:
    return render_template(
        "shop/staff.html",
        todos=db.session.scalars(select(Todo).where(Todo.done_at.is_(None)).order_by(Todo.id)).all(),
        orders=db.session.scalars(select(Order).order_by(Order.id.desc()).limit(200)).all(),
        products=db.session.scalars(select(Product).order_by(Product.id)).all(),
    )


@blueprint.post("/todos/<int:number>/done")
def tick_off(number: int) -> Response:
    db.get_or_404(Todo, number).done()
    db.session.commit()
    return redirect(url_for("staff.orders"), 303)


@blueprint.get("/health")
def health() -> tuple[dict[str, Any], int]:
    """Tell a monitor, every ten seconds if it likes, whether payments are well."""
    found = zeus.health()
    return found.as_dict(), 200 if found.ok else 503


@blueprint.after_request
def keep_private(response: Response) -> Response:
    """Nothing of the customers' details stays in a cache."""
    response.headers["Cache-Control"] = "no-store"
    return response
