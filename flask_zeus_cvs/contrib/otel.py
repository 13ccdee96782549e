"""OpenTelemetry: spans and metrics of what the extension does, for whatever collector the shop has set up.

Needs the extra ``otel``. A span that ends with an error names its type, never its message; no attribute is personal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, TracerProvider

from flask_zeus_cvs.telemetry import Fact, observe

_NAME = "flask_zeus_cvs"
_PREFIX = "zeus_cvs."
_KINDS: Mapping[str, SpanKind] = MappingProxyType({"gateway": SpanKind.CLIENT, "deliver": SpanKind.CONSUMER})
#: Seconds: a notice is stored in hundredths, ZEUS answers in seconds, and is given up on after 25.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0)

Attributes = Mapping[str, str | int | float | bool]


def instrument(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> None:
    """Have every app of this process observed, by the providers given or else OpenTelemetry's global ones.

    Call it once, where the providers are set up: in each worker, after the fork. Calling it again replaces them.
    """
    tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
    observe(_Observer(tracer, metrics.get_meter(_NAME, meter_provider=meter_provider)))


def uninstrument() -> None:
    """Have nobody observed any more."""
    observe(None)


class _Observer:
    """Makes a span of each stretch of work, and counts what came of it."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._count = _counters(meter)
        self._took = _histograms(meter)

    def span(self, name: str, facts: Mapping[str, Fact]) -> _Span:
        return _Span(self, name, facts)

    def count(self, name: str, facts: Mapping[str, Fact]) -> None:
        counter, told = self._count[name]
        attributes = told(facts)
        if attributes is not None:
            counter.add(1, attributes)

    def begin(self, name: str) -> trace.Span:
        return self._tracer.start_span(_PREFIX + name, kind=_KINDS.get(name, SpanKind.INTERNAL))

    def ended(self, name: str, facts: Mapping[str, Fact], seconds: float) -> None:
        if name in self._count:
            self.count(name, facts)
        if name in self._took:
            histogram, named = self._took[name]
            histogram.record(seconds, _attributes(facts, *named))


class _Span:
    """One span, which is the current one as long as it is entered."""

    def __init__(self, observer: _Observer, name: str, facts: Mapping[str, Fact]) -> None:
        self._observer = observer
        self._name = name
        self._facts = dict(facts)

    def note(self, **facts: Fact) -> None:
        self._facts.update(facts)

    def __enter__(self) -> _Span:
        self._span = self._observer.begin(self._name)
        self._outside = context.attach(trace.set_span_in_context(self._span))
        self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = time.perf_counter() - self._began
        context.detach(self._outside)
        if kind is not None:
            self._facts["error"] = kind.__name__
            self._span.set_status(Status(StatusCode.ERROR, kind.__name__))
        self._span.set_attributes(_attributes(self._facts, *self._facts))
        self._span.end()
        self._observer.ended(self._name, self._facts, seconds)


def _attributes(facts: Mapping[str, Fact], *names: str) -> Attributes:
    """Name facts as attributes; what is not known is left out."""
    found = ((name, facts.get(name)) for name in names)
    return {_NAMES.get(name, _PREFIX + name): fact for name, fact in found if fact is not None}


_NAMES: Mapping[str, str] = MappingProxyType({"error": "error.type"})

_Told = Callable[[Mapping[str, Fact]], Attributes | None]


def _of_application(facts: Mapping[str, Fact]) -> Attributes | None:
    return _attributes(facts, "outcome", "store") if "outcome" in facts else None


def _of_notice(facts: Mapping[str, Fact]) -> Attributes | None:
    return _attributes(facts, "status", "verdict", "repeat") if "verdict" in facts else None


def _of_delivery(facts: Mapping[str, Fact]) -> Attributes | None:
    return _attributes({"outcome": "failed", **facts}, "outcome", "subscriber")


def _counters(meter: Meter) -> Mapping[str, tuple[Counter, _Told]]:
    applications = meter.create_counter(
        "zeus_cvs.applications", "{application}", "Applications sent to ZEUS, by what came of them."
    )
    notices = meter.create_counter("zeus_cvs.notices", "{notice}", "Notices stored, by status and verdict.")
    deliveries = meter.create_counter(
        "zeus_cvs.deliveries",
        "{delivery}",
        "Calls of receivers, by their result; given up on counts once more.",
    )
    return {
        "submit": (applications, _of_application),
        "receive": (notices, _of_notice),
        "deliver": (deliveries, _of_delivery),
    }


def _histograms(meter: Meter) -> Mapping[str, tuple[Histogram, tuple[str, ...]]]:
    def seconds(name: str, what: str) -> Histogram:
        return meter.create_histogram(name, "s", what, explicit_bucket_boundaries_advisory=_SECONDS)

    return {
        "gateway": (
            seconds("zeus_cvs.gateway.duration", "Seconds until ZEUS has answered, or was given up on."),
            ("outcome", "error", "store"),
        ),
        "receive": (
            seconds(
                "zeus_cvs.receive.duration", "Seconds until a notice is stored; nothing is delivered in them."
            ),
            ("verdict", "error"),
        ),
    }
