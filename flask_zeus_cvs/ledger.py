"""What a verb reads and writes in one transaction: payments under their lock, and all that follows from it, at once.

Rows are plain instances of the models that belong to no session. Verbs change them and add others in memory, and
`Ledger.write` stores the whole: on PostgreSQL in one statement, elsewhere one after the other. Every statement is
built once in a process, which is what makes a notice cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from typing import Any, NamedTuple, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from flask_zeus_cvs.database import BOUND_ON_WAITING, WAIT_NO_LONGER, Database
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import (
    Application,
    Base,
    Event,
    Notification,
    Payment,
    Review,
    ReviewReason,
    Verdict,
)

T = TypeVar("T")
M = TypeVar("M", bound=Base)

#: What is told of money that is gone: without any of these, nobody was kept from shipping.
LOSSES = (EventKind.PAYMENT_CANCELLED, EventKind.PAYMENT_CANCELLED_AFTER_CANCEL)
#: Rows that go into one statement at most.
_AT_ONCE = 20


class Ledger:
    """One transaction's view of payments, and what is to be stored about them before it ends."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._entries: dict[int, _Entry] = {}
        self._read: dict[tuple[type[Base], int], Base] = {}
        self._payments: dict[int, _Account] = {}
        self._afterwards: list[Callable[[], object]] = []
        self._is_postgresql = connection.dialect.name == "postgresql"
        #: Elsewhere the connection or the server bounds each wait already.
        self._is_bounded = not self._is_postgresql

    # --- reading ---------------------------------------------------------------------------------

    def lock(self, payment_id: int) -> Payment | None:
        """Lock one payment until the transaction ends, and read it with its applications; None if there is none."""
        if payment_id in self._payments:
            return self._payments[payment_id].payment
        return self._locked(_By.ID, payment_id=payment_id)

    def lock_of(self, application_id: int) -> Application:
        """Lock the payment of an application, and return the application. Raises `LookupError` if it is gone."""
        if not any(each.id == application_id for each in self._applications()):
            self._locked(_By.APPLICATION, application_id=application_id)
        for each in self._applications():
            if each.id == application_id:
                return each
        raise LookupError("the payment of an application is gone")

    def lock_for_notice(
        self, order_no: str, sendid: str, identity: str
    ) -> tuple[Payment | None, Notification | None]:
        """Lock the payment of a notice, found by order_no, else by sendid; with it the notice's row if it is a repeat."""
        for each in self._applications():
            if order_no and each.order_no == order_no:
                return each.payment, self.notification(identity)
        self.write()
        payment = self._locked(
            _By.NOTICE, identity=identity, order_no=order_no or None, sendid=sendid or None
        )
        if payment is None:
            return None, self.notification(identity)
        is_repeat = self._payments[payment.id].known_notice is not None
        return payment, self.notification(identity) if is_repeat else None

    @property
    def session(self) -> Session:
        """A session in this transaction, for what is written elsewhere: `write` has stored what came before."""
        self.write()
        self._bound()
        return Session(self.connection, expire_on_commit=False)

    def get(self, model: type[M], row_id: int, *, for_update: bool = False) -> M | None:
        """Read one row as it is now, or None; ``for_update`` locks it, too."""
        self.write()
        self._read.pop((model, row_id), None)
        if for_update:
            self._bound()
        return self._first(model, _by_id(model, for_update=for_update), {"id": row_id})

    def complete(self, row: Base) -> None:
        """Read the columns of a row that a lock leaves out."""
        left_out = _LEFT_OUT[type(row)]
        values = self.connection.execute(_rest(type(row)), {"id": vars(row)["id"]}).one()
        rest = dict(zip(left_out, values, strict=True))
        vars(row).update(rest)
        sa.inspect(row).expired_attributes.difference_update(left_out)

    def application_id(self, order_no: str) -> int | None:
        """Tell which application has an order number, if any."""
        self.write()
        return self.connection.execute(_APPLICATION_ID, {"order_no": order_no}).scalar()

    def has_been_told(self, payment: Payment, order_no: str, statuses: Sequence[str]) -> bool:
        """Whether a notice of one of these statuses has come for a slip, with its payment's amount or without any."""
        self.write()
        asked = {
            "payment_id": payment.id,
            "order_no": order_no,
            "statuses": statuses,
            "money": payment.amount,
        }
        return self.connection.execute(_TOLD, asked).first() is not None

    def notification(self, identity: str) -> Notification | None:
        """Read and lock the row of a notice that has come before, or None."""
        self.write()
        self._bound()
        return self._first(Notification, _NOTIFICATION, {"identity": identity})

    def waiting(self, order_no: str) -> list[Notification]:
        """Read and lock the notices that came before anybody knew their order number, oldest first."""
        self.write()
        self._bound()
        return self._all(Notification, _WAITING, {"order_no": order_no})

    def reviews(self, payment: Payment) -> list[Review]:
        """The reviews of a locked payment, open or not, with those that were added here."""
        account = self._payments[payment.id]
        if account.reviews is None:
            about = {"payment_id": payment.id}
            account.reviews = self._all(Review, _REVIEWS, about) if payment.was_reviewed else []
        return account.reviews

    def reviews_of(self, notification: Notification) -> list[Review]:
        """The reviews that ask about one notice."""
        self.write()
        return self._all(Review, _REVIEWS_OF, {"notification_id": notification.id})

    def losses(self, payment: Payment) -> frozenset[EventKind]:
        """What has been told, if anything, of money of a locked payment that was taken back."""
        account = self._payments[payment.id]
        if account.losses is None:
            about = {"payment_id": payment.id}
            told = self.connection.execute(_LOSSES, about).scalars() if payment.has_lost else ()
            account.losses = frozenset(told)
        return account.losses

    # --- writing ---------------------------------------------------------------------------------

    def add(self, row: M) -> M:
        """Have a new row stored by `write`, with what its model declares where nothing was said."""
        return self._added(row, {key: value for key, value in vars(row).items() if value is not None})

    def record(self, model: type[M], **values: Any) -> M:
        """Have a new row stored by `write`. A foreign key is given an id, or the row itself, which may have none yet."""
        row = cast(M, model.__mapper__.class_manager.new_instance())
        return self._added(row, values)

    def link(self, row: Base, **others: Base | None) -> None:
        """Point foreign keys of a row at others, which may have no id before `write`."""
        entry = self._entries[id(row)]
        for key, other in others.items():
            entry.links.pop(key, None)
            vars(row)[key] = vars(other).get("id") if other is not None else None
            if other is not None and vars(row)[key] is None:
                entry.links[key] = other

    def ask(self, reason: ReviewReason, payment: Payment | None, **about: Base | None) -> Review:
        """Have a review stored, and be among `reviews` of its payment from now on."""
        review = self.record(Review, reason=reason, payment_id=payment, **about)
        if payment is not None:
            self.reviews(payment).append(review)
            payment.was_reviewed = True
        return review

    def tell(self, kind: EventKind, payment: Payment | None, **about: Any) -> Event:
        """Have an event stored."""
        event = self.record(Event, kind=kind, payment_id=payment, **about)
        if kind in LOSSES and payment is not None:
            self._payments[payment.id].losses = self.losses(payment) | {kind}
            payment.has_lost = True
        return event

    def afterwards(self, say: Callable[[], object]) -> None:
        """Have something said once this transaction is committed, and not if it is run again."""
        self._afterwards.append(say)

    def execute(self, statement: sa.Executable, values: Mapping[str, Any]) -> int:
        """Run one more statement, after what is to be stored before it; returns how many rows it changed."""
        self.write()
        self._bound()
        return int(self.connection.execute(statement, values).rowcount)

    def write(self) -> None:
        """Store what was added and changed, and give the new rows their ids."""
        if not any(each.columns_to_store() for each in self._entries.values()):
            return
        self._bound()
        for each in list(self._entries.values()):
            if isinstance(each.row, Application) and each.columns_to_store():
                each.row.revision += 1
                self._payments[each.row.payment_id].payment.revision += 1
        changes = [
            _Change(each, columns) for each in self._entries.values() if (columns := each.columns_to_store())
        ]
        changes.sort(key=_place)
        at_once = _AT_ONCE if self._is_postgresql else 1
        for first in range(0, len(changes), at_once):
            _store(self.connection, changes[first : first + at_once])

    def say(self) -> None:
        """Say what was to be said after the commit."""
        for each in self._afterwards:
            each()

    def _applications(self) -> list[Application]:
        return [each for account in self._payments.values() for each in account.payment.applications]

    # --- how -------------------------------------------------------------------------------------

    def _locked(self, by: _By, **values: Any) -> Payment | None:
        rows = self._rows(by, {"identity": None, **values})
        if not rows:
            return None
        self._is_bounded = True
        if rows[0][0] not in self._payments:  # what `get` may have read is older than the lock
            self._read.pop((Payment, rows[0][0]), None)
        payment = self._known(Payment, rows[0])
        width = len(_KEYS[Payment])
        applications = [self._known(Application, row[width:]) for row in rows if row[width] is not None]
        for each in applications:
            set_committed_value(each, "payment", payment)
        set_committed_value(payment, "applications", applications)
        self._payments[payment.id] = _Account(payment, rows[0].known_notice)
        return payment

    def _rows(self, by: _By, values: Mapping[str, Any]) -> Sequence[Any]:
        execute = self.connection.execute
        if self.connection.dialect.name in ("mysql", "mariadb"):
            found = {**values, "payment_id": execute(_find(by), values).scalar()}
            return execute(_READ, found).all() if execute(_LOCK_ALONE, found).first() else []
        rows = execute(_lock(by, postgresql=self._is_postgresql), values).all()
        seen = sum(row[_SEEN] or 0 for row in rows)
        if rows and rows[0][_REVISION] != seen:  # the applications are older than the lock
            return execute(_READ, {**values, "payment_id": rows[0][0]}).all()
        return rows

    def _added(self, row: M, values: Mapping[str, Any]) -> M:
        """Enter a new row; it has every column from now on."""
        model, held = type(row), vars(row)
        held.update(_CONSTANTS[model])
        for key, make in _MADE[model].items():
            if key not in values:
                held[key] = make(None)
        entry = self._entries[id(row)] = _Entry(row, None)
        for key, value in values.items():
            if isinstance(value, Base) and key in held:
                held[key] = vars(value).get("id")
                if held[key] is None:
                    entry.links[key] = value
            else:
                held[key] = value
        return row

    def _bound(self) -> None:
        """Bound how long this transaction waits for others' locks: before anything that may wait, but for the lock on a
        payment, which brings its own bound."""
        if not self._is_bounded:
            self._is_bounded = True
            self.connection.execute(WAIT_NO_LONGER)

    def _first(self, model: type[M], statement: sa.Executable, values: Mapping[str, Any]) -> M | None:
        found = self._all(model, statement, values)
        return found[0] if found else None

    def _all(self, model: type[M], statement: sa.Executable, values: Mapping[str, Any]) -> list[M]:
        return [self._known(model, row) for row in self.connection.execute(statement, values)]

    def _known(self, model: type[M], row: Sequence[Any]) -> M:
        """Make an instance of a row, as a session would, but in none.

        A row that was read before is the instance of that time, with what has been changed of it since; `get` and the
        lock on a payment let go of it first.
        """
        known = self._read.get((model, row[0]))
        if known is not None:
            return cast(M, known)
        instance = cast(M, model.__mapper__.class_manager.new_instance())
        stored = dict(zip(_KEYS[model], row, strict=False))
        vars(instance).update(stored)
        sa.inspect(instance).expired_attributes.update(_LEFT_OUT.get(model, ()))
        self._read[model, row[0]] = instance
        self._entries[id(instance)] = _Entry(instance, stored)
        return instance


def write(database: Database, work: Callable[[Ledger], T], *, repeatable: bool = False) -> T:
    """Run ``work`` with a ledger in one transaction, store what it leaves, and commit; see `Database.transact`.

    What the ledger was told to say afterwards is said then.
    """

    def once(connection: sa.Connection) -> tuple[Ledger, T]:
        ledger = Ledger(connection)
        result = work(ledger)
        ledger.write()
        return ledger, result

    ledger, result = database.transact(once, repeatable=repeatable, brings_bound=True)
    ledger.say()
    return result


def write_each(
    database: Database,
    found: Iterable[int],
    act: Callable[[Ledger, int], bool],
    step: Callable[[], object] = lambda: None,
) -> int:
    """Act on every row found, each in a transaction of its own; returns how many it did act on."""
    acted = 0
    for each in found:
        acted += write(database, lambda ledger, each=each: act(ledger, each))  # type: ignore[misc]
        step()
    return acted


@dataclass(slots=True)
class _Account:
    """A locked payment, and what its own rows do not say."""

    payment: Payment
    known_notice: int | None
    reviews: list[Review] | None = None
    losses: frozenset[EventKind] | None = None


@dataclass(slots=True)
class _Entry:
    """A row in the ledger: what is stored of it (None: nothing yet), and keys whose rows had no id when they were set."""

    row: Base
    stored: dict[str, Any] | None = field(repr=False)
    links: dict[str, Base] = field(default_factory=dict)

    @property
    def table(self) -> sa.Table:
        return cast(sa.Table, self.row.__table__)

    def columns_to_store(self) -> tuple[str, ...]:
        """Name the columns that differ from what is stored, in their order."""
        stored, values = self.stored, vars(self.row)
        if stored is None:
            return _ALL_KEYS[type(self.row)]
        return tuple([key for key in stored if values[key] != stored[key] or key in self.links])

    def take_ids(self) -> None:
        """Point at the rows that have got their ids meanwhile."""
        for key, other in self.links.items():
            vars(self.row)[key] = vars(other).get("id")

    def settle(self, columns: Sequence[str]) -> None:
        """Note that these columns are stored as they are."""
        self.take_ids()
        self.links.clear()
        values = vars(self.row)
        if self.stored is None:
            self.stored = {"id": values["id"]}
        for key in columns:
            self.stored[key] = values[key]


class _Change(NamedTuple):
    """A row to be stored, and which of its columns."""

    entry: _Entry
    columns: tuple[str, ...]


_MODELS: Sequence[type[Base]] = tuple(cast(type[Base], each.class_) for each in Base.registry.mappers)
#: What hardly any verb looks at, and a lock does not read: to look at it is an error before `Ledger.complete`.
_CUSTOMER = ("customer_name", "customer_phone", "customer_email")
_LEFT_OUT: Mapping[type[Base], Sequence[str]] = {
    Payment: ("token", "reference", "once_key", "return_url", "created_at", *_CUSTOMER),
    Application: _CUSTOMER,
}


def _columns(model: type[Base]) -> list[Any]:
    """The columns that are read, the id first."""
    left_out = _LEFT_OUT.get(model, ())
    return [each for each in model.__table__.columns if each.key not in left_out]


_KEYS = {each: tuple(column.key for column in _columns(each)) for each in _MODELS}
#: Those that a new row is stored with.
_ALL_KEYS = {
    each: tuple(column.key for column in each.__table__.columns if column.key != "id") for each in _MODELS
}
#: Where the row that a lock reads has the revisions of the payment and of an application.
_REVISION = _KEYS[Payment].index("revision")
_SEEN = len(_KEYS[Payment]) + _KEYS[Application].index("revision")
#: In the order in which the models are declared, none points at a later one.
_PLACES = {name: place for place, name in enumerate(Base.metadata.tables)}


def _declared(model: type[Base], *, is_callable: bool) -> dict[str, Any]:
    """What the model declares for columns of which nothing is said: what makes a value, or the value itself."""
    columns: list[Any] = [each for each in model.__table__.columns if each.key != "id"]
    if is_callable:
        return {each.key: each.default.arg for each in columns if each.default and each.default.is_callable}
    return {
        each.key: each.default.arg if each.default else None
        for each in columns
        if not (each.default and each.default.is_callable)
    }


_CONSTANTS = {each: _declared(each, is_callable=False) for each in _MODELS}
_MADE = {each: _declared(each, is_callable=True) for each in _MODELS}


def _place(change: _Change) -> tuple[bool, int]:
    """New rows first, each after those that it may point at."""
    entry = change.entry
    return entry.stored is not None, _PLACES[entry.table.name]


# --- the statements that read --------------------------------------------------------------------


class _By(Enum):
    """What a payment is found by."""

    ID = auto()
    APPLICATION = auto()
    NOTICE = auto()


_OWNER = sa.select(Application.payment_id)
_WHICH: Mapping[_By, Any] = {
    _By.ID: sa.bindparam("payment_id", type_=Payment.__table__.c.id.type),
    _By.APPLICATION: _OWNER.where(Application.id == sa.bindparam("application_id")).scalar_subquery(),
    _By.NOTICE: sa.func.coalesce(
        _OWNER.where(Application.order_no == sa.bindparam("order_no")).scalar_subquery(),
        _OWNER.where(Application.sendid == sa.bindparam("sendid")).limit(1).scalar_subquery(),
    ),
}


def _of_payment(column: Any) -> sa.ColumnElement[bool]:
    return cast("sa.ColumnElement[bool]", column == Payment.id)


#: The row of a notice that has come before.
_KNOWN = (
    sa.select(Notification.id)
    .where(Notification.identity == sa.bindparam("identity"))
    .scalar_subquery()
    .label("known_notice")
)
#: A payment and its applications, a row for each of these, or one.
_WHOLE = (
    sa.select(*_columns(Payment), *_columns(Application), _KNOWN)
    .select_from(sa.outerjoin(Payment, Application, _of_payment(Application.payment_id)))
    .order_by(Application.id)
)
#: The same of a payment that is locked already.
_READ = _WHOLE.where(Payment.id == sa.bindparam("payment_id"))


@cache
def _lock(by: _By, *, postgresql: bool) -> sa.Executable:
    """Build the statement that locks a payment and reads the whole of it, the first of its transaction.

    Rows that refer to the payment can be added meanwhile: a shop's orders need not wait for a notice. On PostgreSQL
    it sets the bound on its own waiting, which would otherwise be one more round trip.
    """
    found = _WHOLE.where(Payment.id == _WHICH[by])
    return found.where(BOUND_ON_WAITING).with_for_update(of=Payment, key_share=True) if postgresql else found


#: On MariaDB a statement that locks would lock all that it reads, and fail if another has changed any of it meanwhile:
#: there a payment is found, then locked, then read.
_LOCK_ALONE = sa.select(Payment.id).where(Payment.id == sa.bindparam("payment_id")).with_for_update()


@cache
def _find(by: _By) -> sa.Executable:
    return sa.select(_WHICH[by])


_NOTIFICATION = (
    sa.select(*_columns(Notification))
    .where(Notification.identity == sa.bindparam("identity"))
    .with_for_update()
)
_WAITING = (
    sa.select(*_columns(Notification))
    .where(Notification.order_no == sa.bindparam("order_no"), Notification.verdict == Verdict.WAITING)
    .order_by(Notification.id)
    .with_for_update()
)
_REVIEWS = sa.select(*_columns(Review)).where(Review.payment_id == sa.bindparam("payment_id"))
_LOSSES = sa.select(Event.kind).where(
    Event.payment_id == sa.bindparam("payment_id"), sa.or_(*(Event.kind == each for each in LOSSES))
)
_REVIEWS_OF = sa.select(*_columns(Review)).where(Review.notification_id == sa.bindparam("notification_id"))
_APPLICATION_ID = sa.select(Application.id).where(Application.order_no == sa.bindparam("order_no"))
_TOLD = (
    sa.select(Notification.id)
    .where(
        Notification.payment_id == sa.bindparam("payment_id"),
        Notification.order_no == sa.bindparam("order_no"),
        Notification.status.in_(sa.bindparam("statuses", expanding=True)),
        sa.or_(Notification.money == sa.bindparam("money"), Notification.money.is_(None)),
    )
    .limit(1)
)


@cache
def _by_id(model: type[Base], *, for_update: bool) -> sa.Executable:
    found = sa.select(*_columns(model)).where(model.__table__.c.id == sa.bindparam("id"))
    return found.with_for_update() if for_update else found


@cache
def _rest(model: type[Base]) -> sa.Executable:
    columns = model.__table__.c
    return sa.select(*(columns[key] for key in _LEFT_OUT[model])).where(columns.id == sa.bindparam("id"))


# --- storing -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is done to one table, whatever the values: a new row, or a change of some columns of an old one.

    ``links`` are the columns that point at new rows of the same statement, with the places of these.
    """

    table: str
    is_new: bool
    columns: tuple[str, ...]
    links: tuple[tuple[str, int], ...]


def _store(connection: sa.Connection, changes: Sequence[_Change]) -> None:
    """Store rows in one statement: each is a part of it, and new ones hand their ids to those that point at them."""
    places = {id(each.row): place for place, (each, _) in enumerate(changes) if each.stored is None}
    shapes, values = [], dict[str, Any]()
    for place, (entry, columns) in enumerate(changes):
        inside = {key: places[id(other)] for key, other in entry.links.items() if id(other) in places}
        entry.take_ids()
        shapes.append(_Shape(entry.table.name, entry.stored is None, columns, tuple(inside.items())))
        held = vars(entry.row)
        values.update({f"{key}_{place}": held[key] for key in columns if key not in inside})
        if entry.stored is not None:
            values[f"id_{place}"] = held["id"]
    result = connection.execute(_statement(tuple(shapes)), values)
    if places:
        ids: Any = result.inserted_primary_key if len(shapes) == 1 else result.one()
        for place, row_id in zip(places.values(), ids, strict=True):
            vars(changes[place].entry.row)["id"] = row_id
    for entry, columns in changes:
        entry.settle(columns)


@cache
def _statement(shapes: tuple[_Shape, ...]) -> sa.Executable:
    """Build what stores rows of these shapes; several become parts of one statement, which returns the new ids."""
    new: dict[int, sa.CTE] = {}
    changed: list[sa.CTE] = []
    for place, shape in enumerate(shapes):
        part = _part(shape, place, new)
        if len(shapes) == 1:
            return part
        if shape.is_new:
            new[place] = part.returning(Base.metadata.tables[shape.table].c.id).cte(f"new_{place}")
        else:
            changed.append(part.cte(f"changed_{place}"))
    ids: list[Any] = [sa.select(each.c.id).scalar_subquery() for each in new.values()]
    return sa.select(*(ids or [sa.true()])).add_cte(*changed)


def _part(shape: _Shape, place: int, new: Mapping[int, sa.CTE]) -> sa.Insert | sa.Update:
    table = Base.metadata.tables[shape.table]
    links = dict(shape.links)
    values: dict[str, Any] = {
        key: sa.select(new[links[key]].c.id).scalar_subquery()
        if key in links
        else sa.bindparam(f"{key}_{place}", type_=table.c[key].type)
        for key in shape.columns
    }
    if shape.is_new:
        return sa.insert(table).values(values)
    return sa.update(table).where(table.c.id == sa.bindparam(f"id_{place}")).values(values)
