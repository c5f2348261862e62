"""Simple scenes of coloured shapes, with one question each whose answer follows from the scene.

`make` draws a layout, asks a question about it, draws again if this layout has no clear answer, and only
then paints. Every truth has a `kind`:

    describe    "There are 2 shapes: a red circle at the top left and a blue star in the centre."
    count       "3"
    relation    "Yes." / "No."; "left" / "right" / "above" / "below"; "a red circle"
    attribute   a colour, a shape, "large" / "small", "Yes." / "No."
    locate      boxes as JSON in 0-1000 of width and height
    point       a point as JSON in 0-1000

It does not draw overlapping shapes, and it asks nothing that a person would have to guess: the two shapes of
a relation are more than `CLEAR` of a side apart on the asked axis, and a shape that a question names is the only one of its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image as PILImage

from regard.messages import Image, Message, Text
from regard.train.world.sample import DenseTruth, Item, Sample
from regard.train.world.shapes import (
    COLOURS,
    PLURALS,
    SHAPES,
    Background,
    Shape,
    is_unseen,
    paint_background,
    paint_shape,
    random_background,
    random_rgb,
    random_turn,
    wear,
    with_article,
)

__all__ = ["COLOURS", "SHAPES", "make", "position_of"]

MAX_SHAPES = 7
CLEAR = 0.13  # of a side: shapes this far apart on an axis are clearly left/right of or above/below each other
_GAP_PX = 5  # between the boxes of two shapes
_MARGIN_PX = 4  # between a shape's box and the picture's edge
_SMALL_PX, _LARGE_PX = (25, 34), (48, 62)
_TRAINING_SIZES = (
    (192, 192),
    (224, 192),
    (192, 224),
    (224, 224),
    (256, 192),
    (256, 224),
    (288, 192),
    (288, 224),
    (250, 210),
)
_HELD_OUT_SIZES = ((256, 256), (224, 224), (256, 192), (288, 208), (240, 200))

_POSITIONS = (("top left", "top", "top right"), ("left", "centre", "right"), ("bottom left", "bottom", "bottom right"))

T = TypeVar("T")
Wanted = tuple[str, str]  # shape name, colour
Asked = tuple[str, str, dict[str, Any]]  # question, answer, truth


@dataclass(frozen=True)
class Scene:
    """A painted or not yet painted scene; shapes are in reading order."""

    width: int
    height: int
    background: Background
    shapes: tuple[Shape, ...]

    @property
    def unique(self) -> list[Shape]:
        """The shapes that no other has the same colour and name as."""
        labels = [shape.label for shape in self.shapes]
        return [shape for shape in self.shapes if labels.count(shape.label) == 1]


def make(rng: np.random.Generator, *, held_out: bool, max_turns: int = 1) -> Sample:
    """One scene with 1 to `max_turns` questions and their answers; `truth` belongs to the first."""
    kinds = tuple(_KINDS)
    weights = tuple(weight for weight, _, _ in _KINDS.values())
    kind = _choose(rng, kinds, weights=weights)
    _, plan, ask = _KINDS[kind]
    while True:
        scene = _layout(rng, plan, held_out=held_out)
        asked = ask(rng, scene)
        if asked is not None:
            break
    question, answer, truth = asked
    messages = [Message("user", (Image(_paint(rng, scene)), Text(question))), Message("assistant", (Text(answer),))]
    for _ in range(int(rng.integers(max_turns))):
        more = _KINDS[_choose(rng, kinds, weights=weights)][2](rng, scene)
        if more is not None:
            messages += [Message("user", (Text(more[0]),)), Message("assistant", (Text(more[1]),))]
    return Sample(
        task="scenes",
        messages=tuple(messages),
        truth={"kind": kind, **truth},
        dense=DenseTruth(items=tuple(Item(shape.name, shape.box, shape.colour) for shape in scene.shapes)),
    )


def position_of(shape: Shape, width: int, height: int, *, tolerance: float = 0.0) -> tuple[str, ...]:
    """Names of the thirds of the picture the centre lies in, the nearest first.

    With a `tolerance` (of a side) also the neighbours that the centre is that close to.
    """
    columns = _thirds(shape.x / width, tolerance)
    rows = _thirds(shape.y / height, tolerance)
    return tuple(_POSITIONS[row][column] for row in rows for column in columns)


def _thirds(fraction: float, tolerance: float) -> list[int]:
    def third(value: float) -> int:
        return min(max(int(value * 3), 0), 2)

    return list(dict.fromkeys((third(fraction), third(fraction - tolerance), third(fraction + tolerance))))


def _choose(rng: np.random.Generator, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
    if weights is None:
        return options[int(rng.integers(len(options)))]
    bounds = np.cumsum(weights)
    return options[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]


# --- layout ---------------------------------------------------------------------------------------------------------


def _layout(rng: np.random.Generator, plan: Callable[..., list[Wanted]], *, held_out: bool) -> Scene:
    """Place the shapes that `plan` wants; one that finds no room is left out."""
    width, height = _choose(rng, _HELD_OUT_SIZES if held_out else _TRAINING_SIZES)
    background = random_background(rng, held_out=held_out)
    shades = {colour: random_rgb(rng, colour, held_out=held_out) for colour in COLOURS}
    colours = [colour for colour in COLOURS if background.allows(shades[colour])]
    kinds = [(name, colour) for colour in colours for name in SHAPES if held_out or not is_unseen(name, colour)]
    placed: list[Shape] = []
    wanted = plan(rng, kinds)
    large_share = 0.5 if len(wanted) <= 4 else 0.25
    for name, colour in wanted:
        limits = _LARGE_PX if rng.random() < large_share else _SMALL_PX
        shape = _place(
            rng,
            Shape(name, colour, shades[colour], 0, 0, rng.uniform(*limits), random_turn(rng, name)),
            width,
            height,
            placed,
        )
        if shape is not None:
            placed.append(shape)
    placed.sort(key=lambda shape: (int(shape.y / height * 3), shape.x))
    return Scene(width, height, background, tuple(placed))


def _place(rng: np.random.Generator, shape: Shape, width: int, height: int, others: list[Shape]) -> Shape | None:
    """Move a shape centred on (0, 0) to a free place, or return None if 40 tries found none."""
    x1, y1, x2, y2 = shape.box
    for _ in range(40):
        x = float(rng.uniform(_MARGIN_PX - x1, width - _MARGIN_PX - x2))
        y = float(rng.uniform(_MARGIN_PX - y1, height - _MARGIN_PX - y2))
        moved = Shape(shape.name, shape.colour, shape.rgb, x, y, shape.diameter, shape.turn)
        if not any(_near(moved.box, other.box) for other in others):
            return moved
    return None


def _near(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(a[i] - _GAP_PX < b[i + 2] and b[i] - _GAP_PX < a[i + 2] for i in (0, 1))


def _paint(rng: np.random.Generator, scene: Scene) -> PILImage.Image:
    picture = paint_background(rng, scene.background, scene.width, scene.height)
    for shape in scene.shapes:
        paint_shape(picture, shape)
    return wear(rng, picture)


# --- plans: which shapes a question needs ---------------------------------------------------------------------------


def _plan_any(rng: np.random.Generator, kinds: list[Wanted]) -> list[Wanted]:
    return [_choose(rng, kinds) for _ in range(int(rng.integers(1, MAX_SHAPES + 1)))]


def _plan_few(rng: np.random.Generator, kinds: list[Wanted]) -> list[Wanted]:
    return [_choose(rng, kinds) for _ in range(int(rng.integers(2, 6)))]


def _plan_repeated(rng: np.random.Generator, kinds: list[Wanted]) -> list[Wanted]:
    """0 to 5 that share a shape, a colour or both, among others: counting is only hard with repetition."""
    name, colour = _choose(rng, kinds)
    by_name, by_colour = [k for k in kinds if k[0] == name], [k for k in kinds if k[1] == colour]
    pool = _choose(rng, (by_name, by_colour, [(name, colour)], kinds))
    num_same = int(rng.integers(0, 6))
    same = [_choose(rng, pool) for _ in range(num_same)]
    others = [_choose(rng, kinds) for _ in range(int(rng.integers(0 if same else 1, MAX_SHAPES - num_same + 1)))]
    return same + others


# --- questions ------------------------------------------------------------------------------------------------------

_DESCRIBE = (
    "Describe the picture.", "Describe this image.", "What is in the picture?", "What do you see?",
    "Tell me what this picture shows.", "List the shapes and where they are.", "What does the image show?",
    "Which shapes are in the picture, and where?", "Describe the scene.", "What can be seen here?",
)  # fmt: skip
_COUNT = (
    "How many {things} are there?", "How many {things} are in the picture?", "Count the {things}.",
    "How many {things} do you see?", "What is the number of {things}?", "How many {things} can you find?",
    "Tell me how many {things} there are.", "How many {things} does the image show?",
)  # fmt: skip
_SIDES = ("left", "right", "above", "below")
_SIDE_PHRASES = {
    "left": ("left of", "to the left of", "on the left side of"),
    "right": ("right of", "to the right of", "on the right side of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "lower than"),
}
_YES_NO = (
    "Is the {a} {side} the {b}?",
    "Does the {a} lie {side} the {b}?",
    "In the picture, is the {a} {side} the {b}?",
)
_WHICH_SIDE = (
    "Where is the {a} relative to the {b}?", "On which side of the {b} is the {a}?", "Seen from the {b}, where is the {a}?",
    "Is the {a} left, right, above or below the {b}?", "In which direction from the {b} is the {a}?",
    "How does the {a} lie relative to the {b}?", "Where does the {a} lie, compared with the {b}?",
    "What is the position of the {a} relative to the {b}?",
)  # fmt: skip
_WHAT_IS = (
    "What is {side} the {b}?",
    "Which shape is {side} the {b}?",
    "What lies {side} the {b}?",
    "What do you see {side} the {b}?",
)
_COLOUR_OF = (
    "What colour is the {a}?", "What is the colour of the {a}?", "Which colour does the {a} have?", "What color is the {a}?",
    "Tell me the colour of the {a}.", "The {a} is of which colour?", "In which colour is the {a} drawn?", "Name the colour of the {a}.",
)  # fmt: skip
_SHAPE_OF = (
    "Which shape is {a}?", "What shape is {a}?", "What shape is the {a} one?", "What is the {a} shape?", "What is {a}?",
    "Name the {a} shape.", "Which shape is drawn in {a}?", "What kind of shape is {a}?",
)  # fmt: skip
_SIZE_OF = (
    "Is the {a} large or small?",
    "Is the {a} small or large?",
    "What size is the {a}?",
    "How big is the {a}, large or small?",
)
_IS_THERE = (
    "Is there {a}?", "Is there {a} in the picture?", "Do you see {a}?", "Does the picture show {a}?", "Can you find {a}?",
    "Is {a} in the image?", "Does the image contain {a}?", "Can {a} be seen here?",
)  # fmt: skip
_LOCATE = (
    "Where is the {a}?", "Locate the {a}.", "Find the {a}.", "Give the bounding box of the {a}.", "Draw a box around the {a}.",
    "Where can I find the {a}?", "Show me where the {a} is.", "Report the bbox of the {a} in JSON format.",
)  # fmt: skip
_LOCATE_ALL = (
    "Locate all {things}.",
    "Find all {things}.",
    "Where are the {things}?",
    "Give the bounding boxes of all {things}.",
)
_POINT = (
    "Point to the {a}.", "Point at the {a}.", "Give a point on the {a}.", "Where should I click to hit the {a}?", "Mark the {a} with a point.",
    "Show the {a} with a point.", "Report a point on the {a} in JSON format.", "Point out the {a}.",
)  # fmt: skip


def _ask_describe(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if not scene.shapes:
        return None
    size = scene.width, scene.height
    phrases = []
    for shape in scene.shapes:
        (position,) = position_of(shape, *size)
        phrases.append(f"{with_article(shape.label)} {'in' if position == 'centre' else 'at'} the {position}")
    head = "There is 1 shape" if len(phrases) == 1 else f"There are {len(phrases)} shapes"
    listed = phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
    shapes = [
        {"shape": s.name, "colour": s.colour, "positions": list(position_of(s, *size, tolerance=0.03))}
        for s in scene.shapes
    ]
    return _choose(rng, _DESCRIBE), f"{head}: {listed}.", {"shapes": shapes}


def _ask_count(rng: np.random.Generator, scene: Scene) -> Asked | None:
    """Ask about what repeats most often, so that counts above one are common; sometimes about anything."""
    attribute = _choose(rng, ("any", "shape", "colour", "both"), weights=(0.25, 0.3, 0.25, 0.2))
    if attribute == "any":
        things, count = "shapes", len(scene.shapes)
    else:
        candidates = list(scene.shapes) + [Shape(_choose(rng, SHAPES), _choose(rng, COLOURS), (0, 0, 0), 0, 0, 1)]
        key = {"shape": lambda s: s.name, "colour": lambda s: s.colour, "both": lambda s: s.label}[attribute]
        keys = [key(shape) for shape in scene.shapes]
        counts = {key(shape): keys.count(key(shape)) for shape in candidates}
        wanted = max(counts, key=lambda k: counts[k]) if rng.random() < 0.5 else _choose(rng, tuple(counts))
        count = counts[wanted]
        things = {
            "shape": lambda: PLURALS[wanted],
            "colour": lambda: f"{wanted} shapes",
            "both": lambda: f"{wanted.split()[0]} {PLURALS[wanted.split()[1]]}",
        }[attribute]()
    return _choose(rng, _COUNT).format(things=things), str(count), {"count": count}


def _ask_relation(rng: np.random.Generator, scene: Scene) -> Asked | None:
    ask = _choose(rng, (_ask_yes_no, _ask_which_side, _ask_what_is), weights=(0.45, 0.35, 0.2))
    return ask(rng, scene)


def _offset(scene: Scene, a: Shape, b: Shape, side: str) -> float:
    """How far a lies on that side of b, in widths or heights of the picture."""
    x, y = (a.x - b.x) / scene.width, (a.y - b.y) / scene.height
    return {"left": -x, "right": x, "above": -y, "below": y}[side]


def _ask_yes_no(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if len(scene.unique) < 2:
        return None
    a, b = (scene.unique[i] for i in rng.permutation(len(scene.unique))[:2])
    side = _choose(rng, _SIDES)
    offset = _offset(scene, a, b, side)
    if abs(offset) <= CLEAR:
        return None
    question = _choose(rng, _YES_NO).format(a=a.label, b=b.label, side=_choose(rng, _SIDE_PHRASES[side]))
    return question, "Yes." if offset > 0 else "No.", {"answer": "yes" if offset > 0 else "no"}


def _ask_which_side(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if len(scene.unique) < 2:
        return None
    a, b = (scene.unique[i] for i in rng.permutation(len(scene.unique))[:2])
    along_x, along_y = abs(a.x - b.x), abs(a.y - b.y)
    if min(along_x, along_y) * 2 > max(along_x, along_y):
        return None  # diagonal: two answers would be right
    side = max(_SIDES, key=lambda s: _offset(scene, a, b, s))
    if _offset(scene, a, b, side) <= CLEAR:
        return None
    return _choose(rng, _WHICH_SIDE).format(a=a.label, b=b.label), side, {"answer": side}


def _ask_what_is(rng: np.random.Generator, scene: Scene) -> Asked | None:
    """Only if exactly one shape lies clearly on that side and no other lies there even slightly."""
    if not scene.unique:
        return None
    b, side = _choose(rng, scene.unique), _choose(rng, _SIDES)
    there = [a for a in scene.shapes if a is not b and _offset(scene, a, b, side) > 0.02]
    if len(there) != 1 or _offset(scene, there[0], b, side) <= CLEAR:
        return None
    question = _choose(rng, _WHAT_IS).format(b=b.label, side=_choose(rng, _SIDE_PHRASES[side]))
    return question, with_article(there[0].label), {"answer": there[0].label}


def _ask_attribute(rng: np.random.Generator, scene: Scene) -> Asked | None:
    ask = _choose(rng, (_ask_colour, _ask_shape, _ask_size, _ask_is_there), weights=(0.35, 0.2, 0.15, 0.3))
    return ask(rng, scene)


def _ask_colour(rng: np.random.Generator, scene: Scene) -> Asked | None:
    names = [shape.name for shape in scene.shapes]
    candidates = [shape for shape in scene.shapes if names.count(shape.name) == 1]
    if not candidates:
        return None
    shape = _choose(rng, candidates)
    return _choose(rng, _COLOUR_OF).format(a=shape.name), shape.colour, {"answer": shape.colour}


def _ask_shape(rng: np.random.Generator, scene: Scene) -> Asked | None:
    colours = [shape.colour for shape in scene.shapes]
    candidates = [shape for shape in scene.shapes if colours.count(shape.colour) == 1]
    if not candidates:
        return None
    shape = _choose(rng, candidates)
    return _choose(rng, _SHAPE_OF).format(a=shape.colour), shape.name, {"answer": shape.name}


def _ask_size(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if not scene.unique:
        return None
    shape = _choose(rng, scene.unique)
    size = "large" if shape.diameter >= _LARGE_PX[0] else "small"
    return _choose(rng, _SIZE_OF).format(a=shape.label), size, {"answer": size}


def _ask_is_there(rng: np.random.Generator, scene: Scene) -> Asked | None:
    """Half the time about a shape that is there, else about one that shares a colour or a name with one that is."""
    if not scene.shapes:
        return None
    shape = _choose(rng, scene.shapes)
    label = shape.label
    if rng.random() < 0.5:
        label = (
            f"{shape.colour} {_choose(rng, SHAPES)}" if rng.random() < 0.5 else f"{_choose(rng, COLOURS)} {shape.name}"
        )
    is_there = label in {other.label for other in scene.shapes}
    answer = "yes" if is_there else "no"
    return _choose(rng, _IS_THERE).format(a=with_article(label)), answer.capitalize() + ".", {"answer": answer}


def _ask_locate(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if scene.shapes and rng.random() < 0.2:
        name = _choose(rng, scene.shapes).name
        found = [shape for shape in scene.shapes if shape.name == name]
        question = _choose(rng, _LOCATE_ALL).format(things=PLURALS[name])
    elif scene.unique:
        found = [_choose(rng, scene.unique)]
        question = _choose(rng, _LOCATE).format(a=found[0].label)
    else:
        return None
    boxes = [_per_mille(scene, shape.box) for shape in found]
    answer = _fenced([{"bbox_2d": box, "label": shape.label} for box, shape in zip(boxes, found, strict=True)])
    return question, answer, {"boxes": boxes, "labels": [shape.label for shape in found]}


def _ask_point(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if not scene.unique:
        return None
    shape = _choose(rng, scene.unique)
    box = _per_mille(scene, shape.box)
    point = [round((box[0] + box[2]) / 2), round((box[1] + box[3]) / 2)]
    answer = _fenced([{"point_2d": point, "label": shape.label}])
    return _choose(rng, _POINT).format(a=shape.label), answer, {"boxes": [box], "labels": [shape.label]}


def _per_mille(scene: Scene, box: tuple[float, float, float, float]) -> list[int]:
    return [round(value / side * 1000) for value, side in zip(box, (scene.width, scene.height) * 2, strict=True)]


def _fenced(entries: list[dict[str, Any]]) -> str:
    """A fenced JSON list with one entry per line, as the model family writes it."""
    lines = ",\n".join("\t" + json.dumps(entry) for entry in entries)
    return f"```json\n[\n{lines}\n]\n```"


# kind: share of the samples, which shapes it needs, the question
_KINDS: dict[str, tuple[float, Callable[..., list[Wanted]], Callable[[np.random.Generator, Scene], Asked | None]]] = {
    "describe": (0.20, _plan_any, _ask_describe),
    "count": (0.24, _plan_repeated, _ask_count),
    "relation": (0.24, _plan_few, _ask_relation),
    "attribute": (0.12, _plan_any, _ask_attribute),
    "locate": (0.14, _plan_any, _ask_locate),
    "point": (0.06, _plan_any, _ask_point),
}
