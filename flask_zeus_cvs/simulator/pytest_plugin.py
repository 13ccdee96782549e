"""The pytest fixtures: there for every test suite in whose environment the package is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_zeus_cvs.simulator.sandbox import Simulator


@pytest.fixture
def zeus_simulator() -> Iterator[Simulator]:
    """A running `Simulator` on a free port, fresh for each test; set its `notify` to hear of payments."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def zeus_simulator_in_process() -> Iterator[Simulator]:
    """A running `Simulator` without any socket, fresh for each test.

    Its `adapter` goes into ``ZEUS_CVS_TRANSPORT``; have it `attach` the shop's app to hear of payments.
    """
    with Simulator(listen=False) as simulator:
        yield simulator
