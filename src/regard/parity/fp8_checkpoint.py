"""FP8 folders for the comparison, and the folder that the reference is given in their place.

transformers 5.23 drops the scales of FP8 experts without an error, so for FP8 checkpoints the reference gets a
float32 copy in which every stored code is multiplied by its block's scale. The multiplication is written here
once more, in the plainest way, and shares nothing with `kernels/fp8.py` that it is there to check.

    weight[r, c] = code[r, c] * scale_inv[r // block_rows, c // block_columns]

A copy is written as one file and needs memory for the whole model in float32.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from regard.weights.fp8 import quantise_blocks

_SCALE = "_scale_inv"
_PROJECTIONS = tuple(f"{name}_proj.weight" for name in ("q", "k", "v", "o", "gate", "up", "down"))
_EXPERTS = ("experts.gate_up_proj", "experts.down_proj")


def write_quantised(folder: Path, out: Path, block: tuple[int, int]) -> Path:
    """Copy a float folder as FP8 in the official layout: the decoder's projections and experts, nothing else."""
    tensors, config = _read(folder)
    for name in list(tensors):
        if ".visual." not in name and name.endswith(_PROJECTIONS + _EXPERTS):
            tensors[name], tensors[name + _SCALE] = quantise_blocks(tensors[name], block)
    num_layers = config["text_config"]["num_hidden_layers"]
    routers = [f"model.language_model.layers.{layer}.mlp.gate" for layer in range(num_layers)]
    config["quantization_config"] = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": list(block),
        "ignored_layers": ["lm_head", "model.visual", *routers],
    }
    return _write(folder, out, tensors, config)


def write_dequantised(folder: Path, out: Path) -> Path:
    """Copy an FP8 folder as float32."""
    tensors, config = _read(folder)
    rows, columns = config.pop("quantization_config")["weight_block_size"]
    for name in [name for name in tensors if name + _SCALE in tensors]:
        scale = tensors.pop(name + _SCALE).repeat_interleave(rows, -2).repeat_interleave(columns, -1)
        num_rows, num_columns = tensors[name].shape[-2:]
        tensors[name] = tensors[name].float() * scale[..., :num_rows, :num_columns]
    return _write(folder, out, tensors, config)


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors, json.loads((folder / "config.json").read_text(encoding="utf-8"))


def _write(folder: Path, out: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> Path:
    out.mkdir(parents=True)
    for file in folder.iterdir():
        if file.suffix in (".json", ".jinja", ".txt") and not file.name.endswith(".index.json"):
            shutil.copy(file, out)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, out / "model.safetensors", metadata={"format": "pt"})
    return out
