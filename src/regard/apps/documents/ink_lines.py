"""Lines of text and their words, found from the ink of a page.

The cores of letters (the middle of their height, widened by less than a column gap) run together along a line and not
across lines: each connected piece of cores is a line. Dots, commas and accents join the line they stand in. Words are
told apart by the gaps, two kinds of which a line has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from regard.apps.documents.ink import Array, Components, Ink, groups_at, letter_height

CORE = 0.4  # of a letter's height
REACH = 0.6  # of a letter's height, to either side
MONO_REACH = 1.0  # where all letters are equally far apart, as words then are far apart too
Rect = tuple[int, int, int, int]


@dataclass(frozen=True)
class InkLine:
    """A line's box, the boxes of its words, and where its small letters begin and stand (pixels)."""

    box: Rect
    words: tuple[Rect, ...]
    band_top: int
    baseline: int

    @property
    def height(self) -> int:
        """Pixels."""
        return self.box[3] - self.box[1]

    @property
    def em(self) -> float:
        """The size of its letters in pixels: what a font calls its size, within a tenth or two."""
        band = max(1, self.baseline - self.band_top)
        ratio = self.height / band
        # With ascenders and descenders a line is 0.9 em high, with one of them 0.68, as capitals are.
        return self.height / min(max(0.66 + (ratio - 1.45) * 0.5, 0.66), 0.9)


def union(boxes: list[Rect] | tuple[Rect, ...]) -> Rect:
    """The smallest box around boxes."""
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return min(x1), min(y1), max(x2), max(y2)


def find_lines(ink: Ink, components: Components) -> list[InkLine]:
    """The lines of text that these components make, from top to bottom."""
    height = letter_height(components)
    if height == 0:
        return []
    is_letter = (components.height_N >= 0.45 * height) & (components.height_N <= 5 * height)
    letters, small = components.only(is_letter), components.only(~is_letter & (components.area_N >= 2))
    groups = _groups(ink, letters, height, REACH)
    pitch = _pitch(letters.box_N4, groups, height)
    if pitch:
        groups = _groups(ink, letters, height, MONO_REACH)
    parts = [letters.box_N4[groups == number] for number in np.unique(groups[groups >= 0])]
    parts, strays = _sorted_out(parts, height)
    boxes = np.concatenate([small.box_N4[small.height_N < height], *strays])
    parts, left = _with_small(parts, boxes, height)
    own = [box.reshape(1, 4) for box in left if box[3] - box[1] >= 0.45 * height]  # a letter in a cell of its own
    lines = [_line(part, pitch) for part in _joined(parts + own, ink, pitch)]
    return sorted(lines, key=lambda line: (line.box[1], line.box[0]))


def _pitch(box_N4: Array, groups: Array, height: float) -> float:
    """How far letters are apart in pixels, if they all are equally far (a typewriter's); else 0."""
    order = np.lexsort((box_N4[:, 0], groups))
    box, group = box_N4[order], groups[order]
    middle = (box[:, 0] + box[:, 2]) / 2
    step = np.diff(middle)[(np.diff(group) == 0) & (group[1:] >= 0)]
    step = step[(step > 0.3 * height) & (step < 2.5 * height)]
    if len(step) < 40:
        return 0.0
    usual = float(np.median(step))
    return usual if np.mean(np.abs(step - usual) < max(0.09 * usual, 1.1)) > 0.6 else 0.0


def _groups(ink: Ink, letters: Components, usual: float, reach_share: float) -> Array:
    """For each letter the number of the line it belongs to."""
    box = letters.box_N4
    height_px, width_px = ink.mask_HW.shape
    heights = letters.height_N
    middle = (box[:, 1] + box[:, 3]) // 2
    half = np.maximum((heights * CORE / 2).astype(np.int64), 1)
    reach = (reach_share * np.maximum(heights, 0.9 * usual)).astype(np.int64)
    # Differences summed twice paint thousands of rectangles at once.
    paint = np.zeros((height_px + 1, width_px + 1), dtype=np.int32)
    x1, x2 = np.maximum(box[:, 0] - reach, 0), np.minimum(box[:, 2] + reach, width_px)
    y1, y2 = np.maximum(middle - half, 0), np.minimum(middle + half + 1, height_px)
    for x, y, sign in ((x1, y1, 1), (x2, y1, -1), (x1, y2, -1), (x2, y2, 1)):
        np.add.at(paint, (y, x), sign)
    mask = np.cumsum(np.cumsum(paint, axis=0), axis=1)[:height_px, :width_px] > 0
    for left, top, right, bottom in ink.columns_R4:  # text does not run across the rule between two cells
        mask[top:bottom, max(0, left - 1) : right + 1] = False
    return groups_at(mask, (box[:, 0] + box[:, 2]) // 2, middle)


def _sorted_out(lines: list[Array], height: float) -> tuple[list[Array], list[Array]]:
    """Lines, and single low pieces (a dash, two letters of two lines grown together) that may belong to another one."""
    kept: list[Array] = []
    strays: list[Array] = []
    for line in lines:
        is_stray = len(line) <= 2 and (line[:, 3] - line[:, 1]).max() < 0.8 * height
        (strays if is_stray else kept).append(line)
    return kept, strays


def _with_small(lines: list[Array], small: Array, height: float) -> tuple[list[Array], list[Array]]:
    """The lines with the small pieces that stand in or beside them, and the pieces that stand alone."""
    if not lines:
        return [], list(small)
    boxes = np.array([[*line[:, :2].min(0), *line[:, 2:].max(0)] for line in lines])
    line_height = boxes[:, 3] - boxes[:, 1]
    added: dict[int, list[Array]] = {}
    left: list[Array] = []
    for piece in small:
        x, y = (piece[0] + piece[2]) / 2, (piece[1] + piece[3]) / 2
        across = np.maximum(np.maximum(boxes[:, 0] - x, x - boxes[:, 2]), 0.0)
        down = np.maximum(np.maximum(boxes[:, 1] - y, y - boxes[:, 3]), 0.0)
        is_near = (across <= 2.0 * np.maximum(line_height, height)) & (down <= 0.4 * line_height)
        if is_near.any():
            distance = np.where(is_near, across + 3 * down, np.inf)
            added.setdefault(int(np.argmin(distance)), []).append(piece)
        else:
            left.append(piece)
    grown = [np.concatenate([line, np.array(added[n])]) if n in added else line for n, line in enumerate(lines)]
    return grown, left


def _joined(lines: list[Array], ink: Ink, pitch: float) -> list[Array]:
    """Parts of a line that only a comma or a wide space held apart, as one."""
    made = sorted(((_line(line, pitch), line) for line in lines), key=lambda pair: pair[0].box[0])
    done: list[tuple[InkLine, Array]] = []
    for line, letters in made:
        for number in range(len(done) - 1, -1, -1):
            before, its = done[number]
            em = min(before.em, line.em)
            gap = line.box[0] - before.box[2]
            shared = min(line.box[3], before.box[3]) - max(line.box[1], before.box[1])
            is_level = abs(line.baseline - before.baseline) < 0.3 * em and shared > 0.4 * min(
                line.height, before.height
            )
            if (
                is_level
                and -em < gap < max(0.65 * em, 2.2 * pitch)
                and not _is_ruled(ink, before.box[2], line.box[0], line.baseline)
            ):
                both = np.concatenate([its, letters])
                done[number] = (_line(both, pitch), both)
                break
        else:
            done.append((line, letters))
    return [letters for _, letters in done]


def _is_ruled(ink: Ink, left: int, right: int, y: int) -> bool:
    """Whether an upright rule stands between two parts."""
    rules = ink.columns_R4
    return bool(
        ((rules[:, 0] >= left - 2) & (rules[:, 2] <= right + 2) & (rules[:, 1] <= y) & (rules[:, 3] >= y)).any()
    )


def _line(box_N4: Array, pitch: float) -> InkLine:
    """A line of its letters' boxes."""
    x1, y1 = (int(v) for v in box_N4[:, :2].min(0))
    x2, y2 = (int(v) for v in box_N4[:, 2:].max(0))
    heights = box_N4[:, 3] - box_N4[:, 1]
    full = box_N4[heights >= 0.4 * (y2 - y1)]
    full = full if len(full) else box_N4
    baseline = int(np.median(full[:, 3]))
    # Most letters of a text have neither ascender nor descender, so the lower quartile of heights is theirs.
    band_top = baseline - int(np.percentile(full[:, 3] - full[:, 1], 35))
    bare = InkLine((x1, y1, x2, y2), (), min(band_top, baseline - 1), baseline)
    return replace(bare, words=_words(box_N4, bare.em, pitch))


def _words(box_N4: Array, em: float, pitch: float) -> tuple[Rect, ...]:
    order = box_N4[np.argsort(box_N4[:, 0], kind="stable")]
    reached = np.maximum.accumulate(order[:, 2])
    gaps = order[1:, 0] - reached[:-1]
    limit = 0.85 * pitch if pitch else _word_gap(np.maximum(gaps, -0.1 * em), em)
    breaks = np.nonzero(gaps > limit)[0] + 1
    return tuple(
        (int(part[:, 0].min()), int(part[:, 1].min()), int(part[:, 2].max()), int(part[:, 3].max()))
        for part in np.split(order, breaks)
    )


def _word_gap(gaps: Array, em: float) -> float:
    """The width in pixels from which a gap parts words: where the gaps of a line fall into two kinds."""
    low, usual, high = max(1.5, 0.1 * em), max(1.5, 0.19 * em), 0.4 * em
    if len(gaps) < 3:
        return usual
    gaps = np.sort(np.minimum(gaps, high * 1.6))
    best, limit = 0.0, usual
    for cut in range(1, len(gaps)):
        narrow, wide = gaps[:cut], gaps[cut:]
        between = cut * (len(gaps) - cut) * (wide.mean() - narrow.mean()) ** 2
        if between > best:
            best, limit = between, float(narrow[-1] + wide[0]) / 2
    return float(min(max(limit, low), high))
