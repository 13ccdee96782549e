"""Staff's words: nothing that staff can meet is without its English and its Japanese."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import DeliveryState, Resolution, ReviewReason, Verdict
from flask_zeus_cvs.protocol.codes import ERROR_CODES
from flask_zeus_cvs.staff import telling, wording
from flask_zeus_cvs.staff.timeline import Kind
from flask_zeus_cvs.staff.wording import Words

JAPANESE = re.compile("[ぁ-んァ-ヶ一-龯]")
#: What English may hold only in words quoted from ZEUS's screen, which have none.
HIRAGANA = re.compile("[ぁ-ん]")
TABLES: list[tuple[Mapping[Any, Words], Any]] = [
    (wording.STATES, State),
    (wording.VERDICTS, Verdict),
    (wording.DELIVERY_STATES, DeliveryState),
    (wording.EVENTS, EventKind),
    (wording.RESOLUTIONS, Resolution),
    (wording.ERRORS, ERROR_CODES),
    (telling._HEADLINES, Kind),
]


def good(words: Words) -> bool:
    english = re.search("[a-z]", words.en) is not None and HIRAGANA.search(words.en) is None
    return english and JAPANESE.search(words.ja) is not None


@pytest.mark.parametrize(("table", "every"), TABLES, ids=lambda each: getattr(each, "__name__", None))
def test_every_member_has_both_languages(table: Mapping[Any, Words], every: Any) -> None:
    """A new state, verdict or error code comes with its words; English is English, and Japanese is Japanese."""
    assert set(table) == set(every)
    assert [words for words in table.values() if not good(words)] == []
    for column in zip(*table.values(), strict=True):
        assert len(set(column)) == len(column), "two are called alike"


@pytest.mark.parametrize("reason", ReviewReason)
def test_every_review_says_what_to_do(reason: ReviewReason) -> None:
    """What happened, what to look at, and what each of the four decisions will do, in both languages."""
    words = wording.REVIEWS[reason]
    assert set(words.effects) == set(Resolution)
    texts = [words.name, words.happened, words.look, *words.effects.values()]
    assert [each for each in texts if not good(each)] == []
    assert all(each.ja.endswith("。") for each in texts[1:])
    assert all(each.en.rstrip().endswith((".", "?")) for each in texts[1:])


def test_facts_have_both_languages() -> None:
    """Names of facts, too; some are the wire's own in both."""
    assert [words for words in telling.LABELS.values() if not (words.en.strip() and words.ja.strip())] == []


def test_a_locale_chooses() -> None:
    """Japanese for whatever is Japanese, English for the rest of the world."""
    words = Words("paid", "入金済")
    assert [words.said(each) for each in ("ja", "ja_JP", "en", "de")] == ["入金済", "入金済", "paid", "paid"]
