"""How much work a request is, from the config alone: bytes that one decode step reads, and products of a prompt.

    share of the memory bandwidth   bytes read for a token x tokens per second / measured bytes per second
    share of the matmul rate        operations of vision and prefill / their seconds / measured operations per second

Counted are the weights that a step uses (of experts the chosen ones, the head, no other row of the embedding, no
vision), the scales of quantised ones, and the keys and values of everything before. An operation is a multiplication
or an addition. Norms, rotations, softmax and activations are left out: the shares err on the low side.
"""

from __future__ import annotations

from dataclasses import dataclass

from regard.model.config import ModelConfig, TextConfig, VisionConfig
from regard.weights.memory import count_parameters, count_vision_parameters


@dataclass(frozen=True)
class Width:
    """Bytes of one weight, its share of the scales included.

    matrix:  the decoder's matrices              vision:  the vision tower
    head:    what a step reads for the logits    table:   the embedding, where only rows are read
    A head of another width than the table is a copy of its own.
    """

    matrix: float
    head: float
    vision: float
    table: float


def decoder_values(text: TextConfig, *, active: bool) -> int:
    """Values in the decoder's matrices; of experts all, or with `active` those that one token uses."""
    queries, keys = text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim
    total = 0
    for layer in range(text.num_hidden_layers):
        total += text.hidden_size * (2 * queries + 2 * keys)
        if text.moe is not None and text.is_sparse(layer):
            num_experts = text.moe.num_experts_per_tok if active else text.moe.num_experts
            total += text.hidden_size * (3 * text.moe.moe_intermediate_size * num_experts + text.moe.num_experts)
        else:
            total += text.hidden_size * 3 * text.intermediate_size
    return total


def decode_bytes(config: ModelConfig, width: Width, kv_value_bytes: int, num_tokens: float) -> float:
    """Bytes that a decode step reads with `num_tokens` tokens before it, alone in its batch."""
    text = config.text
    weights = decoder_values(text, active=True) * width.matrix + text.vocab_size * text.hidden_size * width.head
    return weights + num_tokens * kv_token_bytes(config, kv_value_bytes)


def kv_token_bytes(config: ModelConfig, value_bytes: int) -> int:
    """Keys and values of one token."""
    text = config.text
    return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * value_bytes


def weight_bytes(config: ModelConfig, width: Width) -> float:
    """All weights in memory once, norms and biases at the width of the table."""
    text = config.text
    decoder, vision = decoder_values(text, active=False), count_vision_parameters(config.vision)
    table = text.vocab_size * text.hidden_size
    rest = count_parameters(config) - decoder - vision - table * (1 if config.tie_word_embeddings else 2)
    has_own_head = not config.tie_word_embeddings or width.head != width.table
    return (
        decoder * width.matrix
        + vision * width.vision
        + (table + rest) * width.table
        + (table * width.head if has_own_head else 0)
    )


def vision_operations(vision: VisionConfig, num_patches: int) -> float:
    """Operations to encode one picture of so many patches."""
    hidden, wide = vision.hidden_size, vision.intermediate_size
    block = 2 * num_patches * (4 * hidden * hidden + 2 * hidden * wide) + 4 * num_patches**2 * hidden
    grouped = hidden * vision.spatial_merge_size**2
    num_merged = num_patches // vision.spatial_merge_size**2
    merger = 2 * num_merged * grouped * (grouped + vision.out_hidden_size)
    num_mergers = 1 + len(vision.deepstack_visual_indexes)
    return 2 * num_patches * vision.patch_dim * hidden + vision.depth * block + num_mergers * merger


def prefill_operations(text: TextConfig, num_tokens: int) -> float:
    """Operations to read a prompt and give the logits of its last token."""
    products = 2.0 * decoder_values(text, active=True) * num_tokens
    # Each token attends to those before it: half of the square, for scores and for values.
    attention = 2 * num_tokens**2 * text.num_attention_heads * text.head_dim * text.num_hidden_layers
    return products + attention + 2 * text.vocab_size * text.hidden_size
