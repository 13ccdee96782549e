"""Who may come in, who may see customers' details, and whose name stands under a decision. In doubt: nobody.

A shop's check says ``True``, and nothing else lets anyone in: one that raises, returns nothing, or returns something
that only looks true (a function that was not called, a coroutine) denies, and is named in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from flask import abort, current_app
from werkzeug.exceptions import HTTPException

from flask_zeus_cvs.telemetry import Action, said

log = logging.getLogger(__name__)

Check = Callable[[], object]
#: What a decision's column holds.
NAME_LENGTH = 100


@dataclass(frozen=True)
class Access:
    """The shop's three questions, each asked in every request."""

    allowed: Check | None = None
    may_reveal: Check | None = None
    who: Check | None = None

    def permits(self) -> bool:
        """Tell whether this visitor may come in; for menus, so it never raises."""
        try:
            return _says_yes(self.allowed)
        except HTTPException:
            return False

    def insist(self) -> None:
        """Raise 403 unless this visitor may come in, or whatever the shop's check aborts with: 401, a redirect."""
        if not _says_yes(self.allowed):
            abort(403)

    def reveals(self) -> bool:
        """Tell whether this visitor may see customers' details whole; never raises."""
        try:
            return _says_yes(self.may_reveal)
        except HTTPException:
            return False

    def person(self) -> str:
        """Name this visitor as the shop does; blank if it does not, and then the page asks."""
        if self.who is None:
            return ""
        name = current_app.ensure_sync(self.who)()
        return printable(name)[:NAME_LENGTH] if isinstance(name, str) else ""


def printable(name: str) -> str:
    """Leave out of a name what nobody sees: it goes into one line of the log."""
    return "".join(each for each in name if each.isprintable() or each == "\u3000").strip()


def _says_yes(check: Check | None) -> bool:
    if check is None:
        return False
    try:
        answer = current_app.ensure_sync(check)()
    except HTTPException:
        raise
    except Exception as error:
        text = "A permission check failed, so access is denied: %s"
        log.error(text, type(error).__name__, extra=said(Action.PERMISSION, reason="failed"))
        return False
    if answer is not True and answer:
        log.error(
            "A permission check returned %s, not True, so access is denied. Have it return a bool.",
            type(answer).__name__,
            extra=said(Action.PERMISSION, reason="no_bool"),
        )
    return answer is True
