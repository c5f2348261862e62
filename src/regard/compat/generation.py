"""How `generate` chooses and ends: transformers' options to `SamplingParams`.

    options of the call > its generation_config > model.generation_config (the checkpoint's file) > defaults

Without do_sample (or do_sample=True in the checkpoint's file) the likeliest token is taken, and options of sampling
change nothing, with a warning if they were given in the call. With it, top_k is 50 where nobody says otherwise.
Without a limit 20 tokens are made. These are that library's rules, kept because programs rely on them.

Sampled answers take their seeds from torch's global generator, so `torch.manual_seed` and `set_seed` make a program
repeatable here as there (not with the same draws). Beam search, contrastive and assisted search, scores, user-written
processors and criteria, and lists of forbidden words are refused.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regard.compat.refusal import shown
from regard.errors import ConfigError
from regard.processing.side_files import read_json_object
from regard.sampling_params import SamplingParams
from regard.weights.hub import resolve_model

DEFAULT_NEW_TOKENS = 20
DEFAULT_TOP_K = 50
SAMPLING = ("temperature", "top_p", "top_k", "min_p")
HONOURED = frozenset(
    {
        *SAMPLING,
        *("max_new_tokens", "max_length", "min_new_tokens", "min_length", "max_time", "stop_strings", "eos_token_id"),
        *("do_sample", "repetition_penalty", "num_return_sequences", "pad_token_id", "return_dict_in_generate"),
    }
)
# They say how to compute, or belong to what is refused, and change no token here.
WITHOUT_EFFECT = frozenset(
    {
        *("use_cache", "disable_compile", "compile_config"),
        *("synced_gpus", "prefill_chunk_size", "prompt_lookup_num_tokens", "bos_token_id", "tokenizer"),
        *("transformers_version", "return_legacy_cache", "max_matching_ngram_size", "low_memory"),
    }
)
# Values at which an option asks for nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "cache_implementation": ("dynamic", "static", "offloaded", "offloaded_static", "hybrid", "paged"),
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "early_stopping": (False,),
    "length_penalty": (1.0,),
    "diversity_penalty": (0.0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1.0,),
    "typical_p": (1.0,),
    "epsilon_cutoff": (0.0,),
    "eta_cutoff": (0.0,),
    "penalty_alpha": (0.0,),
    "guidance_scale": (1.0,),
    "remove_invalid_values": (False,),
    "renormalize_logits": (False, True),
    "output_scores": (False,),
    "output_logits": (False,),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
    "token_healing": (False,),
    "is_assistant": (False,),
    "logits_processor": ([], ()),
    "stopping_criteria": ([], ()),
    "num_assistant_tokens": (20,),
    "num_assistant_tokens_schedule": ("constant",),
    "assistant_confidence_threshold": (0.4,),
    "assistant_lookbehind": (10,),
    "target_lookbehind": (10,),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "bad_words_ids": ([],),
    **dict.fromkeys(
        (
            *("assistant_model", "constraints", "custom_generate", "decoder_start_token_id", "dola_layers"),
            *("exponential_decay_length_penalty", "force_words_ids", "forced_bos_token_id"),
            *("forced_eos_token_id", "negative_prompt_ids", "prefix_allowed_tokens_fn", "sequence_bias"),
            *("top_h", "use_model_defaults", "use_mtp", "watermarking_config"),
        ),
        (),
    ),
}


class GenerationConfig:
    """Options of `generate` under their names, as attributes; None or missing: not said.

    Errors: ConfigError for an option that is not honoured.
    """

    def __init__(self, **options: Any) -> None:
        self.update(**options)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> GenerationConfig:
        """Read a model folder's generation_config.json."""
        return cls.from_folder(resolve_model(str(name)))

    @classmethod
    def from_folder(cls, folder: Path) -> GenerationConfig:
        """As `from_pretrained`. Keys that are no options of `generate` say nothing, as there."""
        read = read_json_object(folder / "generation_config.json")
        return cls(**{name: value for name, value in read.items() if is_known(name)})

    def update(self, **options: Any) -> None:
        """Set several options."""
        for name, value in options.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        check_option(name, value)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if is_known(name):
            return None
        raise AttributeError(name)

    def to_dict(self) -> dict[str, Any]:
        """The options that were set."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Plan:
    """What one call of `generate` does. `seeds`: one for each prompt; `max_time_s` bounds the whole call."""

    params: SamplingParams
    seeds: tuple[int | None, ...]
    stops: tuple[str, ...]
    pad_token_id: int
    max_time_s: float | None
    returns_dict: bool

    def with_seed(self, seed: int | None) -> SamplingParams:
        """The parameters of one prompt."""
        return replace(self.params, seed=seed)


def is_known(name: str) -> bool:
    """Whether `generate` has such an option."""
    return name in HONOURED or name in WITHOUT_EFFECT or name in NEUTRAL


def check_option(name: str, value: Any) -> None:
    """Errors: ConfigError for an option of `generate` that is not honoured."""
    if value is None or name in HONOURED or name in WITHOUT_EFFECT:
        return
    neutral = NEUTRAL.get(name, ())
    if not any(type(value) is type(one) and value == one for one in neutral):
        meaning = f"only {name}={neutral[0]!r} is" if neutral else "leave it out"
        raise ConfigError(f"generate does not honour {name}={shown(value)}; {meaning} (see docs/compat.md)")


def make_plan(
    given: Mapping[str, Any],
    config: Any,
    base: GenerationConfig,
    *,
    num_prompt_tokens: int,
    num_prompts: int,
    eos_token_ids: tuple[int, ...],
    pad_token_id: int,
) -> Plan:
    """Join the options of a call. `num_prompt_tokens` is that of a row, padding included.

    Errors: ConfigError for an option that is not honoured, or options that contradict each other.
    """
    for name, value in given.items():
        check_option(name, value)
    said = _set_options(config) | {name: value for name, value in given.items() if value is not None}
    for name, value in said.items():
        check_option(name, value)
    options = base.to_dict() | said
    # None in the call takes back what a file says about sampling, as there: temperature=None is no temperature.
    for name in SAMPLING:
        if name in given and given[name] is None:
            options.pop(name, None)
    does_sample = bool(options.get("do_sample", False))
    num_answers = int(options.get("num_return_sequences", 1))
    if num_answers != 1 and not does_sample:
        raise ConfigError(f"num_return_sequences is {num_answers} without do_sample; all answers would be the same")
    if does_sample and options.get("temperature", 1.0) == 0:
        raise ConfigError("temperature is 0 with do_sample=True; pass do_sample=False for the likeliest tokens")
    unused = [name for name in SAMPLING if name in said] if not does_sample else []
    if unused:
        warnings.warn(
            f"{', '.join(unused)} changes nothing without do_sample=True: the likeliest token is taken", stacklevel=3
        )
    max_tokens, min_tokens = _lengths(options, said, num_prompt_tokens)
    eos = options.get("eos_token_id")
    eos_ids = eos_token_ids if eos is None else tuple(eos) if isinstance(eos, list | tuple) else (int(eos),)
    stops = options.get("stop_strings") or ()
    params = SamplingParams(
        repetition_penalty=float(options.get("repetition_penalty", 1.0)),
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        n=num_answers,
        # The ids that end an answer are these alone, whatever the checkpoint's file says.
        ignore_eos=True,
        stop_token_ids=eos_ids,
        **(_sampling(options, given) if does_sample else {}),
    )
    return Plan(
        params=params,
        seeds=tuple(int(torch.randint(2**62, ())) if does_sample else None for _ in range(num_prompts)),
        stops=(stops,) if isinstance(stops, str) else tuple(stops),
        pad_token_id=int(options.get("pad_token_id", pad_token_id)),
        max_time_s=options.get("max_time"),
        returns_dict=bool(options.get("return_dict_in_generate", False)),
    )


def _sampling(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    no_top_k = "top_k" in given and given["top_k"] is None
    return {
        "temperature": float(options.get("temperature", 1.0)),
        "top_p": float(options.get("top_p", 1.0)),
        "top_k": int(options.get("top_k", 0 if no_top_k else DEFAULT_TOP_K)),
        "min_p": float(options.get("min_p", 0.0)),
    }


def _lengths(options: Mapping[str, Any], said: Mapping[str, Any], num_prompt_tokens: int) -> tuple[int, int]:
    """Most and least new tokens. `max_length` and `min_length` count the prompt with its padding."""
    if options.get("max_new_tokens") is not None and ("max_new_tokens" in said or "max_length" not in said):
        most = int(options["max_new_tokens"])
    elif options.get("max_length") is not None:
        most = int(options["max_length"]) - num_prompt_tokens
        if most < 1:
            raise ConfigError(
                f"max_length is {options['max_length']} and the prompt has {num_prompt_tokens} tokens; raise it, or "
                "pass max_new_tokens"
            )
    else:
        most = DEFAULT_NEW_TOKENS
    least = options.get("min_new_tokens")
    least = int(options.get("min_length", 0)) - num_prompt_tokens if least is None else int(least)
    return most, min(max(0, least), most)


def _set_options(config: Any) -> dict[str, Any]:
    """The options that a GenerationConfig of ours, a dictionary, or one of transformers' sets."""
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return dict(config)
    values: dict[str, Any] = (config.to_diff_dict if hasattr(config, "to_diff_dict") else config.to_dict)()
    return {name: value for name, value in values.items() if not name.startswith("_")}


def set_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators; sampled answers follow torch's."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
