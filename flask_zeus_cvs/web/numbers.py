"""Payment numbers as they are typed at a store: in the order in which it asks for them, in groups that the eye can hold.

The groups are for the eye alone: what is copied, read aloud or sent is the number as ZEUS issued it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import MappingProxyType

from flask_zeus_cvs.models import Application
from flask_zeus_cvs.protocol.codes import Store, StoreInfo

#: Where the store's machine does not ask for ``pay_no1`` first.
_ORDER: Mapping[Store, tuple[str, ...]] = MappingProxyType({Store.FAMILYMART: ("pay_no2", "pay_no1")})
_USUAL_ORDER = ("pay_no1", "pay_no2")
#: Where the machine asks for the customer's telephone number, too.
_ASK_FOR_PHONE = frozenset({Store.SEICOMART})
#: Digits of a telephone number that remind its owner which one it is, and tell nobody else.
_REMINDING = 4

#: How many characters each group has, by the length of the number.
GROUPS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        6: (3, 3),
        7: (3, 4),
        8: (4, 4),
        9: (3, 3, 3),
        10: (3, 3, 4),
        11: (3, 4, 4),
        12: (4, 4, 4),
        13: (4, 4, 5),
        14: (4, 5, 5),
        15: (5, 5, 5),
        16: (4, 4, 4, 4),
        17: (4, 4, 4, 5),
        18: (4, 4, 5, 5),
        19: (4, 5, 5, 5),
        20: (5, 5, 5, 5),
    }
)


@dataclass(frozen=True)
class Number:
    """One payment number: ZEUS's name of it, the store's, and its value, which is blank while ZEUS has not told."""

    name: str
    label: str
    value: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the value in groups; short ones, and any longer than ZEUS issues, stay whole."""
        ends = accumulate(GROUPS.get(len(self.value), (len(self.value),)), initial=0)
        return tuple(self.value[start:end] for start, end in pairwise(ends))


def numbers_of(application: Application, store: StoreInfo) -> tuple[Number, ...]:
    """Return a slip's numbers in the order in which the store asks for them, under the names of ``store``."""
    labels = {"pay_no1": store.pay_no1, "pay_no2": store.pay_no2}
    values = {"pay_no1": application.pay_no1, "pay_no2": application.pay_no2}
    order = _ORDER.get(store.store, _USUAL_ORDER)
    return tuple(Number(name, label, values[name]) for name in order if (label := labels[name]))


def phone_ending_of(application: Application) -> str:
    """Return the end of the telephone number that the store will ask for; blank where none does, or none is known."""
    return application.customer.phone[-_REMINDING:] if application.store in _ASK_FOR_PHONE else ""
