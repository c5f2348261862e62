"""Calibrated rounding: outputs come closer, files keep their form, and the moments are those of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from regard.kernels.fp8 import dequantised_linear
from regard.model.config import QuantizationConfig
from regard.model.linear import Fp8Linear
from regard.model.packed_linear import Int4Linear, Int8Linear
from regard.model.qwen3_vl import Qwen3VL
from regard.weights.checkpoint import load_model
from regard.weights.gptq import MAX_ROWS, InputMoments, compensated_levels, inverse_factor, output_square
from regard.weights.quantize import Codec, codec_of, quantize
from tests.tiny import tiny_folder

K, N = 160, 200
methods = pytest.mark.parametrize("method", ["fp8", "int8", "int4"])


def codec(method: str) -> Codec:
    linear = nn.Linear(K, N, bias=False)
    layers: dict[str, nn.Module] = {
        "fp8": Fp8Linear(linear, (128, 128), dequantised_linear),
        "int8": Int8Linear(linear),
        "int4": Int4Linear(linear, 64),
    }
    found = codec_of(layers[method], QuantizationConfig(group_size=64))
    assert found is not None
    return found


def rounded(codec: Codec, matrix_NK: Tensor, moments_KK: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """To the nearest codes, and so that outputs are closest."""
    nearest = codec.encode(matrix_NK)
    levels = compensated_levels(matrix_NK, inverse_factor(moments_KK), codec.grid(nearest, K))
    return nearest, {**nearest, "": codec.pack(levels)}


def alike(num_rows: int = 400) -> Tensor:
    """Inputs that are alike, as a model's are: a tenth as many directions as there are inputs, and a little of all."""
    torch.manual_seed(1)
    return torch.randn(num_rows, K // 10) @ torch.randn(K // 10, K) + 0.1 * torch.randn(num_rows, K)


@methods
def test_outputs_come_closer_though_weights_do_not(method: str) -> None:
    matrix_NK, x_RK, form = torch.randn(N, K), alike(), codec(method)
    nearest, calibrated = rounded(form, matrix_NK, x_RK.T @ x_RK)
    assert {name: (t.dtype, t.shape) for name, t in nearest.items()} == {
        name: (t.dtype, t.shape) for name, t in calibrated.items()
    }
    changes = [form.decode(encoded, K) - matrix_NK for encoded in (nearest, calibrated)]
    before, after = ((x_RK @ change_NK.T).norm() for change_NK in changes)
    assert after < 0.5 * before
    assert changes[1].norm() > changes[0].norm()
    assert output_square(changes[0], x_RK.T @ x_RK) == pytest.approx(float(before) ** 2, rel=1e-3)


@methods
def test_inputs_that_have_nothing_to_do_with_each_other_make_it_nearest_rounding(method: str) -> None:
    form = codec(method)
    nearest, calibrated = rounded(form, torch.randn(N, K), 3 * torch.eye(K))
    assert torch.equal(form.decode(nearest, K), form.decode(calibrated, K))


def test_inputs_that_never_come_or_always_come_together_are_no_hindrance() -> None:
    form, matrix_NK = codec("int8"), torch.randn(N, K)
    for moments_KK in (torch.zeros(K, K), torch.ones(K, K), 1e12 * torch.ones(K, K)):
        decoded = form.decode(rounded(form, matrix_NK, moments_KK)[1], K)
        assert decoded.isfinite().all() and (decoded - matrix_NK).abs().max() < 1


def runs(model: Qwen3VL, seen: list[int], num: int = 3) -> list[Callable[[], object]]:
    """Texts of different lengths; `seen` counts how many layers each run went through."""

    def run(index: int) -> None:
        num_tokens = 20 + index
        ids = torch.arange(5 * index, 5 * index + num_tokens)[None]
        seen.append(0)
        model(ids, torch.arange(num_tokens).expand(3, 1, num_tokens))

    def count(*_: Any) -> None:
        seen[-1] += 1

    for layer in model.model.language_model.layers:
        layer.register_forward_pre_hook(count)
    return [partial(run, index) for index in range(num)]


@pytest.mark.parametrize("options", [{}, {"moe": True, "tied": False}], ids=["dense", "moe"])
@torch.no_grad()
def test_moments_are_those_of_what_each_layer_is_given_however_few_fit(tmp_path: Path, options: Any) -> None:
    model = load_model(tiny_folder(tmp_path / "tiny", **options), dtype="float32")
    seen: list[int] = []
    samples = runs(model, seen)
    attention = model.model.language_model.layers[1].self_attn
    given: list[Tensor] = []
    handle = attention.register_forward_pre_hook(lambda _, args: given.append(args[0][0]))
    for sample in samples:
        sample()
    handle.remove()
    wanted = sum((x.T @ x for x in given), start=torch.zeros(()))
    name = "model.language_model.layers.1.self_attn."
    names = [
        f"model.language_model.{n}" for n, m in model.model.language_model.named_modules() if isinstance(m, nn.Linear)
    ]
    whole, small = InputMoments(model, samples), InputMoments(model, samples, max_bytes=1)
    for part in ("q_proj", "k_proj", "v_proj"):
        assert torch.allclose(whole.moments(name + part), wanted, rtol=1e-4, atol=1e-4)  # type: ignore[arg-type]
    seen.clear()
    for each in names:
        found, again = whole.moments(each), small.moments(each)
        assert (found is None) == (again is None) == each.endswith(".mlp.gate")
        assert found is None or torch.equal(found, again)  # type: ignore[arg-type]
    # One at a time: runs for every input, no further than its layer; all at once: none more.
    num_layers = len(model.model.language_model.layers)
    assert set(seen) == set(range(1, num_layers + 1)) and len(seen) % 3 == 0 and len(seen) > 3 * num_layers
    assert whole.moments("model.visual.blocks.0.attn.qkv") is None and whole.factor("lm_head") is None


@torch.no_grad()
def test_of_a_long_text_rows_all_over_it_are_counted(tmp_path: Path) -> None:
    model = load_model(tiny_folder(tmp_path / "tiny"), dtype="float32")
    num_tokens = 2 * MAX_ROWS + 100
    given: list[Tensor] = []
    first = model.model.language_model.layers[0].self_attn
    first.register_forward_pre_hook(lambda _, args: given.append(args[0][0]))
    ids = torch.arange(num_tokens)[None] % 50

    def run() -> None:
        model(ids, torch.arange(num_tokens).expand(3, 1, num_tokens))

    found = InputMoments(model, [run]).moments("model.language_model.layers.0.self_attn.q_proj")
    every_third = given[0][::3]
    assert found is not None and torch.allclose(found, every_third.T @ every_third, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["int8", "int4"])
@torch.no_grad()
def test_a_calibrated_folder_has_the_same_tensors_and_closer_outputs(tmp_path: Path, method: Any) -> None:
    source = tiny_folder(tmp_path / "source")
    model = load_model(source, dtype="float32")
    group = 32 if method == "int4" else None
    inputs = InputMoments(model, runs(model, [], num=8))
    calibrated = quantize(source, tmp_path / "calibrated", method, group=group, inputs=inputs)
    quantize(source, tmp_path / "nearest", method, group=group)
    files = [load_file(tmp_path / name / "model.safetensors") for name in ("nearest", "calibrated")]
    shapes = [{name: (tensor.dtype, tensor.shape) for name, tensor in file.items()} for file in files]
    assert shapes[0] == shapes[1]
    changed = {name for name in files[0] if not torch.equal(files[0][name], files[1][name])}
    told = [layer for layer in calibrated.layers if layer.output_error is not None]
    assert changed == {f"{layer.name}.weight" for layer in told} and len(told) == 7 * 4
    assert sum(layer.output_error for layer in told) < 0.8 * sum(layer.relative_error for layer in told)  # type: ignore[misc]
