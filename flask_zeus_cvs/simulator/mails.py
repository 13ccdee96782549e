"""ZEUS's mails: two forms to the customer, eight to the shop, one about calls that failed. The wording is ours.

A mail is written when it is read: a sandbox that nobody reads the mail of loses no time with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from flask_zeus_cvs.protocol.codes import STORES, SUPPORT_PHONES, Status, Store
from flask_zeus_cvs.simulator.clock import Clock
from flask_zeus_cvs.simulator.contract import Contract, MailKind
from flask_zeus_cvs.simulator.ledger import INFO, SimulatedApplication
from flask_zeus_cvs.simulator.notices import Call, Failure
from flask_zeus_cvs.simulator.wording import TERMINALS

#: Domains of Japanese carriers' mail: their customers get the shorter form. A subdomain counts too.
CARRIERS = frozenset(
    {
        "docomo.ne.jp",
        "ezweb.ne.jp",
        "au.com",
        "softbank.ne.jp",
        "i.softbank.jp",
        "disney.ne.jp",
        "vodafone.ne.jp",
        "ymobile.ne.jp",
        "ymobile1.ne.jp",
        "emnet.ne.jp",
        "willcom.com",
        "pdx.ne.jp",
        "uqmobile.jp",
        "rakumail.jp",
    }
)


@dataclass(frozen=True, slots=True)
class MailInfo:
    """What a mail is called, in our words, and which status sends it; None: something else does."""

    kind: MailKind
    name: str
    status: Status | None


#: To the shop, in the manual's order (①–⑧).
SHOP_MAILS: Mapping[Status, MailInfo] = MappingProxyType(
    {
        status: MailInfo(kind, f"{INFO[status].name}のお知らせ", status)
        for status, kind in (
            (Status.AWAITING_PAYMENT, MailKind.APPLICATION_COMPLETED),
            (Status.APPLICATION_FAILED, MailKind.APPLICATION_FAILED),
            (Status.PAYMENT_RECEIVED, MailKind.PAYMENT_RECEIVED),
            (Status.SALE_CONFIRMED, MailKind.SALE_CONFIRMED),
            (Status.PAYMENT_CANCELLED, MailKind.PAYMENT_CANCELLED),
            (Status.RECEIVED_AFTER_CANCEL, MailKind.RECEIVED_AFTER_CANCEL),
            (Status.CONFIRMED_AFTER_CANCEL, MailKind.CONFIRMED_AFTER_CANCEL),
            (Status.CANCELLED_AFTER_CANCEL, MailKind.CANCELLED_AFTER_CANCEL),
        )
    }
)

#: Every mail there is.
MAILS: Mapping[MailKind, MailInfo] = MappingProxyType(
    {
        info.kind: info
        for info in (
            MailInfo(MailKind.CUSTOMER, "お支払いのご案内（お客様あて）", Status.AWAITING_PAYMENT),
            MailInfo(
                MailKind.CUSTOMER_CARRIER,
                "お支払いのご案内（お客様あて、携帯キャリア）",
                Status.AWAITING_PAYMENT,
            ),
            *SHOP_MAILS.values(),
            MailInfo(MailKind.CALL_FAILED, "CGI送信エラー通知", None),
        )
    }
)

_SUBJECTS: Mapping[MailKind, str] = MappingProxyType(
    {
        MailKind.CUSTOMER: "コンビニでのお支払い番号のお知らせ",
        MailKind.CUSTOMER_CARRIER: "お支払い番号のお知らせ",
        MailKind.APPLICATION_COMPLETED: "お申し込みを受け付けました",
        MailKind.APPLICATION_FAILED: "お申し込みを受け付けられませんでした",
        MailKind.PAYMENT_RECEIVED: "入金速報が届きました",
        MailKind.SALE_CONFIRMED: "売上が確定しました",
        MailKind.PAYMENT_CANCELLED: "入金が取り消されました",
        MailKind.RECEIVED_AFTER_CANCEL: "キャンセル済みのお申し込みに入金がありました",
        MailKind.CONFIRMED_AFTER_CANCEL: "キャンセル済みのお申し込みの売上が確定しました",
        MailKind.CANCELLED_AFTER_CANCEL: "キャンセル済みのお申し込みへの入金が取り消されました",
        MailKind.CALL_FAILED: "CGI送信エラー通知",
    }
)

_FAILURES: Mapping[str, str] = MappingProxyType(
    {
        Failure.TIMEOUT: "時間内に応答がありませんでした",
        Failure.CONNECTION: "接続できませんでした",
        Failure.NO_ANSWER: "応答を読み取れませんでした",
    }
)

_NOT_ZEUS = "これはZEUSではなくサンドボックスのメールです。お金は動かず、番号は本物のお店では使えません。"


def is_carrier(address: str) -> bool:
    """Tell whether an address is one of a mobile carrier's."""
    domain = address.rpartition("@")[2].lower()
    return any(domain == each or domain.endswith(f".{each}") for each in CARRIERS)


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail; `to` is an address, `at` JST by the sandbox's clock, `number` counts from 1."""

    number: int
    kind: MailKind
    to: str = field(repr=False)
    at: datetime
    application: SimulatedApplication
    message: str = field(default="", repr=False)
    call: Call | None = None

    @property
    def order_no(self) -> str:
        """ZEUS's serial of the application that it is about."""
        return self.application.order_no

    @property
    def subject(self) -> str:
        """The subject, marked as the sandbox's."""
        return f"【サンドボックス】{_SUBJECTS[self.kind]}"

    @property
    def text(self) -> str:
        """The body: plain text, its last line says that it is not from ZEUS."""
        lines = _TEXTS.get(self.kind, _to_shop)(self)
        return "\n".join([*lines, "", "-" * 40, _NOT_ZEUS, ""])


class Mailbox:
    """Every mail that was sent, in order. Safe for threads."""

    def __init__(self, contract: Contract, clock: Clock) -> None:
        self._contract = contract
        self._clock = clock
        self._lock = threading.Lock()
        self._mails: list[Mail] = []
        #: Hear of every mail; called in order, under the lock: be quick.
        self.listeners: list[Callable[[Mail], None]] = []

    @property
    def mails(self) -> list[Mail]:
        with self._lock:
            return list(self._mails)

    def tell(self, application: SimulatedApplication) -> None:
        """Send the mails that belong to the status which `application` has just got."""
        if application.info.mail_to_customer:
            kind = MailKind.CUSTOMER_CARRIER if is_carrier(application.email) else MailKind.CUSTOMER
            self._send(kind, application.email, application, message=self._contract.customer_message)
        if application.info.mail_to_shop:
            info = SHOP_MAILS[Status(application.status)]
            self._send(info.kind, self._contract.mail_to, application)

    def tell_failure(self, application: SimulatedApplication, call: Call) -> None:
        """Tell the shop that it has not answered a call with 200."""
        self._send(MailKind.CALL_FAILED, self._contract.mail_to, application, call=call)

    def clear(self) -> None:
        with self._lock:
            self._mails.clear()

    def _send(
        self,
        kind: MailKind,
        to: str,
        application: SimulatedApplication,
        *,
        message: str = "",
        call: Call | None = None,
    ) -> None:
        if kind in self._contract.mails_off and kind is not MailKind.CALL_FAILED:
            return
        with self._lock:
            mail = Mail(len(self._mails) + 1, kind, to, self._clock.now(), application, message, call)
            self._mails.append(mail)
            for listener in self.listeners:
                listener(mail)


def _to_customer(mail: Mail) -> list[str]:
    application = mail.application
    return [
        f"{application.username} 様",
        "",
        "コンビニエンスストアでのお支払いをお申し込みいただき、ありがとうございます。",
        "期限までに、お選びのお店で次の番号をお使いになってお支払いください。",
        "",
        *_numbers(application),
        f"お支払い方法: {TERMINALS[application.store]}",
        f"お支払い金額: {application.money:,}円",
        f"お支払い期限: {_day(application)}",
        *([f"払込票: {application.pay_url}"] if application.pay_url else []),
        *(["", mail.message] if mail.message else []),
        "",
        f"お支払いについてのお問い合わせ: {SUPPORT_PHONES[0]}（つながらないときは {SUPPORT_PHONES[1]}）",
    ]


def _to_carrier(mail: Mail) -> list[str]:
    application = mail.application
    return [
        *_numbers(application),
        f"{application.money:,}円 {_day(application)}まで",
        *([application.pay_url] if application.pay_url else []),
        *([mail.message] if mail.message else []),
        f"問合せ {SUPPORT_PHONES[0]}",
    ]


def _to_shop(mail: Mail) -> list[str]:
    return [f"{_SUBJECTS[mail.kind]}。", "", *_facts(mail.application)]


def _call_failed(mail: Mail) -> list[str]:
    call = mail.call
    assert call is not None
    said = f"HTTP {call.answer}" if call.answer else _FAILURES.get(call.failure, call.failure)
    return [
        "お店のCGIから200 OKの応答を受け取れませんでした。",
        "お店のサーバーを確かめてから、売上管理画面で通知を再送信してください。",
        "",
        f"通知のステータス: {call.status} {INFO[call.status].name}",
        f"お店の応答: {said}（{call.seconds:.1f}秒、{call.attempt}回目）",
        "",
        *_facts(mail.application),
    ]


def _facts(application: SimulatedApplication) -> list[str]:
    return [
        f"オーダー番号: {application.order_no}",
        f"お申し込み日時: {application.applied_at:%Y-%m-%d %H:%M}",
        f"お名前: {application.username} 様",
        *_numbers(application),
        f"金額: {application.money:,}円",
        *([f"支払期限: {_day(application)}"] if application.pay_limit else []),
        *([f"エラーコード: {application.error_code}"] if application.error_code else []),
        *([f"sendid: {application.sendid}"] if application.sendid else []),
        *([f"sendpoint: {application.sendpoint}"] if application.sendpoint else []),
        *(["テスト決済です。"] if application.test else []),
    ]


def _numbers(application: SimulatedApplication) -> list[str]:
    store = STORES[application.store]
    pairs = [(store.pay_no1, application.pay_no1), (store.pay_no2 or "", application.pay_no2)]
    if application.store is Store.FAMILYMART:  # its machine asks for the company code first
        pairs.reverse()
    return [f"お店: {store.name}", *(f"{label}: {number}" for label, number in pairs if number)]


def _day(application: SimulatedApplication) -> str:
    return f"{application.pay_limit:%Y年%m月%d日}" if application.pay_limit else ""


_TEXTS: Mapping[MailKind, Callable[[Mail], list[str]]] = MappingProxyType(
    {
        MailKind.CUSTOMER: _to_customer,
        MailKind.CUSTOMER_CARRIER: _to_carrier,
        MailKind.CALL_FAILED: _call_failed,
    }
)
