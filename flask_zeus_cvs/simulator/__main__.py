"""``python -m flask_zeus_cvs.simulator``: the sandbox by itself, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.protocol.fields import MAX_DAYS, MIN_DAYS
from flask_zeus_cvs.simulator.api import PREFIX
from flask_zeus_cvs.simulator.clock import japan_now
from flask_zeus_cvs.simulator.contract import Contract
from flask_zeus_cvs.simulator.notices import LIMIT, is_loopback
from flask_zeus_cvs.simulator.sandbox import Simulator
from flask_zeus_cvs.simulator.values import as_moment, as_number, as_whole

Read = TypeVar("Read")

PROGRAM = "python -m flask_zeus_cvs.simulator"

WELCOME = """\
Sandbox for ZEUS konbini payment. THIS IS NOT ZEUS: no money moves, no number works in a store.
  pages     {url}/
  API       {url}{api}
  endpoint  {endpoint}
  notices   {notices}
  IP code   {clientip}    test id {testids}
  its time  {now:%Y-%m-%d %H:%M} in Japan
Ctrl-C ends it.
"""

OPEN_TO_ALL = """\
WARNING: it listens on {host}. Whoever reaches that can read what customers typed, and say that payments were made.
"""


@dataclass(frozen=True, slots=True)
class Term:
    """An option that is a term of the contract; the contract reads it."""

    option: str
    name: str
    metavar: str
    says: str


#: Everything in the contract, by the heading that it has in --help.
TERMS: dict[str, tuple[Term, ...]] = {
    "the shop and ZEUS": (
        Term("--clientip", "clientip", "DIGITS", "the shop's IP code"),
        Term("--testid", "testids", "DIGITS,…", "the shop's test ids"),
        Term("--stores", "stores", "CODES", "the stores that it may use"),
        Term("--pay-within-days", "pay_within_days", "DAYS", f"until the deadline, {MIN_DAYS} to {MAX_DAYS}"),
        Term(
            "--confirm-after-days", "confirm_after_days", "CODE=DAYS,…", "from 04 to 05; other stores by hand"
        ),
        Term("--test-outcome-minutes", "test_outcome_minutes", "MINUTES", "from the 04 of a test to its end"),
        Term("--stopped", "stopped", "true", "the service is stopped (番組停止)"),
    ),
    "notices": (
        Term("--notify", "notify", "URL", "where the shop takes notices; without it none is sent"),
        Term("--method", "method", "GET|POST", "how they are sent"),
        Term("--parameters", "parameters", "NAMES", "which they have, in this order"),
        Term(
            "--on-request",
            "on_request",
            "02,03",
            "statuses that the shop asked to be told besides the others",
        ),
        Term("--retries", "retries", "TIMES", "how often one that timed out is sent again"),
        Term("--retry-minutes", "retry_minutes", "MINUTES", "how much later"),
        Term("--agent", "agent", "NAME", "the sender's agent name, for plain http on port 80 only"),
        Term("--sent-from", "sent_from", "ADDRESS", "the address of this machine that they come from"),
    ),
    "mails": (
        Term("--mail-to", "mail_to", "ADDRESS", "where the shop's mails go"),
        Term("--mails-off", "mails_off", "KINDS", "mails that are not sent"),
        Term("--customer-message", "customer_message", "TEXT", "what the shop adds to the customer's mail"),
    ),
}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what is wrong ends the process with status 2 and a sentence that has the cure."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [options]",
        allow_abbrev=False,
        description="A sandbox that plays ZEUS's side of konbini payment: gateway, store counters, notices, mails. "
        "It is not ZEUS. Everything can be changed later, on its pages and by its API.",
    )
    parser.add_argument(
        "--port", type=_whole(0, 65535), default=5001, help="0 takes a free one (default: 5001)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--allow-remote", action="store_true", help="allow hosts that are not loopback")
    parser.add_argument("--public-url", metavar="URL", help="the address that browsers reach it under")
    parser.add_argument(
        "--clock",
        type=_moment,
        metavar="TIME",
        help="begin then, as 2026-12-01T09:00:00+09:00 (default: now)",
    )
    parser.add_argument("--seed", type=int, metavar="NUMBER", help="makes what is left to chance repeatable")
    usual = Contract().as_json()
    for heading, terms in TERMS.items():
        group = parser.add_argument_group(heading)
        for term in terms:
            says = term.says + _default(usual[term.name])
            group.add_argument(term.option, dest=term.name, metavar=term.metavar, help=says)
        if heading == "notices":
            group.add_argument(
                "--notice-timeout",
                type=_number(0.01, 3600),
                default=LIMIT,
                metavar="SECONDS",
                help="that the shop has for its answer (default: %(default)g)",
            )
        if heading == "mails":
            group.add_argument("--smtp", metavar="HOST:PORT", help="a mail server that is handed every mail")
    return parser.parse_args(argv)


def _default(value: object) -> str:
    """Say a default that is short."""
    return f" (default: {value})" if isinstance(value, (str, int, float)) and value not in ("", False) else ""


def _whole(least: int, most: int) -> Callable[[str], int]:
    return lambda text: _read(lambda: as_whole(text, least, most))


def _number(least: float, most: float) -> Callable[[str], float]:
    return lambda text: _read(lambda: as_number(text, least, most))


def _moment(text: str) -> datetime:
    return _read(lambda: as_moment(text))


def _read(read: Callable[[], Read]) -> Read:
    """Have argparse print the reader's own sentence."""
    try:
        return read()
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def simulator(given: argparse.Namespace) -> Simulator:
    """Make what was asked for. Raises `ConfigurationError` with the cure."""
    made = Simulator(
        port=given.port,
        host=given.host,
        allow_remote=given.allow_remote,
        public_url=given.public_url,
        notice_timeout=given.notice_timeout,
        clock=_beginning(given.clock) if given.clock else japan_now,
        smtp=given.smtp,
        seed=given.seed,
    )
    for term in (term for terms in TERMS.values() for term in terms):
        value = getattr(given, term.name)
        if value is not None:
            _agree(made.contract, term, value)
    return made


def _beginning(moment: datetime) -> Callable[[], datetime]:
    """A clock that shows `moment` now and goes on from there."""
    ahead = moment - japan_now()
    return lambda: japan_now() + ahead


def _agree(contract: Contract, term: Term, value: str) -> None:
    try:
        contract.change({term.name: value})
    except ValueError as error:
        said = str(error).removeprefix(f"{term.name}: ")
        raise ConfigurationError(f"{term.option}: {said}. See --help.") from None


def welcome(running: Simulator, host: str) -> str:
    contract = running.contract
    said = WELCOME.format(
        url=running.url,
        api=PREFIX,
        endpoint=running.endpoint,
        notices=f"{contract.method} {contract.notify}"
        if contract.notify
        else "not sent: no --notify was given",
        clientip=contract.clientip,
        testids=" ".join(contract.testids),
        now=running.now,
    )
    return said if is_loopback(host) else OPEN_TO_ALL.format(host=host) + said


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
        running = simulator(given).start()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(welcome(running, given.host))
    sys.stdout.flush()
    while not ended.wait(0.5):  # on Windows a wait without end would not hear Ctrl-C
        pass
    running.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
