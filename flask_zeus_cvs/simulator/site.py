"""The sandbox's addresses: the gateway's own, and what keeps other sites' pages and wrong turns away from the rest.

State changes by POST, PATCH and DELETE only, and never for a page of another site: see `_guard`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from flask_zeus_cvs.exceptions import UnknownApplication, VerbRefused
from flask_zeus_cvs.protocol.codes import STORES
from flask_zeus_cvs.simulator.api import make_api
from flask_zeus_cvs.simulator.counter import make_counter
from flask_zeus_cvs.simulator.gateway import Fault
from flask_zeus_cvs.simulator.ledger import Verb
from flask_zeus_cvs.simulator.pages import here, make_pages
from flask_zeus_cvs.simulator.screen import make_screen
from flask_zeus_cvs.simulator.server import CUT
from flask_zeus_cvs.simulator.terms import make_terms
from flask_zeus_cvs.simulator.trouble import make_trouble
from flask_zeus_cvs.simulator.wording import FILTERS
from flask_zeus_cvs.simulator.works import ENDPOINT, Works

#: Seconds that an answer which never comes is waited for, if the shop does not hang up.
FOREVER = 600.0

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_app(works: Works, *, anywhere: bool) -> Flask:
    """Make the web application; `anywhere`: it listens beyond loopback, under any name."""
    app = Flask(__name__)
    app.before_request(lambda: _guard(works, anywhere=anywhere))
    app.after_request(_dress)
    app.context_processor(
        lambda: {
            "stores": STORES,
            "contract": works.contract,
            "clock": works.clock,
            "Verb": Verb,
            "here": here(),
            "faults_on": sum(
                len(each.pending) + len(each.switches) for each in (works.answers, works.troubles)
            ),
        }
    )
    app.jinja_env.filters.update(FILTERS)
    _add_gateway(app, works)
    for make in (make_api, make_pages, make_counter, make_screen, make_terms, make_trouble):
        app.register_blueprint(make(works))
    app.register_error_handler(UnknownApplication, _unknown)
    app.register_error_handler(VerbRefused, _refused)
    app.register_error_handler(HTTPException, _http_error)
    return app


def _add_gateway(app: Flask, works: Works) -> None:
    @app.post(ENDPOINT)
    def cvs() -> Response:
        reply = works.receive(request.mimetype, request.get_data())
        works.wait(reply.plan.delay)
        works.before_answer(reply)
        if reply.plan.fault is Fault.NEVER:
            works.after_answer(reply)
            works.wait(FOREVER)
        if reply.cut:
            request.environ[CUT] = reply.cut
        content_type = f"{reply.content_type}; charset=Shift_JIS"
        response = Response(reply.body, reply.plan.status, content_type=content_type)
        response.call_on_close(lambda: works.after_answer(reply))
        return response


def _guard(works: Works, *, anywhere: bool) -> None:
    """Refuse what another site's page sends: browsers say so, and programs send neither header.

    The Host is looked at too, or a site whose name suddenly means 127.0.0.1 would count as this one.
    """
    host = _hostname(f"//{request.host}")
    own = {"localhost", urlsplit(works.base_url).hostname or "", "127.0.0.1", "::1"}
    if not anywhere and host not in own:
        abort(HTTPStatus.FORBIDDEN, "the sandbox answers only under its own address")
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    fetch_site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if fetch_site is not None:
        foreign = fetch_site not in {"same-origin", "none"}
    else:
        foreign = origin is not None and urlsplit(origin).netloc != request.host
    if foreign:
        abort(HTTPStatus.FORBIDDEN, "another site's page may not drive the sandbox")


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _dress(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


# Errors: JSON for programs, a page for people


def _unknown(error: UnknownApplication) -> tuple[Any, int]:
    return _error(HTTPStatus.NOT_FOUND, "unknown_application", str(error), "この申込はありません。")


def _refused(error: VerbRefused) -> tuple[Any, int]:
    said = "いまの状態では、この操作はできません。"
    return _error(HTTPStatus.CONFLICT, "refused", str(error), said, error.order_no, verb=error.verb)


def _http_error(error: HTTPException) -> tuple[Any, int] | HTTPException:
    code = HTTPStatus(error.code or 500)
    said = "このページはありません。" if code is HTTPStatus.NOT_FOUND else "この要求は受け付けられません。"
    return _error(code, code.phrase.lower().replace(" ", "_"), error.description or code.phrase, said)


def _error(
    code: HTTPStatus, error: str, message: str, said: str, order_no: str = "", **more: str
) -> tuple[Any, int]:
    if request.path.startswith("/api/"):
        cure = "GET /api shows every address, with an example"
        return jsonify(error=error, status=code, message=message, cure=cure, **more), code
    return render_template("error.html", code=code, message=message, said=said, order_no=order_no), code
