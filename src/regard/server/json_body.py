"""A body to the JSON value that it holds, if that is of a size and depth that reading it cannot hurt.

Beyond JSON itself: at most `MAX_MARKS` commas and brackets, `MAX_DEPTH` levels, no NaN and no infinity (Python would
read both), and no half of a surrogate pair, which could not be written again.
"""

from __future__ import annotations

import json
import math
from typing import Any

from regard.errors import InputError

MAX_MARKS = 1_000_000  # `,`, `[` and `{`, in strings too: a bound on how many values there can be
MAX_DEPTH = 100


def read_json(body: bytes) -> Any:
    """The value of a body. Errors: InputError saying why it is not taken."""
    num_marks = sum(map(body.count, (b",", b"[", b"{")))
    if num_marks > MAX_MARKS:
        raise InputError(f"the body has {num_marks} commas and brackets, the limit is {MAX_MARKS}; send less at once")
    try:
        value = json.loads(body, parse_constant=_refuse)
    except RecursionError:
        raise InputError(_too_deep()) from None
    except ValueError as error:
        raise InputError(f"the body is not JSON ({str(error)[:80]}); send one JSON object") from None
    _check(value)
    return value


def _check(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(_too_deep())
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.keys()
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str):
                _check_text(item)
            elif isinstance(item, float) and not math.isfinite(item):
                raise InputError("a number in the body is too large to be read; write a smaller one")
        level = inner


def _check_text(text: str) -> None:
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise InputError("a text in the body holds half of a surrogate pair; write the whole character") from None


def _refuse(name: str) -> Any:
    raise InputError(f"the body holds {name}, which is no JSON; write a number")


def _too_deep() -> str:
    return f"the body is nested more than {MAX_DEPTH} levels deep; make it flatter"
