"""Quantised folders: the oracle is the same folder dequantised, in plain arithmetic written out here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from regard.errors import CapacityError, CheckpointError, ConfigError
from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.parity.fp8_checkpoint import write_dequantised
from regard.weights import integer, new_folder
from regard.weights import quantize as quantize_module
from regard.weights.checkpoint import load_model, read_config, read_config_json
from regard.weights.integer import quantise_model
from regard.weights.quantize import QuantizeReport, quantize
from regard.weights.save import save_checkpoint
from tests.timings import only
from tests.tiny import tiny_config, tiny_folder

SINGLE = "model.safetensors"
GROUP = 32
# Sums of at most 64 float32 products in another order; the weights themselves are equal to the last bit.
TOLERANCE = 5e-5
KINDS = [("dense", {}), ("untied", {"tied": False}), ("moe", {"moe": True, "tied": False})]
kinds = pytest.mark.parametrize("options", [options for _, options in KINDS], ids=[name for name, _ in KINDS])
integers = pytest.mark.parametrize("method", ["int8", "int4"])


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the products that are exact with respect to the stored weights; nothing is measured."""
    monkeypatch.setattr(integer, "Measurements", lambda **_: only("widened"))


@torch.no_grad()
def logits(model: Qwen3VL) -> Tensor:
    ids = torch.arange(3, 43)[None]
    return model(ids, torch.arange(40).expand(3, 1, 40))


@torch.no_grad()
def features(model: Qwen3VL) -> Tensor:
    pixels = torch.randn(16, model.config.vision.patch_dim, generator=torch.Generator().manual_seed(0))
    return model.encode_vision(pixels, [(1, 4, 4)]).embeds


def quantized(path: Path, method: Any, **options: Any) -> tuple[Path, Path, QuantizeReport]:
    """(source, quantised folder, report) of a tiny checkpoint."""
    source = tiny_folder(path / "source", **options)
    group = GROUP if method == "int4" else None
    return source, path / "out", quantize(source, path / "out", method, group=group)


def dequantised(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Plain tensors of an int8 or int4 folder, experts input first again; the head's copy is left out if it is one."""
    plain = {}
    for name, tensor in tensors.items():
        if name.endswith(("_scale", "_zero")):
            continue
        if tensor.dtype == torch.int8:
            tensor = tensor.float() * tensors[name + "_scale"].float()[..., None]
        elif tensor.dtype == torch.uint8:
            scale, zero = (tensors[name + suffix].float() for suffix in ("_scale", "_zero"))
            codes = torch.cat([tensor % 16, tensor // 16], dim=-1).float() - 8
            group = codes.shape[-1] // scale.shape[-1]
            tensor = codes * scale.repeat_interleave(group, -1) + zero.repeat_interleave(group, -1)
        plain[name] = tensor.transpose(-1, -2).contiguous() if ".experts." in name else tensor
    return plain


def plain_copy(source: Path, out: Path, path: Path) -> Path:
    """A float folder with the values that a quantised one means."""
    shutil.copytree(source, path)
    before, values = load_file(source / SINGLE), dequantised(load_file(out / SINGLE))
    # What fills up the last group of inputs is not part of the weight.
    fitted = {name: values[name][tuple(slice(n) for n in tensor.shape)].contiguous() for name, tensor in before.items()}
    save_file(fitted, path / SINGLE)
    return path


# Loading


@integers
@kinds
def test_a_quantised_folder_gives_the_answers_of_its_dequantised_copy(
    tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    source, out, _ = quantized(tmp_path, method, **options)
    expected = load_model(plain_copy(source, out, tmp_path / "plain"))
    model = load_model(out)
    torch.testing.assert_close(features(model), features(expected), atol=TOLERANCE, rtol=0)
    is_head_copied = read_config(source).tie_word_embeddings
    if is_head_copied:  # the oracle's head is the embedding: only the hidden states can be compared
        model.lm_head = None
    torch.testing.assert_close(logits(model), logits(expected), atol=TOLERANCE, rtol=0)
    assert (logits(expected) - logits(load_model(source))).abs().max() > 100 * TOLERANCE, "the check can fail"


@integers
@kinds
def test_a_folder_and_a_model_quantised_in_memory_are_the_same(
    tmp_path: Path, method: Any, options: dict[str, Any]
) -> None:
    source, out, _ = quantized(tmp_path, method, **options)
    model = load_model(source)
    quantise_model(model, method, group=GROUP)
    assert torch.equal(logits(model), logits(load_model(out)))
    assert model.config.quantization == read_config(out).quantization


@integers
def test_what_is_quantised_is_gone_from_the_parameters_and_the_rest_is_not(tmp_path: Path, method: str) -> None:
    _, out, _ = quantized(tmp_path, method, moe=True, tied=False)
    names = [name.removesuffix(".weight") for name, _ in load_model(out).named_parameters()]
    left = {name.rpartition(".")[2] for name in names if not name.endswith(("norm", "norm1", "norm2", ".bias"))}
    assert left == {"embed_tokens", "pos_embed", "proj", "gate"}
    assert [name for name in names if name.endswith(".proj")] == ["model.visual.patch_embed.proj"]


def test_a_tied_head_becomes_an_8_bit_copy_and_the_embedding_stays(tmp_path: Path) -> None:
    source, out, report = quantized(tmp_path, "int4")
    before, after = load_file(source / SINGLE), load_file(out / SINGLE)
    name = "model.language_model.embed_tokens.weight"
    assert torch.equal(after[name], before[name]) and "lm_head.weight" not in before
    difference = after["lm_head.weight"].float() * after["lm_head.weight_scale"][:, None] - before[name].float()
    assert difference.norm() < 0.01 * before[name].float().norm()
    assert next(layer for layer in report.layers if layer.name == "lm_head").num_bytes_before == 0
    model = load_model(out)
    assert model.lm_head is not None and logits(model).shape[-1] == len(before[name])


def test_only_the_decoder_of_an_int4_folder_has_4_bits(tmp_path: Path) -> None:
    _, out, report = quantized(tmp_path, "int4", moe=True, tied=False)
    stored = {name: tensor.dtype for name, tensor in load_file(out / SINGLE).items()}
    in_4_bits = {name.rpartition(".layers.")[0] for name, dtype in stored.items() if dtype == torch.uint8}
    assert in_4_bits == {"model.language_model"}
    assert stored["lm_head.weight"] == torch.int8 and stored["model.visual.merger.linear_fc1.weight"] == torch.int8
    assert {layer.method for layer in report.layers} == {"int4", "int8"}


@integers
def test_other_devices_are_refused(tmp_path: Path, method: str) -> None:
    _, out, _ = quantized(tmp_path, method)
    with pytest.raises(ConfigError, match=f"{method.upper()} weights, which are computed on CPUs only"):
        load_model(out, device="mps")


def test_a_quantised_model_is_not_quantised_again(tmp_path: Path) -> None:
    source, out, _ = quantized(tmp_path, "int8")
    with pytest.raises(ConfigError, match="is quantised already, to int8"):
        quantize(out, tmp_path / "again", "fp8")
    model = load_model(source)
    quantise_model(model, "int8")
    with pytest.raises(ConfigError, match="int8 already"):
        quantise_model(model, "int4")
    with pytest.raises(ConfigError, match="describes another architecture"):
        save_checkpoint(model, tmp_path / "saved", read_config_json(source))


def test_codes_of_another_width_are_refused(tmp_path: Path) -> None:
    _, out, _ = quantized(tmp_path, "int8")
    tensors = load_file(out / SINGLE)
    tensors["lm_head.weight"] = tensors["lm_head.weight"].view(torch.uint8)
    save_file(tensors, out / SINGLE)
    with pytest.raises(CheckpointError, match="lm_head.weight U8"):
        load_model(out)


# FP8


def whole_folder(path: Path, *, moe: bool = False, intermediate: int = 256) -> Path:
    """A checkpoint whose matrices have whole 128x128 blocks, unlike the tiny one."""
    tiny_folder(path, moe=moe)
    config = tiny_config(moe=moe)
    config["text_config"] |= {"hidden_size": 128, "intermediate_size": intermediate, "head_dim": 64}
    config["text_config"] |= {"moe_intermediate_size": 128} if moe else {}
    config["text_config"]["rope_scaling"] |= {"mrope_section": [12, 10, 10]}
    config["vision_config"] |= {"out_hidden_size": 128}
    torch.manual_seed(0)
    model = Qwen3VL(ModelConfig.from_hf(config))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    save_checkpoint(model, path, config)
    return path


@pytest.mark.parametrize("moe", [False, True], ids=["dense", "moe"])
def test_an_fp8_folder_gives_the_logits_of_its_dequantised_copy(tmp_path: Path, moe: bool) -> None:
    source = whole_folder(tmp_path / "source", moe=moe)
    report = quantize(source, tmp_path / "out", "fp8")
    assert len(report.layers) == 4 * (6 if moe else 7)
    found = logits(load_model(tmp_path / "out"))
    expected = logits(load_model(write_dequantised(tmp_path / "out", tmp_path / "plain")))
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
    assert (found - logits(load_model(source))).abs().max() > 100 * TOLERANCE


def test_an_fp8_folder_has_the_official_layout(tmp_path: Path) -> None:
    quantize(whole_folder(tmp_path / "source", moe=True), tmp_path / "out", "fp8")
    stored = load_file(tmp_path / "out" / SINGLE)
    prefix = "model.language_model.layers.0."
    shapes = {name.removeprefix(prefix): list(t.shape) for name, t in stored.items() if "scale" in name}
    assert shapes["self_attn.q_proj.weight_scale_inv"] == [2, 1]
    assert shapes["mlp.experts.gate_up_proj_scale_inv"] == [4, 1, 2]
    assert shapes["mlp.experts.down_proj_scale_inv"] == [4, 1, 1]
    assert all(t.dtype == torch.float32 for name, t in stored.items() if name.endswith("_scale_inv"))
    in_fp8 = {name for name, t in stored.items() if t.dtype == torch.float8_e4m3fn}
    assert not [name for name in in_fp8 if "visual" in name or "gate.weight" in name or "embed" in name]
    described = read_config_json(tmp_path / "out")["quantization_config"]
    assert described["quant_method"] == "fp8" and described["weight_block_size"] == [128, 128]
    ignored = set(described["ignored_layers"])
    assert {"lm_head", "model.visual.merger.linear_fc1", "visual.merger.linear_fc1"} <= ignored
    assert {"visual.blocks.0.attn.qkv_proj", "model.language_model.layers.3.mlp.gate"} <= ignored


def test_fp8_keeps_matrices_that_are_not_whole_blocks(tmp_path: Path) -> None:
    """transformers and vLLM refuse partly filled blocks."""
    report = quantize(whole_folder(tmp_path / "source", intermediate=192), tmp_path / "out", "fp8")
    assert {layer.name.rpartition(".")[2] for layer in report.layers} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    why = report.kept["model.language_model.layers.0.mlp.down_proj"]
    assert why == "its sides, 128x192, are not multiples of 128"
    torch.testing.assert_close(
        logits(load_model(tmp_path / "out")),
        logits(load_model(write_dequantised(tmp_path / "out", tmp_path / "plain"))),
        atol=TOLERANCE,
        rtol=0,
    )


def test_fp8_keeps_together_what_is_computed_together(tmp_path: Path) -> None:
    """vLLM joins queries, keys and values into one matrix and refuses a part of them in another format."""
    report = quantize(
        whole_folder(tmp_path / "source"), tmp_path / "out", "fp8", keep=["*.layers.1.*.v_proj", "layers.2"]
    )
    prefix = "model.language_model.layers."
    assert report.kept[f"{prefix}1.self_attn.q_proj"] == "computed together with v_proj"
    assert f"{prefix}1.self_attn.o_proj" not in report.kept and f"{prefix}2.mlp.down_proj" in report.kept
    assert f"{prefix}1.self_attn.k_proj" in read_config_json(tmp_path / "out")["quantization_config"]["ignored_layers"]
    load_model(tmp_path / "out")


def test_a_model_without_whole_blocks_cannot_become_fp8(tmp_path: Path) -> None:
    source = tiny_folder(tmp_path / "source")
    with pytest.raises(ConfigError, match=r"nothing in .* can be quantised to fp8: its sides, .*not multiples of 128"):
        quantize(source, tmp_path / "out", "fp8")
    assert not (tmp_path / "out").exists()


# Reports


@pytest.mark.parametrize(
    ("method", "low", "high"), [("int8", 0.002, 0.012), ("int4", 0.002, 0.12), ("fp8", 0.02, 0.03)]
)
def test_errors_and_sizes_are_those_of_the_files(tmp_path: Path, method: Any, low: float, high: float) -> None:
    source = whole_folder(tmp_path / "source", moe=True)
    report = quantize(source, tmp_path / "out", method)
    assert all(low < layer.relative_error < high for layer in report.layers)
    for size, folder in ((report.num_bytes_before, source), (report.num_bytes_after, tmp_path / "out")):
        assert size == sum(tensor.nbytes for tensor in load_file(folder / SINGLE).values())
    by_name = {layer.name: layer for layer in report.layers}
    layer = by_name["model.language_model.layers.0.mlp.experts.gate_up_proj"]
    assert layer.num_bytes_before == 4 * 4 * 128 * 256  # float32
    if method == "int8":
        before, after = load_file(source / SINGLE), dequantised(load_file(tmp_path / "out" / SINGLE))
        for name, found in by_name.items():
            stored = name if "experts" in name else f"{name}.weight"
            plain = before.get(stored, before["model.language_model.embed_tokens.weight"])
            error = (after[stored].double() - plain.double()).norm() / plain.double().norm()
            assert found.relative_error == pytest.approx(float(error), rel=1e-4), name


def test_progress_ends_with_everything_written(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = quantize(
        tiny_folder(tmp_path / "source"), tmp_path / "out", "int8", on_progress=lambda *now: seen.append(now)
    )
    assert seen[-1] == (report.num_bytes_after, report.num_bytes_after) and seen == sorted(seen)


# Sources and files


def transposed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.transpose(1, 2).contiguous() if ".experts." in name else t for name, t in tensors.items()}


def one_by_one(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {name: tensor for name, tensor in tensors.items() if ".experts." not in name}
    for name, tensor in tensors.items():
        layer = name.rpartition(".")[0]
        for expert, matrix in enumerate(tensor) if ".experts." in name else ():
            halves = matrix.chunk(2, dim=1) if name.endswith("gate_up_proj") else (matrix,)
            leaves = ("gate_proj", "up_proj") if len(halves) == 2 else ("down_proj",)
            for leaf, half in zip(leaves, halves, strict=True):
                found[f"{layer}.{expert}.{leaf}.weight"] = half.t().contiguous()
    return found


@integers
@pytest.mark.parametrize("layout", [transposed, one_by_one])
def test_experts_may_be_stored_in_any_layout(
    tmp_path: Path, method: Any, layout: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    source, out, _ = quantized(tmp_path, method, moe=True, tied=False)
    save_file(layout(load_file(source / SINGLE)), source / SINGLE)
    quantize(source, tmp_path / "other", method, group=GROUP if method == "int4" else None)
    expected, found = load_file(out / SINGLE), load_file(tmp_path / "other" / SINGLE)
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)


def test_tensors_are_quantised_some_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = whole_folder(tmp_path / "source", moe=True)
    for method in ("int8", "int4", "fp8"):
        whole = quantize(source, tmp_path / f"{method} whole", method)  # type: ignore[arg-type]
        monkeypatch.setattr(quantize_module, "CHUNK_VALUES", 1)
        parts = quantize(source, tmp_path / f"{method} parts", method)  # type: ignore[arg-type]
        monkeypatch.undo()
        files = [load_file(tmp_path / f"{method} {kind}" / SINGLE) for kind in ("whole", "parts")]
        assert all(torch.equal(t.view(torch.uint8), files[1][name].view(torch.uint8)) for name, t in files[0].items())
        assert [layer.name for layer in whole.layers] == [layer.name for layer in parts.layers]


@integers
def test_large_models_are_written_as_shards_with_an_index(tmp_path: Path, method: Any) -> None:
    source = tiny_folder(tmp_path / "source")
    group = GROUP if method == "int4" else None
    report = quantize(source, tmp_path / "out", method, group=group, max_shard_bytes=50_000)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    files = sorted(file.name for file in (tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 3 and sorted(set(index["weight_map"].values())) == files
    assert index["metadata"]["total_size"] == report.num_bytes_after
    quantize(source, tmp_path / "single", method, group=group)
    assert torch.equal(logits(load_model(tmp_path / "out")), logits(load_model(tmp_path / "single")))


def test_side_files_come_along_and_old_indexes_do_not(tmp_path: Path) -> None:
    source = tiny_folder(tmp_path / "source")
    (source / "LICENSE").write_text("free")
    (source / "README.md").write_text("about the original")
    (source / "model.safetensors.index.json").write_text("{}")
    quantize(source, tmp_path / "out", "int8")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {file.name for file in source.iterdir()} - {"README.md", "model.safetensors.index.json"}
    for name in names - {"config.json", SINGLE}:
        assert (tmp_path / "out" / name).read_bytes() == (source / name).read_bytes()


def test_the_config_stops_programs_that_do_not_know_the_format(tmp_path: Path) -> None:
    """transformers would only warn about an unknown quant_method, and take the codes for weights."""
    _, out, _ = quantized(tmp_path, "int8")
    config = read_config_json(out)
    assert config["model_type"] == "regard_qwen3_vl"
    assert config["architectures"] == ["RegardQwen3VLForConditionalGeneration"]
    del config["quantization_config"]
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="model_type 'regard_qwen3_vl'"):
        load_model(out)


# All or nothing


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("anything")], ids=["ctrl-c", "fault"])
@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_whatever_goes_wrong_nothing_is_left_behind(tmp_path: Path, error: BaseException, is_there: bool) -> None:
    source, out = tiny_folder(tmp_path / "source"), tmp_path / "out"
    if is_there:
        out.mkdir()

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise error

    with pytest.raises(type(error)):
        quantize(source, out, "int8", on_progress=stop)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == (["out", "source"] if is_there else ["source"])
    assert not is_there or not list(out.iterdir())
    quantize(source, out, "int8")
    assert (out / SINGLE).is_file()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny_folder(tmp_path / "source")
    monkeypatch.setattr(new_folder.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(CapacityError, match=r"needs 0\.00 GB and the disk has 0\.00 GB free"):
        quantize(source, tmp_path / "out", "int8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    source = tiny_folder(tmp_path / "source")
    tensors = load_file(source / SINGLE)
    tensors["model.visual.merger.linear_fc1.weight"][0, 0] = value
    save_file(tensors, source / SINGLE)
    with pytest.raises(CheckpointError, match="merger.linear_fc1.weight holds values that are infinite or undefined"):
        quantize(source, tmp_path / "out", "int8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    source = tiny_folder(tmp_path / "source")
    before = {file.name: file.read_bytes() for file in source.iterdir()}
    with pytest.raises(ConfigError, match="is not empty; give a folder that is new or empty"):
        quantize(source, source, "int8")
    with pytest.raises(ConfigError, match="is a file"):
        quantize(source, source / SINGLE, "int8")
    with pytest.raises(ConfigError, match="does not exist; make it first"):
        quantize(source, tmp_path / "no" / "out", "int8")
    assert before == {file.name: file.read_bytes() for file in source.iterdir()}


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "int3"}, "the format is 'int3'; the choices are fp8, int8, int4"),
        ({"method": "int4", "group": 48}, "the group size is 48; the choices are 32, 64, 128, 256"),
        ({"method": "int8", "group": 64}, "a group size, 64, was given for int8; only int4 has groups"),
        ({"method": "int8", "keep": ["nothing"]}, "--keep nothing: no layer is named so"),
    ],
    ids=str,
)
def test_wrong_options_are_one_sentence(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        quantize(tiny_folder(tmp_path / "source"), tmp_path / "out", **options)
    assert message in str(caught.value) and not (tmp_path / "out").exists()


@integers
def test_layers_kept_by_name_stay_as_they_are(tmp_path: Path, method: Any) -> None:
    source = tiny_folder(tmp_path / "source", moe=True, tied=False)
    keep = ["*.layers.1.*", "experts", "lm_head", "model.visual.merger"]
    report = quantize(source, tmp_path / "out", method, keep=keep)
    before, after = load_file(source / SINGLE), load_file(tmp_path / "out" / SINGLE)
    kept = [name for name in before if ".layers.1." in name or "experts" in name or "visual.merger" in name]
    assert kept and all(torch.equal(before[name], after[name]) for name in [*kept, "lm_head.weight"])
    assert report.kept["model.visual.merger.linear_fc1"] == "kept by model.visual.merger"
    assert after["model.language_model.layers.0.self_attn.q_proj.weight"].dtype != torch.float32
    logits(load_model(tmp_path / "out"))


def test_a_tied_head_may_be_kept(tmp_path: Path) -> None:
    source = tiny_folder(tmp_path / "source")
    quantize(source, tmp_path / "out", "int8", keep=["lm_head"])
    assert "lm_head.weight" not in load_file(tmp_path / "out" / SINGLE)
    assert load_model(tmp_path / "out").lm_head is None
