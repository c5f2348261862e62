"""Choosing the next token from logits, as small pure functions.

The order is fixed: rows that name no token are masked, penalties, then for temperature 0 the largest logit
(ties go to the lowest id); otherwise temperature, top-k, top-p, min-p, and one draw. top-p is taken over what
top-k left, min-p over what both left. All arithmetic is float32 on the CPU, so that a seed gives the same
tokens on every device.

    repetition penalty r    every token of the prompt or the answer: logit / r if positive, logit * r if negative
    presence penalty p      every token of the answer: logit - p
    frequency penalty f     every token of the answer: logit - f * (times it occurs there)

It does not know text: stop strings are `llm`'s, and when to end is `generate`'s.
Shape letters: V rows of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from regard.sampling_params import SamplingParams

NEVER = float("-inf")


class Sampler:
    """Chooses the tokens of one answer and remembers them for the penalties.

    `num_token_ids` is how many ids the tokenizer knows; rows of the embedding beyond it are padding and are
    never chosen.
    """

    def __init__(self, params: SamplingParams, prompt_ids: Iterable[int], *, num_token_ids: int | None = None) -> None:
        self._params = params
        self._num_token_ids = num_token_ids
        self._prompt_ids = torch.tensor(sorted(set(prompt_ids)), dtype=torch.long)
        self._output_ids: list[int] = []
        self._generator = torch.Generator()
        if params.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(params.seed)

    def choose(self, logits_V: Tensor) -> int:
        """Return the next token's id and remember it. `logits_V` may have any float dtype and device."""
        params = self._params
        logits_V = logits_V.detach().to("cpu", torch.float32, copy=True)
        if self._num_token_ids is not None:
            logits_V[self._num_token_ids :] = NEVER
        output_ids = torch.tensor(self._output_ids, dtype=torch.long)
        logits_V = penalize(logits_V, self._prompt_ids, output_ids, params)
        if params.temperature == 0:
            token = int(torch.argmax(logits_V))  # documented: the first of equals
        else:
            probabilities_V = torch.softmax(narrow(logits_V, params), dim=-1)
            token = int(torch.multinomial(probabilities_V, 1, generator=self._generator))
        self._output_ids.append(token)
        return token


def penalize(logits_V: Tensor, prompt_ids: Tensor, output_ids: Tensor, params: SamplingParams) -> Tensor:
    """Return the logits after the three penalties."""
    if params.repetition_penalty != 1:
        is_seen_V = torch.zeros_like(logits_V, dtype=torch.bool)
        is_seen_V[prompt_ids] = True
        is_seen_V[output_ids] = True
        factor = params.repetition_penalty
        scaled_V = torch.where(logits_V > 0, logits_V / factor, logits_V * factor)
        logits_V = torch.where(is_seen_V, scaled_V, logits_V)
    if params.presence_penalty or params.frequency_penalty:
        counts_V = torch.bincount(output_ids, minlength=logits_V.shape[0]).to(logits_V.dtype)
        logits_V = logits_V - params.presence_penalty * (counts_V > 0) - params.frequency_penalty * counts_V
    return logits_V


def narrow(logits_V: Tensor, params: SamplingParams) -> Tensor:
    """Return the logits after temperature, top-k, top-p and min-p; excluded rows are -inf."""
    # The largest logit is subtracted first: a tiny temperature must not turn it into inf.
    logits_V = (logits_V - logits_V.max()) / params.temperature
    if 0 < params.top_k < logits_V.shape[0]:
        logits_V = keep_top_k(logits_V, params.top_k)
    if params.top_p < 1:
        logits_V = keep_top_p(logits_V, params.top_p)
    if params.min_p > 0:
        logits_V = keep_min_p(logits_V, params.min_p)
    return logits_V


def keep_top_k(logits_V: Tensor, k: int) -> Tensor:
    """Keep the k largest logits; of equals at the edge the lowest ids."""
    order = torch.sort(logits_V, descending=True, stable=True).indices
    return logits_V.index_fill(0, order[k:], NEVER)


def keep_top_p(logits_V: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probability reaches p; never fewer than one."""
    sorted_V, order = torch.sort(logits_V, descending=True, stable=True)
    probabilities_V = torch.softmax(sorted_V, dim=-1)
    before_V = probabilities_V.cumsum(-1) - probabilities_V
    drop_V = before_V >= p
    drop_V[0] = False
    return logits_V.index_fill(0, order[drop_V], NEVER)


def keep_min_p(logits_V: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest."""
    probabilities_V = torch.softmax(logits_V, dim=-1)
    return logits_V.masked_fill(probabilities_V < p * probabilities_V.max(), NEVER)
