"""Write a model as an official folder: safetensors shards, an index when there is more than one, config.json.

Names and orientations in memory are the files' own, so nothing is renamed. Each file is written beside its
place and moved there when complete: a run that stops half way leaves the old weights usable, and a model that
is still mapped from the old file (`checkpoint.py`) keeps its pages. Weight files of an earlier, differently
sharded save are removed at the end.

The tokenizer and the preprocessor files are not the model's; whoever makes a whole folder copies them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from regard.errors import ConfigError
from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.weights.stored import INDEX_FILE, SINGLE_FILE

MAX_SHARD_BYTES = 5_000_000_000


def save_checkpoint(
    model: Qwen3VL, folder: Path, hf_config: Mapping[str, Any], max_shard_bytes: int = MAX_SHARD_BYTES
) -> None:
    """Write the weights and config.json; `hf_config` is written as it is and must describe the model.

    Errors:  ConfigError if `hf_config` describes another architecture.
    Cost:    memory for nothing beyond one shard's views.
    """
    described = ModelConfig.from_hf(hf_config)
    if replace(described, dtype=model.config.dtype) != model.config:
        raise ConfigError("the config.json to be written describes another architecture than the model; pass its own")
    folder.mkdir(parents=True, exist_ok=True)
    shards = split_into_shards(dict(model.named_parameters()), max_shard_bytes)
    files = [SINGLE_FILE]
    if len(shards) > 1:
        files = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    for file, tensors in zip(files, shards, strict=True):
        partial = folder / f"{file}.partial"
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, partial, metadata={"format": "pt"})
        os.replace(partial, folder / file)
    if len(shards) > 1:
        sizes = [tensor.nbytes for tensors in shards for tensor in tensors.values()]
        weight_map = {name: file for file, tensors in zip(files, shards, strict=True) for name in tensors}
        _write_json(folder / INDEX_FILE, {"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map})
    else:
        (folder / INDEX_FILE).unlink(missing_ok=True)
    _write_json(folder / "config.json", hf_config)
    for file in files:  # safetensors lets only the owner read what it writes; weights are as public as their config
        shutil.copymode(folder / "config.json", folder / file)
    for old in folder.glob("model*.safetensors"):
        if old.name not in files:
            old.unlink()


def split_into_shards(tensors: Mapping[str, Tensor], max_shard_bytes: int) -> list[dict[str, Tensor]]:
    """Consecutive tensors, as many as fit under the limit; a larger tensor has a shard of its own."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > max_shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, file)
