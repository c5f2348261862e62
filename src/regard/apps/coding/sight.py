"""What a mock-up consists of, found in its pixels: grounds, lines of text, pictures, rules. No model is asked.

    sight = look(picture)
    sight.regions, sight.lines, sight.pictures, sight.rules

1. Pixels whose neighbours differ by at most `FLAT` levels belong together; pieces that hold a solid square of
   `SOLID_PX` are grounds: the page, bars, cards, buttons, fields. Everything else is ink.
2. A connected piece of ink that touches two grounds is a border between them; one that is long and thin is a rule;
   what lies on one ground only is a glyph, or a picture if it is large.
3. Grounds that are no rectangles or whose colour runs (a drawn landscape, a photograph, a round portrait) and large
   ink of many colours are pictures; what touches is one picture.
4. Glyphs on one ground, at one height, with gaps of less than `GAP` of their height make a line of text.

It is made for screens: even grounds, straight edges. On paper and photographs it finds pictures and little else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, sparse
from scipy.sparse import csgraph

FLAT = 2  # levels between neighbours on one ground: gradients pass, the soft corners of a border do not
FLAT_NOISY = 6  # the same in pictures that went through JPEG
CLEAN_SHARE = 0.4  # of neighbours that are equal, from which on a picture is not noisy
SOLID_PX = 9
GAP = 0.75  # of a line's height: blanks between words are about half of it, gaps between menu entries more than it
MIN_GAP_PX = 7
SHAPE_FILL = 0.84  # a pill of 88x40 px fills 0.90 of its box, a circle 0.79
RUNNING = 6.0  # standard deviation of a ground's levels from which its colour runs
MIN_PICTURE_PX = 20

IntBox = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, the last ones outside
Color = tuple[int, int, int]
Array = NDArray[Any]


@dataclass(frozen=True)
class Region:
    """An even ground with its outer box; `parent` is the region around it, -1 for the page.

    `border` is the colour just outside, `radius` that of the corners in pixels.
    """

    box: IntBox
    color: Color
    parent: int
    has_border: bool
    border: Color
    radius: int

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]


@dataclass(frozen=True)
class InkLine:
    """A line of text by its ink; `region` is the ground that it stands on, -1 for the page; `fill` the ink's share."""

    box: IntBox
    color: Color
    region: int
    num_glyphs: int
    is_underlined: bool = False
    fill: float = 0.0


@dataclass(frozen=True)
class Sight:
    """All that was found, in reading order; `page` is the colour of the page's ground."""

    width: int
    height: int
    page: Color
    regions: tuple[Region, ...]
    lines: tuple[InkLine, ...]
    pictures: tuple[IntBox, ...]
    rules: tuple[IntBox, ...]


def look(picture: Image.Image) -> Sight:
    """Find grounds, lines of text, pictures and rules."""
    pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    flat = _flat(pixels)
    solid = ndimage.minimum_filter(flat, SOLID_PX) == ndimage.maximum_filter(flat, SOLID_PX)
    numbers = np.unique(flat[solid])
    if not len(numbers):
        return Sight(width, height, tuple(map(int, pixels[0, 0])), (), (), ((0, 0, width, height),), ())  # type: ignore[arg-type]
    ground_of = np.zeros(int(flat.max()) + 1, dtype=np.int32)
    ground_of[numbers] = np.arange(1, len(numbers) + 1)
    grounds = ground_of[flat]  # 0: ink
    boxes = [_box(found) for found in ndimage.find_objects(grounds)]
    areas = np.bincount(grounds.ravel(), minlength=len(numbers) + 1)[1:]
    page = max(range(len(boxes)), key=lambda n: (_size(boxes[n]), areas[n]))
    ink, num_ink = ndimage.label(grounds == 0, structure=np.ones((3, 3)))
    ink_boxes = [_box(found) for found in ndimage.find_objects(ink)]
    ink_areas = np.bincount(ink.ravel(), minlength=num_ink + 1)[1:]
    touched = _touched(ink, grounds, num_ink)

    seeds = [boxes[n] for n in range(len(boxes)) if n != page and _is_shape(pixels, grounds, n, boxes[n], areas)]
    seeds += [ink_boxes[n] for n in range(num_ink) if _is_photo(pixels, ink, n, ink_boxes[n], int(ink_areas[n]))]
    pictures = [box for box in united(seeds, 3) if min(box[2] - box[0], box[3] - box[1]) >= MIN_PICTURE_PX]
    pictures = [box for box in pictures if _size(box) < 0.9 * width * height]

    cut = [box for n, box in enumerate(boxes) if n != page and areas[n] < 0.25 * width * height
           and any(_overlap(box, p) and not _inside(p, box) for p in pictures)]  # fmt: skip
    pictures = united([*pictures, *cut], 0)
    kept = [n for n in range(len(boxes)) if n != page and not any(_inside(boxes[n], p) for p in pictures)]
    kept = [n for n in kept if min(boxes[n][2] - boxes[n][0], boxes[n][3] - boxes[n][1]) >= 10]
    outlines, rules, glyphs = _sort_ink(ink_boxes, ink_areas, touched, pictures, boxes, page, (width, height))
    regions, region_of = _regions(pixels, grounds, boxes, kept, outlines, page)
    lines = _lines(pixels, ink, ink_boxes, glyphs, touched, region_of, regions, _color(pixels, grounds == page + 1))
    lines = [_underlined(line, rules) for line in lines]
    rules = [rule for rule in rules if not any(_underlines(rule, line) for line in lines)]
    lines.sort(key=lambda line: (line.box[1], line.box[0]))
    return Sight(
        width, height, _color(pixels, grounds == page + 1), tuple(regions), tuple(lines),
        tuple(sorted(pictures, key=lambda box: (box[1], box[0]))), tuple(rules),
    )  # fmt: skip


def _flat(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """A number for each pixel, equal where a way of small steps joins two pixels."""
    height, width = pixels.shape[:2]
    number = np.arange(height * width, dtype=np.int32).reshape(height, width)
    values = pixels.astype(np.int16)
    across = np.abs(values[:, 1:] - values[:, :-1]).max(axis=2)
    down = np.abs(values[1:] - values[:-1]).max(axis=2)
    step = FLAT if (across == 0).mean() > CLEAN_SHARE else FLAT_NOISY
    across, down = across <= step, down <= step
    rows = np.concatenate((number[:, :-1][across], number[:-1][down]))
    columns = np.concatenate((number[:, 1:][across], number[1:][down]))
    graph = sparse.coo_matrix((np.ones(len(rows), dtype=np.bool_), (rows, columns)), shape=(number.size, number.size))
    _, labels = csgraph.connected_components(graph, directed=False)
    return labels.reshape(height, width).astype(np.int32)


def _touched(ink: Array, grounds: Array, num_ink: int) -> list[dict[int, int]]:
    """For each piece of ink the grounds (0-based) beside it and how many pixels of them touch it."""
    touched: list[dict[int, int]] = [{} for _ in range(num_ink)]
    shifts = ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]))
    keys = []
    for first, second in shifts:
        for a, b in ((first, second), (second, first)):
            beside = (ink[a] > 0) & (grounds[b] > 0)
            keys.append(ink[a][beside].astype(np.int64) << 32 | grounds[b][beside].astype(np.int64))
    found, counts = np.unique(np.concatenate(keys), return_counts=True)
    for key, count in zip(found.tolist(), counts.tolist(), strict=True):
        touched[(key >> 32) - 1][(key & 0xFFFFFFFF) - 1] = count
    return touched


def _is_shape(pixels: Array, grounds: Array, number: int, box: IntBox, areas: Array) -> bool:
    """Whether a ground is part of a picture: no rectangle, or of a running colour."""
    if _size(box) < 200 or areas[number] > 0.25 * grounds.size:
        return False
    x1, y1, x2, y2 = box
    own = grounds[y1:y2, x1:x2] == number + 1
    colors = pixels[y1:y2, x1:x2][own].astype(np.float32)
    spread = float(colors.std(axis=0).max())
    if spread > RUNNING:
        return True
    filled = ndimage.binary_fill_holes(own).mean()
    is_notched = (
        x2 - x1 > 120 and y2 - y1 > 120 and filled > 0.5 and spread < 2
    )  # a ground behind others, cut by a side column
    return bool(filled < SHAPE_FILL and min(x2 - x1, y2 - y1) >= 12 and not is_notched)


def _is_photo(pixels: Array, ink: Array, number: int, box: IntBox, area: int) -> bool:
    x1, y1, x2, y2 = box
    if min(x2 - x1, y2 - y1) < MIN_PICTURE_PX or area < 0.45 * _size(box) or area < 600:
        return False
    own = pixels[y1:y2, x1:x2][ink[y1:y2, x1:x2] == number + 1] >> 5
    codes = own[:, 0].astype(np.int32) << 8 | own[:, 1].astype(np.int32) << 4 | own[:, 2]
    return len(np.unique(codes)) >= 24


def _sort_ink(
    ink_boxes: list[IntBox], ink_areas: Array, touched: list[dict[int, int]], pictures: list[IntBox],
    boxes: list[IntBox], page: int, size: tuple[int, int],
) -> tuple[dict[int, int], list[IntBox], list[int]]:  # fmt: skip
    """(region -> the ink that is its outline, rules, the numbers of glyphs)."""
    outlines: dict[int, int] = {}
    rules, glyphs = [], []
    for number, (box, beside) in enumerate(zip(ink_boxes, touched, strict=True)):
        width, height = box[2] - box[0], box[3] - box[1]
        if not beside or any(_inside(box, picture, 2) for picture in pictures):
            continue
        total = sum(beside.values())
        shared = [ground for ground, count in beside.items() if count >= 0.12 * total]
        inner = [g for g in beside if _inside(boxes[g], box) and _size(boxes[g]) > 0.55 * _size(box)]
        if (width > 24 and height <= 4) or (height > 24 and width <= 4):
            rules.append(box)
        elif inner and min(width, height) >= 12:
            outlines[inner[0]] = number
        elif len(shared) == 1 and height <= 0.25 * size[1] + 40 and width <= 30 * height:
            glyphs.append(number)
    return outlines, rules, glyphs


def _regions(
    pixels: Array, grounds: Array, boxes: list[IntBox], kept: list[int], outlines: dict[int, int], page: int
) -> tuple[list[Region], dict[int, int]]:
    """The regions from the outside in, and which region each ground is (-1: the page)."""
    order = sorted(kept, key=lambda n: -_size(boxes[n]))
    region_of = {page: -1}
    regions: list[Region] = []
    for number in order:
        box = boxes[number]
        around = [n for n, other in enumerate(regions) if _inside(box, other.box) and _size(other.box) > _size(box)]
        x1, y1, x2, y2 = box
        color = _color(pixels[y1:y2, x1:x2], grounds[y1:y2, x1:x2] == number + 1)
        middle = (y1 + y2) // 2
        edge = pixels[middle, max(x1 - 1, 0)]
        region_of[number] = len(regions)
        regions.append(Region(box, color, around[-1] if around else -1, number in outlines, _triple(edge),
                              _radius(grounds[y1:y2, x1:x2] == number + 1)))  # fmt: skip
    return regions, region_of


def _radius(own: Array) -> int:
    """Radius of the corner at the top left, from what is missing there: a corner lacks (1 - pi/4) r^2 pixels."""
    side = min(own.shape[0] // 2, own.shape[1] // 2, 40)
    corner = np.maximum.accumulate(np.maximum.accumulate(own[:side, :side], axis=0), axis=1)
    return min(round(float(np.sqrt((~corner).sum() / 0.2146))), side)


def _lines(
    pixels: Array, ink: Array, ink_boxes: list[IntBox], glyphs: list[int], touched: list[dict[int, int]],
    region_of: dict[int, int], regions: list[Region], page: Color,
) -> list[InkLine]:  # fmt: skip
    """Join glyphs from left to right: large ones make lines, dots and accents join the line that they are at."""
    where = {n: region_of.get(max(touched[n], key=lambda g: touched[n][g]), -1) for n in glyphs}
    glyphs = sorted(glyphs, key=lambda n: ink_boxes[n][0])
    large = [n for n in glyphs if ink_boxes[n][3] - ink_boxes[n][1] >= 5]
    joined: list[tuple[list[int], IntBox, int]] = []
    for n in large:
        box = ink_boxes[n]
        best, best_gap = -1, 1e9
        for index, (_, line, region) in enumerate(joined):
            tall = max(line[3] - line[1], box[3] - box[1])
            small = min(line[3] - line[1], box[3] - box[1])
            overlap = min(line[3], box[3]) - max(line[1], box[1])
            gap = box[0] - line[2]
            if region != where[n] or overlap < 0.5 * small or gap > max(GAP * tall, MIN_GAP_PX) or tall > 4.5 * small:
                continue
            if gap < best_gap:
                best, best_gap = index, gap
        if best < 0:
            joined.append(([n], box, where[n]))
        else:
            members, line, region = joined[best]
            joined[best] = ([*members, n], _union(line, box), region)
    for n in (n for n in glyphs if n not in set(large)):
        box = ink_boxes[n]
        for index, (members, line, region) in enumerate(joined):
            tall = line[3] - line[1]
            reach = (line[0] - 0.6 * tall, line[1] - 0.45 * tall, line[2] + 0.6 * tall, line[3] + 0.3 * tall)
            if region == where[n] and _inside(box, reach):
                joined[index] = ([*members, n], _union(line, box), region)
                break
    joined = _merged(joined)
    lines = []
    for members, box, region in joined:
        if box[2] - box[0] < 4 or box[3] - box[1] < 5:
            continue
        ground = regions[region].color if region >= 0 else page
        lines.append(InkLine(box, _ink_color(pixels, box, ground), region, len(members), fill=_fill(ink, box)))
    return lines


def _merged(lines: list[tuple[list[int], IntBox, int]]) -> list[tuple[list[int], IntBox, int]]:
    """Pieces of one line, which a comma that hangs below it has parted, as one."""
    result: list[tuple[list[int], IntBox, int]] = []
    for piece in sorted(lines, key=lambda line: line[1][0]):
        members, box, region = piece
        for index, (others, other, ground) in enumerate(result):
            tall = max(box[3] - box[1], other[3] - other[1])
            overlap = min(box[3], other[3]) - max(box[1], other[1])
            is_near = box[0] - other[2] <= max(GAP * tall, MIN_GAP_PX) and box[0] >= other[0]
            if region == ground and is_near and overlap > 0.3 * min(box[3] - box[1], other[3] - other[1]):
                result[index] = ([*others, *members], _union(other, box), region)
                break
        else:
            result.append(piece)
    return result


def _fill(ink: Array, box: IntBox) -> float:
    x1, y1, x2, y2 = box
    return float((ink[y1:y2, x1:x2] > 0).mean())


def _ink_color(pixels: Array, box: IntBox, ground: Color) -> Color:
    """The colour of the strokes: of the pixels that differ most from the ground, the middle one."""
    x1, y1, x2, y2 = box
    crop = pixels[y1:y2, x1:x2].reshape(-1, 3).astype(np.int32)
    away = np.abs(crop - np.array(ground)).sum(axis=1)
    return _triple(np.median(crop[away >= 0.85 * away.max()], axis=0))


def ink_color(picture: Image.Image, box: tuple[float, float, float, float], ground: Color) -> Color:
    """As the lines' own colour, for a box in any picture."""
    x1, y1 = max(int(box[0]), 0), max(int(box[1]), 0)
    x2, y2 = min(max(round(box[2]), x1 + 1), picture.width), min(max(round(box[3]), y1 + 1), picture.height)
    return _ink_color(np.asarray(picture), (x1, y1, x2, y2), ground) if x2 > x1 and y2 > y1 else ground


def _underlines(rule: IntBox, line: InkLine) -> bool:
    x1, _, x2, y2 = line.box
    tall = max(y2 - line.box[1], 8)
    is_below = -0.35 * tall <= rule[1] - y2 <= 4
    return is_below and rule[3] - rule[1] <= 3 and abs(rule[0] - x1) <= 4 and abs(rule[2] - x2) <= 4


def _underlined(line: InkLine, rules: list[IntBox]) -> InkLine:
    if any(_underlines(rule, line) for rule in rules):
        return replace(line, is_underlined=True)
    return line


def united(boxes: list[IntBox], reach: int) -> list[IntBox]:
    """Boxes that are at most `reach` pixels apart as one, until none are left."""
    result: list[IntBox] = []
    for box in boxes:
        grown = box
        while True:
            near = [
                o
                for o in result
                if _overlap((grown[0] - reach, grown[1] - reach, grown[2] + reach, grown[3] + reach), o)
            ]
            if not near:
                break
            for other in near:
                grown = _union(grown, other)
                result.remove(other)
        result.append(grown)
    return result


def _box(found: tuple[slice, ...]) -> IntBox:
    return found[1].start, found[0].start, found[1].stop, found[0].stop


def _size(box: IntBox) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _union(a: IntBox, b: IntBox) -> IntBox:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _overlap(a: IntBox, b: IntBox) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _inside(a: tuple[float, ...], b: tuple[float, ...], slack: float = 0) -> bool:
    return a[0] >= b[0] - slack and a[1] >= b[1] - slack and a[2] <= b[2] + slack and a[3] <= b[3] + slack


def _color(pixels: Array, mask: Array) -> Color:
    return _triple(np.median(pixels[mask], axis=0))


def _triple(values: Array) -> Color:
    red, green, blue = (int(value) for value in np.asarray(values).ravel()[:3])
    return red, green, blue
