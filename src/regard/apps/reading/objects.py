"""JSON of models: one value, a list of objects, or one object.

The whole text is tried first, then what stands in fences, by the strict parser, since what is right must not be
touched. Only then does the forgiving scanner (`processing.lenient_json`) read, and of several values in prose the
one that says most is taken: objects before lists of words, the longer before the shorter, and values that follow each
other directly count as one list.

Objects come in many shapes: in a list, alone, under the name of a list ("objects"), keyed by label or by time, as bare
coordinates, as XML points. `read_items` makes a flat list of all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from regard.apps.reading.read import Read, fences, outside
from regard.processing.coordinates import xml_points
from regard.processing.json_values import NOTHING, Object, plain
from regard.processing.lenient_json import Scanner

COORDINATES = ("bbox_2d", "point_2d", "bbox_3d", "bbox", "point", "box_2d", "box", "box_3d", "points")
_COLLECTIONS = {
    "objects", "object", "items", "results", "result", "detections", "annotations", "boxes", "bboxes", "bounding_boxes",
    "points", "data", "events", "answer", "answers", "output", "outputs", "instances", "response", "list", "labels",
    "segments", "activities", "chapters", "found",
}  # fmt: skip
_SPANS = {"time", "timestamp", "timestamps", "segment", "interval", "span", "range", "time_range", "time_span", "t"}
_TIME_KEY = re.compile(
    r"\s*<?\d[\d:.,]*\s*(?:s|sec|seconds)?>?\s*(?:(?:-+>?|to|~|\u2013|\u2014)\s*<?\d[\d:.,]*.*)?", re.DOTALL
)
_COLON = re.compile("[:\uff1a]")
_MARKS = " \t\r>*#-"
_MAX_KEY = 60
_DUPLICATE = object()


@dataclass(frozen=True)
class _Found:
    """A value that stands in the text from `start` to `end`."""

    value: Any
    start: int
    end: int


def read_json(text: str) -> Read[Any]:
    """The JSON value in a text, in Python's own types; None if there is none."""
    text = outside(text).strip().removeprefix("\ufeff")
    value = _strict(text)
    if value is not _DUPLICATE:
        return Read(value)
    blocks = [block for block in fences(text) if block.body.strip()]
    strict = [value for block in blocks if (value := _strict(block.body.strip())) is not _DUPLICATE]
    strict = [value for value in strict if isinstance(value, dict | list)] or strict
    if len(strict) == 1:
        return Read(strict[0])
    if len(strict) > 1:
        return Read(_joined(strict), (f"joined {len(strict)} fenced values",))
    for source in ("\n".join(block.body for block in blocks), text):
        found, repairs = _scan(source)
        if found is not NOTHING:
            return Read(plain(found), repairs)
    return Read(None)


def read_items(text: str) -> Read[list[dict[str, Any]]]:
    """All objects in a text as a flat list; empty if there is none.

    Objects keyed by label or time keep the key as `label` or `time`; bare numbers become `bbox_2d` (4), `point_2d` (2)
    or `bbox_3d` (9); XML points are read too, as `point_2d`.
    """
    found = read_json(text)
    items = list(_items(found.value))
    if items:
        return Read(items, found.repairs)
    points = [
        {"point_2d": [plain(x), plain(y)], "label": label}
        for label, numbers in xml_points(text)
        for x, y in zip(numbers[::2], numbers[1::2], strict=False)
    ]
    return Read(points)


def read_object(text: str) -> Read[dict[str, Any]]:
    """One object; several are joined, the first value of a key that says something wins. Empty if there is none.

    Without any JSON, lines of the form `key: value` are pairs.
    """
    found = read_json(text)
    if isinstance(found.value, dict):
        return Read(found.value, found.repairs)
    objects = [item for item in found.value if isinstance(item, dict)] if isinstance(found.value, list) else []
    if objects:
        joined: dict[str, Any] = {}
        for item in objects:
            for key, value in item.items():
                if joined.get(key) in (None, "", [], {}):
                    joined[key] = value
        return Read(joined, (*found.repairs, *((f"joined {len(objects)} objects",) if len(objects) > 1 else ())))
    pairs = dict(pair for line in outside(text).splitlines() if (pair := _pair_of_line(line)) is not None)
    return Read(pairs, ("took lines for pairs",) if pairs else ())


def _pair_of_line(line: str) -> tuple[str, str] | None:
    """Key and value of a line such as `- **Total**: 12.50`."""
    colon = _COLON.search(line)
    if colon is None:
        return None
    key, value = line[: colon.start()].strip(_MARKS), line[colon.end() :].strip(_MARKS[:-1])
    return (key, value) if key and value and len(key) <= _MAX_KEY else None


def _strict(text: str) -> Any:
    """The value of text that is JSON already; `_DUPLICATE` if it is none, or if a key comes twice in an object."""

    def pairs_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise ValueError("a key comes twice")
        return made

    def number(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    try:
        value = json.loads(text, object_pairs_hook=pairs_of, parse_constant=number)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        return value
    except (ValueError, RecursionError):
        return _DUPLICATE


def _scan(text: str) -> tuple[Any, tuple[str, ...]]:
    """The value that says most, and the repairs; `NOTHING` if there is none."""
    groups = list(_groups(text))
    if not groups:
        return NOTHING, ()
    best = max(groups, key=lambda group: (_num_pairs(group) > 0, sum(found.end - found.start for found in group)))
    start, end = best[0].start, best[-1].end
    scanner = Scanner(text[:end])  # again, for the repairs of these only
    values = []
    for found in best:
        scanner.position = found.start
        values.append(scanner.read_value())
    repairs = list(scanner.repair_texts())
    if len(values) > 1:
        repairs.append(f"joined {len(values)} values")
    if text[:start].strip() or text[end:].strip(" \t\r\n`~,;"):
        repairs.append("left out the text around it")
    return _joined(values), tuple(repairs)


def _groups(text: str) -> Iterator[list[_Found]]:
    """Values that stand directly one after another."""
    scanner = Scanner(text)
    group: list[_Found] = []
    while opening := _OPENING.search(text, scanner.position):
        start = scanner.position = opening.start()
        value = scanner.read_value()
        if value is NOTHING or scanner.position == start:
            scanner.position = start + 1
            continue
        if not value and text[start + 1 : scanner.position - 1].strip():
            continue  # braces of prose
        found = _Found(value, start, scanner.position)
        if group and text[group[-1].end : start].strip(" \t\r\n,;"):
            yield group
            group = []
        group.append(found)
    if group:
        yield group


_OPENING = re.compile(r"[{\[]")


def _num_pairs(group: list[_Found]) -> int:
    def count(value: Any, depth: int = 0) -> int:
        if isinstance(value, Object):
            return len(value)
        return sum(count(item, depth + 1) for item in value) if isinstance(value, list) and depth < 4 else 0

    return sum(count(found.value) for found in group)


def _joined(values: list[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    joined: list[Any] = []
    for value in values:
        joined += value if isinstance(value, list) else [value]
    return joined


def _items(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    if depth > 6:
        return
    if isinstance(value, list):
        numbers = _coordinates_of(value)
        if numbers is not None:
            yield numbers
            return
        for item in value:
            yield from _items(item, depth + 1)
    elif isinstance(value, dict):
        yield from _items_of_object(value, depth)


def _items_of_object(value: dict[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    if not value:
        return
    if not any(key in value for key in COORDINATES if not _is_list_of_objects(value.get(key))):
        if all(_TIME_KEY.fullmatch(key) for key in value):
            for time, told in value.items():
                yield from ({"time": time, **one} for one in _told(told, "text"))
            return
        holds = {key: inner for key, inner in value.items() if key.lower() not in _SPANS and _holds_places(inner)}
        if len(holds) == len(value) or any(_is_list_of_objects(inner) for inner in holds.values()):
            for key, inner in holds.items():
                label = {} if key.lower() in _COLLECTIONS else {"label": key}
                yield from ({**label, **one} for one in _items(inner, depth + 1))
            return
    yield value


def _told(told: Any, key: str) -> Iterator[dict[str, Any]]:
    """What stands under a time: words, an object, or a list of these."""
    if isinstance(told, dict):
        yield told
    elif isinstance(told, list) and any(isinstance(one, dict | str) for one in told):
        for one in told:
            yield from _told(one, key)
    elif (numbers := _coordinates_of(told)) is not None:
        yield numbers
    else:
        yield {key: told}


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _holds_places(value: Any) -> bool:
    """Whether it is a list of objects, an object with coordinates, or bare coordinates (of one or several)."""
    if isinstance(value, Mapping):
        return any(key in value for key in COORDINATES)
    if not isinstance(value, list):
        return False
    return (
        _is_list_of_objects(value)
        or _coordinates_of(value) is not None
        or (bool(value) and all(_coordinates_of(item) is not None for item in value))
    )


def _coordinates_of(value: Any) -> dict[str, Any] | None:
    """Bare numbers as an object: 4 are a box, 2 a point, 9 a box in space."""
    if not isinstance(value, list) or not all(isinstance(one, int | float) and one is not True for one in value):
        return None
    key = {2: "point_2d", 4: "bbox_2d", 9: "bbox_3d"}.get(len(value))
    return {key: value} if key else None
