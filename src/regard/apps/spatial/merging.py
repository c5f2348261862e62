"""Many boxes to those that are meant: what a looping answer repeats, and what two tiles both saw.

Without scores, the first of two boxes stays; with scores (`confidence`) the surer one.
"""

from __future__ import annotations

from collections.abc import Sequence

from regard.apps.result import Box2D, Point2D
from regard.apps.spatial.views import View
from regard.processing.coordinates import Box3D

SAME = 0.9  # IoU from which two boxes of one label are one that was written twice
SEEN_TWICE = 0.5  # IoU from which boxes of two tiles are one thing
COVERED = 0.7  # part of the smaller box inside the larger from which the smaller is a piece of it
SEAM_PX = 0.02  # of a tile's side: a box that ends so close to a seam may go on behind it


def iou(a: Box2D, b: Box2D) -> float:
    """Intersection over union, 0 to 1."""
    shared = intersection(a, b)
    return shared / (a.area + b.area - shared) if shared else 0.0


def intersection(a: Box2D, b: Box2D) -> float:
    """Square pixels that both cover."""
    return max(0.0, min(a.x2, b.x2) - max(a.x1, b.x1)) * max(0.0, min(a.y2, b.y2) - max(a.y1, b.y1))


def without_repeats(boxes: Sequence[Box2D]) -> tuple[list[Box2D], tuple[str, ...]]:
    """The boxes without those that have no area and those that come again, and in words how many were left out."""
    with_area = [box for box in boxes if box.width > 0 and box.height > 0]
    kept = suppressed(with_area, SAME)
    notes = (
        _left_out(len(boxes) - len(with_area), "box without area", "boxes without area"),
        _left_out(len(with_area) - len(kept), "repeated box", "repeated boxes"),
    )
    return kept, tuple(note for note in notes if note)


def without_repeated_points(points: Sequence[Point2D], *, apart_px: float) -> tuple[list[Point2D], tuple[str, ...]]:
    """The points without those that come again within `apart_px`, and in words how many were left out."""
    kept: list[Point2D] = []
    for point in points:
        if not any(p.label == point.label and abs(p.x - point.x) + abs(p.y - point.y) <= apart_px for p in kept):
            kept.append(point)
    note = _left_out(len(points) - len(kept), "repeated point", "repeated points")
    return kept, (note,) if note else ()


def without_repeated_spaces(boxes: Sequence[Box3D]) -> tuple[list[Box3D], tuple[str, ...]]:
    """The boxes in space without those of one label whose centres are within a tenth of their size."""
    kept: list[Box3D] = []
    for box in boxes:
        if not any(other.label == box.label and _is_same_place(other, box) for other in kept):
            kept.append(box)
    note = _left_out(len(boxes) - len(kept), "repeated box", "repeated boxes")
    return kept, (note,) if note else ()


def suppressed(boxes: Sequence[Box2D], limit: float) -> list[Box2D]:
    """Non-maximum suppression per label, in the order given."""
    order = sorted(range(len(boxes)), key=lambda n: (-(boxes[n].confidence or 0.0), n))
    kept: list[int] = []
    for number in order:
        box = boxes[number]
        if not any(boxes[k].label == box.label and iou(boxes[k], box) >= limit for k in kept):
            kept.append(number)
    return [boxes[number] for number in sorted(kept)]


def merged_tiles(found: Sequence[tuple[View, Sequence[Box2D]]], size: tuple[int, int]) -> list[Box2D]:
    """The boxes of several tiles, in pixels of the whole picture, each thing once.

    Two boxes of one label from two tiles are one thing if they overlap well, or if one is mostly inside the other.
    Where one of them ends at a seam, the thing is what both cover together.
    """
    things: list[tuple[Box2D, set[int], bool]] = []  # the box, the tiles that saw it, whether it ends at a seam
    for number, (view, boxes) in enumerate(found):
        for box in boxes:
            ends_at_seam = _ends_at_seam(box, view, size)
            for at, (other, tiles, other_ends) in enumerate(things):
                if number in tiles or other.label != box.label or not _is_one_thing(other, box):
                    continue
                is_cut = ends_at_seam or other_ends
                things[at] = (_joined(other, box) if is_cut else _better(other, box), tiles | {number}, is_cut)
                break
            else:
                things.append((box, {number}, ends_at_seam))
    return [box for box, _, _ in things]


def _is_one_thing(a: Box2D, b: Box2D) -> bool:
    shared = intersection(a, b)
    return iou(a, b) >= SEEN_TWICE or (shared > 0 and shared >= COVERED * min(a.area, b.area)) or _goes_on(a, b)


def _goes_on(a: Box2D, b: Box2D) -> bool:
    """Whether two boxes overlap and have much the same extent across the seam."""
    if not intersection(a, b):
        return False
    rows = (min(a.y2, b.y2) - max(a.y1, b.y1)) / max(a.y2 - a.y1, b.y2 - b.y1)
    columns = (min(a.x2, b.x2) - max(a.x1, b.x1)) / max(a.x2 - a.x1, b.x2 - b.x1)
    return max(rows, columns) >= 0.8 and min(rows, columns) >= 0.15


def _ends_at_seam(box: Box2D, view: View, size: tuple[int, int]) -> bool:
    near_x, near_y = SEAM_PX * view.size[0], SEAM_PX * view.size[1]
    return (
        (view.left > 0 and box.x1 - view.left <= near_x)
        or (view.right < size[0] and view.right - box.x2 <= near_x)
        or (view.top > 0 and box.y1 - view.top <= near_y)
        or (view.bottom < size[1] and view.bottom - box.y2 <= near_y)
    )


def _joined(a: Box2D, b: Box2D) -> Box2D:
    corners = {"x1": min(a.x1, b.x1), "y1": min(a.y1, b.y1), "x2": max(a.x2, b.x2), "y2": max(a.y2, b.y2)}
    return _better(a, b).model_copy(update=corners)


def _better(a: Box2D, b: Box2D) -> Box2D:
    return b if (b.confidence or 0.0) > (a.confidence or 0.0) else a


def _is_same_place(a: Box3D, b: Box3D) -> bool:
    reach = 0.1 * min(max(a.size), max(b.size))
    return max(abs(p - q) for p, q in zip((*a.center, *a.size), (*b.center, *b.size), strict=True)) <= reach


def _left_out(num: int, one: str, several: str) -> str:
    return f"left out {num} {one if num == 1 else several}" if num else ""
