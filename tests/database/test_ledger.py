"""The ledger: one transaction's view of a payment is as new as its lock, and leaves nothing out in silence."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.orm.exc import DetachedInstanceError

from flask_zeus_cvs import State
from flask_zeus_cvs.ledger import Ledger, write
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import Application, Payment, Review, ReviewReason
from tests.conftest import Shop
from tests.waiting import somebody_waits, until


def test_what_a_lock_leaves_out_is_an_error(shop: Shop) -> None:
    """Nobody takes a column that was not read for an empty one; once read, it is as stored."""
    payment, application = shop.awaiting()
    name, token = application.customer.name, payment.token
    shop.db.session.rollback()

    def look(ledger: Ledger) -> tuple[str, str]:
        locked = ledger.lock(payment.id)
        assert locked is not None
        (slip,) = locked.applications
        for row, key in ((locked, "token"), (slip, "customer_name")):
            with pytest.raises(DetachedInstanceError):
                getattr(row, key)
            ledger.complete(row)
        return slip.customer.name, locked.token

    assert write(shop.payments.database, look) == (name, token)


def test_applications_are_as_new_as_the_lock(shop: Shop) -> None:
    """Who waited for a lock sees what its holder wrote, whichever rows that was."""
    _, application = shop.awaiting()
    shop.db.session.rollback()
    holds, go_on = threading.Event(), threading.Event()
    seen: list[tuple[State, str]] = []

    def change(ledger: Ledger) -> None:
        ledger.lock_of(application.id).stored_state = State.RECEIVED
        holds.set()
        go_on.wait(10)

    def look(ledger: Ledger) -> None:
        slip = ledger.lock_of(application.id)
        seen.append((slip.stored_state, slip.pay_no1))

    database = shop.payments.database
    number = application.pay_no1
    holder = threading.Thread(target=write, args=(database, change))
    waiter = threading.Thread(target=write, args=(database, look))
    holder.start()
    assert holds.wait(10)
    waiter.start()
    try:
        if shop.db.engine.dialect.name != "sqlite":
            until(lambda: somebody_waits(shop.db.engine))
    finally:
        go_on.set()
        holder.join(20)
        waiter.join(20)
    assert seen == [(State.RECEIVED, number)]


def test_a_payment_notes_that_it_was_reviewed_and_lost_money(shop: Shop) -> None:
    """What was asked and told is found by the next who locks the payment, and noted in its row."""
    payment, _ = shop.awaiting()
    shop.db.session.rollback()

    def ask(ledger: Ledger) -> None:
        locked = ledger.lock(payment.id)
        ledger.ask(ReviewReason.OUT_OF_ORDER, locked)
        ledger.tell(EventKind.PAYMENT_CANCELLED, locked)

    def look(ledger: Ledger) -> tuple[int, frozenset[EventKind]]:
        locked = ledger.lock(payment.id)
        assert locked is not None
        assert locked.was_reviewed
        assert locked.has_lost
        return len(ledger.reviews(locked)), ledger.losses(locked)

    write(shop.payments.database, ask)
    assert write(shop.payments.database, look) == (1, frozenset({EventKind.PAYMENT_CANCELLED}))


def test_rows_of_before_the_notes_are_looked_up(shop: Shop) -> None:
    """A payment that an earlier version stored says nothing of its reviews: they are found all the same."""
    payment, _ = shop.awaiting()
    new = {"id", "revision", "was_reviewed", "has_lost"}
    columns = [each for each in Payment.__table__.columns if each.name not in new]
    before = sa.table(Payment.__tablename__, *(sa.column(each.name, each.type) for each in columns))
    shop.db.session.rollback()
    values = dict(shop.db.session.execute(sa.select(before)).mappings().one())
    values |= {"token": "other", "reference": "older", "once_key": None}
    shop.db.session.execute(sa.insert(before).values(values))
    older = shop.db.session.scalars(sa.select(Payment.id).where(Payment.reference == "older")).one()
    shop.db.session.add(Review(reason=ReviewReason.OUT_OF_ORDER, payment_id=older))
    shop.db.session.commit()

    def look(ledger: Ledger) -> int:
        locked = ledger.lock(older)
        assert locked is not None
        return len(ledger.reviews(locked))

    assert write(shop.payments.database, look) == 1
    assert shop.all(Application)[0].payment_id == payment.id
