"""What is put in place of the outside world while a drill runs, and taken away after it, however it ends.

First of all the way to ZEUS: the app's gateway is replaced by one that ends in the sandbox, in this process.
"""

from __future__ import annotations

import dataclasses
import logging
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import Context
from typing import Any, TypeVar

import requests
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from requests.adapters import BaseAdapter

from flask_zeus_cvs.clock import Journey, journey, now
from flask_zeus_cvs.database import Database
from flask_zeus_cvs.drill import marked
from flask_zeus_cvs.drill.databases import Choice, in_place
from flask_zeus_cvs.drill.orders import Orders, named
from flask_zeus_cvs.drill.people import Gate, gate_of
from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.gateway import Gateway
from flask_zeus_cvs.outbox import Outbox
from flask_zeus_cvs.payments import EXTENSION, Payments, payments_of
from flask_zeus_cvs.protocol.codes import TestType
from flask_zeus_cvs.settings import DeliveryMode, Settings
from flask_zeus_cvs.simulator import Simulator

T = TypeVar("T")

#: Where nothing listens: should anything go past the sandbox, it does not get further than this machine.
NOWHERE = "http://127.0.0.1:9/cgi-bin/cvs.cgi"
#: Of each receiver's calls, the second and then one in so many is cut short by the end of its process.
MORTALITY = 40
_TEST_ID = "12345678"


class Line(BaseAdapter):
    """The wire to the sandbox: it counts what it carries, and can be down."""

    def __init__(self, sandbox: BaseAdapter) -> None:
        super().__init__()
        self._sandbox = sandbox
        self.down = False
        self.carried = 0

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if self.down:
            raise requests.ConnectTimeout("the line is down", request=request)
        self.carried += 1
        return self._sandbox.send(request, *args, **options)

    def close(self) -> None:
        """There is nothing to close."""


class ProcessEnds(KeyboardInterrupt):
    """A process is killed while it delivers: nobody can catch that, or write down that it happened."""


class MortalOutbox(Outbox):
    """An outbox whose process ends now and then, after a receiver has returned and before anything is committed."""

    def __init__(self, app: Flask, database: Database, settings: Settings) -> None:
        super().__init__(app, database, settings)
        #: Deaths count as tries: a shop that gives a receiver only one or two is spared.
        self.mortal = settings.delivery_attempts > 2
        self._calls: Counter[str] = Counter()

    def _finish(self, claim: Any) -> None:
        if self.mortal and claim.attempts == 1:
            self._calls[claim.subscriber] += 1
            if self._calls[claim.subscriber] % MORTALITY == 2:
                raise ProcessEnds
        super()._finish(claim)


class Diary(logging.Handler):
    """Counts what the package logs, and notes where a customer of the drill is named in it."""

    #: What only the drill's customers are called.
    PERSONAL = re.compile(r"クンレン|kunren\d|(?<!\d)0909\d{7}(?!\d)")

    def __init__(self) -> None:
        super().__init__()
        self.levels: Counter[str] = Counter()
        self.indiscreet: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.levels[record.levelname] += 1
        if self.PERSONAL.search(self.format(record)):
            self.indiscreet[f"{record.name}, line {record.lineno}"] += 1


@dataclasses.dataclass
class Stage:
    """One drill's parts, ready to be used."""

    app: Flask
    database: Database
    own_settings: Settings
    settings: Settings
    payments: Payments
    outbox: MortalOutbox
    zeus: Simulator
    line: Line
    journey: Journey
    gate: Gate
    orders: Orders | None
    diary: Diary
    chance: random.Random

    def inside(self, work: Callable[[], T]) -> T:
        """Do it as in a view: in a request context of its own, which lends it no session of anybody else's."""
        return self._within(lambda: self.app.test_request_context("/", base_url=self.gate.base_url), work)

    def as_cron(self, work: Callable[[], T]) -> T:
        """Do it as a command would: in an app context, without a request."""
        return self._within(self.app.app_context, work)

    def _within(self, context: Callable[[], AbstractContextManager[object]], work: Callable[[], T]) -> T:
        def enter() -> T:
            with context():
                return work()

        return Context().run(enter)

    @contextmanager
    def testing(self, kind: TestType) -> Iterator[None]:
        """Let applications be tests of this type inside a with block, with the shop's own test id."""
        usual = self.payments.settings
        self.payments.settings = dataclasses.replace(usual, test_id=self.own_settings.test_id, test_type=kind)
        try:
            yield
        finally:
            self.payments.settings = usual


@contextmanager
def set_up(app: Flask, seed: int, choice: Choice, say: Callable[[str], object]) -> Iterator[Stage]:
    """Put everything in place; raises `ConfigurationError` if the drill cannot run here."""
    own = payments_of(app)
    db = app.extensions["sqlalchemy"]
    _refuse(own.settings)
    with ExitStack() as stack:
        stack.enter_context(marked())
        moved = stack.enter_context(journey())
        zeus = _zeus(own.settings, seed)
        line = Line(zeus.adapter())
        settings = _settings(own.settings, line)
        database = Database(app, db)
        outbox = MortalOutbox(app, database, settings)
        payments = Payments(app, database, settings, Gateway(settings), outbox)
        stack.enter_context(_instead(app, own, payments))
        orders = named(settings.drill_orders)
        stack.callback(_let_go, app, db)
        _let_go(app, db)
        stack.enter_context(in_place(app, db, choice, say))
        gate = gate_of(app, settings)
        zeus.attach(gate.notices, gate.callback, remote_addr=gate.zeus, headers=gate.headers(gate.zeus))
        diary = stack.enter_context(_listening())
        stack.enter_context(zeus)
        yield Stage(
            app=app,
            database=database,
            own_settings=own.settings,
            settings=settings,
            payments=payments,
            outbox=outbox,
            zeus=zeus,
            line=line,
            journey=moved,
            gate=gate,
            orders=orders,
            diary=diary,
            chance=random.Random(seed),
        )


def _refuse(settings: Settings) -> None:
    if not settings.callback_ips:
        raise ConfigurationError(
            "ZEUS_CVS_CALLBACK_IPS is not set, so every notice would be refused, ZEUS's own too. Set it to the two "
            "sender addresses that ZEUS's manual gives you."
        )


def _zeus(settings: Settings, seed: int) -> Simulator:
    zeus = Simulator(
        listen=False,
        clientip=settings.client_ip,
        testid=settings.test_id or _TEST_ID,
        clock=now,
        seed=seed,
    )
    zeus.contract.pay_within_days = 7
    return zeus


def _settings(own: Settings, line: Line) -> Settings:
    """The shop's own settings, but for the way to ZEUS, who delivers, and its test id."""
    return dataclasses.replace(
        own,
        transport=line,
        endpoint=NOWHERE,
        delivery=DeliveryMode.DEFERRED,
        test_id="",
        test_type=None,
    )


@contextmanager
def _instead(app: Flask, own: Payments, payments: Payments) -> Iterator[None]:
    own.stop()
    app.extensions[EXTENSION] = payments
    try:
        yield
    finally:
        app.extensions[EXTENSION] = own


def _let_go(app: Flask, db: SQLAlchemy) -> None:
    """End what the caller's session has begun, on whichever engine that was."""
    with app.app_context():
        db.session.remove()


@contextmanager
def _listening() -> Iterator[Diary]:
    """Have the package's log go to a diary only; the drill says itself what came of it all."""
    logger, diary = logging.getLogger("flask_zeus_cvs"), Diary()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(diary)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    try:
        yield diary
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.removeHandler(diary)
