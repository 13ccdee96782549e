"""How a payment stands for its customer: what the result page shows, and whether it has changed since."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.lifecycle import HOLDS_MONEY, LIVE, State
from flask_zeus_cvs.models import Application, Payment
from flask_zeus_cvs.payments import Obstacle, Payments
from flask_zeus_cvs.web import wording

#: Where news may come without the customer's doing, and no Refresh header looks for it: the page's script does.
_MAY_CHANGE = frozenset(
    {
        State.AWAITING_PAYMENT,
        State.EXPIRED,
        State.RECEIVED,
        State.CLOSED,
        State.SUPERSEDED,
        State.RECEIVED_AFTER_CANCEL,
        State.CONFIRMED_AFTER_CANCEL,
        State.CANCELLED_AFTER_CANCEL,
    }
)
#: Where a customer has nothing left to do with us, unless they may apply again.
_AT_AN_END = frozenset(
    {State.OPEN, State.EXPIRED, State.RECEIVED, State.CONFIRMED, State.CANCELLED, State.CLOSED}
)


@dataclass(frozen=True)
class Progress:
    """One look at a payment.

    A customer is told that the shop is looking into a payment, and never why: a review's reason is a guess about the
    shop's books. Meanwhile nothing leads to a second payment.
    """

    payment: Payment
    state: State
    obstacle: Obstacle | None
    under_review: bool
    paid_at: datetime | None
    at: datetime

    @classmethod
    def of(cls, payments: Payments, payment: Payment) -> Progress:
        standing = payments.standing(payment)
        obstacle = payments.obstacle(payment)
        return cls(payment, shown_state(payment), obstacle, standing.under_review, standing.paid_at, now())

    @property
    def application(self) -> Application | None:
        return self.payment.application

    @property
    def home_next(self) -> bool:
        """Whether there is nothing left to do here, so that the way back to the shop is the next thing."""
        return self.overdue or (self.obstacle is not None and self.state in _AT_AN_END)

    @property
    def awaited(self) -> bool:
        """Whether a slip is out that can be paid now."""
        return self.state is State.AWAITING_PAYMENT and not self.overdue

    @property
    def overdue(self) -> bool:
        """Whether the slip's last day is over, though our sweep waits for its grace."""
        deadline = self.application.deadline if self.application else None
        return self.state is State.AWAITING_PAYMENT and deadline is not None and deadline <= self.at

    @property
    def other_slip(self) -> bool:
        """Whether an application beside the shown one has a slip that could be paid, or may yet turn out to have one."""
        return any(each.state in LIVE for each in self.payment.applications if each is not self.application)

    @property
    def days_left(self) -> str:
        limit = self.application.pay_limit if self.application else None
        return wording.days_left(limit, self.at.astimezone(JST).date()) if limit and self.awaited else ""

    @property
    def may_change(self) -> bool:
        return self.under_review or self.state in _MAY_CHANGE

    @property
    def version(self) -> str:
        """Return what differs as soon as the page would: a keyed hash, from which nothing can be read."""
        slip = self.application
        facts = [
            self.state,
            self.obstacle,
            self.under_review,
            self.overdue,
            self.other_slip,
            self.at.astimezone(JST).date() if self.awaited else None,
            slip and (slip.id, slip.store, slip.pay_no1, slip.pay_no2, slip.pay_limit, slip.pay_url),
        ]
        key = self.payment.token.encode()[: hashlib.blake2s.MAX_KEY_SIZE]
        return hashlib.blake2s(repr(facts).encode(), key=key, digest_size=8).hexdigest()


def shown_state(payment: Payment) -> State:
    """The payment's state; a customer who has paid is told so even where the shop has closed the payment."""
    application = payment.application
    if application is not None and application.state in HOLDS_MONEY:
        return application.state
    return payment.state
