"""A shop whose receivers sleep when told to, for tests of delivery under real servers.

Its settings come as JSON in SHOP. What is named SHOP_… is its own: SHOP_DESK (a folder), SHOP_SLIPS (how many slips
wait to be paid), SHOP_SLEEP (seconds), SHOP_EXIT_SECONDS (the outbox's own), SHOP_USE_FIRST (use the database before
any worker is forked).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask, jsonify
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy

from flask_zeus_cvs import Customer, EventData, State, ZeusCVS, fulfillment_ready, outbox
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.models import Application, Payment
from flask_zeus_cvs.protocol.codes import Store

#: Short enough that a test sees a dead worker's delivery taken over.
LEASE = timedelta(seconds=3)
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Desk:
    """A folder through which a test and the receivers of all processes know of each other."""

    folder: Path

    @property
    def _asleep(self) -> Path:
        return self.folder / "asleep"

    @property
    def _journal(self) -> Path:
        return self.folder / "journal"

    def put_to_sleep(self) -> None:
        """From now on a receiver that is called sleeps first."""
        self._asleep.touch()

    def wake(self) -> None:
        """From now on receivers are quick; who sleeps already sleeps on."""
        self._asleep.unlink(missing_ok=True)

    @property
    def is_asleep(self) -> bool:
        return self._asleep.exists()

    def note(self, what: str, reference: str) -> None:
        """Write one line; whole, whichever process and thread writes at the same time."""
        with self._journal.open("ab", buffering=0) as journal:
            journal.write(f"{what} {os.getpid()} {reference}\n".encode())

    def noted(self, what: str) -> list[tuple[int, str]]:
        """The process and the order of each call that has begun, or ended."""
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        return [(int(pid), reference) for said, pid, reference in map(str.split, lines) if said == what]

    def busy(self) -> set[int]:
        """The processes in which a receiver has begun and not ended."""
        left = Counter(pid for pid, _ in self.noted("begin"))
        left.subtract(Counter(pid for pid, _ in self.noted("end")))
        return {pid for pid, calls in left.items() if calls}


def create_app(settings: dict[str, Any] | None = None) -> Flask:
    """Make the shop; its settings come as JSON in SHOP, unless they are given: then it is set up for others."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="not a secret", ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"])
    app.config.update(settings or json.loads(os.environ["SHOP"]))
    db = SQLAlchemy(app)
    zeus = ZeusCVS(app, db)
    counted = connect(app, db)
    if settings is not None:
        set_up(app, db, zeus)
        return app
    outbox.LEASE, outbox.POLL_SECONDS = LEASE, POLL_SECONDS
    outbox.EXIT_SECONDS = app.config.get("SHOP_EXIT_SECONDS", outbox.EXIT_SECONDS)
    if app.config.get("SHOP_USE_FIRST"):
        use(app, db, counted)
    return app


def connect(app: Flask, db: SQLAlchemy) -> sa.Table:
    """Connect a receiver that counts in the shop's own table, and a route that tells of this process."""
    desk, seconds = Desk(Path(app.config["SHOP_DESK"])), float(app.config.get("SHOP_SLEEP", 60))
    # No unique key: if something were delivered twice, it would have to show.
    counted = sa.Table(
        "counted",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("reference", sa.String(40), nullable=False),
    )

    @fulfillment_ready.connect_via(app)
    def count(app: Flask, *, payment: Payment, event: EventData, **extra: Any) -> None:
        reference = payment.reference
        desk.note("begin", reference)
        if desk.is_asleep:
            time.sleep(seconds)
        db.session.execute(counted.insert().values(reference=reference))
        desk.note("end", reference)

    @app.get("/process")
    def process() -> ResponseReturnValue:
        return jsonify(pid=os.getpid(), threads=[each.name for each in threading.enumerate()])

    return counted


def set_up(app: Flask, db: SQLAlchemy, zeus: ZeusCVS) -> None:
    """Make the tables, and slips that wait to be paid: A-0 has the order number 0-1, and so on."""
    with app.app_context():
        db.create_all()
        if zeus.find("A-0") is None:
            db.session.add_all(slip(zeus, number) for number in range(app.config["SHOP_SLIPS"]))
            db.session.commit()
        db.session.remove()
        db.engine.dispose()


def slip(zeus: ZeusCVS, number: int) -> Application:
    return Application(
        payment=zeus.create_payment(amount=3000, reference=f"A-{number}"),
        sendid=f"S{number}",
        store=Store.FAMILYMART,
        stored_state=State.AWAITING_PAYMENT,
        order_no=f"{number}-1",
        customer=Customer("ヤマダ　タロウ", "09012345678", "taro@example.com"),
        answer_due_at=now(),
    )


def use(app: Flask, db: SQLAlchemy, table: sa.Table) -> None:
    """Use the database as shops do when they start; some connections stay in the pool, open."""
    with app.app_context():
        db.create_all()
        connections = [db.engine.connect() for _ in range(3)]
        for connection in connections:
            connection.execute(sa.select(table)).all()
            connection.close()


def paid(number: int) -> str:
    """The notice that slip ``number`` was paid."""
    return f"order_no={number}-1&status=04&money=3000"


class Books:
    """What the shop's database says, read from outside."""

    def __init__(self, uri: str) -> None:
        self._engine = sa.create_engine(uri, poolclass=sa.pool.NullPool)

    def counted(self) -> Counter[str]:
        """How often the receiver has counted each order."""
        return Counter(self._all("SELECT reference FROM counted"))

    def deliveries(self) -> Counter[str]:
        """How many deliveries there are in each state."""
        return Counter(self._all("SELECT state FROM zeus_cvs_deliveries"))

    def _all(self, query: str) -> list[str]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(query)).scalars())
