"""Checkpoints of the true public shapes with random weights: as large and as fast as the real ones.

`true_shape("2b")` is a folder in the user's cache, written when it is first asked for: 4.3 GB of bfloat16. The
tokenizer spells byte by byte (`parity/random_checkpoint.py`), so that a prompt of words has more tokens than with the
real one, the same for every system. Only dense sizes: the largest of the others do not fit into a usual memory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from regard.errors import ConfigError
from regard.weights.hub import NANO_FOLDER

SHAPES = ("2b", "4b", "8b")
SHARD_BYTES = 1_500_000_000
# As in the official files, in pixels of a picture and of a whole clip.
PICTURE_PIXELS, CLIP_PIXELS = (256 * 256, 4096 * 4096), (4096, 25165824)
_NOISE = 0.02


def cache_folder() -> Path:
    """Where checkpoints and converted files of the benchmark are kept; XDG_CACHE_HOME is honoured."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "regard" / "bench"


def true_shape(size: str) -> Path:
    """The folder of a shape, written in a process of its own if it is not there. Errors: ConfigError."""
    if size not in SHAPES:
        raise ConfigError(f"the shape is {size!r}; the choices are {', '.join(SHAPES)}")
    folder = cache_folder() / f"shape-{size}"
    if not folder.is_dir():
        from regard.bench.own_process import in_own_process

        in_own_process(write_true_shape, size, folder)
    return folder


def write_true_shape(size: str, folder: Path) -> None:
    """Write the checkpoint beside its place and move it there when it is complete."""
    import torch

    from regard.model.config import ModelConfig
    from regard.model.qwen3_vl import Qwen3VL
    from regard.parity.random_checkpoint import NUM_TOKENS, write_random_checkpoint
    from regard.weights.checkpoint import read_config_json
    from regard.weights.family import hf_config
    from regard.weights.names import EMBEDDING
    from regard.weights.save import save_checkpoint

    partial = folder.with_name(f"{folder.name}.partial")
    write_random_checkpoint(partial)  # for the tokenizer, the template and the preprocessor files
    family = json.loads((NANO_FOLDER.parent / "family.json").read_text(encoding="utf-8"))
    config = read_config_json(partial) | hf_config(family, size.upper(), "bf16")
    _set_bounds(partial / "preprocessor_config.json", PICTURE_PIXELS)
    _set_bounds(partial / "video_preprocessor_config.json", CLIP_PIXELS)
    with torch.device("meta"):
        model = Qwen3VL(ModelConfig.from_hf(config))
    model.to(torch.bfloat16).to_empty(device="cpu")
    torch.manual_seed(0)
    noise = _NOISE * torch.randn(2**24 + 1).bfloat16()  # an odd length: repeats fall differently in every row
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 and name.endswith("norm.weight"):
            parameter.data.fill_(1)
        else:
            for part in parameter.data.view(-1).split(len(noise)):
                part.copy_(noise[: len(part)])
    # Nobody writes a token that no tokenizer knows: its logit is 0, and among the others some are greater.
    model.get_parameter(EMBEDDING).data[NUM_TOKENS:] = 0
    save_checkpoint(model, partial, config, SHARD_BYTES)
    partial.rename(folder)


def _set_bounds(file: Path, pixels: tuple[int, int]) -> None:
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["size"] = {"shortest_edge": pixels[0], "longest_edge": pixels[1]}
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
