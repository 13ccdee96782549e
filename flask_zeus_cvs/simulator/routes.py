"""One address of the JSON API: what it takes, and how that is read from a query, a form or JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from flask import request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from flask_zeus_cvs.simulator.ledger import Verb
from flask_zeus_cvs.simulator.values import as_text

NEITHER = "the body is neither JSON nor a form: send an object as JSON, or name=value"


@dataclass(frozen=True, slots=True)
class Field:
    """Something that an address takes, in its query, its form or its JSON; `read` raises `ValueError`."""

    name: str
    says: str
    read: Callable[[Any], Any] = as_text
    kind: str = "string"
    choices: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One address. `act` gets the works, what the path has in braces, and what was given, each by its name.

    `example` is what curl sends: a query, a form, or JSON. `needs`: the example is of an application that allows it.
    """

    method: str
    path: str
    act: Callable[..., Any]
    title: str
    japanese: str
    takes: tuple[Field, ...] = ()
    example: str = ""
    needs: Verb | None = None
    returns: str = "application/json"

    @property
    def rule(self) -> str:
        """As Flask spells it."""
        return self.path.replace("{", "<").replace("}", ">")

    @property
    def anchor(self) -> str:
        """Where it stands on the page at /api."""
        return re.sub(r"[^a-z]+", "-", f"{self.method}{self.path}".lower()).strip("-")

    def given(self, raw: Mapping[str, object]) -> dict[str, Any]:
        """Read what was given. Raises `BadRequest` for a name that it does not take, else `ValueError`."""
        known = {each.name: each for each in self.takes}
        unknown = set(raw) - set(known)
        if unknown:
            there_is = f"take some of {', '.join(known)}" if known else "it takes nothing"
            raise BadRequest(f"{self.method} {self.path} does not take {min(unknown)!r}: {there_is}")
        missing = [each.name for each in self.takes if each.required and each.name not in raw]
        if missing:
            raise BadRequest(f"{self.method} {self.path} needs {missing[0]}: give it")
        return {name: _read(known[name], value) for name, value in raw.items()}


def whatever_is_given() -> dict[str, object]:
    """Put together what the query and the body give: JSON is known by its first character, whatever it is called."""
    body = request.get_data()
    given = _spelled(request.args)
    if body.lstrip()[:1] in {b"{", b"["}:
        return given | _parsed(body)
    if not request.mimetype:
        return given | _spelled(_form(body))
    if body and not request.form:
        raise BadRequest(NEITHER)
    return given | _spelled(request.form)


def _spelled(values: MultiDict[str, str]) -> dict[str, object]:
    return {name: each[0] if len(each) == 1 else each for name, each in values.lists()}


def _form(body: bytes) -> MultiDict[str, str]:
    """Read a body that its client calls nothing at all."""
    try:
        text = body.decode("utf-8")
        return MultiDict(parse_qsl(text, keep_blank_values=True, strict_parsing=True) if text else ())
    except ValueError:
        raise BadRequest(NEITHER) from None


def _parsed(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body begins like JSON and is none: look at its quotes and commas") from None
    if not isinstance(value, dict):
        raise BadRequest('the body is a list: give an object, as {"name": "value"}')
    return value


def _read(field: Field, value: object) -> object:
    try:
        return field.read(value)
    except ValueError as error:
        raise ValueError(f"{field.name}: {error}") from None
