"""The tables: what the shop charges, each application for it, every notice, and what subscribers were told.

They are ordinary typed classes on a base of our own. `copy_tables` gives a host's metadata copies of the tables,
for ``db.create_all()``, migrations and foreign keys; the classes themselves serve every host alike.

Annotations are evaluated as they stand: to have SQLAlchemy evaluate strings takes a fifth of the package's import.
"""

import secrets
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any, ClassVar

import sqlalchemy as sa
from flask import current_app, has_request_context, url_for
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    composite,
    foreign,
    mapped_column,
    object_session,
    relationship,
)

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.lifecycle import HOLDS_MONEY, LIVE, MAY_APPLY, RANK, EventKind, State
from flask_zeus_cvs.protocol.codes import Store

#: What the column for the source of a notice holds.
SOURCE_LENGTH = 100
#: The id of a row, and so what points at it. SQLite counts up only what is called INTEGER, which has 64 bits there.
Id = Annotated[int, 64]
#: No column for ids holds a larger one.
LARGEST_ID = 2**63 - 1
#: Both names of its dialect, as a host's URI may begin with either.
MARIADB = ("mysql", "mariadb")


@cache
def mariadb() -> ModuleType:
    """SQLAlchemy's own part for MariaDB, imported when it is first asked for: that takes a while."""
    return import_module("sqlalchemy.dialects.mysql")


@cache
def _to_the_microsecond() -> sa.types.TypeEngine[datetime]:
    precise = mariadb().DATETIME(fsp=6)
    return sa.DateTime().with_variant(precise, *MARIADB)


class UTCDateTime(sa.types.TypeDecorator[datetime]):
    """An aware datetime, stored in UTC without its zone, to the microsecond on every database."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return _to_the_microsecond() if dialect.name in MARIADB else self.impl_instance

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.replace(tzinfo=UTC)


class Word(sa.types.TypeDecorator[Any]):
    """A member of a `StrEnum`, stored as its value: a new member needs no migration."""

    impl = sa.String(40)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind
        #: An Enum takes several times as long to find its own members.
        self._members = {each.value: each for each in kind}

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        word: str = value.value if isinstance(value, self.kind) else self.kind(value).value
        return word

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        return None if value is None else self._members.get(value) or self.kind(value)


class Verdict(StrEnum):
    """What became of a notice."""

    APPLIED = "applied"
    NO_EFFECT = "no_effect"
    REVIEW = "review"
    #: Nobody knows its order number yet; tried again when an answer stores it.
    WAITING = "waiting"
    UNREADABLE = "unreadable"


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DONE = "done"
    #: Given up after ZEUS_CVS_DELIVERY_ATTEMPTS tries; a person retries or dismisses it.
    PARKED = "parked"
    #: Overtaken before it was sent: a 06 came before the goods were shipped, or money before the restocking.
    OBSOLETE = "obsolete"
    DISMISSED = "dismissed"


class ReviewReason(StrEnum):
    """Why a person must look."""

    OUT_OF_ORDER = "out_of_order"
    REPEATED_AFTER_CANCEL = "repeated_after_cancel"
    CANCELLED_AGAIN = "cancelled_again"
    WRONG_AMOUNT = "wrong_amount"
    UNKNOWN_ORDER = "unknown_order"
    FOREIGN_MERCHANT = "foreign_merchant"
    UNREADABLE = "unreadable"
    ORDER_NO_DIFFERS = "order_no_differs"
    ANSWER_CONTRADICTS = "answer_contradicts"
    REISSUED_WITH_MONEY = "reissued_with_money"
    PAID_TWICE = "paid_twice"
    PAID_AFTER_CANCEL = "paid_after_cancel"
    PAID_AFTER_CLOSE = "paid_after_close"
    #: Found by comparing with ZEUS's list; no notice tells of these.
    AMOUNT_AT_ZEUS = "amount_at_zeus"
    CANCELLED_AT_ZEUS = "cancelled_at_zeus"
    PAID_WHILE_STOPPED = "paid_while_stopped"
    MONEY_NOT_AT_ZEUS = "money_not_at_zeus"


class Resolution(StrEnum):
    """What a person decided."""

    RECEIVED = "received"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    IGNORED = "ignored"


#: What MariaDB makes our tables with, whatever the host's defaults are: row locks, and keys compared exactly.
_MADE_WITH = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
_OPTIONS = {f"{dialect}_{key}": value for dialect in MARIADB for key, value in _MADE_WITH.items()}


class Base(DeclarativeBase):
    """The base of our own tables; every constraint has a name, whatever the host's conventions are."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        Id: sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        datetime: UTCDateTime(),
        State: Word(State),
        Store: Word(Store),
        EventKind: Word(EventKind),
        Verdict: Word(Verdict),
        DeliveryState: Word(DeliveryState),
        ReviewReason: Word(ReviewReason),
        Resolution: Word(Resolution),
    }


def copy_tables(metadata: sa.MetaData) -> None:
    """Copy our tables into ``metadata``, skipping those already there.

    The copies carry plain column types, so that a generated migration names nothing but SQLAlchemy's own, and
    our names: a host's naming convention would rename what stands in a column's ``unique`` or ``index``.
    """
    for table in Base.metadata.sorted_tables:
        if table.name not in metadata.tables:
            copy = table.to_metadata(metadata)
            copy.dialect_kwargs.update(_OPTIONS)
            names = {_what(each): each.name for each in _named(table)}
            for each in _named(copy):
                each.name = names[_what(each)]
            for column in copy.columns:
                if isinstance(column.type, UTCDateTime):
                    column.type = _to_the_microsecond()
                elif isinstance(column.type, sa.types.TypeDecorator):
                    column.type = column.type.impl_instance


def _named(table: sa.Table) -> list[Any]:
    """The constraints and indexes, whose names are typed more narrowly than what may be put there."""
    return [*table.constraints, *table.indexes]


def _what(item: sa.Constraint | sa.Index) -> tuple[object, ...]:
    """Tell apart what has no name yet: its kind and its columns."""
    columns = item.columns if isinstance(item, (sa.schema.ColumnCollectionConstraint, sa.Index)) else ()
    return type(item), *(column.name for column in columns)


def end_of_day(day: date | None) -> datetime | None:
    """Return 24:00 JST of a day; None for no day, and for one beyond any calendar."""
    if day is None or day.year >= date.max.year:
        return None
    return datetime.combine(day, time(), JST) + timedelta(days=1)


def _new_token() -> str:
    return secrets.token_urlsafe(24)


class Payment(Base):
    """What the shop charges: one amount for one of its orders, whatever number of applications it takes."""

    __tablename__ = "zeus_cvs_payments"

    id: Mapped[Id] = mapped_column(primary_key=True)
    #: The key of the customer's pages: whoever has it sees the payment numbers. Never log it whole.
    token: Mapped[str] = mapped_column(sa.String(64), unique=True, default=_new_token)
    #: The shop's own order number.
    reference: Mapped[str] = mapped_column(sa.String(255), index=True)
    #: The reference again while ``once`` keeps it to one payment.
    once_key: Mapped[str | None] = mapped_column(sa.String(255), unique=True)
    #: Yen.
    amount: Mapped[int]
    #: The free parameter that ZEUS sends back with each notice: at most 50 bytes, or blank.
    sendpoint: Mapped[str] = mapped_column(sa.String(50), default="")
    #: Where "back to the shop" leads, or blank.
    return_url: Mapped[str] = mapped_column(sa.String(2000), default="")
    #: What the shop pre-fills the form with.
    customer: Mapped[Customer] = composite(
        mapped_column("customer_name", sa.String(100)),
        mapped_column("customer_phone", sa.String(100)),
        mapped_column("customer_email", sa.String(100)),
    )
    #: Moments are aware, in UTC, here and in every other table.
    created_at: Mapped[datetime] = mapped_column(default=now)
    #: The end of the shop's offer for whoever has no slip by then; None: it does not end.
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    #: When the sweep found that `expires_at` had passed.
    expired_at: Mapped[datetime | None]
    #: When the shop closed it: no application after that.
    closed_at: Mapped[datetime | None]
    #: When `payment_expired` was appended for the slip that was out last.
    expiry_told_at: Mapped[datetime | None]
    #: When `fulfillment_ready` was appended: once per payment.
    fulfilled_at: Mapped[datetime | None]
    #: Applications that count against ZEUS_CVS_MAX_ATTEMPTS.
    attempts: Mapped[int] = mapped_column(default=0)
    #: When the customer's details were taken out of this payment, its applications and its notices.
    purged_at: Mapped[datetime | None]
    #: The sum of its applications' revisions, which tells whether they were read as new as this row.
    revision: Mapped[int] = mapped_column(default=0, server_default="0")
    #: Whether a review was ever opened: few were, and the others need no look.
    was_reviewed: Mapped[bool] = mapped_column(default=False, server_default=sa.true())
    #: Whether money was ever taken back: as `was_reviewed`.
    has_lost: Mapped[bool] = mapped_column(default=False, server_default=sa.true())

    #: Each 申込 to ZEUS, oldest first.
    applications: Mapped[list["Application"]] = relationship(
        back_populates="payment", order_by="Application.id", lazy="selectin"
    )

    @property
    def application(self) -> "Application | None":
        """The application that holds money, else the live one, else the latest.

        One of unknown outcome leads only while it is the latest: the customer's next try says more.
        """
        return max(self.applications, key=lambda each: (each.rank, each.id), default=None)

    @property
    def state(self) -> State:
        """`State.CLOSED` after close, else the state of `application`; `State.OPEN` before there is one.

        An offer that ended at ``expires_at`` is `State.EXPIRED`.
        """
        leading = self.application
        if self.closed_at is not None:
            return State.CLOSED
        state = leading.state if leading is not None else State.OPEN
        return State.EXPIRED if self.expired_at is not None and state in MAY_APPLY else state

    @property
    def holds_money(self) -> bool:
        """Whether any of its applications does."""
        return any(each.state in HOLDS_MONEY for each in self.applications)

    @property
    def is_over(self) -> bool:
        """Whether no application is live or holds money: nobody has paid, and nobody can."""
        return not any(each.state in LIVE | HOLDS_MONEY for each in self.applications)

    @property
    def last_customer(self) -> Customer:
        """The details as last applied with, else the shop's pre-fill."""
        return self.applications[-1].customer if self.applications else self.customer

    @property
    def checkout_url(self) -> str:
        """Where to send the customer: a path, or a whole URL outside a request if SERVER_NAME is set."""
        return _url("zeus_cvs.checkout", self.token)

    @property
    def result_url(self) -> str:
        """Where the customer finds the payment numbers again; as `checkout_url`."""
        return _url("zeus_cvs.result", self.token)

    def __repr__(self) -> str:
        if object_session(self) is None:  # there is nobody to ask for what is not loaded
            return f"<Payment {vars(self).get('id')}>"
        return f"<Payment {self.id} {self.reference!r} {self.amount} yen>"


def _url(endpoint: str, token: str) -> str:
    if has_request_context() or current_app.config["SERVER_NAME"]:
        return url_for(endpoint, token=token)
    root = current_app.config["APPLICATION_ROOT"]
    return current_app.url_map.bind("localhost", script_name=root).build(endpoint, {"token": token})


class Application(Base):
    """One 申込 to ZEUS. A payment can have several, of which at most one is meant to be paid."""

    __tablename__ = "zeus_cvs_applications"
    __table_args__ = (sa.Index("ix_zeus_cvs_applications_open", "stored_state", "pay_limit"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    #: Whose it is.
    payment_id: Mapped[int] = mapped_column(sa.ForeignKey("zeus_cvs_payments.id"), index=True)
    #: Our own key at ZEUS: letters and digits. A re-issue keeps it.
    sendid: Mapped[str] = mapped_column(sa.String(25), index=True)
    #: The chain at which the customer pays.
    store: Mapped[Store]
    #: As written; readers use `state`, which knows that a worker may have died.
    stored_state: Mapped[State] = mapped_column(default=State.SUBMITTING)
    #: ZEUS's serial: the key (payment numbers are none).
    order_no: Mapped[str | None] = mapped_column(sa.String(50), unique=True)
    #: The payment numbers, under the store's own names for them (`STORES`); blank until ZEUS tells them. No key:
    #: ZEUS may issue the same again for another application.
    pay_no1: Mapped[str] = mapped_column(sa.String(20), default="")
    #: The second one, which only Lawson, FamilyMart and Ministop have.
    pay_no2: Mapped[str] = mapped_column(sa.String(20), default="")
    #: The last day for paying, in Japan; None while ZEUS has not told. See `deadline`.
    pay_limit: Mapped[date | None]
    #: 7-Eleven only: the collection agency's page with the slip, or blank.
    pay_url: Mapped[str] = mapped_column(sa.String(120), default="")
    #: ZEUS's reason for declining, as text (``0011`` has leading zeros), or blank.
    error_code: Mapped[str] = mapped_column(sa.String(6), default="")
    #: The request parameter that ZEUS named as wrong, or blank.
    parameter: Mapped[str] = mapped_column(sa.String(12), default="")
    #: Whether it went out with test id and test type: no money moves.
    test: Mapped[bool] = mapped_column(default=False)
    #: Made on ZEUS's screen and not by us: it counts as no attempt.
    reissued: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    #: The details that went to ZEUS, in its spelling.
    customer: Mapped[Customer] = composite(
        mapped_column("customer_name", sa.String(40)),
        mapped_column("customer_phone", sa.String(11)),
        mapped_column("customer_email", sa.String(50)),
    )
    #: When it was stored, before ZEUS was asked.
    created_at: Mapped[datetime] = mapped_column(default=now)
    #: From then on a `SUBMITTING` counts as `UNKNOWN`: its worker died.
    answer_due_at: Mapped[datetime]
    #: When `deadline_near` was appended.
    reminded_at: Mapped[datetime | None]
    #: Counts what verbs have stored here.
    revision: Mapped[int] = mapped_column(default=0, server_default="0")

    #: Whose it is.
    payment: Mapped[Payment] = relationship(back_populates="applications")

    @property
    def state(self) -> State:
        """The state as readers take it: a `State.SUBMITTING` past `answer_due_at` is `State.UNKNOWN`."""
        if self.stored_state is State.SUBMITTING and now() >= self.answer_due_at:
            return State.UNKNOWN
        return self.stored_state

    @property
    def rank(self) -> int:
        """The highest leads its payment: see `lifecycle.RANK`."""
        return RANK[self.state]

    @property
    def deadline(self) -> datetime | None:
        """The end of the last day for paying, 24:00 JST; None while ZEUS has not told."""
        return end_of_day(self.pay_limit)

    def __repr__(self) -> str:
        return f"<Application {self.id} {self.stored_state.value} {self.order_no}>"


class Notification(Base):
    """One distinct notice: its bytes, how often and when it came, and what became of it."""

    __tablename__ = "zeus_cvs_notifications"

    id: Mapped[Id] = mapped_column(primary_key=True)
    #: What makes two notices the same (law 6): a hash of order_no or sendid, status and money.
    identity: Mapped[str] = mapped_column(sa.String(64), unique=True)
    #: As it came first.
    raw: Mapped[bytes] = mapped_column(sa.LargeBinary(16 * 1024))
    #: ``callback``, or ``file:`` and the name of the list from which it was made up for.
    source: Mapped[str] = mapped_column(sa.String(SOURCE_LENGTH), default="callback")
    #: How often it came; a call that met an outage may count twice if it was not the only one.
    times: Mapped[int] = mapped_column(default=1)
    #: When it came first.
    first_at: Mapped[datetime] = mapped_column(default=now)
    #: When it came last.
    last_at: Mapped[datetime] = mapped_column(default=now)
    #: What became of it.
    verdict: Mapped[Verdict]
    #: ``01`` to ``13``; blank where it could not be read.
    status: Mapped[str] = mapped_column(sa.String(2), default="")
    #: ZEUS's serial, or blank.
    order_no: Mapped[str] = mapped_column(sa.String(50), default="", index=True)
    #: Our own key at ZEUS, or blank.
    sendid: Mapped[str] = mapped_column(sa.String(25), default="")
    #: Yen; None where the notice bears none.
    money: Mapped[int | None]
    #: Names of parameters that broke their rule and were left out of account.
    faults: Mapped[str] = mapped_column(sa.String(200), default="")
    #: No foreign keys, here and in events: see `Event`.
    payment_id: Mapped[Id | None] = mapped_column(index=True)
    #: The application that it was found to speak of, or None.
    application_id: Mapped[Id | None]

    #: Whose it is; None while nobody knows.
    payment: Mapped[Payment | None] = relationship(
        primaryjoin=lambda: foreign(Notification.payment_id) == Payment.id
    )

    def __repr__(self) -> str:
        return f"<Notification {self.id} {self.status} {self.order_no} {self.verdict.value}>"


class Event(Base):
    """What subscribers hear, written in the transaction that made it true: the outbox.

    What grows with every notice points at other rows without foreign keys. They are written under the lock of the
    payment that they name, and to have the database check that again took a tenth of a notice's time; without them,
    these tables can be partitioned, too.
    """

    __tablename__ = "zeus_cvs_events"

    id: Mapped[Id] = mapped_column(primary_key=True)
    #: Which signal tells it.
    kind: Mapped[EventKind]
    #: When it became true.
    occurred_at: Mapped[datetime] = mapped_column(default=now)
    #: The application's state before.
    previous_state: Mapped[State | None]
    #: Whether it is about a test.
    test: Mapped[bool] = mapped_column(default=False)
    #: Whose it is; None for what belongs to no payment.
    payment_id: Mapped[Id | None] = mapped_column(index=True)
    #: The application that moved, or None.
    application_id: Mapped[Id | None]
    #: The notice that told it, or None.
    notification_id: Mapped[Id | None]

    #: Whose it is, or None.
    payment: Mapped[Payment | None] = relationship(
        primaryjoin=lambda: foreign(Event.payment_id) == Payment.id
    )
    #: One for each receiver that was connected when the event was appended.
    deliveries: Mapped[list["Delivery"]] = relationship(
        back_populates="event",
        order_by="Delivery.id",
        primaryjoin=lambda: foreign(Delivery.event_id) == Event.id,
    )


class Delivery(Base):
    """One event for one subscriber: due, leased to a worker, done, or given up on."""

    __tablename__ = "zeus_cvs_deliveries"
    __table_args__ = (
        sa.UniqueConstraint("event_id", "subscriber"),
        sa.Index("ix_zeus_cvs_deliveries_due", "state", "due_at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    #: What is to be told.
    event_id: Mapped[Id]
    #: The receiver's name: module and qualified name, or as given to connect.
    subscriber: Mapped[str] = mapped_column(sa.String(255))
    #: Where it stands.
    state: Mapped[DeliveryState] = mapped_column(default=DeliveryState.PENDING)
    #: Tries so far, the one under way included.
    attempts: Mapped[int] = mapped_column(default=0)
    #: When it may be tried next.
    due_at: Mapped[datetime] = mapped_column(default=now)
    #: Until when one worker has it to itself; None: nobody has.
    leased_until: Mapped[datetime | None]
    #: The random word by which that worker knows that it still has it.
    lease: Mapped[str | None] = mapped_column(sa.String(32))
    #: When its receiver had returned, and what it wrote was committed.
    done_at: Mapped[datetime | None]
    #: The kind of the last error and where it was raised; never its message, which may hold personal data.
    last_error: Mapped[str] = mapped_column(sa.String(255), default="")
    #: Who had it tried again or dismissed, as they named themselves.
    decided_by: Mapped[str] = mapped_column(sa.String(100), default="", server_default="")

    #: What is to be told.
    event: Mapped[Event] = relationship(
        back_populates="deliveries", primaryjoin=lambda: foreign(Delivery.event_id) == Event.id
    )


class Review(Base):
    """Something that does not fit, open until a person has resolved it."""

    __tablename__ = "zeus_cvs_reviews"

    id: Mapped[Id] = mapped_column(primary_key=True)
    #: Why a person must look.
    reason: Mapped[ReviewReason]
    #: Since when.
    created_at: Mapped[datetime] = mapped_column(default=now)
    #: Whose it is; None for a notice that matched none.
    payment_id: Mapped[int | None] = mapped_column(sa.ForeignKey("zeus_cvs_payments.id"), index=True)
    #: The application that it asks about, or None.
    application_id: Mapped[int | None] = mapped_column(sa.ForeignKey("zeus_cvs_applications.id"))
    #: The notice that it asks about, or None.
    notification_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey("zeus_cvs_notifications.id"), index=True
    )
    #: When a person decided; None: it is open.
    resolved_at: Mapped[datetime | None]
    #: Who resolved it, as they named themselves.
    by: Mapped[str] = mapped_column(sa.String(100), default="")
    #: Why they decided so.
    note: Mapped[str] = mapped_column(sa.String(2000), default="")
    #: What they decided.
    resolution: Mapped[Resolution | None]

    #: Whose it is, or None.
    payment: Mapped[Payment | None] = relationship()
    #: The notice that it asks about, or None.
    notification: Mapped[Notification | None] = relationship()


class Memo(Base):
    """What a command remembers from one run to the next: when cron last swept, which columns a file of ZEUS's has."""

    __tablename__ = "zeus_cvs_memos"

    #: What it is about.
    key: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    #: JSON.
    value: Mapped[str] = mapped_column(sa.Text)
    #: When.
    written_at: Mapped[datetime] = mapped_column(default=now)
