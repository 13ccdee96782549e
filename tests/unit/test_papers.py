"""The papers say what the code does: settings, signals, reviews, names of numbers."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import flask_zeus_cvs
from flask_zeus_cvs.models import ReviewReason
from flask_zeus_cvs.protocol.codes import STORES
from flask_zeus_cvs.settings import PREFIX, Settings
from flask_zeus_cvs.signals import SIGNALS
from flask_zeus_cvs.staff.wording import REVIEWS

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "docs/ja")
PAPERS = sorted([*ROOT.glob("*.md"), *(path for each in FOLDERS for path in ROOT.glob(f"{each}/*.md"))])
KEYS = {PREFIX + each.name.upper(): each.default for each in fields(Settings)}


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def documented(folder: str) -> dict[str, str]:
    """Each key of the settings page, with what stands as its default."""
    page = read(f"{folder}/2-settings.md")
    return dict(re.findall(r"^\| `(ZEUS_CVS_[A-Z0-9_]+)` \| (.+?) \|", page, flags=re.M))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_setting_is_documented(folder: str) -> None:
    """The settings page has a row for each key, and for nothing else."""
    assert set(documented(folder)) == set(KEYS)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("key", [key for key, default in KEYS.items() if isinstance(default, int)])
def test_a_default_is_documented_as_it_is(key: str, folder: str) -> None:
    """Numbers and switches have the default that the page names."""
    assert documented(folder)[key].strip("`") == str(KEYS[key])


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_only_settings_that_exist_are_named(paper: Path) -> None:
    """No paper tells a shop owner to set a key that would be refused."""
    named = set(re.findall(r"ZEUS_CVS_[A-Z0-9_]*[A-Z0-9]", paper.read_text("utf-8")))
    assert named <= set(KEYS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_signal_is_documented(folder: str) -> None:
    """The events page has a row for each signal that can be imported."""
    rows = set(re.findall(r"^\| `(\w+)` \|", read(f"{folder}/6-events.md"), flags=re.M))
    assert rows == {kind.value for kind in SIGNALS} & set(flask_zeus_cvs.__all__)


@pytest.mark.parametrize("reason", REVIEWS)
@pytest.mark.parametrize(
    ("paper", "language", "every"),
    [("docs/8-staff.md", "en", "any other"), ("docs/ja/8-staff.md", "ja", "ほかのすべて")],
    ids=["en", "ja"],
)
def test_every_review_is_documented_in_its_words(
    reason: ReviewReason, paper: str, language: str, every: str
) -> None:
    """The staff's page says of each review what `resolve` and the back office say, decisions included."""
    page, words = read(paper), REVIEWS[reason]
    assert f"\n| `{reason}` | {words.happened.said(language)} | {words.look.said(language)} |\n" in page
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", page, flags=re.M)
    for resolution, effect in words.effects.items():
        wanted = (resolution, effect.said(language))
        (of,) = [of for decision, of, text in rows if (decision, text) == wanted]
        assert f"`{reason}`" in of or of == every


def test_the_glossary_has_the_names_of_the_numbers() -> None:
    """Each store stands there with what it calls its numbers."""
    glossary = read("docs/glossary.md")
    for store in STORES.values():
        assert f"| {store.name} | {store.store} | {store.pay_no1} | {store.pay_no2 or '–'} |" in glossary
