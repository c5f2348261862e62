"""Locating in scenes: overlap, relations, all of some categories, points, counts, boxes in space, two pictures.

Boxes in space are right if they share a quarter of their volume with the true one (IoU by counting points of a grid).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from regard.evals.answers import f1, first_count, first_mention, intersection_over_union, is_inside
from regard.evals.task import Measure, Task
from regard.processing.coordinates import find_boxes_and_points
from regard.train.world import spatial
from regard.train.world.sample import Sample

MIN_IOU, MIN_IOU_3D = 0.5, 0.25
_THOUSANDTHS = ((1000, 1000),)
_GRID = 24
_BOX_3D = re.compile(r'"bbox_3d"\s*:\s*\[([^\]]*)\]')
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def score(sample: Sample, answer: str) -> float:
    """0 or 1 for letters, counts and pictures; F1 for places."""
    return _SCORERS[sample.truth["kind"]](sample, answer)


def _letter(sample: Sample, answer: str) -> float:
    found = re.search(r"\b([A-D])\b", answer)
    return float(found is not None and found[1] == sample.truth["answer"])


def _count(sample: Sample, answer: str) -> float:
    return float(first_count(answer) == sample.truth["count"])


def _picture(sample: Sample, answer: str) -> float:
    return float(first_mention(answer, ("first", "second")) == sample.truth["answer"])


def _boxes(sample: Sample, answer: str) -> float:
    given, _ = find_boxes_and_points(answer, _THOUSANDTHS)
    wanted = list(sample.truth["boxes"])
    if not wanted:
        return float(not given and re.search(r"\[\s*\]", answer) is not None)
    num_right = 0
    for box in given:
        overlaps = [intersection_over_union((box.x1, box.y1, box.x2, box.y2), other) for other in wanted]
        if overlaps and max(overlaps) >= MIN_IOU:
            wanted.pop(overlaps.index(max(overlaps)))
            num_right += 1
    return f1(num_right, len(given), len(sample.truth["boxes"]))


def _points(sample: Sample, answer: str) -> float:
    _, given = find_boxes_and_points(answer, _THOUSANDTHS)
    wanted = list(sample.truth["boxes"])
    if not wanted:
        return float(not given and re.search(r"\[\s*\]", answer) is not None)
    num_right = 0
    for point in given:
        hit = next((box for box in wanted if is_inside(point.x, point.y, box)), None)
        if hit is not None:
            wanted.remove(hit)
            num_right += 1
    return f1(num_right, len(given), len(sample.truth["boxes"]))


def overlap_3d(a: Sequence[float], b: Sequence[float]) -> float:
    """IoU of two boxes (centre, size, and of the angles the one about the vertical, in units of pi)."""
    reach = [math.hypot(box[3], box[5]) / 2 for box in (a, b)]
    low = [min(a[i] - r, b[i] - s) for i, r, s in _extents(a, b, reach)]
    high = [max(a[i] + r, b[i] + s) for i, r, s in _extents(a, b, reach)]
    axes = [np.linspace(low[i], high[i], _GRID) for i in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    inside_a, inside_b = _inside(points, a), _inside(points, b)
    either = int((inside_a | inside_b).sum())
    return int((inside_a & inside_b).sum()) / either if either else 0.0


def _extents(a: Sequence[float], b: Sequence[float], reach: Sequence[float]) -> list[tuple[int, float, float]]:
    return [(0, reach[0], reach[1]), (1, a[4] / 2, b[4] / 2), (2, reach[0], reach[1])]


def _inside(points_N3: np.ndarray, box: Sequence[float]) -> np.ndarray:
    yaw = box[7] * math.pi
    x, y, z = (points_N3 - np.array(box[:3])).T
    across, along = x * math.cos(yaw) - z * math.sin(yaw), x * math.sin(yaw) + z * math.cos(yaw)
    inside: np.ndarray = (abs(across) <= box[3] / 2) & (abs(y) <= box[4] / 2) & (abs(along) <= box[5] / 2)
    return inside


def _space(sample: Sample, answer: str) -> float:
    given = [[float(v) for v in _NUMBER.findall(found)] for found in _BOX_3D.findall(answer)]
    given = [box for box in given if len(box) == 9 and max(map(abs, box)) < 1000]
    wanted = list(sample.truth["boxes_3d"])
    if not wanted:
        return float(not given and re.search(r"\[\s*\]", answer) is not None)
    num_right = 0
    for box in given[:20]:
        overlaps = [overlap_3d(box, other) for other in wanted]
        if overlaps and max(overlaps) >= MIN_IOU_3D:
            wanted.pop(overlaps.index(max(overlaps)))
            num_right += 1
    return f1(num_right, len(given), len(sample.truth["boxes_3d"]))


_SCORERS: dict[str, Callable[[Sample, str], float]] = {
    "front": _letter,
    "side": _letter,
    "locate": _boxes,
    "every": _boxes,
    "points": _points,
    "count": _count,
    "space": _space,
    "pictures": _picture,
}


def _of_kinds(*kinds: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.truth["kind"] in kinds


def _is_absent(sample: Sample) -> bool:
    return sample.truth.get("boxes", sample.truth.get("boxes_3d")) == []


def _make(rng: np.random.Generator, number: int) -> Sample:
    return spatial.make(rng, held_out=True)


TASK = Task(
    name="spatial",
    title="locating in scenes, in the prompts of `regard locate`",
    make=_make,
    score=score,
    measures=(
        Measure("boxes (F1 at IoU 0.5)", score, _of_kinds("locate", "every"), goal=0.80),
        Measure("points (F1)", score, _of_kinds("points")),
        Measure("nothing where nothing is", score, _is_absent, goal=0.90),
        Measure("which is in front", score, _of_kinds("front"), goal=0.95),
        Measure("on which side", score, _of_kinds("side"), goal=0.95),
        Measure("counts", score, _of_kinds("count"), goal=0.95),
        Measure("boxes in space (F1 at IoU 0.25)", score, _of_kinds("space")),
        Measure("which of two pictures", score, _of_kinds("pictures")),
    ),
)
