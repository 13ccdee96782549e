"""What is reached over HTTP: the checkout form, the result page and the callback.

Each module is imported when somebody first names it, which is when an app is set up.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_zeus_cvs.web import originals, views

__all__ = ["originals", "views"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
