"""How often a quantised model would write the same token as the model that it was made from.

    model     greedy answers to the prompts
    both      one forward over prompt and answer: the best token at every place of the answer, given the same tokens
              before it, and the probability of the token that the model wrote

Both are given the same tokens before each place, so that one difference is counted once and does not derail all that
follows. The models are asked one after the other and need not be in memory together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from regard.generate import encode_items, generate
from regard.inputs import ModelInputs
from regard.messages import Message
from regard.model.qwen3_vl import Qwen3VL
from regard.processing.processor import Processor
from regard.sampling_params import SamplingParams

Prompt = Sequence[Message]
MAX_ANSWER_TOKENS = 32


@dataclass(frozen=True)
class Forced:
    """One answer's tokens, the best token at each of its places, and the log probability of the answer's own."""

    tokens: tuple[int, ...]
    best: tuple[int, ...]
    log_probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Agreement:
    """Over all places of all answers; log probabilities are means in nats, of the tokens that the model wrote."""

    num_prompts: int
    num_tokens: int
    num_equal: int
    log_probability_before: float
    log_probability_after: float

    @property
    def share(self) -> float:
        """Equal best tokens of all."""
        return self.num_equal / self.num_tokens


def answer_prompts(
    model: Qwen3VL,
    processor: Processor,
    prompts: Iterable[Prompt],
    *,
    max_tokens: int = MAX_ANSWER_TOKENS,
    on_answer: Callable[[], None] = lambda: None,
) -> list[Forced]:
    """Greedy answers of the model itself."""
    found = []
    for prompt in prompts:
        inputs = processor(prompt)
        params = SamplingParams(max_tokens=max_tokens)
        ends = processor.tokenizer.eos_token_ids
        num_token_ids = processor.tokenizer.vocab_size
        tokens = list(generate(model, inputs, params, eos_token_ids=ends, num_token_ids=num_token_ids))
        found.append(force(model, inputs, tokens))
        on_answer()
    return found


def measure_agreement(
    model: Qwen3VL,
    processor: Processor,
    prompts: Iterable[Prompt],
    answers: Sequence[Forced],
    *,
    on_answer: Callable[[], None] = lambda: None,
) -> Agreement:
    """Compare a model with the one that gave `answers` to the same prompts."""
    num_tokens = num_equal = 0
    before = after = 0.0
    for prompt, answer in zip(prompts, answers, strict=True):
        forced = force(model, processor(prompt), answer.tokens)
        num_tokens += len(answer.tokens)
        num_equal += sum(mine == other for mine, other in zip(forced.best, answer.best, strict=True))
        before, after = before + sum(answer.log_probabilities), after + sum(forced.log_probabilities)
        on_answer()
    return Agreement(len(answers), num_tokens, num_equal, before / num_tokens, after / num_tokens)


@torch.inference_mode()
def force(model: Qwen3VL, inputs: ModelInputs, tokens: Sequence[int]) -> Forced:
    """Run the model once over a prompt and an answer to it."""
    num_before = len(tokens) - 1
    start = int(inputs.position_ids.max()) + 1
    following = np.broadcast_to(np.arange(start, start + num_before), (3, num_before))
    ids = np.concatenate([inputs.input_ids, np.array(tokens[:-1], dtype=np.int64)])
    input_ids = torch.from_numpy(ids)[None].to(model.device)
    position_ids = torch.from_numpy(np.concatenate([inputs.position_ids, following], axis=1))[:, None].to(model.device)
    visual = encode_items(model, inputs)
    visual_mask = (input_ids == model.config.image_token_id) | (input_ids == model.config.video_token_id)
    logits = model(
        input_ids,
        position_ids,
        visual=visual,
        visual_mask=None if visual is None else visual_mask,
        logits_to_keep=len(tokens),
    )[0].float()
    chosen = torch.tensor(tokens, device=logits.device)[:, None]
    log_probabilities = logits.log_softmax(dim=-1).gather(1, chosen)[:, 0]
    return Forced(tuple(tokens), tuple(logits.argmax(dim=-1).tolist()), tuple(log_probabilities.tolist()))
