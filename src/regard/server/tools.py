"""The tools of a request: what the model is told of, and what the answer must look like if a call is asked for.

    auto, or nothing     the model decides
    none                 it is told of no tool, and nothing in its answer is a call
    required             the answer is one or more calls: a grammar leaves nothing else
    one function         the answer is a call of it

A forced call is written as the family writes calls, and its arguments keep to the schema of its parameters. `strict`
needs that grammar, so a strict tool is refused where the model decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from regard.engine.structured import WHITE_SPACE
from regard.errors import ConfigError
from regard.sampling_params import Structure
from regard.server.fields import Fields, shown

MAX_TOOLS = 128
Tool = Mapping[str, Any]


def use_tools(
    tools: Sequence[Tool], choice: Any, *, parallel: bool = True
) -> tuple[tuple[Tool, ...], Structure | None]:
    """The tools to tell the model of, and the structure of a forced call. Errors: RegardError naming what is wrong."""
    if len(tools) > MAX_TOOLS:
        raise ConfigError(f"there are {len(tools)} tools, the limit is {MAX_TOOLS}; offer fewer")
    functions = [_function(tool) for tool in tools]
    names = [str(function["name"]) for function in functions]
    if len(set(names)) != len(names):
        raise ConfigError("two tools have the same name; give each its own")
    chosen = _chosen(choice, names)
    if chosen == "none" or (chosen == "auto" and not tools):
        return (), None
    if chosen == "auto":
        strict = [function["name"] for function in functions if function.get("strict")]
        if strict:
            raise ConfigError(
                f"strict of the tool {strict[0]!r} can be honoured only if a call is forced; leave it out, or set "
                "tool_choice to required"
            )
        return tuple(tools), None
    callable_functions = [one for one in functions if chosen == "required" or one["name"] == chosen.removeprefix("=")]
    repeats = parallel and chosen == "required"
    return tuple(tools), Structure("grammar", _grammar(callable_functions, repeats=repeats))


def _function(tool: Any) -> dict[str, Any]:
    """The checked function of a tool."""
    fields = Fields(tool, "a tool")
    fields.only("type", "function")
    function = fields.object("function")
    fields.end()
    if function is None:
        raise ConfigError(f"a tool is {shown(tool)}; it must be an object with a function")
    function.where = "the function of a tool"
    name = function.needed_text("name")
    if not name or len(name) > 256:
        raise ConfigError(f"a tool has the name {shown(name)}; it must have 1 to 256 characters")
    made: dict[str, Any] = {
        "name": name,
        "description": function.text("description"),
        "parameters": function.plain("parameters"),
    }
    made["strict"] = function.flag("strict", default=False)
    function.end()
    return made


def _chosen(choice: Any, names: Sequence[str]) -> str:
    """auto, none, required, or a name after an equals sign."""
    if choice is None:
        return "auto"
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise ConfigError(f"tool_choice is {shown(choice)}; it must be auto, none, required or a function")
        if choice == "required" and not names:
            raise ConfigError("tool_choice is required, and there are no tools; give some")
        return choice
    fields = Fields(choice, "tool_choice")
    fields.only("type", "function")
    function = fields.object("function")
    fields.end()
    if function is None:
        raise ConfigError(f"tool_choice is {shown(choice)}; it must be auto, none, required or a function")
    name = function.needed_text("name")
    function.end()
    if name not in names:
        known = ", ".join(names[:8]) or "none"
        raise ConfigError(
            f"tool_choice names the function {shown(name)}, and the tools are {known}; choose one of them"
        )
    return f"={name}"


def _grammar(functions: Sequence[Mapping[str, Any]], *, repeats: bool) -> str:
    """Calls of these functions as the family writes them, in llguidance's Lark."""
    calls = " | ".join(f"call_{number}" for number in range(len(functions)))
    lines = [f"start: call{' (' + _literal(chr(10)) + ' call)*' if repeats else ''}", f"call: {calls}"]
    for number, function in enumerate(functions):
        head = f'\n{{"name": {json.dumps(function["name"], ensure_ascii=False)}, "arguments": '
        schema = function["parameters"] or {"type": "object"}
        tail = _literal("}" + chr(10))
        lines.append(f"call_{number}: <tool_call> {_literal(head)} arguments_{number} {tail} </tool_call>")
        schema = {"type": "object", **schema, "x-guidance": {"whitespace_pattern": WHITE_SPACE}}
        lines.append(f"arguments_{number}: %json {json.dumps(schema)}")
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
