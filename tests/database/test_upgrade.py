"""What docs/20-upgrading.md promises of tables that are there already, with rows in them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flask_zeus_cvs import State, fulfillment_ready
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.models import copy_tables
from tests.blocks import block
from tests.conftest import ShopMaker
from tests.database.test_receive import notice

COMMANDS = block("20-upgrading", "flask db migrate")
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
