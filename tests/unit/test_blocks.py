"""No code block of the papers is out of sight: a test runs or compares it, or it stands here with the reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

import pytest

from tests.blocks import blocks_of, papers
from tests.papers import ROOT, Block

#: The second of two tables with one head.
SQLITE = (
    "                          req/s  to floor   p50 ms   p99 ms  CPU app ms  CPU db ms  MB/worker\nfloor"
)
MEASURED = "what was measured on one machine on one day: the command above it measures anew"
#: Blocks that no test runs, by page and first words, and why.
NOT_RUN: dict[tuple[str, str], str] = {
    (
        "17-queues",
        "pip install",
    ): "extras and a broker's client from the package index; extras are tested by name",
    (
        "17-queues",
        'gunicorn "shop',
    ): "Celery's own programs; its task, its schedule and a worker are tested without them",
    (
        "18-scaling",
        "FLASK_SQLALCHEMY_DATABASE_URI",
    ): "gunicorn on a replica; the role that reads there is tested",
    ("18-scaling", SQLITE): MEASURED,
}


@cache
def taken() -> frozenset[tuple[str, str]]:
    """Page and first words of each call of `block` in the tests."""
    files = [path for path in ROOT.glob("tests/**/*.py") if path.name != "blocks.py"]
    return frozenset(words for path in files for words in _taken_in(ast.parse(path.read_text("utf-8"))))


def _taken_in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name("block"), args=[ast.Constant(str(page)), ast.Constant(str(words))]):
                yield page, words


def found(page: str, beginning: str) -> list[Block]:
    return [each for each in blocks_of(page) if each.text.startswith(beginning)]


@pytest.mark.parametrize("paper", papers())
def test_every_block_is_run_or_compared(paper: str) -> None:
    """Each block of each paper is taken by a test, or named above with the reason."""
    known = [words for at, words in (*taken(), *NOT_RUN) if at == paper]
    left = [
        f"{paper}, line {each.line}: {each.text.splitlines()[0]}"
        for each in blocks_of(paper)
        if not any(each.text.startswith(words) for words in known)
    ]
    assert left == []


def test_no_reason_is_left_over() -> None:
    """What is named above is on its page, and no test takes it."""
    for at, words in NOT_RUN:
        assert found(at, words), words
    assert not taken() & set(NOT_RUN)
