"""Bytes and text: form encoding, answer lines, Shift_JIS."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.protocol import wire

# Row 5 of JIS X 0208 in Shift_JIS: from 83 40, leaving out 83 7F.
KATAKANA = (
    "ァアィイゥウェエォオカガキギクグケゲコゴサザシジスズセゼソゾタダチヂッツヅテデトドナニヌネノハバパヒビピフブプヘベペホボポマミ"
    "ムメモャヤュユョヨラリルレロヮワヰヱヲンヴヵヶ"
)
KATAKANA_BYTES = [bytes([0x83, low]) for low in range(0x40, 0x97) if low != 0x7F]

# Python writes these as their full-width likes, so they do not come back.
LIKENESSES = "\u00a2\u00a3\u00ac\u2016\u2212\u301c"
shift_jis_text = st.text(st.characters(codec="cp932", exclude_characters=LIKENESSES))


@pytest.mark.parametrize(("kana", "raw"), list(zip(KATAKANA, KATAKANA_BYTES, strict=True)))
def test_each_katakana_has_its_bytes(kana: str, raw: bytes) -> None:
    """Each of the 86 katakana is written and read as its two bytes of JIS X 0208, escaped or not."""
    escaped = b"x=%83%" + f"{raw[1]:02x}".encode()

    assert wire.decode_form(b"x=" + raw) == [("x", kana)]
    assert wire.decode_form(escaped) == [("x", kana)]
    assert wire.decode_form(wire.encode_form([("x", kana)])) == [("x", kana)]


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 0), ("a", 1), ("ア", 2), ("ヤマダ　タロウ", 14), ("ｱ", 1), ("\u00a5", 1), ("ヷ", 1), ("\ud800", 1)],
)
def test_size_is_counted_in_shift_jis(text: str, size: int) -> None:
    """A full-width character is two bytes, and a character that Shift_JIS lacks breaks nothing."""
    assert wire.shift_jis_size(text) == size


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        (b"", []),
        (b"&&", []),
        (b"a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        (b"a", [("a", "")]),
        (b"a=", [("a", "")]),
        (b"=1", [("", "1")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a=1+2%2B3", [("a", "1 2+3")]),
        (b"a=%83%41%83%5c%83%5C", [("a", "アソソ")]),
        (b"a=%83A", [("a", "ア")]),
        (b"a=%", [("a", "%")]),
        (b"a=%4&b=%g1", [("a", "%4"), ("b", "%g1")]),
        (b"a=%81&b=1", [("a", None), ("b", "1")]),
        (b"%61=1", [("a", "1")]),
        (b"\x83=1", [("\ufffd", "1")]),
        (b"a=%0D%0A%00", [("a", "\r\n\0")]),
        # ①, 髙, full-width tilde and minus: in cp932, not in the narrower shift_jis
        (b"a=%87%40%FB%FC%81%60%81%7C", [("a", "①髙～－")]),
    ],
)
def test_a_form_is_read_in_its_order(raw: bytes, pairs: list[tuple[str, str | None]]) -> None:
    """Every pair is there, in order; a value that is no text is None and spoils no other."""
    assert wire.decode_form(raw) == pairs


def test_a_form_is_read_in_another_encoding() -> None:
    """The encoding is a setting: UTF-8 is read as UTF-8, and Shift_JIS is then no text."""
    assert wire.decode_form(b"a=%E3%82%A2&b=%83%41", "utf-8") == [("a", "ア"), ("b", None)]


def test_an_encoding_keeps_its_own_reading_of_ascii() -> None:
    """Byte 5C is a yen sign in one Shift_JIS and a backslash in the other, also where it stands alone."""
    assert wire.decode_form(b"a=%5C", "shift_jis_2004") == [("a", "\u00a5")]
    assert wire.decode_form(b"a=%5C") == [("a", "\\")]


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ("a b", b"x=a+b"),
        ("a+b", b"x=a%2Bb"),
        ("a=b&c", b"x=a%3Db%26c"),
        ("ア", b"x=%83A"),
        ("ソ", b"x=%83%5C"),
        ("　", b"x=%81%40"),
        ("ー", b"x=%81%5B"),
        ("\\", b"x=%5C"),
        ("\u00a5", b"x=%5C"),
    ],
)
def test_a_form_is_written_percent_encoded(value: str, raw: bytes) -> None:
    """A space is a plus, kana are Shift_JIS, and both yen signs are byte 5C."""
    assert wire.encode_form([("x", value)]) == raw


@pytest.mark.parametrize("character", ["ヷ", "㐂", "😀", "\ud800"])
def test_what_shift_jis_lacks_is_our_own_error(character: str) -> None:
    """Writing a character that Shift_JIS lacks names field and character, and not the rest of the value."""
    with pytest.raises(InvalidField) as error:
        wire.encode_form([("username", f"ヤマダ{character}")])

    assert (error.value.field, error.value.problem, error.value.detail) == ("username", "encoding", character)
    assert "ヤマダ" not in str(error.value)


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        (b"", []),
        (b"a=1\nb=2", [("a", "1"), ("b", "2")]),
        (b"a=1\r\nb=2\rc=3\n", [("a", "1"), ("b", "2"), ("c", "3")]),
        (b"\n\n a = 1 \n\t\nb\t=\t2", [("a", "1"), ("b", "2")]),
        (b"a=x?y=z", [("a", "x?y=z")]),
        (b"a=\nb", [("a", "")]),
        (b"a=\x0b1\x0c\x1c\x85=2", [("a", "\x0b1\x0c\x1c\ufffd=2")]),
        (b"a=\x83\x41\x81", [("a", "ア\ufffd")]),
    ],
)
def test_lines_are_read_in_their_order(raw: bytes, pairs: list[tuple[str, str]]) -> None:
    """LF, CRLF and CR end a line and nothing else does; the first = splits it; blanks round both go."""
    assert wire.decode_lines(raw) == pairs


def test_lines_are_written_with_either_ending() -> None:
    """Spaces stand round the = of the names asked for only."""
    pairs = [("a", "1"), ("b", ""), ("c", "ア")]

    assert wire.encode_lines(pairs) == b"a=1\nb=\nc=\x83\x41\n"
    assert wire.encode_lines(pairs, spaced={"a"}, crlf=True) == b"a = 1\r\nb=\r\nc=\x83\x41\r\n"


@pytest.mark.parametrize(("value", "detail"), [("1\nrel=Success_order", "U+000A"), ("1\r", "U+000D")])
def test_a_value_cannot_forge_a_line(value: str, detail: str) -> None:
    """A line break in a value is refused, not written."""
    with pytest.raises(InvalidField) as error:
        wire.encode_lines([("order_no", value)])

    assert (error.value.problem, error.value.detail) == ("control", detail)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"OK", "OK"),
        (b"\x83\x41", "ア"),
        (b"\xe3\x82\xa2", "ア"),
        (b"\x81", ""),
        (b"", ""),
    ],
)
def test_a_text_of_unknown_origin_is_read(raw: bytes, text: str) -> None:
    """UTF-8 where the bytes can be that, else Shift_JIS, else nothing."""
    assert wire.plain_text(raw) == text


@given(st.binary())
def test_no_bytes_break_a_reader(raw: bytes) -> None:
    """Whatever arrives is read."""
    wire.decode_form(raw)
    wire.decode_form(raw, "utf-8")
    wire.decode_lines(raw)
    wire.plain_text(raw)


@given(st.text(), st.text())
def test_no_text_breaks_a_writer_but_with_our_own_error(name: str, value: str) -> None:
    """A writer writes, or raises `InvalidField`."""
    for write in (wire.encode_form, wire.encode_lines):
        with suppress(InvalidField):
            write([(name, value)])
    assert wire.shift_jis_size(value) >= 0


@given(st.lists(st.tuples(st.text(st.characters(codec="ascii"), min_size=1), shift_jis_text)))
def test_a_form_comes_back(pairs: list[tuple[str, str]]) -> None:
    """What is written as a form is read as the same pairs."""
    assert wire.decode_form(wire.encode_form(pairs)) == pairs


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z_0-9]+", fullmatch=True), shift_jis_text)),
    st.booleans(),
    st.booleans(),
)
def test_lines_come_back(pairs: list[tuple[str, str]], crlf: bool, spaced: bool) -> None:
    """What is written as lines is read as the same pairs, but for blanks at the ends of a value."""
    pairs = [(name, value.replace("\n", "").replace("\r", "").strip(" \t")) for name, value in pairs]
    names = {name for name, _ in pairs} if spaced else set()

    assert wire.decode_lines(wire.encode_lines(pairs, spaced=names, crlf=crlf)) == pairs
