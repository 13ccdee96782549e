"""How the callback looks from outside: asks it as ZEUS would, by GET and by POST, and reads what the app says it saw.

Nothing is stored there, see `flask_zeus_cvs.probe`. If the first question, a HEAD, is not answered by this very
shop, no other follows: to a callback that does not know us a GET would be a notice.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from flask_zeus_cvs.probe import ANSWER, QUESTION, Seen, question
from flask_zeus_cvs.settings import Settings, is_loopback
from flask_zeus_cvs.staff.findings import Finding, fine, found
from flask_zeus_cvs.staff.soundness import apart

#: Seconds to connect, and until the answer begins.
WAIT = (5.0, 15.0)
#: Nobody's address (RFC 5737), which a caller could write into a header.
FORGED = "203.0.113.254"
#: What marks a guard, cache or server in front, by the header that it adds.
_MARKS: Mapping[str, str] = MappingProxyType(
    {
        "CF-Ray": "Cloudflare",
        "X-Amz-Cf-Id": "CloudFront",
        "X-Akamai-Request-Id": "Akamai",
        "X-Sucuri-Id": "Sucuri",
        "X-Iinfo": "Imperva",
        "X-Fastly-Request-Id": "Fastly",
        "X-Azure-Ref": "Azure Front Door",
        "X-Varnish": "Varnish",
    }
)
_LOGIN = ("login", "signin", "sign-in", "sign_in", "auth", "sso", "session")


@dataclass(frozen=True)
class Look:
    """What one question came to: an answer, or the code of the trouble on the way."""

    method: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    seen: Seen | None = None
    trouble: str = ""

    @property
    def date(self) -> datetime | None:
        """The clock of whoever answered, if it is well written."""
        with suppress(TypeError, ValueError):
            return parsedate_to_datetime(self.headers["Date"]) if "Date" in self.headers else None
        return None

    @property
    def by(self) -> str:
        """Who answered, as far as it says so."""
        marks = [name for header, name in _MARKS.items() if header in self.headers]
        server = self.headers.get("Server", "")
        printable = "".join(each for each in server[:40] if each.isprintable())
        return " and ".join(dict.fromkeys([*marks, *([printable] if printable else [])]))


def callback_url(settings: Settings, root: str) -> str:
    """Complete the shop's root URL to that of its callback, with a token if there is one."""
    path = f"{settings.url_prefix}/callback"
    if urlsplit(root).path.startswith(path) or f"{path}/" in root:
        return root
    return "/".join([root.rstrip("/") + path, *settings.callback_token[:1]])


def shown_url(url: str, settings: Settings) -> str:
    """Write a URL of the callback without its token: that is a key."""
    for token in settings.callback_token:
        url = url.replace(token, token[:3] + "…")
    return url


def examine(
    url: str, settings: Settings, secret_key: str | bytes | None, production: bool
) -> Iterator[Finding]:
    """Ask the callback at ``url``, and say what a caller meets there and what the app sees of one."""
    looks = list(ask(url, secret_key))
    first, place = looks[0], shown_url(url, settings)
    if production and urlsplit(url).scheme == "http" and not _is_here(url):
        yield found("callback.plain_http", f"{place} is plain http.")
    if first.date is not None:
        yield from apart("clock.server", "The clock of the shop's server", first.date, timedelta(seconds=5))
    if first.seen is None:
        yield _met(first, place, settings)
        return
    kept_away = [each for each in looks if each.seen is None]
    for each in kept_away:
        what = f"A {each.method} of the callback is {_answered(each)}, before the callback can take it."
        yield found("callback.kept_away", what)
    if not kept_away:
        yield fine(
            "callback.reached", f"{place} answers with a 403 of our own: it is reached by GET and by POST."
        )
    yield from _sight(first.seen, urlsplit(url), settings, production)
    if any(each.seen is not None and each.seen.address == FORGED for each in looks):
        yield found(
            "proxy.forgeable", "The app believes an address that the caller himself wrote into a header."
        )


def ask(url: str, secret_key: str | bytes | None) -> Iterator[Look]:
    """Ask by HEAD; if it is this shop that answers, by GET and POST as well, and once with a forged address."""
    forged = {"X-Forwarded-For": FORGED, "X-Real-IP": FORGED, "Forwarded": f"for={FORGED}"}
    with requests.Session() as session:
        session.trust_env = not _is_here(url)
        first = _asked(session, "HEAD", url, secret_key, {})
        yield first
        if first.seen is not None:
            yield _asked(session, "GET", url, secret_key, {})
            yield _asked(session, "POST", url, secret_key, {})
            if not _is_here(url):  # past the proxy that would overwrite the header
                yield _asked(session, "GET", url, secret_key, forged)


def _asked(
    session: requests.Session, method: str, url: str, key: str | bytes | None, more: Mapping[str, str]
) -> Look:
    headers = {"User-Agent": "Flask-Zeus-CVS check", **({QUESTION: question(key)} if key else {}), **more}
    body = {"status": "none"} if method == "POST" else None
    try:
        with session.request(
            method, url, headers=headers, data=body, timeout=WAIT, allow_redirects=False, stream=True
        ) as answer:
            told = Seen.from_header(answer.headers.get(ANSWER, ""))
            return Look(method, answer.status_code, answer.headers, told)
    except requests.RequestException as error:
        return Look(method, trouble=_trouble(error))


def _trouble(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "callback.tls"
    if isinstance(error, requests.Timeout):
        return "callback.timeout"
    if any(isinstance(each, socket.gaierror) for each in _causes(error)):
        return "callback.unknown_host"
    return "callback.unreachable"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_TROUBLES: Mapping[str, str] = MappingProxyType(
    {
        "callback.tls": "The certificate of {place} does not hold.",
        "callback.timeout": "{place} did not answer in time.",
        "callback.unknown_host": "Nobody knows the host of {place}.",
        "callback.unreachable": "No connection to {place} could be made, or it was cut.",
    }
)


def _met(look: Look, place: str, settings: Settings) -> Finding:
    """Say what stands in the place of the callback."""
    if look.trouble:
        return found(look.trouble, _TROUBLES[look.trouble].format(place=place))
    what = f"{place} is {_answered(look)}."
    if 300 <= look.status < 400:
        leads = _leads(look, place)
        code = "callback.login" if any(word in leads.lower() for word in _LOGIN) else "callback.redirected"
        return found(code, f"{what} It leads to {shown_url(leads, settings)}.")
    if look.status == 405 and look.headers.get("Allow") == "GET, POST":
        return found("callback.other_key", f"{what} That is the callback, but it does not know who asks.")
    return found(
        _BY_STATUS.get(look.status, "callback.failing" if look.status >= 500 else "callback.stranger"), what
    )


_BY_STATUS: Mapping[int, str] = MappingProxyType(
    {
        401: "callback.login",
        403: "callback.wall",
        404: "callback.not_found",
        407: "callback.login",
        410: "callback.not_found",
        429: "callback.wall",
        503: "callback.failing",
    }
)


def _answered(look: Look) -> str:
    if look.trouble:
        return "not answered"
    by = f" by {look.by}" if look.by else ""
    return f"answered {look.status}{by}"


def _leads(look: Look, place: str) -> str:
    """Name where a redirect leads; its query may hold anything."""
    parts = urlsplit(urljoin(place, look.headers.get("Location", "")))
    return "".join(
        each for each in f"{parts.scheme}://{parts.netloc}{parts.path}"[:120] if each.isprintable()
    )


def _sight(seen: Seen, url: SplitResult, settings: Settings, production: bool) -> Iterator[Finding]:
    """Judge what the app saw of us."""
    yield fine("proxy.seen", f"The app sees the caller as {seen.address} over {seen.scheme}, {_way(seen)}.")
    silent = is_loopback(seen.address) and not is_loopback(url.hostname or "")
    if (seen.forwarded or silent) and seen.address == seen.peer:
        passes_on = "" if seen.forwarded else " (which passes no caller's address on)"
        yield found(
            "proxy.address",
            f"The app takes the address of a proxy{passes_on}, {seen.peer}, for the caller's.",
        )
    if production and seen.refusal in _LET_IN:
        yield found(
            "proxy.permitted", f"{seen.address}, as which the app sees this check, is permitted to notify."
        )
    if url.scheme == "https" and seen.scheme != "https":
        yield found("proxy.scheme", "The call was made over https, and the app takes it for plain http.")
    if seen.host.partition(":")[0].lower() != (url.hostname or "").lower():
        yield found("proxy.host", f"The app takes its own name for {seen.host}, not {url.hostname}.")
    if seen.refusal == "token" or (seen.refusal == "unconfigured" and settings.callback_ips):
        what = {
            "token": "refuses the token of the settings here",
            "unconfigured": "knows no ZEUS_CVS_CALLBACK_IPS",
        }
        yield found("callback.other_settings", f"The running server {what[seen.refusal]}.")


#: In these the guard was content with the address.
_LET_IN = ("", "token", "user_agent")


def _way(seen: Seen) -> str:
    if seen.address != seen.peer:
        return f"through a proxy at {seen.peer}"
    return "through a proxy" if seen.forwarded else "with no proxy that says so"


def _is_here(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")
