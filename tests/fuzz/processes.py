"""Many rounds in several processes, each with a stage of its own."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.rounds import Figures, play
from tests.fuzz.stage import Stage

#: Inputs of a round: few enough for small tables.
ROUND = 500

_stages: list[Stage] = []


def played(seed: int, numbers: list[int], processes: int) -> Iterator[Figures]:
    """Play the rounds of these numbers, each wherever there is time for it. Raises `Broken` at the first bad end."""
    context, rounds = multiprocessing.get_context("spawn"), [(seed, number) for number in numbers]
    with (
        tempfile.TemporaryDirectory(prefix="zeus-fuzz-") as folder,
        context.Pool(min(processes, len(numbers)), _set_up, [folder]) as pool,
    ):
        yield from pool.imap_unordered(_play, rounds)


def _set_up(folder: str) -> None:
    """Make this process's stage; a warning is an error, as in the tests."""
    warnings.simplefilter("error")
    logging.getLogger().addHandler(logging.NullHandler())  # else what is logged outside of rounds is printed
    _stages.append(Stage(Path(tempfile.mkdtemp(dir=folder))))


def _play(which: tuple[int, int]) -> Figures:
    return play(_stages[-1], *which, ROUND)
