"""The naive generation loop: one request, a contiguous KV cache, one token at a time.

It is kept for ever as the truth that faster engines are compared with, so it stays short and plain. The first
forward takes the whole prompt, later ones the newest token. A generated token's position is the cache length
plus the prompt's `rope_delta`, the same on all three axes.

It does not batch, does not know text (stop strings end the caller's loop) and never evicts. What only the engine does
(several answers, log probabilities, a budget for thinking, a guard against loops, structure) it refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch

from regard.errors import CapacityError, ConfigError
from regard.inputs import ModelInputs
from regard.model.cache import KVCache
from regard.model.qwen3_vl import Qwen3VL
from regard.model.vision import VisionFeatures
from regard.sampling import Sampler
from regard.sampling_params import SamplingParams


@torch.inference_mode()
def generate(
    model: Qwen3VL,
    inputs: ModelInputs,
    params: SamplingParams,
    *,
    eos_token_ids: Collection[int],
    num_token_ids: int | None = None,
) -> Iterator[int]:
    """Yield token ids until an end-of-turn or stop id (yielded too) or the limit of `tokens_allowed`.

    `num_token_ids` is how many ids the tokenizer knows; padding rows of the vocabulary beyond it are masked.
    Errors: CapacityError if the prompt leaves no room in the model's context; ConfigError for an option that needs
    the engine.
    """
    refuse_engine_options(params)
    num_prompt_tokens = len(inputs.input_ids)
    num_tokens = tokens_allowed(model, num_prompt_tokens, params.max_tokens)
    end_ids = () if params.ignore_eos else eos_token_ids
    sampler = Sampler(params, inputs.input_ids.tolist(), num_token_ids=num_token_ids, end_ids=end_ids)
    last_ids = {*params.stop_token_ids, *end_ids}
    cache = KVCache(
        model.config.text,
        batch_size=1,
        capacity=num_prompt_tokens + num_tokens,
        dtype=model.dtype,
        device=model.device,
    )
    input_ids = torch.from_numpy(inputs.input_ids)[None].to(model.device)
    position_ids = torch.from_numpy(inputs.position_ids)[:, None].to(model.device)
    visual = encode_items(model, inputs)
    visual_mask = (input_ids == model.config.image_token_id) | (input_ids == model.config.video_token_id)
    for _ in range(num_tokens):
        logits = model(
            input_ids,
            position_ids,
            visual=visual,
            visual_mask=None if visual is None else visual_mask,
            cache=cache,
            logits_to_keep=1,
        )
        token = sampler.choose(logits[0, -1])
        yield token
        if token in last_ids:
            return
        input_ids = input_ids.new_tensor([[token]])
        position_ids = position_ids.new_full((3, 1, 1), cache.length + inputs.rope_delta)
        visual = None


def refuse_engine_options(params: SamplingParams) -> None:
    """Errors: ConfigError naming an option that the naive loop does not honour."""
    given = {
        "n": params.n != 1,
        "num_logprobs": params.num_logprobs is not None,
        "thinking_budget": params.thinking_budget is not None,
        "answer_reserve": params.answer_reserve != 0,
        "repetition_guard": params.repetition_guard,
        "structure": params.structure is not None,
    }
    for name, is_given in given.items():
        if is_given:
            raise ConfigError(f"{name} is {getattr(params, name)}; the naive loop does not do it, the engine does")


def encode_items(model: Qwen3VL, inputs: ModelInputs) -> VisionFeatures | None:
    """Run the vision tower on all pictures and clips of a prompt; None when there are none."""
    if not inputs.items:
        return None
    pixel_values = torch.cat([torch.from_numpy(item.pixel_values) for item in inputs.items]).to(model.device)
    return model.encode_vision(pixel_values, [item.grid_thw for item in inputs.items])


def tokens_allowed(model: Qwen3VL, num_prompt_tokens: int, max_tokens: int) -> int:
    """Return how many tokens may be generated: `max_tokens`, or what the context has left after the prompt."""
    context = model.config.text.max_position_embeddings
    if num_prompt_tokens >= context:
        raise CapacityError(
            f"the prompt has {num_prompt_tokens} tokens and the model's context holds {context}; "
            "give fewer or smaller pictures, or lower max_pixels or fps"
        )
    return min(max_tokens, context - num_prompt_tokens)
