"""Turned and leaning pages set upright, and places on them brought back to the picture as it was given.

Lines that run from top to bottom say that a page lies on its side; of the two ways to turn it, and of an upside-down
page, the letters tell: in most scripts that have small letters, far more of them reach up (b, d, capitals, digits) than
down (g, p, y). Where the letters do not say (capitals only, Chinese), `is_sure` is False and the model may be asked.
A lean up to five degrees is taken out by turning the picture about its middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from regard.apps.documents.ink import Components, Ink, find_ink, is_sideways, skew_degrees
from regard.apps.documents.ink_lines import find_lines

TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
CLEAR = 0.25  # of the letters that reach out: how many more must do so to one side
MIN_REACHING = 12  # letters
Rect = tuple[float, float, float, float]


@dataclass(frozen=True)
class Upright:
    """A page set upright: `turn` degrees clockwise, and a lean of `skew` degrees clockwise taken out of it."""

    picture: Image.Image
    ink: Ink
    turn: int
    skew: float
    is_sure: bool

    def given(self, box: Rect) -> Rect:
        """A box on the upright picture as the smallest one around it on the picture as given."""
        return to_given(box, self.picture.size, self.turn, self.skew)


def to_given(box: Rect, size: tuple[int, int], turn: int, skew: float) -> Rect:
    """A box on an upright picture of `size` as the smallest one around it on the picture as given."""
    width, height = size
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    wide, high = box[2] - box[0], box[3] - box[1]
    sin, cos = math.sin(math.radians(skew)), math.cos(math.radians(skew))
    dx, dy = x - width / 2, y - height / 2
    x, y = width / 2 + dx * cos - dy * sin, height / 2 + dx * sin + dy * cos
    wide, high = wide * cos + high * abs(sin), wide * abs(sin) + high * cos
    if turn == 90:  # the given picture's bottom left became the top left
        x, y, wide, high, width, height = y, width - x, high, wide, height, width
    elif turn == 180:
        x, y = width - x, height - y
    elif turn == 270:
        x, y, wide, high, width, height = height - y, x, high, wide, height, width
    return (
        max(0.0, round(x - wide / 2, 1)),
        max(0.0, round(y - high / 2, 1)),
        min(float(width), round(x + wide / 2, 1)),
        min(float(height), round(y + high / 2, 1)),
    )


def set_upright(picture: Image.Image, *, turn: int | None = None) -> Upright:
    """The page upright; with `turn` it is turned by so much and only its lean is looked for."""
    ink = find_ink(picture)
    is_sure = turn is not None
    if turn is None:
        turn = 90 if is_sideways(ink.components) else 0
    picture, ink = _turned(picture, ink, turn)
    skew = skew_degrees(ink.components)
    if skew:
        picture = picture.rotate(skew, resample=Image.Resampling.BICUBIC, fillcolor=_paper(picture))
        ink = find_ink(picture)
    if not is_sure:
        reach = reaching_up(ink, ink.components)
        is_sure = abs(reach) >= CLEAR
        if reach <= -CLEAR:
            picture, ink = _turned(picture, ink, 180)
            turn = (turn + 180) % 360
    return Upright(picture, ink, turn, skew, is_sure)


def _turned(picture: Image.Image, ink: Ink, turn: int) -> tuple[Image.Image, Ink]:
    if turn == 0:
        return picture, ink
    picture = picture.transpose(TURNS[turn])
    return picture, find_ink(picture)


def _paper(picture: Image.Image) -> tuple[int, ...]:
    small = np.asarray(picture.convert("RGB").resize((64, 64)))
    return tuple(int(v) for v in np.median(small.reshape(-1, 3), axis=0))


def reaching_up(ink: Ink, components: Components) -> float:
    """How many more letters reach up than down, from 1 (all up) to -1; 0 where too few reach out at all."""
    box = components.box_N4
    up = down = 0
    for line in find_lines(ink, components):
        x1, y1, x2, y2 = line.box
        middle = (box[:, 1] + box[:, 3]) / 2
        is_in = (box[:, 0] >= x1) & (box[:, 2] <= x2) & (middle >= y1) & (middle <= y2)
        letters = box[is_in & (box[:, 3] - box[:, 1] >= 0.4 * line.height)]
        band = line.baseline - line.band_top
        up += int((letters[:, 1] < line.band_top - 0.25 * band).sum())
        down += int((letters[:, 3] > line.baseline + 0.2 * band).sum())
    return (up - down) / (up + down) if up + down >= MIN_REACHING else 0.0
