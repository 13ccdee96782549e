"""The gateway's codes: stores, statuses, error codes, test types; one row each.

Japanese names are the manual's terms; English labels are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

#: ZEUS customer support, day and night (株式会社ゼウス カスタマーサポート);
#: the second is for where the first does not connect.
SUPPORT_PHONES = ("0570-08-3000", "03-3498-9888")


class Store(StrEnum):
    """The chain where the customer pays (``pay_cvs``), in the manual's order."""

    SEVEN_ELEVEN = "D001"
    LAWSON = "D002"
    FAMILYMART = "D030"
    SEICOMART = "D015"
    MINISTOP = "D050"
    DAILY_YAMAZAKI = "D060"


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store is called, and what it calls its payment numbers; `pay_no2` is None where it has one."""

    store: Store
    name: str
    slug: str
    pay_no1: str
    pay_no2: str | None = None


STORES: Mapping[Store, StoreInfo] = MappingProxyType(
    {
        row.store: row
        for row in (
            StoreInfo(Store.SEVEN_ELEVEN, "セブン-イレブン", "seven_eleven", "払込票番号"),
            StoreInfo(Store.LAWSON, "ローソン", "lawson", "受付番号", "確認番号"),
            StoreInfo(Store.FAMILYMART, "ファミリーマート", "familymart", "注文番号", "企業コード"),
            StoreInfo(Store.SEICOMART, "セイコーマート", "seicomart", "お支払受付番号"),
            StoreInfo(Store.MINISTOP, "ミニストップ", "ministop", "受付番号", "確認番号"),
            StoreInfo(Store.DAILY_YAMAZAKI, "デイリーヤマザキ", "daily_yamazaki", "オンライン決済番号"),
        )
    }
)


class Status(StrEnum):
    """What a notice says has happened (``status``)."""

    AWAITING_PAYMENT = "01"
    APPLICATION_FAILED = "02"
    EXPIRED = "03"
    PAYMENT_RECEIVED = "04"
    SALE_CONFIRMED = "05"
    PAYMENT_CANCELLED = "06"
    RECEIVED_AFTER_CANCEL = "11"
    CONFIRMED_AFTER_CANCEL = "12"
    CANCELLED_AFTER_CANCEL = "13"


class Call(StrEnum):
    """Whether ZEUS calls the shop's CGI for a status: ○, △ (where the shop has asked for it), ×."""

    always = "always"
    on_request = "on_request"
    never = "never"


@dataclass(frozen=True, slots=True)
class StatusInfo:
    """One row of the manual's list of statuses; `status` is None for the two that no notice ever carries."""

    status: Status | None
    name: str
    label: str
    mail_to_shop: bool
    call: Call
    payable: bool
    mail_to_customer: bool


#: In the manual's order.
STATUSES: tuple[StatusInfo, ...] = (
    StatusInfo(Status.AWAITING_PAYMENT, "未入金", "awaiting payment", True, Call.always, False, True),
    StatusInfo(
        Status.APPLICATION_FAILED, "申込エラー", "application failed", True, Call.on_request, False, False
    ),
    StatusInfo(Status.EXPIRED, "期日切", "expired", False, Call.on_request, False, False),
    StatusInfo(Status.PAYMENT_RECEIVED, "入金済", "payment received", True, Call.always, True, False),
    StatusInfo(Status.SALE_CONFIRMED, "売上確定", "sale confirmed", True, Call.always, True, False),
    StatusInfo(Status.PAYMENT_CANCELLED, "入金取消", "payment cancelled", True, Call.always, False, False),
    StatusInfo(None, "キャンセル", "cancelled by a re-issue", False, Call.never, False, False),
    StatusInfo(
        Status.RECEIVED_AFTER_CANCEL,
        "キャンセル後入金",
        "received after cancel",
        True,
        Call.always,
        True,
        False,
    ),
    StatusInfo(
        Status.CONFIRMED_AFTER_CANCEL,
        "キャンセル後売上",
        "confirmed after cancel",
        True,
        Call.always,
        True,
        False,
    ),
    StatusInfo(
        Status.CANCELLED_AFTER_CANCEL,
        "キャンセル後取消",
        "cancelled after cancel",
        True,
        Call.always,
        False,
        False,
    ),
    StatusInfo(None, "番組停止", "paid after the service was stopped", False, Call.never, False, False),
)


class Remedy(StrEnum):
    """What helps after an error code."""

    shop_fault = "shop_fault"  # nothing the customer can do: the shop's set-up or contract
    support = "support"  # ask ZEUS's support
    check_and_retry = "check_and_retry"  # check the details and apply again, or ask support
    other_store = "other_store"  # choose another store and apply again, or ask support


@dataclass(frozen=True, slots=True)
class ErrorCodeInfo:
    """An error code: what helps, and whether it only says that something is down for maintenance."""

    code: str
    remedy: Remedy
    maintenance: bool
    label: str


ERROR_CODES: Mapping[str, ErrorCodeInfo] = MappingProxyType(
    {
        row.code: row
        for row in (
            ErrorCodeInfo("800000", Remedy.shop_fault, False, "configuration or data wrong"),
            ErrorCodeInfo("800001", Remedy.shop_fault, False, "ZEUS service stopped for this IP code"),
            ErrorCodeInfo("800002", Remedy.support, False, "store not available"),
            ErrorCodeInfo(
                "900000", Remedy.check_and_retry, False, "data or communication error, shop and ZEUS"
            ),
            ErrorCodeInfo("0011", Remedy.check_and_retry, False, "data error, ZEUS and collection agency"),
            ErrorCodeInfo("0008", Remedy.other_store, True, "maintenance, collection agency and store"),
            ErrorCodeInfo("0013", Remedy.support, True, "maintenance, ZEUS and collection agency"),
        )
    }
)


class TestType(StrEnum):
    """What ZEUS plays after a test application (``test_type``): nothing, 04 then 05, or 04 then 06."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    NO_PAYMENT = "0"
    SALE_CONFIRMED = "1"
    PAYMENT_CANCELLED = "2"
