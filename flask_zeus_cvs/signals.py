"""The signals a shop connects to, and the event value they carry.

They are blinker signals with two differences: `connect` holds the receiver strongly, and gives it a name that
outlives the process, because each receiver is a subscriber whose deliveries are stored and must succeed once.
The sender is the Flask app. Every receiver is called as ``receiver(app, payment=…, event=…)`` and should take
``**extra`` too.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from blinker import ANY, NamedSignal
from flask import Flask
from werkzeug.local import LocalProxy

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.lifecycle import EventKind, State

#: What the column of a stored delivery holds.
NAME_LENGTH = 255

Receiver = Callable[..., Any]
_R = TypeVar("_R", bound=Receiver)


@dataclass(frozen=True)
class EventData:
    """What a subscriber hears: ``event`` of every signal. ``occurred_at`` is aware, in UTC."""

    id: int
    kind: EventKind
    occurred_at: datetime
    previous_state: State | None
    test: bool
    notification_id: int | None


def _given(name: str) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > NAME_LENGTH:
        raise ConfigurationError(
            f"A receiver cannot be called {reprlib.repr(name)}: its name is stored with each delivery. "
            f"Give it 1 to {NAME_LENGTH} printable characters: connect(receiver, name='…')."
        )
    return name


def _name_of(receiver: Receiver) -> str:
    module = getattr(receiver, "__module__", None)
    qualified = getattr(receiver, "__qualname__", None)
    if not module or not qualified or "<lambda>" in qualified:
        raise ConfigurationError(
            f"{receiver!r} has no name that a stored delivery could find it by. "
            "Connect a function defined with def, or pass name='…' to connect."
        )
    return f"{_started_as() if module == '__main__' else module}.{qualified}"


def _started_as() -> str:
    """Name the main module as others import it: ``python shop.py`` and ``flask --app shop`` mean one receiver."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    return spec.name if spec is not None else Path(file).stem if file else "__main__"


def _app_of(sender: Any) -> Any:
    if isinstance(sender, LocalProxy):
        sender = sender._get_current_object()
    if sender is not ANY and not isinstance(sender, Flask):
        raise ConfigurationError(
            f"The sender of a zeus-cvs signal is the Flask app, not {type(sender).__name__}. "
            "Connect with sender=app, or without a sender to hear every app."
        )
    return sender


class SubscriberSignal(NamedSignal):
    """A signal whose receivers are subscribers: held strongly, and each known by its name."""

    def __init__(self, kind: EventKind) -> None:
        super().__init__(kind.value)
        self._of_any: dict[str, Receiver] = {}
        self._of_app: WeakKeyDictionary[Flask, dict[str, Receiver]] = WeakKeyDictionary()

    def connect(self, receiver: _R, sender: Any = ANY, weak: bool = False, name: str | None = None) -> _R:  # noqa: ARG002
        """Subscribe ``receiver``, under ``name`` or its module and qualified name; ``weak`` has no effect.

        Connecting the same receiver twice does nothing. A second one of the same name, or one without a
        name (a lambda, a partial), is a `ConfigurationError`: its deliveries could not be told apart.
        """
        sender = _app_of(sender)
        known = _given(_name_of(receiver) if name is None else name)
        rivals = (
            [self._of_any, *self._of_app.values()]
            if sender is ANY
            else [self._of_any, self._of_app.get(sender, {})]
        )
        if any(known in each and each[known] != receiver for each in rivals):
            raise ConfigurationError(
                f"Two receivers of {self.name} are both called {known!r}, so their deliveries could not be told "
                "apart. Give one of them another name, connect(receiver, name='…'); in a factory that makes "
                "several apps, connect each to its own with sender=app."
            )
        place = self._of_any if sender is ANY else self._of_app.setdefault(sender, {})
        place[known] = receiver
        super().connect(receiver, sender=sender, weak=False)
        return receiver

    def connect_via(self, sender: Any, weak: bool = False, name: str | None = None) -> Callable[[_R], _R]:
        """Subscribe the decorated function to what ``sender`` (the app) sends; see `connect`."""

        def decorate(receiver: _R) -> _R:
            return self.connect(receiver, sender, weak, name)

        return decorate

    @contextmanager
    def connected_to(
        self, receiver: Receiver, sender: Any = ANY, name: str | None = None
    ) -> Generator[None, None, None]:
        """Subscribe ``receiver`` to ``sender`` inside a with block, for tests; see `connect`."""
        self.connect(receiver, sender, name=name)
        try:
            yield
        finally:
            self.disconnect(receiver, sender)

    def disconnect(self, receiver: Receiver, sender: Any = ANY) -> None:
        """End a subscription; deliveries already fixed for it wait until it is connected again."""
        sender = _app_of(sender)
        super().disconnect(receiver, sender)
        places = [self._of_any, *self._of_app.values()] if sender is ANY else [self._of_app.get(sender, {})]
        for place in places:
            for name in [name for name, each in place.items() if each == receiver]:
                del place[name]

    def subscribers(self, app: Flask) -> Mapping[str, Receiver]:
        """Map names to the receivers that hear ``app``."""
        return {**self._of_any, **self._of_app.get(app, {})}


#: A slip exists: ZEUS accepted the application, or a notice told us so (01, or the payment itself).
application_accepted = SubscriberSignal(EventKind.APPLICATION_ACCEPTED)

#: ZEUS declined the application, in its answer or by notice 02. The customer may apply again.
application_declined = SubscriberSignal(EventKind.APPLICATION_DECLINED)

#: The till has read the slip (04, 入金速報). Not final yet: a 06 may follow.
payment_received = SubscriberSignal(EventKind.PAYMENT_RECEIVED)

#: The chain's head office has confirmed the sale (05, 売上確定).
sale_confirmed = SubscriberSignal(EventKind.SALE_CONFIRMED)

#: Ship now. Once per payment: at the first of 04 and 05, or at 05, as ZEUS_CVS_FULFILL_ON says; never for a test
#: application unless ZEUS_CVS_TEST_FULFILLS. Looked at again before it is sent: withdrawn if a 06 came meanwhile.
fulfillment_ready = SubscriberSignal(EventKind.FULFILLMENT_READY)

#: The store took the payment back (06, 入金取消).
payment_cancelled = SubscriberSignal(EventKind.PAYMENT_CANCELLED)

#: Nobody paid (03 or our own sweep), and the payment has neither a live slip nor money. Withdrawn if money comes.
payment_expired = SubscriberSignal(EventKind.PAYMENT_EXPIRED)

#: The deadline is ZEUS_CVS_REMIND_HOURS away and nobody has paid: once per application, for a reminder mail.
deadline_near = SubscriberSignal(EventKind.DEADLINE_NEAR)

#: Money came for a slip that had been re-issued (11, キャンセル後入金). A person decides: it ships nothing.
payment_received_after_cancel = SubscriberSignal(EventKind.PAYMENT_RECEIVED_AFTER_CANCEL)

#: The sale of such a slip was confirmed (12, キャンセル後売上).
sale_confirmed_after_cancel = SubscriberSignal(EventKind.SALE_CONFIRMED_AFTER_CANCEL)

#: The payment of such a slip was taken back (13, キャンセル後取消).
payment_cancelled_after_cancel = SubscriberSignal(EventKind.PAYMENT_CANCELLED_AFTER_CANCEL)

#: Something does not fit and a person must look: a `Review` is open. ``payment`` may be None.
review_required = SubscriberSignal(EventKind.REVIEW_REQUIRED)

#: ZEUS's notices stay away against what was to be expected: the callback may be broken. Once for each silence, from
#: ``flask zeus-cvs check --live``; ``payment`` is None.
silence_suspected = SubscriberSignal(EventKind.SILENCE_SUSPECTED)

SIGNALS: Mapping[EventKind, SubscriberSignal] = {
    EventKind(signal.name): signal
    for signal in (
        application_accepted,
        application_declined,
        payment_received,
        sale_confirmed,
        fulfillment_ready,
        payment_cancelled,
        payment_expired,
        deadline_near,
        payment_received_after_cancel,
        sale_confirmed_after_cancel,
        payment_cancelled_after_cancel,
        review_required,
        silence_suspected,
    )
}
