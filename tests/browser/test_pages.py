"""Every page of the customer's, in every state, language and width: nothing is wrong with it."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Windows
from tests.browser.looking import PHONE, WIDTHS, axe, cut, double_text
from tests.customer_pages import LANGUAGES, PAGES, Shown, Stage


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("shown", PAGES, ids=str)
def test_nothing_is_wrong(stage: Stage, windows: Windows, shown: Shown, language: str, width: int) -> None:
    """No violation of accessibility or policy, no error, no request elsewhere; light, still, and nothing sticks out."""
    watched = windows(language, width)
    page = watched.open(stage, shown)
    faults = [*watched.faults(), *axe(page), *cut(page)]
    if width == PHONE:
        double_text(page)
        faults += [f"at 200 %: {each}" for each in cut(page)]

    assert not faults, "\n".join(faults)
    assert not stage.reports
