"""Charts as geometry: frozen values that the template draws as SVG. No script, no style but that of the style sheet.

A chart is as wide as its ``width`` says, in units of its own; its letters have a size in these units, so a page offers
a narrow and a wide one where the room differs much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Units round the drawing: above, right, below, left.
TOP, RIGHT, BOTTOM, LEFT = 18.0, 10.0, 26.0, 44.0
#: Points so close that marks would touch are drawn as a line alone.
_ROOM_FOR_MARKS = 14.0
#: Units that the label of a day needs.
_ROOM_FOR_LABEL = 62.0


@dataclass(frozen=True)
class Tick:
    """A place on an axis, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """A point of a line; ``title`` is what it says."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Series:
    """Numbers of one kind: what they are called, one for each label of the chart."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Line:
    """A series as it is drawn; ``number`` chooses its colour and its dashes."""

    number: int
    name: str
    points: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Bar:
    """A rectangle; ``text`` stands at its end, ``title`` is what it says."""

    number: int
    x: float
    y: float
    width: float
    height: float
    title: str
    text: str = ""
    text_at: float = 0.0


@dataclass(frozen=True)
class Chart:
    """A drawing of so many units."""

    width: float
    height: float
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    #: Along the bottom, and up the left side.
    below: tuple[Tick, ...] = ()
    left: tuple[Tick, ...] = ()

    @property
    def right_end(self) -> float:
        return self.width - RIGHT

    @property
    def bottom_end(self) -> float:
        return self.height - BOTTOM


def line_chart(labels: Sequence[str], series: Sequence[Series], width: float, height: float = 240.0) -> Chart:
    """Draw each series as a line over the same labels."""
    scale = _Scale(max((max(each.values, default=0) for each in series), default=0), height)
    step = (width - LEFT - RIGHT) / max(len(labels) - 1, 1)
    places = [LEFT + step * i for i in range(len(labels))]
    return Chart(
        width,
        height,
        lines=tuple(_line(i, each, labels, places, scale) for i, each in enumerate(series, 1)),
        below=_some(labels, places, width),
        left=scale.ticks,
    )


def _line(number: int, series: Series, labels: Sequence[str], places: Sequence[float], scale: _Scale) -> Line:
    heights = [scale.at(value) for value in series.values]
    apart = places[1] - places[0] if len(places) > 1 else _ROOM_FOR_MARKS
    marks = [
        Mark(x, y, f"{label} {series.name} {value:,}")
        for label, x, y, value in zip(labels, places, heights, series.values, strict=True)
    ]
    return Line(
        number,
        series.name,
        " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(places, heights, strict=True)),
        tuple(marks) if apart >= _ROOM_FOR_MARKS else (),
    )


def stacked_chart(
    labels: Sequence[str], series: Sequence[Series], width: float, height: float = 240.0
) -> Chart:
    """Draw for each label one column, in which the series stand on each other."""
    sums = [sum(values) for values in zip(*(each.values for each in series), strict=True)]
    scale = _Scale(max(sums, default=0), height)
    room = (width - LEFT - RIGHT) / max(len(labels), 1)
    bars = []
    for i, label in enumerate(labels):
        below = 0
        for number, each in enumerate(series, 1):
            value = each.values[i]
            if value:
                top = scale.at(below + value)
                title = f"{label} {each.name} {value:,}"
                x = LEFT + room * (i + 0.15)
                bars.append(Bar(number, x, top, room * 0.7, scale.at(below) - top, title))
            below += value
    places = [LEFT + room * (i + 0.5) for i in range(len(labels))]
    return Chart(width, height, bars=tuple(bars), below=_some(labels, places, width), left=scale.ticks)


def column_chart(labels: Sequence[str], values: Sequence[int], width: float, height: float = 240.0) -> Chart:
    """Draw one column for each label, with its share of the whole over it."""
    scale = _Scale(max(values, default=0), height)
    whole = sum(values)
    room = (width - LEFT - RIGHT) / max(len(labels), 1)
    bars = []
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        top = scale.at(value)
        text = _percent(value, whole) if value else ""
        x = LEFT + room * (i + 0.1)
        bars.append(Bar(1, x, top, room * 0.8, scale.zero - top, f"{label} {value:,}", text, x + room * 0.4))
    below = tuple(Tick(LEFT + room * (i + 0.5), label) for i, label in enumerate(labels))
    return Chart(width, height, bars=tuple(bars), below=below, left=scale.ticks)


def pair_chart(labels: Sequence[str], wholes: Sequence[int], parts: Sequence[int], width: float) -> Chart:
    """Draw for each label a bar to the right, and over it the part that it has; both numbers stand at the end."""
    label_room, text_room, row = 112.0, 112.0, 34.0
    longest = max(wholes, default=0) or 1
    unit = (width - label_room - text_room) / longest
    bars, left = [], []
    for i, (label, whole, part) in enumerate(zip(labels, wholes, parts, strict=True)):
        y = 6 + row * i
        text = f"{part:,} / {whole:,}"
        left.append(Tick(y + 15, label))
        bars.append(
            Bar(
                2,
                label_room,
                y,
                max(whole * unit, 1),
                22,
                f"{label} {text}",
                text,
                label_room + whole * unit + 6,
            )
        )
        if part:
            bars.append(Bar(1, label_room, y, max(part * unit, 1), 22, f"{label} {text}"))
    return Chart(width, 6 + row * max(len(labels), 1), bars=tuple(bars), left=tuple(left))


def _percent(value: int, whole: int) -> str:
    share = 100 * value / whole
    return "<1%" if share < 1 else f"{share:.0f}%"


def _some(labels: Sequence[str], places: Sequence[float], width: float) -> tuple[Tick, ...]:
    """Choose as many labels as there is room for, evenly, from the first."""
    most = max(int((width - LEFT - RIGHT) / _ROOM_FOR_LABEL), 1)
    every = max(math.ceil(len(labels) / most), 1)
    return tuple(Tick(places[i], labels[i]) for i in range(0, len(labels), every))


class _Scale:
    """Where a number stands, from zero at the bottom to a round one at the top."""

    def __init__(self, highest: int, height: float) -> None:
        self.step = _round_step(highest)
        self.top = self.step * max(math.ceil(highest / self.step), 1)
        self.zero = height - BOTTOM
        self._unit = (self.zero - TOP) / self.top

    def at(self, value: int) -> float:
        return self.zero - value * self._unit

    @property
    def ticks(self) -> tuple[Tick, ...]:
        return tuple(Tick(self.at(value), f"{value:,}") for value in range(0, self.top + 1, self.step))


def _round_step(highest: int) -> int:
    """Choose a step of 1, 2 or 5 times a power of ten, so that about four of them reach the highest."""
    rough = max(highest / 4, 1)
    power = 10 ** math.floor(math.log10(rough))
    return int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
