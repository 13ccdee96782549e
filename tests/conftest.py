"""What tests share: databases, an app as a shop would make it, and a gateway that answers as told.

Tests are sorted by what they need to run: ``unit`` nothing, ``database`` a database, ``wire`` sockets on loopback,
``browser`` Chromium, ``packaging`` a package index.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_zeus_cvs import Customer, State, ZeusCVS
from flask_zeus_cvs.exceptions import GatewayError
from flask_zeus_cvs.models import Application, Base, Payment
from flask_zeus_cvs.payments import Payments, payments_of
from flask_zeus_cvs.protocol.messages import Answer, ApplicationRequest
from tests import servers
from tests.servers import Program, Redis, Server, Unavailable

P = TypeVar("P", bound=Program)

CLIENT_IP = "1234567890"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Silent on the network, and able to run as root.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-sync",
]
CUSTOMER = Customer("ヤマダ　タロウ", "09012345678", "taro@example.com")


def missing(what: str) -> NoReturn:
    """Skip a test for want of ``what``; with CI=true that is a failure, so that nothing is left out unseen."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI runs every test")
    pytest.skip(f"{what} is missing")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report as one line what many tests are skipped for: pytest folds those of one place."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and report.longrepr[2].endswith(" is missing"):
        report.longrepr = (__file__, missing.__code__.co_firstlineno, report.longrepr[2])
    return report


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's Chromium."""
    return CHROMIUM or missing("Chromium")


@pytest.fixture(scope="session")
def browser_type_launch_args(chromium: str) -> dict[str, Any]:
    """How pytest-playwright starts the browser: Debian's own, silent on the network."""
    return {"executable_path": chromium, "args": CHROMIUM_FLAGS}


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server of our own; left running, as others of this session use it too."""
    with started(servers.postgresql) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """A MariaDB server of our own, as `postgresql`."""
    with started(servers.mariadb) as server:
        yield server


@pytest.fixture
def redis() -> Iterator[Redis]:
    """A Redis of this test's own: it may be killed."""
    with started(servers.redis) as server:
        yield server


def started(start: Callable[[], P]) -> P:
    """Start a server, or skip for want of it."""
    try:
        return start()
    except Unavailable as error:
        missing(str(error))


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """What to close after the test, last opened first: shops before their databases."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_uri(request: pytest.FixtureRequest, tmp_path: Path, closing: ExitStack) -> str:
    """An empty database, on each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shop.db'}"
    server: Server = request.getfixturevalue(request.param)
    uri = server.create()
    closing.callback(server.drop, uri)
    return uri


class ScriptedGateway:
    """Stands in for ZEUS below the verbs: answers each application as told, and remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[ApplicationRequest] = []
        self.answers: list[bytes | GatewayError] = []
        self.before_answer: Callable[[ApplicationRequest], object] = lambda request: None

    def apply(self, request: ApplicationRequest) -> Answer:
        request.encode()
        self.sent.append(request)
        self.before_answer(request)
        answer = self.answers.pop(0) if self.answers else accepted(f"{len(self.sent):04d}-1")
        if isinstance(answer, GatewayError):
            raise answer
        return Answer.parse(answer)


def accepted(order_no: str = "0001-1", pay_no1: str = "1234567890123", pay_no2: str = "") -> bytes:
    """An accepted answer, spelled out."""
    return (
        f"rel = Success_order\norder_no = {order_no}\npay_no1 = {pay_no1}\npay_no2 = {pay_no2}\n"
        "pay_limit=20991231\npay_url=\nerror_code=\n"
    ).encode("ascii")


class Shop:
    """An app with the extension, as a shop would make it, and shortcuts that name what matters."""

    def __init__(self, app: Flask, db: SQLAlchemy, zeus: ZeusCVS) -> None:
        self.app, self.db, self.zeus = app, db, zeus
        self.gateway = ScriptedGateway()
        self.payments._gateway = self.gateway  # type: ignore[assignment]

    @property
    def payments(self) -> Payments:
        return payments_of(self.app)

    def payment(self, amount: int = 3000, reference: str = "A-1001", **more: Any) -> Payment:
        """Create and commit a payment."""
        payment = self.zeus.create_payment(amount=amount, reference=reference, **more)
        self.db.session.commit()
        return payment

    def submit(self, payment: Payment, store: str = "D002", customer: Customer = CUSTOMER) -> Application:
        return self.zeus.submit(payment, customer, store)

    def awaiting(
        self, amount: int = 3000, order_no: str = "0001-1", **more: Any
    ) -> tuple[Payment, Application]:
        """A payment whose slip waits for its customer."""
        payment = self.payment(amount, **more)
        self.gateway.answers.append(accepted(order_no))
        return payment, self.submit(payment)

    def state(self, payment: Payment) -> State:
        """The state of a payment, fresh; under repeatable read that takes a new transaction."""
        self.db.session.rollback()
        self.db.session.refresh(payment)
        return payment.state

    def all(self, model: type[Any]) -> list[Any]:
        """Every row of a table, fresh."""
        self.db.session.rollback()
        self.db.session.expire_all()
        return list(self.db.session.scalars(sa.select(model).order_by(model.id)))


ShopMaker = Callable[..., Shop]


@pytest.fixture
def make_shop(tmp_path: Path, closing: ExitStack) -> ShopMaker:
    """Make apps: ``make_shop(uri, KEY=value, …)``, keys without their prefix; contexts and engines are closed."""

    def make(
        uri: str | None = None,
        *,
        testing: bool = True,
        engine: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Shop:
        app = Flask(__name__, instance_path=str(tmp_path))
        app.config.update(
            TESTING=testing,
            SECRET_KEY="not a secret",
            SQLALCHEMY_DATABASE_URI=uri or f"sqlite:///{tmp_path / 'shop.db'}",
            SQLALCHEMY_ENGINE_OPTIONS=engine or {},
            ZEUS_CVS_CLIENT_IP=CLIENT_IP,
            ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"],
        )
        app.config.update({f"ZEUS_CVS_{key}": value for key, value in settings.items()})
        db = SQLAlchemy(app)
        shop = Shop(app, db, ZeusCVS(app, db))
        context = app.app_context()
        context.push()
        db.create_all()

        @closing.callback
        def close() -> None:
            shop.payments._outbox.stop()
            shop.db.session.remove()
            shop.db.engine.dispose()
            context.pop()

        return shop

    return make


@pytest.fixture
def shop(make_shop: ShopMaker, database_uri: str) -> Shop:
    """A shop on each kind of database; subscribers are called inline."""
    return make_shop(database_uri)


@pytest.fixture
def sqlite_shop(make_shop: ShopMaker) -> Shop:
    """A shop on an SQLite file, for what does not depend on the database."""
    return make_shop()


@pytest.fixture
def tables() -> list[str]:
    """The names of our tables."""
    return sorted(Base.metadata.tables)


@pytest.fixture
def counted(shop: Shop) -> sa.Table:
    """A table of the shop's own, in which its subscribers write."""
    table = sa.Table(
        "counted",
        shop.db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("event_id", sa.Integer, nullable=False),
    )
    shop.db.create_all()
    return table


def all_at_once(shop: Shop, works: Sequence[Callable[[], object]]) -> list[BaseException]:
    """Run each in a thread and an app context of its own, from the same moment on; returns what they raised."""
    start = threading.Barrier(len(works))
    raised: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            with shop.app.app_context():
                start.wait(10)
                work()
        except BaseException as error:
            raised.append(error)

    shop.db.session.remove()
    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return raised
