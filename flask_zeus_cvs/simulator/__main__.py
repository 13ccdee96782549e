"""``python -m flask_zeus_cvs.simulator``: the sandbox by itself, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.protocol.fields import MAX_DAYS, MIN_DAYS
from flask_zeus_cvs.simulator.sandbox import Simulator

WELCOME = """\
Sandbox for ZEUS konbini payment. THIS IS NOT ZEUS: no money moves, no number works in a store.
  pages     {url}/
  endpoint  {endpoint}
  notices   {notify}
  IP code   {clientip}    test id {testid}
Ctrl-C ends it.
"""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flask_zeus_cvs.simulator",
        description="A sandbox that plays ZEUS's side of konbini payment: gateway, store counters, notices.",
    )
    parser.add_argument("--port", type=int, default=5001, help="0 takes a free one (default: 5001)")
    parser.add_argument(
        "--notify", metavar="URL", help="where the shop takes notices; without it none is sent"
    )
    parser.add_argument("--clientip", default="1234567890", help="the shop's IP code (default: %(default)s)")
    parser.add_argument("--testid", default="12345678", help="the shop's test id (default: %(default)s)")
    parser.add_argument(
        "--pay-within-days",
        type=int,
        default=10,
        choices=range(MIN_DAYS, MAX_DAYS + 1),
        metavar="DAYS",
        help="days until the deadline (default: %(default)s)",
    )
    parser.add_argument("--notice-timeout", type=float, default=40.0, metavar="SECONDS")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--allow-remote", action="store_true", help="allow a --host that is not loopback")
    parser.add_argument("--public-url", metavar="URL", help="the address that browsers reach it under")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal ends it; the exit status is 0 then, and 2 if it could not start."""
    given = arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    ended = threading.Event()

    def end(*_: Any) -> None:
        ended.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)
    try:
        simulator = Simulator(
            given.notify,
            port=given.port,
            clientip=given.clientip,
            testid=given.testid,
            host=given.host,
            allow_remote=given.allow_remote,
            public_url=given.public_url,
            notice_timeout=given.notice_timeout,
        )
        simulator.contract.pay_within_days = given.pay_within_days
        simulator.start()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    welcome = WELCOME.format(
        url=simulator.url,
        endpoint=simulator.endpoint,
        notify=given.notify or "not sent: no --notify was given",
        clientip=given.clientip,
        testid=given.testid,
    )
    sys.stdout.write(welcome)
    sys.stdout.flush()
    while not ended.wait(0.5):  # on Windows a wait without end would not hear Ctrl-C
        pass
    simulator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
