"""The text decoder: embeddings in, hidden states out, visual features added in the first layers.

    x -> + attention(norm(x)) -> + mlp(norm(x))     per layer; then DeepStack; a final norm

DeepStack: after decoder layer k (k = 0, 1, 2) the k-th tapped vision features are added to the hidden
states at the visual positions, and only there. Later layers are untouched.

Attention is causal. Without a cache it sees whole prompts (rows of a batch may be right-padded: a causal row never
looks at what follows it); with one, the cache knows what came before and attends (`model/cache.py`).
Shape letters: B batch, T tokens, H hidden size, N heads, K key/value heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.kernels import native
from regard.kernels.attention import attention
from regard.kernels.turn import turn
from regard.model.cache import AttentionCache
from regard.model.config import TextConfig
from regard.model.moe import SparseMLP
from regard.model.rope import mrope_axes, mrope_cos_sin, rotate, text_inv_freq


class RMSNorm(nn.Module):
    """Normalise in float32, cast back, then scale."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * F.rms_norm(x.float(), self.weight.shape, eps=self.eps).to(x.dtype)


class Attention(nn.Module):
    """Grouped-query causal attention with normalised queries and keys."""

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        q_size = config.num_attention_heads * config.head_dim
        kv_size = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, q_size, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_size, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_size, bias=config.attention_bias)
        self.o_proj = nn.Linear(q_size, config.hidden_size, bias=config.attention_bias)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)

    def forward(self, x_BTH: Tensor, cos_BTD: Tensor, sin_BTD: Tensor, cache: AttentionCache | None) -> Tensor:
        batch, num_tokens, _ = x_BTH.shape
        heads = (batch, num_tokens, -1, self.head_dim)
        q_BNTD = normed_and_rotated(self.q_proj(x_BTH).view(heads), self.q_norm, cos_BTD, sin_BTD)
        k_BKTD = normed_and_rotated(self.k_proj(x_BTH).view(heads), self.k_norm, cos_BTD, sin_BTD)
        v_BKTD = self.v_proj(x_BTH).view(heads).transpose(1, 2)
        if cache is None:
            out_BNTD = attention(q_BNTD, k_BKTD, v_BKTD, is_causal=num_tokens > 1)
        else:
            out_BNTD = cache.attend(self.layer, q_BNTD, k_BKTD, v_BKTD)
        return self.o_proj(out_BNTD.transpose(1, 2).reshape(batch, num_tokens, -1))


def normed_and_rotated(x_BTND: Tensor, norm: RMSNorm, cos_BTD: Tensor, sin_BTD: Tensor) -> Tensor:
    """Each head normalised, then rotated. Shapes: (B, T, N, D) to (B, N, T, D)."""
    if native.can_turn(x_BTND.flatten(0, 1)):
        turned_MND = turn(x_BTND.flatten(0, 1), norm.weight, cos_BTD.flatten(0, 1), sin_BTD.flatten(0, 1), norm.eps)
        return turned_MND.view(x_BTND.shape).transpose(1, 2)
    return rotate(norm(x_BTND).transpose(1, 2), cos_BTD[:, None], sin_BTD[:, None])


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """Pre-norm attention and feed-forward (dense or sparse)."""

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.mlp: nn.Module
        if config.moe is not None and config.is_sparse(layer):
            self.mlp = SparseMLP(config.hidden_size, config.moe)
        else:
            self.mlp = MLP(config.hidden_size, config.intermediate_size)

    def forward(self, x_BTH: Tensor, cos_BTD: Tensor, sin_BTD: Tensor, cache: AttentionCache | None) -> Tensor:
        x_BTH = x_BTH + self.self_attn(self.input_layernorm(x_BTH), cos_BTD, sin_BTD, cache)
        return x_BTH + self.mlp(self.post_attention_layernorm(x_BTH))


class TextModel(nn.Module):
    """The decoder; parameter names equal the checkpoint's `model.language_model.*`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        x_BTH: Tensor,
        position_ids_3BT: Tensor,
        *,
        deepstack: Sequence[Tensor] = (),
        visual_mask_BT: Tensor | None = None,
        cache: AttentionCache | None = None,
    ) -> Tensor:
        """Run all layers.

        Shapes:  x (B, T, H); position_ids (3, B, T); deepstack: (V, H) each, in row-major order of the True
                 positions of visual_mask (B, T); returns (B, T, H).
        """
        inv_freq_F, scale = text_inv_freq(self.config.rope, self.config.head_dim)
        axes_F = mrope_axes(self.config.rope.mrope_section)
        cos, sin = mrope_cos_sin(position_ids_3BT, inv_freq_F.to(x_BTH.device), axes_F.to(x_BTH.device), scale)
        cos_BTD, sin_BTD = cos.to(x_BTH.dtype), sin.to(x_BTH.dtype)
        for index, layer in enumerate(self.layers):
            x_BTH = layer(x_BTH, cos_BTD, sin_BTD, cache)
            if visual_mask_BT is not None and index < len(deepstack):
                x_BTH = add_rows(x_BTH, visual_mask_BT, deepstack[index])
        if cache is not None:
            cache.advance(x_BTH.shape[1])
        return self.norm(x_BTH)


def add_rows(x_BTH: Tensor, mask_BT: Tensor, rows_VH: Tensor) -> Tensor:
    """Add rows to the True positions of the mask, leaving x itself unchanged."""
    added = torch.zeros_like(x_BTH)
    added[mask_BT] = rows_VH.to(x_BTH.dtype)
    return x_BTH + added
