"""Workers that are greenlets: a slow ZEUS holds up nobody, if gevent patches before anything is imported."""

from __future__ import annotations

import ssl
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.conftest import CLIENT_IP
from tests.wire.raw_server import SUCCESS, Peer, Server, reply
from tests.wire.sites import at_once, serving, until

WORKER = ("-w", "1", "-k", "gevent")
PATCHED = "from gevent import monkey\n\nmonkey.patch_all()\n"
NOTICE = "order_no=9999-9&status=04&money=3000"


class SlowZeus(Server):
    """Answers an application when it may."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(self.take, tls)
        self.may_answer = threading.Event()

    def take(self, server: Server, peer: Peer) -> None:
        request = peer.read_request()
        if request is not None:
            self.requests.append(request)
            self.may_answer.wait(15)
            peer.send(reply(SUCCESS))


@pytest.fixture
def zeus(tmp_path: Path, closing: ExitStack, monkeypatch: pytest.MonkeyPatch) -> SlowZeus:
    """A ZEUS that speaks TLS, which the shop trusts."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    return closing.enter_context(SlowZeus(context))


@pytest.fixture
def settings(tmp_path: Path, zeus: SlowZeus) -> dict[str, Any]:
    return {
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.db'}",
        "ZEUS_CVS_CLIENT_IP": CLIENT_IP,
        "ZEUS_CVS_ENDPOINT": zeus.url,
        "ZEUS_CVS_REQUIRE_HTTPS": False,
    }


@pytest.mark.parametrize(
    ("options", "conf"),
    [(WORKER, ""), ((*WORKER, "--preload"), PATCHED)],
    ids=["gevent", "gevent-preload-patched-first"],
)
def test_a_slow_zeus_delays_no_notice(
    tmp_path: Path, zeus: SlowZeus, settings: dict[str, Any], options: tuple[str, ...], conf: str
) -> None:
    """One worker waits for ZEUS, in TLS, and takes notices meanwhile; with --preload, if gunicorn.conf.py patches."""
    with serving(tmp_path, *options, conf=conf, **settings) as site:

        def notify() -> None:
            until(lambda: len(zeus.requests), 1)
            assert site.call(NOTICE).status == 200
            zeus.may_answer.set()

        at_once([lambda: site.apply("A-1"), notify])
        assert site.orders() == {"A-1": ["awaiting_payment", 0]}
    assert "Traceback" not in site.said()


def test_gevent_that_patches_too_late_is_named(
    tmp_path: Path, zeus: SlowZeus, settings: dict[str, Any]
) -> None:
    """With --preload alone gevent patches after we are imported: refused, with the cure, instead of failing TLS."""
    zeus.may_answer.set()
    with serving(tmp_path, *WORKER, "--preload", **settings) as site:
        site.apply("A-1")
    assert "gunicorn.conf.py" in site.said()
