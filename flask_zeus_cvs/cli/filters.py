"""Options by which commands find payments: the same for each, and the same as in the back office."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import wraps
from typing import Any

import click

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.lifecycle import State
from flask_zeus_cvs.protocol.codes import STORES, Store
from flask_zeus_cvs.staff.search import Filters


def _store(context: click.Context, param: click.Parameter, value: str | None) -> Store | None:
    """Read a store by its code, its short name or its Japanese name."""
    if value is None:
        return None
    for each in STORES.values():
        if value in (each.name, each.store.value) or value.lower() == _short(each.slug):
            return each.store
    known = ", ".join(f"{_short(each.slug)} ({each.store.value})" for each in STORES.values())
    raise click.BadParameter(f"{value!r} is no store. There are: {known}.", context, param)


def _short(slug: str) -> str:
    return slug.replace("_", "-")


def _day(context: click.Context, param: click.Parameter, value: str | None) -> date | None:
    """Read a day of Japan's."""
    if value is None:
        return None
    today = now().astimezone(JST).date()
    named: Mapping[str, date] = {"today": today, "yesterday": today - timedelta(days=1)}
    try:
        return named[value] if value in named else datetime.strptime(value, "%Y-%m-%d").date()  # noqa: DTZ007
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no day. Write it as 2026-11-23, today or yesterday.", context, param
        ) from None


_OPTIONS = (
    click.argument("text", default="", metavar="[TEXT]"),
    click.option("--reference", default="", help="The shop's order number, exactly."),
    click.option("--order-no", default="", help="ZEUS's order number, exactly."),
    click.option("--sendid", default="", help="Our own key at ZEUS, exactly."),
    click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([state.value for state in State]),
        metavar="STATE",
        help=f"Only in this state; may be given several times: {', '.join(State)}.",
    ),
    click.option(
        "--day", metavar="DAY", callback=_day, help="Created on this day: 2026-11-23, today, yesterday."
    ),
    click.option("--from", "first_day", metavar="DAY", callback=_day, help="Created on this day or later."),
    click.option("--to", "last_day", metavar="DAY", callback=_day, help="Created on this day or earlier."),
    click.option(
        "--store",
        metavar="STORE",
        callback=_store,
        help=f"Only of this store: {', '.join(_short(each.slug) for each in STORES.values())}, or its code.",
    ),
    click.option("--test/--no-test", default=None, help="Only test payments, or none of them."),
    click.option(
        "--review/--no-review", "under_review", default=None, help="Only with an open review, or without."
    ),
)


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, and hand it what they say as ``filters``."""

    @wraps(command)
    def read(*, day: date | None, states: tuple[str, ...], **options: Any) -> Any:
        if day is not None and (options["first_day"] or options["last_day"]):
            raise click.UsageError("--day is a whole day: say either --day, or --from and --to.")
        given = {name: options.pop(name) for name in _GIVEN}
        if day is not None:
            given.update(first_day=day, last_day=day)
        if given["first_day"] and given["last_day"] and given["first_day"] > given["last_day"]:
            raise click.UsageError("--from is later than --to: nothing could be found.")
        return command(filters=Filters(states=[State(each) for each in states], **given), **options)

    for option in reversed(_OPTIONS):
        read = option(read)
    return read


_GIVEN = ("text", "reference", "order_no", "sendid", "first_day", "last_day", "store", "test", "under_review")
