"""The barcode of 7-Eleven's slip, in bars that a scanner reads (Code 128), where ``python-barcode`` is installed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

try:
    from barcode.codex import Code128  # type: ignore[import-untyped]
except ImportError:  # it comes with the extra ``sandbox``
    Code128 = None

#: Modules of white that a scanner needs on either side.
QUIET = 10


def modules(number: str) -> str:
    """Return the barcode of a number as ``1`` for a dark module and ``0`` for a light one, ``""`` without the library."""
    return "".join(Code128(number).build()) if Code128 else ""


def path(pattern: str) -> str:
    """Draw the dark modules as an SVG path, one unit wide each and one unit high, after the white on the left."""
    return "".join(f"M{left} 0h{width}v1h-{width}z" for left, width in _bars(pattern))


def _bars(pattern: str) -> Iterator[tuple[int, int]]:
    left = QUIET
    for module, run in groupby(pattern):
        width = len(list(run))
        if module == "1":
            yield left, width
        left += width
