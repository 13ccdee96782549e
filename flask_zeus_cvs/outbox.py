"""The outbox: events are appended in the transaction that makes them true, and delivered after it.

Each subscriber succeeds once. What a receiver writes through ``db.session`` commits in the same transaction as
the mark that it is done; a receiver that raises stops no other, and alone is tried again. What was tried too often,
or cannot be repeated because the receiver had committed by itself, is parked: it waits for a person.
"""

from __future__ import annotations

import atexit
import inspect
import logging
import os
import queue
import random
import secrets
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, joinedload

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.database import Database, is_in_transaction
from flask_zeus_cvs.exceptions import ConfigurationError, LeaseLost, UnknownDelivery, ZeusCVSError
from flask_zeus_cvs.handover import Enqueue, Handover
from flask_zeus_cvs.ledger import Ledger, write
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import (
    LARGEST_ID,
    Application,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
)
from flask_zeus_cvs.settings import DeliveryMode, FulfillOn, Settings
from flask_zeus_cvs.signals import SIGNALS, EventData, Receiver
from flask_zeus_cvs.telemetry import Action, Fact, happened, said, span

T = TypeVar("T")

log = logging.getLogger(__name__)

#: How long a worker may call one receiver before another may take over.
LEASE = timedelta(minutes=10)
#: The first wait after a failure; it doubles each time, so that 12 tries take about a day.
FIRST_RETRY = timedelta(seconds=40)
LONGEST_RETRY = timedelta(hours=12)
#: Each wait is stretched or shortened at random by up to this share, so that retries spread.
JITTER = 0.2
#: How long an expiry waits while the customer is applying again.
POSTPONED = timedelta(minutes=15)
#: How often the background thread looks for what is due although nobody woke it.
POLL_SECONDS = 30.0
#: How long the background thread may be at one thing before what is appended is no longer leased to its process.
PROMPT_SECONDS = 5.0
#: With ZEUS_CVS_DELIVERY=inline, how long a request goes on with what is due: the rest is for the next one.
INLINE_SECONDS = 10.0
#: How many deliveries a process leases to itself as they are appended; further ones are for whoever comes first.
ROOM = 50
#: The share of its lease after which a delivery that was leased so and is not begun is left to whoever comes.
FRESH_SHARE = 0.1
#: How long a process that ends goes on delivering what is due; what is not done then is taken over later.
EXIT_SECONDS = 5.0

_NOBODY_SHIPS = (
    "Payment %d may ship, and no receiver of fulfillment_ready is connected in this process. "
    "Connect the same receivers in every process that takes notices."
)
_NOT_DEFERRED = "A queue delivers only what this process does not. Set ZEUS_CVS_DELIVERY to 'deferred'."
_LOOKED_AT_AGAIN = (EventKind.FULFILLMENT_READY, EventKind.PAYMENT_EXPIRED, EventKind.DEADLINE_NEAR)


@dataclass(frozen=True)
class Summary:
    """What one round of delivering did."""

    done: int = 0
    failed: int = 0
    parked: int = 0
    obsolete: int = 0

    @property
    def handled(self) -> int:
        """How many deliveries this worker had; another had the rest."""
        return self.done + self.failed + self.parked + self.obsolete

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            self.done + other.done,
            self.failed + other.failed,
            self.parked + other.parked,
            self.obsolete + other.obsolete,
        )


@dataclass(frozen=True)
class Parked:
    """A delivery that was given up on: what happened and when, whose it is, and where it failed last."""

    id: int
    kind: EventKind
    occurred_at: datetime
    #: The shop's own order number; None where the event belongs to no payment.
    reference: str | None
    subscriber: str
    attempts: int
    last_error: str


@dataclass(frozen=True)
class _Claim:
    """One delivery, leased to this worker."""

    delivery_id: int
    lease: str
    subscriber: str
    receiver: Receiver
    attempts: int
    payment_id: int | None
    application_id: int | None
    event: EventData
    #: By the clock that only runs forward, in seconds.
    leased_at: float

    @property
    def facts(self) -> dict[str, Fact]:
        return {
            "delivery": self.delivery_id,
            "event": self.event.id,
            "kind": self.event.kind.value,
            "payment": self.payment_id,
            "subscriber": self.subscriber,
            "attempts": self.attempts,
        }


@dataclass
class _Call:
    """The call of a receiver that is under way in this context."""

    claim: _Claim
    outbox: Outbox
    returned: bool = False


#: What ends the thread or the process, and is not a receiver's own error.
_ENDS_US = (KeyboardInterrupt, GeneratorExit)
_CALL: ContextVar[_Call | None] = ContextVar("zeus_cvs_call", default=None)
#: What an own commit leaves behind, until the receiver has returned.
_CUT_SHORT = "ended after it had committed by itself"


class Outbox:
    """Appends and delivers the events of one app."""

    def __init__(self, app: Flask, database: Database, settings: Settings) -> None:
        self._app = app
        self._database = database
        self._settings = settings
        self._thread = _Background(self, app.name)
        self._handover: Handover | None = None
        self._named: Mapping[str, int] = {}
        self._warned: set[str] = set()
        #: What ends leases, and waits for the database to come back.
        self._unrecorded: deque[Callable[[], object]] = deque()
        self._is_due = False

    def append(
        self,
        ledger: Ledger,
        kind: EventKind,
        payment: Payment | None,
        *,
        application: Application | None = None,
        notification: Notification | None = None,
        previous_state: State | None = None,
    ) -> Event:
        """Have one event stored in the ledger's transaction; its deliveries are fixed now, one per subscriber.

        They are leased to this process at once if it is to deliver them and has little to do.
        """
        event = ledger.tell(
            kind,
            payment,
            previous_state=previous_state,
            test=bool(application and application.test),
            application_id=application,
            notification_id=notification,
        )
        receivers = SIGNALS[kind].subscribers(self._app)
        for name in sorted(receivers):
            self._add_delivery(ledger, event, name, receivers[name])
        if kind is EventKind.FULFILLMENT_READY and payment is not None and not receivers:
            extra = said(Action.NO_SUBSCRIBER, payment=payment.id)
            ledger.afterwards(partial(log.error, _NOBODY_SHIPS, payment.id, extra=extra))
        if receivers:
            self._announce(ledger, event)
        return event

    def _add_delivery(self, ledger: Ledger, event: Event, name: str, receiver: Receiver) -> None:
        if not self._takes_more():
            ledger.record(Delivery, event_id=event, subscriber=name)
            ledger.afterwards(self._note_due)
            return
        lease, leased_at = _lease(), time.monotonic()
        delivery = ledger.record(Delivery, event_id=event, subscriber=name, attempts=1, **lease)
        ledger.afterwards(
            lambda: self._thread.take(_claim_of(delivery, event, receiver, lease["lease"], leased_at))
        )

    def _takes_more(self) -> bool:
        """Whether what is appended now can be leased to this process: soon after the commit it is done.

        A lease costs a try if the process is killed before the call; it may not be the only one.
        """
        may_lease = (
            self._settings.delivery is DeliveryMode.BACKGROUND and self._settings.delivery_attempts > 1
        )
        return may_lease and self._thread.has_room

    def _note_due(self) -> None:
        self._is_due = True

    def revive(self, ledger: Ledger, payment: Payment) -> None:
        """Make the payment's shipment due again for those whom it was kept from: what was undone is true again."""
        self._change(
            ledger, payment, EventKind.FULFILLMENT_READY, DeliveryState.OBSOLETE, DeliveryState.PENDING
        )
        ledger.afterwards(self._note_due)

    def withdraw(self, ledger: Ledger, payment: Payment) -> None:
        """Keep the payment's expiry from those who have not heard of it: there is a new slip."""
        self._change(
            ledger, payment, EventKind.PAYMENT_EXPIRED, DeliveryState.PENDING, DeliveryState.OBSOLETE
        )

    def _change(
        self, ledger: Ledger, payment: Payment, kind: EventKind, before: DeliveryState, after: DeliveryState
    ) -> None:
        values = {"kind": kind, "before": before, "after": after, "moment": now(), "payment": payment.id}
        ledger.execute(_CHANGE, values)

    def after_commit(self) -> None:
        """Deliver in the way that ZEUS_CVS_DELIVERY names; never raises. Nothing of ours may be locked any more."""
        if self._settings.delivery is DeliveryMode.INLINE:
            end = time.monotonic() + INLINE_SECONDS
            self.try_to_deliver(lambda: time.monotonic() > end)
        elif self._settings.delivery is DeliveryMode.BACKGROUND:
            look = self._is_due
            if look:  # only then: else another thread's note, made meanwhile, would be wiped out
                self._is_due = False
            self.start(look=look)

    def deliver_through(self, enqueue: Enqueue) -> None:
        """Hand each event with deliveries over to the shop's queue; with ZEUS_CVS_DELIVERY=inline, to nobody.

        ``enqueue`` is called with the event's id in the background thread, after the commit. Raises
        `ConfigurationError` if this process is to deliver by itself.
        """
        if self._settings.delivery is DeliveryMode.BACKGROUND:
            raise ConfigurationError(_NOT_DEFERRED)
        if self._settings.delivery is DeliveryMode.DEFERRED:
            self._handover = Handover(enqueue)

    def _announce(self, ledger: Ledger, event: Event) -> None:
        """Have an event handed over once it is committed, if that is who delivers here."""
        if self._handover is not None:
            ledger.afterwards(partial(self._hand_over, self._handover, event))

    def _hand_over(self, handover: Handover, event: Event) -> None:
        handover.add(event.id)
        self._wake(look=True)

    def start(self, *, look: bool = False) -> None:
        """See that the background thread runs, if there is to be one; ``look``: have it look now."""
        self._database.notice_fork()
        if self._settings.delivery is DeliveryMode.BACKGROUND:
            self._wake(look=look)

    def _wake(self, *, look: bool) -> None:
        try:
            self._thread.wake(look=look)
        except RuntimeError as error:  # no thread to be had: the next request, or cron, delivers
            log.error("Delivering failed: %s", _where(error), extra=said(Action.OUTBOX))

    @property
    def is_running(self) -> bool | None:
        """Whether this process has its background thread; None if there is to be none."""
        return self._thread.is_alive if self._settings.delivery is DeliveryMode.BACKGROUND else None

    def deliver_here(self) -> None:
        """Deliver what is due in this thread, unless that is left to others; never raises. For cron's commands."""
        if self._settings.delivery is not DeliveryMode.DEFERRED:
            self.try_to_deliver()

    def deliver_due(
        self, over: Callable[[], bool] = lambda: False, step: Callable[[], object] = lambda: None
    ) -> Summary:
        """Deliver whatever is due, in this thread, until nothing is or ``over``; returns what was done.

        ``step`` is called after each.

        Never raises for a receiver: its failure is recorded, logged, and tried again later. What is due for a
        receiver that is not connected in this process is left to a process in which it is: see `stranded`.
        """
        self._record_what_was_not()
        summary = Summary()
        while not over() and (due := self._due()):
            handled = []
            for delivery_id, receiver in due:
                if not over():
                    handled.append(self._deliver(delivery_id, receiver))
                    step()
            round_ = sum((each for each in handled if each), Summary())
            summary += round_
            if not round_.handled:  # other workers hold them all
                break
        return summary

    def deliver_event(self, event_id: int) -> Summary:
        """Deliver what is due of one event, in this thread; returns what was done, which may be nothing.

        Never raises for a receiver, as `deliver_due`. What another worker has, or has done, is left alone.
        """
        self._record_what_was_not()
        due = self._due(Delivery.event_id == event_id)
        handled = [self._deliver(delivery_id, receiver) for delivery_id, receiver in due]
        return sum((each for each in handled if each), Summary())

    def hasten(self) -> int:
        """Make due at once what waits for its next try; returns how many deliveries."""
        return self._database.write(
            lambda session: _update(
                session, Delivery.state == DeliveryState.PENDING, Delivery.due_at > now(), due_at=now()
            )
        )

    def count_due(self) -> int:
        """Count what is due and can be delivered in this process."""
        due = sa.select(sa.func.count()).join(Delivery.event).where(*_claimable(now()), self._known())
        return self._database.read(lambda session: session.scalar(due.select_from(Delivery))) or 0

    def stranded(self) -> Mapping[str, int]:
        """Count what is due for receivers that are not connected in this process, by their names."""
        waiting = (
            sa.select(Delivery.subscriber, sa.func.count())
            .join(Delivery.event)
            .where(*_claimable(now()), sa.not_(self._known()))
            .group_by(Delivery.subscriber)
            .order_by(Delivery.subscriber)
        )
        rows = self._database.read(lambda session: session.execute(waiting).all())
        return {str(name): int(count) for name, count in rows}

    def name_stranded(self) -> None:
        """Log the names of `stranded`, each set of them once."""
        try:
            waiting = self.stranded()
        except Exception as error:
            log.error("Delivering failed: %s", _where(error), extra=said(Action.OUTBOX))
            return
        if waiting and waiting.keys() != self._named.keys():
            log.error(
                "Deliveries wait for receivers that are not connected in this process: %s",
                ", ".join(waiting),
                extra=said(Action.STRANDED),
            )
        self._named = waiting

    def parked(self) -> list[Parked]:
        """List what was given up on, oldest first."""
        found = (
            sa.select(Delivery)
            .where(_parked())
            .options(joinedload(Delivery.event).joinedload(Event.payment))
            .order_by(Delivery.id)
        )
        return [
            Parked(
                id=each.id,
                kind=each.event.kind,
                occurred_at=each.event.occurred_at,
                reference=each.event.payment.reference if each.event.payment else None,
                subscriber=each.subscriber,
                attempts=each.attempts,
                last_error=each.last_error,
            )
            for each in self._database.read(lambda session: session.scalars(found).all())
        ]

    def retry(self, which: str, by: str = "") -> int:
        """Make parked deliveries due again, with all their tries: an id, a receiver's name, or ``all``."""
        return self._decide(which, by, _parked(), state=DeliveryState.PENDING, attempts=0, due_at=now())

    def dismiss(self, which: str, by: str = "") -> int:
        """Give up for good what is parked; by id or name also what waits for a receiver that is not here."""
        lost = sa.and_(*_claimable(now()), sa.not_(self._known()))
        return self._decide(
            which, by, _parked() if which == _ALL else sa.or_(_parked(), lost), state=DeliveryState.DISMISSED
        )

    def _decide(self, which: str, by: str, where: sa.ColumnElement[bool], **values: object) -> int:
        found = sa.select(Delivery.id).join(Delivery.event).where(where, _called(which))

        def decide(session: Session) -> int:
            ids = session.scalars(found).all()
            idle = Delivery.state.in_(_UNFINISHED) & _unleased(now())
            free = {"lease": None, "leased_until": None, "decided_by": by[:100]}
            return _update(session, Delivery.id.in_(ids), idle, **free, **values)

        changed = self._database.write(decide)
        if not changed and which != _ALL:
            raise UnknownDelivery(which)
        return changed

    def _known(self) -> sa.ColumnElement[bool]:
        """Match the deliveries whose receiver is connected in this process."""
        return sa.or_(
            sa.false(),
            *(
                sa.and_(Event.kind == kind, Delivery.subscriber.in_(names))
                for kind, signal in SIGNALS.items()
                if (names := sorted(signal.subscribers(self._app)))
            ),
        )

    def stop(self, seconds: float = EXIT_SECONDS) -> None:
        """End the background thread of this process; for so long it goes on with what is due, the rest stays due."""
        self._thread.stop(seconds)

    def try_to_deliver(self, over: Callable[[], bool] = lambda: False) -> None:
        """Deliver what is due, or hand it over; if the database is away, say so and leave it due."""
        try:
            if self._handover is not None:
                self._handover.hand_over(over)
            else:
                self.deliver_due(over)
        except Exception as error:
            log.error("Delivering failed: %s", _where(error), extra=said(Action.OUTBOX))

    def _due(self, *of: sa.ColumnElement[bool], limit: int = 50) -> list[tuple[int, Receiver]]:
        """Find what is due and can be delivered here, each with its receiver, longest due first."""
        due = (
            sa.select(Delivery.id, Event.kind, Delivery.subscriber)
            .join(Delivery.event)
            .where(*_claimable(now()), self._known(), *of)
            .order_by(Delivery.due_at, Delivery.id)
            .limit(limit)
        )
        rows = self._database.read(lambda session: session.execute(due).all())
        receivers = {kind: signal.subscribers(self._app) for kind, signal in SIGNALS.items()}
        return [(id_, receivers[kind][name]) for id_, kind, name in rows if name in receivers[kind]]

    def _deliver(self, delivery_id: int, receiver: Receiver) -> Summary | None:
        claim = write(self._database, lambda ledger: self._claim(ledger, delivery_id, receiver))
        return self._call(claim) if isinstance(claim, _Claim) else claim

    def deliver_claimed(self, claim: _Claim) -> None:
        """Deliver what was leased when it was appended; if the database is away, say so and leave it due."""
        try:
            if self._may_call(claim):
                self._call(claim)
        except Exception as error:
            log.error("Delivering failed: %s", _where(error), extra=said(Action.OUTBOX))

    def _may_call(self, claim: _Claim) -> bool:
        """Tell whether to go on with what was leased ahead; where not, its lease has ended, or soon will."""
        is_fresh = time.monotonic() - claim.leased_at <= LEASE.total_seconds() * FRESH_SHARE
        if not is_fresh or not self._is_connected(claim):
            self.give_back([claim])
            return False
        if claim.event.kind not in _LOOKED_AT_AGAIN:
            return True
        try:
            return write(self._database, lambda ledger: self._look_again(ledger, claim)) is None
        except Exception:
            self._unrecorded.append(partial(self._end_lease, claim))
            raise

    def _is_connected(self, claim: _Claim) -> bool:
        connected = SIGNALS[claim.event.kind].subscribers(self._app)
        return connected.get(claim.subscriber) == claim.receiver

    def give_back(self, claims: Iterable[_Claim]) -> None:
        """End the leases of what was not begun: it is due for whoever comes. Never raises: what cannot be stored now
        is stored by a later round, and leases end by themselves."""
        self._unrecorded.extend(partial(self._end_lease, each) for each in claims)
        try:
            self._record_what_was_not()
        except Exception as error:
            log.error("Delivering failed: %s", _where(error), extra=said(Action.OUTBOX))

    def _end_lease(self, claim: _Claim) -> None:
        values = {"delivery": claim.delivery_id, "token": claim.lease, "tried": claim.attempts - 1}
        write(self._database, lambda ledger: ledger.execute(_GIVE_BACK, values))

    def _call(self, claim: _Claim) -> Summary:
        began = time.monotonic()
        try:
            with span("deliver", **claim.facts) as seen:
                self._tell(claim)
                seen.note(outcome=DeliveryState.DONE.value)
        except BaseException as error:  # gevent's and asyncio's time-outs are no Exceptions
            if isinstance(error, _ENDS_US) or type(error).__name__ == "GreenletExit":
                raise
            return self._failed(claim, error)
        if log.isEnabledFor(logging.INFO):
            seconds = round(time.monotonic() - began, 3)
            log.info(
                "Event %d (%s): %s is done",
                *(claim.event.id, claim.event.kind.value, claim.subscriber),
                extra=said(Action.DELIVER, outcome=DeliveryState.DONE.value, seconds=seconds, **claim.facts),
            )
        return Summary(done=1)

    def _claim(self, ledger: Ledger, delivery_id: int, receiver: Receiver) -> _Claim | Summary | None:
        """Lease one delivery to this worker; a Summary if it is over without a call, None if another has it."""
        delivery = ledger.get(Delivery, delivery_id)
        event = ledger.get(Event, delivery.event_id) if delivery is not None else None
        if delivery is None or event is None:
            return None
        if event.kind in _LOOKED_AT_AGAIN and event.payment_id is not None:
            ledger.lock(event.payment_id)
        lease, leased_at = _lease(), time.monotonic()
        values = {"delivery": delivery_id, "tried": delivery.attempts, "moment": now()}
        if not ledger.execute(_LEASE, {**values, "token": lease["lease"], "until": lease["leased_until"]}):
            return None
        claim = _claim_of(delivery, event, receiver, lease["lease"], leased_at, delivery.attempts + 1)
        over = self._look_again(ledger, claim)
        if over is None and claim.attempts > self._settings.delivery_attempts:  # its workers died, each time
            return self._park(ledger, delivery)
        return over or claim

    def _park(self, ledger: Ledger, delivery: Delivery) -> Summary:
        where = delivery.last_error or "its process ended during the call"
        ledger.execute(_PARK, {"delivery": delivery.id, "tried": delivery.attempts, "where": where})
        ledger.afterwards(partial(self._say_parked, delivery.id, delivery.event_id, delivery.subscriber))
        return Summary(parked=1)

    def _look_again(self, ledger: Ledger, claim: _Claim) -> Summary | None:
        """Keep from a receiver, under the payment's lock, what has ceased to be true, or cannot be told yet."""
        if claim.event.kind not in _LOOKED_AT_AGAIN or claim.payment_id is None:
            return None
        payment = ledger.lock(claim.payment_id)
        values: dict[str, Any] = {"delivery": claim.delivery_id, "token": claim.lease}
        if payment is None or self._overtaken(payment, claim):
            if ledger.execute(_OBSOLETE, values):
                ledger.afterwards(partial(_say_obsolete, claim))
            return Summary(obsolete=1)
        if claim.event.kind is EventKind.PAYMENT_EXPIRED and not payment.is_over:
            # The customer is applying again, and nobody knows yet what comes of it.
            ledger.execute(_POSTPONE, {**values, "tried": claim.attempts - 1, "due": now() + POSTPONED})
            return Summary()
        return None

    def _overtaken(self, payment: Payment, claim: _Claim) -> bool:
        """Tell whether what the event says has ceased to be true of a locked payment."""
        if claim.event.kind is EventKind.FULFILLMENT_READY:
            return not payment.holds_money
        if claim.event.kind is EventKind.DEADLINE_NEAR:
            states = {each.id: each.state for each in payment.applications}
            return payment.holds_money or states.get(claim.application_id or 0) is not State.AWAITING_PAYMENT
        return payment.holds_money or any(
            each.state is State.AWAITING_PAYMENT for each in payment.applications
        )

    def _tell(self, claim: _Claim) -> None:
        """Call one receiver and mark it done in one transaction of ``db.session``."""
        call = _Call(claim, self)
        self._database.watch_sessions(_before_commit, _before_savepoint)
        with self._app.app_context():
            entered = _CALL.set(call)
            try:
                payment = self._payment_of(claim)
                self._app.ensure_sync(claim.receiver)(self._app, payment=payment, event=claim.event)
                call.returned = True
                self._finish(claim)
            except BaseException:
                call.returned = True
                self._database.db.session.rollback()
                raise
            finally:
                _CALL.reset(entered)

    def _payment_of(self, claim: _Claim) -> Payment | None:
        """Read the payment into ``db.session``; a connection that the database has dropped meanwhile is replaced."""
        session = self._database.db.session()
        try:
            return session.scalars(_payment(), {"payment": claim.payment_id}).unique().one_or_none()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            session.rollback()
            return session.scalars(_payment(), {"payment": claim.payment_id}).unique().one_or_none()

    def _finish(self, claim: _Claim) -> None:
        """Mark a delivery done and commit, in whatever session the receiver has left us."""
        session = self._database.db.session()
        done = session.execute(_DONE, {"delivery": claim.delivery_id, "token": claim.lease, "moment": now()})
        if not done.rowcount:  # type: ignore[attr-defined]
            raise LeaseLost
        session.commit()

    def _own_commit(self, session: Session, claim: _Claim) -> None:
        """Put a mark into what a receiver commits by itself: nobody may repeat the call but a person.

        Raises `LeaseLost`, so that nothing is committed, if another worker has taken the delivery over.
        """
        with session.no_autoflush:
            if not _update(session, *_leased_to(claim), state=DeliveryState.PARKED, last_error=_CUT_SHORT):
                raise LeaseLost
        if claim.subscriber not in self._warned:
            self._warned.add(claim.subscriber)
            log.error(
                "Receiver %s calls db.session.commit(). Remove that: we commit when it returns, so that what it wrote "
                "and the mark that it is done are stored together. As it is, a failure after its commit cannot be "
                "tried again, and is parked.",
                claim.subscriber,
                extra=said(Action.OWN_COMMIT, **claim.facts),
            )

    def _failed(self, claim: _Claim, error: BaseException) -> Summary:
        """Put a failed delivery off, or park it; says which receiver failed and where, never with what message."""
        where = _where(error, claim.receiver)
        log.error(
            "Subscriber %s failed at try %d: %s",
            claim.subscriber,
            claim.attempts,
            where,
            extra=said(Action.DELIVERY_FAILED, **claim.facts),
        )
        return self._record_or_remember(partial(self._record, claim, where))

    def _record_what_was_not(self) -> None:
        """Store what could not be stored because the database was away: these leases end now."""
        for _ in range(len(self._unrecorded)):
            try:
                record = self._unrecorded.popleft()
            except IndexError:  # another thread was faster
                return
            self._record_or_remember(record)

    def _record_or_remember(self, record: Callable[[], T]) -> T:
        try:
            return record()
        except Exception:
            self._unrecorded.append(record)
            raise

    def _record(self, claim: _Claim, where: str) -> Summary:
        state = self._database.write(lambda session: self._put_off(session, claim, where))
        if state is not DeliveryState.PARKED:
            return Summary(failed=1)
        self._say_parked(claim.delivery_id, claim.event.id, claim.subscriber)
        return Summary(parked=1)

    def _say_parked(self, delivery_id: int, event_id: int, subscriber: str) -> None:
        happened("deliver", subscriber=subscriber, outcome=DeliveryState.PARKED.value)
        log.error(
            "Delivery %d to %s is parked. Mend the cause, then: flask %s deliver --retry %d",
            delivery_id,
            subscriber,
            self._settings.cli_group,
            delivery_id,
            extra=said(Action.PARKED, delivery=delivery_id, event=event_id, subscriber=subscriber),
        )

    def _put_off(self, session: Session, claim: _Claim, where: str) -> DeliveryState | None:
        """End the lease of a failed delivery; None if it has been taken over, or done after all."""
        delivery = session.scalar(sa.select(Delivery).where(*_leased_to(claim)).with_for_update())
        if delivery is None:
            return None
        if delivery.state is DeliveryState.PARKED:  # by its own commit
            where = f"{where}; {_CUT_SHORT}"
        elif claim.attempts >= self._settings.delivery_attempts:
            delivery.state = DeliveryState.PARKED
        delivery.due_at = now() + retry_after(claim.attempts)
        delivery.lease = delivery.leased_until = None
        delivery.last_error = where[:255]
        return delivery.state


def _say_obsolete(claim: _Claim) -> None:
    facts: dict[str, Fact] = {**claim.facts, "attempts": None, "outcome": DeliveryState.OBSOLETE.value}
    happened("deliver", **facts)
    log.info(
        "Event %d (%s) was overtaken: %s is not called",
        *(claim.event.id, claim.event.kind.value, claim.subscriber),
        extra=said(Action.DELIVER, **facts),
    )


def _before_commit(session: Session) -> None:
    """Notice a receiver that commits by itself; savepoints are its own affair."""
    call = _CALL.get()
    if call is not None and not call.returned and not session.in_nested_transaction():
        call.outbox._own_commit(session, call.claim)


def _before_savepoint(connection: sa.Connection, name: str) -> None:  # noqa: ARG001
    """On SQLite, begin a transaction for a receiver's savepoint: Python's driver begins one only for writes, and
    without one the release of a savepoint commits."""
    if _CALL.get() is not None and not is_in_transaction(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def data_of(event: Event) -> EventData:
    """The value that subscribers are given for a row."""
    return EventData(
        id=event.id,
        kind=event.kind,
        occurred_at=event.occurred_at,
        previous_state=event.previous_state,
        test=event.test,
        notification_id=event.notification_id,
    )


def paid_states(settings: Settings) -> frozenset[State]:
    """The states in which goods may ship."""
    if settings.fulfill_on is FulfillOn.SALE_CONFIRMED:
        return frozenset({State.CONFIRMED})
    return frozenset({State.RECEIVED, State.CONFIRMED})


def retry_after(attempts: int) -> timedelta:
    """How long to wait after the ``attempts``-th failure: doubling, with jitter."""
    doubled: int = 2 ** min(attempts - 1, 30)
    return min(FIRST_RETRY * doubled, LONGEST_RETRY) * random.uniform(1 - JITTER, 1 + JITTER)


def _lease() -> dict[str, Any]:
    return {"lease": secrets.token_hex(16), "leased_until": now() + LEASE}


def _claim_of(
    delivery: Delivery, event: Event, receiver: Receiver, lease: str, leased_at: float, attempts: int = 1
) -> _Claim:
    return _Claim(
        delivery_id=delivery.id,
        lease=lease,
        subscriber=delivery.subscriber,
        receiver=receiver,
        attempts=attempts,
        payment_id=event.payment_id,
        application_id=event.application_id,
        event=data_of(event),
        leased_at=leased_at,
    )


def _claimable(moment: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        Delivery.state == DeliveryState.PENDING,
        Delivery.due_at <= moment,
        _unleased(moment),
    )


#: Not done, and nobody has decided against it.
_UNFINISHED = (DeliveryState.PENDING, DeliveryState.PARKED)


def _unleased(moment: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(Delivery.leased_until.is_(None), Delivery.leased_until <= moment)


def _leased_to(claim: _Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        Delivery.id == claim.delivery_id,
        Delivery.state.in_(_UNFINISHED),
        Delivery.lease == claim.lease,
    )


# What is done to one delivery, built once.
_D = cast(sa.Table, Delivery.__table__).c
_FREE: Mapping[str, Any] = {"lease": None, "leased_until": None}
_THIS = sa.update(Delivery.__table__).where(_D.id == sa.bindparam("delivery"))  # type: ignore[arg-type]
_OURS = _THIS.where(
    sa.or_(_D.state == DeliveryState.PENDING, _D.state == DeliveryState.PARKED),
    _D.lease == sa.bindparam("token"),
)
_LEASE = _THIS.where(
    _D.state == DeliveryState.PENDING,
    _D.due_at <= sa.bindparam("moment"),
    sa.or_(_D.leased_until.is_(None), _D.leased_until <= sa.bindparam("moment")),
    _D.attempts == sa.bindparam("tried"),
).values(lease=sa.bindparam("token"), leased_until=sa.bindparam("until"), attempts=_D.attempts + 1)
_DONE = _OURS.values(state=DeliveryState.DONE, done_at=sa.bindparam("moment"), last_error="", **_FREE)
_GIVE_BACK = _OURS.values(attempts=sa.bindparam("tried"), **_FREE)
_POSTPONE = _OURS.values(attempts=sa.bindparam("tried"), due_at=sa.bindparam("due"), **_FREE)
_OBSOLETE = _OURS.values(state=DeliveryState.OBSOLETE, **_FREE)
_PARK = _THIS.values(
    state=DeliveryState.PARKED, attempts=sa.bindparam("tried"), last_error=sa.bindparam("where"), **_FREE
)
#: What waits of one kind of a payment's events, and is not being called.
_CHANGE = (
    sa.update(Delivery.__table__)  # type: ignore[arg-type]
    .where(
        _D.event_id.in_(
            sa.select(Event.id).where(
                Event.payment_id == sa.bindparam("payment"), Event.kind == sa.bindparam("kind")
            )
        ),
        _D.state == sa.bindparam("before"),
        _D.lease.is_(None),
    )
    .values(state=sa.bindparam("after"), due_at=sa.bindparam("moment"), attempts=0)
)


@cache
def _payment() -> sa.Select[Any]:
    """The payment that a receiver is given; built when it is first used, as that completes the mappings."""
    found = sa.select(Payment).where(Payment.id == sa.bindparam("payment"))
    return found.options(joinedload(Payment.applications))


def _parked() -> sa.ColumnElement[bool]:
    """Match what is parked, but not while its receiver is being called."""
    return sa.and_(Delivery.state == DeliveryState.PARKED, _unleased(now()))


_ALL = "all"


def _called(which: str) -> sa.ColumnElement[bool]:
    """Match a number, a receiver's name, or all; too large a number is nobody's."""
    if which == _ALL:
        return sa.true()
    if which.isdecimal() and len(which) < 20 and int(which) <= LARGEST_ID:
        return Delivery.id == int(which)
    return Delivery.subscriber == which


def _update(session: Session, *where: sa.ColumnElement[bool], **values: object) -> int:
    """Change deliveries in the database, whatever the session has loaded; returns how many."""
    changed = session.execute(
        sa.update(Delivery).where(*where).values(**values).execution_options(synchronize_session=False)
    )
    return int(changed.rowcount)  # type: ignore[attr-defined]


def _where(error: BaseException, receiver: Receiver | None = None) -> str:
    """Name the kind of an error and its place: in the receiver's own file, if it passed there.

    Only our own errors are quoted: the text of others may hold personal data.
    """
    if isinstance(error, ZeusCVSError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(receiver), "__code__", None) if receiver is not None else None
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    place = "".join(f" at {os.path.basename(each.filename)}:{each.lineno}" for each in (own or frames)[-1:])
    return f"{type(error).__name__}{place}"


class _Background:
    """One daemon thread per process that delivers what is due; started at the first need, so after any fork."""

    def __init__(self, outbox: Outbox, name: str) -> None:
        self._outbox = outbox
        self._name = name
        self._processes: dict[int, _Process] = {}
        _IN_THIS_PROCESS.add(self)

    @property
    def _here(self) -> _Process:
        """What belongs to this process: a forked child inherits the objects, not the thread."""
        return self._processes.setdefault(os.getpid(), _Process())

    @property
    def is_alive(self) -> bool:
        """Whether this process has the thread now."""
        deliverer = self._here.deliverer
        return deliverer is not None and deliverer.thread.is_alive()

    @property
    def has_room(self) -> bool:
        """Whether the thread would soon come to what it is given."""
        deliverer = self._here.deliverer
        return deliverer is not None and deliverer.has_room

    def take(self, claim: _Claim) -> None:
        """Have the thread deliver what is leased to this process; if it has ended meanwhile, the lease ends, too."""
        deliverer = self._here.deliverer
        if deliverer is None or not deliverer.take(claim):
            self._outbox.give_back([claim])

    def wake(self, *, look: bool) -> None:
        """Start the thread if this process has none, which then looks at once; ``look``: have it look in any case."""
        here = self._here
        deliverer = here.deliverer
        if deliverer is not None and deliverer.thread.is_alive():
            if look:
                deliverer.call()
        elif here.starting.acquire(blocking=False):  # else another starts it now, and then it looks
            try:
                if here.deliverer is deliverer:
                    here.deliverer = _Deliverer(self._outbox, self._name)
                    here.deliverer.thread.start()
                elif here.deliverer is not None:  # started in the meantime
                    here.deliverer.call()
            finally:
                here.starting.release()

    def stop(self, seconds: float) -> None:
        """End the thread, waiting at most so long; a later `wake` starts another."""
        here = self._here
        deliverer, here.deliverer = here.deliverer, None
        if deliverer is not None:
            deliverer.stop(seconds)


class _Process:
    """The thread of one process, and the lock under which it is started."""

    def __init__(self) -> None:
        self.starting = threading.Lock()
        self.deliverer: _Deliverer | None = None


class _Deliverer:
    """Delivers what it is given, and looks for what is due when it is called, and every `POLL_SECONDS`."""

    def __init__(self, outbox: Outbox, name: str) -> None:
        self._outbox = outbox
        self._end: float | None = None
        #: When the thread began with what it is at; None while it waits.
        self._began: float | None = None
        self._closing = threading.Lock()
        self._is_closed = False
        #: What is leased to this process; None: look for what is due.
        self.todo: queue.SimpleQueue[_Claim | None] = queue.SimpleQueue()
        self._is_called = False
        self._looks_at = self._names_at = time.monotonic() + POLL_SECONDS
        self.call()
        # No subclass of Thread: gevent, which replaces threads after we were imported, would never see it end.
        self.thread = threading.Thread(target=self._run, name=f"zeus-cvs-{name}", daemon=True)

    @property
    def has_room(self) -> bool:
        """Whether the thread has little to do, and is not kept by what it does.

        It is asked inside a transaction: to ask the thread itself lets gevent run another greenlet meanwhile, which
        on SQLite waits for this transaction and keeps it from going on.
        """
        began = self._began
        is_kept = began is not None and time.monotonic() - began > PROMPT_SECONDS
        return not self._is_closed and self.todo.qsize() < ROOM and not is_kept

    def call(self) -> None:
        """Have the thread look for what is due; many calls before it does so are one."""
        if not self._is_called:
            self._is_called = True
            self.todo.put(None)

    def take(self, claim: _Claim) -> bool:
        """Deliver this soon; False if the thread has ended."""
        with self._closing:
            if not self._is_closed:
                self.todo.put(claim)
            return not self._is_closed

    def _run(self) -> None:
        try:
            while self._end is None or not (self._is_over() or self.todo.empty()):
                self._began = None
                claim = self._next()
                self._began = time.monotonic()
                if claim is not None:
                    self._outbox.deliver_claimed(claim)
                else:
                    self._look()
        finally:
            self._close()

    def _next(self) -> _Claim | None:
        """Wait for something to deliver; None if it is time to look, however much there is to deliver."""
        seconds = self._looks_at - time.monotonic()
        try:
            return self.todo.get(timeout=seconds) if seconds > 0 else None
        except queue.Empty:
            return None

    def _look(self) -> None:
        self._is_called = False
        self._outbox.try_to_deliver(self._is_over)
        if time.monotonic() >= self._names_at and self._end is None:
            self._names_at = time.monotonic() + POLL_SECONDS
            self._outbox.name_stranded()
        self._looks_at = time.monotonic() + POLL_SECONDS

    def _close(self) -> None:
        """Leave to others what this thread did not come to."""
        with self._closing:
            self._is_closed = True
        left = [self.todo.get() for _ in range(self.todo.qsize())]
        self._outbox.give_back([each for each in left if each is not None])

    def _is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def stop(self, seconds: float) -> None:
        """Deliver what is due for so long, and wait for the end of it; who is called then is left to it."""
        self._end = time.monotonic() + seconds
        self.todo.put(None)
        self.thread.join(seconds)


_IN_THIS_PROCESS: weakref.WeakSet[_Background] = weakref.WeakSet()


def _stop_all() -> None:
    for each in list(_IN_THIS_PROCESS):
        each.stop(EXIT_SECONDS)


atexit.register(_stop_all)
