"""transformers loads a folder of regard-nano's shape unchanged and answers token for token like ours.

The trained checkpoint is asked 50 held-out questions of its own world, where it is shipped; random weights in its
shape are asked three in any case. float32, greedy, until the turn ends or 24 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.errors import MissingDependencyError
from regard.generate import generate
from regard.messages import Image, Message, Text, Video
from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.parity.cases import clip, picture
from regard.parity.compare import Comparison
from regard.parity.random_checkpoint import ID_BY_TOKEN, write_random_checkpoint
from regard.sampling_params import SamplingParams
from regard.train.nano import CONFIG
from regard.train.world import clips, lines, scenes
from regard.weights.save import save_checkpoint

pytest.importorskip("transformers", reason="the reference")

NUM_TOKENS = 24
NUM_PROMPTS = {lines.make: 22, scenes.make: 22, clips.make: 6}


def differing(comparison: Comparison, prompts: Sequence[tuple[Message, ...]]) -> list[str]:
    """The questions that the two answer differently, with both answers."""
    generation = comparison.processor.generation_config
    ends, tokenizer = generation["eos_token_id"], comparison.processor.tokenizer
    found = []
    for messages in prompts:
        params = SamplingParams(max_tokens=NUM_TOKENS)
        ours = list(generate(comparison.model, comparison.processor(messages), params, eos_token_ids=ends))
        theirs = comparison.reference.greedy(comparison.reference.inputs([messages]), NUM_TOKENS, eos_token_ids=ends)[0]
        if ours != theirs:
            found.append(f"{messages[-1].text}: {tokenizer.decode(ours)!r} against {tokenizer.decode(theirs)!r}")
    return found


def test_random_weights_in_the_shape_of_nano_give_the_same_tokens(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "nano")
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        settings = json.loads((folder / name).read_text()) | {"patch_size": CONFIG["vision_config"]["patch_size"]}
        (folder / name).write_text(json.dumps(settings))
    ids = json.loads((folder / "config.json").read_text())
    config = CONFIG | {key: value for key, value in ids.items() if key.endswith("_token_id")}
    config["text_config"] = CONFIG["text_config"] | {"bos_token_id": ID_BY_TOKEN["<|endoftext|>"]}
    torch.manual_seed(0)
    model = Qwen3VL(ModelConfig.from_hf(config))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.08)
    save_checkpoint(model, folder, config)
    prompts = [
        (Message("user", (Text("Hello!"),)),),
        (Message("user", (Image(picture(90, 70, 1)), Text("What is it?"))),),
        (Message("user", (Video(clip(5, 96, 64, 4), sample_fps=2.0), Text("When?"))),),
    ]
    assert differing(Comparison("random", folder), prompts) == []


def held_out_prompts() -> list[tuple[Message, ...]]:
    rng = np.random.default_rng(2024)
    try:
        samples = [make(rng, held_out=True) for make, count in NUM_PROMPTS.items() for _ in range(count)]
    except MissingDependencyError as error:
        pytest.skip(str(error))
    return [sample.messages[:-1] for sample in samples]


def test_the_trained_nano_answers_50_held_out_prompts_like_the_reference(nano_folder: Path) -> None:
    if not (nano_folder / "model.safetensors").is_file():
        pytest.fail(f"{nano_folder} has no weights: the checkpoint is part of the package")
    prompts = held_out_prompts()
    assert len(prompts) == 50
    assert differing(Comparison("nano", nano_folder), prompts) == []
