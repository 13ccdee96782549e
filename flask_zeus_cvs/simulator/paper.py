"""What documents the JSON API: a page with commands that run as printed, and the same for programs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from flask import render_template

from flask_zeus_cvs.simulator.routes import Field, Route
from flask_zeus_cvs.simulator.works import ENDPOINT, Works

Json = dict[str, Any]

#: Applications among which one is sought that an example is about.
LOOKED_AT = 1000
_OF_APPLICATION = ("order_no", "store", "pay_no1", "pay_no2", "telno")


def page(works: Works, routes: Iterable[Route], errors: Mapping[str, tuple[HTTPStatus, str]]) -> str:
    shown = [(route, example(works, route)) for route in routes]
    return render_template("api.html", routes=shown, apply=_apply_example(works), errors=errors)


def example(works: Works, route: Route) -> str:
    """Write a command with curl that can be run as it is, with numbers that there are, if there are any."""
    fill = _fill(works, route)
    address, sent = works.base_url + _filled(route.path, fill), _filled(route.example, fill)
    if route.method == "GET":
        return f"curl '{address}?{sent}'" if sent else f"curl {address}"
    method = "" if route.method == "POST" and sent else f" -X {route.method}"
    header = " -H 'Content-Type: application/json'" if sent.startswith("{") else ""
    data = f" -d '{sent}'" if sent else ""
    return f"curl{method} {address}{header}{data}"


def _apply_example(works: Works) -> str:
    """Write an application with curl: its name is ヤマダ　タロウ, percent-encoded in Shift_JIS."""
    return (
        f"curl {works.base_url}{ENDPOINT} -d 'clientip={works.contract.clientip}&act=secure_order&money=3000"
        "&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E&telno=0312345678"
        "&email=hanako@example.jp&pay_cvs=D002&sendid=A1'"
    )


def _filled(text: str, fill: Mapping[str, str]) -> str:
    for name, value in fill.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _fill(works: Works, route: Route) -> dict[str, str]:
    applications = works.ledger.applications[: -LOOKED_AT - 1 : -1]
    fitting = (each for each in applications if not route.needs or route.needs in works.ledger.possible(each))
    latest = next(fitting, applications[0] if applications else None)
    switches = [(kind, each) for kind, script in works.scripts.items() for each in script.switches]
    kind, number = (switches[-1][0], str(switches[-1][1].number)) if switches else ("answers", "1")
    return {
        **{name: getattr(latest, name, name.upper()) for name in _OF_APPLICATION},
        "number": str(len(works.mailbox.mails) or 1) if "mails" in route.path else number,
        "kind": kind,
    }


def openapi(works: Works, routes: Iterable[Route]) -> Json:
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sandbox for ZEUS konbini payment",
            "description": "This is not ZEUS: no money moves.",
            "version": "1",
        },
        "servers": [{"url": works.base_url}],
        "paths": paths,
    }


def _operation(route: Route) -> Json:
    braced = re.findall(r"\{(\w+)\}", route.path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in braced
    ]
    if route.method == "GET":
        parameters += [
            {"name": each.name, "in": "query", "description": each.says, "schema": _schema(each)}
            for each in route.takes
        ]
    error = {"description": "error, status, message, cure", "content": {"application/json": {}}}
    operation: Json = {
        "operationId": route.anchor,
        "summary": route.title,
        "parameters": parameters,
        "responses": {"200": {"description": "done", "content": {route.returns: {}}}, "4XX": error},
    }
    if route.takes and route.method != "GET":
        operation["requestBody"] = {"content": {"application/json": {"schema": _object(route.takes)}}}
    return operation


def _object(takes: Iterable[Field]) -> Json:
    return {
        "type": "object",
        "properties": {each.name: _schema(each) | {"description": each.says} for each in takes},
        "required": [each.name for each in takes if each.required],
        "additionalProperties": False,
    }


def _schema(field: Field) -> Json:
    listed = {"enum": list(field.choices)} if field.choices else {}
    if field.kind == "array":
        return {"type": "array", "items": {"type": "string", **listed}}
    return {"type": field.kind, **listed}
