"""`flask zeus-cvs export`: payments in a file, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import logging
from pathlib import Path

import pytest
from click.testing import Result

from flask_zeus_cvs.models import Payment
from flask_zeus_cvs.staff import export
from tests.conftest import Shop
from tests.database.test_receive import notice


def run(shop: Shop, *arguments: str | Path) -> Result:
    runner = shop.app.test_cli_runner()
    return runner.invoke(args=["zeus-cvs", "export", *map(str, arguments)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def trade(shop: Shop) -> None:
    """Five payments: paid and confirmed, cancelled, re-issued, under review, never applied for."""
    for number, statuses in enumerate((["04", "05"], ["04", "06"], [], ["04"]), 1):
        shop.awaiting(order_no=f"000{number}-1", reference=f"A-100{number}")
        for status in statuses:
            shop.zeus.receive(notice(status, order_no=f"000{number}-1", money=2999 if number == 4 else 3000))
    payment = shop.zeus.find("A-1003")
    assert payment is not None
    assert payment.application is not None
    shop.zeus.receive(notice("01", order_no="0003-2", sendid=payment.application.sendid))
    shop.payment(reference="A-1005")


def test_one_line_for_each_application(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every payment is there, however small the batches, oldest first; amounts add up over the lines that count."""
    monkeypatch.setattr(export, "BATCH", 2)
    trade(shop)
    result = run(shop, tmp_path / "out.csv", "--language", "en", "--plain")
    assert result.exit_code == 0, result.output
    found = rows(tmp_path / "out.csv")
    assert [(each["reference"], each["order number"], each["counts"]) for each in found] == [
        ("A-1001", "0001-1", "1"),
        ("A-1002", "0002-1", "1"),
        ("A-1003", "0003-1", "0"),
        ("A-1003", "0003-2", "1"),
        ("A-1004", "0004-1", "1"),
        ("A-1005", "", "1"),
    ]
    assert [each["application state"] for each in found] == [
        "confirmed",
        "cancelled",
        "superseded",
        "awaiting_payment",
        "awaiting_payment",
        "",
    ]
    assert [bool(each["received"]) for each in found] == [True, True, False, False, False, False]
    assert [bool(each["confirmed"]) for each in found] == [True, False, False, False, False, False]
    assert [bool(each["cancelled"]) for each in found] == [False, True, False, False, False, False]
    assert [each["open reviews"] for each in found] == ["0", "0", "0", "0", "1", "0"]
    assert [each["payment state"] for each in found][-1] == "open"
    assert "5 payments, 6 lines" in result.stderr


def test_filters_are_those_of_list(sqlite_shop: Shop, tmp_path: Path) -> None:
    """What list finds is what is exported, by option or by text."""
    trade(sqlite_shop)
    run(sqlite_shop, tmp_path / "state.csv", "--state", "confirmed", "--language", "en")
    run(sqlite_shop, tmp_path / "text.csv", "A-1003", "--language", "en")
    assert [each["reference"] for each in rows(tmp_path / "state.csv")] == ["A-1001"]
    assert [each["reference"] for each in rows(tmp_path / "text.csv")] == ["A-1003", "A-1003"]


def test_json_lines(sqlite_shop: Shop) -> None:
    """One object a line on the standard output: codes, and moments with their zone; nothing personal unasked."""
    trade(sqlite_shop)
    result = run(sqlite_shop, "-", "--json")
    found = [json.loads(each) for each in result.stdout.splitlines()]
    assert len(found) == 6
    assert found[0]["state"] == "confirmed"
    assert found[0]["store"] == "D002"
    assert found[0]["received_at"].endswith("+09:00")
    assert "name" not in found[0]
    assert (
        json.loads(run(sqlite_shop, "-", "--json", "--reveal").stdout.splitlines()[0])["phone"]
        == "09012345678"
    )


def test_csv_on_the_standard_output(sqlite_shop: Shop) -> None:
    """The same bytes as in a file, CRLF included; what is said about them goes to the other output."""
    trade(sqlite_shop)
    result = run(sqlite_shop, "-", "--encoding", "cp932")
    heads, *found = csv.reader(io.StringIO(result.stdout_bytes.decode("cp932"), newline=""))
    assert heads[:2] == ["支払いID", "注文番号"]
    assert len(found) == 6
    assert b"\r\n" in result.stdout_bytes


def test_nothing_is_written_over(sqlite_shop: Shop, tmp_path: Path) -> None:
    """A file that is there stays as it is, unless --force is said."""
    out = tmp_path / "out.csv"
    out.write_text("precious")
    refused = run(sqlite_shop, out)
    assert (refused.exit_code, out.read_text()) == (2, "precious")
    assert "--force" in refused.stderr
    assert run(sqlite_shop, out, "--force").exit_code == 0
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")


def test_half_a_file_is_no_file(sqlite_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is broken off leaves neither half a file nor a temporary one, and the old one as it was."""
    monkeypatch.setattr(export, "BATCH", 2)
    trade(sqlite_shop)
    out = tmp_path / "folder" / "out.csv"
    out.parent.mkdir()
    out.write_text("last month's")
    written = export.Csv.write

    def broken(self: export.Csv, lines: list[export.Line]) -> bytes:
        if lines[0].payment.id > 1:
            raise KeyboardInterrupt
        return written(self, lines)

    monkeypatch.setattr(export.Csv, "write", broken)
    assert run(sqlite_shop, out, "--force").exit_code != 0
    assert [each.name for each in out.parent.iterdir()] == ["out.csv"]
    assert out.read_text() == "last month's"


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["nowhere/out.csv"], "Name another place"),
        (["."], "name a file in it"),
        (["-", "--json", "--encoding", "cp932"], "leave out"),
    ],
)
def test_mistakes_end_in_the_cure(sqlite_shop: Shop, arguments: list[str], cure: str) -> None:
    """Nothing is a traceback."""
    result = run(sqlite_shop, *arguments)
    assert result.exit_code in (1, 2)
    assert cure in result.stderr


def test_the_log_says_that_personal_data_left(sqlite_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """How many, and whether with customers' details: for whoever must account for it."""
    trade(sqlite_shop)
    with caplog.at_level(logging.INFO, "flask_zeus_cvs"):
        run(sqlite_shop, "-", "--reveal")
    (record,) = [each for each in caplog.records if getattr(each, "action", "") == "export"]
    assert (vars(record)["count"], vars(record)["revealed"]) == (len(sqlite_shop.all(Payment)), True)
