"""A close look at a page in a real browser: what is wrong with it, told in lines that name the place."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Page, Request

from tests.customer_pages import Shown, Stage

#: Bytes of a page with all that it loads, as they are before compression.
HEAVIEST = 40 * 1000
PHONE, DESKTOP = 360, 1280
WIDTHS = (PHONE, DESKTOP)

#: Notes what only shows while a page loads: breaches of the policy, and what moves after it was there.
_NOTES = """
window.zeusNotes = {breaches: [], shifts: []};
document.addEventListener("securitypolicyviolation", event =>
  zeusNotes.breaches.push(`${event.effectiveDirective} ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`));
new PerformanceObserver(list => list.getEntries().forEach(entry => {
  const who = entry.sources.map(source => source.node && (source.node.className || source.node.nodeName));
  if (!entry.hadRecentInput) zeusNotes.shifts.push(`${entry.value.toFixed(4)} of ${who.join(", ")}`);
})).observe({type: "layout-shift", buffered: true});
"""

#: Everything that was loaded: what it is, who asked for it, and its bytes.
_LOADED = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(entry => !entry.name.endsWith("/favicon.ico"))
  .map(entry => ({address: entry.name, by: entry.initiatorType, bytes: entry.decodedBodySize}))"""

#: What sticks out of the window, and what is cut off by its own box.
_CUT = """() => {
  const found = [], width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width)
    found.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${width}`);
  const inked = each => {
    const range = document.createRange();
    return each.matches("img, input, button, a") ? [each.getBoundingClientRect()] : [...each.childNodes]
      .filter(node => node.nodeType === Node.TEXT_NODE && node.data.trim())
      .flatMap(node => (range.selectNodeContents(node), [...range.getClientRects()]));
  };
  for (const each of document.body.querySelectorAll("*")) {
    const style = getComputedStyle(each), box = each.getBoundingClientRect();
    const unseen = !box.width || style.visibility !== "visible" || box.width <= 1 || style.clipPath !== "none";
    if (unseen || each.closest("svg, [hidden]")) continue;
    const name = `<${each.nodeName.toLowerCase()} class="${each.className}">${each.textContent.trim().slice(0, 20)}`;
    const out = inked(each).find(ink => ink.right > width + 1 || ink.left < -1);
    if (out) found.push(`${name} sticks out: ${out.left} to ${out.right}`);
    if (["auto", "scroll"].includes(style.overflowX) && each.scrollWidth > each.clientWidth + 1)
      found.push(`${name} must be scrolled sideways`);
    const clips = style.overflowX !== "visible" || style.overflowY !== "visible";
    const isField = each.matches("input, select, textarea");
    if (!isField && clips && style.overflowY !== "auto" && style.overflowY !== "scroll" &&
        (each.scrollHeight > each.clientHeight + 1 || each.scrollWidth > each.clientWidth + 1))
      found.push(`${name} is cut off`);
    if (each.matches("button, label, a, dd, dt, li, h1, h2") && style.display !== "inline" && !clips &&
        each.scrollWidth > each.clientWidth + 1)
      found.push(`${name} runs out of its box: ${each.scrollWidth} in ${each.clientWidth}`);
  }
  return found;
}"""

#: Where the keyboard is, and whether one sees it there.
_FOCUS = """() => {
  const held = document.activeElement, drawn = each => {
    const style = getComputedStyle(each);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  };
  const near = [held, held.parentElement, ...(held.labels || [])];
  return {tag: held.nodeName, name: held.name || "", value: held.value || "", type: held.type || "",
          text: held.textContent.trim(), visible: near.some(drawn)};
}"""


class Watched:
    """A page of a browser, and whatever it did that a customer's page must not do."""

    def __init__(self, context: BrowserContext, home: str) -> None:
        self.home = home
        self.page: Page = context.new_page()
        self.page.add_init_script(_NOTES)
        self._heard: list[str] = []
        self._sizes: dict[str, int] = {}
        self.page.on("request", self._hear_request)
        self.page.on("console", self._hear_console)
        self.page.on("pageerror", self._hear_error)

    def open(self, stage: Stage, shown: Shown) -> Page:
        """Bring a row about and go there, as its customer does."""
        self._heard.clear()
        self.page.goto(self.home + stage.bring(shown))
        if shown.typed is not None:
            fill_in(self.page, shown)
        if shown.part:
            open_part(self.page, shown.part)
        return self.page

    def faults(self) -> list[str]:
        """Tell everything that is wrong, but for what `axe` and `cut` find."""
        self.page.wait_for_load_state()
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        notes: dict[str, list[str]] = self.page.evaluate("() => zeusNotes")
        return [
            *self._heard,
            *(f"policy: {each}" for each in notes["breaches"]),
            *(f"moves: {each}" for each in notes["shifts"]),
            *self._weight(),
        ]

    def _weight(self) -> list[str]:
        loaded: list[dict[str, Any]] = self.page.evaluate(_LOADED)
        for each in loaded:
            each["bytes"] = each["bytes"] or self._size(each["address"])
        total = sum(each["bytes"] for each in loaded)
        told = ", ".join(f"{each['address'].rpartition('/')[2][:24]} {each['bytes']}" for each in loaded)
        late = [
            each["address"] for each in loaded if each["by"] not in ("navigation", "link", "script", "img")
        ]
        return [
            *([f"weighs {total} bytes: {told}"] if total > HEAVIEST else []),
            *(f"loads a link later: {each}" for each in late),
        ]

    def _size(self, address: str) -> int:
        """The bytes of what the browser had already, and so counts as nothing."""
        if address not in self._sizes:
            self._sizes[address] = len(self.page.request.get(address).body())
        return self._sizes[address]

    def _hear_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.home}/", "data:")):
            self._heard.append(f"asks elsewhere: {request.url}")

    def _hear_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self._heard.append(f"console: {message.text}")

    def _hear_error(self, error: Error) -> None:
        self._heard.append(f"script: {error.message}")


def fill_in(page: Page, shown: Shown) -> None:
    """Type what a row says into the form, and send it if it says so."""
    for name, value in (shown.typed or {}).items():
        if name == "store":
            choose(page, value)
        else:
            page.locator(f'input[name="{name}"]').fill(value)
    if shown.sent:
        page.locator('form button[type="submit"]').click()


def choose(page: Page, store: str) -> None:
    """Touch a store's button."""
    radio = page.locator(f'input[name="store"][value="{store}"]')
    page.locator(f'label[for="{radio.get_attribute("id")}"]').click()


def open_part(page: Page, part: str) -> None:
    """Touch the link that leads to a part of the page."""
    page.locator(f'a[href$="#{part}"]').first.click()


def axe(page: Page) -> list[str]:
    """Tell every violation that axe finds."""
    found = Axe().run(page).response["violations"]
    return [
        f"axe: {each['id']} ({each['impact']}) at {node['target']}: {node.get('failureSummary', '')}"
        for each in found
        for node in each["nodes"]
    ]


def cut(page: Page) -> list[str]:
    """Tell what sticks out of the window or is cut off, once the page has its style."""
    page.wait_for_load_state()
    return list(page.evaluate(_CUT))


def double_text(page: Page) -> None:
    """Make text twice as large, as a reader's setting does."""
    page.evaluate("() => { document.documentElement.style.fontSize = '200%' }")


def focus(page: Page) -> dict[str, Any]:
    """Tell what has the focus, and whether that can be seen."""
    return dict(page.evaluate(_FOCUS))
