"""``flask zeus-cvs check``: each fault is found where it is, and nowhere else."""

from __future__ import annotations

import json
import re
import zoneinfo
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from click.testing import Result
from requests.adapters import HTTPAdapter
from sqlalchemy.event import listen
from sqlalchemy.exc import OperationalError

from flask_zeus_cvs import (
    State,
    fulfillment_ready,
    payment_received,
    review_required,
    silence_suspected,
)
from flask_zeus_cvs.exceptions import DatabaseAway, Unanswered, UnreadableNotice
from flask_zeus_cvs.models import Base, Delivery, Memo, Notification
from flask_zeus_cvs.payments import DELIVERED, SWEPT
from flask_zeus_cvs.staff import findings, outside, soundness
from flask_zeus_cvs.staff.doctor import EXAMINATIONS, Patient, examine
from flask_zeus_cvs.staff.findings import RULES, Finding, Severity
from flask_zeus_cvs.web.texts import ours
from tests.conftest import Shop, ShopMaker
from tests.database.test_receive import notice

NOON = datetime(2026, 12, 1, 3, tzinfo=UTC)
ALL: dict[str, Any] = {
    **dict.fromkeys(("username", "telno", "email", "sendid", "sendpoint", "pay_no2", "error_code"), ""),
    "pay_cvs": "D002",
    "pay_no1": "12345678",
    "pay_limit": "20991231",
}
#: Settings of a shop in production with which nothing is wrong. Its sender is none of the documentation's.
GOOD: dict[str, Any] = {
    "CLIENT_IP": "9876500001",
    "CALLBACK_IPS": ["9.9.9.9"],
    "CALLBACK_TOKEN": "k7QmVYd0aZ4tXw9cRb2s",
    "DELIVERY": "background",
}


def hear(app: object, **extra: Any) -> None:
    """A receiver of everything that somebody must hear."""


@pytest.fixture
def good(make_shop: ShopMaker) -> Callable[..., Shop]:
    """Make a shop in production with which nothing is wrong, but for what is given."""

    def make(uri: str | None = None, **settings: Any) -> Shop:
        config = {
            each: settings.pop(each) for each in list(settings) if each.startswith(("SESSION", "SECRET"))
        }
        shop = make_shop(uri, testing=False, **{**GOOD, **settings})
        shop.app.config.update(
            {"SECRET_KEY": "long enough to be kept", "SESSION_COOKIE_SECURE": True, **config}
        )
        if shop.payments.database.is_sqlite:
            with shop.db.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        for each in (fulfillment_ready, review_required, silence_suspected):
            each.connect(hear, sender=shop.app)
        shop.payments.database.write(
            lambda session: session.add_all(
                [Memo(key=SWEPT, value="null"), Memo(key=DELIVERED, value="null")]
            )
        )
        shop.awaiting(order_no="0000-1", reference="the first")
        shop.zeus.receive(notice("01", "0000-1", **{**ALL, "clientip": GOOD["CLIENT_IP"]}))
        return shop

    return make


def found(shop: Shop, **more: Any) -> dict[str, Finding]:
    """What is found, but for what is fine."""
    findings = examine(Patient(shop.app, shop.payments, **more))
    return {each.code: each for each in findings if each.severity is not Severity.FINE}


def test_a_shop_with_which_nothing_is_wrong(good: Callable[..., Shop], database_uri: str) -> None:
    """Nothing is found, but that the callback was not asked, and that the tests' servers are careless."""
    codes = set(found(good(database_uri), texts=ours()))
    assert codes - {"database.durability"} == {"callback.not_asked"}
    assert ("database.durability" in codes) is not database_uri.startswith("sqlite")


# Settings


@pytest.mark.parametrize(
    ("code", "severity", "settings"),
    [
        ("settings.callback_ips_unset", "error", {"CALLBACK_IPS": None}),
        ("settings.callback_ips_private", "error", {"CALLBACK_IPS": ["9.9.9.9", "127.0.0.1"]}),
        ("settings.callback_ips_private", "error", {"CALLBACK_IPS": "10.20.0.0/24"}),
        ("settings.callback_ips_private", "error", {"CALLBACK_IPS": "::1"}),
        ("settings.callback_ips_private", "error", {"CALLBACK_IPS": "100.64.1.1"}),
        ("settings.callback_ips_example", "error", {"CALLBACK_IPS": ["192.0.2.10"]}),
        ("settings.callback_ips_example", "error", {"CALLBACK_IPS": "2001:db8::1"}),
        ("settings.callback_ips_wide", "warning", {"CALLBACK_IPS": "9.9.0.0/16"}),
        ("settings.callback_token_missing", "advice", {"CALLBACK_TOKEN": None}),
        ("settings.callback_token_short", "warning", {"CALLBACK_TOKEN": [GOOD["CALLBACK_TOKEN"], "short"]}),
        ("settings.test_mode", "error", {"TEST_ID": "12345678", "TEST_TYPE": "1"}),
        ("settings.test_fulfills", "warning", {"TEST_FULFILLS": True}),
        ("settings.demo_client_ip", "error", {"CLIENT_IP": "1234567890"}),
        ("settings.demo_client_ip", "error", {"CLIENT_IP": "0000000000"}),
        ("settings.endpoint_loopback", "error", {"ENDPOINT": "http://127.0.0.1:5001/cgi-bin/cvs.cgi"}),
        ("settings.endpoint_other", "advice", {"ENDPOINT": "https://gateway.example/cvs.cgi"}),
        ("settings.transport", "error", {"TRANSPORT": HTTPAdapter()}),
        ("settings.https_not_required", "error", {"REQUIRE_HTTPS": False}),
        ("settings.delivery_inline", "warning", {"DELIVERY": "inline"}),
        ("settings.pay_within_days", "advice", {"PAY_WITHIN_DAYS": 5}),
        ("settings.timeouts_long", "advice", {"READ_TIMEOUT": 25}),
        ("settings.secret_key_missing", "error", {"SECRET_KEY": None}),
        ("settings.secret_key_short", "warning", {"SECRET_KEY": "x"}),
        ("settings.cookie_insecure", "warning", {"SESSION_COOKIE_SECURE": False}),
        ("settings.cookie_insecure", "warning", {"SESSION_COOKIE_HTTPONLY": False}),
        ("settings.texts_unknown", "warning", {"TEXTS": {"ja": {"そのような文はない": "ある"}}}),
    ],
)
def test_a_setting_that_is_wrong(
    good: Callable[..., Shop], code: str, severity: str, settings: dict[str, Any]
) -> None:
    """One setting is changed, and one thing is found."""
    seen = found(good(**settings), texts=ours())
    assert set(seen) == {code, "callback.not_asked"}
    assert seen[code].severity == severity


def test_a_test_that_ships(good: Callable[..., Shop]) -> None:
    """Both at once give goods away: an error, not a warning."""
    seen = found(good(TEST_ID="12345678", TEST_TYPE="1", TEST_FULFILLS=True))
    assert seen["settings.test_fulfills"].severity is Severity.ERROR


def test_a_developers_machine(make_shop: ShopMaker) -> None:
    """In testing and debug nobody is told off for a sandbox, and it is said that production was not looked at."""
    shop = make_shop(ENDPOINT="http://127.0.0.1:5001/", REQUIRE_HTTPS=False)
    codes = {code for code in found(shop) if code.startswith("settings.")}
    assert codes == {"settings.not_production", "settings.callback_token_missing"}


def test_confidential_addresses_are_not_quoted(good: Callable[..., Shop]) -> None:
    """A report that is pasted into a ticket names the place of an address in the list, and no address."""
    seen = found(good(CALLBACK_IPS=["9.9.9.9", "192.168.7.7", "9.9.0.0/16"]))
    said = " ".join(each.what + each.cure for each in seen.values())
    assert "Item 2 of" in said
    assert not [each for each in ("9.9.9.9", "192.168.7.7", "9.9.0.0") if each in said]


# Database


def test_tables_that_are_missing(good: Callable[..., Shop], database_uri: str) -> None:
    """A migration was forgotten; what would read them is left out, and nothing breaks."""
    shop = good(database_uri)
    Base.metadata.tables["zeus_cvs_memos"].drop(shop.db.engine)
    seen = found(shop)
    assert seen["database.tables_missing"].what == "Tables are missing: zeus_cvs_memos."
    assert not [code for code in seen if code.startswith(("work.", "notices."))]


def test_columns_that_are_missing(good: Callable[..., Shop], database_uri: str) -> None:
    """The package was updated, and its migration was not run."""
    shop = good(database_uri)
    with shop.db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE zeus_cvs_deliveries DROP COLUMN decided_by")
    assert found(shop)["database.columns_missing"].what == "zeus_cvs_deliveries lacks the columns decided_by."


def test_keys_that_are_missing(good: Callable[..., Shop], database_uri: str) -> None:
    """Tables copied without their keys: no notice would be counted once any more."""
    shop = good(database_uri)
    with shop.db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE copied AS SELECT * FROM zeus_cvs_deliveries")
        connection.exec_driver_sql("DROP TABLE zeus_cvs_deliveries")
        connection.exec_driver_sql("ALTER TABLE copied RENAME TO zeus_cvs_deliveries")
    seen = found(shop)
    assert (
        seen["database.keys_missing"].what
        == "zeus_cvs_deliveries lacks its unique key on event_id, subscriber."
    )
    assert seen["database.indexes_missing"].what == "zeus_cvs_deliveries lacks its index on state, due_at."


@pytest.mark.parametrize(
    ("code", "pragma"),
    [
        ("database.sqlite_journal", "journal_mode = DELETE"),
        ("database.sqlite_busy", "busy_timeout = 0"),
        ("database.sqlite_synchronous", "synchronous = NORMAL"),
    ],
)
def test_an_sqlite_that_is_not_fit(good: Callable[..., Shop], code: str, pragma: str) -> None:
    """Each pragma that the documentation recommends is missed."""
    shop = good(DELIVERY="deferred")  # no thread that holds a connection
    shop.db.session.remove()
    shop.db.engine.dispose()
    listen(shop.db.engine, "connect", lambda dbapi, _: dbapi.execute(f"PRAGMA {pragma}").close())
    assert set(found(shop)) == {code, "callback.not_asked"}


def test_a_postgresql_that_forgets(make_shop: ShopMaker, postgresql: Any, closing: Any) -> None:
    """A server, or a role, that does not wait for its disk; and one that cuts receivers off."""
    uri = postgresql.create()
    closing.callback(postgresql.drop, uri)
    options = "-csynchronous_commit=off -cstatement_timeout=3000 -cidle_in_transaction_session_timeout=90000"
    shop = make_shop(uri, engine={"connect_args": {"options": options}})
    with shop.db.engine.connect() as connection:
        seen = [each.what for each in soundness.keeping(connection)]
    assert "PostgreSQL's synchronous_commit is off." in seen
    assert "PostgreSQL's statement_timeout is 3 s, and we may need 15 s." in seen
    assert not [each for each in seen if "idle" in each]


def test_a_mariadb_without_transactions(make_shop: ShopMaker, mariadb: Any, closing: Any) -> None:
    """A table that MyISAM keeps."""
    uri = mariadb.create()
    closing.callback(mariadb.drop, uri)
    shop = make_shop(uri)
    with shop.db.engine.connect() as connection:
        assert [each.code for each in soundness.keeping(connection)] == ["database.durability"]
        connection.exec_driver_sql("ALTER TABLE zeus_cvs_memos ENGINE=MyISAM")
        (engine,) = [each for each in soundness.keeping(connection) if each.code == "database.engine"]
    assert engine.what == "The table zeus_cvs_memos is kept by MyISAM, not by InnoDB."


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_serializable_transactions(
    make_shop: ShopMaker, server: str, request: pytest.FixtureRequest, closing: Any
) -> None:
    """The host's own level is no fault, but worth knowing."""
    database = request.getfixturevalue(server)
    uri = database.create()
    closing.callback(database.drop, uri)
    shop = make_shop(uri, engine={"isolation_level": "SERIALIZABLE"})
    with shop.db.engine.connect() as connection:
        assert "database.isolation" in {each.code for each in soundness.keeping(connection)}


def test_a_database_that_is_away(good: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    """One finding says so, without the URI, in which a password may stand; the rest is looked at."""
    shop = good(DELIVERY="inline")

    def refuse(*args: Any, **more: Any) -> Any:
        raise OperationalError("SELECT 1", {}, ConnectionRefusedError("secret"))

    monkeypatch.setattr(shop.payments.database, "read", refuse)
    seen = found(shop)
    assert set(seen) == {"database.away", "settings.delivery_inline", "callback.not_asked"}
    assert seen["database.away"].what == "The database could not be asked (ConnectionRefusedError, sqlite)."


def test_a_database_that_hangs(good: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    """The check does not wait for ever."""
    shop = good()

    def hang(work: Any, within: float) -> Any:
        raise DatabaseAway(within)

    monkeypatch.setattr(shop.payments.database, "bounded", hang)
    assert "gave no answer" in found(shop)["database.away"].what


def test_an_engine_that_commits_by_itself(make_shop: ShopMaker) -> None:
    """What would be a ConfigurationError at the first request is found here."""
    shop = make_shop()
    shop.payments.database._engine = None
    shop.db.engine.update_execution_options(isolation_level="AUTOCOMMIT")
    assert "AUTOCOMMIT" in found(shop)["database.refused"].what


# Clock


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_a_clock_that_is_wrong(
    make_shop: ShopMaker, server: str, request: pytest.FixtureRequest, closing: Any
) -> None:
    """The database's clock is compared with ours, to seconds; minutes are an error."""
    database = request.getfixturevalue(server)
    uri = database.create()
    closing.callback(database.drop, uri)
    shop = make_shop(uri)
    with shop.db.engine.connect() as connection:
        assert list(soundness.clock(connection)) == []
        for ahead, severity in ((timedelta(seconds=20), "warning"), (timedelta(hours=9), "error")):
            with time_machine.travel(datetime.now(UTC) + ahead, tick=True):
                (seen,) = soundness.clock(connection)
            assert (seen.severity, "behind the clock here" in seen.what) == (severity, True)


def test_a_python_without_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no zones, and tzdata is not installed."""
    assert list(soundness.zone()) == []

    def find(key: str) -> Any:
        raise zoneinfo.ZoneInfoNotFoundError(key)

    monkeypatch.setattr(soundness, "ZoneInfo", find)
    assert [each.code for each in soundness.zone()] == ["clock.zone"]
    monkeypatch.setattr(soundness, "ZoneInfo", lambda key: UTC)
    assert "not nine hours" in next(iter(soundness.zone())).what


# Notices


def parameters_without(*names: str) -> dict[str, str]:
    pairs = {"order_no": "0001-1", "status": "04", "money": "3000", "clientip": GOOD["CLIENT_IP"], **ALL}
    return {name: value for name, value in pairs.items() if name not in names}


@pytest.mark.parametrize(
    ("missing", "code", "severity"),
    [
        (("money",), "notices.deciding_lacking", "warning"),
        (("sendid",), "notices.deciding_lacking", "warning"),
        (("status",), "notices.key_lacking", "error"),
        (("order_no", "sendid"), "notices.key_lacking", "error"),
        (("telno", "pay_limit"), "notices.others_lacking", "advice"),
    ],
)
def test_parameters_that_never_come(
    make_shop: ShopMaker, missing: tuple[str, ...], code: str, severity: str
) -> None:
    """What ZEUS was not asked to send is named, also where notices cannot be read for want of it."""
    shop = make_shop(CLIENT_IP=GOOD["CLIENT_IP"])
    assert found(shop)["notices.none"].severity is Severity.ADVICE
    raw = "&".join(f"{name}={value}" for name, value in parameters_without(*missing).items()).encode()
    with suppress(UnreadableNotice):
        shop.zeus.receive(raw)
    seen = {key: each for key, each in found(shop).items() if key.startswith("notices.")}
    assert set(seen) - {"notices.no_expiry"} == {code}
    assert (seen[code].severity, seen[code].what.split(": ")[1]) == (severity, ", ".join(missing) + ".")


def test_a_parameter_that_came_once(make_shop: ShopMaker) -> None:
    """Blank fields count as sent, and one notice with a parameter is enough; those from a file do not count."""
    shop = make_shop()
    shop.zeus.receive(notice("01"))
    shop.payments.receive(notice("04", **ALL), source="zeus.csv")
    assert "notices.others_lacking" in found(shop)
    shop.zeus.receive(notice("05", **ALL))
    assert not [code for code in found(shop) if code.endswith("_lacking")]


def test_notices_without_their_customer(make_shop: ShopMaker) -> None:
    """What a purge has taken out of old notices is not what ZEUS does not send."""
    shop = make_shop()
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("01", **ALL))
    shop.db.session.execute(sa.update(Notification).values(raw=notice("01")))
    payment.purged_at = datetime.now(UTC)
    shop.db.session.commit()
    assert set(found(shop)) & {"notices.others_lacking", "notices.none"} == {"notices.none"}


def test_notices_in_another_encoding(make_shop: ShopMaker) -> None:
    """A name that breaks its rule in many notices points at the encoding."""
    shop = make_shop()
    for status in ("01", "04"):
        shop.zeus.receive(notice(status, **{**ALL, "username": "%E3%83%A4%E3%83%9E"}))
    assert found(shop)["notices.faulty"].what == "In many notices this breaks its rule: username."


def test_expired_slips_of_which_nobody_tells(good: Callable[..., Shop]) -> None:
    """Without 03 the sweep must run; with either of them it is well."""
    shop = good()
    assert "notices.no_expiry" not in found(shop)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=7), tick=False):
        assert {"notices.no_expiry", "work.sweep"} <= set(found(shop))
        shop.zeus.receive(notice("03", "0000-1", **{**ALL, "clientip": GOOD["CLIENT_IP"]}))
        assert "notices.no_expiry" not in found(shop)


# Subscribers


@pytest.mark.parametrize(
    ("signal", "code", "severity"),
    [
        (fulfillment_ready, "subscribers.nobody_ships", "error"),
        (review_required, "subscribers.nobody_reviews", "advice"),
        (silence_suspected, "subscribers.nobody_hears_silence", "advice"),
    ],
)
def test_signals_that_nobody_hears(good: Callable[..., Shop], signal: Any, code: str, severity: str) -> None:
    """The three that a shop should not be without."""
    shop = good()
    assert code not in found(shop)
    signal.disconnect(hear, sender=shop.app)
    assert found(shop)[code].severity == severity


def test_a_receiver_that_was_renamed(make_shop: ShopMaker) -> None:
    """What waits for it is counted, and its new name is guessed by its function's, or by its looks."""
    shop = make_shop(DELIVERY="deferred")
    with fulfillment_ready.connected_to(hear, shop.app, name="shop.orders.ship_goods"):
        shop.awaiting()
        shop.zeus.receive(notice("04"))
    assert "1 delivery waits for shop.orders.ship_goods, which" in found(shop)["subscribers.stranded"].what
    for name in ("shop.shipping.ship_goods", "shop.orders.ship_all_goods"):
        with fulfillment_ready.connected_to(hear, shop.app, name=name):
            assert f"Is it called {name} now?" in found(shop)["subscribers.stranded"].what
    with fulfillment_ready.connected_to(hear, shop.app, name="shop.orders.ship_goods"):
        assert "subscribers.stranded" not in found(shop)


# The work at hand


def test_a_cron_that_does_not_run(make_shop: ShopMaker, tmp_path: Path) -> None:
    """Never, and not for too long; where nothing else delivers that is an error."""
    with time_machine.travel(NOON, tick=False) as clock:
        shop = make_shop(DELIVERY="deferred")
        seen = found(shop)
        assert "has never run" in seen["work.sweep"].what
        assert (seen["work.deliver"].severity, "never" in seen["work.deliver"].what) == (Severity.ERROR, True)
        shop.zeus.expire()
        shop.zeus.deliver_now()
        assert not {"work.sweep", "work.deliver"} & set(found(shop))
        clock.shift(timedelta(hours=7))
        seen = found(shop)
        assert seen["work.sweep"].what == "flask zeus-cvs expire last ran 7 hours ago."
        assert seen["work.deliver"].severity is Severity.ERROR
        clock.shift(timedelta(days=3))
        assert "3 days ago" in found(shop)["work.sweep"].what
    other = make_shop(f"sqlite:///{tmp_path / 'other.db'}", DELIVERY="background")
    assert found(other)["work.deliver"].severity is Severity.ADVICE


def test_deliveries_that_are_stuck(make_shop: ShopMaker) -> None:
    """Overdue ones, and parked ones."""
    with time_machine.travel(NOON, tick=False) as clock:
        shop = make_shop(DELIVERY="deferred", DELIVERY_ATTEMPTS=1)

        def fail(app: object, **extra: Any) -> None:
            raise RuntimeError

        with payment_received.connected_to(fail, shop.app):
            shop.awaiting()
            shop.zeus.receive(notice("04"))
            assert not {"work.overdue", "work.parked"} & set(found(shop))
            clock.shift(timedelta(minutes=16))
            assert found(shop)["work.overdue"].what == "A delivery has been due for 16 minutes."
            shop.zeus.deliver_now()
            seen = found(shop)
    assert seen["work.parked"].what == "1 delivery is parked."
    assert "work.overdue" not in seen


def test_questions_that_nobody_answers(make_shop: ShopMaker) -> None:
    """A review may be open for a day, an outcome unknown for a day; then they are named, with the oldest day."""
    with time_machine.travel(NOON, tick=False) as clock:
        shop = make_shop()
        shop.zeus.receive(notice("04", "9999-9"))
        shop.gateway.answers.append(Unanswered("cut"))
        payment = shop.payment()
        shop.submit(payment)
        assert shop.state(payment) is State.UNKNOWN
        assert not {"work.reviews", "work.unknown"} & set(found(shop))
        clock.shift(timedelta(days=1, seconds=1))
        seen = found(shop)
    assert seen["work.reviews"].what == "1 review is open, the oldest since 2026-12-01."
    assert seen["work.unknown"].what == "1 application has an unknown outcome, the oldest since 2026-12-01."


# The command


def check(shop: Shop, *options: str) -> Result:
    shop.db.session.remove()
    return shop.app.test_cli_runner().invoke(args=["zeus-cvs", "check", *options])


def test_exit_by_severity(good: Callable[..., Shop]) -> None:
    """0 for advice at most, 1 for warnings, 2 for errors; what is ignored does not count."""
    shop = good()
    assert check(shop).exit_code == 0
    fulfillment_ready.disconnect(hear, sender=shop.app)
    shop.app.config["SESSION_COOKIE_SECURE"] = False
    assert check(shop).exit_code == 2
    assert check(shop, "--ignore", "subscribers.nobody_ships").exit_code == 1
    both = ("--ignore", "subscribers.nobody_ships", "--ignore", "settings.cookie_insecure")
    assert check(shop, *both).exit_code == 0


def test_the_worst_comes_first(good: Callable[..., Shop]) -> None:
    """In 80 columns, with code, reason and cure; what is to be typed stands on a line of its own."""
    shop = good(DELIVERY="inline", CLI_GROUP="konbini")
    fulfillment_ready.disconnect(hear, sender=shop.app)
    shop.db.session.remove()
    said = shop.app.test_cli_runner().invoke(args=["konbini", "check"]).output
    heads = [said.index(each) for each in ("ERRORS (1)", "WARNINGS (1)", "ADVICE (1)", "FINE (")]
    assert heads == sorted(heads)
    assert "  No receiver of fulfillment_ready is connected. [subscribers.nobody_ships]\n" in said
    assert "    Cure: Connect a receiver where the app is made:\n" in said
    assert "        fulfillment_ready.connect(ship, sender=app)\n" in said
    assert "flask konbini check --url" in said
    assert max(map(len, said.splitlines())) <= 80


def test_quiet_is_for_cron(good: Callable[..., Shop]) -> None:
    """Nothing at all while there is advice at most; then errors and warnings only."""
    shop = good()
    assert check(shop, "--quiet").output == ""
    shop.app.config["SESSION_COOKIE_SECURE"] = False
    said = check(shop, "--quiet")
    assert said.output.startswith("WARNINGS (1)")
    assert "ADVICE" not in said.output
    assert "FINE" not in said.output


def test_json_is_for_machines(good: Callable[..., Shop]) -> None:
    """Every finding with its code, and the exit status."""
    shop = good(DELIVERY="inline")
    said = check(shop, "--json")
    told = json.loads(said.output)
    assert (said.exit_code, told["exit"]) == (1, 1)
    (warning,) = [each for each in told["findings"] if each["severity"] == "warning"]
    assert warning == {
        "code": "settings.delivery_inline",
        "severity": "warning",
        "what": "ZEUS_CVS_DELIVERY is inline.",
        "why": RULES["settings.delivery_inline"].why,
        "cure": RULES["settings.delivery_inline"].cure,
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ignore", "settings.tset_mode"], "There is no finding called settings.tset_mode"),
        (["--url", "shop.example"], "--url wants the root of the shop, like https://shop.example"),
        (["--url", "https://me:secret@shop.example"], "--url wants the root of the shop"),
    ],
)
def test_options_that_make_no_sense(make_shop: ShopMaker, options: list[str], said: str) -> None:
    """A mistake ends in the cure."""
    result = check(make_shop(), *options)
    assert result.exit_code == 2
    assert said in result.output
    assert "secret" not in result.output


@pytest.mark.parametrize(
    ("name", "root", "asked"),
    [
        ("shop.example", "/", "https://shop.example/zeus-cvs/callback"),
        ("shop.example:8443", "/tea", "https://shop.example:8443/tea/zeus-cvs/callback"),
        ("localhost:5000", "/", "http://localhost:5000/zeus-cvs/callback"),
    ],
)
def test_server_name_says_where_the_shop_is(
    make_shop: ShopMaker, monkeypatch: pytest.MonkeyPatch, name: str, root: str, asked: str
) -> None:
    """Where SERVER_NAME is set, nobody needs to say --url."""
    shop = make_shop()
    shop.app.config.update(SERVER_NAME=name, APPLICATION_ROOT=root)
    urls: list[str] = []

    def note(url: str, *rest: object) -> list[Finding]:
        urls.append(url)
        return []

    monkeypatch.setattr(outside, "examine", note)
    check(shop)
    assert urls == [asked]


def test_a_check_changes_nothing(good: Callable[..., Shop]) -> None:
    """It reads, and that is all: no row is written, and no delivery is made."""
    shop = good(DELIVERY="deferred")
    shop.zeus.receive(notice("04", "0000-1", clientip=GOOD["CLIENT_IP"]))

    def rows() -> list[Any]:
        with shop.db.engine.connect() as connection:
            return [connection.execute(table.select()).all() for table in Base.metadata.sorted_tables]

    before = rows()
    check(shop)
    assert rows() == before
    assert shop.all(Delivery)[0].state == "pending"


# The documentation


@pytest.mark.parametrize(
    ("page", "severities"),
    [
        ("11-check.md", {"error": "error", "warning": "warning", "advice": "advice"}),
        ("ja/11-check.md", {"error": "エラー", "warning": "警告", "advice": "助言"}),
    ],
)
def test_every_finding_is_documented(page: str, severities: dict[str, str]) -> None:
    """Each code that the code knows stands in docs/11-check.md, with how bad it is, and no other: in both languages."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text("utf-8")
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (\S+) \| ", text, flags=re.M)
    assert sorted(rows) == sorted((code, severities[rule.severity]) for code, rule in RULES.items())


def test_every_rule_can_be_found() -> None:
    """No rule is left over: each code is found somewhere in the examinations."""
    folder = Path(findings.__file__).parent
    code = "".join(path.read_text("utf-8") for path in folder.glob("*.py") if path.name != "findings.py")
    spelled = {"notices.key_lacking", "notices.deciding_lacking", "notices.others_lacking"}
    assert {each for each in RULES if f'"{each}"' not in code} == spelled


def test_no_code_is_used_twice() -> None:
    """What is said where all is well has codes of its own."""
    codes = [each.code for each in EXAMINATIONS if each.code]
    assert len(codes) == len(set(codes))
    assert not set(codes) & set(RULES)
