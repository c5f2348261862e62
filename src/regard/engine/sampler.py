"""Choosing the next tokens of a whole batch, row by row equal to `regard.sampling.Sampler`.

    logits (B, V) --bias, penalties, masks--> scores --argmax--> greedy rows
                                                    `-temperature, top-k, top-p, min-p, one number u--> other rows

All rows go through each step together; a step that no row asks for is skipped. A batch whose rows are all plain greedy
is one argmax. What has to be remembered of a row (which tokens its prompt has, how often its answer has which, its
generator) is its `RowState`, changed by one element per token.

Top-k does not sort the vocabulary: float bits and ids are joined into one integer, so that the k largest keys are the
k largest logits and, of equals, those with the lowest ids. A draw is the first token, in the order of ids, at which
the running sum of probabilities exceeds u; u comes from the row's own generator, so the tokens of a row do not depend
on the rest of the batch.

Log probabilities are those of the model: log_softmax of the raw logits over the tokenizer's ids, before bias,
penalties, structure and temperature, as vLLM's default and OpenAI's. They are computed for rows that ask.

Everything happens on the device of the logits; the results come to the host in one copy. On CUDA sums are made in
another order than on the CPU, so a draw that falls within the last bit between two tokens may differ there.

It does not decide what a row's mask is (`structured`), nor when a request ends.
Shape letters: B rows, V ids of the tokenizer, W words of 32 bits, D drawn rows, P penalized rows, K columns kept,
L rows that want log probabilities.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.sampling import NEVER, check_token_ids, seeded_generator
from regard.sampling_params import SamplingParams

MAX_COMPACT = 1024  # top-k up to here keeps k columns; above, the whole row is sorted
LOW_32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Sampled:
    """A chosen token; `logprob` and the likeliest `alternatives` (id, logprob) where they were asked for."""

    token_id: int
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


class RowState:
    """What choosing remembers of one answer. `index` tells several answers to one prompt apart.

    `end_ids` are the ids that `min_tokens` keeps from being chosen, besides `stop_token_ids`. `device` is where the
    logits will be. Errors: ConfigError if an option names a token beyond `num_token_ids`.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt_ids: Iterable[int],
        *,
        num_token_ids: int,
        end_ids: Collection[int] = (),
        index: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        check_token_ids(params, num_token_ids)
        self.params = params
        self.num_token_ids = num_token_ids
        self.end_ids = sorted({*end_ids, *params.stop_token_ids})
        self.output_ids: list[int] = []
        self.forbidden: Sequence[int] = ()  # ids that the next token may not be; `append` clears it
        self.in_prompt_V: Tensor | None = None  # bool
        self.counts_V: Tensor | None = None  # float32: how often the answer has each token
        self._generator = seeded_generator(params, index)
        self._numbers: list[float] = []  # drawn for tokens that are not there yet
        self._is_plain = (
            params.temperature == 0
            and not params.has_penalties
            and not params.bias_pairs
            and params.num_logprobs is None
        )
        if params.has_penalties:
            with torch.inference_mode(False):  # they are changed inside and outside of it
                in_prompt_V = torch.zeros(num_token_ids, dtype=torch.bool)
                in_prompt_V[torch.tensor(sorted(set(prompt_ids)), dtype=torch.long)] = True
                self.in_prompt_V = in_prompt_V.to(device)
                self.counts_V = torch.zeros(num_token_ids, device=device)

    @property
    def is_plain(self) -> bool:
        """Whether the next token is the largest raw logit and nothing else is wanted."""
        return self._is_plain and len(self.output_ids) >= self.params.min_tokens and not self.forbidden

    def append(self, token_id: int) -> None:
        """Note the answer's next token, chosen by `sample` or forced. Each costs one number of the generator."""
        if self.params.temperature > 0:
            self.number(0)
            del self._numbers[0]
        self.output_ids.append(token_id)
        self.forbidden = ()
        if self.counts_V is not None:
            self.counts_V[token_id] += 1

    def number(self, offset: int) -> float:
        """The number in [0, 1) that decides the `offset`-th token from here; asking does not spend it."""
        while len(self._numbers) <= offset:
            self._numbers.append(float(torch.rand((), dtype=torch.float64, generator=self._generator)))
        return self._numbers[offset]


def sample(
    logits_BV: Tensor,
    rows: Sequence[RowState],
    *,
    ahead: Sequence[Sequence[int]] | None = None,
    allowed_BW: Tensor | None = None,
) -> list[Sampled]:
    """Choose a token for each row of the logits, changing neither them nor the rows' states.

    `ahead` has for each row the tokens assumed after the answer so far, when guesses are checked: a sequence with
    three guesses is four rows with the same `RowState` and 0, 1, 2 and 3 tokens ahead.
    Shapes: logits_BV any float dtype, columns beyond the tokenizer's ids are padding; allowed_BW int32, bit i of word
    w allows id 32 w + i, at least one per row.
    Cost: one copy to the host.
    """
    if not rows:
        return []
    logits_BV = logits_BV.detach()[:, : rows[0].num_token_ids]
    if allowed_BW is None and all(row.is_plain for row in rows):
        return [Sampled(token_id) for token_id in logits_BV.argmax(-1).tolist()]
    ahead = [()] * len(rows) if ahead is None else ahead
    raw_BV = logits_BV.float()
    scores_BV = _edit(raw_BV, rows, ahead, allowed_BW)
    chosen_B = scores_BV.argmax(-1)
    for members in _groups(rows):
        index_D = _tensor(members, torch.long, raw_BV.device)
        tokens_D = _draw_rows(scores_BV[index_D], [rows[i] for i in members], [len(ahead[i]) for i in members])
        chosen_B = chosen_B.index_copy(0, index_D, tokens_D)
    return _collect(raw_BV, chosen_B, rows)


def score(logits_V: Tensor, row: RowState, token_id: int) -> Sampled:
    """What `sample` would have returned, had this token been chosen; for tokens that something else decided."""
    raw_1V = logits_V.detach()[None, : row.num_token_ids].float()
    return _collect(raw_1V, torch.tensor([token_id], device=raw_1V.device), [row])[0]


def allows_another(allowed_W: Tensor, ids: Sequence[int]) -> bool:
    """Whether a mask allows a token beside these. Shapes: allowed_W int32 on the CPU."""
    if not ids:
        return True
    num_allowed = sum((word & LOW_32).bit_count() for word in allowed_W.tolist())
    return num_allowed > sum(int(allowed_W[token_id // 32]) >> token_id % 32 & 1 for token_id in set(ids))


def _edit(
    raw_BV: Tensor, rows: Sequence[RowState], ahead: Sequence[Sequence[int]], allowed_BW: Tensor | None
) -> Tensor:
    """Return the logits after bias, penalties and masks."""
    device = raw_BV.device
    scores_BV = raw_BV.clone()
    biases = [(i, token, bias) for i, row in enumerate(rows) for token, bias in row.params.bias_pairs]
    if biases:
        where, tokens, values = zip(*biases, strict=True)
        place = (_tensor(where, torch.long, device), _tensor(tokens, torch.long, device))
        scores_BV.index_put_(place, _tensor(values, torch.float32, device), accumulate=True)
    penalized = [i for i, row in enumerate(rows) if row.counts_V is not None]
    if penalized:
        index_P = _tensor(penalized, torch.long, device)
        part_PV = _penalize(scores_BV[index_P], [rows[i] for i in penalized], [ahead[i] for i in penalized])
        scores_BV.index_copy_(0, index_P, part_PV)
    too_early = [
        (i, token)
        for i, row in enumerate(rows)
        if len(row.output_ids) + len(ahead[i]) < row.params.min_tokens
        for token in row.end_ids
    ]
    never = too_early + [(i, token) for i, row in enumerate(rows) if not ahead[i] for token in row.forbidden]
    if never:
        where, tokens = zip(*never, strict=True)
        scores_BV[_tensor(where, torch.long, device), _tensor(tokens, torch.long, device)] = NEVER
    if allowed_BW is not None:
        bits_32 = torch.arange(32, dtype=torch.int32, device=device)
        allowed_BV = (allowed_BW.to(device, non_blocking=True)[:, :, None] >> bits_32 & 1).flatten(1)
        scores_BV.masked_fill_(allowed_BV[:, : scores_BV.shape[1]] == 0, NEVER)
    return scores_BV


def _penalize(logits_PV: Tensor, rows: Sequence[RowState], ahead: Sequence[Sequence[int]]) -> Tensor:
    """Return the logits after the three penalties; the arithmetic of `sampling.penalize`."""
    device = logits_PV.device
    counts_PV = torch.stack([row.counts_V for row in rows if row.counts_V is not None])
    in_prompt_PV = torch.stack([row.in_prompt_V for row in rows if row.in_prompt_V is not None])
    assumed = [(p, token) for p, tokens in enumerate(ahead) for token in tokens]
    if assumed:
        where, tokens = zip(*assumed, strict=True)
        place = (_tensor(where, torch.long, device), _tensor(tokens, torch.long, device))
        counts_PV.index_put_(place, torch.ones(len(assumed), device=device), accumulate=True)
    repetition_P1 = _column([row.params.repetition_penalty for row in rows], torch.float32, device)
    presence_P1 = _column([row.params.presence_penalty for row in rows], torch.float32, device)
    frequency_P1 = _column([row.params.frequency_penalty for row in rows], torch.float32, device)
    scaled_PV = torch.where(logits_PV > 0, logits_PV / repetition_P1, logits_PV * repetition_P1)
    logits_PV = torch.where(in_prompt_PV | (counts_PV > 0), scaled_PV, logits_PV)
    return logits_PV - presence_P1 * (counts_PV > 0) - frequency_P1 * counts_PV


def _groups(rows: Sequence[RowState]) -> list[list[int]]:
    """Indices of the drawn rows, by the work they need: no order, the k likeliest, the whole row sorted."""
    as_it_is: list[int] = []
    compact: list[int] = []
    sorted_: list[int] = []
    for i, row in enumerate(rows):
        if row.params.temperature > 0:
            top_k = _top_k(row)
            if top_k and top_k <= MAX_COMPACT:
                compact.append(i)
            else:
                (sorted_ if top_k or row.params.top_p < 1 else as_it_is).append(i)
    return [group for group in (as_it_is, compact, sorted_) if group]


def _top_k(row: RowState) -> int:
    """top-k, or 0 where it keeps everything."""
    return row.params.top_k if row.params.top_k < row.num_token_ids else 0


def _draw_rows(scores_DV: Tensor, rows: Sequence[RowState], offsets: Sequence[int]) -> Tensor:
    """Draw a token for each row of one group. Shapes: returns (D,) int64."""
    device = scores_DV.device
    temperature_D1 = _column([row.params.temperature for row in rows], torch.float32, device)
    min_p_D1 = _column([row.params.min_p for row in rows], torch.float64, device)
    numbers = [row.number(offset) for row, offset in zip(rows, offsets, strict=True)]
    number_D1 = _column(numbers, torch.float64, device)
    # The largest logit is subtracted first: a tiny temperature must not turn it into inf.
    logits_DV = (scores_DV - scores_DV.amax(-1, keepdim=True)) / temperature_D1
    top_ks = [_top_k(row) for row in rows]
    if not any(top_ks) and all(row.params.top_p == 1 for row in rows):
        return _first_above(_drop_unlikely(_weights(logits_DV), min_p_D1), number_D1)
    if max(top_ks) <= MAX_COMPACT and all(top_ks):
        logits_DK, ids_DK = _likeliest(logits_DV, max(top_ks))
    else:
        logits_DK, ids_DK = torch.sort(logits_DV, dim=-1, descending=True, stable=True)
    num_columns = logits_DK.shape[1]
    top_k_D1 = _column([top_k or num_columns for top_k in top_ks], torch.long, device)
    top_p_D1 = _column([row.params.top_p for row in rows], torch.float64, device)
    weights_DK = _weights(logits_DK)
    weights_DK = weights_DK.masked_fill(torch.arange(num_columns, device=device) >= top_k_D1, 0)
    sums_DK = weights_DK.cumsum(-1)
    drop_DK = torch.zeros_like(sums_DK, dtype=torch.bool)
    drop_DK[:, 1:] = sums_DK[:, :-1] >= top_p_D1 * sums_DK[:, -1:]  # what lies before a token reaches p already
    weights_DK = _drop_unlikely(weights_DK.masked_fill(drop_DK, 0), min_p_D1)
    if num_columns == logits_DV.shape[1]:
        return _first_above(torch.zeros_like(weights_DK).scatter(1, ids_DK, weights_DK), number_D1)
    ids_DK, order_DK = torch.sort(ids_DK, dim=-1)
    column_D = _first_above(weights_DK.gather(1, order_DK), number_D1)
    return ids_DK.gather(1, column_D[:, None])[:, 0]


def _weights(logits_DK: Tensor) -> Tensor:
    """Return probabilities relative to the likeliest token, whose logit is 0; float64."""
    return torch.exp(logits_DK.double())


def _drop_unlikely(weights_DK: Tensor, min_p_D1: Tensor) -> Tensor:
    return weights_DK.masked_fill(weights_DK < min_p_D1, 0)


def _first_above(weights_DK: Tensor, number_D1: Tensor) -> Tensor:
    """Return the first column at which the running sum exceeds `number` of the whole. Shapes: (D,) int64.

    On the CPU there always is one: number * sum rounds to less than the sum, since number <= 1 - 2**-53. A parallel
    scan need not be monotone in its last bit, hence the clamp.
    """
    sums_DK = weights_DK.cumsum(-1)
    column_D1 = torch.searchsorted(sums_DK, number_D1 * sums_DK[:, -1:], right=True)
    return column_D1[:, 0].clamp(max=weights_DK.shape[1] - 1)


def _likeliest(logits_BV: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Return the `num` largest values and their ids, both (B, num), in falling order; of equals the lowest id first."""
    bits_BV = (logits_BV + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    rising_BV = bits_BV ^ ((bits_BV >> 31) & 0x7FFFFFFF)  # ordered like the floats
    ids_V = torch.arange(logits_BV.shape[1], device=logits_BV.device)
    keys_BV = rising_BV.long().bitwise_left_shift_(32).add_(LOW_32 - ids_V)
    ids_BK = LOW_32 - (torch.topk(keys_BV, num, dim=-1).values & LOW_32)
    return logits_BV.gather(1, ids_BK), ids_BK


def _collect(raw_BV: Tensor, chosen_B: Tensor, rows: Sequence[RowState]) -> list[Sampled]:
    """Bring the tokens, and log probabilities where they are wanted, to the host in one copy."""
    wanted = [i for i, row in enumerate(rows) if row.params.num_logprobs is not None]
    if not wanted:
        return [Sampled(token_id) for token_id in chosen_B.tolist()]
    index_L = _tensor(wanted, torch.long, raw_BV.device)
    logprobs_LV = torch.log_softmax(raw_BV[index_L], dim=-1)
    num = min(max(rows[i].params.num_logprobs or 0 for i in wanted), raw_BV.shape[1])
    best_LK, ids_LK = _likeliest(logprobs_LV, num)
    own_L = logprobs_LV.gather(1, chosen_B[index_L][:, None])[:, 0]
    parts = [chosen_B.double(), own_L.double(), best_LK.double().flatten(), ids_LK.double().flatten()]  # exact
    values = torch.cat(parts).tolist()
    sampled = [Sampled(int(token_id)) for token_id in values[: len(rows)]]
    own, best = values[len(rows) :], values[len(rows) + len(wanted) :]
    for place, i in enumerate(wanted):
        first = place * num
        ids = best[len(wanted) * num + first :]
        kept = min(rows[i].params.num_logprobs or 0, num)
        pairs = [(int(token_id), value) for token_id, value in zip(ids[:kept], best[first : first + kept], strict=True)]
        sampled[i] = Sampled(sampled[i].token_id, own[place], tuple(pairs))
    return sampled


def _tensor(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor on the device; from pinned memory on CUDA, so that the host does not wait."""
    tensor = torch.tensor(values, dtype=dtype)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _column(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    return _tensor(values, dtype, device)[:, None]
