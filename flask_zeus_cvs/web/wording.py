"""What customers are told: what is wrong with a field, what a state is called, what to do next.

Sentences that belong to one page stand in its template. Sentences that a code or a state chooses stand here,
as tables, so that a missing one is found by a test and not by a customer. The tables hold the Japanese texts by which
the catalogs know them; functions return them in the language of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from types import MappingProxyType

from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.protocol.codes import ERROR_CODES, SUPPORT_PHONES, Remedy, Store, StoreInfo
from flask_zeus_cvs.protocol.fields import Problem
from flask_zeus_cvs.web.texts import mark, translate, translate_count

#: ZEUS's names of what a customer fills in, and the form's.
FORM_FIELDS: Mapping[str, str] = MappingProxyType(
    {"username": "name", "telno": "phone", "email": "email", "pay_cvs": "store"}
)

#: What each line of the form is called.
LABELS: Mapping[str, str] = MappingProxyType(
    {
        "name": mark("お名前（カタカナ）"),
        "phone": mark("電話番号"),
        "email": mark("メールアドレス"),
        "store": mark("コンビニ"),
        "amount": mark("お支払い金額"),
    }
)

#: What is wrong with a field; ``{}`` is the character or the limit (`InvalidField.detail`).
PROBLEMS: Mapping[tuple[str, Problem], str] = MappingProxyType(
    {
        ("username", Problem.required): mark("お名前を入力してください。"),
        ("username", Problem.katakana): mark("「{}」はカタカナではありません。カタカナで入力してください。"),
        ("username", Problem.character): mark(
            "「{}」はお名前に使えません。ほかのカタカナに置きかえてください。"
        ),
        ("username", Problem.too_long): mark("お名前は全角{}文字までです。"),
        ("telno", Problem.required): mark("電話番号を入力してください。"),
        ("telno", Problem.digits): mark("「{}」は電話番号に使えません。数字で入力してください。"),
        ("telno", Problem.first_digit): mark("電話番号は{}から始まる番号を入力してください。"),
        ("telno", Problem.too_short): mark(
            "電話番号が短すぎます。市外局番から、{}桁以上で入力してください。"
        ),
        ("telno", Problem.too_long): mark("電話番号が長すぎます。{}桁までで入力してください。"),
        ("email", Problem.required): mark("メールアドレスを入力してください。"),
        ("email", Problem.character): mark(
            "「{}」はメールアドレスに使えません。使えるのは半角の英数字と記号だけです。"
        ),
        ("email", Problem.too_long): mark("メールアドレスは半角{}文字までです。"),
        ("email", Problem.malformed): mark(
            "メールアドレスの形が正しくありません。「@」の前後もご確認ください。"
        ),
        ("pay_cvs", Problem.required): mark("コンビニを選んでください。"),
        ("pay_cvs", Problem.choice): mark("表示されているコンビニの中から選んでください。"),
    }
)

#: The same for whatever the table above has no row for.
_ANY_FIELD: Mapping[Problem, str] = MappingProxyType(
    {
        Problem.required: mark("入力してください。"),
        Problem.control: mark("改行など、目に見えない文字が含まれています。入力し直してください。"),
        Problem.encoding: mark("使えない文字が含まれています。"),
        Problem.katakana: mark("「{}」はカタカナではありません。"),
        Problem.character: mark("「{}」は使えません。"),
        Problem.digits: mark("「{}」は数字ではありません。"),
        Problem.too_short: mark("{}文字以上で入力してください。"),
        Problem.too_long: mark("{}文字までで入力してください。"),
        Problem.length: mark("{}文字で入力してください。"),
        Problem.range: mark("値が範囲外です。"),
        Problem.choice: mark("選べる値ではありません。"),
        Problem.first_digit: mark("{}から始まる番号を入力してください。"),
        Problem.malformed: mark("形が正しくありません。"),
        Problem.repeated: mark("二度入力されています。"),
    }
)

#: ZEUS named one of the customer's details as wrong, and does not say what about it.
REFUSED_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "name": mark("このお名前では受け付けられませんでした。お確かめのうえ、入力し直してください。"),
        "phone": mark("この電話番号では受け付けられませんでした。お確かめのうえ、入力し直してください。"),
        "email": mark(
            "このメールアドレスでは受け付けられませんでした。お確かめのうえ、入力し直してください。"
        ),
        "store": mark("このコンビニでは受け付けられませんでした。ほかのコンビニを選んでください。"),
    }
)

OTHER_STORE = mark("このコンビニは、ただいまご利用いただけません。ほかのコンビニを選んでください。")
WRONG_AMOUNT = mark(
    "お支払い金額が正しくありません。表示されている金額を確かめて、もう一度お申し込みください。"
)
STALE_FORM = mark(
    "画面を開いてから時間がたったため、お申し込みを送信しませんでした。"
    "入力内容を確かめて、もう一度お申し込みください（Cookieを使わない設定では、お申し込みになれません）。"
)

#: What a store is called.
STORE_NAMES: Mapping[Store, str] = MappingProxyType(
    {
        Store.SEVEN_ELEVEN: mark("セブン-イレブン"),
        Store.LAWSON: mark("ローソン"),
        Store.FAMILYMART: mark("ファミリーマート"),
        Store.SEICOMART: mark("セイコーマート"),
        Store.MINISTOP: mark("ミニストップ"),
        Store.DAILY_YAMAZAKI: mark("デイリーヤマザキ"),
    }
)

#: What the stores call their payment numbers.
NUMBER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        name: name
        for name in (
            mark("払込票番号"),
            mark("受付番号"),
            mark("確認番号"),
            mark("注文番号"),
            mark("企業コード"),
            mark("お支払受付番号"),
            mark("オンライン決済番号"),
        )
    }
)

_WEEKDAYS = (mark("月"), mark("火"), mark("水"), mark("木"), mark("金"), mark("土"), mark("日"))
_MONTHS = (
    mark("1月"),
    mark("2月"),
    mark("3月"),
    mark("4月"),
    mark("5月"),
    mark("6月"),
    mark("7月"),
    mark("8月"),
    mark("9月"),
    mark("10月"),
    mark("11月"),
    mark("12月"),
)

#: What a payment in each state is called.
STATES: Mapping[State, str] = MappingProxyType(
    {
        State.OPEN: mark("お申し込み前"),
        State.SUBMITTING: mark("お申し込み中"),
        State.UNKNOWN: mark("お申し込みの確認中"),
        State.DECLINED: mark("お申し込み不成立"),
        State.FAILED: mark("お申し込みエラー"),
        State.AWAITING_PAYMENT: mark("お支払い待ち"),
        State.EXPIRED: mark("期限切れ"),
        State.RECEIVED: mark("お支払い済み"),
        State.CONFIRMED: mark("お支払い済み（確定）"),
        State.CANCELLED: mark("お支払い取り消し"),
        State.SUPERSEDED: mark("再発行により無効"),
        State.RECEIVED_AFTER_CANCEL: mark("無効な番号でのお支払い"),
        State.CONFIRMED_AFTER_CANCEL: mark("無効な番号でのお支払い（確定）"),
        State.CANCELLED_AFTER_CANCEL: mark("無効な番号でのお支払いの取り消し"),
        State.CLOSED: mark("受付終了"),
    }
)


@dataclass(frozen=True)
class Advice:
    """What a customer can do after a refusal, and whom to call where ZEUS's support can help.

    `correctable`: another try with other details may go through.
    """

    texts: tuple[str, ...]
    phones: tuple[str, ...] = ()
    correctable: bool = True


_ADVICE: Mapping[Remedy, Advice] = MappingProxyType(
    {
        Remedy.shop_fault: Advice(
            (
                mark(
                    "原因はショップ側の設定にあり、お客様の入力内容に問題はありません。"
                    "ご不便をおかけしますが、ショップにお問い合わせください。"
                ),
            ),
            correctable=False,
        ),
        Remedy.support: Advice(
            (
                mark(
                    "お選びのコンビニは、ただいまご利用いただけません。"
                    "くわしくは、決済代行会社の窓口にお問い合わせください。"
                ),
            ),
            SUPPORT_PHONES,
        ),
        Remedy.check_and_retry: Advice(
            (
                mark(
                    "入力内容に誤りがあるか、通信がうまくいかなかった可能性があります。"
                    "入力内容を確かめて、もう一度お申し込みください。"
                ),
                mark("それでも完了しない場合は、決済代行会社の窓口にお問い合わせください。"),
            ),
            SUPPORT_PHONES,
        ),
        Remedy.other_store: Advice(
            (
                mark(
                    "お選びのコンビニは、ただいまご利用いただけません。"
                    "ほかのコンビニを選んで、もう一度お申し込みください。"
                ),
                mark("お困りの場合は、決済代行会社の窓口にお問い合わせください。"),
            ),
            SUPPORT_PHONES,
        ),
    }
)
_MAINTENANCE = mark("決済システムがメンテナンス中のため、お申し込みを受け付けられませんでした。")
_NOT_SENT = Advice(
    (
        mark(
            "通信がうまくいかなかったため、お申し込みは送信されていません。"
            "しばらくしてから、もう一度お申し込みください。"
        ),
    )
)
_FIX_FIELD = Advice(
    (mark("入力内容の一部が受け付けられませんでした。入力画面に戻って、入力し直してください。"),)
)


def message_for(problem: InvalidField) -> str:
    """Say what is wrong with one of the customer's details; may hold a character that the customer typed."""
    return problem_text(problem.field, problem.problem).format(problem.detail)


def problem_text(field: str, problem: str) -> str:
    """Return the text about such a problem with its ``{}`` still in it, for a script that says it at once."""
    kind = Problem(problem)
    return translate(PROBLEMS.get((field, kind), _ANY_FIELD[kind]))


def advice(state: State, error_code: str, parameter: str) -> Advice:
    """Say what to do after an application that ZEUS refused, or that never reached it.

    A code that the manual does not have is answered with the widest advice: check, try again, or ask.
    """
    found = _advice(state, error_code, parameter)
    return replace(found, texts=tuple(map(translate, found.texts)))


def _advice(state: State, error_code: str, parameter: str) -> Advice:
    if parameter in FORM_FIELDS:
        return _FIX_FIELD
    if parameter:
        return _ADVICE[Remedy.shop_fault]
    if error_code not in ERROR_CODES:
        return _NOT_SENT if state is State.FAILED and not error_code else _ADVICE[Remedy.check_and_retry]
    known = ERROR_CODES[error_code]
    found = _ADVICE[known.remedy]
    return Advice((_MAINTENANCE, *found.texts), found.phones) if known.maintenance else found


def suggests_other_store(error_code: str) -> bool:
    """Tell whether the store is what stood in the way."""
    return error_code in ERROR_CODES and ERROR_CODES[error_code].remedy is Remedy.other_store


def in_words(store: StoreInfo) -> StoreInfo:
    """Name a store and its numbers in the language of the request, the machine's own words beside them."""
    return replace(
        store,
        name=translate(STORE_NAMES[store.store]),
        pay_no1=translate(NUMBER_NAMES[store.pay_no1]),
        pay_no2=translate(NUMBER_NAMES[store.pay_no2]) if store.pay_no2 else None,
    )


def last_day(day: date) -> str:
    """Write the last day for paying as people read it."""
    return translate("{year}年{month}月{day}日（{weekday}）23:59まで", **_spelled(day))


def moment(at: datetime) -> str:
    """Write a time of Japan's as people read it, to the minute."""
    return translate("{year}年{month}月{day}日（{weekday}）{time}", time=f"{at:%H:%M}", **_spelled(at.date()))


def _spelled(day: date) -> dict[str, object]:
    return {
        "year": day.year,
        "month": day.month,
        "month_name": translate(_MONTHS[day.month - 1]),
        "day": day.day,
        "weekday": translate(_WEEKDAYS[day.weekday()]),
    }


def days_left(day: date, today: date) -> str:
    """Say how long there is until the end of the last day; both days are Japan's. Blank when it is over."""
    left = (day - today).days
    if left < 0:
        return ""
    if left < 2:
        return translate("明日まで") if left else translate("本日まで")
    return translate_count("あと{count}日", "あと{count}日", left)
