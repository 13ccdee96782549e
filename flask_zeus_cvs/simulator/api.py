"""The JSON API: everything that the sandbox can do, for programs in any language.

`ROUTES` is its one table: the addresses, the page at /api and openapi.json are all made from its rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, Conflict, NotFound

from flask_zeus_cvs.exceptions import UnknownApplication, VerbRefused
from flask_zeus_cvs.protocol.codes import ERROR_CODES, STORES, Status, Store
from flask_zeus_cvs.protocol.fields import NOTICE, REQUEST
from flask_zeus_cvs.protocol.wire import SHIFT_JIS, decode_form
from flask_zeus_cvs.simulator import gateway, notices, paper
from flask_zeus_cvs.simulator.clock import duration
from flask_zeus_cvs.simulator.contract import ON_REQUEST, MailKind, Method
from flask_zeus_cvs.simulator.counter import Entry
from flask_zeus_cvs.simulator.ledger import INFO, SimulatedApplication, Standing, Verb
from flask_zeus_cvs.simulator.mails import MAILS, Mail
from flask_zeus_cvs.simulator.notices import Call
from flask_zeus_cvs.simulator.routes import Field, Route, whatever_is_given
from flask_zeus_cvs.simulator.script import MAX_TIMES, Script
from flask_zeus_cvs.simulator.search import plain
from flask_zeus_cvs.simulator.values import (
    as_flag,
    as_moment,
    as_number,
    as_one_of,
    as_some_of,
    as_text,
    as_whole,
)
from flask_zeus_cvs.simulator.works import Works

PREFIX = "/api"
#: How many are listed at once: unless told otherwise, and at most.
LIMIT, MAX_LIMIT = 100, 1000
#: Seconds that `settle` waits: unless told otherwise, and at most.
PATIENCE, MAX_PATIENCE = 10.0, 600.0

Json = dict[str, Any]


def make_api(works: Works) -> Blueprint:
    api = Blueprint("api", __name__)
    for number, route in enumerate(ROUTES):
        api.add_url_rule(route.rule, f"route{number}", partial(_answer, works, route), methods=[route.method])
    for kind, handler in _HANDLERS.items():
        api.register_error_handler(kind, partial(handler, works))
    return api


def _answer(works: Works, route: Route, **path: str) -> Any:
    answer = route.act(works, **path, **route.given(whatever_is_given()))
    return _json(answer) if isinstance(answer, dict) else answer


def _json(value: Json, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Write JSON in UTF-8, in the order in which it was put together, with a line end for terminals."""
    return Response(json.dumps(value, ensure_ascii=False) + "\n", status, content_type="application/json")


# --- applications ----------------------------------------------------------------------------------


def _list_applications(
    works: Works,
    *,
    status: Sequence[Standing] = (),
    store: Sequence[Store] = (),
    sendid: str = "",
    test: bool | None = None,
    since: datetime | None = None,
    newest: bool = False,
    **paging: int,
) -> Json:
    found = [
        each
        for each in works.ledger.applications
        if (not status or each.status in status)
        and (not store or each.store in store)
        and (not sendid or each.sendid == sendid)
        and (test is None or each.test is test)
        and (since is None or each.applied_at >= since)
    ]
    if newest:
        found.reverse()
    return _page("applications", found, partial(_application, works), **paging)


def _one_application(works: Works, order_no: str) -> Json:
    return _application(works, works.ledger.get(order_no))


def _do(works: Works, order_no: str, *, verb: Verb) -> Json:
    return _application(works, works.ledger.apply(verb, order_no))


def _resend(works: Works, order_no: str, *, status: Status | None = None) -> Json:
    return _application(works, works.ledger.resend(order_no, status))


def _application(works: Works, application: SimulatedApplication) -> Json:
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
        "applied_at": application.applied_at.isoformat(),
        "deadline": application.deadline.isoformat() if application.deadline else None,
        "replaced_by": application.replaced_by,
        "replaces": application.replaces,
        "verbs": works.ledger.possible(application),
        "notices": list(application.notices),
        "history": [
            {"at": step.at.isoformat(), "status": step.status, "by": step.by} for step in application.history
        ],
        "calls": [_call(call) for call in works.sender.calls_for(application.order_no)],
    }


def _page(
    name: str, found: Sequence[Any], told: Callable[[Any], Json], *, offset: int = 0, limit: int = LIMIT
) -> Json:
    """Tell a part of a list; `next` is the offset of what follows, if anything does."""
    end = offset + limit
    return {
        "total": len(found),
        "next": end if end < len(found) else None,
        name: [told(each) for each in found[offset:end]],
    }


# --- the counter ---------------------------------------------------------------------------------------


def _read_slip(works: Works, **entered: Any) -> Json:
    return _application(works, _found(works, Entry(**entered)))


def _at_counter(works: Works, *, verb: Verb, **entered: Any) -> Json:
    """What a till does: it knows the numbers that it was shown, and no test's."""
    slip = _found(works, Entry(**entered))
    if slip.test:
        raise VerbRefused(verb, slip.order_no, "a test's numbers work in no store; it runs by itself")
    return _application(works, works.ledger.apply(verb, slip.order_no))


def _found(works: Works, entry: Entry) -> SimulatedApplication:
    slip = works.ledger.find_slip(entry.store, entry.pay_no1, entry.pay_no2)
    if slip is None or not entry.fits(slip):
        raise NotFound("this store finds no slip of these numbers")
    return slip


# --- the contract ------------------------------------------------------------------------------------


def _contract(works: Works) -> Json:
    return works.contract.as_json()


def _change_contract(works: Works, **values: object) -> Json:
    works.contract.change(values)
    return works.contract.as_json()


# --- faults ------------------------------------------------------------------------------------------


def _faults(works: Works) -> Json:
    return {kind: _script(script) for kind, script in works.scripts.items()}


def _fault_answers(works: Works, *, fault: str = "", **given: Any) -> Json:
    when, how = _when(given), {name: value for name, value in given.items() if name not in _WHEN}
    if not (fault or how):
        raise ValueError("nothing would happen: give a fault, or something else that is to be different")
    return _script_it(works.answers, gateway.plan(fault, **how), **when)


def _fault_notices(works: Works, *, trouble: str, seconds: float = 1.0, **when: Any) -> Json:
    return _script_it(works.troubles, notices.plan(trouble, seconds=seconds), **_when(when))


_WHEN = ("times", "share", "on")


def _when(given: Json) -> Json:
    """Pick for how many it is: the next `times`, or a `share` of all until it is switched off (`on`: of 1)."""
    when = {name: given[name] for name in _WHEN if name in given}
    if len(when) > 1:
        raise ValueError("give one of times, share and on: the next few, or until it is switched off")
    if when.pop("on", None) is False:
        raise ValueError("on: leave it out for the next one, and use DELETE to switch something off")
    return when or ({"share": 1.0} if "on" in given else {"times": 1})


def _script_it(script: Script[Any], plan: Any, *, times: int = 1, share: float | None = None) -> Json:
    """Set `plan` down for the next few, or switch it on: `switch` is then the number to switch it off by."""
    switch = None
    if share is None:
        script.add(plan, times)
    else:
        switch = script.switch_on(plan, share).number
    return {"switch": switch, **_script(script)}


def _as_body(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError("give a text")
    try:
        return value.encode(SHIFT_JIS)
    except UnicodeEncodeError:
        raise ValueError("it has a character that Shift_JIS does not have: leave it out") from None


def _script(script: Script[Any]) -> Json:
    return {
        "next": [_plan(plan) for plan in script.pending],
        "switched_on": [
            {"number": each.number, "share": each.share, **_plan(each.plan)} for each in script.switches
        ],
    }


def _plan(plan: gateway.Plan | notices.Plan) -> Json:
    """Spell what differs from an ordinary answer or notice."""
    told = {each.name: getattr(plan, each.name) for each in fields(plan)}
    unusual = {each.name: told[each.name] for each in fields(plan) if told[each.name] != each.default}
    return {
        name: value.decode(SHIFT_JIS, "replace") if isinstance(value, bytes) else value
        for name, value in unusual.items()
    }


def _no_faults(works: Works) -> Json:
    works.faults_off()
    return _faults(works)


def _no_faults_of(works: Works, kind: str) -> Json:
    _script_of(works, kind).clear()
    return _faults(works)


def _switch_off(works: Works, kind: str, number: str) -> Json:
    if not (number.isdecimal() and _script_of(works, kind).off(int(number))):
        raise NotFound(f"no switch of {kind} has the number {number}")
    return _faults(works)


def _script_of(works: Works, kind: str) -> Script[Any]:
    scripts = works.scripts
    if kind not in scripts:
        raise NotFound(f"there are no faults of {kind!r}, only of {' and '.join(scripts)}")
    return scripts[kind]


# --- calls and mails ---------------------------------------------------------------------------------


def _list_calls(
    works: Works,
    *,
    order_no: str = "",
    status: Sequence[Status] = (),
    delivered: bool | None = None,
    **paging: int,
) -> Json:
    calls = works.sender.calls_for(order_no) if order_no else works.sender.calls
    found = [
        each
        for each in calls
        if (not status or each.status in status) and (delivered is None or each.delivered is delivered)
    ]
    return _page("calls", found, _call, **paging)


def _call(call: Call) -> Json:
    return {
        "order_no": call.order_no,
        "status": call.status,
        "answer": call.answer,
        "failure": call.failure,
        "delivered": call.delivered,
        "attempt": call.attempt,
        "at": call.at.isoformat() if call.at else None,
        "seconds": round(call.seconds, 3),
        "method": call.method,
        "query": call.query.decode("ascii"),
        "parameters": dict(decode_form(call.query)),
        "said": call.said.decode("utf-8", "replace"),
    }


def _list_mails(works: Works, *, kind: Sequence[MailKind] = (), order_no: str = "", **paging: int) -> Json:
    found = [
        each
        for each in works.mailbox.mails
        if (not kind or each.kind in kind) and (not order_no or each.order_no == order_no)
    ]
    return _page("mails", found, _mail, **paging)


def _one_mail(works: Works, number: str) -> Json:
    found = next((each for each in works.mailbox.mails if str(each.number) == number), None)
    if found is None:
        raise NotFound(f"no mail has the number {number}")
    return _mail(found)


def _mail(mail: Mail) -> Json:
    return {
        "number": mail.number,
        "kind": mail.kind,
        "name": MAILS[mail.kind].name,
        "to": mail.to,
        "at": mail.at.isoformat(),
        "order_no": mail.order_no,
        "subject": mail.subject,
        "text": mail.text,
    }


# --- time, and beginning anew ------------------------------------------------------------------------


def _clock(works: Works) -> Json:
    return {"now": works.clock.now().isoformat(), "moved_seconds": works.clock.moved.total_seconds()}


def _move_clock(works: Works, *, forward: str = "", to: str = "", order_no: str = "") -> Json:
    if bool(forward) == bool(to):
        raise ValueError("give one of forward and to")
    if bool(order_no) != (to == "deadline"):
        raise ValueError('order_no: give it with {"to": "deadline"}, and only then')
    if forward:
        works.clock.forward(duration(forward))
    else:
        works.clock.forward_to(_destination(works, to, order_no))
    return _clock(works)


def _destination(works: Works, to: str, order_no: str) -> datetime:
    if to == "next day":
        return works.clock.next_midnight()
    if to != "deadline":
        return as_moment(to)
    deadline = works.ledger.get(order_no).deadline
    if deadline is None:
        raise ValueError(f"{order_no} has no deadline: the application failed")
    return deadline


def _settle(works: Works, *, timeout: float = PATIENCE) -> Json:
    works.clock.run_due()
    if not works.sender.settle(timeout):
        raise Conflict(f"the shop has not answered every notice within {timeout:g} seconds")
    return {"settled": True, "calls": len(works.sender.calls)}


def _reset(works: Works) -> Json:
    works.reset()
    return _clock(works)


# --- errors ------------------------------------------------------------------------------------------

#: Every error that the API answers with, and when.
ERRORS: Mapping[str, tuple[HTTPStatus, str]] = {
    "method_not_allowed": (HTTPStatus.METHOD_NOT_ALLOWED, "the address is right, the method is not"),
    "unreadable": (
        HTTPStatus.BAD_REQUEST,
        "the body cannot be read, or has a name that the address does not take",
    ),
    "forbidden": (HTTPStatus.FORBIDDEN, "the page of another site has sent it, or it is for another host"),
    "unknown_application": (HTTPStatus.NOT_FOUND, "no application has this order_no"),
    "not_found": (HTTPStatus.NOT_FOUND, "there is no such address, mail or switch"),
    "refused": (HTTPStatus.CONFLICT, "this cannot happen to the application now"),
    "not_settled": (HTTPStatus.CONFLICT, "the shop has not answered every notice in time"),
    "invalid": (HTTPStatus.UNPROCESSABLE_ENTITY, "a value is wrong, or values do not go together"),
}


def error(name: str, message: str, cure: str, **more: str) -> Response:
    """Answer with an error; `cure` says what helps."""
    status = ERRORS[name][0]
    return _json({"error": name, "status": status, "message": message, "cure": cure, **more}, status)


def _unknown(_works: Works, raised: UnknownApplication) -> Response:
    message = f"no application has the order_no {raised.order_no!r}"
    return error("unknown_application", message, f"GET {PREFIX}/applications lists those there are")


def _refused(works: Works, raised: VerbRefused) -> Response:
    possible = works.ledger.possible(works.ledger.get(raised.order_no))
    cure = f"possible now: {', '.join(possible)}" if possible else "nothing more can happen to it"
    return error("refused", str(raised), cure, verb=raised.verb)


def _see() -> str:
    method = "GET" if request.method == "HEAD" else request.method
    route = next(each for each in ROUTES if (each.method, each.rule) == (method, str(request.url_rule)))
    return f"GET {PREFIX}#{route.anchor} has what it takes, with an example"


_HANDLERS: Mapping[type[Exception], Callable[[Works, Any], Response]] = {
    UnknownApplication: _unknown,
    VerbRefused: _refused,
    BadRequest: lambda _works, raised: error("unreadable", raised.description, _see()),
    NotFound: lambda _works, raised: error(
        "not_found", raised.description, f"GET {PREFIX} shows what there is"
    ),
    Conflict: lambda _works, raised: error(
        "not_settled", raised.description, f"{_see()}; or see {PREFIX}/calls"
    ),
    ValueError: lambda _works, raised: error("invalid", str(raised), _see()),
}


# --- the table ---------------------------------------------------------------------------------------


def _choice(name: str, says: str, choices: Iterable[str], **more: Any) -> Field:
    return Field(name, says, choices=tuple(choices), **more)


def _some(name: str, says: str, choices: Iterable[Any]) -> Field:
    known = tuple(choices)
    return Field(name, says, lambda value: as_some_of(value, known), "array", tuple(map(str, known)))


def _flag(name: str, says: str) -> Field:
    return Field(name, says, as_flag, "boolean")


def _whole(name: str, says: str, least: int, most: int) -> Field:
    return Field(name, says, lambda value: as_whole(value, least, most), "integer")


def _number(name: str, says: str, least: float, most: float) -> Field:
    return Field(name, says, lambda value: as_number(value, least, most), "number")


def _as_share(value: object) -> float:
    share = as_number(value, 0, 1)
    if not share:
        raise ValueError("give a number above 0, up to 1")
    return share


def _as_store(value: object) -> Store:
    return as_one_of(Store, as_text(value))


def _as_status(value: object) -> Status:
    [status] = as_some_of([value], tuple(Status))
    return Status(status)


_ORDER_NO = Field("order_no", "only those of one application")
_PAGING = (
    _whole("limit", f"how many at most: 1 to {MAX_LIMIT}, else {LIMIT}", 1, MAX_LIMIT),
    _whole("offset", "how many to leave out first: the next of the answer before", 0, 10**9),
)


def _text(name: str, says: str, *, required: bool = False) -> Field:
    return Field(name, says, required=required)


def _as_digits(value: object) -> str:
    return plain("".join(as_text(value).split()))


_ENTERED = (
    _choice("store", "where the customer is", Store, read=_as_store, required=True),
    Field("pay_no1", "the first number, as the store calls it", _as_digits, required=True),
    Field("pay_no2", "the second, where the store has one", _as_digits),
    Field("telno", "the customer's telephone number: Seicomart's terminal asks for it", _as_digits),
)
_ENTERED_EXAMPLE = "store={store}&pay_no1={pay_no1}&pay_no2={pay_no2}&telno={telno}"
_FOR_HOW_MANY = (
    _whole("times", "for the next so many; without it, share and on: for the next one", 1, MAX_TIMES),
    Field("share", "for a share of all, above 0 and up to 1, until it is switched off", _as_share, "number"),
    _flag("on", "true: for all, until it is switched off"),
)
_FAULTS = (
    _choice("fault", "what becomes of the answer", gateway.Fault),
    _choice("error_code", "failure_order with this code", ERROR_CODES),
    _choice("parameter", "a text that names this parameter", REQUEST),
    Field("body", "this text as the whole answer", _as_body),
    _number("delay", "seconds by which the answer is late", 0, gateway.MAX_DELAY),
    _whole("status", "the HTTP status of the answer", 200, 599),
    _flag("registered", "whether a slip exists, where fault or body leave that open"),
    _flag("notice_first", "true: the notice comes before the answer"),
    _flag("crlf", "true: lines end with CRLF"),
    _flag("spaced", "true: spaces round ="),
    _flag("shuffled", "true: lines in another order"),
    *_FOR_HOW_MANY,
)
_TROUBLES = (
    _choice("trouble", "what becomes of the notice", notices.Trouble, required=True),
    _number("seconds", "by how many seconds of real time delay makes it late, else 1", 0, 3600),
    *_FOR_HOW_MANY,
)


def _any(value: object) -> object:
    """Leave the reading to the contract."""
    return value


def _term(name: str, says: str, kind: str = "string", choices: Iterable[Any] = ()) -> Field:
    return Field(name, says, _any, kind, tuple(map(str, choices)))


_TERMS = (
    _term("clientip", "the shop's IP code"),
    _term("testids", "its test ids", "array"),
    _term("stores", "the stores that are designated for it", "array", Store),
    _term("pay_within_days", "days until the deadline, 2 to 59", "integer"),
    _term("on_request", "the statuses that it asked to be told besides the others", "array", ON_REQUEST),
    _term("notify", "where it takes notices; blank: none are sent"),
    _term("parameters", "what a notice says, in this order", "array", NOTICE),
    _term("method", "how notices are sent", choices=Method),
    _term("agent", "the sender's agent name, for plain http on port 80 only"),
    _term("sent_from", "the address of this machine that notices come from, as 127.0.0.2"),
    _term("retries", "how often a notice that timed out is sent again, 0 to 10", "integer"),
    _term("retry_minutes", "how much later, by the sandbox's clock", "number"),
    _term(
        "confirm_after_days", "days from 04 to 05 for each store, as D001=2 D002=3; others by hand", "object"
    ),
    _term("test_outcome_minutes", "minutes from the 04 of a test to its 05 or 06, up to 30", "number"),
    _term("stopped", "true: the service is stopped (番組停止)", "boolean"),
    _term("mail_to", "where the shop's mails go"),
    _term(
        "mails_off",
        "mails that are not sent",
        "array",
        (k for k in MailKind if k is not MailKind.CALL_FAILED),
    ),
    _term("customer_message", "what the shop adds to the customer's mail"),
)

_APPLICATION = f"{PREFIX}/applications/{{order_no}}"


def _verb(verb: Verb, title: str, japanese: str) -> Route:
    return Route("POST", f"{_APPLICATION}/{verb}", partial(_do, verb=verb), title, japanese, needs=verb)


#: In the order in which the page shows them.
ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{PREFIX}/applications",
        _list_applications,
        "List applications, the oldest first",
        "申込の一覧",
        (
            _some("status", "only those in one of these statuses", INFO),
            _some("store", "only those at one of these stores", Store),
            _text("sendid", "only those with this sendid"),
            _flag("test", "true: only tests; false: none"),
            Field("since", "only those that came then or later: a day, or a time with its zone", as_moment),
            _flag("newest", "true: the newest first"),
            *_PAGING,
        ),
        "status=01,04&newest=true&limit=10",
    ),
    Route("GET", _APPLICATION, _one_application, "One application, with all that happened", "申込の詳細"),
    _verb(Verb.PAY, "The customer pays: 04, for the old slip of a re-issue 11", "入金"),
    _verb(Verb.CONFIRM, "The chain confirms the sale: 05, after a cancel 12", "売上確定"),
    _verb(Verb.CANCEL, "The clerk takes the payment back: 06, after a cancel 13", "入金取消"),
    _verb(Verb.EXPIRE, "The deadline passes: 03", "期日切"),
    _verb(
        Verb.REISSUE,
        "Issue a new slip; answers the new application, the old one is cancelled silently",
        "再発行",
    ),
    Route(
        "POST",
        f"{_APPLICATION}/{Verb.RESEND}",
        _resend,
        "Send its last notice again, or the one of a status that the shop was told",
        "通知の再送信",
        (Field("status", "which of them", _as_status, choices=tuple(Status)),),
        "status=01",
        Verb.RESEND,
    ),
    Route(
        "POST",
        f"{PREFIX}/counter",
        _read_slip,
        "Enter payment numbers at a store, as a customer does: the slip that its till reads",
        "店頭で番号を読む",
        _ENTERED,
        _ENTERED_EXAMPLE,
    ),
    Route(
        "POST",
        f"{PREFIX}/counter/pay",
        partial(_at_counter, verb=Verb.PAY),
        "Pay at the till, only at the chosen store and before the deadline",
        "店頭で支払う",
        _ENTERED,
        _ENTERED_EXAMPLE,
        Verb.PAY,
    ),
    Route(
        "POST",
        f"{PREFIX}/counter/cancel",
        partial(_at_counter, verb=Verb.CANCEL),
        "Have the clerk take the payment back",
        "店頭で取り消す",
        _ENTERED,
        _ENTERED_EXAMPLE,
        Verb.CANCEL,
    ),
    Route("GET", f"{PREFIX}/contract", _contract, "What shop and ZEUS have agreed", "契約内容"),
    Route(
        "PATCH",
        f"{PREFIX}/contract",
        _change_contract,
        "Change some of it; it counts for whatever happens afterwards",
        "契約内容の変更",
        _TERMS,
        '{"retries": 2, "parameters": ["order_no", "status", "money"], "confirm_after_days": {"D001": 1}}',
    ),
    Route("GET", f"{PREFIX}/faults", _faults, "What is scripted and switched on", "障害の設定"),
    Route(
        "POST",
        f"{PREFIX}/faults/answers",
        _fault_answers,
        "Have something happen to answers to applications",
        "申込への応答の障害",
        _FAULTS,
        "fault=lost&times=2",
    ),
    Route(
        "POST",
        f"{PREFIX}/faults/notices",
        _fault_notices,
        "Have something happen to notices",
        "通知の障害",
        _TROUBLES,
        "trouble=repeat&share=0.5",
    ),
    Route(
        "DELETE",
        f"{PREFIX}/faults/{{kind}}/{{number}}",
        _switch_off,
        "Switch one off: kind is answers or notices",
        "障害を一つ止める",
    ),
    Route(
        "DELETE",
        f"{PREFIX}/faults/{{kind}}",
        _no_faults_of,
        "Forget those of a kind, scripted and switched on",
        "種類ごとに障害を止める",
    ),
    Route("DELETE", f"{PREFIX}/faults", _no_faults, "Forget all of them", "障害をすべて止める"),
    Route(
        "GET",
        f"{PREFIX}/calls",
        _list_calls,
        "List the notices that were sent, each with what the shop answered",
        "通知と応答の一覧",
        (
            _ORDER_NO,
            _some("status", "only of these statuses", Status),
            _flag(
                "delivered", "false: only those that were not answered with 200; true: only those that were"
            ),
            *_PAGING,
        ),
        "order_no={order_no}",
    ),
    Route(
        "GET",
        f"{PREFIX}/mails",
        _list_mails,
        "List the mails",
        "メールの一覧",
        (_some("kind", "only of these kinds", MailKind), _ORDER_NO, *_PAGING),
        "kind=customer,payment_received&order_no={order_no}",
    ),
    Route("GET", f"{PREFIX}/mails/{{number}}", _one_mail, "One mail", "メール"),
    Route("GET", f"{PREFIX}/clock", _clock, "The sandbox's time", "時計"),
    Route(
        "POST",
        f"{PREFIX}/clock",
        _move_clock,
        "Move the clock forward; what falls due on the way happens, in order",
        "時計を進める",
        (
            _text("forward", "a step, as +1 hour, 30 minutes, 2 weeks"),
            _text("to", "next day, deadline, or a time with its zone, as 2026-12-01T09:00:00+09:00"),
            _text("order_no", "with deadline: whose"),
        ),
        '{"forward": "+1 hour"}',
    ),
    Route(
        "POST",
        f"{PREFIX}/settle",
        _settle,
        "Wait until the shop has answered every notice",
        "通知がすべて届くまで待つ",
        (_number("timeout", f"seconds, up to {MAX_PATIENCE:g}, else {PATIENCE:g}", 0, MAX_PATIENCE),),
        "timeout=10",
    ),
    Route(
        "POST",
        f"{PREFIX}/reset",
        _reset,
        "Forget everything, and bring the clock back and the contract to what it was at first",
        "すべて消して初めに戻す",
    ),
    Route(
        "GET",
        PREFIX,
        lambda works: paper.page(works, ROUTES, ERRORS),
        "This page",
        "このページ",
        returns="text/html",
    ),
    Route(
        "GET",
        f"{PREFIX}/openapi.json",
        lambda works: paper.openapi(works, ROUTES),
        "The same for programs, as OpenAPI 3.1",
        "OpenAPI",
    ),
)
