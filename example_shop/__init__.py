"""A small tea shop that takes konbini payments with Flask-Zeus-CVS: what a shop owner's own code looks like.

Configuration comes from environment variables that start with ``SHOP_``: ``SHOP_SECRET_KEY``,
``SHOP_STAFF_PASSWORD``, ``SHOP_PROXIES`` (how many stand in front), ``SHOP_ZEUS_CVS_CLIENT_IP`` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from flask import Flask, render_template
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]
from werkzeug import Response
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from example_shop import fulfilment, pages, staff
from example_shop.database import db, set_pragmas
from example_shop.fulfilment import zeus
from example_shop.goods import stock_up
from flask_zeus_cvs.contrib.admin import make_admin

JAPAN = timezone(timedelta(hours=9))


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the shop; ``config`` goes over the environment, which goes over the defaults."""
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite:///shop.db",
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=True,
        STAFF_PASSWORD="",
        PROXIES="0",
        ZEUS_CVS_BASE_TEMPLATE="shop/base.html",
        ZEUS_CVS_DRILL_ORDERS="example_shop.drill:Orders",
    )
    app.config.from_prefixed_env("SHOP", loads=str)
    app.config.update(config or {})
    if not app.config["SECRET_KEY"]:
        raise RuntimeError(
            "SHOP_SECRET_KEY is not set. Set it to a long random text, the same for every worker."
        )
    if proxies := int(app.config["PROXIES"]):
        # Behind nginx and the like the address of a notice's sender is in a header that the proxy sets.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]

    db.init_app(app)
    with app.app_context():
        set_pragmas(db.engine)
    CSRFProtect(app)
    zeus.init_app(app, db)
    fulfilment.listen(app)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(staff.blueprint)
    # Who may be on the staff page sees customers' addresses there: here they may see their details, too.
    make_admin(
        app,
        name="みほん堂のコンビニ決済",
        url="/staff/konbini",
        allowed=staff.is_staff,
        may_reveal=staff.is_staff,
        who=staff.name,
    )
    app.add_template_filter(_yen, "yen")
    app.add_template_filter(_in_japan, "in_japan")
    app.cli.command("stock-up")(stock_up)
    app.register_error_handler(HTTPException, _apologise)
    app.after_request(_defend)
    return app


def _yen(amount: int) -> str:
    return f"{amount:,}円"


def _in_japan(moment: datetime) -> str:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # SQLite forgets the zone
    return f"{aware.astimezone(JAPAN):%Y/%m/%d %H:%M}"


def _apologise(error: HTTPException) -> tuple[str, int]:
    """Say in the shop's own frame what is wrong."""
    code = error.code or 500
    return render_template("shop/error.html", error=error, code=code), code


def _defend(response: Response) -> Response:
    """Let pages load nothing from elsewhere, and no other site frame them."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response
