"""Papers drawn with Pillow: blocks below each other, with the box of each, of each line and of each character.

    page = Paper(rng, 320, 288, held_out=False)
    page.heading("Price list"); page.paragraph(lines); page.table(cells); page.picture()
    picture, dense = page.finish()

A block that does not fit is not drawn and the method says so. Papers are mostly white with dark ink; fonts are those
of `fonts`. Merged cells span columns or rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from regard.train.world.fonts import font_files, load_font, plain_font_files
from regard.train.world.lines import centres, degrade, text_width
from regard.train.world.sample import Char, DenseTruth
from regard.train.world.shapes import Box, choose

_MIN_PX, _MAX_PX = 13, 18


@dataclass(frozen=True)
class Line:
    """One line of text and the box of its ink line (full height of the font) in pixels."""

    text: str
    box: Box


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `across` and `down` are the columns and rows that it spans."""

    text: str
    across: int = 1
    down: int = 1


@dataclass(frozen=True)
class Block:
    """One drawn part: heading, text, rows (labels with values), list, table, image.

    `pairs` and `values` belong to rows (the values with their own boxes), `cells` to tables.
    """

    kind: str
    box: Box
    lines: tuple[Line, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    values: tuple[Line, ...] = ()
    cells: tuple[tuple[Cell, ...], ...] = ()
    level: int = 2


class Paper:
    """A sheet that is filled from the top."""

    def __init__(self, rng: np.random.Generator, width: int, height: int, *, held_out: bool) -> None:
        self.rng, self.width, self.height = rng, width, height
        self.blocks: list[Block] = []
        self._chars: list[Char] = []
        self.ink, self.paper = _colours(rng, held_out=held_out)
        self.grey = tuple(round(0.6 * p + 0.4 * i) for p, i in zip(self.paper, self.ink, strict=True))
        self._picture = PILImage.new("RGB", (width, height), self.paper)
        self._draw = ImageDraw.Draw(self._picture)
        faces = font_files(held_out) if held_out or rng.random() < 0.25 else plain_font_files()
        self._face = choose(rng, faces)
        self._title_face = self._face if rng.random() < 0.6 else choose(rng, faces)
        self.size = int(rng.integers(_MIN_PX, _MAX_PX + 1))
        self.font = load_font(*self._face, self.size)
        self.margin = int(rng.integers(6, 18))
        self.gap = int(rng.integers(5, 14))
        self._y = float(self.margin + rng.integers(0, 8))
        self._style = choose(
            rng, ("grid", "grid", "lines", "head", "plain") if not held_out else ("grid", "zebra", "lines")
        )

    @property
    def inner_width(self) -> float:
        """Room between the margins in pixels."""
        return self.width - 2 * self.margin

    def heading(self, text: str, level: int) -> bool:
        """A line in larger letters."""
        font = load_font(*self._title_face, round(self.size * (1.6 if level == 1 else 1.3)))
        if text_width(text, font) > self.inner_width:
            return False
        is_centred = self.rng.random() < 0.3
        x = (self.width - text_width(text, font)) / 2 if is_centred else self.margin
        return self._lines("heading", [text], font, x, level=level)

    def wrapped(self, words: Sequence[str], *, max_lines: int) -> list[str]:
        """Words in lines that fit the width; those after the last line are left out."""
        lines: list[str] = []
        line = ""
        for word in words:
            longer = f"{line} {word}" if line else word
            if text_width(longer, self.font) <= self.inner_width:
                line = longer
            elif line:
                lines.append(line)
                line = word if text_width(word, self.font) <= self.inner_width else ""
        lines.append(line)
        return [line for line in lines[:max_lines] if line]

    def paragraph(self, lines: Sequence[str]) -> bool:
        """Lines as they are."""
        return bool(lines) and self._lines("text", lines, self.font, self.margin)

    def listing(self, items: Sequence[str]) -> bool:
        """Items, one a line, behind dots that are drawn and not read."""
        height = self._line_height(self.font)
        indent = self.margin + self.size
        if any(text_width(item, self.font) > self.width - indent - self.margin for item in items):
            return False
        top = self._y
        if not self._lines("list", items, self.font, indent):
            return False
        for index in range(len(items)):
            x, y, r = self.margin + self.size / 2, top + (index + 0.55) * height, max(1.5, self.size / 8)
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=self.ink)
        return True

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> bool:
        """Labels with values: behind a colon, in a second column, or at the right margin."""
        height = self._line_height(self.font)
        bottom = self._y + height * len(pairs)
        style = choose(self.rng, ("colon", "column", "right"))
        shown = [label + ("" if style == "right" and self.rng.random() < 0.5 else ":") for label, _ in pairs]
        column = max(text_width(label, self.font) for label in shown) + self.size
        if bottom > self.height - 2:
            return False
        lines = []
        for index, ((_, value), label) in enumerate(zip(pairs, shown, strict=True)):
            y = self._y + index * height
            start = text_width(label, self.font) + text_width(" ", self.font) if style == "colon" else column
            if style == "right":
                start = max(start, self.inner_width - text_width(value, self.font))
            if start + text_width(value, self.font) > self.inner_width + 2:
                return False
            lines.append((label, value, y, start))
        drawn, values = [], []
        for label, value, y, start in lines:
            self._text(label, self.margin, y, self.font)
            self._text(value, self.margin + start, y, self.font)
            right = self.margin + start + text_width(value, self.font)
            drawn.append(Line(f"{label} {value}", (self.margin, y, right, y + height)))
            values.append(Line(value, (self.margin + start, y, right, y + height)))
        self._add(Block("rows", _around(drawn), tuple(drawn), tuple(pairs), tuple(values)))
        return True

    def table(self, rows: Sequence[Sequence[Cell]]) -> bool:
        """A table whose first row may be a head."""
        num_columns = sum(cell.across for cell in rows[0])
        widths = [0.0] * num_columns
        places = list(_places(rows))
        pad = float(self.rng.integers(4, 9))
        for cell, _, column in places:
            if cell.across == 1:
                widths[column] = max(widths[column], text_width(cell.text, self.font) + 2 * pad)
        for cell, _, column in places:
            room = sum(widths[column : column + cell.across])
            missing = text_width(cell.text, self.font) + 2 * pad - room
            if missing > 0:
                widths[column] += missing
        widths = [max(width, 3 * pad) for width in widths]
        height = self._line_height(self.font) + float(self.rng.integers(2, 8))
        bottom = self._y + height * len(rows)
        if sum(widths) > self.inner_width or bottom > self.height - 2:
            return False
        if self.rng.random() < 0.4:
            widths = [width * self.inner_width / sum(widths) for width in widths]
        if any(cell.across + cell.down > 2 for cell, _, _ in places):
            self._style = "grid"  # without lines nobody could see what is merged
        left, top = float(self.margin), self._y
        xs = np.cumsum([left, *widths])
        drawn = []
        for cell, row, column in places:
            box = (
                float(xs[column]),
                top + row * height,
                float(xs[column + cell.across]),
                top + (row + cell.down) * height,
            )
            self._cell(box, row, len(rows))
            y = (box[1] + box[3]) / 2 - self._line_height(self.font) / 2
            self._text(cell.text, box[0] + pad, y, self.font)
            if cell.text:
                drawn.append(
                    Line(
                        cell.text,
                        (box[0] + pad, y, box[0] + pad + text_width(cell.text, self.font), y + self.size * 1.2),
                    )
                )
        box = (left, top, float(xs[-1]), bottom)
        cells = tuple(tuple(row) for row in rows)
        self._add(Block("table", box, tuple(drawn), cells=cells))
        return True

    def picture(self) -> bool:
        """A drawing without text: a ground with a few strokes and discs."""
        room = self.height - self._y - 4
        if room < 36:
            return False
        width = float(self.rng.uniform(0.35, 1.0) * self.inner_width)
        height = float(self.rng.uniform(32, min(room, 90)))
        box = (float(self.margin), self._y, self.margin + width, self._y + height)
        self._draw.rectangle(box, fill=_random_rgb(self.rng))
        for _ in range(int(self.rng.integers(2, 6))):
            x, r = self.rng.uniform(box[0], box[2] - 8), self.rng.uniform(4, height / 2)
            y = self.rng.uniform(box[1], box[3] - 8)
            part = (x, y, min(x + 2 * r, box[2]), min(y + r, box[3]))
            shape = choose(self.rng, (self._draw.ellipse, self._draw.rectangle))
            shape(part, fill=_random_rgb(self.rng))
        self._add(Block("image", box))
        return True

    def trim(self) -> None:
        """Cut off what is empty at the bottom, in whole cells of 32 px."""
        bottom = max((block.box[3] for block in self.blocks), default=0) + self.margin / 2
        self.height = min(self.height, 32 * max(2, -(-int(bottom) // 32)))
        self._picture = self._picture.crop((0, 0, self.width, self.height))

    def finish(self, *, wear: float = 1.0) -> tuple[PILImage.Image, DenseTruth]:
        """The picture, perhaps a little worn, and where its characters are."""
        return degrade(self.rng, self._picture, wear * float(self.rng.random())), DenseTruth(chars=tuple(self._chars))

    def _line_height(self, font: ImageFont.FreeTypeFont) -> float:
        return round(font.size * 1.32)

    def _lines(
        self, kind: str, texts: Sequence[str], font: ImageFont.FreeTypeFont, x: float, *, level: int = 2
    ) -> bool:
        height = self._line_height(font)
        if self._y + height * len(texts) > self.height - 2:
            return False
        drawn = []
        for index, text in enumerate(texts):
            y = self._y + index * height
            self._text(text, x, y, font)
            drawn.append(Line(text, (x, y, x + text_width(text, font), y + height)))
        self._add(Block(kind, _around(drawn), tuple(drawn), level=level))
        return True

    def _text(self, text: str, x: float, y: float, font: ImageFont.FreeTypeFont) -> None:
        """Text whose line begins at y."""
        middle = y + self._line_height(font) / 2
        self._draw.text((x, middle), text, fill=self.ink, font=font, anchor="lm")
        self._chars += [Char(c, cx, middle) for c, cx in centres(text, font, x)]

    def _cell(self, box: Box, row: int, num_rows: int) -> None:
        x1, y1, x2, y2 = box
        if self._style == "grid":
            self._draw.rectangle(box, outline=self.grey)
        elif self._style == "zebra" and row % 2 == 0:
            light = tuple(round(0.88 * p + 0.12 * i) for p, i in zip(self.paper, self.ink, strict=True))
            self._draw.rectangle(box, fill=light)
        elif self._style == "lines" or (self._style == "head" and row == 0):
            self._draw.line((x1, y2, x2, y2), fill=self.grey)

    def _add(self, block: Block) -> None:
        self.blocks.append(block)
        self._y = block.box[3] + self.gap


def _places(rows: Sequence[Sequence[Cell]]) -> list[tuple[Cell, int, int]]:
    """Every cell with its row and first column; rows leave out the places that cells above them fill."""
    taken: set[tuple[int, int]] = set()
    places = []
    for row, cells in enumerate(rows):
        column = 0
        for cell in cells:
            while (row, column) in taken:
                column += 1
            places.append((cell, row, column))
            taken |= {(row + down, column + across) for down in range(cell.down) for across in range(cell.across)}
            column += cell.across
    return places


def _around(lines: Sequence[Line]) -> Box:
    boxes = np.array([line.box for line in lines])
    return (float(boxes[:, 0].min()), float(boxes[:, 1].min()), float(boxes[:, 2].max()), float(boxes[:, 3].max()))


def _random_rgb(rng: np.random.Generator) -> tuple[int, int, int]:
    r, g, b = (int(v) for v in rng.integers(40, 230, 3))
    return r, g, b


def _colours(rng: np.random.Generator, *, held_out: bool) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Ink and paper: dark on light, one in twelve the other way round; held out: bluish paper."""
    ink, paper = (int(v) for v in (rng.integers(0, 80), rng.integers(236, 256)))
    tint = int(rng.integers(0, 12))
    light = (paper - tint, paper - tint // 2, paper) if held_out else (paper, paper - tint // 3, paper - tint)
    dark = (ink, ink, min(255, ink + int(rng.integers(0, 30))))
    return (light, dark) if rng.random() < 0.08 else (dark, light)
