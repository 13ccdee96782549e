"""The documentation in two languages: the same pages, headings and code, no dead link, and nothing public left out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

import click
import pytest

from flask_zeus_cvs import exceptions
from flask_zeus_cvs.cli import COMMANDS, make_commands
from flask_zeus_cvs.exceptions import ZeusCVSError
from flask_zeus_cvs.lifecycle import STATES, EventKind, State
from flask_zeus_cvs.models import DeliveryState, Resolution, ReviewReason, Verdict
from flask_zeus_cvs.settings import Settings
from tests import figures
from tests.papers import DOCS, ROOT, blocks, headings, links, names, text_of

BOTH = sorted(names("en") & names("ja"))
EVERY = sorted([*ROOT.glob("*.md"), *DOCS["en"].glob("*.md"), *DOCS["ja"].glob("*.md")])


def shown(path: object) -> str:
    return str(path.relative_to(ROOT)) if isinstance(path, Path) else str(path)


# --- two languages ---------------------------------------------------------------------------------------


def test_both_languages_have_the_same_pages() -> None:
    """A page exists in English and Japanese, under one name."""
    assert names("en") == names("ja")


def test_both_languages_have_one_order() -> None:
    """The two indexes list every page, in the same order, which is that of the sites."""
    orders = [
        [path.name for path, _ in links(DOCS[each] / "index.md") if path.parent == DOCS[each]]
        for each in DOCS
    ]
    assert orders[0] == orders[1]
    assert set(orders[0]) == names("en") - {"index.md"}


@pytest.mark.parametrize(
    ("readme", "language"), [("README.md", "en"), ("README.ja.md", "ja")], ids=lambda each: str(each)
)
def test_the_readme_has_the_list_of_the_index(readme: str, language: str) -> None:
    """Both READMEs list the pages as the indexes do, in the same words."""
    folder = DOCS[language].relative_to(ROOT)
    index = text_of(language, "index.md")
    wanted = [
        line.replace("](", f"]({folder}/")
        for line in re.findall(r"^(?:#{2} |\d+\. \[).*", index, re.MULTILINE)
    ]
    text = (ROOT / readme).read_text("utf-8")
    assert wanted
    assert "\n\n".join(wanted) in re.sub(r"\n+", "\n\n", text.replace("\n### ", "\n## "))


@pytest.mark.parametrize("name", BOTH)
def test_both_languages_have_the_same_headings(name: str) -> None:
    """A page has as many headings in Japanese, at the same levels; one that is code is the same."""
    english, japanese = (headings(DOCS[each] / name) for each in ("en", "ja"))
    for one, other in zip_longest(english, japanese):
        assert one
        assert other, one
        assert one.level == other.level, (one, other)
        assert "flask zeus-cvs" not in one.text or one.text == other.text


@pytest.mark.parametrize("name", BOTH)
def test_both_languages_have_the_same_code(name: str) -> None:
    """What a reader types is the same in both. Only output, in a fence without a language, may be Japanese."""
    english, japanese = (blocks(DOCS[each] / name) for each in ("en", "ja"))
    for one, other in zip_longest(english, japanese):
        assert one
        assert other, one.text
        localized = one.is_output and other.is_output and other.has_japanese
        assert one == other or localized, other.text


@pytest.mark.parametrize("path", [each for each in EVERY if each.parent == DOCS["ja"]], ids=shown)
def test_japanese_leads_to_japanese(path: Path) -> None:
    """No Japanese page sends its reader to an English one that is there in Japanese, too."""
    english = {target.name for target, _ in links(path) if target.parent == DOCS["en"]}
    assert not english & names("ja")


# --- links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERY, ids=shown)
def test_links_lead_somewhere(path: Path) -> None:
    """A link to a file, folder or heading of the project finds it, on a code host as on the site."""
    for target, anchor in links(path):
        assert target.exists(), target
        if anchor:
            assert anchor in {each.anchor for each in headings(target)}, f"{target.name}#{anchor}"


# --- nothing is left out -------------------------------------------------------------------------------------


def where(words: str, language: str) -> set[str]:
    """The pages of a language on which these words stand as code; the API page only prints the code's own."""
    word = re.compile(
        rf"`[^`\n]*(?<![\w-]){re.escape(words)}(?![\w-])|flask zeus-cvs .*{re.escape(words)}(?![\w-])"
    )
    return {name for name in names(language) - {"24-api.md"} if word.search(text_of(language, name))}


def left_out(wanted: Iterable[str], language: str) -> list[str]:
    """What is on no page of a language."""
    return [each for each in wanted if not where(each, language)]


@pytest.mark.parametrize("language", DOCS)
@pytest.mark.parametrize(
    "kind",
    [State, EventKind, ReviewReason, Resolution, Verdict, DeliveryState],
    ids=lambda kind: kind.__name__,
)
def test_every_word_is_documented(kind: Iterable[str], language: str) -> None:
    """Each state, event, review, decision, verdict and state of a delivery stands on a page."""
    assert not left_out(kind, language)


@pytest.mark.parametrize("language", DOCS)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str, language: str) -> None:
    """Each command has one heading of its own, and each of its options stands on a page."""
    group = make_commands(Settings(client_ip="1234567890"))
    command = group.get_command(click.Context(group), name)
    assert command is not None
    heading = f"flask zeus-cvs {name}"
    places = [
        page for page in names(language) for each in headings(DOCS[language] / page) if each.text == heading
    ]
    assert len(places) == 1
    spelled = {each for option in command.params for each in option.opts if each.startswith("--")}
    assert not left_out(sorted(spelled), language)


@pytest.mark.parametrize("language", DOCS)
def test_every_error_is_documented(language: str) -> None:
    """Each error that is raised on purpose stands on the API page."""
    page = text_of(language, "24-api.md")
    errors = [
        each
        for each in vars(exceptions).values()
        if isinstance(each, type) and issubclass(each, ZeusCVSError)
    ]
    assert not [each.__name__ for each in errors if not re.search(rf"\b{each.__name__}$", page, re.M)]


# --- how it works ----------------------------------------------------------------------------------------------


def test_the_figure_is_that_of_the_table() -> None:
    """The figure of the states is drawn from `lifecycle.TABLE` as it is: if not, `make figures`."""
    assert figures.FIGURE.read_text("utf-8") == figures.figure()
    assert set(figures.PLACES) == set(STATES)
    assert {state for ends in figures.moves() for state in ends} == set(STATES)


@pytest.mark.parametrize("path", figures.PAGES, ids=shown)
def test_the_page_has_the_tables(path: Path) -> None:
    """The page prints every cell of the states, and who may import whom, as the code has them: if not, `make figures`."""
    text = path.read_text("utf-8")
    assert text == figures.renewed(text)
    assert "| … |" not in text, "a new part of the package is to be told of"
