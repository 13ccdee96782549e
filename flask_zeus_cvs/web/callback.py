"""The callback: takes a notice from ZEUS, and answers when it is stored.

Nothing of a notice is read before the guard has let its sender pass, and nobody else reads it before we do.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field
from typing import NoReturn

from flask import Request, Response, current_app, g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.exceptions import UnreadableNotice, ZeusCVSError
from flask_zeus_cvs.payments import payments_of
from flask_zeus_cvs.probe import ANSWER, QUESTION, Seen, may_ask
from flask_zeus_cvs.protocol.messages import Notice
from flask_zeus_cvs.receiving import MAX_RAW
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.telemetry import Action, said
from flask_zeus_cvs.web.guard import Caller, Refusal, refusal, shown
from flask_zeus_cvs.web.refusals import refusals_of

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Call:
    """A call of the callback as it came, kept in ``flask.g`` until the view is reached."""

    raw: bytes = field(default=b"", repr=False)
    #: Whether more came than is kept, or less than was promised.
    cut: bool = False
    #: What the caller is told who asks as ``flask zeus-cvs check`` does.
    seen: Seen | None = None
    #: Whether the view was reached.
    taken: bool = False


def callback(callback_token: str | None = None) -> ResponseReturnValue:  # noqa: ARG001  # the guard compared it
    """Take a notice; it is stored and committed when this answers 200.

    After any other answer ZEUS mails the shop, and staff resend: it never repeats a call by itself then.
    """
    call: _Call = g.zeus_cvs_call
    if call.seen is not None:
        return _tell_what_is_seen(call.seen)
    payments, call.taken = payments_of(current_app), True
    try:
        if call.cut:
            payments.keep_unreadable(UnreadableNotice(call.raw, f"cut off, or longer than {MAX_RAW} bytes"))
            return _brief("Not understood", 400)
        payments.receive(call.raw)
    except UnreadableNotice:  # kept, with a review
        return _brief("Not understood", 400)
    except Exception as error:
        _log_loss(call.raw, payments.settings, error)
        return _brief("Not stored", 500)
    return _brief("OK", 200)


def read_notice(settings: Settings) -> None:
    """Let the sender pass or answer 403, then read the notice: raw, bounded, and before anyone else can.

    Once anything has touched ``request.form`` the bytes are gone, and a host's before_request may do that.
    """
    asked = _the_request()
    reason = refusal(_caller(asked), settings)
    question = asked.headers.get(QUESTION)
    if question is not None and may_ask(current_app.secret_key, question):
        seen = _seen(asked, reason)
        if asked.method == "HEAD":
            _stop(_tell_what_is_seen(seen))
        g.zeus_cvs_call = _Call(seen=seen)
        return
    if asked.method not in ("GET", "POST"):
        answer = _brief("Method not allowed", 405)
        answer.headers["Allow"] = "GET, POST"
        _stop(answer)
    if reason is not None:
        _log_refusal(reason)
        _stop(_brief("Forbidden", 403))
    raw, cut = (asked.query_string, False) if asked.method == "GET" else _body(asked)
    g.zeus_cvs_call = _Call(raw[:MAX_RAW], cut or len(raw) > MAX_RAW)


def log_untaken() -> None:
    """Say which notice was lost to an error of the host's own, before we came to it."""
    call: _Call | None = g.get("zeus_cvs_call")
    if call is not None and call.seen is None and not call.taken:
        settings = payments_of(current_app).settings
        _log_loss(call.raw, settings, RuntimeError("the shop's own before_request failed"))


def _the_request() -> Request:
    """Return the request itself: each use of Flask's proxy would look for it anew."""
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    return asked


def _caller(asked: Request) -> Caller:
    port = asked.environ.get("SERVER_PORT", "")
    return Caller(
        address=asked.remote_addr,
        scheme=asked.scheme,
        port=int(port) if port.isdecimal() else None,
        user_agent=asked.environ.get("HTTP_USER_AGENT", ""),
        token=(asked.view_args or {}).get("callback_token"),
    )


def _seen(asked: Request, reason: Refusal | None) -> Seen:
    refused = reason.name.lower() if reason is not None else ""
    return Seen.of(asked.environ, asked.remote_addr, asked.scheme, asked.host, refused, now())


def _tell_what_is_seen(seen: Seen) -> Response:
    answer = _brief("Seen", 403)
    answer.headers[ANSWER] = seen.as_header()
    return answer


def _body(asked: Request) -> tuple[bytes, bool]:
    """Read the body to one byte over the limit; with it, whether it is over the host's own limit or was cut off."""
    raw = b""
    try:
        while len(raw) <= MAX_RAW:
            more = asked.stream.read(MAX_RAW + 1 - len(raw))
            if not more:
                break
            raw += more
    except Exception:  # of each server's own kinds, where chunks break its rules or the connection ends
        return raw, True
    return raw, False


def _log_refusal(reason: Refusal) -> None:
    unsaid = refusals_of(current_app).count(reason)
    if unsaid is None:
        return
    logger.log(
        logging.ERROR if reason is Refusal.UNCONFIGURED else logging.WARNING,
        "A call of the callback from %s was refused: %s%s",
        shown(request.remote_addr),
        reason.value,
        unsaid,
        extra=said(Action.CALLBACK, outcome="refused", reason=reason.name.lower(), more=unsaid.calls),
    )


def _log_loss(raw: bytes, settings: Settings, error: Exception) -> None:
    """Say which notice could not be stored, so that staff can have it sent again.

    Neither the error's text nor its parameters: a database's errors quote the row, with the customer in it.
    """
    try:
        notice: Notice | None = Notice.parse(raw, settings.callback_encoding)
    except UnreadableNotice:
        notice = None
    logger.error(
        "The notice of order %s with status %s could not be stored (%s). Resend it on ZEUS's screen.\n%s",
        shown(notice.order_no if notice else None),
        shown(notice.status.value if notice else None),
        _kinds(error),
        "".join(traceback.format_tb(error.__traceback__)),
        extra=said(Action.CALLBACK, outcome="not_stored"),
    )


def _kinds(error: BaseException | None) -> str:
    """Name the error and what caused it; only our own errors are quoted, which hold no personal data."""
    if isinstance(error, ZeusCVSError):
        return f"{type(error).__qualname__}: {error}"
    names: list[str] = []
    while error is not None and len(names) < 5:
        names.append(type(error).__qualname__)
        error = error.__cause__
    return " from ".join(names)


def _brief(text: str, status: int) -> Response:
    answer = Response(text, status, mimetype="text/plain")
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


def _stop(answer: Response) -> NoReturn:
    """Answer at once, past the host's before_request functions and error pages."""
    raise HTTPException(response=answer)
