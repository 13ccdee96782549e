"""The question that only this shop may ask of its own callback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from flask_zeus_cvs.probe import GOOD_FOR, Seen, may_ask, question


def test_a_question_is_good_for_a_minute() -> None:
    """Signed with the key, and fresh; a copy of it is worth nothing later."""
    with time_machine.travel(datetime(2026, 12, 1, tzinfo=UTC), tick=False) as clock:
        asked = question("the key of the shop")
        assert may_ask("the key of the shop", asked)
        clock.shift(timedelta(seconds=GOOD_FOR))
        assert may_ask("the key of the shop", asked)
        clock.shift(timedelta(seconds=1))
        assert not may_ask("the key of the shop", asked)


@pytest.mark.parametrize("key", ["another key", "", None, b"another key"])
def test_nobody_else_may_ask(key: str | bytes | None) -> None:
    """Another key, or an app without one, answers nobody."""
    assert not may_ask(key, question("the key of the shop"))


@pytest.mark.parametrize("value", [None, "", "check", "check.x.y", "\x00", "ヤマダ"])
def test_what_is_no_question(value: str | None) -> None:
    """Whatever else stands in the header."""
    assert not may_ask("the key of the shop", value)


def test_an_answer_is_one_line_of_ascii() -> None:
    """A host that the caller made up cannot add a header of its own, and the answer can be read back."""
    environ = {"REMOTE_ADDR": "198.51.100.7", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}
    moment = datetime(2026, 12, 1, tzinfo=UTC)
    seen = Seen.of(environ, "198.51.100.7", "https", "shop.example\r\nX: 店", "address", moment)
    assert seen.as_header().isascii()
    assert "\n" not in seen.as_header()
    assert Seen.from_header(seen.as_header()) == seen
    assert seen.forwarded


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"address": "x"}', "<html>"])
def test_what_is_no_answer(text: str) -> None:
    """Somebody else's header is none of ours."""
    assert Seen.from_header(text) is None
