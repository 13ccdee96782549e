"""How ``flask zeus-cvs check`` finds out what a caller of the callback meets: over real connections."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from flask import Response, redirect, request
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import make_server

from flask_zeus_cvs import fulfillment_ready, review_required, silence_suspected
from flask_zeus_cvs.models import Memo, Notification, Review
from flask_zeus_cvs.payments import SWEPT
from flask_zeus_cvs.probe import QUESTION, question
from flask_zeus_cvs.staff import outside
from flask_zeus_cvs.staff.findings import Finding, Severity
from tests.blocks import assert_printed, block, dialogue
from tests.conftest import Shop, ShopMaker
from tests.database.test_check import GOOD, hear
from tests.visitors import Zeus
from tests.wire.raw_server import Server, always, reply

TOKEN = "k7QmVYd0aZ4tXw9cRb2s"


@pytest.fixture
def shop(make_shop: ShopMaker) -> Shop:
    """A shop in earnest, that permits ZEUS's addresses only."""
    return make_shop(testing=False, DELIVERY="deferred", CALLBACK_IPS=["198.51.100.1"])


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that lead to this machine, as a shop's name leads to its proxy, and one that nobody knows."""
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **more: Any) -> Any:
        if host == "nowhere.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return real("127.0.0.1" if host == "shop.example" else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@contextmanager
def serving(app: Any, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve a WSGI app on a free port of loopback."""
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=tls)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def asked(shop: Shop, url: str, key: str | None = "not a secret") -> dict[str, Finding]:
    """What the check finds at a URL, by code."""
    found = outside.examine(
        outside.callback_url(shop.payments.settings, url),
        shop.payments.settings,
        key,
        production=not shop.app.testing,
    )
    return {each.code: each for each in found}


def bad(found: dict[str, Finding]) -> set[str]:
    return {code for code, each in found.items() if each.severity is not Severity.FINE}


class Proxy:
    """A proxy in front of an app, as far as the app can tell: another address, and headers."""

    def __init__(
        self, app: Any, *, honest: bool = True, scheme: str = "http", address: str = "10.0.0.5"
    ) -> None:
        self.app, self.honest, self.scheme, self.address = app, honest, scheme, address

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        came = [environ["HTTP_X_FORWARDED_FOR"]] if "HTTP_X_FORWARDED_FOR" in environ else []
        environ["HTTP_X_FORWARDED_FOR"] = ", ".join([*came, "203.0.113.50"] if self.honest else came or ["?"])
        environ["HTTP_X_FORWARDED_PROTO"] = self.scheme
        environ["REMOTE_ADDR"] = self.address
        environ["wsgi.url_scheme"] = "http"  # TLS ends here
        return self.app(environ, start)


# What the app sees


def test_a_shop_that_is_reached(shop: Shop) -> None:
    """The 403 is our own, by GET and by POST; nothing is stored, and nobody is logged as refused."""
    with serving(shop.app) as port:
        found = asked(shop, f"http://127.0.0.1:{port}")
    assert bad(found) == set()
    assert "a 403 of our own" in found["callback.reached"].what
    assert "as 127.0.0.1 over http, with no proxy" in found["proxy.seen"].what
    assert (shop.all(Notification), shop.all(Review)) == ([], [])


def test_nothing_is_stored_where_everyone_is_permitted(make_shop: ShopMaker) -> None:
    """On a developer's machine the check's own address may notify, and the check is no notice all the same."""
    shop = make_shop()
    with serving(shop.app) as port:
        found = asked(shop, f"http://127.0.0.1:{port}")
    assert bad(found) == set()
    assert (shop.all(Notification), shop.all(Review)) == ([], [])


def test_the_token_is_used_and_not_shown(make_shop: ShopMaker) -> None:
    """The URL that is asked ends in the token; what is said does not."""
    shop = make_shop(testing=False, DELIVERY="deferred", CALLBACK_IPS=["198.51.100.1"], CALLBACK_TOKEN=TOKEN)
    with serving(shop.app) as port:
        found = asked(shop, f"http://127.0.0.1:{port}/")
    assert bad(found) == set()
    assert "/zeus-cvs/callback/k7Q… answers" in found["callback.reached"].what
    assert not any(TOKEN in each.what + each.cure for each in found.values())


def test_a_question_by_somebody_else(shop: Shop) -> None:
    """Without the key one is a caller like any other: refused, and told nothing."""
    zeus = Zeus(shop.app, address="203.0.113.9")
    for value in ("", "check", question("another key")):
        answer = zeus.call(b"status=04", headers={QUESTION: value})
        assert (answer.status_code, answer.text) == (403, "Forbidden")
        assert not [name for name, _ in answer.headers if "Zeus" in name]


def test_a_proxy_that_is_read(shop: Shop) -> None:
    """Behind one proxy with ProxyFix, the app sees the caller, and a header of his own is not believed."""
    app = Proxy(ProxyFix(shop.app.wsgi_app, x_for=1, x_proto=1))
    with serving(app) as port:
        found = asked(shop, f"http://shop.example:{port}")
    assert bad(found) == {"callback.plain_http"}
    assert "as 203.0.113.50 over http, through a proxy at 10.0.0.5" in found["proxy.seen"].what


def test_a_proxy_that_is_not_read(shop: Shop) -> None:
    """Without ProxyFix the app takes the proxy's address for everybody's."""
    with serving(Proxy(shop.app)) as port:
        found = asked(shop, f"http://shop.example:{port}")
    assert found["proxy.address"].severity is Severity.ERROR
    assert "10.0.0.5" in found["proxy.address"].what
    assert "ProxyFix" in found["proxy.address"].cure


def test_a_proxy_that_says_nothing(shop: Shop) -> None:
    """A proxy on the same machine that passes no address on: the shop's name does not lead to loopback by itself."""
    with serving(shop.app) as port:
        found = asked(shop, f"http://shop.example:{port}")
    assert "passes no caller's address on" in found["proxy.address"].what


def test_an_address_that_callers_can_make_up(shop: Shop) -> None:
    """With ProxyFix set for more proxies than there are, whoever calls can claim to be ZEUS."""
    app = Proxy(ProxyFix(shop.app.wsgi_app, x_for=2, x_proto=1))
    with serving(app) as port:
        found = asked(shop, f"http://shop.example:{port}")
    assert found["proxy.forgeable"].severity is Severity.ERROR


def test_a_proxy_whose_address_is_permitted(make_shop: ShopMaker) -> None:
    """The check comes from somewhere else than ZEUS: if it may notify, so may everybody behind that proxy."""
    shop = make_shop(testing=False, DELIVERY="deferred", CALLBACK_IPS=["198.51.100.1", "10.0.0.0/24"])
    with serving(Proxy(shop.app)) as port:
        found = asked(shop, f"http://shop.example:{port}")
    assert found["proxy.permitted"].severity is Severity.ERROR
    assert shop.all(Review) == []


def test_https_that_the_app_takes_for_http(shop: Shop, tls: ssl.SSLContext) -> None:
    """TLS ends at the proxy, and the app does not hear of it: customers' pages would refuse everyone."""
    with serving(Proxy(ProxyFix(shop.app.wsgi_app, x_for=1, x_proto=0)), tls) as port:
        found = asked(shop, f"https://shop.example:{port}")
    assert bad(found) == {"proxy.scheme"}
    with serving(Proxy(ProxyFix(shop.app.wsgi_app, x_for=1, x_proto=1), scheme="https"), tls) as port:
        assert bad(asked(shop, f"https://shop.example:{port}")) == set()


def test_a_host_that_the_proxy_changes(shop: Shop) -> None:
    """A proxy that calls the shop by an inner name makes it link to that."""

    def renaming(environ: dict[str, Any], start: Any) -> Any:
        environ["HTTP_HOST"] = "backend:8000"
        return shop.app.wsgi_app(environ, start)

    with serving(renaming) as port:
        assert bad(asked(shop, f"http://127.0.0.1:{port}")) == {"proxy.host"}


@pytest.mark.parametrize("theirs", [{"CALLBACK_IPS": None}, {"CALLBACK_TOKEN": "another-token-that-is-long"}])
def test_a_server_with_other_settings(shop: Shop, make_shop: ShopMaker, theirs: dict[str, Any]) -> None:
    """The running server was not restarted since the settings changed."""
    settings = {"CALLBACK_IPS": ["127.0.0.1"], "CALLBACK_TOKEN": TOKEN}
    here = make_shop(testing=True, **settings)
    there = make_shop(testing=True, **{**settings, **theirs})
    with serving(there.app) as port:
        found = asked(here, f"http://127.0.0.1:{port}")
    assert "callback.other_settings" in bad(found)


def test_a_server_with_another_key(shop: Shop) -> None:
    """The callback answers, and does not know us: reached, but it says no more; and nothing was stored."""
    with serving(shop.app) as port:
        found = asked(shop, f"http://127.0.0.1:{port}", key="another key")
        assert bad(found) == {"callback.other_key"}
        assert bad(asked(shop, f"http://127.0.0.1:{port}", key=None)) == {"callback.other_key"}
    assert shop.all(Review) == []


@pytest.mark.parametrize(
    ("ahead", "severity", "said"),
    [
        (timedelta(seconds=-8), None, ""),
        (timedelta(seconds=40), Severity.WARNING, "seconds ahead of the clock here"),
        (timedelta(minutes=-50), Severity.ERROR, "minutes behind the clock here"),
    ],
)
def test_clocks_that_differ(shop: Shop, ahead: timedelta, severity: Severity | None, said: str) -> None:
    """The Date of the answer is compared with the clock here; the seconds of the way are allowed for."""
    date = format_datetime(datetime.now(UTC) + ahead, usegmt=True)
    with Server(always(reply(b"", b"Date: " + date.encode(), status=b"404 Not Found"))) as server:
        found = asked(shop, f"http://127.0.0.1:{server.port}").get("clock.server")
    assert (found.severity if found else None) is severity
    assert found is None or said in found.what


# What stands in the shop's own way


def test_a_login_wall_of_the_shops_own(shop: Shop) -> None:
    """A before_request that asks for a login would send notices away."""

    @shop.app.before_request
    def login() -> Any:
        return redirect("/login?next=" + request.path)

    with serving(shop.app) as port:
        found = asked(shop, f"http://127.0.0.1:{port}")
    assert "A POST of the callback is answered 302" in found["callback.kept_away"].what
    assert "callback.reached" not in found


def test_a_csrf_wall_of_the_shops_own(shop: Shop) -> None:
    """One that lets GET pass and not POST is seen, too; Flask-WTF's, from which we are exempt, does no harm."""
    CSRFProtect(shop.app)
    walls: list[Response] = []

    @shop.app.before_request
    def check_token() -> Any:
        return walls[0] if walls and request.method == "POST" else None

    with serving(shop.app) as port:
        assert bad(asked(shop, f"http://127.0.0.1:{port}")) == set()
    walls.append(Response("CSRF", 400))
    with serving(shop.app) as port:
        found = asked(shop, f"http://127.0.0.1:{port}")
    assert found["callback.kept_away"].what.startswith("A POST of the callback is answered 400")


# What is met instead of the shop


@pytest.mark.parametrize(
    ("status", "headers", "code", "said"),
    [
        (b"404 Not Found", [], "callback.not_found", "answered 404"),
        (b"302 Found", [b"Location: /login?next=/"], "callback.login", "leads to http://127.0.0.1:"),
        (b"302 Found", [b"Location: https://sso.example/x"], "callback.login", "https://sso.example/x"),
        (
            b"301 Moved",
            [b"Location: https://www.shop.example/"],
            "callback.redirected",
            "https://www.shop.example/",
        ),
        (b"308 Moved", [], "callback.redirected", "answered 308"),
        (b"401 No", [b'WWW-Authenticate: Basic realm="x"'], "callback.login", "answered 401"),
        (
            b"403 Forbidden",
            [b"Server: cloudflare", b"CF-Ray: 1"],
            "callback.wall",
            "403 by Cloudflare and cloudflare",
        ),
        (b"403 Forbidden", [], "callback.wall", "answered 403"),
        (b"429 Slow", [], "callback.wall", "answered 429"),
        (b"200 OK", [b"X-Varnish: 3"], "callback.stranger", "answered 200 by Varnish"),
        (b"405 Not Allowed", [b"Server: nginx"], "callback.stranger", "answered 405 by nginx"),
        (b"502 Bad Gateway", [b"Server: nginx"], "callback.failing", "answered 502 by nginx"),
        (b"503 Busy", [], "callback.failing", "answered 503"),
    ],
)
def test_somebody_else_answers(shop: Shop, status: bytes, headers: list[bytes], code: str, said: str) -> None:
    """Each kind of answer has a finding of its own, and after it no GET follows: it might be a notice to somebody."""
    with Server(always(reply(b"", *headers, status=status))) as server:
        found = asked(shop, f"http://127.0.0.1:{server.port}")
    assert bad(found) == {code}
    assert said in found[code].what
    assert [head.split(b" ")[0] for head, _ in server.requests] == [b"HEAD"]


def test_a_redirect_that_holds_the_token(make_shop: ShopMaker) -> None:
    """A redirect to https keeps the path, and what is said of it does not show the token."""
    shop = make_shop(testing=False, DELIVERY="deferred", CALLBACK_TOKEN=TOKEN)
    answer = reply(
        b"", b"Location: https://shop.example/zeus-cvs/callback/" + TOKEN.encode(), status=b"301 Moved"
    )
    with Server(always(answer)) as server:
        found = asked(shop, f"http://127.0.0.1:{server.port}")
    assert "https://shop.example/zeus-cvs/callback/k7Q…" in found["callback.redirected"].what


def test_nobody_answers(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such name, no server, a server that says nothing."""
    monkeypatch.setattr(outside, "WAIT", (0.3, 0.3))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert bad(asked(shop, f"http://127.0.0.1:{port}")) == {"callback.timeout"}
    assert bad(asked(shop, f"http://127.0.0.1:{port}")) == {"callback.unreachable"}
    assert "callback.unknown_host" in bad(asked(shop, "https://nowhere.example"))


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's side of TLS for shop.example, by an authority that the check trusts."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("shop.example").configure_cert(context)
    return context


def test_a_certificate_that_does_not_hold(
    shop: Shop, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by an authority that nobody knows."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with serving(shop.app, tls) as port:
        assert bad(asked(shop, f"https://shop.example:{port}")) == {"callback.tls"}


@pytest.mark.parametrize(
    ("root", "url"),
    [
        ("https://shop.example", "https://shop.example/zeus-cvs/callback/" + TOKEN),
        ("https://shop.example/", "https://shop.example/zeus-cvs/callback/" + TOKEN),
        ("https://shop.example/tea/", "https://shop.example/tea/zeus-cvs/callback/" + TOKEN),
        ("https://shop.example/zeus-cvs/callback/abc?x=1", "https://shop.example/zeus-cvs/callback/abc?x=1"),
    ],
)
def test_the_url_is_completed(make_shop: ShopMaker, root: str, url: str) -> None:
    """The shop's root is enough; what is a callback's URL already is asked as it is."""
    assert outside.callback_url(make_shop(CALLBACK_TOKEN=TOKEN).payments.settings, root) == url


def test_it_prints_what_the_page_shows(make_shop: ShopMaker, tls: ssl.SSLContext) -> None:
    """A shop whose proxy is not read, and where neither a notice nor cron has come: in these words, so many findings."""
    shop = make_shop(testing=False, **{**GOOD, "CALLBACK_TOKEN": TOKEN})
    shop.app.config.update(SECRET_KEY="long enough to be kept", SESSION_COOKIE_SECURE=True)
    with shop.db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    for signal in (fulfillment_ready, review_required, silence_suspected):
        signal.connect(hear, sender=shop.app)
    shop.payments.database.write(lambda session: session.add(Memo(key=SWEPT, value="null")))
    ((command, output),) = dialogue(block("11-check", "$ flask zeus-cvs check --url"))
    *words, url = command.removeprefix("flask ").split()
    shop.app.wsgi_app = Proxy(ProxyFix(shop.app.wsgi_app, x_for=0, x_proto=1), scheme="https")  # type: ignore[method-assign, assignment]
    with serving(shop.app, tls) as port:
        printed = shop.app.test_cli_runner().invoke(args=[*words, f"{url}:{port}"]).output
    without_port = printed.replace(f":{port}", "")
    assert_printed(
        " ".join(without_port.split()), " ".join(output.split())
    )  # the port has moved a line's end
