"""Bad luck on demand: for the next so many, for a share, for as long as it is switched on."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_zeus_cvs.simulator.script import Script


@pytest.fixture
def script() -> Script[str]:
    return Script(random.Random(7))


def test_without_a_script_nothing_is_special(script: Script[str]) -> None:
    """And it stays so."""
    assert [script.take() for _ in range(3)] == [None] * 3


def test_the_next_ones_are_used_up_in_order(script: Script[str]) -> None:
    """They add up; what is left can be looked at."""
    script.add("a", 2)
    script.add("b", 1)
    assert script.take() == "a"
    assert script.pending == ["a", "b"]
    assert [script.take() for _ in range(3)] == ["a", "b", None]


@pytest.mark.parametrize("times", [0, -1])
def test_at_least_one(script: Script[str], times: int) -> None:
    """Nothing is set down for a number that is none."""
    with pytest.raises(ValueError, match="give 1 or more"):
        script.add("a", times)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_a_share_is_above_0_and_up_to_1(script: Script[str], share: float) -> None:
    """Anything else is refused, and nothing is on."""
    with pytest.raises(ValueError, match="above 0, up to 1"):
        script.switch_on("a", share)
    assert script.switches == []


def test_a_switch_stays_on_until_it_is_off(script: Script[str]) -> None:
    """Off twice is off; as a context manager it ends with its block."""
    switch = script.switch_on("a", 1)
    assert [script.take() for _ in range(3)] == ["a"] * 3
    switch.off()
    switch.off()
    assert script.take() is None
    with script.switch_on("b", 1):
        assert script.take() == "b"
    assert script.take() is None


def test_what_is_set_down_comes_before_what_is_on(script: Script[str]) -> None:
    """And of two that are on, the first to be switched on."""
    script.switch_on("on", 1)
    script.switch_on("later", 1)
    script.add("next", 1)
    assert [script.take() for _ in range(2)] == ["next", "on"]


def test_a_share_takes_about_that_many_and_the_same_ones_again() -> None:
    """Drawn by the seed: the same sandbox twice has the same luck."""
    draws = []
    for _ in range(2):
        script: Script[str] = Script(random.Random(7))
        script.switch_on("a", 0.25)
        draws.append([script.take() for _ in range(1000)])
    assert draws[0] == draws[1]
    assert 200 < draws[0].count("a") < 300


def test_shares_are_drawn_one_after_the_other(script: Script[str]) -> None:
    """A half of all, and a half of what that leaves."""
    script.switch_on("a", 0.5)
    script.switch_on("b", 0.5)
    drawn = [script.take() for _ in range(1000)]
    assert 430 < drawn.count("a") < 570
    assert 180 < drawn.count("b") < 320


def test_clearing_forgets_both(script: Script[str]) -> None:
    """What is set down, and what is on; numbers are not given out again."""
    script.add("a", 3)
    first = script.switch_on("b", 1)
    script.clear()
    assert script.take() is None
    assert script.switch_on("b", 1).number > first.number
    assert not script.off(first.number)


def test_threads_share_what_is_set_down(script: Script[str]) -> None:
    """Each is used up once."""
    script.add("a", 500)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: script.take(), range(1000)))
    assert taken.count("a") == 500
