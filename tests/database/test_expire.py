"""The sweep: what nobody paid ends by itself, a day late rather than a minute early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from flask_zeus_cvs import State
from flask_zeus_cvs.deadlines import Sweep
from flask_zeus_cvs.exceptions import Unanswered
from flask_zeus_cvs.models import Application, Event
from tests.conftest import Shop
from tests.database.test_receive import kinds, notice

#: The last day for paying; its 24:00 JST is 15:00 UTC.
LIMIT = "20261201"
MIDNIGHT = datetime(2026, 12, 1, 15, tzinfo=UTC)
START = datetime(2026, 11, 23, 3, tzinfo=UTC)


def accepted_until(limit: str = LIMIT) -> bytes:
    return f"rel=Success_order\norder_no=0001-1\npay_no1=1\npay_no2=\npay_limit={limit}\npay_url=\nerror_code=\n".encode()


def test_a_slip_expires_a_day_after_its_deadline(shop: Shop) -> None:
    """Deadline's 24:00 JST and 24 hours of grace: a second before nothing happens, then it is expired, once."""
    shop.gateway.answers = [accepted_until()]
    with time_machine.travel(START, tick=False) as clock:
        payment = shop.payment()
        shop.submit(payment)
        clock.move_to(MIDNIGHT + timedelta(hours=24) - timedelta(seconds=1))
        assert shop.zeus.expire() == Sweep()
        clock.shift(1)
        assert shop.zeus.expire() == Sweep(expired=1)
        assert shop.zeus.expire() == Sweep()
    assert shop.state(payment) is State.EXPIRED
    assert kinds(shop) == ["application_accepted", "payment_expired"]


def test_an_unknown_outcome_expires_after_59_days(shop: Shop) -> None:
    """No deadline known: the longest that ZEUS can set, and the grace."""
    shop.gateway.answers = [Unanswered("cut")]
    with time_machine.travel(START, tick=False) as clock:
        payment = shop.payment()
        shop.submit(payment)
        clock.shift(timedelta(days=60) - timedelta(seconds=1))
        assert shop.zeus.expire() == Sweep()
        clock.shift(1)
        assert shop.zeus.expire() == Sweep(expired=1)
        assert shop.state(payment) is State.EXPIRED


def test_a_dead_workers_application_expires_too(shop: Shop) -> None:
    """A submitting whose worker died is unknown to the sweep as well."""

    def die(request: object) -> None:
        raise KeyboardInterrupt

    shop.gateway.before_answer = die
    with time_machine.travel(START, tick=False) as clock:
        payment = shop.payment()
        with pytest.raises(KeyboardInterrupt):
            shop.submit(payment)
        clock.shift(timedelta(days=60))
        assert shop.zeus.expire() == Sweep(expired=1)
        assert shop.state(payment) is State.EXPIRED


@pytest.mark.parametrize("status", ["04", "05", "11"])
def test_money_never_expires(shop: Shop, status: str) -> None:
    """A slip with money is left alone, however old."""
    shop.gateway.answers = [accepted_until()]
    with time_machine.travel(START, tick=False) as clock:
        payment = shop.payment()
        shop.submit(payment)
        shop.zeus.receive(notice(status))
        before = shop.state(payment)
        clock.shift(timedelta(days=365))
        assert shop.zeus.expire() == Sweep()
        assert shop.state(payment) is before


def test_an_open_review_keeps_a_slip(shop: Shop) -> None:
    """While a person has still to look, nothing expires under their hands."""
    shop.gateway.answers = [accepted_until()]
    with time_machine.travel(START, tick=False) as clock:
        payment = shop.payment()
        shop.submit(payment)
        shop.zeus.receive(notice("04", money=1))
        clock.shift(timedelta(days=365))
        assert shop.zeus.expire() == Sweep()
        assert shop.state(payment) is State.AWAITING_PAYMENT


def test_late_money_after_the_sweep_still_counts(shop: Shop) -> None:
    """A payment at the last minute whose notice came days late is received, and ships."""
    shop.gateway.answers = [accepted_until()]
    with time_machine.travel(START, tick=False) as clock:
        payment = shop.payment()
        shop.submit(payment)
        clock.shift(timedelta(days=30))
        shop.zeus.expire()
        shop.zeus.receive(notice("04"))
        assert shop.state(payment) is State.RECEIVED
    assert "fulfillment_ready" in kinds(shop)


def test_an_open_offer_ends_at_its_time(shop: Shop) -> None:
    """An open payment past expires_at is expired and told of; one with a live slip is not."""
    with time_machine.travel(START, tick=False) as clock:
        ends = START + timedelta(hours=1)
        empty = shop.payment(reference="A-1", expires_at=ends)
        live, _ = shop.awaiting(reference="A-2", expires_at=ends)
        endless = shop.payment(reference="A-3")
        assert shop.zeus.expire() == Sweep()
        clock.move_to(ends)
        assert shop.zeus.expire() == Sweep(ended=1)
        assert shop.zeus.expire() == Sweep()
        states = [shop.state(each) for each in (empty, live, endless)]
    assert states == [State.EXPIRED, State.AWAITING_PAYMENT, State.OPEN]
    (event,) = (each for each in shop.all(Event) if each.kind == "payment_expired")
    assert event.payment_id == empty.id


def test_a_deadline_is_announced_once(shop: Shop) -> None:
    """REMIND_HOURS before the deadline, once, while unpaid."""
    shop.gateway.answers = [accepted_until()]
    with time_machine.travel(START, tick=False) as clock:
        shop.submit(shop.payment())
        clock.move_to(MIDNIGHT - timedelta(hours=30, seconds=1))
        assert shop.zeus.expire() == Sweep()
        clock.shift(1)
        assert shop.zeus.expire() == Sweep(reminded=1)
        clock.shift(3600)
        assert shop.zeus.expire() == Sweep()
    assert kinds(shop).count("deadline_near") == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["04", "03"])
def test_nobody_is_reminded_of_what_is_over(shop: Shop, status: str) -> None:
    """No reminder after money or expiry."""
    shop.gateway.answers = [accepted_until()]
    with time_machine.travel(START, tick=False) as clock:
        shop.submit(shop.payment())
        shop.zeus.receive(notice(status))
        clock.move_to(MIDNIGHT - timedelta(hours=2))
        assert shop.zeus.expire().reminded == 0


def test_a_closed_payment_is_not_reminded_of(shop: Shop) -> None:
    """The shop has called the sale off; its slip still expires, silently."""
    shop.gateway.answers = [accepted_until()]
    with time_machine.travel(START, tick=False) as clock:
        payment = shop.payment()
        shop.submit(payment)
        shop.zeus.close(payment)
        shop.db.session.commit()
        clock.move_to(MIDNIGHT - timedelta(hours=2))
        assert shop.zeus.expire() == Sweep()
        clock.shift(timedelta(days=3))
        assert shop.zeus.expire() == Sweep(expired=1)
    assert shop.all(Application)[0].state is State.EXPIRED
    assert "payment_expired" not in kinds(shop)


def test_the_commands_say_what_they_did(shop: Shop) -> None:
    """``flask zeus-cvs expire`` and ``deliver`` run the sweeps and print their figures."""
    shop.gateway.answers = [accepted_until("20261120")]
    shop.submit(shop.payment())
    runner = shop.app.test_cli_runner()
    shop.db.session.remove()
    with time_machine.travel(START, tick=False):
        swept = runner.invoke(args=["zeus-cvs", "expire"])
        told = runner.invoke(args=["zeus-cvs", "deliver"])
    assert (swept.exit_code, swept.output) == (0, "slips expired 1, offers ended 0, reminders 0\n")
    assert (told.exit_code, told.output) == (0, "delivered 0, failed 0, parked 0, obsolete 0\n")
