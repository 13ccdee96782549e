"""What commands remember from one run to the next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from flask_zeus_cvs.memos import Remembered, recall, remember, remember_once
from tests.conftest import Shop


def read(shop: Shop, key: str) -> Remembered | None:
    return shop.payments._database.read(lambda session: recall(session, key))


def write(shop: Shop, key: str, value: object) -> None:
    shop.payments._database.write(lambda session: remember(session, key, value))


def test_what_was_written_last_is_read(shop: Shop) -> None:
    """A value comes back as it was, with the moment; a later one takes its place; another key knows nothing of it."""
    write(shop, "columns", {"order_no": "オーダー番号"})
    write(shop, "columns", {"order_no": "取引番号", "more": [1, None]})
    found = read(shop, "columns")
    assert found is not None
    assert found.value == {"order_no": "取引番号", "more": [1, None]}
    assert abs(found.written_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert read(shop, "sweep") is None


def test_many_who_write_first_at_once(shop: Shop) -> None:
    """Eight machines whose cron fires in the same second: each writes without an error, and one value is there."""

    def one(number: int) -> None:
        with shop.app.app_context():
            write(shop, "sweep", number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    found = read(shop, "sweep")
    assert found is not None
    assert found.value in range(8)


def test_news_is_news_once(shop: Shop) -> None:
    """Of eight machines that write the same at once, one hears that it was new; another value is news again."""

    def one(value: str) -> bool:
        with shop.app.app_context():
            return shop.payments.database.write(lambda session: remember_once(session, "silence", value))

    for value in ("since Monday", "since Friday", "since Monday"):
        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(one, [value] * 8)) == [False] * 7 + [True]
