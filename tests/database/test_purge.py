"""`flask zeus-cvs purge`: customers' details go, facts stay, and nothing that still matters is touched."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

import pytest
import sqlalchemy as sa
from click.testing import Result

from flask_zeus_cvs import Customer, State, fulfillment_ready
from flask_zeus_cvs.clock import Journey, journey, now
from flask_zeus_cvs.exceptions import UnreadableNotice
from flask_zeus_cvs.models import Application, Base, Notification, Payment, Review, Verdict
from flask_zeus_cvs.purge import Purge, without_customer
from tests.conftest import Shop, accepted

NAME, PHONE, EMAIL = "ヤマダ　タロウ", "09012345678", "taro@example.com"
TARO = Customer(NAME, PHONE, EMAIL)
#: Every way in which a table could hold the customer.
TRACES = tuple(
    {
        each
        for text in (NAME, "ヤマダ", PHONE, EMAIL, "taro")
        for codec in ("utf-8", "cp932", "euc_jp", "utf-16-le")
        for each in (text.encode(codec), quote_from_bytes(text.encode(codec)).encode())
    }
)


def notice(status: str, order_no: str = "0001-1", **more: str) -> bytes:
    """A notice as ZEUS sends it, with the customer in it."""
    given = {"clientip": "1234567890", "money": "3000", "order_no": order_no, "status": status, **more}
    customer = f"username={quote(NAME, encoding='cp932')}&telno={PHONE}&email={quote(EMAIL)}"
    return ("&".join(f"{name}={value}" for name, value in given.items()) + "&" + customer).encode("ascii")


@pytest.fixture
def later() -> Iterator[Journey]:
    with journey() as clock:
        yield clock


def purge(shop: Shop, days: int = 90, *, really: bool = True, notes: bool = False) -> Any:
    return Purge(shop.payments.database, "cp932", days, notes=notes).run(really=really)


def traces(shop: Shop) -> set[str]:
    """Where in our tables the customer can be found, in whatever encoding."""
    shop.db.session.rollback()
    found = set()
    for table in Base.metadata.sorted_tables:
        for row in shop.db.session.execute(sa.select(table)).mappings():
            for column, value in row.items():
                raw = bytes(value) if isinstance(value, (bytes, memoryview)) else str(value).encode()
                if any(each in form for form in (raw, unquote_to_bytes(raw)) for each in TRACES):
                    found.add(f"{table.name}.{column}")
    return found


def paid(shop: Shop, order_no: str = "0001-1", reference: str = "A-1001") -> Payment:
    payment, _ = shop.awaiting(order_no=order_no, reference=reference, customer=TARO)
    for status in ("01", "04", "05"):
        shop.zeus.receive(notice(status, order_no))
    return payment


def go(clock: Journey, days: int) -> None:
    clock.to(now() + timedelta(days=days))


def test_nothing_of_the_customer_remains(shop: Shop, later: Journey) -> None:
    """Whatever table, column and encoding: after the purge the customer is found nowhere, and every fact is."""
    payment = paid(shop)
    shop.zeus.receive(notice("04", order_no="9999-9"))  # nobody's
    with pytest.raises(UnreadableNotice):
        shop.zeus.receive(notice("99"))
    with pytest.raises(UnreadableNotice):
        shop.zeus.receive(NAME.encode("cp932"))
    shop.zeus.receive(notice("04", clientip="9999999999"))
    for review in shop.all(Review):
        shop.zeus.resolve(review, "ignored", by="Sato", note="nobody's")
    assert traces(shop) == {
        *(
            f"zeus_cvs_{table}s.customer_{what}"
            for table in ("payment", "application")
            for what in ("name", "phone", "email")
        ),
        "zeus_cvs_notifications.raw",
    }
    go(later, 91)
    tally = purge(shop)
    assert (tally.payments, tally.notices) == (1, 4)
    assert traces(shop) == set()
    assert shop.state(payment) is State.CONFIRMED
    assert payment.purged_at is not None
    assert (payment.amount, payment.reference) == (3000, "A-1001")
    (application,) = payment.applications
    assert (application.order_no, application.pay_no1) == ("0001-1", "1234567890123")
    first = shop.all(Notification)[0]
    assert b"order_no=0001-1" in first.raw
    assert b"money=3000" in first.raw


def test_a_second_run_changes_nothing(shop: Shop, later: Journey) -> None:
    """What is purged stays as it is, its moment too."""
    payment = paid(shop)
    go(later, 91)
    purge(shop)
    shop.state(payment)
    before, raws = payment.purged_at, [each.raw for each in shop.all(Notification)]
    go(later, 1)
    tally = purge(shop)
    assert (tally.payments, tally.notices, tally.kept) == (0, 0, {})
    shop.state(payment)
    assert payment.purged_at == before
    assert [each.raw for each in shop.all(Notification)] == raws


def test_a_repeat_of_an_old_notice_is_known(shop: Shop, later: Journey) -> None:
    """ZEUS sends a 05 again after the purge: it is counted, changes nothing, and brings nothing back."""
    payment = paid(shop)
    with pytest.raises(UnreadableNotice):
        shop.zeus.receive(notice("99"))
    shop.zeus.resolve(shop.all(Review)[0], "ignored", by="Sato")
    go(later, 91)
    purge(shop)
    receipt = shop.zeus.receive(notice("05"))
    assert (receipt.repeat, receipt.verdict) == (True, Verdict.APPLIED)
    with pytest.raises(UnreadableNotice):
        shop.zeus.receive(notice("99"))
    assert len(shop.all(Notification)) == 4
    assert traces(shop) == set()
    assert shop.state(payment) is State.CONFIRMED


def test_what_comes_back_goes_again(shop: Shop, later: Journey) -> None:
    """A late notice names the customer again: it takes effect, and the next run takes the name out."""
    payment, _ = shop.awaiting(customer=TARO)
    go(later, 30_000)
    shop.zeus.expire()
    go(later, 91)
    purge(shop)
    assert traces(shop) == set()
    shop.zeus.receive(notice("04"))
    assert shop.state(payment) is State.RECEIVED
    assert payment.purged_at is None
    assert traces(shop) == {"zeus_cvs_notifications.raw"}
    assert purge(shop).payments == 0
    go(later, 91)
    assert purge(shop).payments == 1
    assert traces(shop) == set()


def test_who_applies_again_is_there_again(shop: Shop, later: Journey) -> None:
    """A customer comes back to a purged payment that never had a slip: the new details are kept, then go."""
    payment = shop.payment(customer=TARO)
    go(later, 91)
    purge(shop)
    assert shop.state(payment) is State.OPEN
    assert payment.customer == Customer()
    shop.submit(payment, customer=TARO)
    shop.state(payment)
    assert payment.purged_at is None
    assert "zeus_cvs_applications.customer_name" in traces(shop)


def test_what_still_matters_is_left_alone(shop: Shop, later: Journey) -> None:
    """A slip that can be paid, an open review, a delivery given up on, and what happened lately keep their details."""

    def fails(app: Any, **heard: Any) -> None:
        if heard["payment"].reference == "PARKED":
            raise ConnectionError

    with fulfillment_ready.connected_to(fails, shop.app):
        parked = paid(shop, "0004-1", "PARKED")
    live, _ = shop.awaiting(reference="LIVE", order_no="0001-1", customer=TARO)
    asked, _ = shop.awaiting(reference="ASKED", order_no="0002-1", customer=TARO)
    shop.zeus.receive(notice("04", "0002-1", money="1"))
    late = paid(shop, "0003-1", "LATE")
    go(later, 91)
    shop.zeus.receive(notice("06", "0003-1"))  # a review, resolved today
    shop.zeus.resolve(shop.all(Review)[-1], "ignored", by="Sato")
    tally = purge(shop)
    kept = {why.name: number for why, number in tally.kept.items()}
    assert tally.payments == 0
    assert kept == {"LIVE": 2, "DELIVERY": 1, "RECENT": 1}  # ASKED is live, too: each has one reason
    for payment in (parked, live, asked, late):
        shop.state(payment)
        assert payment.purged_at is None
        assert payment.customer == TARO


def test_an_open_review_keeps_the_details(shop: Shop, later: Journey) -> None:
    """Whoever decides may have to call the customer; once decided, the days begin anew."""
    paid(shop)
    shop.zeus.receive(notice("06"))
    go(later, 91)
    assert {why.name for why in purge(shop).kept} == {"REVIEW"}
    shop.zeus.resolve(shop.all(Review)[0], "ignored", by="Sato", note="called Yamada")
    assert {why.name for why in purge(shop).kept} == {"RECENT"}
    go(later, 91)
    assert purge(shop, notes=True).payments == 1
    assert shop.all(Review)[0].note == ""
    assert shop.all(Review)[0].by == "Sato"


def test_notes_are_emptied_by_a_later_run(shop: Shop, later: Journey) -> None:
    """A run without --notes is not the last word: one with them finds what it left, once, and keeps its moment."""
    payment = paid(shop)
    shop.zeus.receive(notice("06"))
    shop.zeus.resolve(shop.all(Review)[0], "cancelled", by="Sato", note="called Yamada")
    go(later, 91)
    assert purge(shop).payments == 1
    shop.state(payment)
    before = payment.purged_at
    go(later, 1)
    assert [purge(shop, notes=True).payments for _ in range(2)] == [1, 0]
    assert shop.all(Review)[0].note == ""
    shop.state(payment)
    assert payment.purged_at == before


def test_a_stray_notice_under_review_keeps_its_bytes(shop: Shop, later: Journey) -> None:
    """Nobody has said yet whose it is: staff need all of it."""
    shop.zeus.receive(notice("04", order_no="9999-9"))
    go(later, 91)
    assert purge(shop).notices == 0
    assert traces(shop) == {"zeus_cvs_notifications.raw"}


def test_a_notice_without_its_customer_can_still_be_matched(shop: Shop, later: Journey) -> None:
    """A notice nobody knew is purged, then an answer stores its order number: it is read, and pays."""
    shop.zeus.receive(notice("04", order_no="0001-1"))
    shop.zeus.resolve(shop.all(Review)[0], "ignored", by="Sato")
    go(later, 91)
    assert purge(shop).notices == 1
    payment = shop.payment()
    shop.gateway.answers.append(accepted("0001-1"))
    shop.submit(payment)
    assert shop.state(payment) is State.RECEIVED


def test_a_purge_that_was_broken_off_goes_on(
    shop: Shop, later: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch stands by itself: what is done is done, and the next run does the rest."""
    for number in range(1, 6):
        paid(shop, f"000{number}-1", f"A-{number}")
    go(later, 91)
    monkeypatch.setattr("flask_zeus_cvs.purge.BATCH", 2)
    steps = []

    def step() -> None:
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Purge(shop.payments.database, "cp932", 90).run(step, really=True)
    assert [each.purged_at is not None for each in shop.all(Payment)] == [True, True, True, True, False]
    assert purge(shop).payments == 1
    assert traces(shop) == set()


def test_what_happens_during_the_purge_counts(
    shop: Shop, later: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Money comes between the look and the lock: the payment is looked at again under its lock, and kept."""
    payment, _ = shop.awaiting(customer=TARO)
    go(later, 30_000)
    shop.zeus.expire()
    go(later, 91)
    take_out = Purge._take_out

    def overtaken(self: Purge, session: Any, wanted: Any) -> list[int]:
        shop.zeus.receive(notice("04"))
        return take_out(self, session, wanted)

    if not shop.payments.database.is_sqlite:  # has one writer at a time
        monkeypatch.setattr(Purge, "_take_out", overtaken)
        assert purge(shop).payments == 0
        shop.state(payment)
        assert payment.customer == TARO


def test_the_pages_of_a_purged_payment(sqlite_shop: Shop, later: Journey) -> None:
    """A customer who finds the old link sees what became of the payment; staff see the story, without the customer."""
    shop = sqlite_shop
    paid(shop)
    never = shop.payment(reference="A-2", customer=TARO)
    go(later, 91)
    purge(shop)
    client = shop.app.test_client()
    for payment in shop.all(Payment):
        page = client.get(payment.result_url, follow_redirects=True)
        assert page.status_code == 200
        assert NAME not in page.text
        assert f'value="{PHONE}"' not in page.text  # the form's example is the same number
    assert client.get(never.checkout_url).status_code == 200
    for command in (["show", "A-1001", "--reveal"], ["list", "--reveal"], ["export", "-", "--reveal"]):
        result = shop.app.test_cli_runner().invoke(args=["zeus-cvs", *command])
        assert result.exit_code == 0
        assert "A-1001" in result.output
        assert NAME not in result.output


def run(shop: Shop, *arguments: str) -> Result:
    return shop.app.test_cli_runner().invoke(args=["zeus-cvs", "purge", *arguments])


def test_a_dry_run_changes_nothing(
    sqlite_shop: Shop, later: Journey, caplog: pytest.LogCaptureFixture
) -> None:
    """It says what --yes would do; then --yes does it, and the log says so."""
    paid(sqlite_shop)
    sqlite_shop.awaiting(order_no="0002-1", reference="LIVE")
    go(later, 91)
    dry = run(sqlite_shop, "--older-than", "90")
    assert "To be purged: payments 1, notices that belong to none 0" in dry.output
    assert "1  a slip that may still be paid" in dry.output
    assert "--yes" in dry.output
    assert sqlite_shop.all(Application)[0].customer == Customer(NAME, PHONE, EMAIL)
    with caplog.at_level(logging.INFO, "flask_zeus_cvs"):
        done = json.loads(run(sqlite_shop, "--older-than", "90", "--yes", "--json").output)
    assert done == {"payments": 1, "notices": 0, "kept": {"live": 1}, "done": True}
    assert sqlite_shop.all(Application)[0].customer == Customer()
    assert [vars(each)["count"] for each in caplog.records if vars(each).get("action") == "purge"] == [1]


def test_there_is_a_shortest_time(sqlite_shop: Shop) -> None:
    """A 05 comes a week after its 04: nobody purges by mistake what was paid yesterday."""
    result = run(sqlite_shop, "--older-than", "29", "--yes")
    assert result.exit_code == 2
    assert "30" in result.output


def test_only_known_parameters_that_keep_their_rules_are_kept() -> None:
    """A name in a parameter of the shop's own URL, or where a number belongs, is not kept either."""
    raw = b"shop=Yamada&order_no=0001-1&status=04&pay_no1=%83%84%83%7D%83_&money=3000&telno=090"
    assert without_customer(raw, Verdict.APPLIED, "cp932") == b"money=3000&order_no=0001-1&status=04"
    assert without_customer(raw, Verdict.UNREADABLE, "cp932") == b""
