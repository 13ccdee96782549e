"""Reads what a program, a form or a command line gives for a value: JSON's own kinds, or a text that says the same.

Each raises a `ValueError` that says what there is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from flask_zeus_cvs.simulator.clock import JST

Choice = TypeVar("Choice", bound=StrEnum)

_FLAGS: Mapping[bool | str, bool] = MappingProxyType(
    {True: True, False: False, "true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
)


def as_items(value: object) -> list[str]:
    """Read a list, or a text with commas or blanks between its items; a form may give several such texts."""
    texts: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("give a list of texts")
    return [item for each in texts for item in re.split(r"[,\s]+", each) if item]


def as_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("give a text")
    return value.strip()


def as_one_of(kinds: type[Choice], value: str) -> Choice:
    if value not in list(kinds):
        raise ValueError(f"there is no {value!r}: take one of {', '.join(kinds)}")
    return kinds(value)


def as_some_of(value: object, choices: tuple[Any, ...]) -> list[Any]:
    known = {str(each): each for each in choices}
    given = as_items(value)
    wrong = next((each for each in given if each not in known), None)
    if wrong is not None:
        raise ValueError(f"there is no {wrong!r}: take some of {', '.join(known)}")
    if len(set(given)) < len(given):
        raise ValueError("one of them is given twice")
    return [known[each] for each in given]


def as_number(value: object, least: float, most: float) -> float:
    try:
        number = (
            float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
        )
    except (ValueError, OverflowError):
        number = None
    if number is None or not least <= number <= most:
        raise ValueError(f"give a number from {least:g} to {most:g}")
    return number


def as_whole(value: object, least: int, most: int) -> int:
    number = as_number(value, least, most)
    if number != int(number):
        raise ValueError(f"give a whole number from {least} to {most}")
    return int(number)


def as_flag(value: object) -> bool:
    if not isinstance(value, (bool, str)) or value not in _FLAGS:
        raise ValueError("give true or false")
    return _FLAGS[value]


def as_moment(value: object) -> datetime:
    """Read an aware time, or a day: its beginning in Japan. A form makes a space of the plus of ``+09:00``."""
    text = re.sub(r"(T\S+) (\d\d:?\d\d)$", r"\1+\2", as_text(value))
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return datetime.combine(date.fromisoformat(text), time(), JST)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(JST)
    except (ValueError, OverflowError):
        raise ValueError("give a day, or a time with its zone, as 2026-12-01T09:00:00+09:00") from None
