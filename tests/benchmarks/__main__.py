"""``make bench``: the callback against the least that could be done; ``ARGS=all|plans|checkout|imports|sandbox``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import click

from tests.benchmarks import callback, checkout, imports, matrix, plans, sandbox

BENCHMARKS: Mapping[str, Callable[[Sequence[str]], int]] = MappingProxyType(
    {
        "all": matrix.main,
        "callback": callback.main,
        "checkout": checkout.main,
        "imports": imports.main,
        "plans": plans.main,
        "sandbox": sandbox.main,
    }
)


def main() -> int:
    """Run the benchmark that is named first, or the callback's."""
    name, arguments = "callback", sys.argv[1:]
    if arguments and arguments[0] in BENCHMARKS:
        name, *arguments = arguments
    try:
        return BENCHMARKS[name](arguments)
    except click.ClickException as error:
        error.show()
        return 2


if __name__ == "__main__":
    sys.exit(main())
