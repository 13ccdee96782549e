"""The checkout form by itself, in an app that has nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, request
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from wtforms.widgets import html_params

from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.protocol.fields import Problem
from flask_zeus_cvs.web import wording
from flask_zeus_cvs.web.forms import CheckoutForm, Complaint, attributes

OFFERED = (Store.LAWSON, Store.SEVEN_ELEVEN)
GOOD = {
    "name": "やまだ　ﾊﾅｺ",
    "phone": "０９０-1234-5678",
    "email": " hanako@example.com ",
    "store": "D002",
    "amount": "3000",
}


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="key", TESTING=True, WTF_CSRF_ENABLED=False)
    return app


def posted(app: Flask, token: str | None = None, **changes: Any) -> CheckoutForm:
    """Read a good form with changes; None leaves a field out."""
    data = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    if token is not None:
        data["csrf_token"] = token
    with app.test_request_context(method="POST", data=data):
        form = CheckoutForm.posted(3000, OFFERED)
        form.validate()
        return form


def texts(form: CheckoutForm, field: str) -> list[str]:
    return list(form[field].errors)


def test_good_form_gives_the_customer_in_the_gateways_spelling(app: Flask) -> None:
    """A good form has no complaints, and its customer can be sent as it is."""
    form = posted(app)

    assert form.complaints == []
    assert form.customer == Customer("ヤマダ　ハナコ", "09012345678", "hanako@example.com")


def test_input_is_kept_as_typed(app: Flask) -> None:
    """What was typed stands in the form again, untouched, beside what is wrong with it."""
    form = posted(app, name="山田", phone=" ０９０ ")

    assert [form.name.data, form.phone.data, form.email.data] == ["山田", " ０９０ ", " hanako@example.com "]
    assert form.store.data == "D002"


def test_every_field_is_complained_of_at_once(app: Flask) -> None:
    """One look shows everything that is wrong, in the order of the page, each with the input to go to."""
    form = posted(app, name="", phone="x", email="x", store=None, amount="1")

    assert [(each.anchor, each.label) for each in form.complaints] == [
        ("zeus-store-0", "コンビニ"),
        ("zeus-name", "お名前（カタカナ）"),
        ("zeus-phone", "電話番号"),
        ("zeus-email", "メールアドレス"),
        ("", "お支払い金額"),
    ]


@pytest.mark.parametrize("field", ["name", "phone", "email"])
@pytest.mark.parametrize("value", [None, "", "  ", "　"])
def test_missing_detail_is_asked_for(app: Flask, field: str, value: str | None) -> None:
    """A field that is absent, blank, or all spaces asks to be filled in."""
    assert texts(posted(app, **{field: value}), field)[0].endswith("入力してください。")


@pytest.mark.parametrize("store", [None, ""])
def test_missing_store_is_asked_for(app: Flask, store: str | None) -> None:
    """Without a store the form asks for one."""
    assert texts(posted(app, store=store), "store") == ["コンビニを選んでください。"]


@pytest.mark.parametrize("store", ["D030", "D999", "d002", "LAWSON"])
def test_store_that_is_not_offered_is_refused(app: Flask, store: str) -> None:
    """Only the codes of the stores that the shop offers are taken, a real code of another store included."""
    assert texts(posted(app, store=store), "store") == ["表示されているコンビニの中から選んでください。"]


def test_stores_stand_in_the_shops_order(app: Flask) -> None:
    """The choices are the offered stores, in the order of the setting."""
    assert posted(app).store.choices == [("D002", "ローソン"), ("D001", "セブン-イレブン")]


@pytest.mark.parametrize("amount", ["", "2999", "03000", "3,000", "３０００", " 3000", "3000.0", "-3000"])
def test_other_amount_is_refused_and_put_right(app: Flask, amount: str) -> None:
    """A posted amount other than the payment's own is refused; the next try carries the right one."""
    form = posted(app, amount=amount)

    assert texts(form, "amount") == [wording.WRONG_AMOUNT]
    assert form.amount.data == "3000"


def test_second_amount_is_looked_at_too(app: Flask) -> None:
    """A right amount does not hide a wrong one behind it."""
    assert texts(posted(app, amount=["3000", "200"]), "amount") == [wording.WRONG_AMOUNT]


def test_absent_amount_changes_nothing(app: Flask) -> None:
    """The amount is the server's: a post without one is no other amount."""
    assert posted(app, amount=None).complaints == []


def test_json_is_no_form(app: Flask) -> None:
    """A JSON body is not read, so no number or list can stand where a text belongs."""
    with app.test_request_context(method="POST", json={**GOOD, "phone": 9012345678}):
        form = CheckoutForm.posted(3000, OFFERED)

        assert not form.validate()
        assert form.phone.data in (None, "")


def test_known_details_are_filled_in(app: Flask) -> None:
    """The form to be shown carries what is known, complains of nothing, and knows the amount."""
    with app.test_request_context():
        form = CheckoutForm.filled(
            3000, OFFERED, Customer("ヤマダ", "0312345678", "y@example.com"), Store.LAWSON
        )

        assert (form.name.data, form.phone.data, form.email.data) == ("ヤマダ", "0312345678", "y@example.com")
        assert (form.store.data, form.amount.data) == ("D002", "3000")
        assert form.complaints == []


def test_filling_in_does_not_read_the_request(app: Flask) -> None:
    """What is filled in comes from us, even while a post is being answered."""
    with app.test_request_context(method="POST", data=GOOD):
        assert CheckoutForm.filled(3000, OFFERED, Customer(), None).name.data == ""
        assert request.form["name"] == GOOD["name"]


def test_problem_is_shown_at_its_line(app: Flask) -> None:
    """A problem that turns up later, under ZEUS's own name of the field, is shown at the form's."""
    with app.test_request_context():
        form = CheckoutForm.filled(3000, OFFERED, Customer(), None)
        form.complain([InvalidField("telno", Problem.too_short, "9")])

        assert form.complaints == [
            Complaint(
                "zeus-phone", "電話番号", "電話番号が短すぎます。市外局番から、9桁以上で入力してください。"
            )
        ]


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_bad_token_has_a_message_of_ours_and_keeps_the_input(app: Flask, token: str | None) -> None:
    """A missing or wrong token is explained in Japanese, once, and costs the customer no typing."""
    app.config["WTF_CSRF_ENABLED"] = True
    form = posted(app, token=token)

    assert form.complaints == [Complaint("", "", wording.STALE_FORM)]
    assert form.name.data == GOOD["name"]


def test_token_goes_by_the_hosts_name(app: Flask) -> None:
    """A host that calls its token something else is followed."""
    app.config.update(WTF_CSRF_ENABLED=True, WTF_CSRF_FIELD_NAME="shop_token")
    with app.test_request_context(method="POST", data=GOOD):
        form = CheckoutForm.posted(3000, OFFERED)

        assert not form.validate()
        assert form.complaints == [Complaint("", "", wording.STALE_FORM)]


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["id", "class_", "for_", "data_missing", "aria_describedby", "auto_focus", "value", "required"]
        ),
        st.one_of(
            st.booleans(), st.text(), st.integers(), st.builds(Markup, st.text("<\">&amp;'", max_size=8))
        ),
    )
)
def test_attributes_are_those_of_wtforms(given: dict[str, Any]) -> None:
    """An input of ours is written as WTForms writes it: names, order, escapes, and quotation marks as 3.2 does."""
    quoted = {
        name: Markup(str(value).replace('"', "&quot;")) if isinstance(value, Markup) else value
        for name, value in given.items()
    }
    assert attributes(**given) == html_params(**quoted)
