"""The checkpoint's tokenizer with the face of transformers' tokenizers: batches, padding, decoding of tensors.

    tokenizer.padding_side = "left"
    tokenizer(["one", "another one"], padding=True)    {"input_ids": [[...], [...]], "attention_mask": ...}
    tokenizer.batch_decode(ids, skip_special_tokens=True)

The family has no token that begins a text, so `add_special_tokens` changes nothing. Cleaning up blanks in decoded
text, pairs of texts and character offsets are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from regard.compat.features import BatchFeature
from regard.compat.refusal import Options, drop, only, refuse_rest, shown
from regard.errors import ConfigError, InputError
from regard.processing.side_files import read_json_object
from regard.processing.tokenizer import Tokenizer

SIDES = ("left", "right")


class PaddingTokenizer:
    """A checkpoint's tokenizer. `padding_side` may be set; it is where the shorter rows of a batch are filled up."""

    def __init__(
        self, tokenizer: Tokenizer, *, eos_token: str, pad_token: str, padding_side: str, model_max_length: int
    ) -> None:
        self._tokenizer = tokenizer
        self.eos_token, self.pad_token = eos_token, pad_token
        self.eos_token_id, self.pad_token_id = tokenizer.token_id(eos_token), tokenizer.token_id(pad_token)
        self.model_max_length = model_max_length
        self.padding_side = padding_side

    @classmethod
    def from_folder(cls, folder: Path, tokenizer: Tokenizer, padding_side: str | None = None) -> PaddingTokenizer:
        """Read the named tokens of tokenizer_config.json, the family's where it names none."""
        config = read_json_object(folder / "tokenizer_config.json")
        return cls(
            tokenizer,
            eos_token=_content(config.get("eos_token")) or "<|im_end|>",
            pad_token=_content(config.get("pad_token")) or "<|endoftext|>",
            padding_side=padding_side or config.get("padding_side") or "right",
            model_max_length=int(config.get("model_max_length") or 0) or 2**63 - 1,
        )

    @property
    def padding_side(self) -> str:
        """'left' or 'right'."""
        return self._padding_side

    @padding_side.setter
    def padding_side(self, side: str) -> None:
        if side not in SIDES:
            raise ConfigError(f"padding_side is {side!r}; it must be 'left' or 'right'")
        self._padding_side = side

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return self._tokenizer.vocab_size

    def __len__(self) -> int:
        return self._tokenizer.vocab_size

    def __call__(self, text: str | Sequence[str], **options: Any) -> BatchFeature:
        """Encode a text or a batch; the options are those of `pad`. One text alone gives flat lists."""
        is_single = isinstance(text, str)
        rows = [self.encode(one) for one in ([text] if isinstance(text, str) else text)]
        return_tensors = options.pop("return_tensors", None)
        made: dict[str, Any] = dict(self.pad(rows, options))
        if is_single and return_tensors is None:
            made = {name: row for name, (row,) in made.items()}
        return BatchFeature(made, return_tensors)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The ids of one text."""
        if not isinstance(text, str):
            raise InputError(f"a text is {shown(text)}; it must be a string")
        return self._tokenizer.encode(text)

    def pad(self, rows: Sequence[list[int]], options: Options) -> dict[str, list[list[int]]]:
        """Cut and fill up the rows of a batch as the options ask: `input_ids` and `attention_mask`.

        padding: True or "longest", "max_length", False; padding_side, max_length, truncation, pad_to_multiple_of.
        Errors: ConfigError for an option that is not honoured.
        """
        options = dict(options)
        drop(options, ("add_special_tokens", "verbose", "is_split_into_words"))
        only(options, "return_token_type_ids", False, advice="the family has no token types")
        padding, max_length = options.pop("padding", None), options.pop("max_length", None)
        side = options.pop("padding_side", None) or self.padding_side
        multiple = options.pop("pad_to_multiple_of", None)
        truncation = options.pop("truncation", None)
        with_mask = options.pop("return_attention_mask", None)
        refuse_rest(options, "the tokenizer")
        if side not in SIDES:
            raise ConfigError(f"padding_side is {side!r}; it must be 'left' or 'right'")
        if truncation in (True, "longest_first", "only_first"):
            rows = [row[: max_length or self.model_max_length] for row in rows]
        elif truncation not in (None, False, "do_not_truncate"):
            raise ConfigError(f"truncation is {truncation!r}; it must be True or False")
        length = _padded_length(padding, max_length, max(map(len, rows), default=0), self.model_max_length)
        if length and multiple:
            length = -(-length // multiple) * multiple
        filled = [[self.pad_token_id] * max(0, length - len(row)) for row in rows]
        made = {
            "input_ids": [fill + row if side == "left" else row + fill for fill, row in zip(filled, rows, strict=True)],
            "attention_mask": [
                [0] * len(fill) + [1] * len(row) if side == "left" else [1] * len(row) + [0] * len(fill)
                for fill, row in zip(filled, rows, strict=True)
            ],
        }
        if with_mask is False:
            del made["attention_mask"]
        return made

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **options: Any,
    ) -> Any:
        """The text of some ids (a number, a list, an array or a tensor); of a batch, the texts."""
        if clean_up_tokenization_spaces:
            raise ConfigError("clean_up_tokenization_spaces=True is not honoured here; the family's texts need none")
        only(options, "spaces_between_special_tokens", True, False, advice="the family's tokens bring their blanks")
        refuse_rest(options, "decode")
        ids = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        if isinstance(ids, int):
            ids = [ids]
        ids = [one.tolist() if hasattr(one, "tolist") else one for one in ids]
        if ids and isinstance(ids[0], list | tuple):
            return [self._tokenizer.decode(row, skip_special=skip_special_tokens) for row in ids]
        return self._tokenizer.decode(ids, skip_special=skip_special_tokens)

    def batch_decode(
        self,
        sequences: Iterable[Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **options: Any,
    ) -> list[str]:
        """The text of each row."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces, **options) for row in sequences]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of a token, or of each; None for one that does not exist."""
        if isinstance(tokens, str):
            return self._tokenizer.find_token(tokens)
        return [self._tokenizer.find_token(token) for token in tokens]


def _padded_length(padding: Any, max_length: int | None, longest: int, model_max_length: int) -> int:
    """To how many tokens rows are filled up; 0 for not at all."""
    if padding in (None, False, "do_not_pad"):
        return 0
    if padding in (True, "longest"):
        return longest
    if padding == "max_length":
        if max_length is None and model_max_length > 2**30:
            raise ConfigError("padding is 'max_length' and there is no max_length; give one")
        return max_length or model_max_length
    raise ConfigError(f"padding is {padding!r}; it must be True, False, 'longest' or 'max_length'")


def _content(token: Any) -> str | None:
    """A named token of tokenizer_config.json: a string, or an object with `content`."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
