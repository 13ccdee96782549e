"""What PostgreSQL does for each statement of a notice, on tables of ten million rows: ``make bench ARGS=plans``.

It records whatever is executed while a shop of several years takes a notice of each kind and tells its subscriber,
and has each statement explained. A plan that reads a whole table of ours, or a whole index, is a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import click
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.event import listen, remove

from flask_zeus_cvs.exceptions import UnreadableNotice
from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.models import Application, Payment
from flask_zeus_cvs.payments import Payments, payments_of
from tests.benchmarks import million
from tests.benchmarks.contestants import CLIENT_IP, OWN, ours, subscriber
from tests.benchmarks.store import engine_of
from tests.servers import postgresql

#: Rows that the planner is made to believe in.
MANY = 10_000_000
#: Notices that are timed, and those before them that are not.
COUNT, WARM_UP = 150, 30
#: Payments of which enough wait for these notices.
LEAST = 50_000
_OURS = "zeus_cvs_"
#: The one table that does not grow: a row for each command.
SMALL = "zeus_cvs_memos"
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
    if kind == "Seq Scan" and table.startswith(_OURS) and table != SMALL:
        return f"reads all of {table}"
    if kind in _BY_INDEX and "Index Cond" not in node and node["Index Name"].find(_OURS) >= 0:
        return f"reads all of {node['Index Name']}"
    return ""


@contextlib.contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Collect what any thread of this process sends to a database."""
    seen: dict[str, Statement] = {}

    def note(_connection: Any, _cursor: Any, text: str, values: Any, _context: Any, _many: bool) -> None:
        if _EXPLAINABLE.match(text):
            seen.setdefault(text, Statement(text, values[0] if isinstance(values, list) else values))

    found: list[Statement] = []
    listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        remove(sa.Engine, "before_cursor_execute", note)
        found += seen.values()


def plan(connection: sa.Connection, statement: Statement) -> Plan:
    """Have a statement explained, with its values; nothing is executed."""
    text = "EXPLAIN (FORMAT JSON) " + statement.text
    said = connection.exec_driver_sql(text, statement.values).scalar_one()
    return Plan(statement.text, said[0]["Plan"])


@contextlib.contextmanager
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


# The command


@dataclass(frozen=True)
class Took:
    """What first notices of slips that wait took: CPU of this process, and seconds in all."""

    cpu: float
    p50: float
    p99: float


def timed(app: Flask, count: int) -> Took:
    """Have an app take so many first notices, one after the other."""
    with app.app_context():
        payments = payments_of(app)
        slips = _Slips(payments)
        notices = [notice for _ in range(count) for notice in _first(slips)]
        for raw in notices[:WARM_UP]:
            payments.receive(raw)
        spent, each = time.process_time(), []
        for raw in notices[WARM_UP:]:
            began = time.perf_counter()
            payments.receive(raw)
            each.append(time.perf_counter() - began)
        spent = time.process_time() - spent
    return Took(spent / len(each), statistics.median(each), sorted(each)[int(len(each) * 0.99)])


def sizes(connection: sa.Connection) -> Iterator[str]:
    """Write how large each table is, and each of its indexes."""
    yield f"{'':<44}{'rows':>14}{'MB':>10}{'bytes/row':>11}"
    for name, rows, size in connection.execute(_SIZES):
        yield f"{name:<44}{rows:>14,.0f}{size / 2**20:>10,.0f}{size / max(rows, 1):>11,.0f}"


_SIZES = sa.text(
    "SELECT class.relname, greatest(class.reltuples, 0), pg_relation_size(class.oid)"
    " FROM pg_class AS class LEFT JOIN pg_index ON indexrelid = class.oid"
    " JOIN pg_class AS main ON main.oid = coalesce(indrelid, class.oid)"
    r" WHERE main.relname LIKE 'zeus\_cvs\_%' AND class.relkind IN ('r', 'i')"
    " ORDER BY main.relname, class.relkind DESC, class.relname"
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks plans", description=__doc__)
    parser.add_argument("--stored", type=int, default=200_000, help="payments that are really stored")
    parser.add_argument(
        "--against", type=int, default=LEAST, help="payments that the times are compared with"
    )
    given = parser.parse_args(arguments)
    if min(given.stored, given.against) < LEAST:
        parser.error(f"of fewer than {LEAST:,} payments too few wait for a notice")
    with contextlib.ExitStack() as stack:
        admin = million.kept() or stack.enter_context(_server())
        uris = [million.million(admin, count) for count in (given.against, given.stored)]
        faults = _explain(uris[1])
        for count, uri in zip((given.against, given.stored), uris, strict=True):
            took = timed(ours(uri), WARM_UP + COUNT)
            click.echo(
                f"{count:>12,} stored: {took.cpu * 1e3:.2f} ms of CPU, p50 {took.p50 * 1e3:.2f} ms,"
                f" p99 {took.p99 * 1e3:.2f} ms a notice"
            )
    return int(faults > 0)


@contextlib.contextmanager
def _server() -> Iterator[str]:
    with postgresql() as server:
        yield server.uri(server.main)


def _explain(uri: str) -> int:
    """Print what is stored and the costliest statement of each kind; returns how many statements have a fault."""
    faults = 0
    OWN.create_all(engine_of(uri))
    told = executed(subscriber(uri), lambda payments: payments.deliver_now())
    with engine_of(uri).connect() as connection:
        for line in sizes(connection):
            click.echo(line)
        for kind, statements in told.items():
            found = [plan(connection, each) for each in statements]
            faults += sum(bool(each.faults) for each in found)
            costliest = max(found, key=lambda each: each.cost)
            wrong = "; ".join(fault for each in found for fault in each.faults) or "by index only"
            click.echo(f"{kind:<28}{len(found):>3} statements, cost at most {costliest.cost:>8,.1f}: {wrong}")
    return faults
