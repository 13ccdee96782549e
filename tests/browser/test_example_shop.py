"""A customer with a real browser: from the shelf to the parcel at each store, everything typed and clicked by hand."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from example_shop.tests.running import RunningDemo
from tests.browser.walking import (
    STORES,
    change_details,
    choose_store,
    confirm_the_sale,
    fill_cart,
    fits,
    heading,
    number_called,
    order_something,
    pay_at_the_counter,
    reload_until,
    send_order,
    watch_for_blocked_content,
)


@pytest.mark.parametrize("store", STORES)
def test_a_customer_buys_and_the_shop_ships(page: Page, demo: RunningDemo, store: str) -> None:
    """Order, choose the store, read the numbers, pay them at the counter; the order ships and is confirmed."""
    blocked = watch_for_blocked_content(page)
    order_something(page, demo)
    order = page.get_by_role("link", name="ショップに戻る").get_attribute("href")

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
    order = page.get_by_role("link", name="ショップに戻る").get_attribute("href")
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
    change_details(page)
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
    order = page.get_by_role("link", name="ショップに戻る").get_attribute("href")
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
    order = page.get_by_role("link", name="ショップに戻る").get_attribute("href")
    assert fits(page), "checkout"
    choose_store(page, "ファミリーマート")
    assert fits(page), "result"
    page.goto(f"{demo.shop}{order}")
    assert fits(page), "order"
