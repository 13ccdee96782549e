"""The table of the customer's pages is whole and true: no state and no template is left out of what judges them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import meta

import flask_zeus_cvs
from flask_zeus_cvs import State
from flask_zeus_cvs.lifecycle import STATES
from flask_zeus_cvs.protocol.codes import ERROR_CODES, STORES, Remedy
from tests.customer_pages import LANGUAGES, PAGES, SLIPS, Shown, Stage

TEMPLATES = Path(flask_zeus_cvs.__file__).parent / "templates"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    yield stage
    stage.close()


@pytest.mark.parametrize("shown", PAGES, ids=str)
def test_every_row_is_what_it_says(stage: Stage, shown: Shown) -> None:
    """Each row leads to the page that it names, with its status, in both languages."""
    path = stage.bring(shown)
    for language in LANGUAGES:
        page = stage.show(shown, path, language)

        assert page.status_code == shown.status
        assert stage.templates[path.partition("?")[0]] == f"zeus_cvs/{shown.template}"
        assert f'<html lang="{language}">' in page.text


def test_names_are_unique() -> None:
    """Each row has a name of its own: pictures are filed under it."""
    assert not [name for name, times in Counter(map(str, PAGES)).items() if times > 1]


def test_every_state_is_seen() -> None:
    """A new state needs a row, for the payment and for its slip."""
    assert {each.state for each in PAGES} >= set(State) - {State.OPEN}
    assert {each.slip.state for each in PAGES if each.slip} == set(STATES)
    assert {each.slip.store for each in SLIPS if each.slip} == set(STORES)


def test_every_kind_of_advice_is_seen() -> None:
    """Whatever helps after a refusal is on one of the pages."""
    codes = {each.slip.values.get("error_code") for each in PAGES if each.slip} & set(ERROR_CODES)
    assert {ERROR_CODES[str(code)].remedy for code in codes} == set(Remedy)


def test_every_template_is_seen(stage: Stage) -> None:
    """A new template needs a row, unless one of those that have a row is made with it."""
    seen = {f"zeus_cvs/{each.template}" for each in PAGES} | {"zeus_cvs/base.html"}
    while more := {part for each in seen for part in _parts(stage, each)} - seen:
        seen |= more

    assert seen == {
        path.relative_to(TEMPLATES).as_posix()
        for path in TEMPLATES.rglob("*.html")
        if path.parent.name != "admin"  # the staff's, which customers never see
    }


def _parts(stage: Stage, template: str) -> set[str]:
    """Name what a template extends, includes or imports."""
    source = (TEMPLATES / template).read_text("utf-8")
    return {name for name in meta.find_referenced_templates(stage.app.jinja_env.parse(source)) if name}
