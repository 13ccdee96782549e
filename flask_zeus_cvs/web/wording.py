"""What customers are told, in Japanese: what is wrong with a field, what a state is called, what to do next.

Sentences that belong to one page stand in its template. Sentences that a code or a state chooses stand here,
as tables, so that a missing one is found by a test and not by a customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.protocol.codes import ERROR_CODES, SUPPORT_PHONES, Remedy
from flask_zeus_cvs.protocol.fields import Problem

#: ZEUS's names of what a customer fills in, and the form's.
FORM_FIELDS: Mapping[str, str] = MappingProxyType(
    {"username": "name", "telno": "phone", "email": "email", "pay_cvs": "store"}
)

#: What each line of the form is called.
LABELS: Mapping[str, str] = MappingProxyType(
    {
        "name": "お名前（カタカナ）",
        "phone": "電話番号",
        "email": "メールアドレス",
        "store": "コンビニ",
        "amount": "お支払い金額",
    }
)

#: What is wrong with a field; ``{}`` is the character or the limit (`InvalidField.detail`).
PROBLEMS: Mapping[tuple[str, Problem], str] = MappingProxyType(
    {
        ("username", Problem.required): "お名前を入力してください。",
        ("username", Problem.katakana): "「{}」はカタカナではありません。カタカナで入力してください。",
        ("username", Problem.character): "「{}」はお名前に使えません。ほかのカタカナに置きかえてください。",
        ("username", Problem.too_long): "名前は全角{}文字までです。",
        ("telno", Problem.required): "電話番号を入力してください。",
        ("telno", Problem.digits): "「{}」は電話番号に使えません。数字で入力してください。",
        ("telno", Problem.first_digit): "電話番号は{}から始まる番号を入力してください。",
        ("telno", Problem.too_short): "電話番号が短すぎます。市外局番から、{}桁以上で入力してください。",
        ("telno", Problem.too_long): "電話番号が長すぎます。{}桁までで入力してください。",
        ("email", Problem.required): "メールアドレスを入力してください。",
        ("email", Problem.character): "「{}」はメールアドレスに使えません。半角の英数字と記号だけです。",
        ("email", Problem.too_long): "メールアドレスは半角{}文字までです。",
        ("email", Problem.malformed): "メールアドレスの形が正しくありません。「@」の前後もご確認ください。",
        ("pay_cvs", Problem.required): "コンビニを選んでください。",
        ("pay_cvs", Problem.choice): "表示されているコンビニの中から選んでください。",
    }
)

#: The same for whatever the table above has no row for.
_ANY_FIELD: Mapping[Problem, str] = MappingProxyType(
    {
        Problem.required: "入力してください。",
        Problem.control: "改行など、目に見えない文字が含まれています。入力し直してください。",
        Problem.encoding: "使えない文字が含まれています。",
        Problem.katakana: "「{}」はカタカナではありません。",
        Problem.character: "「{}」は使えません。",
        Problem.digits: "「{}」は数字ではありません。",
        Problem.too_short: "{}文字以上で入力してください。",
        Problem.too_long: "{}文字までで入力してください。",
        Problem.length: "{}文字で入力してください。",
        Problem.range: "値が範囲の外です。",
        Problem.choice: "選べる値ではありません。",
        Problem.first_digit: "{}から始まる番号を入力してください。",
        Problem.malformed: "形が正しくありません。",
        Problem.repeated: "二度入力されています。",
    }
)

#: ZEUS named one of the customer's details as wrong, and does not say what about it.
REFUSED_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "name": "このお名前では受け付けられませんでした。お確かめのうえ、入力し直してください。",
        "phone": "この電話番号では受け付けられませんでした。お確かめのうえ、入力し直してください。",
        "email": "このメールアドレスでは受け付けられませんでした。お確かめのうえ、入力し直してください。",
        "store": "このコンビニでは受け付けられませんでした。ほかのコンビニを選んでください。",
    }
)

OTHER_STORE = "このコンビニは、ただいまご利用いただけません。ほかのコンビニを選んでください。"
WRONG_AMOUNT = "お支払い金額が正しくありません。表示されている金額を確かめて、もう一度お申し込みください。"
STALE_FORM = (
    "画面を開いてから時間がたったため、お申し込みを送信しませんでした。"
    "入力内容を確かめて、もう一度お申し込みください（Cookieを使わない設定では、お申し込みになれません）。"
)

#: What a payment in each state is called.
STATES: Mapping[State, str] = MappingProxyType(
    {
        State.OPEN: "お申し込み前",
        State.SUBMITTING: "お申し込み中",
        State.UNKNOWN: "お申し込みの確認中",
        State.DECLINED: "お申し込み不成立",
        State.FAILED: "お申し込みエラー",
        State.AWAITING_PAYMENT: "お支払い待ち",
        State.EXPIRED: "期限切れ",
        State.RECEIVED: "お支払い済み",
        State.CONFIRMED: "お支払い済み（確定）",
        State.CANCELLED: "お支払い取り消し",
        State.SUPERSEDED: "再発行により無効",
        State.RECEIVED_AFTER_CANCEL: "無効な番号でのお支払い",
        State.CONFIRMED_AFTER_CANCEL: "無効な番号でのお支払い（確定）",
        State.CANCELLED_AFTER_CANCEL: "無効な番号でのお支払いの取り消し",
        State.CLOSED: "受付終了",
    }
)


@dataclass(frozen=True)
class Advice:
    """What a customer can do after a refusal, and whom to call where ZEUS's support can help."""

    texts: tuple[str, ...]
    phones: tuple[str, ...] = ()


_ADVICE: Mapping[Remedy, Advice] = MappingProxyType(
    {
        Remedy.shop_fault: Advice(
            (
                "原因はお店側の設定にあり、お客様の入力内容に問題はありません。"
                "ご不便をおかけしますが、お店にお問い合わせください。",
            )
        ),
        Remedy.support: Advice(
            (
                "お選びのコンビニは、ただいまご利用いただけません。"
                "くわしくは、決済代行会社の窓口にお問い合わせください。",
            ),
            SUPPORT_PHONES,
        ),
        Remedy.check_and_retry: Advice(
            (
                "入力内容に誤りがあるか、通信がうまくいかなかった可能性があります。"
                "入力内容を確かめて、もう一度お申し込みください。",
                "それでも完了しない場合は、決済代行会社の窓口にお問い合わせください。",
            ),
            SUPPORT_PHONES,
        ),
        Remedy.other_store: Advice(
            (
                "お選びのコンビニは、ただいまご利用いただけません。"
                "ほかのコンビニを選んで、もう一度お申し込みください。",
                "お困りの場合は、決済代行会社の窓口にお問い合わせください。",
            ),
            SUPPORT_PHONES,
        ),
    }
)
_MAINTENANCE = "決済システムがメンテナンス中のため、お申し込みを受け付けられませんでした。"
_NOT_SENT = Advice(
    (
        "通信がうまくいかなかったため、お申し込みは送信されていません。"
        "しばらくしてから、もう一度お申し込みください。",
    )
)
_FIX_FIELD = Advice(("入力内容の一部が受け付けられませんでした。入力画面に戻って、入力し直してください。",))


def message_for(problem: InvalidField) -> str:
    """Say what is wrong with one of the customer's details; may hold a character that the customer typed."""
    kind = Problem(problem.problem)
    return PROBLEMS.get((problem.field, kind), _ANY_FIELD[kind]).format(problem.detail)


def advice(state: State, error_code: str, parameter: str) -> Advice:
    """Say what to do after an application that ZEUS refused, or that never reached it.

    A code that the manual does not have is answered with the widest advice: check, try again, or ask.
    """
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


def last_day(day: date) -> str:
    """Write the last day for paying as people read it."""
    return f"{day.year}年{day.month}月{day.day}日（{'月火水木金土日'[day.weekday()]}）23:59まで"
