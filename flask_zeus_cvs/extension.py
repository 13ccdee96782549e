"""`ZeusCVS`: puts the parts together for an app. It holds no rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, current_app
from flask_sqlalchemy import SQLAlchemy

import flask_zeus_cvs.staff as staff
import flask_zeus_cvs.web as web
from flask_zeus_cvs.cli import make_commands
from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.database import Database
from flask_zeus_cvs.deadlines import Sweep
from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.gateway import Gateway
from flask_zeus_cvs.models import Application, Payment, Resolution, Review, copy_tables
from flask_zeus_cvs.outbox import Outbox, Parked, Summary
from flask_zeus_cvs.payments import EXTENSION, Payments, payments_of
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.receiving import Receipt
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.staff.health import Health, health_of

if TYPE_CHECKING:
    from flask_zeus_cvs.staff.reviews import Case
    from flask_zeus_cvs.staff.search import Filters
    from flask_zeus_cvs.staff.timeline import Story


class ZeusCVS:
    """Konbini payment for a Flask app: ``zeus = ZeusCVS(app, db)``, or later ``zeus.init_app(app, db)``.

    One object serves any number of apps; its methods act on the current one, so they need an app context.
    """

    def __init__(self, app: Flask | None = None, db: SQLAlchemy | None = None) -> None:
        self._db = db
        if app is not None:
            self.init_app(app, db)

    def init_app(self, app: Flask, db: SQLAlchemy | None = None) -> None:
        """Read the settings, add our tables to ``db.metadata``, and register blueprint and commands; asks no database.

        ``db`` defaults to the one given to `ZeusCVS`, else to ``app.extensions["sqlalchemy"]``. Raises
        `ConfigurationError`, naming what is wrong and the cure: also for a second call on the same app.
        """
        if EXTENSION in app.extensions:
            raise ConfigurationError(
                "Flask-Zeus-CVS is set up on this app already. Call init_app once per app, "
                "and drop either ZeusCVS(app, …) or init_app(app, …)."
            )
        db = _database_of(app, db or self._db)
        settings = Settings.from_config(app.config)
        copy_tables(db.metadata)
        database = Database(app, db)
        outbox = Outbox(app, database, settings)
        app.extensions[EXTENSION] = Payments(app, database, settings, Gateway(settings), outbox)
        app.before_request(_start)
        app.register_blueprint(_pages(settings))
        app.cli.add_command(make_commands(settings))

    def create_payment(
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
        """Add a payment to ``db.session`` and flush; the caller commits.

        ``amount``: yen, 200 to 299,999 (manual, 送信パラメータ一覧), else `InvalidAmount`. ``reference``: the shop's
        own order number, 1 to 255 characters. ``customer`` fills the form in advance, and is not judged.
        ``return_url``: a path of the shop with one leading slash, or a URL on ZEUS_CVS_RETURN_HOSTS.
        ``sendpoint``: 50 bytes of letters, digits and some symbols, which ZEUS sends back with each notice.
        ``expires_at``: aware; ends the offer for whoever has no slip by then. Each of these raises `InvalidField`.

        ``once``: return the payment of this reference that was created so and has not ended, instead of a second
        one. If that is for another amount it is closed, and a new one is made; `NotPayable` if its slip is out or it
        holds money. `CreatedMeanwhile` at repeatable read, where the other one cannot be seen: roll back, call again.
        """
        return self._payments.create(
            amount=amount,
            reference=reference,
            customer=customer,
            return_url=return_url,
            sendpoint=sendpoint,
            expires_at=expires_at,
            once=once,
        )

    def find(self, reference: str) -> Payment | None:
        """Return the newest payment of a reference (exactly that text), in ``db.session``; None if there is none."""
        return self._payments.find(reference)

    def close(self, payment: Payment) -> None:
        """Take no further application, in ``db.session``; the caller commits.

        A slip that is out stays payable at the store: money that still comes is booked, ships nothing, and is a review.
        Closing twice changes nothing. Raises `PendingWorkError` for a payment that is not in the database.
        """
        self._payments.close(payment)

    def submit(self, payment: Payment, customer: Customer, store: Store | str) -> Application:
        """Apply at ZEUS for a slip, as the checkout view does; commits by itself, in transactions of its own.

        ``customer`` is brought into the gateway's spelling first (half-width kana, hyphens and such); ``store`` is a
        `Store` or its code. Takes up to ZEUS_CVS_CONNECT_TIMEOUT + ZEUS_CVS_READ_TIMEOUT seconds, 25 by default, in
        which no database connection is held. Returns the application, detached, with what came of it: see its
        ``state``, which is also where a failure of ZEUS's or of the network shows; none of these raises.

        A second call while one is under way, being checked or paid returns that one, and sends nothing. Raises
        `InvalidCustomer` (nothing was sent), `NotPayable`, and `PendingWorkError` if the payment is not committed yet
        or, on SQLite, ``db.session`` has uncommitted writes.
        """
        return self._payments.submit(payment, customer, store)

    def receive(self, raw: bytes) -> Receipt:
        """Take one notice, as the callback does; commits by itself, then has it delivered as ZEUS_CVS_DELIVERY says.

        ``raw``: the bytes of the query string or the body as they came, in percent-encoded Shift_JIS (manual, CGIコール).
        Whoever calls this vouches for the sender: no address is looked at. A repeat is counted, and changes nothing.
        Answer ZEUS with 200 only after this has returned.

        Raises `UnreadableNotice` once its bytes are kept and a review is open; `PendingWorkError` as `submit`;
        `DatabaseAway` after 20 seconds, when nobody knows whether it is stored. After any other error it is not.
        """
        return self._payments.receive(raw)

    def resolve(
        self,
        review: Review | int,
        resolution: Resolution | str,
        *,
        by: str,
        note: str = "",
        payment: Payment | None = None,
    ) -> Review:
        """Close a review, or the one of an id, as a person decided; commits by itself, then has it delivered.

        ``resolution``: ``received``, ``confirmed``, ``cancelled`` or ``ignored``; another word is a `ValueError`. ``by``
        names the person, at most 100 characters, and ``note`` says why, at most 2,000. ``payment`` tells whose a notice
        is that matched none. The first decision stands: resolving twice changes nothing. Returns the review, detached.

        Raises `UnknownReview`; `NotResolvable` if the decision needs a payment or an application and there is none;
        `PendingWorkError` as `submit`.
        """
        review_id = review if isinstance(review, int) else review.id
        return self._payments.resolve(review_id, resolution, by=by, note=note, payment=payment)

    def reset_attempts(self, payment: Payment) -> int:
        """Let a customer apply again who has used up ZEUS_CVS_MAX_ATTEMPTS; commits by itself.

        Returns how many tries were forgotten. Raises `PendingWorkError` as `submit`.
        """
        return self._payments.reset_attempts(payment)

    def search(
        self, filters: Filters, limit: int = 50, before: int | None = None
    ) -> tuple[Sequence[Payment], int | None]:
        """Find payments, newest first, in ``db.session``: at most ``limit`` of those below the id ``before``.

        Returns them, and the ``before`` of the next page: None at the end.
        """
        return staff.search.page(self._payments.database.db.session(), filters, limit, before)

    def story(self, payment: Payment, *, reveal: bool = False) -> Story:
        """Tell what happened to a payment, with the customer's details masked unless they are to be revealed.

        Reads what is committed; moments are aware, in UTC. `staff.telling` puts its entries into words, in English or
        Japanese.
        """
        payments, payment_id = self._payments, payment.id
        encoding = payments.settings.callback_encoding
        return payments.database.read(
            lambda session: staff.timeline.story_of(
                session, session.get_one(Payment, payment_id), reveal=reveal, encoding=encoding
            )
        )

    def open_reviews(self, limit: int = 50) -> tuple[Case, ...]:
        """Read what waits for a person's decision and is committed, oldest first, at most ``limit``.

        `resolve` takes its ``review_id``. The customer's details in it are masked.
        """
        payments = self._payments
        encoding = payments.settings.callback_encoding
        return payments.database.read(
            lambda session: staff.reviews.open_cases(session, limit, encoding=encoding)
        )

    def parked(self) -> list[Parked]:
        """List the deliveries that were given up on, oldest first; each waits for a person."""
        return self._payments.parked()

    def retry(self, which: str, *, by: str) -> int:
        """Make parked deliveries due again, with all their tries; commits by itself. Returns how many.

        ``which``: a delivery's id, a receiver's name, or ``all``. ``by`` names the person. Raises `UnknownDelivery`
        unless it is ``all``.
        """
        return self._payments.retry(which, by)

    def dismiss(self, which: str, *, by: str) -> int:
        """Give parked deliveries up for good, named as for `retry`; commits by itself. Returns how many.

        By id or name also those that wait for a receiver that is not connected here. Raises `UnknownDelivery`.
        """
        return self._payments.dismiss(which, by)

    def expire(self) -> Sweep:
        """Sweep: expire slips that nobody paid, end offers that ran out, remind of deadlines; commits by itself.

        A slip expires at the deadline's 24:00 JST plus ZEUS_CVS_EXPIRY_GRACE_HOURS, never with money or an open review
        on its payment; 59 days after it was made if no deadline is known. Each payment is a transaction of its own.
        Receivers are called in this thread, unless ZEUS_CVS_DELIVERY leaves that to others. Returns how many of each.
        Raises `PendingWorkError` as `submit`.
        """
        return self._payments.expire()

    def deliver_now(self) -> Summary:
        """Deliver to subscribers what is due, in this thread, until nothing is; commits after each.

        Never raises for a receiver, which is tried again later. Raises `PendingWorkError` as `submit`.
        """
        return self._payments.deliver_now()

    def deliver_event(self, event_id: int) -> Summary:
        """Deliver what is due of one event, in this thread: the job of a queue of the shop's own.

        Commits after each. Never raises for a receiver, which is tried again later. A second call, and one of another
        worker at the same time, calls nobody twice. Raises `PendingWorkError` as `submit`.
        """
        return self._payments.deliver_event(event_id)

    def deliver_through(self, enqueue: Callable[[int], object]) -> None:
        """Have ``enqueue`` called with the id of each event that has receivers, after the commit, in a thread.

        Its job is to have `deliver_event` called by a worker. While it raises or hangs, nobody waits, and `deliver_now`
        finds what is due. Needs ZEUS_CVS_DELIVERY='deferred', else `ConfigurationError`; with 'inline', the default
        while testing, it is never called. Of several, the last counts.
        """
        self._payments.deliver_through(enqueue)

    def health(self) -> Health:
        """Tell how it is, for an endpoint of the shop's own: in two seconds at most, without personal data."""
        return health_of(self._payments)

    @property
    def _payments(self) -> Payments:
        return payments_of(current_app._get_current_object())  # type: ignore[attr-defined]


def _pages(settings: Settings) -> Blueprint:
    blueprint = web.views.make_blueprint(settings)
    blueprint.jinja_loader = web.originals.loader()  # pyright: ignore[reportAttributeAccessIssue]  # may be set
    return blueprint


def _start() -> None:
    """See that what is due is delivered, by whatever the app has at the time: a drill puts its own there."""
    payments_of(current_app._get_current_object()).start()  # type: ignore[attr-defined]


def _database_of(app: Flask, db: Any) -> SQLAlchemy:
    db = db if db is not None else app.extensions.get("sqlalchemy")
    if not isinstance(db, SQLAlchemy):
        raise ConfigurationError(
            "There is no database to use. Call ZeusCVS(app, db) with your flask_sqlalchemy.SQLAlchemy(), "
            "or db.init_app(app) before it."
        )
    if db.metadata.schema is not None:
        raise ConfigurationError(
            f"Your MetaData has the default schema {db.metadata.schema!r}, and our tables live in the connection's own. "
            "Set the schema on the connection instead, for PostgreSQL: SQLALCHEMY_ENGINE_OPTIONS = "
            f"{{'connect_args': {{'options': '-csearch_path={db.metadata.schema}'}}}}."
        )
    return db
