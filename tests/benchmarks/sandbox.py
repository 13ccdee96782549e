"""Payments per second through the sandbox, in this process and over sockets.

A payment is an application with its answer, the notice 01, the payment at the till, and the notice 04; both
notices are answered with 200.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import requests

from flask_zeus_cvs.simulator import Simulator
from flask_zeus_cvs.simulator.server import Server
from flask_zeus_cvs.simulator.works import ENDPOINT

#: Payments per second that a test suite may count on, in process.
GOAL = 1000
ORDER_NO = re.compile(rb"^order_no=(.+)$", re.MULTILINE)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BODY = (
    b"clientip=1234567890&act=secure_order&money=3000&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E"
    b"&telno=0312345678&email=hanako%40example.jp&pay_cvs=D002&sendid=A1B2C3"
)


def shop(_environ: Any, start_response: Any) -> Iterable[bytes]:
    """Take a notice, and do nothing with it."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"OK"]


@contextmanager
def in_process() -> Iterator[tuple[Simulator, Callable[[], bytes]]]:
    """Applications by the adapter, notices by a call of the application."""
    request = requests.Request("POST", f"https://shop.example{ENDPOINT}", FORM, data=BODY).prepare()
    with Simulator(listen=False) as zeus:
        zeus.attach(shop)
        adapter = zeus.adapter()
        yield zeus, lambda: adapter.send(request, timeout=(5, 20)).content


@contextmanager
def over_sockets() -> Iterator[tuple[Simulator, Callable[[], bytes]]]:
    """Applications over one connection that is kept, each notice over one of its own."""
    listener = Server("127.0.0.1", 0)
    listener.start(shop)
    try:
        with Simulator(listener.url) as zeus:
            connection = HTTPConnection("127.0.0.1", urlsplit(zeus.url).port)

            def apply() -> bytes:
                connection.request("POST", ENDPOINT, BODY, FORM)
                return connection.getresponse().read()

            yield zeus, apply
            connection.close()
    finally:
        listener.stop()


def payments_per_second(zeus: Simulator, apply: Callable[[], bytes], count: int) -> float:
    began = time.perf_counter()
    for number in range(count):
        found = ORDER_NO.search(apply())
        assert found
        zeus.pay(found[1].decode())
        if number % 100 == 99:  # as a suite does: it looks at what came of it
            zeus.settle()
    zeus.settle()
    took = time.perf_counter() - began
    statuses = [str(call.status) for call in zeus.calls if call.delivered]
    assert (statuses.count("01"), statuses.count("04")) == (count, count)
    return count / took


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks sandbox", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="payments each way (default: %(default)s)")
    count = parser.parse_args(arguments).count
    figures = {}
    for name, way in (("in process", in_process), ("over sockets", over_sockets)):
        with way() as (zeus, apply):
            figures[name] = payments_per_second(zeus, apply, count)
        sys.stdout.write(f"{name:14}{figures[name]:8,.0f} payments a second\n")
    inside, outside = figures.values()
    sys.stdout.write(f"in process is {inside / outside:.1f} times as fast; the goal there is {GOAL:,}\n")
    return 0 if inside >= GOAL else 1
