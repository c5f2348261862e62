"""A whole training run in one folder: render the data, make the side files, train, export.

OUT/screens     the bank of rendered screens          OUT/state.pt   what continuing needs
OUT/model       the folder `--model` takes            OUT/log.jsonl  one report a line
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from regard.device import measure_matmul, use_allowed_cpus
from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.train import nano
from regard.train.loop import TrainConfig, Trainer, append_json
from regard.train.nano_folder import write_side_files
from regard.train.world.screens import ScreenBank, build_bank
from regard.weights.checkpoint import load_model
from regard.weights.save import save_checkpoint

SCREEN_SEED = 11


def train_nano(
    out: Path,
    *,
    seed: int,
    seconds: float,
    num_workers: int,
    num_screens: int,
    init: Path | None,
    on_report: Callable[[dict[str, Any]], None],
) -> bool:
    """Run or continue the recipe; returns whether it is finished, and then OUT/model holds the checkpoint.

    A new run starts from random weights, or from the checkpoint folder `init`, whose side files it then takes.
    """
    use_allowed_cpus()
    screens, folder = out / "screens", out / "model"
    build_bank(
        screens,
        count=num_screens,
        seed=SCREEN_SEED,
        held_out=False,
        on_progress=lambda done, total: on_report({"stage": "render screens", "step": done, "of": total}),
    )
    bank = ScreenBank(screens)
    is_new = not (folder / "config.json").exists()
    if is_new and init is not None:
        shutil.copytree(init, folder)
    elif is_new:
        write_side_files(folder, nano.generators(bank))
    hf_config = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    def report(record: dict[str, Any]) -> None:
        append_json(out / "log.jsonl", record)
        on_report(record)

    # Matrix units for bfloat16 make it ten times as fast as float32; without them it can be half as fast.
    use_bf16 = measure_matmul("bfloat16") > measure_matmul("float32")
    config = TrainConfig(out=out, seed=seed, seconds=seconds, num_workers=num_workers, use_bf16=use_bf16)
    trainer = Trainer(ModelConfig.from_hf(hf_config), nano.kind_classes(), config, folder)
    if is_new and init is not None:
        trainer.start_from(load_model(init, dtype="float32"))
    is_done = trainer.run(nano.stages(bank), report)
    export(trainer.ema, folder, hf_config)
    return is_done


def export(ema: dict[str, torch.Tensor], folder: Path, hf_config: dict[str, Any]) -> None:
    """Write the moving average as bfloat16 weights beside the side files."""
    model = Qwen3VL(ModelConfig.from_hf(hf_config))
    model.load_state_dict(ema, strict=True)
    save_checkpoint(model.to(torch.bfloat16), folder, hf_config)
