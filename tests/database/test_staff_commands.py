"""The commands with which staff see and mend: list, show, resolve, reset-attempts, and who decided."""

from __future__ import annotations

import getpass
import json
from datetime import date, timedelta
from typing import Any

import click
import pytest
import sqlalchemy as sa
from click.testing import Result

from flask_zeus_cvs import Customer, EventData, NotPayable, PendingWorkError, State, payment_received
from flask_zeus_cvs.cli import list as listing
from flask_zeus_cvs.cli import output
from flask_zeus_cvs.exceptions import UnreadableNotice
from flask_zeus_cvs.models import Application, Delivery, DeliveryState, Payment, Review
from flask_zeus_cvs.payments import Payments
from tests.conftest import CUSTOMER, Shop, ShopMaker, accepted
from tests.database.test_receive import kinds, notice

DECLINED = b"rel = failure_order\nerror_code=900000\n"


def run(shop: Shop, *options: str, **more: Any) -> Result:
    """Run a command of ours; an error that is no click error fails the test."""
    shop.db.session.remove()
    answer = shop.app.test_cli_runner().invoke(args=["zeus-cvs", *options], **more)
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def words(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


# --- list ------------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(sqlite_shop: Shop) -> Shop:
    """One that is paid, one that waits, one that is not applied for, and one with a review."""
    for number, status in enumerate(("04", "01", None, "04"), 1):
        payment = sqlite_shop.payment(reference=f"A-{number}", amount=1000 * number)
        if status is not None:
            sqlite_shop.gateway.answers.append(accepted(f"000{number}-1", pay_no1=f"77700{number}"))
            sqlite_shop.submit(payment, store="D030" if number == 1 else "D002")
            sqlite_shop.zeus.receive(notice(status, f"000{number}-1", money=1000 * min(number, 3)))
    return sqlite_shop


def test_list_shows_a_table_newest_first(busy: Shop) -> None:
    """What staff need to recognise a payment, with a mark on those that a person must look at, masked."""
    answer = run(busy, "list")
    head, _, *lines = answer.output.splitlines()
    assert head.split()[:5] == ["id", "created", "reference", "yen", "state"]
    assert [line.split()[4] for line in lines] == ["A-4", "A-3", "A-2", "A-1"]
    assert "awaiting_payment REVIEW" in lines[0]
    assert "received" in lines[3]
    assert "ファミリーマート" in lines[3]
    assert "0001-1" in lines[3]
    assert "ヤ＊＊＊ ***5678" in lines[3]
    assert "タロウ" not in answer.output
    assert answer.exit_code == 0


def test_list_reveals_when_asked(busy: Shop) -> None:
    """Then names and telephone numbers are whole."""
    assert "ヤマダ　タロウ 09012345678" in run(busy, "list", "--reveal").output
    (found,) = json.loads(run(busy, "list", "A-1", "--json", "--reveal").output)["payments"]
    assert found["customer"] == {"name": CUSTOMER.name, "phone": CUSTOMER.phone, "email": CUSTOMER.email}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--state", "received"], ["A-1"]),
        (["--state", "open", "--state", "received"], ["A-3", "A-1"]),
        (["--store", "familymart"], ["A-1"]),
        (["--store", "D002"], ["A-4", "A-2"]),
        (["--store", "ローソン", "--review"], ["A-4"]),
        (["--no-review"], ["A-3", "A-2", "A-1"]),
        (["--order-no", "0002-1"], ["A-2"]),
        (["--reference", "A-3"], ["A-3"]),
        (["777002"], ["A-2"]),
        (["--day", "today"], ["A-4", "A-3", "A-2", "A-1"]),
        (["--to", "yesterday"], []),
        (["--from", "2020-01-01", "--to", "2020-12-31"], []),
        (["--test"], []),
    ],
)
def test_list_finds_by_each_filter(busy: Shop, options: list[str], found: list[str]) -> None:
    """Each option narrows it down; nothing found is said, and is no error."""
    answer = run(busy, "list", *options, "--json")
    assert [each["reference"] for each in json.loads(answer.output)["payments"]] == found
    shown = run(busy, "list", *options)
    assert ("Nothing found." in shown.output) is (not found)
    assert shown.exit_code == 0


def test_list_says_how_many_more(busy: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to go on; of very many it says at least how many."""
    first = run(busy, "list", "--limit", "3")
    assert first.output.splitlines()[-1].startswith("and 1 more: --before 2 ")
    assert run(busy, "list", "--before", "2").output.splitlines()[-1].split()[4] == "A-1"
    plain = json.loads(run(busy, "list", "--limit", "1", "--json").output)
    assert (plain["more"], plain["next_before"]) == (3, 4)
    monkeypatch.setattr(listing, "_COUNTED", 2)
    assert "and at least 2 more" in run(busy, "list", "--limit", "1").output


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        (["--store", "D999"], "lawson (D002)"),
        (["--day", "23.11."], "Write it as 2026-11-23"),
        (["--day", "today", "--to", "today"], "either --day, or --from and --to"),
        (["--from", "today", "--to", "yesterday"], "--from is later than --to"),
        (["--state", "paid"], "received"),
    ],
)
def test_list_refuses_usefully(busy: Shop, options: list[str], cure: str) -> None:
    """A mistake ends in the cure."""
    answer = run(busy, "list", *options)
    assert answer.exit_code == 2
    assert cure in words(answer.output)


# --- show ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["A-1", "0001-1", "1", " A-1 "])
def test_show_takes_what_staff_have(busy: Shop, which: str) -> None:
    """The reference, ZEUS's order number, or the id; the story follows."""
    answer = run(busy, "show", which)
    assert (
        answer.output.splitlines()[0] == "payment 1  A-1  1,000 yen  received: paid, not yet confirmed (04)"
    )
    for part in (
        "created: 1,000 yen",
        "applied: ファミリーマート",
        "注文番号",
        "notice 04 入金済",
        "fulfillment_ready",
    ):
        assert part in answer.output
    assert "タロウ" not in answer.output
    assert answer.exit_code == 0


def test_show_reveals_when_asked(busy: Shop) -> None:
    """The customer, and the notice as it came."""
    assert "ヤマダ　タロウ, 09012345678, taro@example.com" in run(busy, "show", "A-1", "--reveal").output
    assert notice("04", "0001-1", money=1000).decode() in run(busy, "show", "A-1", "--reveal").output


def test_show_is_json_for_machines(busy: Shop) -> None:
    """The whole story, moments with their zone."""
    story = json.loads(run(busy, "show", "A-4", "--json").output)
    assert (story["reference"], story["state"], story["under_review"]) == ("A-4", "awaiting_payment", True)
    assert story["entries"][0]["at"].endswith("+09:00")
    assert "taro@example.com" not in json.dumps(story)


def test_show_says_which_of_several(sqlite_shop: Shop) -> None:
    """Of one reference the newest, and the ids of the others."""
    for _ in range(3):
        sqlite_shop.payment(reference="A-1")
    first, second, *_ = run(sqlite_shop, "show", "A-1").output.splitlines()
    assert first.startswith("payment 3 ")
    assert second.endswith("the others by id: 2, 1")


def test_show_leads_to_what_is_to_be_done(busy: Shop) -> None:
    """An open review, and tries that are used up, are named with the command that helps."""
    assert "flask zeus-cvs resolve" in run(busy, "show", "A-4").output
    busy.db.session.execute(sa.update(Payment).where(Payment.id == 3).values(attempts=5))
    busy.db.session.commit()
    assert "flask zeus-cvs reset-attempts 3" in run(busy, "show", "A-3").output


@pytest.mark.parametrize("which", ["A-9", "0", "99999999999999999999", "\udcff", " "])
def test_show_of_nothing(busy: Shop, which: str) -> None:
    """Says so, and how to search."""
    answer = run(busy, "show", which)
    assert answer.exit_code == 2
    assert "list TEXT" in answer.output


# --- resolve ---------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(sqlite_shop: Shop) -> Shop:
    """A wrong amount, an unknown order, and a notice that cannot be read."""
    sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("04", money=2999))
    sqlite_shop.zeus.receive(notice("04", "9999-9", money=3000, username="taro"))
    with pytest.raises(UnreadableNotice):
        sqlite_shop.zeus.receive(b"status=99&telno=09012345678")
    return sqlite_shop


def test_resolve_lists_what_waits(asked: Shop) -> None:
    """Each open review with its age; each reason once, with what to look at and what each decision will do; exit 1."""
    answer = run(asked, "resolve")
    head, _, *lines = answer.output.splitlines()
    assert head.split()[:3] == ["review", "age", "what"]
    assert words(lines[0]).startswith(
        "1 just now another amount than the payment's A-1001 3,000 awaiting_payment "
    )
    assert "04 入金済 2,999 yen" in lines[0]
    assert answer.output.count("Look at:") == 3
    assert answer.output.count("--as received") == 3
    assert "09012345678" not in answer.output
    assert answer.exit_code == 1


def test_no_review_is_a_good_day(sqlite_shop: Shop) -> None:
    """Says so, and exits with 0."""
    answer = run(sqlite_shop, "resolve")
    assert (answer.output, answer.exit_code) == ("No review is open.\n", 0)
    assert run(sqlite_shop, "resolve", "--quiet").output == ""
    plain = run(sqlite_shop, "resolve", "--json")
    assert json.loads(plain.output) == {"open": 0, "reviews": []}


def test_the_age_is_told(asked: Shop) -> None:
    """In days, hours or minutes."""
    for number, age in enumerate((timedelta(days=3, hours=2), timedelta(hours=1), timedelta(minutes=59)), 1):
        review = asked.db.session.get_one(Review, number)
        review.created_at -= age
    asked.db.session.commit()
    lines = run(asked, "resolve").output.splitlines()[2:5]
    assert [" ".join(line.split()[1:3]) for line in lines] == ["3 days", "1 hour", "59 minutes"]


def test_resolve_as_json(asked: Shop) -> None:
    """All of it, with what each decision will do, masked unless it is asked for."""
    answer = run(asked, "resolve", "--json")
    plain = json.loads(answer.output)
    assert (plain["open"], [each["reason"] for each in plain["reviews"]]) == (
        3, ["wrong_amount", "unknown_order", "unreadable"],
    )  # fmt: skip
    assert set(plain["reviews"][0]["means"]["resolutions"]) == {
        "received",
        "confirmed",
        "cancelled",
        "ignored",
    }
    assert "taro" not in answer.output
    assert "taro" in run(asked, "resolve", "--json", "--reveal").output
    assert answer.exit_code == 1


def test_resolve_shows_one(asked: Shop) -> None:
    """A number alone: the case, its notice and its choices; 1 while it is open, 0 afterwards."""
    answer = run(asked, "resolve", "1")
    assert "payment 1  A-1001  3,000 yen  awaiting_payment" in answer.output
    assert "notice 04 入金済 (payment received), 2,999 yen" in answer.output
    assert "--as ignored" in answer.output
    assert answer.exit_code == 1
    assert "status=***&telno=***" in run(asked, "resolve", "3").output
    run(asked, "resolve", "1", "--as", "ignored")
    assert run(asked, "resolve", "1").exit_code == 0


def test_resolve_says_what_it_changed(asked: Shop) -> None:
    """Who and what, the state before and after, and each event with its subscribers."""
    payment_received.connect(quiet, asked.app, name="mails")
    answer = run(asked, "resolve", "1", "--as", "received", "--by", "Sato", "--note", "1 yen short")
    first, second, *told = answer.output.splitlines()
    assert first == "Review 1 is resolved as received by Sato."
    assert second == "A-1001 was awaiting_payment, and is received."
    assert "event payment_received: paid at the till" in told[0]
    assert "mails" in told[1]
    assert "done" in told[1]
    assert "event fulfillment_ready" in told[2]
    assert answer.exit_code == 0
    review = asked.all(Review)[0]
    assert (review.by, review.note) == ("Sato", "1 yen short")


def quiet(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
    """Hear it."""


def test_resolve_in_the_background_waits_for_what_it_told(make_shop: ShopMaker) -> None:
    """With a thread of its own the command still says what became of each delivery."""
    shop = make_shop(DELIVERY="background")
    payment_received.connect(quiet, shop.app, name="mails")
    shop.awaiting()
    shop.zeus.receive(notice("04", money=2999))
    assert "done" in run(shop, "resolve", "1", "--as", "received").output


def test_a_decision_that_changes_nothing_says_so(asked: Shop) -> None:
    """Ignored: no event, nobody told."""
    answer = run(asked, "resolve", "1", "--as", "ignored")
    assert answer.output.splitlines()[1:] == ["A-1001 is awaiting_payment.", "No event: nobody is told."]
    assert "--by" not in answer.output


def test_a_decision_as_json(asked: Shop) -> None:
    """The case before and after, and the events."""
    plain = json.loads(run(asked, "resolve", "1", "--as", "received", "--json").output)
    assert (plain["before"]["state"], plain["after"]["state"]) == ("awaiting_payment", "received")
    assert [each["event"] for each in plain["events"]] == ["payment_received", "fulfillment_ready"]


def test_the_login_name_decides(asked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless --by says another; an account without a name must say one."""
    monkeypatch.setattr(getpass, "getuser", lambda: "sato")
    run(asked, "resolve", "1", "--as", "ignored")
    assert asked.all(Review)[0].by == "sato"

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    answer = run(asked, "resolve", "2", "--as", "ignored")
    assert (answer.exit_code, "--by NAME" in answer.output) == (2, True)
    assert asked.all(Review)[1].resolved_at is None


def test_an_unknown_order_is_given_its_payment(asked: Shop) -> None:
    """--payment names whose it is, by reference or id: the slip becomes one of it, and is paid."""
    answer = run(asked, "resolve", "2", "--as", "received", "--payment", "A-1001")
    assert answer.output.splitlines()[:2] == [
        f"Review 2 is resolved as received by {getpass.getuser()}.",
        "A-1001 is received.",
    ]
    assert [each.order_no for each in asked.all(Application)] == ["0001-1", "9999-9"]


@pytest.mark.parametrize(
    ("options", "cure", "code"),
    [
        (["2", "--as", "received"], "say whose it is, --payment REFERENCE; or --as ignored", 2),
        (["1", "--as", "received", "--payment", "B-1"], "Review 1 is about A-1001 already: leave --payment out", 2),
        (["2", "--as", "received", "--payment", "B-1"], "B-1 is a payment of 500 yen. If that is right, say --yes", 2),
        (["2", "--as", "received", "--payment", "B-2"], "B-2 is received already: this is then about a second slip", 2),
        (["2", "--as", "received", "--payment", "B-3"], "by its id. 5 (open, 3,000 yen), 4 (open, 3,000 yen)", 2),
        (["2", "--as", "received", "--payment", "B-9"], "No payment has the reference", 2),
        (["2", "--as", "received", "--payment", "4"], "no application yet that could hold money. --as ignored always", 1),
        (["99", "--as", "ignored"], "There is no review 99. Those that are open: flask zeus-cvs resolve", 2),
        (["9999999999", "--as", "ignored"], "There is no review 9999999999", 2),
        (["--as", "ignored"], "Say which review: its number stands in the list", 2),
        (["1", "--as", "paid"], "received", 2),
        (["1", "--by", "Sato"], "say --as received, confirmed, cancelled or ignored", 2),
        (["1", "--as", "ignored", "--note", "x" * 2001], "--note holds 2,000 characters", 2),
        (["1", "--as", "ignored", "--by", "x" * 101], "--by holds 100 characters", 2),
        (["0"], "0 is not in the range", 2),
    ],
)  # fmt: skip
def test_resolve_refuses_nonsense_usefully(asked: Shop, options: list[str], cure: str, code: int) -> None:
    """The message names what is wrong and what to say instead; nothing is resolved."""
    asked.payment(amount=500, reference="B-1")
    asked.awaiting(reference="B-2", order_no="0002-1")
    asked.zeus.receive(notice("04", "0002-1"))
    asked.payment(reference="B-3")
    asked.payment(reference="B-3")
    answer = run(asked, "resolve", *options)
    assert answer.exit_code == code
    assert cure in words(answer.output)
    assert all(each.resolved_at is None for each in asked.all(Review))


def test_an_odd_decision_can_be_insisted_on(asked: Shop) -> None:
    """With --yes, the amount may differ."""
    asked.awaiting(amount=500, reference="B-1", order_no="0002-1")
    run(asked, "resolve", "2", "--as", "received", "--payment", "B-1", "--yes")
    assert asked.all(Payment)[-1].state is State.RECEIVED


def test_the_first_decision_stands(asked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolving again is refused, with who and when; so is losing a race to a colleague."""
    run(asked, "resolve", "1", "--as", "ignored", "--by", "Sato", "--note", "cheap")
    again = run(asked, "resolve", "1", "--as", "received")
    assert again.exit_code == 1
    assert "was resolved as ignored by Sato on" in again.output
    assert "(cheap); the first decision stands" in again.output

    resolve = Payments.resolve

    def late(self: Payments, *args: Any, **options: Any) -> Review:
        resolve(self, 2, "ignored", by="Sato")
        return resolve(self, *args, **options)

    monkeypatch.setattr(Payments, "resolve", late)
    lost = run(asked, "resolve", "2", "--as", "received", "--payment", "A-1001")
    assert lost.exit_code == 1
    assert "Somebody was faster." in lost.output


# --- reset-attempts --------------------------------------------------------------------------------------------


def used_up(shop: Shop) -> Payment:
    """A payment whose customer was declined as often as is allowed."""
    payment = shop.payment()
    for _ in range(5):
        shop.gateway.answers.append(DECLINED)
        shop.submit(payment)
    with pytest.raises(NotPayable, match="attempts"):
        shop.submit(payment)
    return payment


def test_reset_attempts_lets_a_customer_apply_again(shop: Shop) -> None:
    """The verb forgets the tries, commits, and tells how many there were."""
    payment = used_up(shop)
    assert shop.zeus.reset_attempts(payment) == 5
    assert payment.attempts == 0
    assert shop.submit(payment).state is State.AWAITING_PAYMENT


def test_the_callers_payment_knows_of_it(sqlite_shop: Shop) -> None:
    """What the caller has read already is read anew."""
    payment = used_up(sqlite_shop)
    assert payment.attempts == 5
    sqlite_shop.zeus.reset_attempts(payment)
    assert payment.attempts == 0


def test_reset_attempts_needs_a_payment_that_is_there(shop: Shop) -> None:
    """One that is not committed is refused."""
    with pytest.raises(PendingWorkError, match="commit"):
        shop.zeus.reset_attempts(Payment(amount=3000, reference="A-1", customer=Customer()))


def test_the_command_resets(sqlite_shop: Shop) -> None:
    """And says that the customer can apply again."""
    payment_id = used_up(sqlite_shop).id
    answer = run(sqlite_shop, "reset-attempts", "A-1001")
    assert answer.output.splitlines() == [
        "A-1001: 5 of 5 tries forgotten.",
        "The customer can apply again, under the same link.",
    ]
    sqlite_shop.submit(sqlite_shop.db.session.get_one(Payment, payment_id))


def test_the_command_says_what_else_is_in_the_way(busy: Shop) -> None:
    """Exit 1: a slip that is out, an open review, a closed payment."""
    slip, review = run(busy, "reset-attempts", "A-2"), run(busy, "reset-attempts", "A-4")
    assert (slip.exit_code, review.exit_code) == (1, 1)
    assert "a slip is out" in slip.output
    busy.zeus.close(busy.db.session.get_one(Payment, 3))
    busy.db.session.commit()
    assert "closed it" in run(busy, "reset-attempts", "A-3").output
    assert run(busy, "reset-attempts", "A-9").exit_code == 2


def test_a_review_is_in_the_way_too(asked: Shop) -> None:
    """The customer may not apply while the shop has to decide about the payment's money."""
    asked.db.session.execute(sa.update(Application).values(stored_state=State.DECLINED))
    asked.db.session.commit()
    assert "flask zeus-cvs resolve" in run(asked, "reset-attempts", "A-1001").output


# --- deliver and expire ----------------------------------------------------------------------------------------


def test_deliver_notes_who_decided(make_shop: ShopMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """--by, else the login name, stands with the delivery that was retried or dismissed."""
    shop = make_shop(DELIVERY_ATTEMPTS=1)
    payment_received.connect(fail, shop.app, name="mails")
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert "to be tried again: 1" in run(shop, "deliver", "--retry", "mails", "--by", "Suzuki").output
    assert shop.all(Delivery)[0].decided_by == "Suzuki"
    monkeypatch.setattr(getpass, "getuser", lambda: "sato")
    run(shop, "deliver", "--dismiss", "mails")
    assert (shop.all(Delivery)[0].state, shop.all(Delivery)[0].decided_by) == (
        DeliveryState.DISMISSED,
        "sato",
    )


def fail(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
    raise RuntimeError("no")


class Terminal:
    """Stands in for a terminal, and counts what is drawn on it."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.steps = 0

    def bar(self, length: int, **options: Any) -> Terminal:
        self.lengths.append(length)
        return self

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to clear."""

    def update(self, steps: int) -> None:
        self.steps += steps


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_run_shows_how_far_it_is(shop: Shop, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """A step for each that the sweep looks at, and for each that is delivered; nothing is drawn for a machine."""
    payment_received.connect(quiet, shop.app, name="mails")
    shop.payments._outbox.after_commit = lambda: None  # type: ignore[method-assign]
    for number in range(3):
        shop.awaiting(reference=f"A-{number}", order_no=f"000{number}-1")
        shop.zeus.receive(notice("04", f"000{number}-1"))
    shop.db.session.execute(
        sa.update(Application).values(stored_state=State.AWAITING_PAYMENT, pay_limit=date(2020, 1, 1))
    )
    shop.db.session.commit()
    drawn = Terminal()
    monkeypatch.setattr(output, "is_terminal", lambda: terminal)
    monkeypatch.setattr(click, "progressbar", drawn.bar)
    assert shop.payments.count_due() == 3
    assert shop.payments.count_overdue() == 3
    run(shop, "deliver", "--quiet")
    assert (drawn.lengths, drawn.steps) == (([3], 3) if terminal else ([], 0))
    assert run(shop, "expire", "--quiet").output == ""
    assert (drawn.lengths, drawn.steps) == (([3, 3], 6) if terminal else ([], 0))
    assert kinds(shop).count("payment_expired") == 3  # type: ignore[arg-type]
