"""What comes late, twice, or after a person has decided: nothing that was paid is forgotten, and nobody is told twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from sqlalchemy.event import listen
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from flask_zeus_cvs import (
    EventData,
    State,
    deadline_near,
    fulfillment_ready,
    payment_expired,
    payment_received,
)
from flask_zeus_cvs import ledger as module
from flask_zeus_cvs.deadlines import Sweep
from flask_zeus_cvs.exceptions import NotSent, Unanswered
from flask_zeus_cvs.ledger import Ledger
from flask_zeus_cvs.models import (
    Application,
    Base,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
    Verdict,
)
from flask_zeus_cvs.outbox import Summary
from flask_zeus_cvs.payments import Obstacle
from tests.conftest import Shop, ShopMaker, accepted
from tests.database.test_expire import MIDNIGHT, START, accepted_until
from tests.database.test_outbox import later
from tests.database.test_receive import kinds, lost, notice, reasons
from tests.waiting import until


def open_reviews(shop: Shop) -> list[Review]:
    return [review for review in shop.all(Review) if review.resolved_at is None]


def quiet(shop: Shop) -> None:
    """Deliver nothing by itself: as if the worker had died after each commit."""
    shop.payments._outbox.after_commit = lambda: None  # type: ignore[method-assign]


# Decisions and shipments


@pytest.mark.parametrize("decide_first", [True, False])
def test_money_that_a_person_accepted_ships_at_05(make_shop: ShopMaker, decide_first: bool) -> None:
    """FULFILL_ON=sale_confirmed: a yes before or after the 05 ships once, and lowers no confirmed sale."""
    shop = make_shop(FULFILL_ON="sale_confirmed")
    payment, _ = shop.awaiting()
    shop.zeus.close(payment)
    shop.db.session.commit()
    shop.zeus.receive(notice("04"))
    for step in ("decide", "05") if decide_first else ("05", "decide"):
        if step == "05":
            shop.zeus.receive(notice("05"))
        for review in open_reviews(shop) if step == "decide" else ():
            shop.zeus.resolve(review, "received", by="Sato")
    assert shop.all(Application)[0].state is State.CONFIRMED
    assert [str(kind) for kind in kinds(shop)].count("fulfillment_ready") == 1
    assert open_reviews(shop) == []


def test_each_subscriber_gets_its_shipment_in_the_end(shop: Shop) -> None:
    """Law 8: one was told, the other failed and was overtaken by a 06; once money is accepted the other hears."""
    heard: list[str] = []
    broken = [True]

    def mail(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append("mail")

    def ship(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        if broken:
            raise RuntimeError("printer")
        heard.append("ship")

    fulfillment_ready.connect(mail, shop.app)
    fulfillment_ready.connect(ship, shop.app)
    shop.awaiting()
    sendid = shop.gateway.sent[0].sendid
    shop.zeus.receive(notice("04"))
    shop.zeus.receive(notice("06"))
    with later(timedelta(hours=1)):
        assert shop.zeus.deliver_now() == Summary(obsolete=1)
    broken.clear()
    shop.zeus.receive(notice("01", "0009-9", sendid=sendid))
    shop.zeus.receive(notice("04", "0009-9", sendid=sendid))
    for review in open_reviews(shop):
        shop.zeus.resolve(review, "received", by="Sato")
    assert heard == ["mail", "ship"]
    assert [str(kind) for kind in kinds(shop)].count("fulfillment_ready") == 1


def test_a_shipment_is_not_withdrawn_while_the_money_is_there(shop: Shop) -> None:
    """04, then 12 before anything was sent: the money is held, so the goods ship."""
    shipped: list[int] = []

    def ship(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shipped.append(event.id)

    fulfillment_ready.connect(ship, shop.app)
    shop.awaiting()
    quiet(shop)
    shop.zeus.receive(notice("04"))
    shop.zeus.receive(notice("12"))
    shop.zeus.deliver_now()
    assert len(shipped) == 1


def test_a_shop_that_nobody_ships_for_is_told(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A process without receivers says so, loudly: its shipment would be lost."""
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert "no receiver of fulfillment_ready is connected" in caplog.text


def test_taken_back_again_after_a_decision_is_a_review(shop: Shop) -> None:
    """06, 04 and a person's yes, then the 06 again: once, somebody looks; further repeats mean nothing."""
    payment, _ = shop.awaiting()
    for status in ("04", "06", "04"):
        shop.zeus.receive(notice(status))
    (review,) = open_reviews(shop)
    shop.zeus.resolve(review, "received", by="Sato")
    for _ in range(2):
        shop.zeus.receive(notice("06"))
    assert [str(review.reason) for review in open_reviews(shop)] == ["cancelled_again"]
    assert shop.state(payment) is State.RECEIVED


# Expiry


def test_the_last_refusal_tells_of_an_earlier_expiry(shop: Shop) -> None:
    """One slip expired while another outcome was unknown; when that fails too, the shop hears that it is over."""
    payment, sendid = lost(shop)
    row = shop.all(Application)[0]
    row.created_at = row.created_at.replace(year=2020)
    shop.db.session.commit()
    shop.gateway.answers = [accepted("0002-2")]
    shop.submit(payment)
    shop.zeus.receive(notice("03", "0002-2"))
    assert "payment_expired" not in kinds(shop)
    shop.zeus.receive(notice("02", "0001-1", sendid=sendid))
    assert [str(kind) for kind in kinds(shop)].count("payment_expired") == 1


def test_an_expiry_waits_while_the_customer_applies_again(shop: Shop) -> None:
    """Told of only when the new try came to nothing; withdrawn when it brought a new slip."""
    heard: list[int] = []

    def restock(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(event.id)

    payment_expired.connect(restock, shop.app)
    payment, _ = shop.awaiting()
    quiet(shop)
    shop.zeus.receive(notice("03"))
    shop.gateway.before_answer = lambda request: shop.zeus.deliver_now()
    shop.gateway.answers = [NotSent("refused")]
    shop.submit(payment)
    assert heard == []
    with later(timedelta(minutes=16)):
        assert shop.zeus.deliver_now() == Summary(done=1)
    assert len(heard) == 1
    assert shop.all(Delivery)[0].attempts == 1


def test_a_new_slip_withdraws_an_expiry(shop: Shop) -> None:
    """The customer was faster than the delivery: nothing is restocked, and the next expiry is told of anew."""
    heard: list[int] = []

    def restock(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(event.id)

    payment_expired.connect(restock, shop.app)
    payment, _ = shop.awaiting()
    quiet(shop)
    shop.zeus.receive(notice("03"))
    shop.gateway.answers = [accepted("0002-2")]
    shop.submit(payment)
    shop.zeus.deliver_now()
    assert heard == []
    shop.zeus.receive(notice("03", "0002-2"))
    shop.zeus.deliver_now()
    assert len(heard) == 1


def test_who_has_paid_is_not_reminded(shop: Shop) -> None:
    """Money on the old slip of a re-issue: no reminder invites a second payment, not even one already queued."""
    heard: list[int] = []

    def remind(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        heard.append(event.id)

    deadline_near.connect(remind, shop.app)
    shop.gateway.answers = [accepted_until()]
    with time_machine.travel(START, tick=False) as clock:
        shop.submit(shop.payment())
        sendid = shop.gateway.sent[0].sendid
        shop.zeus.receive(notice("01", "0009-9", sendid=sendid, pay_limit="20261201"))
        shop.zeus.receive(notice("11", "0001-1", sendid=sendid))
        clock.move_to(MIDNIGHT - timedelta(hours=2))
        assert shop.zeus.expire() == Sweep()
    assert heard == []


def test_a_queued_reminder_is_withdrawn_by_money(make_shop: ShopMaker) -> None:
    """Paid between the sweep and the delivery: no reminder."""
    shop = make_shop(DELIVERY="deferred")

    def remind(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        raise AssertionError("reminded")

    deadline_near.connect(remind, shop.app)
    shop.gateway.answers = [accepted_until()]
    with time_machine.travel(START, tick=False) as clock:
        shop.submit(shop.payment())
        clock.move_to(MIDNIGHT - timedelta(hours=2))
        assert shop.zeus.expire() == Sweep(reminded=1)
        shop.zeus.receive(notice("04"))
        assert shop.zeus.deliver_now() == Summary(obsolete=1)


def test_the_sweep_does_not_look_at_what_is_paid(shop: Shop) -> None:
    """Paid offers past their end are not touched again at every sweep."""
    with time_machine.travel(START, tick=False) as clock:
        shop.awaiting(expires_at=START + timedelta(hours=1))
        shop.zeus.receive(notice("04"))
        clock.shift(timedelta(days=1))
        found = shop.payments._deadlines._run_out()
        assert shop.payments._database.read(lambda session: session.scalars(found).all()) == []


def test_a_06_is_seen_after_an_expired_offer(shop: Shop) -> None:
    """Expired, paid late, taken back: the payment says cancelled."""
    with time_machine.travel(START, tick=False) as clock:
        payment, _ = shop.awaiting(expires_at=START + timedelta(hours=1))
        shop.zeus.receive(notice("03"))
        clock.shift(timedelta(days=1))
        shop.zeus.expire()
        assert shop.state(payment) is State.EXPIRED
        shop.zeus.receive(notice("04"))
        assert shop.state(payment) is State.RECEIVED
        shop.zeus.receive(notice("06"))
        assert shop.state(payment) is State.CANCELLED


def test_an_endless_deadline_harms_nothing(shop: Shop) -> None:
    """Never reject an answer for its pay_limit: the last day of the calendar has no day after it."""
    shop.gateway.answers = [accepted_until("99991231")]
    application = shop.submit(shop.payment())
    assert application.pay_limit == date(9999, 12, 31)
    assert application.deadline is None


# Two payments of one order


def test_a_late_payment_for_a_replaced_offer_does_not_ship(shop: Shop) -> None:
    """once made a second payment after the first had ended: money for the first is a review, and ships nothing."""
    with time_machine.travel(START, tick=False) as clock:
        first, _ = shop.awaiting(reference="A-1", once=True, expires_at=START + timedelta(hours=1))
        shop.zeus.receive(notice("03"))
        clock.shift(timedelta(hours=2))
        second, _ = shop.awaiting(order_no="0002-2", reference="A-1", once=True)
        assert second.id != first.id
        shop.zeus.receive(notice("04", "0001-1"))
        shop.zeus.receive(notice("04", "0002-2"))
    assert [str(kind) for kind in kinds(shop)].count("fulfillment_ready") == 1
    assert reasons(shop) == ["paid_after_close"]


def test_a_13_for_an_old_slip_does_not_hide_an_unknown_one(shop: Shop) -> None:
    """The customer whose answer was lost may apply again in time, whatever is told of an old slip."""
    with time_machine.travel(START, tick=False) as clock:
        payment, sendid = lost(shop)
        shop.zeus.receive(notice("13", "0000-0", sendid=sendid))
        assert shop.state(payment) is State.UNKNOWN
        assert shop.payments.obstacle(payment) is Obstacle.CHECKING
        clock.shift(901)
        assert shop.payments.obstacle(payment) is None
    shop.zeus.receive(f"sendid={sendid}&status=04&money=3000".encode())
    assert shop.all(Application)[0].state is State.RECEIVED


# Waiting notices


def test_a_waiting_notice_survives_a_worker_that_dies(
    make_shop: ShopMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken in the transaction that stores its order number; nothing afterwards is needed."""
    shop = make_shop()
    payment = shop.payment()
    shop.gateway.before_answer = lambda request: shop.zeus.receive(notice("04"))

    def die() -> None:
        raise KeyboardInterrupt

    def after_the_answer() -> None:
        if len(shop.gateway.sent) and shop.all(Application)[0].order_no:
            die()

    shop.payments._outbox.after_commit = after_the_answer  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        shop.submit(payment)
    assert shop.state(payment) is State.RECEIVED
    assert open_reviews(shop) == []


def test_the_sweep_finds_what_still_waits(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept as unknown in the same moment in which the answer was stored: the sweep takes it."""
    payment, _ = shop.awaiting()
    with monkeypatch.context() as early:
        early.setattr(Ledger, "lock_for_notice", lambda *_: (None, None))
        early.setattr(shop.payments._receiving, "look_again", lambda order_no: None)
        shop.zeus.receive(notice("04"))
    assert shop.all(Notification)[0].verdict is Verdict.WAITING
    shop.zeus.expire()
    assert shop.all(Notification)[0].verdict is Verdict.APPLIED
    assert shop.state(payment) is State.RECEIVED
    assert open_reviews(shop) == []


def test_what_waits_with_an_adopted_notice_is_taken_too(shop: Shop) -> None:
    """A person says whose the 04 is: the 06 that waited beside it takes the money back."""
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("04", "9999-9"))
    shop.zeus.receive(notice("06", "9999-9"))
    review = open_reviews(shop)[0]
    shop.zeus.resolve(review, "received", by="Sato", payment=payment)
    assert shop.all(Application)[-1].state is State.CANCELLED
    assert open_reviews(shop) == []


# Answers and hosts


def test_a_late_not_sent_still_frees_the_payment(shop: Shop) -> None:
    """A worker that was slow beyond belief knows all the same that nothing was sent."""
    with time_machine.travel(START, tick=False) as clock:
        shop.gateway.answers = [NotSent("refused")]
        shop.gateway.before_answer = lambda request: clock.shift(200)
        assert shop.submit(shop.payment()).state is State.FAILED


def test_a_reissue_gives_no_attempt_back(shop: Shop) -> None:
    """What never counted as an attempt is not given back when it fails for maintenance."""
    payment, _ = shop.awaiting()
    sendid = shop.gateway.sent[0].sendid
    shop.zeus.receive(notice("02", "0009-9", sendid=sendid, error_code="0013"))
    shop.db.session.refresh(payment)
    assert payment.attempts == 1


def test_the_callers_changes_survive_submit(make_shop: ShopMaker) -> None:
    """What a caller has changed on its payment and not flushed is still there after submit."""
    shop = make_shop()
    payment = shop.payment()
    payment.return_url = "/orders/2"
    shop.submit(payment)
    assert payment.return_url == "/orders/2"


def test_a_hosts_own_begin_refuses_no_notice(make_shop: ShopMaker, tmp_path: Any) -> None:
    """A host that emits BEGIN itself, as SQLAlchemy's recipe for SQLite has it, and reads before our verb."""
    shop = make_shop()
    engine = shop.db.engine
    shop.db.session.remove()
    with engine.connect() as connection:
        connection.exec_driver_sql("pragma journal_mode=wal")
    listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    engine.dispose()
    payment, _ = shop.awaiting()
    shop.db.session.scalars(sa.select(Payment)).all()
    shop.zeus.receive(notice("04"))
    shop.db.session.rollback()
    assert shop.state(payment) is State.RECEIVED


@pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True)
def test_a_lock_held_elsewhere_ends_in_an_error(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 5: a transaction that never ends makes a notice fail in time for ZEUS to mail the shop, not hang."""
    soon = sa.text("set_config('lock_timeout', '100ms', true) IS NOT NULL")
    monkeypatch.setattr("flask_zeus_cvs.ledger.BOUND_ON_WAITING", soon)
    module._lock.cache_clear()
    payment, _ = shop.awaiting()
    with Session(shop.db.engine) as other:
        other.execute(sa.update(Payment).values(attempts=1))
        with pytest.raises(OperationalError, match="lock timeout"):
            shop.zeus.receive(notice("04"))
    module._lock.cache_clear()
    shop.zeus.receive(notice("04"))
    assert shop.state(payment) is State.RECEIVED


def test_a_busy_sqlite_is_waited_for(make_shop: ShopMaker) -> None:
    """A writer that holds SQLite's lock past the driver's own patience delays a notice, and does not refuse it."""
    shop = make_shop()
    shop.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {}
    shop.awaiting()
    with shop.payments._database.engine.connect() as probe:
        path = probe.connection.driver_connection.execute("pragma database_list").fetchone()[2]  # type: ignore[union-attr]
    impatient = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.05})
    shop.payments._database._engine = impatient
    started, free = threading.Event(), threading.Event()

    def hold() -> None:
        with shop.app.app_context(), shop.db.engine.connect() as connection:
            connection.execute(sa.update(Payment).values(attempts=1))
            started.set()
            free.wait(10)
            connection.rollback()

    holder = threading.Thread(target=hold)
    holder.start()
    assert started.wait(10)
    tries: list[int] = []
    lost_race = shop.payments._database._prepare

    def counting(connection: sa.Connection, **how: Any) -> None:
        tries.append(1)
        if len(tries) == 3:
            free.set()
            holder.join(10)
        lost_race(connection, **how)

    shop.payments._database._prepare = counting  # type: ignore[method-assign]
    shop.zeus.receive(notice("04"))
    impatient.dispose()
    assert shop.all(Application)[0].state is State.RECEIVED


def test_an_error_after_the_commit_changes_no_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 5: once the notice is stored, what fails later is logged and swept up, and the answer stands."""
    shop.awaiting()

    def away(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("select 1", {}, ConnectionError("away"))

    monkeypatch.setattr("flask_zeus_cvs.receiving.write_each", away)
    monkeypatch.setattr(shop.payments._outbox, "deliver_due", away)
    assert shop.zeus.receive(notice("04", "9999-9")).verdict is Verdict.WAITING
    assert shop.zeus.receive(notice("04")).verdict is Verdict.APPLIED


def test_a_receiver_that_exits_is_a_failure(shop: Shop) -> None:
    """Law 5: sys.exit in a receiver ends nothing but its own call."""

    def leave(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        raise SystemExit(1)

    payment_received.connect(leave, shop.app)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    (delivery,) = shop.all(Delivery)
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 1)


def test_a_new_process_delivers_what_the_last_one_left(make_shop: ShopMaker, database_uri: str) -> None:
    """With DELIVERY=background any request of the host starts the thread: what is due needs no new notice."""
    shop = make_shop(database_uri, DELIVERY="background")

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        pass

    payment_received.connect(listen, shop.app)
    shop.app.add_url_rule("/", view_func=lambda: "a page")
    shop.awaiting()
    quiet(shop)
    shop.zeus.receive(notice("04"))
    shop.payments._outbox.stop()
    shop.db.session.remove()
    assert shop.app.test_client().get("/").status_code == 200
    until(lambda: [each.state for each in shop.all(Delivery)] == [DeliveryState.DONE])


def test_a_receiver_that_is_gone_is_named_in_the_log(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A renamed receiver is found out: its name is logged once, and the command fails."""

    def listen(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        pass

    payment_received.connect(listen, shop.app, name="shop.old_name")
    shop.awaiting()
    quiet(shop)
    shop.zeus.receive(notice("04"))
    payment_received.disconnect(listen, shop.app)
    shop.payments._outbox.name_stranded()
    shop.payments._outbox.name_stranded()
    assert caplog.text.count("shop.old_name") == 1
    shop.db.session.remove()
    assert shop.app.test_cli_runner().invoke(args=["zeus-cvs", "deliver"]).exit_code == 1


def test_the_log_calls_a_person_once(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A transaction that was run again has said nothing the first time."""
    shop.awaiting()
    runs: list[int] = []
    take = shop.payments._receiving._take

    def losing(*args: Any) -> Any:
        receipt = take(*args)
        runs.append(1)
        if len(runs) == 1:
            raise IntegrityError("insert", {}, ConnectionError("lost a race"))
        return receipt

    shop.payments._receiving._take = losing  # type: ignore[assignment,method-assign]
    shop.zeus.receive(notice("04", money=1))
    assert len(runs) == 2
    assert caplog.text.count("A person must look: wrong_amount") == 1
    assert len(shop.all(Event)) == 2


def test_unknown_then_silence_is_over_in_the_end(shop: Shop) -> None:
    """An outcome that stays unknown is swept, told of once, and frees the customer."""
    shop.gateway.answers = [Unanswered("cut")]
    with time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC), tick=False) as clock:
        payment = shop.payment()
        shop.submit(payment)
        clock.shift(timedelta(days=61))
        assert shop.zeus.expire() == Sweep(expired=1)
        assert shop.zeus.expire() == Sweep()
    assert [str(kind) for kind in kinds(shop)] == ["payment_expired"]


@pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", ["zeus_cvs_notifications", "zeus_cvs_reviews", "zeus_cvs_memos"])
def test_no_lock_is_waited_for_without_a_bound(
    shop: Shop, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 5: whatever row somebody holds, a repeat that belongs to no payment, a decision about it and a word on
    silence fail in time, as what locks a payment does."""
    monkeypatch.setattr("flask_zeus_cvs.ledger.WAIT_NO_LONGER", sa.text("SET LOCAL lock_timeout = '100ms'"))
    shop.zeus.receive(notice("04", "0099-9", sendid="nobody"))
    shop.payments.tell_of_silence("no notices")
    (review,) = open_reviews(shop)
    works: dict[str, Callable[[], object]] = {
        "zeus_cvs_notifications": lambda: shop.zeus.receive(notice("04", "0099-9", sendid="nobody")),
        "zeus_cvs_reviews": lambda: shop.zeus.resolve(review.id, "ignored", by="Sato"),
        "zeus_cvs_memos": lambda: shop.payments.tell_of_silence("no notices still"),
    }
    shop.db.session.remove()
    with shop.db.engine.connect() as other:
        other.execute(Base.metadata.tables[table].select().with_for_update()).all()
        giving_up = threading.Timer(10, other.rollback)
        giving_up.start()
        with pytest.raises(OperationalError, match="lock timeout"):
            works[table]()
        giving_up.cancel()


def test_what_a_verb_holds_names_nobody(make_shop: ShopMaker) -> None:
    """Law 11: a debugger or an error tracker that shows the variables of a frame shows no customer."""
    shop = make_shop()
    payment, _ = shop.awaiting()
    held: list[str] = []

    def work(ledger: Ledger) -> None:
        ledger.lock(payment.id)
        held.append(repr(vars(ledger)))

    module.write(shop.payments.database, work)
    assert len(held) == 1
    assert "taro@example.com" not in held[0]
