"""The words of the sandbox's pages: nothing that can happen there is without its word."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from flask_zeus_cvs.protocol.codes import ERROR_CODES, Store
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.simulator import wording
from flask_zeus_cvs.simulator.gateway import Fault
from flask_zeus_cvs.simulator.ledger import INFO, STEPS, Verb
from flask_zeus_cvs.simulator.notices import Failure, Trouble


def test_every_word_is_there() -> None:
    """Each table has a row for each thing of its kind, and no other."""
    assert set(wording.FAULTS) == set(Fault)
    assert set(wording.TROUBLES) == set(Trouble)
    assert set(wording.ERROR_CODES) == set(ERROR_CODES)
    assert set(wording.FAILURES) == set(Failure)
    assert tuple(wording.PARAMETERS) == NOTICE
    assert set(wording.TERMINALS) == set(Store)
    assert set(wording.BY) == {"apply", "deadline", "head office", "test"} | set(Verb) - {Verb.RESEND}
    assert set(wording.BUTTONS) == set(wording.DONE) == set(Verb) - {Verb.PAY, Verb.CANCEL}


def test_a_till_says_why_it_takes_no_money() -> None:
    """For every status from which nothing can be paid."""
    payable = {standing for verb, standing in STEPS if verb is Verb.PAY}
    assert set(wording.UNPAYABLE) == set(INFO) - payable


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (timedelta(), "0分"),
        (timedelta(minutes=59, seconds=59), "1時間"),
        (timedelta(days=1, hours=2, minutes=3), "1日2時間3分"),
        (timedelta(weeks=1), "7日"),
    ],
)
def test_a_span_of_time(step: timedelta, said: str) -> None:
    """Days, hours and minutes, the ones that are not zero."""
    assert wording.span(step) == said


def test_a_day_has_its_weekday() -> None:
    assert wording.day(date(2026, 11, 24)) == "2026年11月24日(火)"
