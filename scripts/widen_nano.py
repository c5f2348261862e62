"""Version 2 of regard-nano with the shapes of the recipe of today, so that training can go on from it.

    python scripts/widen_nano.py OLD SIDE NEW

OLD is the folder of version 2 (heads of 32, a rotary base of 1,000, 4,096 entries), SIDE one with today's side files (a
run of `regard train nano` writes OUT/model), NEW is written. What the old weights compute stays what it was:

    heads       twice as wide: the old pairs keep their frequencies (1,000,000 ** (-i / 32) is 1,000 ** (-i / 16)), the
                new ones start small and random in q and k and count for nothing in o; gains of the norms are divided by
                the fourth root of 2, because scores are divided by the root of a head's width
    embedding   an entry of the new tokenizer starts as the mean of the old entries that spell it
    positions   the tower's table, which was learned from noise, gets the waves of a new run on top
    patches     half as wide and high: the new kernel gives what the old one gave for the patch enlarged to its size
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.processing.tokenizer import Tokenizer
from regard.train.loop import initialise, wave_positions
from regard.weights.checkpoint import load_model
from regard.weights.save import save_checkpoint

OLD_DIM, NEW_DIM = 32, 64
NOISE = 0.02


def widen_heads(weight: Tensor, noise: float) -> Tensor:
    """Rows of all heads. Shapes: (heads * 32, ...) to (heads * 64, ...); pairs are (i, i + half)."""
    heads = weight.unflatten(0, (-1, OLD_DIM))
    wide = noise * torch.randn(len(heads), NEW_DIM, *heads.shape[2:])
    first, second = heads.chunk(2, dim=1)
    wide[:, : OLD_DIM // 2], wide[:, NEW_DIM // 2 : NEW_DIM // 2 + OLD_DIM // 2] = first, second
    return wide.flatten(0, 1)


def respell(rows: Tensor, old: Tokenizer, new: Tokenizer) -> Tensor:
    """The embedding for another tokenizer. Shapes: (old entries, H) to (new entries, H)."""
    made = NOISE * torch.randn(new.vocab_size, rows.shape[1])
    for token_id in range(new.vocab_size):
        text = new.decode([token_id], skip_special=False)
        pieces = old.encode(text)
        if pieces and "\ufffd" not in text:
            made[token_id] = rows[pieces].mean(0)
    return made


def smaller_patches(kernel: Tensor) -> Tensor:
    """The patch embedding for patches of half the size. Shapes: (H, C, 2, 2p, 2p) to (H, C, 2, p, p)."""
    side = kernel.shape[-1] // 2
    each = torch.eye(side * side).view(-1, 1, side, side)
    enlarged = F.interpolate(each, scale_factor=2, mode="bicubic").flatten(1)
    return (kernel.flatten(-2) @ enlarged.t()).unflatten(-1, (side, side))


def main() -> None:
    """Read, widen, write."""
    old_folder, side, folder = map(Path, sys.argv[1:])
    torch.manual_seed(0)
    hf_config = json.loads((side / "config.json").read_text(encoding="utf-8"))
    model = Qwen3VL(ModelConfig.from_hf(hf_config))
    initialise(model)
    old = load_model(old_folder, dtype="float32").state_dict()
    made = {}
    for name, weight in old.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            made[name] = widen_heads(weight, NOISE)
        elif name.endswith("o_proj.weight"):
            made[name] = widen_heads(weight.t(), 0.0).t()
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            wide = torch.full((NEW_DIM,), 0.5)
            wide[: OLD_DIM // 2], wide[NEW_DIM // 2 : NEW_DIM // 2 + OLD_DIM // 2] = weight.chunk(2)
            made[name] = wide * 2**-0.25
        elif name.endswith("embed_tokens.weight"):
            made[name] = respell(weight, Tokenizer.from_folder(old_folder), Tokenizer.from_folder(side))
        elif name.endswith("patch_embed.proj.weight"):
            made[name] = smaller_patches(weight)
        elif name.endswith("pos_embed.weight"):
            made[name] = weight + wave_positions(*weight.shape)
        else:
            made[name] = weight
    model.load_state_dict(made)
    shutil.copytree(side, folder)
    save_checkpoint(model.to(torch.bfloat16), folder, hf_config)


if __name__ == "__main__":
    main()
