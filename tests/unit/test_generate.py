"""The naive loop: equal to recomputing everything at each step, and ending where it should."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from regard.errors import CapacityError
from regard.generate import encode_items, generate, tokens_allowed
from regard.inputs import ModelInputs
from regard.messages import Image, Message, Text, Video
from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.processing.processor import Processor
from regard.sampling_params import SamplingParams
from regard.weights.checkpoint import load_model
from tests.tiny import NUM_TOKENS, VOCAB_SIZE, tiny_config, tiny_folder

EOS = 5
CONFIG = ModelConfig.from_hf(tiny_config())


class ScriptedModel:
    """Stands for Qwen3VL: wants the tokens of a script one after the other, and records what it was given."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, script: list[int], context: int = 4096) -> None:
        self.config = SimpleNamespace(
            text=SimpleNamespace(
                max_position_embeddings=context, num_key_value_heads=1, head_dim=2, num_hidden_layers=1
            ),
            image_token_id=CONFIG.image_token_id,
            video_token_id=CONFIG.video_token_id,
        )
        self.script = iter(script)
        self.calls: list[tuple[list[int], list[int]]] = []

    def __call__(self, input_ids, position_ids, *, visual, visual_mask, cache, logits_to_keep):
        assert (visual, visual_mask, logits_to_keep) == (None, None, 1)
        self.calls.append((input_ids[0].tolist(), position_ids[:, 0, -1].tolist()))
        cache.advance(input_ids.shape[1])
        logits = torch.zeros(1, 1, VOCAB_SIZE)
        logits[0, 0, next(self.script)] = 10.0
        return logits


def prompt(num_tokens: int, rope_delta: int = 0) -> ModelInputs:
    positions = np.broadcast_to(np.arange(num_tokens, dtype=np.int64), (3, num_tokens)).copy()
    return ModelInputs(np.arange(10, 10 + num_tokens, dtype=np.int64), positions, rope_delta)


def run(model: ScriptedModel, inputs: ModelInputs, **options) -> list[int]:
    return list(generate(model, inputs, SamplingParams(**options), eos_token_ids=(EOS,)))


def test_the_end_token_is_yielded_and_ends_the_answer() -> None:
    model = ScriptedModel([20, 21, EOS, 22])
    assert run(model, prompt(3)) == [20, 21, EOS]


def test_max_tokens_ends_the_answer_without_one_more_forward() -> None:
    model = ScriptedModel([20, 21, 22, 23])
    assert run(model, prompt(3), max_tokens=2) == [20, 21]
    assert len(model.calls) == 2


def test_the_prompt_goes_in_once_and_then_one_token_at_a_time() -> None:
    model = ScriptedModel([20, 21, EOS])
    run(model, prompt(3))
    assert [ids for ids, _ in model.calls] == [[10, 11, 12], [20], [21]]


def test_generated_positions_are_the_cache_length_plus_the_prompts_delta() -> None:
    model = ScriptedModel([20, 21, EOS])
    run(model, prompt(10, rope_delta=-4))
    assert [positions for _, positions in model.calls[1:]] == [[6, 6, 6], [7, 7, 7]]


def test_an_answer_ends_where_the_context_does() -> None:
    assert len(run(ScriptedModel([20] * 99, context=16), prompt(10), max_tokens=99)) == 6


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    model = ScriptedModel([], context=10)
    assert tokens_allowed(model, 9, 99) == 1
    with pytest.raises(CapacityError, match="the prompt has 10 tokens and the model's context holds 10"):
        run(model, prompt(10))


def test_padding_rows_of_the_vocabulary_are_never_generated() -> None:
    """The model wants a row that the tokenizer does not know; the rest are equal, so the lowest id is taken."""
    model = ScriptedModel([VOCAB_SIZE - 1] * 3)
    params = SamplingParams(max_tokens=3)
    assert list(generate(model, prompt(2), params, eos_token_ids=(), num_token_ids=NUM_TOKENS)) == [0, 0, 0]


@pytest.fixture(scope="module", params=[False, True], ids=["dense", "moe"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Qwen3VL, Processor]:
    # An untied head: with a tied one a random model mostly repeats its last token, whatever it sees.
    folder = tiny_folder(tmp_path_factory.mktemp("tiny") / "model", moe=request.param, tied=False)
    return load_model(folder, device="cpu", dtype="float32"), Processor.from_folder(folder)


def picture(seed: int, width: int, height: int) -> PILImage.Image:
    return PILImage.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


CONVERSATIONS = {
    "words": (Text("Why is the sky blue?"),),
    "a picture": (Image(picture(0, 96, 64)), Text("What is it?")),
    "pictures and a clip": (
        Image(picture(1, 64, 128)),
        Text("Compare"),
        Video([picture(i, 64, 64) for i in range(4)], sample_fps=2.0),
        Image(picture(9, 64, 64)),
        Text("."),
    ),
}


@pytest.mark.parametrize("parts", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_the_cached_loop_equals_recomputing_the_whole_sequence_at_each_step(tiny, parts) -> None:
    model, processor = tiny
    inputs = processor([Message("user", parts)])
    tokens = list(generate(model, inputs, SamplingParams(max_tokens=8), eos_token_ids=()))
    assert len(set(tokens)) > 1, "a model that always says the same proves little"

    num_prompt_tokens = len(inputs.input_ids)
    ids = torch.tensor([[*inputs.input_ids, *tokens]])
    later = torch.arange(num_prompt_tokens, num_prompt_tokens + len(tokens)) + inputs.rope_delta
    positions = torch.cat((torch.from_numpy(inputs.position_ids), later.expand(3, -1)), dim=1)[:, None]
    mask = (ids == model.config.image_token_id) | (ids == model.config.video_token_id)
    mask[:, num_prompt_tokens:] = False
    visual = encode_items(model, inputs)
    logits = model(ids, positions, visual=visual, visual_mask=mask if visual else None)[0]
    assert logits[num_prompt_tokens - 1 : -1].argmax(-1).tolist() == tokens


def test_the_answer_depends_on_the_picture(tiny) -> None:
    model, processor = tiny

    def answer(seed: int) -> list[int]:
        inputs = processor([Message("user", (Image(picture(seed, 96, 64)), Text("What is it?")))])
        return list(generate(model, inputs, SamplingParams(max_tokens=12), eos_token_ids=()))

    assert answer(0) == answer(0)
    assert len({tuple(answer(seed)) for seed in range(4)}) > 1


def test_a_seed_gives_the_same_answer_twice_and_seeds_differ(tiny) -> None:
    model, processor = tiny
    inputs = processor([Message("user", (Text("Tell me something."),))])

    def answer(seed: int) -> list[int]:
        params = SamplingParams(temperature=1.0, top_p=0.95, top_k=40, seed=seed, max_tokens=12)
        return list(generate(model, inputs, params, eos_token_ids=()))

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)
