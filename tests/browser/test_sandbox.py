"""A walk through the sandbox with a real browser, the example shop in front: everything that happens on ZEUS's side."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from example_shop.tests.running import RunningDemo
from tests.browser.walking import (
    PHONE,
    STORES,
    choose_store,
    fits,
    number_called,
    order_something,
    pay_at_the_counter,
    reload_until,
    watch_for_blocked_content,
)

#: Every page without an application in its address.
PAGES = (
    "/",
    "/counter",
    "/counter?store=D030",
    "/screen",
    "/screen/terms",
    "/screen/test-ids",
    "/screen/csv",
    "/mails",
    "/mails/1",
    "/clock",
    "/trouble",
    "/reset",
    "/operation-test",
    "/api",
    "/nowhere",
)


def slip_at(page: Page, demo: RunningDemo, store: str) -> tuple[str, dict[str, str]]:
    """Order something and choose a store; return the order's address and the slip's numbers."""
    order_something(page, demo)
    order = page.get_by_role("link", name="ショップに戻る").get_attribute("href")
    choose_store(page, store)
    return f"{demo.shop}{order}", {label: number_called(page, label) for label in STORES[store]}


def find(page: Page, demo: RunningDemo, words: str) -> str:
    """Search for it on ZEUS's screen and open the newest that is found; return its order number."""
    page.goto(f"{demo.sandbox}/screen")
    page.get_by_label("検索", exact=True).fill(words)
    page.get_by_role("button", name="この条件で探す").click()
    link = page.get_by_role("rowheader").first.get_by_role("link")
    order_no = link.inner_text()
    link.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(order_no)
    return order_no


def test_buy_pay_and_take_back(page: Page, demo: RunningDemo) -> None:
    """The till gives a receipt and takes the payment back; the screen has the history, the mailbox every mail."""
    blocked = watch_for_blocked_content(page)
    order, numbers = slip_at(page, demo, "ローソン")
    pay_at_the_counter(page, demo, "ローソン", numbers)
    expect(page.get_by_role("heading", name="領収書")).to_be_visible()
    page.get_by_role("button", name="入金を取り消す").click()
    expect(page.get_by_role("heading", name="返金レシート")).to_be_visible()

    order_no = find(page, demo, numbers["受付番号"])
    history = page.get_by_role("region", name="経過の表").get_by_role("row")
    expect(history).to_contain_text(["日時", "お店からの申込", "店頭での支払い", "店頭での取消"])
    reload_until(page, "06 入金取消 → 200")
    page.goto(f"{demo.sandbox}/mails?order_no={order_no}")
    expect(page.get_by_role("rowheader")).to_have_text(
        [
            "【サンドボックス】入金が取り消されました",
            "【サンドボックス】入金速報が届きました",
            "【サンドボックス】お申し込みを受け付けました",
            "【サンドボックス】コンビニでのお支払い番号のお知らせ",
        ]
    )
    page.get_by_role("link", name="コンビニでのお支払い番号のお知らせ").click()
    expect(page.get_by_text(f"受付番号: {numbers['受付番号']}")).to_be_visible()
    page.goto(order)
    reload_until(page, "取り消され")
    assert not blocked


def test_a_slip_expires_when_the_clock_is_moved(page: Page, demo: RunningDemo) -> None:
    """From its detail page to the deadline: the page says what fell due, the shop hears it, the till refuses."""
    order, numbers = slip_at(page, demo, "デイリーヤマザキ")
    order_no = find(page, demo, numbers["オンライン決済番号"])
    page.get_by_role("button", name="支払期限まで進める").click()
    due = page.get_by_role("table", name="起きたこと").get_by_role("row").filter(has_text=order_no)
    expect(due).to_contain_text("03 期日切")
    page.get_by_role("link", name="元のページへ戻る").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(order_no)
    page.goto(order)
    reload_until(page, "ご注文は終了しました")
    page.goto(f"{demo.sandbox}/counter")
    page.get_by_role("link", name="デイリーヤマザキ").click()
    page.get_by_label("オンライン決済番号").fill(numbers["オンライン決済番号"])
    page.get_by_role("button", name="番号を読み取る").click()
    expect(page.get_by_role("alert")).to_contain_text("支払期限が過ぎている")
    expect(page.get_by_role("button", name="円を支払う")).to_have_count(0)


def test_the_old_slip_of_a_reissue_is_paid(page: Page, demo: RunningDemo) -> None:
    """The new application has its own numbers; the money on the old ones is told as 11."""
    _, numbers = slip_at(page, demo, "ミニストップ")
    old = find(page, demo, numbers["受付番号"])
    page.get_by_role("button", name="再発行").click()
    expect(page.get_by_role("status").first).to_contain_text("再発行しました")
    expect(page.get_by_role("heading", level=1)).not_to_contain_text(old)
    page.get_by_role("link", name=old).click()
    expect(page.get_by_text("キャンセル", exact=True).first).to_be_visible()
    pay_at_the_counter(page, demo, "ミニストップ", numbers)
    page.get_by_role("link", name="売上管理画面で通知を見る").click()
    reload_until(page, "11 キャンセル後入金 → 200")
    page.goto(f"{demo.sandbox}/screen?status=11")
    expect(page.get_by_role("rowheader").filter(has_text=old)).to_have_count(1)


def test_a_failed_call_is_sent_again(page: Page, demo: RunningDemo) -> None:
    """The shop's address is wrong for a while: ZEUS mails about it, staff correct it and send the notice again."""
    order, numbers = slip_at(page, demo, "セブン-イレブン")
    page.goto(f"{demo.sandbox}/screen/terms")
    address = page.get_by_label("通知先のURL").input_value()
    register(page, demo, f"{demo.shop}/nowhere")
    pay_at_the_counter(page, demo, "セブン-イレブン", numbers)
    order_no = find(page, demo, numbers["払込票番号"])
    reload_until(page, "04 入金済 → 404")
    register(page, demo, address)
    page.goto(f"{demo.sandbox}/mails?kind=failed&order_no={order_no}")
    page.get_by_role("link", name="CGI送信エラー通知").click()
    expect(page.get_by_text("お店の応答: HTTP 404")).to_be_visible()
    page.get_by_role("link", name="この申込を見る").click()
    page.get_by_role("button", name="04を再送信").click()
    reload_until(page, "04 入金済 → 200")
    page.goto(order)
    reload_until(page, "商品を発送しました")


def register(page: Page, demo: RunningDemo, address: str) -> None:
    """Have ZEUS send the notices there."""
    page.goto(f"{demo.sandbox}/screen/terms")
    page.get_by_label("通知先のURL").fill(address)
    page.get_by_role("button", name="契約内容を変更する").click()
    expect(page.get_by_role("status")).to_contain_text("契約内容を変更しました")


def test_a_lost_answer_is_made_good_by_the_notice(page: Page, demo: RunningDemo) -> None:
    """Trouble that is set down strikes the next application; the notice still brings the numbers."""
    page.goto(f"{demo.sandbox}/trouble")
    page.get_by_label("起こすこと", exact=True).first.select_option(
        label="応答の前に接続が切れる（申込は成立）"
    )
    page.get_by_role("button", name="応答の不具合を用意する").click()
    expect(page.get_by_text("次の1回: 応答の前に接続が切れる")).to_be_visible()
    order_something(page, demo)
    choose_store(page, "ファミリーマート")
    reload_until(page, "企業コード")
    number = number_called(page, "注文番号")
    page.goto(f"{demo.sandbox}/trouble")
    expect(page.get_by_text("次の1回")).to_have_count(0)
    find(page, demo, number)


def test_paying_with_the_keyboard_alone(page: Page, demo: RunningDemo) -> None:
    """From the first key of the counter to the receipt, with tab and enter."""
    _, numbers = slip_at(page, demo, "セイコーマート")
    page.goto(f"{demo.sandbox}/counter?store=D015")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # to the content
    focus(page, "お支払受付番号")
    page.keyboard.type(numbers["お支払受付番号"])
    page.keyboard.press("Tab")
    page.keyboard.type(PHONE)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="円を支払う")).to_be_visible()
    focus(page, "円を支払う")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("お預かりしました")


def focus(page: Page, name: str) -> None:
    """Press tab until what is called so has the focus."""
    for _ in range(30):
        page.keyboard.press("Tab")
        here = page.evaluate(
            "() => { const e = document.activeElement; return (e.labels?.[0] ?? e).innerText }"
        )
        if name in (here or ""):
            return
    raise AssertionError(f"the tab key does not lead to {name}")


def test_the_slip_as_it_is_printed(page: Page, demo: RunningDemo) -> None:
    """The slip and its barcode, and that it is not payable; no bands, no buttons."""
    slip_at(page, demo, "セブン-イレブン")
    page.emulate_media(media="print")
    slip = page.get_by_role("region", name="払込票")
    expect(slip.get_by_role("img", name="バーコード")).to_be_visible()
    expect(slip.get_by_text("見本・本物のお店では使えません")).to_be_visible()
    expect(page.get_by_role("navigation")).to_have_count(0)
    expect(page.get_by_role("link", name="この番号で店頭へ")).to_have_count(0)


def test_no_page_of_the_sandbox_scrolls_sideways(page: Page, demo: RunningDemo) -> None:
    """Every page fits the narrowest telephone and a wide screen, with everything unfolded."""
    _, numbers = slip_at(page, demo, "セブン-イレブン")
    pay_at_the_counter(page, demo, "セブン-イレブン", numbers)
    order_no = find(page, demo, numbers["払込票番号"])
    own = (
        f"/applications/{order_no}",
        f"/counter/receipt?order_no={order_no}",
        f"/slip/seven_eleven?order_no={order_no}",
        f"/counter?order_no={order_no}",
    )
    for path in (*PAGES, *own):
        page.goto(demo.sandbox + path)
        for each in page.locator("details").all():
            each.evaluate("details => { details.open = true }")
        for width in (320, 360, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert fits(page), f"{path} at {width} pixels"
