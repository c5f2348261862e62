"""8-bit and 4-bit models for CPUs: which layers are quantised, loading them, and quantising a loaded model.

    int8   all linear layers of the vision blocks, the mergers and the decoder, the experts, and the head
    int4   the decoder's linear layers and experts in 4 bits; the vision tower, the mergers and the head in 8

What stays as it is: embeddings, norms, routers, the patch embedding, and layers that the user keeps by name. With tied
embeddings the head is an 8-bit copy of the embedding: reading it costs half as much for every token.

Our folders have the official names, with these tensors in place of a layer's `weight` (or of `gate_up_proj` and
`down_proj` of fused experts, then with the number of experts in front, and output first unlike the official files):

    int8   weight int8 (out, in)                        weight_scale float32 (out)
    int4   weight uint8 (out, in' / 2), two codes       weight_scale, weight_zero bfloat16 (out, groups)

How codes become numbers is said in `kernels/int8.py` and `kernels/int4.py`. In config.json `quantization_config` has
the quant_method "regard_int8" or "regard_int4", `ignored_layers` (kept layers), and for int4 `group_size` and
`int8_layers`. model_type and the architecture start with "regard_" and "Regard", so that programs that do not know the
format stop there: transformers only warns about an unknown quant_method and would take the codes for weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from regard.errors import ConfigError
from regard.kernels import native
from regard.kernels.choice import Measurements
from regard.kernels.int4 import GROUP_SIZES, MIDDLE, quantise_int4
from regard.kernels.int8 import quantise_int8
from regard.model.config import QuantizationConfig
from regard.model.moe import Experts, SparseMLP
from regard.model.packed_linear import (
    Int4Experts,
    Int4Linear,
    Int8Experts,
    Int8Linear,
    IntegerExperts,
    IntegerLinear,
    NativeVisionMLP,
    PackedLinear,
    PackedVisionMLP,
    can_fuse_gelu,
)
from regard.model.qwen3_vl import Qwen3VL
from regard.model.vision import VisionMLP
from regard.weights.fp8 import is_ignored
from regard.weights.gptq import Grid
from regard.weights.mapped import mapped_files, release_pages
from regard.weights.names import EMBEDDING

IntegerMethod = Literal["int8", "int4"]
Precision = Literal["auto", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("auto", "int8", "int4")
INT8_LAYERS = ("model.visual", "lm_head")  # of a 4-bit model
DEFAULT_GROUP = 128
HEAD = "lm_head"
SUFFIX = ".safetensors"


def integer_quantization(
    model: Qwen3VL, method: IntegerMethod, *, group: int = DEFAULT_GROUP, keep: tuple[str, ...] = ()
) -> QuantizationConfig:
    """How a model is quantised: routers and the layers in `keep` (names as in `is_ignored`) are left out.

    Errors:  ConfigError for a group size that there is no product for.
    """
    if group not in GROUP_SIZES:
        raise ConfigError(f"the group size is {group}; the choices are {', '.join(map(str, GROUP_SIZES))}")
    routers = (f"{name}.gate" for name, module in model.named_modules() if isinstance(module, SparseMLP))
    ignored = (*routers, *keep)
    if method == "int8":
        return QuantizationConfig(method="int8", ignored_layers=ignored)
    return QuantizationConfig(method="int4", ignored_layers=ignored, group_size=group, int8_layers=INT8_LAYERS)


def quantised_modules(model: Qwen3VL, quantization: QuantizationConfig) -> Iterator[tuple[str, nn.Module, bool]]:
    """(name, module, whether in 8 bits) of each layer to be quantised; the head of a tied model is not among them."""
    ignored, int8_layers = set(quantization.ignored_layers), set(quantization.int8_layers)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear | Experts) and not is_ignored(name, ignored):
            yield name, module, quantization.method == "int8" or is_ignored(name, int8_layers)


def use_integer_layers(model: Qwen3VL, quantization: QuantizationConfig) -> None:
    """Replace, in place and before weights are filled, the layers that our folder stores as integers."""
    for name, module, is_int8 in quantised_modules(model, quantization):
        _replace(model, name, _empty_layer(model, module, is_int8=is_int8, group=quantization.group_size))
    if has_tied_int8_head(model, quantization):
        model.lm_head = Int8Linear(_tied_head(model))


def has_tied_int8_head(model: Qwen3VL, quantization: QuantizationConfig) -> bool:
    """Whether the head is an 8-bit copy of the embedding."""
    return model.config.tie_word_embeddings and not is_ignored(HEAD, set(quantization.ignored_layers))


def prepare_integer_layers(model: Qwen3VL, dtype: torch.dtype) -> None:
    """Choose and pack the products of filled integer layers, if there are any."""
    layers = [module for module in model.modules() if isinstance(module, IntegerLinear | IntegerExperts)]
    measurements = Measurements(largest=model.get_parameter(EMBEDDING).detach()) if layers else None
    for layer in layers:
        assert measurements is not None
        layer.prepare(dtype, measurements)
    if model.device.type != "cpu" or dtype not in native.KINDS or native.library() is None:
        return
    for name, module in list(model.named_modules()):
        if isinstance(module, VisionMLP) and isinstance(module.linear_fc1, IntegerLinear):
            _replace(model, name, NativeVisionMLP(module))


def quantise_model(
    model: Qwen3VL,
    method: IntegerMethod,
    *,
    skip: tuple[str, ...] = (),
    group: int = DEFAULT_GROUP,
) -> None:
    """Quantise a loaded model in place, layer by layer: at no time is more than one layer held in both forms.

    skip:    names of layers to be left as they are (see `is_ignored`).
    Errors:  ConfigError if the model is quantised already or is not on the CPU.
    """
    if model.config.quantization is not None:
        raise ConfigError(f"the checkpoint is {model.config.quantization.method} already; load it as it is")
    if model.device.type != "cpu":
        raise ConfigError(
            f"{method} is computed on CPUs only and the device is {str(model.device)!r}; use device 'cpu'"
        )
    quantization = integer_quantization(model, method, group=group, keep=skip)
    measurements, dtype = Measurements(largest=model.get_parameter(EMBEDDING).detach()), model.dtype
    chosen, mapped = list(quantised_modules(model, quantization)), mapped_files(SUFFIX)
    for number, (name, module, is_int8) in enumerate(chosen):
        with torch.device("meta"):
            layer = _empty_layer(model, module, is_int8=is_int8, group=group)
        _fill(layer, module, group)
        layer.prepare(dtype, measurements)
        _replace(model, name, layer)
        _release(module, mapped)
        chosen[number] = name, nn.Identity(), is_int8  # lets go of the float weights
    if has_tied_int8_head(model, quantization):
        with torch.device("meta"):
            head = Int8Linear(_tied_head(model))
        embedding = nn.Linear(1, 1, bias=False, device="meta")
        embedding.weight = model.get_parameter(EMBEDDING)
        _fill(head, embedding, group)
        head.prepare(dtype, measurements)
        model.lm_head = head
        _release(embedding, mapped)
    model.config = replace(model.config, quantization=quantization)


def pack_model(model: Qwen3VL, max_bytes: int | None = None) -> None:
    """Give the linear layers of a float model on a CPU the product measured to be the fastest, in place.

    Where that is not PyTorch's own, a layer holds a packed copy in memory instead of pages of the mapped file; a model
    whose layers take more than `max_bytes` is left as it is.
    """
    mapped = mapped_files(SUFFIX)
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if max_bytes is not None and sum(module.weight.nbytes for _, module in layers) > max_bytes:
        return
    measurements = Measurements(largest=model.get_parameter(EMBEDDING).detach())
    for name, module in list(model.named_modules()):
        if isinstance(module, VisionMLP) and can_fuse_gelu(module, measurements):
            _replace(model, name, PackedVisionMLP(module, measurements))
            _release(module.linear_fc1, mapped)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            layer = PackedLinear(module, measurements)
            _replace(model, name, layer)
            if not layer.product.needs_weight:
                _release(module, mapped)
    if model.lm_head is None:
        embedding = nn.Linear(1, 1, bias=False, device="meta")
        embedding.weight = model.get_parameter(EMBEDDING)
        model.lm_head = PackedLinear(embedding, measurements, may_copy=False)


def check_precision(precision: str, quantization: QuantizationConfig | None) -> None:
    """Raise ConfigError if a checkpoint cannot be loaded in this precision."""
    if precision not in PRECISIONS:
        raise ConfigError(f"precision is {precision!r}; the choices are {', '.join(PRECISIONS)}")
    if precision != "auto" and quantization is not None:
        raise ConfigError(
            f"precision {precision!r} was asked for and the checkpoint is {quantization.method} already; "
            "leave precision at 'auto', or load the checkpoint that it was made from"
        )


def use_precision(model: Qwen3VL, precision: Precision, max_bytes: int | None = None) -> None:
    """Quantise a loaded model as asked; for "auto" pack a float model on a CPU (`pack_model`)."""
    if precision != "auto":
        quantise_model(model, precision)
    elif (
        model.device.type == "cpu"
        and model.dtype in (torch.bfloat16, torch.float32)
        and model.config.quantization is None
    ):
        pack_model(model, max_bytes)


def encode_int8(matrix_NK: Tensor) -> dict[str, Tensor]:
    """The tensors of an 8-bit matrix by the suffix of their name."""
    weight = quantise_int8(matrix_NK)
    return {"": weight.codes_NK, "_scale": weight.scale_N}


def encode_int4(matrix_NK: Tensor, group: int) -> dict[str, Tensor]:
    """The tensors of a 4-bit matrix by the suffix of their name."""
    weight = quantise_int4(matrix_NK, group)
    return {"": weight.codes, "_scale": weight.scale_NG, "_zero": weight.zero_NG}


def int8_grid(encoded: dict[str, Tensor], columns: int) -> Grid:
    """The values that are possible with an 8-bit matrix's scales."""
    scale_NK = encoded["_scale"][:, None].expand(-1, columns)
    return Grid(scale_NK, torch.zeros(1, 1).expand_as(scale_NK), lambda level: level.round().clamp(-127, 127))


def int4_grid(encoded: dict[str, Tensor], columns: int) -> Grid:
    """The values that are possible with a 4-bit matrix's scales and zeros."""
    group = 2 * encoded[""].shape[1] // encoded["_scale"].shape[1]
    scale_NK, zero_NK = (encoded[s].float().repeat_interleave(group, 1)[:, :columns] for s in ("_scale", "_zero"))
    return Grid(scale_NK, zero_NK, lambda level: level.round().clamp(-MIDDLE, 15 - MIDDLE))


def _empty_layer(model: Qwen3VL, module: nn.Module, *, is_int8: bool, group: int) -> IntegerLinear | IntegerExperts:
    if isinstance(module, nn.Linear):
        return Int8Linear(module) if is_int8 else Int4Linear(module, group)
    text = model.config.text
    assert text.moe is not None
    return Int8Experts(text.hidden_size, text.moe) if is_int8 else Int4Experts(text.hidden_size, text.moe, group)


def _fill(layer: IntegerLinear | IntegerExperts, module: nn.Module, group: int) -> None:
    """Quantise a plain layer's weights into an integer layer."""

    def encode(matrix_NK: Tensor) -> dict[str, Tensor]:
        is_int8 = isinstance(layer, Int8Linear | Int8Experts)
        return encode_int8(matrix_NK) if is_int8 else encode_int4(matrix_NK, group)

    if isinstance(module, nn.Linear):
        stored = {f"weight{suffix}": tensor for suffix, tensor in encode(module.weight.detach()).items()}
    else:
        stored = {}
        for name in ("gate_up_proj", "down_proj"):
            experts = [encode(expert_KN.t()) for expert_KN in getattr(module, name).detach()]
            for suffix in experts[0]:
                stored[name + suffix] = torch.stack([expert[suffix] for expert in experts])
    for name, tensor in stored.items():
        setattr(layer, name, nn.Parameter(tensor, requires_grad=False))


def _release(module: nn.Module, mapped: Sequence[range]) -> None:
    """Take a layer's weights, of which there is a copy now, out of this process's memory if they are a mapped file."""
    for parameter in module.parameters():
        release_pages(parameter.data_ptr(), parameter.nbytes, mapped)


def _tied_head(model: Qwen3VL) -> nn.Linear:
    """The shape of the head, on the meta device."""
    text = model.config.text
    return nn.Linear(text.hidden_size, text.vocab_size, bias=False, device="meta")


def _replace(model: Qwen3VL, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, layer)
