"""What an operation test says of what was seen."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flask_zeus_cvs import State
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import DeliveryState, ReviewReason
from flask_zeus_cvs.protocol.codes import Store, TestType
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.protocol.messages import Answer, Outcome
from flask_zeus_cvs.staff import operation_test
from flask_zeus_cvs.staff.operation_run import lacking, spelling
from flask_zeus_cvs.staff.operation_test import (
    EXPECTED,
    ITEMS,
    POINTS,
    Books,
    Called,
    Door,
    Finding,
    Mark,
    Page,
    Run,
    Trial,
)
from flask_zeus_cvs.staff.operation_words import WORDS, Remark
from tests.operation_runs import ACCEPTED, BEGAN, run, seen, trial, with_books


def finding(key: str, one: Trial, **more: Any) -> Finding:
    return run(one, **more).findings[one.store][key]


def keys(found: Finding) -> list[str]:
    return [each.key for each in (*found.remarks, *found.causes)]


def test_a_test_that_went_well_passes_every_point() -> None:
    """All fourteen marks are ○, and none is counted twice."""
    assert run().marks == {Mark.PASSED: len(POINTS)}


def test_the_manuals_four_items_are_there() -> None:
    """Each item has a point, in the manual's order; each type awaits its own notices."""
    assert sorted({point.item for point in POINTS.values()}) == list(ITEMS) == [1, 2, 3, 4]
    assert {kind.value: list(map(str, statuses)) for kind, statuses in EXPECTED.items()} == {
        "0": ["01"],
        "1": ["01", "04", "05"],
        "2": ["01", "04", "06"],
    }


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"parameter": "testid"}, ["named_parameter", "cure_test_id"]),
        ({"parameter": "clientip"}, ["named_parameter", "cure_client_ip"]),
        ({"parameter": "telno"}, ["named_parameter", "cure_details"]),
        ({"parameter": "money"}, ["named_parameter", "cure_support"]),
        ({"error_code": "800000"}, ["declined", "cure_test_id"]),
        ({"error_code": "800001"}, ["declined", "cure_service"]),
        ({"error_code": "800002"}, ["declined", "cure_store"]),
        ({"error_code": "900000"}, ["declined", "cure_support"]),
        ({"error_code": "0008"}, ["declined", "cure_later"]),
        ({"error_code": "123456"}, ["declined", "cure_support"]),
        ({}, ["declined_bare"]),
    ],
)
def test_a_refusal_has_its_cure(answer: dict[str, Any], said: list[str]) -> None:
    """A wrong test id, another's IP code, a store outside the contract: each says what to look at."""
    declined = trial(answer=Answer(Outcome.declined, **answer), page=None, books=Books())
    found = finding("registered", declined)
    assert (found.mark, keys(found)) == (Mark.FAILED, said)
    assert finding("sent", declined).mark is Mark.PASSED
    assert {finding(key, declined).mark for key in ("numbers", "page", "notices", "receivers")} == {Mark.OPEN}


def test_a_refusal_out_of_hours_may_be_for_that() -> None:
    """Outside of ZEUS's hours its set-up may be unfinished: the refusal, and silence, say so."""
    late = (Remark.of("weekend", day_en="Sunday", day_ja="日曜日"),)
    declined = trial(answer=Answer(Outcome.declined, error_code="800000"), page=None, books=Books())
    assert keys(finding("registered", declined, hours=late))[-1] == "cause_hours"
    assert keys(finding("notices", with_books(notices=()), hours=late))[-1] == "cause_hours"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sent": False, "reason": "refused"}, "not_sent"),
        ({"reason": "time-out"}, "unanswered"),
        ({"answer": Answer(Outcome.unknown)}, "not_understood"),
    ],
)
def test_no_answer_is_a_failure_of_its_own(changes: dict[str, Any], said: str) -> None:
    """Not sent, not answered, not understood: three different cures; what needs a slip stays open."""
    mute = trial(**{"answer": None, "page": None, "books": Books(), **changes})
    assert keys(finding("sent", mute)) == [said]
    assert finding("registered", mute).mark is Mark.OPEN


def test_what_an_answer_lacks_is_named() -> None:
    """A number under its store's name, the deadline, 7-Eleven's link."""
    bare = Answer(Outcome.accepted, order_no="1-1", pay_no1="123456")
    assert "確認番号、pay_limit" in finding("numbers", trial(answer=bare)).remarks[0].japanese
    seven = trial(store=Store.SEVEN_ELEVEN, answer=replace(ACCEPTED, pay_no2=""))
    assert "pay_url" in finding("numbers", seven).remarks[0].english


@pytest.mark.parametrize(
    ("key", "page", "said"),
    [
        ("page", Page(lacks=("受付番号",)), "page_lacks"),
        ("page", Page(problem="HTTP 500"), "page_failed"),
        ("page_private", Page(over_http=200), "page_over_http"),
        ("page_private", Page(no_store=False), "page_stored"),
    ],
)
def test_a_result_page_that_is_wrong_fails(key: str, page: Page, said: str) -> None:
    """A number without its name, an error, plain http, a page that may be stored."""
    found = finding(key, trial(page=page))
    assert (found.mark, keys(found)) == (Mark.FAILED, [said])


def test_a_blocked_callback_names_its_causes_in_order() -> None:
    """No notice: the causes by likelihood, where to look, and that the database knows nothing of refused calls."""
    found = finding("notices", with_books(notices=()), door=Door(has_token=True, has_agent=True))
    assert found.mark is Mark.FAILED
    assert [each.key for each in found.causes] == [
        "cause_address",
        "cause_token",
        "cause_proxy",
        "cause_agent",
        "cause_url",
        "cause_firewall",
    ]
    assert keys(found)[:4] == ["missing", "never_before", "where_to_look", "mend_and_resend"]
    assert "40 minutes" in found.remarks[0].english
    assert "40分" in found.remarks[0].japanese


@pytest.mark.parametrize(
    ("door", "said"),
    [
        (Door(configured=False), "cause_unconfigured"),
        (Door(last_before=BEGAN), "last_before"),
        (Door(others=2), "others_came"),
        (Door(strangers={ReviewReason.FOREIGN_MERCHANT: 1}), "strangers_came"),
    ],
)
def test_what_else_came_narrows_it_down(door: Door, said: str) -> None:
    """An open callback, one that was open before, notices that nobody could place: the database tells that much."""
    assert said in keys(finding("notices", with_books(notices=()), door=door))


def test_a_later_notice_that_stays_away_is_no_blocked_callback() -> None:
    """01 and 04 came and 05 did not: the callback is open, so nobody is sent to look at addresses."""
    half = with_books(state=State.RECEIVED, notices=(seen("01", 1), seen("04", 2)))
    found = finding("notices", half)
    assert keys(found) == ["came_so_far", "missing", "later_missing"]
    assert "05" in found.remarks[1].english
    assert finding("states", half).mark is Mark.OPEN
    silent = replace(with_books(notices=()), store=Store.MINISTOP)
    assert "later_missing" in [
        each.key for each in run(half, silent).findings[Store.MINISTOP]["notices"].remarks
    ]


def test_after_ctrl_c_nothing_has_failed_for_want_of_time() -> None:
    """What had not come by then is open, not failed."""
    cut = with_books(state=State.AWAITING_PAYMENT, notices=(seen("01", 1),), calls=())
    assert finding("notices", cut, interrupted=True).mark is Mark.OPEN
    assert finding("notices", with_books(notices=()), interrupted=True).mark is Mark.OPEN
    unanswered = trial(answer=None, page=None, books=Books())
    assert finding("sent", unanswered, interrupted=True).mark is Mark.OPEN
    assert Mark.FAILED not in run(unanswered, interrupted=True, persons={}).marks


@pytest.mark.parametrize(
    ("lost", "mark"),
    [("telno", Mark.PASSED), ("sendpoint", Mark.PASSED), ("money", Mark.FAILED), ("order_no", Mark.FAILED)],
)
def test_a_parameter_that_was_not_chosen_is_named(lost: str, mark: Mark) -> None:
    """All 14 are recommended; without those that decide a notice cannot be matched or checked, so that fails."""
    notices = (seen("01", 1, brought=frozenset(NOTICE) - {lost}), seen("04", 2), seen("05", 3))
    found = finding("parameters", with_books(notices=notices))
    assert (found.mark, keys(found)) == (mark, ["parameters_missing"])
    assert lost in found.remarks[0].japanese


def test_what_is_wrong_with_several_notices_is_said_once() -> None:
    """An unread name fails, with how it is written; a different amount fails by itself; statuses are put together."""
    garbled = Remark.of("encoding_other", found="UTF-8", codec="utf-8")
    notices = tuple(
        seen(status, 1, unread=("username",), encoding=garbled, differs=("money",))
        for status in ("01", "04", "05")
    )
    found = finding("parameters", with_books(notices=notices))
    assert found.mark is Mark.FAILED
    assert [each.english.split(".")[0] for each in found.remarks] == [
        "01, 04, 05: username could not be read",
        "The name came in UTF-8, not in Shift_JIS",
    ]
    assert "01, 04, 05" in finding("agree", with_books(notices=notices)).remarks[0].english


def test_states_that_do_not_follow_fail() -> None:
    """Another state than the last notice says, or an open review."""
    assert keys(finding("states", with_books(state=State.RECEIVED))) == ["state_wrong"]
    found = finding("states", with_books(reviews=(ReviewReason.WRONG_AMOUNT,)))
    assert (found.mark, keys(found)) == (Mark.FAILED, ["reviews"])


def call(state: DeliveryState, error: str = "") -> tuple[Called, ...]:
    return (Called(EventKind.PAYMENT_RECEIVED, "shop.books.enter", state, error),)


@pytest.mark.parametrize(
    ("calls", "mark", "said"),
    [
        (call(DeliveryState.DONE), Mark.PASSED, "called"),
        (call(DeliveryState.OBSOLETE), Mark.PASSED, "called"),
        (call(DeliveryState.PENDING, "KeyError at books.py:8"), Mark.FAILED, "receiver_failed"),
        (call(DeliveryState.PARKED, "KeyError at books.py:8"), Mark.FAILED, "receiver_failed"),
        (call(DeliveryState.PENDING), Mark.FAILED, "receiver_waits"),
        ((), Mark.OPEN, "nobody_listens"),
    ],
)
def test_receivers_are_seen_to(calls: tuple[Called, ...], mark: Mark, said: str) -> None:
    """Done passes; an error and a call that never came fail; nobody to call is open."""
    found = finding("receivers", with_books(calls=calls))
    assert (found.mark, keys(found)) == (mark, [said])


def test_goods_that_ship_for_a_test_fail() -> None:
    """Unless this process knows that they do: then it has said so before."""
    shipped = with_books(shipped=True)
    assert "shipped" in keys(finding("receivers", shipped))
    assert finding("receivers", shipped, notes=(Remark.of("goods_ship"),)).mark is Mark.PASSED


def test_equal_findings_of_several_stores_are_one() -> None:
    """What is true of all stores names none; what is true of some names those; persons are asked once for all."""
    other = replace(trial(store=Store.MINISTOP), page=Page(lacks=("受付番号",)))
    both = run(trial(), other)
    pages = [(each.mark, stores) for point, each, stores in both.grouped() if point.key == "page"]
    assert pages == [(Mark.PASSED, (Store.LAWSON,)), (Mark.FAILED, (Store.MINISTOP,))]
    assert [stores for point, _, stores in both.grouped() if point.key == "screen"] == [()]
    assert both.marks == {Mark.PASSED: 2 * 10 + 4 - 1, Mark.FAILED: 1}


def test_a_notice_is_never_before_its_application() -> None:
    """Two machines' clocks may differ."""
    one = trial()
    assert operation_test.after(one, replace(seen("01", 0), at=BEGAN - timedelta(seconds=2))) == 0


def test_type_0_ends_with_01() -> None:
    """It stays unpaid: nothing else is waited for."""
    unpaid = with_books(state=State.AWAITING_PAYMENT, notices=(seen("01", 1),))
    ended = run(unpaid, kind=TestType.NO_PAYMENT)
    assert ended.awaited() == ()
    assert Mark.FAILED not in ended.marks


# --- reading ------------------------------------------------------------------------------------------------

NAME = "ヤマダ　タロウ"
SHIFT_JIS = b"status=01&username=%83%84%83%7D%83_%81@%83%5E%83%8D%83E&x=1"
UTF_8 = b"username=%E3%83%A4%E3%83%9E%E3%83%80%E3%80%80%E3%82%BF%E3%83%AD%E3%82%A6"
EUC_JP = b"username=%A5%E4%A5%DE%A5%C0%A1%A1%A5%BF%A5%ED%A5%A6"
TWICE = b"username=%2583%2584%2583%257D%2583_%2581@%2583%255E%2583%258D%2583E"
#: The bytes of Shift_JIS, each taken for a character of Latin-1 and written in UTF-8.
GARBLED = b"username=%C2%83%C2%84%C2%83%7D%C2%83_%C2%81@%C2%83%5E%C2%83%C2%8D%C2%83E"
#: Half-width katakana of Shift_JIS.
NARROW = b"username=%D4%CF%C0%DE+%C0%DB%B3"


@pytest.mark.parametrize(
    ("raw", "setting", "said", "values"),
    [
        (SHIFT_JIS, "utf-8", "encoding_setting", {"codec": "utf-8"}),
        (UTF_8, "cp932", "encoding_other", {"found": "UTF-8", "codec": "utf-8"}),
        (EUC_JP, "cp932", "encoding_other", {"found": "EUC-JP", "codec": "euc_jp"}),
        (TWICE, "cp932", "encoding_twice", {}),
        (GARBLED, "cp932", "encoding_garbled", {}),
        (NARROW, "cp932", "name_narrow", {}),
        (b"username=%3F%3F%3F", "cp932", "encoding_unknown", {}),
        (b"status=01", "cp932", "encoding_unknown", {}),
    ],
)
def test_the_spelling_of_a_name_is_found_out(
    raw: bytes, setting: str, said: str, values: dict[str, str]
) -> None:
    """From bytes spelled by hand: the encoding that reads as what was sent, or what happened to it on the way."""
    assert spelling(raw, NAME, setting) == Remark.of(said, **values)


@pytest.mark.parametrize(
    ("page", "missing"),
    [
        ("<dt>受付番号</dt><dd><span>123</span><wbr><span>456</span></dd> 確認番号: 654 321", ()),
        ("<dt>受付番号</dt><dd>123456</dd>", ("確認番号",)),
        ("123456 654321", ("受付番号", "確認番号")),
        ("<script>受付番号123456 確認番号654321</script>", ("受付番号", "確認番号")),
        ("<style>a{}</style>確認番号 受付番号 123456 654321", ()),
        (f"受付番号{'あ' * 100}123456 確認番号654321", ("受付番号",)),
    ],
)
def test_numbers_must_stand_under_their_names(page: str, missing: tuple[str, ...]) -> None:
    """Markup and white space between digits do not matter; scripts are no text; far from its name is not under it."""
    assert lacking(page, [("受付番号", "123456"), ("確認番号", "654321")]) == missing


# --- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", WORDS)
def test_each_sentence_says_the_same_in_both_languages(key: str) -> None:
    """Both have the same values, but for those that end in a language."""
    english, japanese = (
        {re.sub("_(en|ja)$", "", name) for _, name, _, _ in string.Formatter().parse(text) if name}
        for text in WORDS[key]
    )
    # Seconds and names are said in one language where the other has them in the sentence around it.
    assert english == japanese


def test_every_sentence_that_is_said_exists_and_no_other() -> None:
    """The keys in the code are the keys of the table."""
    folder = Path(operation_test.__file__).parents[1]
    code = "".join(
        path.read_text("utf-8")
        for path in (
            *folder.glob("staff/operation_*.py"),
            folder / "staff/hours.py",
            folder / "cli/test_order.py",
        )
        if path.name != "operation_words.py"
    )
    said = set(re.findall(r'"([a-z0-9_]+)"', code))
    assert set(WORDS) <= said
    assert set(re.findall(r'(?:Remark\.of|_passed|_failed|_open)\(\s*"(\w+)"', code)) <= set(WORDS)


def test_a_run_knows_what_it_still_waits_for() -> None:
    """A declined application awaits nothing."""
    half = with_books(notices=(seen("01", 1),))
    declined = trial(store=Store.MINISTOP, answer=Answer(Outcome.declined), books=Books())
    assert [(each.store, status.value) for each, status in run(half, declined).awaited()] == [
        (Store.LAWSON, "04"),
        (Store.LAWSON, "05"),
    ]


def test_no_store_was_come_to() -> None:
    """Broken off before anything was sent: there is nothing to say, and nothing breaks."""
    empty: Run = replace(run(), trials=())
    assert list(empty.grouped()) == []
    assert not empty.marks
