"""Layers whose weights are packed for a product chosen on this machine: 8-bit, 4-bit and float, for CPUs.

The model files build plain layers; `weights/` swaps them for these. A layer is filled in the form of our own files,

    weight        (out, in) int8                       weight_scale                (out,) float32
    weight        (out, in' / 2) uint8, two codes      weight_scale, weight_zero   (out, groups) bfloat16
    gate_up_proj  (E, 2I, H), down_proj (E, H, I)      and the same suffixes; unlike the official files output first

then `prepare` lets `kernels/choice.py` choose, packs, and drops the stored form, so that a weight is not held twice.
From then on the layer computes and cannot be saved. A bias stays in the model's dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from regard.kernels import native
from regard.kernels.choice import LinearChoice, LinearProduct, Measurements, choose_linear
from regard.kernels.floats import FLOAT_KERNELS, WIDENED, FloatWeight, kind_of, multiply_onednn_gelu, pack_onednn
from regard.kernels.int4 import INT4_KERNELS, Int4Weight
from regard.kernels.int8 import INT8_KERNELS, Int8Weight
from regard.model.config import MoeConfig
from regard.model.moe import Experts
from regard.model.vision import VisionMLP


def int8_product(weight: Int8Weight, dtype: torch.dtype, measurements: Measurements) -> LinearProduct[Int8Weight]:
    """The fastest product with an 8-bit weight for x of this dtype."""
    return LinearProduct(weight, choose_linear(INT8_KERNELS, weight, dtype, "int8", measurements))


def int4_product(weight: Int4Weight, dtype: torch.dtype, measurements: Measurements) -> LinearProduct[Int4Weight]:
    """The fastest product with a 4-bit weight for x of this dtype."""
    kind = f"int4, groups of {weight.group},"
    return LinearProduct(weight, choose_linear(INT4_KERNELS, weight, dtype, kind, measurements))


def float_choices(
    weight: FloatWeight, measurements: Measurements, *, may_copy: bool = True
) -> tuple[LinearChoice[FloatWeight], ...]:
    """The fastest products with a float weight for x of its dtype; without copies of the weight, if they may not be."""
    kernels = [kernel for kernel in FLOAT_KERNELS if may_copy or kernel.is_view]
    kind = kind_of(weight) if may_copy else f"{kind_of(weight)}, in place,"
    return choose_linear(kernels, weight, weight.values_NK.dtype, kind, measurements)


class PackedLinear(nn.Module):
    """`nn.Linear` in bfloat16 or float32 with the fastest product for it."""

    def __init__(self, linear: nn.Linear, measurements: Measurements, *, may_copy: bool = True) -> None:
        super().__init__()
        weight = FloatWeight(linear.weight.detach())
        self.bias = linear.bias
        self.product = LinearProduct(weight, float_choices(weight, measurements, may_copy=may_copy))

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, self.bias)


def can_fuse_gelu(mlp: VisionMLP, measurements: Measurements) -> bool:
    """Whether oneDNN multiplies many rows in bfloat16 faster than float32 does on this machine."""
    weight = FloatWeight(mlp.linear_fc1.weight.detach())
    return weight.values_NK.dtype == torch.bfloat16 and float_choices(weight, measurements)[-1].kernel is not WIDENED


class PackedVisionMLP(nn.Module):
    """`VisionMLP` in bfloat16, with the GELU computed on what the first product has just written.

    As a step of its own the tanh takes longer than the product: 15 ms after 8 ms for 1,200 rows of the 2B tower.
    """

    def __init__(self, mlp: VisionMLP, measurements: Measurements) -> None:
        super().__init__()
        self.linear_fc1, self.bias = pack_onednn(FloatWeight(mlp.linear_fc1.weight.detach())), mlp.linear_fc1.bias
        self.linear_fc2 = PackedLinear(mlp.linear_fc2, measurements)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_fc2(multiply_onednn_gelu(x, self.linear_fc1, self.bias))


class NativeVisionMLP(nn.Module):
    """`VisionMLP` around layers that are packed already, with the GELU of native.c: a tenth of PyTorch's time."""

    def __init__(self, mlp: VisionMLP) -> None:
        super().__init__()
        self.linear_fc1, self.linear_fc2 = mlp.linear_fc1, mlp.linear_fc2

    def forward(self, x_PH: Tensor) -> Tensor:
        return self.linear_fc2(native.gelu_(self.linear_fc1(x_PH)))


class IntegerLinear(nn.Module, ABC):
    """What the 8-bit and the 4-bit layer share: a product that exists once `prepare` was called."""

    weight: nn.Parameter | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.num_outputs, self.num_inputs = linear.weight.shape
        self.bias = linear.bias
        self.product: LinearProduct[Any] | None = None

    def forward(self, x: Tensor) -> Tensor:
        assert self.product is not None, "prepare() comes before the first product"
        return self.product(x, self.bias)

    def prepare(self, dtype: torch.dtype, measurements: Measurements) -> None:
        """Pack the filled weight for x of this dtype and drop its stored form."""
        self.product = self._make_product(dtype, measurements)
        for name in ("weight", "weight_scale", "weight_zero"):
            if hasattr(self, name):
                setattr(self, name, None)

    @abstractmethod
    def _make_product(self, dtype: torch.dtype, measurements: Measurements) -> LinearProduct[Any]:
        """Pack what is stored of the weight."""


class Int8Linear(IntegerLinear):
    """`nn.Linear` with an 8-bit weight, one scale per output; rows of x are rounded to 8 bits on the fly."""

    weight_scale: nn.Parameter

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        self.weight = _empty(self.num_outputs, self.num_inputs, dtype=torch.int8)
        self.weight_scale = _empty(self.num_outputs, dtype=torch.float32)

    def _make_product(self, dtype: torch.dtype, measurements: Measurements) -> LinearProduct[Any]:
        assert self.weight is not None
        return int8_product(Int8Weight(self.weight.detach(), self.weight_scale.detach()), dtype, measurements)


class Int4Linear(IntegerLinear):
    """`nn.Linear` with a 4-bit weight, a scale and a zero per group of inputs."""

    weight_scale: nn.Parameter
    weight_zero: nn.Parameter

    def __init__(self, linear: nn.Linear, group: int) -> None:
        super().__init__(linear)
        num_groups = -(-self.num_inputs // group)
        self.weight = _empty(self.num_outputs, num_groups * group // 2, dtype=torch.uint8)
        self.weight_scale = _empty(self.num_outputs, num_groups, dtype=torch.bfloat16)
        self.weight_zero = _empty(self.num_outputs, num_groups, dtype=torch.bfloat16)

    def _make_product(self, dtype: torch.dtype, measurements: Measurements) -> LinearProduct[Any]:
        assert self.weight is not None
        scale, zero = self.weight_scale.detach(), self.weight_zero.detach()
        return int4_product(Int4Weight(self.weight.detach(), scale, zero, self.num_inputs), dtype, measurements)


class IntegerExperts(Experts, ABC):
    """`Experts` with 8-bit or 4-bit weights, output first; each expert has products of its own."""

    def __init__(self, hidden_size: int, config: MoeConfig) -> None:
        super().__init__(hidden_size, config)
        self.sizes = {
            name: (parameter.shape[0], parameter.shape[2], parameter.shape[1])
            for name, parameter in (("gate_up_proj", self.gate_up_proj), ("down_proj", self.down_proj))
        }
        self.products: dict[str, list[LinearProduct[Any]]] = {}

    def gate_up(self, x: Tensor, expert: int) -> Tensor:
        return self.products["gate_up_proj"][expert](x)

    def down(self, x: Tensor, expert: int) -> Tensor:
        return self.products["down_proj"][expert](x)

    def prepare(self, dtype: torch.dtype, measurements: Measurements) -> None:
        """Pack each expert's filled weights for x of this dtype and drop their stored form."""
        for name, (num_experts, _, _) in self.sizes.items():
            made = [self._make_product(name, expert, dtype, measurements) for expert in range(num_experts)]
            self.products[name] = made
            for stored in (name, f"{name}_scale", f"{name}_zero"):
                if hasattr(self, stored):
                    setattr(self, stored, None)

    @abstractmethod
    def _make_product(self, name: str, expert: int, dtype: torch.dtype, measurements: Measurements) -> Any:
        """Pack what is stored of one expert's weight."""


class Int8Experts(IntegerExperts):
    """Experts with one scale per output."""

    def __init__(self, hidden_size: int, config: MoeConfig) -> None:
        super().__init__(hidden_size, config)
        for name, shape in self.sizes.items():
            setattr(self, name, _empty(*shape, dtype=torch.int8))
            setattr(self, f"{name}_scale", _empty(*shape[:2], dtype=torch.float32))

    def _make_product(self, name: str, expert: int, dtype: torch.dtype, measurements: Measurements) -> Any:
        codes, scale = (getattr(self, stored)[expert].detach() for stored in (name, f"{name}_scale"))
        return int8_product(Int8Weight(codes, scale), dtype, measurements)


class Int4Experts(IntegerExperts):
    """Experts with a scale and a zero per group of inputs."""

    def __init__(self, hidden_size: int, config: MoeConfig, group: int) -> None:
        super().__init__(hidden_size, config)
        for name, (num_experts, num_outputs, num_inputs) in self.sizes.items():
            num_groups = -(-num_inputs // group)
            codes_shape = (num_experts, num_outputs, num_groups * group // 2)
            setattr(self, name, _empty(*codes_shape, dtype=torch.uint8))
            for suffix in ("_scale", "_zero"):
                setattr(self, name + suffix, _empty(num_experts, num_outputs, num_groups, dtype=torch.bfloat16))

    def _make_product(self, name: str, expert: int, dtype: torch.dtype, measurements: Measurements) -> Any:
        codes, scale, zero = (getattr(self, name + suffix)[expert].detach() for suffix in ("", "_scale", "_zero"))
        return int4_product(Int4Weight(codes, scale, zero, self.sizes[name][2]), dtype, measurements)


def _empty(*shape: int, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape, dtype=dtype), requires_grad=False)
