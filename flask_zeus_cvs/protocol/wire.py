"""Text to bytes and back: form encoding, answer lines, Shift_JIS.

Reading never fails: bytes that are no text come back as ``None`` or as replacement characters.
Shift_JIS is Python's ``cp932``, the variant that Windows and phones write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import quote_plus, unquote_to_bytes

from flask_zeus_cvs.exceptions import InvalidField

SHIFT_JIS = "cp932"

# Encodings that write ASCII as itself. Python reads ASCII in a tenth of the time that Shift_JIS takes.
_ABOVE_ASCII = frozenset({SHIFT_JIS, "utf-8"})

# Byte 0x5C is the yen sign of the manual's free parameters; cp932 writes it for the backslash only.
_YEN = str.maketrans({"\u00a5": "\\"})


def shift_jis_size(text: str) -> int:
    """Count the bytes of `text` in Shift_JIS; a character that Shift_JIS lacks counts as one."""
    if text.isascii():
        return len(text)
    return len(text.translate(_YEN).encode(SHIFT_JIS, "replace"))


def encode_form(pairs: Iterable[tuple[str, str]], encoding: str = SHIFT_JIS) -> bytes:
    """Write names and values as ``application/x-www-form-urlencoded``, percent-encoded in `encoding`.

    Raises `InvalidField` (problem ``encoding``) for a value with a character that `encoding` lacks.
    """
    return b"&".join(
        _quote(name, name, encoding) + b"=" + _quote(name, value, encoding) for name, value in pairs
    )


def decode_form(raw: bytes, encoding: str = SHIFT_JIS) -> list[tuple[str, str | None]]:
    """Read a query string or a form body, in its order; the value of undecodable bytes is ``None``.

    Splitting the raw bytes is safe even where Shift_JIS arrives without percent-encoding: no second
    byte of a character is ``&``, ``=``, ``+`` or ``%``.
    """
    pairs: list[tuple[str, str | None]] = []
    for piece in raw.replace(b"+", b" ").split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_unquote(name).decode("ascii", "replace"), _decode(_unquote(value), encoding)))
    return pairs


def encode_lines(
    pairs: Iterable[tuple[str, str]], *, spaced: Collection[str] = (), crlf: bool = False
) -> bytes:
    """Write one ``name=value`` per line, with spaces round the ``=`` of the names in `spaced`.

    Raises `InvalidField` for a value that is not one line of Shift_JIS.
    """
    end = b"\r\n" if crlf else b"\n"
    return b"".join(
        _encode(name, f"{name} = {value}" if name in spaced else f"{name}={value}", SHIFT_JIS) + end
        for name, value in pairs
        if _one_line(name, value)
    )


def decode_lines(raw: bytes) -> list[tuple[str, str]]:
    """Read the ``name=value`` lines in their order; a line without ``=`` is left out.

    LF, CRLF and CR end a line; the first ``=`` splits it; blanks round name and value are dropped.
    """
    pairs: list[tuple[str, str]] = []
    for line in raw.splitlines():
        name, equals, value = line.decode(SHIFT_JIS, "replace").partition("=")
        if equals:
            pairs.append((name.strip(" \t"), value.strip(" \t")))
    return pairs


def plain_text(raw: bytes) -> str:
    """Read a text of unknown origin, or ``""`` where it is none: UTF-8 if it can be that, else Shift_JIS."""
    text = _decode(raw, "utf-8")
    return (_decode(raw, SHIFT_JIS) if text is None else text) or ""


def _encode(name: str, text: str, encoding: str) -> bytes:
    try:
        return text.translate(_YEN).encode(encoding)
    except UnicodeEncodeError as error:
        raise InvalidField(name, "encoding", text[error.start]) from None


def _decode(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode("ascii" if encoding in _ABOVE_ASCII and raw.isascii() else encoding)
    except UnicodeError:
        return None


def _quote(name: str, text: str, encoding: str) -> bytes:
    return quote_plus(_encode(name, text, encoding)).encode("ascii")


def _unquote(raw: bytes) -> bytes:
    return unquote_to_bytes(raw) if b"%" in raw else raw


def _one_line(name: str, value: str) -> bool:
    if "\n" in value or "\r" in value:
        raise InvalidField(name, "control", "U+000A" if "\n" in value else "U+000D")
    return True
