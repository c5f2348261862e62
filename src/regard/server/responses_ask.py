"""A whole request to the Responses API: what is to be asked, and what the response repeats of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regard.errors import InputError
from regard.llm import SamplingOptions
from regard.messages import Message
from regard.sampling_params import Structure
from regard.server.asking import Ask
from regard.server.desk import Desk, new_id
from regard.server.effort import thinking_budget
from regard.server.extras import read_coordinates
from regard.server.fields import Fields, shown
from regard.server.responses_items import listed_items
from regard.server.responses_request import WITHOUT_EFFECT, read_input, with_system
from regard.server.responses_store import ResponseStore
from regard.server.tools import use_tools

MAX_METADATA = 16  # pairs, as at OpenAI


@dataclass(frozen=True)
class Asked:
    """A request that was read. `turns` is the conversation without its system message and `items` the same
    as it was given, as the store keeps them."""

    ask: Ask
    shell: Mapping[str, Any]
    turns: tuple[Message, ...]
    items: tuple[dict[str, Any], ...]
    num_bytes_before: int  # of the stored conversation that it goes on from
    is_stream: bool
    is_stored: bool


def read_request(body: Any, desk: Desk, store: ResponseStore) -> Asked:
    """Read a body. Errors: RegardError naming what is wrong or cannot be honoured."""
    fields = Fields(body, "the request")
    echo: dict[str, Any] = {"metadata": _metadata(fields), "user": fields.text("user")}
    fields.skip(*WITHOUT_EFFECT)
    for name, neutral in _NEUTRAL.items():
        fields.only(name, *neutral)
    model = desk.served_name(fields.text("model"))
    previous_id = fields.text("previous_response_id")
    before = None if previous_id is None else store.get(previous_id)
    instructions = fields.text("instructions")
    open_calls = () if before is None else before.open_calls
    given = fields.needed("input", fields.raw("input"))
    turns = read_input(given, desk.find_file, open_calls)
    history = () if before is None else before.messages
    options, preset = _options(fields, desk)
    effort = _effort(fields)
    if effort is not None:
        options["thinking_budget"] = thinking_budget(effort, is_thinking=desk.llm.is_thinking)
    structure, text_format = _format(fields)
    tools, choice, shown_tools, shown_choice = _tools(fields)
    is_parallel = fields.flag("parallel_tool_calls", default=True)
    used_tools, forced = use_tools(tools, choice, parallel=is_parallel)
    if structure is not None and used_tools:
        raise InputError("text.format and tools are both given; an answer either keeps to a format or calls tools")
    if structure is not None or forced is not None:
        options["structure"] = structure or forced
    coordinates = read_coordinates(fields)
    is_stream, is_stored = fields.flag("stream", default=False), fields.flag("store", default=True)
    fields.end()
    params = desk.llm.sampling_params(preset, **options)
    shell = {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "background": False,
        "instructions": instructions,
        "max_output_tokens": options.get("max_tokens"),
        "max_tool_calls": None,
        "model": model,
        "parallel_tool_calls": is_parallel,
        "previous_response_id": previous_id,
        "reasoning": {"effort": effort, "summary": None},
        "service_tier": "default",
        "store": is_stored,
        "temperature": params.temperature,
        "text": {"format": text_format},
        "tool_choice": shown_choice,
        "tools": shown_tools,
        "top_logprobs": 0,
        "top_p": params.top_p,
        "truncation": "disabled",
        **echo,
    }
    messages = with_system(turns, instructions, history)
    ask = Ask(
        messages=messages,
        options=options,
        preset=preset,
        tools=used_tools,
        coordinates=coordinates,
        max_calls=None if is_parallel else 1,
    )
    num_bytes_before = 0 if before is None else before.num_bytes
    items_before = () if before is None else (*before.items, *before.response["output"])
    items = listed_items(given, items_before, new_id)
    return Asked(ask, shell, (*history, *turns.messages), items, num_bytes_before, is_stream, is_stored)


# Accepted with these values, which ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "conversation": (),
    "include": ([],),
    "max_tool_calls": (),
    "prompt": (),
    "service_tier": ("auto", "default"),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}


def _metadata(fields: Fields) -> dict[str, Any]:
    metadata = fields.plain("metadata") or {}
    if len(metadata) > MAX_METADATA or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(
            f"metadata of the request is {shown(metadata)}; it must map at most {MAX_METADATA} names to text"
        )
    return metadata


def _options(fields: Fields, desk: Desk) -> tuple[SamplingOptions, str | None]:
    """Sampling options; seed, top_k and preset are ours."""
    options: SamplingOptions = {}
    if (max_tokens := fields.whole("max_output_tokens")) is not None:
        options["max_tokens"] = max_tokens
    if (temperature := fields.number("temperature")) is not None:
        options["temperature"] = temperature
    if (top_p := fields.number("top_p")) is not None:
        options["top_p"] = top_p
    if (top_k := fields.whole("top_k")) is not None:
        options["top_k"] = top_k
    if (seed := fields.whole("seed")) is not None:
        options["seed"] = seed
    if (stream_options := fields.object("stream_options")) is not None:
        stream_options.skip("include_obfuscation")
        stream_options.end()
    return options, fields.text("preset")


def _effort(fields: Fields) -> str | None:
    reasoning = fields.object("reasoning")
    if reasoning is None:
        return None
    reasoning.only("summary", "auto")  # none is made; what was thought is in the item's content
    reasoning.only("generate_summary", "auto")
    effort = reasoning.text("effort")
    reasoning.end()
    return effort


def _format(fields: Fields) -> tuple[Structure | None, dict[str, Any]]:
    text = fields.object("text")
    if text is None:
        return None, {"type": "text"}
    text.only("verbosity", "medium")
    chosen = text.object("format")
    text.end()
    if chosen is None:
        return None, {"type": "text"}
    kind = chosen.needed("type", chosen.choice("type", "text", "json_object", "json_schema"))
    if kind != "json_schema":
        chosen.end()
        return (None if kind == "text" else Structure("json_object")), {"type": kind}
    name = chosen.needed_text("name")
    schema = chosen.needed("schema", chosen.plain("schema"))
    chosen.skip("description", "strict")  # a schema is always kept to
    chosen.end()
    return Structure("json_schema", schema), {"type": kind, "name": name, "schema": schema, "strict": True}


def _tools(fields: Fields) -> tuple[list[dict[str, Any]], Any, list[Any], Any]:
    """The tools and the choice in the shape of chat completions, and as they were given."""
    given = fields.items("tools")
    tools: list[dict[str, Any]] = []
    for item in given:
        tool = Fields(item, "a tool")
        kind = tool.needed_text("type")
        if kind != "function":
            raise InputError(f"a tool has the type {kind!r}; only functions are supported")
        function = {"name": tool.needed_text("name")}
        function |= {name: tool.raw(name) for name in ("description", "parameters", "strict") if tool.has(name)}
        tool.end()
        tools.append({"type": "function", "function": function})
    choice = fields.raw("tool_choice")
    if isinstance(choice, Mapping):
        chosen = Fields(choice, "tool_choice")
        if chosen.needed_text("type") != "function":
            raise InputError(f"tool_choice is {shown(choice)}; it must be auto, none, required or a function")
        name = chosen.needed_text("name")
        chosen.end()
        return tools, {"type": "function", "function": {"name": name}}, given, dict(choice)
    return tools, choice, given, choice or "auto"
