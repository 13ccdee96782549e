"""Notices that stay away, as a shop's tables tell of them: seen, said with figures, and told to subscribers once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from click.testing import Result
from sqlalchemy.exc import OperationalError

from flask_zeus_cvs import EventData, State, silence_suspected
from flask_zeus_cvs.models import Application, Event, Notification, Payment, Verdict
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.staff.findings import Severity
from flask_zeus_cvs.staff.silence import Evidence, Slip, gather, judge, learn, listen
from tests.blocks import assert_printed, block, dialogue
from tests.conftest import Shop, accepted
from tests.database.test_receive import notice
from tests.unit.test_silence import START, as_of, trade

NOON = datetime(2026, 12, 1, 3, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def told(shop: Shop) -> Iterator[list[tuple[Payment | None, EventData]]]:
    """What a subscriber of silence_suspected was told."""
    calls: list[tuple[Payment | None, EventData]] = []

    def hear(app: object, *, payment: Payment | None, event: EventData, **extra: Any) -> None:
        calls.append((payment, event))

    with silence_suspected.connected_to(hear, shop.app):
        yield calls


def slip(shop: Shop, order_no: str) -> None:
    """A customer applies, and ZEUS accepts."""
    shop.gateway.answers.append(accepted(order_no))
    shop.submit(shop.payment(reference=order_no))


def codes(shop: Shop) -> list[str]:
    return [each.code for each in listen(shop.payments)]


def evidence(shop: Shop) -> Evidence:
    return shop.payments.database.read(gather)


def test_nothing_to_hear(shop: Shop, clock: Any, told: list[Any]) -> None:
    """A shop without a slip is not alarmed, whatever the time."""
    assert codes(shop) == ["live.heard"]
    shop.payment()
    clock.shift(timedelta(days=400))
    assert codes(shop) == ["live.heard"]
    assert told == []


def test_the_first_slip_of_a_new_shop(shop: Shop, clock: Any, told: list[Any]) -> None:
    """Nothing was ever heard, and a slip is out for an hour: the callback is not registered. Told once."""
    slip(shop, "0001-1")
    clock.shift(HOUR - MINUTE)
    assert codes(shop) == ["live.heard"]
    clock.shift(MINUTE)
    (found,) = listen(shop.payments)
    assert (found.code, found.severity) == ("live.no_call", Severity.ERROR)
    assert found.what == (
        "No notice has ever come. 1 slip was issued, the first 60 min ago, and ZEUS told of none. "
        "Subscribers of silence_suspected were told."
    )
    clock.shift(timedelta(days=1))
    slip(shop, "0002-1")
    (found,) = listen(shop.payments)
    assert (found.code, found.what.endswith("have been told of it before.")) == ("live.no_call", True)
    ((payment, event),) = told
    assert (payment, event.kind) == (None, "silence_suspected")
    assert [each.payment_id for each in shop.all(Event) if each.kind == "silence_suspected"] == [None]


def test_a_silence_ends_with_any_notice(shop: Shop, clock: Any, told: list[Any]) -> None:
    """Two slips without a word are enough after a quarter of an hour; after a notice the next silence is news again."""
    slip(shop, "0001-1")
    shop.zeus.receive(notice("01", "0001-1"))
    for round_ in (1, 2):
        clock.shift(HOUR)
        for number in (1, 2):
            slip(shop, f"000{round_}-{number + 1}")
        clock.shift(14 * MINUTE)
        assert codes(shop) == ["live.heard"]
        clock.shift(MINUTE)
        assert codes(shop) == ["live.no_call"]
        assert len(told) == round_
        clock.shift(MINUTE)
        assert codes(shop) == ["live.no_call"]
        assert len(told) == round_
        for number in (1, 2):
            shop.zeus.receive(notice("01", f"000{round_}-{number + 1}"))
        assert codes(shop) == ["live.heard"]


def test_a_repeat_is_a_word_too(shop: Shop, clock: Any, told: list[Any]) -> None:
    """A notice that comes again changes nothing, and shows that the callback works."""
    slip(shop, "0001-1")
    shop.zeus.receive(notice("01", "0001-1"))
    clock.shift(HOUR)
    slip(shop, "0002-1")
    clock.shift(2 * HOUR)
    assert codes(shop) == ["live.no_call"]
    shop.zeus.receive(notice("01", "0001-1"))
    assert evidence(shop).heard_at == NOON + 3 * HOUR
    assert codes(shop) == ["live.heard"]


def test_a_file_is_no_word(shop: Shop, clock: Any, told: list[Any]) -> None:
    """Notices that staff took from a file do not show that the callback works."""
    slip(shop, "0001-1")
    shop.payments.receive(notice("01", "0001-1"), source="zeus.csv")
    clock.shift(2 * HOUR)
    assert evidence(shop).heard_at is None
    assert codes(shop) == ["live.no_call"]


@pytest.mark.parametrize("fate", ["declined", "unknown", "re-issued"])
def test_what_zeus_need_not_tell_of(shop: Shop, clock: Any, fate: str) -> None:
    """Applications that came to no slip, and slips that we only know from a notice, are not waited for."""
    shop.awaiting()
    state = {"declined": State.DECLINED, "unknown": State.UNKNOWN}.get(fate, State.AWAITING_PAYMENT)
    change: dict[str, Any] = {"stored_state": state, "reissued": fate == "re-issued"}
    if fate == "unknown":
        change["order_no"] = None
    shop.db.session.execute(sa.update(Application).values(**change))
    shop.db.session.commit()
    clock.shift(timedelta(days=1))
    assert evidence(shop).untold == 0
    assert codes(shop) == ["live.heard"]


def test_a_shop_that_is_told_of_payments_only(shop: Shop, clock: Any, told: list[Any]) -> None:
    """Where 01 is never sent there is one alarm, before the first payment; then advice says why there is none."""
    slip(shop, "0001-1")
    clock.shift(HOUR)
    assert codes(shop) == ["live.no_call"]
    shop.zeus.receive(notice("04", "0001-1"))
    for number in range(2, 6):
        clock.shift(timedelta(days=1))
        slip(shop, f"000{number}-1")
        clock.shift(2 * HOUR)
        assert codes(shop) == ["live.heard", "live.without_01"]
        shop.zeus.receive(notice("04", f"000{number}-1"))
    assert len(told) == 1
    without = listen(shop.payments)[-1]
    assert (without.severity, "any of the last 5 slips" in without.what) == (Severity.ADVICE, True)


def test_two_crons_at_once(shop: Shop, clock: Any, told: list[Any]) -> None:
    """Two machines that notice the same silence tell of it once."""
    assert [shop.payments.tell_of_silence("since noon") for _ in range(2)] == [True, False]
    assert len(told) == 1


def fill(shop: Shop, slips: Iterable[Slip], broken_at: datetime, until: datetime, *, told: bool) -> None:
    """Write a shop's history up to a moment into its tables; from ``broken_at`` on its callback took nothing."""
    payments: list[dict[str, Any]] = []
    applications: list[dict[str, Any]] = []
    notices: list[tuple[datetime, str, str]] = []
    known = [as_of(each, broken_at) for each in slips if each.opened_at <= until]
    for number, each in enumerate(known, 1):
        assert each.closes_at is not None
        payments.append({"id": number, "token": f"t{number}", "reference": f"A-{number}", "amount": 3000})
        over = each.closes_at < broken_at
        state = State.RECEIVED if each.paid_at else State.EXPIRED if over else State.AWAITING_PAYMENT
        applications.append(
            {
                "id": number,
                "payment_id": number,
                "sendid": f"S{number}",
                "store": Store.LAWSON,
                "stored_state": state,
                "order_no": f"{number:06d}-1",
                "pay_limit": (each.closes_at - HOUR).date(),
                "created_at": each.opened_at,
                "answer_due_at": each.opened_at,
            }
        )
        if told:
            notices.append((each.opened_at + timedelta(seconds=5), "01", f"{number:06d}-1"))
        if each.paid_at:
            notices.append((each.paid_at, "04", f"{number:06d}-1"))
    blank = {"customer_name": "", "customer_phone": "", "customer_email": ""}
    with shop.db.engine.begin() as connection:
        connection.execute(sa.insert(Payment), [{**row, **blank, "created_at": until} for row in payments])
        connection.execute(sa.insert(Application), [{**row, **blank} for row in applications])
        connection.execute(
            sa.insert(Notification),
            [
                {
                    "identity": f"{order_no}/{status}",
                    "raw": b"",
                    "verdict": Verdict.APPLIED,
                    "status": status,
                    "order_no": order_no,
                    "first_at": moment,
                    "last_at": moment,
                }
                for moment, status, order_no in sorted(notices)
                if moment <= broken_at
            ],
        )


def test_a_history_is_read_as_it_was(shop: Shop) -> None:
    """What the tables say of nine weeks is what was played: the week, the rates, the open slips; then it falls silent."""
    slips = trade(seed=11, a_week=210, days=66)
    broken_at = START + timedelta(days=63, hours=9)
    fill(shop, slips, broken_at, broken_at + 14 * HOUR, told=False)
    last = max(each.paid_at for each in slips if each.paid_at and each.paid_at <= broken_at)
    with time_machine.travel(broken_at + 14 * HOUR, tick=False):
        seen = evidence(shop)
        assert seen.heard_at is not None
        assert abs(seen.heard_at - last) < timedelta(seconds=1)
        played = [as_of(each, last) for each in slips if last - timedelta(weeks=8) <= each.opened_at <= last]
        mine = learn(played, last)
        assert seen.habits.seen == mine.seen
        assert seen.habits.rates == pytest.approx(mine.rates, rel=0.05, abs=0.002)
        assert seen.habits.week == pytest.approx(mine.week, abs=0.35)
        assert (seen.told, seen.lost) == (0, 200)
        assert seen.open == len(seen.of_open) > 20
        assert judge(seen).code == "live.silence"
        found, why = listen(shop.payments)
    assert (found.code, why.code) == ("live.silence", "live.without_01")
    assert found.what.startswith("Last notice: 14 h ago. At these hours of the week and with ")
    assert "open slips one hears of " in found.what
    assert "a silence like this has a chance of less than 1 in 1,000,000." in found.what


def test_slips_without_a_word_come_first(shop: Shop) -> None:
    """Where ZEUS tells of slips, the same shop is alarmed by the first that it does not tell of."""
    slips = trade(seed=11, a_week=210, days=66)
    broken_at = START + timedelta(days=63, hours=9)
    fill(shop, slips, broken_at, broken_at + 2 * HOUR, told=True)
    with time_machine.travel(broken_at + 2 * HOUR, tick=False):
        seen = evidence(shop)
        assert (seen.told, seen.lost, seen.untold > 1) == (200, 0, True)
        assert codes(shop) == ["live.no_call"]


def test_a_night_is_no_silence(shop: Shop) -> None:
    """From midnight to five the same shop is as silent, and nothing is said against it."""
    slips = trade(seed=12, a_week=210, days=64)
    midnight = START + timedelta(days=63)
    fill(shop, slips, midnight, midnight, told=True)
    with time_machine.travel(midnight + 5 * HOUR, tick=False):
        assert codes(shop) == ["live.heard"]


# The command


def check(shop: Shop, *options: str) -> Result:
    shop.db.session.remove()
    return shop.app.test_cli_runner().invoke(args=["zeus-cvs", "check", "--live", *options])


def test_the_command_of_cron(sqlite_shop: Shop, clock: Any) -> None:
    """Silent while all is well; then an error, each time, with the cure, though subscribers are told once."""
    slip(sqlite_shop, "0001-1")
    assert (check(sqlite_shop, "--quiet").exit_code, check(sqlite_shop, "--quiet").output) == (0, "")
    assert check(sqlite_shop).output.startswith("FINE (1)\n  No notice has ever come.")
    clock.shift(HOUR)
    for _ in range(2):
        said = check(sqlite_shop, "--quiet")
        assert said.exit_code == 2
        assert "[live.no_call]" in said.output
        assert "flask zeus-cvs reconcile" in said.output
    assert [each.kind for each in sqlite_shop.all(Event)].count("silence_suspected") == 1
    told = json.loads(check(sqlite_shop, "--json").output)
    assert [each["code"] for each in told["findings"]] == ["live.no_call"]


def test_a_database_that_is_away_is_no_silence(
    sqlite_shop: Shop, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said that nothing could be asked, and no traceback goes to cron's mail."""

    def refuse(*args: Any, **more: Any) -> Any:
        raise OperationalError("SELECT 1", {}, ConnectionRefusedError())

    monkeypatch.setattr(sqlite_shop.payments.database, "read", refuse)
    said = check(sqlite_shop)
    assert (said.exit_code, "[database.away]" in said.output) == (2, True)


def test_the_command_prints_what_the_page_shows(sqlite_shop: Shop) -> None:
    """A busy shop that has heard nothing for hours: the page's words, but for its numbers."""
    broken_at = START + timedelta(days=63, hours=8)
    slips = [each for each in trade(seed=11, a_week=420, days=64) if each.opened_at < broken_at]
    fill(sqlite_shop, slips, broken_at, broken_at + 9 * HOUR, told=True)
    with time_machine.travel(broken_at + 9 * HOUR, tick=False):
        answer = check(sqlite_shop)
    ((_, shown),) = dialogue(block("11-check", "$ flask zeus-cvs check --live"))
    assert answer.exit_code == 2
    assert_printed(*(" ".join(re.sub(r"[\d.,]*\d", "#", each).split()) for each in (answer.output, shown)))
