"""Pictures for people: what differs between mock-up and page, and before, after and difference side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

GAP_PX, TITLE_PX = 16, 28


def difference(mockup: Image.Image, page: Image.Image) -> Image.Image:
    """The mock-up in pale grey; what only it has is red, what only the page has is blue."""
    size = max(mockup.width, page.width), max(mockup.height, page.height)
    a, b = (_on(picture, size, mockup.getpixel((0, 0))) for picture in (mockup, page))
    away = np.asarray(ImageChops.difference(a, b)).max(axis=2)
    grey_a, grey_b = (np.asarray(picture.convert("L"), dtype=np.int16) for picture in (a, b))
    ground = np.repeat((200 + np.asarray(a.convert("L")) // 5)[:, :, None], 3, axis=2).astype(np.uint8)
    # Ink is what is further from the middle grey value of the mock-up, so it works on dark pages too.
    middle = int(np.median(grey_a))
    is_of_mockup = np.abs(grey_a - middle) >= np.abs(grey_b - middle)
    ground[(away > 48) & is_of_mockup] = (214, 40, 40)
    ground[(away > 48) & ~is_of_mockup] = (30, 90, 220)
    return Image.fromarray(ground)


def side_by_side(pictures: Sequence[tuple[str, Image.Image]], *, max_width: int = 1600) -> Image.Image:
    """Pictures with titles in one row, shrunk to `max_width` pixels."""
    height = max(picture.height for _, picture in pictures) + TITLE_PX + 2 * GAP_PX
    width = sum(picture.width for _, picture in pictures) + GAP_PX * (len(pictures) + 1)
    factor = min(1.0, max_width / width)
    canvas = Image.new("RGB", (round(width * factor), round(height * factor) + TITLE_PX), (236, 238, 242))
    pen = ImageDraw.Draw(canvas)
    x = GAP_PX * factor
    for title, picture in pictures:
        small = picture.resize(
            (max(1, round(picture.width * factor)), max(1, round(picture.height * factor))), Image.Resampling.LANCZOS
        )
        pen.text((x, GAP_PX / 2), title, font=ImageFont.load_default(15), fill=(40, 44, 52))
        canvas.paste(small, (round(x), TITLE_PX + GAP_PX // 2))
        x += small.width + GAP_PX * factor
    return canvas


def _on(picture: Image.Image, size: tuple[int, int], ground: object) -> Image.Image:
    canvas = Image.new("RGB", size, ground)  # type: ignore[arg-type]
    canvas.paste(picture, (0, 0))
    return canvas
