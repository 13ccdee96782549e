"""Who may notify us, rule by rule."""

from __future__ import annotations

import hmac
from dataclasses import replace
from ipaddress import ip_network

import pytest

from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.web.guard import Caller, Refusal, refusal, shown

ZEUS = Settings(
    client_ip="1234567890",
    callback_ips=(ip_network("192.0.2.10"), ip_network("198.51.100.0/28"), ip_network("2001:db8::/64")),
)
WITH_TOKENS = replace(ZEUS, callback_token=("new-token", "old-token"))
WITH_AGENT = replace(ZEUS, callback_user_agent="Some  Agent")


def caller(
    address: str | None = "192.0.2.10",
    scheme: str = "https",
    port: int | None = 443,
    user_agent: str = "",
    token: str | None = None,
) -> Caller:
    return Caller(address, scheme, port, user_agent, token)


@pytest.mark.parametrize(
    "address", ["192.0.2.10", "198.51.100.7", "2001:db8::7", "::ffff:192.0.2.10", "::FFFF:c000:020a"]
)
def test_configured_address_passes(address: str) -> None:
    """A configured address or network passes, also when IPv4 comes mapped into IPv6."""
    assert refusal(caller(address), ZEUS) is None


@pytest.mark.parametrize(
    "address", ["192.0.2.11", "198.51.100.16", "2001:db8:0:1::7", "::ffff:192.0.2.11", "127.0.0.1", "::1"]
)
def test_other_address_is_refused(address: str) -> None:
    """Every other address is refused, this machine's own included."""
    assert refusal(caller(address), ZEUS) is Refusal.ADDRESS


@pytest.mark.parametrize(
    "address",
    [None, "", "unknown", "192.0.2.10:4711", "192.0.2.10, 192.0.2.10", "192.0.2.010", " 192.0.2.10"],
)
def test_no_address_is_refused(address: str | None) -> None:
    """What is not exactly one address is refused: a Unix socket, a list, an address with its port."""
    assert refusal(caller(address), ZEUS) is Refusal.NO_ADDRESS


@pytest.mark.parametrize("address", ["192.0.2.10", "127.0.0.1", None])
def test_unset_addresses_refuse_everyone(address: str | None) -> None:
    """Without ZEUS_CVS_CALLBACK_IPS nobody passes, and the reason tells the cure."""
    reason = refusal(caller(address, token="new-token"), replace(WITH_TOKENS, callback_ips=()))

    assert reason is Refusal.UNCONFIGURED
    assert "ZEUS_CVS_CALLBACK_IPS" in reason.value
    assert "Set it" in reason.value


@pytest.mark.parametrize("token", ["new-token", "old-token"])
def test_each_configured_token_passes(token: str) -> None:
    """While tokens are rotated, both the new and the old one pass."""
    assert refusal(caller(token=token), WITH_TOKENS) is None


@pytest.mark.parametrize("token", [None, "", "new-toke", "new-token ", "NEW-TOKEN", "トークン", "\udcff"])
def test_wrong_token_is_refused(token: str | None) -> None:
    """Anything but a configured token is refused, also what no encoding can write."""
    assert refusal(caller(token=token), WITH_TOKENS) is Refusal.TOKEN


def test_every_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A match does not end the comparing, so time does not tell which token was right."""
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def watched(given: bytes, expected: bytes) -> bool:
        compared.append(expected)
        return compare(given, expected)

    monkeypatch.setattr(hmac, "compare_digest", watched)

    assert refusal(caller(token="new-token"), WITH_TOKENS) is None
    assert compared == [b"new-token", b"old-token"]


def test_address_decides_before_token() -> None:
    """From a wrong address no token is looked at."""
    assert refusal(caller("192.0.2.11", token="new-token"), WITH_TOKENS) is Refusal.ADDRESS


@pytest.mark.parametrize("agent", ["Some Agent", "Some  Agent", "  Some    Agent "])
def test_spaces_in_user_agent_do_not_matter(agent: str) -> None:
    """Runs of spaces are collapsed on both sides: a header may lose them on its way."""
    assert refusal(caller(scheme="http", port=80, user_agent=agent), WITH_AGENT) is None


@pytest.mark.parametrize("agent", ["", "SomeAgent", "some agent", "Some Agent/2", "Some\tAgent"])
def test_other_user_agent_is_refused_on_port_80(agent: str) -> None:
    """On plain http to port 80, where the sender names itself, the name must be the configured one."""
    assert refusal(caller(scheme="http", port=80, user_agent=agent), WITH_AGENT) is Refusal.USER_AGENT


@pytest.mark.parametrize(("scheme", "port"), [("https", 443), ("http", 8080), ("https", 80), ("http", None)])
def test_user_agent_is_not_looked_at_elsewhere(scheme: str, port: int | None) -> None:
    """On every other port the sender has no name, and none is asked for."""
    assert refusal(caller(scheme=scheme, port=port, user_agent=""), WITH_AGENT) is None


def test_user_agent_is_not_asked_for_unless_configured() -> None:
    """Without ZEUS_CVS_CALLBACK_USER_AGENT any name passes on port 80."""
    assert refusal(caller(scheme="http", port=80, user_agent="anything"), ZEUS) is None


def test_caller_hides_its_token() -> None:
    """The repr of a caller does not show the token: it may end up in a log."""
    assert "secret" not in repr(caller(token="secret"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"),
        ("192.0.2.1", "'192.0.2.1'"),
        ("a\nERROR fake line\x1b[31m", r"'a\nERROR fake line\x1b[31m'"),
        ("山田", r"'\u5c71\u7530'"),
        ("x" * 70, "'" + "x" * 60 + "...'"),
    ],
)
def test_foreign_values_are_escaped_for_the_log(value: str | None, expected: str) -> None:
    """A foreign value can neither start a line of its own nor fill the log."""
    assert shown(value) == expected
