"""The code blocks of the papers, fenced and indented: a test takes the one that it runs or compares.

`tests/unit/test_blocks.py` finds each call of `block` in the tests: a block that nobody takes is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCED = r"^```(?P<kind>[^\n`]*)\n(?P<fenced>.*?)^```$"
_INDENTED = r"(?<=\n\n)(?P<indented>(?: {4}[^\n]*\n|\n(?= {4}))+)"
_BLOCK = re.compile(f"{_FENCED}|{_INDENTED}", re.M | re.S)
_INDENT = re.compile("^ {4}", re.M)


@dataclass(frozen=True)
class Block:
    """One block: its page, the line that it begins at, the word behind its fence, and its text without indentation."""

    page: str
    line: int
    kind: str
    text: str


def papers() -> dict[str, Path]:
    """Every English paper by its name without its ending, as `block` wants it."""
    found = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
    return {path.stem: path for path in found if not path.stem.endswith(".ja")}


@cache
def blocks_of(page: str) -> tuple[Block, ...]:
    """All blocks of a page, in their order; MyST's directives, such as ``{toctree}``, are none."""
    found = _read(page, papers()[page].read_text("utf-8"))
    return tuple(each for each in found if not each.kind.startswith("{"))


def _read(page: str, text: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found["indented"] is None:
            yield Block(page, line, found["kind"], found["fenced"])
        else:
            yield Block(page, line, "", _INDENT.sub("", found["indented"].rstrip("\n") + "\n"))


def block(page: str, beginning: str) -> str:
    """Return a page's one block that begins so; give both as plain texts, since they are looked for in the tests."""
    (found,) = (each for each in blocks_of(page) if each.text.startswith(beginning))
    return found.text
