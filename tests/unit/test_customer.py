"""What customers type, and what the gateway is sent."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_zeus_cvs.customer import Customer, checked, normalize
from flask_zeus_cvs.exceptions import InvalidCustomer
from flask_zeus_cvs.protocol.fields import check

GOOD = Customer(name="ヤマダ　タロウ", phone="09012345678", email="hanako@example.jp")

HIRAGANA = (
    "ぁあぃいぅうぇえぉおかがきぎくぐけげこごさざしじすずせぜそぞただちぢっつづてでとどなにぬねのはばぱひびぴふぶぷへべぺほぼぽまみ"
    "むめもゃやゅゆょよらりるれろゎわゐゑをんゔゕゖ"
)
KATAKANA = (
    "ァアィイゥウェエォオカガキギクグケゲコゴサザシジスズセゼソゾタダチヂッツヅテデトドナニヌネノハバパヒビピフブプヘベペホボポマミ"
    "ムメモャヤュユョヨラリルレロヮワヰヱヲンヴヵヶ"
)
HALF_WIDTH = "ｦｧｨｩｪｫｬｭｮｯｰｱｲｳｴｵｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾅﾆﾇﾈﾉﾊﾋﾌﾍﾎﾏﾐﾑﾒﾓﾔﾕﾖﾗﾘﾙﾚﾛﾜﾝ"
FULL_WIDTH = (
    "ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノ"
    "ハヒフヘホマミムメモヤユヨラリルレロワン"
)
PLAIN, VOICED = "ウカキクケコサシスセソタチツテトハヒフヘホ", "ヴガギグゲゴザジズゼゾダヂヅデドバビブベボ"
SEMI_PLAIN, SEMI_VOICED = "ハヒフヘホ", "パピプペポ"


def name_of(typed: str) -> str:
    return normalize(Customer(name=typed)).name


def phone_of(typed: str) -> str:
    return normalize(Customer(phone=typed)).phone


def email_of(typed: str) -> str:
    return normalize(Customer(email=typed)).email


def problems_of(**typed: str) -> list[tuple[str, str, str]]:
    customer = Customer(**{"name": GOOD.name, "phone": GOOD.phone, "email": GOOD.email, **typed})
    try:
        checked(customer)
    except InvalidCustomer as error:
        return [(each.field, each.problem, each.detail) for each in error.problems]
    return []


@pytest.mark.parametrize(
    ("typed", "sent"), [(HIRAGANA, KATAKANA), (HALF_WIDTH, FULL_WIDTH), (KATAKANA, KATAKANA)]
)
def test_every_kana_becomes_full_width_katakana(typed: str, sent: str) -> None:
    """Hiragana and half-width katakana, one by one; katakana stays."""
    assert [name_of(kana) for kana in typed] == list(sent)


@pytest.mark.parametrize("mark", ["\u3099", "゛", "ﾞ"])
def test_voiced_marks_are_joined(mark: str) -> None:
    """Combining, full-width or half-width, after any width of kana."""
    assert name_of("".join(kana + mark for kana in PLAIN)) == VOICED
    assert name_of(f"か{mark}ｷ{mark}う{mark}") == "ガギヴ"


@pytest.mark.parametrize("mark", ["\u309a", "゜", "ﾟ"])
def test_semi_voiced_marks_are_joined(mark: str) -> None:
    """The same for the little circle."""
    assert name_of("".join(kana + mark for kana in SEMI_PLAIN)) == SEMI_VOICED
    assert name_of(f"は{mark}ﾋ{mark}") == "パピ"


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("やまだ たろう", "ヤマダ　タロウ"),
        ("ﾔﾏﾀﾞ ﾀﾛｳ", "ヤマダ　タロウ"),
        ("  ヤマダ  　 タロウ　 ", "ヤマダ　タロウ"),
        ("ヤマダ\u00a0タロウ", "ヤマダ　タロウ"),
        ("ヤマダ\u2003\u2009\u202f\u205f\u1680タロウ", "ヤマダ　タロウ"),
        ("ヤマダタロウ", "ヤマダタロウ"),
        ("ヤマダ\u200bタロウ\ufeff", "ヤマダタロウ"),
        ("", ""),
        ("　", ""),
    ],
)
def test_spaces_of_a_name(typed: str, sent: str) -> None:
    """Every kind of space becomes full-width, a run one, the ends none; what has no width goes."""
    assert name_of(typed) == sent


@pytest.mark.parametrize("hyphen", "-‐‑‒–—―⁃−─━﹘﹣－ｰー")
def test_hyphens_after_a_kana_are_long_vowels(hyphen: str) -> None:
    """Whatever looks like a hyphen, after kana of any width, also after another one."""
    assert name_of(f"サト{hyphen}") == "サトー"
    assert name_of(f"さと{hyphen} ろ{hyphen}ら") == "サトー　ローラ"
    assert name_of(f"ﾀﾞ{hyphen}{hyphen}") == "ダーー"
    assert name_of(f"ラー{hyphen}") == "ラーー"


@pytest.mark.parametrize("hyphen", "-‐−－─")
def test_hyphens_elsewhere_are_left_alone_and_named(hyphen: str) -> None:
    """At the start, after a space or after what is no kana, a hyphen is no long vowel."""
    assert name_of(f"{hyphen}サト") == f"{hyphen}サト"
    assert problems_of(name=f"サト {hyphen}") == [("username", "katakana", hyphen)]
    assert problems_of(name=f"A{hyphen}") == [("username", "katakana", "A")]


@pytest.mark.parametrize(
    ("typed", "problem", "detail"),
    [
        ("", "required", ""),
        (" 　\u00a0", "required", ""),
        ("山田太郎", "katakana", "山"),
        ("やまだ太郎", "katakana", "太"),
        ("Yamada", "katakana", "Y"),
        ("メアリー・ジェーン", "katakana", "・"),
        ("ヤマダ1", "katakana", "1"),
        ("サト〜", "katakana", "〜"),
        ("みすゞ", "katakana", "ゞ"),
        ("ア゛", "katakana", "゛"),
        ("アﾞ", "katakana", "ﾞ"),
        ("わ゛", "character", "ヷ"),
        ("ヷヸヹヺ", "character", "ヷ"),
        ("ㇰ", "character", "ㇰ"),
        ("ア" * 21, "too_long", "20"),
        ("ﾔﾏﾀﾞ" * 7, "too_long", "20"),
        ("ヤマダ\nタロウ", "control", "U+000A"),
        ("ヤマダ\tタロウ", "control", "U+0009"),
        ("ヤマダ\r", "control", "U+000D"),
        ("ヤマダ\u2028", "control", "U+2028"),
    ],
)
def test_names_that_cannot_be_sent(typed: str, problem: str, detail: str) -> None:
    """The manual's rule decides, and the character or the limit is named."""
    assert problems_of(name=typed) == [("username", problem, detail)]


def test_a_name_is_as_long_as_what_is_sent() -> None:
    """Twenty characters count after the marks are joined and the spaces run together."""
    assert problems_of(name="ｶﾞ" * 10 + "   " + "は゜" * 9) == []


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("09012345678", "09012345678"),
        ("090-1234-5678", "09012345678"),
        ("０９０－１２３４－５６７８", "09012345678"),
        ("０９０ー１２３４ー５６７８", "09012345678"),
        ("090ｰ1234−5678", "09012345678"),
        ("(03) 1234-5678", "0312345678"),
        ("（０３）　１２３４‐５６７８", "0312345678"),
        ("[03]［1234］【56】〔78〕", "0312345678"),
        ("\u202d090\u00a01234\u20115678\u202c", "09012345678"),
        (" 090 1234 5678 ", "09012345678"),
        ("+819012345678", "09012345678"),
        ("+81 90-1234-5678", "09012345678"),
        ("＋８１（０）３－１２３４－５６７８", "0312345678"),
        ("(+81) 3 1234 5678", "0312345678"),
        ("", ""),
    ],
)
def test_telephone_numbers(typed: str, sent: str) -> None:
    """Full-width digits, hyphens, spaces, brackets and the country code are no trouble."""
    assert phone_of(typed) == sent


@pytest.mark.parametrize(
    ("typed", "problem", "detail"),
    [
        ("", "required", ""),
        (" - ", "required", ""),
        ("9012345678", "first_digit", "0"),
        ("819012345678", "too_long", "11"),
        ("+81", "too_short", "9"),
        ("+1 212 555 0100", "digits", "+"),
        ("090.1234.5678", "digits", "."),
        ("03/1234/5678", "digits", "/"),
        ("03-1234-5678 内線5", "digits", "内"),
        ("٠٩٠١٢٣٤٥٦٧٨", "digits", "٠"),
        ("0123456", "too_short", "9"),
        ("0901234567890", "too_long", "11"),
        ("090-1234-5678\n", "control", "U+000A"),
        ("090\t12345678", "control", "U+0009"),
    ],
)
def test_telephone_numbers_that_cannot_be_sent(typed: str, problem: str, detail: str) -> None:
    """From 0, 9 to 11 digits, nothing else."""
    assert problems_of(phone=typed) == [("telno", problem, detail)]


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        (" hanako@example.jp ", "hanako@example.jp"),
        ("　hanako@example.jp\u00a0", "hanako@example.jp"),
        ("\u202ahanako@example.jp\u202c\ufeff", "hanako@example.jp"),
        ("foo..bar@docomo.ne.jp", "foo..bar@docomo.ne.jp"),
        ("foo.@ezweb.ne.jp", "foo.@ezweb.ne.jp"),
        ("Hanako+Shop@Example.JP", "Hanako+Shop@Example.JP"),
    ],
)
def test_email_is_trimmed_and_otherwise_untouched(typed: str, sent: str) -> None:
    """No folding, no RFC: old carrier addresses break it and are real."""
    assert checked(Customer(GOOD.name, GOOD.phone, typed)).email == sent


@pytest.mark.parametrize(
    ("typed", "problem", "detail"),
    [
        ("", "required", ""),
        ("hanako", "malformed", ""),
        ("@example.jp", "malformed", ""),
        ("hanako@", "malformed", ""),
        ("ｈanako@example.jp", "character", "ｈ"),
        ("hanako＠example.jp", "character", "＠"),
        ("hana ko@example.jp", "character", " "),
        ("花子@example.jp", "character", "花"),
        ("a@" + "b" * 49, "too_long", "50"),
        ("hanako@example.jp\n", "control", "U+000A"),
        ("hanako@example.jp\r\nBcc: x@example.net", "control", "U+000D"),
        ("hana\u200bko@example.jp", "control", "U+200B"),
    ],
)
def test_emails_that_cannot_be_sent(typed: str, problem: str, detail: str) -> None:
    """Printable ASCII with an @ that has something on both sides, of up to 50 bytes."""
    assert problems_of(email=typed) == [("email", problem, detail)]


@pytest.mark.parametrize(
    "character", [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029"]
)
def test_control_characters_are_refused_not_stripped(character: str) -> None:
    """In every field, at the ends as in the middle."""
    for value in (f"{character}ア", f"ア{character}", f"ア{character}イ"):
        detail = f"U+{ord(character):04X}"
        assert problems_of(name=value) == [("username", "control", detail)]
        assert problems_of(phone=value) == [("telno", "control", detail)]
        assert problems_of(email=value) == [("email", "control", detail)]


def test_every_wrong_detail_is_named_at_once() -> None:
    """One answer to the customer, not three in a row; and no value in the message."""
    with pytest.raises(InvalidCustomer) as error:
        checked(Customer("山田", "abc", "nobody"))

    assert [each.field for each in error.value.problems] == ["username", "telno", "email"]
    assert not any(secret in str(error.value) for secret in ("山", "abc", "nobody"))


def test_a_customer_shows_nothing() -> None:
    """Neither name, telephone nor e-mail reaches a log through a repr."""
    assert repr(GOOD) == "Customer()"


def test_what_is_checked_is_returned() -> None:
    """The value that comes back is the one that was judged."""
    assert checked(Customer("やまだ たろう", "090-1234-5678", " hanako@example.jp")) == GOOD
    assert checked(GOOD) == GOOD


typed_text = st.text() | st.text("やﾔヤﾞﾟ゛゜\u3099\u309aハわうｳ-－ー ｰ　\u00a0\u200b+81０9()山\n")


@given(typed_text, typed_text, typed_text)
@example("ハ\u200b゛", "+81+819012345678", "\u200b a@b")
@example("ハ゛゜-", "+\u200b81", "")
def test_normalizing_twice_is_normalizing_once(name: str, phone: str, email: str) -> None:
    """Anything can be typed, and what was made of it is not made into something else again."""
    once = normalize(Customer(name, phone, email))

    assert normalize(once) == once


@given(typed_text, typed_text, typed_text)
def test_what_passes_can_be_sent(name: str, phone: str, email: str) -> None:
    """Either every detail keeps the manual's rule, or `InvalidCustomer`."""
    try:
        customer = checked(Customer(name, phone, email))
    except InvalidCustomer:
        return
    check("username", customer.name)
    check("telno", customer.phone)
    check("email", customer.email)
