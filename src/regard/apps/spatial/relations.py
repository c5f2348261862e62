"""How things lie to each other, computed from their boxes: no model is asked.

On the picture: left of, right of, above, below (one of them for a pair, the axis on which the boxes lie further apart),
inside, and overlaps. In space, where boxes have a depth: in front of. Relations are said of the pair in the order in
which the things were found; the other way round follows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

from regard.apps.result import Box2D, Result
from regard.apps.spatial.merging import intersection
from regard.processing.coordinates import Box3D

Kind = Literal["left of", "right of", "above", "below", "inside", "around", "overlaps", "in front of", "behind"]

INSIDE = 0.95  # of a box inside another
OVERLAPPING = 0.05  # of the smaller box
MAX_THINGS = 60  # beyond, only this many are related: pairs grow with the square


class Relation(Result):
    """Thing number `a` lies so to thing number `b`; `amount` is the gap in pixels, the part covered, or metres."""

    a: int
    b: int
    text: str
    kind: Kind
    amount: float


def relations(boxes: Sequence[Box2D]) -> list[Relation]:
    """One relation for each pair of boxes, of the first `MAX_THINGS`."""
    found = []
    for (a, first), (b, second) in itertools.combinations(list(enumerate(boxes))[:MAX_THINGS], 2):
        kind, amount = _relation(first, second)
        found.append(Relation(a=a, b=b, text=_text(first.label, kind, second.label), kind=kind, amount=amount))
    return found


def depth_relations(boxes: Sequence[Box3D]) -> list[Relation]:
    """What is in front of what, where the difference is more than a tenth of the nearer one's depth."""
    found = []
    for (a, first), (b, second) in itertools.combinations(list(enumerate(boxes))[:MAX_THINGS], 2):
        nearer_by = _nearest(second) - _nearest(first)
        if abs(nearer_by) < 0.1 * min(abs(first.center[2]), abs(second.center[2])):
            continue
        kind: Kind = "in front of" if nearer_by > 0 else "behind"
        text = _text(first.label, kind, second.label)
        found.append(Relation(a=a, b=b, text=text, kind=kind, amount=abs(nearer_by)))
    return found


def _relation(a: Box2D, b: Box2D) -> tuple[Kind, float]:
    shared = intersection(a, b)
    smaller = min(a.area, b.area)
    if shared and smaller and shared >= INSIDE * smaller and a.area != b.area:
        return ("inside" if a.area < b.area else "around"), shared / smaller
    gaps: list[tuple[float, Kind]] = [
        (b.x1 - a.x2, "left of"),
        (a.x1 - b.x2, "right of"),
        (b.y1 - a.y2, "above"),
        (a.y1 - b.y2, "below"),
    ]
    gap, kind = max(gaps, key=lambda pair: pair[0])
    if gap < 0 and smaller and shared >= OVERLAPPING * smaller:
        return "overlaps", shared / smaller
    return kind, max(gap, 0.0)


def _nearest(box: Box3D) -> float:
    """The depth of the nearest side in metres, as if the box were a ball of its smallest side."""
    return box.center[2] - min(box.size) / 2


def _text(a: str, kind: str, b: str) -> str:
    return f"{a or 'it'} {kind} {b or 'it'}"
