"""When ZEUS allows the operation test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.staff import hours as module
from flask_zeus_cvs.staff.hours import hours, in_time


def japan(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=JST)


@pytest.mark.parametrize(
    ("moment", "wrong"),
    [
        ("2025-04-01 08:59:59", ["out_of_hours"]),
        ("2025-04-01 09:00", []),
        ("2025-04-01 12:00", []),
        ("2025-04-01 17:30:59", []),
        ("2025-04-01 17:31", ["out_of_hours"]),
        ("2025-04-04 09:00", []),  # a Friday
        ("2025-04-05 09:00", ["weekend"]),
        ("2025-04-06 23:00", ["weekend", "out_of_hours"]),
        ("2025-04-29 10:00", ["holiday"]),  # 昭和の日
        ("2025-05-06 10:00", ["holiday"]),  # in place of みどりの日, a Sunday
        ("2026-09-22 10:00", ["holiday"]),  # a day between two holidays
        ("2025-05-03 10:00", ["weekend", "holiday"]),
        ("2025-05-07 10:00", []),
    ],
)
def test_the_hours_are_the_manuals(moment: str, wrong: list[str]) -> None:
    """Monday to Friday, 9:00 to 17:30 to the minute, no public holiday of Japan."""
    found = hours(japan(moment))
    assert [each.key for each in found] == wrong
    assert in_time(found) == (not wrong)


def test_the_hours_are_japans() -> None:
    """A server in another zone asks about Japan: 0:30 UTC is half past nine, and Friday's 16:00 UTC is a Saturday."""
    assert hours(datetime(2025, 4, 1, 0, 30, tzinfo=UTC)) == ()
    (weekend, late) = hours(datetime(2025, 4, 4, 16, 0, tzinfo=UTC))
    assert (weekend.key, late.key) == ("weekend", "out_of_hours")
    assert "01:00" in late.english


def test_a_holiday_has_its_name() -> None:
    """The person is told which one it is, in both languages."""
    (holiday,) = hours(japan("2025-04-29 10:00"))
    assert "Showa Day" in holiday.english
    assert "昭和の日" in holiday.japanese


def test_without_the_extra_holidays_were_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and that alone does not count as out of hours."""
    monkeypatch.setattr(module, "holidays", None)
    found = hours(japan("2025-04-29 10:00"))
    assert [each.key for each in found] == ["holidays_unknown"]
    assert in_time(found)
    assert not in_time(hours(japan("2025-04-29 10:00") + timedelta(hours=12)))
