"""The callback in a whole shop: who is let in, what is read, and what is answered."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import request
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import OperationalError
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_zeus_cvs import PendingWorkError, State
from flask_zeus_cvs.models import Notification, Review, ReviewReason, Verdict
from flask_zeus_cvs.payments import Payments
from flask_zeus_cvs.receiving import MAX_RAW
from tests.conftest import Shop, ShopMaker
from tests.visitors import Zeus

#: 04 for the slip of `Shop.awaiting`, with a name in Shift_JIS (ヤマダ　タロウ), lower and upper case mixed.
PAID = (
    b"clientip=1234567890&money=3000&username=%83%84%83%7d%83_%81%40%83%5E%83%8d%83E"
    b"&telno=09012345678&email=taro%40example.com&sendid=&sendpoint=&order_no=0001-1&pay_cvs=D002"
    b"&pay_no1=12345678&pay_no2=987654&pay_limit=20991231&status=04&error_code="
)
SECRETS = ("ヤマダ", "%83%84", "09012345678", "taro@example.com", "taro%40example.com")


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)


# What is let in


def test_notice_by_get_is_taken(shop: Shop) -> None:
    """A notice in the query is stored as it came, applied, and answered 200 OK in plain text."""
    payment, _ = shop.awaiting()
    answer = Zeus(shop.app).call(PAID)

    assert (answer.status_code, answer.text, answer.mimetype) == (200, "OK", "text/plain")
    assert answer.headers["Cache-Control"] == "no-store"
    (notification,) = shop.all(Notification)
    assert notification.raw == PAID
    assert notification.verdict is Verdict.APPLIED
    assert payment.state is State.RECEIVED


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_notice_by_post_is_taken(sqlite_shop: Shop, content_type: str) -> None:
    """A notice in the body is taken as its raw bytes, whatever type it claims; a query of the URL's own is not it."""
    payment, _ = sqlite_shop.awaiting()
    answer = Zeus(sqlite_shop.app).post(
        PAID, query_string="shop=1&status=06&order_no=0001-1", content_type=content_type
    )

    assert (answer.status_code, answer.text) == (200, "OK")
    assert sqlite_shop.all(Notification)[0].raw == PAID
    assert payment.state is State.RECEIVED


def test_a_query_of_the_registered_url_is_ignored(sqlite_shop: Shop) -> None:
    """The registered URL may carry parameters of its own."""
    payment, _ = sqlite_shop.awaiting()

    assert Zeus(sqlite_shop.app).call(b"shop=1&lang=ja&" + PAID).status_code == 200
    assert payment.state is State.RECEIVED


def test_a_repeat_is_answered_like_the_first(sqlite_shop: Shop) -> None:
    """A call that comes twice is OK twice and counts once."""
    sqlite_shop.awaiting()
    zeus = Zeus(sqlite_shop.app)

    assert [zeus.call(PAID).status_code, zeus.post(PAID).status_code] == [200, 200]
    (notification,) = sqlite_shop.all(Notification)
    assert notification.times == 2


@pytest.mark.parametrize(
    "query", [b"", b"order_no=0001-1", b"status=99&order_no=0001-1", b"status=04", b"%ff%fe=&&&"]
)
def test_notice_that_cannot_be_understood(shop: Shop, query: bytes) -> None:
    """400; the bytes are kept, a person must look, and the payment stays as it was."""
    payment, _ = shop.awaiting()
    answer = Zeus(shop.app).call(query)

    assert (answer.status_code, answer.mimetype) == (400, "text/plain")
    (notification,) = shop.all(Notification)
    assert (notification.raw, notification.verdict) == (query, Verdict.UNREADABLE)
    (review,) = shop.all(Review)
    assert review.reason is ReviewReason.UNREADABLE
    assert payment.state is State.AWAITING_PAYMENT


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(sqlite_shop: Shop, method: str) -> None:
    """Only GET and POST can carry a notice: HEAD, too, is 405 and stores nothing."""
    answer = Zeus(sqlite_shop.app).ask(method, query_string=PAID.decode())

    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    assert sqlite_shop.all(Notification) == []


# Who is refused


class Unread(io.BytesIO):
    """A body that must not be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise AssertionError("the body was read")


@pytest.mark.parametrize(
    "address",
    ["192.0.2.1", "::1", "::ffff:192.0.2.1", "2001:db8::1", "", None, "unix:", "127.0.0.1, 192.0.2.1"],
)
def test_other_sources_are_refused_unread(
    sqlite_shop: Shop, caplog: pytest.LogCaptureFixture, address: str | None
) -> None:
    """Law 10: from anywhere else 403, in plain text; nothing is read, nothing stored, nothing of it logged."""
    sqlite_shop.awaiting()
    zeus = Zeus(sqlite_shop.app, address=address)
    overrides = {"wsgi.input": Unread(), "CONTENT_LENGTH": str(len(PAID))}
    by_post = zeus.post(b"", environ_overrides=overrides)

    for answer in (zeus.call(PAID), by_post):
        assert (answer.status_code, answer.mimetype) == (403, "text/plain")
    assert sqlite_shop.all(Notification) == []
    assert "ZEUS_CVS_CALLBACK_IPS" in caplog.text or "no usable address" in caplog.text
    assert not any(secret in logged(caplog) for secret in SECRETS)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP"])
def test_no_header_makes_a_source(make_shop: ShopMaker, header: str) -> None:
    """What a caller writes about itself lets nobody in."""
    shop = make_shop(CALLBACK_IPS=["192.0.2.10"])
    zeus = Zeus(shop.app, address="203.0.113.7")

    assert zeus.call(PAID, headers={header: "192.0.2.10"}).status_code == 403


def test_a_proxy_is_the_hosts_to_configure(make_shop: ShopMaker) -> None:
    """With the host's ProxyFix the address behind the proxy counts, IPv4 mapped into IPv6 included."""
    shop = make_shop(CALLBACK_IPS=["192.0.2.10"])
    shop.app.wsgi_app = ProxyFix(shop.app.wsgi_app)  # type: ignore[method-assign]
    zeus = Zeus(shop.app, address="127.0.0.1")

    assert zeus.call(PAID, headers={"X-Forwarded-For": "203.0.113.9, ::ffff:192.0.2.10"}).status_code == 200
    assert zeus.call(PAID, headers={"X-Forwarded-For": "192.0.2.10, 203.0.113.9"}).status_code == 403


def test_unset_addresses_refuse_everyone_loudly(
    make_shop: ShopMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """Without ZEUS_CVS_CALLBACK_IPS every call is 403, and an error in the log names the key and the cure."""
    shop = make_shop(CALLBACK_IPS=None)

    assert Zeus(shop.app).call(PAID).status_code == 403
    assert shop.all(Notification) == []
    (record,) = [each for each in caplog.records if each.name.startswith("flask_zeus_cvs.web")]
    assert record.levelno == logging.ERROR
    assert "ZEUS_CVS_CALLBACK_IPS is not set" in record.getMessage()


def test_address_is_escaped_in_the_log(sqlite_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A foreign value cannot write a line of its own."""
    Zeus(sqlite_shop.app, address="x\nERROR everything is paid").call(PAID)

    assert "\nERROR everything" not in caplog.text
    assert r"'x\nERROR everything is paid'" in caplog.text


def test_token_is_part_of_the_address(make_shop: ShopMaker, caplog: pytest.LogCaptureFixture) -> None:
    """With tokens the bare URL does not exist, each configured token passes, any other is 403; none is ever logged."""
    caplog.set_level(logging.DEBUG)
    shop = make_shop(CALLBACK_TOKEN=["new-secret", "old-secret"])
    shop.awaiting()
    zeus = Zeus(shop.app)
    urls = ["", "/new-secret", "/old-secret", "/wrong-secret", "/new-secre", "/%E3%81%82", "/new-secret/x"]

    codes = [zeus.call(PAID, url=f"/zeus-cvs/callback{url}").status_code for url in urls]

    assert codes == [404, 200, 200, 403, 403, 403, 404]
    assert zeus.post(PAID, url="/zeus-cvs/callback/wrong-secret").status_code == 403
    assert shop.all(Notification)[0].times == 2
    assert "secret" not in logged(caplog)


def test_without_tokens_there_is_only_the_bare_address(sqlite_shop: Shop) -> None:
    """A segment that nobody configured leads nowhere."""
    assert Zeus(sqlite_shop.app).call(PAID, url="/zeus-cvs/callback/x").status_code == 404


def test_right_token_from_a_wrong_address_is_refused(make_shop: ShopMaker) -> None:
    """A token is no substitute for the address."""
    shop = make_shop(CALLBACK_TOKEN="secret")

    assert Zeus(shop.app, "/zeus-cvs/callback/secret", "192.0.2.1").call(PAID).status_code == 403


@pytest.mark.parametrize(
    ("base_url", "agent", "code"),
    [
        ("http://localhost", "The  Agent", 200),
        ("http://localhost", "The Agent", 200),
        ("http://localhost", "Another", 403),
        ("http://localhost:8000", "Another", 200),
        ("https://localhost", "Another", 200),
    ],
)
def test_agent_is_checked_on_port_80_only(make_shop: ShopMaker, base_url: str, agent: str, code: int) -> None:
    """On plain http to port 80 the sender must call itself as configured; elsewhere it has no name."""
    shop = make_shop(CALLBACK_USER_AGENT="The   Agent")
    shop.awaiting()
    answer = Zeus(shop.app).call(PAID, base_url=base_url, headers={"User-Agent": agent})

    assert answer.status_code == code


# Hostile volume


class Effort:
    """What was asked of any database while a test ran: connections, and statements on them.

    A server of another test's, which a browser still looks at, answers in threads of its own.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self._here = threading.current_thread()

    def _note(self, what: str) -> None:
        thread = threading.current_thread()
        if thread is self._here or thread.name.startswith("zeus-cvs"):
            self.done.append(what)

    def connected(self, *_: Any) -> None:
        self._note("connect")

    def taken(self, *_: Any) -> None:
        self._note("checkout")

    def asked(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        self._note(statement)


@pytest.fixture
def effort() -> Iterator[Effort]:
    """Listens to every engine and pool of the process, whoever made it."""
    effort = Effort()
    listened = [
        (sa.pool.Pool, "connect", effort.connected),
        (sa.pool.Pool, "checkout", effort.taken),
        (sa.Engine, "before_cursor_execute", effort.asked),
    ]
    for target, event, listener in listened:
        listen(target, event, listener)
    yield effort
    for target, event, listener in listened:
        remove(target, event, listener)


TOKEN, AGENT = "right-token", "The Agent"
PERMITTED: dict[str, Any] = {"url": f"/zeus-cvs/callback/{TOKEN}", "headers": {"User-Agent": AGENT}}
MANY_MB = 64_000_000
REFUSED: dict[str, dict[str, Any]] = {
    "address": {"environ_overrides": {"REMOTE_ADDR": "192.0.2.1"}},
    "no_address": {"environ_overrides": {"REMOTE_ADDR": "unix:"}},
    "token": {"url": "/zeus-cvs/callback/wrong-token"},
    "user_agent": {"headers": {"User-Agent": "Another"}},
}


@pytest.fixture
def guarded_shop(make_shop: ShopMaker) -> Shop:
    """A shop as it runs in earnest, with every guard there is and the delivery in the background."""
    return make_shop(testing=False, DELIVERY="background", CALLBACK_TOKEN=TOKEN, CALLBACK_USER_AGENT=AGENT)


def refused(shop: Shop, reason: str, method: str, **request: Any) -> int:
    """Come with everything right but one thing."""
    how = {**PERMITTED, **REFUSED[reason]}
    overrides = {**how.pop("environ_overrides", {}), **request.pop("environ_overrides", {})}
    answer = Zeus(shop.app).ask(method, environ_overrides=overrides, **how, **request)
    return answer.status_code


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refused_call_costs_no_database_work(guarded_shop: Shop, effort: Effort, reason: str) -> None:
    """Law 10: no connection is taken, no statement run, no thread woken, and no byte of a body read."""
    guarded_shop.awaiting()
    guarded_shop.payments._outbox.stop()
    guarded_shop.db.session.remove()
    guarded_shop.db.engine.dispose()
    threads = threading.active_count()
    effort.done.clear()
    huge = {"wsgi.input": Unread(), "CONTENT_LENGTH": str(MANY_MB)}
    endless = {"wsgi.input": Unread(), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}

    codes = [
        refused(guarded_shop, reason, "GET", query_string=PAID.decode()),
        refused(guarded_shop, reason, "GET", query_string="x" * 1_000_000),
        refused(guarded_shop, reason, "POST", environ_overrides=huge),
        refused(guarded_shop, reason, "POST", environ_overrides=endless),
    ]

    assert codes == [403] * 4
    assert effort.done == []
    assert threading.active_count() == threads


def test_a_permitted_call_is_seen_to_work(guarded_shop: Shop, effort: Effort) -> None:
    """The measure of the test before sees what a call costs that is let in."""
    guarded_shop.awaiting()
    effort.done.clear()

    assert Zeus(guarded_shop.app).call(PAID, **PERMITTED).status_code == 200
    assert "checkout" in effort.done
    assert any("zeus_cvs_notifications" in each for each in effort.done)


def test_a_head_request_costs_no_database_work(guarded_shop: Shop, effort: Effort) -> None:
    """405 comes before everything else."""
    guarded_shop.awaiting()
    guarded_shop.payments._outbox.stop()
    effort.done.clear()

    assert Zeus(guarded_shop.app).ask("HEAD", **PERMITTED).status_code == 405
    assert effort.done == []


def test_ten_thousand_refused_calls_are_a_handful_of_lines(
    sqlite_shop: Shop, effort: Effort, caplog: pytest.LogCaptureFixture
) -> None:
    """A flood fills no disk, and what is refused meanwhile for another reason is told of."""
    sqlite_shop.db.session.remove()
    effort.done.clear()
    flood = EnvironBuilder("/zeus-cvs/callback", query_string="x" * 5_000).get_environ()
    flood.update(REMOTE_ADDR="192.0.2.1", HTTP_USER_AGENT="x" * 1_000)
    codes = {run_wsgi_app(sqlite_shop.app, dict(flood))[1] for _ in range(10_000)}
    Zeus(sqlite_shop.app, address="unix:").call(PAID)

    assert codes == {"403 FORBIDDEN"}
    assert effort.done == []
    lines = [each.getMessage() for each in caplog.records if each.name.startswith("flask_zeus_cvs")]
    assert 6 <= len(lines) <= 8
    assert "no usable address" in lines[-1]
    assert sum(map(len, lines)) < 2_000


def test_a_shop_that_nobody_configured_says_so_at_first_and_not_for_ever(
    make_shop: ShopMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of the first calls is an error with the cure; then whoever knocks cannot fill the log with it."""
    shop = make_shop(CALLBACK_IPS=None)
    zeus = Zeus(shop.app)
    for _ in range(200):
        zeus.call(PAID)

    levels = [each.levelno for each in caplog.records if each.name.startswith("flask_zeus_cvs.web")]
    assert set(levels) == {logging.ERROR}
    assert 5 <= len(levels) <= 7


# How much is read


def test_a_notice_of_the_greatest_size_is_taken(sqlite_shop: Shop) -> None:
    """Exactly the limit passes, by either method."""
    sqlite_shop.awaiting()
    longest = PAID + b"&x=" + b"x" * (MAX_RAW - len(PAID) - 3)

    assert Zeus(sqlite_shop.app).post(longest).status_code == 200
    assert Zeus(sqlite_shop.app).call(longest).status_code == 200


@pytest.mark.parametrize("size", [MAX_RAW + 1, 1_000_000])
def test_of_a_longer_one_the_beginning_is_kept(sqlite_shop: Shop, size: int) -> None:
    """A body over the limit is answered 400, not read to its end, and changes nothing; its beginning is kept."""
    body = io.BytesIO(PAID + b"&x=" + b"x" * size)
    overrides = {"wsgi.input": body, "CONTENT_LENGTH": str(len(body.getvalue()))}

    assert Zeus(sqlite_shop.app).post(b"", environ_overrides=overrides).status_code == 400
    assert body.tell() == MAX_RAW + 1
    assert Zeus(sqlite_shop.app).call(PAID + b"&x=" + b"x" * size).status_code == 400
    (row,) = sqlite_shop.all(Notification)
    assert (row.verdict, len(row.raw), row.times) == ("unreadable", MAX_RAW, 2)
    assert [review.reason for review in sqlite_shop.all(Review)] == ["unreadable"]


class Trickle(io.BytesIO):
    """A body that comes in small pieces, as from a slow network."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(7, size if size and size > 0 else 7))


def test_a_body_in_pieces_is_read_whole(sqlite_shop: Shop) -> None:
    """A server may hand over less than asked for; a chunked body has no length."""
    sqlite_shop.awaiting()
    zeus = Zeus(sqlite_shop.app)
    pieces = {"wsgi.input": Trickle(PAID), "CONTENT_LENGTH": str(len(PAID))}
    chunked = {"wsgi.input": Trickle(PAID), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}

    assert zeus.post(b"", environ_overrides=pieces).status_code == 200
    assert zeus.post(b"", environ_overrides=chunked).status_code == 200
    (notification,) = sqlite_shop.all(Notification)
    assert (notification.raw, notification.times) == (PAID, 2)


def test_a_body_that_was_cut_off_is_not_taken(sqlite_shop: Shop) -> None:
    """Half a notice might say something else: 400, nothing changed, and a person is told."""
    payment, _ = sqlite_shop.awaiting()
    overrides = {"wsgi.input": io.BytesIO(PAID), "CONTENT_LENGTH": str(len(PAID) + 1)}

    assert Zeus(sqlite_shop.app).post(b"", environ_overrides=overrides).status_code == 400
    assert sqlite_shop.state(payment) == "awaiting_payment"
    assert [review.reason for review in sqlite_shop.all(Review)] == ["unreadable"]


class Broken(io.BytesIO):
    """A body that ends in an error of the server's own, which quotes it."""

    def read(self, size: int | None = -1, /) -> bytes:
        more = super().read(size)
        if not more:
            raise RuntimeError("invalid chunk size: telno=09012345678")
        return more


def test_a_body_that_the_server_cannot_take_apart(
    sqlite_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Each server raises errors of its own kind: 400, what came is kept, and nothing of it is logged."""
    payment, _ = sqlite_shop.awaiting()
    overrides = {"wsgi.input": Broken(PAID), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}

    assert Zeus(sqlite_shop.app).post(b"", environ_overrides=overrides).status_code == 400
    assert sqlite_shop.state(payment) == "awaiting_payment"
    assert [each.raw for each in sqlite_shop.all(Notification)] == [PAID]
    assert not any(secret in logged(caplog) for secret in SECRETS)


def test_a_lower_limit_of_the_hosts_is_400_too(sqlite_shop: Shop) -> None:
    """A host's MAX_CONTENT_LENGTH below the notice's size is answered in our way."""
    sqlite_shop.app.config["MAX_CONTENT_LENGTH"] = 10

    assert Zeus(sqlite_shop.app).post(PAID).status_code == 400


# A host that is in the way


def test_host_that_reads_the_form_first_does_no_harm(sqlite_shop: Shop) -> None:
    """A before_request function that touches request.form comes after us: the bytes are safe."""
    sqlite_shop.awaiting()
    seen: list[Any] = []

    @sqlite_shop.app.before_request
    def look() -> None:
        seen.append((request.form.to_dict(), request.get_data()))

    assert Zeus(sqlite_shop.app).post(PAID).status_code == 200
    assert sqlite_shop.all(Notification)[0].raw == PAID
    assert seen == [({}, b"")]


def test_refusals_come_before_the_host_and_past_its_error_pages(sqlite_shop: Shop) -> None:
    """A refused caller reaches none of the host's before_request functions and none of its error pages."""
    reached: list[str] = []
    sqlite_shop.app.before_request(lambda: reached.append("host"))
    sqlite_shop.app.register_error_handler(Exception, lambda error: ("shop's page", 200))

    assert Zeus(sqlite_shop.app, address="192.0.2.1").call(PAID).status_code == 403
    assert Zeus(sqlite_shop.app).ask("HEAD").status_code == 405
    assert reached == []


# When it cannot be stored


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that fails the way databases do: with the row in the message."""

    def fail(*_: Any) -> None:
        parameters = {"username": "ヤマダ　タロウ", "telno": "09012345678"}
        statement = "INSERT … 'taro@example.com'"
        cause = OSError(statement)
        raise OperationalError(statement, parameters, cause) from cause

    monkeypatch.setattr(Payments, "receive", fail)


@pytest.mark.usefixtures("broken")
def test_notice_that_cannot_be_stored_is_500_and_named(
    sqlite_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """500, so that ZEUS mails the shop; the log names order and status for resending, and no customer."""
    sqlite_shop.app.config["PROPAGATE_EXCEPTIONS"] = True
    answer = Zeus(sqlite_shop.app).call(PAID)

    assert (answer.status_code, answer.mimetype) == (500, "text/plain")
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "'0001-1'" in record.getMessage()
    assert "'04'" in record.getMessage()
    assert "(OperationalError from OSError)" in record.getMessage()
    assert "in fail" in record.getMessage()
    assert not any(secret in logged(caplog) + answer.text for secret in SECRETS)


@pytest.mark.usefixtures("broken")
def test_notice_that_can_neither_be_read_nor_stored(
    sqlite_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Even then the answer is 500, and the log has no word of it."""
    assert Zeus(sqlite_shop.app).call(b"status=zz&telno=09012345678").status_code == 500
    assert not any(secret in logged(caplog) for secret in SECRETS)


def test_our_own_errors_are_quoted(
    sqlite_shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of ours holds no personal data and tells the cure, so the log has it whole."""

    def refuse(*_: Any) -> None:
        raise PendingWorkError("Commit first.")

    monkeypatch.setattr(Payments, "receive", refuse)

    assert Zeus(sqlite_shop.app).call(PAID).status_code == 500
    assert "PendingWorkError: Commit first." in caplog.text


def test_callback_works_again_when_the_database_is_back(shop: Shop) -> None:
    """Without its tables the callback answers 500; staff resend the call afterwards, and it counts."""
    zeus = Zeus(shop.app)
    shop.db.drop_all()
    assert zeus.call(PAID).status_code == 500

    shop.db.session.remove()
    shop.db.create_all()
    payment, _ = shop.awaiting()
    assert zeus.call(PAID).status_code == 200
    assert payment.state is State.RECEIVED
