"""What the result pages are made of, each by itself: grouped numbers, the calendar file, the QR code."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import icalendar
import pytest
import zxingcpp
from PIL import Image

from flask_zeus_cvs import Customer
from flask_zeus_cvs.models import Application
from flask_zeus_cvs.protocol.codes import STORES, Store
from flask_zeus_cvs.web.calendar import LONGEST_LINE, Deadline, calendar_file
from flask_zeus_cvs.web.numbers import GROUPS, Number, numbers_of, phone_ending_of
from flask_zeus_cvs.web.qr import QUIET, qr_code

LINK = "https://shop.example.jp/zeus-cvs/result/p7hWq2VbN0sT5yXcJ4kLm8Zr1aQ6uEoD"
MOMENT = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)


# Numbers


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        ("", ("",)),
        ("90210", ("90210",)),
        ("483920", ("483", "920")),
        ("83920571460", ("839", "2057", "1460")),
        ("201948573620", ("2019", "4857", "3620")),
        ("4912345678901", ("4912", "3456", "78901")),
        ("A1B2C3D4E5F6G7H8I9J0", ("A1B2C", "3D4E5", "F6G7H", "8I9J0")),
        ("1" * 21, ("1" * 21,)),
    ],
)
def test_numbers_come_in_groups(value: str, groups: tuple[str, ...]) -> None:
    """A number is shown in groups that one remembers on the way to the keys, and nothing of it is lost."""
    assert Number("pay_no1", "受付番号", value).groups == groups


def test_groups_add_up() -> None:
    """Each row of the table splits a number of its length, up to the longest that ZEUS issues, into groups of 3 to 5."""
    assert all(sum(groups) == length for length, groups in GROUPS.items())
    assert set(GROUPS) == set(range(6, 21))
    assert {each for groups in GROUPS.values() for each in groups} == {3, 4, 5}


@pytest.mark.parametrize("store", list(Store))
def test_only_familymart_asks_for_the_second_number_first(store: Store) -> None:
    """Numbers come in the order in which the store's machine asks for them."""
    names = [each.name for each in numbers_of(Application(pay_no1="1", pay_no2="2"), STORES[store])]
    has_two = STORES[store].pay_no2 is not None

    assert (
        names
        == (["pay_no1", "pay_no2"] if has_two else ["pay_no1"])[:: -1 if store is Store.FAMILYMART else 1]
    )


@pytest.mark.parametrize("store", list(Store))
def test_the_end_of_the_telephone_number_reminds(store: Store) -> None:
    """Where the machine asks for the telephone number its last four digits are told, and nowhere else."""
    slip = Application(store=store, customer=Customer("ヤマダ", "09012345678", "y@example.com"))

    assert phone_ending_of(slip) == ("5678" if store is Store.SEICOMART else "")


# The calendar file


def deadline(**changes: object) -> Deadline:
    given = {
        "key": "token-of-the-payment",
        "edition": 1,
        "day": date(2026, 12, 1),
        "title": "コンビニ払いの期限（ローソン、23:59まで）",
        "place": "ローソン",
        "text": f"ご注文番号: A-1001\nお支払い番号: {LINK}",
        "link": LINK,
        **changes,
    }
    return Deadline(**given)  # type: ignore[arg-type]


def event_of(file: bytes) -> Any:
    """The file's one event, as another implementation reads it."""
    (event,) = icalendar.Calendar.from_ical(file).walk("VEVENT")
    return event


def test_another_implementation_reads_the_file() -> None:
    """The event ends at 23:59 in Japan, the reminder is due at 20:00 the evening before, and every text arrives whole."""
    wanted = deadline()
    event = event_of(calendar_file(wanted, MOMENT))
    (alarm,) = event.walk("VALARM")

    assert event.errors == []
    assert event["DTSTART"].dt == datetime(2026, 12, 1, 14, 0, tzinfo=UTC)
    assert event["DTEND"].dt == datetime(2026, 12, 1, 14, 59, tzinfo=UTC)
    assert event["DTSTART"].dt + alarm["TRIGGER"].dt == datetime(2026, 11, 30, 11, 0, tzinfo=UTC)
    assert event["DTSTAMP"].dt == MOMENT
    assert (event["SUMMARY"], event["LOCATION"]) == (wanted.title, wanted.place)
    assert (event["DESCRIPTION"], event["URL"]) == (wanted.text, LINK)


@pytest.mark.parametrize(
    "text",
    [
        "a;b,c\\d\\n",
        "一行目\n二行目\n",
        "BEGIN:VEVENT\r\nEND:VCALENDAR",
        "𠮷" * 60,
        "x" * 300,
        '"quoted": and colons',
        "bell\x07 and\x00 null",
        "ご注文\u3000一番\u00a0A",
    ],
)
def test_no_text_breaks_the_file(text: str) -> None:
    """Whatever the shop's order number holds, it stays text: nothing in it ends a line or begins a component."""
    event = event_of(calendar_file(deadline(text=text), MOMENT))
    kept = "".join(each for each in text.replace("\r\n", "\n") if each not in "\x00\x07")

    assert event["DESCRIPTION"] == kept.removesuffix("\n")
    assert len(event.subcomponents) == 1


def test_lines_are_as_the_standard_wants_them() -> None:
    """Lines end in CRLF, none is longer than 75 octets, and no character is torn (RFC 5545, 3.1)."""
    file = calendar_file(deadline(text="長い文" * 50, title="é" * 90), MOMENT)
    lines = file.split(b"\r\n")

    assert lines.pop() == b""
    assert not any(b"\n" in line or b"\r" in line for line in lines)
    assert max(len(line) for line in lines) <= LONGEST_LINE
    assert [line.decode() for line in lines]


def test_event_is_known_again_and_does_not_give_the_key_away() -> None:
    """A later application moves the event that is there; who sees its identity cannot open the page by it."""
    before, after = (calendar_file(deadline(edition=each), MOMENT) for each in (1, 2))

    assert event_of(before)["UID"] == event_of(after)["UID"]
    assert event_of(before)["SEQUENCE"] < event_of(after)["SEQUENCE"]
    assert event_of(before)["UID"] != event_of(calendar_file(deadline(key="another"), MOMENT))["UID"]
    assert b"token-of-the-payment" not in before


def test_a_last_day_at_the_end_of_a_year() -> None:
    """The reminder lies in the old year, the deadline in the new one; in Japan, whatever the server's zone is."""
    event = event_of(calendar_file(deadline(day=date(2027, 1, 1)), MOMENT))

    assert event["DTSTART"].dt - timedelta(hours=27) == datetime(2026, 12, 31, 11, 0, tzinfo=UTC)


# The QR code


def drawn(svg: bytes) -> Image.Image:
    """Draw the code as a browser would: its one path is made of horizontal strokes, each a module thick."""
    (size,) = re.findall(r'viewBox="0 0 (\d+) \1"', svg.decode())
    (path,) = re.findall(r' stroke="#000" d="([^"]+)"', svg.decode())
    image = Image.new("L", (int(size), int(size)), 255)
    x, y = 0.0, 0.0
    for command, numbers in re.findall(r"([Mmh])([-0-9. ]+)", path):
        first, *more = map(float, numbers.split())
        if command == "h":
            image.paste(0, (int(x), int(y), int(x + first), int(y) + 1))
        x, y = (first, more[0]) if command == "M" else (x + first, y + sum(more))
    return image.resize((image.width * 8, image.height * 8), Image.Resampling.NEAREST)


@pytest.mark.parametrize("link", [LINK, LINK + "?" + "x" * 300, "http://127.0.0.1:5000/zeus-cvs/result/t"])
def test_the_code_leads_to_the_page(link: str) -> None:
    """Another implementation reads the very link, also where a telephone meets a long one."""
    (read,) = zxingcpp.read_barcodes(drawn(qr_code(link)))

    assert (read.text, read.format) == (link, zxingcpp.BarcodeFormat.QRCode)


def test_the_code_is_a_picture_and_nothing_else() -> None:
    """It keeps the margin that readers need, has no style and no script, and is small."""
    code = qr_code(LINK)
    margin = drawn(code).crop((0, 0, QUIET * 8, QUIET * 8))

    assert margin.getextrema() == (255, 255)
    assert not re.search(rb"style|script|href|<!|<\?", code)
    assert len(code) < 10_000
