"""Random conversations, as our messages and as the dictionaries that transformers takes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from regard.messages import Image, Message, Part, Text, ToolCall, Video

# Pieces that have tripped tokenizers and templates: spaces, unusual scripts, marks, the family's own tokens.
PIECES = (
    "",
    " ",
    "\n\n",
    "\t \r\n",
    "see:",
    "it's 12345",
    "<b>&'\"",
    "\u65e5\u672c\u8a9e\uff11",
    "e\u0301\u212b",
    "\U0001f469\u200d\U0001f467",
    "\u00a0\u200b\x00",
    "<think>",
    "</think>\n\n",
    "<tool_response>",
    "</tool_response>",
    "<|im_end|>",
    "<|fim_pad|>",
    "{{ x }}",
)
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=4).map("".join)
arguments = st.dictionaries(st.sampled_from(["x", "\u6807"]), st.integers() | st.none() | texts, max_size=2)
calls = st.builds(ToolCall, name=st.sampled_from(["zoom", "b"]), arguments=arguments)
TOOLS = [{"type": "function", "function": {"name": "zoom", "description": "<\u653e\u5927> & 'look'", "parameters": {}}}]


def conversations(
    media: st.SearchStrategy[Part], roles: tuple[str, ...] = ("system", "user", "assistant", "tool")
) -> st.SearchStrategy[list[Message]]:
    """One to five messages of any roles in any order; pictures and clips in all of them."""
    parts = st.lists(st.builds(Text, texts) | media, max_size=4).map(tuple)

    @st.composite
    def message(draw: st.DrawFn) -> Message:
        role: Any = draw(st.sampled_from(roles))
        if role != "assistant":
            return Message(role, draw(parts))
        return Message(role, draw(parts), draw(st.none() | texts), tuple(draw(st.lists(calls, max_size=2))))

    return st.lists(message(), min_size=1, max_size=5)


def as_dicts(messages: list[Message]) -> list[dict[str, Any]]:
    """What a user of transformers would write for the same conversation."""
    return [_as_dict(message) for message in messages]


def _as_dict(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role}
    if all(isinstance(part, Text) for part in message.parts):
        made["content"] = "".join(part.text for part in message.parts if isinstance(part, Text))
    else:
        made["content"] = [_part(part) for part in message.parts]
    if message.reasoning is not None:
        made["reasoning_content"] = message.reasoning
    if message.tool_calls:
        made["tool_calls"] = [{"function": {"name": c.name, "arguments": c.arguments}} for c in message.tool_calls]
    return made


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    assert isinstance(part, Image | Video)
    kind = "image" if isinstance(part, Image) else "video"
    return {"type": kind, kind: part.source}
