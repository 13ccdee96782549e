"""The result page in a customer's hands: copying, counter mode, news of the payment, paper, and the way to the phone."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Browser, Page, Request, Route, expect

from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.models import Payment
from tests.browser.looking import DESKTOP, PHONE
from tests.customer_pages import PAGES, Shown, Stage

Visit = Callable[..., Page]
ROWS = {each.name: each for each in PAGES}
PATIENCE = 10_000

#: Stands in for a lock that headless browsers do not have.
_WAKE_LOCK = """
window.locks = {held: 0, asked: 0};
Object.defineProperty(navigator, "wakeLock", {value: {request: async () => {
  locks.asked += 1; locks.held += 1;
  const lock = new EventTarget();
  lock.release = async () => { locks.held -= 1; lock.dispatchEvent(new Event("release")); };
  return lock;
}}});
"""
#: Stands in for another tab in front of this one.
_HIDE = """hidden => {
  Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
  Object.defineProperty(document, "visibilityState", {value: hidden ? "hidden" : "visible", configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def visit(browser: Browser, stage: Stage, home: str) -> Iterator[Visit]:
    """Open a row's page in a browser of the customer's own."""
    with ExitStack() as contexts:

        def visit(row: str | Shown, width: int = PHONE, script: bool = True, **more: Any) -> Page:
            context = contexts.enter_context(
                browser.new_context(
                    locale="ja", viewport={"width": width, "height": 740}, java_script_enabled=script, **more
                )
            )
            context.add_init_script(_WAKE_LOCK)
            page = context.new_page()
            page.clock.install()
            page.goto(home + stage.bring(ROWS[row] if isinstance(row, str) else row))
            page.wait_for_load_state()
            return page

        yield visit


def turn(stage: Stage, page: Page, state: State) -> None:
    """Have the payment of this page go on, as a notice would."""
    token = re.search(r"/result/([\w-]+)", page.url)
    assert token is not None
    with stage.app.app_context():
        payment = stage.db.session.query(Payment).filter_by(token=token[1]).one()
        payment.applications[0].stored_state = state
        stage.db.session.commit()


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(_HIDE, hidden)


def opener(page: Page) -> Any:
    return page.get_by_role("link", name="番号だけを大きく表示する")


def counter(page: Page) -> Any:
    return page.locator("#zeus-counter")


# Copying


def test_copy_takes_the_plain_number(visit: Visit, home: str) -> None:
    """The button copies the digits without their gaps, says so to eyes and ears, and is itself again after a while."""
    page = visit("familymart", permissions=["clipboard-read", "clipboard-write"])
    button = page.get_by_role("button", name="注文番号をコピー")
    button.click()

    expect(button).to_have_text("コピーしました")
    page.clock.run_for(200)
    expect(page.get_by_role("status")).to_have_text("コピーしました")
    assert page.evaluate("() => navigator.clipboard.readText()") == "201948573620"
    page.clock.run_for(4000)
    expect(button).to_have_text("コピー")


def test_copy_that_fails_says_so(visit: Visit) -> None:
    """Where the browser refuses, the customer is told to copy by hand."""
    page = visit("lawson")
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()) }")
    page.get_by_role("button", name="受付番号をコピー").click()

    expect(page.get_by_role("button", name="受付番号をコピー")).to_contain_text("コピーできませんでした")


def test_marked_digits_are_the_plain_number(visit: Visit) -> None:
    """Who marks a number by hand gets it without gaps, too."""
    page = visit("seven-eleven-no-link")
    marked = page.evaluate(
        """() => {
          getSelection().selectAllChildren(document.querySelector(".zeus-digits"));
          return getSelection().toString();
        }"""
    )

    assert marked == "4912345678901"


def test_without_a_script_nothing_promises_one(visit: Visit) -> None:
    """No button that does nothing is seen; numbers, deadline, steps, link and calendar are."""
    page = visit("familymart", DESKTOP, script=False)

    assert not [each for each in page.get_by_role("button").all() if each.is_visible()]
    for text in ("企業コード", "23:59まで", "領収書を受け取ります"):
        expect(page.get_by_text(text).first).to_be_visible()
    expect(page.get_by_role("link", name="期限をカレンダーに入れる")).to_be_visible()


# Counter mode


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("way", ["close", "back"])
def test_counter_mode_opens_and_closes(visit: Visit, script: bool, way: str) -> None:
    """One tap shows the store and the numbers over the whole window; the button and the way back both close it."""
    page = visit("familymart", script=script)
    opener(page).click()

    expect(counter(page)).to_be_visible()
    expect(counter(page).get_by_role("heading")).to_have_text("ファミリーマート")
    assert counter(page).bounding_box() == {"x": 0, "y": 0, "width": PHONE, "height": 740}
    assert [each.inner_text() for each in counter(page).locator("dd").all()] == ["90210", "201948573620"]

    counter(page).get_by_role("link", name="閉じる").click() if way == "close" else page.go_back()
    expect(counter(page)).to_be_hidden()
    expect(opener(page)).to_be_visible()


def test_counter_mode_needs_no_network(visit: Visit) -> None:
    """In the corner without reception it opens, is read, and closes; looking for news changes nothing."""
    page = visit("lawson")
    page.context.set_offline(True)
    opener(page).click()
    page.clock.run_for(120_000)

    expect(counter(page)).to_be_visible()
    assert [each.inner_text() for each in counter(page).locator("dd").all()] == ["483920", "715604"]
    counter(page).get_by_role("link", name="閉じる").click()
    expect(opener(page)).to_be_visible()


def test_counter_mode_keeps_the_screen_awake_while_it_is_open(visit: Visit) -> None:
    """The lock is asked for when it opens and when the telephone comes back, and given back when it closes."""
    page = visit("lawson")
    assert page.evaluate("() => locks.asked") == 0
    opener(page).click()
    page.wait_for_function("() => locks.held === 1")
    page.evaluate("() => { locks.held = 0 }")
    page.keyboard.press("Escape")
    expect(counter(page)).to_be_hidden()
    opener(page).click()
    page.wait_for_function("() => locks.asked === 2")
    page.go_back()
    page.wait_for_function("() => locks.held <= 0")


def test_counter_mode_keeps_the_keyboard_inside(visit: Visit) -> None:
    """While it is open nothing behind it takes the focus; closed, the focus is where it was."""
    page = visit("seicomart")
    opener(page).focus()
    page.keyboard.press("Enter")
    expect(counter(page)).to_be_focused()
    reached = set()
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.textContent.trim().slice(0, 20)"))
    assert "閉じる" in reached
    assert not any("コピー" in each for each in reached)
    inside = (
        "() => [...document.querySelectorAll('a, button')].filter(each => !each.closest('[inert]')).length"
    )
    assert page.evaluate(inside) == 1
    page.keyboard.press("Escape")
    expect(opener(page)).to_be_focused()
    assert page.evaluate("() => document.querySelectorAll('[inert]').length") == 0


@pytest.mark.parametrize("size", [(320, 568), (360, 640), (640, 360), (1280, 800)])
@pytest.mark.parametrize("row", ["familymart", "seven-eleven-no-link", "seicomart", "daily-yamazaki"])
def test_counter_mode_fits_the_window(visit: Visit, row: str, size: tuple[int, int]) -> None:
    """Everything is seen at once, upright or on its side, and the digits are larger than on the page."""
    page = visit(row)
    small = page.evaluate(
        "() => parseFloat(getComputedStyle(document.querySelector('.zeus-digits')).fontSize)"
    )
    page.set_viewport_size({"width": size[0], "height": size[1]})
    opener(page).click()
    height, shown, width, wide, large = page.evaluate(
        """() => {
          const counter = document.getElementById("zeus-counter"), digits = counter.querySelector("dd");
          return [counter.scrollHeight, counter.clientHeight, counter.clientWidth, counter.scrollWidth,
                  parseFloat(getComputedStyle(digits).fontSize)];
        }"""
    )

    assert (height, wide) == (shown, width)
    assert large > 1.5 * small


# News


@pytest.mark.parametrize("open_counter", [False, True])
def test_page_says_by_itself_that_it_is_paid(visit: Visit, stage: Stage, open_counter: bool) -> None:
    """Standing at the till, the customer sees the payment arrive without touching anything, counter mode or not."""
    page = visit("lawson")
    if open_counter:
        opener(page).click()
    turn(stage, page, State.RECEIVED)
    page.clock.run_for(5000)

    expect(page.get_by_role("heading", level=1)).to_have_text("お支払いを確認しました", timeout=PATIENCE)
    expect(page.get_by_role("link", name="ショップに戻る")).to_be_visible()


def watched(page: Page) -> list[Request]:
    """Collect the looks that the page takes from now on."""
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request) if request.url.endswith("/state") else None)
    return seen


def pass_time(page: Page, seconds: int) -> None:
    """Let time pass for the page, with a breath for its answers after each step."""
    for _ in range(seconds // 5):
        page.clock.run_for(5000)
        page.evaluate("() => new Promise(done => fetch(location.href).then(done))")


def test_looks_grow_rare_and_end(visit: Visit) -> None:
    """Looks come after 5 seconds, then ever more rarely, down to one a minute; after half an hour the page rests."""
    page = visit("lawson")
    seen = watched(page)
    pass_time(page, 60)
    first_minute = len(seen)
    pass_time(page, 600)
    before = len(seen)
    pass_time(page, 1500)
    at_the_end = len(seen)
    expect(page.get_by_text("自動更新を停止しています")).to_be_visible()
    pass_time(page, 300)

    assert 3 <= first_minute <= 6
    assert 8 <= before - first_minute <= 12
    assert len(seen) == at_the_end
    hide(page, True)
    hide(page, False)
    expect(page.get_by_text("自動更新を停止しています")).to_be_hidden()


def test_hidden_page_does_not_ask(visit: Visit, stage: Stage) -> None:
    """A telephone in a pocket asks nothing; taken out again, the page looks at once."""
    page = visit("lawson")
    seen = watched(page)
    hide(page, True)
    pass_time(page, 300)
    assert not seen

    turn(stage, page, State.RECEIVED)
    hide(page, False)
    expect(page.get_by_role("heading", level=1)).to_have_text("お支払いを確認しました", timeout=PATIENCE)


@pytest.mark.parametrize("status", [403, 404])
def test_page_that_is_gone_is_left_in_peace(visit: Visit, status: int) -> None:
    """Refused once, the script asks no more; what was shown stays."""
    page = visit("lawson")
    page.route("**/state", lambda route: route.fulfill(status=status))
    seen = watched(page)
    pass_time(page, 300)

    assert len(seen) == 1
    expect(page.get_by_text("自動更新を停止しています")).to_be_visible()
    expect(page.get_by_text("受付番号").first).to_be_visible()


def test_trouble_on_the_way_changes_nothing(visit: Visit, stage: Stage) -> None:
    """Errors, nonsense and silence from the server leave the numbers where they are, and the next look may succeed."""
    page = visit("lawson")
    troubles: list[Callable[[Route], None]] = [
        lambda route: route.fulfill(status=500),
        lambda route: route.fulfill(status=200, body="<html>"),
        lambda route: route.abort(),
        lambda route: route.fulfill(status=302, headers={"Location": "/login"}),
    ]
    page.route("**/state", lambda route: troubles.pop(0)(route) if troubles else route.continue_())
    turn(stage, page, State.RECEIVED)
    for _ in range(16):
        if troubles:
            expect(page.get_by_role("heading", level=1)).to_have_text("お支払い番号のご案内")
        page.clock.run_for(5000)
        page.wait_for_timeout(50)

    expect(page.get_by_role("heading", level=1)).to_have_text("お支払いを確認しました", timeout=PATIENCE)
    assert not troubles


# Paper, and the way to the telephone


@pytest.mark.parametrize("row", [name for name, each in ROWS.items() if each.state is State.AWAITING_PAYMENT])
def test_print_fits_one_sheet(visit: Visit, row: str) -> None:
    """On A4 with a printer's margins it is one page, with the numbers on it and no button."""
    page = visit(ROWS[row], DESKTOP)
    margin = dict.fromkeys(("top", "right", "bottom", "left"), "12mm")
    sheet = page.pdf(format="A4", margin=margin)  # type: ignore[arg-type]
    page.emulate_media(media="print")

    assert len(re.findall(rb"/Type\s*/Page\b", sheet)) == 1
    expect(page.locator(".zeus-numbers")).to_be_visible()
    assert not [each for each in page.locator("button, .zeus-button").all() if each.is_visible()]


def test_qr_code_is_for_desks_only(visit: Visit) -> None:
    """A camera reads this very page's address from the screen; on a telephone the code is neither shown nor loaded."""
    page = visit("lawson", DESKTOP)
    code = page.get_by_role("img", name="このページのリンクのQRコード")
    code.scroll_into_view_if_needed()
    expect(code).to_have_js_property("complete", True)
    (read,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(code.screenshot())))

    assert read.text == page.url
    phone = visit("lawson", PHONE)
    expect(phone.locator(".zeus-qr img")).to_be_hidden()
    assert phone.evaluate(
        "() => performance.getEntriesByType('resource').every(each => !/qr/.test(each.name))"
    )
