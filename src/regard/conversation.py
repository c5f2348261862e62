"""What people type, turned into `Message` values.

`normalize` accepts

    "Where is it?"                                    words
    ["shot.png", "Where is the Save button?"]         one user turn; strings that name files are files
    [pil_image, "..."], [png_bytes, "..."]            pictures; bytes are told apart by how they begin
    [array (H, W, 3), "..."]                          a picture; (N, H, W, 3) is a clip
    [["f0.png", "f1.png"], "..."]                     a list inside the list: the frames of a clip
    [Image("shot.png", max_pixels=...), Text("...")]  parts
    [Message("system", ...), Message("user", ...)]    a conversation
    [{"role": "user", "content": [...]}]              the same in OpenAI's spelling

Keys of a dictionary that are not known are refused: an option is honoured or it is an error. Two of OpenAI's
keys are accepted though the model never sees them: `tool_call_id` and a call's `id`, since results follow
their calls in order.

A local GIF is opened, to see whether it moves. Nothing else is read here: fetching, checking and decoding are
`processing`'s, which also tells about files that do not exist.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from regard.errors import InputError
from regard.messages import (
    VIDEO_SUFFIXES,
    Document,
    Image,
    Message,
    Part,
    Role,
    Text,
    ToolCall,
    Video,
    looks_like_media,
)

_PARTS = (Text, Image, Video, Document)
_IMAGE_KEYS = ("min_pixels", "max_pixels")
_DOCUMENT_KEYS = ("pages", "dpi", "min_pixels", "max_pixels")
_VIDEO_KEYS = (
    "fps",
    "num_frames",
    "min_frames",
    "max_frames",
    "start",
    "end",
    "min_pixels",
    "max_pixels",
    "total_pixels",
    "sample_fps",
)
# type -> (the key that holds the source, the keys that may accompany it)
_MEDIA_TYPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "image": ("image", _IMAGE_KEYS),
    "image_url": ("image_url", _IMAGE_KEYS),
    "input_image": ("image_url", _IMAGE_KEYS),
    "video": ("video", _VIDEO_KEYS),
    "video_url": ("video_url", _VIDEO_KEYS),
    "input_video": ("video_url", _VIDEO_KEYS),
    "document": ("document", _DOCUMENT_KEYS),
}
_TEXT_TYPES = ("text", "input_text", "output_text")
_MESSAGE_KEYS = ("role", "content", "reasoning_content", "tool_calls", "tool_call_id", "name")


def normalize(what: Any) -> tuple[Message, ...]:
    """Return the conversation that `what` stands for; see the module's list of forms.

    Errors: InputError naming the value that cannot be understood.
    """
    if isinstance(what, Message):
        return (what,)
    if isinstance(what, Mapping) and "role" in what:
        return (_message(what),)
    items = list(what) if isinstance(what, list | tuple) else [what]
    if not items:
        raise InputError("there is nothing to answer: the list of messages is empty")
    is_turn = [isinstance(item, Message) or (isinstance(item, Mapping) and "role" in item) for item in items]
    if all(is_turn):
        return tuple(item if isinstance(item, Message) else _message(item) for item in items)
    if any(is_turn):
        odd = items[is_turn.index(False)]
        raise InputError(f"a list holds either messages or parts of one turn; {_shown(odd)} is no message")
    return (Message("user", tuple(part(item) for item in items)),)


def part(item: Any) -> Part:
    """Return the part that one value of a turn stands for."""
    if isinstance(item, _PARTS):
        return item
    if isinstance(item, str):
        return media_part(item) if looks_like_media(item) else Text(item)
    if isinstance(item, Mapping):
        return _part_from_dict(item)
    return media_part(item)


def within(messages: Sequence[Message], min_pixels: int | None, max_pixels: int | None) -> tuple[Message, ...]:
    """Return the messages with pixel limits given to each picture and page that has none of its own."""
    if min_pixels is None and max_pixels is None:
        return tuple(messages)

    def limited(part: Part) -> Part:
        if not isinstance(part, Image | Document) or part.min_pixels is not None or part.max_pixels is not None:
            return part
        return replace(part, min_pixels=min_pixels, max_pixels=max_pixels)

    return tuple(replace(message, parts=tuple(map(limited, message.parts))) for message in messages)


def media_part(source: Any) -> Image | Video | Document:
    """Return the part for a path, URL, bytes, picture, array or list of frames, by what it looks like."""
    if isinstance(source, list | tuple):
        if not source:
            raise InputError("a list of frames is empty; a clip needs at least one")
        return Video(list(source))
    if isinstance(source, str | Path):
        return _named_part(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _bytes_part(bytes(source))
    num_dimensions = getattr(source, "ndim", None)
    if num_dimensions == 4:
        return Video(list(source))
    if num_dimensions in (2, 3) or (hasattr(source, "convert") and hasattr(source, "size")):
        return Image(source)
    raise InputError(f"{_shown(source)} is neither text nor media; give a path, URL, bytes, PIL image or array")


def _named_part(source: str | Path) -> Image | Video | Document:
    name = str(source)
    if name.startswith("data:"):
        kind = name[5:].partition(",")[0].partition(";")[0].lower()
        suffix = ".mp4" if kind.startswith("video/") else ".pdf" if kind == "application/pdf" else ""
    else:
        is_url = name.startswith(("http://", "https://", "file://"))
        suffix = Path(urlsplit(name).path if is_url else name).suffix.lower()
        if not is_url and suffix not in VIDEO_SUFFIXES | {".pdf"}:
            return _sniffed_part(source)
    if suffix in VIDEO_SUFFIXES:
        return Video(source)
    return Document(source) if suffix == ".pdf" else Image(source)


def _sniffed_part(path: str | Path) -> Image | Video | Document:
    """A local file whose name does not say that it is a clip or a PDF: its first bytes may."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return Image(path)  # processing says in one sentence why it cannot be read
    kind = _kind(head)
    if kind is Video or (head.startswith(b"GIF8") and _moves(path)):
        return Video(path)
    return Document(path) if kind is Document else Image(path)


def _bytes_part(data: bytes) -> Image | Video | Document:
    kind = _kind(data[:16])
    if kind is Video or (data.startswith(b"GIF8") and _moves(io.BytesIO(data))):
        return Video(data)
    return Document(data) if kind is Document else Image(data)


def _kind(head: bytes) -> type[Image | Video | Document]:
    if head.startswith(b"%PDF"):
        return Document
    is_video = head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"heic", b"heix", b"mif1")
    is_video = is_video or head.startswith((b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"FLV"))
    return Video if is_video or (head.startswith(b"RIFF") and head[8:12] == b"AVI ") else Image


def _moves(gif: Any) -> bool:
    """Whether there is a second frame; the others are not counted, there may be millions."""
    from PIL.GifImagePlugin import GifImageFile

    try:
        with GifImageFile(gif) as picture:
            return bool(picture.is_animated)
    except Exception:  # Pillow's parsers raise anything; processing says in one sentence what is wrong
        return False


def _part_from_dict(item: Mapping[str, Any]) -> Part:
    kind = item.get("type") or next((key for key in ("text", *_MEDIA_TYPES) if key in item), None)
    if kind in _TEXT_TYPES:
        _refuse_unknown(item, ("type", "text"), f"a part of type {kind!r}")
        return Text(_need_text(item.get("text"), f"the text of a part of type {kind!r}"))
    if kind not in _MEDIA_TYPES:
        known = ", ".join((*_TEXT_TYPES[:2], *_MEDIA_TYPES))
        raise InputError(f"a part has the type {kind!r}; the types are {known}")
    source_key, option_keys = _MEDIA_TYPES[kind]
    _refuse_unknown(item, ("type", source_key, *option_keys, "detail"), f"a part of type {kind!r}")
    options = {key: item[key] for key in (*option_keys, "detail") if key in item}
    source = item.get(source_key)
    if isinstance(source, Mapping):
        _refuse_unknown(source, ("url", *option_keys, "detail"), f"{source_key!r}")
        options |= {key: source[key] for key in source if key != "url"}
        source = source.get("url")
    if source is None:
        raise InputError(f"a part of type {kind!r} has no {source_key!r}; give a path, a URL or a data URL")
    detail = options.pop("detail", "auto")
    if detail != "auto":
        raise InputError(f"detail is {detail!r}; only 'auto' is honoured, set min_pixels and max_pixels instead")
    _check_numbers(options)
    if source_key == "document":
        return Document(source, **options)
    return Video(source, **options) if source_key.startswith("video") else Image(source, **options)


def _message(item: Mapping[str, Any]) -> Message:
    _refuse_unknown(item, _MESSAGE_KEYS, "a message")
    role = {"developer": "system"}.get(item["role"], item["role"])
    if role not in get_args(Role):
        raise InputError(f"a message has the role {role!r}; the roles are {', '.join(get_args(Role))}")
    content = item.get("content")
    if content is None:
        content = []
    if isinstance(content, str):
        content = [Text(content)] if content else []
    if not isinstance(content, list | tuple):
        raise InputError(f"the content of a message is {_shown(content)}; it must be text or a list of parts")
    # In a conversation a bare string is always words; a file must say that it is one.
    parts = tuple(Text(value) if isinstance(value, str) else part(value) for value in content)
    reasoning = item.get("reasoning_content")
    if reasoning is not None:
        reasoning = _need_text(reasoning, "reasoning_content")
    calls = tuple(_tool_call(call) for call in item.get("tool_calls") or ())
    return Message(role, parts, reasoning=reasoning, tool_calls=calls)


def _tool_call(call: Any) -> ToolCall:
    if not isinstance(call, Mapping):
        raise InputError(f"a tool call is {_shown(call)}; it must be an object with 'name' and 'arguments'")
    if "function" in call:
        _refuse_unknown(call, ("id", "type", "function", "index"), "a tool call")
        call = call["function"]
    _refuse_unknown(call, ("name", "arguments"), "a tool call's function")
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise InputError(f"the arguments of a tool call are not JSON ({error}): {_shown(arguments)}") from error
    if not isinstance(arguments, Mapping):
        raise InputError(f"the arguments of a tool call are {_shown(arguments)}; they must be a JSON object")
    return ToolCall(_need_text(call.get("name"), "the name of a tool call"), dict(arguments))


def _refuse_unknown(item: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in item:
        if key not in known:
            raise InputError(f"{where} has the key {key!r}, which is not known; the keys are {', '.join(known)}")


def _check_numbers(options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        if key != "pages" and (isinstance(value, bool) or not isinstance(value, int | float | None)):
            raise InputError(f"{key} is {_shown(value)}; it must be a number")


def _need_text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{what} is {_shown(value)}; it must be a string")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({type(value).__name__})"
