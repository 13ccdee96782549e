"""The first page: what needs a person, and how trade has gone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.contrib.admin.access import Access
from flask_zeus_cvs.contrib.admin.charts import (
    Chart,
    Series,
    column_chart,
    line_chart,
    pair_chart,
    stacked_chart,
)
from flask_zeus_cvs.contrib.admin.forms import DecisionForm
from flask_zeus_cvs.contrib.admin.page import Page, Translated, route
from flask_zeus_cvs.staff.figures import COUNTS, LONGEST, Day, Figures, Spread, desk, figures, today
from flask_zeus_cvs.web.texts import mark, translate
from flask_zeus_cvs.web.wording import STORE_NAMES

#: Seconds for which one request sweeps: what is left is for the next, and gunicorn ends a worker after 30.
SWEEP_SECONDS = 10.0
#: Days back from today that have a link.
PERIODS = (7, 30, 90, 365)
USUAL = 30
#: Widths of a chart, in units: in half a page or on a telephone, and across a desk's screen.
NARROW, WIDE = 400.0, 860.0
#: Up to so many days a chart has a point for each; then for each week, then for each four weeks.
_STEPS = ((92, 1), (366, 7), (LONGEST, 28))

#: What the counts of a day are called.
NAMES = {
    "applied": mark("申し込み"),
    "paid": mark("入金"),
    "late": mark("期限後の入金"),
    "confirmed": mark("売上確定"),
    "expired": mark("期限切れ"),
    "cancelled": mark("入金取消"),
    "after_cancel": mark("再発行前の番号での入金"),
}
_DAILY = ("applied", "paid", "confirmed", "expired")
_ODD = ("late", "cancelled", "after_cancel")


@dataclass(frozen=True)
class Drawing:
    """A chart with what belongs to it: title, one sentence on what it shows, and its numbers as a table.

    ``charts``: the drawing for each width, narrow first. ``keys`` name the series where there are several.
    """

    name: str
    title: str
    about: tuple[str, ...]
    charts: tuple[Chart, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: tuple[str, ...] = ()
    wide: bool = False
    empty: bool = False


class Dashboard(Page):
    """The numbers of a period."""

    def __init__(self, access: Access, category: Translated | None = None, **more: Any) -> None:
        super().__init__(access, mark("ダッシュボード"), "dashboard", category, **more)

    @route("/")
    def index(self) -> str:
        first, last, complaint = _period()
        found = self.read(lambda session: figures(session, first, last))
        waiting = self.read(desk)
        quiet = now() - waiting.last_notice_at if waiting.last_notice_at else None
        return self.show(
            "dashboard.html",
            figures=found,
            total=found.total,
            desk=waiting,
            quiet_hours=int(quiet / timedelta(hours=1)) if quiet is not None else None,
            drawings=drawings(found),
            names={name: translate(text) for name, text in NAMES.items()},
            periods=PERIODS,
            chosen=(last - first).days + 1 if last == today() else 0,
            complaint=complaint,
        )

    @route("/expire", "GET", "POST")
    def expire(self) -> ResponseReturnValue:
        """Sweep now, once somebody has said so twice."""
        form = DecisionForm(self.access.person())
        if request.method == "POST" and form.validate():
            return self._swept(form.name)
        page = self.show(
            "ask.html",
            form=form,
            title=translate("期限切れの確認"),
            texts=[
                translate("支払期限を過ぎた申し込みを期限切れにし、期限の近い方への案内を出します。"),
                translate("調べる件数：最大{count}件", count=self.payments.count_overdue()),
                translate("ショップの処理（在庫の戻しや案内メールなど）も動きます。"),
            ],
            button=translate("いますぐ行う"),
            back=url_for(".index"),
        )
        return page, 422 if form.complaints else 200

    def _swept(self, by: str) -> ResponseReturnValue:
        self.note("swept", by)
        end = time.monotonic() + SWEEP_SECONDS

        def step() -> None:
            if time.monotonic() > end:
                raise _Enough

        try:
            swept = self.payments.expire(step)
        except _Enough:  # each was a transaction of its own
            return self.go(
                ".expire", translate("数が多いため、途中まで行いました。続けるには、もう一度行ってください。")
            )
        said = translate(
            "期限切れにした申し込み {expired}件、終了した受付 {ended}件、案内 {reminded}件。",
            expired=swept.expired,
            ended=swept.ended,
            reminded=swept.reminded,
        )
        return self.go(".index", said)


class _Enough(Exception):
    """A request has swept for as long as it may."""


def _period() -> tuple[date, date, str]:
    """Read the period that is asked for; the usual one, with a complaint, for one that makes no sense."""
    last = today()
    usual = last - timedelta(days=USUAL - 1)
    days = request.args.get("days", type=int)
    if days in PERIODS:
        return last - timedelta(days=days - 1), last, ""
    if not request.args.get("from") and not request.args.get("to"):
        return usual, last, ""
    try:
        begins = date.fromisoformat(request.args.get("from") or usual.isoformat())
        ends = date.fromisoformat(request.args.get("to") or last.isoformat())
    except ValueError:
        return usual, last, translate("日付を読み取れません。例：2026-04-01")
    if not timedelta() <= ends - begins < timedelta(days=LONGEST):
        said = translate("期間は、始まりの日から終わりの日まで、{days}日以内にしてください。", days=LONGEST)
        return usual, last, said
    return begins, ends, ""


def _step(found: Figures) -> int:
    length = len(found.days)
    return next(step for most, step in _STEPS if length <= most)


def drawings(found: Figures) -> list[Drawing]:
    """Draw everything, in the order of the page."""
    return [
        _daily(found),
        _stores(found),
        _odd(found),
        _hours(found.hours_to_pay),
        _days(found.days_to_confirm),
    ]


def _daily(found: Figures) -> Drawing:
    steps = found.in_steps(_step(found))
    labels = [_short(each.day) for each in steps]
    series = [_series(name, steps) for name in _DAILY]
    return Drawing(
        name="daily",
        title=_per(found, mark("日ごとの推移"), mark("週ごとの推移"), mark("4週ごとの推移")),
        about=(translate("申し込み、入金、売上確定、期限切れの件数です。"),),
        charts=tuple(line_chart(labels, series, width) for width in (NARROW, WIDE)),
        head=(translate("日付"), *(translate(NAMES[name]) for name in COUNTS)),
        rows=tuple(
            (f"{each.day:%Y-%m-%d}", *(f"{getattr(each, name):,}" for name in COUNTS)) for each in steps
        ),
        keys=tuple(each.name for each in series),
        wide=True,
        empty=not any(any(each.values) for each in series),
    )


def _odd(found: Figures) -> Drawing:
    steps = found.in_steps(_step(found))
    labels = [_short(each.day) for each in steps]
    series = [_series(name, steps) for name in _ODD]
    return Drawing(
        name="odd",
        title=_per(
            found, mark("遅れと取消（日ごと）"), mark("遅れと取消（週ごと）"), mark("遅れと取消（4週ごと）")
        ),
        about=(translate("期限を過ぎてからの入金、店頭での取消、再発行前の番号での入金の件数です。"),),
        charts=(stacked_chart(labels, series, NARROW),),
        head=(translate("日付"), *(each.name for each in series)),
        rows=tuple(
            (f"{step.day:%Y-%m-%d}", *(f"{each.values[i]:,}" for each in series))
            for i, step in enumerate(steps)
        ),
        keys=tuple(each.name for each in series),
        empty=not any(any(each.values) for each in series),
    )


def _stores(found: Figures) -> Drawing:
    labels = [translate(STORE_NAMES[each.store]) for each in found.stores]
    applied, paid = [each.applied for each in found.stores], [each.paid for each in found.stores]
    return Drawing(
        name="stores",
        title=translate("コンビニ別"),
        about=(translate("この期間の申し込みのうち、これまでに支払われた件数です。"),),
        charts=(pair_chart(labels, applied, paid, NARROW),),
        head=(translate("コンビニ"), translate("申し込み"), translate("うち支払い済み"), translate("割合")),
        rows=tuple(
            (label, f"{each.applied:,}", f"{each.paid:,}", f"{100 * each.paid / each.applied:.0f}%")
            for label, each in zip(labels, found.stores, strict=True)
        ),
        keys=(translate("支払い済み"), translate("申し込み")),
        empty=not found.stores,
    )


def _hours(spread: Spread) -> Drawing:
    half = translate("半数の方が{hours}時間以内に支払っています。", hours=f"{spread.median or 0:.1f}")
    return _distribution(
        "hours",
        translate("申し込みから入金までの時間"),
        half,
        spread,
        [
            *(translate("{hours}時間未満", hours=bound) for bound in spread.bounds),
            translate("{hours}時間以上", hours=spread.bounds[-1]),
        ],
        [*(f"<{bound}" for bound in spread.bounds), f"{spread.bounds[-1]}+"],
        translate("時間"),
    )


def _days(spread: Spread) -> Drawing:
    half = translate("半数が{days}日以内に確定しています。", days=f"{spread.median or 0:.0f}")
    lower = (0, *spread.bounds)
    spans = [
        f"{low}" if high - low == 1 else f"{low}-{high - 1}"
        for low, high in zip(lower, spread.bounds, strict=False)
    ]
    labels = [*spans, f"{spread.bounds[-1]}+"]
    return _distribution(
        "days",
        translate("入金速報から売上確定までの日数"),
        half,
        spread,
        [
            *(translate("{days}日", days=each) for each in spans),
            translate("{days}日以上", days=spread.bounds[-1]),
        ],
        labels,
        translate("日数"),
    )


def _distribution(
    name: str, title: str, about: str, spread: Spread, rows: list[str], labels: list[str], unit: str
) -> Drawing:
    of = translate("直近の{count}件から計算しています。", count=f"{spread.total:,}")
    return Drawing(
        name=name,
        title=title,
        about=(about, of) if spread.sampled else (about,),
        charts=(column_chart(labels, spread.counts, NARROW),),
        head=(unit, translate("件数")),
        rows=tuple((row, f"{count:,}") for row, count in zip(rows, spread.counts, strict=True)),
        empty=not spread.total,
    )


def _series(name: str, steps: tuple[Day, ...]) -> Series:
    return Series(translate(NAMES[name]), tuple(getattr(each, name) for each in steps))


def _per(found: Figures, day: str, week: str, month: str) -> str:
    return translate({1: day, 7: week, 28: month}[_step(found)])


def _short(day: date) -> str:
    return f"{day.month}/{day.day}"
