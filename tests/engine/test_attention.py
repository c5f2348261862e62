"""Attention over blocks equals attention over one contiguous piece, however the past is cut into runs."""

from __future__ import annotations

import pytest
import torch

from regard.kernels.attention import attention
from regard.kernels.paged_attention import Span, gathered_attention, plan_step, runs_attention

HEADS, KEY_HEADS, DIM = 6, 2, 32
WAYS = {"runs": runs_attention, "gathered": gathered_attention}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("count", [1, 2, 7, 9])
@pytest.mark.parametrize("bytes_per_slot", [1, 1 << 30], ids=["short", "long"])
@pytest.mark.parametrize("cuts", [(0,), (5,), (16, 40), (3, 4, 30)], ids=str)
def test_any_cut_of_the_past_gives_the_same(way, dtype, count: int, bytes_per_slot: int, cuts: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    num_past = cuts[-1]
    total = num_past + count
    k, v = (torch.randn(KEY_HEADS, total, DIM).to(dtype) for _ in range(2))
    q = torch.randn(HEADS, total, DIM).to(dtype)
    expected = attention(q[None].float(), k[None].float(), v[None].float(), is_causal=True)[0, :, num_past:]

    # The past lies in pieces, in another order and with rubbish between them.
    keys, values = (torch.full((KEY_HEADS, 300, DIM), 9.0).to(dtype) for _ in range(2))
    runs, place, start = [], 290, 0
    for end in cuts:
        place -= end - start + 3
        if end > start:
            keys[:, place : place + end - start], values[:, place : place + end - start] = (
                k[:, start:end],
                v[:, start:end],
            )
            runs.append((place, end - start))
        start = end
    keys[:, :count], values[:, :count] = k[:, num_past:], v[:, num_past:]
    runs.append((0, count))
    rows = [x[:, num_past:].transpose(0, 1) for x in (q, k, v)]
    # A neighbour in the batch, to see that spans do not mix.
    neighbour = [torch.cat((torch.randn_like(x[:1]), x)) for x in rows]
    spans = [Span(0, 1, ((100, 8),)), Span(1, count, tuple(runs))]
    plan = plan_step(spans, bytes_per_slot, dtype)
    made = way(*neighbour, keys, values, plan)[1:].transpose(0, 1)
    tolerance = 2e-6 if dtype == torch.float32 else 3e-2
    assert (made.float() - expected).abs().max() < tolerance
