"""A shop on an SQLite file with payments in every state, made once and laid out afresh for each round."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.event import listen

import flask_zeus_cvs.payments
from flask_zeus_cvs import EventData, ZeusCVS, fulfillment_ready
from flask_zeus_cvs.exceptions import GatewayError, NotSent, Unanswered
from flask_zeus_cvs.models import Payment
from flask_zeus_cvs.payments import payments_of
from tests.conftest import CLIENT_IP, CUSTOMER, ScriptedGateway, accepted
from tests.visitors import Visitor

STORES = ("D001", "D002", "D030", "D015", "D050", "D060")
#: Order numbers that notices have told of, and no answer yet.
WAITING = ("9000-1", "9000-2", "9000-3")


class WorkerDied(Exception):
    """Stands for the end of a process that was waiting for ZEUS."""


class Gateway(ScriptedGateway):
    """Answers as told; with `dies` set, the process ends before the answer."""

    dies = False

    def apply(self, request: Any) -> Any:
        if self.dies:
            raise WorkerDied
        return super().apply(request)


class Lots(random.Random):
    """Stands in for `secrets` where numbers for ZEUS are drawn, so that a seed makes the same bytes each time."""


class Stage:
    """The shop, and the file that its database is laid out from."""

    def __init__(self, folder: Path) -> None:
        self._file, self._kept = folder / "shop.db", folder / "kept.db"
        self.app = Flask("fuzz", instance_path=str(folder))
        self.app.config.update(
            TESTING=True,
            SECRET_KEY="not a secret",
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{self._file}",
            ZEUS_CVS_CLIENT_IP=CLIENT_IP,
            ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"],
            ZEUS_CVS_DELIVERY="deferred",
            ZEUS_CVS_RETRY_UNKNOWN_AFTER=0,
            ZEUS_CVS_MAX_ATTEMPTS=1000,
        )
        self.db = SQLAlchemy(self.app)
        self.zeus = ZeusCVS(self.app, self.db)
        self.gateway = Gateway()
        payments_of(self.app)._gateway = self.gateway  # type: ignore[assignment]
        self.http = Visitor(self.app, self.app.response_class)
        fulfillment_ready.connect_via(self.app)(ship)
        self._fill()

    @contextmanager
    def round(self, lots: random.Random) -> Iterator[sqlite3.Connection]:
        """Lay the database out as it was kept; yields a connection to look into it."""
        self._leave()
        shutil.copyfile(self._kept, self._file)
        look = sqlite3.connect(self._file, isolation_level=None)
        self.gateway.answers.clear()
        try:
            with patch.object(flask_zeus_cvs.payments, "secrets", lots):
                yield look
        finally:
            look.close()
            self._leave()

    def close(self) -> None:
        """Let go of the database."""
        self._leave()

    def _leave(self) -> None:
        with self.app.app_context():
            self.db.engine.dispose()
        for end in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + end).unlink(missing_ok=True)

    def _fill(self) -> None:
        with self.app.app_context():
            listen(self.db.engine, "connect", _hurry)
            self.db.create_all()
            with patch.object(flask_zeus_cvs.payments, "secrets", Lots(0)):
                Cast(self).enter()
            self.db.session.remove()
            with self.db.engine.begin() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            self.db.engine.dispose()
        shutil.copyfile(self._file, self._kept)


def _hurry(connection: Any, record: Any) -> None:
    """A power failure would lose the fuzzer's database, and nobody would miss it."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")


def ship(app: Flask, *, payment: Payment, event: EventData, **extra: Any) -> None:
    """The one receiver: it does nothing, and is there to be called."""


class Cast:
    """The payments of the stage: every state that an application can be in, and some that few think of."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._made = 0

    def enter(self) -> None:
        """Make them all, by what a shop, its customers and ZEUS would do."""
        self._slips()
        self._without_numbers()
        self._refused()
        self._moved()
        self._reissued()
        self._closed()
        self._tried_twice()
        for order_no, status in zip(WAITING, ("01", "04", "06"), strict=True):
            self._notify(order_no, status)

    def _slips(self) -> None:
        """Waiting for the customer, at each store and for the least and the greatest amount."""
        for store, amount in zip(STORES, (200, 3000, 299_999, 3000, 500, 1000), strict=True):
            self._slip(self._payment(amount), store)
        self._slip(self._payment(), answer=b"rel=Success_order\norder_no=7000-1\n")

    def _without_numbers(self) -> None:
        """Nothing applied for yet; a worker died; nobody knows."""
        self._payment()
        payment = self._payment()
        self._stage.gateway.dies = True
        try:
            self._stage.zeus.submit(payment, CUSTOMER, "D002")
        except WorkerDied:
            self._stage.gateway.dies = False
        self._slip(self._payment(), answer=b"")
        self._slip(self._payment(), answer=Unanswered("time-out"))

    def _refused(self) -> None:
        """Declined with an order number and without, never sent, failed."""
        self._slip(self._payment(), answer=b"rel=failure_order\norder_no=7000-2\nerror_code=0008\n")
        self._slip(self._payment(), answer=b"Invalid telno")
        self._slip(self._payment(), answer=NotSent("no route"))
        self._told(self._payment(), "02", b"")

    def _moved(self) -> None:
        """Where a notice has brought them."""
        for history in ("03", "04", "05", "06", "04 05", "04 06", "04 13"):
            order_no = self._slip(self._payment())
            for status in history.split():
                self._notify(order_no, status)

    def _reissued(self) -> None:
        """A slip, its re-issue, and money on either."""
        for number, history in enumerate(("", "11", "12", "13", "11 12")):
            payment = self._payment()
            old = self._slip(payment)
            sendid = payment.applications[-1].sendid
            self._notify(f"8000-{number}", "01", sendid)
            for status in history.split():
                self._notify(old, status)

    def _closed(self) -> None:
        """Closed by the shop, with the slip out and with the money in."""
        for history in ("", "04"):
            payment = self._payment()
            order_no = self._slip(payment)
            for status in history.split():
                self._notify(order_no, status)
            self._stage.zeus.close(payment)
            self._stage.db.session.commit()

    def _tried_twice(self) -> None:
        """A second application after the first came to nothing, or to nothing that anyone knows."""
        for first in (b"Invalid telno", b""):
            payment = self._payment()
            self._slip(payment, answer=first)
            self._slip(payment)
        payment = self._payment()
        self._slip(payment)
        self._slip_paid_twice(payment)

    def _slip_paid_twice(self, payment: Payment) -> None:
        """Expired and applied for again, and then both slips are paid."""
        first = payment.applications[-1].order_no or ""
        self._notify(first, "03")
        second = self._slip(payment)
        for order_no in (first, second):
            self._notify(order_no, "04")

    def _payment(self, amount: int = 3000) -> Payment:
        self._made += 1
        payment = self._stage.zeus.create_payment(amount=amount, reference=f"A-{self._made}")
        self._stage.db.session.commit()
        return payment

    def _slip(self, payment: Payment, store: str = "D002", answer: bytes | GatewayError | None = None) -> str:
        """Apply; returns the order number if there is one."""
        self._made += 1
        self._stage.gateway.answers.append(answer if answer is not None else accepted(f"1000-{self._made}"))
        return self._stage.zeus.submit(payment, CUSTOMER, store).order_no or ""

    def _told(self, payment: Payment, status: str, answer: bytes) -> None:
        """Let a notice say by our own sendid what came of an application whose answer was lost."""
        self._slip(payment, answer=answer)
        self._notify("", status, payment.applications[-1].sendid)

    def _notify(self, order_no: str, status: str, sendid: str = "") -> None:
        raw = f"clientip={CLIENT_IP}&order_no={order_no}&sendid={sendid}&status={status}"
        self._stage.zeus.receive(raw.encode("ascii"))
