"""Things that are not on the screen are refused, and things that are there are not."""

from __future__ import annotations

import re

import numpy as np

from regard.evals import screens
from regard.evals.screens import held_out_bank
from regard.evals.task import Measure, Task
from regard.processing.coordinates import find_boxes_and_points
from regard.train.world.sample import Sample
from regard.train.world.screen_lists import ask_absent
from regard.train.world.screen_questions import ask

_ABSENT_SHARE = 0.5
_SAID = re.compile(
    r"\b(there is no|there isn't|no such|not (?:visible|present|there|on|in|found|shown)|cannot|can't|does not|doesn't|"
    r"unable|absent|missing)\b",
    re.IGNORECASE,
)


def is_refusal(answer: str) -> bool:
    """Whether an answer says in words, or with an empty list, that the thing is not there; places speak against it."""
    boxes, points = find_boxes_and_points(answer, ((1000, 1000),))
    if boxes or points:
        return False
    return _SAID.search(answer) is not None or re.search(r"\[\s*\]", answer) is not None


def score(sample: Sample, answer: str) -> float:
    """1 if what is absent is refused, or what is there is located."""
    if sample.truth["form"] == "absent":
        return float(is_refusal(answer))
    return screens.score(sample, answer)


def _refused(sample: Sample, answer: str) -> float:
    return float(is_refusal(answer))


def _is_absent(sample: Sample) -> bool:
    return bool(sample.truth["form"] == "absent")


def _make(rng: np.random.Generator, number: int) -> Sample:
    bank = held_out_bank()
    while True:
        screen = bank.screen(number % len(bank))
        elsewhere = bank.widgets(int(rng.integers(len(bank))))
        if rng.random() < _ABSENT_SHARE:
            made = ask_absent(rng, screen.image, screen.widgets, elsewhere)
        else:
            made = ask(rng, screen.image, screen.widgets, elsewhere)
            made = made if made.truth["form"] in ("bbox", "point") else None
        if made is not None:
            return made


TASK = Task(
    name="refusals",
    title="things that are not there",
    make=_make,
    score=score,
    measures=(
        Measure("absent things refused", _refused, _is_absent, goal=0.90),
        Measure("things refused that are there", _refused, lambda s: not _is_absent(s), goal=0.05, is_error=True),
        Measure("things located that are there", score, lambda sample: not _is_absent(sample)),
    ),
)
