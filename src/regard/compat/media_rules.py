"""What a prompt of vLLM's may bring: how many pictures and clips, and which local files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from regard.errors import InputError
from regard.messages import Document, Image, Message, Part, Video
from regard.processing.fetch import local_path


def media_counts(messages: Sequence[Message]) -> dict[str, int]:
    """Pictures and clips of a conversation."""
    parts = [part for message in messages for part in message.parts]
    return {
        "image": sum(isinstance(part, Image | Document) for part in parts),
        "video": sum(isinstance(part, Video) for part in parts),
    }


def check_media_counts(counts: Mapping[str, int], limits: Mapping[str, int]) -> None:
    """Errors: InputError if a prompt has more than `limit_mm_per_prompt` allows."""
    for kind, count in counts.items():
        if count > limits.get(kind, count):
            raise InputError(
                f"a prompt has {count} of {kind}, and limit_mm_per_prompt allows {limits[kind]}; raise it or give fewer"
            )


def check_local_files(messages: Sequence[Message], folder: Path | None) -> None:
    """Errors: InputError for a local file that does not lie in `folder`; without a folder for any local file."""
    for message in messages:
        for part in message.parts:
            sources = getattr(part, "source", None)
            for source in sources if isinstance(sources, list | tuple) else [sources]:
                path = local_path(source) if isinstance(source, str | Path) else None
                if path is not None and (folder is None or folder not in path.resolve().parents):
                    where = f"outside {folder}" if folder else "a local file, and allowed_local_media_path is not set"
                    raise InputError(f"{source} is {where}; pass LLM(..., allowed_local_media_path=a folder above it)")


def with_options(messages: Sequence[Message], options: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages with min_pixels and max_pixels for pictures, fps and num_frames for clips, where they have none."""

    def changed(part: Part) -> Part:
        names = ("fps", "num_frames") if isinstance(part, Video) else ("min_pixels", "max_pixels")
        if not isinstance(part, Image | Document | Video):
            return part
        missing = {name: options[name] for name in names if name in options and getattr(part, name) is None}
        return replace(part, **missing)

    return tuple(replace(message, parts=tuple(map(changed, message.parts))) for message in messages)
