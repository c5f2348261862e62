"""Clips of up to 32 frames: when something happens, what appears at a time, how many, what first.

Held out: shades, backgrounds, words, and for every colour one shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regard.evals.answers import first_count, first_mention, first_time_s
from regard.evals.scenes import first_label
from regard.evals.task import Measure, Task
from regard.train.world import clips
from regard.train.world.sample import Sample

MAX_ERROR_S = 1.0
_ROUNDING_S = 0.051  # answers have one decimal, times such as 0.25 s have more


def score(sample: Sample, answer: str) -> float:
    """1 if right, else 0; a time is right within `MAX_ERROR_S`."""
    return _SCORERS[sample.truth["kind"]](sample, answer)


def _score_time(sample: Sample, answer: str) -> float:
    return float(error_s(sample, answer) <= MAX_ERROR_S + _ROUNDING_S)


def error_s(sample: Sample, answer: str) -> float:
    """How far the answered time is off, in seconds; infinite if there is none."""
    time_s = first_time_s(answer)
    return float("inf") if time_s is None else abs(time_s - sample.truth["time_s"])


def _score_what(sample: Sample, answer: str) -> float:
    wanted: str = sample.truth["answer"]
    if wanted.startswith("word "):
        return float(first_mention(answer, (wanted.removeprefix("word "),)) is not None)
    return float(first_label(answer, question="") == wanted)


def _score_count(sample: Sample, answer: str) -> float:
    return float(first_count(answer) == sample.truth["count"])


_SCORERS: dict[str, Callable[[Sample, str], float]] = {
    "when": _score_time,
    "what": _score_what,
    "count": _score_count,
    "order": _score_what,
}


def _of_kind(kind: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.truth["kind"] == kind


def _make(rng: np.random.Generator, number: int) -> Sample:
    return clips.make(rng, held_out=True)


TASK = Task(
    name="clips",
    title="short clips of appearing things",
    make=_make,
    score=score,
    measures=(
        Measure("event time within 1 s", score, _of_kind("when"), goal=0.85),
        Measure("what appears at a time", score, _of_kind("what")),
        Measure("how many appear", score, _of_kind("count")),
        Measure("which appears first", score, _of_kind("order")),
    ),
)
