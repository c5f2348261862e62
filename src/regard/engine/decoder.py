"""The text decoder as the engine runs it: the arithmetic of `model/text.py`, in fewer and larger operators.

A decoding row of a small model is over in a millisecond, of which the products take half; what is left is the number
of operators and of modules called. So here

    queries and keys    are normalised and rotated together, the halves of a head swapped once and the sign kept in sin
    rows                are flat, (R, H): no batch entry, no transposes, keys and values go to their slots as they are
    a few rows          on a CPU are normalised, rotated, stored and attended by native.c; many in bfloat16 normalised
                        and rotated
    modules             are asked once for what they compute with, not once a token

Products stay the model's own, whatever they are (float, bfloat16, FP8, 8 or 4 bits), and so do sparse layers. The
weights are the model's, too: nothing is copied. In float32 the numbers equal the model's up to the order of sums;
in bfloat16 the norms round once instead of twice.

Shape letters: R rows, H hidden size, N query heads, K key/value heads, D head_dim, V visual rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    ) -> Tensor:
        """Run all layers.

        Shapes:  x (R, H); position_ids (3, R); deepstack: (V, H) each, added to the rows `visual_rows` after the
                 first layers; returns (R, H).
        """
        cos_RD, sin_RD = mrope_cos_sin(position_ids_3R, self.inv_freq_F, self.axes_F, self.scale)
        is_native = cache.runs is not None
        norm = native.rms_norm if cache.is_native else rms_norm
        has_turn = cache.is_native and x_RH.dtype == torch.bfloat16  # in float32 PyTorch's steps stay, sum for sum
        if not is_native and not has_turn:
            sin_RD[:, : self.head_dim // 2].neg_()
            cos_R1D, sin_R1D = cos_RD.to(x_RH.dtype)[:, None], sin_RD.to(x_RH.dtype)[:, None]
        for index, layer in enumerate(self.layers):
            h_RH = norm(x_RH, layer.input_norm, layer.eps)
            if is_native:
                turn = native.Turn(layer.q_gain, layer.k_gain, cos_RD, sin_RD, layer.eps)
                mixed_RQ = cache.turn_and_attend(index, layer.q(h_RH), layer.k(h_RH), layer.v(h_RH), turn)
            else:
                if has_turn:
                    heads = (len(x_RH), -1, self.head_dim)
                    q_RND = native.turn_rows(layer.q(h_RH).view(heads), layer.q_gain, cos_RD, sin_RD, layer.eps)
                    k_RKD = native.turn_rows(layer.k(h_RH).view(heads), layer.k_gain, cos_RD, sin_RD, layer.eps)
                else:
                    q_RND, k_RKD = self._queries_and_keys(layer, h_RH, cos_R1D, sin_R1D)
                v_RKD = layer.v(h_RH).view(k_RKD.shape)
                mixed_RQ = cache.attend(index, q_RND, k_RKD, v_RKD).reshape(len(x_RH), -1)
            x_RH = x_RH + layer.o(mixed_RQ)
            x_RH = x_RH + layer.mlp(norm(x_RH, layer.mlp_norm, layer.eps))
            if visual_rows_V is not None and index < len(deepstack):
                x_RH = x_RH.index_add(0, visual_rows_V, deepstack[index].to(x_RH.dtype))
        return norm(x_RH, self.norm, self.eps)

    def _queries_and_keys(self, layer: Layer, h_RH: Tensor, cos_R1D: Tensor, sin_R1D: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised and rotated. Shapes: returns (R, N, D) and (R, K, D)."""
        qk_RJD = torch.cat((layer.q(h_RH), layer.k(h_RH)), dim=-1).view(len(h_RH), -1, self.head_dim)
        qk_RJD = F.rms_norm(qk_RJD, (self.head_dim,), None, layer.eps) * layer.gain_JD
        first, second = qk_RJD.chunk(2, dim=-1)
        qk_RJD = torch.addcmul(qk_RJD * cos_R1D, torch.cat((second, first), dim=-1), sin_R1D)
        return qk_RJD[:, : self.num_heads], qk_RJD[:, self.num_heads :]


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
