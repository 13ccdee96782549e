"""The three messages as frozen values: application request, answer, notice.

Each is read from bytes and written to bytes; what a customer typed appears in no repr.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import date
from enum import StrEnum
from typing import Self

from flask_zeus_cvs.exceptions import InvalidField, UnreadableNotice
from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.protocol.fields import (
    ACT,
    ANSWER,
    FAILURE,
    NOTICE,
    REQUEST,
    REQUIRED,
    SPAN,
    SUCCESS,
    Problem,
    check,
)
from flask_zeus_cvs.protocol.wire import (
    SHIFT_JIS,
    decode_form,
    decode_lines,
    encode_form,
    encode_lines,
    plain_text,
)

CONTENT_TYPE = "application/x-www-form-urlencoded"

# What each name was given, without blanks and repeats; None stands for bytes that are no text.
Given = Mapping[str, Sequence[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRequest:
    """The POST by which a shop applies for a slip (送信パラメータ一覧); `money` is yen, `span` days."""

    clientip: str
    money: int
    username: str = field(repr=False)
    telno: str = field(repr=False)
    email: str = field(repr=False)
    pay_cvs: Store
    sendid: str = ""
    sendpoint: str = field(default="", repr=False)
    testid: str = field(default="", repr=False)
    test_type: str = ""
    span: int | None = None

    @property
    def test(self) -> bool:
        """ZEUS takes an application for a test only if both test fields are there."""
        return bool(self.testid and self.test_type)

    def encode(self) -> bytes:
        """Write the body of the POST; raises `InvalidField` for the first value that breaks its rule.

        Blank optional fields are left out, and so is one test field without the other.
        """
        names = [name for name in (*REQUEST, SPAN) if self.test or name not in _TEST]
        values = [(name, ACT if name == "act" else _text(getattr(self, name))) for name in names]
        pairs = [(name, value) for name, value in values if value or name in REQUIRED]
        for name, value in pairs:
            check(name, value)
        return encode_form(pairs)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a POST as strictly as the manual; raises `InvalidField` for the first bad parameter."""
        given = _given((*REQUEST, SPAN), decode_form(body))
        values = {name: _checked(name, given[name]) for name in given if given[name] or name in REQUIRED}
        return cls(
            clientip=values["clientip"],
            money=int(values["money"]),
            username=values["username"],
            telno=values["telno"],
            email=values["email"],
            pay_cvs=Store(values["pay_cvs"]),
            sendid=values.get("sendid", ""),
            sendpoint=values.get("sendpoint", ""),
            testid=values.get("testid", ""),
            test_type=values.get("test_type", ""),
            span=int(values[SPAN]) if SPAN in values else None,
        )


class Outcome(StrEnum):
    """What an answer says about the application; ``unknown`` is not failed: a slip may exist."""

    accepted = "accepted"
    declined = "declined"
    unknown = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back to the POST (お申し込み結果).

    `parameter` is the request parameter that a plain-text answer names. `faults` names the fields whose
    value broke its rule and was dropped: one bad field never rejects an answer.
    """

    outcome: Outcome
    _: KW_ONLY
    order_no: str = ""
    pay_no1: str = ""
    pay_no2: str = ""
    pay_limit: date | None = None
    pay_url: str = field(default="", repr=False)  # whoever has it sees the customer's slip
    error_code: str = ""
    parameter: str = ""
    faults: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read whatever came back; never raises."""
        lines = decode_lines(raw)
        given = {**_given(ANSWER, lines), **_cut_off(raw, lines)}
        values, faults = _good(given)
        outcome = _outcome(raw, given["rel"])
        parameter = "" if outcome else _named_parameter(raw)
        return cls(
            outcome or (Outcome.declined if parameter else Outcome.unknown),
            order_no=values.get("order_no", ""),
            pay_no1=values.get("pay_no1", ""),
            pay_no2=values.get("pay_no2", ""),
            pay_limit=_date(values.get("pay_limit", "")),
            pay_url=values.get("pay_url", ""),
            error_code=values.get("error_code", ""),
            parameter=parameter,
            faults=faults,
        )

    def encode(self, *, spaced: bool = False, crlf: bool = False) -> bytes:
        """Write the answer as ZEUS does: its seven lines, or a plain text that names `parameter`.

        `spaced` puts spaces round ``=`` on the lines where the manual's sample has them. An unknown
        outcome has no form of its own and is empty.
        """
        if self.outcome is Outcome.unknown:
            return b""
        if self.parameter:
            return f"Invalid {self.parameter}".encode("ascii", "replace")
        rel = SUCCESS if self.outcome is Outcome.accepted else FAILURE
        pairs = [(name, rel if name == "rel" else _text(getattr(self, name))) for name in ANSWER]
        return encode_lines(pairs, spaced=_SPACED if spaced else (), crlf=crlf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What ZEUS tells the shop of an application (決済結果 CGIコール); absent and blank are ``""``.

    `faults` names the fields whose value broke its rule and was dropped; `raw` keeps the bytes.
    """

    status: Status
    clientip: str = ""
    money: int | None = None
    username: str = field(default="", repr=False)
    telno: str = field(default="", repr=False)
    email: str = field(default="", repr=False)
    sendid: str = ""
    sendpoint: str = field(default="", repr=False)
    order_no: str = ""
    pay_cvs: Store | str = ""
    pay_no1: str = ""
    pay_no2: str = ""
    pay_limit: date | None = None
    error_code: str = ""
    faults: tuple[str, ...] = ()
    raw: bytes = field(default=b"", repr=False, compare=False)

    @classmethod
    def parse(cls, raw: bytes, encoding: str = SHIFT_JIS) -> Self:
        """Read a query string or a form body; unknown parameters are ignored.

        Raises `UnreadableNotice` only for what decides: status, money, and the number that finds the
        application (order_no or sendid). A fault anywhere else is dropped and named.
        """
        given = _given(NOTICE, decode_form(raw, encoding))
        for name in DECIDING:
            if len(given[name]) > 1:
                raise UnreadableNotice(raw, f"{name} is given twice with different values")
        money = _money(raw, given)
        values, faults = _good({name: given[name] for name in NOTICE if name != "money"})
        if "status" not in values:
            raise UnreadableNotice(
                raw, "status is missing" if not given["status"] else "status is none of the nine"
            )
        if "order_no" not in values and "sendid" not in values:
            raise UnreadableNotice(raw, "neither a good order_no nor a good sendid")
        return cls(
            status=Status(values["status"]),
            clientip=values.get("clientip", ""),
            money=money,
            username=values.get("username", ""),
            telno=values.get("telno", ""),
            email=values.get("email", ""),
            sendid=values.get("sendid", ""),
            sendpoint=values.get("sendpoint", ""),
            order_no=values.get("order_no", ""),
            pay_cvs=Store(values["pay_cvs"]) if "pay_cvs" in values else "",
            pay_no1=values.get("pay_no1", ""),
            pay_no2=values.get("pay_no2", ""),
            pay_limit=_date(values.get("pay_limit", "")),
            error_code=values.get("error_code", ""),
            faults=faults,
            raw=raw,
        )

    @property
    def identity(self) -> str:
        """What makes two notices the same one: (order_no, else sendid), status, money; hex SHA-256.

        Not the bytes: order of the parameters, method and case of the hex digits vary. It is stored, so
        it must not change.
        """
        key = self.order_no or f"sendid:{self.sendid}"
        return hashlib.sha256("\n".join((key, self.status, _text(self.money))).encode()).hexdigest()

    def encode(self, names: Iterable[str] = NOTICE, encoding: str = SHIFT_JIS) -> bytes:
        """Write the query string, with the parameters in `names`: shops choose which are sent."""
        return encode_form(((name, _text(getattr(self, name))) for name in names), encoding)


#: The parameters of a notice that decide; a fault anywhere else harms nothing.
DECIDING = ("status", "order_no", "sendid", "money")

_TEST = frozenset({"testid", "test_type"})

# The manual's sample answer has spaces round "=" on these lines, and none on the other three.
_SPACED = frozenset({"rel", "order_no", "pay_no1", "pay_no2"})

# Request parameters whose names others use too: something between us and ZEUS may well write them.
_EVERYDAY = frozenset({"clientip", "act", "money", "username", "email"})
_MAX_PLAIN_TEXT = 100  # bytes
_MAX_EVERYDAY_WORDS = 3
_WORD = re.compile(r"[A-Za-z0-9_]+")
_NAME = re.compile(rf"(?<![A-Za-z0-9_@])(?:{'|'.join(REQUEST)})(?![A-Za-z0-9_@])")


def _given(names: Iterable[str], pairs: Iterable[tuple[str, str | None]]) -> Given:
    given: dict[str, dict[str | None, None]] = {name: {} for name in names}
    for name, value in pairs:
        if name in given and (value is None or value.strip(" ")):
            given[name][value] = None
    return {name: list(values) for name, values in given.items()}


def _checked(name: str, values: Sequence[str | None]) -> str:
    """Return the one good value, or raise `InvalidField`."""
    if len(values) > 1:
        raise InvalidField(name, Problem.repeated)
    value = values[0] if values else ""
    if value is None:
        raise InvalidField(name, Problem.encoding)
    check(name, value)
    return value


def _good(given: Given) -> tuple[dict[str, str], tuple[str, ...]]:
    """Sort what was given into good values and the names of bad ones."""
    good: dict[str, str] = {}
    faults: list[str] = []
    for name, values in given.items():
        try:
            if values:
                good[name] = _checked_echo(name, values)
        except InvalidField:
            faults.append(name)
    return good, tuple(faults)


def _checked_echo(name: str, values: Sequence[str | None]) -> str:
    # The manual leaves the width of the space in a name open: what comes back may have a half-width one.
    if name == "username":
        _checked(name, [value and value.replace(" ", "\u3000") for value in values])
        return values[0] or ""
    return _checked(name, values)


def _outcome(raw: bytes, rel: Sequence[str | None]) -> Outcome | None:
    """Decide by a ``rel`` line that is exactly right, else by containment; None: neither word is there."""
    exact = {value for value in rel if value in (SUCCESS, FAILURE)}
    found = exact or {word for word in (SUCCESS, FAILURE) if word.encode() in raw}
    if not found:
        return None
    if len(found) > 1:
        return Outcome.unknown
    return Outcome.accepted if SUCCESS in found else Outcome.declined


def _cut_off(raw: bytes, lines: Sequence[tuple[str, str]]) -> Given:
    """Distrust the value of a last line without an end, unless all seven lines are there.

    HTTP cannot tell a body without a length that was cut from a whole one, and half a payment number would be
    kept for ever. ``rel`` has only two values: one that is whole is whole.
    """
    if not raw or raw.endswith((b"\n", b"\r")) or {name for name, _ in lines}.issuperset(ANSWER):
        return {}
    last = decode_lines(raw.splitlines()[-1])
    return {name: [None] for name, value in last if value and name in ANSWER and name != "rel"}


def _named_parameter(raw: bytes) -> str:
    """Return the request parameter that a short plain text complains of, or ``""``."""
    text = plain_text(raw.strip()) if len(raw.strip()) <= _MAX_PLAIN_TEXT else ""
    if not text or "<" in text:
        return ""
    brief = text.isascii() and len(_WORD.findall(text)) <= _MAX_EVERYDAY_WORDS
    return next((name for name in _NAME.findall(text) if brief or name not in _EVERYDAY), "")


def _money(raw: bytes, given: Given) -> int | None:
    if not given["money"]:
        return None
    value = given["money"][0]
    if value is None or not re.fullmatch("[0-9]{1,6}", value):
        raise UnreadableNotice(raw, "money is not one to six half-width digits")
    return int(value)


def _date(value: str) -> date | None:
    return date.fromisoformat(value) if value else None


def _text(value: str | int | date | None) -> str:
    """Spell a value as the wire does: a date as yyyymmdd, None as blank."""
    if value is None:
        return ""
    return value.isoformat().replace("-", "") if isinstance(value, date) else str(value)
