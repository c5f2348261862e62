"""Matrix products with float weights on a CPU, bfloat16 or float32: four ways to the same numbers, up to the order of
sums.

    plain     PyTorch's own linear; the weight stays where it is, in the mapped file
    native    for a few rows: native.c reads the weight once, with all threads
    onednn    oneDNN's product with a weight laid out for it, which is a copy of the weight
    widened   float32 arithmetic on tiles of the weight widened on the fly: for CPUs that only imitate bfloat16

All accumulate in float32 and round the result to the dtype of x. `native` and `widened` also take a float32 x with
bfloat16 weights and are then the exact mode: what float32 weights would give, in half the memory.
Shape letters: M rows of x, K inputs, N outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.kernels import native
from regard.kernels.choice import LinearKernel
from regard.kernels.tiles import tiled_linear


@dataclass(frozen=True)
class FloatWeight:
    """values (N, K) bfloat16 or float32."""

    values_NK: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        num_outputs, num_inputs = self.values_NK.shape
        return num_outputs, num_inputs

    def first_rows(self, num_outputs: int) -> FloatWeight:
        """The part that computes the first outputs."""
        return FloatWeight(self.values_NK[:num_outputs])

    def widened(self) -> Tensor:
        """The values, (N, K) float32."""
        return self.values_NK.float()


def pack_onednn(weight: FloatWeight) -> Any:
    """The weight in oneDNN's own layout."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.values_NK.contiguous(), None)


def multiply_onednn(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """One operator, bias included."""
    out_MN: Tensor = torch.ops.mkldnn._linear_pointwise(x_MK, packed, bias, "none", [], "")
    return out_MN


def multiply_onednn_gelu(x: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """The tanh form of GELU of the product, which is rounded once, after it. Shapes: (..., K) to (..., N)."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "gelu", [], "tanh")
    return out


def pack_plain(weight: FloatWeight) -> Any:
    """Nothing but a reference."""
    return weight.values_NK


def multiply_plain(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """PyTorch's own linear."""
    return F.linear(x_MK, packed, bias)


def multiply_widened(x_MK: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """Float32 products, rounded once to the dtype of x."""
    values_NK: Tensor = packed

    def widen_rows(outputs: slice, tile_TK: Tensor) -> None:
        tile_TK.copy_(values_NK[outputs])

    return tiled_linear(x_MK.float(), len(values_NK), widen_rows, bias).to(x_MK.dtype)


def pack_native(weight: FloatWeight) -> native.Weight:
    """The weight where it lies."""
    values_NK = weight.values_NK.contiguous()
    name = "f32" if values_NK.dtype == torch.float32 else "bf16"
    return native.Weight(f"linear_{name}", (values_NK,), None, *weight.shape)


def _native_obstacle(weight: FloatWeight) -> str:
    return native.why_not()


WIDENED = LinearKernel("widened", pack_plain, multiply_widened, is_view=True)
FLOAT_KERNELS: tuple[LinearKernel[FloatWeight], ...] = (
    LinearKernel("native", pack_native, native.multiply, _native_obstacle, is_view=True),
    LinearKernel("plain", pack_plain, multiply_plain, is_view=True),
    LinearKernel("onednn", pack_onednn, multiply_onednn),
    WIDENED,
)


def kind_of(weight: FloatWeight) -> str:
    """What its measurements are called."""
    return "f32" if weight.values_NK.dtype == torch.float32 else "bf16"
