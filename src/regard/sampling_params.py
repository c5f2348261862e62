"""How to choose the next token and when to end: validated, immutable, hashable values.

`temperature=0` is greedy. The order of operations is fixed and the same everywhere: logit bias, penalties, what may
not be chosen (padding of the vocabulary, ends before `min_tokens`, tokens that the structure forbids), then
temperature, top-k, top-p, min-p, and one draw from a generator seeded with `seed`.

Mappings and lists are taken and kept as tuples or JSON text, so that equal options compare and hash as equal.
Whether a schema or a grammar can be compiled is found out where it is compiled.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from regard.errors import ConfigError

StructureKind = Literal["json_schema", "json_object", "regex", "grammar", "choice"]

MAX_ANSWERS = 128  # of one request, as in OpenAI's API
MAX_LOGPROBS = 20  # alternatives per token, as in OpenAI's API
MAX_BIAS = 100.0
MIN_TEMPERATURE = 1e-30  # below, float32 cannot divide by it
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Structure:
    """What an answer must look like; only tokens that keep it possible are chosen.

    json_schema   a JSON Schema, as text or as a mapping (kept as text)
    json_object   any JSON object; no value
    regex         an expression that the whole answer matches (Rust syntax, no look-around)
    grammar       Lark syntax as llguidance reads it, beginning with the rule `start`
    choice        a sequence of strings, one of which is the answer (kept as a tuple)
    """

    kind: StructureKind
    value: str | Mapping[str, Any] | Sequence[str] = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(StructureKind):
            raise ConfigError(
                f"structure kind is {self.kind!r}; it must be one of {', '.join(get_args(StructureKind))}"
            )
        # The one place where the field is set: afterwards it is text or a tuple.
        object.__setattr__(self, "value", _structure_value(self.kind, self.value))

    @property
    def text(self) -> str:
        """The schema, expression or grammar; empty for the other kinds."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def choices(self) -> tuple[str, ...]:
        """The strings to choose from; empty for the other kinds."""
        return tuple(self.value) if self.kind == "choice" else ()


@dataclass(frozen=True)
class SamplingParams:
    """Sampling options of one request. `max_tokens` counts generated tokens, `stop` are strings.

    n                 answers to the same prompt
    logit_bias        {token id: number from -100 to 100}, added to the logits; kept as sorted pairs
    num_logprobs      None: off; 0: the log probability of the chosen token; N: and of the N likeliest
    thinking_budget   tokens inside <think> before it is closed; None: no limit
    answer_reserve    tokens of max_tokens that thinking leaves for the answer: it is closed when no more are left
    repetition_guard  lead the model out of a loop, and end an answer that goes on looping (`engine/repetition.py`)
    structure         what the answer must look like
    ignore_eos        go on after the end of turn, up to `max_tokens`
    min_tokens        no end is chosen before so many tokens
    stop_token_ids    end the answer like the end of turn does
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int = 1024
    n: int = 1
    logit_bias: Mapping[int, float] | tuple[tuple[int, float], ...] = ()
    num_logprobs: int | None = None
    thinking_budget: int | None = None
    answer_reserve: int = 0
    repetition_guard: bool = False
    structure: Structure | None = None
    ignore_eos: bool = False
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_number("temperature", self.temperature, 0, math.inf, "0 or more")
        if self.temperature == math.inf or 0 < self.temperature < MIN_TEMPERATURE:
            raise ConfigError(
                f"temperature is {self.temperature}; it must be 0, or finite and {MIN_TEMPERATURE} or more"
            )
        _check_number("top_p", self.top_p, 0, 1, "in (0, 1]", excluded=0)
        _check_whole("top_k", self.top_k, 0, None, "0 (off) or more")
        _check_number("min_p", self.min_p, 0, 1, "in [0, 1]")
        _check_number("repetition_penalty", self.repetition_penalty, 0, math.inf, "above 0", excluded=0)
        _check_number("presence_penalty", self.presence_penalty, -2, 2, "in [-2, 2]")
        _check_number("frequency_penalty", self.frequency_penalty, -2, 2, "in [-2, 2]")
        if self.repetition_penalty == math.inf:
            raise ConfigError("repetition_penalty is inf; it must be finite")
        if self.seed is not None:
            _check_whole("seed", self.seed, -MAX_SEED, MAX_SEED, "None or a number of 64 bits")
        _check_whole("max_tokens", self.max_tokens, 1, None, "1 or more")
        _check_whole("n", self.n, 1, MAX_ANSWERS, f"from 1 to {MAX_ANSWERS}")
        if self.num_logprobs is not None:
            _check_whole("num_logprobs", self.num_logprobs, 0, MAX_LOGPROBS, f"None, or from 0 to {MAX_LOGPROBS}")
        if self.thinking_budget is not None:
            _check_whole("thinking_budget", self.thinking_budget, 0, None, "None, or 0 or more")
        _check_whole(
            "answer_reserve", self.answer_reserve, 0, self.max_tokens, f"from 0 to max_tokens ({self.max_tokens})"
        )
        _check_whole("min_tokens", self.min_tokens, 0, self.max_tokens, f"from 0 to max_tokens ({self.max_tokens})")
        for name in ("ignore_eos", "repetition_guard"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be True or False")
        if isinstance(self.stop, str) or not _all_of(self.stop, lambda s: isinstance(s, str) and s != ""):
            raise ConfigError(f"stop is {self.stop!r}; it must be a tuple of non-empty strings")
        if not _all_of(self.stop_token_ids, lambda i: _is_whole(i) and i >= 0):
            raise ConfigError(f"stop_token_ids is {self.stop_token_ids!r}; it must be a tuple of token ids, 0 or more")
        # Kept as tuples, so that the value is immutable and hashes whatever it was made of.
        object.__setattr__(self, "stop", tuple(self.stop))
        object.__setattr__(self, "stop_token_ids", tuple(self.stop_token_ids))
        object.__setattr__(self, "logit_bias", _bias_pairs(self.logit_bias))
        self._check_structure()

    @property
    def bias_pairs(self) -> tuple[tuple[int, float], ...]:
        """`logit_bias` as (token id, bias), sorted by id."""
        return tuple(self.logit_bias)  # type: ignore[arg-type]  # pairs since __post_init__

    @property
    def has_penalties(self) -> bool:
        """Whether any of the three penalties changes logits."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0

    def _check_structure(self) -> None:
        if self.structure is None:
            return
        if not isinstance(self.structure, Structure):
            raise ConfigError(
                f"structure is {self.structure!r}; it must be a Structure, such as Structure('json_object')"
            )
        # A complete answer can only end: both options would leave no token to choose.
        if self.ignore_eos or self.min_tokens:
            name = "ignore_eos" if self.ignore_eos else "min_tokens"
            raise ConfigError(
                f"{name} cannot be combined with structure, whose answer ends when it is complete; drop one"
            )


def _structure_value(kind: str, value: Any) -> str | tuple[str, ...]:
    if kind == "choice":
        if isinstance(value, str) or not _all_of(value, lambda s: isinstance(s, str) and s != "") or not value:
            raise ConfigError(f"structure choice is {value!r}; it must be a sequence of non-empty strings")
        if len(set(value)) != len(value):
            raise ConfigError(f"structure choice is {value!r}; each string may occur once")
        return tuple(value)
    if kind == "json_object":
        if value != "":
            raise ConfigError(
                f"structure json_object takes no value, and it is {value!r}; use json_schema for a schema"
            )
        return ""
    if kind == "json_schema":
        return _schema_text(value)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"structure {kind} is {value!r}; it must be text that is not empty")
    return value


def _schema_text(value: Any) -> str:
    try:
        schema = json.loads(value) if isinstance(value, str) else value
        if isinstance(schema, Mapping):
            return json.dumps(dict(schema))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"structure json_schema is not JSON ({error}); give a mapping or JSON text") from None
    raise ConfigError(f"structure json_schema is {value!r}; it must be a JSON object, such as {{'type': 'object'}}")


def _bias_pairs(value: Any) -> tuple[tuple[int, float], ...]:
    try:
        pairs = dict(value).items()
    except (TypeError, ValueError):
        raise ConfigError(f"logit_bias is {value!r}; it must map token ids to numbers") from None
    for token_id, bias in pairs:
        if not _is_whole(token_id) or token_id < 0:
            raise ConfigError(f"logit_bias names the token {token_id!r}; it must be a token id, 0 or more")
        _check_number(f"logit_bias of token {token_id}", bias, -MAX_BIAS, MAX_BIAS, f"in [-{MAX_BIAS:g}, {MAX_BIAS:g}]")
    return tuple(sorted((token_id, float(bias)) for token_id, bias in pairs))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _all_of(values: Any, is_good: Any) -> bool:
    return isinstance(values, list | tuple) and all(is_good(value) for value in values)


def _check_whole(name: str, value: Any, low: int, high: int | None, limit: str) -> None:
    if not _is_whole(value):
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, {limit}")
    if value < low or (high is not None and value > high):
        raise ConfigError(f"{name} is {value}; it must be {limit}")


def _check_number(name: str, value: Any, low: float, high: float, limit: str, *, excluded: float | None = None) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; it must be a number, {limit}")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ConfigError(f"{name} is {str(value)[:40]}..., which no computer's number can hold; it must be {limit}")
    if not low <= value <= high or value == excluded:  # not-a-number fails every comparison
        raise ConfigError(f"{name} is {value}; it must be {limit}")
