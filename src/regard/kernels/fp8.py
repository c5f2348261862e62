"""Matrix products with block-scaled FP8 weights: two ways, chosen once per device with a reason.

A weight is stored as float8_e4m3fn with one float32 scale per block (128x128 in every official file):

    weight[r, c] = stored[r, c] * scale_inv[r // block_rows, c // block_columns]      (a factor, despite "inv")

`dequantised_linear` widens one layer's weight to the dtype of x, multiplies, and drops it: exact with respect
to the stored values, on every device. `scaled_linear` keeps the product in FP8: each row of x is quantised
on the fly in runs of 128 values and PyTorch's `scaled_mm` multiplies the codes; only NVIDIA's Hopper has it.
Both take the weight as (N out, K in); a weight stored input first is passed as its transposed view.

Left out: other FP8 formats, per-tensor or per-row scales, and grouped products for experts.
Shape letters: M rows of x, K inputs, N outputs, R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Block = tuple[int, int]
Fp8Kernel = Callable[[Tensor, Tensor, Tensor, Block], Tensor]

E4M3_MAX = 448.0
SCALED_BLOCK: Block = (128, 128)
_ROW_MULTIPLE = 16


def dequantise(weight_RC: Tensor, scale_inv: Tensor, block: Block, dtype: torch.dtype) -> Tensor:
    """Widen an FP8 matrix.

    Shapes:  weight (R, C) float8_e4m3fn; scale_inv (ceil(R / block[0]), ceil(C / block[1])) float32;
             returns (R, C) in `dtype`, each product rounded once from float32.
    """
    if weight_RC.stride(0) == 1 and weight_RC.stride(1) != 1:
        return dequantise(weight_RC.t(), scale_inv.t(), (block[1], block[0]), dtype).t()
    num_rows, num_columns = weight_RC.shape
    scale_rows = scale_inv.repeat_interleave(block[1], dim=1)[:, :num_columns]
    if weight_RC.device.type != "cpu":
        scale_RC = scale_rows.repeat_interleave(block[0], dim=0)[:num_rows]
        return (weight_RC.float() * scale_RC).to(dtype)
    out_RC = torch.empty(num_rows, num_columns, dtype=dtype)
    # One row of blocks at a time stays in the CPU's cache.
    for start, scale_C in zip(range(0, num_rows, block[0]), scale_rows * 256.0, strict=True):
        rows = slice(start, start + block[0])
        out_RC[rows] = _as_half(weight_RC[rows]).float() * scale_C
    return out_RC


def _as_half(codes: Tensor) -> Tensor:
    """The values of e4m3 codes divided by 256, as float16.

    Moving sign, exponent and mantissa to their places in float16 is exact for every finite code: the exponent
    biases, 7 and 15, differ by 8. PyTorch's own conversion on the CPU is a scalar loop, about five times slower.
    """
    return ((codes.view(torch.int8).to(torch.int16) << 7) & ~0x4000).view(torch.float16)


def dequantised_linear(x: Tensor, weight_NK: Tensor, scale_inv: Tensor, block: Block) -> Tensor:
    """x @ weight.T with the weight widened to the dtype of x. Shapes: x (..., K); returns (..., N)."""
    return F.linear(x, dequantise(weight_NK, scale_inv, block, x.dtype))


def scaled_linear(x: Tensor, weight_NK: Tensor, scale_inv: Tensor, block: Block) -> Tensor:
    """x @ weight.T in FP8, accumulated in float32.

    Shapes:  x (..., K) bfloat16; weight (N, K) contiguous, N and K multiples of 128; returns (..., N) bfloat16.
    Source:  the layouts of the scales are those of cuBLASLt's 1x128 and 128x128 modes.
    """
    assert block == SCALED_BLOCK, block
    x_MK = x.reshape(-1, x.shape[-1])
    num_rows = x_MK.shape[0]
    x_MK = F.pad(x_MK, (0, 0, 0, -num_rows % _ROW_MULTIPLE))
    codes_MK, scale_a = _quantise_rows(x_MK)
    scale_b = F.pad(scale_inv, (0, -scale_inv.shape[1] % 4)).t()
    blockwise = F.ScalingType.BlockWise1x128, F.ScalingType.BlockWise128x128
    out_MN = F.scaled_mm(
        codes_MK, weight_NK.t(), scale_a, blockwise[0], scale_b, blockwise[1], output_dtype=torch.bfloat16
    )
    return out_MN[:num_rows].view(*x.shape[:-1], -1)


def _quantise_rows(x_MK: Tensor) -> tuple[Tensor, Tensor]:
    """FP8 codes and the scale of every run of 128 values, stored run by run as cuBLASLt wants it: (M, K / 128)."""
    runs = x_MK.float().view(x_MK.shape[0], -1, 128)
    scale = runs.abs().amax(dim=2).clamp(min=1e-12) / E4M3_MAX
    codes_MK = (runs / scale[..., None]).flatten(1).to(torch.float8_e4m3fn)
    return codes_MK, scale.t().contiguous().t()


def choose_fp8_kernel(device: torch.device, block: Block, dtype: torch.dtype) -> tuple[Fp8Kernel, str]:
    """How FP8 layers are computed on this device, and why. Asked once, when a model is loaded."""
    obstacle = _why_not_scaled(device, block, dtype)
    if obstacle:
        return dequantised_linear, f"FP8 weights are widened layer by layer: {obstacle}"
    return scaled_linear, "FP8 weights are multiplied as they are: compute capability 9.x has a block-scaled product"


def _why_not_scaled(device: torch.device, block: Block, dtype: torch.dtype) -> str:
    """What stands in the way of `scaled_linear`; empty if nothing does."""
    if device.type != "cuda" or torch.version.hip is not None:
        return f"PyTorch has no block-scaled FP8 product for device type {device.type!r}"
    major, minor = torch.cuda.get_device_capability(device)
    if major != 9:
        return f"the block-scaled FP8 product is for compute capability 9.x, this GPU has {major}.{minor}"
    if not hasattr(F, "scaled_mm"):
        return f"torch {torch.__version__} has no scaled_mm with block scales"
    cuda = tuple(int(part) for part in (torch.version.cuda or "0").split(".")[:2])
    if cuda < (12, 9):
        return f"the block-scaled FP8 product needs CUDA 12.9, this is {torch.version.cuda}"
    if block != SCALED_BLOCK or dtype != torch.bfloat16:
        return f"the block-scaled FP8 product needs 128x128 blocks and bfloat16, not {block} and {dtype}"
    return ""
