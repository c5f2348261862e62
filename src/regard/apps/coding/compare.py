"""How near a page is to its mock-up: the scores of Design2Code, with SSIM in the place of CLIP.

    comparison = compare(blocks_of_mockup, mockup, blocks_of_page, page)
    comparison.scores.total          # 0 to 1, the mean of the five
    comparison.pairs, comparison.missing, comparison.extra

Blocks are lines of text, each with the box of its ink and its colour. They are assigned to each other so that the
texts agree best (Hungarian method); a pair counts if its texts are at least half alike, or, with `by_place`, if the
boxes nearly cover each other, for words that a model read may be misread. Blocks that are one line here and two there
are joined where that makes texts more alike. Then, as in Design2Code (Si et al., 2024):

    block     area of paired blocks / area of all blocks, of both pictures
    text      mean likeness of the paired texts
    position  mean of 1 - the larger of the centres' distances, in widths and heights of the picture
    color     mean of 1 - CIEDE2000 / 100 of the letters' colours
    ssim      structural similarity of the two pictures (Design2Code: CLIP's, whose weights would be a download)
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from regard.apps.coding.likeness import color_difference, picture_likeness
from regard.apps.coding.render import Rect, Rendered
from regard.apps.coding.sight import Color, Sight, ink_color
from regard.apps.result import Result

ALIKE = 0.5  # texts from which on a pair counts (Design2Code)
COVERED = 0.4  # intersection over union from which on a pair counts by place
INK_STEP = 40  # levels by which ink differs from its ground


@dataclass(frozen=True)
class Block:
    """A line of text: the box of its ink in pixels, its colour; `element` as in `render.Line`, -1 in a mock-up."""

    text: str
    box: Rect
    color: Color
    element: int = -1


class Scores(Result):
    """0 to 1 each, 1 is best; `total` is the mean of the five."""

    block: float
    text: float
    position: float
    color: float
    ssim: float
    total: float


@dataclass(frozen=True)
class Pair:
    """A block of the mock-up, the block of the page that stands for it, and how alike their texts are."""

    wanted: Block
    found: Block
    text: float


@dataclass(frozen=True)
class Comparison:
    """Scores, the pairs, and the blocks that the page lacks or has too many."""

    scores: Scores
    pairs: tuple[Pair, ...]
    missing: tuple[Block, ...]
    extra: tuple[Block, ...]


def blocks_of_sight(sight: Sight, texts: Sequence[str]) -> list[Block]:
    """The lines of a mock-up with what they say; lines that were read as nothing are left out."""
    return [
        Block(text, tuple(map(float, line.box)), line.color)  # type: ignore[arg-type]
        for line, text in zip(sight.lines, texts, strict=True)
        if text
    ]


def blocks_of_page(rendered: Rendered) -> list[Block]:
    """The lines of a drawn page, each with the box and the colour of its ink."""
    blocks = []
    for line in rendered.lines:
        box, color = ink_of(rendered.image, line.box)
        blocks.append(Block(line.text, box, color, line.element))
    return blocks


def ink_of(picture: Image.Image, box: Rect) -> tuple[Rect, Color]:
    """The box of the ink within a box, and the ink's colour; the box itself where there is no ink."""
    x1, y1 = max(int(box[0]), 0), max(int(box[1]), 0)
    x2, y2 = min(int(np.ceil(box[2])) + 1, picture.width), min(int(np.ceil(box[3])), picture.height)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return box, (0, 0, 0)
    crop = np.asarray(picture.crop((x1, y1, x2, y2)), dtype=np.int16)
    edge = np.concatenate((crop[0], crop[-1]))
    ground = np.median(edge, axis=0)
    away = np.abs(crop - ground).max(axis=2) > INK_STEP
    rows, columns = np.flatnonzero(away.any(axis=1)), np.flatnonzero(away.any(axis=0))
    if not len(rows):
        return box, (int(ground[0]), int(ground[1]), int(ground[2]))
    tight = (float(x1 + columns[0]), float(y1 + rows[0]), float(x1 + columns[-1] + 1), float(y1 + rows[-1] + 1))
    return tight, ink_color(picture, tight, (int(ground[0]), int(ground[1]), int(ground[2])))


def compare(
    wanted: Sequence[Block], mockup: Image.Image, found: Sequence[Block], page: Image.Image, *, by_place: bool = False
) -> Comparison:
    """Compare a page with its mock-up; both pictures in the same scale."""
    wanted, found = joined(wanted, found), joined(found, wanted)
    size = mockup.size
    likeness = np.array([[_alike(a.text, b.text) for b in found] for a in wanted]).reshape(len(wanted), len(found))
    near = np.array([[1 - _distance(a, b, size) for b in found] for a in wanted]).reshape(likeness.shape)
    rows, columns = linear_sum_assignment(-(likeness + 0.25 * near))
    pairs = [
        Pair(wanted[row], found[column], float(likeness[row, column]))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if likeness[row, column] >= ALIKE or (by_place and _cover(wanted[row].box, found[column].box) >= COVERED)
    ]
    used_wanted, used_found = {id(pair.wanted) for pair in pairs}, {id(pair.found) for pair in pairs}
    missing = tuple(block for block in wanted if id(block) not in used_wanted)
    extra = tuple(block for block in found if id(block) not in used_found)
    return Comparison(_scores(pairs, missing, extra, mockup, page), tuple(pairs), missing, extra)


def _scores(
    pairs: list[Pair], missing: tuple[Block, ...], extra: tuple[Block, ...], mockup: Image.Image, page: Image.Image
) -> Scores:
    paired = sum(_area(pair.wanted.box) + _area(pair.found.box) for pair in pairs)
    loose = sum(_area(block.box) for block in (*missing, *extra))
    num = max(len(pairs), 1)
    ssim = max(0.0, picture_likeness(mockup, page))
    if not pairs and not missing and not extra:  # no text on either: nothing to find fault with
        block = text = position = color = 1.0
    else:
        block = paired / (paired + loose) if paired + loose else 0.0
        text = sum(pair.text for pair in pairs) / num
        position = sum(1 - min(1.0, _distance(pair.wanted, pair.found, mockup.size)) for pair in pairs) / num
        color = sum(max(0.0, 1 - color_difference(p.wanted.color, p.found.color) / 100) for p in pairs) / num
    values = {"block": block, "text": text, "position": position, "color": color, "ssim": ssim}
    return Scores(**{name: round(value, 4) for name, value in values.items()}, total=round(sum(values.values()) / 5, 4))


def joined(blocks: Sequence[Block], others: Sequence[Block]) -> list[Block]:
    """Neighbouring blocks as one where one of the `others` reads more like both together."""
    result = list(blocks)
    number = 0
    while number + 1 < len(result):
        a, b = result[number], result[number + 1]
        if _are_neighbours(a.box, b.box) and (together := _together(a, b)) is not None:
            alone = max((max(_alike(a.text, o.text), _alike(b.text, o.text)) for o in others), default=0.0)
            both = max((_alike(together.text, o.text) for o in others), default=0.0)
            if both > max(alone, ALIKE) + 0.05:
                result[number : number + 2] = [together]
                number = max(number - 1, 0)
                continue
        number += 1
    return result


def _together(a: Block, b: Block) -> Block:
    box = (min(a.box[0], b.box[0]), min(a.box[1], b.box[1]), max(a.box[2], b.box[2]), max(a.box[3], b.box[3]))
    return Block(f"{a.text} {b.text}", box, a.color, a.element)


def _are_neighbours(a: Rect, b: Rect) -> bool:
    tall = max(a[3] - a[1], b[3] - b[1])
    is_below = 0 <= b[1] - a[3] + 0.5 * tall <= 2 * tall and min(a[2], b[2]) > max(a[0], b[0])
    is_beside = min(a[3], b[3]) - max(a[1], b[1]) > 0.4 * tall and -0.2 * tall <= b[0] - a[2] <= 1.5 * tall
    return is_below or is_beside


def _alike(a: str, b: str) -> float:
    if a == b:
        return 1.0
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return 0.0 if matcher.real_quick_ratio() < 0.1 else matcher.ratio()


def _distance(a: Block, b: Block, size: tuple[int, int]) -> float:
    x = abs(a.box[0] + a.box[2] - b.box[0] - b.box[2]) / 2 / size[0]
    y = abs(a.box[1] + a.box[3] - b.box[1] - b.box[3]) / 2 / size[1]
    return max(x, y)


def _cover(a: Rect, b: Rect) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (_area(a) + _area(b) - width * height)


def _area(box: Rect) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
