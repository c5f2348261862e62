"""Matrix products with 8-bit integer weights: one scale per output, and, in the fast ones, one per row of x.

    weight[n, k] = codes[n, k] * scale[n]                      codes -127 .. 127, no zero point
    x[m, k]     ~= x_codes[m, k] * x_scale[m]                  made on the fly, each row by its own largest value
    out[m, n]    = (x_codes @ codes.T)[m, n] * x_scale[m] * scale[n]     the sum in int32, exact

    native     x is kept as it is; for a few rows native.c reads the stored codes once, with all threads
    onednn     the integer product of oneDNN with a weight laid out for it; VNNI and AMX instructions where present
    int_mm     PyTorch's plain integer product; the weight stays as it is stored
    int8pack   x is kept in bfloat16 and only the weight is 8 bits wide; a hand-written kernel for few rows
    widened    x is kept as it is, the weight is widened tile by tile; exact with respect to the stored values

Rows are quantised by themselves, so what one row gives does not depend on its neighbours in a batch.
Left out: zero points, static scales, groups of inputs (`int4.py` has those).
Shape letters: M rows of x, K inputs, N outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regard.kernels import native
from regard.kernels.choice import LinearKernel
from regard.kernels.tiles import tiled_linear

MAX_CODE = 127
# Rows are quantised so many values at a time and per thread: what one step writes the next finds in the cache.
_CHUNK_VALUES = 131_072
_SMALLEST = 1e-30  # a row of zeros has a scale too
_ALIGNMENT = 64  # bytes; where torch's own memory begins


@dataclass(frozen=True)
class Int8Weight:
    """codes (N, K) int8 and scale (N,) float32."""

    codes_NK: Tensor
    scale_N: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        num_outputs, num_inputs = self.codes_NK.shape
        return num_outputs, num_inputs

    def first_rows(self, num_outputs: int) -> Int8Weight:
        """The part that computes the first outputs."""
        return Int8Weight(self.codes_NK[:num_outputs], self.scale_N[:num_outputs])

    def widened(self) -> Tensor:
        """The values that are meant, (N, K) float32."""
        return self.codes_NK * self.scale_N[:, None]


def quantise_rows(x_MK: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and one scale per row: the row's largest absolute value becomes 127.

    Shapes:  x (M, K) of any float dtype; returns (M, K) int8 and (M, 1) float32.
    """
    if x_MK.device.type == "cpu" and x_MK.dtype in native.KINDS and native.library() is not None:
        return native.quantise_rows(x_MK)
    num_rows, num_inputs = x_MK.shape
    chunk = max(1, _CHUNK_VALUES * torch.get_num_threads() // max(1, num_inputs))
    if num_rows <= chunk:
        return _quantise(x_MK)
    codes_MK = torch.empty(num_rows, num_inputs, dtype=torch.int8, device=x_MK.device)
    scale_M1 = torch.empty(num_rows, 1, dtype=torch.float32, device=x_MK.device)
    for start in range(0, num_rows, chunk):
        rows = slice(start, start + chunk)
        codes_MK[rows], scale_M1[rows] = _quantise(x_MK[rows])
    return codes_MK, scale_M1


def _quantise(x_MK: Tensor) -> tuple[Tensor, Tensor]:
    x_MK = x_MK.float()
    largest_M1 = x_MK.abs().amax(dim=1, keepdim=True).clamp_(min=_SMALLEST)
    return (x_MK * (MAX_CODE / largest_M1)).round_().to(torch.int8), largest_M1 / MAX_CODE


def quantise_int8(weight_NK: Tensor) -> Int8Weight:
    """The 8-bit form of a float weight."""
    codes_NK, scale_N1 = quantise_rows(weight_NK)
    return Int8Weight(codes_NK, scale_N1[:, 0].contiguous())


def _finish(product_MN: Tensor, x_scale_M1: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Scale the rows of a float32 product, add the bias, round once."""
    if bias is None:
        return product_MN.mul_(x_scale_M1).to(dtype)
    return torch.addcmul(bias.float(), product_MN, x_scale_M1).to(dtype)


def pack_onednn(weight: Int8Weight) -> Any:
    """The weight in oneDNN's own layout, its scales and zero points."""
    packed = torch.ops.onednn.qlinear_prepack(weight.codes_NK.contiguous(), None)
    return packed, weight.scale_N.contiguous(), torch.zeros(weight.shape[0], dtype=torch.int64)


def multiply_onednn(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """The operator takes one scale for all of x: it gets 1, and the rows of its float32 result are scaled here."""
    weight, scale_N, zero_N = packed
    codes_MK, x_scale_M1 = quantise_rows(x_MK)
    product_MN = torch.ops.onednn.qlinear_pointwise(
        codes_MK, 1.0, 0, weight, scale_N, zero_N, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return _finish(product_MN, x_scale_M1, bias, x_MK.dtype)


def pack_int_mm(weight: Int8Weight) -> Any:
    """Nothing but references."""
    return weight.codes_NK.t(), weight.scale_N


def multiply_int_mm(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """The int32 product, then both scales."""
    codes_KN, scale_N = packed
    codes_MK, x_scale_M1 = quantise_rows(x_MK)
    product_MN = torch._int_mm(codes_MK, codes_KN)
    if x_MK.device.type == "cpu" and x_MK.dtype in native.KINDS and native.library() is not None:
        return native.finish_rows(product_MN, x_scale_M1, scale_N, bias, x_MK.dtype)
    product_MN = product_MN * scale_N
    return _finish(product_MN, x_scale_M1, bias, x_MK.dtype)


def pack_int8pack(weight: Int8Weight) -> Any:
    """The operator's own scales are left at 1: it would round them to bfloat16."""
    return _aligned(weight.codes_NK), torch.ones(weight.shape[0], dtype=torch.bfloat16), weight.scale_N


def multiply_int8pack(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """In bfloat16 whatever x is: for other dtypes the operator is a scalar loop."""
    codes_NK, ones_N, scale_N = packed
    product_MN = torch.ops.aten._weight_int8pack_mm(_aligned(x_MK.bfloat16()), codes_NK, ones_N).float()
    out_MN = product_MN.mul_(scale_N) if bias is None else torch.addcmul(bias.float(), product_MN, scale_N)
    return out_MN.to(x_MK.dtype)


def _aligned(tensor: Tensor) -> Tensor:
    """The operator loads aligned vectors: a view that begins elsewhere, in a mapped file say, ends the process."""
    is_aligned = tensor.is_contiguous() and tensor.data_ptr() % _ALIGNMENT == 0
    return tensor if is_aligned else tensor.clone(memory_format=torch.contiguous_format)


def _int8pack_obstacle(weight: Int8Weight) -> str:
    num_outputs, num_inputs = weight.shape
    if num_inputs % 16 or num_outputs % 16:
        return "needs inputs and outputs in multiples of 16"  # of other sizes it reads past the end
    return ""


def pack_widened(weight: Int8Weight) -> Any:
    """The weight itself."""
    return weight


def multiply_widened(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """Float32 products of x as it is; outputs are scaled after the sum."""
    weight: Int8Weight = packed

    def widen_rows(outputs: slice, tile_TK: Tensor) -> None:
        tile_TK.copy_(weight.codes_NK[outputs])

    product_MN = tiled_linear(x_MK.float(), weight.shape[0], widen_rows, None)
    out_MN = (
        product_MN.mul_(weight.scale_N) if bias is None else torch.addcmul(bias.float(), product_MN, weight.scale_N)
    )
    return out_MN.to(x_MK.dtype)


def pack_native(weight: Int8Weight) -> native.Weight:
    """The weight where it lies."""
    return native.Weight("linear_int8", (weight.codes_NK.contiguous(),), weight.scale_N.contiguous(), *weight.shape)


def _native_obstacle(weight: Int8Weight) -> str:
    return native.why_not()


WIDENED = LinearKernel("widened", pack_widened, multiply_widened, is_view=True)
INT8_KERNELS: tuple[LinearKernel[Int8Weight], ...] = (
    LinearKernel("native", pack_native, native.multiply, _native_obstacle, is_view=True),
    LinearKernel("int_mm", pack_int_mm, multiply_int_mm, is_view=True),
    LinearKernel("onednn", pack_onednn, multiply_onednn),
    LinearKernel("int8pack", pack_int8pack, multiply_int8pack, _int8pack_obstacle),
    WIDENED,
)
