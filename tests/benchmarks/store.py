"""What a benchmark finds in its database: so many slips that wait for their customers, for every contestant alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.event import listen

from flask_zeus_cvs.models import Application, Payment
from tests.benchmarks.contestants import PAYMENTS, all_tables, set_pragmas

#: Rows that are written at once.
BATCH = 5000


def engine_of(uri: str) -> sa.Engine:
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        listen(engine, "connect", set_pragmas)
    return engine


def fill(uri: str, count: int) -> None:
    """Make all tables, with ``count`` payments whose slips wait."""
    engine = engine_of(uri)
    all_tables().create_all(engine)
    with engine.begin() as connection:
        for numbers in _batches(count):
            for table, rows in _rows(numbers):
                connection.execute(sa.insert(table), rows)
    settle(engine)


def _batches(count: int) -> Iterator[list[int]]:
    for first in range(1, count + 1, BATCH):
        yield list(range(first, min(first + BATCH, count + 1)))


def _rows(numbers: list[int]) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    moment = datetime.now(UTC)
    person: dict[str, Any] = {
        "customer_name": "ヤマダ　タロウ",
        "customer_phone": "09012345678",
        "customer_email": "taro@example.com",
        "created_at": moment,
    }
    yield (
        Payment.__table__,
        [
            {
                "id": each,
                "token": f"token{each:025d}",
                "reference": f"A-{each}",
                "amount": 3000,
                "attempts": 1,
                **person,
            }
            for each in numbers
        ],
    )
    yield (
        Application.__table__,
        [
            {
                "id": each,
                "payment_id": each,
                "sendid": f"S{each:019d}",
                "store": "D002",
                "stored_state": "awaiting_payment",
                "order_no": f"{each:08d}-1",
                "pay_no1": "123456",
                "pay_no2": "654321",
                "pay_limit": moment.date().replace(year=2099),
                "answer_due_at": moment + timedelta(seconds=85),
                **person,
            }
            for each in numbers
        ],
    )
    yield (
        PAYMENTS,
        [{"order_no": f"{each:08d}-1", "reference": f"A-{each}", "state": "01"} for each in numbers],
    )


def settle(engine: sa.Engine) -> None:
    """Have the database tidy up now, and not while it is measured."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
        else:
            connection.exec_driver_sql("ANALYZE")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
