"""FP8 checkpoints: the oracle is the same checkpoint dequantised, in plain arithmetic written out here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from regard.errors import CheckpointError
from regard.kernels.fp8 import choose_fp8_kernel, dequantise, dequantised_linear, scaled_linear
from regard.model.config import MoeConfig
from regard.model.linear import Fp8Experts, Fp8Linear, kernel_for
from regard.model.qwen3_vl import Qwen3VL
from regard.weights.checkpoint import load_model, read_config_json
from regard.weights.fp8 import is_ignored, quantise_blocks
from regard.weights.save import save_checkpoint
from tests.tiny import tiny_folder

# Smaller than 128 so that the tiny model has several blocks; 10 and 12 leave partial ones at every edge.
BLOCKS = [(16, 16), (10, 12)]
SINGLE = "model.safetensors"
IGNORED = ["lm_head", "model.visual", "visual", *(f"model.language_model.layers.{i}.mlp.gate" for i in range(4))]
# Sums of at most 64 float32 products in another order; the weights themselves are equal to the last bit.
TOLERANCE = 2e-5
# Activations rounded to three bits of mantissa move a product by a few per cent of its size.
ACTIVATION_ERROR = 0.04


def expand(scale_inv: Tensor, block: tuple[int, int], shape: torch.Size) -> Tensor:
    """One factor per weight, by indexing: independent of how the kernel walks over blocks."""
    rows, columns = torch.arange(shape[-2]) // block[0], torch.arange(shape[-1]) // block[1]
    return scale_inv[..., rows[:, None], columns]


def is_quantised(name: str) -> bool:
    in_decoder = ".layers." in name and ("_proj" in name)
    return in_decoder and "norm" not in name


def fp8_pair(
    path: Path,
    block: tuple[int, int],
    *,
    moe: bool = False,
    key: str = "ignored_layers",
    ignored: Sequence[str] = IGNORED,
) -> tuple[Path, Path]:
    """The same weights as an FP8 folder and as a plain float32 one."""
    plain = tiny_folder(path / "plain", moe=moe, tied=not moe)
    fp8 = tiny_folder(path / "fp8", moe=moe, tied=not moe)
    codes, values = {}, {}
    for name, tensor in load_file(plain / SINGLE).items():
        if not is_quantised(name):
            codes[name] = values[name] = tensor
            continue
        codes[name], scale_inv = quantise_blocks(tensor, block)
        codes[name.removesuffix(".weight") + (".weight" * name.endswith(".weight")) + "_scale_inv"] = scale_inv
        values[name] = codes[name].float() * expand(scale_inv, block, tensor.shape)
    save_file(values, plain / SINGLE)
    save_file(codes, fp8 / SINGLE)
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": list(block)}
    write_config(fp8, quantization_config=quantization | {key: list(ignored)})
    return fp8, plain


def write_config(folder: Path, **changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps(read_config_json(folder) | changes))


@torch.no_grad()
def logits(model: Qwen3VL) -> Tensor:
    ids = torch.arange(3, 43)[None]
    return model(ids, torch.arange(40).expand(3, 1, 40))


@pytest.mark.parametrize("moe", [False, True], ids=["dense", "moe"])
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_an_fp8_checkpoint_gives_the_logits_of_the_dequantised_one(
    tmp_path: Path, block: tuple[int, int], moe: bool
) -> None:
    fp8, plain = fp8_pair(tmp_path, block, moe=moe)
    expected = logits(load_model(plain))
    assert expected.abs().max() > 0.5
    torch.testing.assert_close(logits(load_model(fp8)), expected, atol=TOLERANCE, rtol=0)


def test_the_scales_matter(tmp_path: Path) -> None:
    """The check above would fail if experts were used without their scales, as another loader does."""
    fp8, plain = fp8_pair(tmp_path, (16, 16), moe=True)
    model = load_model(fp8)
    experts = next(m for m in model.modules() if isinstance(m, Fp8Experts))
    experts.down_proj_scale_inv = torch.nn.Parameter(experts.down_proj_scale_inv.flip(-1), requires_grad=False)
    assert (logits(model) - logits(load_model(plain))).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("moe", [False, True], ids=["dense", "moe"])
def test_weights_stay_in_fp8_in_memory_and_the_rest_does_not(tmp_path: Path, moe: bool) -> None:
    fp8, _ = fp8_pair(tmp_path, (16, 16), moe=moe)
    model = load_model(fp8, dtype="bfloat16")
    for name, parameter in model.named_parameters():
        if name.endswith("_scale_inv"):
            assert parameter.dtype == torch.float32, name
        else:
            assert parameter.dtype == (torch.float8_e4m3fn if is_quantised(name) else torch.bfloat16), name
    kinds = [type(m) for m in model.modules() if isinstance(m, Fp8Linear | Fp8Experts)]
    assert len(kinds) == 4 * (5 if moe else 7)


def test_layers_kept_in_full_may_be_listed_under_the_other_name(tmp_path: Path) -> None:
    fp8, plain = fp8_pair(
        tmp_path, (16, 16), moe=True, key="modules_to_not_convert", ignored=["lm_head", "visual", "gate"]
    )
    torch.testing.assert_close(logits(load_model(fp8)), logits(load_model(plain)), atol=TOLERANCE, rtol=0)


def test_experts_stored_output_first_bring_their_scales_with_them(tmp_path: Path) -> None:
    fp8, plain = fp8_pair(tmp_path, (16, 16), moe=True)
    tensors = load_file(fp8 / SINGLE)
    turned = {n: t.transpose(1, 2).contiguous() if ".mlp.experts." in n else t for n, t in tensors.items()}
    save_file(turned, fp8 / SINGLE)
    torch.testing.assert_close(logits(load_model(fp8)), logits(load_model(plain)), atol=TOLERANCE, rtol=0)


def test_an_fp8_model_is_saved_as_it_was_stored(tmp_path: Path) -> None:
    fp8, _ = fp8_pair(tmp_path, (10, 12), moe=True)
    save_checkpoint(load_model(fp8), tmp_path / "saved", read_config_json(fp8))
    before, after = load_file(fp8 / SINGLE), load_file(tmp_path / "saved" / SINGLE)
    assert before.keys() == after.keys()
    assert all(before[n].dtype == after[n].dtype and torch.equal(before[n].float(), after[n].float()) for n in before)


def test_fp8_tensors_without_a_quantization_config_are_refused(tmp_path: Path) -> None:
    fp8, _ = fp8_pair(tmp_path, (16, 16))
    config = read_config_json(fp8)
    del config["quantization_config"]
    (fp8 / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="unknown 28 .*weight_scale_inv"):
        load_model(fp8)


def test_a_quantization_config_over_plain_tensors_is_refused(tmp_path: Path) -> None:
    fp8, plain = fp8_pair(tmp_path, (16, 16))
    write_config(plain, quantization_config=read_config_json(fp8)["quantization_config"])
    with pytest.raises(CheckpointError, match="missing 28 .*weight_scale_inv"):
        load_model(plain)


def test_a_scale_grid_of_another_size_is_refused(tmp_path: Path) -> None:
    fp8, _ = fp8_pair(tmp_path, (16, 16))
    quantization = read_config_json(fp8)["quantization_config"] | {"weight_block_size": [32, 32]}
    write_config(fp8, quantization_config=quantization)
    with pytest.raises(CheckpointError, match=r"q_proj\.weight_scale_inv \[4, 2\] instead of \[2, 1\]"):
        load_model(fp8)


def test_entries_cover_modules_below_and_paths_that_end_so() -> None:
    name = "model.visual.blocks.3.attn.qkv"
    for entry in ("visual", "model.visual", "visual.blocks.3", name, "attn.qkv"):
        assert is_ignored(name, {entry}), entry
    for entry in ("model.visual.blocks.3.attn.qkv_proj", "blocks.30", "vis", "qk"):
        assert not is_ignored(name, {entry}), entry


# Kernels


def all_codes() -> Tensor:
    """Every finite e4m3 code, once."""
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn)
    return codes[codes.float().isfinite()]


def test_every_finite_code_is_widened_exactly() -> None:
    codes = all_codes()
    assert len(codes) == 254
    widened = dequantise(codes[None], torch.ones(1, 1), (128, 256), torch.float32)
    assert torch.equal(widened[0], codes.float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(256, 384), (130, 50), (1, 129)])
def test_widening_multiplies_each_block_by_its_own_scale(shape: tuple[int, int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator).to(torch.float8_e4m3fn)
    scale_inv = torch.rand(-(-shape[0] // 128), -(-shape[1] // 128), generator=generator)
    expected = (weight.float() * expand(scale_inv, (128, 128), weight.shape)).to(dtype)
    assert torch.equal(dequantise(weight, scale_inv, (128, 128), dtype), expected)
    assert torch.equal(dequantise(weight.t(), scale_inv.t(), (128, 128), dtype), expected.t())


def test_quantising_loses_at_most_half_a_step_of_three_bits() -> None:
    weight = torch.randn(3, 200, 300, generator=torch.Generator().manual_seed(0))
    codes, scale_inv = quantise_blocks(weight, (128, 128))
    assert codes.shape == weight.shape and scale_inv.shape == (3, 2, 3)
    widened = codes.float() * expand(scale_inv, (128, 128), weight.shape)
    # A mantissa of three bits rounds to 1/16 of the value; below 2^-6 of a block's scale steps are absolute.
    bound = weight.abs() / 16 + scale_inv.max() * 2.0**-10
    assert ((widened - weight).abs() <= bound).all()


def test_the_kernel_for_a_device_comes_with_its_reason() -> None:
    kernel, reason = choose_fp8_kernel(torch.device("cpu"), (128, 128), torch.bfloat16)
    assert kernel is dequantised_linear and "'cpu'" in reason


@pytest.mark.parametrize(
    ("capability", "cuda", "dtype", "is_scaled", "because"),
    [
        ((9, 0), "12.9", torch.bfloat16, True, "compute capability 9.x"),
        ((9, 0), "13.0", torch.bfloat16, True, "compute capability 9.x"),
        ((9, 0), "12.8", torch.bfloat16, False, "needs CUDA 12.9"),
        ((9, 0), "12.9", torch.float16, False, "bfloat16"),
        ((8, 0), "12.9", torch.bfloat16, False, "8.0"),
        ((12, 0), "12.9", torch.bfloat16, False, "12.0"),
    ],
)
def test_straight_fp8_is_chosen_only_where_pytorch_has_it(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    cuda: str,
    dtype: torch.dtype,
    is_scaled: bool,
    because: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    kernel, reason = choose_fp8_kernel(torch.device("cuda"), (128, 128), dtype)
    assert (kernel is scaled_linear) == is_scaled and because in reason


def test_sizes_that_are_no_whole_blocks_are_widened() -> None:
    assert kernel_for(scaled_linear, 256, 384) is scaled_linear
    assert kernel_for(scaled_linear, 256, 300) is dequantised_linear
    assert kernel_for(scaled_linear, 200, 384) is dequantised_linear


def stand_in_for_scaled_mm(
    a: Tensor, b: Tensor, scale_a: Tensor, recipe_a: Any, scale_b: Tensor, recipe_b: Any, *, output_dtype: torch.dtype
) -> Tensor:
    """What the operator computes, in float32, after PyTorch's own checks of its arguments (run on fake tensors)."""
    assert a.stride(1) == 1 and b.stride(0) == 1 and a.shape[0] % 16 == 0
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(t) for t in (a, b, scale_a, scale_b)]
        _SCALED_MM(fakes[0], fakes[1], fakes[2], recipe_a, fakes[3], recipe_b, output_dtype=output_dtype)
    num_runs = a.shape[1] // 128
    a_wide = a.float() * scale_a.repeat_interleave(128, 1)
    b_wide = b.float() * scale_b[:num_runs].repeat_interleave(128, 0).repeat_interleave(128, 1)
    return (a_wide @ b_wide).to(output_dtype)


_SCALED_MM = torch.nn.functional.scaled_mm


@pytest.mark.parametrize("num_rows", [1, 16, 33])
@pytest.mark.parametrize("num_inputs", [128, 640])
def test_straight_fp8_hands_the_operator_what_it_asks_for(
    monkeypatch: pytest.MonkeyPatch, num_rows: int, num_inputs: int
) -> None:
    """No GPU is needed: the operator is replaced by its definition, behind PyTorch's checks of shapes and strides."""
    monkeypatch.setattr(torch.nn.functional, "scaled_mm", stand_in_for_scaled_mm)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, num_rows, num_inputs, generator=generator).bfloat16()
    weight, scale_inv = quantise_blocks(torch.randn(384, num_inputs, generator=generator), (128, 128))
    out = scaled_linear(x, weight, scale_inv, (128, 128))
    expected = dequantised_linear(x.float(), weight, scale_inv, (128, 128))
    assert out.shape == expected.shape and out.dtype == torch.bfloat16
    assert (out.float() - expected).norm() / expected.norm() < ACTIVATION_ERROR


def test_experts_are_laid_out_for_straight_fp8_without_changing_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "scaled_mm", stand_in_for_scaled_mm)
    config = MoeConfig(2, 1, moe_intermediate_size=128, decoder_sparse_step=1, mlp_only_layers=())
    made = [Fp8Experts(256, config, (128, 128), kernel) for kernel in (dequantised_linear, scaled_linear)]
    generator = torch.Generator().manual_seed(0)
    for name in ("gate_up_proj", "down_proj"):
        values = quantise_blocks(torch.randn(getattr(made[0], name).shape, generator=generator), (128, 128))
        for experts in made:
            getattr(experts, name).data, getattr(experts, name + "_scale_inv").data = values
    before = made[1].down_proj.float()
    made[1].arrange()
    assert torch.equal(made[1].down_proj.float(), before) and made[1].down_proj.stride(1) == 1
    x = torch.randn(5, 256, generator=generator).bfloat16()
    ids, weights = torch.tensor([[0], [1], [1], [0], [1]]), torch.ones(5, 1).bfloat16()
    expected, straight = (experts(x, ids, weights).float() for experts in made)
    assert (straight - expected).norm() / expected.norm() < 2 * ACTIVATION_ERROR


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_straight_fp8_agrees_with_widened_weights() -> None:
    device = torch.device("cuda")
    kernel, reason = choose_fp8_kernel(device, (128, 128), torch.bfloat16)
    if kernel is not scaled_linear:
        pytest.skip(reason)
    x = torch.randn(33, 640, dtype=torch.bfloat16, device=device)
    weight, scale_inv = quantise_blocks(torch.randn(384, 640, device=device), (128, 128))
    straight = scaled_linear(x, weight, scale_inv, (128, 128)).float()
    widened = dequantised_linear(x.float(), weight, scale_inv, (128, 128))
    assert (straight - widened).norm() / widened.norm() < ACTIVATION_ERROR
