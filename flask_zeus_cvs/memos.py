"""What commands remember from one run to the next, in the database that all machines share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.models import Memo


@dataclass(frozen=True)
class Remembered:
    """A value, and when it was written (aware, UTC)."""

    value: Any
    written_at: datetime


def recall(session: Session, key: str) -> Remembered | None:
    """Read what was written under a key; None if nothing was."""
    memo = session.scalar(sa.select(Memo).where(Memo.key == key))
    return Remembered(json.loads(memo.value), memo.written_at) if memo is not None else None


def remember(session: Session, key: str, value: Any = None) -> None:
    """Write a JSON value under a key, in the caller's transaction, over what was there."""
    if not _overwritten(session, key, value) and not _added(session, key, value):
        _overwritten(session, key, value)


def remember_once(session: Session, key: str, value: Any) -> bool:
    """Write as `remember`, and tell whether that was news: of those who write the same at once, one only hears so."""
    other = Memo.value != json.dumps(value)
    if _overwritten(session, key, value, other):
        return True
    if recall(session, key) is not None:
        return False
    return _added(session, key, value) or _overwritten(session, key, value, other)


def _added(session: Session, key: str, value: Any) -> bool:
    """Add a memo; False if another process was faster."""
    try:
        with session.begin_nested():
            session.add(Memo(key=key, value=json.dumps(value)))
    except IntegrityError:
        return False
    return True


def _overwritten(session: Session, key: str, value: Any, *where: sa.ColumnElement[bool]) -> bool:
    changed = session.execute(
        sa.update(Memo)
        .where(Memo.key == key, *where)
        .values(value=json.dumps(value), written_at=now())
        .execution_options(synchronize_session=False)
    )
    return bool(changed.rowcount)  # type: ignore[attr-defined]
