"""Payments as lines of a table, for a shop's books: CSV that a spreadsheet opens unharmed, or JSON lines.

They are read in batches, oldest first, each in a transaction of its own: memory does not grow with their number, no
lock is held, and a payment is told as it was when its batch was read.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.database import Database
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import Application, Event, Payment, Review
from flask_zeus_cvs.protocol.codes import STORES, Store
from flask_zeus_cvs.staff.search import Filters, conditions
from flask_zeus_cvs.staff.wording import STATES, Words

#: Payments that are read at once; older builds of SQLite take 999 parameters.
BATCH = 900
#: Lines that Excel shows of a file, the heads included.
EXCEL_LINES = 1_048_576
#: What a character becomes that an encoding lacks.
LACKING = "〓"

Value = str | int | bool | datetime | date | State | Store | None


@dataclass(frozen=True)
class Line:
    """One application with its payment; a payment that was never applied for has one line, too."""

    payment: Payment
    application: Application | None
    #: When subscribers were first told, by kind.
    told: Mapping[EventKind, datetime]
    open_reviews: int

    @property
    def leads(self) -> bool:
        """Whether the payment's state is that of this line: amounts add up over these lines."""
        return self.application is self.payment.application

    @property
    def customer(self) -> Customer:
        return (self.application or self.payment).customer

    def first(self, *kinds: EventKind) -> datetime | None:
        return min((self.told[kind] for kind in kinds if kind in self.told), default=None)


@dataclass(frozen=True)
class Column:
    """One column: its key in JSON, its heads, and what stands in it."""

    key: str
    head: Words
    read: Callable[[Line], Value]
    personal: bool = False


def _of_application(read: Callable[[Application], Value]) -> Callable[[Line], Value]:
    return lambda line: read(line.application) if line.application is not None else None


#: The order of the columns in a file.
COLUMNS = (
    Column("payment", Words("payment", "支払いID"), lambda line: line.payment.id),
    Column("reference", Words("reference", "注文番号"), lambda line: line.payment.reference),
    Column("amount", Words("yen", "金額（円）"), lambda line: line.payment.amount),
    Column("payment_state", Words("payment state", "支払いの状態"), lambda line: line.payment.state),
    Column("created_at", Words("created", "作成日時"), lambda line: line.payment.created_at),
    Column("closed_at", Words("closed", "受付終了日時"), lambda line: line.payment.closed_at),
    Column("application", Words("application", "申込ID"), _of_application(lambda each: each.id)),
    Column("leads", Words("counts", "有効な申込"), lambda line: line.leads),
    Column("state", Words("application state", "申込の状態"), _of_application(lambda each: each.state)),
    Column("store", Words("store", "コンビニ"), _of_application(lambda each: each.store)),
    Column("order_no", Words("order number", "オーダー番号"), _of_application(lambda each: each.order_no)),
    Column("sendid", Words("sendid", "sendid"), _of_application(lambda each: each.sendid)),
    Column("pay_no1", Words("payment number 1", "払込用番号1"), _of_application(lambda each: each.pay_no1)),
    Column("pay_no2", Words("payment number 2", "払込用番号2"), _of_application(lambda each: each.pay_no2)),
    Column("applied_at", Words("applied", "申込日時"), _of_application(lambda each: each.created_at)),
    Column("deadline", Words("pay until", "支払期限"), _of_application(lambda each: each.pay_limit)),
    Column(
        "received_at",
        Words("received", "入金日時"),
        lambda line: line.first(EventKind.PAYMENT_RECEIVED, EventKind.PAYMENT_RECEIVED_AFTER_CANCEL),
    ),
    Column(
        "confirmed_at",
        Words("confirmed", "売上確定日時"),
        lambda line: line.first(EventKind.SALE_CONFIRMED, EventKind.SALE_CONFIRMED_AFTER_CANCEL),
    ),
    Column(
        "cancelled_at",
        Words("cancelled", "入金取消日時"),
        lambda line: line.first(EventKind.PAYMENT_CANCELLED, EventKind.PAYMENT_CANCELLED_AFTER_CANCEL),
    ),
    Column("fulfilled_at", Words("may ship", "出荷可日時"), lambda line: line.payment.fulfilled_at),
    Column("error_code", Words("error code", "エラーコード"), _of_application(lambda each: each.error_code)),
    Column("reissued", Words("re-issued", "再発行"), _of_application(lambda each: each.reissued)),
    Column("test", Words("test", "テスト"), _of_application(lambda each: each.test)),
    Column("open_reviews", Words("open reviews", "要確認"), lambda line: line.open_reviews),
    Column("purged_at", Words("purged", "個人情報削除日時"), lambda line: line.payment.purged_at),
    Column("name", Words("name", "氏名"), lambda line: line.customer.name, personal=True),
    Column("phone", Words("telephone", "電話番号"), lambda line: line.customer.phone, personal=True),
    Column("email", Words("e-mail", "メールアドレス"), lambda line: line.customer.email, personal=True),
)


def columns(*, reveal: bool) -> tuple[Column, ...]:
    """Choose the columns: those with customers' details only if they are to be revealed."""
    return tuple(each for each in COLUMNS if reveal or not each.personal)


def batches(database: Database, filters: Filters) -> Iterator[Sequence[Line]]:
    """Read what matches, oldest payment first, and its applications in the order of their making."""
    found = database.read(lambda session: conditions(session, filters))
    last = 0
    while True:
        wanted = sa.select(Payment).where(*found, Payment.id > last).order_by(Payment.id).limit(BATCH)
        lines, payments = database.read(lambda session, wanted=wanted: _lines(session, wanted))  # type: ignore[misc]
        if not payments:
            return
        last = payments[-1].id
        yield lines


def _lines(session: Session, wanted: sa.Select[Any]) -> tuple[list[Line], Sequence[Payment]]:
    payments = session.scalars(wanted).all()
    ids = [each.id for each in payments]
    told, asked = _told(session, ids), _asked(session, ids)
    lines = [
        Line(payment, application, told.get(application.id if application else None, {}), asked[payment.id])
        for payment in payments
        for application in payment.applications or (None,)
    ]
    return lines, payments


def _told(session: Session, ids: Sequence[int]) -> Mapping[int | None, Mapping[EventKind, datetime]]:
    kinds = (
        EventKind.PAYMENT_RECEIVED,
        EventKind.PAYMENT_RECEIVED_AFTER_CANCEL,
        EventKind.SALE_CONFIRMED,
        EventKind.SALE_CONFIRMED_AFTER_CANCEL,
        EventKind.PAYMENT_CANCELLED,
        EventKind.PAYMENT_CANCELLED_AFTER_CANCEL,
    )
    first = (
        sa.select(Event.application_id, Event.kind, sa.func.min(Event.occurred_at))
        .where(Event.payment_id.in_(ids), Event.kind.in_(kinds))
        .group_by(Event.application_id, Event.kind)
    )
    told: dict[int | None, dict[EventKind, datetime]] = defaultdict(dict)
    for application_id, kind, moment in session.execute(first):
        told[application_id][kind] = moment
    return told


def _asked(session: Session, ids: Sequence[int]) -> Counter[int | None]:
    """Count the open reviews of each payment."""
    asked = sa.select(Review.payment_id).where(Review.payment_id.in_(ids), Review.resolved_at.is_(None))
    return Counter(session.scalars(asked))


# --- JSON lines ------------------------------------------------------------------------------------------------


class JsonLines:
    """Writes each line as a JSON object: moments in ISO 8601 with their zone, states and stores by their codes."""

    def __init__(self, chosen: Sequence[Column]) -> None:
        self._columns = chosen
        self.replaced = 0

    def heads(self) -> bytes:
        """Return nothing: each line names its values."""
        return b""

    def write(self, lines: Iterable[Line]) -> bytes:
        objects = ({each.key: _plain(each.read(line)) for each in self._columns} for line in lines)
        return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects).encode()


def _plain(value: Value) -> str | int | None:
    if isinstance(value, datetime):
        return value.astimezone(JST).isoformat()
    return value.isoformat() if isinstance(value, date) else value


# --- CSV -------------------------------------------------------------------------------------------------------

#: With what a cell begins that a spreadsheet takes for a formula; also in full width, as Japanese ones do.
_FORMULA = re.compile(r"\s*[=+\-@\t\r\n＝＋－−＠]")
_MONTH = (
    "(?:JAN(?:UARY)?|FEB(?:RUARY)?|MAR(?:CH)?|APR(?:IL)?|MAY|JUNE?|JULY?|AUG(?:UST)?|SEP(?:TEMBER)?|OCT(?:OBER)?|"
    "NOV(?:EMBER)?|DEC(?:EMBER)?)"
)
#: What a spreadsheet takes for a number, an hour, a date (also 令和) or a truth, and shows otherwise than it is written.
_SPOILED = re.compile(
    rf"[.,¥￥$(]?\d(?:[\d.,/:+\-() %年月日時分秒EAP]|[AP]M|{_MONTH})*$"
    rf"|[MTSHR]\d{{1,2}}[./-]|{_MONTH}[-./ ]?\d|(?:TRUE|FALSE)$",
    re.IGNORECASE,
)
#: What can stand in the quotes of a spreadsheet's text formula as it is.
_QUOTABLE = re.compile(r"[^\"\x00-\x1f]{1,255}")
#: Characters that cp932 has under another number, which looks the same.
_ALIKE = str.maketrans("〜−—‖¢£¬¥", "～－―∥￠￡￢￥")


@dataclass
class Csv:
    """Writes lines for spreadsheets: safe to open, and with numbers that are names kept as they are.

    ``plain`` leaves such numbers bare, for programs. What the encoding lacks becomes `LACKING`, and is counted.
    """

    chosen: Sequence[Column]
    language: str = "ja"
    encoding: str = "utf-8"
    plain: bool = False
    replaced: int = field(default=0, init=False)

    def heads(self) -> bytes:
        """Return the first line; in UTF-8 with the mark by which Excel knows it."""
        mark = b"\xef\xbb\xbf" if self.encoding == "utf-8" else b""
        return mark + self._encoded([[each.head.said(self.language) for each in self.chosen]])

    def write(self, lines: Iterable[Line]) -> bytes:
        return self._encoded([self._cell(each.read(line)) for each in self.chosen] for line in lines)

    def _cell(self, value: Value) -> str | int:
        if isinstance(value, State):
            return STATES[value].ja if self.language == "ja" else value.value
        if type(value) in _CELLS:
            return _CELLS[type(value)](value)
        return neutralised(str(value), plain=self.plain) if value else ""

    def _encoded(self, rows: Iterable[Sequence[str | int]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        try:
            return text.getvalue().encode(self.encoding)
        except UnicodeEncodeError:
            return b"".join(map(self._replaced, text.getvalue().translate(_ALIKE).splitlines(keepends=True)))

    def _replaced(self, part: str) -> bytes:
        """Encode a part as far as it can be, line by line and then character by character."""
        try:
            return part.encode(self.encoding)
        except UnicodeEncodeError:
            if len(part) > 1:
                return b"".join(map(self._replaced, part))
            self.replaced += 1
            return LACKING.encode(self.encoding)


def neutralised(text: str, *, plain: bool = False) -> str:
    """Make a text safe for a spreadsheet: a formula begins with an apostrophe, and what would be taken for a number
    or a date is written as a text, ``="0123"``, unless ``plain``."""
    if _FORMULA.match(text):
        return "'" + text
    if not plain and _SPOILED.match(text) and _QUOTABLE.fullmatch(text):
        return f'="{text}"'
    return text


def _moment(value: datetime) -> str:
    return f"{value.astimezone(JST):%Y-%m-%d %H:%M:%S}"


#: How each kind of value is written; states have their language, all others are texts.
_CELLS: Mapping[type, Callable[[Any], str | int]] = MappingProxyType(
    {
        bool: int,
        Store: lambda value: STORES[value].name,
        datetime: _moment,
        date: lambda value: value.isoformat(),
        int: int,
    }
)
