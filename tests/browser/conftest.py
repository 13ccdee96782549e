"""What browser tests share: the demo, as ``make demo`` starts it, and a small shop that shows every page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser

from example_shop.tests.running import RunningDemo, serving
from flask_zeus_cvs.simulator import Simulator
from tests.browser.looking import Watched
from tests.customer_pages import Stage

Windows = Callable[[str, int], Watched]


@pytest.fixture(scope="session")
def base_url() -> str:
    """Stand in for pytest-base-url's own fixture, over which pytest 9 complains."""
    return ""


@pytest.fixture(scope="session")
def demo(chromium: str) -> Iterator[RunningDemo]:  # without a browser there is no need to start it
    """A running shop and sandbox."""
    with RunningDemo() as demo:
        yield demo


@pytest.fixture(scope="session")
def sandbox(chromium: str) -> Iterator[Simulator]:
    """The other side of `stage`."""
    with Simulator() as zeus:
        yield zeus


@pytest.fixture(scope="session")
def stage(sandbox: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A small shop, one for each worker of the test run."""
    stage = Stage(tmp_path_factory.mktemp("stage"), ENDPOINT=sandbox.endpoint)
    yield stage
    stage.close()


@pytest.fixture(scope="session")
def home(stage: Stage, sandbox: Simulator) -> Iterator[str]:
    """The address of the small shop, which the sandbox notifies."""
    with serving(stage.app) as address:
        sandbox.notify = f"{address}/zeus-cvs/callback"
        yield address


@pytest.fixture(scope="session")
def windows(browser: Browser, home: str) -> Iterator[Windows]:
    """A window for each language and width, kept open for all pages."""
    opened: dict[tuple[str, int], Watched] = {}
    with ExitStack() as contexts:

        def window(language: str, width: int) -> Watched:
            if (language, width) not in opened:
                context = browser.new_context(locale=language, viewport={"width": width, "height": 740})
                opened[language, width] = Watched(contexts.enter_context(context), home)
            return opened[language, width]

        yield window
