"""The report of an operation test, in Japanese, to be filed at the shop: as Markdown, and as HTML that prints on A4.

Both are written from the same few blocks. No customer's detail is in it but masked ones, and no key of a page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.protocol.codes import STATUSES, STORES, Store, TestType
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.staff.operation_test import (
    ITEMS,
    POINTS,
    Finding,
    Mark,
    Run,
    Seen,
    Trial,
    after,
    moment_of,
    names_of,
    numbers_of,
)

TITLE = "ゼウス コンビニ決済 運用テスト報告書"
TYPES = {
    TestType.NO_PAYMENT: "0（未入金のまま）",
    TestType.SALE_CONFIRMED: "1（入金済 → 売上確定）",
    TestType.PAYMENT_CANCELLED: "2（入金済 → 入金取消）",
}
_STATUS_NAMES = {row.status: row.name for row in STATUSES if row.status is not None}
_SIGNATURES = ("実施者", "確認者")


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Lines:
    """Sentences: a paragraph each, or points of a list; ``strong`` where they are what the reader looks for first."""

    texts: tuple[str, ...]
    listed: bool = False
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under their heads; ``marks`` names the columns that hold a mark, ``facts`` has heads in its first column."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: frozenset[int] = frozenset()
    facts: bool = False


Block = Heading | Lines | Table


def blocks(run: Run) -> Iterator[Block]:
    """Lay the report out: the verdict, who and when, each point, the notices, what failed, what is open."""
    yield Lines((verdict(run),), strong=True)
    if run.notes or run.hours:
        yield Lines(tuple(each.japanese for each in (*run.notes, *run.hours)), listed=True)
    yield Heading("実施内容")
    yield Table(("項目", "内容"), tuple(_facts(run)), facts=True)
    yield Heading("確認結果")
    yield _results(run)
    yield from _notices(run)
    yield from _failures(run)
    yield from _left_open(run)
    yield Heading("確認欄")
    yield Table(("", "氏名", "日付"), tuple((each, "", "") for each in _SIGNATURES), facts=True)


def verdict(run: Run) -> str:
    """Say in one sentence what came of the test."""
    marks = run.marks
    counts = f"○ {marks[Mark.PASSED]}件、× {marks[Mark.FAILED]}件、未確認 {marks[Mark.OPEN]}件"
    if marks[Mark.FAILED]:
        return f"結果：不合格の項目があります（{counts}）。"
    if marks[Mark.OPEN]:
        return f"結果：不合格の項目はありません。未確認の項目が残っています（{counts}）。"
    return f"結果：すべての項目に合格しました（{counts}）。"


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    tester = run.tester
    yield "実施日時", f"{moment_of(run.began)} から {moment_of(run.ended)} まで（日本時間）"
    yield "実施者", run.by
    yield "ショップ", run.shop
    yield from run.versions
    yield "送信先", run.host
    yield "テスト決済処理区分", TYPES[run.kind]
    yield "コンビニ", "、".join(STORES[trial.store].name for trial in run.trials)
    yield "金額", f"{run.amount:,}円"
    yield "テスト担当者", f"{tester.name}、{tester.phone}、{tester.email}（一部を伏せています）"
    for trial in run.trials:
        yield f"{STORES[trial.store].name}の申込", _slip(trial)


def _slip(trial: Trial) -> str:
    order_no = trial.answer.order_no if trial.answer else ""
    numbers = numbers_of(trial.store, trial.answer) if order_no and trial.answer else []
    told = [f"{label} {value}" for label, value in numbers if value]
    return "、".join([trial.reference, f"オーダー番号 {order_no or 'なし'}", *told])


def _results(run: Run) -> Table:
    findings = run.findings
    several = len(findings) > 1
    heads = [STORES[store].name for store in findings] if several else ["結果"]
    rows = []
    for key, point in POINTS.items():
        found = [each[key] for each in findings.values()]
        seen = () if several else tuple(_brief(each) for each in found)
        marks = (each.mark for each in found)
        rows.append((f"{point.item}. {ITEMS[point.item][1]}", point.japanese, *marks, *seen))
    head = ("確認項目", "内容", *heads, *(() if several else ("記録",)))
    return Table(head, tuple(_without_repeats(rows)), marks=frozenset(range(2, 2 + len(heads))))


def _brief(finding: Finding) -> str:
    """What stands beside a mark; a failure and what is open have places of their own below."""
    if finding.mark is not Mark.PASSED:
        return "下記参照"
    return "".join(each.japanese for each in finding.remarks)


def _without_repeats(rows: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Leave the first column blank where it says again what stands above."""
    last = ""
    for first, *others in rows:
        yield ("" if first == last else first, *others)
        last = first


def _notices(run: Run) -> Iterator[Block]:
    yield Heading("届いた通知")
    rows = [_notice(trial, each) for trial in run.trials for each in trial.books.notices]
    if not rows:
        yield Lines(("通知は1件も届きませんでした。",))
        return
    head = ("コンビニ", "ステータス", "受信日時", "申込から", "項目数", "不足した項目", "読取", "一致")
    yield Table(head, tuple(_without_repeats(rows)), marks=frozenset({6, 7}))


def _notice(trial: Trial, seen: Seen) -> tuple[str, ...]:
    times = f"（{seen.times}回）" if seen.times > 1 else ""
    return (
        STORES[trial.store].name,
        f"{seen.status} {_STATUS_NAMES[seen.status]}{times}",
        moment_of(seen.at),
        f"{after(trial, seen):,.0f}秒",
        f"{len(NOTICE) - len(seen.missing)} / {len(NOTICE)}",
        names_of(seen.missing) or "なし",
        Mark.FAILED if seen.unread else Mark.PASSED,
        Mark.FAILED if seen.differs else Mark.PASSED,
    )


def _failures(run: Run) -> Iterator[Block]:
    found = _found(run, Mark.FAILED)
    if found:
        yield Heading("不合格の項目と対処")
    for what, finding in found:
        yield Lines((f"× {what}",), strong=True)
        yield Lines(tuple(each.japanese for each in finding.remarks), listed=True)
        if finding.causes:
            yield Lines(("考えられる原因（可能性の高い順）：",))
            yield Lines(tuple(f"{number}. {each.japanese}" for number, each in enumerate(finding.causes, 1)))


def _left_open(run: Run) -> Iterator[Block]:
    found = _found(run, Mark.OPEN)
    yield Heading("確認していない項目とその理由")
    if not found:
        yield Lines(("ありません。",))
        return
    rows = tuple((what, "".join(each.japanese for each in finding.remarks), "") for what, finding in found)
    yield Table(("内容", "理由", "後日の確認（日付・氏名）"), rows)


def _found(run: Run, mark: Mark) -> list[tuple[str, Finding]]:
    """Return what has a mark, with its point and, unless it is true of all, its stores."""
    return [
        (f"{point.japanese}{_where(stores)}", finding)
        for point, finding, stores in run.grouped()
        if finding.mark is mark
    ]


def _where(stores: Sequence[Store]) -> str:
    return f"（{'、'.join(STORES[each].name for each in stores)}）" if stores else ""


# --- files ------------------------------------------------------------------------------------------------


def file_name(kind: TestType, moment: datetime, suffix: str) -> str:
    """Name a report by its date and minute in Japan, and by the test's type."""
    return f"zeus-cvs-test-{moment.astimezone(JST):%Y%m%d-%H%M}-type{kind}{suffix}"


def write(run: Run, path: Path) -> None:
    """Write the report as the file's name asks, in UTF-8; raises `FileExistsError` rather than overwrite one."""
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(WRITERS[path.suffix.lower()](run))


# --- Markdown ---------------------------------------------------------------------------------------------


def as_markdown(run: Run) -> str:
    parts = [f"# {TITLE}", *(_markdown(block) for block in blocks(run))]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"## {block.text}"
    if isinstance(block, Lines):
        texts = [_plain(each) for each in block.texts]
        if block.listed:
            return "\n".join(f"- {each}" for each in texts)
        return "\n\n".join(f"**{each}**" if block.strong else each for each in texts)
    rule = tuple(":-:" if place in block.marks else "---" for place in range(len(block.head)))
    return "\n".join(_row(each) for each in (block.head, rule, *block.rows))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(each).replace('|', chr(92) + '|') for each in cells)} |"


def _plain(text: str) -> str:
    """Keep a text on one line, and what looks like markup from being it; inside words ``_`` is none."""
    line = " ".join(text.split())
    return "".join(f"\\{each}" if each in "\\`*[]<>" else each for each in line)


# --- HTML -------------------------------------------------------------------------------------------------

_STYLE = """
@page { size: A4; margin: 15mm; }
body { font: 10.5pt/1.6 "Hiragino Kaku Gothic ProN", "Yu Gothic", "Noto Sans CJK JP", "Noto Sans JP", Meiryo, sans-serif;
  color: #111; background: #fff; max-width: 180mm; margin: 0 auto; padding: 1rem; }
h1 { font-size: 16pt; border-bottom: 2px solid #111; margin: 0 0 .6em; padding-bottom: .2em; }
h2 { font-size: 12pt; margin: 1.4em 0 .4em; break-after: avoid; }
p { margin: .4em 0; } ul { margin: .4em 0; padding-left: 1.4em; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #888; padding: .25em .5em; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
thead th { background: #eee; font-weight: 600; white-space: nowrap; overflow-wrap: normal; }
tbody th { background: #f6f6f6; font-weight: 600; width: 26%; }
tr { break-inside: avoid; }
td.mark { text-align: center; white-space: nowrap; overflow-wrap: normal; }
td.mark { font-weight: 700; }
td.again { border-top-style: hidden; }
td.failed, p.failed { font-weight: 700; color: #a00000; }
td.open { color: #6b4a00; }
table.notices { font-size: 9pt; }
p.strong { font-weight: 700; }
p.verdict { font-size: 12pt; border: 1.5px solid #111; padding: .5em .8em; }
@media print { body { padding: 0; max-width: none; } * { print-color-adjust: exact; } }
""".strip()
_CLASSES = {Mark.FAILED.value: "mark failed", Mark.OPEN.value: "mark open"}
#: Columns beyond which a table is set smaller.
_WIDE = 5


def as_html(run: Run) -> str:
    first, *others = blocks(run)
    assert isinstance(first, Lines)
    failed = " failed" if run.marks[Mark.FAILED] else ""
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="ja">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{TITLE}</title>",
            f"<style>\n{_STYLE}\n</style>",
            "</head>",
            "<body>",
            f"<h1>{TITLE}</h1>",
            f'<p class="verdict strong{failed}">{escape(first.texts[0])}</p>',
            *(_html(block) for block in others),
            "</body>",
            "</html>\n",
        )
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h2>{escape(block.text)}</h2>"
    if isinstance(block, Table):
        return _html_table(block)
    if block.listed:
        return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in block.texts) + "</ul>"
    kind = ' class="strong failed"' if block.strong else ""
    return "\n".join(f"<p{kind}>{escape(each)}</p>" for each in block.texts)


def _html_table(table: Table) -> str:
    kind = ' class="notices"' if len(table.head) > _WIDE else ""
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in table.head)
    rows = "\n".join(f"<tr>{''.join(_cells(table, row))}</tr>" for row in table.rows)
    return f"<table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _cells(table: Table, row: Sequence[str]) -> Iterator[str]:
    for place, cell in enumerate(row):
        if table.facts and place == 0:
            yield f'<th scope="row">{escape(cell)}</th>'
        elif place in table.marks:
            yield f'<td class="{_CLASSES.get(cell, "mark")}">{escape(cell)}</td>'
        else:
            again = ' class="again"' if place == 0 and not cell else ""
            yield f"<td{again}>{escape(cell)}</td>"


#: How a report is written, by the file's ending.
WRITERS = {".md": as_markdown, ".html": as_html}
