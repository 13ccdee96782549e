"""What PostgreSQL does for each statement of a notice, on tables of ten million rows: ``make bench ARGS=plans``.

It records whatever is executed while a shop of several years takes a notice of each kind and tells its subscriber,
and has each statement explained. A plan that reads a whole table of ours, or a whole index, is a fault.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from flask import Flask

from flask_zeus_cvs.exceptions import UnreadableNotice
from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.models import Application, Payment
from flask_zeus_cvs.payments import Payments, payments_of

CLIENT_IP = "1234567890"
#: Rows that the planner is made to believe in.
MANY = 10_000_000
_OURS = "zeus_cvs_"
_EXPLAINABLE = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_BY_INDEX = frozenset({"Index Scan", "Index Only Scan", "Bitmap Index Scan"})


@dataclass(frozen=True)
class Statement:
    """What was sent to the database, once for every text."""

    text: str
    values: Any


@dataclass(frozen=True)
class Plan:
    """What PostgreSQL would do for a statement."""

    text: str
    root: Mapping[str, Any]

    @property
    def faults(self) -> list[str]:
        """What it reads from end to end."""
        return [each for node in self.nodes() if (each := _fault(node))]

    @property
    def indexes(self) -> set[str]:
        """The indexes that it looks things up in."""
        return {node["Index Name"] for node in self.nodes() if node["Node Type"] in _BY_INDEX}

    @property
    def cost(self) -> float:
        """What the planner expects, in its own unit: a page read in order is 1."""
        return float(self.root["Total Cost"])

    def nodes(self) -> Iterator[Mapping[str, Any]]:
        waiting = [self.root]
        for node in waiting:
            waiting += node.get("Plans", ())
            yield node

    def __str__(self) -> str:
        return f"{' '.join(self.text.split())}\n{json.dumps(self.root, indent=1)}"


def _fault(node: Mapping[str, Any]) -> str:
    kind, table = node["Node Type"], node.get("Relation Name", "")
    if kind == "Seq Scan" and table.startswith(_OURS):
        return f"reads all of {table}"
    if kind in _BY_INDEX and "Index Cond" not in node and node["Index Name"].find(_OURS) >= 0:
        return f"reads all of {node['Index Name']}"
    return ""


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Collect what any thread of this process sends to a database."""
    seen: dict[str, Statement] = {}

    def note(_connection: Any, _cursor: Any, text: str, values: Any, _context: Any, _many: bool) -> None:
        if _EXPLAINABLE.match(text):
            seen.setdefault(text, Statement(text, values[0] if isinstance(values, list) else values))

    found: list[Statement] = []
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
        found += seen.values()


def plan(connection: sa.Connection, statement: Statement) -> Plan:
    """Have a statement explained, with its values; nothing is executed."""
    text = "EXPLAIN (FORMAT JSON) " + statement.text
    said = connection.exec_driver_sql(text, statement.values).scalar_one()
    return Plan(statement.text, said[0]["Plan"])


@contextmanager
def believing(engine: sa.Engine, rows: int = MANY) -> Iterator[sa.Connection]:
    """Give a connection on which the planner takes each table of ours to hold so many rows; undone afterwards.

    It multiplies the density that the last ANALYZE found with the pages that the file really has.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.execute(
            sa.text(
                "UPDATE pg_class SET reltuples = :rows, relpages = greatest(1, pg_relation_size(oid) / 8192)"
                " WHERE relkind = 'r' AND relname LIKE :ours"
            ),
            {"rows": rows, "ours": _OURS.replace("_", r"\_") + "%"},
        )
        yield connection
        connection.rollback()


# What is sent


def _notice(status: str, amount: int, order_no: str = "", sendid: str = "") -> bytes:
    return (
        f"clientip={CLIENT_IP}&money={amount}&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E&telno=09012345678"
        f"&email=taro%40example.com&sendid={sendid}&sendpoint=&order_no={order_no}&pay_cvs=D002&pay_no1=123456"
        f"&pay_no2=654321&pay_limit=20991231&status={status}&error_code="
    ).encode()


class _Slips:
    """Slips of a stored shop, each given once, and numbers that nobody knows."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._given: set[int] = set()

    def __call__(self, state: State) -> tuple[str, str, int]:
        """Return order_no, sendid and yen of a slip in this state, newest first."""
        wanted = (
            sa.select(Application.id, Application.order_no, Application.sendid, Payment.amount)
            .join(Payment)
            .where(Application.stored_state == state, Application.id.not_in(self._given))
            .order_by(Application.id.desc())
        )
        found = self._payments.database.read(lambda session: session.execute(wanted.limit(1)).one())
        self._given.add(found.id)
        return found.order_no or "", found.sendid, found.amount


def _first(slips: _Slips) -> list[bytes]:
    order_no, sendid, amount = slips(State.AWAITING_PAYMENT)
    return [_notice("04", amount, order_no, sendid)]


def _confirmed(slips: _Slips) -> list[bytes]:
    order_no, sendid, amount = slips(State.RECEIVED)
    return [_notice("05", amount, order_no, sendid)]


def _cancelled(slips: _Slips) -> list[bytes]:
    order_no, sendid, amount = slips(State.RECEIVED)
    return [_notice("06", amount, order_no, sendid)]


def _repeat(slips: _Slips) -> list[bytes]:
    return _first(slips) * 2


def _repeat_after_cancel(slips: _Slips) -> list[bytes]:
    order_no, sendid, amount = slips(State.AWAITING_PAYMENT)
    return [_notice(status, amount, order_no, sendid) for status in ("04", "06", "04")]


def _wrong_amount(slips: _Slips) -> list[bytes]:
    order_no, sendid, amount = slips(State.AWAITING_PAYMENT)
    return [_notice("04", amount + 1, order_no, sendid)]


def _by_sendid(slips: _Slips) -> list[bytes]:
    _, sendid, amount = slips(State.AWAITING_PAYMENT)
    return [_notice("04", amount, sendid=sendid)]


def _before_its_answer(slips: _Slips) -> list[bytes]:
    _, sendid, amount = slips(State.FAILED)
    return [_notice("01", amount, _new_order_no(), sendid)]


def _re_issue(slips: _Slips) -> list[bytes]:
    _, sendid, amount = slips(State.AWAITING_PAYMENT)
    return [_notice("04", amount, _new_order_no(), sendid)]


def _unknown_order(_slips: _Slips) -> list[bytes]:
    return [_notice("04", 3000, _new_order_no(), secrets.token_hex(10))]


def _unreadable(_slips: _Slips) -> list[bytes]:
    return [b"order_no=" + _new_order_no().encode()]


def _new_order_no() -> str:
    return f"{secrets.randbelow(10**12):012d}-9"


#: The kinds of notices: each takes another way through the verbs.
KINDS: Mapping[str, Callable[[_Slips], list[bytes]]] = MappingProxyType(
    {
        "a first 04": _first,
        "05 after 04": _confirmed,
        "06 after 04": _cancelled,
        "a repeat": _repeat,
        "a repeat after 06": _repeat_after_cancel,
        "another amount": _wrong_amount,
        "by sendid alone": _by_sendid,
        "before its answer": _before_its_answer,
        "a re-issue": _re_issue,
        "an order that nobody knows": _unknown_order,
        "unreadable": _unreadable,
    }
)


def executed(app: Flask, afterwards: Callable[[Payments], object]) -> dict[str, list[Statement]]:
    """Have an app take a notice of each kind; returns what was executed, from the callback to what comes ``afterwards``.

    Its database is one of `million`'s.
    """
    told: dict[str, list[Statement]] = {}
    with app.app_context():
        payments = payments_of(app)
        slips = _Slips(payments)
        for kind, compose in KINDS.items():
            notices = compose(slips)
            with recorded() as statements:
                for raw in notices:
                    _take(payments, raw)
                afterwards(payments)
            told[kind] = statements
    return told


def _take(payments: Payments, raw: bytes) -> None:
    try:
        payments.receive(raw)
    except UnreadableNotice:  # kept, with a review
        return
