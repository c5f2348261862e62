"""`SamplingParams` with the names, defaults and meanings of vLLM's.

    SamplingParams(temperature=0.7, top_p=0.8, top_k=20, max_tokens=1024, stop=["END"], seed=1)

Its defaults are not ours: temperature 1.0 and 16 tokens. A temperature below `GREEDY` is greedy. top_k of -1 or 0 is
off. `structured_outputs` (or, as it was called, `guided_decoding`) takes json, regex, choice or json_object; the
grammars of vLLM are written in other languages than ours and are refused, like bad words, log probabilities of the
prompt, processors of logits and beams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regard.compat.refusal import shown
from regard.errors import ConfigError
from regard.sampling_params import MAX_LOGPROBS, Structure, StructureKind
from regard.sampling_params import SamplingParams as EngineParams

GREEDY = 1e-5
# The value that asks for nothing, for each option that is not honoured.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "bad_words": ([], ()),
    "prompt_logprobs": (),
    "logits_processors": ([], ()),
    "truncate_prompt_tokens": (),
    "allowed_token_ids": (),
    "extra_args": ({},),
    "detokenize": (True,),
    "spaces_between_special_tokens": (True, False),  # the family's tokens bring their blanks
    "output_kind": (),
    "use_beam_search": (False,),
    "early_stopping": (False,),
    "length_penalty": (1.0,),
    "skip_clone": (False, True),
}


@dataclass(frozen=True)
class StructuredOutputsParams:
    """What an answer must look like: one of json (a schema), regex, choice and json_object."""

    json: str | Mapping[str, Any] | None = None
    regex: str | None = None
    choice: Sequence[str] | None = None
    json_object: bool | None = None
    grammar: None = None
    structural_tag: None = None

    @property
    def structure(self) -> Structure:
        """Our own value for it. Errors: ConfigError unless it is exactly one kind that is honoured."""
        if self.grammar is not None or self.structural_tag is not None:
            raise ConfigError(
                "a grammar of vLLM is not honoured here; use json, regex or choice, or regard's Structure"
            )
        given: list[tuple[StructureKind, Any]] = [("json_schema", self.json), ("regex", self.regex)]
        given += [("choice", self.choice), ("json_object", "" if self.json_object else None)]
        named = [Structure(kind, value) for kind, value in given if value is not None]
        if len(named) != 1:
            raise ConfigError(f"structured output has {len(named)} kinds; give one of json, regex, choice, json_object")
        return named[0]


@dataclass
class SamplingParams:
    """How one request is sampled; checked when it is made. Errors: ConfigError in one sentence."""

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    skip_special_tokens: bool = True
    logit_bias: Mapping[int, float] | None = None
    best_of: Any = None
    bad_words: Any = None
    prompt_logprobs: Any = None
    logits_processors: Any = None
    truncate_prompt_tokens: Any = None
    structured_outputs: Any = None
    guided_decoding: Any = None
    allowed_token_ids: Any = None
    extra_args: Any = None
    detokenize: bool = True
    spaces_between_special_tokens: bool = True
    output_kind: Any = None
    use_beam_search: bool = False
    early_stopping: Any = False
    length_penalty: float = 1.0
    skip_clone: bool = False

    def __post_init__(self) -> None:
        for name, neutral in _NEUTRAL.items():
            value = getattr(self, name)
            if value is not None and not any(type(value) is type(one) and value == one for one in neutral):
                raise ConfigError(
                    f"SamplingParams does not honour {name}={shown(value)}; leave it out (docs/compat.md)"
                )
        if self.n > 1 and self.is_greedy:
            raise ConfigError(f"n is {self.n} with temperature {self.temperature}; all answers would be the same")
        if self.top_k < -1:
            raise ConfigError(f"top_k is {self.top_k}; it must be -1 or 0 (off), or more")
        if self.logprobs is not None and not 0 <= self.logprobs <= MAX_LOGPROBS:
            raise ConfigError(f"logprobs is {self.logprobs}; it must be None, or from 0 to {MAX_LOGPROBS}")
        if self.seed is not None and self.seed == -1:
            self.seed = None
        self.for_engine(1 if self.max_tokens is None else self.max_tokens, None)

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return 0 <= self.temperature < GREEDY

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def structure(self) -> Structure | None:
        """What the answer must look like, as our own value."""
        asked = self.structured_outputs if self.structured_outputs is not None else self.guided_decoding
        if asked is None or isinstance(asked, StructuredOutputsParams):
            return None if asked is None else asked.structure
        raise ConfigError(f"structured output is {shown(asked)}; use regard.compat.StructuredOutputsParams")

    def clone(self) -> SamplingParams:
        """A copy."""
        return replace(self)

    def for_engine(self, max_tokens: int, seed: int | None) -> EngineParams:
        """Our own parameters; `seed` is used where none was given. Stop strings are not in them."""
        return EngineParams(
            temperature=0.0 if self.is_greedy else self.temperature,
            top_p=self.top_p,
            top_k=max(self.top_k, 0),
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=self.seed if self.seed is not None else seed,
            max_tokens=max_tokens,
            min_tokens=min(self.min_tokens, max_tokens),
            n=self.n,
            logit_bias=dict(self.logit_bias or {}),
            num_logprobs=self.logprobs,
            ignore_eos=self.ignore_eos,
            stop_token_ids=tuple(self.stop_token_ids or ()),
            structure=self.structure,
        )
