"""Keys and values of earlier tokens: what the decoder asks of any cache, and the naive loop's own.

Every layer hands its new queries, keys and values to the cache and gets the attention's output back, so that the
decoder need not know how they are stored. The naive loop's cache has one contiguous buffer per layer, capacity
known in advance:

    new keys of layer i are written at [length, length + T); `advance(T)` moves `length` once per step.

Paging, sharing and eviction belong to the engine, whose cache is in `engine/paged_cache.py`.
Shape letters: B batch, N query heads, K key/value heads, S capacity in tokens, T new tokens, D head_dim.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from regard.kernels.attention import attention
from regard.model.config import TextConfig


class AttentionCache(Protocol):
    """Stores the keys and values of new tokens and attends to all that came before them."""

    def attend(self, layer: int, q_BNTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor) -> Tensor:
        """Causal attention of the new tokens to the earlier ones and themselves. Returns (B, N, T, D)."""

    def advance(self, num_tokens: int) -> None:
        """All layers have attended to these tokens."""


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

    def attend(self, layer: int, q_BNTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor) -> Tensor:
        """Store the new keys and values, then attend.

        Errors:  ValueError if several tokens come on top of a filled cache: a prompt is one piece here.
        """
        num_tokens = k_BKTD.shape[2]
        if self.length and num_tokens > 1:
            raise ValueError(f"{num_tokens} tokens on top of {self.length} cached ones: pass one at a time")
        k_BKSD, v_BKSD = self.extend(layer, k_BKTD, v_BKTD)
        return attention(q_BNTD, k_BKSD, v_BKSD, is_causal=num_tokens > 1)

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values and return all of the layer's so far, (B, K, length + T, D)."""
        end = self.length + k_BKTD.shape[2]
        self._keys[layer][:, :, self.length : end] = k_BKTD
        self._values[layer][:, :, self.length : end] = v_BKTD
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def advance(self, num_tokens: int) -> None:
        """Count the tokens that every layer has now stored."""
        self.length += num_tokens
