"""A shop with a back office, its staff's browser, and payments of every kind to look at."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_zeus_cvs.contrib.admin import make_admin
from flask_zeus_cvs.exceptions import UnreadableNotice
from tests.conftest import Shop

URL = "/staff/konbini"
NOTICE = "clientip=1234567890&money=3000&username=%83%84%83%7D%83_&telno=09012345678&email=taro%40example.com"


@dataclass
class Staff:
    """What the shop's checks answer now."""

    allowed: Any = True
    may_reveal: Any = False
    who: Any = "Suzuki"
    asked: list[str] = field(default_factory=list)

    def enter(self) -> Any:
        return _answer(self.allowed)

    def reveal(self) -> Any:
        return _answer(self.may_reveal)

    def name(self) -> Any:
        return _answer(self.who)


def _answer(given: Any) -> Any:
    if isinstance(given, Exception):
        raise given
    return given


class Office:
    """The back office of a shop, as one visitor sees it."""

    def __init__(self, shop: Shop, **checks: Any) -> None:
        self.shop, self.staff = shop, Staff()
        given = {"allowed": self.staff.enter, "may_reveal": self.staff.reveal, "who": self.staff.name}
        make_admin(shop.app, url=URL, **{**given, **checks})
        self.client: FlaskClient = shop.app.test_client()

    def open(self, path: str = "/", **query: Any) -> str:
        """Open a page that is there, and return it."""
        answer = self.client.get(URL + path, query_string=query or None)
        assert answer.status_code == 200, f"{path}: {answer.status}"
        return answer.text

    def send(self, path: str, *, token: bool = True, **fields: Any) -> TestResponse:
        """Open a page and send its form, with the token that stands in it."""
        page = self.client.get(URL + path).text
        found = re.search(r'name="csrf_token"[^>]*value="([^"]*)"', page)
        if token:
            assert found is not None, page
            fields["csrf_token"] = unescape(found[1])
        return self.client.post(URL + path, data=fields)

    def rows(self, path: str, **query: Any) -> list[str]:
        """The rows of a list, each as its text."""
        page = self.open(path, **query)
        body = page.partition("<tbody")[2].partition("</tbody>")[0]
        return [_text(row) for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)]


def _text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def receive(shop: Shop, status: str, order_no: str, *, money: int = 3000) -> None:
    """Have a notice come, with the customer's details in it."""
    notice = NOTICE.replace("money=3000", f"money={money}")
    with contextlib.suppress(UnreadableNotice):  # it is kept all the same
        shop.zeus.receive(f"{notice}&order_no={order_no}&status={status}".encode())


def routes(app: Flask) -> list[tuple[str, str]]:
    """Every address of the back office with every method that it takes, but for files that hold no data."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("zeus_cvs_") and not rule.endpoint.endswith(".static"):
            address = re.sub(r"<[^>]+>", "1", rule.rule)
            found += [(address, method) for method in sorted((rule.methods or set()) - {"OPTIONS"})]
    return found
