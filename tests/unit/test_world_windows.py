"""Windows of clips: answers say what the frames show, at the times at which they show it."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from regard.evals import clips as task
from regard.train.world import clip_windows as windows
from regard.train.world.sample import Sample

SENTENCE = (
    r"(an? [a-z]+ [a-z]+|the word [A-Z]+) appears|the .+ disappears|the .+ turns [a-z]+"
    r"|the .+ moves (left|right|up|down)"
)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = np.random.default_rng(2)
    return [windows.make(rng, held_out=False) for _ in range(500)]


def of_kind(samples: list[Sample], kind: str) -> list[Sample]:
    return [sample for sample in samples if sample.truth["kind"] == kind]


def frames_of(sample: Sample) -> np.ndarray:
    return np.stack([np.asarray(frame, int) for frame in sample.prompt[0].parts[0].source])


def test_windows_are_as_the_application_cuts_them(samples):
    for sample in samples:
        video = sample.prompt[0].parts[0]
        assert 8 <= len(video.source) <= 16 and video.sample_fps in (1.0, 2.0, 4.0)
        assert {frame.size for frame in video.source} <= {(128, 96), (96, 128)}


def test_all_kinds_are_asked_and_some_windows_are_empty(samples):
    kinds = Counter(sample.truth["kind"] for sample in samples)
    assert set(kinds) == {"events", "window when", "what", "shown", "count", "describe"}
    assert any(sample.answer == "{}" for sample in of_kind(samples, "events"))
    assert 5 < sum(sample.answer == "never" for sample in samples) < 80


def test_events_are_one_object_of_sentences_in_order_of_time(samples):
    for sample in of_kind(samples, "events"):
        found = json.loads(sample.answer)
        assert len(found) == len(sample.truth["events"])
        assert list(found) == sorted(found, key=lambda key: key.split(" - ")[0])
        for sentence in found.values():
            assert re.fullmatch(SENTENCE, sentence), sentence


def test_the_frames_change_where_an_event_starts_and_rest_elsewhere(samples):
    checked = 0
    for sample in of_kind(samples, "events"):
        fps = sample.prompt[0].parts[0].sample_fps
        changed = np.abs(np.diff(frames_of(sample), axis=0)).max(axis=(1, 2, 3)) > 30
        starts = {round(event["start"] * fps) for event in sample.truth["events"]}
        moving = any(" moves " in event["sentence"] for event in sample.truth["events"])
        assert all(changed[start - 1] for start in starts)
        if not moving:
            assert set(np.nonzero(changed)[0] + 1) == starts
            checked += 1
    assert checked > 50


def test_what_is_shown_has_at_most_three_things_or_nothing(samples):
    shown = of_kind(samples, "shown")
    assert any(sample.answer == "nothing" for sample in shown)
    assert max(len(sample.truth["things"]) for sample in shown) <= 3


def test_the_generators_own_answers_score_one(samples):
    held_out = [windows.make(np.random.default_rng([5, i]), held_out=True, num_turns=2) for i in range(100)]
    for sample in (*samples[:200], *held_out):
        if len(sample.messages) == 2:
            assert task.score(sample, sample.answer) == 1, (sample.question, sample.answer)


def test_silence_and_other_windows_answers_score_little(samples):
    assert sum(task.score(sample, "") for sample in samples[:100]) == 0
    events = of_kind(samples, "events")
    swapped = [task.score(a, b.answer) for a, b in zip(events, events[1:] + events[:1], strict=True)]
    assert sum(swapped) / len(swapped) < 0.15
