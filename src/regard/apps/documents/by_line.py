"""Reading a page line by line: the layout is found in the picture, the model reads pieces of single lines.

This is the way for small models, which read a strip of text well and a page not at all: each line is cut at word gaps
into pieces of the size that the model knows, scaled so that its letters have the usual size, and all pieces of a page
are asked together. Boxes are true to the pixel, for they come from the ink and not from the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from regard.apps.asking import ask_many
from regard.apps.documents import prompts
from regard.apps.documents.ink_layout import InkPart, Layout
from regard.apps.documents.ink_lines import InkLine
from regard.apps.documents.result import Block, Cell, Kind, Line, Table, Word
from regard.apps.documents.words import joined, place_words
from regard.apps.reading import Read
from regard.client import Chat
from regard.errors import ConfigError
from regard.reply import Reply

TOGETHER = 64  # pieces that are asked at once
Rect = tuple[float, float, float, float]

_ITEM = re.compile(r"(?:[\u2022\u25cf\u25aa\u25a0\u25e6\u2023*\u2013\u2014-]|\(?(?:\d{1,3}|[A-Za-z])[.)])\s+\S")


@dataclass(frozen=True)
class Strips:
    """The pictures of lines that a model knows: `em_px` is the size of letters in them. Units: pixels."""

    em_px: int
    height_px: int
    max_width_px: int
    question: str


SMALL = Strips(24, 32, 256, prompts.READ)  # regard-nano was trained on strips of 32 pixels
LARGE = Strips(36, 64, 1536, prompts.READ_ONLY)


@dataclass(frozen=True)
class _Piece:
    """Words `start` to `end` of a line, and their picture."""

    line: int
    words: tuple[Rect, ...]
    picture: Image.Image


def strips_of(chat: Chat, *, language: str | None = None) -> Strips:
    """The strips that a model reads best. `language` is told to models that can use it."""
    if prompts.is_small(chat.name):
        return SMALL
    return replace(LARGE, question=prompts.added(LARGE.question, language=language))


def read_lines(
    chat: Chat, picture: Image.Image, lines: Sequence[InkLine], scale: int, strips: Strips, **options: Any
) -> list[Line]:
    """What each line says, with its words at their places. Units: places on the picture; `scale` that of the lines."""
    pieces = [piece for number, line in enumerate(lines) for piece in _pieces(picture, line, number, scale, strips)]
    texts: list[list[tuple[str, tuple[Rect, ...], float | None]]] = [[] for _ in lines]
    options = _with_confidence(chat, options)
    for start in range(0, len(pieces), TOGETHER):
        some = pieces[start : start + TOGETHER]
        found = ask_many(chat, [[piece.picture, strips.question] for piece in some], _read, attempts=1, **options)
        for piece, asked in zip(some, found, strict=True):
            text = _believable(asked.value or "", piece, strips)
            texts[piece.line].append((text, piece.words, confidence_of(asked.reply)))
    return [_line(line, parts, scale) for line, parts in zip(lines, texts, strict=True)]


def read_blocks(chat: Chat, picture: Image.Image, layout: Layout, strips: Strips, **options: Any) -> list[Block]:
    """The parts of a layout, read."""
    lines = read_lines(chat, picture, layout.lines, layout.scale, strips, **options)
    left = iter(lines)
    blocks = [_block(part, layout.scale, left) for part in layout.parts]
    return [block for block in blocks if block is not None]


def _block(part: InkPart, scale: int, left: Iterator[Line]) -> Block | None:
    box = scaled(part.box, scale)
    if part.kind == "figure":
        return Block(kind="figure", box=box)
    if part.table is not None:
        cells, lines = [], []
        for cell in part.table.cells:
            its = [next(left) for _ in cell.lines]
            lines += its
            cells.append(
                Cell(
                    row=cell.row,
                    column=cell.column,
                    num_rows=cell.num_rows,
                    num_columns=cell.num_columns,
                    text=joined([line.text for line in its]),
                    is_header=cell.row == 0,
                )
            )
        table = Table(num_rows=part.table.num_rows, num_columns=part.table.num_columns, cells=tuple(cells))
        text = "\n".join("\t".join(row) for row in table.grid())
        return Block(kind="table", box=box, text=text, lines=tuple(lines), table=table)
    lines = [next(left) for _ in part.lines]
    text, kind = text_of([line.text for line in lines])
    if not text:
        return None
    if part.kind == "heading":
        return Block(kind="heading", box=box, text=text.replace("\n", " "), lines=tuple(lines), level=part.level)
    return Block(kind=kind, box=box, text=text, lines=tuple(lines))


def text_of(lines: Sequence[str]) -> tuple[str, Kind]:
    """Lines of a paragraph as text, and whether they are items of a list, which keep lines of their own."""
    items: list[list[str]] = []
    for line in (line for line in lines if line.strip()):
        if items and not _ITEM.match(line):
            items[-1].append(line)
        else:
            items.append([line])
    if items and _ITEM.match(items[0][0]):
        return "\n".join(joined(item) for item in items), "list"
    return joined([line for item in items for line in item]), "text"


def scaled(box: tuple[int, int, int, int], scale: int) -> Rect:
    """A place in the ink as a place on the picture."""
    return box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale


def _pieces(picture: Image.Image, line: InkLine, number: int, scale: int, strips: Strips) -> Iterator[_Piece]:
    zoom = strips.em_px / (line.em * scale)
    zoom = min(zoom, (strips.height_px - 2) / (line.height * scale))
    room = (strips.max_width_px - 8) / zoom
    words: list[Rect] = []
    for word in (scaled(word, scale) for word in line.words):
        if words and word[2] - words[0][0] > room:
            yield _piece(picture, line, number, scale, tuple(words), zoom, strips)
            words = []
        words.append(word)
    if words:
        yield _piece(picture, line, number, scale, tuple(words), zoom, strips)


def _piece(
    picture: Image.Image,
    line: InkLine,
    number: int,
    scale: int,
    words: tuple[Rect, ...],
    zoom: float,
    strips: Strips,
) -> _Piece:
    pad = 1 if scale == 1 else scale
    left, right = max(0.0, words[0][0] - pad), min(float(picture.width), words[-1][2] + pad)
    top, bottom = max(0, line.box[1] * scale - pad), min(picture.height, line.box[3] * scale + pad)
    crop = picture.crop((int(left), int(top), math.ceil(right), int(bottom)))
    zoom = min(zoom, (strips.max_width_px - 4) / crop.width)  # a very long word is made smaller
    size = (max(1, round(crop.width * zoom)), max(1, min(strips.height_px, round(crop.height * zoom))))
    crop = crop.resize(size, Image.Resampling.LANCZOS)
    width = 32 * max(1, math.ceil((size[0] + 6) / 32))
    strip = Image.new("RGB", (min(width, strips.max_width_px), strips.height_px), _paper(crop))
    strip.paste(crop, (min(4, (strip.width - size[0]) // 2), (strips.height_px - size[1]) // 2))
    return _Piece(number, words, strip)


def _paper(crop: Image.Image) -> tuple[int, ...]:
    """The colour of a strip's paper: what most of its upper and lower edge have."""
    pixels = np.asarray(crop.convert("RGB"))
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(int(v) for v in np.median(edge, axis=0))


def _read(reply: Reply) -> Read[str]:
    return Read(" ".join(reply.text.split()))


def _believable(text: str, piece: _Piece, strips: Strips) -> str:
    """A text no longer than its ink: what goes on after that was not read but made up."""
    width_em = (piece.picture.width) / strips.em_px
    limit = 8 + int(4.5 * width_em)  # the narrowest letters are a fifth of an em
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0]


def _line(line: InkLine, parts: list[tuple[str, tuple[Rect, ...], float | None]], scale: int) -> Line:
    words: list[Word] = []
    for text, boxes, _ in parts:
        words += place_words(text, boxes)
    box = scaled(line.box, scale)
    words = [Word(text=word.text, box=(word.box[0], box[1], word.box[2], box[3])) for word in words]
    known = [confidence for text, _, confidence in parts if confidence is not None and text]
    confidence = round(sum(known) / len(known), 3) if known else None
    return Line(text=" ".join(text for text, _, _ in parts if text), box=box, words=tuple(words), confidence=confidence)


def _with_confidence(chat: Chat, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with log probabilities where the model tells them."""
    preset = options.get("preset")
    try:
        chat.check_options(preset, **{k: v for k, v in options.items() if k != "preset"}, num_logprobs=0)
    except ConfigError:
        return options
    return options | {"num_logprobs": 0}


def confidence_of(reply: Reply) -> float | None:
    """The geometric mean of the probabilities of an answer's tokens."""
    if not reply.logprobs:
        return None
    return round(math.exp(sum(token.logprob for token in reply.logprobs) / len(reply.logprobs)), 4)
