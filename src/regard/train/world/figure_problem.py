"""What a figure is a picture of: a problem with its worked solution, values to read off, parts to point at.

Numbers are written as short as they are (6, 2.5), units behind what they measure ("6 cm", "24 cm^2"), and left out
in the steps, where they would be repeated in every term.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from regard.train.world.figure_canvas import XY, Canvas
from regard.train.world.sample import verbatim
from regard.train.world.shapes import Box, choose

DEGREE = "\u00b0"
_UNITS = ("", "", "", "cm", "m", "mm", "km")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Step:
    """One line of a solution: the calculation, the rule's name in a word or two, and the rule in a sentence."""

    text: str
    reason: str
    why: str


@dataclass(frozen=True)
class Problem:
    """A question about the figure with its worked solution.

    `value`: the answer as numbers (two for a point), in multiples of pi if `is_pi`. `hints`: three, from where to
    look to how to begin; none of them holds a number of the answer.
    """

    question: str
    given: tuple[str, ...]
    asked: str
    steps: tuple[Step, ...]
    answer: str
    value: tuple[float, ...]
    hints: tuple[str, str, str]
    mistakes: tuple[str, ...]
    is_pi: bool = False


@dataclass(frozen=True)
class Fact:
    """Something to read off: ways to ask, and the answer."""

    questions: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Part:
    """A named part: where one points at it, and the box in which a pointing counts as right, both in px."""

    name: str
    place: XY
    box: Box


@dataclass(frozen=True)
class Figure:
    """A drawn figure and all that can be asked about it; `words` are the label words on it."""

    kind: str
    canvas: Canvas
    problem: Problem
    facts: tuple[Fact, ...]
    parts: tuple[Part, ...]
    words: tuple[str, ...] = field(default=())


def near(name: str, place: XY, *, reach: float = 14.0) -> Part:
    """A part that is a point or a line: pointing within `reach` px is right."""
    x, y = place
    return Part(name, place, (x - reach, y - reach, x + reach, y + reach))


def number(value: float) -> str:
    """6.0 -> '6', 2.5 -> '2.5'."""
    return f"{round(value, 4):g}"


def random_unit(rng: np.random.Generator) -> str:
    """Mostly none."""
    return choose(rng, _UNITS)


def with_unit(value: float | str, unit: str, power: int = 1) -> str:
    """'6 cm', '24 cm^2', '6'."""
    text = value if isinstance(value, str) else number(value)
    if not unit:
        return text
    return f"{text} {unit}" + (f"^{power}" if power > 1 else "")


def is_unseen(values: Sequence[float]) -> bool:
    """Whether training never shows these numbers together (one combination in eight)."""
    return zlib.crc32(" ".join(map(number, values)).encode()) % 8 == 0


def spelled(text: str, words: Sequence[str] = ()) -> str:
    """Mark what is read off the picture: numbers, names of points and the figure's label words."""
    listed = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pattern = r"\d+(?:\.\d+)?|\b[A-Z]{1,3}\b" + (rf"|\b(?:{listed})\b" if listed else "")
    return re.sub(pattern, lambda found: verbatim(found[0]), text)


def solution(problem: Problem) -> str:
    """The worked solution as the tutor writes it."""
    lines = [f"Given: {', '.join(problem.given)}", f"Asked: {problem.asked}"]
    lines += [f"{index}. {step.text} ({step.reason})" for index, step in enumerate(problem.steps, start=1)]
    return "\n".join([*lines, f"Answer: {problem.answer}"])


def gives_away(problem: Problem) -> bool:
    """Whether a number of the answer stands among the given ones or in a hint: such problems are drawn again."""
    shown = [float(found) for text in (*problem.given, *problem.hints) for found in _NUMBER.findall(text)]
    return any(abs(value) == other for value in problem.value for other in shown)
