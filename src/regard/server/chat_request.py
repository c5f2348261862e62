"""The body of a chat completion, read into an `Ask`.

OpenAI's fields, those that the usual servers add (top_k, min_p, repetition_penalty, ignore_eos, min_tokens,
stop_token_ids, structured_outputs, chat_template_kwargs), and ours:

    preset                  a row of /v1/presets: sampling and pixel limits; other options beat it
    coordinates             "pixel" or "relative": boxes and points beside the text, with their confidence
    thinking_budget         tokens of thinking; `reasoning_effort` is the same in words (`effort`)
    answer_reserve, repetition_guard

What cannot be honoured is refused by its name. `WITHOUT_EFFECT` is everything that is accepted though it changes no
answer: it names the user, or what a provider keeps or bills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from regard.errors import ConfigError, InputError
from regard.llm import SamplingOptions
from regard.sampling_params import Structure
from regard.server.asking import Ask
from regard.server.chat_messages import read_messages
from regard.server.desk import Desk
from regard.server.effort import EFFORT_BUDGETS, thinking_budget
from regard.server.extras import read_coordinates
from regard.server.fields import Fields, shown
from regard.server.tools import use_tools

WITHOUT_EFFECT = (
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
)
# Checked by `SamplingParams`, in its words.
_PLAIN = (
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "ignore_eos",
    "min_tokens",
    "thinking_budget",
    "answer_reserve",
    "repetition_guard",
)
MAX_STOPS = 16
_STRUCTURES = {"json": "json_schema", "regex": "regex", "choice": "choice", "grammar": "grammar"}


@dataclass(frozen=True)
class ChatRequest:
    """A request that was read. `wants_logprobs`: to be told, not only for the confidence of coordinates."""

    ask: Ask
    model: str
    is_stream: bool
    includes_usage: bool
    wants_logprobs: bool


def read_request(body: Any, desk: Desk) -> ChatRequest:
    """Read a body. Errors: RegardError naming what is wrong or cannot be honoured."""
    fields = Fields(body, "the request")
    model = desk.served_name(fields.text("model"))
    fields.skip(*WITHOUT_EFFECT)
    fields.only("modalities", ["text"])
    messages = read_messages(fields.raw("messages"), desk.find_file)
    if messages[-1].role == "assistant":
        raise InputError("the last message is the assistant's, and answers cannot be begun for it; end with the user's")
    options = read_options(fields)
    _read_effort(fields, desk, options)
    wants_logprobs = _read_logprobs(fields, options)
    parallel = fields.flag("parallel_tool_calls", default=True)
    tools, forced = use_tools(fields.items("tools"), fields.raw("tool_choice"), parallel=parallel)
    structure = _structure(fields)
    if structure is not None and tools:
        raise ConfigError(
            "a response format and tools are both given, and an answer cannot keep to one and call the others; drop "
            "one, or set tool_choice to none"
        )
    if (wanted := structure or forced) is not None:
        options["structure"] = wanted
    preset = fields.text("preset")
    coordinates = read_coordinates(fields)
    add_vision_id = _template_options(fields)
    is_stream = fields.flag("stream", default=False)
    includes_usage = _stream_options(fields, is_stream=is_stream)
    fields.end()
    ask = Ask(
        messages=messages,
        options=options,
        preset=preset,
        tools=tools,
        coordinates=coordinates,
        add_vision_id=add_vision_id,
        max_calls=None if parallel else 1,
    )
    return ChatRequest(ask, model, is_stream, includes_usage, wants_logprobs)


def read_options(fields: Fields) -> SamplingOptions:
    """The sampling options that stand in the request under their own names."""
    options: dict[str, Any] = {name: fields.raw(name) for name in _PLAIN if fields.has(name)}
    limits = [fields.raw(name) for name in ("max_completion_tokens", "max_tokens") if fields.has(name)]
    if limits:
        if len(limits) == 2 and limits[0] != limits[1]:
            raise ConfigError(
                f"max_completion_tokens is {shown(limits[0])} and max_tokens {shown(limits[1])}; they mean the same, "
                "give one"
            )
        options["max_tokens"] = limits[0]
    if fields.has("stop"):
        options["stop"] = _stops(fields.raw("stop"))
    if fields.has("stop_token_ids"):
        options["stop_token_ids"] = fields.items("stop_token_ids")
    if fields.has("logit_bias"):
        options["logit_bias"] = {_token_id(key): value for key, value in (fields.plain("logit_bias") or {}).items()}
    return cast(SamplingOptions, options)


def _stops(value: Any) -> list[str]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise ConfigError(f"stop is {shown(value)}; it must be text or a list of texts that are not empty")
    if len(stops) > MAX_STOPS:
        raise ConfigError(f"stop has {len(stops)} texts, the limit is {MAX_STOPS}; give fewer")
    return stops


def _token_id(key: str) -> int:
    if not key.isascii() or not key.isdigit() or len(key) > 9:
        raise ConfigError(f"logit_bias names the token {shown(key)}; it must be a token id, 0 or more")
    return int(key)


def _read_effort(fields: Fields, desk: Desk, options: SamplingOptions) -> None:
    effort = fields.choice("reasoning_effort", *EFFORT_BUDGETS)
    if effort is None:
        return
    if "thinking_budget" in options:
        raise ConfigError("reasoning_effort and thinking_budget are both given; they mean the same, give one")
    options["thinking_budget"] = thinking_budget(effort, is_thinking=desk.llm.is_thinking)


def _read_logprobs(fields: Fields, options: SamplingOptions) -> bool:
    wants = fields.flag("logprobs", default=False)
    num = fields.whole("top_logprobs")
    if num is not None and not wants:
        raise ConfigError("top_logprobs is given without logprobs; set logprobs to true, or leave it out")
    if wants:
        options["num_logprobs"] = num or 0
    return wants


def _structure(fields: Fields) -> Structure | None:
    """What the answer must look like, from response_format or structured_outputs."""
    form, outputs = fields.object("response_format"), fields.object("structured_outputs")
    if form is not None and outputs is not None:
        raise ConfigError("response_format and structured_outputs are both given; give one")
    if outputs is not None:
        return _structured_outputs(outputs)
    if form is None:
        return None
    kind = form.needed("type", form.choice("type", "text", "json_object", "json_schema"))
    inner = form.object("json_schema") if kind == "json_schema" else None
    form.end()
    if kind == "text":
        return None
    if kind == "json_object":
        return Structure("json_object")
    if inner is None:
        raise ConfigError("response_format of the request has no 'json_schema'; give it, with a schema")
    inner.skip("name", "description")
    inner.flag("strict", default=True)  # kept to in either case
    schema = inner.needed("schema", inner.plain("schema"))
    inner.end()
    return Structure("json_schema", schema)


def _structured_outputs(outputs: Fields) -> Structure | None:
    given = {name: outputs.raw(name) for name in (*_STRUCTURES, "json_object") if outputs.has(name)}
    outputs.end()
    if given.pop("json_object", False) is True:
        given["json_object"] = ""
    if not given:
        return None
    if len(given) > 1:
        raise ConfigError(f"structured_outputs has {' and '.join(given)}; give one")
    ((name, value),) = given.items()
    return Structure(cast(Any, _STRUCTURES.get(name, name)), value)


def _template_options(fields: Fields) -> bool:
    """add_vision_id, the one variable of the template that can be set."""
    options = fields.object("chat_template_kwargs")
    if options is None:
        return False
    add_vision_id = options.flag("add_vision_id", default=False)
    options.end()
    return add_vision_id


def _stream_options(fields: Fields, *, is_stream: bool) -> bool:
    """include_usage."""
    options = fields.object("stream_options")
    if options is None:
        return False
    if not is_stream:
        raise ConfigError("stream_options is given without stream; set stream to true, or leave it out")
    includes_usage = options.flag("include_usage", default=False)
    options.only("include_obfuscation", False)
    options.end()
    return includes_usage
