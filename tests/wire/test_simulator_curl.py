"""A shop in another language: the whole sandbox driven by the curl program alone, notices taken by a bare listener."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.blocks import block
from tests.conftest import missing
from tests.wire.simulator_peers import Ear

NAME = "%83%84%83%7D%83_%81%40%83%5E%83%8D%83E"  # ヤマダ　タロウ in Shift_JIS


class Curl:
    """The program, and the address that it talks to."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._program = shutil.which("curl") or missing("curl")
        self._environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "CURL_HOME": str(folder)}

    def __call__(self, *arguments: str) -> bytes:
        """Run it, and return the body; an HTTP error is an error of the test."""
        return self._run("--fail-with-body", *arguments).stdout

    def json(self, path: str, *arguments: str) -> Any:
        return json.loads(self(path, *arguments))

    def fails(self, path: str, *arguments: str) -> int:
        """Run it, and return its exit status: 28 time-out, 52 no answer, 18 half an answer."""
        return self._run(path, *arguments, check=False).returncode

    def apply(self, **fields: str) -> bytes:
        sent = {
            "clientip": "1234567890",
            "act": "secure_order",
            "money": "3000",
            "username": NAME,
            "telno": "0312345678",
            "email": "hanako@example.jp",
            "pay_cvs": "D002",
            "sendid": "A1",
            **fields,
        }
        return self("/cgi-bin/cvs.cgi", "-d", "&".join(f"{name}={value}" for name, value in sent.items()))

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        words = [self._url + each if each.startswith("/") else each for each in arguments]
        return subprocess.run(
            [self._program, "-sS", "--noproxy", "*", "--max-time", "20", *words],
            capture_output=True,
            check=check,
            timeout=60,
            env=self._environment,
        )


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as listening:
        yield listening


@pytest.fixture
def curl(ear: Ear, tmp_path: Path) -> Iterator[Curl]:
    """The sandbox as a process of its own, as any shop would start it."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "flask_zeus_cvs.simulator",
        "--port",
        "0",
        "--notify",
        ear.url,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            said = "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
            found = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert found, said
            yield Curl(found[0], tmp_path)
        finally:
            process.terminate()
            process.wait(timeout=10)


def answered(answer: bytes) -> dict[str, str]:
    """As a shop reads it: one name=value per line."""
    return dict(line.split("=", 1) for line in answer.decode("cp932").splitlines())


def test_a_shop_in_another_language(curl: Curl, ear: Ear) -> None:
    """Apply, pay, confirm; take back; expire; re-issue and pay the old slip; resend; mails; reset."""
    answer = answered(curl.apply())
    assert answer["rel"] == "Success_order"
    one = answer["order_no"]
    curl("/api/settle", "-X", "POST")
    assert ear.statuses == ["01"]
    assert f"order_no={one}".encode() in ear.heard[0]
    assert f"&username={NAME}&".encode() in ear.heard[0]

    assert curl.json(f"/api/applications/{one}/pay", "-X", "POST")["status"] == "04"
    assert curl.json(f"/api/applications/{one}/confirm", "-X", "POST")["status"] == "05"
    two = answered(curl.apply(sendid="A2", pay_cvs="D030"))["order_no"]
    curl(f"/api/applications/{two}/pay", "-X", "POST")
    curl(f"/api/applications/{two}/cancel", "-X", "POST")
    three = answered(curl.apply(sendid="A3"))["order_no"]
    fresh = curl.json(f"/api/applications/{three}/reissue", "-X", "POST")["order_no"]
    curl(f"/api/applications/{three}/pay", "-X", "POST")
    curl(f"/api/applications/{one}/resend", "-d", "status=04")
    assert curl.json("/api/settle", "-d", "timeout=10")["settled"]
    assert ear.statuses == ["01", "04", "05", "01", "04", "06", "01", "01", "11", "04"]

    curl("/api/contract", "-X", "PATCH", "-d", "on_request=02,03")
    moved = curl.json(
        "/api/clock",
        "-H",
        "Content-Type: application/json",
        "-d",
        f'{{"to": "deadline", "order_no": "{fresh}"}}',
    )
    assert moved["now"].endswith("+09:00")
    curl("/api/settle", "-X", "POST")
    assert ear.statuses[-2:] == ["12", "03"]
    listed = curl.json("/api/applications?status=03,05,06,12")
    assert [each["status"] for each in listed["applications"]] == ["05", "06", "12", "03"]
    mails = curl.json(f"/api/mails?order_no={three}")["mails"]
    assert [each["kind"] for each in mails] == [
        "customer",
        "application_completed",
        "received_after_cancel",
        "confirmed_after_cancel",
    ]
    assert curl.json("/api/calls?delivered=false")["total"] == 0

    curl("/api/reset", "-X", "POST")
    assert curl.json("/api/applications") == {"total": 0, "next": None, "applications": []}


def test_faults_from_another_language(curl: Curl, ear: Ear) -> None:
    """Lost, cut, late, never, refused, parameter error; notices dropped and doubled; a failed call and its mail."""
    curl("/api/faults/answers", "-d", "fault=lost")
    curl("/api/faults/answers", "-d", "fault=cut")
    curl("/api/faults/answers", "-d", "fault=never")
    patience = ("20", "20", "1")
    ends = [curl.fails("/cgi-bin/cvs.cgi", "--max-time", each, "-d", sent()) for each in patience]
    assert ends == [52, 18, 28]
    curl("/api/faults/answers", "-d", "error_code=0008")
    assert answered(curl.apply())["error_code"] == "0008"
    curl("/api/faults/answers", "-d", "parameter=telno")
    assert curl.apply() == b"Invalid telno"
    assert curl.json("/api/applications?status=01")["total"] == 3
    curl("/api/settle", "-X", "POST")
    ear.heard.clear()

    switch = curl.json("/api/faults/notices", "-d", "trouble=repeat&on=true")["switch"]
    order_no = answered(curl.apply())["order_no"]
    curl("/api/settle", "-X", "POST")
    assert ear.statuses == ["01", "01"]
    curl(f"/api/faults/notices/{switch}", "-X", "DELETE")
    ear.answers.append(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    curl(f"/api/applications/{order_no}/pay", "-X", "POST")
    curl("/api/settle", "-X", "POST")
    [failed] = curl.json("/api/calls?delivered=false")["calls"]
    assert (failed["order_no"], failed["status"], failed["answer"]) == (order_no, "04", 500)
    [mail] = curl.json("/api/mails?kind=call_failed")["mails"]
    assert "HTTP 500" in mail["text"]
    assert curl.fails("/api/applications/nobody/pay", "--fail", "-X", "POST") == 22


def sent() -> str:
    return (
        "clientip=1234567890&act=secure_order&money=3000"
        f"&username={NAME}&telno=0312345678&email=hanako@example.jp&pay_cvs=D002"
    )


def test_the_guides_commands_run_as_they_stand_there(curl: Curl) -> None:
    """Besides the port and the number of the application."""
    commands = block("15-sandbox", "curl 'http://127.0.0.1:5001/api/applications").splitlines()
    assert len(commands) >= 6
    order_no = answered(curl.apply())["order_no"]
    for command in commands:
        _, *words = shlex.split(command.replace("http://127.0.0.1:5001", "").replace("ORDER_NO", order_no))
        assert "error" not in json.loads(curl(*words))
