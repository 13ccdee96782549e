"""Charts as geometry: what is drawn stands where its number says, inside the drawing, and says what it is."""

from __future__ import annotations

import itertools

import pytest

from flask_zeus_cvs.contrib.admin.charts import (
    BOTTOM,
    LEFT,
    TOP,
    Chart,
    Series,
    column_chart,
    line_chart,
    pair_chart,
    stacked_chart,
)

LABELS = ("4/1", "4/2", "4/3")


def test_a_line_follows_its_numbers() -> None:
    """Zero is at the bottom, the greatest number near the top, and the rest between in proportion."""
    chart = line_chart(LABELS, [Series("paid", (0, 50, 100))], 400, 240)
    [line] = chart.lines
    heights = [float(point.split(",")[1]) for point in line.points.split()]

    assert heights[0] == 240 - BOTTOM
    assert heights[2] == TOP
    assert heights[1] == pytest.approx((heights[0] + heights[2]) / 2, abs=0.1)
    assert [mark.title for mark in line.marks] == ["4/1 paid 0", "4/2 paid 50", "4/3 paid 100"]


def test_lines_share_one_scale() -> None:
    """Two series can be compared by eye: the same number has the same height in both."""
    chart = line_chart(LABELS, [Series("a", (10, 0, 0)), Series("b", (0, 1000, 10))], 400)
    first, second = ([point.split(",")[1] for point in line.points.split()] for line in chart.lines)
    assert first[0] == second[2]


def test_a_long_line_has_no_marks() -> None:
    """Where points touch, the line alone is drawn."""
    labels = [str(day) for day in range(365)]
    [line] = line_chart(labels, [Series("paid", tuple(range(365)))], 400).lines
    assert line.marks == ()


@pytest.mark.parametrize("count", [1, 2, 7, 31, 92, 157])
@pytest.mark.parametrize("width", [400, 860])
def test_labels_have_room(count: int, width: float) -> None:
    """However many days there are, their labels do not run into each other, and the first is there."""
    chart = line_chart([f"12/{day}" for day in range(count)], [Series("a", (1,) * count)], width)
    places = [tick.at for tick in chart.below]
    assert chart.below[0].text == "12/0"
    assert all(later - earlier >= 40 for earlier, later in itertools.pairwise(places))


@pytest.mark.parametrize("highest", [0, 1, 3, 4, 7, 10, 99, 1001, 123456])
def test_the_axis_has_a_few_round_numbers(highest: int) -> None:
    """From zero to beyond the highest, in at most six steps of 1, 2 or 5."""
    chart = line_chart(("a", "b"), [Series("a", (0, highest))], 400)
    numbers = [int(tick.text.replace(",", "")) for tick in chart.left]

    assert numbers[0] == 0
    assert numbers[-1] >= highest
    assert 2 <= len(numbers) <= 7
    assert str(numbers[1])[0] in "125"


def test_a_stack_adds_up() -> None:
    """Pieces stand on each other without gap or overlap, and a zero is no piece."""
    chart = stacked_chart(LABELS, [Series("late", (1, 0, 2)), Series("cancelled", (3, 4, 0))], 400)
    low, high = (bar for bar in chart.bars if bar.title.startswith("4/1"))

    assert high.y + high.height == pytest.approx(low.y)
    assert high.height == pytest.approx(3 * low.height)
    assert len(chart.bars) == 4


def test_columns_say_their_share() -> None:
    """The share of the whole stands over each column; a small one is not called none."""
    chart = column_chart(("<1", "<3", "3+"), (1, 0, 999), 400)
    assert [bar.text for bar in chart.bars] == ["<1%", "", "100%"]


def test_a_part_lies_over_its_whole() -> None:
    """Two bars begin at one place; the part is as long as its share."""
    whole, part, *_ = pair_chart(("Lawson", "Ministop"), (100, 0), (25, 0), 400).bars
    assert (whole.x, whole.y) == (part.x, part.y)
    assert part.width == pytest.approx(whole.width / 4)
    assert whole.text == "25 / 100"


@pytest.mark.parametrize(
    "chart",
    [
        line_chart(LABELS, [Series("a", (1, 10**6, 3))], 400),
        stacked_chart(LABELS, [Series("a", (1, 10**6, 3)), Series("b", (5, 6, 7))], 400),
        column_chart(LABELS, (0, 0, 0), 400),
        pair_chart(LABELS, (10**6, 1, 0), (10**6, 1, 0), 400),
        line_chart((), [Series("a", ())], 400),
        stacked_chart((), [Series("a", ())], 400),
        pair_chart((), (), (), 400),
    ],
)
def test_nothing_leaves_the_drawing(chart: Chart) -> None:
    """Whatever the numbers are, also none at all."""
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= chart.width
        assert 0 <= bar.y <= bar.y + bar.height <= chart.height
    for line in chart.lines:
        for point in line.points.split():
            x, y = map(float, point.split(","))
            assert LEFT - 0.1 <= x <= chart.right_end + 0.1
            assert TOP - 0.1 <= y <= chart.bottom_end + 0.1
