"""Layers that stand in for `nn.Linear` and the experts, and the models that they are put into."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import regard
from regard.errors import ConfigError
from regard.model.config import MoeConfig
from regard.model.moe import Experts
from regard.model.packed_linear import Int4Experts, Int4Linear, Int8Experts, Int8Linear, PackedLinear, PackedVisionMLP
from regard.model.qwen3_vl import Qwen3VL
from regard.weights import integer
from regard.weights.checkpoint import load_model
from regard.weights.integer import encode_int4, encode_int8, pack_model, quantise_model
from tests.timings import fixed_times, only
from tests.tiny import tiny_folder

CONFIG = MoeConfig(3, 2, moe_intermediate_size=64, decoder_sparse_step=1, mlp_only_layers=())
# Of Gaussian data: 8-bit weights and rows of x; 4-bit weights in groups of 32; bfloat16.
ERRORS = {"int8": 0.013, "int4": 0.09, "bf16": 0.004}


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(*, bias: bool) -> nn.Linear:
    made = nn.Linear(256, 96, bias=bias)
    made.weight.data = gaussian(96, 256, seed=1)
    return made.requires_grad_(False)


def parameters(tensors: dict[str, Tensor], prefix: str) -> dict[str, nn.Parameter]:
    return {prefix + suffix: nn.Parameter(tensor, requires_grad=False) for suffix, tensor in tensors.items()}


def filled(layer: nn.Module, tensors: dict[str, nn.Parameter]) -> nn.Module:
    for name, parameter in tensors.items():
        assert getattr(layer, name).shape == parameter.shape and getattr(layer, name).dtype == parameter.dtype, name
        setattr(layer, name, parameter)
    return layer


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["int8", "int4", "bf16"])
@pytest.mark.parametrize("num_rows", [1, 5, 40])
def test_a_layer_computes_what_the_plain_one_does_within_its_error(kind: str, bias: bool, num_rows: int) -> None:
    plain = linear(bias=bias)
    x = gaussian(2, num_rows, 256)
    expected = plain(x)
    if kind == "bf16":
        found = PackedLinear(plain.bfloat16(), fixed_times())(x.bfloat16())
    else:
        layer = Int8Linear(plain) if kind == "int8" else Int4Linear(plain, 32)
        encoded = encode_int8(plain.weight) if kind == "int8" else encode_int4(plain.weight, 32)
        filled(layer, parameters(encoded, "weight")).prepare(torch.float32, fixed_times())
        assert not [name for name, _ in layer.named_parameters() if name != "bias"], "a weight is not held twice"
        found = layer(x)
    assert found.shape == expected.shape
    assert (found.float() - expected).norm() < ERRORS[kind] * expected.norm()


@pytest.mark.parametrize("method", ["int8", "int4"])
def test_each_expert_computes_with_its_own_weights(method: str) -> None:
    plain = Experts(256, CONFIG)
    for seed, parameter in enumerate(plain.parameters()):
        parameter.data = gaussian(*parameter.shape, seed=seed) / 16
    plain.requires_grad_(False)
    layer = Int8Experts(256, CONFIG) if method == "int8" else Int4Experts(256, CONFIG, 32)
    for name in ("gate_up_proj", "down_proj"):
        matrices = [expert.t() for expert in getattr(plain, name)]
        encoded = [encode_int8(m) if method == "int8" else encode_int4(m, 32) for m in matrices]
        stacked = {suffix: torch.stack([one[suffix] for one in encoded]) for suffix in encoded[0]}
        filled(layer, parameters(stacked, name))
    layer.prepare(torch.float32, only("widened"))
    x, ids, weights = gaussian(9, 256), torch.arange(18).view(9, 2) % 3, torch.rand(9, 2)
    expected = plain(x, ids, weights)
    assert (layer(x, ids, weights) - expected).norm() < 3 * ERRORS[method] * expected.norm()
    assert (layer(x, (ids + 1) % 3, weights) - expected).norm() > 0.5 * expected.norm(), "experts differ"


# Models


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer, "Measurements", lambda **_: fixed_times())


@torch.no_grad()
def logits(model: Qwen3VL) -> Tensor:
    ids = torch.arange(3, 43)[None]
    return model(ids, torch.arange(40).expand(3, 1, 40)).float()


def test_layers_to_be_skipped_stay_plain(tmp_path: Path) -> None:
    model = load_model(tiny_folder(tmp_path / "model"))
    quantise_model(model, "int8", skip=("lm_head", "layers.0", "model.visual"))
    assert model.lm_head is None
    plain = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert all("layers.0." in name or "visual" in name for name in plain) and len(plain) > 7
    assert sum(isinstance(module, Int8Linear) for module in model.modules()) == 3 * 7
    logits(model)


@pytest.mark.parametrize("kernel", ["plain", "onednn", "widened"])
def test_a_bfloat16_model_is_packed_and_gives_the_same_up_to_rounding(
    tmp_path: Path, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integer, "Measurements", lambda **_: only(kernel))
    folder = tiny_folder(tmp_path / "model", tied=False)
    model, expected = load_model(folder, dtype="bfloat16"), logits(load_model(folder, dtype="bfloat16"))
    pack_model(model)
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    difference = (logits(model) - expected).norm() / expected.norm()
    assert difference == 0 if kernel == "plain" else difference < 0.05


@pytest.mark.parametrize("kernel", ["onednn", "widened"])
def test_gelu_inside_the_product_is_rounded_once_and_only_where_products_are_in_bfloat16(
    tmp_path: Path, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integer, "Measurements", lambda **_: only(kernel))
    folder = tiny_folder(tmp_path / "model")
    model, exact = load_model(folder, dtype="bfloat16"), load_model(folder, dtype="float32")
    plain = load_model(folder, dtype="bfloat16").model.visual.blocks[0].mlp
    pack_model(model)
    packed = model.model.visual.blocks[0].mlp
    assert isinstance(packed, PackedVisionMLP) == (kernel == "onednn")
    x_TD = torch.randn(7, exact.config.vision.hidden_size, generator=torch.Generator().manual_seed(0)).bfloat16()
    wanted = exact.model.visual.blocks[0].mlp(x_TD.float())

    def error(mlp: nn.Module) -> float:
        return float((mlp(x_TD).float() - wanted).norm() / wanted.norm())

    assert error(packed) <= 1.1 * error(plain) < 0.01


def test_a_model_that_is_too_large_to_be_packed_is_left_as_it_is(tmp_path: Path) -> None:
    model = load_model(tiny_folder(tmp_path / "model"), dtype="bfloat16")
    pack_model(model, max_bytes=1000)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())


# The option of `load`


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_model_is_quantised_while_it_is_loaded(tmp_path: Path, precision: str) -> None:
    llm = regard.load(str(tiny_folder(tmp_path / "model")), precision=precision, device="auto")
    assert llm.model.config.quantization is not None and llm.model.config.quantization.method == precision
    assert llm.device.value == "cpu" and "CPUs" in llm.device.reason
    assert llm.chat("Hello", max_tokens=8, temperature=0).token_ids


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_float_models_are_packed_on_a_cpu(tmp_path: Path, dtype: str) -> None:
    llm = regard.load(str(tiny_folder(tmp_path / "model")), dtype=dtype, device="cpu")
    kinds = {type(module) for module in llm.model.modules()}
    assert not kinds & {nn.Linear, Int8Linear, Int4Linear}
    assert any(isinstance(module, PackedLinear) for module in llm.model.modules())
    assert llm.chat("Hello", max_tokens=8, temperature=0).token_ids


def test_another_precision_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = str(tiny_folder(tmp_path / "model"))
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="precision is 'int3'; the choices are auto, int8, int4"):
        regard.load(folder, precision="int3")
