"""Signals: receivers are held, named, told apart, and hear only the app they asked for."""

from __future__ import annotations

import dataclasses
import functools
import gc
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, current_app

import flask_zeus_cvs
from flask_zeus_cvs import ConfigurationError, EventData, EventKind, State
from flask_zeus_cvs.models import Delivery
from flask_zeus_cvs.signals import SIGNALS, SubscriberSignal

HERE = __name__


def ship(app: Flask, **extra: Any) -> str:
    return f"shipped by {app.name}"


def pack(app: Flask, **extra: Any) -> str:
    return f"packed by {app.name}"


class Warehouse:
    def ship(self, app: Flask, **extra: Any) -> None: ...


class Answering:
    def __call__(self, app: Flask, **extra: Any) -> None: ...


@pytest.fixture
def signal() -> SubscriberSignal:
    """A signal nobody listens to yet."""
    return SubscriberSignal(EventKind.PAYMENT_RECEIVED)


@pytest.fixture
def app() -> Flask:
    return Flask("shop")


@pytest.fixture
def other() -> Flask:
    return Flask("other")


def names(signal: SubscriberSignal, app: Flask) -> list[str]:
    return sorted(signal.subscribers(app))


def heard(signal: SubscriberSignal, app: Flask) -> list[Any]:
    """What blinker's own sending reaches; it must agree with the subscribers."""
    called = [receiver for receiver, _ in signal.send(app)]
    assert {id(each) for each in called} == {id(each) for each in signal.subscribers(app).values()}
    return called


def local() -> Callable[..., Any]:
    def ship(app: Flask, **extra: Any) -> None: ...

    return ship


# --- every kind has its signal -------------------------------------------------------------------


def test_every_kind_has_a_signal_and_every_signal_a_kind() -> None:
    """What the outbox can append can be heard, and nothing can be connected to that is never sent."""
    assert list(SIGNALS) == list(EventKind)
    assert all(signal.name == kind.value for kind, signal in SIGNALS.items())


@pytest.mark.parametrize("kind", EventKind)
def test_every_signal_is_public_under_its_own_name(kind: EventKind) -> None:
    """A shop imports a signal from the package by the name that the event kind has."""
    assert getattr(flask_zeus_cvs, kind.value) is SIGNALS[kind]
    assert kind.value in flask_zeus_cvs.__all__


def test_the_event_value_is_frozen() -> None:
    """One subscriber cannot change what the next one hears."""
    event = EventData(1, EventKind.PAYMENT_RECEIVED, datetime.now(UTC), State.AWAITING_PAYMENT, False, 7)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.test = True  # type: ignore[misc]


# --- holding and naming --------------------------------------------------------------------------


def test_receivers_are_held_strongly(signal: SubscriberSignal, app: Flask) -> None:
    """A function defined inside a factory goes on hearing after the factory has returned."""
    receiver = local()
    gone = weakref.ref(receiver)
    signal.connect(receiver, sender=app)
    del receiver
    gc.collect()
    assert gone() is not None
    assert heard(signal, app) == [gone()]


def test_a_bound_method_is_held_with_its_object(signal: SubscriberSignal, app: Flask) -> None:
    """A method of an object that nobody else keeps is still called."""
    signal.connect(Warehouse().ship, sender=app)
    gc.collect()
    assert names(signal, app) == [f"{HERE}.Warehouse.ship"]
    assert len(signal.send(app)) == 1


def test_the_name_is_module_and_qualified_name(signal: SubscriberSignal, app: Flask) -> None:
    """A stored delivery finds its receiver again in another process, by a name that does not change."""
    signal.connect(ship)
    signal.connect(local(), sender=app)
    assert names(signal, app) == [f"{HERE}.local.<locals>.ship", f"{HERE}.ship"]


def test_a_name_of_ones_own(signal: SubscriberSignal, app: Flask) -> None:
    """``name=`` wins over the function's own, also for what has none."""
    signal.connect(ship, name="shipping")
    signal.connect(lambda app, **extra: None, name="a lambda")
    signal.connect(functools.partial(ship), name="a partial", sender=app)
    signal.connect_via(app, name="packing")(pack)
    assert names(signal, app) == ["a lambda", "a partial", "packing", "shipping"]


@pytest.mark.parametrize(
    "receiver",
    [
        pytest.param(lambda app, **extra: None, id="lambda"),
        pytest.param(functools.partial(ship), id="partial"),
        pytest.param(Answering(), id="object"),
        pytest.param([].append, id="builtin method"),
    ],
)
def test_what_has_no_name_is_refused(
    signal: SubscriberSignal, app: Flask, receiver: Callable[..., Any]
) -> None:
    """Its deliveries could not be found again after a restart; the message tells the cure."""
    with pytest.raises(ConfigurationError, match=r"pass name='…' to connect"):
        signal.connect(receiver, sender=app)
    assert names(signal, app) == []
    assert heard(signal, app) == []


@pytest.mark.parametrize("name", ["", " ", "x" * 256, "a\nb", "a\x00b", "\ud800", 5])
def test_a_name_that_cannot_be_stored_is_refused(signal: SubscriberSignal, app: Flask, name: Any) -> None:
    """A name that its column cannot hold would make notices fail to be stored; it is refused at the start."""
    with pytest.raises(ConfigurationError, match="1 to 255 printable characters"):
        signal.connect(ship, name=name)
    assert names(signal, app) == []


def test_a_name_as_long_as_its_column(signal: SubscriberSignal, app: Flask) -> None:
    """The limit is the column's."""
    assert Delivery.__table__.c.subscriber.type.length == 255  # type: ignore[attr-defined]
    signal.connect(ship, name="x" * 255)
    assert names(signal, app) == ["x" * 255]


# --- two of them ---------------------------------------------------------------------------------


def test_the_same_receiver_twice_is_one_subscriber(signal: SubscriberSignal, app: Flask) -> None:
    """A module imported twice, or a factory that connects again, changes nothing."""
    for _ in range(2):
        signal.connect(ship)
        signal.connect(ship, sender=app)
    assert names(signal, app) == [f"{HERE}.ship"]
    assert heard(signal, app) == [ship]


def test_the_same_method_twice_is_one_subscriber(signal: SubscriberSignal, app: Flask) -> None:
    """Each access makes a new bound method; they are the same receiver all the same."""
    warehouse = Warehouse()
    signal.connect(warehouse.ship)
    signal.connect(warehouse.ship)
    assert names(signal, app) == [f"{HERE}.Warehouse.ship"]


def test_two_alike_are_refused(signal: SubscriberSignal, app: Flask) -> None:
    """Two receivers of one name could not be told apart; the message tells the cure, and the first one stays."""
    first = local()
    signal.connect(first, sender=app)
    with pytest.raises(ConfigurationError, match=r"called '.*local.<locals>.ship'.* name='…'"):
        signal.connect(local(), sender=app)
    assert heard(signal, app) == [first]


def test_two_alike_under_a_given_name_are_refused(signal: SubscriberSignal) -> None:
    """Given names collide as a function's own do."""
    signal.connect(ship, name="shipping")
    with pytest.raises(ConfigurationError, match="'shipping'"):
        signal.connect(pack, name="shipping")


def test_alike_for_one_app_and_for_all_are_refused(signal: SubscriberSignal, app: Flask) -> None:
    """A name for every app and the same name for one would collide in that one, in whatever order they come."""
    signal.connect(local())
    with pytest.raises(ConfigurationError):
        signal.connect(local(), sender=app)
    later = SubscriberSignal(EventKind.SALE_CONFIRMED)
    later.connect(local(), sender=app)
    with pytest.raises(ConfigurationError, match="sender=app"):
        later.connect(local())


def test_alike_in_two_apps_are_two(signal: SubscriberSignal, app: Flask, other: Flask) -> None:
    """A factory that makes two apps connects a function of its own to each: no collision."""
    first, second = local(), local()
    signal.connect(first, sender=app)
    signal.connect(second, sender=other)
    assert heard(signal, app) == [first]
    assert heard(signal, other) == [second]


# --- senders -------------------------------------------------------------------------------------


def test_each_app_has_its_own_subscribers(signal: SubscriberSignal, app: Flask, other: Flask) -> None:
    """A receiver for one app hears nothing of another; one without a sender hears both."""
    signal.connect(ship, sender=app)
    signal.connect(pack)
    assert names(signal, app) == [f"{HERE}.pack", f"{HERE}.ship"]
    assert names(signal, other) == [f"{HERE}.pack"]
    assert heard(signal, other) == [pack]


def test_current_app_is_the_app_behind_it(signal: SubscriberSignal, app: Flask, other: Flask) -> None:
    """Flask's proxy means the current app, when connecting as when disconnecting."""
    with app.app_context():
        signal.connect(ship, sender=current_app)
        signal.connect_via(current_app)(pack)
    assert names(signal, app) == [f"{HERE}.pack", f"{HERE}.ship"]
    assert names(signal, other) == []
    assert len(heard(signal, app)) == 2
    with app.app_context():
        signal.disconnect(ship, sender=current_app)
    assert heard(signal, app) == [pack]


@pytest.mark.parametrize("sender", ["shop", None, 5, Flask, object()])
def test_a_sender_that_is_no_app_is_refused(signal: SubscriberSignal, sender: Any) -> None:
    """It would never hear a thing: refused when connecting and when disconnecting."""
    for attempt in (signal.connect, signal.disconnect):
        with pytest.raises(ConfigurationError, match="Connect with sender=app"):
            attempt(ship, sender=sender)
    with pytest.raises(ConfigurationError), signal.connected_to(ship, sender=sender):
        pass


# --- disconnecting -------------------------------------------------------------------------------


def test_disconnect_from_one_app(signal: SubscriberSignal, app: Flask, other: Flask) -> None:
    """Only what that app sends is no longer heard."""
    signal.connect(ship, sender=app)
    signal.connect(ship, sender=other)
    signal.disconnect(ship, sender=app)
    assert heard(signal, app) == []
    assert heard(signal, other) == [ship]


def test_disconnect_from_all(signal: SubscriberSignal, app: Flask, other: Flask) -> None:
    """Without a sender, the receiver hears no app any more, and its name is free again."""
    first = local()
    signal.connect(first)
    signal.connect(first, sender=app)
    signal.connect(first, sender=other)
    signal.disconnect(first)
    assert heard(signal, app) == heard(signal, other) == []
    signal.connect(local())
    assert names(signal, app) == [f"{HERE}.local.<locals>.ship"]


def test_disconnect_a_stranger(signal: SubscriberSignal, app: Flask) -> None:
    """What was never connected can be disconnected without harm."""
    signal.connect(ship)
    signal.disconnect(pack)
    signal.disconnect(pack, sender=app)
    assert heard(signal, app) == [ship]


def test_disconnect_finds_a_receiver_under_a_given_name(signal: SubscriberSignal, app: Flask) -> None:
    """The receiver counts, not the name it was connected under."""
    signal.connect(ship, name="shipping")
    signal.disconnect(ship)
    assert names(signal, app) == []


def test_connected_to_is_for_a_while(signal: SubscriberSignal, app: Flask, other: Flask) -> None:
    """In a shop's tests a receiver listens inside the block only, whatever happens in it."""
    with signal.connected_to(ship, sender=app):
        assert heard(signal, app) == [ship]
        assert heard(signal, other) == []
    assert heard(signal, app) == []
    with pytest.raises(ZeroDivisionError), signal.connected_to(ship):
        raise ZeroDivisionError
    assert heard(signal, app) == []


def test_connected_to_takes_a_name(signal: SubscriberSignal, app: Flask) -> None:
    """What has no name of its own can listen for a while under a given one."""
    calls: list[Flask] = []
    with signal.connected_to(lambda app, **extra: calls.append(app), sender=app, name="recorder"):
        assert names(signal, app) == ["recorder"]
        signal.send(app)
    assert calls == [app]
    assert names(signal, app) == []


def test_connected_to_leaves_other_connections_alone(
    signal: SubscriberSignal, app: Flask, other: Flask
) -> None:
    """A block for one app does not end what the same receiver hears of another."""
    signal.connect(ship, sender=other)
    with signal.connected_to(ship, sender=app):
        pass
    assert heard(signal, app) == []
    assert heard(signal, other) == [ship]


# --- apps that are gone --------------------------------------------------------------------------


def test_a_new_app_has_no_subscribers(signal: SubscriberSignal) -> None:
    """An app that is made where a dead one lay inherits nothing of it, and what the dead one had is let go."""
    for number in range(20):
        signal.connect(local(), sender=Flask(f"shop{number}"))
    gc.collect()
    for number in range(20):
        app = Flask(f"new{number}")
        assert names(signal, app) == []
        assert heard(signal, app) == []
    assert len(signal._of_app) == 0
