"""A host's own transport adapter (ZEUS_CVS_TRANSPORT): whether a slip may exist is what its error says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProtocolError

from flask_zeus_cvs.exceptions import GatewayError, NotSent, Unanswered
from flask_zeus_cvs.gateway import Gateway
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.protocol.messages import ApplicationRequest, Outcome
from flask_zeus_cvs.settings import ENDPOINT, Settings

REQUEST = ApplicationRequest(
    clientip="0012345678",
    money=3000,
    username="ヤマダ",
    telno="0312345678",
    email="taro@example.com",
    pay_cvs=Store.LAWSON,
)
ACCEPTED = (
    b"rel=Success_order\norder_no=26-1\npay_no1=123456\npay_no2=654321\n"
    b"pay_limit=20991231\npay_url=\nerror_code=\n"
)
REFUSED = NewConnectionError(None, "refused")  # type: ignore[arg-type]


class Carrier(BaseAdapter):
    """Gives the answers it was told, one by one, and remembers what it was given to carry."""

    def __init__(self, *answers: bytes | Exception) -> None:
        super().__init__()
        self._answers = list(answers)
        self.carried: list[requests.PreparedRequest] = []
        self.options: dict[str, Any] = {}

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.carried.append(request)
        self.options = options
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        response = requests.Response()
        response.status_code, response._content, response._content_consumed = 200, answer, True  # type: ignore[attr-defined]
        return response

    def close(self) -> None:
        """There is nothing to close."""


def gateway(carrier: Carrier) -> Gateway:
    return Gateway(Settings(client_ip="0012345678", transport=carrier, connect_timeout=3, read_timeout=7))


def test_it_carries_the_post_instead_of_our_own_connections() -> None:
    """One POST to the endpoint, in our own words and with both time-outs; its answer is read."""
    carrier = Carrier(ACCEPTED)
    assert gateway(carrier).apply(REQUEST).outcome is Outcome.accepted
    [carried] = carrier.carried
    assert (carried.method, carried.url, carried.body) == ("POST", ENDPOINT, REQUEST.encode())
    assert carrier.options["timeout"] == (3, 7)


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "make",
    [
        lambda: requests.ConnectTimeout("slow"),
        lambda: requests.ConnectionError(MaxRetryError(None, "/", REFUSED)),  # type: ignore[arg-type]
        lambda: requests.ConnectionError(REFUSED),
        lambda: chained(requests.ConnectionError("refused"), REFUSED),
    ],
    ids=["timeout", "as requests has it", "bare", "chained"],
)
def test_without_a_connection_nothing_was_sent(make: Callable[[], Exception]) -> None:
    """It is tried once more, as ours is; then applying again is safe, and the shop is told so."""
    carrier = Carrier(make(), make())
    with pytest.raises(NotSent):
        gateway(carrier).apply(REQUEST)
    assert len(carrier.carried) == 2
    assert gateway(Carrier(make(), ACCEPTED)).apply(REQUEST).outcome is Outcome.accepted


@pytest.mark.parametrize(
    "error",
    [
        requests.ReadTimeout("slow"),
        requests.ConnectionError("cut"),
        requests.ConnectionError(ProtocolError("cut", ConnectionResetError())),
        requests.ConnectionError(MaxRetryError(None, "/", ConnectTimeoutError())),  # type: ignore[arg-type]
        requests.exceptions.ChunkedEncodingError("cut"),
        TimeoutError(),
        RuntimeError("a bug of the adapter"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_failure_may_have_left_a_slip(error: Exception) -> None:
    """Nobody knows what ZEUS has done: it is not sent again."""
    carrier = Carrier(error)
    with pytest.raises(Unanswered):
        gateway(carrier).apply(REQUEST)
    assert len(carrier.carried) == 1


def test_its_error_is_not_quoted() -> None:
    """What an adapter says may hold what the customer typed."""
    with pytest.raises(GatewayError) as caught:
        gateway(Carrier(requests.ReadTimeout("taro@example.com"))).apply(REQUEST)
    assert "taro" not in str(caught.value)
    assert caught.value.__context__ is None
