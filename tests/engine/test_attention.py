"""Attention over blocks equals attention over one contiguous piece, however the past is cut into runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regard.engine.paged_cache import row_runs
from regard.kernels import native
from regard.kernels.attention import attention
from regard.kernels.paged_attention import Span, gathered_attention, plan_step, runs_attention
from regard.model.rope import rotate

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


@pytest.mark.skipif(native.library() is None, reason=f"no native kernels: {native.why_not()}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("counts", [(1,), (1, 1, 1), (4, 1)], ids=str)
def test_a_few_rows_in_c_are_normalised_rotated_stored_and_attended_as_the_model_does(dtype, counts) -> None:
    torch.manual_seed(0)
    num_rows = sum(counts)
    q, k, v = (torch.randn(num_rows, heads * DIM).to(dtype) for heads in (HEADS, KEY_HEADS, KEY_HEADS))
    q_gain, k_gain = 1 + 0.1 * torch.randn(DIM), 1 + 0.1 * torch.randn(DIM)
    angles = torch.randn(num_rows, DIM // 2).repeat(1, 2)
    turn = native.Turn(q_gain, k_gain, angles.cos(), angles.sin(), 1e-6)
    keys, values = (torch.randn(KEY_HEADS, 200, DIM).to(dtype) for _ in range(2))
    slots, spans, row = [], [], 0
    for number, count in enumerate(counts):  # each with 21 tokens of past in two runs
        first = 60 * number
        runs = ((first + 30, 10), (first, 11 + count))
        spans.append(Span(row, count, runs))
        slots += range(first + 11, first + 11 + count)
        row += count

    def turned(x, gain):
        heads = x.float().view(num_rows, -1, DIM)
        return rotate(F.rms_norm(heads, (DIM,), gain, 1e-6), turn.cos_RD[:, None], turn.sin_RD[:, None])

    expected_keys, expected_values = keys.clone(), values.clone()
    expected_keys[:, slots] = turned(k, k_gain).transpose(0, 1).to(dtype)
    expected_values[:, slots] = v.view(num_rows, -1, DIM).transpose(0, 1)
    expected = []
    for span in spans:
        seen = [slot for start, length in span.runs for slot in range(start, start + length)]
        for index in range(span.count):
            own = seen[: span.num_keys - span.count + index + 1]
            query = turned(q, q_gain)[span.row + index][None, :, None]
            past = (x[:, own].float()[None] for x in (expected_keys, expected_values))
            expected.append(attention(query, *past).flatten())

    made = native.attend(q, k, v, keys, values, row_runs(torch.tensor(slots), spans), turn)
    tolerance = 2e-6 if dtype == torch.float32 else 3e-2
    assert made.dtype == dtype and (made.float() - torch.stack(expected)).abs().max() < tolerance
    assert (keys.float() - expected_keys.float()).abs().max() < tolerance and torch.equal(values, expected_values)
