"""Clips to patches and times, as transformers' video processor for this family: `processor.video_processor`.

A clip is a file or URL, a list of frames, or one array of frames, with metadata that say which frames of which clip
they are. With `do_sample_frames` (the default) frames are chosen first:

    num_frames given    that many, evenly, first and last included
    else                total / source fps * fps, between min_frames and max_frames, never more than there are

A clip without a rate in its metadata counts as one of 24 frames per second, as in the reference; there is a warning,
for its times are then wrong more often than not. A list of rates (`fps=[2.0]`, as qwen-vl-utils returns) says, with
`do_sample_frames=False`, how fast each clip's frames follow each other.

`size` bounds T*H*W in pixels. Here, unlike there, `min_frames`, `max_frames` and `max_video_tokens` are honoured in a
call too, and `num_frames` in a call needs no `fps=None` beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.compat.image_processor import NAMES as IMAGE_NAMES
from regard.compat.image_processor import VisionSettings
from regard.compat.pixels import check_size, clip_pixels, cut, resize_pixels
from regard.compat.refusal import Options, refuse_rest, shown
from regard.errors import ConfigError, InputError
from regard.model.config import VisionConfig
from regard.processing.fetch import local_path, read_bytes, source_name
from regard.processing.fetch_policy import DEFAULT_POLICY
from regard.processing.frames import VideoSettings, group_timestamps, smart_resize_video
from regard.processing.media_settings import Normalization, read_video_settings
from regard.processing.video_file import NotConstantError, VideoFile

ASSUMED_FPS = 24.0
MAX_VIDEO_TOKENS = 768
NAMES = (IMAGE_NAMES - {"min_pixels", "max_pixels"}) | {
    *("do_sample_frames", "video_metadata", "fps", "num_frames", "min_frames", "max_frames"),
    *("cap_pixels_per_frame", "max_video_tokens", "return_metadata"),
}


@dataclass
class VideoMetadata:
    """What is known of a clip; `frames_indices` are its frames that are used, counted at `fps`."""

    total_num_frames: float
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    video_backend: str | None = None
    frames_indices: Sequence[int] | None = None

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


@dataclass(frozen=True)
class CutClip:
    """One clip. Shapes: values (P, D) float32 with P = t * h * w of the grid; one timestamp in seconds for each t."""

    values: Tensor
    grid: tuple[int, int, int]
    timestamps_s: tuple[float, ...]
    metadata: VideoMetadata


class VideoProcessor(VisionSettings):
    """Chooses frames, resizes them within `size` and cuts them into patches. All public attributes may be set."""

    __slots__ = (
        *("fps", "num_frames", "min_frames", "max_frames", "do_sample_frames"),
        *("cap_pixels_per_frame", "max_video_tokens"),
    )
    model_input_names = ("pixel_values_videos", "video_grid_thw")

    def __init__(self, vision: VisionConfig, normalization: Normalization, settings: VideoSettings) -> None:
        super().__init__(vision, normalization, (settings.min_total_pixels, settings.max_total_pixels))
        self.fps: float | None = settings.fps
        self.num_frames: int | None = None
        self.min_frames, self.max_frames = settings.min_frames, settings.max_frames
        self.do_sample_frames = True
        self.cap_pixels_per_frame = False
        self.max_video_tokens = MAX_VIDEO_TOKENS

    @classmethod
    def from_folder(cls, folder: Path, vision: VisionConfig) -> VideoProcessor:
        """Read video_preprocessor_config.json."""
        settings, normalization = read_video_settings(folder, vision)
        return cls(vision, normalization, settings)

    def cut(self, videos: Any, options: Options) -> list[CutClip]:
        """Patches and times of each clip.

        Errors: InputError for a clip that cannot be used; ConfigError for an option that is not honoured.
        """
        options = dict(options)
        sampling = _Sampling.take(self, options)
        size = options.pop("size", None)
        bounds = self.bounds if size is None else check_size(size, self.bounds, "clips")
        do_resize = options.pop("do_resize", None)
        cap = options.pop("cap_pixels_per_frame", None)
        max_tokens = options.pop("max_video_tokens", None) or self.max_video_tokens
        metadata = options.pop("video_metadata", None)
        options.pop("return_metadata", None)
        self.take_fixed(options)
        refuse_rest(options, "the video processor")
        clips = list(as_clips(videos))
        found = zip(clips, as_metadata(metadata, len(clips)), sampling.rates(len(clips)), strict=True)
        made = []
        for clip, known, rate in found:
            frames_NCHW, known = self._look(clip, known, sampling, rate)
            if self.do_resize if do_resize is None else do_resize:
                is_capped = self.cap_pixels_per_frame if cap is None else cap
                frames_NCHW = self._resize(frames_NCHW, bounds, max_tokens if is_capped else None)
            values, grid = cut(frames_NCHW, self._vision, self._normalization)
            assert known.frames_indices is not None and known.fps is not None
            times = group_timestamps([index / known.fps for index in known.frames_indices], self.temporal_patch_size)
            made.append(CutClip(values, grid, times, known))
        return made

    def _look(
        self, clip: Any, known: VideoMetadata | None, sampling: _Sampling, rate: float | None
    ) -> tuple[Tensor, VideoMetadata]:
        """Decode and choose frames; the metadata come back complete."""
        if isinstance(clip, str | bytes | Path):
            return _decode(clip, sampling)
        if sampling.is_on and _is_names(clip):
            raise ConfigError("frames that are named one by one are sampled already; pass do_sample_frames=False")
        frames_NCHW = clip_pixels(clip)
        if known is None:
            known = VideoMetadata(len(frames_NCHW), rate)
        if known.fps is None:
            warnings.warn(
                f"a clip has no fps in its metadata and counts as one of {ASSUMED_FPS:g} frames per second, which "
                "decides the times that the model is told; pass video_metadata",
                stacklevel=5,
            )
            known = replace(known, fps=ASSUMED_FPS)
        indices = list(range(len(frames_NCHW))) if known.frames_indices is None else list(known.frames_indices)
        if sampling.is_on:
            indices = sampling.indices(known.total_num_frames, known.fps or ASSUMED_FPS)
            if max(indices) >= len(frames_NCHW):
                raise InputError(
                    f"a clip of {len(frames_NCHW)} frames has metadata of {known.total_num_frames:g}; pass "
                    "do_sample_frames=False for frames that are sampled already"
                )
            frames_NCHW = frames_NCHW[indices]
        if len(indices) != len(frames_NCHW):
            raise InputError(f"a clip has {len(frames_NCHW)} frames and metadata with {len(indices)} frames_indices")
        return frames_NCHW, replace(known, frames_indices=[int(index) for index in indices])

    def _resize(self, frames_NCHW: Tensor, bounds: tuple[int, int], max_tokens: int | None) -> Tensor:
        num_frames, _, height, width = frames_NCHW.shape
        if num_frames < self.temporal_patch_size:
            raise InputError(
                "a clip has one frame, and the model looks at two at a time; give it twice, or as a picture"
            )
        factor = self.patch_size * self.merge_size
        low, high = bounds
        if max_tokens is not None:
            per_frame = max(min(max_tokens * factor**2, high // num_frames), int(low * 1.05))
            high = per_frame * num_frames
        target = smart_resize_video(
            num_frames,
            height,
            width,
            factor=factor,
            temporal_factor=self.temporal_patch_size,
            min_pixels=low,
            max_pixels=high,
        )
        return resize_pixels(frames_NCHW, *target)


@dataclass(frozen=True)
class _Sampling:
    """Which frames are chosen. `fps` is a list where it says how fast given frames follow each other."""

    is_on: bool
    fps: float | Sequence[float] | None
    num_frames: int | None
    min_frames: int
    max_frames: int

    @classmethod
    def take(cls, processor: VideoProcessor, options: Options) -> _Sampling:
        """Take the options out. Errors: ConfigError for options that contradict each other."""
        is_on = options.pop("do_sample_frames", None)
        is_on = processor.do_sample_frames if is_on is None else bool(is_on)
        fps, num_frames = options.pop("fps", None), options.pop("num_frames", None)
        if fps is not None and num_frames is not None:
            raise ConfigError(f"fps is {fps} and num_frames is {num_frames}; give one of them")
        if isinstance(fps, list | tuple) and is_on:
            raise ConfigError(f"fps is {shown(fps)}, a list; that is for do_sample_frames=False, else give one number")
        if num_frames is None and fps is None:
            num_frames, fps = processor.num_frames, processor.fps if processor.num_frames is None else None
        min_frames = options.pop("min_frames", None) or processor.min_frames
        max_frames = options.pop("max_frames", None) or processor.max_frames
        return cls(is_on, fps, num_frames, min_frames, max_frames)

    def indices(self, total: float, source_fps: float) -> list[int]:
        """Evenly spread frame numbers. Source: transformers Qwen3VLVideoProcessor.sample_frames."""
        wished, num_frames = self.num_frames, int(total)
        if wished is None and isinstance(self.fps, int | float):
            wished = min(max(int(total / source_fps * self.fps), self.min_frames), self.max_frames, num_frames)
        if wished is None:
            wished = min(max(num_frames, self.min_frames), self.max_frames)
        if not 0 < wished <= DEFAULT_POLICY.max_video_frames:
            raise InputError(f"{wished} frames are asked for; the limit is {DEFAULT_POLICY.max_video_frames}")
        return [int(index) for index in np.linspace(0, num_frames - 1, wished).round().astype(int)]

    def rates(self, num_clips: int) -> list[float | None]:
        """For each clip the rate of its given frames, where it was said."""
        if not isinstance(self.fps, list | tuple):
            return [None] * num_clips
        if len(self.fps) != num_clips:
            raise InputError(f"fps has {len(self.fps)} numbers for {num_clips} clips; give one for each")
        return [float(rate) for rate in self.fps]


def _decode(source: str | bytes | Path, sampling: _Sampling) -> tuple[Tensor, VideoMetadata]:
    def choose(total: int, fps: float) -> list[int]:
        return sampling.indices(total, fps) if sampling.is_on else list(range(total))

    return decode_file(source, choose)


def decode_file(source: Any, choose: Any) -> tuple[Tensor, VideoMetadata]:
    """Decode the frames that `choose(total, fps)` names. Shapes: (N, C, H, W) uint8.

    Errors: InputError for a file that is missing, damaged or asked for too many frames.
    """
    name = source_name(source)
    path = local_path(source)
    with VideoFile(path if path is not None else read_bytes(source), name, policy=DEFAULT_POLICY) as file:
        for count_packets in (False, True):
            timeline = file.timeline(count_packets=count_packets)
            indices = choose(timeline.num_frames, timeline.fps)
            if len(indices) > DEFAULT_POLICY.max_video_frames:
                raise InputError(
                    f"{len(indices)} frames of {name} are asked for; the limit is {DEFAULT_POLICY.max_video_frames}"
                )
            try:
                frame_by_index = dict(file.decode(sorted(set(indices)), timeline))
                break
            except NotConstantError:
                continue
        else:
            raise InputError(f"{name} is damaged: its frames do not decode; save or download it again")
    frames = torch.from_numpy(np.stack([frame_by_index[index] for index in indices])).permute(0, 3, 1, 2)
    height, width = frames.shape[-2:]
    duration = timeline.num_frames / timeline.fps
    return frames, VideoMetadata(timeline.num_frames, timeline.fps, width, height, duration, "pyav", indices)


def as_clips(videos: Any, depth: int = 0) -> Iterator[Any]:
    """Each clip of one, a list, or a list for each prompt. Pictures in a list are the frames of one clip.

    Names in a list are clips of their own; only inside a list for each prompt, one level deeper, are they frames.
    """
    if _is_clip(videos) or (depth == 2 and _is_names(videos)):
        yield videos
    elif isinstance(videos, list | tuple) or getattr(videos, "ndim", 0) == 5:
        for video in videos:
            yield from as_clips(video, depth + 1)
    else:
        raise InputError(f"{shown(videos)} is no clip; give a path, a list of frames, or an array of them")


def _is_clip(video: Any) -> bool:
    if isinstance(video, str | bytes | Path) or getattr(video, "ndim", 0) == 4:
        return True
    is_list = isinstance(video, list | tuple) and len(video) > 0
    return is_list and all(hasattr(one, "convert") or getattr(one, "ndim", 0) in (2, 3) for one in video)


def _is_names(frames: Any) -> bool:
    return isinstance(frames, list | tuple) and len(frames) > 0 and all(isinstance(one, str) for one in frames)


def as_metadata(metadata: Any, num_clips: int) -> list[VideoMetadata | None]:
    """One entry for each clip from one, a list, or a list for each prompt.

    Errors: InputError if their number is not that of the clips.
    """
    if metadata is None:
        return [None] * num_clips
    rows = metadata if isinstance(metadata, list | tuple) else [metadata]
    if rows and isinstance(rows[0], list | tuple):
        rows = [one for row in rows for one in row]
    if len(rows) != num_clips:
        raise InputError(f"there are {len(rows)} video_metadata for {num_clips} clips; give one for each")
    names = [field.name for field in fields(VideoMetadata)]
    made: list[VideoMetadata | None] = []
    for row in rows:
        if row is None or isinstance(row, VideoMetadata):
            made.append(row)
            continue
        values = {name: row[name] for name in row} if isinstance(row, Mapping) else vars(row)
        if unknown := set(values) - set(names):
            raise InputError(f"video_metadata has the key {sorted(unknown)[0]!r}; the keys are {', '.join(names)}")
        made.append(VideoMetadata(**values))
    return made
