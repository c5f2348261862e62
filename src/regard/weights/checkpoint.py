"""From a model folder to a model in memory, strictly and with little memory.

    config.json -> the model on the meta device (no memory) -> quantised layers swapped in if the config says so
      -> headers of the weight files -> a plan (`names.py`): every parameter once, every tensor used
      -> tensor by tensor: mapped where nothing has to change, else converted and dropped

On the CPU a tensor that already has the wanted dtype stays a view of the mapped file: loading takes no time,
the pages are shared with other processes and come in when first used. (Measured: products with mapped weights
run at the speed of copied ones.) In every other case the peak is the weights plus one tensor.

It does not fetch checkpoints (`hub.py`), quantize them (`quantize.py`) or place parts of a model on several devices.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regard.errors import CheckpointError, ConfigError
from regard.kernels.fp8 import Fp8Kernel, choose_fp8_kernel
from regard.model.config import ModelConfig, QuantizationConfig
from regard.model.linear import Fp8Experts
from regard.model.qwen3_vl import Qwen3VL
from regard.weights.fp8 import use_fp8_layers
from regard.weights.integer import prepare_integer_layers, use_integer_layers
from regard.weights.names import EMBEDDING, LM_HEAD, Piece, plan_loading
from regard.weights.stored import TensorFolder, name_some

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_STORED_FLOATS = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_STORED_CODES = {"F8_E4M3": torch.float8_e4m3fn, "I8": torch.int8, "U8": torch.uint8}
STORED_DTYPES = _STORED_FLOATS | _STORED_CODES


def read_config(folder: Path) -> ModelConfig:
    """The architecture of a model folder. Raises CheckpointError or ConfigError with the file's name."""
    return ModelConfig.from_hf(read_config_json(folder))


def read_config_json(folder: Path) -> dict[str, Any]:
    """config.json as it is written, for whoever writes it again."""
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{folder} is not a model folder: it has no config.json; give one in the official layout")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is not valid JSON ({error}); download it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{file} holds a {type(config).__name__}; it must hold one JSON object")
    return config


def load_model(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> Qwen3VL:
    """Load a dense, MoE, FP8, INT8 or INT4 checkpoint for inference: eval mode, no gradients.

    dtype:   'auto' (what config.json names), 'float32', 'bfloat16' or 'float16'; quantised weights stay as they are.
    on_progress is called with the bytes filled so far and the bytes in all.
    Errors:  ConfigError for a wrong dtype, device or config; CheckpointError for wrong files.
    """
    config = read_config(folder)
    target, compute_dtype = _device(device), _compute_dtype(dtype, config)
    quantization = config.quantization
    if quantization is not None and quantization.method != "fp8" and target.type != "cpu":
        raise ConfigError(
            f"{folder} holds {quantization.method.upper()} weights, which are computed on CPUs only, and device "
            f"{device!r} was asked for; use device 'cpu', or the checkpoint that it was made from"
        )
    files = TensorFolder(folder)
    model = meta_model(config)
    if quantization is not None:
        kernel, _ = choose_fp8_kernel(target, quantization.weight_block_size, compute_dtype)
        use_quantised_layers(model, quantization, kernel)

    parameters = dict(model.named_parameters())
    plan = plan_loading(_shapes(parameters), _shapes(files.tensors), config)
    dtypes = {name: _wanted_dtype(name, parameter, compute_dtype) for name, parameter in parameters.items()}
    _check_dtypes(plan, dtypes, files)
    sizes = {name: parameter.numel() * dtypes[name].itemsize for name, parameter in parameters.items()}
    num_filled, num_bytes = 0, sum(sizes.values())
    for name, pieces in plan.items():
        tensor = read_parameter(pieces, parameters[name].shape, dtypes[name], target, files)
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, nn.Parameter(tensor, requires_grad=False))
        num_filled += sizes[name]
        if on_progress is not None:
            on_progress(num_filled, num_bytes)
    for module in model.modules():
        if isinstance(module, Fp8Experts):
            module.arrange()
    if config.tie_word_embeddings and model.lm_head is None and LM_HEAD in files.tensors:
        _check_tied(files)
    prepare_integer_layers(model, compute_dtype)
    return model.eval()


def meta_model(config: ModelConfig) -> Qwen3VL:
    """A model without memory: names, shapes and nothing in them."""
    with torch.device("meta"), _WithoutNormalInit():
        return Qwen3VL(config)


def use_quantised_layers(model: Qwen3VL, quantization: QuantizationConfig, kernel: Fp8Kernel) -> None:
    """Replace, in place and before weights are filled, the layers that the checkpoint stores quantised."""
    with torch.device("meta"):
        if quantization.method == "fp8":
            use_fp8_layers(model, quantization, kernel)
        else:
            use_integer_layers(model, quantization)


class _WithoutNormalInit(TorchFunctionMode):
    """Leaves `nn.init.normal_` out: on the meta device it fills nothing, yet costs 1.5 s and 76 MB of imports."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return kwargs["tensor"] if func is nn.init.normal_ else func(*args, **kwargs)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r} is unknown to PyTorch; use 'cpu', 'cuda', 'cuda:1' or 'mps'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r} was asked for, but PyTorch {torch.__version__} sees no CUDA GPU; use 'cpu'")
    return device


def _compute_dtype(name: str, config: ModelConfig) -> torch.dtype:
    wanted = config.dtype if name == "auto" else name
    if wanted not in DTYPES:
        source = "config.json names" if name == "auto" else "you asked for"
        raise ConfigError(f"{source} dtype {wanted!r}; use one of {', '.join(DTYPES)}")
    return DTYPES[wanted]


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _wanted_dtype(name: str, parameter: nn.Parameter, compute_dtype: torch.dtype) -> torch.dtype:
    """Codes and their scales keep the dtype that the quantised layers declare; the rest is computed with."""
    is_fixed = parameter.dtype in _STORED_CODES.values() or name.endswith(("_scale_inv", "_scale", "_zero"))
    return parameter.dtype if is_fixed else compute_dtype


def _check_dtypes(plan: Mapping[str, list[Piece]], dtypes: Mapping[str, torch.dtype], files: TensorFolder) -> None:
    """Every stored dtype is one that its parameter can take: codes for quantised layers, a float for all others."""
    codes = {dtype: stored for stored, dtype in _STORED_CODES.items()}
    wrong = [
        f"{piece.name} {stored}"
        for name, pieces in plan.items()
        for piece in pieces
        for stored in [files.tensors[piece.name].dtype]
        if (stored != codes[dtypes[name]] if dtypes[name] in codes else stored not in _STORED_FLOATS)
    ]
    if wrong:
        raise CheckpointError(
            f"the dtype of {len(wrong)} stored tensors does not fit config.json ({name_some(wrong)}); "
            f"known are {', '.join(_STORED_FLOATS)}, and {', '.join(_STORED_CODES)} for the layers that "
            "quantization_config covers"
        )


def read_parameter(
    pieces: list[Piece], shape: torch.Size, dtype: torch.dtype, device: torch.device, files: TensorFolder
) -> Tensor:
    """One parameter's values on the device, in its dtype; a view of the mapped file where nothing has to change."""
    first = pieces[0]
    if first.expert is None and not first.is_transposed:
        is_final = device.type == "cpu" and dtype == STORED_DTYPES[files.tensors[first.name].dtype]
        return files.mapped(first.name) if is_final else files.read(first.name).to(device, dtype)
    out = torch.empty(shape, dtype=dtype, device=device)
    for piece in pieces:
        tensor = files.read(piece.name)
        part = out if piece.expert is None else out[piece.expert]
        part = part if piece.columns is None else part[..., slice(*piece.columns)]
        part.copy_(tensor.transpose(-2, -1) if piece.is_transposed else tensor)
    return out


def _check_tied(files: TensorFolder) -> None:
    head, embedding = files.read(LM_HEAD), files.read(EMBEDDING)
    if not torch.equal(head, embedding):
        raise CheckpointError(
            f"config.json says that the embeddings are tied, but {LM_HEAD} differs from {EMBEDDING}; "
            "set tie_word_embeddings to false there if this checkpoint has a head of its own"
        )
