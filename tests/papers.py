"""The papers as Markdown: what is a heading, a code block, a link. For the tests that compare them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
DOCS = {"en": ROOT / "docs", "ja": ROOT / "docs" / "ja"}
_READER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Heading:
    """A heading, and what a link names it by."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True)
class Block:
    """A block of code or of output; ``info`` is its language, None where it is indented instead of fenced.

    Two are equal wherever on a page they stand.
    """

    info: str | None
    text: str
    line: int = field(default=0, compare=False)

    @property
    def is_output(self) -> bool:
        """Whether it may differ from one language to the other: what a reader sees, and does not type."""
        return self.info in ("", "text")

    @property
    def has_japanese(self) -> bool:
        return bool(re.search("[\u3040-\u30ff\u4e00-\u9fff]", self.text))


def names(language: str) -> set[str]:
    """The file names of the pages of a language."""
    return {path.name for path in DOCS[language].glob("*.md")}


def text_of(language: str, name: str) -> str:
    return (DOCS[language] / name).read_text("utf-8")


@cache
def _tokens(path: Path) -> Sequence[Token]:
    return _READER.parse(path.read_text("utf-8"))


def headings(path: Path) -> list[Heading]:
    """The headings of a page, with the anchors that a code host and the site give them."""
    found: list[Heading] = []
    tokens = _tokens(path)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            text = "".join(
                each.content for each in inline.children or () if each.type in ("text", "code_inline")
            )
            found.append(Heading(int(token.tag[1:]), text, _anchor(text, {each.anchor for each in found})))
    return found


def _anchor(text: str, taken: set[str]) -> str:
    anchor = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
    repeats = 0
    while (own := f"{anchor}-{repeats}" if repeats else anchor) in taken:
        repeats += 1
    return own


def blocks(path: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    return [
        Block(token.info.strip() if token.type == "fence" else None, token.content, (token.map or [0])[0] + 1)
        for token in _tokens(path)
        if token.type in ("fence", "code_block")
    ]


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """Each link and picture of a page that stays in the project: the file or folder, and the anchor or blank."""
    for token in _tokens(path):
        for each in token.children or ():
            target = each.attrGet("href") or each.attrGet("src")
            if isinstance(target, str) and not re.match(r"[a-z]+:", target):
                file, _, anchor = target.partition("#")
                yield ((path.parent / file).resolve() if file else path), _READER.normalizeLinkText(anchor)
