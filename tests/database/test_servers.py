"""The database servers of the tests: what the fault tests rely on when they crash, freeze and cut them."""

from __future__ import annotations

import gc
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from redis import Redis as Client
from sqlalchemy.exc import OperationalError

from tests import servers
from tests.conftest import started
from tests.servers import Program, Redis, Server, Unavailable

STARTS: list[Callable[..., Server]] = [servers.postgresql, servers.mariadb]


@pytest.fixture(scope="module", params=STARTS, ids=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server for these tests alone, as they crash it; it writes to the disk as in earnest."""
    start: Callable[..., Server] = request.param
    with started(lambda: start(durable=True)) as server:
        yield server


@pytest.fixture
def engine(server: Server, closing: ExitStack) -> sa.Engine:
    """An engine on an empty database, with one table."""
    uri = server.create()
    closing.callback(server.drop, uri)
    engine = sa.create_engine(uri)
    closing.callback(engine.dispose)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE notes (number INTEGER)"))
    return engine


def note(connection: sa.Connection) -> None:
    connection.execute(sa.text("INSERT INTO notes VALUES (1)"))


def notes(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM notes")).scalar_one())


def uri_of(engine: sa.Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def test_a_crash_keeps_what_was_committed(server: Server, engine: sa.Engine) -> None:
    """What was committed is there afterwards, what was not is gone, and who was connected is told."""
    with engine.begin() as connection:
        note(connection)
    open_ = engine.connect()
    note(open_)
    server.restart()
    with pytest.raises(OperationalError):
        note(open_)
    open_.invalidate()
    open_.close()
    assert notes(engine) == 1


# PyMySQL leaves the socket open of a connection that was refused.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_while_it_is_stopped_nobody_connects(server: Server, engine: sa.Engine) -> None:
    """Between stop and start each connection fails at once; both may be called twice."""
    engine.dispose()
    server.stop()
    server.stop()
    try:
        with pytest.raises(OperationalError):
            engine.connect()
    finally:
        server.start()
        server.start()
    gc.collect()  # while this test's filter of warnings is there
    assert notes(engine) == 0


def test_frozen_it_makes_everyone_wait(server: Server, engine: sa.Engine) -> None:
    """Nobody is answered before it is thawed."""
    answered = threading.Event()
    open_ = engine.connect()

    def ask() -> None:
        note(open_)
        open_.commit()
        answered.set()

    server.freeze()
    asking = threading.Thread(target=ask)
    try:
        asking.start()
        assert not answered.wait(0.3)
    finally:
        server.thaw()
    assert answered.wait(30)
    asking.join(30)
    open_.close()
    assert notes(engine) == 1


def test_cut_ends_the_connections_of_one_database(
    server: Server, engine: sa.Engine, closing: ExitStack
) -> None:
    """Who is connected to another one does not notice."""
    other_uri = server.create()
    closing.callback(server.drop, other_uri)
    other = sa.create_engine(other_uri)
    closing.callback(other.dispose)
    with other.connect() as spared, engine.connect() as idle, engine.connect() as busy:
        idle.execute(sa.text("SELECT 1"))
        note(busy)
        assert server.cut(uri_of(engine)) == 2
        for each in (idle, busy):
            with pytest.raises(OperationalError):
                note(each)
            each.invalidate()
        assert spared.execute(sa.text("SELECT 1")).scalar() == 1
    assert notes(engine) == 0


@pytest.mark.parametrize("start", STARTS, ids=["postgresql", "mariadb"])
def test_nothing_is_left_of_it(start: Callable[..., Server]) -> None:
    """Closed, even while frozen, it leaves no process and no folder."""
    server = started(start)
    process, folder = server._process, server.folder
    assert process is not None
    server.freeze()
    frozen = list(server._frozen)
    server.close()
    server.close()
    assert process.poll() is not None
    assert not [pid for pid in frozen if os.path.exists(f"/proc/{pid}")]
    assert not folder.exists()


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of our own for temporary folders, with a short path."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.mark.parametrize(
    ("start", "named"),
    [
        (servers.mariadb, "mariadb-install-db (Debian's mariadb-server-core and mariadb-client-core)"),
        (servers.redis, "redis-server (Debian's redis-server)"),
    ],
    ids=["mariadb", "redis"],
)
def test_what_is_missing_is_named(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[], Program], named: str
) -> None:
    """Where a server is not installed, the reason for skipping says what to install, and no folder stays."""
    monkeypatch.setattr(servers, "SEARCHED", "")
    with pytest.raises(Unavailable, match=f"^{re.escape(named)}$"):
        start()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("start", STARTS, ids=["postgresql", "mariadb"])
def test_a_path_too_long_for_a_socket_is_named(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[..., Server]
) -> None:
    """The folder for temporary files may be anywhere; a socket's path has its limit."""
    deep = temporary / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(Unavailable, match="short enough for a socket"):
        start()
    assert list(deep.iterdir()) == []


def test_a_broker_forgets(redis: Redis) -> None:
    """Redis comes back at the same address after a crash, and has forgotten what it held: the worst a broker can do."""
    client = Client.from_url(redis.url)
    client.rpush("messages", "one")
    redis.restart()
    assert client.llen("messages") == 0
    client.close()
