"""What every move of an application has in common: the table's step, what it asks of a person, whom it tells.

Verbs call it under the lock of the payment, with the ledger of their transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.ledger import Ledger
from flask_zeus_cvs.lifecycle import HOLDS_MONEY, TABLE, EventKind, Input, State, events
from flask_zeus_cvs.models import Application, Notification, Payment, Resolution, Review, ReviewReason
from flask_zeus_cvs.outbox import Outbox, paid_states
from flask_zeus_cvs.protocol.codes import ERROR_CODES
from flask_zeus_cvs.protocol.messages import Answer, Notice
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.telemetry import Action, said

log = logging.getLogger(__name__)

_DECISIONS = frozenset({Input.RESOLVED_RECEIVED, Input.RESOLVED_CONFIRMED, Input.RESOLVED_CANCELLED})
_MONEY_QUESTIONS = (ReviewReason.PAID_AFTER_CLOSE, ReviewReason.PAID_TWICE, ReviewReason.PAID_AFTER_CANCEL)


class Moves:
    """The moves of one app's applications."""

    def __init__(self, settings: Settings, outbox: Outbox) -> None:
        self._settings = settings
        self._outbox = outbox

    def step(
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
            self.review(ledger, each, payment, application, notification)
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
        if application.state not in paid_states(self._settings):
            return False
        if application.test and not self._settings.test_fulfills:
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

    def review(
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


def _amount_is_asked(ledger: Ledger, application: Application) -> bool:
    """Tell whether ZEUS's list has shown another amount for a slip, and nobody has decided what that means."""
    return any(
        each.application_id == application.id
        and each.reason is ReviewReason.AMOUNT_AT_ZEUS
        and each.resolved_at is None
        for each in ledger.reviews(application.payment)
    )


def _spare_attempt(application: Application, given: Input) -> None:
    """What was never sent, and what failed for maintenance, does not count against MAX_ATTEMPTS."""
    info = ERROR_CODES.get(application.error_code)
    if application.reissued:
        return
    if given is Input.NOT_SENT or (info is not None and info.maintenance):
        application.payment.attempts = max(0, application.payment.attempts - 1)


def fill_blanks(application: Application, source: Answer | Notice) -> None:
    """Fill what is blank from an answer or a notice; what is there is never overwritten."""
    application.pay_no1 = application.pay_no1 or source.pay_no1
    application.pay_no2 = application.pay_no2 or source.pay_no2
    application.pay_limit = application.pay_limit or source.pay_limit
    application.error_code = application.error_code or source.error_code
    if isinstance(source, Answer):
        application.pay_url = application.pay_url or source.pay_url


def close_review(review: Review, resolution: Resolution, by: str, note: str) -> None:
    """Note what a person, or what came to be known, has decided."""
    review.resolved_at, review.resolution = now(), resolution
    review.by, review.note = by[:100], note[:2000]
