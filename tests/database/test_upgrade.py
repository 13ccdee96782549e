"""What docs/20-upgrading.md promises of tables that are there already, with rows in them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

from flask_zeus_cvs import State, fulfillment_ready
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.models import copy_tables
from tests.blocks import block
from tests.conftest import ShopMaker
from tests.database.test_receive import notice

COMMANDS = block("20-upgrading", "flask db migrate")
MIGRATION = block("20-upgrading", "import sqlalchemy")
#: Foreign keys of before.
GONE = (
    ("zeus_cvs_notifications", "payment_id", "zeus_cvs_payments"),
    ("zeus_cvs_events", "payment_id", "zeus_cvs_payments"),
    ("zeus_cvs_deliveries", "event_id", "zeus_cvs_events"),
)
SHOP = """
import os
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_zeus_cvs import ZeusCVS

app = Flask("shop")
app.config.update(SQLALCHEMY_DATABASE_URI=os.environ["SHOP_DATABASE"], ZEUS_CVS_CLIENT_IP="1234567890")
db = SQLAlchemy(app)
ZeusCVS(app, db)
Migrate(app, db)
"""
#: What our first tables did not have.
LATER: dict[str, set[str]] = {
    "zeus_cvs_payments": {"expiry_told_at", "purged_at", "revision", "was_reviewed", "has_lost"},
    "zeus_cvs_applications": {"reissued", "revision"},
    "zeus_cvs_deliveries": {"decided_by"},
}
#: A paid order whose parcel has not been told of yet, in what there was then.
ROWS: dict[str, dict[str, Any]] = {
    "zeus_cvs_payments": {
        "id": 1,
        "token": "an-old-token",
        "reference": "A-1001",
        "amount": 3000,
        "sendpoint": "",
        "return_url": "",
        "customer_name": "",
        "customer_phone": "",
        "customer_email": "",
        "created_at": now().replace(tzinfo=None),
        "fulfilled_at": now().replace(tzinfo=None),
        "attempts": 1,
    },
    "zeus_cvs_applications": {
        "id": 1,
        "payment_id": 1,
        "sendid": "OLD",
        "store": "D002",
        "stored_state": "received",
        "order_no": "0001-1",
        "pay_no1": "123456",
        "pay_no2": "4321",
        "pay_url": "",
        "error_code": "",
        "parameter": "",
        "test": False,
        "customer_name": "",
        "customer_phone": "",
        "customer_email": "",
        "created_at": now().replace(tzinfo=None),
        "answer_due_at": now().replace(tzinfo=None),
    },
    "zeus_cvs_events": {
        "id": 1,
        "kind": "fulfillment_ready",
        "occurred_at": now().replace(tzinfo=None),
        "test": False,
        "payment_id": 1,
        "application_id": 1,
    },
    "zeus_cvs_deliveries": {
        "id": 1,
        "event_id": 1,
        "subscriber": "parcels",
        "state": "pending",
        "attempts": 0,
        "due_at": now().replace(tzinfo=None),
        "last_error": "",
    },
}


def first_tables() -> sa.MetaData:
    """Our tables as they were at first."""
    metadata, first = sa.MetaData(), sa.MetaData()
    copy_tables(metadata)
    for table in metadata.sorted_tables:
        if table.name == "zeus_cvs_memos":
            continue
        kept = [each for each in table.columns if each.name not in LATER.get(table.name, ())]
        sa.Table(table.name, first, *(sa.Column(c.name, c.type, primary_key=c.primary_key) for c in kept))
    return first


def upgraded(uri: str, folder: Path) -> str:
    """Run the page's commands in a shop of its own process, and return what they say."""
    (folder / "shop.py").write_text(SHOP, "utf-8")
    said = ""
    for line in ("flask db init", *COMMANDS.splitlines()):
        command = [sys.executable, "-m", *shlex.split(line)]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "FLASK_APP": "shop", "SHOP_DATABASE": uri},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said += done.stdout
        assert done.returncode == 0 or "check" in line, done.stderr
    return said


def test_a_shop_that_is_there_can_be_migrated(
    database_uri: str, make_shop: ShopMaker, tmp_path: Path, closing: ExitStack
) -> None:
    """The page's commands as they stand there: rows stay, what is due is delivered, notices count.

    Whatever is added has a default in the database, or may be null: else no row could be there.
    """
    engine = sa.create_engine(database_uri)
    closing.callback(engine.dispose)
    first = first_tables()
    first.create_all(engine)
    with engine.begin() as connection:
        for name, row in ROWS.items():
            connection.execute(first.tables[name].insert().values(row))
            if engine.dialect.name == "postgresql":
                count = sa.func.setval(sa.func.pg_get_serial_sequence(name, "id"), 1)
                connection.execute(sa.select(count))
    said = upgraded(database_uri, tmp_path)
    assert "Tables, columns and keys are those of this version." in said

    shop, shipped = make_shop(database_uri), []
    fulfillment_ready.connect(
        lambda app, *, payment, **extra: shipped.append(payment.reference), shop.app, name="parcels"
    )
    assert shop.zeus.deliver_now().done == 1
    assert shipped == ["A-1001"]
    shop.zeus.receive(notice("05", "0001-1"))
    payment = shop.zeus.find("A-1001")
    assert payment is not None
    assert shop.state(payment) is State.CONFIRMED


# --- ids of 64 bits ------------------------------------------------------------------------------


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
