"""The tables as a host's metadata has them: what their numbers are, on each kind of database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_zeus_cvs.models import Base, copy_tables

#: What counts up by itself with 64 bits, and what points at it.
WIDE = {
    "sqlite": (sa.make_url("sqlite://").get_dialect()(), "INTEGER", "INTEGER"),
    "postgresql": (sa.make_url("postgresql+psycopg://").get_dialect()(), "BIGSERIAL", "BIGINT"),
    "mariadb": (sa.make_url("mariadb+pymysql://").get_dialect()(), "BIGINT", "BIGINT"),
}
NUMBERED = sorted(table.name for table in Base.metadata.sorted_tables if "id" in table.columns)


@pytest.fixture
def metadata() -> sa.MetaData:
    """A host's, with an order that points at its payment and says nothing of the column's type."""
    metadata = sa.MetaData()
    copy_tables(metadata)
    sa.Table(
        "orders",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("payment_id", sa.ForeignKey("zeus_cvs_payments.id")),
    )
    return metadata


def lines(table: sa.Table, dialect: sa.Dialect) -> dict[str, str]:
    """What a table is made with, by column."""
    made = str(sa.schema.CreateTable(table).compile(dialect=dialect))
    found = [line.strip().rstrip(",").split(" ", 1) for line in made.splitlines() if line.startswith("\t")]
    return {name: kind for name, kind in found if name in table.columns}


@pytest.mark.parametrize("name", NUMBERED)
@pytest.mark.parametrize("database", WIDE)
def test_ids_have_64_bits(metadata: sa.MetaData, name: str, database: str) -> None:
    """Events of ten million payments a month are more than 2**31 after some years; SQLite's INTEGER has 64 bits."""
    dialect, counted, _ = WIDE[database]
    assert lines(metadata.tables[name], dialect)["id"].split()[0] == counted


@pytest.mark.parametrize("database", WIDE)
def test_what_points_at_a_row_is_as_wide(metadata: sa.MetaData, database: str) -> None:
    """Ours, and a host's foreign key: MariaDB refuses one whose type is not that of its target."""
    dialect, _, pointing = WIDE[database]
    keys = [
        (table, each.name) for table in metadata.sorted_tables for each in table.c if each.name[-3:] == "_id"
    ]
    assert {table.name for table, _ in keys} > {"orders", "zeus_cvs_deliveries"}
    assert {lines(table, dialect)[name].split()[0] for table, name in keys} == {pointing}


def test_amounts_and_counts_are_no_ids(metadata: sa.MetaData) -> None:
    """They stay as small as they were: a migration has nothing to change there."""
    small = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if type(column.type) is sa.Integer
    }
    assert {
        "zeus_cvs_payments.amount",
        "zeus_cvs_notifications.money",
        "zeus_cvs_deliveries.attempts",
    } < small
    assert not {each for each in small if each.endswith("_id")}


@pytest.mark.parametrize("driver", ["mariadb+pymysql://", "mysql+pymysql://"])
def test_mariadb_keeps_microseconds_and_locks_rows(metadata: sa.MetaData, driver: str) -> None:
    """Whatever the server's defaults are, and whichever name its dialect goes by."""
    dialect = sa.make_url(driver).get_dialect()()
    for table in metadata.sorted_tables:
        if table.name != "orders":
            made = str(sa.schema.CreateTable(table).compile(dialect=dialect))
            assert made.count("DATETIME(6)") == made.count("DATETIME") > 0
            assert "ENGINE=InnoDB" in made
            assert "COLLATE utf8mb4_bin" in made
