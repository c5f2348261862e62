"""What the model sees of each picture, page and clip: resized, cut into patches, reported.

    reader = MediaReader.from_folder(folder, config.vision)
    for seen in reader.read(Image("shot.png")):
        seen.patches, seen.grid_thw, seen.report

A document gives one item for each page, one at a time, so that only one decoded page is in memory. The content
hash covers the resized 8-bit pixels and the grid: equal hashes mean equal features.

Fetching and resizing happen here, decoding in `decode`, or wherever the `Decode` that is handed in does it.

It does not write placeholders or tokens (`processor`), and it keeps nothing between calls.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from regard.errors import ConfigError
from regard.messages import Document, Image, Video
from regard.model.config import VisionConfig
from regard.processing.decode import Decode, Decoded, Picture, decode
from regard.processing.download import NETWORK, Network
from regard.processing.fetch import fetch, source_name
from regard.processing.fetch_policy import DEFAULT_POLICY, FetchPolicy
from regard.processing.frames import VideoSettings
from regard.processing.image import (
    Pixels,
    ResizeBackend,
    check_aspect_ratio,
    check_resized,
    cut,
    pixel_bounds,
    resize,
    smart_resize,
)
from regard.processing.media_settings import ImageSettings, Normalization, read_image_settings, read_video_settings
from regard.processing.video import load_video
from regard.reply import MediaReport


@dataclass(frozen=True)
class SeenMedia:
    """One picture, page or clip. Shapes: patches (P, C) uint8 with P = t * h * w of `grid_thw`."""

    patches: Pixels
    normalization: Normalization
    grid_thw: tuple[int, int, int]
    content_hash: str
    report: MediaReport

    @property
    def is_video(self) -> bool:
        """Whether it stands for a clip, with timestamps between its groups."""
        return self.report.kind == "video"


class MediaReader:
    """Reads media as one checkpoint wants them."""

    def __init__(
        self,
        vision: VisionConfig,
        image_settings: ImageSettings,
        video_settings: VideoSettings,
        video_normalization: Normalization,
        policy: FetchPolicy = DEFAULT_POLICY,
        decode: Decode = decode,
        network: Network = NETWORK,
    ) -> None:
        self._vision = vision
        self._image_settings = image_settings
        self._video_settings = video_settings
        self._video_normalization = video_normalization
        self._policy = policy
        self._decode = decode
        self._network = network

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        vision: VisionConfig,
        *,
        resize_backend: ResizeBackend = "torch",
        policy: FetchPolicy = DEFAULT_POLICY,
        decode: Decode = decode,
    ) -> MediaReader:
        """Read a model folder's preprocessor files. Errors: CheckpointError for a value that is not supported."""
        if resize_backend not in ("torch", "pillow"):
            raise ConfigError(f"resize_backend is {resize_backend!r}; it must be 'torch' or 'pillow'")
        video_settings, video_normalization = read_video_settings(folder, vision, resize_backend)
        image_settings = read_image_settings(folder, vision)
        return cls(vision, image_settings, video_settings, video_normalization, policy, decode)

    def read(self, part: Image | Video | Document) -> Generator[SeenMedia]:
        """One item for a picture or clip, one for each page of a document.

        Errors: InputError for media that cannot be used; MissingDependencyError for an optional package.
        """
        if isinstance(part, Video):
            yield self._read_video(part)
            return
        name = source_name(part.source)
        bounds = self._bounds(part)
        with closing(self.decoded(part)) as values:
            for value in values:
                if isinstance(value, Picture):
                    page = value.number if isinstance(part, Document) else None
                    yield self._read_picture(value.pixels, name, bounds, page)

    def decoded(self, part: Image | Video | Document) -> Generator[Decoded]:
        """What a part shows, in its own size: fetched and decoded as for the model. Errors: as `read`."""
        fetched = fetch(part, policy=self._policy, network=self._network)
        return self._decode(fetched, settings=self._video_settings, policy=self._policy)

    def _bounds(self, part: Image | Document) -> tuple[int, int]:
        settings = self._image_settings
        return pixel_bounds(
            part.min_pixels, part.max_pixels, default_min=settings.min_pixels, default_max=settings.max_pixels
        )

    def _read_picture(self, picture: Pixels, name: str, bounds: tuple[int, int], page: int | None) -> SeenMedia:
        (low, high), vision = bounds, self._vision
        factor = vision.patch_size * vision.spatial_merge_size
        own_height, own_width = picture.shape[:2]
        check_aspect_ratio(own_height, own_width, name)
        height, width = smart_resize(own_height, own_width, factor=factor, min_pixels=low, max_pixels=high)
        check_resized(height * width, name, self._policy)
        pixels = resize(picture, height, width, backend=self._video_settings.resize_backend)
        return self._cut(
            pixels[None],
            MediaReport(
                kind="image" if page is None else "page",
                name=name,
                width=own_width,
                height=own_height,
                resized_width=width,
                resized_height=height,
                num_visual_tokens=height * width // factor**2,
                page=page,
            ),
        )

    def _read_video(self, video: Video) -> SeenMedia:
        sampled = load_video(
            video, settings=self._video_settings, policy=self._policy, network=self._network, decode=self._decode
        )
        _, height, width, _ = sampled.frames.shape
        num_patches = len(sampled.timestamps_s) * height * width // self._vision.patch_size**2
        return self._cut(
            sampled.frames,
            MediaReport(
                kind="video",
                name=sampled.name,
                width=sampled.width,
                height=sampled.height,
                resized_width=width,
                resized_height=height,
                num_visual_tokens=num_patches // self._vision.spatial_merge_size**2,
                num_frames=len(sampled.frames),
                frame_times_s=sampled.frame_times_s,
                timestamps_s=sampled.timestamps_s,
                duration_s=sampled.duration_s,
                decode_s=sampled.decode_s,
            ),
        )

    def _cut(self, frames: Pixels, report: MediaReport) -> SeenMedia:
        is_video = report.kind == "video"
        normalization = self._video_normalization if is_video else self._image_settings.normalization
        patches, grid = cut(frames, vision=self._vision)
        digest = blake2b(repr((is_video, grid)).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(frames).data)
        return SeenMedia(patches, normalization, grid, digest.hexdigest(), report)
