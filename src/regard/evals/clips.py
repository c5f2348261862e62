"""Clips of up to 32 frames: when something happens, what appears at a time, how many, what first; events of windows.

Held out: shades, backgrounds, words, and for every colour one shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from regard.evals.answers import f1, first_count, first_mention, first_time_s
from regard.evals.scenes import first_label
from regard.evals.task import Measure, Task
from regard.train.world import clip_windows, clips
from regard.train.world.sample import Sample
from regard.train.world.window_questions import NOTHING

MAX_ERROR_S, MAX_WINDOW_ERROR_S = 1.0, 0.5
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


def _score_window_time(sample: Sample, answer: str) -> float:
    """`never`, or the time within half a second."""
    says_never = re.search(r"\b(never|does not|doesn't)\b", answer, re.IGNORECASE) is not None
    if sample.truth["time_s"] is None or says_never:
        return float(says_never and sample.truth["time_s"] is None)
    return float(error_s(sample, answer) <= MAX_WINDOW_ERROR_S + _ROUNDING_S)


_EVENT = re.compile(r'"?(\d+):(\d+(?:\.\d+)?)\s*-\s*(\d+):(\d+(?:\.\d+)?)"?\s*:\s*"([^"]*)')


def _score_events(sample: Sample, answer: str) -> float:
    """F1 of events; one is right if its sentence is the same and its start within half a second."""
    found = [(int(m[1]) * 60 + float(m[2]), m[5]) for m in _EVENT.finditer(answer)]
    wanted = [(event["start"], event["sentence"]) for event in sample.truth["events"]]
    num_wanted, num_right = len(wanted), 0
    if not wanted and "{}" not in answer.replace(" ", ""):
        return 0.0
    for start, sentence in found:
        for event in wanted:
            is_same = sentence.strip(" .").lower() == event[1].lower()
            if is_same and abs(start - event[0]) <= MAX_WINDOW_ERROR_S + _ROUNDING_S:
                wanted.remove(event)
                num_right += 1
                break
    return f1(num_right, len(found), num_wanted)


def _score_shown(sample: Sample, answer: str) -> float:
    """1 if exactly the shown things are named, in any order."""
    things: list[str] = sample.truth["things"]
    if not things:
        return float(first_mention(answer, ("nothing",)) is not None)
    pieces = [piece for piece in re.split(r",| and ", answer) if piece.strip()]
    named = [first_label(piece, question="") or piece.strip().removeprefix("the ") for piece in pieces]
    return float(sorted(named) == sorted(things))


def _score_description(sample: Sample, answer: str) -> float:
    wanted = [sentence.lower() for sentence in sample.truth["answer"]] or [NOTHING.lower()]
    given = [piece.strip().lower() + "." for piece in answer.split(".") if piece.strip()]
    return f1(sum(sentence in wanted for sentence in given), len(given), len(wanted))


_SCORERS: dict[str, Callable[[Sample, str], float]] = {
    "when": _score_time,
    "what": _score_what,
    "count": _score_count,
    "order": _score_what,
    "window when": _score_window_time,
    "events": _score_events,
    "shown": _score_shown,
    "describe": _score_description,
}


def _of_kind(kind: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.truth["kind"] == kind


def _make(rng: np.random.Generator, number: int) -> Sample:
    make = clips.make if rng.random() < 0.5 else clip_windows.make
    return make(rng, held_out=True)


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
        Measure("events of a window (F1)", score, _of_kind("events")),
        Measure("time within 0.5 s, or never", score, _of_kind("window when"), goal=0.92),
        Measure("what is shown at a time", score, _of_kind("shown"), goal=0.90),
        Measure("descriptions (F1 of sentences)", score, _of_kind("describe")),
    ),
)
