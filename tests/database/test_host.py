"""Hosts as they come: their metadata, their databases, their migrations, several apps, and mistakes at set-up."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, joinedload, mapped_column, relationship

from flask_zeus_cvs import ConfigurationError, State, ZeusCVS, payment_received
from flask_zeus_cvs.models import Base, Payment
from flask_zeus_cvs.payments import payments_of
from tests.conftest import CLIENT_IP, Shop, ShopMaker
from tests.servers import Server

PAID = b"order_no=%s&status=04&money=3000"


def make_app(uri: str, name: str = "host", **config: Any) -> Flask:
    app = Flask(name)
    app.config.update(TESTING=True, SECRET_KEY="not a secret", SQLALCHEMY_DATABASE_URI=uri)
    app.config.update({"ZEUS_CVS_CLIENT_IP": CLIENT_IP, **config})
    return app


def set_up(closing: ExitStack, app: Flask, db: SQLAlchemy, zeus: ZeusCVS | None = None) -> Shop:
    """The rest of what a shop does, in an app context that lasts as long as the test."""
    shop = Shop(app, db, zeus or ZeusCVS(app, db))
    closing.enter_context(app.app_context())
    db.create_all()
    closing.callback(db.engine.dispose)
    closing.callback(db.session.remove)
    return shop


@pytest.fixture
def sqlite_uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


# --- putting it together -------------------------------------------------------------------------


def test_set_up_twice_is_refused(sqlite_uri: str) -> None:
    """A second set-up of one app would register everything twice; it is refused with the cure."""
    app = make_app(sqlite_uri)
    db = SQLAlchemy(app)
    zeus = ZeusCVS(app, db)
    with pytest.raises(ConfigurationError, match="Call init_app once per app"):
        zeus.init_app(app, db)
    with pytest.raises(ConfigurationError, match="Call init_app once per app"):
        ZeusCVS(app, db)
    assert app.extensions["zeus_cvs"].settings.client_ip == CLIENT_IP


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda app, db: ZeusCVS(app, db), id="at once"),
        pytest.param(lambda app, db: ZeusCVS().init_app(app, db), id="later"),
        pytest.param(lambda app, db: ZeusCVS(db=db).init_app(app), id="db at once, app later"),
        pytest.param(lambda app, db: ZeusCVS(app), id="app's own db"),
        pytest.param(lambda app, db: ZeusCVS().init_app(app), id="app's own db, later"),
    ],
)
def test_ways_to_put_it_together(sqlite_uri: str, closing: ExitStack, make: Any) -> None:
    """However app, db and extension meet, a payment can be made."""
    app = make_app(sqlite_uri)
    db = SQLAlchemy(app)
    make(app, db)
    shop = set_up(closing, app, db, ZeusCVS())
    assert shop.payment().state is State.OPEN


def test_the_database_may_be_set_up_last(sqlite_uri: str, closing: ExitStack) -> None:
    """db.init_app may come after ours, as long as db is given."""
    app, db = make_app(sqlite_uri), SQLAlchemy()
    zeus = ZeusCVS(app, db)
    db.init_app(app)
    assert set_up(closing, app, db, zeus).payment().id == 1


@pytest.mark.parametrize("db", [None, "sqlite:///shop.db", SQLAlchemy])
def test_no_database_is_refused(sqlite_uri: str, db: Any) -> None:
    """Without a database there is a cure in the message, and the app is left as it was."""
    app = make_app(sqlite_uri)
    with pytest.raises(ConfigurationError, match=r"Call ZeusCVS\(app, db\)"):
        ZeusCVS(app, db)
    assert "zeus_cvs" not in app.extensions
    assert "zeus_cvs" not in app.blueprints


def test_a_wrong_setting_leaves_the_app_as_it_was(sqlite_uri: str) -> None:
    """After a refusal the host can put the setting right and try again."""
    app = make_app(sqlite_uri, ZEUS_CVS_MAX_ATTEMPTS="many")
    db = SQLAlchemy(app)
    with pytest.raises(ConfigurationError, match="ZEUS_CVS_MAX_ATTEMPTS"):
        ZeusCVS(app, db)
    assert not db.metadata.tables
    app.config["ZEUS_CVS_MAX_ATTEMPTS"] = 3
    ZeusCVS(app, db)


def test_without_an_app_context_the_message_tells_the_cure() -> None:
    """Flask's own message names the cure."""
    with pytest.raises(RuntimeError, match="app_context"):
        ZeusCVS().find("A-1001")


def test_on_an_app_without_the_extension_the_message_tells_the_cure(sqlite_uri: str) -> None:
    """A verb on an app that was never set up says how to set it up."""
    with (
        make_app(sqlite_uri).app_context(),
        pytest.raises(ConfigurationError, match=r"not set up on this app\. Call ZeusCVS\(app, db\)"),
    ):
        ZeusCVS().find("A-1001")


# --- several apps --------------------------------------------------------------------------------


def test_one_extension_and_one_db_serve_two_apps(tmp_path: Path, closing: ExitStack) -> None:
    """Each app has its own settings, rows and subscribers; the current app decides."""
    db, zeus = SQLAlchemy(), ZeusCVS()
    heard: list[tuple[str, str]] = []
    apps = []
    for number, name in enumerate(("tea", "rice"), 1):
        app = make_app(f"sqlite:///{tmp_path / name}.db", name, ZEUS_CVS_MAX_ATTEMPTS=number)
        db.init_app(app)
        zeus.init_app(app, db)
        payment_received.connect(
            lambda sender, *, payment, name=name, **extra: heard.append((name, payment.reference)),
            sender=app,
            name=f"{name} hears",
        )
        apps.append(app)
    for app in apps:
        with app.app_context():
            closing.callback(db.engine.dispose)
            db.create_all()
            shop = Shop(app, db, zeus)
            shop.awaiting(reference=f"{app.name}-1", order_no=f"{app.name}-9")
    for app in apps:
        with app.app_context():
            zeus.receive(PAID % f"{app.name}-9".encode())
            assert [each.reference for each in db.session.scalars(sa.select(Payment))] == [f"{app.name}-1"]
            assert zeus.find("tea-1") is None or app.name == "tea"
    assert heard == [("tea", "tea-1"), ("rice", "rice-1")]
    assert [payments_of(app).settings.max_attempts for app in apps] == [1, 2]


# --- tables --------------------------------------------------------------------------------------

Shape = dict[str, dict[str, Any]]


def wanted_shape() -> Shape:
    """What our models ask for: columns, keys, unique constraints, foreign keys and indexes, by table."""
    shape: Shape = {}
    for table in Base.metadata.sorted_tables:
        unique = [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
        foreign_keys = [each for each in table.constraints if isinstance(each, sa.ForeignKeyConstraint)]
        shape[table.name] = {
            "columns": {each.name: bool(each.nullable) for each in table.columns},
            "primary key": [each.name for each in table.primary_key],
            "unique": sorted((str(each.name), [column.name for column in each.columns]) for each in unique),
            "foreign keys": sorted(
                (str(each.name), each.column_keys, each.referred_table.name) for each in foreign_keys
            ),
            "indexes": sorted(
                (str(each.name), [column.name for column in each.columns], bool(each.unique))
                for each in table.indexes
            ),
        }
    return shape


def actual_shape(engine: sa.Engine) -> Shape:
    """What the database has under our names."""
    shape: Shape = {}
    inspector = sa.inspect(engine)
    for name in sorted(inspector.get_table_names()):
        if not name.startswith("zeus_cvs_"):
            continue
        named = {
            each["name"]
            for each in [*inspector.get_unique_constraints(name), *inspector.get_foreign_keys(name)]
        }
        indexes = [
            each for each in inspector.get_indexes(name) if each["name"] not in named
        ]  # those ask for one
        shape[name] = {
            "columns": {each["name"]: each["nullable"] for each in inspector.get_columns(name)},
            "primary key": inspector.get_pk_constraint(name)["constrained_columns"],
            "unique": sorted(
                (str(each["name"]), each["column_names"]) for each in inspector.get_unique_constraints(name)
            ),
            "foreign keys": sorted(
                (str(each["name"]), each["constrained_columns"], each["referred_table"])
                for each in inspector.get_foreign_keys(name)
            ),
            "indexes": sorted(
                (str(each["name"]), list(each["column_names"]), bool(each["unique"])) for each in indexes
            ),
        }
    return shape


CONVENTION = {
    "ix": "host_ix_%(column_0_label)s",
    "uq": "host_uq_%(table_name)s_%(column_0_name)s",
    "ck": "host_ck_%(table_name)s_%(constraint_name)s",
    "fk": "host_fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "host_pk_%(table_name)s",
}


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(None, id="plain"),
        pytest.param(sa.MetaData(naming_convention=CONVENTION), id="convention"),
    ],
)
def test_create_all_makes_our_tables(
    database_uri: str, closing: ExitStack, metadata: sa.MetaData | None
) -> None:
    """``db.create_all()`` makes every table with its constraints and indexes, under our names and not the host's."""
    app = make_app(database_uri)
    db = SQLAlchemy(app, metadata=metadata)
    shop = set_up(closing, app, db)
    assert actual_shape(db.engine) == wanted_shape()
    payment, _ = shop.awaiting(order_no="9")
    shop.zeus.receive(PAID % b"9")
    assert shop.state(payment) is State.RECEIVED


def test_the_hosts_own_tables_keep_its_convention(database_uri: str, closing: ExitStack) -> None:
    """Our tables beside it change nothing in how the host's constraints are named."""
    app = make_app(database_uri)
    db = SQLAlchemy(app, metadata=sa.MetaData(naming_convention=CONVENTION))
    order = sa.Table(
        "orders",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("payment_id", sa.ForeignKey("zeus_cvs_payments.id"), unique=True),
    )
    set_up(closing, app, db)
    inspector = sa.inspect(db.engine)
    (key,) = inspector.get_foreign_keys(order.name)
    assert key["name"] == "host_fk_orders_payment_id_zeus_cvs_payments"
    assert [each["name"] for each in inspector.get_unique_constraints("orders")] == [
        "host_uq_orders_payment_id"
    ]


def test_tables_are_copied_once(sqlite_uri: str, tmp_path: Path, tables: list[str]) -> None:
    """A second app on the same db finds them there, and our classes stay on their own base."""
    db = SQLAlchemy()
    first = make_app(sqlite_uri)
    ZeusCVS(first, db)
    copies = dict(db.metadata.tables)
    ZeusCVS(make_app(f"sqlite:///{tmp_path / 'other.db'}"), db)
    assert sorted(db.metadata.tables) == tables
    assert all(db.metadata.tables[name] is copies[name] for name in tables)
    assert all(Base.metadata.tables[name] is not copies[name] for name in tables)


def test_a_metadata_with_a_schema_is_refused(sqlite_uri: str) -> None:
    """Our classes name their tables without a schema; the message says where the schema belongs."""
    app = make_app(sqlite_uri)
    db = SQLAlchemy(app, metadata=sa.MetaData(schema="tea"))
    with pytest.raises(ConfigurationError, match=r"'tea'.*SQLALCHEMY_ENGINE_OPTIONS = .*search_path=tea"):
        ZeusCVS(app, db)
    assert "zeus_cvs" not in app.extensions


@pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True)
def test_the_cure_for_a_schema_works(database_uri: str, closing: ExitStack) -> None:
    """With the schema on the connection, as the message says, host and extension both live in it."""
    engine = sa.create_engine(database_uri)
    with engine.begin() as connection:
        connection.execute(sa.text("create schema tea"))
    engine.dispose()
    options = {"connect_args": {"options": "-csearch_path=tea"}}
    app = make_app(database_uri, SQLALCHEMY_ENGINE_OPTIONS=options)
    db = SQLAlchemy(app)
    orders = sa.Table("orders", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    shop = set_up(closing, app, db)
    shop.awaiting(order_no="9")
    shop.zeus.receive(PAID % b"9")
    inspector = sa.inspect(db.engine)
    assert {*inspector.get_table_names("tea")} == {orders.name, *wanted_shape()}
    assert inspector.get_table_names("public") == []


def test_texts_are_compared_exactly(shop: Shop) -> None:
    """What differs in case or accents only is another order, another customer's page, another subscriber."""
    first = shop.payment(reference="cafe-1", once=True)
    for other in ("Cafe-1", "café-1", "ｃafe-1"):
        assert shop.zeus.find(other) is None
        assert shop.payment(reference=other, once=True).id != first.id
    browser = shop.app.test_client()
    pages = [f"/zeus-cvs/checkout/{token}" for token in (first.token, first.token.swapcase())]
    answers = [browser.get(page, base_url="https://localhost").status_code for page in pages]
    assert answers == [200, 404]


def test_subscribers_that_differ_in_case_are_two(shop: Shop) -> None:
    """Each of them has a delivery of its own."""
    heard: list[str] = []
    for name in ("Ship", "ship"):
        payment_received.connect(lambda app, *, name=name, **extra: heard.append(name), shop.app, name=name)
    shop.awaiting(order_no="9")
    shop.zeus.receive(PAID % b"9")
    assert heard == ["Ship", "ship"]
    assert shop.zeus.deliver_now().done == 0


def test_order_numbers_that_differ_in_case_are_two(shop: Shop) -> None:
    """ZEUS's serial is letters and digits: each slip hears of its own money only."""
    upper, _ = shop.awaiting(order_no="9A-1", reference="A-1")
    lower, _ = shop.awaiting(order_no="9a-1", reference="A-2")
    shop.zeus.receive(PAID % b"9a-1")
    assert (shop.state(upper), shop.state(lower)) == (State.AWAITING_PAYMENT, State.RECEIVED)


@pytest.mark.parametrize("driver", ["mariadb+pymysql", "mysql+pymysql"])
def test_mariadb_keeps_our_tables_in_its_own_way(
    mariadb: Server, closing: ExitStack, tables: list[str], driver: str
) -> None:
    """Under either name of the dialect and whatever the host's defaults are: row locks, all of Unicode, exactly."""
    uri = mariadb.create()
    closing.callback(mariadb.drop, uri)
    engine = sa.create_engine(uri)
    closing.callback(engine.dispose)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER DATABASE CHARACTER SET latin1"))
    options = {"connect_args": {"init_command": "SET default_storage_engine = MyISAM"}}
    app = make_app(uri.replace("mariadb+pymysql", driver), SQLALCHEMY_ENGINE_OPTIONS=options)
    shop = set_up(closing, app, SQLAlchemy(app))
    payment, _ = shop.awaiting(order_no="9", reference="注文-1🛒")
    shop.zeus.receive(PAID % b"9")
    assert shop.state(payment) is State.RECEIVED
    made = sa.text(
        "SELECT table_name, engine, table_collation FROM information_schema.tables"
        " WHERE table_schema = DATABASE()"
    )
    rows = sorted(tuple(row) for row in shop.db.session.execute(made))
    assert rows == [(name, "InnoDB", "utf8mb4_bin") for name in tables]


def test_a_host_with_binds(tmp_path: Path, closing: ExitStack) -> None:
    """Our tables live on the default bind, and the shop's other binds stay as they are."""
    app = make_app(f"sqlite:///{tmp_path / 'main.db'}")
    app.config["SQLALCHEMY_BINDS"] = {"stock": f"sqlite:///{tmp_path / 'stock.db'}"}
    db = SQLAlchemy(app)
    stock = sa.Table("stock", db.metadatas["stock"], sa.Column("id", sa.Integer, primary_key=True))
    shop = set_up(closing, app, db)
    closing.callback(db.engines["stock"].dispose)
    assert actual_shape(db.engine) == wanted_shape()
    assert sa.inspect(db.engines["stock"]).get_table_names() == [stock.name]
    db.session.execute(stock.insert())
    assert shop.payment().id == 1


def test_our_classes_are_used_through_the_hosts_session(shop: Shop) -> None:
    """A shop reads payments and their applications with its own db.session, as any model."""
    shop.payment(reference="A-1")
    shop.awaiting(amount=500, reference="A-2")
    shop.db.session.expire_all()
    rows = shop.db.session.execute(sa.select(Payment).order_by(Payment.reference)).scalars().all()
    assert [(each.reference, each.amount, each.state) for each in rows] == [
        ("A-1", 3000, State.OPEN),
        ("A-2", 500, State.AWAITING_PAYMENT),
    ]
    assert shop.db.session.scalar(sa.select(sa.func.sum(Payment.amount))) == 3500
    assert shop.db.session.get(Payment, rows[0].id) is rows[0]
    assert shop.zeus.find("A-2") is rows[1]


def test_a_hosts_table_refers_to_payments(database_uri: str, closing: ExitStack) -> None:
    """A foreign key names the table as a string, and a relationship joins to the class."""

    class Model(DeclarativeBase):
        pass

    class Order(Model):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        payment_id: Mapped[int | None] = mapped_column(sa.ForeignKey("zeus_cvs_payments.id"))
        payment: Mapped[Payment | None] = relationship(
            Payment, primaryjoin=lambda: foreign(Order.payment_id) == Payment.id
        )

    app = make_app(database_uri)
    db = SQLAlchemy(app, model_class=Model)
    shop = set_up(closing, app, db)
    payment = shop.zeus.create_payment(amount=3000, reference="A-1")
    db.session.add_all([Order(payment=payment), Order(payment_id=payment.id), Order()])
    db.session.commit()
    db.session.expunge_all()
    whole = sa.select(Order).options(joinedload(Order.payment)).order_by(Order.id)
    orders = db.session.scalars(whole).all()
    assert [each.payment and each.payment.reference for each in orders] == ["A-1", "A-1", None]
    joined = sa.select(sa.func.count(Order.id)).join(Order.payment).where(Payment.amount == 3000)
    assert db.session.scalar(joined) == 2
    (key,) = sa.inspect(db.engine).get_foreign_keys("orders")
    assert key["referred_table"] == "zeus_cvs_payments"
    db.session.rollback()
    if db.engine.dialect.name != "sqlite":
        db.session.add(Order(payment_id=999))
        with pytest.raises(IntegrityError):
            db.session.commit()
        db.session.rollback()


POOL = {"poolclass": sa.pool.StaticPool}


@pytest.mark.parametrize(
    "config",
    [
        {"SQLALCHEMY_DATABASE_URI": "sqlite://"},
        {"SQLALCHEMY_DATABASE_URI": "sqlite:///:memory:"},
        {
            "SQLALCHEMY_DATABASE_URI": "sqlite:////shop?mode=memory&uri=true",
            "SQLALCHEMY_ENGINE_OPTIONS": POOL,
        },
    ],
)
def test_in_memory_sqlite_is_refused_in_earnest(config: dict[str, Any], closing: ExitStack) -> None:
    """A shop whose payments would be gone after a restart is told so at the first one."""
    app = make_app("", TESTING=False, ZEUS_CVS_DELIVERY="deferred", **config)
    db = SQLAlchemy(app)
    shop = set_up(closing, app, db)
    with pytest.raises(ConfigurationError, match=r"in-memory SQLite.*Use a file, or set TESTING"):
        shop.zeus.create_payment(amount=3000, reference="A-1001")
    with pytest.raises(ConfigurationError, match="in-memory SQLite"):
        shop.zeus.find("A-1001")
    assert app.test_client().get("/zeus-cvs/result/unknown", base_url="https://localhost").status_code == 500


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:"])
def test_in_memory_sqlite_will_do_while_testing(uri: str, closing: ExitStack) -> None:
    """A shop's own tests may use it."""
    app = make_app(uri)
    shop = set_up(closing, app, SQLAlchemy(app))
    payment, _ = shop.awaiting()
    assert shop.state(payment) is State.AWAITING_PAYMENT


# --- migrations ----------------------------------------------------------------------------------

MIGRATING = """
import sys
from flask import Flask
from flask_migrate import Migrate, downgrade, init, migrate, upgrade
from flask_sqlalchemy import SQLAlchemy
from flask_zeus_cvs import ZeusCVS

uri, folder, *steps = sys.argv[1:]
app = Flask("shop")
app.config.update(SQLALCHEMY_DATABASE_URI=uri, ZEUS_CVS_CLIENT_IP="1234567890")
if uri.startswith("mariadb") and steps == ["downgrade"]:
    unchecked = {"init_command": "SET foreign_key_checks = 0"}
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": unchecked}
db = SQLAlchemy(app)

class Order(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    payment_id = db.Column(db.ForeignKey("zeus_cvs_payments.id"), index=True)

ZeusCVS(app, db)
Migrate(app, db)
with app.app_context():
    for step in steps:
        {"init": init, "migrate": migrate, "upgrade": upgrade, "downgrade": lambda directory: downgrade(directory, "base")}[step](
            directory=folder
        )
"""  # noqa: E501


def test_flask_migrate_finds_our_tables_and_then_nothing_more(
    database_uri: str, tmp_path: Path, closing: ExitStack
) -> None:
    """``flask db migrate`` writes our tables, importing nothing of ours; applied, it leaves nothing to migrate.

    What Alembic writes for a downgrade drops each index before its table, the host's own like ours. MariaDB lets no
    index go that a foreign key needs, so there the check is off while it runs.
    """
    script = tmp_path / "migrating.py"
    script.write_text(MIGRATING, "utf-8")
    folder = tmp_path / "migrations"

    def run(*steps: str) -> str:
        command = [sys.executable, str(script), database_uri, str(folder), *steps]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    run("init", "migrate", "upgrade")
    (written,) = (folder / "versions").glob("*.py")
    imports = [
        each for each in written.read_text("utf-8").splitlines() if each.startswith(("import", "from"))
    ]
    assert {each.split()[1].split(".")[0] for each in imports} == {"alembic", "sqlalchemy"}
    assert "flask_zeus_cvs" not in written.read_text("utf-8")
    engine = sa.create_engine(database_uri)
    closing.callback(engine.dispose)
    assert actual_shape(engine) == wanted_shape()
    assert "No changes in schema detected" in run("migrate")
    assert list((folder / "versions").glob("*.py")) == [written]
    run("downgrade")
    assert sa.inspect(engine).get_table_names() == ["alembic_version"]


# --- URLs ----------------------------------------------------------------------------------------


def test_urls_in_a_request_are_paths(sqlite_shop: Shop) -> None:
    """In a request they are paths under wherever the app is mounted."""
    payment = sqlite_shop.payment()
    with sqlite_shop.app.test_request_context(base_url="https://shop.example.jp/"):
        assert payment.checkout_url == f"/zeus-cvs/checkout/{payment.token}"
        assert payment.result_url == f"/zeus-cvs/result/{payment.token}"
    with sqlite_shop.app.test_request_context(base_url="https://shop.example.jp/tea/"):
        assert payment.checkout_url == f"/tea/zeus-cvs/checkout/{payment.token}"


@pytest.mark.parametrize(
    ("config", "starts"),
    [
        ({}, "/zeus-cvs/"),
        ({"APPLICATION_ROOT": "/tea"}, "/tea/zeus-cvs/"),
        ({"SERVER_NAME": "shop.example.jp"}, "http://shop.example.jp/zeus-cvs/"),
        (
            {"SERVER_NAME": "shop.example.jp:8443", "PREFERRED_URL_SCHEME": "https"},
            "https://shop.example.jp:8443/zeus-cvs/",
        ),
        (
            {"SERVER_NAME": "shop.example.jp", "PREFERRED_URL_SCHEME": "https", "APPLICATION_ROOT": "/tea"},
            "https://shop.example.jp/tea/zeus-cvs/",
        ),
    ],
)
def test_urls_outside_a_request(sqlite_shop: Shop, config: dict[str, str], starts: str) -> None:
    """In a subscriber or a command they are whole URLs if SERVER_NAME is set, else paths."""
    payment = sqlite_shop.payment()
    sqlite_shop.app.config.update(config)
    with sqlite_shop.app.app_context():
        assert payment.checkout_url == f"{starts}checkout/{payment.token}"
        assert payment.result_url == f"{starts}result/{payment.token}"


def test_urls_under_a_prefix_of_the_shops_own(make_shop: ShopMaker) -> None:
    """ZEUS_CVS_URL_PREFIX moves every route."""
    shop = make_shop(URL_PREFIX="/pay/konbini")
    payment = shop.payment()
    assert payment.checkout_url == f"/pay/konbini/checkout/{payment.token}"
    assert {each.rule for each in shop.app.url_map.iter_rules() if each.endpoint.startswith("zeus_cvs.")} == {
        "/pay/konbini/checkout/<token>",
        "/pay/konbini/result/<token>",
        "/pay/konbini/result/<token>/state",
        "/pay/konbini/result/<token>/deadline.ics",
        "/pay/konbini/result/<token>/qr.svg",
        "/pay/konbini/callback",
        "/pay/konbini/static/<path:filename>",
    }
    assert shop.app.test_client().get(payment.checkout_url, base_url="https://localhost").status_code == 200


def test_tokens_need_no_quoting(sqlite_shop: Shop) -> None:
    """A token stands in a URL as it is, and cannot be guessed."""
    tokens = {sqlite_shop.payment(reference=f"A-{number}").token for number in range(20)}
    assert len(tokens) == 20
    assert all(quote(each, safe="") == each and len(each) >= 32 for each in tokens)


def test_the_command_group_bears_the_name_that_was_set(make_shop: ShopMaker) -> None:
    """ZEUS_CVS_CLI_GROUP renames the commands."""
    runner = make_shop(CLI_GROUP="konbini").app.test_cli_runner()
    assert "expire" in runner.invoke(args=["konbini", "--help"]).output
    assert runner.invoke(args=["zeus-cvs", "--help"]).exit_code != 0


def test_law_11_database_errors_of_ours_show_no_details(shop: Shop) -> None:
    """When a table is missing or the disk is full, the error that is logged quotes no customer."""
    payment = shop.payment()
    shop.db.session.execute(sa.text("alter table zeus_cvs_applications rename to gone"))
    shop.db.session.commit()
    with pytest.raises(DBAPIError) as caught:
        shop.submit(payment)
    assert "09012345678" not in str(caught.value)
