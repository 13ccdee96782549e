"""Celery: receivers run in the shop's workers, on any number of machines (the extra ``celery``).

One line where the shop makes both of its apps, in web processes and workers alike::

    deliver_with(celery, app)

A message is an event's id and no more than a hint: what was not done is found by the sweep, what is done already is
not done again. So neither a broker that is away, nor one that loses or repeats messages, costs a delivery.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from celery import Celery  # type: ignore[import-untyped]
from celery.signals import worker_process_shutdown  # type: ignore[import-untyped]
from flask import Flask

from flask_zeus_cvs.deadlines import Sweep
from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.outbox import Summary
from flask_zeus_cvs.payments import Payments, payments_of

if TYPE_CHECKING:
    from celery.utils.dispatch import Signal  # type: ignore[import-untyped]

#: The tasks, under the names by which a shop routes, schedules and watches them.
DELIVER_EVENT, DELIVER_DUE, EXPIRE = "zeus_cvs.deliver_event", "zeus_cvs.deliver_due", "zeus_cvs.expire"

#: How often beat has what is due delivered, and for how long one such sweep goes on: the rest is for the next.
SWEEP = timedelta(seconds=30)
#: How often beat has slips expired.
EXPIRY = timedelta(hours=1)

_SERVES = "zeus_cvs_app"
_SERVED = (
    "This Celery app works for a Flask app already, and a task would not know for which it is. "
    "Call deliver_with once, and make a Celery app for each Flask app."
)


def deliver_with(celery: Celery, app: Flask) -> None:
    """Have the workers of a Celery app deliver what happens in a Flask app, sweep every half minute, expire hourly.

    Needs ZEUS_CVS_DELIVERY='deferred'. While testing, where receivers run inline, nothing is handed over. Entries
    that the shop's ``beat_schedule`` has under our names stay as they are. Raises `ConfigurationError`.
    """
    earlier: Flask | None = getattr(celery, _SERVES, None)
    if earlier is not None and not earlier.testing:
        raise ConfigurationError(_SERVED)
    payments_of(app).deliver_through(partial(_enqueue, celery))
    setattr(celery, _SERVES, app)
    if earlier is None:
        _add_tasks(celery)


def _enqueue(celery: Celery, event_id: int) -> None:
    """Send one message, or raise: the handover tries again."""
    celery.tasks[DELIVER_EVENT].apply_async((event_id,), retry=False)


def _add_tasks(celery: Celery) -> None:
    for name, work in _WORK.items():
        celery.task(_in_app(celery, work), name=name, **_OPTIONS)
    cast("Signal", celery.on_after_configure).connect(_add_schedule, weak=False)
    if celery.configured:
        _add_schedule(source=celery.conf)
    worker_process_shutdown.connect(partial(_hand_over_the_rest, celery), weak=False)


def _in_app(celery: Celery, work: Callable[..., Summary | Sweep]) -> Callable[..., dict[str, int]]:
    """Have a task work for the Flask app, in its context; what it did is shown where Celery shows results."""

    def run(*args: int) -> dict[str, int]:
        app: Flask = getattr(celery, _SERVES)
        with app.app_context():
            return asdict(work(payments_of(app), *args))

    return run


def _sweep(payments: Payments) -> Summary:
    end = time.monotonic() + SWEEP.total_seconds()
    done = payments.deliver_now(over=lambda: time.monotonic() >= end)
    payments.name_stranded()
    return done


#: Whatever the shop's own defaults are. No result is stored. A message is done with when it is read: the lease of a
#: worker that dies must end first, and then it is the sweep that delivers. With late acknowledgement a broker would
#: repeat what is under way, and Celery may kill a receiver when the broker is away.
_OPTIONS: Mapping[str, Any] = MappingProxyType({"shared": False, "ignore_result": True, "acks_late": False})
_WORK: Mapping[str, Callable[..., Summary | Sweep]] = MappingProxyType(
    {DELIVER_EVENT: Payments.deliver_event, DELIVER_DUE: _sweep, EXPIRE: Payments.expire}
)


def _every(interval: timedelta, task: str) -> dict[str, Any]:
    """An entry of the schedule; what no worker has begun by the next time is dropped, so that nothing piles up."""
    return {"task": task, "schedule": interval, "options": {"expires": interval.total_seconds()}}


def _add_schedule(source: Any, **_extra: Any) -> None:
    """Put our entries beside those of the shop's settings, which win."""
    ours = {task: _every(interval, task) for task, interval in ((DELIVER_DUE, SWEEP), (EXPIRE, EXPIRY))}
    source.beat_schedule = {**ours, **source.beat_schedule}


def _hand_over_the_rest(celery: Celery, **_extra: Any) -> None:
    """Before a worker's process ends, hand over the events of what it did last: it ends past `atexit`."""
    payments_of(getattr(celery, _SERVES)).stop()
