"""Submit: committed before it asks, asked once, and whatever comes back is sorted right."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine

from flask_zeus_cvs import Customer, InvalidCustomer, NotPayable, State
from flask_zeus_cvs.exceptions import NotSent, Unanswered
from flask_zeus_cvs.models import Application, Event, Payment, Review
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.protocol.messages import ApplicationRequest
from tests.conftest import CLIENT_IP, CUSTOMER, Shop, ShopMaker, accepted

DECLINED = b"rel = failure_order\norder_no =\npay_no1 =\npay_no2 =\npay_limit=\npay_url=\nerror_code=%s\n"


def test_an_accepted_application_shows_its_numbers(shop: Shop) -> None:
    """What ZEUS answers is stored under its fields, and the payment waits for its customer."""
    payment = shop.payment()
    shop.gateway.answers = [
        b"rel = Success_order\r\norder_no = 20261123-1.5\r\npay_no1 = 12345678\r\npay_no2 = 987654\r\n"
        b"pay_limit=20261201\r\npay_url=\r\nerror_code=\r\n"
    ]
    application = shop.submit(payment, "D002")
    assert application.state is State.AWAITING_PAYMENT
    assert application.order_no == "20261123-1.5"
    assert (application.pay_no1, application.pay_no2) == ("12345678", "987654")
    assert application.pay_limit == date(2026, 12, 1)
    assert application.deadline == datetime(2026, 12, 1, 15, tzinfo=UTC)
    assert payment.state is State.AWAITING_PAYMENT
    assert payment.application is not None
    assert payment.application.id == application.id
    assert [event.kind for event in shop.all(Event)] == ["application_accepted"]


def test_what_is_sent_is_the_payments_own(shop: Shop) -> None:
    """The amount is the server's, the sendid letters and digits, and details are normalized."""
    payment = shop.payment(299_999, sendpoint="campaign:7")
    shop.submit(payment, "D030", Customer("やまだ ﾀﾛｳ", "０９０−１２３４−５６７８", " taro@example.com "))
    (sent,) = shop.gateway.sent
    assert sent.money == 299_999
    assert sent.clientip == CLIENT_IP
    assert (sent.username, sent.telno, sent.email) == ("ヤマダ　タロウ", "09012345678", "taro@example.com")
    assert sent.pay_cvs is Store.FAMILYMART
    assert sent.sendid.isalnum()
    assert sent.sendid.isascii()
    assert len(sent.sendid) <= 25
    assert sent.sendpoint == "campaign:7"
    assert not sent.test


def test_the_application_is_committed_before_zeus_is_asked(shop: Shop) -> None:
    """Law 2: while ZEUS is asked, any other connection sees the application, submitting, with its sendid."""
    payment = shop.payment()
    seen: list[tuple[str, State]] = []

    def look(request: ApplicationRequest) -> None:
        read = shop.payments._database.read
        seen.extend(read(lambda session: [(each.sendid, each.state) for each in session.query(Application)]))

    shop.gateway.before_answer = look
    shop.submit(payment)
    assert seen == [(shop.gateway.sent[0].sendid, State.SUBMITTING)]


def test_no_connection_is_held_while_zeus_is_awaited(make_shop: ShopMaker, database_uri: str) -> None:
    """Law 2: with every connection of ours given back, the pool is empty-handed during the POST."""
    shop = make_shop(database_uri)
    payment = shop.payment()
    held: list[int] = []
    shop.db.session.remove()
    shop.gateway.before_answer = lambda request: held.append(shop.db.engine.pool.checkedout())  # type: ignore[attr-defined]
    shop.submit(payment)
    assert held == [0]


@pytest.mark.parametrize(
    ("answer", "state", "kinds"),
    [
        (DECLINED % b"900000", State.DECLINED, ["application_declined"]),
        (b"Invalid telno", State.DECLINED, ["application_declined"]),
        (b"", State.UNKNOWN, []),
        (b"maintenance", State.UNKNOWN, []),
        (b"<html><body>502 please email us</body></html>", State.UNKNOWN, []),
        (Unanswered("cut"), State.UNKNOWN, []),
        (NotSent("refused"), State.FAILED, []),
    ],
)
def test_unknown_is_not_failed(shop: Shop, answer: bytes, state: State, kinds: list[str]) -> None:
    """Law 4: declined only for failure_order or a named parameter; not sent is failed; all else is unknown."""
    payment = shop.payment()
    shop.gateway.answers = [answer]
    application = shop.submit(payment)
    assert application.state is state
    assert [event.kind for event in shop.all(Event)] == kinds
    assert shop.all(Review) == []


def test_a_declined_application_keeps_its_error_code(shop: Shop) -> None:
    """The code is text: its leading zeros tell 0011 from 11."""
    payment = shop.payment()
    shop.gateway.answers = [DECLINED % b"0011"]
    assert shop.submit(payment).error_code == "0011"


def test_a_named_parameter_is_kept(shop: Shop) -> None:
    """The form can put ZEUS's complaint at its field."""
    payment = shop.payment()
    shop.gateway.answers = [b"Invalid telno"]
    assert shop.submit(payment).parameter == "telno"


@pytest.mark.parametrize("answer", [accepted(), Unanswered("cut")])
def test_a_live_application_is_not_asked_again(shop: Shop, answer: bytes) -> None:
    """Law 3: a second submit returns the first application, and nothing is sent."""
    payment = shop.payment()
    shop.gateway.answers = [answer]
    first = shop.submit(payment)
    second = shop.submit(payment, "D030")
    assert second.id == first.id
    assert len(shop.gateway.sent) == 1


@pytest.mark.parametrize("clicks", [8])
def test_eight_clicks_make_one_post(make_shop: ShopMaker, database_uri: str, clicks: int) -> None:
    """Law 3: eight threads submit one payment at once; ZEUS is asked once and all get the one application."""
    shop = make_shop(database_uri)
    payment = shop.payment()
    start = threading.Barrier(clicks)
    answered = threading.Event()
    shop.gateway.before_answer = lambda request: answered.wait(10)
    found: list[int] = []

    def click() -> None:
        with shop.app.app_context():
            start.wait(10)
            mine = shop.db.session.get_one(Payment, payment_id)
            shop.db.session.remove()
            found.append(shop.submit(mine).id)
            if len(found) == clicks - 1:
                answered.set()

    payment_id = payment.id
    shop.db.session.remove()
    threads = [threading.Thread(target=click) for _ in range(clicks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == clicks
    assert len(set(found)) == 1
    assert len(shop.gateway.sent) == 1


def test_an_unknown_one_may_be_repeated_after_its_wait(shop: Shop) -> None:
    """Law 3: from unknown a customer may apply again, but only after RETRY_UNKNOWN_AFTER seconds."""
    payment = shop.payment()
    shop.gateway.answers = [Unanswered("cut")]
    with time_machine.travel(datetime(2026, 11, 23, 3, tzinfo=UTC), tick=False) as clock:
        first = shop.submit(payment)
        clock.shift(899)
        assert shop.submit(payment).id == first.id
        clock.shift(1)
        again = shop.submit(payment)
    assert again.id != first.id
    assert again.state is State.AWAITING_PAYMENT
    assert [each.state for each in shop.all(Application)] == [State.UNKNOWN, State.AWAITING_PAYMENT]


def test_a_dead_workers_application_counts_as_unknown(shop: Shop) -> None:
    """Law 2: a submitting older than the gateway's total time and 60 seconds is unknown to every reader."""
    payment = shop.payment()

    def die(request: ApplicationRequest) -> None:
        raise KeyboardInterrupt

    shop.gateway.before_answer = die
    with time_machine.travel(datetime(2026, 11, 23, 3, tzinfo=UTC), tick=False) as clock:
        with pytest.raises(KeyboardInterrupt):
            shop.submit(payment)
        clock.shift(84)
        assert shop.all(Payment)[0].state is State.SUBMITTING
        clock.shift(1)
        assert shop.all(Payment)[0].state is State.UNKNOWN
        assert shop.all(Application)[0].state is State.UNKNOWN
        clock.shift(900 - 85)
        shop.gateway.before_answer = lambda request: None
        assert shop.submit(payment).state is State.AWAITING_PAYMENT


def test_not_sent_frees_the_payment_at_once(shop: Shop) -> None:
    """Nothing reached ZEUS, so the customer may try again at once."""
    payment = shop.payment()
    shop.gateway.answers = [NotSent("refused"), accepted()]
    shop.submit(payment)
    assert shop.submit(payment).state is State.AWAITING_PAYMENT


def test_attempts_are_limited(make_shop: ShopMaker) -> None:
    """After MAX_ATTEMPTS applications the payment takes no more."""
    shop = make_shop(MAX_ATTEMPTS=2)
    payment = shop.payment()
    shop.gateway.answers = [DECLINED % b"900000"] * 3
    shop.submit(payment)
    shop.submit(payment)
    with pytest.raises(NotPayable) as caught:
        shop.submit(payment)
    assert caught.value.obstacle == "attempts"
    assert len(shop.gateway.sent) == 2


@pytest.mark.parametrize("answer", [DECLINED % b"0008", DECLINED % b"0013", NotSent("refused")])
def test_maintenance_and_not_sent_cost_no_attempt(make_shop: ShopMaker, answer: bytes) -> None:
    """What is nobody's fault does not count against MAX_ATTEMPTS."""
    shop = make_shop(MAX_ATTEMPTS=1)
    payment = shop.payment()
    shop.gateway.answers = [answer, answer, answer, accepted()]
    for _ in range(3):
        shop.submit(payment)
    assert shop.submit(payment).state is State.AWAITING_PAYMENT


@pytest.mark.parametrize("state", [State.DECLINED, State.FAILED, State.EXPIRED])
def test_one_may_apply_again_after(shop: Shop, state: State) -> None:
    """Law 3: from declined, failed and expired a new application is possible."""
    payment, application = shop.awaiting()
    application = shop.db.session.get_one(Application, application.id)
    application.stored_state = state
    shop.db.session.commit()
    again = shop.submit(payment)
    assert again.id != application.id
    assert payment.state is State.AWAITING_PAYMENT


@pytest.mark.parametrize(
    "state",
    [
        State.RECEIVED,
        State.CONFIRMED,
        State.RECEIVED_AFTER_CANCEL,
        State.CONFIRMED_AFTER_CANCEL,
        State.AWAITING_PAYMENT,
    ],
)
def test_none_beside_money_or_a_live_slip(shop: Shop, state: State) -> None:
    """Law 3: while one holds money or is live, that one is returned."""
    payment, application = shop.awaiting()
    mine = shop.db.session.get_one(Application, application.id)
    mine.stored_state = state
    shop.db.session.commit()
    assert shop.submit(payment).id == application.id
    assert len(shop.gateway.sent) == 1


@pytest.mark.parametrize("state", [State.CANCELLED, State.CANCELLED_AFTER_CANCEL, State.SUPERSEDED])
def test_none_after_the_money_was_taken_back(shop: Shop, state: State) -> None:
    """A payment that was taken back is the shop's to sort out: no further application."""
    payment, application = shop.awaiting()
    mine = shop.db.session.get_one(Application, application.id)
    mine.stored_state = state
    shop.db.session.commit()
    with pytest.raises(NotPayable, match="cancelled"):
        shop.submit(payment)


def test_a_closed_payment_takes_none(shop: Shop) -> None:
    """After close there is no further application."""
    payment = shop.payment()
    shop.zeus.close(payment)
    shop.db.session.commit()
    assert payment.state is State.CLOSED
    with pytest.raises(NotPayable, match="closed"):
        shop.submit(payment)


def test_an_offer_that_has_ended_takes_none(shop: Shop) -> None:
    """Past expires_at there is no further application, whether or not the sweep has run."""
    payment = shop.payment(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(NotPayable, match="expired"):
        shop.submit(payment)


def test_none_while_the_shop_looks_into_money_that_came_for_a_declined_one(shop: Shop) -> None:
    """A 04 for a slip that ZEUS declined is a question to a person: until it is answered nobody pays a second slip."""
    payment = shop.payment()
    shop.gateway.answers.append(b"rel=failure_order\norder_no=0001-1\nerror_code=0011\n")
    declined = shop.submit(payment)
    shop.zeus.receive(b"order_no=0001-1&sendid=" + declined.sendid.encode() + b"&status=04&money=3000")
    with pytest.raises(NotPayable, match="review"):
        shop.submit(payment)
    assert len(shop.gateway.sent) == 1
    [review] = shop.all(Review)
    shop.zeus.resolve(review, "ignored", by="Hanako")
    assert shop.submit(payment).state is State.AWAITING_PAYMENT


def test_a_bad_customer_leaves_no_trace(shop: Shop) -> None:
    """Nothing is sent or stored, and each bad detail is named by its wire name without its value."""
    payment = shop.payment()
    with pytest.raises(InvalidCustomer) as caught:
        shop.submit(payment, "D999", Customer("山田", "12345", "nobody"))
    assert [each.field for each in caught.value.problems] == ["username", "telno", "email", "pay_cvs"]
    assert "山" not in str(caught.value)
    assert shop.gateway.sent == []
    assert shop.all(Application) == []


def test_a_store_that_is_not_offered_is_refused(make_shop: ShopMaker) -> None:
    """A shop that offers two stores takes no application for a third."""
    shop = make_shop(STORES=["D002", "D030"])
    payment = shop.payment()
    with pytest.raises(InvalidCustomer, match="pay_cvs"):
        shop.submit(payment, "D015")


def test_test_applications_are_marked(make_shop: ShopMaker) -> None:
    """With both test keys set, the test id and type are sent and the application says so."""
    shop = make_shop(TEST_ID="12345678", TEST_TYPE=1)
    application = shop.submit(shop.payment())
    assert application.test
    assert (shop.gateway.sent[0].testid, shop.gateway.sent[0].test_type) == ("12345678", "1")


def test_days_until_the_deadline_are_sent_only_if_asked(make_shop: ShopMaker) -> None:
    """``span`` is undocumented and off by default."""
    shop = make_shop(PAY_WITHIN_DAYS=7)
    shop.submit(shop.payment())
    assert shop.gateway.sent[0].span == 7


def test_a_request_that_cannot_be_sent_leaves_no_trace(shop: Shop) -> None:
    """A payment whose amount was corrupted is refused before anything is stored."""
    payment = shop.payment()
    payment.amount = 199
    shop.db.session.commit()
    with pytest.raises(ValueError, match="money"):
        shop.submit(payment)
    assert shop.all(Application) == []
    assert shop.gateway.sent == []


def test_no_log_names_the_customer(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Law 11: whatever happens, logs hold no name, telephone number or address."""
    caplog.set_level(logging.DEBUG)
    payment = shop.payment()
    shop.gateway.answers = [Unanswered("cut"), b"Invalid email"]
    application = shop.submit(payment)
    assert "A person" not in caplog.text
    for secret in (CUSTOMER.name, CUSTOMER.phone, CUSTOMER.email, payment.token):
        assert secret not in caplog.text.replace("zeus_cvs_payments", "")
        assert secret not in repr(application) + repr(payment) + repr(application.customer)
