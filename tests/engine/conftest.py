"""Tiny random checkpoints, prompts of every kind, and a way to run the engine to its end."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from regard.engine.engine import Engine, EngineConfig, Output, Tokens
from regard.engine.request import Sequence
from regard.generate import generate
from regard.inputs import ModelInputs
from regard.messages import Image, Message, Part, Text, Video
from regard.model.qwen3_vl import Qwen3VL
from regard.processing.processor import Processor
from regard.sampling_params import SamplingParams
from regard.weights.checkpoint import load_model
from tests.tiny import NUM_TOKENS, tiny_folder

GREEDY = SamplingParams(max_tokens=8)


def picture(seed: int, width: int, height: int) -> PILImage.Image:
    return PILImage.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def clip(seed: int, num_frames: int) -> Video:
    return Video([picture(100 * seed + i, 64, 64) for i in range(num_frames)], sample_fps=2.0)


PROMPTS: dict[str, tuple[Part, ...]] = {
    "words": (Text("Why is the sky blue? " * 3),),
    "a picture": (Image(picture(0, 96, 64)), Text("What is it?")),
    "two pictures of one size": (Image(picture(1, 96, 64)), Image(picture(2, 96, 64)), Text("Compare.")),
    "a clip": (clip(3, 6), Text("When?")),
    "pictures and a clip": (
        Image(picture(1, 64, 128)),
        Text("Compare"),
        clip(4, 4),
        Image(picture(9, 64, 64)),
        Text("."),
    ),
}


@dataclass(frozen=True)
class Subject:
    """A model, its prompts, and what the naive loop says to them."""

    model: Qwen3VL
    processor: Processor
    prompts: dict[str, ModelInputs]
    truth: dict[str, list[int]]

    def engine(self, **options: Any) -> Engine:
        options = {"memory_utilization": 0.02, "num_blocks": 200, **options}
        return Engine(self.model, Tokens(frozenset(), NUM_TOKENS), EngineConfig(**options))

    def inputs(self, *parts: Part) -> ModelInputs:
        return self.processor([Message("user", parts)])

    def naive(self, inputs: ModelInputs, params: SamplingParams = GREEDY) -> list[int]:
        return list(generate(self.model, inputs, params, eos_token_ids=(), num_token_ids=NUM_TOKENS))


@pytest.fixture(scope="session", params=[False, True], ids=["dense", "moe"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    torch.manual_seed(0)
    # An untied head: with a tied one a random model mostly repeats its last token, whatever it sees.
    folder = tiny_folder(tmp_path_factory.mktemp("tiny") / "model", moe=request.param, tied=False)
    model, processor = load_model(folder, device="cpu", dtype="float32"), Processor.from_folder(folder)
    subject = Subject(model, processor, {}, {})
    for name, parts in PROMPTS.items():
        inputs = subject.inputs(*parts)
        subject.prompts[name] = inputs
        subject.truth[name] = subject.naive(inputs)
        assert len(set(subject.truth[name])) > 1, "a model that always says the same proves little"
    return subject


def run_all(
    engine: Engine, requests: Seq[tuple[ModelInputs, SamplingParams]], *, every_step: Any = None
) -> list[list[int]]:
    """Add all requests, step until nothing is left, check the books after every step; tokens of each sequence."""
    sequences = [sequence for inputs, params in requests for sequence in engine.add(inputs, params)]
    step_until_done(engine, sequences, every_step=every_step)
    return [sequence.token_ids[sequence.num_prompt :] for sequence in sequences]


def step_until_done(engine: Engine, sequences: Seq[Sequence], *, every_step: Any = None) -> list[Output]:
    outputs: list[Output] = []
    for _ in range(2_000):
        if not engine.has_work:
            return outputs
        outputs += engine.step()
        engine.pool.check_integrity([sequence.blocks for sequence in sequences])
        if every_step is not None:
            every_step()
    raise AssertionError("the engine does not come to an end")


def greedy(**options: Any) -> SamplingParams:
    return replace(GREEDY, **options)
