"""The language of the customer's pages, and every text in it: one of the shop's own, else the catalog's.

A text is named by its Japanese form; without a translation it stays Japanese. The catalogs are made by ``make texts``.
"""

from __future__ import annotations

import gettext as catalogs
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import current_app
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from flask_zeus_cvs.payments import EXTENSION
from flask_zeus_cvs.settings import Settings

try:
    from flask_babel import get_locale  # type: ignore[import-untyped]
except ImportError:  # the extra `babel` is not installed
    get_locale = None

DOMAIN = "zeus_cvs"
FOLDER = Path(__file__).resolve().parents[1] / "translations"
#: The language in which the texts are written.
SOURCE = "ja"
LANGUAGES = ("ja", "en")


def language() -> str:
    """Return the language of this request: Flask-Babel's choice where the host uses it and we speak it, else LOCALE."""
    return _chosen()[0]


def _chosen() -> tuple[str, Mapping[str, str]]:
    """Return the language of this request, and the shop's ZEUS_CVS_TEXTS in it: a page asks for each of its texts."""
    extensions = current_app.extensions if current_app else {}
    if EXTENSION not in extensions:
        return SOURCE, {}
    settings: Settings = extensions[EXTENSION].settings
    chosen = get_locale() if get_locale is not None and "babel" in extensions else None
    name = chosen.language if chosen is not None and chosen.language in LANGUAGES else settings.locale
    return name, settings.texts.get(name, {})


def _said(message: str) -> str:
    name, own = _chosen()
    return own.get(message) or _catalog(name).gettext(message)


def translate(message: str, **values: object) -> str:
    """Return the text in the language of this request, with `values` put into its braces."""
    text = _said(message)
    return text.format(**values) if values else text


def translate_count(singular: str, plural: str, count: int, **values: object) -> str:
    """Return the form of a text that belongs to a number, which is its ``{count}``; Japanese has one form."""
    name, own = _chosen()
    text = own.get(singular) or _catalog(name).ngettext(singular, plural, count)
    return text.format(count=count, **values)


def translate_markup(message: str, **values: object) -> Markup:
    """Return a text that holds HTML of ours; values are escaped, and Japanese words in another language are marked."""
    return spoken(Markup(_said(message)).format(**values))


def spoken(text: str) -> Markup:
    """Mark the Japanese words of a text in another language: a screen reader then says what the machine shows."""
    whole = escape(text)
    return whole if language() == SOURCE else Markup(_TAG_OR_JAPANESE.sub(_marked, whole))


def _marked(found: re.Match[str]) -> str:
    return f'<span lang="{SOURCE}">{found["words"]}</span>' if found["words"] else found[0]


_TAG_OR_JAPANESE = re.compile(r"<[^>]*>|(?P<words>[\u3041-\u30ff\u3400-\u9fff]+)")


def mark(message: str) -> str:
    """Mark a text in a table for the catalogs; it is translated where it is shown."""
    return message


def in_templates() -> Mapping[str, Any]:
    """What our templates call these; the shop's frame, around them, may have texts of its own by the same names."""
    return {
        "_": _text,
        "ngettext": _count,
        "markup": translate_markup,
        "spoken": spoken,
        "language": language(),
    }


@pass_context
def _text(context: Context, message: str, /, **values: object) -> Any:
    said = None if _is_ours(message) else _hosts(context, "gettext", message, **values)
    return translate(message, **values) if said in (None, message) else said


@pass_context
def _count(context: Context, singular: str, plural: str, count: int, /, **values: object) -> Any:
    said = None if _is_ours(singular) else _hosts(context, "ngettext", singular, plural, count, **values)
    if said in (None, singular, plural):
        return translate_count(singular, plural, count, **values)
    return said


def _is_ours(message: str) -> bool:
    """Whether our catalogs or the shop's ZEUS_CVS_TEXTS have it."""
    return message in ours() or bool(_chosen()[1].get(message))


@lru_cache
def ours() -> frozenset[str]:
    """Every text of ours: each catalog has them all."""
    keys = (key for name in LANGUAGES for key in getattr(_catalog(name), "_catalog", {}))
    return frozenset(key[0] if isinstance(key, tuple) else key for key in keys)


def _hosts(context: Context, name: str, /, *message: object, **values: object) -> Any:
    """What Flask-Babel, or whatever else the host has in its templates by this name, makes of it; markup stays markup."""
    theirs = context.environment.globals.get(name)
    return context.call(theirs, *message, **values) if callable(theirs) else None


@lru_cache
def _catalog(name: str) -> catalogs.NullTranslations:
    return catalogs.translation(DOMAIN, FOLDER, [name], fallback=True)
