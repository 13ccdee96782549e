"""OpenTelemetry: what spans and metrics tell of a payment's life, and what they never tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from flask_zeus_cvs import application_accepted, fulfillment_ready, payment_received
from flask_zeus_cvs.contrib.otel import instrument, uninstrument
from flask_zeus_cvs.exceptions import Unanswered, UnreadableNotice
from tests.conftest import CUSTOMER, Shop
from tests.database.test_purge import notice


@dataclass
class Seen:
    """What was exported."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    def spans(self, name: str) -> list[ReadableSpan]:
        return [each for each in self.exporter.get_finished_spans() if each.name == f"zeus_cvs.{name}"]

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """The points of a metric, by their attributes in order: a sum, or how many were measured."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == f"zeus_cvs.{name}":
                        for point in metric.data.data_points:
                            key = tuple(sorted((point.attributes or {}).items()))
                            found[key] = getattr(point, "value", getattr(point, "count", None))
        return found


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen(InMemorySpanExporter(), InMemoryMetricReader())
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(found.exporter))
    meters = MeterProvider(metric_readers=[found.reader])
    instrument(tracers, meters)
    yield found
    uninstrument()
    tracers.shutdown()
    meters.shutdown()


def test_an_application_and_its_conversation(sqlite_shop: Shop, seen: Seen) -> None:
    """One span for the application, in it one for the conversation with ZEUS; counted by outcome, timed."""
    payment, application = sqlite_shop.awaiting()
    (submit,), (gateway,) = seen.spans("submit"), seen.spans("gateway")
    assert dict(submit.attributes or {}) == {
        "zeus_cvs.payment": payment.id,
        "zeus_cvs.application": application.id,
        "zeus_cvs.store": "D002",
        "zeus_cvs.outcome": "accepted",
    }
    assert gateway.parent is not None
    assert submit.context is not None
    assert gateway.parent.span_id == submit.context.span_id
    assert seen.points("applications") == {(("zeus_cvs.outcome", "accepted"), ("zeus_cvs.store", "D002")): 1}
    assert seen.points("gateway.duration") == {
        (("zeus_cvs.outcome", "accepted"), ("zeus_cvs.store", "D002")): 1
    }


def test_an_answer_that_never_came(sqlite_shop: Shop, seen: Seen) -> None:
    """The conversation ends with the error's type and nothing of its message; the application is unknown."""
    sqlite_shop.gateway.answers.append(Unanswered("the secret of taro@example.com"))
    sqlite_shop.submit(sqlite_shop.payment())
    (gateway,) = seen.spans("gateway")
    assert gateway.status.status_code is StatusCode.ERROR
    assert (gateway.attributes or {})["error.type"] == gateway.status.description == "Unanswered"
    assert gateway.events == ()
    assert seen.points("applications") == {(("zeus_cvs.outcome", "unknown"), ("zeus_cvs.store", "D002")): 1}
    assert seen.points("gateway.duration") == {(("error.type", "Unanswered"), ("zeus_cvs.store", "D002")): 1}


def test_a_click_too_many_is_no_application(sqlite_shop: Shop, seen: Seen) -> None:
    """What was not sent is not counted as sent."""
    payment, _ = sqlite_shop.awaiting()
    sqlite_shop.submit(payment)
    assert sum(seen.points("applications").values()) == 1
    assert len(seen.spans("gateway")) == 1


def test_notices_by_status_and_verdict(sqlite_shop: Shop, seen: Seen) -> None:
    """First ones, repeats and unreadable ones are told apart; each that was taken is timed."""
    payment, application = sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("04"))
    sqlite_shop.zeus.receive(notice("04"))
    with pytest.raises(UnreadableNotice):
        sqlite_shop.zeus.receive(notice("99"))
    first = dict(seen.spans("receive")[0].attributes or {})
    assert first.pop("zeus_cvs.notification") > 0  # type: ignore[operator]
    assert first == {
        "zeus_cvs.source": "callback",
        "zeus_cvs.status": "04",
        "zeus_cvs.verdict": "applied",
        "zeus_cvs.repeat": False,
        "zeus_cvs.payment": payment.id,
        "zeus_cvs.application": application.id,
    }
    assert {tuple(value for _, value in key): count for key, count in seen.points("notices").items()} == {
        (False, "04", "applied"): 1,
        (True, "04", "applied"): 1,
        (False, "unreadable"): 1,
    }
    assert seen.points("receive.duration") == {
        (("zeus_cvs.verdict", "applied"),): 2,
        (("error.type", "UnreadableNotice"),): 1,
    }


def test_deliveries_by_result(make_shop: Any, seen: Seen) -> None:
    """Done, failed, given up on and overtaken; a failure is told by its type, wherever it was raised."""
    shop = make_shop(DELIVERY="deferred", DELIVERY_ATTEMPTS=1)

    def thanks(app: Any, **heard: Any) -> None:
        pass

    def fails(app: Any, **heard: Any) -> None:
        raise ConnectionError(CUSTOMER.email)

    with (
        application_accepted.connected_to(thanks, shop.app, name="thanks"),
        payment_received.connected_to(fails, shop.app, name="fails"),
        fulfillment_ready.connected_to(thanks, shop.app, name="ships"),
    ):
        payment, _ = shop.awaiting()
        shop.zeus.receive(notice("04"))
        shop.zeus.receive(notice("06"))
        shop.zeus.deliver_now()
    by_name = {(each.attributes or {})["zeus_cvs.subscriber"]: each for each in seen.spans("deliver")}
    assert set(by_name) == {"thanks", "fails"}
    told = by_name["fails"].attributes or {}
    assert (told["error.type"], told["zeus_cvs.attempts"], told["zeus_cvs.payment"]) == (
        "ConnectionError",
        1,
        payment.id,
    )
    assert by_name["fails"].events == ()
    assert (by_name["thanks"].attributes or {})["zeus_cvs.outcome"] == "done"
    found = {tuple(value for _, value in key): count for key, count in seen.points("deliveries").items()}
    assert found == {
        ("done", "thanks"): 1,
        ("failed", "fails"): 1,
        ("parked", "fails"): 1,
        ("obsolete", "ships"): 1,
    }


def test_nothing_personal_is_told(sqlite_shop: Shop, seen: Seen) -> None:
    """Neither spans nor metrics hold the customer, or the key to a payment's pages."""
    payment, _ = sqlite_shop.awaiting(customer=CUSTOMER)
    sqlite_shop.zeus.receive(notice("04"))
    told = "".join(each.to_json() for each in seen.exporter.get_finished_spans())
    data = seen.reader.get_metrics_data()
    told += data.to_json() if data else ""
    for personal in (CUSTOMER.name, CUSTOMER.phone, CUSTOMER.email, "taro", payment.token):
        assert personal not in told
    assert '"zeus_cvs.payment"' in told
