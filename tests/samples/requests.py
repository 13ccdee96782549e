"""Application requests as bytes, spelled by hand; one list drives reader and writer.

Sources: names, sizes and values are those of the manual's table 送信パラメータ一覧; the bytes of the kana
are rows 1 and 5 of JIS X 0208 in Shift_JIS (ア = 83 41 … ー = 81 5B, full-width space = 81 40); the
escapes are those of application/x-www-form-urlencoded.
"""

from __future__ import annotations

from dataclasses import dataclass

from flask_zeus_cvs.protocol.codes import Store, TestType
from flask_zeus_cvs.protocol.fields import Problem
from flask_zeus_cvs.protocol.messages import ApplicationRequest


@dataclass(frozen=True)
class Sample:
    """Bytes and what they say; `written` where our writer must make exactly these bytes."""

    source: str
    raw: bytes
    value: ApplicationRequest
    written: bool = True


REQUESTS = [
    Sample(
        "manual, the seven required parameters in its order; the second bytes 7D and 5F of マ and ダ",
        b"clientip=0012345678&act=secure_order&money=3000"
        b"&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E"
        b"&telno=0312345678&email=hanako%40example.jp&pay_cvs=D002",
        ApplicationRequest(
            clientip="0012345678",
            money=3000,
            username="ヤマダ　タロウ",
            telno="0312345678",
            email="hanako@example.jp",
            pay_cvs=Store.LAWSON,
        ),
    ),
    Sample(
        "manual, all eleven parameters; a test that ends as 売上確定",
        b"clientip=1234567890&act=secure_order&money=299999"
        b"&username=%83T%83g%81%5B&telno=09012345678&email=a%40b&pay_cvs=D001"
        b"&sendid=A1B2C3D4E5F6G7H8I9J0K1L2M&sendpoint=order+1&testid=12345678&test_type=1",
        ApplicationRequest(
            clientip="1234567890",
            money=299999,
            username="サトー",
            telno="09012345678",
            email="a@b",
            pay_cvs=Store.SEVEN_ELEVEN,
            sendid="A1B2C3D4E5F6G7H8I9J0K1L2M",
            sendpoint="order 1",
            testid="12345678",
            test_type=TestType.SALE_CONFIRMED,
        ),
    ),
    Sample(
        "manual, every symbol of a free parameter; the yen sign is byte 5C",
        b"clientip=1234567890&act=secure_order&money=200&username=%83%93&telno=012345678"
        b"&email=foo..bar%40docomo.ne.jp&pay_cvs=D060"
        b"&sendid=%5C%21%23%24%25%28%29~%7C-+%40%5B%3A%5D.%2F%60%7B%2A%7D%3F_%2B%3D"
        b"&sendpoint=%3D%5E",
        ApplicationRequest(
            clientip="1234567890",
            money=200,
            username="ン",
            telno="012345678",
            email="foo..bar@docomo.ne.jp",
            pay_cvs=Store.DAILY_YAMAZAKI,
            sendid="\\!#$%()~|- @[:]./`{*}?_+=",
            sendpoint="=^",
        ),
    ),
    Sample(
        "a real client: span, the undocumented days until the deadline",
        b"clientip=1234567890&act=secure_order&money=500&username=%83A&telno=0312345678"
        b"&email=a%40b&pay_cvs=D030&span=2",
        ApplicationRequest(
            clientip="1234567890",
            money=500,
            username="ア",
            telno="0312345678",
            email="a@b",
            pay_cvs=Store.FAMILYMART,
            span=2,
        ),
    ),
    Sample(
        "other order, lower-case hex, every byte escaped, blank and unknown parameters",
        b"pay_cvs=D015&email=a%40b&telno=0312345678&username=%83%5c%81%5b&sendid=&hello=world"
        b"&money=500&act=%73ecure_order&clientip=1234567890&testid=",
        ApplicationRequest(
            clientip="1234567890",
            money=500,
            username="ソー",
            telno="0312345678",
            email="a@b",
            pay_cvs=Store.SEICOMART,
        ),
        written=False,
    ),
    Sample(
        "Shift_JIS bytes that nobody escaped, the second byte of ソ being a backslash",
        b"clientip=1234567890&act=secure_order&money=500&username=\x83\x5c\x81\x40\x83\x5c&telno=0312345678"
        b"&email=a@b&pay_cvs=D050",
        ApplicationRequest(
            clientip="1234567890",
            money=500,
            username="ソ　ソ",
            telno="0312345678",
            email="a@b",
            pay_cvs=Store.MINISTOP,
        ),
        written=False,
    ),
]

#: A good body in pieces, for the samples below to spoil one of.
GOOD = {
    b"clientip": b"1234567890",
    b"act": b"secure_order",
    b"money": b"3000",
    b"username": b"%83%84%83%7D",
    b"telno": b"0312345678",
    b"email": b"a%40b",
    b"pay_cvs": b"D002",
    b"sendid": b"A1",
    b"sendpoint": b"B2",
    b"testid": b"12345678",
    b"test_type": b"0",
}


@dataclass(frozen=True)
class Spoilt:
    """One parameter with a value that the manual's table forbids, and what is said of it."""

    name: bytes
    value: bytes
    problem: Problem
    detail: str = ""

    @property
    def raw(self) -> bytes:
        return b"&".join(name + b"=" + value for name, value in {**GOOD, self.name: self.value}.items())


#: Source: the conditions in the manual's table 送信パラメータ一覧, one by one.
SPOILT = [
    Spoilt(b"clientip", b"", Problem.required),
    Spoilt(b"clientip", b"123456789", Problem.length, "10"),
    Spoilt(b"clientip", b"12345678901", Problem.too_long, "10"),
    Spoilt(b"clientip", b"192.0.2.10", Problem.digits, "."),
    Spoilt(b"act", b"", Problem.required),
    Spoilt(b"act", b"Secure_order", Problem.choice),
    Spoilt(b"money", b"", Problem.required),
    Spoilt(b"money", b"199", Problem.range, "200"),
    Spoilt(b"money", b"300000", Problem.range, "299999"),
    Spoilt(b"money", b"1000000", Problem.too_long, "6"),
    Spoilt(b"money", b"3,000", Problem.digits, ","),
    Spoilt(b"money", b"-3000", Problem.digits, "-"),
    Spoilt(b"money", b"%82%52%82%4f%82%4f", Problem.digits, "３"),
    Spoilt(b"username", b"", Problem.required),
    Spoilt(b"username", b"%81%40%81%40", Problem.required),
    Spoilt(b"username", b"%8E%52%93%63", Problem.katakana, "山"),
    Spoilt(b"username", b"%82%DC", Problem.katakana, "ま"),
    Spoilt(b"username", b"%CF", Problem.character, "ﾏ"),
    Spoilt(b"username", b"%83%84+%83%7D", Problem.katakana, " "),
    Spoilt(b"username", b"%83%84%0D%0A%83%7D", Problem.control, "U+000D"),
    Spoilt(b"username", b"%83A" * 21, Problem.too_long, "20"),
    Spoilt(b"username", b"%E3%83%A4%E3%83%9E%E3%83", Problem.encoding),
    Spoilt(b"telno", b"", Problem.required),
    Spoilt(b"telno", b"03-1234-5678", Problem.digits, "-"),
    Spoilt(b"telno", b"312345678", Problem.first_digit, "0"),
    Spoilt(b"telno", b"01234567", Problem.too_short, "9"),
    Spoilt(b"telno", b"012345678901", Problem.too_long, "11"),
    Spoilt(b"email", b"", Problem.required),
    Spoilt(b"email", b"hanako", Problem.malformed),
    Spoilt(b"email", b"%40example.jp", Problem.malformed),
    Spoilt(b"email", b"hanako%40", Problem.malformed),
    Spoilt(b"email", b"hana+ko%40example.jp", Problem.character, " "),
    Spoilt(b"email", b"%82%81%40b", Problem.character, "ａ"),
    Spoilt(b"email", b"a%40" + b"b" * 49, Problem.too_long, "50"),
    Spoilt(b"pay_cvs", b"", Problem.required),
    Spoilt(b"pay_cvs", b"D003", Problem.choice),
    Spoilt(b"pay_cvs", b"d001", Problem.choice),
    Spoilt(b"sendid", b"%26", Problem.character, "&"),
    Spoilt(b"sendid", b"%2C", Problem.character, ","),
    Spoilt(b"sendid", b"%83A", Problem.character, "ア"),
    Spoilt(b"sendid", b"x" * 26, Problem.too_long, "25"),
    Spoilt(b"sendpoint", b"%22", Problem.character, '"'),
    Spoilt(b"sendpoint", b"x" * 51, Problem.too_long, "50"),
    Spoilt(b"testid", b"1234567a", Problem.digits, "a"),
    Spoilt(b"testid", b"123456789", Problem.too_long, "8"),
    Spoilt(b"test_type", b"3", Problem.choice),
    Spoilt(b"test_type", b"01", Problem.choice),
    Spoilt(b"span", b"1", Problem.range, "2"),
    Spoilt(b"span", b"60", Problem.range, "59"),
    Spoilt(b"span", b"3d", Problem.digits, "d"),
    Spoilt(b"money", b"3000&money=4000", Problem.repeated),
]
