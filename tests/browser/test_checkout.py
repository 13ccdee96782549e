"""The checkout form with its script: what it does earlier than the server, it does as the server."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from flask_zeus_cvs.customer import Customer, checked, normalize
from flask_zeus_cvs.exceptions import InvalidCustomer
from flask_zeus_cvs.models import Payment
from flask_zeus_cvs.protocol.codes import STORES
from flask_zeus_cvs.web.wording import message_for
from tests.browser.looking import PHONE
from tests.customer_pages import HANAKO, TYPED, Stage

Checkout = Callable[..., Page]

#: What the script writes into the field when the customer leaves it.
LEAVE = """names => {
  const field = document.querySelector("input[name=name]");
  return names.map(name => {
    field.value = name;
    field.dispatchEvent(new Event("change"));
    return field.value;
  });
}"""
KANA = "あかがぱゔんっゃゎゐゕァカガパヴワヲンッャヮヰヵヶｱｶﾊｳｦｰヷヺヽゝ"
MARKS = "゛゜ﾞﾟ\u3099\u309a"
HYPHENS = "-ーｰ\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u2500\u2501\ufe58\ufe63\uff0d〜"
BLANKS = " \t\u00a0\u2003\u200a\u202f\u3000\u00ad\u200b\u200d\u2066\ufeff"


@pytest.fixture
def checkout(browser: Browser, stage: Stage, home: str) -> Iterator[Checkout]:
    """Open the form of a payment of its own, in Japanese on a phone."""
    with ExitStack() as contexts:

        def checkout(script: bool = True, **given: Any) -> Page:
            with stage.app.test_request_context():
                payment = stage.zeus.create_payment(amount=3480, reference="A-1001", **given)
                stage.db.session.commit()
                path = payment.checkout_url
            context = browser.new_context(
                locale="ja", viewport={"width": PHONE, "height": 740}, java_script_enabled=script
            )
            page = contexts.enter_context(context).new_page()
            page.goto(home + path)
            return page

        yield checkout


def field(page: Page, name: str) -> Any:
    return page.locator(f"input[name={name}]")


def type_everything(page: Page) -> None:
    page.get_by_label("ローソン").check()
    for name, value in TYPED.items():
        field(page, name).fill(value)


def button(page: Page) -> Any:
    return page.locator("button[type=submit]")


def posts(page: Page) -> list[str]:
    """Collect what is sent from now on."""
    sent: list[str] = []
    page.context.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    return sent


def names() -> list[str]:
    """Every character that a field can hold, every kana with every mark, and many a mixture."""
    alone = [chr(each) for each in range(0x10000) if not 0xD800 <= each < 0xE000 and chr(each) not in "\r\n"]
    pairs = [
        f"{kana}{between}{mark}" for kana in KANA for between in ("", "\u200b") for mark in MARKS + HYPHENS
    ]
    chance = random.Random(5)
    letters = KANA + MARKS + HYPHENS + BLANKS + "山A1𠮷"
    mixed = ["".join(chance.choices(letters, k=chance.randint(0, 12))) for _ in range(5000)]
    return [*(f"ア{each}イ" for each in alone), *alone, *pairs, *mixed]


# The name


def test_a_name_becomes_what_the_server_makes_of_it(checkout: Checkout) -> None:
    """Whatever was typed, the field holds afterwards exactly what the server would send."""
    typed = names()
    written = checkout().evaluate(LEAVE, typed)
    wrong = [
        (name, found, wanted)
        for name, found in zip(typed, written, strict=True)
        if found != (wanted := normalize(Customer(name=name)).name)
    ]

    assert len(typed) > 100_000
    assert wrong == []


def test_a_name_becomes_katakana_when_the_field_is_left(checkout: Checkout) -> None:
    """While it is typed nothing is touched; then it is put right, and the keyboard is where it was going."""
    page = checkout()
    field(page, "name").press_sequentially("やまだ ﾊﾅｺ")
    expect(field(page, "name")).to_have_value("やまだ ﾊﾅｺ")
    page.keyboard.press("Tab")

    expect(field(page, "name")).to_have_value("ヤマダ　ハナコ")
    expect(field(page, "phone")).to_be_focused()


@pytest.mark.parametrize(
    "name", ["山田", "やまだ 花子", "Taro", "ジョン・スミス", "ヤマヽ", "ヤマ𠮷", "ヤマ１"]
)
def test_what_is_no_katakana_is_said_at_once(checkout: Checkout, name: str) -> None:
    """In the server's own words, before the field is left; and it is unsaid as soon as it is mended."""
    with pytest.raises(InvalidCustomer) as refused:
        checked(Customer(name, HANAKO.phone, HANAKO.email))
    page = checkout()
    field(page, "name").fill(name)

    expect(page.locator(".zeus-notice")).to_have_text(message_for(refused.value.problems[0]))
    field(page, "name").fill("やまだ")
    expect(page.locator(".zeus-notice")).to_have_text("")


@pytest.mark.parametrize("name", ["やまだ　はなこ", "ｳﾞｧﾝ-ダイク", "か゛", " ", "ヤ" * 21, "ヤマ\u0007"])
def test_what_only_the_server_can_judge_is_left_to_it(checkout: Checkout, name: str) -> None:
    """Good names hear nothing, and neither does what is wrong in another way."""
    page = checkout()
    field(page, "name").fill(name)

    expect(page.locator(".zeus-notice")).to_have_text("")


def test_a_kanji_name_from_the_shop_is_told_of_at_once(checkout: Checkout) -> None:
    """An order form has the name as it is written; the customer need not send it to learn what is asked for."""
    page = checkout(customer=Customer("山田花子", HANAKO.phone, HANAKO.email))

    expect(page.locator(".zeus-notice")).to_contain_text("「山」")


# The stores


def test_every_store_is_a_large_button(checkout: Checkout) -> None:
    """Wherever a finger touches it, it is chosen; and each has a colour of its own."""
    page = checkout()
    tiles = page.locator(".zeus-store").all()
    colours = set()
    for tile in tiles:
        box = tile.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 72
        tile.click(position={"x": box["width"] - 5, "y": box["height"] - 5})
        expect(tile.locator("input")).to_be_checked()
        colours.add(tile.locator("label").evaluate("label => getComputedStyle(label).borderTopColor"))

    assert len(tiles) == len(colours) == len(STORES)


def test_stores_are_chosen_with_the_keyboard(checkout: Checkout) -> None:
    """Space takes the first, arrows go through them, and what has the focus can be seen."""
    page = checkout()
    field(page, "store").first.focus()
    page.keyboard.press("Space")
    expect(field(page, "store").first).to_be_checked()
    page.keyboard.press("ArrowDown")

    expect(field(page, "store").nth(1)).to_be_checked()
    assert (
        page.locator(".zeus-store label").nth(1).evaluate("each => getComputedStyle(each).outlineStyle")
        == "solid"
    )


# What is missing


def test_what_is_missing_is_said_without_asking_the_server(checkout: Checkout) -> None:
    """In the server's words, at each field, with the focus on the first; it goes when it is mended."""
    page = checkout()
    sent = posts(page)
    field(page, "phone").fill("09012345678")
    field(page, "email").fill(" ")
    button(page).click()

    expect(field(page, "store").first).to_be_focused()
    with pytest.raises(InvalidCustomer) as refused:
        checked(Customer("", "09012345678", " "))
    said = ["コンビニを選んでください。", *map(message_for, refused.value.problems)]
    expect(page.locator(".zeus-error")).to_have_text(said)
    expect(field(page, "name")).to_have_attribute("aria-invalid", "true")
    assert "zeus-name-error" in (field(page, "name").get_attribute("aria-describedby") or "")
    page.get_by_label("ローソン").check()
    field(page, "name").fill("ヤ")
    expect(page.locator(".zeus-error")).to_have_text(said[-1])
    button(page).click()
    expect(field(page, "email")).to_be_focused()
    assert sent == []


def test_enter_goes_to_the_next_empty_field(checkout: Checkout) -> None:
    """A phone's keyboard says "next" and goes there; with nothing left to fill in, Enter sends."""
    page = checkout()
    page.get_by_label("ローソン").check()
    field(page, "email").fill(TYPED["email"])
    field(page, "name").fill(TYPED["name"])
    page.keyboard.press("Enter")
    expect(field(page, "phone")).to_be_focused()
    field(page, "phone").fill(TYPED["phone"])
    page.keyboard.press("Enter")

    page.wait_for_url("**/result/**")


# Sending


def send_and_stay(page: Page) -> None:
    """Send the form into another tab, so that what becomes of its own page can be looked at."""
    page.locator(".zeus-checkout").evaluate("form => { form.target = 'elsewhere' }")
    type_everything(page)
    with page.expect_popup() as popup:
        button(page).click()
    popup.value.wait_for_url("**/result/**")


def test_the_button_cannot_be_pressed_twice(checkout: Checkout) -> None:
    """Until the next page is there it says that it is sending; further clicks and keys send nothing."""
    page = checkout()
    sent = posts(page)
    send_and_stay(page)

    expect(button(page)).to_have_text("送信しています…")
    expect(button(page)).to_be_disabled()
    expect(page.get_by_role("status")).to_contain_text("お待ちください")
    button(page).click(force=True)
    button(page).press("Enter")
    field(page, "email").press("Enter")
    page.evaluate(
        "fetch('/favicon.ico').then(answer => answer.status)"
    )  # what was sent before is known by now
    assert len(sent) == 1


def test_the_button_is_free_again_on_coming_back(checkout: Checkout) -> None:
    """A browser that kept the page as it was does not keep the button locked."""
    page = checkout()
    label = button(page).inner_text()
    send_and_stay(page)
    expect(button(page)).to_be_disabled()
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")

    expect(button(page)).to_be_enabled()
    expect(button(page)).to_have_text(label)
    expect(page.get_by_role("status")).to_have_text("")


# Details that the shop has passed


@pytest.mark.parametrize("script", [True, False])
def test_known_details_need_only_a_store(checkout: Checkout, script: bool) -> None:
    """They are read, not typed: one tap on a store, one on the button."""
    page = checkout(script, customer=HANAKO)
    expect(page.locator("summary")).to_contain_text(HANAKO.name)
    expect(field(page, "name")).not_to_be_visible()
    page.get_by_label("ローソン").check()
    button(page).click()

    page.wait_for_url("**/result/**")


@pytest.mark.parametrize("script", [True, False])
def test_known_details_can_be_changed(checkout: Checkout, stage: Stage, script: bool) -> None:
    """With the keyboard alone: the fields take the place of what stood there, and what they hold is sent."""
    page = checkout(script, customer=HANAKO)
    page.locator("summary").press("Enter")
    expect(page.locator("summary")).not_to_be_visible()
    if script:
        expect(field(page, "name")).to_be_focused()
    field(page, "name").fill("さとう はなこ")
    page.get_by_label("ローソン").check()
    button(page).click()
    page.wait_for_url("**/result/**")

    with stage.app.app_context():
        token = page.url.rpartition("/")[2]
        payment = stage.db.session.query(Payment).filter_by(token=token).one()
        assert payment.last_customer.name == "サトウ　ハナコ"


def test_details_emptied_by_hand_are_asked_for(checkout: Checkout) -> None:
    """The field to go to is open."""
    page = checkout(customer=HANAKO)
    page.locator("summary").click()
    field(page, "phone").fill("")
    page.get_by_label("ローソン").check()
    button(page).click()

    expect(field(page, "phone")).to_be_focused()
