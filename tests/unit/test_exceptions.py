"""The tree of errors is complete: whatever is raised on purpose is in it, and it is drawn as it is."""

from __future__ import annotations

import ast
from pathlib import Path

from flask_zeus_cvs import exceptions
from flask_zeus_cvs.exceptions import ZeusCVSError

PACKAGE = Path(exceptions.__file__).parent


def tree() -> list[type[Exception]]:
    return [
        each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, Exception)
    ]


def test_every_error_is_drawn() -> None:
    """The module's docstring names each error under its parent, and each has a sentence of its own."""
    drawn = exceptions.__doc__ or ""
    for each in tree():
        assert f" {each.__name__}" in drawn, each
        assert each.__doc__


def test_every_error_is_one_of_ours() -> None:
    """``except ZeusCVSError`` catches whatever is raised on purpose."""
    assert all(issubclass(each, ZeusCVSError) for each in tree())


def test_errors_are_defined_in_one_place() -> None:
    """No other module of the package defines an error that can leave it."""
    names = {each.__name__ for each in tree()} | {"Exception", "LookupError", "ValueError", "RuntimeError"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.ClassDef)
                and path.name != "exceptions.py"
                and not node.name.startswith("_")
            ):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                assert not bases & names, f"{path.name}: {node.name}"
