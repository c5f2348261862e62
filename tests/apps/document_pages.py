"""Pages drawn with Pillow's own font, the place of each word, and models that are played."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from regard.errors import ConfigError
from regard.messages import Image as ImagePart
from regard.messages import Text
from regard.reply import Event, FinishReason, Reply, Usage

Rect = tuple[float, float, float, float]
TEXT = (
    "the river people walk along quietly before evening light falls over gardens behind houses where children "
    "play with paper boats during summer while their parents read books about history and travel"
)
WORDS = TEXT.split()


class DrawnPage:
    """A white page on which words are written; `words` are (text, box of the ink)."""

    def __init__(self, size: tuple[int, int] = (900, 700)) -> None:
        self.picture = Image.new("RGB", size, "white")
        self.pen = ImageDraw.Draw(self.picture)
        self.words: list[tuple[str, Rect]] = []
        self.lines: list[str] = []

    def write(self, text: str, x: float, y: float, px: int = 24) -> None:
        """A line of text."""
        font = ImageFont.load_default(px)
        for word in text.split():
            room = Image.new("L", (round(font.getlength(word)) + 2 * px, 3 * px))
            ImageDraw.Draw(room).text((px + x % 1, px + y % 1), word, font=font, fill="white")
            box = room.point(lambda value: 255 * (value > 64)).getbbox() or (0, 0, 0, 0)
            dx, dy = math.floor(x) - px, math.floor(y) - px
            self.words.append((word, (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)))
            self.pen.text((x, y), word, font=font, fill="black")
            x += font.getlength(word + " ")
        self.lines.append(text)

    def paragraph(self, x: float, y: float, width: float, num_lines: int, px: int = 24, seed: int = 0) -> float:
        """Lines of words; returns where the next thing may stand."""
        rng = random.Random(seed)
        font = ImageFont.load_default(px)
        for _ in range(num_lines):
            line: list[str] = []
            while font.getlength(" ".join([*line, "m" * 5])) < width:
                line.append(rng.choice(WORDS))
            self.write(" ".join(line), x, y, px)
            y += round(px * 1.3)
        return y + px

    def table(self, x: int, y: int) -> None:
        """Three rows and three columns; the last row's first two cells are merged."""
        edges = (x, x + 260, x + 430, x + 600)
        for row, texts in enumerate((("Item", "Count", "Price"), ("Green tea", "12", "2.40"), ("Total", "", "14.90"))):
            for column, text in enumerate(texts):
                is_merged = row == 2 and column == 0
                if row == 2 and column == 1:
                    continue
                right = edges[2] if is_merged else edges[column + 1]
                self.pen.rectangle((edges[column], y + 50 * row, right, y + 50 * row + 50), outline="black", width=2)
                self.write(text, edges[column] + 14, y + 50 * row + 10, 24)


def report_page(seed: int = 0, size: tuple[int, int] = (900, 700)) -> DrawnPage:
    """A heading and three paragraphs."""
    page = DrawnPage(size)
    page.write("Yearly Report", 60, 50, 48)
    y = 140.0
    for number in range(3):
        y = page.paragraph(60, y, size[0] - 120, 4, seed=seed * 10 + number)
    return page


class PlayedChat:
    """A model whose answer to a question about a picture is what `answer` says; it counts what it was asked."""

    is_thinking = False
    reports_media = False

    def __init__(self, answer: Callable[[Image.Image, str], str], name: str = "nano") -> None:
        self.answer, self.name = answer, name
        self.prompts: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.finish_reason: FinishReason = "stop"

    def chat(self, what: Any, **options: Any) -> Reply:
        """Answer."""
        parts = [part.source if isinstance(part, ImagePart) else part for part in what]
        parts = [part.text if isinstance(part, Text) else part for part in parts]
        picture, prompt = parts
        self.prompts.append(prompt)
        self.sizes.append(picture.size)
        text = self.answer(picture, prompt)
        usage = Usage(1, len(text), 1, 0.0, 0.0, 0.0)
        return Reply(text, text, None, (), (), (), self.finish_reason, usage, ())

    def stream(self, what: Any, **options: Any) -> Iterator[Event]:
        """Answer at once."""
        yield Event("done", reply=self.chat(what, **options))

    def chat_many(self, whats: Sequence[Any], **options: Any) -> list[Reply]:
        """Answer one after the other."""
        return [self.chat(what, **options) for what in whats]

    def check_options(self, preset: str | None = None, **options: Any) -> None:
        """Take everything but log probabilities."""
        if "num_logprobs" in options:
            raise ConfigError("none here")

    def close(self) -> None:
        """Nothing to end."""


def by_pixels(picture: Image.Image, prompt: str) -> str:
    """An answer that follows from the picture alone."""
    return " ".join(f"{zlib.crc32(picture.tobytes()):08x}"[n : n + 4] for n in (0, 4))
