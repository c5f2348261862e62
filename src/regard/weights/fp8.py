"""FP8 checkpoints: which layers are stored in FP8, and how a matrix is brought into that form.

`use_fp8_layers` swaps linear layers and experts for those of `model/linear.py`, except what the config lists
under `ignored_layers` (the official files: the whole vision tower, the routers, lm_head) or, in files written
by other tools, under `modules_to_not_convert`.
`quantise_blocks` is the writing side, used by tests and by tools that make such checkpoints.

Activations are quantised by the kernel at run time, if at all; nothing here is calibrated.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.kernels.fp8 import E4M3_MAX, Block, Fp8Kernel
from regard.model.config import QuantizationConfig
from regard.model.linear import Fp8Experts, Fp8Linear, num_blocks
from regard.model.moe import SparseMLP
from regard.model.qwen3_vl import Qwen3VL

_ALWAYS_PLAIN = ("lm_head",)


def use_fp8_layers(model: Qwen3VL, quantization: QuantizationConfig, kernel: Fp8Kernel) -> None:
    """Replace, in place and before weights are filled, the layers that the checkpoint stores in FP8."""
    block = quantization.weight_block_size
    plain = {*_ALWAYS_PLAIN, *quantization.ignored_layers}
    moe = model.config.text.moe
    for parent_name, parent in list(model.named_modules()):
        for child_name, child in list(parent.named_children()):
            if is_ignored(f"{parent_name}.{child_name}".lstrip("."), plain):
                continue
            if isinstance(child, nn.Linear):
                setattr(parent, child_name, Fp8Linear(child, block, kernel))
            elif isinstance(parent, SparseMLP) and child_name == "experts":
                assert moe is not None
                parent.experts = Fp8Experts(model.config.text.hidden_size, moe, block, kernel)


def is_ignored(name: str, entries: set[str]) -> bool:
    """Whether an entry names this module, one that holds it, or the end of its path.

    Example: `model.visual.merger.linear_fc1` is covered by `visual`, `model.visual.merger` and `linear_fc1`.
    """
    return any(f".{entry}." in f".{name}." for entry in entries)


def quantise_blocks(weight: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """FP8 codes and scales of the last two dimensions, one scale per block.

    Shapes:  weight (..., R, C); returns float8_e4m3fn (..., R, C) and float32 (..., ceil(R / b0), ceil(C / b1)).
    """
    num_rows, num_columns = weight.shape[-2:]
    grid = num_blocks(num_rows, block[0]), num_blocks(num_columns, block[1])
    padded = F.pad(weight.float(), (0, grid[1] * block[1] - num_columns, 0, grid[0] * block[0] - num_rows))
    blocks = padded.view(*weight.shape[:-2], grid[0], block[0], grid[1], block[1])
    scale_inv = blocks.abs().amax(dim=(-3, -1)).clamp(min=1e-12) / E4M3_MAX
    codes = (blocks / scale_inv[..., :, None, :, None]).view_as(padded)[..., :num_rows, :num_columns]
    return codes.to(torch.float8_e4m3fn).contiguous(), scale_inv
