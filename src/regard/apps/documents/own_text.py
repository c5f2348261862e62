"""A PDF's own text as blocks: what a page falls back to, and what is taken from pages that are no scans."""

from __future__ import annotations

from itertools import groupby

from regard.apps.documents.by_line import text_of
from regard.apps.documents.result import Block, Line, Rect, Word
from regard.apps.pages import PageName
from regard.messages import Document
from regard.processing.pdf import PdfWord, load_words

ENOUGH_WORDS = 3  # fewer are a stamp or a page number on a scan


def own_blocks(name: PageName, dpi: int) -> list[Block]:
    """The blocks of a page's own text; empty for pictures and scans. Errors: InputError for a file that is damaged."""
    if name.path.suffix.lower() != ".pdf":
        return []
    words = load_words(Document(str(name.path), dpi=dpi), name.number)
    if len(words) < ENOUGH_WORDS:
        return []
    lines = [_line(list(group)) for _, group in groupby(words, key=lambda word: word.line)]
    blocks: list[list[Line]] = []
    for line in lines:
        if blocks and _follows(blocks[-1][-1], line):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return [_block(block) for block in blocks]


def _line(words: list[PdfWord]) -> Line:
    made = tuple(Word(text=word.text, box=_rounded(word.box)) for word in words)
    return Line(text=" ".join(word.text for word in words), box=_around([word.box for word in made]), words=made)


def _rounded(box: Rect) -> Rect:
    return round(box[0], 1), round(box[1], 1), round(box[2], 1), round(box[3], 1)


def _around(boxes: list[Rect]) -> Rect:
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return min(x1), min(y1), max(x2), max(y2)


def _follows(last: Line, line: Line) -> bool:
    height = min(last.box[3] - last.box[1], line.box[3] - line.box[1])
    gap = line.box[1] - last.box[3]
    return -0.5 * height < gap < 0.6 * height and line.box[0] < last.box[2] and last.box[0] < line.box[2]


def _block(lines: list[Line]) -> Block:
    text, kind = text_of([line.text for line in lines])
    return Block(kind=kind, text=text, box=_around([line.box for line in lines]), lines=tuple(lines))
