"""The page on which a shop's contract is changed (契約内容): all of it, each complaint beside its field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from flask_zeus_cvs.protocol.codes import STORES
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.simulator.contract import (
    MAX_AGENT,
    MAX_MINUTES,
    MAX_RETRIES,
    ON_REQUEST,
    Contract,
    MailKind,
)
from flask_zeus_cvs.simulator.ledger import INFO
from flask_zeus_cvs.simulator.mails import MAILS
from flask_zeus_cvs.simulator.values import as_whole
from flask_zeus_cvs.simulator.wording import PARAMETERS
from flask_zeus_cvs.simulator.works import Works

Form = MultiDict[str, str]

#: What is said beside each field whose value cannot be taken. Every term of the contract is here.
COMPLAINTS: Mapping[str, str] = MappingProxyType(
    {
        "clientip": "半角数字10桁で入力してください。",
        "testids": "1行に1つ、半角数字で8桁まで入力してください。",
        "stores": "コンビニを選び直してください。",
        "pay_within_days": "2から59までの整数で入力してください。",
        "on_request": "ステータスを選び直してください。",
        "notify": "http:// か https:// で始まるURLを入力するか、空欄にしてください。",
        "parameters": "送る項目と順番を選び直してください。順番は1から14までの整数です。",
        "method": "GETかPOSTを選んでください。",
        "agent": f"半角の英数字と記号で、{MAX_AGENT}文字まで入力してください。",
        "sent_from": "このコンピューターのIPアドレス（127.0.0.2 など）を入力するか、空欄にしてください。",
        "retries": f"0から{MAX_RETRIES}までの整数で入力してください。",
        "retry_minutes": f"0から{MAX_MINUTES}までの数字で入力してください。",
        "confirm_after_days": "日数は0から365までの整数で入力するか、空欄にしてください。",
        "test_outcome_minutes": "0から30までの数字で入力してください。",
        "stopped": "番組停止か提供中かを選んでください。",
        "mail_to": "メールアドレスを半角50文字以内で入力してください。",
        "mails_off": "メールを選び直してください。",
        "customer_message": "文章を入力してください。",
    }
)


def _several(name: str) -> Callable[[Form], object]:
    return lambda form: form.getlist(name)


def _unticked(form: Form) -> object:
    """Mails are ticked to be sent; the contract has those that are not."""
    return [
        kind for kind in MailKind if kind is not MailKind.CALL_FAILED and kind not in form.getlist("mails")
    ]


def _in_order(form: Form) -> object:
    """Return the ticked parameters by the numbers beside them; a number that is none is a `ValueError`."""
    chosen = [name for name in NOTICE if name in form.getlist("parameters")]
    return sorted(chosen, key=lambda name: as_whole(form.get(f"place_{name}"), 1, len(NOTICE)))


#: How the form says what is not said by one field of the same name.
_FROM_FORM: Mapping[str, Callable[[Form], object]] = MappingProxyType(
    {
        "stores": _several("stores"),
        "on_request": _several("on_request"),
        "parameters": _in_order,
        "confirm_after_days": lambda form: {code: form.get(f"days_{code}", "").strip() for code in STORES},
        "mails_off": _unticked,
        "customer_message": lambda form: form.get("customer_message", "").replace("\r\n", "\n"),
    }
)


def make_terms(works: Works) -> Blueprint:
    pages = Blueprint("terms", __name__)

    def shown(form: Form, problems: Mapping[str, str]) -> str:
        return render_template(
            "terms.html",
            form=form,
            problems=problems,
            parameters=sorted(NOTICE, key=lambda name: _place(form, name)),
            meanings=PARAMETERS,
            on_request=ON_REQUEST,
            mails=MAILS,
            info=INFO,
            max_agent=MAX_AGENT,
            attached=works.sender.attachment is not None,
        )

    @pages.get("/screen/terms")
    def read() -> str:
        return shown(as_form(works.contract), {})

    @pages.post("/screen/terms")
    def change() -> Any:
        values, problems = read_form(request.form)
        if problems:
            return shown(request.form, problems), 422
        works.contract.change(values)
        return redirect(url_for("terms.read", done=1), HTTPStatus.SEE_OTHER)

    @pages.post("/screen/service")
    def service() -> BaseResponse:
        works.contract.change({"stopped": request.form.get("stopped") == "on"})
        return redirect(url_for("terms.read", _anchor="service"), HTTPStatus.SEE_OTHER)

    return pages


def as_form(contract: Contract) -> Form:
    """Spell the contract as the page's form does."""
    form: Form = MultiDict(contract.as_json())
    for name in ("stores", "on_request", "parameters"):
        form.setlist(name, list(map(str, getattr(contract, name))))
    form.setlist("mails", [kind for kind in MailKind if kind not in contract.mails_off])
    form["testids"] = "\n".join(contract.testids)
    form["notify"] = contract.notify or ""
    for name in ("retry_minutes", "test_outcome_minutes"):
        form[name] = f"{getattr(contract, name):g}"
    for code in STORES:
        form[f"days_{code}"] = str(contract.confirm_after_days.get(code, ""))
    others = [name for name in NOTICE if name not in contract.parameters]
    for place, name in enumerate((*contract.parameters, *others), start=1):
        form[f"place_{name}"] = str(place)
    return form


def read_form(form: Form) -> tuple[dict[str, object], dict[str, str]]:
    """Return what the contract is to be changed to, and the complaint of each term that cannot be taken.

    `stopped` has a form of its own.
    """
    values: dict[str, object] = {}
    problems: dict[str, str] = {}
    trial = Contract()
    for name in COMPLAINTS.keys() - {"stopped"}:
        try:
            values[name] = _FROM_FORM[name](form) if name in _FROM_FORM else form.get(name, "")
            trial.change({name: values[name]})
        except ValueError:
            problems[name] = COMPLAINTS[name]
    return values, problems


def _place(form: Form, name: str) -> tuple[bool, int]:
    """Sort what is sent first, by its number as far as it is one."""
    place = form.get(f"place_{name}", "")
    return name not in form.getlist("parameters"), int(place) if place.isdecimal() else len(NOTICE)
