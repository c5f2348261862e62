"""Textbook figures: final answers of worked problems, values read off, parts pointed at.

Held out: fonts, shades, backgrounds, picture sizes, one in eight combinations of numbers, names of points, words
under bars.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from regard.evals.answers import is_inside
from regard.evals.task import Measure, Task
from regard.processing.coordinates import find_boxes_and_points
from regard.train.world import figures
from regard.train.world.sample import Sample

_ANSWER = re.compile(r"\banswer\s*(?:is)?\s*[:=]?\s*", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_PI = re.compile(r"\\?pi\b|\u03c0", re.IGNORECASE)
_THOUSANDTHS = ((1000, 1000),)
_MAX_VALUE_WORDS = 12  # a reply that lists everything gains nothing


def score(sample: Sample, answer: str) -> float:
    """0 or 1; for several marks the share that is right."""
    return _SCORERS[sample.truth["kind"]](sample, answer)


def final_answer(text: str) -> str:
    """What follows the last "Answer:", or the last line."""
    found = list(_ANSWER.finditer(text))
    if found:
        return text[found[-1].end() :].strip()
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _score_solution(sample: Sample, answer: str) -> float:
    """Units are not looked at; a multiple of pi may be multiplied out."""
    said = final_answer(answer)
    numbers = [float(found) for found in _NUMBER.findall(said.split("=")[-1])]
    wanted: list[float] = sample.truth["value"]
    if len(numbers) < len(wanted):
        return 0.0
    if sample.truth["is_pi"] and _PI.search(said) is None:
        return float(math.isclose(numbers[0], wanted[0] * math.pi, rel_tol=0.005))
    if not sample.truth["is_pi"] and _PI.search(said) is not None:
        return 0.0
    return float(all(math.isclose(one, other, abs_tol=1e-6) for one, other in zip(numbers, wanted, strict=False)))


def _given_share(sample: Sample, answer: str) -> float:
    """How many of the given values the solution names as they are."""
    said = answer.replace(" ", "")
    wanted = [given.replace(" ", "") for given in sample.truth["given"]]
    return sum(given in said for given in wanted) / len(wanted)


def _score_value(sample: Sample, answer: str) -> float:
    wanted: str = sample.truth["answer"]
    if len(answer.split()) > _MAX_VALUE_WORDS:
        return 0.0
    return float(re.search(rf"(?<![\w.]){re.escape(wanted)}(?![\w^]|\.\d)", answer) is not None)


def _score_mark(sample: Sample, answer: str) -> float:
    points = _points(answer)
    return float(bool(points) and is_inside(*points[0][:2], sample.truth["boxes"][0]))


def _score_marks(sample: Sample, answer: str) -> float:
    given = {label: (x, y) for x, y, label in _points(answer)}
    places = zip(sample.truth["labels"], sample.truth["boxes"], strict=True)
    right = [label in given and is_inside(*given[label], box) for label, box in places]
    return sum(right) / len(right)


def _points(answer: str) -> list[tuple[float, float, str]]:
    boxes, points = find_boxes_and_points(answer, _THOUSANDTHS)
    middles = [((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2, box.label) for box in boxes]
    return [(point.x, point.y, point.label) for point in points] + middles


_SCORERS: dict[str, Callable[[Sample, str], float]] = {
    "solve": _score_solution,
    "value": _score_value,
    "mark": _score_mark,
    "marks": _score_marks,
}


def _of_kind(kind: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.truth["kind"] == kind


def _make(rng: np.random.Generator, number: int) -> Sample:
    return figures.make(rng, held_out=True)


TASK = Task(
    name="figures",
    title="textbook figures",
    make=_make,
    score=score,
    measures=(
        Measure("final answers", score, _of_kind("solve"), goal=0.50),
        Measure("given values read", _given_share, _of_kind("solve")),
        Measure("single values", score, _of_kind("value")),
        Measure("points inside", score, _of_kind("mark")),
        Measure("named parts marked", score, _of_kind("marks")),
    ),
)
