"""Reads a page as a browser and a screen reader do: its forms as they would be sent, its headings, what has a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"input", "meta", "link", "br", "img", "path"}
_CONTROLS = {"input", "select", "textarea"}


@dataclass
class Form:
    """A form: where it goes, what would be sent, its buttons, and its labels in order."""

    action: str
    pairs: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, str]:
        return dict(self.pairs)


class Page(HTMLParser):
    """What is on a page; `nameless` are the controls without a label, `dangling` the references to no id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.headings: list[tuple[int, str]] = []
        self.ids: list[str] = []
        self._open: list[str] = []
        self._for: set[str] = set()
        self._referred: set[str] = set()
        self._controls: list[tuple[str, str, bool]] = []
        self._text: list[str] = []
        self._area = self._select = ""
        self._chosen: str | None = None
        self.feed(text)

    @property
    def nameless(self) -> list[str]:
        return [name for name, own_id, named in self._controls if not named and own_id not in self._for]

    @property
    def dangling(self) -> set[str]:
        return self._referred - set(self.ids)

    def form(self, action: str) -> Form:
        """Return the form that is sent to `action`."""
        return next(each for each in self.forms if each.action == action)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        for name in ("for", "aria-describedby", "aria-labelledby"):
            self._referred |= set(given.get(name, "").split())
        if tag == "label" and "for" in given:
            self._for.add(given["for"])
        if tag in _CONTROLS and given.get("type") != "hidden":
            named = "label" in self._open or bool(given.get("aria-label"))
            self._controls.append((given.get("name", ""), given.get("id", ""), named))
        if tag in {"form", "input", "select", "option", "textarea", "button"}:
            getattr(self, f"_{tag}_starts")(given)
        if tag not in _VOID:
            self._open.append(tag)
            self._text = []

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        text = "".join(self._text)
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append((int(tag[1]), text.strip()))
        elif tag == "label":
            self.forms[-1].labels.append(text.strip())
        elif tag == "textarea":
            self.forms[-1].pairs.append((self._area, text.removeprefix("\n")))
        elif tag == "option" and self._chosen == "":
            self._chosen = text
        elif tag == "select":
            self.forms[-1].pairs.append((self._select, self._chosen or ""))

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def _form_starts(self, given: dict[str, str]) -> None:
        self.forms.append(Form(given.get("action", "")))

    def _input_starts(self, given: dict[str, str]) -> None:
        ticked = given.get("type") not in {"checkbox", "radio"} or "checked" in given
        if ticked and "disabled" not in given:
            self.forms[-1].pairs.append((given["name"], given.get("value", "on")))

    def _select_starts(self, given: dict[str, str]) -> None:
        self._select, self._chosen = given["name"], None

    def _option_starts(self, given: dict[str, str]) -> None:
        if self._chosen is None or "selected" in given:
            self._chosen = given.get("value", "")

    def _textarea_starts(self, given: dict[str, str]) -> None:
        self._area = given["name"]

    def _button_starts(self, given: dict[str, str]) -> None:
        if given.get("value"):
            self.forms[-1].buttons.append(given["value"])
