"""A checkpoint as the two GGUF files that llama.cpp reads: the decoder with its tokenizer, and the vision tower.

    write_gguf(folder, "Q4_0", out)   ->  out/model-Q4_0.gguf, out/mmproj-F16.gguf

    BF16   the checkpoint's own values           Q8_0, Q4_0   every matrix, the embedding included

The vision tower is in F16, as llama.cpp's own converter and the published files have it; norms, biases, positions and
the patch embedding are in F32. The tables of names are the format's (arch "qwen3vl", projector "qwen3vl_merger"). With
a tied head the embedding is also the output, so that Q4_0 reads fewer bytes for each token than the files of
llama.cpp's own tool, which keeps that tensor in Q6_K: a comparison of speed errs in favour of llama.cpp.

Values are quantised by the `gguf` package. Tensors are written one by one: memory for one of them in float32.
Left out: experts, FP8, editions that llama.cpp knows under another architecture.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from regard.errors import ConfigError, MissingDependencyError
from regard.model.config import ModelConfig
from regard.weights.checkpoint import read_config
from regard.weights.stored import TensorFolder

FORMATS = ("BF16", "Q8_0", "Q4_0")
VISION_FORMAT = "F16"
ARCHITECTURE = "qwen3vl"
_BLOCK = 32  # values that share a scale
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5  # token types of the format

_TEXT = {
    "model.language_model.embed_tokens": "token_embd",
    "model.language_model.norm": "output_norm",
    "lm_head": "output",
}
_TEXT_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_VISION = {
    "pos_embed": "v.position_embd",
    "patch_embed.proj": "v.patch_embd",
    "merger.norm": "v.post_ln",
    "merger.linear_fc1": "mm.0",
    "merger.linear_fc2": "mm.2",
}
_VISION_LAYER = {
    "norm1": "ln1",
    "norm2": "ln2",
    "attn.qkv": "attn_qkv",
    "attn.proj": "attn_out",
    "mlp.linear_fc1": "ffn_up",
    "mlp.linear_fc2": "ffn_down",
}
_DEEPSTACK = {"norm": "norm", "linear_fc1": "fc1", "linear_fc2": "fc2"}
_FLOATS: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("float32"),
    "F16": np.dtype("float16"),
}  # others are written as bytes
_IN_FLOAT32 = ("v.position_embd", "v.patch_embd")


def write_gguf(folder: Path, format_name: str, out: Path) -> tuple[Path, Path]:
    """Write both files unless they are there already; returns (model, mmproj).

    Errors: ConfigError for a checkpoint that the converter does not cover; MissingDependencyError without `gguf`.
    """
    if format_name not in FORMATS:
        raise ConfigError(f"the GGUF format is {format_name!r}; the choices are {', '.join(FORMATS)}")
    config = read_config(folder)
    if config.text.moe is not None or config.quantization is not None:
        raise ConfigError(
            f"{folder} holds experts or quantised weights; the GGUF writer takes dense 16-bit checkpoints"
        )
    out.mkdir(parents=True, exist_ok=True)
    model, mmproj = out / f"model-{format_name}.gguf", out / f"mmproj-{VISION_FORMAT}.gguf"
    if not model.is_file():
        _write_text(folder, config, format_name, model)
    if not mmproj.is_file():
        _write_vision(folder, config, mmproj)
    return model, mmproj


def gguf_name(name: str, config: ModelConfig) -> str:
    """What GGUF calls a tensor of the official layout. Errors: ConfigError for a tensor that is not in the tables."""
    stem, _, suffix = name.rpartition(".")
    if stem in _TEXT:
        return f"{_TEXT[stem]}.{suffix}"
    if match := re.fullmatch(r"model\.language_model\.layers\.(\d+)\.(.+)", stem):
        if match[2] in _TEXT_LAYER:
            return f"blk.{match[1]}.{_TEXT_LAYER[match[2]]}.{suffix}"
    elif match := re.fullmatch(r"model\.visual\.blocks\.(\d+)\.(.+)", stem):
        if match[2] in _VISION_LAYER:
            return f"v.blk.{match[1]}.{_VISION_LAYER[match[2]]}.{suffix}"
    elif match := re.fullmatch(r"model\.visual\.deepstack_merger_list\.(\d+)\.(.+)", stem):
        if match[2] in _DEEPSTACK:
            layer = config.vision.deepstack_visual_indexes[int(match[1])]
            return f"v.deepstack.{layer}.{_DEEPSTACK[match[2]]}.{suffix}"
    elif stem.removeprefix("model.visual.") in _VISION:
        return f"{_VISION[stem.removeprefix('model.visual.')]}.{suffix}"
    raise ConfigError(f"the GGUF writer does not know the tensor {name!r}; it takes Qwen3-VL's official layout")


def _write_text(folder: Path, config: ModelConfig, format_name: str, file: Path) -> None:
    gguf = _import_gguf()
    text, file_type = config.text, getattr(gguf.LlamaFileType, _file_type(format_name))
    writer = gguf.GGUFWriter(_partial(file), ARCHITECTURE)
    writer.add_type("model")
    writer.add_file_type(file_type)
    writer.add_block_count(text.num_hidden_layers)
    writer.add_context_length(text.max_position_embeddings)
    writer.add_embedding_length(text.hidden_size)
    writer.add_feed_forward_length(text.intermediate_size)
    writer.add_head_count(text.num_attention_heads)
    writer.add_head_count_kv(text.num_key_value_heads)
    writer.add_key_length(text.head_dim)
    writer.add_value_length(text.head_dim)
    writer.add_layer_norm_rms_eps(text.rms_norm_eps)
    writer.add_rope_freq_base(text.rope.theta)
    writer.add_rope_dimension_sections([*text.rope.mrope_section, 0])
    writer.add_num_deepstack_layers(len(config.vision.deepstack_visual_indexes))
    _add_tokenizer(writer, folder, text.vocab_size)
    is_tied = config.tie_word_embeddings
    names = [
        name
        for name in TensorFolder(folder).tensors
        if not name.startswith("model.visual.") and not (is_tied and name == "lm_head.weight")
    ]
    _write_tensors(gguf, writer, folder, config, names, format_name)
    _partial(file).rename(file)


def _write_vision(folder: Path, config: ModelConfig, file: Path) -> None:
    gguf = _import_gguf()
    vision = config.vision
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(_partial(file), "clip")
    writer.add_type("mmproj")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(gguf.VisionProjectorType.QWEN3VL)
    writer.add_vision_projection_dim(vision.out_hidden_size)
    writer.add_vision_image_size(round(vision.num_position_embeddings**0.5) * vision.patch_size)
    writer.add_vision_patch_size(vision.patch_size)
    writer.add_vision_embedding_length(vision.hidden_size)
    writer.add_vision_feed_forward_length(vision.intermediate_size)
    writer.add_vision_block_count(vision.depth)
    writer.add_vision_head_count(vision.num_heads)
    writer.add_vision_image_mean(preprocessor["image_mean"])
    writer.add_vision_image_std(preprocessor["image_std"])
    writer.add_vision_use_gelu(True)
    writer.add_vision_spatial_merge_size(vision.spatial_merge_size)
    writer.add_vision_attention_layernorm_eps(config.text.rms_norm_eps)
    writer.add_vision_is_deepstack_layers([i in vision.deepstack_visual_indexes for i in range(vision.depth)])
    names = [name for name in TensorFolder(folder).tensors if name.startswith("model.visual.")]
    _write_tensors(gguf, writer, folder, config, names, VISION_FORMAT)
    _partial(file).rename(file)


def _add_tokenizer(writer: Any, folder: Path, vocab_size: int) -> None:
    """Tokens by id; rows of the embedding beyond them are unused tokens, since llama.cpp counts rows by tokens."""
    stored = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    special = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokens = [f"[PAD{index}]" for index in range(vocab_size)]
    types = [_UNUSED] * vocab_size
    for token, index in stored["model"]["vocab"].items():
        tokens[index], types[index] = token, _NORMAL
    for added in stored["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = _CONTROL if added["special"] else _USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in stored["model"]["merges"]]
    # llama.cpp insists on merges; two tokens that no text can hold merge into nothing.
    merges = merges or [f"[PAD{vocab_size - 2}] [PAD{vocab_size - 1}]"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index(_content(special["eos_token"])))
    writer.add_pad_token_id(tokens.index(_content(special["pad_token"])))
    writer.add_add_bos_token(False)
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))


def _content(token: Any) -> str:
    """tokenizer_config.json names a token by its text or by an object that holds it."""
    return str(token["content"] if isinstance(token, dict) else token)


def _write_tensors(
    gguf: Any, writer: Any, folder: Path, config: ModelConfig, names: list[str], format_name: str
) -> None:
    """Headers first, then the data of one tensor after the other in the same order."""
    stored = TensorFolder(folder)
    for name in names:
        for made, tensor in _split(gguf_name(name, config), stored.mapped(name)):
            kind = getattr(gguf.GGMLQuantizationType, _format_of(made, tensor, format_name))
            dtype = _FLOATS.get(kind.name, np.dtype("uint8"))
            is_float = kind.name in _FLOATS
            shape = tuple(tensor.shape) if is_float else gguf.quants.quant_shape_to_byte_shape(tensor.shape, kind)
            num_bytes = math.prod(shape) * dtype.itemsize
            writer.add_tensor_info(made, shape, dtype, num_bytes, None if is_float else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in names:
        for made, tensor in _split(gguf_name(name, config), stored.read(name)):
            kind = getattr(gguf.GGMLQuantizationType, _format_of(made, tensor, format_name))
            writer.write_tensor_data(gguf.quants.quantize(tensor.float().contiguous().numpy(), kind))
    writer.close()


def _split(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The patch embedding is one picture's kernel for each of the two frames; all else is as it is."""
    if name != "v.patch_embd.weight":
        yield name, tensor
        return
    if tensor.shape[2] != 2:
        raise ConfigError(f"the patch embedding spans {tensor.shape[2]} frames; llama.cpp takes 2")
    yield name, tensor[:, :, 0]
    yield f"{name}.1", tensor[:, :, 1]


def _format_of(name: str, tensor: Tensor, format_name: str) -> str:
    if tensor.dim() == 1 or name.startswith(_IN_FLOAT32):
        return "F32"
    if format_name.startswith("Q") and tensor.shape[-1] % _BLOCK:
        return "F16"
    return format_name


def _file_type(format_name: str) -> str:
    return f"MOSTLY_{format_name}"


def _partial(file: Path) -> Path:
    """Where a file lies until it is complete."""
    return file.with_suffix(".partial")


def _import_gguf() -> Any:
    try:
        import gguf
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "llama.cpp reads GGUF files, and the package gguf that writes them is not installed; pip install gguf"
        ) from None
    return gguf
