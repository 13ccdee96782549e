"""Plays the weeks: the lives of all payments side by side, moment by moment, and the shop's own routine."""

from __future__ import annotations

import heapq
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.drill.judge import (
    Books,
    Broken,
    Findings,
    Judge,
    mark,
    read_books,
)
from flask_zeus_cvs.drill.model import Attempt, Got, Heard, Life, Slip, Terms
from flask_zeus_cvs.drill.orders import Standing
from flask_zeus_cvs.drill.people import Browser, Reply
from flask_zeus_cvs.drill.stage import ProcessEnds, Stage
from flask_zeus_cvs.drill.stories import LATE, TESTS, USUAL, Story, is_a_test
from flask_zeus_cvs.exceptions import ConfigurationError, VerbRefused
from flask_zeus_cvs.models import Payment, ReviewReason
from flask_zeus_cvs.protocol.codes import STORES, Status, Store, TestType
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.protocol.messages import Notice
from flask_zeus_cvs.settings import FulfillOn
from flask_zeus_cvs.simulator.contract import Method
from flask_zeus_cvs.simulator.notices import Call, Failure

#: What the shop's cron does, and how often: deliver, and with every third time sweep.
ROUTINE = timedelta(hours=2)
SWEEP_EVERY = 3
#: How long after the last payment something may still follow by itself: 05, and a receiver's last try.
AFTERMATH = timedelta(days=9)
#: Longer than a delivery is leased to a process that has died.
_LEASE_IS_OVER = timedelta(minutes=11)
_NAMES = ("ハナコ", "タロウ", "ミドリ", "ヂロー", "ヴィオラ", "ジュンイチロウ")
_AMOUNTS = (200, 299_999, 500, 1_296, 3_000, 4_980, 12_000, 29_800, 54_000)


@dataclass
class Record:
    """What was sent and done, counted."""

    lives: list[Life] = field(default_factory=list)
    attempts: Counter[Got] = field(default_factory=Counter)
    #: Notices that reached the shop, and what it answered; those that did not are `lost`.
    notices: Counter[Status] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    repeats: int = 0
    by_method: Counter[str] = field(default_factory=Counter)
    resent: int = 0
    forged: Counter[str] = field(default_factory=Counter)
    second_clicks: int = 0
    deaths: int = 0
    untold: int = 0
    sweeps: int = 0
    began: datetime = field(default_factory=now)
    ended: datetime = field(default_factory=now)


@dataclass(frozen=True)
class Result:
    """What a drill ends with."""

    record: Record
    books: Books
    broken: list[Broken]
    pages: Counter[tuple[str, int]]
    levels: Counter[str]
    judged_orders: bool


class Play:
    """One drill: `run` plays it to the end."""

    def __init__(self, stage: Stage, size: int, weeks: int, tick: Callable[[], object]) -> None:
        self._stage = stage
        self._tick = tick
        self._chance = stage.chance
        self._weeks = timedelta(weeks=weeks)
        self._size = size
        self._findings = Findings()
        self._record = Record()
        self._agenda: list[tuple[datetime, int, Story, Life | None]] = []
        self._places = itertools.count()
        self._unfinished = 0
        self._until = now()
        self._swept_at = now()
        self._browsers: dict[int, Browser] = {}
        self._lives: dict[str, Life] = {}
        self._slips_seen = self._calls_seen = 0
        self._holding = False
        self._heard: set[tuple[str, Status]] = set()

    def run(self) -> Result:
        """Play all lives and their aftermath, then judge."""
        stage = self._stage
        since = stage.database.read(mark)
        if stage.orders is not None:
            stage.inside(stage.orders.prepare)
        stage.journey.to(datetime.combine(now().astimezone(JST).date() + timedelta(days=1), time(9), JST))
        self._record.began = now()
        self._set_down_lives()
        while self._agenda:
            self._go_on()
        self._finish()
        self._record.ended = now()
        return self._judged(stage.database.read(lambda session: read_books(session, since)))

    # --- time ------------------------------------------------------------------------------------

    def _set_down_lives(self) -> None:
        stories = list(USUAL)[: self._size]
        stories += self._chance.choices(list(USUAL), list(USUAL.values()), k=self._size - len(stories))
        self._chance.shuffle(stories)
        if self._stage.own_settings.test:
            stories += [is_a_test] * (TESTS * len(TestType))
        start = now()
        for number, story in enumerate(stories, 1):
            life = Life(number, story.__name__)
            self._record.lives.append(life)
            moment = start + self._weeks * self._chance.random()
            self._set_down(moment, itertools.chain(self._places_order(life), story(self, life)), life)
        self._unfinished = len(stories)
        self._set_down(start, self._routine())
        self._set_down(start, self._strangers())

    def _set_down(self, moment: datetime, story: Story, life: Life | None = None) -> None:
        heapq.heappush(self._agenda, (moment, next(self._places), story, life))

    def _go_on(self) -> None:
        """Go to the next moment, and let happen what happens then."""
        moment, _, story, life = heapq.heappop(self._agenda)
        self._stage.journey.to(moment)
        self._settle()
        pause = next(story, None)
        if pause is not None:
            self._set_down(moment + max(pause, timedelta()), story, life)
        elif life is not None:
            self._unfinished -= 1
            self._tick()
        self._settle()
        if self._chance.random() < 0.5:
            self._deliver()

    def _places_order(self, life: Life) -> Story:
        self._vary()
        self._place(life)
        yield self.between(0.02, 2)

    def _routine(self) -> Story:
        """What the shop's cron does; every other day ZEUS tells of 02 and 03, on the others sweeps must find them."""
        for turn in itertools.count():
            self._deliver()
            if turn % SWEEP_EVERY == 0:
                self._sweep()
            told = (now() - self._record.began).days % 2 == 0
            self._stage.zeus.contract.on_request = _ON_REQUEST if told else frozenset()
            if not self._unfinished and now() > self._until:
                return
            yield ROUTINE

    def _sweep(self) -> None:
        self._stage.as_cron(self._stage.payments.expire)
        self._swept_at = now()
        self._record.sweeps += 1

    def _deliver(self) -> None:
        try:
            self._stage.as_cron(self._stage.payments.deliver_now)
        except ProcessEnds:
            self._record.deaths += 1

    def _finish(self) -> None:
        """Give whatever waits for another try its last chance here, with nobody dying any more."""
        self._stage.outbox.mortal = False
        self._sweep()
        for _ in range(3):
            self._stage.journey.to(now() + _LEASE_IS_OVER)
            self._stage.as_cron(self._stage.payments.hasten)
            self._deliver()

    def _settle(self) -> None:
        """Have every notice answered, and write down what the shop heard."""
        if self._holding:
            return
        self._stage.zeus.settle(60)
        calls = self._stage.zeus.calls
        for call in calls[self._calls_seen :]:
            self._write_down(call)
        self._calls_seen = len(calls)

    def _write_down(self, call: Call) -> None:
        life = self._lives[call.order_no]
        if call.failure == Failure.DROPPED:
            self._record.lost += 1
            return
        self._record.notices[call.status] += 1
        self._record.answers[call.answer or 0] += 1
        self._record.by_method[call.method] += 1
        self._record.repeats += (call.order_no, call.status) in self._heard
        if call.answer == 200:
            self._heard.add((call.order_no, call.status))
            life.heard.append(Heard(now(), call.order_no, call.status))
        else:
            self._findings.add(
                f"The callback answered {call.answer or call.failure} to a notice {call.status} that it must take.",
                life.reference,
            )

    def _vary(self) -> None:
        """Have ZEUS send what follows by GET or POST, its parameters in another order."""
        contract = self._stage.zeus.contract
        contract.method = self._chance.choice(list(Method))
        contract.parameters = tuple(self._chance.sample(NOTICE_NAMES, len(NOTICE_NAMES)))

    # --- what stories do -------------------------------------------------------------------------

    def _place(self, life: Life) -> None:
        amount = self._chance.choice((*_AMOUNTS, self._chance.randint(200, 60_000)))
        payment_id, life.token = self._stage.inside(lambda: self._placed(life.number, amount))
        found = self._stage.database.read(lambda session: session.get(Payment, payment_id))
        if found is None:
            raise ConfigurationError(
                "the payment that place() of ZEUS_CVS_DRILL_ORDERS returned is not in the database. "
                "Let place() commit, as your checkout does."
            )
        life.payment_id, life.reference, life.amount = found.id, found.reference, found.amount
        self._browsers[life.number] = self._stage.gate.browser()

    def _placed(self, number: int, amount: int) -> tuple[int, str]:
        if self._stage.orders is not None:
            payment = self._stage.orders.place(amount)
        else:
            payment = self._stage.payments.create(amount=amount, reference=f"DRILL-{number:05d}")
            self._stage.database.db.session.commit()
        return payment.id, payment.token

    def apply(self, life: Life, fault: str = "", **how: Any) -> str:
        """Have the customer apply, and ZEUS answer so; returns the number of the slip, blank if there is none."""
        self._vary()
        if fault or how:
            self._stage.zeus.answer_next(fault, **how)
        before = self._stage.line.carried
        reply = self._browser(life).apply(life.token, life.amount, _customer(life), self._store())
        posted = self._stage.line.carried - before
        page = self._browser(life).open("result", life.token)
        slip = self._new_slip(life)
        if posted and slip and _got(fault, how) is Got.ACCEPTED:
            self._look_for_numbers(life, slip, page)
        if posted:
            self._note(life, Attempt(_got(fault, how), now(), slip))
        else:
            self._note_refusal(life, reply)
        self._settle()
        return slip

    def _note(self, life: Life, attempt: Attempt) -> None:
        life.attempts.append(attempt)
        self._record.attempts[attempt.got] += 1

    def _look_for_numbers(self, life: Life, slip: str, page: Reply) -> None:
        """The result page must show the payment numbers, under the names that the store uses."""
        application = self._stage.zeus.application(slip)
        if page.status != 200 or application.status is not Status.AWAITING_PAYMENT:
            return
        store, shown = STORES[application.store], _SPACE_AND_TAGS.sub("", page.text)
        for name, number in ((store.pay_no1, application.pay_no1), (store.pay_no2, application.pay_no2)):
            if name and not (name in page.text and number in shown):
                self._findings.add(f"The result page does not show the customer the {name}.", life.reference)

    def _note_refusal(self, life: Life, reply: Reply) -> None:
        """Nothing was sent: forget how ZEUS was to answer. Only a payment that takes no application may refuse."""
        self._stage.zeus.faults_off()
        if reply.status == 422:
            self._findings.add("The checkout refused good details of a customer (422).", life.reference)
        if reply.status == 200:
            self._findings.add(_NO_TOKEN, life.reference)

    def _new_slip(self, life: Life) -> str:
        """Find what ZEUS has entered in its books since the last look."""
        applications = self._stage.zeus.applications
        fresh = applications[self._slips_seen :]
        self._slips_seen = len(applications)
        for each in fresh:
            self._lives[each.order_no] = life
            self._wait_for(each.deadline)
        return fresh[-1].order_no if fresh else ""

    def _wait_for(self, deadline: datetime | None) -> None:
        grace = timedelta(hours=self._stage.settings.expiry_grace_hours)
        if deadline is not None:
            self._until = max(self._until, deadline + grace + SWEEP_EVERY * ROUTINE)

    def _browser(self, life: Life) -> Browser:
        return self._browsers[life.number]

    def _store(self) -> Store:
        return self._chance.choice(self._stage.settings.stores)

    def click_again(self, life: Life) -> None:
        """Send the last form again: no second application may leave, unless the shop lets customers do that at once."""
        before = self._stage.line.carried
        self._browser(life).apply_again(life.token)
        self._record.second_clicks += 1
        if self._stage.line.carried != before:
            if self._stage.settings.retry_unknown_after:
                self._findings.add(_TWICE, life.reference, ours=True)
            self._note(life, Attempt(Got.ACCEPTED, now(), self._new_slip(life)))
        self._settle()

    def lose_line(self, life: Life) -> None:
        """Have the customer apply while nothing can be sent."""
        line = self._stage.line
        line.down = True
        try:
            reply = self._browser(life).apply(life.token, life.amount, _customer(life), self._store())
        finally:
            line.down = False
        self._browser(life).open("result", life.token)
        if reply.status in (303, 302):
            self._note(life, Attempt(Got.NOT_SENT, now()))

    def test(self, life: Life, kind: TestType) -> str:
        life.test = True
        with self._stage.testing(kind):
            return self.apply(life)

    def pay(self, slip: str, *, told: bool = True) -> bool:
        zeus = self._stage.zeus
        self._vary()
        if not told:
            zeus.stop_service()
            self._record.untold += 1
        try:
            return self._act(zeus.pay, slip)
        finally:
            zeus.resume_service()
            self._until = max(self._until, now() + AFTERMATH)

    def take_back(self, slip: str) -> bool:
        self._vary()
        return self._act(self._stage.zeus.cancel, slip)

    def confirm(self, slip: str) -> bool:
        return self._act(self._stage.zeus.confirm, slip)

    def reissue(self, life: Life, slip: str) -> str:
        self._vary()
        if not self._act(self._stage.zeus.reissue, slip, settle=False):
            return ""
        new = self._new_slip(life)
        life.reissues[new] = slip
        self._settle()
        return new

    def resend(self, slip: str, status: Status | None = None) -> None:
        self._vary()
        self._record.resent += self._act(lambda order_no: self._stage.zeus.resend(order_no, status), slip)

    def _act(self, verb: Callable[[str], object], slip: str, *, settle: bool = True) -> bool:
        """Do something to a slip; False if there is none, or ZEUS does not let it happen any more."""
        if not slip:
            return False
        try:
            verb(slip)
        except VerbRefused:
            return False
        if settle:
            self._settle()
        return True

    def forge(self, life: Life, slip: str) -> None:
        """Tell of the payment with another amount, from an address that the shop permits."""
        if slip:
            life.forged += 1
            notice = Notice(status=Status.PAYMENT_RECEIVED, money=life.amount + 100, order_no=slip)
            self._tell("another amount", notice.encode(), 200, life.reference)

    def trouble(self, kind: str) -> None:
        self._stage.zeus.notify_next(kind)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let things happen before the shop has heard of the first one."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            self._settle()

    def until_deadline(self, slip: str) -> timedelta:
        deadline = self._stage.zeus.application(slip).deadline if slip else None
        return deadline - now() if deadline else timedelta()

    def until_swept(self) -> timedelta:
        """How long after a deadline's day the shop's own sweep has found a slip, but for some hours."""
        return timedelta(hours=self._stage.settings.expiry_grace_hours) + (SWEEP_EVERY + 1) * ROUTINE

    def patience(self) -> timedelta:
        """How long a customer waits who may apply again when nobody knows what came of the first try."""
        seconds = self._stage.settings.retry_unknown_after
        return timedelta(seconds=seconds) + self.between(0.2, 5)

    def between(self, least: float, most: float) -> timedelta:
        """Draw a pause, in hours."""
        return timedelta(hours=self._chance.uniform(least, most))

    def one_of(self, *choices: Any) -> Any:
        return self._chance.choice(choices)

    # --- who is not ZEUS -------------------------------------------------------------------------

    def _strangers(self) -> Story:
        """Calls of the callback that belong to no payment, or come from nobody whom the shop permits."""
        contract = self._stage.zeus.contract
        for number in itertools.count():
            if not self._unfinished:
                return
            order_no = f"990101-{number:010d}"
            notice = Notice(status=Status.PAYMENT_RECEIVED, money=3000, order_no=order_no)
            self._tell("unknown order", notice.encode(), 200)
            self._tell("unknown order again", notice.encode(), 200)
            foreign = "0000000000" if contract.clientip != "0000000000" else "1111111111"
            other = Notice(status=Status.PAYMENT_RECEIVED, money=3000, order_no=order_no, clientip=foreign)
            self._tell("another merchant", other.encode(), 200)
            self._tell("unreadable", f"status=04&money=x&order_no={order_no}".encode(), 400)
            if self._slips_seen and self._stage.gate.stranger:
                slip = self._chance.choice(list(self._lives))
                lie = Notice(status=Status.PAYMENT_RECEIVED, money=self._lives[slip].amount, order_no=slip)
                self._tell("refused address", lie.encode(), 403, address=self._stage.gate.stranger)
            yield self.between(20, 60)

    def _tell(self, what: str, query: bytes, due: int, reference: str = "", address: str = "") -> None:
        reply = self._stage.gate.call(query, address or self._stage.gate.zeus)
        self._record.forged[what] += 1
        self._record.answers[reply.status] += 1
        if reply.status != due:
            self._findings.add(
                f"The callback answered {reply.status} to a notice ({what}), and must answer {due}.",
                reference,
            )

    # --- judging ---------------------------------------------------------------------------------

    def _judged(self, books: Books) -> Result:
        stage, findings = self._stage, self._findings
        terms = Terms(
            at_confirmation=stage.settings.fulfill_on is FulfillOn.SALE_CONFIRMED,
            test_fulfills=stage.settings.test_fulfills,
            grace=timedelta(hours=stage.settings.expiry_grace_hours),
        )
        slips = {
            each.order_no: Slip(each.sendid, each.applied_at, each.deadline)
            for each in stage.zeus.applications
        }
        judge = Judge(findings, stage.app, books, terms, slips, self._swept_at)
        judge.receivers()
        for life in self._record.lives:
            judge.payment(life, self._standing(life))
        self._judge_strangers(books)
        self._judge_pages()
        for place, number in stage.diary.indiscreet.items():
            findings.add(f"The log names customers: {place}, {number} times.", ours=True)
        return Result(
            self._record,
            books,
            findings.broken,
            stage.gate.pages,
            stage.diary.levels,
            judged_orders=stage.orders is not None,
        )

    def _standing(self, life: Life) -> Standing | None:
        orders = self._stage.orders
        return None if orders is None else self._stage.inside(lambda: orders.standing(life.reference))

    def _judge_strangers(self, books: Books) -> None:
        found = Counter(each.reason for each in books.reviews.get(None, ()))
        for what, reason in _STRANGERS_REVIEWS.items():
            if found[reason] != self._record.forged[what]:
                self._findings.add(
                    f"{self._record.forged[what]} notices ({what}) raised {found[reason]} reviews ({reason}).",
                    ours=True,
                )

    def _judge_pages(self) -> None:
        if not self._record.attempts:
            self._findings.add(_NOTHING_SOLD)
        for (page, status), number in sorted(self._stage.gate.pages.items()):
            if status not in _GOOD_PAGES[page]:
                self._findings.add(f"{page} answered {status} to customers, {number} times: they cannot pay.")


_ON_REQUEST = frozenset({Status.APPLICATION_FAILED, Status.EXPIRED})
_NO_TOKEN = (
    "The checkout page has no field csrf_token, or one that is not written name before value, in double quotes: "
    "customers cannot send the form, or the drill cannot."
)
_NOTHING_SOLD = (
    "No application was sent to ZEUS: customers do not get through the checkout, and nothing was tried."
)
_TWICE = "A second click sent a second application to ZEUS."
NOTICE_NAMES = tuple(NOTICE)
#: What may stand between the digits of a number to make it readable.
_SPACE_AND_TAGS = re.compile(r"<[^>]*>|&nbsp;|[\s-]")
_STRANGERS_REVIEWS = {
    "unknown order": ReviewReason.UNKNOWN_ORDER,
    "another merchant": ReviewReason.FOREIGN_MERCHANT,
    "unreadable": ReviewReason.UNREADABLE,
}
_GOOD_PAGES = {
    "GET checkout": (200, 303),
    "POST checkout": (303, 422),
    "GET result": (200, 303),
}
_NOT_UNDERSTOOD = frozenset({"lost", "cut", "never", "empty", "html", "maintenance"})


def _got(fault: str, how: dict[str, Any]) -> Got:
    """Tell what reaches the shop of an answer that was asked for so."""
    if fault in _NOT_UNDERSTOOD or how.get("delay", 0) >= LATE:
        return Got.NOTHING
    return Got.DECLINED if how.keys() & {"error_code", "parameter"} else Got.ACCEPTED


def _customer(life: Life) -> Customer:
    """Make up a customer whom the log must not name."""
    name = _NAMES[life.number % len(_NAMES)]
    return Customer(f"クンレン　{name}", f"0909{life.number:07d}", f"kunren{life.number:05d}@example.jp")
