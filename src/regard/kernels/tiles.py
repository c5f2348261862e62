"""Products with weights that are stored in fewer bits: widened a few rows at a time, never as a whole.

A tile of `TILE_VALUES` values stays in the CPU's cache, so the widened weight is neither written to memory nor read
from it; writing one as a whole costs more than the product itself for few rows of x.
Shape letters: M rows of x, K inputs, N outputs, T outputs of a tile.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TILE_VALUES = 524_288

WidenRows = Callable[[slice, Tensor], None]  # (outputs, tile (T, K) to be filled)


def tiled_linear(x_MK: Tensor, num_outputs: int, widen_rows: WidenRows, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias, computed in the dtype of x. Returns (M, N)."""
    num_inputs = x_MK.shape[1]
    tile_rows = max(16, TILE_VALUES // num_inputs)
    tile_TK = x_MK.new_empty(min(tile_rows, num_outputs), num_inputs)
    out_MN = x_MK.new_empty(len(x_MK), num_outputs)
    for start in range(0, num_outputs, tile_rows):
        outputs = slice(start, min(start + tile_rows, num_outputs))
        tile = tile_TK[: outputs.stop - start]
        widen_rows(outputs, tile)
        torch.mm(x_MK, tile.t(), out=out_MN[:, outputs])
    return out_MN if bias is None else out_MN.add_(bias)
