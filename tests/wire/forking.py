"""A shop that forks after it has used its database, and while it delivers: ``python -m tests.wire.forking fork``.

Parent and children take ten notices each, all at the same time; the parent waits until every order is counted.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

from flask_zeus_cvs.payments import payments_of
from tests.wire.delivery_shop import Books, create_app, paid
from tests.wire.sites import CALLBACK, until

CHILDREN = 4
EACH = 10


def take(app: Flask, part: int) -> None:
    """Take the notices of one part in several threads."""

    def call(number: int) -> int:
        return app.test_client().get(f"{CALLBACK}?{paid(number)}").status_code

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(call, range(part * EACH, (part + 1) * EACH)))
    assert answers == [200] * EACH, answers


def fork(app: Flask) -> list[int]:
    """Fork plainly; each child ends as scripts do, so that its thread ends in time."""
    children = []
    for part in range(CHILDREN):
        child = os.fork()
        if not child:
            take(app, part)
            sys.exit()
        children.append(child)
    take(app, CHILDREN)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def multiprocess(app: Flask) -> list[int]:
    """Fork by multiprocessing, whose children end at once: what they were at is taken over."""
    forking = multiprocessing.get_context("fork")
    children = [forking.Process(target=take, args=(app, part)) for part in range(CHILDREN)]
    for child in children:
        child.start()
    take(app, CHILDREN)
    for child in children:
        child.join()
    return [child.exitcode or 0 for child in children]


if __name__ == "__main__":
    shop = create_app()
    uri = shop.config["SQLALCHEMY_DATABASE_URI"]
    take(shop, 0)
    if uri.startswith("sqlite"):  # forked while any thread uses the file, a child finds it locked for ever
        payments_of(shop)._outbox.stop()
    ended = {"fork": fork, "multiprocessing": multiprocess}[sys.argv[1]](shop)
    until(lambda: len(Books(uri).counted()), (CHILDREN + 1) * EACH)
    sys.exit(f"children ended with {ended}" if any(ended) else 0)
