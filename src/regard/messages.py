"""Pure values for a conversation: parts, messages, tool calls.

A `Message` has a role and a list of parts. Parts hold references to media (`source`) and never
decoded pixels; `processing` turns them into pixels. Nothing here does I/O or imports torch.

    Message("user", (Image("shot.png"), Text("Where is the Save button?")))

`normalize` accepts what people type: a string, a list of strings, PIL images and bytes, OpenAI-style
dictionaries, and returns a tuple of `Message`. A string in a bare list is taken for a file or URL
when it looks like one (it exists, or has a scheme), else for text.

It does not fetch, open or check media: that is `processing`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
MediaSource = Any  # path, URL, data URL, bytes, PIL image, numpy array (H, W, 3) uint8; video: or a list of these


@dataclass(frozen=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True)
class Image:
    """A picture. `min_pixels`/`max_pixels` bound the resized area in pixels."""

    source: MediaSource
    min_pixels: int | None = None
    max_pixels: int | None = None


@dataclass(frozen=True)
class Video:
    """A clip, an animated GIF, or a list of frames (then `sample_fps` says how far apart they are).

    `fps` and `num_frames` choose how densely to sample, `max_frames` bounds it, `start`/`end` (seconds)
    cut a stretch; `min_pixels`/`max_pixels` bound one frame and `total_pixels` the T*H*W of all frames.
    """

    source: MediaSource
    fps: float | None = None
    num_frames: int | None = None
    min_frames: int | None = None
    max_frames: int | None = None
    start: float | None = None
    end: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    total_pixels: int | None = None
    sample_fps: float | None = None


@dataclass(frozen=True)
class Document:
    """A PDF; processing turns each chosen page into an `Image`. `pages` is like "1-3,7" (1-based)."""

    source: MediaSource
    pages: str | None = None
    dpi: int = 144
    min_pixels: int | None = None
    max_pixels: int | None = None


Part = Text | Image | Video | Document


@dataclass(frozen=True)
class ToolCall:
    """A call the model asks for; `arguments` is a parsed JSON object."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Message:
    """One turn. `reasoning` and `tool_calls` belong to the assistant."""

    role: Role
    parts: tuple[Part, ...] = ()
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = field(default=())

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpeg", ".mpg", ".wmv", ".flv"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def looks_like_media(text: str) -> bool:
    """Whether a bare string names a file or URL rather than being words of a question."""
    if text.startswith(("http://", "https://", "data:", "file://")):
        return True
    if len(text) > 1024 or "\n" in text:
        return False
    path = Path(text)
    known = VIDEO_SUFFIXES | IMAGE_SUFFIXES | {".pdf"}
    return path.suffix.lower() in known and " " not in path.suffix or path.is_file()
