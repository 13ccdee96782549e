"""The stores: each chain's terminal and till, and 7-Eleven's slip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for

from flask_zeus_cvs.exceptions import VerbRefused
from flask_zeus_cvs.protocol.codes import STORES, Store
from flask_zeus_cvs.simulator import barcode
from flask_zeus_cvs.simulator.ledger import SimulatedApplication, Step, Verb
from flask_zeus_cvs.simulator.search import plain
from flask_zeus_cvs.simulator.wording import LAPSED, TERMINALS, UNPAYABLE
from flask_zeus_cvs.simulator.works import SLIP, Works

REFUSED: Mapping[Verb, str] = {Verb.PAY: LAPSED, Verb.CANCEL: "取り消せる入金がありません。"}

NOT_FOUND = "この番号のお支払いは見つかりません。お店と番号をお確かめください。"
TEST_SLIP = "テストの申込です。テストの番号はお店では使えず、結果は test_type に従って自動で通知されます。"


def make_counter(works: Works) -> Blueprint:
    pages = Blueprint("counter", __name__)
    ledger = works.ledger

    @pages.get("/counter")
    def choose() -> str:
        order_no = request.args.get("order_no")
        if order_no:
            return _numbers_form(Entry.of(ledger.get(order_no)))
        store = _store(request.args.get("store"))
        return _numbers_form(Entry(store)) if store else render_template("counter.html", terminals=TERMINALS)

    @pages.post("/counter")
    def till() -> Any:
        entry = Entry.typed()
        if entry is None:
            return render_template("counter.html", terminals=TERMINALS, problem="お店を選んでください。"), 422
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
        return redirect(url_for("counter.receipt", order_no=slip.order_no), HTTPStatus.SEE_OTHER)

    @pages.get("/counter/receipt")
    def receipt() -> str:
        application = ledger.get(request.args.get("order_no", ""))
        return render_template(
            "receipt.html",
            application=application,
            entry=Entry.of(application),
            paid=_last(application, Verb.PAY),
            taken_back=_last(application, Verb.CANCEL),
        )

    @pages.get(SLIP)
    def slip() -> str:
        application = ledger.get(request.args.get("order_no", ""))
        if not application.pay_url:
            abort(HTTPStatus.NOT_FOUND, "only a 7-Eleven application has a page of its own")
        pattern = barcode.modules(application.pay_no1)
        return render_template(
            "slip.html",
            application=application,
            problem=_problem(application),
            bars=barcode.path(pattern),
            width=len(pattern) + 2 * barcode.QUIET,
        )

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
    """Forgive full-width digits, spaces, and the hyphens with which people write numbers."""
    return plain("".join(number.split()))


def _store(code: str | None) -> Store | None:
    return Store(code) if code and code in STORES else None


def _numbers_form(entry: Entry, problem: str = "") -> str:
    return render_template(
        "numbers.html",
        entry=entry,
        store=STORES[entry.store],
        problem=problem,
        terminal=TERMINALS[entry.store],
    )


def _till(entry: Entry, application: SimulatedApplication, refusal: str = "") -> str:
    problem = _problem(application) or refusal
    return render_template("till.html", entry=entry, application=application, problem=problem)


def _problem(application: SimulatedApplication) -> str:
    return LAPSED if application.lapsed else UNPAYABLE.get(application.status, "")


def _last(application: SimulatedApplication, verb: Verb) -> Step | None:
    return next((step for step in reversed(application.history) if step.by == verb), None)
