"""Every setting: what each key takes, what it becomes, and how a wrong value is answered."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from types import MappingProxyType
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

from flask_zeus_cvs import ConfigurationError
from flask_zeus_cvs.protocol.codes import Store, TestType
from flask_zeus_cvs.settings import PREFIX, DeliveryMode, FulfillOn, Settings

CLIENT_IP = "1234567890"
#: The other half of a pair that only goes together.
WITH: dict[str, dict[str, Any]] = {
    "test_id": {"ZEUS_CVS_TEST_TYPE": "1"},
    "test_type": {"ZEUS_CVS_TEST_ID": "12345678"},
}


@dataclass(frozen=True)
class Row:
    """One key: its default, pairs of what may be written and what it becomes, and what is refused."""

    default: Any
    good: tuple[tuple[Any, Any], ...]
    bad: tuple[Any, ...]
    #: A word of the cure that each refusal ends in.
    cure: str


class Orders:
    """Stands for a shop's own."""

    def place(self, amount: int) -> None:
        """Place nothing."""


CARRIER = HTTPAdapter()
FLAG = (
    (True, True),
    (False, False),
    (1, True),
    (0, False),
    ("true", True),
    ("False", False),
    ("1", True),
    ("0", False),
    ("yes", True),
    ("no", False),
    (" ON ", True),
    ("off", False),
)
NO_FLAG: tuple[Any, ...] = ("", "maybe", "tru", 2, -1, 1.5, [], [True], b"true", object())
NO_NUMBER: tuple[Any, ...] = (
    "",
    "five",
    "5.5",
    "-1",
    "５",
    5.5,
    -1,
    True,
    False,
    float("nan"),
    [],
    [5],
    b"5",
    "9" * 5000,
    10**30,
)
LINKPT = "https://linkpt.cardservice.co.jp/cgi-bin/cvs.cgi"

# fmt: off
ROWS: dict[str, Row] = {
    "client_ip": Row(
        default=None,
        good=(("1234567890", "1234567890"), ("0000000001", "0000000001")),
        bad=(
            *("", "123456789", "12345678901", " 1234567890", "1234567890\n", "12345６7890", "abcdefghij"),
            *(1234567890, True, 1.0, b"1234567890", ["1234567890"]),
        ),
        cure="10 digits",
    ),
    "endpoint": Row(
        default=LINKPT,
        good=(
            (LINKPT, LINKPT),
            ("https://sandbox.example/cvs.cgi", "https://sandbox.example/cvs.cgi"),
            (" https://sandbox.example/cvs.cgi ", "https://sandbox.example/cvs.cgi"),
            ("http://127.0.0.1:5001/cgi-bin/cvs.cgi", "http://127.0.0.1:5001/cgi-bin/cvs.cgi"),
            ("http://127.8.9.1/cvs.cgi", "http://127.8.9.1/cvs.cgi"),
            ("http://localhost:5001/cvs.cgi", "http://localhost:5001/cvs.cgi"),
            ("http://[::1]:5001/cvs.cgi", "http://[::1]:5001/cvs.cgi"),
        ),
        bad=(
            "http://linkpt.cardservice.co.jp/cgi-bin/cvs.cgi",
            "http://192.0.2.1/cvs.cgi",
            "http://localhost.example/cvs.cgi",
            "http://127.0.0.1@shop.example/cvs.cgi",
            "http://127.0.0.1.example/",
            "ftp://127.0.0.1/cvs.cgi",
            "//sandbox.example/cvs.cgi",
            "sandbox.example",
            "https://",
            "https:///cvs.cgi",
            "https://[::1/cvs.cgi",
            "https://sandbox.example:port/cvs.cgi",
            "https://sandbox.example:70000/cvs.cgi",
            "https://sandbox.example/cvs.cgi\nX: y",
            "https://user:password@sandbox.example/cvs.cgi",
            "",
            5001,
            b"https://sandbox.example/",
        ),
        cure="https",
    ),
    "stores": Row(
        default=tuple(Store),
        good=(
            (["D030", "D002"], (Store.FAMILYMART, Store.LAWSON)),
            (("D001",), (Store.SEVEN_ELEVEN,)),
            ([Store.MINISTOP, "D015"], (Store.MINISTOP, Store.SEICOMART)),
            ("D060", (Store.DAILY_YAMAZAKI,)),
            ("D002, D001", (Store.LAWSON, Store.SEVEN_ELEVEN)),
            ("D002 D001", (Store.LAWSON, Store.SEVEN_ELEVEN)),
        ),
        bad=([], (), "", "D999", ["D001", "D001"], ["D001", None], ["lawson"], [1], [[]], 5, {"D001", "D002"}, b"D001"),
        cure="D030 ファミリーマート",
    ),
    "test_id": Row(
        default="",
        good=(("12345678", "12345678"), ("00000001", "00000001"), ("7", "7")),
        bad=("", "123456789", "abc", "１２", " 12345678", 12345678, b"1", ["1"]),
        cure="テストカード番号管理",
    ),
    "test_type": Row(
        default=None,
        good=(
            ("0", TestType.NO_PAYMENT),
            (0, TestType.NO_PAYMENT),
            ("1", TestType.SALE_CONFIRMED),
            (1, TestType.SALE_CONFIRMED),
            (TestType.PAYMENT_CANCELLED, TestType.PAYMENT_CANCELLED),
            (2, TestType.PAYMENT_CANCELLED),
        ),
        bad=("", "3", 3, -1, True, False, "sale_confirmed", 1.0, [], b"1"),
        cure="0 (stays unpaid)",
    ),
    "test_fulfills": Row(default=False, good=FLAG, bad=NO_FLAG, cure="True or False"),
    "callback_ips": Row(
        default=(),
        good=(
            (["192.0.2.1", "198.51.100.7"], (ip_network("192.0.2.1"), ip_network("198.51.100.7"))),
            (("203.0.113.0/24",), (ip_network("203.0.113.0/24"),)),
            ("192.0.2.1", (ip_network("192.0.2.1"),)),
            ("192.0.2.1,198.51.100.7", (ip_network("192.0.2.1"), ip_network("198.51.100.7"))),
            ("192.0.2.1, 2001:db8::/32", (ip_network("192.0.2.1"), ip_network("2001:db8::/32"))),
            ({"192.0.2.1"}, (ip_network("192.0.2.1"),)),
            ([ip_address("192.0.2.1")], (ip_network("192.0.2.1"),)),
            ([ip_network("2001:db8::/32")], (ip_network("2001:db8::/32"),)),
            ([" 192.0.2.1 "], (ip_network("192.0.2.1"),)),
            # The guard maps a caller's address back to IPv4, so what is listed must be mapped back too.
            (["::ffff:192.0.2.1"], (ip_network("192.0.2.1"),)),
            (["::ffff:192.0.2.0/120"], (ip_network("192.0.2.0/24"),)),
        ),
        bad=(
            [],
            "",
            "zeus",
            ["192.0.2.300"],
            ["192.0.2.1/24"],
            ["192.0.2.1", ""],
            ["192.0.2.1", None],
            ["192.0.2.1:443"],
            ["0.0.0.0/0"],
            ["::/0"],
            ["::ffff:0:0/96"],
            [5],
            [True],
            [b"\xc0\x00\x02\x01"],
            [("192.0.2.0", 24)],
            [["192.0.2.1"]],
            5,
            b"192.0.2.1",
        ),
        cure="ddresses",
    ),
    "callback_token": Row(
        default=(),
        good=(
            ("a-secret_Token7", ("a-secret_Token7",)),
            (["new-token", "old-token"], ("new-token", "old-token")),
            (("new-token",), ("new-token",)),
            ("new-token,old-token", ("new-token", "old-token")),
            ("new-token, old-token", ("new-token", "old-token")),
        ),
        bad=(
            *("", "a/b", "new?token", "new token", "日本", "x" * 201, "new-token,", b"new-token", 7),
            *([], ["new token"], ["new-token", ""], [7]),
        ),
        cure="secrets.token_urlsafe",
    ),
    "callback_user_agent": Row(
        default="",
        good=(("Some Agent", "Some Agent"), (" Some Agent ", "Some Agent")),
        bad=("", "  ", 5, b"agent", ["agent"]),
        cure="string",
    ),
    "callback_encoding": Row(
        default="cp932",
        good=(("cp932", "cp932"), ("MS932", "cp932"), ("shift_jis", "shift_jis"), ("UTF-8", "utf-8")),
        bad=(
            *("", "sjis-from-japan", "日本", "cp932\x00", "hex", "rot13", "utf-16", "cp037", "undefined"),
            *("x" * 300, 932, b"cp932", []),
        ),
        cure="cp932",
    ),
    "connect_timeout": Row(
        default=5, good=((1, 1), (60, 60), ("5", 5), (" 5 ", 5)), bad=(*NO_NUMBER, 0, 61), cure="from 1 to 60"
    ),
    "read_timeout": Row(
        default=20, good=((1, 1), (120, 120), ("20", 20)), bad=(*NO_NUMBER, 0, 121), cure="from 1 to 120"
    ),
    "retry_unknown_after": Row(
        default=900, good=((0, 0), ("900", 900), (86400, 86400)), bad=NO_NUMBER, cure="whole number"
    ),
    "fulfill_on": Row(
        default=FulfillOn.PAYMENT_RECEIVED,
        good=(
            ("payment_received", FulfillOn.PAYMENT_RECEIVED),
            ("sale_confirmed", FulfillOn.SALE_CONFIRMED),
            (FulfillOn.SALE_CONFIRMED, FulfillOn.SALE_CONFIRMED),
        ),
        bad=("", "received", "PAYMENT_RECEIVED", "04", 4, True, [], ["sale_confirmed"], {}),
        cure="'sale_confirmed'",
    ),
    "delivery": Row(
        default=DeliveryMode.BACKGROUND,
        good=(
            ("background", DeliveryMode.BACKGROUND),
            ("inline", DeliveryMode.INLINE),
            ("deferred", DeliveryMode.DEFERRED),
            (DeliveryMode.DEFERRED, DeliveryMode.DEFERRED),
        ),
        bad=("", "celery", "Background", 1, [], {}),
        cure="'deferred'",
    ),
    "delivery_attempts": Row(
        default=12, good=((1, 1), ("12", 12), (1000, 1000)), bad=(*NO_NUMBER, 0, 1001), cure="from 1 to 1000"
    ),
    "expiry_grace_hours": Row(default=24, good=((0, 0), ("48", 48)), bad=NO_NUMBER, cure="whole number"),
    "remind_hours": Row(default=30, good=((1, 1), ("72", 72)), bad=(*NO_NUMBER, 0), cure="whole number"),
    "max_attempts": Row(default=5, good=((1, 1), ("7", 7)), bad=(*NO_NUMBER, 0), cure="whole number"),
    "require_https": Row(default=True, good=FLAG, bad=NO_FLAG, cure="True or False"),
    "return_hosts": Row(
        default=(),
        good=(
            (["shop.example.jp"], ("shop.example.jp",)),
            (("Shop.Example.JP:8443", "www.example.jp"), ("shop.example.jp:8443", "www.example.jp")),
            ("shop.example.jp", ("shop.example.jp",)),
            ("shop.example.jp, www.example.jp", ("shop.example.jp", "www.example.jp")),
            (["localhost:5000", "127.0.0.1"], ("localhost:5000", "127.0.0.1")),
            (["[2001:db8::1]:8443"], ("[2001:db8::1]:8443",)),
            (["xn--wgv71a119e.jp"], ("xn--wgv71a119e.jp",)),
            ([], ()),
            ("", ()),
        ),
        bad=(
            "https://shop.example.jp",
            ["shop.example.jp/"],
            ["user@shop.example.jp"],
            ["*.example.jp"],
            [".example.jp"],
            ["shop.example.jp:"],
            ["shop.example.jp:https"],
            ["shop example"],
            ["shop\\example"],
            ["日本語.jp"],
            [""],
            [None],
            [5],
            5,
            b"shop.example.jp",
        ),
        cure="shop.example.jp",
    ),
    "locale": Row(default="ja", good=(("ja", "ja"), ("en", "en")), bad=("", "JA", "xx", 1, [], {}), cure="'ja'"),
    "texts": Row(
        default={},
        good=(
            ({}, MappingProxyType({})),
            ({"ja": {"ショップに戻る": "売り場へ"}}, MappingProxyType({"ja": {"ショップに戻る": "売り場へ"}})),
            ({"en": {"{amount}円": "the price"}}, MappingProxyType({"en": {"{amount}円": "the price"}})),
        ),
        bad=(
            *("", [], {"ja": "x"}, {"fr": {}}, {"ja": {"ショップに戻る": 1}}, {"ja": {"ショップに戻る": ""}}),
            # Each would be an error page in a customer's hands.
            *({"ja": {"{amount}円": text}} for text in ("{amont}円", "{amount円", "{}円")),
        ),
        cure="Japanese text",
    ),
    "base_template": Row(
        default="zeus_cvs/base.html",
        good=(("shop/base.html", "shop/base.html"),),
        bad=("", "  ", 1, [], b"shop/base.html"),
        cure="string",
    ),
    "redirect_711": Row(default=True, good=FLAG, bad=NO_FLAG, cure="True or False"),
    "url_prefix": Row(
        default="/zeus-cvs",
        good=(("/pay", "/pay"), ("/shop/konbini", "/shop/konbini")),
        bad=(
            *("", "/", "pay", "/pay/", "//pay", "/pay pay", "/<token>", "/支払", "/pay?x", "/pay\n", "/a/../b", "/.."),
            *(1, b"/pay"),
        ),
        cure="/zeus-cvs",
    ),
    "cli_group": Row(
        default="zeus-cvs",
        good=(("konbini", "konbini"), ("zeus_cvs", "zeus_cvs")),
        bad=("", "zeus cvs", "支払", "--help", "zeus\n", 1, b"zeus"),
        cure="one word",
    ),
    "pay_within_days": Row(
        default=None, good=((2, 2), (59, 59), ("14", 14)), bad=(*NO_NUMBER, 0, 1, 60), cure="from 2 to 59"
    ),
    "transport": Row(
        default=None,
        good=((CARRIER, CARRIER),),
        bad=("requests", 1, HTTPAdapter, object(), []),
        cure="requests.adapters.BaseAdapter",
    ),
    "drill_orders": Row(
        default=None,
        good=(("shop.drill:Orders", "shop.drill:Orders"), ("shop:Orders", "shop:Orders"), (Orders, Orders)),
        bad=("", "Orders", "shop.drill", "shop.drill:", ":Orders", "shop drill:Orders", 1, object(), []),
        cure="shop.drill:Orders",
    ),
}
# fmt: on


def read(**keys: Any) -> Settings:
    return Settings.from_config({"ZEUS_CVS_CLIENT_IP": CLIENT_IP, **keys})


def each(kind: str) -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}-{number}")
        for name, row in ROWS.items()
        for number, case in enumerate(getattr(row, kind))
    ]


def test_every_setting_has_a_row() -> None:
    """A new key cannot be added without a row above, nor a row outlive its key."""
    assert list(ROWS) == [field.name for field in dataclasses.fields(Settings)]


@pytest.mark.parametrize("name", [name for name in ROWS if name != "client_ip"])
def test_defaults(name: str) -> None:
    """Unset, and None alike, mean the documented default."""
    assert getattr(read(), name) == ROWS[name].default
    assert getattr(read(**{PREFIX + name.upper(): None}), name) == ROWS[name].default


@pytest.mark.parametrize(("name", "case"), each("good"))
def test_good_values_are_read(name: str, case: tuple[Any, Any]) -> None:
    """Each accepted spelling becomes one value of one type."""
    written, becomes = case
    value = getattr(read(**{PREFIX + name.upper(): written}, **WITH.get(name, {})), name)
    assert value == becomes
    assert type(value) is type(becomes)


@pytest.mark.parametrize(("name", "case"), each("bad"))
def test_bad_values_are_refused_with_key_and_cure(name: str, case: Any) -> None:
    """A wrong value stops the start with a `ConfigurationError` that names the key and ends in the cure."""
    key = PREFIX + name.upper()
    with pytest.raises(ConfigurationError) as caught:
        read(**{key: case}, **WITH.get(name, {}))
    message = str(caught.value)
    assert message.startswith(f"{key} ")
    assert ROWS[name].cure in message
    assert len(message) < 500
    assert message.isprintable()


_SOMETHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=20),
    st.text(max_size=30),
    st.lists(st.one_of(st.text(max_size=10), st.integers(), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(st.sampled_from(sorted(ROWS)), _SOMETHING)
def test_no_value_raises_anything_else(name: str, value: Any) -> None:
    """Whatever is written, the answer is a setting or a `ConfigurationError`."""
    with contextlib.suppress(ConfigurationError):
        read(**{PREFIX + name.upper(): value}, **WITH.get(name, {}))


def test_the_ip_code_is_required() -> None:
    """Without the IP code nothing can be sent, so the app does not start."""
    with pytest.raises(ConfigurationError, match=r"^ZEUS_CVS_CLIENT_IP is not set\. Set it to"):
        Settings.from_config({})


def test_a_number_from_the_environment_is_told_how_to_be_a_string() -> None:
    """Flask reads FLASK_ZEUS_CVS_CLIENT_IP=1234567890 as a number; the cure says how to write it."""
    app = Flask(__name__)
    app.config["ZEUS_CVS_CLIENT_IP"] = 1234567890
    with pytest.raises(ConfigurationError, match="environment variable"):
        Settings.from_config(app.config)


@pytest.mark.parametrize("alone", [{"ZEUS_CVS_TEST_ID": "12345678"}, {"ZEUS_CVS_TEST_TYPE": 0}])
def test_test_id_and_type_go_together(alone: dict[str, Any]) -> None:
    """With only one of the two ZEUS would take the application for a real one: refused."""
    with pytest.raises(
        ConfigurationError, match=r"ZEUS_CVS_TEST_ID and ZEUS_CVS_TEST_TYPE .*Set both, or neither"
    ):
        read(**alone)


def test_a_test_needs_both_keys() -> None:
    """Applications are tests exactly when both test keys are set; type 0 counts as set."""
    assert read(ZEUS_CVS_TEST_ID="12345678", ZEUS_CVS_TEST_TYPE=0).test
    assert not read().test


@pytest.mark.parametrize(
    ("wrong", "close"),
    [
        ("ZEUS_CVS_CALLBACK_IP", "ZEUS_CVS_CALLBACK_IPS"),
        ("ZEUS_CVS_CLIENTIP", "ZEUS_CVS_CLIENT_IP"),
        ("ZEUS_CVS_FULFIL_ON", "ZEUS_CVS_FULFILL_ON"),
        ("ZEUS_CVS_RETURN_HOST", "ZEUS_CVS_RETURN_HOSTS"),
    ],
)
def test_an_unknown_key_names_its_neighbour(wrong: str, close: str) -> None:
    """A key with a slip of the pen is not passed over in silence; the message names the one that was meant."""
    with pytest.raises(ConfigurationError, match=rf"^{wrong} is not a setting\. Did you mean {close}\?$"):
        read(**{wrong: "1"})


def test_an_unknown_key_without_neighbour_points_to_the_docs() -> None:
    """A key like no other is refused too."""
    with pytest.raises(ConfigurationError, match=r"^ZEUS_CVS_XYZZY is not a setting\. The settings page"):
        read(ZEUS_CVS_XYZZY=True)


def test_other_extensions_keys_are_none_of_our_business() -> None:
    """Only keys under our prefix are read."""
    assert read(ZEUS_CARD_CLIENT_IP="x", SQLALCHEMY_ECHO=True) == read()


def test_delivery_is_inline_while_testing() -> None:
    """A shop's own tests hear their subscribers at once, unless they say otherwise."""
    assert read(TESTING=True).delivery is DeliveryMode.INLINE
    assert read(TESTING=True, ZEUS_CVS_DELIVERY="background").delivery is DeliveryMode.BACKGROUND


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("ZEUS_CVS_CALLBACK_TOKEN", "s3cret/t0ken"),
        ("ZEUS_CVS_CALLBACK_TOKEN", ["s3cret t0ken"]),
        ("ZEUS_CVS_CALLBACK_IPS", ["192.0.2.1", "s3cret"]),
        ("ZEUS_CVS_CALLBACK_IPS", "s3cret"),
        ("ZEUS_CVS_CALLBACK_USER_AGENT", ["s3cret"]),
        ("ZEUS_CVS_CLIENT_IP", "s3cret"),
        ("ZEUS_CVS_TEST_ID", "s3cret"),
        ("ZEUS_CVS_ENDPOINT", "https://shop:s3cret@sandbox.example/"),
        ("ZEUS_CVS_ENDPOINT", "http://shop:s3cret@sandbox.example/"),
    ],
)
def test_confidential_values_are_not_echoed(key: str, wrong: Any) -> None:
    """What ZEUS's manual or the shop keeps secret does not end up in a log of a failed start."""
    with pytest.raises(ConfigurationError, match=key) as caught:
        read(**{key: wrong})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_wrong_address_is_named_by_its_place() -> None:
    """Of several addresses, the message says which one is wrong without quoting it."""
    with pytest.raises(ConfigurationError, match=r"item 2"):
        read(ZEUS_CVS_CALLBACK_IPS=["192.0.2.1", "192.0.2.300"])


def test_the_repr_keeps_secrets() -> None:
    """A repr in a log or on a debug page shows neither the merchant's ids nor who may notify."""
    settings = read(
        ZEUS_CVS_TEST_ID="87654321",
        ZEUS_CVS_TEST_TYPE=1,
        ZEUS_CVS_CALLBACK_IPS=["192.0.2.77"],
        ZEUS_CVS_CALLBACK_TOKEN="s3cret-token",
        ZEUS_CVS_CALLBACK_USER_AGENT="Some Agent",
    )
    shown = repr(settings)
    assert shown.startswith("Settings(")
    for secret in (CLIENT_IP, "87654321", "192.0.2.77", "s3cret-token", "Some Agent"):
        assert secret not in shown


def test_settings_are_frozen() -> None:
    """They are read once; nothing changes them while the app runs."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().max_attempts = 99  # type: ignore[misc]


def test_a_conversation_with_zeus_ends_before_a_worker_is_killed() -> None:
    """By default both time-outs together stay below gunicorn's 30 seconds."""
    assert read().gateway_seconds < 30
