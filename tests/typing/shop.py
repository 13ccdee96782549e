"""A shop as its author would write it: it is never run, it only has to type-check, with mypy --strict and with pyright.

A line that must *not* type-check says so with ``type: ignore``; were it accepted, the unused ignore would be an error.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, assert_type

from flask import Flask, redirect
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship

from flask_zeus_cvs import (
    ConfigurationError,
    Customer,
    EventData,
    EventKind,
    Health,
    InvalidAmount,
    InvalidCustomer,
    NotPayable,
    PendingWorkError,
    State,
    Store,
    ZeusCVS,
    ZeusCVSError,
    deadline_near,
    fulfillment_ready,
    payment_expired,
    payment_received,
    review_required,
)
from flask_zeus_cvs.models import Application, Delivery, Event, Notification, Payment, Resolution, Review
from flask_zeus_cvs.outbox import Parked
from flask_zeus_cvs.simulator import Simulator
from flask_zeus_cvs.staff.search import Filters
from flask_zeus_cvs.staff.telling import facts, headline
from flask_zeus_cvs.staff.timeline import Story
from flask_zeus_cvs.staff.wording import REVIEWS


class Model(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Model)
zeus = ZeusCVS()


class Order(Model):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str]
    total: Mapped[int]
    shipped_at: Mapped[datetime | None]
    payment_id: Mapped[int | None] = mapped_column(ForeignKey("zeus_cvs_payments.id"))
    payment: Mapped[Payment | None] = relationship(
        Payment, primaryjoin=lambda: foreign(Order.payment_id) == Payment.id
    )


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["ZEUS_CVS_CLIENT_IP"] = "1234567890"
    db.init_app(app)
    zeus.init_app(app, db)
    zeus.init_app(app)
    ZeusCVS(app, db)
    fulfillment_ready.connect(ship, sender=app)
    payment_expired.connect(restock)
    payment_received.connect(lambda app, **extra: None, sender=app, name="thank")
    payment_expired.disconnect(restock)

    @deadline_near.connect_via(app)
    def remind(app: Flask, *, payment: Payment, **extra: Any) -> None:
        app.logger.info("Remind of %s", payment.checkout_url)

    @review_required.connect_via(app, name="ask a person")
    def review(app: Flask, *, payment: Payment | None, event: EventData, **extra: Any) -> None:
        app.logger.warning("Look at %s", payment.reference if payment is not None else event.notification_id)

    decorated: str = remind(app, payment=Payment())  # type: ignore[assignment]
    del decorated
    return app


def ship(app: Flask, *, payment: Payment, event: EventData, **extra: Any) -> None:
    order = db.session.scalars(select(Order).where(Order.payment_id == payment.id)).one()
    order.shipped_at = event.occurred_at
    kind: EventKind = event.kind
    before: State | None = event.previous_state
    if event.test or kind is not EventKind.FULFILLMENT_READY or before is State.CANCELLED:
        app.logger.info("Event %d of notice %s", event.id, event.notification_id)
    event.test = False  # type: ignore[misc]


def restock(app: Flask, *, payment: Payment, event: EventData, **extra: Any) -> None:
    zeus.close(payment)


def buy(order: Order) -> ResponseReturnValue:
    try:
        payment: Payment = zeus.create_payment(
            amount=order.total,
            reference=order.number,
            customer=Customer(name="ヤマダ　タロウ", phone="09012345678", email="taro@example.com"),
            return_url=f"/orders/{order.number}",
            sendpoint="",
            expires_at=datetime.now(UTC) + timedelta(days=3),
            once=True,
        )
    except InvalidAmount as error:
        refused: ValueError = error
        return str(refused), 400
    order.payment_id = payment.id
    db.session.commit()
    return redirect(payment.checkout_url)


def apply(payment: Payment, customer: Customer) -> str:
    try:
        application: Application = zeus.submit(payment, customer, Store.LAWSON)
        application = zeus.submit(payment, customer, "D002")
    except InvalidCustomer as error:
        return ", ".join(f"{each.field}: {each.problem} {each.detail}" for each in error.problems)
    except NotPayable as error:
        return error.obstacle
    except (PendingWorkError, ConfigurationError, ZeusCVSError):
        return ""
    number: str | None = application.order_no
    deadline: date | None = application.pay_limit
    numbers: tuple[str, str, str] = application.pay_no1, application.pay_no2, application.pay_url
    until: datetime | None = application.deadline
    store: Store = application.store
    return f"{number} {deadline} {numbers} {until} {store.value} {application.error_code} {application.test}"


def describe(payment: Payment) -> tuple[str, int, str, State, str, str]:
    leading: Application | None = payment.application
    every: list[Application] = payment.applications
    del leading, every
    return (
        payment.token,
        payment.amount,
        payment.reference,
        payment.state,
        payment.checkout_url,
        payment.result_url,
    )


def sold(since: datetime) -> dict[str, int]:
    """Our models in queries: columns, joins and rows have the types that they hold."""
    rows = db.session.execute(
        select(Payment.reference, Payment.amount, Application.store)
        .join(Application, Application.payment_id == Payment.id)
        .where(Payment.created_at >= since, Application.test.is_(False))
    )
    totals: dict[str, int] = {}
    for reference, amount, store in rows.tuples():
        assert_type(reference, str)
        assert_type(amount, int)
        assert_type(store, Store)
        totals[store.value] = totals.get(store.value, 0) + amount
    orders = select(Order).join(Payment, Order.payment_id == Payment.id).where(Payment.amount > 200)
    for order in db.session.scalars(orders):
        assert_type(order, Order)
        assert_type(order.payment, Payment | None)
    newest = db.session.get(Payment, 1)
    assert_type(newest, Payment | None)
    for event in db.session.scalars(select(Event).where(Event.kind == EventKind.FULFILLMENT_READY)):
        assert_type(event.kind, EventKind)
        assert_type(event.deliveries, list[Delivery])
    return totals


def returned(payment: Payment, customer: Customer) -> None:
    assert_type(zeus.create_payment(amount=3000, reference="A-1001"), Payment)
    assert_type(zeus.submit(payment, customer, "D002"), Application)
    assert_type(zeus.find("A-1001"), Payment | None)
    assert_type(payment.state, State)
    assert_type(payment.application, Application | None)
    assert_type(payment.checkout_url, str)
    assert_type(zeus.parked(), list[Parked])
    assert_type(zeus.health(), Health)
    assert_type(
        fulfillment_ready.connect(ship)(Flask(__name__), payment=payment, event=occurred(payment)), None
    )
    with payment_received.connected_to(restock, name="restock"):
        pass


def occurred(payment: Payment) -> EventData:
    return EventData(
        1, EventKind.PAYMENT_RECEIVED, datetime.now(UTC), None, test=False, notification_id=payment.id
    )


def look_up(number: str) -> State | None:
    found: Payment | None = zeus.find(number)
    return found.state if found is not None else None


def report() -> list[Payment]:
    for review in db.session.scalars(select(Review).where(Review.resolved_at.is_(None))):
        zeus.resolve(review, "received", by="staff", note="seen on the statement")
        reason: str = review.reason
        notice: Notification | None = review.notification
        raw: bytes = notice.raw if notice is not None else b""
        del reason, raw
    pending: list[Delivery] = [
        each for event in db.session.scalars(select(Event)) for each in event.deliveries
    ]
    zeus.expire()
    zeus.deliver_now()
    jobs: list[int] = []
    zeus.deliver_through(jobs.append)
    made: int = zeus.deliver_event(jobs[0]).done
    del made
    health: Health = zeus.health()
    heard_at: datetime | None = health.last_notice_at
    told: dict[str, Any] = health.as_dict()
    health.ok = True  # type: ignore[misc]
    del heard_at, told
    del pending
    return list(db.session.execute(select(Payment).where(Payment.amount > 1000)).scalars())


def back_office(payment: Payment, person: str) -> list[str]:
    found: Sequence[Payment]
    found, before = zeus.search(Filters(text="A-1001", states=[State.RECEIVED], store=Store.LAWSON))
    following: tuple[Sequence[Payment], int | None] = zeus.search(Filters(), limit=10, before=before)
    story: Story = zeus.story(payment, reveal=True)
    told = [f"{each.at:%H:%M} {headline(each, 'ja')}" for each in story.entries]
    told += [f"{name}: {value}" for each in story.entries for name, value in facts(each, "ja")]
    for case in zeus.open_reviews():
        told.append(REVIEWS[case.reason].happened.ja)
        zeus.resolve(case.review_id, Resolution.IGNORED, by=person)
    waiting: list[Parked] = zeus.parked()
    changed: int = sum(zeus.retry(str(each.id), by=person) for each in waiting) + zeus.dismiss(
        "all", by=person
    )
    forgotten: int = zeus.reset_attempts(payment)
    zeus.retry("all")  # type: ignore[call-arg]
    zeus.search("A-1001")  # type: ignore[arg-type]
    story.state = State.OPEN  # type: ignore[misc]
    return [*told, str(changed + forgotten), *(each.reference for each in [*found, *following[0]])]


def test_buying(zeus_simulator: Simulator) -> None:
    zeus_simulator.notify = "http://127.0.0.1:5000/zeus-cvs/callback"
    for each in zeus_simulator.applications:
        zeus_simulator.pay(each.order_no)
    zeus_simulator.settle(timeout=5)


def mistakes(payment: Payment, order: Order) -> None:
    zeus.create_payment(3000, "A-1")  # type: ignore[call-arg]
    zeus.create_payment(amount="3000", reference="A-1")  # type: ignore[arg-type]
    zeus.create_payment(amount=3000.0, reference="A-1")  # type: ignore[arg-type]
    zeus.create_payment(amount=3000, reference=1001)  # type: ignore[arg-type]
    zeus.create_payment(amount=3000, reference="A-1", customer="taro")  # type: ignore[arg-type]
    zeus.create_payment(amount=3000, reference="A-1", expires_at=date.today())  # type: ignore[arg-type]  # noqa: DTZ011
    zeus.create_payment(amount=3000, reference="A-1", twice=True)  # type: ignore[call-arg]
    zeus.submit(order, Customer(), "D002")  # type: ignore[arg-type]
    zeus.submit(payment, Customer(), 2)  # type: ignore[arg-type]
    zeus.submit(payment, Customer(), [Store.LAWSON])  # type: ignore[arg-type]
    zeus.submit(payment, "taro", Store.LAWSON)  # type: ignore[arg-type]
    Store.CIRCLE_K  # type: ignore[attr-defined]  # noqa: B018
    zeus.init_app("shop")  # type: ignore[arg-type]
    zeus.resolve(payment, "received", by="staff")  # type: ignore[arg-type]
    zeus.resolve(1, "received")  # type: ignore[call-arg]
    zeus.deliver_through("job")  # type: ignore[arg-type]
    payment.application.order_no  # type: ignore[union-attr]  # noqa: B018
    zeus.close("A-1")  # type: ignore[arg-type]
    zeus.find(1001)  # type: ignore[arg-type]
    payment.state = State.CLOSED  # type: ignore[misc]
    payment.checkout_url = "/"  # type: ignore[misc]
    Customer(nmae="x")  # type: ignore[call-arg]
    fulfillment_ready.connect("ship")  # type: ignore[type-var]
    looked_up: State = look_up("A-1")  # type: ignore[assignment]
    del looked_up
