"""Every command can be found: in the help with an example, and in a test; `test_docs` looks for it in the papers."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click
import pytest

from flask_zeus_cvs.cli import COMMANDS, make_commands
from flask_zeus_cvs.settings import Settings

ROOT = Path(__file__).parents[2]
PAPERS = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))
GROUP = make_commands(Settings(client_ip="1234567890"))


def command(name: str) -> click.Command:
    found = GROUP.get_command(click.Context(GROUP), name)
    assert found is not None
    return found


def options(name: str) -> list[click.Option]:
    return [each for each in command(name).params if isinstance(each, click.Option)]


def invocations(name: str) -> list[Path]:
    """The test files that call a command by its name."""
    called = re.compile(rf'"{re.escape(name)}"|zeus-cvs {re.escape(name)}\b')
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    return [path for path in files if called.search(path.read_text("utf-8"))]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_an_example(name: str) -> None:
    """The last paragraph of the help shows the command as a person types it."""
    *_, last = inspect.cleandoc(command(name).help or "").split("\n\n")
    assert last.startswith("Example:")
    assert f"flask zeus-cvs {name}" in last


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    """No option is without its help text."""
    assert not [each.name for each in options(name) if not each.help]


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_tried(name: str) -> None:
    """Some test of ours runs it."""
    assert invocations(name)


def test_the_papers_know_no_other_command() -> None:
    """A command that was renamed is renamed in the papers."""
    named = set(re.findall(r"flask zeus-cvs ([a-z][a-z-]+)", PAPERS))
    assert named <= set(COMMANDS)
