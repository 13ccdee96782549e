"""消込: compares ZEUS's list with our books, and takes the notices that never came as if they had.

Only notices move a state. What no notice tells of is put before a person (`Payments.open_review`), or left and said.
Lines of one payment are looked at together, as a re-issue is told by two of them.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.lifecycle import HOLDS_MONEY, TABLE, TOLD_BEFORE, Input, State
from flask_zeus_cvs.models import (
    SOURCE_LENGTH,
    Application,
    Notification,
    Payment,
    Review,
    ReviewReason,
    Verdict,
)
from flask_zeus_cvs.payments import Payments
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.protocol.messages import Notice
from flask_zeus_cvs.staff.search import first_id_since
from flask_zeus_cvs.staff.statement import Line, Silent, Standing, Statement

#: Lines that are looked up at once.
BATCH = 500
#: A clock of ours and one of ZEUS's may differ by so much, and an application takes its time.
MARGIN = timedelta(minutes=5)
#: A list that shows something of so much later than our notice should have known it.
OUGHT_TO_KNOW = timedelta(hours=1)


class Way(StrEnum):
    """The three ways in which a line, or an application of ours, may not agree."""

    DIFFERS = "differs"
    UNKNOWN_TO_US = "unknown_to_us"
    UNKNOWN_TO_THEM = "unknown_to_them"


class Kind(StrEnum):
    """What a difference is."""

    MISSED = "missed"
    NUMBERED = "numbered"
    AMOUNT = "amount"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    CONTRADICTED = "contradicted"
    UNDER_REVIEW = "under_review"
    AHEAD = "ahead"
    OTHER_NUMBER = "other_number"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"
    UNKNOWN_TEST = "unknown_test"
    OLD_SLIP = "old_slip"
    NOT_LISTED = "not_listed"


@dataclass(frozen=True, slots=True)
class Words:
    """What a kind of difference means, what helps, and the review that `apply` opens for it."""

    way: Way
    label: str
    advice: str
    review: ReviewReason | None = None
    #: Nobody needs to do anything about it.
    harmless: bool = False


WORDS: Mapping[Kind, Words] = MappingProxyType(
    {
        Kind.MISSED: Words(
            Way.DIFFERS,
            "notices never came",
            "Run it with --apply: the missing notices are taken from the list, as if they had come.",
        ),
        Kind.NUMBERED: Words(
            Way.DIFFERS,
            "refused, and we did not know its order number",
            "Nothing to do: both sides say that there is no slip. With --apply its order number is noted.",
            harmless=True,
        ),
        Kind.AMOUNT: Words(
            Way.DIFFERS,
            "another amount",
            "The amount at ZEUS is not the one that you charged. Nothing is changed: compare both, then resolve the "
            "review that --apply opens.",
            ReviewReason.AMOUNT_AT_ZEUS,
        ),
        Kind.STOPPED: Words(
            Way.DIFFERS,
            "番組停止: paid after the service was stopped",
            "Money that no notice and no mail tells of. Ask ZEUS what becomes of it, then resolve the review that "
            "--apply opens: as confirmed to ship, as ignored if the customer is paid back.",
            ReviewReason.PAID_WHILE_STOPPED,
        ),
        Kind.CANCELLED: Words(
            Way.DIFFERS,
            "キャンセル, and no re-issue is in the list",
            "Somebody re-issued it on ZEUS's screen, and the new slip is not in this list. Fetch one that goes on "
            "longer, or look at ZEUS's screen and resolve the review that --apply opens.",
            ReviewReason.CANCELLED_AT_ZEUS,
        ),
        Kind.CONTRADICTED: Words(
            Way.DIFFERS,
            "we were told of money that ZEUS does not show",
            "The notice came long before this list was made, and the list does not know it. Look at ZEUS's screen "
            "before goods leave; make sure that ZEUS_CVS_CALLBACK_IPS has ZEUS's two addresses only.",
            ReviewReason.MONEY_NOT_AT_ZEUS,
        ),
        Kind.UNDER_REVIEW: Words(
            Way.DIFFERS,
            "a person has yet to decide",
            "Its notices are here, or the question is asked already: resolve its review.",
        ),
        Kind.AHEAD: Words(
            Way.DIFFERS,
            "ours is further",
            "Left as it is: the list is older than our last notice, or we ended the slip at its deadline. A newer list "
            "should agree.",
        ),
        Kind.OTHER_NUMBER: Words(
            Way.DIFFERS,
            "our sendid under another order number",
            "It looks like a re-issue, and the list does not show our slip as replaced. Fetch a list that begins "
            "earlier, and see that the column of order numbers is the right one and was not saved in Excel.",
        ),
        Kind.FOREIGN: Words(
            Way.UNKNOWN_TO_US,
            "another merchant's clientip",
            "Not yours: the list was fetched under another IP code, or ZEUS_CVS_CLIENT_IP is wrong. Nothing is taken "
            "from these lines.",
        ),
        Kind.UNKNOWN: Words(
            Way.UNKNOWN_TO_US,
            "not in our books",
            "Applied for by another system under your clientip, or in a database that was lost. With --unknown, "
            "--apply keeps their notices, each as a review.",
        ),
        Kind.UNKNOWN_TEST: Words(
            Way.UNKNOWN_TO_US,
            "a test that is not in our books",
            "Nothing to do: a test is no sale.",
            harmless=True,
        ),
        Kind.OLD_SLIP: Words(
            Way.UNKNOWN_TO_US,
            "a slip that was re-issued before we heard of it",
            "Nothing to do: the one that took its place is in your books, and nobody paid the old one.",
            harmless=True,
        ),
        Kind.NOT_LISTED: Words(
            Way.UNKNOWN_TO_THEM,
            "ours, and not in the list",
            "Fetch a list of all statuses that covers these days. What is still missing then ZEUS does not know: look "
            "at its screen.",
        ),
    }
)

#: The states that say the same as the list. 番組停止 has none.
SAME: Mapping[Standing, frozenset[State]] = MappingProxyType(
    {
        Status.AWAITING_PAYMENT: frozenset({State.AWAITING_PAYMENT}),
        Status.APPLICATION_FAILED: frozenset({State.DECLINED, State.FAILED}),
        Status.EXPIRED: frozenset({State.EXPIRED}),
        Status.PAYMENT_RECEIVED: frozenset({State.RECEIVED}),
        Status.SALE_CONFIRMED: frozenset({State.CONFIRMED}),
        Status.PAYMENT_CANCELLED: frozenset({State.CANCELLED}),
        Silent.CANCELLED: frozenset({State.SUPERSEDED}),
        Status.RECEIVED_AFTER_CANCEL: frozenset({State.RECEIVED_AFTER_CANCEL}),
        Status.CONFIRMED_AFTER_CANCEL: frozenset({State.CONFIRMED_AFTER_CANCEL}),
        Status.CANCELLED_AFTER_CANCEL: frozenset({State.CANCELLED_AFTER_CANCEL}),
        Silent.STOPPED: frozenset(),
    }
)
#: What an old slip is once it was re-issued.
_OLD: frozenset[Standing] = frozenset(
    {
        Silent.CANCELLED,
        Status.RECEIVED_AFTER_CANCEL,
        Status.CONFIRMED_AFTER_CANCEL,
        Status.CANCELLED_AFTER_CANCEL,
    }
)
#: A slip that may have been re-issued; an old one that was paid while the service was stopped does not tell.
_ENDED: frozenset[Standing] = _OLD | {Status.APPLICATION_FAILED, Status.EXPIRED, Silent.STOPPED}
_REPLACED = frozenset(
    {
        State.SUPERSEDED,
        State.RECEIVED_AFTER_CANCEL,
        State.CONFIRMED_AFTER_CANCEL,
        State.CANCELLED_AFTER_CANCEL,
    }
)
_NO_SLIP_YET = frozenset({State.SUBMITTING, State.UNKNOWN, State.DECLINED, State.FAILED})
_WITHOUT_MONEY: frozenset[Standing] = frozenset(
    {Status.AWAITING_PAYMENT, Status.APPLICATION_FAILED, Status.EXPIRED, Silent.CANCELLED}
)
_BEFORE_MONEY = frozenset({Status.AWAITING_PAYMENT, Status.APPLICATION_FAILED, Status.EXPIRED})
_SLIPS = frozenset({Status.AWAITING_PAYMENT, Status.APPLICATION_FAILED})
#: What first becomes of a slip: the list shows its moment until something follows.
_FIRST_FATES: frozenset[Standing] = frozenset(
    {Status.EXPIRED, Status.PAYMENT_RECEIVED, Status.RECEIVED_AFTER_CANCEL}
)


@dataclass(frozen=True, slots=True)
class Ours:
    """An application as we have it."""

    id: int
    payment_id: int
    reference: str = field(repr=False)
    order_no: str | None
    sendid: str = field(repr=False)
    state: State
    amount: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: its line in the list, our application, and the notices that are missing, in order.

    ``after`` is the state to which those lead; None if they lead nowhere, or to a review. ``reissue``: we have no
    application of this order number yet, and ``ours`` is the one before it.
    """

    kind: Kind
    order_no: str
    line: Line | None = None
    ours: Ours | None = None
    missing: tuple[Status, ...] = ()
    after: State | None = None
    reissue: bool = False

    @property
    def words(self) -> Words:
        return WORDS[self.kind]


@dataclass(frozen=True, slots=True)
class Span:
    """The days whose applications ought to be in the list; aware."""

    since: datetime
    until: datetime


@dataclass
class Report:
    """What a comparison found."""

    agree: int = 0
    #: Of those that agree: what a person had decided otherwise than ZEUS's status says.
    decided: int = 0
    findings: list[Finding] = field(default_factory=list)
    #: What was looked for in the other direction; None: the list does not tell, and nobody else did.
    span: Span | None = None

    def of(self, way: Way) -> list[Finding]:
        return [each for each in self.findings if each.words.way is way]

    @property
    def counts(self) -> Counter[Kind]:
        return Counter(each.kind for each in self.findings)


@dataclass
class Applied:
    """What `Reconciliation.apply` did."""

    notices: Counter[Status] = field(default_factory=Counter)
    slips: set[str] = field(default_factory=set)
    #: Questions to a person that were opened: by notices that did not fit, and by what no notice tells of.
    reviews: int = 0


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A line that does not agree at first sight, with all that helps to judge it."""

    line: Line
    ours: Ours | None
    #: Of a line with a strange order number: our applications of its sendid.
    family: tuple[Ours, ...] = ()
    #: The notices of it that are here, and when they came first.
    had: Mapping[Status, datetime] = field(default_factory=dict)
    asked: frozenset[ReviewReason] = frozenset()
    #: Whether a review of it is open; None if there is none at all.
    open: bool | None = None


def _unheard(_done: int) -> None:
    """Nobody watches."""


class Reconciliation:
    """Compares one list with our books, and mends what notices can mend."""

    def __init__(self, payments: Payments, statement: Statement) -> None:
        self._payments = payments
        self._database = payments.database
        self._settings = payments.settings
        self._statement = statement

    # --- compare ---------------------------------------------------------------------------------

    def compare(self, span: Span | None = None, tick: Callable[[int], object] = _unheard) -> Report:
        """Look up every line of the list, and every application of ours in the ``span`` that is not in it.

        Without a span it is the one that the list covers, if it tells. ``tick`` hears how many lines are done.
        """
        report = Report()
        groups: dict[int, list[_Candidate]] = defaultdict(list)
        for lines in _batches(self._statement.lines()):
            found = self._database.read(lambda session, lines=lines: self._look_up(session, lines))  # type: ignore[misc]
            report.agree += found.agree
            report.findings += found.findings
            for each in found.candidates:
                groups[(each.ours or each.family[0]).payment_id].append(each)
            tick(len(lines))
        for candidates in groups.values():
            self._settle(candidates, report)
        report.span = span or self._covered()
        if report.span is not None:
            report.findings += self._not_listed(report.span)
        report.findings.sort(key=lambda each: each.line.number if each.line is not None else sys.maxsize)
        return report

    def _look_up(self, session: Session, lines: Sequence[Line]) -> _Found:
        """Look up a batch: what agrees, what is nobody's of ours, and what must be looked at together with others."""
        found = _Found()
        own = []
        for line in lines:
            if line.clientip in ("", self._settings.client_ip):
                own.append(line)
            else:
                found.findings.append(Finding(Kind.FOREIGN, line.order_no, line))
        ours = {each.order_no: each for each in _ours(session, Application.order_no, _order_nos(own))}
        strange = [each for each in own if each.order_no not in ours]
        families: dict[str, list[Ours]] = defaultdict(list)
        for each in _ours(session, Application.sendid, [each.sendid for each in strange if each.sendid]):
            families[each.sendid].append(each)
        differing = []
        for line in own:
            its = ours.get(line.order_no)
            if its is not None and its.state in SAME[line.standing] and its.amount == line.money:
                found.agree += 1
            elif its is not None or line.sendid in families:
                differing.append(_Candidate(line, its, tuple(families.get(line.sendid, ()))))
        found.candidates = _informed(session, differing)
        nobody = [each for each in strange if each.sendid not in families]
        found.findings += _nobodys(session, nobody)
        return found

    # --- what to make of a difference --------------------------------------------------------------

    def _settle(self, candidates: Sequence[_Candidate], report: Report) -> None:
        """Judge the lines of one payment."""
        successors = {
            each.line.sendid for each in candidates if each.ours is None and self._follows(each, candidates)
        }
        for each in sorted(candidates, key=_by_age):
            finding = self._judge(each, successors, candidates)
            if finding is None:
                report.agree += 1
                report.decided += 1
            else:
                report.findings.append(finding)

    def _judge(
        self, candidate: _Candidate, successors: set[str], candidates: Sequence[_Candidate]
    ) -> Finding | None:
        """Judge one line; None if a person has decided about it."""
        line, ours = candidate.line, candidate.ours or candidate.family[-1]
        if line.money != ours.amount:
            return _asked(candidate, ours, Kind.AMOUNT)
        if candidate.ours is None:
            return self._judge_strange(candidate, successors, candidates)
        if line.standing is Silent.STOPPED:
            missing = (Status.AWAITING_PAYMENT,) if ours.state in _NO_SLIP_YET else ()
            return _asked(candidate, ours, Kind.STOPPED, missing)
        if line.standing is Silent.CANCELLED:
            return self._judge_cancelled(candidate, ours, ours.sendid in successors)
        return self._judge_told(candidate, ours, line.standing)

    def _judge_told(self, candidate: _Candidate, ours: Ours, standing: Status) -> Finding | None:
        """Judge a status of which a notice tells."""
        had = candidate.had
        if any(Input(standing) in TOLD_BEFORE[Input(each)] for each in had):
            return self._ahead(candidate, ours)
        if standing in had:
            if candidate.open is None:
                return self._ahead(candidate, ours)
            return (
                Finding(Kind.UNDER_REVIEW, candidate.line.order_no, candidate.line, ours)
                if candidate.open
                else None
            )
        missing = tuple(
            each
            for each in _course(standing)
            if each not in had and (each is not Status.AWAITING_PAYMENT or ours.state in _NO_SLIP_YET)
        )
        moves, after = _led(ours.state, missing)
        if not moves:
            return self._ahead(candidate, ours)
        return Finding(Kind.MISSED, candidate.line.order_no, candidate.line, ours, missing, after)

    def _judge_cancelled(self, candidate: _Candidate, ours: Ours, replaced: bool) -> Finding | None:
        """Judge an old slip: the notices of its successor replace it, if the list has that."""
        if ours.state in HOLDS_MONEY | _REPLACED | {State.CANCELLED}:
            return self._ahead(candidate, ours)
        if replaced:
            return Finding(Kind.MISSED, candidate.line.order_no, candidate.line, ours, after=State.SUPERSEDED)
        return _asked(candidate, ours, Kind.CANCELLED)

    def _judge_strange(
        self, candidate: _Candidate, successors: set[str], candidates: Sequence[_Candidate]
    ) -> Finding | None:
        """Judge an order number that we do not know, of a sendid that is ours: a lost answer, or a re-issue."""
        line, family = candidate.line, candidate.family
        ours = _unbound(family) or family[-1]
        first_of_all = _unbound(family) is not None
        if line.standing in _OLD and not (first_of_all or line.sendid in successors):
            return _late_word(line, ours)
        if line.standing in _OLD:
            if line.standing is Silent.CANCELLED and line.sendid not in successors:
                return _asked(candidate, ours, Kind.CANCELLED)
        elif not self._follows(candidate, candidates):
            return Finding(Kind.OTHER_NUMBER, line.order_no, line, ours)
        missing = _course(line.standing)
        state = ours.state if first_of_all else State.UNKNOWN
        after = State.SUPERSEDED if line.standing is Silent.CANCELLED else _led(state, missing)[1]
        kind = Kind.STOPPED if line.standing is Silent.STOPPED else Kind.MISSED
        if after is state and state in SAME[line.standing]:
            kind = Kind.NUMBERED
        return Finding(kind, line.order_no, line, ours, missing, after, reissue=not first_of_all)

    def _follows(self, candidate: _Candidate, candidates: Sequence[_Candidate]) -> bool:
        """Tell whether a strange line is the slip that counts now: the only one of its sendid that is not replaced."""
        line = candidate.line
        if line.standing in _OLD:
            return False
        places = self._statement.contents.places
        for each in candidate.family:
            if each.order_no is None or each.state in _REPLACED:
                continue
            place = places.get(each.order_no)
            if place is None or place.standing not in _ENDED:
                return False
        others = [
            each
            for each in candidates
            if each.ours is None and each.line.sendid == line.sendid and each.line is not line
        ]
        return line.standing in _ENDED or all(each.line.standing in _ENDED for each in others)

    def _ahead(self, candidate: _Candidate, ours: Ours) -> Finding | None:
        """Say that we are further than the list; a list that ought to know of our money and does not is another thing."""
        line, newest = candidate.line, self._statement.contents.newest
        told = [moment for status, moment in candidate.had.items() if status not in _BEFORE_MONEY]
        if candidate.open is not None and not told:
            return Finding(Kind.UNDER_REVIEW, line.order_no, line, ours) if candidate.open else None
        unmatched = ours.state in HOLDS_MONEY and line.standing in _WITHOUT_MONEY
        if unmatched and told and newest is not None and min(told) + OUGHT_TO_KNOW < newest:
            return _asked(candidate, ours, Kind.CONTRADICTED)
        return Finding(Kind.AHEAD, line.order_no, line, ours)

    # --- the other direction -------------------------------------------------------------------------

    def _covered(self) -> Span | None:
        contents = self._statement.contents
        if contents.since is None or contents.until is None:
            return None
        return Span(contents.since, contents.until - MARGIN)

    def _not_listed(self, span: Span) -> Iterator[Finding]:
        """Find our applications of a span that the list does not have, by their order numbers."""
        places = self._statement.contents.places
        last = self._database.read(lambda session: first_id_since(session, Application, span.since)) - 1
        while True:
            page = self._database.read(lambda session, last=last: _applied_in(session, span, last))  # type: ignore[misc]
            for each in page:
                if each.order_no not in places:
                    yield Finding(Kind.NOT_LISTED, each.order_no or "", ours=each)
            if len(page) < PAGE:
                return
            last = page[-1].id

    # --- apply -------------------------------------------------------------------------------------

    def apply(
        self,
        report: Report,
        *,
        unknown: bool = False,
        tick: Callable[[int], object] = _unheard,
    ) -> Applied:
        """Take the missing notices, each payment's in one transaction, and open the reviews; then subscribers are told.

        Can be broken off and run again: what is done is found done. ``unknown``: also keep the notices of
        applications that are not in our books, each as a review.
        """
        done = Applied()
        with_money = self._database.read(_tell_money)
        for group in _groups(report.findings, unknown=unknown):
            told = _in_their_order(group)
            raw = [self._raw(finding, status, with_money) for finding, status in told]
            receipts = self._payments.catch_up(raw, self.source) if raw else []
            for (finding, status), receipt in zip(told, receipts, strict=True):
                if receipt is not None and not receipt.repeat:
                    done.notices[status] += 1
                    done.slips.add(finding.order_no)
                    done.reviews += receipt.verdict in (Verdict.REVIEW, Verdict.WAITING)
            done.reviews += sum(map(self._ask, group))
            tick(len(group))
        self._payments.deliver_here()
        return done

    def to_do(self, report: Report, *, unknown: bool = False) -> tuple[int, int]:
        """Count what `apply` would do: notices to be taken, and reviews to be opened besides theirs."""
        applied = [each for group in _groups(report.findings, unknown=unknown) for each in group]
        return sum(len(each.missing) for each in applied), sum(
            each.words.review is not None for each in applied
        )

    @property
    def source(self) -> str:
        """How the notices are marked: with the file's name, as far as the column holds it."""
        name = "".join(
            each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in self._statement.path.name
        )
        return f"file:{name}"[:SOURCE_LENGTH]

    def _raw(self, finding: Finding, status: Status, with_money: bool) -> bytes:
        """Spell a notice as ZEUS would have sent it, but for the customer's details: they have been here since the
        application, and nothing hangs on them."""
        line = finding.line
        assert line is not None
        numbers = not self._statement.mangled
        notice = Notice(
            status=status,
            clientip=self._settings.client_ip,
            money=line.money if with_money else None,
            sendid=line.sendid or (finding.ours.sendid if finding.ours else ""),
            order_no=line.order_no,
            pay_cvs=line.store or "",
            pay_no1=line.pay_no1 if numbers else "",
            pay_no2=line.pay_no2 if numbers else "",
            pay_limit=line.pay_limit,
            error_code=line.error_code,
        )
        said = [name for name in NOTICE if getattr(notice, name) not in ("", None)]
        return notice.encode(said, self._settings.callback_encoding)

    def _ask(self, finding: Finding) -> bool:
        """Put before a person what no notice tells of."""
        reason = finding.words.review
        if reason is None:
            return False
        bound = sa.select(Application.id).where(Application.order_no == finding.order_no)
        application_id = self._database.read(lambda session: session.scalar(bound))
        if application_id is None and finding.ours is not None:
            application_id = finding.ours.id
        return application_id is not None and self._payments.open_review(application_id, reason)


#: Applications that are read at once.
PAGE = 5000


@dataclass
class _Found:
    """What looking up one batch of lines found."""

    agree: int = 0
    findings: list[Finding] = field(default_factory=list)
    candidates: list[_Candidate] = field(default_factory=list)


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while batch := list(itertools.islice(lines, BATCH)):
        yield batch


def _order_nos(lines: Iterable[Line]) -> list[str]:
    return [each.order_no for each in lines]


def _select_ours() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(
        Application.id,
        Application.payment_id,
        Payment.reference,
        Application.order_no,
        Application.sendid,
        Application.stored_state,
        Application.answer_due_at,
        Payment.amount,
        Application.created_at,
    ).join(Application.payment)


def _as_ours(row: Any) -> Ours:
    overdue = row.stored_state is State.SUBMITTING and row.answer_due_at <= now()
    return Ours(
        id=row.id,
        payment_id=row.payment_id,
        reference=row.reference,
        order_no=row.order_no,
        sendid=row.sendid,
        state=State.UNKNOWN if overdue else row.stored_state,
        amount=row.amount,
        created_at=row.created_at,
    )


def _ours(session: Session, column: InstrumentedAttribute[Any], values: Sequence[str]) -> list[Ours]:
    """Read applications by one of their keys, oldest first."""
    if not values:
        return []
    found = _select_ours().where(column.in_(values)).order_by(Application.id)
    return [_as_ours(each) for each in session.execute(found)]


def _applied_in(session: Session, span: Span, last: int) -> list[Ours]:
    found = _select_ours().where(
        Application.id > last,
        Application.order_no.is_not(None),
        Application.created_at >= span.since,
        Application.created_at <= span.until,
    )
    return [_as_ours(each) for each in session.execute(found.order_by(Application.id).limit(PAGE))]


def _informed(session: Session, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Add what was told and asked about each."""
    payments = sorted({each.payment_id for candidate in candidates for each in _all_of(candidate)})
    had: dict[int | None, dict[Status, datetime]] = defaultdict(dict)
    asked: dict[int, list[tuple[int | None, ReviewReason, bool]]] = defaultdict(list)
    for some in _batched(payments):
        told = (
            sa.select(Notification.application_id, Notification.status, Notification.first_at)
            .join(Payment, Payment.id == Notification.payment_id)
            .where(
                Notification.payment_id.in_(some),
                sa.or_(Notification.money == Payment.amount, Notification.money.is_(None)),
            )
        )
        for application_id, status, first_at in session.execute(told):
            had[application_id][Status(status)] = first_at
        reviews = sa.select(
            Review.payment_id, Review.application_id, Review.reason, Review.resolved_at
        ).where(Review.payment_id.in_(some))
        for payment_id, application_id, reason, resolved_at in session.execute(reviews):
            asked[payment_id or 0].append((application_id, reason, resolved_at is None))
    return [_with_past(each, had, asked) for each in candidates]


def _with_past(
    candidate: _Candidate,
    had: Mapping[int | None, Mapping[Status, datetime]],
    asked: Mapping[int, Sequence[tuple[int | None, ReviewReason, bool]]],
) -> _Candidate:
    ours = candidate.ours
    about = (ours or candidate.family[-1]).id
    reviews = [
        (reason, is_open)
        for application_id, reason, is_open in asked.get(_all_of(candidate)[0].payment_id, ())
        if application_id in (about, None)
    ]
    return replace(
        candidate,
        had=dict(had.get(ours.id, {})) if ours is not None else {},
        asked=frozenset(reason for reason, _ in reviews),
        open=any(is_open for _, is_open in reviews) if reviews else None,
    )


def _all_of(candidate: _Candidate) -> tuple[Ours, ...]:
    return (candidate.ours,) if candidate.ours is not None else candidate.family


def _batched(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]


def _nobodys(session: Session, lines: Sequence[Line]) -> list[Finding]:
    """Judge the lines of applications that are not in our books; some of their notices may have come, and wait."""
    if not lines:
        return []
    had: dict[str, set[str]] = defaultdict(set)
    kept = sa.select(Notification.order_no, Notification.status).where(
        Notification.order_no.in_(_order_nos(lines)), Notification.verdict == Verdict.WAITING
    )
    for order_no, status in session.execute(kept):
        had[order_no].add(status)
    return [
        Finding(
            Kind.UNKNOWN_TEST if each.test else Kind.UNKNOWN,
            each.order_no,
            each,
            missing=tuple(status for status in _course(each.standing) if status not in had[each.order_no]),
        )
        for each in lines
    ]


def _course(standing: Standing) -> tuple[Status, ...]:
    """List the notices that ZEUS has sent of a slip that stands so, in order. Of the silent two it told only 01."""
    if isinstance(standing, Silent):
        return (Status.AWAITING_PAYMENT,)
    return (*(Status(each) for each in TOLD_BEFORE[Input(standing)]), standing)


def _late_word(line: Line, ours: Ours) -> Finding:
    """Judge an old slip of which we never heard, when its successor is here: 01 would be taken for one more re-issue."""
    if line.standing is Silent.CANCELLED:
        return Finding(Kind.OLD_SLIP, line.order_no, line, ours)
    told = _course(line.standing)[1:]
    after = _led(State.UNKNOWN, told)[1]
    return Finding(Kind.MISSED, line.order_no, line, ours, told, after, reissue=True)


def _led(state: State, told: Iterable[Status]) -> tuple[bool, State | None]:
    """Tell whether notices would move a state or ask a person, and where they lead; None if to a question."""
    moves, reviewed = False, False
    for status in told:
        cell = TABLE[state, Input(status)]
        moves = moves or cell.state is not None or cell.review
        reviewed = reviewed or cell.review
        state = cell.state or state
    return moves, None if reviewed else state


def _asked(candidate: _Candidate, ours: Ours, kind: Kind, missing: tuple[Status, ...] = ()) -> Finding | None:
    """Make a finding of which a person decides; None if they have."""
    reason = WORDS[kind].review
    same = {reason, ReviewReason.WRONG_AMOUNT} if kind is Kind.AMOUNT else {reason}
    if not candidate.asked & same:
        return Finding(kind, candidate.line.order_no, candidate.line, ours, missing)
    return (
        Finding(Kind.UNDER_REVIEW, candidate.line.order_no, candidate.line, ours) if candidate.open else None
    )


def _unbound(family: Iterable[Ours]) -> Ours | None:
    """Find the application whose order number we were never told."""
    return next((each for each in family if each.order_no is None), None)


def _by_age(candidate: _Candidate | Finding) -> tuple[datetime, bool, int]:
    """Sort slips by when they were applied for; where the list does not tell, those that were replaced come first."""
    line = candidate.line
    assert line is not None
    return line.applied_at or _LONG_AGO, line.standing not in _OLD, line.number


_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


_TAKEN = (Kind.MISSED, Kind.NUMBERED)


def _groups(findings: Iterable[Finding], *, unknown: bool) -> Iterator[list[Finding]]:
    """Put together what belongs to one payment and can be applied."""
    groups: dict[int | str, list[Finding]] = defaultdict(list)
    for each in findings:
        if each.kind is Kind.UNKNOWN and not unknown:
            continue
        if each.kind is Kind.UNKNOWN and each.missing:
            groups[each.order_no].append(each)
        elif each.ours is not None and (each.kind in _TAKEN or each.words.review is not None):
            groups[each.ours.payment_id].append(each)
    yield from groups.values()


def _in_their_order(group: Sequence[Finding]) -> list[tuple[Finding, Status]]:
    """Put the notices of one payment in the order in which ZEUS sent them, as far as the list tells.

    Slips come before what became of them. For that the moments in the list decide; where they tell only of a later
    step, the old slip's money comes first, as then goods wait for a person, and what expired comes last.
    """
    by_age = sorted(group, key=_by_age)
    slips = [(each, status) for each in by_age for status in each.missing if status in _SLIPS]
    fates = [each for each in by_age if set(each.missing) - _SLIPS]
    moments = {each.order_no: moment for each in fates if (moment := _at_once(each)) is not None}
    if len(moments) == len(fates):
        fates.sort(key=lambda each: moments[each.order_no])
    else:
        fates.sort(key=_cautiously)
    return slips + [(each, status) for each in fates for status in each.missing if status not in _SLIPS]


def _at_once(finding: Finding) -> datetime | None:
    """Tell when it happened, if the list shows the first thing that became of a slip."""
    line = finding.line
    return line.changed_at if line is not None and line.standing in _FIRST_FATES else None


def _cautiously(finding: Finding) -> tuple[bool, bool]:
    standing = finding.line.standing if finding.line is not None else None
    return standing is Status.EXPIRED, standing not in _OLD


def _tell_money(session: Session) -> bool:
    """Tell whether the shop's notices say the amount: those from a list must be the same as a later one from ZEUS."""
    newest = (
        sa.select(Notification.money)
        .where(Notification.source == "callback", Notification.payment_id.is_not(None))
        .order_by(Notification.id.desc())
        .limit(1)
    )
    row = session.execute(newest).first()
    return row is None or row[0] is not None
