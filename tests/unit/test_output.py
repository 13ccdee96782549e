"""What commands print."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from flask_zeus_cvs import Customer
from flask_zeus_cvs.cli.output import show_json, show_table
from flask_zeus_cvs.customer import masked


def test_a_table_lines_up_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Kanji count as two columns, numbers stand to the right, nothing is a hyphen."""
    show_table(["store", "amount", "name"], [["ローソン", "3,000", "ヤ＊＊＊"], ["x", "12", ""]])
    assert capsys.readouterr().out.splitlines() == [
        "store     amount  name",
        "--------  ------  --------",
        "ローソン   3,000  ヤ＊＊＊",
        "x             12  -",
    ]


def test_a_foreign_value_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and line ends in a reference are shown as marks."""
    show_table(["reference"], [["A\x1b[31m\n1"]])
    assert capsys.readouterr().out.splitlines()[-1] == "A\ufffd[31m\ufffd1"


def test_a_table_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the heads."""
    show_table(["reference", "state"], [])
    assert capsys.readouterr().out.splitlines() == ["reference  state", "---------  -----"]


def test_json_is_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    """Japanese as it is, moments with their zone, dates as dates."""
    show_json({"店": "ローソン", "at": datetime(2026, 1, 1, tzinfo=UTC), "day": date(2026, 1, 2)})
    said = capsys.readouterr().out
    assert '"店": "ローソン"' in said
    assert '"2026-01-01T09:00:00+09:00"' in said
    assert '"2026-01-02"' in said


@pytest.mark.parametrize(
    ("whole", "shown"),
    [
        (
            Customer("ヤマダ　タロウ", "09012345678", "taro@example.com"),
            ("ヤ＊＊＊", "***5678", "t***@example.com"),
        ),
        (Customer("", "", ""), ("", "", "")),
        (Customer("ア", "0312", "no address"), ("ア＊＊＊", "***0312", "n***")),
    ],
)
def test_masked_details(whole: Customer, shown: tuple[str, str, str]) -> None:
    """Enough to tell customers apart, and no more."""
    hidden = masked(whole)
    assert (hidden.name, hidden.phone, hidden.email) == shown
