"""The body of a request to OpenAI's Responses API, read into an `Ask`.

    instructions                  the system message
    input                         text, or items: messages, function_call, function_call_output, reasoning
    previous_response_id          the conversation before; its instructions do not come with it, as at OpenAI
    tools, tool_choice            functions only
    text.format                   text, json_object, json_schema
    reasoning.effort              how much a Thinking edition thinks (`server/effort`)

Items become messages: what the assistant said in several items (reasoning, text, calls) is one turn, and the outputs of
functions follow in the order of their calls, whatever order they came in. A system or developer message may stand only
at the beginning, where it joins the instructions: the model's template has no place for another.

What cannot be honoured is refused by name; `WITHOUT_EFFECT` lists what is accepted though it changes no answer. It does
no I/O: files by id come through `find_file`, the conversation before through `history`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regard.errors import InputError
from regard.messages import Document, Image, Message, Part, Text, ToolCall
from regard.server.fields import Fields, shown

WITHOUT_EFFECT = (
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
)
REFUSED_ITEMS = "message, function_call, function_call_output or reasoning"

FindFile = Callable[[str], Part]


@dataclass(frozen=True)
class Turns:
    """The messages of a request, the leading system texts apart."""

    system: tuple[str, ...]
    messages: tuple[Message, ...]


def read_input(value: Any, find_file: FindFile, open_calls: Sequence[str] = ()) -> Turns:
    """Read the field `input`; `open_calls` are the ids of calls that the conversation before ends with.

    Errors: InputError naming what cannot be understood.
    """
    if isinstance(value, str):
        return Turns((), (Message("user", (Text(value),)),))
    if not isinstance(value, list):
        raise InputError(f"input of the request is {shown(value)}; it must be text or a list of items")
    reader = _Items(find_file, open_calls)
    for item in value:
        reader.read(Fields(item, "an item of input"))
    return reader.turns()


class _Items:
    """Collects items into turns."""

    def __init__(self, find_file: FindFile, open_calls: Sequence[str]) -> None:
        self._find_file = find_file
        self._system: list[str] = []
        self._messages: list[Message] = []
        self._call_ids = list(open_calls)  # of the assistant's last turn
        self._outputs: dict[str, Message] = {}  # by call id, until the next turn begins

    def read(self, item: Fields) -> None:
        """Take one item."""
        kind = item.text("type") or "message"
        item.where = f"an item of type {kind!r}"
        item.skip("id", "status")
        if kind == "message":
            self._message(item)
        elif kind == "function_call":
            self._call(item)
        elif kind == "function_call_output":
            self._output(item)
        elif kind == "reasoning":
            self._reasoning(item)
        else:
            raise InputError(f"an item of input has the type {kind!r}; it must be {REFUSED_ITEMS}")
        item.end()

    def turns(self) -> Turns:
        """Everything that was read."""
        self._flush()
        return Turns(tuple(self._system), tuple(self._messages))

    def _message(self, item: Fields) -> None:
        role = item.needed("role", item.choice("role", "user", "assistant", "system", "developer"))
        parts = read_parts(item.raw("content"), self._find_file, "a message")
        item.skip("phase")
        if role in ("system", "developer"):
            self._flush()
            if self._messages:
                raise InputError("a system or developer message stands after others; put it first or in instructions")
            self._system.append(Message("system", parts).text)
        elif role == "assistant":
            self._assistant(lambda last: replace(last, parts=(*last.parts, *parts)))
        else:
            self._flush()
            self._messages.append(Message("user", parts))

    def _call(self, item: Fields) -> None:
        call_id, name = item.needed_text("call_id"), item.needed_text("name")
        arguments = item.text("arguments") or "{}"
        try:
            value = json.loads(arguments)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise InputError(f"arguments of the call {name!r} are {shown(arguments)}; they must be a JSON object")
        self._assistant(lambda last: replace(last, tool_calls=(*last.tool_calls, ToolCall(name, value))))
        self._call_ids.append(call_id)

    def _output(self, item: Fields) -> None:
        call_id = item.needed_text("call_id")
        if call_id not in self._call_ids:
            raise InputError(f"function_call_output names the call {call_id!r}, and no function_call before it does")
        self._outputs[call_id] = Message("tool", read_parts(item.raw("output"), self._find_file, "an output"))

    def _reasoning(self, item: Fields) -> None:
        item.skip("summary")
        item.only("encrypted_content")
        pieces = [Fields(part, "a part of reasoning") for part in item.items("content")]
        text = ""
        for piece in pieces:
            piece.only("type", "reasoning_text")
            text += piece.needed_text("text")
            piece.end()
        if text:
            self._assistant(lambda last: replace(last, reasoning=(last.reasoning or "") + text))

    def _assistant(self, change: Callable[[Message], Message]) -> None:
        """Change the assistant's turn that is open, or begin one."""
        if self._outputs or not self._messages or self._messages[-1].role != "assistant":
            self._flush()
            self._call_ids = []
            self._messages.append(Message("assistant"))
        self._messages[-1] = change(self._messages[-1])

    def _flush(self) -> None:
        """Put the outputs behind their calls, in the calls' order."""
        if self._outputs:
            if missing := [call_id for call_id in self._call_ids if call_id not in self._outputs]:
                raise InputError(f"the call {missing[0]!r} has no function_call_output; give one for each call")
            self._messages += [self._outputs[call_id] for call_id in self._call_ids]
            self._outputs = {}


def read_parts(value: Any, find_file: FindFile, where: str) -> tuple[Part, ...]:
    """Read text, or a list of input_text, output_text, refusal, input_image and input_file."""
    if isinstance(value, str):
        return (Text(value),) if value else ()
    if not isinstance(value, list):
        raise InputError(f"the content of {where} is {shown(value)}; it must be text or a list of parts")
    return tuple(_part(Fields(part, f"a part of {where}"), find_file) for part in value)


def _part(part: Fields, find_file: FindFile) -> Part:
    kind = part.needed_text("type")
    part.where = f"a part of type {kind!r}"
    made: Part
    if kind in ("input_text", "output_text", "text"):
        made = Text(part.needed_text("text"))
        part.skip("annotations", "logprobs")
    elif kind == "refusal":
        made = Text(part.needed_text("refusal"))
    elif kind == "input_image":
        part.only("detail", "auto")
        limits = {name: part.whole(name) for name in ("min_pixels", "max_pixels")}
        made = _image(part, find_file, limits)
    elif kind == "input_file":
        made = _file(part, find_file)
    else:
        raise InputError(f"a part has the type {kind!r}; it must be input_text, input_image or input_file")
    part.end()
    return made


def _image(part: Fields, find_file: FindFile, limits: Mapping[str, int | None]) -> Part:
    url, file_id = part.text("image_url"), part.text("file_id")
    if (url is None) == (file_id is None):
        raise InputError("a part of type 'input_image' needs either image_url or file_id")
    if url is not None:
        return Image(url, **limits)
    found = find_file(str(file_id))
    if not isinstance(found, Image):
        raise InputError(f"the file {file_id!r} is no picture; give it in a part of type 'input_file'")
    return replace(found, **limits)


def _file(part: Fields, find_file: FindFile) -> Part:
    part.skip("filename")
    sources = {name: part.text(name) for name in ("file_data", "file_url", "file_id")}
    given = [name for name, source in sources.items() if source is not None]
    if len(given) != 1:
        raise InputError("a part of type 'input_file' needs one of file_data, file_url and file_id")
    source = str(sources[given[0]])
    if given[0] == "file_id":
        return find_file(source)
    if given[0] == "file_data" and not source.startswith("data:"):
        source = f"data:application/pdf;base64,{source}"
    if source.startswith("data:image/"):
        return Image(source)
    return Document(source)


def with_system(turns: Turns, instructions: str | None, before: Sequence[Message] = ()) -> tuple[Message, ...]:
    """The whole conversation: one system message, what was said before, and the new turns."""
    system = "\n\n".join(text for text in (instructions, *turns.system) if text)
    first = (Message("system", (Text(system),)),) if system else ()
    return (*first, *before, *turns.messages)
