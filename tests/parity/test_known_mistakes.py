"""Mistakes that other implementations of this family have made. Each test puts one in and shows that it is seen.

What is right is measured against the reference in test_tiny_checkpoints.py; here each wrong variant is computed
too, and must lie far outside the limit: an equality that a mistake would also satisfy proves nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import regard.model.text
import regard.model.vision
from regard.generate import encode_items, generate
from regard.inputs import ModelInputs
from regard.messages import Image, Message, Text
from regard.model.cache import KVCache
from regard.model.vision import PatchMerger, VisionFeatures, VisionModel, patch_coordinates
from regard.parity.cases import Case, picture
from regard.parity.compare import FEATURE_LIMIT, Comparison, largest_difference, our_forward
from regard.sampling_params import SamplingParams
from tests.parity.conftest import Open

FAR = 10 * FEATURE_LIMIT
MIXED = "image, video and text mixed"


def logits(comparison: Comparison, inputs: ModelInputs) -> Tensor:
    return our_forward(comparison.model, [inputs])[0]


def features(comparison: Comparison, inputs: ModelInputs) -> VisionFeatures:
    with torch.inference_mode():
        found = encode_items(comparison.model, inputs)
    assert found is not None
    return found


def test_each_video_has_timestamps_of_its_own_rate(dense: Comparison, cases: dict[str, Case]) -> None:
    """Once, every clip of a prompt was dated by the first one's rate."""
    inputs = dense.processor(cases["two videos of different rates"].messages)
    first, second = (report.timestamps_s for report in inputs.media)
    assert first == (0.25, 1.25, 2.0)
    assert second == pytest.approx((0.5 / 0.7, 2.5 / 0.7))
    prompt = dense.reference.processor.tokenizer.decode(
        dense.reference.inputs([cases["two videos of different rates"].messages])["input_ids"][0]
    )
    assert [f"<{time:.1f} seconds>" in prompt for time in (*first, *second)] == [True] * 5


def test_an_odd_number_of_frames_is_filled_up_with_the_last_one(dense: Comparison, cases: dict[str, Case]) -> None:
    item = dense.processor(cases["video, odd number of frames"].messages).items[0]
    groups = item.pixel_values.reshape(item.grid_thw[0], -1, 3, 2, 16, 16)
    assert item.grid_thw[0] == 3
    assert np.array_equal(groups[2, :, :, 0], groups[2, :, :, 1])
    assert not np.array_equal(groups[1, :, :, 0], groups[1, :, :, 1])


def test_sectioned_mrope_gives_other_logits_for_pictures_and_the_same_for_text(
    dense: Comparison, cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text has three equal positions, so a test without pictures passes with the wrong order of axes."""
    text, shown = (dense.processor(cases[name].messages) for name in ("text", "one image"))
    expected = logits(dense, text), logits(dense, shown)
    monkeypatch.setattr(
        regard.model.text, "mrope_axes", lambda section: torch.arange(3).repeat_interleave(torch.tensor(section))
    )
    assert torch.equal(logits(dense, text), expected[0])
    assert largest_difference(logits(dense, shown), expected[1]) > FAR


def test_deepstack_taps_follow_the_blocks_counted_from_zero(dense: Comparison, cases: dict[str, Case]) -> None:
    inputs = dense.processor(cases["one image"].messages)
    visual = dense.model.model.visual
    outputs: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda *call: outputs.append(call[-1])) for block in visual.blocks]
    found = features(dense, inputs)
    for hook in hooks:
        hook.remove()
    assert visual.config.deepstack_visual_indexes == (0, 1, 2)
    with torch.inference_mode():
        for k, merger in enumerate(visual.deepstack_merger_list):
            assert torch.equal(found.deepstack[k], merger(outputs[k]))
        assert largest_difference(found.deepstack[1], visual.deepstack_merger_list[1](outputs[0])) > FAR


def test_both_temporal_slices_of_the_patch_convolution_are_used(dense: Comparison, cases: dict[str, Case]) -> None:
    inputs = dense.processor(cases["one image"].messages)
    expected = features(dense, inputs).embeds
    projection = dense.model.model.visual.patch_embed.proj
    weight = projection.weight.data
    assert weight.shape[2] == 2
    for slot in (0, 1):
        projection.weight.data = weight.clone()
        projection.weight.data[:, :, slot] = 0
        only_other = features(dense, inputs).embeds
        projection.weight.data = weight
        assert largest_difference(only_other, expected) > FAR


@pytest.mark.parametrize("align_corners", [True, False])
def test_learned_positions_are_resampled_with_aligned_corners(
    dense: Comparison, cases: dict[str, Case], align_corners: bool
) -> None:
    visual: VisionModel = dense.model.model.visual
    height, width = 6, 10
    rows, columns = patch_coordinates([(1, height, width)], 2, torch.device("cpu"))
    side = round(visual.config.num_position_embeddings**0.5)
    table = visual.pos_embed.weight.float().view(1, side, side, -1).permute(0, 3, 1, 2)
    plane = F.interpolate(table, (height, width), mode="bilinear", align_corners=align_corners)[0].permute(1, 2, 0)
    difference = largest_difference(visual.resampled_positions([(1, height, width)]), plane[rows, columns])
    assert difference < FEATURE_LIMIT if align_corners else difference > FAR


def test_mergers_use_the_exact_gelu(dense: Comparison, cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = dense.processor(cases[MIXED].messages)
    expected = features(dense, inputs)

    def with_tanh(self: PatchMerger, x_PH: Tensor) -> Tensor:
        x = x_PH.reshape(-1, self.grouped_size) if self.norm_after_grouping else x_PH
        x = self.norm(x).reshape(-1, self.grouped_size)
        return self.linear_fc2(F.gelu(self.linear_fc1(x), approximate="tanh"))

    monkeypatch.setattr(PatchMerger, "forward", with_tanh)
    found = features(dense, inputs)
    for mine, other in zip((found.embeds, *found.deepstack), (expected.embeds, *expected.deepstack), strict=True):
        assert largest_difference(mine, other) > FEATURE_LIMIT


def test_deepstack_rows_of_pictures_and_clips_follow_the_order_of_tokens(
    dense: Comparison, cases: dict[str, Case]
) -> None:
    """The prompt begins with a clip, so rows sorted pictures first would land on other tokens."""
    inputs = dense.processor(cases[MIXED].messages)
    assert [item.is_video for item in inputs.items] == [True, False, True, False]
    found = features(dense, inputs)
    counts = [np.prod(item.grid_thw) // 4 for item in inputs.items]
    parts = [torch.arange(end - count, end) for count, end in zip(counts, np.cumsum(counts), strict=True)]
    pictures_first = torch.cat([parts[1], parts[3], parts[0], parts[2]])
    wrong = VisionFeatures(found.embeds, tuple(rows[pictures_first] for rows in found.deepstack))
    ids = torch.from_numpy(inputs.input_ids)[None]
    mask = (ids == dense.model.config.image_token_id) | (ids == dense.model.config.video_token_id)
    positions = torch.from_numpy(inputs.position_ids)[:, None]
    with torch.inference_mode():
        right_logits, wrong_logits = (
            dense.model(ids, positions, visual=rows, visual_mask=mask)[0] for rows in (found, wrong)
        )
    theirs = dense.reference.logits(dense.reference.inputs([cases[MIXED].messages]))[0]
    assert largest_difference(right_logits, theirs) < FEATURE_LIMIT
    assert largest_difference(wrong_logits, theirs) > FAR


def test_transposed_experts_would_be_seen(opened: Open, cases: dict[str, Case]) -> None:
    """Reading [E, H, 2I] as [E, 2I, H] keeps the number of values; the logits tell."""
    comparison, _ = opened("tiny MoE")
    inputs = comparison.processor(cases["one image"].messages)
    expected = logits(comparison, inputs)
    experts = comparison.model.model.language_model.layers[0].mlp.experts
    weight = experts.gate_up_proj.data
    experts.gate_up_proj.data = weight.reshape(weight.shape[0], weight.shape[2], -1).transpose(1, 2)
    wrong = logits(comparison, inputs)
    experts.gate_up_proj.data = weight
    assert largest_difference(wrong, expected) > FAR


def test_two_images_of_equal_size_do_not_mix(dense: Comparison) -> None:
    """Their token ids are the same in both orders; only pixels tell them apart."""
    first, second = Image(picture(90, 70, 1)), Image(picture(90, 70, 9))
    one, other = ((Message("user", (a, b, Text("Which is darker?"))),) for a, b in ((first, second), (second, first)))
    inputs = [dense.processor(messages) for messages in (one, other)]
    assert np.array_equal(inputs[0].input_ids, inputs[1].input_ids)
    assert [item.content_hash for item in inputs[0].items] == [item.content_hash for item in inputs[1].items][::-1]
    found = [logits(dense, each) for each in inputs]
    assert largest_difference(found[0], found[1]) > FAR
    for messages, mine in zip((one, other), found, strict=True):
        assert largest_difference(mine, dense.reference.logits(dense.reference.inputs([messages]))[0]) < FEATURE_LIMIT


def logits_of_next(comparison: Comparison, inputs: ModelInputs, token: int, rope_delta: int) -> Tensor:
    """Logits after one generated token on top of the cached prompt."""
    model, num_tokens = comparison.model, len(inputs.input_ids)
    ids, positions = torch.from_numpy(inputs.input_ids)[None], torch.from_numpy(inputs.position_ids)[:, None]
    mask = (ids == model.config.image_token_id) | (ids == model.config.video_token_id)
    cache = KVCache(model.config.text, batch_size=1, capacity=num_tokens + 1, dtype=model.dtype)
    with torch.inference_mode():
        model(ids, positions, visual=encode_items(model, inputs), visual_mask=mask, cache=cache)
        return model(torch.tensor([[token]]), torch.full((3, 1, 1), num_tokens + rope_delta), cache=cache)[0, 0]


def test_generated_tokens_go_on_at_the_position_that_rope_delta_gives(
    dense: Comparison, cases: dict[str, Case]
) -> None:
    """A picture takes fewer positions than tokens: without the delta, generated tokens stand too far away."""
    messages, token = cases["three images of different sizes"].messages, 65
    inputs, theirs = dense.processor(messages), dense.reference.inputs([messages])
    for name, value in (("input_ids", token), ("attention_mask", 1), ("mm_token_type_ids", 0)):
        theirs[name] = F.pad(theirs[name], (0, 1), value=value)
    expected = dense.reference.logits(theirs)[0, -1]
    assert inputs.rope_delta < 0
    assert largest_difference(logits_of_next(dense, inputs, token, inputs.rope_delta), expected) < FEATURE_LIMIT
    assert largest_difference(logits_of_next(dense, inputs, token, 0), expected) > FAR


def test_a_prompt_is_answered_the_same_after_another_with_a_different_rope_delta(
    dense: Comparison, cases: dict[str, Case]
) -> None:
    """Positions belong to the request: a delta kept from the last one broke the next."""
    text, shown = (dense.processor(cases[name].messages) for name in ("text", MIXED))
    params = SamplingParams(max_tokens=24)
    before = list(generate(dense.model, text, params, eos_token_ids=()))
    interleaved = zip(
        generate(dense.model, shown, params, eos_token_ids=()),
        generate(dense.model, text, params, eos_token_ids=()),
        strict=True,
    )
    assert [token for _, token in interleaved] == before
