"""An Android phone or emulator as a `Screen`, over adb.

    screen = AndroidScreen()              # the only device, or AndroidScreen("emulator-5554")

Nothing is installed on the device: pictures come from screencap, input goes through `input`, and what lies under a
point is read from `uiautomator dump`, so that the policy knows it. Points are pixels of the screen.

Left out: text other than ASCII (`input text` cannot type it), and apps that forbid screenshots, which come out black.
"""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any

from regard.apps.agent.screen import PRESSES, Action, Capture, ScreenError, Target
from regard.apps.agent.secrets import Secrets
from regard.errors import InputError, MissingDependencyError

_BUTTONS = {"Back": "KEYCODE_BACK", "Home": "KEYCODE_HOME", "Menu": "KEYCODE_MENU", "Enter": "KEYCODE_ENTER"}
_BOUNDS = re.compile(r"\[(-?\d+),(-?\d+)\]\[(-?\d+),(-?\d+)\]")
_DUMP = "/sdcard/window_dump.xml"


class AndroidScreen:
    """A device that adb reaches. `device` may be given instead of looked up: an `adbutils.AdbDevice` or its like.

    Errors: MissingDependencyError without adbutils; InputError if there is no such device.
    """

    def __init__(self, serial: str | None = None, *, secrets: Secrets | None = None, device: Any = None) -> None:
        self._secrets = secrets or Secrets()
        self._device = _find(serial) if device is None else device

    def capture(self) -> Capture:
        """Photograph the screen. Errors: ScreenError."""
        try:
            image = self._device.screenshot(error_ok=False).convert("RGB")
            app = self._device.app_current().package
        except Exception as error:
            raise ScreenError(f"the device gives no picture: {error}") from None
        return Capture(image, "phone", f"android:{app}")

    def act(self, action: Action) -> None:
        """Do one action. Errors: ScreenError if the device has no such thing."""
        match action.kind:
            case "click" if action.x is not None and action.y is not None:
                self._shell("input", "tap", round(action.x), round(action.y))
            case "long_press" if action.x is not None and action.y is not None:
                x, y = round(action.x), round(action.y)
                self._shell("input", "swipe", x, y, x, y, round(1000 * (action.seconds or 1.0)))
            case "drag" if None not in (action.x, action.y, action.x2, action.y2):
                ends = (action.x, action.y, action.x2, action.y2)
                self._shell("input", "swipe", *(round(value) for value in ends if value is not None), 400)
            case "scroll" if action.x is not None and action.y is not None:
                x, y = round(action.x), round(action.y)
                self._shell("input", "swipe", x, y, x, round(y + action.pixels), 400)
            case "type":
                self._type(action.text)
            case "button":
                self._shell("input", "keyevent", _BUTTONS[action.button])
            case "wait":
                time.sleep(action.seconds)
            case _:
                raise ScreenError(f"a phone has no {action.kind.replace('_', ' ')}")

    def targets(self, action: Action) -> tuple[Target, ...]:
        """What lies at the action's points, or has the focus. Errors: ScreenError if the device does not tell."""
        nodes = list(self._nodes())
        if action.kind == "type" or action.button == "Enter":
            found = [node for node in nodes if node.get("focused") == "true"][-1:]
            return tuple(map(_target, found))
        if action.kind not in PRESSES and action.kind != "drag":
            return ()
        ends = ((action.x, action.y), (action.x2, action.y2))
        return tuple(
            _target(node)
            for x, y in ends
            if x is not None and y is not None and (node := _innermost(nodes, x, y)) is not None
        )

    def _type(self, text: str) -> None:
        if not text.isascii():
            raise ScreenError("only ASCII letters can be typed on this device over adb")
        for number, line in enumerate(text.split("\n")):
            if number:
                self._shell("input", "keyevent", "KEYCODE_ENTER")
            if line:
                # The device's shell reads the line once more: everything but letters and digits is protected.
                self._shell("input", "text", re.sub(r"([^A-Za-z0-9])", r"\\\1", line).replace("\\ ", "%s"))

    def _nodes(self) -> Iterator[ElementTree.Element]:
        self._shell("uiautomator", "dump", _DUMP)
        text = self._shell("cat", _DUMP)
        try:
            yield from ElementTree.fromstring(text).iter("node")
        except ElementTree.ParseError:
            raise ScreenError("the device does not tell what is on its screen") from None

    def _shell(self, *words: str | int) -> str:
        try:
            return str(self._device.shell(" ".join(map(str, words))))
        except Exception as error:
            # The command may hold a secret: it is not repeated here.
            raise ScreenError(
                f"the device did not take {words[0]} {words[1]}: {self._secrets.mask(str(error))}"
            ) from None


def _find(serial: str | None) -> Any:
    try:
        import adbutils
    except ImportError:
        raise MissingDependencyError(
            "operating Android needs adbutils, which is not installed; run pip install 'regard[android]'"
        ) from None
    try:
        devices = {device.serial: device for device in adbutils.adb.device_list()}
    except Exception as error:
        raise InputError(f"adb cannot be asked for devices ({error}); install Android's platform tools") from None
    if serial is not None and serial not in devices:
        raise InputError(f"there is no Android device {serial}; connected are {', '.join(devices) or 'none'}")
    if serial is None and len(devices) != 1:
        names = ", ".join(devices) or "none"
        raise InputError(f"{len(devices)} Android devices are connected ({names}); name one: android:SERIAL")
    return devices[serial] if serial is not None else next(iter(devices.values()))


def _box(node: ElementTree.Element) -> tuple[float, float, float, float]:
    found = _BOUNDS.fullmatch(node.get("bounds", ""))
    return (0, 0, 0, 0) if found is None else (float(found[1]), float(found[2]), float(found[3]), float(found[4]))


def _innermost(nodes: list[ElementTree.Element], x: float, y: float) -> ElementTree.Element | None:
    """The smallest element at a point that can be pressed, else the smallest of all; later ones lie on top."""
    here = [node for node in nodes if (b := _box(node))[0] <= x < b[2] and b[1] <= y < b[3]]

    def area(node: ElementTree.Element) -> float:
        x1, y1, x2, y2 = _box(node)
        return (x2 - x1) * (y2 - y1)

    pressed = [node for node in here if "true" in (node.get("clickable"), node.get("long-clickable"))]
    return min(reversed(pressed or here), key=area, default=None)


def _target(node: ElementTree.Element) -> Target:
    """The element with the words of everything inside it."""
    inside = [part for one in node.iter("node") for part in (one.get("text"), one.get("content-desc")) if part]
    name = re.sub(r"[_/:.]+", " ", node.get("resource-id", "").rpartition("/")[2])
    kind = node.get("class", "").rpartition(".")[2] or "element"
    return Target(
        kind,
        " ".join(inside)[:200],
        f"{name}\n{node.get('hint', '')}",
        location=f"android:{node.get('package', '')}",
        is_password=node.get("password") == "true",
        is_field=kind.endswith("EditText"),
        box=_box(node),
    )
