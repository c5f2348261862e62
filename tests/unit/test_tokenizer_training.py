"""The small tokenizer that the package trains is a member of the family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regard.errors import ConfigError
from regard.train.tokenizer_training import ADDED_TOKENS, spelling, train_tokenizer, write_tokenizer

TEXTS = [
    "the settings page has a save button and a cancel button " * 3,
    "numbers 12 34, lines\nand words: sorted by size",
]


def test_the_added_tokens_are_the_last_ids_in_the_family_order() -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    assert [tokenizer.token_to_id(text) for text, _ in ADDED_TOKENS] == list(range(274, 300))
    assert tokenizer.get_vocab_size() == 300


def test_any_text_comes_back_from_its_ids() -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    for text in ("plain", " \n\t x", "\u65e5\u672c\u8a9e \U0001f469\u200d\U0001f469", "\x00\x7f", "<|im_end|>"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_words_are_whole_or_spelled_and_other_libraries_agree(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the other library")
    learned = train_tokenizer(TEXTS, vocab_size=320)
    tokenizer = spelling(learned)
    assert tokenizer.get_vocab() == learned.get_vocab()
    text = "press the button of the batten, na\u00efve <|im_end|> 12"
    tokens = tokenizer.encode(text).tokens
    assert "\u0120button" in tokens and "\u0120the" in tokens
    assert list("batten") == tokens[tokens.index("b") :][:6]
    write_tokenizer(tokenizer, tmp_path, "")
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert other(text).input_ids == tokenizer.encode(text).ids
    assert other.decode(other(text).input_ids) == text


def test_too_little_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="give more text or a smaller vocab_size"):
        train_tokenizer(["ab"], vocab_size=400)


def test_tool_and_thinking_tokens_are_not_special(tmp_path: Path) -> None:
    write_tokenizer(train_tokenizer(TEXTS, vocab_size=300), tmp_path, "template")
    added = json.loads((tmp_path / "tokenizer_config.json").read_text())["added_tokens_decoder"].values()
    special = {token["content"] for token in added if token["special"]}
    assert len(added) == 26 and len(special) == 14
    assert "<think>" not in special and "<tool_call>" not in special
    assert (tmp_path / "chat_template.jinja").read_text() == "template"
