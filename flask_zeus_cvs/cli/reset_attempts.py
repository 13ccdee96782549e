"""``flask zeus-cvs reset-attempts``: lets a customer apply again who has used up the tries."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_zeus_cvs.cli.output import payments_here
from flask_zeus_cvs.models import Payment
from flask_zeus_cvs.payments import Obstacle, Payments
from flask_zeus_cvs.staff.search import named

#: What stands in the way besides the tries, and what helps.
_OBSTACLES = {
    Obstacle.LIVE: "a slip is out, and can be paid",
    Obstacle.CHECKING: "the outcome of its last application is not known yet: wait until ZEUS_CVS_RETRY_UNKNOWN_AFTER",
    Obstacle.PAID: "it is paid",
    Obstacle.CANCELLED: "its payment was taken back: create another payment",
    Obstacle.CLOSED: "the shop has closed it: create another payment",
    Obstacle.EXPIRED: "its offer has ended: create another payment",
    Obstacle.REVIEW: "a review of it is open: flask {group} resolve",
}


@click.command("reset-attempts")
@click.argument("which", metavar="REFERENCE|ORDER_NO|ID")
@with_appcontext
def reset_attempts(which: str) -> None:
    """Let a customer apply again who has used up ZEUS_CVS_MAX_ATTEMPTS.

    Of several payments of one reference it is the newest. Exits with 1 if something else stands in the way.

    Example: flask zeus-cvs reset-attempts A-1001
    """
    payments = payments_here()
    found = payments.database.read(lambda session: named(session, which))
    if not found:
        raise click.UsageError(f"No payment has the reference, the order number or the id {which!r}.")
    tried = payments.reset_attempts(found[0])
    click.echo(f"{found[0].reference}: {tried} of {payments.settings.max_attempts} tries forgotten.")
    other = _other_obstacle(payments, found[0])
    if other is not None:
        click.echo(
            f"The customer can still not apply: {_OBSTACLES[other].format(group=payments.settings.cli_group)}."
        )
        raise click.exceptions.Exit(1)
    click.echo("The customer can apply again, under the same link.")


def _other_obstacle(payments: Payments, payment: Payment) -> Obstacle | None:
    obstacle = payments.obstacle(payment)
    if obstacle in (None, Obstacle.ATTEMPTS):
        return Obstacle.REVIEW if payments.standing(payment).under_review else None
    return obstacle
