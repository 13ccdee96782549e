"""The outbox: events are appended in the transaction that makes them true, and delivered after it.

Each subscriber succeeds once. What a receiver writes through ``db.session`` commits in the same transaction as
the mark that it is done; a receiver that raises stops no other, and alone is tried again.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
import traceback
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from flask_zeus_cvs.database import Database, lock
from flask_zeus_cvs.exceptions import LeaseLost
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import Application, Delivery, DeliveryState, Event, Notification, Payment, now
from flask_zeus_cvs.settings import DeliveryMode, FulfillOn, Settings
from flask_zeus_cvs.signals import SIGNALS, EventData, Receiver

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
class _Claim:
    """One delivery, leased to this worker."""

    delivery_id: int
    lease: str
    subscriber: str
    receiver: Receiver
    attempts: int


class Outbox:
    """Appends and delivers the events of one app."""

    def __init__(self, app: Flask, database: Database, settings: Settings) -> None:
        self._app = app
        self._database = database
        self._settings = settings
        self._thread = _Background(self, app.name)
        self._named: list[str] = []

    def append(
        self,
        session: Session,
        kind: EventKind,
        payment: Payment | None,
        *,
        application: Application | None = None,
        notification: Notification | None = None,
        previous_state: State | None = None,
    ) -> Event:
        """Write one event in the caller's transaction; its deliveries are fixed now, one per subscriber."""
        event = Event(
            kind=kind,
            payment_id=payment.id if payment else None,
            application_id=application.id if application else None,
            notification_id=notification.id if notification else None,
            previous_state=previous_state,
            test=bool(application and application.test),
        )
        names = sorted(SIGNALS[kind].subscribers(self._app))
        event.deliveries = [Delivery(subscriber=name) for name in names]
        session.add(event)
        if kind is EventKind.FULFILLMENT_READY and payment is not None and not names:
            log.error(
                "Payment %d may ship, and no receiver of fulfillment_ready is connected in this process. "
                "Connect the same receivers in every process that takes notices.",
                payment.id,
                extra={"action": "no_subscriber"},
            )
        return event

    def revive(self, session: Session, payment: Payment) -> None:
        """Make the payment's shipment due again for those whom it was kept from: what was undone is true again."""
        self._change(
            session, payment, EventKind.FULFILLMENT_READY, DeliveryState.OBSOLETE, DeliveryState.PENDING
        )

    def withdraw(self, session: Session, payment: Payment) -> None:
        """Keep the payment's expiry from those who have not heard of it: there is a new slip."""
        self._change(
            session, payment, EventKind.PAYMENT_EXPIRED, DeliveryState.PENDING, DeliveryState.OBSOLETE
        )

    def _change(
        self, session: Session, payment: Payment, kind: EventKind, before: DeliveryState, after: DeliveryState
    ) -> None:
        session.flush()
        events = sa.select(Event.id).where(Event.payment_id == payment.id, Event.kind == kind)
        session.execute(
            sa.update(Delivery)
            .where(Delivery.event_id.in_(events), Delivery.state == before, Delivery.lease.is_(None))
            .values(state=after, due_at=now(), attempts=0)
            .execution_options(synchronize_session=False)
        )

    def after_commit(self) -> None:
        """Deliver in the way that ZEUS_CVS_DELIVERY names; never raises. Nothing of ours may be locked any more."""
        if self._settings.delivery is DeliveryMode.INLINE:
            self.try_to_deliver()
        elif self._settings.delivery is DeliveryMode.BACKGROUND:
            self.start(look=True)

    def start(self, *, look: bool = False) -> None:
        """See that the background thread runs, if there is to be one; ``look``: have it look now."""
        if self._settings.delivery is not DeliveryMode.BACKGROUND:
            return
        try:
            self._thread.wake(look=look)
        except RuntimeError as error:  # no thread to be had: the next request, or cron, delivers
            log.error("Delivering failed: %s", _where(error), extra={"action": "delivery_failed"})

    def deliver_here(self) -> None:
        """Deliver what is due in this thread, unless that is left to others; never raises. For cron's commands."""
        if self._settings.delivery is not DeliveryMode.DEFERRED:
            self.try_to_deliver()

    def deliver_due(self) -> Summary:
        """Deliver whatever is due, in this thread, until nothing is; returns what was done.

        Never raises for a receiver: its failure is recorded, logged, and tried again later. What is due for a
        receiver that is not connected in this process is left to a process in which it is: see `stranded`.
        """
        summary = Summary()
        while due := self._due():
            handled = [self._deliver(delivery_id, receiver) for delivery_id, receiver in due]
            round_ = sum((each for each in handled if each), Summary())
            summary += round_
            if not round_.handled:  # other workers hold them all
                break
        return summary

    def stranded(self) -> list[str]:
        """Name the receivers for which something is due, and that are not connected in this process."""
        with self._database.reading() as session:
            waiting = (
                sa.select(Delivery.subscriber)
                .join(Delivery.event)
                .where(*_claimable(now()), sa.not_(self._known()))
            )
            return sorted(session.scalars(waiting.distinct()))

    def name_stranded(self) -> None:
        """Log the names of `stranded`, each set of them once."""
        try:
            names = self.stranded()
        except Exception as error:
            log.error("Delivering failed: %s", _where(error), extra={"action": "delivery_failed"})
            return
        if names and names != self._named:
            log.error(
                "Deliveries wait for receivers that are not connected in this process: %s",
                ", ".join(names),
                extra={"action": "stranded"},
            )
        self._named = names

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

    def stop(self, seconds: float = 10.0) -> None:
        """End the background thread of this process after the delivery it is at; what is due stays due."""
        self._thread.stop(seconds)

    def try_to_deliver(self) -> None:
        """Deliver what is due; if the database is away, say so and leave it due."""
        try:
            self.deliver_due()
        except Exception as error:
            log.error("Delivering failed: %s", _where(error), extra={"action": "delivery_failed"})

    def _due(self, limit: int = 50) -> list[tuple[int, Receiver]]:
        """Find what is due and can be delivered here, each with its receiver, longest due first."""
        with self._database.reading() as session:
            rows = session.execute(
                sa.select(Delivery.id, Event.kind, Delivery.subscriber)
                .join(Delivery.event)
                .where(*_claimable(now()), self._known())
                .order_by(Delivery.due_at, Delivery.id)
                .limit(limit)
            ).all()
        receivers = {kind: signal.subscribers(self._app) for kind, signal in SIGNALS.items()}
        return [(id_, receivers[kind][name]) for id_, kind, name in rows if name in receivers[kind]]

    def _deliver(self, delivery_id: int, receiver: Receiver) -> Summary | None:
        claim = self._database.write(lambda session: self._claim(session, delivery_id, receiver))
        if claim is None or isinstance(claim, Summary):
            return claim
        try:
            self._call(claim)
        except (Exception, SystemExit) as error:
            return self._failed(claim, error)
        return Summary(done=1)

    def _claim(self, session: Session, delivery_id: int, receiver: Receiver) -> _Claim | Summary | None:
        """Lease one delivery to this worker; a Summary if it is over without a call, None if another has it."""
        moment = now()
        lease = secrets.token_hex(16)
        taken = session.execute(
            sa.update(Delivery)
            .where(Delivery.id == delivery_id, *_claimable(moment))
            .values(lease=lease, leased_until=moment + LEASE, attempts=Delivery.attempts + 1)
            .execution_options(synchronize_session=False)
        )
        if not taken.rowcount:  # type: ignore[attr-defined]
            return None
        delivery = session.get_one(Delivery, delivery_id)
        if self._overtaken(session, delivery.event):
            delivery.state = DeliveryState.OBSOLETE
            delivery.lease = delivery.leased_until = None
            return Summary(obsolete=1)
        if self._too_early(delivery.event):
            delivery.due_at, delivery.attempts = moment + POSTPONED, delivery.attempts - 1
            delivery.lease = delivery.leased_until = None
            return None
        if delivery.attempts > self._settings.delivery_attempts:  # its workers died, each time
            delivery.state = DeliveryState.PARKED
            return Summary(parked=1)
        return _Claim(delivery_id, lease, delivery.subscriber, receiver, delivery.attempts)

    def _overtaken(self, session: Session, event: Event) -> bool:
        """Tell, under the payment's lock, whether what the event says has ceased to be true."""
        if event.kind not in _LOOKED_AT_AGAIN or event.payment_id is None:
            return False
        payment = lock(session, event.payment_id)
        if payment is None:
            return True
        if event.kind is EventKind.FULFILLMENT_READY:
            return not payment.holds_money
        if event.kind is EventKind.DEADLINE_NEAR:
            reminded = session.get_one(Application, event.application_id)
            return payment.holds_money or reminded.state is not State.AWAITING_PAYMENT
        return payment.holds_money or any(
            each.state is State.AWAITING_PAYMENT for each in payment.applications
        )

    def _too_early(self, event: Event) -> bool:
        """Tell whether an expiry must wait: the customer is applying again, and nobody knows yet what comes of it."""
        if event.kind is not EventKind.PAYMENT_EXPIRED or event.payment is None:
            return False
        return not event.payment.is_over

    def _call(self, claim: _Claim) -> None:
        """Call one receiver and mark it done in one transaction of ``db.session``."""
        with self._app.app_context():
            session = self._database.db.session
            delivery = session.get_one(Delivery, claim.delivery_id)
            event = delivery.event
            try:
                self._app.ensure_sync(claim.receiver)(self._app, payment=event.payment, event=data_of(event))
                marked = session.execute(
                    sa.update(Delivery)
                    .where(*_leased_to(claim))
                    .values(
                        state=DeliveryState.DONE, done_at=now(), lease=None, leased_until=None, last_error=""
                    )
                    .execution_options(synchronize_session=False)
                )
                if not marked.rowcount:  # type: ignore[attr-defined]
                    raise LeaseLost(claim.subscriber)
                session.commit()
            except BaseException:
                session.rollback()
                raise

    def _failed(self, claim: _Claim, error: BaseException) -> Summary:
        """Put a failed delivery off, or park it; says which receiver failed and where, never with what message."""
        parked = claim.attempts >= self._settings.delivery_attempts
        where = _where(error)

        def record(session: Session) -> None:
            session.execute(
                sa.update(Delivery)
                .where(*_leased_to(claim))
                .values(
                    state=DeliveryState.PARKED if parked else DeliveryState.PENDING,
                    due_at=now() + retry_after(claim.attempts),
                    lease=None,
                    leased_until=None,
                    last_error=where[:255],
                )
                .execution_options(synchronize_session=False)
            )

        self._database.write(record)
        log.error(
            "Subscriber %s failed at try %d%s: %s",
            claim.subscriber,
            claim.attempts,
            ", and is parked" if parked else "",
            where,
            extra={"action": "parked" if parked else "delivery_failed", "delivery": claim.delivery_id},
        )
        return Summary(parked=1) if parked else Summary(failed=1)


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


def _claimable(moment: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        Delivery.state == DeliveryState.PENDING,
        Delivery.due_at <= moment,
        sa.or_(Delivery.leased_until.is_(None), Delivery.leased_until <= moment),
    )


def _leased_to(claim: _Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        Delivery.id == claim.delivery_id,
        Delivery.state == DeliveryState.PENDING,
        Delivery.lease == claim.lease,
    )


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


class _Background:
    """One daemon thread per process that delivers what is due; started at the first need, so after any fork."""

    def __init__(self, outbox: Outbox, name: str) -> None:
        self._outbox = outbox
        self._name = name
        self._guard = threading.Lock()
        self._call = threading.Event()
        self._stopping = False
        self._owner = 0
        self._thread: threading.Thread | None = None

    def wake(self, *, look: bool) -> None:
        """Start the thread if this process has none, which then looks at once; ``look``: have it look in any case."""
        if self._owner != os.getpid():  # a forked child inherits the objects, not the thread
            self._guard, self._call = threading.Lock(), threading.Event()
            self._owner, self._thread = os.getpid(), None
        running = self._thread is not None and self._thread.is_alive()
        if running and not look:
            return
        self._call.set()
        with self._guard:
            if self._thread is None or not self._thread.is_alive():
                self._stopping = False
                self._thread = threading.Thread(target=self._run, name=f"zeus-cvs-{self._name}", daemon=True)
                self._thread.start()

    def stop(self, seconds: float) -> None:
        """End the thread, waiting at most so long; a later `wake` starts another."""
        thread = self._thread if self._owner == os.getpid() else None
        if thread is not None:
            self._stopping = True
            self._call.set()
            thread.join(seconds)

    def _run(self) -> None:
        while True:
            called = self._call.wait(POLL_SECONDS)
            if self._stopping:
                return
            self._call.clear()
            self._outbox.try_to_deliver()
            if not called:
                self._outbox.name_stranded()
