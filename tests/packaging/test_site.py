"""The documentation as it is built: no dead link, nothing from elsewhere, both languages, and the whole API."""

from __future__ import annotations

import enum
import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import flask_zeus_cvs
from flask_zeus_cvs import simulator
from flask_zeus_cvs.contrib import admin, celery, otel
from flask_zeus_cvs.drill import Orders, Standing, is_running
from flask_zeus_cvs.models import Base
from flask_zeus_cvs.settings import Settings
from flask_zeus_cvs.signals import SubscriberSignal
from flask_zeus_cvs.simulator import pytest_plugin
from tests.conftest import missing
from tests.papers import DOCS, ROOT

#: Attributes by which a page loads something, by tag; an ``a`` only leads on.
LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "srcset", "use": "href"}
#: Kinds of ``link`` that load nothing.
NO_LOAD = {"next", "prev", "index", "search", "alternate", "canonical"}


@dataclass
class Page(HTMLParser):
    """One page as a browser sees it: where its links lead, what it loads, and the ids that it has."""

    path: Path
    language: str = ""
    ids: list[str] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "html":
            self.language = has.get("lang", "")
        if "id" in has:
            self.ids.append(has["id"])
        if tag == "a" and "href" in has:
            self.leads.append(has["href"])
        if tag in LOADS and LOADS[tag] in has and has.get("rel") not in NO_LOAD:
            self.loads.append(has[LOADS[tag]])


Site = Mapping[Path, Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Both sites as ``make docs`` builds them; a warning is a failure."""
    for needed in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(needed) is None:
            missing(needed)
    folder = tmp_path_factory.mktemp("docs").resolve()
    sphinx = next(
        line
        for line in (ROOT / "Makefile").read_text("utf-8").splitlines()
        if line.startswith("SPHINX := $(PY) -m sphinx ")
    )
    options = sphinx.partition("-m sphinx ")[2].split()
    for language, sources in DOCS.items():
        places = ("-D", f"language={language}", "-d", folder / "cache" / language, sources, folder / language)
        built = subprocess.run(
            [sys.executable, "-m", "sphinx", *options, *map(str, places)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        assert built.returncode == 0, built.stderr
        assert not built.stderr
    return {path: Page(path) for path in sorted(folder.glob("*/*.html"))}


def targets(page: Page, addresses: list[str]) -> Iterator[tuple[Path, str]]:
    """The files, and the ids in them, of those addresses that stay in the sites."""
    for each in addresses:
        url = urlsplit(each)
        if not url.scheme and not url.netloc:
            yield (
                ((page.path.parent / unquote(url.path)).resolve() if url.path else page.path),
                unquote(url.fragment),
            )


def test_no_link_is_dead(site: Site) -> None:
    """Each link of each page finds its page and its place, in the other language's site, too."""
    for page in site.values():
        for target, anchor in targets(page, page.leads):
            assert target.is_file(), f"{page.path.name}: {target}"
            if anchor and target in site:
                assert anchor in site[target].ids, f"{page.path.name}: {target.name}#{anchor}"


def test_nothing_comes_from_elsewhere(site: Site) -> None:
    """No page loads a script, a font, a style or a picture from another host, and what it loads is there."""
    folder = next(iter(site)).parents[1]
    for page in site.values():
        own = [target for target, _ in targets(page, page.loads)]
        assert len(own) == len(page.loads), [each for each in page.loads if "//" in each]
        assert not [str(each) for each in own if not each.is_file()]
    for sheet in folder.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text("utf-8")), sheet


def test_each_page_leads_to_its_other_language(site: Site) -> None:
    """A page names its language, and has a link to the same page in the other, or to its index."""
    for path, page in site.items():
        here = path.parent.name
        there = {"en": "ja", "ja": "en"}[here]
        same = path.parents[1] / there / path.name
        assert page.language == here
        assert f"../{there}/{path.name if same in site else 'index.html'}" in page.leads


def test_both_sites_have_each_page(site: Site) -> None:
    """What stands in the folders is on the sites, and so are the papers beside them."""
    built = {(path.parent.name, path.stem) for path in site}
    assert {(language, path.stem) for language in DOCS for path in DOCS[language].glob("*.md")} <= built
    assert {
        ("en", each) for each in ("readme", "changes", "contributing", "security", "example-shop")
    } <= built
    assert ("ja", "readme") in built


# --- the API ---------------------------------------------------------------------------------------------------


def public() -> Mapping[str, object]:
    """Each public name, as it is shown on the API page."""
    package = {f"flask_zeus_cvs.{name}": getattr(flask_zeus_cvs, name) for name in flask_zeus_cvs.__all__}
    found = {
        f"flask_zeus_cvs.signals.{name.rpartition('.')[2]}"
        if isinstance(each, SubscriberSignal)
        else name: each
        for name, each in package.items()
    }
    for name in simulator.__all__:
        each = getattr(simulator, name)
        own = issubclass(each, flask_zeus_cvs.ZeusCVSError)
        found[f"flask_zeus_cvs.{'exceptions' if own else 'simulator'}.{name}"] = each
    for fixture in ("zeus_simulator", "zeus_simulator_in_process"):
        found[f"flask_zeus_cvs.simulator.pytest_plugin.{fixture}"] = getattr(pytest_plugin, fixture)
    extras: tuple[Callable[..., object], ...] = (
        admin.add_views,
        admin.make_admin,
        celery.deliver_with,
        otel.instrument,
        otel.uninstrument,
    )
    found |= {f"{each.__module__}.{each.__name__}": each for each in extras}
    found |= {f"flask_zeus_cvs.drill.{each.__name__}": each for each in (Orders, Standing, is_running)}
    models = sorted((each.class_ for each in Base.registry.mappers), key=lambda each: str(each.__name__))
    found |= {f"flask_zeus_cvs.models.{each.__name__}": each for each in models}
    return found


def members(name: str, each: object) -> Iterator[tuple[str, object]]:
    """The public methods and properties that a class of ours has of its own."""
    if isinstance(each, type) and not issubclass(each, enum.Enum):
        for own, member in vars(each).items():
            if not own.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                yield f"{name}.{own}", member


@pytest.mark.parametrize(
    ("name", "each"), public().items(), ids=lambda each: each if isinstance(each, str) else ""
)
def test_every_public_name_says_what_it_is(name: str, each: object) -> None:
    """Each public name, and each method and property of it, has a docstring of its own."""
    if isinstance(each, SubscriberSignal):
        source = inspect.getsource(sys.modules[SubscriberSignal.__module__])
        assert re.search(rf"^#: .+\n(?:#: .+\n)*{name.rpartition('.')[2]} = ", source, re.M)
        return
    for what, member in ((name, each), *members(name, each)):
        own = vars(member).get("__doc__") if isinstance(member, type) else inspect.getdoc(member)
        assert own, what
        assert not own.startswith(f"{what.rpartition('.')[2]}("), f"{what} has only what dataclass writes"


@pytest.mark.parametrize("language", DOCS)
def test_the_api_page_has_every_public_name(language: str, site: Site) -> None:
    """Each public name, method, property, column and setting is on the API page, with a description."""
    (path,) = (each for each in site if each.parent.name == language and each.name == "24-api.html")
    page = path.read_text("utf-8")
    wanted = set(public()) | {what for name, each in public().items() for what, _ in members(name, each)}
    stored = {
        f"flask_zeus_cvs.models.{mapper.class_.__name__}.{each.key}"
        for mapper in Base.registry.mappers
        for each in mapper.attrs
        if each.key in mapper.class_.__annotations__
    }
    stored |= {f"flask_zeus_cvs.settings.Settings.{each}" for each in Settings.__dataclass_fields__}
    assert not (wanted | stored) - set(site[path].ids)
    for each in stored:
        said = re.search(rf'id="{re.escape(each)}">.*?</dt>\s*<dd>(.*?)</dd>', page, flags=re.S)
        assert said, each
        assert said[1].strip() or each.endswith(".id"), each
