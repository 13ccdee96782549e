"""What the README tells a shop owner to type works, as it stands there."""

from __future__ import annotations

import html
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from flask_zeus_cvs.simulator import Simulator
from tests.blocks import block

ROOT = Path(__file__).parents[2]
README, JAPANESE = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.ja.md"))
QUICKSTART = block("README", "from flask import")
COMMANDS = block("README", "python -m flask_zeus_cvs.simulator")
#: Seconds until a program that says nothing is ended.
PATIENCE = 60


def command(beginning: str) -> list[str]:
    """The README's one command that begins like this, run by the Python of the tests."""
    (line,) = re.findall(rf"^{re.escape(beginning)}.*$", COMMANDS, flags=re.M)
    words = shlex.split(line)
    return [sys.executable, *words[1:]] if words[0] == "python" else [sys.executable, "-m", *words]


class Program:
    """A program that runs, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""

    def until(self, pattern: str) -> str:
        """Read on until a line matches, and return the match's first group."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"it ended without saying {pattern!r}:\n{self.said}")


@contextmanager
def running(words: list[str], folder: Path) -> Iterator[Program]:
    process = subprocess.Popen(
        words,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        yield Program(process)
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def code(text: str) -> list[str]:
    """Every block of code, fenced or indented, in its order."""
    return re.findall(r"^```[^`]*^```$|(?<=\n\n)(?: {4}.*\n)+", text, flags=re.M)


def outline(text: str) -> list[str]:
    """What a reader finds one way in both languages: headings, rows, points, and which pages are linked."""
    kinds = re.findall(r"^(#+ |\||\d+\. )|\]\((?:docs/)?(?:ja/)?([^)]+)\)", text, flags=re.M)
    return [mark or page for mark, page in kinds if not page.startswith("README")]


def test_japanese_readers_get_the_same_code() -> None:
    """Byte for byte, so that what is tested of the one holds for the other."""
    assert code(README) == code(JAPANESE)
    assert len(code(README)) == 3


def test_both_readmes_say_the_same_things() -> None:
    """The same sections, tables, points and pages, in the same order."""
    assert outline(README) == outline(JAPANESE)


@pytest.mark.parametrize("text", [README, JAPANESE], ids=["en", "ja"])
def test_the_comparison_is_short(text: str) -> None:
    """At most eight ways, in five minutes' reading."""
    (table,) = [each for each in re.findall(r"(?:^\|.*\n)+", text, flags=re.M) if "Welcart" in each]
    assert 5 <= len(table.splitlines()) - 2 <= 8


def test_the_quickstart_is_short() -> None:
    """At most 25 lines, as promised."""
    assert len(QUICKSTART.rstrip().splitlines()) <= 25


def test_the_quickstart_takes_a_payment(tmp_path: Path, zeus_simulator: Simulator) -> None:
    """The block is a shop: bought, applied, paid at the counter, and told to ship; only the ports are ours."""
    (tmp_path / "shop.py").write_text(
        QUICKSTART.replace("http://127.0.0.1:5001", zeus_simulator.url), "utf-8"
    )
    with (
        running([*command("flask --app shop"), "--port", "0", "--no-reload"], tmp_path) as shop,
        requests.Session() as browser,
    ):
        browser.trust_env = False
        address = shop.until(r"Running on (http://\S+)")
        zeus_simulator.notify = f"{address}/zeus-cvs/callback"

        form = browser.post(address, timeout=PATIENCE)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form.text)
        assert token is not None, form.text
        result = browser.post(
            form.url,
            data={
                "csrf_token": html.unescape(token[1]),
                "name": "ヤマダ　タロウ",
                "phone": "09012345678",
                "email": "taro@example.com",
                "store": "D002",
            },
            timeout=PATIENCE,
        )
        (application,) = zeus_simulator.applications
        assert application.pay_no1 in result.text

        zeus_simulator.pay(application.order_no)
        assert shop.until(r"Ship order (\S+)") == "A-1001"


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_the_sandbox_starts_as_the_readme_says(tmp_path: Path) -> None:
    """The command runs and says where to look; only the port is ours."""
    words = [word.replace("5001", "0") for word in command("python -m flask_zeus_cvs.simulator")]
    with running(words, tmp_path) as sandbox:
        address = sandbox.until(r"pages\s+(http://\S+)/")
        assert requests.get(f"{address}/counter", timeout=PATIENCE).status_code == 200
        sandbox.process.send_signal(signal.SIGINT)
        assert sandbox.process.wait(PATIENCE) == 0
