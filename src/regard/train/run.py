"""A whole training run in one folder: render the data, make the side files, train, export.

OUT/screens     the bank of rendered screens          OUT/state.pt   what continuing needs
OUT/mockups     pages with the HTML that drew them    OUT/episodes   states of tasks over several pages
OUT/model       the folder `--model` takes            OUT/log.jsonl  one report a line
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from regard.device import measure_matmul, use_allowed_cpus
from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.train import nano
from regard.train.loop import TrainConfig, Trainer, append_json
from regard.train.nano_folder import write_side_files
from regard.train.world.episodes import EPISODES
from regard.train.world.mockups import MOCKUPS
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
    num_processes: int,
    num_screens: int,
    init: Path | None,
    on_report: Callable[[dict[str, Any]], None],
) -> bool:
    """Run or continue the recipe; returns whether it is finished, and then OUT/model holds the checkpoint.

    A new run starts from random weights, or from the checkpoint folder `init`, whose side files it then takes.
    `num_processes` share every step; the CPUs are divided among them. This one reports and saves.
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
    for kind in (MOCKUPS, EPISODES):
        on_report({"stage": f"render {kind.name}", "step": 0, "of": num_screens // 4})
        build_bank(out / kind.name, count=max(1, num_screens // 4), seed=SCREEN_SEED, held_out=False, kind=kind)
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
    config = TrainConfig(
        out=out, seed=seed, seconds=seconds, num_workers=num_workers, use_bf16=use_bf16, world_size=num_processes
    )
    first_weights = init if is_new else None
    with tempfile.TemporaryDirectory() as meeting_folder:
        meeting = Path(meeting_folder) / "store"
        others = [
            multiprocessing.get_context("spawn").Process(
                target=_follow, args=(replace(config, rank=rank), folder, first_weights, meeting)
            )
            for rank in range(1, num_processes)
        ]
        for other in others:
            other.start()
        try:
            with joined(config, meeting):
                trainer = _trainer(config, folder, first_weights)
                is_done = trainer.run(_stages(out), report)
        except BaseException:
            for other in others:
                other.terminate()  # it would wait for this process
            raise
        for other in others:
            other.join()
    export(trainer.ema, folder, hf_config)
    return is_done


def _follow(config: TrainConfig, folder: Path, first_weights: Path | None, meeting: Path) -> None:
    """The whole life of a process that only helps."""
    use_allowed_cpus()
    with joined(config, meeting):
        _trainer(config, folder, first_weights).run(_stages(config.out), lambda report: None)


def _stages(out: Path) -> tuple[nano.Stage, ...]:
    """The recipe with the banks of a run."""
    return nano.stages(*(ScreenBank(out / name) for name in ("screens", MOCKUPS.name, EPISODES.name)))


@contextmanager
def joined(config: TrainConfig, meeting: Path) -> Iterator[None]:
    """This process as one of `config.world_size`. `meeting`: a file that did not exist before they met."""
    if config.world_size == 1:
        yield
        return
    torch.set_num_threads(max(1, torch.get_num_threads() // config.world_size))
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=config.rank, world_size=config.world_size
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def _trainer(config: TrainConfig, folder: Path, first_weights: Path | None) -> Trainer:
    hf_config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    trainer = Trainer(ModelConfig.from_hf(hf_config), nano.kind_classes(), config, folder)
    if first_weights is not None:
        trainer.start_from(load_model(first_weights, dtype="float32"))
    return trainer


def export(ema: dict[str, torch.Tensor], folder: Path, hf_config: dict[str, Any]) -> None:
    """Write the moving average as bfloat16 weights beside the side files."""
    model = Qwen3VL(ModelConfig.from_hf(hf_config))
    model.load_state_dict(ema, strict=True)
    save_checkpoint(model.to(torch.bfloat16), folder, hf_config)
