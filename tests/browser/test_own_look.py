"""A shop's own look: its colours reach our pages, whichever style sheet comes first; ours reach nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from example_shop.tests.running import serving
from tests.browser.looking import PHONE, axe
from tests.customer_pages import FORMS, PAGES, Stage

FRAME = """<!doctype html>
<html lang="ja">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{% block title %}{% endblock %}</title>
BEFORE{% block head %}{% endblock %}AFTER
</head>
<body>
<header><h2>Shop</h2><p class="zeus-amount"><a href="/">Home</a></p></header>
<main>{% block content %}{% endblock %}</main>
</body>
</html>
"""
LINK = '<link rel="stylesheet" href="/static/shop.css">'
STYLE = ".zeus-cvs { --zeus-accent: #7a1f5c; --zeus-text: #102030 }"
PURPLE, DARK, BLACK = "rgb(122, 31, 92)", "rgb(16, 32, 48)", "rgb(0, 0, 0)"


@pytest.mark.parametrize(("before", "after"), [(LINK, ""), ("", LINK)], ids=["before ours", "after ours"])
def test_colours(browser: Browser, tmp_path: Path, before: str, after: str) -> None:
    """A shop's variables win in either order; what stands outside our pages keeps its own look."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "frame.html").write_text(FRAME.replace("BEFORE", before).replace("AFTER", after), "utf-8")
    (own / "shop.css").write_text(STYLE, "utf-8")
    stage = Stage(tmp_path, templates=own, BASE_TEMPLATE="frame.html")
    stage.app.static_folder = str(own)
    with serving(stage.app) as home, browser.new_context(viewport={"width": PHONE, "height": 740}) as context:
        page = context.new_page()
        page.goto(home + stage.bring(FORMS[0]))

        def style(selector: str, name: str) -> str:
            return str(page.locator(selector).first.evaluate(f"each => getComputedStyle(each)['{name}']"))

        assert style('button[type="submit"]', "backgroundColor") == PURPLE
        assert style(".zeus-cvs h1", "color") == DARK
        assert style("header h2", "color") == BLACK
        assert style("header p", "fontWeight") == "400"
        assert not axe(page)
    stage.close()


def test_every_id_is_ours(tmp_path: Path) -> None:
    """A shop's frame may have ids of its own: all of ours begin with zeus-."""
    stage = Stage(tmp_path)
    for shown in PAGES:
        page = stage.show(shown, stage.bring(shown)).text
        found = [each.partition('"')[0] for each in page.split(' id="')[1:]]
        assert not [each for each in found if not each.startswith(("zeus-", "csrf_token"))], shown.name
    stage.close()
