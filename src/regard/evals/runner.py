"""Ask a model every sample of the chosen tasks and turn the scores into rows with confidence intervals.

Samples are made, asked and scored one at a time; only the examples that a report shows keep their pictures.
Answers are greedy, so the same checkpoint, seed and device give the same table.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL import Image

from regard.evals.pictures import illustrate
from regard.evals.task import Measure, Task
from regard.messages import Message
from regard.reply import Reply
from regard.train.world.sample import Sample

MAX_FAILURES, MAX_SUCCESSES = 18, 6  # examples kept of each task
_Z_95 = 1.959964
_NUM_RESAMPLES = 2000


class Chat(Protocol):
    """Anything that answers; `regard.load(...)` returns one."""

    def chat(self, what: Sequence[Message], *, temperature: float, max_tokens: int) -> Reply:
        """The reply to a conversation."""


@dataclass(frozen=True)
class Row:
    """One row of the table: a measure, its value with the ends of its 95 % interval, 0 to 1."""

    task: str
    measure: str
    value: float
    low: float
    high: float
    num_samples: int
    goal: float | None
    is_error: bool

    @property
    def is_reached(self) -> bool | None:
        """Whether the value is at least as good as the goal; None without one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.is_error else self.value >= self.goal


@dataclass(frozen=True)
class Example:
    """One question with the model's answer, to look at."""

    task: str
    question: str
    wanted: str
    answer: str
    score: float
    picture: Image.Image


@dataclass(frozen=True)
class Result:
    """Everything one evaluation found out."""

    model: str
    seed: int
    rows: tuple[Row, ...]
    examples: tuple[Example, ...]
    num_answers: int
    elapsed_s: float

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain JSON types, without the examples."""
        rows = [asdict(row) | {"is_reached": row.is_reached} for row in self.rows]
        return {
            "model": self.model,
            "seed": self.seed,
            "num_answers": self.num_answers,
            "elapsed_s": round(self.elapsed_s, 1),
            "rows": rows,
        }


def run(
    chat: Chat,
    tasks: Sequence[Task],
    *,
    model: str,
    num_samples: int,
    seed: int = 0,
    on_answer: Callable[[str, float], None] | None = None,
) -> Result:
    """Evaluate `chat` on `num_samples` headline samples of each task (see `Task.samples`).

    `on_answer(task name, score)` is called after every answer.
    """
    start_s = time.perf_counter()
    rows: list[Row] = []
    examples: list[Example] = []
    num_answers = 0
    for task in tasks:
        found = {measure.name: _Scores() for measure in task.measures}
        failures: list[Example] = []
        successes: list[Example] = []
        for sample in task.samples(num_samples, seed=seed):
            reply = chat.chat(sample.prompt, temperature=0.0, max_tokens=task.max_tokens)
            answer = reply.raw if task.reads_raw else reply.text
            num_answers += 1
            score = _take(task, sample, answer, found)
            kept, limit = (failures, MAX_FAILURES) if score < 1 else (successes, MAX_SUCCESSES)
            if len(kept) < limit:
                kept.append(_example(task, sample, answer, score))
            if on_answer is not None:
                on_answer(task.name, score)
        rows += [_row(task, measure, found[measure.name]) for measure in task.measures if found[measure.name].values]
        examples += failures + successes
    return Result(model, seed, tuple(rows), tuple(examples), num_answers, time.perf_counter() - start_s)


@dataclass
class _Scores:
    """The scores of one measure with their weights."""

    values: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


def _take(task: Task, sample: Sample, answer: str, found: dict[str, _Scores]) -> float:
    for measure in task.measures:
        if measure.applies(sample):
            found[measure.name].values.append(measure.score(sample, answer))
            found[measure.name].weights.append(measure.weight(sample))
    return task.score(sample, answer)


def _example(task: Task, sample: Sample, answer: str, score: float) -> Example:
    return Example(task.name, sample.question, sample.answer, answer, score, illustrate(sample, answer))


def _row(task: Task, measure: Measure, scores: _Scores) -> Row:
    values, weights = np.array(scores.values), np.array(scores.weights)
    low, high = confidence_interval(values, weights)
    value = float(np.average(values, weights=weights))
    return Row(task.name, measure.name, value, low, high, len(values), measure.goal, measure.is_error)


def confidence_interval(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a weighted mean.

    Yes-or-no scores of equal weight: Wilson's interval, which is honest near 0 and 1. Others: the percentiles of
    means over resampled samples (bootstrap, always the same resamples).
    """
    num = len(values)
    if np.isin(values, (0.0, 1.0)).all() and (weights == weights[0]).all():
        return wilson_interval(int(values.sum()), num)
    chosen = np.random.default_rng(0).integers(num, size=(_NUM_RESAMPLES, num))
    means = (values * weights)[chosen].sum(axis=1) / weights[chosen].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def wilson_interval(num_right: int, num: int) -> tuple[float, float]:
    """Wilson's score interval at 95 % for `num_right` of `num`."""
    share, spread = num_right / num, _Z_95**2 / num
    centre = share + spread / 2
    half = _Z_95 * math.sqrt(share * (1 - share) / num + spread / (4 * num))
    return max(0.0, (centre - half) / (1 + spread)), min(1.0, (centre + half) / (1 + spread))
