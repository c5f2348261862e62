"""Products with weights that are stored in fewer bits: widened a few rows at a time, never as a whole.

A tile of `TILE_VALUES` values stays in the CPU's cache, so the widened weight is neither written to memory nor read
from it; writing one as a whole costs more than the product itself for few rows of x.
Shape letters: M rows of x, K inputs, N outputs, T outputs of a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

TILE_VALUES = 524_288

WidenRows = Callable[[slice, Tensor], None]  # (outputs, tile (T, K) to be filled)


def tiles(num_outputs: int, num_inputs: int, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Pieces of the outputs, each with room (T, K) for its widened weight; the room is the same memory every time.

    The room has the dtype and device of `like`.
    """
    tile_rows = max(16, TILE_VALUES // num_inputs)
    tile_TK = like.new_empty(min(tile_rows, num_outputs), num_inputs)
    for start in range(0, num_outputs, tile_rows):
        outputs = slice(start, min(start + tile_rows, num_outputs))
        yield outputs, tile_TK[: outputs.stop - start]


def tiled_linear(x_MK: Tensor, num_outputs: int, widen_rows: WidenRows, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias, computed in the dtype of x. Returns (M, N)."""
    out_MN = x_MK.new_empty(len(x_MK), num_outputs)
    for outputs, tile_TK in tiles(num_outputs, x_MK.shape[1], x_MK):
        widen_rows(outputs, tile_TK)
        torch.mm(x_MK, tile_TK.t(), out=out_MN[:, outputs])
    return out_MN if bias is None else out_MN.add_(bias)
