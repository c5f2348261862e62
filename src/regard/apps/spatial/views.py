"""Parts of a picture that the model looks at on their own, and the way back to the whole.

A part is cut in the user's pixels and enlarged to sides that are multiples of 32 and to at least 256 visual tokens, as
the family's zoom tool does. The model's coordinates are relative, so that only where the part lies matters for the way
back, not how much it was enlarged.

A picture that is much longer than wide is cut into overlapping tiles along its long side: shrunk as a whole, its short
side would be a few visual tokens high. A thing on a seam is seen by two tiles; `merging` puts it together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image as Pillow

from regard.errors import InputError
from regard.processing.image import smart_resize

FACTOR = 32
MIN_PIXELS = 256 * FACTOR * FACTOR  # of a part, once enlarged: think_with_images, QwenLM/Qwen3-VL at 9658872
MAX_PIXELS = 9800 * FACTOR * FACTOR  # 2d_grounding of the same
MAX_ENLARGED = 16.0
TILED_FROM = 4.0  # the aspect ratio from which a picture is cut
OVERLAP = 0.25  # of a tile's side
MAX_TILES = 64


@dataclass(frozen=True)
class View:
    """A part of a picture in whole pixels, the right and lower ends excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.right - self.left, self.bottom - self.top

    def cut(self, picture: Pillow.Image) -> Pillow.Image:
        """The part, enlarged; the whole picture is returned as it is."""
        if (self.left, self.top, self.right, self.bottom) == (0, 0, *picture.size):
            return picture
        part = picture.crop((self.left, self.top, self.right, self.bottom))
        least = min(MIN_PIXELS, math.ceil(part.width * part.height * MAX_ENLARGED**2))
        height, width = smart_resize(part.height, part.width, factor=FACTOR, min_pixels=least, max_pixels=MAX_PIXELS)
        return part.resize((width, height), Pillow.Resampling.BICUBIC)

    def within(self, x1: float, y1: float, x2: float, y2: float) -> View:
        """The part that a box of this view is, in pixels of this view, as a view of the whole picture."""
        left, top = self.left + math.floor(x1), self.top + math.floor(y1)
        right, bottom = max(self.left + math.ceil(x2), left + 1), max(self.top + math.ceil(y2), top + 1)
        return View(left, top, min(right, self.right), min(bottom, self.bottom))


def whole(size: tuple[int, int]) -> View:
    """All of a picture of (width, height)."""
    return View(0, 0, *size)


def around(
    box: tuple[float, float, float, float], size: tuple[int, int], *, times: float = 3.0, least_px: int = 64
) -> View:
    """The part around a box, `times` as wide and high, at least `least_px`, and not longer than 4 to 1."""
    x1, y1, x2, y2 = box
    width, height = max(times * (x2 - x1), least_px), max(times * (y2 - y1), least_px)
    width, height = max(width, height / TILED_FROM), max(height, width / TILED_FROM)
    width, height = min(width, size[0]), min(height, size[1])
    left = min(max((x1 + x2 - width) / 2, 0), size[0] - width)
    top = min(max((y1 + y2 - height) / 2, 0), size[1] - height)
    return View(
        math.floor(left), math.floor(top), min(math.ceil(left + width), size[0]), min(math.ceil(top + height), size[1])
    )


def tiles_of(size: tuple[int, int], tiles: str = "auto") -> list[View]:
    """The views of a picture: "off" or "auto", or "3x2" for three columns and two rows.

    Errors: InputError for another word, or for more tiles than there are pixels or than `MAX_TILES`.
    """
    width, height = size
    if tiles == "off":
        return [whole(size)]
    if tiles == "auto":
        columns = _num_tiles(width, height) if width > height else 1
        rows = _num_tiles(height, width) if height > width else 1
    else:
        columns_text, by, rows_text = tiles.partition("x")
        if not (by and columns_text.isdigit() and rows_text.isdigit() and int(columns_text) and int(rows_text)):
            raise InputError(f"tiles is {tiles[:40]!r}; write auto, off, or columns and rows as in 3x2")
        columns, rows = int(columns_text), int(rows_text)
        if columns * rows > MAX_TILES or columns > width or rows > height:
            raise InputError(
                f"{tiles} are {columns * rows} tiles of a picture of {width}x{height}; use at most {MAX_TILES}"
            )
    return [
        View(left, top, right, bottom)
        for top, bottom in _stretches(height, rows)
        for left, right in _stretches(width, columns)
    ]


def _num_tiles(long: int, short: int) -> int:
    """1 for ordinary pictures; else so many that a tile is about twice as long as the short side."""
    if long / short < TILED_FROM:
        return 1
    tile = 2 * short
    return min(MAX_TILES, max(2, math.ceil((long - tile * OVERLAP) / (tile * (1 - OVERLAP)))))


def _stretches(length: int, num: int) -> list[tuple[int, int]]:
    """`num` stretches of equal length that overlap and cover the whole."""
    if num == 1:
        return [(0, length)]
    tile = length / (num - (num - 1) * OVERLAP)
    step = (length - tile) / (num - 1)
    return [(math.floor(i * step), min(length, math.ceil(i * step + tile))) for i in range(num)]
