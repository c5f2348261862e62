"""Attention over a paged cache: keys and values of one layer lie in slots, a sequence's slots in a few runs.

    keys, values (K, slots, D)     slot = block * block_size + place in the block
    a Span                         rows of the flat batch that belong to one sequence, and the runs of its past

One pair of ways, chosen by the device:

    runs       CPU: PyTorch's flash kernel reads every run where it lies, as a view, and returns the log-sum-exp of
               its scores; the parts of several runs are then merged exactly. Nothing is copied.
    gathered   any other device: the past is gathered into one tensor, and the fused attention runs with a mask

Decoding rows (one new token) see all keys, so the query heads that share a key head are stacked as if they
were queries of one head. Rows of a prompt see their past without a mask and their own chunk causally.

Shape letters: R rows of the flat batch, N query heads, K key/value heads, G = N / K, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PagedAttention = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, "Sequence[Span]"], Tensor]


@dataclass(frozen=True)
class Span:
    """Rows [row, row + count) of the batch. `runs` are (first slot, length) of what they may all see.

    For `count` 1 the runs include the row's own token; for more they end before the rows' own.
    """

    row: int
    count: int
    runs: tuple[tuple[int, int], ...]


def runs_attention(
    q_RND: Tensor, k_RKD: Tensor, v_RKD: Tensor, keys_KSD: Tensor, values_KSD: Tensor, spans: Sequence[Span]
) -> Tensor:
    """Attention of every span's rows, on the CPU. `k` and `v` are the rows' own. Returns (R, N, D)."""
    num_rows, num_heads, head_dim = q_RND.shape
    num_key_heads = keys_KSD.shape[0]
    out_RND = torch.empty(num_rows, num_heads, head_dim, dtype=q_RND.dtype)
    keys_1KSD, values_1KSD = keys_KSD[None], values_KSD[None]
    # Decoding rows that see one run, the common case, need nothing else: each is one call between views.
    q_RKGD, out_RKGD = (x.view(num_rows, num_key_heads, -1, head_dim) for x in (q_RND.contiguous(), out_RND))
    for span in spans:
        if span.count == 1 and len(span.runs) == 1:
            ((start, length),) = span.runs
            k, v = keys_1KSD.narrow(2, start, length), values_1KSD.narrow(2, start, length)
            out_RKGD[span.row] = _flash(q_RKGD[span.row : span.row + 1], k, v, is_causal=False)[0][0]
            continue
        rows = slice(span.row, span.row + span.count)
        # (1, K, G * T, D): all queries that meet the same keys side by side.
        q_KGTD = q_RND[rows].view(span.count, num_key_heads, -1, head_dim).permute(1, 2, 0, 3)
        q_1KQD = q_KGTD.reshape(1, num_key_heads, -1, head_dim)
        parts = []
        for start, length in span.runs:
            run = slice(start, start + length)
            parts.append(_flash(q_1KQD, keys_KSD[None, :, run], values_KSD[None, :, run], is_causal=False))
        if span.count > 1:
            parts.append(_own_chunk(q_KGTD, k_RKD[rows], v_RKD[rows]))
        out_1KQD = parts[0][0] if len(parts) == 1 else _merge(parts)
        out_RND[rows] = out_1KQD.view(num_key_heads, -1, span.count, head_dim).permute(2, 0, 1, 3).flatten(1, 2)
    return out_RND


def _flash(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp of the scores."""
    out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, is_causal)
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
    q_RND: Tensor, k_RKD: Tensor, v_RKD: Tensor, keys_KSD: Tensor, values_KSD: Tensor, spans: Sequence[Span]
) -> Tensor:
    """The same on any device; one copy of each sequence's past."""
    out_RND = torch.empty_like(q_RND)
    for span in spans:
        rows = slice(span.row, span.row + span.count)
        k = (
            torch.cat([keys_KSD[:, start : start + length] for start, length in span.runs], dim=1)
            if span.runs
            else None
        )
        v = (
            torch.cat([values_KSD[:, start : start + length] for start, length in span.runs], dim=1)
            if span.runs
            else None
        )
        mask = None
        if span.count > 1:
            own_k, own_v = k_RKD[rows].transpose(0, 1), v_RKD[rows].transpose(0, 1)
            k = own_k if k is None else torch.cat((k, own_k), dim=1)
            v = own_v if v is None else torch.cat((v, own_v), dim=1)
            num_past = k.shape[1] - span.count
            mask = torch.ones(span.count, k.shape[1], dtype=torch.bool, device=q_RND.device).tril(num_past)
        assert k is not None and v is not None
        q = q_RND[rows].transpose(0, 1)
        out = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, enable_gqa=True)
        out_RND[rows] = out[0].transpose(0, 1)
    return out_RND


def choose_paged_attention(device: torch.device) -> tuple[PagedAttention, str]:
    """The way for this device, and why."""
    if device.type == "cpu":
        return runs_attention, "CPU: PyTorch's flash kernel reads the blocks where they lie"
    return (
        gathered_attention,
        f"PyTorch has no kernel for device type {device.type!r} that reads blocks and returns sums",
    )
