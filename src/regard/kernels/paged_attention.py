"""Attention over a paged cache: keys and values of one layer lie in slots, a sequence's slots in a few runs.

    keys, values (K, slots, D)     slot = block * block_size + place in the block
    a Span                         rows of the flat batch that belong to one sequence, and the runs of its past

One pair of ways, chosen by the device:

    runs       CPU: PyTorch's flash kernel reads every run where it lies, as a view, and returns the log-sum-exp of
               its scores; the parts of several runs are then merged exactly. Nothing is copied. Chunks in bfloat16
               go to native_attention.c where it is faster; with one run that is one call for past and chunk.
    gathered   any other device, or a cache in 8 bits: the past is gathered into one tensor, and the fused attention
               runs with a mask

On both, decoding rows (and their guesses) with short pasts are gathered, all of them into one call: below some hundred
KiB (on other devices some ten MiB) a call costs more than the copy. A `Plan` says which rows; it is made once a step
and used in every layer.
The rows' own keys and values are in their slots before the attention starts.

Decoding rows (one new token) see all keys, so the query heads that share a key head are stacked as if they
were queries of one head. Rows of a prompt see their past without a mask and their own chunk causally.

Shape letters: R rows of the flat batch, B decoding rows, N query heads, K key/value heads, G = N / K, T queries,
S keys, D head_dim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.kernels import native

PagedAttention = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, "Plan"], Tensor]

# Bytes that are copied in the time of one call of the kernel, and the calls that merging runs is worth (measured).
BYTES_PER_CALL = 128 * 1024
BYTES_PER_LAUNCH = 32 * 1024 * 1024  # the same where a call is a launch on a device with its own memory (reckoned)
CALLS_PER_MERGE = 2
CALLS_PER_CHUNK = 3  # the chunk's own tokens: a call for each head of a group
MAX_ROWS_TOGETHER = 8  # decoding rows with their guesses; chunks of prompts are longer


@dataclass(frozen=True)
class Span:
    """Rows [row, row + count) of the batch. `runs` are (first slot, length) of their past and, last, themselves."""

    row: int
    count: int
    runs: tuple[tuple[int, int], ...]

    @property
    def num_keys(self) -> int:
        """Tokens in the runs; the rows' own are the last `count` of them."""
        return sum(length for _, length in self.runs)

    def past(self) -> list[tuple[int, int]]:
        """The runs without the rows' own tokens."""
        left, cut = self.num_keys - self.count, []
        for start, length in self.runs:
            if left > 0:
                cut.append((start, min(length, left)))
            left -= length
        return cut


@dataclass(frozen=True)
class Gathered:
    """Decoding rows whose keys are copied side by side. Shapes: rows (B,), slots (B * S,), mask (B, 1, 1, S)."""

    rows: Tensor
    slots: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Plan:
    """How the spans of one step are attended: some `together`, the others one by one."""

    alone: tuple[Span, ...]
    together: Gathered | None = None


def plan_step(
    spans: Sequence[Span],
    bytes_per_slot: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    *,
    empty_slot: int = 0,
) -> Plan:
    """The faster way for these spans.

    `bytes_per_slot`: a token's keys and values in one layer. `empty_slot`: copied behind shorter pasts, and hidden.
    """
    bytes_per_call = BYTES_PER_CALL if torch.device(device).type == "cpu" else BYTES_PER_LAUNCH
    few = [span for span in spans if span.count <= MAX_ROWS_TOGETHER]
    num_calls = sum(map(_num_calls, few))
    num_rows = sum(span.count for span in few)
    longest = max((span.num_keys for span in few), default=0)
    if num_calls < 2 or num_rows * longest * bytes_per_slot > num_calls * bytes_per_call:
        return Plan(tuple(spans))
    slots = torch.full((num_rows, longest), empty_slot)
    num_seen: list[int] = []
    first = 0
    for span in few:
        own = torch.cat([torch.arange(start, start + length) for start, length in span.runs])
        slots[first : first + span.count, : len(own)] = own
        num_seen += range(span.num_keys - span.count + 1, span.num_keys + 1)  # the last of these is the row itself
        first += span.count
    is_hidden = torch.arange(longest) >= torch.tensor(num_seen)[:, None]
    mask = torch.zeros(num_rows, longest, dtype=dtype).masked_fill_(is_hidden, -math.inf)[:, None, None]
    rows = torch.tensor([row for span in few for row in range(span.row, span.row + span.count)])
    alone = tuple(span for span in spans if span.count > MAX_ROWS_TOGETHER)
    return Plan(alone, Gathered(rows.to(device), slots.flatten().to(device), mask.to(device)))


def _num_calls(span: Span) -> int:
    """What attending this span alone costs, in calls of the kernel."""
    own = CALLS_PER_CHUNK if span.count > 1 else 0
    return len(span.runs) + own + (CALLS_PER_MERGE if len(span.runs) > 1 or own else 0)


def runs_attention(
    q_RND: Tensor, k_RKD: Tensor, v_RKD: Tensor, keys_KSD: Tensor, values_KSD: Tensor, plan: Plan
) -> Tensor:
    """Attention of every span's rows, on the CPU. `k` and `v` are the rows' own. Returns (R, N, D)."""
    num_rows, num_heads, head_dim = q_RND.shape
    num_key_heads = keys_KSD.shape[0]
    out_RND = torch.empty(num_rows, num_heads, head_dim, dtype=q_RND.dtype)
    keys_1KSD, values_1KSD = keys_KSD[None], values_KSD[None]
    # Decoding rows that see one run, the common case, need nothing else: each is one call between views.
    q_RKGD, out_RKGD = (x.view(num_rows, num_key_heads, -1, head_dim) for x in (q_RND.contiguous(), out_RND))
    if plan.together is not None:
        rows_B = plan.together.rows
        k_BKSD, v_BKSD = _side_by_side(keys_KSD, values_KSD, plan.together)
        out_RKGD[rows_B] = _flash(q_RKGD[rows_B], k_BKSD, v_BKSD, is_causal=False, mask=plan.together.mask)[0]
    for span in plan.alone:
        if span.count == 1 and len(span.runs) == 1:
            ((start, length),) = span.runs
            k, v = keys_1KSD.narrow(2, start, length), values_1KSD.narrow(2, start, length)
            out_RKGD[span.row] = _flash(q_RKGD[span.row : span.row + 1], k, v, is_causal=False)[0][0]
            continue
        rows = slice(span.row, span.row + span.count)
        if len(span.runs) == 1:
            ((start, length),) = span.runs
            seen = (q_RND[rows].transpose(0, 1)[None], *(x.narrow(2, start, length) for x in (keys_1KSD, values_1KSD)))
            if native.can_attend_tiles(*seen):  # past and chunk at once
                out_RND[rows] = native.attend_tiles(*seen, is_causal=True)[0][0].transpose(0, 1)
                continue
        # (1, K, G * T, D): all queries that meet the same keys side by side.
        q_KGTD = q_RND[rows].view(span.count, num_key_heads, -1, head_dim).permute(1, 2, 0, 3)
        q_1KQD = q_KGTD.reshape(1, num_key_heads, -1, head_dim)
        parts = []
        for start, length in span.past() if span.count > 1 else span.runs:
            run = slice(start, start + length)
            parts.append(_flash(q_1KQD, keys_KSD[None, :, run], values_KSD[None, :, run], is_causal=False))
        if span.count > 1:
            parts.append(_own_chunk(q_KGTD, k_RKD[rows], v_RKD[rows]))
        out_1KQD = parts[0][0] if len(parts) == 1 else _merge(parts)
        out_RND[rows] = out_1KQD.view(num_key_heads, -1, span.count, head_dim).permute(2, 0, 1, 3).flatten(1, 2)
    return out_RND


def _side_by_side(keys_KSD: Tensor, values_KSD: Tensor, gathered: Gathered) -> tuple[Tensor, Tensor]:
    """Keys and values of all rows of `gathered`, in its mask's dtype. Shapes: returns two (B, K, S, D)."""
    k_BKSD, v_BKSD = (
        _as_numbers(stored.index_select(1, gathered.slots), gathered.mask.dtype)
        .view(len(stored), len(gathered.rows), -1, stored.shape[-1])
        .transpose(0, 1)
        for stored in (keys_KSD, values_KSD)
    )
    return k_BKSD, v_BKSD


def _flash(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp of the scores."""
    if mask is None and native.can_attend_tiles(q, k, v):
        return native.attend_tiles(q, k, v, is_causal=is_causal)
    out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, is_causal, attn_mask=mask)
    return out, log_sum


def _own_chunk(q_KGTD: Tensor, k_TKD: Tensor, v_TKD: Tensor) -> tuple[Tensor, Tensor]:
    """Causal attention inside the chunk: here the stacked heads need a call each, since each has its own diagonal."""
    num_key_heads, group, num_queries, head_dim = q_KGTD.shape
    k, v = k_TKD.transpose(0, 1)[None], v_TKD.transpose(0, 1)[None]
    made = [_flash(q_KGTD[None, :, g], k, v, is_causal=True) for g in range(group)]
    if group == 1:
        return made[0]
    out = torch.stack([out for out, _ in made], dim=2).view(1, num_key_heads, group * num_queries, head_dim)
    return out, torch.stack([log_sum for _, log_sum in made], dim=2).view(1, num_key_heads, group * num_queries)


def _merge(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Join attention over disjoint sets of keys: each part counts by the share of its scores' exponentials."""
    log_sums = torch.stack([log_sum for _, log_sum in parts])
    shares = (log_sums - log_sums.logsumexp(0)).exp()[..., None]
    merged = sum(out.float() * share for (out, _), share in zip(parts, shares, strict=True))
    assert isinstance(merged, Tensor)
    return merged.to(parts[0][0].dtype)


def gathered_attention(
    q_RND: Tensor, k_RKD: Tensor, v_RKD: Tensor, keys_KSD: Tensor, values_KSD: Tensor, plan: Plan
) -> Tensor:
    """The same on any device; one copy of each sequence's past."""
    out_RND = torch.empty_like(q_RND)
    if plan.together is not None:
        rows_B = plan.together.rows
        k_BKSD, v_BKSD = _side_by_side(keys_KSD, values_KSD, plan.together)
        q_BKGD = q_RND[rows_B].unflatten(1, (len(keys_KSD), -1))
        out_BKGD = F.scaled_dot_product_attention(q_BKGD, k_BKSD, v_BKSD, attn_mask=plan.together.mask)
        out_RND[rows_B] = out_BKGD.flatten(1, 2)
    for span in plan.alone:
        rows = slice(span.row, span.row + span.count)
        k, v = (
            _as_numbers(torch.cat([stored[:, start : start + length] for start, length in span.runs], 1), q_RND.dtype)
            for stored in (keys_KSD, values_KSD)
        )
        mask = None
        if span.count > 1:
            num_past = span.num_keys - span.count
            mask = torch.ones(span.count, span.num_keys, dtype=torch.bool, device=q_RND.device).tril(num_past)
        q = q_RND[rows].transpose(0, 1)
        out = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, enable_gqa=True)
        out_RND[rows] = out[0].transpose(0, 1)
    return out_RND


def _as_numbers(stored: Tensor, dtype: torch.dtype) -> Tensor:
    """What the cache keeps as bytes, as numbers."""
    return stored.view(torch.float8_e4m3fn).to(dtype) if stored.dtype == torch.uint8 else stored


def choose_paged_attention(device: torch.device, stored: torch.dtype) -> tuple[PagedAttention, str]:
    """The way for this device and what its cache keeps, and why."""
    if stored == torch.uint8:
        return gathered_attention, "an FP8 cache: the past is widened where it is copied"
    if device.type == "cpu":
        return runs_attention, "CPU: PyTorch's flash kernel reads the blocks where they lie"
    return gathered_attention, f"device type {device.type!r}: the past is copied side by side for the fused attention"
