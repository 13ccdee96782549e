"""The deadline as a calendar file (RFC 5545): one event at the end of the last day, with a reminder the evening before.

The page's link is in it, and no payment number: calendars are shared, and a re-issue would make the number wrong.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import NAMESPACE_URL, uuid5

from flask_zeus_cvs.clock import JST

#: The last hour for paying is what the event fills: it ends with the deadline.
_BEGINS = time(23, 0, tzinfo=JST)
_LASTS = timedelta(minutes=59)
#: 20:00 on the evening before, counted from the beginning. Japan has no daylight saving time.
_REMINDER = "-PT27H"
#: Octets of a line, its line break not counted.
LONGEST_LINE = 75


@dataclass(frozen=True)
class Deadline:
    """What the event says. A payment keeps its key for ever: a later application moves the event it made before."""

    key: str
    edition: int
    day: date
    title: str
    place: str
    text: str
    link: str


def calendar_file(deadline: Deadline, moment: datetime) -> bytes:
    """Return the file as made at ``moment``, in UTF-8 with CRLF."""
    return b"".join(_folded(line) for line in _lines(deadline, moment))


def _lines(deadline: Deadline, moment: datetime) -> Iterator[str]:
    begins = datetime.combine(deadline.day, _BEGINS)
    yield "BEGIN:VCALENDAR"
    yield "VERSION:2.0"
    yield "PRODID:-//Flask-Zeus-CVS//Deadline//EN"
    yield "BEGIN:VEVENT"
    yield f"UID:{uuid5(NAMESPACE_URL, 'zeus-cvs:' + deadline.key)}"
    yield f"SEQUENCE:{deadline.edition}"
    yield f"DTSTAMP:{_stamp(moment)}"
    yield f"DTSTART:{_stamp(begins)}"
    yield f"DTEND:{_stamp(begins + _LASTS)}"
    yield f"SUMMARY:{_escaped(deadline.title)}"
    yield f"LOCATION:{_escaped(deadline.place)}"
    yield f"DESCRIPTION:{_escaped(deadline.text)}"
    yield f"URL:{deadline.link}"
    yield "TRANSP:TRANSPARENT"
    yield "BEGIN:VALARM"
    yield "ACTION:DISPLAY"
    yield f"TRIGGER:{_REMINDER}"
    yield f"DESCRIPTION:{_escaped(deadline.title)}"
    yield "END:VALARM"
    yield "END:VEVENT"
    yield "END:VCALENDAR"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _escaped(text: str) -> str:
    """Write a TEXT value; other control characters than line breaks have no place in one."""
    text = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    lines = ("".join(each for each in line if _is_text(each)) for line in text.splitlines())
    return "\\n".join(lines)


def _is_text(character: str) -> bool:
    """Whether it can be seen, or is one of the wide blanks that Python does not count as printable."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _folded(line: str) -> bytes:
    """End a line, and break it wherever it would grow too long, between characters and never inside one."""
    folded, length = bytearray(), 0
    for character in line:
        octets = character.encode()
        if length + len(octets) > LONGEST_LINE:
            folded += b"\r\n "
            length = 1
        folded += octets
        length += len(octets)
    return bytes(folded) + b"\r\n"
