"""What docs/18-scaling.md has a shop run works, as it stands there."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

from flask_zeus_cvs import State, payment_received
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.models import (
    Application,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
    ReviewReason,
    copy_tables,
)
from tests.blocks import block
from tests.conftest import Shop, ShopMaker
from tests.database.test_parked import Printer
from tests.database.test_receive import notice
from tests.database.test_staff_commands import run
from tests.office import Office, routes
from tests.servers import Server

POOLER = block("18-scaling", "SQLALCHEMY_ENGINE_OPTIONS")
MIGRATION = block("18-scaling", "import sqlalchemy")
#: Foreign keys of before.
GONE = (
    ("zeus_cvs_notifications", "payment_id", "zeus_cvs_payments"),
    ("zeus_cvs_events", "payment_id", "zeus_cvs_payments"),
    ("zeus_cvs_deliveries", "event_id", "zeus_cvs_events"),
)
#: Parents last.
MODELS: tuple[Any, ...] = (Delivery, Event, Notification, Application, Payment)


def shop_tables(*, narrow: bool) -> sa.MetaData:
    """A shop's tables with ours among them; ``narrow``: as they were before ids had 64 bits."""
    metadata = sa.MetaData()
    copy_tables(metadata)
    sa.Table(
        "orders",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "payment_id",
            sa.Integer if narrow else sa.BigInteger,
            sa.ForeignKey("zeus_cvs_payments.id", name="paid_by", ondelete="SET NULL"),
        ),
    )
    if narrow:
        _narrow(metadata)
    return metadata


def _narrow(metadata: sa.MetaData) -> None:
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, sa.BigInteger):
                column.type = sa.Integer()
    for name, pointing, target in GONE:
        key = sa.ForeignKeyConstraint([pointing], [f"{target}.id"], name=f"fk_{name}_{pointing}")
        metadata.tables[name].append_constraint(key)


def differences(connection: sa.Connection) -> list[Any]:
    found: list[Any] = compare_metadata(MigrationContext.configure(connection), shop_tables(narrow=False))
    return found


def largest(connection: sa.Connection, table: str) -> int:
    """The largest number that a table counts to by itself."""
    name = sa.func.pg_get_serial_sequence(table, "id")
    ends = sa.text("SELECT seqmax FROM pg_sequence WHERE seqrelid = CAST(:name AS regclass)")
    return int(connection.execute(ends, {"name": connection.scalar(sa.select(name))}).scalar_one())


@pytest.mark.parametrize("database_uri", ["postgresql", "mariadb"], indirect=True)
def test_the_migration_widens_the_ids_of_a_shop_that_is_there(database_uri: str, closing: ExitStack) -> None:
    """Run as it stands on the page: rows stay, and foreign keys that we have still, the shop's own among them."""
    engine = sa.create_engine(database_uri)
    closing.callback(engine.dispose)
    before = shop_tables(narrow=True)
    before.create_all(engine)
    kept = set(before.tables) - {name for name, *_ in GONE}
    keys = {name: sa.inspect(engine).get_foreign_keys(name) for name in kept}
    with engine.begin() as connection:
        connection.execute(before.tables["orders"].insert().values(id=1))
        assert differences(connection)
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        scope: dict[str, Any] = {}
        exec(MIGRATION, scope)
        scope["upgrade"]()
    with engine.connect() as connection:
        assert differences(connection) == []
        assert connection.scalar(sa.select(sa.func.count()).select_from(before.tables["orders"])) == 1
        if engine.dialect.name == "postgresql":
            assert largest(connection, "zeus_cvs_events") == 2**63 - 1
    assert {name: sa.inspect(engine).get_foreign_keys(name) for name in kept} == keys


# --- PgBouncer, and a replica --------------------------------------------------------------------


@pytest.fixture
def postgresql_uri(postgresql: Server, closing: ExitStack) -> str:
    """An empty database on PostgreSQL, whose SQL the page has."""
    uri = postgresql.create()
    closing.callback(postgresql.drop, uri)
    return uri


def run_sql(shop: Shop, statements: str) -> list[Any]:
    """Run each statement of a block by itself, as psql does; returns the last one's rows, or how many it changed."""
    shop.db.session.remove()
    with shop.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for each in filter(str.strip, statements.split(";")):
            result = connection.exec_driver_sql(each)
        return list(result.all()) if result.returns_rows else [result.rowcount]


def paid(shop: Shop, number: int) -> Payment:
    """A payment whose money has come."""
    payment, _ = shop.awaiting(order_no=f"000{number}-1", reference=f"A-{number}")
    shop.zeus.receive(notice("04", f"000{number}-1"))
    return payment


def test_nothing_is_left_on_a_connection(make_shop: ShopMaker, postgresql_uri: str) -> None:
    """With the page's setting nothing is prepared, nor set beyond its transaction: the next may be another's."""
    scope: dict[str, Any] = {}
    exec(POOLER, scope)
    one = {**scope["SQLALCHEMY_ENGINE_OPTIONS"], "pool_size": 1, "max_overflow": 0}
    shop = make_shop(postgresql_uri, engine=one)
    for number in range(7):
        paid(shop, number)
    shop.zeus.expire()
    shop.db.session.rollback()
    left = sa.text("SELECT count(*), current_setting('lock_timeout') FROM pg_prepared_statements")
    assert tuple(shop.db.session.execute(left).one()) == (0, "0")


def test_staff_read_where_nothing_can_be_written(
    make_shop: ShopMaker, postgresql_uri: str, closing: ExitStack
) -> None:
    """With the page's role, as on a replica: every page and file opens, as do the commands that change nothing.

    A decision fails, and decides nothing.
    """
    shop = make_shop(postgresql_uri, DELIVERY_ATTEMPTS=1)
    payment_received.connect(Printer().hear, shop.app, name="printer")
    paid(shop, 1)
    shop.zeus.receive(notice("05", money=1))
    run_sql(shop, block("18-scaling", "CREATE ROLE office"))
    closing.callback(run_sql, shop, "DROP OWNED BY office; DROP ROLE office")
    uri = sa.make_url(postgresql_uri).set(username="office").render_as_string(hide_password=False)
    reader = make_shop(uri, testing=False, DELIVERY="deferred")
    office = Office(reader)
    for address, method in routes(reader.app):
        query = {"what": "retry", "id": "1"} if address.endswith("/decide") else None
        if method == "GET":
            assert office.client.get(address, query_string=query).status_code == 200, address
    for command in ("list", "show A-1", "export - A-1", "purge --older-than 400"):
        assert run(reader, *command.split()).exit_code == 0, command
    assert "wrong_amount" in run(reader, "resolve", "--json").output
    assert reader.zeus.health().parked == 1
    assert office.send("/parked/decide?what=retry&id=1", sure="y").status_code == 500


def test_what_was_purged_can_be_archived(make_shop: ShopMaker, postgresql_uri: str) -> None:
    """All rows of a payment that is over move, and no others; what still comes for it is a review, not lost."""
    shop = make_shop(postgresql_uri)
    payment_received.connect(Printer().hear, shop.app, name="printer")
    over, _ = paid(shop, 1), paid(shop, 2)
    shop.db.session.execute(sa.update(Delivery).values(state=DeliveryState.DONE))
    shop.db.session.execute(
        sa.update(Payment).where(Payment.id == over.id).values(purged_at=now() - timedelta(days=31))
    )
    shop.db.session.commit()
    before = {model: len(shop.all(model)) for model in MODELS}
    run_sql(shop, block("18-scaling", "CREATE SCHEMA cold"))
    run_sql(shop, block("18-scaling", "CREATE INDEX CONCURRENTLY"))
    assert [run_sql(shop, block("18-scaling", "WITH old")) for _ in range(2)] == [[1], [0]]
    with shop.db.engine.connect() as connection:
        for model in MODELS:
            cold = sa.table(model.__tablename__, schema="cold")
            moved = connection.scalar(sa.select(sa.func.count()).select_from(cold))
            assert moved == before[model] - len(shop.all(model)) == before[model] / 2
    assert shop.zeus.find("A-1") is None
    shop.zeus.receive(notice("05", "0001-1"))
    assert [each.reason for each in shop.all(Review)] == [ReviewReason.UNKNOWN_ORDER]
    shop.zeus.receive(notice("05", "0002-1"))
    assert shop.state(shop.all(Payment)[0]) is State.CONFIRMED


def test_the_peak_and_the_settings(make_shop: ShopMaker, postgresql_uri: str) -> None:
    """PostgreSQL takes both blocks; the first tells the busiest minutes, most notices first."""
    shop = make_shop(postgresql_uri)
    for number in range(3):
        paid(shop, number)
    ((_, busiest), *_) = run_sql(shop, block("18-scaling", "SELECT date_trunc"))
    assert busiest > 0
    run_sql(shop, block("18-scaling", "ALTER TABLE zeus_cvs_payments"))
    changed = "SELECT relname FROM pg_class WHERE relname LIKE 'zeus%%' AND reloptions IS NOT NULL"
    assert len(run_sql(shop, changed)) == 5
