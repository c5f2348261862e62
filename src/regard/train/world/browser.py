"""Render many small independent screens at once in real Chromium and read the truth from its DOM.

    with SheetBrowser() as browser:
        rendered = browser.render([ScreenPage(width=352, height=256, html="<button data-k=button>Save</button>")])
        rendered[0].image          # PIL picture of exactly 352 x 256 pixels
        rendered[0].widgets        # what the page itself says is where

1. Screens are packed in rows on one sheet; each is an absolutely positioned box with `contain: strict`, so
   screens cannot influence each other.
2. A script in the page first removes what does not fit (`data-r` marks removable parts; a part inside
   `data-r=whole` takes the whole with it), then walks every text node and asks for the rectangle of every
   character, and asks every `data-k` element for its box.
3. One screenshot is taken of the sheet and cut up.

An element with `data-k` is a widget: `data-k` is its kind, `data-l` its name where that is not its own text,
`data-v` its value. Parts inside `data-over` elements cover what is below them. Only what is wholly visible
is reported: inside the screen, not cut off by a scrolling parent, not below a `data-over` part.
What a native control shows has no text nodes: an invisible twin with the same text lies over it, or `data-m` says what
it shows, and the characters are measured in the control's font.

This module knows no layouts and no questions.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from regard.chromium import find_chromium
from regard.errors import EngineError, MissingDependencyError

CHROMIUM = Path(find_chromium() or "/usr/bin/chromium")
SHEET_PX = 2048
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)

_SCRIPT = r"""
() => {
  const inside = (r, c) => r.left >= c.left - 0.6 && r.top >= c.top - 0.6 && r.right <= c.right + 0.6
    && r.bottom <= c.bottom + 0.6;
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const round = v => Math.round(v * 10) / 10;

  const prune = screen => {
    const frame = screen.getBoundingClientRect();
    for (let n = 0; n < 60; n++) {
      const bad = [...screen.querySelectorAll('[data-r], .box')].filter(e => {
        const r = e.getBoundingClientRect();
        const p = e.parentElement.getBoundingClientRect();
        const cut = getComputedStyle(e.parentElement).overflowY !== 'visible';
        return !inside(r, frame) || r.right > p.right + 1 || r.left < p.left - 1
          || !cut && (r.bottom > p.bottom + 1 || r.top < p.top - 1)
          || e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0;
      });
      if (!bad.length) return;
      const leaf = bad.filter(e => !e.querySelector('[data-r]'));
      const part = (leaf.length ? leaf : bad).at(-1).closest('[data-r]');
      (part.closest('[data-r=whole]') ?? part).remove();
    }
  };

  const measure = screen => {
    const frame = screen.getBoundingClientRect();
    const covers = [...screen.querySelectorAll('[data-over]')].map(o => [o, o.getBoundingClientRect()]);
    const clips = new Map();
    const clipOf = e => {
      if (e === screen) return [frame];
      if (!clips.has(e)) {
        const up = clipOf(e.parentElement);
        clips.set(e, getComputedStyle(e).overflowX === 'visible' ? up : [...up, e.getBoundingClientRect()]);
      }
      return clips.get(e);
    };
    const visible = (e, r) => clipOf(e.parentElement).every(c => inside(r, c))
      && covers.every(([o, box]) => !meet(r, box) || o.contains(e) || e.contains(o));

    const cut = new Set();
    let text = '';
    const xs = [], ys = [];
    const walker = document.createTreeWalker(screen, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const parent = node.parentElement;
      if (parent.closest('style,select,option') || !node.data.trim()) continue;
      for (let i = 0; i < node.data.length; i++) {
        if (/\s/.test(node.data[i])) continue;
        range.setStart(node, i);
        range.setEnd(node, i + 1);
        const r = range.getBoundingClientRect();
        if (r.width < 0.5 || !visible(parent, r) || !clipOf(parent).every(c => inside(r, c))) {
          cut.add(parent.closest('[data-k]'));
          continue;
        }
        text += node.data[i];
        xs.push(round((r.left + r.right) / 2 - frame.left));
        ys.push(round((r.top + r.bottom) / 2 - frame.top));
      }
    }

    // What native controls show has no text node: measured as it would be written at the left of the box.
    const pen = document.createElement('canvas').getContext('2d');
    for (const e of screen.querySelectorAll('[data-m]')) {
      const style = getComputedStyle(e), r = e.getBoundingClientRect(), shown = e.dataset.m;
      pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
      const left = r.left + parseFloat(style.paddingLeft) + parseFloat(style.borderLeftWidth)
        + (e.matches('select') ? 4 : 0);
      if (left + pen.measureText(shown).width > r.right - 2 || !visible(e, r)) { cut.add(e); continue; }
      for (let i = 0; i < shown.length; i++) {
        if (/\s/.test(shown[i])) continue;
        const x = left + (pen.measureText(shown.slice(0, i)).width + pen.measureText(shown.slice(0, i + 1)).width) / 2;
        text += shown[i];
        xs.push(round(x - frame.left));
        ys.push(round((r.top + r.bottom) / 2 - frame.top));
      }
    }

    const widgets = [];
    for (const e of screen.querySelectorAll('[data-k]')) {
      range.selectNodeContents(e);
      const r = (/^(heading|text)$/.test(e.dataset.k) ? range : e).getBoundingClientRect();
      if (r.width < 4 || r.height < 4 || cut.has(e) || !visible(e, r)) continue;
      if (/^(card|dialog)$/.test(e.dataset.k) && !e.textContent.trim()) continue;
      const control = e.matches('input,select') ? e : e.querySelector('input,select');
      const checked = control && /checkbox|radio/.test(control.type) ? control.checked : e.dataset.on === '1';
      widgets.push({
        kind: e.dataset.k, label: (e.dataset.l ?? e.textContent).trim(), value: e.dataset.v ?? '',
        box: [r.left - frame.left, r.top - frame.top, r.right - frame.left, r.bottom - frame.top].map(round),
        checked, disabled: e.disabled === true || e.dataset.off === '1',
      });
    }
    return {widgets, text, xs, ys};
  };

  const screens = [...document.querySelectorAll('.screen')];
  screens.forEach(prune);
  return JSON.stringify(screens.map(measure));
}
"""

_SHEET_STYLE = """
*, *::before, *::after { box-sizing: border-box; }
html, body { margin: 0; background: #fff; }
.screen { position: absolute; overflow: hidden; contain: strict; }
h1, h2, h3, p { margin: 0; }
input, button, select { margin: 0; font: inherit; }
"""


@dataclass(frozen=True)
class ScreenPage:
    """HTML of one screen and its size in pixels; `css` rules apply inside this screen only."""

    width: int
    height: int
    html: str
    css: str = ""


@dataclass(frozen=True)
class RenderedScreen:
    """One screen as Chromium drew it.

    `widgets` are JSON objects {kind, label, value, box (x1, y1, x2, y2 in pixels), checked, disabled} in document
    order; `text` holds the visible characters without blanks, `xs` and `ys` their centres in pixels.
    """

    image: Image.Image
    widgets: tuple[dict[str, Any], ...]
    text: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]


class SheetBrowser:
    """A headless Chromium with one page; use it as a context manager."""

    def __init__(self, executable: Path = CHROMIUM) -> None:
        self._executable = executable

    def __enter__(self) -> SheetBrowser:
        try:
            from playwright.sync_api import sync_playwright
        except ImportError as error:
            raise MissingDependencyError(
                "rendering screens needs playwright, which is not installed; run pip install 'regard[train]'"
            ) from error
        if not self._executable.is_file():
            raise MissingDependencyError(f"Chromium {self._executable} is missing; install the Debian package chromium")
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=str(self._executable), args=list(_FLAGS))
        self._page = self._browser.new_page(viewport={"width": SHEET_PX, "height": SHEET_PX})
        self._session = self._page.context.new_cdp_session(self._page)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._browser.close()
        self._playwright.stop()

    def render(self, pages: Sequence[ScreenPage]) -> list[RenderedScreen]:
        """Render screens in order, as many to a sheet as fit."""
        rendered: list[RenderedScreen] = []
        while len(rendered) < len(pages):
            rendered += self._render_sheet(*pack(pages[len(rendered) :]))
        return rendered

    def _render_sheet(self, pages: list[ScreenPage], corners: list[tuple[int, int]]) -> list[RenderedScreen]:
        body = "".join(
            f'<div class="screen" id="s{i}" style="left:{x}px;top:{y}px;width:{page.width}px;height:{page.height}px">'
            f"<style>#s{i} {{ {page.css} }}</style>{page.html}</div>"
            for i, (page, (x, y)) in enumerate(zip(pages, corners, strict=True))
        )
        self._page.set_content(f"<!doctype html><style>{_SHEET_STYLE}</style>{body}")
        truths = json.loads(self._page.evaluate(_SCRIPT))
        if len(truths) != len(pages):
            raise EngineError(f"the sheet holds {len(truths)} screens, expected {len(pages)}; a page broke the HTML")
        shot = self._session.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        sheet = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        return [
            RenderedScreen(
                image=sheet.crop((x, y, x + page.width, y + page.height)),
                widgets=tuple(truth["widgets"]),
                text=truth["text"],
                xs=tuple(truth["xs"]),
                ys=tuple(truth["ys"]),
            )
            for page, (x, y), truth in zip(pages, corners, truths, strict=True)
        ]


def pack(pages: Sequence[ScreenPage]) -> tuple[list[ScreenPage], list[tuple[int, int]]]:
    """Place the first pages on one sheet, row by row: (the pages that fit, their top-left corners in pixels)."""
    x = y = row_height = 0
    corners: list[tuple[int, int]] = []
    for page in pages:
        if max(page.width, page.height) > SHEET_PX:
            raise EngineError(f"screen of {page.width}x{page.height} px does not fit a sheet of {SHEET_PX} px")
        if x + page.width > SHEET_PX:
            x, y, row_height = 0, y + row_height, 0
        if y + page.height > SHEET_PX:
            break
        corners.append((x, y))
        x += page.width
        row_height = max(row_height, page.height)
    return list(pages[: len(corners)]), corners
