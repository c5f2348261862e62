"""Draw a page that a model wrote, in real Chromium, without trusting it.

    with Renderer() as renderer:
        drawn = renderer.render(html, width=1280)
        drawn.image, drawn.lines, drawn.elements, drawn.blocked

The page is served from nowhere: one request is answered with its text, every other one is refused and written down
(`Rendered.blocked`). Around that stand, each enough alone: scripts are off, the browser believes to be offline, a
Content-Security-Policy allows inline styles and `data:` pictures only and puts the page into an empty sandbox (no
forms, no windows, no navigation), each page has a browser context of its own that is thrown away, and `watch` kills
Chromium over a limit of time or memory; the next page gets a new one.

What is measured comes from the browser's own layout (`DOMSnapshot`), which needs no script: the rectangle of every
line of text, the box and the computed styles of every element. Text inside form fields has no rectangles of its own,
so its place is estimated from the field's padding and letter size.

Chromium's own sandbox is used unless this process is root, where Chromium refuses to start with it.
"""

from __future__ import annotations

import base64
import io
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from PIL import Image

from regard.apps.coding.watch import Watch
from regard.chromium import find_chromium
from regard.errors import CapacityError, MissingDependencyError, RegardError

ADDRESS = "http://page.invalid/"  # RFC 6761: never a real host
MAX_HTML_CHARS = 2_000_000
MAX_ELEMENTS = 6_000
MAX_SIDE_PX = 16_384
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox"
)
_FLAGS = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
          "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--disable-extensions")  # fmt: skip
_STYLES = ("display", "flex-direction", "color", "font-size", "visibility", "padding-left", "opacity")
Rect = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the picture


class PageError(RegardError):
    """A page that a model wrote cannot be drawn within the limits."""


@dataclass(frozen=True)
class Line:
    """One visible line of text: its box in pixels of the picture, letter size in pixels, the element it is in."""

    text: str
    box: Rect
    font_px: float
    element: int = -1


@dataclass(frozen=True)
class Element:
    """One element that has a box. `parent` is an index of the same list, -1 for the outermost."""

    tag: str
    box: Rect
    attributes: dict[str, str]
    parent: int
    display: str = "block"
    direction: str = "row"


@dataclass(frozen=True)
class Rendered:
    """A page as Chromium drew it; `blocked` are the addresses that it asked for in vain."""

    image: Image.Image
    lines: tuple[Line, ...]
    elements: tuple[Element, ...]
    blocked: tuple[str, ...] = field(default=())


AFTER_WATCH_MS = 1500


class Renderer:
    """A headless Chromium; use it as a context manager, from any thread.

    Playwright wants one thread for all its calls, without an event loop: here it has one of its own.
    Errors: MissingDependencyError without playwright or Chromium.
    """

    def __init__(self, *, timeout_s: float = 60.0, memory_bytes: int = 1 << 30) -> None:
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._playwright: Any = None
        self._browser: Any = None
        self._marker = ""
        self._thread = ThreadPoolExecutor(1, "regard-render")

    def __enter__(self) -> Renderer:
        try:
            self._thread.submit(self._open).result()
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    def _open(self) -> None:
        try:
            from playwright.sync_api import sync_playwright
        except ImportError as error:
            raise MissingDependencyError(
                "drawing pages needs playwright, which is not installed; run pip install 'regard[code]'"
            ) from error
        self._playwright = sync_playwright().start()
        try:
            self._start()
        except BaseException:
            self._playwright.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _close(self) -> None:
        self._stop()
        self._playwright.stop()

    def _start(self) -> None:
        from playwright.sync_api import Error

        self._marker = f"--regard-page={secrets.token_hex(8)}"
        is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        try:
            self._browser = self._playwright.chromium.launch(
                executable_path=find_chromium(), chromium_sandbox=not is_root, args=[*_FLAGS, self._marker]
            )
        except Error as error:
            raise MissingDependencyError(
                f"Chromium does not start ({str(error).splitlines()[0]}); install the system's package chromium"
            ) from error

    def _stop(self) -> None:
        from playwright.sync_api import Error

        try:
            if self._browser is not None:
                self._browser.close()
        except Error:
            pass  # it was killed
        self._browser = None

    def render(
        self, html: str, *, width: int, scale: float = 1.0, min_height: int = 1, max_height: int = 0
    ) -> Rendered:
        """Draw a page in a window of `width` CSS pixels; the whole page, cut off at `max_height` CSS pixels.

        `scale`: picture pixels per CSS pixel. Errors: PageError when a limit is reached.
        """
        if len(html) > MAX_HTML_CHARS:
            raise PageError(f"the page has {len(html)} characters, more than {MAX_HTML_CHARS}; it is not drawn")
        if html.count("<") > 2 * MAX_ELEMENTS:
            raise PageError(f"the page has more than {MAX_ELEMENTS} elements; it is not drawn")
        if max(width, min_height) * scale > MAX_SIDE_PX:
            raise CapacityError(f"a page of {width}x{min_height} px is over the limit of {MAX_SIDE_PX} px a side")
        return self._thread.submit(self._render, html, width, scale, min_height, max_height or MAX_SIDE_PX).result()

    def _render(self, html: str, width: int, scale: float, min_height: int, max_height: int) -> Rendered:
        from playwright.sync_api import Error

        if self._browser is None or not self._browser.is_connected():
            self._stop()
            self._start()
        page, blocked = self._new_page(html, width, scale, min(min_height, max_height))
        # Not before: making a page has no limit of time, and a call to a browser that was killed may never come back.
        watch = Watch(self._marker, seconds=self._timeout_s, memory_bytes=self._memory_bytes)
        try:
            with watch:
                return self._draw(page, blocked, width, scale, min_height, max_height)
        except Error as error:
            self._stop()
            reason = watch.reason or str(error).splitlines()[0]
            raise PageError(f"the page was stopped while it was drawn: {reason}") from error

    def _new_page(self, html: str, width: int, scale: float, height: int) -> tuple[Any, list[str]]:
        """An empty page in a context of its own that will be given this HTML, and the list of what it is refused."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            java_script_enabled=False,
            offline=True,
            accept_downloads=False,
            service_workers="block",
            bypass_csp=False,
            reduced_motion="reduce",
        )
        context.set_default_timeout(self._timeout_s * 1000 + AFTER_WATCH_MS)
        blocked: list[str] = []
        is_served = False

        def answer(route: Any) -> None:
            nonlocal is_served
            if route.request.url == ADDRESS and not is_served:
                is_served = True
                headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
                route.fulfill(status=200, content_type="text/html; charset=utf-8", headers=headers, body=html)
            else:
                blocked.append(route.request.url[:200])
                route.abort("aborted")

        context.route("**/*", answer)
        return context.new_page(), blocked

    def _draw(
        self, page: Any, blocked: list[str], width: int, scale: float, min_height: int, max_height: int
    ) -> Rendered:
        timeout_ms = self._timeout_s * 1000 + AFTER_WATCH_MS  # the watch, which knows why, is first
        session = page.context.new_cdp_session(page)
        page.goto(ADDRESS, wait_until="load")
        content = session.send("Page.getLayoutMetrics", timeout=timeout_ms)["cssContentSize"]
        height = int(max(min_height, min(content["height"], max_height, MAX_SIDE_PX / scale)))
        snapshot = session.send("DOMSnapshot.captureSnapshot", {"computedStyles": list(_STYLES)}, timeout=timeout_ms)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
        options = {"format": "png", "optimizeForSpeed": True, "captureBeyondViewport": True, "clip": clip}
        shot = session.send("Page.captureScreenshot", options, timeout=timeout_ms)
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        page.context.close()
        elements, lines = read_snapshot(snapshot, scale, height * scale)
        return Rendered(image, lines, elements, tuple(blocked))


def read_snapshot(
    snapshot: dict[str, Any], scale: float, height: float
) -> tuple[tuple[Element, ...], tuple[Line, ...]]:
    """Elements and lines of text of the outer document, in document order, those that can be seen."""
    strings, document = snapshot["strings"], snapshot["documents"][0]
    nodes, layout, boxes = document["nodes"], document["layout"], document["textBoxes"]
    values = dict(zip(nodes["inputValue"]["index"], nodes["inputValue"]["value"], strict=True))
    values.update(zip(nodes["textValue"]["index"], nodes["textValue"]["value"], strict=True))
    chosen = set(nodes["optionSelected"]["index"])
    elements: list[Element] = []
    pieces: list[tuple[Line, str]] = []  # with the text as it stands in the page, "" for fields
    number_of: dict[int, int] = {}  # node -> index in `elements`
    text_at: dict[int, list[int]] = {}
    for index, owner in enumerate(boxes["layoutIndex"]):
        text_at.setdefault(owner, []).append(index)

    def rect(bounds: list[float]) -> Rect:
        x, y, width, tall = bounds
        return x * scale, y * scale, (x + width) * scale, (y + tall) * scale

    for index, node in enumerate(layout["nodeIndex"]):
        style = {name: strings[value] for name, value in zip(_STYLES, layout["styles"][index], strict=False)}
        parent = nodes["parentIndex"][node]
        while parent >= 0 and parent not in number_of:
            parent = nodes["parentIndex"][parent]
        outer = number_of.get(parent, -1)
        name = strings[nodes["nodeName"][node]].lower()
        is_hidden = style.get("visibility") == "hidden" or style.get("opacity") == "0"
        if name == "#text":
            text = strings[layout["text"][index]] if layout["text"][index] >= 0 else ""
            font_px = _px(style.get("font-size", "")) * scale
            for at in text_at.get(index, ()):
                piece = text[boxes["start"][at] : boxes["start"][at] + boxes["length"][at]]
                box = rect(boxes["bounds"][at])
                if piece.strip() and not is_hidden and box[1] < height and box[2] > box[0]:
                    pieces.append((Line(" ".join(piece.split()), box, font_px, outer), piece))
            continue
        if name.startswith(("#", "::")):
            continue
        pairs = nodes["attributes"][node]
        attributes = {strings[pairs[i]].lower(): strings[pairs[i + 1]] for i in range(0, len(pairs), 2)}
        box = rect(layout["bounds"][index])
        number_of[node] = len(elements)
        elements.append(
            Element(name, box, attributes, outer, style.get("display", ""), style.get("flex-direction", ""))
        )
        shown = _shown_in(name, attributes, strings, values.get(node, -1))
        if name == "select":
            shown = _option(nodes, strings, node, chosen)
        if shown and not is_hidden and box[1] < height:
            pieces.append((_in_field(shown, box, style, scale, len(elements) - 1), ""))
    return tuple(elements), tuple(_joined(pieces, elements))


def _shown_in(name: str, attributes: dict[str, str], strings: list[str], value: int) -> str:
    """What a form field shows: its content, or else the hint."""
    if name not in ("input", "textarea"):
        return ""
    kind = attributes.get("type", "text")
    if kind in ("checkbox", "radio", "range", "color", "file", "hidden", "image"):
        return ""
    text = strings[value] if value >= 0 else attributes.get("value", "")
    if kind == "password":
        return "\u2022" * len(text)
    return " ".join((text or attributes.get("placeholder", "")).split())


def _option(nodes: dict[str, Any], strings: list[str], select: int, chosen: set[int]) -> str:
    options = [n for n, parent in enumerate(nodes["parentIndex"]) if _within(nodes, n, select)
               and strings[nodes["nodeName"][n]] == "OPTION"]  # fmt: skip
    for option in [*(o for o in options if o in chosen), *options]:
        texts = [strings[nodes["nodeValue"][n]] for n, parent in enumerate(nodes["parentIndex"]) if parent == option]
        return " ".join("".join(texts).split())
    return ""


def _within(nodes: dict[str, Any], node: int, ancestor: int) -> bool:
    while node >= 0 and node != ancestor:
        node = nodes["parentIndex"][node]
    return node == ancestor


def _in_field(text: str, box: Rect, style: dict[str, str], scale: float, element: int) -> Line:
    font_px = _px(style.get("font-size", "")) * scale
    left = box[0] + (_px(style.get("padding-left", "")) + 1) * scale
    middle = (box[1] + box[3]) / 2 if box[3] - box[1] < 3.5 * font_px else box[1] + 1.2 * font_px
    right = min(left + 0.52 * font_px * len(text), box[2])
    return Line(text, (left, middle - 0.58 * font_px, right, middle + 0.58 * font_px), font_px, element)


def _joined(pieces: list[tuple[Line, str]], elements: list[Element]) -> list[Line]:
    """Pieces of one line of one paragraph (bold words, links in it) as one."""
    joined: list[Line] = []
    before = ""
    for line, raw in pieces:
        last = joined[-1] if joined else None
        is_same_line = False
        is_inline = last is not None and (line.element == last.element or _is_inline(line, last, elements))
        if last is not None and is_inline and before and raw:
            tall = min(line.box[3] - line.box[1], last.box[3] - last.box[1])
            overlap = min(last.box[3], line.box[3]) - max(last.box[1], line.box[1])
            is_same_line = -0.2 * tall <= line.box[0] - last.box[2] <= 0.3 * tall and overlap > 0.6 * tall
        if last is not None and is_same_line:
            box = (last.box[0], min(last.box[1], line.box[1]), line.box[2], max(last.box[3], line.box[3]))
            blank = " " if before[-1].isspace() or raw[0].isspace() else ""
            joined[-1] = Line(last.text + blank + line.text, box, max(last.font_px, line.font_px), last.element)
        else:
            joined.append(line)
        before = raw
    return joined


def _is_inline(line: Line, last: Line, elements: list[Element]) -> bool:
    """Whether the two lines' elements are no boxes of their own within one paragraph."""
    inner = [at for at in (line.element, last.element) if at >= 0]
    within = line.element >= 0 and last.element >= 0 and elements[line.element].parent == last.element
    around = line.element >= 0 and last.element >= 0 and elements[last.element].parent == line.element
    if within or around:
        return elements[line.element if within else last.element].display == "inline"
    return all(elements[at].display == "inline" for at in inner)


def _px(value: str) -> float:
    try:
        return float(value.removesuffix("px"))
    except ValueError:
        return 0.0
