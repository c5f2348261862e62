"""Where textbook figures are drawn: smooth lines, labels that do not cover each other, and the truth on the way.

Lines and areas are drawn twice too large and averaged down when the figure is finished; labels are written on the
result, so that letters look as a browser or printer sets them. Every label leaves the place of its characters, every
area its item. Held out: the fonts, the shades, the backgrounds (as in `shapes`).

It knows no geometry: that is `figure_shapes` and `figure_charts`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from regard.train.world.fonts import font_files, load_font, plain_font_files
from regard.train.world.sample import Char, DenseTruth, Item
from regard.train.world.shapes import (
    COLOURS,
    RGB,
    Box,
    choose,
    paint_background,
    random_background,
    random_rgb,
    spread,
    wear,
)

XY = tuple[float, float]

_SCALE = 2
_MAX_MOVE_PX = 5  # a label moved farther would not be seen to belong to its place
_TRAINING_SIZES = ((224, 192), (256, 192), (224, 224), (256, 224), (288, 192), (288, 224), (320, 224), (250, 210))
_HELD_OUT_SIZES = ((256, 256), (240, 208), (272, 224), (304, 208))


class Canvas:
    """One picture being drawn. Places are pixels of the finished picture, y downwards."""

    def __init__(self, rng: np.random.Generator, *, held_out: bool) -> None:
        self.rng, self.held_out = rng, held_out
        self.width, self.height = choose(rng, _HELD_OUT_SIZES if held_out else _TRAINING_SIZES)
        self._background = random_background(rng, held_out=held_out)
        is_light = sum(self._background.rgb) > 3 * 128
        shade = spread(rng, 0, 60, held_out=held_out)
        self.ink: RGB = (round(shade),) * 3 if is_light else (255 - round(shade),) * 3
        self.pen_px = float(choose(rng, (1.0, 1.5, 2.0)))
        # Half of the training figures in book faces: decorative ones would crowd them out.
        is_plain = not held_out and rng.random() < 0.5
        faces = plain_font_files() if is_plain else font_files(held_out)
        self.font = load_font(*faces[int(rng.integers(len(faces)))], int(rng.integers(14, 21)))
        # Strokes wait until the figure is finished: most of the figures whose labels collide are never painted.
        self._strokes: list[Callable[[ImageDraw.ImageDraw], None]] = []
        self._labels: list[tuple[str, XY]] = []
        self._taken: list[Box] = []
        self._chars: list[Char] = []
        self._items: list[Item] = []

    @property
    def line_height(self) -> float:
        """What one line of the labels' font needs, in px."""
        ascent, descent = self.font.getmetrics()
        return float(ascent + descent)

    def text_width(self, text: str) -> float:
        """Width of a label in px."""
        return _width(text, self.font)

    def colours(self, count: int) -> list[tuple[str, RGB]]:
        """Different colours that stand out from the background, as name and shade."""
        shades = [(name, random_rgb(self.rng, name, held_out=self.held_out)) for name in COLOURS]
        usable = [(name, rgb) for name, rgb in shades if self._background.allows(rgb)]
        order = self.rng.permutation(len(usable))
        return [usable[int(i)] for i in order[:count]]

    # --- drawing ----------------------------------------------------------------------------------------------------

    def line(self, a: XY, b: XY, *, px: float | None = None, rgb: RGB | None = None) -> None:
        """A straight line."""
        width = max(1, round((self.pen_px if px is None else px) * _SCALE))
        self._strokes.append(lambda pen: pen.line([_scaled(a), _scaled(b)], fill=rgb or self.ink, width=width))

    def dashes(self, a: XY, b: XY) -> None:
        """A dashed line."""
        num = max(1, round(math.dist(a, b) / 8))
        for i in range(num):
            start, end = i / num, (i + 0.5) / num
            self.line(between(a, b, start), between(a, b, end), px=1)

    def polygon(self, corners: Sequence[XY], *, fill: RGB | None = None, kind: str = "", colour: str = "") -> None:
        """A closed outline, filled or not; an item if it has a `kind`."""
        if fill is not None:
            outline = [_scaled(corner) for corner in corners]
            self._strokes.append(lambda pen: pen.polygon(outline, fill=fill))
        for a, b in zip(corners, (*corners[1:], corners[0]), strict=True):
            self.line(a, b)
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        if kind:
            self._items.append(Item(kind, (min(xs), min(ys), max(xs), max(ys)), colour))

    def circle(self, centre: XY, radius: float, *, fill: RGB | None = None, kind: str = "", colour: str = "") -> None:
        """A circle; an item if it has a `kind`."""
        (x, y), r = centre, radius
        box = (x - r, y - r, x + r, y + r)
        outer, width = _scaled_box(box), max(1, round(self.pen_px * _SCALE))
        self._strokes.append(lambda pen: pen.ellipse(outer, fill=fill, outline=self.ink, width=width))
        if kind:
            self._items.append(Item(kind, box, colour))

    def dot(self, place: XY, *, rgb: RGB | None = None) -> None:
        """A filled point."""
        outer = _scaled_box((place[0] - 3, place[1] - 3, place[0] + 3, place[1] + 3))
        self._strokes.append(lambda pen: pen.ellipse(outer, fill=rgb or self.ink))

    def arc(self, vertex: XY, towards: tuple[XY, XY], radius: float) -> None:
        """The mark of an angle: an arc around its vertex."""
        first, second = (math.degrees(math.atan2(y - vertex[1], x - vertex[0])) for x, y in towards)
        if (second - first) % 360 > 180:
            first, second = second, first
        (x, y), r = vertex, radius
        outer = _scaled_box((x - r, y - r, x + r, y + r))
        self._strokes.append(lambda pen: pen.arc(outer, first, second, fill=self.ink, width=_SCALE))

    def right_angle(self, vertex: XY, towards: tuple[XY, XY], side: float = 10.0) -> None:
        """The mark of a right angle: a little square."""
        a, b = (unit(vertex, other) for other in towards)
        one = (vertex[0] + a[0] * side, vertex[1] + a[1] * side)
        two = (vertex[0] + b[0] * side, vertex[1] + b[1] * side)
        corner = (one[0] + b[0] * side, one[1] + b[1] * side)
        self.line(one, corner, px=1)
        self.line(corner, two, px=1)

    # --- labels -----------------------------------------------------------------------------------------------------

    def label(self, text: str, centre: XY) -> bool:
        """Write `text` around `centre`, moved into the picture; False if it would cover another label."""
        width, height = self.text_width(text) + 2, self.line_height * 0.8
        x = min(max(centre[0], width / 2 + 1), self.width - width / 2 - 1)
        y = min(max(centre[1], height / 2 + 1), self.height - height / 2 - 1)
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in self._taken):
            return False
        if math.dist((x, y), centre) > _MAX_MOVE_PX:
            return False
        self._taken.append(box)
        self._labels.append((text, (x, y)))
        return True

    def label_beside(self, text: str, place: XY, direction: XY, gap: float = 4.0) -> bool:
        """Write `text` so that it just does not touch `place`, on the side that `direction` (a unit vector) names."""
        half_width, half_height = self.text_width(text) / 2, self.line_height * 0.36
        reach = abs(direction[0]) * half_width + abs(direction[1]) * half_height + gap
        return self.label(text, (place[0] + direction[0] * reach, place[1] + direction[1] * reach))

    def finish(self) -> tuple[PILImage.Image, DenseTruth]:
        """The picture, sometimes a little worn, and its dense truth."""
        size = (self.width * _SCALE, self.height * _SCALE)
        large = paint_background(self.rng, self._background, self.width, self.height).resize(
            size, PILImage.Resampling.NEAREST
        )
        large_pen = ImageDraw.Draw(large)
        for stroke in self._strokes:
            stroke(large_pen)
        picture = large.reduce(_SCALE)
        pen = ImageDraw.Draw(picture)
        for text, (x, y) in self._labels:
            left, top, right, bottom = pen.textbbox((0, 0), text, font=self.font)
            x0, y0 = x - (left + right) / 2, y - (top + bottom) / 2
            pen.text((x0, y0), text, fill=self.ink, font=self.font)
            self._chars += _centres(text, self.font, x0, y)
        return wear(self.rng, picture), DenseTruth(tuple(self._items), tuple(self._chars))


def _scaled(place: XY) -> XY:
    return place[0] * _SCALE, place[1] * _SCALE


def _scaled_box(box: Box) -> Box:
    x1, y1, x2, y2 = box
    return x1 * _SCALE, y1 * _SCALE, x2 * _SCALE, y2 * _SCALE


@functools.lru_cache(maxsize=1 << 18)
def _width(text: str, font: ImageFont.FreeTypeFont) -> float:
    return float(font.getlength(text))


def _centres(text: str, font: ImageFont.FreeTypeFont, x: float, y: float) -> list[Char]:
    """Visible characters with the middle of each; what kerning saves is spread evenly."""
    scale = _width(text, font) / max(sum(_width(character, font) for character in text), 1e-6)
    chars = []
    for character in text:
        advance = _width(character, font) * scale
        if not character.isspace():
            chars.append(Char(character, x + advance / 2, y))
        x += advance
    return chars


def between(a: XY, b: XY, share: float = 0.5) -> XY:
    """The point that lies `share` of the way from a to b."""
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def unit(a: XY, b: XY) -> XY:
    """The direction from a to b, of length one."""
    length = math.dist(a, b)
    return (b[0] - a[0]) / length, (b[1] - a[1]) / length
