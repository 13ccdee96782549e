"""The fault test in its short form, on each kind of database: nothing lost, nothing doubled."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.servers import Unavailable, mariadb, postgresql
from tests.torture.run import SHORT, Place, file_place, run, served_place
from tests.torture.site import PROCESSES

SEED = 1


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def place(request: pytest.FixtureRequest, tmp_path: Path, closing: ExitStack) -> Place:
    """A database that can be taken away; servers are of this test's own, for they are crashed."""
    if not PROCESSES.exists():
        missing("Linux, on which workers can be found,")
    if request.param == "sqlite":
        return file_place(tmp_path, SEED)
    try:
        server = closing.enter_context({"postgresql": postgresql, "mariadb": mariadb}[request.param]())
    except Unavailable as error:
        missing(str(error))
    return closing.enter_context(served_place(server, SEED))


def test_nothing_is_lost_and_nothing_doubled(place: Place, tmp_path: Path) -> None:
    """Workers are killed, the database goes away, a third of all calls fail: every promise holds.

    The whole of it is ``make torture``; see `tests.torture.judge` for the promises.
    """
    report = run(place, SEED, SHORT, tmp_path)
    assert not report.findings, "\n".join(finding.text for finding in report.findings)
    for figure in ("answered 200", "repeats absorbed", "broken off", "retries", "workers killed"):
        assert report.figures[figure] > 0, figure
    away = [report.figures[f"database {kind}"] for kind in place.victim.kinds]
    assert sum(away) >= 2
