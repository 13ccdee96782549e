"""Log records: every one has an action of the one table, with facts of the other, and the papers print both."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import flask_zeus_cvs
from flask_zeus_cvs import telemetry
from flask_zeus_cvs.telemetry import ACTIONS, FACTS, Action, said, span

ROOT = Path(__file__).parents[2]
PACKAGE = Path(flask_zeus_cvs.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
#: The sandbox and the drill speak for themselves.
OTHERS = {"simulator", "drill"}


def modules() -> list[Path]:
    return [
        each for each in sorted(PACKAGE.rglob("*.py")) if each.relative_to(PACKAGE).parts[0] not in OTHERS
    ]


def log_calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Each call of a logger's method, also one that is put off by partial, with the method's name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        for called in (node.func, *node.args[:1]):
            if isinstance(called, ast.Attribute) and called.attr in LEVELS and _is_logger(called.value):
                yield called.attr, node


def _is_logger(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("log", "logger")


def action_of(call: ast.Call, tree: ast.AST) -> tuple[str, set[str]]:
    """The action that a call names, and the facts that can be seen; found where its ``extra`` is made."""
    extra = next((each.value for each in call.keywords if each.arg == "extra"), None)
    if isinstance(extra, ast.Name):
        extra = _assigned(extra.id, call, tree)
    assert isinstance(extra, ast.Call), f"line {call.lineno}: no extra=said(Action.…)"
    assert isinstance(extra.func, ast.Name)
    assert extra.func.id in ("said", "told"), f"line {call.lineno}: extra is made by {extra.func.id}"
    (action,) = extra.args
    assert isinstance(action, ast.Attribute), f"line {call.lineno}: the action is no Action"
    return action.attr, {each.arg for each in extra.keywords if each.arg}


def _assigned(name: str, call: ast.Call, tree: ast.AST) -> ast.expr | None:
    """The value that a name was given last before a call."""
    found = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and node.lineno < call.lineno and _names(node.targets[0]) == name
    ]
    return found[-1] if found else None


def _names(target: ast.expr) -> str:
    return target.id if isinstance(target, ast.Name) else ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_record_has_an_action_and_known_facts(path: Path) -> None:
    """No log call of the package is without an action of the table, or has a fact that the table does not explain."""
    tree = ast.parse(path.read_text("utf-8"))
    for _, call in log_calls(tree):
        action, facts = action_of(call, tree)
        assert action in Action.__members__, f"line {call.lineno}: {action}"
        assert facts <= set(FACTS), f"line {call.lineno}: {facts - set(FACTS)}"


def test_every_action_is_logged_at_the_levels_of_the_table() -> None:
    """No action of the table is idle, and its levels are those that it is logged at."""
    used: dict[str, set[str]] = defaultdict(set)
    for path in modules():
        tree = ast.parse(path.read_text("utf-8"))
        for level, call in log_calls(tree):
            used[action_of(call, tree)[0]].add(level.upper())
    used["CALLBACK"] = used["CALLBACK"] - {"LOG"} | {"WARNING", "ERROR"}  # by the refusal
    assert used == {action.name: set(levels.split(", ")) for action, (levels, _) in ACTIONS.items()}


def test_the_paper_prints_the_tables() -> None:
    """The page on monitoring has each action with its levels, and each fact, word by word."""
    page = (ROOT / "docs/13-monitoring.md").read_text("utf-8")
    for action, (levels, meaning) in ACTIONS.items():
        assert f"| `{action.value}` | {levels} | {meaning} |" in page
    for fact, meaning in FACTS.items():
        assert f"| `{fact}` | {meaning} |" in page
    rows = re.findall(r"^\| `(\w+)` \|", page, flags=re.M)
    assert set(rows) == {action.value for action in ACTIONS} | set(FACTS)


def test_the_japanese_paper_has_the_same_rows() -> None:
    """The Japanese page names the same actions at the same levels, and the same facts."""
    page = (ROOT / "docs/ja/13-monitoring.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z, ]+ \|)?", page, flags=re.M)
    actions = [(action.value, f"{levels} |") for action, (levels, _) in ACTIONS.items()]
    assert sorted(rows) == sorted(actions + [(fact, "") for fact in FACTS])


def test_what_is_not_known_is_not_said() -> None:
    """Facts that are None are left out; what is false or zero is said."""
    assert said(Action.RECEIVE, payment=None, repeat=False, count=0) == {
        "action": "receive",
        "repeat": False,
        "count": 0,
    }


def test_no_fact_clashes_with_a_record_of_logging() -> None:
    """logging refuses a record whose extra bears a name of its own."""
    own = {"name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "lineno"}
    own |= {"funcName", "created", "msecs", "thread", "threadName", "process", "processName", "message"}
    assert not own & ({"action"} | set(FACTS))


def test_nobody_observed_is_one_object() -> None:
    """Without an observer a span is not even made."""
    assert telemetry._observer is None
    assert span("receive", source="callback") is span("submit")
    with span("receive") as seen:
        seen.note(verdict="applied")
