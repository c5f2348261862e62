"""How much memory a model takes, computed from its config alone. Torch-free.

    weights       exact: the sum over all tensors of the official layout, FP8 scales included
    KV cache      exact: 2 (keys, values) x layers x key/value heads x head_dim x tokens x bytes
    activations   an estimate: the largest set of tensors alive at once while a prompt of that length is read in
                  one pass, or while one picture is encoded, whichever is larger

Left out: the runtime itself (PyTorch is about 0.4 GB, a CUDA context as much), several requests at a time, and
allocator waste.
"""

from __future__ import annotations

from dataclasses import dataclass

from regard.model.config import ModelConfig, TextConfig, VisionConfig

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
FP8_BYTES, SCALE_BYTES = 1, 4
# The largest picture that the official preprocessor files allow, 16.8 Mpx, in 16x16 patches.
MAX_PATCHES = 4096 * 4096 // 16**2


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes for one conversation."""

    weights: int
    kv_cache: int
    activations: int

    @property
    def total(self) -> int:
        """Everything at once."""
        return self.weights + self.kv_cache + self.activations


def memory_need(config: ModelConfig, num_tokens: int) -> MemoryNeed:
    """Memory for a conversation of `num_tokens` in the checkpoint's own dtype."""
    return MemoryNeed(
        weights=weight_bytes(config),
        kv_cache=kv_cache_bytes(config, num_tokens),
        activations=activation_bytes(config, num_tokens),
    )


def count_parameters(config: ModelConfig) -> int:
    """Values in all tensors, a tied head counted once and FP8 scales not at all."""
    text = config.text
    embeddings = text.vocab_size * text.hidden_size * (1 if config.tie_word_embeddings else 2)
    matrices = sum(count * rows * columns for rows, columns, count in _decoder_matrices(text))
    return embeddings + matrices + _decoder_rest(text) + count_vision_parameters(config.vision)


def weight_bytes(config: ModelConfig) -> int:
    """Bytes of the weight files' tensors, in the config's dtype or in FP8 if it says so."""
    per_value = BYTES.get(config.dtype, 2)
    if config.quantization is None:
        return per_value * count_parameters(config)
    assert config.quantization.method == "fp8", "our own formats are not among the public sizes"
    block = config.quantization.weight_block_size
    quantised, scales = 0, 0
    for rows, columns, count in _decoder_matrices(config.text):
        quantised += count * rows * columns
        scales += count * -(-rows // block[0]) * -(-columns // block[1])
    plain = count_parameters(config) - quantised
    return per_value * plain + FP8_BYTES * quantised + SCALE_BYTES * scales


def kv_cache_bytes(config: ModelConfig, num_tokens: int) -> int:
    """Keys and values of `num_tokens` tokens in the config's dtype."""
    text = config.text
    per_token = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim
    return per_token * num_tokens * BYTES.get(config.dtype, 2)


def activation_bytes(config: ModelConfig, num_tokens: int) -> int:
    """Estimate of the largest set of tensors alive at once: reading the prompt, or encoding one picture."""
    per_value = BYTES.get(config.dtype, 2)
    text, vision = config.text, config.vision
    # Around attention: queries and their rotated copy, keys and values, the output. Around the feed-forward:
    # gate, up and their product. Both beside the residual stream, its normed copy and that one's float32 form.
    heads = 3 * text.num_attention_heads + 4 * text.num_key_value_heads
    width = text.moe.moe_intermediate_size if text.moe else text.intermediate_size
    stream = 2 * text.hidden_size * per_value + 4 * text.hidden_size
    reading = num_tokens * (stream + per_value * max(heads * text.head_dim, 3 * width)) + 4 * text.vocab_size
    # The vision tower rotates queries and keys in float32.
    patches = min(MAX_PATCHES, num_tokens * vision.spatial_merge_size**2)
    rotating = 5 * vision.hidden_size * per_value + 16 * vision.hidden_size
    feed_forward = 2 * (vision.hidden_size + vision.intermediate_size) * per_value
    encoding = patches * (max(rotating, feed_forward) + 4 * vision.patch_dim)
    return max(reading, encoding)


def _decoder_matrices(text: TextConfig) -> list[tuple[int, int, int]]:
    """(rows, columns, how many) of the decoder's matrix products, which are what FP8 files quantise."""
    hidden, layers = text.hidden_size, text.num_hidden_layers
    queries, keys = text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim
    num_sparse = sum(text.is_sparse(layer) for layer in range(layers))
    matrices = [
        (queries, hidden, 2 * layers),  # q_proj; o_proj lies the other way
        (keys, hidden, 2 * layers),
        (text.intermediate_size, hidden, 3 * (layers - num_sparse)),
    ]
    if text.moe is not None:
        matrices.append((text.moe.moe_intermediate_size, hidden, 3 * text.moe.num_experts * num_sparse))
    return matrices


def _decoder_rest(text: TextConfig) -> int:
    """Norms, routers and biases."""
    per_layer = 2 * text.hidden_size + 2 * text.head_dim
    if text.attention_bias:
        per_layer += (text.num_attention_heads + 2 * text.num_key_value_heads) * text.head_dim + text.hidden_size
    num_sparse = sum(text.is_sparse(layer) for layer in range(text.num_hidden_layers))
    routers = num_sparse * text.moe.num_experts * text.hidden_size if text.moe else 0
    return text.num_hidden_layers * per_layer + routers + text.hidden_size


def count_vision_parameters(vision: VisionConfig) -> int:
    """Values in the vision tower's tensors."""
    hidden, wide = vision.hidden_size, vision.intermediate_size
    grouped = hidden * vision.spatial_merge_size**2
    patches = vision.patch_dim * hidden + hidden + vision.num_position_embeddings * hidden
    attention = 4 * hidden * hidden + 4 * hidden
    mlp = 2 * hidden * wide + wide + hidden
    block = attention + mlp + 4 * hidden
    merger = grouped * grouped + grouped + grouped * vision.out_hidden_size + vision.out_hidden_size
    mergers = (merger + 2 * hidden) + len(vision.deepstack_visual_indexes) * (merger + 2 * grouped)
    return patches + vision.depth * block + mergers
