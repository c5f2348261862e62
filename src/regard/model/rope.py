"""Rotary embeddings: the text decoder's Interleaved-MRoPE and the vision tower's 2D rotary.

MRoPE gives every token three positions (time, height, width). Each rotary frequency belongs to one axis,
and the axes take turns over *all* frequencies, so that each sees fast and slow ones:

    frequency i   0 1 2 3 4 5 ... 57 58 59 60 61 62 63     (head_dim 128, mrope_section 24, 20, 20)
    axis          T H W T H W ...  T  H  W  T  T  T  T

A text token has three equal positions, which makes this ordinary rotary embedding for text.
cos and sin are computed in float32 and cast to the model's dtype before they multiply q and k.

YaRN (long contexts) changes the frequencies and scales cos and sin; it is always on when the config asks
for it. Dynamic scaling per request is left out.

Shape letters: B batch, T tokens, P patches, D head_dim, F = D / 2 frequencies.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from regard.model.config import VISION_ROPE_THETA, RopeConfig


@functools.cache
def text_inv_freq(rope: RopeConfig, head_dim: int) -> tuple[Tensor, float]:
    """Frequencies of the decoder, and the factor that scales cos and sin.

    Shapes:  returns (F,) float32 and a float.
    Source:  YaRN, arXiv 2309.00071; same result as transformers' "yarn" initialisation (tests/parity).
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim
    periods = rope.theta**exponents
    if rope.kind == "default":
        return 1.0 / periods, 1.0

    def dim_of(rotations: float) -> float:
        context = rope.original_max_position_embeddings
        return head_dim * math.log(context / (rotations * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = dim_of(rope.beta_fast), dim_of(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    width = high - low or 0.001
    ramp = ((torch.arange(head_dim // 2, dtype=torch.float32, device="cpu") - low) / width).clamp(0, 1)
    inv_freq = ramp / (rope.factor * periods) + (1 - ramp) / periods
    return inv_freq, _yarn_attention_factor(rope)


def _yarn_attention_factor(rope: RopeConfig) -> float:
    def mscale(weight: float) -> float:
        return 1.0 if rope.factor <= 1 else 0.1 * weight * math.log(rope.factor) + 1.0

    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        return mscale(rope.mscale) / mscale(rope.mscale_all_dim)
    return mscale(1.0)


@functools.cache
def mrope_axes(mrope_section: tuple[int, int, int]) -> Tensor:
    """Which axis (0 time, 1 height, 2 width) each frequency follows.

    Shapes:  returns (F,) int64. Example: section (2, 1, 1) gives 0 1 2 0.
    """
    axes = torch.zeros(sum(mrope_section), dtype=torch.long, device="cpu")
    for axis in (1, 2):
        axes[axis : 3 * mrope_section[axis] : 3] = axis
    return axes


def mrope_cos_sin(position_ids_3BT: Tensor, inv_freq_F: Tensor, axes_F: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """cos and sin for every token. Shapes: position_ids (3, B, T); returns two (B, T, D) float32."""
    positions_BTF = position_ids_3BT[axes_F].movedim(0, -1)
    angles_BTF = positions_BTF.float() * inv_freq_F
    angles_BTD = torch.cat((angles_BTF, angles_BTF), dim=-1)
    return angles_BTD.cos() * scale, angles_BTD.sin() * scale


def vision_cos_sin(rows_P: Tensor, columns_P: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """cos and sin for every patch from its row and column in the un-merged grid.

    Shapes:  rows, columns (P,) integers; returns two (P, D) float32.
    """
    exponents = torch.arange(0, head_dim // 2, 2, dtype=torch.float32, device=rows_P.device) / (head_dim // 2)
    inv_freq = 1.0 / VISION_ROPE_THETA**exponents
    angles = torch.cat((rows_P[:, None] * inv_freq, columns_P[:, None] * inv_freq), dim=-1)
    angles_PD = torch.cat((angles, angles), dim=-1)
    return angles_PD.cos(), angles_PD.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + D/2) of the last dimension. Shapes: all broadcastable to x's (..., D)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
