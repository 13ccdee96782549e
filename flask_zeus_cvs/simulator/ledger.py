"""ZEUS's books: every application, its status, and the one table of what can happen to it.

All of it is behind one lock; what is handed out is frozen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date as calendar_day
from datetime import datetime, time, timedelta, timezone
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from flask_zeus_cvs.exceptions import UnknownApplication, VerbRefused
from flask_zeus_cvs.protocol.codes import STATUSES, Call, Status, StatusInfo, Store, TestType
from flask_zeus_cvs.protocol.messages import ApplicationRequest
from flask_zeus_cvs.simulator.numbers import SHAPES, order_number

JST = timezone(timedelta(hours=9), "JST")

#: キャンセル: the application was re-issued. It has no code, and no notice ever says it.
CANCELLED = None

Standing = Status | None


class Verb(StrEnum):
    """What can be done to an application from outside: at the counter, by the chain, on ZEUS's screen."""

    PAY = "pay"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REISSUE = "reissue"
    RESEND = "resend"


#: What each verb makes of each status; a pair that is not here cannot happen. `resend` changes nothing.
STEPS: Mapping[tuple[Verb, Standing], Standing] = MappingProxyType(
    {
        (Verb.PAY, Status.AWAITING_PAYMENT): Status.PAYMENT_RECEIVED,
        (Verb.PAY, CANCELLED): Status.RECEIVED_AFTER_CANCEL,
        (Verb.CONFIRM, Status.PAYMENT_RECEIVED): Status.SALE_CONFIRMED,
        (Verb.CONFIRM, Status.RECEIVED_AFTER_CANCEL): Status.CONFIRMED_AFTER_CANCEL,
        (Verb.CANCEL, Status.PAYMENT_RECEIVED): Status.PAYMENT_CANCELLED,
        (Verb.CANCEL, Status.RECEIVED_AFTER_CANCEL): Status.CANCELLED_AFTER_CANCEL,
        (Verb.EXPIRE, Status.AWAITING_PAYMENT): Status.EXPIRED,
        (Verb.REISSUE, Status.AWAITING_PAYMENT): CANCELLED,
        (Verb.REISSUE, Status.EXPIRED): CANCELLED,
    }
)

#: A test application runs by itself: what happens to it after its 01.
TEST_RUNS: Mapping[str, tuple[Verb, ...]] = MappingProxyType(
    {
        TestType.NO_PAYMENT: (),
        TestType.SALE_CONFIRMED: (Verb.PAY, Verb.CONFIRM),
        TestType.PAYMENT_CANCELLED: (Verb.PAY, Verb.CANCEL),
    }
)

_INFO: Mapping[Standing, StatusInfo] = MappingProxyType(
    {row.status: row for row in STATUSES if row.status or row.name == "キャンセル"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedApplication:
    """One application as ZEUS has it, at one moment.

    `status` is None once it is キャンセル (re-issued as `replaced_by`): that has no code. `lapsed`: it went
    unpaid past its deadline. `notices` are the statuses that the shop was, or will be, told, in order.
    """

    order_no: str
    store: Store
    money: int
    sendid: str = ""
    sendpoint: str = field(default="", repr=False)
    username: str = field(default="", repr=False)
    telno: str = field(default="", repr=False)
    email: str = field(default="", repr=False)
    test: bool = False
    applied_at: datetime
    status: Standing = Status.AWAITING_PAYMENT
    pay_no1: str = ""
    pay_no2: str = ""
    pay_limit: calendar_day | None = None
    pay_url: str = field(default="", repr=False)
    error_code: str = ""
    lapsed: bool = False
    replaced_by: str = ""
    notices: tuple[Status, ...] = ()

    @property
    def info(self) -> StatusInfo:
        """The manual's row for its status: name, label, who is told."""
        return _INFO[self.status]

    @property
    def deadline(self) -> datetime | None:
        """The end of the day of `pay_limit` in Japan."""
        if self.pay_limit is None:
            return None
        return datetime.combine(self.pay_limit + timedelta(days=1), time(), JST)

    def allows(self, verb: Verb) -> bool:
        """Whether the status allows `verb`; the deadline is the ledger's to know."""
        return bool(self.notices) if verb is Verb.RESEND else (verb, self.status) in STEPS


class Listener(Protocol):
    """Hears of every status that the shop is told; called in order, under the ledger's lock: be quick.

    `held`: the shop's POST that caused it has no answer yet.
    """

    def __call__(self, application: SimulatedApplication, status: Status, *, held: bool) -> None: ...


class Ledger:
    """The applications in the order in which they came."""

    def __init__(self, clock: Callable[[], datetime], on_request: Callable[[], frozenset[Status]]) -> None:
        """Take the time from `clock` (aware), and from `on_request` which △ statuses the shop asked to hear."""
        self._clock = clock
        self._on_request = on_request
        self._lock = threading.RLock()
        self._applications: dict[str, SimulatedApplication] = {}
        self._slips: dict[tuple[Store, str, str], list[str]] = {}
        self.listeners: list[Listener] = []

    def now(self) -> datetime:
        return self._clock().astimezone(JST)

    @property
    def applications(self) -> list[SimulatedApplication]:
        with self._lock:
            return [self._lapse(each) for each in list(self._applications.values())]

    def get(self, order_no: str) -> SimulatedApplication:
        """Raise `UnknownApplication` if there is none."""
        with self._lock:
            if order_no not in self._applications:
                raise UnknownApplication(order_no)
            return self._lapse(self._applications[order_no])

    def find_slip(self, store: Store, pay_no1: str, pay_no2: str) -> SimulatedApplication | None:
        """Find what a till reads. Numbers are issued again over time: the latest application counts."""
        with self._lock:
            order_nos = self._slips.get((store, pay_no1, pay_no2))
            return self.get(order_nos[-1]) if order_nos else None

    def register(
        self, request: ApplicationRequest, days: int, pay_url: Callable[[str], str]
    ) -> SimulatedApplication:
        """Issue a slip payable for `days`; its notices are held. `pay_url` makes the address of its page."""
        with self._lock:
            application = self._issue(self._draft(request), days, pay_url)
            self._tell(application, Status.AWAITING_PAYMENT, held=True)
            for verb in TEST_RUNS[request.test_type] if request.test else ():
                self._step(application.order_no, verb)
            return self._applications[application.order_no]

    def register_failed(self, request: ApplicationRequest, error_code: str) -> SimulatedApplication:
        """Enter an application that failed behind ZEUS (申込エラー): it has an order_no and no slip."""
        with self._lock:
            application = replace(
                self._draft(request), status=Status.APPLICATION_FAILED, error_code=error_code
            )
            self._applications[application.order_no] = application
            self._tell(application, Status.APPLICATION_FAILED, held=True)
            return self._applications[application.order_no]

    def apply(self, verb: Verb, order_no: str) -> SimulatedApplication:
        """Do `verb`, and return the application as it is then; for a re-issue, the new one.

        Raises `UnknownApplication`, or `VerbRefused` and nothing has changed.
        """
        with self._lock:
            if verb is Verb.REISSUE:
                return self._reissue(order_no)
            if verb is Verb.RESEND:
                return self._resend(order_no)
            return self._step(order_no, verb)

    def _draft(self, request: ApplicationRequest) -> SimulatedApplication:
        now = self.now()
        return SimulatedApplication(
            order_no=self._serial(now),
            store=request.pay_cvs,
            money=request.money,
            sendid=request.sendid,
            sendpoint=request.sendpoint,
            username=request.username,
            telno=request.telno,
            email=request.email,
            test=request.test,
            applied_at=now,
        )

    def _serial(self, now: datetime) -> str:
        while (order_no := order_number(now)) in self._applications:
            pass
        return order_no

    def _issue(
        self, draft: SimulatedApplication, days: int, pay_url: Callable[[str], str]
    ) -> SimulatedApplication:
        pay_no1, pay_no2 = self._free_numbers(draft.store)
        application = replace(
            draft,
            pay_no1=pay_no1,
            pay_no2=pay_no2,
            pay_limit=draft.applied_at.date() + timedelta(days=days),
            pay_url=pay_url(draft.order_no) if draft.store is Store.SEVEN_ELEVEN else "",
        )
        self._applications[application.order_no] = application
        self._slips.setdefault((draft.store, pay_no1, pay_no2), []).append(application.order_no)
        return application

    def _free_numbers(self, store: Store) -> tuple[str, str]:
        """Issue numbers that no payable slip of the store has: the till could not tell the two apart."""
        while True:
            numbers = SHAPES[store].issue()
            holder = self.find_slip(store, *numbers)
            if holder is None or not self._till_reads(holder):
                return numbers

    def _till_reads(self, application: SimulatedApplication) -> bool:
        if not application.allows(Verb.PAY) or application.lapsed or application.deadline is None:
            return False
        return self.now() < application.deadline

    def _step(self, order_no: str, verb: Verb) -> SimulatedApplication:
        application = self.get(order_no)
        self._require(verb, application)
        if verb is Verb.PAY and not self._till_reads(application):
            raise VerbRefused(
                verb, application.order_no, f"its deadline, {application.pay_limit}, has passed"
            )
        return self._turn(application, STEPS[verb, application.status])

    def _reissue(self, order_no: str) -> SimulatedApplication:
        old = self.get(order_no)
        self._require(Verb.REISSUE, old)
        now = self.now()
        days = (old.pay_limit - old.applied_at.date()).days if old.pay_limit else 0
        draft = replace(
            old,
            order_no=self._serial(now),
            applied_at=now,
            status=Status.AWAITING_PAYMENT,
            lapsed=False,
            notices=(),
        )
        new = self._issue(draft, days, lambda fresh: old.pay_url.replace(old.order_no, fresh))
        self._applications[order_no] = replace(old, status=CANCELLED, replaced_by=new.order_no)
        self._tell(new, Status.AWAITING_PAYMENT)
        return self._applications[new.order_no]

    def _resend(self, order_no: str) -> SimulatedApplication:
        application = self.get(order_no)
        if not application.notices:
            raise VerbRefused(Verb.RESEND, application.order_no, "no notice has been sent for it yet")
        self._announce(application, application.notices[-1])
        return application

    def _lapse(self, application: SimulatedApplication) -> SimulatedApplication:
        """Let the deadline have passed, if it has."""
        if application.status is Status.AWAITING_PAYMENT and not self._till_reads(application):
            return self._turn(application, Status.EXPIRED)
        return application

    def _turn(self, application: SimulatedApplication, standing: Standing) -> SimulatedApplication:
        lapsed = application.lapsed or standing is Status.EXPIRED
        turned = replace(application, status=standing, lapsed=lapsed)
        self._applications[turned.order_no] = turned
        if standing is not None:
            self._tell(turned, standing)
        return self._applications[turned.order_no]

    def _tell(self, application: SimulatedApplication, status: Status, *, held: bool = False) -> None:
        if _INFO[status].call is Call.always or status in self._on_request():
            told = replace(application, notices=(*application.notices, status))
            self._applications[told.order_no] = told
            self._announce(told, status, held=held)

    def _announce(self, application: SimulatedApplication, status: Status, *, held: bool = False) -> None:
        for listener in self.listeners:
            listener(application, status, held=held)

    def _require(self, verb: Verb, application: SimulatedApplication) -> None:
        if not application.allows(verb):
            needed = " or ".join(_shown(standing) for step, standing in STEPS if step is verb)
            raise VerbRefused(
                verb, application.order_no, f"it is {_shown(application.status)}, {verb} needs {needed}"
            )


def _shown(standing: Standing) -> str:
    info = _INFO[standing]
    return f"{standing} {info.label}" if standing else info.label
