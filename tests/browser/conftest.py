"""The demo, as ``make demo`` starts it, once for each worker of the test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from example_shop.tests.running import RunningDemo


@pytest.fixture(scope="session")
def base_url() -> str:
    """Stand in for pytest-base-url's own fixture, over which pytest 9 complains."""
    return ""


@pytest.fixture(scope="session")
def demo(chromium: str) -> Iterator[RunningDemo]:  # without a browser there is no need to start it
    """A running shop and sandbox."""
    with RunningDemo() as demo:
        yield demo
