"""The fine-tuning loop: AdamW on adapters or on all weights of the chosen parts, resumable to the bit.

    tower      model.visual.* but the mergers        merger    the mergers, which hand the decoder its visual rows
    decoder    everything else

A step's loss is the sum over all its answers' tokens, divided by their number: however it is cut into micro-batches and
processes, the gradient is the same. Held-out conversations are measured at the start, ten times on the way, and last.

With several processes the layers' weights are sharded (PyTorch's FSDP2): each process keeps its part, and gathers a
layer when it is computed. State and result are whole tensors: a run may go on with another number of processes.
Shape letters: T tokens, N rows that are learned, V vocabulary.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.checkpoint import checkpoint

from regard.errors import ConfigError
from regard.model.qwen3_vl import Qwen3VL
from regard.model.vision import VisionFeatures
from regard.train.finetune.encoding import IGNORED, Batch, Encoded, ExampleEncoder, Steps, loader
from regard.train.finetune.examples import Example
from regard.train.finetune.lora import add_adapters

Method = Literal["lora", "full"]
PARTS = ("decoder", "merger", "tower")
STATE_FILE = "finetune.pt"
NUM_CHECKS = 10
WARMUP_SHARE, FINAL_LR_FACTOR = 0.03, 0.1
SMALL_MODEL = 100_000_000


@dataclass(frozen=True)
class FinetuneConfig:
    """What is learned and how. `seconds` stops the run in good order after that time.

    With `world_size` above 1 the process has joined torch.distributed's default group as number `rank`; number 0 saves
    and reports.
    """

    out: Path
    base: str
    method: Method = "lora"
    learns: tuple[str, ...] = ("decoder", "merger")
    lora_rank: int = 16
    lora_alpha: float = 32.0
    lr: float | None = None
    num_steps: int = 100
    batch_size: int = 8
    micro_batch: int = 1
    max_pixels: int | None = None
    checkpoints_layers: bool = True
    seed: int = 0
    seconds: float = math.inf
    save_every_s: float = 120.0
    num_workers: int = 1
    device: str = "cpu"
    use_bf16: bool | None = None  # None: where it is faster than float32
    rank: int = 0
    world_size: int = 1

    def check(self) -> None:
        """Errors: ConfigError for a value that cannot be trained with."""
        for name, value in (("steps", self.num_steps), ("batch size", self.batch_size), ("rank", self.lora_rank)):
            if value < 1:
                raise ConfigError(f"the {name} is {value}; it must be 1 or more")
        if not 1 <= self.micro_batch <= self.batch_size:
            raise ConfigError(
                f"the micro-batch is {self.micro_batch}; it must be from 1 to the batch, {self.batch_size}"
            )
        if self.batch_size % self.world_size:
            raise ConfigError(
                f"a batch of {self.batch_size} cannot be shared by {self.world_size} processes; make it a multiple"
            )
        if self.lr is not None and not 0 < self.lr < 1:
            raise ConfigError(f"the learning rate is {self.lr}; it must be above 0 and below 1")
        if not self.learns or set(self.learns) - set(PARTS):
            raise ConfigError(f"what learns is {', '.join(self.learns) or 'nothing'}; choose of {', '.join(PARTS)}")

    def identity(self) -> dict[str, Any]:
        """What a run that goes on must have been begun with."""
        names = ("base", "method", "learns", "lora_rank", "lora_alpha", "lr", "num_steps", "batch_size", "max_pixels")
        values = asdict(self)
        return {name: values[name] for name in (*names, "seed")}


def part_of(name: str) -> str:
    """Which part a parameter or a layer belongs to."""
    if "merger" in name:
        return "merger"
    return "tower" if name.startswith("model.visual.") else "decoder"


def default_lr(method: Method, num_parameters: int) -> float:
    """Adapters take ten to twenty times what whole weights take, and a small model ten to fifty times a large one's."""
    if num_parameters < SMALL_MODEL:
        return 2e-3 if method == "lora" else 5e-4
    return 2e-4 if method == "lora" else 1e-5


class Losses(nn.Module):
    """The model with its loss as one module, so that FSDP sees where a micro-batch begins and ends."""

    def __init__(self, model: Qwen3VL, *, always_sees: bool) -> None:
        super().__init__()
        self.model, self._always_sees = model, always_sees

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum of the cross-entropies of what is learned, and how many of these tokens are predicted right."""
        model = self.model
        hidden_BTH = model.hidden_states(
            batch.input_ids, batch.position_ids, visual=self._seen(batch), visual_mask=batch.visual_mask
        )
        wanted_BT = F.pad(batch.labels[:, 1:], (0, 1), value=IGNORED)
        is_learned_BT = wanted_BT != IGNORED
        logits_NV, wanted_N = model.logits(hidden_BTH[is_learned_BT]).float(), wanted_BT[is_learned_BT]
        num_right = (logits_NV.argmax(-1) == wanted_N).sum()
        return F.cross_entropy(logits_NV, wanted_N, reduction="sum"), num_right

    def _seen(self, batch: Batch) -> VisionFeatures | None:
        """Visual rows. Processes that share weights must all compute the same layers, forward and backward: without
        pictures they see a blank one and use none of its rows."""
        if batch.grids:
            return self.model.encode_vision(batch.pixel_values, batch.grids)
        if not self._always_sees:
            return None
        vision = self.model.config.vision
        side = vision.spatial_merge_size
        width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        pixels = torch.zeros(side * side, width, device=batch.input_ids.device)
        blank = self.model.encode_vision(pixels, [(1, side, side)])
        return VisionFeatures(blank.embeds[:0], tuple(rows[:0] for rows in blank.deepstack))


class Finetuner:
    """One run. `model` is the checkpoint to start from; it is changed in place."""

    def __init__(self, model: Qwen3VL, folder: Path, config: FinetuneConfig) -> None:
        config.check()
        quantization = model.config.quantization
        if quantization is not None:
            raise ConfigError(
                f"{config.base} is stored in {quantization.method.upper()}, which cannot be trained; give the "
                "BF16 checkpoint that it was made from, and quantise the result"
            )
        torch.manual_seed(config.seed)
        self.config, self.model = config, model.train()
        self.encoder = ExampleEncoder(folder, config.max_pixels)
        self.lr = config.lr or default_lr(config.method, sum(p.numel() for p in model.parameters()))
        self.step = 0
        self.log: list[dict[str, Any]] = []
        self._choose()
        if config.checkpoints_layers:
            checkpoint_layers(model)
        self._module = Losses(model, always_sees=config.world_size > 1)
        device = torch.device(config.device)
        if config.world_size > 1:
            shard(self._module, device)
        else:
            model.to(device)
        self._device = device
        parameters = list(self._trained().values())
        decay = 0.0 if config.method == "lora" else 0.01
        self._optimizer = torch.optim.AdamW(parameters, lr=self.lr, betas=(0.9, 0.99), weight_decay=decay)

    def _choose(self) -> None:
        """Only what learns gets gradients, in float32 and in memory of its own."""
        config = self.config
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        if config.method == "lora":
            wanted = add_adapters(
                self.model, lambda name: part_of(name) in config.learns, rank=config.lora_rank, alpha=config.lora_alpha
            )
            if not wanted:
                raise ConfigError(f"{config.base} has no linear layer in {', '.join(config.learns)} to adapt")
            return
        for name, parameter in self.model.named_parameters():
            if part_of(name) in config.learns:
                parameter.data = parameter.data.float().clone()  # loaded weights may be views of their file
                parameter.requires_grad_(True)

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self._module.model.named_parameters() if p.requires_grad}

    @property
    def num_trained(self) -> int:
        """Numbers that learn."""
        return sum(parameter.numel() for parameter in self._trained().values())

    def run(
        self, examples: Sequence[Example], held_out: Sequence[Example], on_report: Callable[[dict[str, Any]], None]
    ) -> bool:
        """Train from where the folder's state is; returns False if time ran out first."""
        config, started = self.config, time.monotonic()
        self._load()
        checks = sorted(map(self.encoder.encode, held_out), key=lambda one: len(one.input_ids))
        steps = Steps(
            examples, self.encoder, num_steps=config.num_steps, batch_size=config.batch_size,
            micro_batch=config.micro_batch, seed=config.seed, rank=config.rank, world_size=config.world_size,
        )  # fmt: skip
        every = max(1, config.num_steps // NUM_CHECKS)
        if self.step == 0:
            self._report({"step": 0, **self._checked(checks)}, on_report)
        saved_at, since = time.monotonic(), time.monotonic()
        for batches in loader(steps, first_step=self.step, num_workers=config.num_workers):
            record = self._one_step(batches)
            self.step += 1
            now = time.monotonic()
            record |= {"step": self.step, "samples_per_s": round(config.batch_size / max(now - since, 1e-9), 2)}
            if self.step % every == 0 or self.step == config.num_steps:
                record |= self._checked(checks)
            self._report(record, on_report)
            is_over = self._agreed(now - started > config.seconds)
            if is_over or self.step == config.num_steps or now - saved_at > config.save_every_s:
                self._save()
                saved_at = time.monotonic()
            if is_over and self.step < config.num_steps:
                return False
            since = time.monotonic()
        return True

    def _one_step(self, batches: Sequence[Batch]) -> dict[str, float]:
        config = self.config
        warm = min(1.0, (self.step + 1) / max(1, round(WARMUP_SHARE * config.num_steps)))
        fall = 0.5 * (1 + math.cos(math.pi * self.step / config.num_steps))
        lr = self.lr * warm * (FINAL_LR_FACTOR + (1 - FINAL_LR_FACTOR) * fall)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        counts = torch.tensor([0.0, 0.0, sum(int((batch.labels != IGNORED).sum()) for batch in batches)])
        num_tokens = self._summed(counts)[2]
        for batch in (batch.to(self._device) for batch in batches):
            with self._autocast():
                loss, num_right = self._module(batch)
            # FSDP takes the mean over the processes.
            (loss * (config.world_size / num_tokens)).backward()
            counts[:2] += torch.stack([loss.detach().float(), num_right.float()]).cpu()
        norm = torch.nn.utils.clip_grad_norm_(self._trained().values(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        total, all_right, num_tokens = self._summed(counts)
        length = float(whole(norm))
        if not math.isfinite(total) or not math.isfinite(length):
            raise ConfigError(
                f"the loss is {total:g} and the gradient's norm {length:g} at step {self.step + 1}; "
                "continue in another folder with a lower --lr"
            )
        return {
            "loss": round(total / num_tokens, 5), "token_accuracy": round(all_right / num_tokens, 4), "lr": lr,
            "gradient_norm": round(length, 4),
        }  # fmt: skip

    @torch.no_grad()
    def _checked(self, checks: Sequence[Encoded]) -> dict[str, float]:
        """Loss and accuracy over the held-out conversations; every process computes them all."""
        if not checks:
            return {}
        sums = torch.zeros(3)
        size = self.config.micro_batch
        for first in range(0, len(checks), size):
            batch = self.encoder.collate(checks[first : first + size]).to(self._device)
            with self._autocast():
                loss, num_right = self._module(batch)
            sums += torch.tensor([float(loss), float(num_right), float((batch.labels != IGNORED).sum())])
        loss, num_right, num_tokens = sums.tolist()
        return {"held_out_loss": round(loss / num_tokens, 5), "held_out_accuracy": round(num_right / num_tokens, 4)}

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, dtype=torch.bfloat16) if self.config.use_bf16 else nullcontext()

    def _summed(self, values: Tensor) -> list[float]:
        """Sums over the processes."""
        if self.config.world_size > 1:
            values = values.to(self._device, copy=True)
            torch.distributed.all_reduce(values)
        summed: list[float] = values.tolist()
        return summed

    def _agreed(self, is_over: bool) -> bool:
        return self._summed(torch.tensor([float(is_over)]))[0] > 0

    def _report(self, record: dict[str, Any], on_report: Callable[[dict[str, Any]], None]) -> None:
        self.log.append(record)
        if self.config.rank == 0:
            on_report({"stage": "fine-tune", "of": self.config.num_steps, **record})

    def trained(self) -> dict[str, Tensor]:
        """What was learned, whole and on the CPU, by the parameters' names. All processes must call it."""
        return {name: whole(parameter).detach().cpu() for name, parameter in self._trained().items()}

    def adapters(self) -> dict[str, tuple[Tensor, Tensor]]:
        """(A, B) of each adapted layer. All processes must call it."""
        values = self.trained()
        layers = [name.removesuffix(".lora_A") for name in values if name.endswith(".lora_A")]
        return {name: (values[f"{name}.lora_A"], values[f"{name}.lora_B"]) for name in layers}

    def _save(self) -> None:
        values = self.trained()
        moments = {
            name: {key: whole(value).cpu() for key, value in self._optimizer.state[parameter].items()}
            for name, parameter in self._trained().items()
        }
        if self.config.rank != 0:
            return
        self.config.out.mkdir(parents=True, exist_ok=True)
        state = {
            "identity": self.config.identity(), "use_bf16": self.config.use_bf16, "step": self.step, "log": self.log,
            "trained": values, "moments": moments,
        }  # fmt: skip
        partial_file = self.config.out / f"{STATE_FILE}.partial"
        torch.save(state, partial_file)
        os.replace(partial_file, self.config.out / STATE_FILE)

    def _load(self) -> None:
        file = self.config.out / STATE_FILE
        if not file.exists():
            return
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        mine = self.config.identity()
        if different := [name for name, value in mine.items() if state["identity"].get(name) != value]:
            name = different[0]
            raise ConfigError(
                f"the run in {self.config.out} was begun with {name} {state['identity'].get(name)!r}, not "
                f"{mine[name]!r}; give the same, or another folder"
            )
        self.step, self.log = state["step"], state["log"]
        with torch.no_grad():
            for name, parameter in self._trained().items():
                parameter.copy_(like(state["trained"][name], parameter))
                self._optimizer.state[parameter] = {
                    key: like(value, parameter) if value.shape == parameter.shape else value
                    for key, value in state["moments"][name].items()
                }


def checkpoint_layers(model: Qwen3VL) -> None:
    """Keep a layer's input only and compute the layer again for its gradients: a third slower, far less memory."""
    visual: Any = model.model.visual
    text: Any = model.model.language_model
    for layer in (*visual.blocks, *text.layers):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def shard(module: Losses, device: torch.device) -> None:
    """Give each process a part of every layer's weights."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    visual: Any = module.model.model.visual
    text: Any = module.model.model.language_model
    for layer in (*visual.blocks, *text.layers):
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)


def whole(value: Tensor) -> Tensor:
    """A sharded tensor put together; all processes must call it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, sharded as another is."""
    value = value.to(other.device)
    return distribute_tensor(value, other.device_mesh, other.placements) if isinstance(other, DTensor) else value
