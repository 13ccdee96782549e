"""Weeks of trade against the example shop itself, as ``flask zeus-cvs drill`` plays them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from example_shop import create_app, fulfilment
from example_shop.database import db
from example_shop.drill import Orders
from flask_zeus_cvs import drill as drills
from flask_zeus_cvs import payment_cancelled

#: For the type checker: the shop's class is what the drill asks for.
ORDERS: drills.Orders = Orders()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Flask]:
    """The shop as it runs in earnest, behind one proxy."""
    app = create_app(
        {
            "SECRET_KEY": "not a secret",
            "PROXIES": "1",
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.db'}",
            "ZEUS_CVS_CLIENT_IP": "1234567890",
            "ZEUS_CVS_CALLBACK_IPS": "192.0.2.10,192.0.2.11",
        }
    )
    yield app
    with app.app_context():
        db.engine.dispose()


def drill(app: Flask, *options: str) -> Result:
    return app.test_cli_runner().invoke(args=["zeus-cvs", "drill", "--yes", *options])


def said(result: Result) -> str:
    """What it said, whatever the width of the lines."""
    return " ".join(result.output.split())


def test_the_shop_passes(shop: Flask, tmp_path: Path) -> None:
    """Every promise is kept, and every order stands as it should; its own database is not touched."""
    result = drill(shop, "--payments", "100")
    assert result.exit_code == 0, result.output
    assert "Every promise was kept." in result.output
    assert "Not judged" not in result.output
    assert not list(tmp_path.iterdir())


def test_it_would_not_pass_without_06(shop: Flask) -> None:
    """Were `take_back` not connected, or did it do nothing, the drill would say so."""
    payment_cancelled.disconnect(fulfilment.take_back, sender=shop)
    result = drill(shop, "--payments", "30", "--weeks", "1")
    assert result.exit_code == 1
    assert "nobody listens to payment_cancelled" in said(result)

    def look_away(_app: Flask, **_: Any) -> None:
        """Hear of it, and do nothing."""

    payment_cancelled.connect(look_away, sender=shop)
    result = drill(shop, "--payments", "30", "--weeks", "1")
    assert result.exit_code == 1
    assert "nobody listens" not in said(result)
    assert "the order stands as if it were paid" in said(result)
