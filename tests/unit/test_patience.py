"""Waiting with a bound: what is watched is cut in its time, and never after it was given back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from flask_zeus_cvs import patience
from flask_zeus_cvs.patience import Hand, Outcome, Watched, can_be_cut


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A driver's connection, as far as it is one, and the server's end of it; looked at often."""
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(patience, "_WATCHES", {})
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def test_waiting_ends_in_time(ends: tuple[socket.socket, socket.socket]) -> None:
    """Who waits for a server that says nothing is woken by the end of the stream."""
    here, _ = ends
    here.settimeout(10)
    with Watched(here, time.monotonic() + 0.1):
        assert here.recv(1) == b""


def test_what_was_given_back_is_not_cut(ends: tuple[socket.socket, socket.socket]) -> None:
    """A connection serves the next one, however late the watch looks."""
    here, there = ends
    watched = Watched(here, time.monotonic())
    with watched:
        pass
    watched.cut()
    there.sendall(b"x")
    assert here.recv(1) == b"x"


def test_a_connection_that_ended_by_itself_is_no_trouble(ends: tuple[socket.socket, socket.socket]) -> None:
    """Nothing is raised for a socket that is closed already."""
    here, _ = ends
    watched = Watched(here, time.monotonic())
    here.close()
    watched.cut()
    assert not can_be_cut(here)


@pytest.mark.parametrize("driver", [object(), type("Other", (), {"fileno": "7"})()])
def test_who_tells_no_socket_cannot_be_cut(driver: object) -> None:
    """Another driver's waiting is bounded by a thread."""
    assert not can_be_cut(driver)


def test_a_hand_that_is_late_ends_and_one_in_time_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes too long goes on to its end, and its thread with it; what was quick serves again."""
    monkeypatch.setattr(patience, "_AT_REST", {})
    go_on = threading.Event()
    late, slow = Hand.at_rest(), Outcome(go_on.wait)
    assert not late.do(slow, 0.01)
    quick = Hand.at_rest()
    assert quick is not late
    assert quick.do(answer := Outcome(lambda: 7), 10)
    assert answer.told() == 7
    assert Hand.at_rest() is quick
    go_on.set()
    late.thread.join(10)
    assert not late.thread.is_alive()
    assert slow.told()
