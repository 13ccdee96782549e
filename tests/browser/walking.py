"""A customer and a clerk with a real browser: what they do on the way, typed and clicked by hand."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from playwright.sync_api import ConsoleMessage, Page, expect

from example_shop.tests.running import DETAILS, PATIENCE, RunningDemo

#: What each store calls its numbers, in the order in which its terminal or till asks for them.
STORES: Mapping[str, tuple[str, ...]] = {
    "セブン-イレブン": ("払込票番号",),
    "ローソン": ("受付番号", "確認番号"),
    "ファミリーマート": ("企業コード", "注文番号"),
    "セイコーマート": ("お支払受付番号",),
    "ミニストップ": ("受付番号", "確認番号"),
    "デイリーヤマザキ": ("オンライン決済番号",),
}
PHONE = "090-1234-5678"


def order_something(page: Page, demo: RunningDemo) -> None:
    """Put goods into the cart and order them, up to the checkout page."""
    fill_cart(page, demo)
    send_order(page)


def fill_cart(page: Page, demo: RunningDemo) -> None:
    """Put goods into the cart and go on to the order form."""
    page.goto(demo.shop)
    page.get_by_role("link", name="ほうじ茶ティーバッグ").click()
    page.get_by_label("数量").select_option("1")
    page.get_by_role("button", name="カートに入れる").click()
    page.get_by_role("link", name="ご注文手続きへ進む").click()


def send_order(page: Page) -> None:
    """Fill the order form in by hand and send it."""
    page.get_by_label("お名前").fill(DETAILS["name"])
    page.get_by_label("フリガナ").fill(DETAILS["kana"])
    page.get_by_label("電話番号").fill(PHONE)
    page.get_by_label("メールアドレス").fill(DETAILS["email"])
    page.get_by_label("お届け先の住所").fill(DETAILS["address"])
    page.get_by_role("button", name="注文してお支払いへ進む").click()


def choose_store(page: Page, store: str) -> None:
    """Fill the checkout form in by hand and send it."""
    page.get_by_label(store).check()
    change_details(page)
    page.get_by_label("お名前").fill("やまだ はなこ")
    page.get_by_label("電話番号").fill(PHONE)
    page.get_by_label("メールアドレス").fill(DETAILS["email"])
    page.get_by_role("button", name="お支払い番号を発行する").click()


def change_details(page: Page) -> None:
    """Open what the shop has passed, to type it by hand."""
    page.get_by_text("変更する").click()


def number_called(page: Page, label: str) -> str:
    """Read the number that stands under a name, without the gaps that make it readable."""
    term = page.locator("dt").filter(has_text=re.compile(rf"^\s*{re.escape(label)}\s*$"))
    shown = term.filter(visible=True).locator("xpath=following-sibling::dd").first
    expect(shown).to_be_visible()
    number = re.sub(r"[\s-]", "", shown.inner_text())
    assert number.isalnum(), number
    return number


def pay_at_the_counter(page: Page, demo: RunningDemo, store: str, numbers: Mapping[str, str]) -> None:
    """Go to the store, type the numbers that it asks for, and pay."""
    page.goto(f"{demo.sandbox}/counter")
    page.get_by_role("link", name=store).click()
    for label, number in numbers.items():
        page.get_by_label(label).fill(number)
    if store == "セイコーマート":
        page.get_by_label("電話番号").fill(PHONE.replace("-", ""))
    page.get_by_role("button", name="番号を読み取る").click()
    page.get_by_role("button", name="円を支払う").click()
    expect(page.get_by_role("status")).to_contain_text("お預かりしました")


def confirm_the_sale(page: Page, demo: RunningDemo, number: str) -> None:
    """Have the chain's head office confirm the sale, on ZEUS's screen."""
    page.goto(f"{demo.sandbox}/screen")
    page.get_by_role("row").filter(has_text=number).get_by_role("rowheader").get_by_role("link").click()
    page.get_by_role("button", name="売上確定にする").click()


def reload_until(page: Page, text: str) -> None:
    """Look again until the page says it: notices and receivers take a moment."""
    give_up_at = time.monotonic() + PATIENCE
    while not page.get_by_text(text).count():
        assert time.monotonic() < give_up_at, f"{page.url} does not say {text}"
        page.reload()


def watch_for_blocked_content(page: Page) -> list[str]:
    """Collect what the browser refuses to load under the shop's content security policy."""
    blocked: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            blocked.append(message.text)

    page.on("console", note)
    return blocked


def heading(page: Page) -> str:
    return page.get_by_role("heading", level=1).inner_text()


def fits(page: Page) -> bool:
    """Whether the page is no wider than the window."""
    page.wait_for_load_state()
    wider = page.locator("html").evaluate("whole => whole.scrollWidth - whole.clientWidth")
    return bool(wider <= 0)
