"""``make texts``: gather the texts of customers' and staff's pages, bring the catalogs up to date, compile them.

The same functions tell a test what is missing.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

import flask_zeus_cvs

PACKAGE = Path(flask_zeus_cvs.__file__).parent
FOLDER = PACKAGE / "translations"
METHODS = [("web/**.py", "python"), ("contrib/**.py", "python"), ("templates/**.html", "jinja2")]
KEYWORDS: dict[str, Any] = {
    "_": None,
    "mark": None,
    "markup": None,
    "translate": None,
    "translate_markup": None,
    "ngettext": (1, 2),
    "translate_count": (1, 2),
}
#: Languages with a catalog; Japanese is what the texts are written in.
LANGUAGES = ("en",)


def gathered() -> Catalog:
    """Return every text that code and templates name, with the places where they do."""
    catalog = Catalog(charset="utf-8", fuzzy=False)
    found = extract_from_dir(
        str(PACKAGE), method_map=METHODS, keywords=KEYWORDS, comment_tags=("Translators:",)
    )
    for file, line, message, comments, context in found:
        catalog.add(message, None, [(file, line)], auto_comments=comments, context=context)
    return catalog


def path_of(language: str, kind: str) -> Path:
    return FOLDER / language / "LC_MESSAGES" / f"zeus_cvs.{kind}"


def read(language: str) -> Catalog:
    """Read a language's catalog; an empty one if there is none yet."""
    path = path_of(language, "po")
    if not path.exists():
        return Catalog(locale=language, charset="utf-8", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def written(write: Callable[..., object], catalog: Catalog, **how: Any) -> bytes:
    """Return a catalog as the bytes of its file."""
    buffer = io.BytesIO()
    write(buffer, catalog, **how)
    return buffer.getvalue()


def bring_up_to_date(language: str) -> list[str]:
    """Write both files of a language; return the texts that still lack a translation."""
    catalog = read(language)
    catalog.update(gathered(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    path_of(language, "po").parent.mkdir(parents=True, exist_ok=True)
    how = {"width": 100, "omit_header": False, "include_lineno": False, "sort_output": True}
    path_of(language, "po").write_bytes(written(write_po, _quiet(catalog), **how))
    path_of(language, "mo").write_bytes(written(write_mo, catalog))
    return [str(each.id) for each in catalog if each.id and not _translated(each.string)]


def _quiet(catalog: Catalog) -> Catalog:
    """Say in the header nothing that changes with every run."""
    catalog.header_comment = (
        "# Texts of customers' and staff's pages; the Japanese ones stand in code and templates."
    )
    catalog.project, catalog.version = "Flask-Zeus-CVS", ""
    catalog.creation_date = catalog.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    catalog.msgid_bugs_address = catalog.last_translator = catalog.language_team = "-"
    return catalog


def _translated(string: object) -> bool:
    return all(string) if isinstance(string, (tuple, list)) else bool(string)


def main() -> int:
    missing = {language: bring_up_to_date(language) for language in LANGUAGES}
    for language, texts in missing.items():
        sys.stdout.write(f"{language}: {len(texts)} texts without a translation\n")
        sys.stdout.writelines(f"  {text}\n" for text in texts)
    return 1 if any(missing.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
