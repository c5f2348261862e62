"""Choosing the next token from logits, as small pure functions for one row: the truth of `engine/sampler.py`.

The order is fixed: logit bias, penalties, then whatever may not be chosen is masked (rows that name no token, ends
before `min_tokens`, what a structure forbids). For temperature 0 the largest logit wins, ties go to the lowest id;
otherwise temperature, top-k, top-p, min-p, and one draw. top-p is taken over what top-k left, min-p over what both
left. All arithmetic is on the CPU, so that a seed gives the same tokens on every device: float32 for logits, and
float64 for probabilities, whose running sums are compared with p and with the draw.

    repetition penalty r    every token of the prompt or the answer: logit / r if positive, logit * r if negative
    presence penalty p      every token of the answer: logit - p
    frequency penalty f     every token of the answer: logit - f * (times it occurs there)

A draw takes one number u in [0, 1) from the answer's own generator, and the first token, in the order of ids, at
which the running sum of the probabilities exceeds u. So each token of an answer costs one number, whatever the
options, and which token it becomes depends on nothing else in a batch.

It does not know text: stop strings are `llm`'s, and when to end is `generate`'s.
Shape letters: V rows of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor

from regard.errors import ConfigError
from regard.sampling_params import SamplingParams

NEVER = float("-inf")
GOLDEN = 0x9E3779B97F4A7C15  # odd, its bits without a pattern: seeds of several answers lie far apart


class Sampler:
    """Chooses the tokens of one answer and remembers them for the penalties.

    `num_token_ids` is how many ids the tokenizer knows; rows of the embedding beyond it are padding and are
    never chosen. `end_ids` are what `min_tokens` keeps from being chosen, besides `stop_token_ids`.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt_ids: Iterable[int],
        *,
        num_token_ids: int | None = None,
        end_ids: Collection[int] = (),
    ) -> None:
        if num_token_ids is not None:
            check_token_ids(params, num_token_ids)
        self._params = params
        self._num_token_ids = num_token_ids
        self._end_ids = sorted({*end_ids, *params.stop_token_ids})
        self._prompt_ids = torch.tensor(sorted(set(prompt_ids)), dtype=torch.long)
        self._output_ids: list[int] = []
        self._generator = seeded_generator(params)

    def choose(self, logits_V: Tensor, allowed_V: Tensor | None = None) -> int:
        """Return the next token's id and remember it. `logits_V` may have any float dtype and device.

        `allowed_V` (bool) marks what a structure permits, at least one token.
        """
        params = self._params
        logits_V = logits_V.detach().to("cpu", torch.float32, copy=True)
        output_ids = torch.tensor(self._output_ids, dtype=torch.long)
        logits_V = penalize(add_bias(logits_V, params), self._prompt_ids, output_ids, params)
        if self._num_token_ids is not None:
            logits_V[self._num_token_ids :] = NEVER
        if len(self._output_ids) < params.min_tokens:
            logits_V[self._end_ids] = NEVER
        if allowed_V is not None:
            logits_V[~allowed_V] = NEVER
        if params.temperature == 0:
            token = int(torch.argmax(logits_V))  # documented: the first of equals
        else:
            number = float(torch.rand((), dtype=torch.float64, generator=self._generator))
            token = draw(narrow(logits_V, params), number)
        self._output_ids.append(token)
        return token


def check_token_ids(params: SamplingParams, num_token_ids: int) -> None:
    """Errors: ConfigError if an option names a token that the tokenizer does not have."""
    for name, ids in (("logit_bias", [i for i, _ in params.bias_pairs]), ("stop_token_ids", params.stop_token_ids)):
        if ids and max(ids) >= num_token_ids:
            raise ConfigError(f"{name} names the token {max(ids)}; the ids of this model go up to {num_token_ids - 1}")


def seeded_generator(params: SamplingParams, index: int = 0) -> torch.Generator:
    """A generator of its own for answer `index` of a request; without a seed a different one each time."""
    generator = torch.Generator()
    if params.seed is None:
        generator.seed()
    else:
        generator.manual_seed(params.seed if index == 0 else (params.seed + index * GOLDEN) % 2**63)
    return generator


def add_bias(logits_V: Tensor, params: SamplingParams) -> Tensor:
    """Return the logits after `logit_bias`."""
    if not params.bias_pairs:
        return logits_V
    ids, biases = zip(*params.bias_pairs, strict=True)
    return logits_V.index_add(0, torch.tensor(ids), torch.tensor(biases, dtype=logits_V.dtype))


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
    sums_V = weights(sorted_V).cumsum(-1)
    drop_V = torch.zeros_like(sums_V, dtype=torch.bool)
    drop_V[1:] = sums_V[:-1] >= p * sums_V[-1]  # what lies before a token reaches p already
    return logits_V.index_fill(0, order[drop_V], NEVER)


def keep_min_p(logits_V: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest."""
    return logits_V.masked_fill(weights(logits_V) < p, NEVER)


def weights(logits_V: Tensor) -> Tensor:
    """Return probabilities relative to the likeliest token, float64; their sum is left as it is."""
    logits_V = logits_V.double()
    return torch.exp(logits_V - logits_V.max())


def draw(logits_V: Tensor, number: float) -> int:
    """Return the first token at which the running sum of probabilities exceeds `number`, which is in [0, 1).

    Tokens of probability 0 are never drawn: the sum does not grow at them.
    """
    sums_V = weights(logits_V).cumsum(-1)
    return int(torch.searchsorted(sums_V, number * sums_V[-1:], right=True))
