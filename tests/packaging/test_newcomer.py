"""The newcomer's way: an empty folder, a new environment, and nothing but what two pages say."""

from __future__ import annotations

import html
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.blocks import block
from tests.conftest import missing
from tests.database.test_readme import PATIENCE, running
from tests.papers import ROOT
from tests.waiting import until

#: Minutes that the docs promise.
PROMISED = 10
#: What pip says where no package index answers.
_NO_INDEX = re.compile("No matching distribution|Max retries exceeded|Temporary failure in name resolution")


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


class Newcomer:
    """A person in an empty folder, with this Python and a clone beside it; ports are other than the pages'."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shop"
        self.ports = {"5000": free_port(), "5001": free_port()}
        programs = folder / "programs"
        for made in (self.folder, programs):
            made.mkdir()
        (programs / "python3").symlink_to(Path(sys._base_executable))  # type: ignore[attr-defined]
        (folder / "Flask-Zeus-CVS").symlink_to(ROOT)
        kept = {name: each for name, each in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
        self.environment = {**kept, "PATH": f"{programs}:{os.environ['PATH']}"}

    def copies(self, name: str, text: str) -> None:
        """Paste a page's code into a file."""
        (self.folder / name).write_text(self.with_ports(text), "utf-8")

    def types(self, lines: str) -> str:
        """Type lines into a terminal, where the environment is active once it is there, and read what they say."""
        done = subprocess.run(
            ["sh", "-ec", self._active(lines)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60 * PROMISED,
            check=False,
        )
        if done.returncode and _NO_INDEX.search(done.stdout):
            missing("a package index")
        assert done.returncode == 0, done.stdout
        return done.stdout

    def command(self, line: str) -> list[str]:
        """A line for a terminal of its own."""
        return ["sh", "-ec", self._active(f"exec {self.with_ports(line)}")]

    def with_ports(self, text: str) -> str:
        return re.sub("|".join(self.ports), lambda found: self.ports[found[0]], text)

    def _active(self, lines: str) -> str:
        there = (self.folder / ".venv").exists()
        return f". .venv/bin/activate\n{lines}" if there else lines


@pytest.mark.skipif(os.name != "posix", reason="the page's commands are a POSIX shell's")
def test_from_an_empty_folder_to_a_paid_order_and_its_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word by word: installed, the shop and the sandbox started, bought, paid, shipped, and tested; in time."""
    if shutil.which("sh") is None:
        missing("sh")
    began = time.monotonic()
    newcomer = Newcomer(tmp_path)
    newcomer.types(block("1-quickstart", "python3 -m venv"))
    newcomer.copies("shop.py", block("1-quickstart", "from flask import Flask"))
    sandbox, shop = block("1-quickstart", "python -m flask_zeus_cvs.simulator").splitlines()
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", newcomer.environment["PATH"])
    port = newcomer.ports["5000"]
    with (
        running(newcomer.command(sandbox), newcomer.folder) as zeus,
        running(newcomer.command(f"{shop} --no-reload --port {port}"), newcomer.folder) as server,
        requests.Session() as browser,
    ):
        browser.trust_env = False
        api = zeus.until(r"API\s+(http://\S+)")
        address = server.until(r"Running on (http://\S+)")
        assert "Buy for 3,000 yen" in browser.get(address, timeout=PATIENCE).text
        form = browser.post(f"{address}/buy", timeout=PATIENCE)
        assert apply(browser, form, "Mary Smith").status_code == 422
        assert "お支払い番号のご案内" in apply(browser, form, "メアリー スミス").text
        (slip,) = browser.get(f"{api}/applications", timeout=PATIENCE).json()["applications"]
        browser.post(f"{api}/applications/{slip['order_no']}/pay", timeout=PATIENCE)
        assert server.until(r"Ship order (\S+)") == "A-1"
        until(lambda: browser.get(f"{address}/orders/1", timeout=PATIENCE).text == "A-1: shipped")
    story = newcomer.types(block("1-quickstart", "flask --app shop zeus-cvs show"))
    assert "event fulfillment_ready: goods may ship\n    shop.ship  #1 done" in story
    newcomer.copies("conftest.py", block("15-sandbox", "import pytest\nfrom shop"))
    newcomer.copies("test_shop.py", block("15-sandbox", "from flask_zeus_cvs import Customer"))
    assert "1 passed" in newcomer.types(block("15-sandbox", "python -m pytest"))
    assert time.monotonic() - began < 60 * PROMISED


def apply(browser: requests.Session, form: requests.Response, name: str) -> requests.Response:
    """Fill the form in and send it."""
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form.text)
    assert token is not None, form.text
    data = {
        "csrf_token": html.unescape(token[1]),
        "name": name,
        "phone": "090-1234-5678",
        "email": "mary@example.com",
        "store": "D030",
    }
    return browser.post(form.url, data=data, timeout=PATIENCE)
