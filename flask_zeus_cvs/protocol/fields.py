"""The manual's field tables and `check`: the only place where a limit is written.

Sizes are bytes in Shift_JIS.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlsplit

from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.protocol.codes import Status, Store, TestType
from flask_zeus_cvs.protocol.wire import shift_jis_size

MIN_AMOUNT, MAX_AMOUNT = 200, 299_999  # yen
MIN_DAYS, MAX_DAYS = 2, 59  # days until the deadline

ACT = "secure_order"
SUCCESS, FAILURE = "Success_order", "failure_order"
SPAN = "span"  # days until the deadline: undocumented, seen in one real client

#: Names in the manual's order.
REQUEST = (
    "clientip",
    "act",
    "money",
    "username",
    "telno",
    "email",
    "pay_cvs",
    "sendid",
    "sendpoint",
    "testid",
    "test_type",
)
REQUIRED = frozenset({"clientip", "act", "money", "username", "telno", "email", "pay_cvs"})
ANSWER = ("rel", "order_no", "pay_no1", "pay_no2", "pay_limit", "pay_url", "error_code")
NOTICE = (
    "clientip",
    "money",
    "username",
    "telno",
    "email",
    "sendid",
    "sendpoint",
    "order_no",
    "pay_cvs",
    "pay_no1",
    "pay_no2",
    "pay_limit",
    "status",
    "error_code",
)


class Problem(StrEnum):
    """What is wrong with a value; the words after each say what ``InvalidField.detail`` holds."""

    required = "required"  # blank
    control = "control"  # a line break or another character that cannot be seen: "U+000A"
    encoding = "encoding"  # not Shift_JIS: the character, or "" where the bytes are no text
    katakana = "katakana"  # neither katakana nor a space: the character
    character = "character"  # a character that this field does not take: the character
    digits = "digits"  # not a half-width digit: the character
    too_short = "too_short"  # the least number of characters
    too_long = "too_long"  # the greatest number of characters (full-width ones for a name)
    length = "length"  # the exact number of characters
    range = "range"  # the limit that was passed
    choice = "choice"  # none of the fixed values
    first_digit = "first_digit"  # the digit that it must start with
    malformed = "malformed"  # right characters, wrong shape: no e-mail address, no date, no http(s) URL
    repeated = "repeated"  # given twice with different values


Complaint = tuple[Problem, str]
Rule = Callable[[str], Complaint | None]

DIGITS = frozenset(string.digits)
ALPHANUMERIC = frozenset(string.ascii_letters + string.digits)
PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))
KATAKANA = frozenset(map(chr, range(0x30A1, 0x30F7))) | {"ー", "\u3000"}
FREE = ALPHANUMERIC | frozenset("\u00a5\\!#$%()~|- @[:]./`{*}?_+=^")
# Half-width katakana, and katakana that Shift_JIS lacks or no name needs: no "is not katakana" for these.
OTHER_KATAKANA = frozenset(
    map(chr, (*range(0x30F7, 0x30FB), *range(0x30FD, 0x3100), *range(0x31F0, 0x3200)))
) | (frozenset(map(chr, range(0xFF66, 0xFF9E))))

_BROKEN = frozenset({"Cc", "Zl", "Zp", "Cs"})  # control characters, line and paragraph separators, surrogates
_UNSEEN = _BROKEN | {"Cf"}  # and format characters, such as the zero-width space


def drawn_from(characters: frozenset[str], problem: Problem, kin: Collection[str] = ()) -> Rule:
    """Take `characters` only; another one is a `problem`, or ``character`` if it is one of `kin`."""

    def rule(value: str) -> Complaint | None:
        if characters.issuperset(value):
            return None
        each = next(each for each in value if each not in characters)
        if unicodedata.category(each) in _UNSEEN:
            return Problem.control, code_point(each)
        return (Problem.character if each in kin else problem), each

    return rule


def one_of(*choices: str) -> Rule:
    allowed = frozenset(map(str, choices))
    return lambda value: None if value in allowed else (Problem.choice, "")


def at_least(characters: int) -> Rule:
    return lambda value: (Problem.too_short, str(characters)) if len(value) < characters else None


def exactly(characters: int) -> Rule:
    return lambda value: (Problem.length, str(characters)) if len(value) != characters else None


def starts_with(digit: str) -> Rule:
    return lambda value: None if value.startswith(digit) else (Problem.first_digit, digit)


def between(low: int, high: int) -> Rule:
    """The digits make a number from `low` to `high`."""

    def rule(value: str) -> Complaint | None:
        if int(value) < low:
            return Problem.range, str(low)
        return (Problem.range, str(high)) if int(value) > high else None

    return rule


def address(value: str) -> Complaint | None:
    """An @ has something on both sides. The RFC is not asked: ``foo..bar@docomo.ne.jp`` is real."""
    return None if "@" in value[1:-1] else (Problem.malformed, "")


def calendar_date(value: str) -> Complaint | None:
    try:
        date.fromisoformat(value)
    except ValueError:
        return Problem.malformed, ""
    return None


def web_address(value: str) -> Complaint | None:
    """An http or https URL with a host: the customer's browser is sent there."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    return None if good else (Problem.malformed, "")


@dataclass(frozen=True, slots=True)
class Field:
    """A row of the manual's tables: what the value is made of, its size, and then its shape."""

    name: str
    max_bytes: int
    content: Rule
    shape: tuple[Rule, ...] = ()
    character_bytes: int = 1

    def complaint(self, value: str) -> Complaint | None:
        """Return the first thing that is wrong with `value`, or None."""
        if not (value.strip(" \u3000") if self.name in REQUIRED else value):
            return Problem.required, ""
        if complaint := self.content(value):
            return _broken(value) or complaint
        if shift_jis_size(value) > self.max_bytes:
            return Problem.too_long, str(self.max_bytes // self.character_bytes)
        for rule in self.shape:
            if complaint := rule(value):
                return complaint
        return None


_digits = drawn_from(DIGITS, Problem.digits)
_katakana = drawn_from(KATAKANA, Problem.katakana, kin=OTHER_KATAKANA)
_printable = drawn_from(PRINTABLE, Problem.character)
_alphanumeric = drawn_from(ALPHANUMERIC, Problem.character)
_order_number = drawn_from(ALPHANUMERIC | {".", "-"}, Problem.character)
_free = drawn_from(FREE, Problem.character)
_url = drawn_from(PRINTABLE - frozenset('"<>\\`'), Problem.character)

#: Every field of the request, the answer and the notice.
FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        row.name: row
        for row in (
            Field("clientip", 10, _digits, (exactly(10),)),
            Field("act", 12, one_of(ACT)),
            Field("money", 6, _digits, (between(MIN_AMOUNT, MAX_AMOUNT),)),
            Field("username", 40, _katakana, character_bytes=2),
            Field("telno", 11, _digits, (starts_with("0"), at_least(9))),
            Field("email", 50, _printable, (address,)),
            Field("pay_cvs", 4, one_of(*Store)),
            Field("sendid", 25, _free),
            Field("sendpoint", 50, _free),
            Field("testid", 8, _digits),
            Field("test_type", 1, one_of(*TestType)),
            Field(SPAN, 2, _digits, (between(MIN_DAYS, MAX_DAYS),)),
            Field("rel", 13, one_of(SUCCESS, FAILURE)),
            Field("order_no", 50, _order_number),
            Field("pay_no1", 20, _alphanumeric),
            Field("pay_no2", 20, _alphanumeric),
            Field("pay_limit", 8, _digits, (exactly(8), calendar_date)),
            Field("pay_url", 120, _url, (web_address,)),
            Field("error_code", 6, _digits),
            Field("status", 2, one_of(*Status)),
        )
    }
)


def check(field: str, value: str) -> None:
    """Raise `InvalidField` if `value` breaks the manual's rule for `field` (its wire name).

    A blank value is ``Problem.required``, for optional fields too: leave those out instead.
    """
    if complaint := FIELDS[field].complaint(value):
        raise InvalidField(field, *complaint)


def code_point(character: str) -> str:
    """Name a character that cannot be shown: ``U+000A``."""
    return f"U+{ord(character):04X}"


def _broken(value: str) -> Complaint | None:
    """Complain of the first control character; no field's content takes any."""
    for each in value:
        if unicodedata.category(each) in _BROKEN:
            return Problem.control, code_point(each)
    return None
