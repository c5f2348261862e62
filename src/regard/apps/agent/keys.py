"""Names of keys as models write them, in the spelling that each kind of screen wants."""

from __future__ import annotations

from regard.apps.agent.screen import ScreenError

# What a model may write -> Playwright's name, pyautogui's name
_KEYS: dict[str, tuple[str, str]] = {
    "ctrl": ("Control", "ctrl"),
    "control": ("Control", "ctrl"),
    "shift": ("Shift", "shift"),
    "alt": ("Alt", "alt"),
    "option": ("Alt", "alt"),
    "cmd": ("Meta", "command"),
    "command": ("Meta", "command"),
    "meta": ("Meta", "win"),
    "super": ("Meta", "win"),
    "win": ("Meta", "win"),
    "enter": ("Enter", "enter"),
    "return": ("Enter", "enter"),
    "tab": ("Tab", "tab"),
    "esc": ("Escape", "esc"),
    "escape": ("Escape", "esc"),
    "space": ("Space", "space"),
    "backspace": ("Backspace", "backspace"),
    "delete": ("Delete", "delete"),
    "del": ("Delete", "delete"),
    "insert": ("Insert", "insert"),
    "home": ("Home", "home"),
    "end": ("End", "end"),
    "pageup": ("PageUp", "pageup"),
    "pagedown": ("PageDown", "pagedown"),
    "up": ("ArrowUp", "up"),
    "down": ("ArrowDown", "down"),
    "left": ("ArrowLeft", "left"),
    "right": ("ArrowRight", "right"),
    "plus": ("+", "+"),
    "minus": ("-", "-"),
}
_SHORTCUTS = {
    ("alt", "left"): "back",
    ("alt", "right"): "forward",
    ("f5",): "reload",
    ("ctrl", "r"): "reload",
    ("ctrl", "w"): "close tab",
    ("ctrl", "tab"): "next tab",
    ("ctrl", "pagedown"): "next tab",
}


def _plain(name: str) -> str:
    name = name.strip().lower().replace("_", "").replace("arrow", "")
    return {"control": "ctrl", "pgup": "pageup", "pgdn": "pagedown"}.get(name, name)


def shortcut(names: tuple[str, ...]) -> str:
    """What a browser does on these keys beside the page ("back", "close tab", ...), or ""."""
    return _SHORTCUTS.get(tuple(map(_plain, names)), "")


def playwright_key(name: str) -> str:
    """The name that Playwright knows. Errors: ScreenError."""
    return _named(name, 0)


def pyautogui_key(name: str) -> str:
    """The name that pyautogui knows. Errors: ScreenError."""
    return _named(name, 1)


def _named(name: str, column: int) -> str:
    plain = _plain(name)
    if plain in _KEYS:
        return _KEYS[plain][column]
    if len(plain) == 1:
        return plain
    if plain[0] == "f" and plain[1:].isdigit() and 1 <= int(plain[1:]) <= 24:
        return plain.upper() if column == 0 else plain
    raise ScreenError(f"there is no key {name!r}; take a letter, a digit or one of {', '.join(sorted(_KEYS))}")
