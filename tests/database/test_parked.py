"""What was given up on: seen, retried and dismissed by a person."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result

from flask_zeus_cvs import EventData, payment_received, review_required
from flask_zeus_cvs.exceptions import UnknownDelivery
from flask_zeus_cvs.ledger import write
from flask_zeus_cvs.models import Delivery, DeliveryState, Payment
from flask_zeus_cvs.outbox import Summary
from tests.conftest import Shop, ShopMaker
from tests.database.test_receive import notice


class Printer:
    """A receiver that fails while it has no paper."""

    def __init__(self) -> None:
        self.paper = False
        self.printed: list[int] = []

    def hear(self, app: Any, *, payment: Payment | None, event: EventData, **extra: Any) -> None:
        if not self.paper:
            raise RuntimeError("taro@example.com: out of paper")
        self.printed.append(event.id)


@pytest.fixture
def printer() -> Printer:
    return Printer()


@pytest.fixture
def stuck(make_shop: ShopMaker, database_uri: str, printer: Printer) -> Shop:
    """A shop whose printer gave up at the first try of one payment."""
    shop = make_shop(database_uri, DELIVERY_ATTEMPTS=1)
    payment_received.connect(printer.hear, shop.app, name="printer")
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    return shop


def deliver(shop: Shop, *options: str) -> Result:
    shop.db.session.remove()
    return shop.app.test_cli_runner().invoke(args=["zeus-cvs", "deliver", *options])


def states(shop: Shop) -> list[DeliveryState]:
    return [each.state for each in shop.all(Delivery)]


def test_the_command_lists_what_is_parked(stuck: Shop) -> None:
    """Number, time in Japan, event, order, receiver, tries and place of the error; no message of it; exit 1."""
    (parked,) = stuck.payments.parked()
    answer = deliver(stuck)
    assert answer.exit_code == 1
    first, head, what, where, cure = answer.output.splitlines()
    assert first == "delivered 0, failed 0, parked 0, obsolete 0"
    assert head == "parked, waiting for a person: 1"
    assert what.split()[0] == str(parked.id)
    assert what.endswith("JST  payment_received  A-1001  printer")
    assert where.startswith("      1 try, last: RuntimeError at test_parked.py:")
    assert "--retry" in cure
    assert "--dismiss" in cure
    assert "taro" not in answer.output


def test_nothing_parked_is_a_good_day(shop: Shop) -> None:
    """With nothing parked the command says one line and exits with 0."""
    answer = deliver(shop)
    assert answer.exit_code == 0
    assert answer.output == "delivered 0, failed 0, parked 0, obsolete 0\n"


@pytest.mark.parametrize("which", ["id", "printer", "all"])
def test_retry(stuck: Shop, printer: Printer, which: str) -> None:
    """Once the cause is mended, a retry by number, receiver or all delivers it in the same go, and exits with 0."""
    printer.paper = True
    (parked,) = stuck.payments.parked()
    answer = deliver(stuck, "--retry", str(parked.id) if which == "id" else which)
    assert answer.output.splitlines() == [
        "to be tried again: 1",
        "delivered 1, failed 0, parked 0, obsolete 0",
    ]
    assert answer.exit_code == 0
    assert printer.printed == [stuck.all(Delivery)[0].event_id]
    assert states(stuck) == [DeliveryState.DONE]


def test_a_retry_has_all_its_tries_again(stuck: Shop) -> None:
    """Not mended after all: it fails, and is parked again."""
    answer = deliver(stuck, "--retry", "all")
    assert "delivered 0, failed 0, parked 1" in answer.output
    assert answer.exit_code == 1
    assert stuck.payments.parked()[0].attempts == 1


def test_dismiss(stuck: Shop, printer: Printer) -> None:
    """A dismissed delivery is never made, and no longer listed."""
    printer.paper = True
    answer = deliver(stuck, "--dismiss", "printer")
    assert answer.output.splitlines()[0] == "dismissed: 1"
    assert answer.exit_code == 0
    assert printer.printed == []
    assert states(stuck) == [DeliveryState.DISMISSED]
    with pytest.raises(UnknownDelivery):
        stuck.payments.retry("printer")


@pytest.mark.parametrize(
    "which",
    ["2147483647", str(2**63 - 1), str(2**63), "9" * 26, "0" * 20 + "9" * 30, "painter", "ALL", "", "\u0663"],
)
@pytest.mark.parametrize("option", ["--retry", "--dismiss"])
def test_one_that_is_not_there(stuck: Shop, option: str, which: str) -> None:
    """A wrong number or name changes nothing, and says where the right ones are listed."""
    answer = deliver(stuck, option, which)
    assert answer.exit_code == 1
    assert f"Error: nothing that is parked or waits for its receiver is called {which!r}.\n" in answer.output
    assert "parked, waiting for a person: 1" in answer.output
    assert states(stuck) == [DeliveryState.PARKED]


def test_only_what_is_parked_is_retried(make_shop: ShopMaker, database_uri: str, printer: Printer) -> None:
    """What still has tries keeps its place, also for 'all', and is not dismissed either."""
    shop = make_shop(database_uri)
    payment_received.connect(printer.hear, shop.app, name="printer")
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    for decide in (shop.payments.retry, shop.payments.dismiss):
        assert decide("all") == 0
        for which in ("printer", str(shop.all(Delivery)[0].id)):
            with pytest.raises(UnknownDelivery):
                decide(which)
    assert states(shop) == [DeliveryState.PENDING]


def test_now_does_not_wait_for_the_next_try(
    make_shop: ShopMaker, database_uri: str, printer: Printer
) -> None:
    """--now takes what failed a moment ago; without it, it waits for its time."""
    shop = make_shop(database_uri)
    payment_received.connect(printer.hear, shop.app, name="printer")
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    printer.paper = True
    assert "delivered 0," in deliver(shop).output
    assert "delivered 1," in deliver(shop, "--now").output


def test_a_receiver_that_is_gone_is_dismissed_by_name(shop: Shop, printer: Printer) -> None:
    """Deliveries of a receiver that no longer exists are named by the command, and given up by its name only."""
    payment_received.connect(printer.hear, shop.app, name="printer")
    shop.payments._outbox.after_commit = lambda: None  # type: ignore[method-assign]
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    payment_received.disconnect(printer.hear, shop.app)
    answer = deliver(shop)
    assert answer.exit_code == 1
    assert answer.output.splitlines()[1:] == [
        "waiting for receivers that are not connected here:",
        "  printer  1",
        "Connect them where this command runs too, or give them up: --dismiss RECEIVER.",
    ]
    assert shop.payments.dismiss("all") == 0
    answer = deliver(shop, "--dismiss", "printer")
    assert answer.exit_code == 0
    assert states(shop) == [DeliveryState.DISMISSED]


def test_a_long_list_is_cut(make_shop: ShopMaker, database_uri: str, printer: Printer) -> None:
    """Fifty are listed, the others are counted; one without a payment has a dash for its order."""
    shop = make_shop(database_uri, DELIVERY_ATTEMPTS=1)
    review_required.connect(printer.hear, shop.app, name="printer")
    for number in range(53):
        shop.zeus.receive(notice("04", f"unknown-{number}"))
    lines = deliver(shop).output.splitlines()
    assert lines[1] == "parked, waiting for a person: 53"
    assert lines[2].endswith("review_required  -  printer")
    assert lines[-2] == "  and 3 more"
    assert len(lines) == 2 + 2 * 50 + 2


def test_what_is_being_called_is_not_offered(shop: Shop) -> None:
    """While a receiver that has committed by itself is still at work, nobody is shown its delivery, nor can retry it."""
    seen: list[object] = []

    def slow(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        shop.db.session.commit()
        seen.append(shop.payments.parked())
        for decide in (shop.payments.retry, shop.payments.dismiss):
            seen.append(decide("all"))

    payment_received.connect(slow, shop.app, name="slow")
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert seen == [[], 0, 0]
    assert shop.zeus.deliver_now() == Summary()
    assert states(shop) == [DeliveryState.DONE]


def test_what_is_known_is_done_although_another_name_is_wrong(stuck: Shop, printer: Printer) -> None:
    """One wrong name keeps nothing else from being done, and from being said."""
    printer.paper = True
    answer = deliver(stuck, "--retry", "painter", "--retry", "printer")
    assert answer.exit_code == 1
    assert "Error: nothing that is parked or waits for its receiver is called 'painter'.\n" in answer.output
    assert "to be tried again: 1\n" in answer.output
    assert "delivered 1," in answer.output


def test_quiet_speaks_only_if_a_person_is_needed(stuck: Shop, printer: Printer) -> None:
    """For cron, which mails whatever is printed."""
    assert "parked, waiting for a person: 1" in deliver(stuck, "--quiet").output
    printer.paper = True
    stuck.payments.retry("all")
    answer = deliver(stuck, "--quiet")
    assert (answer.output, answer.exit_code) == ("", 0)


def test_all_its_workers_died(make_shop: ShopMaker, database_uri: str, printer: Printer) -> None:
    """A delivery whose process ended at every try is parked, listed at once, and says so."""
    shop = make_shop(database_uri, DELIVERY_ATTEMPTS=1, DELIVERY="deferred")
    payment_received.connect(printer.hear, shop.app, name="printer")
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    outbox = shop.payments._outbox
    ((delivery_id, receiver),) = outbox._due()
    write(shop.payments._database, lambda ledger: outbox._claim(ledger, delivery_id, receiver))
    shop.db.session.execute(sa.update(Delivery).values(leased_until=datetime.now(UTC) - timedelta(seconds=1)))
    shop.db.session.commit()
    answer = deliver(shop)
    assert answer.exit_code == 1
    assert answer.output.splitlines()[-2] == "      1 try, last: its process ended during the call"


def test_a_failure_is_placed_in_the_receivers_own_file(shop: Shop) -> None:
    """Staff learn which line of theirs failed, not which line of a library."""

    def ship(app: Any, *, payment: Payment, event: EventData, **extra: Any) -> None:
        json.loads("not json")

    payment_received.connect(ship, shop.app, name="ship")
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    assert shop.all(Delivery)[0].last_error.startswith("JSONDecodeError at test_parked.py:")
