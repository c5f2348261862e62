"""How each kind of server spells our options in a chat request, and which of them it cannot honour.

The dialects differ in four things: the sampling options, structured output, the template's options, and media
(`content`). An option that a server does not know is refused here with a sentence: most servers would ignore it
silently. A value that changes nothing (top_k 0, repetition_penalty 1) is left out instead.

    regard      our own: everything
    vllm        top_k and the like beside OpenAI's options; structured_outputs          vLLM 0.12 or newer
    sglang      the same, top_k off is -1; regex as a field of its own
    dashscope   top_k, repetition_penalty and thinking_budget; JSON only                Alibaba's OpenAI-compatible mode
    openai      OpenAI's options and no others; also for servers that are not recognised

Without a preset and without an option nothing is sent, and the server's own default holds: for vLLM, SGLang and ours
that is the checkpoint's generation_config.json, as for a model that is loaded here.

Sources: vllm/entrypoints/openai/chat_completion/protocol.py at 002032ee, sglang/srt/entrypoints/openai/protocol.py at
004c82e0, Alibaba Model Studio's page "OpenAI chat" (2026), OpenAI's API reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from regard import presets
from regard.errors import ConfigError
from regard.sampling_params import SamplingParams, Structure

ServerKind = Literal["regard", "vllm", "sglang", "dashscope", "openai"]
KINDS: tuple[str, ...] = get_args(ServerKind)

_OPENAI = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop", "max_tokens", "logit_bias")
_ENGINE = (*_OPENAI, "top_k", "min_p", "repetition_penalty", "ignore_eos", "min_tokens", "stop_token_ids")
_OF_PRESETS = frozenset(_ENGINE) - {"seed", "stop", "logit_bias", "ignore_eos", "min_tokens", "stop_token_ids"}
_NEUTRAL = {field.name: field.default for field in fields(SamplingParams)}
_ELSEWHERE = {"n", "num_logprobs", "structure"}  # options that are no plain field of a request
_TOP_K_OFF_OF_DASHSCOPE = 101  # its documentation: above 100 the option is off


@dataclass(frozen=True)
class Dialect:
    """What one kind of server understands. `keys` maps our options to its own words."""

    kind: ServerKind
    title: str
    keys: Mapping[str, str]
    structures: tuple[str, ...]
    has_template_options: bool


def _keys(*names: str, **renamed: str) -> dict[str, str]:
    return {name: name for name in names} | renamed


_JSON = ("json_schema", "json_object")
DIALECTS: dict[str, Dialect] = {
    dialect.kind: dialect
    for dialect in (
        Dialect(
            "regard",
            "this server",
            _keys(*sorted(set(_NEUTRAL) - _ELSEWHERE)),
            (*_JSON, "regex", "grammar", "choice"),
            True,
        ),
        Dialect(
            "vllm",
            "vLLM",
            _keys(*_ENGINE, thinking_budget="thinking_token_budget"),
            (*_JSON, "regex", "grammar", "choice"),
            True,
        ),
        Dialect("sglang", "SGLang", _keys(*_ENGINE), (*_JSON, "regex", "choice"), True),
        Dialect(
            "dashscope",
            "DashScope",
            _keys(
                "temperature",
                "top_p",
                "top_k",
                "presence_penalty",
                "repetition_penalty",
                "seed",
                "stop",
                "max_tokens",
                "thinking_budget",
            ),
            _JSON,
            False,
        ),
        Dialect("openai", "an OpenAI-compatible server that is not recognised", _keys(*_OPENAI), _JSON, False),
    )
}


def chosen_sampling(
    preset: str | None, options: Mapping[str, Any], *, is_thinking: bool
) -> tuple[SamplingParams, frozenset[str]]:
    """The checked values and the names of those that are to be sent: the options given, and with a preset
    all that shape the distribution, so that no default of the server's mixes in.

    Errors: ConfigError for an unknown preset or option or a value out of range, in `LLM.sampling_params`'s words.
    """
    if unknown := sorted(set(options) - set(_NEUTRAL)):
        raise ConfigError(f"there is no option {unknown[0]!r}; the options are {', '.join(sorted(_NEUTRAL))}")
    base = SamplingParams() if preset is None else presets.find(preset, thinking=is_thinking).sampling
    given = dict(options)
    if isinstance(given.get("stop"), str):
        given["stop"] = (given["stop"],)
    for name in ("stop", "stop_token_ids"):
        if isinstance(given.get(name), list):
            given[name] = tuple(given[name])
    if preset is None and "max_tokens" not in given:  # the server knows its own limit
        least = [given[name] for name in ("min_tokens", "answer_reserve") if isinstance(given.get(name), int)]
        base = replace(base, max_tokens=max([base.max_tokens, *least]))
    return replace(base, **given), frozenset(given) | (_OF_PRESETS if preset is not None else frozenset())


def sampling_body(dialect: Dialect, params: SamplingParams, names: frozenset[str]) -> dict[str, Any]:
    """The request's sampling options. Errors: ConfigError for one that the server cannot honour."""
    if params.n != 1:
        raise ConfigError(f"n is {params.n}; a chat has one answer")
    if params.num_logprobs is not None:
        raise ConfigError("num_logprobs is set, and servers send no token ids to go with them; leave it out")
    body: dict[str, Any] = {}
    for name in sorted(names - _ELSEWHERE):
        value = getattr(params, name)
        is_neutral = value == _NEUTRAL[name] and name not in ("temperature", "max_tokens")
        if name in dialect.keys:
            if value is not None and value != ():
                body[dialect.keys[name]] = _spelled(dialect, name, value, params)
        elif not is_neutral:
            raise refusal(dialect, name)
    return body | _structure_body(dialect, params.structure)


def refusal(dialect: Dialect, name: str) -> ConfigError:
    """The sentence about an option that a server cannot honour."""
    able = [other.kind for other in DIALECTS.values() if name in other.keys]
    instead = f"; {', '.join(able)} can" if able else ""
    return ConfigError(f"{name} cannot be honoured by {dialect.title}{instead}; leave it out, or name --server-kind")


def template_body(dialect: Dialect, add_vision_id: bool) -> dict[str, Any]:
    """The options of the chat template. Errors: ConfigError where the server takes none."""
    if not add_vision_id:
        return {}
    if not dialect.has_template_options:
        raise refusal(dialect, "add_vision_id")
    return {"chat_template_kwargs": {"add_vision_id": True}}


def tool_json(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool in OpenAI's shape, also if only its function is given. Errors: ConfigError for another shape."""
    made = dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)}
    function = made["function"]
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ConfigError(f"a tool is {tool!r}; it must be an object with a function that has a name")
    return made


def _spelled(dialect: Dialect, name: str, value: Any, params: SamplingParams) -> Any:
    if name == "logit_bias":
        return {str(token_id): bias for token_id, bias in params.bias_pairs}
    if name == "top_k" and value == 0:
        return {"sglang": -1, "dashscope": _TOP_K_OFF_OF_DASHSCOPE}.get(dialect.kind, 0)
    return list(value) if isinstance(value, tuple) else value


def _structure_body(dialect: Dialect, structure: Structure | None) -> dict[str, Any]:
    if structure is None:
        return {}
    if structure.kind not in dialect.structures:
        raise ConfigError(
            f"structure {structure.kind} cannot be honoured by {dialect.title}, which knows "
            f"{', '.join(dialect.structures)}; use one of these, or name --server-kind"
        )
    match structure.kind:
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case "json_schema":
            schema = {"name": "answer", "schema": json.loads(structure.text), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if dialect.kind == "sglang":
        alternatives = "|".join(map(_literal, structure.choices))
        return {"regex": f"({alternatives})" if structure.kind == "choice" else structure.text}
    value = list(structure.choices) if structure.kind == "choice" else structure.text
    return {"structured_outputs": {structure.kind: value}}


def _literal(text: str) -> str:
    """A pattern that matches just this text; without the escapes of plain characters that some engines refuse."""
    return re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", text)
