"""Boxes and points that a reply names, in pixels of the user's picture.

The model speaks in thousandths of the picture's width and height, x before y. It writes JSON objects with
`bbox_2d` or `point_2d`, usually in a fenced list:

    ```json
    [{"bbox_2d": [120, 80, 310, 140], "label": "Save"}]
    ```

or, when asked, XML: <points x1="12" y1="34" alt="cups">cups</points> or <points 12 34>cup</points>. Replies
are often not quite JSON (single quotes, trailing commas, prose around, the end cut off), so objects are read
by a forgiving scanner; a pair of which only a part was written is left out.

Ends that are reversed are swapped, values outside 0..1000 clamped. A reply does not say which of several
pictures it means: the last one is taken, the one a conversation has arrived at. It never raises.

Each number knows where in the text it stands, so that the caller can say how sure the model was of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from regard.reply import Box, Point

_MAX_DEPTH = 32
_LABEL_KEYS = ("label", "text_content", "name", "name_en", "name_zh")
# A quote ends a string only where a string may end, so that "the "Save" button" and 'it's' are one each.
_STRING = {
    quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.|{quote}(?!\s*(?:[,:}}\]]|\Z))){{0,2000}}+){quote}", re.DOTALL)
    for quote in "\"'"
}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORD = re.compile(r"[^\s,:\[\]{}\"']+")
_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_POINTS_TAG = re.compile(r"<points?\b([^<>]*)>([^<]*)")
_ALT = re.compile(r"\balt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z_]\w*\s*=")

Span = tuple[int, int]  # of characters, the end excluded


class _Number(float):
    """A number and where it stands in the text."""

    span: Span = (0, 0)


class _String(str):
    """A string and where it stands, escapes included."""

    span: Span = (0, 0)


def find_boxes_and_points(
    text: str,
    image_sizes: Sequence[tuple[int, int]],
    confidence_of: Callable[[Sequence[Span]], float | None] = lambda spans: None,
) -> tuple[tuple[Box, ...], tuple[Point, ...]]:
    """All boxes and points in a reply, in order; none if there is no picture.

    Units: `image_sizes` are (width, height) in pixels, one for each picture; results are pixels of the last.
    `confidence_of` is told where in the text the coordinates of a box or point stand.
    """
    if not image_sizes:
        return (), ()
    image, (width, height) = len(image_sizes) - 1, image_sizes[-1]

    def pixels(x_norm1000: float, y_norm1000: float) -> tuple[float, float]:
        return _clamp(x_norm1000) * width / 1000, _clamp(y_norm1000) * height / 1000

    boxes: list[Box] = []
    points: list[Point] = []

    def add_points(value: Any, label: str) -> None:
        for group in _groups(value, 2):
            confidence = confidence_of([number.span for number in group])
            points.append(Point(*pixels(group[0], group[1]), label, image, confidence))

    for found in _objects(text):
        label = _label(found)
        for group in _groups(found.get("bbox_2d"), 4):
            (x1, y1), (x2, y2) = pixels(group[0], group[1]), pixels(group[2], group[3])
            confidence = confidence_of([number.span for number in group])
            boxes.append(Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), label, image, confidence))
        add_points(found.get("point_2d"), label)
    for label, numbers in _xml_points(text):
        add_points(numbers, label)
    return tuple(boxes), tuple(points)


def _clamp(norm1000: float) -> float:
    return min(max(norm1000, 0.0), 1000.0)


def _label(found: dict[str, Any]) -> str:
    return next((str(value) for key in _LABEL_KEYS if isinstance(value := found.get(key), str)), "")


def _groups(value: Any, size: int) -> Iterator[list[_Number]]:
    """Numbers in groups of `size`: [x1, y1, x2, y2], [[x1, y1], [x2, y2]] and lists of several."""
    numbers = list(_numbers(value))
    for start in range(0, len(numbers) - size + 1, size):
        yield numbers[start : start + size]


def _numbers(value: Any) -> Iterator[_Number]:
    if isinstance(value, _Number):
        yield value
    elif isinstance(value, _String):
        yield from (_number(found[0], value.span) for found in _NUMBER.finditer(value))
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)


def _number(text: str, span: Span) -> _Number:
    number = _Number(text)
    number.span = span
    return number


def _xml_points(text: str) -> Iterator[tuple[str, list[_Number]]]:
    """Label and numbers of each <points> tag; the attributes' names and the alternative text may be missing."""
    for tag in _POINTS_TAG.finditer(text):
        attributes, inner = tag[1], tag[2].strip()
        alt = _ALT.search(attributes)
        label = inner or (alt and (alt[1] or alt[2])) or ""
        bare = _ATTRIBUTE_NAME.sub(_blanks, _ALT.sub(_blanks, attributes))
        start = tag.start(1)
        yield label, [_number(one[0], (start + one.start(), start + one.end())) for one in _NUMBER.finditer(bare)]


def _blanks(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _objects(text: str) -> list[dict[str, Any]]:
    """Every object in the text, also those inside others, each as far as it was written."""
    scanner = _Scanner(text)
    while (start := text.find("{", scanner.position)) >= 0:
        scanner.position = start
        scanner.read_value(0)
    return scanner.objects


_CUT = object()  # in the place of a value that is not there or was not written to its end


class _Scanner:
    """Reads JSON-like values at `position`; where it cannot go on, it stops there.

    `objects` are all it has met, in the order of their opening braces, with the pairs that were complete.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.objects: list[dict[str, Any]] = []

    def read_value(self, depth: int) -> Any:
        """A dict, list, string, number, None for any other word, or `_CUT`."""
        start = self._peek()
        if depth > _MAX_DEPTH:
            return _CUT
        if start == "{":
            return self._read_object(depth)
        if start == "[":
            return self._read_list(depth)
        if start in _STRING:
            return self._read_string(start)
        word = self._read_word()
        if word is _CUT:
            return _CUT
        return _number(word, (self.position - len(word), self.position)) if _NUMBER.fullmatch(word) else None

    def _read_object(self, depth: int) -> dict[str, Any]:
        self.position += 1
        pairs: dict[str, Any] = {}
        self.objects.append(pairs)
        while True:
            if self._takes(","):
                continue
            start = self._peek()
            key = self._read_string(start) if start in _STRING else self._read_word()
            if key is _CUT or not self._takes(":"):
                self._takes("}")
                return pairs
            value = self.read_value(depth + 1)
            if value is _CUT:
                return pairs
            pairs[key] = value

    def _read_list(self, depth: int) -> Any:
        self.position += 1
        items: list[Any] = []
        while not self._takes("]"):
            if self._takes(","):
                continue
            item = self.read_value(depth + 1)
            if item is _CUT:
                return _CUT
            items.append(item)
        return items

    def _read_string(self, quote: str) -> Any:
        found = _STRING[quote].match(self.text, self.position)
        if found is None:
            return _CUT
        self.position = found.end()
        string = _String(_ESCAPE.sub(lambda e: chr(int(e[1], 16)) if e[1] else _CONTROL.get(e[2], e[2]), found[1]))
        string.span = found.span(1)
        return string

    def _read_word(self) -> Any:
        found = _WORD.match(self.text, self.position)
        if found is None:
            return _CUT
        self.position = found.end()
        return found[0]

    def _peek(self) -> str:
        """The next character that is not a space; "" at the end."""
        found = _SPACE.match(self.text, self.position)
        self.position = found.end() if found else self.position
        return self.text[self.position : self.position + 1]

    def _takes(self, char: str) -> bool:
        if self._peek() != char:
            return False
        self.position += 1
        return True
