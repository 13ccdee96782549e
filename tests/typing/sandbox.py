"""A test suite on the sandbox as a shop's author would write it: it is never run, it only has to type-check.

A line that must *not* type-check says so with ``type: ignore``; were it accepted, the unused ignore would be an error.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import requests
from flask import Flask

from flask_zeus_cvs import Store
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.simulator import (
    Call,
    Contract,
    Mail,
    MailKind,
    Method,
    Silent,
    SimulatedApplication,
    Simulator,
    Step,
    Switch,
    UnknownApplication,
    VerbRefused,
)


def make(clock: datetime) -> Simulator:
    return Simulator(
        "http://127.0.0.1:5000/zeus-cvs/callback",
        listen=True,
        port=0,
        clientip="1234567890",
        testid="12345678",
        host="127.0.0.1",
        allow_remote=False,
        public_url=None,
        notice_timeout=0.5,
        clock=lambda: clock,
        smtp="127.0.0.1:1025",
        seed=7,
    )


def test_with_sockets(zeus_simulator: Simulator) -> None:
    zeus_simulator.notify = None
    address: str = zeus_simulator.endpoint + zeus_simulator.url
    del address
    with zeus_simulator as zeus:
        order_no: str = zeus.applications[-1].order_no
        paid: SimulatedApplication = zeus.pay(order_no)
        status: Status | Silent = paid.status
        steps: tuple[Step, ...] = paid.history
        del status, steps
    zeus_simulator.settle(timeout=5)
    zeus_simulator.reset()


def test_without_sockets(app: Flask, zeus_simulator_in_process: Simulator) -> None:
    zeus = zeus_simulator_in_process
    app.config["ZEUS_CVS_TRANSPORT"] = zeus.adapter()
    zeus.attach(app, "/zeus-cvs/callback", remote_addr="127.0.0.1", headers={"X-Forwarded-For": "192.0.2.1"})
    session = requests.Session()
    session.mount("https://", zeus.adapter())


def test_time(zeus_simulator: Simulator) -> None:
    now: datetime = zeus_simulator.now
    zeus_simulator.forward("+1 hour")
    zeus_simulator.forward(timedelta(days=1))
    zeus_simulator.forward(days=3, minutes=0.5)
    zeus_simulator.forward_to(now + timedelta(days=9))
    zeus_simulator.forward_to(datetime(2099, 1, 1, tzinfo=UTC))
    zeus_simulator.next_day()
    zeus_simulator.forward_to_deadline("1")


def test_verbs(zeus_simulator: Simulator) -> None:
    try:
        zeus_simulator.confirm("1")
        zeus_simulator.cancel("1")
        zeus_simulator.expire("1")
        zeus_simulator.reissue("1")
        zeus_simulator.resend("1", Status.PAYMENT_RECEIVED)
    except UnknownApplication as unknown:
        raise LookupError(unknown.order_no) from unknown
    except VerbRefused as refused:
        raise ValueError(refused.reason, refused.verb) from refused
    calls: list[Call] = [*zeus_simulator.calls, *zeus_simulator.calls_for("1")]
    mails: list[Mail] = [mail for mail in zeus_simulator.mails if mail.kind is MailKind.CUSTOMER]
    answers: list[int | None] = [call.answer for call in calls]
    texts: list[str] = [mail.text for mail in mails]
    del answers, texts


def test_trouble(zeus_simulator: Simulator) -> None:
    zeus_simulator.answer_next("lost", times=2, delay=0.5)
    zeus_simulator.answer_next(error_code="0008")
    zeus_simulator.answer_next(body=b"", status=503, registered=True)
    with zeus_simulator.answer_while("never", share=0.1, crlf=True) as switch:
        assert switch.share
    zeus_simulator.notify_next("delay", seconds=2, times=3)
    notices = zeus_simulator.notify_while("repeat", share=0.5)
    assert isinstance(notices, Switch)
    notices.off()
    zeus_simulator.faults_off()


def test_contract(zeus_simulator: Simulator) -> None:
    contract: Contract = zeus_simulator.contract
    contract.stores = (Store.LAWSON,)
    contract.method = Method.POST
    contract.on_request = frozenset({Status.EXPIRED})
    contract.mails_off = frozenset({MailKind.CUSTOMER})
    contract.confirm_after_days = {Store.LAWSON: 1}
    contract.change({"retries": 2, "parameters": "status,order_no"})


def mistakes(zeus: Simulator) -> None:
    Simulator("http://127.0.0.1/", False)  # type: ignore[call-arg]
    zeus.answer_next("lost", late=3)  # type: ignore[call-arg]
    zeus.answer_next(delay="3")  # type: ignore[arg-type]
    zeus.notify_next("delay", 3)  # type: ignore[call-arg]
    zeus.forward(3)  # type: ignore[arg-type]
    zeus.forward(days="3")  # type: ignore[arg-type]
    zeus.forward_to("2026-12-01")  # type: ignore[arg-type]
    zeus.resend("1", "04")  # type: ignore[arg-type]
    zeus.applications[0].status = Status.EXPIRED  # type: ignore[misc]
    zeus.contract.method = "POST"  # type: ignore[assignment]
    zeus.contract.on_request = {"03"}  # type: ignore[assignment]
    zeus.now = datetime.now(UTC)  # type: ignore[misc]
