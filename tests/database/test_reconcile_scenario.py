"""A callback that is down for three days, and the list of ZEUS's screen: the shop stands where it would have stood.

Two shops live through the same days side by side: one whose callback works, and one whose callback does not. They have
the same sandbox, which answers the first one's applications and is played back to the other, so that every number is
the same. What they are in the end is compared as it is, not as a model has it.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_zeus_cvs import EventData, EventKind, ZeusCVS, payments
from flask_zeus_cvs.clock import Journey, journey, now
from flask_zeus_cvs.exceptions import GatewayError
from flask_zeus_cvs.gateway import Gateway
from flask_zeus_cvs.models import Application, Payment, Review, ReviewReason
from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.protocol.messages import Answer, ApplicationRequest
from flask_zeus_cvs.signals import SIGNALS
from flask_zeus_cvs.simulator import Simulator
from flask_zeus_cvs.simulator.ledger import Silent, SimulatedApplication, Verb
from flask_zeus_cvs.simulator.spreadsheet import write
from tests.conftest import CLIENT_IP, CUSTOMER

STORES = tuple(Store)


class Base(DeclarativeBase):
    """The shop's tables."""


class Entry(Base):
    """What a subscriber has done: for which payment, and at which event."""

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(primary_key=True)
    subscriber: Mapped[str] = mapped_column(sa.String(20))
    kind: Mapped[str] = mapped_column(sa.String(40))
    reference: Mapped[str] = mapped_column(sa.String(20))
    event: Mapped[int]


class Stock(Base):
    """What lies on the shelf: a subscriber takes away and puts back."""

    __tablename__ = "stock"

    id: Mapped[int] = mapped_column(primary_key=True)
    parcels: Mapped[int] = mapped_column(default=0)


class Town:
    """One of the two shops, with subscribers that write rows through ``db.session``."""

    def __init__(self, folder: Path, name: str, **settings: Any) -> None:
        self.app = Flask(name)
        self.app.config.update(
            SECRET_KEY="not a secret",
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / name}.db",
            ZEUS_CVS_CLIENT_IP=CLIENT_IP,
            ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"],
            ZEUS_CVS_DELIVERY="deferred",
            **settings,
        )
        self.db = SQLAlchemy(self.app, model_class=Base)
        self.zeus = ZeusCVS(self.app, self.db)
        self.payments = payments.payments_of(self.app)
        with self.app.app_context():
            self.db.create_all()
            self.db.session.add(Stock(id=1))
            self.db.session.commit()
        for kind, signal in SIGNALS.items():
            signal.connect(self._books, sender=self.app, name="books")
            if kind in (EventKind.PAYMENT_RECEIVED, EventKind.PAYMENT_CANCELLED, EventKind.REVIEW_REQUIRED):
                signal.connect(self._mails, sender=self.app, name="mails")
        SIGNALS[EventKind.FULFILLMENT_READY].connect(self._ships, sender=self.app, name="ships")

    def _enter(self, subscriber: str, payment: Payment | None, event: EventData) -> None:
        reference = payment.reference if payment else "-"
        entry = Entry(subscriber=subscriber, kind=event.kind.value, reference=reference, event=event.id)
        self.db.session.add(entry)

    def _books(self, _app: Flask, *, payment: Payment | None, event: EventData, **_: Any) -> None:
        self._enter("books", payment, event)

    def _mails(self, _app: Flask, *, payment: Payment | None, event: EventData, **_: Any) -> None:
        self._enter("mails", payment, event)

    def _ships(self, _app: Flask, *, payment: Payment | None, event: EventData, **_: Any) -> None:
        self._enter("ships", payment, event)
        self.db.session.execute(sa.update(Stock).values(parcels=Stock.parcels + 1))

    def run(self, *args: str) -> Result:
        result = self.app.test_cli_runner().invoke(args=["zeus-cvs", *args])
        assert result.exit_code in (0, 1), result.output
        return result

    def close(self) -> None:
        with self.app.app_context():
            self.db.engine.dispose()

    # --- what it is in the end ---------------------------------------------------------------------

    def read(self, wanted: sa.Select[*tuple[Any, ...]]) -> list[Any]:
        with self.app.app_context():
            return list(self.db.session.execute(wanted))

    def payments_as_they_are(self) -> dict[str, tuple[Any, ...]]:
        """Everything about each payment but its token and the moments at which something was written."""
        with self.app.app_context():
            return {
                each.reference: (
                    each.amount,
                    each.state,
                    each.attempts,
                    each.fulfilled_at is not None,
                    each.closed_at is not None,
                    each.expired_at is not None,
                    each.expiry_told_at is not None,
                )
                for each in self.db.session.scalars(sa.select(Payment))
            }

    def applications(self) -> dict[str, tuple[Any, ...]]:
        """Everything about each application, by its order number, or by its sendid where it has none."""
        columns = (
            Payment.reference,
            Application.sendid,
            Application.order_no,
            Application.store,
            Application.stored_state,
            Application.pay_no1,
            Application.pay_no2,
            Application.pay_limit,
            Application.pay_url,
            Application.error_code,
            Application.test,
            Application.reissued,
        )
        rows = self.read(sa.select(*columns).join(Application.payment))
        return {row.order_no or row.sendid: tuple(row) for row in rows}

    def reviews(self) -> Counter[tuple[Any, ...]]:
        wanted = (
            sa.select(Payment.reference, Application.order_no, Review.reason, Review.resolution)
            .select_from(Review)
            .outerjoin(Payment, Payment.id == Review.payment_id)
            .outerjoin(Application, Application.id == Review.application_id)
        )
        return Counter(tuple(row) for row in self.read(wanted))

    def effects(self) -> Counter[tuple[str, str, str]]:
        """What subscribers have done, and how often."""
        rows = self.read(sa.select(Entry.subscriber, Entry.kind, Entry.reference))
        return Counter(tuple(row) for row in rows)

    def is_each_once(self) -> bool:
        """Whether no subscriber has done anything twice for one event."""
        rows = [tuple(row) for row in self.read(sa.select(Entry.subscriber, Entry.event))]
        return len(rows) == len(set(rows))

    def parcels(self) -> int:
        return int(self.read(sa.select(Stock.parcels))[0][0])


class Played:
    """The gateway of the shop that is down: ZEUS's answers to the other, played back."""

    def __init__(self) -> None:
        self.answer: Answer | GatewayError | None = None

    def apply(self, request: ApplicationRequest) -> Answer:
        if isinstance(self.answer, GatewayError):
            raise self.answer
        assert self.answer is not None
        return self.answer


class Recorded:
    """The gateway of the shop that works, of which each answer is kept."""

    def __init__(self, gateway: Gateway, player: Played) -> None:
        self._gateway, self._player = gateway, player

    def apply(self, request: ApplicationRequest) -> Answer:
        try:
            self._player.answer = self._gateway.apply(request)
        except GatewayError as error:
            self._player.answer = error
            raise
        return self._player.answer


class Japan:
    """The two shops, ZEUS, and the days that pass."""

    def __init__(self, folder: Path, zeus: Simulator, travel: Journey, seed: int) -> None:
        self.zeus, self.travel, self.chance, self.folder = zeus, travel, random.Random(seed), folder
        self.good = Town(folder, "good", ZEUS_CVS_TRANSPORT=zeus.adapter())
        self.down = Town(folder, "down")
        player = Played()
        self.good.payments._gateway = Recorded(self.good.payments._gateway, player)  # type: ignore[assignment]
        self.down.payments._gateway = player  # type: ignore[assignment]
        self.is_down = False
        self.applied = 0
        self._both_are_ready = threading.Lock()
        zeus.attach(self._callback)

    @property
    def towns(self) -> tuple[Town, Town]:
        return self.good, self.down

    def _callback(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Take ZEUS's notice to both; while the one is down nobody answers for it."""
        with self._both_are_ready:
            if not self.is_down:
                b"".join(self.down.app(dict(environ), lambda *_: lambda _bytes: None))
            return list(self.good.app(environ, start_response))

    def apply(self, fault: str = "", *, store: Store | None = None, **how: Any) -> str:
        """Order something in both shops and apply for it; returns the order number at ZEUS, blank if it has none."""
        self.applied += 1
        amount, store = self.chance.randrange(200, 30_000), store or self.chance.choice(STORES)
        if fault or how:
            self.zeus.answer_next(fault, **how)
        before = len(self.zeus.applications)
        reference, key = f"A-{self.applied}", f"{self.applied:020d}"
        with self._both_are_ready:
            for town in self.towns:
                self._submit(town, reference, amount, store, key)
        self.zeus.settle()
        return self.zeus.applications[-1].order_no if len(self.zeus.applications) > before else ""

    def _submit(self, town: Town, reference: str, amount: int, store: Store, key: str) -> None:
        digits = iter(key)
        with town.app.app_context(), pytest.MonkeyPatch.context() as patched:
            payment = town.zeus.create_payment(amount=amount, reference=reference)
            town.db.session.commit()
            patched.setattr("flask_zeus_cvs.payments.secrets.choice", lambda _: next(digits))
            town.zeus.submit(payment, CUSTOMER, store)

    def pass_time(self, **step: float) -> None:
        """Let hours pass, with what cron does in each shop at the end of them."""
        self.travel.to(now() + timedelta(**step))
        self.zeus.forward()
        self.zeus.settle()
        for town in self.towns:
            town.run("expire")
            town.run("deliver", "--now", "--quiet")

    def can(self, verb: Verb) -> list[SimulatedApplication]:
        ledger = self.zeus._works.ledger
        return [each for each in self.zeus.applications if verb in ledger.possible(each) and not each.test]

    def list_of_the_screen(self, encoding: str = "cp932") -> Path:
        """Fetch the list from ZEUS's screen."""
        path = self.folder / "zeus-list.csv"
        path.write_bytes(write(self.zeus.applications, encoding))
        return path

    def reconcile(self, town: Town) -> Result:
        result = town.run("reconcile", str(self.list_of_the_screen()), "--apply", "--yes", "--json")
        town.run("deliver", "--now", "--quiet")
        return result


@pytest.fixture
def make_japan(tmp_path: Path) -> Iterator[Callable[[int], Japan]]:
    """Make the two shops and their sandbox."""
    with journey() as travel, Simulator(listen=False, clock=now, seed=1) as zeus:
        made = []

        def make(seed: int) -> Japan:
            zeus.contract.on_request = frozenset({Status.APPLICATION_FAILED, Status.EXPIRED})
            zeus.contract.pay_within_days = 10
            made.append(Japan(tmp_path, zeus, travel, seed))
            return made[-1]

        yield make
        zeus.stop()
        for each in made:
            for town in each.towns:
                town.close()


def trade(japan: Japan, hours: int, busy: int = 2) -> None:
    """Let customers, tills, chains and ZEUS's staff do what they do, for so long; every six hours cron runs."""
    chance, zeus = japan.chance, japan.zeus
    for _ in range(hours // 6):
        for _ in range(busy):
            chance.choice(
                (
                    japan.apply,
                    japan.apply,
                    lambda: japan.apply("lost"),
                    lambda: japan.apply("cut"),
                    lambda: japan.apply(error_code="0008"),
                )
            )()
        for verb, act, share in (
            (Verb.PAY, zeus.pay, 0.3),
            (Verb.CANCEL, zeus.cancel, 0.2),
            (Verb.REISSUE, zeus.reissue, 0.15),
            (Verb.CONFIRM, zeus.confirm, 0.1),
            (Verb.EXPIRE, zeus.expire, 0.05),
        ):
            for each in japan.can(verb):
                if chance.random() < share and _makes_sense(japan, verb, each):
                    act(each.order_no)
                    zeus.settle()
        japan.pass_time(hours=6)


def _makes_sense(japan: Japan, verb: Verb, application: SimulatedApplication) -> bool:
    """Leave out what leads to questions whose answer depends on the order of events that no list tells."""
    others = {
        each.status
        for each in japan.zeus.applications
        if each.sendid == application.sendid and each.order_no != application.order_no
    }
    if verb in (Verb.PAY, Verb.EXPIRE):
        return others <= {Status.AWAITING_PAYMENT, Silent.CANCELLED}
    if verb is Verb.REISSUE:
        return application.status is Status.AWAITING_PAYMENT and others <= {Silent.CANCELLED}
    return True


def paid_while_stopped(japan: Japan) -> int:
    """Have the service stopped for a while, in which some pay all the same; returns how many."""
    japan.zeus.stop_service()
    paying = japan.can(Verb.PAY)[:3]
    for each in paying:
        japan.zeus.pay(each.order_no)
    japan.zeus.resume_service()
    return len(paying)


def differences(result: Result) -> Counter[str]:
    return Counter(each["kind"] for each in json.loads(result.stdout)["differences"])


@pytest.mark.parametrize("seed", range(3))
def test_the_shop_stands_where_it_would_have_stood(make_japan: Callable[[int], Japan], seed: int) -> None:
    """Days of trade, three days without a callback, the list: everything is as in the shop whose callback worked.

    番組停止 nobody tells either of the two, so the other one reads the list as well: it finds that and nothing else.
    One thing is better here: goods whose payment came and went during the outage had left the other shop, and stay.
    """
    japan = make_japan(seed)
    trade(japan, 48)
    assert_alike(japan)

    japan.is_down = True
    trade(japan, 36)
    stopped = paid_while_stopped(japan)
    trade(japan, 36)
    assert japan.good.applications() != japan.down.applications()
    japan.is_down = False
    assert stopped
    assert differences(japan.reconcile(japan.good)) == {"stopped": stopped}
    japan.reconcile(japan.down)

    assert_alike(japan, but=kept_goods(japan))
    told_once_more(japan)
    assert_alike(japan, but=kept_goods(japan))
    assert not differences(japan.reconcile(japan.down)).keys() - {"under_review"}
    trade(japan, 24)
    assert_alike(japan, but=kept_goods(japan))


def test_what_was_said_while_nobody_heard_stays_said(make_japan: Callable[[int], Japan]) -> None:
    """Deadlines pass during the outage, and ZEUS tells of neither 02 nor 03: the books are the same in the end.

    What the sweep did meanwhile it did in good faith: it reminded of slips that were paid, and called some expired. A
    shipment follows all the same; and nobody who had paid is told twice that the money is there.
    """
    japan = make_japan(7)
    japan.zeus.contract.on_request = frozenset()
    japan.zeus.contract.pay_within_days = 2
    trade(japan, 36)
    japan.is_down = True
    trade(japan, 72)
    japan.is_down = False
    told = [differences(japan.reconcile(town)) for town in japan.towns]
    assert not told[0].keys() - {"missed", "numbered"}
    japan.pass_time(hours=6)

    good, down = japan.towns
    assert down.applications() == good.applications()
    assert down.reviews() == good.reviews()
    without_expiry = [
        {key: each[:-1] for key, each in town.payments_as_they_are().items()} for town in japan.towns
    ]
    assert without_expiry[0] == without_expiry[1]
    assert down.is_each_once()
    said = {EventKind.DEADLINE_NEAR, EventKind.PAYMENT_EXPIRED}
    more, less = down.effects() - good.effects(), good.effects() - down.effects() - kept_goods(japan)
    assert {kind for _, kind, _ in more} == said, "the seed has deadlines that pass"
    assert {kind for _, kind, _ in less} <= said


def assert_alike(japan: Japan, but: Counter[tuple[str, str, str]] | None = None) -> None:
    """Compare all that the two shops are, and all that their subscribers did; ``but`` what only the good one did."""
    good, down = japan.towns
    assert down.applications() == good.applications()
    assert down.payments_as_they_are() == good.payments_as_they_are()
    assert down.reviews() == good.reviews()
    assert down.is_each_once()
    assert down.effects() + (but or Counter()) == good.effects()
    assert down.parcels() == good.parcels() - sum(who == "ships" for who, *_ in but or ())


def kept_goods(japan: Japan) -> Counter[tuple[str, str, str]]:
    """The shipments that the shop without a callback never made: their payment had been taken back when it heard."""
    good, down = japan.good.effects(), japan.down.effects()
    cancelled = {reference for _, kind, reference in down if kind == EventKind.PAYMENT_CANCELLED}
    return Counter(
        {
            key: number
            for key, number in (good - down).items()
            if key[1] == EventKind.FULFILLMENT_READY and key[2] in cancelled
        }
    )


def told_once_more(japan: Japan) -> None:
    """Have ZEUS send again whatever it has ever told: each is a repeat.

    A person is asked once where money is told of that had been taken back (law 6), as in the other shop.
    """
    before = japan.down.applications(), japan.down.payments_as_they_are()
    heard, reviews = japan.down.effects(), japan.down.reviews()
    for each in japan.zeus.applications:
        for status in each.notices:
            japan.zeus.resend(each.order_no, status)
    japan.zeus.settle(60)
    for town in japan.towns:
        town.run("deliver", "--now", "--quiet")
    assert (japan.down.applications(), japan.down.payments_as_they_are()) == before
    assert {reason for *_, reason, _ in japan.down.reviews() - reviews} <= {
        ReviewReason.REPEATED_AFTER_CANCEL
    }
    assert {kind for _, kind, _ in japan.down.effects() - heard} <= {EventKind.REVIEW_REQUIRED}
