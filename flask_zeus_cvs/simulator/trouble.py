"""The page on which things are made to go wrong (不具合): answers, notices, what is on now; and the fresh start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import groupby
from types import MappingProxyType
from typing import Any, TypeVar

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from flask_zeus_cvs.protocol.codes import ERROR_CODES
from flask_zeus_cvs.protocol.fields import REQUEST
from flask_zeus_cvs.simulator import gateway, notices, wording
from flask_zeus_cvs.simulator.gateway import MAX_DELAY, Fault
from flask_zeus_cvs.simulator.notices import Trouble
from flask_zeus_cvs.simulator.script import MAX_TIMES, Script
from flask_zeus_cvs.simulator.values import as_number, as_whole
from flask_zeus_cvs.simulator.works import Works

Form = MultiDict[str, str]
Plan = TypeVar("Plan")

COMPLAINTS: Mapping[str, str] = MappingProxyType(
    {
        "fault": "起こすことを選んでください。",
        "error_code": "エラーコードを選んでください。",
        "parameter": "パラメータを選んでください。",
        "delay": f"0から{MAX_DELAY}までの秒数を入力してください。",
        "trouble": "起こすことを選んでください。",
        "seconds": "0から3600までの秒数を入力してください。",
        "times": f"1から{MAX_TIMES:,}までの回数を入力してください。",
        "percent": "1から100までの割合を入力してください。",
    }
)
#: What an answer can be besides a `Fault`: as it would be, or an error.
WHOLE, ERROR_CODE, PARAMETER = "whole", "error_code", "parameter"
#: How the lines of a whole answer are written, and when it comes.
MANNERS: Mapping[str, str] = MappingProxyType(
    {
        "notice_first": "通知（01）を応答より先に送る",
        "crlf": "改行をCRLFにする",
        "spaced": "「=」の前後に空白を入れる",
        "shuffled": "行の順番を変える",
    }
)


_NONE: Mapping[str, str] = MappingProxyType({})


def make_trouble(works: Works) -> Blueprint:
    pages = Blueprint("trouble", __name__)
    scripts = dict[str, Script[Any]](answers=works.answers, notices=works.troubles)

    def shown(which: str = "", form: Form | None = None, problems: Mapping[str, str] = _NONE) -> str:
        return render_template(
            "trouble.html",
            forms={"answers": Form(), "notices": Form(), which: form},
            problems={"answers": _NONE, "notices": _NONE, which: problems},
            on={
                which: (_runs(script, SAYERS[which]), _switches(script, SAYERS[which]))
                for which, script in scripts.items()
            },
            faults={
                WHOLE: "ふつうの応答",
                **wording.FAULTS,
                ERROR_CODE: "エラーコードで断る",
                PARAMETER: "パラメータの誤り",
            },
            error_codes=wording.ERROR_CODES,
            parameters=REQUEST,
            troubles=wording.TROUBLES,
            manners=MANNERS,
        )

    def script(which: str, onto: Script[Plan], read: Callable[[Typed], Plan | None]) -> Any:
        typed = Typed(request.form)
        plan, amount = read(typed), _amount(typed)
        if typed.problems or plan is None:
            return shown(which, request.form, typed.problems), 422
        if request.form.get("how") == "while":
            onto.switch_on(plan, amount)
        else:
            onto.add(plan, int(amount))
        return redirect(url_for("trouble.index", done=which, _anchor="now"), HTTPStatus.SEE_OTHER)

    @pages.get("/trouble")
    def index() -> str:
        return shown()

    @pages.post("/trouble/answers")
    def answers() -> Any:
        return script("answers", works.answers, _answer)

    @pages.post("/trouble/notices")
    def troubles() -> Any:
        return script("notices", works.troubles, _trouble)

    @pages.post("/trouble/<any(answers, notices):which>/<int:number>/off")
    def off(which: str, number: int) -> BaseResponse:
        scripts[which].off(number)
        return redirect(url_for("trouble.index", _anchor="now"), HTTPStatus.SEE_OTHER)

    @pages.post("/trouble/off")
    def all_off() -> BaseResponse:
        works.faults_off()
        return redirect(url_for("trouble.index", _anchor="now"), HTTPStatus.SEE_OTHER)

    @pages.get("/reset")
    def reset_asked() -> str:
        return render_template("reset.html", count=works.ledger.count, mails=len(works.mailbox.mails))

    @pages.post("/reset")
    def reset() -> BaseResponse:
        works.reset()
        return redirect(url_for("pages.index", reset=1), HTTPStatus.SEE_OTHER)

    return pages


@dataclass(frozen=True)
class Typed:
    """The values of a form; what cannot be taken is in `problems`, by field."""

    form: Form
    problems: dict[str, str] = field(default_factory=dict)

    def one_of(self, name: str, choices: Collection[str]) -> str:
        given = self.form.get(name, "")
        if given not in choices:
            self.problems[name] = COMPLAINTS[name]
        return given

    def number(self, name: str, read: Callable[[object, int, int], float], least: int, most: int) -> float:
        try:
            return read(self.form.get(name, ""), least, most)
        except ValueError:
            self.problems[name] = COMPLAINTS[name]
            return 0


def _amount(typed: Typed) -> float:
    """Return a share for a switch, or a number of times."""
    if typed.form.get("how") == "while":
        return typed.number("percent", as_number, 1, 100) / 100
    return typed.number("times", as_whole, 1, MAX_TIMES)


def _answer(typed: Typed) -> gateway.Plan | None:
    fault = typed.one_of("fault", (WHOLE, ERROR_CODE, PARAMETER, *Fault))
    how: gateway.How = {"delay": typed.number("delay", as_number, 0, MAX_DELAY)}
    if fault == ERROR_CODE:
        how["error_code"] = typed.one_of("error_code", ERROR_CODES)
    if fault == PARAMETER:
        how["parameter"] = typed.one_of("parameter", REQUEST)
    for manner in MANNERS:
        how[manner] = manner in typed.form  # type: ignore[literal-required]
    if typed.problems:
        return None
    return gateway.plan(fault if fault in list(Fault) else "", **how)


def _trouble(typed: Typed) -> notices.Plan | None:
    trouble = typed.one_of("trouble", list(Trouble))
    seconds = typed.number("seconds", as_number, 0, 3600)
    return None if typed.problems else notices.plan(trouble, seconds=seconds)


# What is on now


def say_answer(plan: gateway.Plan) -> str:
    """Say what an answer will be, in Japanese."""
    if plan.error_code:
        said = f"エラーコード {plan.error_code}（{wording.ERROR_CODES[plan.error_code]}）"
    elif plan.parameter:
        said = f"パラメータの誤り（{plan.parameter}）"
    elif plan.body is not None:
        said = f"決まった本文（{len(plan.body)}バイト）"
    else:
        said = wording.FAULTS[plan.fault] if plan.fault else "ふつうの応答"
    manners = [words for name, words in MANNERS.items() if getattr(plan, name)]
    late = [f"{plan.delay:g}秒遅れて"] if plan.delay else []
    status = [f"HTTP {plan.status}"] if plan.status != HTTPStatus.OK else []
    return "、".join([said, *late, *status, *manners])


def say_trouble(plan: notices.Plan) -> str:
    """Say what will become of a notice, in Japanese."""
    said = wording.TROUBLES[plan.trouble]
    return f"{said}（{plan.seconds:g}秒）" if plan.trouble is Trouble.DELAY else said


SAYERS: Mapping[str, Callable[[Any], str]] = MappingProxyType({"answers": say_answer, "notices": say_trouble})


def _runs(script: Script[Plan], say: Callable[[Plan], str]) -> list[tuple[str, int]]:
    """Return what is set down, with how often in a row."""
    return [(said, len(list(run))) for said, run in groupby(map(say, script.pending))]


def _switches(script: Script[Plan], say: Callable[[Plan], str]) -> list[tuple[int, str, float]]:
    return [(each.number, say(each.plan), each.share * 100) for each in script.switches]
