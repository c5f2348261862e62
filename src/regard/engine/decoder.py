"""The text decoder as the engine runs it: the arithmetic of `model/text.py`, in fewer and larger operators.

A decoding row of a small model is over in a millisecond, of which the products take half; what is left is the number
of operators and of modules called. So here

    queries and keys    are normalised and rotated together, the halves of a head swapped once and the sign kept in sin
    rows                are flat, (R, H): no batch entry, no transposes, keys and values go to their slots as they are
    a few rows          on a CPU are normalised, rotated, stored and attended by native.c; many in bfloat16 normalised
                        and rotated
    the last layer      of a prompt's rows computes keys and values only; the rest for the rows that are wanted
    modules             are asked once for what they compute with, not once a token

Products stay the model's own, whatever they are (float, bfloat16, FP8, 8 or 4 bits), and so do sparse layers. The
weights are the model's, too: nothing is copied. In float32 the numbers equal the model's up to the order of sums;
in bfloat16 the norms round once instead of twice.

Shape letters: R rows, W wanted rows, H hidden size, N query heads, K key/value heads, D head_dim, V visual rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.engine.paged_cache import StepCache
from regard.kernels import native
from regard.model.config import TextConfig
from regard.model.rope import mrope_axes, mrope_cos_sin, text_inv_freq
from regard.model.text import MLP, DecoderLayer, TextModel

Product = Callable[[Tensor], Tensor]


class Decoder:
    """A view of a `TextModel` for flat rows of several sequences."""

    def __init__(self, model: TextModel) -> None:
        config = model.config
        self.head_dim, self.num_heads = config.head_dim, config.num_attention_heads
        self.layers = [Layer(cast(DecoderLayer, layer), config) for layer in model.layers]
        self.norm, self.eps = model.norm.weight.detach().float(), model.norm.eps
        inv_freq_F, self.scale = text_inv_freq(config.rope, config.head_dim)
        device = self.norm.device
        self.inv_freq_F, self.axes_F = inv_freq_F.to(device), mrope_axes(config.rope.mrope_section).to(device)

    def __call__(
        self,
        x_RH: Tensor,
        position_ids_3R: Tensor,
        cache: StepCache,
        *,
        visual_rows_V: Tensor | None = None,
        deepstack: Sequence[Tensor] = (),
        wanted: Wanted | None = None,
    ) -> Tensor:
        """Run all layers.

        Shapes:  x (R, H); position_ids (3, R); deepstack: (V, H) each, added to the rows `visual_rows` after the
                 first layers; returns (R, H), or of the wanted rows only, (W, H).
        """
        angles = self._angles(position_ids_3R, cache, x_RH.dtype)
        # A few rows are done in native.c's one pass; and what is added after the last layer needs its results.
        is_cut = wanted is not None and cache.runs is None and len(deepstack) < len(self.layers)
        num_full = len(self.layers) - is_cut
        for index, layer in enumerate(self.layers[:num_full]):
            x_RH = self._run(index, layer, x_RH, angles, cache)
            if visual_rows_V is not None and index < len(deepstack):
                x_RH = x_RH.index_add(0, visual_rows_V, deepstack[index].to(x_RH.dtype))
        if wanted is not None:
            x_WH = x_RH[wanted.rows_W]
            if is_cut:
                layer = self.layers[num_full]
                h_RH = _norm(cache)(x_RH, layer.input_norm, layer.eps)
                k_RKD = self._turned(layer.k(h_RH), layer.k_gain, layer.eps, angles, cache)
                cache.store(num_full, k_RKD, layer.v(h_RH).view(k_RKD.shape))
                if len(x_WH):
                    angles = self._angles(position_ids_3R[:, wanted.rows_W], wanted.cache, x_WH.dtype)
                    x_WH = self._run(num_full, layer, x_WH, angles, wanted.cache)
            x_RH = x_WH
        return _norm(cache)(x_RH, self.norm, self.eps)

    def _angles(self, position_ids_3R: Tensor, cache: StepCache, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines as `_turned` or native.c wants them."""
        cos_RD, sin_RD = mrope_cos_sin(position_ids_3R, self.inv_freq_F, self.axes_F, self.scale)
        if cache.runs is None and not _has_turn(cache, dtype):
            sin_RD[:, : self.head_dim // 2].neg_()
            return cos_RD.to(dtype)[:, None], sin_RD.to(dtype)[:, None]
        return cos_RD, sin_RD

    def _run(self, index: int, layer: Layer, x_RH: Tensor, angles: tuple[Tensor, Tensor], cache: StepCache) -> Tensor:
        """One layer. Shapes: x (R, H); returns (R, H)."""
        norm = _norm(cache)
        h_RH = norm(x_RH, layer.input_norm, layer.eps)
        if cache.runs is not None:
            turn = native.Turn(layer.q_gain, layer.k_gain, *angles, layer.eps)
            mixed_RQ = cache.turn_and_attend(index, layer.q(h_RH), layer.k(h_RH), layer.v(h_RH), turn)
        else:
            if _has_turn(cache, x_RH.dtype):
                q_RND = self._turned(layer.q(h_RH), layer.q_gain, layer.eps, angles, cache)
                k_RKD = self._turned(layer.k(h_RH), layer.k_gain, layer.eps, angles, cache)
            else:
                qk_RQ = torch.cat((layer.q(h_RH), layer.k(h_RH)), dim=-1)
                qk_RJD = self._turned(qk_RQ, layer.gain_JD, layer.eps, angles, cache)
                q_RND, k_RKD = qk_RJD[:, : self.num_heads], qk_RJD[:, self.num_heads :]
            v_RKD = layer.v(h_RH).view(k_RKD.shape)
            mixed_RQ = cache.attend(index, q_RND, k_RKD, v_RKD).reshape(len(x_RH), -1)
        x_RH = x_RH + layer.o(mixed_RQ)
        return x_RH + layer.mlp(norm(x_RH, layer.mlp_norm, layer.eps))

    def _turned(
        self, rows_RQ: Tensor, gain: Tensor, eps: float, angles: tuple[Tensor, Tensor], cache: StepCache
    ) -> Tensor:
        """Heads normalised and rotated; `gain` is one for all heads or of each. Shapes: returns (R, J, D)."""
        rows_RJD = rows_RQ.view(len(rows_RQ), -1, self.head_dim)
        if _has_turn(cache, rows_RQ.dtype):
            return native.turn_rows(rows_RJD, gain, *angles, eps)
        rows_RJD = F.rms_norm(rows_RJD, (self.head_dim,), None, eps) * gain.to(rows_RJD.dtype)
        first, second = rows_RJD.chunk(2, dim=-1)
        return torch.addcmul(rows_RJD * angles[0], torch.cat((second, first), dim=-1), angles[1])


@dataclass(frozen=True)
class Wanted:
    """The rows whose results are wanted, and the step of these rows alone. Shape: rows (W,)."""

    rows_W: Tensor
    cache: StepCache


def _norm(cache: StepCache) -> Callable[[Tensor, Tensor, float], Tensor]:
    return native.rms_norm if cache.is_native else rms_norm


def _has_turn(cache: StepCache, dtype: torch.dtype) -> bool:
    """Whether native.c normalises and rotates many rows: in float32 PyTorch's steps stay, sum for sum."""
    return cache.is_native and dtype == torch.bfloat16


class Layer:
    """What one decoder layer computes with. `gain_JD`: of the norms of all query heads, then of all key heads."""

    def __init__(self, layer: DecoderLayer, config: TextConfig) -> None:
        attention = layer.self_attn
        self.eps = layer.input_layernorm.eps
        self.input_norm = layer.input_layernorm.weight.detach().float()
        self.mlp_norm = layer.post_attention_layernorm.weight.detach().float()
        self.q, self.k, self.v, self.o = (
            product(linear) for linear in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        )
        self.q_gain, self.k_gain = attention.q_norm.weight.detach().float(), attention.k_norm.weight.detach().float()
        gains = (
            self.q_gain.expand(config.num_attention_heads, -1),
            self.k_gain.expand(config.num_key_value_heads, -1),
        )
        self.gain_JD = torch.cat(gains).to(attention.q_norm.weight.dtype)
        self.mlp = swiglu(layer.mlp) if isinstance(layer.mlp, MLP) else layer.mlp.forward


def rms_norm(x_RH: Tensor, gain_H: Tensor, eps: float) -> Tensor:
    """PyTorch's, with a float32 gain; rounded once."""
    return F.rms_norm(x_RH.float(), gain_H.shape, gain_H, eps).to(x_RH.dtype)


def product(linear: nn.Module) -> Product:
    """A linear layer without what a module does around its `forward`."""
    if type(linear) is nn.Linear:
        weight, bias = linear.weight, linear.bias
        return lambda x: F.linear(x, weight, bias)
    return cast(Product, linear.forward)


def swiglu(mlp: MLP) -> Product:
    """A dense feed-forward layer."""
    gate, up, down = product(mlp.gate_proj), product(mlp.up_proj), product(mlp.down_proj)

    def forward(x_RH: Tensor) -> Tensor:
        gate_RI, up_RI = gate(x_RH), up(x_RH)
        if gate_RI.dtype == torch.bfloat16 and gate_RI.device.type == "cpu" and native.library() is not None:
            return down(native.silu_mul_(gate_RI, up_RI))
        return down(F.silu(gate_RI).mul_(up_RI))

    return forward
