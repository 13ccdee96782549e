"""The shop's database as the driver uses it: what is written before a run, and what is read while and after it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.models import (
    Application,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
)
from flask_zeus_cvs.protocol.codes import Store
from tests.torture.judge import Asked, Happened, Held, Kept, Owed
from tests.torture.lives import Charge
from tests.torture.shop import Count

_CUSTOMER = Customer("ヤマダ　タロウ", "09012345678", "taro@example.com")


class Records:
    """One database; each call is a connection and a transaction of its own."""

    def __init__(self, uri: str) -> None:
        patient = {"timeout": 30} if uri.startswith("sqlite") else {}
        self._engine = sa.create_engine(uri, poolclass=sa.pool.NullPool, connect_args=patient)

    def open(self, charges: Iterable[Charge]) -> None:
        """Write the payments and their applications, as if customers had applied a moment ago."""
        with Session(self._engine) as session:
            session.add_all([_payment(charge) for charge in charges])
            session.commit()

    def kept(self) -> list[Kept]:
        row = Notification
        return [
            Kept(*each)
            for each in self._read(row.id, row.order_no, row.sendid, row.status, row.money, row.times)
        ]

    def held(self) -> list[Held]:
        found = self._read(Payment.reference, Application.order_no, Application.stored_state, of=Payment)
        return [Held(reference, order_no or "", state) for reference, order_no, state in found]

    def asked(self) -> list[Asked]:
        found = self._read(Payment.reference, Review.reason, Review.notification_id, of=Review)
        return [Asked(*each) for each in found]

    def events(self) -> list[Happened]:
        columns = (Event.id, Event.kind, Payment.reference, Event.application_id, Event.notification_id)
        return [Happened(*each) for each in self._read(*columns, of=Event)]

    def owed(self) -> list[Owed]:
        row = Delivery
        return [Owed(*each) for each in self._read(row.id, row.event_id, row.subscriber, row.state)]

    def counts(self) -> list[tuple[int, str]]:
        return [(event, name) for event, name in self._read(Count.event_id, Count.subscriber)]

    def parked(self) -> list[tuple[int, bool]]:
        """What waits for a person, by its number; True: its receiver had committed before it ended."""
        over = sa.or_(Delivery.leased_until.is_(None), Delivery.leased_until <= now())
        found = sa.select(Delivery.id, Delivery.last_error).where(
            Delivery.state == DeliveryState.PARKED, over
        )
        with self._engine.connect() as connection:
            return [(number, "committed by itself" in error) for number, error in connection.execute(found)]

    def due(self) -> int:
        """How many deliveries are to be made yet."""
        return self._count(Delivery.state == DeliveryState.PENDING)

    def unfinished(self) -> int:
        """How many have not come to an end, those that wait for a person among them."""
        return self._count(Delivery.state.in_((DeliveryState.PENDING, DeliveryState.PARKED)))

    def _count(self, where: sa.ColumnElement[bool]) -> int:
        with self._engine.connect() as connection:
            return connection.execute(
                sa.select(sa.func.count()).select_from(Delivery).where(where)
            ).scalar_one()

    def _read(self, *columns: Any, of: type[Any] | None = None) -> list[Any]:
        """Read these columns of every row; those of payments and applications joined to ``of``."""
        query = sa.select(*columns)
        if of is Payment:
            query = query.join_from(Application, Payment)
        elif of is not None:
            query = query.select_from(of).outerjoin(Payment, Payment.id == of.payment_id)
        with self._engine.connect() as connection:
            return list(connection.execute(query))


def _payment(charge: Charge) -> Payment:
    return Payment(
        reference=charge.reference,
        amount=charge.amount,
        customer=Customer(),
        attempts=1,
        applications=[
            Application(
                sendid=charge.sendid,
                store=Store.FAMILYMART,
                stored_state=charge.state,
                order_no=charge.order_no or None,
                customer=_CUSTOMER,
                answer_due_at=now() + timedelta(hours=1),
            )
        ],
    )
