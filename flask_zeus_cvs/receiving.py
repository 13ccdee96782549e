"""Receiving a notice: kept, matched to a payment, and moved by the table, in one transaction.

A notice whose order number nobody knows yet waits for the answer that brings it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any

import sqlalchemy as sa

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.database import Database
from flask_zeus_cvs.exceptions import UnreadableNotice
from flask_zeus_cvs.ledger import Ledger, write, write_each
from flask_zeus_cvs.lifecycle import (
    AFTER_CANCEL,
    HOLDS_MONEY,
    MONEY_NOTICES,
    REVERSALS,
    TOLD_BEFORE,
    Input,
    State,
)
from flask_zeus_cvs.models import (
    Application,
    Notification,
    Payment,
    Resolution,
    Review,
    ReviewReason,
    Verdict,
)
from flask_zeus_cvs.moves import Moves, close_review, fill_blanks
from flask_zeus_cvs.outbox import Outbox
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.protocol.messages import Notice
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.telemetry import Action, Fact, happened, said, span

log = logging.getLogger(__name__)

#: Bytes of a notice that are kept.
MAX_RAW = 8 * 1024
#: Who closes a review whose question has answered itself.
MATCHED = "flask-zeus-cvs"
#: A slip in one of these has been replaced already; a further re-issue replaces its successor.
_REPLACED = frozenset(
    {
        State.SUPERSEDED,
        State.RECEIVED_AFTER_CANCEL,
        State.CONFIRMED_AFTER_CANCEL,
        State.CANCELLED_AFTER_CANCEL,
    }
)


@dataclass(frozen=True)
class Receipt:
    """What became of a notice: its row, its verdict, whether it was a repeat, and whose it is, if that is known."""

    notification_id: int
    verdict: Verdict
    repeat: bool = False
    payment_id: int | None = None
    application_id: int | None = None


@dataclass
class _Arrival:
    """One call that brings a notice, and how many such calls there have been when it is stored.

    A commit can go through although its connection breaks. What is run again then finds its own row, knows it by these,
    and does not count it as a repeat.
    """

    source: str
    at: datetime = field(default_factory=now)
    times: int = 0

    def entered(self) -> dict[str, Any]:
        """What a new row says of it."""
        self.times = 1
        return {"source": self.source, "first_at": self.at, "last_at": self.at}

    def counts(self, known: Notification) -> bool:
        """Count it as a repeat; False if it is what the row was stored for."""
        if (known.times, known.last_at) == (self.times, self.at):
            return False
        known.times += 1
        known.last_at = self.at
        self.times = known.times
        return True


@dataclass(frozen=True)
class _Taken:
    """A notice in its ledger; what became of it can be told once it is stored."""

    row: Notification
    repeat: bool = False

    def receipt(self) -> Receipt:
        row = self.row
        return Receipt(row.id, row.verdict, self.repeat, row.payment_id, row.application_id)


class Receiving:
    """How the notices of one app are taken."""

    def __init__(self, database: Database, settings: Settings, outbox: Outbox, moves: Moves) -> None:
        self._database = database
        self._settings = settings
        self._outbox = outbox
        self._moves = moves

    def receive(self, raw: bytes, source: str = "callback") -> Receipt:
        """See `Payments.receive`."""
        self._database.refuse_pending_work()
        with span("receive", source=source) as seen:
            try:
                notice = Notice.parse(raw, self._settings.callback_encoding)
            except UnreadableNotice as error:
                self.keep_unreadable(error, source)
                raise
            arrival = _Arrival(source)
            receipt = self._database.bounded(lambda: self._store(notice, arrival))
            seen.note(**_say_received(notice, receipt, source))
        self._outbox.after_commit()
        return receipt

    def _store(self, notice: Notice, arrival: _Arrival) -> Receipt:
        taken = write(self._database, lambda ledger: self._take(ledger, notice, arrival), repeatable=True)
        receipt = taken.receipt()
        if receipt.verdict is Verdict.WAITING and not receipt.repeat:
            self.look_again(notice.order_no)
        return receipt

    def catch_up(self, missed: Iterable[bytes], source: str) -> list[Receipt | None]:
        """See `Payments.catch_up`."""
        self._database.refuse_pending_work()
        notices = [Notice.parse(raw, self._settings.callback_encoding) for raw in missed]
        arrivals = [_Arrival(source) for _ in notices]
        taken = write(
            self._database,
            lambda ledger: [self._take_missed(ledger, *each) for each in zip(notices, arrivals, strict=True)],
            repeatable=True,
        )
        receipts = [each.receipt() if each is not None else None for each in taken]
        for notice, receipt in zip(notices, receipts, strict=True):
            if receipt is None:
                continue
            happened("receive", **_say_received(notice, receipt, source))
            if receipt.verdict is Verdict.WAITING:
                self.look_again(notice.order_no)
        return receipts

    def _take_missed(self, ledger: Ledger, notice: Notice, arrival: _Arrival) -> _Taken | None:
        payment, _ = ledger.lock_for_notice(notice.order_no, notice.sendid, notice.identity)
        if payment is not None and ledger.has_been_told(payment, notice.order_no, _this_or_next(notice)):
            return None
        return self._take(ledger, notice, arrival)

    def keep_unreadable(self, error: UnreadableNotice, source: str = "callback") -> None:
        """See `Payments.keep_unreadable`."""
        raw = error.raw[:MAX_RAW]
        identity = hashlib.sha256(b"unreadable:" + raw).hexdigest()
        arrival = _Arrival(source)

        def keep(ledger: Ledger) -> _Taken:
            about = {"raw": raw, "verdict": Verdict.UNREADABLE}
            return self._keep(ledger, identity, about, arrival, ReviewReason.UNREADABLE)

        kept = self._database.bounded(lambda: write(self._database, keep, repeatable=True)).receipt()
        facts = {"verdict": kept.verdict.value, "repeat": kept.repeat}
        happened("receive", **facts)
        log.info(
            "Notice %d: unreadable%s",
            kept.notification_id,
            ", a repeat" if kept.repeat else "",
            extra=said(Action.RECEIVE, notification=kept.notification_id, source=source, **facts),
        )
        self._outbox.after_commit()

    def _take(self, ledger: Ledger, notice: Notice, arrival: _Arrival) -> _Taken:
        identity = notice.identity
        if notice.clientip and notice.clientip != self._settings.client_ip:
            identity = hashlib.sha256(f"{notice.clientip}:{identity}".encode()).hexdigest()
            about = {**_as_row(notice), "verdict": Verdict.REVIEW}
            return self._keep(ledger, identity, about, arrival, ReviewReason.FOREIGN_MERCHANT)
        payment, known = ledger.lock_for_notice(notice.order_no, notice.sendid, identity)
        if payment is None:
            return self._keep(ledger, identity, _as_row(notice), arrival, ReviewReason.UNKNOWN_ORDER)
        if known is None:
            row = ledger.record(Notification, identity=identity, **_as_row(notice), **arrival.entered())
            return self._apply(ledger, payment, notice, row)
        is_repeat = arrival.counts(known)
        if known.verdict is Verdict.WAITING:
            return self._apply_waiting(ledger, payment, notice, known)
        if is_repeat:
            self._look_at_repeat(ledger, payment, notice, known)
        return _Taken(known, repeat=is_repeat)

    def _keep(
        self,
        ledger: Ledger,
        identity: str,
        about: Mapping[str, Any],
        arrival: _Arrival,
        reason: ReviewReason,
    ) -> _Taken:
        """Keep a notice that belongs to no payment of ours, with a review; a repeat is only counted."""
        known = ledger.notification(identity)
        if known is not None:
            return _Taken(known, repeat=arrival.counts(known))
        row = ledger.record(Notification, identity=identity, **about, **arrival.entered())
        self._moves.review(ledger, reason, None, None, row)
        return _Taken(row)

    def _look_at_repeat(self, ledger: Ledger, payment: Payment, notice: Notice, known: Notification) -> None:
        """Raise one review if money is told of again after it was taken back, or taken back again after a person's
        decision that it is there; any other repeat means nothing."""
        application = _find(payment, known.application_id)
        if application is None:
            return
        given, state = Input(notice.status), application.state
        if given in MONEY_NOTICES and state in (State.CANCELLED, State.CANCELLED_AFTER_CANCEL):
            reason = ReviewReason.REPEATED_AFTER_CANCEL
        elif given in REVERSALS and state in HOLDS_MONEY and known.verdict is Verdict.APPLIED:
            reason = ReviewReason.CANCELLED_AGAIN
        else:
            return
        asked = [each.reason for each in ledger.reviews(payment) if each.notification_id == known.id]
        if reason not in asked:
            self._moves.review(ledger, reason, payment, application, known)

    def _apply(self, ledger: Ledger, payment: Payment, notice: Notice, row: Notification) -> _Taken:
        ledger.link(row, payment_id=payment)
        payment.purged_at = None  # it names the customer again
        if notice.money is not None and notice.money != payment.amount:
            row.verdict = Verdict.REVIEW
            self._moves.review(ledger, ReviewReason.WRONG_AMOUNT, payment, None, row)
            return _Taken(row)
        known = {each.order_no for each in payment.applications}
        application = self._application_for(ledger, payment, notice, row)
        bound = application.order_no not in known
        ledger.link(row, application_id=application)
        fill_blanks(application, notice)
        before = application.state
        reviewed = self._moves.step(ledger, application, Input(notice.status), ReviewReason.OUT_OF_ORDER, row)
        row.verdict = (
            Verdict.REVIEW
            if reviewed
            else Verdict.APPLIED
            if application.state is not before
            else Verdict.NO_EFFECT
        )
        if bound:
            self.take_waiting(ledger, application)
            ledger.afterwards(partial(self.look_again, notice.order_no))
        return _Taken(row)

    def _application_for(
        self, ledger: Ledger, payment: Payment, notice: Notice, row: Notification
    ) -> Application:
        """Find, bind or add the application that a notice of this payment speaks of (law 12)."""
        for each in payment.applications:
            if notice.order_no and each.order_no == notice.order_no:
                return each
        family = [each for each in payment.applications if each.sendid == notice.sendid]
        if not notice.order_no:
            standing = [each for each in family if each.state not in _REPLACED]
            return (standing or family)[-1]
        unbound = [each for each in family if each.order_no is None]
        old_slip = Input(notice.status) in AFTER_CANCEL
        if unbound and not old_slip:
            unbound[-1].order_no = notice.order_no
            return unbound[-1]
        reissued = self.reissue(ledger, payment, notice, family[-1])
        if not old_slip:
            replaced = [each for each in family if each.state not in _REPLACED]
            if replaced:
                self._moves.step(
                    ledger, replaced[-1], Input.SUPERSEDED, ReviewReason.REISSUED_WITH_MONEY, row
                )
        return reissued

    def reissue(self, ledger: Ledger, payment: Payment, notice: Notice, model: Application) -> Application:
        """Add the application that someone made on ZEUS's screen; it does not count as an attempt."""
        moment = now()
        ledger.complete(model)
        application = Application(
            sendid=model.sendid,
            store=Store(notice.pay_cvs) if notice.pay_cvs else model.store,
            stored_state=State.UNKNOWN,
            order_no=notice.order_no,
            customer=model.customer,
            test=model.test,
            reissued=True,
            created_at=moment,
            answer_due_at=moment,
        )
        ledger.link(ledger.add(application), payment_id=payment)
        payment.applications.append(application)
        return application

    def look_again(self, order_no: str) -> None:
        """Take what waits for an order number, if an answer has stored it meanwhile; never raises.

        Whichever of the two commits last sees the other; what this misses, the sweep finds.
        """
        if not order_no:
            return
        try:
            about = {"order_no": order_no}
            found = self._database.read(lambda session: session.scalars(_known_meanwhile(), about).all())
            write_each(self._database, found, self.take_one_waiting)
        except Exception as error:
            kind = type(error).__name__
            log.error("A waiting notice was left to the sweep: %s", kind, extra=said(Action.WAITING))

    def take_one_waiting(self, ledger: Ledger, notification_id: int) -> bool:
        row = ledger.get(Notification, notification_id)
        application_id = ledger.application_id(row.order_no) if row is not None else None
        if application_id is None:
            return False
        self.take_waiting(ledger, ledger.lock_of(application_id))
        return True

    def take_waiting(self, ledger: Ledger, application: Application) -> None:
        """Take the notices that came before anybody knew the application's order number; its payment is locked."""
        if application.order_no is None:
            return
        for row in ledger.waiting(application.order_no):
            notice = Notice.parse(row.raw, self._settings.callback_encoding)
            self._apply_waiting(ledger, application.payment, notice, row)

    def _apply_waiting(self, ledger: Ledger, payment: Payment, notice: Notice, row: Notification) -> _Taken:
        """Apply a notice whose order number has become known, and close the review that asked about it."""
        taken = self._apply(ledger, payment, notice, row)
        for review in ledger.reviews_of(row):
            if review.reason is ReviewReason.UNKNOWN_ORDER and review.resolved_at is None:
                close_review(review, Resolution.IGNORED, MATCHED, "the order number became known")
        return taken


@cache
def _known_meanwhile() -> sa.Select[Any]:
    """What waits for one order number, if that is known by now; built once, as most answers ask."""
    waiting, applications = Notification.__table__, Application.__table__
    return (
        sa.select(waiting.c.id)
        .join(applications, applications.c.order_no == waiting.c.order_no)
        .where(waiting.c.order_no == sa.bindparam("order_no"), waiting.c.verdict == Verdict.WAITING)
    )


def all_known_meanwhile() -> sa.Select[Any]:
    """The same of every order number, by way of the reviews that ask, which are few."""
    asked = sa.select(Review.notification_id).where(Review.reason == ReviewReason.UNKNOWN_ORDER)
    return (
        sa.select(Notification.id)
        .join(Application, Application.order_no == Notification.order_no)
        .where(Notification.verdict == Verdict.WAITING, Notification.id.in_(asked))
    )


def _find(payment: Payment, application_id: int | None) -> Application | None:
    return next((each for each in payment.applications if each.id == application_id), None)


def _this_or_next(notice: Notice) -> list[str]:
    """Name the statuses that a slip has been told of once this notice is out of date."""
    given = Input(notice.status)
    return [given.value, *(each.value for each, before in TOLD_BEFORE.items() if given in before)]


def _as_row(notice: Notice) -> dict[str, Any]:
    """What is kept of a notice, of which nobody knows yet what becomes of it."""
    return {
        "raw": notice.raw[:MAX_RAW],
        "verdict": Verdict.WAITING,
        "status": notice.status.value,
        "order_no": notice.order_no,
        "sendid": notice.sendid,
        "money": notice.money,
        "faults": ",".join(notice.faults),
    }


def _say_received(notice: Notice, receipt: Receipt, source: str) -> Mapping[str, Fact]:
    """Log what became of a notice; returns what spans may tell of it."""
    facts: dict[str, Fact] = {
        "notification": receipt.notification_id,
        "status": notice.status.value,
        "verdict": receipt.verdict.value,
        "repeat": receipt.repeat,
        "payment": receipt.payment_id,
        "application": receipt.application_id,
    }
    log.info(
        "Notice %d (%s): %s%s",
        receipt.notification_id,
        notice.status.value,
        receipt.verdict.value,
        ", a repeat" if receipt.repeat else "",
        extra=said(Action.RECEIVE, source=source, **facts),
    )
    return facts
