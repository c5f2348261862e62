"""Steps of an agent on held-out screens: the right action with the right argument.

A click is right inside the element, a text if it is the same but for white space and capitals, a scroll in its
direction, an end if it says the same. Seen beside it: what is asked for and missing is not clicked, and what is there
is not given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regard.evals.answers import first_mention, is_inside
from regard.evals.screens import held_out_bank
from regard.evals.task import Measure, Task
from regard.processing.json_values import plain
from regard.processing.lenient_json import Scanner
from regard.train.world.actions import ask_actions
from regard.train.world.sample import Sample

_CLICKS = frozenset({"click", "left_click", "double_click"})
_MAX_TOKENS = 320


def score(sample: Sample, answer: str) -> float:
    """1 if the step is right, else 0; for the second look whether the task is done."""
    if sample.truth["form"] == "done":
        return float(first_mention(answer, ("yes", "no")) == sample.truth["answer"])
    called = arguments_of(answer)
    wanted = sample.truth["arguments"]
    return float(called is not None and _is_right(called, wanted, sample.truth))


def _is_right(called: dict[str, Any], wanted: dict[str, Any], truth: dict[str, Any]) -> bool:
    action = str(called.get("action", ""))
    if wanted["action"] in _CLICKS:
        return action in _CLICKS and _is_pointed(called, truth)
    if action != wanted["action"]:
        return False
    if "box" in truth:
        return _is_pointed(called, truth)
    if "text" in wanted:
        return _folded(called.get("text")) == _folded(wanted["text"])
    if action == "scroll":
        return _number(called.get("pixels")) * wanted["pixels"] > 0
    if action == "swipe":
        return _rise(called) * _rise(wanted) > 0
    return all(called.get(key) == value for key, value in wanted.items() if key in ("status", "button", "keys"))


def _is_pointed(called: dict[str, Any], truth: dict[str, Any]) -> bool:
    place = called.get("coordinate")
    if not isinstance(place, list) or len(place) != 2 or not all(isinstance(v, int | float) for v in place):
        return False
    return is_inside(place[0] * truth["width"] / 1000, place[1] * truth["height"] / 1000, truth["box"])


def _rise(called: dict[str, Any]) -> float:
    start, end = called.get("coordinate"), called.get("coordinate2")
    if not (isinstance(start, list) and isinstance(end, list) and len(start) == len(end) == 2):
        return 0.0
    return _number(start[1]) - _number(end[1])


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _folded(value: Any) -> str:
    return " ".join(str(value).split()).lower()


def arguments_of(answer: str) -> dict[str, Any] | None:
    """The arguments of the first call in an answer, however broken its JSON; None if there is none."""
    start = answer.find("{", max(answer.find("<tool_call>"), 0))
    if start < 0:
        return None
    scanner = Scanner(answer)
    scanner.position = start
    value = plain(scanner.read_value())
    if isinstance(value, dict) and isinstance(value.get("arguments"), dict):
        value = value["arguments"]
    return value if isinstance(value, dict) and "action" in value else None


def _gives_up(answer: str) -> bool:
    called = arguments_of(answer)
    return called is not None and called.get("action") == "terminate" and called.get("status") == "failure"


def _refuses(sample: Sample, answer: str) -> float:
    return float(_gives_up(answer))


def _action_is(*actions: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.truth.get("action") in actions


def _is_step(sample: Sample) -> bool:
    return bool(sample.truth["form"] == "step")


def _is_impossible(sample: Sample) -> bool:
    return _is_step(sample) and sample.truth["arguments"].get("status") == "failure"


def _is_finished(sample: Sample) -> bool:
    return _is_step(sample) and sample.truth["arguments"].get("status") == "success"


def _is_possible(sample: Sample) -> bool:
    return _is_step(sample) and not _is_impossible(sample)


def _make(rng: np.random.Generator, number: int) -> Sample:
    bank = held_out_bank()
    screen = bank.screen(number % len(bank))
    return ask_actions(rng, screen, bank.widgets(int(rng.integers(len(bank)))), num_turns=1)


TASK = Task(
    name="actions",
    title="the next step of a task on a screen",
    make=_make,
    score=score,
    measures=(
        Measure("right action with right argument", score, _is_step, goal=0.92),
        Measure("clicks inside the element", score, _action_is("click", "left_click")),
        Measure("texts typed", score, _action_is("type")),
        Measure("scrolls", score, _action_is("scroll", "swipe")),
        Measure("seen that it is done", score, _is_finished),
        Measure("seen that it cannot be done", score, _is_impossible, goal=0.90),
        Measure("given up though it can be done", _refuses, _is_possible, goal=0.05, is_error=True),
        Measure("second look", score, lambda sample: sample.truth["form"] == "done"),
    ),
    max_tokens=_MAX_TOKENS,
    reads_raw=True,
)
