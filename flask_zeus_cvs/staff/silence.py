"""Whether ZEUS's notices stay away against what is to be expected: a broken callback is noticed the same day.

Two signs are looked for. ZEUS tells of every slip that it issues (01): slips of which it did not tell are the
strongest, within minutes. Where it is not known to, the payments that open slips lead one to expect count: how soon
customers pay after they applied, and at which hours of the week (Japan's), is learnt from the shop's own history.
Customers pay independently of each other, so nobody paying has a chance that can be told; 05s, which come in
batches, would not. Any notice at all ends a silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.models import Application, Notification, end_of_day
from flask_zeus_cvs.payments import Payments
from flask_zeus_cvs.protocol.fields import MAX_DAYS
from flask_zeus_cvs.staff.findings import Finding, fine, found
from flask_zeus_cvs.staff.search import first_id_since

#: How far back habits are learnt from.
HISTORY = timedelta(weeks=8)
#: Slips of the history, and open ones, that are looked at: the newest, which are the likeliest to be paid.
SAMPLE = 4_000
#: Applications among which it is seen how often ZEUS tells of a slip.
LATEST = 200
#: By then ZEUS has told of a slip; one that waits for an hour counts twice.
SOON, LONG = timedelta(minutes=15), timedelta(hours=1)
#: No silence is shorter.
SHORTEST = timedelta(minutes=30)
#: What happens less often than once in so many silences, and once in so many days, is no chance.
ONCE_IN = 1_000
#: What is taken for granted of a shop without a history: one 01 in two hundred is lost.
_LOST, _SENT = 0.5, 100.0
#: Ends of the ages, in hours, between which customers are taken to be equally quick to pay.
AGES = (1, 3, 6, 12, 24, 48, 72, 120, 240, 60 * 24)
#: How many notices the plain picture of a week, hour of day times day of week, weighs against what was seen.
_PLAIN = 168.0
_WEEK = 168
_MONDAY = datetime(2001, 1, 1, tzinfo=JST)


@dataclass(frozen=True)
class Slip:
    """A slip: when ZEUS issued it, when it was paid, and until when it could be."""

    opened_at: datetime
    paid_at: datetime | None = None
    closes_at: datetime | None = None


@dataclass(frozen=True)
class Habits:
    """How a shop's customers pay, as learnt from its slips."""

    #: How busy each hour of the week is (0: Monday from 0:00 JST); 1 on average.
    week: tuple[float, ...]
    #: Payments an average hour and a slip, at each of the `AGES`.
    rates: tuple[float, ...]
    #: Payments that this was learnt from.
    seen: int

    @cached_property
    def _until(self) -> tuple[float, ...]:
        """The busyness of the week up to each hour."""
        sums = [0.0]
        for each in self.week:
            sums.append(sums[-1] + each)
        return tuple(sums)

    def busy(self, since: datetime, until: datetime) -> float:
        """Measure a span of time in average hours."""
        return self._ticks(until) - self._ticks(since) if until > since else 0.0

    def _ticks(self, moment: datetime) -> float:
        hours = (moment - _MONDAY) / timedelta(hours=1)
        weeks, hour = divmod(hours, _WEEK)
        whole = int(hour)
        return weeks * self._until[-1] + self._until[whole] + self.week[min(whole, 167)] * (hour - whole)

    def expected(self, slips: Iterable[Slip], since: datetime, until: datetime) -> float:
        """Say how many payments these slips would bring in a span of time, on average."""
        return sum(
            rate * self.busy(max(since, begin), min(until, end))
            for slip in slips
            for rate, begin, end in zip(self.rates, *_ages(slip), strict=True)
            if rate
        )

    def chance(self, expected: float) -> float:
        """Say how probable it is to hear of none of so many; less sure, the fewer payments it was learnt from."""
        return (1 + expected / self.seen) ** -self.seen if self.seen else 1.0


def learn(slips: Sequence[Slip], until: datetime, hours: Mapping[int, int] | None = None) -> Habits:
    """Learn from slips as they stood at a moment; ``hours`` counts payments by the hour of the week, of all slips."""
    paid = [slip for slip in slips if slip.paid_at is not None]
    counts = hours if hours is not None else count_hours(slip.paid_at for slip in paid if slip.paid_at)
    plain = Habits(week_of(counts), (0.0,) * len(AGES), len(paid))
    payments, exposure = [0] * len(AGES), [0.0] * len(AGES)
    for slip in slips:
        left = min(each for each in (slip.paid_at, slip.closes_at, until) if each is not None)
        for place, (begin, end) in enumerate(zip(*_ages(slip), strict=True)):
            exposure[place] += plain.busy(begin, min(end, left))
            payments[place] += slip.paid_at is not None and begin <= slip.paid_at < end
    rates = tuple(many / spent if spent else 0.0 for many, spent in zip(payments, exposure, strict=True))
    return Habits(plain.week, rates, len(paid))


def _ages(slip: Slip) -> tuple[list[datetime], list[datetime]]:
    """The beginnings and ends of a slip's ages, cut off where it cannot be paid any more."""
    ends = [slip.opened_at + timedelta(hours=each) for each in AGES]
    if slip.closes_at is not None:
        ends = [min(each, max(slip.closes_at, slip.opened_at)) for each in ends]
    return [slip.opened_at, *ends[:-1]], ends


def hour_of_week(moment: datetime) -> int:
    """Return 0 for Monday from 0:00 to 1:00 JST, up to 167."""
    here = moment.astimezone(JST)
    return here.weekday() * 24 + here.hour


def count_hours(moments: Iterable[datetime]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for each in moments:
        hour = hour_of_week(each)
        counts[hour] = counts.get(hour, 0) + 1
    return counts


def week_of(counts: Mapping[int, int]) -> tuple[float, ...]:
    """Draw the week from what was seen: an hour of which little is known is like that hour on other days."""
    total = sum(counts.values())
    by_hour = [1.0 + sum(counts.get(day * 24 + hour, 0) for day in range(7)) for hour in range(24)]
    by_day = [0.5 + sum(counts.get(day * 24 + hour, 0) for hour in range(24)) for day in range(7)]
    plain = [day * hour / (sum(by_day) * sum(by_hour)) for day in by_day for hour in by_hour]
    drawn = [counts.get(place, 0) + _PLAIN * share for place, share in enumerate(plain)]
    return tuple(each * _WEEK / (total + _PLAIN) for each in drawn)


@dataclass(frozen=True)
class Evidence:
    """What the shop's tables say at a moment."""

    at: datetime
    #: When ZEUS was last heard; None: never.
    heard_at: datetime | None
    #: Slips since then of which ZEUS should have told `SOON`, and of these those that wait `LONG`.
    untold: int = 0
    untold_long: int = 0
    oldest_untold_at: datetime | None = None
    #: Of the latest slips before, of how many ZEUS told, and of how many not.
    told: int = 0
    lost: int = 0
    #: How many slips could be paid in the silence, and the newest `SAMPLE` of them.
    open: int = 0
    of_open: tuple[Slip, ...] = field(default=(), repr=False)
    habits: Habits = field(default=Habits((1.0,) * _WEEK, (0.0,) * len(AGES), 0), repr=False)
    #: Payments a day, in the history.
    a_day: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What the evidence comes to."""

    #: The code of a finding: ``live.no_call``, ``live.silence``; blank: no suspicion.
    code: str
    #: Payments that one would have heard of in this silence, on average.
    expected: float
    #: How probable such a silence is; 1 where nothing is expected.
    chance: float
    #: Whether ZEUS is known to send no 01.
    without_01: bool = False


def judge(evidence: Evidence) -> Verdict:
    """Weigh the evidence."""
    without_01 = evidence.lost > 0 and not evidence.told  # and yet it was heard, after these slips
    expected, chance, limit = _payments(evidence)
    if not without_01 and _untold(evidence) < 1 / ONCE_IN:
        return Verdict("live.no_call", expected, chance)
    if chance < limit and _silent_for(evidence) >= SHORTEST:
        return Verdict("live.silence", expected, chance, without_01)
    return Verdict("", expected, chance, without_01)


def _untold(evidence: Evidence) -> float:
    """Say how probable it is that ZEUS's word of just these slips was lost."""
    lost = (evidence.lost + _LOST) / (evidence.lost + evidence.told + _SENT)
    return float(lost ** (evidence.untold + evidence.untold_long))


def _payments(evidence: Evidence) -> tuple[float, float, float]:
    """Return the payments expected, the chance of hearing of none, and below which chance it is none."""
    if evidence.heard_at is None or not evidence.of_open:
        return 0.0, 1.0, 0.0
    expected = evidence.habits.expected(evidence.of_open, evidence.heard_at, evidence.at)
    return expected, evidence.habits.chance(expected), 1 / (ONCE_IN * max(evidence.a_day, 1.0))


def _silent_for(evidence: Evidence) -> timedelta:
    return evidence.at - evidence.heard_at if evidence.heard_at is not None else timedelta.max


# --- what the tables say -------------------------------------------------------------------------


def gather(session: Session) -> Evidence:
    """Read the evidence: the newest rows and those of the `HISTORY`, in a dozen statements."""
    moment = now()
    first = first_id_since(session, Notification, moment - HISTORY)
    heard_at = _heard_at(session, first)
    untold = [each for each in _untold_since(session, heard_at) if each <= moment - SOON]
    told, lost = _told(session, heard_at)
    evidence = Evidence(
        at=moment,
        heard_at=heard_at,
        untold=len(untold),
        untold_long=sum(each <= moment - LONG for each in untold),
        oldest_untold_at=min(untold, default=None),
        told=told,
        lost=lost,
    )
    return _with_habits(session, evidence, first, heard_at) if heard_at is not None else evidence


_CALLS = Notification.source == "callback"
#: ZEUS has issued a slip: we have its number from the answer, or from a notice.
_SLIPS = (
    Application.order_no.is_not(None),
    Application.reissued.is_(False),
    Application.stored_state.not_in((State.DECLINED, State.FAILED)),
)


def _heard_at(session: Session, first: int) -> datetime | None:
    """Find when the callback last took anything, repeats included; of before the `HISTORY` the newest row says it."""
    recent = sa.select(sa.func.max(Notification.last_at)).where(Notification.id >= first, _CALLS)
    newest = sa.select(Notification.last_at).where(_CALLS).order_by(Notification.id.desc()).limit(1)
    return session.scalar(recent) or session.scalar(newest)


def _untold_since(session: Session, heard_at: datetime | None) -> list[datetime]:
    """List when the slips were issued that came after the last notice; at most the `LATEST`."""
    slips = sa.select(Application.created_at).where(*_SLIPS).order_by(Application.id.desc()).limit(LATEST)
    if heard_at is not None:
        slips = slips.where(
            Application.created_at > heard_at,
            Application.id >= first_id_since(session, Application, heard_at),
        )
    return list(session.scalars(slips))


def _told(session: Session, heard_at: datetime | None) -> tuple[int, int]:
    """Count of the latest slips before the last notice those of which ZEUS told, and those of which it did not."""
    if heard_at is None:
        return 0, 0
    slips = sa.select(Application.order_no).where(*_SLIPS, Application.created_at <= heard_at - SOON)
    numbers = session.scalars(slips.order_by(Application.id.desc()).limit(LATEST)).all()
    told = sa.select(Notification.order_no).where(
        Notification.order_no.in_(numbers), Notification.status == "01", _CALLS
    )
    known = set(session.scalars(told))
    return len(known), len(numbers) - len(known)


def _with_habits(session: Session, evidence: Evidence, first: int, heard_at: datetime) -> Evidence:
    """Add what is known of the customers' habits, up to the last notice: the silence itself is no habit."""
    count, newest = _open_slips(session, heard_at)
    hours, days = _busy_hours(session, first, heard_at)
    return replace(
        evidence,
        habits=learn(_slips_of(session, heard_at), heard_at, hours),
        open=count,
        of_open=tuple(newest),
        a_day=sum(hours.values()) / days,
    )


def _slips_of(session: Session, heard_at: datetime) -> list[Slip]:
    """Read the newest slips of the history, each with when it was paid."""
    begins = heard_at - HISTORY
    rows = session.execute(
        sa.select(Application.order_no, Application.created_at, Application.pay_limit)
        .where(
            *_SLIPS,
            Application.id >= first_id_since(session, Application, begins),
            Application.created_at.between(begins, heard_at),
        )
        .order_by(Application.id.desc())
        .limit(SAMPLE)
    ).all()
    paid_at: dict[str, datetime] = {}
    for some in _pieces([row.order_no for row in rows]):
        told = sa.select(Notification.order_no, sa.func.min(Notification.first_at)).where(
            Notification.order_no.in_(some), Notification.status.in_(("04", "05")), _CALLS
        )
        for number, moment in session.execute(told.group_by(Notification.order_no)):
            paid_at[number] = moment
    return [
        Slip(row.created_at, paid_at.get(row.order_no), _closes(row.created_at, row.pay_limit))
        for row in rows
    ]


def _pieces(numbers: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _open_slips(session: Session, heard_at: datetime) -> tuple[int, list[Slip]]:
    """Count the slips that could be paid in the silence, and read the newest of them."""
    payable = (
        Application.stored_state == State.AWAITING_PAYMENT,
        sa.or_(Application.pay_limit.is_(None), Application.pay_limit >= heard_at.astimezone(JST).date()),
    )
    count = session.scalar(sa.select(sa.func.count()).select_from(Application).where(*payable)) or 0
    rows = session.execute(
        sa.select(Application.created_at, Application.pay_limit)
        .where(*payable)
        .order_by(Application.id.desc())
        .limit(SAMPLE)
    )
    return count, [Slip(opened, None, _closes(opened, limit)) for opened, limit in rows]


def _closes(opened: datetime, limit: date | None) -> datetime:
    return end_of_day(limit) or opened + timedelta(days=MAX_DAYS)


def _busy_hours(session: Session, first: int, heard_at: datetime) -> tuple[dict[int, int], float]:
    """Count the history's payments by the hour of the week; with it, over how many days."""
    parts = [sa.extract(each, Notification.first_at) for each in ("year", "month", "day", "hour")]
    told = sa.select(*parts, sa.func.count()).where(
        Notification.id >= first,
        Notification.first_at >= heard_at - HISTORY,
        Notification.status == "04",
        _CALLS,
    )
    counts: dict[int, int] = {}
    earliest = heard_at
    for row in session.execute(told.group_by(*parts)):
        year, month, day, hour, count = map(int, row)
        moment = datetime(year, month, day, hour, tzinfo=UTC)
        counts[hour_of_week(moment)] = counts.get(hour_of_week(moment), 0) + count
        earliest = min(earliest, moment)
    return counts, max((heard_at - earliest) / timedelta(days=1), 1.0)


# --- what is said of it --------------------------------------------------------------------------


def listen(payments: Payments) -> list[Finding]:
    """See whether notices stay away, tell subscribers of it once, and say what was seen. Commits."""
    evidence = payments.database.read(gather)
    verdict = judge(evidence)
    findings: list[Finding] = []
    if verdict.code:
        told = payments.tell_of_silence(_name(evidence))
        findings.append(found(verdict.code, f"{_seen(evidence, verdict)} {_TOLD[told]}"))
    else:
        findings.append(fine("live.heard", _seen(evidence, verdict)))
    if verdict.without_01:
        slips = "the only slip" if evidence.lost == 1 else f"any of the last {evidence.lost} slips"
        what = f"Notices come, but none of status 01: not for {slips}."
        findings.append(found("live.without_01", what))
    return findings


_TOLD = {
    True: "Subscribers of silence_suspected were told.",
    False: "Subscribers have been told of it before.",
}


def _name(evidence: Evidence) -> str:
    """Name a silence by its beginning: the next one has another name."""
    return f"since {evidence.heard_at.isoformat()}" if evidence.heard_at is not None else "from the first"


def _seen(evidence: Evidence, verdict: Verdict) -> str:
    """Put the figures into a sentence or three."""
    said = [
        f"Last notice: {_long(evidence.at - evidence.heard_at)} ago."
        if evidence.heard_at
        else "No notice has ever come."
    ]
    if evidence.heard_at is None and not evidence.untold:
        said.append("No slip has been issued for which one should have.")
    if evidence.untold and not verdict.without_01:
        waits = _long(evidence.at - evidence.oldest_untold_at) if evidence.oldest_untold_at else ""
        slips = "1 slip was" if evidence.untold == 1 else f"{evidence.untold} slips were"
        since = "Since then " if evidence.heard_at else ""
        said.append(f"{since}{slips} issued, the first {waits} ago, and ZEUS told of none.")
    if evidence.heard_at is not None and verdict.expected >= 0.05:
        slips = "1 open slip" if evidence.open == 1 else f"{evidence.open:,} open slips"
        said.append(
            f"At these hours of the week and with {slips} one hears of {verdict.expected:.1f} payments "
            f"on average in that time; a silence like this has a chance of {_odds(verdict.chance)}."
        )
    return " ".join(said)


def _long(span: timedelta) -> str:
    minutes = max(int(span.total_seconds() // 60), 0)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 72 * 60 else f"{minutes // 1440} days"


def _odds(chance: float) -> str:
    if chance > 0.1:
        return f"{chance:.0%}"
    times = 10 ** math.floor(math.log10(1 / max(chance, 1e-6)))
    return f"less than 1 in {times:,}"
