"""A clip: from a file, URL or list of frames to a few resized frames with their true times.

    sampled = load_video(Video("clip.mp4", fps=1, start=60, end=90), settings=VideoSettings())
    sampled.frames          # (n, H, W, 3) uint8, already at the model's size
    sampled.timestamps_s    # one time per temporal patch, as told to the model

`frames` decides which frames and which size, `decode` decodes them one at a time, here they are resized
as they come, so memory holds one full-size frame and the small ones, however long the clip is.

A list of frames (paths, pictures, arrays, or one (n, H, W, 3) array) is taken whole, `sample_fps` apart
(2.0 when not said); only explicit options thin it out.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from regard.errors import InputError
from regard.messages import Image, Video
from regard.processing.decode import Clip, Decode, Decoded, Picture, decode
from regard.processing.download import NETWORK, Network
from regard.processing.fetch import fetch, source_name
from regard.processing.fetch_policy import DEFAULT_POLICY, FetchPolicy
from regard.processing.frames import (
    Timeline,
    VideoSettings,
    choose_frames,
    choose_size,
    group_timestamps,
)
from regard.processing.image import Pixels, check_resized, resize

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
    policy: FetchPolicy = DEFAULT_POLICY,
    network: Network = NETWORK,
    decode: Decode = decode,
) -> SampledVideo:
    """Sample, decode and resize a clip as `video` and the checkpoint's `settings` ask.

    Errors: InputError for input that is missing, damaged, empty or too large and for options out of range;
    MissingDependencyError when a container is given and PyAV is not installed.
    """
    began = time.perf_counter()
    if isinstance(video.source, list | tuple) or (isinstance(video.source, np.ndarray) and video.source.ndim == 4):
        name = f"the list of {len(video.source)} frames"
        decoded = _decode_list(video, settings, policy, network, decode)
    elif video.sample_fps is not None:
        raise InputError(
            f"sample_fps {video.sample_fps} is given for a clip that has its own times; "
            "it belongs to lists of frames, use fps to choose how many"
        )
    else:
        name = source_name(video.source)
        decoded = decode(fetch(video, policy=policy, network=network), settings=settings, policy=policy)
    with closing(decoded):
        return _resized(decoded, video, settings, policy, name, began)


def _decode_list(
    video: Video, settings: VideoSettings, policy: FetchPolicy, network: Network, decode: Decode
) -> Generator[Decoded]:
    sources: Sequence[Any] = video.source
    if len(sources) == 0:
        raise InputError("the list of frames is empty; give at least one")
    timeline = Timeline(len(sources), video.sample_fps or DEFAULT_SAMPLE_FPS)
    thinned = any(option is not None for option in (video.fps, video.num_frames, video.min_frames, video.max_frames))
    whole = video if thinned else replace(video, min_frames=len(sources), max_frames=len(sources))
    indices = choose_frames(timeline, whole, settings, policy=policy)
    times = tuple(timeline.time_s(index) for index in indices)
    yield Clip(tuple(indices), times, timeline.fps, timeline.num_frames, timeline.duration_s)
    size = None
    for index in sorted(set(indices)):
        frame = fetch(Image(sources[index]), policy=policy, network=network)
        for value in decode(frame, settings=settings, policy=policy):
            if isinstance(value, Picture):
                size = size or value.pixels.shape
                if value.pixels.shape != size:
                    raise InputError(
                        f"frame {index} is {value.pixels.shape[1]}x{value.pixels.shape[0]}, "
                        f"the first is {size[1]}x{size[0]}; give frames of one size"
                    )
                yield Picture(value.pixels, index)


def _resized(
    decoded: Iterator[Decoded],
    video: Video,
    settings: VideoSettings,
    policy: FetchPolicy,
    name: str,
    began: float,
) -> SampledVideo:
    """Put each decoded frame, resized, into every place that asks for it."""
    clip = Clip((), (), 1.0, 0, 0.0)
    small: list[Pixels] = []
    size, target = (0, 0), (0, 0)
    for value in decoded:
        if isinstance(value, Clip):
            clip, small = value, []
            continue
        if not small:
            size = value.pixels.shape[0], value.pixels.shape[1]
            target = choose_size(len(clip.indices), *size, video, settings)
            check_resized(len(clip.indices) * target[0] * target[1], name, policy)
        frame = resize(value.pixels, *target, backend=settings.resize_backend)
        small += [frame] * clip.indices.count(value.number)
    if len(small) != len(clip.indices) or not small:
        raise InputError(f"{name} is damaged: its frames do not decode; save or download it again")
    return SampledVideo(
        frames=np.stack(small),
        frame_indices=clip.indices,
        frame_times_s=clip.times_s,
        timestamps_s=group_timestamps(clip.times_s, settings.temporal_patch_size),
        source_fps=clip.fps,
        num_source_frames=clip.num_frames,
        duration_s=clip.duration_s,
        width=size[1],
        height=size[0],
        decode_s=time.perf_counter() - began,
        name=name,
    )
