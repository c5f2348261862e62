"""What comes back: pure values.

Coordinates in a `Reply` are pixels of the picture the user gave; the model's 0-1000 units are converted
in one place (`processing/coordinates.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from regard.messages import ToolCall

FinishReason = Literal["stop", "length", "tool_calls", "repetition"]
EventKind = Literal["text", "thinking", "call", "arguments", "done"]


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
    """A box in pixels of image number `image` (0-based, in order of appearance).

    `confidence`: the geometric mean of the probabilities of its coordinates' tokens, where they were asked for.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    label: str = ""
    image: int = 0
    confidence: float | None = None


@dataclass(frozen=True)
class Point:
    """A point in pixels of image number `image`; `confidence` as that of a box."""

    x: float
    y: float
    label: str = ""
    image: int = 0
    confidence: float | None = None


@dataclass(frozen=True)
class TokenLogprob:
    """The log probability of a token of the answer, and the likeliest `alternatives` (id, log probability)."""

    token_id: int
    logprob: float
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Usage:
    """Token counts and times of one request (seconds).

    Of the output tokens `num_thinking_tokens` are thinking; of the prompt's, `num_cached_tokens` were computed before.
    """

    num_prompt_tokens: int
    num_output_tokens: int
    num_visual_tokens: int
    preprocess_s: float
    ttft_s: float
    total_s: float
    num_thinking_tokens: int = 0
    num_cached_tokens: int = 0


@dataclass(frozen=True)
class Reply:
    """A finished answer. `raw` is everything the model wrote, special tokens removed; `stop` the stop string met.

    `logprobs`, where they were asked for: of every token behind the thinking, the end of turn left out. A tool call
    that broke off within its arguments is in `raw` only.
    """

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
    stop: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The reply as plain JSON types."""
        from dataclasses import asdict

        return asdict(self)


@dataclass(frozen=True)
class Event:
    """One step of a stream; the last one carries the `Reply`.

    text, thinking   a piece of it
    call             a tool call begins; `text` is its name
    arguments        a piece of the newest call's arguments, which joined are one JSON object
    `logprobs` are those of the tokens since the event before, where they were asked for.
    """

    kind: EventKind
    text: str = ""
    reply: Reply | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
