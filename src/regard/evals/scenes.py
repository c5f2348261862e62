"""Scenes of coloured shapes: counts, relations, attributes, descriptions, boxes and points.

Held out: shades, backgrounds, picture sizes, and for every colour one shape (`train.world.shapes`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np

from regard.evals.answers import f1, first_count, first_mention, intersection_over_union, is_inside
from regard.evals.task import Measure, Task
from regard.processing.coordinates import find_boxes_and_points
from regard.train.world import scenes
from regard.train.world.sample import Sample
from regard.train.world.shapes import COLOURS, SHAPES

_LABELS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
_SIDES = {"left": "left", "right": "right", "above": "above", "below": "below", "over": "above", "under": "below"}
_THOUSANDTHS = ((1000, 1000),)  # boxes are compared in the model's own units
_MIN_IOU = 0.5
_COLOUR = "|".join(COLOURS)
_POSITION = "(?:top|bottom)(?: left| right)?|left|right|centre|center|middle"
# "a red circle at the top left": between the shape and its place no other colour may be named.
_DESCRIBED = re.compile(
    rf"\b({_COLOUR}) ({'|'.join(SHAPES)})\b(?:(?:(?!\b(?:{_COLOUR})\b)[^.,;])*?\b(?:at|in|on) the ({_POSITION})\b)?",
    re.IGNORECASE,
)


def score(sample: Sample, answer: str) -> float:
    """0 to 1; between them only for descriptions and for several boxes (F1)."""
    return _SCORERS[sample.truth["kind"]](sample, answer)


def _score_count(sample: Sample, answer: str) -> float:
    return float(first_count(answer) == sample.truth["count"])


def _score_word(sample: Sample, answer: str) -> float:
    """The first word of the right kind decides: a side, a colour, a shape, a size, yes or no, a coloured shape."""
    wanted: str = sample.truth["answer"]
    if wanted in _SIDES:
        return float(_SIDES.get(first_mention(answer, _SIDES) or "") == wanted)
    if wanted in _LABELS:
        return float(first_label(answer, question=sample.question) == wanted)
    families: tuple[Iterable[str], ...] = (("yes", "no"), ("large", "small"), COLOURS, SHAPES)
    family = next(family for family in families if wanted in family)
    return float(first_mention(answer, family) == wanted)


def first_label(text: str, *, question: str) -> str | None:
    """The coloured shape that is named first, leaving out those that the question names."""
    asked = question.lower()
    return first_mention(text, [label for label in _LABELS if label not in asked])


def _score_description(sample: Sample, answer: str) -> float:
    """F1 over the shapes; one is right if colour, shape and place are."""
    wanted = list(sample.truth["shapes"])
    given = [tuple(part.lower() for part in match) for match in _DESCRIBED.findall(answer)]
    num_right = 0
    for colour, shape, position in given:
        position = {"center": "centre", "middle": "centre"}.get(position, position)
        for truth in wanted:
            if (truth["colour"], truth["shape"]) == (colour, shape) and position in truth["positions"]:
                wanted.remove(truth)
                num_right += 1
                break
    return f1(num_right, len(given), len(sample.truth["shapes"]))


def _score_boxes(sample: Sample, answer: str) -> float:
    """F1 of boxes; one is right if it overlaps a true box with an IoU of at least one half."""
    given, _ = find_boxes_and_points(answer, _THOUSANDTHS)
    wanted = list(sample.truth["boxes"])
    num_right = 0
    for box in given:
        overlaps = [intersection_over_union((box.x1, box.y1, box.x2, box.y2), other) for other in wanted]
        if overlaps and max(overlaps) >= _MIN_IOU:
            wanted.pop(overlaps.index(max(overlaps)))
            num_right += 1
    return f1(num_right, len(given), len(sample.truth["boxes"]))


def _score_point(sample: Sample, answer: str) -> float:
    boxes, points = find_boxes_and_points(answer, _THOUSANDTHS)
    given = [(point.x, point.y) for point in points] + [((b.x1 + b.x2) / 2, (b.y1 + b.y2) / 2) for b in boxes]
    return float(bool(given) and is_inside(*given[0], sample.truth["boxes"][0]))


_SCORERS: dict[str, Callable[[Sample, str], float]] = {
    "describe": _score_description,
    "count": _score_count,
    "relation": _score_word,
    "attribute": _score_word,
    "locate": _score_boxes,
    "point": _score_point,
}


def _of_kinds(*kinds: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.truth["kind"] in kinds


def _make(rng: np.random.Generator, number: int) -> Sample:
    return scenes.make(rng, held_out=True)


TASK = Task(
    name="scenes",
    title="simple scenes of coloured shapes",
    make=_make,
    score=score,
    measures=(
        Measure("counts and relations", score, _of_kinds("count", "relation"), goal=0.90),
        Measure("counts", score, _of_kinds("count")),
        Measure("relations", score, _of_kinds("relation")),
        Measure("attributes", score, _of_kinds("attribute")),
        Measure("descriptions (F1 of shapes)", score, _of_kinds("describe")),
        Measure("boxes (F1 at IoU 0.5)", score, _of_kinds("locate")),
        Measure("points inside", score, _of_kinds("point")),
    ),
)
