"""What triangles, circles and rectangles share: numbers of a split, names, outlines that fit, labels along them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from regard.train.world.figure_canvas import XY, Canvas, between, unit
from regard.train.world.figure_problem import Fact, Part, is_unseen, near
from regard.train.world.shapes import RGB, choose, spread

TRIPLES = ((3, 4, 5), (6, 8, 10), (5, 12, 13), (9, 12, 15), (8, 15, 17), (12, 16, 20), (7, 24, 25), (10, 24, 26),
            (15, 20, 25), (20, 21, 29), (21, 28, 35), (18, 24, 30), (12, 9, 15), (16, 30, 34))  # fmt: skip
_TRAINING_NAMES = ("ABC", "ABC", "PQR", "XYZ", "KLM", "ACB", "BCA", "UVW", "EFG")
_HELD_OUT_NAMES = ("DEF", "RST", "MNP", "GHK", "CAB")


def values(canvas: Canvas, combinations: Sequence[Sequence[float]]) -> list[float]:
    """One combination of numbers of this split; training never sees the held-out ones."""
    usable = [c for c in combinations if is_unseen([float(v) for v in c]) == canvas.held_out]
    return [float(value) for value in choose(canvas.rng, usable or list(combinations))]


def three_names(canvas: Canvas) -> tuple[str, str, str]:
    names = choose(canvas.rng, _HELD_OUT_NAMES if canvas.held_out else _TRAINING_NAMES)
    return names[0], names[1], names[2]


def side_name(a: str, b: str) -> str:
    return "".join(sorted((a, b)))


def find(rng: np.random.Generator, asked: str) -> str:
    what = asked if asked[0].isupper() or asked.startswith("angle") else f"the {asked}"
    return choose(rng, ("Find {}.", "What is {}?", "Calculate {}.", "Work out {}.")).format(what)


def kind_fact(answer: str) -> Fact:
    return Fact(("What figure is this?", "What does the picture show?", "Which kind of figure is shown?"), answer)


def tint(canvas: Canvas) -> RGB | None:
    """A fill that labels can be read on: only ever a little off the background's own lightness."""
    if canvas.rng.random() < 0.6:
        return None
    is_light = canvas.ink[0] < 128
    base = 238 if is_light else 30
    red, green, blue = (int(base + v) for v in canvas.rng.integers(-14, 15, 3))
    return red, green, blue


def fit(canvas: Canvas, corners: Sequence[XY], *, is_turned: bool = True) -> list[XY]:
    """The outline turned, sometimes mirrored, and made as large as labels around it allow."""
    rng = canvas.rng
    turn = math.radians(spread(rng, 0, 360, held_out=canvas.held_out)) if is_turned else 0.0
    flip = -1.0 if rng.random() < 0.5 else 1.0
    turned = [
        (flip * (x * math.cos(turn) - y * math.sin(turn)), -(x * math.sin(turn) + y * math.cos(turn)))
        for x, y in corners
    ]
    left, right = min(x for x, _ in turned), max(x for x, _ in turned)
    top, bottom = min(y for _, y in turned), max(y for _, y in turned)
    margin_x, margin_y = 26 + canvas.line_height * 0.8, canvas.line_height * 1.15
    room_x, room_y = canvas.width - 2 * margin_x, canvas.height - 2 * margin_y
    scale = min(room_x / (right - left), room_y / (bottom - top)) * spread(rng, 0.85, 1.0, held_out=canvas.held_out)
    dx = (canvas.width - scale * (left + right)) / 2
    dy = (canvas.height - scale * (top + bottom)) / 2
    return [(x * scale + dx, y * scale + dy) for x, y in turned]


def middle_of(corners: Sequence[XY]) -> XY:
    return sum(x for x, _ in corners) / len(corners), sum(y for _, y in corners) / len(corners)


def name_corners(canvas: Canvas, names: Sequence[str], corners: Sequence[XY]) -> bool:
    middle = middle_of(corners)
    return all(canvas.label_beside(n, c, unit(middle, c), 3) for n, c in zip(names, corners, strict=True))


def name_sides(
    canvas: Canvas, corners: Sequence[XY], sides: dict[str, tuple[int, int]], labels: dict[str, str]
) -> bool:
    """Write each label outside the middle of its side."""
    middle = middle_of(corners)
    for side, text in labels.items():
        a, b = (corners[i] for i in sides[side])
        along, centre = unit(a, b), between(a, b)
        normal = (-along[1], along[0])
        if (centre[0] - middle[0]) * normal[0] + (centre[1] - middle[1]) * normal[1] < 0:
            normal = (-normal[0], -normal[1])
        if not canvas.label_beside(text, centre, normal, 3):
            return False
    return True


def corner_parts(names: Sequence[str], corners: Sequence[XY], sides: dict[str, tuple[int, int]]) -> tuple[Part, ...]:
    """Corners, angles (a little inside their corners) and sides (their middles)."""
    middle = middle_of(corners)
    parts = [near(name, corner) for name, corner in zip(names, corners, strict=True)]
    for name, corner in zip(names, corners, strict=True):
        inward = unit(corner, middle)
        parts.append(near(f"angle {name}", (corner[0] + 8 * inward[0], corner[1] + 8 * inward[1]), reach=16))
    parts += [near(f"side {side}", between(corners[i], corners[j]), reach=16) for side, (i, j) in sides.items()]
    return tuple(parts)
