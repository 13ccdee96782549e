"""What ``import flask_zeus_cvs`` adds to a shop's start: each time a fresh process, with Python's bytecode at hand.

What setting up an app takes then is told, too: it imports the rest of what a worker needs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

import click

#: What a shop that uses us has imported anyway.
ANYWAY = "flask, flask_sqlalchemy, flask_wtf, requests"
#: Milliseconds of CPU that we may add.
GOAL = 40.0
_SCRIPT = f"""
import time
began = time.process_time(), time.perf_counter()
import {ANYWAY}
without = time.process_time(), time.perf_counter()
import flask_zeus_cvs
whole = time.process_time(), time.perf_counter()
app = flask.Flask("shop")
app.config.update(SQLALCHEMY_DATABASE_URI="sqlite:///shop.db", ZEUS_CVS_CLIENT_IP="1234567890")
db = flask_sqlalchemy.SQLAlchemy(app)
ready = time.process_time(), time.perf_counter()
flask_zeus_cvs.ZeusCVS(app, db)
done = time.process_time(), time.perf_counter()
print(*(b - a for a, b in zip(began + without + ready, without + whole + done)))
"""


def seconds(environment: Mapping[str, str]) -> list[float]:
    """Import everything once; returns CPU and wall seconds without us, what we add to each, and what an app takes."""
    said = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    return [float(each) for each in said.stdout.split()]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks imports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="fresh processes (default: %(default)s)")
    rounds = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory(prefix="zeus-bench-") as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds(environment)  # writes the bytecode
        runs = [seconds(environment) for _ in range(rounds)]
    cpu, wall, cpu_added, wall_added, *setting_up = (
        statistics.median(each) * 1e3 for each in zip(*runs, strict=True)
    )
    click.echo(f"{'':<44}{'CPU ms':>9}{'wall ms':>9}")
    click.echo(f"{ANYWAY:<44}{cpu:>9.1f}{wall:>9.1f}")
    click.echo(f"{'flask_zeus_cvs adds':<44}{cpu_added:>9.1f}{wall_added:>9.1f}")
    click.echo(f"{'ZeusCVS(app, db) takes then':<44}{setting_up[0]:>9.1f}{setting_up[1]:>9.1f}")
    click.echo(f"importing is {cpu_added / cpu:.0%} more; the goal is {GOAL:.0f} ms")
    return 0 if cpu_added <= GOAL else 1
