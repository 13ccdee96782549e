"""The verbs: create, submit, receive, expire, resolve and close.

Every verb locks the payment first. `create` and `close` join the caller's ``db.session``, and the caller commits;
the others work in short transactions of their own, commit, and then have the outbox deliver.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
import secrets
import string
import time
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, joinedload, object_session
from sqlalchemy.orm.attributes import set_committed_value

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.customer import Customer, checked, normalize
from flask_zeus_cvs.database import Database, lock, must_begin_anew, note_lock, quoting_nothing
from flask_zeus_cvs.exceptions import (
    ConfigurationError,
    CreatedMeanwhile,
    GatewayError,
    InvalidAmount,
    InvalidCustomer,
    InvalidField,
    NotPayable,
    NotResolvable,
    NotSent,
    PendingWorkError,
    UnknownReview,
    UnreadableNotice,
)
from flask_zeus_cvs.gateway import Gateway, refuse_late_patch
from flask_zeus_cvs.handover import Enqueue
from flask_zeus_cvs.ledger import Ledger, write
from flask_zeus_cvs.lifecycle import (
    AFTER_CANCEL,
    HOLDS_MONEY,
    LIVE,
    MAY_APPLY,
    MONEY_NOTICES,
    REVERSALS,
    TABLE,
    TOLD_BEFORE,
    EventKind,
    Input,
    State,
    events,
)
from flask_zeus_cvs.memos import remember, remember_once
from flask_zeus_cvs.models import (
    Application,
    Event,
    Notification,
    Payment,
    Resolution,
    Review,
    ReviewReason,
    Verdict,
    mariadb,
)
from flask_zeus_cvs.outbox import Outbox, Parked, Summary, paid_states
from flask_zeus_cvs.protocol.codes import ERROR_CODES, Store
from flask_zeus_cvs.protocol.fields import MAX_AMOUNT, MAX_DAYS, MIN_AMOUNT, Problem, check
from flask_zeus_cvs.protocol.messages import Answer, ApplicationRequest, Notice, Outcome
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.telemetry import Action, Fact, Span, happened, said, span

log = logging.getLogger(__name__)

EXTENSION = "zeus_cvs"
#: Seconds beyond the gateway's own total after which a `SUBMITTING` counts as `UNKNOWN`.
ANSWER_SLACK = 60
#: Bytes of a notice that are kept.
MAX_RAW = 8 * 1024
#: The memos of the last sweep, of the last delivering in the foreground, and of the last silence that was told of.
SWEPT, DELIVERED, SILENCE = "sweep", "deliver", "silence"
_MATCHED = "flask-zeus-cvs"
_SILENCE = "ZEUS's notices stay away (%s): the callback may be broken. See flask zeus-cvs check --live"
_ALPHABET = string.ascii_uppercase + string.digits


class Obstacle(StrEnum):
    """Why a payment takes no further application."""

    LIVE = "live"
    CHECKING = "checking"
    PAID = "paid"
    CANCELLED = "cancelled"
    CLOSED = "closed"
    EXPIRED = "expired"
    ATTEMPTS = "attempts"
    #: The shop has yet to decide something about it: money, perhaps.
    REVIEW = "review"


@dataclass(frozen=True)
class Receipt:
    """What became of a notice: its row, its verdict, whether it was a repeat, and whose it is, if that is known."""

    notification_id: int
    verdict: Verdict
    repeat: bool = False
    payment_id: int | None = None
    application_id: int | None = None


@dataclass(frozen=True)
class _Taken:
    """A notice in its ledger; what became of it can be told once it is stored."""

    row: Notification
    repeat: bool = False

    def receipt(self) -> Receipt:
        row = self.row
        return Receipt(row.id, row.verdict, self.repeat, row.payment_id, row.application_id)


@dataclass(frozen=True)
class Applied:
    """An application as its answer left it, or as it stood when nothing was sent; a notice may have moved it since."""

    state: State
    store: Store
    #: Where 7-Eleven's customers see their numbers, or blank.
    pay_url: str
    #: The request parameter that ZEUS named as wrong, or blank.
    parameter: str


@dataclass(frozen=True)
class Standing:
    """What a payment's own rows do not say: whether a person must look, and when its money was first told of."""

    under_review: bool
    paid_at: datetime | None


@dataclass(frozen=True)
class Sweep:
    """What one sweep did."""

    expired: int = 0
    ended: int = 0
    reminded: int = 0


class Payments:
    """The verbs of one app; it lives at ``app.extensions["zeus_cvs"]``."""

    def __init__(
        self, app: Flask, database: Database, settings: Settings, gateway: Gateway, outbox: Outbox
    ) -> None:
        self._app = app
        self._database = database
        self.settings = settings
        self._gateway = gateway
        self._outbox = outbox

    @property
    def database(self) -> Database:
        """Where the payments are: for whoever reads them."""
        return self._database

    @property
    def is_delivering(self) -> bool | None:
        """Whether this process delivers what is due by itself; None if ZEUS_CVS_DELIVERY has it done elsewhere."""
        return self._outbox.is_running

    # --- in the caller's transaction -------------------------------------------------------------

    def create(
        self,
        *,
        amount: int,
        reference: str,
        customer: Customer | None = None,
        return_url: str = "",
        sendpoint: str = "",
        expires_at: datetime | None = None,
        once: bool = False,
    ) -> Payment:
        """Add a payment to the caller's ``db.session`` and flush; the caller commits.

        ``amount`` is in yen, ``expires_at`` is aware. With ``once``, a payment of the same reference that was
        created with ``once`` and has not ended is returned instead; if it is for another amount it is closed,
        or `NotPayable` is raised because its slip is out or it holds money. Raises `InvalidAmount`,
        `InvalidField` for the other arguments, or `CreatedMeanwhile` (only at repeatable read, only with ``once``).
        """
        _check_amount(amount)
        _check_reference(reference)
        if not isinstance(sendpoint, str):
            raise InvalidField("sendpoint", Problem.malformed)
        if sendpoint:
            check("sendpoint", sendpoint)
        if not isinstance(return_url, str):
            raise InvalidField("return_url", Problem.malformed)
        if return_url and not leads_home(return_url, self.settings.return_hosts):
            raise InvalidField("return_url", Problem.malformed)
        if expires_at is not None and (not isinstance(expires_at, datetime) or expires_at.tzinfo is None):
            raise InvalidField("expires_at", Problem.malformed)
        payment = Payment(
            amount=amount,
            reference=reference,
            customer=_prefill(customer or Customer()),
            return_url=return_url,
            sendpoint=sendpoint,
            expires_at=expires_at,
        )
        session = self._database.db.session()
        with quoting_nothing():
            if once:
                return self._create_once(session, payment)
            session.add(payment)
            session.flush()
        return payment

    def _create_once(self, session: Session, payment: Payment) -> Payment:
        try:
            if self._database.is_mariadb:
                return self._insert_or_find(session, payment)
            return self._find_or_insert(session, payment)
        except OperationalError as error:
            if not must_begin_anew(error):
                raise
            session.rollback()  # the database has done so already: nothing may be committed on top
            raise CreatedMeanwhile from None

    def _insert_or_find(self, session: Session, payment: Payment) -> Payment:
        """Insert before locking, unless it is there. On MariaDB those who lock what is not there lock the gap for
        each other: all but one lose a deadlock, and with it their whole transaction."""
        table = Payment.__table__
        insert = (
            mariadb()
            .insert(table)
            .values(
                reference=payment.reference,
                once_key=payment.reference,
                amount=payment.amount,
                sendpoint=payment.sendpoint,
                return_url=payment.return_url,
                customer_name=payment.customer.name,
                customer_phone=payment.customer.phone,
                customer_email=payment.customer.email,
                expires_at=payment.expires_at,
            )
        )
        holding = sa.select(Payment.id).where(Payment.once_key == payment.reference)
        if session.scalar(holding) is None or self._usable_or_released(session, payment) is None:
            session.execute(insert.on_duplicate_key_update(id=table.c.id))
        found = self._usable_or_released(session, payment)
        if found is None:  # one of another worker, which has ended already
            raise CreatedMeanwhile
        return found

    def _find_or_insert(self, session: Session, payment: Payment) -> Payment:
        earlier = self._usable_or_released(session, payment)
        if earlier is not None:
            return earlier
        payment.once_key = payment.reference
        try:
            with session.begin_nested():
                session.add(payment)
        except IntegrityError:  # another worker was faster; its commit is what we waited for
            earlier = self._usable_or_released(session, payment)
            if earlier is None:
                raise CreatedMeanwhile from None
            return earlier
        return payment

    def _usable_or_released(self, session: Session, wanted: Payment) -> Payment | None:
        """Return the payment that holds the reference, or take the reference from one that has ended."""
        if self._database.is_sqlite:  # a savepoint needs the write lock before it
            session.execute(sa.update(Payment).where(Payment.id == -1).values(attempts=0))
        earlier = session.scalar(
            sa.select(Payment)
            .where(Payment.once_key == wanted.reference)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        note_lock(session)
        if earlier is None:
            return None
        _read_applications(session, earlier)
        obstacle = self.obstacle(earlier)
        if obstacle not in (Obstacle.CLOSED, Obstacle.CANCELLED, Obstacle.EXPIRED):
            if earlier.amount == wanted.amount:
                return earlier
            if obstacle is not None and obstacle in _UNDER_WAY:  # two slips of one order could both be paid
                raise NotPayable(obstacle)
        earlier.closed_at = earlier.closed_at or now()  # money that still comes for it is a review
        earlier.once_key = None
        session.flush()
        return None

    def find(self, reference: str) -> Payment | None:
        """Return the newest payment of a reference, in the caller's ``db.session``."""
        return self._database.db.session.scalar(
            sa.select(Payment).where(Payment.reference == reference).order_by(Payment.id.desc()).limit(1)
        )

    def close(self, payment: Payment) -> None:
        """Take no further application, in the caller's transaction; a slip that is out stays payable at ZEUS.

        Money that still comes is a review. Closing twice changes nothing.
        """
        session = self._database.db.session()
        session.flush()
        locked = lock(session, _id_of(payment))
        if locked is None:
            raise PendingWorkError(_NOT_THERE)
        if locked.closed_at is None:
            locked.closed_at = now()
        session.flush()

    # --- reading ---------------------------------------------------------------------------------

    def by_token(self, token: str) -> Payment | None:
        """Read one payment with its applications, detached: no connection is held afterwards."""
        return self._database.read(
            lambda session: session.scalars(_by_token(), {"token": token}).unique().one_or_none()
        )

    def standing(self, payment: Payment) -> Standing:
        """Read how a payment stands beyond its state; no connection is held afterwards."""
        ours = _id_of(payment)
        leading = payment.application
        told = sa.select(sa.func.min(Event.occurred_at)).where(
            Event.payment_id == ours,
            Event.application_id == (leading.id if leading else None),
            Event.kind.in_(_TELLS_OF_MONEY),
        )
        return self._database.read(
            lambda session: Standing(_is_under_review(session, ours), session.scalar(told))
        )

    def obstacle(self, payment: Payment) -> Obstacle | None:
        """Tell why no further application is possible, as far as the payment's own rows say; None if one is.

        `submit` also looks for an open review: `standing` tells of it.
        """
        states = {each.state for each in payment.applications}
        if payment.closed_at is not None:
            return Obstacle.CLOSED
        if states & HOLDS_MONEY:
            return Obstacle.PAID
        if states & (LIVE - {State.UNKNOWN}):
            return Obstacle.LIVE
        if any(self._still_checking(each) for each in payment.applications):
            return Obstacle.CHECKING
        if payment.expired_at is not None or (payment.expires_at is not None and payment.expires_at <= now()):
            return Obstacle.EXPIRED
        if payment.state not in MAY_APPLY:
            return Obstacle.CANCELLED
        if payment.attempts >= self.settings.max_attempts:
            return Obstacle.ATTEMPTS
        return None

    def _still_checking(self, application: Application) -> bool:
        wait = timedelta(seconds=self.settings.retry_unknown_after)
        return application.state is State.UNKNOWN and now() < application.created_at + wait

    # --- submit ----------------------------------------------------------------------------------

    def submit(self, payment: Payment, customer: Customer, store: Store | str) -> Application:
        """Apply at ZEUS for a slip, and return the application with what came of it.

        The application is committed before the POST, and no connection is held while ZEUS is awaited. If one
        is live already, being checked, or paid, that one is returned and nothing is sent: two clicks make one
        POST. Raises `InvalidCustomer` (nothing sent), `NotPayable`, and `PendingWorkError` if the payment is
        not committed yet or, on SQLite, ``db.session`` holds uncommitted writes.
        """
        application_id = self._apply_for(payment, customer, store).id
        return self._database.read(
            lambda session: session.get_one(
                Application,
                application_id,
                options=[joinedload(Application.payment).selectinload(Payment.applications)],
            )
        )

    def apply_for(self, payment: Payment, customer: Customer, store: Store | str) -> Applied:
        """As `submit`, for whoever leads the customer on: nothing is read that is known already."""
        found = self._apply_for(payment, customer, store)
        return Applied(found.state, found.store, found.pay_url, found.parameter)

    def _apply_for(self, payment: Payment, customer: Customer, store: Store | str) -> Application:
        """Apply as `submit` says; returns the ledger's row, of whose payment not all is there."""
        customer, offered = self._checked(customer, store)
        refuse_late_patch()
        self._database.refuse_pending_work()
        payment_id = _id_of(payment)
        with span("submit", payment=payment_id, store=offered.value) as seen:
            application, request = write(
                self._database, lambda ledger: self._begin(ledger, payment_id, customer, offered)
            )
            seen.note(application=application.id)
            if request is not None:
                application = self._send(request, application.id, seen)
        if request is not None:
            self._outbox.after_commit()
        _expire_stale(payment)
        return application

    def _checked(self, customer: Customer, store: Store | str) -> tuple[Customer, Store]:
        problems: list[InvalidField] = []
        try:
            customer = checked(customer)
        except InvalidCustomer as error:
            problems.extend(error.problems)
        if store not in self.settings.stores:
            problems.append(InvalidField("pay_cvs", Problem.choice))
        if problems:
            raise InvalidCustomer(problems)
        return customer, Store(store)

    def _begin(
        self, ledger: Ledger, payment_id: int, customer: Customer, store: Store
    ) -> tuple[Application, ApplicationRequest | None]:
        """Add a `SUBMITTING` application; without a request if there is one already that stands in its place."""
        if self._database.is_mariadb and ledger.get(Payment, payment_id) is None:
            raise PendingWorkError(_NOT_THERE)  # to lock it, MariaDB would wait for the caller who added it
        payment = ledger.lock(payment_id)
        if payment is None:
            raise PendingWorkError(_NOT_THERE)
        obstacle, leading = self.obstacle(payment), payment.application
        if obstacle in _UNDER_WAY and leading is not None:
            return leading, None
        if obstacle is None and any(each.resolved_at is None for each in ledger.reviews(payment)):
            obstacle = Obstacle.REVIEW
        if obstacle is not None:
            raise NotPayable(obstacle)
        sendid = "".join(secrets.choice(_ALPHABET) for _ in range(20))
        request = self._request(payment, customer, store, sendid)
        request.encode()  # a request that cannot be sent leaves no trace
        application = Application(
            sendid=sendid,
            store=store,
            customer=customer,
            test=request.test,
            answer_due_at=now() + timedelta(seconds=self.settings.gateway_seconds + ANSWER_SLACK),
        )
        ledger.link(ledger.add(application), payment_id=payment)
        payment.applications.append(application)
        payment.attempts += 1
        payment.purged_at = None
        return application, request

    def _request(self, payment: Payment, customer: Customer, store: Store, sendid: str) -> ApplicationRequest:
        return ApplicationRequest(
            clientip=self.settings.client_ip,
            money=payment.amount,
            username=customer.name,
            telno=customer.phone,
            email=customer.email,
            pay_cvs=store,
            sendid=sendid,
            sendpoint=payment.sendpoint,
            testid=self.settings.test_id,
            test_type=self.settings.test_type or "",
            span=self.settings.pay_within_days,
        )

    def _send(self, request: ApplicationRequest, application_id: int, seen: Span) -> Application:
        """Ask ZEUS, store what came of it, and return the application with that."""
        about: dict[str, Fact] = {"application": application_id, "store": request.pay_cvs.value}
        log.debug(
            "Application %d goes to ZEUS", application_id, extra=said(Action.SUBMIT, outcome="sent", **about)
        )
        began = time.monotonic()
        answer = self._ask(request, application_id)
        seconds = round(time.monotonic() - began, 3)
        settled = write(self._database, lambda ledger: self._settle(ledger, application_id, answer))
        outcome = (answer.outcome if isinstance(answer, Answer) else answer).value
        seen.note(outcome=outcome)
        log.info(
            "Application %d: %s after %.1f s",
            application_id,
            outcome,
            seconds,
            extra=said(Action.SUBMIT, outcome=outcome, seconds=seconds, **about),
        )
        if isinstance(answer, Answer):
            self._look_again(answer.order_no)
        return settled

    def _ask(self, request: ApplicationRequest, application_id: int) -> Answer | Input:
        extra = said(Action.GATEWAY, application=application_id, store=request.pay_cvs.value)
        try:
            with span("gateway", application=application_id, store=request.pay_cvs.value) as seen:
                answer = self._gateway.apply(request)
                seen.note(outcome=answer.outcome.value)
        except GatewayError as error:
            log.warning("Application %d: %s", application_id, error, extra=extra)
            return Input.NOT_SENT if isinstance(error, NotSent) else Input.UNKNOWN
        if answer.faults:
            broken = ", ".join(answer.faults)
            log.warning(
                "Application %d: ZEUS's answer breaks the rule of %s", application_id, broken, extra=extra
            )
        return answer

    def _settle(self, ledger: Ledger, application_id: int, answer: Answer | Input) -> Application:
        """Store what came of the POST: an answer fills blanks and never lowers a state that a notice has set."""
        application = ledger.lock_of(application_id)
        before = application.order_no
        given = answer if isinstance(answer, Input) else _INPUT_OF[answer.outcome]
        if isinstance(answer, Answer) and given is not Input.UNKNOWN:
            self._fill_from_answer(ledger, application, answer)
        self._step(ledger, application, given, ReviewReason.ANSWER_CONTRADICTS)
        if application.order_no != before:
            self._take_waiting(ledger, application)
        return application

    def _fill_from_answer(self, ledger: Ledger, application: Application, answer: Answer) -> None:
        if answer.order_no and not self._may_bind(ledger, application, answer.order_no):
            self._review(ledger, ReviewReason.ORDER_NO_DIFFERS, application.payment, application)
            return
        application.order_no = application.order_no or answer.order_no or None
        application.parameter = application.parameter or answer.parameter
        _fill_blanks(application, answer)

    def _may_bind(self, ledger: Ledger, application: Application, order_no: str) -> bool:
        if application.order_no is not None:
            return application.order_no == order_no
        return ledger.application_id(order_no) in (None, application.id)

    # --- receive ---------------------------------------------------------------------------------

    def receive(self, raw: bytes, source: str = "callback") -> Receipt:
        """Store one notice, commit, and have its events delivered; a repeat is counted and changes nothing.

        ``raw`` is the query string or the body as it came. Raises `UnreadableNotice` after its bytes are kept
        and a review is open, `PendingWorkError` as `submit`, `DatabaseAway` if the database hangs (the notice may
        yet be stored); any other error means that nothing was stored.
        """
        self._database.refuse_pending_work()
        with span("receive", source=source) as seen:
            try:
                notice = Notice.parse(raw, self.settings.callback_encoding)
            except UnreadableNotice as error:
                self.keep_unreadable(error, source)
                raise
            receipt = self._database.bounded(lambda: self._store(notice, source))
            seen.note(**_say_received(notice, receipt, source))
        self._outbox.after_commit()
        return receipt

    def _store(self, notice: Notice, source: str) -> Receipt:
        taken = write(self._database, lambda ledger: self._take(ledger, notice, source), repeatable=True)
        receipt = taken.receipt()
        if receipt.verdict is Verdict.WAITING and not receipt.repeat:
            self._look_again(notice.order_no)
        return receipt

    def catch_up(self, missed: Iterable[bytes], source: str) -> list[Receipt | None]:
        """Take the notices of one payment that never came, in their natural order, as `receive` would; commits once.

        Returns a receipt for each; None for one that is here already, or is overtaken by one that follows it. Nobody
        is told in between, so that goods stay whose payment was taken back later: `deliver_here` tells. Raises
        `UnreadableNotice` with nothing stored, and `PendingWorkError` as `submit`.
        """
        self._database.refuse_pending_work()
        notices = [Notice.parse(raw, self.settings.callback_encoding) for raw in missed]
        taken = write(
            self._database,
            lambda ledger: [self._take_missed(ledger, each, source) for each in notices],
            repeatable=True,
        )
        receipts = [each.receipt() if each is not None else None for each in taken]
        for notice, receipt in zip(notices, receipts, strict=True):
            if receipt is None:
                continue
            happened("receive", **_say_received(notice, receipt, source))
            if receipt.verdict is Verdict.WAITING:
                self._look_again(notice.order_no)
        return receipts

    def _take_missed(self, ledger: Ledger, notice: Notice, source: str) -> _Taken | None:
        payment, _ = ledger.lock_for_notice(notice.order_no, notice.sendid, notice.identity)
        if payment is not None and ledger.has_been_told(payment, notice.order_no, _this_or_next(notice)):
            return None
        return self._take(ledger, notice, source)

    def keep_unreadable(self, error: UnreadableNotice, source: str = "callback") -> None:
        """Keep the bytes of a notice that cannot be acted on, with a review; commits. A repeat is only counted.

        Raises `DatabaseAway` as `receive`.
        """
        raw = error.raw[:MAX_RAW]
        identity = hashlib.sha256(b"unreadable:" + raw).hexdigest()

        def keep(ledger: Ledger) -> _Taken:
            about = {"raw": raw, "source": source, "verdict": Verdict.UNREADABLE}
            return self._keep(ledger, identity, about, ReviewReason.UNREADABLE)

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

    def _take(self, ledger: Ledger, notice: Notice, source: str) -> _Taken:
        if notice.clientip and notice.clientip != self.settings.client_ip:
            identity = hashlib.sha256(f"{notice.clientip}:{notice.identity}".encode()).hexdigest()
            about = {**_as_row(notice, source), "verdict": Verdict.REVIEW}
            return self._keep(ledger, identity, about, ReviewReason.FOREIGN_MERCHANT)
        identity = notice.identity
        payment, known = ledger.lock_for_notice(notice.order_no, notice.sendid, identity)
        if payment is None:
            return self._keep(ledger, identity, _as_row(notice, source), ReviewReason.UNKNOWN_ORDER)
        if known is None:
            row = ledger.record(Notification, identity=identity, **_as_row(notice, source))
            return self._apply(ledger, payment, notice, row)
        _count_repeat(known)
        if known.verdict is Verdict.WAITING:
            return self._apply_waiting(ledger, payment, notice, known)
        self._look_at_repeat(ledger, payment, notice, known)
        return _Taken(known, repeat=True)

    def _keep(self, ledger: Ledger, identity: str, about: Mapping[str, Any], reason: ReviewReason) -> _Taken:
        """Keep a notice that belongs to no payment of ours, with a review; a repeat is only counted."""
        known = ledger.notification(identity)
        if known is not None:
            _count_repeat(known)
            return _Taken(known, repeat=True)
        row = ledger.record(Notification, identity=identity, **about)
        self._review(ledger, reason, None, None, row)
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
            self._review(ledger, reason, payment, application, known)

    def _apply(self, ledger: Ledger, payment: Payment, notice: Notice, row: Notification) -> _Taken:
        ledger.link(row, payment_id=payment)
        payment.purged_at = None  # it names the customer again
        if notice.money is not None and notice.money != payment.amount:
            row.verdict = Verdict.REVIEW
            self._review(ledger, ReviewReason.WRONG_AMOUNT, payment, None, row)
            return _Taken(row)
        known = {each.order_no for each in payment.applications}
        application = self._application_for(ledger, payment, notice, row)
        bound = application.order_no not in known
        ledger.link(row, application_id=application)
        _fill_blanks(application, notice)
        before = application.state
        reviewed = self._step(ledger, application, Input(notice.status), ReviewReason.OUT_OF_ORDER, row)
        row.verdict = (
            Verdict.REVIEW
            if reviewed
            else Verdict.APPLIED
            if application.state is not before
            else Verdict.NO_EFFECT
        )
        if bound:
            self._take_waiting(ledger, application)
            ledger.afterwards(partial(self._look_again, notice.order_no))
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
        reissued = self._reissue(ledger, payment, notice, family[-1])
        if not old_slip:
            replaced = [each for each in family if each.state not in _REPLACED]
            if replaced:
                self._step(ledger, replaced[-1], Input.SUPERSEDED, ReviewReason.REISSUED_WITH_MONEY, row)
        return reissued

    def _reissue(self, ledger: Ledger, payment: Payment, notice: Notice, model: Application) -> Application:
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

    def _look_again(self, order_no: str) -> None:
        """Take what waits for an order number, if an answer has stored it meanwhile; never raises.

        Whichever of the two commits last sees the other; what this misses, the sweep finds.
        """
        if not order_no:
            return
        try:
            about = {"order_no": order_no}
            found = self._database.read(lambda session: session.scalars(_known_meanwhile(), about).all())
            self._each(found, self._take_one_waiting)
        except Exception as error:
            kind = type(error).__name__
            log.error("A waiting notice was left to the sweep: %s", kind, extra=said(Action.WAITING))

    def _take_one_waiting(self, ledger: Ledger, notification_id: int) -> bool:
        row = ledger.get(Notification, notification_id)
        application_id = ledger.application_id(row.order_no) if row is not None else None
        if application_id is None:
            return False
        self._take_waiting(ledger, ledger.lock_of(application_id))
        return True

    def _take_waiting(self, ledger: Ledger, application: Application) -> None:
        """Take the notices that came before anybody knew the application's order number; its payment is locked."""
        if application.order_no is None:
            return
        for row in ledger.waiting(application.order_no):
            notice = Notice.parse(row.raw, self.settings.callback_encoding)
            self._apply_waiting(ledger, application.payment, notice, row)

    def _apply_waiting(self, ledger: Ledger, payment: Payment, notice: Notice, row: Notification) -> _Taken:
        """Apply a notice whose order number has become known, and close the review that asked about it."""
        taken = self._apply(ledger, payment, notice, row)
        for review in ledger.reviews_of(row):
            if review.reason is ReviewReason.UNKNOWN_ORDER and review.resolved_at is None:
                _resolved(review, Resolution.IGNORED, _MATCHED, "the order number became known")
        return taken

    # --- what every move has in common -----------------------------------------------------------

    def _step(
        self,
        ledger: Ledger,
        application: Application,
        given: Input,
        reason: ReviewReason,
        notification: Notification | None = None,
    ) -> bool:
        """Move one application by the table, under its payment's lock; returns whether a review was raised."""
        payment, before = application.payment, application.stored_state
        cell = TABLE[before, given]
        after = cell.state or before
        if cell.state is not None:
            application.stored_state = cell.state
        if after in (State.DECLINED, State.FAILED) and after is not before:
            _spare_attempt(application, given)
        decided = given in _DECISIONS
        reasons = [reason] if cell.review else []
        if after in HOLDS_MONEY and before not in HOLDS_MONEY and not decided:
            reasons += self._money_reviews(ledger, payment, application)
        ready = (after is not before or decided) and self._may_fulfill(ledger, application, decided=decided)
        called_off = payment.closed_at is not None and payment.fulfilled_at is None
        if ready and called_off and not (decided or reasons or self._questioned(ledger, application)):
            reasons.append(ReviewReason.PAID_AFTER_CLOSE)
        kinds: list[EventKind] = [
            kind for kind in events(before, given, after) if kind is not EventKind.PAYMENT_EXPIRED
        ]
        if EventKind.APPLICATION_ACCEPTED in kinds:
            if payment.expiry_told_at is not None:
                self._outbox.withdraw(ledger, payment)
            payment.expiry_told_at = None
        if self._expiry_is_news(payment):
            payment.expiry_told_at = now()
            kinds.append(EventKind.PAYMENT_EXPIRED)
        if ready and not reasons:
            if payment.fulfilled_at is None:
                payment.fulfilled_at = now()
                kinds.append(EventKind.FULFILLMENT_READY)
            elif ledger.losses(payment):
                self._outbox.revive(ledger, payment)
        for kind in kinds:
            self._outbox.append(
                ledger,
                kind,
                payment,
                application=application,
                notification=notification,
                previous_state=before,
            )
        for each in reasons:
            self._review(ledger, each, payment, application, notification)
        return bool(reasons)

    def _expiry_is_news(self, payment: Payment) -> bool:
        """Tell whether a slip has expired, nothing else is left of the payment, and subscribers do not know."""
        if payment.expiry_told_at is not None or payment.closed_at is not None or not payment.is_over:
            return False
        return any(each.state is State.EXPIRED for each in payment.applications)

    def _money_reviews(
        self, ledger: Ledger, payment: Payment, application: Application
    ) -> list[ReviewReason]:
        """Name what is odd about money that has just come: each is a question to a person."""
        reasons = []
        if payment.closed_at is not None:
            reasons.append(ReviewReason.PAID_AFTER_CLOSE)
        if any(each.state in HOLDS_MONEY for each in payment.applications if each is not application):
            reasons.append(ReviewReason.PAID_TWICE)
        if EventKind.PAYMENT_CANCELLED in ledger.losses(payment):
            reasons.append(ReviewReason.PAID_AFTER_CANCEL)
        return reasons

    def _may_fulfill(self, ledger: Ledger, application: Application, *, decided: bool) -> bool:
        """Tell whether goods may ship now: no test, and no question about this money that a person has left open
        or answered with no."""
        if application.state not in paid_states(self.settings):
            return False
        if application.test and not self.settings.test_fulfills:
            return False
        if decided:
            return True
        return not (
            self._questioned(ledger, application, unless=(Resolution.RECEIVED, Resolution.CONFIRMED))
            or _amount_is_asked(ledger, application)
        )

    def _questioned(
        self, ledger: Ledger, application: Application, unless: Collection[Resolution] = ()
    ) -> bool:
        """Tell whether a person was asked about the money of this application, and did not answer with ``unless``."""
        return any(
            each.application_id == application.id
            and each.reason in _MONEY_QUESTIONS
            and each.resolution not in unless
            for each in ledger.reviews(application.payment)
        )

    def open_review(self, application_id: int, reason: ReviewReason) -> bool:
        """Have a person look at an application, for a reason that no notice gives; commits.

        Returns whether they are asked now: the same is never asked twice, whatever was decided. `deliver_here` tells
        subscribers.
        """
        self._database.refuse_pending_work()

        def ask(ledger: Ledger) -> bool:
            application = ledger.lock_of(application_id)
            if any(_asks_the_same(each, application, reason) for each in ledger.reviews(application.payment)):
                return False
            self._review(ledger, reason, application.payment, application)
            return True

        return write(self._database, ask)

    def _review(
        self,
        ledger: Ledger,
        reason: ReviewReason,
        payment: Payment | None,
        application: Application | None,
        notification: Notification | None = None,
    ) -> Review:
        review = ledger.ask(reason, payment, application_id=application, notification_id=notification)
        self._outbox.append(
            ledger,
            EventKind.REVIEW_REQUIRED,
            payment,
            application=application,
            notification=notification,
            previous_state=application.state if application else None,
        )
        about = f" (payment {payment.id})" if payment else ""
        extra = said(Action.REVIEW, reason=reason.value, payment=payment.id if payment else None)
        ledger.afterwards(lambda: log.error("A person must look: %s%s", reason.value, about, extra=extra))
        return review

    # --- resolve ---------------------------------------------------------------------------------

    def resolve(
        self,
        review_id: int,
        resolution: Resolution | str,
        *,
        by: str,
        note: str = "",
        payment: Payment | None = None,
    ) -> Review:
        """Close a review as a person decided, and emit the event that belongs to the decision.

        ``payment`` tells whose a notice is that matched none. Resolving twice changes nothing. Raises
        `UnknownReview`, or `NotResolvable` if the decision needs an application and there is none.
        """
        resolution = Resolution(resolution)
        self._database.refuse_pending_work()
        payment_id = _id_of(payment) if payment is not None else None
        write(
            self._database,
            lambda ledger: self._resolve(ledger, review_id, resolution, by, note, payment_id),
        )
        self._outbox.after_commit()
        return self._database.read(
            lambda session: session.get_one(Review, review_id, options=[joinedload(Review.notification)])
        )

    def _resolve(
        self,
        ledger: Ledger,
        review_id: int,
        resolution: Resolution,
        by: str,
        note: str,
        payment_id: int | None,
    ) -> None:
        asked = ledger.get(Review, review_id)
        if asked is None:
            raise UnknownReview(review_id)
        owner = asked.payment_id or payment_id
        payment = ledger.lock(owner) if owner is not None else None
        review = ledger.get(Review, review_id, for_update=True)
        if review is None or review.resolved_at is not None:
            return
        if payment is not None:
            review.payment_id = payment.id
        extra = said(Action.RESOLVE, review=review.id, payment=review.payment_id, resolution=resolution.value)
        say = partial(log.info, "Review %d is resolved: %s", review.id, resolution.value, extra=extra)
        ledger.afterwards(say)
        if resolution is Resolution.IGNORED:
            _resolved(review, resolution, by, note)
            return
        told = ledger.get(Notification, review.notification_id) if review.notification_id else None
        application = self._subject(ledger, review, payment, told)
        ledger.link(review, application_id=application)
        _resolved(review, resolution, by, note)
        self._step(ledger, application, Input(f"resolved_{resolution}"), review.reason, told)
        self._take_waiting(ledger, application)

    def _subject(
        self, ledger: Ledger, review: Review, payment: Payment | None, notification: Notification | None
    ) -> Application:
        """Find the application that a decision is about; a notice nobody knew gets one under its payment."""
        if payment is None:
            raise NotResolvable("the notice belongs to no payment: say which payment it is about")
        wanted = review.application_id or (notification.application_id if notification else None)
        for each in payment.applications:
            if each.id == wanted or (
                notification and notification.order_no and each.order_no == notification.order_no
            ):
                return each
        leading = payment.application
        if leading is None:
            raise NotResolvable("the payment has no application yet that could hold money")
        if notification is None or not notification.order_no or review.reason is ReviewReason.WRONG_AMOUNT:
            return leading
        notice = Notice.parse(notification.raw, self.settings.callback_encoding)
        adopted = leading if leading.order_no is None else self._reissue(ledger, payment, notice, leading)
        adopted.order_no = notice.order_no
        ledger.link(notification, payment_id=payment, application_id=adopted)
        payment.purged_at = None
        notification.verdict = Verdict.REVIEW
        _fill_blanks(adopted, notice)
        return adopted

    # --- reset -----------------------------------------------------------------------------------

    def reset_attempts(self, payment: Payment) -> int:
        """Let a customer apply again who has used up ZEUS_CVS_MAX_ATTEMPTS; commits. Returns the tries forgotten.

        Whatever else stands in the way, `obstacle` and `standing` tell.
        """
        self._database.refuse_pending_work()
        payment_id = _id_of(payment)
        tried = write(self._database, lambda ledger: self._reset_attempts(ledger, payment_id))
        _expire_stale(payment)
        log.info(
            "Attempts of payment %d: 0", payment_id, extra=said(Action.RESET_ATTEMPTS, payment=payment_id)
        )
        return tried

    def _reset_attempts(self, ledger: Ledger, payment_id: int) -> int:
        locked = ledger.lock(payment_id)
        if locked is None:
            raise PendingWorkError(_NOT_THERE)
        tried, locked.attempts = locked.attempts, 0
        return tried

    # --- expire ----------------------------------------------------------------------------------

    def count_overdue(self) -> int:
        """Count what `expire` would look at now."""
        finds = (_all_known_meanwhile(), self._unpaid(), self._run_out(), self._near())
        counts = [sa.select(sa.func.count()).select_from(each.subquery()) for each in finds]
        return self._database.read(lambda session: sum(session.scalar(each) or 0 for each in counts))

    def expire(self, step: Callable[[], object] = lambda: None) -> Sweep:
        """Expire what nobody paid and end offers that ran out; remind of deadlines that are near.

        A slip expires at the deadline's 24:00 JST plus EXPIRY_GRACE_HOURS (59 days after creation if no
        deadline is known), never with money or an open review on its payment. Each in a transaction of its own,
        and ``step`` is called after each. Subscribers are told in this thread.
        """
        self._database.refuse_pending_work()
        began = time.monotonic()
        self._each(self._found(_all_known_meanwhile()), self._take_one_waiting, step)
        sweep = Sweep(
            expired=self._each(self._found(self._unpaid()), self._expire_slip, step),
            ended=self._each(self._found(self._run_out()), self._end_offer, step),
            reminded=self._each(self._found(self._near()), self._remind, step),
        )
        seconds = round(time.monotonic() - began, 3)
        log.info(
            "Swept: slips expired %d, offers ended %d, reminders %d",
            *(sweep.expired, sweep.ended, sweep.reminded),
            extra=said(Action.EXPIRE, seconds=seconds, **dataclasses.asdict(sweep)),
        )
        self._outbox.deliver_here()
        self._note(SWEPT)
        return sweep

    def start(self) -> None:
        """See that this process delivers what is due, if it is to do so by itself."""
        self._outbox.start()

    def stop(self) -> None:
        """End the thread that delivers in this process; what is due stays due, and a later `start` goes on with it."""
        self._outbox.stop()

    def deliver_now(
        self, step: Callable[[], object] = lambda: None, over: Callable[[], bool] = lambda: False
    ) -> Summary:
        """Deliver what is due, in this thread, until nothing is or ``over``; ``step`` is called after each."""
        self._database.refuse_pending_work()
        done = self._outbox.deliver_due(over, step)
        self._note(DELIVERED)
        return done

    def deliver_event(self, event_id: int) -> Summary:
        """Deliver what is due of one event, in this thread. See `Outbox.deliver_event`."""
        self._database.refuse_pending_work()
        return self._outbox.deliver_event(event_id)

    def deliver_through(self, enqueue: Enqueue) -> None:
        """Hand events over to the shop's queue. See `Outbox.deliver_through`."""
        self._outbox.deliver_through(enqueue)

    def name_stranded(self) -> None:
        """Log whose deliveries wait for a receiver that is not connected in this process, each set of them once."""
        self._outbox.name_stranded()

    def _note(self, key: str) -> None:
        """Remember when something was done that cron is to do; never raises: what was done is done."""
        try:
            self._database.write(lambda session: remember(session, key))
        except Exception as error:
            log.warning(
                "That %r was done could not be noted: %s", key, type(error).__name__, extra=said(Action.NOTE)
            )

    def tell_of_silence(self, silence: str) -> bool:
        """Tell subscribers that notices stay away, once for each ``silence`` in turn; returns whether it was news.

        Commits, then delivers as ZEUS_CVS_DELIVERY says, in this thread unless it is deferred.
        """

        def tell(ledger: Ledger) -> bool:
            news = remember_once(ledger.session, SILENCE, silence)
            if news:
                self._outbox.append(ledger, EventKind.SILENCE_SUSPECTED, None)
                ledger.afterwards(lambda: log.error(_SILENCE, silence, extra=said(Action.SILENCE)))
            return news

        news = write(self._database, tell)
        self._outbox.deliver_here()
        return news

    def deliver_here(self) -> None:
        """Deliver what is due in this thread, unless that is left to others; never raises. For commands."""
        self._outbox.deliver_here()

    def hasten(self) -> int:
        """Make due at once what waits for its next try; returns how many deliveries."""
        return self._outbox.hasten()

    def count_due(self) -> int:
        """Count what `deliver_now` would deliver."""
        return self._outbox.count_due()

    def stranded(self) -> Mapping[str, int]:
        """Count what is due for receivers that are not connected in this process, by their names."""
        return self._outbox.stranded()

    def parked(self) -> list[Parked]:
        """List the deliveries that were given up on, oldest first; each waits for a person."""
        return self._outbox.parked()

    def retry(self, which: str, by: str = "") -> int:
        """Make parked deliveries due again: an id, a receiver's name, or ``all``; returns how many.

        Each has all its tries again, and keeps who decided it. Raises `UnknownDelivery` if there is none.
        """
        return self._outbox.retry(which, by)

    def dismiss(self, which: str, by: str = "") -> int:
        """Give parked deliveries up for good, as `retry` names them; returns how many.

        By id or name also those that wait for a receiver that is not connected here. Raises `UnknownDelivery`.
        """
        return self._outbox.dismiss(which, by)

    def _each(
        self,
        found: Iterable[int],
        act: Callable[[Ledger, int], bool],
        step: Callable[[], object] = lambda: None,
    ) -> int:
        """Act on every row found, each in a transaction of its own; returns how many it did act on."""
        acted = 0
        for each in found:
            acted += write(self._database, lambda ledger, each=each: act(ledger, each))  # type: ignore[misc]
            step()
        return acted

    def _found(self, wanted: sa.Select[Any]) -> Sequence[int]:
        """Read the ids of what is wanted, all at once: told to read the first 500 by id, PostgreSQL would walk through
        all ids instead of an index of what may be overdue."""
        return self._database.read(
            lambda session: session.scalars(wanted.order_by(*wanted.selected_columns)).all()
        )

    def _unpaid(self) -> sa.Select[Any]:
        ended = now() - timedelta(hours=self.settings.expiry_grace_hours)
        return sa.select(Application.id).where(
            Application.stored_state.in_(LIVE),
            sa.or_(
                Application.pay_limit < ended.astimezone(JST).date(),
                sa.and_(
                    Application.pay_limit.is_(None),
                    Application.created_at <= ended - timedelta(days=MAX_DAYS),
                ),
            ),
        )

    def _expire_slip(self, ledger: Ledger, application_id: int) -> bool:
        application = ledger.lock_of(application_id)
        ends = application.deadline or application.created_at + timedelta(days=MAX_DAYS)
        grace = timedelta(hours=self.settings.expiry_grace_hours)
        if application.state not in LIVE or now() < ends + grace:
            return False
        if any(each.resolved_at is None for each in ledger.reviews(application.payment)):
            return False
        self._step(ledger, application, Input.SWEEP, ReviewReason.OUT_OF_ORDER)
        return True

    def _run_out(self) -> sa.Select[Any]:
        standing = sa.exists().where(
            Application.payment_id == Payment.id,
            Application.stored_state.not_in((State.DECLINED, State.FAILED, State.EXPIRED)),
        )
        return sa.select(Payment.id).where(
            Payment.expires_at <= now(),
            Payment.expired_at.is_(None),
            Payment.closed_at.is_(None),
            sa.not_(standing),
        )

    def _end_offer(self, ledger: Ledger, payment_id: int) -> bool:
        payment = ledger.lock(payment_id)
        if payment is None or payment.expired_at is not None or payment.closed_at is not None:
            return False
        before = payment.state
        if not payment.is_over or before not in MAY_APPLY:
            return False
        payment.expired_at = now()
        if payment.expiry_told_at is None:
            payment.expiry_told_at = now()
            self._outbox.append(
                ledger,
                EventKind.PAYMENT_EXPIRED,
                payment,
                application=payment.application,
                previous_state=before,
            )
        return True

    def _near(self) -> sa.Select[Any]:
        moment = now().astimezone(JST)
        horizon = moment + timedelta(hours=self.settings.remind_hours)
        return sa.select(Application.id).where(
            Application.stored_state == State.AWAITING_PAYMENT,
            Application.reminded_at.is_(None),
            Application.pay_limit.between(moment.date(), horizon.date() - timedelta(days=1)),
        )

    def _remind(self, ledger: Ledger, application_id: int) -> bool:
        application = ledger.lock_of(application_id)
        deadline = application.deadline
        if application.state is not State.AWAITING_PAYMENT or application.reminded_at is not None:
            return False
        if deadline is None or deadline <= now():
            return False
        if application.payment.closed_at is not None or application.payment.holds_money:
            return False
        application.reminded_at = now()
        self._outbox.append(
            ledger,
            EventKind.DEADLINE_NEAR,
            application.payment,
            application=application,
            previous_state=application.state,
        )
        return True


#: An application stands already: its slip is out, may be out, or was paid.
_UNDER_WAY = frozenset({Obstacle.LIVE, Obstacle.CHECKING, Obstacle.PAID})
_NOT_THERE = "The payment is not in the database yet: call db.session.commit() before this call."
_INPUT_OF = {
    Outcome.accepted: Input.ACCEPTED,
    Outcome.declined: Input.DECLINED,
    Outcome.unknown: Input.UNKNOWN,
}
_DECISIONS = frozenset({Input.RESOLVED_RECEIVED, Input.RESOLVED_CONFIRMED, Input.RESOLVED_CANCELLED})
_TELLS_OF_MONEY = (EventKind.PAYMENT_RECEIVED, EventKind.SALE_CONFIRMED)
_MONEY_QUESTIONS = (ReviewReason.PAID_AFTER_CLOSE, ReviewReason.PAID_TWICE, ReviewReason.PAID_AFTER_CANCEL)
#: A slip in one of these has been replaced already; a further re-issue replaces its successor.
_REPLACED = frozenset(
    {
        State.SUPERSEDED,
        State.RECEIVED_AFTER_CANCEL,
        State.CONFIRMED_AFTER_CANCEL,
        State.CANCELLED_AFTER_CANCEL,
    }
)


@cache
def _known_meanwhile() -> sa.Select[Any]:
    """What waits for one order number, if that is known by now; built once, as most answers ask."""
    waiting, applications = Notification.__table__, Application.__table__
    return (
        sa.select(waiting.c.id)
        .join(applications, applications.c.order_no == waiting.c.order_no)
        .where(waiting.c.order_no == sa.bindparam("order_no"), waiting.c.verdict == Verdict.WAITING)
    )


def _all_known_meanwhile() -> sa.Select[Any]:
    """The same of every order number, by way of the reviews that ask, which are few."""
    asked = sa.select(Review.notification_id).where(Review.reason == ReviewReason.UNKNOWN_ORDER)
    return (
        sa.select(Notification.id)
        .join(Application, Application.order_no == Notification.order_no)
        .where(Notification.verdict == Verdict.WAITING, Notification.id.in_(asked))
    )


@cache
def _by_token() -> sa.Select[Any]:
    """A payment with its applications, in one statement: each of a customer's requests begins with it.

    Built when it is first used, as that completes the mappings of all tables.
    """
    found = sa.select(Payment).where(Payment.token == sa.bindparam("token"))
    return found.options(joinedload(Payment.applications))


def payments_of(app: Flask) -> Payments:
    """Return the verbs of an app. Raises `ConfigurationError` if the extension is not set up on it."""
    try:
        payments = app.extensions[EXTENSION]
    except KeyError:
        raise ConfigurationError(
            "Flask-Zeus-CVS is not set up on this app. Call ZeusCVS(app, db), or zeus.init_app(app, db)."
        ) from None
    assert isinstance(payments, Payments)
    return payments


def leads_home(url: str, hosts: Iterable[str]) -> bool:
    """Tell whether a ``return_url`` is a path of the shop itself, or http(s) on one of ``hosts``."""
    if len(url) > 2000 or not _visible(url) or re.search(r"[\\\s\x00-\x1f\x7f]", url):
        return False
    if url.startswith("/"):
        return not url.startswith("//")
    try:
        parts = urlsplit(url)
        named = parts.netloc.lower()
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(named) and named in hosts


def _id_of(payment: Payment) -> int:
    """Tell a payment's id without a look at the database: that would take a connection of ``db.session``."""
    identity = sa.inspect(payment).identity
    if identity is None:
        raise PendingWorkError(_NOT_THERE)
    return int(identity[0])


def _expire_stale(payment: Payment) -> None:
    """Have the caller's session read a payment anew that we have changed in one of ours."""
    stale = object_session(payment)
    if stale is not None and not stale.is_modified(payment):
        stale.expire(payment)


def _check_amount(amount: int) -> None:
    if isinstance(amount, bool) or not isinstance(amount, int) or not MIN_AMOUNT <= amount <= MAX_AMOUNT:
        raise InvalidAmount(
            f"amount is {amount!r}: ZEUS takes whole yen from {MIN_AMOUNT} to {MAX_AMOUNT}, as an int."
        )


def _visible(text: str) -> bool:
    """Tell whether a text is free of control characters and line ends; a full-width space is visible enough."""
    return not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in text)


def _check_reference(reference: str) -> None:
    if not isinstance(reference, str) or not reference.strip():
        raise InvalidField("reference", Problem.required)
    if len(reference) > 255:
        raise InvalidField("reference", Problem.too_long, "255")
    if not _visible(reference):
        raise InvalidField("reference", Problem.control)
    if reference != reference.strip():  # MariaDB compares without the spaces at the end
        raise InvalidField("reference", Problem.malformed)


def _prefill(customer: Customer) -> Customer:
    """Keep what can be shown in the form; what cannot be stored is left for the customer to type."""
    tidy = normalize(customer)
    kept = [
        each if len(each) <= 100 and _visible(each) else "" for each in (tidy.name, tidy.phone, tidy.email)
    ]
    return Customer(*kept)


def _read_applications(session: Session, payment: Payment) -> None:
    """Read a locked payment's applications as they are now, also where the caller's transaction has an older view."""
    current = (
        sa.select(Application)
        .where(Application.payment_id == payment.id)
        .order_by(Application.id)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    )
    set_committed_value(payment, "applications", list(session.scalars(current)))


def _amount_is_asked(ledger: Ledger, application: Application) -> bool:
    """Tell whether ZEUS's list has shown another amount for a slip, and nobody has decided what that means."""
    return any(
        each.application_id == application.id
        and each.reason is ReviewReason.AMOUNT_AT_ZEUS
        and each.resolved_at is None
        for each in ledger.reviews(application.payment)
    )


def _is_under_review(session: Session, payment_id: int) -> bool:
    """Tell whether a person has yet to decide something about a payment."""
    asked = sa.select(Review.id).where(Review.payment_id == payment_id, Review.resolved_at.is_(None))
    return session.scalar(asked.limit(1)) is not None


def _asks_the_same(review: Review, application: Application, reason: ReviewReason) -> bool:
    """Tell whether a review asks this about an application; a notice with another amount asks it of its payment."""
    if reason is ReviewReason.AMOUNT_AT_ZEUS and review.reason is ReviewReason.WRONG_AMOUNT:
        return True
    return review.application_id == application.id and review.reason is reason


def _find(payment: Payment, application_id: int | None) -> Application | None:
    return next((each for each in payment.applications if each.id == application_id), None)


def _this_or_next(notice: Notice) -> list[str]:
    """Name the statuses that a slip has been told of once this notice is out of date."""
    given = Input(notice.status)
    return [given.value, *(each.value for each, before in TOLD_BEFORE.items() if given in before)]


def _as_row(notice: Notice, source: str) -> dict[str, Any]:
    """What is kept of a notice, of which nobody knows yet what becomes of it."""
    return {
        "raw": notice.raw[:MAX_RAW],
        "source": source,
        "verdict": Verdict.WAITING,
        "status": notice.status.value,
        "order_no": notice.order_no,
        "sendid": notice.sendid,
        "money": notice.money,
        "faults": ",".join(notice.faults),
    }


def _count_repeat(known: Notification) -> None:
    known.times += 1
    known.last_at = now()


def _fill_blanks(application: Application, source: Answer | Notice) -> None:
    """Fill what is blank from an answer or a notice; what is there is never overwritten."""
    application.pay_no1 = application.pay_no1 or source.pay_no1
    application.pay_no2 = application.pay_no2 or source.pay_no2
    application.pay_limit = application.pay_limit or source.pay_limit
    application.error_code = application.error_code or source.error_code
    if isinstance(source, Answer):
        application.pay_url = application.pay_url or source.pay_url


def _spare_attempt(application: Application, given: Input) -> None:
    """What was never sent, and what failed for maintenance, does not count against MAX_ATTEMPTS."""
    info = ERROR_CODES.get(application.error_code)
    if application.reissued:
        return
    if given is Input.NOT_SENT or (info is not None and info.maintenance):
        application.payment.attempts = max(0, application.payment.attempts - 1)


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


def _resolved(review: Review, resolution: Resolution, by: str, note: str) -> None:
    review.resolved_at, review.resolution = now(), resolution
    review.by, review.note = by[:100], note[:2000]
