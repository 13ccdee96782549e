"""ZEUS's screen (売上管理画面): the list and its CSV, one application with all that became of it, the test ids."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.protocol.fields import check
from flask_zeus_cvs.protocol.wire import decode_form, plain_text
from flask_zeus_cvs.simulator import spreadsheet
from flask_zeus_cvs.simulator.ledger import INFO, SimulatedApplication, Verb
from flask_zeus_cvs.simulator.notices import Call
from flask_zeus_cvs.simulator.search import Page, Query, Totals, tally, wrong_days
from flask_zeus_cvs.simulator.wording import BUTTONS, BY, DONE, PARAMETERS
from flask_zeus_cvs.simulator.works import Works

NO_DAY = "日付を YYYY-MM-DD の形で入力してください。"
BACKWARDS = "終わりの日を、始まりの日以降にしてください。"
FORGOTTEN = "検索の言葉は、もう残っていません。もう一度検索してください。"
NO_TEST_ID = "半角数字で、8桁まで入力してください。"
TAKEN_TEST_ID = "このテストIDは、もう発行されています。"

_BLANK: Mapping[str, str] = MappingProxyType({})


def make_screen(works: Works) -> Blueprint:
    pages = Blueprint("screen", __name__)
    _add_list(pages, works)
    _add_detail(pages, works)
    _add_test_ids(pages, works)
    return pages


def _add_list(pages: Blueprint, works: Works) -> None:
    def shown(query: Query, *, number: int = 1, typed: Mapping[str, str] = _BLANK, **more: Any) -> str:
        applications = works.ledger.applications
        found = query.find(applications)[::-1]
        return render_template(
            "screen.html",
            query=query,
            address={**query.address(), "words": request.args.get("words")},
            typed={"since": query.since or "", "until": query.until or "", **typed},
            page=Page.of(found, number),
            totals=Totals.of(found),
            tally=tally(applications),
            total=len(applications),
            info=INFO,
            calls_for=works.sender.calls_for,
            **more,
        )

    def asked() -> tuple[Query, str]:
        """Read the address; the second is what to say of words that are forgotten."""
        words = works.words.find(request.args.get("words"))
        return Query.read(request.args, words or ""), FORGOTTEN if words is None else ""

    @pages.get("/screen")
    def index() -> str:
        query, notice = asked()
        return shown(query, number=request.args.get("page", 1, type=int), notice=notice)

    @pages.post("/screen")
    def search() -> Any:
        words = request.form.get("words", "").strip()
        query = Query.read(request.form, words)
        problems = dict.fromkeys(wrong_days(request.form), NO_DAY)
        if query.since and query.until and query.since > query.until:
            problems["until"] = BACKWARDS
        if problems:
            return shown(query, typed=request.form, problems=problems), 422
        where = url_for("screen.index", **query.address(), words=works.words.keep(words))
        return redirect(where, HTTPStatus.SEE_OTHER)

    @pages.get("/screen.csv")
    def download() -> Response:
        encoding = request.args.get("encoding", "")
        encoding = encoding if encoding in spreadsheet.ENCODINGS else "cp932"
        body = spreadsheet.write(asked()[0].find(works.ledger.applications), encoding)
        charset = "Shift_JIS" if encoding == "cp932" else encoding
        name = f"zeus-sandbox-{works.clock.now():%Y%m%d-%H%M%S}.csv"
        return Response(
            body,
            content_type=f"text/csv; charset={charset}",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @pages.get("/screen/csv")
    def csv_format() -> str:
        return render_template("csv.html", columns=spreadsheet.COLUMNS)


@dataclass(frozen=True)
class Told:
    """A call as people read it: its parameters with their names, and what the shop said."""

    call: Call
    parameters: list[tuple[str, str, str]]
    said: str

    @classmethod
    def of(cls, call: Call) -> Told:
        pairs = [(name, PARAMETERS.get(name, ""), value or "") for name, value in decode_form(call.query)]
        return cls(call, pairs, plain_text(call.said))


def _add_detail(pages: Blueprint, works: Works) -> None:
    @pages.get("/applications/<order_no>")
    def detail(order_no: str) -> str:
        application = works.ledger.get(order_no)
        done = request.args.get("done", "")
        return render_template(
            "application.html",
            application=application,
            told=[Told.of(call) for call in works.sender.calls_for(order_no)],
            waiting=works.sender.waiting(order_no),
            mails=[mail for mail in works.mailbox.mails if mail.order_no == order_no],
            by=BY,
            buttons={verb: words for verb, words in BUTTONS.items() if verb is not Verb.RESEND},
            resendable=_resendable(application),
            done=DONE.get(Verb(done), "") if done in list(Verb) else "",
            info=INFO,
        )

    @pages.post(f"/applications/<order_no>/<any({', '.join(BUTTONS)}):verb>")
    def do(order_no: str, verb: str) -> BaseResponse:
        status = request.form.get("status", "")
        if verb == Verb.RESEND and status in list(Status):
            application = works.ledger.resend(order_no, Status(status))
        else:
            application = works.ledger.apply(Verb(verb), order_no)
        where = url_for("screen.detail", order_no=application.order_no, done=verb)
        return redirect(where, HTTPStatus.SEE_OTHER)


def _resendable(application: SimulatedApplication) -> list[Status]:
    """Each status that the shop was told, once, in the order in which it was."""
    return list(dict.fromkeys(application.notices))


def _add_test_ids(pages: Blueprint, works: Works) -> None:
    def shown(**more: Any) -> str:
        applications = works.ledger.applications
        return render_template("test_ids.html", tests=sum(each.test for each in applications), **more)

    @pages.get("/screen/test-ids")
    def test_ids() -> str:
        return shown()

    @pages.post("/screen/test-ids")
    def issue() -> Any:
        testid = request.form.get("testid", "").strip() or f"{secrets.randbelow(10**8):08d}"
        problem = _test_id_problem(testid, works.contract.testids)
        if problem:
            return shown(problem=problem, typed=testid), 422
        works.contract.change({"testids": [*works.contract.testids, testid]})
        return redirect(url_for("screen.test_ids", issued=testid), HTTPStatus.SEE_OTHER)

    @pages.post("/screen/test-ids/<testid>/withdraw")
    def withdraw(testid: str) -> BaseResponse:
        works.contract.change({"testids": [each for each in works.contract.testids if each != testid]})
        return redirect(url_for("screen.test_ids", withdrawn=1), HTTPStatus.SEE_OTHER)


def _test_id_problem(testid: str, issued: tuple[str, ...]) -> str:
    try:
        check("testid", testid)
    except InvalidField:
        return NO_TEST_ID
    return TAKEN_TEST_ID if testid in issued else ""
