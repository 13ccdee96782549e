"""Run under gevent: tells in how many places a notice lets other greenlets run while its transaction is open."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import greenlet  # noqa: E402
from sqlalchemy.event import listen  # noqa: E402

from tests.wire import delivery_shop  # noqa: E402
from tests.wire.sites import CALLBACK  # noqa: E402


def main() -> None:
    """Take three notices, and print how often another greenlet ran while one held SQLite's write lock."""
    app = delivery_shop.create_app()
    client = app.test_client()
    open_now: list[Any] = []
    switches: list[str] = []

    def notice(number: int) -> None:
        answer = client.get(f"{CALLBACK}?order_no={number}-1&status=04&money=3000")
        assert answer.status_code == 200, answer.status

    def watch(event: str, args: object) -> None:
        if event == "switch" and open_now:
            switches.append(event)

    notice(0)
    time.sleep(0.3)  # the thread that delivers has begun
    with app.app_context():
        engine = app.extensions["sqlalchemy"].engine
    listen(engine, "begin", lambda connection: open_now.append(connection))
    for ended in ("commit", "rollback"):
        listen(engine, ended, lambda connection: open_now.remove(connection))
    greenlet.settrace(watch)
    notice(1)
    notice(2)
    greenlet.settrace(None)
    sys.stdout.write(f"{len(switches)}\n")


if __name__ == "__main__":
    main()
