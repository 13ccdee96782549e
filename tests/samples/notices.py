"""Notices as bytes, spelled by hand; one list drives reader and writer.

Sources: names, order, sizes and values are those of the manual's table 決済結果（CGIコール）; how they are
escaped is what real clients of the endpoint cope with (named at each sample). Kana bytes are row 5 of
JIS X 0208 in Shift_JIS. Numbers and addresses are made up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.protocol.messages import Notice


@dataclass(frozen=True)
class Sample:
    """Bytes and what they say; `names` (what the shop asked for) where our writer must make exactly these."""

    source: str
    raw: bytes
    value: Notice
    names: tuple[str, ...] | None = None


FULL = Notice(
    status=Status.PAYMENT_RECEIVED,
    clientip="0012345678",
    money=3000,
    username="ヤマダ　タロウ",
    telno="09012345678",
    email="hanako@example.jp",
    sendid="A1B2C3",
    sendpoint="order-7",
    order_no="2024-0001.77",
    pay_cvs=Store.LAWSON,
    pay_no1="12345678",
    pay_no2="987654",
    pay_limit=date(2024, 2, 29),
)

NOTICES = [
    Sample(
        "manual, all fourteen in its order; a missing value is blank",
        b"clientip=0012345678&money=3000&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E"
        b"&telno=09012345678&email=hanako%40example.jp&sendid=A1B2C3&sendpoint=order-7"
        b"&order_no=2024-0001.77&pay_cvs=D002&pay_no1=12345678&pay_no2=987654"
        b"&pay_limit=20240229&status=04&error_code=",
        FULL,
        NOTICE,
    ),
    Sample(
        "real clients: every byte escaped, lower-case hex; another order; the registered URL's own query",
        b"shop=7&status=%30%34&order_no=2024-0001.77&username=%83%84%83%7d%83%5f%81%40%83%5e%83%8d%83%45"
        b"&error_code&pay_limit=20240229&pay_no2=987654&pay_no1=12345678&pay_cvs=D002&sendpoint=order-7"
        b"&sendid=A1B2C3&email=hanako@example.jp&telno=09012345678&money=3000&clientip=0012345678&&",
        FULL,
    ),
    Sample(
        "Shift_JIS bytes that nobody escaped",
        b"clientip=0012345678&money=3000&username=\x83\x84\x83\x7d\x83\x5f\x81\x40\x83\x5e\x83\x8d\x83\x45"
        b"&telno=09012345678&email=hanako%40example.jp&sendid=A1B2C3&sendpoint=order-7"
        b"&order_no=2024-0001.77&pay_cvs=D002&pay_no1=12345678&pay_no2=987654"
        b"&pay_limit=20240229&status=04&error_code=",
        FULL,
    ),
    Sample(
        "manual: the shop chooses the parameters; the fewest that work",
        b"order_no=7&status=05",
        Notice(status=Status.SALE_CONFIRMED, order_no="7"),
        ("order_no", "status"),
    ),
    Sample(
        "manual: the shop chose sendid and not order_no",
        b"sendid=A1&money=299999&status=06",
        Notice(status=Status.PAYMENT_CANCELLED, sendid="A1", money=299999),
        ("sendid", "money", "status"),
    ),
    Sample(
        "a failed application has no numbers",
        b"sendid=A1&order_no=&pay_no1=&pay_limit=&status=02&error_code=0013",
        Notice(status=Status.APPLICATION_FAILED, sendid="A1", error_code="0013"),
        ("sendid", "order_no", "pay_no1", "pay_limit", "status", "error_code"),
    ),
    Sample(
        "the width of the space in a name is open: half-width stands, as + or as %20",
        b"order_no=7&status=01&username=%83%84+%83%7D%20%83A",
        Notice(status=Status.AWAITING_PAYMENT, order_no="7", username="ヤ マ ア"),
    ),
    Sample(
        "real clients: symbols of a free parameter arrive doubly escaped; one layer is ours to undo",
        b"order_no=7&status=03&sendpoint=a%2521b",
        Notice(status=Status.EXPIRED, order_no="7", sendpoint="a%21b"),
    ),
    Sample(
        "the yen sign of a free parameter is byte 5C",
        b"order_no=7&sendpoint=%5C100&status=11",
        Notice(status=Status.RECEIVED_AFTER_CANCEL, order_no="7", sendpoint="\\100"),
        ("order_no", "sendpoint", "status"),
    ),
    Sample(
        "faults that decide nothing are dropped and named; here every one of them",
        b"clientip=12345&money=3000&username=%8E%52%93%63&telno=%82%4F&email=nobody&sendid=%83A"
        b"&sendpoint=%22&order_no=7&pay_cvs=D999&pay_no1=1-2&pay_no2=%81&pay_limit=20240230"
        b"&status=12&error_code=E1",
        Notice(
            status=Status.CONFIRMED_AFTER_CANCEL,
            money=3000,
            order_no="7",
            faults=(
                "clientip",
                "username",
                "telno",
                "email",
                "sendid",
                "sendpoint",
                "pay_cvs",
                "pay_no1",
                "pay_no2",
                "pay_limit",
                "error_code",
            ),
        ),
    ),
    Sample(
        "a bad order_no harms nothing where sendid is good",
        b"order_no=a%2Fb&sendid=A1&status=13",
        Notice(status=Status.CANCELLED_AFTER_CANCEL, sendid="A1", faults=("order_no",)),
    ),
    Sample(
        "a name in UTF-8 is no name in Shift_JIS, and that harms nothing",
        b"order_no=7&status=04&username=%E3%83%A4%E3%83%9E%E3%83%80",
        Notice(status=Status.PAYMENT_RECEIVED, order_no="7", faults=("username",)),
    ),
    Sample(
        "repeats: the same value stands, blanks give way, different values that decide nothing are dropped",
        b"order_no=7&order_no=7&status=04&status=&money=+&money=300&telno=0312345678&telno=0312345679",
        Notice(status=Status.PAYMENT_RECEIVED, order_no="7", money=300, faults=("telno",)),
    ),
    Sample(
        "an amount that no shop could ask for is still a number; the reader does not judge it",
        b"order_no=7&status=04&money=1",
        Notice(status=Status.PAYMENT_RECEIVED, order_no="7", money=1),
    ),
    Sample(
        "a + between names and a broken escape are read for what they are",
        b"order_no=7&status=04&sendpoint=100%&a+b=c&=d&%zz=1",
        Notice(status=Status.PAYMENT_RECEIVED, order_no="7", sendpoint="100%"),
    ),
]

#: Notices that cannot be acted on, and the reason given.
UNREADABLE = [
    (b"", "status is missing"),
    (b"hello=world", "status is missing"),
    (b"order_no=7&money=3000", "status is missing"),
    (b"order_no=7&status=", "status is missing"),
    (b"order_no=7&status=07", "status is none of the nine"),
    (b"order_no=7&status=4", "status is none of the nine"),
    (b"order_no=7&status=%82%4F%82%53", "status is none of the nine"),
    (b"order_no=7&status=%81", "status is none of the nine"),
    (b"order_no=7&status=04%0A", "status is none of the nine"),
    (b"STATUS=04&order_no=7", "status is missing"),
    (b"status=04", "neither a good order_no nor a good sendid"),
    (b"status=04&order_no=&sendid=+", "neither a good order_no nor a good sendid"),
    (b"status=04&order_no=a%2Fb&sendid=%26", "neither a good order_no nor a good sendid"),
    (b"status=04&order_no=%82%56", "neither a good order_no nor a good sendid"),
    (b"status=04&order_no=" + b"7" * 51, "neither a good order_no nor a good sendid"),
    (b"status=04&order_no=7&money=3,000", "money is not one to six half-width digits"),
    (b"status=04&order_no=7&money=-1", "money is not one to six half-width digits"),
    (b"status=04&order_no=7&money=1234567", "money is not one to six half-width digits"),
    (b"status=04&order_no=7&money=%82%52", "money is not one to six half-width digits"),
    (b"status=04&order_no=7&money=300%0A", "money is not one to six half-width digits"),
    (b"status=04&order_no=7&money=%81", "money is not one to six half-width digits"),
    (b"status=04&status=05&order_no=7", "status is given twice with different values"),
    (b"status=04&order_no=7&order_no=8", "order_no is given twice with different values"),
    (b"status=04&order_no=7&sendid=A&sendid=B", "sendid is given twice with different values"),
    (b"status=04&order_no=7&money=300&money=0300", "money is given twice with different values"),
]
