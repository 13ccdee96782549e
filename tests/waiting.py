"""Waiting in tests: for something to become true, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

#: How many transactions wait for another's lock.
_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
    "mariadb": "SELECT variable_value FROM information_schema.global_status "
    "WHERE variable_name = 'Innodb_row_lock_current_waits'",
}


def until(true: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something is true; fail if it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def somebody_waits(engine: sa.Engine) -> bool:
    """Whether a transaction waits for another's lock; only MariaDB and PostgreSQL tell.

    It takes a connection of its own: PostgreSQL tells the same all through a transaction.
    """
    with engine.connect() as connection:
        return (
            int(
                connection.scalar(
                    sa.text(_WAITING["postgresql" if engine.dialect.name == "postgresql" else "mariadb"])
                )
                or 0
            )
            > 0
        )
