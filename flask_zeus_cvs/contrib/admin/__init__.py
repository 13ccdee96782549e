"""The back office: what staff see and mend, as pages of Flask-Admin (the extra ``admin``).

One line in the shop's own admin, or one that makes an admin of our own::

    add_views(admin, allowed=lambda: current_user.is_staff)
    make_admin(app, allowed=lambda: current_user.is_staff, url="/staff/konbini")

Nobody comes in until the shop passes its own check. The pages read everything and write nothing: each decision is one
of the verbs. They are Flask-Admin's views, and not its model views: those count all rows, need inline scripts, and would
write rows past the verbs.
"""

from __future__ import annotations

from typing import cast

from flask import Flask
from flask_admin import Admin  # type: ignore[import-untyped]
from flask_admin.theme import Bootstrap4Theme  # type: ignore[import-untyped]

from flask_zeus_cvs.contrib.admin.access import Access, Check
from flask_zeus_cvs.contrib.admin.dashboard import Dashboard
from flask_zeus_cvs.contrib.admin.page import FRAME, Translated
from flask_zeus_cvs.contrib.admin.views import EventsPage, NoticesPage, ParkedPage, PaymentsPage, ReviewsPage
from flask_zeus_cvs.web.texts import mark

__all__ = ["add_views", "make_admin"]

#: In the order of the menu, after the dashboard.
_LISTS = (PaymentsPage, ReviewsPage, ParkedPage, NoticesPage, EventsPage)
_NAME = mark("コンビニ決済")


def add_views(
    admin: Admin,
    *,
    allowed: Check | None = None,
    may_reveal: Check | None = None,
    who: Check | None = None,
    category: str | None = _NAME,
) -> None:
    """Add our pages to the shop's own admin, under a category of its menu (None: beside the others).

    ``allowed`` is called in every request and lets a visitor in by returning True, and by nothing else; it may abort
    with 401 or a redirect to a login. ``may_reveal`` says whether customers' details may be seen whole. ``who`` names
    the person that a decision is recorded under; without it the page asks.
    """
    access = Access(allowed, may_reveal, who)
    below = Translated(category) if category is not None else None
    for page in (Dashboard, *_LISTS):
        admin.add_view(page(access, below))


def make_admin(
    app: Flask,
    *,
    allowed: Check | None = None,
    may_reveal: Check | None = None,
    who: Check | None = None,
    name: str = "",
    url: str = "/staff/konbini",
) -> Admin:
    """Make an admin of our pages alone, in a frame that needs no script; the arguments are those of `add_views`.

    The dashboard is its first page. More views of the shop's can be added to it.
    """
    access = Access(allowed, may_reveal, who)
    admin = Admin(
        app,
        name=name or cast("str", Translated(_NAME)),
        url=url,
        endpoint="zeus_cvs_dashboard",
        index_view=Dashboard(access, url=url, static_folder="static"),
        theme=Bootstrap4Theme(base_template=FRAME),
    )
    for page in _LISTS:
        admin.add_view(page(access))
    return admin
