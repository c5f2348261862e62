"""The ink of a page: which pixels are written, the connected pieces of it, the rules, and how far the page is turned.

Everything here looks at the picture alone, with numpy. Ink is what differs from its surroundings' paper, so dark text
on light and light text on dark are both found. Pieces ("components") are letters, parts of letters and drawings,
each with its box; rules are long straight strokes, kept apart because they join what is written beside them.

The page is looked at in half its size when it is large: letters stay apart, and it takes a tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

Array = np.ndarray

BLOCK_PX = 24  # the paper's brightness is measured in squares of this side
MIN_CONTRAST = 40  # of 255: what differs less from the paper is no ink
MAX_SIDE = 2400  # larger pages are looked at in a whole fraction of their size
RULE_PX = 48  # straight strokes from this length are rules, at least three times the usual letter
THICKEST_RULE = 7


@dataclass(frozen=True)
class Components:
    """Boxes of connected ink, N x 4: x1, y1, x2, y2 in pixels (ends are outside); `area_N` counts their pixels."""

    box_N4: Array
    area_N: Array

    @property
    def height_N(self) -> Array:
        """Pixels."""
        return self.box_N4[:, 3] - self.box_N4[:, 1]

    @property
    def width_N(self) -> Array:
        """Pixels."""
        return self.box_N4[:, 2] - self.box_N4[:, 0]

    def only(self, keep_N: Array) -> Components:
        """Those that a mask keeps."""
        return Components(self.box_N4[keep_N], self.area_N[keep_N])


@dataclass(frozen=True)
class Ink:
    """What is written on a page. `scale` times a place here is the place in the picture."""

    mask_HW: Array  # bool, rules left out
    components: Components
    rows_R4: Array  # horizontal rules as boxes
    columns_R4: Array  # vertical rules as boxes
    scale: int


def find_ink(picture: Image.Image) -> Ink:
    """The ink of a picture of any size."""
    scale = max(1, -(-max(picture.size) // MAX_SIDE))
    gray = picture.convert("L")
    if scale > 1:
        gray = gray.reduce(scale)
    mask_HW = ink_mask(np.asarray(gray))
    rows_R4, columns_R4 = find_rules(mask_HW)
    plain_HW = mask_HW.copy()
    for x1, y1, x2, y2 in np.concatenate([rows_R4, columns_R4]):
        plain_HW[y1:y2, x1:x2] = False
    return Ink(plain_HW, find_components(plain_HW), rows_R4, columns_R4, scale)


def ink_mask(gray_HW: Array) -> Array:
    """True where a pixel differs from the paper around it."""
    height, width = gray_HW.shape
    rows, columns = -(-height // BLOCK_PX), -(-width // BLOCK_PX)
    padded = np.pad(gray_HW, ((0, rows * BLOCK_PX - height), (0, columns * BLOCK_PX - width)), mode="edge")
    blocks = padded.reshape(rows, BLOCK_PX, columns, BLOCK_PX).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    paper = np.median(blocks[..., ::3], axis=-1).astype(np.int16)
    # Large letters fill a square: the paper of a square is what most of the 3x3 squares around agree on.
    edge = np.pad(paper, 1, mode="edge")
    around = np.stack([edge[y : y + rows, x : x + columns] for y in range(3) for x in range(3)])
    paper = np.median(around, axis=0).astype(np.int16)
    paper_HW = np.repeat(np.repeat(paper, BLOCK_PX, 0), BLOCK_PX, 1)[:height, :width]
    difference = np.abs(gray_HW.astype(np.int16) - paper_HW)
    strongest = float(np.percentile(difference, 99.5)) if difference.size else 0.0
    return difference > max(MIN_CONTRAST, 0.35 * strongest)


def find_rules(mask_HW: Array) -> tuple[Array, Array]:
    """Horizontal and vertical straight strokes, as boxes (R x 4 each)."""
    return _rules(mask_HW), _rules(mask_HW.T)[:, [1, 0, 3, 2]]


def _rules(mask_HW: Array) -> Array:
    starts, ends, rows = runs_of(mask_HW)
    long = ends - starts >= RULE_PX
    solid = np.zeros(mask_HW.shape, dtype=bool)
    for start, end, row in zip(starts[long], ends[long], rows[long], strict=True):
        solid[row, start:end] = True
    found = find_components(solid)
    thin = (found.height_N <= THICKEST_RULE) & (found.width_N >= 6 * found.height_N)
    return found.box_N4[thin].astype(np.int64).reshape(-1, 4)


def runs_of(mask_HW: Array) -> tuple[Array, Array, Array]:
    """Start, end (outside) and row of every horizontal run of True, row by row."""
    padded = np.zeros((mask_HW.shape[0], mask_HW.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask_HW
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    _, ends = np.nonzero(change == -1)
    return starts, ends, rows


def find_components(mask_HW: Array) -> Components:
    """The 8-connected pieces of a mask."""
    starts, ends, rows = runs_of(mask_HW)
    if len(starts) == 0:
        return Components(np.zeros((0, 4), dtype=np.int64), np.zeros(0, dtype=np.int64))
    _, label = np.unique(_joined(starts, ends, rows, mask_HW.shape), return_inverse=True)
    num = int(label.max()) + 1
    box = np.empty((num, 4), dtype=np.int64)
    box[:, :2] = np.iinfo(np.int64).max
    box[:, 2:] = -1
    np.minimum.at(box[:, 0], label, starts)
    np.minimum.at(box[:, 1], label, rows)
    np.maximum.at(box[:, 2], label, ends)
    np.maximum.at(box[:, 3], label, rows + 1)
    area = np.bincount(label, weights=ends - starts, minlength=num).astype(np.int64)
    return Components(box, area)


def groups_at(mask_HW: Array, x_N: Array, y_N: Array) -> Array:
    """The number of the connected piece of a mask that holds each place; -1 where it is not set."""
    starts, ends, rows = runs_of(mask_HW)
    if len(starts) == 0:
        return np.full(len(x_N), -1)
    _, label = np.unique(_joined(starts, ends, rows, mask_HW.shape), return_inverse=True)
    stride = mask_HW.shape[1] + 4
    run = np.searchsorted(rows * stride + starts, y_N * stride + x_N, side="right") - 1
    run = np.maximum(run, 0)
    is_inside = (rows[run] == y_N) & (starts[run] <= x_N) & (x_N < ends[run])
    return np.where(is_inside, label[run], -1)


def _joined(starts: Array, ends: Array, rows: Array, shape: tuple[int, ...]) -> Array:
    """For each run the lowest run that it hangs together with."""
    # Keys that grow row by row make "the runs of the row above that touch this one" two binary searches.
    stride = shape[1] + 4
    start_key, end_key = rows * stride + starts, rows * stride + ends
    first = np.searchsorted(end_key, start_key - stride, side="left")  # touching diagonally counts
    last = np.searchsorted(start_key, end_key - stride, side="right")
    counts = np.maximum(last - first, 0)
    lower = np.repeat(np.arange(len(starts)), counts)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    upper = np.repeat(first, counts) + offsets
    parent = np.arange(len(starts))
    while True:  # pointers jump until nothing changes: a few rounds
        a, b = parent[lower], parent[upper]
        low, high = np.minimum(a, b), np.maximum(a, b)
        if (low == high).all():
            return parent
        np.minimum.at(parent, high, low)
        while True:
            jumped = parent[parent]
            if (jumped == parent).all():
                break
            parent = jumped


def letter_height(components: Components) -> float:
    """The usual height of a letter in pixels, 0 where nothing looks like one."""
    looks_like = (components.height_N >= 5) & (components.width_N <= 8 * components.height_N) & (components.area_N >= 8)
    heights = components.height_N[looks_like]
    if len(heights) == 0:
        return 0.0
    # Pages hold specks and dots as well: every letter counts by its height.
    order = np.sort(heights)
    weight = np.cumsum(order)
    return float(order[np.searchsorted(weight, weight[-1] / 2)])


def is_sideways(components: Components) -> bool:
    """Whether lines of text run from top to bottom: letters' edges then line up in columns, also on a leaning page."""
    letters = _letters(components)
    if len(letters.box_N4) < 12:
        return False
    cell = max(1.0, letter_height(components) / 5)
    angles = np.arange(-5.0, 5.01, 0.5)
    x1, y1, x2, y2 = letters.box_N4.T.astype(float)
    rows = max(_sharpness((x1 + x2) / 2, edge, angle, cell) for edge in (y1, y2) for angle in angles)
    columns = max(_sharpness((y1 + y2) / 2, edge, angle, cell) for edge in (x1, x2) for angle in angles)
    return columns > 1.1 * rows


def _sharpness(along_N: Array, across_N: Array, degrees: float, cell: float) -> float:
    """How much places crowd on lines that lean by an angle; the more, the fewer places share a line by chance."""
    rows = ((across_N - along_N * np.tan(np.radians(degrees))) / cell).astype(np.int64)
    counts = np.bincount(rows - rows.min()).astype(float)
    return float((counts**2).sum()) * len(counts) / len(along_N) ** 2


def _letters(components: Components) -> Components:
    height = letter_height(components)
    return components.only(
        (components.height_N >= 0.4 * height)
        & (components.height_N <= 2.5 * height)
        & (components.width_N <= 4 * height)
        & (components.area_N >= 6)
    )


def skew_degrees(components: Components) -> float:
    """How far lines of text fall to the right (positive: clockwise), within 5 degrees; 0 where it cannot be told."""
    letters = _letters(components)
    box = letters.box_N4
    if len(box) < 30:
        return 0.0
    x, y = (box[:, 0] + box[:, 2]) / 2, box[:, 3].astype(float)
    cell = max(1.0, letter_height(components) / 5)

    def sharpness(degrees: float) -> float:
        return _sharpness(x, y, degrees, cell)

    coarse = np.arange(-5.0, 5.01, 0.25)
    best = float(coarse[int(np.argmax([sharpness(angle) for angle in coarse]))])
    fine = best + np.arange(-0.25, 0.26, 0.05)
    values = [sharpness(angle) for angle in fine]
    # The top is flat where letters are few: its middle is the best guess.
    best = float(np.mean([angle for angle, value in zip(fine, values, strict=True) if value > 0.985 * max(values)]))
    is_clear = max(values) > 1.1 * sharpness(0.0)
    return round(best, 2) if is_clear and abs(best) >= 0.2 else 0.0
