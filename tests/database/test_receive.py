"""Receive: every notice is kept, counts once, and what does not fit is a person's to look at."""

from __future__ import annotations

import hashlib
import logging
from datetime import date
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from flask_zeus_cvs import EventKind, State, UnreadableNotice
from flask_zeus_cvs.exceptions import Unanswered
from flask_zeus_cvs.lifecycle import NOTICES, STATES, TABLE, events
from flask_zeus_cvs.models import Application, Event, Notification, Payment, Review, Verdict
from flask_zeus_cvs.protocol.messages import ApplicationRequest
from tests.conftest import Shop, ShopMaker, accepted, all_at_once


def notice(status: str, order_no: str = "0001-1", money: int | None = 3000, **more: str) -> bytes:
    """A notice as ZEUS sends it, spelled out."""
    pairs = {"clientip": "1234567890", "order_no": order_no, "status": status, **more}
    if money is not None:
        pairs["money"] = str(money)
    return "&".join(f"{name}={value}" for name, value in pairs.items()).encode("ascii")


def kinds(shop: Shop) -> list[EventKind]:
    return [event.kind for event in shop.all(Event)]


def reasons(shop: Shop) -> list[str]:
    return [str(review.reason) for review in shop.all(Review)]


@pytest.mark.parametrize("state", STATES)
def test_each_notice_in_each_state(sqlite_shop: Shop, state: State) -> None:
    """Each cell of the table, through the database: the state, a review where the table says so, the events."""
    shop = sqlite_shop
    for given in NOTICES:
        order_no = f"cell-{given}"
        _payment, application = shop.awaiting(order_no=order_no, reference=order_no)
        shop.db.session.get_one(Application, application.id).stored_state = state
        _payment.expiry_told_at = _payment.created_at if state is State.EXPIRED else None
        shop.db.session.execute(sa.delete(Event))
        shop.db.session.execute(sa.delete(Review))
        shop.db.session.commit()
        expected = TABLE[state, given]
        receipt = shop.zeus.receive(notice(given.value, order_no))
        after = expected.state or state
        assert shop.all(Application)[-1].state is after, given
        assert bool(shop.all(Review)) is expected.review, given
        heard = [kind for kind in kinds(shop) if kind is not EventKind.REVIEW_REQUIRED]
        own = [kind for kind in heard if kind is not EventKind.FULFILLMENT_READY]
        assert own == list(events(state, given, after)), given
        ships = after in (State.RECEIVED, State.CONFIRMED) and after is not state
        assert (EventKind.FULFILLMENT_READY in heard) is ships, given
        verdict = (
            Verdict.REVIEW if expected.review else Verdict.NO_EFFECT if after is state else Verdict.APPLIED
        )
        assert receipt.verdict is verdict, given


def test_a_payment_and_its_sale(shop: Shop) -> None:
    """04 then 05: received, goods may ship, confirmed; each heard once."""
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("01"))
    shop.zeus.receive(notice("04"))
    assert shop.state(payment) is State.RECEIVED
    shop.zeus.receive(notice("05"))
    assert shop.state(payment) is State.CONFIRMED
    assert kinds(shop) == ["application_accepted", "payment_received", "fulfillment_ready", "sale_confirmed"]
    assert [row.verdict for row in shop.all(Notification)] == ["no_effect", "applied", "applied"]


def test_a_repeat_is_counted_and_changes_nothing(shop: Shop) -> None:
    """Law 6: the same notice in another spelling (order, method, hex case, extra parameters) is the same notice."""
    shop.awaiting()
    first = shop.zeus.receive(notice("04"))
    again = shop.zeus.receive(b"money=3000&status=%30%34&order_no=0001%2d1&username=%83%84&x=1")
    third = shop.zeus.receive(b"money=3000&status=04&order_no=0001%2D1&sendid=")
    assert (first.repeat, again.repeat, third.repeat) == (False, True, True)
    (row,) = shop.all(Notification)
    assert row.times == 3
    assert row.raw == notice("04")
    assert row.first_at <= row.last_at
    assert kinds(shop).count(EventKind.PAYMENT_RECEIVED) == 1
    assert reasons(shop) == []


@pytest.mark.parametrize("status", ["04", "05"])
def test_money_told_again_after_a_cancellation_is_one_review(shop: Shop, status: str) -> None:
    """Law 6's exception: an identical 04 or 05 that comes while the state is cancelled raises one review."""
    _payment, application = shop.awaiting()
    shop.zeus.receive(notice(status))
    row = shop.db.session.get_one(Application, application.id)
    row.stored_state = State.CANCELLED
    shop.db.session.commit()
    for _ in range(3):
        assert shop.zeus.receive(notice(status)).repeat
    assert reasons(shop) == ["repeated_after_cancel"]
    assert shop.all(Application)[0].state is State.CANCELLED


@pytest.mark.parametrize("status", ["11", "12"])
def test_money_told_again_after_13_is_one_review(shop: Shop, status: str) -> None:
    """The same for 11 and 12 while the state is cancelled_after_cancel."""
    _payment, application = shop.awaiting()
    shop.zeus.receive(notice(status))
    row = shop.db.session.get_one(Application, application.id)
    row.stored_state = State.CANCELLED_AFTER_CANCEL
    shop.db.session.commit()
    shop.zeus.receive(notice(status))
    shop.zeus.receive(notice(status))
    assert reasons(shop) == ["repeated_after_cancel"]


def test_a_wrong_amount_is_a_review_not_a_payment(shop: Shop) -> None:
    """Law 9: a money that differs pays nothing; the right one, if it comes too, does."""
    payment, _ = shop.awaiting()
    receipt = shop.zeus.receive(notice("04", money=300))
    assert receipt.verdict is Verdict.REVIEW
    assert shop.state(payment) is State.AWAITING_PAYMENT
    assert reasons(shop) == ["wrong_amount"]
    assert EventKind.FULFILLMENT_READY not in kinds(shop)
    shop.zeus.receive(notice("04", money=3000))
    assert shop.state(payment) is State.RECEIVED


def test_a_missing_amount_is_accepted(shop: Shop) -> None:
    """Law 7: shops choose the parameters, so money may be missing."""
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("04", money=None))
    assert shop.state(payment) is State.RECEIVED


@pytest.mark.parametrize(
    "odd",
    [
        "username=%81",
        "username=%EF%BC%A1",
        "telno=abc",
        "email=nobody",
        "pay_cvs=D999",
        "pay_no1=%00",
        "pay_limit=20260231",
        "error_code=xyz",
        "clientip=",
        "clientip=12345",
        "sendpoint=%ff%fe",
        "sendid=%E3%81%82",
    ],
)
def test_a_fault_elsewhere_harms_nothing(shop: Shop, odd: str) -> None:
    """Law 7: only status, order_no, sendid and money decide; an odd value elsewhere is recorded."""
    payment, _ = shop.awaiting()
    shop.zeus.receive(b"order_no=0001-1&status=04&money=3000&" + odd.encode())
    assert shop.state(payment) is State.RECEIVED
    (row,) = shop.all(Notification)
    name, value = odd.split("=")
    assert row.faults == (name if value else "")


def test_an_unknown_order_is_kept_and_reviewed_once(shop: Shop) -> None:
    """Law 7: money for an order that nobody knows is kept, a person is called, and a repeat is only counted."""
    shop.awaiting()
    shop.zeus.receive(notice("04", "9999-9"))
    shop.zeus.receive(notice("04", "9999-9"))
    (row,) = shop.all(Notification)
    assert (row.verdict, row.times, row.payment_id) == (Verdict.WAITING, 2, None)
    assert reasons(shop) == ["unknown_order"]
    (event,) = (each for each in shop.all(Event) if each.kind is EventKind.REVIEW_REQUIRED)
    assert event.payment_id is None
    assert event.notification_id == row.id


def test_another_merchants_notice_changes_nothing(shop: Shop) -> None:
    """Law 7: another clientip is kept and reviewed, and does not hide the real notice that comes after it."""
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("04", clientip="9999999999"))
    assert shop.state(payment) is State.AWAITING_PAYMENT
    assert reasons(shop) == ["foreign_merchant"]
    shop.zeus.receive(notice("04"))
    assert shop.state(payment) is State.RECEIVED


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        b"status=04",
        b"order_no=0001-1&status=99",
        b"order_no=0001-1&status=04&money=3e3",
        b"\xff\x00=",
    ],
)
def test_an_unreadable_notice_is_kept_with_its_bytes(shop: Shop, raw: bytes) -> None:
    """Law 7: bytes kept, one review however often it comes, nothing changed."""
    payment, _ = shop.awaiting()
    for _ in range(2):
        with pytest.raises(UnreadableNotice):
            shop.zeus.receive(raw)
    (row,) = shop.all(Notification)
    assert (row.raw, row.verdict, row.times) == (raw, Verdict.UNREADABLE, 2)
    assert reasons(shop) == ["unreadable"]
    assert shop.state(payment) is State.AWAITING_PAYMENT


def test_payment_numbers_are_no_key(shop: Shop) -> None:
    """Law 12: the same payment numbers on two applications; a notice finds its own by order_no."""
    first, _ = shop.awaiting(order_no="0001-1", reference="A-1")
    second, _ = shop.awaiting(order_no="0002-2", reference="A-2")
    shop.zeus.receive(notice("04", "0002-2", pay_no1="1234567890123"))
    shop.db.session.refresh(first)
    shop.db.session.refresh(second)
    assert (first.state, second.state) == (State.AWAITING_PAYMENT, State.RECEIVED)


def lost(shop: Shop) -> tuple[Payment, str]:
    """A payment whose answer was lost, and its sendid."""
    payment = shop.payment()
    shop.gateway.answers = [Unanswered("cut")]
    shop.submit(payment)
    return payment, shop.gateway.sent[-1].sendid


def test_a_lost_answer_is_recovered_by_a_01(shop: Shop) -> None:
    """Law 4: a notice with our sendid brings the order number, the payment numbers and the deadline."""
    payment, sendid = lost(shop)
    raw = notice("01", "0007-7", sendid=sendid, pay_no1="123456", pay_no2="654321", pay_limit="20991231")
    assert shop.zeus.receive(raw).verdict is Verdict.APPLIED
    assert shop.state(payment) is State.AWAITING_PAYMENT
    found = payment.application
    assert found is not None
    assert (found.order_no, found.pay_no1, found.pay_no2) == ("0007-7", "123456", "654321")
    assert found.pay_limit == date(2099, 12, 31)
    assert kinds(shop) == ["application_accepted"]


def test_a_payment_alone_recovers_a_lost_answer(shop: Shop) -> None:
    """A 04 as the first we hear: the slip is announced, the money counts, the goods ship."""
    payment, sendid = lost(shop)
    shop.zeus.receive(notice("04", "0007-7", sendid=sendid))
    assert shop.state(payment) is State.RECEIVED
    assert kinds(shop) == ["application_accepted", "payment_received", "fulfillment_ready"]


@pytest.mark.parametrize("status", ["01", "04", "05"])
def test_a_notice_overtakes_the_answer(shop: Shop, status: str) -> None:
    """The notice comes while the answer is on its way: the answer fills blanks and lowers nothing."""
    payment = shop.payment()

    def overtake(request: ApplicationRequest) -> None:
        shop.zeus.receive(notice(status, "0001-1", sendid=request.sendid))

    shop.gateway.before_answer = overtake
    shop.gateway.answers = [accepted("0001-1", "777777")]
    application = shop.submit(payment)
    wanted = {"01": State.AWAITING_PAYMENT, "04": State.RECEIVED, "05": State.CONFIRMED}[status]
    assert application.state is wanted
    assert application.pay_no1 == "777777"
    assert kinds(shop).count(EventKind.APPLICATION_ACCEPTED) == 1
    assert reasons(shop) == []


def test_a_notice_without_sendid_overtakes_the_answer(shop: Shop) -> None:
    """Law 12: nobody knows its order number yet, so it is kept, and taken again when the answer stores it."""
    payment = shop.payment()
    shop.gateway.before_answer = lambda request: shop.zeus.receive(notice("04", "0001-1"))
    shop.gateway.answers = [accepted("0001-1")]
    shop.submit(payment)
    assert shop.state(payment) is State.RECEIVED
    assert EventKind.FULFILLMENT_READY in kinds(shop)
    (row,) = shop.all(Notification)
    assert (row.verdict, row.payment_id) == (Verdict.APPLIED, payment.id)
    (review,) = shop.all(Review)
    assert review.reason == "unknown_order"
    assert review.resolved_at is not None


def test_a_declined_answer_after_a_payment_is_a_review(shop: Shop) -> None:
    """An answer never lowers what a notice has set."""
    payment = shop.payment()
    shop.gateway.before_answer = lambda request: shop.zeus.receive(
        notice("04", "0001-1", sendid=request.sendid)
    )
    shop.gateway.answers = [b"rel = failure_order\nerror_code = 900000\n"]
    assert shop.submit(payment).state is State.RECEIVED
    assert reasons(shop) == ["answer_contradicts"]


def test_an_answer_with_another_order_number_is_a_review(shop: Shop) -> None:
    """Law 12: the bound number stays, nothing of the other answer is stored."""
    payment = shop.payment()
    shop.gateway.before_answer = lambda request: shop.zeus.receive(
        notice("01", "0005-5", sendid=request.sendid)
    )
    shop.gateway.answers = [accepted("0006-6", "666666")]
    application = shop.submit(payment)
    assert (application.order_no, application.pay_no1) == ("0005-5", "")
    assert reasons(shop) == ["order_no_differs"]


def test_what_is_there_is_never_overwritten(shop: Shop) -> None:
    """Law 12: a later notice with other payment numbers or another deadline changes neither."""
    _, application = shop.awaiting()
    shop.zeus.receive(notice("01", pay_no1="999", pay_limit="20300101"))
    (found,) = shop.all(Application)
    assert (found.pay_no1, found.pay_limit) == (application.pay_no1, application.pay_limit)


@pytest.mark.parametrize("status", ["01", "04", "05"])
def test_a_reissue_replaces_the_old_slip(shop: Shop, status: str) -> None:
    """Law 12: a known sendid with a new order number is a new application; the old one is superseded."""
    payment, _application = shop.awaiting()
    sendid = shop.gateway.sent[0].sendid
    receipt = shop.zeus.receive(notice(status, "0009-9", sendid=sendid, pay_cvs="D030", pay_no1="42"))
    assert receipt.verdict is Verdict.APPLIED
    old, new = shop.all(Application)
    assert old.state is State.SUPERSEDED
    assert (new.order_no, new.store, new.pay_no1, new.sendid) == ("0009-9", "D030", "42", sendid)
    assert new.state is {"01": State.AWAITING_PAYMENT, "04": State.RECEIVED, "05": State.CONFIRMED}[status]
    shop.db.session.refresh(payment)
    assert payment.application is not None
    assert payment.application.id == new.id
    assert payment.attempts == 1
    assert reasons(shop) == []


def test_the_old_slip_is_paid_after_a_reissue(shop: Shop) -> None:
    """11, 12, 13 for the superseded slip move that one alone; the new slip stays payable."""
    _payment, _ = shop.awaiting()
    sendid = shop.gateway.sent[0].sendid
    shop.zeus.receive(notice("01", "0009-9", sendid=sendid))
    shop.zeus.receive(notice("11", "0001-1", sendid=sendid))
    shop.zeus.receive(notice("12", "0001-1", sendid=sendid))
    old, new = shop.all(Application)
    assert (old.state, new.state) == (State.CONFIRMED_AFTER_CANCEL, State.AWAITING_PAYMENT)
    assert EventKind.FULFILLMENT_READY not in kinds(shop)
    assert "payment_received_after_cancel" in kinds(shop)
    assert "sale_confirmed_after_cancel" in kinds(shop)
    shop.zeus.receive(notice("04", "0009-9", sendid=sendid))
    assert reasons(shop) == ["paid_twice"]


def test_a_reissue_of_a_paid_slip_is_a_review(shop: Shop) -> None:
    """Money on the old slip stays where it is, and a person looks."""
    payment, _ = shop.awaiting()
    sendid = shop.gateway.sent[0].sendid
    shop.zeus.receive(notice("04"))
    shop.zeus.receive(notice("01", "0009-9", sendid=sendid))
    old, new = shop.all(Application)
    assert (old.state, new.state) == (State.RECEIVED, State.AWAITING_PAYMENT)
    assert shop.state(payment) is State.RECEIVED
    assert reasons(shop) == ["reissued_with_money"]


@pytest.mark.parametrize(("status", "state"), [("11", "received"), ("12", "confirmed"), ("13", "cancelled")])
def test_an_old_slip_we_never_heard_of(shop: Shop, status: str, state: str) -> None:
    """11–13 under another order number speak of an old slip: a row of its own, and nothing is superseded."""
    _payment, _application = shop.awaiting()
    sendid = shop.gateway.sent[0].sendid
    shop.zeus.receive(notice(status, "0000-0", sendid=sendid))
    mine, old = shop.all(Application)
    assert mine.state is State.AWAITING_PAYMENT
    assert (old.order_no, old.state) == ("0000-0", f"{state}_after_cancel")


def test_11_does_not_bind_an_application_without_a_number(shop: Shop) -> None:
    """Law 12: while our answer is lost, an 11 is about the old slip; the 01 of the new one binds ours."""
    _payment, sendid = lost(shop)
    shop.zeus.receive(notice("11", "0001-1", sendid=sendid))
    shop.zeus.receive(notice("01", "0002-2", sendid=sendid))
    mine, old = shop.all(Application)
    assert (mine.order_no, mine.state) == ("0002-2", State.AWAITING_PAYMENT)
    assert (old.order_no, old.state) == ("0001-1", State.RECEIVED_AFTER_CANCEL)


def test_a_second_reissue_replaces_the_first(shop: Shop) -> None:
    """Each re-issue supersedes the slip that stood; those before it stay superseded."""
    shop.awaiting()
    sendid = shop.gateway.sent[0].sendid
    shop.zeus.receive(notice("01", "0002-2", sendid=sendid))
    shop.zeus.receive(notice("01", "0003-3", sendid=sendid))
    assert [each.state for each in shop.all(Application)] == [
        State.SUPERSEDED,
        State.SUPERSEDED,
        State.AWAITING_PAYMENT,
    ]


def test_a_second_paid_application_is_a_review(shop: Shop) -> None:
    """Two slips of one payment paid: both payments heard, goods ship once, a person looks."""
    payment, _ = lost(shop)
    first_sendid = shop.gateway.sent[0].sendid
    row = shop.all(Application)[0]
    row.created_at = row.created_at.replace(year=2020)
    shop.db.session.commit()
    shop.gateway.answers = [accepted("0002-2")]
    shop.submit(payment)
    shop.zeus.receive(notice("04", "0002-2"))
    shop.zeus.receive(notice("04", "0001-1", sendid=first_sendid))
    assert [each.state for each in shop.all(Application)] == [State.RECEIVED, State.RECEIVED]
    assert kinds(shop).count(EventKind.PAYMENT_RECEIVED) == 2
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == 1
    assert reasons(shop) == ["paid_twice"]


def test_money_after_a_cancellation_is_a_review(shop: Shop) -> None:
    """A re-issued slip paid after a 06: its own event, a review, and no second shipment."""
    _payment, _ = shop.awaiting()
    sendid = shop.gateway.sent[0].sendid
    shop.zeus.receive(notice("04"))
    shop.zeus.receive(notice("06"))
    shop.zeus.receive(notice("01", "0009-9", sendid=sendid))
    shop.zeus.receive(notice("04", "0009-9", sendid=sendid))
    assert kinds(shop).count(EventKind.PAYMENT_RECEIVED) == 2
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == 1
    assert reasons(shop) == ["reissued_with_money", "paid_after_cancel"]


def test_money_for_a_closed_payment_is_a_review(shop: Shop) -> None:
    """After close the money is heard of and a person looks, but nothing ships, not at the 05 either."""
    payment, _ = shop.awaiting()
    shop.zeus.close(payment)
    shop.db.session.commit()
    shop.zeus.receive(notice("04"))
    shop.zeus.receive(notice("05"))
    assert shop.state(payment) is State.CLOSED
    assert payment.application is not None
    assert payment.application.state is State.CONFIRMED
    assert EventKind.FULFILLMENT_READY not in kinds(shop)
    assert reasons(shop) == ["paid_after_close"]


def test_a_payment_closed_between_04_and_05_does_not_ship(make_shop: ShopMaker) -> None:
    """With FULFILL_ON=sale_confirmed, a close after the 04 turns the 05 into a review."""
    shop = make_shop(FULFILL_ON="sale_confirmed")
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("04"))
    shop.zeus.close(payment)
    shop.db.session.commit()
    shop.zeus.receive(notice("05"))
    assert EventKind.FULFILLMENT_READY not in kinds(shop)
    assert reasons(shop) == ["paid_after_close"]


def test_goods_ship_at_05_if_the_shop_says_so(make_shop: ShopMaker) -> None:
    """FULFILL_ON=sale_confirmed waits for the sale."""
    shop = make_shop(FULFILL_ON="sale_confirmed")
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert EventKind.FULFILLMENT_READY not in kinds(shop)
    shop.zeus.receive(notice("05"))
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == 1


@pytest.mark.parametrize(("fulfills", "expected"), [(False, 0), (True, 1)])
def test_a_test_payment_ships_nothing(make_shop: ShopMaker, fulfills: bool, expected: int) -> None:
    """Goods for a test application ship only with TEST_FULFILLS; every event of it says test."""
    shop = make_shop(TEST_ID="12345678", TEST_TYPE="1", TEST_FULFILLS=fulfills)
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == expected
    assert all(event.test for event in shop.all(Event))


def test_an_expiry_is_told_only_when_nothing_is_left(shop: Shop) -> None:
    """payment_expired waits until the payment has neither a live slip nor money."""
    payment, _ = lost(shop)
    sendid = shop.gateway.sent[0].sendid
    row = shop.all(Application)[0]
    row.created_at = row.created_at.replace(year=2020)
    shop.db.session.commit()
    shop.gateway.answers = [accepted("0002-2")]
    shop.submit(payment)
    shop.zeus.receive(notice("03", "0001-1", sendid=sendid))
    assert EventKind.PAYMENT_EXPIRED not in kinds(shop)
    shop.zeus.receive(notice("03", "0002-2"))
    assert kinds(shop).count(EventKind.PAYMENT_EXPIRED) == 1


def test_eight_workers_with_one_notice(make_shop: ShopMaker, database_uri: str) -> None:
    """Law 6: the same 04 from eight threads at once is one notification, eight times, and one shipment."""
    shop = make_shop(database_uri, DELIVERY="deferred")
    shop.awaiting()
    for raw in (notice("04"), notice("04", "9999-9")):
        assert all_at_once(shop, [partial(shop.zeus.receive, raw)] * 8) == []
    assert [row.times for row in shop.all(Notification)] == [8, 8]
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == 1
    assert reasons(shop) == ["unknown_order"]


def test_distinct_notices_of_one_payment_at_once(make_shop: ShopMaker, database_uri: str) -> None:
    """04, 05, 01 and their repeats from many threads end as the table says for every order: confirmed."""
    shop = make_shop(database_uri, DELIVERY="deferred")
    shop.awaiting()
    works = [partial(shop.zeus.receive, notice(status)) for status in ("01", "04", "05") * 3]
    assert all_at_once(shop, works) == []
    assert shop.all(Application)[0].state is State.CONFIRMED
    assert sorted(row.times for row in shop.all(Notification)) == [3, 3, 3]
    assert kinds(shop).count(EventKind.FULFILLMENT_READY) == 1
    assert reasons(shop) == []


def test_logs_name_no_one(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Law 11: a notice's name, telephone number and address reach no log and no repr."""
    caplog.set_level(logging.DEBUG)
    shop.awaiting()
    raw = notice("05", money=1, telno="09099998888", email="hanako@example.jp", username="%83n%83i%83R")
    shop.zeus.receive(raw)
    shop.zeus.receive(notice("04", "8888-8", telno="09099998888", email="hanako@example.jp"))
    with pytest.raises(UnreadableNotice) as caught:
        shop.zeus.receive(b"status=zz&telno=09099998888&email=hanako@example.jp")
    shown = caplog.text + repr(shop.all(Notification)) + str(caught.value) + repr(caught.value)
    for secret in ("09099998888", "hanako", "ハナコ", "%83n"):
        assert secret not in shown


def test_the_identity_is_as_documented(shop: Shop) -> None:
    """Identity is (order_no or sendid, status, money), hashed: the unique key of the table."""
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    (row,) = shop.all(Notification)
    assert row.identity == hashlib.sha256(b"0001-1\n04\n3000").hexdigest()


def test_a_notice_by_sendid_alone(shop: Shop) -> None:
    """A shop that did not choose order_no among the parameters is served by sendid."""
    payment, _ = shop.awaiting()
    sendid = shop.gateway.sent[0].sendid
    shop.zeus.receive(f"sendid={sendid}&status=04&money=3000".encode())
    assert shop.state(payment) is State.RECEIVED


def test_it_fails_loudly_when_the_database_is_away(
    make_shop: ShopMaker, database_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 5: what could not be stored raises, so that the callback answers 500 and ZEUS mails the shop."""
    shop = make_shop(database_uri)
    shop.awaiting()

    def away(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("select 1", {}, ConnectionError("away"))

    monkeypatch.setattr(shop.payments._receiving, "_take", away)
    with pytest.raises(OperationalError):
        shop.zeus.receive(notice("04"))
    monkeypatch.undo()
    assert shop.all(Notification) == []
    shop.zeus.receive(notice("04"))
    assert len(shop.all(Notification)) == 1
