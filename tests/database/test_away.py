"""When the database is away: answers in bounded time, the notice named in the log, and well again by itself."""

from __future__ import annotations

import gc
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing as closed
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from flask_zeus_cvs import EventData, State, payment_received
from flask_zeus_cvs import database as module
from flask_zeus_cvs.exceptions import DatabaseAway, UnreadableNotice
from flask_zeus_cvs.ledger import Ledger
from flask_zeus_cvs.models import Application, Delivery, DeliveryState, Notification, Payment
from tests import servers
from tests.conftest import Shop, ShopMaker, started
from tests.database.test_receive import notice
from tests.servers import Server
from tests.waiting import until

CALLBACK = "/zeus-cvs/callback?"

#: PyMySQL leaves the socket open of a connection that was refused; see `shop` too.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that tests may crash: nobody else uses it."""
    with started(getattr(servers, request.param)) as own:
        yield own
        own.thaw()


@pytest.fixture
def shop(make_shop: ShopMaker, server: Server) -> Iterator[Shop]:
    """A shop with one slip out, on a server of its own that answers again after the test."""
    uri = server.create()
    shop = make_shop(uri)
    shop.awaiting()
    shop.db.session.remove()
    yield shop
    server.thaw()
    server.start()
    gc.collect()  # while this test's filter of warnings is there


def call(shop: Shop, status: str = "04", order_no: str = "0001-1") -> int:
    shop.db.session.remove()
    return ask(shop, status, order_no)


def ask(shop: Shop, status: str = "04", order_no: str = "0001-1") -> int:
    """Call from another thread, too."""
    return shop.app.test_client().get(CALLBACK + notice(status, order_no).decode()).status_code


def test_a_stopped_server_is_a_500_and_then_a_200(
    shop: Shop, server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server is down: 500, with order number and status in the log; after it is back: 200, and stored."""
    monkeypatch.setattr(module, "RECONNECT", 0.5)
    server.stop()
    assert call(shop) == 500
    (told,) = [each.getMessage() for each in caplog.records if "could not be stored" in each.getMessage()]
    assert "order '0001-1' with status '04'" in told
    assert "taro" not in caplog.text
    server.start()
    assert call(shop) == 200
    assert [each.state for each in shop.all(Application)] == [State.RECEIVED]


def test_only_the_first_to_notice_an_outage_waits(
    shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shop without its database refuses quickly, so that a queue of notices is not held up by each."""
    waits: list[float] = []
    monkeypatch.setattr(module, "RECONNECT", 0.5)
    monkeypatch.setattr("flask_zeus_cvs.database.time.sleep", waits.append)
    server.stop()
    assert call(shop) == 500
    assert waits
    until(lambda: time.monotonic() > (shop.payments._database._away_since or 0) + 0.5)
    waits.clear()
    assert call(shop) == 500
    assert waits == []


def test_a_restart_is_sat_out(shop: Shop, server: Server) -> None:
    """A server that comes back within seconds costs no 500, and staff no resending."""
    server.stop()
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(ask(shop)))
    caller.start()
    until(lambda: shop.payments._database._away_since is not None)
    server.start()
    caller.join(30)
    assert answers == [200]
    assert [each.times for each in shop.all(Notification)] == [1]


def test_connections_of_before_a_restart_cost_nothing(shop: Shop, server: Server) -> None:
    """After a restart that nobody saw, the pool's dead connections are replaced: no 500, no error page."""
    payment = shop.zeus.find("A-1001")
    assert payment is not None
    path = payment.result_url
    shop.db.session.remove()
    server.restart()
    shop.app.config["ZEUS_CVS_REQUIRE_HTTPS"] = False
    assert shop.app.test_client().get(path, base_url="https://localhost").status_code == 200
    server.restart()
    assert call(shop) == 200


def test_a_cut_connection_costs_nothing(shop: Shop, server: Server) -> None:
    """The same when the server ends single connections."""
    assert server.cut(str(shop.db.engine.url.render_as_string(hide_password=False))) >= 1
    assert call(shop) == 200


def test_a_connection_that_breaks_in_the_work_is_tried_again(shop: Shop, server: Server) -> None:
    """Before the commit nothing is stored, so the work is run again, once more and whole."""
    database = shop.payments._database
    uri = shop.db.engine.url.render_as_string(hide_password=False)
    runs: list[int] = []

    def work(session: Session) -> int:
        runs.append(1)
        session.execute(sa.update(Payment).values(sendpoint="x"))
        if len(runs) == 1:
            server.cut(uri)
        return session.scalars(sa.select(Payment.id)).one()

    assert database.write(work) == 1
    assert len(runs) == 2
    assert [each.sendpoint for each in shop.all(Payment)] == ["x"]


def test_a_connection_that_breaks_in_the_commit_is_not_tried_again(
    shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what came of a commit whose answer is lost: the caller is told, and the work is not run twice."""
    uri = shop.db.engine.url.render_as_string(hide_password=False)
    runs: list[int] = []

    def work(session: Session) -> None:
        runs.append(1)
        session.execute(sa.update(Payment).values(sendpoint="x"))
        listen(session, "before_commit", lambda session: server.cut(uri))

    with pytest.raises(DBAPIError):
        shop.payments._database.write(work)
    assert len(runs) == 1
    assert call(shop) == 200


@pytest.mark.parametrize(
    "raw", [notice("04"), notice("04", "9999-9"), b"status=99"], ids=["ours", "unknown", "unreadable"]
)
def test_a_commit_that_went_through_counts_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, raw: bytes
) -> None:
    """The connection breaks after the commit: what is run again finds its own row, and counts one call, no repeat."""
    commit, broken = sa.Connection.commit, list[str]()

    def commit_and_break(connection: sa.Connection) -> None:
        commit(connection)
        if not broken:
            broken.append("the first")
            raise OperationalError("COMMIT", {}, Exception("gone"), connection_invalidated=True)

    monkeypatch.setattr(sa.Connection, "commit", commit_and_break)
    shop.db.session.remove()
    if raw == b"status=99":
        with pytest.raises(UnreadableNotice):
            shop.zeus.receive(raw)
    else:
        assert not shop.zeus.receive(raw).repeat
    assert broken
    assert [each.times for each in shop.all(Notification)] == [1]


def test_a_notice_whose_commit_breaks_is_stored_all_the_same(
    shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notice finds what it has stored already, so its commit is tried again: 200, and applied once."""
    engine = shop.db.engine
    uri = engine.url.render_as_string(hide_password=False)
    take = shop.payments._receiving._take
    cuts: list[int] = []

    def take_and_be_cut(ledger: Ledger, *args: Any) -> Any:
        if not cuts:
            listen(engine, "commit", lambda _: cuts.append(server.cut(uri)), once=True)
        return take(ledger, *args)

    monkeypatch.setattr(shop.payments._receiving, "_take", take_and_be_cut)
    assert call(shop) == 200
    assert len(cuts) == 1
    assert [each.state for each in shop.all(Application)] == [State.RECEIVED]


def test_an_error_of_the_shops_own_names_the_notice(
    shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the shop's own before_request fails for want of the database, the log still says what to have resent."""
    shop.app.config["PROPAGATE_EXCEPTIONS"] = False

    @shop.app.before_request
    def look_up_the_visitor() -> None:
        shop.db.session.execute(sa.text("SELECT 1"))

    server.stop()
    assert call(shop) == 500
    assert "order '0001-1' with status '04'" in caplog.text


def test_a_frozen_server_is_a_500_in_bounded_time(
    shop: Shop, server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes connections and says nothing: the answer is 500 after the bound, and quicker for the next;
    once it goes on, what hung is stored after all, and a resent notice is a repeat."""
    monkeypatch.setattr(module, "ANSWER_WITHIN", 1.0)
    monkeypatch.setattr(module, "ANSWER_WITHIN_HANGING", 0.2)
    server.freeze()
    assert call(shop) == 500
    began = time.monotonic()
    assert call(shop, "05") == 500
    assert time.monotonic() - began < 5, "not 20"
    assert "DatabaseAway: the database gave no answer within 1 seconds" in caplog.text
    assert "order '0001-1' with status '05'" in caplog.text
    server.thaw()
    until(lambda: not any(each.is_alive() for each in shop.payments._database._hanging))
    assert call(shop) == 200
    assert call(shop, "05") == 200
    rows = shop.all(Notification)
    assert {each.status: each.times for each in rows} == {"04": 2, "05": 2}
    assert [each.state for each in shop.all(Application)] == [State.CONFIRMED]


def test_a_delivery_that_meets_a_dead_connection_is_not_a_failure(
    shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver is called, at its first try, also when the connection for it had died unnoticed."""
    heard: list[int] = []

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(event.id)

    payment_received.connect(listen, shop.app)
    claim = shop.payments._outbox._claim

    def claim_and_restart(*args: Any) -> Any:
        found = claim(*args)
        args[0].afterwards(server.restart)
        return found

    monkeypatch.setattr(shop.payments._outbox, "_claim", claim_and_restart)
    assert call(shop) == 200
    assert len(heard) == 1
    (delivery,) = shop.all(Delivery)
    assert (delivery.state, delivery.attempts) == (DeliveryState.DONE, 1)


def test_a_failure_that_could_not_be_stored_is_stored_later(
    shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver fails because the server goes down under it: once it is back, its lease is given up at once, and it
    is tried again in its time, not when the lease would have ended."""
    monkeypatch.setattr(module, "RECONNECT", 0.2)
    calls: list[int] = []

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            server.stop()
        shop.db.session.execute(sa.update(Payment).values(sendpoint="x"))

    payment_received.connect(listen, shop.app)
    assert call(shop) == 200
    server.start()
    shop.db.session.remove()
    shop.zeus.deliver_now()
    (delivery,) = shop.all(Delivery)
    assert (delivery.state, delivery.attempts, delivery.lease) == (DeliveryState.PENDING, 1, None)
    shop.payments.hasten()
    shop.zeus.deliver_now()
    assert len(calls) == 2
    assert [each.state for each in shop.all(Delivery)] == [DeliveryState.DONE]


def test_the_background_thread_survives_an_outage(
    make_shop: ShopMaker, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread says that it could not deliver, goes on looking, and delivers once the database is back."""
    monkeypatch.setattr("flask_zeus_cvs.outbox.POLL_SECONDS", 0.1)
    monkeypatch.setattr(module, "RECONNECT", 0.1)
    heard: list[int] = []

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(event.id)

    shop = make_shop(server.create(), DELIVERY="background")
    shop.awaiting()
    payment_received.connect(listen, shop.app)
    server.stop()
    shop.payments._outbox.after_commit()
    until(lambda: "Delivering failed" in caplog.text)
    server.start()
    assert call(shop) == 200
    until(lambda: len(heard) == 1)
    until(lambda: [each.state for each in shop.all(Delivery)] == [DeliveryState.DONE])


def test_a_locked_sqlite_is_a_500_in_bounded_time(
    make_shop: ShopMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that another process keeps locked: 500 within the bound, the notice named; then well again."""
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    impatient = {"connect_args": {"timeout": 0.2}}
    shop = make_shop(f"sqlite:///{tmp_path / 'shop.db'}", engine=impatient)
    shop.awaiting()
    shop.db.session.remove()
    with closed(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert call(shop) == 500
    assert "order '0001-1' with status '04'" in caplog.text
    assert call(shop) == 200


def test_a_pool_without_connections_is_a_500_in_bounded_time(
    make_shop: ShopMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the shop itself holds every connection, the notice is refused within the bound, and taken afterwards."""
    monkeypatch.setattr(module, "ANSWER_WITHIN", 0.5)
    shop = make_shop()
    shop.awaiting()
    shop.db.session.remove()
    pool = shop.db.engine.pool
    assert isinstance(pool, sa.pool.QueuePool)
    held = [shop.db.engine.connect() for _ in range(15)]
    try:
        assert call(shop) == 500
    finally:
        for each in held:
            each.close()
    until(lambda: not any(each.is_alive() for each in shop.payments._database._hanging))
    assert call(shop) == 200


def test_what_hangs_names_itself(shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers of receive are told of the bound by an error of ours."""
    monkeypatch.setattr(module, "ANSWER_WITHIN", 0.3)
    server.freeze()
    with pytest.raises(DatabaseAway, match="no answer within 0 seconds"):
        shop.zeus.receive(notice("04"))
    server.thaw()
    until(lambda: not any(each.is_alive() for each in shop.payments._database._hanging))
