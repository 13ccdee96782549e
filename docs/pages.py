"""How the sites' pages are found, linked and put in order: a Sphinx extension for these two sites only.

docs/ is built into build/docs/en and docs/ja/ into build/docs/ja, side by side, from the same files that read well on
a code host. A page has the same name in both, and every page of a site lies in its top folder, so that a link from
one to the other is ``../ja/NAME.html``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.project import Project
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import make_refnode

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
SOURCES = {"en": DOCS, "ja": DOCS / "ja"}
#: Pages of a site that lie elsewhere in the project.
ELSEWHERE = {
    "en": {
        "readme": ROOT / "README.md",
        "changes": ROOT / "CHANGELOG.md",
        "contributing": ROOT / "CONTRIBUTING.md",
        "security": ROOT / "SECURITY.md",
        "example-shop": ROOT / "build" / "docs" / "pages" / "example-shop.md",
    },
    "ja": {"readme": ROOT / "README.ja.md"},
}
EXAMPLE = ROOT / "example_shop"
#: Where a link leads that names no page: into the page that shows the example's sources.
MORE = {"en": "The project", "ja": "プロジェクト"}


class Pages(Project):
    """The files of one site: those of its folder, and some that lie elsewhere in the project."""

    def __init__(self, srcdir: Path, suffixes: Any, elsewhere: dict[str, Path]) -> None:
        super().__init__(srcdir, suffixes)
        self._elsewhere = {name: Path(os.path.relpath(path, srcdir)) for name, path in elsewhere.items()}

    def discover(self, *args: Any, **kwargs: Any) -> set[str]:
        """Find the pages, as Sphinx does, and add those from elsewhere."""
        super().discover(*args, **kwargs)
        self.docnames.update(self._elsewhere)
        self._docname_to_path.update(self._elsewhere)
        return self.docnames

    def path2doc(self, filename: Any) -> str | None:
        """Name the page that a file is; None for a file that is none."""
        relative = Path(os.path.relpath(self.srcdir / filename, self.srcdir))
        for name, path in self._elsewhere.items():
            if path == relative:
                return name
        return None if relative.parts[0] == ".." else super().path2doc(relative)


def _find_pages(app: Sphinx) -> None:
    """Have this site's pages found by `Pages`, before any is read."""
    app.project = app.env.project = Pages(
        app.srcdir, app.config.source_suffix, ELSEWHERE[app.config.language]
    )


class Links(SphinxTransform):
    """Lead links of ours that leave the folder of the site to where the same thing is to be read."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:  # noqa: ARG002
        """Replace each link to a file that is no page of this site."""
        for node in [
            *self.document.findall(addnodes.pending_xref),
            *self.document.findall(addnodes.download_reference),
        ]:
            if node.get("reftype") == "myst" and node.get("refdomain") != "doc":
                self._lead(node)

    def _lead(self, node: nodes.Element) -> None:
        path, _, anchor = node["reftarget"].partition("#")
        if not path:
            return
        target = Path(self.env.relfn2path(path)[1])
        page = _page_of(target, self.config.language)
        if page is not None:
            node.replace_self(_link(node, page + (f"#{anchor}" if anchor else "")))
        elif target.is_relative_to(EXAMPLE) and target.exists():
            home = "" if self.config.language == "en" else "../en/"
            node.replace_self(_link(node, f"{home}example-shop.html#{_anchor(target)}"))


def _link(node: nodes.Element, uri: str) -> nodes.reference:
    return nodes.reference("", "", *[each.deepcopy() for each in node.children], refuri=uri, internal=True)


def _page_of(path: Path, here: str) -> str | None:
    """Find the page that a file or folder is, in whichever language, as a link to it from a site's page."""
    for language, sources in SOURCES.items():
        site = "" if language == here else f"../{language}/"
        for name, file in ELSEWHERE[language].items():
            if path == file:
                return f"{site}{name}.html"
        if path == sources:
            return f"{site}index.html"
        if path.suffix == ".md" and path.parent == sources and path.exists():
            return f"{site}{path.stem}.html"
    untranslated = here == "ja" and path.parent == SOURCES["ja"] and (DOCS / path.name).exists()
    return f"../en/{path.stem}.html" if untranslated else None


class Lines(SphinxTransform):
    """Join lines of Japanese, which a browser would otherwise set a space between."""

    default_priority = 410

    def apply(self, **kwargs: Any) -> None:  # noqa: ARG002
        """Remove each line end that has a Japanese character on both sides."""
        for text in list(self.document.findall(nodes.Text)):
            siblings = text.parent.children
            place = siblings.index(text)
            before = siblings[place - 1].astext() if place else ""
            after = siblings[place + 1].astext() if place + 1 < len(siblings) else ""
            if text == "\n" and _JAPANESE.match(before[-1:]) and _JAPANESE.match(after[:1]):
                text.parent.remove(text)


_JAPANESE = re.compile("[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]")


# --- the example's sources, on one page ---------------------------------------------------------------


def _anchor(path: Path) -> str:
    return "file-" + re.sub(r"[^a-z0-9]+", "-", str(path.relative_to(ROOT)).lower()).strip("-")


def _files_of_example() -> list[Path]:
    return [path for path in sorted(EXAMPLE.rglob("*.py")) if "__pycache__" not in path.parts]


def _write_example(app: Sphinx) -> None:
    """Put the example shop's sources onto one page, which the links to them lead to."""
    if app.config.language != "en":
        return
    page = ELSEWHERE["en"]["example-shop"]
    files = _files_of_example()
    folders = sorted({path.parent for path in files})
    text = [
        "# The example shop",
        "",
        "Its Python files. The templates and the style sheet lie beside them.",
        "",
    ]
    for folder in folders:
        text += [f"({_anchor(folder)})=", "", f"## {folder.relative_to(ROOT)}/", ""]
        for path in files:
            if path.parent == folder:
                source = path.read_text("utf-8").rstrip()
                text += [
                    f"({_anchor(path)})=",
                    "",
                    f"### {path.relative_to(ROOT)}",
                    "",
                    "````python",
                    source,
                    "````",
                    "",
                ]
    page.parent.mkdir(parents=True, exist_ok=True)
    new = page.with_suffix(f".{os.getpid()}")
    new.write_text("\n".join(text), "utf-8")
    new.replace(page)  # whole at any time: another build may be reading it


# --- the order of the pages -----------------------------------------------------------------------------


def _add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let the lists of links on the index be the order of the pages, and its headings their groups."""
    if docname == "index":
        more = {MORE[app.config.language]: list(ELSEWHERE[app.config.language])}
        source[0] += "".join(_toctree(*each) for each in (groups(source[0]) | more).items())


def groups(index: str) -> dict[str, list[str]]:
    """Name the pages that an index lists, by the heading that they stand under, in its order."""
    parts = re.split(r"^## (.+)$", index, flags=re.MULTILINE)
    return {
        heading: re.findall(r"\]\(([\w-]+)\.md\)", text)
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def _toctree(caption: str, pages: list[str]) -> str:
    return "\n\n" + "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"]) + "\n"


# --- names in docstrings ----------------------------------------------------------------------------------


def _find_name(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.Element
) -> nodes.Element | None:
    """Lead a name to the only documented one that ends so: docstrings say ``Payment``, from wherever it is imported."""
    if node["refdomain"] != "py":
        return None
    domain = env.domains.python_domain
    name = "." + node["reftarget"].rpartition(".")[2]
    found = [each for each in domain.objects if each.endswith(name)]
    if len(found) != 1:
        return None
    place = domain.objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, [shown], found[0])


# --- the other language ---------------------------------------------------------------------------------


def _add_language(app: Sphinx, pagename: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    """Tell the template where the same page is in the other language, or else the other index."""
    here = app.config.language
    there = "ja" if here == "en" else "en"
    exists = (
        pagename in ("search", "genindex", *ELSEWHERE[there]) or (SOURCES[there] / f"{pagename}.md").exists()
    )
    context["translation"] = {
        "here": here,
        "there": there,
        "url": f"../{there}/{pagename if exists else 'index'}.html",
        "exists": exists,
    }


def setup(app: Sphinx) -> None:
    """Have one site built of the folder that was given, in the language that was given."""
    app.add_transform(Links)
    app.add_transform(Lines)
    app.connect("builder-inited", _find_pages)
    app.connect("builder-inited", _write_example)
    app.connect("source-read", _add_contents)
    app.connect("missing-reference", _find_name)
    app.connect("html-page-context", _add_language)
