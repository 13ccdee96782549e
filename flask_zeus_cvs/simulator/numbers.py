"""Payment numbers and order numbers as the other side issues them; one row per store."""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from flask_zeus_cvs.protocol.codes import Store


@dataclass(frozen=True, slots=True)
class Shape:
    """How many digits the numbers of a store have; `company` is a pay_no2 that is the same for everybody."""

    pay_no1: int
    pay_no2: int = 0
    company: str = ""

    def issue(self) -> tuple[str, str]:
        return _digits(self.pay_no1), self.company or _digits(self.pay_no2)


#: FamilyMart's company code is the collection agency's and says nothing of the application.
SHAPES: Mapping[Store, Shape] = MappingProxyType(
    {
        Store.SEVEN_ELEVEN: Shape(13),
        Store.LAWSON: Shape(6, 6),
        Store.FAMILYMART: Shape(12, company="90210"),
        Store.SEICOMART: Shape(6),
        Store.MINISTOP: Shape(6, 6),
        Store.DAILY_YAMAZAKI: Shape(11),
    }
)


def order_number(now: datetime) -> str:
    """Issue a serial that a sandbox started later, before the same shop's database, does not issue again."""
    return f"{now:%y%m%d}-{secrets.randbelow(10**10):010d}"


def _digits(count: int) -> str:
    return f"{random.randrange(10**count):0{count}d}" if count else ""
