"""ZEUS's books: every application, its status, and the one table of what can happen to it.

All of it is behind one lock; what is handed out is frozen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date as calendar_day
from datetime import datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from flask_zeus_cvs.exceptions import UnknownApplication, VerbRefused
from flask_zeus_cvs.protocol.codes import STATUSES, Call, Status, StatusInfo, Store, TestType
from flask_zeus_cvs.protocol.messages import ApplicationRequest
from flask_zeus_cvs.simulator.clock import JST, Clock
from flask_zeus_cvs.simulator.contract import Contract
from flask_zeus_cvs.simulator.numbers import SHAPES, order_number


class Silent(StrEnum):
    """The two statuses without a code, of which no notice and no mail ever tells."""

    CANCELLED = "cancelled"  # キャンセル: it was re-issued
    STOPPED = "stopped"  # 番組停止: it was paid after the service was stopped


Standing = Status | Silent


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
        (Verb.PAY, Silent.CANCELLED): Status.RECEIVED_AFTER_CANCEL,
        (Verb.CONFIRM, Status.PAYMENT_RECEIVED): Status.SALE_CONFIRMED,
        (Verb.CONFIRM, Status.RECEIVED_AFTER_CANCEL): Status.CONFIRMED_AFTER_CANCEL,
        (Verb.CANCEL, Status.PAYMENT_RECEIVED): Status.PAYMENT_CANCELLED,
        (Verb.CANCEL, Status.RECEIVED_AFTER_CANCEL): Status.CANCELLED_AFTER_CANCEL,
        (Verb.EXPIRE, Status.AWAITING_PAYMENT): Status.EXPIRED,
        (Verb.REISSUE, Status.AWAITING_PAYMENT): Silent.CANCELLED,
        (Verb.REISSUE, Status.EXPIRED): Silent.CANCELLED,
    }
)

#: A test application runs by itself: it is paid at once, and what becomes of that follows. Type 0 stays unpaid.
TEST_OUTCOMES: Mapping[str, Verb | None] = MappingProxyType(
    {
        TestType.NO_PAYMENT: None,
        TestType.SALE_CONFIRMED: Verb.CONFIRM,
        TestType.PAYMENT_CANCELLED: Verb.CANCEL,
    }
)

_SILENT = {"キャンセル": Silent.CANCELLED, "番組停止": Silent.STOPPED}

#: The manual's row for each of the eleven statuses, in its order.
INFO: Mapping[Standing, StatusInfo] = MappingProxyType(
    {row.status or _SILENT[row.name]: row for row in STATUSES}
)


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to an application: when (JST), what its status became, and by which verb or way."""

    at: datetime
    status: Standing
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedApplication:
    """One application as ZEUS has it, at one moment.

    `replaced_by` and `replaces` lead along its re-issues. `lapsed`: it went unpaid past its deadline.
    `notices` are the statuses that the shop was, or will be, told, in order; `history` is everything.
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
    replaces: str = ""
    notices: tuple[Status, ...] = ()
    history: tuple[Step, ...] = field(default=(), repr=False)

    @property
    def info(self) -> StatusInfo:
        """The manual's row for its status: name, label, who is told."""
        return INFO[self.status]

    @property
    def code(self) -> str:
        """Its status on the wire, ``""`` for the two that have no code."""
        return self.status if isinstance(self.status, Status) else ""

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
    """The applications in the order in which they came. What is due by the clock happens before anything is read."""

    def __init__(self, clock: Clock, contract: Contract) -> None:
        self._clock = clock
        self._contract = contract
        self._lock = threading.RLock()
        self._applications: dict[str, SimulatedApplication] = {}
        self._slips: dict[tuple[Store, str, str], list[str]] = {}
        #: Hear of every status of which the shop is told by a call.
        self.listeners: list[Listener] = []
        #: Hear of every application whose status has just changed; under the lock as well.
        self.watchers: list[Callable[[SimulatedApplication], None]] = []

    @property
    def applications(self) -> list[SimulatedApplication]:
        self._clock.run_due()
        with self._lock:
            return list(self._applications.values())

    @property
    def count(self) -> int:
        return len(self._applications)

    def get(self, order_no: str) -> SimulatedApplication:
        """Raise `UnknownApplication` if there is none."""
        self._clock.run_due()
        with self._lock:
            return self._find(order_no)

    def find_slip(self, store: Store, pay_no1: str, pay_no2: str) -> SimulatedApplication | None:
        """Find what a till reads. Numbers are issued again over time: the latest application counts."""
        self._clock.run_due()
        with self._lock:
            order_nos = self._slips.get((store, pay_no1, pay_no2))
            return self._applications[order_nos[-1]] if order_nos else None

    def possible(self, application: SimulatedApplication) -> list[Verb]:
        """Tell what can be done to it now: what its status allows, and paying only before its deadline."""
        late = not self._till_reads(application)
        return [verb for verb in Verb if application.allows(verb) and not (late and verb is Verb.PAY)]

    def register(
        self, request: ApplicationRequest, days: int, pay_url: Callable[[str], str]
    ) -> SimulatedApplication:
        """Issue a slip payable for `days`; its notices are held. `pay_url` makes the address of its page."""
        self._clock.run_due()
        with self._lock:
            order_no = self._issue(self._draft(request), days, pay_url, held=True).order_no
            outcome = TEST_OUTCOMES[request.test_type] if request.test else None
            if outcome:
                self._step(order_no, Verb.PAY, by="test")
                soon = timedelta(minutes=self._contract.test_outcome_minutes)
                self._clock.at(self._clock.now() + soon, lambda: self._by_itself(outcome, order_no, "test"))
            return self._applications[order_no]

    def register_failed(self, request: ApplicationRequest, error_code: str) -> SimulatedApplication:
        """Enter an application that failed behind ZEUS (申込エラー): it has an order_no and no slip."""
        with self._lock:
            draft = replace(self._draft(request), status=Status.APPLICATION_FAILED, error_code=error_code)
            return self._enter(draft, "apply", held=True)

    def apply(self, verb: Verb, order_no: str) -> SimulatedApplication:
        """Do `verb`, and return the application as it is then; for a re-issue, the new one.

        Raises `UnknownApplication`, or `VerbRefused` and nothing has changed.
        """
        if verb is Verb.RESEND:
            return self.resend(order_no)
        self._clock.run_due()
        with self._lock:
            return self._reissue(order_no) if verb is Verb.REISSUE else self._step(order_no, verb)

    def resend(self, order_no: str, status: Status | None = None) -> SimulatedApplication:
        """Tell the shop again: the last that it was told, or one `status` of them. Raises as `apply`."""
        self._clock.run_due()
        with self._lock:
            application = self._find(order_no)
            if not application.notices:
                raise VerbRefused(Verb.RESEND, order_no, "no notice has been sent for it yet")
            if status is not None and status not in application.notices:
                raise VerbRefused(Verb.RESEND, order_no, f"the shop was never told {status} of it")
            self._announce(application, status or application.notices[-1])
            return application

    def clear(self) -> None:
        with self._lock:
            self._applications.clear()
            self._slips.clear()

    def _find(self, order_no: str) -> SimulatedApplication:
        if order_no not in self._applications:
            raise UnknownApplication(order_no)
        return self._applications[order_no]

    def _draft(self, request: ApplicationRequest) -> SimulatedApplication:
        now = self._clock.now()
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
        self,
        draft: SimulatedApplication,
        days: int,
        pay_url: Callable[[str], str],
        *,
        by: str = "apply",
        held: bool = False,
    ) -> SimulatedApplication:
        pay_no1, pay_no2 = self._free_numbers(draft.store)
        application = replace(
            draft,
            pay_no1=pay_no1,
            pay_no2=pay_no2,
            pay_limit=draft.applied_at.date() + timedelta(days=days),
            pay_url=pay_url(draft.order_no) if draft.store is Store.SEVEN_ELEVEN else "",
        )
        order_no = application.order_no
        self._slips.setdefault((draft.store, pay_no1, pay_no2), []).append(order_no)
        assert application.deadline is not None
        self._clock.at(application.deadline, lambda: self._by_itself(Verb.EXPIRE, order_no, "deadline"))
        return self._enter(application, by, held=held)

    def _free_numbers(self, store: Store) -> tuple[str, str]:
        """Issue numbers that no payable slip of the store has: the till could not tell the two apart."""
        while True:
            numbers = SHAPES[store].issue()
            holders = self._slips.get((store, *numbers))
            if not holders or not self._till_reads(self._applications[holders[-1]]):
                return numbers

    def _till_reads(self, application: SimulatedApplication) -> bool:
        if not application.allows(Verb.PAY) or application.lapsed or application.deadline is None:
            return False
        return self._clock.now() < application.deadline

    def _step(self, order_no: str, verb: Verb, by: str = "") -> SimulatedApplication:
        application = self._find(order_no)
        self._require(verb, application)
        if verb is Verb.PAY and not self._till_reads(application):
            raise VerbRefused(
                verb, application.order_no, f"its deadline, {application.pay_limit}, has passed"
            )
        standing: Standing = STEPS[verb, application.status]
        if verb is Verb.PAY and self._contract.stopped:
            standing = Silent.STOPPED
        turned = replace(
            application, status=standing, lapsed=application.lapsed or standing is Status.EXPIRED
        )
        if verb is Verb.PAY:
            self._expect_confirmation(turned)
        return self._enter(turned, by or verb)

    def _expect_confirmation(self, application: SimulatedApplication) -> None:
        days = self._contract.confirm_after_days.get(application.store)
        if days is None or application.test:
            return
        order_no = application.order_no
        moment = self._clock.now() + timedelta(days=days)
        self._clock.at(moment, lambda: self._by_itself(Verb.CONFIRM, order_no, "head office"))

    def _by_itself(self, verb: Verb, order_no: str, by: str) -> None:
        """Do what is due, unless somebody was faster."""
        with self._lock:
            application = self._applications.get(order_no)
            if application and application.allows(verb):
                self._step(order_no, verb, by)

    def _reissue(self, order_no: str) -> SimulatedApplication:
        old = self._find(order_no)
        self._require(Verb.REISSUE, old)
        now = self._clock.now()
        days = (old.pay_limit - old.applied_at.date()).days if old.pay_limit else 0
        fresh = replace(
            old,
            order_no=self._serial(now),
            applied_at=now,
            status=Status.AWAITING_PAYMENT,
            lapsed=False,
            replaces=order_no,
            notices=(),
            history=(),
        )
        cancelled = replace(old, status=Silent.CANCELLED, replaced_by=fresh.order_no)
        self._enter(cancelled, Verb.REISSUE)
        return self._issue(fresh, days, lambda new: old.pay_url.replace(old.order_no, new), by=Verb.REISSUE)

    def _enter(
        self, application: SimulatedApplication, by: str, *, held: bool = False
    ) -> SimulatedApplication:
        """Write down what has become of an application, and tell whoever is told."""
        status = self._told(application)
        entered = replace(
            application,
            history=(*application.history, Step(self._clock.now(), application.status, by)),
            notices=(*application.notices, status) if status else application.notices,
        )
        self._applications[entered.order_no] = entered
        for watcher in self.watchers:
            watcher(entered)
        if status:
            self._announce(entered, status, held=held)
        return entered

    def _told(self, application: SimulatedApplication) -> Status | None:
        """Return the status of which the shop is told now, if it is."""
        status = application.status
        if isinstance(status, Silent):
            return None
        return status if INFO[status].call is Call.always or status in self._contract.on_request else None

    def _announce(self, application: SimulatedApplication, status: Status, *, held: bool = False) -> None:
        for listener in self.listeners:
            listener(application, status, held=held)

    def _require(self, verb: Verb, application: SimulatedApplication) -> None:
        if not application.allows(verb):
            needed = " or ".join(shown(standing) for step, standing in STEPS if step is verb)
            raise VerbRefused(
                verb, application.order_no, f"it is {shown(application.status)}, {verb} needs {needed}"
            )


def shown(standing: Standing) -> str:
    """Name a status in English, with its code if it has one."""
    label = INFO[standing].label
    return f"{standing} {label}" if isinstance(standing, Status) else label
