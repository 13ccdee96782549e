"""Random lives of a payment against the real database: laws 6, 7 and 9, and one shipment at most."""

from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flask_zeus_cvs import EventKind, State
from flask_zeus_cvs.exceptions import Unanswered
from flask_zeus_cvs.ledger import LOSSES
from flask_zeus_cvs.lifecycle import HOLDS_MONEY, MONEY_NOTICES, NOTICES, REVERSALS, TABLE, Input, events
from flask_zeus_cvs.models import (
    Application,
    Base,
    Event,
    Notification,
    Payment,
    Review,
    ReviewReason,
    Verdict,
)
from tests.conftest import Shop, ShopMaker, accepted
from tests.database.test_receive import notice

AMOUNT = 3000
#: status, money and spelling of one call; the spelling changes the bytes, not the notice.
CALLS = st.lists(
    st.tuples(
        st.sampled_from([each.value for each in NOTICES]),
        st.sampled_from([AMOUNT, AMOUNT, AMOUNT, AMOUNT, None, 1, 999_999]),
        st.integers(0, 3),
    ),
    max_size=14,
)


@pytest.fixture
def stage(make_shop: ShopMaker, database_uri: str) -> Shop:
    """One database for all examples, emptied before each: making one takes longer than an example."""
    return make_shop(database_uri, DELIVERY="deferred")


def spelled(status: str, money: int | None, spelling: int) -> bytes:
    raw = notice(status, money=money)
    if spelling == 1:
        return b"&".join(reversed(raw.split(b"&")))
    if spelling == 2:
        hexed = "".join(f"%3{digit}" for digit in status).encode()
        return raw.replace(b"status=" + status.encode(), b"status=" + hexed)
    if spelling == 3:
        return raw + b"&username=%83%84&unknown=1"
    return raw


class Model:
    """The design in ten lines: what must come out, told without the code under test but by its table."""

    def __init__(self) -> None:
        self.state = State.AWAITING_PAYMENT
        self.seen: Counter[tuple[str, int | None]] = Counter()
        self.reviews: list[str] = []
        self.heard: list[EventKind] = []
        self.repeat_reviewed: set[tuple[str, int | None]] = set()
        self.was_cancelled = False

    def take(self, status: str, money: int | None) -> None:
        key = (status, money)
        self.seen[key] += 1
        if self.seen[key] > 1:
            lost_it = self.state in (State.CANCELLED, State.CANCELLED_AFTER_CANCEL)
            applied = money in (AMOUNT, None)
            if lost_it and applied and status in ("04", "05", "11", "12") and key not in self.repeat_reviewed:
                self.repeat_reviewed.add(key)
                self.reviews.append("repeated_after_cancel")
            return
        if money not in (AMOUNT, None):
            self.reviews.append("wrong_amount")
            return
        cell = TABLE[self.state, Input(status)]
        before, self.state = self.state, cell.state or self.state
        if cell.review:
            self.reviews.append("out_of_order")
        if self.state in HOLDS_MONEY and before not in HOLDS_MONEY and self.was_cancelled:
            self.reviews.append("paid_after_cancel")
        self.was_cancelled |= self.state is State.CANCELLED
        self.heard += events(before, Input(status), self.state)


def play(shop: Shop, calls: list[tuple[str, int | None, int]]) -> None:
    shop.db.session.rollback()
    for table in reversed(Base.metadata.sorted_tables):
        shop.db.session.execute(sa.delete(table))
    shop.db.session.commit()
    shop.db.session.expunge_all()  # SQLite gives the ids of deleted rows out again
    payment, _ = shop.awaiting(AMOUNT)
    model = Model()
    for status, money, spelling in calls:
        shop.zeus.receive(spelled(status, money, spelling))
        model.take(status, money)
    check(shop, payment, model)


def check_notes(shop: Shop) -> None:
    """What a payment notes of its other rows, so that nobody need look, is so."""
    shop.db.session.rollback()
    events, reviews = shop.all(Event), shop.all(Review)
    for each in shop.all(Payment):
        assert each.has_lost is any(row.kind in LOSSES and row.payment_id == each.id for row in events)
        assert each.was_reviewed is any(row.payment_id == each.id for row in reviews)
        assert each.revision == sum(row.revision for row in each.applications)


def check(shop: Shop, payment: Payment, model: Model) -> None:
    check_notes(shop)
    assert shop.state(payment) is model.state
    rows = shop.all(Notification)
    assert Counter({(row.status, row.money): row.times for row in rows}) == model.seen
    assert Counter(str(each.reason) for each in shop.all(Review)) == Counter(model.reviews)
    heard = [each.kind for each in shop.all(Event)][1:]
    own = [kind for kind in heard if kind not in (EventKind.REVIEW_REQUIRED, EventKind.FULFILLMENT_READY)]
    assert own == model.heard
    assert heard.count(EventKind.REVIEW_REQUIRED) == len(model.reviews)
    assert heard.count(EventKind.FULFILLMENT_READY) <= 1
    if any(kind in (EventKind.PAYMENT_RECEIVED, EventKind.SALE_CONFIRMED) for kind in own):
        assert heard.count(EventKind.FULFILLMENT_READY) == 1
    wrong = [each for each in shop.all(Review) if each.reason is ReviewReason.WRONG_AMOUNT]
    assert len(wrong) == sum(1 for _, money in model.seen if money not in (AMOUNT, None))
    assert len(shop.all(Application)) == 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_random_lives(stage: Shop, calls: list[tuple[str, int | None, int]]) -> None:
    """Any notices, repeats and wrong amounts in any order end as the design says, on each database."""
    play(stage, calls)


SLIPS = st.lists(
    st.tuples(
        st.sampled_from(["0001-1", "0002-2", "0003-3", ""]),
        st.sampled_from([each.value for each in NOTICES]),
        st.booleans(),
    ),
    max_size=12,
)


def waited_for(stage: Shop, binding: Notification) -> bool:
    """Whether a 06 or 13 of this slip had come before anybody knew its order number, and was applied just now."""
    waited = sa.select(Notification.id).where(
        Notification.order_no == binding.order_no,
        Notification.id < binding.id,
        Notification.status.in_([each.value for each in REVERSALS]),
        Notification.verdict == Verdict.APPLIED,
    )
    return stage.db.session.scalar(waited.limit(1)) is not None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=SLIPS, answered=st.booleans())
@example(calls=[("0001-1", "06", False), ("", "04", False), ("0001-1", "04", True)], answered=False)
def test_random_lives_with_reissues(stage: Shop, calls: list[tuple[str, str, bool]], answered: bool) -> None:
    """Several slips under one sendid, with and without order_no, the answer stored or lost.

    Money is never ignored, goods ship once at most, no order number is on two applications, and nothing raises.
    """
    stage.db.session.rollback()
    for table in reversed(Base.metadata.sorted_tables):
        stage.db.session.execute(sa.delete(table))
    stage.db.session.commit()
    stage.db.session.expunge_all()  # SQLite gives the ids of deleted rows out again
    stage.gateway.answers = [accepted("0001-1") if answered else Unanswered("cut")]
    stage.submit(stage.payment())
    sendid = stage.gateway.sent[-1].sendid
    for order_no, status, with_sendid in calls:
        named = f"&sendid={sendid}".encode() if with_sendid or not order_no else b""
        receipt = stage.zeus.receive(notice(status, order_no) + named)
        if status in MONEY_NOTICES and receipt.verdict is Verdict.NO_EFFECT and not receipt.repeat:
            row = stage.db.session.get_one(Notification, receipt.notification_id)
            application = stage.db.session.get_one(Application, row.application_id)
            # one that waited for its order number may have taken the money back at once
            assert application.state in HOLDS_MONEY or waited_for(stage, row)
            stage.db.session.rollback()
    check_notes(stage)
    applications = stage.all(Application)
    numbers = [each.order_no for each in applications if each.order_no]
    assert len(numbers) == len(set(numbers))
    heard = [each.kind for each in stage.all(Event)]
    assert heard.count(EventKind.FULFILLMENT_READY) <= 1
    assert heard.count(EventKind.REVIEW_REQUIRED) == len(stage.all(Review))
    if sum(each.state in HOLDS_MONEY for each in applications) > 1:
        assert stage.all(Review), "two slips hold money and nobody was told"
