"""One way of finding payments, for every list that staff see: commands, exports, the back office.

What a payment is, `Payment.state` computes in Python from all its applications; the conditions here say the same in
SQL. Lists are newest first, and go on where the last page ended: no database counts off rows to skip them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.lifecycle import MAY_APPLY, RANK, STATES, State
from flask_zeus_cvs.models import Application, Base, Event, Notification, Payment, Review
from flask_zeus_cvs.protocol.codes import Store

#: How far behind the clock of another machine may be, and a transaction that has its number already: rows of that
#: long ago can have greater ids than later ones.
MARGIN = timedelta(hours=1)
#: The column of each table that grows with its ids.
GROWS_WITH_ID: Mapping[type[Base], InstrumentedAttribute[datetime]] = MappingProxyType(
    {
        Payment: Payment.created_at,
        Application: Application.created_at,
        Notification: Notification.first_at,
        Event: Event.occurred_at,
        Review: Review.created_at,
    }
)
#: Blank, hyphens, and what a Japanese keyboard types for one.
_SEPARATORS = frozenset(" -\N{HYPHEN}\N{MINUS SIGN}\N{KATAKANA-HIRAGANA PROLONGED SOUND MARK}")
#: Days outside these are taken for the nearest of them: everything.
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2999, 12, 31)


@dataclass(frozen=True)
class Filters:
    """What staff look for; whatever is left out matches everything, and what is given must match together.

    Days are Japan's, both included, and those on which the payments were created. State, store and test are those of
    the payment, that is, of its leading application. ``text`` is what staff paste: a reference, an order_no, a sendid
    or a payment number, with blanks, hyphens or full-width digits.
    """

    text: str = ""
    reference: str = ""
    order_no: str = ""
    sendid: str = ""
    states: Collection[State] = ()
    first_day: date | None = None
    last_day: date | None = None
    store: Store | None = None
    test: bool | None = None
    under_review: bool | None = None


def page(
    session: Session, filters: Filters, limit: int, before: int | None = None
) -> tuple[Sequence[Payment], int | None]:
    """Read the next ``limit`` payments, those below the id ``before``; also says the next ``before``, None at the end."""
    found = ids(session, filters, limit + 1, before)
    return _rows(session, found[:limit]), found[limit - 1] if len(found) > limit else None


def page_and_rest(
    session: Session, filters: Filters, limit: int, before: int | None, most: int
) -> tuple[Sequence[Payment], int | None, int]:
    """Read as `page`, and count those that follow, at most ``most``; all of it in one search."""
    found = ids(session, filters, limit + most, before)
    rest = len(found[limit:])
    return _rows(session, found[:limit]), found[limit - 1] if rest else None, rest


def count(session: Session, filters: Filters, most: int) -> int:
    """Count what matches; stops at ``most``."""
    found = sa.select(Payment.id).where(*conditions(session, filters)).order_by(Payment.id.desc()).limit(most)
    return session.scalar(sa.select(sa.func.count()).select_from(found.subquery())) or 0


def ids(session: Session, filters: Filters, most: int, before: int | None = None) -> Sequence[int]:
    """Read the ids of what matches, newest first, at most ``most``, below ``before``.

    Each state is looked for by itself: what no database plans well is their OR.
    """
    newest = sa.select(Payment.id).where(*_common(session, filters)).order_by(Payment.id.desc()).limit(most)
    if before is not None:
        newest = newest.where(Payment.id < before)
    alternatives = [newest.where(each) for each in _states(filters)]
    if len(alternatives) < 2:
        return session.scalars(alternatives[0] if alternatives else newest).all()
    every = sa.union_all(*(sa.select(each.subquery()) for each in alternatives)).subquery()
    return session.scalars(sa.select(every.c[0]).order_by(every.c[0].desc()).limit(most)).all()


def _rows(session: Session, found: Sequence[int]) -> Sequence[Payment]:
    return session.scalars(sa.select(Payment).where(Payment.id.in_(found)).order_by(Payment.id.desc())).all()


def conditions(session: Session, filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Say what matches as conditions on `Payment`, for a SELECT of somebody else's; looks up where a day begins."""
    states = _states(filters)
    return [*_common(session, filters), *([sa.or_(*states)] if states else [])]


def _states(filters: Filters) -> list[sa.ColumnElement[bool]]:
    return _in_states(frozenset(filters.states), now())


def _common(session: Session, filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Say what matches, but for the states."""
    found: list[sa.ColumnElement[bool]] = [*_days(session, filters), *_keys(filters)]
    if filters.text:
        found.append(_pasted(filters.text))
    if filters.store is not None:
        found.append(_leads(lambda each: each.store == filters.store))
    if filters.test is not None:
        is_test = _leads(lambda each: each.test.is_(True))
        tried = sa.select(Application.payment_id).where(
            Application.test.is_(True)
        )  # few: a plan that begins here
        found += [is_test, Payment.id.in_(tried)] if filters.test else [sa.not_(is_test)]
    if filters.under_review is not None:
        asked = sa.select(Review.payment_id).where(
            Review.resolved_at.is_(None), Review.payment_id.is_not(None)
        )
        found.append(Payment.id.in_(asked) if filters.under_review else Payment.id.not_in(asked))
    return found


def named(session: Session, which: str) -> Sequence[Payment]:
    """Find by a whole reference, else by an order_no, else by an id; several of one reference newest first."""
    which = which.strip()
    for filters in (Filters(reference=which), Filters(order_no=which)):
        found = page(session, filters, 20)[0] if which else []
        if found:
            return found
    one = session.get(Payment, int(which)) if re.fullmatch("[0-9]{1,18}", which) else None
    return [one] if one is not None else []


def under_review(session: Session, rows: Sequence[Payment]) -> frozenset[int]:
    """Tell which of these payments have an open review, by their ids."""
    ids = [each.id for each in rows]
    asked = sa.select(Review.payment_id).where(Review.payment_id.in_(ids), Review.resolved_at.is_(None))
    return frozenset(each for each in session.scalars(asked) if each is not None)


def first_id_since(
    session: Session, rows: type[Base] | InstrumentedAttribute[datetime], moment: datetime
) -> int:
    """Find the first id that can be as young as ``moment`` (aware), less a `MARGIN`, in about twenty looks.

    ``rows`` is a table of `GROWS_WITH_ID`, or its column there. Rows may be older still: ask for their moment, too.
    """
    model: Any = rows.class_ if isinstance(rows, InstrumentedAttribute) else rows
    at = rows if isinstance(rows, InstrumentedAttribute) else GROWS_WITH_ID[rows]
    wanted, low = moment - MARGIN, 1
    high = (session.scalar(sa.select(sa.func.max(model.id))) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        next_one = sa.select(model.id, at).where(model.id >= middle, model.id < high).order_by(model.id)
        seen = session.execute(next_one.limit(1)).first()
        if seen is None or seen[1] >= wanted:
            high = middle
        else:
            low = seen[0] + 1
    return low


def day_begins(day: date) -> datetime:
    """Return 0:00 JST of a day."""
    return datetime.combine(min(max(day, _FIRST_DAY), _LAST_DAY), time(), JST)


def as_pasted(text: str) -> tuple[str, ...]:
    """Return how a text may be meant: as it is, with half-width characters, without blanks and hyphens."""
    seen = _seen(text)
    narrow = unicodedata.normalize("NFKC", seen).strip()
    joined = "".join(each for each in narrow if each not in _SEPARATORS)
    return tuple(dict.fromkeys(each for each in (seen, narrow, joined) if each))


def _days(session: Session, filters: Filters) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if filters.first_day is not None:
        begins = day_begins(filters.first_day)
        found += [Payment.id >= first_id_since(session, Payment, begins), Payment.created_at >= begins]
    if filters.last_day is not None:
        over = day_begins(filters.last_day) + timedelta(days=1)
        # what is later by twice the margin has a greater id than whatever is of that day
        found += [Payment.id < first_id_since(session, Payment, over + 2 * MARGIN), Payment.created_at < over]
    return found


def _keys(filters: Filters) -> list[sa.ColumnElement[bool]]:
    named = (
        (filters.reference, Payment.reference == filters.reference),
        (filters.order_no, Payment.id.in_(_owners(Application.order_no, (filters.order_no,)))),
        (filters.sendid, Payment.id.in_(_owners(Application.sendid, (filters.sendid,)))),
    )
    return [each if _seen(text) == text else sa.false() for text, each in named if text]


def _owners(column: InstrumentedAttribute[Any], texts: Sequence[str]) -> sa.Select[Any]:
    return sa.select(Application.payment_id).where(column.in_(texts))


def _seen(text: str) -> str:
    """Leave out of a text what nobody sees and some databases cannot hold."""
    return "".join(each for each in text if unicodedata.category(each)[0] != "C").strip()


def _pasted(text: str) -> sa.ColumnElement[bool]:
    texts = as_pasted(text)
    if not texts:
        return sa.false()
    of_payments = sa.select(Payment.id).where(Payment.reference.in_(texts)).correlate(None)
    columns = (Application.order_no, Application.sendid, Application.pay_no1)
    found = sa.union(of_payments, *(_owners(column, texts) for column in columns)).subquery()
    return Payment.id.in_(sa.select(found.c[0]))


# --- what a payment is, in SQL ---------------------------------------------------------------------------------

_Each = type[Application]


def _in_states(states: frozenset[State], moment: datetime) -> list[sa.ColumnElement[bool]]:
    """Say what `Payment.state` says, as alternatives."""
    found: list[sa.ColumnElement[bool]] = []
    not_closed, not_ended = Payment.closed_at.is_(None), Payment.expired_at.is_(None)
    if State.CLOSED in states:
        found.append(Payment.closed_at.is_not(None))
    if State.OPEN in states:
        found.append(sa.and_(not_closed, not_ended, sa.not_(_applied())))
    if State.EXPIRED in states:  # ended as an offer, while nothing else was left of it
        otherwise = _leads(lambda each: _is_in(each, frozenset(STATES) - MAY_APPLY, moment))
        found.append(sa.and_(not_closed, Payment.expired_at.is_not(None), sa.not_(otherwise)))
    own = states - {State.CLOSED, State.OPEN}
    if own & MAY_APPLY:
        found.append(
            sa.and_(not_closed, not_ended, _leads(lambda each: _is_in(each, own & MAY_APPLY, moment)))
        )
    if own - MAY_APPLY:
        found.append(sa.and_(not_closed, _leads(lambda each: _is_in(each, own - MAY_APPLY, moment))))
    return found


def _applied() -> sa.ColumnElement[bool]:
    each = aliased(Application)
    return sa.exists().where(each.payment_id == Payment.id)


def _leads(such: Callable[[_Each], sa.ColumnElement[bool]]) -> sa.ColumnElement[bool]:
    """Match payments whose leading application is such a one (`Payment.application`)."""
    each, other = aliased(Application), aliased(Application)
    leading = (
        sa.select(other.id)
        .where(other.payment_id == each.payment_id)
        .order_by(_rank(other, now()).desc(), other.id.desc())
        .limit(1)
        .correlate(each)
        .scalar_subquery()
    )
    # PostgreSQL takes a row that equals a subquery for one in hundreds, though most applications lead, and so reads them
    # all instead of the newest. Of what it cannot see into it thinks better.
    leads = sa.func.coalesce(each.id == leading, sa.false())
    return sa.exists().where(each.payment_id == Payment.id, such(each), leads)


def _is_in(each: _Each, states: frozenset[State], moment: datetime) -> sa.ColumnElement[bool]:
    """Say what `Application.state` says: one that is submitted without an answer is unknown after its time."""
    stored, submitting = each.stored_state, each.stored_state == State.SUBMITTING
    as_stored = sorted(states - {State.SUBMITTING})
    found: list[sa.ColumnElement[bool]] = [stored.in_(as_stored)] if as_stored else []
    if State.SUBMITTING in states:
        found.append(sa.and_(submitting, each.answer_due_at > moment))
    if State.UNKNOWN in states:
        found.append(sa.and_(submitting, each.answer_due_at <= moment))
    return sa.or_(*found)


def _rank(each: _Each, moment: datetime) -> sa.ColumnElement[int]:
    """Say what `Application.rank` says, from the same table."""
    alike: dict[int, set[State]] = {}
    for state in STATES:
        alike.setdefault(RANK[state], set()).add(state)
    return sa.case(
        *((_is_in(each, frozenset(states), moment), rank) for rank, states in alike.items()), else_=0
    )
