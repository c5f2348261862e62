"""native.c with many rows: attention by tiles, what stands around integer products. PyTorch is the truth."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regard.kernels import native
from regard.kernels.attention import attention
from regard.kernels.int8 import MAX_CODE
from regard.kernels.paged_attention import Plan, Span, runs_attention
from regard.kernels.turn import turn
from regard.model.rope import rotate

needs_library = pytest.mark.skipif(native.library() is None, reason=f"no native kernels: {native.why_not()}")
has_tiles = native.library() is not None and bool(native.library().has_attend_tiles())  # type: ignore[union-attr]
needs_tiles = pytest.mark.skipif(not has_tiles, reason="needs a CPU with AVX-512's bfloat16 dot product")
TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 4e-3}


def error(found: Tensor, expected: Tensor) -> float:
    """Relative, over all values."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


def exact(q_BNTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp in float64; the last query sees all keys."""
    group = q_BNTD.shape[1] // k_BKSD.shape[1]
    k, v = (x.double().repeat_interleave(group, dim=1) for x in (k_BKSD, v_BKSD))
    scores = q_BNTD.double() @ k.transpose(-1, -2) * q_BNTD.shape[-1] ** -0.5
    if is_causal:
        num_queries, num_keys = scores.shape[-2:]
        is_seen = torch.ones(num_queries, num_keys, dtype=torch.bool).tril(num_keys - num_queries)
        scores = scores.masked_fill(~is_seen, float("-inf"))
    return scores.softmax(-1) @ v, scores.logsumexp(-1)


@needs_tiles
@pytest.mark.parametrize("is_causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize(
    ("heads", "queries", "keys", "head_dim"),
    [
        *(((16, 16), 300, 300, 64), ((4, 2), 16, 16, 72), ((6, 2), 49, 700, 128)),
        *(((2, 1), 100, 1100, 33), ((1, 1), 97, 513, 80)),
    ],
)  # fmt: skip
def test_attention_by_tiles_equals_attention(
    heads: tuple[int, int], queries: int, keys: int, head_dim: int, is_causal: bool
) -> None:
    torch.manual_seed(queries)
    q = torch.randn(2, queries, heads[0], head_dim).bfloat16().transpose(1, 2)  # as the layers give it: not dense
    k = torch.randn(2, heads[1], keys, head_dim).bfloat16()
    v = torch.randn(2, keys, heads[1], head_dim).bfloat16().transpose(1, 2)
    out, log_sum = native.attend_tiles(q, k, v, is_causal=is_causal)
    expected, expected_log_sum = exact(q, k, v, is_causal=is_causal)
    assert error(out, expected) < TOLERANCES[torch.bfloat16]
    assert torch.allclose(log_sum.double(), expected_log_sum, atol=1e-5)


@needs_tiles
def test_large_scores_neither_overflow_nor_lose_the_largest() -> None:
    torch.manual_seed(1)
    q, k, v = (torch.randn(1, 2, 600, 64).bfloat16() for _ in range(3))
    out, log_sum = native.attend_tiles(q * 40, k * 40, v, is_causal=True)
    expected, _ = exact(q * 40, k * 40, v, is_causal=True)
    assert torch.isfinite(out).all() and torch.isfinite(log_sum).all()
    assert error(out, expected) < TOLERANCES[torch.bfloat16]


@needs_tiles
def test_a_query_gives_the_same_whoever_is_beside_it() -> None:
    torch.manual_seed(2)
    q, k, v = (torch.randn(1, 2, 200, 64).bfloat16() for _ in range(3))
    whole = native.attend_tiles(q, k, v, is_causal=False)[0]
    parts = [native.attend_tiles(part, k, v, is_causal=False)[0] for part in q.split([17, 83, 100], dim=2)]
    assert torch.equal(whole, torch.cat(parts, dim=2))


def test_attention_in_bfloat16_is_close_to_float32_on_every_cpu() -> None:
    torch.manual_seed(3)
    q, k, v = (torch.randn(1, 4, 130, 64).bfloat16() for _ in range(3))
    assert error(attention(q, k, v), attention(q.float(), k.float(), v.float())) < TOLERANCES[torch.bfloat16]


def test_attention_that_is_learned_through_has_gradients() -> None:
    q, k, v = (torch.randn(1, 2, 400, 32, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    attention(q, k, v).float().sum().backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in (k, v))


@pytest.mark.parametrize("runs", [((5, 90),), ((70, 40), (5, 50))], ids=["one run", "two runs"])
def test_a_chunk_in_bfloat16_sees_its_past_and_itself(runs: tuple[tuple[int, int], ...]) -> None:
    torch.manual_seed(4)
    keys, values = (torch.randn(2, 120, 64).bfloat16() for _ in range(2))
    slots = torch.cat([torch.arange(start, start + length) for start, length in runs])
    count = 40
    q = torch.randn(count, 4, 64).bfloat16()
    k, v = (stored[:, slots[-count:]].transpose(0, 1) for stored in (keys, values))
    out = runs_attention(q, k, v, keys, values, Plan((Span(0, count, runs),)))
    seen = (q.transpose(0, 1)[None], keys[None, :, slots], values[None, :, slots])
    assert error(out, exact(*seen, is_causal=True)[0][0].transpose(0, 1)) < TOLERANCES[torch.bfloat16]


@needs_library
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_rows_are_quantised_by_their_largest_value(dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    x = (torch.randn(40, 700) * torch.logspace(-4, 4, 40)[:, None]).to(dtype)
    x[7] = 0
    codes, scale = native.quantise_rows(x)
    assert codes.dtype == torch.int8 and codes[7].abs().max() == 0 and (scale > 0).all()
    others = torch.arange(40) != 7
    assert (codes[others].abs().amax(1) == MAX_CODE).all()
    assert ((codes * scale - x.float()).abs() <= 0.501 * scale).all()


@needs_library
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("has_bias", [False, True])
def test_an_integer_product_is_scaled_and_rounded_once(dtype: torch.dtype, has_bias: bool) -> None:
    torch.manual_seed(6)
    product = torch.randint(-(10**6), 10**6, (50, 700), dtype=torch.int32)
    row_scale, scale, bias = torch.rand(50, 1), torch.rand(700), torch.randn(700).to(dtype) if has_bias else None
    expected = product.double() * scale.double() * row_scale.double() + (0 if bias is None else bias.double())
    found = native.finish_rows(product, row_scale, scale, bias, dtype)
    assert found.dtype == dtype and error(found, expected) < TOLERANCES[dtype]


@needs_library
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_the_nonlinear_steps_equal_pytorchs(dtype: torch.dtype) -> None:
    torch.manual_seed(7)
    x, up = (4 * torch.randn(60, 700)).to(dtype), torch.randn(60, 700).to(dtype)
    x[0, :4] = torch.tensor([-80.0, 80.0, 0.0, -1e4])
    expected = F.gelu(x.double(), approximate="tanh"), F.silu(x.double()) * up.double()
    found = native.gelu_(x.clone()), native.silu_mul_(x.clone(), up)
    for one, truth in zip(found, expected, strict=True):
        assert torch.isfinite(one).all() and error(one, truth) < TOLERANCES[dtype]


@needs_tiles
@pytest.mark.parametrize("is_causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize(
    ("heads", "queries", "keys", "head_dim"),
    [((8, 4), 300, 300, 64), ((6, 2), 49, 700, 128), ((2, 1), 100, 1100, 34), ((1, 1), 513, 513, 80)],
)
def test_gradients_of_attention_by_tiles_equal_attentions(
    heads: tuple[int, int], queries: int, keys: int, head_dim: int, is_causal: bool
) -> None:
    torch.manual_seed(queries)
    shapes = [(heads[0], queries), (heads[1], keys), (heads[1], keys)]
    given = [torch.randn(2, count, n, head_dim).bfloat16().transpose(1, 2) for n, count in shapes]
    grad = torch.randn(2, heads[0], queries, head_dim).bfloat16()
    out, log_sum = native.attend_tiles(*given, is_causal=is_causal)
    found = native.attend_tiles_backward(*given, out, log_sum, grad, is_causal=is_causal)
    doubles = [tensor.double().requires_grad_() for tensor in given]
    exact(*doubles, is_causal=is_causal)[0].backward(grad.double())
    for made, double in zip(found, doubles, strict=True):
        assert double.grad is not None
        assert error(made, double.grad) < TOLERANCES[torch.bfloat16]


@needs_tiles
def test_attention_learns_by_tiles() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 500, 32).bfloat16().requires_grad_() for _ in range(3))
    out = attention(q, k, v, is_causal=True)
    assert "TileAttention" in type(out.grad_fn).__name__
    out.float().square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in (q, k, v))


@needs_library
@pytest.mark.parametrize("has_gain", [True, False], ids=["normalised", "rotated only"])
@pytest.mark.parametrize(("rows", "heads", "head_dim"), [(300, 8, 64), (16, 1, 34), (500, 6, 128)])
def test_queries_turned_in_one_pass_equal_norm_and_rotation_with_gradients(
    rows: int, heads: int, head_dim: int, has_gain: bool
) -> None:
    torch.manual_seed(rows)
    x = torch.randn(rows, 3, heads, head_dim).bfloat16()[:, 1]  # as the tower gives it: rows lie apart
    gain = torch.rand(head_dim) + 0.5 if has_gain else None
    angles = torch.randn(rows, head_dim // 2).repeat(1, 2)
    grad = torch.randn(rows, heads, head_dim).bfloat16()
    exact_x = x.double().requires_grad_()
    exact_gain = None if gain is None else gain.double().requires_grad_()
    normed = exact_x
    if exact_gain is not None:
        normed = F.rms_norm(exact_x, (head_dim,), exact_gain, 1e-6)
    expected = rotate(normed, angles.double().cos()[:, None], angles.double().sin()[:, None])
    expected.backward(grad.double())
    x.requires_grad_()
    if gain is not None:
        gain.requires_grad_()
    turned = turn(x, gain, angles.cos(), angles.sin(), 1e-6)
    turned.backward(grad)
    assert x.grad is not None and exact_x.grad is not None
    assert error(turned, expected) < TOLERANCES[torch.bfloat16]
    assert error(x.grad, exact_x.grad) < TOLERANCES[torch.bfloat16]
    if gain is not None and exact_gain is not None:
        assert gain.grad is not None and exact_gain.grad is not None
        assert error(gain.grad, exact_gain.grad) < 1e-5


@needs_library
def test_only_dense_heads_of_many_rows_in_bfloat16_are_turned_in_one_pass() -> None:
    assert native.can_turn(torch.zeros(16, 2, 8, dtype=torch.bfloat16))
    assert not native.can_turn(torch.zeros(16, 2, 8))
    assert not native.can_turn(torch.zeros(2, 2, 8, dtype=torch.bfloat16))
    assert not native.can_turn(torch.zeros(16, 8, 2, dtype=torch.bfloat16).transpose(1, 2))
