"""Short lines of text on a plain ground: the reading task, and the first thing the vision tower learns.

Pictures are whole cells of 32 pixels, which are two visual tokens wide and high.
Difficulty is a number: 0 is a clean line of 16-24 px in plain fonts, black on white or the reverse; above 0 all
fonts and colours come in (six in ten lines still in plain fonts); towards 1 sizes from 12 to 30 px, low contrast,
blur, noise and JPEG.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFilter, ImageFont

from regard.messages import Image, Message, Text
from regard.train.world.fonts import font_files, load_font, plain_font_files
from regard.train.world.sample import Char, DenseTruth, Sample, verbatim
from regard.train.world.words import short_text

MAX_CHARS = 16
QUESTIONS = (
    "Read the text.",
    "What does it say?",
    "What is written here?",
    "Read all the text in the image.",
    "Read the line.",
    "Transcribe the text in this picture.",
    "What text is in the image?",
    "OCR this image.",
    "What does the picture say?",
    "Read this.",
    "Which words are shown?",
    "Text in the image?",
    "What is the text?",
)
PAGE_QUESTIONS = (
    "Read all the text.",
    "Read the lines.",
    "Transcribe this picture.",
    "OCR this image.",
    "What does it say?",
    "Read all the text in the image.",
    "Write down the text, line by line.",
)
LONG_QUESTION = "Please output only the text content from the image without any additional descriptions or formatting."
LONG_QUESTION_SHARE = 0.01  # one long prompt pads its whole batch


def make(rng: np.random.Generator, *, held_out: bool, size_rng: np.random.Generator | None = None) -> Sample:
    """One line of up to 16 characters and the request to read it. truth: {"text": ...}.

    `size_rng` draws the picture's size; samples that are given equal ones have pictures of equal size.
    """
    size_rng = rng if size_rng is None else size_rng
    width = 32 * int(size_rng.integers(5, 10))
    height = 64 if size_rng.random() < 0.3 else 32
    picture, dense, text = render(rng, width, height, lines=1, difficulty=float(rng.random()), held_out=held_out)
    question = QUESTIONS[int(rng.integers(len(QUESTIONS)))]
    if rng.random() < LONG_QUESTION_SHARE:
        question = LONG_QUESTION
    messages = (
        Message("user", (Image(picture), Text(question))),
        Message("assistant", (Text(verbatim(text)),)),
    )
    return Sample("lines", messages, {"text": text}, dense)


# Sizes in px of pictures that are full of text. Several heights from the start: a tower that has only seen one row of
# cells has to learn to read the other rows again.
PAGE_SIZES = ((256, 32), (128, 64), (192, 64), (96, 96), (320, 32), (256, 64))
SMALL_PX = (10, 17)  # what screens are written in, mostly


def make_page(
    rng: np.random.Generator,
    *,
    held_out: bool,
    size_rng: np.random.Generator | None = None,
    is_plain: bool = False,
    is_small: bool = False,
) -> Sample:
    """One to four lines that fill the picture: several times the characters of `make` for the same work.

    `is_plain`: clean lines in plain fonts; `is_small`: up to six lines in SMALL_PX. Otherwise as `make`.
    """
    size_rng = rng if size_rng is None else size_rng
    width, height = PAGE_SIZES[int(size_rng.integers(len(PAGE_SIZES)))]
    num_lines = height // 32 if is_plain else int(rng.integers(1, 3 * height // 64 + 1))
    if is_small:
        num_lines = int(rng.integers(height // 28, height // 15 + 1))
    difficulty = 0.0 if is_plain else float(rng.random())
    picture, dense, text = render(
        rng,
        width,
        height,
        lines=num_lines,
        difficulty=difficulty,
        held_out=held_out,
        is_filled=True,
        sizes=SMALL_PX if is_small else None,
    )
    question = PAGE_QUESTIONS[int(rng.integers(len(PAGE_QUESTIONS)))]
    messages = (
        Message("user", (Image(picture), Text(question))),
        Message("assistant", (Text(verbatim(text)),)),
    )
    return Sample("pages", messages, {"text": text}, dense)


def render(
    rng: np.random.Generator,
    width: int,
    height: int,
    *,
    lines: int,
    difficulty: float,
    held_out: bool,
    is_filled: bool = False,
    sizes: tuple[int, int] | None = None,
) -> tuple[PILImage.Image, DenseTruth, str]:
    """A picture with `lines` lines of text, the place of every character, and the text.

    A line holds up to MAX_CHARS characters, or as many as the width takes when `is_filled`. `sizes` are the smallest
    and the largest font size in px (by `difficulty` unless given).
    """
    sizes = sizes or ((16, 24) if difficulty < 0.3 else (12, 30))
    foreground, background = _colours(rng, difficulty)
    picture = PILImage.new("RGB", (width, height), background)
    draw = ImageDraw.Draw(picture)
    slot = height / lines
    chars: list[Char] = []
    texts = []
    for line in range(lines):
        font = _font(rng, slot, difficulty, held_out, sizes)
        text = short_text(rng, MAX_CHARS, held_out=held_out)
        while is_filled and text_width(text, font) < width:
            text += " " + short_text(rng, MAX_CHARS, held_out=held_out)
        text = _fit(text, font, width - 6)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        x = 2 + rng.random() * max(width - 4 - (right - left), 0) - left
        y = line * slot + 1 + rng.random() * max(slot - 2 - (bottom - top), 0) - top
        draw.text((x, y), text, fill=foreground, font=font)
        middle = y + (top + bottom) / 2
        chars += [Char(c, cx, middle) for c, cx in centres(text, font, x)]
        texts.append(text)
    return degrade(rng, picture, difficulty), DenseTruth(chars=tuple(chars)), "\n".join(texts)


def _font(
    rng: np.random.Generator, slot: float, difficulty: float, held_out: bool, sizes: tuple[int, int]
) -> ImageFont.FreeTypeFont:
    # Most text that people show is in book faces; the many decorative ones would crowd them out.
    is_plain = not held_out and (difficulty == 0 or rng.random() < 0.6)
    faces = plain_font_files() if is_plain else font_files(held_out)
    smallest, largest = sizes
    size = int(rng.integers(smallest, min(largest, int(slot * 0.9)) + 1)) if slot * 0.9 > smallest else int(slot * 0.8)
    return load_font(*faces[int(rng.integers(len(faces)))], size)


@functools.lru_cache(maxsize=1 << 19)
def _advance(font: ImageFont.FreeTypeFont, character: str) -> float:
    return font.getlength(character)


def text_width(text: str, font: ImageFont.FreeTypeFont) -> float:
    """Width in px without kerning: one look-up a character where measuring every prefix would be most of the work."""
    return sum(_advance(font, c) for c in text)


def _fit(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    while len(text) > 1 and text_width(text, font) > width:
        text = text[:-1].rstrip()
    return text


def centres(text: str, font: ImageFont.FreeTypeFont, x: float) -> list[tuple[str, float]]:
    """Visible characters with the x of their middle; what kerning saves is spread evenly."""
    scale = font.getlength(text) / max(text_width(text, font), 1e-6)
    found = []
    for character in text:
        advance = _advance(font, character) * scale
        if not character.isspace():
            found.append((character, x + advance / 2))
        x += advance
    return found


def _colours(rng: np.random.Generator, difficulty: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Foreground and background that differ enough in brightness; half are dark on light."""
    contrast = 110 if difficulty < 0.5 else 75
    while True:
        a, b = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
        if difficulty == 0 or rng.random() < 0.5:
            a, b = rng.integers(0, 70, 3), rng.integers(200, 256, 3)
        if abs(float(np.dot(a - b, (0.3, 0.59, 0.11)))) > contrast:
            return tuple(int(v) for v in a), tuple(int(v) for v in b)


def degrade(rng: np.random.Generator, picture: PILImage.Image, difficulty: float) -> PILImage.Image:
    """Blur, noise and JPEG, each the more likely the greater `difficulty` (0 to 1) is."""
    if rng.random() < 0.4 * difficulty:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.9))))
    if rng.random() < 0.4 * difficulty:
        pixels = np.asarray(picture, dtype=np.float32) + rng.normal(
            0, rng.uniform(2, 14), (picture.height, picture.width, 1)
        )
        picture = PILImage.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.4 * difficulty:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(35, 90)))
        picture = PILImage.open(buffer).convert("RGB")
    return picture
