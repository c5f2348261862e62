"""From the model's tool call to an `Action` in pixels, and back.

The two tools are the family's own: `computer_use` (mouse and keyboard) and `mobile_use` (touch). Their coordinates are
thousandths of the picture (`mobile_use` of the official checkpoints divides by 999). What models write instead now and
then is understood: the other tool's words for the same thing, coordinates as text or as an object, a key as one string,
a range of two corners in place of a point. What is missing is not invented: a click without a place is refused, in a
sentence that the model can be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from regard.apps.agent.screen import Action, ActionKind, Device
from regard.errors import InputError
from regard.processing.coordinates import Units

TOOL_OF: dict[Device, str] = {"computer": "computer_use", "phone": "mobile_use"}
MAX_WAIT_S = 60.0
MAX_TEXT = 10_000
_KINDS: dict[str, ActionKind] = {
    "left_click": "click",
    "click": "click",
    "tap": "click",
    "double_click": "double_click",
    "triple_click": "triple_click",
    "right_click": "right_click",
    "middle_click": "middle_click",
    "long_press": "long_press",
    "mouse_move": "move",
    "left_click_drag": "drag",
    "drag": "drag",
    "swipe": "drag",
    "scroll": "scroll",
    "hscroll": "hscroll",
    "type": "type",
    "key": "key",
    "system_button": "button",
    "wait": "wait",
    "answer": "answer",
    "terminate": "terminate",
}
_BUTTONS = {"back": "Back", "home": "Home", "menu": "Menu", "enter": "Enter"}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def action_of(arguments: Mapping[str, Any], units: Units) -> Action:
    """The action that a call's arguments ask for; `units` are those of the picture that was shown.

    Errors: InputError, a sentence about what is missing or unknown.
    """
    word = str(arguments.get("action", "")).strip()
    kind = _KINDS.get(word)
    if kind is None:
        raise InputError(f"there is no action {word!r}; it must be one of {', '.join(sorted(_KINDS))}")
    first = _point(arguments.get("coordinate", arguments.get("start_coordinate")), units)
    second = _point(arguments.get("coordinate2", arguments.get("end_coordinate")), units)
    if kind == "drag":
        # computer_use names only the end, mobile_use both.
        start, end = (first, second) if second is not None else (None, first)
        if end is None or (word == "swipe" and start is None):
            raise InputError(f"{word} needs coordinate2, the place where it ends" if first else f"{word} needs a place")
        x, y = start or (None, None)
        return Action(kind, x, y, *end)
    if kind in ("click", "double_click", "triple_click", "right_click", "middle_click", "long_press", "move"):
        if first is None:
            raise InputError(f"{word} needs coordinate, as in [500, 500]")
        return Action(kind, *first, seconds=_seconds(arguments, 1.0) if kind == "long_press" else 0)
    if kind in ("scroll", "hscroll"):
        pixels = _number(arguments.get("pixels"))
        if not pixels:
            raise InputError(f"{word} needs pixels, which is not 0: positive is up, negative is down")
        return Action(kind, *(first or (units.size[0] / 2, units.size[1] / 2)), pixels=pixels)
    if kind in ("type", "answer"):
        text = arguments.get("text")
        if text is None or len(str(text)) > MAX_TEXT:
            raise InputError(f"{word} needs text of at most {MAX_TEXT} characters")
        return Action(kind, text=str(text))
    if kind == "key":
        return Action(kind, keys=_keys(arguments))
    if kind == "button":
        button = _BUTTONS.get(str(arguments.get("button", "")).lower())
        if button is None:
            raise InputError(f"system_button needs button, one of {', '.join(_BUTTONS.values())}")
        return Action(kind, button=button)
    if kind == "wait":
        return Action(kind, seconds=_seconds(arguments, 1.0))
    status = "failure" if str(arguments.get("status", "success")).lower().startswith("fail") else "success"
    return Action(kind, status=status, text=str(arguments.get("text", "")))


def arguments_of(action: Action, device: Device, units: Units) -> dict[str, Any]:
    """The call's arguments that ask for an action, in the order in which the family writes them."""
    end = None if action.x2 is None or action.y2 is None else _written(action.x2, action.y2, units)
    at = None if action.x is None or action.y is None else _written(action.x, action.y, units)
    on_phone = device == "phone"
    match action.kind:
        case "click":
            return {"action": "click" if on_phone else "left_click", "coordinate": at}
        case "double_click" | "triple_click" | "right_click" | "middle_click":
            return {"action": action.kind, "coordinate": at}
        case "long_press":
            return {"action": "long_press", "coordinate": at, "time": _short(action.seconds)}
        case "move":
            return {"action": "mouse_move", "coordinate": at}
        case "drag" if on_phone:
            return {"action": "swipe", "coordinate": at, "coordinate2": end}
        case "drag":
            return {"action": "left_click_drag", "coordinate": end}
        case "scroll" | "hscroll":
            return {"action": action.kind, "coordinate": at, "pixels": _short(action.pixels)}
        case "type" | "answer":
            return {"action": action.kind, "text": action.text}
        case "key":
            return {"action": "key", "keys": list(action.keys)}
        case "button":
            return {"action": "system_button", "button": action.button}
        case "wait":
            return {"action": "wait", "time": _short(action.seconds)}
        case _:
            return {"action": "terminate", "status": action.status or "success"}


def _written(x: float, y: float, units: Units) -> list[int]:
    return [round(number) for number in units.point_units(x, y)]


def _point(value: Any, units: Units) -> tuple[float, float] | None:
    """A place in pixels, inside the picture; None if there is none."""
    if isinstance(value, Mapping):
        value = [value.get("x"), value.get("y")]
    if isinstance(value, str):
        value = _NUMBER.findall(value)
    if not isinstance(value, list | tuple):
        return None
    numbers = [number for number in map(_number, value) if number is not None]
    if len(numbers) == 4:  # a box: its middle
        numbers = [(numbers[0] + numbers[2]) / 2, (numbers[1] + numbers[3]) / 2]
    if len(numbers) != 2:
        return None
    x, y = units.point_px(*numbers)
    return min(x, units.size[0] - 1.0), min(y, units.size[1] - 1.0)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e6 else None


def _seconds(arguments: Mapping[str, Any], default: float) -> float:
    seconds = _number(arguments.get("time"))
    return min(max(default if seconds is None else seconds, 0.0), MAX_WAIT_S)


def _keys(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    value = arguments.get("keys", arguments.get("key", arguments.get("text")))
    items = value if isinstance(value, list | tuple) else re.split(r"\s*\+\s*(?=\S)|\s+", str(value or ""))
    keys = tuple(str(item).strip().lower() for item in items if str(item).strip())
    if not keys or len(keys) > 6:
        raise InputError('key needs keys, one to six names as in ["ctrl", "c"]')
    return keys


def _short(number: float) -> int | float:
    return int(number) if float(number).is_integer() else round(number, 2)
