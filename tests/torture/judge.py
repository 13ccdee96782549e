"""The judge: what the run has left behind, held against what was promised. Pure functions; nothing is asked twice.

Each rule reads the evidence and names what it finds, in plain words: something lost, doubled, or otherwise wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import DeliveryState, ReviewReason
from tests.torture.faults import Kill, Outage
from tests.torture.journal import Entry
from tests.torture.lives import Charge, Message
from tests.torture.model import Outcome, outcomes
from tests.torture.sender import BROKEN, TIMED_OUT, Sent
from tests.torture.shop import CALLER, LOOSE, RECEIVERS

#: Seconds after an outage in which calls may still fail: each pooled connection that it broke fails once, when used.
GRACE = 3.0
#: Seconds by which the driver's clock may miss the moment of a kill.
NEAR = 1.0

LOST, DOUBLED, WRONG = "lost", "doubled", "wrong"
_REPEATABLE = ReviewReason.REPEATED_AFTER_CANCEL


@dataclass(frozen=True)
class Finding:
    """One broken promise."""

    kind: str
    text: str


@dataclass(frozen=True)
class Kept:
    """A row of the notices."""

    id: int
    order_no: str
    sendid: str
    status: str
    money: int | None
    times: int

    @property
    def key(self) -> tuple[str, str, int | None]:
        return self.order_no or f"sendid:{self.sendid}", self.status, self.money


@dataclass(frozen=True)
class Held:
    """An application of the payment ``reference``."""

    reference: str
    order_no: str
    state: State


@dataclass(frozen=True)
class Asked:
    """A review; ``reference`` None: of no payment."""

    reference: str | None
    reason: ReviewReason
    notice: int | None


@dataclass(frozen=True)
class Happened:
    """An event."""

    id: int
    kind: EventKind
    reference: str | None
    application: int | None
    notice: int | None


@dataclass(frozen=True)
class Owed:
    """A delivery."""

    id: int
    event: int
    subscriber: str
    state: DeliveryState


@dataclass(frozen=True)
class Evidence:
    """What a run has left: in the driver's memory, in the database, and in the journal."""

    charges: Sequence[Charge] = ()
    messages: Sequence[Message] = ()
    sent: Sequence[Sent] = ()
    outages: Sequence[Outage] = ()
    kills: Sequence[Kill] = ()
    kept: Sequence[Kept] = ()
    held: Sequence[Held] = ()
    asked: Sequence[Asked] = ()
    events: Sequence[Happened] = ()
    owed: Sequence[Owed] = ()
    #: Event and subscriber of each row that a receiver has written.
    counts: Sequence[tuple[int, str]] = ()
    entries: Sequence[Entry] = ()


def judge(evidence: Evidence) -> list[Finding]:
    """Name every promise that was broken; an empty list is an acquittal."""
    return [finding for rule in RULES for finding in rule(evidence)]


# The notices


def notices_are_kept_once(evidence: Evidence) -> Iterator[Finding]:
    """Every notice answered 200 is there once, and was counted as often as it was answered at least.

    A call that meets an outage is counted twice, if another call of the same notice comes before it is known what became
    of its commit.
    """
    rows: dict[object, list[Kept]] = defaultdict(list)
    for row in evidence.kept:
        rows[row.key].append(row)
    calls = Counter(sent.message for sent in evidence.sent)
    stored = Counter(sent.message for sent in evidence.sent if sent.outcome == "200")
    broken = Counter(
        sent.message for sent in evidence.sent if any(_within(sent, outage) for outage in evidence.outages)
    )
    for message in evidence.messages:
        sent = calls[message.number]
        most = sent + broken[message.number] if sent > 1 else sent
        yield from _kept_once(message, rows.pop(message.key, []), sent, stored[message.number], most)
    for strange in rows:
        yield Finding(WRONG, f"notice {strange} is kept, and nobody sent it")


def _kept_once(message: Message, rows: list[Kept], calls: int, stored: int, most: int) -> Iterator[Finding]:
    name = f"notice {message.key}"
    times = sum(row.times for row in rows)
    if not stored:
        yield Finding(LOST, f"{name} was sent {calls} times and never answered 200")
    elif not rows:
        yield Finding(LOST, f"{name} was answered 200 and is not kept")
    elif times < stored:
        yield Finding(LOST, f"{name} was answered 200 {stored} times, and {times} are counted")
    if len(rows) > 1:
        yield Finding(DOUBLED, f"{name} is kept {len(rows)} times")
    if times > most:
        yield Finding(DOUBLED, f"{name} was sent {calls} times, and {times} are counted")


def errors_are_the_database_s(evidence: Evidence) -> Iterator[Finding]:
    """Nothing but 200 is answered unless the database is away; and even then there is an answer in time."""
    names = {message.number: message.key for message in evidence.messages}
    for sent in evidence.sent:
        failed = sent.outcome.isdigit() and sent.outcome >= "500"
        about = f"notice {names.get(sent.message)} got {sent.outcome} after {sent.ended - sent.began:.1f} s"
        if failed and not any(_within(sent, outage) for outage in evidence.outages):
            yield Finding(WRONG, f"{about} while the database was there, {_nearest(sent, evidence.outages)}")
        elif sent.outcome == TIMED_OUT or (sent.outcome.isdigit() and "200" < sent.outcome < "500"):
            yield Finding(WRONG, f"{about}, which nothing excuses")
        elif sent.outcome == BROKEN and not any(_ended_by(sent, kill) for kill in evidence.kills):
            yield Finding(WRONG, f"{about}, and no worker was killed then")


def _within(sent: Sent, outage: Outage) -> bool:
    return sent.began <= outage.ended + GRACE and sent.ended >= outage.began


def _ended_by(sent: Sent, kill: Kill) -> bool:
    return sent.began - NEAR <= kill.at <= sent.ended + NEAR


def _nearest(sent: Sent, outages: Sequence[Outage]) -> str:
    since = [sent.began - outage.ended for outage in outages if outage.ended < sent.began]
    return f"{min(since):.1f} s after the last outage" if since else "before any outage"


# The payments


def states_are_the_table_s(evidence: Evidence) -> Iterator[Finding]:
    """Every payment is where some order of its notices leads, and reviewed where the orders differ."""
    held: dict[str, set[tuple[str, State]]] = defaultdict(set)
    for slip in evidence.held:
        held[slip.reference].add((slip.order_no, slip.state))
    asked = {review.reference for review in evidence.asked if review.reason is not _REPEATABLE}
    for charge in evidence.charges:
        found = Outcome(frozenset(held[charge.reference]), charge.reference in asked)
        text = _wrong_end(found, outcomes(charge.life, charge.notices))
        if text:
            told = sorted(
                f"{told.status} of {told.order_no or 'our sendid'} for {told.money}"
                for told in charge.notices
            )
            yield Finding(WRONG, f"{charge.reference} {text}; its notices: {', '.join(told)}")


def _wrong_end(found: Outcome, possible: frozenset[Outcome]) -> str:
    if found.slips not in {each.slips for each in possible}:
        return f"ended as {_shown(found)}, where no order of its notices leads"
    if found not in possible:
        return (
            f"ended as {_shown(found)}, {'with' if found.reviewed else 'without'} a review against the table"
        )
    if len({each.slips for each in possible}) > 1 and not found.reviewed:
        return f"ended as {_shown(found)} without a review, and another order leads elsewhere"
    return ""


def _shown(found: Outcome) -> str:
    return ", ".join(f"{order_no or 'unnumbered'} {state}" for order_no, state in sorted(found.slips))


# The events


def events_happen_once(evidence: Evidence) -> Iterator[Finding]:
    """No notice makes an event twice, each review is announced, and goods may ship once per payment."""
    made = Counter(
        (event.notice, event.application, event.kind)
        for event in evidence.events
        if event.kind is not EventKind.REVIEW_REQUIRED
    )
    for (notice, _, made_kind), times in made.items():
        if times > 1:
            yield Finding(DOUBLED, f"notice {notice} made {times} events {made_kind}")
    told = Counter(event.notice for event in evidence.events if event.kind is EventKind.REVIEW_REQUIRED)
    asked = Counter(review.notice for review in evidence.asked)
    for notice in told.keys() | asked.keys():
        if told[notice] != asked[notice]:
            kind = LOST if told[notice] < asked[notice] else DOUBLED
            yield Finding(
                kind, f"notice {notice} has {asked[notice]} reviews and {told[notice]} events of them"
            )


def goods_ship_once(evidence: Evidence) -> Iterator[Finding]:
    """A payment ships once at most, and does ship if its money is there and no person was asked."""
    ready: dict[str | None, list[int]] = defaultdict(list)
    for event in evidence.events:
        if event.kind is EventKind.FULFILLMENT_READY:
            ready[event.reference].append(event.id)
    told = {owed.event for owed in evidence.owed if owed.state is DeliveryState.DONE}
    asked = {review.reference for review in evidence.asked}
    paid = {slip.reference for slip in evidence.held if slip.state in (State.RECEIVED, State.CONFIRMED)}
    for reference, ids in ready.items():
        if len(ids) > 1:
            yield Finding(DOUBLED, f"{reference} may ship {len(ids)} times")
    for reference in paid - asked:
        if not told.intersection(ready[reference]):
            yield Finding(LOST, f"{reference} is paid, no person was asked, and nobody was told to ship")


def every_event_is_owed_once(evidence: Evidence) -> Iterator[Finding]:
    """Each event has one delivery for each of its receivers, and each delivery has come to its end."""
    owed = Counter((each.event, each.subscriber) for each in evidence.owed)
    for event in evidence.events:
        for name in RECEIVERS[event.kind]:
            times = owed.pop((event.id, name), 0)
            if times != 1:
                yield Finding(DOUBLED if times else LOST, f"{_event(event)} is owed to {name} {times} times")
    for (event_id, name), times in owed.items():
        yield Finding(WRONG, f"event {event_id} is owed to {name} {times} times, and should not be")
    for each in evidence.owed:
        if each.state in (DeliveryState.PENDING, DeliveryState.PARKED):
            yield Finding(LOST, f"event {each.event} for {each.subscriber} is still {each.state}")


def _event(event: Happened) -> str:
    return f"event {event.id} ({event.kind} of {event.reference})"


# What the receivers did


def receivers_count_once(evidence: Evidence) -> Iterator[Finding]:
    """A receiver that writes through db.session has counted each event once, and none that was overtaken."""
    counted = Counter(evidence.counts)
    for owed in evidence.owed:
        times = counted.pop((owed.event, owed.subscriber), 0)
        wanted = 0 if owed.subscriber == CALLER or owed.state is DeliveryState.OBSOLETE else 1
        if times != wanted:
            kind = LOST if times < wanted else DOUBLED
            yield Finding(
                kind, f"event {owed.event} ({owed.state}) was counted {times} times by {owed.subscriber}"
            )
    for (event, name), times in counted.items():
        yield Finding(WRONG, f"event {event} was counted {times} times by {name}, which it is not owed to")
    for owed in evidence.owed:
        if owed.state is DeliveryState.DISMISSED and owed.subscriber != LOOSE:
            yield Finding(WRONG, f"event {owed.event} for {owed.subscriber} had to be dismissed")


@dataclass(frozen=True)
class Called:
    """One call of a receiver as the journal has it; numbers are the journal's lines."""

    line: int
    begin: Entry
    ended: int | None
    end: Entry | None
    #: Where the outbox said that it failed; and whether its thread went on to something else.
    failed: int | None
    went_on: bool


def repeats_had_failed(evidence: Evidence) -> Iterator[Finding]:
    """A receiver that was told is told again only after that call failed, its worker died, or its lease ended."""
    killed = {kill.pid: kill.at for kill in evidence.kills}
    for (event, name), calls in _calls(evidence.entries).items():
        for before, after in pairwise(calls):
            if not _had_failed(before, after, killed):
                yield Finding(DOUBLED, f"event {event} was told {name} again{_how(before, after)}")


def callers_succeed(evidence: Evidence) -> Iterator[Finding]:
    """A delivery that is done has at least one call that came back without raising."""
    ok = {
        (entry.event, entry.subscriber)
        for entry in evidence.entries
        if entry.what == "end" and entry.outcome == "ok"
    }
    for owed in evidence.owed:
        if owed.state is DeliveryState.DONE and (owed.event, owed.subscriber) not in ok:
            yield Finding(
                LOST, f"event {owed.event} is done for {owed.subscriber}, and no call of it succeeded"
            )


def _calls(entries: Sequence[Entry]) -> Mapping[tuple[int, str], list[Called]]:
    """Put the journal's lines together to calls, in the order in which they began."""
    threads: dict[tuple[int, int], list[tuple[int, Entry]]] = defaultdict(list)
    for line, entry in enumerate(entries):
        threads[entry.pid, entry.thread].append((line, entry))
    calls = [call for lines in threads.values() for call in _calls_of_one_thread(lines)]
    found: dict[tuple[int, str], list[Called]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.line):
        found[call.begin.event, call.begin.subscriber].append(call)
    return found


def _calls_of_one_thread(lines: Sequence[tuple[int, Entry]]) -> Iterator[Called]:
    """A thread makes one call after the other: what follows a call until the next one belongs to it."""
    begins = [place for place, (_, entry) in enumerate(lines) if entry.what == "begin"]
    for place, beyond in pairwise([*begins, len(lines)]):
        (line, begin), rest = lines[place], lines[place + 1 : beyond]
        ended, end = next(((at, each) for at, each in rest if each.what == "end"), (None, None))
        failed = next((at for at, each in rest if each.what == "failed" and _same(each, begin)), None)
        yield Called(line, begin, ended, end, failed, beyond < len(lines))


def _same(one: Entry, other: Entry) -> bool:
    return (one.event, one.subscriber) == (other.event, other.subscriber)


def _had_failed(before: Called, after: Called, killed: Mapping[int, float]) -> bool:
    """Tell whether a call had failed when the next one began.

    One that raised, or that the outbox gave up on because its mark could not be written, has. So has one whose
    worker was killed in it or before its thread did anything else. One that outlived its lease counts as failed
    from the lease's end on: its mark is refused then, and the outbox says so.
    """
    if before.end is not None and before.end.outcome == "raised" and (before.ended or 0) < after.line:
        return True
    if before.failed is not None and before.failed < after.line:
        return True
    if before.begin.pid in killed and not before.went_on:
        return before.begin.at <= killed[before.begin.pid] <= after.begin.at
    refused = before.failed is not None or before.end is None or before.end.outcome == "raised"
    return refused and after.begin.at >= before.begin.until


def _how(before: Called, after: Called) -> str:
    if before.end is None or before.end.at > after.begin.at:
        return f" while the call was under way, {before.begin.until - after.begin.at:.1f} s before its lease ended"
    return f" {after.begin.at - before.end.at:.1f} s after the call came back with {before.end.outcome}"


Rule = Callable[[Evidence], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    notices_are_kept_once,
    errors_are_the_database_s,
    states_are_the_table_s,
    events_happen_once,
    goods_ship_once,
    every_event_is_owed_once,
    receivers_count_once,
    repeats_had_failed,
    callers_succeed,
)
