"""``flask zeus-cvs resolve``: what a person must look at, and what they decided."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from datetime import datetime

import click
from flask.cli import with_appcontext

from flask_zeus_cvs.cli.output import (
    MOST_LINES,
    day,
    payments_here,
    show_facts,
    show_json,
    show_table,
    who,
)
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.exceptions import NotResolvable, UnknownReview
from flask_zeus_cvs.models import Payment, Resolution
from flask_zeus_cvs.payments import Payments
from flask_zeus_cvs.staff.reviews import (
    Case,
    Decision,
    Oddity,
    case_of,
    count_open,
    decide,
    oddities,
    open_cases,
    reasons_of,
)
from flask_zeus_cvs.staff.search import named
from flask_zeus_cvs.staff.telling import facts, headline, status_in_words, yen
from flask_zeus_cvs.staff.timeline import as_json
from flask_zeus_cvs.staff.wording import REVIEWS

_HEAD = ("review", "age", "what", "reference", "yen", "state", "notice", "order number")
_WIDEST = 100
_MOST_OF_A_NOTE = 2000


@click.command()
@click.argument("number", type=click.IntRange(1), required=False)
@click.option(
    "--as",
    "resolution",
    type=click.Choice([each.value for each in Resolution]),
    help="What you decided.",
)
@click.option(
    "--payment", "whose", metavar="REFERENCE", help="Whose a notice is that matched no payment; or an id."
)
@click.option("--note", default="", help="Why, for whoever looks later.")
@click.option("--by", default="", help="Who decided; your login name if left out.")
@click.option("--quiet", is_flag=True, help="Say nothing if no review is open: for cron.")
@click.option("--yes", is_flag=True, help="Do not ask again about an odd decision.")
@click.option("--json", "plain", is_flag=True, help="For machines.")
@click.option("--reveal", is_flag=True, help="Show the customers' details in the notices.")
@with_appcontext
def resolve(
    number: int | None,
    resolution: str | None,
    whose: str | None,
    note: str,
    by: str,
    quiet: bool,
    yes: bool,
    plain: bool,
    reveal: bool,
) -> None:
    """See what a person must look at, and say what was decided.

    Without a NUMBER it lists the open reviews and says what each kind means, what to look at, and what each decision
    will do. With one alone it shows that review. Exits with 1 while something is open.

    Example: flask zeus-cvs resolve 17 --as received --note "seen on ZEUS's screen"
    """
    payments = payments_here()
    if resolution is None:
        if whose or note or by or yes:
            raise click.UsageError(
                "Nothing is decided yet: say --as received, confirmed, cancelled or ignored."
            )
        if number is None:
            _list(payments, plain, reveal, quiet)
        else:
            _show(payments, number, plain, reveal)
        return
    if number is None:
        raise click.UsageError(
            f"Say which review: its number stands in the list, flask {payments.settings.cli_group} resolve."
        )
    case = _case(payments, number)
    payment = _payment(payments, case, whose)
    decided = Resolution(resolution)
    _refuse_oddity(case, payment, decided, yes)
    _tell(_decided(payments, case, decided, who(by), note, payment), plain)


# --- looking ---------------------------------------------------------------------------------------------------


def _list(payments: Payments, plain: bool, reveal: bool, quiet: bool) -> None:
    encoding = payments.settings.callback_encoding
    cases, total = payments.database.read(
        lambda session: (
            open_cases(session, MOST_LINES, reveal=reveal, encoding=encoding),
            count_open(session),
        )
    )
    if plain:
        show_json({"open": total, "reviews": [_as_json(each) for each in cases]})
    elif not cases and not quiet:
        click.echo("No review is open.")
    elif cases:
        _show_cases(cases, total, payments.settings.cli_group)
    if cases:
        raise click.exceptions.Exit(1)


def _show_cases(cases: tuple[Case, ...], total: int, group: str) -> None:
    show_table(_HEAD, [_line(each) for each in cases])
    if total > len(cases):
        click.echo(f"and {total - len(cases):,} more, younger ones.")
    for those in reasons_of(cases).values():
        click.echo()
        numbers = ", ".join(str(each.review_id) for each in those[:10]) + (", …" if len(those) > 10 else "")
        _explain(those[0], f" ({numbers})")
    click.echo()
    click.echo(
        f"Look at one: flask {group} resolve NUMBER; decide: flask {group} resolve NUMBER --as … --note …"
    )


def _show(payments: Payments, number: int, plain: bool, reveal: bool) -> None:
    case = _case(payments, number, reveal)
    if plain:
        show_json(_as_json(case))
    else:
        _show_case(case, payments.settings.cli_group)
    if case.resolved_at is None:
        raise click.exceptions.Exit(1)


def _show_case(case: Case, group: str) -> None:
    click.echo(f"review {case.review_id}, since {day(case.since)} ({_age(case.since)})")
    if case.reference is not None and case.amount is not None:
        click.echo(f"payment {case.payment_id}  {case.reference}  {yen(case.amount)}  {case.state}")
        click.echo(f"  its story: flask {group} show {case.payment_id}")
    else:
        click.echo("of no payment that we know")
    if case.notice is not None:
        show_facts(case.notice.at, headline(case.notice), facts(case.notice))
    if case.resolved_at is not None:
        click.echo(f"{_resolved(case)}; nothing more can be decided here.")
        return
    click.echo()
    _explain(case, "")


def _explain(case: Case, numbers: str) -> None:
    words = REVIEWS[case.reason]
    click.echo(f"{case.reason}: {words.name.en}{numbers}")
    _wrapped("  ", words.happened.en)
    _wrapped("  Look at: ", words.look.en)
    for resolution in Resolution:
        _wrapped(f"  --as {resolution:11}", words.effects[resolution].en)


def _wrapped(head: str, text: str) -> None:
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    indent = " " * (len(head) if head.startswith("  --as") else 4)
    click.echo(textwrap.fill(text, width, initial_indent=head, subsequent_indent=indent))


def _line(case: Case) -> tuple[object, ...]:
    notice = case.notice
    told = status_in_words(notice.status, "ja") if notice is not None else ""
    money = f" {yen(notice.money)}" if notice is not None and notice.money is not None else ""
    return (
        case.review_id,
        _age(case.since),
        REVIEWS[case.reason].name.en,
        case.reference,
        f"{case.amount:,}" if case.amount is not None else "",
        case.state,
        told + money,
        case.order_no,
    )


def _age(since: datetime) -> str:
    seconds = int((now() - since).total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "just now"


def _as_json(case: Case) -> dict[str, object]:
    words = REVIEWS[case.reason]
    means = {
        "happened": words.happened.en,
        "look": words.look.en,
        "resolutions": {resolution: text.en for resolution, text in words.effects.items()},
    }
    return {**as_json(case), "means": means}


# --- deciding --------------------------------------------------------------------------------------------------


def _case(payments: Payments, number: int, reveal: bool = False) -> Case:
    encoding = payments.settings.callback_encoding
    try:
        return payments.database.read(
            lambda session: case_of(session, number, reveal=reveal, encoding=encoding)
        )
    except UnknownReview:
        raise click.UsageError(
            f"There is no review {number}. Those that are open: flask {payments.settings.cli_group} resolve."
        ) from None


def _payment(payments: Payments, case: Case, whose: str | None) -> Payment | None:
    """Find the one payment that is meant; None if none is named."""
    if whose is None:
        return None
    found = payments.database.read(lambda session: named(session, whose))
    if not found:
        raise click.UsageError(f"No payment has the reference, the order number or the id {whose!r}.")
    if len(found) > 1:
        each = ", ".join(f"{one.id} ({one.state}, {yen(one.amount)})" for one in found)
        raise click.UsageError(f"Several payments have the reference {whose!r}: say which by its id. {each}.")
    if case.payment_id not in (None, found[0].id):
        raise click.UsageError(
            f"Review {case.review_id} is about {case.reference} already: leave --payment out."
        )
    return found[0]


def _refuse_oddity(case: Case, payment: Payment | None, decided: Resolution, yes: bool) -> None:
    """Have a person say once more what is likely to be a slip of the pen: the wrong payment."""
    if case.resolved_at is not None:
        raise click.ClickException(f"{_resolved(case)}; the first decision stands.")
    if payment is None and case.payment_id is None and decided is not Resolution.IGNORED:
        raise click.UsageError(
            f"Review {case.review_id} is of a notice that belongs to no payment: say whose it is, "
            "--payment REFERENCE; or --as ignored."
        )
    for oddity in _oddities(case, payment, decided):
        if yes:
            continue
        if not sys.stdin.isatty():
            raise click.UsageError(f"{oddity} If that is right, say --yes.")
        click.confirm(f"{oddity} Go on?", abort=True)


def _oddities(case: Case, payment: Payment | None, decided: Resolution) -> Iterable[str]:
    if payment is None or case.payment_id is not None:
        return
    money = case.notice.money if case.notice is not None else None
    for each in oddities(money, payment, decided):
        yield _ODDITIES[each].format(
            theirs=yen(money or 0), ours=yen(payment.amount), reference=payment.reference, state=payment.state
        )


_ODDITIES = {
    Oddity.OTHER_AMOUNT: "The notice tells of {theirs}, and {reference} is a payment of {ours}.",
    Oddity.HOLDS_MONEY: "{reference} is {state} already: this is then about a second slip of it.",
}


def _decided(
    payments: Payments, case: Case, decided: Resolution, by: str, note: str, payment: Payment | None
) -> Decision:
    if len(note) > _MOST_OF_A_NOTE:
        raise click.UsageError(f"--note holds {_MOST_OF_A_NOTE:,} characters.")
    try:
        decision = decide(payments, case.review_id, decided, by=by, note=note, payment=payment)
    except NotResolvable as error:
        raise click.ClickException(f"That cannot be decided so: {error}. --as ignored always can.") from None
    after = decision.after
    if (after.by, after.resolution) != (by, decided):
        raise click.ClickException(f"Somebody was faster. {_resolved(after)}; that decision stands.")
    return decision


def _resolved(case: Case) -> str:
    at = f" on {day(case.resolved_at)}" if case.resolved_at is not None else ""
    note = f" ({case.note})" if case.note else ""
    return f"Review {case.review_id} was resolved as {case.resolution} by {case.by}{at}{note}"


def _tell(decision: Decision, plain: bool) -> None:
    before, after = decision.before, decision.after
    if plain:
        show_json(as_json(decision))
        return
    click.echo(f"Review {after.review_id} is resolved as {after.resolution} by {after.by}.")
    if after.reference is not None and before.state in (None, after.state):
        click.echo(f"{after.reference} is {after.state}.")
    elif after.reference is not None:
        click.echo(f"{after.reference} was {before.state}, and is {after.state}.")
    for each in decision.events:
        show_facts(each.at, headline(each), facts(each))
    if not decision.events:
        click.echo("No event: nobody is told.")
