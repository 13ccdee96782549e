"""The list of what templates have is whole: each variable, function, macro and text, and where it is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, template_rendered
from jinja2 import Template

from flask_zeus_cvs.payments import Obstacle
from flask_zeus_cvs.web.texts import in_templates
from tests import catalogs
from tests.customer_pages import PAGES, Stage
from tests.papers import text_of

NAME = "4-templates.md"
PAGE = text_of("en", NAME)
TEMPLATES = catalogs.PACKAGE / "templates" / "zeus_cvs"
#: What Flask itself puts beside ours.
FLASKS = {"g", "request", "session"}
#: The lines over the tables of variables.
EVERYWHERE, ORDERS, FORM, RESULTS, SOME = (
    "On every page:",
    "On every page but `https_required.html`:",
    "On the form, `checkout.html`:",
    "On every result page:",
    "On some result pages:",
)


def rows(page: str, under: str) -> list[list[str]]:
    """The cells of the table under a line, without its head."""
    _, _, rest = page.partition(f"\n{under}\n")
    table = re.search(r"(?:^\|.*\n)+", rest, flags=re.M)
    assert table is not None, under
    return [re.split(r" \| ?", line.strip("| "), maxsplit=2) for line in table[0].splitlines()[2:]]


def listed(under: str) -> set[str]:
    """The names in the first column of a table."""
    return {name for first, *_ in rows(PAGE, under) for name in re.findall(r"`(\w+)", first)}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[set[str]]]]:
    """What each page was given, each time it was shown in any state."""
    stage = Stage(tmp_path_factory.mktemp("shop"))
    found: dict[str, list[set[str]]] = defaultdict(list)

    def note(app: Flask, template: Template, context: dict[str, Any], **extra: Any) -> None:
        others = set(app.jinja_env.globals) - set(in_templates())
        found[str(template.name)].append(set(context) - others - FLASKS)

    with template_rendered.connected_to(note, stage.app):
        for shown in PAGES:
            stage.show(shown, stage.bring(shown))
    yield found
    stage.close()


def test_every_variable_is_listed_where_it_is(given: dict[str, list[set[str]]]) -> None:
    """Each page has what its tables name, always, and nothing else but what some result pages have."""
    everywhere = listed(EVERYWHERE)
    expected = {"checkout": everywhere | listed(ORDERS) | listed(FORM), "https_required": everywhere}
    seen: set[str] = set()
    for template, contexts in given.items():
        always = expected.get(Path(template).stem, everywhere | listed(ORDERS) | listed(RESULTS))
        for each in contexts:
            assert always <= each, template
            assert each - always <= (listed(SOME) if "result/" in template else set()), template
            seen |= each - always
    assert seen == listed(SOME)


def test_every_function_is_listed() -> None:
    """What can be called in a template has its row with its arguments' names."""
    functions = {name for name, each in in_templates().items() if callable(each)}
    assert listed("## Functions\n") == functions


def test_every_obstacle_is_listed() -> None:
    """A template may compare with each of them."""
    (row,) = (each for each in rows(PAGE, RESULTS) if each[0] == "`obstacle`")
    assert set(re.findall(r"`(\w+)`", row[1])) == set(Obstacle)


def test_every_macro_is_listed() -> None:
    """With its arguments and their defaults, as the templates define it."""
    there = {
        f"`{name}.{macro}`"
        for name, path in (("parts", "parts.html"), ("pieces", "result/pieces.html"))
        for macro in re.findall(r"\{%-? macro (.+?) -?%\}", (TEMPLATES / path).read_text("utf-8"))
    }
    found = re.findall(r"^\| (`(?:parts|pieces)\..+?`) \|", PAGE, flags=re.M)
    assert set(found) == there


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_text_is_listed(language: str) -> None:
    """The last table is what ``make texts`` writes: each text of the customers' pages, and no other."""
    page = text_of(language, NAME)
    *_, table = re.findall(r"^\|---\|---\|---\|\n((?:\|.*\n)+)", page, flags=re.M)
    assert table.splitlines() == catalogs.table_of_texts()


def test_both_languages_list_the_same() -> None:
    """Row by row the Japanese page is about the same names."""
    names = [
        [
            re.findall(r"`([^`]+)`", line.split(" | ")[0])
            for line in text_of(each, NAME).splitlines()
            if line[:3] == "| `"
        ]
        for each in ("en", "ja")
    ]
    assert names[0] == names[1]
