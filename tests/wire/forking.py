"""A shop that forks after it has used its database: ``python -m tests.wire.forking fork``, or another of `WAYS`.

Parent and children take ten notices each; the parent waits until every order is counted.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
from collections.abc import Callable
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


def while_delivering(app: Flask) -> None:
    """Have the parent deliver when it forks."""
    take(app, CHILDREN)
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        payments_of(
            app
        )._outbox.stop()  # forked while a thread uses the file, a child finds it locked for ever


def fork(app: Flask) -> list[int]:
    """Fork as scripts do, and have each child end as they do, so that its thread ends in time."""
    while_delivering(app)
    return ended(children_of(app, os.fork))


def fork_unnoticed(app: Flask) -> list[int]:
    """Fork as servers written in C do, past all that Python does at a fork; such a parent has no threads."""
    children = children_of(app, ctypes.PyDLL(None).fork)
    take(app, CHILDREN)
    return ended(children)


def children_of(app: Flask, fork: Callable[[], int]) -> list[int]:
    children = []
    for part in range(CHILDREN):
        child = fork()
        if not child:
            take(app, part)
            sys.exit()
        children.append(child)
    return children


def ended(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def multiprocess(app: Flask) -> list[int]:
    """Fork by multiprocessing, whose children end at once: what they were at is taken over."""
    while_delivering(app)
    forking = multiprocessing.get_context("fork")
    children = [forking.Process(target=take, args=(app, part)) for part in range(CHILDREN)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return [child.exitcode or 0 for child in children]


WAYS: dict[str, Callable[[Flask], list[int]]] = {
    "fork": fork,
    "fork-unnoticed": fork_unnoticed,
    "multiprocessing": multiprocess,
}


def main(way: str) -> None:
    app = create_app()
    codes = WAYS[way](app)
    if any(codes):
        sys.exit(f"children ended with {codes}")
    take(app, CHILDREN)  # again: repeats, at which the parent delivers what its children have left
    until(lambda: len(Books(app.config["SQLALCHEMY_DATABASE_URI"]).counted()), (CHILDREN + 1) * EACH)


if __name__ == "__main__":
    main(sys.argv[1])
