"""Looking at a screen over time: waiting until it stands still, seeing whether it changed, noticing circles."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
from PIL import Image

from regard.apps.agent.screen import Action, Capture, Screen

SETTLE_S = 3.0  # the longest wait for a screen that goes on moving
INTERVAL_S = 0.12
NOTICEABLE = 24  # of 255: a pixel that differs by less looks the same
SAME_SHARE = 0.0002  # of all pixels; 50 of 640x400: less than one letter
MAX_REPEATS = 3  # the same action on the same screen
MAX_IDLE_STEPS = 8  # steps in a row that changed nothing
_THUMB = (32, 32)
_CELLS = 64  # points that fall into the same of 64 x 64 cells are the same point


def settle(screen: Screen, limit_s: float = SETTLE_S) -> tuple[Capture, bool]:
    """The screen once two pictures in a row are alike, and whether that came to pass within `limit_s`.

    Notes of all pictures on the way are kept. Errors: ScreenError.
    """
    end_s = time.monotonic() + limit_s
    capture = screen.capture()
    notes = list(capture.notes)
    while True:
        time.sleep(INTERVAL_S)
        newer = screen.capture()
        notes += newer.notes
        is_stable = newer.location == capture.location and difference(capture.image, newer.image) <= SAME_SHARE
        capture = newer
        if is_stable or time.monotonic() >= end_s:
            return replace(capture, notes=tuple(notes)), is_stable


def difference(before: Image.Image, after: Image.Image) -> float:
    """The share of pixels that differ noticeably; 1 for pictures of different sizes."""
    if before.size != after.size:
        return 1.0
    first, second = (np.asarray(image, np.int16) for image in (before, after))
    return float((np.abs(first - second).max(axis=-1) > NOTICEABLE).mean())


def has_changed(before: Capture, after: Capture) -> bool:
    """Whether anything is to be seen of what was done in between."""
    return before.location != after.location or bool(after.notes) or difference(before.image, after.image) > SAME_SHARE


class LoopWatch:
    """Counts what was done where. Screens are told apart coarsely, so that a clock or a caret makes no new screen."""

    def __init__(self) -> None:
        self._done: Counter[tuple[bytes, tuple[object, ...]]] = Counter()
        self._num_idle = 0

    def times_done(self, capture: Capture, action: Action) -> int:
        """How often this action was done on this screen before."""
        return self._done[_fingerprint(capture), _action_key(action, capture.image.size)]

    def note(self, capture: Capture, action: Action, *, changed: bool) -> None:
        """Remember that the action was done on this screen."""
        self._done[_fingerprint(capture), _action_key(action, capture.image.size)] += 1
        self._num_idle = 0 if changed else self._num_idle + 1

    def circle(self) -> str:
        """A sentence if the agent goes in circles, else an empty one."""
        most = max(self._done.values(), default=0)
        if most >= MAX_REPEATS:
            return f"the agent goes in circles: it did the same on the same screen {most} times"
        if self._num_idle >= MAX_IDLE_STEPS:
            return f"the agent gets nowhere: {self._num_idle} steps in a row changed nothing"
        return ""


def _fingerprint(capture: Capture) -> bytes:
    thumb = capture.image.convert("L").resize(_THUMB, Image.Resampling.BOX)
    return capture.location.encode() + (np.asarray(thumb, np.uint8) // 16).tobytes()


def _action_key(action: Action, size: tuple[int, int]) -> tuple[object, ...]:
    def cell(value: float | None, side: int) -> int | None:
        return None if value is None else int(value * _CELLS / side)

    places = cell(action.x, size[0]), cell(action.y, size[1]), cell(action.x2, size[0]), cell(action.y2, size[1])
    return action.kind, places, action.text, action.keys, action.button, action.pixels > 0
