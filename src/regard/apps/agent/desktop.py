"""This computer's own desktop as a `Screen`: pictures by mss, mouse and keyboard by pyautogui.

X11, Windows and macOS. Wayland lets no program look at or press on others, so it is refused in a sentence. What lies
under a point is not known here: the policy counts every action as `unknown`, which by default needs the user's yes.
Pushing the mouse into a corner of the screen stops the agent (pyautogui's fail-safe).

Left out: text that the keyboard's layout cannot type, more than the first monitor.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from PIL import Image

from regard.apps.agent.keys import pyautogui_key
from regard.apps.agent.screen import Action, Capture, ScreenError
from regard.errors import MissingDependencyError

_BUTTONS = {"click": "left", "double_click": "left", "triple_click": "left", "right_click": "right",
            "middle_click": "middle"}  # fmt: skip
_CLICKS = {"double_click": 2, "triple_click": 3}
WHEEL_PX = 120  # about one notch of a wheel


class DesktopScreen:
    """The first monitor. `grab` and `mouse` may be given instead of mss and pyautogui.

    Errors: MissingDependencyError if a package or a display is missing.
    """

    def __init__(self, *, grab: Any = None, mouse: Any = None) -> None:
        self._grab, self._mouse = (grab, mouse) if grab is not None and mouse is not None else _connect()
        self._scale = 1.0  # pixels of the picture for each unit of the mouse

    def capture(self) -> Capture:
        """Photograph the first monitor. Errors: ScreenError."""
        try:
            shot = self._grab.grab(self._grab.monitors[1])
        except Exception as error:
            raise ScreenError(f"the desktop cannot be photographed: {error}") from None
        image = Image.frombytes("RGB", shot.size, shot.rgb)
        self._scale = image.width / self._mouse.size()[0]
        return Capture(image, "computer", "desktop")

    def act(self, action: Action) -> None:
        """Do one action. Errors: ScreenError."""
        try:
            self._act(action)
        except ScreenError:
            raise
        except Exception as error:
            name = type(error).__name__
            why = "the mouse was pushed into a corner" if name == "FailSafeException" else name
            raise ScreenError(f"the {action.kind} was not done: {why}") from None

    def _act(self, action: Action) -> None:
        mouse = self._mouse
        at = self._place(action.x, action.y)
        match action.kind:
            case "click" | "double_click" | "triple_click" | "right_click" | "middle_click":
                mouse.click(*at, clicks=_CLICKS.get(action.kind, 1), button=_BUTTONS[action.kind], interval=0.05)
            case "long_press":
                mouse.moveTo(*at)
                mouse.mouseDown()
                time.sleep(action.seconds or 1.0)
                mouse.mouseUp()
            case "move":
                mouse.moveTo(*at)
            case "drag":
                if at:
                    mouse.moveTo(*at)
                mouse.dragTo(*self._place(action.x2, action.y2), duration=0.4, button="left")
            case "scroll" | "hscroll":
                if at:
                    mouse.moveTo(*at)
                notches = round(action.pixels / WHEEL_PX) or (1 if action.pixels > 0 else -1)
                # pyautogui: positive is up; to the side, positive is right
                mouse.scroll(notches) if action.kind == "scroll" else mouse.hscroll(-notches)
            case "type":
                mouse.write(action.text, interval=0.02)
            case "key":
                mouse.hotkey(*map(pyautogui_key, action.keys))
            case "wait":
                time.sleep(action.seconds)
            case _:
                raise ScreenError(f"a desktop has no {action.kind.replace('_', ' ')} {action.button}".rstrip())

    def _place(self, x: float | None, y: float | None) -> tuple[float, ...]:
        return () if x is None or y is None else (x / self._scale, y / self._scale)


def _connect() -> tuple[Any, Any]:
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        kind = "Wayland" if os.environ.get("WAYLAND_DISPLAY") else "no display"
        raise MissingDependencyError(f"operating the desktop needs X11, and there is {kind}; log into an X11 session")
    try:
        import mss
        import pyautogui
    except ImportError as error:
        raise MissingDependencyError(
            f"operating the desktop needs {error.name}, which is not installed; run pip install 'regard[desktop]'"
        ) from None
    return mss.MSS(), pyautogui
