"""One tool call as the model writes it, to a `ToolCall`.

    <tool_call>
    {"name": "zoom", "arguments": {"box": [1, 2]}}
    </tool_call>

Finding the tags is `reply_parser`'s work; here is what stands between them. Arguments may be an object or a
string that holds one, as some clients and templates write them.

It does not repair JSON: a call whose meaning must be guessed is not run.
"""

from __future__ import annotations

import json
from typing import Any

from regard.messages import ToolCall


def parse_tool_call(body: str) -> ToolCall | None:
    """The call in the text between the tags, or None if it is not a JSON object with a name."""
    call = _json_object(body)
    if call is None or not isinstance(call.get("name"), str) or not call["name"]:
        return None
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _json_object(arguments) if arguments.strip() else {}
    return ToolCall(call["name"], arguments) if isinstance(arguments, dict) else None


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, strict=False)  # models put raw line breaks into strings
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
