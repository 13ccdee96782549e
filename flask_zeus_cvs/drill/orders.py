"""How the drill sees the shop's orders: places them as a customer would, and asks how they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from werkzeug.utils import import_string

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.models import Payment


@dataclass(frozen=True, slots=True)
class Standing:
    """What becomes of an order if nobody does anything more.

    `parcels`: how many have left, or will leave. `asked`: whether a person has been asked to look at the order.
    """

    parcels: int
    asked: bool = False


@runtime_checkable
class Orders(Protocol):
    """The shop's orders, written by the shop; ZEUS_CVS_DRILL_ORDERS names it.

    Each method is called in a request context of its own, as a view is.
    """

    def prepare(self) -> None:
        """Fill the shelves for some thousand orders; commits."""

    def place(self, amount: int) -> Payment:
        """Place an order of about ``amount`` yen as the shop's own checkout does, and commit; return its payment."""
        ...

    def standing(self, reference: str) -> Standing:
        """Tell how the order stands whose payment has this reference."""
        ...


def named(where: Any) -> Orders | None:
    """Find what the setting names, and make one if it is a class. Raises `ConfigurationError`."""
    if where is None:
        return None
    found = _imported(where) if isinstance(where, str) else where
    made = found() if isinstance(found, type) else found
    missing = [name for name in ("prepare", "place", "standing") if not callable(getattr(made, name, None))]
    if missing:
        raise ConfigurationError(
            f"ZEUS_CVS_DRILL_ORDERS lacks {', '.join(missing)}. It needs the methods prepare(), place(amount) and "
            "standing(reference); see flask_zeus_cvs.drill.Orders."
        )
    return made  # type: ignore[no-any-return]


def _imported(where: str) -> Any:
    try:
        return import_string(where)
    except ImportError as error:
        raise ConfigurationError(
            f"ZEUS_CVS_DRILL_ORDERS is {where!r}, which cannot be imported ({type(error).__name__}). "
            "Set it to a text like 'shop.drill:Orders', module and class."
        ) from error
