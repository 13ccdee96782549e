"""A second reading of a notice's bytes, by other means than the package's own: what decides, and nothing else."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from flask_zeus_cvs.lifecycle import Input
from tests.conftest import CLIENT_IP

LIMIT = 8 * 1024
_STATUS = re.compile(r"0[1-6]|1[1-3]")
_ORDER_NO = re.compile(r"[0-9A-Za-z.-]{1,50}")
_SENDID = re.compile(r"[0-9A-Za-z\\!#$%()~| \[\]@:./`{*}?_+=^-]{1,25}")
_MONEY = re.compile(r"[0-9]{1,6}")
_CLIENTIP = re.compile(r"[0-9]{10}")
_PERSONAL = ("username", "telno", "email", "sendpoint")


@dataclass(frozen=True)
class Heard:
    """What a notice says, as far as it decides."""

    status: Input
    order_no: str
    sendid: str
    money: int | None
    foreign: str

    @property
    def identity(self) -> str:
        """What makes two notices the same, spelled as it is stored."""
        key = self.order_no or f"sendid:{self.sendid}"
        own = _digest("\n".join((key, self.status, "" if self.money is None else str(self.money))))
        return _digest(f"{self.foreign}:{own}") if self.foreign else own


def heard(raw: bytes) -> Heard | None:
    """Read a notice; None for one that cannot be acted on."""
    given = _given(raw)
    deciding = {name: given.get(name, []) for name in ("status", "order_no", "sendid", "money")}
    if len(raw) > LIMIT or any(len(values) > 1 for values in deciding.values()):
        return None
    status, order_no, sendid = (
        _good(deciding[name], rule)
        for name, rule in (("status", _STATUS), ("order_no", _ORDER_NO), ("sendid", _SENDID))
    )
    money = _good(deciding["money"], _MONEY)
    if not status or not (order_no or sendid) or (deciding["money"] and not money):
        return None
    clientip = _good(given.get("clientip", []), _CLIENTIP)
    foreign = clientip if clientip != CLIENT_IP else ""
    return Heard(Input(status), order_no, sendid, int(money) if money else None, foreign)


def unreadable(raw: bytes) -> str:
    """What makes two notices that nobody can act on the same."""
    return hashlib.sha256(b"unreadable:" + raw[:LIMIT]).hexdigest()


def personal(raw: bytes) -> list[str]:
    """The values that no log may hold, as far as one would know them again."""
    given = _given(raw)
    return [value for name in _PERSONAL for value in given.get(name, []) if value and len(value) > 5]


def _given(raw: bytes) -> dict[str, list[str | None]]:
    """The different values of each name, blank ones left out; None for what is no Shift_JIS."""
    given: dict[str, list[str | None]] = {}
    # Latin-1 has a character for each byte, so that nothing is lost on the way.
    for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True, encoding="latin-1"):
        try:
            text: str | None = value.encode("latin-1").decode("cp932")
        except UnicodeDecodeError:
            text = None
        values = given.setdefault(name, [])
        if text not in values and (text is None or text.strip(" ")):
            values.append(text)
    return given


def _good(values: list[str | None], rule: re.Pattern[str]) -> str:
    if len(values) == 1 and values[0] is not None and rule.fullmatch(values[0]):
        return values[0]
    return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
