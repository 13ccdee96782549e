"""What docs/16-scaling.md has a shop run works, as it stands there."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

from flask_zeus_cvs.models import copy_tables

PAGE = (Path(__file__).parents[2] / "docs/16-scaling.md").read_text("utf-8")
(MIGRATION,) = re.findall(r"^```python\n(import sqlalchemy.*?)^```", PAGE, flags=re.S | re.M)


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
    for column in [each for table in metadata.sorted_tables for each in table.columns] if narrow else []:
        if isinstance(column.type, sa.BigInteger):
            column.type = sa.Integer()
    return metadata


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
    """Run as it stands on the page: rows and foreign keys stay, the shop's own among them, and nothing is left to do."""
    engine = sa.create_engine(database_uri)
    closing.callback(engine.dispose)
    before = shop_tables(narrow=True)
    before.create_all(engine)
    keys = {name: sa.inspect(engine).get_foreign_keys(name) for name in before.tables}
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
    assert {name: sa.inspect(engine).get_foreign_keys(name) for name in before.tables} == keys
