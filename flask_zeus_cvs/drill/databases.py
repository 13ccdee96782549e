"""Where a drill's rows go: a throw-away SQLite file, a database that is named, or the shop's own."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.event import listen
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.models import Payment

#: What a database that is thrown away can do without: nobody minds what a power failure makes of it.
_PRAGMAS = ("busy_timeout = 10000", "journal_mode = WAL", "synchronous = OFF")

#: Options of an engine, and arguments of the drivers, that lead to a database by themselves.
_WHITHER = frozenset({"url", "poolclass", "pool", "creator", "async_creator"})
_WHITHER_OF_DRIVER = frozenset(
    {
        *("database", "db", "dbname", "dsn", "conninfo", "service", "unix_socket", "uri"),
        *("host", "hostaddr", "port", "read_default_file", "read_default_group", "default_file"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the command line says: the address of a database, the shop's own, or neither; `keep` the throw-away."""

    uri: str = ""
    own: bool = False
    keep: bool = False
    force: bool = False


@contextmanager
def in_place(app: Flask, db: SQLAlchemy, choice: Choice, say: Callable[[str], object]) -> Iterator[None]:
    """Put the chosen database in place of the app's default one, with all tables; the rest stays as it is.

    Raises `ConfigurationError` where rows of real trade could be touched, unless the choice is forced.
    """
    _refuse_binds(app, db, choice)
    with ExitStack() as stack:
        if choice.own:
            _require_tables(_default(app, db))
        else:
            stack.enter_context(_instead(app, db, stack.enter_context(_address(choice, say)), choice))
        _refuse_payments(_default(app, db), choice)
        if not choice.own:
            _create_all(app, db, choice)
        yield


def _default(app: Flask, db: SQLAlchemy) -> sa.Engine:
    with app.app_context():
        return db.engine


def _refuse_binds(app: Flask, db: SQLAlchemy, choice: Choice) -> None:
    with app.app_context():
        others = sorted(str(key) for key in db.engines if key is not None)
    if others and not (choice.own or choice.force):
        raise ConfigurationError(
            f"the app has other databases (SQLALCHEMY_BINDS: {', '.join(others)}), which stay in place: what receivers "
            "write there is written for good. Point them elsewhere for the drill, or say --force."
        )


def _refuse_payments(engine: sa.Engine, choice: Choice) -> None:
    if not _has_tables(engine):
        return
    with engine.connect() as connection:
        payments = connection.scalar(sa.select(sa.func.count()).select_from(Payment))
    if payments and not choice.force:
        raise ConfigurationError(
            f"the database holds {payments} payments already. Use another, such as the throw-away one that is used "
            "without --database and --own-database, or say --force."
        )


def _has_tables(engine: sa.Engine) -> bool:
    try:
        return sa.inspect(engine).has_table(Payment.__tablename__)
    except DBAPIError as error:
        raise ConfigurationError(
            f"the database cannot be reached ({type(error).__name__}). Make the database first, see that it runs, and "
            "that its address is right."
        ) from error


def _require_tables(engine: sa.Engine) -> None:
    if not _has_tables(engine):
        raise ConfigurationError(
            f"the app's own database has no table {Payment.__tablename__}. Make the tables first: flask db upgrade, "
            "or db.create_all()."
        )


@contextmanager
def _address(choice: Choice, say: Callable[[str], object]) -> Iterator[str]:
    """Yield the address of what is not the shop's own; a throw-away folder is removed, however it ends."""
    if choice.uri:
        yield choice.uri
        return
    folder = Path(tempfile.mkdtemp(prefix="zeus-cvs-drill-"))
    try:
        yield f"sqlite:///{folder / 'drill.db'}"
    finally:
        if choice.keep:
            say(f"The database is kept: {folder / 'drill.db'}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _instead(app: Flask, db: SQLAlchemy, uri: str, choice: Choice) -> Iterator[None]:
    """Have ``db.session`` and `Database` use another engine for as long as the block lasts."""
    own = _default(app, db)
    engine = _made_like(own, uri, app.config.get("SQLALCHEMY_ENGINE_OPTIONS") or {})
    if not choice.uri:
        listen(engine, "connect", _hurry)
    with app.app_context():
        engines: dict[Any, sa.Engine] = db.engines  # type: ignore[assignment]  # the app's own dict
    engines[None] = engine
    try:
        yield
    finally:
        engines[None] = own
        engine.dispose()


def _made_like(own: sa.Engine, uri: str, options: dict[str, Any]) -> sa.Engine:
    """Make an engine, with what the shop has connected to its own one if both are of a kind: pragmas, functions."""
    try:
        url = sa.make_url(uri)
        alike = url.get_backend_name() == own.dialect.name
        engine = sa.create_engine(url, **(copied_options(options) if alike else {}))
    except (ArgumentError, ImportError) as error:
        raise ConfigurationError(
            f"--database is no address that SQLAlchemy can use ({type(error).__name__}). "
            "Write one like postgresql+psycopg://user@host/name."
        ) from None
    if alike:  # not the dialect's: its do_connect could lead back to the shop's own database
        engine.dispatch._update(own.dispatch, only_propagate=False)
        engine.pool.dispatch._update(own.pool.dispatch, only_propagate=False)
    return engine


def copied_options(options: dict[str, Any]) -> dict[str, Any]:
    """Leave out of an engine's options what says by itself where to connect, whatever the address is."""
    kept = {key: value for key, value in options.items() if key not in _WHITHER}
    if "connect_args" in kept:
        kept["connect_args"] = {
            key: value for key, value in kept["connect_args"].items() if key not in _WHITHER_OF_DRIVER
        }
    return kept


def _hurry(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _create_all(app: Flask, db: SQLAlchemy, choice: Choice) -> None:
    try:
        with app.app_context():
            db.create_all(bind_key=None)
    except SQLAlchemyError as error:
        cure = (
            "Say --database and the address of one that is empty, and of the kind that your tables need."
            if not choice.uri
            else "Make the database first, and let its user create tables."
        )
        raise ConfigurationError(
            f"the tables could not be created ({type(error).__name__}). {cure}"
        ) from error
