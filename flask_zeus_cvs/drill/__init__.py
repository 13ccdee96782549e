"""The drill: weeks of trade in a minute, against the shop's real app. What a shop's own code needs of it is here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask_zeus_cvs.drill.orders import Orders, Standing

__all__ = ["Orders", "Standing", "is_running"]

_running: list[None] = []


def is_running() -> bool:
    """Tell whether this process plays a drill: a receiver that sends something to the world looks here first."""
    return bool(_running)


@contextmanager
def marked() -> Iterator[None]:
    """Have `is_running` say so inside a with block."""
    _running.append(None)
    try:
        yield
    finally:
        _running.pop()
