"""Celery's side of the handover, with a broker in memory: names, options, schedule, and what a task does."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery  # type: ignore[import-untyped]
from celery.signals import worker_process_shutdown  # type: ignore[import-untyped]
from flask import Flask

from flask_zeus_cvs.contrib import celery as contrib
from flask_zeus_cvs.contrib.celery import DELIVER_DUE, DELIVER_EVENT, EXPIRE, deliver_with
from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.lifecycle import EventKind
from flask_zeus_cvs.models import Delivery, DeliveryState
from tests.blocks import block, papers
from tests.conftest import Shop, ShopMaker
from tests.database.test_background import states
from tests.database.test_queue import Receiver, events, receive, with_slips
from tests.waiting import until

PAGE = papers()["17-queues"].read_text("utf-8")
SHOP = block("17-queues", "from celery import Celery")
WORKER = block("17-queues", "celery = create_app")
JOB = block("17-queues", "def deliver_event")
LINES = block("17-queues", "zeus.deliver_through")
LOGGED = block("17-queues", "Task zeus_cvs")
OWN = {"orders.sweep": {"task": "orders.sweep", "schedule": 5.0}}


@pytest.fixture
def shop(make_shop: ShopMaker) -> Shop:
    """A shop with two slips out, in earnest: an app that is not testing."""
    return with_slips(make_shop(testing=False, DELIVERY="deferred"))


@pytest.fixture
def celery() -> Celery:
    """A Celery app whose broker is in this process, with defaults that would not do for us."""
    made = Celery("shop", broker="memory://", set_as_current=False)
    made.conf.update(task_acks_late=True, task_ignore_result=False, result_backend="cache+memory://")
    return made


def messages(celery: Celery) -> list[tuple[str, Any]]:
    """Take what waits in the broker: the task of each message, and its arguments."""
    with celery.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        found = []
        while queue.qsize():
            message = queue.get(timeout=20)
            message.ack()
            found.append((message.headers["task"], message.payload[0]))
        queue.close()
    return found


def test_an_event_is_a_message_with_its_id(shop: Shop, celery: Celery) -> None:
    """Nothing else of it leaves the database; the task delivers it, a repeat of the message delivers nothing."""
    receiver = Receiver(shop)
    deliver_with(celery, shop.app)
    receive(shop, "04")
    shop.payments.stop()
    (received,) = events(shop, EventKind.PAYMENT_RECEIVED)
    assert messages(celery) == [(DELIVER_EVENT, [received])]
    task = celery.tasks[DELIVER_EVENT]
    assert task.apply((received,)).get() == {"done": 1, "failed": 0, "parked": 0, "obsolete": 0}
    assert task.apply((received,)).get() == {"done": 0, "failed": 0, "parked": 0, "obsolete": 0}
    assert receiver.calls == [received]


def test_a_process_of_a_worker_hands_over_the_rest(shop: Shop, celery: Celery) -> None:
    """Celery's children end without Python's exit functions: what they did last is handed over all the same."""
    Receiver(shop)
    deliver_with(celery, shop.app)
    receive(shop, "04")
    worker_process_shutdown.send(sender=None, pid=0, exitcode=0)
    assert len(messages(celery)) == 1
    assert not [each for each in threading.enumerate() if each.name == f"zeus-cvs-{shop.app.name}"]


@pytest.mark.parametrize("name", [DELIVER_EVENT, DELIVER_DUE, EXPIRE])
def test_the_tasks_have_options_of_their_own(shop: Shop, celery: Celery, name: str) -> None:
    """Whatever a shop has for its own tasks: no results, no late acknowledgement, and of no other Celery app."""
    deliver_with(celery, shop.app)
    task = celery.tasks[name]
    assert (task.ignore_result, task.acks_late) == (True, False)
    assert name not in Celery("another", set_as_current=False).tasks


def test_the_sweep_delivers_what_is_due(shop: Shop, celery: Celery) -> None:
    """What no message told of is delivered by the next sweep, and `check` sees that there was one."""
    Receiver(shop)
    receive(shop, "04")
    deliver_with(celery, shop.app)
    assert celery.tasks[DELIVER_DUE].apply().get()["done"] == 1
    assert states(shop) == [DeliveryState.DONE]


def test_a_sweep_ends_with_its_time(
    shop: Shop, celery: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However much is due, a sweep occupies one process of a worker for half a minute; it names who is not there."""
    receiver = Receiver(shop)
    receive(shop, "04")
    shop.db.session.add(Delivery(event_id=events(shop, EventKind.PAYMENT_RECEIVED)[0], subscriber="gone"))
    shop.db.session.commit()
    deliver_with(celery, shop.app)
    monkeypatch.setattr(contrib, "SWEEP", timedelta(0))
    assert celery.tasks[DELIVER_DUE].apply().get()["done"] == 0
    assert receiver.calls == []
    assert "not connected in this process: gone" in caplog.text


def test_slips_are_expired(shop: Shop, celery: Celery) -> None:
    """The hourly task does what ``flask zeus-cvs expire`` does."""
    deliver_with(celery, shop.app)
    shop.payment(reference="A-3", expires_at=datetime.now(UTC))
    shop.db.session.remove()
    assert celery.tasks[EXPIRE].apply().get() == {"expired": 0, "ended": 1, "reminded": 0}


def configure_by_object(celery: Celery, **settings: Any) -> None:
    celery.config_from_object(settings)


def configure_by_hand(celery: Celery, **settings: Any) -> None:
    celery.conf.update(settings)


def configure_and_use(celery: Celery, **settings: Any) -> None:
    """Have the configuration read at once."""
    celery.config_from_object(settings, force=True)
    assert celery.conf.beat_schedule == settings["beat_schedule"]


Configure = Callable[..., None]


@pytest.mark.parametrize("configure", [configure_by_object, configure_by_hand, configure_and_use])
def test_the_schedule_stands_beside_the_shops_own(shop: Shop, celery: Celery, configure: Configure) -> None:
    """However a shop configures Celery, its own entries stay, and beat has ours besides."""
    configure(celery, beat_schedule=OWN)
    deliver_with(celery, shop.app)
    schedule = celery.conf.beat_schedule
    assert set(schedule) == {"orders.sweep", DELIVER_DUE, EXPIRE}
    assert schedule["orders.sweep"] == OWN["orders.sweep"]
    assert schedule[DELIVER_DUE]["schedule"] <= timedelta(minutes=1)
    assert schedule[EXPIRE]["schedule"] == timedelta(hours=1)


@pytest.mark.parametrize("configure", [configure_by_object, configure_by_hand])
def test_the_schedule_survives_a_later_configuration(
    shop: Shop, celery: Celery, configure: Configure
) -> None:
    """`deliver_with` may come first, as long as nobody has read the configuration."""
    deliver_with(celery, shop.app)
    configure(celery, beat_schedule=OWN)
    assert set(celery.conf.beat_schedule) == {"orders.sweep", DELIVER_DUE, EXPIRE}


def test_a_shop_may_sweep_when_it_likes(shop: Shop, celery: Celery) -> None:
    """An entry under our name is the shop's to make."""
    own = {DELIVER_DUE: {"task": DELIVER_DUE, "schedule": 5.0}}
    celery.conf.beat_schedule = own
    deliver_with(celery, shop.app)
    assert celery.conf.beat_schedule[DELIVER_DUE] == own[DELIVER_DUE]


def test_sweeps_do_not_pile_up(shop: Shop, celery: Celery) -> None:
    """What no worker took by the time of the next is dropped: a night without workers leaves one sweep to do."""
    deliver_with(celery, shop.app)
    for name in (DELIVER_DUE, EXPIRE):
        entry = celery.conf.beat_schedule[name]
        assert entry["options"]["expires"] == entry["schedule"].total_seconds()


def test_a_shop_that_delivers_itself_is_refused(make_shop: ShopMaker, celery: Celery) -> None:
    """Without ZEUS_CVS_DELIVERY='deferred' the web processes would deliver beside the workers."""
    shop = make_shop(DELIVERY="background")
    with pytest.raises(ConfigurationError, match="ZEUS_CVS_DELIVERY"):
        deliver_with(celery, shop.app)
    with pytest.raises(ConfigurationError, match="not set up"):
        deliver_with(celery, Flask("another"))
    assert DELIVER_EVENT not in celery.tasks


def test_a_celery_app_works_for_one_flask_app(make_shop: ShopMaker, shop: Shop, celery: Celery) -> None:
    """A task must know whose event an id means; apps that a shop makes for its own tests take each other's place."""
    deliver_with(celery, shop.app)
    with pytest.raises(ConfigurationError, match="make a Celery app for each"):
        deliver_with(celery, shop.app)
    own = Celery("tested", broker="memory://", set_as_current=False)
    deliver_with(own, make_shop().app)
    tested = with_slips(make_shop())
    deliver_with(own, tested.app)
    receiver = Receiver(tested)
    receive(tested, "04")
    assert len(receiver.calls) == 1
    assert own.tasks[DELIVER_EVENT].apply((receiver.calls[0],)).get()["done"] == 0


def test_the_shop_of_the_page_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page on queues shows for Celery is a shop whose beat sweeps, and whose worker knows the tasks."""
    monkeypatch.setenv("FLASK_ZEUS_CVS_CLIENT_IP", '"1234567890"')
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", "sqlite://")
    page: dict[str, Any] = {}
    exec(SHOP + WORKER, page)
    celery = page["celery"]
    assert set(celery.conf.beat_schedule) == {DELIVER_DUE, EXPIRE}
    assert {DELIVER_EVENT, DELIVER_DUE, EXPIRE} <= set(celery.tasks)
    for task in (DELIVER_EVENT, DELIVER_DUE, EXPIRE):
        assert f"| `{task}` |" in PAGE


def test_the_worker_logs_what_the_page_shows(shop: Shop, celery: Celery) -> None:
    """A task's result, which Celery puts into its line, is that of the page."""
    Receiver(shop)
    receive(shop, "04")
    deliver_with(celery, shop.app)
    event = events(shop, EventKind.PAYMENT_RECEIVED)[0]
    shown = re.fullmatch(r"Task (\S+)\[\S+\] succeeded in [\d.]+s: (.*)\n", LOGGED)
    assert shown is not None
    assert celery.tasks[shown[1]].apply((event,)).get() == ast.literal_eval(shown[2])


class AnyQueue:
    """Stands for RQ, Dramatiq and Huey: works in the thread that hands over."""

    def __init__(self, job: Callable[[int], None]) -> None:
        self._job = job

    def enqueue(self, job: Callable[[int], None], event_id: int) -> None:
        job(event_id)

    def send(self, event_id: int) -> None:
        self._job(event_id)

    __call__ = send


@pytest.mark.parametrize("line", LINES.splitlines())
def test_the_lines_of_the_page_work(shop: Shop, line: str) -> None:
    """Each of the lines for other queues hands an event over to the job of the page, which delivers it."""
    receiver = Receiver(shop)
    page: dict[str, Any] = {"app": shop.app, "zeus": shop.zeus}
    exec(JOB, page)
    page["queue"] = page["deliver_event"] = AnyQueue(page["deliver_event"])
    exec(line, page)
    receive(shop, "04")
    until(lambda: states(shop) == [DeliveryState.DONE])
    assert len(receiver.calls) == 1
