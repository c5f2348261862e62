"""A whole request to the Messages API: what is to be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regard.errors import ConfigError, InputError
from regard.llm import SamplingOptions
from regard.sampling_params import Structure
from regard.server.asking import Ask
from regard.server.desk import Desk
from regard.server.effort import thinking_budget
from regard.server.extras import read_coordinates
from regard.server.fields import Fields, shown
from regard.server.messages_request import WITHOUT_EFFECT, read_messages, read_system
from regard.server.tools import use_tools


@dataclass(frozen=True)
class Asked:
    """A request that was read."""

    ask: Ask
    model: str
    is_stream: bool


def read_request(body: Any, desk: Desk, *, is_count: bool = False) -> Asked:
    """Read a body; `is_count`: of count_tokens, which has no limit of its own.

    Errors: RegardError naming what is wrong or cannot be honoured.
    """
    fields = Fields(body, "the request")
    fields.skip("cache_control", *WITHOUT_EFFECT)
    fields.only("speed", "standard")
    model = desk.served_name(fields.needed_text("model"))
    messages = read_messages(fields.raw("messages"), desk.find_file)
    if messages[-1].role == "assistant":
        raise InputError("the last message is the assistant's, and answers cannot be begun for it; end with the user's")
    system = read_system(fields.raw("system"))
    options: SamplingOptions = {}
    if not is_count:
        options = _options(fields)
    effort, structure = _output_config(fields)
    if effort is not None:
        options["thinking_budget"] = thinking_budget(effort, is_thinking=desk.llm.is_thinking)
    _thinking(fields, desk, options)
    tools, choice, max_calls = _tools(fields)
    used_tools, forced = use_tools(tools, choice, parallel=max_calls is None)
    if structure is not None and used_tools:
        raise InputError("output_config.format and tools are both given; an answer keeps to a format or calls tools")
    if structure is not None or forced is not None:
        options["structure"] = structure or forced
    coordinates = read_coordinates(fields)
    preset, is_stream = fields.text("preset"), not is_count and fields.flag("stream", default=False)
    fields.end()
    ask = Ask(
        messages=(*system, *messages),
        options=options,
        preset=preset,
        tools=used_tools,
        coordinates=coordinates,
        max_calls=max_calls,
    )
    return Asked(ask, model, is_stream)


def _options(fields: Fields) -> SamplingOptions:
    """Sampling options; seed is ours."""
    options: SamplingOptions = {"max_tokens": fields.needed("max_tokens", fields.whole("max_tokens"))}
    if (temperature := fields.number("temperature")) is not None:
        options["temperature"] = temperature
    if (top_p := fields.number("top_p")) is not None:
        options["top_p"] = top_p
    if (top_k := fields.whole("top_k")) is not None:
        options["top_k"] = top_k
    if (seed := fields.whole("seed")) is not None:
        options["seed"] = seed
    stops = fields.items("stop_sequences")
    if not all(isinstance(stop, str) for stop in stops):
        raise InputError(f"stop_sequences of the request is {shown(stops)}; it must be a list of strings")
    if stops:
        options["stop"] = stops
    return options


def _output_config(fields: Fields) -> tuple[str | None, Structure | None]:
    config = fields.object("output_config")
    if config is None:
        return None, None
    effort, chosen = config.text("effort"), config.object("format")
    config.end()
    if chosen is None:
        return effort, None
    chosen.only("type", "json_schema")
    schema = chosen.needed("schema", chosen.plain("schema"))
    chosen.end()
    return effort, Structure("json_schema", schema)


def _thinking(fields: Fields, desk: Desk, options: SamplingOptions) -> None:
    """Set the budget of thinking. Errors: ConfigError if an edition is to think that does not."""
    thinking = fields.object("thinking")
    if thinking is None:
        return
    kind = thinking.needed("type", thinking.choice("type", "enabled", "disabled", "adaptive"))
    thinking.only("display", "summarized")
    budget = thinking.whole("budget_tokens") if kind == "enabled" else None
    thinking.end()
    if kind == "disabled":
        options["thinking_budget"] = 0
    if kind != "enabled":
        return
    if not desk.llm.is_thinking:
        raise ConfigError(
            "thinking is enabled, and this model does not think before it answers; leave it out, or serve a Thinking "
            "edition"
        )
    limit = options.get("max_tokens")
    if budget is None or (limit is not None and budget >= limit):
        raise ConfigError(f"budget_tokens is {budget}; it must be a number of tokens below max_tokens ({limit})")
    options["thinking_budget"] = budget


def _tools(fields: Fields) -> tuple[list[dict[str, Any]], Any, int | None]:
    """The tools and the choice in the shape of chat completions, and how many calls there may be."""
    tools: list[dict[str, Any]] = []
    for item in fields.items("tools"):
        tool = Fields(item, "a tool")
        tool.only("type", "custom")
        tool.only("defer_loading", False)
        tool.only("allowed_callers", ["direct"])
        tool.skip("cache_control", "eager_input_streaming")
        function = {"name": tool.needed_text("name")}
        function |= {name: tool.raw(name) for name in ("description", "strict") if tool.has(name)}
        function["parameters"] = tool.needed("input_schema", tool.plain("input_schema"))
        tool.end()
        tools.append({"type": "function", "function": function})
    choice = fields.object("tool_choice")
    if choice is None:
        return tools, None, None
    max_calls = 1 if choice.flag("disable_parallel_tool_use", default=False) else None
    kind = choice.needed("type", choice.choice("type", "auto", "any", "tool", "none"))
    name = choice.needed_text("name") if kind == "tool" else None
    choice.end()
    if name is not None:
        return tools, {"type": "function", "function": {"name": name}}, max_calls
    return tools, {"any": "required"}.get(kind, kind), max_calls
