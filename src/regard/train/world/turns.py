"""Several questions about one picture, asked one after the other.

Looking at a picture costs far more than answering a question about it, so conversations of several turns
give several times the supervision for the same work, and teach follow-up questions on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from regard.messages import Message, Text
from regard.train.world.sample import Sample
from regard.train.world.screen_questions import ask
from regard.train.world.screens import ScreenBank


def join(samples: Sequence[Sample]) -> Sample:
    """One conversation from samples about the same picture, which is shown in the first turn only."""
    messages: list[Message] = list(samples[0].messages)
    for sample in samples[1:]:
        question = tuple(part for part in sample.messages[0].parts if isinstance(part, Text))
        messages += [replace(sample.messages[0], parts=question), *sample.messages[1:]]
    return replace(samples[0], messages=tuple(messages))


def screen_turns(rng: np.random.Generator, *, bank: ScreenBank, num_turns: int) -> Sample:
    """`num_turns` questions about the smaller of two screens; the other one names what is not there."""
    pair = [bank.screen(int(rng.integers(len(bank)))) for _ in range(2)]
    screen, elsewhere = sorted(pair, key=lambda one: one.image.width * one.image.height)
    return join([ask(rng, screen.image, screen.widgets, elsewhere.widgets, screen.dense) for _ in range(num_turns)])
