"""The shop under torture: every event is counted and called out, by receivers that misbehave in every way we know.

Its settings come as JSON in SHOP: ``flask`` for the app's config, the rest for `Torment`.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from celery import Celery  # type: ignore[import-untyped]
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.event import listens_for
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_zeus_cvs import EventData, EventKind, ZeusCVS, outbox
from flask_zeus_cvs.contrib.celery import DELIVER_DUE, deliver_with
from flask_zeus_cvs.models import Delivery, copy_tables
from flask_zeus_cvs.signals import SIGNALS
from tests.torture.journal import Journal

#: The receivers of every event: one counts in the shop's own table, one tells the world outside.
COUNTER, CALLER = "counter", "caller"
#: One that commits by itself, as receivers should not; of few events, for each failure of its is a person's to mend.
LOOSE = "loose"
#: Which receivers hear of which events.
RECEIVERS = {
    kind: (COUNTER, CALLER, LOOSE)
    if kind in (EventKind.SALE_CONFIRMED, EventKind.PAYMENT_CANCELLED)
    else (COUNTER, CALLER)
    for kind in SIGNALS
}


class Base(DeclarativeBase):
    """The shop's own tables."""


class Count(Base):
    """One row for each time that a receiver has counted an event. No unique key: a doubling must be able to show."""

    __tablename__ = "torture_counts"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(index=True)
    subscriber: Mapped[str] = mapped_column(sa.String(40))


db = SQLAlchemy(model_class=Base)


class Misbehaved(Exception):
    """A receiver raised, as it was told to."""


@dataclass(frozen=True)
class Torment:
    """What the shop is made to suffer; ``lease``, ``first_retry`` and ``poll`` in seconds."""

    journal: str
    seed: int
    lease: float
    first_retry: float
    poll: float
    #: Share of the calls that outlive their lease.
    slow: float
    wal: bool = False
    #: Where Celery's broker is, if delivering is left to Celery.
    broker: str = ""


@dataclass(frozen=True)
class Turn:
    """One call of one receiver: which claim of which delivery it serves."""

    event: int
    subscriber: str
    lease: str
    until: float
    torment: Torment

    def count(self) -> None:
        db.session.add(Count(event_id=self.event, subscriber=self.subscriber))
        db.session.flush()

    def outlive_the_lease(self) -> None:
        time.sleep(max(0.0, self.until - time.time()) + 0.5)


# How a receiver can behave


def behave(turn: Turn) -> None:
    turn.count()


def raise_at_once(turn: Turn) -> None:
    raise Misbehaved


def count_and_raise(turn: Turn) -> None:
    turn.count()
    raise Misbehaved


def count_and_leave(turn: Turn) -> None:
    turn.count()
    raise SystemExit(1)


def swallow_a_failed_flush(turn: Turn) -> None:
    """Return as if all were well; the count is lost with the transaction, so the call must not pass for done."""
    turn.count()
    with suppress(SQLAlchemyError):
        db.session.add(Count(event_id=turn.event))
        db.session.flush()


def swallow_a_failed_statement(turn: Turn) -> None:
    turn.count()
    with suppress(SQLAlchemyError):
        db.session.execute(sa.text("select no_such_column from torture_counts"))


def start_over(turn: Turn) -> None:
    turn.count()
    db.session.rollback()
    turn.count()


def start_over_after_a_failed_flush(turn: Turn) -> None:
    swallow_a_failed_flush(turn)
    db.session.rollback()
    turn.count()


def take_another_session(turn: Turn) -> None:
    turn.count()
    db.session.remove()
    turn.count()


def nest(turn: Turn) -> None:
    """A savepoint as the very first statement: SQLite's driver has begun no transaction then."""
    with db.session.begin_nested():
        turn.count()


def nest_and_raise(turn: Turn) -> None:
    nest(turn)
    raise Misbehaved


def nest_in_vain_first(turn: Turn) -> None:
    with suppress(Misbehaved), db.session.begin_nested():
        turn.count()
        raise Misbehaved
    nest(turn)


def dawdle(turn: Turn) -> None:
    turn.outlive_the_lease()
    turn.count()


def count_and_dawdle(turn: Turn) -> None:
    """Hold what is counted while another worker takes over; SQLite's only write lock would keep it from that."""
    if db.engine.dialect.name == "sqlite":
        turn.outlive_the_lease()
    turn.count()
    turn.outlive_the_lease()


def commit(turn: Turn) -> None:
    turn.count()
    db.session.commit()


def commit_and_raise(turn: Turn) -> None:
    commit(turn)
    raise Misbehaved


def dawdle_and_commit(turn: Turn) -> None:
    turn.outlive_the_lease()
    commit(turn)


def call_out(turn: Turn) -> None:
    """Do nothing more: the journal's own lines are the call."""


def call_out_and_dawdle(turn: Turn) -> None:
    turn.outlive_the_lease()


Way = Callable[[Turn], None]

#: How each receiver behaves, out of a thousand calls. About a third of all calls fail.
WAYS: dict[str, dict[Way, int]] = {
    COUNTER: {
        behave: 440,
        raise_at_once: 80,
        count_and_raise: 90,
        count_and_leave: 10,
        nest_and_raise: 70,
        swallow_a_failed_flush: 60,
        swallow_a_failed_statement: 30,
        start_over: 60,
        start_over_after_a_failed_flush: 30,
        take_another_session: 30,
        nest: 60,
        nest_in_vain_first: 40,
    },
    CALLER: {call_out: 667, raise_at_once: 333},
    LOOSE: {commit: 667, raise_at_once: 133, commit_and_raise: 200},
}
#: And in those calls that are to outlive their lease.
SLOW_WAYS: dict[str, dict[Way, int]] = {
    COUNTER: {dawdle: 1, count_and_dawdle: 1},
    CALLER: {call_out_and_dawdle: 1},
    LOOSE: {dawdle_and_commit: 1},
}


def create_app() -> Flask:
    """Make the shop of the settings in SHOP; the outbox's own times are shortened for the whole process."""
    given = json.loads(os.environ["SHOP"])
    config, torment = given.pop("flask"), Torment(**given)
    outbox.LEASE = timedelta(seconds=torment.lease)
    outbox.FIRST_RETRY = timedelta(seconds=torment.first_retry)
    outbox.POSTPONED = timedelta(seconds=1)
    outbox.POLL_SECONDS = torment.poll
    app = Flask(__name__)
    app.config.update(SECRET_KEY="not a secret", ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"], **config)
    db.init_app(app)
    ZeusCVS(app, db)
    with app.app_context():
        set_pragmas(db.engine, wal=torment.wal)
    connect_receivers(app, torment)
    if torment.broker:
        leave_to_celery(app, torment)
    return app


def leave_to_celery(app: Flask, torment: Torment) -> None:
    """Have Celery deliver, with sweeps as frequent as the outbox's own looks would be."""
    celery = app.extensions["celery"] = Celery(app.name, broker=torment.broker, set_as_current=False)
    celery.conf.update(
        broker_connection_retry_on_startup=True,
        beat_max_loop_interval=torment.poll,
        beat_schedule={DELIVER_DUE: {"task": DELIVER_DUE, "schedule": torment.poll}},
    )
    deliver_with(celery, app)


def create_tables(uri: str) -> None:
    """Make the tables as the shop has them, ours among its own."""
    copy_tables(db.metadata)
    engine = sa.create_engine(uri, poolclass=sa.pool.NullPool)
    db.metadata.create_all(engine)


def connect_receivers(app: Flask, torment: Torment) -> None:
    journal = Journal(Path(torment.journal))
    journal.note("start")
    listen(journal)
    for kind, signal in SIGNALS.items():
        for name in RECEIVERS[kind]:
            signal.connect(receiver(name, torment, journal), app, name=name)


def receiver(name: str, torment: Torment, journal: Journal) -> Callable[..., None]:
    """Make a receiver that behaves at random, as `WAYS` has it, and writes in the journal that it was called."""

    def receive(app: Flask, *, event: EventData, **extra: Any) -> None:
        turn = turn_of(event.id, name, torment)
        dice = random.Random(f"{torment.seed} {event.id} {name} {turn.lease}")
        ways = (SLOW_WAYS if dice.random() < torment.slow else WAYS)[name]
        (way,) = dice.choices(list(ways), list(ways.values()))
        fact = (event.id, name, turn.lease, turn.until)
        journal.note("begin", *fact)
        try:
            way(turn)
        except BaseException:
            journal.note("end", *fact, outcome="raised")
            raise
        journal.note("end", *fact, outcome="ok")

    return receive


def turn_of(event: int, name: str, torment: Torment) -> Turn:
    lease, until = db.session.execute(
        sa.select(Delivery.lease, Delivery.leased_until).where(
            Delivery.event_id == event, Delivery.subscriber == name
        )
    ).one()
    return Turn(event, name, lease or "", until.timestamp() if until else 0.0, torment)


#: What the journal has of what the outbox logs.
_TOLD = {"delivery_failed": "failed", "parked": "parked"}


class _Listener(logging.Handler):
    """Writes in the journal which deliveries the outbox says have failed, and which it has given up on."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        said = vars(record)
        if "subscriber" in said and said["action"] in _TOLD:
            self._journal.note(_TOLD[said["action"]], said["event"], said["subscriber"])


def listen(journal: Journal) -> None:
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    logger = logging.getLogger("flask_zeus_cvs")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Listener(journal))


def set_pragmas(engine: sa.Engine, *, wal: bool) -> None:
    """Have SQLite write ahead, as the example shop does, or not, as many shops will leave it.

    It does not wait for the disk: processes are killed here, and nobody pulls the plug.
    """
    if engine.dialect.name != "sqlite":
        return

    @listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
