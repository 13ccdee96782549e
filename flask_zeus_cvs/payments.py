"""The verbs: create, submit, receive, expire, resolve and close.

Every verb locks the payment first. `create` and `close` join the caller's ``db.session``, and the caller commits;
the others work in short transactions of their own, commit, and then have the outbox deliver.
"""

from __future__ import annotations

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
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, joinedload, object_session
from sqlalchemy.orm.attributes import set_committed_value

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.customer import Customer, checked, normalize
from flask_zeus_cvs.database import Database, lock, must_begin_anew, note_lock, quoting_nothing
from flask_zeus_cvs.deadlines import Deadlines, Sweep
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
    HOLDS_MONEY,
    LIVE,
    MAY_APPLY,
    EventKind,
    Input,
    State,
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
from flask_zeus_cvs.moves import Moves, close_review, fill_blanks
from flask_zeus_cvs.outbox import Outbox, Parked, Summary
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.protocol.fields import MAX_AMOUNT, MIN_AMOUNT, Problem, check
from flask_zeus_cvs.protocol.messages import Answer, ApplicationRequest, Notice, Outcome
from flask_zeus_cvs.receiving import Receipt, Receiving
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.telemetry import Action, Fact, Span, said, span

log = logging.getLogger(__name__)

EXTENSION = "zeus_cvs"
#: Seconds beyond the gateway's own total after which a `SUBMITTING` counts as `UNKNOWN`.
ANSWER_SLACK = 60
#: The memos of the last sweep, of the last delivering in the foreground, and of the last silence that was told of.
SWEPT, DELIVERED, SILENCE = "sweep", "deliver", "silence"
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
        self._moves = Moves(settings, outbox)
        self._receiving = Receiving(database, settings, outbox, self._moves)
        self._deadlines = Deadlines(database, settings, outbox, self._moves, self._receiving)

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
            self._receiving.look_again(answer.order_no)
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
        self._moves.step(ledger, application, given, ReviewReason.ANSWER_CONTRADICTS)
        if application.order_no != before:
            self._receiving.take_waiting(ledger, application)
        return application

    def _fill_from_answer(self, ledger: Ledger, application: Application, answer: Answer) -> None:
        if answer.order_no and not self._may_bind(ledger, application, answer.order_no):
            self._moves.review(ledger, ReviewReason.ORDER_NO_DIFFERS, application.payment, application)
            return
        application.order_no = application.order_no or answer.order_no or None
        application.parameter = application.parameter or answer.parameter
        fill_blanks(application, answer)

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
        return self._receiving.receive(raw, source)

    def catch_up(self, missed: Iterable[bytes], source: str) -> list[Receipt | None]:
        """Take the notices of one payment that never came, in their natural order, as `receive` would; commits once.

        Returns a receipt for each; None for one that is here already, or is overtaken by one that follows it. Nobody
        is told in between, so that goods stay whose payment was taken back later: `deliver_here` tells. Raises
        `UnreadableNotice` with nothing stored, and `PendingWorkError` as `submit`.
        """
        return self._receiving.catch_up(missed, source)

    def keep_unreadable(self, error: UnreadableNotice, source: str = "callback") -> None:
        """Keep the bytes of a notice that cannot be acted on, with a review; commits. A repeat is only counted.

        Raises `DatabaseAway` as `receive`.
        """
        self._receiving.keep_unreadable(error, source)

    # --- what every move has in common -----------------------------------------------------------

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
            self._moves.review(ledger, reason, application.payment, application)
            return True

        return write(self._database, ask)

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
            close_review(review, resolution, by, note)
            return
        told = ledger.get(Notification, review.notification_id) if review.notification_id else None
        application = self._subject(ledger, review, payment, told)
        ledger.link(review, application_id=application)
        close_review(review, resolution, by, note)
        self._moves.step(ledger, application, Input(f"resolved_{resolution}"), review.reason, told)
        self._receiving.take_waiting(ledger, application)

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
        adopted = (
            leading if leading.order_no is None else self._receiving.reissue(ledger, payment, notice, leading)
        )
        adopted.order_no = notice.order_no
        ledger.link(notification, payment_id=payment, application_id=adopted)
        payment.purged_at = None
        notification.verdict = Verdict.REVIEW
        fill_blanks(adopted, notice)
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
        return self._deadlines.count_overdue()

    def expire(self, step: Callable[[], object] = lambda: None) -> Sweep:
        """Expire what nobody paid and end offers that ran out; remind of deadlines that are near.

        A slip expires at the deadline's 24:00 JST plus EXPIRY_GRACE_HOURS (59 days after creation if no
        deadline is known), never with money or an open review on its payment. Each in a transaction of its own,
        and ``step`` is called after each. Subscribers are told in this thread.
        """
        sweep = self._deadlines.expire(step)
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


#: An application stands already: its slip is out, may be out, or was paid.
_UNDER_WAY = frozenset({Obstacle.LIVE, Obstacle.CHECKING, Obstacle.PAID})
_NOT_THERE = "The payment is not in the database yet: call db.session.commit() before this call."
_INPUT_OF = {
    Outcome.accepted: Input.ACCEPTED,
    Outcome.declined: Input.DECLINED,
    Outcome.unknown: Input.UNKNOWN,
}
_TELLS_OF_MONEY = (EventKind.PAYMENT_RECEIVED, EventKind.SALE_CONFIRMED)


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


def _is_under_review(session: Session, payment_id: int) -> bool:
    """Tell whether a person has yet to decide something about a payment."""
    asked = sa.select(Review.id).where(Review.payment_id == payment_id, Review.resolved_at.is_(None))
    return session.scalar(asked.limit(1)) is not None


def _asks_the_same(review: Review, application: Application, reason: ReviewReason) -> bool:
    """Tell whether a review asks this about an application; a notice with another amount asks it of its payment."""
    if reason is ReviewReason.AMOUNT_AT_ZEUS and review.reason is ReviewReason.WRONG_AMOUNT:
        return True
    return review.application_id == application.id and review.reason is reason
