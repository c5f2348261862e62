"""Decoding on a CUDA device: a step is recorded once for a size and from then on launched as a whole.

A decoding row of a small model is some four hundred kernels, each over before the host has launched the next. A step
in which every sequence gets one token always runs the same kernels on the same shapes, if its rows are padded to one of
ROWS and their block tables to a power of two:

    inputs    ids, positions, lengths and block tables, copied into the recorded tensors before each launch
    recorded  slots and mask from lengths and block tables, the decoder over the gathered pasts, the logits
    padding   rows that see one token of a spare block of the cache, which no sequence owns

A size is recorded when it comes up the second time. What cannot be recorded (sparse layers whose tokens the host sorts
by expert), or does not give at its first launch what the plain step gives, is run plainly from then on; `why_not` says
why, and it is logged once. Leaves out prompts, guesses, and pasts whose copies take longer than the launches saved.
Shape letters: R rows, S keys of a row, B blocks of a row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.engine.decoder import Decoder
from regard.engine.paged_cache import PagedCache, StepCache
from regard.kernels.paged_attention import Gathered, Plan
from regard.model.qwen3_vl import Qwen3VL

ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64)
MIN_BLOCKS = 16
MAX_SIZES = 48
MAX_COPY_BYTES = 256 * 1024**2  # of the padded pasts in one layer: above it the copies take longer than the launches
AGREES = 0.02  # of the largest logit: what the first launch may differ from the plain step

Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]

log = logging.getLogger("regard.engine")


@dataclass(frozen=True)
class Row:
    """One sequence's newest token: its id, its position (t, h, w), how many tokens there are with it, its blocks."""

    token_id: int
    position: tuple[int, int, int]
    length: int
    blocks: Seq[int]


@dataclass(frozen=True)
class Inputs:
    """The tensors that a recorded step reads. Shapes: ids, lengths (R,), positions (3, R), blocks (R, B), int64."""

    ids_R: Tensor
    positions_3R: Tensor
    lengths_R: Tensor
    blocks_RB: Tensor


@dataclass(frozen=True)
class Recorded:
    """A step of one size, and where its logits (R, vocabulary) are after a launch."""

    inputs: Inputs
    launch: Callable[[], None]
    logits: Tensor


def cuda_recorder() -> Record:
    """Records CUDA graphs that share their memory: one is launched at a time, and its logits are read before the next.

    The recorder returns how to launch what it was given, and the tensor that each launch fills.
    """
    pool = torch.cuda.graph_pool_handle()

    def record(compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            compute()  # libraries choose and load their kernels before anything is recorded
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool, capture_error_mode="thread_local"):  # others may prepare pictures meanwhile
            out = compute()
        return graph.replay, out

    return record


class DecodeGraphs:
    """The recorded steps of one model and cache. The cache has a spare block behind its last."""

    def __init__(self, model: Qwen3VL, decoder: Decoder, cache: PagedCache, record: Record) -> None:
        self._model, self._decoder, self._cache, self._record = model, decoder, cache, record
        self._recorded: dict[tuple[int, int], Recorded | None] = {}  # None: came up once
        self.why_not: str | None = None

    def run(self, rows: Seq[Row]) -> Tensor | None:
        """Logits of the rows, (R, vocabulary), until the next call; None where the step must be run plainly."""
        size = self._size(rows)
        if size is None or self.why_not is not None:
            return None
        if size not in self._recorded:
            if len(self._recorded) < MAX_SIZES:
                self._recorded[size] = None
            return None
        recorded = self._recorded[size]
        filled = self._filled(rows, size)
        if recorded is None:
            device = self._cache.keys[0].device
            recorded = self._made(Inputs(*(tensor.to(device) for tensor in vars(filled).values())))
            if recorded is None:
                return None
            self._recorded[size] = recorded
        else:
            for kept, new in zip(vars(recorded.inputs).values(), vars(filled).values(), strict=True):
                kept.copy_(new)
        recorded.launch()
        return recorded.logits[: len(rows)]

    def _size(self, rows: Seq[Row]) -> tuple[int, int] | None:
        """Rows and blocks, padded; None if there are too many."""
        num_rows = next((count for count in ROWS if count >= len(rows)), None)
        if num_rows is None:
            return None
        block_size = self._cache.block_size
        num_blocks = MIN_BLOCKS
        while num_blocks * block_size < max(row.length for row in rows):
            num_blocks *= 2
        keys = self._cache.keys[0]
        bytes_per_block = 2 * block_size * keys.shape[0] * keys.shape[2] * keys.itemsize
        return None if num_rows * num_blocks * bytes_per_block > MAX_COPY_BYTES else (num_rows, num_blocks)

    def _filled(self, rows: Seq[Row], size: tuple[int, int]) -> Inputs:
        """The inputs of a step of this size, on the host."""
        num_rows, num_blocks = size
        padding = [Row(0, (0, 0, 0), 1, (self._cache.spare_block,))] * (num_rows - len(rows))
        padded = [*rows, *padding]
        blocks = [[*row.blocks, *[self._cache.spare_block] * num_blocks][:num_blocks] for row in padded]
        return Inputs(
            torch.tensor([row.token_id for row in padded]),
            torch.tensor([row.position for row in padded]).t().contiguous(),
            torch.tensor([row.length for row in padded]),
            torch.tensor(blocks),
        )

    def _made(self, inputs: Inputs) -> Recorded | None:
        """Record the step of these inputs and see that a launch gives what the plain step gives."""
        try:
            plain = self._compute(inputs)
            launch, logits = self._record(lambda: self._compute(inputs))
            launch()
            difference = float((logits.float() - plain.float()).abs().max() / plain.float().abs().max())
        except RuntimeError as error:
            self._give_up(f"a step cannot be recorded ({str(error).splitlines()[0]})")
            return None
        if not difference <= AGREES:
            self._give_up(f"a recorded step differs from the plain one by {difference:.1%} of the largest logit")
            return None
        return Recorded(inputs, launch, logits)

    def _give_up(self, why: str) -> None:
        self.why_not = why
        self._recorded.clear()
        log.warning("decoding runs without CUDA graphs: %s", why)

    def _compute(self, inputs: Inputs) -> Tensor:
        """The step. Shape: returns (R, vocabulary)."""
        block_size, device = self._cache.block_size, inputs.ids_R.device
        places_S = torch.arange(inputs.blocks_RB.shape[1] * block_size, device=device)
        slots_RS = inputs.blocks_RB[:, places_S // block_size] * block_size + places_S % block_size
        own_R = slots_RS.gather(1, inputs.lengths_R[:, None] - 1)[:, 0]
        is_hidden_RS = places_S >= inputs.lengths_R[:, None]
        slots_RS = slots_RS.masked_fill(is_hidden_RS, self._cache.empty_slot)
        embedding = self._model.model.language_model.embed_tokens.weight
        mask_RS = torch.zeros(slots_RS.shape, dtype=embedding.dtype, device=device)
        mask_RS = mask_RS.masked_fill(is_hidden_RS, -torch.inf)
        rows_R = torch.arange(len(inputs.ids_R), device=device)
        plan = Plan((), Gathered(rows_R, slots_RS.flatten(), mask_RS[:, None, None]))
        step = StepCache(self._cache, own_R, plan)
        return self._model.logits(self._decoder(F.embedding(inputs.ids_R, embedding), inputs.positions_3R, step))
