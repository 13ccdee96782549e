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
#: Whose texts are the staff's.
STAFF = ("contrib/", "templates/zeus_cvs/admin/")
#: The pages that have a table of the customers' texts.
PAGES = tuple(PACKAGE.parent / "docs" / each for each in ("4-templates.md", "ja/4-templates.md"))


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


def table_of_texts() -> list[str]:
    """Write the rows of docs/4-templates.md: each text of the customers' pages, the English one, and where it stands."""
    catalog = read("en")
    rows = []
    for each in catalog:
        places = sorted({file for file, _ in each.locations if not file.startswith(STAFF)})
        if each.id and places:
            said = each.string if isinstance(each.string, (tuple, list)) else (each.string,)
            key = each.id[0] if isinstance(each.id, (tuple, list)) else each.id
            cells = (_code(key), " · ".join(map(_code, dict.fromkeys(said))), ", ".join(map(_place, places)))
            rows.append((places, f"| {' | '.join(cells)} |"))
    return [row for _, row in sorted(rows)]


def _code(text: object) -> str:
    return "`" + str(text).replace("\n", "\\n") + "`"


def _place(file: str) -> str:
    return f"`{file.removeprefix('templates/zeus_cvs/')}`"


def write_table(page: Path) -> None:
    """Put the texts' table of a page in the place of the one that is there: the last table of the page."""
    text = page.read_text("utf-8")
    head = text.rindex("\n|---|---|---|\n") + len("\n|---|---|---|\n")
    end = text.index("\n\n", head - 1)
    page.write_text(text[:head] + "".join(f"{row}\n" for row in table_of_texts()) + text[end + 1 :], "utf-8")


def _translated(string: object) -> bool:
    return all(string) if isinstance(string, (tuple, list)) else bool(string)


def main() -> int:
    missing = {language: bring_up_to_date(language) for language in LANGUAGES}
    for page in PAGES:
        write_table(page)
    for language, texts in missing.items():
        sys.stdout.write(f"{language}: {len(texts)} texts without a translation\n")
        sys.stdout.writelines(f"  {text}\n" for text in texts)
    return 1 if any(missing.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
