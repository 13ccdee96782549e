"""The settings of one app: every ``ZEUS_CVS_…`` key of ``app.config``, read once into one frozen value.

A wrong value, and a key that does not exist, raise `ConfigurationError` at start-up, naming the key and the cure.
"""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from flask_zeus_cvs.exceptions import ConfigurationError, InvalidField
from flask_zeus_cvs.protocol import fields as wire
from flask_zeus_cvs.protocol.codes import STORES, Store, TestType

PREFIX = "ZEUS_CVS_"
#: ZEUS's own endpoint (manual, 送信パラメータ一覧).
ENDPOINT = "https://linkpt.cardservice.co.jp/cgi-bin/cvs.cgi"
LOCALES = ("ja",)

Network = IPv4Network | IPv6Network


class FulfillOn(StrEnum):
    """Which notice makes goods ship: 04 (入金速報) or 05 (売上確定)."""

    PAYMENT_RECEIVED = "payment_received"
    SALE_CONFIRMED = "sale_confirmed"


class DeliveryMode(StrEnum):
    """Where subscribers are called: a thread of the process, the request itself, or elsewhere."""

    BACKGROUND = "background"
    INLINE = "inline"
    DEFERRED = "deferred"


@dataclass(frozen=True)
class _Wrong(Exception):
    """What is wrong with a value, and the cure; the key is added where it is known."""

    wrong: str
    cure: str


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"is {value!r}, not a text", "Set it to a non-empty string.")
    return value.strip()


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }
    try:
        return known[str(value).strip().lower()]
    except KeyError:
        raise _Wrong(f"is {value!r}, neither true nor false", "Set it to True or False.") from None


def _number(least: int, most: int | None = None) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = value
        if isinstance(value, str) and re.fullmatch(r"[0-9]+", value.strip()):
            number = int(value)
        limits = f"from {least} to {most}" if most is not None else f"of {least} or more"
        if (
            not isinstance(number, int)
            or isinstance(number, bool)
            or number < least
            or (most is not None and number > most)
        ):
            raise _Wrong(f"is {value!r}", f"Set it to a whole number {limits}.")
        return number

    return read


def _items(value: Any) -> tuple[Any, ...]:
    """Read a list, a tuple, or one text with commas or spaces between the items."""
    if isinstance(value, str):
        return tuple(re.split(r"[\s,]+", value.strip())) if value.strip() else ()
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(value)
    raise _Wrong(f"is {value!r}, not a list", "Set it to a list, or a text with commas between the items.")


def _wire_field(name: str, cure: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        try:
            if not isinstance(value, str):
                raise _Wrong(f"is {type(value).__name__}, not a string", cure)
            wire.check(name, value)
        except InvalidField as problem:
            raise _Wrong(f"is not what ZEUS issues ({problem.problem})", cure) from None
        return value

    return read


def _endpoint(value: Any) -> str:
    url = urlsplit(_text(value))
    if not url.hostname or url.scheme not in ("http", "https"):
        raise _Wrong(f"is {value!r}, not a URL", f"Leave it out to use {ENDPOINT}.")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise _Wrong(
            f"is {value!r}: customers' details would travel unencrypted",
            "Use https; plain http is for a sandbox on loopback only.",
        )
    return url.geturl()


def _stores(value: Any) -> tuple[Store, ...]:
    known = ", ".join(f"{each.value} {STORES[each].name}" for each in STORES)
    try:
        stores = tuple(Store(each) for each in _items(value))
    except ValueError as error:
        raise _Wrong(f"has an unknown store ({error})", f"The stores are: {known}.") from None
    if not stores or len(set(stores)) != len(stores):
        raise _Wrong("is empty or names a store twice", f"List each store that you offer once: {known}.")
    return stores


def _networks(value: Any) -> tuple[Network, ...]:
    try:
        networks = tuple(ip_network(each) for each in _items(value))
    except ValueError as error:
        raise _Wrong(
            f"has something that is no address ({error})", "List addresses or CIDR networks."
        ) from None
    if not networks:
        raise _Wrong(
            "is empty, so every notice would be refused",
            "List the two sender addresses that ZEUS's manual gives you.",
        )
    if any(each.prefixlen == 0 for each in networks):
        raise _Wrong(
            "allows every address in the world", "List the two sender addresses that ZEUS's manual gives you."
        )
    return networks


def _tokens(value: Any) -> tuple[str, ...]:
    tokens = _items(value)
    if not tokens or not all(
        isinstance(each, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,200}", each) for each in tokens
    ):
        raise _Wrong(
            "has a token that cannot be the last segment of a URL",
            "Use letters, digits, - and _: python -c 'import secrets; print(secrets.token_urlsafe(24))'",
        )
    return tokens


def _encoding(value: Any) -> str:
    try:
        known = codecs.lookup(_text(value))
        b"%".decode(known.name)
    except (LookupError, UnicodeError):
        raise _Wrong(
            f"is {value!r}, which Python cannot decode", "Leave it out: ZEUS sends Shift_JIS (cp932)."
        ) from None
    return known.name


def _hosts(value: Any) -> tuple[str, ...]:
    hosts = tuple(_text(each).lower() for each in _items(value))
    if any(re.search(r"[/@\s]", each) for each in hosts):
        raise _Wrong(
            "has something that is no host name",
            "List host names like 'shop.example.jp', with :port if it has one.",
        )
    return hosts


def _choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise _Wrong(
                f"is {value!r}", "Set it to one of: " + ", ".join(repr(each) for each in choices) + "."
            )
        return str(value)

    return read


def _member(kind: type[StrEnum]) -> Callable[[Any], StrEnum]:
    known = _choice(*(each.value for each in kind))
    return lambda value: kind(known(value))


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise _Wrong(
            f"is {value!r}", "Set it to a path like '/zeus-cvs', with a slash in front and none behind."
        )
    return value


def _group(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise _Wrong(f"is {value!r}", "Set it to one word like 'zeus-cvs'.")
    return value


def _test_type(value: Any) -> TestType:
    try:
        return TestType(str(value))
    except ValueError:
        raise _Wrong(
            f"is {value!r}", "Set it to 0 (stays unpaid), 1 (sale confirmed) or 2 (payment cancelled)."
        ) from None


def is_loopback(host: str) -> bool:
    """Tell whether ``host``, a name or an address, is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _key(read: Callable[[Any], Any], default: Any = None) -> Any:
    return field(default=default, metadata={"read": read})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One attribute per key, named as the key without its prefix, in lower case."""

    #: The 10-digit IP code that ZEUS issues to the merchant (``clientip``). Required.
    client_ip: str = _key(
        _wire_field(
            "clientip", "Set it to the 10 digits that ZEUS issued, as a string: leading zeros matter."
        ),
        "",
    )
    #: Where applications are POSTed; https only, except on loopback.
    endpoint: str = _key(_endpoint, ENDPOINT)
    #: The stores offered, in the order shown.
    stores: tuple[Store, ...] = _key(_stores, tuple(STORES))
    #: The test id from ZEUS's screen; with `test_type`, every application is a test.
    test_id: str = _key(
        _wire_field("testid", "Copy it from テストカード番号管理 on ZEUS's screen, as a string of digits."),
        "",
    )
    #: 0 stays unpaid, 1 gets 04 then 05, 2 gets 04 then 06.
    test_type: TestType | None = _key(_test_type)
    #: Whether a paid test application makes goods ship.
    test_fulfills: bool = _key(_flag, False)
    #: The addresses allowed to notify. Unset: everyone is refused.
    callback_ips: tuple[Network, ...] = _key(_networks, ())
    #: The secret last segment of the callback's URL; several while rotating.
    callback_token: tuple[str, ...] = field(default=(), repr=False, metadata={"read": _tokens})
    #: The notifier's agent name, enforced on plain http to port 80 only.
    callback_user_agent: str = _key(_text, "")
    #: The codec of the notices' parameters.
    callback_encoding: str = _key(_encoding, "cp932")
    #: Seconds to connect to ZEUS.
    connect_timeout: int = _key(_number(1, 60), 5)
    #: Seconds for ZEUS's whole answer.
    read_timeout: int = _key(_number(1, 120), 20)
    #: Seconds before a customer may apply again after an unknown outcome.
    retry_unknown_after: int = _key(_number(0), 900)
    #: Which notice makes goods ship.
    fulfill_on: FulfillOn = _key(_member(FulfillOn), FulfillOn.PAYMENT_RECEIVED)
    #: Where subscribers are called. Default: background, or inline when the app is testing.
    delivery: DeliveryMode = _key(_member(DeliveryMode), DeliveryMode.BACKGROUND)
    #: Tries per subscriber before its delivery is parked.
    delivery_attempts: int = _key(_number(1, 1000), 12)
    #: Hours after the deadline's 24:00 JST before our own sweep expires a slip.
    expiry_grace_hours: int = _key(_number(0), 24)
    #: Hours before the deadline at which `deadline_near` is sent.
    remind_hours: int = _key(_number(1), 30)
    #: Applications per payment.
    max_attempts: int = _key(_number(1), 5)
    #: Whether customer pages refuse plain http.
    require_https: bool = _key(_flag, True)
    #: Hosts that a payment's ``return_url`` may lead to.
    return_hosts: tuple[str, ...] = _key(_hosts, ())
    #: The language of the pages.
    locale: str = _key(_choice(*LOCALES), "ja")
    #: The template that every page extends.
    base_template: str = _key(_text, "zeus_cvs/base.html")
    #: Whether 7-Eleven customers are redirected to ``pay_url``, as the manual asks.
    redirect_711: bool = _key(_flag, True)
    #: Where the blueprint is mounted.
    url_prefix: str = _key(_prefix, "/zeus-cvs")
    #: The name of the command group.
    cli_group: str = _key(_group, "zeus-cvs")
    #: Days until the deadline, sent as ``span``: undocumented, and not sent unless set.
    pay_within_days: int | None = _key(_number(wire.MIN_DAYS, wire.MAX_DAYS))

    @property
    def test(self) -> bool:
        """Whether every application is a test: only if both test keys are set."""
        return bool(self.test_id) and self.test_type is not None

    @property
    def gateway_seconds(self) -> int:
        """The longest that one conversation with ZEUS may take."""
        return self.connect_timeout + self.read_timeout

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read every key of ``app.config``; None counts as unset. Raises `ConfigurationError`."""
        readers = {PREFIX + each.name.upper(): each for each in fields(cls)}
        given = {key: value for key, value in config.items() if key.startswith(PREFIX) and value is not None}
        _refuse_strangers(given, readers)
        values: dict[str, Any] = {}
        for key, value in given.items():
            try:
                values[readers[key].name] = readers[key].metadata["read"](value)
            except _Wrong as error:
                shown = "is not usable" if not readers[key].repr else error.wrong
                raise ConfigurationError(f"{key} {shown}. {error.cure}") from None
        if config.get("TESTING") and "delivery" not in values:
            values["delivery"] = DeliveryMode.INLINE
        settings = cls(**values)
        _refuse_contradictions(settings)
        return settings


def _refuse_strangers(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"Did you mean {close[0]}?"
                if close
                else "The settings page of the documentation lists all keys."
            )
            raise ConfigurationError(f"{key} is not a setting. {hint}")


def _refuse_contradictions(settings: Settings) -> None:
    if not settings.client_ip:
        raise ConfigurationError(
            "ZEUS_CVS_CLIENT_IP is not set. Set it to the 10-digit IP code that ZEUS issued to you, as a string."
        )
    if bool(settings.test_id) != (settings.test_type is not None):
        raise ConfigurationError(
            "ZEUS_CVS_TEST_ID and ZEUS_CVS_TEST_TYPE go together: with only one of them ZEUS takes the "
            "application for a real one. Set both, or neither."
        )
