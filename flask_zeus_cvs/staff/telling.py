"""An entry of a payment's story in words: a headline, and its facts by name, in English or Japanese."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.protocol.codes import STATUSES, STORES, Status, StatusInfo
from flask_zeus_cvs.staff import timeline
from flask_zeus_cvs.staff.timeline import Entry, Kind, Told
from flask_zeus_cvs.staff.wording import (
    DELIVERY_STATES,
    ERRORS,
    EVENTS,
    RESOLUTIONS,
    REVIEWS,
    SOURCES,
    STATES,
    VERDICTS,
    Words,
)

#: A fact: what it is called, and its value; moments and days are left to whoever shows them.
Fact = tuple[str, object]

#: What the facts of entries are called.
LABELS: Mapping[str, Words] = MappingProxyType(
    {
        "customer": Words("customer", "お客様"),
        "expires_at": Words("offer ends", "受付の終わり"),
        "state": Words("now", "現在の状態"),
        "order_no": Words("order number", "オーダー番号"),
        "deadline": Words("pay until", "支払期限"),
        "error": Words("ZEUS says", "ゼウスの回答"),
        "parameter": Words("ZEUS names as wrong", "誤りとされた項目"),
        "sendid": Words("sendid", "sendid"),
        "pay_url": Words("slip", "払込票のURL"),
        "reminded_at": Words("reminded", "期限の通知"),
        "came": Words("came again", "再受信"),
        "source": Words("from", "受信元"),
        "faults": Words("left out of account", "無視した項目"),
        "read": Words("read", "内容"),
        "raw": Words("raw", "受信データ"),
        "was": Words("state before", "前の状態"),
        "note": Words("note", "メモ"),
    }
)
_UNREADABLE = Words("unreadable", "読み取り不能")
_OPEN = Words("open: a person must decide", "判断待ち")
_TEST = Words("test", "テスト")
_YEN = Words("{:,} yen", "{:,}円")
_TIMES = Words("{} times in all", "計{}回")
_TRIES = Words("{} tries", "{}回試行")
_NEXT = Words("next", "次回")
_BY = Words("by {}", "担当：{}")
_STATUS_NAMES: Mapping[Status | None, StatusInfo] = {each.status: each for each in STATUSES if each.status}

_HEADLINES: Mapping[Kind, Words] = MappingProxyType(
    {
        Kind.CREATED: Words("created: {amount}", "作成：{amount}"),
        Kind.APPLIED: Words("applied: {store}", "申込：{store}"),
        Kind.NOTICE: Words("notice {status}: {verdict}", "通知 {status}：{verdict}"),
        Kind.EVENT: Words("event {event}: {means}", "イベント {event}：{means}"),
        Kind.REVIEW: Words("review {number}: {reason}", "要確認 {number}：{reason}"),
        Kind.RESOLVED: Words(
            "review {number} resolved: {resolution}, by {by}", "要確認 {number} 解決：{resolution}（{by}）"
        ),
        Kind.EXPIRED: Words("the offer ended", "受付期限切れ"),
        Kind.CLOSED: Words("closed by the shop", "受付終了"),
        Kind.PURGED: Words("the customer's details were taken out", "個人情報を削除"),
    }
)
_REISSUED = Words("re-issued on ZEUS's screen: {store}", "売上管理画面で再発行：{store}")


def headline(entry: Entry, locale: str = "en") -> str:
    """Say in a line what happened."""
    words = _HEADLINES[entry.kind]
    if isinstance(entry, timeline.Applied) and entry.reissued:
        words = _REISSUED
    tell = _NAMES.get(type(entry))
    return words.said(locale).format(**(tell(entry, locale) if tell is not None else {}))


def facts(entry: Entry, locale: str = "en") -> tuple[Fact, ...]:
    """Name what is known of it, without what is blank: texts, aware moments, days, and tuples of such."""
    tell = _FACTS.get(type(entry))
    told = tell(entry, locale) if tell is not None else ()
    return tuple((label, value) for label, value in told if value not in ("", None, ()))


def error_in_words(code: str, locale: str = "en") -> str:
    """Say what an error code of ZEUS's means; blank for none."""
    if not code:
        return ""
    return f"{code} {ERRORS[code].said(locale)}" if code in ERRORS else code


def yen(amount: int, locale: str = "en") -> str:
    return _YEN.said(locale).format(amount)


def status_in_words(status: Status | None, locale: str = "en") -> str:
    """Name a notice's status as ZEUS's screen does, in English with ours beside it."""
    if status is None:
        return _UNREADABLE.said(locale)
    info = _STATUS_NAMES[status]
    return f"{status.value} {info.name}" + ("" if locale.startswith("ja") else f" ({info.label})")


def delivery_in_words(told: Told, locale: str = "en") -> tuple[object, ...]:
    """Say what became of a delivery: its number, state, tries, moment, last error, and who decided."""
    tries = _TRIES.said(locale).format(told.attempts) if told.attempts > 1 else ""
    when = told.done_at
    if told.state == "pending" and told.attempts:
        tries, when = f"{tries}{', ' if tries else ''}{_NEXT.said(locale)}", told.due_at
    by = _BY.said(locale).format(told.decided_by) if told.decided_by else ""
    said = (
        f"#{told.delivery_id} {DELIVERY_STATES[told.state].said(locale)}",
        tries,
        when,
        told.last_error,
        by,
    )
    return tuple(each for each in said if each not in ("", None))


def _created(entry: timeline.Created, locale: str) -> Mapping[str, str]:
    return {"amount": yen(entry.amount, locale)}


def _applied(entry: timeline.Applied, locale: str) -> Mapping[str, str]:
    test = f" [{_TEST.said(locale)}]" if entry.test else ""
    return {"store": STORES[entry.store].name + test}


def _noticed(entry: timeline.NoticeCame, locale: str) -> Mapping[str, str]:
    verdict = VERDICTS[entry.verdict].said(locale)
    money = f", {yen(entry.money, locale)}" if entry.money is not None else ""
    return {"status": status_in_words(entry.status, locale) + money, "verdict": verdict}


def _told(entry: timeline.EventTold, locale: str) -> Mapping[str, str]:
    return {"event": entry.event.value, "means": EVENTS[entry.event].said(locale)}


def _raised(entry: timeline.ReviewRaised, locale: str) -> Mapping[str, str]:
    open_ = f" [{_OPEN.said(locale)}]" if entry.is_open else ""
    return {"number": str(entry.review_id), "reason": REVIEWS[entry.reason].name.said(locale) + open_}


def _resolved(entry: timeline.ReviewResolved, locale: str) -> Mapping[str, str]:
    meaning = RESOLUTIONS[entry.resolution].said(locale) if entry.resolution is not None else ""
    said = f"{entry.resolution}, {meaning}" if entry.resolution is not None else ""
    return {"number": str(entry.review_id), "resolution": said, "by": entry.by}


_NAMES: Mapping[type[Entry], Callable[[Any, str], Mapping[str, str]]] = MappingProxyType(
    {
        timeline.Created: _created,
        timeline.Applied: _applied,
        timeline.NoticeCame: _noticed,
        timeline.EventTold: _told,
        timeline.ReviewRaised: _raised,
        timeline.ReviewResolved: _resolved,
    }
)


def _facts_of_creation(entry: timeline.Created, locale: str) -> Iterator[Fact]:
    yield _label("customer", locale), _person(entry.customer)
    yield _label("expires_at", locale), entry.expires_at


def _facts_of_application(entry: timeline.Applied, locale: str) -> Iterator[Fact]:
    store = STORES[entry.store]
    yield _label("state", locale), STATES[entry.state].said(locale)
    yield _label("order_no", locale), entry.order_no
    yield store.pay_no1, entry.pay_no1
    yield store.pay_no2 or "pay_no2", entry.pay_no2
    yield _label("deadline", locale), entry.deadline
    yield _label("error", locale), error_in_words(entry.error_code, locale)
    yield _label("parameter", locale), entry.parameter
    yield _label("pay_url", locale), entry.pay_url
    yield _label("reminded_at", locale), entry.reminded_at
    yield _label("sendid", locale), entry.sendid
    yield _label("customer", locale), _person(entry.customer)


def _facts_of_notice(entry: timeline.NoticeCame, locale: str) -> Iterator[Fact]:
    source = SOURCES[entry.source].said(locale) if entry.source in SOURCES else entry.source
    if entry.times > 1:
        yield _label("came", locale), (_TIMES.said(locale).format(entry.times), entry.last_at)
    yield _label("source", locale), source if entry.source != "callback" else ""
    yield _label("order_no", locale), entry.order_no
    yield _label("faults", locale), ", ".join(entry.faults)
    yield _label("read", locale), " ".join(f"{name}={value}" for name, value in entry.read if value)
    yield _label("raw", locale), entry.raw


def _facts_of_event(entry: timeline.EventTold, locale: str) -> Iterator[Fact]:
    for each in entry.deliveries:
        yield each.subscriber, delivery_in_words(each, locale)


def _facts_of_resolution(entry: timeline.ReviewResolved, locale: str) -> Iterator[Fact]:
    yield _label("note", locale), entry.note


def _label(key: str, locale: str) -> str:
    return LABELS[key].said(locale)


def _person(customer: Customer) -> tuple[str, ...]:
    return tuple(each for each in (customer.name, customer.phone, customer.email) if each)


_FACTS: Mapping[type[Entry], Callable[[Any, str], Iterator[Fact]]] = MappingProxyType(
    {
        timeline.Created: _facts_of_creation,
        timeline.Applied: _facts_of_application,
        timeline.NoticeCame: _facts_of_notice,
        timeline.EventTold: _facts_of_event,
        timeline.ReviewResolved: _facts_of_resolution,
    }
)
