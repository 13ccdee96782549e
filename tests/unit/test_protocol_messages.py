"""Application request, answer and notice: bytes in, values out, and back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_zeus_cvs.exceptions import InvalidField, UnreadableNotice
from flask_zeus_cvs.protocol.codes import Status, Store, TestType
from flask_zeus_cvs.protocol.fields import NOTICE, REQUEST, Problem
from flask_zeus_cvs.protocol.messages import CONTENT_TYPE, Answer, ApplicationRequest, Notice, Outcome
from tests.samples import answers, notices, requests

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
free = LETTERS + "\\!#$%()~|-@[:]./`{*}?_+=^"
names = st.text("アガッソタポミムヴヶー", min_size=1, max_size=20)
telephones = st.from_regex("0[0-9]{8,10}", fullmatch=True)
addresses = st.tuples(st.text(free, min_size=1, max_size=24), st.text(free, min_size=1, max_size=24)).map(
    "@".join
)

application_requests = st.builds(
    ApplicationRequest,
    clientip=st.from_regex("[0-9]{10}", fullmatch=True),
    money=st.integers(200, 299_999),
    username=names,
    telno=telephones,
    email=addresses,
    pay_cvs=st.sampled_from(Store),
    sendid=st.text(free, max_size=25),
    sendpoint=st.text(free, max_size=50),
    span=st.none() | st.integers(2, 59),
)
valid_answers = st.builds(
    Answer,
    st.sampled_from([Outcome.accepted, Outcome.declined]),
    order_no=st.text(LETTERS + ".-", max_size=50),
    pay_no1=st.text(LETTERS, max_size=20),
    pay_no2=st.text(LETTERS, max_size=20),
    pay_limit=st.none() | st.dates(),
    pay_url=st.sampled_from(["", "https://pay.example/x?a=1"]),
    error_code=st.text("0123456789", max_size=6),
)
valid_notices = st.builds(
    Notice,
    status=st.sampled_from(Status),
    clientip=st.just("") | st.from_regex("[0-9]{10}", fullmatch=True),
    money=st.none() | st.integers(0, 999_999),
    username=st.just("") | names,
    telno=st.just("") | telephones,
    email=st.just("") | addresses,
    sendid=st.text(free, max_size=25),
    sendpoint=st.text(free, max_size=50),
    order_no=st.text(LETTERS + ".-", min_size=1, max_size=50),
    pay_cvs=st.just("") | st.sampled_from(Store),
    pay_no1=st.text(LETTERS, max_size=20),
    pay_no2=st.text(LETTERS, max_size=20),
    pay_limit=st.none() | st.dates(),
    error_code=st.text("0123456789", max_size=6),
)
# Bytes that come close to a message, so that the readers are driven past their first step.
almost = st.lists(
    st.sampled_from(
        [
            *(name.encode() for name in {*REQUEST, *NOTICE}),
            *(
                b"rel",
                b"pay_url",
                b"span",
                b"=",
                b"&",
                b"\n",
                b"\r",
                b" ",
                b"+",
                b"%",
                b"<",
                b"Success_order",
            ),
            *(b"failure_order", b"secure_order", b"Invalid", b"D001", b"04", b"3000", b"20240229", b"%83%41"),
            *(b"%81", b"\x81", b"0312345678", b"a%40b", b"1234567890", b"https://a/"),
        ]
    )
    | st.binary(max_size=3)
).map(b"".join)
any_bytes = st.binary() | almost


@pytest.fixture
def request_() -> ApplicationRequest:
    return requests.REQUESTS[1].value


# --- the application request ---


def test_the_content_type() -> None:
    """The POST says what it is, and names no charset that could be believed."""
    assert CONTENT_TYPE == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("sample", requests.REQUESTS, ids=lambda sample: sample.source)
def test_a_request_is_read(sample: requests.Sample) -> None:
    """Hand-spelled bytes are read as what they say."""
    assert ApplicationRequest.parse(sample.raw) == sample.value


@pytest.mark.parametrize(
    "sample", [each for each in requests.REQUESTS if each.written], ids=lambda s: s.source
)
def test_a_request_is_written(sample: requests.Sample) -> None:
    """The same samples, the other way: byte for byte."""
    assert sample.value.encode() == sample.raw


@pytest.mark.parametrize("spoilt", requests.SPOILT, ids=repr)
def test_a_bad_parameter_is_named(spoilt: requests.Spoilt) -> None:
    """Whatever the manual's table forbids is refused, with the parameter, the problem and the detail."""
    with pytest.raises(InvalidField) as error:
        ApplicationRequest.parse(spoilt.raw)

    assert error.value.field == spoilt.name.decode()
    assert (error.value.problem, error.value.detail) == (spoilt.problem, spoilt.detail)


@pytest.mark.parametrize("name", ["clientip", "act", "money", "username", "telno", "email", "pay_cvs"])
def test_a_missing_required_parameter_is_named(name: str) -> None:
    """A required parameter that is not there at all is as bad as a blank one."""
    body = b"&".join(key + b"=" + value for key, value in requests.GOOD.items() if key.decode() != name)

    with pytest.raises(InvalidField) as error:
        ApplicationRequest.parse(body)

    assert (error.value.field, error.value.problem) == (name, Problem.required)


def test_the_first_bad_parameter_is_named() -> None:
    """Of several, the first in the manual's order, whatever the order of the bytes."""
    with pytest.raises(InvalidField) as error:
        ApplicationRequest.parse(
            b"email=&telno=1&username=&pay_cvs=&clientip=1234567890&act=secure_order&money=500"
        )

    assert error.value.field == "username"


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"clientip": ""}, "clientip", "required"),
        ({"money": 199}, "money", "range"),
        ({"money": 300_000}, "money", "range"),
        ({"money": -1}, "money", "digits"),
        ({"money": True}, "money", "digits"),
        ({"username": "山田"}, "username", "katakana"),
        ({"telno": "1"}, "telno", "first_digit"),
        ({"email": ""}, "email", "required"),
        ({"pay_cvs": "D003"}, "pay_cvs", "choice"),
        ({"sendid": "a&b"}, "sendid", "character"),
        ({"sendpoint": "x" * 51}, "sendpoint", "too_long"),
        ({"testid": "x"}, "testid", "digits"),
        ({"test_type": "9"}, "test_type", "choice"),
        ({"span": 60}, "span", "range"),
    ],
)
def test_nothing_that_breaks_a_rule_is_written(
    request_: ApplicationRequest, changes: dict[str, object], field: str, problem: str
) -> None:
    """Every field is checked before a byte is written."""
    with pytest.raises(InvalidField) as error:
        replace(request_, **changes).encode()  # type: ignore[arg-type]

    assert (error.value.field, error.value.problem) == (field, problem)


@pytest.mark.parametrize("half", [{"testid": ""}, {"test_type": ""}])
def test_half_a_test_is_no_test(request_: ApplicationRequest, half: dict[str, str]) -> None:
    """ZEUS needs both test fields; one alone is not sent, so that nobody takes it for a test."""
    halved = replace(request_, **half)  # type: ignore[arg-type]

    assert request_.test
    assert not halved.test
    assert b"test" not in halved.encode()


def test_a_request_shows_no_personal_data(request_: ApplicationRequest) -> None:
    """The repr holds neither name, telephone, e-mail nor the test id."""
    shown = repr(request_)

    assert "1234567890" in shown
    assert not any(secret in shown for secret in ("サトー", "09012345678", "a@b", "12345678'", "order 1"))


@given(application_requests, st.sampled_from(TestType), st.booleans())
def test_a_request_comes_back(value: ApplicationRequest, test_type: TestType, test: bool) -> None:
    """What is written is read as the same value."""
    value = replace(value, testid="12345678", test_type=test_type) if test else value

    assert ApplicationRequest.parse(value.encode()) == value


@given(any_bytes)
def test_any_body_is_judged(raw: bytes) -> None:
    """Arbitrary bytes are a good request or `InvalidField`."""
    with suppress(InvalidField):
        assert ApplicationRequest.parse(raw).encode()


# --- the answer ---


@pytest.mark.parametrize("sample", answers.ANSWERS, ids=lambda sample: sample.source)
def test_an_answer_is_read(sample: answers.Sample) -> None:
    """Hand-spelled bytes are read as what they say."""
    assert Answer.parse(sample.raw) == sample.value


@pytest.mark.parametrize(
    "sample", [each for each in answers.ANSWERS if each.style is not None], ids=lambda s: s.source
)
def test_an_answer_is_written(sample: answers.Sample) -> None:
    """The same samples, the other way: byte for byte."""
    assert sample.value.encode(**sample.style or {}) == sample.raw


@pytest.mark.parametrize(("raw", "parameter"), answers.COMPLAINTS)
def test_a_plain_text_that_names_a_parameter_declines(raw: bytes, parameter: str) -> None:
    """The manual's parameter error: nothing was registered, and the customer can be shown the field."""
    assert Answer.parse(raw) == Answer(Outcome.declined, parameter=parameter)


@pytest.mark.parametrize("name", REQUEST)
def test_every_request_parameter_can_be_named(name: str) -> None:
    """All eleven of them, alone and as the real clients expect it."""
    assert Answer.parse(name.encode()).parameter == name
    assert Answer.parse(f"Invalid {name}".encode()).parameter == name


@pytest.mark.parametrize("raw", answers.UNINTELLIGIBLE)
def test_what_cannot_be_understood_is_unknown(raw: bytes) -> None:
    """Unknown is not failed: a refusal read into an accident's words would let the customer get two slips."""
    assert Answer.parse(raw) == Answer(Outcome.unknown)


@pytest.mark.parametrize("name", REQUEST)
def test_no_page_of_a_proxy_declines(name: str) -> None:
    """HTML is never a refusal, whichever of our parameters it mentions."""
    assert Answer.parse(f"<p>{name}</p>".encode()).outcome is Outcome.unknown


@pytest.mark.parametrize(("size", "outcome"), [(100, Outcome.declined), (101, Outcome.unknown)])
def test_only_a_short_text_declines(size: int, outcome: Outcome) -> None:
    """Up to 100 bytes without the blanks round it; a longer text may be about anything."""
    assert Answer.parse(b"telno ".ljust(size, b".") + b" \r\n").outcome is outcome


def test_an_answer_shows_no_address() -> None:
    """Whoever has pay_url sees the customer's slip, so the repr leaves it out."""
    assert "pay.example" not in repr(answers.SEVEN)


@given(valid_answers, st.booleans(), st.booleans())
def test_an_answer_comes_back(value: Answer, spaced: bool, crlf: bool) -> None:
    """What is written in any style is read as the same value."""
    assert Answer.parse(value.encode(spaced=spaced, crlf=crlf)) == value


@given(any_bytes)
def test_any_answer_is_read(raw: bytes) -> None:
    """Arbitrary bytes raise nothing, and only the manual's words decide."""
    answer = Answer.parse(raw)

    assert answer.outcome is not Outcome.accepted or b"Success_order" in raw
    assert (
        answer.outcome is not Outcome.declined or b"failure_order" in raw or answer.parameter.encode() in raw
    )
    assert not answer.parameter or (answer.parameter in REQUEST and b"<" not in raw)
    assert answer.outcome is Outcome.unknown or bool(answer.parameter) != any(
        word in raw for word in (b"Success_order", b"failure_order")
    )


@given(valid_answers, st.data())
def test_a_cut_off_answer_is_never_a_refusal(value: Answer, data: st.DataObject) -> None:
    """Of the first bytes of an accepted answer none reads as declined."""
    raw = replace(value, outcome=Outcome.accepted).encode()
    cut = raw[: data.draw(st.integers(0, len(raw)))]

    assert Answer.parse(cut).outcome is not Outcome.declined


# --- the notice ---


@pytest.mark.parametrize("sample", notices.NOTICES, ids=lambda sample: sample.source)
def test_a_notice_is_read(sample: notices.Sample) -> None:
    """Hand-spelled bytes are read as what they say, and are kept."""
    notice = Notice.parse(sample.raw)

    assert notice == sample.value
    assert notice.raw == sample.raw


@pytest.mark.parametrize("sample", [each for each in notices.NOTICES if each.names], ids=lambda s: s.source)
def test_a_notice_is_written(sample: notices.Sample) -> None:
    """The same samples, the other way, with the parameters the shop asked for: byte for byte."""
    assert sample.value.encode(sample.names or ()) == sample.raw


@pytest.mark.parametrize(("raw", "reason"), notices.UNREADABLE)
def test_an_unreadable_notice_says_why(raw: bytes, reason: str) -> None:
    """Only what decides can make a notice unreadable; its bytes are kept, its reason holds none of them."""
    with pytest.raises(UnreadableNotice) as error:
        Notice.parse(raw)

    assert (error.value.reason, error.value.raw) == (reason, raw)


@pytest.mark.parametrize("status", ["01", "02", "03", "04", "05", "06", "11", "12", "13"])
def test_every_status_is_read(status: str) -> None:
    """All nine."""
    assert Notice.parse(f"order_no=1&status={status}".encode()).status == status


@pytest.mark.parametrize("store", ["D001", "D002", "D030", "D015", "D050", "D060"])
def test_every_store_is_read(store: str) -> None:
    """All six, and as a `Store`."""
    notice = Notice.parse(f"order_no=1&status=04&pay_cvs={store}".encode())

    assert isinstance(notice.pay_cvs, Store)
    assert notice.pay_cvs == store


def test_a_notice_in_another_encoding() -> None:
    """The encoding is a setting: UTF-8 is read and written where a shop has asked for it."""
    raw = b"username=%E3%82%A2&order_no=7&status=04"
    notice = Notice.parse(raw, "utf-8")

    assert notice.username == "ア"
    assert notice.encode(["username", "order_no", "status"], "utf-8") == raw


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"order_no=2024-0001.77&status=04&money=3000", "2024-0001.77\n04\n3000"),
        (b"money=003000&status=%30%34&order_no=2024-0001.77&sendid=A1&telno=0", "2024-0001.77\n04\n3000"),
        (b"sendid=A1&status=05", "sendid:A1\n05\n"),
    ],
)
def test_the_identity_never_changes(raw: bytes, text: str) -> None:
    """It is stored: SHA-256 of number, status and money, whatever the order, case and other parameters."""
    digests = {  # by sha256sum
        "2024-0001.77\n04\n3000": "14458896d0439f5536f7f8ceef7eeb7f01c11efc59dbe48d0642dd905e221ee4",
        "sendid:A1\n05\n": "034cc1f481c9f2e731bee5617e7fd78ac32f19b4f925d5bb4998fd5e83938e0e",
    }

    assert Notice.parse(raw).identity == digests[text]


def test_notices_that_differ_in_what_decides_differ() -> None:
    """Another number, another status, another or no money: another notice. A sendid is not an order_no."""
    raws = [
        b"order_no=1&status=04&money=300",
        b"order_no=2&status=04&money=300",
        b"order_no=1&status=05&money=300",
        b"order_no=1&status=04&money=301",
        b"order_no=1&status=04",
        b"sendid=1&status=04&money=300",
    ]

    assert len({Notice.parse(raw).identity for raw in raws}) == len(raws)


def test_a_notice_shows_no_personal_data() -> None:
    """Neither the repr nor the raw bytes in it hold name, telephone or e-mail."""
    shown = repr(Notice.parse(notices.NOTICES[0].raw))

    assert "2024-0001.77" in shown
    assert not any(secret in shown for secret in ("ヤマダ", "09012345678", "hanako", "%83", "order-7"))


@given(valid_notices, st.sampled_from(["cp932", "utf-8"]))
def test_a_notice_comes_back(value: Notice, encoding: str) -> None:
    """What is written is read as the same value, with the same identity."""
    notice = Notice.parse(value.encode(encoding=encoding), encoding)

    assert notice == value
    assert notice.identity == value.identity


@given(any_bytes, st.sampled_from(["cp932", "utf-8"]))
def test_any_notice_is_judged(raw: bytes, encoding: str) -> None:
    """Arbitrary bytes are a notice that can be acted on, or `UnreadableNotice`."""
    with suppress(UnreadableNotice):
        notice = Notice.parse(raw, encoding)
        assert notice.order_no or notice.sendid
        assert not set(notice.faults) & {"status", "money"}


@given(almost)
def test_a_good_notice_stays_good_beside_any_rubbish(rubbish: bytes) -> None:
    """What others put behind a good notice changes none of what decides, or makes it unreadable."""
    try:
        notice = Notice.parse(b"order_no=7&status=04&money=3000&" + rubbish)
    except UnreadableNotice:
        return
    assert (notice.order_no, notice.status, notice.money) == ("7", Status.PAYMENT_RECEIVED, 3000)


def test_dates_before_the_year_1000_are_written_with_four_digits() -> None:
    """A date is eight digits, however odd."""
    assert Answer(Outcome.accepted, pay_limit=date(1, 2, 3)).encode().count(b"pay_limit=00010203\n") == 1
