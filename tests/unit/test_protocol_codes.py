"""Stores, statuses, error codes and test types, row by row as the manual has them."""

from __future__ import annotations

import pytest

from flask_zeus_cvs.protocol.codes import (
    ERROR_CODES,
    STATUSES,
    STORES,
    SUPPORT_PHONES,
    Status,
    Store,
    TestType,
)


def test_six_stores_with_their_number_labels() -> None:
    """Codes, names and what each calls its payment numbers, in the manual's order."""
    assert [(row.store.value, row.slug, row.name, row.pay_no1, row.pay_no2) for row in STORES.values()] == [
        ("D001", "seven_eleven", "セブン-イレブン", "払込票番号", None),
        ("D002", "lawson", "ローソン", "受付番号", "確認番号"),
        ("D030", "familymart", "ファミリーマート", "注文番号", "企業コード"),
        ("D015", "seicomart", "セイコーマート", "お支払受付番号", None),
        ("D050", "ministop", "ミニストップ", "受付番号", "確認番号"),
        ("D060", "daily_yamazaki", "デイリーヤマザキ", "オンライン決済番号", None),
    ]


def test_every_store_has_its_row() -> None:
    """No store without a row, no row under another store's key."""
    assert list(STORES) == list(Store)
    assert all(STORES[store].store is store for store in Store)


def test_eleven_statuses_with_their_marks() -> None:
    """Name, mail to the shop, CGI call, payable to the shop, mail to the customer; two are never sent."""
    marks = {True: "○", False: "×", "always": "○", "on_request": "△", "never": "×"}

    assert [
        (
            row.status,
            row.name,
            "".join(
                marks[mark] for mark in (row.mail_to_shop, row.call.value, row.payable, row.mail_to_customer)
            ),
        )
        for row in STATUSES
    ] == [
        ("01", "未入金", "○○×○"),
        ("02", "申込エラー", "○△××"),
        ("03", "期日切", "×△××"),
        ("04", "入金済", "○○○×"),
        ("05", "売上確定", "○○○×"),
        ("06", "入金取消", "○○××"),
        (None, "キャンセル", "××××"),
        ("11", "キャンセル後入金", "○○○×"),
        ("12", "キャンセル後売上", "○○○×"),
        ("13", "キャンセル後取消", "○○××"),
        (None, "番組停止", "××××"),
    ]


def test_nine_status_codes_under_their_names() -> None:
    """Each code bears the name that the rest of the package uses, and has one row."""
    assert {status.name: status.value for status in Status} == {
        "AWAITING_PAYMENT": "01",
        "APPLICATION_FAILED": "02",
        "EXPIRED": "03",
        "PAYMENT_RECEIVED": "04",
        "SALE_CONFIRMED": "05",
        "PAYMENT_CANCELLED": "06",
        "RECEIVED_AFTER_CANCEL": "11",
        "CONFIRMED_AFTER_CANCEL": "12",
        "CANCELLED_AFTER_CANCEL": "13",
    }
    assert [row.status for row in STATUSES if row.status] == list(Status)
    assert all(row.label for row in STATUSES)


@pytest.mark.parametrize(
    ("code", "remedy", "maintenance"),
    [
        ("800000", "shop_fault", False),
        ("800001", "shop_fault", False),
        ("800002", "support", False),
        ("900000", "check_and_retry", False),
        ("0011", "check_and_retry", False),
        ("0008", "other_store", True),
        ("0013", "support", True),
    ],
)
def test_seven_error_codes_with_what_helps(code: str, remedy: str, maintenance: bool) -> None:
    """Each error code keeps its leading zeros and says what the customer can do."""
    row = ERROR_CODES[code]

    assert (row.code, row.remedy, row.maintenance) == (code, remedy, maintenance)
    assert len(ERROR_CODES) == 7


def test_three_test_types() -> None:
    """0 pays nothing, 1 ends confirmed, 2 ends cancelled."""
    assert {each.name: each.value for each in TestType} == {
        "NO_PAYMENT": "0",
        "SALE_CONFIRMED": "1",
        "PAYMENT_CANCELLED": "2",
    }


def test_the_support_numbers() -> None:
    """The number to call first, and the one for where that does not connect."""
    assert SUPPORT_PHONES == ("0570-08-3000", "03-3498-9888")
