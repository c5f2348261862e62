"""One tool call as the model writes it, to a `ToolCall`, whole or as it comes.

    <tool_call>
    {"name": "zoom", "arguments": {"box": [1, 2]}}
    </tool_call>

Finding the tags is `reply_parser`'s work; here is what stands between them. `CallReader` shows the arguments of a call
while they are written, if it is written as above, the name first; what follows the arguments is passed over. Any other
JSON object with a name is understood too, once it is whole: its arguments may come first, be missing, or be a string
that holds an object, as some clients and templates write them.

It does not repair JSON: a call whose meaning must be guessed is not run. Only raw control characters in strings, which
models write and JSON forbids, are taken for what they are.
"""

from __future__ import annotations

import json
import re
from typing import Any

from regard.messages import ToolCall

MAX_HEAD = 4096  # characters before the arguments; longer beginnings wait until the call is whole
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)+")\s*,\s*"arguments"\s*:\s*(?=\{)', re.DOTALL)


class CallReader:
    """Reads the body of one call piece by piece.

    `name` is known once the arguments have begun, and only if the call can be shown from then on.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.body = ""
        self._arguments: list[str] = []
        self._read_to = 0  # of the body
        self._depth = 0
        self._is_in_string = self._is_escaped = self._is_over = False

    def push(self, text: str) -> str:
        """Take a piece of the body; returns the piece of the arguments that it brought."""
        self.body += text
        if self.name is None:
            head = _HEAD.match(self.body, 0, MAX_HEAD)
            name = _json_value(head[1]) if head else None
            if head is None or not isinstance(name, str):
                return ""
            self.name, self._read_to = name, head.end()
        piece = "".join(map(self._take, self.body[self._read_to :]))
        self._read_to = len(self.body)
        self._arguments.append(piece)
        return piece

    def finish(self) -> ToolCall | None:
        """The call, when its body is whole; None if it is not one."""
        if self.name is None:
            return parse_tool_call(self.body)
        arguments = _json_value("".join(self._arguments)) if self._is_over else None
        return ToolCall(self.name, arguments) if isinstance(arguments, dict) else None

    def _take(self, char: str) -> str:
        """What a character adds to the arguments."""
        if self._is_over:
            return ""
        if self._is_in_string:
            if self._is_escaped:
                self._is_escaped = False
            elif char == "\\":
                self._is_escaped = True
            elif char == '"':
                self._is_in_string = False
            return json.dumps(char)[1:-1] if char < " " else char
        if char == '"':
            self._is_in_string = True
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
            self._is_over = self._depth == 0
        return char


def parse_tool_call(body: str) -> ToolCall | None:
    """The call in the text between the tags, or None if it is not a JSON object with a name."""
    call = _json_value(body)
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        return None
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _json_value(arguments) if arguments.strip() else {}
    return ToolCall(call["name"], arguments) if isinstance(arguments, dict) else None


def _json_value(text: str) -> Any:
    try:
        return json.loads(text, strict=False)  # models put raw line breaks into strings
    except (ValueError, RecursionError):
        return None
