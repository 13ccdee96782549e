"""The operation test's run: its settings hold in one process, its pages are as they were, and mistakes are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from flask_zeus_cvs import Customer, State
from flask_zeus_cvs.cli import test_order as command
from flask_zeus_cvs.exceptions import NotSent, Unanswered
from flask_zeus_cvs.models import Application, Notification, Payment
from flask_zeus_cvs.payments import EXTENSION
from flask_zeus_cvs.protocol.codes import Store, TestType
from flask_zeus_cvs.staff import operation_run
from flask_zeus_cvs.staff.operation_run import SENDPOINT, Rehearsal
from flask_zeus_cvs.staff.operation_test import Page, Trial
from tests.blocks import block
from tests.conftest import CUSTOMER, Shop, ShopMaker, accepted

DETAILS = ("--name", CUSTOMER.name, "--phone", CUSTOMER.phone, "--email", CUSTOMER.email)
TEST = ("--yes", "--type", "0", "--test-id", "12345678", "--timeout", "0.0001")


@pytest.fixture
def rehearsal(shop: Shop) -> Iterator[Rehearsal]:
    """A rehearsal of type 1 that is in place."""
    made = Rehearsal.of(shop.payments, "12345678", TestType.SALE_CONFIRMED)
    with made.in_place():
        yield made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs and leaves its reports."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def applied(shop: Shop, rehearsal: Rehearsal, *, store: Store = Store.LAWSON) -> Trial:
    shop.gateway.answers.append(accepted("250401-1", "123456", "654321"))
    return rehearsal.apply(rehearsal.prepare(store, 1000), CUSTOMER)


def test_the_settings_hold_in_place_only(shop: Shop) -> None:
    """Inside, applications are tests; before and afterwards the same app's are not."""
    own = shop.payments
    rehearsal = Rehearsal.of(own, "12345678", TestType.PAYMENT_CANCELLED)
    with rehearsal.in_place():
        assert shop.payments is rehearsal
        applied(shop, rehearsal)
    assert shop.app.extensions[EXTENSION] is own
    assert not own.settings.test
    shop.submit(shop.payment())
    assert [(each.testid, each.test_type) for each in shop.gateway.sent] == [("12345678", "2"), ("", "")]
    assert [each.test for each in shop.all(Application)] == [True, False]


def test_nothing_is_delivered_by_the_command(make_shop: ShopMaker) -> None:
    """The running shop calls the receivers: here not even an app that delivers inline does."""
    shop = make_shop()
    rehearsal = Rehearsal.of(shop.payments, "12345678", TestType.SALE_CONFIRMED)
    assert rehearsal.settings.delivery == "deferred"
    assert shop.payments.settings.delivery == "inline"


def test_a_test_is_an_ordinary_payment_of_the_shop(shop: Shop, rehearsal: Rehearsal) -> None:
    """Its reference begins with TEST-, it is committed first, and it bears a free parameter to compare."""
    trial = applied(shop, rehearsal)
    (payment,) = shop.all(Payment)
    assert payment.reference == trial.reference
    assert trial.reference.startswith("TEST-")
    assert trial.reference.endswith("-D002")
    (request,) = shop.gateway.sent
    assert (request.money, request.sendpoint, request.username) == (1000, SENDPOINT, CUSTOMER.name)
    assert trial.answer is not None
    assert trial.page is not None
    assert (trial.page.problem, trial.page.lacks) == ("", ())


def test_the_page_is_looked_at_as_it_was_when_the_answer_came(shop: Shop, rehearsal: Rehearsal) -> None:
    """A test's 04 comes within a second: the page with the numbers is the one that counts, and nothing is changed."""
    notice = b"order_no=250401-1&status=04&money=1000"
    shop.gateway.before_answer = lambda request: rehearsal.receive(
        notice + f"&sendid={request.sendid}".encode()
    )
    trial = applied(shop, rehearsal)
    assert trial.page is not None
    assert trial.page.lacks == ()
    (payment,) = shop.all(Payment)
    assert payment.state is State.RECEIVED


def test_a_page_without_the_numbers_is_seen(
    shop: Shop, rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store's number under another's name, and a page that fails."""
    monkeypatch.setattr(operation_run, "numbers_of", lambda store, answer: [("注文番号", answer.pay_no1)])
    trial = applied(shop, rehearsal)
    assert trial.page is not None
    assert trial.page.lacks == ("注文番号",)


@pytest.mark.parametrize("store", Store)
@pytest.mark.parametrize("locale", ["ja", "en"])
def test_every_store_and_language_is_understood(make_shop: ShopMaker, store: Store, locale: str) -> None:
    """Our own pages pass: the manual's names stand on the English ones, too."""
    shop = make_shop(LOCALE=locale)
    rehearsal = Rehearsal.of(shop.payments, "12345678", TestType.NO_PAYMENT)
    with rehearsal.in_place():
        page = applied(shop, rehearsal, store=store).page
    assert page == Page()


def test_a_shop_that_serves_plain_http_is_seen(make_shop: ShopMaker) -> None:
    """Whoever is elsewhere and asks over http must not get the page."""
    shop = make_shop(REQUIRE_HTTPS=False)
    rehearsal = Rehearsal.of(shop.payments, "12345678", TestType.SALE_CONFIRMED)
    with rehearsal.in_place():
        page = applied(shop, rehearsal).page
    assert page is not None
    assert page.over_http == 200


def test_a_page_that_may_be_stored_is_seen(sqlite_shop: Shop) -> None:
    """The shop's own code changes the header after us."""

    @sqlite_shop.app.after_request
    def store(response: Any) -> Any:
        response.headers["Cache-Control"] = "public"
        return response

    rehearsal = Rehearsal.of(sqlite_shop.payments, "12345678", TestType.SALE_CONFIRMED)
    with rehearsal.in_place():
        page = applied(sqlite_shop, rehearsal).page
    assert page is not None
    assert not page.no_store


@pytest.mark.parametrize(
    ("error", "sent", "closed"), [(NotSent("no"), False, True), (Unanswered("cut"), True, False)]
)
def test_no_answer_is_sorted(
    shop: Shop, rehearsal: Rehearsal, error: NotSent | Unanswered, sent: bool, closed: bool
) -> None:
    """Not sent: the payment is closed. Perhaps sent: it stays open, and notices are waited for."""
    shop.gateway.answers.append(error)
    trial = rehearsal.apply(rehearsal.prepare(Store.LAWSON, 1000), CUSTOMER)
    assert (trial.sent, trial.answer, trial.reason) == (sent, None, str(error))
    assert trial.may_have_slip is not closed
    (payment,) = shop.all(Payment)
    assert (payment.closed_at is not None) is closed


def test_notices_are_compared_with_what_was_sent(shop: Shop, rehearsal: Rehearsal) -> None:
    """What a notice brings is told apart: missing, unread, different; a name's half-width space is no difference."""
    trial = applied(shop, rehearsal)
    (request,) = shop.gateway.sent
    rehearsal.receive(
        b"status=01&order_no=250401-1&money=1000&pay_no1=999999&telno=x&username=%83%84%83%7D%83_+%83%5E%83%8D%83E"
        b"&sendid=" + request.sendid.encode()
    )
    books = rehearsal._read_books(trial)
    (seen,) = books.notices
    assert seen.missing == (
        "clientip",
        "email",
        "sendpoint",
        "pay_cvs",
        "pay_no2",
        "pay_limit",
        "error_code",
    )
    assert (seen.unread, seen.differs, seen.encoding) == (("telno",), ("pay_no1",), None)


def test_what_came_before_is_not_counted(shop: Shop) -> None:
    """Notices of others count from the beginning of the test; the one before says when the callback was last open."""
    shop.awaiting(order_no="0001-1")
    shop.zeus.receive(b"order_no=0001-1&status=04&money=3000")
    shop.zeus.receive(b"order_no=9999-9&status=04&money=3000")
    rehearsal = Rehearsal.of(shop.payments, "12345678", TestType.SALE_CONFIRMED)
    with rehearsal.in_place():
        trial = applied(shop, rehearsal)
        shop.zeus.receive(b"order_no=0001-1&status=05&money=3000")
        shop.zeus.receive(b"order_no=8888-8&status=04&money=3000")
        door = rehearsal.database.read(lambda session: rehearsal._door(session, [trial.payment_id]))
    assert (door.others, dict(door.strangers)) == (1, {"unknown_order": 1})
    assert door.last_before == shop.all(Notification)[1].first_at


# --- the command's own refusals ---------------------------------------------------------------------------


def invoke(shop: Shop, *options: str, answers: str = "") -> Result:
    shop.db.session.remove()
    return shop.app.test_cli_runner().invoke(args=["zeus-cvs", "test-order", *options], input=answers)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say --yes"),
        (("--yes",), "Say --type 0, 1 or 2, or set ZEUS_CVS_TEST_TYPE"),
        (("--yes", "--type", "3"), "'3' is not one of"),
        (("--yes", "--type", "1"), "test id is missing or not 1 to 8 digits"),
        (("--yes", "--type", "1", "--test-id", "12a"), "テストカード番号管理"),
        ((*TEST, "--store", "D999"), "does not offer the store 'D999'"),
        ((*TEST, "--amount", "199"), "199"),
        ((*TEST,), "ZEUS mails the tester. Say --name"),
        ((*TEST, *DETAILS, "--phone", "12"), "Say --phone: 9 to 11 digits"),
        ((*TEST, *DETAILS, "--report", "report.txt"), ".md or .html"),
        ((*TEST, *DETAILS, "--report", "there.md"), "never overwritten"),
        ((*TEST, *DETAILS, "--report", "nowhere/report.md"), "cannot be written to"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    sqlite_shop: Shop, folder: Path, options: tuple[str, ...], said: str
) -> None:
    """Exit 2, a sentence with the cure, no payment, no report."""
    (folder / "there.md").write_text("mine")
    result = invoke(sqlite_shop, *options)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert sqlite_shop.gateway.sent == []
    assert sqlite_shop.all(Payment) == []
    assert (folder / "there.md").read_text() == "mine"


def test_the_settings_are_the_defaults(make_shop: ShopMaker, folder: Path) -> None:
    """Test id, type and first store come from the shop's settings; a second report of the same minute has a number."""
    shop = make_shop(TEST_ID="87654321", TEST_TYPE="2", STORES="D050,D002")
    for _ in range(2):
        invoke(shop, "--yes", "--timeout", "0.0001", *DETAILS)
    assert [(each.testid, each.test_type, each.pay_cvs) for each in shop.gateway.sent] == [
        ("87654321", "2", "D050")
    ] * 2
    assert len(list(folder.glob("zeus-cvs-test-*-type2*.md"))) == 2
    assert len(list(folder.glob("zeus-cvs-test-*-type2*.html"))) == 2


def test_goods_that_would_ship_are_announced(make_shop: ShopMaker, folder: Path) -> None:
    """With ZEUS_CVS_TEST_FULFILLS the shop ships for a test: that is said before it is sent."""
    shop = make_shop(TEST_FULFILLS=True)
    result = invoke(shop, *TEST, *DETAILS)
    assert "your shop will SHIP for this test" in result.output


ANSWERS = (
    "1",
    "12345678",
    "やまだ たろう",
    "12",
    "taro@example.com",
    "090-1234-5678",
    "y",
    "n",
    "y",
    "o",
    "n",
    "none",
    "y",
)


def test_a_person_is_asked(sqlite_shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type, test id and details, again what cannot be sent, whether to send; then what only a person can see."""
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    result = invoke(sqlite_shop, "--timeout", "0.0001", "--by", "山田", answers="\n".join(ANSWERS) + "\n")
    (request,) = sqlite_shop.gateway.sent
    assert (request.username, request.telno) == ("ヤマダ　タロウ", "09012345678")
    (report,) = folder.glob("*.md")
    text = report.read_text("utf-8")
    assert "| スマートフォンで結果ページが正しく見えた | ○ | 山田が確認しました。 |" in text
    assert "| お客様あてのメールが届いた | 未確認 | 下記参照 |" in text
    assert "- 山田の報告：none" in text
    assert "/result/" not in result.output, "the link is shown only to who asks for it"
    assert result.exit_code == 1


def test_who_says_no_sends_nothing(sqlite_shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, and no report."""
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    result = invoke(sqlite_shop, "--type", "1", "--test-id", "12345678", *DETAILS, answers="n\n")
    assert result.exit_code == 2
    assert sqlite_shop.all(Payment) == []
    assert not list(folder.glob("*.md"))


def test_what_was_asked_before_ctrl_c_is_kept(
    sqlite_shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person goes away in the middle of the questions: what was answered is in the report, the rest is open."""
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    result = invoke(
        sqlite_shop,
        "--type",
        "0",
        "--test-id",
        "12345678",
        "--timeout",
        "0.0001",
        *DETAILS,
        answers="y\nn\ny\n",
    )
    assert result.exit_code == 1
    text = next(folder.glob("*.md")).read_text("utf-8")
    assert "途中で中断しました。" in text
    assert "| スマートフォンで結果ページが正しく見えた | ○ |" in text
    assert "| 売上管理画面にテストデータが表示された | 未確認 |" in text


def test_a_hint_comes_while_there_is_time(
    sqlite_shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a notice the likely causes are told before the wait is over, once, so that they can be mended meanwhile."""
    monkeypatch.setattr(command, "HINT_SECONDS", 0.0)
    monkeypatch.setattr(operation_run, "LOOK_SECONDS", 0.01)
    result = invoke(sqlite_shop, *TEST[:-1], "0.003", *DETAILS)
    assert result.stderr.count("No notice so far. Likely causes") == 1
    assert "1. The sender's address is not in ZEUS_CVS_CALLBACK_IPS" in result.stderr
    assert "192.0.2" not in result.output


def test_a_name_is_taken_as_people_type_it(sqlite_shop: Shop, folder: Path) -> None:
    """Hiragana and half-width kana become what ZEUS takes."""
    assert (
        command._customer(Customer("ﾔﾏﾀﾞ たろう", "03-1234-5678", "t@example.com"), False).name
        == "ヤマダ　タロウ"
    )


def test_likely_causes_are_told_as_the_page_shows(make_shop: ShopMaker, folder: Path) -> None:
    """No notice comes to a shop that permits some addresses: the page's list, line by line."""
    shop = make_shop(CALLBACK_IPS="192.0.2.10")
    answer = shop.app.test_cli_runner().invoke(args=["zeus-cvs", "test-order", *TEST, *DETAILS])
    assert block("14-go-live", "         Likely causes") in answer.output
