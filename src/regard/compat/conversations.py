"""Conversations as Transformers programs write them, and the pictures and clips that their parts name.

    {"role": "user", "content": [{"type": "image", "image": "shot.png"}, {"type": "text", "text": "What is it?"}]}

A conversation is a list of such messages, a batch is a list of conversations. Keys without a value are dropped and
OpenAI's `image_url` parts become `image` parts, as the reference does; nothing the caller owns is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regard.compat.refusal import shown
from regard.errors import InputError

Conversation = list[dict[str, Any]]
_IMAGE_KEYS = ("image", "url", "path", "base64")
_VIDEO_KEYS = ("video", "url", "path")


def read_conversations(given: Any) -> tuple[list[Conversation], bool]:
    """The conversations, and whether a batch was given. Errors: InputError for what is no conversation."""
    if not isinstance(given, list | tuple) or not given:
        raise InputError(f"the conversation is {shown(given)}; it must be a list of messages")
    is_batched = isinstance(given[0], list | tuple)
    return [_conversation(one) for one in (given if is_batched else [given])], is_batched


def _conversation(messages: Sequence[Any]) -> Conversation:
    made = []
    for message in messages:
        if not isinstance(message, Mapping) or "role" not in message:
            raise InputError(f"a message is {shown(message)}; it must be a dictionary with 'role' and 'content'")
        kept = {key: value for key, value in message.items() if value is not None}
        if isinstance(kept.get("content"), list | tuple):
            kept["content"] = [_part(part) for part in kept["content"]]
        made.append(kept)
    return made


def _part(part: Any) -> Any:
    if isinstance(part, Mapping) and part.get("type") == "image_url" and "image_url" in part:
        named = part["image_url"]
        return {"type": "image", "url": named.get("url", "") if isinstance(named, Mapping) else named}
    return part


def named_media(conversation: Conversation) -> tuple[list[Any], list[Any]]:
    """The sources of pictures and of clips, in order. Errors: InputError for a part that names none."""
    pictures: list[Any] = []
    clips: list[Any] = []
    for message in conversation:
        parts = message.get("content")
        for part in parts if isinstance(parts, list) else []:
            if not isinstance(part, Mapping):
                raise InputError(f"a part is {shown(part)}; it must be a dictionary with 'type'")
            kind = part.get("type") or next((key for key in ("image", "video") if key in part), "text")
            if kind == "image":
                pictures.append(_source(part, _IMAGE_KEYS))
            elif kind == "video":
                clips.append(_source(part, _VIDEO_KEYS))
            elif kind == "audio":
                raise InputError("a part is of type 'audio'; this family does not hear")
    return pictures, clips


def _source(part: Mapping[str, Any], keys: Sequence[str]) -> Any:
    key = next((key for key in keys if key in part), None)
    if key is None:
        raise InputError(f"a part of type {part.get('type')!r} names nothing to look at; give one of {', '.join(keys)}")
    source = part[key]
    is_bare = key == "base64" and isinstance(source, str) and not source.startswith("data:")
    return f"data:image/png;base64,{source}" if is_bare else source
