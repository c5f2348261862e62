"""Screens that nobody here drew: installed documentation and, with the package `miniwob`, the screens of MiniWoB++.

Pages are opened in Chromium from the disk, nothing is fetched from a network; what is asked for are links, buttons,
check boxes, radio buttons and tabs with a text of their own that is wholly visible and occurs once, their places those
of the DOM. Never trained on. The pages are opened on first use and kept in the user's cache folder; which there are
depends on the machine.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regard.errors import MissingDependencyError
from regard.evals import screens
from regard.evals.task import Measure, Task
from regard.train.world.browser import CHROMIUM, RenderedScreen
from regard.train.world.sample import Sample
from regard.train.world.screen_questions import ask, askable
from regard.train.world.screens import ScreenBank, write_bank

_MAX_DOCUMENTS, _MAX_GAMES = 40, 40
_MIN_BYTES = 3000
_DOCUMENT_SIZE, _GAME_SIZE = (480, 384), (160, 210)
_SCROLLED_PX = (0, 700, 2000)  # where documents are looked at
_PATIENCE_MS = 20_000
_KIND = "found"
_VERSION = 2

_SCRIPT = r"""
([width, height]) => {
  const kinds = [['a, .alink', 'link'], ['button, input[type=submit], input[type=button]', 'button'],
                 ['label', 'checkbox'], ['[role=tab]', 'tab']];
  const found = [], seen = new Set();
  for (const [selector, kind] of kinds) for (const e of document.querySelectorAll(selector)) {
    const r = e.getBoundingClientRect(), label = (e.value || e.innerText || '').trim();
    if (seen.has(e) || !label || label.includes('\n') || label.length > 30 || e.getClientRects().length !== 1) continue;
    if (r.width < 6 || r.height < 6 || r.left < 0 || r.top < 0 || r.right > width || r.bottom > height) continue;
    const top = document.elementFromPoint((r.left + r.right) / 2, (r.top + r.bottom) / 2);
    if (!top || !(e === top || e.contains(top) || top.contains(e))) continue;
    const control = kind === 'checkbox' ? (e.control ?? e.querySelector('input')) : null;
    if (kind === 'checkbox' && !(control && /checkbox|radio/.test(control.type))) continue;
    seen.add(e);
    found.push({
      kind: control && control.type === 'radio' ? 'radio button' : kind, label, value: '',
      box: [r.left, r.top, r.right, r.bottom], checked: !!(control && control.checked), disabled: false,
    });
  }
  return found;
}
"""


def documents() -> list[Path]:
    """Installed HTML pages, one of each folder, in a fixed order."""
    roots = (Path("/usr/share/doc"), Path(sysconfig.get_path("stdlib")))
    found: dict[Path, Path] = {}
    for root in roots:
        for path in sorted(root.rglob("*.html")):
            if "site-packages" not in path.parts and path.is_file() and path.stat().st_size >= _MIN_BYTES:
                found.setdefault(path.parent, path)
    return list(found.values())[:_MAX_DOCUMENTS]


def games() -> list[Path]:
    """Pages of MiniWoB++, if its package is installed."""
    package = importlib.util.find_spec("miniwob")
    if package is None or not package.submodule_search_locations:
        return []
    found = sorted(Path(package.submodule_search_locations[0]).rglob("miniwob/*.html"))
    return found[:: max(1, len(found) // _MAX_GAMES)][:_MAX_GAMES]


def _opened() -> Iterator[tuple[RenderedScreen, dict[str, Any]]]:
    """Every page that has something to ask for."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise MissingDependencyError("playwright is missing; install regard[train]") from error
    if not CHROMIUM.is_file():
        raise MissingDependencyError(f"Chromium {CHROMIUM} is missing; install the Debian package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(offline=True)
        for paths, size, source in ((documents(), _DOCUMENT_SIZE, "documents"), (games(), _GAME_SIZE, "miniwob")):
            page = context.new_page()
            page.set_viewport_size({"width": size[0], "height": size[1]})
            for path in paths:
                try:
                    page.goto(path.as_uri(), wait_until="domcontentloaded", timeout=_PATIENCE_MS)
                    if source == "miniwob":
                        page.evaluate("Math.seedrandom && Math.seedrandom(7); core.startEpisodeReal()")
                    for scrolled_px in _SCROLLED_PX if source == "documents" else (0,):
                        page.evaluate("y => window.scrollTo(0, y)", scrolled_px)
                        widgets: list[dict[str, Any]] = page.evaluate(_SCRIPT, list(size))
                        if askable(widgets):
                            shot = page.screenshot(timeout=_PATIENCE_MS)
                            image = Image.open(io.BytesIO(shot)).convert("RGB")
                            about = {"source": source, "page": path.name}
                            yield RenderedScreen(image, tuple(widgets), "", (), ()), about
                except Error:
                    continue  # a page that does not open here is no test of the model
        browser.close()


@functools.cache
def found_bank() -> ScreenBank:
    """The opened pages. Errors: MissingDependencyError without Chromium, or where no page is installed."""
    folder = screens.cache_folder(f"{_KIND}-{_VERSION}")
    if not (folder / "shard-0000.zip").is_file():
        made: Sequence[tuple[RenderedScreen, dict[str, Any]]] = list(_opened())
        if not made:
            raise MissingDependencyError(
                "no HTML documentation is installed under /usr/share/doc, and the package miniwob is missing"
            )
        write_bank(folder, made)
    return ScreenBank(folder)


def _make(rng: np.random.Generator, number: int) -> Sample:
    bank = found_bank()
    screen = bank.screen(number % len(bank))
    elsewhere = bank.widgets(int(rng.integers(len(bank))))
    while True:
        sample = ask(rng, screen.image, screen.widgets, elsewhere)
        if sample.truth["form"] in ("bbox", "point"):
            sample.truth["source"] = screen.extra["source"]
            return sample


def _of_source(source: str) -> Callable[[Sample], bool]:
    return lambda sample: bool(sample.truth["source"] == source)


TASK = Task(
    name="found",
    title="pages that nobody here drew",
    make=_make,
    score=screens.score,
    measures=(
        Measure("point inside the element", screens.score, lambda sample: True, goal=0.75),
        Measure("installed documentation", screens.score, _of_source("documents"), goal=0.75),
        Measure("MiniWoB++", screens.score, _of_source("miniwob"), goal=0.75),
    ),
)
