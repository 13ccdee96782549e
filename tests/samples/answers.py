"""Answers to an application as bytes, spelled by hand; one list drives reader and writer.

Sources: the manual's レスポンス例 for names, order and the spaces round some of the ``=``; what real clients
of the endpoint cope with for the rest (named at each sample). Numbers and addresses are made up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from flask_zeus_cvs.protocol.messages import Answer, Outcome


@dataclass(frozen=True)
class Sample:
    """Bytes and what they say; `style` (arguments of ``encode``) where our writer must make exactly these."""

    source: str
    raw: bytes
    value: Answer
    style: dict[str, bool] | None = None


LAWSON = Answer(
    Outcome.accepted,
    order_no="2024-0001.77",
    pay_no1="12345678",
    pay_no2="987654",
    pay_limit=date(2024, 2, 29),
)
SEVEN = Answer(
    Outcome.accepted,
    order_no="2024-0001.78",
    pay_no1="1234567890123",
    pay_limit=date(2024, 12, 31),
    pay_url="https://pay.example/slip.cgi?id=77&key=A=B",
)
MAINTENANCE = Answer(Outcome.declined, error_code="0008")

ANSWERS = [
    Sample(
        "manual, spaces round = as in its sample: on the first four lines, not on the last three",
        b"rel = Success_order\norder_no = 2024-0001.77\npay_no1 = 12345678\npay_no2 = 987654\n"
        b"pay_limit=20240229\npay_url=\nerror_code=\n",
        LAWSON,
        {"spaced": True},
    ),
    Sample(
        "manual, no spaces; the query of pay_url has = of its own",
        b"rel=Success_order\norder_no=2024-0001.78\npay_no1=1234567890123\npay_no2=\n"
        b"pay_limit=20241231\npay_url=https://pay.example/slip.cgi?id=77&key=A=B\nerror_code=\n",
        SEVEN,
        {},
    ),
    Sample(
        "real clients: CRLF",
        b"rel=Success_order\r\norder_no=2024-0001.77\r\npay_no1=12345678\r\npay_no2=987654\r\n"
        b"pay_limit=20240229\r\npay_url=\r\nerror_code=\r\n",
        LAWSON,
        {"crlf": True},
    ),
    Sample(
        "manual, an application error; the error code keeps its leading zeros",
        b"rel=failure_order\norder_no=\npay_no1=\npay_no2=\npay_limit=\npay_url=\nerror_code=0008\n",
        MAINTENANCE,
        {},
    ),
    Sample(
        "real clients: a plain text names the parameter",
        b"Invalid telno",
        Answer(Outcome.declined, parameter="telno"),
        {},
    ),
    Sample(
        "an empty body, from something in between",
        b"",
        Answer(Outcome.unknown),
        {},
    ),
    Sample(
        "any order of the lines, blank lines, no end of line at the end, a tab, an unknown line",
        b"\n\nerror_code=\npay_no2 =987654\r\n\r\nhello=world\npay_no1\t=\t12345678\nnothing\n"
        b"pay_limit= 20240229 \norder_no=2024-0001.77\rrel= Success_order",
        LAWSON,
    ),
    Sample(
        "manual, containment: the word decides where there is no such line",
        b"OK Success_order order_no=1",
        Answer(Outcome.accepted),
    ),
    Sample(
        "a rel line of neither word leaves it to containment",
        b"rel=Success_order;\norder_no=1\n",
        Answer(Outcome.accepted, order_no="1", faults=("rel",)),
    ),
    Sample(
        "the rel line decides, whatever other lines contain",
        b"rel=failure_order\npay_url=https://pay.example/Success_order\nerror_code=900000\n",
        Answer(Outcome.declined, pay_url="https://pay.example/Success_order", error_code="900000"),
    ),
    Sample(
        "both words and no rel line: nobody knows",
        b"Success_order or failure_order",
        Answer(Outcome.unknown),
    ),
    Sample(
        "two rel lines that differ: nobody knows",
        b"rel=Success_order\nrel=failure_order\norder_no=1\n",
        Answer(Outcome.unknown, order_no="1", faults=("rel",)),
    ),
    Sample(
        "containment of failure_order alone",
        b"status: failure_order",
        Answer(Outcome.declined),
    ),
    Sample(
        "one bad field of each kind is dropped and named, and the rest stands",
        b"rel=Success_order\norder_no=2024/0001\npay_no1=1234-5678\npay_no2=123456789012345678901\n"
        b"pay_limit=20240230\npay_url=javascript:alert(1)\nerror_code=E1\n",
        Answer(
            Outcome.accepted,
            faults=("order_no", "pay_no1", "pay_no2", "pay_limit", "pay_url", "error_code"),
        ),
    ),
    Sample(
        "a field given twice with different values is dropped; with the same value it stands",
        b"rel=Success_order\nrel=Success_order\norder_no=1\norder_no=1\npay_no1=2\npay_no1=3\n",
        Answer(Outcome.accepted, order_no="1", faults=("pay_no1",)),
    ),
    Sample(
        "a deadline of more than 59 days: never a reason to reject",
        b"rel=Success_order\norder_no=1\npay_limit=99991231\n",
        Answer(Outcome.accepted, order_no="1", pay_limit=date(9999, 12, 31)),
    ),
    Sample(
        "full-width digits are not payment numbers",
        b"rel=Success_order\norder_no=1\npay_no1=\x82\x50\x82\x51\n",
        Answer(Outcome.accepted, order_no="1", faults=("pay_no1",)),
    ),
    Sample(
        "cut off in the middle of the word that decides",
        b"rel = Success_ord",
        Answer(Outcome.unknown, faults=("rel",)),
    ),
    Sample(
        "cut off in the middle of a payment number: a last line without an end may go on",
        b"rel = Success_order\norder_no = 2024-0001.77\npay_no1 = 1234",
        Answer(Outcome.accepted, order_no="2024-0001.77", faults=("pay_no1",)),
    ),
    Sample(
        "cut off in the middle of the order number",
        b"rel=Success_order\r\norder_no=2024-00",
        Answer(Outcome.accepted, faults=("order_no",)),
    ),
    Sample(
        "cut off in the middle of the error code",
        b"rel=failure_order\norder_no=\npay_no1=\npay_no2=\npay_limit=\nerror_code=8000",
        Answer(Outcome.declined, faults=("error_code",)),
    ),
    Sample(
        "cut off behind a name: a blank value has nothing to drop",
        b"rel=Success_order\norder_no=1\npay_no1=",
        Answer(Outcome.accepted, order_no="1"),
    ),
    Sample(
        "cut off between CR and LF: the line has its end",
        b"rel=Success_order\r\norder_no=1\r\npay_no1=1234\r",
        Answer(Outcome.accepted, order_no="1", pay_no1="1234"),
    ),
    Sample(
        "all seven lines are there, and only the last one's end is missing",
        b"rel=failure_order\norder_no=\npay_no1=\npay_no2=\npay_limit=\npay_url=\nerror_code=0008",
        MAINTENANCE,
    ),
    Sample(
        "the word that decides needs no end of its line",
        b"rel=Success_order",
        Answer(Outcome.accepted),
    ),
    Sample(
        "another case is another word",
        b"rel=success_order\norder_no=1\n",
        Answer(Outcome.unknown, order_no="1", faults=("rel",)),
    ),
]

#: Plain texts and the request parameter that each complains of. Source: the manual says no more than that such
#: a text contains the parameter's name; real clients expect ``Invalid <parameter>``.
COMPLAINTS = [
    (b"Invalid clientip", "clientip"),
    (b"Invalid act", "act"),
    (b"Invalid money", "money"),
    (b"Invalid username", "username"),
    (b"Invalid telno", "telno"),
    (b"Invalid email", "email"),
    (b"Invalid pay_cvs", "pay_cvs"),
    (b"Invalid sendid", "sendid"),
    (b"Invalid sendpoint", "sendpoint"),
    (b"Invalid testid", "testid"),
    (b"Invalid test_type", "test_type"),
    (b"\r\nInvalid email\r\n", "email"),
    (b"email", "email"),
    (b"email is invalid.", "email"),
    (b"ERROR: [money]", "money"),
    (b"telno=", "telno"),
    (b"The value of the parameter telno is not one that we take.", "telno"),
    (b"Invalid telno, sendid", "telno"),
    # "パラメータtelnoが不正です" in Shift_JIS (the byte before telno is 5E) and in UTF-8
    (b"\x83\x70\x83\x89\x83\x81\x81\x5b\x83\x5etelno\x82\xaa\x95\x73\x90\xb3\x82\xc5\x82\xb7", "telno"),
    (
        b"\xe3\x83\x91\xe3\x83\xa9\xe3\x83\xa1\xe3\x83\xbc\xe3\x82\xbftelno"
        b"\xe3\x81\x8c\xe4\xb8\x8d\xe6\xad\xa3\xe3\x81\xa7\xe3\x81\x99",
        "telno",
    ),
]

#: What something in between, or a gateway in trouble, may say: a slip may exist, so none of it is a refusal.
UNINTELLIGIBLE = [
    b"maintenance",
    b"OK",
    b"\r\n\r\n",
    b"\x00\xff\xfe\x80telno\x81",
    b"<html><body><h1>502 Bad Gateway</h1><p>Write an email to the administrator</p></body></html>",
    b"<!DOCTYPE html><title>telno</title>",
    b"<p>Invalid email",
    b"502 Bad Gateway: for help write an email to us",
    b"Invalid username or password",
    b"Contact email@example.net",
    b"email@example.net",
    b"contact: help@email",
    b"Please act now, or lose money",
    b"Access denied for clientip 203.0.113.7",
    b"Invalid telno2",
    b"contact us",
    b"subtelno",
    b"Invalid TELNO",
    b"telno " + b"." * 100,
    # "メンテナンス中 email" in Shift_JIS
    b"\x83\x81\x83\x93\x83\x65\x83\x69\x83\x93\x83\x58\x92\x86 email",
]
