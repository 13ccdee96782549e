"""``flask zeus-cvs list``: finds payments, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from flask.cli import with_appcontext
from sqlalchemy.orm import Session

from flask_zeus_cvs.cli.filters import filtered
from flask_zeus_cvs.cli.output import MOST_LINES, payments_here, show_json, show_table
from flask_zeus_cvs.customer import masked
from flask_zeus_cvs.models import LARGEST_ID, Payment
from flask_zeus_cvs.protocol.codes import STORES
from flask_zeus_cvs.staff.search import Filters, page_and_rest, under_review

_HEAD = ("id", "created", "reference", "yen", "state", "store", "order number", "pay until", "customer")
#: How many of those that do not fit are counted.
_COUNTED = 1_000


@click.command("list")
@filtered
@click.option(
    "--limit",
    default=MOST_LINES,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many payments at once.",
)
@click.option(
    "--before",
    type=click.IntRange(1, LARGEST_ID),
    metavar="ID",
    help="Go on below this id, where the last list ended.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--reveal", is_flag=True, help="Show customers' details in full.")
@with_appcontext
def list_payments(filters: Filters, limit: int, before: int | None, as_json: bool, reveal: bool) -> None:
    """Find payments, newest first.

    TEXT is whatever you have: the order's reference, ZEUS's order number, or a payment number as the customer reads
    it out. State, store and test are those of the application that counts; days are Japan's.

    Example: flask zeus-cvs list --state awaiting_payment --store lawson --from 2026-11-01
    """

    def find(session: Session) -> tuple[Sequence[Payment], frozenset[int], int | None, int]:
        rows, following, more = page_and_rest(session, filters, limit, before, _COUNTED)
        return rows, under_review(session, rows), following, more

    rows, asked, following, more = payments_here().database.read(find)
    if as_json:
        found = [_plain(each, reveal, each.id in asked) for each in rows]
        show_json({"payments": found, "more": more, "next_before": following})
        return
    if rows:
        show_table(_HEAD, [_line(each, reveal, each.id in asked) for each in rows])
    _say_the_rest(len(rows), more, following)


def _say_the_rest(shown: int, more: int, following: int | None) -> None:
    if not shown:
        click.echo("Nothing found.")
    if following is not None:
        rest = f"at least {more:,}" if more == _COUNTED else f"{more:,}"
        click.echo(f"and {rest} more: --before {following} for the next, or --limit for more at once.")


def _line(each: Payment, reveal: bool, asked: bool) -> tuple[object, ...]:
    leading = each.application
    customer = each.last_customer if reveal else masked(each.last_customer)
    marks = [
        each.state.value,
        *(["test"] if leading and leading.test else []),
        *(["REVIEW"] if asked else []),
    ]
    return (
        each.id,
        each.created_at,
        each.reference,
        f"{each.amount:,}",
        " ".join(marks),
        STORES[leading.store].name if leading else "",
        leading.order_no if leading else "",
        leading.pay_limit if leading else "",
        " ".join(part for part in (customer.name, customer.phone) if part),
    )


def _plain(each: Payment, reveal: bool, asked: bool) -> dict[str, Any]:
    leading = each.application
    customer = each.last_customer if reveal else masked(each.last_customer)
    return {
        "id": each.id,
        "reference": each.reference,
        "amount": each.amount,
        "state": each.state,
        "under_review": asked,
        "created_at": each.created_at,
        "attempts": each.attempts,
        "application": leading
        and {
            "store": leading.store,
            "order_no": leading.order_no,
            "sendid": leading.sendid,
            "pay_no1": leading.pay_no1,
            "pay_no2": leading.pay_no2,
            "deadline": leading.pay_limit,
            "error_code": leading.error_code,
            "test": leading.test,
            "reissued": leading.reissued,
        },
        "customer": {"name": customer.name, "phone": customer.phone, "email": customer.email},
    }
