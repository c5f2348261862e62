"""Layers whose weights stay in block-scaled FP8: drop-in replacements for `nn.Linear` and the experts.

The model files build plain layers. For an FP8 checkpoint, `weights/` swaps the layers that the config names
for these before it fills them; parameter names and orientations equal the official files':

    weight             (out, in) float8_e4m3fn      weight_scale_inv             float32, one per block
    gate_up_proj       (E, in, out)                 gate_up_proj_scale_inv       (E, blocks, blocks)

How the product is computed is a kernel given from outside (`kernels/fp8.py`). Training FP8 weights is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.kernels.fp8 import SCALED_BLOCK, Block, Fp8Kernel, dequantised_linear, scaled_linear
from regard.model.config import MoeConfig
from regard.model.moe import Experts


def num_blocks(size: int, block: int) -> int:
    """Blocks that cover `size` values: the last one may be partly filled."""
    return -(-size // block)


def kernel_for(kernel: Fp8Kernel, num_inputs: int, num_outputs: int) -> Fp8Kernel:
    """The chosen kernel, or the one that takes every shape where the sizes are not whole blocks."""
    is_whole = num_inputs % SCALED_BLOCK[1] == 0 and num_outputs % SCALED_BLOCK[0] == 0
    return kernel if is_whole else dequantised_linear


class Fp8Linear(nn.Module):
    """`nn.Linear` with an FP8 weight; a bias stays in the model's dtype."""

    def __init__(self, linear: nn.Linear, block: Block, kernel: Fp8Kernel) -> None:
        super().__init__()
        num_outputs, num_inputs = linear.weight.shape
        grid = (num_blocks(num_outputs, block[0]), num_blocks(num_inputs, block[1]))
        self.weight = _empty(num_outputs, num_inputs, dtype=torch.float8_e4m3fn)
        self.weight_scale_inv = _empty(*grid, dtype=torch.float32)
        self.bias = linear.bias
        self.block = block
        self.kernel = kernel_for(kernel, num_inputs, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.kernel(x, self.weight, self.weight_scale_inv, self.block)
        return y if self.bias is None else y + self.bias


class Fp8Experts(Experts):
    """`Experts` with FP8 weights. Blocks lie in the stored orientation, input first."""

    gate_up_proj_scale_inv: nn.Parameter
    down_proj_scale_inv: nn.Parameter

    def __init__(self, hidden_size: int, config: MoeConfig, block: Block, kernel: Fp8Kernel) -> None:
        super().__init__(hidden_size, config)
        for name in ("gate_up_proj", "down_proj"):
            num_experts, num_inputs, num_outputs = getattr(self, name).shape
            grid = (num_experts, num_blocks(num_inputs, block[0]), num_blocks(num_outputs, block[1]))
            setattr(self, name, _empty(num_experts, num_inputs, num_outputs, dtype=torch.float8_e4m3fn))
            setattr(self, name + "_scale_inv", _empty(*grid, dtype=torch.float32))
        self.block = block
        self.kernel = kernel_for(kernel, hidden_size, config.moe_intermediate_size)

    def gate_up(self, x: Tensor, expert: int) -> Tensor:
        return self._product(x, self.gate_up_proj[expert], self.gate_up_proj_scale_inv[expert])

    def down(self, x: Tensor, expert: int) -> Tensor:
        return self._product(x, self.down_proj[expert], self.down_proj_scale_inv[expert])

    def _product(self, x: Tensor, weight_KN: Tensor, scale_inv: Tensor) -> Tensor:
        # The kernels take weights output first; the views cost nothing.
        return self.kernel(x, weight_KN.t(), scale_inv.t(), (self.block[1], self.block[0]))

    def arrange(self) -> None:
        """Lay the filled weights out in memory as the kernel reads them; names, shapes and values stay the same."""
        if self.kernel is scaled_linear:
            for name in ("gate_up_proj", "down_proj"):
                weight = getattr(self, name)
                weight.data = weight.data.transpose(1, 2).contiguous().transpose(1, 2)


def _empty(*shape: int, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape, dtype=dtype), requires_grad=False)
