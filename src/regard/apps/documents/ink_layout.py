"""The parts of a page in reading order, from its ink: paragraphs, headings, tables, figures.

Figures are ink that is no writing: pieces much higher than letters, and squares of the page that are neither paper nor
ink (photographs). Tables come from `ink_tables`. What is left is cut along its empty stretches, columns before rows,
which gives the order in which people read; lines that follow each other closely in one size are a paragraph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from regard.apps.documents.ink import BLOCK_PX, Ink, find_components, find_ink, letter_height
from regard.apps.documents.ink_lines import InkLine, Rect, find_lines, union
from regard.apps.documents.ink_tables import InkTable, aligned_tables, ruled_tables

HEADING = 1.2  # times the page's usual size
MIN_BLOCKS = 6  # squares that a photograph or filled shape covers at least


@dataclass(frozen=True)
class InkPart:
    """A paragraph or heading (its lines), a table, or a figure."""

    kind: Literal["text", "heading", "table", "figure"]
    box: Rect
    lines: tuple[InkLine, ...] = ()
    table: InkTable | None = None
    level: int = 0


@dataclass(frozen=True)
class Layout:
    """The parts in reading order; `scale` times a place here is the place in the picture; `em` the usual size."""

    parts: tuple[InkPart, ...]
    scale: int
    em: float
    ink: Ink

    @property
    def lines(self) -> list[InkLine]:
        """All lines in reading order, those of tables too."""
        found: list[InkLine] = []
        for part in self.parts:
            found += part.lines
            found += [line for cell in (part.table.cells if part.table else ()) for line in cell.lines]
        return found


def find_layout(picture: Image.Image, ink: Ink | None = None) -> Layout:
    """The parts of an upright page."""
    ink = find_ink(picture) if ink is None else ink
    figures = _figures(picture, ink)
    components = ink.components.only(~_inside(ink.components.box_N4, figures))
    lines = find_lines(ink, components)
    tables = [table for table in ruled_tables(ink, lines) if not _overlaps(table.box, figures)]
    lines = [line for line in lines if not _overlaps(line.box, [table.box for table in tables])]
    loose = aligned_tables(lines)
    lines = [line for line in lines if not _overlaps(line.box, [table.box for table in loose])]
    em = _usual_em(lines or [line for table in tables + loose for cell in table.cells for line in cell.lines])
    items = [InkPart("figure", box) for box in figures]
    items += [InkPart("table", table.box, table=table) for table in tables + loose]
    items += [InkPart("text", line.box, (line,)) for line in lines]
    parts = _levels(_paragraphs(_ordered(items, em)), em)
    return Layout(tuple(parts), ink.scale, em, ink)


def _usual_em(lines: Sequence[InkLine]) -> float:
    if not lines:
        return 0.0
    em = np.array([line.em for line in lines])
    width = np.array([line.box[2] - line.box[0] for line in lines], dtype=float)
    order = np.argsort(em)
    weight = np.cumsum(width[order])
    return float(em[order][np.searchsorted(weight, weight[-1] / 2)])


def _figures(picture: Image.Image, ink: Ink) -> list[Rect]:
    height = letter_height(ink.components)
    box = ink.components.box_N4
    is_drawing = (ink.components.height_N > max(5.5 * height, 24)) | (
        (ink.components.width_N > max(14 * height, 60)) & (ink.components.height_N > 1.5 * height)
    )
    boxes: list[Rect] = [(int(a), int(b), int(c), int(d)) for a, b, c, d in box[is_drawing]]
    boxes = _merged(boxes + _grounds(picture, ink, height), gap=round(1.2 * height))
    # Labels and small strokes belong to the drawing they are in.
    return [b for b in boxes if min(b[2] - b[0], b[3] - b[1]) >= max(2.5 * height, 16)]


def _grounds(picture: Image.Image, ink: Ink, height: float) -> list[Rect]:
    """Boxes of stretches with another ground than the page's: photographs and filled shapes, not bands under text."""
    gray = np.asarray(picture.convert("L").reduce(ink.scale) if ink.scale > 1 else picture.convert("L"))
    rows, columns = gray.shape[0] // BLOCK_PX, gray.shape[1] // BLOCK_PX
    if rows == 0 or columns == 0:
        return []
    squares = gray[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    squares = squares.transpose(0, 2, 1, 3).reshape(rows, columns, -1)[..., ::3]
    low, middle, high = np.percentile(squares, (20, 50, 80), axis=-1)
    is_other = np.abs(middle - float(np.median(middle))) > 25
    is_uneven = is_other & (high - low > 10)
    letters = ink.components.box_N4[(ink.components.height_N > 0.5 * height) & (ink.components.height_N < 2 * height)]
    found = find_components(is_other)
    boxes: list[Rect] = []
    for (x1, y1, x2, y2), area in zip(found.box_N4.tolist(), found.area_N.tolist(), strict=True):
        box = (x1 * BLOCK_PX, y1 * BLOCK_PX, x2 * BLOCK_PX, y2 * BLOCK_PX)
        is_photo = is_uneven[y1:y2, x1:x2].sum() > 0.6 * area
        is_shape = area < 0.85 * (x2 - x1) * (y2 - y1) or not _inside(letters, [box]).any()
        if area >= MIN_BLOCKS and (is_photo or is_shape):
            boxes.append(box)
    return boxes


def _merged(boxes: list[Rect], gap: int) -> list[Rect]:
    """Boxes, those that overlap or nearly touch as one."""
    boxes = list(boxes)
    changed = True
    while changed:
        changed = False
        kept: list[Rect] = []
        for box in boxes:
            for number, other in enumerate(kept):
                if _touch(box, other, gap):
                    kept[number] = union([box, other])
                    changed = True
                    break
            else:
                kept.append(box)
        boxes = kept
    return sorted(boxes, key=lambda box: (box[1], box[0]))


def _touch(a: Rect, b: Rect, gap: int) -> bool:
    return a[0] <= b[2] + gap and b[0] <= a[2] + gap and a[1] <= b[3] + gap and b[1] <= a[3] + gap


def _inside(box_N4: np.ndarray, figures: Sequence[Rect]) -> np.ndarray:
    middle_x, middle_y = (box_N4[:, 0] + box_N4[:, 2]) / 2, (box_N4[:, 1] + box_N4[:, 3]) / 2
    inside = np.zeros(len(box_N4), dtype=bool)
    for x1, y1, x2, y2 in figures:
        inside |= (middle_x >= x1) & (middle_x <= x2) & (middle_y >= y1) & (middle_y <= y2)
    return inside


def _overlaps(box: Rect, others: Sequence[Rect]) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return any(x1 <= x <= x2 and y1 <= y <= y2 for x1, y1, x2, y2 in others)


def _ordered(items: list[InkPart], em: float) -> list[InkPart]:
    """Reading order: cut along the widest empty stretch, again and again."""
    if len(items) <= 1:
        return items
    rows = _cut(items, 1, 0.0)
    columns = _cut(items, 0, 1.0 * em)
    if columns is not None and all(_is_column(part, em) for part in columns):
        return [item for part in columns for item in _ordered(part, em)]
    if rows is not None:
        return [item for part in rows for item in _ordered(part, em)]
    if columns is not None:
        return [item for part in columns for item in _ordered(part, em)]
    return sorted(items, key=lambda item: (item.box[1], item.box[0]))


def _is_column(items: list[InkPart], em: float) -> bool:
    """Whether items are a column to be read to its end: several lines, or something as high."""
    box = union([item.box for item in items])
    return box[3] - box[1] > 3 * em


def _cut(items: list[InkPart], axis: int, least: float) -> list[list[InkPart]] | None:
    """Two groups on either side of the widest empty stretch along an axis (0: left and right), None without one."""
    order = sorted(items, key=lambda item: item.box[axis])
    reached = order[0].box[axis + 2]
    best, place = least, 0
    for number, item in enumerate(order[1:], 1):
        gap = item.box[axis] - reached
        if gap > best:
            best, place = gap, number
        reached = max(reached, item.box[axis + 2])
    return [order[:place], order[place:]] if place else None


def _paragraphs(items: list[InkPart]) -> list[InkPart]:
    """Lines that follow each other closely, in one size and one column, as one part."""
    parts: list[InkPart] = []
    for item in items:
        before = parts[-1] if parts else None
        if before is not None and before.lines and item.lines and _follows(before, item.lines[0]):
            lines = before.lines + item.lines
            parts[-1] = InkPart("text", union([line.box for line in lines]), lines)
        else:
            parts.append(item)
    return parts


def _follows(part: InkPart, line: InkLine) -> bool:
    last = part.lines[-1]
    em = min(last.em, line.em)
    lead = line.baseline - last.baseline
    if not 0.8 * em < lead < 1.75 * em or max(last.em, line.em) > 1.3 * em:
        return False
    if len(part.lines) > 1:  # a wider step than before begins a new paragraph
        usual = part.lines[-1].baseline - part.lines[-2].baseline
        if lead > 1.25 * usual:
            return False
    shared = min(part.box[2], line.box[2]) - max(part.box[0], line.box[0])
    is_indented = line.box[0] - part.box[0] > 0.8 * em and len(part.lines) > 1 and last.box[0] - part.box[0] < 0.4 * em
    return shared > 0 and not is_indented


def _levels(parts: list[InkPart], em: float) -> list[InkPart]:
    """Parts with headings named: short and larger than the page's usual size."""
    found = []
    for part in parts:
        size = max((line.em for line in part.lines), default=0.0)
        is_long = sum(len(line.words) for line in part.lines) >= 3 or size >= 1.5 * em
        if part.kind == "text" and em and size >= HEADING * em and len(part.lines) <= 3 and is_long:
            level = 1 if size >= 1.7 * em else 2 if size >= 1.4 * em else 3
            found.append(InkPart("heading", part.box, part.lines, None, level))
        else:
            found.append(part)
    return found
