"""One call that a model wants made, with its thought and action, however it was written.

    Thought: ...                                   the family's phone prompt
    Action: "..."
    <tool_call>
    {"name": "mobile_use", "arguments": {"action": "click", "coordinate": [447, 81]}}
    </tool_call>

The tag may be inline, open, doubled or missing, the JSON broken; the call may stand in a fence, alone, as
`{"function": ...}`, as `<function=name><parameter=key>value</parameter>`, or as Python: `click(x=1, y=2)`.

What was guessed is told in the repairs: whoever runs calls that do harm should run only those without any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from regard.apps.reading.objects import read_json
from regard.apps.reading.read import Read, outside

_OPEN = re.compile(r"<\s*tool_call\s*>|\u2728?<\|tool_call\|>")
_CLOSE = re.compile(r"<\s*/\s*tool_call\s*>")
_THOUGHT = re.compile(r"\bThought\s*[:\uff1a]\s*", re.IGNORECASE)
_ACTION = re.compile(r"(?:^|\n|\s)Action\s*[:\uff1a]\s*", re.IGNORECASE)
_FUNCTION = re.compile(r"<function=([\w.-]{1,100})>")
_PARAMETER = re.compile(r"<parameter=([\w.-]{1,100})>([^<]*+)")
_PYTHON = re.compile(r"\b([A-Za-z_]\w{0,60})\(((?:[^()\"']|\"[^\"\n]*+\"|'[^'\n]*+'|\([^()]*+\))*+)\)")
_KEYWORD = re.compile(r"(?:^|,)\s*([A-Za-z_]\w{0,60}+)\s*=")
_MAX_PYTHON = 5000


@dataclass(frozen=True)
class RawCall:
    """A call. `name` is "" where only the arguments were written; `thought` and `action` are the words before it."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    thought: str = ""
    action: str = ""


def read_tool_call(text: str) -> Read[RawCall | None]:
    """The first call in an answer; None if there is none. Give it `Reply.raw`, which still has the tags."""
    text = outside(text)
    opening = _OPEN.search(text)
    words = text[: opening.start()] if opening else text
    thought, action = _thought_and_action(words)
    repairs: list[str] = []
    if opening:
        rest = text[opening.end() :]
        following = _OPEN.match(rest.lstrip())
        if following:
            rest, repairs = rest.lstrip()[following.end() :], ["took a doubled tag for one"]
        closing = _CLOSE.search(rest)
        body = rest[: closing.start()] if closing else rest
        if closing is None:
            repairs.append("closed an open <tool_call>")
    else:
        body = text
    call, mended = _call_of(body)
    if call is None and opening:
        call, mended = _call_of(text)
    if call is None:
        return Read(None)
    if not opening:
        repairs.append("took a call without its tag")
    return Read(RawCall(call.name, call.arguments, thought, action), (*repairs, *mended))


def _thought_and_action(words: str) -> tuple[str, str]:
    thought = _THOUGHT.search(words)
    action = _ACTION.search(words, thought.end() if thought else 0)
    stop = action.start() if action else len(words)
    said = words[thought.end() : stop] if thought else words[:stop] if action else ""
    brace = said.find("{")
    said = said[:brace] if brace >= 0 and action is None else said
    done = words[action.end() :].strip().split("\n", 1)[0] if action else ""
    if done.startswith("{"):
        done = ""
    return said.strip(), done.strip().strip("\"'").strip()


def _call_of(body: str) -> tuple[RawCall | None, tuple[str, ...]]:
    found = read_json(body)
    value = found.value
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, dict) and _is_call(item)), None)
    if isinstance(value, dict) and (call := _of_object(value)) is not None:
        return call, found.repairs
    if function := _FUNCTION.search(body):
        given = {p[1]: _value(p[2].strip()) for p in _PARAMETER.finditer(body, function.end())}
        return RawCall(function[1], given), ()
    python = _PYTHON.search(body[:_MAX_PYTHON])
    if python and (arguments := _keywords(python[2])) is not None:
        return RawCall(python[1], arguments), ("read a call that was written as Python",)
    return None, ()


def _is_call(item: dict[str, Any]) -> bool:
    return any(key in item for key in ("name", "function", "action", "arguments"))


def _of_object(value: dict[str, Any]) -> RawCall | None:
    function = value.get("function")
    if isinstance(function, dict):
        value = function
    elif isinstance(function, str) and "name" not in value:
        value = {**value, "name": function}
    name = value.get("name")
    if isinstance(name, str) and name:
        for key in ("arguments", "parameters", "args", "input"):
            if key in value:
                arguments = _value(value[key]) if isinstance(value[key], str) else value[key]
                return RawCall(name, arguments if isinstance(arguments, dict) else {})
        return RawCall(
            name, {key: item for key, item in value.items() if key not in ("name", "function", "type", "id")}
        )
    arguments = value.get("arguments")
    if isinstance(arguments, dict):
        return RawCall("", arguments)
    return RawCall("", value) if isinstance(value.get("action"), str) else None


def _value(text: str) -> Any:
    value = read_json(text).value
    return text if value is None and text.strip() != "null" else value


def _keywords(text: str) -> dict[str, Any] | None:
    """`x=1, text="a"` as a dict; None if the arguments have no names and are not empty."""
    if not text.strip():
        return {}
    marks = list(_KEYWORD.finditer(_masked(text)))
    if not marks or text[: marks[0].start()].strip():
        return None
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    made = {}
    for mark, end in zip(marks, ends, strict=True):
        raw = text[mark.end() : end].strip().rstrip(",")
        value = read_json(f"[{raw}]").value
        made[mark[1]] = value[0] if isinstance(value, list) and len(value) == 1 else raw
    return made


def _masked(text: str) -> str:
    """The text with strings and brackets blanked, so that their commas separate nothing."""
    return re.sub(r"\"[^\"]*+\"|'[^']*+'|\[[^\[\]]*+\]|\([^()]*+\)", lambda found: "_" * len(found[0]), text)
