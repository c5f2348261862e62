"""What the lines of a mock-up say: each is cut out, enlarged to a size that reads well, and read by the model.

A small model reads a short line of 20 px letters; so its crops are 32 px high and cut between words where they would
be wider than `SMALL_WIDTH_PX`. Larger models get whole lines. All crops of a page are asked together.

The words are as good as the model's reading: they are what the comparison believes the mock-up to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath

import numpy as np
from PIL import Image

from regard.apps.coding.sight import IntBox, Sight
from regard.apps.result import Progress
from regard.client import Chat

PROMPT = "Read the text."
CROP_HEIGHT_PX, CROP_WIDTH_PX, INK_PX = 32, 160, 15  # least size of a crop, and the height of the ink in it
SMALL_WIDTH_PX, LARGE_WIDTH_PX = 288, 1536
MAX_TOKENS = 96
BATCH = 32


def is_small(chat: Chat) -> bool:
    """Whether the model is the bundled one, which knows short official prompts only."""
    return "nano" in PurePath(chat.name.rstrip("/")).name.lower()


def read_lines(
    chat: Chat, picture: Image.Image, sight: Sight, on_progress: Callable[[Progress], None] | None = None
) -> list[str]:
    """The text of each line of `sight`, in its order; "" where the model reads nothing. Errors: as `Chat.chat_many`."""
    width = SMALL_WIDTH_PX if is_small(chat) else LARGE_WIDTH_PX
    crops: list[tuple[int, Image.Image]] = []
    pixels = np.asarray(picture.convert("RGB"))
    for number, line in enumerate(sight.lines):
        ground = sight.regions[line.region].color if line.region >= 0 else sight.page
        scale = min(max(INK_PX / (line.box[3] - line.box[1]), 0.25), 2.5)
        for piece in pieces(pixels, line.box, ground, int(width / scale) - 12):
            crops.append((number, crop(picture, piece, ground, scale)))
    texts: list[list[str]] = [[] for _ in sight.lines]
    for start in range(0, len(crops), BATCH):
        if on_progress is not None:
            on_progress(Progress(start, len(crops), "reading the mock-up"))
        batch = crops[start : start + BATCH]
        replies = chat.chat_many([[image, PROMPT] for _, image in batch], max_tokens=MAX_TOKENS)
        for (number, _), reply in zip(batch, replies, strict=True):
            texts[number].append(" ".join(reply.text.strip().strip("`").split()))
    return [" ".join(filter(None, parts)) for parts in texts]


def pieces(pixels: np.ndarray, box: IntBox, ground: Sequence[int], max_width: int) -> list[IntBox]:
    """A line cut at blanks between words into boxes of at most `max_width` pixels, as far as there are blanks."""
    x1, y1, x2, y2 = box
    if x2 - x1 <= max_width:
        return [box]
    away = np.abs(pixels[y1:y2, x1:x2].astype(np.int16) - np.array(ground, dtype=np.int16)).max(axis=(0, 2)) > 24
    shortest = max(3, round(0.18 * (y2 - y1)))
    cuts, run = [], 0
    for x, is_ink in enumerate([*away.tolist(), True]):
        if is_ink:
            if run >= shortest:
                cuts.append(x1 + x - run // 2)
            run = 0
        else:
            run += 1
    result, start, last = [], x1, None
    for cut in [*cuts, x2]:
        if cut - start > max_width and last is not None:
            result.append((start, y1, last, y2))
            start = last
        last = cut
    return [*result, (start, y1, x2, y2)]


def crop(picture: Image.Image, box: IntBox, ground: Sequence[int], scale: float) -> Image.Image:
    """A piece of a line at `scale`, in the middle of its ground, whole vision cells wide and high."""
    cut = picture.crop(box).convert("RGB")
    wide, high = max(1, round(cut.width * scale)), max(1, round(cut.height * scale))
    cut = cut.resize((wide, high), Image.Resampling.BICUBIC)
    size = (max(CROP_WIDTH_PX, -(-(wide + 8) // 32) * 32), max(CROP_HEIGHT_PX, -(-(high + 4) // 32) * 32))
    canvas = Image.new("RGB", size, tuple(ground))
    canvas.paste(cut, (4, (size[1] - high) // 2))
    return canvas
