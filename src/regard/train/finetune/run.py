"""A whole fine-tune in one folder: read, check, train, merge, export.

OUT/finetune.pt   what continuing needs        OUT/log.jsonl   one report a line
OUT/model         an ordinary checkpoint       OUT/adapter     LoRA's adapters in PEFT's files
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regard.device import measure_matmul, use_allowed_cpus
from regard.errors import ConfigError
from regard.train.finetune.examples import Example
from regard.train.finetune.loop import STATE_FILE, FinetuneConfig, Finetuner
from regard.train.finetune.lora import merge, save_adapters
from regard.weights.checkpoint import DTYPES, load_model, read_config, read_config_json
from regard.weights.save import save_checkpoint

MAX_HELD_OUT = 64


@dataclass(frozen=True)
class Outcome:
    """What a run came to. `log`: one record a step, with the held-out figures where they were measured."""

    is_done: bool
    log: list[dict[str, Any]]
    num_trained: int
    num_parameters: int
    lr: float


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """(what is learned, what is held out), at most MAX_HELD_OUT of the latter, chosen by the seed."""
    if not 0 <= share < 1:
        raise ConfigError(f"the held-out share is {share}; it must be from 0 to below 1")
    count = min(MAX_HELD_OUT, round(share * len(examples)))
    if share and len(examples) > 1:
        count = max(1, count)
    chosen = set(np.random.default_rng(seed).permutation(len(examples))[:count].tolist())
    learned = [example for number, example in enumerate(examples) if number not in chosen]
    return learned, [examples[number] for number in sorted(chosen)]


def finetune(
    config: FinetuneConfig,
    folder: Path,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    on_report: Callable[[dict[str, Any]], None],
) -> Outcome:
    """Run or continue a fine-tune of the checkpoint in `folder`; OUT/model holds the result in any case.

    `config.world_size` processes share the weights; on CUDA each has a device of its own. This one reports and saves.
    """
    config.check()
    read_config(folder)  # before anything is written
    use_allowed_cpus()
    config.out.mkdir(parents=True, exist_ok=True)
    config = replace(config, use_bf16=_uses_bf16(config))

    def report(record: dict[str, Any]) -> None:
        with (config.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        on_report(record)

    with tempfile.TemporaryDirectory() as meeting_folder:
        meeting = Path(meeting_folder) / "store"
        others = [
            multiprocessing.get_context("spawn").Process(
                target=_work, args=(replace(config, rank=rank), folder, examples, held_out, meeting, _silent)
            )
            for rank in range(1, config.world_size)
        ]
        for other in others:
            other.start()
        try:
            outcome = _work(config, folder, examples, held_out, meeting, report)
        except BaseException:
            for other in others:
                other.terminate()  # it would wait for this process
            raise
        for other in others:
            other.join()
    return outcome


def _uses_bf16(config: FinetuneConfig) -> bool:
    """As the run was begun; on a CPU, if it has matrix units for it, without which it can be half as fast."""
    state = config.out / STATE_FILE
    if state.exists():
        return bool(torch.load(state, map_location="cpu", weights_only=True, mmap=True)["use_bf16"])
    if config.use_bf16 is not None:
        return config.use_bf16
    return config.device != "cpu" or measure_matmul("bfloat16") > measure_matmul("float32")


def _silent(_: dict[str, Any]) -> None:
    """The reports of a process that only helps."""


def _work(
    config: FinetuneConfig,
    folder: Path,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    meeting: Path,
    report: Callable[[dict[str, Any]], None],
) -> Outcome:
    """The whole life of one process."""
    use_allowed_cpus()
    with _joined(config, meeting) as device:
        config = replace(config, device=device)
        is_on_cpu = device == "cpu"
        # On a CPU frozen weights in bfloat16 would be widened for every product.
        dtype = "float32" if is_on_cpu or config.method == "full" else "auto"
        model = load_model(folder, dtype=dtype)
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        finetuner = Finetuner(model, folder, config)
        is_done = finetuner.run(examples, held_out, report)
        trained = finetuner.trained()
        adapters = finetuner.adapters()
    if config.rank == 0:
        export(config, folder, trained, adapters)
    return Outcome(is_done, finetuner.log, finetuner.num_trained, num_parameters, finetuner.lr)


@contextmanager
def _joined(config: FinetuneConfig, meeting: Path) -> Iterator[str]:
    """This process as one of `config.world_size`; gives its device."""
    if config.world_size == 1:
        yield config.device
        return
    is_cuda = torch.device(config.device).type == "cuda"
    if is_cuda and torch.cuda.device_count() < config.world_size:
        raise ConfigError(f"{config.world_size} processes need as many GPUs, and there are {torch.cuda.device_count()}")
    if is_cuda:
        torch.cuda.set_device(config.rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // config.world_size))
    torch.distributed.init_process_group(
        "nccl" if is_cuda else "gloo", init_method=f"file://{meeting}", rank=config.rank, world_size=config.world_size
    )
    try:
        yield f"cuda:{config.rank}" if is_cuda else "cpu"
    finally:
        torch.distributed.destroy_process_group()


def export(
    config: FinetuneConfig,
    folder: Path,
    trained: dict[str, torch.Tensor],
    adapters: dict[str, tuple[torch.Tensor, torch.Tensor]],
) -> None:
    """Write OUT/model in the checkpoint's own format and dtype, and OUT/adapter."""
    hf_config = read_config_json(folder)
    model = load_model(folder)
    if adapters:
        merge(model, adapters, config.lora_alpha / config.lora_rank)
        save_adapters(
            adapters, config.out / "adapter", base=config.base, rank=config.lora_rank, alpha=config.lora_alpha
        )
    else:
        dtype = DTYPES.get(str(model.dtype).removeprefix("torch."), torch.bfloat16)
        for name, value in trained.items():
            owner, _, leaf = name.rpartition(".")
            parameter = torch.nn.Parameter(value.to(dtype), requires_grad=False)
            setattr(model.get_submodule(owner), leaf, parameter)
    target = config.out / "model"
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():  # the tokenizer, the template, the preprocessors; not the weights, nor their card
        if file.is_file() and ".safetensors" not in file.name and file.name.lower() != "readme.md":
            shutil.copy(file, target / file.name)
    save_checkpoint(model, target, hf_config)
