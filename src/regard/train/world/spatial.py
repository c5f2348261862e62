"""Scenes for locating: overlapping shapes, boxes in space under a known camera, two pictures in one conversation.

Every truth has a `kind`:

    front      which of two overlapping shapes is in front; options with letters; truth answer (a letter)
    side       where one lies relative to the other; options with letters; truth answer
    locate     boxes in the prompts of `regard locate`, "[]" where there is none; truth boxes (0-1000)
    every      all of some categories, grouped as asked; truth boxes
    points     all of one category as points; truth boxes (the points must lie inside)
    count      a bare number; truth count
    space      boxes in metres, camera frame x right, y down, z forward, angles in units of pi; truth boxes_3d
    pictures   which of two pictures shows a thing, or more of it; truth answer

The camera sees 60 degrees on both axes, as in the family's cookbook. Boxes in space stand on a floor 1.2 to 1.6 m below
the camera, and none hides more than a part of another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from regard.messages import Image, Message, Text
from regard.train.world.sample import Area, Clue, DenseTruth, Item, Sample
from regard.train.world.screen_lists import NOTHING, fenced, thousandths
from regard.train.world.shapes import (
    COLOURS,
    SHAPES,
    Background,
    Shape,
    choose,
    free_place,
    is_unseen,
    paint_background,
    paint_shape,
    plural,
    random_background,
    random_rgb,
    random_turn,
    wear,
)
from regard.train.world.turns import join

LOCATE = "Locate the {}, report the bbox coordinates in JSON format."
EVERY = 'Locate every instance that belongs to the following categories: "{}". Report bbox coordinates in JSON format.'
POINTS = (
    "Locate every {0} with points, report their point coordinates in JSON format like this: "
    '{{"point_2d": [x, y], "label": "{0}"}}'
)
FRONT = (
    "Which object is in front, partly covering the other?\nAnswer options:\nA.{}\nB.{}\n"
    "Answer with the option's letter."
)
SIDE = "Where is the {} relative to the {}?\nAnswer options:\nA.left\nB.right\nC.above\nD.below"
COUNT = "How many {} are in the image?"
SPACE = (
    "Find all {0} in this image. For each {1}, provide its 3D bounding box. The output format required is JSON: "
    '`[{{"bbox_3d":[x_center, y_center, z_center, x_size, y_size, z_size, roll, pitch, yaw],"label":"category"}}]`.'
)
_SIZES = ((192, 192), (224, 192), (256, 192), (224, 224), (256, 224))
_HELD_OUT_SIZES = ((256, 256), (240, 200), (288, 208))
_HALF_VIEW = math.tan(math.radians(30))
_FACES = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))

Asked = tuple[str, str, dict[str, Any], tuple[Clue, ...]]  # question, answer, truth, what the answer is about


@dataclass(frozen=True)
class Layout:
    """Shapes from back to front; `pair` is (behind, in front) where two overlap."""

    size: tuple[int, int]
    background: Background
    shapes: tuple[Shape, ...]
    pair: tuple[Shape, Shape] | None


def make(rng: np.random.Generator, *, held_out: bool, num_turns: int = 1) -> Sample:
    """One scene with up to `num_turns` questions and their answers; `truth` belongs to the first."""
    kind = choose(rng, ("shapes", "space", "pictures"), weights=(0.62, 0.26, 0.12))
    if kind == "space":
        return _space(rng, held_out=held_out)
    if kind == "pictures":
        return _pictures(rng, held_out=held_out)
    layout = _layout(rng, held_out=held_out)
    picture = _paint(rng, layout)
    boxes = tuple(Item(shape.name, _clipped(shape, layout.size), shape.colour) for shape in layout.shapes)
    asked = _first(rng, layout)
    samples = [_sample(picture, asked, DenseTruth(items=boxes))]
    for _ in range(num_turns - 1):
        samples.append(_sample(picture, _first(rng, layout), None))
    return join(samples)


def _sample(picture: PILImage.Image, asked: Asked, dense: DenseTruth | None) -> Sample:
    question, answer, truth, clues = asked
    messages = (Message("user", (Image(picture), Text(question))), Message("assistant", (Text(answer),)))
    return Sample("spatial", messages, truth, dense, (clues,))


# --- shapes ---------------------------------------------------------------------------------------------------------


def _layout(rng: np.random.Generator, *, held_out: bool) -> Layout:
    """Up to five shapes; in most pictures two of them overlap by a quarter to a half of their size."""
    width, height = choose(rng, _HELD_OUT_SIZES if held_out else _SIZES)
    background = random_background(rng, held_out=held_out)

    def drawn(diameter: float) -> Shape:
        while True:
            name, colour = choose(rng, SHAPES), choose(rng, COLOURS)
            rgb = random_rgb(rng, colour, held_out=held_out)
            if background.allows(rgb) and (held_out or not is_unseen(name, colour)):
                return Shape(name, colour, rgb, 0, 0, diameter, random_turn(rng, name))

    placed: list[Shape] = []
    pair = None
    if rng.random() < 0.75:
        back = drawn(float(rng.uniform(50, 72)))
        place = free_place(rng, back.box, width, height, [])
        if place is not None:
            back = replace(back, x=place[0], y=place[1])
            front = drawn(float(rng.uniform(36, 56)))
            while front.colour == back.colour:
                front = drawn(front.diameter)
            angle, reach = rng.uniform(0, 2 * math.pi), (back.diameter + front.diameter) / 2 * rng.uniform(0.45, 0.6)
            x, y = back.x + reach * math.cos(angle), back.y + reach * math.sin(angle)
            front = replace(front, x=float(x), y=float(y))
            x1, y1, x2, y2 = front.box
            if x1 >= 2 and y1 >= 2 and x2 <= width - 2 and y2 <= height - 2:
                pair = (back, front)
            placed = [back, *([front] if pair else [])]
    for _ in range(int(rng.integers(0 if placed else 1, 4))):
        shape = drawn(float(rng.uniform(26, 52)))
        place = free_place(rng, shape.box, width, height, [other.box for other in placed])
        if place is not None:
            placed.append(replace(shape, x=place[0], y=place[1]))
    return Layout((width, height), background, tuple(placed), pair)


def _paint(rng: np.random.Generator, layout: Layout) -> PILImage.Image:
    picture = paint_background(rng, layout.background, *layout.size)
    for shape in layout.shapes:
        paint_shape(picture, shape)
    return wear(rng, picture)


def _clipped(shape: Shape, size: tuple[int, int]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = shape.box
    return max(x1, 0), max(y1, 0), min(x2, size[0]), min(y2, size[1])


def _first(rng: np.random.Generator, layout: Layout) -> Asked:
    asks: tuple[Callable[[np.random.Generator, Layout], Asked | None], ...]
    asks = (_ask_front, _ask_side, _ask_locate, _ask_every, _ask_points, _ask_count)
    while True:
        asked = choose(rng, asks, weights=(0.24, 0.16, 0.24, 0.16, 0.1, 0.1))(rng, layout)
        if asked is not None:
            return asked


def _ask_front(rng: np.random.Generator, layout: Layout) -> Asked | None:
    if layout.pair is None:
        return None
    back, front = layout.pair
    labels = [shape.label for shape in layout.shapes]
    if labels.count(back.label) > 1 or labels.count(front.label) > 1:
        return None
    is_a = bool(rng.random() < 0.5)
    options = (front, back) if is_a else (back, front)
    answer = "A" if is_a else "B"
    clue = _compared(layout, answer, *options)
    return FRONT.format(*(shape.label for shape in options)), answer, {"kind": "front", "answer": answer}, (clue,)


def _compared(layout: Layout, answer: str, a: Shape, b: Shape) -> Clue:
    return Clue(answer, _areas(layout, [a]), ((a.label, _areas(layout, [a])), (b.label, _areas(layout, [b]))))


def _areas(layout: Layout, shapes: Sequence[Shape]) -> tuple[Area, ...]:
    width, height = layout.size
    boxes = (_clipped(shape, layout.size) for shape in shapes)
    return tuple(Area((x1 / width, y1 / height, x2 / width, y2 / height)) for x1, y1, x2, y2 in boxes)


def _ask_side(rng: np.random.Generator, layout: Layout) -> Asked | None:
    labels = [shape.label for shape in layout.shapes]
    unique = [shape for shape in layout.shapes if labels.count(shape.label) == 1]
    if len(unique) < 2:
        return None
    a, b = (unique[int(i)] for i in rng.permutation(len(unique))[:2])
    dx, dy = a.x - b.x, a.y - b.y
    if min(abs(dx), abs(dy)) * 2 > max(abs(dx), abs(dy)) or max(abs(dx), abs(dy)) < 20:
        return None  # two answers would be right
    answer = ("A" if dx < 0 else "B") if abs(dx) > abs(dy) else ("C" if dy < 0 else "D")
    clue = _compared(layout, answer, a, b)
    return SIDE.format(a.label, b.label), answer, {"kind": "side", "answer": answer}, (clue,)


def _found(layout: Layout, category: str) -> list[Shape]:
    """Shapes of a category (a shape, a colour with a shape, "shape"), in reading order."""
    found = [s for s in layout.shapes if category in (s.label, s.name, "shape")]
    return sorted(found, key=lambda s: (int(s.y / layout.size[1] * 4), s.x))


def _category(rng: np.random.Generator, layout: Layout) -> str:
    """Mostly something that is there."""
    if rng.random() < 0.75:
        shape = choose(rng, layout.shapes)
        return choose(rng, (shape.label, shape.label, shape.name))
    return choose(rng, (choose(rng, SHAPES), f"{choose(rng, COLOURS)} {choose(rng, SHAPES)}"))


def _places(layout: Layout, shapes: Sequence[Shape]) -> list[list[int]]:
    return [thousandths(_clipped(shape, layout.size), layout.size) for shape in shapes]


def _ask_locate(rng: np.random.Generator, layout: Layout) -> Asked | None:
    category = _category(rng, layout)
    boxes = _places(layout, _found(layout, category))
    lines = [json.dumps({"bbox_2d": box, "label": category}) for box in boxes]
    return LOCATE.format(category), fenced(lines), {"kind": "locate", "boxes": boxes}, ()


def _ask_every(rng: np.random.Generator, layout: Layout) -> Asked | None:
    names = list(dict.fromkeys(_category(rng, layout) for _ in range(int(rng.integers(1, 4)))))
    names = [n for n in names if not any(n != other and n in other for other in names)] or names[:1]
    boxes: list[list[int]] = []
    lines = []
    for name in names:
        places = _places(layout, _found(layout, name))
        boxes += places
        lines += [json.dumps({"bbox_2d": box, "label": name}) for box in places]
    return EVERY.format(", ".join(names)), fenced(lines), {"kind": "every", "boxes": boxes}, ()


def _ask_points(rng: np.random.Generator, layout: Layout) -> Asked | None:
    category = _category(rng, layout)
    boxes = _places(layout, _found(layout, category))
    points = [[(b[0] + b[2]) // 2, (b[1] + b[3]) // 2] for b in boxes]
    lines = [json.dumps({"point_2d": point, "label": category}) for point in points]
    return POINTS.format(category), fenced(lines) if lines else NOTHING, {"kind": "points", "boxes": boxes}, ()


def _ask_count(rng: np.random.Generator, layout: Layout) -> Asked | None:
    category = _category(rng, layout)
    areas = _areas(layout, _found(layout, category))
    answer, things = str(len(areas)), plural(category)
    clue = Clue(answer, areas, ((things, areas),))
    return COUNT.format(things), answer, {"kind": "count", "count": len(areas)}, (clue,)


# --- boxes in space -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Solid:
    """A cube or box on the floor; centre and size in metres, turned about the vertical by `yaw` radians."""

    label: str
    rgb: tuple[int, int, int]
    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float

    def corners(self) -> np.ndarray:
        """(8, 3) in the camera's frame."""
        signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        corners: np.ndarray = signs * self.size @ turn.T + self.centre
        return corners


def project(points_N3: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Camera coordinates to pixels, (N, 2). The camera sees 60 degrees on both axes."""
    width, height = size
    focal = np.array([width, height]) / (2 * _HALF_VIEW)
    projected: np.ndarray = focal * points_N3[:, :2] / points_N3[:, 2:] + np.array([width, height]) / 2
    return projected


def _space(rng: np.random.Generator, *, held_out: bool) -> Sample:
    """One to three solids on a floor, and the question for one kind of them."""
    size = choose(rng, _HELD_OUT_SIZES if held_out else _SIZES)
    floor = float(rng.uniform(1.2, 1.6))
    solids: list[Solid] = []
    spans: list[tuple[float, float]] = []
    for _ in range(12):
        if len(solids) == 3 or (solids and rng.random() < 0.25):
            break
        is_cube = rng.random() < 0.6
        side = float(rng.uniform(0.5, 1.2))
        extent = (side, side, side) if is_cube else tuple(float(v) for v in rng.uniform(0.4, 1.5, 3))
        z = float(rng.uniform(3.5, 7.0))
        x = float(rng.uniform(-0.45, 0.45)) * z
        rgb = random_rgb(rng, choose(rng, COLOURS[:7]), held_out=held_out)
        w, h, d = extent
        yaw = float(rng.uniform(-0.25, 0.25)) * math.pi
        solid = Solid("cube" if is_cube else "box", rgb, (x, floor - h / 2, z), (w, h, d), yaw)
        corners = project(solid.corners(), size)
        span = (float(corners[:, 0].min()), float(corners[:, 0].max()))
        is_inside = corners.min() >= 2 and (corners.max(axis=0) <= np.array(size) - 2).all()
        if is_inside and all(span[0] > b + 3 or span[1] < a - 3 for a, b in spans):
            solids.append(solid)
            spans.append(span)
    if not solids:
        return _space(rng, held_out=held_out)
    picture = _paint_space(rng, size, solids)
    label = choose(rng, solids).label if rng.random() < 0.9 else choose(rng, ("cube", "box"))
    wanted = sorted((s for s in solids if s.label == label), key=lambda s: s.centre[0])
    boxes = [[round(v, 2) + 0.0 for v in (*s.centre, *s.size, 0.0, s.yaw / math.pi, 0.0)] for s in wanted]
    lines = [json.dumps({"bbox_3d": box, "label": label}) for box in boxes]
    question = SPACE.format("boxes" if label == "box" else "cubes", label)
    return _sample(picture, (question, fenced(lines), {"kind": "space", "boxes_3d": boxes}, ()), None)


def _paint_space(rng: np.random.Generator, size: tuple[int, int], solids: Sequence[Solid]) -> PILImage.Image:
    """Sky, floor, and the solids from far to near with shaded faces."""
    width, height = size
    sky, ground = int(rng.integers(190, 250)), int(rng.integers(110, 190))
    picture = PILImage.new("RGB", size, (sky - 10, sky - 4, sky))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, height // 2, width, height), fill=(ground, ground - 6, ground - 14))
    light = np.array([rng.uniform(-0.7, 0.7), -1.0, -0.6])
    light /= np.linalg.norm(light)
    for solid in sorted(solids, key=lambda s: -s.centre[2]):
        corners = solid.corners()
        flat = project(corners, size)
        for face in sorted(_FACES, key=lambda f: -float(np.linalg.norm(corners[list(f)].mean(axis=0)))):
            middle = corners[list(face)].mean(axis=0)
            normal = middle - np.array(solid.centre)
            if float(normal @ middle) >= 0:
                continue  # turned away
            bright = 0.62 + 0.38 * max(0.0, float(normal @ light) / float(np.linalg.norm(normal)))
            fill = tuple(int(c * bright) for c in solid.rgb)
            draw.polygon([(float(x), float(y)) for x, y in flat[list(face)]], fill=fill, outline=(40, 40, 40))
    return wear(rng, picture)


# --- several pictures -----------------------------------------------------------------------------------------------


def _pictures(rng: np.random.Generator, *, held_out: bool) -> Sample:
    """Two pictures in one message; in half of the samples the second one only comes with a later turn."""
    while True:
        first, second = _layout(rng, held_out=held_out), _layout(rng, held_out=held_out)
        labels = [{shape.label for shape in layout.shapes} for layout in (first, second)]
        own = [sorted(labels[0] - labels[1]), sorted(labels[1] - labels[0])]
        if own[0] and own[1]:
            break
    index = int(rng.integers(2))
    thing = choose(rng, own[index])
    parts = [Image(_paint(rng, layout)) for layout in (first, second)]
    question = choose(rng, ("Which picture shows the {}, the first or the second?", "In which picture is the {}?"))
    answer = ("the first", "the second")[index]
    truth = {"kind": "pictures", "answer": answer.split()[1]}
    asked = (Text(question.format(thing)),)
    end = Message("assistant", (Text(answer),))
    if rng.random() < 0.5:
        return Sample("spatial", (Message("user", (*parts, *asked)), end), truth)
    opening = Message("user", (parts[0], Text(COUNT.format("shapes"))))
    count = Message("assistant", (Text(str(len(first.shapes))),))
    counted = {"kind": "count", "count": len(first.shapes)}
    return Sample("spatial", (opening, count, Message("user", (parts[1], *asked)), end), counted)
