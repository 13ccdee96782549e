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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, joinedload, object_session
from sqlalchemy.orm.attributes import set_committed_value

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.customer import Customer, checked, normalize
from flask_zeus_cvs.database import Database, afterwards, lock, must_begin_anew, note_lock, quoting_nothing
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
        insert = mysql.insert(table).values(  # type: ignore[arg-type]
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
            if obstacle in _UNDER_WAY:  # two slips of one order could both be paid
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
        customer, offered = self._checked(customer, store)
        refuse_late_patch()
        self._database.refuse_pending_work()
        payment_id = _id_of(payment)
        with span("submit", payment=payment_id, store=offered.value) as seen:
            application_id, request = self._database.write(
                lambda session: self._begin(session, payment_id, customer, offered)
            )
            seen.note(application=application_id)
            if request is not None:
                self._send(request, application_id, seen)
        if request is not None:
            self._outbox.after_commit()
        _expire_stale(payment)
        return self._database.read(
            lambda session: session.get_one(
                Application,
                application_id,
                options=[joinedload(Application.payment).selectinload(Payment.applications)],
            )
        )

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
        self, session: Session, payment_id: int, customer: Customer, store: Store
    ) -> tuple[int, ApplicationRequest | None]:
        """Add a `SUBMITTING` application; without a request if there is one already that stands in its place."""
        if (
            session.get(Payment, payment_id) is None
        ):  # to lock it, MariaDB would wait for the caller who added it
            raise PendingWorkError(_NOT_THERE)
        payment = lock(session, payment_id)
        if payment is None:
            raise PendingWorkError(_NOT_THERE)
        obstacle, leading = self.obstacle(payment), payment.application
        if obstacle in _UNDER_WAY and leading is not None:
            return leading.id, None
        if obstacle is None and leading is not None and _is_under_review(session, payment.id):
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
        payment.applications.append(application)
        payment.attempts += 1
        payment.purged_at = None
        session.flush()
        return application.id, request

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

    def _send(self, request: ApplicationRequest, application_id: int, seen: Span) -> None:
        """Ask ZEUS, and store what came of it."""
        about: dict[str, Fact] = {"application": application_id, "store": request.pay_cvs.value}
        log.debug(
            "Application %d goes to ZEUS", application_id, extra=said(Action.SUBMIT, outcome="sent", **about)
        )
        began = time.monotonic()
        answer = self._ask(request, application_id)
        seconds = round(time.monotonic() - began, 3)
        self._database.write(lambda session: self._settle(session, application_id, answer))
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

    def _settle(self, session: Session, application_id: int, answer: Answer | Input) -> None:
        """Store what came of the POST: an answer fills blanks and never lowers a state that a notice has set."""
        application = _locked_application(session, application_id)
        before = application.order_no
        given = answer if isinstance(answer, Input) else _INPUT_OF[answer.outcome]
        if isinstance(answer, Answer) and given is not Input.UNKNOWN:
            self._fill_from_answer(session, application, answer)
        self._step(session, application, given, ReviewReason.ANSWER_CONTRADICTS)
        if application.order_no != before:
            self._take_waiting(session, application)

    def _fill_from_answer(self, session: Session, application: Application, answer: Answer) -> None:
        if answer.order_no and not self._may_bind(session, application, answer.order_no):
            self._review(session, ReviewReason.ORDER_NO_DIFFERS, application.payment, application)
            return
        application.order_no = application.order_no or answer.order_no or None
        application.parameter = application.parameter or answer.parameter
        _fill_blanks(application, answer)

    def _may_bind(self, session: Session, application: Application, order_no: str) -> bool:
        if application.order_no is not None:
            return application.order_no == order_no
        owner = session.scalar(sa.select(Application.id).where(Application.order_no == order_no))
        return owner is None or owner == application.id

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
        receipt = self._database.write(lambda session: self._take(session, notice, source), repeatable=True)
        if not receipt.repeat:
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
        receipts = self._database.write(
            lambda session: [self._take_missed(session, each, source) for each in notices], repeatable=True
        )
        for notice, receipt in zip(notices, receipts, strict=True):
            if receipt is None:
                continue
            happened("receive", **_say_received(notice, receipt, source))
            if receipt.verdict is Verdict.WAITING:
                self._look_again(notice.order_no)
        return receipts

    def _take_missed(self, session: Session, notice: Notice, source: str) -> Receipt | None:
        payment_id = self._payment_of(session, notice)
        payment = lock(session, payment_id) if payment_id is not None else None
        if payment is not None and self._has_passed(session, payment, notice):
            return None
        return self._take(session, notice, source)

    def _has_passed(self, session: Session, payment: Payment, notice: Notice) -> bool:
        """Tell whether a notice of a locked payment is here already, or one that follows it."""
        given = Input(notice.status)
        past = [given, *(each for each, before in TOLD_BEFORE.items() if given in before)]
        known = sa.select(Notification.id).where(
            Notification.payment_id == payment.id,
            Notification.order_no == notice.order_no,
            Notification.status.in_(past),
            sa.or_(Notification.money == payment.amount, Notification.money.is_(None)),
        )
        return session.scalar(known.limit(1)) is not None

    def keep_unreadable(self, error: UnreadableNotice, source: str = "callback") -> None:
        """Keep the bytes of a notice that cannot be acted on, with a review; commits. A repeat is only counted.

        Raises `DatabaseAway` as `receive`.
        """
        raw = error.raw[:MAX_RAW]
        identity = hashlib.sha256(b"unreadable:" + raw).hexdigest()

        def keep(session: Session) -> Receipt:
            known = self._repeated(session, identity)
            if known is not None:
                return _receipt(known, repeat=True)
            row = Notification(identity=identity, raw=raw, source=source, verdict=Verdict.UNREADABLE)
            session.add(row)
            self._review(session, ReviewReason.UNREADABLE, None, None, row)
            return _receipt(row)

        kept = self._database.bounded(lambda: self._database.write(keep, repeatable=True))
        facts = {"verdict": kept.verdict.value, "repeat": kept.repeat}
        happened("receive", **facts)
        log.info(
            "Notice %d: unreadable%s",
            kept.notification_id,
            ", a repeat" if kept.repeat else "",
            extra=said(Action.RECEIVE, notification=kept.notification_id, source=source, **facts),
        )
        self._outbox.after_commit()

    def _repeated(self, session: Session, identity: str) -> Notification | None:
        """Count a repeat of a notice that is kept already."""
        known = session.scalar(
            sa.select(Notification).where(Notification.identity == identity).with_for_update()
        )
        if known is not None:
            known.times += 1
            known.last_at = now()
        return known

    def _take(self, session: Session, notice: Notice, source: str) -> Receipt:
        if notice.clientip and notice.clientip != self.settings.client_ip:
            identity = hashlib.sha256(f"{notice.clientip}:{notice.identity}".encode()).hexdigest()
            return self._keep(session, notice, identity, source, ReviewReason.FOREIGN_MERCHANT)
        payment_id = self._payment_of(session, notice)
        if payment_id is None:
            return self._keep(session, notice, notice.identity, source, ReviewReason.UNKNOWN_ORDER)
        payment = lock(session, payment_id)
        if payment is None:
            raise LookupError("the payment of an application is gone")
        known = self._repeated(session, notice.identity)
        if known is not None and known.verdict is not Verdict.WAITING:
            self._look_at_repeat(session, payment, notice, known)
            return _receipt(known, repeat=True)
        if known is not None:
            return self._apply_waiting(session, payment, notice, known)
        return self._apply(session, payment, notice, self._new_row(session, notice, notice.identity, source))

    def _payment_of(self, session: Session, notice: Notice) -> int | None:
        """Find whose notice it is: by order_no, else by sendid."""
        if notice.order_no:
            found = session.scalar(
                sa.select(Application.payment_id).where(Application.order_no == notice.order_no)
            )
            if found is not None:
                return found
        if not notice.sendid:
            return None
        return session.scalar(
            sa.select(Application.payment_id).where(Application.sendid == notice.sendid).limit(1)
        )

    def _new_row(self, session: Session, notice: Notice, identity: str, source: str) -> Notification:
        row = Notification(
            identity=identity,
            raw=notice.raw[:MAX_RAW],
            source=source,
            verdict=Verdict.WAITING,
            status=notice.status.value,
            order_no=notice.order_no,
            sendid=notice.sendid,
            money=notice.money,
            faults=",".join(notice.faults),
        )
        session.add(row)
        session.flush()
        return row

    def _keep(
        self, session: Session, notice: Notice, identity: str, source: str, reason: ReviewReason
    ) -> Receipt:
        """Keep a notice that belongs to no payment of ours, with a review; a repeat is only counted."""
        known = self._repeated(session, identity)
        if known is not None:
            return _receipt(known, repeat=True)
        row = self._new_row(session, notice, identity, source)
        if reason is not ReviewReason.UNKNOWN_ORDER:
            row.verdict = Verdict.REVIEW
        self._review(session, reason, None, None, row)
        return _receipt(row)

    def _look_at_repeat(
        self, session: Session, payment: Payment, notice: Notice, known: Notification
    ) -> None:
        """Raise one review if money is told of again after it was taken back, or taken back again after a person's
        decision that it is there; any other repeat means nothing."""
        application = session.get(Application, known.application_id) if known.application_id else None
        if application is None:
            return
        given, state = Input(notice.status), application.state
        if given in MONEY_NOTICES and state in (State.CANCELLED, State.CANCELLED_AFTER_CANCEL):
            reason = ReviewReason.REPEATED_AFTER_CANCEL
        elif given in REVERSALS and state in HOLDS_MONEY and known.verdict is Verdict.APPLIED:
            reason = ReviewReason.CANCELLED_AGAIN
        else:
            return
        asked = sa.select(Review.id).where(Review.notification_id == known.id, Review.reason == reason)
        if session.scalar(asked.limit(1)) is None:
            self._review(session, reason, payment, application, known)

    def _apply(self, session: Session, payment: Payment, notice: Notice, row: Notification) -> Receipt:
        row.payment_id = payment.id
        payment.purged_at = None  # it names the customer again
        if notice.money is not None and notice.money != payment.amount:
            row.verdict = Verdict.REVIEW
            self._review(session, ReviewReason.WRONG_AMOUNT, payment, None, row)
            return _receipt(row)
        known = {each.order_no for each in payment.applications}
        application = self._application_for(session, payment, notice, row)
        bound = application.order_no not in known
        row.application_id = application.id
        _fill_blanks(application, notice)
        before = application.state
        reviewed = self._step(session, application, Input(notice.status), ReviewReason.OUT_OF_ORDER, row)
        row.verdict = (
            Verdict.REVIEW
            if reviewed
            else Verdict.APPLIED
            if application.state is not before
            else Verdict.NO_EFFECT
        )
        if bound:
            self._take_waiting(session, application)
        return _receipt(row)

    def _application_for(
        self, session: Session, payment: Payment, notice: Notice, row: Notification
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
        reissued = self._reissue(session, payment, notice, family[-1])
        if not old_slip:
            replaced = [each for each in family if each.state not in _REPLACED]
            if replaced:
                self._step(session, replaced[-1], Input.SUPERSEDED, ReviewReason.REISSUED_WITH_MONEY, row)
        return reissued

    def _reissue(self, session: Session, payment: Payment, notice: Notice, model: Application) -> Application:
        """Add the application that someone made on ZEUS's screen; it does not count as an attempt."""
        moment = now()
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
        payment.applications.append(application)
        session.flush()
        return application

    def _look_again(self, order_no: str) -> None:
        """Take what waits for an order number, if an answer has stored it meanwhile; never raises.

        Whichever of the two commits last sees the other; what this misses, the sweep finds.
        """
        if not order_no:
            return
        try:
            self._each(self._known_meanwhile(order_no), self._take_one_waiting)
        except Exception as error:
            kind = type(error).__name__
            log.error("A waiting notice was left to the sweep: %s", kind, extra=said(Action.WAITING))

    def _known_meanwhile(self, order_no: str | None = None) -> sa.Select[Any]:
        """Find what waits although its order number is known; without one by way of its reviews, which are few."""
        found = (
            sa.select(Notification.id)
            .join(Application, Application.order_no == Notification.order_no)
            .where(Notification.verdict == Verdict.WAITING)
        )
        if order_no is not None:
            return found.where(Notification.order_no == order_no)
        asked = sa.select(Review.notification_id).where(Review.reason == ReviewReason.UNKNOWN_ORDER)
        return found.where(Notification.id.in_(asked))

    def _take_one_waiting(self, session: Session, notification_id: int) -> bool:
        row = session.get_one(Notification, notification_id)
        application_id = session.scalar(sa.select(Application.id).where(Application.order_no == row.order_no))
        if application_id is None:
            return False
        self._take_waiting(session, _locked_application(session, application_id))
        return True

    def _take_waiting(self, session: Session, application: Application) -> None:
        """Take the notices that came before anybody knew the application's order number; its payment is locked."""
        if application.order_no is None:
            return
        session.flush()
        waiting = session.scalars(
            sa.select(Notification)
            .where(Notification.order_no == application.order_no, Notification.verdict == Verdict.WAITING)
            .order_by(Notification.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        ).all()
        for row in waiting:
            notice = Notice.parse(row.raw, self.settings.callback_encoding)
            self._apply_waiting(session, application.payment, notice, row)

    def _apply_waiting(
        self, session: Session, payment: Payment, notice: Notice, row: Notification
    ) -> Receipt:
        """Apply a notice whose order number has become known, and close the review that asked about it."""
        receipt = self._apply(session, payment, notice, row)
        asked = sa.select(Review).where(
            Review.notification_id == row.id,
            Review.reason == ReviewReason.UNKNOWN_ORDER,
            Review.resolved_at.is_(None),
        )
        for review in session.scalars(asked):
            _resolved(review, Resolution.IGNORED, _MATCHED, "the order number became known")
        return receipt

    # --- what every move has in common -----------------------------------------------------------

    def _step(
        self,
        session: Session,
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
            reasons += self._money_reviews(session, payment, application)
        ready = (after is not before or decided) and self._may_fulfill(session, application, decided=decided)
        called_off = payment.closed_at is not None and payment.fulfilled_at is None
        if ready and called_off and not (decided or reasons or self._questioned(session, application)):
            reasons.append(ReviewReason.PAID_AFTER_CLOSE)
        kinds: list[EventKind] = [
            kind for kind in events(before, given, after) if kind is not EventKind.PAYMENT_EXPIRED
        ]
        if EventKind.APPLICATION_ACCEPTED in kinds:
            payment.expiry_told_at = None
            self._outbox.withdraw(session, payment)
        if self._expiry_is_news(payment):
            payment.expiry_told_at = now()
            kinds.append(EventKind.PAYMENT_EXPIRED)
        if ready and not reasons:
            if payment.fulfilled_at is None:
                payment.fulfilled_at = now()
                kinds.append(EventKind.FULFILLMENT_READY)
            else:
                self._outbox.revive(session, payment)
        for kind in kinds:
            self._outbox.append(
                session,
                kind,
                payment,
                application=application,
                notification=notification,
                previous_state=before,
            )
        for each in reasons:
            self._review(session, each, payment, application, notification)
        return bool(reasons)

    def _expiry_is_news(self, payment: Payment) -> bool:
        """Tell whether a slip has expired, nothing else is left of the payment, and subscribers do not know."""
        if payment.expiry_told_at is not None or payment.closed_at is not None or not payment.is_over:
            return False
        return any(each.state is State.EXPIRED for each in payment.applications)

    def _money_reviews(
        self, session: Session, payment: Payment, application: Application
    ) -> list[ReviewReason]:
        """Name what is odd about money that has just come: each is a question to a person."""
        reasons = []
        if payment.closed_at is not None:
            reasons.append(ReviewReason.PAID_AFTER_CLOSE)
        if any(each.state in HOLDS_MONEY for each in payment.applications if each is not application):
            reasons.append(ReviewReason.PAID_TWICE)
        taken_back = sa.select(Event.id).where(
            Event.payment_id == payment.id, Event.kind == EventKind.PAYMENT_CANCELLED
        )
        if session.scalar(taken_back.limit(1)) is not None:
            reasons.append(ReviewReason.PAID_AFTER_CANCEL)
        return reasons

    def _may_fulfill(self, session: Session, application: Application, *, decided: bool) -> bool:
        """Tell whether goods may ship now: no test, and no question about this money that a person has left open
        or answered with no."""
        if application.state not in paid_states(self.settings):
            return False
        if application.test and not self.settings.test_fulfills:
            return False
        if decided:
            return True
        unanswered = sa.or_(
            Review.resolution.is_(None), Review.resolution.in_((Resolution.IGNORED, Resolution.CANCELLED))
        )
        return not (
            self._questioned(session, application, unanswered) or _amount_is_asked(session, application)
        )

    def _questioned(self, session: Session, application: Application, *how: sa.ColumnElement[bool]) -> bool:
        """Tell whether a person was asked about the money of this application."""
        asked = sa.select(Review.id).where(
            Review.payment_id == application.payment_id,  # which has the index
            Review.application_id == application.id,
            Review.reason.in_(_MONEY_QUESTIONS),
            *how,
        )
        return session.scalar(asked.limit(1)) is not None

    def open_review(self, application_id: int, reason: ReviewReason) -> bool:
        """Have a person look at an application, for a reason that no notice gives; commits.

        Returns whether they are asked now: the same is never asked twice, whatever was decided. `deliver_here` tells
        subscribers.
        """
        self._database.refuse_pending_work()

        def ask(session: Session) -> bool:
            application = _locked_application(session, application_id)
            if session.scalar(_same_question(application, reason).limit(1)) is not None:
                return False
            self._review(session, reason, application.payment, application)
            return True

        return self._database.write(ask)

    def _review(
        self,
        session: Session,
        reason: ReviewReason,
        payment: Payment | None,
        application: Application | None,
        notification: Notification | None = None,
    ) -> Review:
        session.flush()
        review = Review(
            reason=reason,
            payment_id=payment.id if payment else None,
            application_id=application.id if application else None,
            notification_id=notification.id if notification else None,
        )
        session.add(review)
        self._outbox.append(
            session,
            EventKind.REVIEW_REQUIRED,
            payment,
            application=application,
            notification=notification,
            previous_state=application.state if application else None,
        )
        about = f" (payment {payment.id})" if payment else ""
        extra = said(Action.REVIEW, reason=reason.value, payment=payment.id if payment else None)
        afterwards(session, lambda: log.error("A person must look: %s%s", reason.value, about, extra=extra))
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
        review = self._database.write(
            lambda session: self._resolve(session, review_id, resolution, by, note, payment_id)
        )
        self._outbox.after_commit()
        return review

    def _resolve(
        self,
        session: Session,
        review_id: int,
        resolution: Resolution,
        by: str,
        note: str,
        payment_id: int | None,
    ) -> Review:
        review = session.get(Review, review_id)
        if review is None:
            raise UnknownReview(review_id)
        locked = lock(session, review.payment_id or payment_id or 0)
        session.refresh(review, with_for_update=True)
        if review.resolved_at is not None:
            return review
        if locked is not None:
            review.payment_id = locked.id
        extra = said(Action.RESOLVE, review=review.id, payment=review.payment_id, resolution=resolution.value)
        say = partial(log.info, "Review %d is resolved: %s", review.id, resolution.value, extra=extra)
        afterwards(session, say)
        if resolution is not Resolution.IGNORED:
            application = self._subject(session, review, locked)
            review.application_id = application.id
            _resolved(review, resolution, by, note)
            self._step(
                session, application, Input(f"resolved_{resolution}"), review.reason, review.notification
            )
            self._take_waiting(session, application)
        else:
            _resolved(review, resolution, by, note)
        return review

    def _subject(self, session: Session, review: Review, payment: Payment | None) -> Application:
        """Find the application that a decision is about; a notice nobody knew gets one under its payment."""
        if payment is None:
            raise NotResolvable("the notice belongs to no payment: say which payment it is about")
        notification = review.notification
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
        adopted = leading if leading.order_no is None else self._reissue(session, payment, notice, leading)
        adopted.order_no = notice.order_no
        notification.payment_id, notification.application_id = payment.id, adopted.id
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
        tried = self._database.write(lambda session: self._reset_attempts(session, payment_id))
        _expire_stale(payment)
        log.info(
            "Attempts of payment %d: 0", payment_id, extra=said(Action.RESET_ATTEMPTS, payment=payment_id)
        )
        return tried

    def _reset_attempts(self, session: Session, payment_id: int) -> int:
        locked = lock(session, payment_id)
        if locked is None:
            raise PendingWorkError(_NOT_THERE)
        tried, locked.attempts = locked.attempts, 0
        return tried

    # --- expire ----------------------------------------------------------------------------------

    def count_overdue(self) -> int:
        """Count what `expire` would look at now."""
        finds = (self._known_meanwhile(), self._unpaid(), self._run_out(), self._near())
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
        self._each(self._known_meanwhile(), self._take_one_waiting, step)
        sweep = Sweep(
            expired=self._each(self._unpaid(), self._expire_slip, step),
            ended=self._each(self._run_out(), self._end_offer, step),
            reminded=self._each(self._near(), self._remind, step),
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

        def tell(session: Session) -> bool:
            news = remember_once(session, SILENCE, silence)
            if news:
                self._outbox.append(session, EventKind.SILENCE_SUSPECTED, None)
                afterwards(session, lambda: log.error(_SILENCE, silence, extra=said(Action.SILENCE)))
            return news

        news = self._database.write(tell)
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
        found: sa.Select[Any],
        act: Callable[[Session, int], bool],
        step: Callable[[], object] = lambda: None,
    ) -> int:
        """Act on every row found, each in a transaction of its own; returns how many it did act on.

        Their ids are read at once: told to read the first 500 by id, PostgreSQL would walk through all ids instead of
        an index of what may be overdue.
        """
        acted = 0
        for each in self._database.read(
            lambda session: session.scalars(found.order_by(*found.selected_columns)).all()
        ):
            acted += self._database.write(lambda session, each=each: act(session, each))  # type: ignore[misc]
            step()
        return acted

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

    def _expire_slip(self, session: Session, application_id: int) -> bool:
        application = _locked_application(session, application_id)
        ends = application.deadline or application.created_at + timedelta(days=MAX_DAYS)
        grace = timedelta(hours=self.settings.expiry_grace_hours)
        if application.state not in LIVE or now() < ends + grace:
            return False
        if _is_under_review(session, application.payment_id):
            return False
        self._step(session, application, Input.SWEEP, ReviewReason.OUT_OF_ORDER)
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

    def _end_offer(self, session: Session, payment_id: int) -> bool:
        payment = lock(session, payment_id)
        if payment is None or payment.expired_at is not None or payment.closed_at is not None:
            return False
        before = payment.state
        if not payment.is_over or before not in MAY_APPLY:
            return False
        payment.expired_at = now()
        if payment.expiry_told_at is None:
            payment.expiry_told_at = now()
            self._outbox.append(
                session,
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

    def _remind(self, session: Session, application_id: int) -> bool:
        application = _locked_application(session, application_id)
        deadline = application.deadline
        if application.state is not State.AWAITING_PAYMENT or application.reminded_at is not None:
            return False
        if deadline is None or deadline <= now():
            return False
        if application.payment.closed_at is not None or application.payment.holds_money:
            return False
        application.reminded_at = now()
        self._outbox.append(
            session,
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


def _locked_application(session: Session, application_id: int) -> Application:
    payment_id = session.scalar(sa.select(Application.payment_id).where(Application.id == application_id))
    lock(session, payment_id or 0)
    return session.get_one(Application, application_id, populate_existing=True)


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


def _amount_is_asked(session: Session, application: Application) -> bool:
    """Tell whether ZEUS's list has shown another amount for a slip, and nobody has decided what that means."""
    asked = sa.select(Review.id).where(
        Review.payment_id == application.payment_id,  # which has the index
        Review.application_id == application.id,
        Review.reason == ReviewReason.AMOUNT_AT_ZEUS,
        Review.resolved_at.is_(None),
    )
    return session.scalar(asked.limit(1)) is not None


def _is_under_review(session: Session, payment_id: int) -> bool:
    """Tell whether a person has yet to decide something about a payment."""
    asked = sa.select(Review.id).where(Review.payment_id == payment_id, Review.resolved_at.is_(None))
    return session.scalar(asked.limit(1)) is not None


def _same_question(application: Application, reason: ReviewReason) -> sa.Select[Any]:
    """Find the review that asks the same about an application; a notice with another amount asks it of its payment."""
    same = sa.and_(Review.application_id == application.id, Review.reason == reason)
    if reason is ReviewReason.AMOUNT_AT_ZEUS:
        same = sa.or_(same, Review.reason == ReviewReason.WRONG_AMOUNT)
    return sa.select(Review.id).where(Review.payment_id == application.payment_id, same)


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


def _receipt(row: Notification, *, repeat: bool = False) -> Receipt:
    return Receipt(row.id, row.verdict, repeat, row.payment_id, row.application_id)


def _resolved(review: Review, resolution: Resolution, by: str, note: str) -> None:
    review.resolved_at, review.resolution = now(), resolution
    review.by, review.note = by[:100], note[:2000]
