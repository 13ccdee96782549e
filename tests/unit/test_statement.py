"""Lists of ZEUS's screen: read as they are meant, however they were saved; else named by their line, never quoted."""

from __future__ import annotations

import csv
import io
import itertools
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.exceptions import UnreadableStatement
from flask_zeus_cvs.protocol.codes import STATUSES, Status, Store
from flask_zeus_cvs.staff.statement import Line, Silent, Standing, Statement

#: As the sandbox's screen writes it, spelled by hand.
SANDBOX = (
    "order_no,status,status_name,pay_cvs,money,username,telno,email,sendid,sendpoint,pay_no1,pay_no2,pay_limit,"
    "error_code,test,applied_at,changed_at,replaces,replaced_by\r\n"
    "261123-0000000001,05,売上確定,D002,3000,ヤマダ　タロウ,09012345678,taro@example.com,ABC123,,012345,654321,"
    "20261203,,0,2026-11-23 10:15:00,2026-11-25 09:00:00,,\r\n"
    "261123-0000000002,,キャンセル,D001,500,ヤマダ　タロウ,09012345678,taro@example.com,ABC124,,1234567890123,,"
    "20261203,,1,2026-11-23 10:16:00,2026-11-23 10:16:00,,261123-0000000003\r\n"
)


FOLDER: list[Path] = []
NUMBERS = itertools.count()


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the lists are."""
    FOLDER.append(tmp_path_factory.mktemp("lists"))


def statement(text: str | bytes, encoding: str = "cp932", columns: dict[str, str] | None = None) -> Statement:
    """Write a list into a file, and open it."""
    path = FOLDER[0] / f"list-{next(NUMBERS)}.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return Statement(path, columns)


def read(text: str | bytes, encoding: str = "cp932", columns: dict[str, str] | None = None) -> list[Line]:
    return list(statement(text, encoding, columns).lines())


def faults(text: str | bytes, **columns: str) -> list[tuple[int, str, str]]:
    found = statement(text, columns=columns).contents.faults
    return [(each.number, each.column, each.wrong) for each in found]


@pytest.mark.parametrize("encoding", ["cp932", "utf-8", "utf-8-sig", "utf-16"])
def test_the_sandboxs_list(encoding: str) -> None:
    """All that it says and that we use, in each encoding, without being told which."""
    first, second = read(SANDBOX, encoding)
    assert first == Line(
        2,
        "261123-0000000001",
        Status.SALE_CONFIRMED,
        3000,
        sendid="ABC123",
        store=Store.LAWSON,
        pay_no1="012345",
        pay_no2="654321",
        pay_limit=date(2026, 12, 3),
        applied_at=datetime(2026, 11, 23, 10, 15, tzinfo=JST),
        changed_at=datetime(2026, 11, 25, 9, tzinfo=JST),
    )
    assert (second.standing, second.test, second.store) == (Silent.CANCELLED, True, Store.SEVEN_ELEVEN)


def test_a_japanese_list_with_a_title() -> None:
    """Names as a Japanese screen may have them, below a title, with money and dates as people write them."""
    (line,) = read(
        "売上一覧\r\n2026年11月\r\n"
        "オーダー番号,決済ステータス,金額（円）,コンビニ,支払期限,申込日時\r\n"
        '0001-1,入金済,"￥3,000",ﾛｰｿﾝ,2026年12月3日,2026/11/23 9:05\r\n'
    )
    assert (line.order_no, line.standing, line.money) == ("0001-1", Status.PAYMENT_RECEIVED, 3000)
    assert (line.store, line.pay_limit) == (Store.LAWSON, date(2026, 12, 3))
    assert line.applied_at == datetime(2026, 11, 23, 9, 5, tzinfo=JST)
    assert line.number == 4


@pytest.mark.parametrize(
    ("cell", "standing"),
    [(row.name, row.status or Silent(row.name)) for row in STATUSES]
    + [
        ("4", Status.PAYMENT_RECEIVED),
        ("０４", Status.PAYMENT_RECEIVED),
        ('"=""04"""', Status.PAYMENT_RECEIVED),
        ("'04", Status.PAYMENT_RECEIVED),
        ("04:入金済", Status.PAYMENT_RECEIVED),
        ("入金済（04）", Status.PAYMENT_RECEIVED),
        ("11", Status.RECEIVED_AFTER_CANCEL),
        ("ｷｬﾝｾﾙ", Silent.CANCELLED),
    ],
)
def test_a_status_in_every_spelling(cell: str, standing: object) -> None:
    """Two digits, one, a name, or both; and the two that have no digits."""
    (line,) = read(f"order_no,status,money\n1,{cell},500\n")
    assert line.standing == standing


@pytest.mark.parametrize(
    ("cell", "wrong"),
    [
        ("07", "is no status that we know"),
        ("確認中", "is no status that we know"),
        ("04 売上確定", "is no status that we know"),
        ("", "is blank"),
    ],
)
def test_a_status_that_says_two_things_or_none(cell: str, wrong: str) -> None:
    """Not guessed at: named with its line and its column."""
    text = f"オーダー番号,ステータス,金額\n1,04,500\n2,{cell},500\n"
    assert faults(text) == [(3, "ステータス", wrong)]


def test_digits_and_name_that_differ() -> None:
    """A column of digits and one of names must agree."""
    text = "order_no,status,status_name,money\n1,04,売上確定,500\n2,,番組停止,500\n"
    assert faults(text) == [(2, "status", "says one thing by its digits and another by its name")]


@pytest.mark.parametrize(
    "cell", ["3000", "３０００", "3000円", '"3,000"', "￥3000", "\\3000", "3000.00", '="3000"']
)
def test_money_in_every_spelling(cell: str) -> None:
    """Yen, however a spreadsheet shows them."""
    (line,) = read(f"order_no,status,money\n1,04,{cell}\n")
    assert line.money == 3000


@pytest.mark.parametrize("cell", ["", "3.5", "-3000", '"30,00"', "3000000", "三千", "1E+05"])
def test_money_that_is_none(cell: str) -> None:
    """Half yen, a minus, a separator in the wrong place: not guessed at."""
    ((number, column, _),) = faults(f"order_no,status,money\n1,04,500\n2,04,{cell}\n")
    assert (number, column) == (3, "money")


def test_a_rounded_order_number_is_named() -> None:
    """Excel shows long numbers rounded, and saves them so."""
    ((number, column, wrong),) = faults("order_no,status,money\n1,04,500\n1.23457E+15,04,500\n")
    assert (number, column) == (3, "order_no")
    assert "Excel" in wrong


def test_lost_zeros_cost_the_payment_numbers() -> None:
    """Where a status or a telephone number has lost its zero, payment numbers may have lost theirs."""
    assert not statement(SANDBOX).mangled
    assert statement(SANDBOX.replace(",05,", ",5,")).mangled
    assert statement(SANDBOX.replace("09012345678", "9012345678")).mangled


def test_a_name_that_cp932_lacks_harms_nothing() -> None:
    """Half a character, cut off where the name had to end, takes no comma with it: names are not read."""
    (line,) = read("お名前,オーダー番号,ステータス,金額\n髙".encode("cp932") + b"\xfa\xff\x83,0001,04,500\n")
    assert (line.order_no, line.money) == ("0001", 500)


def test_what_does_not_decide_is_left_out() -> None:
    """A store, a date or a number that breaks its rule harms nothing, and is counted."""
    text = "order_no,status,money,pay_cvs,pay_limit,pay_no1\n1,04,500,Ｄ９９９,12月3日,1.2E+12\n"
    found = statement(text)
    assert [(each.store, each.pay_limit, each.pay_no1) for each in found.lines()] == [(None, None, "")]
    assert found.dropped == {"pay_cvs": 1, "pay_limit": 1, "pay_no1": 1}


def test_the_most_advanced_of_two_lines_counts() -> None:
    """Two lists put together, in either order: what came of the other counts; the same twice is the same."""
    for rows in ("1,01,500\n1,05,500\n1,04,500\n", "1,05,500\n1,04,500\n1,05,500\n"):
        found = statement("order_no,status,money\n" + rows)
        assert [each.standing for each in found.lines()] == [Status.SALE_CONFIRMED]
        assert (found.contents.repeated, found.contents.faulty) == (2, 0)


@pytest.mark.parametrize("other", ["1,06,500", "1,05,700", "1,11,500"])
def test_two_lines_that_contradict_each_other(other: str) -> None:
    """Neither counts, and both lines are named, whatever comes after."""
    text = f"order_no,status,money\n1,05,500\n2,04,500\n{other}\n1,05,500\n"
    found = statement(text)
    assert [each.order_no for each in found.lines()] == ["2"]
    assert (4, "the order number", "stands in line 2 too, which says something else") in faults(text)


def test_a_column_is_named_by_the_shop() -> None:
    """By its name, in any width and case, or by its place; built-in names count beside it."""
    text = "取引番号,状態,金額,メモ\n1,04,500,2\n"
    assert read(text, columns={"order_no": "取引番号"})[0].order_no == "1"
    assert read(text, columns={"order_no": "#4"})[0].order_no == "2"


def test_a_list_without_names() -> None:
    """Where all columns are given by their places, the first line is one of the list."""
    text = "261123-01,04,500\n261123-02,05,600\n"
    columns = {"order_no": "#1", "status": "#2", "money": "#3"}
    assert [each.number for each in read(text, columns=columns)] == [1, 2]


def test_a_missing_column_names_those_that_there_are() -> None:
    """With the cure."""
    with pytest.raises(UnreadableStatement) as caught:
        statement("取引番号,ステータス,金額\n1,04,500\n")
    assert "no column for order_no" in str(caught.value)
    assert "取引番号, ステータス, 金額" in str(caught.value)
    assert "--column order_no=NAME" in str(caught.value)


def test_a_column_that_is_not_there_is_named() -> None:
    """What --column asks for and the file lacks."""
    with pytest.raises(UnreadableStatement, match="no column 取引No, which --column names"):
        statement("取引番号,ステータス,金額\n1,04,500\n", columns={"order_no": "取引No"})


@pytest.mark.parametrize(
    "text",
    [
        "261123-01,ヤマダ　タロウ,09012345678,taro@example.com,入金済,3000\n" * 2,
        "order_no,status,money\n" + "ヤマダ　タロウ,taro@example.com,09012345678\n" * 2,
        "order_no,status,money\nヤマダ　タロウ,04,500\n1,taro@example.com,500\n2,04,09012345678\n3,04,500\n",
    ],
)
def test_no_customer_is_quoted(text: str) -> None:
    """Neither where columns are missing or mixed up, nor where a line is wrong: errors name places only."""
    try:
        said = repr(statement(text).contents.faults)
    except UnreadableStatement as error:
        said = str(error)
    assert not any(secret in said for secret in ("ヤマダ", "taro", "0901234"))


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\x00\x01\x02", b"PK\x03\x04 a spreadsheet, not saved as CSV"]
)
def test_what_is_no_list_is_refused(content: bytes) -> None:
    """With a sentence, not a traceback."""
    with pytest.raises(UnreadableStatement, match=r"CSV|column|empty"):
        statement(content)


_ORDER_NO = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}", fullmatch=True).filter(
    lambda text: not text.replace(".", "").replace("E", "").isdigit()
)
_STANDING = st.sampled_from([row.status or Silent(row.name) for row in STATUSES])
_NAMES = {row.status or Silent(row.name): row.name for row in STATUSES}
_WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def _spelled(standing: Status | Silent, how: str) -> str:
    if isinstance(standing, Silent):
        return standing.value
    spellings = {"digits": standing.value, "one": standing.lstrip("0"), "name": _NAMES[standing]}
    return spellings.get(how, f"{standing} {_NAMES[standing]}")


@st.composite
def _saved(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, Standing, int]]]:
    """A list in one of the ways in which people save it, and what it means."""
    wanted = draw(
        st.lists(
            st.tuples(_ORDER_NO, _STANDING, st.integers(200, 299_999)),
            min_size=1,
            max_size=6,
            unique_by=lambda row: row[0],
        )
    )
    how, money = (
        draw(st.sampled_from(["digits", "one", "name", "both"])),
        draw(st.sampled_from(["{}", "{:,}", "{}円"])),
    )
    dress = draw(st.sampled_from(["{}", '="{}"', " {} "]))
    wide = draw(st.booleans())
    columns = draw(st.permutations(["オーダー番号", "ステータス", "金額", "お名前", "メモ"]))
    text = io.StringIO()
    for _ in range(draw(st.integers(0, 2))):
        text.write("売上一覧\r\n")
    writer = csv.writer(
        text,
        delimiter=draw(st.sampled_from(",\t;")),
        quoting=draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])),
    )
    writer.writerow(columns)
    for order_no, standing, yen in wanted:
        amount = money.format(yen)
        row = {
            "オーダー番号": dress.format(order_no),
            "ステータス": dress.format(_spelled(standing, how)),
            "金額": amount.translate(_WIDE) if wide else amount,
            "お名前": 'ヤマダ\nタロウ, "様"',
            "メモ": "",
        }
        writer.writerow([row[name] for name in columns])
    encoding = draw(st.sampled_from(["cp932", "utf-8", "utf-8-sig", "utf-16"]))
    return text.getvalue().encode(encoding), wanted


@given(_saved())
def test_what_was_meant_is_read(saved: tuple[bytes, list[tuple[str, Standing, int]]]) -> None:
    """Any order of columns, any spelling, separator, quoting and encoding: the same list."""
    content, wanted = saved
    assert [(each.order_no, each.standing, each.money) for each in read(content)] == wanted


@given(st.binary(max_size=400))
@example(b"order_no,status,money\n1,04,500\n\xff\xff,\x80\n")
@example(b'order_no,status,money\n"1,04,500\n2,04,500\n')
@example("order_no,status,money\n1,04,500\n²,04,500\n3,４²,500\n".encode())
def test_no_bytes_lead_to_a_traceback(content: bytes) -> None:
    """Whatever is in a file: it is read, or refused in a sentence."""
    try:
        found = statement(content)
        assert all(isinstance(each, Line) for each in found.lines())
    except UnreadableStatement:
        pass


_CELLS = st.text(st.sampled_from("0149=\",'E+./-年月日¥円０４入金済キャンセルA\t "), max_size=8)


@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS, _CELLS, _CELLS), min_size=1, max_size=4))
def test_no_cells_lead_to_a_traceback(rows: list[tuple[str, ...]]) -> None:
    """Nor do cells that look much like what they should be; whatever is read keeps its rule."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(
        [("order_no", "status", "money", "pay_limit", "applied_at"), ("ok-1", "04", "500", "", ""), *rows]
    )
    found: Any = statement(text.getvalue(), "utf-8")
    for line in found.lines():
        assert 0 <= line.money <= 299_999
        assert line.order_no.isascii()
    assert found.contents.lines <= len(rows) + 1
