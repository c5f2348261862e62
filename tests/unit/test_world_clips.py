"""Clips: what the answer says happens in the frames, at that time."""

from __future__ import annotations

import numpy as np
import pytest

from regard.messages import Video
from regard.train.world import clips
from regard.train.world.sample import Sample

NUM_SAMPLES = 200


def _samples(seed: int, *, held_out: bool) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [clips.make(rng, held_out=held_out) for _ in range(NUM_SAMPLES)]


@pytest.fixture(scope="module")
def training() -> list[Sample]:
    return _samples(1, held_out=False)


def _video(sample: Sample) -> Video:
    video = sample.messages[0].parts[0]
    assert isinstance(video, Video)
    return video


def _changes(sample: Sample) -> list[int]:
    """Indices of the frames that differ from the one before by more than noise."""
    frames = np.stack([np.asarray(frame) for frame in _video(sample).source]).astype(int)
    differs = np.abs(np.diff(frames, axis=0)).max(axis=(1, 2, 3)) > 30
    return [int(index) + 1 for index in np.nonzero(differs)[0]]


def _of_kind(samples: list[Sample], kind: str) -> list[Sample]:
    return [sample for sample in samples if sample.truth["kind"] == kind]


def test_the_same_seed_gives_the_same_frames_and_words():
    for first, second in zip(_samples(4, held_out=True)[:10], _samples(4, held_out=True)[:10], strict=True):
        assert first.messages[0].text == second.messages[0].text
        for a, b in zip(_video(first).source, _video(second).source, strict=True):
            assert np.array_equal(np.asarray(a), np.asarray(b))


def test_clips_have_8_to_32_small_frames_and_known_rates(training):
    lengths = {len(_video(sample).source) for sample in training}
    assert min(lengths) == 8 and max(lengths) == 32
    assert {_video(sample).sample_fps for sample in training} == {0.5, 1.0, 2.0, 4.0}
    for sample in training:
        sizes = {frame.size for frame in _video(sample).source}
        assert len(sizes) == 1 and all(side % 32 == 0 and side <= 128 for side in sizes.pop())


def test_the_frames_change_at_the_answered_second(training):
    whens = _of_kind(training, "when")
    assert {sample.truth["event"] for sample in whens} == {"appear", "disappear", "recolour"}
    for sample in whens:
        frame = sample.truth["time_s"] * _video(sample).sample_fps
        assert frame in _changes(sample)
        assert sample.answer == f"{sample.truth['time_s']:.1f} seconds"


def test_events_lie_in_different_pairs_of_frames(training):
    for sample in training:
        groups = [frame // 2 for frame in _changes(sample)]
        assert all(later - earlier >= 2 for earlier, later in zip(groups, groups[1:], strict=False))
        assert 0 not in groups


def test_the_second_in_a_question_is_one_at_which_the_frames_change(training):
    for sample in _of_kind(training, "what"):
        times = [f"{frame / _video(sample).sample_fps:.1f}" for frame in _changes(sample)]
        assert any(time in sample.messages[0].text for time in times)
        assert sample.truth["answer"] in sample.answer


def test_no_more_shapes_appear_than_the_frames_change(training):
    counted = _of_kind(training, "count")
    assert {sample.truth["count"] for sample in counted} >= {0, 1, 2}
    for sample in counted:
        assert int(sample.answer) == sample.truth["count"] <= len(_changes(sample))


def test_the_first_of_two_is_named_in_either_place_of_the_question(training):
    places = set()
    for sample in _of_kind(training, "order"):
        question = sample.messages[0].text
        assert sample.answer == f"the {sample.truth['answer']}"
        places.add(question.index(sample.truth["answer"]) > question.index(" or "))
    assert places == {True, False}


def test_held_out_clips_use_words_that_training_never_shows():
    assert not set(clips.TRAINING_WORDS) & set(clips.HELD_OUT_WORDS)
    asked = " ".join(s.messages[0].text + s.answer for s in _samples(2, held_out=True))
    assert any(word in asked for word in clips.HELD_OUT_WORDS)
    assert not any(f"word {word} " in asked for word in clips.TRAINING_WORDS)
