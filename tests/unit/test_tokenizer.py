"""Text to ids and back, whole and one token at a time; folders with other files than usual."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.errors import CheckpointError
from regard.processing.tokenizer import IncrementalDecoder, Tokenizer
from regard.train.tokenizer_training import train_tokenizer, write_tokenizer

TEXTS = [
    "the settings page has a save button and a cancel button " * 3,
    "numbers 12 34, lines\nand words: sorted by size",
    "\u65e5\u672c\u8a9e \U0001f469\u200d\U0001f467 caf\u00e9 " * 3,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(train_tokenizer(TEXTS, vocab_size=320), made, "")
    (made / "generation_config.json").write_text('{"eos_token_id": [296, 294]}', encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(folder)


def copy_of(folder: Path, to: Path, *names: str) -> Path:
    for name in names:
        (to / name).write_bytes((folder / name).read_bytes())
    return to


def stream(tokenizer: Tokenizer, ids: list[int], skip_special: bool) -> list[str]:
    decoder = IncrementalDecoder(tokenizer, skip_special)
    return [*(decoder.push(i) for i in ids), decoder.flush()]


@settings(max_examples=400, deadline=None)
@given(data=st.data(), skip_special=st.booleans())
def test_streamed_pieces_joined_equal_the_whole_for_any_ids(
    tokenizer: Tokenizer, data: st.DataObject, skip_special: bool
) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size + 5), max_size=30))
    assert "".join(stream(tokenizer, ids, skip_special)) == tokenizer.decode(ids, skip_special)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=20))
def test_streaming_real_text_never_shows_a_broken_character(tokenizer: Tokenizer, text: str) -> None:
    pieces = stream(tokenizer, tokenizer.encode(text), True)
    assert "\ufffd" not in "".join(pieces).replace("\ufffd", "", text.count("\ufffd"))


def test_a_character_appears_when_its_last_byte_has_come(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("\u20ac")
    assert len(ids) > 1
    assert stream(tokenizer, ids, True) == [""] * (len(ids) - 1) + ["\u20ac", ""]
    assert stream(tokenizer, ids[:-1], True)[-1] == "\ufffd"


def test_special_tokens_vanish_from_text_and_tool_tags_stay(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("<think>a</think><tool_call>{}</tool_call><|im_end|>")
    assert tokenizer.decode(ids) == "<think>a</think><tool_call>{}</tool_call>"
    assert tokenizer.decode(ids, skip_special=False).endswith("<|im_end|>")
    assert tokenizer.is_special(tokenizer.token_id("<|im_end|>"))


def test_ids_beyond_the_vocabulary_are_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([320, 321]) == "" and tokenizer.token_bytes(320) == b""


def test_the_end_tokens_come_from_the_generation_config(folder: Path, tmp_path: Path) -> None:
    assert Tokenizer.from_folder(folder).eos_token_ids == (296, 294)
    copied = copy_of(folder, tmp_path, "tokenizer.json", "tokenizer_config.json")
    assert Tokenizer.from_folder(copied).eos_token_ids == (296,), "without it: the tokenizer's own end token"
    (copied / "generation_config.json").write_text('{"eos_token_id": 295}', encoding="utf-8")
    assert Tokenizer.from_folder(copied).eos_token_ids == (295,)


def test_a_folder_may_hold_vocab_and_merges_instead(folder: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    copied = copy_of(folder, tmp_path, "tokenizer_config.json")
    train_tokenizer(TEXTS, vocab_size=320).model.save(str(copied))
    other = Tokenizer.from_folder(copied)
    text = "the save button: <think> caf\u00e9 e\u0301 <|image_pad|>\n\n 12"
    assert other.encode(text) == tokenizer.encode(text)
    assert other.vocab_size == tokenizer.vocab_size


def test_tokens_that_only_the_config_lists_are_added(folder: Path, tmp_path: Path) -> None:
    copied = copy_of(folder, tmp_path, "tokenizer.json")
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["added_tokens_decoder"]["320"] = {"content": "<mine>", "special": True}
    (copied / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert Tokenizer.from_folder(copied).encode("<mine>") == [320]
    config["added_tokens_decoder"]["400"] = {"content": "<other>", "special": True}
    (copied / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match="do not belong together"):
        Tokenizer.from_folder(copied)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "has no tokenizer.json"), (b"{", "is not a tokenizer"), (b"\xff\xfe", "is not a token")],
)
def test_a_missing_or_damaged_tokenizer_is_one_sentence(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as caught:
        Tokenizer.from_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_any_end_token_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="names an end token"):
        Tokenizer.from_folder(copy_of(folder, tmp_path, "tokenizer.json"))


def test_an_unknown_token_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(CheckpointError, match="has no token '<nope>'"):
        tokenizer.token_id("<nope>")
