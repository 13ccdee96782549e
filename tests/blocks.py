"""The code blocks of the papers as tests take them: each is taken by the test that runs or compares it.

`tests/unit/test_blocks.py` finds each call of `block` in the tests: a block that nobody takes is an error.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path

from tests.papers import DOCS, ROOT, Block, blocks


def papers() -> dict[str, Path]:
    """Every English paper by its name without its ending, as `block` wants it."""
    found = sorted([*ROOT.glob("*.md"), *DOCS["en"].glob("*.md")])
    return {path.stem: path for path in found if not path.stem.endswith(".ja")}


@cache
def blocks_of(page: str) -> tuple[Block, ...]:
    """All blocks of a page, in their order; MyST's directives, such as ``{toctree}``, are none.

    A Japanese page is named ``ja/…``: its blocks are those of the English one, but for output in the reader's language.
    """
    path = DOCS["en"] / f"{page}.md" if page.startswith("ja/") else papers()[page]
    return tuple(each for each in blocks(path) if not (each.info or "").startswith("{"))


def block(page: str, beginning: str) -> str:
    """Return a page's one block that begins so; give both as plain texts, since they are looked for in the tests."""
    (found,) = (each for each in blocks_of(page) if each.text.startswith(beginning))
    return found.text


#: What is another each time, and what only lines a table up.
_MASKS = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( JST)?", "MOMENT"),
    (r"\b\d+\.\d+ ?s\b", "SECONDS"),
    (r"\b(?=[A-Z0-9]*[A-Z])[A-Z0-9]{20}\b", "SENDID"),
    (r"-{3,}", "---"),
    (r"(?<=\S) {2,}", "  "),
    (r" +$", ""),
)


def _shape(text: str) -> str:
    for pattern, mask in _MASKS:
        text = re.sub(pattern, mask, text, flags=re.M)
    return text


def assert_printed(printed: str, shown: str) -> None:
    """Compare what was printed with what a page shows, but for moments and ids; an ellipsis stands for anything."""
    printed, shown = _shape(printed), _shape(shown)
    if not re.fullmatch(re.escape(shown).replace("…", ".*?"), printed, flags=re.S):
        lines = difflib.unified_diff(
            shown.splitlines(), printed.splitlines(), "the page", "printed", lineterm=""
        )
        raise AssertionError("\n".join(lines))


def dialogue(shown: str) -> list[tuple[str, str]]:
    """Split a block that shows commands: each one's line behind its ``$``, and what it is shown to print."""
    parts = re.findall(r"^\$ (.*\n)((?:(?!\$ ).*\n)*)", shown, flags=re.M)
    return [(command.rstrip(), output) for command, output in parts]
