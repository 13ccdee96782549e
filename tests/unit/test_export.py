"""The cells of an export: what a spreadsheet would run or spoil, and what an encoding lacks."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime

import pytest

from flask_zeus_cvs import Customer, State, Store
from flask_zeus_cvs.models import Application, Payment
from flask_zeus_cvs.staff.export import COLUMNS, Csv, JsonLines, Line, columns, neutralised


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+81312345678",
        "-1",
        "@SUM(A1)",
        "\tx",
        "\rx",
        " =1+1",
        "＝１",
        "＋1",
        "－1",
        "−1",
        "＠x",
        '=HYPERLINK("x","y")',
    ],
)
def test_a_formula_does_not_run(text: str) -> None:
    """Whatever a spreadsheet would take for a formula begins with an apostrophe, for programs too."""
    assert neutralised(text) == "'" + text
    assert neutralised(text, plain=True) == "'" + text


@pytest.mark.parametrize(
    "text",
    [
        "0123",
        "1234567890123",
        "0001-1",
        "1E5",
        "１２",
        ".5",
        "¥5",
        "(5)",
        "R8.1.2",
        "h30/1/1",
        "Mar-1",
        "TRUE",
    ],
)
def test_a_name_that_looks_like_a_number_stays_as_it_is(text: str) -> None:
    """Leading zeros, long numbers, dates and truths are written as text; programs get them bare."""
    assert neutralised(text) == f'="{text}"'
    assert neutralised(text, plain=True) == text


@pytest.mark.parametrize(
    "text",
    [
        "A-1001",
        "D001",
        "S0000000001",
        "2LLZQZE6ATGF7UR4UQYS",
        "3F-12",
        "ローソン",
        "taro@example.com",
        "Truesdale",
    ],
)
def test_a_plain_text_is_left_alone(text: str) -> None:
    """What nobody would mistake has no marks."""
    assert neutralised(text) == text


def test_a_text_with_quotes_never_ends_the_quotes_of_ours() -> None:
    """A value cannot break out of the text formula that we write."""
    assert neutralised('1"&A1&"') == '1"&A1&"'


def line(name: str = "ヤマダ　タロウ", reference: str = "A-1001") -> Line:
    payment = Payment(
        id=7,
        reference=reference,
        amount=3000,
        customer=Customer(),
        created_at=datetime(2026, 11, 23, 15, 30, tzinfo=UTC),
        attempts=1,
    )
    application = Application(
        id=9,
        sendid="S1",
        store=Store.LAWSON,
        stored_state=State.RECEIVED,
        order_no="0001-1",
        pay_no1="012345",
        pay_no2="98765",
        pay_limit=date(2026, 12, 3),
        error_code="0011",
        customer=Customer(name, "09012345678", "taro@example.com"),
        created_at=datetime(2026, 11, 23, 15, 31, tzinfo=UTC),
    )
    payment.applications.append(application)
    return Line(payment, application, {}, 0)


def cells(table: Csv, each: Line, encoding: str = "utf-8-sig") -> dict[str, str]:
    written = (table.heads() + table.write([each])).decode(encoding)
    heads, values = csv.reader(io.StringIO(written, newline=""))
    return dict(zip(heads, values, strict=True))


def test_a_line_in_japanese() -> None:
    """Japanese heads, states and stores; Japan's time; numbers that stay numbers; CRLF and the mark of UTF-8."""
    table = Csv(columns(reveal=True))
    written = table.heads() + table.write([line()])
    assert written.startswith(b"\xef\xbb\xbf")
    assert written.count(b"\r\n") == written.count(b"\n") == 2
    row = cells(table, line())
    assert row["申込の状態"] == "入金済（速報）"
    assert row["コンビニ"] == "ローソン"
    assert row["作成日時"] == "2026-11-24 00:30:00"
    assert row["金額（円）"] == "3000"
    assert row["払込用番号1"] == '="012345"'
    assert row["エラーコード"] == '="0011"'
    assert row["電話番号"] == '="09012345678"'
    assert row["支払期限"] == "2026-12-03"


def test_a_line_in_english() -> None:
    """English heads, and states by the names that `list --state` takes."""
    row = cells(Csv(columns(reveal=False), "en", plain=True), line())
    assert (row["application state"], row["counts"], row["order number"]) == ("received", "1", "0001-1")


def test_what_an_encoding_lacks_is_seen_and_counted() -> None:
    """cp932 has no 𠮷: it becomes a mark, alone, and is counted; a wave dash becomes the one that it has."""
    table = Csv(columns(reveal=True), encoding="cp932")
    row = cells(table, line("𠮷野〜ヤ", "Ａ髙①"), "cp932")
    assert row["氏名"] == "〓野～ヤ"
    assert row["注文番号"] == "Ａ髙①"
    assert table.replaced == 1


def test_only_revealed_lines_hold_personal_data() -> None:
    """Without reveal no column tells of the customer, in either form."""
    hidden = columns(reveal=False)
    for written in (Csv(hidden).write([line()]), JsonLines(hidden).write([line()])):
        for personal in ("ヤマダ", "0901234", "taro"):
            assert personal.encode() not in written
    assert {each.key for each in COLUMNS} - {each.key for each in hidden} == {"name", "phone", "email"}


def test_every_column_has_a_head_of_its_own_in_each_language() -> None:
    """No two columns share a head or a key."""
    for heads in ([each.head.ja for each in COLUMNS], [each.head.en for each in COLUMNS]):
        assert len(set(heads)) == len(COLUMNS)
    assert len({each.key for each in COLUMNS}) == len(COLUMNS)
