"""Finding payments: what SQL says of a payment's state is what Python says, on every database."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_zeus_cvs import State, Store
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.lifecycle import STATES
from flask_zeus_cvs.models import Application, Event, Payment, Review, ReviewReason
from flask_zeus_cvs.staff import search
from flask_zeus_cvs.staff.search import (
    MARGIN,
    Filters,
    as_pasted,
    conditions,
    count,
    day_begins,
    first_id_since,
    page,
    page_and_rest,
)
from tests.conftest import Shop, accepted
from tests.database.test_receive import notice

PAST, FUTURE = timedelta(minutes=-5), timedelta(minutes=5)
#: Every application that can be told apart: a submitting one that is being answered, and one whose worker died.
KINDS = [(state, PAST) for state in STATES] + [(State.SUBMITTING, FUTURE)]
SOME_TOGETHER = [
    (State.SUBMITTING, State.UNKNOWN),
    (State.EXPIRED, State.DECLINED),
    (State.OPEN, State.CLOSED, State.UNKNOWN),
    (State.EXPIRED, State.RECEIVED, State.SUBMITTING),
]
NOBODY = {"customer_name": "", "customer_phone": "", "customer_email": ""}


def add(session: Any, rows: list[dict[str, Any]], families: list[list[dict[str, Any]]]) -> None:
    """Add payments, each with its applications."""
    first = (session.scalar(sa.select(sa.func.max(Payment.id))) or 0) + 1
    plain = {"reference": "R", "amount": 3000, **NOBODY}
    session.execute(sa.insert(Payment), [{**plain, "id": first + n, **row} for n, row in enumerate(rows)])
    slip = {"sendid": "S", "store": Store.LAWSON, "answer_due_at": now(), **NOBODY}
    applications = [
        {**slip, "payment_id": first + n, **each} for n, family in enumerate(families) for each in family
    ]
    if applications:
        session.execute(sa.insert(Application), applications)
    session.commit()


def add_every_combination(session: Any) -> None:
    """Up to two applications in every way and three in many, closed or not, ended as an offer or not."""
    moment = now()
    families = [family for size in (0, 1, 2) for family in itertools.product(KINDS, repeat=size)]
    families += [
        tuple(KINDS[(start + step * n) % len(KINDS)] for n in range(3))
        for start in range(14)
        for step in (1, 3, 5)
    ]
    every = list(itertools.product(families, (None, moment), (None, moment)))
    add(
        session,
        [{"closed_at": closed, "expired_at": ended} for _, closed, ended in every],
        [
            [{"stored_state": state, "answer_due_at": moment + due} for state, due in family]
            for family, _, _ in every
        ],
    )


def ids(shop: Shop, filters: Filters) -> list[int]:
    """What the conditions find, as an export reads it, and in the same order as a list."""
    session = shop.db.session()
    found = sa.select(Payment.id).where(*conditions(session, filters)).order_by(Payment.id.desc())
    return list(session.scalars(found))


def test_sql_agrees_with_python_about_every_state(shop: Shop) -> None:
    """A thousand payments, every pair of applications among them: a filter for one state, or for some, finds exactly
    those whose `Payment.state` it is."""
    add_every_combination(shop.db.session)
    is_in = {each.id: each.state for each in shop.db.session.scalars(sa.select(Payment))}
    for states in [*itertools.combinations(State, 1), *SOME_TOGETHER, tuple(State)]:
        expected = [id_ for id_, state in is_in.items() if state in states]
        assert sorted(ids(shop, Filters(states=states))) == sorted(expected), states
        newest = search.ids(shop.db.session(), Filters(states=states), 100)
        assert newest == sorted(expected, reverse=True)[:100], states
        assert count(shop.db.session(), Filters(states=states), 10_000) == len(expected)
        assert expected or states == (State.SUPERSEDED,)


def test_sql_agrees_with_python_about_the_leading_application(shop: Shop) -> None:
    """Store and test are asked of the application that leads, as it stands in the list."""
    dice = random.Random(6)
    families = [
        [
            {
                "stored_state": dice.choice(STATES),
                "store": dice.choice(list(Store)),
                "test": dice.random() < 0.5,
            }
            for _ in range(dice.randrange(4))
        ]
        for _ in range(300)
    ]
    add(shop.db.session, [{} for _ in families], families)
    leading = {each.id: each.application for each in shop.db.session.scalars(sa.select(Payment))}
    for store in Store:
        expected = [id_ for id_, each in leading.items() if each is not None and each.store is store]
        assert sorted(ids(shop, Filters(store=store))) == sorted(expected)
        assert expected
    tests = {id_ for id_, each in leading.items() if each is not None and each.test}
    assert set(ids(shop, Filters(test=True))) == tests
    assert set(ids(shop, Filters(test=False))) == set(leading) - tests


def test_newest_first_page_by_page(shop: Shop) -> None:
    """Each page goes on where the last one ended; one more payment in the meantime moves nothing."""
    add(shop.db.session, [{} for _ in range(7)], [])
    session = shop.db.session()
    first, before = page(session, Filters(), 3)
    assert ([each.id for each in first], before) == ([7, 6, 5], 5)
    add(shop.db.session, [{}], [])
    second, before = page(session, Filters(), 3, before)
    assert [each.id for each in second] == [4, 3, 2]
    last, before = page(session, Filters(), 3, before)
    assert ([each.id for each in last], before) == ([1], None)
    assert count(session, Filters(), 100) == 8
    assert count(session, Filters(), 5) == 5
    assert page_and_rest(session, Filters(), 3, 5, 100) == (second, 2, 1)
    assert page_and_rest(session, Filters(), 3, None, 2)[1:] == (6, 2)
    assert page_and_rest(session, Filters(), 3, 2, 2) == (last, None, 0)


def test_days_are_japans(shop: Shop) -> None:
    """A payment of 0:30 JST belongs to that day, although in London it is yesterday; both ends are included."""
    days = [date(2026, 11, 23) + timedelta(days=n) for n in range(3)]
    minutes = (timedelta(0), timedelta(minutes=30), timedelta(hours=24) - timedelta(microseconds=1))
    add(shop.db.session, [{"created_at": day_begins(day) + each} for day in days for each in minutes], [])
    assert ids(shop, Filters(first_day=days[1], last_day=days[1])) == [6, 5, 4]
    assert ids(shop, Filters(first_day=days[1])) == [9, 8, 7, 6, 5, 4]
    assert ids(shop, Filters(last_day=days[1])) == [6, 5, 4, 3, 2, 1]
    assert ids(shop, Filters(first_day=days[2], last_day=days[0])) == []
    assert len(ids(shop, Filters(first_day=date.min, last_day=date.max))) == 9


def test_the_first_id_since_a_moment(shop: Shop) -> None:
    """Whatever the gaps among the ids, and with clocks that differ by less than the margin, no younger row is left
    out, and hardly an older one is let in."""
    dice = random.Random(6)
    start = datetime(2026, 11, 23, tzinfo=UTC)
    moments = [start + timedelta(minutes=10 * n) - dice.random() * MARGIN * 0.99 for n in range(300)]
    numbers = sorted(dice.sample(range(1, 5000), 300))
    add(
        shop.db.session, [{"id": n, "created_at": each} for n, each in zip(numbers, moments, strict=True)], []
    )
    session = shop.db.session()
    for _ in range(60):
        wanted = start + timedelta(minutes=dice.randrange(-100, 3100))
        first = first_id_since(session, Payment, wanted)
        young = [n for n, each in zip(numbers, moments, strict=True) if each >= wanted]
        assert all(n >= first for n in young)
        assert len([n for n in numbers if n >= first]) <= len(young) + 2 * MARGIN / timedelta(minutes=10) + 1


def test_the_first_id_takes_tables_and_columns(sqlite_shop: Shop) -> None:
    """A table or its column, an empty one, and a moment that is yet to come."""
    shop = sqlite_shop
    session = shop.db.session()
    assert first_id_since(session, Payment, now()) == 1
    shop.awaiting()
    session.rollback()
    assert first_id_since(session, Event.occurred_at, now()) == 1
    assert first_id_since(session, Event, now() + 2 * MARGIN) == 2


@pytest.mark.parametrize(
    "text",
    [
        "A-1001",
        " A-1001 ",
        "0001-1",
        "1234567890123",
        "1234-5678-90123",
        "１２３４５６７８９０１２３",
        "123 4567890123",
        "sendid",
    ],
)
def test_whatever_staff_paste_finds_the_payment(shop: Shop, text: str) -> None:
    """A reference, an order_no, a payment number as the customer reads it out, or our sendid."""
    shop.payment(reference="A-1000")
    payment, application = shop.awaiting()
    assert ids(shop, Filters(text=application.sendid if text == "sendid" else text)) == [payment.id]
    assert ids(shop, Filters(text="A-999")) == []


def test_a_text_that_no_database_could_hold_finds_nothing(shop: Shop) -> None:
    """What a broken terminal or a crafted URL sends is no error."""
    shop.awaiting()
    for text in ("\x00", "\udcff", "　", "\u200b", "x" * 3000):
        assert ids(shop, Filters(text=text)) == []
    for text in ("A-1001\x00", "\udcff"):
        assert ids(shop, Filters(reference=text)) == ids(shop, Filters(order_no=text)) == []


def test_exact_keys(shop: Shop) -> None:
    """Reference, order_no and sendid by name find only what bears them there; together they must agree."""
    payment, application = shop.awaiting()
    shop.payment(reference="0001-1")
    assert ids(shop, Filters(order_no="0001-1")) == [payment.id]
    assert ids(shop, Filters(sendid=application.sendid, reference="A-1001")) == [payment.id]
    assert ids(shop, Filters(order_no="0001-1", reference="0001-1")) == []


def test_open_reviews(shop: Shop) -> None:
    """Only what a person has yet to decide; a review without a payment disturbs nothing."""
    payment, _ = shop.awaiting()
    other = shop.payment(reference="A-1002")
    shop.gateway.answers.append(accepted("0002-1"))
    shop.zeus.receive(notice("04", money=1))
    shop.zeus.receive(notice("04", "9999-9"))
    assert ids(shop, Filters(under_review=True)) == [payment.id]
    assert ids(shop, Filters(under_review=False)) == [other.id]
    review = next(each for each in shop.all(Review) if each.reason is ReviewReason.WRONG_AMOUNT)
    shop.zeus.resolve(review, "ignored", by="Sato")
    shop.db.session.rollback()
    assert ids(shop, Filters(under_review=True)) == []


def test_pasted_text_in_its_readings() -> None:
    """As it is, narrow, and without what separates; each once."""
    assert as_pasted("A-1001") == ("A-1001", "A1001")
    assert as_pasted("　１２３４ー５６\n") == ("１２３４ー５６", "1234ー56", "123456")
    assert as_pasted("\u200b\n") == ()
