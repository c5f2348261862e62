"""Text to token ids and back, by the `tokenizers` library and the checkpoint's own files.

`tokenizer.json` is used when it is there; otherwise `vocab.json` + `merges.txt` with the family's pipeline
(NFC, one split expression, byte-level BPE). Added tokens that only `tokenizer_config.json` lists are added
with the ids it gives. A prompt must be encoded as one string: the split expression groups punctuation, so
"see:" followed by "<0.3 seconds>" has other ids together than apart.

`IncrementalDecoder` turns generated ids into text one by one. A character may be spread over several tokens;
its bytes wait until they are complete, so no broken UTF-8 is ever shown, and the pieces joined equal
`Tokenizer.decode` of all ids.

It does not add tokens of its own (the family has no begin-of-text token) and does not know chat formats.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from regard.errors import CheckpointError
from regard.processing.side_files import read_json_object

SPLIT_EXPRESSION = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def family_tokenizer(model: BPE) -> tokenizers.Tokenizer:
    """The family's pipeline around a BPE model, without added tokens."""
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_EXPRESSION), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


class Tokenizer:
    """A checkpoint's tokenizer. `eos_token_ids` end a reply."""

    def __init__(self, backend: tokenizers.Tokenizer, eos_token_ids: Iterable[int]) -> None:
        self._backend = backend
        self.eos_token_ids = tuple(eos_token_ids)
        self._special_ids = frozenset(i for i, token in backend.get_added_tokens_decoder().items() if token.special)

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Read a model folder. Errors: CheckpointError naming the file that is missing or wrong."""
        config = read_json_object(folder / "tokenizer_config.json")
        backend = _read_backend(folder)
        _add_listed_tokens(backend, config.get("added_tokens_decoder"), folder)
        return cls(backend, _read_eos_ids(folder, backend, config))

    @property
    def vocab_size(self) -> int:
        """Number of ids the tokenizer can produce; the model's embedding may have more rows."""
        return self._backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The ids of `text`. Added tokens written in the text become their ids."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD, ids beyond the vocabulary vanish."""
        return self._backend.decode(list(ids), skip_special_tokens=skip_special)

    def token_id(self, token: str) -> int:
        """The id of one token, such as "<|image_pad|>". Errors: CheckpointError if there is none."""
        token_id = self._backend.token_to_id(token)
        if token_id is None:
            raise CheckpointError(f"the tokenizer has no token {token!r}; a Qwen3-VL tokenizer must have it")
        return token_id

    def find_token(self, token: str) -> int | None:
        """The id of one token; None if there is none."""
        return self._backend.token_to_id(token)

    def to_json(self) -> str:
        """The text of a tokenizer.json that holds all of it."""
        return self._backend.to_str()

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one id stands for; empty for ids beyond the vocabulary."""
        token = self._backend.id_to_token(token_id)
        if token is None:
            return b""
        byte_by_char = _byte_by_char()
        if all(char in byte_by_char for char in token):
            return bytes(byte_by_char[char] for char in token)
        return token.encode("utf-8")

    def is_special(self, token_id: int) -> bool:
        """Whether the id is a control token that a reply's text leaves out."""
        return token_id in self._special_ids


class IncrementalDecoder:
    """Ids in, whole characters out."""

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The text that became certain with this id; often empty inside a character of several tokens."""
        if self._skip_special and self._tokenizer.is_special(token_id):
            return ""
        return self._utf8.decode(self._tokenizer.token_bytes(token_id))

    def flush(self) -> str:
        """What is left at the end: U+FFFD if the last character never became complete."""
        return self._utf8.decode(b"", final=True)


@cache
def _byte_by_char() -> dict[str, int]:
    """Byte-level BPE writes each byte as one printable character: itself, or one from U+0100 upwards."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def _read_backend(folder: Path) -> tokenizers.Tokenizer:
    whole, vocab, merges = folder / "tokenizer.json", folder / "vocab.json", folder / "merges.txt"
    if not whole.is_file() and not (vocab.is_file() and merges.is_file()):
        raise CheckpointError(f"{folder} has no tokenizer.json, nor vocab.json with merges.txt; copy the tokenizer too")
    used = whole if whole.is_file() else vocab
    try:
        if used is whole:
            return tokenizers.Tokenizer.from_file(str(whole))
        return family_tokenizer(BPE.from_file(str(vocab), str(merges)))
    except Exception as error:  # the library raises plain Exception for every fault in its files
        raise CheckpointError(f"{used} is not a tokenizer that can be read ({error}); copy the file again") from error


def _add_listed_tokens(backend: tokenizers.Tokenizer, listed: Any, folder: Path) -> None:
    """Add the tokens of tokenizer_config.json that are not known yet, in the order of their ids."""
    where = folder / "tokenizer_config.json"
    try:
        tokens = sorted(
            ((int(key), str(token["content"]), dict(token)) for key, token in (listed or {}).items()),
            key=lambda t: t[0],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: added_tokens_decoder is malformed ({error!r}); copy the file again") from error
    for token_id, content, token in tokens:
        if token_id not in backend.get_added_tokens_decoder():
            flags = {
                name: bool(token.get(name)) for name in ("single_word", "lstrip", "rstrip", "normalized", "special")
            }
            backend.add_tokens([AddedToken(content, **flags)])
        if backend.token_to_id(content) != token_id:
            raise CheckpointError(
                f"{where} gives {content!r} the id {token_id}, but the tokenizer has "
                f"{backend.token_to_id(content)}; the two files do not belong together"
            )


def _read_eos_ids(folder: Path, backend: tokenizers.Tokenizer, config: dict[str, Any]) -> tuple[int, ...]:
    """generation_config.json decides; a folder without it ends replies at the tokenizer's own end token."""
    ids = read_json_object(folder / "generation_config.json").get("eos_token_id")
    if isinstance(ids, int):
        return (ids,)
    if isinstance(ids, list) and ids and all(isinstance(i, int) for i in ids):
        return tuple(ids)
    eos = config.get("eos_token")
    eos = eos.get("content") if isinstance(eos, dict) else eos
    token_id = backend.token_to_id(eos) if isinstance(eos, str) else None
    if token_id is None:
        raise CheckpointError(
            f"neither generation_config.json nor tokenizer_config.json in {folder} names an end token; "
            "add eos_token_id to generation_config.json"
        )
    return (token_id,)
