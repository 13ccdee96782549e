"""What a shop has agreed with ZEUS: who it is, which stores, which notices and mails, and how they are sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.protocol.codes import STATUSES, Call, Status, Store
from flask_zeus_cvs.protocol.fields import MAX_DAYS, MIN_DAYS, NOTICE, check
from flask_zeus_cvs.simulator.values import (
    as_flag,
    as_items,
    as_number,
    as_one_of,
    as_some_of,
    as_text,
    as_whole,
)

#: The △ statuses: told only to a shop that asked for them.
ON_REQUEST = tuple(row.status for row in STATUSES if row.status and row.call is Call.on_request)
MAX_RETRIES = 10
MAX_MINUTES = 1440
MAX_CONFIRM_DAYS = 365
MAX_MESSAGE = 1000  # characters
MAX_AGENT = 100

#: Days from 04 to 05, per store. The manual states no interval; these are ours, within what is reported elsewhere.
CONFIRM_AFTER_DAYS: Mapping[Store, int] = MappingProxyType(
    {
        Store.SEVEN_ELEVEN: 2,
        Store.LAWSON: 3,
        Store.FAMILYMART: 3,
        Store.SEICOMART: 5,
        Store.MINISTOP: 5,
        Store.DAILY_YAMAZAKI: 7,
    }
)


class MailKind(StrEnum):
    """The mails that ZEUS sends: two forms to the customer, eight to the shop, and one about a failed call."""

    CUSTOMER = "customer"
    CUSTOMER_CARRIER = "customer_carrier"
    APPLICATION_COMPLETED = "application_completed"
    APPLICATION_FAILED = "application_failed"
    PAYMENT_RECEIVED = "payment_received"
    SALE_CONFIRMED = "sale_confirmed"
    PAYMENT_CANCELLED = "payment_cancelled"
    RECEIVED_AFTER_CANCEL = "received_after_cancel"
    CONFIRMED_AFTER_CANCEL = "confirmed_after_cancel"
    CANCELLED_AFTER_CANCEL = "cancelled_after_cancel"
    CALL_FAILED = "call_failed"


class Method(StrEnum):
    """How notices are sent: GET, or POST on request."""

    GET = "GET"
    POST = "POST"


@dataclass
class Contract:
    """Change any of it at any time; it counts for whatever happens afterwards.

    ==================== ================================================================================
    clientip, testids    the shop's IP code, and its test ids (テストカード番号管理)
    stores               those that ZEUS designates for it
    pay_within_days      the deadline where the shop sends no ``span``, 2–59 days
    on_request           the △ statuses (02, 03) that the shop asked to be told
    notify               the address of its CGI; None: no notice is sent. It may carry a query of its own
    parameters           which of the fourteen are sent, in this order
    method               GET, or POST
    agent                the sender's agent name, sent to plain http on port 80 only; blank: none
    sent_from            an address of this machine that calls come from, as 127.0.0.2; blank: the usual one
    retries              how often a call that timed out is sent again; ZEUS does so only on request
    retry_minutes        ... how much later, by the sandbox's clock
    confirm_after_days   days from 04 to 05 for each store; a store that is missing confirms by hand only
    test_outcome_minutes minutes from the 04 of a test to its 05 or 06; at most 30 at ZEUS
    stopped              the service is stopped (番組停止): applications fail with 800001, money is not told
    mail_to              where the shop's mails go
    mails_off            mails the shop does not want; the one about failed calls cannot be turned off
    customer_message     what the shop adds to the customer's mail
    ==================== ================================================================================
    """

    clientip: str = "1234567890"
    testids: tuple[str, ...] = ("12345678",)
    stores: tuple[Store, ...] = tuple(Store)
    pay_within_days: int = 10
    on_request: frozenset[Status] = frozenset()
    notify: str | None = None
    parameters: tuple[str, ...] = NOTICE
    method: Method = Method.GET
    agent: str = ""
    sent_from: str = ""
    retries: int = 0
    retry_minutes: float = 5.0
    confirm_after_days: Mapping[Store, int] = field(default_factory=lambda: dict(CONFIRM_AFTER_DAYS))
    test_outcome_minutes: float = 30.0
    stopped: bool = False
    mail_to: str = "shop@example.jp"
    mails_off: frozenset[MailKind] = frozenset()
    customer_message: str = ""

    def change(self, values: Mapping[str, object]) -> None:
        """Take over what is given by name, all of it or nothing, as JSON or a form spells it.

        A list may be a text with commas or line ends between its items. Raises `ValueError` that names what is
        wrong and says what there is.
        """
        unknown = set(values) - set(_READERS)
        if unknown:
            raise ValueError(
                f"there is no {min(unknown)} in the contract: take some of {', '.join(_READERS)}"
            )
        read: dict[str, object] = {}
        for name, value in values.items():
            try:
                read[name] = _READERS[name](value)
            except (ValueError, InvalidField) as error:
                raise ValueError(f"{name}: {error}") from None
        vars(self).update(read)

    def as_json(self) -> dict[str, Any]:
        """Spell it as JSON does, in a form that `change` takes."""
        listed = asdict(self) | {"on_request": sorted(self.on_request), "mails_off": sorted(self.mails_off)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in listed.items()}


def _checked(field_name: str, value: object) -> str:
    text = as_text(value)
    check(field_name, text)
    return text


def _test_ids(value: object) -> tuple[str, ...]:
    ids = as_items(value)
    for each in ids:
        check("testid", each)
    return tuple(dict.fromkeys(ids))


def _address(value: object) -> str | None:
    address = as_text(value) if value is not None else ""
    if not address:
        return None
    try:
        parts = urlsplit(address)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and address.isascii()
    except ValueError:
        good = False
    if not good or re.search(r"[\s#]", address):
        raise ValueError("give an http or https address, or nothing for no notices")
    return address


def _printable(text: str) -> str:
    if len(text) > MAX_AGENT or not (text.isascii() and text.isprintable()):
        raise ValueError(f"give up to {MAX_AGENT} printable ASCII characters")
    return text


def _own_address(value: object) -> str:
    address = as_text(value)
    try:
        return str(ip_address(address)) if address else ""
    except ValueError:
        raise ValueError("give an address of this machine in numbers, as 127.0.0.2, or nothing") from None


def _parameters(value: object) -> tuple[str, ...]:
    return tuple(as_some_of(value, NOTICE))


def _days_per_store(value: object) -> dict[Store, int]:
    if isinstance(value, str):
        pairs = [each.partition("=") for each in as_items(value)]
        value = {code: days for code, _, days in pairs} if all(days for _, _, days in pairs) else None
    if not isinstance(value, Mapping):
        raise ValueError("give the days of each store by its code, as D001=2 D002=3")
    return {
        as_one_of(Store, str(code)): as_whole(days, 0, MAX_CONFIRM_DAYS)
        for code, days in value.items()
        if days not in (None, "")
    }


def _message(value: object) -> str:
    message = as_text(value)
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"give up to {MAX_MESSAGE} characters")
    return message


_READERS: Mapping[str, Callable[[object], object]] = MappingProxyType(
    {
        "clientip": lambda value: _checked("clientip", value),
        "testids": _test_ids,
        "stores": lambda value: tuple(as_some_of(value, tuple(Store))),
        "pay_within_days": lambda value: as_whole(value, MIN_DAYS, MAX_DAYS),
        "on_request": lambda value: frozenset(as_some_of(value, ON_REQUEST)),
        "notify": _address,
        "parameters": _parameters,
        "method": lambda value: as_one_of(Method, as_text(value).upper()),
        "agent": lambda value: _printable(as_text(value)),
        "sent_from": _own_address,
        "retries": lambda value: as_whole(value, 0, MAX_RETRIES),
        "retry_minutes": lambda value: as_number(value, 0, MAX_MINUTES),
        "confirm_after_days": _days_per_store,
        "test_outcome_minutes": lambda value: as_number(value, 0, 30),
        "stopped": as_flag,
        "mail_to": lambda value: _checked("email", value),
        "mails_off": lambda value: frozenset(
            as_some_of(value, tuple(kind for kind in MailKind if kind is not MailKind.CALL_FAILED))
        ),
        "customer_message": _message,
    }
)
