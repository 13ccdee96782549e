"""The JSON API: everything that the sandbox can do, for programs in any language."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, jsonify

from flask_zeus_cvs.protocol.codes import STORES
from flask_zeus_cvs.simulator.ledger import SimulatedApplication, Verb
from flask_zeus_cvs.simulator.notices import Call
from flask_zeus_cvs.simulator.works import Works


def make_api(works: Works) -> Blueprint:
    api = Blueprint("api", __name__, url_prefix="/api")

    def told(application: SimulatedApplication) -> dict[str, Any]:
        return _as_json(application, works.sender.calls_for(application.order_no))

    @api.get("/applications")
    def api_list() -> Response:
        return jsonify(applications=[told(each) for each in works.ledger.applications])

    @api.post("/applications/<order_no>/<verb>")
    def api_verb(order_no: str, verb: str) -> Response:
        return jsonify(told(works.ledger.apply(_verb(verb), order_no)))

    return api


def _verb(name: str) -> Verb:
    try:
        return Verb(name)
    except ValueError:
        abort(HTTPStatus.NOT_FOUND, f"there is no verb of this name: take one of {', '.join(Verb)}")


def _as_json(application: SimulatedApplication, calls: list[Call]) -> dict[str, Any]:
    return {
        "order_no": application.order_no,
        "sendid": application.sendid,
        "sendpoint": application.sendpoint,
        "store": application.store,
        "store_name": STORES[application.store].name,
        "money": application.money,
        "username": application.username,
        "telno": application.telno,
        "email": application.email,
        "status": application.status,
        "status_name": application.info.name,
        "pay_no1": application.pay_no1,
        "pay_no2": application.pay_no2,
        "pay_limit": f"{application.pay_limit:%Y%m%d}" if application.pay_limit else "",
        "pay_url": application.pay_url,
        "error_code": application.error_code,
        "test": application.test,
        "replaced_by": application.replaced_by,
        "verbs": [verb for verb in Verb if application.allows(verb)],
        "calls": [{"status": call.status, "answer": call.answer, "failure": call.failure} for call in calls],
    }
