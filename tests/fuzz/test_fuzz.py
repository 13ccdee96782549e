"""A little of what ``make fuzz`` does a lot of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from flask_zeus_cvs import State
from flask_zeus_cvs.lifecycle import STATES, TABLE, Cell, Input
from tests.fuzz import watch
from tests.fuzz.reading import heard
from tests.fuzz.rounds import Broken, play
from tests.fuzz.stage import Lots, Stage
from tests.samples.notices import NOTICES, UNREADABLE, Sample


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One shop for all rounds."""
    stage = Stage(tmp_path_factory.mktemp("fuzz"))
    yield stage
    stage.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_arbitrary_bytes_break_nothing(stage: Stage, seed: int) -> None:
    """Laws 4, 6, 7 and 12: whatever comes is answered 200 or 400 and kept, and moves what the table moves."""
    figures = play(stage, seed, 0, 300)

    assert figures.inputs >= 300
    assert figures.answers["200"] > 50
    assert figures.answers["400"] > 50
    assert len(figures.moves) > 15


def test_a_seed_makes_the_same_inputs(stage: Stage) -> None:
    """What was found can be seen again: the same seed and round do the same, another round does not."""
    one, again, other = (play(stage, 3, number, 40) for number in (0, 0, 1))

    assert one == again
    assert one != other


def test_the_stage_has_every_state(stage: Stage) -> None:
    """There is an application in each state, so that no row of the table is left out."""
    with stage.round(Lots(0)) as look:
        states = Counter(each.state for each in watch.seen(look).slips.values())

    assert set(states) == set(STATES)


def test_a_shop_that_goes_astray_is_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer is no rubber stamp: a shop that takes an expiry for money is told of, with the bytes and the seed."""
    table = {**TABLE, (State.AWAITING_PAYMENT, Input.NOTICE_03): Cell(State.RECEIVED)}
    monkeypatch.setattr("flask_zeus_cvs.moves.TABLE", table)

    with pytest.raises(Broken, match=r"seed 1, round 0, input \d+ .*\nb'.*status=03.*\nexpected.*EXPIRED"):
        play(stage, 1, 0, 300)


@pytest.mark.parametrize("sample", NOTICES, ids=lambda sample: sample.source[:40])
def test_the_second_reading_agrees_where_a_person_spelled_the_bytes(sample: Sample) -> None:
    """What decides in each sample is read by the fuzzer's own means as a person wrote it down."""
    notice = heard(sample.raw)

    assert notice is not None
    value = sample.value
    assert (notice.status.value, notice.order_no, notice.sendid, notice.money) == (
        value.status.value,
        value.order_no,
        value.sendid,
        value.money,
    )


@pytest.mark.parametrize("raw", [raw for raw, _ in UNREADABLE])
def test_the_second_reading_refuses_what_a_person_refused(raw: bytes) -> None:
    """None of the samples that cannot be acted on is acted on."""
    assert heard(raw) is None
