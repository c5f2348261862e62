"""A clip: from a file, URL or list of frames to a few resized frames with their true times.

    sampled = load_video(Video("clip.mp4", fps=1, start=60, end=90), settings=VideoSettings())
    sampled.frames          # (n, H, W, 3) uint8, already at the model's size
    sampled.timestamps_s    # one time per temporal patch, as told to the model

`frames` decides which frames and which size, `video_file` decodes them one at a time, here they are resized
as they come, so memory holds one full-size frame and the small ones, however long the clip is.

A list of frames (paths, pictures, arrays, or one (n, H, W, 3) array) is taken whole, `sample_fps` apart
(2.0 when not said); only explicit options thin it out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from regard.errors import InputError
from regard.messages import Video
from regard.processing.download import NETWORK, Network
from regard.processing.fetch import local_path, read_bytes, source_name
from regard.processing.frames import (
    Timeline,
    VideoSettings,
    choose_frames,
    choose_size,
    group_timestamps,
)
from regard.processing.image import Pixels, load_image, resize
from regard.processing.limits import DEFAULT_LIMITS, MediaLimits
from regard.processing.video_file import NotConstantError, VideoFile

DEFAULT_SAMPLE_FPS = 2.0
DEFAULT_SETTINGS = VideoSettings()


@dataclass(frozen=True)
class SampledVideo:
    """The used frames of one clip.

    Shapes: frames (n, H, W, 3) uint8, n at least 2. Units: width and height in pixels as displayed (rotation
    applied, before resizing); times in seconds from the clip's first frame; `decode_s` the wall time spent.
    """

    frames: Pixels
    frame_indices: tuple[int, ...]
    frame_times_s: tuple[float, ...]
    timestamps_s: tuple[float, ...]
    source_fps: float
    num_source_frames: int
    duration_s: float
    width: int
    height: int
    decode_s: float
    name: str


def load_video(
    video: Video,
    *,
    settings: VideoSettings = DEFAULT_SETTINGS,
    limits: MediaLimits = DEFAULT_LIMITS,
    network: Network = NETWORK,
) -> SampledVideo:
    """Sample, decode and resize a clip as `video` and the checkpoint's `settings` ask.

    Errors: InputError for input that is missing, damaged, empty or too large and for options out of range;
    MissingDependencyError when a container is given and PyAV is not installed.
    """
    began = time.perf_counter()
    if isinstance(video.source, list | tuple) or (isinstance(video.source, np.ndarray) and video.source.ndim == 4):
        return _from_frames(video, settings, limits, network, began)
    if video.sample_fps is not None:
        raise InputError(
            f"sample_fps {video.sample_fps} is given for a clip that has its own times; "
            "it belongs to lists of frames, use fps to choose how many"
        )
    name = source_name(video.source)
    path = local_path(video.source, limits=limits)
    source = path if path is not None else read_bytes(video.source, limits=limits, network=network)
    with VideoFile(source, name, limits=limits) as file:
        timeline = file.timeline()
        try:
            return _from_file(file, timeline, video, settings, limits, name, began)
        except NotConstantError:
            timeline = file.timeline(count_packets=True)
        try:
            return _from_file(file, timeline, video, settings, limits, name, began)
        except NotConstantError:
            raise InputError(f"{name} is damaged: its frames do not decode; save or download it again") from None


def _from_file(
    file: VideoFile,
    timeline: Timeline,
    video: Video,
    settings: VideoSettings,
    limits: MediaLimits,
    name: str,
    began: float,
) -> SampledVideo:
    indices = choose_frames(timeline, video, settings, limits=limits)
    decoded = file.decode(sorted(set(indices)), timeline)
    return _resized(decoded, indices, timeline, video, settings, name, began)


def _from_frames(
    video: Video, settings: VideoSettings, limits: MediaLimits, network: Network, began: float
) -> SampledVideo:
    sources: Sequence[Any] = video.source
    name = f"the list of {len(sources)} frames"
    if len(sources) == 0:
        raise InputError("the list of frames is empty; give at least one")
    timeline = Timeline(len(sources), video.sample_fps or DEFAULT_SAMPLE_FPS)
    thinned = any(option is not None for option in (video.fps, video.num_frames, video.min_frames, video.max_frames))
    whole = video if thinned else replace(video, min_frames=len(sources), max_frames=len(sources))
    indices = choose_frames(timeline, whole, settings, limits=limits)

    def loaded() -> Iterator[tuple[int, Pixels]]:
        size = None
        for index in sorted(set(indices)):
            pixels = np.asarray(load_image(sources[index], limits=limits, network=network))
            size = size or pixels.shape
            if pixels.shape != size:
                raise InputError(
                    f"frame {index} is {pixels.shape[1]}x{pixels.shape[0]}, the first is {size[1]}x{size[0]}; "
                    "give frames of one size"
                )
            yield index, pixels

    return _resized(loaded(), indices, timeline, video, settings, name, began)


def _resized(
    decoded: Iterable[tuple[int, Pixels]],
    indices: list[int],
    timeline: Timeline,
    video: Video,
    settings: VideoSettings,
    name: str,
    began: float,
) -> SampledVideo:
    """Put each decoded frame, resized, into every place that asks for it."""
    small: list[Pixels] = []
    size, target = (0, 0), (0, 0)
    for index, pixels in decoded:
        if not small:
            size = pixels.shape[0], pixels.shape[1]
            target = choose_size(len(indices), *size, video, settings)
        small += [resize(pixels, *target, backend=settings.resize_backend)] * indices.count(index)
    times = tuple(timeline.time_s(index) for index in indices)
    return SampledVideo(
        frames=np.stack(small),
        frame_indices=tuple(indices),
        frame_times_s=times,
        timestamps_s=group_timestamps(times, settings.temporal_patch_size),
        source_fps=timeline.fps,
        num_source_frames=timeline.num_frames,
        duration_s=timeline.duration_s,
        width=size[1],
        height=size[0],
        decode_s=time.perf_counter() - began,
        name=name,
    )
