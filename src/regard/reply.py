"""What comes back: pure values.

Coordinates in a `Reply` are pixels of the picture the user gave; the model's 0-1000 units are converted
in one place (`processing/coordinates.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from regard.messages import ToolCall

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class MediaReport:
    """What the model really saw of one input.

    Units: width/height are pixels as given (after EXIF or rotation flags), resized_* pixels after resizing,
    `frame_times_s` the times of the used frames, `timestamps_s` one time per temporal group as told to the model.
    """

    kind: Literal["image", "video", "page"]
    name: str
    width: int
    height: int
    resized_width: int
    resized_height: int
    num_visual_tokens: int
    num_frames: int = 1
    frame_times_s: tuple[float, ...] = ()
    timestamps_s: tuple[float, ...] = ()
    duration_s: float | None = None
    decode_s: float | None = None
    page: int | None = None
    cache_hit: bool = False


@dataclass(frozen=True)
class Box:
    """A box in pixels of image number `image` (0-based, in order of appearance)."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str = ""
    image: int = 0


@dataclass(frozen=True)
class Point:
    """A point in pixels of image number `image`."""

    x: float
    y: float
    label: str = ""
    image: int = 0


@dataclass(frozen=True)
class Usage:
    """Token counts and times of one request (seconds)."""

    num_prompt_tokens: int
    num_output_tokens: int
    num_visual_tokens: int
    preprocess_s: float
    ttft_s: float
    total_s: float


@dataclass(frozen=True)
class Reply:
    """A finished answer. `raw` is everything the model wrote, special tokens removed."""

    text: str
    raw: str
    thinking: str | None
    tool_calls: tuple[ToolCall, ...]
    boxes: tuple[Box, ...]
    points: tuple[Point, ...]
    finish_reason: FinishReason
    usage: Usage
    media: tuple[MediaReport, ...]
    token_ids: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The reply as plain JSON types."""
        from dataclasses import asdict

        return asdict(self)


@dataclass(frozen=True)
class Event:
    """One step of a stream: new visible text or new thinking text; the last event carries the `Reply`."""

    kind: Literal["text", "thinking", "done"]
    text: str = ""
    reply: Reply | None = None
