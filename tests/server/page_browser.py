"""Chromium with the page open in it, for the tests of the page: the fixture `browser` is one for a module.

    with opened(browser, url, size) as page: ...       whatever the browser complains of fails the test

REGARD_SHOTS=FOLDER keeps a picture of the page at the end of every test.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SHOTS = os.environ.get("REGARD_SHOTS")
WIDE, PHONE = (1280, 860), (360, 740)
PATIENCE_MS = 30_000  # a machine may have other work to do
expect.set_options(timeout=PATIENCE_MS)
DROP = """
([data, name, type]) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, {type}));
  const event = (kind) => new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true});
  for (const kind of ["dragenter", "dragover", "drop"]) document.getElementById("thread").dispatchEvent(event(kind));
}
"""


@contextmanager
def opened(browser: Browser, url: str, size: tuple[int, int] = WIDE, **options: Any) -> Iterator[Page]:
    """The page, in a profile of its own; whatever the browser complains of fails the test."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce", **options)
    complaints: list[str] = []
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(url)
    page.wait_for_selector("html[data-started]")
    yield page
    if SHOTS:
        name = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0]
        page.screenshot(path=Path(SHOTS) / f"{re.sub('[^a-z0-9]+', '-', name)}-{size[0]}.png")
    context.close()
    # A refused request is told of by the browser too, and a blocked script of a preview is what we want.
    told = [one for one in complaints if "Failed to load resource" not in one and "Blocked script execution" not in one]
    assert told == []


def drop(page: Page, data: bytes, name: str = "shot.png", kind: str = "image/png") -> None:
    """Drop a file on the page."""
    page.evaluate(DROP, [base64.b64encode(data).decode(), name, kind])


def shoot(page: Page, name: str) -> None:
    """Keep a picture of the page, if REGARD_SHOTS says where."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def serious(page: Page) -> list[tuple[str, str, str]]:
    """What axe-core finds on the page that is serious or worse; the page must be opened with bypass_csp."""
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
