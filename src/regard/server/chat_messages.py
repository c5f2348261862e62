"""The field `messages` of a chat completion, read into `Message` values.

Beyond what `conversation.normalize` takes, which is OpenAI's spelling and ours:

    {"type": "file", "file": {"file_id": ...}}              an uploaded picture, clip or PDF
    {"type": "file", "file": {"file_data": "data:..."}}     the same as a data URL
    {"type": "image_file", "image_file": {"file_id": ...}}  an uploaded picture
    {"type": "image_url" | "video" | ..., with options}     a URL may be an uploaded file's id

Pixel limits, rates and times stand beside any of them. An assistant's message may be sent back as it was received: what
we or OpenAI's client add to it is passed over where it holds nothing. The results of tools are put into the order of
their calls, by `tool_call_id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from typing import Any

from regard.conversation import normalize
from regard.errors import InputError
from regard.messages import Document, Image, Message, Part, Text, Video
from regard.server.fields import shown

FindFile = Callable[[str], Part]
FILE_PREFIX = "file-"
# Of an assistant's message that is sent back; empty at ours.
_RECEIVED = ("refusal", "annotations", "audio", "function_call", "tool_calls", "reasoning_content", "name")
_FILE_KEYS = ("file_id", "file_data", "filename")


def read_messages(value: Any, find_file: FindFile) -> tuple[Message, ...]:
    """Read the messages. Errors: InputError naming what cannot be understood; those of `find_file`."""
    if not isinstance(value, list) or not value:
        raise InputError(f"messages of the request is {shown(value)}; it must be a list with at least one message")
    return tuple(_with_one_system(_in_order([_Turn(item, find_file) for item in value])))


def _with_one_system(messages: list[Message]) -> list[Message]:
    """The messages with those of the role system, which stand first, made one: the templates have a place for one."""
    num = next((index for index, message in enumerate(messages) if message.role != "system"), len(messages))
    late = next((index for index, message in enumerate(messages) if message.role == "system" and index >= num), None)
    if late is not None:
        raise InputError(
            f"message {late + 1} is of the role system and stands after others; put what the model is to know first"
        )
    if num < 2:
        return messages
    text = "\n\n".join(message.text for message in messages[:num])
    return [Message("system", (Text(text),)), *messages[num:]]


class _Turn:
    """One message, with the ids that tie results to calls."""

    def __init__(self, item: Any, find_file: FindFile) -> None:
        if not isinstance(item, Mapping) or not isinstance(item.get("role"), str):
            raise InputError(f"a message is {shown(item)}; it must be an object with a role and content")
        given = {key: one for key, one in item.items() if not (key in _RECEIVED and one in (None, [], ""))}
        content = given.get("content")
        if isinstance(content, list):
            given["content"] = [_part(part, find_file) for part in content]
        elif content is not None and not isinstance(content, str):
            raise InputError(f"the content of a message is {shown(content)}; it must be text or a list of parts")
        calls = given.get("tool_calls") or []
        if not isinstance(calls, list):
            raise InputError(f"tool_calls of a message is {shown(calls)}; it must be a list")
        self.call_id = given.get("tool_call_id")
        self.call_ids = [call.get("id") if isinstance(call, Mapping) else None for call in calls]
        (self.message,) = normalize([given])


def _in_order(turns: list[_Turn]) -> list[Message]:
    """The messages, each run of results in the order of the calls before it. Errors: InputError for a strange id."""
    made: list[Message] = []
    results: list[_Turn] = []
    call_ids: list[Any] = []
    for turn in turns:
        if turn.message.role == "tool":
            if turn.call_id is not None and call_ids and turn.call_id not in call_ids:
                raise InputError(
                    f"tool_call_id is {shown(turn.call_id)}, and the message before has no such call; name one of its "
                    "calls"
                )
            results.append(turn)
            continue
        made += _sorted(results, call_ids)
        made.append(turn.message)
        results, call_ids = [], turn.call_ids
    return made + _sorted(results, call_ids)


def _sorted(results: list[_Turn], call_ids: list[Any]) -> list[Message]:
    places = {call_id: place for place, call_id in reversed(list(enumerate(call_ids))) if isinstance(call_id, str)}
    ordered = sorted(results, key=lambda turn: places.get(str(turn.call_id), len(places)))
    return [turn.message for turn in ordered]


def _part(part: Any, find_file: FindFile) -> Any:
    """A part as `normalize` takes it."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise InputError(f"a part of a message is {shown(part)}; it must be text or an object with a type")
    kind = part.get("type")
    if kind in ("file", "image_file"):
        return _file(part, str(kind), find_file)
    for key in ("image_url", "video_url", "image", "video", "document"):
        source = part.get(key)
        if isinstance(source, Mapping):
            source = source.get("url")
        if isinstance(source, str) and source.startswith(FILE_PREFIX):
            options = {name: one for name, one in part.items() if name not in ("type", key, "detail")}
            if isinstance(part[key], Mapping):
                options |= {name: one for name, one in part[key].items() if name not in ("url", "detail")}
            return _with_options(_as_kind(find_file(source), key), options)
        if key in part and not isinstance(source, str | list):
            raise InputError(f"{key} of a part is {shown(source)}; it must be a URL, a data URL or a file's id")
        if isinstance(source, list) and not all(isinstance(frame, str) for frame in source):
            raise InputError(f"{key} of a part is {shown(source)}; its frames must be URLs or data URLs")
    return part


def _as_kind(part: Part, key: str) -> Part:
    """An uploaded file as what the message says that it is: a GIF may be a clip."""
    if isinstance(part, Text):
        return part
    kind = Video if key.startswith("video") else Document if key == "document" else Image
    return part if isinstance(part, kind) else kind(part.source)


def _file(part: Mapping[str, Any], kind: str, find_file: FindFile) -> Part:
    inner = part.get(kind)
    if not isinstance(inner, Mapping):
        raise InputError(f"a part of type {kind!r} has no object {kind!r}; give one with a file_id")
    options = {name: one for name, one in part.items() if name not in ("type", kind)}
    options |= {name: one for name, one in inner.items() if name not in _FILE_KEYS and name != "detail"}
    file_id, data = inner.get("file_id"), inner.get("file_data")
    if isinstance(file_id, str) and data is None:
        return _with_options(find_file(file_id), options)
    if not isinstance(data, str) or file_id is not None:
        raise InputError(f"a part of type {kind!r} needs either a file_id or file_data, as text")
    if not data.startswith("data:"):
        data = f"data:application/pdf;base64,{data}"
    found = Image(data) if data.startswith("data:image/") else Document(data)
    return _with_options(Video(data) if data.startswith("data:video/") else found, options)


def _with_options(part: Part, options: Mapping[str, Any]) -> Part:
    """The part with limits of its own. Errors: InputError for an option that its kind does not take."""
    known = {field.name for field in fields_of(part)} - {"source", "text"}
    for name, value in options.items():
        if name not in known:
            raise InputError(
                f"{shown(name)} cannot be given for a file of the kind {type(part).__name__.lower()}; its options are "
                f"{', '.join(sorted(known))}"
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not is_number and not (name == "pages" and isinstance(value, str)):
            raise InputError(f"{name} is {shown(value)}; it must be a number")
    return replace(part, **options)
