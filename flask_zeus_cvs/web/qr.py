"""The page's own link as a QR code, to carry it from a desk to a telephone. Needs the extra ``qr``."""

from __future__ import annotations

import io

try:
    import segno
except ImportError:  # the extra `qr` is not installed
    segno = None  # type: ignore[assignment]

#: Light modules on each side that the standard asks for.
QUIET = 4


def available() -> bool:
    return segno is not None


def qr_code(link: str) -> bytes:
    """Draw the link as an SVG without a size of its own; it fills what the page gives it."""
    buffer = io.BytesIO()
    code = segno.make(link, error="m", micro=False)
    code.save(buffer, kind="svg", border=QUIET, light="#fff", omitsize=True, xmldecl=False, nl=False)
    return buffer.getvalue()
