"""How the shop's payments are right now, for an endpoint of the shop's own that a monitor asks every few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.exceptions import DatabaseAway
from flask_zeus_cvs.models import Delivery, DeliveryState, Notification, Review
from flask_zeus_cvs.payments import Payments

#: Seconds in which the database must have answered.
WITHIN = 2.0
#: How long a delivery may be overdue: a receiver's call can take minutes, and cron comes once a minute.
LATE = timedelta(minutes=15)
#: Notices among which the last one is looked for: a repeat keeps its row.
_RECENT = 100


@dataclass(frozen=True)
class Backlog:
    """What the database says of the work at hand."""

    #: Since when the oldest delivery is due that nobody has taken up.
    due_since: datetime | None
    parked: int
    open_reviews: int
    last_notice_at: datetime | None


@dataclass(frozen=True)
class Health:
    """How it is: nothing here names a customer, a payment or an address."""

    #: The database answers, and what is due is being delivered.
    ok: bool
    #: Whether the database answered within `WITHIN` seconds; if not, what follows is None.
    database: bool
    #: Whether this process has the thread that delivers; None where ZEUS_CVS_DELIVERY leaves that to others.
    delivering: bool | None
    #: Seconds for which the oldest delivery has waited beyond its time, 0 if none has.
    overdue: int | None = None
    #: Deliveries that were given up on, each waiting for a person.
    parked: int | None = None
    #: Reviews that nobody has resolved.
    open_reviews: int | None = None
    #: When ZEUS was last heard, aware, in UTC; None also if that has never been.
    last_notice_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; the moment in ISO 8601."""
        heard = self.last_notice_at.isoformat() if self.last_notice_at is not None else None
        return {**self.__dict__, "last_notice_at": heard}


def health_of(payments: Payments) -> Health:
    """Look at the database for at most `WITHIN` seconds; never raises for one that is away."""
    delivering = payments.is_delivering
    try:
        backlog = _asked(payments)
    except (DatabaseAway, SQLAlchemyError):
        return Health(ok=False, database=False, delivering=delivering)
    late = max(now() - backlog.due_since, timedelta()) if backlog.due_since is not None else timedelta()
    return Health(
        ok=delivering is not False and late <= LATE,
        database=True,
        delivering=delivering,
        overdue=int(late.total_seconds()),
        parked=backlog.parked,
        open_reviews=backlog.open_reviews,
        last_notice_at=backlog.last_notice_at,
    )


def _asked(payments: Payments) -> Backlog:
    """Raise `DatabaseAway` at once while an earlier question still hangs: a monitor must not pile them up."""
    database = payments.database
    if database.is_hanging:
        raise DatabaseAway(0)
    return database.bounded(lambda: database.read(backlog), WITHIN)


def backlog(session: Session) -> Backlog:
    """Read the work at hand, in four short statements."""
    open_reviews = sa.select(sa.func.count()).select_from(Review).where(Review.resolved_at.is_(None))
    parked = sa.select(sa.func.count()).select_from(Delivery).where(Delivery.state == DeliveryState.PARKED)
    return Backlog(
        due_since=session.scalar(_due_since()),
        parked=session.scalar(parked) or 0,
        open_reviews=session.scalar(open_reviews) or 0,
        last_notice_at=last_notice_at(session),
    )


def last_notice_at(session: Session) -> datetime | None:
    """Find when the callback last took a notice; one from a file is not ZEUS's call."""
    recent = (
        sa.select(Notification.last_at)
        .where(Notification.source == "callback")
        .order_by(Notification.id.desc())
        .limit(_RECENT)
    )
    return max(session.scalars(recent), default=None)


def _due_since() -> sa.Select[Any]:
    moment = now()
    idle = sa.or_(Delivery.leased_until.is_(None), Delivery.leased_until <= moment)
    return (
        sa.select(Delivery.due_at)
        .where(Delivery.state == DeliveryState.PENDING, Delivery.due_at <= moment, idle)
        .order_by(Delivery.due_at)
        .limit(1)
    )
