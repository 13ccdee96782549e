"""A host's global CSRFProtect and our own token: the form is protected once, the callback left alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]

from flask_zeus_cvs import State, ZeusCVS
from flask_zeus_cvs.web import wording
from tests.conftest import CLIENT_IP, Shop
from tests.visitors import FORM, Browser, Zeus, text_of

Maker = Callable[[str], Shop]


@pytest.fixture
def make_protected(tmp_path: Path) -> Iterator[Maker]:
    """Make shops with a CSRFProtect that is set up ``before`` or ``after`` us, or ``never``."""
    with ExitStack() as closing:

        def make(when: str) -> Shop:
            app = Flask(f"{__name__}.{when}", instance_path=str(tmp_path))
            app.config.update(
                TESTING=True,
                SECRET_KEY="not a secret",
                SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / when}.db",
                ZEUS_CVS_CLIENT_IP=CLIENT_IP,
                ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"],
            )
            if when == "before":
                CSRFProtect(app)
            db = SQLAlchemy(app)
            shop = Shop(app, db, ZeusCVS(app, db))
            if when == "after":
                CSRFProtect(app)
            app.add_url_rule("/contact", view_func=lambda: "sent", methods=["POST"], endpoint="contact")
            context = app.app_context()
            context.push()
            db.create_all()
            closing.callback(context.pop)
            closing.callback(db.engine.dispose)
            closing.callback(db.session.remove)
            return shop

        yield make


@pytest.fixture(params=["before", "after", "never"])
def protected(request: pytest.FixtureRequest, make_protected: Maker) -> Shop:
    return make_protected(request.param)


@pytest.mark.parametrize("base_url", ["http://localhost", "https://localhost"])
def test_good_form_passes(protected: Shop, base_url: str) -> None:
    """Our own token is enough, on https without a Referer, too."""
    browser, payment = Browser(protected.app), protected.payment()
    token = browser.token(payment, base_url=base_url)
    answer = browser.send(payment, {**FORM, "csrf_token": token, "amount": "3000"}, base_url=base_url)

    assert answer.status_code == 303
    assert len(protected.gateway.sent) == 1


@pytest.mark.parametrize("token", [None, "", "forged"])
def test_form_without_a_good_token_comes_back(protected: Shop, token: str | None) -> None:
    """Our page, with a new token and the input kept, instead of Flask-WTF's bare 400; nothing is sent."""
    browser, payment = Browser(protected.app), protected.payment()
    answer = browser.apply(payment, csrf_token=token)

    assert answer.status_code == 422
    assert wording.STALE_FORM in text_of(answer)
    assert FORM["email"] in answer.text
    assert protected.gateway.sent == []

    fresh = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', answer.text)
    assert fresh is not None
    again = browser.send(payment, {**FORM, "csrf_token": fresh[1], "amount": "3000"})
    assert again.status_code == 303


def test_somebody_elses_token_is_no_good(protected: Shop) -> None:
    """A token belongs to the session in which its page was shown."""
    payment = protected.payment()
    stolen = Browser(protected.app).token(payment)
    answer = Browser(protected.app).apply(payment, csrf_token=stolen)

    assert answer.status_code == 422
    assert protected.gateway.sent == []


def test_old_page_is_explained(protected: Shop) -> None:
    """A form that was left open past the token's life costs the customer one more click, and no typing."""
    browser, payment = Browser(protected.app), protected.payment()
    token = browser.token(payment)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        answer = browser.send(payment, {**FORM, "csrf_token": token, "amount": "3000"})

    assert answer.status_code == 422
    assert wording.STALE_FORM in text_of(answer)
    assert "expired" not in text_of(answer)


def test_notice_by_post_needs_no_token(protected: Shop) -> None:
    """ZEUS has no token, and its body reaches us unread."""
    payment, _ = protected.awaiting()
    answer = Zeus(protected.app).post(b"status=04&order_no=0001-1&money=3000")

    assert answer.status_code == 200
    assert payment.state is State.RECEIVED


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_hosts_own_forms_stay_protected(make_protected: Maker, when: str) -> None:
    """Only our own routes are exempt, also after they have been used."""
    shop = make_protected(when)
    browser = Browser(shop.app)
    browser.apply(shop.payment())

    assert browser.http.post("/contact").status_code == 400


def test_a_host_that_reads_the_form_in_between(make_protected: Maker) -> None:
    """CSRFProtect and a before_request function that reads the form: the notice is whole all the same."""
    shop = make_protected("after")
    payment, _ = shop.awaiting()

    @shop.app.before_request
    def look() -> None:
        assert request.form.to_dict() == {}

    assert Zeus(shop.app).post(b"status=04&order_no=0001-1&money=3000").status_code == 200
    assert payment.state is State.RECEIVED


def test_two_apps_are_exempt_each_for_itself(make_protected: Maker) -> None:
    """Each app has a blueprint and a CSRFProtect of its own."""
    first, second = make_protected("before"), make_protected("after")
    for shop in (first, second):
        with shop.app.app_context():
            payment = shop.payment()
            assert Browser(shop.app).apply(payment).status_code == 303


def test_switched_off_for_the_hosts_tests(make_protected: Maker) -> None:
    """WTF_CSRF_ENABLED=False, which shops set in their tests, holds for our form, too."""
    shop = make_protected("never")
    shop.app.config["WTF_CSRF_ENABLED"] = False

    assert Browser(shop.app).send(shop.payment(), dict(FORM)).status_code == 303
