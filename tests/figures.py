"""``make figures``: draw the states of an application from `lifecycle.TABLE`, and renew the tables of docs/19.

Only where a state stands in the figure, and which of its moves are drawn, is written here. Where a move leads is looked
up. The same functions tell a test whether the figure and the pages are what the table says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from flask_zeus_cvs.lifecycle import HOLDS_MONEY, LIVE, NOTICES, STATES, TABLE, Cell, Input, State
from tests.papers import DOCS
from tests.test_layers import MAY_IMPORT

FIGURE = DOCS["en"] / "images" / "states.svg"
PAGES = [folder / "21-how-it-works.md" for folder in DOCS.values()]
#: Column and row of each state.
PLACES: dict[State, tuple[int, int]] = {
    State.DECLINED: (0, 0),
    State.EXPIRED: (1, 0),
    State.CANCELLED: (3, 0),
    State.SUBMITTING: (0, 1),
    State.AWAITING_PAYMENT: (1, 1),
    State.RECEIVED: (2, 1),
    State.CONFIRMED: (3, 1),
    State.FAILED: (0, 2),
    State.UNKNOWN: (1, 2),
    State.SUPERSEDED: (2, 2),
    State.RECEIVED_AFTER_CANCEL: (3, 2),
    State.CANCELLED_AFTER_CANCEL: (2, 3),
    State.CONFIRMED_AFTER_CANCEL: (3, 3),
}
#: The ordinary course: which inputs are drawn at which state. A state that is late or lost has the tables.
COURSE: dict[State, tuple[Input, ...]] = {
    State.SUBMITTING: (Input.ACCEPTED, Input.DECLINED, Input.UNKNOWN, Input.NOT_SENT, Input.NOTICE_02),
    State.UNKNOWN: (Input.ACCEPTED, Input.NOTICE_01),
    State.AWAITING_PAYMENT: (Input.NOTICE_03, Input.SWEEP, Input.NOTICE_04, Input.SUPERSEDED),
    State.EXPIRED: (Input.NOTICE_04,),
    State.RECEIVED: (Input.NOTICE_05, Input.NOTICE_06),
    State.SUPERSEDED: (Input.NOTICE_11,),
    State.RECEIVED_AFTER_CANCEL: (Input.NOTICE_12, Input.NOTICE_13),
}
OURS = tuple(each for each in Input if each not in NOTICES)

_STEP_X, _STEP_Y, _WIDE, _HIGH, _EDGE = 272, 112, 172, 46, 16
_STYLE = """
  svg { color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --soft: #57606a; --fill: #f4f6f8; }
  @media (prefers-color-scheme: dark) { svg { --paper: #131416; --ink: #e6edf3; --soft: #9da7b1; --fill: #22262b; } }
  .paper { fill: var(--paper); }
  rect.state { fill: var(--fill); stroke: var(--ink); }
  rect.live { stroke-dasharray: 6 4; }
  rect.money { stroke-width: 4; }
  text { font: 16px ui-monospace, monospace; fill: var(--ink); text-anchor: middle; dominant-baseline: central; }
  text.label { fill: var(--soft); stroke: var(--paper); stroke-width: 6px; paint-order: stroke; }
  path { stroke: var(--soft); stroke-width: 1.5; fill: none; }
  marker path { fill: var(--soft); stroke: none; }
"""


def moves() -> dict[tuple[State, State], list[Input]]:
    """Each arrow, with the inputs that stand at it."""
    found: dict[tuple[State, State], list[Input]] = {}
    for state, inputs in COURSE.items():
        for given in inputs:
            after = TABLE[state, given].state
            assert after is not None, f"{given} does not move {state}"
            found.setdefault((state, after), []).append(given)
    return found


def figure() -> str:
    """Draw the figure: a whole SVG file, with a title and a description in words."""
    columns, rows = (max(each) + 1 for each in zip(*PLACES.values(), strict=True))
    width = _STEP_X * (columns - 1) + _WIDE + 2 * _EDGE
    height = _STEP_Y * (rows - 1) + _HIGH + 2 * _EDGE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-labelledby="title desc">',
            '<title id="title">The states of an application in the ordinary course</title>',
            f'<desc id="desc">{escape(" ".join(_sentences()))}</desc>',
            f"<style>{_STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" '
            'orient="auto"><path d="M0 0 10 5 0 10z"/></marker></defs>',
            f'<rect class="paper" width="{width}" height="{height}" rx="8"/>',
            *(_arrow(*ends) for ends in moves()),
            *(_box(state) for state in PLACES),
            *(_label(*ends, inputs) for ends, inputs in moves().items()),
            "</svg>",
            "",
        ]
    )


def _sentences() -> Iterable[str]:
    for (before, after), inputs in moves().items():
        yield f"{before}, {' or '.join(inputs)}: {after}."


def _centre(state: State) -> tuple[float, float]:
    column, row = PLACES[state]
    return _EDGE + _WIDE / 2 + column * _STEP_X, _EDGE + _HIGH / 2 + row * _STEP_Y


def _box(state: State) -> str:
    x, y = _centre(state)
    kind = " money" if state in HOLDS_MONEY else " live" if state in LIVE else ""
    name = str(state).replace("_after_cancel", "_ac")
    return (
        f'<rect class="state{kind}" x="{x - _WIDE / 2:g}" y="{y - _HIGH / 2:g}" width="{_WIDE}" height="{_HIGH}" '
        f'rx="6"/><text x="{x:g}" y="{y:g}">{name}</text>'
    )


def _ends(before: State, after: State) -> tuple[float, float, float, float]:
    """Where an arrow begins and ends: at the borders of the two boxes, on the line between their centres."""
    (ax, ay), (bx, by) = _centre(before), _centre(after)
    dx, dy = bx - ax, by - ay
    share = min(
        (_WIDE / 2 + 3) / abs(dx) if dx else float("inf"), (_HIGH / 2 + 3) / abs(dy) if dy else float("inf")
    )
    return ax + dx * share, ay + dy * share, bx - dx * share, by - dy * share


def _arrow(before: State, after: State) -> str:
    ax, ay, bx, by = _ends(before, after)
    return f'<path d="M{ax:.0f} {ay:.0f} {bx:.0f} {by:.0f}" marker-end="url(#head)"/>'


def _label(before: State, after: State, inputs: list[Input]) -> str:
    ax, ay, bx, by = _ends(before, after)
    lift = -12 if ay == by else 0
    return f'<text class="label" x="{(ax + bx) / 2:.0f}" y="{(ay + by) / 2 + lift:.0f}">{" ".join(inputs)}</text>'


def rows(inputs: Iterable[Input]) -> list[str]:
    """Write the rows of a Markdown table: a state, and what each of the inputs does to it."""
    wanted = tuple(inputs)
    return [f"| `{state}` | {' | '.join(_told(TABLE[state, each]) for each in wanted)} |" for state in STATES]


def _told(cell: Cell) -> str:
    to = f"`{cell.state}`".replace("_after_cancel", "_ac") if cell.state else ""
    return " + ".join([each for each in (to, "review" if cell.review else "") if each]) or "–"


def layers() -> dict[str, str]:
    """Name each part of the package, the lowest first, with the parts that it may import."""
    left = dict(MAY_IMPORT)
    found: dict[str, str] = {}
    while left:
        lowest = [part for part, below in left.items() if below <= found.keys()]
        assert lowest, f"a ring: {sorted(left)}"
        found |= {part: ", ".join(sorted(left.pop(part))) or "–" for part in lowest}
    return found


def renewed(page: str) -> str:
    """Put the tables of the code into a page; what is written beside a part stays, and a new part has … there."""
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \| [\w, –]+ \|$", page, flags=re.M))
    house = [f"| `{part}` | {told.get(part, '…')} | {below} |" for part, below in layers().items()]
    tables = [rows(NOTICES), rows(OURS), house]
    bodies = list(re.finditer(r"(?<=\|---\|\n)(?:\|.*\n)+", page))
    ours = [each for each in bodies if each[0].startswith(("| `submitting`", "| `exceptions`"))]
    for body, table in reversed(list(zip(ours, tables, strict=True))):
        page = page[: body.start()] + "\n".join(table) + "\n" + page[body.end() :]
    return page


def main() -> None:
    FIGURE.write_text(figure(), "utf-8")
    for page in PAGES:
        page.write_text(renewed(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
