"""The barcode of 7-Eleven's slip against the published table of Code 128, looked up by hand."""

from __future__ import annotations

import re

import pytest

from flask_zeus_cvs.simulator import barcode

#: Widths of bar, gap, bar, … for 1234567890123: start C, six pairs, "code B", the odd 3, check 82, stop.
#: The check: (105 + 1·12 + 2·34 + 3·56 + 4·78 + 5·90 + 6·12 + 7·100 + 8·19) mod 103.
BY_HAND = "211232 112232 131123 331121 241112 214121 112232 114131 221132 121241 2331112"


def by_hand() -> str:
    widths = BY_HAND.replace(" ", "")
    return "".join("10"[place % 2] * int(width) for place, width in enumerate(widths))


def test_the_bars_are_those_of_code_128() -> None:
    """Module for module: a scanner reads the thirteen digits."""
    assert barcode.modules("1234567890123") == by_hand()


def test_the_drawing_has_these_bars() -> None:
    """Each bar of the path is where its modules are, with the white that a scanner needs before it."""
    drawn = ["0"] * (barcode.QUIET + len(by_hand()))
    for left, width in re.findall(r"M(\d+) 0h(\d+)v1h-\d+z", barcode.path(by_hand())):
        drawn[int(left) : int(left) + int(width)] = "1" * int(width)
    assert "".join(drawn) == "0" * 10 + by_hand()


def test_without_the_library_there_is_no_barcode(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: the slip then has the number alone."""
    monkeypatch.setattr(barcode, "Code128", None)
    assert barcode.path(barcode.modules("1234567890123")) == ""
