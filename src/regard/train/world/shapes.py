"""Coloured shapes and backgrounds, drawn with Pillow: the vocabulary that `scenes` and `clips` share.

A shape is a polygon in the square [-1, 1]^2, scaled and turned; its box is that of the polygon. It is drawn
on a mask `_SUPERSAMPLING` times too large and averaged down, which gives smooth edges.

Held-out pictures differ from training pictures in three ways:
- every drawn number (hue, saturation, value, lightness, ...) comes from the middle third of its range, and in
  training from the outer two thirds (`spread`);
- every colour has one shape that training never shows it with (`is_unseen`);
- the backgrounds have other patterns.

It asks no questions and knows no time.
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHAPES = ("circle", "square", "triangle", "rectangle", "star", "diamond", "hexagon", "cross")

# name: hue range in degrees, saturation range, value range
_HSV_RANGES = {
    "red": ((352, 364), (0.80, 1.0), (0.75, 0.95)),
    "orange": ((24, 34), (0.88, 1.0), (0.93, 1.0)),
    "yellow": ((51, 58), (0.75, 1.0), (0.90, 1.0)),
    "green": ((105, 140), (0.60, 1.0), (0.45, 0.75)),
    "blue": ((211, 232), (0.70, 1.0), (0.70, 1.0)),
    "purple": ((270, 286), (0.55, 0.85), (0.50, 0.75)),
    "pink": ((325, 342), (0.35, 0.58), (0.94, 1.0)),
    "black": ((0, 360), (0.0, 0.25), (0.0, 0.14)),
    "white": ((0, 360), (0.0, 0.04), (0.95, 1.0)),
}
COLOURS = tuple(_HSV_RANGES)

_SUPERSAMPLING = 4
_MIN_CONTRAST = 100.0  # Euclidean distance of two RGB colours (0-255) that a glance tells apart
_TRAINING_PATTERNS = ("plain", "plain", "vertical", "horizontal", "clouds", "stripes")
_HELD_OUT_PATTERNS = ("plain", "diagonal", "checks")

_GAP_PX = 5  # between the boxes of two shapes
_MARGIN_PX = 4  # between a shape's box and the picture's edge

RGB = tuple[int, int, int]
Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels
T = TypeVar("T")


def _polygon(angles_and_radii: list[tuple[float, float]]) -> np.ndarray:
    return np.array([(r * math.sin(math.radians(a)), -r * math.cos(math.radians(a))) for a, r in angles_and_radii])


_CROSS_ARM = 0.36
_OUTLINES = {
    "circle": _polygon([(a, 1.0) for a in range(0, 360, 6)]),
    "square": np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.86,
    "triangle": np.array([(0, -0.95), (1, 0.8), (-1, 0.8)]),
    "rectangle": np.array([(-1, -0.5), (1, -0.5), (1, 0.5), (-1, 0.5)]),
    "star": _polygon([(36 * i, 1.0 if i % 2 == 0 else 0.42) for i in range(10)]),
    "diamond": np.array([(0, -1), (0.68, 0), (0, 1), (-0.68, 0)]),
    "hexagon": _polygon([(30 + 60 * i, 1.0) for i in range(6)]),
    "cross": np.array(
        [(-_CROSS_ARM, -1), (_CROSS_ARM, -1), (_CROSS_ARM, -_CROSS_ARM), (1, -_CROSS_ARM), (1, _CROSS_ARM)]
        + [(_CROSS_ARM, _CROSS_ARM), (_CROSS_ARM, 1), (-_CROSS_ARM, 1), (-_CROSS_ARM, _CROSS_ARM)]
        + [(-1, _CROSS_ARM), (-1, -_CROSS_ARM), (-_CROSS_ARM, -_CROSS_ARM)]
    ),
}


@dataclass(frozen=True)
class Shape:
    """One shape on a picture; centre, diameter in pixels, turn in degrees clockwise."""

    name: str
    colour: str
    rgb: RGB
    x: float
    y: float
    diameter: float
    turn: float = 0.0

    @property
    def outline(self) -> np.ndarray:
        """The corners in pixels, (N, 2)."""
        angle = math.radians(self.turn)
        rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        corners: np.ndarray = _OUTLINES[self.name] @ rotation * (self.diameter / 2) + (self.x, self.y)
        return corners

    @property
    def box(self) -> Box:
        """The smallest box around the outline."""
        corners = self.outline
        (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
        return float(x1), float(y1), float(x2), float(y2)

    @property
    def label(self) -> str:
        """Like 'red circle'."""
        return f"{self.colour} {self.name}"


def choose(rng: np.random.Generator, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
    """One of the options, with equal or given weights."""
    if weights is None:
        return options[int(rng.integers(len(options)))]
    bounds = np.cumsum(weights)
    return options[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]


def with_article(label: str) -> str:
    """'red circle' -> 'a red circle', 'orange star' -> 'an orange star'."""
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def plural(label: str) -> str:
    """'red circle' -> 'red circles', 'cross' -> 'crosses'."""
    return label + ("es" if label.endswith("s") else "s")


def is_unseen(shape: str, colour: str) -> bool:
    """Whether training never shows this colour on this shape (one shape for each colour)."""
    return (5 * SHAPES.index(shape) + 3 * COLOURS.index(colour)) % len(SHAPES) == 0


def spread(rng: np.random.Generator, low: float, high: float, *, held_out: bool) -> float:
    """A number of the range: of its middle third if held out, else of the outer two thirds."""
    third = (high - low) / 3
    drawn = float(rng.random()) * (third if held_out else 2 * third)
    if held_out:
        return low + third + drawn
    return low + drawn if drawn < third else low + third + drawn


def random_rgb(rng: np.random.Generator, colour: str, *, held_out: bool) -> RGB:
    """A shade that people call by the name `colour`."""
    hue, saturation, value = (spread(rng, *limits, held_out=held_out) for limits in _HSV_RANGES[colour])
    return _to_rgb(hue, saturation, value)


def _to_rgb(hue: float, saturation: float, value: float) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb(hue / 360 % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def random_turn(rng: np.random.Generator, shape: str) -> float:
    """A small turn in degrees; half of the rectangles also stand upright."""
    turn = float(rng.uniform(-9, 9))
    upright = shape == "rectangle" and rng.random() < 0.5
    return turn + (90.0 if upright else 0.0)


@dataclass(frozen=True)
class Background:
    """A base colour and a soft pattern over it."""

    rgb: RGB
    pattern: str
    strength: float

    def allows(self, rgb: RGB) -> bool:
        """Whether a shape of this colour stands out clearly."""
        return math.dist(self.rgb, rgb) - self.strength >= _MIN_CONTRAST


def random_background(rng: np.random.Generator, *, held_out: bool) -> Background:
    """Light (two of three) or dark, often tinted; patterns never change a channel by more than 16 levels."""
    light = rng.random() < 0.67
    value = spread(rng, 0.84, 1.0, held_out=held_out) if light else spread(rng, 0.04, 0.28, held_out=held_out)
    saturation = spread(rng, 0.0, 0.14 if light else 0.5, held_out=held_out) if rng.random() < 0.6 else 0.0
    patterns = _HELD_OUT_PATTERNS if held_out else _TRAINING_PATTERNS
    pattern = patterns[rng.integers(len(patterns))]
    strength = 0.0 if pattern == "plain" else float(rng.uniform(3, 8) if pattern == "checks" else rng.uniform(4, 16))
    return Background(_to_rgb(float(rng.uniform(0, 360)), saturation, value), pattern, strength)


def paint_background(rng: np.random.Generator, background: Background, width: int, height: int) -> Image.Image:
    """An RGB picture of the background alone."""
    if background.pattern == "plain":
        return Image.new("RGB", (width, height), background.rgb)
    relief_HW = _relief(rng, background.pattern, width, height) * background.strength
    pixels_HWC = np.asarray(background.rgb, dtype=np.float32) + relief_HW[..., None]
    return Image.fromarray(np.clip(pixels_HWC, 0, 255).astype(np.uint8))


def _relief(rng: np.random.Generator, pattern: str, width: int, height: int) -> np.ndarray:
    """A (H, W) float32 field in -1..1."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    flip = 1.0 if rng.random() < 0.5 else -1.0
    if pattern == "vertical":
        return np.broadcast_to(flip * y, (height, width))
    if pattern == "horizontal":
        return np.broadcast_to(flip * x, (height, width))
    if pattern == "diagonal":
        return (x + flip * y) / 2
    if pattern == "stripes":
        period = float(rng.uniform(6, 20))
        return np.broadcast_to(np.sin(x * width * math.pi / period), (height, width))
    if pattern == "checks":
        period = int(rng.integers(8, 24))
        cells = np.arange(width)[None, :] // period + np.arange(height)[:, None] // period
        return np.where(cells % 2 == 0, 1.0, -1.0).astype(np.float32)
    assert pattern == "clouds", pattern
    coarse = Image.fromarray(rng.uniform(-1, 1, (6, 6)).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def paint_shape(picture: Image.Image, shape: Shape) -> None:
    """Draw one shape with smooth edges onto an RGB picture."""
    x1, y1, x2, y2 = shape.box
    left, top = math.floor(x1) - 1, math.floor(y1) - 1
    width, height = math.ceil(x2) + 1 - left, math.ceil(y2) + 1 - top
    mask = Image.new("L", (width * _SUPERSAMPLING, height * _SUPERSAMPLING))
    corners = (shape.outline - (left, top)) * _SUPERSAMPLING
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    picture.paste(shape.rgb, (left, top), mask.reduce(_SUPERSAMPLING))


def free_place(
    rng: np.random.Generator, box: Box, width: int, height: int, taken: Sequence[Box]
) -> tuple[float, float] | None:
    """How far to move `box` so that it lies inside the picture and apart from the `taken` boxes.

    None if 40 tries found no room.
    """
    for _ in range(40):
        dx = float(rng.uniform(_MARGIN_PX - box[0], width - _MARGIN_PX - box[2]))
        dy = float(rng.uniform(_MARGIN_PX - box[1], height - _MARGIN_PX - box[3]))
        moved = (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)
        if not any(_near(moved, other) for other in taken):
            return dx, dy
    return None


def _near(a: Box, b: Box) -> bool:
    return all(a[i] - _GAP_PX < b[i + 2] and b[i] - _GAP_PX < a[i + 2] for i in (0, 1))


def wear(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """What cameras and screenshots do to pictures: sometimes a mild blur, noise, or JPEG; often nothing."""
    if rng.random() < 0.15:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 0.9))))
    if rng.random() < 0.25:
        amplitude = int(rng.integers(2, 9))
        noise = rng.integers(-amplitude, amplitude + 1, (picture.height, picture.width, 3), dtype=np.int16)
        picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.2:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(60, 95)))
        picture = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
    return picture
