"""Our own templates under a second name, so that a shop's template can extend the very one that it stands in for.

A shop's ``templates/zeus_cvs/result/paid.html`` replaces ours; if it begins with
``{% extends "zeus_cvs_original/result/paid.html" %}``, it replaces no more than the blocks that it has.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PrefixLoader

PREFIX = "zeus_cvs_original"
FOLDER = Path(__file__).resolve().parents[1] / "templates"


def loader() -> BaseLoader:
    """Find our templates under ``zeus_cvs``, where a shop's own come first, and under `PREFIX`, where none do."""
    originals = PrefixLoader({PREFIX: FileSystemLoader(FOLDER / "zeus_cvs")})
    return ChoiceLoader([FileSystemLoader(FOLDER), originals])
