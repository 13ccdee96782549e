"""The manual's field tables, row by row, and what `check` says of good and bad values."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_zeus_cvs.exceptions import InvalidField
from flask_zeus_cvs.protocol import fields
from flask_zeus_cvs.protocol.fields import ANSWER, FIELDS, NOTICE, REQUEST, REQUIRED, Problem, check
from flask_zeus_cvs.protocol.wire import shift_jis_size

PRINTABLE_ASCII = (
    "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
)
LETTERS_AND_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
FREE_SYMBOLS = "\u00a5\\!#$%()~|- @[:]./`{*}?_+=^"
KATAKANA_AND_SPACE = (
    "ァアィイゥウェエォオカガキギクグケゲコゴサザシジスズセゼソゾタダチヂッツヅテデトドナニヌネノハバパヒビピフブプヘベペホボポマミ"
    "ムメモャヤュユョヨラリルレロヮワヰヱヲンヴヵヶー　"
)


def error_of(field: str, value: str) -> InvalidField | None:
    try:
        check(field, value)
    except InvalidField as error:
        return error
    return None


def problem_of(field: str, value: str) -> tuple[str, str] | None:
    error = error_of(field, value)
    return (error.problem, error.detail) if error else None


def test_names_in_the_order_of_the_manual() -> None:
    """Eleven parameters are sent, seven come back, fourteen can be asked for in a notice."""
    assert " ".join(REQUEST) == (
        "clientip act money username telno email pay_cvs sendid sendpoint testid test_type"
    )
    assert " ".join(ANSWER) == "rel order_no pay_no1 pay_no2 pay_limit pay_url error_code"
    assert " ".join(NOTICE) == (
        "clientip money username telno email sendid sendpoint order_no pay_cvs pay_no1 pay_no2 pay_limit"
        " status error_code"
    )
    assert {"clientip", "act", "money", "username", "telno", "email", "pay_cvs"} == REQUIRED


def test_sizes_in_bytes() -> None:
    """Each field has the size that the manual gives it; span, which is not in it, has two digits."""
    assert {name: row.max_bytes for name, row in FIELDS.items()} == {
        "clientip": 10,
        "act": 12,
        "money": 6,
        "username": 40,
        "telno": 11,
        "email": 50,
        "pay_cvs": 4,
        "sendid": 25,
        "sendpoint": 50,
        "testid": 8,
        "test_type": 1,
        "span": 2,
        "rel": 13,
        "order_no": 50,
        "pay_no1": 20,
        "pay_no2": 20,
        "pay_limit": 8,
        "pay_url": 120,
        "error_code": 6,
        "status": 2,
    }
    assert set(FIELDS) == {*REQUEST, *ANSWER, *NOTICE, "span"}


def test_limits() -> None:
    """200 to 299,999 yen; 2 to 59 days."""
    assert (fields.MIN_AMOUNT, fields.MAX_AMOUNT) == (200, 299_999)
    assert (fields.MIN_DAYS, fields.MAX_DAYS) == (2, 59)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("clientip", ["0000000000", "1234567890"]),
        ("act", ["secure_order"]),
        ("money", ["200", "299999", "000200"]),
        ("username", ["ア", "ー", "ヤマダ　タロウ", "ヴヵヶヮヰヱ", "ア" * 20]),
        ("telno", ["012345678", "0312345678", "09012345678", "000000000"]),
        (
            "email",
            ["a@b", "foo..bar@docomo.ne.jp", "foo.@ezweb.ne.jp", ".a@b", '"x"@y', "a@b@c", "a" * 48 + "@b"],
        ),
        ("pay_cvs", ["D001", "D002", "D030", "D015", "D050", "D060"]),
        ("sendid", ["a", " ", "x" * 25]),
        ("sendpoint", ["0", "x" * 50, "\u00a5" * 50]),
        ("testid", ["1", "12345678"]),
        ("test_type", ["0", "1", "2"]),
        ("span", ["2", "59", "02"]),
        ("rel", ["Success_order", "failure_order"]),
        ("order_no", ["a.B-9", "1" * 50]),
        ("pay_no1", ["0", "aZ9" * 6 + "12"]),
        ("pay_no2", ["0", "1" * 20]),
        ("pay_limit", ["20240229", "99991231"]),
        (
            "pay_url",
            [
                "http://a",
                "https://pay.example:8443/x?y=1&z=%41|^{}#f",
                "HTTPS://PAY.EXAMPLE",
                "https://[2001:db8::1]/",
                "https://a/" + "x" * 110,
            ],
        ),
        ("error_code", ["0", "0011", "800000", "999999"]),
        ("status", ["01", "02", "03", "04", "05", "06", "11", "12", "13"]),
    ],
)
def test_good_values(field: str, values: list[str]) -> None:
    """What the manual allows is allowed, up to the last byte and yen."""
    assert [(value, problem_of(field, value)) for value in values] == [(value, None) for value in values]


@pytest.mark.parametrize(
    ("field", "value", "problem", "detail"),
    [
        ("clientip", "123456789", "length", "10"),
        ("clientip", "12345678901", "too_long", "10"),
        ("clientip", "１234567890", "digits", "１"),
        ("act", "secure_link", "choice", ""),
        ("money", "199", "range", "200"),
        ("money", "300000", "range", "299999"),
        ("money", "0000200", "too_long", "6"),
        ("money", "2e3", "digits", "e"),
        ("money", "9" * 5000, "too_long", "6"),
        ("money", "²²²", "digits", "²"),
        ("username", "山田", "katakana", "山"),
        ("username", "ヤマだ", "katakana", "だ"),
        ("username", "ヤマダA", "katakana", "A"),
        ("username", "ヤマダ タロウ", "katakana", " "),
        ("username", "ヤマダ・タロウ", "katakana", "・"),
        ("username", "-ヤマダ", "katakana", "-"),
        ("username", "ヤマダ😀", "katakana", "😀"),
        ("username", "ハ\u3099", "katakana", "\u3099"),
        ("username", "ヤマダ゛", "katakana", "゛"),
        ("username", "ヷ", "character", "ヷ"),
        ("username", "ヸ", "character", "ヸ"),
        ("username", "ヹ", "character", "ヹ"),
        ("username", "ヺ", "character", "ヺ"),
        ("username", "ㇰ", "character", "ㇰ"),
        ("username", "ヽヾ", "character", "ヽ"),
        ("username", "ヿ", "character", "ヿ"),
        ("username", "ﾔﾏﾀﾞ", "character", "ﾔ"),
        ("username", "ｰ", "character", "ｰ"),
        ("username", "ア" * 21, "too_long", "20"),
        ("username", "　", "required", ""),
        ("username", " 　 ", "required", ""),
        ("username", "ア\nイ", "control", "U+000A"),
        ("username", "山\t", "control", "U+0009"),
        ("username", "ア\u2028", "control", "U+2028"),
        ("username", "ア\ud83d", "control", "U+D83D"),
        ("username", "ア\u200b", "control", "U+200B"),
        ("username", "山\u200b", "katakana", "山"),
        ("telno", "03-1234-5678", "digits", "-"),
        ("telno", "０312345678", "digits", "０"),
        ("telno", "+81312345678", "digits", "+"),
        ("telno", "312345678", "first_digit", "0"),
        ("telno", "01234567", "too_short", "9"),
        ("telno", "012345678901", "too_long", "11"),
        ("telno", " ", "required", ""),
        ("telno", "0312345678\n", "control", "U+000A"),
        ("email", "a", "malformed", ""),
        ("email", "@", "malformed", ""),
        ("email", "@b", "malformed", ""),
        ("email", "a@", "malformed", ""),
        ("email", "a b@c", "character", " "),
        ("email", "a＠b", "character", "＠"),
        ("email", "ａ@b", "character", "ａ"),
        ("email", "a@b\x7f", "control", "U+007F"),
        ("email", "a\r\nBcc: x@y", "control", "U+000D"),
        ("email", "a@" + "b" * 49, "too_long", "50"),
        ("pay_cvs", "D003", "choice", ""),
        ("pay_cvs", "d001", "choice", ""),
        ("pay_cvs", "D001 ", "choice", ""),
        ("sendid", "x" * 26, "too_long", "25"),
        ("sendid", "a&b", "character", "&"),
        ("sendid", "a'b", "character", "'"),
        ("sendpoint", "x" * 51, "too_long", "50"),
        ("sendpoint", "ア", "character", "ア"),
        ("testid", "12345678a", "digits", "a"),
        ("testid", "123456789", "too_long", "8"),
        ("test_type", "3", "choice", ""),
        ("span", "1", "range", "2"),
        ("span", "60", "range", "59"),
        ("rel", "success_order", "choice", ""),
        ("order_no", "a_b", "character", "_"),
        ("order_no", "1" * 51, "too_long", "50"),
        ("pay_no1", "1234-5678", "character", "-"),
        ("pay_no2", "1" * 21, "too_long", "20"),
        ("pay_limit", "2024022", "length", "8"),
        ("pay_limit", "20230229", "malformed", ""),
        ("pay_limit", "00000000", "malformed", ""),
        ("pay_limit", "2024-1-1", "digits", "-"),
        ("pay_url", "javascript:alert(1)", "malformed", ""),
        ("pay_url", "//pay.example/", "malformed", ""),
        ("pay_url", "ftp://pay.example/", "malformed", ""),
        ("pay_url", "https://", "malformed", ""),
        ("pay_url", "https:///x", "malformed", ""),
        ("pay_url", "https://[", "malformed", ""),
        ("pay_url", "https://a:99999/", "malformed", ""),
        ("pay_url", "https://a/ b", "character", " "),
        ("pay_url", 'https://a/"', "character", '"'),
        ("pay_url", "https:\\\\a", "character", "\\"),
        ("pay_url", "https://a/" + "x" * 111, "too_long", "120"),
        ("error_code", "E001", "digits", "E"),
        ("error_code", "1234567", "too_long", "6"),
        ("status", "07", "choice", ""),
        ("status", "10", "choice", ""),
        ("status", "1", "choice", ""),
    ],
)
def test_bad_values(field: str, value: str, problem: str, detail: str) -> None:
    """The problem is named, with the character or the limit that is wrong."""
    assert problem_of(field, value) == (problem, detail)


@pytest.mark.parametrize("field", FIELDS)
def test_blank_is_required(field: str) -> None:
    """A blank value breaks every rule alike: who has none leaves the field out."""
    assert problem_of(field, "") == (Problem.required, "")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "character", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]
)
def test_line_breaks_and_control_characters_are_refused_everywhere(field: str, character: str) -> None:
    """In no field, in no place, and named in a way that can be printed."""
    for value in (character, f"0{character}", f"{character}ア", f"a@{character}b"):
        assert problem_of(field, value) == (Problem.control, f"U+{ord(character):04X}")


@pytest.mark.parametrize(
    ("field", "frame", "allowed"),
    [
        ("username", "{}ア", KATAKANA_AND_SPACE),
        ("telno", "0{}1234567", "0123456789"),
        ("email", "a{}@b", PRINTABLE_ASCII),
        ("sendid", "{}", LETTERS_AND_DIGITS + FREE_SYMBOLS),
        ("sendpoint", "{}", LETTERS_AND_DIGITS + FREE_SYMBOLS),
        ("testid", "{}", "0123456789"),
        ("order_no", "{}", LETTERS_AND_DIGITS + ".-"),
        ("pay_no1", "{}", LETTERS_AND_DIGITS),
        ("pay_no2", "{}", LETTERS_AND_DIGITS),
        ("error_code", "{}", "0123456789"),
    ],
)
def test_exactly_these_characters(field: str, frame: str, allowed: str) -> None:
    """Of all 65,536 characters of the basic plane, those of the manual pass and no other does."""
    passing = {
        chr(code) for code in range(0x10000) if FIELDS[field].complaint(frame.format(chr(code))) is None
    }

    assert passing == set(allowed)


def test_an_error_names_its_field() -> None:
    """The field's wire name travels with the problem."""
    assert [getattr(error_of(field, ""), "field", None) for field in FIELDS] == list(FIELDS)


@given(st.sampled_from(sorted(FIELDS)), st.text())
@example("money", "9" * 5000)
@example("pay_limit", "2024W011")
@example("pay_url", "http://[::1")
@example("pay_url", "http://\u2100/")
def test_any_text_is_judged(field: str, value: str) -> None:
    """Nothing but `InvalidField` comes out, and what passes fits the field in Shift_JIS."""
    problem = problem_of(field, value)

    assert (problem is None) <= (0 < shift_jis_size(value) <= FIELDS[field].max_bytes)
    assert problem is None or problem[0] in list(Problem)


@given(st.text("ヤマ　山ヷ\n", min_size=1))
def test_a_complaint_holds_no_more_than_a_character(value: str) -> None:
    """The detail is a character or a limit; the message of the error holds neither."""
    error = error_of("username", value)

    assert error is None or len(error.detail) == 1 or error.detail in {"", "20", "U+000A"}
    assert not set(value) & set(str(error))
