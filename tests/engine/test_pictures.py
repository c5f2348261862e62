"""Pictures in the engine: slices are exact, features are computed once, large pictures do not stall small ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from regard.engine import sight
from regard.engine.request import visual_map
from regard.engine.vision_cache import VisionCache, num_bytes
from regard.engine.vision_encoder import VisionEncoder
from regard.messages import Image, Text
from regard.model.vision import VisionFeatures
from tests.engine.conftest import GREEDY, PROMPTS, Subject, clip, picture, run_all, step_until_done

CPU = torch.device("cpu")


def encode(encoder: VisionEncoder, units) -> tuple[list[VisionFeatures], int]:
    """Features, and how many slices it took."""
    slices, count = encoder.encode(units), 0
    while True:
        try:
            next(slices)
            count += 1
        except StopIteration as finished:
            return finished.value, count


@pytest.mark.parametrize("rows_per_slice", [8, 12, 64])
def test_slices_of_any_size_give_the_towers_features(subject: Subject, rows_per_slice: int) -> None:
    tower = subject.model.model.visual
    for inputs in subject.prompts.values():
        units = visual_map(inputs, subject.model.config).units
        if not units:
            continue
        with torch.inference_mode():
            whole = tower(
                torch.cat([torch.from_numpy(u.pixel_values) for u in units]), [(1, *u.grid_hw) for u in units]
            )
            parts, _ = encode(VisionEncoder(tower, rows_per_slice=rows_per_slice), units)
        assert (torch.cat([part.embeds for part in parts]) - whole.embeds).abs().max() < 1e-5
        for tap, rows in enumerate(whole.deepstack):
            assert (torch.cat([part.deepstack[tap] for part in parts]) - rows).abs().max() < 1e-5


def test_a_clip_is_cut_into_its_groups(subject: Subject) -> None:
    inputs = subject.prompts["a clip"]
    visual = visual_map(inputs, subject.model.config)
    assert len(visual.units) == inputs.items[0].grid_thw[0] == 3
    pads = inputs.input_ids == subject.model.config.video_token_id
    assert ((visual.unit_of_T >= 0) == pads).all()
    assert visual.starts == tuple(int((visual.unit_of_T == i).argmax()) for i in range(3))


def count_encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of units of every call of the encoder from now on."""
    calls: list[int] = []
    original = VisionEncoder.encode

    def counted(self, units):
        calls.append(len(units))
        return original(self, units)

    monkeypatch.setattr(VisionEncoder, "encode", counted)
    return calls


def test_a_picture_that_many_ask_about_is_encoded_once(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_encodings(monkeypatch)
    engine = subject.engine()
    asked = [subject.inputs(Image(picture(3, 96, 96)), Text(text)) for text in ("What?", "Why?", "Where?")]
    made = run_all(engine, [(inputs, GREEDY) for inputs in asked])
    assert made == [subject.naive(inputs) for inputs in asked]
    assert calls == [1]
    again = engine.add(subject.inputs(Image(picture(3, 96, 96)), Text("When?")), GREEDY)
    step_until_done(engine, again)
    assert calls == [1] and again[0].cache_hits() == [True]


def test_a_frame_that_two_clips_share_is_encoded_once(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_encodings(monkeypatch)
    engine = subject.engine()
    short, long = clip(5, 4), clip(5, 8)
    for parts in ((short, Text("When?")), (long, Text("When?"))):
        inputs = subject.inputs(*parts)
        assert run_all(engine, [(inputs, GREEDY)]) == [subject.naive(inputs)]
    assert sum(calls) == 4


def test_features_survive_on_disk(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"vision_cache_folder": tmp_path, "vision_cache_disk_bytes": 10**8}
    inputs = subject.prompts["pictures and a clip"]
    first = run_all(subject.engine(**options), [(inputs, GREEDY)])
    calls = count_encodings(monkeypatch)
    assert run_all(subject.engine(**options), [(inputs, GREEDY)]) == first == [subject.truth["pictures and a clip"]]
    assert calls == []


def test_a_damaged_file_of_features_is_a_miss(subject: Subject, tmp_path: Path) -> None:
    options = {"vision_cache_folder": tmp_path, "vision_cache_disk_bytes": 10**8}
    inputs = subject.prompts["a picture"]
    run_all(subject.engine(**options), [(inputs, GREEDY)])
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:50])
    assert run_all(subject.engine(**options), [(inputs, GREEDY)]) == [subject.truth["a picture"]]


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    def features(value: float) -> VisionFeatures:
        return VisionFeatures(torch.full((4, 8), value), (torch.zeros(4, 8),))

    cache = VisionCache(3 * num_bytes(features(0)), device=CPU)
    for key in (b"a", b"b", b"c"):
        cache.put(key, features(ord(key)))
    assert cache.get(b"a") is not None
    cache.put(b"d", features(1))
    assert cache.get(b"b") is None
    assert [cache.get(key) is not None for key in (b"a", b"c", b"d")] == [True, True, True]
    assert cache.num_bytes == 3 * num_bytes(features(0))


def test_the_disk_holds_no_more_than_it_may(tmp_path: Path) -> None:
    rows = VisionFeatures(torch.zeros(256, 8), ())
    cache = VisionCache(0, device=CPU, folder=tmp_path, max_disk_bytes=3 * 256 * 8 * 4)
    for key in range(6):
        cache.put(bytes([key]), rows)
    files = list(tmp_path.glob("*.safetensors"))
    assert 0 < sum(file.stat().st_size for file in files) <= 3 * 256 * 8 * 4
    assert cache.get(bytes([5])) is not None


def test_a_small_picture_does_not_wait_for_a_large_one(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """With slices of 32 patches the large picture takes many; the small one's answer is finished long before."""
    monkeypatch.setattr(sight, "ROWS_PER_SLICE", 32)
    engine = subject.engine(vision_slice_s=0.0)
    engine._sight._encoder._rows_per_slice = 32
    large = engine.add(subject.inputs(Image(picture(1, 320, 320)), Text("What?")), GREEDY)[0]
    engine.step()
    small = engine.add(subject.inputs(Image(picture(2, 64, 64)), Text("What?")), GREEDY)[0]
    words = engine.add(subject.prompts["words"], GREEDY)[0]
    steps = 0
    while small.finish_reason is None or words.finish_reason is None:
        engine.step()
        steps += 1
        assert steps < 60
    assert large.num_output == 0, "the large picture should still be worked on"
    while engine.has_work:
        engine.step()
    for sequence in (large, small, words):
        assert sequence.token_ids[sequence.num_prompt :] == subject.naive(sequence.inputs)


def test_an_aborted_request_stops_its_encoding_and_frees_its_blocks(subject: Subject, monkeypatch) -> None:
    monkeypatch.setattr(sight, "ROWS_PER_SLICE", 32)
    engine = subject.engine(vision_slice_s=0.0)
    engine._sight._encoder._rows_per_slice = 32
    words = engine.add(subject.prompts["words"], GREEDY)[0]
    large = engine.add(subject.inputs(Image(picture(1, 320, 320)), Text("What?")), GREEDY)[0]
    engine.step()
    engine.abort(large)
    engine.step()
    assert not engine._sight._works and not large.blocks
    engine.pool.check_integrity([words.blocks])


def test_every_prompt_kind_is_covered() -> None:
    assert {"words", "a picture", "a clip"} <= set(PROMPTS)
