"""What time does: slips that nobody paid expire, offers end, and customers are reminded."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.database import Database
from flask_zeus_cvs.ledger import Ledger, write_each
from flask_zeus_cvs.lifecycle import LIVE, MAY_APPLY, EventKind, Input, State
from flask_zeus_cvs.models import Application, Payment, ReviewReason
from flask_zeus_cvs.moves import Moves
from flask_zeus_cvs.outbox import Outbox
from flask_zeus_cvs.protocol.fields import MAX_DAYS
from flask_zeus_cvs.receiving import Receiving, all_known_meanwhile
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.telemetry import Action, said

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """What one sweep did."""

    expired: int = 0
    ended: int = 0
    reminded: int = 0


class Deadlines:
    """What time does to the payments of one app."""

    def __init__(
        self, database: Database, settings: Settings, outbox: Outbox, moves: Moves, receiving: Receiving
    ) -> None:
        self._database = database
        self._settings = settings
        self._outbox = outbox
        self._moves = moves
        self._receiving = receiving

    def count_overdue(self) -> int:
        """See `Payments.count_overdue`."""
        finds = (all_known_meanwhile(), self._unpaid(), self._run_out(), self._near())
        counts = [sa.select(sa.func.count()).select_from(each.subquery()) for each in finds]
        return self._database.read(lambda session: sum(session.scalar(each) or 0 for each in counts))

    def expire(self, step: Callable[[], object] = lambda: None) -> Sweep:
        """See `Payments.expire`."""
        self._database.refuse_pending_work()
        began = time.monotonic()
        write_each(self._database, self._found(all_known_meanwhile()), self._receiving.take_one_waiting, step)
        sweep = Sweep(
            expired=write_each(self._database, self._found(self._unpaid()), self._expire_slip, step),
            ended=write_each(self._database, self._found(self._run_out()), self._end_offer, step),
            reminded=write_each(self._database, self._found(self._near()), self._remind, step),
        )
        seconds = round(time.monotonic() - began, 3)
        log.info(
            "Swept: slips expired %d, offers ended %d, reminders %d",
            *(sweep.expired, sweep.ended, sweep.reminded),
            extra=said(Action.EXPIRE, seconds=seconds, **dataclasses.asdict(sweep)),
        )
        self._outbox.deliver_here()
        return sweep

    def _unpaid(self) -> sa.Select[Any]:
        ended = now() - timedelta(hours=self._settings.expiry_grace_hours)
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
        grace = timedelta(hours=self._settings.expiry_grace_hours)
        if application.state not in LIVE or now() < ends + grace:
            return False
        if any(each.resolved_at is None for each in ledger.reviews(application.payment)):
            return False
        self._moves.step(ledger, application, Input.SWEEP, ReviewReason.OUT_OF_ORDER)
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
        horizon = moment + timedelta(hours=self._settings.remind_hours)
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

    def _found(self, wanted: sa.Select[Any]) -> Sequence[int]:
        """Read the ids of what is wanted, all at once: told to read the first 500 by id, PostgreSQL would walk through
        all ids instead of an index of what may be overdue."""
        return self._database.read(
            lambda session: session.scalars(wanted.order_by(*wanted.selected_columns)).all()
        )
