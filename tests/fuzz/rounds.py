"""One round: a fresh stage, some hundred inputs from one seed, and a look at the database after each."""

from __future__ import annotations

import io
import logging
import random
import sqlite3
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

import sqlalchemy as sa
from werkzeug.test import TestResponse

from flask_zeus_cvs.lifecycle import Input, State
from flask_zeus_cvs.models import Payment
from flask_zeus_cvs.payments import payments_of
from flask_zeus_cvs.protocol.messages import Answer
from tests.conftest import CUSTOMER
from tests.fuzz import reading
from tests.fuzz.mischief import Aim, Made, a_notice, an_answer, an_order_no
from tests.fuzz.stage import STORES, WAITING, Lots, Stage
from tests.fuzz.watch import (
    Expectation,
    Slip,
    Violation,
    World,
    after_answer,
    after_notice,
    after_sweep,
    check_answer,
    check_kept,
    compare,
    kept,
    seen,
    unmoved,
)

CALLBACK = "/zeus-cvs/callback"
CONTENT_TYPES = (
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=Shift_JIS",
    "multipart/form-data; boundary=x",
    "application/json",
    "text/html; charset=nonsense",
    "",
)
#: Of all inputs, how many are answers; of those, how many are overtaken by a notice.
ANSWERS, OVERTAKEN = 0.15, 0.2
#: How often an answer is for a payment that has been tried before.
TRIED_BEFORE = 0.3
_EXPECTED_ERROR = "A person must look"


@dataclass
class Figures:
    """What a run did, in numbers."""

    inputs: int = 0
    reviews: int = 0
    rounds: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[State, Input]] = field(default_factory=Counter)

    def add(self, other: Figures) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


class Listener(logging.Handler):
    """Hears every word that is logged, and lets none pass that may not be said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def check(self, secrets: list[str]) -> None:
        """Raise `Violation` for an error that is none of ours, and for a word that may not be logged."""
        records, self.records = self.records, []
        for each in records:
            text = each.getMessage()
            if each.levelno >= logging.ERROR and not text.startswith(_EXPECTED_ERROR):
                raise Violation(f"logged at {each.levelname}: {text} {each.exc_info or ''}")
            if not (text.isascii() and text.isprintable() and len(text) < 300):
                raise Violation(f"logged, and not fit for one line: {text!r}")
            if any(secret in text for secret in secrets):
                raise Violation(f"logged, and personal: {text!r}")


@contextmanager
def listening() -> Iterator[Listener]:
    """Hear what is logged, and keep it off the screen."""
    listener, root = Listener(), logging.getLogger()
    root.addHandler(listener)
    try:
        yield listener
    finally:
        root.removeHandler(listener)


class Round:
    """One round on one stage."""

    def __init__(
        self, stage: Stage, look: sqlite3.Connection, dice: random.Random, listener: Listener
    ) -> None:
        self._stage, self._look, self._dice, self._listener = stage, look, dice, listener
        self._world = seen(look)
        self._payments = 0
        self.figures = Figures(rounds=1)
        #: The input at hand, for whoever has to tell what went wrong.
        self.last = Made("none", b"")
        self.how = ""

    def step(self) -> None:
        """Make one input and have it taken."""
        if self._dice.random() < ANSWERS:
            self.answer()
        else:
            self.notice(self._aim())

    def notice(self, aim: Aim) -> None:
        """Send one notice to the callback, by GET or by POST."""
        made = a_notice(self._dice, aim)
        call = self._dice.choice((self._get, self._post))
        self._take_note(made, "notice by GET" if call == self._get else "notice by POST")
        before, notice = self._world, reading.heard(made.raw)
        identity = notice.identity if notice else reading.unreadable(made.raw)
        row = kept(self._look, identity)
        answer = call(made.raw)
        self._check_answer(answer, 200 if notice else 400)
        self._world = after = seen(self._look)
        check_kept(row, kept(self._look, identity), made.raw)
        expected = after_notice(before, notice, row) if notice else unmoved(before, reviewed=row is None)
        self._moved(before, expected, after)
        self._listener.check(reading.personal(made.raw))

    def answer(self) -> None:
        """Apply for a slip, and answer with bytes; at times a notice comes first."""
        known = [each.order_no for each in self._world.slips.values() if each.order_no]
        made = an_answer(self._dice, an_order_no(self._dice, known))
        asked: list[World] = []
        overtaken = self._dice.random() < OVERTAKEN

        def before_answer(request: object) -> None:
            self._world = seen(self._look)
            if overtaken:
                self.notice(self._aim(max(self._world.slips.values(), key=lambda each: each.id)))
            self._take_note(made, "answer")
            asked.append(self._world)

        self._stage.gateway.answers[:] = [made.raw]
        self._stage.gateway.before_answer = before_answer
        slip_id = self._submit()
        parsed = Answer.parse(made.raw)
        self.figures.answers[parsed.outcome.value] += 1
        self._world = after = seen(self._look)
        self._moved(asked[0], after_answer(asked[0], slip_id, parsed), after)
        check_answer(made.raw, parsed, asked[0], after.slips[slip_id])
        self._listener.check([])

    def end(self) -> None:
        """Look at every page, sweep and deliver: odd values must not break what comes later either."""
        self._take_note(Made("end of the round", b""), "none")
        with self._stage.app.app_context():
            tokens = list(self._stage.db.session.scalars(sa.select(Payment.token)))
        for token in tokens:
            for page in ("result", "checkout")[: self._dice.choice((1, 1, 1, 2))]:
                self._check_answer(
                    self._stage.http.get(f"/zeus-cvs/{page}/{token}", base_url="https://shop"), 200, 303
                )
        with self._stage.app.app_context():
            self._stage.zeus.expire()
            self._stage.zeus.deliver_now()
        before, self._world = self._world, seen(self._look)
        self._moved(before, after_sweep(before, self._world), self._world)
        self._listener.check([])
        self._check_shipments()
        self.figures.reviews += self._world.reviews

    def _submit(self) -> int:
        """Apply for a new payment, or again for one that has been tried before."""
        zeus, db = self._stage.zeus, self._stage.db
        with self._stage.app.app_context():
            payment = self._tried_before() if self._dice.random() < TRIED_BEFORE else None
            if payment is None:
                self._payments += 1
                amount = self._dice.choice((200, 3000, 3000, 299_999))
                payment = zeus.create_payment(amount=amount, reference=f"F-{self._payments}")
                db.session.commit()
            return zeus.submit(payment, CUSTOMER, self._dice.choice(STORES)).id

    def _tried_before(self) -> Payment | None:
        payment_id = self._dice.choice(list(self._world.slips.values())).payment_id
        payment = self._stage.db.session.get(Payment, payment_id)
        if payment is None:
            return None
        payments = payments_of(self._stage.app)
        hindered = payments.obstacle(payment) is not None or payments.standing(payment).under_review
        return None if hindered else payment

    def _aim(self, slip: Slip | None = None) -> Aim:
        """Aim at an application, by both its numbers or by one, at its re-issue, or at none that exists."""
        slips = list(self._world.slips.values())
        slip = slip or self._dice.choice(slips)
        other = self._dice.choice(slips)
        order_no, sendid = self._dice.choices(
            (
                (slip.order_no, slip.sendid),
                ("", slip.sendid),
                (slip.order_no, ""),
                (f"60{self._dice.randrange(40):02d}-1", slip.sendid),
                (self._dice.choice(WAITING), self._dice.choice((slip.sendid, ""))),
                (slip.order_no, other.sendid),
                (f"66{self._dice.randrange(40):02d}-1", ""),
            ),
            (50, 10, 15, 10, 5, 5, 5),
        )[0]
        return Aim(order_no, sendid, slip.amount)

    def _get(self, raw: bytes) -> TestResponse:
        # The client would read a query as text; a server hands over its bytes, a character for each.
        return self._stage.http.get(CALLBACK, environ_overrides={"QUERY_STRING": raw.decode("latin-1")})

    def _post(self, raw: bytes) -> TestResponse:
        # The client would make a form of an empty body.
        body, kind = io.BytesIO(raw), self._dice.choice(CONTENT_TYPES)
        return self._stage.http.post(CALLBACK, input_stream=body, content_type=kind)

    def _take_note(self, made: Made, how: str) -> None:
        self.last, self.how = made, how
        if made.raw or how != "none":
            self.figures.inputs += 1
            self.figures.kinds[made.kind] += 1

    def _check_answer(self, answer: TestResponse, *allowed: int) -> None:
        if self.how.startswith("notice"):
            self.figures.answers[str(answer.status_code)] += 1
        if answer.status_code not in allowed:
            raise Violation(f"{answer.request.path} answered {answer.status_code}, not {allowed}")

    def _moved(self, before: World, expected: Expectation, after: World) -> None:
        """Compare what was with what is, and count it."""
        for left, entered in compare(before, expected, after):
            self.figures.moves[f"{left} → {entered}"] += 1
            self.figures.states[entered] += 1
        self.figures.cells.update(expected.cells)

    def _check_shipments(self) -> None:
        """Raise `Violation` if a payment may ship twice."""
        twice = self._look.execute(
            "select payment_id from zeus_cvs_events where kind = 'fulfillment_ready'"
            " group by payment_id having count(*) > 1"
        ).fetchall()
        if twice:
            raise Violation(f"payments may ship twice: {twice}")


class Broken(Exception):
    """A round came to a bad end; the message tells what happened, and how to see it again."""


def play(stage: Stage, seed: int, number: int, count: int) -> Figures:
    """Play one round of ``count`` inputs; the same seed and number make the same. Raises `Broken`."""
    dice = Lots(f"{seed}/{number}")
    with stage.round(Lots(f"{seed}/{number}/sendids")) as look, listening() as listener:
        round_ = Round(stage, look, dice, listener)
        try:
            while round_.figures.inputs < count:
                round_.step()
            round_.end()
        except Exception as error:
            raise Broken(_told(seed, number, round_, error)) from error
    return round_.figures


def _told(seed: int, number: int, round_: Round, error: Exception) -> str:
    what = str(error) if isinstance(error, Violation) else "".join(traceback.format_exception(error))
    return (
        f"seed {seed}, round {number}, input {round_.figures.inputs} ({round_.how}, {round_.last.kind}):\n"
        f"{round_.last.raw!r}\n{what}\nAgain: python -m tests.fuzz --seed {seed} --round {number}\n"
    )
