"""Pictures of the back office: a shop's two months of trade, and each page of its staff's."""

from __future__ import annotations

import base64
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from playwright.sync_api import Browser

from example_shop.tests.running import serving
from flask_zeus_cvs import ZeusCVS
from flask_zeus_cvs.clock import now
from flask_zeus_cvs.contrib.admin import make_admin
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import (
    Application,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
)
from flask_zeus_cvs.protocol.codes import Store
from tests.conftest import CLIENT_IP, CUSTOMER, Shop, accepted
from tests.office import URL, receive

WIDTHS = (1280, 390)
LANGUAGES = ("ja", "en")
#: Each page with its address.
PAGES = {
    "office-dashboard": "/",
    "office-payments": "/payments/",
    "office-payment": "/payments/{last}",
    "office-reviews": "/reviews/",
    "office-review": "/reviews/2",
    "office-parked": "/parked/",
    "office-decide": "/parked/decide?what=retry&id=1&id=2",
    "office-notices": "/notices/",
    "office-notice": "/notices/1",
    "office-events": "/events/",
    "office-event": "/events/{event}",
    "office-expire": "/expire",
}
#: The best few, for the papers.
BEST = frozenset(
    {("office-dashboard", "ja", 1280), ("office-payment", "ja", 1280), ("office-review", "ja", 390)}
)
DAYS = 60
#: What becomes of a slip, and how often: its state, and its events with their days after the application, or after the
#: payment; None: whenever the customer pays.
_FATES: tuple[tuple[int, State, tuple[tuple[EventKind, State, float | None], ...]], ...] = (
    (
        70,
        State.CONFIRMED,
        (
            (EventKind.PAYMENT_RECEIVED, State.AWAITING_PAYMENT, None),
            (EventKind.SALE_CONFIRMED, State.RECEIVED, 3),
        ),
    ),
    (18, State.EXPIRED, ((EventKind.PAYMENT_EXPIRED, State.AWAITING_PAYMENT, 12),)),
    (
        5,
        State.CANCELLED,
        (
            (EventKind.PAYMENT_RECEIVED, State.AWAITING_PAYMENT, None),
            (EventKind.PAYMENT_CANCELLED, State.RECEIVED, 0.02),
        ),
    ),
    (4, State.RECEIVED, ((EventKind.PAYMENT_RECEIVED, State.EXPIRED, 12.5),)),
    (3, State.RECEIVED_AFTER_CANCEL, ((EventKind.PAYMENT_RECEIVED_AFTER_CANCEL, State.SUPERSEDED, 2),)),
)
_SHARES = (45, 20, 25, 3, 3, 4)


@contextmanager
def office(folder: Path, language: str) -> Iterator[tuple[str, dict[str, int]]]:
    """A shop with its back office, served; yields the address, and the numbers of rows worth a picture."""
    app = Flask(__name__)
    app.config.update(
        TESTING=True,
        SECRET_KEY="not a secret",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / f'{language}.db'}",
        ZEUS_CVS_CLIENT_IP=CLIENT_IP,
        ZEUS_CVS_CALLBACK_IPS=["127.0.0.1"],
        ZEUS_CVS_LOCALE=language,
        ZEUS_CVS_DELIVERY="deferred",
    )
    db = SQLAlchemy(app)
    shop = Shop(app, db, ZeusCVS(app, db))
    make_admin(app, url=URL, allowed=lambda: True, who=lambda: "鈴木" if language == "ja" else "Suzuki")
    with app.app_context(), serving(app) as home:
        db.create_all()
        trade(shop)
        yield home + URL, special(shop)
        db.session.remove()
        db.engine.dispose()


def trade(shop: Shop) -> None:
    """Write what `DAYS` of trade leave behind; the same each time."""
    dice = random.Random(7)
    events: list[Event] = []
    ago = sorted((dice.uniform(0, DAYS) for _ in range(DAYS * 14)), reverse=True)
    for serial, days in enumerate(ago, 1):
        events += _sell(shop, dice, serial, now() - timedelta(days=days))
    events.sort(key=lambda each: each.occurred_at)
    shop.db.session.add_all(events)
    shop.db.session.commit()
    unships = sa.select(Event.id).where(Event.kind == EventKind.PAYMENT_CANCELLED).order_by(Event.id.desc())
    for number in shop.db.session.scalars(unships.limit(3)):
        shop.db.session.add(
            Delivery(
                event_id=number,
                subscriber="shop.parcels.halt",
                state=DeliveryState.PARKED,
                attempts=12,
                last_error="ConnectionError at parcels.py:41",
            )
        )
    shop.db.session.commit()


def _sell(shop: Shop, dice: random.Random, serial: int, applied: datetime) -> list[Event]:
    [(_, state, told)] = dice.choices(_FATES, [each[0] for each in _FATES])
    [store] = dice.choices(list(Store), _SHARES)
    payment = Payment(
        reference=f"T-{1000 + serial}",
        amount=500 + 10 * dice.randint(1, 900),
        created_at=applied,
        customer=CUSTOMER,
    )
    application = Application(
        payment=payment,
        sendid=f"S{serial:08}",
        store=store,
        stored_state=State.AWAITING_PAYMENT,
        order_no=f"26-{serial:06}",
        pay_limit=(applied + timedelta(days=10)).date(),
        customer=CUSTOMER,
        created_at=applied,
        answer_due_at=applied,
    )
    shop.db.session.add_all([payment, application])
    shop.db.session.flush()
    moment = applied
    events: list[Event] = []
    for kind, before, days in ((EventKind.APPLICATION_ACCEPTED, State.SUBMITTING, 0.0), *told):
        moment += timedelta(
            days=min(dice.expovariate(1.4), 9.5) if days is None else days * dice.uniform(0.7, 1.6)
        )
        if moment < now():
            event = Event(kind=kind, occurred_at=moment, previous_state=before)
            event.payment_id, event.application_id = payment.id, application.id
            events.append(event)
    if len(events) > len(told):
        application.stored_state = state
    return events


def special(shop: Shop) -> dict[str, int]:
    """Live through a payment with everything on it, and a notice that is nobody's; return the rows to look at."""
    payment = shop.payment(3980, reference="T-2001", customer=CUSTOMER)
    shop.gateway.answers.append(accepted("26-900001", "483920", "715604"))
    shop.submit(payment, "D002")
    receive(shop, "01", "26-900001", money=3980)
    receive(shop, "04", "26-900001", money=3980)
    receive(shop, "04", "26-900001", money=3980)
    receive(shop, "06", "26-900001", money=3980)
    receive(shop, "04", "26-900001", money=3980)
    receive(shop, "04", "26-999999", money=5000)
    assert len(shop.all(Review)) == 2, shop.all(Notification)
    return {"last": payment.id, "event": shop.all(Event)[-1].id}


def take(browser: Browser, pictures: Path, papers: Path | None) -> list[Path]:
    """Take every picture; with ``papers``, the best few also as WebP."""
    taken = []
    for language in LANGUAGES:
        with tempfile.TemporaryDirectory() as folder, office(Path(folder), language) as (home, numbers):
            for width in WIDTHS:
                context = browser.new_context(
                    viewport={"width": width, "height": 780},
                    locale="ja-JP" if language == "ja" else "en-US",
                    device_scale_factor=2 if width < 600 else 1,
                )
                page = context.new_page()
                for name, address in PAGES.items():
                    page.goto(home + address.format(**numbers))
                    path = pictures / language / str(width) / f"{name}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=path, full_page=True)
                    taken.append(path)
                    if papers is not None and (name, language, width) in BEST:
                        how: dict[str, Any] = {"format": "webp", "quality": 70, "captureBeyondViewport": True}
                        data = context.new_cdp_session(page).send("Page.captureScreenshot", how)["data"]
                        (papers / f"{name}-{language}-{width}.webp").write_bytes(base64.b64decode(data))
                context.close()
    return taken
