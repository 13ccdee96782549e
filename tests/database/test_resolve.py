"""Resolve: a person's decision closes a review, and the event that belongs to it is heard."""

from __future__ import annotations

import pytest

from flask_zeus_cvs import State
from flask_zeus_cvs.models import Application, Event, Notification, Resolution, Review
from tests.conftest import Shop
from tests.database.test_receive import kinds, notice, reasons


def only_review(shop: Shop) -> Review:
    (review,) = shop.all(Review)
    assert isinstance(review, Review)
    return review


@pytest.mark.parametrize(
    ("decision", "state", "heard"),
    [
        ("received", State.RECEIVED, ["payment_received", "fulfillment_ready"]),
        ("confirmed", State.CONFIRMED, ["sale_confirmed", "fulfillment_ready"]),
        ("cancelled", State.CANCELLED, ["payment_cancelled"]),
        ("ignored", State.AWAITING_PAYMENT, []),
    ],
)
def test_each_decision_has_its_event(shop: Shop, decision: str, state: State, heard: list[str]) -> None:
    """A wrong amount that a person takes for good pays; one that is ignored changes nothing."""
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("04", money=2999))
    review = shop.zeus.resolve(only_review(shop), decision, by="Sato", note="1 yen short, accepted")
    assert shop.state(payment) is state
    assert kinds(shop)[2:] == heard
    assert review.resolved_at is not None
    assert (review.by, review.note, review.resolution) == ("Sato", "1 yen short, accepted", decision)


def test_resolving_twice_changes_nothing(shop: Shop) -> None:
    """The first decision stands."""
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("04", money=2999))
    review = only_review(shop)
    shop.zeus.resolve(review, "ignored", by="Sato")
    again = shop.zeus.resolve(review, "received", by="Suzuki")
    assert (again.by, again.resolution) == ("Sato", Resolution.IGNORED)
    assert shop.state(payment) is State.AWAITING_PAYMENT


def test_money_on_a_closed_payment_may_still_ship(shop: Shop) -> None:
    """The shop had closed it; a person decides that it counts, and the goods ship once."""
    payment, _ = shop.awaiting()
    shop.zeus.close(payment)
    shop.db.session.commit()
    shop.zeus.receive(notice("04"))
    assert "fulfillment_ready" not in kinds(shop)
    shop.zeus.resolve(only_review(shop), "received", by="Sato")
    shop.zeus.receive(notice("05"))
    assert [str(kind) for kind in kinds(shop)].count("fulfillment_ready") == 1


def test_ignored_money_never_ships_by_itself(shop: Shop) -> None:
    """A question that was answered with no is not asked again by the 05."""
    payment, _ = shop.awaiting()
    shop.zeus.close(payment)
    shop.db.session.commit()
    shop.zeus.receive(notice("04"))
    shop.zeus.resolve(only_review(shop), "ignored", by="Sato")
    shop.zeus.receive(notice("05"))
    assert "fulfillment_ready" not in kinds(shop)


def test_a_withdrawn_shipment_may_be_decided_again(shop: Shop) -> None:
    """04, 06 before anything shipped, 04 again: a review; a person says received, and it ships."""
    outbox = shop.payments._outbox
    outbox.after_commit = lambda: None  # type: ignore[method-assign]
    payment, _ = shop.awaiting()
    for status in ("04", "06", "04"):
        shop.zeus.receive(notice(status))
    shop.zeus.deliver_now()
    assert reasons(shop) == ["repeated_after_cancel"]
    shop.zeus.resolve(only_review(shop), "received", by="Sato")
    assert shop.state(payment) is State.RECEIVED


def test_a_notice_that_matched_none_finds_its_payment(shop: Shop) -> None:
    """A person says whose an unknown order's money is: it becomes an application of that payment, and ships."""
    payment, _ = shop.awaiting()
    shop.zeus.receive(notice("04", "9999-9", pay_no1="42"))
    shop.zeus.resolve(only_review(shop), "received", by="Sato", payment=payment)
    _, adopted = shop.all(Application)
    assert (adopted.order_no, adopted.pay_no1, adopted.state) == ("9999-9", "42", State.RECEIVED)
    (row,) = shop.all(Notification)
    assert (row.payment_id, row.application_id) == (payment.id, adopted.id)
    assert kinds(shop)[-2:] == ["payment_received", "fulfillment_ready"]
    shop.zeus.receive(notice("05", "9999-9"))
    assert shop.state(payment) is State.CONFIRMED


def test_a_decision_needs_a_payment(shop: Shop) -> None:
    """Money that matched none cannot be taken as received without saying whose; ignoring it can."""
    shop.awaiting()
    shop.zeus.receive(notice("04", "9999-9"))
    review = only_review(shop)
    with pytest.raises(ValueError, match="which payment"):
        shop.zeus.resolve(review, "received", by="Sato")
    assert only_review(shop).resolved_at is None
    shop.zeus.resolve(review, "ignored", by="Sato")
    assert only_review(shop).resolved_at is not None


def test_a_decision_needs_an_application(shop: Shop) -> None:
    """A payment nobody ever applied for cannot hold money."""
    payment = shop.payment()
    shop.zeus.receive(notice("04", "9999-9"))
    with pytest.raises(ValueError, match="no application"):
        shop.zeus.resolve(only_review(shop), "received", by="Sato", payment=payment)


def test_a_test_payment_ships_nothing_by_decision(shop: Shop) -> None:
    """A person's decision does not make a test application ship."""
    payment, application = shop.awaiting()
    shop.db.session.get_one(Application, application.id).test = True
    shop.db.session.commit()
    shop.zeus.receive(notice("04", money=1))
    shop.zeus.resolve(only_review(shop), "received", by="Sato")
    assert shop.state(payment) is State.RECEIVED
    assert "fulfillment_ready" not in kinds(shop)
    assert shop.all(Event)[-1].test
