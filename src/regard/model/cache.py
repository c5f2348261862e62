"""The key/value cache of the naive loop: one contiguous buffer per layer, capacity known in advance.

    new keys of layer i are written at [length, length + T); `advance(T)` moves `length` once per step.

Paging, sharing and eviction belong to the engine.
Shape letters: B batch, K key/value heads, S capacity in tokens, T new tokens, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.model.config import TextConfig


class KVCache:
    """Keys and values of all layers for a batch whose rows have the same length."""

    def __init__(
        self,
        config: TextConfig,
        *,
        batch_size: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (batch_size, config.num_key_value_heads, capacity, config.head_dim)
        self._keys = [torch.empty(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)]
        self._values = [torch.empty(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)]
        self.capacity = capacity
        self.length = 0

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values and return all of the layer's so far, (B, K, length + T, D)."""
        end = self.length + k_BKTD.shape[2]
        self._keys[layer][:, :, self.length : end] = k_BKTD
        self._values[layer][:, :, self.length : end] = v_BKTD
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def advance(self, num_tokens: int) -> None:
        """Count the tokens that every layer has now stored."""
        self.length += num_tokens
