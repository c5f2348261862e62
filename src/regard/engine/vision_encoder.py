"""The vision tower in slices, so that one huge picture neither stalls the others nor needs much memory.

`VisionEncoder.encode` gives the same features as `VisionModel.forward`, but as a generator that stops after every
slice of work. A slice is at most `rows_per_slice` patches through one linear part, or their attention to the whole
picture. The decoder's steps of other requests run in between. Small pictures come several at a time and take one
slice for all layers.

Memory: activations of P patches are held once as the residual stream and once as queries, keys and values;
everything wider (the MLP) exists for one slice only. `peak_bytes` says how much that is.
Shape letters: P patches, H hidden size, N heads, D head_dim, G pictures of equal size, L patches of each.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from regard.engine.request import VisualUnit
from regard.kernels.attention import attention
from regard.model.config import VisionConfig
from regard.model.rope import rotate, vision_cos_sin
from regard.model.vision import VisionBlock, VisionFeatures, VisionModel, patch_coordinates

ROWS_PER_SLICE = 4096

Slices = Generator[None, None, list[VisionFeatures]]


class VisionEncoder:
    """Runs a tower over units."""

    def __init__(self, tower: VisionModel, *, rows_per_slice: int = ROWS_PER_SLICE) -> None:
        self._tower, self._rows_per_slice = tower, rows_per_slice

    def encode(self, units: Sequence[VisualUnit]) -> Slices:
        """Yields after every slice; returns one `VisionFeatures` for each unit."""
        device = self._tower.pos_embed.weight.device
        grids = [(1, *unit.grid_hw) for unit in units]
        pixel_values_PC = torch.cat([torch.from_numpy(unit.pixel_values) for unit in units])
        if len(pixel_values_PC) <= self._rows_per_slice:
            features = self._tower(pixel_values_PC.to(device), grids)
        else:
            features = yield from self._encode_large(pixel_values_PC, grids)
        counts = [unit.num_tokens for unit in units]
        embeds = features.embeds.split(counts)
        deepstack = [rows.split(counts) for rows in features.deepstack]
        # Copies: a slice would keep the rows of all units alive.
        return [
            VisionFeatures(embeds[i].clone(), tuple(rows[i].clone() for rows in deepstack)) for i in range(len(units))
        ]

    def _encode_large(
        self, pixel_values_PC: Tensor, grids: Sequence[tuple[int, int, int]]
    ) -> Generator[None, None, VisionFeatures]:
        """`VisionModel.forward`, slice by slice; units one after the other inside each block."""
        tower, config = self._tower, self._tower.config
        device = tower.pos_embed.weight.device
        x_PH = torch.cat([tower.patch_embed(part.to(device)) for part in pixel_values_PC.split(self._rows_per_slice)])
        x_PH += tower.resampled_positions(grids).to(x_PH.dtype)
        yield
        rows_P, columns_P = patch_coordinates(grids, config.spatial_merge_size, device)
        cos_PD, sin_PD = vision_cos_sin(rows_P, columns_P, config.head_dim)
        ends = torch.tensor([0, *(h * w for _, h, w in grids)]).cumsum(0).tolist()
        deepstack = []
        for index, block in enumerate(tower.blocks):
            assert isinstance(block, VisionBlock)
            yield from self._block(block, x_PH, cos_PD, sin_PD, ends)
            if index in config.deepstack_visual_indexes:
                merger = tower.deepstack_merger_list[config.deepstack_visual_indexes.index(index)]
                deepstack.append(torch.cat([merger(part) for part in x_PH.split(self._rows_per_slice)]))
                yield
        embeds = torch.cat([tower.merger(part) for part in x_PH.split(self._rows_per_slice)])
        return VisionFeatures(embeds, tuple(deepstack))

    def _block(
        self, block: VisionBlock, x_PH: Tensor, cos_PD: Tensor, sin_PD: Tensor, ends: Sequence[int]
    ) -> Generator[None, None, None]:
        """One block, changing the residual stream in place."""
        attn, step = block.attn, self._rows_per_slice
        heads = (-1, attn.num_heads, attn.head_dim)
        for start, end in pairwise(ends):
            q, k, v = [], [], []
            for rows in _slices(start, end, step):
                q_PND, k_PND, v_PND = attn.qkv(block.norm1(x_PH[rows])).view(-1, 3, *heads[1:]).unbind(1)
                cos, sin = cos_PD[rows, None], sin_PD[rows, None]
                q.append(rotate(q_PND.float(), cos, sin).to(v_PND.dtype))
                k.append(rotate(k_PND.float(), cos, sin).to(v_PND.dtype))
                v.append(v_PND)
                yield
            k_1NPD, v_1NPD = (torch.cat(parts).transpose(0, 1)[None].contiguous() for parts in (k, v))
            for rows, q_PND in zip(_slices(start, end, step), q, strict=True):
                out_1NPD = attention(q_PND.transpose(0, 1)[None], k_1NPD, v_1NPD)
                x_PH[rows] += attn.proj(out_1NPD[0].transpose(0, 1).flatten(1))
                yield
        for rows in _slices(0, ends[-1], step):
            x_PH[rows] += block.mlp(block.norm2(x_PH[rows]))
            yield


def _slices(start: int, end: int, step: int) -> list[slice]:
    return [slice(first, min(first + step, end)) for first in range(start, end, step)]


def peak_bytes(config: VisionConfig, num_patches: int, dtype: torch.dtype, rows_per_slice: int = ROWS_PER_SLICE) -> int:
    """Upper estimate of what encoding a picture of so many patches needs beside weights and pixels.

    Counted: positions in float32, residual stream, queries, keys and values, once more the keys and values while
    they are joined, cos and sin; the MLP's and a merger's inner values of one slice; the features.
    """
    hidden, size = config.hidden_size, dtype.itemsize
    slice_rows = min(num_patches, rows_per_slice)
    held = num_patches * (hidden * (4 + 6 * size) + 2 * 4 * config.head_dim)
    merged = num_patches // config.spatial_merge_size**2
    features = merged * config.out_hidden_size * size * (1 + len(config.deepstack_visual_indexes))
    inner = slice_rows * size * (2 * config.intermediate_size + 8 * hidden) + slice_rows * hidden * 8
    return held + features + inner
