"""A PostgreSQL with as many payments as a busy shop has after two years: what staff's commands are measured on.

Ids grow with time, hours of the day have their share, and every state, store and kind of notice occurs. With
``--keep`` the server goes on running for whoever measures next, and a second call finds it; ``--drop`` ends it.
"""

from __future__ import annotations

import argparse
import atexit
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote_from_bytes

import sqlalchemy as sa

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.models import copy_tables
from tests.servers import postgresql

DAYS = 730
#: Where ``--keep`` leaves word of its server.
WORD = Path(tempfile.gettempdir()) / "zeus-cvs-million.json"
FAMILIES = (
    "サトウ",
    "スズキ",
    "タカハシ",
    "タナカ",
    "イトウ",
    "ワタナベ",
    "ヤマモト",
    "ナカムラ",
    "コバヤシ",
    "カトウ",
)
GIVEN = ("ハナコ", "タロウ", "ユキ", "ケンイチ", "ミサキ", "ショウ", "アオイ", "ヒロシ", "マリ", "ジュン")

#: A payment's kind, its share, and the applications that it takes: fate, and hours after the one before.
KINDS = (
    ("never applied", 0.030, ()),
    ("paid", 0.660, (("paid", 0.05),)),
    ("unpaid", 0.158, (("unpaid", 0.05),)),
    ("declined", 0.010, (("declined", 0.05),)),
    ("cancelled", 0.006, (("cancelled", 0.05),)),
    ("unknown", 0.001, (("unknown", 0.05),)),
    ("unpaid, then paid", 0.040, (("unpaid", 0.05), ("paid", 300.0))),
    ("declined, then paid", 0.050, (("declined", 0.05), ("paid", 0.2))),
    ("declined, then unpaid", 0.020, (("declined", 0.05), ("unpaid", 0.2))),
    ("not sent, then paid", 0.018, (("not sent", 0.05), ("paid", 0.1))),
    ("re-issued", 0.006, (("superseded", 0.05), ("paid", 30.0))),
    ("paid after cancel", 0.001, (("paid after cancel", 0.05), ("unpaid", 30.0))),
)
STORES = (("D001", 0.45), ("D030", 0.25), ("D002", 0.20), ("D050", 0.04), ("D015", 0.03), ("D060", 0.03))

_PLAN = (
    "CREATE UNLOGGED TABLE plan_kinds (kind int, above float8, below float8, lives int)",
    "CREATE UNLOGGED TABLE plan_lives (kind int, nth int, fate text, hours float8)",
    "CREATE UNLOGGED TABLE plan_stores (code text, above float8, below float8)",
    "CREATE UNLOGGED TABLE plan_names (n int, name text, encoded text)",
    "CREATE UNLOGGED TABLE plan_payments (p int, created timestamp, amount int, person int, phone text, kind int)",
    """CREATE UNLOGGED TABLE plan (a int, p int, nth int, fate text, created timestamp, paid timestamp,
         confirmed timestamp, cancelled timestamp, expired timestamp, store text, order_no text, sendid text,
         pay_limit date, state text)""",
)
#: ``day`` and its fraction are warped so that few pay at night and many at noon.
_PAYMENTS = """
INSERT INTO plan_payments
SELECT p, start + interval '1 day' * (floor(t) + (t - floor(t)) + 0.6 * sin(2 * pi() * (t - floor(t))) / (2 * pi())),
       200 + floor(29800 * power(random(), 2))::int, 1 + floor(random() * people)::int,
       '090' || lpad(floor(random() * 100000000)::int::text, 8, '0'), kind
FROM (SELECT p, p * CAST(:span AS float8) / CAST(:count AS float8) AS t, CAST(:start AS timestamp) AS start,
             CAST(:people AS int) AS people, random() AS u
      FROM generate_series(1, CAST(:count AS int)) AS p OFFSET 0) AS each
JOIN plan_kinds ON u >= above AND u < below
"""
_LIVES = """
INSERT INTO plan (p, nth, fate, created, paid, confirmed, cancelled, expired, store, order_no, sendid, pay_limit, state,
  a)
SELECT p, nth, fate, created, paid, confirmed, cancelled, expired, store,
       CASE WHEN fate NOT IN ('declined', 'not sent', 'unknown')
            THEN to_char(created, 'YYMMDD') || '-' || lpad(a::text, 8, '0') END,
       CASE WHEN nth = 2 AND family IS NOT NULL THEN family ELSE 'S' || lpad(p::text, 10, '0') || nth END,
       CASE WHEN fate NOT IN ('declined', 'not sent', 'unknown') THEN pay_limit END,
       CASE WHEN fate = 'declined' THEN 'declined'
            WHEN fate = 'not sent' THEN 'failed'
            WHEN fate = 'superseded' AND reissued < moment THEN 'superseded'
            WHEN fate = 'paid after cancel' AND confirmed < moment THEN 'confirmed_after_cancel'
            WHEN fate = 'paid after cancel' AND paid < moment THEN 'received_after_cancel'
            WHEN fate = 'paid after cancel' AND reissued < moment THEN 'superseded'
            WHEN cancelled < moment THEN 'cancelled'
            WHEN confirmed < moment THEN 'confirmed'
            WHEN paid < moment THEN 'received'
            WHEN expired < moment THEN 'expired'
            WHEN fate = 'unknown' THEN 'unknown'
            WHEN created > moment - interval '10 seconds' THEN 'submitting'
            ELSE 'awaiting_payment' END, a
FROM (SELECT *, row_number() OVER (ORDER BY created, p) AS a,
             created + interval '1 hour' * 30 AS reissued,
             CASE WHEN fate LIKE 'paid%' THEN paid + interval '1 day' * (2 + 4 * spread) END AS confirmed,
             CASE WHEN fate = 'cancelled' THEN paid + interval '20 minutes' END AS cancelled,
             CASE WHEN fate = 'unpaid' THEN pay_limit + interval '39 hours 5 minutes'
                  WHEN fate = 'unknown' THEN created + interval '60 days' END AS expired
      FROM (SELECT p, life.nth, life.fate, created, spread, moment, store, pay_limit, family,
                   CASE WHEN life.fate LIKE 'paid%' OR life.fate = 'cancelled'
                        THEN least(created + interval '1 hour' * (CASE WHEN life.fate = 'paid' THEN 0.1 ELSE 31 END
                                   - 20 * ln(1 - random())), pay_limit + interval '14 hours') END AS paid
            FROM (SELECT payment.p, nth, fate, random() AS spread, CAST(:moment AS timestamp) AS moment, code AS store,
                         CASE WHEN fate IN ('superseded', 'paid after cancel') OR nth = 2 AND hours = 30
                              THEN 'S' || lpad(payment.p::text, 10, '0') || 1 END AS family,
                         payment.created + interval '1 hour' * (hours + 0.05 * random()) AS created,
                         (payment.created + interval '1 hour' * hours + interval '10 days 9 hours')::date AS pay_limit
                  FROM (SELECT *, random() AS v FROM plan_payments OFFSET 0) AS payment
                  JOIN plan_lives USING (kind) JOIN plan_stores ON v >= above AND v < below OFFSET 0) AS life
            WHERE created < moment OFFSET 0) AS paid) AS ended
"""
_ROWS = (
    """
INSERT INTO zeus_cvs_payments (id, token, reference, amount, sendpoint, return_url, customer_name, customer_phone,
  customer_email, created_at, closed_at, expiry_told_at, fulfilled_at, attempts)
SELECT p, substr(md5('token' || p) || md5('more' || p), 1, 32), 'A-' || 1000000 + p, amount, '',
       '/orders/A-' || 1000000 + p, name, phone, 'kyaku' || person || '.' || p || '@example.jp', created,
       CASE WHEN kind = 0 AND p % 3 = 0 THEN created + interval '3 days' END, told, ready, coalesce(tried, 0)
FROM plan_payments LEFT JOIN (SELECT p, max(expired) FILTER (WHERE state = 'expired') AS told,
                                     min(paid) FILTER (WHERE paid < :moment AND fate <> 'paid after cancel') AS ready,
                                     count(*) FILTER (WHERE fate <> 'not sent') AS tried
                              FROM plan GROUP BY p) AS lives USING (p)
JOIN plan_names ON n = person ORDER BY p
""",
    """
INSERT INTO zeus_cvs_applications (id, payment_id, sendid, store, stored_state, order_no, pay_no1, pay_no2, pay_limit,
  pay_url, error_code, parameter, test, reissued, customer_name, customer_phone, customer_email, created_at,
  answer_due_at, reminded_at)
SELECT a, p, sendid, store, state, order_no,
       CASE WHEN order_no IS NULL THEN '' ELSE lpad((a::bigint * 7919 % 10000000000000)::text, 13, '0') END,
       CASE WHEN order_no IS NOT NULL AND store IN ('D002', 'D030', 'D050') THEN lpad((a % 100000)::text, 5, '0')
            ELSE '' END,
       pay_limit,
       CASE WHEN store = 'D001' AND order_no IS NOT NULL THEN 'https://pay.example/slip?n=' || a ELSE '' END,
       CASE WHEN state = 'declined' THEN '900000' ELSE '' END, '', p <= 20, nth = 2 AND sendid LIKE '%1', name, phone,
       'kyaku' || person || '.' || p || '@example.jp', plan.created, plan.created + interval '85 seconds',
       CASE WHEN expired < :moment THEN pay_limit - interval '15 hours' END
FROM plan JOIN plan_payments USING (p) JOIN plan_names ON n = person ORDER BY a
""",
    """
INSERT INTO zeus_cvs_notifications (id, identity, raw, source, times, first_at, last_at, verdict, status, order_no,
  sendid, money, faults, payment_id, application_id)
SELECT row_number() OVER (ORDER BY at, a, status),
       encode(sha256(convert_to(order_no || chr(10) || status || chr(10) || amount, 'UTF8')), 'hex'),
       convert_to('clientip=1234567890&money=' || amount || '&username=' || encoded || '&telno=' || phone
         || '&email=kyaku' || person || '.' || p || '%40example.jp&sendid=' || sendid || '&sendpoint=&order_no='
         || order_no || '&pay_cvs=' || store || '&pay_no1=' || lpad((a::bigint * 7919 % 10000000000000)::text, 13, '0')
         || '&pay_no2=&pay_limit=' || to_char(pay_limit, 'YYYYMMDD') || '&status=' || status || '&error_code=', 'UTF8'),
       'callback', CASE WHEN a % 50 = 0 THEN 2 ELSE 1 END, at, at, verdict, status, order_no, sendid, amount, '', p, a
FROM (SELECT plan.*, status, at, verdict FROM plan, LATERAL (VALUES
        ('01', created + interval '3 seconds', 'no_effect', true),
        (CASE WHEN fate = 'paid after cancel' THEN '11' ELSE '04' END, paid, 'applied', true),
        (CASE WHEN fate = 'paid after cancel' THEN '12' ELSE '05' END, confirmed, 'applied', true),
        ('06', cancelled, 'applied', true)) AS told (status, at, verdict, really)
      WHERE order_no IS NOT NULL AND at < :moment) AS told
JOIN plan_payments USING (p) JOIN plan_names ON n = person
""",
    """
INSERT INTO zeus_cvs_events (id, kind, occurred_at, previous_state, test, payment_id, application_id, notification_id)
SELECT row_number() OVER (ORDER BY at, a, kind), kind, at, before, p <= 20, p, a, notification.id
FROM (SELECT a, p, order_no, told.* FROM plan, LATERAL (VALUES
        (CASE WHEN order_no IS NOT NULL THEN 'application_accepted' END, created + interval '2 seconds', 'submitting',
         ''),
        (CASE WHEN fate = 'declined' THEN 'application_declined' END, created + interval '2 seconds', 'submitting', ''),
        (CASE WHEN fate <> 'paid after cancel' THEN 'payment_received' ELSE 'payment_received_after_cancel' END, paid,
         CASE WHEN fate <> 'paid after cancel' THEN 'awaiting_payment' ELSE 'superseded' END, '04'),
        (CASE WHEN fate <> 'paid after cancel' THEN 'fulfillment_ready' END, paid, 'awaiting_payment', '04'),
        (CASE WHEN fate <> 'paid after cancel' THEN 'sale_confirmed' ELSE 'sale_confirmed_after_cancel' END, confirmed,
         CASE WHEN fate <> 'paid after cancel' THEN 'received' ELSE 'received_after_cancel' END, '05'),
        ('payment_cancelled', cancelled, 'received', '06'),
        ('deadline_near', CASE WHEN expired IS NOT NULL THEN pay_limit - interval '15 hours' END, 'awaiting_payment', ''),
        ('payment_expired', expired, 'awaiting_payment', '')) AS told (kind, at, before, status)
      WHERE kind IS NOT NULL AND at < :moment) AS told
LEFT JOIN zeus_cvs_notifications AS notification ON notification.application_id = a AND notification.status = told.status
""",
    """
INSERT INTO zeus_cvs_deliveries (id, event_id, subscriber, state, attempts, due_at, done_at, last_error, decided_by)
SELECT row_number() OVER (ORDER BY id, subscriber), id, subscriber, state, attempts, occurred_at,
       CASE WHEN state = 'done' THEN occurred_at + interval '1 second' END,
       CASE WHEN state = 'done' THEN '' ELSE 'ConnectionError at parcels.py:41' END, ''
FROM (SELECT event.id, subscriber, occurred_at,
             CASE WHEN occurred_at < CAST(:moment AS timestamp) - interval '2 hours' AND id % 1500 = 0
                   AND occurred_at > CAST(:moment AS timestamp) - interval '30 days' THEN 'parked'
                  WHEN occurred_at > CAST(:moment AS timestamp) - interval '1 hour' AND id % 10 = 0 THEN 'pending'
                  ELSE 'done' END AS state,
             CASE WHEN id % 40 = 0 THEN 3 ELSE 1 END AS attempts
      FROM zeus_cvs_events AS event JOIN (VALUES
        ('payment_received', 'shop.mails.thank'), ('fulfillment_ready', 'shop.parcels.ship'),
        ('payment_expired', 'shop.stock.take_back'), ('deadline_near', 'shop.mails.remind'),
        ('payment_cancelled', 'shop.parcels.halt')) AS receivers (kind, subscriber) USING (kind)) AS each
""",
    """
INSERT INTO zeus_cvs_reviews (id, reason, created_at, payment_id, application_id, notification_id, resolved_at, by, note,
  resolution)
SELECT row_number() OVER (ORDER BY first_at),
       (ARRAY['out_of_order', 'wrong_amount', 'paid_after_close', 'paid_twice', 'repeated_after_cancel'])[1 + id % 5],
       first_at, payment_id, application_id, id,
       CASE WHEN NOT open THEN first_at + interval '5 hours' END, CASE WHEN open THEN '' ELSE 'Suzuki' END,
       CASE WHEN open THEN '' ELSE 'asked the store' END, CASE WHEN NOT open THEN 'ignored' END
FROM (SELECT *, first_at > CAST(:moment AS timestamp) - interval '40 days' AND id % 3 < 2 AS open
      FROM zeus_cvs_notifications WHERE id % 97 = 0 AND status IN ('04', '06', '11')) AS odd
""",
)


def million(admin: str, count: int = 1_000_000) -> str:
    """Return the URI of a database of ``count`` payments on the server of ``admin``; made unless it is there."""
    engine = sa.create_engine(admin, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    name, unfinished = f"million_{count}", f"unfinished_{count}"
    with engine.connect() as connection:
        names = connection.execute(sa.text("SELECT datname FROM pg_database")).scalars().all()
        if name not in names:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {unfinished}")
            connection.exec_driver_sql(f"CREATE DATABASE {unfinished}")
            connection.exec_driver_sql("ALTER SYSTEM SET max_wal_size = '8GB'")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
            fill(sa.make_url(admin).set(database=unfinished), count)
            connection.exec_driver_sql(f"ALTER DATABASE {unfinished} RENAME TO {name}")
    engine.dispose()
    return sa.make_url(admin).set(database=name).render_as_string(hide_password=False)


def fill(url: sa.URL, count: int) -> None:
    metadata = sa.MetaData()
    copy_tables(metadata)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        metadata.create_all(connection)
        _strip(connection, metadata)
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no look at foreign keys
        connection.exec_driver_sql("SET LOCAL work_mem = '256MB'")
        connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
        _plan(connection, count)
        for rows in _ROWS:
            connection.execute(sa.text(rows), {"moment": _moment()})
            _say(rows.split()[2])
            if "zeus_cvs_notifications (" in rows:
                connection.exec_driver_sql(
                    "CREATE INDEX plan_told ON zeus_cvs_notifications (application_id, status)"
                )
                connection.exec_driver_sql("ANALYZE zeus_cvs_notifications")
        connection.exec_driver_sql("DROP INDEX plan_told")
        connection.exec_driver_sql(
            "DROP TABLE plan, plan_payments, plan_kinds, plan_lives, plan_stores, plan_names"
        )
        _dress(connection, metadata)
        _say("indexes")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
        _say("vacuum analyze")
    engine.dispose()


def _plan(connection: sa.Connection, count: int) -> None:
    for table in _PLAN:
        connection.exec_driver_sql(table)
    connection.execute(sa.text("SELECT setseed(0.42)"))
    kinds, lives, above = [], [], 0.0
    for number, (_, share, applications) in enumerate(KINDS):
        kinds.append({"kind": number, "above": above, "below": above + share, "lives": len(applications)})
        above += share
        for nth, (fate, hours) in enumerate(applications, 1):
            lives.append({"kind": number, "nth": nth, "fate": fate, "hours": hours})
    kinds[-1]["below"] = 2.0
    connection.execute(sa.text("INSERT INTO plan_kinds VALUES (:kind, :above, :below, :lives)"), kinds)
    connection.execute(sa.text("INSERT INTO plan_lives VALUES (:kind, :nth, :fate, :hours)"), lives)
    connection.execute(sa.text("INSERT INTO plan_stores VALUES (:code, :above, :below)"), _stores())
    people = [
        {"n": n, "name": name, "encoded": quote_from_bytes(name.encode("cp932"))} for n, name in _people()
    ]
    connection.execute(sa.text("INSERT INTO plan_names VALUES (:n, :name, :encoded)"), people)
    start, span = _period()
    facts = {"start": start, "span": span, "count": count, "people": len(people)}
    connection.execute(sa.text(_PAYMENTS), facts)
    connection.execute(sa.text(_LIVES), {"moment": _moment()})
    for table in ("plan", "plan_payments", "plan_names"):
        connection.exec_driver_sql(f"ANALYZE {table}")
    _say("plan")


def _stores() -> list[dict[str, object]]:
    stores, above = [], 0.0
    for code, share in STORES:
        stores.append({"code": code, "above": above, "below": above + share})
        above += share
    return [*stores[:-1], {**stores[-1], "below": 2.0}]


def _people() -> list[tuple[int, str]]:
    names = [f"{family}\u3000{given}" for family in FAMILIES for given in GIVEN]
    return list(enumerate(names, 1))


_STARTED = now()


def _moment() -> datetime:
    """This run's one now, in UTC without its zone, as the columns are."""
    return _STARTED.replace(tzinfo=None)


def _period() -> tuple[datetime, float]:
    """The first midnight in Japan, in UTC, and the days from there to now, unwarped: see `_PAYMENTS`."""
    midnight = _STARTED.astimezone(JST).replace(hour=0, minute=0, second=0, microsecond=0)
    today = (_STARTED - midnight) / timedelta(days=1)
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if middle + 0.6 * math.sin(2 * math.pi * middle) / (2 * math.pi) < today:
            low = middle
        else:
            high = middle
    start = midnight - timedelta(days=DAYS)
    return (start - start.utcoffset()).replace(tzinfo=None), DAYS + low  # type: ignore[operator]


def _strip(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Take away the indexes and the foreign keys: filled tables get them back at a tenth of the cost."""
    for table in metadata.sorted_tables:
        for index in table.indexes:
            index.drop(connection)
        for constraint in _constraints(table):
            connection.execute(sa.schema.DropConstraint(constraint))


def _dress(connection: sa.Connection, metadata: sa.MetaData) -> None:
    for table in metadata.sorted_tables:
        for index in table.indexes:
            index.create(connection)
        if "id" in table.columns:
            sequence = sa.func.pg_get_serial_sequence(table.name, "id")
            connection.execute(
                sa.select(sa.func.setval(sequence, sa.func.coalesce(sa.func.max(table.c.id), 1)))
            )
    for kind in (sa.UniqueConstraint, sa.ForeignKeyConstraint):
        for table in metadata.sorted_tables:
            for constraint in _constraints(table):
                if isinstance(constraint, kind):
                    connection.execute(sa.schema.AddConstraint(constraint))


def _constraints(table: sa.Table) -> list[sa.Constraint]:
    kept = (sa.UniqueConstraint, sa.ForeignKeyConstraint)
    each = [constraint for constraint in table.constraints if isinstance(constraint, kept)]
    return sorted(each, key=lambda constraint: isinstance(constraint, sa.UniqueConstraint))


def _say(what: str) -> None:
    sys.stderr.write(f"{(now() - _STARTED).total_seconds():6.1f} s  {what}\n")


def kept() -> str | None:
    """The URI of the server that an earlier ``--keep`` left running, or None."""
    if not WORD.exists():
        return None
    word = json.loads(WORD.read_text())
    return str(word["admin"]) if _runs(word["pid"]) else None


def keep() -> str:
    """Start a server that outlives this process, unless there is one; returns the URI of its first database."""
    running = kept()
    if running is not None:
        return running
    server = postgresql()
    assert server._process is not None
    atexit.unregister(server.close)
    admin = server.uri(server.main)
    WORD.write_text(json.dumps({"admin": admin, "pid": server._process.pid, "folder": str(server.folder)}))
    return admin


def drop() -> None:
    """End the server that an earlier ``--keep`` left running, and remove what it stored."""
    if not WORD.exists():
        return
    word = json.loads(WORD.read_text())
    if _runs(word["pid"]):
        os.kill(word["pid"], signal.SIGQUIT)
        while _runs(word["pid"]):
            time.sleep(0.1)
    shutil.rmtree(word["folder"], ignore_errors=True)
    WORD.unlink()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.million", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="payments (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the server running, and print the URI")
    parser.add_argument("--drop", action="store_true", help="end the server that was left running")
    options = parser.parse_args()
    if options.drop:
        drop()
        return
    if options.keep:
        sys.stdout.write(million(keep(), options.count) + "\n")
        return
    with postgresql() as server:
        million(server.uri(server.main), options.count)


if __name__ == "__main__":
    main()
