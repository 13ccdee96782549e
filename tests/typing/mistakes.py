"""Mistakes that a checker finds in what a shop writes about its extras: each line has to be an error, for each checker.

It is never run. Celery and Flask-Admin are left out, as mypy takes what comes from there on trust.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any

from flask import Flask

from flask_zeus_cvs.contrib.admin import add_views, make_admin
from flask_zeus_cvs.contrib.celery import deliver_with
from flask_zeus_cvs.drill import Orders
from flask_zeus_cvs.models import Payment


def is_staff() -> bool:
    return False


class HalfOrders:
    """Lacks what tells how an order stands."""

    def prepare(self) -> None: ...

    def place(self, amount: int) -> Payment:
        raise NotImplementedError


def mistakes(app: Flask, admin: Any, celery: Any) -> None:
    add_views(admin, is_staff)  # type: ignore[call-arg]
    add_views(admin, allowed=True)  # type: ignore[arg-type]
    make_admin(app, who="staff")  # type: ignore[arg-type]
    deliver_with(celery, "shop")  # type: ignore[arg-type]
    half: Orders = HalfOrders()  # type: ignore[assignment]
    del half
