"""``flask zeus-cvs reconcile``: what each difference is called, what is done about it, and what is left alone."""

from __future__ import annotations

import csv
import json
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from sqlalchemy.event import listen

from flask_zeus_cvs import EventKind, State
from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.exceptions import Unanswered
from flask_zeus_cvs.lifecycle import NOTICES, TOLD_BEFORE
from flask_zeus_cvs.models import (
    Application,
    Delivery,
    Event,
    Notification,
    Payment,
    Review,
    ReviewReason,
    Verdict,
)
from flask_zeus_cvs.outbox import Outbox
from flask_zeus_cvs.signals import fulfillment_ready, payment_cancelled
from flask_zeus_cvs.staff import reconciliation
from tests.conftest import CLIENT_IP, Shop, ShopMaker
from tests.database.test_receive import kinds, notice, reasons

HEAD = "order_no,status,money,sendid,applied_at,changed_at,test,clientip,pay_no1,pay_no2,pay_limit,username"
SECRETS = ("ヤマダ", "タロウ", "09012345678", "taro@example.com")


def line(order_no: str, status: str, money: int = 3000, **more: object) -> str:
    """One line of a list; what is not said is blank."""
    given = {"order_no": order_no, "status": status, "money": money, "username": "ヤマダ　タロウ", **more}
    return ",".join(str(given.get(name, "")) for name in HEAD.split(","))


@pytest.fixture
def reconcile(sqlite_shop: Shop, tmp_path: Path) -> Callable[..., Result]:
    """Run the command on some lines; the answer's exit status is 0 or 1, and it names no customer."""
    return running(sqlite_shop, tmp_path)


def running(shop: Shop, folder: Path) -> Callable[..., Result]:
    def run(*lines: str, args: tuple[str, ...] = (), exit_code: int | None = None) -> Result:
        path = folder / "zeus-list.csv"
        path.write_bytes("\r\n".join([HEAD, *lines, ""]).encode("cp932"))
        shop.db.session.rollback()
        result = shop.app.test_cli_runner().invoke(args=["zeus-cvs", "reconcile", str(path), *args])
        assert result.exit_code == exit_code if exit_code is not None else result.exit_code in (0, 1), (
            result.output
        )
        assert not any(secret in result.output for secret in SECRETS)
        return result

    return run


APPLY = ("--apply", "--yes", "--json")


def found(result: Result) -> list[str]:
    return [each["kind"] for each in json.loads(result.stdout)["differences"]]


def applied(result: Result) -> dict[str, Any]:
    done: dict[str, Any] = json.loads(result.stdout)["applied"]
    return done


def test_what_agrees(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Nothing is said of it but its number, nothing is done, and the exit status is 0."""
    sqlite_shop.awaiting()
    result = reconcile(line("0001-1", "01"), args=("--apply", "--yes"), exit_code=0)
    assert re.search(r"^agree +1$", result.output, flags=re.M)
    assert sqlite_shop.all(Notification) == []


def test_without_apply_nothing_changes(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """It is only said what would be done."""
    payment, _ = sqlite_shop.awaiting()
    result = reconcile(line("0001-1", "05"), exit_code=1)
    assert "awaiting_payment → confirmed  05 売上確定  04 05" in result.output
    assert sqlite_shop.state(payment) is State.AWAITING_PAYMENT
    assert sqlite_shop.all(Notification) == []


@pytest.mark.parametrize("status", [each.value for each in NOTICES if each.value not in ("01", "02")])
def test_the_natural_chain(sqlite_shop: Shop, reconcile: Callable[..., Result], status: str) -> None:
    """A slip of which we only know that it exists: what subscribers would have heard they hear, in that order."""
    sqlite_shop.awaiting()
    before = len(kinds(sqlite_shop))
    done = applied(reconcile(line("0001-1", status), args=APPLY, exit_code=0))
    told = [*(each.value for each in TOLD_BEFORE[next(n for n in NOTICES if n.value == status)][1:]), status]
    assert done == {"notices": dict.fromkeys(told, 1), "slips": 1, "reviews": 0}
    assert [row.status for row in sqlite_shop.all(Notification)] == told
    twin = [kind for each in told for kind in _KINDS[each]]
    assert kinds(sqlite_shop)[before:] == twin


_KINDS: dict[str, list[str]] = {
    "03": ["payment_expired"],
    "04": ["payment_received", "fulfillment_ready"],
    "05": ["sale_confirmed"],
    "06": ["payment_cancelled"],
    "11": ["payment_received_after_cancel"],
    "12": ["sale_confirmed_after_cancel"],
    "13": ["payment_cancelled_after_cancel"],
}


def test_a_notice_from_a_list_is_as_zeus_sends_it(
    sqlite_shop: Shop, reconcile: Callable[..., Result]
) -> None:
    """Its bytes can be read as any, name the file as their source, and hold nothing of the customer."""
    sqlite_shop.gateway.answers.append(Unanswered("cut"))
    sqlite_shop.submit(sqlite_shop.payment())
    sendid = sqlite_shop.all(Application)[0].sendid
    numbers = {"sendid": sendid, "pay_no1": "012345", "pay_no2": "654321", "pay_limit": "20261201"}
    reconcile(line("0001-1", "01", **numbers), args=APPLY)
    (row,) = sqlite_shop.all(Notification)
    expected = (
        f"clientip={CLIENT_IP}&money=3000&sendid={sendid}&order_no=0001-1&pay_no1=012345&pay_no2=654321"
    )
    assert row.raw == f"{expected}&pay_limit=20261201&status=01".encode()
    assert (row.source, row.verdict) == ("file:zeus-list.csv", Verdict.APPLIED)
    (application,) = sqlite_shop.all(Application)
    assert (application.order_no, application.pay_no1) == ("0001-1", "012345")
    assert application.state is State.AWAITING_PAYMENT


def test_the_real_notice_that_comes_later_is_a_repeat(
    sqlite_shop: Shop, reconcile: Callable[..., Result]
) -> None:
    """Also for a shop whose notices say no amount: those from the list say none either."""
    sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("01", money=None))
    reconcile(line("0001-1", "05"), args=APPLY)
    receipts = [sqlite_shop.zeus.receive(notice(status, money=None)) for status in ("04", "05")]
    assert all(each.repeat for each in receipts)


def test_goods_stay_whose_payment_came_and_went(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """04 and 06 in one list: both are told, and nothing ships in between, not even inline."""
    shipped: list[str] = []
    cancelled: list[str] = []
    with (
        fulfillment_ready.connected_to(
            lambda _app, **_: shipped.append("parcel"), sqlite_shop.app, name="ships"
        ),
        payment_cancelled.connected_to(
            lambda _app, **_: cancelled.append("told"), sqlite_shop.app, name="told"
        ),
    ):
        sqlite_shop.awaiting()
        reconcile(line("0001-1", "06"), args=APPLY)
    assert (shipped, cancelled) == ([], ["told"])


def test_a_run_that_is_broken_off_goes_on(
    sqlite_shop: Shop, reconcile: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done stays done, and the next run does the rest; a third finds nothing to do."""
    for number in range(4):
        sqlite_shop.awaiting(order_no=f"000{number}", reference=f"A-{number}")
    lines = [line(f"000{number}", "05") for number in range(4)]
    taken = sqlite_shop.payments.catch_up
    calls: list[object] = []

    def die(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return taken(*args)

    monkeypatch.setattr(sqlite_shop.payments, "catch_up", die)
    result = reconcile(*lines, args=("--apply", "--yes"), exit_code=1)
    assert "Broken off" in result.output
    assert [each.state for each in sqlite_shop.all(Application)].count(State.CONFIRMED) == 2
    monkeypatch.undo()
    assert applied(reconcile(*lines, args=APPLY, exit_code=0))["notices"] == {"04": 2, "05": 2}
    assert applied(reconcile(*lines, args=APPLY, exit_code=0)) is None
    assert len(sqlite_shop.all(Notification)) == 8


def test_somebody_must_agree(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Without a terminal nobody can: --yes says so."""
    sqlite_shop.awaiting()
    result = reconcile(line("0001-1", "05"), args=("--apply",), exit_code=2)
    assert "say --yes" in result.output


def test_a_person_says_no(
    sqlite_shop: Shop, reconcile: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked with what would be done; a no changes nothing."""
    monkeypatch.setattr("flask_zeus_cvs.cli.reconcile._is_terminal", lambda: True)
    payment, _ = sqlite_shop.awaiting()
    result = reconcile(line("0001-1", "05"), args=("--apply",), exit_code=1)
    assert "Take 2 notices from the list and open 0 reviews?" in result.output
    assert sqlite_shop.state(payment) is State.AWAITING_PAYMENT


# --- what no notice tells of ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "money", "kind", "reason"),
    [
        ("番組停止", 3000, "stopped", ReviewReason.PAID_WHILE_STOPPED),
        ("キャンセル", 3000, "cancelled", ReviewReason.CANCELLED_AT_ZEUS),
        ("04", 2999, "amount", ReviewReason.AMOUNT_AT_ZEUS),
    ],
)
def test_a_person_is_asked_once(
    sqlite_shop: Shop,
    reconcile: Callable[..., Result],
    status: str,
    money: int,
    kind: str,
    reason: ReviewReason,
) -> None:
    """No state is changed; the review is not opened again by the next list, nor once it is resolved."""
    payment, _ = sqlite_shop.awaiting()
    result = reconcile(line("0001-1", status, money), args=APPLY, exit_code=1)
    assert (found(result), applied(result)["reviews"]) == ([kind], 1)
    assert sqlite_shop.state(payment) is State.AWAITING_PAYMENT
    assert found(reconcile(line("0001-1", status, money), args=APPLY, exit_code=1)) == ["under_review"]
    (review,) = sqlite_shop.all(Review)
    assert review.reason is reason
    assert kinds(sqlite_shop)[-1] is EventKind.REVIEW_REQUIRED
    sqlite_shop.zeus.resolve(review, "ignored", by="Hanako")
    again = reconcile(line("0001-1", status, money), args=APPLY, exit_code=0)
    assert (found(again), json.loads(again.stdout)["decided"]) == ([], 1)
    assert len(sqlite_shop.all(Review)) == 1


@pytest.mark.parametrize("decision", ["received", "ignored"])
def test_no_goods_leave_while_the_amount_is_a_question(
    sqlite_shop: Shop, reconcile: Callable[..., Result], decision: str
) -> None:
    """A shop whose notices bring no money: a 04 that comes meanwhile is booked, and ships on a person's word, or with
    the next notice once they have found nothing wrong."""
    payment, _ = sqlite_shop.awaiting()
    reconcile(line("0001-1", "01", 300), args=APPLY)
    sqlite_shop.zeus.receive(b"order_no=0001-1&status=04")
    assert sqlite_shop.state(payment) is State.RECEIVED
    assert "fulfillment_ready" not in kinds(sqlite_shop)
    (review,) = sqlite_shop.all(Review)
    sqlite_shop.zeus.resolve(review, decision, by="Hanako")
    assert ("fulfillment_ready" in kinds(sqlite_shop)) is (decision == "received")
    sqlite_shop.zeus.receive(b"order_no=0001-1&status=05")
    assert kinds(sqlite_shop).count(EventKind.FULFILLMENT_READY) == 1


def test_stopped_money_ships_on_a_persons_word(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Resolved as confirmed, it is as any sale; the list is then agreed with."""
    payment, _ = sqlite_shop.awaiting()
    reconcile(line("0001-1", "番組停止"), args=APPLY)
    (review,) = sqlite_shop.all(Review)
    sqlite_shop.zeus.resolve(review, "confirmed", by="Hanako")
    assert sqlite_shop.state(payment) is State.CONFIRMED
    assert kinds(sqlite_shop)[-2:] == ["sale_confirmed", "fulfillment_ready"]
    assert found(reconcile(line("0001-1", "番組停止"), args=APPLY, exit_code=0)) == []


def test_a_wrong_amount_that_was_told_is_no_second_question(
    sqlite_shop: Shop, reconcile: Callable[..., Result]
) -> None:
    """The notice has asked already."""
    sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("04", money=2999))
    assert found(reconcile(line("0001-1", "04", 2999), args=APPLY)) == ["under_review"]
    assert reasons(sqlite_shop) == ["wrong_amount"]


def test_another_amount_of_what_agrees_otherwise(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Unpaid on both sides, and somebody will pay too little."""
    sqlite_shop.awaiting()
    assert found(reconcile(line("0001-1", "01", 2999), args=APPLY, exit_code=1)) == ["amount"]


def told_of_money(shop: Shop, ago: timedelta) -> Payment:
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("04"))
    shop.db.session.execute(sa.update(Notification).values(first_at=now() - ago))
    shop.db.session.commit()
    return payment


def test_money_that_a_younger_list_does_not_know(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Somebody may have forged the notice: a person looks, and the state stays."""
    payment = told_of_money(sqlite_shop, timedelta(hours=5))
    other = line("9999", "01", applied_at=f"{datetime.now(JST):%Y-%m-%d %H:%M:%S}")
    result = reconcile(line("0001-1", "01"), other, args=APPLY)
    assert found(result) == ["contradicted", "unknown"]
    assert reasons(sqlite_shop) == ["money_not_at_zeus"]
    assert sqlite_shop.state(payment) is State.RECEIVED


@pytest.mark.parametrize("age", [None, timedelta(days=1)], ids=["no time", "a day old"])
def test_a_list_that_is_older_than_our_notice(
    sqlite_shop: Shop, reconcile: Callable[..., Result], age: timedelta | None
) -> None:
    """Ours is further: said, and left alone; also where the list does not tell how old it is."""
    moment = f"{datetime.now(JST) - age:%Y-%m-%d %H:%M:%S}" if age else ""
    told_of_money(sqlite_shop, timedelta(hours=5))
    result = reconcile(line("0001-1", "01", applied_at=moment), args=APPLY, exit_code=1)
    assert [each for each in found(result) if each != "not_listed"] == ["ahead"]
    assert reasons(sqlite_shop) == []


def test_an_older_list_asks_nothing_of_what_followed(
    sqlite_shop: Shop, reconcile: Callable[..., Result]
) -> None:
    """06 is here and 04 was lost; a list of in between says 04: taken, it would be a question to a person."""
    sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("06"))
    assert found(reconcile(line("0001-1", "04"), args=APPLY)) == ["ahead"]
    assert reasons(sqlite_shop) == []


def test_an_older_list_knows_no_re_issue(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Its notice is here, and a later one of another slip has replaced it."""
    _, application = sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("01"))
    sqlite_shop.zeus.receive(notice("01", "0002", sendid=application.sendid))
    assert found(reconcile(line("0001-1", "01"), args=APPLY, exit_code=1)) == ["ahead"]


def test_what_a_person_has_decided_is_left_alone(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """06 after 05 was a question, and is answered: the list goes on saying 06, and agrees."""
    payment, _ = sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("05"))
    sqlite_shop.zeus.receive(notice("06"))
    assert found(reconcile(line("0001-1", "06"), args=APPLY)) == ["under_review"]
    (review,) = sqlite_shop.all(Review)
    sqlite_shop.zeus.resolve(review, "ignored", by="Hanako")
    assert found(reconcile(line("0001-1", "06"), args=APPLY, exit_code=0)) == []
    assert sqlite_shop.state(payment) is State.CONFIRMED


# --- whose a line is -----------------------------------------------------------------------------------


def test_a_re_issue(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """The new slip comes first, whatever the order of the lines: the old one is superseded, then paid after all."""
    payment, application = sqlite_shop.awaiting()
    new = line("0002-1", "01", sendid=application.sendid)
    old = line("0001-1", "12", sendid=application.sendid)
    assert found(reconcile(old, new, args=APPLY, exit_code=0)) == ["missed", "missed"]
    states = {each.order_no: each.state for each in sqlite_shop.all(Application)}
    assert states == {"0001-1": State.CONFIRMED_AFTER_CANCEL, "0002-1": State.AWAITING_PAYMENT}
    assert [row.status for row in sqlite_shop.all(Notification)] == ["01", "11", "12"]
    assert sqlite_shop.state(payment) is State.CONFIRMED_AFTER_CANCEL
    assert found(reconcile(old, new, args=APPLY, exit_code=0)) == []


def test_a_re_issue_of_a_re_issue(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Each replaces the one before, newest first in the list or not."""
    _, application = sqlite_shop.awaiting()
    lines = [
        line("0003", "04", sendid=application.sendid, applied_at="2026-11-23 12:00"),
        line("0002", "キャンセル", sendid=application.sendid, applied_at="2026-11-23 11:00"),
        line("0001-1", "キャンセル", sendid=application.sendid, applied_at="2026-11-23 10:00"),
    ]
    reconcile(*lines, args=APPLY)
    states = {each.order_no: each.state for each in sqlite_shop.all(Application)}
    assert states == {"0001-1": State.SUPERSEDED, "0002": State.SUPERSEDED, "0003": State.RECEIVED}


def test_a_lost_answer_and_a_re_issue(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """The old slip takes the place that waits for its number, though it stands below the new one and has no date."""
    sqlite_shop.gateway.answers.append(Unanswered("cut"))
    sqlite_shop.submit(sqlite_shop.payment())
    (application,) = sqlite_shop.all(Application)
    new, old = (line(*each, sendid=application.sendid) for each in (("0002", "01"), ("0001", "キャンセル")))
    reconcile(new, old, args=APPLY, exit_code=0)
    states = {each.order_no: (each.state, each.reissued) for each in sqlite_shop.all(Application)}
    assert states == {"0001": (State.SUPERSEDED, False), "0002": (State.AWAITING_PAYMENT, True)}


def test_an_old_slip_of_which_we_never_heard(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Its successor is bound already: 01 of the old one would replace that. Only its money is taken."""
    sqlite_shop.gateway.answers.append(Unanswered("cut"))
    sqlite_shop.submit(sqlite_shop.payment())
    sendid = sqlite_shop.all(Application)[0].sendid
    sqlite_shop.zeus.receive(notice("01", "0002", sendid=sendid))
    silent = line("0001", "キャンセル", sendid=sendid), line("0002", "01", sendid=sendid)
    assert found(reconcile(*silent, args=APPLY, exit_code=0)) == ["old_slip"]
    paid = line("0001", "11", sendid=sendid), line("0002", "01", sendid=sendid)
    reconcile(*paid, args=APPLY, exit_code=0)
    states = {each.order_no: each.state for each in sqlite_shop.all(Application)}
    assert states == {"0001": State.RECEIVED_AFTER_CANCEL, "0002": State.AWAITING_PAYMENT}


@pytest.mark.parametrize("order_no", ["1234567890123", "1-1"])
def test_a_wrong_column_supersedes_nothing(
    sqlite_shop: Shop, reconcile: Callable[..., Result], order_no: str
) -> None:
    """Our sendid under another number, and no sign of ours: payment numbers, or zeros lost in Excel. Left alone."""
    payment, application = sqlite_shop.awaiting(order_no="0001-1")
    result = reconcile(line(order_no, "04", sendid=application.sendid), args=APPLY, exit_code=1)
    assert found(result) == ["other_number"]
    assert len(sqlite_shop.all(Application)) == 1
    assert sqlite_shop.state(payment) is State.AWAITING_PAYMENT


def test_a_waiting_notice_finds_its_application(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """A shop whose notices have no sendid: the list tells whose the number is, and the question is closed."""
    sqlite_shop.gateway.answers.append(Unanswered("cut"))
    payment = sqlite_shop.payment()
    sqlite_shop.submit(payment)
    sqlite_shop.zeus.receive(notice("04"))
    assert reasons(sqlite_shop) == ["unknown_order"]
    reconcile(line("0001-1", "04", sendid=sqlite_shop.all(Application)[0].sendid), args=APPLY)
    assert sqlite_shop.state(payment) is State.RECEIVED
    (review,) = sqlite_shop.all(Review)
    assert review.resolved_at is not None


def test_money_of_both_slips(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Where the list does not tell which came first, the old one's is taken first: the goods wait for a person."""
    _, application = sqlite_shop.awaiting()
    lines = line("0002", "05", sendid=application.sendid), line("0001-1", "12", sendid=application.sendid)
    assert applied(reconcile(*lines, args=APPLY, exit_code=1))["reviews"] == 1
    assert reasons(sqlite_shop) == ["paid_twice"]
    assert "fulfillment_ready" not in kinds(sqlite_shop)


def test_money_of_both_slips_at_known_moments(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Where it tells, in that order."""
    _, application = sqlite_shop.awaiting()
    sendid = application.sendid
    lines = (
        line("0001-1", "11", sendid=sendid, changed_at="2026-11-23 12:00"),
        line("0002", "04", sendid=sendid, changed_at="2026-11-23 11:00"),
    )
    reconcile(*lines, args=APPLY)
    assert [row.status for row in sqlite_shop.all(Notification)] == ["01", "04", "11"]
    assert "fulfillment_ready" in kinds(sqlite_shop)


def test_another_merchants_lines(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Nothing is taken from them, not even with our numbers; a lost zero is no other merchant."""
    payment, _ = sqlite_shop.awaiting()
    result = reconcile(line("0001-1", "05", clientip="9999999999"), args=APPLY, exit_code=1)
    assert found(result) == ["foreign"]
    assert sqlite_shop.state(payment) is State.AWAITING_PAYMENT


def test_lines_of_nobody_knows_whom(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """A clientip that cannot be read may be another merchant's: its line is left out and said, never taken for ours."""
    payment, _ = sqlite_shop.awaiting()
    sqlite_shop.awaiting(reference="A-2", order_no="0002-1")
    lines = line("0001-1", "05", clientip="9.99E+09"), line("0002-1", "01", clientip=CLIENT_IP)
    result = reconcile(*lines, args=APPLY, exit_code=1)
    assert json.loads(result.stdout)["faults"] == [
        {"line": 2, "column": "clientip", "wrong": "is no IP code"}
    ]
    assert sqlite_shop.state(payment) is State.AWAITING_PAYMENT


def test_orders_that_are_not_ours(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Said; their notices are kept only if that is asked for, and then once."""
    lines = line("X-1", "04"), line("X-2", "01", test=1)
    assert found(reconcile(*lines, args=APPLY, exit_code=1)) == ["unknown", "unknown_test"]
    assert sqlite_shop.all(Notification) == []
    asked = applied(reconcile(*lines, args=(*APPLY, "--unknown"), exit_code=1))
    assert asked == {"notices": {"01": 1, "04": 1}, "slips": 1, "reviews": 2}
    assert applied(reconcile(*lines, args=(*APPLY, "--unknown"), exit_code=1)) is None
    assert [row.times for row in sqlite_shop.all(Notification)] == [1, 1]


def test_a_tests_line(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Compared as any other, and counted."""
    sqlite_shop.awaiting()
    result = reconcile(line("0001-1", "01", test=1), exit_code=0)
    assert "1 of them is a test" in result.output


# --- the other direction -----------------------------------------------------------------------------


def stamp(moment: datetime) -> str:
    return f"{moment.astimezone(JST):%Y-%m-%d %H:%M:%S}"


def test_ours_that_the_list_does_not_have(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Of the time that the list covers, less a margin at its end: what was applied for after it is not missing."""
    times = {"A-1": 50, "A-2": 30, "A-3": 10, "A-4": 1, "A-5": 90}
    for number, (reference, minutes) in enumerate(times.items()):
        sqlite_shop.awaiting(order_no=f"000{number}", reference=reference)
        moment = now() - timedelta(minutes=minutes)
        change = sa.update(Application).where(Application.order_no == f"000{number}")
        sqlite_shop.db.session.execute(change.values(created_at=moment))
    sqlite_shop.db.session.commit()
    lines = (
        line("0000", "01", applied_at=stamp(now() - timedelta(minutes=50))),
        line("0002", "01", applied_at=stamp(now() - timedelta(minutes=3))),
    )
    result = reconcile(*lines, args=("--json",), exit_code=1)
    told = json.loads(result.stdout)
    assert [(each["kind"], each["reference"]) for each in told["differences"]] == [("not_listed", "A-2")]
    days = f"{now().astimezone(JST) - timedelta(days=1):%Y-%m-%d}", f"{now().astimezone(JST):%Y-%m-%d}"
    wider = json.loads(reconcile(*lines, args=("--json", "--from", days[0], "--to", days[1])).stdout)
    assert [each["reference"] for each in wider["differences"]] == ["A-2", "A-4", "A-5"]


def test_a_list_that_does_not_tell_its_days(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """The other direction is not looked at, and that is said."""
    sqlite_shop.awaiting()
    result = reconcile(line("0001-1", "01"), exit_code=0)
    assert "unknown to them  not looked at" in result.output
    assert "--from and --to" in result.output


# --- how it is said ------------------------------------------------------------------------------------


def test_columns_are_remembered(sqlite_shop: Shop, tmp_path: Path) -> None:
    """Named once, until they are forgotten; a message says that it goes by them."""
    sqlite_shop.awaiting()
    path = tmp_path / "list.csv"
    path.write_bytes("取引番号,ステータス,金額\n0001-1,01,3000\n".encode("cp932"))

    def run(*args: str) -> Result:
        sqlite_shop.db.session.rollback()
        return sqlite_shop.app.test_cli_runner().invoke(args=["zeus-cvs", "reconcile", *args])

    assert run(str(path)).exit_code == 2
    assert run(str(path), "--column", "order_no=取引番号").exit_code == 0
    assert run(str(path)).exit_code == 0
    path.write_bytes("取引,ステータス,金額\n0001-1,01,3000\n".encode("cp932"))
    refused = run(str(path))
    assert refused.exit_code == 2
    assert "--column is remembered from" in refused.output
    assert "Traceback" not in refused.output
    assert run("--forget").exit_code == 0
    assert "remembered" not in run(str(path)).output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "Say which FILE"),
        (("nowhere.csv",), "cannot be opened"),
        (("nowhere.csv", "--column", "price=金額"), "THING is one of order_no"),
        (("nowhere.csv", "--encoding", "klingon"), "There is no encoding klingon"),
        (("nowhere.csv", "--from", "2026-11-01"), "cannot be opened"),
    ],
)
def test_mistakes_are_sentences(sqlite_shop: Shop, args: tuple[str, ...], said: str) -> None:
    """With the cure, and exit status 2."""
    result = sqlite_shop.app.test_cli_runner().invoke(args=["zeus-cvs", "reconcile", *args])
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_half_a_span(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """Both days or none."""
    assert "Say both" in reconcile(line("1", "01"), args=("--from", "2026-11-01"), exit_code=2).output


def test_the_most_lines_of_a_table(
    sqlite_shop: Shop, reconcile: Callable[..., Result], tmp_path: Path
) -> None:
    """Fifty; the rest is counted, and all are in the file for spreadsheets, none of it a formula."""
    out = tmp_path / "out.csv"
    sqlite_shop.awaiting(reference="=1+1")
    lines = [line("0001-1", "05"), *(line(f"X-{number}", "04") for number in range(60))]
    result = reconcile(*lines, args=("--csv", str(out)), exit_code=1)
    assert result.output.count("X-") == 50
    assert "and 10 more; --csv FILE has them all" in result.output
    rows = list(csv.DictReader(out.read_text("utf-8-sig").splitlines()))
    assert len(rows) == 61
    assert rows[0]["reference"] == "'=1+1"
    assert rows[0]["missing"] == '="04 05"'


def test_lines_that_cannot_be_read_are_named(sqlite_shop: Shop, reconcile: Callable[..., Result]) -> None:
    """And the others are compared."""
    sqlite_shop.awaiting()
    result = reconcile(line("0001-1", "01"), line("0002", "ヤマダ"), exit_code=1)
    assert "   3  status  is no status that we know" in result.output


# --- the verbs -------------------------------------------------------------------------------------------


def test_what_came_meanwhile_is_left_out(shop: Shop) -> None:
    """The verb looks again under the payment's lock: neither a repeat nor what was overtaken is taken."""
    shop.awaiting()
    shop.zeus.receive(notice("06"))
    receipts = shop.payments.catch_up([notice("04"), notice("06")], "file:a.csv")
    assert receipts == [None, None]
    assert [row.times for row in shop.all(Notification)] == [1]
    assert reasons(shop) == []


def test_a_chain_is_one_transaction(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it or nothing; a worker that delivers at any moment sees the end of it."""
    payment, _ = shop.awaiting()
    append = Outbox.append

    def fail(self: Outbox, session: Any, kind: EventKind, *args: Any, **more: Any) -> Event:
        if kind is EventKind.SALE_CONFIRMED:
            raise RuntimeError("the machine stops")
        return append(self, session, kind, *args, **more)

    monkeypatch.setattr(Outbox, "append", fail)
    with pytest.raises(RuntimeError):
        shop.payments.catch_up([notice("04"), notice("05")], "file:a.csv")
    assert shop.state(payment) is State.AWAITING_PAYMENT
    assert shop.all(Notification) == []
    monkeypatch.undo()
    shop.payments.catch_up([notice("04"), notice("05")], "file:a.csv")
    assert shop.state(payment) is State.CONFIRMED


def test_the_same_question_from_many_at_once(shop: Shop) -> None:
    """Two people reconcile at the same time: one review."""
    _, application = shop.awaiting()
    application_id, opened = application.id, []
    shop.db.session.rollback()

    def ask() -> None:
        with shop.app.app_context():
            opened.append(shop.payments.open_review(application_id, ReviewReason.PAID_WHILE_STOPPED))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(opened) == [False] * 5 + [True]
    assert reasons(shop) == ["paid_while_stopped"]


def test_a_real_notice_and_the_list_at_once(shop: Shop) -> None:
    """The callback is back while the list is being applied: each notice counts once."""
    payment, _ = shop.awaiting()
    shop.db.session.rollback()

    def real() -> None:
        with shop.app.app_context():
            for status in ("04", "05"):
                shop.zeus.receive(notice(status))

    def listed() -> None:
        with shop.app.app_context():
            shop.payments.catch_up([notice("04"), notice("05")], "file:a.csv")

    threads = [threading.Thread(target=each) for each in (real, listed, real, listed)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert shop.state(payment) is State.CONFIRMED
    assert len(shop.all(Notification)) == 2
    assert kinds(shop).count(EventKind.SALE_CONFIRMED) == 1
    assert reasons(shop) == []


def test_look_ups_are_made_in_batches(
    make_shop: ShopMaker, database_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty lines more cost no statement more, on each kind of database."""
    monkeypatch.setattr(reconciliation, "BATCH", 40)
    shop = make_shop(database_uri)
    for number in range(30):
        shop.awaiting(order_no=f"{number:04d}", reference=f"A-{number}")
    run, statements = running(shop, tmp_path), []
    listen(shop.db.engine, "before_cursor_execute", lambda *_: statements.append(1))

    def cost(lines: int) -> int:
        statements.clear()
        result = run(*(line(f"{number:04d}", "05") for number in range(lines)), args=("--json",))
        assert found(result) == ["missed"] * lines
        return len(statements)

    assert cost(10) == cost(30)


def test_a_long_name_of_a_file_is_cut(sqlite_shop: Shop, tmp_path: Path) -> None:
    """The source of a notice fits its column on every database; no path stands in it."""
    sqlite_shop.awaiting()
    path = tmp_path / f"{'a' * 150}.csv"
    path.write_bytes(f"{HEAD}\r\n{line('0001-1', '04')}\r\n".encode("cp932"))
    sqlite_shop.db.session.rollback()
    sqlite_shop.app.test_cli_runner().invoke(args=["zeus-cvs", "reconcile", str(path), *APPLY])
    (row,) = sqlite_shop.all(Notification)
    assert row.source == f"file:{'a' * 150}"[:100]
    assert all(each.state == "done" for each in sqlite_shop.all(Delivery))
