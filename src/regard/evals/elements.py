"""Lists of all elements of held-out screens, and of all of some kinds: F1 of boxes at an IoU of one half.

An element is right if its box overlaps the true one and its kind and text are the same (texts but for capitals and
one edit in eight characters).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from regard.evals.answers import char_error, f1, intersection_over_union
from regard.evals.screens import held_out_bank
from regard.evals.task import Measure, Task
from regard.processing.json_values import plain
from regard.processing.lenient_json import Scanner
from regard.train.world.sample import Sample
from regard.train.world.screen_lists import ask_every, ask_list

MIN_IOU = 0.5
_MAX_TEXT_ERROR = 0.125
_LIST_SHARE = 0.7
_MAX_TOKENS = 700

Same = Callable[[dict[str, Any], dict[str, Any]], bool]


def listed(answer: str) -> list[dict[str, Any]]:
    """The objects with a `bbox_2d` of four numbers, in order."""
    scanner = Scanner(answer)
    while (start := answer.find("{", scanner.position)) >= 0:
        scanner.position = start
        scanner.read_value()
    found = [plain(item) for item in scanner.objects]
    return [item for item in found if _is_box(item.get("bbox_2d"))]


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(v, int | float) for v in value)


def matched(answer: str, sample: Sample, is_same: Same) -> float:
    """F1: each given element takes the overlapping true one, of those that are the same, with the greatest IoU."""
    width, height = sample.truth["width"], sample.truth["height"]
    wanted: list[dict[str, Any]] = list(sample.truth["elements"])
    num_wanted, given, num_right = len(wanted), listed(answer), 0
    for item in given:
        x1, y1, x2, y2 = item["bbox_2d"]
        box = (x1 * width / 1000, y1 * height / 1000, x2 * width / 1000, y2 * height / 1000)
        overlaps = [intersection_over_union(box, other["box"]) if is_same(item, other) else 0.0 for other in wanted]
        if overlaps and max(overlaps) >= MIN_IOU:
            wanted.pop(overlaps.index(max(overlaps)))
            num_right += 1
    return f1(num_right, len(given), num_wanted)


def _box_only(given: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return True


def _kind(given: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return bool(given.get("label") == wanted["kind"])


def _kind_and_text(given: dict[str, Any], wanted: dict[str, Any]) -> bool:
    if not _kind(given, wanted) or not wanted["label"]:
        return _kind(given, wanted)
    return char_error(str(given.get("text_content", "")).lower(), wanted["label"].lower()) <= _MAX_TEXT_ERROR


def score(sample: Sample, answer: str) -> float:
    """F1 of elements with the right kind and text."""
    return matched(answer, sample, _kind_and_text)


def _boxes(sample: Sample, answer: str) -> float:
    return matched(answer, sample, _box_only)


def _kinds(sample: Sample, answer: str) -> float:
    return matched(answer, sample, _kind)


def _make(rng: np.random.Generator, number: int) -> Sample:
    bank = held_out_bank()
    while True:
        screen = bank.screen(number % len(bank))
        ask: Sequence[Callable[..., Sample | None]] = (ask_list, ask_every)
        made = ask[int(rng.random() >= _LIST_SHARE)](rng, screen.image, screen.widgets)
        if made is not None:
            return made
        number = int(rng.integers(len(bank)))


def _is_list(sample: Sample) -> bool:
    return bool(sample.truth["form"] == "list")


TASK = Task(
    name="elements",
    title="list the elements of screens",
    make=_make,
    score=score,
    measures=(
        Measure("boxes of all elements (F1 at IoU 0.5)", _boxes, _is_list, goal=0.90),
        Measure("with the right kind", _kinds, _is_list),
        Measure("with kind and text", score, _is_list),
        Measure("all of some kinds (F1)", _kinds, lambda sample: not _is_list(sample)),
    ),
    max_tokens=_MAX_TOKENS,
)
