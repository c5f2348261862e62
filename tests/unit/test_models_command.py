"""`regard models` and the memory that it computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from regard.cli import models as models_command
from regard.cli.models import models
from regard.kernels.fp8 import dequantised_linear
from regard.model.cache import KVCache
from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL
from regard.weights.family import public_models
from regard.weights.fp8 import use_fp8_layers
from regard.weights.memory import count_parameters, count_vision_parameters, kv_cache_bytes, memory_need, weight_bytes
from tests.tiny import tiny_config

PUBLIC = {(model.size, model.precision): model for model in public_models()}
MACHINE = {"cpu": 24_000_000_000, "cuda:0": 16_000_000_000, "cuda:1": None}


def meta_model(config: ModelConfig) -> Qwen3VL:
    with torch.device("meta"):
        model = Qwen3VL(config).to(torch.bfloat16)
        if config.quantization is not None:
            use_fp8_layers(model, config.quantization, dequantised_linear)
    return model


@pytest.mark.parametrize(
    ("size", "num_bytes"),
    [
        ("2B", 4_255_064_064),
        ("4B", 8_875_631_616),
        ("8B", 17_534_247_392),
        ("32B", 66_714_780_128),
        ("30B-A3B", 62_141_508_064),
        ("235B-A22B", 471_340_045_792),
    ],
)
def test_bf16_sizes_are_those_of_the_official_files(size: str, num_bytes: int) -> None:
    assert weight_bytes(PUBLIC[size, "bf16"].config) == num_bytes


def test_the_official_fp8_file_has_as_many_elements_as_counted() -> None:
    """Its four shards hold 31,072,578,800 elements: the weights and one scale per block."""
    config = PUBLIC["30B-A3B", "fp8"].config
    scales = sum(p.numel() for name, p in meta_model(config).named_parameters() if name.endswith("_scale_inv"))
    assert count_parameters(config) + scales == 31_072_578_800


@pytest.mark.parametrize("key", PUBLIC, ids=" ".join)
def test_computed_sizes_equal_the_models_own_tensors(key: tuple[str, str]) -> None:
    config = PUBLIC[key].config
    model = meta_model(config)
    assert weight_bytes(config) == sum(p.nbytes for p in model.parameters())
    assert count_vision_parameters(config.vision) == sum(p.numel() for p in model.model.visual.parameters())


@pytest.mark.parametrize("moe", [False, True])
def test_unusual_shapes_are_counted_too(moe: bool) -> None:
    hf = tiny_config(moe=moe, tied=False)
    hf["text_config"] |= {"attention_bias": True, "mlp_only_layers": [1], "decoder_sparse_step": 2}
    config = ModelConfig.from_hf(hf)
    with torch.device("meta"):
        assert count_parameters(config) == sum(p.numel() for p in Qwen3VL(config).parameters())


def test_the_kv_cache_is_as_large_as_the_one_that_is_allocated() -> None:
    config = ModelConfig.from_hf(tiny_config())
    cache = KVCache(config.text, batch_size=1, capacity=100, dtype=torch.float32)
    allocated = sum(t.nbytes for name in ("_keys", "_values") for t in getattr(cache, name))
    assert kv_cache_bytes(config, 100) == allocated


def test_memory_grows_with_the_context() -> None:
    config = PUBLIC["8B", "bf16"].config
    short, long = memory_need(config, 4096), memory_need(config, 32768)
    assert (
        long.kv_cache == 8 * short.kv_cache and long.activations > short.activations and long.weights == short.weights
    )


@pytest.fixture
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_command, "_machine", lambda: MACHINE)


@pytest.mark.usefixtures("_known_machine")
def test_the_table_says_what_fits_and_what_is_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {"Qwen/Qwen3-VL-4B-Thinking": Path("/cache/4b")}
    monkeypatch.setattr("regard.weights.hub.downloaded_folder", folders.get)
    monkeypatch.setenv("COLUMNS", "160")
    models()
    lines = {tuple(line.split()[:2]): line for line in capsys.readouterr().out.splitlines()}
    assert len([key for key in lines if key and key[0].startswith("Qwen3-VL-")]) == 12
    assert lines["Qwen3-VL-4B", "bf16"].split()[2:] == [
        "8.9",
        "10.0",
        "16.3",
        "68.2",
        "to",
        "32k",
        "to",
        "4k",
        "no",
        "Thinking",
    ]
    assert lines["Qwen3-VL-235B-A22B", "bf16"].split()[-4:] == ["no", "no", "no", "-"]


@pytest.mark.usefixtures("_known_machine")
def test_json_holds_the_same_in_bytes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("regard.weights.hub.downloaded_folder", lambda hub_id: None)
    models(context=[1024, 8192], as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["machine"] == MACHINE
    [row] = [r for r in printed["models"] if (r["name"], r["precision"]) == ("Qwen3-VL-8B", "bf16")]
    assert row["weight_bytes"] == 17_534_247_392 and row["parameters"] == 8_767_123_696
    assert [need["context_tokens"] for need in row["contexts"]] == [1024, 8192]
    for need in row["contexts"]:
        assert need["total_bytes"] == row["weight_bytes"] + need["kv_cache_bytes"] + need["activation_bytes"]
        assert ("cpu" in need["fits"]) == (need["total_bytes"] <= 24_000_000_000)


@pytest.mark.usefixtures("_known_machine")
def test_a_context_beyond_the_models_own_is_left_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("regard.weights.hub.downloaded_folder", lambda hub_id: None)
    models(context=[262144, 1_000_000], as_json=True)
    rows = {r["name"]: r for r in json.loads(capsys.readouterr().out)["models"]}
    assert [need["context_tokens"] for need in rows["Qwen3-VL-2B"]["contexts"]] == [262144]
