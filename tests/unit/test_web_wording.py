"""What customers are told: no text is missing, and each says what it should."""

from __future__ import annotations

from datetime import date

import pytest

from flask_zeus_cvs.customer import Customer, checked
from flask_zeus_cvs.exceptions import InvalidCustomer, InvalidField
from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.protocol.codes import ERROR_CODES, SUPPORT_PHONES, Remedy
from flask_zeus_cvs.protocol.fields import Problem
from flask_zeus_cvs.web.views import RESULT_PAGES
from flask_zeus_cvs.web.wording import (
    FORM_FIELDS,
    LABELS,
    REFUSED_FIELDS,
    STATES,
    advice,
    last_day,
    message_for,
    suggests_other_store,
)


@pytest.mark.parametrize("problem", list(Problem))
@pytest.mark.parametrize("field", list(FORM_FIELDS))
def test_every_problem_of_every_field_has_a_message(field: str, problem: Problem) -> None:
    """Whatever is wrong with whatever field, there is a Japanese sentence for it."""
    message = message_for(InvalidField(field, problem, "20"))

    assert message.endswith("。")
    assert "{" not in message


@pytest.mark.parametrize(
    ("customer", "field", "message"),
    [
        (Customer("山田"), "username", "「山」はカタカナではありません。カタカナで入力してください。"),
        (Customer("ア" * 21), "username", "お名前は全角20文字までです。"),
        (Customer("　"), "username", "お名前を入力してください。"),
        (
            Customer("ア\nイ"),
            "username",
            "改行など、目に見えない文字が含まれています。入力し直してください。",
        ),
        (Customer(phone=""), "telno", "電話番号を入力してください。"),
        (Customer(phone="09O12345678"), "telno", "「O」は電話番号に使えません。数字で入力してください。"),
        (Customer(phone="9012345678"), "telno", "電話番号は0から始まる番号を入力してください。"),
        (
            Customer(phone="03123456"),
            "telno",
            "電話番号が短すぎます。市外局番から、9桁以上で入力してください。",
        ),
        (Customer(phone="090123456789"), "telno", "電話番号が長すぎます。11桁までで入力してください。"),
        (
            Customer(email="はな@example.com"),
            "email",
            "「は」はメールアドレスに使えません。使えるのは半角の英数字と記号だけです。",
        ),
        (
            Customer(email="hana.example.com"),
            "email",
            "メールアドレスの形が正しくありません。「@」の前後もご確認ください。",
        ),
        (Customer(email="a" * 40 + "@example.com"), "email", "メールアドレスは半角50文字までです。"),
    ],
)
def test_message_names_the_character_or_the_limit(customer: Customer, field: str, message: str) -> None:
    """A message says which character is wrong, or which limit was passed."""
    with pytest.raises(InvalidCustomer) as caught:
        checked(customer)

    assert [message_for(each) for each in caught.value.problems if each.field == field] == [message]


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_label_and_a_page(state: State) -> None:
    """A new state cannot be forgotten: it needs a label and a result page."""
    assert STATES[state]
    assert RESULT_PAGES[state]


def test_labels_of_states_differ() -> None:
    """No two states are called the same."""
    assert len(set(STATES.values())) == len(State)


def test_every_form_field_has_a_label_and_a_text_for_its_refusal() -> None:
    """Whichever of the customer's details ZEUS names, the form can say so."""
    assert set(FORM_FIELDS.values()) == set(REFUSED_FIELDS)
    assert set(REFUSED_FIELDS) < set(LABELS)


@pytest.mark.parametrize("code", list(ERROR_CODES))
def test_every_error_code_has_advice(code: str) -> None:
    """Each error code says what to do, with ZEUS's support numbers except where only the shop can help."""
    found = advice(State.DECLINED, code, "")

    assert found.texts
    assert found.phones == (() if ERROR_CODES[code].remedy is Remedy.shop_fault else SUPPORT_PHONES)
    assert ("メンテナンス" in "".join(found.texts)) is ERROR_CODES[code].maintenance


@pytest.mark.parametrize("code", ["", "999999"])
def test_unknown_code_is_answered_with_the_widest_advice(code: str) -> None:
    """A refusal without a code we know: check, try again, or ask."""
    assert advice(State.DECLINED, code, "") == advice(State.DECLINED, "900000", "")


def test_an_application_that_was_never_sent_says_so() -> None:
    """If nothing reached ZEUS, the customer is told that, and not to check details that are right."""
    assert "送信されていません" in advice(State.FAILED, "", "").texts[0]
    assert advice(State.FAILED, "0008", "") == advice(State.DECLINED, "0008", "")


@pytest.mark.parametrize("parameter", ["clientip", "act", "money", "sendid", "testid"])
def test_a_parameter_that_is_not_the_customers_is_the_shops_fault(parameter: str) -> None:
    """A complaint about what the shop fills in does not send the customer back to check the form."""
    assert advice(State.DECLINED, "", parameter) == advice(State.DECLINED, "800000", "")


@pytest.mark.parametrize("parameter", list(FORM_FIELDS))
def test_a_parameter_that_is_the_customers_leads_back_to_the_form(parameter: str) -> None:
    """A complaint about one of the customer's details says where to mend it."""
    assert "入力画面" in advice(State.DECLINED, "", parameter).texts[0]


def test_only_a_store_under_maintenance_suggests_another() -> None:
    """Another store helps against one error code only."""
    assert [code for code in ("", "999999", *ERROR_CODES) if suggests_other_store(code)] == ["0008"]


@pytest.mark.parametrize(
    ("day", "text"),
    [
        (date(2026, 1, 5), "2026年1月5日（月）23:59まで"),
        (date(2027, 2, 28), "2027年2月28日（日）23:59まで"),
        (date(2028, 12, 30), "2028年12月30日（土）23:59まで"),
    ],
)
def test_last_day_has_its_weekday(day: date, text: str) -> None:
    """The deadline is written with weekday and time."""
    assert last_day(day) == text
