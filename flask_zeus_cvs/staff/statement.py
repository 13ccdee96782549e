"""Reads the list that ZEUS's screen gives as a file, also after Excel has been at it.

What can be read in one way only is read. What cannot is named with its line, and never guessed at or quoted: the file
holds customers' details, of which nothing is kept but what finds an application and says what became of it.
"""

from __future__ import annotations

import codecs
import csv
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum
from functools import cache, cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.exceptions import InvalidField, UnreadableStatement
from flask_zeus_cvs.protocol.codes import ERROR_CODES, STATUSES, STORES, Status, Store
from flask_zeus_cvs.protocol.fields import FIELDS, MAX_AMOUNT, check


class Silent(StrEnum):
    """The two statuses of which no notice tells, as the list calls them."""

    CANCELLED = "キャンセル"
    STOPPED = "番組停止"


Standing = Status | Silent

#: Each thing that is read, and what its column may be called without anybody saying so (compared by `_called`).
NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "order_no": ("order_no", "オーダー番号", "オーダーNo", "オーダーNo."),
        "status": ("status", "ステータス", "決済ステータス", "状態", "決済状況", "入金状況"),
        "status_name": ("status_name", "ステータス名", "ステータス名称", "状態名"),
        "money": ("money", "金額", "決済金額", "請求金額", "支払金額", "お支払金額"),
        "clientip": ("clientip", "IPコード", "加盟店IPコード"),
        "sendid": ("sendid", "フリーパラメータ", "フリーパラメータ1", "フリーパラメーター"),
        "pay_cvs": ("pay_cvs", "コンビニ", "コンビニコード", "コンビニ種別", "支払先", "お支払先"),
        "pay_no1": ("pay_no1", "払込用番号", "払込用番号1", "払込番号", "払込番号1"),
        "pay_no2": ("pay_no2", "払込用番号2", "払込番号2"),
        "pay_limit": ("pay_limit", "支払期限", "支払期限日", "お支払期限", "支払期日", "入金期限"),
        "error_code": ("error_code", "エラーコード"),
        "test": ("test", "テスト", "テスト区分"),
        "applied_at": ("applied_at", "申込日時", "申込日", "お申込日時", "受付日時", "受付日"),
        "changed_at": ("changed_at", "更新日時", "最終更新日時", "ステータス更新日時", "ステータス変更日時"),
        # Only looked at for the zero that it begins with: whether Excel has been at the file.
        "telno": ("telno", "電話番号", "TEL"),
    }
)
#: Without these there is nothing to compare; a status may also be told by its name alone.
NEEDED = ("order_no", "status", "money")
#: Lines in which the names of the columns are looked for: some lists begin with a title.
MOST_TITLES = 20
#: Faults that are kept with their lines; more are counted.
MOST_FAULTS = 1000
_MANY = 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """One application as the list has it. ``number`` is its line in the file, ``money`` yen."""

    number: int
    order_no: str
    standing: Standing
    money: int
    clientip: str = field(default="", repr=False)
    sendid: str = field(default="", repr=False)
    store: Store | None = None
    pay_no1: str = field(default="", repr=False)
    pay_no2: str = field(default="", repr=False)
    pay_limit: date | None = None
    error_code: str = ""
    test: bool = False
    applied_at: datetime | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that is left out, and why; never with what stands there."""

    number: int
    column: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Format:
    """How a file is written, and where each thing stands in it (counted from 0)."""

    encoding: str
    delimiter: str
    head: int
    columns: tuple[str, ...] = field(repr=False)
    places: Mapping[str, int]

    def named(self, thing: str) -> str:
        """Tell what the file calls the column of a thing."""
        return self.columns[self.places[thing]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an order number stands: the line that counts, and what it says."""

    number: int
    standing: Standing
    money: int
    same: bool = True


@dataclass
class Contents:
    """What the first reading of a file finds: which line counts for each order number, and what cannot be read."""

    places: dict[str, Place] = field(default_factory=dict)
    lines: int = 0
    repeated: int = 0
    tests: int = 0
    faults: list[Fault] = field(default_factory=list)
    faulty: int = 0
    since: datetime | None = None
    until: datetime | None = None
    newest: datetime | None = None

    def blame(self, fault: Fault) -> None:
        self.faulty += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)


class Statement:
    """One file of ZEUS's screen. It is read twice: for what it holds, then line by line for what it says."""

    def __init__(self, path: Path, columns: Mapping[str, str] | None = None, encoding: str = "") -> None:
        """Find out how it is written. ``columns`` maps things of `NAMES` to names of columns, or ``#5`` for the fifth.

        Raises `UnreadableStatement` if it cannot be opened, is no text, or lacks a column of `NEEDED`.
        """
        self.path = path
        self._mangled = False
        #: What does not decide and was left out, as it breaks its rule: how often.
        self.dropped: dict[str, int] = {}
        try:
            self.format = self._find_format(columns or {}, encoding)
        except OSError as error:
            raise UnreadableStatement(
                f"{path.name} cannot be opened ({type(error).__name__}). Give the path of a file."
            ) from None
        except (UnicodeError, csv.Error):
            raise UnreadableStatement(
                f"{path.name} is no text of comma- or tab-separated values"
                f"{f' in {encoding}' if encoding else ''}. Save it as CSV, or say how it is encoded: --encoding."
            ) from None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    @cached_property
    def contents(self) -> Contents:
        """Read it a first time: which line counts where an order number stands twice, and what is wrong with lines.

        Raises `UnreadableStatement` if no line at all can be read.
        """
        found = Contents()
        numbers = self.format.places.get("telno")
        for number, cells in self._rows():
            found.lines += 1
            if numbers is not None and not self._mangled:
                self._mangled = bool(re.fullmatch(r"[1-9]\d{8,9}", _plain(cells[numbers])))
            line = self._line(number, cells, _COUNTED)
            if isinstance(line, Fault):
                found.blame(line)
            else:
                _enter(found, line)
        contradicted = [order_no for order_no, place in found.places.items() if not place.same]
        for order_no in contradicted:
            del found.places[order_no]
        if found.lines and not found.places:
            raise UnreadableStatement(self._nothing(found))
        return found

    @property
    def mangled(self) -> bool:
        """Whether leading zeros are lost: then payment numbers are not taken from it."""
        return self.contents is not None and self._mangled

    def lines(self) -> Iterator[Line]:
        """Read it again: each line that counts, in the order of the file."""
        places = self.contents.places
        self.dropped.clear()
        for number, cells in self._rows():
            line = self._line(number, cells, _READERS)
            if isinstance(line, Line) and (place := places.get(line.order_no)) and place.number == number:
                yield line

    def _nothing(self, found: Contents) -> str:
        first = found.faults[0] if found.faults else None
        why = f": line {first.number}, {first.column} {first.wrong}" if first else ""
        return (
            f"Not one of the {found.lines} lines of {self.path.name} can be read{why}. "
            "Say which columns are meant, as --column order_no=NAME."
        )

    def _find_format(self, columns: Mapping[str, str], encoding: str) -> Format:
        encoding = encoding or _encoding(self.path)
        with _opened(self.path, encoding) as file:
            titles = [each for each, _ in zip(file, range(MOST_TITLES), strict=False)]
        best: tuple[list[str], str] = ([], ",")
        for delimiter in (",", "\t", ";"):
            rows = csv.reader(titles, delimiter=delimiter)
            for row in rows:
                names = [_plain(each) for each in row]
                if (places := _places(names, columns)) is not None:
                    bare = _is_data(names, columns)
                    shown = _shown(names, columns, bare=bare)
                    return Format(encoding, delimiter, rows.line_num - bare, shown, places)
                if _score(names) > _score(best[0]):
                    best = names, delimiter
        raise UnreadableStatement(_missing(self.path.name, best[0], columns))

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Tell each row below the names with its line; blank ones are left out, and short ones filled."""
        wide = len(self.format.columns)
        with _opened(self.path, self.format.encoding) as file:
            for _ in range(self.format.head):
                file.readline()
            rows = csv.reader(file, delimiter=self.format.delimiter)
            before = self.format.head
            try:
                for cells in rows:
                    if any(cells):
                        yield before + 1, cells + [""] * (wide - len(cells))
                    before = self.format.head + rows.line_num
            except (csv.Error, UnicodeError):
                raise UnreadableStatement(
                    f"{self.path.name} cannot be read from line {before + 1} on. Save it as CSV again, or say how it is "
                    "encoded: --encoding."
                ) from None

    def _line(self, number: int, cells: Sequence[str], readers: Mapping[str, Any]) -> Line | Fault:
        at = self.format.places
        if any(cells[len(self.format.columns) :]):
            return Fault(number, "the line", "has more cells than there are columns")
        given = {thing: _plain(cells[at[thing]]) for thing in (*_DECIDING, *readers) if thing in at}
        try:
            thing = "order_no"
            order_no = _order_no(given["order_no"])
            thing = "status" if "status" in at else "status_name"
            standing = _standing(given.get("status", ""), given.get("status_name", ""))
            thing = "money"
            money = _money(given["money"])
        except ValueError as error:
            return Fault(number, self.format.named(thing), str(error))
        if given.get("status", "") in _ONE_DIGIT:
            self._mangled = True
        more: dict[str, Any] = {}
        for thing, read in readers.items():
            if value := given.get(thing):
                try:
                    more[thing] = read(value)
                except ValueError as error:
                    if thing == "clientip":  # whose it is decides: it may be another merchant's
                        return Fault(number, self.format.named(thing), str(error))
                    self.dropped[thing] = self.dropped.get(thing, 0) + 1
        if "pay_cvs" in more:
            more["store"] = more.pop("pay_cvs")
        return Line(number, order_no, standing, money, **more)


def _enter(found: Contents, line: Line) -> None:
    """Write down one line; of several for one order number the most advanced counts, if they can follow each other."""
    found.tests += line.test
    for moment in (line.applied_at, line.changed_at):
        if moment is not None:
            found.newest = max(found.newest or moment, moment)
    if line.applied_at is not None:
        found.since = min(found.since or line.applied_at, line.applied_at)
        found.until = max(found.until or line.applied_at, line.applied_at)
    place, earlier = Place(line.number, line.standing, line.money), found.places.get(line.order_no)
    if earlier is None:
        found.places[line.order_no] = place
        return
    found.repeated += 1
    if earlier.money != place.money or not (later := _later(earlier, place)):
        found.places[line.order_no] = Place(earlier.number, earlier.standing, earlier.money, same=False)
        wrong = f"stands in line {earlier.number} too, which says something else"
        found.blame(Fault(line.number, "the order number", wrong))
    elif earlier.same:
        found.places[line.order_no] = later


#: What a list may show of a slip at first, for each thing that it shows later.
_EARLIER: Mapping[Standing, frozenset[Standing]] = MappingProxyType(
    {
        Status.EXPIRED: frozenset({Status.AWAITING_PAYMENT}),
        Status.PAYMENT_RECEIVED: frozenset({Status.AWAITING_PAYMENT, Status.EXPIRED}),
        Status.SALE_CONFIRMED: frozenset({Status.AWAITING_PAYMENT, Status.EXPIRED, Status.PAYMENT_RECEIVED}),
        Status.PAYMENT_CANCELLED: frozenset(
            {Status.AWAITING_PAYMENT, Status.EXPIRED, Status.PAYMENT_RECEIVED}
        ),
        Silent.STOPPED: frozenset({Status.AWAITING_PAYMENT, Status.EXPIRED}),
        Silent.CANCELLED: frozenset({Status.AWAITING_PAYMENT, Status.EXPIRED}),
        Status.RECEIVED_AFTER_CANCEL: frozenset({Status.AWAITING_PAYMENT, Status.EXPIRED, Silent.CANCELLED}),
        Status.CONFIRMED_AFTER_CANCEL: frozenset(
            {Status.AWAITING_PAYMENT, Status.EXPIRED, Silent.CANCELLED, Status.RECEIVED_AFTER_CANCEL}
        ),
        Status.CANCELLED_AFTER_CANCEL: frozenset(
            {Status.AWAITING_PAYMENT, Status.EXPIRED, Silent.CANCELLED, Status.RECEIVED_AFTER_CANCEL}
        ),
    }
)


def _later(one: Place, other: Place) -> Place | None:
    """Tell which of two lines of one order number came of the other; None if neither can."""
    if one.standing == other.standing or other.standing in _EARLIER.get(one.standing, ()):
        return one
    return other if one.standing in _EARLIER.get(other.standing, ()) else None


# --- how a file is written ---------------------------------------------------------------------------

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _encoding(path: Path) -> str:
    """Find out by the file's bytes: a mark at its beginning, else UTF-8 if all of it can be that, else cp932."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        beginning = file.read(_MANY)
        for mark, encoding in _MARKS:
            if beginning.startswith(mark):
                return encoding
        piece = beginning
        try:
            while piece:
                decoder.decode(piece)
                piece = file.read(_MANY)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp932"
    return "utf-8"


def _opened(path: Path, encoding: str) -> IO[str]:
    """Open as text. A character that a name has and cp932 has not harms nothing: names are not read."""
    return path.open(encoding=encoding, errors="replace" if encoding == "cp932" else "strict", newline="")


@cache
def _called(name: str) -> str:
    """What a column is called, whatever the width of its letters, spaces, and a unit in brackets."""
    plain = re.sub(r"\([^)]*\)", "", unicodedata.normalize("NFKC", name)).casefold()
    return re.sub(r"[\s_.:・]", "", plain)


_BY_NAME: Mapping[str, str] = MappingProxyType(
    {_called(name): thing for thing, names in NAMES.items() for name in names}
)


def _places(names: Sequence[str], columns: Mapping[str, str]) -> dict[str, int] | None:
    """Find each thing's column in what may be the line of names; None if it is not, as something needed is missing."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if thing := _BY_NAME.get(_called(name)):
            places.setdefault(thing, place)
    for thing, wanted in columns.items():
        if (named := _place(names, wanted)) is None:
            return None
        places[thing] = named
    if "status" not in places and "status_name" not in places:
        return None
    return places if {"order_no", "money"} <= places.keys() else None


_NUMBERED = re.compile(r"#[1-9]\d{0,2}")


def _place(names: Sequence[str], wanted: str) -> int | None:
    if _NUMBERED.fullmatch(wanted):
        place = int(wanted[1:]) - 1
        return place if 0 <= place < len(names) else None
    found = [place for place, name in enumerate(names) if _called(name) == _called(wanted)]
    return found[0] if found else None


def _is_data(cells: Sequence[str], columns: Mapping[str, str]) -> bool:
    """Tell whether the first line is one of a file without names, whose columns are given by their numbers."""
    if not all(_NUMBERED.fullmatch(each) for each in columns.values()) or "order_no" not in columns:
        return False
    return any(map(_looks_like_data, cells))


def _shown(names: Sequence[str], columns: Mapping[str, str], *, bare: bool) -> tuple[str, ...]:
    """What messages call the columns: never by what may be a customer's details."""
    numbered = {each for each in columns.values() if _NUMBERED.fullmatch(each)}
    numbers = [f"#{place}" for place in range(1, len(names) + 1)]
    return tuple(
        number if bare or number in numbered else name for name, number in zip(names, numbers, strict=True)
    )


def _score(names: Sequence[str]) -> tuple[int, int]:
    """Tell how much a line looks like the names of columns."""
    return sum(_called(each) in _BY_NAME for each in names), len([each for each in names if each])


def _missing(file: str, names: Sequence[str], columns: Mapping[str, str]) -> str:
    wrong = [f"{thing}={name}" for thing, name in columns.items() if _place(names, name) is None]
    known = {_BY_NAME.get(_called(each)) for each in names} | set(columns)
    lacking = [
        each for each in NEEDED if each not in known and not (each == "status" and "status_name" in known)
    ]
    what = (
        f"{file} has no column {', '.join(wanted.partition('=')[2] for wanted in wrong)}, which --column names"
        if wrong
        else f"{file} has no column for {', '.join(lacking) or 'what is needed'}"
    )
    cure = f"Name it: --column {(wrong or [*lacking, 'order_no'])[0].partition('=')[0]}=NAME (or =#5 for the fifth)."
    if not names:
        return f"{file} is empty. Fetch the list from ZEUS's screen again."
    if _score(names)[0] == 0 and any(map(_looks_like_data, names)):
        return (
            f"{what}: its first line does not look like names. Say where they stand, as --column order_no=#1."
        )
    return f"{what}. It has: {', '.join(each for each in names if each)}. {cure}"


def _looks_like_data(text: str) -> bool:
    return bool(re.search(r"[@＠]|\d{4}", text)) or text.isdecimal() or text in _STANDINGS


# --- what stands in a cell -----------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Take off what Excel and Japanese keyboards put round a value: ="…", an apostrophe, full width, spaces."""
    text = text.strip()
    if text[:1] in ("=", "'"):
        text = re.sub(r'^="(.*)"$|^\'', r"\1", text).strip()
    return text if text.isascii() else unicodedata.normalize("NFKC", text).strip()


def _order_no(text: str) -> str:
    if not text:
        raise ValueError("is blank")
    if re.fullmatch(r"\d(\.\d+)?E\+?\d+", text):
        raise ValueError(
            "is a number that Excel has rounded: fetch the list again, and do not save it in Excel"
        )
    try:
        check("order_no", text)
    except InvalidField as problem:
        raise ValueError(f"is no order number ({problem.problem})") from None
    return text


_STANDINGS: Mapping[str, Standing] = MappingProxyType(
    {row.name: row.status or Silent(row.name) for row in STATUSES}
    | {
        "期日切れ": Status.EXPIRED,
        "期限切れ": Status.EXPIRED,
        "入金待ち": Status.AWAITING_PAYMENT,
        "入金済み": Status.PAYMENT_RECEIVED,
        "入金速報": Status.PAYMENT_RECEIVED,
        "売上確定済": Status.SALE_CONFIRMED,
        "キャンセル済": Silent.CANCELLED,
        "キャンセル済み": Silent.CANCELLED,
    }
)
_CODES: Mapping[str, Status] = MappingProxyType(
    {each.value: each for each in Status} | {each.value.lstrip("0"): each for each in Status}
)
_ONE_DIGIT = frozenset(each.lstrip("0") for each in Status if each.startswith("0"))


@lru_cache(maxsize=1000)
def _standing(code: str, name: str) -> Standing:
    """Read a status as two digits, as its name, or as both; a column of names tells what has no digits."""
    said = {_one_standing(each) for each in (code, name) if each}
    if not said:
        raise ValueError("is blank")
    if len(said) > 1:
        raise ValueError("says one thing by its digits and another by its name")
    return said.pop()


def _one_standing(text: str) -> Standing:
    digits = re.findall(r"\d+", text)
    name = re.sub(r"[\d\s:;.,/()\[\]_-]", "", text)
    said = {_CODES.get(each) for each in digits} | ({_STANDINGS.get(name)} if name else set())
    if len(said) != 1 or None in said:
        raise ValueError("is no status that we know")
    return next(each for each in said if each is not None)


@lru_cache(maxsize=4096)
def _money(text: str) -> int:
    digits = re.sub(r"^[¥\\]|円$|\s", "", text.removeprefix("JPY"))
    if not re.fullmatch(r"(\d+|\d{1,3}(,\d{3})+)(\.0+)?", digits):
        raise ValueError("is no amount in yen" if text else "is blank")
    amount = int(digits.partition(".")[0].replace(",", ""))
    if amount > MAX_AMOUNT:
        raise ValueError(f"is more than {MAX_AMOUNT:,} yen")
    return amount


def _checked(name: str) -> Any:
    def read(text: str) -> str:
        check(name, text)
        return text

    return read


def _clientip(text: str) -> str:
    code = text.zfill(FIELDS["clientip"].max_bytes)
    try:
        check("clientip", code)
    except InvalidField:
        raise ValueError("is no IP code") from None
    return code


_STORES: Mapping[str, Store] = MappingProxyType(
    {unicodedata.normalize("NFKC", row.name): row.store for row in STORES.values()}
    | {each.value: each for each in Store}
    | {
        "セブンイレブン": Store.SEVEN_ELEVEN,
        "デイリーヤマザキ・ヤマザキデイリーストアー": Store.DAILY_YAMAZAKI,
    }
)


def _store(text: str) -> Store:
    try:
        return _STORES[text]
    except KeyError:
        raise ValueError("is no store that we know") from None


def _error_code(text: str) -> str:
    codes = [each for each in ERROR_CODES if each.lstrip("0") == text.lstrip("0")]
    return codes[0] if len(codes) == 1 else str(_checked("error_code")(text))


_FLAGS: Mapping[str, bool] = MappingProxyType(
    {"1": True, "0": False, "テスト": True, "本番": False, "true": True, "false": False, "-": False}
)


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.casefold()]
    except KeyError:
        raise ValueError("is neither 0 nor 1") from None


_DECIDING = ("order_no", "status", "status_name", "money")
_DAY = r"(\d{4})(?:-(\d{1,2})-|/(\d{1,2})/|年(\d{1,2})月|\.(\d{1,2})\.)(\d{1,2})日?|(\d{4})(\d\d)(\d\d)"
_TIME = r"(?:[T\s]*(\d{1,2})[:時]?(\d\d)(?:[:分](\d\d)(?:\.\d+)?|(\d\d))?[分秒]?(?:\+09:?00| ?JST)?)?"


def _day(text: str) -> date:
    return _moment(text).date()


@lru_cache(maxsize=4096)
def _moment(text: str) -> datetime:
    """Read a moment in Japan; a day alone is its beginning."""
    found = re.fullmatch(f"(?:{_DAY}){_TIME}", text)
    if found is None:
        raise ValueError("is no date")
    year, *rest = (int(each) for each in found.groups() if each is not None)
    hour, minute, second = (*rest[2:], 0, 0, 0)[:3]
    return datetime.combine(date(year, *rest[:2]), time(hour, minute, second), JST)


#: What helps and does not decide; a value that breaks its rule is left out.
_READERS: Mapping[str, Any] = MappingProxyType(
    {
        "clientip": _clientip,
        "sendid": _checked("sendid"),
        "pay_cvs": _store,
        "pay_no1": _checked("pay_no1"),
        "pay_no2": _checked("pay_no2"),
        "pay_limit": _day,
        "error_code": _error_code,
        "test": _flag,
        "applied_at": _moment,
        "changed_at": _moment,
    }
)
#: Those of them that tell what a file is about, and whose.
_COUNTED: Mapping[str, Any] = {
    thing: _READERS[thing] for thing in ("clientip", "test", "applied_at", "changed_at")
}
