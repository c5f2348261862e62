"""JSON values that know where in the text they stand, and whether the text was cut within them.

`lenient_json` makes them of what models write; `plain` makes Python's own values of them.
"""

from __future__ import annotations

import math
import re
from typing import Any

Span = tuple[int, int]  # of characters, the end excluded

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,4})?")
_MAX_DIGITS = 300


class Number(float):
    """A number and where it stands in the text; `is_whole` if it was written without point or exponent."""

    span: Span = (0, 0)
    is_whole = False
    is_cut = False


class String(str):
    """A string and where it stands, escapes included; `is_bare` if it had no quotes."""

    span: Span = (0, 0)
    is_bare = False
    is_cut = False


class Object(dict[str, Any]):
    """The pairs of an object that were complete, and the last one if only its value was cut."""

    is_cut = False


class List(list[Any]):
    """The items of a list; `is_several` if they are objects that stood in one pair of braces."""

    is_several = False
    is_cut = False


class _Nothing:
    """In the place of a value that is not there."""


NOTHING = _Nothing()


def plain(value: Any) -> Any:
    """The same value in Python's own types: dict, list, str, int, float, bool, None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Number):
        return int(value) if value.is_whole else float(value)
    return str(value) if isinstance(value, String) else value


def numbers_in(text: str, start: int = 0) -> list[Number]:
    """All numbers in a piece of text that begins at `start`."""
    return [number_at(one[0], (start + one.start(), start + one.end())) for one in NUMBER.finditer(text)]


def number_at(text: str, span: Span) -> Number:
    number = Number(text) if len(text) <= _MAX_DIGITS else Number(math.inf)
    number.span = span
    number.is_whole = text.lstrip("+-").isdigit() and math.isfinite(number)
    return number


def string_at(text: str, span: Span) -> String:
    string = String(text)
    string.span = span
    return string
