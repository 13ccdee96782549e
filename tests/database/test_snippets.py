"""The pieces of code, settings, templates and commands on the pages work in a shop, as they stand there."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import pytest
import sqlalchemy as sa
from flask import Flask, g, url_for
from flask_admin import Admin  # type: ignore[import-untyped]
from flask_babel import Babel  # type: ignore[import-untyped]
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import event
from werkzeug.middleware.proxy_fix import ProxyFix

import flask_zeus_cvs
from flask_zeus_cvs import (
    Customer,
    EventKind,
    fulfillment_ready,
    payment_received,
    silence_suspected,
    telemetry,
)
from flask_zeus_cvs.cli import make_commands
from flask_zeus_cvs.contrib import otel
from flask_zeus_cvs.drill import marked
from flask_zeus_cvs.models import Delivery, DeliveryState, Payment
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.signals import SIGNALS
from flask_zeus_cvs.simulator import Simulator
from flask_zeus_cvs.staff.search import Filters
from tests.blocks import block
from tests.conftest import Shop, ShopMaker, missing
from tests.customer_pages import PAGES, Shown, Stage
from tests.database.drilled import make_shop as make_drilled_shop
from tests.database.test_receive import notice
from tests.papers import ROOT, text_of

STATIC = Path(flask_zeus_cvs.__file__).parent / "static"
TARO = Customer("ヤマダ　タロウ", "09012345678", "taro@example.com")
#: Five fields, as cron has them, and what it runs.
CRON = re.compile(r"((?:[\d*/,-]+ +){5})(\S.*)")


def run_code(text: str, **names: Any) -> dict[str, Any]:
    """Run a piece of code among these names, and return all names."""
    exec(compile(text, "page", "exec"), names)
    return names


def as_function(text: str) -> str:
    """A piece that belongs into a view."""
    return "def view():\n" + "".join(f"    {line}\n" for line in text.splitlines())


# --- setting up -------------------------------------------------------------------------------------------------


def test_a_payment_with_all_that_it_takes(sqlite_shop: Shop) -> None:
    """The quickstart's call is taken, committed, and leads to the checkout."""
    sqlite_shop.app.add_url_rule("/orders/<int:number>", "show_order", lambda number: "")
    page = run_code(
        as_function(block("1-quickstart", "payment = zeus.create_payment")),
        zeus=sqlite_shop.zeus,
        db=sqlite_shop.db,
        Customer=Customer,
        url_for=url_for,
        datetime=datetime,
        timedelta=timedelta,
        UTC=UTC,
        redirect=lambda address: address,
    )
    with sqlite_shop.app.test_request_context():
        address = page["view"]()
    (payment,) = sqlite_shop.all(Payment)
    assert address == payment.checkout_url
    assert (payment.return_url, payment.last_customer.phone) == ("/orders/1001", "09012345678")


def test_the_pragmas_are_set(tmp_path: Path) -> None:
    """SQLite takes each of them on every connection."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    run_code(block("2-settings", "@event.listens_for"), engine=engine, event=event)
    with engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous")
        ]
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 10000
    engine.dispose()
    assert found == ["wal", 2]


def test_the_senders_come_from_the_environment(make_shop: ShopMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text with a comma is two addresses, which may notify and nobody else."""
    text = block("5-callback", 'app.config["ZEUS_CVS_CALLBACK_IPS"]')
    (example,) = re.findall(r'such as "(.+)"', text)
    monkeypatch.setenv("ZEUS_SENDERS", example)
    bare = Flask("shop")
    run_code(text, app=bare, os=os)
    client = make_shop(CALLBACK_IPS=bare.config["ZEUS_CVS_CALLBACK_IPS"]).app.test_client()
    answers = [
        client.get("/zeus-cvs/callback?status=01", environ_overrides={"REMOTE_ADDR": each}).status_code
        for each in (*example.split(","), "192.0.2.12")
    ]
    assert answers == [400, 400, 403]


def test_the_proxy_is_read(make_shop: ShopMaker) -> None:
    """The address of the caller is the one that the proxy tells of."""
    shop = make_shop(CALLBACK_IPS="192.0.2.10")
    run_code(block("5-callback", "app.wsgi_app"), app=shop.app, ProxyFix=ProxyFix)
    client, headers = shop.app.test_client(), {"X-Forwarded-For": "192.0.2.10", "X-Forwarded-Proto": "https"}
    proxy = {"REMOTE_ADDR": "10.0.0.5"}
    assert client.get("/zeus-cvs/callback", headers=headers, environ_overrides=proxy).status_code == 400
    assert client.get("/zeus-cvs/callback", environ_overrides=proxy).status_code == 403


def test_the_sandbox_is_what_the_shop_is_set_to() -> None:
    """The settings beside the sandbox's command name its port, its IP code and its address."""
    app = Flask("shop")
    run_code(block("15-sandbox", 'app.config["ZEUS_CVS_CLIENT_IP"]'), app=app)
    command = block("15-sandbox", "python -m flask_zeus_cvs.simulator")
    with Simulator(listen=False) as sandbox:
        assert app.config["ZEUS_CVS_CLIENT_IP"] == sandbox.contract.clientip
    port = re.search(r"--port (\d+)", command)
    assert port is not None
    assert app.config["ZEUS_CVS_ENDPOINT"] == f"http://127.0.0.1:{port[1]}/cgi-bin/cvs.cgi"
    assert command in block("README", "python -m flask_zeus_cvs.simulator")
    assert command in block("1-quickstart", "python -m flask_zeus_cvs.simulator")


def test_the_sandboxs_time_and_contract(
    zeus_simulator_in_process: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time moves to the deadline, where 03 is told, since the contract asks for it."""
    sandbox = zeus_simulator_in_process
    shop = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", shop)  # where SQLAlchemy looks its names up
    exec(block("1-quickstart", "from flask import Flask"), shop.__dict__)
    uri = f"sqlite:///{tmp_path / 'shop.db'}"
    app = shop.create_app(
        {"TESTING": True, "SQLALCHEMY_DATABASE_URI": uri, "ZEUS_CVS_TRANSPORT": sandbox.adapter()}
    )
    sandbox.attach(app)
    app.test_client().post("/buy")
    with app.app_context():
        order_no = shop.zeus.submit(shop.zeus.find("A-1"), TARO, "D002").order_no
    run_code(block("15-sandbox", "sandbox.contract.change"), sandbox=sandbox)
    run_code(block("15-sandbox", "sandbox.forward"), sandbox=sandbox, order_no=order_no)
    sandbox.settle()
    assert (sandbox.applications[0].status, sandbox.contract.method) == ("03", "POST")
    with app.app_context():
        assert shop.zeus.find("A-1").state == "expired"
        shop.db.engine.dispose()


# --- receivers --------------------------------------------------------------------------------------------------


def test_a_receiver_is_connected(sqlite_shop: Shop) -> None:
    """It is called once the customer has paid."""
    run_code(
        block("6-events", "from flask_zeus_cvs import fulfillment_ready"),
        app=sqlite_shop.app,
        __name__="shop",
    )
    sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("04"))
    assert [(each.subscriber, each.state) for each in sqlite_shop.all(Delivery)] == [("shop.ship", "done")]


def test_the_alarm_rings(sqlite_shop: Shop) -> None:
    """Whoever is connected to it as shown is told of a silence."""
    mails: list[str] = []
    run_code(
        block("11-check", "@silence_suspected"),
        app=sqlite_shop.app,
        silence_suspected=silence_suspected,
        mail_the_owner=mails.append,
        __name__="shop",
    )
    silence_suspected.send(sqlite_shop.app, payment=None)
    assert mails == ["ZEUS has fallen silent: flask zeus-cvs check --live"]


def test_a_mail_is_not_sent_in_a_drill() -> None:
    """The guard holds in a drill and lets pass outside of one."""
    mails: list[object] = []
    code = block("16-drill", "from flask_zeus_cvs.drill import is_running")
    with marked():
        run_code(code, send_mail=mails.append, payment="A-1")
    assert mails == []
    run_code(code, send_mail=mails.append, payment="A-1")
    assert mails == ["A-1"]


# --- commands ---------------------------------------------------------------------------------------------------


def parsed(command: str) -> click.Context:
    """Have one of our commands read its options, as if it were to run; a comment behind it is left out."""
    words = shlex.split(command, comments=True)
    name, *options = words[words.index("zeus-cvs") + 1 :]
    assert words[0] == "flask"
    group = make_commands(Settings(client_ip="1234567890"))
    found = group.get_command(click.Context(group), name)
    assert found is not None, name
    return found.make_context(name, options)


@pytest.mark.parametrize(
    "lines",
    [
        block("1-quickstart", "5 * * * *"),
        block("8-staff", "* * * * *"),
        block("11-check", "*/10 * * * *"),
    ],
)
def test_crons_lines(lines: str) -> None:
    """Five fields within their bounds, and a command of ours with options that it has."""
    for each in lines.splitlines():
        found = CRON.fullmatch(each)
        assert found is not None, each
        for field, most in zip(found[1].split(), (59, 23, 31, 12, 7), strict=True):
            assert all(int(number) <= most for number in re.findall(r"\d+", field)), each
        assert parsed(found[2]).command.name in ("expire", "deliver", "check", "resolve")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (block("1-quickstart", "flask --app shop zeus-cvs show"), {"which": "A-1"}),
        (block("16-drill", "flask --app shop zeus-cvs drill\n"), {"size": 300, "yes": False}),
        (block("16-drill", "flask --app shop zeus-cvs drill --yes"), {"size": 60, "yes": True}),
        *zip(
            block("14-go-live", "flask --app shop zeus-cvs test-order").splitlines(),
            ({"kind": "0", "store": "all"}, {"kind": "1"}, {"kind": "2"}),
            strict=True,
        ),
    ],
)
def test_a_command_is_understood(line: str, expected: dict[str, object]) -> None:
    """Its options exist and mean what the page says; what they do is tested where the command is."""
    given = parsed(line).params
    assert {name: given.get(name) for name in expected} == expected, given


@pytest.mark.parametrize(
    "lines",
    [
        block("README", "make demo"),
        block("CONTRIBUTING", "make test"),
        block("18-scaling", "make bench ARGS='--rounds"),
        block("18-scaling", "make bench ARGS='--database"),
    ],
)
def test_make_knows_what_is_to_be_made(lines: str, tmp_path: Path) -> None:
    """Each target is there: make says what it would do."""
    make = shutil.which("make") or missing("make")
    for each in lines.splitlines():
        _, *words = shlex.split(each, comments=True)
        ended = subprocess.run(
            [make, "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.strip()


def test_the_capacity_is_reckoned_right() -> None:
    """532 notices a second, half in reserve, peaks of five: what that is in notices and orders."""
    text = block("18-scaling", "532 / 2 / 5")
    found = re.fullmatch(
        r"(\d+) / 2 / 5 = (\d+) notices a second on average = ([\d.]+) million a day = ([\d,]+) orders a day\n",
        text,
    )
    assert found is not None
    second = int(found[1]) / 2 / 5
    assert round(second) == int(found[2])
    assert round(second * 86400 / 1e6, 1) == float(found[3])
    assert second * 86400 / 2.6 == pytest.approx(int(found[4].replace(",", "")), rel=0.02)
    table = block(
        "18-scaling",
        "                          req/s  to floor   p50 ms   p99 ms  CPU app ms  CPU db ms  MB/worker\nnull",
    )
    assert f"ours, one subscriber        {found[1]} " in table


# --- the drill --------------------------------------------------------------------------------------------------


def test_the_drills_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's class, with an order's place filled in, is found by its name and asked in a drill."""
    good = make_drilled_shop(tmp_path)
    module = ModuleType("shop.drill")
    order = SimpleNamespace(parcels=1, has_open_question=False)
    module.__dict__["Order"] = SimpleNamespace(by_number=lambda reference: order)
    exec(block("16-drill", "# shop/drill.py"), module.__dict__)
    asked: list[str] = []

    class Orders(module.Orders):  # type: ignore[misc, name-defined]
        def place(self, amount: int) -> Payment:
            return good.place(amount)

        def standing(self, reference: str) -> object:
            asked.append(reference)
            assert super().standing(reference).parcels == 1
            return good.standing(reference)

    module.__dict__["Orders"] = Orders
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.drill", module)
    folder = tmp_path / "named"
    folder.mkdir()
    app = Flask("shop")
    run_code(block("16-drill", 'app.config["ZEUS_CVS_DRILL_ORDERS"]'), app=app)
    named = make_drilled_shop(
        folder, **app.config.get_namespace("ZEUS_CVS_DRILL", lowercase=False, trim_namespace=False)
    )
    good.app, good.db, good.zeus = named.app, named.db, named.zeus
    named.connect()
    result = named.drill()
    assert result.exit_code == 0, result.output
    assert asked
    with named.app.app_context():
        named.db.engine.dispose()


def test_broken_promises_are_told_as_shown(tmp_path: Path) -> None:
    """Nobody hears of 06, and the books fail at each sale: both are said in the page's words."""
    scope: dict[str, Any] = {}
    exec(compile("\n" * 86 + "def enter(app, **extra):\n    raise KeyError\n", "books.py", "exec"), scope)
    shop = make_drilled_shop(tmp_path)
    shop.connect({EventKind.PAYMENT_CANCELLED: None})
    SIGNALS[EventKind.SALE_CONFIRMED].connect(scope["enter"], sender=shop.app, name="shop.books.enter")
    result = shop.drill()
    with shop.app.app_context():
        shop.db.engine.dispose()
    head, *promises = re.split(r"^  \d+\. ", block("16-drill", "Broken promises"), flags=re.M)
    printed = numberless(result.output)
    for each in (head, *promises):
        assert numberless(each) in printed, result.output
    assert len(promises) == 2


def numberless(text: str) -> str:
    return " ".join(re.sub(r"\d+", "#", text).split())


# --- back office, monitoring ------------------------------------------------------------------------------------


def fail(app: object, **extra: Any) -> None:
    """A receiver that needs a person."""
    raise RuntimeError


def test_staffs_own_code(sqlite_shop: Shop) -> None:
    """Each call of the page is taken: a search, a story, reviews, a delivery retried and dismissed, tries forgotten."""
    payment_received.connect(fail, sender=sqlite_shop.app)
    payment, _ = sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("04"))
    sqlite_shop.zeus.receive(notice("05", money=1))
    g.user = SimpleNamespace(name="Suzuki")
    page: dict[str, Any] = {"zeus": sqlite_shop.zeus, "Filters": Filters, "payment": payment, "g": g}
    for each in ast.parse(block("8-staff", "found, before = zeus.search")).body:
        code = ast.unparse(each)
        if "17" in code:
            sqlite_shop.db.session.execute(sa.update(Delivery).values(id=17, state=DeliveryState.PARKED))
            sqlite_shop.db.session.commit()
        page |= run_code(code, **page)
    assert [each.state for each in sqlite_shop.all(Delivery)] == [DeliveryState.DISMISSED]


def test_a_health_endpoint(sqlite_shop: Shop) -> None:
    """It answers with all that the page shows, in that order; 503 once something is not well."""
    code = block("11-check", '@app.get("/internal/health")')
    run_code(code, app=sqlite_shop.app, zeus=sqlite_shop.zeus)
    sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("01"))
    client = sqlite_shop.app.test_client()
    answer = client.get("/internal/health")
    shown = json.loads(block("11-check", '{"ok"'))
    assert answer.status_code == 200
    here = {"delivering": None, "last_notice_at": ""}  # no thread delivers while testing
    assert answer.json is not None
    assert {**answer.json, **here} == {**shown, **here}
    payment_received.connect(fail, sender=sqlite_shop.app)
    sqlite_shop.zeus.receive(notice("04"))
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    sqlite_shop.db.session.execute(sa.update(Delivery).values(due_at=an_hour_ago))
    sqlite_shop.db.session.commit()
    assert client.get("/internal/health").status_code == 503


@pytest.mark.parametrize("is_staff", [True, False])
def test_the_back_office_in_the_shops_admin(sqlite_shop: Shop, is_staff: bool) -> None:
    """Staff see payments in the admin that the shop has, and nobody else does."""
    Babel(sqlite_shop.app)
    admin = Admin(sqlite_shop.app, name="Shop", url="/admin")
    user = SimpleNamespace(is_staff=is_staff)
    run_code(
        block("12-back-office", "from flask_zeus_cvs.contrib.admin import add_views"),
        admin=admin,
        current_user=user,
    )
    answer = sqlite_shop.app.test_client().get("/admin/payments/")
    assert answer.status_code == (200 if is_staff else 403)


@pytest.mark.parametrize("is_staff", [True, False])
def test_a_back_office_of_our_own(sqlite_shop: Shop, is_staff: bool) -> None:
    """The same in our frame, at the address that the page names."""
    user = SimpleNamespace(is_staff=is_staff)
    code = block("12-back-office", "from flask_zeus_cvs.contrib.admin import make_admin")
    run_code(code, app=sqlite_shop.app, current_user=user)
    answer = sqlite_shop.app.test_client().get("/staff/konbini/")
    assert answer.status_code == (200 if is_staff else 403)


def test_traces_are_taken_once_asked_for() -> None:
    """Both ways to ask: with the providers that are there, or with given ones."""
    code = block("13-monitoring", "from flask_zeus_cvs.contrib.otel import instrument")
    try:
        run_code(code)
        assert telemetry._observer is not None
        otel.uninstrument()
        (given,) = re.findall(r"# or (.*)", code)
        run_code(
            f"{code.splitlines()[0]}\n{given}",
            tracer_provider=TracerProvider(),
            meter_provider=MeterProvider(),
        )
        assert telemetry._observer is not None
    finally:
        otel.uninstrument()


def test_the_log_reads_as_shown(sqlite_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Every line of the page is logged at its level with its action, but for numbers and names."""
    caplog.set_level(logging.INFO, "flask_zeus_cvs")
    fulfillment_ready.connect(lambda app, **extra: None, sender=sqlite_shop.app, name="shop.ship")
    sqlite_shop.awaiting()
    sqlite_shop.zeus.receive(notice("04"))
    sqlite_shop.zeus.receive(notice("05", money=1))
    logged = {
        numberless(f"{each.levelname} {each.getMessage()} [{getattr(each, 'action', '')}]")
        for each in caplog.records
    }
    for line in block("13-monitoring", "INFO Application 1").splitlines():
        assert numberless(line) in logged


# --- pages ------------------------------------------------------------------------------------------------------


def first(template: str, **wanted: object) -> Shown:
    """The first of the pages with this template."""
    return next(each for each in PAGES if each.template == template)


def shown_with(
    folder: Path, name: str, text: str, template: str, language: str = "ja", **settings: Any
) -> str:
    """A page of a shop that has one template, or one setting, of its own."""
    path = folder / "own" / name
    path.parent.mkdir(parents=True)
    path.write_text(text, "utf-8")
    stage = Stage(folder, templates=folder / "own", **settings)
    page = first(template)
    shown = stage.show(page, stage.bring(page), language).text
    stage.close()
    return shown


@pytest.mark.parametrize("template", sorted({each.template for each in PAGES}))
def test_the_frame_of_the_page_bears_every_page(tmp_path: Path, template: str) -> None:
    """What it has stands round each of ours."""
    page = shown_with(
        tmp_path,
        "shop/base.html",
        block("3-pages", "<!doctype html>"),
        template,
        BASE_TEMPLATE="shop/base.html",
    )
    assert '<link rel="stylesheet" href="/static/shop.css">' in page
    assert page.index("<header>") < page.index('<div class="zeus-cvs"') < page.index("</main>")
    assert "zeus_cvs.css" in page.partition("</head>")[0]


def test_one_block_more(tmp_path: Path) -> None:
    """Ours stays, and the shop's line comes after it."""
    text = block("3-pages", "{# templates/zeus_cvs/result/paid.html #}")
    page = shown_with(tmp_path, "zeus_cvs/result/paid.html", text, "result/paid.html")
    assert page.index("保管してください") < page.index("<p>We pack your tea today.</p>")


def test_one_block_instead(tmp_path: Path) -> None:
    """The steps are the shop's, with the names of Lawson's numbers in them."""
    text = block("3-pages", "{# templates/zeus_cvs/result/lawson.html #}")
    page = shown_with(tmp_path, "zeus_cvs/result/lawson.html", text, "result/lawson.html")
    steps = re.findall(r"<li>(.*?)</li>", page)
    assert steps == [
        "Loppiで「各種番号をお持ちの方」を選びます。",
        "「受付番号」を入力します。",
        "「確認番号」を入力します。",
    ]


@pytest.mark.parametrize(("language", "said"), [("ja", "マイページに戻る"), ("en", "Back to your account")])
def test_words_of_the_shops_own(tmp_path: Path, language: str, said: str) -> None:
    """The setting is accepted, and the page says it so."""
    app = Flask("shop")
    run_code(block("3-pages", 'app.config["ZEUS_CVS_TEXTS"]'), app=app)
    texts = app.config["ZEUS_CVS_TEXTS"]
    page = shown_with(tmp_path, "unused.html", "", "result/paid.html", language, TEXTS=texts)
    assert f">{said}</a>" in page


@pytest.mark.parametrize("paper", ["en", "ja"])
def test_how_an_english_reader_types_a_name(tmp_path: Path, paper: str) -> None:
    """The English form has the page's example, and answers Latin letters with the sentence that the page quotes."""
    said = " ".join(text_of(paper, "3-pages.md").split())
    quoted = re.search(r'"(“M” is not katakana\. .+?)"', said)
    assert quoted is not None
    stage = Stage(tmp_path)
    page = first("checkout.html")
    path = stage.bring(page)
    form = stage.show(page, path, "en").text
    sent = stage.show(replace(page, sent=True, typed={"name": "Mary Smith"}), path, "en").text
    stage.close()
    assert "メアリー スミス" in said
    assert "メアリー　スミス (Mary Smith)" in form
    assert quoted[1] in sent


def test_every_colour_is_one_of_ours() -> None:
    """The sheet of the page names all colours that ours have, with the values that they have, and no others."""
    colour = re.compile(r"(--zeus-[\w-]+): ([^;]+);")
    sheets = "".join(path.read_text("utf-8") for path in STATIC.glob("*.css") if path.name != "admin.css")
    ours = dict(colour.findall(sheets))
    shown = dict(colour.findall(block("3-pages", ".zeus-cvs {")))
    assert {*shown, "--zeus-store"} == set(ours)
    assert {name: value for name, value in shown.items() if value != ours[name]}.keys() <= {"--zeus-accent"}
