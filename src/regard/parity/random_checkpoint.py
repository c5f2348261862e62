"""A complete Qwen3-VL checkpoint folder with random weights, small enough to be written in a moment.

`write_random_checkpoint(folder)` writes what an official folder holds: config.json, generation_config.json,
tokenizer.json, tokenizer_config.json, chat_template.jinja, both preprocessor files and model.safetensors. The
tokenizer spells byte by byte (256 tokens, no merges) followed by the family's 26 added tokens; the embedding has
six rows more than that, as the official ones have, so that masking them can be tested. Sizes are a few
thousandths of the official ones, and as there, the heads together are wider than the hidden size.

The tensors are written straight from the shapes of `Qwen3VL`, not by `regard.weights`, so that a check of the
writer and a check of the reader cannot agree by sharing a mistake. The weights mean nothing: answers are noise.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from regard.model.config import ModelConfig
from regard.model.qwen3_vl import Qwen3VL

# As in the family: the first fourteen are special, the rest are ordinary added tokens that decoding keeps.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PLAIN_ADDED_TOKENS = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
NUM_BYTES = 256
NUM_TOKENS = NUM_BYTES + len(SPECIAL_TOKENS) + len(PLAIN_ADDED_TOKENS)
VOCAB_SIZE = NUM_TOKENS + 6
ID_BY_TOKEN = {token: NUM_BYTES + i for i, token in enumerate(SPECIAL_TOKENS + PLAIN_ADDED_TOKENS)}

_PRETOKENIZE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_ASSETS = Path(__file__).parents[1] / "assets"
TEMPLATE = _ASSETS / "nano" / "chat_template.jinja"
THINKING_TEMPLATE = _ASSETS / "thinking" / "chat_template.jinja"


def write_random_checkpoint(
    folder: Path, *, moe: bool = False, tied: bool = True, thinking: bool = False, yarn: bool = False, seed: int = 0
) -> Path:
    """Write the folder and return it.

    `thinking` makes the generation prompt open a `<think>` block; `yarn` stretches the context by a factor of 3.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = random_config(moe=moe, tied=tied, yarn=yarn)
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", _generation_config())
    image = _preprocessor("Qwen2VLImageProcessorFast", 4 * 32 * 32, 64 * 32 * 32)
    _write_json(folder / "preprocessor_config.json", image)
    video = _preprocessor("Qwen3VLVideoProcessor", 4 * 32 * 32, 128 * 32 * 32)
    video["video_processor_type"] = video.pop("image_processor_type")
    _write_json(folder / "video_preprocessor_config.json", video)
    shutil.copyfile(THINKING_TEMPLATE if thinking else TEMPLATE, folder / "chat_template.jinja")
    _write_tokenizer(folder)
    _write_weights(folder, config, seed)
    return folder


def random_config(*, moe: bool = False, tied: bool = True, yarn: bool = False) -> dict[str, Any]:
    """A config.json with every key that an official one has."""
    rope_scaling: dict[str, Any] = {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    if yarn:
        rope_scaling |= {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 1024}
    text: dict[str, Any] = {
        "model_type": "qwen3_vl_moe_text" if moe else "qwen3_vl_text",
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 5000000,
        "rope_scaling": rope_scaling,
        "max_position_embeddings": 4096,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": ID_BY_TOKEN["<|endoftext|>"],
        "eos_token_id": ID_BY_TOKEN["<|im_end|>"],
        "dtype": "float32",
    }
    if moe:
        text |= {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "norm_topk_prob": True,
        }
    else:
        text["tie_word_embeddings"] = tied
    vision = {
        "model_type": "qwen3_vl_moe" if moe else "qwen3_vl",
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 16,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "in_channels": 3,
        "num_position_embeddings": 144,
        "deepstack_visual_indexes": [0, 1, 2],
        "hidden_act": "gelu_pytorch_tanh",
        "initializer_range": 0.02,
    }
    return {
        "architectures": ["Qwen3VLMoeForConditionalGeneration" if moe else "Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl_moe" if moe else "qwen3_vl",
        "image_token_id": ID_BY_TOKEN["<|image_pad|>"],
        "video_token_id": ID_BY_TOKEN["<|video_pad|>"],
        "vision_start_token_id": ID_BY_TOKEN["<|vision_start|>"],
        "vision_end_token_id": ID_BY_TOKEN["<|vision_end|>"],
        "tie_word_embeddings": tied and not moe,
        "text_config": text,
        "vision_config": vision,
    }


def _generation_config() -> dict[str, Any]:
    end, turn_end = ID_BY_TOKEN["<|endoftext|>"], ID_BY_TOKEN["<|im_end|>"]
    return {"bos_token_id": end, "pad_token_id": end, "eos_token_id": [turn_end, end], "do_sample": False}


def _preprocessor(kind: str, shortest_edge: int, longest_edge: int) -> dict[str, Any]:
    return {
        "size": {"shortest_edge": shortest_edge, "longest_edge": longest_edge},
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
        "image_processor_type": kind,
    }


def _write_tokenizer(folder: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PRETOKENIZE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in PLAIN_ADDED_TOKENS])
    assert {t: tokenizer.token_to_id(t) for t in ID_BY_TOKEN} == ID_BY_TOKEN
    tokenizer.save(str(folder / "tokenizer.json"))
    added = {
        str(i): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token in SPECIAL_TOKENS,
        }
        for token, i in ID_BY_TOKEN.items()
    }
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "added_tokens_decoder": added,
            "add_prefix_space": False,
            "add_bos_token": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "errors": "replace",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 4096,
        },
    )


def _write_weights(folder: Path, config: dict[str, Any], seed: int) -> None:
    """Products keep the size of their input, so that rounding stays small and answers vary.

    With a tied head the decoder must be wider: it would repeat the last token for ever.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Qwen3VL(ModelConfig.from_hf(config)).state_dict().items()}
    tensors = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            tensors[name] = 0.1 * noise + (1 if name.endswith("weight") else 0)
        elif "embed_tokens" in name or "pos_embed" in name:
            tensors[name] = 0.2 * noise
        else:
            num_inputs = shape[1] if "experts" in name else math.prod(shape[1:])
            gain = 1.7 if config["tie_word_embeddings"] and ".language_model." in name else 1.0
            tensors[name] = gain * noise / math.sqrt(num_inputs)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
