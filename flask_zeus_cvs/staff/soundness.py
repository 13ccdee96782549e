"""Whether the database holds what we need, keeps what it was told, and agrees with us on the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import SQLAlchemyError

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.database import Database
from flask_zeus_cvs.exceptions import ConfigurationError, DatabaseAway
from flask_zeus_cvs.models import Base
from flask_zeus_cvs.staff.findings import Finding, Severity, found

#: Seconds in which the database must have answered.
WITHIN = 10.0
#: How far clocks may be apart before it is said, and before it is bad.
APART, FAR_APART = timedelta(seconds=5), timedelta(minutes=1)
#: Milliseconds that a statement, and a transaction in which a receiver works, should be given.
_PATIENCE = MappingProxyType({"statement_timeout": 15_000, "idle_in_transaction_session_timeout": 60_000})

Examination = Callable[[sa.Connection], Iterable[Finding]]


def reachable(database: Database) -> Iterator[Finding]:
    """Ask the database for a sign of life."""
    try:
        engine = database.engine
        database.bounded(lambda: database.read(lambda session: session.execute(sa.select(1)).all()), WITHIN)
    except ConfigurationError as error:
        yield found("database.refused", str(error))
    except DatabaseAway:
        yield found("database.away", f"The database gave no answer within {WITHIN:.0f} seconds.")
    except SQLAlchemyError as error:
        yield found(
            "database.away", f"The database could not be asked ({_kind(error)}, {engine.dialect.name})."
        )


def tables(connection: sa.Connection) -> Iterator[Finding]:
    """Compare the tables, columns and keys that are there with those of this version."""
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    missing = sorted(set(Base.metadata.tables) - there)
    if missing:
        yield found("database.tables_missing", f"Tables are missing: {', '.join(missing)}.")
    for name, table in Base.metadata.tables.items():
        if name in there:
            yield from _table(inspector, name, table)


def _table(inspector: Inspector, name: str, table: sa.Table) -> Iterator[Finding]:
    columns = {column["name"] for column in inspector.get_columns(name)}
    lacking = [column.name for column in table.columns if column.name not in columns]
    if lacking:
        yield found("database.columns_missing", f"{name} lacks the columns {', '.join(lacking)}.")
        return
    unique, any_ = _indexed(inspector, name)
    for wanted in sorted(_keys(table) - unique):
        yield found("database.keys_missing", f"{name} lacks its unique key on {', '.join(wanted)}.")
    indexes = {tuple(column.name for column in index.columns) for index in table.indexes if not index.unique}
    for wanted in sorted(each for each in indexes if not any(has[: len(each)] == each for has in any_)):
        yield found("database.indexes_missing", f"{name} lacks its index on {', '.join(wanted)}.")


def _keys(table: sa.Table) -> set[tuple[str, ...]]:
    constraints = [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    return {tuple(column.name for column in each.columns) for each in constraints}


def _indexed(inspector: Inspector, name: str) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Return the columns of what is unique in a table, and of whatever is indexed."""
    indexes: list[Mapping[str, Any]] = list(inspector.get_indexes(name))
    unique = {tuple(each["column_names"]) for each in inspector.get_unique_constraints(name)}
    unique |= {tuple(each["column_names"]) for each in indexes if each["unique"]}
    return unique, unique | {tuple(each["column_names"]) for each in indexes}


def keeping(connection: sa.Connection) -> Iterator[Finding]:
    """Ask how the database keeps what it was told; each kind has settings of its own."""
    yield from _KEEPING.get(connection.dialect.name, _nothing)(connection)
    if connection.get_isolation_level() == "SERIALIZABLE" and connection.dialect.name != "sqlite":
        yield found("database.isolation", "Transactions of the shop's are SERIALIZABLE.")


def _nothing(connection: sa.Connection) -> Iterator[Finding]:  # noqa: ARG001
    yield from ()


def _sqlite(connection: sa.Connection) -> Iterator[Finding]:
    def pragma(name: str) -> Any:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    journal = str(pragma("journal_mode")).lower()
    if journal == "memory":  # an in-memory database of a test
        return
    if journal != "wal":
        yield found("database.sqlite_journal", f"SQLite's journal_mode is {journal}, not wal.")
    if int(pragma("busy_timeout")) < 1000:
        yield found(
            "database.sqlite_busy", f"SQLite's busy_timeout is {pragma('busy_timeout')} milliseconds."
        )
    if int(pragma("synchronous")) < 2:
        level = ("OFF", "NORMAL")[int(pragma("synchronous"))]
        yield found("database.sqlite_synchronous", f"SQLite's synchronous is {level}.")


def _postgresql(connection: sa.Connection) -> Iterator[Finding]:
    asked = "SELECT name, setting FROM pg_settings"
    settings = {str(name): str(value) for name, value in connection.exec_driver_sql(asked)}
    for name in ("synchronous_commit", "fsync"):
        if settings.get(name) == "off":
            yield found("database.durability", f"PostgreSQL's {name} is off.")
    for name, least in _PATIENCE.items():
        if 0 < int(settings.get(name, 0)) < least:
            seconds = f"{int(settings[name]) / 1000:g} s, and we may need {least / 1000:g} s"
            yield found("database.timeouts", f"PostgreSQL's {name} is {seconds}.")


def _mariadb(connection: sa.Connection) -> Iterator[Finding]:
    flush = connection.exec_driver_sql("SELECT @@innodb_flush_log_at_trx_commit").scalar()
    if int(flush or 0) != 1:
        yield found("database.durability", f"MariaDB's innodb_flush_log_at_trx_commit is {flush}, not 1.")
    engines = sa.text(
        "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE()"
    )
    for name, engine in connection.execute(engines):
        if name in Base.metadata.tables and str(engine).lower() != "innodb":
            yield found("database.engine", f"The table {name} is kept by {engine}, not by InnoDB.")


_KEEPING: Mapping[str, Callable[[sa.Connection], Iterator[Finding]]] = MappingProxyType(
    {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mariadb, "mariadb": _mariadb}
)

#: How each database tells the time, in UTC, without its zone; SQLite's clock is ours.
_TIME: Mapping[str, str] = MappingProxyType(
    {
        "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
        "mysql": "SELECT UTC_TIMESTAMP(6)",
        "mariadb": "SELECT UTC_TIMESTAMP(6)",
    }
)


def clock(connection: sa.Connection) -> Iterator[Finding]:
    """Compare the database's clock with ours."""
    asked = _TIME.get(connection.dialect.name)
    told = connection.exec_driver_sql(asked).scalar() if asked else None
    if told is not None:
        yield from apart("clock.database", "The database's clock", told.replace(tzinfo=UTC))


def apart(code: str, whose: str, told: datetime, slack: timedelta = timedelta()) -> Iterator[Finding]:
    """Say that a clock differs from ours by more than `APART` and ``slack``."""
    difference = told - now()
    if abs(difference) <= APART + slack:
        return
    way = "ahead of" if difference > timedelta() else "behind"
    what = f"{whose} is {_span(abs(difference))} {way} the clock here."
    yield found(code, what, severity=Severity.ERROR if abs(difference) > FAR_APART else None)


def _span(time: timedelta) -> str:
    seconds = round(time.total_seconds())
    return f"{seconds} seconds" if seconds < 120 else f"{seconds // 60} minutes"


def zone() -> Iterator[Finding]:
    """See that Python finds Japan's time zone by its name, and knows it."""
    moment = now()
    try:
        offset = moment.astimezone(ZoneInfo("Asia/Tokyo")).utcoffset()
    except ZoneInfoNotFoundError:
        yield found("clock.zone", "Python does not find the time zone Asia/Tokyo.")
        return
    if offset != moment.astimezone(JST).utcoffset():
        yield found("clock.zone", f"Python's Asia/Tokyo is {offset} ahead of UTC, not nine hours.")


def _kind(error: SQLAlchemyError) -> str:
    return type(getattr(error, "orig", None) or error).__name__
