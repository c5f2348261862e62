"""Several questions about one picture, asked one after the other.

Looking at a picture costs far more than answering a question about it, so conversations of several turns
give several times the supervision for the same work, and teach follow-up questions on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from regard.messages import Message, Text
from regard.train.world.sample import Clue, Sample
from regard.train.world.screen_lists import ask_absent, ask_every, ask_list
from regard.train.world.screen_questions import ask
from regard.train.world.screens import ScreenBank
from regard.train.world.shapes import choose

ABSENT_SHARE, LIST_SHARE, LIST_TURNS = 0.125, 0.35, 4


def join(samples: Sequence[Sample]) -> Sample:
    """One conversation from samples about the same picture, which is shown in the first turn only."""
    messages: list[Message] = list(samples[0].messages)
    clues = [*_clues(samples[0])]
    for sample in samples[1:]:
        clues += _clues(sample)
        first = sample.prompt[-1]
        question = tuple(part for part in first.parts if isinstance(part, Text))
        messages += [replace(first, parts=question), *sample.messages[len(sample.prompt) :]]
    return replace(samples[0], messages=tuple(messages), clues=tuple(clues))


def _clues(sample: Sample) -> tuple[tuple[Clue, ...], ...]:
    """One entry for each answer."""
    return sample.clues or ((),) * sum(message.role == "assistant" for message in sample.messages)


def screen_turns(rng: np.random.Generator, *, bank: ScreenBank, num_turns: int) -> Sample:
    """`num_turns` questions about the smaller of two screens; the other one names what is not there.

    Beside the first, one in eight is about something that is not there, and a list counts for four.
    """
    pair = [bank.screen(int(rng.integers(len(bank)))) for _ in range(2)]
    screen, elsewhere = sorted(pair, key=lambda one: one.image.width * one.image.height)
    image, widgets, dense = screen.image, screen.widgets, screen.dense
    samples = [ask(rng, image, widgets, elsewhere.widgets, dense)]
    listed = None
    if num_turns > LIST_TURNS and rng.random() < LIST_SHARE:
        listed = choose(rng, (ask_list, ask_every))(rng, image, widgets, dense)
    for _ in range(num_turns - 1 - (LIST_TURNS if listed else 0)):
        absent = ask_absent(rng, image, widgets, elsewhere.widgets, dense) if rng.random() < ABSENT_SHARE else None
        samples.append(absent or ask(rng, image, widgets, elsewhere.widgets, dense))
    if listed is not None:
        samples.insert(int(rng.integers(1, len(samples) + 1)), listed)
    return join(samples)
