"""Reading and writing checkpoints: every parameter once, every tensor used, one sentence for every damage."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from regard.errors import CheckpointError, ConfigError
from regard.model.qwen3_vl import Qwen3VL
from regard.weights.checkpoint import load_model, read_config, read_config_json
from regard.weights.names import EMBEDDING, LM_HEAD
from regard.weights.save import save_checkpoint
from tests.tiny import tiny_config, tiny_folder

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
EXPERTS = "model.language_model.layers.{}.mlp.experts"


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "dense")


@pytest.fixture
def moe(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "moe", moe=True)


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the stored tensors of a single-file folder."""
    tensors = load_file(folder / SINGLE)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / SINGLE)


def rewrite_config(folder: Path, **changes: Any) -> None:
    config = read_config_json(folder) | changes
    (folder / "config.json").write_text(json.dumps(config))


def reshard(folder: Path, max_shard_bytes: int = 60_000) -> None:
    save_checkpoint(load_model(folder), folder, read_config_json(folder), max_shard_bytes)


@torch.no_grad()
def logits(model: Qwen3VL) -> Tensor:
    ids = torch.arange(3, 15)[None]
    return model(ids, torch.arange(12).expand(3, 1, 12)).float()


def assert_same_weights(model: Qwen3VL, tensors: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    assert parameters.keys() == tensors.keys()
    for name, parameter in parameters.items():
        assert torch.equal(parameter, tensors[name]), name


# What loads


@pytest.mark.parametrize(("is_moe", "tied"), [(False, True), (False, False), (True, False)])
def test_every_parameter_equals_the_stored_tensor(tmp_path: Path, is_moe: bool, tied: bool) -> None:
    folder = tiny_folder(tmp_path / "model", moe=is_moe, tied=tied)
    model = load_model(folder)
    assert_same_weights(model, load_file(folder / SINGLE))
    assert (LM_HEAD in dict(model.named_parameters())) != tied
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_shards_load_like_one_file(dense: Path) -> None:
    tensors = load_file(dense / SINGLE)
    reshard(dense)
    assert not (dense / SINGLE).exists() and len(list(dense.glob("model-*.safetensors"))) > 2
    assert_same_weights(load_model(dense), tensors)


def test_another_dtype_is_a_conversion_of_every_parameter(dense: Path) -> None:
    model = load_model(dense, dtype="bfloat16")
    assert_same_weights(model, {name: t.bfloat16() for name, t in load_file(dense / SINGLE).items()})


def test_auto_is_the_dtype_that_the_config_names(dense: Path) -> None:
    config = read_config_json(dense)
    config["text_config"]["dtype"] = "float16"
    rewrite_config(dense, **config)
    assert load_model(dense).dtype == torch.float16


def test_weights_that_need_no_conversion_are_mapped_and_never_written_back(dense: Path) -> None:
    before = (dense / SINGLE).read_bytes()
    model = load_model(dense)
    weight = model.model.language_model.embed_tokens.weight
    weight.data.zero_()
    assert (dense / SINGLE).read_bytes() == before
    assert not torch.equal(load_model(dense).model.language_model.embed_tokens.weight, weight)


def test_progress_counts_bytes_up_to_the_end(dense: Path) -> None:
    calls: list[tuple[int, int]] = []
    model = load_model(dense, on_progress=lambda done, total: calls.append((done, total)))
    total = sum(p.nbytes for p in model.parameters())
    assert calls[-1] == (total, total) and calls == sorted(calls)


def test_stored_rotary_frequencies_are_ignored(dense: Path) -> None:
    expected = logits(load_model(dense))
    name = "model.language_model.rotary_emb.inv_freq"
    rewrite(dense, lambda tensors: tensors.update({name: torch.ones(8)}))
    assert torch.equal(logits(load_model(dense)), expected)


# Experts


def transpose_experts(tensors: dict[str, Tensor]) -> None:
    for name in tensors:
        if ".mlp.experts." in name:
            tensors[name] = tensors[name].transpose(1, 2)


@pytest.mark.parametrize(
    ("hidden", "width"),
    [(32, 24), (32, 16), (32, 32)],
    ids=["no square", "gate_up square: 2I = H", "down square: I = H"],
)
def test_experts_stored_output_first_give_the_same_model(tmp_path: Path, hidden: int, width: int) -> None:
    """The square cases cannot be told from one tensor: a reader that looks at each alone fails in one of them."""
    folder = moe_folder(tmp_path / "moe", hidden=hidden, width=width)
    tensors = load_file(folder / SINGLE)
    assert_same_weights(load_model(folder), tensors)
    rewrite(folder, transpose_experts)
    assert_same_weights(load_model(folder), tensors)


def moe_folder(path: Path, *, hidden: int, width: int) -> Path:
    """A tiny MoE folder with another expert width."""
    folder = tiny_folder(path, moe=True)
    config = read_config_json(folder)
    assert config["text_config"]["hidden_size"] == hidden
    config["text_config"]["moe_intermediate_size"] = width
    rewrite_config(folder, **config)
    generator = torch.Generator().manual_seed(1)

    def resize(tensors: dict[str, Tensor]) -> None:
        for layer in range(config["text_config"]["num_hidden_layers"]):
            experts, count = EXPERTS.format(layer), config["text_config"]["num_experts"]
            tensors[f"{experts}.gate_up_proj"] = torch.randn(count, hidden, 2 * width, generator=generator)
            tensors[f"{experts}.down_proj"] = torch.randn(count, width, hidden, generator=generator)

    rewrite(folder, resize)
    return folder


def test_experts_stored_one_by_one_give_the_same_model(moe: Path) -> None:
    expected = load_file(moe / SINGLE)

    def unfuse(tensors: dict[str, Tensor]) -> None:
        for layer in range(4):
            experts = EXPERTS.format(layer)
            gate_up, down = tensors.pop(f"{experts}.gate_up_proj"), tensors.pop(f"{experts}.down_proj")
            for e in range(4):
                gate, up = gate_up[e].chunk(2, dim=1)
                tensors[f"{experts}.{e}.gate_proj.weight"] = gate.t()
                tensors[f"{experts}.{e}.up_proj.weight"] = up.t()
                tensors[f"{experts}.{e}.down_proj.weight"] = down[e].t()

    rewrite(moe, unfuse)
    assert_same_weights(load_model(moe), expected)


def test_experts_stored_in_two_directions_are_refused(moe: Path) -> None:
    name = EXPERTS.format(0) + ".down_proj"
    rewrite(moe, lambda tensors: tensors.update({name: tensors[name].transpose(1, 2)}))
    with pytest.raises(
        CheckpointError, match=r"layers\.0\.mlp\.experts\.down_proj \[4, 32, 24\] instead of \[4, 24, 32\]"
    ):
        load_model(moe)


# Heads


def test_a_tied_file_may_hold_a_copy_of_the_embedding(dense: Path) -> None:
    expected = load_file(dense / SINGLE)
    rewrite(dense, lambda tensors: tensors.update({LM_HEAD: tensors[EMBEDDING].clone()}))
    assert_same_weights(load_model(dense), expected)


def test_a_tied_file_with_another_head_is_refused(dense: Path) -> None:
    rewrite(dense, lambda tensors: tensors.update({LM_HEAD: tensors[EMBEDDING] + 1}))
    with pytest.raises(CheckpointError, match="set tie_word_embeddings to false"):
        load_model(dense)
    rewrite_config(dense, tie_word_embeddings=False)  # the advice works
    assert load_model(dense).lm_head is not None


def test_an_untied_file_without_a_head_is_refused(dense: Path) -> None:
    rewrite_config(dense, tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight is missing although"):
        load_model(dense)


# Names, shapes, dtypes


def test_missing_and_unknown_tensors_are_counted_and_up_to_ten_are_named(dense: Path) -> None:
    def rename_first_layer(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if ".layers.0." in name]:
            tensors[name.replace("model.language_model", "model")] = tensors.pop(name)

    rewrite(dense, rename_first_layer)
    with pytest.raises(CheckpointError) as caught:
        load_model(dense)
    message = str(caught.value)
    assert "missing 11 (" in message and "unknown 11 (" in message and message.count("and 1 more") == 2
    assert message.count(" model.layers.0.") + message.count("(model.layers.0.") == 10


def test_a_wrong_shape_is_told_with_both_shapes(dense: Path) -> None:
    rewrite(dense, lambda tensors: tensors.update({EMBEDDING: tensors[EMBEDDING][:-1]}))
    with pytest.raises(CheckpointError, match=r"embed_tokens\.weight \[287, 32\] instead of \[288, 32\]"):
        load_model(dense)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.float8_e4m3fn])
def test_a_stored_dtype_that_means_something_else_is_refused(dense: Path, dtype: torch.dtype) -> None:
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    rewrite(dense, lambda tensors: tensors.update({name: tensors[name].to(dtype)}))
    with pytest.raises(CheckpointError, match=r"dtype of 1 stored .*q_proj\.weight (I8|F64|F8_E4M3)"):
        load_model(dense)


def test_a_dtype_that_the_format_does_not_know_is_refused(dense: Path) -> None:
    header = json.dumps({"x": {"dtype": "F9", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (dense / SINGLE).write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    with pytest.raises(CheckpointError, match="F9"):
        load_model(dense)


@pytest.mark.parametrize("asked", ["int4", "fp32"])
def test_an_unknown_compute_dtype_is_refused(dense: Path, asked: str) -> None:
    with pytest.raises(ConfigError, match=f"'{asked}'.*bfloat16"):
        load_model(dense, dtype=asked)


def test_a_device_that_is_not_there_is_refused(dense: Path) -> None:
    with pytest.raises(ConfigError, match="'warp'"):
        load_model(dense, device="warp")


# Damaged folders


def test_a_missing_shard_is_named(dense: Path) -> None:
    reshard(dense)
    victim = sorted(dense.glob("model-*.safetensors"))[1]
    victim.unlink()
    with pytest.raises(CheckpointError, match=rf"lacks 1 of \d+ weight files \({victim.name}\)"):
        load_model(dense)


def test_a_cut_file_is_named(dense: Path) -> None:
    content = (dense / SINGLE).read_bytes()
    (dense / SINGLE).write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match=rf"model\.safetensors \({len(content) - 100} bytes\).*download it again"):
        load_model(dense)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 10])
def test_a_file_of_another_kind_is_refused(dense: Path, content: bytes) -> None:
    (dense / SINGLE).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_model(dense)


def test_a_git_lfs_pointer_is_recognised(dense: Path) -> None:
    (dense / SINGLE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        load_model(dense)


def test_an_index_that_lists_what_its_shard_lacks_is_refused(dense: Path) -> None:
    reshard(dense)
    index = json.loads((dense / INDEX).read_text())
    index["weight_map"]["model.extra"] = sorted(index["weight_map"].values())[0]
    (dense / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"disagree about model\.extra"):
        load_model(dense)


def test_an_index_cannot_point_out_of_its_folder(dense: Path) -> None:
    reshard(dense)
    (dense / INDEX).write_text(json.dumps({"weight_map": {EMBEDDING: "../../secret.safetensors"}}))
    with pytest.raises(CheckpointError, match="files beside it"):
        load_model(dense)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": []}'])
def test_a_broken_index_is_refused(dense: Path, content: str) -> None:
    (dense / SINGLE).unlink()
    (dense / INDEX).write_text(content)
    with pytest.raises(CheckpointError, match=r"index\.json"):
        load_model(dense)


def test_a_folder_without_weights_is_refused(dense: Path) -> None:
    (dense / SINGLE).unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_model(dense)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_broken_config_is_refused(dense: Path, content: str) -> None:
    (dense / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(dense)


# Writing


@pytest.mark.parametrize("is_moe", [False, True])
def test_a_saved_model_has_the_official_names_and_the_same_values(tmp_path: Path, is_moe: bool) -> None:
    source = tiny_folder(tmp_path / "source", moe=is_moe)
    save_checkpoint(load_model(source), tmp_path / "saved", read_config_json(source))
    original, saved = load_file(source / SINGLE), load_file(tmp_path / "saved" / SINGLE)
    assert original.keys() == saved.keys() and all(torch.equal(original[n], saved[n]) for n in original)
    assert read_config_json(tmp_path / "saved") == read_config_json(source)


def test_saved_weights_may_be_read_by_whoever_may_read_their_config(dense: Path) -> None:
    reshard(dense)
    modes = {file.stat().st_mode for file in dense.glob("model-*.safetensors")}
    assert modes == {(dense / "config.json").stat().st_mode}


def test_the_index_lists_every_tensor_and_the_total_size(dense: Path) -> None:
    tensors = load_file(dense / SINGLE)
    reshard(dense)
    index = json.loads((dense / INDEX).read_text())
    assert index["weight_map"].keys() == tensors.keys()
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in tensors.values())
    for shard in set(index["weight_map"].values()):
        sizes = [t.nbytes for t in load_file(dense / shard).values()]
        assert len(sizes) == 1 or sum(sizes) <= 60_000


def test_saving_over_the_folder_that_a_model_is_mapped_from_is_safe(dense: Path) -> None:
    """The old file's pages must outlive it: writing into it in place would change or kill the model."""
    model = load_model(dense)
    with torch.no_grad():
        model.model.language_model.norm.weight.add_(1.0)
    expected = logits(model)
    save_checkpoint(model, dense, read_config_json(dense))
    assert torch.equal(logits(model), expected)
    assert torch.equal(logits(load_model(dense)), expected)


def test_files_of_an_earlier_save_do_not_stay_behind(dense: Path) -> None:
    expected = logits(load_model(dense))
    reshard(dense, 60_000)
    reshard(dense, 100_000)
    reshard(dense, 10**9)
    assert sorted(f.name for f in dense.iterdir() if f.name.startswith("model")) == [SINGLE]
    assert torch.equal(logits(load_model(dense)), expected)


def test_a_config_of_another_architecture_is_not_written(dense: Path) -> None:
    with pytest.raises(ConfigError, match="another architecture"):
        save_checkpoint(load_model(dense), dense, tiny_config(moe=True))


# Memory

# VmHWM and not getrusage: the latter starts at the size of the process that spawned this one.
_PEAK = """
import sys
from pathlib import Path
from regard.weights.checkpoint import load_model
status = lambda: Path("/proc/self/status").read_text()
peak = lambda: int(status().split("VmHWM:")[1].split()[0]) * 1024
before = peak()
model = load_model(Path(sys.argv[1]), dtype=sys.argv[2])
print(peak() - before, sum(p.nbytes for p in model.parameters()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_converting_needs_the_weights_and_one_tensor_of_memory(tmp_path: Path) -> None:
    """Stored as float16 in one file, loaded as float32: with the whole file mapped it would be half as much again."""
    folder = tiny_folder(tmp_path / "big")
    config = read_config_json(folder)
    config["text_config"] |= {"intermediate_size": 65536, "dtype": "float16"}
    rewrite_config(folder, **config)

    def widen(tensors: dict[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if ".layers." in name and ".mlp." in name:
                shape = (32, 65536) if "down_proj" in name else (65536, 32)
                tensors[name] = torch.ones(shape).half()
            else:
                tensors[name] = tensor.half()

    rewrite(folder, widen)
    ran = subprocess.run(
        [sys.executable, "-c", _PEAK, str(folder), "float32"], capture_output=True, text=True, check=True
    )
    used, weights = map(int, ran.stdout.split())
    largest = 65536 * 32 * 4
    assert weights > 10 * largest
    assert used < weights + 2 * largest, f"{used / 1e6:.0f} MB for {weights / 1e6:.0f} MB of weights"
