"""Attention: PyTorch's fused kernel, or plain matrix products where those are faster.

    fused   scaled_dot_product_attention: never holds the (T, S) matrix; every inference, every GPU
    tiles   the same in native_attention.c, forward and backward, for bfloat16 on CPUs with AVX-512's dot product of it,
            where PyTorch's kernel multiplies at float32 speed: a quarter of the time for 1,200 patches
    plain   training on a CPU with up to PLAIN_MAX_TOKENS tokens: the fused kernel's backward pass runs at float32
            speed and took 1.3 to 7 times as long as bfloat16 matrix products (40 to 360 tokens, one core with AMX);
            with 800 tokens the plain one took 2.5 times as long, because it holds the matrix of all pairs. Beside
            tiles it is faster up to CAUSAL_PLAIN_MAX_TOKENS, or without a mask up to 800 (head_dim 32)

Shape letters: B batch, N query heads, K key/value heads (N a multiple of K), T queries, S keys, D head_dim.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.kernels import native

PLAIN_MAX_TOKENS = 384
CAUSAL_PLAIN_MAX_TOKENS = 96


def attention(q_BNTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, is_causal: bool = False) -> Tensor:
    """Softmax attention, scaled by D ** -0.5; `is_causal` needs T = S. Returns (B, N, T, D)."""
    is_training = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (q_BNTD, k_BKSD, v_BKSD))
    has_tiles = native.can_attend_tiles(q_BNTD, k_BKSD, v_BKSD)
    plain_max = CAUSAL_PLAIN_MAX_TOKENS if has_tiles and is_causal else PLAIN_MAX_TOKENS
    if is_training and q_BNTD.device.type == "cpu" and k_BKSD.shape[2] <= plain_max:
        return plain_attention(q_BNTD, k_BKSD, v_BKSD, is_causal=is_causal)
    if has_tiles:
        attended: Tensor = _TileAttention.apply(q_BNTD, k_BKSD, v_BKSD, is_causal)  # type: ignore[no-untyped-call]
        return attended
    return F.scaled_dot_product_attention(q_BNTD, k_BKSD, v_BKSD, is_causal=is_causal, enable_gqa=True)


class _TileAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_BNTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, is_causal: bool) -> Tensor:
        out_BNTD, log_sum_BNT = native.attend_tiles(q_BNTD, k_BKSD, v_BKSD, is_causal=is_causal)
        ctx.save_for_backward(q_BNTD, k_BKSD, v_BKSD, out_BNTD, log_sum_BNT)
        ctx.is_causal = is_causal
        return out_BNTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BNTD: Tensor) -> tuple[Tensor | None, ...]:
        grad_BNTD = grad_BNTD if grad_BNTD.stride(-1) == 1 else grad_BNTD.contiguous()
        q_BNTD, k_BKSD, v_BKSD, out_BNTD, log_sum_BNT = ctx.saved_tensors
        given = (q_BNTD, k_BKSD, v_BKSD, out_BNTD, log_sum_BNT, grad_BNTD)
        return *native.attend_tiles_backward(*given, is_causal=ctx.is_causal), None


def plain_attention(q_BNTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, is_causal: bool = False) -> Tensor:
    """The same by two matrix products; the heads that share a key head are stacked instead of copying keys."""
    batch, num_heads, num_queries, head_dim = q_BNTD.shape
    num_key_heads, num_keys = k_BKSD.shape[1:3]
    stacked = (batch, num_key_heads, num_heads // num_key_heads * num_queries, head_dim)
    q = (q_BNTD * head_dim**-0.5).reshape(stacked)
    scores = (q @ k_BKSD.transpose(-1, -2)).view(batch, num_heads, num_queries, num_keys)
    if is_causal:
        is_later = torch.ones(num_queries, num_keys, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(is_later, float("-inf"))
    weights = scores.softmax(dim=-1).to(v_BKSD.dtype).view(*stacked[:3], num_keys)
    return (weights @ v_BKSD).view(batch, num_heads, num_queries, head_dim)
