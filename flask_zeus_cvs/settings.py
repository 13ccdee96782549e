"""The settings of one app: every ``ZEUS_CVS_…`` key of ``app.config``, read once into one frozen value.

A wrong value, and a key that does not exist, raise `ConfigurationError` at start-up, naming the key and the cure.
"""

from __future__ import annotations

import codecs
import difflib
import re
import reprlib
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import BaseAdapter

from flask_zeus_cvs.exceptions import ConfigurationError, InvalidField
from flask_zeus_cvs.protocol import fields as wire
from flask_zeus_cvs.protocol.codes import STORES, Store, TestType

PREFIX = "ZEUS_CVS_"
#: ZEUS's own endpoint (manual, 送信パラメータ一覧).
ENDPOINT = "https://linkpt.cardservice.co.jp/cgi-bin/cvs.cgi"
LOCALES = ("ja", "en")

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


def _shown(value: Any) -> str:
    """Quote a value that is no secret, shortened."""
    return reprlib.repr(value)


def _kind(value: Any) -> str:
    """Tell what a value is without quoting it: it may be a secret."""
    return "is blank" if value == "" else f"is of type {type(value).__name__}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"{_kind(value)}, not a text", "Set it to a non-empty string.")
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
        raise _Wrong(f"is {_shown(value)}, neither true nor false", "Set it to True or False.") from None


def _number(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = value
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
            number = int(value)
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
            raise _Wrong(f"is {_shown(value)}", f"Set it to a whole number from {least} to {most}.")
        return number

    return read


def _items(value: Any, cure: str) -> tuple[Any, ...]:
    """Read a list, a tuple, a set, or one text with commas or spaces between the items."""
    if isinstance(value, str):
        return tuple(re.split(r"[\s,]+", value.strip())) if value.strip() else ()
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(value)
    raise _Wrong(f"{_kind(value)}, not a list", cure)


def _wire_field(name: str, cure: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str):
            quotes = " In an environment variable that Flask reads, a string of digits needs double quotes of its own."
            raise _Wrong(f"{_kind(value)}, not a string", cure + quotes)
        try:
            wire.check(name, value)
        except InvalidField as problem:
            raise _Wrong(f"is not what ZEUS issues ({problem.problem})", cure) from None
        return value

    return read


def _endpoint(value: Any) -> str:
    cure = f"Leave it out to use {ENDPOINT}."
    text = value.strip() if isinstance(value, str) else ""
    try:
        url = urlsplit(text)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[^!-~]", text):
        raise _Wrong("is not a URL", cure)
    if "@" in url.netloc:
        raise _Wrong("has a user name in it, which ZEUS does not ask for", cure)
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        raise _Wrong(
            f"is {_shown(text)}: customers' details would travel unencrypted",
            "Use https; plain http is for a sandbox on loopback only.",
        )
    return text


def _stores(value: Any) -> tuple[Store, ...]:
    known = ", ".join(f"{each.value} {STORES[each].name}" for each in STORES)
    cure = f"List each store that you offer once, in the order shown: {known}."
    if isinstance(value, (set, frozenset)):
        raise _Wrong("is a set, which has no order", cure)
    try:
        stores = tuple(Store(each) for each in _items(value, cure))
    except ValueError:
        raise _Wrong(f"has an unknown store ({_shown(value)})", cure) from None
    if not stores or len(set(stores)) != len(stores):
        raise _Wrong("is empty or names a store twice", cure)
    return stores


#: The addresses are confidential, so messages name the place of a wrong one and do not quote it.
_TWO_ADDRESSES = "List the two sender addresses that ZEUS's manual gives you."


def _networks(value: Any) -> tuple[Network, ...]:
    networks = tuple(_network(each, place) for place, each in enumerate(_items(value, _TWO_ADDRESSES), 1))
    if not networks:
        raise _Wrong("is empty, so every notice would be refused", _TWO_ADDRESSES)
    if any(each.prefixlen == 0 for each in networks):
        raise _Wrong("allows every address in the world", _TWO_ADDRESSES)
    return networks


def _network(value: Any, place: int) -> Network:
    """Read one address or network; IPv4 mapped into IPv6 is mapped back, as the guard does with a caller's."""
    try:
        if not isinstance(value, (str, IPv4Address, IPv6Address, IPv4Network, IPv6Network)):
            raise ValueError
        network = ip_network(value.strip() if isinstance(value, str) else value)
    except ValueError:
        raise _Wrong(
            f"has an item {place} that is neither an address nor a network",
            "List addresses like 192.0.2.1, or networks like 192.0.2.0/24 with no bit set after the prefix.",
        ) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _tokens(value: Any) -> tuple[str, ...]:
    cure = "Use letters, digits, - and _: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
    given = [each.strip() for each in value.split(",")] if isinstance(value, str) else _items(value, cure)
    tokens = tuple(given)
    if not tokens or not all(
        isinstance(each, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,200}", each) for each in tokens
    ):
        raise _Wrong("has a token that cannot be the last segment of a URL", cure)
    return tokens


def _encoding(value: Any) -> str:
    alphabet = string.ascii_letters + string.digits
    try:
        known = codecs.lookup(value)
        if alphabet.encode("ascii").decode(known.name) != alphabet:
            raise LookupError
    except (LookupError, TypeError, ValueError):
        raise _Wrong(
            f"is {_shown(value)}, which is no encoding of letters and digits",
            "Leave it out: ZEUS sends Shift_JIS (cp932).",
        ) from None
    return known.name


def _hosts(value: Any) -> tuple[str, ...]:
    cure = (
        "List host names like 'shop.example.jp', with :port if the URL has one, and 日本.jp as xn--wgv71a.jp."
    )
    hosts = tuple(each.lower() if isinstance(each, str) else each for each in _items(value, cure))
    for each in hosts:
        if not isinstance(each, str) or not re.fullmatch(_HOST, each):
            raise _Wrong(f"has something that is no host name ({_shown(each)})", cure)
    return hosts


_HOST = r"(([a-z0-9_-]+\.)*[a-z0-9_-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"


def _choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise _Wrong(
                f"is {_shown(value)}", "Set it to one of: " + ", ".join(repr(each) for each in choices) + "."
            )
        return str(value)

    return read


def _member(kind: type[StrEnum]) -> Callable[[Any], StrEnum]:
    known = _choice(*(each.value for each in kind))
    return lambda value: kind(known(value))


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(/(?!\.+(/|$))[A-Za-z0-9._~-]+)+", value):
        raise _Wrong(
            f"is {_shown(value)}", "Set it to a path like '/zeus-cvs', with a slash in front and none behind."
        )
    return value


def _group(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value):
        raise _Wrong(f"is {_shown(value)}", "Set it to one word like 'zeus-cvs'.")
    return value


def _test_type(value: Any) -> TestType:
    try:
        return TestType(str(value))
    except ValueError:
        raise _Wrong(
            f"is {_shown(value)}", "Set it to 0 (stays unpaid), 1 (sale confirmed) or 2 (payment cancelled)."
        ) from None


def _texts(value: Any) -> Mapping[str, Mapping[str, str]]:
    cure = "Set it to a dict of languages, each with a dict from our Japanese text to yours."
    if not isinstance(value, Mapping) or not all(isinstance(each, Mapping) for each in value.values()):
        raise _Wrong(f"{_kind(value)} of another form", cure)
    if unknown := set(value) - set(LOCALES):
        raise _Wrong(
            f"has a language {_shown(min(map(str, unknown)))}", f"Use {' and '.join(LOCALES)}. {cure}"
        )
    for texts in value.values():
        if not all(isinstance(each, str) and each for pair in texts.items() for each in pair):
            raise _Wrong("has a text that is none", cure)
        for ours, own in texts.items():
            if not _values_of(own) <= _values_of(ours):
                raise _Wrong(
                    f"has a text with braces that ours does not have: {_shown(own)}",
                    f"Use no others than our Japanese text has: {_shown(ours)}.",
                )
    return MappingProxyType({each: MappingProxyType(dict(texts)) for each, texts in value.items()})


def _values_of(text: str) -> frozenset[str]:
    """Return the names in a text's braces; a brace without its other half counts as one, too."""
    try:
        return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)
    except ValueError:
        return frozenset({text})


def _transport(value: Any) -> BaseAdapter:
    if not isinstance(value, BaseAdapter):
        raise _Wrong(
            f"{_kind(value)}, not a transport adapter",
            "Set it to an instance of a class that derives from requests.adapters.BaseAdapter.",
        )
    return value


def _drill_orders(value: Any) -> Any:
    """Accept a class, or what has its methods; a text only says where that is, and is looked up by the drill."""
    cure = "Set it to a text like 'shop.drill:Orders', module and class, or to the class itself."
    if isinstance(value, str):
        if not re.fullmatch(r"\w+(\.\w+)*:\w+", value):
            raise _Wrong(f"is {_shown(value)}", cure)
    elif not callable(getattr(value, "place", None)):
        raise _Wrong(f"{_kind(value)}, which has no method place", cure)
    return value


def is_loopback(host: str) -> bool:
    """Tell whether ``host``, a name or an address, is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _key(read: Callable[[Any], Any], default: Any = None, *, secret: bool = False) -> Any:
    """Declare a key; the reader of a secret one does not quote the value in its messages."""
    return field(default=default, repr=not secret, metadata={"read": read})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One attribute per key, named as the key without its prefix, in lower case."""

    #: The 10-digit IP code that ZEUS issues to the merchant (``clientip``). Required.
    client_ip: str = _key(
        _wire_field(
            "clientip", "Set it to the 10 digits that ZEUS issued, as a string: leading zeros matter."
        ),
        "",
        secret=True,
    )
    #: Where applications are POSTed; https only, except on loopback.
    endpoint: str = _key(_endpoint, ENDPOINT)
    #: The stores offered, in the order shown.
    stores: tuple[Store, ...] = _key(_stores, tuple(STORES))
    #: The test id from ZEUS's screen; with `test_type`, every application is a test.
    test_id: str = _key(
        _wire_field("testid", "Copy it from テストカード番号管理 on ZEUS's screen, as a string of digits."),
        "",
        secret=True,
    )
    #: 0 stays unpaid, 1 gets 04 then 05, 2 gets 04 then 06.
    test_type: TestType | None = _key(_test_type)
    #: Whether a paid test application makes goods ship.
    test_fulfills: bool = _key(_flag, False)
    #: The addresses allowed to notify. Unset: everyone is refused.
    callback_ips: tuple[Network, ...] = _key(_networks, (), secret=True)
    #: The secret last segment of the callback's URL; several while rotating.
    callback_token: tuple[str, ...] = _key(_tokens, (), secret=True)
    #: The notifier's agent name, enforced on plain http to port 80 only.
    callback_user_agent: str = _key(_text, "", secret=True)
    #: The codec of the notices' parameters.
    callback_encoding: str = _key(_encoding, "cp932")
    #: Seconds to connect to ZEUS.
    connect_timeout: int = _key(_number(1, 60), 5)
    #: Seconds for ZEUS's whole answer.
    read_timeout: int = _key(_number(1, 120), 20)
    #: Seconds before a customer may apply again after an unknown outcome.
    retry_unknown_after: int = _key(_number(0, 5_184_000), 900)
    #: Which notice makes goods ship.
    fulfill_on: FulfillOn = _key(_member(FulfillOn), FulfillOn.PAYMENT_RECEIVED)
    #: Where subscribers are called. Default: background, or inline when the app is testing.
    delivery: DeliveryMode = _key(_member(DeliveryMode), DeliveryMode.BACKGROUND)
    #: Tries per subscriber before its delivery is parked.
    delivery_attempts: int = _key(_number(1, 1000), 12)
    #: Hours after the deadline's 24:00 JST before our own sweep expires a slip.
    expiry_grace_hours: int = _key(_number(0, 1440), 24)
    #: Hours before the deadline at which `deadline_near` is sent.
    remind_hours: int = _key(_number(1, 1440), 30)
    #: Applications per payment.
    max_attempts: int = _key(_number(1, 1000), 5)
    #: Whether customer pages refuse plain http.
    require_https: bool = _key(_flag, True)
    #: Hosts that a payment's ``return_url`` may lead to.
    return_hosts: tuple[str, ...] = _key(_hosts, ())
    #: The language of the pages.
    locale: str = _key(_choice(*LOCALES), "ja")
    #: Texts of the shop's own instead of ours: language → our Japanese text → its own.
    texts: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: MappingProxyType({}), metadata={"read": _texts}
    )
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
    #: What carries applications instead of our own watched connections: for tests, without a socket.
    transport: BaseAdapter | None = _key(_transport)
    #: What stands for the shop's orders in a drill: a class, an object, or ``"module:Class"``.
    drill_orders: Any = _key(_drill_orders)

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
                raise ConfigurationError(f"{key} {error.wrong}. {error.cure}") from None
        if config.get("TESTING") and "delivery" not in values:
            values["delivery"] = DeliveryMode.INLINE
        settings = cls(**values)
        _refuse_contradictions(settings)
        return settings


def _refuse_strangers(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key in given:
        if key not in known:
            names = [each.removeprefix(PREFIX) for each in known]
            close = difflib.get_close_matches(key.removeprefix(PREFIX), names, n=1)
            hint = (
                f"Did you mean {PREFIX}{close[0]}?"
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
