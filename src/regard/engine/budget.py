"""How the engine's memory is divided, and what can never fit.

    limit     `max_memory`, or `memory_utilization` of what is there (a GPU: of its memory; a CPU: of what is free)
    in use    what the process holds already, and what it has mapped and not read yet: the weights
    the rest  half to the paged cache, three tenths to the vision tower while it encodes, a tenth to the vision cache,
              a tenth to everything else

On a CPU the paged cache is at most MAX_CPU_CACHE_BYTES; its memory is taken only as it is used. What nobody uses any
more it keeps for the prefix cache: one longest context, at most MAX_CPU_PREFIX_BYTES, so that memory settles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from regard.device import available_memory_bytes, resident_memory_bytes, unread_bytes
from regard.engine.paged_cache import CacheDtype, bytes_per_block, stored_dtype
from regard.engine.vision_encoder import peak_bytes
from regard.errors import CapacityError, ConfigError
from regard.model.config import ModelConfig, VisionConfig

MAX_VISION_CACHE_BYTES = 1024**3
MAX_CPU_CACHE_BYTES = 8 * 1024**3
MAX_CPU_PREFIX_BYTES = 2 * 1024**3
UNKNOWN_MEMORY_BYTES = 2 * 1024**3  # where the system does not say
_MIB = 1024**2


@dataclass(frozen=True)
class Budget:
    """Sizes of the engine's parts."""

    vision: VisionConfig
    dtype: torch.dtype
    block_size: int
    num_blocks: int
    num_cached_blocks: int
    vision_bytes: int
    vision_cache_bytes: int

    @classmethod
    def measure(
        cls,
        config: ModelConfig,
        *,
        dtype: torch.dtype,
        device: torch.device,
        block_size: int,
        max_memory: int | None,
        memory_utilization: float,
        cache_dtype: CacheDtype = "auto",
    ) -> Budget:
        """Divide what this machine, or `max_memory` bytes, leaves beside the weights.

        Errors: ConfigError for a share outside (0, 1]; CapacityError if not even a small picture would fit.
        """
        if not 0 < memory_utilization <= 1:
            raise ConfigError(f"memory_utilization is {memory_utilization}; it must be in (0, 1]")
        rest = _rest_bytes(device, max_memory, memory_utilization)
        block_bytes = bytes_per_block(config.text, block_size, stored_dtype(cache_dtype, dtype))
        cache_bytes = rest // 2 if device.type != "cpu" else min(rest // 2, MAX_CPU_CACHE_BYTES)
        num_blocks = max(0, cache_bytes // block_bytes)
        one_context = -(-config.text.max_position_embeddings // block_size)
        budget = cls(
            vision=config.vision,
            dtype=dtype,
            block_size=block_size,
            num_blocks=num_blocks,
            num_cached_blocks=num_blocks
            if device.type != "cpu"
            else min(one_context, MAX_CPU_PREFIX_BYTES // block_bytes),
            vision_bytes=rest * 3 // 10,
            vision_cache_bytes=min(rest // 10, MAX_VISION_CACHE_BYTES),
        )
        if rest <= 0 or budget.num_blocks < 2:
            given = "max_memory" if max_memory is not None else "memory_utilization"
            raise CapacityError(
                f"the weights leave {max(rest, 0) / _MIB:.0f} MiB for the cache and the pictures, which is too little; "
                f"raise {given} or use a smaller model"
            )
        return budget

    @property
    def num_tokens(self) -> int:
        """Tokens that the paged cache holds."""
        return self.num_blocks * self.block_size

    def check(self, num_prompt_tokens: int, num_patches: Sequence[int]) -> None:
        """Refuse a prompt that can never fit.

        Errors: CapacityError in one sentence that says what to lower.
        """
        if num_prompt_tokens >= self.num_tokens:
            raise CapacityError(
                f"the prompt has {num_prompt_tokens} tokens and the memory given holds {self.num_tokens}; "
                "give fewer or smaller pictures, lower max_pixels or fps, or raise max_memory"
            )
        largest = max(num_patches, default=0)
        needed = peak_bytes(self.vision, largest, self.dtype)
        if largest and needed > self.vision_bytes:
            side_px = self.vision.patch_size
            raise CapacityError(
                f"a picture of {largest * side_px**2 / 1e6:.1f} megapixels needs {needed / _MIB:.0f} MiB while it is "
                f"encoded and {self.vision_bytes / _MIB:.0f} MiB are there; lower max_pixels or raise max_memory"
            )


def _rest_bytes(device: torch.device, max_memory: int | None, memory_utilization: float) -> int:
    """What is left beside what the process holds."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        limit = int(total * memory_utilization) if max_memory is None else min(max_memory, total)
        return limit - (total - free)
    unread = unread_bytes(".safetensors")
    if max_memory is not None:
        return max_memory - resident_memory_bytes() - unread
    free_bytes = available_memory_bytes()
    return UNKNOWN_MEMORY_BYTES if free_bytes is None else int((free_bytes - unread) * memory_utilization)
