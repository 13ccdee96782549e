"""Who comes to the shop over HTTP: a customer with a browser, and ZEUS with a notice."""

from __future__ import annotations

import html
import re
from contextvars import Context
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_zeus_cvs.models import Payment

FORM = {"name": "やまだ　タロウ", "phone": "090-1234-5678", "email": "taro@example.com", "store": "D002"}
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


class Visitor(FlaskClient):
    """Each request runs in contexts of its own, as on a server: a test's app context would lend it g and session."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return Context().run(super().open, *args, **kwargs)


class Browser:
    """A customer, with cookies of their own."""

    def __init__(self, app: Flask) -> None:
        self.http = Visitor(app, app.response_class, use_cookies=True)

    def checkout(self, payment: Payment, **request: Any) -> TestResponse:
        return self.http.get(f"/zeus-cvs/checkout/{payment.token}", **request)

    def result(self, payment: Payment, **request: Any) -> TestResponse:
        return self.http.get(f"/zeus-cvs/result/{payment.token}", **request)

    def token(self, payment: Payment, **request: Any) -> str:
        """The form's CSRF token, as the page shows it."""
        found = _TOKEN.search(self.checkout(payment, **request).text)
        assert found is not None, "the page has no csrf_token"
        return html.unescape(found[1])

    def send(self, payment: Payment, data: dict[str, Any], **request: Any) -> TestResponse:
        """Post exactly this."""
        return self.http.post(f"/zeus-cvs/checkout/{payment.token}", data=data, **request)

    def apply(self, payment: Payment, **fields: Any) -> TestResponse:
        """Open the form, fill it in with good details and these changes (None: leave out), and send it."""
        filled = {"csrf_token": self.token(payment), **FORM, "amount": str(payment.amount), **fields}
        return self.send(payment, {name: value for name, value in filled.items() if value is not None})


class Zeus:
    """ZEUS's notifier, at an address that the shop permits unless told otherwise."""

    def __init__(
        self, app: Flask, url: str = "/zeus-cvs/callback", address: str | None = "127.0.0.1"
    ) -> None:
        self.http = Visitor(app, app.response_class)
        self.url, self.address = url, address

    def call(self, query: bytes, url: str | None = None, **request: Any) -> TestResponse:
        """Notify by GET."""
        return self._ask("GET", url, query_string=query.decode("ascii"), **request)

    def post(self, body: bytes, url: str | None = None, **request: Any) -> TestResponse:
        """Notify by POST."""
        request.setdefault("content_type", "application/x-www-form-urlencoded")
        return self._ask("POST", url, data=body, **request)

    def ask(self, method: str, url: str | None = None, **request: Any) -> TestResponse:
        """Come with any method."""
        return self._ask(method, url, **request)

    def _ask(self, method: str, url: str | None, **request: Any) -> TestResponse:
        server = {"REMOTE_ADDR": self.address, **request.pop("environ_overrides", {})}
        return self.http.open(url or self.url, method=method, environ_overrides=server, **request)


def text_of(answer: TestResponse) -> str:
    """What a page says, without its markup."""
    body = re.sub(r"<(head|script|style)\b.*?</\1>", "", answer.text, flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))).strip()
