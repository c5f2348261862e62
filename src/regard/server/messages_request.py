"""The body of a request to Anthropic's Messages API, read into messages and options.

    system                        text or text blocks
    messages                      user and assistant turns of blocks:
        text, image (base64, url, file), document (PDF by base64, url or file; text; a list of blocks)
        tool_use, thinking        what the assistant said; a signature is not checked, since we sign nothing
        tool_result               text, pictures and documents; a result with is_error begins with "Error: "
    thinking                      enabled: budget_tokens; disabled: no token; adaptive: as the model likes

The results of a turn are put into the order of their calls. A document's title and context go before it as text.

What cannot be honoured is refused by name; `cache_control` is accepted without effect, since equal beginnings are
always shared, and so is what `WITHOUT_EFFECT` lists. It does no I/O: files by id come through `find_file`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regard.errors import InputError
from regard.messages import Document, Image, Message, Part, Text, ToolCall
from regard.server.fields import Fields, shown

WITHOUT_EFFECT = ("metadata", "service_tier", "inference_geo")
IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
ERROR_PREFIX = "Error: "

FindFile = Callable[[str], Part]


def read_system(value: Any) -> tuple[Message, ...]:
    """Read the field `system`: no message or one."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (Message("system", (Text(value),)),) if value else ()
    if not isinstance(value, list):
        raise InputError(f"system of the request is {shown(value)}; it must be text or a list of text blocks")
    texts = []
    for item in value:
        block = Fields(item, "a block of system")
        block.only("type", "text")
        block.skip("cache_control", "citations")
        texts.append(block.needed_text("text"))
        block.end()
    return (Message("system", (Text("\n\n".join(texts)),)),) if texts else ()


def read_messages(value: Any, find_file: FindFile) -> tuple[Message, ...]:
    """Read the field `messages`. Errors: InputError naming what cannot be understood."""
    if not isinstance(value, list) or not value:
        raise InputError(f"messages of the request is {shown(value)}; it must be a list with at least one message")
    made: list[Message] = []
    call_ids: list[str] = []
    for item in value:
        turn = Fields(item, "a message")
        role = turn.needed("role", turn.choice("role", "user", "assistant"))
        content = turn.raw("content")
        turn.end()
        blocks = _blocks(content, f"the content of a message of role {role!r}")
        if role == "assistant":
            message, call_ids = _assistant(blocks)
            made.append(message)
        else:
            made += _user(blocks, call_ids, find_file)
    return tuple(made)


def _blocks(content: Any, where: str) -> list[Fields]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise InputError(f"{where} is {shown(content)}; it must be text or a list of blocks")
    blocks = [Fields(block, "a content block") for block in content]
    for block in blocks:
        block.skip("cache_control")
    return blocks


def _assistant(blocks: list[Fields]) -> tuple[Message, list[str]]:
    """A turn of the assistant, and the ids of its calls."""
    parts: list[Part] = []
    calls: list[ToolCall] = []
    call_ids: list[str] = []
    reasoning = ""
    for block in blocks:
        kind = _kind(block)
        if kind == "text":
            block.skip("citations")
            parts.append(Text(block.needed_text("text")))
        elif kind == "thinking":
            block.skip("signature")
            reasoning += block.needed_text("thinking")
        elif kind == "tool_use":
            block.skip("caller")
            call_ids.append(block.needed_text("id"))
            calls.append(ToolCall(block.needed_text("name"), block.plain("input") or {}))
        else:
            raise InputError(f"a block of the assistant has the type {kind!r}; it must be text, thinking or tool_use")
        block.end()
    return Message("assistant", tuple(parts), reasoning=reasoning or None, tool_calls=tuple(calls)), call_ids


def _user(blocks: list[Fields], call_ids: list[str], find_file: FindFile) -> list[Message]:
    """A turn of the user: the results of calls as messages of their own, then the rest."""
    results: dict[str, Message] = {}
    parts: list[Part] = []
    for block in blocks:
        kind = _kind(block)
        if kind == "tool_result":
            call_id = block.needed_text("tool_use_id")
            if call_id not in call_ids or call_id in results:
                raise InputError(f"tool_result names {call_id!r}, which is no open tool_use of the message before")
            results[call_id] = _result(block, find_file)
            block.end()
        else:
            parts += _content(kind, block, find_file)
    ordered = [results[call_id] for call_id in call_ids if call_id in results]
    if results and len(results) < len(call_ids):
        missing = next(call_id for call_id in call_ids if call_id not in results)
        raise InputError(f"the tool_use {missing!r} has no tool_result; give one for each")
    return [*ordered, Message("user", tuple(parts))] if parts or not ordered else ordered


def _result(block: Fields, find_file: FindFile) -> Message:
    is_error = block.flag("is_error", default=False)
    content = block.raw("content")
    inner = [] if content is None else _blocks(content, "the content of a tool_result")
    parts = [part for one in inner for part in _content(_kind(one), one, find_file)]
    return Message("tool", (Text(ERROR_PREFIX), *parts) if is_error else tuple(parts))


def _content(kind: str, block: Fields, find_file: FindFile) -> list[Part]:
    """The parts of a block of text, a picture or a document."""
    parts: list[Part]
    if kind == "text":
        block.skip("citations")
        parts = [Text(block.needed_text("text"))]
    elif kind == "image":
        parts = [_image(block, find_file)]
    elif kind == "document":
        parts = _document(block, find_file)
    else:
        raise InputError(f"a content block has the type {kind!r}; it must be text, image, document or tool_result")
    block.end()
    return parts


def _kind(block: Fields) -> str:
    kind = block.needed_text("type")
    block.where = f"a block of type {kind!r}"
    return kind


def _image(block: Fields, find_file: FindFile) -> Part:
    limits = {name: block.whole(name) for name in ("min_pixels", "max_pixels")}
    source = block.needed("source", block.object("source"))
    kind = source.needed("type", source.choice("type", "base64", "url", "file"))
    if kind == "file":
        file_id = source.needed_text("file_id")
        found = find_file(file_id)
        if not isinstance(found, Image):
            raise InputError(f"the file {file_id!r} is no picture; give it in a block of type 'document'")
        found = Image(found.source, **limits)
    elif kind == "url":
        found = Image(source.needed_text("url"), **limits)
    else:
        media_type = source.needed("media_type", source.choice("media_type", *IMAGE_TYPES))
        found = Image(f"data:{media_type};base64,{source.needed_text('data')}", **limits)
    source.end()
    return found


def _document(block: Fields, find_file: FindFile) -> list[Part]:
    citations = block.object("citations")
    if citations is not None:
        citations.only("enabled", False)
        citations.end()
    before = [Text(text + "\n") for text in (block.text("title"), block.text("context")) if text]
    source = block.needed("source", block.object("source"))
    kind = source.needed("type", source.choice("type", "base64", "text", "url", "content", "file"))
    parts: list[Part]
    if kind == "base64":
        source.only("media_type", "application/pdf")
        parts = [Document(f"data:application/pdf;base64,{source.needed_text('data')}")]
    elif kind == "text":
        source.only("media_type", "text/plain")
        parts = [Text(source.needed_text("data"))]
    elif kind == "url":
        parts = [Document(source.needed_text("url"))]
    elif kind == "file":
        parts = [find_file(source.needed_text("file_id"))]
    else:
        inner = _blocks(source.raw("content"), "the content of a document")
        parts = [part for one in inner for part in _content(_kind(one), one, find_file)]
    source.end()
    return [*before, *parts]
