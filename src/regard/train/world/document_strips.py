"""Pieces of pages: single lines cut out at 32 px, blank pieces, and parts that are turned.

`make_strip` imitates what `regard document` hands a small model: one line of a page that was rendered at 100 to 300
dpi, cut at gaps between words, resized with Lanczos so that its ink is 20 to 26 px of the 32 px of height.
`make_turned` is a part of a page, turned by quarters, and the question which way is up.
"""

from __future__ import annotations

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from regard.messages import Image, Message, Text
from regard.train.world.document_page import Paper
from regard.train.world.document_text import Texts
from regard.train.world.documents import READ
from regard.train.world.fonts import font_files, load_font, plain_font_files
from regard.train.world.lines import centres, degrade, text_width
from regard.train.world.sample import Char, DenseTruth, Sample, verbatim
from regard.train.world.shapes import choose

UPRIGHT = "How many degrees clockwise must this page be turned to be upright? Answer 0, 90, 180 or 270."
STRIP_PX = 32
MAX_CHARS = 30
_BLANK_SHARE = 0.04
_INK_PX = (19.0, 26.5)
_QUARTERS = (PILImage.Transpose.ROTATE_270, PILImage.Transpose.ROTATE_180, PILImage.Transpose.ROTATE_90)


def make_strip(rng: np.random.Generator, *, held_out: bool, size_rng: np.random.Generator | None = None) -> Sample:
    """One piece of a line and the request to read it. truth: {"kind": "strip", "text": ...}.

    `size_rng` draws the width; samples that are given equal ones have pictures of equal size.
    """
    width = 32 * int((size_rng or rng).integers(1, 11))
    picture, dense, text = _strip(rng, width, held_out=held_out)
    question = READ if rng.random() < 0.8 else choose(rng, ("Read the text.", "Read the line.", "OCR this image."))
    messages = (
        Message("user", (Image(picture), Text(question))),
        Message("assistant", (Text(verbatim(text) if text else ""),)),
    )
    return Sample("documents", messages, {"kind": "strip", "text": text}, dense)


def _strip(rng: np.random.Generator, width: int, *, held_out: bool) -> tuple[PILImage.Image, DenseTruth, str]:
    source_px = int(rng.integers(14, 56))  # letters as the page had them
    faces = font_files(held_out) if held_out or rng.random() < 0.3 else plain_font_files()
    font = load_font(*choose(rng, faces), source_px)
    _, top, _, bottom = font.getbbox("Ahgp|", anchor="ls")
    scale = float(rng.uniform(*_INK_PX)) / max(bottom - top, 1)
    full_width, full_height = max(8, round(width / scale)), round(STRIP_PX / scale)
    left = float(rng.uniform(2, 6)) / scale
    text = "" if rng.random() < _BLANK_SHARE else _text(rng, font, full_width - 2 * left, held_out=held_out)
    ink, paper = _grey(rng)
    picture = PILImage.new("RGB", (full_width, full_height), paper)
    draw = ImageDraw.Draw(picture)
    baseline = (full_height - (bottom - top)) / 2 - top + float(rng.uniform(-1.5, 1.5)) / scale
    draw.text((left, baseline), text, fill=ink, font=font, anchor="ls")
    if not text:
        _dirt(rng, draw, full_width, full_height, ink)
    if rng.random() < 0.3:
        picture = degrade(rng, picture, float(rng.random()))
    picture = picture.resize((width, STRIP_PX), PILImage.Resampling.LANCZOS)
    if rng.random() < 0.15:
        picture = degrade(rng, picture, float(rng.random()) * 0.6)
    middle = (baseline + (top + bottom) / 2) * STRIP_PX / full_height
    chars = tuple(Char(c, x * width / full_width, middle) for c, x in centres(text, font, left))
    return picture, DenseTruth(chars=chars), text


def _text(rng: np.random.Generator, font: ImageFont.FreeTypeFont, room: float, *, held_out: bool) -> str:
    """Words as long as they fit; a width for one word may get a piece of one, and lines may end early."""
    texts = Texts(rng, held_out=held_out)
    if rng.random() < 0.12:
        text = texts.piece()
        return text if text_width(text, font) <= room and len(text) <= MAX_CHARS else "-"
    line = ""
    limit = MAX_CHARS if rng.random() < 0.85 else int(rng.integers(1, MAX_CHARS))
    for word in texts.running():
        longer = f"{line} {word}" if line else word
        if len(longer) > limit or text_width(longer, font) > room:
            if not line:
                while word and (text_width(word, font) > room or len(word) > limit):
                    word = word[:-1]
                return word
            return line
        line = longer
    raise AssertionError("running text is endless")


def _grey(rng: np.random.Generator) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Ink and paper; one in eight light on dark or coloured."""
    dark, light = int(rng.integers(0, 90)), int(rng.integers(228, 256))
    ink, paper = (dark, dark, dark), (light, light, max(0, light - int(rng.integers(0, 14))))
    if rng.random() < 0.12:
        r, g, b = (int(v) for v in rng.integers(0, 140, 3))
        return ((light, light, light), (r, g, b)) if rng.random() < 0.6 else ((r, g, b), paper)
    return ink, paper


def _dirt(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, height: int, ink: tuple[int, int, int]
) -> None:
    """What a blank piece may hold: nothing, specks, a rule, a dark block."""
    kind = choose(rng, ("nothing", "specks", "rule", "block"))
    if kind == "specks":
        for _ in range(int(rng.integers(1, 6))):
            x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
            draw.ellipse((x, y, x + 2, y + 2), fill=ink)
    elif kind == "rule":
        y = float(rng.uniform(height * 0.2, height * 0.8))
        draw.line((0, y, width, y), fill=ink, width=int(rng.integers(1, 4)))
    elif kind == "block":
        draw.rectangle((width * 0.2, 0, width * float(rng.uniform(0.4, 1)), height), fill=ink)


def make_turned(rng: np.random.Generator, *, held_out: bool) -> Sample:
    """A part of a page, turned or not. truth: {"kind": "turned", "degrees": ...}.

    Without dense truth: letters lie on their side.
    """
    width, height = 32 * int(rng.integers(4, 9)), 32 * int(rng.integers(4, 9))
    texts = Texts(rng, held_out=held_out)
    while True:
        paper = Paper(rng, width, height, held_out=held_out)
        running = texts.running()
        if rng.random() < 0.4:
            paper.heading(texts.title(2), 2)
        lines = paper.wrapped([next(running) for _ in range(40)], max_lines=int(rng.integers(2, 7)))
        while lines and not paper.paragraph(lines):
            lines = lines[:-1]
        if sum(len(line.text) for block in paper.blocks for line in block.lines) > 12:
            break
    picture, _ = paper.finish()
    quarters = int(rng.integers(4))  # turned clockwise by so many
    if quarters:
        picture = picture.transpose(_QUARTERS[quarters - 1])
    degrees = -90 * quarters % 360
    messages = (Message("user", (Image(picture), Text(UPRIGHT))), Message("assistant", (Text(str(degrees)),)))
    return Sample("documents", messages, {"kind": "turned", "degrees": degrees})
