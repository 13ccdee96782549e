"""The Japanese words of the pages, one table for each kind of thing; names of statuses and stores are ``protocol``'s."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date as calendar_day
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.simulator.gateway import Fault
from flask_zeus_cvs.simulator.ledger import INFO, Silent, Standing, Verb
from flask_zeus_cvs.simulator.notices import Call, Failure, Trouble

#: By whom or what a step of the history came about.
BY: Mapping[str, str] = MappingProxyType(
    {
        "apply": "お店からの申込",
        Verb.PAY: "店頭での支払い",
        Verb.CONFIRM: "売上管理画面の操作",
        Verb.CANCEL: "店頭での取消",
        Verb.EXPIRE: "売上管理画面の操作",
        Verb.REISSUE: "再発行",
        "deadline": "支払期限が過ぎたため",
        "head office": "コンビニ本部の確定",
        "test": "テスト決済の自動処理",
    }
)

#: What can be done on ZEUS's screen: the button, and what comes of it.
BUTTONS: Mapping[Verb, tuple[str, str]] = MappingProxyType(
    {
        Verb.CONFIRM: ("売上確定にする", "コンビニ本部の確定を待たずに、いま確定させます。"),
        Verb.EXPIRE: ("期日切にする", "支払期限を待たずに、いま期日切にします。"),
        Verb.REISSUE: (
            "再発行",
            "新しいオーダー番号と払込用番号を発行します。この申込はキャンセルになり、お店には知らされません。",
        ),
        Verb.RESEND: ("通知を再送信", "お店に同じ通知をもう一度送ります。"),
    }
)

#: What is said after it.
DONE: Mapping[Verb, str] = MappingProxyType(
    {
        Verb.CONFIRM: "売上確定にしました。",
        Verb.EXPIRE: "期日切にしました。",
        Verb.REISSUE: "再発行しました。これが新しい申込です。",
        Verb.RESEND: "通知を再送信しました。",
    }
)

#: Why a till refuses, for each status in which it cannot take money.
UNPAYABLE: Mapping[Standing, str] = MappingProxyType(
    {
        Status.APPLICATION_FAILED: "この申込は成立していません。",
        Status.EXPIRED: "支払期限が過ぎているため、お支払いできません。",
        Status.PAYMENT_RECEIVED: "お支払い済みです。",
        Status.SALE_CONFIRMED: "お支払い済みです。売上も確定しています。",
        Status.PAYMENT_CANCELLED: "入金が取り消された番号です。もう一度支払うことはできません。",
        Status.RECEIVED_AFTER_CANCEL: "お支払い済みです。",
        Status.CONFIRMED_AFTER_CANCEL: "お支払い済みです。売上も確定しています。",
        Silent.STOPPED: "お支払い済みです。",
        Status.CANCELLED_AFTER_CANCEL: "入金が取り消された番号です。もう一度支払うことはできません。",
    }
)
LAPSED = UNPAYABLE[Status.EXPIRED]

#: Where in the store the numbers are entered, and with what.
TERMINALS: Mapping[Store, str] = MappingProxyType(
    {
        Store.SEVEN_ELEVEN: "レジで払込票を見せるか、払込票番号（13桁）を伝えます。",
        Store.LAWSON: "端末 Loppi に受付番号、確認番号の順に入力し、出た申込券をレジへ持って行きます。",
        Store.FAMILYMART: "マルチコピー機に企業コード（5桁）、注文番号（12桁）を入力し、出た用紙をレジへ持って行きます。",
        Store.SEICOMART: "端末クラブステーションにお支払受付番号と電話番号を入力し、出た用紙をレジへ持って行きます。",
        Store.MINISTOP: "端末 Loppi に受付番号、確認番号の順に入力し、出た申込券をレジへ持って行きます。",
        Store.DAILY_YAMAZAKI: "レジで「オンライン決済」と伝え、オンライン決済番号を入力します。",
    }
)

FAILURES: Mapping[str, str] = MappingProxyType(
    {
        Failure.TIMEOUT: "時間切れ",
        Failure.CONNECTION: "接続できません",
        Failure.NO_ANSWER: "応答なし",
        Failure.DROPPED: "届けず（不具合）",
    }
)

#: The fourteen parameters of a notice.
PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "clientip": "IPコード",
        "money": "金額",
        "username": "お名前",
        "telno": "電話番号",
        "email": "メールアドレス",
        "sendid": "フリーパラメータ",
        "sendpoint": "フリーパラメータ",
        "order_no": "オーダー番号",
        "pay_cvs": "コンビニコード",
        "pay_no1": "払込用番号1",
        "pay_no2": "払込用番号2",
        "pay_limit": "支払期限",
        "status": "ステータス",
        "error_code": "エラーコード",
    }
)

#: What can become of an answer.
FAULTS: Mapping[Fault, str] = MappingProxyType(
    {
        Fault.LOST: "応答の前に接続が切れる（申込は成立）",
        Fault.CUT: "応答の途中で接続が切れる（申込は成立）",
        Fault.NEVER: "応答が来ない（申込は成立）",
        Fault.EMPTY: "空の応答",
        Fault.HTML: "HTMLのエラー画面",
        Fault.MAINTENANCE: "maintenance の一語",
    }
)

ERROR_CODES: Mapping[str, str] = MappingProxyType(
    {
        "800000": "設定かデータの誤り",
        "800001": "サービス停止中",
        "800002": "扱いのないコンビニ",
        "900000": "お店とZEUSの間のデータか通信の誤り",
        "0011": "ZEUSと収納代行会社の間のデータの誤り",
        "0008": "収納代行会社とコンビニの間がメンテナンス中",
        "0013": "ZEUSと収納代行会社の間がメンテナンス中",
    }
)

#: What can become of a notice.
TROUBLES: Mapping[Trouble, str] = MappingProxyType(
    {
        Trouble.DROP: "届かない",
        Trouble.REPEAT: "二度届く",
        Trouble.REORDER: "次の通知に追い越される",
        Trouble.DELAY: "遅れて届く",
    }
)

_WEEK = "月火水木金土日"


def outcome(call: Call) -> str:
    """Say what came of a call, in a word or two."""
    return str(call.answer) if call.answer else FAILURES[call.failure]


def standing_name(standing: Standing) -> str:
    """Name a status as ZEUS's screen does, with its code if it has one."""
    name = INFO[standing].name
    return f"{standing} {name}" if isinstance(standing, Status) else name


def day(date: calendar_day) -> str:
    return f"{date.year}年{date.month}月{date.day}日({_WEEK[date.weekday()]})"


def minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def yen(amount: int) -> str:
    return f"{amount:,}円"


def span(step: timedelta) -> str:
    """Say how long a time is, in days, hours and minutes."""
    minutes = round(step.total_seconds() / 60)
    parts = ((minutes // 1440, "日"), (minutes // 60 % 24, "時間"), (minutes % 60, "分"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0分"


#: For the templates.
FILTERS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "standing": standing_name,
        "outcome": outcome,
        "day": day,
        "minute": minute,
        "second": second,
        "yen": yen,
        "span": span,
    }
)
