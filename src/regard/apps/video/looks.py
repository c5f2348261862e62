"""What a model is shown of a clip: a few frames, whole or cut to the place that matters, and which time each is told.

A `Look` is a list of frames at a steady rate from 0.0 seconds, as a short clip; what the model says about its seconds
is turned back into the clip's own time by `Look.true_s`. So times above an hour, which no model has seen in training,
never reach it, and frames from far apart places can stand in one look.

How large looks are follows from the model's context (`numbers_for`): regard-nano gets 16 frames of 128x96 pixels, cut
to what changes, an official checkpoint up to 128 frames of 640x352.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image
import PIL.ImageDraw

from regard.apps.result import clock
from regard.apps.video.changes import Change, Place
from regard.apps.video.index import Index
from regard.client import Chat, HttpChat, LocalChat
from regard.messages import Image, Part, Text, Video
from regard.processing.fetch_policy import DEFAULT_POLICY
from regard.processing.video_file import VideoFile, upright_rgb

if TYPE_CHECKING:
    from av import VideoFrame

CELL_PX = 32 * 32  # of a picture that become one token of the official models; two frames share theirs
TOKENS_AROUND = 12  # the time and the marks of each pair of frames
UNKNOWN_CONTEXT = 32768  # of a server that does not tell
WIDE_CONTEXT = 16384  # from here on a model reads lists of events and is shown whole windows
SMALL_THING_PX = 24  # what is smaller in a look is cut out and shown larger
_THING_PART = 0.34  # of the shorter side, when it is cut out
_WHOLE: Place = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Numbers:
    """How much a model is shown at once. `frame_px`: pixels of one frame; `is_wide`: it reads lists of events."""

    context: int
    num_frames: int
    frame_px: int
    is_wide: bool
    fps: float = 2.0
    cell_px: int = CELL_PX

    @property
    def tokens_per_frame(self) -> float:
        """About, the pair's time included."""
        return (self.frame_px / self.cell_px + TOKENS_AROUND) / 2


def context_of(chat: Chat) -> int:
    """The model's context in tokens."""
    if isinstance(chat, LocalChat):
        return chat.llm.model.config.text.max_position_embeddings
    length = chat.served.max_model_len if isinstance(chat, HttpChat) else getattr(chat, "context", None)
    return length or UNKNOWN_CONTEXT


def cell_px_of(chat: Chat) -> int:
    """Pixels of a picture that become one token of the model; of a server's, what the official models take."""
    if not isinstance(chat, LocalChat):
        return CELL_PX
    vision = chat.llm.model.config.vision
    return (vision.patch_size * vision.spatial_merge_size) ** 2


def numbers_for(context: int, cell_px: int = CELL_PX) -> Numbers:
    """Small looks for a small context, large ones for a large one: an eighth of it at most."""
    if context < WIDE_CONTEXT:
        return Numbers(context, 16, 128 * 96, is_wide=False, cell_px=cell_px)
    frame_px = 640 * 352
    per_frame = (frame_px / cell_px + TOKENS_AROUND) / 2
    num_frames = max(16, min(128, int(context / 8 / per_frame) // 2 * 2))
    return Numbers(context, num_frames, frame_px, is_wide=True, cell_px=cell_px)


@dataclass(frozen=True)
class Look:
    """Frames and the true time of each, told as a clip of `fps` frames a second from 0.0 on."""

    pictures: tuple[PIL.Image.Image, ...]
    times_s: tuple[float, ...]
    fps: float
    is_dated: bool = False  # pictures, each after its true time, in place of a clip
    is_still: bool = False  # a single picture

    def parts(self) -> list[Part]:
        """What is put before the question."""
        if self.is_still:
            return [Image(self.pictures[0])]
        if not self.is_dated:
            return [Video(list(self.pictures), sample_fps=self.fps)]
        pairs = zip(self.times_s, self.pictures, strict=True)
        return [part for time_s, picture in pairs for part in (Text(f"<{clock(time_s)}>"), Image(picture))]

    def told_s(self, true_s: float) -> float:
        """What a moment of the clip is called in this look: that of the closest frame."""
        closest = min(range(len(self.times_s)), key=lambda number: (abs(self.times_s[number] - true_s), number))
        return closest / self.fps

    def true_s(self, told_s: float) -> float:
        """The clip's time of a second of this look; between frames and beyond the last as far as it goes."""
        place = min(max(told_s * self.fps, 0.0), len(self.times_s) - 1)
        below = math.floor(place)
        above = min(below + 1, len(self.times_s) - 1)
        return self.times_s[below] + (place - below) * (self.times_s[above] - self.times_s[below])

    def num_tokens(self, cell_px: int = CELL_PX) -> int:
        """About how many tokens it becomes, one for `cell_px` pixels."""
        width, height = self.pictures[0].size
        return math.ceil(len(self.pictures) / (1 if self.is_dated else 2)) * (
            math.ceil(width * height / cell_px) + TOKENS_AROUND
        )


class Eyes:
    """Gets frames of one clip: small ones from its index, any others by decoding. A context manager."""

    def __init__(self, clip: Path, index: Index, numbers: Numbers) -> None:
        self.index, self.numbers = index, numbers
        self._clip = clip
        self._file: VideoFile | None = None

    def __enter__(self) -> Eyes:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.__exit__(None, None, None)
            self._file = None

    def coarse(self, numbers: Sequence[int], fps: float = 1.0) -> Look:
        """A look at frames of the index."""
        pictures = [self._sized(self.index.picture(number), _WHOLE) for number in numbers]
        return Look(tuple(pictures), tuple(self.index.times_s[number] for number in numbers), fps)

    def fine(self, times_s: Sequence[float], place: Place = _WHOLE, fps: float | None = None) -> Look:
        """A look at the frames that are shown at these times, cut to a place; decoded from the clip."""
        wanted = sorted(set(times_s))
        found = {time_s: self._sized(picture, place) for time_s, picture in self.full(wanted)}
        there = [time_s for time_s in times_s if time_s in found]
        return Look(tuple(found[time_s] for time_s in there), tuple(there), fps or self.numbers.fps)

    def still(self, time_s: float, place: Place, size: tuple[int, int]) -> Look | None:
        """One frame cut to a place, in a size of its own; None beyond the clip's end."""
        for _, picture in self.full([time_s]):
            width, height = picture.size
            box = (place[0] * width, place[1] * height, place[2] * width, place[3] * height)
            cut = picture.resize(size, PIL.Image.Resampling.BICUBIC, box=box)
            return Look((cut,), (time_s,), 1.0, is_still=True)
        return None

    def full(self, times_s: Sequence[float]) -> Iterator[tuple[float, PIL.Image.Image]]:
        """(time, the whole frame that is shown then) for ascending times; a clip that ends before gives fewer."""
        if self._file is None:
            self._file = VideoFile(self._clip, self._clip.name, policy=DEFAULT_POLICY)
        facts = self.index.facts
        frames: Iterator[tuple[int, VideoFrame]] | None = None
        shown: tuple[int, VideoFrame] | None = None
        ahead: tuple[int, VideoFrame] | None = None
        for time_s in times_s:
            tick = facts.first_tick + (time_s + 1e-4) / facts.tick_s
            key_s = max((one for one in self.index.times_s if one <= time_s + 1e-4), default=0.0)
            key = facts.first_tick + round(key_s / facts.tick_s)
            if frames is None or (self._file.can_jump and shown is not None and key > shown[0]):
                frames = self._file.frames_from(key if self._file.can_jump else None)
                shown, ahead = None, next(frames, None)
            while ahead is not None and (shown is None or ahead[0] <= tick):
                shown, ahead = ahead, next(frames, None)
            if shown is not None:
                yield time_s, PIL.Image.fromarray(upright_rgb(shown[1]))

    def around(self, change: Change, *, num_frames: int = 8, fps: float | None = None) -> list[float]:
        """Times before and behind a change that show no other change, as many of each as there are, at most half."""
        fps = fps or self.numbers.fps
        others = [other.time_s for other in self.index.changes if abs(other.time_s - change.time_s) > 1e-3]
        earliest = max((time_s for time_s in others if time_s < change.time_s), default=0.0)
        behind = min((time_s for time_s in others if time_s > change.time_s), default=self.index.facts.duration_s)
        start_s = change.time_s - change.slack_s
        half = num_frames // 2
        before = [start_s - (number + 1) / fps for number in range(half)][::-1]
        after = [change.time_s + number / fps for number in range(half)]
        before = [time_s for time_s in before if time_s >= earliest - 1e-6]
        after = [time_s for time_s in after if time_s < behind - 1e-6]
        frame_s = 1 / self.index.facts.fps
        return (before or [max(0.0, start_s - frame_s)]) + (after or [change.time_s])

    def place_of(self, change: Change) -> Place:
        """Where to look at a change: the whole picture, or a part in which the thing is large enough."""
        facts = self.index.facts
        width = (change.place[2] - change.place[0]) * facts.width
        height = (change.place[3] - change.place[1]) * facts.height
        if not self.is_small(change) or width <= 0 or height <= 0:
            return _WHOLE
        cut_height = min(max(height, width * 3 / 4) / _THING_PART, facts.height)
        cut_width = min(cut_height * 4 / 3, facts.width)
        x = (change.place[0] + change.place[2]) / 2 * facts.width - cut_width / 2
        y = (change.place[1] + change.place[3]) / 2 * facts.height - cut_height / 2
        x, y = min(max(x, 0.0), facts.width - cut_width), min(max(y, 0.0), facts.height - cut_height)
        return x / facts.width, y / facts.height, (x + cut_width) / facts.width, (y + cut_height) / facts.height

    def is_small(self, change: Change) -> bool:
        """Whether a change would be too small in a look at the whole picture."""
        facts = self.index.facts
        scale = math.sqrt(self.numbers.frame_px / (facts.width * facts.height))
        width = (change.place[2] - change.place[0]) * facts.width * scale
        height = (change.place[3] - change.place[1]) * facts.height * scale
        return max(width, height) < 2 * SMALL_THING_PX and min(width, height) < SMALL_THING_PX

    def _sized(self, picture: PIL.Image.Image, place: Place) -> PIL.Image.Image:
        """A part of a picture, in the size of a look: sides that are multiples of 32, within `frame_px`."""
        width, height = picture.size
        box = (place[0] * width, place[1] * height, place[2] * width, place[3] * height)
        size = look_size(box[2] - box[0], box[3] - box[1], self.numbers.frame_px)
        return picture.convert("RGB").resize(size, PIL.Image.Resampling.BICUBIC, box=box)


def look_size(width: float, height: float, frame_px: int) -> tuple[int, int]:
    """The size, in multiples of 32, closest to a shape and within a number of pixels."""
    scale = math.sqrt(frame_px / (width * height))
    columns = max(1, round(width * scale / 32))
    rows = max(1, round(height * scale / 32))
    while columns * rows * CELL_PX > frame_px and max(columns, rows) > 1:
        columns, rows = (columns - 1, rows) if columns >= rows else (columns, rows - 1)
    return columns * 32, rows * 32


def painted_over(picture: PIL.Image.Image, place: Place, inside: Place) -> PIL.Image.Image:
    """A cut-out with the changed place filled by the colour around it: as if nothing were there."""
    width, height = picture.size
    scale_x, scale_y = width / (inside[2] - inside[0]), height / (inside[3] - inside[1])
    x1, y1 = (place[0] - inside[0]) * scale_x - 2, (place[1] - inside[1]) * scale_y - 2
    x2, y2 = (place[2] - inside[0]) * scale_x + 2, (place[3] - inside[1]) * scale_y + 2
    edge = [(x, y) for x in (x1 - 3, (x1 + x2) / 2, x2 + 3) for y in (y1 - 3, (y1 + y2) / 2, y2 + 3)]
    inner = ((x1 + x2) / 2, (y1 + y2) / 2)
    points = [(round(x), round(y)) for x, y in edge if (x, y) != inner and 0 <= x < width - 1 and 0 <= y < height - 1]
    colours = [picture.getpixel(point) for point in points] or [(128, 128, 128)]
    middle = tuple(sorted(one[i] for one in colours if isinstance(one, tuple))[len(colours) // 2] for i in range(3))
    filled = picture.copy()
    PIL.ImageDraw.Draw(filled).rectangle((x1, y1, x2, y2), fill=middle)
    return filled
