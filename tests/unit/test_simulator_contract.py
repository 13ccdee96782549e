"""The contract of the sandbox: changed by name, all of it or nothing, and spelled as JSON."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.simulator import Contract, MailKind, Method

#: How a form or a program spells a value, and what is made of it.
GOOD: list[tuple[str, object, object]] = [
    ("clientip", "0000000001", "0000000001"),
    ("testids", "00000001, 00000002", ("00000001", "00000002")),
    ("testids", ["00000001", "00000001"], ("00000001",)),
    ("testids", "", ()),
    ("stores", "D030\nD001", (Store.FAMILYMART, Store.SEVEN_ELEVEN)),
    ("stores", [], ()),
    ("pay_within_days", "59", 59),
    ("pay_within_days", 2, 2),
    ("on_request", ["02", "03"], frozenset({Status.APPLICATION_FAILED, Status.EXPIRED})),
    ("notify", "https://shop.example/cgi?shop=7", "https://shop.example/cgi?shop=7"),
    ("notify", "", None),
    ("notify", None, None),
    ("parameters", "status order_no", ("status", "order_no")),
    ("method", "post", Method.POST),
    ("agent", "Sender 1.0", "Sender 1.0"),
    ("sent_from", "127.0.0.2", "127.0.0.2"),
    ("retries", "3", 3),
    ("retry_minutes", 0.5, 0.5),
    ("confirm_after_days", {"D001": 0, "D002": ""}, {Store.SEVEN_ELEVEN: 0}),
    ("confirm_after_days", "D001=1, D060=9", {Store.SEVEN_ELEVEN: 1, Store.DAILY_YAMAZAKI: 9}),
    ("test_outcome_minutes", "30", 30.0),
    ("stopped", "on", True),
    ("stopped", False, False),
    ("mail_to", "staff@example.com", "staff@example.com"),
    ("mails_off", "customer", frozenset({MailKind.CUSTOMER})),
    ("customer_message", " ありがとう ", "ありがとう"),
]

#: What is refused, and what the message says about it.
WRONG: list[tuple[str, object, str]] = [
    ("clientip", "123", "clientip"),
    ("testids", "1234567x", "testids"),
    ("testids", [12345678], "a list of texts"),
    ("stores", "D999", "take some of D001, D002"),
    ("stores", "D001 D001", "given twice"),
    ("pay_within_days", 1, "from 2 to 59"),
    ("pay_within_days", 2.5, "a whole number"),
    ("pay_within_days", True, "a number from 2 to 59"),
    ("pay_within_days", 10**400, "a number from 2 to 59"),
    ("pay_within_days", "nan", "a number from 2 to 59"),
    ("on_request", "04", "take some of 02, 03"),
    ("notify", "ftp://shop.example/", "http or https"),
    ("notify", "http://", "http or https"),
    ("notify", "http://[", "http or https"),
    ("notify", "http://shop.example:99999/", "http or https"),
    ("notify", "http://shop.example/#part", "http or https"),
    ("notify", "http://shop.example/a b", "http or https"),
    ("notify", 1, "give a text"),
    ("parameters", "status,password", "take some of clientip, money"),
    ("method", "PUT", "take one of GET, POST"),
    ("agent", "two\nlines", "printable"),
    ("sent_from", "localhost", "in numbers"),
    ("retries", 11, "from 0 to 10"),
    ("retry_minutes", -1, "from 0 to 1440"),
    ("confirm_after_days", {"D999": 1}, "take one of D001"),
    ("confirm_after_days", ["D001"], "as D001=2"),
    ("confirm_after_days", "D001", "as D001=2"),
    ("confirm_after_days", "D001=soon", "from 0 to 365"),
    ("test_outcome_minutes", 31, "from 0 to 30"),
    ("stopped", "maybe", "true or false"),
    ("stopped", 1, "true or false"),
    ("mail_to", "nobody at all", "mail_to"),
    ("mails_off", "call_failed", "take some of customer"),
    ("customer_message", "x" * 1001, "1000 characters"),
    ("colour", "red", "there is no colour in the contract"),
]


@pytest.mark.parametrize(("name", "value", "read"), GOOD, ids=[f"{n}={v!r}" for n, v, _ in GOOD])
def test_a_change_is_read_as_a_form_or_a_program_spells_it(name: str, value: object, read: object) -> None:
    """A text and JSON's own kinds mean the same."""
    contract = Contract()
    contract.change({name: value})
    assert getattr(contract, name) == read


@pytest.mark.parametrize(("name", "value", "says"), WRONG, ids=[f"{n}={v!r:.30}" for n, v, _ in WRONG])
def test_a_wrong_change_names_itself_and_what_there_is(name: str, value: object, says: str) -> None:
    """The message begins with the name, or names it; and nothing at all has changed."""
    contract = Contract()
    with pytest.raises(ValueError, match=f"(?s){name}.*") as raised:
        contract.change({"retries": 5, name: value})
    assert says in str(raised.value)
    assert contract == Contract()


def test_everything_can_be_changed() -> None:
    """Whatever a contract holds has a row above."""
    assert {name for name, _, _ in GOOD} == {each.name for each in fields(Contract)}


def test_as_json_can_be_read_back() -> None:
    """What it spells is JSON, and `change` takes it."""
    contract = Contract()
    for name, value, _ in GOOD:
        contract.change({name: value})
    spelled = json.loads(json.dumps(contract.as_json()))
    copy = Contract()
    copy.change(spelled)
    assert copy == contract
