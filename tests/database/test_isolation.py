"""The host's isolation level, whichever it is: many workers at once end as one after another would.

PostgreSQL comes with read committed, MariaDB with repeatable read; a shop may have set either on both. From
version 11.6 on, MariaDB's repeatable read also refuses to lock a row that has changed since it was read.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_zeus_cvs import EventData, EventKind, State, fulfillment_ready, payment_received
from flask_zeus_cvs.exceptions import CreatedMeanwhile, NotPayable
from flask_zeus_cvs.models import Application, Delivery, DeliveryState, Event, Notification, Payment
from tests.conftest import Shop, ShopMaker, accepted, all_at_once
from tests.database.test_receive import kinds, notice, reasons
from tests.waiting import somebody_waits, until

#: How many workers do the same at once.
WORKERS = 8


@dataclass(frozen=True)
class Level:
    """A database with an isolation level of its own, as a host's engine options set it."""

    kind: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def engine(self) -> dict[str, Any]:
        return {"isolation_level": self.name, **self.options}


READ_COMMITTED, REPEATABLE_READ = "READ COMMITTED", "REPEATABLE READ"
STRICT = {"connect_args": {"init_command": "SET SESSION innodb_snapshot_isolation = ON"}}
LEVELS = [
    pytest.param(Level("postgresql", READ_COMMITTED), id="postgresql-committed"),
    pytest.param(Level("postgresql", REPEATABLE_READ), id="postgresql-repeatable"),
    pytest.param(Level("mariadb", READ_COMMITTED), id="mariadb-committed"),
    pytest.param(Level("mariadb", REPEATABLE_READ), id="mariadb-repeatable"),
    pytest.param(Level("mariadb", REPEATABLE_READ, STRICT), id="mariadb-strict"),
]


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> Level:
    """Each database with each level."""
    asked: Level = request.param
    return asked


@pytest.fixture
def shop(make_shop: ShopMaker, request: pytest.FixtureRequest, level: Level) -> Shop:
    """A shop at that level; nothing is delivered until it is asked for."""
    server = request.getfixturevalue(level.kind)
    uri = server.create()
    request.getfixturevalue("closing").callback(server.drop, uri)
    return make_shop(uri, engine=level.engine, DELIVERY="deferred")


def events_counted(shop: Shop, table: sa.Table) -> list[int]:
    """The ids that subscribers wrote into the shop's table."""
    shop.db.session.rollback()
    return sorted(shop.db.session.scalars(sa.select(table.c.event_id)))


def sees_what_others_commit(shop: Shop, session: Session, table: sa.Table) -> bool:
    """Tell whether a transaction that has read goes on to see what another one commits."""
    count = sa.select(sa.func.count()).select_from(table)
    before = session.scalar(count)
    with shop.db.engine.begin() as other:
        other.execute(table.insert().values(event_id=1))
    return session.scalar(count) != before


def test_the_level_is_the_hosts(shop: Shop, level: Level, counted: sa.Table) -> None:
    """Our own transactions are read committed, and leave the connection at the level that the host has set."""
    for _ in range(2):
        assert sees_what_others_commit(shop, shop.db.session(), counted) is (level.name == READ_COMMITTED)
        shop.db.session.remove()
        assert shop.payments._database.write(lambda session: sees_what_others_commit(shop, session, counted))


def test_one_notice_from_many_workers(shop: Shop) -> None:
    """Law 6: the same 04 from eight workers at once is one notification, eight times, and one shipment."""
    shop.awaiting()
    for raw in (notice("04"), notice("04", "9999-9")):
        assert all_at_once(shop, [partial(shop.zeus.receive, raw)] * WORKERS) == []
    assert [row.times for row in shop.all(Notification)] == [WORKERS, WORKERS]
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == 1
    assert reasons(shop) == ["unknown_order"]


def test_distinct_notices_of_one_payment(shop: Shop) -> None:
    """04, 05, 01 and their repeats from many workers end as the table says for every order: confirmed."""
    shop.awaiting()
    works = [partial(shop.zeus.receive, notice(status)) for status in ("01", "04", "05") * 3]
    assert all_at_once(shop, works) == []
    assert shop.all(Application)[0].state is State.CONFIRMED
    assert [row.times for row in shop.all(Notification)] == [3, 3, 3]
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == 1
    assert reasons(shop) == []


def test_notices_of_many_payments(shop: Shop) -> None:
    """Notices of several payments, re-issues and strangers among them, in any order: none fails, none is lost."""
    dice = random.Random(20261123)
    sendids = {}
    for number in range(4):
        shop.awaiting(order_no=f"{number}-1", reference=f"A-{number}")
        sendids[number] = shop.gateway.sent[-1].sendid
    raws = [
        notice(status, f"{number}-{slip}", sendid=sendids[number])
        for number in sendids
        for slip in (1, 2)
        for status in ("01", "04", "05")
    ]
    raws += [notice("04", f"9-{number}") for number in range(4)]

    def receive(mine: list[bytes]) -> None:
        for raw in mine:
            shop.zeus.receive(raw)

    works = [partial(receive, dice.sample(raws, len(raws))) for _ in range(WORKERS)]
    assert all_at_once(shop, works) == []
    assert [row.times for row in shop.all(Notification)] == [WORKERS] * len(raws)
    assert len(shop.all(Application)) == 8
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == 4


def test_an_answer_and_its_notices(shop: Shop) -> None:
    """Notices that come while the answer is being stored wait for it or find it: none stays without its payment."""
    payment = shop.payment()
    payment_id = payment.id
    answering = threading.Barrier(4)
    shop.gateway.before_answer = lambda request: answering.wait(10)
    shop.gateway.answers.append(accepted("0001-1"))

    def submit() -> None:
        mine = shop.db.session.get_one(Payment, payment_id)
        assert shop.submit(mine).order_no == "0001-1"

    def hear(status: str) -> None:
        answering.wait(10)
        shop.zeus.receive(notice(status))

    assert all_at_once(shop, [submit, *(partial(hear, status) for status in ("01", "04", "05"))]) == []
    assert shop.all(Application)[0].state is State.CONFIRMED
    assert {row.payment_id for row in shop.all(Notification)} == {payment_id}
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == 1


def test_many_clicks_make_one_post(shop: Shop) -> None:
    """Law 3: eight workers submit one payment at once; ZEUS is asked once and all get the one application."""
    payment_id = shop.payment().id
    found: list[int] = []
    answered = threading.Event()
    shop.gateway.before_answer = lambda request: answered.wait(10)

    def click() -> None:
        found.append(shop.submit(shop.db.session.get_one(Payment, payment_id)).id)
        if len(found) == WORKERS - 1:
            answered.set()

    assert all_at_once(shop, [click] * WORKERS) == []
    assert (len(found), len(set(found))) == (WORKERS, 1)
    assert len(shop.gateway.sent) == 1


def test_what_submit_returns_is_of_now(shop: Shop) -> None:
    """The application that came of it is fresh, even where db.session goes on seeing what it saw before."""
    shop.payment()
    payment = shop.zeus.find("A-1001")
    assert payment is not None
    application = shop.submit(payment)
    assert application.state is State.AWAITING_PAYMENT
    shop.db.session.rollback()
    assert payment.state is State.AWAITING_PAYMENT


def test_workers_that_deliver_at_once(shop: Shop, counted: sa.Table) -> None:
    """Law 8: whatever many workers find due, each event is written down once."""

    def count(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shop.db.session.execute(counted.insert().values(event_id=event.id))

    payment_received.connect(count, shop.app)
    fulfillment_ready.connect(count, shop.app)
    for number in range(6):
        shop.awaiting(order_no=f"{number}-1", reference=f"A-{number}")
        shop.zeus.receive(notice("04", f"{number}-1"))
    wanted = sorted(
        event.id
        for event in shop.all(Event)
        if event.kind in (EventKind.PAYMENT_RECEIVED, EventKind.FULFILLMENT_READY)
    )
    assert all_at_once(shop, [shop.zeus.deliver_now] * WORKERS) == []
    assert events_counted(shop, counted) == wanted
    assert {each.state for each in shop.all(Delivery)} == {DeliveryState.DONE}


def test_a_worker_that_outlives_its_lease(
    shop: Shop, counted: sa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 8: another has taken over and finished, so what the first one wrote is taken back."""
    monkeypatch.setattr("flask_zeus_cvs.outbox.LEASE", timedelta(0))
    slow, over = threading.Event(), threading.Event()
    calls: list[int] = []

    def count(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        calls.append(event.id)
        shop.db.session.execute(counted.insert().values(event_id=event.id))
        if len(calls) == 1:
            slow.set()
            assert over.wait(10)

    fulfillment_ready.connect(count, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))

    def take_over() -> None:
        assert slow.wait(10)
        try:
            assert shop.zeus.deliver_now().done == 1
        finally:
            over.set()

    assert all_at_once(shop, [shop.zeus.deliver_now, take_over]) == []
    assert len(calls) == 2
    assert events_counted(shop, counted) == calls[:1]
    assert [each.state for each in shop.all(Delivery)] == [DeliveryState.DONE]


@pytest.mark.parametrize("reads_first", [False, True])
def test_once_from_many_workers(shop: Shop, level: Level, reads_first: bool) -> None:
    """Eight workers that create the same payment at once make one, be it the first or after one that has ended.

    At repeatable read a transaction may be too old to see or lock what another has made: it is told to begin anew.
    """
    made: list[int] = []
    told: list[CreatedMeanwhile] = []

    def click() -> None:
        if reads_first:
            shop.zeus.find("A-1001")
        while len(told) < WORKERS * WORKERS:
            try:
                payment_id = shop.zeus.create_payment(amount=3000, reference="A-1001", once=True).id
                shop.db.session.commit()
            except CreatedMeanwhile as error:
                told.append(error)
                shop.db.session.rollback()
            else:
                made.append(payment_id)
                return

    for number in (1, 2):
        assert all_at_once(shop, [click] * WORKERS) == []
        assert len(made) == number * WORKERS
        assert [each.id for each in shop.all(Payment)] == sorted(set(made))
        assert len(set(made)) == number
        shop.zeus.close(shop.all(Payment)[-1])
        shop.db.session.commit()
    assert not told or level.name == REPEATABLE_READ


def test_the_sweep_beside_notices(shop: Shop) -> None:
    """Sweeps that run while money comes expire what is unpaid once, and never what is paid."""
    for number in range(4):
        shop.awaiting(order_no=f"{number}-1", reference=f"A-{number}")
    for each in shop.all(Application):
        each.pay_limit = each.pay_limit.replace(year=2020)
    shop.db.session.commit()
    paid = [partial(shop.zeus.receive, notice("04", f"{number}-1")) for number in (0, 1)]
    assert all_at_once(shop, [*[shop.zeus.expire] * 4, *paid]) == []
    ended = [each.state for each in shop.all(Application)]
    assert ended == [State.RECEIVED] * 2 + [State.EXPIRED] * 2
    told = kinds(shop)
    assert told.count(EventKind.FULFILLMENT_READY) == 2


def test_once_sees_a_slip_of_after_its_transaction_began(shop: Shop) -> None:
    """Law 3: a slip that another worker puts out meanwhile is respected, whatever view the caller's transaction has."""
    payment = shop.payment(amount=3000, once=True)
    shop.db.session.execute(sa.select(sa.func.count(Application.id))).all()
    submitting = threading.Thread(target=in_context, args=[shop, lambda: shop.submit(payment)])
    submitting.start()
    submitting.join(60)
    with pytest.raises((NotPayable, CreatedMeanwhile)):
        shop.zeus.create_payment(amount=5000, reference=payment.reference, once=True)
    shop.db.session.rollback()
    assert [(each.amount, each.state) for each in shop.all(Payment)] == [(3000, State.AWAITING_PAYMENT)]


def in_context(shop: Shop, work: Callable[[], object]) -> None:
    with shop.app.app_context():
        work()


def test_a_click_that_waits_for_a_close_sends_nothing(shop: Shop, level: Level) -> None:
    """Law 3: the payment that submit looks at is the one under its lock, not one that it has seen before."""
    payment_id = shop.payment().id
    refused: list[NotPayable] = []

    def click() -> None:
        with pytest.raises(NotPayable) as refusal:
            shop.submit(shop.db.session.get_one(Payment, payment_id))
        refused.append(refusal.value)

    def close_slowly() -> None:
        shop.zeus.close(shop.db.session.get_one(Payment, payment_id))
        clicking = threading.Thread(target=in_context, args=[shop, click])
        clicking.start()
        until(lambda: somebody_waits(shop.db.engine))
        shop.db.session.commit()
        clicking.join(30)

    assert all_at_once(shop, [close_slowly]) == []
    assert [each.obstacle for each in refused] == ["closed"]
    assert shop.gateway.sent == []
