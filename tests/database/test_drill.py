"""The drill: a shop that does what it must passes, and each way of not doing it is named."""

from __future__ import annotations

import logging
import re
import socket
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask, Response, has_request_context, redirect, request
from sqlalchemy.event import listens_for
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as BaseResponse

from flask_zeus_cvs import EventKind, State, moves
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.deadlines import Deadlines
from flask_zeus_cvs.drill import is_running
from flask_zeus_cvs.drill.databases import Choice, copied_options
from flask_zeus_cvs.drill.stage import set_up
from flask_zeus_cvs.ledger import Ledger
from flask_zeus_cvs.lifecycle import TABLE, Cell, Input
from flask_zeus_cvs.models import Payment
from flask_zeus_cvs.moves import Moves
from flask_zeus_cvs.outbox import Outbox
from flask_zeus_cvs.payments import payments_of
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.settings import is_loopback
from tests.database.drilled import Shop, deaf, make_shop

CLEAN = "Every promise was kept."
#: Every address that a stranger of the drill could have.
DOCUMENTATION = "192.0.2.0/24,198.51.100.0/24,203.0.113.0/24,2001:db8::/32"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop whose receivers are not connected yet."""
    shop = make_shop(tmp_path)
    yield shop
    dispose(shop)


def said(result: Result) -> str:
    """What it said, whatever the width of the lines."""
    return " ".join(result.output.split())


def dispose(shop: Shop) -> None:
    with shop.app.app_context():
        shop.db.engine.dispose()


def test_a_shop_that_does_what_it_must_passes(shop: Shop) -> None:
    """All nine statuses were sent, and nothing is said against it."""
    shop.connect()
    result = shop.drill()
    assert result.exit_code == 0, result.output
    assert CLEAN in result.output
    sent = dict(re.findall(r"^    (\d\d) \D+?(\d+)$", result.output, flags=re.M))
    assert sent.keys() == {status.value for status in Status}
    assert all(int(number) for number in sent.values()), sent


def test_a_receiver_that_raises_is_named(shop: Shop) -> None:
    """With the event, the kind of error and its line."""

    def book(_app: Flask, **_: Any) -> NoReturn:
        raise KeyError("nobody reads this")

    shop.connect({EventKind.SALE_CONFIRMED: book})
    result = shop.drill()
    assert result.exit_code == 1
    assert re.search(r"Receiver \S+book did not get through with \d+ of \d+ sale_confirmed: ", said(result))
    assert "KeyError at test_drill.py:" in said(result)
    assert "nobody reads this" not in said(result)


def test_a_receiver_that_ships_at_every_notice_is_found(shop: Shop) -> None:
    """Goods that leave at 04 and again at 05 leave twice."""
    shop.connect({EventKind.FULFILLMENT_READY: deaf})
    for kind in (EventKind.PAYMENT_RECEIVED, EventKind.SALE_CONFIRMED):
        shop.connect(dict.fromkeys(shop.good_receivers) | {kind: shop.ship})
    result = shop.drill()
    assert result.exit_code == 1
    assert "The goods of one payment leave twice" in said(result)
    assert "Ship at fulfillment_ready only" in said(result)


def test_a_receiver_that_forgets_it_was_called_is_found(shop: Shop) -> None:
    """What it does outside of the database doubles when its process dies before the commit."""
    parcels: list[str] = []

    def post(_app: Flask, *, payment: Payment, **_: Any) -> None:
        parcels.append(payment.reference)
        shop.ship(shop.app, payment=payment)

    told = shop.standing

    def standing(reference: str) -> Any:
        return type(told(reference))(parcels.count(reference), told(reference).asked)

    shop.standing = standing  # type: ignore[method-assign]
    shop.connect({EventKind.FULFILLMENT_READY: post})
    result = shop.drill()
    assert result.exit_code == 1
    assert "it is called again for the same event.id" in said(result)


def test_a_shop_that_does_not_listen_to_06_is_told_so(shop: Shop) -> None:
    """With how often it came, and what to connect."""
    shop.connect({EventKind.PAYMENT_CANCELLED: None})
    result = shop.drill()
    assert result.exit_code == 1
    assert re.search(
        r"06 \(入金取消\) came \S+( times)? and nobody listens to payment_cancelled", said(result)
    )
    assert "flask_zeus_cvs.payment_cancelled.connect" in said(result)


def test_a_shop_that_hears_of_06_and_does_nothing_is_told_so(shop: Shop) -> None:
    """Its orders tell: goods leave that nobody has paid for, and nobody was asked."""
    shop.connect({EventKind.PAYMENT_CANCELLED: deaf})
    result = shop.drill()
    assert result.exit_code == 1
    assert "taken back (06), and the order stands as if it were paid" in said(result)
    assert "payment_cancelled goes to tests.database.drilled.deaf" in said(result)
    assert re.search(r"^     payments? A-\d", result.output, flags=re.M)


def test_a_shop_that_never_ships_is_told_so(shop: Shop) -> None:
    """A payment is complete, and nothing leaves."""
    shop.connect({EventKind.FULFILLMENT_READY: deaf})
    result = shop.drill()
    assert result.exit_code == 1
    assert "The payment is complete, and no goods leave." in said(result)


def test_a_shop_that_calls_an_order_off_for_its_old_slip_is_told_so(shop: Shop) -> None:
    """13 is about the old slip: who pays the new one gets the goods."""
    off: set[str] = set()

    def call_off(app: Flask, *, payment: Payment, **_: Any) -> None:
        off.add(payment.reference)
        shop.ask(app, payment=payment)

    def ship(app: Flask, *, payment: Payment, **_: Any) -> None:
        if payment.reference not in off:
            shop.ship(app, payment=payment)

    shop.connect({EventKind.PAYMENT_CANCELLED_AFTER_CANCEL: call_off, EventKind.FULFILLMENT_READY: ship})
    result = shop.drill()
    assert result.exit_code == 1
    assert "The payment is complete, and no goods leave." in said(result)


def test_a_shop_whose_pages_fail_is_told_so(shop: Shop) -> None:
    """An error page of the shop's own keeps customers from paying."""
    shop.connect()

    @shop.app.context_processor
    def broken() -> NoReturn:
        raise ZeroDivisionError

    result = shop.drill(payments=6)
    assert result.exit_code == 1
    assert "GET checkout answered 500 to customers" in said(result)


def test_a_form_that_cannot_be_sent_is_told(shop: Shop) -> None:
    """A shop's own template without the token sells nothing, and that is no clean drill."""

    @shop.app.after_request
    def without_token(answer: Response) -> Response:
        if answer.mimetype == "text/html":
            answer.set_data(answer.get_data(as_text=True).replace('name="csrf_token"', 'name="lost"'))
        return answer

    shop.connect()
    result = shop.drill(payments=4)
    assert result.exit_code == 1
    assert "The checkout page has no field csrf_token" in said(result)
    assert "No application was sent to ZEUS" in said(result)


def test_a_shop_that_leads_customers_away_is_told_so(shop: Shop) -> None:
    """From its checkout to wherever: nothing was tried, so nothing was kept."""

    @shop.app.before_request
    def elsewhere() -> BaseResponse | None:
        return redirect("/login", 303) if request.endpoint == "zeus_cvs.checkout" else None

    shop.connect()
    result = shop.drill(payments=4)
    assert result.exit_code == 1
    assert "No application was sent to ZEUS" in said(result)


def test_a_result_page_without_the_numbers_is_told(shop: Shop) -> None:
    """ZEUS demands that the page shows them; a shop's own template may have lost one."""
    shop.connect()

    @shop.app.after_request
    def forget(response: Response) -> Response:
        if request.endpoint == "zeus_cvs.result":
            response.set_data(response.get_data(as_text=True).replace("確認番号", "番号"))
        return response

    result = shop.drill(payments=20)
    assert result.exit_code == 1
    assert "does not show the customer the 確認番号" in said(result)


def test_our_own_mistakes_are_not_blamed_on_the_shop(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the table of moves wrong, the drill would see it, for it does not ask the table."""
    wrong = {**TABLE, (State.RECEIVED, Input.NOTICE_06): Cell()}
    monkeypatch.setattr(moves, "TABLE", MappingProxyType(wrong))
    shop.connect()
    result = shop.drill()
    assert result.exit_code == 1
    assert "please report it to Flask-Zeus-CVS" in said(result)
    assert "must be cancelled" in said(result)


def test_ends_that_are_not_told_are_noticed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were payment_expired never told, a shop would keep goods for nobody."""
    monkeypatch.setattr(Moves, "_expiry_is_news", lambda *_: False)
    shop.connect()
    result = shop.drill()
    assert result.exit_code == 1
    assert "The payment ended unpaid, and payment_expired never happened." in said(result)


def test_reminders_without_end_are_noticed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A customer is reminded once."""
    real = Deadlines._remind

    def remind_and_forget(self: Deadlines, ledger: Ledger, application_id: int) -> bool:
        reminded = real(self, ledger, application_id)
        ledger.lock_of(application_id).reminded_at = None
        return reminded

    monkeypatch.setattr(Deadlines, "_remind", remind_and_forget)
    shop.connect()
    result = shop.drill(payments=8)
    assert result.exit_code == 1
    assert re.search("deadline_near happened .+ for one slip", said(result))


def test_goods_that_leave_after_06_are_noticed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were an event not looked at again before it is told, goods would leave whose money is gone."""
    monkeypatch.setattr(Outbox, "_overtaken", lambda *_: False)
    shop.connect()
    result = shop.drill()
    assert result.exit_code == 1
    assert "after the money had been taken back" in said(result)


def test_customers_in_the_log_are_noticed(shop: Shop) -> None:
    """Whoever is named in the package's log is personal data that should not be there."""
    shop.connect()
    log = logging.getLogger("flask_zeus_cvs.shop")

    @shop.app.before_request
    def tell() -> None:
        log.info("a customer: %s", "kunren00001@example.jp")

    result = shop.drill(payments=3)
    assert result.exit_code == 1
    assert "The log names customers: flask_zeus_cvs.shop" in said(result)


def test_without_orders_it_says_what_was_not_judged(tmp_path: Path) -> None:
    """Payments are made directly, and only the package's promises and the receivers are judged."""
    shop = make_shop(tmp_path, ZEUS_CVS_DRILL_ORDERS=None)
    shop.connect(dict.fromkeys(shop.good_receivers, deaf))
    result = shop.drill(payments=8)
    dispose(shop)
    assert result.exit_code == 0, result.output
    assert "Not judged: whether goods left" in said(result)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "ZEUS_CVS_CALLBACK_TOKEN": "old,new",
            "ZEUS_CVS_URL_PREFIX": "/pay/konbini",
            "ZEUS_CVS_TEST_ID": "87654321",
            "ZEUS_CVS_TEST_TYPE": "0",
        },
        {"ZEUS_CVS_FULFILL_ON": "sale_confirmed", "ZEUS_CVS_RETRY_UNKNOWN_AFTER": 0},
        {"ZEUS_CVS_MAX_ATTEMPTS": 1, "ZEUS_CVS_STORES": "D030", "ZEUS_CVS_DELIVERY_ATTEMPTS": 1},
        {"TESTING": True, "ZEUS_CVS_CALLBACK_IPS": "2001:db8:5::/48", "SERVER_NAME": "tea.example:8443"},
        {"APPLICATION_ROOT": "/shop", "ZEUS_CVS_CALLBACK_IPS": DOCUMENTATION},
    ],
    ids=["token and test id", "at 05", "one of each", "testing", "below a path, many addresses"],
)
def test_it_works_with_the_shops_real_settings(settings: dict[str, Any], tmp_path: Path) -> None:
    """Nothing of them has to be changed for a drill."""
    shop = make_shop(tmp_path, **settings)
    shop.connect()
    result = shop.drill()
    dispose(shop)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("proxies", [1, 2])
def test_it_comes_through_any_number_of_proxies(shop: Shop, proxies: int) -> None:
    """The address that the shop permits is found wherever its app looks for it."""
    shop.app.wsgi_app = ProxyFix(shop.app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    shop.connect()
    result = shop.drill(payments=5)
    assert result.exit_code == 0, result.output


# Nothing of it gets out, and nothing stays


def test_the_real_endpoint_cannot_be_reached(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket is connected to, and no name looked up, from the first moment to the last."""
    reached: list[object] = []

    def refuse(*address: object, **_: object) -> NoReturn:
        reached.append(address)
        raise OSError("nothing may leave")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    shop.connect()
    assert shop.drill(payments=10).exit_code == 0
    assert not reached


def test_the_gateway_is_replaced_before_the_shop_does_anything(shop: Shop) -> None:
    """When the shop's own code is called first, applications end in the sandbox already."""
    seen: list[str] = []

    def prepare() -> None:
        settings = payments_of(shop.app).settings
        seen.append(settings.endpoint)
        assert settings.transport is not None

    shop.prepare = prepare  # type: ignore[method-assign]
    shop.connect()
    assert shop.drill(payments=1).exit_code == 0
    assert [is_loopback(each.split("/")[2].split(":")[0]) for each in seen] == [True]


def test_everything_is_as_before_afterwards(shop: Shop) -> None:
    """The app's verbs, its engine, the clock and the log are its own again; receivers could tell the difference."""
    during: list[bool] = []
    level = logging.getLogger("flask_zeus_cvs").level
    own = payments_of(shop.app)
    with shop.app.app_context():
        engine = shop.db.engine

    def look(_app: Flask, **_: Any) -> None:
        during.append(is_running() and payments_of(shop.app) is not own)

    shop.connect({EventKind.APPLICATION_ACCEPTED: look})
    assert shop.drill(payments=3).exit_code == 0
    assert during
    assert all(during)
    assert not is_running()
    assert payments_of(shop.app) is own
    with shop.app.app_context():
        assert shop.db.engine is engine
    assert abs(now() - datetime.now(UTC)) < timedelta(minutes=1)
    log = logging.getLogger("flask_zeus_cvs")
    assert (log.level, log.propagate) == (level, True)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_drill_that_is_broken_off_leaves_nothing(
    shop: Shop, tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the shop's, or Ctrl-C: no folder stays, and the app is as before."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = payments_of(shop.app)

    def place(amount: int) -> NoReturn:
        assert list(tmp_path.glob("zeus-cvs-drill-*"))
        raise error

    shop.place = place  # type: ignore[method-assign]
    assert shop.drill(payments=2).exit_code == 2
    assert not list(tmp_path.glob("zeus-cvs-drill-*"))
    assert payments_of(shop.app) is own
    assert not is_running()


# Which database


def test_the_shops_own_database_is_left_alone(shop: Shop, tmp_path: Path) -> None:
    """The throw-away file is gone afterwards, and the shop's was not even made."""
    shop.connect()
    assert shop.drill(payments=3).exit_code == 0
    assert not list(tmp_path.iterdir())


def test_the_throw_away_database_can_be_kept(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says where it is."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shop.connect()
    output = shop.drill("--keep", payments=3).output
    [kept] = tmp_path.glob("zeus-cvs-drill-*/drill.db")
    assert str(kept) in output


def test_what_the_shop_set_on_its_engine_counts(shop: Shop) -> None:
    """Pragmas and functions that it gives each connection are there on the throw-away database, too."""
    with shop.app.app_context():
        engine = shop.db.engine

    @listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.create_function("shout", 1, str.upper)

    with set_up(shop.app, 1, Choice(), print) as stage, stage.database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("SELECT shout('a')").scalar() == "A"
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_an_engine_that_connects_by_itself_is_not_copied(tmp_path: Path) -> None:
    """A `creator`, as cloud databases have one, leads to the shop's own database whatever the address says."""
    options = {"creator": lambda: sqlite3.connect(tmp_path / "own.db", check_same_thread=False)}
    shop = make_shop(tmp_path, SQLALCHEMY_ENGINE_OPTIONS=options)
    with set_up(shop.app, 1, Choice(), print) as stage, stage.database.engine.connect() as connection:
        _, _, file = connection.exec_driver_sql("PRAGMA database_list").all()[0]
        assert Path(file).name == "drill.db"


def test_only_what_does_not_lead_elsewhere_is_taken_from_an_engine() -> None:
    """Arguments that say where to connect overrule an address; the others are the shop's settings and stay."""
    arguments = {"dbname": "shop", "host": "db.example", "service": "shop", "options": "-csearch_path=shop"}
    given = {"creator": object(), "pool": object(), "pool_size": 3, "connect_args": arguments}
    assert copied_options(given) == {"pool_size": 3, "connect_args": {"options": "-csearch_path=shop"}}


def test_it_runs_on_each_kind_of_database(database_uri: str, tmp_path: Path) -> None:
    """On the shop's own; and a shop on PostgreSQL or MariaDB may be drilled on the throw-away file."""
    shop = make_shop(tmp_path, SQLALCHEMY_DATABASE_URI=database_uri)
    shop.connect()
    with shop.app.app_context():
        shop.db.create_all()
    thrown_away = shop.drill(payments=4)
    assert thrown_away.exit_code == 0, thrown_away.output
    shop.placed = 0
    own = shop.drill("--own-database", payments=12)
    dispose(shop)
    assert own.exit_code == 0, own.output


def test_the_own_database_is_used_if_asked_for(shop: Shop) -> None:
    """Its tables must be there; what the drill writes stays there."""
    shop.connect()
    refused = shop.drill("--own-database", payments=3)
    assert refused.exit_code == 2
    assert "flask db upgrade" in said(refused)
    with shop.app.app_context():
        shop.db.create_all()
    assert shop.drill("--own-database", payments=3).exit_code == 0
    with shop.app.app_context():
        assert shop.zeus.find("A-3")


@pytest.mark.parametrize("named", [False, True], ids=["own", "named"])
def test_a_database_with_payments_is_refused_unless_forced(shop: Shop, tmp_path: Path, named: bool) -> None:
    """The shop's own, and one that is named; older payments are not judged, and no table was made meanwhile."""
    where = ("--database", f"sqlite:///{tmp_path / 'own.db'}") if named else ("--own-database",)
    shop.connect()
    with shop.app.app_context():
        shop.db.create_all()
        shop.zeus.create_payment(amount=3000, reference="real")
        shop.db.session.commit()
    later = sa.Table("made_later", shop.db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    try:
        refused = shop.drill(*where, payments=3)
    finally:
        shop.db.metadata.remove(later)  # other tests share it
    assert refused.exit_code == 2
    assert "holds 1 payments already" in said(refused)
    with shop.app.app_context():
        assert not sa.inspect(shop.db.engine).has_table("made_later")
        assert shop.db.session.execute(sa.text("PRAGMA journal_mode")).scalar() == "delete"
    assert shop.drill(*where, "--force", payments=3).exit_code == 0


@pytest.mark.parametrize(
    ("uri", "cure"),
    [
        ("nonsense", "Write one like"),
        ("oracle://x", "Write one like"),
        ("sqlite:////no/such/x.db", "Make the database"),
    ],
)
def test_a_database_that_cannot_be_used_is_named(shop: Shop, uri: str, cure: str) -> None:
    """With a cure, and exit status 2."""
    result = shop.drill("--database", uri)
    assert result.exit_code == 2
    assert cure in said(result)


def test_other_databases_of_the_shop_are_not_written_to_unseen(tmp_path: Path) -> None:
    """A bind stays where it is, so the drill refuses unless it is forced."""
    shop = make_shop(tmp_path, SQLALCHEMY_BINDS={"stock": f"sqlite:///{tmp_path / 'stock.db'}"})
    shop.connect()
    refused = shop.drill(payments=3)
    assert refused.exit_code == 2
    assert "SQLALCHEMY_BINDS: stock" in said(refused)
    assert shop.drill("--force", payments=3).exit_code == 0
    with shop.app.app_context():
        for engine in shop.db.engines.values():
            engine.dispose()


# Who agrees


def test_without_callback_ips_it_cannot_run(tmp_path: Path) -> None:
    """Every notice would be refused: the cure is named."""
    shop = make_shop(tmp_path, ZEUS_CVS_CALLBACK_IPS=None)
    result = shop.drill()
    dispose(shop)
    assert result.exit_code == 2
    assert "ZEUS_CVS_CALLBACK_IPS is not set" in said(result)


def test_nobody_has_agreed(shop: Shop) -> None:
    """A script must say --yes, because receivers run in earnest."""
    result = shop.app.test_cli_runner().invoke(args=["zeus-cvs", "drill"])
    assert result.exit_code == 2
    assert "say --yes" in said(result)


@pytest.mark.parametrize(("answer", "status"), [("n\n", 2), ("y\n", 0)])
def test_a_person_is_asked(shop: Shop, answer: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is played unless they agree."""
    monkeypatch.setattr("flask_zeus_cvs.cli.drill._is_terminal", lambda: True)
    shop.connect()
    args = ["zeus-cvs", "drill", "--payments", "2", "--weeks", "1"]
    result = shop.app.test_cli_runner().invoke(args=args, input=answer)
    assert result.exit_code == status, result.output
    assert "the mails, parcels and bookings that they send are sent" in said(result)
    assert (shop.placed > 0) is (status == 0)


def test_receivers_run_as_in_a_command(shop: Shop) -> None:
    """Without a request: what they may not do in earnest, they may not do here either."""
    seen: list[bool] = []

    def look(_app: Flask, **_: Any) -> None:
        seen.append(has_request_context())

    shop.connect({EventKind.APPLICATION_ACCEPTED: look})
    shop.drill(payments=2)
    assert seen
    assert not any(seen)


def test_orders_that_are_not_committed_are_named(shop: Shop) -> None:
    """A place() that leaves its work to be lost is a mistake in the shop's own drill code."""

    def place(amount: int) -> Payment:
        return shop.zeus.create_payment(amount=amount, reference="lost")

    shop.place = place  # type: ignore[method-assign]
    result = shop.drill(payments=1)
    assert result.exit_code == 2
    assert "Let place() commit" in said(result)


@pytest.mark.parametrize("where", ["no.such.module:Orders", "tests.database.drilled:Base"])
def test_orders_that_cannot_be_used_are_named(where: str, tmp_path: Path) -> None:
    """The setting leads nowhere, or to something else."""
    shop = make_shop(tmp_path, ZEUS_CVS_DRILL_ORDERS=where)
    result = shop.drill()
    dispose(shop)
    assert result.exit_code == 2
    assert "ZEUS_CVS_DRILL_ORDERS" in said(result)
