"""The routes, and the customer's pages: checkout, result and what belongs to it. Each finds, calls and answers.

No view holds a database connection of ours while ZEUS is awaited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.exceptions import InvalidCustomer, NotPayable
from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.models import Application, Payment
from flask_zeus_cvs.payments import Applied, Obstacle, Payments, payments_of
from flask_zeus_cvs.protocol.codes import STORES, Store
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.web import wording
from flask_zeus_cvs.web.calendar import Deadline, calendar_file
from flask_zeus_cvs.web.callback import callback, log_untaken, read_notice
from flask_zeus_cvs.web.forms import CheckoutForm
from flask_zeus_cvs.web.guard import parsed_address
from flask_zeus_cvs.web.numbers import numbers_of, phone_ending_of
from flask_zeus_cvs.web.progress import Progress
from flask_zeus_cvs.web.qr import available as qr_available
from flask_zeus_cvs.web.qr import qr_code
from flask_zeus_cvs.web.texts import in_templates, translate
from flask_zeus_cvs.web.wording import FORM_FIELDS

#: Which page a state has, under ``zeus_cvs/result/``; while a slip waits to be paid, its store's own.
RESULT_PAGES: Mapping[State, str] = MappingProxyType(
    {
        State.OPEN: "expired.html",
        State.SUBMITTING: "checking.html",
        State.UNKNOWN: "checking.html",
        State.DECLINED: "declined.html",
        State.FAILED: "declined.html",
        State.AWAITING_PAYMENT: "numbers.html",
        State.EXPIRED: "expired.html",
        State.RECEIVED: "paid.html",
        State.CONFIRMED: "paid.html",
        State.CANCELLED: "cancelled.html",
        State.SUPERSEDED: "superseded.html",
        State.RECEIVED_AFTER_CANCEL: "after_cancel.html",
        State.CONFIRMED_AFTER_CANCEL: "after_cancel.html",
        State.CANCELLED_AFTER_CANCEL: "after_cancel.html",
        State.CLOSED: "closed.html",
    }
)

#: Seconds after which the browser asks again by itself, as long as no new application is possible.
_REFRESH: Mapping[State, int] = MappingProxyType({State.SUBMITTING: 5, State.UNKNOWN: 15})
_REFRESH_SLOWLY = 60

#: The link to these pages is a key: it goes into no cache, no index, and no other site's logs.
_PRIVATE = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Robots-Tag": "noindex",
        "X-Content-Type-Options": "nosniff",
    }
)
_PAGES = frozenset(f"zeus_cvs.{each}" for each in ("checkout", "result", "result_state", "deadline", "qr"))
_CALLBACK = "zeus_cvs.callback"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def make_blueprint(settings: Settings) -> Blueprint:
    """Make the blueprint of one app; with tokens configured, the callback is only found under them."""
    blueprint = Blueprint(
        "zeus_cvs",
        "flask_zeus_cvs",
        url_prefix=settings.url_prefix,
        template_folder="templates",
        static_folder="static",
    )
    blueprint.add_url_rule("/checkout/<token>", "checkout", checkout, methods=["GET", "POST"])
    blueprint.add_url_rule("/result/<token>", "result", result, methods=["GET"])
    blueprint.add_url_rule("/result/<token>/state", "result_state", result_state, methods=["GET"])
    blueprint.add_url_rule("/result/<token>/deadline.ics", "deadline", deadline, methods=["GET"])
    blueprint.add_url_rule("/result/<token>/qr.svg", "qr", qr, methods=["GET"])
    blueprint.add_url_rule(
        "/callback/<callback_token>" if settings.callback_token else "/callback",
        "callback",
        callback,
        methods=["GET", "POST"],
        provide_automatic_options=False,
    )
    blueprint.url_value_preprocessor(_come_first)
    blueprint.before_request(_insist_on_https)
    blueprint.after_request(_keep_private)
    return blueprint


# The customer's pages


def checkout(token: str) -> ResponseReturnValue:
    """Show the form, or apply with what was posted."""
    payments = payments_of(current_app)
    payment = _find(payments, token)
    if request.method == "POST":
        return _apply(payments, payment)
    if not _may_apply(payments, payment):
        return _to_result(payment)
    application = payment.application
    form = CheckoutForm.filled(
        payment.amount,
        payments.settings.stores,
        payment.last_customer,
        application.store if application else None,
    )
    _recall_refusal(form, application)
    return _form_page(payments, payment, form)


def result(token: str) -> ResponseReturnValue:
    """Show how the payment stands."""
    payments = payments_of(current_app)
    progress = Progress.of(payments, _find(payments, token))
    if progress.state is State.OPEN and progress.obstacle is None:
        return redirect(url_for("zeus_cvs.checkout", token=progress.payment.token), 303)
    page = _page(
        payments.settings,
        _result_template(progress.state, progress.application),
        **_told(progress),
    )
    if progress.state in _REFRESH:
        page.headers["Refresh"] = str(_REFRESH[progress.state] if progress.obstacle else _REFRESH_SLOWLY)
    return page


def result_state(token: str) -> ResponseReturnValue:
    """Tell the page's script whether the page would be another by now; nothing else is in the answer."""
    payments = payments_of(current_app)
    progress = Progress.of(payments, _find(payments, token))
    return jsonify(state=progress.state.value, version=progress.version)


def deadline(token: str) -> ResponseReturnValue:
    """Answer with the deadline as a calendar file, as long as the slip waits to be paid."""
    payments = payments_of(current_app)
    progress = Progress.of(payments, _find(payments, token))
    entry = _calendar_entry(progress) or abort(404)
    answer = Response(calendar_file(entry, now()), mimetype="text/calendar")
    answer.headers["Content-Disposition"] = 'inline; filename="deadline.ics"'
    return answer


def qr(token: str) -> ResponseReturnValue:
    """Answer with the result page's link as a QR code; 404 without the extra ``qr``."""
    payment = _find(payments_of(current_app), token)
    if not qr_available():
        abort(404)
    return Response(qr_code(_link(payment)), mimetype="image/svg+xml")


def _find(payments: Payments, token: str) -> Payment:
    """Find the payment, or answer 404; what cannot be a token never reaches the database."""
    payment = payments.by_token(token) if _TOKEN.fullmatch(token) else None
    return payment or abort(404)


def _may_apply(payments: Payments, payment: Payment) -> bool:
    return payments.obstacle(payment) is None and not _is_looked_into(payments, payment)


def _is_looked_into(payments: Payments, payment: Payment) -> bool:
    """Whether the customer has applied before, and the shop has yet to decide something about it: money, perhaps."""
    return payment.application is not None and payments.standing(payment).under_review


def _apply(payments: Payments, payment: Payment) -> ResponseReturnValue:
    """Apply with what was posted; a wrong detail comes back with its message, and nothing was sent."""
    if _is_looked_into(payments, payment):
        return _to_result(payment)
    form = CheckoutForm.posted(payment.amount, payments.settings.stores, payment.last_customer)
    if not form.validate():
        return _to_result(payment) if payments.obstacle(payment) else _form_page(payments, payment, form, 422)
    try:
        applied = payments.apply_for(payment, form.customer, Store(form.store.data))
    except InvalidCustomer as error:
        form.complain(error.problems)
        return _form_page(payments, payment, form, 422)
    except NotPayable:
        return _to_result(payment)
    if _names_a_form_field(applied) and payments.obstacle(_find(payments, payment.token)) is None:
        _say_refused(form, applied.parameter)
        return _form_page(payments, payment, form, 422)
    return _to_slip(payments.settings, payment, applied)


def _to_slip(settings: Settings, payment: Payment, applied: Applied) -> Response:
    """Lead on to the numbers; 7-Eleven's are shown by the collection agency (manual, 申込結果)."""
    awaited = applied.state is State.AWAITING_PAYMENT and applied.store is Store.SEVEN_ELEVEN
    if settings.redirect_711 and awaited and applied.pay_url:
        return make_response(redirect(applied.pay_url, 303))
    return _to_result(payment)


def _to_result(payment: Payment) -> Response:
    return make_response(redirect(url_for("zeus_cvs.result", token=payment.token), 303))


def _names_a_form_field(application: Application | Applied) -> bool:
    return application.state is State.DECLINED and application.parameter in FORM_FIELDS


def _say_refused(form: CheckoutForm, parameter: str) -> None:
    name = FORM_FIELDS[parameter]
    form.say(name, translate(wording.REFUSED_FIELDS[name]))


def _recall_refusal(form: CheckoutForm, application: Application | None) -> None:
    """Say at its line what ZEUS refused last time."""
    if application is None or application.state is not State.DECLINED:
        return
    if _names_a_form_field(application):
        _say_refused(form, application.parameter)
    elif wording.suggests_other_store(application.error_code):
        form.say("store", translate(wording.OTHER_STORE))


def _result_template(state: State, application: Application | None) -> str:
    own = state is State.AWAITING_PAYMENT and application is not None
    page = f"{STORES[application.store].slug}.html" if own and application else RESULT_PAGES[state]
    return f"zeus_cvs/result/{page}"


def _told(progress: Progress) -> dict[str, Any]:
    """What the result pages are told; each of them uses what it needs."""
    application = progress.application
    token = progress.payment.token
    return {
        "payment": progress.payment,
        "application": application,
        "state": progress.state,
        "obstacle": progress.obstacle or (Obstacle.REVIEW if progress.under_review else None),
        "under_review": progress.under_review,
        "home_next": progress.home_next,
        "may_change": progress.may_change,
        "version": progress.version,
        "overdue": progress.overdue,
        "other_slip": progress.other_slip,
        "days_left": progress.days_left,
        "page_url": _link(progress.payment),
        "calendar_url": url_for("zeus_cvs.deadline", token=token) if _calendar_entry(progress) else "",
        "qr_url": url_for("zeus_cvs.qr", token=token) if qr_available() else "",
        **(_paid(progress.paid_at) if progress.paid_at else {}),
        **(_slip(progress, application) if application else {}),
    }


def _slip(progress: Progress, application: Application) -> dict[str, Any]:
    store = wording.in_words(STORES[application.store])
    told: dict[str, Any] = {"store": store, "numbers": numbers_of(application, store)}
    if progress.state in (State.DECLINED, State.FAILED):
        advice = wording.advice(progress.state, application.error_code, application.parameter)
        told["advice"] = advice
        told["home_next"] = progress.home_next or not advice.correctable
    if application.pay_limit is not None and application.deadline is not None:
        told["deadline"] = wording.last_day(application.pay_limit)
        told["deadline_iso"] = f"{application.pay_limit.isoformat()}T23:59+09:00"
    told["phone_ending"] = phone_ending_of(application)
    return told


def _paid(moment: datetime) -> dict[str, Any]:
    moment = moment.astimezone(JST)
    return {"paid_at": wording.moment(moment), "paid_at_iso": moment.isoformat(timespec="minutes")}


def _calendar_entry(progress: Progress) -> Deadline | None:
    """What a calendar is told, while a slip with a known deadline waits to be paid."""
    payment, application = progress.payment, progress.application
    if (
        not progress.awaited
        or application is None
        or application.deadline is None
        or not application.pay_limit
    ):
        return None
    store = wording.in_words(STORES[application.store]).name
    return Deadline(
        key=payment.token,
        edition=len(payment.applications),
        day=application.pay_limit,
        title=translate("コンビニ払いの期限（{store}、23:59まで）", store=store),
        place=store,
        text=translate(
            "ご注文番号: {reference}\nお支払い金額: {amount}円\nお支払い番号: {link}",
            reference=payment.reference,
            amount=f"{payment.amount:,}",
            link=_link(payment),
        ),
        link=_link(payment),
    )


def _link(payment: Payment) -> str:
    """The whole address of the result page, under the host that the customer has asked."""
    return url_for("zeus_cvs.result", token=payment.token, _external=True)


def _form_page(payments: Payments, payment: Payment, form: CheckoutForm, status: int = 200) -> Response:
    return _page(
        payments.settings,
        "zeus_cvs/checkout.html",
        status,
        payment=payment,
        application=payment.application,
        form=form,
        complaints=form.complaints,
        problem=wording.problem_text,
        pay_within_days=payments.settings.pay_within_days,
        elsewhere=payments.settings.redirect_711 and Store.SEVEN_ELEVEN in payments.settings.stores,
    )


def _page(settings: Settings, template: str, status: int = 200, **context: Any) -> Response:
    """Render a page in the shop's frame, with the test mark where anything about it is a test."""
    application: Application | None = context.get("application")
    context["test"] = settings.test or (application is not None and application.test)
    context.update(in_templates())
    return make_response(render_template(template, base_template=settings.base_template, **context), status)


# Before and after every request to us


def _come_first(endpoint: str | None, values: dict[str, Any] | None) -> None:  # noqa: ARG001
    """Do what must happen before any before_request function runs, the host's and Flask-WTF's included.

    A host's global CSRFProtect may be made before or after us, so the exemption is declared on each request.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    csrf = app.extensions.get("csrf")
    if isinstance(csrf, CSRFProtect):
        csrf.exempt(app.blueprints["zeus_cvs"])
    if endpoint == _CALLBACK:
        read_notice(payments_of(app).settings)


def _insist_on_https() -> ResponseReturnValue | None:
    if request.endpoint not in _PAGES or request.is_secure:
        return None
    settings = payments_of(current_app).settings
    if not settings.require_https or _is_at_home():
        return None
    return _page(settings, "zeus_cvs/https_required.html", 403)


def _is_at_home() -> bool:
    """Whether a developer looks at the page on the machine that serves it."""
    address = parsed_address(request.remote_addr)
    return address is not None and address.is_loopback and (current_app.debug or current_app.testing)


def _keep_private(response: Response) -> Response:
    endpoint = request.endpoint
    if endpoint in _PAGES:
        response.headers.update(_PRIVATE)
    elif endpoint == _CALLBACK and response.status_code >= 500:
        log_untaken()
    return response
