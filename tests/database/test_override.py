"""A shop replaces one template, one block, one text or the frame: nothing else changes by a byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine
from babel.messages import Catalog
from babel.messages.mofile import write_mo
from flask import Flask
from flask_babel import Babel  # type: ignore[import-untyped]

import flask_zeus_cvs
from flask_zeus_cvs.clock import now
from tests.customer_pages import LANGUAGES, PAGES, Shown, Stage

TEMPLATES = Path(flask_zeus_cvs.__file__).parent / "templates"
#: The one thing in a page that is another each time it is asked for.
_TOKEN = re.compile(r'(name="csrf_token"[^>]*value=")[^"]*')

#: Every page in every language, as two shops show it that share their customers.
Compare = Callable[..., Iterator[tuple[Shown, str, str, str]]]


@pytest.fixture
def compare(tmp_path: Path) -> Iterator[Compare]:
    """Compare a shop that overrides something with one that does not."""
    stages = [Stage(tmp_path)]

    def compare(
        files: dict[str, str] | None = None, **settings: Any
    ) -> Iterator[tuple[Shown, str, str, str]]:
        for name, text in (files or {}).items():
            path = tmp_path / "own" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        stages.append(Stage(tmp_path, templates=tmp_path / "own", **settings))
        plain, own = stages
        with time_machine.travel(now(), tick=False):
            for shown in PAGES:
                path_of_page = plain.bring(shown)
                for language in LANGUAGES:
                    before, after = (_text(each, shown, path_of_page, language) for each in (plain, own))
                    yield shown, language, before, after

    yield compare
    for stage in stages:
        stage.close()


def _text(stage: Stage, shown: Shown, path: str, language: str) -> str:
    return _TOKEN.sub(r"\1", stage.show(shown, path, language).text)


def test_one_stores_template(compare: Compare) -> None:
    """A shop knows better how one store's machine works: that store's pages change, and no other."""
    files = {
        "zeus_cvs/result/lawson.html": (
            '{% extends "zeus_cvs/result/numbers.html" %}'
            "{% block steps %}<li>our own step for {{ store.name }}</li>{% endblock %}"
        )
    }
    changed = set()
    for shown, _, plain, own in compare(files):
        if shown.template == "result/lawson.html":
            assert ("our own step" in own) is ("<li>" in plain)
            changed.add(shown.name)
        else:
            assert own == plain, shown.name

    assert changed


@pytest.mark.parametrize(
    ("template", "block"), [("result/paid.html", "back"), ("checkout.html", "back"), ("page.html", "summary")]
)
def test_one_block_of_one_page(compare: Compare, template: str, block: str) -> None:
    """A shop's template extends the original that it replaces, and adds to one block of it; the rest stays ours."""
    files = {
        f"zeus_cvs/{template}": (
            f'{{% extends "zeus_cvs_original/{template}" %}}'
            f"{{% block {block} %}}{{{{ super() }}}}<p>our own line</p>{{% endblock %}}"
        )
    }
    changed = set()
    for shown, _, plain, own in compare(files):
        assert own.replace("<p>our own line</p>", "") == plain, shown.name
        changed |= {shown.template} if own != plain else set()

    assert changed == ({each.template for each in PAGES} if template == "page.html" else {template})


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_text(compare: Compare, language: str) -> None:
    """A shop says one thing in its own words, in one language; the page is the same but for these words."""
    plain_words = {"ja": "ご注文番号", "en": "Order number"}[language]
    texts = {language: {"ご注文番号": "ご予約番号 <1>"}}
    changed = set()
    for shown, spoken, plain, own in compare(TEXTS=texts):
        if spoken == language:
            assert own == plain.replace(f">{plain_words}<", ">ご予約番号 &lt;1&gt;<"), shown.name
            changed |= {shown.name} if own != plain else set()
        else:
            assert own == plain, shown.name

    assert len(changed) > len(PAGES) / 2


def test_the_frame(compare: Compare) -> None:
    """A shop's own base template stands round every page, and what it stands round is ours to the byte."""
    original = (TEMPLATES / "zeus_cvs" / "base.html").read_text("utf-8")
    marked = original.replace("<main>", "<header>our own shop</header><main>")
    files = {"shop/frame.html": marked}
    for shown, _, plain, own in compare(files, BASE_TEMPLATE="shop/frame.html"):
        assert own.replace("<header>our own shop</header>", "", 1) == plain, shown.name
        assert own != plain


def test_the_frames_own_texts_stay_the_shops(tmp_path: Path) -> None:
    """A frame says its own texts by the same names, `_` and `ngettext`: Flask-Babel translates them as elsewhere."""
    frame = tmp_path / "templates" / "frame.html"
    frame.parent.mkdir()
    frame.write_text(
        '{{ _("Cart of %(name)s", name="A&B") }}|{{ ngettext("%(num)s cup", "%(num)s cups", 2) }}|{{ _("New") }}|'
        "{% block title %}{% endblock %}{% block head %}{% endblock %}{% block content %}{% endblock %}",
        "utf-8",
    )
    texts = Catalog(locale="en")
    texts.add("Cart of %(name)s", "%(name)s's basket")
    texts.add(("%(num)s cup", "%(num)s cups"), ("one bowl", "%(num)s bowls"))
    compiled = tmp_path / "translations" / "en" / "LC_MESSAGES" / "messages.mo"
    compiled.parent.mkdir(parents=True)
    with compiled.open("wb") as file:
        write_mo(file, texts)
    stage = Stage(tmp_path, select=None, BASE_TEMPLATE="frame.html")
    stage.app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(tmp_path / "translations")
    Babel(stage.app, locale_selector=lambda: "en")
    page = stage.show(PAGES[0], stage.bring(PAGES[0])).text
    stage.close()

    assert page.lstrip().startswith("A&amp;B's basket|2 bowls|New|Pay at a convenience store")


def test_a_bare_frame_is_enough(compare: Compare) -> None:
    """A frame needs three blocks and none of our names: all between them is what ours shows, to the byte."""
    frame = "{% block title %}{% endblock %}<hr>{% block head %}{% endblock %}<hr>{% block content %}{% endblock %}<hr>"
    for shown, _, plain, own in compare({"shop/frame.html": frame}, BASE_TEMPLATE="shop/frame.html"):
        title, head, content, _ = own.split("<hr>")
        assert title.strip() in plain, shown.name
        assert head in plain
        assert content in plain
        assert 'class="zeus-cvs' in content


def test_the_shops_other_templates_are_left_alone(tmp_path: Path) -> None:
    """The shop's own templates get neither our functions nor our names."""
    stage = Stage(tmp_path, select=None)

    assert set(stage.app.jinja_env.globals) == set(Flask(__name__).jinja_env.globals)
    stage.close()


def test_every_block_is_documented() -> None:
    """The page on templates names the blocks that a shop may count on: all that there are, where they are."""
    paper = (Path(__file__).parents[2] / "docs" / "3-pages.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w/]+\.html)`[^|]* \| ((?:`\w+`(?:, )?)+) \|$", paper, flags=re.M)
    listed = {template: set(re.findall(r"`(\w+)`", names)) for template, names in rows}
    there = {
        path.relative_to(TEMPLATES / "zeus_cvs").as_posix(): _blocks(path)
        for path in TEMPLATES.rglob("*.html")
        if path.parent != TEMPLATES / "zeus_cvs" / "admin"  # these have Flask-Admin's
    }

    assert all(names <= there[template] for template, names in listed.items())
    assert set().union(*there.values()) == set().union(*listed.values())


def _blocks(path: Path) -> set[str]:
    return set(re.findall(r"\{%-? block (\w+)", path.read_text("utf-8")))
