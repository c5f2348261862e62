"""LoRA: a frozen linear layer and a small product beside it, y = W x + (alpha / rank) B A x.

B starts as nought, so that training starts with the checkpoint as it is. `merge` writes the sum into W: what is
exported is an ordinary checkpoint, which every program loads. The adapters alone are written in PEFT's files and names,
for programs that keep one base and many adapters.

It is ours because the `peft` package needs transformers and accelerate, which nothing else here does. Left out:
dropout, rank-stabilised scales, adapters of experts (their fused weights are no linear layers) and of convolutions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from regard.errors import ConfigError

_PEFT_PREFIX = "base_model.model."


class LoraLinear(nn.Module):
    """A linear layer that learns by its adapter only. `lora_A` (rank, in), `lora_B` (out, rank), float32."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base
        device = base.weight.device
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank, device=device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        low = torch.nn.functional.linear(x, self.lora_A.to(x.dtype))
        added: Tensor = torch.nn.functional.linear(low, self.lora_B.to(x.dtype)) * self.scale
        return self.base(x) + added.to(x.dtype)


def add_adapters(model: nn.Module, is_wanted: Callable[[str], bool], *, rank: int, alpha: float) -> list[str]:
    """Put adapters beside the linear layers whose names are wanted; returns these names."""
    if rank < 1:
        raise ConfigError(f"the rank of the adapters is {rank}; it must be 1 or more")
    found = [(name, module) for name, module in model.named_modules() if type(module) is nn.Linear and is_wanted(name)]
    for name, linear in found:
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, LoraLinear(linear, rank, alpha))
    return [name for name, _ in found]


@torch.no_grad()
def merge(model: nn.Module, adapters: Mapping[str, tuple[Tensor, Tensor]], scale: float) -> None:
    """Add each adapter's product to its layer's weight, in float32, rounded once to the weight's dtype."""
    for name, (a, b) in adapters.items():
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        merged = linear.weight.float() + scale * (b.float() @ a.float()).to(linear.weight.device)
        linear.weight = nn.Parameter(merged.to(linear.weight.dtype), requires_grad=False)


def save_adapters(
    adapters: Mapping[str, tuple[Tensor, Tensor]], folder: Path, *, base: str, rank: int, alpha: float
) -> None:
    """adapter_model.safetensors and adapter_config.json as PEFT writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, (a, b) in adapters.items():
        tensors[f"{_PEFT_PREFIX}{name}.lora_A.weight"] = a.contiguous()
        tensors[f"{_PEFT_PREFIX}{name}.lora_B.weight"] = b.contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(adapters),
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "fan_in_fan_out": False,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
