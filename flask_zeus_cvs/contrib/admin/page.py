"""What every page of the back office has in common: the permission, the words, the headers, and how it reads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, TypeVar, cast

from flask import Response, current_app, flash, make_response, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_admin import BaseView, expose  # type: ignore[import-untyped]
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.contrib.admin.access import Access
from flask_zeus_cvs.contrib.admin.words import label, said, source, tone
from flask_zeus_cvs.payments import Payments, payments_of
from flask_zeus_cvs.telemetry import Action
from flask_zeus_cvs.telemetry import said as told
from flask_zeus_cvs.web.texts import in_templates, translate

log = logging.getLogger(__name__)

T = TypeVar("T")
_View = TypeVar("_View", bound=Callable[..., Any])

#: What these pages show belongs into no cache and no index, and their addresses into no other site's log.
_PRIVATE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
}
#: A frame of our own, which needs no script.
FRAME = "zeus_cvs/admin/frame.html"
#: Flask-Admin's swatches on a dark ground.
DARK = frozenset({"cyborg", "darkly", "slate", "solar", "superhero"})


def route(place: str, *methods: str) -> Callable[[_View], _View]:
    """Flask-Admin's ``expose``: GET, unless other methods are named."""
    decorate: Callable[[_View], _View] = expose(place, methods or ("GET",))
    return decorate


class Translated:
    """A text that is translated whenever it is shown: menus are made once, and languages belong to requests.

    Where Flask-Admin asks for a str it only shows it, so this does, too.
    """

    def __init__(self, message: str) -> None:
        self._message = message

    def __str__(self) -> str:
        return translate(self._message)


class Page(BaseView):  # type: ignore[misc]
    """A view of ours: closed to everyone whom the shop does not let in."""

    admin: Any  #: whose view it has become

    def __init__(
        self, access: Access, message: str, place: str, category: Translated | None, **more: Any
    ) -> None:
        self.access = access
        more.setdefault("url", place)
        name, under = cast("str", Translated(message)), cast("str | None", category)
        super().__init__(name=name, category=under, endpoint=f"zeus_cvs_{place}", **more)

    def is_accessible(self) -> bool:
        return self.access.permits()

    def _handle_view(self, name: str, **values: Any) -> None:  # noqa: ARG002
        self.access.insist()

    def _run_view(self, view: Callable[..., Any], *args: Any, **values: Any) -> Response:
        """Answer; Flask-Admin's own would call a view once more after a TypeError."""
        response = make_response(view(self, *args, **values))
        response.headers.update(_PRIVATE)
        return response

    def show(self, template: str, **values: Any) -> str:
        """Render one of our templates in the frame of the shop's Admin."""
        return str(
            self.render(
                f"zeus_cvs/admin/{template}",
                **in_templates(),
                dark=getattr(self.admin.theme, "swatch", "") in DARK,
                content_tag="div" if self.admin.theme.base_template == FRAME else "main",
                moment=moment,
                label=label,
                tone=tone,
                said=said,
                source=source,
                reveals=self.access.reveals(),
                **values,
            )
        )

    def go(self, endpoint: str, said: str = "", **values: Any) -> ResponseReturnValue:
        """Lead to another page, with a word of what was done."""
        if said:
            flash(said, "success")
        return redirect(url_for(endpoint, **values), 303)

    def note(self, what: str, by: str = "", **facts: int) -> None:
        """Leave word in the log of who did what here."""
        by = by or self.access.person()
        log.info("%s, by %s", what, by, extra=told(Action.OFFICE, what=what, by=by, **facts))

    @property
    def payments(self) -> Payments:
        return payments_of(current_app._get_current_object())  # type: ignore[attr-defined]

    def read(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a session that writes nothing; what it returns stays readable."""
        return self.payments.database.read(work)


def moment(at: datetime | date | None) -> str:
    """Write a moment in Japan's time, to the minute; a day as it is."""
    if at is None:
        return ""
    return f"{at.astimezone(JST):%Y-%m-%d %H:%M}" if isinstance(at, datetime) else f"{at:%Y-%m-%d}"
