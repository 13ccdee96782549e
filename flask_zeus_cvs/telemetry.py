"""What operators see: every action that a log record can have, every fact beside it, and the seam for spans.

No fact is personal data, and none is a payment's token. Without an observer (`flask_zeus_cvs.contrib.otel` brings
one) a span is one shared object that does nothing. An observer that fails costs neither a notice nor an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import Protocol, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Action(StrEnum):
    """What a record of ours is about: its ``action``. Alerts are built on these, so they do not change."""

    SUBMIT = "submit"
    GATEWAY = "gateway"
    RECEIVE = "receive"
    CALLBACK = "callback"
    WAITING = "waiting"
    REVIEW = "review"
    RESOLVE = "resolve"
    DELIVER = "deliver"
    DELIVERY_FAILED = "delivery_failed"
    PARKED = "parked"
    STRANDED = "stranded"
    NO_SUBSCRIBER = "no_subscriber"
    OWN_COMMIT = "own_commit"
    OUTBOX = "outbox"
    HANDOVER = "handover"
    EXPIRE = "expire"
    NOTE = "note"
    SILENCE = "silence"
    RESET_ATTEMPTS = "reset_attempts"
    EXPORT = "export"
    PURGE = "purge"
    OFFICE = "office"
    PERMISSION = "permission"
    TELEMETRY = "telemetry"


#: Each action: the levels it is logged at, and what has happened. The documentation prints this table.
ACTIONS: Mapping[Action, tuple[str, str]] = MappingProxyType(
    {
        Action.SUBMIT: (
            "DEBUG, INFO",
            "an application goes to ZEUS, then what came of it and after how long",
        ),
        Action.GATEWAY: (
            "WARNING",
            "no answer of ZEUS's that could be understood, or one that breaks a rule",
        ),
        Action.RECEIVE: ("INFO", "a notice is stored, and what became of it"),
        Action.CALLBACK: ("WARNING, ERROR", "a call was refused, or its notice could not be stored"),
        Action.WAITING: ("ERROR", "a notice that waits for its order number was left to the sweep"),
        Action.REVIEW: ("ERROR", "something does not fit, and a person must look"),
        Action.RESOLVE: ("INFO", "a person has decided about a review"),
        Action.DELIVER: ("INFO", "a receiver succeeded, or was not called because its event was overtaken"),
        Action.DELIVERY_FAILED: ("ERROR", "a receiver failed, and is tried again later"),
        Action.PARKED: ("ERROR", "a delivery was given up on, and waits for a person"),
        Action.STRANDED: ("ERROR", "deliveries wait for receivers that are not connected in this process"),
        Action.NO_SUBSCRIBER: ("ERROR", "a payment may ship, and no receiver hears of it"),
        Action.OWN_COMMIT: ("ERROR", "a receiver commits by itself: after a failure it cannot be repeated"),
        Action.OUTBOX: ("ERROR", "nothing could be delivered: the database is away, or no thread to be had"),
        Action.HANDOVER: (
            "ERROR",
            "your queue did not take an event: it is away, and the sweep delivers instead",
        ),
        Action.EXPIRE: ("INFO", "a sweep has ended"),
        Action.NOTE: ("WARNING", "that cron swept or delivered could not be noted down for `check`"),
        Action.SILENCE: ("ERROR", "ZEUS's notices stay away: the callback may be broken"),
        Action.RESET_ATTEMPTS: ("INFO", "a person let the customer of a payment try anew"),
        Action.EXPORT: ("INFO", "payments were written to a file, perhaps with personal data"),
        Action.PURGE: ("INFO", "personal data was taken out of old payments"),
        Action.OFFICE: (
            "INFO",
            "somebody swept, reset attempts, or saw customers' details in the back office",
        ),
        Action.PERMISSION: ("ERROR", "the shop's own permission check failed, so nobody was let in"),
        Action.TELEMETRY: ("WARNING", "a span or a count failed; what it was about went on"),
    }
)

#: What a record or a span may tell besides its action. Numbers are ids of rows unless said otherwise.
FACTS: Mapping[str, str] = MappingProxyType(
    {
        "payment": "of the payment",
        "application": "of the application",
        "notification": "of the notice's row",
        "review": "of the review",
        "event": "of the event",
        "delivery": "of the delivery",
        "store": "the store's code",
        "kind": "of the event: the name of its signal",
        "subscriber": "the receiver's stored name",
        "attempts": "which try it was",
        "status": "of the notice, 01 to 13",
        "verdict": "what became of the notice: applied, no_effect, review, waiting, unreadable",
        "repeat": "whether the notice had come before",
        "source": "callback, or the file that the notice was read from",
        "outcome": "how it ended",
        "reason": "why",
        "resolution": "what a person decided",
        "more": "calls of the same kind that had no line of their own",
        "seconds": "how long it took",
        "count": "how many payments, or lines",
        "expired": "how many slips expired",
        "ended": "how many offers ran out",
        "reminded": "how many reminders were sent",
        "revealed": "whether personal data was shown",
        "by": "who did it, as the shop's own `who` names them",
        "what": "which page of the back office, or what was done there",
    }
)

Fact = str | int | float | bool | None


def said(action: Action, **facts: Fact) -> dict[str, object]:
    """Make the ``extra`` of a log call: the action, and facts of `FACTS`; those that are None are left out."""
    return {"action": action.value, **{name: fact for name, fact in facts.items() if fact is not None}}


class Span(Protocol):
    """A stretch of work. What ends it with an exception is told by its type, never by its message."""

    def note(self, **facts: Fact) -> None: ...

    def __enter__(self) -> Span: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Observer(Protocol):
    """Who is told of our work."""

    def span(self, name: str, facts: Mapping[str, Fact]) -> Span:
        """Begin a span, to be entered at once."""
        ...

    def count(self, name: str, facts: Mapping[str, Fact]) -> None:
        """Count what took no time of its own."""


class _Unobserved:
    """The span of whoever is not observed."""

    def note(self, **facts: Fact) -> None:
        """Keep nothing."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *ended: object) -> None:
        """Tell nobody."""


class _Fenced:
    """A span of the observer's: whatever it raises (an exporter or a sampler of the shop's) ends here."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._entered = False

    def note(self, **facts: Fact) -> None:
        if self._entered:
            _fenced(lambda: self._span.note(**facts))

    def __enter__(self) -> Span:
        self._entered = _fenced(self._span.__enter__) is not None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered:
            _fenced(lambda: self._span.__exit__(kind, error, trace))


def _fenced(work: Callable[[], T]) -> T | None:
    try:
        return work()
    except Exception as error:
        kind = type(error).__name__
        log.warning("The observer of spans failed: %s", kind, extra=said(Action.TELEMETRY, reason=kind))
        return None


_UNOBSERVED = _Unobserved()
_observer: Observer | None = None


def observe(observer: Observer | None) -> None:
    """Have one observer told from now on, in this process; None: nobody."""
    global _observer
    _observer = observer


def span(name: str, **facts: Fact) -> Span:
    """Begin a stretch of work, as a context manager; it raises nothing of its own."""
    observer = _observer
    begun = _fenced(lambda: observer.span(name, facts)) if observer is not None else None
    return _UNOBSERVED if begun is None else _Fenced(begun)


def happened(name: str, **facts: Fact) -> None:
    """Count what took no time of its own; raises nothing."""
    observer = _observer
    if observer is not None:
        _fenced(lambda: observer.count(name, facts))
