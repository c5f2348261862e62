"""Where the machine's own Chromium is: what draws pages, operates them and renders the training worlds."""

from __future__ import annotations

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str | None:
    """The first of NAMES on the search path, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)
