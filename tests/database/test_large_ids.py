"""A shop whose ids have grown beyond 32 bits: everything that takes or shows a number goes on as before."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_zeus_cvs import State, payment_received
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import (
    Application,
    Base,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
    ReviewReason,
    Verdict,
)
from flask_zeus_cvs.protocol.codes import Store
from tests.conftest import CUSTOMER, Shop, ShopMaker
from tests.database.test_parked import Printer
from tests.database.test_receive import notice
from tests.database.test_staff_commands import run
from tests.office import Office

#: The last id of each table so far.
LAST = 2**31 + 7
#: An old row of each table, with nothing in it but what must be.
ROWS: dict[type[Base], dict[str, Any]] = {
    Payment: {"reference": "A-1", "amount": 3000, "customer": CUSTOMER},
    Application: {
        "payment_id": LAST,
        "sendid": "old",
        "store": Store.LAWSON,
        "customer": CUSTOMER,
        "answer_due_at": now(),
    },
    Notification: {"identity": "old", "raw": b"", "verdict": Verdict.NO_EFFECT},
    Event: {"kind": EventKind.SALE_CONFIRMED, "payment_id": LAST},
    Delivery: {"event_id": LAST, "subscriber": "old", "state": DeliveryState.DONE},
    Review: {"reason": ReviewReason.UNKNOWN_ORDER, "resolved_at": now()},
}


def fill(shop: Shop) -> None:
    """Have each table count on from `LAST`."""
    with Session(shop.db.engine) as session:
        for model, values in ROWS.items():
            session.add(model(id=LAST, **values))
            session.flush()
            if shop.db.engine.dialect.name == "postgresql":  # the others count on from their largest
                name = sa.func.pg_get_serial_sequence(model.__tablename__, "id")
                session.execute(sa.select(sa.func.setval(name, LAST)))
        session.commit()


@pytest.fixture
def printer() -> Printer:
    return Printer()


@pytest.fixture
def large(make_shop: ShopMaker, database_uri: str, printer: Printer) -> Shop:
    """A shop with long tables, whose printer gave up at the first try of its newest payment."""
    shop = make_shop(database_uri, DELIVERY_ATTEMPTS=1)
    fill(shop)
    payment_received.connect(printer.hear, shop.app, name="printer")
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    return shop


def ids(shop: Shop, model: type[Any]) -> list[int]:
    """Those of the rows that came after the old ones."""
    return [each.id for each in shop.all(model) if each.id != LAST]


def test_every_row_has_such_an_id(large: Shop) -> None:
    """A payment is applied for, paid and told of as ever; whatever points at a row has its whole number."""
    large.zeus.receive(notice("05", money=1))
    for model in ROWS:
        assert min(ids(large, model)) > LAST
    (payment,) = [each for each in large.all(Payment) if each.id != LAST]
    assert large.state(payment) is State.RECEIVED
    assert {each.event_id for each in large.all(Delivery)} <= {each.id for each in large.all(Event)}
    (review,) = [each for each in large.all(Review) if each.id != LAST]
    assert (review.payment_id, review.notification_id) == (payment.id, max(ids(large, Notification)))


def test_an_event_is_delivered_by_its_number(large: Shop, printer: Printer) -> None:
    """Parked and tried again by the delivery's number, then delivered by the event's, as a queue's job is told."""
    (parked,) = ids(large, Delivery)
    (event,) = [each.event_id for each in large.all(Delivery) if each.id == parked]
    printer.paper = True
    assert large.zeus.retry(str(parked), by="Suzuki") == 1
    assert large.zeus.deliver_event(event).done == 1
    assert printer.printed == [event]


def test_the_commands_know_it_by_its_number(large: Shop, printer: Printer) -> None:
    """`show` finds a payment, `list` goes on below it, `resolve` decides, `deliver` names and retries."""
    (payment,), (parked,) = ids(large, Payment), ids(large, Delivery)
    assert "A-1001" in run(large, "show", str(payment)).output
    found = json.loads(run(large, "list", "--before", str(payment), "--json").output)
    assert [each["id"] for each in found["payments"]] == [LAST]
    large.zeus.receive(notice("05", money=1))
    (review,) = ids(large, Review)
    answer = run(large, "resolve", str(review), "--as", "ignored", "--by", "Suzuki")
    assert f"Review {review} is resolved as ignored" in answer.output
    assert run(large, "deliver").output.splitlines()[2].split()[0] == str(parked)
    printer.paper = True
    assert "delivered 1, " in run(large, "deliver", "--retry", str(parked)).output


def test_the_back_office_shows_it_by_its_number(large: Shop, printer: Printer) -> None:
    """Each row has its page, and a decision about one is carried out."""
    office = Office(large)
    (payment,), (parked,) = ids(large, Payment), ids(large, Delivery)
    assert "A-1001" in office.open(f"/payments/{payment}")
    assert "A-1001" in office.open(f"/events/{max(ids(large, Event))}")
    assert "0001-1" in office.open(f"/notices/{max(ids(large, Notification))}")
    printer.paper = True
    office.send(f"/parked/decide?what=retry&id={parked}", sure="y")
    large.zeus.deliver_now()
    assert len(printer.printed) == 1
