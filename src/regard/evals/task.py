"""What an evaluation task is: held-out samples, how one answer is scored, and the rows of the table.

A `Measure` is one row. Its value is the mean of `score` over the samples it applies to, each weighted by `weight`
(characters, for the character error); the goal is what the bundled checkpoint's first version has to reach.
The first measure of a task is its headline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from regard.train.world.sample import Sample

Scorer = Callable[[Sample, str], float]


@dataclass(frozen=True)
class Measure:
    """One row of the table; `is_error` means that less is better."""

    name: str
    score: Scorer
    applies: Callable[[Sample], bool]
    goal: float | None = None
    is_error: bool = False
    weight: Callable[[Sample], float] = lambda sample: 1.0


@dataclass(frozen=True)
class Task:
    """A task of the evaluation. `score` is 0 (wrong) to 1 (right) for any sample of it.

    `max_tokens` of an answer should be well above what the longest right one takes; `reads_raw`: scores look at all
    that the model wrote, tool calls included.
    """

    name: str
    title: str
    make: Callable[[np.random.Generator, int], Sample]  # (generator of this sample, its number) -> sample
    score: Scorer
    measures: tuple[Measure, ...]
    max_tokens: int = 256
    reads_raw: bool = False

    def samples(self, num_samples: int, *, seed: int) -> Iterator[Sample]:
        """`num_samples` that the headline measures, and up to half as many of the others, in their natural mix.

        Sample i follows from (seed, i) alone.
        """
        num_headline = num_others = number = 0
        while num_headline < num_samples:
            sample = self.make(np.random.default_rng([seed, number]), number)
            number += 1
            if self.measures[0].applies(sample):
                num_headline += 1
            elif num_others < num_samples // 2:
                num_others += 1
            else:
                continue
            yield sample
