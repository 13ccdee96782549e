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

from flask import current_app, has_app_context
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from flask_zeus_cvs.payments import EXTENSION, payments_of

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
    if not has_app_context() or EXTENSION not in current_app.extensions:
        return SOURCE
    chosen = get_locale() if get_locale is not None and "babel" in current_app.extensions else None
    spoken = chosen.language if chosen is not None else ""
    return spoken if spoken in LANGUAGES else payments_of(current_app).settings.locale


def translate(message: str, **values: object) -> str:
    """Return the text in the language of this request, with `values` put into its braces."""
    text = _own(message) or _catalog(language()).gettext(message)
    return text.format(**values) if values else text


def translate_count(singular: str, plural: str, count: int, **values: object) -> str:
    """Return the form of a text that belongs to a number, which is its ``{count}``; Japanese has one form."""
    text = _own(singular) or _catalog(language()).ngettext(singular, plural, count)
    return text.format(count=count, **values)


def translate_markup(message: str, **values: object) -> Markup:
    """Return a text that holds HTML of ours; values are escaped, and Japanese words in another language are marked."""
    return spoken(Markup(_own(message) or _catalog(language()).gettext(message)).format(**values))


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
    return bool(_own(message)) or message in ours()


@lru_cache
def ours() -> frozenset[str]:
    """Every text of ours: each catalog has them all."""
    keys = (key for name in LANGUAGES for key in getattr(_catalog(name), "_catalog", {}))
    return frozenset(key[0] if isinstance(key, tuple) else key for key in keys)


def _hosts(context: Context, name: str, /, *message: object, **values: object) -> Any:
    """What Flask-Babel, or whatever else the host has in its templates by this name, makes of it; markup stays markup."""
    theirs = context.environment.globals.get(name)
    return context.call(theirs, *message, **values) if callable(theirs) else None


def _own(message: str) -> str:
    """Look a text up in ZEUS_CVS_TEXTS."""
    if not has_app_context() or EXTENSION not in current_app.extensions:
        return ""
    texts: Mapping[str, Mapping[str, str]] = payments_of(current_app).settings.texts
    return texts.get(language(), {}).get(message, "")


@lru_cache
def _catalog(name: str) -> catalogs.NullTranslations:
    return catalogs.translation(DOMAIN, FOLDER, [name], fallback=True)
