"""What the papers say of the sandbox is so: each status, mail and rule has a test, and each fault is named."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from flask_zeus_cvs.protocol.codes import STATUSES
from flask_zeus_cvs.simulator import MailKind
from flask_zeus_cvs.simulator.gateway import Fault, How
from flask_zeus_cvs.simulator.notices import Trouble

ROOT = Path(__file__).parents[2]
PROOF = (ROOT / "docs/23-sandbox-proof.md").read_text("utf-8")
GUIDE = (ROOT / "docs/15-sandbox.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PROOF)))


@cache
def known(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def rows(heading: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    [section] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PROOF, re.M | re.S)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("name", NAMED)
def test_each_test_that_is_named_exists(name: str) -> None:
    """In its file, and it is a test."""
    path, _, test = name.partition("::")
    assert (ROOT / path).is_file()
    assert not test or (test.startswith("test_") and test in known(path))


def test_each_row_names_a_test() -> None:
    """None is left without."""
    for heading in ("Statuses", "Mails", "Rules", "Trouble, time, ways in"):
        assert rows(heading)
        for row in rows(heading):
            assert row[-1].strip("`") in NAMED, row


def test_every_status_has_its_row() -> None:
    """The eleven, in the manual's order, by their names."""
    expected = [(status.status or "–", status.name) for status in STATUSES]
    assert [(row[0], row[1]) for row in rows("Statuses")] == expected


def test_every_mail_has_its_row() -> None:
    """The eleven kinds."""
    assert [row[0].strip("`") for row in rows("Mails")] == list(MailKind)


def test_every_fault_is_in_the_guide() -> None:
    """Whatever can be asked for is named there."""
    for fault in (*Fault, *Trouble):
        assert f'`"{fault}"`' in GUIDE
    for how in How.__annotations__:
        assert f"`{how}=" in GUIDE, how
