"""What the log tells of a whole life, and what it never tells."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from flask_zeus_cvs import State, deadline_near, fulfillment_ready, payment_received
from flask_zeus_cvs.clock import Journey, journey, now
from flask_zeus_cvs.exceptions import NotSent, UnreadableNotice
from flask_zeus_cvs.models import Delivery, DeliveryState, Payment, Review
from flask_zeus_cvs.telemetry import FACTS, Action, Fact, observe
from tests.conftest import CUSTOMER, Shop, accepted
from tests.database.test_purge import TRACES, notice

OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@pytest.fixture
def later() -> Iterator[Journey]:
    with journey() as clock:
        yield clock


def live(shop: Shop, later: Journey) -> None:
    """Nearly everything that can happen, each with the customer in it."""

    def ships(app: Any, **heard: Any) -> None:
        pass

    def fails(app: Any, **heard: Any) -> None:
        raise ConnectionError(f"no connection for {CUSTOMER.name}, {CUSTOMER.email}")

    def commits(app: Any, **heard: Any) -> None:
        shop.db.session.commit()

    with (
        fulfillment_ready.connected_to(ships, shop.app, name="ships"),
        payment_received.connected_to(fails, shop.app, name="fails"),
        deadline_near.connected_to(commits, shop.app, name="commits"),
    ):
        shop.awaiting(customer=CUSTOMER)
        shop.zeus.receive(notice("04"))
        shop.zeus.receive(notice("04"))
        shop.zeus.receive(notice("04", order_no="9999-9"))
        with pytest.raises(UnreadableNotice):
            shop.zeus.receive(notice("99"))
        shop.zeus.resolve(shop.all(Review)[0], "ignored", by="Sato", note=CUSTOMER.name)
        shop.gateway.answers.append(NotSent("no route to ZEUS"))
        unsent = shop.payment(reference="A-2", customer=CUSTOMER)
        shop.submit(unsent)
        shop.gateway.answers.append(accepted("0002-1") + b"\npay_limit = " + CUSTOMER.phone.encode())
        shop.submit(unsent)
        client = shop.app.test_client()
        query = notice("05").decode()
        client.get(f"/zeus-cvs/callback?{query}", environ_base={"REMOTE_ADDR": "192.0.2.1"})
        later.to(now() + timedelta(days=27_000))
        shop.zeus.expire()
        run = shop.app.test_cli_runner()
        for command in (["export", "-", "--reveal"], ["purge", "--older-than", "90", "--yes"]):
            assert run.invoke(args=["zeus-cvs", *command]).exit_code == 0


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.name.startswith("flask_zeus_cvs")]


def test_a_life_is_told_in_known_words(
    sqlite_shop: Shop, later: Journey, caplog: pytest.LogCaptureFixture
) -> None:
    """Each record has an action and explained facts only, and what an operator would miss is there."""
    with caplog.at_level(logging.DEBUG, "flask_zeus_cvs"):
        live(sqlite_shop, later)
    for each in records(caplog):
        assert each.action in set(Action), each.getMessage()  # type: ignore[attr-defined]
        assert set(vars(each)) - OWN <= {"action", *FACTS}, each.getMessage()
    told = {each.action for each in records(caplog)}  # type: ignore[attr-defined]
    assert told >= {
        *("submit", "gateway", "receive", "callback", "review", "resolve", "deliver", "delivery_failed"),
        *("expire", "export", "purge"),
    }


def test_an_application_is_told_twice(
    sqlite_shop: Shop, later: Journey, caplog: pytest.LogCaptureFixture
) -> None:
    """Before it goes, for whoever looks closely; and once it is stored, with its outcome and its seconds."""
    with caplog.at_level(logging.DEBUG, "flask_zeus_cvs"):
        _, application = sqlite_shop.awaiting()
    sent, settled = [vars(each) for each in records(caplog) if each.action == "submit"]  # type: ignore[attr-defined]
    assert (sent["levelname"], sent["outcome"]) == ("DEBUG", "sent")
    assert (settled["levelname"], settled["outcome"]) == ("INFO", "accepted")
    assert settled["application"] == application.id
    assert settled["seconds"] >= 0


def test_nothing_personal_is_logged(
    sqlite_shop: Shop, later: Journey, caplog: pytest.LogCaptureFixture
) -> None:
    """No record holds the customer in any encoding, nor the key to a payment's pages, in its text or beside it."""
    with caplog.at_level(logging.DEBUG, "flask_zeus_cvs"):
        live(sqlite_shop, later)
    tokens = [each.token for each in sqlite_shop.all(Payment)]
    handler = logging.Formatter()
    for each in records(caplog):
        text = handler.format(each) + repr({name: vars(each)[name] for name in set(vars(each)) - OWN})
        assert not [trace for trace in TRACES if trace in text.encode()], text
        assert not [token for token in tokens if token in text], text


class Broken:
    """An observer whose spans fail at one place: an exporter, a sampler or a processor of the shop's."""

    def __init__(self, place: str) -> None:
        self.place = place

    def _fail(self, place: str) -> None:
        if place == self.place:
            raise ConnectionError(CUSTOMER.email)

    def span(self, name: str, facts: Mapping[str, Fact]) -> Broken:
        self._fail("span")
        return self

    def count(self, name: str, facts: Mapping[str, Fact]) -> None:
        self._fail("count")

    def note(self, **facts: Fact) -> None:
        self._fail("note")

    def __enter__(self) -> Broken:
        self._fail("enter")
        return self

    def __exit__(self, *ended: object) -> None:
        self._fail("exit")


@pytest.mark.parametrize("place", ["span", "enter", "note", "exit", "count"])
def test_a_broken_observer_costs_nothing(
    sqlite_shop: Shop, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """ZEUS's answer is kept, its notice is stored, goods ship once and without a failed try; the log says what failed."""
    shipped: list[int] = []

    def ships(app: Any, *, payment: Payment, **heard: Any) -> None:
        shipped.append(payment.id)

    observe(Broken(place))
    try:
        with fulfillment_ready.connected_to(ships, sqlite_shop.app, name="ships"):
            payment, application = sqlite_shop.awaiting()
            assert application.state is State.AWAITING_PAYMENT
            sqlite_shop.zeus.receive(notice("04"))
            with pytest.raises(UnreadableNotice):
                sqlite_shop.zeus.receive(notice("99"))
    finally:
        observe(None)
    assert sqlite_shop.state(payment) is State.RECEIVED
    assert shipped == [payment.id]
    assert [(each.state, each.last_error) for each in sqlite_shop.all(Delivery)] == [(DeliveryState.DONE, "")]
    told = [each for each in records(caplog) if each.action == "telemetry"]  # type: ignore[attr-defined]
    assert told
    assert CUSTOMER.email not in caplog.text
