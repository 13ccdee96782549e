"""Create, find, close: what a shop asks for in its own transaction, and what it may not leave pending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from flask_zeus_cvs import (
    Customer,
    InvalidAmount,
    InvalidField,
    NotPayable,
    PendingWorkError,
    State,
    UnreadableNotice,
)
from flask_zeus_cvs.models import Event, Notification, Payment, Review
from tests.conftest import CUSTOMER, Shop, ShopMaker, accepted

DECLINED = b"rel = failure_order\nerror_code=900000\n"
JST = timezone(timedelta(hours=9))


def in_commit(shop: Shop) -> list[str]:
    """The references that another connection sees."""
    references = sa.select(Payment.reference).order_by(Payment.id)
    return shop.payments._database.read(lambda session: list(session.scalars(references)))


# --- amounts -------------------------------------------------------------------------------------


@given(amount=st.integers(200, 299_999))
@example(amount=200)
@example(amount=299_999)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_amount_from_200_to_299999_is_taken(sqlite_shop: Shop, amount: int) -> None:
    """ZEUS's range is ours, both ends included."""
    payment = sqlite_shop.zeus.create_payment(amount=amount, reference="A-1001")
    assert payment.amount == amount
    sqlite_shop.db.session.rollback()


@given(
    amount=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(max_value=199),
        st.integers(min_value=300_000),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=8),
        st.decimals(min_value=200, max_value=299_999, places=0),
    )
)
@example(amount=3000.0)
@example(amount="3000")
@example(amount=Decimal(3000))
@example(amount=True)
@example(amount=-3000)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_amount_is_refused(sqlite_shop: Shop, amount: Any) -> None:
    """Anything but an int in range is an `InvalidAmount`, a `ValueError`, before anything is written."""
    with pytest.raises(InvalidAmount) as caught:
        sqlite_shop.zeus.create_payment(amount=amount, reference="A-1001")
    assert isinstance(caught.value, ValueError)
    assert "200 to 299999" in str(caught.value)
    assert not sqlite_shop.db.session().in_transaction()


# --- references and the other arguments ----------------------------------------------------------


def test_references_are_kept_as_they_are(shop: Shop) -> None:
    """The shop's own order number is stored and found as it was given."""
    for reference in ("1", "A-1001", "a-1001", "注文　１", "x" * 255, "a b", "é", "🛒"):
        payment = shop.payment(reference=reference)
        shop.db.session.expire_all()
        assert shop.zeus.find(reference) is payment
        assert payment.reference == reference


@pytest.mark.parametrize(
    "reference",
    ["", " ", "　", "x" * 256, "A\n1", "A\x001", "A\x7f1", "A\u20281", "A\ud8001", 1001, None, b"A"],
)
def test_references_that_cannot_be_are_refused(sqlite_shop: Shop, reference: Any) -> None:
    """An order number is a text of 1 to 255 characters without control characters."""
    with pytest.raises(InvalidField) as caught:
        sqlite_shop.zeus.create_payment(amount=3000, reference=reference)
    assert caught.value.field == "reference"


def test_sendpoint_is_kept(shop: Shop) -> None:
    """The free parameter takes the manual's characters, up to 50 bytes."""
    for sendpoint in ("campaign:7", "a b", "x" * 50, "¥100"):
        payment = shop.payment(sendpoint=sendpoint)
        shop.db.session.refresh(payment)
        assert payment.sendpoint == sendpoint


@pytest.mark.parametrize("sendpoint", ["キャンペーン", "x" * 51, "a\nb", "a&b", '"'])
def test_sendpoint_is_checked_before_anything_is_written(sqlite_shop: Shop, sendpoint: str) -> None:
    """What ZEUS would refuse later is refused here."""
    with pytest.raises(InvalidField) as caught:
        sqlite_shop.zeus.create_payment(amount=3000, reference="A-1001", sendpoint=sendpoint)
    assert caught.value.field == "sendpoint"
    assert in_commit(sqlite_shop) == []


def test_the_end_of_the_offer_is_a_moment_of_any_zone(shop: Shop) -> None:
    """``expires_at`` comes back as the same moment, in UTC."""
    moment = datetime(2026, 12, 1, 9, 30, 15, 123456, tzinfo=JST)
    payment = shop.payment(expires_at=moment)
    shop.db.session.refresh(payment)
    assert payment.expires_at is not None
    assert payment.expires_at == moment
    assert payment.expires_at.tzinfo is UTC


def test_a_moment_without_a_zone_is_refused(sqlite_shop: Shop) -> None:
    """A naive datetime could mean the shop's time or the server's."""
    with pytest.raises(InvalidField) as caught:
        sqlite_shop.zeus.create_payment(amount=3000, reference="A", expires_at=datetime(2026, 12, 1))  # noqa: DTZ001
    assert caught.value.field == "expires_at"


HOSTS = ["shop.example.jp", "shop.example.jp:8443", "[2001:db8::1]"]


HOME = [
    "",
    "/",
    "/orders/A-1001",
    "/orders?number=A-1001&x=//y#top",
    "/orders//A-1001",
    "/orders/../cart",
    "/注文/１００１",
    "/a:b@c",
    "/" + "x" * 1999,
    "https://shop.example.jp",
    "https://shop.example.jp/orders/A-1001?x=https://evil.example/",
    "http://shop.example.jp/",
    "HTTPS://Shop.Example.JP/orders",
    "https://shop.example.jp:8443/orders",
    "https://[2001:db8::1]/orders",
]


def test_return_urls_that_lead_home(make_shop: ShopMaker) -> None:
    """A path of the shop, or http(s) on a host that the shop listed, with the port as listed."""
    shop = make_shop(RETURN_HOSTS=HOSTS)
    for url in HOME:
        payment = shop.payment(return_url=url)
        shop.db.session.refresh(payment)
        assert payment.return_url == url


ASTRAY = [
    "orders/A-1001",
    "?x=1",
    " /orders",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "/orders\\A-1001",
    "/\t/evil.example/",
    "/\n/evil.example/",
    "\t//evil.example/",
    "/orders\n",
    "/orders\x00",
    "/orders\x7f",
    "/orders\u2028",
    "/orders 1",
    "/orders　1",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\nscript:alert(1)",
    "javascript://shop.example.jp/%0aalert(1)",
    "data:text/html,x",
    "mailto:shop@shop.example.jp",
    "ftp://shop.example.jp/",
    "https://evil.example/",
    "https://evil.example/shop.example.jp",
    "https://evil.example?shop.example.jp",
    "https://evil.example#@shop.example.jp/",
    "https://shop.example.jp.evil.example/",
    "https://evilshop.example.jp/",
    "https://shop.example.jp@evil.example/",
    "https://shop.example.jp:8443@evil.example/",
    "https://user@shop.example.jp/",
    "https://user:password@shop.example.jp/",
    "https://@shop.example.jp/",
    "https://shop.example.jp:443/",
    "https://shop.example.jp:9999/",
    "https://shop.example.jp:/",
    "https://shop.example.jp./",
    "https:shop.example.jp/",
    "https:/shop.example.jp/",
    "https:///shop.example.jp/",
    "https://",
    "https://shop.example.jp\\@evil.example/",
    "https://evil.example\\.shop.example.jp/",
    "https://shop%2eexample.jp/",
    "https://shop。example.jp/",
    "https://ｓｈｏｐ.example.jp/",
    "https://shop.example.jp／evil/",
    "https://[2001:db8::1/",
    "https://[2001:db8::2]/",
    "/" + "x" * 2000,
]


def is_refused(shop: Shop, url: str) -> bool:
    try:
        shop.zeus.create_payment(amount=3000, reference="A-1001", return_url=url)
    except InvalidField as error:
        return error.field == "return_url"
    return False


def test_return_urls_that_lead_astray_are_refused(make_shop: ShopMaker) -> None:
    """No spelling that a browser might read as another host, or as a script, gets into a page of ours."""
    shop = make_shop(RETURN_HOSTS=HOSTS)
    assert [url for url in ASTRAY if not is_refused(shop, url)] == []
    assert in_commit(shop) == []


@pytest.mark.parametrize("url", ["https://shop.example.jp/", "http://localhost/", "http://127.0.0.1/"])
def test_without_listed_hosts_only_paths_lead_home(sqlite_shop: Shop, url: str) -> None:
    """No host is trusted by default, the shop's own included."""
    with pytest.raises(InvalidField):
        sqlite_shop.payment(return_url=url)


# --- the caller's transaction --------------------------------------------------------------------


def test_create_joins_the_callers_transaction(shop: Shop) -> None:
    """A payment has its id and its address at once, and exists for others when the caller commits, with the rest."""
    payment = shop.zeus.create_payment(amount=3000, reference="A-1")
    assert payment.id is not None
    assert payment.token in payment.checkout_url
    assert payment.state is State.OPEN
    assert payment.application is None
    assert payment.applications == []
    if shop.db.engine.dialect.name != "sqlite":
        assert in_commit(shop) == []
    shop.db.session.commit()
    assert in_commit(shop) == ["A-1"]


def test_a_rollback_takes_the_payment_along(shop: Shop) -> None:
    """When the shop's order fails, no payment is left behind."""
    shop.zeus.create_payment(amount=3000, reference="A-1", once=True)
    shop.db.session.rollback()
    assert shop.zeus.find("A-1") is None
    assert in_commit(shop) == []


# --- once ----------------------------------------------------------------------------------------


def test_once_returns_the_payment_that_is_there(shop: Shop) -> None:
    """A second click on "order" comes to the same payment, in the same transaction and in later ones."""
    first = shop.zeus.create_payment(amount=3000, reference="A-1", once=True)
    assert shop.zeus.create_payment(amount=3000, reference="A-1", once=True) is first
    shop.db.session.commit()
    wanted = first.id
    shop.db.session.expunge_all()
    assert shop.payment(reference="A-1", once=True).id == wanted
    assert len(shop.all(Payment)) == 1


def test_once_keeps_to_its_own_reference(shop: Shop) -> None:
    """Another order has a payment of its own."""
    first = shop.payment(reference="A-1", once=True)
    assert shop.payment(reference="A-2", once=True).id != first.id
    assert shop.payment(reference="a-1", once=True).id != first.id


def test_without_once_each_call_makes_a_payment(shop: Shop) -> None:
    """Payments made without ``once`` neither count nor are counted."""
    first = shop.payment(reference="A-1")
    once = shop.payment(reference="A-1", once=True)
    third = shop.payment(reference="A-1")
    assert len({first.id, once.id, third.id}) == 3
    assert shop.payment(reference="A-1", once=True).id == once.id


def test_once_with_another_amount_takes_the_place_of_the_first(shop: Shop) -> None:
    """An order that changed before anybody applied has one payment that can be paid: the new one."""
    first = shop.payment(3000, reference="A-1", once=True)
    second = shop.payment(3500, reference="A-1", once=True)
    assert second.id != first.id
    assert shop.state(first) is State.CLOSED
    assert shop.payment(3500, reference="A-1", once=True).id == second.id


@pytest.mark.parametrize("status", ["01", "04"])
def test_once_does_not_charge_twice_for_one_order(shop: Shop, status: str) -> None:
    """While a slip of the first amount is out or paid, another amount is refused; after close it is taken."""
    first, _ = shop.awaiting(3000, reference="A-1", once=True)
    shop.zeus.receive(f"order_no=0001-1&status={status}&money=3000".encode())
    with pytest.raises(NotPayable):
        shop.zeus.create_payment(amount=3500, reference="A-1", once=True)
    shop.db.session.rollback()
    shop.zeus.close(first)
    shop.db.session.commit()
    assert shop.payment(3500, reference="A-1", once=True).id != first.id


@pytest.mark.parametrize("database_uri", ["postgresql", "mariadb"], indirect=True)
def test_a_payment_locked_by_once_is_not_waited_for(shop: Shop) -> None:
    """Instead of waiting for the caller's own transaction, the cure is named."""
    payment = shop.payment(reference="A-1", once=True)
    shop.zeus.create_payment(amount=3000, reference="A-1", once=True)
    with pytest.raises(PendingWorkError, match="commit"):
        shop.submit(payment)


@pytest.mark.parametrize("url", ["/a\x80b", "/a\x9f", "/a\ud800"])
def test_return_urls_that_cannot_be_written_are_refused(sqlite_shop: Shop, url: str) -> None:
    """Control characters beyond ASCII and half a surrogate pair are no address."""
    with pytest.raises(InvalidField):
        sqlite_shop.zeus.create_payment(amount=3000, reference="A-1001", return_url=url)


@pytest.mark.parametrize("wrong", [{"return_url": 5}, {"sendpoint": 5}, {"expires_at": "2026-12-01"}])
def test_wrong_types_are_named(sqlite_shop: Shop, wrong: dict[str, Any]) -> None:
    """The argument that is wrong is named, whatever was passed."""
    (name,) = wrong
    with pytest.raises(InvalidField) as caught:
        sqlite_shop.zeus.create_payment(amount=3000, reference="A-1001", **wrong)
    assert caught.value.field == name


def test_a_customer_without_a_phone_number(sqlite_shop: Shop) -> None:
    """None, as an account without a number has it, is blank."""
    nobody: Any = Customer("ヤマダ", None, None)  # type: ignore[arg-type]
    assert sqlite_shop.payment(customer=nobody).customer == Customer("ヤマダ", "", "")


def test_errors_in_the_callers_transaction_show_no_details(sqlite_shop: Shop) -> None:
    """Law 11: a database error inside create_payment quotes neither customer nor token."""
    sqlite_shop.db.session.execute(sa.text("alter table zeus_cvs_payments rename to gone"))
    sqlite_shop.db.session.commit()
    with pytest.raises(DBAPIError) as caught:
        sqlite_shop.zeus.create_payment(amount=3000, reference="A-1", customer=CUSTOMER)
    assert "09012345678" not in str(caught.value) + repr(caught.value)


def paid(shop: Shop, payment: Payment) -> None:
    shop.gateway.answers.append(accepted("9"))
    shop.submit(payment)
    shop.zeus.receive(b"order_no=9&status=04&money=3000")


def taken_back(shop: Shop, payment: Payment) -> None:
    paid(shop, payment)
    shop.zeus.receive(b"order_no=9&status=06&money=3000")


def declined(shop: Shop, payment: Payment) -> None:
    shop.gateway.answers.append(DECLINED)
    shop.submit(payment)


def worn_out(shop: Shop, payment: Payment) -> None:
    for _ in range(shop.payments.settings.max_attempts):
        declined(shop, payment)


def closed(shop: Shop, payment: Payment) -> None:
    shop.zeus.close(payment)
    shop.db.session.commit()


def swept(shop: Shop, payment: Payment) -> None:
    assert payment.expires_at is not None
    shop.db.session.commit()
    with time_machine.travel(payment.expires_at + timedelta(minutes=1)):
        assert shop.zeus.expire().ended == 1


@pytest.mark.parametrize(
    ("happened", "reused"),
    [
        pytest.param(Shop.submit, True, id="slip out"),
        pytest.param(paid, True, id="paid"),
        pytest.param(declined, True, id="declined"),
        pytest.param(worn_out, True, id="attempts used up"),
        pytest.param(closed, False, id="closed"),
        pytest.param(taken_back, False, id="taken back"),
        pytest.param(swept, False, id="offer ended"),
    ],
)
def test_once_goes_by_what_became_of_the_payment(
    shop: Shop, happened: Callable[[Shop, Payment], object], reused: bool
) -> None:
    """A payment that is paid or can be paid is returned; one that has ended makes room for another."""
    ends = datetime.now(UTC) + timedelta(days=1)
    first = shop.payment(reference="A-1", once=True, expires_at=ends)
    happened(shop, first)
    again = shop.payment(reference="A-1", once=True)
    assert (again.id == first.id) is reused
    newest = shop.zeus.find("A-1")
    assert newest is not None
    assert newest.id == again.id


def test_once_knows_that_an_offer_has_run_out_before_the_sweep_does(shop: Shop) -> None:
    """From ``expires_at`` on, a new payment is made, whether or not cron has run."""
    first = shop.payment(reference="A-1", once=True, expires_at=datetime.now(UTC) + timedelta(hours=1))
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        assert shop.payment(reference="A-1", once=True).id != first.id


@pytest.mark.parametrize("reads_first", [False, True])
def test_once_holds_for_clicks_at_the_same_moment(shop: Shop, reads_first: bool) -> None:
    """Eight workers that create the same payment at once make one, and all of them get it."""
    start = threading.Barrier(8)
    got: list[int] = []
    failed: list[BaseException] = []

    def click() -> None:
        try:
            with shop.app.app_context():
                if reads_first:
                    shop.zeus.find("A-1")
                start.wait(10)
                payment = shop.zeus.create_payment(amount=3000, reference="A-1", once=True)
                got.append(payment.id)
                shop.db.session.commit()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=click) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert failed == []
    assert [each.id for each in shop.all(Payment)] == sorted(set(got))
    assert (len(got), len(set(got))) == (8, 1)


def test_once_leaves_the_callers_other_work_alone(shop: Shop) -> None:
    """What the caller added before stays in its transaction when another worker was faster."""
    shop.payment(reference="A-1", once=True)
    shop.zeus.create_payment(amount=500, reference="B-1")
    shop.payment(reference="A-1", once=True)
    assert in_commit(shop) == ["A-1", "B-1"]


# --- pre-fill ------------------------------------------------------------------------------------


TYPED_AND_KEPT = [
    (Customer("ヤマダ　タロウ", "09012345678", "taro@example.com"), CUSTOMER),
    (Customer("やまだ ﾀﾛｳ", "０９０-1234-5678", " taro@example.com "), CUSTOMER),
    (Customer("山田 太郎"), Customer("山田　太郎")),
    (Customer(phone="+81 90-1234-5678"), Customer(phone="09012345678")),
    (Customer(), Customer()),
    (Customer("ア" * 100), Customer("ア" * 100)),
    (Customer("ア" * 101, "1" * 101, "x" * 101), Customer()),
    (Customer("ヤマダ\nタロウ", "090\x001234", "a\x7f@example.com"), Customer()),
    (Customer("ヤマダ\ud800", "090", "a@example.com"), Customer("", "090", "a@example.com")),
]


def test_the_prefill_is_kept_in_the_gateways_spelling(shop: Shop) -> None:
    """What can be shown in the form is kept for the customer to correct; what cannot be stored is left out."""
    for typed, kept in TYPED_AND_KEPT:
        payment = shop.payment(customer=typed)
        shop.db.session.refresh(payment)
        assert payment.customer == kept
        assert payment.last_customer == kept


def test_the_prefill_stands_in_the_form(sqlite_shop: Shop) -> None:
    """The customer finds the details that the shop knows."""
    payment = sqlite_shop.payment(customer=Customer("やまだ たろう", "090-1234-5678", "taro@example.com"))
    page = sqlite_shop.app.test_client().get(payment.checkout_url, base_url="https://localhost").text
    assert 'value="ヤマダ　タロウ"' in page
    assert 'value="09012345678"' in page
    assert 'value="taro@example.com"' in page


# --- find ----------------------------------------------------------------------------------------


def test_find_returns_the_newest_payment_of_a_reference(shop: Shop) -> None:
    """A shop looks up by its own order number; of several, the newest counts, even before the commit."""
    assert shop.zeus.find("A-1") is None
    shop.payment(reference="A-1")
    second = shop.payment(reference="A-1")
    shop.payment(reference="A-2")
    assert shop.zeus.find("A-1") is second
    third = shop.zeus.create_payment(amount=3000, reference="A-1")
    assert shop.zeus.find("A-1") is third
    shop.db.session.rollback()
    assert shop.zeus.find("A-1") is second


# --- close ---------------------------------------------------------------------------------------


def test_close_takes_no_further_application(shop: Shop) -> None:
    """A closed payment says so at once, and for others when the caller commits."""
    payment = shop.payment()
    shop.zeus.close(payment)
    assert payment.state is State.CLOSED
    shop.db.session.commit()
    with pytest.raises(NotPayable) as caught:
        shop.submit(payment)
    assert caught.value.obstacle == "closed"
    assert shop.gateway.sent == []


def test_close_joins_the_callers_transaction(shop: Shop) -> None:
    """A rollback opens it again."""
    payment = shop.payment()
    shop.zeus.close(payment)
    shop.db.session.rollback()
    assert payment.state is State.OPEN
    assert shop.submit(payment).state is State.AWAITING_PAYMENT


def test_closing_twice_changes_nothing(shop: Shop) -> None:
    """The moment of the first close stays."""
    payment = shop.payment()
    shop.zeus.close(payment)
    shop.db.session.commit()
    before = payment.closed_at
    shop.zeus.close(payment)
    shop.db.session.commit()
    assert payment.closed_at == before


def test_close_keeps_what_the_caller_changed(shop: Shop) -> None:
    """Work that the caller has not flushed yet is not lost."""
    payment = shop.payment()
    payment.return_url = "/elsewhere"
    shop.zeus.close(payment)
    shop.db.session.commit()
    assert payment.return_url == "/elsewhere"


def test_a_payment_just_made_can_be_closed(shop: Shop) -> None:
    """Made and closed in one transaction."""
    payment = shop.zeus.create_payment(amount=3000, reference="A-1")
    shop.zeus.close(payment)
    shop.db.session.commit()
    assert shop.state(payment) is State.CLOSED


def test_closing_what_is_not_in_the_database_is_refused(shop: Shop) -> None:
    """The message tells the cure."""
    stranger = Payment(amount=3000, reference="A-1", customer=Customer(), sendpoint="", return_url="")
    with pytest.raises(PendingWorkError, match=r"db\.session\.commit\(\)"):
        shop.zeus.close(stranger)


def test_closing_leaves_the_slip_at_zeus_alone(shop: Shop) -> None:
    """ZEUS has no call to cancel: money that still comes is a review, and ships nothing."""
    payment, _ = shop.awaiting(order_no="9")
    shop.zeus.close(payment)
    shop.db.session.commit()
    shop.zeus.receive(b"order_no=9&status=04&money=3000")
    assert [each.reason for each in shop.all(Review)] == ["paid_after_close"]
    assert "fulfillment_ready" not in [each.kind for each in shop.all(Event)]


# --- what a repr tells ---------------------------------------------------------------------------


def test_no_repr_shows_details_or_tokens(shop: Shop) -> None:
    """Law 11: what lands in logs and on debug pages names no customer and opens no page."""
    payment, application = shop.awaiting(customer=CUSTOMER, order_no="9")
    shop.zeus.receive(
        b"order_no=9&status=04&money=4000&username=%83%84%83%7D%83_&telno=09012345678&email=taro@example.com"
    )
    rows = [payment, application, *shop.all(Notification), *shop.all(Event), *shop.all(Review)]
    assert len(rows) >= 5
    shown = " ".join(map(repr, [*rows, payment.customer, application.customer, CUSTOMER, rows]))
    for secret in ("ヤマダ", "09012345678", "taro", payment.token, application.sendid):
        assert secret not in shown
    assert f"<Payment {payment.id} 'A-1001' 3000 yen>" in shown


# --- pending work --------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Shop, Payment, Review], object]] = {
    "submit": lambda shop, payment, review: shop.submit(payment),
    "receive": lambda shop, payment, review: shop.zeus.receive(b"order_no=1&status=01&money=3000"),
    "unreadable": lambda shop, payment, review: shop.zeus.receive(b"status=99"),
    "expire": lambda shop, payment, review: shop.zeus.expire(),
    "resolve": lambda shop, payment, review: shop.zeus.resolve(review, "ignored", by="staff"),
    "deliver_now": lambda shop, payment, review: shop.zeus.deliver_now(),
}


@pytest.fixture
def ready(shop: Shop) -> tuple[Payment, Review]:
    """A payment to submit and a review to resolve."""
    shop.db.session.execute(sa.text("create table stock (n integer)"))
    payment = shop.payment()
    shop.zeus.receive(b"order_no=nobodys&status=04&money=3000")
    (review,) = shop.all(Review)
    shop.db.session.rollback()
    return payment, review


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "write",
    [
        lambda shop: shop.zeus.create_payment(amount=500, reference="B-1"),
        lambda shop: shop.db.session.execute(sa.text("insert into stock values (1)")),
    ],
    ids=["payment", "own table"],
)
@pytest.mark.parametrize("database_uri", ["sqlite"], indirect=True)
def test_on_sqlite_uncommitted_writes_are_refused(
    shop: Shop, ready: tuple[Payment, Review], verb: str, write: Callable[[Shop], object]
) -> None:
    """SQLite has one writer: instead of waiting for the caller's own transaction, the cure is named, at once."""
    write(shop)
    with pytest.raises(PendingWorkError, match=r"db\.session\.commit\(\) before this call"):
        VERBS[verb](shop, *ready)
    assert shop.gateway.sent == []
    shop.db.session.commit()


def test_reading_does_not_get_in_the_way(shop: Shop, ready: tuple[Payment, Review]) -> None:
    """A view that has only looked things up need not commit before it goes on."""
    for verb, call in VERBS.items():
        assert shop.db.session.scalars(sa.select(Payment)).all()
        assert shop.db.session.execute(sa.text("select * from stock")).all() == []
        with pytest.raises(UnreadableNotice) if verb == "unreadable" else nullcontext():
            call(shop, *ready)


def test_after_a_commit_nothing_is_pending(shop: Shop, ready: tuple[Payment, Review]) -> None:
    """The cure that the message names works."""
    shop.zeus.create_payment(amount=500, reference="B-1")
    shop.db.session.commit()
    test_reading_does_not_get_in_the_way(shop, ready)


@pytest.mark.parametrize("database_uri", ["postgresql", "mariadb"], indirect=True)
def test_elsewhere_the_callers_own_work_stays_pending(shop: Shop) -> None:
    """Where there are several writers, the caller's transaction is left as it is: neither committed nor lost."""
    payment = shop.payment()
    shop.zeus.create_payment(amount=500, reference="B-1")
    assert shop.submit(payment).state is State.AWAITING_PAYMENT
    assert in_commit(shop) == ["A-1001"]
    shop.db.session.rollback()
    assert shop.zeus.find("B-1") is None


def test_submitting_an_uncommitted_payment_names_the_cure(shop: Shop) -> None:
    """Our own transaction cannot see it; the message says what to call first."""
    payment = shop.zeus.create_payment(amount=3000, reference="A-1")
    with pytest.raises(PendingWorkError, match=r"db\.session\.commit\(\) before this call"):
        shop.submit(payment)
    assert shop.gateway.sent == []
    shop.db.session.commit()
    assert shop.submit(payment).state is State.AWAITING_PAYMENT


def test_a_payment_that_the_caller_has_locked_is_not_waited_for(
    shop: Shop, ready: tuple[Payment, Review]
) -> None:
    """close locks the payment until the caller commits: a verb of ours would wait for its own caller, for ever."""
    shop.zeus.close(ready[0])
    for call in VERBS.values():
        with pytest.raises(PendingWorkError, match=r"db\.session\.commit\(\) before this call"):
            call(shop, *ready)
    shop.db.session.commit()
    shop.zeus.expire()
