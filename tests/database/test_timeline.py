"""The story of a payment: everything that happened, in order, and nothing of the customer unless it is asked for."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from flask_zeus_cvs import Customer, EventData, State, fulfillment_ready, payment_received
from flask_zeus_cvs.exceptions import UnreadableNotice
from flask_zeus_cvs.models import Application, DeliveryState, Notification, Payment, Review, Verdict
from flask_zeus_cvs.staff.telling import facts, headline
from flask_zeus_cvs.staff.timeline import (
    Applied,
    Closed,
    Created,
    EventTold,
    Kind,
    NoticeCame,
    OfferEnded,
    Purged,
    ReviewRaised,
    ReviewResolved,
    Story,
    as_json,
    notice_of,
)
from tests.conftest import Shop, ShopMaker
from tests.database.test_receive import notice

#: The customer of every test, as typed, as sent, and in every spelling that must not be seen.
PREFILL = Customer("サトウ", "0311112222", "sato@example.org")
SECRETS = (
    "タロウ",
    "%83%5e%83%8d%83%45",
    "09012345678",
    "taro",
    "サトウ",
    "0311112222",
    "sato",
    "hidden-point",
)
DETAILS = (
    "username=%83%5e%83%8d%83%45&telno=09012345678&email=taro%40example.com&sendpoint=hidden-point&odd=taro"
)


@pytest.fixture
def told(make_shop: ShopMaker) -> Shop:
    """A shop with two receivers: one hears, one fails at its only try."""
    shop = make_shop(DELIVERY_ATTEMPTS=1)
    payment_received.connect(hear, shop.app, name="mails")
    fulfillment_ready.connect(fail, shop.app, name="parcels")
    return shop


def hear(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
    """Hear it."""


def fail(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
    raise RuntimeError("taro@example.com")


def paid(shop: Shop) -> Payment:
    """A payment whose notices carry the customer."""
    payment, _ = shop.awaiting(customer=PREFILL)
    for status in ("01", "04", "04"):
        shop.zeus.receive(notice(status) + b"&" + DETAILS.encode())
    return payment


def kinds(story: Story) -> list[Kind]:
    return [each.kind for each in story.entries]


def every(story: Story, kind: type[Any]) -> list[Any]:
    return [each for each in story.entries if isinstance(each, kind)]


def test_a_story_in_its_order(told: Shop) -> None:
    """Created, applied, each notice and what it made true, each event with each subscriber."""
    story = told.zeus.story(paid(told))
    assert kinds(story) == ["created", "applied", "event", "notice", "notice", "event", "event"]
    assert [each.at for each in story.entries] == sorted(each.at for each in story.entries)
    assert (story.reference, story.amount, story.state, story.under_review) == (
        "A-1001",
        3000,
        State.RECEIVED,
        False,
    )
    assert story.fulfilled_at is not None
    (applied,) = every(story, Applied)
    assert (applied.order_no, applied.pay_no1, applied.state, applied.leads) == (
        "0001-1",
        "1234567890123",
        State.RECEIVED,
        True,
    )
    first, second = every(story, NoticeCame)
    assert (first.status, first.verdict, first.times) == ("01", Verdict.NO_EFFECT, 1)
    assert (second.status, second.verdict, second.times, second.money) == ("04", Verdict.APPLIED, 2, 3000)
    assert second.last_at > second.at
    mails, parcels = (each.deliveries[0] for each in every(story, EventTold) if each.deliveries)
    assert (mails.subscriber, mails.state, mails.attempts) == ("mails", DeliveryState.DONE, 1)
    assert (parcels.subscriber, parcels.state) == ("parcels", DeliveryState.PARKED)
    assert parcels.last_error.startswith("RuntimeError at test_timeline.py:")


def test_who_decided_stands_in_the_story(told: Shop) -> None:
    """A review raised and resolved, and a delivery retried or dismissed: by whom, and with which note."""
    payment = paid(told)
    told.zeus.receive(notice("04", money=1))
    assert told.zeus.story(payment).under_review
    told.zeus.resolve(told.all(Review)[0], "ignored", by="Sato", note="a slip of the pen")
    told.zeus.dismiss("parcels", by="Suzuki")
    story = told.zeus.story(payment)
    (raised,), (resolved,) = every(story, ReviewRaised), every(story, ReviewResolved)
    assert (raised.reason, raised.is_open, story.under_review) == ("wrong_amount", False, False)
    assert (resolved.review_id, resolved.resolution, resolved.by, resolved.note) == (
        raised.review_id, "ignored", "Sato", "a slip of the pen",
    )  # fmt: skip
    assert every(story, EventTold)[2].deliveries[0].decided_by == "Suzuki"


def test_a_notice_that_a_person_laid_to_a_payment_is_told_there(told: Shop) -> None:
    """It matched none, and books nothing; whose it was said to be shows it nevertheless, and once."""
    payment, _ = told.awaiting()
    told.zeus.receive(notice("04", "9999-9"))
    told.zeus.resolve(told.all(Review)[0], "ignored", by="Sato", payment=payment)
    assert [each.order_no for each in every(told.zeus.story(payment), NoticeCame)] == ["9999-9"]


def test_how_a_payment_ended(sqlite_shop: Shop) -> None:
    """An offer that ran out, a payment that was closed, details that were taken out."""
    payment = sqlite_shop.payment()
    row = sqlite_shop.db.session.get_one(Payment, payment.id)
    row.expired_at = row.created_at + timedelta(hours=1)
    row.closed_at = row.created_at + timedelta(hours=2)
    row.purged_at = row.created_at + timedelta(hours=3)
    sqlite_shop.db.session.commit()
    story = sqlite_shop.zeus.story(payment)
    assert [type(each) for each in story.entries] == [Created, OfferEnded, Closed, Purged]


def test_siblings_are_named(sqlite_shop: Shop) -> None:
    """Other payments of the same reference, newest first."""
    ids = [sqlite_shop.payment(reference=each).id for each in ("A-1", "A-2", "A-1", "A-1")]
    story = sqlite_shop.zeus.story(sqlite_shop.db.session.get_one(Payment, ids[2]))
    assert story.siblings == (ids[3], ids[0])


def test_nothing_of_the_customer_is_in_a_story(told: Shop) -> None:
    """Neither in its JSON, nor in its words, nor in its repr: names, numbers, addresses, the shop's own parameter, and
    parameters that ZEUS does not have; the token of the customer's pages is not even in what is revealed."""
    payment = paid(told)
    for reveal in (False, True):
        story = told.zeus.story(payment, reveal=reveal)
        said = [headline(each, locale) for each in story.entries for locale in ("en", "ja")]
        said += [str(facts(each, locale)) for each in story.entries for locale in ("en", "ja")]
        texts = {
            "json": json.dumps(as_json(story), default=str, ensure_ascii=False),
            "words": "\n".join(said),
        }
        assert [secret for secret in SECRETS if any(secret in text for text in texts.values())] == (
            list(SECRETS) if reveal else []
        )
        assert payment.token not in texts["json"] + texts["words"] + repr(story)
        assert reveal or not any(secret in repr(story) for secret in SECRETS)


def test_what_is_revealed_is_whole(told: Shop) -> None:
    """The bytes as they came, and every parameter read from Shift_JIS."""
    story = told.zeus.story(paid(told), reveal=True)
    last = every(story, NoticeCame)[-1]
    assert last.raw == notice("04").decode() + "&" + DETAILS
    assert dict(last.read)["username"] == "タロウ"
    assert every(story, Created)[0].customer == PREFILL


def test_a_masked_notice_keeps_what_helps(told: Shop) -> None:
    """Numbers and status stay readable; a plain parameter whose value is not what it should be is hidden, too."""
    payment, _ = told.awaiting()
    told.zeus.receive(notice("04", pay_limit="taro", error_code="taro@example.com", taro="1"))
    (came,) = every(told.zeus.story(payment), NoticeCame)
    assert dict(came.read) == {
        "clientip": "1234567890", "order_no": "0001-1", "status": "04", "money": "3000",
        "pay_limit": "***", "error_code": "***",
    }  # fmt: skip
    assert came.faults == ("pay_limit", "error_code")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"status=99&money=3000&username=%83%84", "status=***&money=3000&username=***"),
        (b"\x83\x5etaro", "***"),
        (b"status=04&&order_no=\xff&telno=0901&=taro&status", "status=04&&order_no=***&telno=***&***&status"),
        (b"%75sername=taro&money=taro", "***&money=***"),
        (b"", ""),
    ],
)
def test_an_unreadable_notice_is_shown_as_far_as_it_may(sqlite_shop: Shop, raw: bytes, shown: str) -> None:
    """Its form, so that staff can tell what is wrong with it, and no value that might be a customer's."""
    sqlite_shop.payments.keep_unreadable(UnreadableNotice(raw, "a test"))
    (row,) = sqlite_shop.all(Notification)
    assert notice_of(row).raw == shown
    assert notice_of(row, reveal=True).raw == raw.decode("ascii", "backslashreplace")


def test_a_pay_url_is_a_key(sqlite_shop: Shop) -> None:
    """Whoever has 7-Eleven's link sees the customer's slip: hidden until it is asked for."""
    payment, application = sqlite_shop.awaiting()
    sqlite_shop.db.session.get_one(Application, application.id).pay_url = "https://pay.example/?key"
    sqlite_shop.db.session.commit()
    assert every(sqlite_shop.zeus.story(payment), Applied)[0].pay_url == "***"
    assert every(sqlite_shop.zeus.story(payment, reveal=True), Applied)[0].pay_url.endswith("?key")


def test_json_names_each_kind(told: Shop) -> None:
    """Each entry says what it is; moments stay moments, for whoever writes them."""
    plain = as_json(told.zeus.story(paid(told)))
    assert [each["kind"] for each in plain["entries"]][:2] == ["created", "applied"]
    assert isinstance(plain["entries"][0]["at"], datetime)
    assert plain["entries"][0]["customer"] == {
        "name": "サ＊＊＊",
        "phone": "***2222",
        "email": "s***@example.org",
    }
    assert plain["entries"][-2]["deliveries"][0]["subscriber"] == "mails"
