"""Imports point down only: the table of who may import whom, and the test that nobody else does."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "flask_zeus_cvs"

#: Each part, and the parts of the package that it may import. Nothing else in the package may be imported.
MAY_IMPORT: dict[str, set[str]] = {
    "exceptions": set(),
    "protocol": {"exceptions"},
    "customer": {"exceptions", "protocol"},
    "clock": set(),
    "probe": set(),
    "lifecycle": set(),
    "settings": {"exceptions", "protocol"},
    "signals": {"exceptions", "lifecycle"},
    "gateway": {"exceptions", "protocol", "settings"},
    "models": {"clock", "customer", "lifecycle", "protocol"},
    "telemetry": set(),
    "patience": set(),
    "database": {"exceptions", "models", "patience"},
    "handover": {"telemetry"},
    "ledger": {"database", "lifecycle", "models"},
    "outbox": {
        "clock",
        "database",
        "exceptions",
        "handover",
        "ledger",
        "lifecycle",
        "models",
        "settings",
        "signals",
        "telemetry",
    },
    "moves": {
        "clock",
        "ledger",
        "lifecycle",
        "models",
        "outbox",
        "protocol",
        "settings",
        "telemetry",
    },
    "receiving": {
        "clock",
        "database",
        "exceptions",
        "ledger",
        "lifecycle",
        "models",
        "moves",
        "outbox",
        "protocol",
        "settings",
        "telemetry",
    },
    "deadlines": {
        "clock",
        "database",
        "ledger",
        "lifecycle",
        "models",
        "moves",
        "outbox",
        "protocol",
        "receiving",
        "settings",
        "telemetry",
    },
    "payments": {
        "clock",
        "customer",
        "database",
        "deadlines",
        "exceptions",
        "gateway",
        "handover",
        "ledger",
        "lifecycle",
        "memos",
        "models",
        "moves",
        "outbox",
        "protocol",
        "receiving",
        "settings",
        "telemetry",
    },
    "purge": {"clock", "database", "exceptions", "lifecycle", "models", "protocol"},
    "web": {
        "clock",
        "probe",
        "exceptions",
        "protocol",
        "customer",
        "lifecycle",
        "settings",
        "models",
        "payments",
        "receiving",
        "telemetry",
    },
    "memos": {"clock", "models"},
    "staff": {
        "clock",
        "customer",
        "exceptions",
        "protocol",
        "probe",
        "lifecycle",
        "settings",
        "signals",
        "gateway",
        "models",
        "database",
        "memos",
        "outbox",
        "payments",
    },
    "cli": {
        "clock",
        "customer",
        "database",
        "drill",
        "exceptions",
        "lifecycle",
        "memos",
        "models",
        "payments",
        "protocol",
        "purge",
        "settings",
        "staff",
        "telemetry",
        "web",
    },
    "contrib": {
        "clock",
        "deadlines",
        "exceptions",
        "lifecycle",
        "models",
        "outbox",
        "payments",
        "protocol",
        "staff",
        "telemetry",
        "web",
    },
    "extension": {
        "exceptions",
        "protocol",
        "customer",
        "settings",
        "gateway",
        "models",
        "database",
        "outbox",
        "payments",
        "receiving",
        "deadlines",
        "staff",
        "web",
        "cli",
    },
    "drill": {
        "clock",
        "customer",
        "database",
        "exceptions",
        "gateway",
        "lifecycle",
        "models",
        "outbox",
        "payments",
        "protocol",
        "settings",
        "signals",
        "simulator",
    },
    "simulator": {"exceptions", "protocol"},
    "__init__": {"exceptions", "protocol", "customer", "lifecycle", "signals", "staff", "extension"},
}

#: The gateway's language needs nothing but the standard library, and neither clock nor I/O.
BARE = {"protocol", "exceptions", "lifecycle"}
FORBIDDEN_IN_PROTOCOL = {"time", "socket", "os", "pathlib", "asyncio", "http", "ssl", "random", "secrets"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> list[tuple[str, ast.stmt]]:
    found: list[tuple[str, ast.stmt]] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
            found.append((node.module or "", node))
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    """A module imports only the parts that the table allows its own part."""
    part = part_of(path)
    assert part in MAY_IMPORT, f"{part} has no row in the table"
    for name, node in imports(path):
        if name.split(".")[0] == "flask_zeus_cvs":
            target = name.split(".")[1] if "." in name else "__init__"
            allowed = MAY_IMPORT[part] | {part}
            assert target in allowed, f"{path.name}:{node.lineno}: {part} may not import {target}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_hides_in_a_function(path: Path) -> None:
    """Imports stand at the top of a module, where a reader finds them."""
    tree = ast.parse(path.read_text("utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            hidden = [n.lineno for n in ast.walk(function) if isinstance(n, (ast.Import, ast.ImportFrom))]
            assert not hidden, f"{path.name}:{hidden} imports inside {function.name}"


@pytest.mark.parametrize("path", [p for p in modules() if part_of(p) in BARE], ids=lambda path: path.name)
def test_the_language_needs_only_the_standard_library(path: Path) -> None:
    """``protocol`` imports no third party, no clock and no I/O, so any tool can use it."""
    allowed = {"flask_zeus_cvs", *sys.stdlib_module_names} - FORBIDDEN_IN_PROTOCOL
    for name, node in imports(path):
        assert name.split(".")[0] in allowed, f"{path.name}:{node.lineno} imports {name}"


def test_the_table_has_no_row_too_many() -> None:
    """Each allowance of the table is used: it is as small as it can be."""
    used: dict[str, set[str]] = {part: set() for part in MAY_IMPORT}
    for path in modules():
        for name, _ in imports(path):
            if name.startswith("flask_zeus_cvs."):
                used[part_of(path)].add(name.split(".")[1])
    idle = {part: sorted(MAY_IMPORT[part] - used[part]) for part in MAY_IMPORT}
    assert not {part: names for part, names in idle.items() if names}
