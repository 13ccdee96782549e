"""The gateway without a socket: a transport adapter for requests that answers in this process."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse

from flask_zeus_cvs.simulator.gateway import Fault, Reply
from flask_zeus_cvs.simulator.server import CUT_MIDDLE
from flask_zeus_cvs.simulator.works import ENDPOINT, Works


class SandboxAdapter(BaseAdapter):
    """Answers a POST to ``…/cgi-bin/cvs.cgi`` on any host as the sandbox would, faults and all.

    Nothing is waited for: an answer that would come later than the time-out is a `requests.ReadTimeout` at once.
    """

    def __init__(self, works: Works) -> None:
        super().__init__()
        self._works = works

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002
        timeout: Any = None,
        verify: bool | str = True,  # noqa: ARG002
        cert: Any = None,  # noqa: ARG002
        proxies: Any = None,  # noqa: ARG002
    ) -> requests.Response:
        """Raise `requests.ReadTimeout` or `requests.ConnectionError` where the sandbox leaves no whole answer."""
        if request.method != "POST" or urlsplit(request.url or "").path != ENDPOINT:
            raise requests.exceptions.InvalidURL(f"the sandbox only takes a POST to …{ENDPOINT}")
        body = request.body.encode("latin-1") if isinstance(request.body, str) else request.body or b""
        content_type = str(request.headers.get("Content-Type", "")).partition(";")[0].strip()
        reply = self._works.receive(content_type, body)
        self._works.before_answer(reply)
        try:
            return self._answered(request, reply, timeout)
        finally:
            self._works.after_answer(reply)

    def close(self) -> None:
        """There is nothing to close."""

    def _answered(self, request: requests.PreparedRequest, reply: Reply, timeout: Any) -> requests.Response:
        patience = timeout[1] if isinstance(timeout, tuple) else timeout
        if reply.plan.fault is Fault.NEVER or (patience is not None and reply.plan.delay >= patience):
            raise requests.ReadTimeout("the sandbox answers too late", request=request)
        if reply.plan.fault is Fault.LOST:
            raise requests.ConnectionError("the sandbox has cut the connection", request=request)
        body = reply.body[: len(reply.body) // 2] if reply.cut == CUT_MIDDLE else reply.body
        raw = HTTPResponse(
            io.BytesIO(body),
            headers={
                "Content-Type": f"{reply.content_type}; charset=Shift_JIS",
                "Content-Length": str(len(reply.body)),
            },
            status=reply.plan.status,
            preload_content=False,
        )
        return HTTPAdapter().build_response(request, raw)
