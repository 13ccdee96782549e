"""The catalogs are whole: every text of the customer's pages is translated, and nothing else is in them."""

from __future__ import annotations

import gettext
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from babel.messages.mofile import write_mo

from tests import catalogs

#: What one language puts where another puts something else of the same value.
SAME = {"month_name": "month"}
#: Kana and kanji in an English text stand in brackets or quotation marks: they are what the machine shows.
_QUOTED = re.compile(r"\([^()]*\)|“[^”]*”|「[^」]*」|（[^（）]*）")
_JAPANESE = re.compile(r"[぀-ヿ㐀-鿿]+")
#: Texts that show an example of what to type, or name a company.
_EXAMPLES = re.compile(r"メアリー　スミス")


def pairs(language: str) -> Iterator[tuple[str, str]]:
    """Each text with each of its translations; those with a number have several."""
    for message in catalogs.read(language):
        if message.id:
            for translation in forms(message.string):
                yield forms(message.id)[0], translation


def forms(text: object) -> tuple[str, ...]:
    return tuple(map(str, text)) if isinstance(text, (tuple, list)) else (str(text or ""),)


def names(text: str) -> set[str]:
    found: list[str] = re.findall(r"\{(\w*)\}", text)
    return {SAME.get(name, name) for name in found}


@pytest.mark.parametrize("language", catalogs.LANGUAGES)
def test_every_text_has_a_translation(language: str) -> None:
    """What code and templates name is in the catalog, and each of its forms is translated."""
    catalog = catalogs.read(language)
    lacking = []
    for each in catalogs.gathered():
        found = catalog.get(forms(each.id)[0])
        if each.id and (found is None or not all(forms(found.string))):
            lacking.append(each.id)

    assert not lacking, f"make texts, then translate: {lacking}"


@pytest.mark.parametrize("language", catalogs.LANGUAGES)
def test_no_text_is_left_over(language: str) -> None:
    """A text that no page says any more is not in the catalog, and no guess of a tool's is."""
    known = {forms(each.id)[0] for each in catalogs.gathered()}
    catalog = catalogs.read(language)

    assert not [each.id for each in catalog if forms(each.id)[0] not in known]
    assert not catalog.obsolete
    assert not [each.id for each in catalog if each.id and each.fuzzy]


@pytest.mark.parametrize("language", catalogs.LANGUAGES)
def test_what_is_shown_is_what_was_translated(language: str) -> None:
    """The compiled catalog, which the pages read, is made from the one that people read."""
    compiled = catalogs.path_of(language, "mo")
    assert compiled.read_bytes() == catalogs.written(write_mo, catalogs.read(language))

    with compiled.open("rb") as file:
        spoken = gettext.GNUTranslations(file)
    for each in catalogs.read(language):
        if each.id and not isinstance(each.id, tuple):
            assert spoken.gettext(str(each.id)) == each.string


@pytest.mark.parametrize("language", catalogs.LANGUAGES)
def test_translations_are_built_alike(language: str) -> None:
    """A translation has the same values in braces and the same markup: a missing one would be an error page."""
    for text, translation in pairs(language):
        if not translation:
            continue
        assert names(translation) == names(text), translation
        assert Counter(re.findall(r"</?\w+", translation)) == Counter(re.findall(r"</?\w+", text)), (
            translation
        )


def test_english_is_english() -> None:
    """A word that a Japanese machine shows stands in brackets or quotation marks; nothing else is in Japanese."""
    for _, translation in pairs("en"):
        plain = _EXAMPLES.sub("", translation)
        while (shorter := _QUOTED.sub("", plain)) != plain:
            plain = shorter
        assert not _JAPANESE.findall(plain), translation


def test_every_text_is_a_whole_one() -> None:
    """No text is the second half of a sentence: none begins with a blank or a mark that needs a neighbour."""
    glued = [
        text
        for each in catalogs.gathered()
        for text in forms(each.id)
        if text != text.lstrip() or text.startswith(("、", "。", "）"))
    ]
    assert not glued
