"""The report of an operation test, as it is filed."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flask_zeus_cvs import State
from flask_zeus_cvs.protocol.codes import Store, TestType
from flask_zeus_cvs.staff.operation_report import (
    TYPES,
    WRITERS,
    as_html,
    as_markdown,
    file_name,
    verdict,
    write,
)
from flask_zeus_cvs.staff.operation_test import Books, Door, Finding, Mark, Run
from flask_zeus_cvs.staff.operation_words import Remark
from tests.operation_runs import BEGAN, TESTER, run, seen, trial, with_books

#: A run of type 1 in which a mail did not come, and nobody has looked at ZEUS's screen yet.
MARKDOWN = r"""
# ゼウス コンビニ決済 運用テスト報告書

**結果：不合格の項目があります（○ 12件、× 1件、未確認 1件）。**

- テスト決済です。お金は動かず、商品は発送されません（ZEUS_CVS_TEST_FULFILLSは無効）。

## 実施内容

| 項目 | 内容 |
| --- | --- |
| 実施日時 | 2025/04/01 10:15:00 から 2025/04/01 10:47:00 まで（日本時間） |
| 実施者 | 山田 花子 |
| ショップ | shop |
| ショップのバージョン | 2025.4 |
| ソフトウェア | Flask-Zeus-CVS 0.1.0 |
| 送信先 | zeus.example |
| テスト決済処理区分 | 1（入金済 → 売上確定） |
| コンビニ | ローソン |
| 金額 | 1,000円 |
| テスト担当者 | ヤ＊＊＊、\*\*\*5678、t\*\*\*@example.com（一部を伏せています） |
| ローソンの申込 | TEST-20250401-101500-D002、オーダー番号 250401-1234567890、受付番号 123456、確認番号 654321 |

## 確認結果

| 確認項目 | 内容 | 結果 | 記録 |
| --- | --- | :-: | --- |
| 1. 申込データの送信と登録 | 申込を送信し、応答を受け取った | ○ | 0.4秒で応答がありました。 |
|  | ゼウスに登録され、オーダー番号を受け取った | ○ | オーダー番号 250401-1234567890 |
|  | 払込用番号と支払期限を受け取った | ○ | 受付番号 123456、確認番号 654321、支払期限 2025/04/11 |
| 2. 結果ページの表示 | 結果ページに、番号が決められた名称で表示された | ○ | 受付番号、確認番号が表示されました。 |
|  | 結果ページはhttpsでだけ開け、保存されない | ○ | httpでは開けず、保存を禁じる指定（no-store）があります。 |
|  | スマートフォンで結果ページが正しく見えた | ○ | 山田 花子が確認しました。 |
| 3. 通知の受信とパラメータの取得 | 通知（CGIコール）がすべて届いた | ○ | 01（3秒後）、04（61秒後）、05（1803秒後） |
|  | 通知のパラメータを読み取れた | ○ | どの通知にも14項目すべてがありました。 |
|  | 通知の内容が申込・応答と一致した | ○ | 金額・番号・送信した識別子が、申込および応答と一致しました。 |
|  | 支払いの状態が通知どおりに変わった | ○ | 支払いの状態：売上確定 |
|  | ショップの処理（レシーバー）が呼ばれた | ○ | 1回すべて成功しました：shop.books.enter |
|  | お客様あてのメールが届いた | ○ | 山田 花子が確認しました。 |
|  | ショップあてのメールが届いた | × | 下記参照 |
| 4. 売上管理画面への反映 | 売上管理画面にテストデータが表示された | 未確認 | 下記参照 |

## 届いた通知

| コンビニ | ステータス | 受信日時 | 申込から | 項目数 | 不足した項目 | 読取 | 一致 |
| --- | --- | --- | --- | --- | --- | :-: | :-: |
| ローソン | 01 未入金 | 2025/04/01 10:15:03 | 3秒 | 14 / 14 | なし | ○ | ○ |
|  | 04 入金済 | 2025/04/01 10:16:01 | 61秒 | 14 / 14 | なし | ○ | ○ |
|  | 05 売上確定 | 2025/04/01 10:45:03 | 1,803秒 | 14 / 14 | なし | ○ | ○ |

## 不合格の項目と対処

**× ショップあてのメールが届いた**

- 山田 花子の報告：04が無い|\<b\>

## 確認していない項目とその理由

| 内容 | 理由 | 後日の確認（日付・氏名） |
| --- | --- | --- |
| 売上管理画面にテストデータが表示された | 山田 花子が未確認のままとしました。 |  |

## 確認欄

|  | 氏名 | 日付 |
| --- | --- | --- |
| 実施者 |  |  |
| 確認者 |  |  |
"""


def filed() -> Run:
    good = run()
    no = Finding(Mark.FAILED, (Remark.of("person_says_no", by="山田 花子", note="04が無い|<b>"),))
    skipped = Finding(Mark.OPEN, (Remark.of("person_skipped", by="山田 花子"),))
    return replace(good, persons={**good.persons, "mail_shop": no, "screen": skipped})


def test_the_report_word_for_word() -> None:
    """Verdict, who and when in Japan, versions, host, type, store, each point, each notice, what failed, what is open."""
    assert as_markdown(filed()) == MARKDOWN.lstrip("\n")


@pytest.mark.parametrize("suffix", WRITERS)
def test_no_customer_is_named(suffix: str) -> None:
    """The tester's details are masked, and no link of the page is there."""
    report = WRITERS[suffix](filed())
    for each in (TESTER.name, TESTER.phone, TESTER.email):
        assert each not in report
    assert "/result/" not in report


def test_a_blocked_callback_is_explained_in_the_report() -> None:
    """The causes are numbered, the likeliest first, and what could not be looked at is listed with its reason."""
    blocked = run(with_books(notices=(), state=State.AWAITING_PAYMENT, calls=()), door=Door(has_token=True))
    report = as_markdown(blocked)
    assert (
        report.index("1. 送信元アドレス")
        < report.index("2. ゼウスに登録したURLの末尾")
        < report.index("3. プロキシ")
    )
    assert "通知は1件も届きませんでした。" in report
    assert "| 通知のパラメータを読み取れた | 通知が届かなかったため、確かめられません。 |  |" in report


def test_several_stores_stand_side_by_side() -> None:
    """A column for each store; a failure of one names it; its numbers are among the facts."""
    silent = replace(with_books(notices=(), calls=()), store=Store.MINISTOP, reference="TEST-2")
    report = as_markdown(run(trial(), silent))
    assert "| 確認項目 | 内容 | ローソン | ミニストップ |" in report
    assert "|  | 通知のパラメータを読み取れた | ○ | 未確認 |" in report
    assert "**× 通知（CGIコール）がすべて届いた（ミニストップ）**" in report
    assert (
        "| ミニストップの申込 | TEST-2、オーダー番号 250401-1234567890、受付番号 123456、確認番号 654321 |"
        in report
    )


def test_a_notice_that_came_twice_lacked_something_and_was_not_read() -> None:
    """The table of notices says so: times, how many of the 14, which not, and the marks."""
    notice = seen(
        "01", 3, times=2, brought=frozenset({"status", "order_no"}), unread=("money",), differs=("telno",)
    )
    row = next(
        each for each in as_markdown(run(with_books(notices=(notice,)))).splitlines() if "01 未入金" in each
    )
    assert "01 未入金（2回）" in row
    assert "2 / 14" in row
    assert "clientip, money, username" in row
    assert row.endswith("| × | × |")


def test_an_exercise_against_the_sandbox_says_so() -> None:
    """Nobody files it as ZEUS's test by mistake; hours that were not kept are on it, too."""
    notes = (Remark.of("sandbox", host="127.0.0.1:5001"), *run().notes)
    late = (Remark.of("out_of_hours", time="18:00"),)
    report = as_markdown(run(notes=notes, hours=late))
    assert (
        report.index("この記録は練習のものです。")
        < report.index("18:00の実施です。")
        < report.index("## 実施内容")
    )


def test_the_verdict() -> None:
    """Passed is said only if nothing failed and nothing is open."""
    assert verdict(run()) == "結果：すべての項目に合格しました（○ 14件、× 0件、未確認 0件）。"
    assert "不合格の項目があります（○ 12件、× 1件、未確認 1件）" in verdict(filed())
    assert "未確認の項目が残っています（○ 10件、× 0件、未確認 4件）" in verdict(replace(run(), persons={}))


def test_every_type_has_a_name() -> None:
    """What it plays stands beside its number."""
    assert list(TYPES) == list(TestType)
    assert all(name.startswith(kind.value) for kind, name in TYPES.items())


class _Reader(HTMLParser):
    """Notes tags that are not closed, and addresses that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta",):
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_html_stands_alone() -> None:
    """Japanese, for A4, loads nothing, runs nothing, closes its tags, and takes no markup from what a person typed."""
    page = as_html(filed())
    reader = _Reader()
    reader.feed(page)
    assert not reader.open
    assert not reader.loads
    assert '<html lang="ja">' in page
    assert "@page { size: A4" in page
    assert not re.search(r"<script|url\(|@import", page)
    assert "04が無い|&lt;b&gt;" in page


def test_html_and_markdown_say_the_same() -> None:
    """Every cell and sentence of the one is in the other."""
    plain = re.sub(r"\\(.)", r"\1", as_markdown(filed()))
    page = re.sub(r"<style>.*?</style>", "", as_html(filed()), flags=re.S)
    said = [each for each in re.sub(r"<[^>]+>", "\n", page).splitlines() if each.strip()]
    missing = [each for each in said if each.replace("&lt;", "<").replace("&gt;", ">") not in plain]
    assert missing == []


def test_a_report_never_overwrites_one(tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    path = tmp_path / file_name(TestType.SALE_CONFIRMED, BEGAN + timedelta(hours=14, minutes=50), ".md")
    assert path.name == "zeus-cvs-test-20250402-0105-type1.md"
    write(filed(), path)
    assert path.read_text("utf-8") == as_markdown(filed())
    with pytest.raises(FileExistsError):
        write(run(), path)
    assert path.read_text("utf-8") == as_markdown(filed())


def test_nothing_was_registered() -> None:
    """A report of a run that got no slip is a report all the same."""
    mute = trial(answer=None, reason="time-out", page=None, books=Books())
    assert "オーダー番号 なし" in as_markdown(run(mute))
