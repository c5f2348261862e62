"""Tiny random checkpoints in float32: everything that `regard parity` measures is within its limit."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from regard.generate import generate
from regard.model.config import RopeConfig
from regard.parity.cases import Case
from regard.parity.compare import FEATURE_LIMIT, Comparison, count_different, largest_difference, our_forward
from regard.parity.suite import TINY_NAMES
from regard.processing.processor import Processor
from regard.sampling_params import SamplingParams
from tests.parity.conftest import Measure, Open

CHECKS = (
    "token ids",
    "positions",
    "rope_delta",
    "timestamps",
    "image pixels",
    "video pixels",
    "vision features",
    "DeepStack feature 0",
    "DeepStack feature 1",
    "DeepStack feature 2",
    "logits",
    "greedy 64 tokens",
)
MIXED = "image, video and text mixed"
EXACT_CHECKS = {*CHECKS[:6], CHECKS[-1]}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("checkpoint", TINY_NAMES)
def test_ours_equals_the_reference_in_every_case(measured: Measure, checkpoint: str, check: str) -> None:
    found = [measurement for measurement in measured(checkpoint) if measurement.check == check]
    assert found
    assert {measurement.limit for measurement in found} == {0.0 if check in EXACT_CHECKS else 1e-4}
    assert [measurement for measurement in found if not measurement.is_passed] == []


@pytest.mark.parametrize("checkpoint", TINY_NAMES[:2])
def test_every_kind_of_input_is_among_the_cases(measured: Measure, checkpoint: str) -> None:
    names = {measurement.case for measurement in measured(checkpoint)}
    kinds = {
        "text",
        "one image",
        "three images of different sizes",
        "video, odd number of frames",
        MIXED,
        "system turn",
        "tools",
    }
    assert kinds <= names
    assert sum(name.startswith("batch of unequal lengths") for name in names) == 4


def test_no_check_is_made_that_is_not_listed(measured: Measure) -> None:
    assert {measurement.check for measurement in measured("tiny dense")} == set(CHECKS)


def test_the_thinking_template_is_the_one_that_opens_a_block(opened: Open, cases: dict[str, Case]) -> None:
    ours = opened("tiny dense, YaRN, Thinking")[0].processor(cases["follow-up question"].messages)
    assert ours.prompt.endswith("<|im_start|>assistant\n<think>\n")
    assert "It looks red." not in ours.prompt, "reasoning before the last question is dropped"


def test_yarn_changes_the_answers_far_beyond_the_limit(
    opened: Open, cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that equality with the reference says something about YaRN."""
    comparison, _ = opened("tiny dense, YaRN, Thinking")
    inputs = comparison.processor(cases["text"].messages)
    expected = our_forward(comparison.model, [inputs])[0]
    language_model = comparison.model.model.language_model
    rope = RopeConfig(theta=language_model.config.rope.theta, mrope_section=language_model.config.rope.mrope_section)
    monkeypatch.setattr(language_model, "config", replace(language_model.config, rope=rope))
    assert largest_difference(our_forward(comparison.model, [inputs])[0], expected) > 100 * FEATURE_LIMIT


@pytest.mark.parametrize("checkpoint", TINY_NAMES)
def test_greedy_answers_are_more_than_one_token_repeated(opened: Open, cases: dict[str, Case], checkpoint: str) -> None:
    """Equal answers of a model that says the same for ever would say nothing."""
    comparison, _ = opened(checkpoint)
    inputs = comparison.processor(cases[MIXED].messages)
    answer = list(generate(comparison.model, inputs, SamplingParams(max_tokens=64), eos_token_ids=()))
    assert len(set(answer)) > 4


def test_a_wrong_weight_fails_what_depends_on_it_and_says_where_answers_part(
    dense: Comparison, cases: dict[str, Case]
) -> None:
    weight = dense.model.model.visual.merger.linear_fc2.weight
    before = weight.data.clone()
    weight.data = -before
    try:
        failed = {found.check: found.detail for found in dense.compare(cases[MIXED]) if not found.is_passed}
    finally:
        weight.data = before
    assert failed.keys() == {"vision features", "logits", "greedy 64 tokens"}
    assert re.fullmatch(
        r"first difference at token \d+, where the two best logits are \S+ apart", failed["greedy 64 tokens"]
    )


def test_the_default_dialect_differs_from_the_reference_by_two_tokens_for_each_clip(
    dense: Comparison, cases: dict[str, Case]
) -> None:
    case = cases["two videos of different rates"]
    theirs = dense.reference.inputs([case.messages])["input_ids"][0]
    authors = Processor.from_folder(dense.folder)(case.messages).input_ids
    assert len(theirs) - len(authors) == 2 * 2


def test_differences_are_never_hidden_by_shapes_or_by_not_a_number() -> None:
    assert largest_difference(torch.zeros(3), torch.zeros(4)) == float("inf")
    assert not largest_difference(torch.tensor([float("nan")]), torch.zeros(1)) <= 1e-4
    assert count_different([1, 2], [1, 2, 3]) == float("inf")
    assert count_different([1, 2], [1, 3]) == 1
