"""The sender, as the manual describes it: it hangs up after 40 seconds, and repeats a call only if no answer came.

After an answer that is not 200 it never repeats a call by itself: that is left to staff, see `Sender.resend`.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle

from tests.torture.lives import Call, Message

#: Seconds after which the sender hangs up.
LIMIT = 40.0
#: Seconds between a call without an answer and its repeat.
PAUSE = 0.3
THREADS = 8
PATH = "/zeus-cvs/callback"

#: What came of a call instead of an answer.
TIMED_OUT, BROKEN, HUNG_UP = "timed out", "broken", "hung up"


@dataclass(frozen=True)
class Sent:
    """One call as the sender saw it: the HTTP status, or what came instead; times in seconds since the epoch."""

    message: int
    began: float
    ended: float
    outcome: str


class Sender:
    """Sends calls to one shop from several threads, to each of its machines in turn, and remembers each."""

    def __init__(self, ports: Iterable[int], stop: threading.Event) -> None:
        self.sent: list[Sent] = []
        self._ports = cycle(ports)
        self._stop = stop
        self._barriers: dict[int, threading.Barrier] = {}
        self._guard = threading.Lock()

    def send_all(self, calls: Iterable[Call], before_each: Callable[[int], object]) -> None:
        """Send the calls in their order, each until it is answered; ``before_each`` is told how many began before."""
        with ThreadPoolExecutor(THREADS, "sender") as pool:
            sending = [
                pool.submit(self._deliver, call, number, before_each) for number, call in enumerate(calls)
            ]
            try:
                for each in sending:
                    each.result()
            except BaseException:
                self._stop.set()
                raise

    def resend(self, messages: Iterable[Message], spelled: dict[int, Call]) -> None:
        """Send once more what was never answered with 200, as staff do on the gateway's screen."""
        calls = [spelled[message.number] for message in messages]
        with ThreadPoolExecutor(THREADS, "staff") as pool:
            for each in [pool.submit(self._until_answered, call, cut=False) for call in calls]:
                each.result()

    def unanswered(self, messages: Iterable[Message]) -> list[Message]:
        """Name what has had no 200 yet."""
        stored = {sent.message for sent in self.sent if sent.outcome == "200"}
        return [message for message in messages if message.number not in stored]

    def _deliver(self, call: Call, number: int, before_each: Callable[[int], object]) -> None:
        if self._stop.is_set():
            return
        before_each(number)
        if call.together > 1:
            self._meet(call)
        self._until_answered(call, cut=call.cut)

    def _meet(self, call: Call) -> None:
        """Wait for the other calls of the volley, which stand next to this one; not if they are long in coming."""
        with self._guard:
            barrier = self._barriers.setdefault(call.message.number, threading.Barrier(call.together))
        with suppress(threading.BrokenBarrierError):
            barrier.wait(5)

    def _until_answered(self, call: Call, *, cut: bool) -> None:
        while not self._stop.is_set():
            began = time.time()
            outcome = self._attempt(call, cut=cut)
            self.sent.append(Sent(call.message.number, began, time.time(), outcome))
            if outcome.isdigit():
                return
            cut = False
            self._stop.wait(PAUSE)

    def _attempt(self, call: Call, *, cut: bool) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", next(self._ports), timeout=LIMIT)
        try:
            if call.post:
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", PATH, body=call.form, headers=kind)
            else:
                connection.request("GET", f"{PATH}?{call.form.decode('ascii')}")
            if cut:
                _reset(connection.sock)
                return HUNG_UP
            return str(connection.getresponse().status)
        except TimeoutError:
            return TIMED_OUT
        except (OSError, http.client.HTTPException):
            return BROKEN
        finally:
            connection.close()


def _reset(connection: socket.socket) -> None:
    """Have the connection closed at once and without a farewell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
