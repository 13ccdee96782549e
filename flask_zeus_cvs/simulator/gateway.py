"""ZEUS's ``cvs.cgi``: what it checks, what it answers, and answers that a test has scripted.

What it accepts and says is the manual's, not our own client's. Where the manual is silent: a parameter
error is the text ``Invalid <parameter>``; a test with another merchant's test id is 800000; while the service is
stopped everything is 800001.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypedDict, Unpack

from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.protocol.codes import ERROR_CODES
from flask_zeus_cvs.protocol.fields import REQUEST
from flask_zeus_cvs.protocol.messages import CONTENT_TYPE, Answer, ApplicationRequest, Outcome
from flask_zeus_cvs.protocol.wire import decode_form
from flask_zeus_cvs.simulator.contract import Contract
from flask_zeus_cvs.simulator.ledger import Ledger, SimulatedApplication
from flask_zeus_cvs.simulator.script import Script
from flask_zeus_cvs.simulator.server import CUT_BEFORE, CUT_MIDDLE

#: The error codes of what happens behind ZEUS: such an application is in the books as 申込エラー.
BEHIND_ZEUS = frozenset({"0011", "0008", "0013"})

SETTING_WRONG, SERVICE_STOPPED, STORE_NOT_DESIGNATED = "800000", "800001", "800002"

#: Seconds that an answer may be late by.
MAX_DELAY = 3600

_HTML = (
    "<!DOCTYPE html>\n<html><head><title>503 Service Unavailable</title></head>"
    "<body><h1>Service Unavailable</h1><p>Please try again later.</p></body></html>\n"
)


class Fault(StrEnum):
    """What becomes of an answer."""

    LOST = "lost"  # the connection is cut before a byte of the answer
    CUT = "cut"  # ... in the middle of the answer
    NEVER = "never"  # the connection stays, and nothing comes
    EMPTY = "empty"
    HTML = "html"  # a page from something in between
    MAINTENANCE = "maintenance"  # that word, as plain text: nothing was processed


#: Whether a slip comes into being although the shop does not get a whole answer.
REGISTERED: Mapping[Fault, bool] = MappingProxyType(
    {
        Fault.LOST: True,
        Fault.CUT: True,
        Fault.NEVER: True,
        Fault.EMPTY: False,
        Fault.HTML: False,
        Fault.MAINTENANCE: False,
    }
)

_BODIES: Mapping[Fault, tuple[bytes | None, str]] = MappingProxyType(
    {
        Fault.EMPTY: (b"", "text/plain"),
        Fault.HTML: (_HTML.encode("ascii"), "text/html"),
        Fault.MAINTENANCE: (b"maintenance", "text/plain"),
    }
)
_NO_BODY: tuple[bytes | None, str] = (None, "text/plain")
_CUTS: Mapping[Fault, str] = MappingProxyType(
    {Fault.LOST: CUT_BEFORE, Fault.CUT: CUT_MIDDLE, Fault.NEVER: CUT_BEFORE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one POST will be answered. The default is: as the manual says, at once.

    `crlf`, `spaced` and `shuffled` (lines in another order) only change how a whole answer is written.
    """

    fault: Fault | None = None
    delay: float = 0.0
    error_code: str = ""
    parameter: str = ""
    body: bytes | None = None
    status: int = 200
    registered: bool = True
    notice_first: bool = False
    crlf: bool = False
    spaced: bool = False
    shuffled: bool = False


class How(TypedDict, total=False):
    """What `plan` takes besides a fault; see `Simulator.answer_next`."""

    delay: float
    error_code: str
    parameter: str
    body: bytes | None
    status: int
    registered: bool | None
    notice_first: bool
    crlf: bool
    spaced: bool
    shuffled: bool


def plan(fault: str = "", **how: Unpack[How]) -> Plan:
    """Make a `Plan`; a mistake is a `ValueError` that says what there is."""
    error_code, parameter, body = how.get("error_code"), how.get("parameter"), how.get("body")
    if sum(map(bool, (fault, error_code, parameter, body is not None))) > 1:
        raise ValueError("give one of fault, error_code, parameter and body: an answer is one thing")
    if fault and fault not in list(Fault):
        raise ValueError(f"there is no fault {fault!r}: take one of {', '.join(Fault)}")
    if error_code and error_code not in ERROR_CODES:
        raise ValueError(f"there is no error code {error_code!r}: take one of {', '.join(ERROR_CODES)}")
    if parameter and parameter not in REQUEST:
        raise ValueError(f"there is no parameter {parameter!r}: take one of {', '.join(REQUEST)}")
    delay = how.get("delay", 0.0)
    if not 0 <= delay <= MAX_DELAY:
        raise ValueError(f"the delay is {delay}: give 0 to {MAX_DELAY} seconds")
    kind = Fault(fault) if fault else None
    registered = how.get("registered")
    if registered is None:
        registered = REGISTERED[kind] if kind else not (error_code or parameter or body is not None)
    if registered and (error_code or parameter):
        raise ValueError("an application with an error is not registered: leave registered out")
    return Plan(fault=kind, **{**how, "registered": registered})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Reply:
    """What leaves as the answer, and how; the notices of `order_no` wait until it has left."""

    body: bytes
    content_type: str
    order_no: str
    plan: Plan
    note: str

    @property
    def cut(self) -> str | None:
        return _CUTS.get(self.plan.fault) if self.plan.fault else None


class Gateway:
    """Reads a POST, enters it in the books and says what to answer; the caller sends that and keeps the time."""

    def __init__(
        self, contract: Contract, ledger: Ledger, script: Script[Plan], chance: random.Random
    ) -> None:
        self._contract = contract
        self._ledger = ledger
        self._script = script
        self._chance = chance

    def receive(self, content_type: str, body: bytes, pay_url: Callable[[str], str]) -> Reply:
        """Answer one POST. `pay_url` makes the address of a 7-Eleven slip from its order_no."""
        plan = self._script.take() or Plan()
        verdict = self._check(body if content_type == CONTENT_TYPE else b"")
        application = None if isinstance(verdict, Answer) else self._enter(verdict, plan, pay_url)
        answer = _scripted(plan) or (verdict if isinstance(verdict, Answer) else _accepted(application))
        raw, kind = _BODIES.get(plan.fault, _NO_BODY) if plan.fault else _NO_BODY
        if plan.body is not None:
            raw = plan.body
        return Reply(
            body=self._written(answer, plan) if raw is None else raw,
            content_type=kind,
            order_no=application.order_no if application else "",
            plan=plan,
            note=_note(plan, answer),
        )

    def _written(self, answer: Answer, plan: Plan) -> bytes:
        body = answer.encode(spaced=plan.spaced, crlf=plan.crlf)
        if not plan.shuffled:
            return body
        lines = body.splitlines(keepends=True)
        self._chance.shuffle(lines)
        return b"".join(lines)

    def _check(self, form: bytes) -> ApplicationRequest | Answer:
        """Return the request, or the answer that refuses it."""
        try:
            request = ApplicationRequest.parse(form)
        except InvalidField as error:
            return self._unreadable(form, error.field)
        if request.clientip != self._contract.clientip or self._contract.stopped:
            return _failure(SERVICE_STOPPED)
        if request.pay_cvs not in self._contract.stores:
            return _failure(STORE_NOT_DESIGNATED)
        if request.test and request.testid not in self._contract.testids:
            return _failure(SETTING_WRONG)
        return request

    def _unreadable(self, form: bytes, parameter: str) -> Answer:
        """Name the parameter; but a well-formed store code that is no store's is a store not designated."""
        given = dict(decode_form(form))
        if parameter == "pay_cvs" and re.fullmatch("[0-9A-Za-z]{4}", given.get("pay_cvs") or ""):
            known = given["clientip"] == self._contract.clientip and not self._contract.stopped
            return _failure(STORE_NOT_DESIGNATED if known else SERVICE_STOPPED)
        return _refusal(parameter)

    def _enter(
        self, request: ApplicationRequest, plan: Plan, pay_url: Callable[[str], str]
    ) -> SimulatedApplication | None:
        if plan.registered:
            days = request.span or self._contract.pay_within_days
            return self._ledger.register(request, days, pay_url)
        if plan.error_code in BEHIND_ZEUS:
            return self._ledger.register_failed(request, plan.error_code)
        return None


def _scripted(plan: Plan) -> Answer | None:
    if plan.parameter:
        return _refusal(plan.parameter)
    return _failure(plan.error_code) if plan.error_code else None


def _refusal(parameter: str) -> Answer:
    return Answer(Outcome.declined, parameter=parameter)


def _failure(error_code: str) -> Answer:
    return Answer(Outcome.declined, error_code=error_code)


def _accepted(application: SimulatedApplication | None) -> Answer:
    if application is None:
        return Answer(Outcome.unknown)
    return Answer(
        Outcome.accepted,
        order_no=application.order_no,
        pay_no1=application.pay_no1,
        pay_no2=application.pay_no2,
        pay_limit=application.pay_limit,
        pay_url=application.pay_url,
    )


def _note(plan: Plan, answer: Answer) -> str:
    said = (
        f"Invalid {answer.parameter}" if answer.parameter else f"{answer.outcome} {answer.error_code}".strip()
    )
    return f"{said}, scripted: {plan.fault or 'body'}" if plan.fault or plan.body is not None else said
