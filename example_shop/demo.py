"""``make demo``: the shop and the sandbox on this machine, ended together by Ctrl-C.

The sandbox runs in this process and the shop under gunicorn in a child. Data are kept in
``instance/demo-<port>/`` or DEMO_FOLDER; every start begins with a new shop, since the sandbox forgets its slips too.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from flask import Flask

from example_shop import create_app
from example_shop.goods import stock_up
from flask_zeus_cvs import ConfigurationError
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.simulator import Simulator

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
#: What the sandbox expects, and what only a shop on loopback may do.
CONFIG: Mapping[str, Any] = {
    "SESSION_COOKIE_SECURE": False,
    "ZEUS_CVS_CLIENT_IP": "1234567890",
    "ZEUS_CVS_CALLBACK_IPS": [HOST],
    "ZEUS_CVS_REQUIRE_HTTPS": False,
}
#: Seconds for the shop to come up, and to go down.
PATIENCE = 30

WELCOME = """
  The shop      {shop}/
  The sandbox   {sandbox}/    stands in for ZEUS and for the tills of the stores
  Staff page    {shop}/staff/    any user name, password {password}
  Back office   {shop}/staff/konbini/    the payments, for the same people

  1. Put something into the cart, order it, and choose a store. フリガナ is how the name sounds,
     in katakana or hiragana: for Mary Smith, メアリー スミス.
  2. Pay the numbers you are given at {sandbox}/counter
  3. Look at the order again: it has been shipped.
  4. See what ZEUS saw: {sandbox}/screen (applications, notices, CSV), {sandbox}/mails;
     let a deadline pass at {sandbox}/clock, or an answer be lost at {sandbox}/trouble

  Ctrl-C ends both.
"""


class DemoError(Exception):
    """The demo cannot run; the message says why and what to do."""


def shop() -> Flask:
    """Build the shop as the demo runs it; secrets and addresses are in the environment."""
    return create_app(CONFIG)


def main() -> int:
    """Run until SIGINT, SIGTERM or the end of the terminal; 0 after one of these, 1 if something failed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with _demo() as child:
            child.wait()
            raise DemoError("The shop's web server has ended by itself; its messages are above.")
    except KeyboardInterrupt:
        click.echo("\nShop and sandbox have ended.")
        return 0
    except DemoError as error:
        click.echo(error, err=True)
        return 1


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _demo() -> Iterator[subprocess.Popen[bytes]]:
    """Run both; yield the shop's server once it answers, end both afterwards."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen())
        port = listener.getsockname()[1]
        address = f"http://{HOST}:{port}"
        sandbox = stack.enter_context(_sandbox(f"{address}/zeus-cvs/callback"))
        password = secrets.token_hex(4)
        os.environ.update(
            SHOP_SECRET_KEY=secrets.token_hex(32),
            SHOP_STAFF_PASSWORD=password,
            SHOP_SQLALCHEMY_DATABASE_URI=f"sqlite:///{_new_folder(port) / 'shop.db'}",
            SHOP_ZEUS_CVS_ENDPOINT=sandbox.endpoint,
        )
        with shop().app_context():
            stock_up()
        child = stack.enter_context(_gunicorn(listener))
        _wait_for(port, child)
        click.echo(WELCOME.format(shop=address, sandbox=sandbox.url, password=password))
        sys.stdout.flush()
        yield child


def _port(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.isdecimal() or int(value) > 65535:
        raise DemoError(f"{name} is {value!r}, not a port. Set it to a number from 1 to 65535.")
    return int(value)


def _taken(name: str, port: int) -> DemoError:
    return DemoError(f"Port {port} is taken. Choose another: make demo {name}={port + 10}")


def _listen() -> socket.socket:
    port = _port("PORT", 5000)
    try:
        listener = socket.create_server((HOST, port), backlog=128)
    except OSError:
        raise _taken("PORT", port) from None
    listener.set_inheritable(True)
    return listener


@contextlib.contextmanager
def _sandbox(callback: str) -> Iterator[Simulator]:
    port = _port("SANDBOX_PORT", 5001)
    sandbox = Simulator(callback, port=port)
    sandbox.contract.on_request = frozenset({Status.APPLICATION_FAILED, Status.EXPIRED})
    try:
        sandbox.start()
    except ConfigurationError:
        raise _taken("SANDBOX_PORT", port) from None
    try:
        yield sandbox
    finally:
        sandbox.stop()


def _new_folder(port: int) -> Path:
    folder = Path(os.environ.get("DEMO_FOLDER") or ROOT / "instance" / f"demo-{port}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("shop.db", "shop.db-wal", "shop.db-shm"):
        (folder / name).unlink(missing_ok=True)
    return folder


@contextlib.contextmanager
def _gunicorn(listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "example_shop" / "gunicorn.conf.py")]
    command += ["--bind", f"fd://{listener.fileno()}", "--graceful-timeout", "1", "example_shop.demo:shop()"]
    # A session of its own: a Ctrl-C in the terminal reaches only us, and we end it.
    child = subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()], start_new_session=True)
    try:
        yield child
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # we are at it
        child.terminate()
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_for(port: int, child: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while child.poll() is None and time.monotonic() < give_up_at:
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise DemoError("The shop did not come up; its messages are above.")
