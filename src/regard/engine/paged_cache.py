"""The tensors of the paged cache, and one step's view of it.

    keys, values of a layer   (K, slots, D); slot = block * block_size + place in the block

`PagedCache` owns the tensors. A `StepCache` is made for every step: it knows to which slots the step's rows are
written and what each row may see, and is the cache that the decoder hands its queries to.

On the CPU the memory of a slot is committed by the system when it is first written, so a large cache costs nothing
before it is used.

With `cache_dtype="fp8"` a slot takes half or a quarter: keys and values are rounded to 8 bits (e4m3, without a scale:
keys are normalised, values small) and kept as bytes, since not every device indexes that type. Not exact, so never the
default.
Shape letters: R rows of the step, N query heads, K key/value heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from regard.errors import ConfigError
from regard.kernels import native
from regard.kernels.paged_attention import Plan, Span, choose_paged_attention, plan_step
from regard.model.config import TextConfig


def bytes_per_block(config: TextConfig, block_size: int, dtype: torch.dtype) -> int:
    """Keys and values of all layers for one block."""
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    return per_token * block_size * dtype.itemsize


CacheDtype = Literal["auto", "fp8"]
FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max


def stored_dtype(cache_dtype: CacheDtype, dtype: torch.dtype) -> torch.dtype:
    """What slots hold for a model of this dtype. Errors: ConfigError for another name."""
    if cache_dtype not in ("auto", "fp8"):
        raise ConfigError(f"the cache's dtype is {cache_dtype!r}; it must be 'auto' or 'fp8'")
    return torch.uint8 if cache_dtype == "fp8" else dtype


class PagedCache:
    """Slots for `num_blocks` blocks in every layer, and a spare block that no sequence owns (`graphs`)."""

    def __init__(
        self,
        config: TextConfig,
        *,
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
        cache_dtype: CacheDtype = "auto",
    ) -> None:
        """`dtype`: the model's."""
        self.dtype, dtype = dtype, stored_dtype(cache_dtype, dtype)
        shape = (config.num_key_value_heads, (num_blocks + 1) * block_size, config.head_dim)
        self.keys = [torch.empty(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)]
        self.values = [torch.empty(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)]
        self.block_size, self.spare_block = block_size, num_blocks
        # What is hidden by a mask is multiplied by nought, and must be a number: unwritten memory may hold none.
        self.empty_slot = shape[1] - 1
        for stored in (*self.keys, *self.values):
            stored[:, self.empty_slot] = 0
        self.attention, self.attention_reason = choose_paged_attention(device, dtype)
        self.is_native = device.type == "cpu" and dtype in native.KINDS and native.library() is not None


class StepCache:
    """Where the rows of one step are stored and what they see.

    `runs` says it for native.c, which attends a few rows on a CPU; None where PyTorch's kernels do, by a plan.
    """

    def __init__(self, cache: PagedCache, slots_R: Tensor, seen: Sequence[Span] | Plan) -> None:
        """`seen`: the spans of the step, or a plan that is ready."""
        self._cache = cache
        self._slots: Tensor | slice = slots_R
        keys = cache.keys[0]
        self.runs: native.RowRuns | None = None
        if isinstance(seen, Plan):
            self._plan = seen
        elif cache.is_native and len(slots_R) <= native.MAX_ROWS:
            self.runs = row_runs(slots_R, seen)
        else:
            if slots_R.device.type == "cpu" and bool((slots_R.diff() == 1).all()):
                # Neighbours are copied whole: by index, row after row, 400 rows took ten times as long.
                self._slots = slice(int(slots_R[0]), int(slots_R[-1]) + 1)
            bytes_per_slot = 2 * keys.shape[0] * keys.shape[2] * keys.itemsize
            self._plan = plan_step(seen, bytes_per_slot, cache.dtype, keys.device, empty_slot=cache.empty_slot)

    @property
    def is_native(self) -> bool:
        """Whether the steps between the products are native.c's."""
        return self._cache.is_native

    def store(self, layer: int, k_RKD: Tensor, v_RKD: Tensor) -> None:
        """Write the rows' keys and values to their slots."""
        for stored, rows_RKD in ((self._cache.keys[layer], k_RKD), (self._cache.values[layer], v_RKD)):
            if stored.dtype == torch.uint8:
                rows_RKD = rows_RKD.clamp(-FP8_MAX, FP8_MAX).to(FP8).view(torch.uint8)
            stored[:, self._slots] = rows_RKD.transpose(0, 1)

    def attend(self, layer: int, q_RND: Tensor, k_RKD: Tensor, v_RKD: Tensor) -> Tensor:
        """Store the rows' keys and values, then attend. Returns (R, N, D)."""
        self.store(layer, k_RKD, v_RKD)
        keys_KSD, values_KSD = self._cache.keys[layer], self._cache.values[layer]
        return self._cache.attention(q_RND, k_RKD, v_RKD, keys_KSD, values_KSD, self._plan)

    def turn_and_attend(self, layer: int, q_RQ: Tensor, k_RP: Tensor, v_RP: Tensor, turn: native.Turn) -> Tensor:
        """The same with `runs`, from queries and keys as the products give them. Returns (R, N * D)."""
        assert self.runs is not None
        return native.attend(q_RQ, k_RP, v_RP, self._cache.keys[layer], self._cache.values[layer], self.runs, turn)


def row_runs(slots_R: Tensor, spans: Sequence[Span]) -> native.RowRuns:
    """What each row sees: of its span's runs all tokens up to itself."""
    first, runs = [0], []
    for span in spans:
        for row in range(span.count):
            left = span.num_keys - span.count + row + 1
            for start, length in span.runs:
                if left > 0:
                    runs.append((start, min(length, left)))
                left -= length
            first.append(len(runs))
    start_length = torch.tensor(runs).t().contiguous()
    return native.RowRuns(slots_R, torch.tensor(first), start_length[0], start_length[1])


def slot_runs(blocks: Sequence[int], num_tokens: int, block_size: int) -> tuple[tuple[int, int], ...]:
    """(first slot, length) of the first `num_tokens` tokens of a block table, neighbours joined.

    >>> slot_runs([4, 5, 9], 40, 16)
    ((64, 32), (144, 8))
    """
    runs: list[tuple[int, int]] = []
    for index in range(-(-num_tokens // block_size)):
        start = blocks[index] * block_size
        length = min(block_size, num_tokens - index * block_size)
        if runs and sum(runs[-1]) == start:
            runs[-1] = (runs[-1][0], runs[-1][1] + length)
        else:
            runs.append((start, length))
    return tuple(runs)
