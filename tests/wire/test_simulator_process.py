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
from flask_zeus_cvs.simulator import Contract, Simulator
from flask_zeus_cvs.simulator.__main__ import arguments, simulator
from tests.wire.simulator_peers import Ear, Line, apply, form, post, suite, talk

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


#: An option for each term of the contract, as it is typed, and as the API tells it then.
OPTIONS: dict[str, tuple[str, str, object]] = {
    "clientip": ("--clientip", "0000000001", "0000000001"),
    "testids": ("--testid", "00000001,00000002", ["00000001", "00000002"]),
    "stores": ("--stores", "D002,D030", ["D002", "D030"]),
    "pay_within_days": ("--pay-within-days", "3", 3),
    "on_request": ("--on-request", "02,03", ["02", "03"]),
    "notify": (
        "--notify",
        "http://127.0.0.1:9/zeus-cvs/callback?shop=7",
        "http://127.0.0.1:9/zeus-cvs/callback?shop=7",
    ),
    "parameters": ("--parameters", "order_no,status,money", ["order_no", "status", "money"]),
    "method": ("--method", "POST", "POST"),
    "agent": ("--agent", "Sandbox 1.0", "Sandbox 1.0"),
    "sent_from": ("--sent-from", "127.0.0.2", "127.0.0.2"),
    "retries": ("--retries", "2", 2),
    "retry_minutes": ("--retry-minutes", "0.5", 0.5),
    "confirm_after_days": ("--confirm-after-days", "D002=1,D030=0", {"D002": 1, "D030": 0}),
    "test_outcome_minutes": ("--test-outcome-minutes", "10", 10.0),
    "stopped": ("--stopped", "true", True),
    "mail_to": ("--mail-to", "staff@example.com", "staff@example.com"),
    "mails_off": ("--mails-off", "customer,payment_received", ["customer", "payment_received"]),
    "customer_message": ("--customer-message", "ありがとうございます", "ありがとうございます"),
}


def test_every_term_of_the_contract_is_an_option(start: Callable[..., Started]) -> None:
    """Whatever is agreed with ZEUS can be said at the start, and a reset comes back to that; and so can the time."""
    assert set(OPTIONS) == set(Contract().as_json())
    typed = [each for option, value, _ in OPTIONS.values() for each in (option, value)]
    process, said = start(*typed, "--clock", "2026-12-28T09:00:00+09:00", "--seed", "7")
    assert "POST http://127.0.0.1:9/" in said
    assert "2026-12-28 09:0" in said
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert found
    agreed = {name: told for name, (_, _, told) in OPTIONS.items()}
    assert requests.get(f"{found[0]}/api/contract", timeout=10).json() == agreed
    requests.patch(
        f"{found[0]}/api/contract", json={"retries": 9, "on_request": [], "notify": ""}, timeout=10
    )
    requests.post(f"{found[0]}/api/clock", data={"forward": "2 days"}, timeout=10)
    requests.post(f"{found[0]}/api/reset", timeout=10)
    assert requests.get(f"{found[0]}/api/contract", timeout=10).json() == agreed
    assert requests.get(f"{found[0]}/api/clock", timeout=10).json()["now"].startswith("2026-12-28T09:0")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0


def test_help_names_every_option() -> None:
    """And says that it is not ZEUS."""
    helped = ended("--help")
    assert helped.returncode == 0
    assert "It is not ZEUS" in " ".join(helped.stdout.split())
    for option in ("--smtp", "--seed", "--clock", "--allow-remote", *(each[0] for each in OPTIONS.values())):
        assert f"{option} " in helped.stdout


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--retries", "99"], "--retries: give a number from 0 to 10"),
        (["--method", "PUT"], "--method: there is no 'PUT': take one of GET, POST"),
        (["--on-request", "04"], "take some of 02, 03"),
        (["--parameters", "status,password"], "take some of clientip, money"),
        (["--confirm-after-days", "D001"], "as D001=2 D002=3"),
        (["--pay-within-days", "60"], "--pay-within-days: give a number from 2 to 59"),
        (["--clientip", "123"], "--clientip: "),
        (["--notify", "shop.example"], "--notify: give an http or https address"),
        (["--port", "99999"], "--port: give a number from 0 to 65535"),
        (["--clock", "tomorrow"], "as 2026-12-01T09:00:00+09:00"),
        (["--notice-timeout", "0"], "--notice-timeout: give a number from 0.01"),
        (["--smtp", "mail"], "give host:port, as 127.0.0.1:1025"),
        (["--smtp", "192.0.2.1:25"], "--allow-remote"),
        (["--host", "192.0.2.1"], "--allow-remote"),
        (["--ports", "1"], "unrecognized arguments: --ports"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_ends_with_its_cure(
    typed: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence that names the option and what there is; nothing has listened."""
    with pytest.raises((SystemExit, ConfigurationError)) as raised:
        simulator(arguments(["--port", "0", *typed]))
    said = capsys.readouterr().err if isinstance(raised.value, SystemExit) else str(raised.value)
    assert says in said


def test_a_mistake_is_told_by_the_status() -> None:
    """2, whoever found it; and no traceback."""
    for mistake in (["--retries", "99"], ["--port", "x"], ["--smtp", "192.0.2.1:25"]):
        refused = ended(*mistake)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "Traceback" not in refused.stderr


def test_listening_to_all_is_said_loudly(start: Callable[..., Started]) -> None:
    """Allowed or not: what it means is the first thing that is read."""
    _, said = start("--host", "0.0.0.0", "--allow-remote")
    assert said.startswith("WARNING: it listens on 0.0.0.0.")


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=30)


def test_a_taken_port_is_said_plainly() -> None:
    """Status 2 and a sentence that names the port and the cure."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = ended("--port", str(port))
        assert refused.returncode == 2
        assert f"cannot listen on 127.0.0.1 port {port}" in refused.stderr
        assert "Choose another port (--port)" in refused.stderr
        assert "Traceback" not in refused.stderr
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
    assert "2 passed" in suite(tmp_path, "-W", "error")
