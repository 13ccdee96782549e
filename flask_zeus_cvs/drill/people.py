"""Who comes to the shop, and how: customers with a browser, ZEUS's notifier, and others who say they are ZEUS.

All of them come through the shop's whole WSGI application, with addresses that it sees as a server would tell them.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask
from flask.testing import FlaskClient

from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Where customers come from, and whoever is not ZEUS.
CUSTOMER = "203.0.113.80"
_STRANGERS = ("198.51.100.66", "203.0.113.66", "192.0.2.66", "2001:db8::66")
#: As many proxies as an app may believe: each finds the same address, however many it counts.
_PROXIES = 5
_CSRF = re.compile(r'name="csrf_token"[^>]*value="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reply:
    """What a page answered; `error` names what it raised, where the app lets errors through."""

    status: int
    text: str = field(default="", repr=False)
    error: str = ""


@dataclass
class Gate:
    """The shop's whole WSGI application, and what one has to know to be let in."""

    app: Flask
    base_url: str
    callback: str
    prefix: str
    zeus: str
    #: An address that is not permitted; blank where the shop permits every one.
    stranger: str
    agent: str = field(default="", repr=False)
    pages: Counter[tuple[str, int]] = field(default_factory=Counter)

    def headers(self, address: str) -> dict[str, str]:
        """What proxies in front would set, for an app that believes its proxies."""
        believed = {
            "Host": urlsplit(self.base_url).netloc,
            "X-Forwarded-For": ", ".join([address] * _PROXIES),
            "X-Forwarded-Proto": ", ".join(["https"] * _PROXIES),
        }
        return {**believed, "User-Agent": self.agent} if self.agent else believed

    def notices(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Take the sandbox's notices, by whatever the app's WSGI application is at the time."""
        return self.app.wsgi_app(environ, start_response)

    def call(self, query: bytes, address: str) -> Reply:
        """Notify as ZEUS, or as somebody else."""
        client = FlaskClient(self.app, self.app.response_class)
        return self._ask(client, "GET", self.callback, address, query_string=query.decode("ascii"))

    def browser(self) -> Browser:
        """A customer with cookies of their own."""
        return Browser(self, FlaskClient(self.app, self.app.response_class, use_cookies=True))

    def _ask(self, client: FlaskClient, method: str, path: str, address: str, **more: Any) -> Reply:
        def open_() -> Reply:
            answer = client.open(
                path,
                method=method,
                base_url=self.base_url,
                headers=self.headers(address),
                environ_overrides={"REMOTE_ADDR": address},
                **more,
            )
            return Reply(answer.status_code, answer.text)

        try:
            return Context().run(open_)
        except Exception as error:  # the app is testing, and lets through what a server would answer 500 for
            return Reply(500, error=type(error).__name__)


class Browser:
    """A customer at the shop's pages."""

    def __init__(self, gate: Gate, client: FlaskClient) -> None:
        self._gate = gate
        self._client = client
        self._sent: Mapping[str, str] = {}

    def open(self, page: str, token: str) -> Reply:
        """Look at a payment's page: ``checkout`` or ``result``."""
        return self._visit(page, "GET", token)

    def apply(self, token: str, amount: int, customer: Customer, store: Store) -> Reply:
        """Open the form, fill it in and send it; return what the sending was answered."""
        form = self.open("checkout", token)
        found = _CSRF.search(form.text)
        if form.status != 200 or found is None:
            return form
        self._sent = {
            "csrf_token": html.unescape(found[1]),
            "name": customer.name,
            "phone": customer.phone,
            "email": customer.email,
            "store": store.value,
            "amount": str(amount),
        }
        return self.apply_again(token)

    def apply_again(self, token: str) -> Reply:
        """Send the same form once more, as a second click does."""
        return self._visit("checkout", "POST", token, data=self._sent)

    def _visit(self, page: str, method: str, token: str, **more: Any) -> Reply:
        path = f"{self._gate.prefix}/{page}/{token}"
        reply = self._gate._ask(self._client, method, path, CUSTOMER, **more)
        self._gate.pages[f"{method} {page}", reply.status] += 1
        return reply


def gate_of(app: Flask, settings: Settings) -> Gate:
    """Find out how to be let in by this shop's settings."""
    path = f"{settings.url_prefix}/callback"
    network = settings.callback_ips[0]
    permitted = str(network.network_address if network.num_addresses == 1 else next(network.hosts()))
    return Gate(
        app=app,
        base_url=f"https://{_host(app)}{app.config['APPLICATION_ROOT'].rstrip('/')}",
        callback=f"{path}/{settings.callback_token[0]}" if settings.callback_token else path,
        prefix=settings.url_prefix,
        zeus=permitted,
        stranger=next((each for each in _STRANGERS if not _permits(settings, each)), ""),
        agent=settings.callback_user_agent,
    )


def _permits(settings: Settings, address: str) -> bool:
    return any(ip_address(address) in network for network in settings.callback_ips)


def _host(app: Flask) -> str:
    trusted: list[str] = app.config.get("TRUSTED_HOSTS") or []
    host: str = app.config.get("SERVER_NAME") or (trusted[0].lstrip(".") if trusted else "shop.example")
    return host
