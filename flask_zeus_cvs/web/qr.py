"""The page's own link as a QR code, to carry it from a desk to a telephone. Needs the extra ``qr``.

The extra is imported when the first code is drawn: most customers hold the telephone already.
"""

from __future__ import annotations

import io
from importlib import import_module
from importlib.util import find_spec

#: Light modules on each side that the standard asks for.
QUIET = 4
_IS_INSTALLED = find_spec("segno") is not None


def available() -> bool:
    return _IS_INSTALLED


def qr_code(link: str) -> bytes:
    """Draw the link as an SVG without a size of its own; it fills what the page gives it."""
    buffer = io.BytesIO()
    code = import_module("segno").make(link, error="m", micro=False)
    code.save(buffer, kind="svg", border=QUIET, light="#fff", omitsize=True, xmldecl=False, nl=False)
    return buffer.getvalue()
