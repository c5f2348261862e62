"""Simple program screens from real Chromium: is the answered point inside the named widget?

The held-out bank (layouts, words, themes and fonts that training never shows) is rendered on first use, once,
into the user's cache folder; that needs Chromium.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from regard.evals.answers import char_error, first_mention, is_inside
from regard.evals.task import Measure, Task
from regard.processing.coordinates import find_boxes_and_points
from regard.train.world.sample import Sample
from regard.train.world.screen_questions import ask
from regard.train.world.screens import SCREENS, SHARD_SIZE, BankKind, ScreenBank, build_bank

_BANK_SEED = 20_260_000  # no training bank uses it


def score(sample: Sample, answer: str) -> float:
    """1 if the point or the middle of the box is inside, the yes or no is right, or the text is read; else 0."""
    form = sample.truth["form"]
    if form in ("bbox", "point"):
        return _is_inside_box(sample, answer)
    if form == "yesno":
        return float(first_mention(answer, ("yes", "no")) == first_mention(sample.truth["answer"], ("yes", "no")))
    return float(char_error(answer, sample.truth["answer"]) == 0)


def _is_inside_box(sample: Sample, answer: str) -> float:
    truth = sample.truth
    boxes, points = find_boxes_and_points(answer, ((truth["width"], truth["height"]),))
    given = [(point.x, point.y) for point in points] + [((b.x1 + b.x2) / 2, (b.y1 + b.y2) / 2) for b in boxes]
    return float(bool(given) and is_inside(*given[0], truth["box"]))


def cache_folder(name: str) -> Path:
    """Where a bank is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "regard" / name


@functools.cache
def held_out_bank(kind: BankKind = SCREENS, count: int = SHARD_SIZE) -> ScreenBank:
    """Held-out screens of a kind; rendered if they are not there.

    Errors: MissingDependencyError if they have to be rendered and Chromium or playwright is missing.
    """
    folder = cache_folder(f"{kind.name}-held-out-{kind.version}")
    build_bank(folder, count=count, seed=_BANK_SEED, held_out=True, kind=kind)
    return ScreenBank(folder)


def _make(rng: np.random.Generator, number: int) -> Sample:
    """One question; every screen is asked about before one comes twice."""
    bank = held_out_bank()
    screen = bank.screen(number % len(bank))
    elsewhere = bank.screen(int(rng.integers(len(bank))))
    return ask(rng, screen.image, screen.widgets, elsewhere.widgets)


def _of_forms(*forms: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.truth["form"] in forms


TASK = Task(
    name="screens",
    title="find named widgets on screens",
    make=_make,
    score=score,
    measures=(
        Measure("point inside the widget", score, _of_forms("bbox", "point"), goal=0.85),
        Measure("yes or no", score, _of_forms("yesno")),
        Measure("text read without a mistake", score, _of_forms("text")),
    ),
)
