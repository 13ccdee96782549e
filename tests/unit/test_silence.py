"""When notices stay away: weighed on shops whose customers are played, with a fixed seed, without a database."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.staff.silence import AGES, HISTORY, Evidence, Habits, Slip, judge, learn, week_of

#: A Monday, 0:00 in Japan.
START = datetime(2026, 1, 5, tzinfo=JST)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: Applications by the hour of the day: few at night, most in the evening.
DAILY = (1, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 8, 7, 6, 6, 6, 6, 7, 8, 10, 10, 7, 3)
EVERY_DAY = (1.0,) * 7
WEEKEND = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0)


def trade(seed: int, a_week: float, days: int, by_day: tuple[float, ...] = EVERY_DAY) -> list[Slip]:
    """Play a shop's customers: who applies when, and whether and when they pay; in order of application."""
    chance = random.Random(seed)
    share = sum(by_day) * sum(DAILY)
    slips: list[Slip] = []
    for hour in range(days * 24):
        begins = START + hour * HOUR
        rate = a_week * by_day[begins.weekday()] * DAILY[begins.hour] / share
        moment = chance.expovariate(rate) if rate else 2.0
        while moment < 1:
            slips.append(customer(chance, begins + moment * HOUR))
            moment += chance.expovariate(rate)
    return slips


def customer(chance: random.Random, opened: datetime) -> Slip:
    """One in five never pays; of the others most do on the way home, when stores are busy, some days later."""
    closes = opened.replace(hour=0, minute=0, second=0, microsecond=0) + 8 * DAY
    if chance.random() < 0.2:
        return Slip(opened, None, closes)
    paid = opened + chance.expovariate(1 / 14) * HOUR
    if paid.hour < 6 and chance.random() < 0.9:
        paid = paid.replace(hour=6) + chance.random() * 4 * HOUR
    return Slip(opened, paid if paid < closes else None, closes)


def heard(slips: list[Slip], *, told: bool) -> list[datetime]:
    """When the shop heard of them: of payments, and of their sale some days later at night; also of slips, if told."""
    moments = [slip.paid_at for slip in slips if slip.paid_at]
    sales = [moment.replace(hour=3, minute=0) + 2 * DAY for moment in moments]
    return sorted(
        [*moments, *sales, *([slip.opened_at + timedelta(seconds=5) for slip in slips] if told else [])]
    )


def watched(
    slips: list[Slip], notices: list[datetime], hours: Iterator[datetime], *, told: bool
) -> Iterator[tuple[datetime, Evidence]]:
    """Gather the evidence at each moment as the tables would have it; habits are learnt anew every day."""
    habits, learnt = Habits(week_of({}), (0.0,) * len(AGES), 0), START
    for moment in hours:
        past = [each for each in notices if each <= moment]
        if not past:
            continue
        known = [slip for slip in slips if past[-1] - HISTORY <= slip.opened_at <= past[-1]]
        if moment - learnt >= DAY:
            habits, learnt = learn([as_of(slip, past[-1]) for slip in known], past[-1]), moment
        open_ = tuple(
            replace(slip, paid_at=None)
            for slip in slips
            if slip.opened_at <= moment and past[-1] <= (slip.closes_at or moment)
            if slip.paid_at is None or slip.paid_at > past[-1]
        )
        late = [slip for slip in open_ if past[-1] < slip.opened_at <= moment - timedelta(minutes=15)]
        yield (
            moment,
            Evidence(
                at=moment,
                heard_at=past[-1],
                untold=len(late),
                untold_long=sum(slip.opened_at <= moment - HOUR for slip in late),
                told=len(known) if told else 0,
                lost=0 if told else len(known),
                open=len(open_),
                of_open=open_,
                habits=habits,
                a_day=sum(slip.paid_at is not None for slip in known) / 56,
            ),
        )


def as_of(slip: Slip, moment: datetime) -> Slip:
    """A slip as it stood then."""
    return slip if slip.paid_at is None or slip.paid_at <= moment else replace(slip, paid_at=None)


def every(step: timedelta, since: datetime, until: datetime) -> Iterator[datetime]:
    while since < until:
        yield since
        since += step


def alarms(
    slips: list[Slip],
    since: datetime,
    until: datetime,
    *,
    told: bool = True,
    broken_at: datetime | None = None,
    step: timedelta = HOUR,
) -> list[tuple[datetime, str]]:
    """When a check that cron runs would have raised an alarm, and which."""
    notices = [each for each in heard(slips, told=told) if broken_at is None or each < broken_at]
    judged = (
        (moment, judge(each).code)
        for moment, each in watched(slips, notices, every(step, since, until), told=told)
    )
    return [(moment, code) for moment, code in judged if code]


@pytest.mark.parametrize("told", [True, False])
def test_one_payment_a_week_for_a_year(told: bool) -> None:
    """The quietest of shops has days and weeks without a notice, and not one false alarm in a year."""
    slips = trade(seed=1, a_week=1, days=365)
    assert 40 < len(slips) < 65
    assert alarms(slips, START, START + 365 * DAY, told=told) == []


@pytest.mark.parametrize("told", [True, False])
def test_a_shop_of_weekends(told: bool) -> None:
    """Nobody applies from Monday to Friday, and that is no silence, also where ZEUS sends no 01."""
    slips = trade(seed=2, a_week=40, days=140, by_day=WEEKEND)
    assert alarms(slips, START + 7 * DAY, START + 140 * DAY, told=told, step=2 * HOUR) == []


@pytest.mark.parametrize("told", [True, False])
def test_a_steady_shop(told: bool) -> None:
    """Thirty applications a day: no false alarm in months, nights and holidays of single customers included."""
    slips = trade(seed=3, a_week=210, days=120)
    assert alarms(slips, START + 7 * DAY, START + 120 * DAY, told=told, step=2 * HOUR) == []


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_a_broken_callback_is_noticed_the_same_day(hour: int) -> None:
    """Thirty a day, ZEUS tells of slips: within two hours by day, by the first who applies after a night."""
    broken_at = START + 70 * DAY + hour * HOUR
    slips = trade(seed=4, a_week=210, days=75)
    (first, code), *_ = alarms(
        slips, broken_at, broken_at + DAY, broken_at=broken_at, step=timedelta(minutes=10)
    )
    assert code == "live.no_call"
    assert first - broken_at < (timedelta(hours=3) if 6 <= hour <= 21 else timedelta(hours=10))


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_a_broken_callback_that_never_brings_01(hour: int) -> None:
    """Thirty a day, by missing payments alone: within a day, mostly within half a day."""
    broken_at = START + 70 * DAY + hour * HOUR
    slips = trade(seed=5, a_week=210, days=75)
    found = alarms(
        slips, broken_at, broken_at + DAY, told=False, broken_at=broken_at, step=timedelta(minutes=30)
    )
    assert found, "nothing was noticed within a day"
    assert found[0][1] == "live.silence"
    assert timedelta(hours=4) < found[0][0] - broken_at < timedelta(hours=20)


def test_a_shop_that_stops_selling() -> None:
    """Over New Year nobody can order: the old slips that are left are those that nobody pays, and there is no alarm."""
    slips = [slip for slip in trade(seed=6, a_week=210, days=80) if slip.opened_at < START + 70 * DAY]
    assert alarms(slips, START + 70 * DAY, START + 80 * DAY, told=False) == []


def new(**more: object) -> Evidence:
    """A shop that ZEUS has never called."""
    return replace(Evidence(at=START, heard_at=None), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        (new(), ""),
        (new(untold=1), ""),
        (new(untold=2), "live.no_call"),
        (new(untold=1, untold_long=1), "live.no_call"),
        (new(heard_at=START - HOUR, told=5, untold=2), "live.no_call"),
        (new(heard_at=START - HOUR, told=180, lost=20, untold=2), ""),
        (new(heard_at=START - HOUR, told=180, lost=20, untold=2, untold_long=1), "live.no_call"),
    ],
)
def test_slips_that_zeus_did_not_tell_of(evidence: Evidence, code: str) -> None:
    """From the first week on: two after a quarter of an hour, one after an hour; more where some were lost before."""
    assert judge(evidence).code == code


def test_a_shop_that_is_never_told_of_slips() -> None:
    """Payments were heard of, and of no slip: no alarm for slips, whatever their number, and it is said why."""
    verdict = judge(new(heard_at=START - HOUR, lost=1, untold=50, untold_long=50))
    assert (verdict.code, verdict.without_01) == ("", True)
    assert not judge(new(heard_at=START - HOUR, lost=1, told=1)).without_01


@pytest.mark.parametrize(("minutes", "code"), [(29, ""), (30, "live.silence")])
def test_no_silence_is_shorter_than_half_an_hour(minutes: int, code: str) -> None:
    """However busy the shop: a maintenance of ZEUS's should have a chance to end."""
    habits = Habits((1.0,) * 168, (0.5,) * len(AGES), 5_000)
    slips = (Slip(START - DAY, None, START + 8 * DAY),) * 200
    silence = timedelta(minutes=minutes)
    evidence = new(heard_at=START - silence, of_open=slips, open=200, habits=habits, a_day=1_000.0)
    assert judge(evidence).code == code


def test_what_was_learnt_from_little_is_trusted_little() -> None:
    """The same expectation is no evidence if it rests on two payments, and nearly a certainty on a thousand."""
    week, rates = (1.0,) * 168, (0.1,) * len(AGES)
    chances = [Habits(week, rates, seen).chance(7.0) for seen in (0, 2, 20, 1000)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == 1.0
    assert chances[1] > 0.04
    assert chances[3] < 1 / 1000


def test_time_is_measured_in_average_hours() -> None:
    """A week is 168 of them however it is cut, and an hour in which nobody comes is none."""
    week = week_of({10: 5_000, 34: 5_000})
    habits = Habits(week, (0.0,) * len(AGES), 1)
    assert habits.busy(START, START + 7 * DAY) == pytest.approx(168)
    assert habits.busy(START + 10 * HOUR, START + 11 * HOUR) > 80
    assert habits.busy(START, START + 9 * HOUR) < 2
    assert habits.busy(START + 10 * HOUR, START + 10.25 * HOUR) == pytest.approx(week[10] / 4)
    whole = habits.busy(START + 3 * DAY, START + 30 * DAY)
    assert whole == pytest.approx(
        habits.busy(START + 3 * DAY, START + 9.3 * DAY) + habits.busy(START + 9.3 * DAY, START + 30 * DAY)
    )
    assert habits.busy(START + DAY, START) == 0


@pytest.mark.parametrize("make", [lambda: trade(7, 210, 56), lambda: trade(8, 40, 56, WEEKEND)])
def test_habits_come_true(make: Callable[[], list[Slip]]) -> None:
    """Over their own history they expect about as many payments as there were."""
    slips = make()
    until = START + 56 * DAY
    known = [as_of(slip, until) for slip in slips]
    habits = learn(known, until)
    until_paid = [replace(slip, closes_at=slip.paid_at or slip.closes_at) for slip in known]
    paid = sum(slip.paid_at is not None for slip in known)
    assert habits.expected(until_paid, START, until) == pytest.approx(paid, rel=0.02)
