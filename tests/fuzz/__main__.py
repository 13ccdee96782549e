"""``python -m tests.fuzz --count 200000 --seed 1``: many rounds in two processes, and a table of what they did."""

from __future__ import annotations

import argparse
import signal
import sys
import textwrap
import time
from collections import Counter

from flask_zeus_cvs.lifecycle import NOTICES, STATES, Input, State
from tests.fuzz.processes import ROUND, played
from tests.fuzz.rounds import Broken, Figures


def main() -> int:
    """Run as the arguments say; 1 if something happened that may not happen."""
    options = _options()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that processes and folder end with it, as after Ctrl-C
    began, figures = time.monotonic(), Figures()
    numbers = [options.round] if options.round is not None else range(-(-options.count // ROUND))
    try:
        for each in played(options.seed, list(numbers), options.processes):
            figures.add(each)
            _progress(figures.inputs, time.monotonic() - began)
    except Broken as broken:
        sys.stdout.write(f"\n{broken}")
        return 1
    sys.stdout.write("\n" + table(figures, options.seed, time.monotonic() - began))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help=f"inputs, in rounds of {ROUND}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--round", type=int, help="play this one round only")
    return parser.parse_args()


def _progress(inputs: int, seconds: float) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{inputs} inputs, {inputs / seconds:.0f} a second ")
        sys.stdout.flush()


def table(figures: Figures, seed: int, seconds: float) -> str:
    """Tell what a run did."""
    answers = figures.answers
    rows = [
        ("seed", str(seed)),
        ("inputs", f"{figures.inputs} in {figures.rounds} rounds"),
        ("notices answered", _listed(answers, "200", "400")),
        ("answers read as", _listed(answers, "accepted", "declined", "unknown")),
        ("kinds", _all(figures.kinds)),
        ("cells looked up", _cells(figures.cells)),
        ("states reached", _all(figures.states)),
        ("transitions", f"{len(figures.moves)} kinds: {_all(figures.moves)}"),
        ("reviews", str(figures.reviews)),
        ("seconds", f"{seconds:.0f}, {figures.inputs / seconds:.0f} inputs a second"),
        ("violations", "0"),
    ]
    return "".join(
        textwrap.fill(f"{name:>17}  {value}", 110, subsequent_indent=" " * 19) + "\n" for name, value in rows
    )


def _cells(looked_up: Counter[tuple[State, Input]]) -> str:
    """Tell how much of the table was in play: what people and sweeps do is mostly not."""
    notices = sum(1 for _, given in looked_up if given in NOTICES)
    others = len(looked_up) - notices
    return f"{notices} of {len(STATES) * len(NOTICES)} of the notices', {others} of answers', re-issues' and sweeps'"


def _listed(counted: Counter[str], *names: str) -> str:
    return ", ".join(f"{name}: {counted[name]}" for name in names)


def _all(counted: Counter[str]) -> str:
    return _listed(counted, *(name for name, _ in counted.most_common()))


if __name__ == "__main__":
    sys.exit(main())
