"""The vision tower: patches in, one row per visual token out, plus the DeepStack rows.

    pixel_values (P, C) -> patch_embed + resampled learned positions -> `depth` blocks
      -> merger: every 2x2 patches become one visual token of the decoder's width
      -> after the blocks listed in `deepstack_visual_indexes`, a merger of its own taps the features

Patches arrive in block order, so that four consecutive rows form one visual token; for a 4x4 grid:

    row          0 1 2 3 | 4 5 6 7 | 8 ...
    grid row     0 0 1 1 | 0 0 1 1 | 2 ...
    grid column  0 1 0 1 | 2 3 2 3 | 0 ...

A temporal group (one image, or two frames of a video) attends only to itself. Groups of equal size that
follow each other are attended as one batch; the N x N matrix is never built (PyTorch's fused attention).

Left out: windows, class tokens and a final norm, which this family does not have.
Shape letters: P patches of all items, C values of a patch, H hidden size, N heads, D head_dim,
G groups, L patches of a group, V visual tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.kernels import native
from regard.kernels.attention import attention
from regard.kernels.turn import turn
from regard.model.config import VISION_NORM_EPS, VisionConfig
from regard.model.rope import rotate, vision_cos_sin

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class VisionFeatures:
    """Rows for the decoder. Shapes: embeds (V, D_text); deepstack: one (V, D_text) per tapped block."""

    embeds: Tensor
    deepstack: tuple[Tensor, ...]


class PatchEmbed(nn.Module):
    """Both temporal slots of a patch through one convolution whose stride is its kernel."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        kernel = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_channels, config.hidden_size, kernel_size=kernel, stride=kernel)

    def forward(self, pixel_values_PC: Tensor) -> Tensor:
        # A convolution that covers its whole input once is a matrix product, which is faster on every device.
        weight = self.proj.weight
        return F.linear(pixel_values_PC.to(weight.dtype), weight.flatten(1), self.proj.bias)


class VisionAttention(nn.Module):
    """Full attention inside each temporal group."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.head_dim = config.head_dim
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_PH: Tensor, cos_PD: Tensor, sin_PD: Tensor, group_runs: Sequence[tuple[int, int]]) -> Tensor:
        q_PND, k_PND, v_PND = self.qkv(x_PH).view(-1, 3, self.num_heads, self.head_dim).unbind(1)
        q_PND, k_PND = (rotated(x_PND, cos_PD, sin_PD) for x_PND in (q_PND, k_PND))
        outputs, start = [], 0
        for length, count in group_runs:
            end = start + length * count
            q, k, v = (
                t[start:end].view(count, length, self.num_heads, self.head_dim).transpose(1, 2)
                for t in (q_PND, k_PND, v_PND)
            )
            out_GNLD = attention(q, k, v)
            outputs.append(out_GNLD.transpose(1, 2).reshape(end - start, -1))
            start = end
        return self.proj(torch.cat(outputs))


def rotated(x_PND: Tensor, cos_PD: Tensor, sin_PD: Tensor) -> Tensor:
    """Each head rotated, in float32 and cast back, as the reference does in the vision tower. Shape: (P, N, D)."""
    if native.can_turn(x_PND):
        return turn(x_PND, None, cos_PD, sin_PD)
    return rotate(x_PND.float(), cos_PD[:, None], sin_PD[:, None]).to(x_PND.dtype)


class VisionMLP(nn.Module):
    """Two linears with the tanh approximation of GELU."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.linear_fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_fc2(F.gelu(self.linear_fc1(x), approximate="tanh"))


class VisionBlock(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=VISION_NORM_EPS)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=VISION_NORM_EPS)
        self.attn = VisionAttention(config)
        self.mlp = VisionMLP(config)

    def forward(self, x_PH: Tensor, cos_PD: Tensor, sin_PD: Tensor, group_runs: Sequence[tuple[int, int]]) -> Tensor:
        x_PH = x_PH + self.attn(self.norm1(x_PH), cos_PD, sin_PD, group_runs)
        return x_PH + self.mlp(self.norm2(x_PH))


class PatchMerger(nn.Module):
    """Four neighbouring patches to one visual token; exact GELU.

    The main merger normalises each patch before grouping; the DeepStack mergers normalise the group of four.
    """

    def __init__(self, config: VisionConfig, *, norm_after_grouping: bool) -> None:
        super().__init__()
        self.grouped_size = config.hidden_size * config.spatial_merge_size**2
        self.norm_after_grouping = norm_after_grouping
        self.norm = nn.LayerNorm(self.grouped_size if norm_after_grouping else config.hidden_size, eps=VISION_NORM_EPS)
        self.linear_fc1 = nn.Linear(self.grouped_size, self.grouped_size)
        self.linear_fc2 = nn.Linear(self.grouped_size, config.out_hidden_size)

    def forward(self, x_PH: Tensor) -> Tensor:
        if self.norm_after_grouping:
            x = self.norm(x_PH.reshape(-1, self.grouped_size))
        else:
            x = self.norm(x_PH).reshape(-1, self.grouped_size)
        return self.linear_fc2(F.gelu(self.linear_fc1(x)))


class VisionModel(nn.Module):
    """The tower; parameter names equal the checkpoint's `model.visual.*`."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Embedding(config.num_position_embeddings, config.hidden_size)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.depth))
        self.merger = PatchMerger(config, norm_after_grouping=False)
        self.deepstack_merger_list = nn.ModuleList(
            PatchMerger(config, norm_after_grouping=True) for _ in config.deepstack_visual_indexes
        )

    def forward(self, pixel_values_PC: Tensor, grids: Sequence[Grid]) -> VisionFeatures:
        """Encode all items at once.

        Shapes:  pixel_values (P, C) float32, P = sum of t*h*w over `grids` (patch units).
        Errors:  ValueError if `grids` does not describe P patches.
        Source:  same result as transformers' Qwen3VLVisionModel (tests/parity).
        """
        if pixel_values_PC.shape[0] != sum(t * h * w for t, h, w in grids):
            raise ValueError(
                f"{pixel_values_PC.shape[0]} patches were given, but the grids {list(grids)} describe others"
            )
        rows_P, columns_P = patch_coordinates(grids, self.config.spatial_merge_size, pixel_values_PC.device)
        x_PH = self.patch_embed(pixel_values_PC)
        x_PH = x_PH + self.resampled_positions(grids).to(x_PH.dtype)
        cos_PD, sin_PD = vision_cos_sin(rows_P, columns_P, self.config.head_dim)
        group_runs = equal_runs([h * w for t, h, w in grids for _ in range(t)])

        deepstack = []
        for index, block in enumerate(self.blocks):
            x_PH = block(x_PH, cos_PD, sin_PD, group_runs)
            if index in self.config.deepstack_visual_indexes:
                k = self.config.deepstack_visual_indexes.index(index)
                deepstack.append(self.deepstack_merger_list[k](x_PH))
        return VisionFeatures(embeds=self.merger(x_PH), deepstack=tuple(deepstack))

    def resampled_positions(self, grids: Sequence[Grid]) -> Tensor:
        """Learned 48x48 positions, bilinear with aligned corners: the grid's corners hit the table's corners.

        Shapes:  returns (P, H), float32 (the reference multiplies in float32 and casts once).
        """
        side = round(self.config.num_position_embeddings**0.5)
        table_SSH = self.pos_embed.weight.float().view(side, side, -1)
        planes: dict[Grid, Tensor] = {}  # equal grids share one resampling
        for t, h, w in set(grids):
            y = torch.linspace(0, side - 1, h, device=table_SSH.device)[:, None, None]
            x = torch.linspace(0, side - 1, w, device=table_SSH.device)[None, :, None]
            y0, x0 = y.floor().long(), x.floor().long()
            y1, x1 = (y0 + 1).clamp(max=side - 1), (x0 + 1).clamp(max=side - 1)
            dy, dx = y - y0, x - x0
            y0, y1, x0, x1 = y0[..., 0], y1[..., 0], x0[..., 0], x1[..., 0]
            top = table_SSH[y0, x0] * (1 - dx) + table_SSH[y0, x1] * dx
            bottom = table_SSH[y1, x0] * (1 - dx) + table_SSH[y1, x1] * dx
            plane_hwH = top * (1 - dy) + bottom * dy
            planes[t, h, w] = in_block_order(plane_hwH, self.config.spatial_merge_size).repeat(t, 1)
        return torch.cat([planes[grid] for grid in grids])


def in_block_order(plane: Tensor, merge: int) -> Tensor:
    """Flatten a grid block by block. Shapes: (h, w, ...) to (h * w, ...)."""
    h, w, *rest = plane.shape
    return plane.view(h // merge, merge, w // merge, merge, *rest).transpose(1, 2).reshape(h * w, *rest)


def patch_coordinates(grids: Sequence[Grid], merge: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column of every patch in the order of the module docstring. Shapes: two (P,) int64."""
    places: dict[Grid, tuple[Tensor, Tensor]] = {}
    for t, h, w in set(grids):
        row_hw = torch.arange(h, device=device)[:, None].repeat(1, w)
        column_hw = torch.arange(w, device=device)[None, :].repeat(h, 1)
        places[t, h, w] = in_block_order(row_hw, merge).repeat(t), in_block_order(column_hw, merge).repeat(t)
    return torch.cat([places[grid][0] for grid in grids]), torch.cat([places[grid][1] for grid in grids])


def equal_runs(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of equal neighbours as (value, count): [4, 4, 9] gives [(4, 2), (9, 1)]."""
    return [(length, sum(1 for _ in run)) for length, run in groupby(lengths)]
