"""Every page that a customer can be shown, in every state, and a small shop that brings them about.

The table is what accessibility, weight, policy, languages and overrides are judged by, and what pictures are taken of.
A page that is missing here is seen by nobody: a test compares the table with the states and the templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, Response, request, template_rendered
from flask_babel import Babel  # type: ignore[import-untyped]
from flask_sqlalchemy import SQLAlchemy
from jinja2 import Template
from werkzeug.test import TestResponse

from flask_zeus_cvs import Customer, State, ZeusCVS
from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import Application, Event, Payment, Review, ReviewReason
from flask_zeus_cvs.protocol.codes import STORES, Store
from tests.conftest import CLIENT_IP
from tests.visitors import Browser
from tests.wire.page_reader import Page as Read

#: What pages have to do with in a shop that is careful; a breach is told to /reports.
POLICY = "default-src 'self'; report-uri /reports"
LANGUAGES = ("ja", "en")
#: Where a customer who is not on the machine itself seems to come from.
AWAY = "192.0.2.7"

HANAKO = Customer("ヤマダ　ハナコ", "09012345678", "hanako@example.com")
#: As people type it: the server puts it right.
TYPED = MappingProxyType({"name": "やまだ はなこ", "phone": "090-1234-5678", "email": "hanako@example.com"})
#: As long as each store's numbers are.
NUMBERS: Mapping[Store, tuple[str, str]] = MappingProxyType(
    {
        Store.SEVEN_ELEVEN: ("4912345678901", ""),
        Store.LAWSON: ("483920", "715604"),
        Store.FAMILYMART: ("201948573620", "90210"),
        Store.SEICOMART: ("560318", ""),
        Store.MINISTOP: ("194857", "362015"),
        Store.DAILY_YAMAZAKI: ("83920571460", ""),
    }
)
PAY_URL = "https://slip.example.com/show?id=483920&key=a1b2c3"
_ORDER = "/orders/A-1001"


@dataclass(frozen=True)
class Slip:
    """An application as it stands in the database; `days` is how far off its deadline is, None: never told."""

    state: State
    store: Store = Store.LAWSON
    days: int | None = 3
    numbers: bool = True
    age: timedelta = timedelta()
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """One row: how a page is brought about, and what it then is."""

    name: str
    #: The template, under ``zeus_cvs/``.
    template: str
    #: The payment's state.
    state: State
    slip: Slip | None = None
    payment: Mapping[str, Any] = field(default_factory=dict)
    #: What is changed in the payment once it is there.
    changes: Mapping[str, Any] = field(default_factory=dict)
    #: What the customer types and chooses, and whether they send it.
    typed: Mapping[str, str] | None = None
    sent: bool = False
    #: Why a person must look at the payment.
    review: ReviewReason | None = None
    #: A part of the page, opened by one tap on the link to it.
    part: str = ""
    away: bool = False
    status: int = 200

    def __str__(self) -> str:
        return self.name

    @property
    def endpoint(self) -> str:
        return "checkout" if self.template in ("checkout.html", "https_required.html") else "result"


def _result(name: str, template: str, state: State, **how: Any) -> Shown:
    own = {key: how.pop(key) for key in ("payment", "changes", "part", "review") if key in how}
    return Shown(name, f"result/{template}.html", state, Slip(how.pop("stored", state), **how), **own)


def _waiting(name: str, store: Store, **how: Any) -> Shown:
    return _result(name, STORES[store].slug, State.AWAITING_PAYMENT, store=store, **how)


def _declined(name: str, code: str = "", parameter: str = "", **how: Any) -> Shown:
    values = {"error_code": code, "parameter": parameter}
    return _result(name, "declined", State.DECLINED, days=None, numbers=False, values=values, **how)


def _form(name: str, state: State = State.OPEN, **how: Any) -> Shown:
    return Shown(name, "checkout.html", state, status=422 if how.get("sent") else 200, **how)


def _ago(**length: float) -> Callable[[], datetime]:
    return lambda: now() - timedelta(**length)


_REFUSED: Mapping[str, Any] = MappingProxyType({"days": None, "numbers": False})
_LONG = "注文2026-KYOTO-UJI-0000000000000000000000000000000000000000000000000000001234"

#: The checkout form.
FORMS: tuple[Shown, ...] = (
    _form("checkout-empty"),
    _form("checkout-typed", typed={**TYPED, "store": "D030"}),
    _form("checkout-nothing-sent", typed={}, sent=True),
    _form(
        "checkout-errors",
        typed={"name": "山田 花子", "phone": "12-34", "email": "hanako@", "store": "D015"},
        sent=True,
    ),
    _form("checkout-details-known", payment={"customer": HANAKO}),
    _form(
        "checkout-details-known-wrong",
        payment={"customer": Customer("山田花子", "09012345678", "hanako@example.com")},
        typed={"store": "D050"},
        sent=True,
    ),
    _form(
        "checkout-phone-refused",
        State.DECLINED,
        slip=Slip(State.DECLINED, values={"parameter": "telno"}, **_REFUSED),
    ),
    _form(
        "checkout-store-refused",
        State.DECLINED,
        slip=Slip(State.DECLINED, Store.MINISTOP, values={"error_code": "0008"}, **_REFUSED),
    ),
    _form("checkout-long-reference", payment={"reference": _LONG, "amount": 299999, "return_url": ""}),
    Shown("https-required", "https_required.html", State.OPEN, away=True, status=403),
)

#: While a slip waits to be paid.
SLIPS: tuple[Shown, ...] = (
    _waiting("seven-eleven", Store.SEVEN_ELEVEN, values={"pay_url": PAY_URL}),
    _waiting("seven-eleven-link-only", Store.SEVEN_ELEVEN, numbers=False, values={"pay_url": PAY_URL}),
    _waiting("seven-eleven-no-link", Store.SEVEN_ELEVEN),
    _waiting("lawson", Store.LAWSON),
    _waiting("familymart", Store.FAMILYMART),
    _waiting("seicomart", Store.SEICOMART),
    _waiting("ministop", Store.MINISTOP),
    _waiting("daily-yamazaki", Store.DAILY_YAMAZAKI),
    _waiting("seven-eleven-counter", Store.SEVEN_ELEVEN, part="zeus-counter"),
    _waiting("lawson-counter", Store.LAWSON, part="zeus-counter"),
    _waiting("familymart-counter", Store.FAMILYMART, part="zeus-counter"),
    _waiting("seicomart-counter", Store.SEICOMART, part="zeus-counter"),
    _waiting("lawson-tomorrow", Store.LAWSON, days=1),
    _waiting("familymart-last-day", Store.FAMILYMART, days=0),
    _waiting("lawson-overdue", Store.LAWSON, days=-1),
    _waiting("ministop-numbers-by-mail", Store.MINISTOP, numbers=False, days=None),
    _waiting("seicomart-test", Store.SEICOMART, values={"test": True}),
    _waiting("lawson-under-review", Store.LAWSON, review=ReviewReason.WRONG_AMOUNT),
    _waiting(
        "daily-yamazaki-long-reference",
        Store.DAILY_YAMAZAKI,
        payment={"reference": _LONG, "amount": 299999, "return_url": ""},
    ),
)

#: Everything else that can have become of a payment.
OUTCOMES: tuple[Shown, ...] = (
    _result("checking-just-sent", "checking", State.SUBMITTING, **_REFUSED),
    _result("checking-no-answer", "checking", State.UNKNOWN, **_REFUSED),
    _result("checking-may-apply-again", "checking", State.UNKNOWN, age=timedelta(hours=1), **_REFUSED),
    _declined("declined-check-and-retry", "900000"),
    _declined("declined-other-store", "0008"),
    _declined("declined-maintenance", "0013"),
    _declined("declined-support", "800002"),
    _declined("declined-shop", "800000"),
    _declined("declined-phone", parameter="telno"),
    _declined("declined-last-attempt", "900000", changes={"attempts": 5}),
    _declined("declined-offer-over", "900000", changes={"expires_at": _ago(minutes=1)}),
    _result("failed-never-sent", "declined", State.FAILED, **_REFUSED),
    _result("expired", "expired", State.EXPIRED, days=-2),
    _result("expired-no-way-back", "expired", State.EXPIRED, days=-2, changes={"attempts": 5}),
    _result(
        "expired-no-return",
        "expired",
        State.EXPIRED,
        days=-2,
        payment={"return_url": ""},
        changes={"attempts": 5},
    ),
    Shown("offer-over", "result/expired.html", State.OPEN, changes={"expires_at": _ago(minutes=1)}),
    Shown("offer-swept", "result/expired.html", State.EXPIRED, changes={"expired_at": _ago(minutes=1)}),
    _result("paid", "paid", State.RECEIVED, store=Store.FAMILYMART),
    _result("paid-confirmed", "paid", State.CONFIRMED, store=Store.SEVEN_ELEVEN),
    _result("paid-under-review", "paid", State.RECEIVED, review=ReviewReason.PAID_TWICE),
    _result("cancelled", "cancelled", State.CANCELLED),
    _result("superseded", "superseded", State.SUPERSEDED),
    _result("after-cancel-received", "after_cancel", State.RECEIVED_AFTER_CANCEL),
    _result("after-cancel-confirmed", "after_cancel", State.CONFIRMED_AFTER_CANCEL),
    _result("after-cancel-cancelled", "after_cancel", State.CANCELLED_AFTER_CANCEL),
    Shown("closed", "result/closed.html", State.CLOSED, changes={"closed_at": _ago(minutes=1)}),
    _result(
        "closed-with-numbers",
        "closed",
        State.CLOSED,
        stored=State.AWAITING_PAYMENT,
        changes={"closed_at": _ago(minutes=1)},
    ),
)

PAGES = (*FORMS, *SLIPS, *OUTCOMES)


def language_of_the_browser() -> str | None:
    """Choose a language as a shop does that lets its customers' browsers choose."""
    return request.accept_languages.best_match(LANGUAGES)


class Stage:
    """A small shop with our pages in it."""

    def __init__(
        self,
        folder: Path,
        *,
        select: Callable[[], str | None] | None = language_of_the_browser,
        templates: Path | None = None,
        **settings: Any,
    ) -> None:
        """Two in one folder share a database. Without `select`, the shop does without Flask-Babel."""
        self.app = Flask(__name__, template_folder=str(templates or folder / "templates"))
        self.app.config.update(
            TESTING=True,
            SECRET_KEY="not a secret",
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'shop.db'}",
            ZEUS_CVS_CLIENT_IP=CLIENT_IP,
            ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"],
        )
        self.app.config.update({f"ZEUS_CVS_{key}": value for key, value in settings.items()})
        self.db = SQLAlchemy(self.app)
        self.zeus = ZeusCVS(self.app, self.db)
        if select is not None:
            Babel(self.app, locale_selector=select)
        #: What browsers told of breaches of the policy.
        self.reports: list[str] = []
        #: The template of each page that was shown, by its path.
        self.templates: dict[str, str] = {}
        self._names = count(1)
        self._be_a_shop()
        with self.app.app_context():
            self.db.create_all()

    def bring(self, shown: Shown) -> str:
        """Put what a row needs into the database, and return the path of its page."""
        with self.app.app_context():
            payment = self._payment(shown)
            if shown.slip is not None:
                payment.applications.append(self._application(shown.slip))
                self.db.session.flush()
            self.db.session.add_all(_beside(shown, payment))
            for name, value in shown.changes.items():
                setattr(payment, name, value() if callable(value) else value)
            self.db.session.commit()
            assert payment.state is shown.state, f"{shown.name} is {payment.state}"
            path = f"/zeus-cvs/{shown.endpoint}/{payment.token}"
        return path + ("?from=away" if shown.away else "")

    def show(self, shown: Shown, path: str, language: str = "ja") -> TestResponse:
        """Return the page as a browser without script gets it."""
        browser = Browser(self.app)
        headers = {"Accept-Language": language}
        page = browser.http.get(path, headers=headers)
        if not shown.sent:
            return page
        return browser.http.post(
            path, headers=headers, data={**Read(page.text).forms[0].fields, **(shown.typed or {})}
        )

    def close(self) -> None:
        with self.app.app_context():
            self.db.engine.dispose()

    def _payment(self, shown: Shown) -> Payment:
        given = {"amount": 3480, "reference": "A-1001", "return_url": _ORDER, **shown.payment}
        return self.zeus.create_payment(**given)

    def _application(self, slip: Slip) -> Application:
        serial = next(self._names)
        pay_no1, pay_no2 = NUMBERS[slip.store] if slip.numbers else ("", "")
        today = now().astimezone(JST).date()
        values = {
            "sendid": f"S{serial}",
            "order_no": f"{serial}-1",
            "pay_no1": pay_no1,
            "pay_no2": pay_no2,
            "pay_limit": None if slip.days is None else today + timedelta(days=slip.days),
            "customer": HANAKO,
            "created_at": now() - slip.age,
            "answer_due_at": now() - slip.age + timedelta(hours=1),
            **slip.values,
        }
        return Application(store=slip.store, stored_state=slip.state, **values)

    def _be_a_shop(self) -> None:
        """Add what stands around our pages: the order that they lead back to, the policy, and an ear for breaches."""
        app = self.app
        app.add_url_rule(f"{_ORDER}", "order", lambda: "<!doctype html><title>Order</title><h1>A-1001</h1>")
        app.add_url_rule("/favicon.ico", "icon", lambda: Response(status=204))
        app.add_url_rule("/reports", "report", self._take_report, methods=["POST"])
        app.after_request(_be_strict)
        app.wsgi_app = _Entrance(app.wsgi_app)  # type: ignore[method-assign]
        template_rendered.connect(self._note_template, app)

    def _take_report(self) -> Response:
        self.reports.append(request.get_data(as_text=True))
        return Response(status=204)

    def _note_template(self, app: Flask, template: Template, **extra: Any) -> None:
        self.templates[request.path] = str(template.name)


def _beside(shown: Shown, payment: Payment) -> Iterator[Event | Review]:
    """Make what belongs to a payment and stands in tables of its own."""
    if shown.review is not None:
        yield Review(reason=shown.review, payment_id=payment.id)
    if shown.state in (State.RECEIVED, State.CONFIRMED):
        heard = {"payment_id": payment.id, "application_id": payment.applications[0].id}
        yield Event(kind=EventKind.PAYMENT_RECEIVED, occurred_at=now() - timedelta(hours=2), **heard)


class _Entrance:
    """Lets a customer with ``?from=away`` in the address come from elsewhere."""

    def __init__(self, inside: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]) -> None:
        self._inside = inside

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["QUERY_STRING"] == "from=away":
            environ["REMOTE_ADDR"] = AWAY
        return self._inside(environ, start_response)


def _be_strict(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    return response
