"""Pages in Japanese for whoever tries a shop out: the counter of each store, 7-Eleven's slip, the applications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from flask_zeus_cvs.exceptions import VerbRefused
from flask_zeus_cvs.protocol.codes import STORES, Status, Store
from flask_zeus_cvs.simulator.ledger import Silent, SimulatedApplication, Standing, Verb
from flask_zeus_cvs.simulator.works import SLIP, Works

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
UNPAYABLE: Mapping[Standing, str] = {
    Status.APPLICATION_FAILED: "この申込は成立していません。",
    Status.EXPIRED: "支払期限が過ぎているため、お支払いできません。",
    Status.PAYMENT_RECEIVED: "お支払い済みです。",
    Status.SALE_CONFIRMED: "お支払い済みです。売上も確定しています。",
    Status.PAYMENT_CANCELLED: "入金が取り消された番号です。もう一度支払うことはできません。",
    Status.RECEIVED_AFTER_CANCEL: "お支払い済みです。",
    Status.CONFIRMED_AFTER_CANCEL: "お支払い済みです。売上も確定しています。",
    Silent.STOPPED: "お支払い済みです。",
    Status.CANCELLED_AFTER_CANCEL: "入金が取り消された番号です。もう一度支払うことはできません。",
}
LAPSED = UNPAYABLE[Status.EXPIRED]
REFUSED: Mapping[Verb, str] = {Verb.PAY: LAPSED, Verb.CANCEL: "取り消せる入金がありません。"}

NOT_FOUND = "この番号のお支払いは見つかりません。お店と番号をお確かめください。"
TEST_SLIP = "テストの申込です。テストの番号はお店では使えず、結果は test_type に従って自動で通知されます。"


def make_pages(works: Works) -> Blueprint:
    pages = Blueprint("pages", __name__)
    ledger = works.ledger

    @pages.get("/")
    def index() -> str:
        applications = ledger.applications
        return render_template(
            "index.html",
            applications=applications[: -SHOWN - 1 : -1],
            total=len(applications),
            calls_for=works.sender.calls_for,
            buttons=BUTTONS,
        )

    @pages.post("/applications/<order_no>/<verb>")
    def do(order_no: str, verb: str) -> BaseResponse:
        application = ledger.apply(Verb(verb), order_no)
        return redirect(url_for("pages.index", _anchor=f"a{application.order_no}"), HTTPStatus.SEE_OTHER)

    @pages.get("/counter")
    def counter() -> str:
        order_no = request.args.get("order_no")
        if order_no:
            return _numbers_form(Entry.of(ledger.get(order_no)))
        store = _store(request.args.get("store"))
        return _numbers_form(Entry(store)) if store else render_template("counter.html")

    @pages.post("/counter")
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
        return redirect(url_for("pages.receipt", order_no=slip.order_no), HTTPStatus.SEE_OTHER)

    @pages.get("/counter/receipt")
    def receipt() -> str:
        application = ledger.get(request.args.get("order_no", ""))
        return render_template("receipt.html", application=application, entry=Entry.of(application))

    @pages.get(SLIP)
    def slip() -> str:
        application = ledger.get(request.args.get("order_no", ""))
        if not application.pay_url:
            abort(HTTPStatus.NOT_FOUND, "only a 7-Eleven application has a page of its own")
        return render_template("slip.html", application=application, problem=_problem(application))

    return pages


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
