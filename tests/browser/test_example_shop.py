"""A customer with a real browser: from the shelf to the parcel at each store, everything typed and clicked by hand."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import pytest
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


@pytest.mark.parametrize("store", STORES)
def test_a_customer_buys_and_the_shop_ships(page: Page, demo: RunningDemo, store: str) -> None:
    """Order, choose the store, read the numbers, pay them at the counter; the order ships and is confirmed."""
    blocked = watch_for_blocked_content(page)
    order_something(page, demo)
    order = page.get_by_role("link", name="お店に戻る").get_attribute("href")

    choose_store(page, store)
    numbers = {label: number_called(page, label) for label in STORES[store]}

    pay_at_the_counter(page, demo, store, numbers)

    page.goto(f"{demo.shop}{order}")
    reload_until(page, "商品を発送しました")
    confirm_the_sale(page, demo, next(iter(numbers.values())))

    page.goto(f"{demo.shop}{order}")
    reload_until(page, "お支払いの確定も済んでいます")
    assert not blocked


def test_the_numbers_are_found_again(page: Page, demo: RunningDemo) -> None:
    """A customer who comes back to the order is led to the same numbers; at 7-Eleven, too."""
    order_something(page, demo)
    order = page.get_by_role("link", name="お店に戻る").get_attribute("href")
    choose_store(page, "セブン-イレブン")
    page.wait_for_url(f"{demo.sandbox}/**")  # 7-Eleven's numbers are shown by the collection agency
    number = number_called(page, "払込票番号")
    page.goto(f"{demo.shop}{order}")
    page.get_by_role("link", name="お支払い番号を見る").click()
    expect(page.get_by_role("link", name="払込票を表示する")).to_be_visible()
    page.get_by_role("link", name="払込票を表示する").click()
    assert number_called(page, "払込票番号") == number


def test_a_wrong_detail_comes_back_with_its_message(page: Page, demo: RunningDemo) -> None:
    """The form names the character that is wrong and keeps what was typed; corrected, it goes through."""
    order_something(page, demo)
    page.get_by_label("お名前").fill("山田　ハナコ")
    page.get_by_label("デイリーヤマザキ").check()
    page.get_by_role("button", name="お支払い番号を発行する").click()
    expect(page.get_by_text("「山」").first).to_be_visible()
    expect(page.get_by_label("お名前")).to_have_value("山田　ハナコ")
    expect(page.get_by_label("デイリーヤマザキ")).to_be_checked()
    page.get_by_label("お名前").fill("やまだ　はなこ")
    page.get_by_role("button", name="お支払い番号を発行する").click()
    number_called(page, "オンライン決済番号")


def test_staff_see_what_needs_them(page: Page, demo: RunningDemo) -> None:
    """A payment taken back after shipping is on the staff page until somebody ticks it off."""
    order_something(page, demo)
    order = page.get_by_role("link", name="お店に戻る").get_attribute("href")
    choose_store(page, "ローソン")
    numbers = {label: number_called(page, label) for label in STORES["ローソン"]}
    pay_at_the_counter(page, demo, "ローソン", numbers)
    page.goto(f"{demo.shop}{order}")
    reload_until(page, "商品を発送しました")
    order_number = heading(page).removeprefix("ご注文 ")
    page.goto(f"{demo.sandbox}/")
    page.locator("tr", has_text=numbers["受付番号"]).get_by_role("link", name="店頭で取り消す").click()
    page.get_by_role("button", name="番号を読み取る").click()
    page.get_by_role("button", name="入金を取り消す").click()

    staff = page.context.browser
    assert staff is not None
    with staff.new_context(http_credentials={"username": "staff", "password": demo.password}) as context:
        desk = context.new_page()
        desk.goto(f"{demo.shop}/staff/")
        reload_until(desk, "発送したあとに入金が取り消されました")
        todo = desk.locator("li", has_text=order_number)
        todo.get_by_role("button", name="済んだ").click()
        expect(todo).to_have_count(0)


@pytest.mark.parametrize("width", [320, 1280])
def test_no_page_scrolls_sideways(page: Page, demo: RunningDemo, width: int) -> None:
    """Every page fits the narrowest telephone, the payment pages in the shop's frame included."""
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/goods/kyusu", "/cart", "/nowhere"):
        page.goto(demo.shop + path)
        assert fits(page), path
    fill_cart(page, demo)
    assert fits(page), "order form"
    send_order(page)
    order = page.get_by_role("link", name="お店に戻る").get_attribute("href")
    assert fits(page), "checkout"
    choose_store(page, "ファミリーマート")
    assert fits(page), "result"
    page.goto(f"{demo.shop}{order}")
    assert fits(page), "order"


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
    page.get_by_label("お名前").fill("やまだ はなこ")
    page.get_by_label("電話番号").fill(PHONE)
    page.get_by_label("メールアドレス").fill(DETAILS["email"])
    page.get_by_role("button", name="お支払い番号を発行する").click()


def number_called(page: Page, label: str) -> str:
    """Read the number that stands under a name, without the gaps that make it readable."""
    term = page.locator("dt").filter(has_text=re.compile(rf"^\s*{re.escape(label)}\s*$"))
    shown = page.locator("div", has=term).last.locator("dd")
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
