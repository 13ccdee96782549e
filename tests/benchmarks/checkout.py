"""CPU of the checkout's GET and POST against those of a bare Flask-WTF form with the same fields and one insert.

Requests go straight into the WSGI applications of this process, in turns, so that nothing but the application counts.
ZEUS is an adapter that answers at once with fixed bytes; the CPU that it takes itself is taken out.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import click
import requests
import sqlalchemy as sa
from flask import Flask, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm  # type: ignore[import-untyped]
from jinja2 import DictLoader
from requests.adapters import BaseAdapter
from wtforms import EmailField, HiddenField, RadioField, StringField, TelField
from wtforms.validators import DataRequired, Length, Regexp

from flask_zeus_cvs import ZeusCVS
from flask_zeus_cvs.models import Application, Payment, copy_tables
from flask_zeus_cvs.protocol.codes import STORES
from tests.benchmarks.contestants import CLIENT_IP, app_of
from tests.benchmarks.store import engine_of, settle
from tests.servers import PostgreSQL

#: The ratio to the bare form that GET and POST may have.
GOAL = 1.5
FORM = {"name": "ヤマダ　ハナコ", "phone": "09012345678", "email": "hanako@example.com", "store": "D002"}
TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')

OWN = sa.MetaData()
ORDERS = sa.Table(
    "bench_orders",
    OWN,
    sa.Column("id", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.String(50), nullable=False) for name in FORM),
    sa.Column("amount", sa.Integer, nullable=False),
)
PAGE = """<!doctype html>
<html lang="ja">
<head><meta charset="utf-8"><title>お申し込み</title></head>
<body>
<form method="post">
{{ form.hidden_tag() }}
{% for choice in form.store %}<p>{{ choice }} {{ choice.label }}</p>{% endfor %}
{% for field in (form.name, form.phone, form.email) %}
<p>{{ field.label }} {{ field }}{% for error in field.errors %} {{ error }}{% endfor %}</p>
{% endfor %}
<button type="submit">申し込む</button>
</form>
</body>
</html>
"""


class BareForm(FlaskForm):  # type: ignore[misc]
    """The same fields, with the validators that come with WTForms."""

    name = StringField("お名前", validators=[DataRequired(), Length(max=20), Regexp(r"[ァ-ヶー　]+\Z")])
    phone = TelField("電話番号", validators=[DataRequired(), Regexp(r"0[0-9]{8,10}\Z")])
    email = EmailField(
        "メールアドレス", validators=[DataRequired(), Length(max=50), Regexp(r"[^ @]+@[^ @]+\Z")]
    )
    store = RadioField("コンビニ", choices=[(each.value, info.name) for each, info in STORES.items()])
    amount = HiddenField("金額", validators=[DataRequired(), Regexp(r"[0-9]+\Z")])


class Zeus(BaseAdapter):
    """ZEUS as an adapter: answers every application at once, each with an order number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu = 0.0
        self._numbers = itertools.count(1)

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        began = time.process_time()
        answer = requests.Response()
        answer.status_code = 200
        answer.raw = BytesIO(
            b"rel = Success_order\norder_no = %08d-1\npay_no1 = 123456\npay_no2 = 654321\n"
            b"pay_limit = 20991231\npay_url = \nerror_code = \n" % next(self._numbers)
        )
        self.cpu += time.process_time() - began
        return answer

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Visitor:
    """A browser that costs next to nothing: WSGI without a socket, one cookie, and the form's token."""

    app: Flask
    cookie: str = ""
    token: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)

    def arrive(self, path: str) -> None:
        """Open the form once, for the cookie and the token of everything that follows."""
        page = self.ask("GET", path, 200).decode()
        found = TOKEN.search(page)
        assert found
        self.token = found[1]
        self.cookie = dict(self.headers)["Set-Cookie"].partition(";")[0]

    def ask(self, method: str, path: str, status: int, body: bytes = b"") -> bytes:
        """Make one request, which must be answered with ``status``."""
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SCRIPT_NAME": "",
            "SERVER_NAME": "shop.example",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "shop.example",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "https",
            "wsgi.input": BytesIO(body),
        }
        if self.cookie:
            environ["HTTP_COOKIE"] = self.cookie
        answered: list[str] = []

        def start(line: str, headers: list[tuple[str, str]], *_: object) -> None:
            answered.append(line)
            self.headers = headers

        chunks: Any = self.app.wsgi_app(environ, start)  # type: ignore[arg-type]
        page = b"".join(chunks)
        chunks.close()
        if int(answered[0].split()[0]) != status:
            raise click.ClickException(f"{method} {path} was answered with {answered[0]}")
        return page

    def get(self, path: str) -> None:
        self.ask("GET", path, 200)

    def post(self, path: str) -> None:
        values = {**FORM, "amount": "3000", "csrf_token": self.token}
        self.ask("POST", path, 302 if path == "/" else 303, urlencode(values).encode())


def bare(uri: str) -> Flask:
    """Make the bare form: rendered for a GET; for a POST validated, one row inserted, and led on."""
    app, db = app_of(uri)
    app.jinja_loader = DictLoader({"form.html": PAGE})  # pyright: ignore[reportAttributeAccessIssue]  # may be set

    def form() -> ResponseReturnValue:
        form = BareForm(amount="3000")
        if not form.validate_on_submit():
            return render_template("form.html", form=form)
        values = {name: form[name].data for name in FORM}
        db.session.execute(sa.insert(ORDERS).values(**values, amount=int(form["amount"].data)))
        db.session.commit()
        return redirect("/thanks")

    app.add_url_rule("/", "form", form, methods=["GET", "POST"])
    return app


def ours(uri: str, zeus: Zeus) -> Flask:
    """Make our checkout, with nobody to tell."""
    app, db = app_of(uri)
    app.config.update(ZEUS_CVS_CLIENT_IP=CLIENT_IP, ZEUS_CVS_TRANSPORT=zeus)
    ZeusCVS(app, db)
    return app


def sell(engine: sa.Engine, count: int) -> list[str]:
    """Make so many payments that nobody has applied for; returns their tokens."""
    tokens = [f"token{each:025d}" for each in range(count)]
    rows: list[dict[str, Any]] = [
        {
            "token": token,
            "reference": f"A-{number}",
            "amount": 3000,
            "customer_name": "",
            "customer_phone": "",
            "customer_email": "",
        }
        for number, token in enumerate(tokens)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(Payment.__table__), rows)  # type: ignore[arg-type]
    settle(engine)
    return tokens


@contextmanager
def sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="zeus-bench-") as folder:
        yield f"sqlite:///{Path(folder) / 'shop.db'}"


@contextmanager
def postgresql() -> Iterator[str]:
    with PostgreSQL(durable=True) as server:
        yield server.create()


DATABASES: Mapping[str, Callable[[], Any]] = MappingProxyType({"sqlite": sqlite, "postgresql": postgresql})


@dataclass(frozen=True)
class Round:
    """Milliseconds of CPU for each request."""

    bare_get: float
    get: float
    bare_post: float
    post: float


def spent(act: Callable[[str], None], paths: Sequence[str]) -> float:
    """Return the milliseconds of this process's CPU that each path takes in the mean."""
    began = time.process_time()
    for path in paths:
        act(path)
    return (time.process_time() - began) * 1e3 / len(paths)


def measure(uri: str, rounds: int, count: int) -> list[Round]:
    """Run so many rounds, and one before them to warm up, with ``count`` requests of each kind."""
    engine = engine_of(uri)
    tables = sa.MetaData()
    copy_tables(tables)
    for table in OWN.sorted_tables:
        table.to_metadata(tables)
    tables.create_all(engine)
    payments = [f"/zeus-cvs/checkout/{each}" for each in sell(engine, (rounds + 1) * count)]
    zeus = Zeus()
    theirs, visitor = Visitor(bare(uri)), Visitor(ours(uri, zeus))
    theirs.arrive("/")
    visitor.arrive(payments[0])
    done = []
    for number in range(rounds + 1):
        paths = payments[number * count : (number + 1) * count]
        roots = ["/"] * count
        times = spent(theirs.get, roots), spent(visitor.get, paths), spent(theirs.post, roots)
        zeus.cpu = 0.0
        post = spent(visitor.post, paths) - zeus.cpu * 1e3 / count
        done.append(Round(*times, post))
    _check_all_is_there(engine, (rounds + 1) * count)
    return done[1:]


def _check_all_is_there(engine: sa.Engine, count: int) -> None:
    awaiting = sa.select(sa.func.count()).where(Application.stored_state == "awaiting_payment")
    with engine.connect() as connection:
        if connection.scalar(awaiting) != count:
            raise click.ClickException("not every application was stored: no fair run")


def report(database: str, rounds: Sequence[Round]) -> Iterator[tuple[str, float]]:
    """Write a line of each method: medians, and the median of the rounds' ratios."""
    for name, pairs in (
        ("GET", [(each.bare_get, each.get) for each in rounds]),
        ("POST", [(each.bare_post, each.post) for each in rounds]),
    ):
        ratio = statistics.median(mine / theirs for theirs, mine in pairs)
        theirs, mine = (statistics.median(each) for each in zip(*pairs, strict=True))
        yield f"{database:<12}{name:<6}{theirs:>12.2f}{mine:>12.2f}{ratio:>8.2f}", ratio


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks checkout", description=__doc__)
    parser.add_argument("--database", choices=list(DATABASES), help="one of them (default: both)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=200, help="requests of each kind in a round")
    given = parser.parse_args(arguments)
    ratios = []
    click.echo(f"{'':<18}{'bare CPU ms':>12}{'ours CPU ms':>12}{'ratio':>8}")
    for name in [given.database] if given.database else DATABASES:
        with DATABASES[name]() as uri:
            for line, ratio in report(name, measure(uri, given.rounds, given.count)):
                click.echo(line)
                ratios.append(ratio)
    click.echo(f"the goal is {GOAL} at most")
    return 0 if max(ratios) <= GOAL else 1
