"""Short transactions of our own on the host's engine, and the lock that every verb takes first.

They never touch ``db.session``: a shop's pending work is not ours to commit. On SQLite each begins with a write,
because a transaction that reads first and writes later fails at once under load. A lost race, or a connection that
broke before the commit, is tried again; whoever has to answer in time waits no longer than `Database.bounded`.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.event import contains, listen
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, StatementError
from sqlalchemy.orm import Session

from flask_zeus_cvs.exceptions import ConfigurationError, DatabaseAway, PendingWorkError
from flask_zeus_cvs.models import Base, Payment
from flask_zeus_cvs.patience import Hand, Outcome, Watched, can_be_cut

T = TypeVar("T")

#: How often a transaction that lost a race is run again; each loser lost to a winner.
ATTEMPTS = 8
#: Seconds that a transaction may wait for others' locks in all: ZEUS hangs up after 40.
PATIENCE = 15
#: Seconds that we wait for a database that is away to come back, once in each outage: a restart takes as long.
RECONNECT = 5.0
#: Seconds without a failure after which the next one is a new outage.
FORGOTTEN = 30.0
#: Seconds after which whoever has to answer gives up: ZEUS hangs up after 40, gunicorn ends a worker after 30.
ANSWER_WITHIN = 20.0
#: The same while an earlier answer was given up and its work still hangs: the database is not coming back at once.
ANSWER_WITHIN_HANGING = 3.0
#: SQLSTATEs of PostgreSQL and error numbers of MariaDB: serialization failure, deadlock, row changed since read.
_LOST_RACE = frozenset({"40001", "40P01", 1213, 1020})
#: The same for a server that ends this connection: shutdown, crash, start-up; connection killed.
_GOING_AWAY = frozenset({"57P01", "57P02", "57P03", 1053, 1927, 2002, 2003, 2006, 2013})


class Database:
    """The host's database as the verbs use it."""

    def __init__(self, app: Flask, db: SQLAlchemy) -> None:
        self._app = app
        self._db = db
        self._engine: sa.Engine | None = None
        self._reading: sa.Engine | None = None
        self._watched = False
        self._away_since: float | None = None
        self._failed_at = 0.0
        self._hanging: set[threading.Thread] = set()
        self._impatient: set[threading.Thread] = set()
        #: Until when threads that wait here may wait, by their idents.
        self._deadlines: dict[int, float] = {}
        self._is_trusted = True
        self._knows_level = False
        self._can_be_cut = False
        #: Seconds that SQLite waits for its lock in one go.
        self._busy = 0.0
        self._owner = os.getpid()
        self._forks: dict[int, threading.Lock] = {}
        _IN_THIS_PROCESS.add(self)
        Base.registry.configure()  # a ledger makes rows without the constructors that would do it

    @property
    def db(self) -> SQLAlchemy:
        """The host's own, for what joins ``db.session``. Raises `ConfigurationError` as `engine` does."""
        assert self.engine is not None
        return self._db

    @property
    def engine(self) -> sa.Engine:
        """The default engine of this app. Raises `ConfigurationError` for an in-memory SQLite in earnest."""
        self.notice_fork()
        if self._engine is None:
            engine = self._host_engine
            if engine.dialect.name == "sqlite" and not self._app.testing and _in_memory(engine):
                raise ConfigurationError(
                    "SQLALCHEMY_DATABASE_URI is an in-memory SQLite, which forgets payments when the process ends. "
                    "Use a file, or set TESTING."
                )
            if "AUTOCOMMIT" in _isolation_levels(engine):
                raise ConfigurationError(_AUTOCOMMIT)
            own = (
                {}
                if engine.dialect.name in _LEVEL_OF_NEXT | {"sqlite"}
                else {"isolation_level": "READ COMMITTED"}
            )
            self._engine = self._with_options(**own)
            listen(engine, "do_connect", self._refuse_to_connect)
        return self._engine

    def _refuse_to_connect(self, *args: object) -> None:  # noqa: ARG002
        """Raise `_MustConnect` in a thread that waits here: nothing could end its waiting for a new connection."""
        if threading.get_ident() in self._deadlines:
            raise _MustConnect

    def _spare_the_level(self, connection: sa.Connection) -> None:
        """Do without setting our level where it is the database's own: that is done and undone each time."""
        self._knows_level = True
        asked = any(_isolation_levels(self._host_engine))
        if (
            connection.dialect.name == "postgresql"
            and not asked
            and connection.default_isolation_level == "READ COMMITTED"
        ):
            self._engine = self._with_options()

    @property
    def _reader(self) -> sa.Engine:
        """As `engine`, for what writes nothing. On PostgreSQL without a transaction around it, which at read committed
        would see the same, and take two more round trips."""
        engine = self.engine
        if self._reading is None:
            is_postgresql = engine.dialect.name == "postgresql"
            self._reading = self._with_options(isolation_level="AUTOCOMMIT") if is_postgresql else engine
        return self._reading

    def _with_options(self, **own: str) -> sa.Engine:
        """The host's engine with options of ours, which are never put on options of ours: before 2.0.38 SQLAlchemy could
        not do that. Its errors don't quote what was asked for, which may be the customer's."""
        engine = self._host_engine.execution_options(**own)
        engine.hide_parameters = True
        return engine

    @property
    def _host_engine(self) -> sa.Engine:
        with self._app.app_context():
            return self._db.engine

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def is_mariadb(self) -> bool:
        """Whether it is MariaDB, under either name of its dialect."""
        return self.engine.dialect.name in _LEVEL_OF_NEXT

    def read(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a session that writes nothing, and give its connection back; what it returns stays readable.

        ``work`` may run several times, like that of `write`.
        """

        def once(turn: _Turn) -> T:  # noqa: ARG001
            with (
                self._connected(self._reader) as connection,
                Session(connection, expire_on_commit=False) as session,
            ):
                return work(session)

        return self._persevere(once)

    def write(self, work: Callable[[Session], T], *, repeatable: bool = False) -> T:
        """Run ``work`` in a session in one transaction and commit, as `transact` does. What it returns stays readable."""

        def in_session(connection: sa.Connection) -> T:
            with Session(connection, expire_on_commit=False) as session:
                result = work(session)
                session.commit()  # the session's part; the transaction is the connection's
                return result

        return self.transact(in_session, repeatable=repeatable)

    def transact(
        self, work: Callable[[sa.Connection], T], *, repeatable: bool = False, brings_bound: bool = False
    ) -> T:
        """Run ``work`` in one transaction and commit; run it again if it lost a race, or its connection.

        ``work`` may thus run several times: it does nothing outside the transaction. A connection that breaks during
        the commit is tried again only for work that is ``repeatable``, that is, finds what it has stored already:
        nobody knows what came of that commit. Work that ``brings_bound`` sets `BOUND_ON_WAITING` by itself.
        """

        def once(turn: _Turn) -> T:
            with self._connected(self.engine) as connection:
                self._prepare(connection, brings_bound=brings_bound)
                result = work(connection)
                turn.committing = not repeatable
                connection.commit()
                if not self._knows_level:
                    self._spare_the_level(connection)
                return result

        return self._persevere(once)

    def _persevere(self, once: Callable[[_Turn], T]) -> T:
        turn = _Turn()
        while True:
            try:
                result = once(turn)
            except DBAPIError as error:
                if not self._is_worth_another(turn, error):
                    raise
            else:
                self._away_since = None
                return result

    def _is_worth_another(self, turn: _Turn, error: DBAPIError) -> bool:
        """Tell whether to try again; waits a little if the database is away, which it may be for `RECONNECT` only."""
        turn.failures += 1
        moment = time.monotonic()
        if _lost_race(error):
            turn.committing = False
            waits = self._busy if _found_it_busy(error) else 0.0
            return turn.failures < ATTEMPTS and moment + waits < turn.give_up
        if turn.committing or not _lost_connection(error):
            return False
        if threading.get_ident() in self._deadlines:
            raise _MustConnect
        if (
            turn.failures == 1 and error.connection_invalidated
        ):  # a connection of before; there may be new ones
            return True
        if self._away_since is None or moment > self._failed_at + FORGOTTEN:
            self._away_since = moment
        self._failed_at = moment
        if moment > self._away_since + RECONNECT:
            return False
        time.sleep(0.1)
        return True

    @property
    def is_hanging(self) -> bool:
        """Whether something that was given up by `bounded` still waits for the database."""
        self._impatient = _alive(self._impatient)
        return bool(self._impatient or _alive(self._hanging))

    def bounded(self, work: Callable[[], T], within: float | None = None) -> T:
        """Run ``work``, and wait for it at most `ANSWER_WITHIN` seconds; then raises `DatabaseAway`.

        Who waits ``within`` fewer seconds gives up for himself alone: notices go on having their own time.
        The work itself goes on in a thread, and may yet succeed: a database whose machine has vanished makes a
        connection hang for many minutes, and no driver can be told otherwise from here.
        """
        self._hanging = _alive(self._hanging)
        seconds = within or (ANSWER_WITHIN_HANGING if self._hanging else ANSWER_WITHIN)
        until = time.monotonic() + seconds
        if within is None and self._may_wait_here():
            try:
                return self._wait_here(work, until)
            except _MustConnect:
                self._is_trusted = False
        given_up = self._hanging if within is None else self._impatient
        if not (outcome := self._wait_aside(work, until, given_up)):
            raise DatabaseAway(seconds)
        self._is_trusted = True
        return outcome.told()

    def _may_wait_here(self) -> bool:
        """Whether a connection is at hand whose waiting can be ended: nothing else that a notice does can hang."""
        if not self._is_trusted:
            return False
        pool = self.engine.pool
        if not isinstance(pool, sa.QueuePool) or pool._pre_ping or pool._recycle > -1:
            return False
        return self._can_be_cut and pool.checkedin() > 0

    def _wait_here(self, work: Callable[[], T], until: float) -> T:
        """Run ``work`` in this thread, its connections watched. Raises `_MustConnect` if it needs another one."""
        here = threading.get_ident()
        self._deadlines[here] = until
        try:
            return work()
        finally:
            del self._deadlines[here]

    def _wait_aside(
        self, work: Callable[[], T], until: float, given_up: set[threading.Thread]
    ) -> Outcome[T] | None:
        """Run ``work`` in another thread; None if it is not done in time."""
        outcome = Outcome(work)
        try:
            hand = Hand.at_rest()
        except RuntimeError:  # no thread is to be had: rather stored without a bound than not stored
            outcome.find()
            return outcome
        if hand.do(outcome, max(0.0, until - time.monotonic())):
            return outcome
        given_up.add(hand.thread)
        return None

    @contextmanager
    def _connected(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """Give a connection, watched if this thread waits for it with a bound."""
        until = self._deadlines.get(threading.get_ident())
        with engine.connect() as connection:
            if until is None:
                self._can_be_cut = self._can_be_cut or self._waits_shortly(connection)
                yield connection
            else:
                with Watched(connection.connection.driver_connection, until):
                    yield connection

    def _waits_shortly(self, connection: sa.Connection) -> bool:
        """Whether waiting on this kind of connection can be ended, or on SQLite ends by itself soon enough."""
        if connection.dialect.name != "sqlite":
            return can_be_cut(connection.connection.driver_connection)
        cursor = connection.connection.cursor()
        (milliseconds,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        self._busy = milliseconds / 1000
        return bool(self._busy <= ANSWER_WITHIN)

    def watch_sessions(
        self, commits: Callable[[Session], None], savepoints: Callable[[sa.Connection, str], None]
    ) -> None:
        """Have ``commits`` told before each commit of a ``db.session``, and ``savepoints`` before each of SQLite's."""
        if self._watched:
            return
        watched: list[tuple[Any, str, Callable[..., None]]] = [(self.db.session, "before_commit", commits)]
        if self.is_sqlite:
            watched.append((self._host_engine, "savepoint", savepoints))
        for target, event, listener in watched:
            if not contains(target, event, listener):
                listen(target, event, listener)
        self._watched = True

    def notice_fork(self) -> None:
        """In a forked child, let go of the connections that the parent goes on to use; does nothing elsewhere.

        Python says when it forks. Servers written in C fork past it, so we look for ourselves, too.
        """
        if self._owner == os.getpid():
            return
        with self._forks.setdefault(os.getpid(), threading.Lock()):
            if self._owner != os.getpid():
                self._leave_to_parent()
                self._owner, self._hanging, self._impatient = os.getpid(), set(), set()

    def _leave_to_parent(self) -> None:
        if self._app.extensions.get("sqlalchemy") is not self._db:
            return
        with self._app.app_context():
            for engine in self._db.engines.values():
                if not (engine.dialect.name == "sqlite" and _in_memory(engine)):
                    engine.dispose(close=False)

    def _prepare(self, connection: sa.Connection, *, brings_bound: bool) -> None:
        """Begin as our transactions do. Whatever the host's isolation level, ours is READ COMMITTED: after waiting
        for a lock we must see what its holder wrote."""
        name = connection.dialect.name
        if name == "sqlite":
            connection.execute(_TAKE_WRITE_LOCK)
            if not is_in_transaction(connection):
                raise ConfigurationError(_AUTOCOMMIT)
        elif name == "postgresql":
            if not brings_bound:
                connection.execute(WAIT_NO_LONGER)
        elif name in _LEVEL_OF_NEXT:
            connection.execute(_READ_COMMITTED)

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


def _alive(threads: set[threading.Thread]) -> set[threading.Thread]:
    return {each for each in threads if each.is_alive()}


class _Turn:
    """How far one call of `Database.read` or `Database.write` has come."""

    def __init__(self) -> None:
        self.failures = 0
        self.committing = False
        self.give_up = time.monotonic() + PATIENCE


class _MustConnect(Exception):
    """A connection at hand was none any more, and to make another one can hang."""


_IN_THIS_PROCESS: weakref.WeakSet[Database] = weakref.WeakSet()


def _notice_fork() -> None:
    for database in list(_IN_THIS_PROCESS):
        database.notice_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_notice_fork)


_AUTOCOMMIT = (
    "The engine of SQLAlchemy commits each statement by itself (AUTOCOMMIT, or SQLite's isolation_level None without "
    "a BEGIN), so what belongs together is not stored together. Remove that from SQLALCHEMY_ENGINE_OPTIONS or "
    "engine_options, and set it on the connections that need it."
)
#: Where one statement sets the level of the next transaction only: cheaper than the level of a connection, which
#: their drivers set outside of SQLAlchemy's care for connections that have died.
_LEVEL_OF_NEXT = frozenset({"mariadb", "mysql"})
_READ_COMMITTED = sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
#: On PostgreSQL: how long this transaction waits for a lock, as a condition that is always true, for the statement that
#: locks; and as a statement of its own, for transactions without one.
BOUND_ON_WAITING = sa.text(f"set_config('lock_timeout', '{PATIENCE}s', true) IS NOT NULL")
WAIT_NO_LONGER = sa.text(f"SET LOCAL lock_timeout = '{PATIENCE}s'")
_TAKE_WRITE_LOCK = sa.update(Payment.__table__).where(Payment.id == -1).values(attempts=Payment.attempts)  # type: ignore[arg-type]


@contextmanager
def quoting_nothing() -> Iterator[None]:
    """Have database errors in the caller's transaction quote no parameters: they would name the customer."""
    try:
        yield
    except StatementError as error:
        error.hide_parameters = True
        raise


def lock(session: Session, payment_id: int) -> Payment | None:
    """Lock one payment until the transaction ends, and read it as it is now; None if there is none.

    Rows that refer to the payment can be added meanwhile: a shop's orders need not wait for a notice. Not so on
    MariaDB, where a row that refers to it and is not committed yet keeps us waiting, too.
    """
    payment = session.scalar(
        sa.select(Payment)
        .where(Payment.id == payment_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    note_lock(session)
    return payment


def lock_each(session: Session, payment_ids: Sequence[int]) -> None:
    """Lock several payments until the transaction ends, in the order of their ids, as `lock` does one."""
    wanted = sa.select(Payment.id).where(Payment.id.in_(payment_ids)).order_by(Payment.id)
    session.execute(wanted.with_for_update(key_share=True)).all()
    note_lock(session)


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


def _isolation_levels(engine: sa.Engine) -> tuple[object, ...]:
    """What the host has asked for, as an option of the engine or of its executions."""
    asked = getattr(engine.dialect, "_on_connect_isolation_level", None)
    return asked, engine.get_execution_options().get("isolation_level")


def is_in_transaction(connection: sa.Connection) -> bool:
    """Tell whether a connection to SQLite has begun a transaction, which Python's driver does at the first write."""
    return bool(getattr(connection.connection.driver_connection, "in_transaction", True))


def _has_written(connection: sa.Connection) -> bool:
    driver = connection.connection.driver_connection
    # With autocommit=False (Python 3.12), or a BEGIN of the host's own, reading is a transaction too: no telling.
    if driver is None or getattr(driver, "autocommit", None) is False or driver.isolation_level is None:
        return False
    return is_in_transaction(connection)


def must_begin_anew(error: DBAPIError) -> bool:
    """Tell whether a transaction began too early, as at repeatable read it cannot lock what came later, or lost a
    deadlock: what it wrote is gone."""
    return bool(_codes(error) & {"40001", 1020, 1213})


def _lost_race(error: DBAPIError) -> bool:
    if isinstance(error, IntegrityError):
        return True
    return _found_it_busy(error) or bool(_codes(error) & _LOST_RACE)


def _found_it_busy(error: DBAPIError) -> bool:
    """Tell whether another held SQLite's lock for longer than the driver waits for it."""
    return bool(getattr(error.orig, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")))


def _lost_connection(error: DBAPIError) -> bool:
    if error.connection_invalidated or _codes(error) & _GOING_AWAY:
        return True
    return error.statement is None and isinstance(
        error, (OperationalError, InterfaceError)
    )  # none was to be had


def _codes(error: DBAPIError) -> set[str | int]:
    """Find what the drivers call an error: psycopg, psycopg2, then those that put it first among the arguments."""
    found = [getattr(error.orig, name, None) for name in ("sqlstate", "pgcode")]
    found += getattr(error.orig, "args", ())[:1]
    return {each for each in found if isinstance(each, (str, int))}
