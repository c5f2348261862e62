"""The training loop: stages, micro-batches, Muon and AdamW, a moving average, checkpoints that continue exactly.

One step sums the losses of its micro-batches and updates once. Weights are float32; on CPUs and GPUs with
bfloat16 matrix units the forward pass runs under autocast.

A checkpoint holds weights, moving average, optimiser, stage and step; samples depend only on
(seed, stage, step, process), so continuing needs nothing else.

Several processes (TrainConfig.world_size) each take a part of every step's samples and average their gradients; then
all make the same update. On two cores two processes of one thread each do not wait for each other at every operator,
as two threads do. Leaves out sharded weights: every process holds everything.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.model.vision import VisionFeatures
from regard.train.batches import MicroBatch, Steps, loader
from regard.train.dense import DenseHeads
from regard.train.encode import IGNORED, Encoder
from regard.train.grounding import AttentionInput
from regard.train.nano import Stage

DENSE_WEIGHT_BESIDE_ANSWERS = 0.5
# Of the decoder's queries and keys, which match words with cells. Fitted alone on kept features they found 37 % of the
# held-out places in 300 steps at a learning rate of 1.5e-3, 66 % at 6e-3 and 69 % at 2e-2.
MATCHING_FACTOR = 4.0
GROUNDING_WEIGHT = 1.0
ANSWER_ROWS = 64
POSITION_STD = 1.0


@dataclass(frozen=True)
class TrainConfig:
    """Where and how to run. `seconds` stops the run in good order after that time.

    With `world_size` above 1 the process has joined torch.distributed's default group as number `rank`; number 0 saves
    and reports.
    """

    out: Path
    seed: int = 0
    num_workers: int = 1
    save_every_s: float = 120.0
    report_every: int = 50
    ema_decay: float = 0.99
    device: str = "cpu"
    use_bf16: bool = True
    seconds: float = math.inf
    rank: int = 0
    world_size: int = 1


class Trainer:
    """Runs stages one after the other and keeps `out/state.pt` up to date."""

    def __init__(
        self, model_config: ModelConfig, kinds: dict[str, int], config: TrainConfig, encoder_folder: Path | None
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.model_config, self.kinds = config, model_config, kinds
        self.model = Qwen3VL(model_config).to(config.device)
        initialise(self.model)
        self.heads = DenseHeads(model_config.text.hidden_size, len(kinds), model_config.text.vocab_size).to(
            config.device
        )
        self.attention_input = AttentionInput(self.model)
        self.ema = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.encoder = Encoder(encoder_folder) if encoder_folder else None
        self.stage_name, self.step = "", 0
        self._started = time.monotonic()

    def start_from(self, model: Qwen3VL) -> None:
        """Begin with another model's weights instead of random ones."""
        self.model.load_state_dict(model.state_dict())
        self.ema = {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def run(self, stages: tuple[Stage, ...], on_report: Callable[[dict[str, Any]], None]) -> bool:
        """Run the stages that are not done yet; returns False if time ran out first."""
        state = self._load()
        done = state["stages_done"] if state else []
        for number, stage in enumerate(stages):
            if stage.name in done:
                continue
            resumed = state if state and state["stage"] == stage.name else None
            if not self._run_stage(number, stage, resumed, done, on_report):
                return False
            done = [*done, stage.name]
            state = None
        return True

    def _run_stage(
        self,
        number: int,
        stage: Stage,
        resumed: dict[str, Any] | None,
        done: list[str],
        on_report: Callable[[dict[str, Any]], None],
    ) -> bool:
        self._choose(stage)
        optimizers = self._optimizers(stage)
        self.stage_name, self.step = stage.name, 0
        if resumed:
            for optimizer, saved in zip(optimizers, resumed["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step = resumed["step"]
        steps = Steps(
            stage.shares,
            seed=(self.config.seed, number),
            num_steps=stage.num_steps,
            config=self.model_config,
            kinds=self.kinds,
            encoder=self.encoder,
            rank=self.config.rank,
            world_size=self.config.world_size,
        )
        meter, saved_at = Meter(), time.monotonic()
        for batches in loader(steps, first_step=self.step, num_workers=self.config.num_workers):
            set_learning_rate(optimizers, stage, self.step)
            for batch in (batch.to(self.config.device) for batch in batches):
                num_samples = batch_size(batch) * self.config.world_size
                meter.add(batch.task, self._backward(batch), num_samples=num_samples)
            is_over = self._average_gradients(is_over=time.monotonic() - self._started > self.config.seconds)
            torch.nn.utils.clip_grad_norm_(self._parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            self._update_ema()
            self.step += 1
            is_first = self.config.rank == 0
            if is_first and (self.step % self.config.report_every == 0 or self.step == stage.num_steps):
                on_report({"stage": stage.name, "step": self.step, "of": stage.num_steps, **meter.take()})
            if is_first and (is_over or time.monotonic() - saved_at > self.config.save_every_s):
                self._save(optimizers, done)
                saved_at = time.monotonic()
            if is_over:
                return False
        if self.config.rank == 0:
            self._save(optimizers, [*done, stage.name])
        return True

    def _backward(self, batch: MicroBatch) -> dict[str, float]:
        """Gradients of one micro-batch; returns what to report."""
        bf16 = torch.autocast(self.config.device, dtype=torch.bfloat16) if self.config.use_bf16 else nullcontext()
        report: dict[str, float] = {}
        with bf16:
            visual = None
            if batch.grids:
                seen = self.model.encode_vision(batch.pixel_values, batch.grids)
                num = batch.num_visual
                visual = VisionFeatures(seen.embeds[:num], tuple(rows[:num] for rows in seen.deepstack))
            loss = torch.zeros((), device=self.config.device)
            if batch.dense and visual is not None:
                dense_loss, report = self.heads(visual.embeds, batch.dense)
                loss = loss + dense_loss * (1.0 if batch.input_ids is None else DENSE_WEIGHT_BESIDE_ANSWERS)
            if batch.input_ids is not None and batch.position_ids is not None and batch.labels is not None:
                hidden_BTH = self.model.hidden_states(
                    batch.input_ids, batch.position_ids, visual=visual, visual_mask=batch.visual_mask
                )
                rows_N, wanted_N = answer_rows(batch.labels)
                lm_loss, accuracy = answer_loss(self.model.logits(hidden_BTH.flatten(0, 1)[rows_N]), wanted_N)
                report |= {"lm": float(lm_loss.detach()), "token_accuracy": accuracy}
                loss = loss + lm_loss
                for kind, told in batch.grounding.items():
                    missed, report[f"{kind} found"] = self.attention_input.loss(kind, told)
                    loss = loss + GROUNDING_WEIGHT * missed
        (loss * batch.weight).backward()
        return report | {"loss": float(loss.detach())}

    def _average_gradients(self, *, is_over: bool) -> bool:
        """Mean of the gradients over the processes; returns whether time is over for any of them."""
        if self.config.world_size == 1:
            return is_over
        parameters = self._parameters()
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(grad.flatten() for grad in grads), torch.tensor([float(is_over)], device=grads[0].device)])
        torch.distributed.all_reduce(flat)
        *means, over = flat.div_(self.config.world_size).split([*(grad.numel() for grad in grads), 1])
        for grad, mean in zip(grads, means, strict=True):
            grad.copy_(mean.view_as(grad))
        return bool(over)

    def _choose(self, stage: Stage) -> None:
        """Only what a stage learns gets gradients."""
        for name, parameter in self.model.named_parameters():
            in_tower, in_merger = name.startswith("model.visual."), "merger" in name
            parameter.requires_grad_(
                stage.learns == "everything" or (in_tower if stage.learns == "tower" else not in_tower or in_merger)
            )

    def _parameters(self) -> list[nn.Parameter]:
        return [p for p in (*self.model.parameters(), *self.heads.parameters()) if p.requires_grad]

    def _optimizers(self, stage: Stage) -> list[torch.optim.Optimizer]:
        """Muon for the matrices inside the layers, AdamW for the rest; the tower has its own learning rate."""
        towers = ((self.model.model.visual, stage.tower_lr_factor), (self.model.model.language_model, 1.0))
        muon: list[dict[str, Any]] = []
        adamw: list[dict[str, Any]] = [{"params": list(self.heads.parameters()), "factor": 1.0, "weight_decay": 0.0}]
        for tower, factor in towers:
            matrices: list[nn.Parameter] = []
            matching: list[nn.Parameter] = []
            rest: list[nn.Parameter] = []
            for name, parameter in tower.named_parameters():
                if not parameter.requires_grad:
                    continue
                is_inner = parameter.dim() == 2 and not name.startswith(("embed_tokens", "pos_embed"))
                is_matching = name.endswith(("q_proj.weight", "k_proj.weight"))
                (matching if is_matching else matrices if is_inner else rest).append(parameter)
            muon.append({"params": matrices, "factor": factor})
            muon.append({"params": matching, "factor": factor * MATCHING_FACTOR})
            adamw.append({"params": rest, "factor": factor, "weight_decay": 0.0})
        muon, adamw = ([group for group in groups if group["params"]] for groups in (muon, adamw))
        return [
            torch.optim.Muon(muon, lr=stage.lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(adamw, lr=stage.lr, betas=(0.9, 0.98), fused=True),
        ]

    @torch.no_grad()
    def _update_ema(self) -> None:
        for name, parameter in self.model.named_parameters():
            self.ema[name].lerp_(parameter, 1 - self.config.ema_decay)

    def _save(self, optimizers: Sequence[torch.optim.Optimizer], done: list[str]) -> None:
        self.config.out.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "ema": self.ema,
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "stage": self.stage_name,
            "step": self.step,
            "stages_done": done,
            "kinds": self.kinds,
        }
        partial = self.config.out / "state.pt.partial"
        torch.save(state, partial)
        os.replace(partial, self.config.out / "state.pt")

    def _load(self) -> dict[str, Any] | None:
        path = self.config.out / "state.pt"
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location=self.config.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema = state["ema"]
        if state["kinds"] == self.kinds:
            self.heads.load_state_dict(state["heads"])
        return state


class Meter:
    """Means of what was reported since the last `take`, and samples per second."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}
        self._num_samples, self._since = 0, time.monotonic()

    def add(self, task: str, report: dict[str, float], *, num_samples: int) -> None:
        self._num_samples += num_samples
        for name, value in report.items():
            total = self._sums.setdefault(f"{task}/{name}", [0.0, 0.0])
            total[0] += value
            total[1] += 1

    def take(self) -> dict[str, float]:
        now = time.monotonic()
        means = {name: round(total / count, 4) for name, (total, count) in self._sums.items()}
        means["samples_per_s"] = round(self._num_samples / (now - self._since), 1)
        self._sums, self._num_samples, self._since = {}, 0, now
        return means


def batch_size(batch: MicroBatch) -> int:
    """Samples in a micro-batch (without conversations: pictures, among them perhaps a blank one)."""
    return len(batch.grids) if batch.input_ids is None else batch.input_ids.shape[0]


def answer_rows(labels_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Flat indices of the tokens that predict an answer's token, and these tokens.

    Logits are made for them only, a small part of all. Rounded up to a multiple of ANSWER_ROWS with IGNORED labels, for
    the reason that `batches` rounds for. Shapes: two (N,).
    """
    next_BT = F.pad(labels_BT[:, 1:], (0, 1), value=IGNORED).flatten()
    rows_N = (next_BT != IGNORED).nonzero()[:, 0]
    extra = -len(rows_N) % ANSWER_ROWS
    return F.pad(rows_N, (0, extra)), F.pad(next_BT[rows_N], (0, extra), value=IGNORED)


def answer_loss(logits_NV: Tensor, wanted_N: Tensor) -> tuple[Tensor, float]:
    """Mean cross-entropy of the answers' tokens, and the share predicted right."""
    is_answer = wanted_N != IGNORED
    accuracy = float(((logits_NV.argmax(-1) == wanted_N) & is_answer).sum() / is_answer.sum())
    return F.cross_entropy(logits_NV.float(), wanted_N, ignore_index=IGNORED), accuracy


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], stage: Stage, step: int) -> None:
    """Linear warm-up, then a cosine from `lr` to `lr * final_lr_factor`."""
    warm = min(1.0, (step + 1) / stage.warmup_steps)
    progress = step / stage.num_steps
    fall = stage.final_lr_factor + (1 - stage.final_lr_factor) * 0.5 * (1 + math.cos(math.pi * progress))
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = stage.lr * warm * fall * group["factor"]


def initialise(model: Qwen3VL) -> None:
    """Small normal weights; what writes into the residual stream starts smaller still; positions start as waves."""
    for name, parameter in model.named_parameters():
        if name.endswith("pos_embed.weight"):
            parameter.data.copy_(wave_positions(*parameter.shape))
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif "norm" in name:
            nn.init.ones_(parameter)
        else:
            depth = model.config.text.num_hidden_layers
            is_output = name.endswith(
                ("o_proj.weight", "down_proj.weight", "attn.proj.weight", "blocks.linear_fc2.weight")
            )
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * depth) if is_output else 0.02)


def wave_positions(num_positions: int, width: int) -> Tensor:
    """A start for the tower's table of learned positions: place along both axes, linear and as waves. Shape: (N, D).

    From noise, places are learned last: after 3,000 steps a linear probe of the table missed x by 14 % of the picture.
    The shortest wave is a tenth of the picture long, which is the period of an answer's tens.
    """
    side = math.isqrt(num_positions)
    place = torch.linspace(0, 1, side)
    waves = [torch.ones(side), 2 * place - 1]
    for cycles in (0.5, 1, 2, 3, 5, 7, 10):
        waves += [torch.sin(2 * math.pi * cycles * place), torch.cos(2 * math.pi * cycles * place)]
    axis = torch.stack(waves, dim=1)
    rows, columns = axis.repeat_interleave(side, dim=0), axis.repeat(side, 1)
    generator = torch.Generator().manual_seed(0)
    mixed = torch.cat([rows, columns], dim=1) @ torch.randn(2 * axis.shape[1], width, generator=generator)
    return mixed * (POSITION_STD / mixed.std())


def append_json(path: Path, record: dict[str, Any]) -> None:
    """One line of the run's log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
