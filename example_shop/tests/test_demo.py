"""``make demo``: it starts, says where to look, and ends without a trace."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
import requests

from example_shop.tests.running import RunningDemo

needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`, read from Linux's process table."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            if int(state[1]) == pid:
                found.append(int(entry.name))
    return found


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_the_demo_ends_with_both_servers(number: signal.Signals) -> None:
    """Ctrl-C, kill or closing the terminal ends shop and sandbox: status 0, no traceback, no process left."""
    with RunningDemo() as demo:
        for address in (demo.shop, demo.sandbox):
            assert requests.get(address, timeout=10).status_code == 200
        servers = children(demo.process.pid) if Path("/proc/self/stat").exists() else []
        assert demo.end(number) == 0
        assert "Traceback" not in demo.output
        assert "Shop and sandbox have ended." in demo.output
        for pid in servers:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        for address in (demo.shop, demo.sandbox):
            with pytest.raises(requests.ConnectionError):
                requests.get(address, timeout=10)


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT"])
def test_a_taken_port_is_named(name: str) -> None:
    """The message says which port, and how to choose another."""
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        demo = RunningDemo({name: str(port)})
        assert demo.finish() == 1
    assert f"Port {port} is taken. Choose another: make demo {name}=" in demo.output
    assert "Traceback" not in demo.output


def test_a_port_is_a_number() -> None:
    """A mistyped port is named, too."""
    demo = RunningDemo({"PORT": "eighty"})
    assert demo.finish() == 1
    assert demo.output.strip() == "PORT is 'eighty', not a port. Set it to a number from 1 to 65535."


def test_the_demo_is_protected_by_a_password_of_its_own() -> None:
    """Each start makes a new one; the one printed is the one that works."""
    with RunningDemo() as demo:
        staff = f"{demo.shop}/staff/"
        assert requests.get(staff, timeout=10).status_code == 401
        assert requests.get(staff, auth=("staff", demo.password), timeout=10).status_code == 200
