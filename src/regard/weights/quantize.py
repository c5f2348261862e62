"""A checkpoint folder -> a smaller one in FP8, INT8 or INT4, tensor by tensor.

    fp8    the official layout (float8_e4m3fn, a float32 scale for each 128x128 block, the decoder only): read by this
           package, by transformers and by vLLM
    int8   this package's own formats for CPUs (`integer.py`)
    int4

The source is mapped, as it is when it is loaded, and read once. Peak memory is one tensor and the piece of its
quantised form that is being written. The folder appears when it is complete (`new_folder.py`).

FP8 keeps what the official files keep (the vision tower, embeddings, the head, norms, routers), and matrices whose
sides are not multiples of 128, which other programs refuse. It also keeps together what other programs compute
together: queries, keys and values; gate and up.

Weights are rounded to the nearest code, or, with the moments of their inputs on a calibration set, so that a layer's
outputs change least (`gptq.py`): the decoder's linear layers; the tower, the head and experts to the nearest always.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from regard.errors import CheckpointError, ConfigError
from regard.kernels.fp8 import E4M3_MAX, dequantise, dequantised_linear
from regard.kernels.int4 import Int4Weight, pack_codes
from regard.kernels.int8 import Int8Weight
from regard.model.config import OWN, ModelConfig, QuantizationConfig
from regard.model.linear import Fp8Experts, Fp8Linear
from regard.model.moe import Experts, SparseMLP
from regard.model.packed_linear import Int4Experts, Int4Linear, Int8Experts, Int8Linear
from regard.model.qwen3_vl import Qwen3VL
from regard.weights.checkpoint import STORED_DTYPES, meta_model, read_config_json, read_parameter, use_quantised_layers
from regard.weights.fp8 import is_ignored, quantise_blocks
from regard.weights.gptq import Grid, InputMoments, compensated_levels, output_square
from regard.weights.integer import (
    DEFAULT_GROUP,
    HEAD,
    encode_int4,
    encode_int8,
    int4_grid,
    int8_grid,
    integer_quantization,
)
from regard.weights.names import EMBEDDING, Piece, plan_loading
from regard.weights.new_folder import check_new, copy_side_files, new_folder
from regard.weights.save import MAX_SHARD_BYTES
from regard.weights.shards import ShardWriter
from regard.weights.stored import TensorFolder

Method = Literal["fp8", "int8", "int4"]
METHODS: tuple[Method, ...] = ("fp8", "int8", "int4")
FP8_BLOCK = (128, 128)
CHUNK_VALUES = 4_000_000  # of a tensor are quantised at a time
_TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
_EXPERT_TENSORS = ("gate_up_proj", "down_proj")
_OFFICIAL = "kept in the official FP8 files"
_CODES = (torch.float8_e4m3fn, torch.int8, torch.uint8)

Encoded = dict[str, Tensor]  # by what follows the parameter's name: "", "_scale", ...


@dataclass(frozen=True)
class LayerReport:
    """One quantised matrix, or all experts' of a layer; the error is root mean square over root mean square."""

    name: str
    method: Method
    num_bytes_before: int
    num_bytes_after: int
    relative_error: float
    output_error: float | None  # of the outputs on the calibration set, where there was one


@dataclass(frozen=True)
class QuantizeReport:
    """What was done; `kept` has the layers left as they were, and why."""

    method: Method
    num_bytes_before: int
    num_bytes_after: int
    layers: tuple[LayerReport, ...]
    kept: Mapping[str, str]


@dataclass(frozen=True)
class Codec:
    """One format. `decode` takes what `encode` made and the number of columns, and gives float32.

    `grid` says what values are possible with the scales that `encode` made, and `pack` makes codes of their levels.
    """

    method: Method
    encode: Callable[[Tensor], Encoded]
    decode: Callable[[Encoded, int], Tensor]
    grid: Callable[[Encoded, int], Grid]
    pack: Callable[[Tensor], Tensor]


def quantize(
    folder: Path,
    out: Path,
    method: Method,
    *,
    group: int | None = None,
    keep: Sequence[str] = (),
    inputs: InputMoments | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    on_progress: Callable[[int, int], None] | None = None,
) -> QuantizeReport:
    """Write `folder` quantised to `out`, which must be new or empty.

    group:   inputs that share a scale, for int4 only.
    inputs:  of the same model on a calibration set, or None to round to the nearest.
    keep:    layers to be left as they are: names as in `is_ignored`, or patterns with * over whole names.
    on_progress is called with the bytes written so far and the bytes in all.
    Errors:  ConfigError, CheckpointError; CapacityError if the disk is too full.
    """
    if method not in METHODS:
        raise ConfigError(f"the format is {method!r}; the choices are {', '.join(METHODS)}")
    if group is not None and method != "int4":
        raise ConfigError(f"a group size, {group}, was given for {method}; only int4 has groups, leave it out")
    check_new(out)
    hf_config = read_config_json(folder)
    config = ModelConfig.from_hf(hf_config)
    if config.quantization is not None:
        raise ConfigError(f"{folder} is quantised already, to {config.quantization.method}; give the original folder")
    source = _open_source(folder, config)
    quantization, kept = choose_layers(source.model, method, group or DEFAULT_GROUP, keep)
    target = meta_model(config)
    use_quantised_layers(target, quantization, dequantised_linear)
    if not any(codec_of(module, quantization) for module in target.modules()):
        reasons = [why for why in kept.values() if why != _OFFICIAL]
        raise ConfigError(f"nothing in {folder} can be quantised to {method}: {reasons[0] if reasons else _OFFICIAL}")
    tensors = _announced(target, source)
    num_bytes = sum(tensor.nbytes for tensor in tensors.values())
    with new_folder(out, num_bytes) as partial:
        with ShardWriter(partial, tensors, max_shard_bytes, on_progress) as writer:
            layers = tuple(_write(target, quantization, source, inputs, writer))
        copy_side_files(folder, partial)
        text = json.dumps(_hf_config(hf_config, quantization), indent=2, ensure_ascii=False)
        (partial / "config.json").write_text(text + "\n", encoding="utf-8")
    return QuantizeReport(method, source.num_bytes, num_bytes, layers, kept)


def codec_of(module: nn.Module, quantization: QuantizationConfig) -> Codec | None:
    """How a layer's matrices are stored; None for a layer that is not quantised."""
    if isinstance(module, Fp8Linear | Fp8Experts):
        return Codec(
            "fp8",
            _encode_fp8,
            lambda e, _: dequantise(e[""], e["_scale_inv"], FP8_BLOCK, torch.float32),
            _fp8_grid,
            lambda levels: levels.to(torch.float8_e4m3fn),
        )
    if isinstance(module, Int8Linear | Int8Experts):
        return Codec(
            "int8",
            encode_int8,
            lambda e, _: Int8Weight(e[""], e["_scale"]).widened(),
            int8_grid,
            lambda levels: levels.to(torch.int8),
        )
    if isinstance(module, Int4Linear | Int4Experts):
        return Codec(
            "int4",
            lambda matrix: encode_int4(matrix, quantization.group_size),
            lambda e, columns: Int4Weight(e[""], e["_scale"], e["_zero"], columns).widened(),
            int4_grid,
            lambda levels: pack_codes(levels, quantization.group_size),
        )
    return None


def choose_layers(
    model: Qwen3VL, method: Method, group: int, keep: Sequence[str]
) -> tuple[QuantizationConfig, dict[str, str]]:
    """What config.json will say, and the layers that stay as they are with the reason.

    Errors:  ConfigError for an entry of `keep` that fits no layer, or a wrong group size.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Experts)}
    names = [*layers, *([HEAD] if HEAD not in layers and method != "fp8" else [])]
    kept: dict[str, str] = {}
    for entry in keep:
        found = [name for name in names if fnmatchcase(name, entry) or is_ignored(name, {entry})]
        if not found:
            raise ConfigError(f"--keep {entry}: no layer is named so; give a part such as down_proj, or *.layers.0.*")
        kept |= dict.fromkeys(found, f"kept by {entry}")
    if method != "fp8":
        quantization = integer_quantization(model, method, group=group, keep=tuple(kept))
        routers = dict.fromkeys((n for n in names if n.endswith(".mlp.gate")), "a router")
        return quantization, kept | routers
    official = _official_ignored(model)
    for name, module in layers.items():
        if is_ignored(name, set(official)):
            kept.setdefault(name, _OFFICIAL)
        elif not _is_whole(module):
            kept.setdefault(name, f"its sides, {_sides(module)}, are not multiples of {FP8_BLOCK[0]}")
    for name in list(kept):
        parent, _, leaf = name.rpartition(".")
        for siblings in _TOGETHER:
            if leaf in siblings:
                others = (f"{parent}.{other}" for other in siblings if other != leaf)
                kept |= {other: f"computed together with {leaf}" for other in others if other not in kept}
    own = [name for name in kept if not is_ignored(name, set(official))]
    return QuantizationConfig(weight_block_size=FP8_BLOCK, ignored_layers=(*official, *own)), kept


def _official_ignored(model: Qwen3VL) -> list[str]:
    """What the official files list: the head, the vision tower's modules under both prefixes, the routers."""
    vision = [
        name.removeprefix("model.")
        for name, module in model.named_modules()
        if name.startswith("model.visual.") and isinstance(module, nn.Linear | nn.Conv3d | nn.Embedding)
    ]
    fused = [name.replace(".qkv", ".qkv_proj") for name in vision if name.endswith(".qkv")]
    routers = [f"{name}.gate" for name, module in model.named_modules() if isinstance(module, SparseMLP)]
    return [HEAD, *(f"model.{name}" for name in vision), *vision, *fused, *routers]


def _sides(module: nn.Module) -> str:
    return " and ".join("x".join(map(str, p.shape[-2:])) for p in module.parameters() if p.dim() > 1)


def _is_whole(module: nn.Module) -> bool:
    matrices = [parameter for parameter in module.parameters() if parameter.dim() > 1]
    return all(side % FP8_BLOCK[0] == 0 for parameter in matrices for side in parameter.shape[-2:])


@dataclass(frozen=True)
class _Source:
    """The checkpoint to be quantised: its files, and how they fill the model's parameters."""

    model: Qwen3VL
    files: TensorFolder
    plan: Mapping[str, list[Piece]]

    @property
    def num_bytes(self) -> int:
        return sum(self.files.mapped(name).nbytes for name in self.files.tensors)

    def dtype(self, name: str) -> torch.dtype:
        """The dtype in which a parameter is stored. Errors: CheckpointError if it is none of the floats."""
        first = self.plan[name][0].name
        stored = self.files.tensors[first].dtype
        dtype = STORED_DTYPES.get(stored)
        if dtype is None or dtype in _CODES:
            raise CheckpointError(f"{first} is stored as {stored}; a checkpoint to be quantised holds floats")
        return dtype

    def read(self, name: str) -> Tensor:
        """A parameter in the official orientation; its pages are let go with the tensor."""
        first = self.plan[name][0]
        if first.expert is None and not first.is_transposed:
            return self.files.read(first.name)
        shape = self.model.get_parameter(name).shape
        return read_parameter(self.plan[name], shape, self.dtype(name), torch.device("cpu"), self.files)


def _open_source(folder: Path, config: ModelConfig) -> _Source:
    model, files = meta_model(config), TensorFolder(folder)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    plan = plan_loading(shapes, {name: stored.shape for name, stored in files.tensors.items()}, config)
    return _Source(model, files, plan)


def _announced(target: Qwen3VL, source: _Source) -> dict[str, Tensor]:
    """Names, dtypes and shapes of the new files: plain tensors keep the dtype they have."""
    announced = {}
    for name, parameter in target.named_parameters():
        is_plain = name in source.plan and parameter.dtype not in _CODES
        dtype = source.dtype(name) if is_plain else parameter.dtype
        announced[name] = torch.empty(parameter.shape, dtype=dtype, device="meta")
    return announced


def _write(
    target: Qwen3VL,
    quantization: QuantizationConfig,
    source: _Source,
    inputs: InputMoments | None,
    writer: ShardWriter,
) -> Iterator[LayerReport]:
    """Write all tensors; the scales of a quantised one are written with it."""
    for module_name, module in target.named_modules():
        codec = codec_of(module, quantization)
        for leaf, parameter in module.named_parameters(recurse=False):
            name = f"{module_name}.{leaf}"
            if codec is not None and parameter.dtype in _CODES:
                yield _write_quantised(name, codec, source, inputs, writer)
            elif name in source.plan:
                writer.append(name, source.read(name))


def _write_quantised(
    name: str, codec: Codec, source: _Source, inputs: InputMoments | None, writer: ShardWriter
) -> LayerReport:
    """Quantise one parameter piece by piece and measure its error on the way."""
    is_tied_head = name not in source.plan
    tensor = source.read(EMBEDDING if is_tied_head else name)
    layer = name.removesuffix(".weight")
    factor_KK = inputs.factor(layer) if inputs is not None else None
    moments_KK = inputs.moments(layer) if inputs is not None else None
    squares = squared_error = output_squares = output_squared_error = 0.0
    num_after = 0
    for matrix in _matrices(tensor, is_output_first=codec.method != "fp8"):
        encoded, values = codec.encode(matrix), matrix.float()
        if factor_KK is not None:
            levels = compensated_levels(values, factor_KK, codec.grid(encoded, values.shape[1]))
            encoded |= {"": codec.pack(levels)}
        for suffix, piece in encoded.items():
            writer.append(name + suffix, piece)
            num_after += piece.nbytes
        change = codec.decode(encoded, matrix.shape[1]) - values
        squares += float(values.square().sum())
        squared_error += float(change.square().sum())
        if moments_KK is not None:
            output_squares += output_square(values, moments_KK)
            output_squared_error += output_square(change, moments_KK)
    if not math.isfinite(squares):
        raise CheckpointError(f"{name} holds values that are infinite or undefined; it cannot be quantised")
    before = 0 if is_tied_head else tensor.nbytes
    output_error = None if moments_KK is None else _relative(output_squared_error, output_squares)
    return LayerReport(layer, codec.method, before, num_after, _relative(squared_error, squares), output_error)


def _relative(squared_error: float, squares: float) -> float:
    """Root mean square over root mean square; 0 of nothing."""
    return (squared_error / squares) ** 0.5 if squares > 0 else 0.0


def _matrices(source: Tensor, *, is_output_first: bool) -> Iterator[Tensor]:
    """Some rows at a time of a matrix, or of each expert's, which the official files hold input first."""
    matrices = [source] if source.dim() == 2 else [m.t() if is_output_first else m for m in source]
    for matrix in matrices:
        step = max(FP8_BLOCK[0], CHUNK_VALUES // matrix.shape[1] // FP8_BLOCK[0] * FP8_BLOCK[0])
        yield from matrix.split(step)


def _encode_fp8(matrix: Tensor) -> Encoded:
    codes, scale_inv = quantise_blocks(matrix, FP8_BLOCK)
    return {"": codes, "_scale_inv": scale_inv}


def _fp8_grid(encoded: Encoded, columns: int) -> Grid:
    codes, scale_inv = encoded[""], encoded["_scale_inv"]
    scale_NK = scale_inv.repeat_interleave(FP8_BLOCK[0], 0).repeat_interleave(FP8_BLOCK[1], 1)
    scale_NK = scale_NK[: len(codes), :columns]

    def snap(level: Tensor) -> Tensor:
        return level.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).float()

    return Grid(scale_NK, torch.zeros(1, 1).expand_as(scale_NK), snap)


def _hf_config(hf_config: Mapping[str, Any], quantization: QuantizationConfig) -> dict[str, Any]:
    """config.json of the new folder."""
    ignored = list(quantization.ignored_layers)
    if quantization.method == "fp8":
        described = {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "weight_block_size": list(FP8_BLOCK),
            "ignored_layers": ignored,
        }
        return {**hf_config, "quantization_config": described}
    own: dict[str, Any] = {"quant_method": OWN + quantization.method, "ignored_layers": ignored}
    if quantization.method == "int4":
        own |= {"group_size": quantization.group_size, "int8_layers": list(quantization.int8_layers)}
    renamed = {
        "model_type": OWN + hf_config["model_type"],
        "architectures": [OWN.removesuffix("_").title() + name for name in hf_config.get("architectures") or ()],
    }
    return {**hf_config, **renamed, "quantization_config": own}
