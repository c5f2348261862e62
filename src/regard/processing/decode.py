"""A fetched picture, clip or document to pixels, one value at a time: all of it that a hostile file can reach.

    for value in decode(fetch(Image("shot.png")), settings=VideoSettings(), policy=DEFAULT_POLICY):
        value.pixels                                    # (H, W, 3) uint8, RGB, upright

A picture gives one `Picture`, a document one for each page, a clip first a `Clip` (which frames, when) and then a
`Picture` for each frame that is used, once. A second `Clip` means that the first was wrong (its header lied about
the rate): forget what came after it.

The values are plain, so that this may run in another process (`decode_pool` has the same call). Nothing here
resizes, which needs torch, or opens an address. Lists of frames are pictures: the caller takes them one by one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from regard.errors import InputError
from regard.messages import Document, Image, Video
from regard.processing.fetch import local_path, read_bytes, source_name
from regard.processing.fetch_policy import FetchPolicy
from regard.processing.frames import VideoSettings, choose_frames, format_time
from regard.processing.image import Pixels, load_image
from regard.processing.pdf import load_pages
from regard.processing.video_file import NotConstantError, VideoFile


@dataclass(frozen=True)
class Picture:
    """One picture, page or frame. Shapes: pixels (H, W, 3) uint8.

    `number` is the page (1-based) or the frame (0-based).
    """

    pixels: Pixels
    number: int = 0


@dataclass(frozen=True)
class Clip:
    """What is known of a clip before its frames come: which are used (ascending, may repeat), and when each is shown.

    Units: seconds from the clip's first frame.
    """

    indices: tuple[int, ...]
    times_s: tuple[float, ...]
    fps: float
    num_frames: int
    duration_s: float


Decoded = Picture | Clip


class Decode(Protocol):
    """`decode`, or a stand-in that does the same elsewhere."""

    def __call__(
        self, part: Image | Video | Document, *, settings: VideoSettings, policy: FetchPolicy
    ) -> Generator[Decoded]:
        """See `decode`."""


def decode(part: Image | Video | Document, *, settings: VideoSettings, policy: FetchPolicy) -> Generator[Decoded]:
    """Yield what the part shows. `settings` say which frames of a clip are used.

    Errors: InputError for input that is missing, damaged, empty or too large and for options out of range;
    MissingDependencyError when an optional package is needed.
    """
    match part:
        case Image():
            yield Picture(np.asarray(load_image(part.source, policy=policy)))
        case Document():
            for number, page in load_pages(part, policy=policy):
                yield Picture(np.asarray(page), number)
        case Video():
            yield from _decode_clip(part, settings, policy)


def _decode_clip(video: Video, settings: VideoSettings, policy: FetchPolicy) -> Generator[Decoded]:
    name = source_name(video.source)
    source: Path | bytes | None = local_path(video.source, policy=policy)
    if source is None:
        source = read_bytes(video.source, "video", policy=policy)
    with VideoFile(source, name, policy=policy) as file:
        try:
            yield from _frames(file, video, settings, policy, name, count_packets=False)
            return
        except NotConstantError:
            pass
        try:
            yield from _frames(file, video, settings, policy, name, count_packets=True)
        except NotConstantError:
            raise InputError(f"{name} is damaged: its frames do not decode; save or download it again") from None


def _frames(
    file: VideoFile, video: Video, settings: VideoSettings, policy: FetchPolicy, name: str, *, count_packets: bool
) -> Generator[Decoded]:
    timeline = file.timeline(count_packets=count_packets)
    if timeline.duration_s > policy.max_video_s:
        raise InputError(
            f"{name} is {format_time(timeline.duration_s)} long, the limit is {format_time(policy.max_video_s)}; cut it"
        )
    indices = choose_frames(timeline, video, settings, policy=policy)
    times = tuple(timeline.time_s(index) for index in indices)
    yield Clip(tuple(indices), times, timeline.fps, timeline.num_frames, timeline.duration_s)
    for index, pixels in file.decode(sorted(set(indices)), timeline):
        yield Picture(pixels, index)
