"""``flask zeus-cvs show``: the story of one payment."""

from __future__ import annotations

import click
from flask.cli import with_appcontext
from sqlalchemy.orm import Session

from flask_zeus_cvs.cli.output import payments_here, show_facts, show_json
from flask_zeus_cvs.staff.search import named
from flask_zeus_cvs.staff.telling import facts, headline, yen
from flask_zeus_cvs.staff.timeline import Story, as_json, story_of
from flask_zeus_cvs.staff.wording import STATES


@click.command()
@click.argument("which", metavar="REFERENCE|ORDER_NO|ID")
@click.option("--json", "plain", is_flag=True, help="For machines.")
@click.option("--reveal", is_flag=True, help="Show the customer's details, and notices as they came.")
@with_appcontext
def show(which: str, plain: bool, reveal: bool) -> None:
    """Tell the story of one payment: what was sent, what ZEUS said, and what became of it.

    Of several payments of one reference it is the newest; the others are named, and shown by their ids.

    Example: flask zeus-cvs show A-1001
    """
    payments = payments_here()

    def read(session: Session) -> Story | None:
        found = named(session, which)
        encoding = payments.settings.callback_encoding
        return story_of(session, found[0], reveal=reveal, encoding=encoding) if found else None

    story = payments.database.read(read)
    if story is None:
        raise click.UsageError(
            f"No payment has the reference, the order number or the id {which!r}. "
            f"Look for a part of what you know: flask {payments.settings.cli_group} list TEXT."
        )
    if plain:
        show_json(as_json(story))
        return
    _tell(story, payments.settings.max_attempts, payments.settings.cli_group)


def _tell(story: Story, most: int, group: str) -> None:
    state = STATES[story.state].said("en")
    click.echo(f"payment {story.payment_id}  {story.reference}  {yen(story.amount)}  {story.state}: {state}")
    if story.siblings:
        others = ", ".join(map(str, story.siblings))
        click.echo(f"  of several payments of {story.reference}; the others by id: {others}")
    if story.under_review:
        click.echo(f"  A person must decide: flask {group} resolve")
    if story.attempts >= most:
        click.echo(
            f"  {story.attempts} of {most} tries used up; to allow more: flask {group} reset-attempts {story.payment_id}"
        )
    for each in story.entries:
        click.echo()
        show_facts(each.at, headline(each), facts(each))
