"""Reading a line of up to 16 characters in fonts and words that training never shows."""

from __future__ import annotations

import numpy as np

from regard.evals.answers import char_error
from regard.evals.task import Measure, Task
from regard.train.world import lines
from regard.train.world.sample import Sample


def _char_error(sample: Sample, answer: str) -> float:
    return char_error(answer, sample.truth["text"])


def score(sample: Sample, answer: str) -> float:
    """Share of characters right, 0 to 1."""
    return max(0.0, 1.0 - _char_error(sample, answer))


def _is_exact(sample: Sample, answer: str) -> float:
    return float(_char_error(sample, answer) == 0)


def _make(rng: np.random.Generator, number: int) -> Sample:
    return lines.make(rng, held_out=True)


def _every(sample: Sample) -> bool:
    return True


TASK = Task(
    name="lines",
    title="read a line of text",
    make=_make,
    score=score,
    measures=(
        Measure(
            "characters wrong", _char_error, _every, goal=0.05, is_error=True,
            weight=lambda sample: float(len(sample.truth["text"])),
        ),
        Measure("lines without a mistake", _is_exact, _every),
    ),
)  # fmt: skip
