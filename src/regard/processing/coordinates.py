"""The one place of units: what a model writes about places, in pixels of the user's picture, and back.

Qwen3-VL speaks in thousandths of the picture's width and height, x before y. It writes JSON objects with `bbox_2d` or
`point_2d`, usually in a fenced list:

    ```json
    [{"bbox_2d": [120, 80, 310, 140], "label": "Save"}]
    ```

or, when asked, XML: <points x1="12" y1="34" alt="cups">cups</points> or <points 12 34>cup</points>. Replies
are often not quite JSON (single quotes, trailing commas, prose around, the end cut off), so objects are read
by a forgiving scanner (`lenient_json`); a pair of which only a part was written is left out.

The units differ between models and tasks (`Scale`, `scale_of`):

    norm1000   thousandths of the side: Qwen3-VL
    norm999    999 at the far edge: Qwen3-VL's phone and OCR prompts say so
    pixel      pixels of the picture as the model saw it, after resizing: Qwen2.5-VL

Ends that are reversed are swapped, values outside the picture clamped. A reply does not say which of several
pictures it means: the last one is taken, the one a conversation has arrived at. It never raises on text.

Each number knows where in the text it stands, so that the caller can say how sure the model was of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from regard.processing.json_values import Number, Object, String, numbers_in
from regard.processing.json_values import Span as Span
from regard.processing.lenient_json import Scanner
from regard.reply import Box, Point

Scale = Literal["norm1000", "norm999", "pixel"]
Size = tuple[int, int]  # (width, height) in pixels

_FULL: dict[str, float] = {"norm1000": 1000.0, "norm999": 999.0}
_OLDER = re.compile(r"qwen[-_ ]?2[._]5[-_ ]?vl", re.IGNORECASE)
_LABEL_KEYS = ("label", "text_content", "name", "name_en", "name_zh", "names")
_NAME_KEYS = ("en", "zh", "name_en", "name_zh")
_POINTS_TAG = re.compile(r"<points?\b([^<>]*)>([^<]*)")
_ALT = re.compile(r"\balt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z_]\w*\s*=")


@dataclass(frozen=True)
class Box3D:
    """A box in space, in the camera's frame: x to the right, y down, z forward.

    Units: `center` and `size` are metres, `angles` radians about x, y and z, turned in this order.
    Source: the 3d_grounding notebook of QwenLM/Qwen3-VL at 9658872; the model writes angles in units of pi.
    """

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    angles: tuple[float, float, float]
    label: str = ""


@dataclass(frozen=True)
class Units:
    """The units of one picture of `size`. `seen_size` is what the model saw of it, needed for pixels only."""

    size: Size
    scale: Scale = "norm1000"
    seen_size: Size | None = None

    @property
    def full(self) -> tuple[float, float]:
        """The numbers that mean the right and the lower edge."""
        if self.scale == "pixel":
            width, height = self.seen_size or self.size
            return float(width), float(height)
        return _FULL[self.scale], _FULL[self.scale]

    def point_px(self, x: float, y: float) -> tuple[float, float]:
        """A place of the model's in pixels, clamped to the picture."""
        full_x, full_y = self.full
        return _clamp(x, full_x) * self.size[0] / full_x, _clamp(y, full_y) * self.size[1] / full_y

    def box_px(self, x1: float, y1: float, x2: float, y2: float) -> tuple[float, float, float, float]:
        """A box of the model's in pixels, clamped to the picture, its ends in order."""
        (x1, y1), (x2, y2) = self.point_px(x1, y1), self.point_px(x2, y2)
        return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)

    def point_units(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Pixels in the model's units, not rounded; the model itself writes whole numbers."""
        full_x, full_y = self.full
        return _clamp(x_px, self.size[0]) * full_x / self.size[0], _clamp(y_px, self.size[1]) * full_y / self.size[1]

    def box_units(self, x1_px: float, y1_px: float, x2_px: float, y2_px: float) -> tuple[int, int, int, int]:
        """A box in pixels as the model would write it, in whole numbers."""
        corners = (*self.point_units(x1_px, y1_px), *self.point_units(x2_px, y2_px))
        x1, y1, x2, y2 = (math.floor(corner + 0.5) for corner in corners)
        return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def scale_of(model_name: str) -> Scale:
    """The units that a model of this name (a folder, a hub id, what a server calls it) speaks."""
    return "pixel" if _OLDER.search(model_name) else "norm1000"


def boxes(
    items: Sequence[Mapping[str, Any]], size: Size, scale: Scale = "norm1000", *, seen_size: Size | None = None
) -> list[Box]:
    """The boxes of objects that were read (`apps.reading.read_items`), one for each four numbers of a `bbox_2d`."""
    units = Units(size, scale, seen_size)
    return [
        Box(*units.box_px(*group), label_of(item))
        for item in items
        for group in _groups(_first(item, "bbox_2d", "bbox", "box_2d", "box"), 4)
    ]


def points(
    items: Sequence[Mapping[str, Any]], size: Size, scale: Scale = "norm1000", *, seen_size: Size | None = None
) -> list[Point]:
    """The points of objects that were read, one for each two numbers of a `point_2d`."""
    units = Units(size, scale, seen_size)
    return [
        Point(*units.point_px(*group), label_of(item))
        for item in items
        for group in _groups(_first(item, "point_2d", "point", "points"), 2)
    ]


def boxes_3d(items: Sequence[Mapping[str, Any]]) -> list[Box3D]:
    """The boxes in space of objects that were read; those without extent or with endless numbers are left out."""
    made = []
    for item in items:
        for group in _groups(_first(item, "bbox_3d", "box_3d"), 9):
            x, y, z, width, height, depth, *angles = (float(number) for number in group)
            is_good = all(map(math.isfinite, group)) and (width or height or depth)
            if is_good:
                roll, pitch, yaw = (angle * math.pi for angle in angles)
                size = (abs(width), abs(height), abs(depth))
                made.append(Box3D((x, y, z), size, (roll, pitch, yaw), label_of(item)))
    return made


def find_boxes_and_points(
    text: str,
    image_sizes: Sequence[Size],
    confidence_of: Callable[[Sequence[Span]], float | None] = lambda spans: None,
    *,
    scale: Scale = "norm1000",
    seen_size: Size | None = None,
) -> tuple[tuple[Box, ...], tuple[Point, ...]]:
    """All boxes and points in a reply, in order; none if there is no picture.

    Units: `image_sizes` are (width, height) in pixels, one for each picture; results are pixels of the last.
    `confidence_of` is told where in the text the coordinates of a box or point stand.
    """
    if not image_sizes:
        return (), ()
    image, units = len(image_sizes) - 1, Units(image_sizes[-1], scale, seen_size)
    found_boxes: list[Box] = []
    found_points: list[Point] = []

    def add_points(value: Any, label: str) -> None:
        for group in _groups(value, 2):
            confidence = confidence_of([number.span for number in group])
            found_points.append(Point(*units.point_px(*group), label, image, confidence))

    for found in _objects(text):
        label = label_of(found)
        for group in _groups(found.get("bbox_2d"), 4):
            confidence = confidence_of([number.span for number in group])
            found_boxes.append(Box(*units.box_px(*group), label, image, confidence))
        add_points(found.get("point_2d"), label)
    for label, numbers in xml_points(text):
        add_points(numbers, label)
    return tuple(found_boxes), tuple(found_points)


def xml_points(text: str) -> Iterator[tuple[str, list[Number]]]:
    """Label and numbers of each <points> tag; the attributes' names and the alternative text may be missing."""
    for tag in _POINTS_TAG.finditer(text):
        attributes, inner = tag[1], tag[2].strip()
        alt = _ALT.search(attributes)
        label = inner or (alt and (alt[1] or alt[2])) or ""
        bare = _ATTRIBUTE_NAME.sub(_blanks, _ALT.sub(_blanks, attributes))
        yield label, numbers_in(bare, tag.start(1))


def _clamp(value: float, full: float) -> float:
    return min(max(value, 0.0), full) if not math.isnan(value) else 0.0


def _first(item: Mapping[str, Any], *keys: str) -> Any:
    return next((item[key] for key in keys if key in item), None)


def label_of(found: Mapping[str, Any]) -> str:
    """What an object is called, under any of the keys that the family uses; "" if it has no name."""
    for key in _LABEL_KEYS:
        value = found.get(key)
        if isinstance(value, Mapping):
            value = next((value[name] for name in _NAME_KEYS if isinstance(value.get(name), str)), None)
        if isinstance(value, str):
            return str(value)
    return ""


def _groups(value: Any, size: int) -> Iterator[list[Number]]:
    """Numbers in groups of `size`: [x1, y1, x2, y2], [[x1, y1], [x2, y2]] and lists of several."""
    numbers = list(_numbers(value))
    for start in range(0, len(numbers) - size + 1, size):
        yield numbers[start : start + size]


def _numbers(value: Any) -> Iterator[Number]:
    if isinstance(value, Number):
        yield value
    elif isinstance(value, str):
        for number in numbers_in(value):
            number.span = value.span if isinstance(value, String) else number.span
            yield number
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, Mapping):  # {"x": 1, "y": 2}
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield Number(min(max(value, -1e300), 1e300))


def _blanks(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _objects(text: str) -> list[Object]:
    """Every object in the text, also those inside others, each without the value that was cut."""
    scanner = Scanner(text)
    while (start := text.find("{", scanner.position)) >= 0:
        scanner.position = start
        scanner.read_value()
    for found in scanner.objects:
        for key in [key for key, value in found.items() if getattr(value, "is_cut", False)]:
            del found[key]
    return scanner.objects
