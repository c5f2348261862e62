"""Mock-ups to HTML on held-out pages: the elements in order, and their texts.

Both are compared without rendering: the sequence of opening tags (with class and type) by edit distance, and the texts
in their order (values and hints of fields included) by characters. Elements of a page that an answer puts in another
order cost as much as missing ones.
"""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser

import numpy as np
from rapidfuzz.distance import Levenshtein

from regard.evals.answers import char_error
from regard.evals.screens import held_out_bank
from regard.evals.task import Measure, Task
from regard.train.world.mockups import MOCKUPS, ask_html
from regard.train.world.sample import Sample
from regard.train.world.screens import ScreenBank

_NUM_PAGES = 120
_MAX_TOKENS = 500
_SHOWN_ATTRIBUTES = ("value", "placeholder")
_TOLD_ATTRIBUTES = ("class", "type", "checked", "alt")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("html", "head", "body", "style", "script"):
            return
        given = dict(attrs)
        told = [f"{name}={given[name]}" for name in _TOLD_ATTRIBUTES if name in given]
        self.tags.append(" ".join([tag, *told]))
        self.texts += [str(given[name]) for name in _SHOWN_ATTRIBUTES if given.get(name)]

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(" ".join(data.split()))


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(re.sub(r"```[a-z]*", "", text))
    reader.close()
    return reader


def elements(sample: Sample, answer: str) -> float:
    """Likeness of the sequences of opening tags, 0 to 1."""
    return Levenshtein.normalized_similarity(_read(answer).tags, _read(sample.truth["html"]).tags)


def texts(sample: Sample, answer: str) -> float:
    """Share of the texts' characters that are right."""
    given, wanted = " ".join(_read(answer).texts), " ".join(_read(sample.truth["html"]).texts)
    return max(0.0, 1.0 - char_error(given, wanted))


def score(sample: Sample, answer: str) -> float:
    """Elements times texts."""
    return elements(sample, answer) * texts(sample, answer)


def _every(sample: Sample) -> bool:
    return True


@functools.cache
def _bank() -> ScreenBank:
    return held_out_bank(MOCKUPS, _NUM_PAGES)


def _make(rng: np.random.Generator, number: int) -> Sample:
    bank = _bank()
    return ask_html(bank.screen(number % len(bank)))


TASK = Task(
    name="mockups",
    title="mock-ups to HTML",
    make=_make,
    score=score,
    measures=(
        Measure("elements in order", elements, _every, goal=0.80),
        Measure("texts (characters right)", texts, _every, goal=0.90),
    ),
    max_tokens=_MAX_TOKENS,
)
