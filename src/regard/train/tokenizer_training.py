"""Train and write a small tokenizer of the Qwen family.

The result is a byte-level BPE with the family's pipeline: NFC, the pre-tokenizer's split expression,
bytes as printable characters, and the family's 26 added tokens as the last ids of the vocabulary, in
the family's order. Every text can be encoded, because all 256 bytes are entries.

    tokenizer = train_tokenizer(texts, vocab_size=4096)      # ids 0..4095, added tokens 4070..4095
    write_tokenizer(tokenizer, folder, chat_template)

`spelling` makes of it a tokenizer that has words whole or not at all: what is no entry is spelled in characters.

It does not choose the texts and does not write any other file of a checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE

from regard.errors import ConfigError
from regard.processing.tokenizer import family_tokenizer

# In the order of the official ids. A token that is not "special" survives when a reply is decoded.
ADDED_TOKENS: tuple[tuple[str, bool], ...] = (
    ("<|endoftext|>", True),
    ("<|im_start|>", True),
    ("<|im_end|>", True),
    ("<|object_ref_start|>", True),
    ("<|object_ref_end|>", True),
    ("<|box_start|>", True),
    ("<|box_end|>", True),
    ("<|quad_start|>", True),
    ("<|quad_end|>", True),
    ("<|vision_start|>", True),
    ("<|vision_end|>", True),
    ("<|vision_pad|>", True),
    ("<|image_pad|>", True),
    ("<|video_pad|>", True),
    ("<tool_call>", False),
    ("</tool_call>", False),
    ("<|fim_prefix|>", False),
    ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False),
    ("<|fim_pad|>", False),
    ("<|repo_name|>", False),
    ("<|file_sep|>", False),
    ("<tool_response>", False),
    ("</tool_response>", False),
    ("<think>", False),
    ("</think>", False),
)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
    """Learn merges from `texts`; exactly `vocab_size` ids, the added tokens last.

    Errors: ConfigError if `texts` hold too few repeated pairs to fill the vocabulary.
    """
    num_learned = vocab_size - len(ADDED_TOKENS)
    if num_learned < 256:
        raise ConfigError(f"vocab_size is {vocab_size}; it must be at least {256 + len(ADDED_TOKENS)}")
    tokenizer = family_tokenizer(BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=num_learned,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != num_learned:
        raise ConfigError(
            f"the texts give only {tokenizer.get_vocab_size()} entries of the {num_learned} to be learned; "
            "give more text or a smaller vocab_size"
        )
    tokenizer.add_tokens([AddedToken(text, special=special, normalized=False) for text, special in ADDED_TOKENS])
    return tokenizer


def spelling(tokenizer: Tokenizer) -> Tokenizer:
    """The same ids without merges: a word is one entry, or it is spelled byte by byte.

    >>> [tokenizer.decode([i]) for i in spelling(tokenizer).encode("the Nostrum button").ids]
    ['the', ' ', 'N', 'o', 's', 't', 'r', 'u', 'm', ' button']
    """
    data = json.loads(tokenizer.to_str())
    data["model"] |= {"merges": [], "ignore_merges": True}
    return Tokenizer.from_str(json.dumps(data))


def write_tokenizer(tokenizer: Tokenizer, folder: Path, chat_template: str) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja; other libraries load them too."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    # transformers' Qwen2Tokenizer reads vocabulary and merges and drops the rest of the model's settings.
    has_merges = bool(json.loads(tokenizer.to_str())["model"]["merges"])
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(text)): {
                "content": text,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": special,
            }
            for text, special in ADDED_TOKENS
        },
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 262144,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer" if has_merges else "PreTrainedTokenizerFast",
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
