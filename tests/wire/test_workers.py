"""The checkout under a real server with several workers: one POST per payment, and no waiting in line."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from flask_zeus_cvs.simulator import Simulator
from tests.conftest import CLIENT_IP
from tests.servers import Server
from tests.wire import raw_server
from tests.wire.sites import PATIENCE, at_once, serving, until


@pytest.fixture
def settings(database_uri: str, zeus_simulator: Simulator) -> dict[str, Any]:
    return {
        "SQLALCHEMY_DATABASE_URI": database_uri,
        "ZEUS_CVS_CLIENT_IP": CLIENT_IP,
        "ZEUS_CVS_ENDPOINT": zeus_simulator.endpoint,
        "ZEUS_CVS_REQUIRE_HTTPS": False,
    }


def test_two_workers_eight_clicks_one_post(
    tmp_path: Path, zeus_simulator: Simulator, settings: dict[str, Any], closing: ExitStack
) -> None:
    """Law 3: eight clicks land on two processes while ZEUS takes a second: one application, one answer for all."""
    site = closing.enter_context(serving(tmp_path, "-w", "2", "--threads", "4", **settings))
    order = site.sell("A-1")
    browser, fields = site.opened(order)
    zeus_simulator.answer_next(delay=1.0)

    def click() -> requests.Response:
        return requests.post(
            site.url + order["checkout"],
            data=fields,
            cookies=browser.cookies.get_dict(),
            allow_redirects=False,
            timeout=30,
        )

    answers = at_once([click] * 8)
    assert [answer.status_code for answer in answers] == [303] * 8
    assert {answer.headers["Location"] for answer in answers} == {order["result"]}
    assert len(zeus_simulator.applications) == 1
    assert site.orders() == {"A-1": ["awaiting_payment", 0]}


def test_twelve_checkouts_do_not_wait_in_line(
    tmp_path: Path, zeus_simulator: Simulator, settings: dict[str, Any], closing: ExitStack
) -> None:
    """Law 2: with two database connections for twelve customers and a gateway that takes a second, nobody waits."""
    pool = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 10}
    site = closing.enter_context(
        serving(tmp_path, "-w", "1", "--threads", "16", SQLALCHEMY_ENGINE_OPTIONS=pool, **settings)
    )
    opened = []
    for number in range(12):
        order = site.sell(f"A-{number}")
        opened.append((order, *site.opened(order)))
    zeus_simulator.answer_next(delay=1.0, times=12)

    def apply(order: dict[str, str], browser: requests.Session, fields: dict[str, str]) -> requests.Response:
        return browser.post(site.url + order["checkout"], data=fields, allow_redirects=False, timeout=60)

    began = time.monotonic()
    answers = at_once([lambda each=each: apply(*each) for each in opened])  # type: ignore[misc]
    took = time.monotonic() - began
    assert [answer.status_code for answer in answers] == [303] * 12
    assert len(zeus_simulator.applications) == 12
    assert took < 6, "twelve seconds would be one after the other"


def test_two_hundred_who_wait_hold_no_database_connection(
    tmp_path: Path, postgresql: Server, closing: ExitStack
) -> None:
    """Law 2: while ZEUS keeps 200 customers of one worker waiting, its two database connections are idle in the pool."""
    uri = postgresql.create()
    closing.callback(postgresql.drop, uri)
    answers = threading.Event()

    def talk(zeus: raw_server.Server, peer: raw_server.Peer) -> None:
        while (request := peer.read_request()) is not None:
            zeus.requests.append(request)
            answers.wait(PATIENCE)
            peer.send(raw_server.echo(request))

    zeus = closing.enter_context(raw_server.Server(talk))
    settings: dict[str, Any] = {
        "SQLALCHEMY_DATABASE_URI": uri,
        "SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": 2, "max_overflow": 0, "pool_timeout": PATIENCE},
        "ZEUS_CVS_CLIENT_IP": CLIENT_IP,
        "ZEUS_CVS_ENDPOINT": zeus.url,
        "ZEUS_CVS_READ_TIMEOUT": 25,
        "ZEUS_CVS_REQUIRE_HTTPS": False,
        "ZEUS_CVS_DELIVERY": "deferred",  # nobody but the customers uses the database
    }
    site = closing.enter_context(serving(tmp_path, "--threads", "210", **settings))
    orders = [site.sell(f"A-{number}") for number in range(200)]
    browser, fields = site.opened(orders[0])

    def apply(order: dict[str, str]) -> int:
        return requests.post(
            site.url + order["checkout"],
            data=fields,
            cookies=browser.cookies.get_dict(),
            allow_redirects=False,
            timeout=PATIENCE,
        ).status_code

    customers = closing.enter_context(ThreadPoolExecutor(200))
    closing.callback(answers.set)
    waiting = [customers.submit(apply, order) for order in orders]
    until(lambda: len(zeus.requests), 200)
    assert site.connections() == 0
    assert set(states(uri)) == {"idle"}

    answers.set()
    assert [each.result(PATIENCE) for each in waiting] == [303] * 200
    assert len(zeus.requests) == 200
    assert set(map(tuple, site.orders().values())) == {("awaiting_payment", 0)}


def states(uri: str) -> list[str]:
    """What each of the others' connections to a PostgreSQL database does."""
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    others = sa.text(
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with engine.connect() as connection:
        return list(connection.scalars(others))


def test_notices_in_earnest(
    tmp_path: Path, zeus_simulator: Simulator, settings: dict[str, Any], closing: ExitStack
) -> None:
    """Checkout, 01, 04 and 05 over real sockets, with background delivery in two workers: shipped once."""
    site = closing.enter_context(serving(tmp_path, "-w", "2", **settings))
    zeus_simulator.notify = f"{site.url}/zeus-cvs/callback"
    order = site.sell("A-1")
    browser, fields = site.opened(order)
    page = browser.post(site.url + order["checkout"], data=fields, timeout=30)
    (application,) = zeus_simulator.applications
    assert application.pay_no1 in page.text
    assert application.pay_no2 in page.text
    zeus_simulator.pay(application.order_no)
    zeus_simulator.settle()
    until(site.orders, {"A-1": ["received", 1]})
    for _ in range(3):
        zeus_simulator.resend(application.order_no)
    zeus_simulator.confirm(application.order_no)
    zeus_simulator.settle()
    until(site.orders, {"A-1": ["confirmed", 1]})
    assert {call.answer for call in zeus_simulator.calls} == {200}


def test_an_answer_that_was_lost_is_recovered(
    tmp_path: Path, zeus_simulator: Simulator, settings: dict[str, Any], closing: ExitStack
) -> None:
    """Law 4: the slip exists, its answer is cut; the customer is told to wait, and the 01 brings the numbers."""
    site = closing.enter_context(serving(tmp_path, "-w", "2", **settings))
    order = site.sell("A-1")
    browser, fields = site.opened(order)
    zeus_simulator.answer_next("lost")
    page = browser.post(site.url + order["checkout"], data=fields, timeout=60)
    (application,) = zeus_simulator.applications
    assert "確認" in page.text
    assert application.pay_no1 not in page.text
    zeus_simulator.notify = f"{site.url}/zeus-cvs/callback"
    zeus_simulator.resend(application.order_no)
    zeus_simulator.settle()
    assert application.pay_no1 in requests.get(site.url + order["result"], timeout=30).text
    assert site.orders() == {"A-1": ["awaiting_payment", 0]}


def test_odd_notices_over_real_sockets(
    tmp_path: Path, zeus_simulator: Simulator, settings: dict[str, Any], closing: ExitStack
) -> None:
    """Overtaking, re-issue, wrong amount, unknown order, unreadable: each answered as promised, none ignored."""
    site = closing.enter_context(serving(tmp_path, "-w", "2", "--threads", "2", **settings))
    zeus_simulator.notify = f"{site.url}/zeus-cvs/callback"

    zeus_simulator.answer_next(notice_first=True)
    _, page = site.apply("overtaken")
    first = zeus_simulator.applications[-1]
    assert first.pay_no1 in page
    zeus_simulator.settle()
    assert site.orders()["overtaken"] == ["awaiting_payment", 0]

    order, _ = site.apply("reissued")
    old = zeus_simulator.applications[-1]
    new = zeus_simulator.reissue(old.order_no)
    zeus_simulator.settle()
    assert new.pay_no1 in requests.get(site.url + order["result"], timeout=30).text
    zeus_simulator.pay(new.order_no)
    zeus_simulator.settle()
    until(lambda: site.orders()["reissued"], ["received", 1])
    zeus_simulator.pay(old.order_no)
    zeus_simulator.settle()
    until(site.reviews, ["paid_twice"])

    assert site.notify(f"order_no={first.order_no}&status=04&money=1") == (200, "OK")
    assert site.notify("order_no=9999-9&status=04&money=3000") == (200, "OK")
    assert site.notify("order_no=9999-9&status=04&money=3000") == (200, "OK")
    assert site.notify("status=04")[0] == 400
    assert site.reviews() == ["paid_twice", "wrong_amount", "unknown_order", "unreadable"]
    assert site.orders()["overtaken"] == ["awaiting_payment", 0]
    assert requests.head(f"{site.url}/zeus-cvs/callback?x=1", timeout=30).status_code == 405


def test_refused_sources_over_real_sockets(
    tmp_path: Path, zeus_simulator: Simulator, settings: dict[str, Any], closing: ExitStack
) -> None:
    """Law 10: a wrong address, whatever its headers say, a wrong token and no token get 403, and nothing is kept."""
    good = "order_no=9999-9&status=04&money=3000"
    forged = {"X-Forwarded-For": "192.0.2.10", "X-Real-IP": "192.0.2.10", "Forwarded": "for=192.0.2.10"}
    elsewhere = serving(tmp_path, **settings, ZEUS_CVS_CALLBACK_IPS=["192.0.2.10", "2001:db8::/32"])
    with elsewhere as site:
        assert site.notify(good)[0] == 403
        assert site.notify(good, **forged)[0] == 403
        assert site.reviews() == []
    with serving(tmp_path, **settings, ZEUS_CVS_CALLBACK_TOKEN="right-token") as site:
        assert site.notify(good)[0] == 404
        assert site.notify(good, "/zeus-cvs/callback/wrong-token")[0] == 403
        assert site.reviews() == []
        assert site.notify(good, "/zeus-cvs/callback/right-token") == (200, "OK")
        assert site.reviews() == ["unknown_order"]
