"""The language of the customer's pages: Flask-Babel's choice where the host uses it, else ZEUS_CVS_LOCALE."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from flask import request

from flask_zeus_cvs.web.wording import STALE_FORM, WRONG_AMOUNT
from tests import catalogs
from tests.customer_pages import HANAKO, LANGUAGES, PAGES, Shown, Stage
from tests.visitors import Browser, text_of

#: Kana and kanji, and the punctuation that goes with them.
JAPANESE = re.compile(r"[\u3001-\u303f\u3041-\u30ff\u3400-\u9fff\uff01-\uff60]+")
FORM, *_ = PAGES
MARK = "◆"
Open = Callable[..., Stage]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open shops in one folder."""
    stages: list[Stage] = []

    def open_(**how: Any) -> Stage:
        stages.append(Stage(tmp_path, **how))
        return stages[-1]

    yield open_
    for stage in stages:
        stage.close()


def spoken(stage: Stage, header: str = "") -> str:
    """The language in which a page is shown, told by its markup and by its words."""
    page = stage.show(FORM, stage.bring(FORM), header)
    (language,) = re.findall(r'<html lang="([^"]*)">', page.text)
    assert f'class="zeus-cvs" lang="{language}"' in page.text
    return language if ("お支払い金額" in page.text) is (language == "ja") else "mixed"


def as_told() -> str | None:
    """A locale selector that takes the request at its word."""
    return request.headers["Accept-Language"] or None


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("ja", "ja"),
        ("ja_JP", "ja"),
        ("en", "en"),
        ("en_GB", "en"),
        ("fr", None),
        ("zh_Hant_TW", None),
    ],
)
def test_flask_babel_chooses(opened: Open, locale: str, told: str, expected: str | None) -> None:
    """The host's locale selector decides; for a language that we do not speak, ZEUS_CVS_LOCALE does."""
    assert spoken(opened(select=as_told, LOCALE=locale), told) == (expected or locale)


@pytest.mark.parametrize("locale", LANGUAGES)
def test_without_flask_babel(opened: Open, locale: str) -> None:
    """ZEUS_CVS_LOCALE decides, whatever the browser asks for."""
    assert [spoken(opened(select=None, LOCALE=locale), told) for told in ("ja", "en", "fr")] == [locale] * 3


def test_one_shop_in_two_languages_at_once(opened: Open) -> None:
    """Nothing of one customer's language stays for the next."""
    stage = opened()
    assert [spoken(stage, told) for told in ("ja", "en", "ja", "en")] == ["ja", "en", "ja", "en"]


@pytest.mark.parametrize("shown", [each for each in PAGES if not each.name.startswith("checkout")], ids=str)
def test_japanese_words_on_an_english_page_are_marked(opened: Open, shown: Shown) -> None:
    """A screen reader says in Japanese what the store's machine shows, wherever it stands in an English sentence."""
    stage = opened(select=None, LOCALE="en")
    page = stage.show(shown, stage.bring(shown)).text
    unmarked = re.sub(r'<(\w+) lang="ja">[^<]*</\1>', "", page)
    lines = re.findall(r"<(?:dt|li)>(.*?)</(?:dt|li)>", unmarked, re.DOTALL)
    assert not [word for line in lines for word in JAPANESE.findall(line)]


def test_japanese_is_the_default(opened: Open) -> None:
    """A shop that says nothing speaks Japanese."""
    assert spoken(opened(select=None)) == "ja"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"csrf_token": ""}, STALE_FORM),
        ({"csrf_token": "no token"}, STALE_FORM),
        ({"csrf_token": "IjEi.Zm9v.YmFy"}, STALE_FORM),
        ({"amount": "1"}, WRONG_AMOUNT),
    ],
)
def test_messages_of_the_form_itself(opened: Open, language: str, changes: dict[str, str], text: str) -> None:
    """What Flask-WTF and WTForms find wrong is said in the page's language, and in our words."""
    stage = opened()
    payment = stage.bring(FORM)
    browser, headers = Browser(stage.app), {"Accept-Language": language}
    page = browser.http.get(payment, headers=headers)
    token = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[0]
    good = {
        "name": "ヤマダ",
        "phone": "0312345678",
        "email": "a@example.com",
        "store": "D002",
        "amount": "3480",
    }
    answer = browser.http.post(payment, headers=headers, data={"csrf_token": token, **good, **changes})

    catalog = catalogs.read("en")
    assert answer.status_code == 422
    assert (text if language == "ja" else str(catalog[text].string)) in text_of(answer)
    assert "CSRF" not in answer.text


def forms(message: object) -> tuple[str, ...]:
    """The singular and plural of a text, or the text alone."""
    return tuple(map(str, message)) if isinstance(message, (tuple, list)) else (str(message),)


@lru_cache
def replaced() -> dict[str, str]:
    """Every text of the catalog, with a mark to stand for it."""
    return {each: MARK for message in catalogs.gathered() for each in forms(message.id) if each}


@pytest.mark.parametrize("shown", PAGES, ids=str)
def test_every_text_can_be_said_otherwise(opened: Open, shown: Shown) -> None:
    """No Japanese on a page is out of a translator's or a shop's reach, attributes for scripts included."""
    stage = opened(TEXTS={"ja": replaced()})
    page = stage.show(shown, stage.bring(shown)).text
    customer = shown.payment.get("customer", HANAKO)
    own = (customer.name, (shown.typed or {}).get("name"), shown.payment.get("reference"))
    for each in filter(None, own):
        page = page.replace(each, "")

    assert MARK in page
    assert not JAPANESE.findall(page)
