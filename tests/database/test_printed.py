"""What the papers show that a command prints, it prints: each output comes from a shop in that very position."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from click.testing import Result

from flask_zeus_cvs import Customer, State, fulfillment_ready, payment_received
from flask_zeus_cvs.models import Delivery, DeliveryState, Payment
from tests.blocks import assert_printed, block, dialogue
from tests.conftest import Shop, ShopMaker, accepted
from tests.database.test_receive import notice
from tests.database.test_reconcile import HEAD, line

HANAKO = Customer("ヤマダ　ハナコ", "09012345678", "taro@example.com")
#: Tuesday, 2026-11-24, 06:05 in Japan.
MORNING = datetime(2026, 11, 23, 21, 5, 5, tzinfo=UTC)


@pytest.fixture
def morning() -> Iterator[Any]:
    with time_machine.travel(MORNING) as clock:
        yield clock


def run(shop: Shop, command: str, **more: Any) -> Result:
    """Run a command as a page spells it, without its ``flask`` and a comment behind it."""
    shop.db.session.remove()
    words = shlex.split(command, comments=True)
    assert words[0] == "flask"
    answer = shop.app.test_cli_runner().invoke(args=words[words.index("zeus-cvs") :], **more)
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def assert_dialogue(shop: Shop, shown: str) -> None:
    """Run each command of a block, and compare what it prints."""
    for command, output in dialogue(shown):
        assert_printed(run(shop, command).output, output)


class Parcels:
    """A receiver in ``parcels.py`` that fails at one of its lines until it is mended."""

    def __init__(self, line: int) -> None:
        self.is_mended = False
        scope: dict[str, Any] = {"parcels": self}
        source = (
            "\n" * (line - 2)
            + "def ship(app, **extra):\n    if not parcels.is_mended: raise ConnectionError\n"
        )
        exec(compile(source, "parcels.py", "exec"), scope)
        self.ship = scope["ship"]


def thank(app: object, **extra: Any) -> None:
    """Send a mail."""


# --- the staff's day --------------------------------------------------------------------------------------------


@pytest.fixture
def day(make_shop: ShopMaker, morning: Any) -> tuple[Shop, Parcels]:
    """Five orders: two paid, of which the second's parcel was given up on, and three that wait."""
    shop, parcels = make_shop(DELIVERY_ATTEMPTS=1), Parcels(2)
    payment_received.connect(thank, sender=shop.app, name="shop.mails.thank")
    fulfillment_ready.connect(parcels.ship, sender=shop.app, name="shop.parcels.ship")
    order(shop, 1, 2980, "D001")
    parcels.is_mended = True
    shop.zeus.receive(notice("04", "261123-0001", 2980))
    order(shop, 2, 3980, "D002")
    order(shop, 3, 2980, "D030", "112233445566", "20020")
    parcels.is_mended = False
    told = {"username": "%83%84", "telno": "09012345678", "email": "taro%40example.com"}
    for status in ("01", "04"):
        pairs = {
            "clientip": "1234567890",
            "order_no": "261123-0003",
            "status": status,
            **told,
            "money": "2980",
        }
        shop.zeus.receive("&".join(f"{name}={value}" for name, value in pairs.items()).encode())
    order(shop, 4, 3480, "D001")
    order(shop, 5, 3980, "D002")
    parcels.is_mended = True
    return shop, parcels


def order(shop: Shop, number: int, amount: int, store: str, *numbers: str) -> None:
    """One order, and its slip."""
    payment = shop.payment(amount, reference=f"A-100{number}", customer=HANAKO)
    answer = accepted(f"261123-000{number}", *numbers).replace(b"20991231", b"20261204")
    shop.gateway.answers.append(answer)
    shop.submit(payment, store, HANAKO)


def test_the_staffs_day(day: tuple[Shop, Parcels], monkeypatch: pytest.MonkeyPatch) -> None:
    """The list, a story with what was given up on, the reviews, and a decision with what follows from it."""
    shop, _ = day
    monkeypatch.setattr("getpass.getuser", lambda: "sato")
    assert_dialogue(shop, block("8-staff", "$ flask zeus-cvs list"))
    assert_dialogue(shop, block("8-staff", "$ flask zeus-cvs show"))
    shop.zeus.receive(notice("04", "261123-0002", 3479))
    shop.zeus.receive(notice("04", "261123-0009", 2980))
    assert_dialogue(shop, block("8-staff", "$ flask zeus-cvs resolve\n"))
    assert_dialogue(shop, block("8-staff", "$ flask zeus-cvs resolve 1 --as"))


def test_the_lines_for_reviews(day: tuple[Shop, Parcels]) -> None:
    """Each of them is taken, one after the other; those that a decision stands against say so."""
    shop, _ = day
    shop.zeus.receive(notice("04", "261123-0002", 3479))
    shop.zeus.receive(notice("04", "261123-0009", 3480))
    one, decide, adopt, ignore = block("8-staff", "flask zeus-cvs resolve 1  ").splitlines()
    assert "261123-0002" in run(shop, one).output
    assert run(shop, decide).exit_code == 0
    assert run(shop, adopt).exit_code == 0
    states = {each.reference: each.state for each in shop.all(Payment)}
    assert (states["A-1002"], states["A-1004"]) == (State.RECEIVED, State.RECEIVED)
    assert "resolved" in run(shop, ignore).output


def test_tries_are_forgotten(make_shop: ShopMaker) -> None:
    """A customer who was declined five times goes on under the same link."""
    shop = make_shop()
    payment = shop.payment()
    for _ in range(5):
        shop.gateway.answers.append(b"rel = failure_order\nerror_code=800002\n")
        shop.submit(payment)
    assert_dialogue(shop, block("8-staff", "$ flask zeus-cvs reset-attempts"))


def test_what_is_parked(make_shop: ShopMaker, morning: Any) -> None:
    """What was given up on after twelve tries is listed with its cure; every way to decide about it is taken."""
    shop, parcels = make_shop(DELIVERY="deferred", testing=False), Parcels(88)
    fulfillment_ready.connect(parcels.ship, sender=shop.app, name="shop.ship")
    morning.move_to(datetime(2026, 11, 23, 1, 2, tzinfo=UTC))
    shop.awaiting()
    shop.zeus.receive(notice("04"))
    for _ in range(12):
        run(shop, "flask zeus-cvs deliver --now")
    shop.db.session.execute(sa.update(Delivery).values(id=17))
    shop.db.session.commit()
    payment_received.connect(thank, sender=shop.app, name="shop.mails.thank")
    for number in (2, 3, 4):
        shop.awaiting(order_no=f"000{number}-1", reference=f"A-100{number}")
        shop.zeus.receive(notice("04", f"000{number}-1"))
    later = sa.update(Delivery).where(Delivery.subscriber == "shop.ship", Delivery.id != 17)
    shop.db.session.execute(later.values(state=DeliveryState.DONE))
    shop.db.session.commit()
    assert_dialogue(shop, block("7-guarantees", "$ flask zeus-cvs deliver"))

    parcels.is_mended = True
    *retries, dismiss, now = block("7-guarantees", "flask zeus-cvs deliver --retry 17").splitlines()
    for command in (*retries, dismiss, now):
        shop.db.session.execute(
            sa.update(Delivery).where(Delivery.id == 17).values(state=DeliveryState.PARKED, attempts=12)
        )
        shop.db.session.commit()
        answer = run(shop, command)
        assert answer.exit_code == (1 if command is now else 0), answer.output
        expected = {dismiss: DeliveryState.DISMISSED, now: DeliveryState.PARKED}.get(
            command, DeliveryState.DONE
        )
        assert [each.state for each in shop.all(Delivery) if each.id == 17] == [expected]


# --- export, purge, reconcile -----------------------------------------------------------------------------------


def test_the_books_of_a_month(
    make_shop: ShopMaker, morning: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of the file, but for its numbers, and the file's first columns."""
    shop = make_shop()
    order(shop, 1, 2980, "D001")
    for status in ("04", "05"):
        shop.zeus.receive(notice(status, "261123-0001", 2980))
    monkeypatch.chdir(tmp_path)
    (write, said), (show, lines) = dialogue(block("9-export", "$ flask zeus-cvs export"))
    numbers = re.compile(r"[\d,]+ (payment|line)s?|\d+\.\d+")
    assert numbers.sub("#", run(shop, write).output) == numbers.sub("#", said)
    assert (tmp_path / "november.csv").exists()
    assert_printed(run(shop, show).output.lstrip("\ufeff").replace("\r\n", "\n"), lines)
    _, (show, lines) = dialogue(block("ja/9-export", "$ flask zeus-cvs export"))
    assert_printed(run(shop, show).output.lstrip("\ufeff").replace("\r\n", "\n"), lines)


def test_what_would_be_purged(make_shop: ShopMaker) -> None:
    """Three are over, and one has a slip that can still be paid."""
    shop = make_shop()
    with time_machine.travel(datetime.now(UTC) - timedelta(days=500)):
        for number in (1, 2, 3):
            order(shop, number, 3000, "D002")
            shop.zeus.receive(notice("04", f"261123-000{number}"))
        shop.awaiting(order_no="0004-1", reference="A-1004")
    shop.db.session.execute(sa.update(Delivery).values(state=DeliveryState.DONE))
    shop.db.session.commit()
    assert_dialogue(shop, block("9-export", "$ flask zeus-cvs purge"))


def test_a_list_of_zeus(
    make_shop: ShopMaker, morning: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of difference in its words; without --apply nothing changes, with it nothing is left to be taken."""
    shop = make_shop()
    for number in (1, 2, 3, 4):
        order(shop, number, 3000, "D002")
    sendid = shop.zeus.find("A-1003").application.sendid  # type: ignore[union-attr]
    lines = [
        line("261123-0001", "01"),
        line("261123-0002", "05"),
        line("261123-0003", "キャンセル", sendid=sendid),
        line("261123-0009", "04", sendid=sendid),
        line("261123-0004", "番組停止"),
        line("X-77", "04"),
    ]
    (tmp_path / "zeus-202611.csv").write_bytes("\r\n".join([HEAD, *lines, ""]).encode("cp932"))
    monkeypatch.chdir(tmp_path)
    compare, apply = block("10-reconcile", "flask zeus-cvs reconcile zeus").splitlines()
    ((command, _),) = dialogue(block("10-reconcile", "$ flask zeus-cvs reconcile"))
    assert compare.startswith(command)
    assert_dialogue(shop, block("10-reconcile", "$ flask zeus-cvs reconcile"))
    assert "say --yes" in run(shop, apply).output
    run(shop, f"{apply.partition('#')[0]} --yes")
    assert "notices never came" not in run(shop, compare).output
