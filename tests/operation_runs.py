"""Operation tests as they may have gone, made by hand: for tests of what is said of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from flask_zeus_cvs import Customer, State
from flask_zeus_cvs.customer import masked
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import DeliveryState
from flask_zeus_cvs.protocol.codes import Status, Store, TestType
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.protocol.messages import Answer, Outcome
from flask_zeus_cvs.staff.operation_test import POINTS, Books, Called, Finding, Mark, Page, Run, Seen, Trial
from flask_zeus_cvs.staff.operation_words import Remark

#: A Tuesday, 10:15:00 in Japan.
BEGAN = datetime(2025, 4, 1, 1, 15, tzinfo=UTC)
TESTER = Customer("ヤマダ　タロウ", "09012345678", "taro@example.com")
ACCEPTED = Answer(
    Outcome.accepted,
    order_no="250401-1234567890",
    pay_no1="123456",
    pay_no2="654321",
    pay_limit=date(2025, 4, 11),
)


def seen(status: str, seconds: float, **more: Any) -> Seen:
    """A notice that brought everything, so many seconds after the application."""
    values = {"times": 1, "brought": frozenset(NOTICE), **more}
    return Seen(Status(status), BEGAN + timedelta(seconds=seconds), **values)


def trial(**more: Any) -> Trial:
    """A test at Lawson that went well, of type 1."""
    values: dict[str, Any] = {
        "store": Store.LAWSON,
        "reference": "TEST-20250401-101500-D002",
        "payment_id": 7,
        "began": BEGAN,
        "seconds": 0.42,
        "answer": ACCEPTED,
        "page": Page(),
        "books": Books(
            State.CONFIRMED,
            (seen("01", 3), seen("04", 61), seen("05", 1803)),
            (Called(EventKind.PAYMENT_RECEIVED, "shop.books.enter", DeliveryState.DONE),),
        ),
    }
    return Trial(**{**values, **more})


def run(*trials: Trial, **more: Any) -> Run:
    """A run of type 1 whose points for a person are all seen to."""
    looked = Finding(Mark.PASSED, (Remark.of("person_says_yes", by="山田 花子"),))
    values: dict[str, Any] = {
        "kind": TestType.SALE_CONFIRMED,
        "amount": 1000,
        "host": "zeus.example",
        "by": "山田 花子",
        "tester": masked(TESTER),
        "shop": "shop",
        "versions": (("ショップのバージョン", "2025.4"), ("ソフトウェア", "Flask-Zeus-CVS 0.1.0")),
        "began": BEGAN,
        "ended": BEGAN + timedelta(minutes=32),
        "trials": trials or (trial(),),
        "notes": (Remark.of("goods_stay"),),
        "waited": 2400.0,
        "persons": {key: looked for key, point in POINTS.items() if point.question},
    }
    return Run(**{**values, **more})


def with_books(**changes: Any) -> Trial:
    """The good test, but for something in the database."""
    good = trial()
    return replace(good, books=replace(good.books, **changes))
