"""Who may notify us: every rule on where a notice comes from, asked before a byte of it is read.

Closed unless opened: without configured addresses nobody passes. The address is the one that the server itself
saw, never one from a header that a caller could set (a proxy in front is for the host's ProxyFix).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from flask_zeus_cvs.settings import Settings


class Refusal(StrEnum):
    """Why a call is refused; the value is the sentence for the log."""

    UNCONFIGURED = (
        "ZEUS_CVS_CALLBACK_IPS is not set, so every notification is refused. "
        "Set it to the two sender addresses that ZEUS's manual gives you."
    )
    NO_ADDRESS = "the server gave no usable address of the caller"
    ADDRESS = "the caller's address is not in ZEUS_CVS_CALLBACK_IPS"
    TOKEN = "the URL does not end in a token of ZEUS_CVS_CALLBACK_TOKEN"
    USER_AGENT = "the caller's user agent is not ZEUS_CVS_CALLBACK_USER_AGENT"


@dataclass(frozen=True)
class Caller:
    """What the server knows of whoever calls; the token is kept out of the repr."""

    address: str | None
    scheme: str
    port: int | None
    user_agent: str
    token: str | None

    def __repr__(self) -> str:
        return f"Caller(address={shown(self.address)}, scheme={self.scheme!r}, port={self.port!r})"


def refusal(caller: Caller, settings: Settings) -> Refusal | None:
    """Say why the caller may not notify us; None when it may."""
    if not settings.callback_ips:
        return Refusal.UNCONFIGURED
    address = parsed_address(caller.address)
    if address is None:
        return Refusal.NO_ADDRESS
    if not any(address in network for network in settings.callback_ips):
        return Refusal.ADDRESS
    if settings.callback_token and not _is_one_of(caller.token, settings.callback_token):
        return Refusal.TOKEN
    if _agent_is_wrong(caller, settings.callback_user_agent):
        return Refusal.USER_AGENT
    return None


@lru_cache(maxsize=64)
def parsed_address(text: str | None) -> IPv4Address | IPv6Address | None:
    """Read an address, with IPv4 that is mapped into IPv6 mapped back; None for what is no address."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def shown(value: str | None, limit: int = 60) -> str:
    """Make a foreign value safe for one line of a log: escaped to ASCII, quoted, shortened."""
    if value is None:
        return "None"
    return ascii(value if len(value) <= limit else value[:limit] + "...")


def _is_one_of(token: str | None, tokens: tuple[str, ...]) -> bool:
    """Compare in constant time, with every token, so that the time tells nothing of which one was close."""
    given = _bytes(token or "")
    alike = [hmac.compare_digest(given, _bytes(each)) for each in tokens]
    return any(alike)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _agent_is_wrong(caller: Caller, expected: str | None) -> bool:
    """The sender names itself on port 80 only; elsewhere there is nothing to compare (manual, CGI call)."""
    if not expected or caller.scheme != "http" or caller.port != 80:
        return False
    return _words(caller.user_agent) != _words(expected)


def _words(agent: str) -> list[str]:
    return [word for word in agent.split(" ") if word]
