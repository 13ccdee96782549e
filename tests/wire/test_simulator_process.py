"""The sandbox as a process of its own, and as a fixture in a shop's test suite."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.simulator import Simulator
from tests.wire.simulator_peers import Ear, Line, apply, form, post, talk

COMMAND = [sys.executable, "-W", "error", "-m", "flask_zeus_cvs.simulator"]
Started = tuple[subprocess.Popen[str], str]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is asked directly, whatever the machine's settings are."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    """Start the command, and return it with what it says first."""
    running: list[subprocess.Popen[str]] = []

    def started(*arguments: str) -> Started:
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout
        said = ""
        while not said.endswith("Ctrl-C ends it.\n"):
            line = process.stdout.readline()
            assert line, process.communicate(timeout=10)
            said += line
        return process, said

    yield started
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_runs_until_it_is_told_to_end(
    start: Callable[..., Started], number: signal.Signals
) -> None:
    """It prints what it is and where, takes applications, and ends with status 0, also with a connection open."""
    with Ear() as ear:
        process, said = start("--notify", ear.url, "--clientip", "0000000001", "--pay-within-days", "3")
        assert "THIS IS NOT ZEUS" in said
        assert ear.url in said
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found
        url = found[0]
        with Line(url) as line:
            line.send(post(form(clientip=b"0000000001")))
            assert line.read()[2].startswith(b"rel=Success_order\n")
            give_up = time.monotonic() + 10
            while not ear.heard and time.monotonic() < give_up:
                requests.get(url, timeout=10)
            assert ear.statuses == ["01"]
            process.send_signal(number)
            _, log = process.communicate(timeout=10)
        assert process.returncode == 0
        assert "accepted" in log
        for each in ("Traceback", "Warning", "0312345678", "hanako", "%83", "ヤマダ", "A1B2C3"):
            assert each not in log


def test_a_taken_port_is_said_plainly() -> None:
    """Status 2 and a sentence that names the port and the cure."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, check=False, timeout=30
        )
        assert ended.returncode == 2
        assert f"cannot listen on 127.0.0.1 port {port}" in ended.stderr
        assert "Choose another port (--port)" in ended.stderr
        assert "Traceback" not in ended.stderr
        with pytest.raises(ConfigurationError, match=f"port {port}"):
            Simulator(port=port).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "shop.example"])
def test_it_listens_on_loopback_only(host: str) -> None:
    """Another address must be asked for twice."""
    with pytest.raises(ConfigurationError, match="allow_remote"):
        Simulator(host=host)


def test_it_listens_elsewhere_when_told_so() -> None:
    """Then any Host is answered, and slips have the address that was given for browsers."""
    with Simulator(host="0.0.0.0", allow_remote=True, public_url="http://sandbox.example/") as zeus:
        url = f"http://127.0.0.1:{zeus.url.rsplit(':', 1)[1]}"
        apply(url, pay_cvs=b"D001")
        assert zeus.applications[0].pay_url.startswith("http://sandbox.example/slip/seven_eleven?order_no=")
        assert talk(url, b"GET / HTTP/1.1\r\nHost: sandbox.example\r\n\r\n")[0] == 200


def test_ipv6_loopback() -> None:
    """Where the machine has it."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with Simulator(host="::1") as zeus:
        assert zeus.url.startswith("http://[::1]:")
        assert apply(zeus.url).startswith(b"rel=Success_order\n")


def test_nothing_is_left_behind() -> None:
    """Ten sandboxes come and go with open connections: no thread stays, and the port is free at once."""
    before = set(threading.enumerate())
    with Simulator() as first:
        port = int(first.url.rsplit(":", 1)[1])
    for _ in range(10):
        with Simulator(port=port) as zeus, Line(zeus.url) as line:
            line.send(post(form()))
            line.read()
    assert not set(threading.enumerate()) - before


def test_the_fixture_works_with_nothing_but_the_package(tmp_path: Path) -> None:
    """A shop's own suite, elsewhere, with warnings as errors: installed is enough."""
    (tmp_path / "test_shop.py").write_text(
        "import urllib.request\n"
        "def test_shop(zeus_simulator):\n"
        "    assert zeus_simulator.applications == []\n"
        f"    body = {form()!r}\n"
        "    answer = urllib.request.urlopen(zeus_simulator.endpoint, body).read()\n"
        "    assert answer.startswith(b'rel=Success_order')\n"
        "    order_no = zeus_simulator.applications[0].order_no\n"
        "    assert zeus_simulator.pay(order_no).status == '04'\n"
        "def test_again(zeus_simulator):\n"
        "    assert zeus_simulator.applications == []\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr
