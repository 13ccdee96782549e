"""What a drill tells the person who ran it: a table of what was sent and done, and each broken promise."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.drill.judge import Books, Broken
from flask_zeus_cvs.drill.model import Got
from flask_zeus_cvs.drill.play import Record, Result
from flask_zeus_cvs.models import DeliveryState
from flask_zeus_cvs.protocol.codes import STATUSES

#: References that are named; the rest is counted.
NAMED = 5
_WIDTH = 32
_COLUMNS = 100
#: Before what no shop can mend.
OURS = "(Not your shop's fault: please report it to Flask-Zeus-CVS.) "

Row = tuple[str, str]


def lines(result: Result) -> Iterator[str]:
    """Write the whole report."""
    record, books = result.record, result.books
    yield ""
    yield f"From {record.began.astimezone(JST):%Y-%m-%d} to {record.ended.astimezone(JST):%Y-%m-%d}, by the drill's clock"
    yield from _table("What was sent", _sent(record))
    yield from _table("What the shop did", _done(result))
    yield from _table("Events", _events(books))
    yield from _table("Reviews", _reviews(books))
    yield ""
    yield from _verdict(result)


def _table(title: str, rows: Iterable[Row]) -> Iterator[str]:
    yield ""
    yield title
    for name, value in rows:
        first, *more = textwrap.wrap(value, _COLUMNS - _WIDTH) or [""]
        yield f"  {name:<{_WIDTH}}{first}"
        yield from (" " * (_WIDTH + 2) + each for each in more)


def _parts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"


def _sent(record: Record) -> Iterator[Row]:
    yield "payments", f"{len(record.lives)}, in {len({each.story for each in record.lives})} kinds of lives"
    if tests := sum(each.test for each in record.lives):
        yield "  tests among them", f"{tests}; the others without the shop's test id, so that goods ship"
    yield (
        "applications",
        f"{record.attempts.total()}: "
        + ", ".join(f"{word} {record.attempts[got]}" for got, word in _GOT.items()),
    )
    yield "second clicks", f"{record.second_clicks}"
    yield "notices", f"{record.notices.total()}: {_parts(Counter(record.by_method))}"
    for row in STATUSES:
        if row.status:
            yield f"  {row.status} {row.label}", f"{record.notices[row.status]}"
    yield "  told before", f"{record.repeats}"
    yield "  sent from ZEUS's screen", f"{record.resent}"
    yield "notices lost on the way", f"{record.lost}"
    yield "calls that were no notice", _parts(record.forged)
    yield "paid, and nobody told", f"{record.untold} (番組停止: compare the payout statement)"


_GOT = {
    Got.ACCEPTED: "accepted",
    Got.DECLINED: "declined",
    Got.NOTHING: "no answer",
    Got.NOT_SENT: "not sent",
}


def _done(result: Result) -> Iterator[Row]:
    record, books = result.record, result.books
    yield "callback answered", _parts(Counter({str(key): number for key, number in record.answers.items()}))
    yield "pages answered", _parts(Counter({f"{page} {code}": n for (page, code), n in result.pages.items()}))
    yield "payments in the end", _parts(Counter(str(each.state) for each in books.payments.values()))
    yield "sweeps for deadlines", f"{record.sweeps}"
    yield "deliveries", _parts(_deliveries(books))
    yield "  cut short by a death", f"{record.deaths}, each taken over by another process"
    yield "log", _parts(result.levels)


def _deliveries(books: Books) -> Counter[str]:
    return Counter(
        str(delivery.state)
        for events in books.events.values()
        for event in events
        for delivery in event.deliveries
    )


def _events(books: Books) -> Iterator[Row]:
    happened: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for events in books.events.values():
        for event in events:
            happened[event.kind] += 1
            told[event.kind] += any(each.state is DeliveryState.DONE for each in event.deliveries)
    for kind, number in sorted(happened.items()):
        yield f"{kind}  ", f"{number:>5}, {told[kind]:>5} told to receivers"


def _reviews(books: Books) -> Iterator[Row]:
    found = Counter(str(each.reason) for reviews in books.reviews.values() for each in reviews)
    for reason, number in sorted(found.items()):
        yield reason, f"{number:>5}"


def _verdict(result: Result) -> Iterator[str]:
    if not result.judged_orders:
        yield textwrap.fill(_NOT_JUDGED, _COLUMNS)
    if not result.broken:
        yield "Every promise was kept."
        return
    yield f"Broken promises: {len(result.broken)}"
    for number, each in enumerate(result.broken, 1):
        text = f"{number}. {OURS if each.ours else ''}{each.sentence}"
        yield textwrap.fill(
            text, _COLUMNS, initial_indent="  ", subsequent_indent="     ", break_long_words=False
        )
        if each.references:
            yield f"     {_named(each)}"


_NOT_JUDGED = (
    "Not judged: whether goods left, and whether a person was asked. The payments had no orders of your shop behind "
    "them, so receivers that look for one have found none. Set ZEUS_CVS_DRILL_ORDERS, and the drill places and judges "
    "orders too."
)


def _named(broken: Broken) -> str:
    named = list(dict.fromkeys(broken.references))
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"{'payment' if len(named) == 1 else 'payments'} {', '.join(named[:NAMED])}{more}"
