"""The parts of one sandbox, put together: what happens in the one is told to the others here. It holds no rules."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask_zeus_cvs.exceptions import UnknownApplication
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.protocol.messages import Notice
from flask_zeus_cvs.simulator import gateway, notices
from flask_zeus_cvs.simulator.clock import Clock
from flask_zeus_cvs.simulator.contract import Contract
from flask_zeus_cvs.simulator.ledger import Ledger, SimulatedApplication
from flask_zeus_cvs.simulator.mails import Mailbox
from flask_zeus_cvs.simulator.notices import Call, Sender
from flask_zeus_cvs.simulator.script import Script
from flask_zeus_cvs.simulator.search import Words

ENDPOINT = "/cgi-bin/cvs.cgi"
SLIP = "/slip/seven_eleven"

#: Where slips are said to be while nothing listens.
NOWHERE = "http://sandbox.invalid"

logger = logging.getLogger("flask_zeus_cvs.simulator")


def _nothing(_seconds: float) -> None:
    """Nothing waits while nothing listens."""


class Works:
    """One sandbox's contract, clock, books, gateway, notices and mail."""

    def __init__(
        self, contract: Contract, base: Callable[[], datetime], limit: float, seed: int | None
    ) -> None:
        chance = random.Random(seed)
        self.contract = contract
        self.clock = Clock(base)
        self.answers: Script[gateway.Plan] = Script(chance)
        self.troubles: Script[notices.Plan] = Script(chance)
        self.ledger = Ledger(self.clock, contract)
        self.gateway = gateway.Gateway(contract, self.ledger, self.answers, chance)
        self.sender = Sender(contract, self.troubles, self._look_at, limit)
        self.mailbox = Mailbox(contract, self.clock)
        self.words = Words()
        self.ledger.listeners.append(self._tell_shop)
        self.ledger.watchers.append(self.mailbox.tell)
        #: Where browsers reach the pages, without a slash at the end.
        self.base_url = NOWHERE
        #: Waits some seconds, or until the sandbox stops.
        self.wait: Callable[[float], object] = _nothing
        #: Puts the contract back to what it was at first.
        self.restore: Callable[[], object] = lambda: None

    def receive(self, content_type: str, body: bytes) -> gateway.Reply:
        """Take one POST; its notices are held until `after_answer`."""
        reply = self.gateway.receive(content_type, body, self.slip_address)
        logger.info("application: %s", reply.note, extra={"action": "apply", "order_no": reply.order_no})
        return reply

    def before_answer(self, reply: gateway.Reply) -> None:
        """Send the notice now if it is to overtake the answer; else give it its place."""
        if reply.plan.notice_first:
            self.sender.release(reply.order_no)
            self.sender.settle(self.sender.limit, reply.order_no)
        self.sender.line_up(reply.order_no)

    def after_answer(self, reply: gateway.Reply) -> None:
        """Let the notices go."""
        self.sender.release(reply.order_no)

    def slip_address(self, order_no: str) -> str:
        return f"{self.base_url}{SLIP}?order_no={order_no}"

    @property
    def scripts(self) -> dict[str, Script[Any]]:
        """What is to go wrong, by what it happens to."""
        return {"answers": self.answers, "notices": self.troubles}

    def faults_off(self) -> None:
        """Let everything go well from now on."""
        self.answers.clear()
        self.troubles.clear()

    def reset(self) -> None:
        """Forget every application, call, mail and fault; bring the clock back, and the contract as it was."""
        self.faults_off()
        self.sender.clear()
        self.clock.reset()
        self.ledger.clear()
        self.mailbox.clear()
        self.words.clear()
        self.restore()

    def _tell_shop(self, application: SimulatedApplication, status: Status, *, held: bool) -> None:
        self.sender.put(self._notice(application, status), self.clock.now(), held=held)

    def _notice(self, application: SimulatedApplication, status: Status) -> Notice:
        return Notice(
            status=status,
            clientip=self.contract.clientip,
            money=application.money,
            username=application.username,
            telno=application.telno,
            email=application.email,
            sendid=application.sendid,
            sendpoint=application.sendpoint,
            order_no=application.order_no,
            pay_cvs=application.store,
            pay_no1=application.pay_no1,
            pay_no2=application.pay_no2,
            pay_limit=application.pay_limit,
            error_code=application.error_code,
        )

    def _look_at(self, notice: Notice, call: Call) -> None:
        """Mail the shop about a call that failed; send it again if it timed out and the shop wants that."""
        if call.delivered or call.failure == notices.Failure.DROPPED:
            return
        logger.info("notice %s: %s", call.status, call.answer or call.failure, extra={"action": "call"})
        with contextlib.suppress(UnknownApplication):  # everything has just been forgotten
            self.mailbox.tell_failure(self.ledger.get(call.order_no), call)
        if call.timed_out and call.attempt <= self.contract.retries:
            later = self.clock.now() + timedelta(minutes=self.contract.retry_minutes)
            self.clock.at(later, lambda: self._try_again(notice, later, call.attempt + 1))

    def _try_again(self, notice: Notice, at: datetime, attempt: int) -> None:
        with contextlib.suppress(UnknownApplication):  # as above
            self.ledger.get(notice.order_no)
            self.sender.put(notice, at, attempt=attempt)
