"""When ZEUS allows the operation test: Monday to Friday, 9:00 to 17:30 in Japan, public holidays excepted.

Public holidays are known with the extra ``holidays`` only.
"""

from __future__ import annotations

from datetime import date, datetime, time

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.staff.operation_words import Remark

try:
    import holidays
except ImportError:  # the extra `holidays` is not installed
    holidays = None  # type: ignore[assignment]

#: To the minute: 17:30:59 is still in time.
OPENS, CLOSES = time(9), time(17, 30)
_SATURDAY = 5
_DAYS = (("Saturday", "土曜日"), ("Sunday", "日曜日"))


def hours(moment: datetime) -> tuple[Remark, ...]:
    """Return what speaks against a test at an aware ``moment``, and whether nobody looked at public holidays."""
    local = moment.astimezone(JST)
    remarks = (_weekend(local.date()), _holiday(local.date()), _office_hours(local.time()))
    return tuple(each for each in remarks if each is not None)


def in_time(remarks: tuple[Remark, ...]) -> bool:
    """Tell whether ``hours`` found nothing that speaks against it."""
    return all(each.key == "holidays_unknown" for each in remarks)


def _weekend(day: date) -> Remark | None:
    if day.weekday() < _SATURDAY:
        return None
    english, japanese = _DAYS[day.weekday() - _SATURDAY]
    return Remark.of("weekend", day_en=english, day_ja=japanese)


def _holiday(day: date) -> Remark | None:
    if holidays is None:
        return Remark.of("holidays_unknown")
    japanese, english = (
        holidays.country_holidays("JP", years=day.year, language=each).get(day) for each in ("ja", "en_US")
    )
    return Remark.of("holiday", name_en=english or "", name_ja=japanese) if japanese else None


def _office_hours(moment: time) -> Remark | None:
    if OPENS <= moment.replace(second=0, microsecond=0) <= CLOSES:
        return None
    return Remark.of("out_of_hours", time=f"{moment:%H:%M}")
