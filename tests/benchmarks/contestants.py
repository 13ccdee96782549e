"""The contestants: WSGI applications that take a notice, from one that only answers to ours with all its duties.

gunicorn makes one with ``tests.benchmarks.contestants:create()``; what it is, and its database, are in the environment.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import psycopg
import sqlalchemy as sa
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine import make_url
from sqlalchemy.event import listen

from flask_zeus_cvs import ZeusCVS, payment_received, sale_confirmed
from flask_zeus_cvs.models import copy_tables

CLIENT_IP = "1234567890"
PATH = "/zeus-cvs/callback"
#: What *floor* and *raw* write: a notice under a unique key, and the state of a payment by its order number.
OWN = sa.MetaData()
NOTICES = sa.Table(
    "bench_notices",
    OWN,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("identity", sa.String(64), unique=True, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.DateTime, nullable=False, server_default=sa.func.now()),
)
PAYMENTS = sa.Table(
    "bench_payments",
    OWN,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("order_no", sa.String(50), unique=True, nullable=False),
    sa.Column("reference", sa.String(255), nullable=False),
    sa.Column("state", sa.String(40), nullable=False),
)
#: What our one subscriber writes: a row for each event.
EFFECTS = sa.Table(
    "bench_effects",
    OWN,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.Integer, unique=True, nullable=False),
)
Create = Callable[[str], Flask]


def null(_uri: str) -> Flask:
    """Answer, and do nothing."""
    app = Flask(__name__)
    app.add_url_rule(PATH, "callback", lambda: "OK")
    return app


def floor(uri: str) -> Flask:
    """The least durable thing in plain Flask-SQLAlchemy: two Core statements through ``db.session``, one commit."""
    app, db = app_of(uri)

    def callback() -> str:
        order_no, status = request.args["order_no"], request.args["status"]
        db.session.execute(
            sa.insert(NOTICES).values(identity=f"{order_no}:{status}", raw=request.query_string)
        )
        db.session.execute(sa.update(PAYMENTS).where(PAYMENTS.c.order_no == order_no).values(state=status))
        db.session.commit()
        return "OK"

    app.add_url_rule(PATH, "callback", callback)
    return app


def raw(uri: str) -> Flask:
    """The same two statements on the driver alone, over one connection for each thread of a worker."""
    app = Flask(__name__)
    connect, mark = _DRIVERS[make_url(uri).get_backend_name()]
    insert = f"INSERT INTO bench_notices (identity, raw) VALUES ({mark}, {mark})"  # noqa: S608
    update = f"UPDATE bench_payments SET state = {mark} WHERE order_no = {mark}"  # noqa: S608
    own = threading.local()

    def callback() -> str:
        if not hasattr(own, "connection"):
            own.connection = connect(uri)
        connection = own.connection
        order_no, status = request.args["order_no"], request.args["status"]
        cursor = connection.cursor()
        cursor.execute(insert, (f"{order_no}:{status}", request.query_string))
        cursor.execute(update, (status, order_no))
        connection.commit()
        return "OK"

    app.add_url_rule(PATH, "callback", callback)
    return app


def ours(uri: str) -> Flask:
    """Ours, with nobody to tell."""
    return _ours(uri, "background")


def subscriber(uri: str) -> Flask:
    """Ours, with one subscriber that writes one row, told by the background thread of each worker."""
    app = _ours(uri, "background")
    _subscribe(app)
    return app


def deferred(uri: str) -> Flask:
    """Ours, with one subscriber whom another process tells."""
    app = _ours(uri, "deferred")
    _subscribe(app)
    return app


def _ours(uri: str, delivery: str) -> Flask:
    app, db = app_of(uri)
    app.config.update(
        ZEUS_CVS_CLIENT_IP=CLIENT_IP, ZEUS_CVS_CALLBACK_IPS="127.0.0.1", ZEUS_CVS_DELIVERY=delivery
    )
    logging.getLogger("flask_zeus_cvs").setLevel(
        logging.CRITICAL
    )  # that nobody ships is said for each payment
    ZeusCVS(app, db)
    return app


def _subscribe(app: Flask) -> None:
    db: SQLAlchemy = app.extensions["sqlalchemy"]

    def book(_app: Flask, *, event: Any, **_extra: Any) -> None:
        db.session.execute(sa.insert(EFFECTS).values(event_id=event.id))

    payment_received.connect(book, app, name="book")
    sale_confirmed.connect(book, app, name="book")


def app_of(uri: str) -> tuple[Flask, SQLAlchemy]:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="not a secret", SQLALCHEMY_DATABASE_URI=uri)
    db = SQLAlchemy(app)
    if uri.startswith("sqlite"):
        with app.app_context():
            listen(db.engine, "connect", set_pragmas)
    return app, db


def set_pragmas(connection: Any, _record: object = None) -> None:
    """As a shop that takes money sets SQLite: what was committed survives a loss of power."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=20000"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite(uri: str) -> Any:
    connection = sqlite3.connect(make_url(uri).database or "", timeout=20)
    set_pragmas(connection)
    return connection


def _postgresql(uri: str) -> Any:
    return psycopg.connect(uri.replace("+psycopg", "", 1))


#: How the drivers are asked for a connection, and how they mark a value.
_DRIVERS: Mapping[str, tuple[Callable[[str], Any], str]] = MappingProxyType(
    {"sqlite": (_sqlite, "?"), "postgresql": (_postgresql, "%s")}
)
CONTESTANTS: Mapping[str, Create] = MappingProxyType(
    {
        "null": null,
        "floor": floor,
        "raw": raw,
        "ours": ours,
        "ours, one subscriber": subscriber,
        "ours, deferred": deferred,
    }
)


def create() -> Flask:
    """Make the contestant that the environment names."""
    return CONTESTANTS[os.environ["BENCH_CONTESTANT"]](os.environ["BENCH_URI"])


def all_tables() -> sa.MetaData:
    """Return the tables of all contestants."""
    metadata = sa.MetaData()
    copy_tables(metadata)
    for table in OWN.sorted_tables:
        table.to_metadata(metadata)
    return metadata
