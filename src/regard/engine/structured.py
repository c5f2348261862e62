"""Answers that keep to a schema, an expression or a grammar: which tokens may come next, by llguidance.

    vocabulary = Vocabulary(tokenizer_json, num_token_ids=..., end_ids=...)   once per checkpoint
    grammar = Grammar(vocabulary, structure)                                  once per structure, kept by the caller
    constraint = Constraint(grammar, end_think_id=...)                        once per answer
    constraint.fill_mask(mask_W, num_left)            the tokens allowed next, bit i of word w is id 32 w + i
    token_id = constraint.accept(token_id, num_left)  note the token; see below why it may come back another

An answer that is cut off at its limit of tokens is not valid JSON. So a constraint always knows a way home: tokens
that complete the answer from where it stands (`closing`). `num_left` is how many tokens may still come, the next one
included. As long as the way fits into it, tokens are free. When the way needs all that is left, only its next token
is allowed; and a token after which the way would no longer fit is replaced by the way's next token: that is when
`accept` returns another token than it was given. So every answer is complete, whatever the model wants, if the first
way fits into the limit (`Grammar.shortest` says how long it is) and the grammar has an end that can be found.

A Thinking edition thinks first: everything but an end is allowed until `end_think_id`, which is also what the way home
begins with; then up to two line breaks, which belong to the format; then the grammar.

White space in JSON is bounded: one blank, or one line break with up to 20 blanks or tabs, between any two tokens.

It does not sample, and does not know logits. Shape letters: W words of 32 bits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from regard.engine.closing import completes, find_end
from regard.errors import CheckpointError, ConfigError, EngineError, MissingDependencyError
from regard.sampling_params import Structure

if TYPE_CHECKING:
    from llguidance import LLMatcher

WHITE_SPACE = r"(\n[ \t]{0,20}| )"
MAX_LINE_BREAKS = 2  # between the thinking and the answer
ROOM_WITHOUT_WAY = 256  # with fewer tokens left, no step is made to where no way home is known
# Compiling takes seconds and hundreds of megabytes beyond these. 120,000 is also the limit of OpenAI's API for schemas.
MAX_CHARACTERS = {"json_schema": 120_000, "json_object": 0, "regex": 20_000, "grammar": 120_000, "choice": 120_000}
_LARK_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|/(?:\\.|[^/\\\n])+/|(<[^<>\s\[\]"]+>)')
MAX_REASON = 300  # characters of the library's own words in an error

Phase = Literal["thinking", "answer", "ended"]


class Vocabulary:
    """A checkpoint's tokens as llguidance wants them. `tokenizer_json` is the text of a tokenizer.json.

    `num_token_ids` is how many ids the tokenizer knows; masks have a bit for each. `end_ids` end a reply.
    Errors: MissingDependencyError without llguidance; CheckpointError for a tokenizer that it cannot read.
    """

    def __init__(self, tokenizer_json: str, *, num_token_ids: int, end_ids: Sequence[int]) -> None:
        llguidance = _llguidance()
        self.end_ids = tuple(end_ids)
        self.num_words = -(-num_token_ids // 32)
        try:
            self.tokens = llguidance.LLTokenizer(tokenizer_json, n_vocab=num_token_ids, eos_token=list(end_ids))
            self.bytes = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()), slices=[])
        except ValueError as error:
            raise CheckpointError(
                f"the tokenizer cannot be used for structured output ({_reason(str(error))})"
            ) from None
        self.added_ids = {token["content"]: int(token["id"]) for token in json.loads(tokenizer_json)["added_tokens"]}
        self.byte_ids = [self._single(bytes([byte])) for byte in range(256)]
        self.line_breaks = {ids[0]: num for num in (1, 2) if len(ids := self.tokens.tokenize_bytes(b"\n" * num)) == 1}

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token."""
        return self.tokens.decode_bytes([token_id])

    def tokenize(self, text: bytes) -> list[int]:
        """Few tokens for some bytes, which may begin inside a character."""
        start = next((i for i, byte in enumerate(text) if byte & 0xC0 != 0x80), len(text))
        return [self.byte_ids[byte] for byte in text[:start]] + self.tokens.tokenize_bytes(text[start:])

    def _single(self, text: bytes) -> int:
        return self.tokens.tokenize_bytes(text)[-1]


class _Bytes:
    """A tokenizer whose tokens are the 256 bytes."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"<|end of bytes|>")
    special_token_ids = (256,)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


class Grammar:
    """A structure compiled for a vocabulary. Errors: ConfigError with the reason why it cannot be used."""

    def __init__(self, vocabulary: Vocabulary, structure: Structure) -> None:
        matcher_class = _llguidance().LLMatcher
        num_characters, limit = len(structure.text) + sum(map(len, structure.choices)), MAX_CHARACTERS[structure.kind]
        if num_characters > limit:
            raise ConfigError(f"the {structure.kind} has {num_characters} characters, the limit is {limit}; shorten it")
        try:
            text = _grammar_text(structure)
        except ValueError as error:  # nested too deeply, or a number that it cannot hold
            raise ConfigError(f"the {structure.kind} cannot be used: {_reason(str(error))}; change it") from None
        self.vocabulary = vocabulary
        self._matcher: LLMatcher = matcher_class(vocabulary.tokens, text, log_level=0)
        if self._matcher.is_error():
            reason = _reason(self._matcher.get_error())
            raise ConfigError(f"the {structure.kind} cannot be used: {reason}; change it")
        # Where a grammar names added tokens, as <tool_call>, bytes are read as their text.
        names = _named_tokens(text) if structure.kind == "grammar" else ()
        self.named_ids = {name.encode(): vocabulary.added_ids[name] for name in names if name in vocabulary.added_ids}
        by_bytes: LLMatcher = matcher_class(vocabulary.bytes, _spelled(text) if names else text, log_level=0)
        # One that names tokens by their numbers cannot be read by bytes; then no way home is known.
        self._by_bytes = None if by_bytes.is_error() else by_bytes
        way = None if self._by_bytes is None else find_end(by_bytes, is_thorough=True)
        self.way = None if way is None else self.as_way(way, self._matcher)

    @property
    def shortest(self) -> int | None:
        """Tokens of the shortest answer known; None if no way to complete one was found."""
        return None if self.way is None else len(self.way.ids)

    def as_way(self, text: bytes, matcher: LLMatcher) -> Way | None:
        """The way in few tokens if the matcher reads them, else byte by byte; None if it reads neither."""
        few: list[int] = []
        names = b"|".join(map(re.escape, self.named_ids))
        for piece in re.split(b"(" + names + b")", text) if names else [text]:
            few += [self.named_ids[piece]] if piece in self.named_ids else self.vocabulary.tokenize(piece)
        for ids in (few, [self.vocabulary.byte_ids[byte] for byte in text]):
            if matcher.validate_tokens(ids) == len(ids):
                return Way(text, tuple(ids))
        return None

    def matchers(self) -> tuple[LLMatcher, LLMatcher | None]:
        """Copies of the matchers of tokens and of bytes, at the start."""
        return self._matcher.deep_copy(), None if self._by_bytes is None else self._by_bytes.deep_copy()


@dataclass(frozen=True, slots=True)
class Way:
    """What completes an answer: the same text as bytes and as tokens."""

    text: bytes
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """What `rollback` needs of one accepted token: the state before it, and how much the matchers read."""

    phase: Phase
    line_breaks_left: int
    way: Way | None
    has_mirror: bool
    is_closing: bool
    num_tokens: int  # read by the matcher of tokens: 0 or 1
    num_bytes: int  # read by the matcher of bytes


class Constraint:
    """One answer under a grammar. `end_think_id` is the id of </think> if the answer begins with thinking."""

    def __init__(self, grammar: Grammar, *, end_think_id: int | None = None) -> None:
        self._grammar, self._vocabulary = grammar, grammar.vocabulary
        self._matcher, self._by_bytes = grammar.matchers()
        # Whether the matcher of bytes stands where the other does; it is not needed if there is no way home.
        self._has_mirror = self._by_bytes is not None and grammar.way is not None
        self._end_think_id = end_think_id
        self._phase: Phase = "answer" if end_think_id is None else "thinking"
        self._line_breaks_left = 0
        self._way = grammar.way
        self._steps: list[_Step] = []
        self.is_closing = False

    @property
    def is_complete(self) -> bool:
        """Whether nothing but an end may follow, so that the answer can be finished at once."""
        return self._phase == "ended" or (self._phase == "answer" and self._matcher.is_stopped())

    @property
    def closing_ids(self) -> tuple[int, ...] | None:
        """The tokens that would complete the answer from here; None if no way is known."""
        if self._way is None or self._phase == "ended":
            return None if self._way is None else ()
        return (self._end_think(), *self._way.ids) if self._phase == "thinking" else self._way.ids

    def fill_mask(self, mask_W: Tensor, num_left: int) -> None:
        """Write the tokens allowed next. Shapes: mask_W int32 on the CPU, `Vocabulary.num_words` words.

        Errors: EngineError if the grammar became too complex to follow.
        """
        way = self.closing_ids
        if way and len(way) >= num_left:
            mask_W.zero_()
            _set_bit(mask_W, way[0], True)
        elif self._phase == "thinking":
            mask_W.fill_(-1)
            for end_id in self._vocabulary.end_ids:
                _set_bit(mask_W, end_id, False)
        elif self._phase == "ended":
            mask_W.zero_()
            for end_id in self._vocabulary.end_ids:
                _set_bit(mask_W, end_id, True)
        else:
            self._matcher.unsafe_compute_mask_ptr(mask_W.data_ptr(), mask_W.numel() * mask_W.element_size())
            self._check_limits()
            if not mask_W.any():
                raise EngineError("the structure allows no token; this should not happen, please report its grammar")
            for token_id, num in self._vocabulary.line_breaks.items():
                if num <= self._line_breaks_left:
                    _set_bit(mask_W, token_id, True)

    def accept(self, token_id: int, num_left: int) -> int:
        """Note the next token and return it, or the one that has to be taken so that the answer can be completed.

        `num_left` counts this token. Errors: EngineError for a token that the mask did not allow, or if the grammar
        became too complex to follow.
        """
        way = self.closing_ids
        if not way or len(way) < num_left:
            self._take(token_id)
            if self._fits(num_left - 1, way):
                return token_id
            self.rollback(1)
        forced = way[0] if way else self._vocabulary.end_ids[0]
        self._take(forced)
        self.is_closing = True
        return forced

    def rollback(self, num_tokens: int) -> None:
        """Forget the newest tokens."""
        for _ in range(num_tokens):
            step = self._steps.pop()
            if step.num_tokens:
                self._matcher.rollback(step.num_tokens)
            if step.num_bytes and self._by_bytes is not None:
                self._by_bytes.rollback(step.num_bytes)
            self._phase, self._line_breaks_left, self._way = step.phase, step.line_breaks_left, step.way
            self._has_mirror, self.is_closing = step.has_mirror, step.is_closing

    def _take(self, token_id: int) -> None:
        """Move on by one token and find the way home from there."""
        phase, line_breaks_left, way, has_mirror = self._phase, self._line_breaks_left, self._way, self._has_mirror
        num_tokens = num_bytes = 0
        if phase == "thinking":
            if token_id == self._end_think_id:
                self._phase, self._line_breaks_left = "answer", MAX_LINE_BREAKS
        elif phase == "ended":
            raise EngineError(f"token {token_id} follows the end of a structured answer")
        elif token_id in self._vocabulary.end_ids and self._matcher.is_accepting():
            self._phase = "ended"
        elif self._is_line_break(token_id):
            self._line_breaks_left -= self._vocabulary.line_breaks[token_id]
        elif self._matcher.try_consume_tokens([token_id]) == 1:
            num_tokens, num_bytes = 1, self._mirror(token_id)
            self._line_breaks_left = 0
        else:
            self._check_limits()
            raise EngineError(f"token {token_id} is not allowed by the structure; a mask was not applied")
        self._steps.append(_Step(phase, line_breaks_left, way, has_mirror, self.is_closing, num_tokens, num_bytes))

    def _check_limits(self) -> None:
        if self._matcher.is_error():
            reason = _reason(self._matcher.get_error())
            raise EngineError(f"the structure became too complex to be followed further ({reason}); simplify it")

    def _is_line_break(self, token_id: int) -> bool:
        """Whether the token is one between thinking and answer, and not one of the grammar's own."""
        num = self._vocabulary.line_breaks.get(token_id)
        return num is not None and num <= self._line_breaks_left and self._matcher.validate_tokens([token_id]) == 0

    def _mirror(self, token_id: int) -> int:
        """Let the matcher of bytes read a token, and renew the way home; returns the number of bytes read."""
        text = self._vocabulary.token_bytes(token_id)
        old, self._way = self._way, None
        if self._by_bytes is None or not self._has_mirror:
            return 0
        num_read = self._by_bytes.try_consume_tokens(list(text))
        if num_read != len(text) or not text:
            self._has_mirror = False  # the grammar names tokens by their numbers: bytes cannot follow it
            return num_read
        if old is not None and old.ids and old.ids[0] == token_id:
            self._way = Way(old.text[len(text) :], old.ids[1:])
        elif old is not None and completes(self._by_bytes, old.text):
            self._way = old
        else:
            self._way = self._search(is_thorough=False)
        return num_read

    def _search(self, *, is_thorough: bool) -> Way | None:
        assert self._by_bytes is not None
        text = find_end(self._by_bytes, is_thorough=is_thorough)
        return None if text is None else self._grammar.as_way(text, self._matcher)

    def _fits(self, num_left: int, before: tuple[int, ...] | None) -> bool:
        """Whether the answer can be completed from here with `num_left` tokens; `before` was the way before."""
        if before is None:
            return True  # no promise could be made
        if self._way is not None and self._phase == "answer" and len(self._way.ids) > num_left and self._has_mirror:
            self._way = self._search(
                is_thorough=True
            )  # the way at hand still leads home, but there may be a shorter one
        now = self.closing_ids
        return num_left >= ROOM_WITHOUT_WAY if now is None else len(now) <= num_left

    def _end_think(self) -> int:
        assert self._end_think_id is not None
        return self._end_think_id


def _named_tokens(grammar: str) -> tuple[str, ...]:
    """The tokens that a grammar in Lark syntax names: <...> outside of strings and expressions."""
    return tuple({found[1]: None for found in _LARK_TOKEN.finditer(grammar) if found[1]})


def _spelled(grammar: str) -> str:
    """The grammar with the text of each named token in its place."""
    return _LARK_TOKEN.sub(lambda found: json.dumps(found[1]) if found[1] else found[0], grammar)


def _grammar_text(structure: Structure) -> str:
    matcher = _llguidance().LLMatcher
    if structure.kind in ("json_schema", "json_object"):
        schema = structure.text if structure.kind == "json_schema" else '{"type": "object"}'
        text: str = matcher.grammar_from_json_schema(schema, overrides={"whitespace_pattern": WHITE_SPACE})
    elif structure.kind == "regex":
        text = matcher.grammar_from_regex(structure.text)
    elif structure.kind == "choice":
        text = matcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, structure.choices)))
    else:
        text = matcher.grammar_from_lark(structure.text)
    return text


def _llguidance() -> Any:
    try:
        import llguidance
    except ImportError:
        raise MissingDependencyError(
            "structured output needs llguidance, which is not installed; run: pip install 'regard[structured]'"
        ) from None
    return llguidance


def _reason(message: str) -> str:
    """The library's message on one line, without its excerpts of the grammar and of its own state."""
    lines: Iterable[str] = message.split("<state>")[0].splitlines()
    kept = [line.strip() for line in lines if line.strip(" ^") and "|" not in line[:8]]
    cause = [line.removeprefix("error: ") for line in kept if line.startswith("error: ")]
    return " ".join(" ".join(cause or kept).split())[:MAX_REASON] or "llguidance gives no reason"


def _set_bit(mask_W: Tensor, token_id: int, is_on: bool) -> None:
    bit = 1 << token_id % 32
    word = int(mask_W[token_id // 32]) & 0xFFFFFFFF
    word = word | bit if is_on else word & ~bit
    mask_W[token_id // 32] = word - (1 << 32) if word >> 31 else word
