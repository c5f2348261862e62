"""Pictures to look at, drawn from a number: the same number gives the same pixels, another number other ones.

Each is a gradient with shapes on it and is kept as a PNG, so that every system decodes the same bytes. They are cheap
to draw and neither empty nor noise, which would make the decoding of PNGs the slowest part.
"""

from __future__ import annotations

import random
from pathlib import Path

PICTURE_SIZE = (640, 480)
FRAME_SIZE = (320, 256)
NUM_SHAPES = 24


class Pictures:
    """PNG files in a folder, drawn when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str, size: tuple[int, int]) -> str:
        """The file of a picture; its name is the seed."""
        width, height = size
        file = self._folder / f"{name}-{width}x{height}.png"
        if not file.exists():
            _draw(name, size, file)
        return str(file)


def _draw(seed: str, size: tuple[int, int], file: Path) -> None:
    from PIL import Image, ImageDraw

    dice = random.Random(seed)
    picture = Image.merge("RGB", [Image.linear_gradient("L").resize(size).rotate(dice.choice((0, 180))) for _ in "RGB"])
    picture = Image.blend(picture, Image.new("RGB", size, _colour(dice)), 0.6)
    draw = ImageDraw.Draw(picture)
    for _ in range(NUM_SHAPES):
        x, y = dice.randrange(size[0]), dice.randrange(size[1])
        box = (x, y, x + dice.randrange(8, size[0] // 3), y + dice.randrange(8, size[1] // 3))
        shape = draw.ellipse if dice.random() < 0.5 else draw.rectangle
        shape(box, fill=_colour(dice))
    picture.save(file)


def _colour(dice: random.Random) -> tuple[int, int, int]:
    return dice.randrange(256), dice.randrange(256), dice.randrange(256)
