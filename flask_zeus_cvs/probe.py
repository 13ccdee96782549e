"""How ``flask zeus-cvs check`` asks the shop's own callback what it sees of a caller, without being a notice.

The question is a header signed with the app's SECRET_KEY, good for a minute; nobody else is told anything. The
answer is a header too, on a 403: nothing is let in, nothing is stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from itsdangerous import BadSignature, TimestampSigner

QUESTION = "X-Zeus-CVS-Check"
ANSWER = "X-Zeus-CVS-Seen"
#: Seconds for which a question is answered.
GOOD_FOR = 60
_SALT = "flask-zeus-cvs.check"
_FORWARDING = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_PROTO")


@dataclass(frozen=True)
class Seen:
    """What the app saw of a caller."""

    #: The address that CALLBACK_IPS is compared with.
    address: str
    #: The address at the other end of the connection: of a proxy, if there is one.
    peer: str
    scheme: str
    host: str
    #: Whether a proxy has put the caller's address or scheme into a header.
    forwarded: bool
    #: Why a notice from there would be refused, in the guard's words; blank if it would be let in.
    refusal: str
    #: The clock of the process, aware, in ISO 8601.
    at: str

    @classmethod
    def of(
        cls,
        environ: Mapping[str, Any],
        address: str | None,
        scheme: str,
        host: str,
        refusal: str,
        at: datetime,
    ) -> Seen:
        """Put together what a WSGI ``environ`` says and what the app makes of it."""
        original = environ.get("werkzeug.proxy_fix.orig") or {}
        peer = original.get("REMOTE_ADDR") or environ.get("REMOTE_ADDR") or ""
        forwarded = any(name in environ for name in _FORWARDING)
        return cls(address or "", str(peer), scheme, host, forwarded, refusal, at.isoformat())

    def as_header(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_header(cls, text: str) -> Seen | None:
        """Read an answer; None for what is none of ours."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            return None


def question(secret_key: str | bytes) -> str:
    """Make the value of the `QUESTION` header."""
    return TimestampSigner(secret_key, salt=_SALT).sign("check").decode("ascii")


def may_ask(secret_key: str | bytes | None, value: str | None) -> bool:
    """Tell whether a `QUESTION` is signed with the key, and fresh."""
    if not secret_key or not value:
        return False
    try:
        TimestampSigner(secret_key, salt=_SALT).unsign(value, max_age=GOOD_FOR)
    except BadSignature:
        return False
    return True
