"""Customers with a real browser: each store, in both languages, on phone and desktop, with script and without."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from flask_zeus_cvs.models import Payment
from flask_zeus_cvs.protocol.codes import STORES, Store
from flask_zeus_cvs.simulator import Simulator
from tests.browser.looking import DESKTOP, PHONE, Watched, choose, cut, focus
from tests.customer_pages import HANAKO, LANGUAGES, TYPED, Stage

Visit = Callable[..., Watched]


@pytest.fixture
def visit(browser: Browser, home: str) -> Iterator[Visit]:
    """Open a browser of a customer's own."""
    with ExitStack() as contexts:

        def visit(language: str = "ja", width: int = PHONE, script: bool = True) -> Watched:
            context = browser.new_context(
                locale=language, viewport={"width": width, "height": 740}, java_script_enabled=script
            )
            return Watched(contexts.enter_context(context), home)

        yield visit


def paths(stage: Stage, **given: Any) -> tuple[str, str]:
    """Create a payment; return the paths of its checkout and of its result."""
    with stage.app.test_request_context():
        payment = stage.zeus.create_payment(**{"amount": 3480, "reference": "A-1001", **given})
        stage.db.session.commit()
        return payment.checkout_url, payment.result_url


def type_details(page: Page, **changes: str) -> None:
    for name, value in {**TYPED, **changes}.items():
        page.locator(f'input[name="{name}"]').fill(value)


def numbers_of(stage: Stage, result: str) -> tuple[str, list[str]]:
    """The order number of a slip, and its payment numbers in the order in which the store's machine asks for them."""
    with stage.app.app_context():
        token = result.rpartition("/")[2]
        payment = stage.db.session.query(Payment).filter_by(token=token).one()
        (slip,) = payment.applications
        numbers = [slip.pay_no1, slip.pay_no2]
        if slip.store is Store.FAMILYMART:
            numbers.reverse()
        return str(slip.order_no), [each for each in numbers if each]


def digits(page: Page) -> str:
    """What the page says, without the gaps that make numbers readable."""
    return re.sub(r"[\s-]", "", page.locator("body").inner_text())


def is_paid(stage: Stage, page: Page, path: str) -> None:
    page.reload()
    assert stage.templates[path] == "zeus_cvs/result/paid.html"
    expect(page.locator("h1")).to_be_visible()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("store", list(Store), ids=lambda store: STORES[store].slug)
def test_apply_and_pay(
    stage: Stage, sandbox: Simulator, visit: Visit, store: Store, language: str, width: int, script: bool
) -> None:
    """Choose a store, type, send, read the numbers in the machine's order, pay, and be told so."""
    watched, (checkout, result) = visit(language, width, script), paths(stage)
    page = watched.page
    page.goto(watched.home + checkout)
    assert page.locator("html").get_attribute("lang") == language
    choose(page, store)
    type_details(page)
    page.locator('form button[type="submit"]').click()
    if store is Store.SEVEN_ELEVEN:
        expect(page).to_have_url(re.compile(re.escape(sandbox.url)))
        page.goto(watched.home + result)
    expect(page).to_have_url(watched.home + result)

    order_no, numbers = numbers_of(stage, result)
    said = digits(page)
    assert [said.index(each) for each in numbers] == sorted(said.index(each) for each in numbers)
    assert "23:59" in said
    assert not cut(page)
    sandbox.pay(order_no)
    sandbox.settle()
    is_paid(stage, page, result)


def tab_to(page: Page, **wanted: str) -> None:
    """Press Tab until what is wanted has the focus; wherever the focus comes to, it can be seen."""
    for _ in range(40):
        page.keyboard.press("Tab")
        held = focus(page)
        assert held["visible"], f"the focus cannot be seen on {held}"
        if all(held[name] == value for name, value in wanted.items()):
            return
    raise AssertionError(f"Tab does not come to {wanted}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_keyboard_alone(stage: Stage, visit: Visit, language: str) -> None:
    """Tab, Space, arrows and Enter are enough from the empty form to the numbers."""
    watched, (checkout, result) = visit(language), paths(stage, return_url="/orders/A-1001")
    page = watched.page
    page.goto(watched.home + checkout)
    tab_to(page, type="radio")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    for name, value in TYPED.items():
        tab_to(page, name=name)
        page.keyboard.type(value)
    tab_to(page, type="submit")
    page.keyboard.press("Enter")
    expect(page).to_have_url(watched.home + result)

    assert numbers_of(stage, result)[1][0] in digits(page)
    links = page.locator('a[href="/orders/A-1001"]')
    tab_to(page, tag="A", text=links.first.inner_text().strip())


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_errors_have_the_focus(stage: Stage, visit: Visit, script: bool) -> None:
    """After a form that is wrong the focus is on what to mend, and leads by Tab and Enter to the field itself."""
    watched, (checkout, _) = visit(script=script), paths(stage)
    page = watched.page
    page.goto(watched.home + checkout)
    choose(page, Store.LAWSON)
    type_details(page, name="山田 花子")
    page.locator('form button[type="submit"]').click()
    summary = page.locator('[role="alert"]').first
    expect(summary).to_be_focused()

    page.keyboard.press("Tab")
    expect(summary.locator("a").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator('input[name="name"]')).to_be_focused()
    assert page.locator('input[name="name"]').get_attribute("aria-invalid") == "true"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_nothing_needs_to_be_typed(stage: Stage, visit: Visit, script: bool) -> None:
    """Where the shop passes the details on, a customer touches a store and the button."""
    watched, (checkout, result) = visit(script=script), paths(stage, customer=HANAKO)
    page = watched.page
    page.goto(watched.home + checkout)
    choose(page, Store.SEICOMART)
    page.locator('form button[type="submit"]').click()
    expect(page).to_have_url(watched.home + result)

    assert numbers_of(stage, result)[1][0] in digits(page)
