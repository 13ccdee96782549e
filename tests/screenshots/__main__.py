"""Take a picture of every page in every state, language and width; and the best few, small, for the papers.

All of it goes to ``build/screenshots``, with a page that shows them side by side; with ``--papers`` the best few go to
``docs/images`` as well. Everything happens on loopback, at one fixed hour, so that pictures change only when pages do.
"""

from __future__ import annotations

import argparse
import base64
import html
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import time_machine
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from example_shop.tests.running import serving
from flask_zeus_cvs.clock import JST
from tests.browser.looking import DESKTOP, PHONE, WIDTHS, Watched
from tests.conftest import CHROMIUM, CHROMIUM_FLAGS
from tests.customer_pages import LANGUAGES, PAGES, Shown, Stage
from tests.screenshots import office

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "screenshots"
PAPERS = ROOT / "docs" / "images"
HOUR = datetime(2026, 12, 1, 10, 30, tzinfo=JST)
PAPER = "print"

#: The best few, for the papers: the row, the language, the width.
BEST: tuple[tuple[str, str, int], ...] = (
    ("checkout-typed", "ja", PHONE),
    ("familymart", "ja", PHONE),
    ("familymart-counter", "ja", PHONE),
    ("paid", "ja", PHONE),
    ("seven-eleven", "en", PHONE),
    ("lawson", "ja", DESKTOP),
)
_QUALITY = 70


class Camera:
    """A browser of one language and width, and where its pictures go."""

    def __init__(self, browser: Browser, home: str, language: str, width: int) -> None:
        context = browser.new_context(
            locale=language,
            viewport={"width": width, "height": 740},
            device_scale_factor=2 if width == PHONE else 1,
        )
        self._watched = Watched(context, home)
        self._language, self._width = language, width

    def take(self, stage: Stage, shown: Shown, papers: bool) -> Path:
        """Take one picture; the counter mode fills the window, all else is as long as it is."""
        page = self._watched.open(stage, shown)
        page.wait_for_load_state()
        path = FOLDER / self._language / str(self._width) / f"{shown}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path, full_page=not shown.part)
        if papers and (shown.name, self._language, self._width) in BEST:
            self._take_for_papers(shown)
        return path

    def print(self, stage: Stage, shown: Shown) -> None:
        """Print a page on A4."""
        page = self._watched.open(stage, shown)
        path = FOLDER / self._language / PAPER / f"{shown}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        page.pdf(path=path, format="A4")

    def _take_for_papers(self, shown: Shown) -> None:
        """Take it again as WebP, a fraction of the bytes; Playwright itself writes PNG and JPEG only."""
        page = self._watched.page
        how: dict[str, Any] = {"format": "webp", "quality": _QUALITY}
        if not shown.part:
            how |= {"captureBeyondViewport": True, "clip": {**self._worth_seeing(page), "scale": 1}}
        data = page.context.new_cdp_session(page).send("Page.captureScreenshot", how)["data"]
        PAPERS.mkdir(parents=True, exist_ok=True)
        (PAPERS / f"{shown}-{self._language}-{self._width}.webp").write_bytes(base64.b64decode(data))

    def _worth_seeing(self, page: Page) -> FloatRect:
        """The page without its margins; on a telephone, up to the page's link and what comes after it."""
        page.evaluate("() => window.scrollTo(0, 0)")
        whole, link = page.locator(".zeus-cvs").bounding_box(), page.locator(".zeus-keep")
        assert whole is not None
        if self._width == PHONE and link.count():
            ends = link.bounding_box()
            whole["height"] = ends["y"] - whole["y"] if ends else whole["height"]
        return whole


@contextmanager
def shop() -> Iterator[tuple[Stage, str]]:
    """The small shop of the tests, at the hour of the pictures."""
    with tempfile.TemporaryDirectory() as folder, time_machine.travel(HOUR, tick=True):
        stage = Stage(Path(folder))
        with serving(stage.app) as home:
            yield stage, home
        stage.close()


def side_by_side(pictures: list[Path]) -> str:
    """A page with all pictures, a row for each state."""
    rows: dict[str, list[str]] = {}
    for path in pictures:
        rows.setdefault(path.stem, []).append(path.relative_to(FOLDER).as_posix())
    body = "".join(
        f"<h2>{html.escape(name)}</h2><p>" + "".join(f'<img src="{each}" loading="lazy"> ' for each in paths)
        for name, paths in rows.items()
    )
    style = "img { width: 22%; vertical-align: top; border: 1px solid #999 } body { font-family: sans-serif }"
    return f'<!doctype html><meta charset="utf-8"><title>Screenshots</title><style>{style}</style>{body}'


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--papers", action="store_true", help="renew docs/images, too")
    parser.add_argument("--only", default="", metavar="WORD", help="only pages whose name has this word")
    given = parser.parse_args()
    if CHROMIUM is None:
        sys.stderr.write(
            "Chromium was not found. On Debian and Ubuntu: apt-get install chromium fonts-noto-cjk\n"
        )
        return 1
    chosen = [each for each in PAGES if given.only in each.name]
    with shop() as (stage, home), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        cameras = [Camera(browser, home, language, width) for language in LANGUAGES for width in WIDTHS]
        pictures = [camera.take(stage, shown, given.papers) for shown in chosen for camera in cameras]
        for shown in chosen:
            if shown.template.startswith("result/") and not shown.part:
                cameras[0].print(stage, shown)
        if given.only in "office":
            pictures += office.take(browser, FOLDER, PAPERS if given.papers else None)
        browser.close()
    (FOLDER / "index.html").write_text(side_by_side(pictures), "utf-8")
    sys.stdout.write(f"{len(pictures)} pictures: {(FOLDER / 'index.html').relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
