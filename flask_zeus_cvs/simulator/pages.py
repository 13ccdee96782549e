"""The sandbox's addresses: ``cvs.cgi``, the JSON API, and pages in Japanese for whoever tries a shop out.

State changes by POST only, and never for a page of another site: see `_guard`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from flask_zeus_cvs.exceptions import UnknownApplication, VerbRefused
from flask_zeus_cvs.protocol.codes import STORES, Status, Store
from flask_zeus_cvs.simulator.gateway import Contract, Gateway
from flask_zeus_cvs.simulator.ledger import (
    Ledger,
    SimulatedApplication,
    Verb,
)
from flask_zeus_cvs.simulator.notices import Call, Sender
from flask_zeus_cvs.simulator.server import CUT

ENDPOINT = "/cgi-bin/cvs.cgi"

logger = logging.getLogger("flask_zeus_cvs.simulator")

#: Applications on the first page; the API has them all.
SHOWN = 200

#: What the verbs of ZEUS's side are called on the buttons; paying and taking back are the counter's.
BUTTONS: Mapping[Verb, str] = {
    Verb.CONFIRM: "売上確定にする",
    Verb.EXPIRE: "期日切にする",
    Verb.REISSUE: "再発行",
    Verb.RESEND: "通知を再送信",
}

#: Why a till refuses, for each status in which it cannot take money.
UNPAYABLE: Mapping[Status | None, str] = {
    Status.APPLICATION_FAILED: "この申込は成立していません。",
    Status.EXPIRED: "支払期限が過ぎているため、お支払いできません。",
    Status.PAYMENT_RECEIVED: "お支払い済みです。",
    Status.SALE_CONFIRMED: "お支払い済みです。売上も確定しています。",
    Status.PAYMENT_CANCELLED: "入金が取り消された番号です。もう一度支払うことはできません。",
    Status.RECEIVED_AFTER_CANCEL: "お支払い済みです。",
    Status.CONFIRMED_AFTER_CANCEL: "お支払い済みです。売上も確定しています。",
    Status.CANCELLED_AFTER_CANCEL: "入金が取り消された番号です。もう一度支払うことはできません。",
}
LAPSED = UNPAYABLE[Status.EXPIRED]
REFUSED: Mapping[Verb, str] = {Verb.PAY: LAPSED, Verb.CANCEL: "取り消せる入金がありません。"}

NOT_FOUND = "この番号のお支払いは見つかりません。お店と番号をお確かめください。"
TEST_SLIP = "テストの申込です。テストの番号はお店では使えず、結果は test_type に従って自動で通知されます。"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, kw_only=True)
class Backstage:
    """What the addresses work with. `wait` waits some seconds; `anywhere`: it listens beyond loopback."""

    contract: Contract
    ledger: Ledger
    gateway: Gateway
    sender: Sender
    base_url: str
    wait: Callable[[float], None]
    anywhere: bool


def make_app(backstage: Backstage) -> Flask:
    app = Flask(__name__)
    app.before_request(lambda: _guard(backstage))
    app.after_request(_dress)
    app.context_processor(lambda: {"stores": STORES, "contract": backstage.contract, "Verb": Verb})
    _gateway(app, backstage)
    _api(app, backstage)
    _pages(app, backstage)
    app.register_error_handler(UnknownApplication, _unknown)
    app.register_error_handler(VerbRefused, _refused)
    app.register_error_handler(HTTPException, _http_error)
    return app


def _guard(backstage: Backstage) -> None:
    """Refuse what another site's page sends: browsers say so, and programs send neither header.

    The Host is looked at too, or a site whose name suddenly means 127.0.0.1 would count as this one.
    """
    host = _hostname(f"//{request.host}")
    own = {"localhost", urlsplit(backstage.base_url).hostname or "", "127.0.0.1", "::1"}
    if not backstage.anywhere and host not in own:
        abort(HTTPStatus.FORBIDDEN, "the sandbox answers only under its own address")
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    fetch_site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if fetch_site is not None:
        foreign = fetch_site not in {"same-origin", "none"}
    else:
        foreign = origin is not None and urlsplit(origin).netloc != request.host
    if foreign:
        abort(HTTPStatus.FORBIDDEN, "another site's page may not drive the sandbox")


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _dress(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


# The gateway


def _gateway(app: Flask, backstage: Backstage) -> None:
    sender, base_url = backstage.sender, backstage.base_url

    def slip_address(order_no: str) -> str:
        return f"{base_url}/slip/seven_eleven?order_no={order_no}"

    @app.post(ENDPOINT)
    def cvs() -> Response:
        reply = backstage.gateway.receive(request.mimetype, request.get_data(), slip_address)
        logger.info("application: %s", reply.note, extra={"action": "apply", "order_no": reply.order_no})
        backstage.wait(reply.plan.delay)
        if reply.plan.notice_first:
            sender.release(reply.order_no)
            sender.settle(sender.limit, reply.order_no)
        if reply.cut:
            request.environ[CUT] = reply.cut
        response = Response(
            reply.body, reply.plan.status, content_type=f"{reply.content_type}; charset=Shift_JIS"
        )
        sender.line_up(reply.order_no)
        response.call_on_close(lambda: sender.release(reply.order_no))
        return response


# The API


def _api(app: Flask, backstage: Backstage) -> None:
    def told(application: SimulatedApplication) -> dict[str, Any]:
        return _as_json(application, backstage.sender.calls_for(application.order_no))

    @app.get("/api/applications")
    def api_list() -> Response:
        return jsonify(applications=[told(each) for each in backstage.ledger.applications])

    @app.post("/api/applications/<order_no>/<verb>")
    def api_verb(order_no: str, verb: str) -> Response:
        return jsonify(told(backstage.ledger.apply(_verb(verb), order_no)))


def _verb(name: str) -> Verb:
    try:
        return Verb(name)
    except ValueError:
        abort(HTTPStatus.NOT_FOUND, f"there is no verb of this name: take one of {', '.join(Verb)}")


def _as_json(application: SimulatedApplication, calls: list[Call]) -> dict[str, Any]:
    return {
        "order_no": application.order_no,
        "sendid": application.sendid,
        "sendpoint": application.sendpoint,
        "store": application.store,
        "store_name": STORES[application.store].name,
        "money": application.money,
        "username": application.username,
        "telno": application.telno,
        "email": application.email,
        "status": application.status,
        "status_name": application.info.name,
        "pay_no1": application.pay_no1,
        "pay_no2": application.pay_no2,
        "pay_limit": f"{application.pay_limit:%Y%m%d}" if application.pay_limit else "",
        "pay_url": application.pay_url,
        "error_code": application.error_code,
        "test": application.test,
        "replaced_by": application.replaced_by,
        "verbs": [verb for verb in Verb if application.allows(verb)],
        "calls": [{"status": call.status, "answer": call.answer, "failure": call.failure} for call in calls],
    }


# The pages


def _pages(app: Flask, backstage: Backstage) -> None:
    ledger = backstage.ledger

    @app.get("/")
    def index() -> str:
        applications = ledger.applications
        return render_template(
            "index.html",
            applications=applications[: -SHOWN - 1 : -1],
            total=len(applications),
            calls_for=backstage.sender.calls_for,
            buttons=BUTTONS,
        )

    @app.post("/applications/<order_no>/<verb>")
    def do(order_no: str, verb: str) -> BaseResponse:
        application = ledger.apply(_verb(verb), order_no)
        return redirect(url_for("index", _anchor=f"a{application.order_no}"), HTTPStatus.SEE_OTHER)

    @app.get("/counter")
    def counter() -> str:
        order_no = request.args.get("order_no")
        if order_no:
            return _numbers_form(Entry.of(ledger.get(order_no)))
        store = _store(request.args.get("store"))
        return _numbers_form(Entry(store)) if store else render_template("counter.html")

    @app.post("/counter")
    def till() -> Any:
        entry = Entry.typed()
        if entry is None:
            return render_template("counter.html", problem="お店を選んでください。"), 422
        slip = ledger.find_slip(entry.store, entry.pay_no1, entry.pay_no2)
        if slip is None or not entry.fits(slip):
            return _numbers_form(entry, NOT_FOUND), 422
        if slip.test:
            return _numbers_form(entry, TEST_SLIP), 422
        verb = {"pay": Verb.PAY, "cancel": Verb.CANCEL}.get(request.form.get("action", ""))
        if verb is None:
            return _till(entry, slip)
        try:
            ledger.apply(verb, slip.order_no)
        except VerbRefused:
            return _till(entry, ledger.get(slip.order_no), REFUSED[verb]), 409
        return redirect(url_for("receipt", order_no=slip.order_no), HTTPStatus.SEE_OTHER)

    @app.get("/counter/receipt")
    def receipt() -> str:
        application = ledger.get(request.args.get("order_no", ""))
        return render_template("receipt.html", application=application, entry=Entry.of(application))

    @app.get("/slip/seven_eleven")
    def slip() -> str:
        application = ledger.get(request.args.get("order_no", ""))
        if not application.pay_url:
            abort(HTTPStatus.NOT_FOUND, "only a 7-Eleven application has a page of its own")
        return render_template("slip.html", application=application, problem=_problem(application))


@dataclass(frozen=True)
class Entry:
    """What is typed at a store's terminal or till."""

    store: Store
    pay_no1: str = ""
    pay_no2: str = ""
    telno: str = ""

    @classmethod
    def of(cls, application: SimulatedApplication) -> Entry:
        telno = application.telno if application.store is Store.SEICOMART else ""
        return cls(application.store, application.pay_no1, application.pay_no2, telno)

    @classmethod
    def typed(cls) -> Entry | None:
        """Read the form; None without a store."""
        store = _store(request.form.get("store"))
        typed = {name: _plain(request.form.get(name, "")) for name in ("pay_no1", "pay_no2", "telno")}
        return cls(store, **typed) if store else None

    def fits(self, application: SimulatedApplication) -> bool:
        """Seicomart's terminal asks for the telephone number too."""
        return self.store is not Store.SEICOMART or self.telno == application.telno


def _plain(number: str) -> str:
    """Forgive spaces, and the hyphens with which people write numbers."""
    return "".join(number.split()).replace("-", "")


def _store(code: str | None) -> Store | None:
    return Store(code) if code and code in STORES else None


def _numbers_form(entry: Entry, problem: str = "") -> str:
    return render_template("numbers.html", entry=entry, store=STORES[entry.store], problem=problem)


def _till(entry: Entry, application: SimulatedApplication, refusal: str = "") -> str:
    problem = _problem(application) or refusal
    return render_template("till.html", entry=entry, application=application, problem=problem)


def _problem(application: SimulatedApplication) -> str:
    return LAPSED if application.lapsed else UNPAYABLE.get(application.status, "")


# Errors: JSON for programs, a page for people


def _unknown(error: UnknownApplication) -> tuple[Any, int]:
    return _error(HTTPStatus.NOT_FOUND, "unknown_application", str(error), "この申込はありません。")


def _refused(error: VerbRefused) -> tuple[Any, int]:
    said = "いまの状態では、この操作はできません。"
    return _error(HTTPStatus.CONFLICT, "refused", str(error), said, verb=error.verb)


def _http_error(error: HTTPException) -> tuple[Any, int] | HTTPException:
    code = HTTPStatus(error.code or 500)
    said = "このページはありません。" if code is HTTPStatus.NOT_FOUND else "この要求は受け付けられません。"
    return _error(code, code.phrase.lower().replace(" ", "_"), error.description or code.phrase, said)


def _error(code: HTTPStatus, error: str, message: str, said: str, **more: str) -> tuple[Any, int]:
    if request.path.startswith("/api/"):
        return jsonify(error=error, message=message, **more), code
    return render_template("error.html", code=code, message=message, said=said), code
