"""Which frames of a clip are used, at which size, and when they happen. Numbers only, no decoding.

How the options combine, in this order:

1. `start`/`end` cut a stretch: the frames with start <= time < end; when none begins in it, the one on display.
2. The wish: `fps` (the checkpoint's default when nothing is asked) or `num_frames`; both: whichever is fewer.
3. The bounds: at least `min_frames`, at most `max_frames`. For an fps wish the checkpoint's own bounds hold
   too, and never more frames than there are; a `num_frames` wish may repeat frames.
4. The frames lie evenly over the stretch, first and last included.
5. The size: all frames together stay under `total_pixels` (T*H*W, default the checkpoint's), then one frame
   inside `min_pixels`..`max_pixels`; bounds that contradict each other are refused, never bent.

Times are those of the whole clip, also in a stretch. A single frame is used twice, because the model's
temporal patch needs two; the reference refuses it.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regard.errors import InputError
from regard.messages import Video
from regard.processing.fetch_policy import FetchPolicy
from regard.processing.image import ResizeBackend, check_aspect_ratio, check_pixels, smart_resize

_EPSILON_S = 1e-6  # times are doubles: 0:00:30 must find the frame at 899 * (1 / 29.97) + rounding
_TIME = re.compile(r"(?:(?:(\d{1,9}):)?(\d{1,2}):)?(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})s?")
_MAX_TIME_S = 1e9
_MIN_RATE, _MAX_RATE = 1e-6, 1e6  # frames a second: beyond them times have no meaning


@dataclass(frozen=True)
class VideoSettings:
    """What the checkpoint's video_preprocessor_config.json decides; pixel budgets count T*H*W of all frames."""

    fps: float = 2.0
    min_frames: int = 4
    max_frames: int = 768
    min_total_pixels: int = 4096
    max_total_pixels: int = 25_165_824
    factor: int = 32
    temporal_patch_size: int = 2
    resize_backend: ResizeBackend = "torch"


@dataclass(frozen=True)
class Timeline:
    """When each frame of a clip is shown. `times_s` (seconds from the first frame) is None at a constant rate."""

    num_frames: int
    fps: float
    times_s: npt.NDArray[np.float64] | None = None

    def time_s(self, index: int) -> float:
        """Time of a frame in seconds; at a constant rate exactly index / fps, as the reference divides."""
        return index / self.fps if self.times_s is None else float(self.times_s[index])

    @property
    def duration_s(self) -> float:
        """From the first frame's start to the last frame's end."""
        return (
            self.time_s(self.num_frames - 1) + 1.0 / self.fps
            if self.times_s is not None
            else (self.num_frames / self.fps)
        )

    def first_from(self, time_s: float) -> int:
        """Index of the first frame at or after `time_s`; `num_frames` when there is none."""
        if self.times_s is not None:
            return int(np.searchsorted(self.times_s, time_s - _EPSILON_S))
        return min(self.num_frames, max(0, math.ceil((time_s - _EPSILON_S) * self.fps)))


def parse_time(text: str | float) -> float:
    """Turn "90", "1:30", "0:23:00.5" or a number into seconds.

    Errors: InputError for anything else, negative times included.
    """
    if isinstance(text, int | float):
        if not 0 <= text <= _MAX_TIME_S:
            raise InputError(f"the time {str(text)[:40]} is not a moment in a clip; give seconds from 0 on")
        return float(text)
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise InputError(f"{text!r} is not a time; write seconds (90 or 12.5), minutes (1:30) or hours (0:23:00)")
    hours, minutes, seconds = int(found[1] or 0), int(found[2] or 0), float(found[3])
    if found[2] is not None and seconds >= 60 or found[1] is not None and minutes >= 60:
        raise InputError(f"{text!r} is not a time; minutes and seconds after a colon stay below 60")
    return hours * 3600.0 + minutes * 60.0 + seconds


def format_time(seconds: float) -> str:
    """Write seconds as h:mm:ss, with a fraction only when there is one."""
    whole, fraction = divmod(round(seconds, 3), 1)
    text = f"{int(whole) // 3600}:{int(whole) // 60 % 60:02d}:{int(whole) % 60:02d}"
    return text + (f"{fraction:.3f}".rstrip("0")[1:] if fraction else "")


def choose_frames(timeline: Timeline, video: Video, settings: VideoSettings, *, policy: FetchPolicy) -> list[int]:
    """Choose the frame indices, ascending, possibly with repeats, at least two.

    Errors: InputError when an option is out of range or the stretch holds no frame.
    Source: transformers Qwen3VLVideoProcessor.sample_frames (tests/parity/test_pixels.py).
    """
    _check_options(video)
    first, stop = _stretch(timeline, video)
    total = stop - first
    wished = _num_frames(timeline, total, video, settings)
    if wished > policy.max_video_frames:
        raise InputError(
            f"{str(wished)[:40]} frames are asked for, the limit is {policy.max_video_frames}; lower fps or num_frames"
        )
    # The reference's rounding: halves to even, on doubles.
    chosen = (np.linspace(0, total - 1, wished).round().astype(int) + first).tolist()
    return chosen * 2 if len(chosen) == 1 else chosen


def _check_options(video: Video) -> None:
    counts = {"num_frames": video.num_frames, "min_frames": video.min_frames, "max_frames": video.max_frames}
    for name, count in counts.items():
        if count is not None and (not isinstance(count, numbers.Integral) or count < 1):
            raise InputError(f"{name} is {str(count)[:40]}; it must be a whole number and at least 1")
    for name, rate in {"fps": video.fps, "sample_fps": video.sample_fps}.items():
        if rate is not None and not 0 < rate < math.inf:
            raise InputError(f"{name} is {rate}; it must be above 0")
        if rate is not None and not _MIN_RATE <= rate <= _MAX_RATE:
            raise InputError(f"{name} is {str(rate)[:40]}; it must be from {_MIN_RATE:g} to {_MAX_RATE:g}")
    if video.min_frames is not None and video.max_frames is not None and video.min_frames > video.max_frames:
        raise InputError(f"min_frames {video.min_frames} is above max_frames {video.max_frames}; lower one of them")
    _check_pixels(video)  # before a frame is decoded


def _check_pixels(video: Video) -> None:
    check_pixels("min_pixels", video.min_pixels)
    check_pixels("max_pixels", video.max_pixels)
    check_pixels("total_pixels", video.total_pixels)
    if video.min_pixels is not None and video.max_pixels is not None and video.min_pixels > video.max_pixels:
        raise InputError(
            f"min_pixels {video.min_pixels} is above max_pixels {video.max_pixels}; lower one or raise the other"
        )


def _stretch(timeline: Timeline, video: Video) -> tuple[int, int]:
    """The frames from `start` to `end`, as first and one past the last."""
    start = parse_time(video.start) if video.start is not None else 0.0
    if start >= timeline.duration_s:
        last = format_time(timeline.duration_s)
        raise InputError(f"start {format_time(start)} is not inside the clip, which ends at {last}; choose it earlier")
    first = timeline.first_from(start)
    if video.end is None:
        stop = timeline.num_frames
    else:
        end = parse_time(video.end)
        if end <= start:
            raise InputError(f"end {format_time(end)} is not after start {format_time(start)}; swap or widen them")
        stop = timeline.first_from(end)
    if first >= stop:  # shorter than a frame: the one on display at `start`
        first = max(0, min(first, timeline.num_frames) - 1)
        stop = first + 1
    return first, stop


def _num_frames(timeline: Timeline, total: int, video: Video, settings: VideoSettings) -> int:
    at_least = video.min_frames
    at_most = video.max_frames
    if video.num_frames is not None:
        wished = video.num_frames
        if video.fps is not None:
            wished = min(wished, max(1, int(total / timeline.fps * video.fps)))
        return min(max(wished, at_least or 1), at_most or max(wished, at_least or 1))
    at_most = at_most or max(settings.max_frames, at_least or 0)
    at_least = at_least or settings.min_frames
    wished = int(total / timeline.fps * (video.fps or settings.fps))
    return min(max(wished, at_least), at_most, total)


def group_timestamps(times_s: Sequence[float], temporal_patch_size: int = 2) -> tuple[float, ...]:
    """One time per temporal patch: the middle of its first and last frame; a short last group repeats its last.

    Source: transformers Qwen3VLProcessor (tests/parity/test_pixels.py).
    """
    times = [*times_s, *[times_s[-1]] * (-len(times_s) % temporal_patch_size)]
    return tuple((times[i] + times[i + temporal_patch_size - 1]) / 2 for i in range(0, len(times), temporal_patch_size))


def smart_resize_video(
    num_frames: int,
    height: int,
    width: int,
    *,
    factor: int = 32,
    temporal_factor: int = 2,
    min_pixels: int,
    max_pixels: int,
) -> tuple[int, int]:
    """Choose the size of every frame, (height, width), so that T*H*W lies inside the bounds.

    T is `num_frames` rounded to the temporal factor with halves to even, while the scale uses the plain count;
    a side below `factor` is first enlarged. Both are the reference's ways, kept to the pixel.
    Errors: InputError when the aspect ratio is above 200.
    Source: transformers 5.23 Qwen3VLVideoProcessor (tests/parity/test_pixels.py).
    """
    if height < factor or width < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    check_aspect_ratio(height, width)
    new_height, new_width = round(height / factor) * factor, round(width / factor) * factor
    slots = round(num_frames / temporal_factor) * temporal_factor
    if slots * new_height * new_width > max_pixels:
        shrink = math.sqrt((num_frames * height * width) / max_pixels)
        new_height = max(factor, math.floor(height / shrink / factor) * factor)
        new_width = max(factor, math.floor(width / shrink / factor) * factor)
    elif slots * new_height * new_width < min_pixels:
        grow = math.sqrt(min_pixels / (num_frames * height * width))
        new_height = math.ceil(height * grow / factor) * factor
        new_width = math.ceil(width * grow / factor) * factor
    return new_height, new_width


def choose_size(num_frames: int, height: int, width: int, video: Video, settings: VideoSettings) -> tuple[int, int]:
    """Choose the frames' size from the clip's budget and the per-frame bounds of one `Video`.

    Errors: InputError when the bounds contradict each other for this clip.
    """
    _check_pixels(video)
    low, high = video.min_pixels or 0, video.max_pixels or math.inf
    budget = video.total_pixels or settings.max_total_pixels
    chosen = smart_resize_video(
        num_frames,
        height,
        width,
        factor=settings.factor,
        temporal_factor=settings.temporal_patch_size,
        min_pixels=min(settings.min_total_pixels, budget),
        max_pixels=budget,
    )
    if not low <= math.prod(chosen) <= high:
        bounds = (low or 1, video.max_pixels or max(low, budget // num_frames))
        chosen = smart_resize(height, width, factor=settings.factor, min_pixels=bounds[0], max_pixels=bounds[1])
    asked = video.total_pixels is not None or video.min_pixels is not None
    if asked and num_frames * math.prod(chosen) > budget + _rounding(num_frames, budget, chosen):
        raise InputError(
            f"{num_frames} frames of {chosen[1]}x{chosen[0]} pixels are {num_frames * math.prod(chosen)} in all, "
            f"the budget is {budget}; lower fps, max_frames or min_pixels, or raise total_pixels"
        )
    return chosen


def _rounding(num_frames: int, budget: int, chosen: tuple[int, int]) -> int:
    """An odd count may exceed the budget by one frame: the reference rounds T to even before it compares."""
    return math.prod(chosen) if num_frames % 2 and (num_frames - 1) * math.prod(chosen) <= budget else 0
