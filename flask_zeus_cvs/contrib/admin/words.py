"""What states, kinds and reasons are called on these pages, and how much each calls for attention."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import DeliveryState, Resolution, ReviewReason, Verdict
from flask_zeus_cvs.protocol.codes import STATUSES, Status, Store
from flask_zeus_cvs.staff.wording import (
    DELIVERY_STATES,
    EVENTS,
    RESOLUTIONS,
    REVIEWS,
    SOURCES,
    STATES,
    VERDICTS,
    Words,
)
from flask_zeus_cvs.web.texts import language, translate
from flask_zeus_cvs.web.wording import STORE_NAMES

_STATUSES = {
    each.status: Words(f"{each.status} {each.label}", f"{each.status} {each.name}")
    for each in STATUSES
    if each.status is not None
}
#: Members of different enums may have the same value, and then are equal: each is found under its own enum.
_LABELS: Mapping[type[StrEnum], Mapping[Any, Words]] = MappingProxyType(
    {
        State: STATES,
        Verdict: VERDICTS,
        DeliveryState: DELIVERY_STATES,
        EventKind: EVENTS,
        Resolution: RESOLUTIONS,
        ReviewReason: {reason: words.name for reason, words in REVIEWS.items()},
        Status: _STATUSES,
    }
)
_GOOD, _WAITS, _WRONG, _OVER = "good", "waits", "wrong", "over"
_TONES: Mapping[type[StrEnum], Mapping[Any, str]] = MappingProxyType(
    {
        State: {
            State.RECEIVED: _GOOD,
            State.CONFIRMED: _GOOD,
            State.AWAITING_PAYMENT: _WAITS,
            State.SUBMITTING: _WAITS,
            State.UNKNOWN: _WAITS,
            State.DECLINED: _WRONG,
            State.FAILED: _WRONG,
            State.CANCELLED: _WRONG,
            State.RECEIVED_AFTER_CANCEL: _WRONG,
            State.CONFIRMED_AFTER_CANCEL: _WRONG,
            State.CANCELLED_AFTER_CANCEL: _WRONG,
        },
        Verdict: {
            Verdict.APPLIED: _GOOD,
            Verdict.WAITING: _WAITS,
            Verdict.REVIEW: _WRONG,
            Verdict.UNREADABLE: _WRONG,
        },
        DeliveryState: {
            DeliveryState.DONE: _GOOD,
            DeliveryState.PENDING: _WAITS,
            DeliveryState.PARKED: _WRONG,
        },
    }
)


def label(value: Any) -> str:
    """Say what a member of one of our enums is called; blank for nothing, and any other value stands for itself."""
    if isinstance(value, Store):
        return translate(STORE_NAMES[value])
    words = _LABELS.get(type(value), {}).get(value)
    return words.said(language()) if words is not None else str(value or "")


def options(kind: type[StrEnum]) -> Mapping[str, str]:
    """Every member of an enum with what it is called."""
    return {each.value: label(each) for each in kind}


def tone(value: Any) -> str:
    """Say how much a value calls for attention: good, waits, wrong, or over."""
    return _TONES.get(type(value), {}).get(value, _OVER)


def said(words: Words) -> str:
    """Say it in the language of the request."""
    return words.said(language())


def source(name: str) -> str:
    """Say where a notice came from; a file stands for itself."""
    return said(SOURCES[name]) if name in SOURCES else name
