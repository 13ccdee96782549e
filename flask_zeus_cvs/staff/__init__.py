"""What the shop's people see and mend: behind the commands and the back office, above the verbs.

Each module is imported when somebody first names it: a worker that sells needs hardly any of them.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_zeus_cvs.staff import reviews, search, timeline

__all__ = ["reviews", "search", "timeline"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
