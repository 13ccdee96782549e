"""The sandbox's time: whatever falls due by the clock happens when it is moved, in order, without waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.simulator import Call, Silent, SimulatedApplication, Simulator, Verb, VerbRefused
from flask_zeus_cvs.simulator.clock import JST
from flask_zeus_cvs.simulator.ledger import INFO, STEPS
from tests.wire.simulator_peers import Ear, apply, eventually, form, order_no_of

START = datetime(2026, 11, 24, 9, tzinfo=JST)
MIDNIGHT = datetime(2026, 12, 5, tzinfo=JST)  # the end of the tenth day after
STORES = list(Store)
OOPS = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as listening:
        yield listening


@pytest.fixture
def zeus(ear: Ear) -> Iterator[Simulator]:
    """It tells `ear` of everything; its time stands still until it is moved."""
    with Simulator(ear.url, notice_timeout=10, clock=lambda: START) as simulator:
        simulator.contract.change({"on_request": "02,03"})
        yield simulator


@pytest.fixture
def impatient(ear: Ear) -> Iterator[Simulator]:
    """It waits half a second for an answer."""
    with Simulator(ear.url, notice_timeout=0.5, clock=lambda: START) as simulator:
        yield simulator


def applied(zeus: Simulator, **changes: bytes | None) -> str:
    return order_no_of(apply(zeus.url, **changes))


def when(application: SimulatedApplication) -> list[tuple[str, datetime, str]]:
    return [(step.status, step.at, step.by) for step in application.history]


def test_the_deadline_is_the_end_of_its_day_in_japan(zeus: Simulator, ear: Ear) -> None:
    """A second before it the till takes the money; at it the slip has expired, and the shop that asked hears 03."""
    paid, late = applied(zeus), applied(zeus)
    zeus.forward_to(MIDNIGHT - timedelta(seconds=1))
    assert zeus.pay(paid).status == "04"
    zeus.forward(seconds=1)
    assert zeus.application(late).status == "03"
    with pytest.raises(VerbRefused):
        zeus.pay(late)
    zeus.settle()
    assert ear.statuses == ["01", "01", "04", "03"]
    assert when(zeus.application(late))[-1] == ("03", MIDNIGHT, "deadline")


def test_forward_to_deadline(zeus: Simulator) -> None:
    """To the very moment; refused for one that has none, or when it is past."""
    order_no = applied(zeus, span=b"2")
    zeus.forward_to_deadline(order_no)
    assert zeus.now == datetime(2026, 11, 27, tzinfo=JST)
    assert zeus.application(order_no).status == "03"
    zeus.forward("+1 hour")
    with pytest.raises(ValueError, match="only goes forward"):
        zeus.forward_to_deadline(order_no)
    zeus.answer_next(error_code="0008")
    apply(zeus.url)
    with pytest.raises(ValueError, match="has no deadline"):
        zeus.forward_to_deadline(zeus.applications[-1].order_no)


@pytest.mark.parametrize("store", STORES)
def test_05_follows_after_the_days_of_the_store(zeus: Simulator, ear: Ear, store: Store) -> None:
    """Not a second earlier, at the store's own number of days, to the moment."""
    days = {each: number for number, each in enumerate(STORES, 1)}
    zeus.contract.confirm_after_days = days
    order_no = applied(zeus, pay_cvs=store.encode())
    zeus.pay(order_no)
    zeus.forward(days=days[store], seconds=-1)
    assert zeus.application(order_no).status == "04"
    zeus.forward("1 second")
    zeus.settle()
    assert ear.statuses == ["01", "04", "05"]
    assert when(zeus.application(order_no))[-1] == ("05", START + timedelta(days=days[store]), "head office")


def test_a_store_without_days_confirms_by_hand_only(zeus: Simulator) -> None:
    """However long it takes."""
    zeus.contract.change({"confirm_after_days": "D001=1"})
    order_no = applied(zeus)
    zeus.pay(order_no)
    zeus.forward("50 weeks")
    assert zeus.application(order_no).status == "04"
    assert zeus.confirm(order_no).status == "05"


def test_taken_back_before_the_05_is_due(zeus: Simulator, ear: Ear) -> None:
    """Then none comes; nor does a second where somebody confirmed by hand."""
    back, hand = applied(zeus), applied(zeus)
    for order_no in (back, hand):
        zeus.pay(order_no)
    zeus.cancel(back)
    zeus.confirm(hand)
    zeus.forward("3 weeks")
    zeus.settle()
    assert sorted(ear.statuses) == ["01", "01", "04", "04", "05", "06"]


def test_the_old_slip_is_confirmed_by_the_clock_too(zeus: Simulator, ear: Ear) -> None:
    """11, and after the store's days 12."""
    order_no = applied(zeus)
    zeus.reissue(order_no)
    zeus.pay(order_no)
    zeus.forward("3 days")
    zeus.settle()
    assert ear.statuses == ["01", "01", "11", "12"]


@pytest.mark.parametrize(("kind", "status"), [(b"1", "05"), (b"2", "06")])
def test_a_test_takes_its_thirty_minutes(zeus: Simulator, ear: Ear, kind: bytes, status: str) -> None:
    """01 and 04 at once, the outcome half an hour later; a test is never confirmed by the store's days."""
    order_no = applied(zeus, testid=b"12345678", test_type=kind)
    zeus.forward("29 minutes")
    zeus.settle()
    assert ear.statuses == ["01", "04"]
    zeus.forward("1 minute")
    zeus.settle()
    assert ear.statuses == ["01", "04", status]
    assert when(zeus.application(order_no))[-1] == (status, START + timedelta(minutes=30), "test")
    zeus.forward("3 weeks")
    zeus.settle()
    assert ear.statuses == ["01", "04", status]


def test_what_falls_due_is_told_in_order(zeus: Simulator, ear: Ear) -> None:
    """One step over three weeks: test, sales, deadlines, each at its own moment, the calls in that order."""
    zeus.contract.change({"confirm_after_days": "D002=3 D001=2"})
    lawson, seven, unpaid = applied(zeus), applied(zeus, pay_cvs=b"D001"), applied(zeus)
    zeus.pay(lawson)
    zeus.pay(seven)
    test = applied(zeus, testid=b"12345678", test_type=b"2")
    zeus.settle()
    before = len(zeus.calls)
    zeus.forward("3 weeks")
    zeus.settle()
    told = [(call.order_no, call.status, call.at) for call in zeus.calls[before:]]
    assert told == [
        (test, "06", START + timedelta(minutes=30)),
        (seven, "05", START + timedelta(days=2)),
        (lawson, "05", START + timedelta(days=3)),
        (unpaid, "03", MIDNIGHT),
    ]


def test_the_next_day(zeus: Simulator) -> None:
    """Midnight in Japan."""
    zeus.next_day()
    assert zeus.now == datetime(2026, 11, 25, tzinfo=JST)


# Calls that time out


def attempts(zeus: Simulator) -> list[tuple[int, str, datetime | None]]:
    def told(call: Call) -> tuple[int, str, datetime | None]:
        return call.attempt, call.failure or str(call.answer), call.at

    return [told(call) for call in zeus.calls]


def test_a_time_out_is_tried_again_by_the_clock(impatient: Simulator, ear: Ear) -> None:
    """Only if the shop asked for it, so many times, so many minutes later each; then staff must."""
    impatient.contract.change({"retries": 2, "retry_minutes": 5})
    ear.answers.extend([None, None, None])
    order_no = applied(impatient)
    impatient.settle()
    impatient.forward("299 seconds")
    impatient.settle()
    assert attempts(impatient) == [(1, "timeout", START)]
    for _ in range(4):
        impatient.forward("5 minutes")
        impatient.settle()
    assert [(attempt, failure) for attempt, failure, _ in attempts(impatient)] == [
        (1, "timeout"),
        (2, "timeout"),
        (3, "timeout"),
    ]
    assert attempts(impatient)[1][2] == START + timedelta(minutes=5)
    assert ear.heard[0] == ear.heard[1] == ear.heard[2]
    impatient.resend(order_no)
    impatient.settle()
    assert attempts(impatient)[-1][:2] == (1, "200")


def test_a_retry_that_succeeds_is_the_last(impatient: Simulator, ear: Ear) -> None:
    """The call that timed out may have been processed: the shop hears the same twice."""
    impatient.contract.change({"retries": 5})
    ear.answers.append(None)
    applied(impatient)
    impatient.settle()
    impatient.forward("2 hours")
    impatient.settle()
    assert [each[:2] for each in attempts(impatient)] == [(1, "timeout"), (2, "200")]
    assert ear.statuses == ["01", "01"]


@pytest.mark.parametrize("code", [201, 302, 400, 403, 404, 500, 503])
def test_an_error_answer_is_never_tried_again(zeus: Simulator, ear: Ear, code: int) -> None:
    """Whatever the shop asked for: it has answered."""
    zeus.contract.change({"retries": 10})
    ear.answers.append(OOPS.replace(b"500", str(code).encode()))
    applied(zeus)
    zeus.settle()
    zeus.forward("1 week")
    zeus.settle()
    assert attempts(zeus) == [(1, str(code), START)]


def test_without_asking_a_time_out_is_not_tried_again(impatient: Simulator, ear: Ear) -> None:
    """As ZEUS does it unless the shop asks."""
    ear.answers.append(None)
    applied(impatient)
    impatient.settle()
    impatient.forward("1 week")
    impatient.settle()
    assert [each[:2] for each in attempts(impatient)] == [(1, "timeout")]


def test_a_connection_that_fails_counts_as_a_time_out(zeus: Simulator, ear: Ear) -> None:
    """Or the like: nobody has answered."""
    zeus.contract.change({"retries": 1})
    zeus.notify = "http://127.0.0.1:9/"
    applied(zeus)
    zeus.settle()
    zeus.notify = ear.url
    zeus.forward("5 minutes")
    zeus.settle()
    assert [each[:2] for each in attempts(zeus)] == [(1, "connection failed"), (2, "200")]


def test_a_shop_that_answers_within_the_limit_is_not_called_again(ear: Ear) -> None:
    """The limit can be scaled down, so that a test of slowness is quick."""
    ear.answers.append([b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"])
    with Simulator(ear.url, notice_timeout=5) as zeus:
        zeus.contract.retries = 1
        applied(zeus)
        zeus.settle()
        zeus.forward("1 hour")
        zeus.settle()
        assert [call.answer for call in zeus.calls] == [200]


def test_a_retry_of_what_is_forgotten_is_not_sent(impatient: Simulator, ear: Ear) -> None:
    """Set down while a reset is forgetting everything: its application is gone, and so is it."""
    impatient.contract.change({"retries": 1})
    ear.answers.append(None)
    applied(impatient)
    impatient.settle()
    impatient._works.ledger.clear()
    impatient.forward("1 hour")
    impatient.settle()
    assert len(ear.heard) == 1


# Threads


def test_time_passes_by_itself() -> None:
    """A sandbox that nobody asks still keeps its deadlines: it looks at its clock."""
    base = [START]
    with Ear() as ear, Simulator(ear.url, clock=lambda: base[0]) as zeus:
        zeus.contract.change({"on_request": "03"})
        applied(zeus)
        eventually(lambda: ear.statuses == ["01"])
        base[0] += timedelta(days=30)
        eventually(lambda: ear.statuses == ["01", "03"])


def test_the_clock_is_moved_while_customers_pay(zeus: Simulator, ear: Ear) -> None:
    """From many threads at once: each application is paid and confirmed or expires, and each step is told once."""
    over = threading.Event()

    def hurry() -> None:
        while not over.is_set():
            zeus.forward("1 hour")

    def buy(_: int) -> str:
        order_no = applied(zeus)
        try:
            zeus.pay(order_no)
        except VerbRefused:  # ten days have passed meanwhile
            assert zeus.application(order_no).status is Status.EXPIRED
        return order_no

    with ThreadPoolExecutor(6) as pool:
        clock = pool.submit(hurry)
        try:
            order_nos = list(pool.map(buy, range(24)))
        finally:
            over.set()
        clock.result(10)
    zeus.forward("9 weeks")
    zeus.settle()
    told = {order_no: [call.status for call in zeus.calls_for(order_no)] for order_no in order_nos}
    assert {tuple(each) for each in told.values()} <= {("01", "04", "05"), ("01", "03")}
    assert ("01", "04", "05") in {tuple(each) for each in told.values()}


# Random walks

MOVES = st.one_of(
    st.tuples(st.sampled_from(list(Verb)), st.integers(0, 5)),
    st.tuples(st.just("apply"), st.integers(0, 2)),
    st.tuples(st.just("forward"), st.sampled_from([1, 600, 3600, 86400, 5 * 86400, 12 * 86400])),
    st.tuples(st.sampled_from(["stop", "resume"]), st.just(0)),
)

#: By itself only this happens: the deadline passes, the sale is confirmed, a test takes its course.
BY_ITSELF = {"deadline": Verb.EXPIRE, "head office": Verb.CONFIRM}


def follows(before: Status | Silent, after: Status | Silent, by: str) -> bool:
    """Whether the table of verbs has this step; while the service is stopped money is 番組停止."""
    verbs = [BY_ITSELF[by]] if by in BY_ITSELF else list(Verb) if by == "test" else [Verb(by)]
    reached = {STEPS.get((verb, before)) for verb in verbs}
    return after in reached or (
        after == Silent.STOPPED and by in {Verb.PAY, "test"} and bool(reached - {None})
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(MOVES, max_size=40))
def test_no_walk_leaves_the_table(moves: list[tuple[str, int]]) -> None:
    """Whatever is done in whatever order: every step is one of the table, in time, and told as the manual says."""
    with Simulator(listen=False, clock=lambda: START) as zeus:
        walk(zeus, moves)
        for application in zeus.applications:
            check(application)


def walk(zeus: Simulator, moves: list[tuple[str, int]]) -> None:
    for move, number in moves:
        if move == "apply":
            test = {0: {}, 1: {"testid": "12345678", "test_type": "1"}, 2: {"span": "2"}}[number]
            register(zeus, **test)
        elif move == "forward":
            zeus.forward(seconds=number)
        elif move in {"stop", "resume"}:
            zeus.contract.stopped = move == "stop"
        elif number < len(zeus.applications):
            order_no = zeus.applications[number].order_no
            before = zeus.application(order_no)
            try:
                zeus._works.ledger.apply(Verb(move), order_no)
            except VerbRefused:
                assert zeus.application(order_no) == before


def register(zeus: Simulator, **changes: str) -> None:
    zeus._works.receive(
        "application/x-www-form-urlencoded", form(**{name: value.encode() for name, value in changes.items()})
    )


def check(application: SimulatedApplication) -> None:
    first, *steps = application.history
    assert first.status == "01"
    before = first
    for step in steps:
        assert follows(before.status, step.status, step.by)
        assert step.at >= before.at
        before = step
    assert application.status == before.status
    told = [step.status for step in application.history if INFO[step.status].call == "always"]
    assert list(application.notices) == told
