"""The judge can find: evidence written by hand, whole and then broken in one place at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import DeliveryState, ReviewReason
from tests.torture.faults import Kill, Outage
from tests.torture.journal import Entry
from tests.torture.judge import (
    DOUBLED,
    LOST,
    WRONG,
    Asked,
    Evidence,
    Happened,
    Held,
    Kept,
    Owed,
    judge,
)
from tests.torture.lives import Charge, Message
from tests.torture.model import Told, outcomes
from tests.torture.sender import BROKEN, TIMED_OUT, Sent
from tests.torture.shop import CALLER, COUNTER, LOOSE

AMOUNT = 3000
PAID = Told("04", "0001-a", ours=False, money=AMOUNT)
CHARGE = Charge("A-1", AMOUNT, "S1", State.AWAITING_PAYMENT, "0001-a", frozenset({PAID}))
EVENTS = (
    Happened(1, EventKind.PAYMENT_RECEIVED, "A-1", 1, 1),
    Happened(2, EventKind.FULFILLMENT_READY, "A-1", 1, 1),
)
WORKER, OTHER = 100, 200


def said(what: str, at: float, event: int, name: str = CALLER, pid: int = WORKER, outcome: str = "") -> Entry:
    """One line of the journal; each claim is leased for ten seconds."""
    return Entry(what, at, pid, 1, event, name, f"lease-{pid}", until=10.0, outcome=outcome)


def call(at: float, event: int, name: str = CALLER, pid: int = WORKER, outcome: str = "ok") -> list[Entry]:
    return [said("begin", at, event, name, pid), said("end", at + 0.1, event, name, pid, outcome)]


#: A notice that was answered, told everyone, and harmed nobody.
HONEST = Evidence(
    charges=[CHARGE],
    messages=[Message(0, PAID, CHARGE)],
    sent=[Sent(0, 1.0, 1.1, "200")],
    kept=[Kept(1, "0001-a", "", "04", AMOUNT, times=1)],
    held=[Held("A-1", "0001-a", State.RECEIVED)],
    events=EVENTS,
    owed=[
        Owed(number, event.id, name, DeliveryState.DONE)
        for number, (event, name) in enumerate(
            (event, name) for event in EVENTS for name in (COUNTER, CALLER)
        )
    ],
    counts=[(1, COUNTER), (2, COUNTER)],
    entries=[*call(2.0, 1), *call(2.2, 1, COUNTER), *call(2.4, 2), *call(2.6, 2, COUNTER)],
)


def found(**changes: Any) -> list[tuple[str, str]]:
    """What the judge says of the honest evidence after these changes."""
    return [(finding.kind, finding.text) for finding in judge(replace(HONEST, **changes))]


def kinds(**changes: Any) -> set[str]:
    return {kind for kind, _ in found(**changes)}


def test_an_honest_run_is_acquitted() -> None:
    """Nothing is found where nothing is wrong."""
    assert found() == []


def test_a_lost_notice_is_found() -> None:
    """Answered 200, and not in the database."""
    assert (LOST, f"notice {HONEST.messages[0].key} was answered 200 and is not kept") in found(kept=[])


def test_a_doubled_notice_is_found() -> None:
    """Kept twice under one identity."""
    assert kinds(kept=[*HONEST.kept, replace(HONEST.kept[0], id=2)]) == {DOUBLED}


def test_a_repeat_that_was_not_counted_is_found() -> None:
    """Answered 200 twice and counted once: one of the answers was given without storing anything."""
    assert kinds(sent=[*HONEST.sent, Sent(0, 5.0, 5.1, "200")]) == {LOST}


def test_a_notice_counted_too_often_is_found() -> None:
    """Counted twice and sent once."""
    assert kinds(kept=[replace(HONEST.kept[0], times=2)]) == {DOUBLED}


def test_a_call_that_met_an_outage_may_count_twice() -> None:
    """If it was not the only call of its notice; and at no other time."""
    again = [*HONEST.sent, Sent(0, 20.0, 20.5, "200")]
    outage = [Outage("freeze", 19.0, 21.0)]
    kept = [replace(HONEST.kept[0], times=3)]
    assert not kinds(sent=again, kept=kept, outages=outage)
    assert kinds(sent=again, kept=kept) == {DOUBLED}
    assert kinds(sent=again, kept=[replace(HONEST.kept[0], times=4)], outages=outage) == {DOUBLED}
    once = [Sent(0, 20.0, 20.5, "200")]
    assert DOUBLED in kinds(sent=once, kept=[replace(HONEST.kept[0], times=2)], outages=outage)


def test_a_notice_that_nobody_sent_is_found() -> None:
    """A row that no message accounts for."""
    assert kinds(kept=[*HONEST.kept, Kept(2, "0002-a", "", "04", AMOUNT, times=1)]) == {WRONG}


def test_a_notice_that_nobody_stored_is_found() -> None:
    """Never answered 200, not even when staff had it sent again."""
    assert LOST in kinds(sent=[])


@pytest.mark.parametrize("outcome", ["500", "503"])
def test_an_error_is_the_database_s_or_found(outcome: str) -> None:
    """A call that fails while the database is away is excused, soon after it too, and at no other time."""
    sent = [*HONEST.sent, Sent(0, 20.0, 20.5, outcome)]
    assert kinds(sent=sent) == {WRONG}
    assert kinds(sent=sent, outages=[Outage("cut", 5.0, 6.0)]) == {WRONG}
    assert not kinds(sent=sent, outages=[Outage("cut", 18.0, 19.0)])
    assert not kinds(sent=sent, outages=[Outage("cut", 20.4, 30.0)])


@pytest.mark.parametrize("outcome", ["400", "403", TIMED_OUT])
def test_what_nothing_excuses_is_found(outcome: str) -> None:
    """Every notice here is a good one, and each is answered in time: whatever the database does."""
    outages = [Outage("freeze", 0.0, 99.0)]
    assert kinds(sent=[*HONEST.sent, Sent(0, 5.0, 45.0, outcome)], outages=outages) == {WRONG}


def test_a_broken_connection_needs_a_killed_worker() -> None:
    """A connection that breaks although nobody was killed is a worker that died by itself."""
    sent = [*HONEST.sent, Sent(0, 20.0, 20.5, BROKEN)]
    assert kinds(sent=sent) == {WRONG}
    assert not kinds(sent=sent, kills=[Kill(300, 20.2)])


def test_a_wrong_state_is_found() -> None:
    """A payment that is where no order of its notices leads."""
    text = next(text for _, text in found(held=[Held("A-1", "0001-a", State.CANCELLED)]))
    assert text.startswith("A-1 ended as 0001-a cancelled, where no order of its notices leads")


def test_a_review_against_the_table_is_found() -> None:
    """A review that no order of the notices raises."""
    asked = [Asked("A-1", ReviewReason.OUT_OF_ORDER, 1)]
    assert WRONG in kinds(asked=asked)


def test_an_unreviewed_difference_is_found() -> None:
    """05 and 06 lead to two states: either will do, and a person must be asked."""
    both = frozenset({replace(PAID, status="05"), replace(PAID, status="06")})
    charge = replace(CHARGE, notices=both)
    assert {each.reviewed for each in outcomes(charge.life, both)} == {True}
    held = [Held("A-1", "0001-a", State.CONFIRMED)]
    assert any("without a review" in text for _, text in found(charges=[charge], held=held))


def test_a_doubled_event_is_found() -> None:
    """One notice made the same event twice; and goods that may ship twice."""
    again = Happened(3, EventKind.FULFILLMENT_READY, "A-1", 1, 1)
    texts = [text for kind, text in found(events=[*EVENTS, again]) if kind == DOUBLED]
    assert texts == ["notice 1 made 2 events fulfillment_ready", "A-1 may ship 2 times"]


def test_a_payment_that_does_not_ship_is_found() -> None:
    """Its money is there, nobody was asked, and nobody was told to ship."""
    text = "A-1 is paid, no person was asked, and nobody was told to ship"
    assert (LOST, text) in found(events=EVENTS[:1])


def test_a_review_that_nobody_heard_of_is_found() -> None:
    """A review without its event."""
    assert LOST in kinds(asked=[Asked("A-1", ReviewReason.REPEATED_AFTER_CANCEL, 1)])


def test_a_lost_delivery_is_found() -> None:
    """An event that is not owed to one of its receivers, or not delivered in the end."""
    assert LOST in kinds(owed=HONEST.owed[1:])
    for state in (DeliveryState.PENDING, DeliveryState.PARKED):
        assert LOST in kinds(owed=[replace(HONEST.owed[0], state=state), *HONEST.owed[1:]])


def test_a_doubled_count_is_found() -> None:
    """What a receiver wrote through db.session is there twice."""
    assert found(counts=[*HONEST.counts, (1, COUNTER)]) == [
        (DOUBLED, "event 1 (done) was counted 2 times by counter")
    ]


def test_a_lost_count_is_found() -> None:
    """The mark is there, and what was written with it is not."""
    assert found(counts=HONEST.counts[:1]) == [(LOST, "event 2 (done) was counted 0 times by counter")]


def test_what_was_overtaken_is_not_counted() -> None:
    """A delivery that was withdrawn has left nothing."""
    owed = [*HONEST.owed[:2], *(replace(each, state=DeliveryState.OBSOLETE) for each in HONEST.owed[2:])]
    assert (DOUBLED, "event 2 (obsolete) was counted 1 times by counter") in found(owed=owed)


def test_only_what_commits_by_itself_is_dismissed() -> None:
    """A person gives up what is in effect already, and nothing else."""
    owed = [replace(HONEST.owed[0], state=DeliveryState.DISMISSED), *HONEST.owed[1:]]
    assert (WRONG, f"event 1 for {COUNTER} had to be dismissed") in found(owed=owed)


def test_what_committed_by_itself_counts_once() -> None:
    """Dismissed because it is in effect: then it is, once."""
    event = Happened(3, EventKind.SALE_CONFIRMED, "A-1", 1, 2)
    names = (COUNTER, CALLER, LOOSE)
    owed = [*HONEST.owed, *(Owed(9, 3, name, DeliveryState.DONE) for name in names[:2])]
    changes: dict[str, Any] = {
        "events": [*EVENTS, event],
        "owed": [*owed, Owed(9, 3, LOOSE, DeliveryState.DISMISSED)],
        "entries": [*HONEST.entries, *call(3.0, 3), *call(3.2, 3, COUNTER)],
    }
    assert found(counts=[*HONEST.counts, (3, COUNTER)], **changes) == [
        (LOST, "event 3 (dismissed) was counted 0 times by loose")
    ]
    assert not found(counts=[*HONEST.counts, (3, COUNTER), (3, LOOSE)], **changes)


def test_a_call_that_never_succeeded_is_found() -> None:
    """Done, and no call of it has come back."""
    entries = [*HONEST.entries[:4], *HONEST.entries[6:]]
    assert found(entries=entries) == [(LOST, f"event 2 is done for {CALLER}, and no call of it succeeded")]


def after(*before: Entry) -> list[Entry]:
    """The journal in which a call of event 1 by another worker follows on these lines."""
    return [*before, *call(5.0, 1, pid=OTHER), *HONEST.entries[2:]]


def test_an_unexplained_repeat_is_found() -> None:
    """A call that came back in good order, and another one after it."""
    assert kinds(entries=after(*call(2.0, 1))) == {DOUBLED}


def test_a_repeat_after_a_failure_is_explained() -> None:
    """The call raised; or the outbox said that it failed, as when its mark could not be written."""
    assert not kinds(entries=after(*call(2.0, 1, outcome="raised")))
    assert not kinds(entries=after(*call(2.0, 1), said("failed", 2.2, 1)))


def test_the_failure_of_another_explains_nothing() -> None:
    """What the outbox says of another event, or another receiver, is no failure of this call."""
    assert kinds(entries=after(*call(2.0, 1), said("failed", 2.2, 2))) == {DOUBLED}
    assert kinds(entries=after(*call(2.0, 1), said("failed", 2.2, 1, COUNTER))) == {DOUBLED}


def test_a_repeat_after_a_kill_is_explained() -> None:
    """The worker was killed in the call, or after it and before its thread did anything else."""
    kills = [Kill(WORKER, 3.0)]
    others = [replace(entry, pid=OTHER) for entry in HONEST.entries[2:]]
    again = call(5.0, 1, pid=OTHER)
    assert not kinds(entries=[*call(2.0, 1), *again, *others], kills=kills)
    assert not kinds(entries=[said("begin", 2.0, 1), *again, *others], kills=kills)
    gone_on = [*call(2.0, 1), *call(2.4, 2), *again, *others]
    assert DOUBLED in kinds(entries=gone_on, kills=kills)
    assert kinds(entries=[*call(2.0, 1), *again, *others], kills=[Kill(WORKER, 7.0)]) == {DOUBLED}


def test_calls_overlap_only_after_a_lease() -> None:
    """A call under way is repeated once its lease has ended, never before; and its own mark is refused then."""
    begun, slow_end = said("begin", 2.0, 1), said("end", 20.0, 1, outcome="ok")
    for at, expected in ((9.0, {DOUBLED}), (10.5, set[str]())):
        over = [begun, *call(at, 1, pid=OTHER), slow_end, said("failed", 20.1, 1)]
        others = [replace(entry, pid=OTHER) for entry in HONEST.entries[2:]]
        assert kinds(entries=[*over, *others]) == expected


def test_a_mark_after_the_lease_is_found() -> None:
    """Two calls of which neither failed: the first one's mark should have been refused."""
    over = [said("begin", 2.0, 1), *call(10.5, 1, pid=OTHER), said("end", 20.0, 1, outcome="ok")]
    others = [replace(entry, pid=OTHER) for entry in HONEST.entries[2:]]
    assert kinds(entries=[*over, *others]) == {DOUBLED}
