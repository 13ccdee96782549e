"""What can be wrong with bytes: one table for notices, one for answers, and what both have in common.

Each takes the dice and the bytes, and returns other bytes. The samples that it starts from are spelled by hand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

from flask_zeus_cvs.protocol.fields import ANSWER, NOTICE, REQUEST
from tests.conftest import CLIENT_IP
from tests.fuzz.reading import LIMIT
from tests.fuzz.stage import STORES, WAITING
from tests.samples import answers, notices

Mischief = Callable[[random.Random, bytes], bytes]

STATUSES = (b"01", b"02", b"03", b"04", b"05", b"06", b"11", b"12", b"13")
#: Values that no field was made for, as bytes that are not escaped yet.
ODD_VALUES = (
    b"",
    b" ",
    b"0",
    b"-1",
    b"+3000",
    b"3,000",
    b"3000.0",
    b"3e3",
    b"0x10",
    b"299999",
    b"300000",
    b"999999",
    b"1000000",
    b"9" * 40,
    b"00003000",
    b"04 ",
    b" 04",
    b"4",
    b"O4",
    b"a",
    b"07",
    b"99",
    b"04\x00",
    b"04\n05",
    b"20240230",
    b"20241301",
    b"00000000",
    b"00010101",
    b"99991231",
    b"2024-1-1",
    b"2024W011",
    b"\x82\x4f\x82\x53",  # 04 in full-width digits
    b"\x82\x52\x82\x4f\x82\x4f\x82\x4f",  # 3000, the same
    b"\xd9\xa0\xd9\xa4",  # 04 in Arabic digits, UTF-8
    b"\xe0\xa5\xa6\xe0\xa5\xaa",  # 04 in Devanagari, UTF-8
    b"\xef\xbc\x90\xef\xbc\x94",  # 04 in full-width digits, UTF-8
    b"\xb2",  # a superscript two in Latin-1, half-width katakana here
    b"\x81",
    b"\x83\x84\x83",
    b"\x80",
    b"\xa0",
    b"\xfd\xfe\xff",
    b"\xff\xfe\x00",
    b"\xe3\x83\xa4\xe3\x83\x9e",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\x83\x84\x81\x40\x83\x7d",
    b"\x87\x40\xfb\xfc",  # cp932 has these, the standard has not
    b"\x00",
    b"\x1b[31m",
    b"\r\nSet-Cookie: a=b",
    b"\x7f\x08\x0b\x0c\x1c\x1d\x1e\x85",
    b"'; drop table zeus_cvs_payments; --",
    b"<script>alert(1)</script>",
    b"{{7*7}}%(name)s{0}%n%s",
    b"../../etc/passwd",
    b"None",
    b"NaN",
    b"true",
    b"[]",
    b"D001",
    b"d002",
    b"D999",
    b"9999999999",
    b"0123456789012345678901234567890123456789",
    b"A" * 26,
    b"A" * 51,
    b"A" * 1000,
    b"\x83\x84" * 500,
    b"1" * 5000,
    b"=&=&",
    b"+",
    b"%",
    b"a%2521b",
    b"&#x30;4",
)
#: Pieces that break a reader of percent-escapes.
BROKEN_ESCAPES = (
    b"%",
    b"%%",
    b"%2",
    b"%zz",
    b"%u3042",
    b"%00",
    b"%0",
    b"%81",
    b"%ff%fe",
    b"%+",
    b"+%20+",
    b"%EF%BB%BF",
)
#: Pieces of what stands between us and ZEUS, or in nobody's way.
STRAY = (
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\x0b",
    b"\x0c",
    b"\x1a",
    b"\x1c",
    b"\x85",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x81",
    b"&",
    b"=",
    b";",
    b"?",
    b"#",
    b"&&&===",
    b"<!DOCTYPE html><html><body><h1>502</h1></body></html>",
    b"<br />\n",
    b"\x1f\x8b\x08\x00",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"Success_order",
    b"failure_order",
    b"rel=",
    b"status=04&",
    b"maintenance",
    b"telno",
)


@dataclass(frozen=True)
class Aim:
    """Which application an input is about."""

    order_no: str
    sendid: str
    amount: int


# What both have in common


def flip(dice: random.Random, raw: bytes) -> bytes:
    """Some bytes are others."""
    changed = bytearray(raw)
    for _ in range(dice.randint(1, 4) if changed else 0):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def insert(dice: random.Random, raw: bytes) -> bytes:
    """Something stray stands somewhere."""
    place = dice.randint(0, len(raw))
    return raw[:place] + dice.choice(STRAY) + raw[place:]


def begin(dice: random.Random, raw: bytes) -> bytes:
    """Something stray stands before it."""
    return dice.choice(STRAY) + raw


def delete(dice: random.Random, raw: bytes) -> bytes:
    """A stretch is missing."""
    place = dice.randint(0, len(raw))
    return raw[:place] + raw[place + dice.randint(1, 12) :]


def repeat(dice: random.Random, raw: bytes) -> bytes:
    """A stretch stands there again."""
    place = dice.randint(0, len(raw))
    return raw[: place + dice.randint(1, 40)] + raw[place:]


def cut(dice: random.Random, raw: bytes) -> bytes:
    """The end is missing."""
    return raw[: dice.randint(0, len(raw))]


def splice(dice: random.Random, raw: bytes) -> bytes:
    """The beginning of one, the end of another."""
    other = dice.choice(ALL_SAMPLES)
    return raw[: dice.randint(0, len(raw))] + other[dice.randint(0, len(other)) :]


def noise(dice: random.Random, raw: bytes) -> bytes:
    """Nothing of it is left."""
    return dice.randbytes(dice.choice((1, 3, 20, 200, 3000)))


# Notices


def pairs_of(raw: bytes) -> list[list[bytes]]:
    return [list(piece.partition(b"=")) for piece in raw.split(b"&")]


def joined(pairs: Sequence[Sequence[bytes]]) -> bytes:
    return b"&".join(b"".join(pair) for pair in pairs)


def escaped(dice: random.Random, value: bytes) -> bytes:
    """Escape as some software or other does: as little as possible, everything, either case of the digits, or not."""
    manner = dice.randrange(4)
    if manner == 0:
        return value
    if manner == 1:
        return "".join(f"%{each:02{dice.choice('xX')}}" for each in value).encode()
    quoted = quote_from_bytes(value).encode()
    return quoted.lower() if manner == 2 else quoted


def drop(dice: random.Random, raw: bytes) -> bytes:
    """A parameter is missing."""
    pairs = pairs_of(raw)
    del pairs[dice.randrange(len(pairs))]
    return joined(pairs)


def double(dice: random.Random, raw: bytes) -> bytes:
    """A parameter comes twice."""
    pairs = pairs_of(raw)
    pairs.insert(dice.randint(0, len(pairs)), dice.choice(pairs))
    return joined(pairs)


def contradict(dice: random.Random, raw: bytes) -> bytes:
    """A parameter comes twice, with another value."""
    pairs = pairs_of(raw)
    name = dice.choice(pairs)[0]
    pairs.insert(dice.randint(0, len(pairs)), [name, b"=", escaped(dice, odd(dice))])
    return joined(pairs)


def reorder(dice: random.Random, raw: bytes) -> bytes:
    pairs = pairs_of(raw)
    dice.shuffle(pairs)
    return joined(pairs)


def exchange(dice: random.Random, raw: bytes) -> bytes:
    """Two parameters have each other's value."""
    pairs = pairs_of(raw)
    one, other = dice.choice(pairs), dice.choice(pairs)
    one[2], other[2] = other[2], one[2]
    return joined(pairs)


def distort(dice: random.Random, raw: bytes) -> bytes:
    """A parameter has an odd value."""
    pairs = pairs_of(raw)
    dice.choice(pairs)[1:] = [b"=", escaped(dice, odd(dice))]
    return joined(pairs)


def distort_what_decides(dice: random.Random, raw: bytes) -> bytes:
    """One of the four that decide has an odd value."""
    name = dice.choice((b"status", b"order_no", b"sendid", b"money"))
    pairs = [pair for pair in pairs_of(raw) if pair[0] != name]
    pairs.insert(dice.randint(0, len(pairs)), [name, b"=", escaped(dice, odd(dice))])
    return joined(pairs)


def rename(dice: random.Random, raw: bytes) -> bytes:
    """A name is spelled in another way."""
    pairs = pairs_of(raw)
    pair = dice.choice(pairs)
    pair[0] = dice.choice(
        (pair[0].upper(), pair[0] + b"[]", b" " + pair[0], escaped(dice, pair[0]), b"", b"\xff")
    )
    return joined(pairs)


def spell(dice: random.Random, raw: bytes) -> bytes:
    """The same, escaped in another way."""
    return joined([[name, equals, escaped(dice, _plain(value))] for name, equals, value in pairs_of(raw)])


def escape_twice(dice: random.Random, raw: bytes) -> bytes:
    pairs = pairs_of(raw)
    pair = dice.choice(pairs)
    pair[2] = quote_from_bytes(pair[2]).encode()
    return joined(pairs)


def break_escapes(dice: random.Random, raw: bytes) -> bytes:
    place = dice.randint(0, len(raw))
    return raw[:place] + dice.choice(BROKEN_ESCAPES) + raw[place:]


def foreign(dice: random.Random, raw: bytes) -> bytes:
    """It is about another merchant."""
    return raw.replace(
        CLIENT_IP.encode(), dice.choice((b"9876543210", b"0000000000", b"123456789", b"12345678901"))
    )


def add(dice: random.Random, raw: bytes) -> bytes:
    """A parameter that nobody knows, or that belongs elsewhere."""
    name = dice.choice((b"shop", b"act", b"testid", b"rel", b"x" * 300, b"", *map(str.encode, REQUEST)))
    pairs = pairs_of(raw)
    pairs.insert(dice.randint(0, len(pairs)), [name, b"=", escaped(dice, odd(dice))])
    return joined(pairs)


def stretch(dice: random.Random, raw: bytes) -> bytes:
    """As long as can be, or longer."""
    return raw + b"&x=" + b"x" * (LIMIT - len(raw) - 3 + dice.choice((-1, 0, 0, 1, 2, 5000)))


def other_separators(dice: random.Random, raw: bytes) -> bytes:
    return raw.replace(b"&", dice.choice((b";", b"&amp;", b"\n", b"&&", b"%26", b"& ")))


def _plain(value: bytes) -> bytes:
    """Undo good escapes, byte by byte."""
    plain, rest = bytearray(), value.replace(b"+", b" ")
    while rest:
        step = 3 if rest[:1] == b"%" and _is_hex(rest[1:3]) else 1
        plain.append(int(rest[1:3], 16) if step == 3 else rest[0])
        rest = rest[step:]
    return bytes(plain)


def _is_hex(digits: bytes) -> bool:
    return len(digits) == 2 and all(each in b"0123456789abcdefABCDEF" for each in digits)


# Answers


def lines_of(raw: bytes) -> list[bytes]:
    return raw.splitlines(keepends=True) or [b""]


def drop_line(dice: random.Random, raw: bytes) -> bytes:
    lines = lines_of(raw)
    del lines[dice.randrange(len(lines))]
    return b"".join(lines)


def double_line(dice: random.Random, raw: bytes) -> bytes:
    lines = lines_of(raw)
    lines.insert(dice.randint(0, len(lines)), dice.choice(lines))
    return b"".join(lines)


def reorder_lines(dice: random.Random, raw: bytes) -> bytes:
    lines = lines_of(raw)
    dice.shuffle(lines)
    return b"".join(lines)


def mix_line_ends(dice: random.Random, raw: bytes) -> bytes:
    ends = (
        b"\n",
        b"\r\n",
        b"\r",
        b"\n\r",
        b"\r\r\n",
        b"\n\n",
        b"\x0b",
        b"\x0c",
        b"\x1e",
        b"\x85",
        b"<br>\n",
        b"&",
        b" ",
    )
    return b"".join(line.rstrip(b"\r\n") + dice.choice(ends) for line in lines_of(raw))


def distort_line(dice: random.Random, raw: bytes) -> bytes:
    lines = lines_of(raw)
    place = dice.randrange(len(lines))
    lines[place] = lines[place].partition(b"=")[0] + b"=" + odd(dice) + b"\n"
    return b"".join(lines)


def contradict_line(dice: random.Random, raw: bytes) -> bytes:
    """A line comes twice, with another value."""
    name = dice.choice(ANSWER).encode()
    lines = lines_of(raw)
    value = dice.choice((b"Success_order", b"failure_order", odd(dice)))
    lines.insert(dice.randint(0, len(lines)), name + b"=" + value + b"\n")
    return b"".join(lines)


def space_out(dice: random.Random, raw: bytes) -> bytes:
    return raw.replace(
        b"=", dice.choice((b" = ", b"\t=\t", b"= ", b" =", b"==", b"\x81\x40=\x81\x40", b"\xa0=\xa0", b":"))
    )


def wrap(dice: random.Random, raw: bytes) -> bytes:
    """Something in between made a page of it."""
    before, after = dice.choice(
        ((b"<html><body><pre>", b"</pre></body></html>"), (b'{"body":"', b'"}'), (b"<!-- ", b" -->"))
    )
    return before + raw + after


def lengthen(dice: random.Random, raw: bytes) -> bytes:
    return raw + dice.choice((b"\n" * 20_000, b"x" * 60_000, b"pay_no1=" + b"1" * 50_000, b"a=b\n" * 5_000))


def odd(dice: random.Random) -> bytes:
    """An odd value, or a few bytes of nothing."""
    return dice.choice(ODD_VALUES) if dice.random() < 0.9 else dice.randbytes(dice.randint(1, 30))


ANYWHERE: tuple[Mischief, ...] = (flip, insert, begin, delete, repeat, cut, splice)
TO_NOTICES: tuple[Mischief, ...] = (
    drop,
    double,
    contradict,
    reorder,
    exchange,
    distort,
    distort,
    distort_what_decides,
    distort_what_decides,
    rename,
    spell,
    escape_twice,
    break_escapes,
    foreign,
    add,
    stretch,
    other_separators,
)
TO_ANSWERS: tuple[Mischief, ...] = (
    drop_line,
    double_line,
    reorder_lines,
    mix_line_ends,
    distort_line,
    distort_line,
    contradict_line,
    space_out,
    wrap,
    lengthen,
)
NOTICE_SAMPLES = [each.raw for each in notices.NOTICES] + [raw for raw, _ in notices.UNREADABLE]
ANSWER_SAMPLES = [
    *(each.raw for each in answers.ANSWERS),
    *(raw for raw, _ in answers.COMPLAINTS),
    *answers.UNINTELLIGIBLE,
]
ALL_SAMPLES = NOTICE_SAMPLES + ANSWER_SAMPLES


@dataclass(frozen=True)
class Made:
    """One input, and how it was made."""

    kind: str
    raw: bytes


def a_notice(dice: random.Random, aim: Aim) -> Made:
    """A notice about one application: half of them as ZEUS would send it, the rest mutated."""
    base = _sample(dice, aim) if dice.random() < 0.1 else _good_notice(dice, aim)
    return _mutated(dice, base, (*ANYWHERE, *TO_NOTICES), 0.5)


def an_answer(dice: random.Random, order_no: str) -> Made:
    """An answer with an order number: a third of them as ZEUS would send it, the rest mutated."""
    base = dice.choice(ANSWER_SAMPLES) if dice.random() < 0.3 else _good_answer(dice, order_no)
    return _mutated(dice, base, (*ANYWHERE, *TO_ANSWERS), 0.35)


def _mutated(dice: random.Random, raw: bytes, kinds: Sequence[Mischief], unharmed: float) -> Made:
    lot = dice.random()
    if lot < unharmed:
        return Made("as sent", raw)
    if lot > 0.98:
        return Made("noise", noise(dice, raw))
    chosen = [dice.choice(kinds) for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 5)))]
    for each in chosen:
        raw = each(dice, raw)
    return Made(chosen[0].__name__ if len(chosen) == 1 else "several", raw)


def _good_notice(dice: random.Random, aim: Aim) -> bytes:
    """All fourteen, or the few that the shop asked for."""
    values = {
        "clientip": CLIENT_IP,
        "money": str(aim.amount) if dice.random() < 0.97 else "1",
        "username": "%83%84%83%7D%83_%81%40%83%5E%83%8D%83E",
        "telno": "09012345678",
        "email": "taro%40example.com",
        "sendid": aim.sendid,
        "sendpoint": "order-7",
        "order_no": aim.order_no,
        "pay_cvs": dice.choice(STORES),
        "pay_no1": f"{dice.randrange(10**12):013d}",
        "pay_no2": f"{dice.randrange(10**5):06d}",
        "pay_limit": "20991231",
        "status": dice.choice(STATUSES).decode(),
        "error_code": "",
    }
    few = dice.random() < 0.3
    names = [each for each in NOTICE if not few or each in ("status", "order_no") or dice.random() < 0.5]
    return "&".join(f"{name}={values[name]}" for name in names).encode()


def _sample(dice: random.Random, aim: Aim) -> bytes:
    """A sample, with the application's own numbers in place of its own."""
    raw = dice.choice(NOTICE_SAMPLES)
    for theirs, ours in (
        (b"0012345678", CLIENT_IP),
        (b"2024-0001.77", aim.order_no),
        (b"A1B2C3", aim.sendid),
    ):
        raw = raw.replace(theirs, ours.encode())
    return raw.replace(b"order_no=7&", b"order_no=" + aim.order_no.encode() + b"&")


def _good_answer(dice: random.Random, order_no: str) -> bytes:
    """Accepted or declined, with LF or CRLF, with spaces or without."""
    accepted = dice.random() < 0.7
    values = {
        "rel": "Success_order" if accepted else "failure_order",
        "order_no": order_no,
        "pay_no1": f"{dice.randrange(10**12):013d}" if accepted else "",
        "pay_no2": dice.choice(("", "987654")),
        "pay_limit": dice.choice(("20991231", "00010101", "99991231", "20240229", "")),
        "pay_url": dice.choice(("", "https://pay.example/slip.cgi?id=77&key=A=B")),
        "error_code": "" if accepted else dice.choice(("0008", "0013", "800000", "999")),
    }
    equals, end = dice.choice(("=", " = ")), dice.choice(("\n", "\r\n"))
    return "".join(f"{name}{equals}{value}{end}" for name, value in values.items()).encode()


def an_order_no(dice: random.Random, known: Sequence[str]) -> str:
    """A new order number mostly; sometimes one that notices wait for, one that is taken, or none."""
    lot = dice.random()
    if lot < 0.7:
        return f"5{dice.randrange(1000):03d}-{dice.randrange(10)}"
    if lot < 0.8:
        return dice.choice(WAITING)
    return dice.choice(known) if lot < 0.95 and known else ""
