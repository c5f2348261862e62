"""Matrix products with 4-bit weights: every group of inputs of an output has a scale and a zero of its own.

    weight[n, k] = (codes[n, k] - 8) * scale[n, g] + zero[n, g]        codes 0 .. 15, g = k // group

Two codes share a byte: byte j of a row holds input j in its low half and input j + K' / 2 in its high half, where K'
is K rounded up to whole groups (the codes of the inputs added are 8). Scales and zeros are bfloat16.

    native     for a few rows native.c multiplies the stored codes with x rounded to 8 bits per group
    int4pack   the weight in the layout of PyTorch's own 4-bit product, x in bfloat16; for few rows
    as_int8    for many rows: tile by tile the weight becomes 8 bits wide, with one scale per output, and x too
    widened    for many rows: the weight is widened tile by tile to the dtype of x; exact for a float32 x

`int4pack` rounds x to bfloat16, `native` to 8 bits per group and `as_int8` to 8 bits per row (`int8.py`), ten times
finer than the weights are.
Left out: calibrated rounding (GPTQ, AWQ), other widths.
Shape letters: M rows of x, K inputs, N outputs, G groups, T outputs of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.kernels import native
from regard.kernels.choice import LinearKernel
from regard.kernels.int8 import MAX_CODE, quantise_rows
from regard.kernels.tiles import TILE_VALUES, tiled_linear, tiles

GROUP_SIZES = (32, 64, 128, 256)
# A group's range is narrowed by these factors, and the one with the smallest squared error is taken.
_NARROWED = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
MIDDLE = 8


@dataclass(frozen=True)
class Int4Weight:
    """codes (N, K' / 2) uint8, scale and zero (N, G) bfloat16; `num_inputs` is K."""

    codes: Tensor
    scale_NG: Tensor
    zero_NG: Tensor
    num_inputs: int

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        return len(self.codes), self.num_inputs

    @property
    def num_stored_inputs(self) -> int:
        """K', whole groups."""
        return 2 * self.codes.shape[1]

    @property
    def group(self) -> int:
        """Inputs that share a scale."""
        return self.num_stored_inputs // self.scale_NG.shape[1]

    def first_rows(self, num_outputs: int) -> Int4Weight:
        """The part that computes the first outputs."""
        rows = slice(num_outputs)
        return Int4Weight(self.codes[rows], self.scale_NG[rows], self.zero_NG[rows], self.num_inputs)

    def widened(self) -> Tensor:
        """The values that are meant, (N, K) float32."""
        out_NK = torch.empty(len(self.codes), self.num_stored_inputs)
        widen(self, slice(None), out_NK)
        return out_NK[:, : self.num_inputs]


def quantise_int4(weight_NK: Tensor, group: int) -> Int4Weight:
    """The 4-bit form of a float weight, a bounded number of rows at a time."""
    num_outputs, num_inputs = weight_NK.shape
    num_groups = -(-num_inputs // group)
    codes = torch.empty(num_outputs, num_groups * group // 2, dtype=torch.uint8)
    scale_NG = torch.empty(num_outputs, num_groups, dtype=torch.bfloat16)
    zero_NG = torch.empty_like(scale_NG)
    step = max(1, 2 * TILE_VALUES // num_inputs)
    for start in range(0, num_outputs, step):
        rows = slice(start, start + step)
        padded = F.pad(weight_NK[rows].float(), (0, num_groups * group - num_inputs))
        codes_NGI, scale_NG[rows], zero_NG[rows] = _quantise_groups(padded.view(-1, num_groups, group))
        codes[rows] = _pack_halves(codes_NGI.flatten(1))
    return Int4Weight(codes, scale_NG, zero_NG, num_inputs)


def pack_codes(levels_NK: Tensor, group: int) -> Tensor:
    """Codes as they are stored, of levels from -MIDDLE to 15 - MIDDLE; the last group is filled up with zero levels."""
    padded = F.pad(levels_NK, (0, -levels_NK.shape[1] % group))
    return _pack_halves((padded + MIDDLE).to(torch.uint8))


def _pack_halves(codes: Tensor) -> Tensor:
    """Two codes to a byte: of the first half of the inputs, and of the second. Shapes: (N, K'), (N, K' / 2)."""
    low, high = codes.chunk(2, dim=1)
    return low | (high << 4)


def _quantise_groups(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, scale and zero with the smallest squared error. Shapes: (..., I) to (..., I) uint8 and (...) bfloat16."""
    low, high = values.aminmax(dim=-1)
    best_error = torch.full_like(low, torch.inf)
    best_codes = torch.zeros_like(values, dtype=torch.uint8)
    best_scale, best_zero = torch.zeros_like(low, dtype=torch.bfloat16), torch.zeros_like(low, dtype=torch.bfloat16)
    for factor in _NARROWED:
        # The codes are chosen for the scale and zero that are stored, so that rounding those costs nothing twice.
        scale = ((high - low) * (factor / 15)).clamp(min=1e-30).bfloat16()
        zero = ((high + low) / 2 + scale.float() / 2).bfloat16()
        shifted = (values - zero.float()[..., None]) / scale.float()[..., None]
        codes = (shifted + MIDDLE).round_().clamp_(0, 15)
        error = (codes - MIDDLE - shifted).mul_(scale.float()[..., None]).square_().sum(dim=-1)
        is_better = error < best_error
        best_error = torch.where(is_better, error, best_error)
        best_scale, best_zero = torch.where(is_better, scale, best_scale), torch.where(is_better, zero, best_zero)
        best_codes = torch.where(is_better[..., None], codes.to(torch.uint8), best_codes)
    return best_codes, best_scale, best_zero


def widen(weight: Int4Weight, outputs: slice, out_TK: Tensor) -> None:
    """Fill `out` (T, K') with the values of some outputs, in its dtype."""
    num_groups = weight.scale_NG.shape[1]
    codes = weight.codes[outputs]
    halves = torch.stack([codes & 15, codes >> 4], dim=1).view(torch.int8).sub_(MIDDLE)
    out_TK.copy_(halves.flatten(1))
    groups = out_TK.view(len(codes), num_groups, -1)
    groups.mul_(weight.scale_NG[outputs, :, None]).add_(weight.zero_NG[outputs, :, None])


def _padded(x_MK: Tensor, weight: Int4Weight) -> Tensor:
    """x with zeros for the inputs that fill up the last group."""
    num_added = weight.num_stored_inputs - weight.num_inputs
    return F.pad(x_MK, (0, num_added)) if num_added else x_MK


def pack_int4pack(weight: Int4Weight) -> Any:
    """The operator's layout, which depends on the CPU; scale and zero side by side (G, N, 2)."""
    halves = torch.stack([weight.codes & 15, weight.codes >> 4], dim=1)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(halves.flatten(1).int(), 1)
    scales_GN2 = torch.stack([weight.scale_NG.t(), weight.zero_NG.t()], dim=-1).contiguous()
    return packed, weight.group, scales_GN2, weight.num_stored_inputs - weight.num_inputs


def multiply_int4pack(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """In bfloat16 whatever x is: for other dtypes the operator is a scalar loop."""
    codes, group, scales_GN2, num_added = packed
    x_bf16 = F.pad(x_MK, (0, num_added)).bfloat16() if num_added else x_MK.bfloat16()
    out_MN = torch.ops.aten._weight_int4pack_mm_for_cpu(x_bf16.contiguous(), codes, group, scales_GN2)
    return out_MN.to(x_MK.dtype) if bias is None else (out_MN.float() + bias).to(x_MK.dtype)


def _int4pack_obstacle(weight: Int4Weight) -> str:
    if weight.shape[0] % 16:
        return "needs outputs in multiples of 16"
    if weight.group not in GROUP_SIZES:
        return f"needs groups of {', '.join(map(str, GROUP_SIZES))}"
    return ""


def pack_as_int8(weight: Int4Weight) -> Any:
    """The weight, and the 8-bit scale of each output: its largest absolute value becomes 127."""
    largest = torch.empty(weight.shape[0], 1)
    for outputs, tile_TK in tiles(weight.shape[0], weight.num_stored_inputs, largest):
        widen(weight, outputs, tile_TK)
        largest[outputs] = tile_TK[:, : weight.num_inputs].abs().amax(dim=1, keepdim=True)
    return weight, largest.clamp_(min=1e-30) / MAX_CODE


def multiply_as_int8(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """Integer products of tiles that are rounded to 8 bits on the fly."""
    weight, scale_N1 = packed
    codes_MK, x_scale_M1 = quantise_rows(_padded(x_MK, weight))
    out_MN = torch.empty(len(x_MK), weight.shape[0])
    for outputs, tile_TK in tiles(weight.shape[0], weight.num_stored_inputs, out_MN):
        widen(weight, outputs, tile_TK)
        # What fills up the last group may lie outside of the output's range; x is zero there.
        tile_codes = tile_TK.div_(scale_N1[outputs]).round_().clamp_(-MAX_CODE, MAX_CODE).to(torch.int8)
        torch.mul(torch._int_mm(codes_MK, tile_codes.t()), scale_N1[outputs, 0], out=out_MN[:, outputs])
    if bias is None:
        return out_MN.mul_(x_scale_M1).to(x_MK.dtype)
    return torch.addcmul(bias.float(), out_MN, x_scale_M1).to(x_MK.dtype)


def pack_widened(weight: Int4Weight) -> Any:
    """The weight itself."""
    return weight


def multiply_widened(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """In the dtype of x, the weight widened to it tile by tile."""
    weight: Int4Weight = packed
    x_padded = _padded(x_MK, weight)
    return tiled_linear(x_padded, weight.shape[0], lambda outputs, tile_TK: widen(weight, outputs, tile_TK), bias)


def pack_native(weight: Int4Weight) -> native.Weight:
    """The weight where it lies."""
    tensors = tuple(tensor.contiguous() for tensor in (weight.codes, weight.scale_NG, weight.zero_NG))
    return native.Weight("linear_int4", tensors, None, *weight.shape, weight.group)


def _native_obstacle(weight: Int4Weight) -> str:
    return native.why_not() or ("needs an even number of groups" if weight.scale_NG.shape[1] % 2 else "")


INT4_KERNELS: tuple[LinearKernel[Int4Weight], ...] = (
    LinearKernel("native", pack_native, native.multiply, _native_obstacle, is_view=True),
    LinearKernel("int4pack", pack_int4pack, multiply_int4pack, _int4pack_obstacle),
    LinearKernel("as_int8", pack_as_int8, multiply_as_int8, max_error=0.03, is_view=True),
    LinearKernel("widened", pack_widened, multiply_widened, is_view=True),
)
