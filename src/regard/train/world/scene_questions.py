"""Questions about a scene of coloured shapes, each with the answer and what a scorer needs.

An `ask_...` function takes a scene and returns (question, answer, truth, clues), or None if it has no clear answer
of that kind: the two shapes of a relation are more than `CLEAR` of a side apart on the asked axis, and a shape that
a question names is the only one of its name.

It draws nothing and does not choose the shapes: that is `scenes`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.train.world.sample import Area, Clue
from regard.train.world.shapes import COLOURS, SHAPES, Background, Shape, choose, plural, with_article

CLEAR = 0.13  # of a side: shapes this far apart on an axis are clearly left/right of or above/below each other
LARGE_PX = 48  # diameter from which a shape is called large; small ones stay well below

_POSITIONS = (("top left", "top", "top right"), ("left", "centre", "right"), ("bottom left", "bottom", "bottom right"))

Asked = tuple[str, str, dict[str, Any], tuple[Clue, ...]]  # question, answer, truth, what the answer is about


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

    def areas(self, shapes: Iterable[Shape]) -> tuple[Area, ...]:
        """Where shapes are."""
        return tuple(
            Area((x1 / self.width, y1 / self.height, x2 / self.width, y2 / self.height))
            for x1, y1, x2, y2 in (shape.box for shape in shapes)
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
    "Is the {a} {side} the {b}?", "Does the {a} lie {side} the {b}?", "In the picture, is the {a} {side} the {b}?",
)  # fmt: skip
_WHICH_SIDE = (
    "Where is the {a} relative to the {b}?", "On which side of the {b} is the {a}?",
    "Seen from the {b}, where is the {a}?", "Is the {a} left, right, above or below the {b}?",
    "In which direction from the {b} is the {a}?", "How does the {a} lie relative to the {b}?",
    "Where does the {a} lie, compared with the {b}?", "What is the position of the {a} relative to the {b}?",
)  # fmt: skip
_WHAT_IS = (
    "What is {side} the {b}?", "Which shape is {side} the {b}?", "What lies {side} the {b}?",
    "What do you see {side} the {b}?",
)  # fmt: skip
_COLOUR_OF = (
    "What colour is the {a}?", "What is the colour of the {a}?", "Which colour does the {a} have?",
    "What color is the {a}?", "Tell me the colour of the {a}.", "The {a} is of which colour?",
    "In which colour is the {a} drawn?", "Name the colour of the {a}.",
)  # fmt: skip
_SHAPE_OF = (
    "Which shape is {a}?", "What shape is {a}?", "What shape is the {a} one?", "What is the {a} shape?",
    "What is {a}?", "Name the {a} shape.", "Which shape is drawn in {a}?", "What kind of shape is {a}?",
)  # fmt: skip
_SIZE_OF = (
    "Is the {a} large or small?", "Is the {a} small or large?", "What size is the {a}?",
    "How big is the {a}, large or small?",
)  # fmt: skip
_IS_THERE = (
    "Is there {a}?", "Is there {a} in the picture?", "Do you see {a}?", "Does the picture show {a}?",
    "Can you find {a}?", "Is {a} in the image?", "Does the image contain {a}?", "Can {a} be seen here?",
)  # fmt: skip
_LOCATE = (
    "Where is the {a}?", "Locate the {a}.", "Find the {a}.", "Give the bounding box of the {a}.",
    "Draw a box around the {a}.", "Where can I find the {a}?", "Show me where the {a} is.",
    "Report the bbox of the {a} in JSON format.",
)  # fmt: skip
_LOCATE_ALL = (
    "Locate all {things}.", "Find all {things}.", "Where are the {things}?",
    "Give the bounding boxes of all {things}.",
)  # fmt: skip
_POINT = (
    "Point to the {a}.", "Point at the {a}.", "Give a point on the {a}.", "Where should I click to hit the {a}?",
    "Mark the {a} with a point.", "Show the {a} with a point.", "Report a point on the {a} in JSON format.",
    "Point out the {a}.",
)  # fmt: skip


def ask_describe(rng: np.random.Generator, scene: Scene) -> Asked | None:
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
    clues = tuple(Clue(phrase, scene.areas([s])) for phrase, s in zip(phrases, scene.shapes, strict=True))
    return choose(rng, _DESCRIBE), f"{head}: {listed}.", {"shapes": shapes}, clues


def ask_count(rng: np.random.Generator, scene: Scene) -> Asked:
    """Half the time ask about what repeats most often, so that counts above one are common."""
    attribute = choose(rng, ("any", "name", "colour", "label"), weights=(0.25, 0.3, 0.25, 0.2))
    if attribute == "any":
        return _counted(rng, scene, "shapes", scene.shapes)
    absent = {"name": choose(rng, SHAPES), "colour": choose(rng, COLOURS)}
    absent["label"] = f"{absent['colour']} {absent['name']}"
    present = [str(getattr(shape, attribute)) for shape in scene.shapes]
    counts = Counter(present)
    candidates = [*counts, absent[attribute]]
    wanted = max(candidates, key=lambda label: counts[label]) if rng.random() < 0.5 else choose(rng, candidates)
    things = f"{wanted} shapes" if attribute == "colour" else plural(wanted)
    return _counted(rng, scene, things, [s for s in scene.shapes if getattr(s, attribute) == wanted])


def _counted(rng: np.random.Generator, scene: Scene, things: str, found: Sequence[Shape]) -> Asked:
    answer, areas = str(len(found)), scene.areas(found)
    clue = Clue(answer, areas, ((things, areas),))
    return choose(rng, _COUNT).format(things=things), answer, {"count": len(found)}, (clue,)


def ask_relation(rng: np.random.Generator, scene: Scene) -> Asked | None:
    ask = choose(rng, (_ask_yes_no, _ask_which_side, _ask_what_is), weights=(0.45, 0.35, 0.2))
    return ask(rng, scene)


def _offset(scene: Scene, a: Shape, b: Shape, side: str) -> float:
    """How far a lies on that side of b, in widths or heights of the picture."""
    x, y = (a.x - b.x) / scene.width, (a.y - b.y) / scene.height
    return {"left": -x, "right": x, "above": -y, "below": y}[side]


def _ask_yes_no(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if len(scene.unique) < 2:
        return None
    a, b = (scene.unique[i] for i in rng.permutation(len(scene.unique))[:2])
    side = choose(rng, _SIDES)
    offset = _offset(scene, a, b, side)
    if abs(offset) <= CLEAR:
        return None
    question = choose(rng, _YES_NO).format(a=a.label, b=b.label, side=choose(rng, _SIDE_PHRASES[side]))
    answer = "Yes" if offset > 0 else "No"
    return question, f"{answer}.", {"answer": answer.lower()}, (_compared(scene, answer, a, b),)


def _compared(scene: Scene, answer: str, a: Shape, b: Shape) -> Clue:
    return Clue(answer, scene.areas([a]), ((a.label, scene.areas([a])), (b.label, scene.areas([b]))))


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
    question = choose(rng, _WHICH_SIDE).format(a=a.label, b=b.label)
    return question, side, {"answer": side}, (_compared(scene, side, a, b),)


def _ask_what_is(rng: np.random.Generator, scene: Scene) -> Asked | None:
    """Only if exactly one shape lies clearly on that side and no other lies there even slightly."""
    if not scene.unique:
        return None
    b, side = choose(rng, scene.unique), choose(rng, _SIDES)
    there = [a for a in scene.shapes if a is not b and _offset(scene, a, b, side) > 0.02]
    if len(there) != 1 or _offset(scene, there[0], b, side) <= CLEAR:
        return None
    question = choose(rng, _WHAT_IS).format(b=b.label, side=choose(rng, _SIDE_PHRASES[side]))
    label = there[0].label
    clue = Clue(label, scene.areas(there), ((b.label, scene.areas([b])),))
    return question, with_article(label), {"answer": label}, (clue,)


def ask_attribute(rng: np.random.Generator, scene: Scene) -> Asked | None:
    ask = choose(rng, (_ask_colour, _ask_shape, _ask_size, _ask_is_there), weights=(0.35, 0.2, 0.15, 0.3))
    return ask(rng, scene)


def _ask_colour(rng: np.random.Generator, scene: Scene) -> Asked | None:
    names = [shape.name for shape in scene.shapes]
    candidates = [shape for shape in scene.shapes if names.count(shape.name) == 1]
    if not candidates:
        return None
    shape = choose(rng, candidates)
    clue = _about(scene, shape.colour, shape.name, shape)
    return choose(rng, _COLOUR_OF).format(a=shape.name), shape.colour, {"answer": shape.colour}, (clue,)


def _about(scene: Scene, answer: str, name: str, shape: Shape) -> Clue:
    areas = scene.areas([shape])
    return Clue(answer, areas, ((name, areas),))


def _ask_shape(rng: np.random.Generator, scene: Scene) -> Asked | None:
    colours = [shape.colour for shape in scene.shapes]
    candidates = [shape for shape in scene.shapes if colours.count(shape.colour) == 1]
    if not candidates:
        return None
    shape = choose(rng, candidates)
    clue = _about(scene, shape.name, shape.colour, shape)
    return choose(rng, _SHAPE_OF).format(a=shape.colour), shape.name, {"answer": shape.name}, (clue,)


def _ask_size(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if not scene.unique:
        return None
    shape = choose(rng, scene.unique)
    size = "large" if shape.diameter >= LARGE_PX else "small"
    clue = _about(scene, size, shape.label, shape)
    return choose(rng, _SIZE_OF).format(a=shape.label), size, {"answer": size}, (clue,)


def _ask_is_there(rng: np.random.Generator, scene: Scene) -> Asked | None:
    """Half the time about a shape that is there, else about one that shares a colour or a name with one that is."""
    if not scene.shapes:
        return None
    shape = choose(rng, scene.shapes)
    label = shape.label
    if rng.random() < 0.5:
        label = (
            f"{shape.colour} {choose(rng, SHAPES)}" if rng.random() < 0.5 else f"{choose(rng, COLOURS)} {shape.name}"
        )
    found = scene.areas(other for other in scene.shapes if other.label == label)
    answer = "Yes" if found else "No"
    question = choose(rng, _IS_THERE).format(a=with_article(label))
    return question, f"{answer}.", {"answer": answer.lower()}, (Clue(answer, found, ((label, found),)),)


def ask_locate(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if scene.shapes and rng.random() < 0.2:
        name = choose(rng, scene.shapes).name
        found = [shape for shape in scene.shapes if shape.name == name]
        question = choose(rng, _LOCATE_ALL).format(things=plural(name))
    elif scene.unique:
        found = [choose(rng, scene.unique)]
        question = choose(rng, _LOCATE).format(a=found[0].label)
    else:
        return None
    boxes = [_per_mille(scene, shape.box) for shape in found]
    answer = _fenced([{"bbox_2d": box, "label": shape.label} for box, shape in zip(boxes, found, strict=True)])
    return question, answer, {"boxes": boxes, "labels": [shape.label for shape in found]}, ()


def ask_point(rng: np.random.Generator, scene: Scene) -> Asked | None:
    if not scene.unique:
        return None
    shape = choose(rng, scene.unique)
    box = _per_mille(scene, shape.box)
    point = [round((box[0] + box[2]) / 2), round((box[1] + box[3]) / 2)]
    answer = _fenced([{"point_2d": point, "label": shape.label}])
    return choose(rng, _POINT).format(a=shape.label), answer, {"boxes": [box], "labels": [shape.label]}, ()


def _per_mille(scene: Scene, box: tuple[float, float, float, float]) -> list[int]:
    return [round(value / side * 1000) for value, side in zip(box, (scene.width, scene.height) * 2, strict=True)]


def _fenced(entries: list[dict[str, Any]]) -> str:
    """A fenced JSON list with one entry per line, as the model family writes it."""
    lines = ",\n".join("\t" + json.dumps(entry) for entry in entries)
    return f"```json\n[\n{lines}\n]\n```"
