"""Short transactions of our own on the host's engine, and the lock that every verb takes first.

They never touch ``db.session``: a shop's pending work is not ours to commit. On SQLite each begins with a write,
because a transaction that reads first and writes later fails at once under load.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from flask_zeus_cvs.exceptions import ConfigurationError, PendingWorkError
from flask_zeus_cvs.models import Payment

T = TypeVar("T")

#: How often a transaction that lost a race is run again; each loser lost to a winner.
ATTEMPTS = 8
#: Seconds that a transaction may wait for others' locks in all: ZEUS hangs up after 40.
PATIENCE = 20
#: SQLSTATEs of PostgreSQL and error numbers of MariaDB: serialization failure, deadlock.
_LOST_RACE = frozenset({"40001", "40P01", 1213, 1020})


class Database:
    """The host's database as the verbs use it."""

    def __init__(self, app: Flask, db: SQLAlchemy) -> None:
        self._app = app
        self._db = db
        self._engine: sa.Engine | None = None

    @property
    def db(self) -> SQLAlchemy:
        """The host's own, for what joins ``db.session``. Raises `ConfigurationError` as `engine` does."""
        assert self.engine is not None
        return self._db

    @property
    def engine(self) -> sa.Engine:
        """The default engine of this app. Raises `ConfigurationError` for an in-memory SQLite in earnest."""
        if self._engine is None:
            with self._app.app_context():
                engine = self._db.engine
            if engine.dialect.name == "sqlite" and not self._app.testing and _in_memory(engine):
                raise ConfigurationError(
                    "SQLALCHEMY_DATABASE_URI is an in-memory SQLite, which forgets payments when the process ends. "
                    "Use a file, or set TESTING."
                )
            # Whatever the host's isolation level: after waiting for a lock we must see what its holder wrote.
            own = {} if engine.dialect.name == "sqlite" else {"isolation_level": "READ COMMITTED"}
            self._engine = engine.execution_options(**own)
            self._engine.hide_parameters = True  # an error's text would quote the customer
        return self._engine

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that writes nothing and gives its connection back at the end."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def write(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in one transaction and commit; run it again if it lost a race to another worker.

        ``work`` may thus run several times: it does nothing outside the session. What it returns stays readable.
        """
        give_up = time.monotonic() + PATIENCE
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with Session(self.engine, expire_on_commit=False) as session:
                    with session.begin():
                        self._prepare(session)
                        result = work(session)
                    for say in session.info.get(_AFTERWARDS, ()):
                        say()
                    return result
            except sa.exc.DBAPIError as error:
                if attempt == ATTEMPTS or time.monotonic() > give_up or not _lost_race(error):
                    raise
        raise AssertionError("unreachable")

    def _prepare(self, session: Session) -> None:
        if self.is_sqlite:
            session.execute(_TAKE_WRITE_LOCK)
        elif self.engine.dialect.name == "postgresql":
            session.execute(_WAIT_NO_LONGER)

    def refuse_pending_work(self) -> None:
        """Raise `PendingWorkError` if ``db.session`` holds a lock that we would wait for in vain.

        Its holder is our own caller: SQLite's only write lock, or on other databases a payment that `lock` locked.
        """
        session = self.db.session()
        if not session.in_transaction():
            return
        if self.is_sqlite:
            if _has_written(session.connection(bind_arguments={"mapper": Payment})):
                raise PendingWorkError(
                    "db.session has uncommitted writes, and SQLite has one writer at a time. "
                    "Call db.session.commit() before this call."
                )
        elif _has_locked(session):
            raise PendingWorkError(
                "db.session has locked a payment, by close or create_payment(once=True), until it is committed. "
                "Call db.session.commit() before this call."
            )


def afterwards(session: Session, say: Callable[[], object]) -> None:
    """Have something said once this transaction of `Database.write` is committed, and not if it is run again."""
    session.info.setdefault(_AFTERWARDS, []).append(say)


_AFTERWARDS = "zeus_cvs_afterwards"
_WAIT_NO_LONGER = sa.text(f"SET LOCAL lock_timeout = '{PATIENCE}s'")
_TAKE_WRITE_LOCK = sa.update(Payment.__table__).where(Payment.id == -1).values(attempts=Payment.attempts)  # type: ignore[arg-type]


@contextmanager
def quoting_nothing() -> Iterator[None]:
    """Have database errors in the caller's transaction quote no parameters: they would name the customer."""
    try:
        yield
    except sa.exc.StatementError as error:
        error.hide_parameters = True
        raise


def lock(session: Session, payment_id: int) -> Payment | None:
    """Lock one payment until the transaction ends, and read it as it is now; None if there is none.

    Rows that refer to the payment can be added meanwhile: a shop's orders need not wait for a notice.
    """
    payment = session.scalar(
        sa.select(Payment)
        .where(Payment.id == payment_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    note_lock(session)
    return payment


def note_lock(session: Session) -> None:
    """Remember that this transaction has locked a payment: no verb with a transaction of its own may follow in it."""
    transaction = session.get_transaction()
    session.info[_LOCKED_IN] = weakref.ref(transaction) if transaction is not None else None


def _has_locked(session: Session) -> bool:
    locked_in = session.info.get(_LOCKED_IN)
    return locked_in is not None and locked_in() is session.get_transaction()


_LOCKED_IN = "zeus_cvs_locked_in"


def _in_memory(engine: sa.Engine) -> bool:
    url = engine.url
    return url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"


def _has_written(connection: sa.Connection) -> bool:
    driver = connection.connection.driver_connection
    # With autocommit=False (Python 3.12), or a BEGIN of the host's own, reading is a transaction too: no telling.
    if driver is None or getattr(driver, "autocommit", None) is False or driver.isolation_level is None:
        return False
    return bool(driver.in_transaction)


def _lost_race(error: Exception) -> bool:
    if isinstance(error, IntegrityError):
        return True
    original = getattr(error, "orig", None)
    if getattr(original, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return True
    codes = {getattr(original, "sqlstate", None), *getattr(original, "args", ())[:1]}
    return (
        bool(codes & _LOST_RACE) if all(isinstance(each, (str, int, type(None))) for each in codes) else False
    )
