"""The sizes and normalisation that a checkpoint's preprocessor files ask for.

preprocessor_config.json holds the bounds of a picture's area in pixels, video_preprocessor_config.json those of
a clip's T*H*W before temporal merging. Two spellings are found: `size.shortest_edge`/`size.longest_edge`, and
`min_pixels`/`max_pixels`, which win when both are there. A folder without the files gets the family's
published numbers.

An option that would change pixels in a way this package does not do is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.errors import CheckpointError
from regard.model.config import VisionConfig
from regard.processing.frames import VideoSettings
from regard.processing.image import ResizeBackend
from regard.processing.side_files import read_json_object

OFFICIAL_IMAGE_PIXELS = (65536, 16777216)
OFFICIAL_VIDEO_PIXELS = (4096, 25165824)
_BICUBIC = 3


@dataclass(frozen=True)
class Normalization:
    """(value / 255 - mean) / std, one number for each colour."""

    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ImageSettings:
    """Bounds of a picture's resized area in pixels, and its normalisation."""

    min_pixels: int = OFFICIAL_IMAGE_PIXELS[0]
    max_pixels: int = OFFICIAL_IMAGE_PIXELS[1]
    normalization: Normalization = Normalization()


def read_image_settings(folder: Path, vision: VisionConfig) -> ImageSettings:
    """Read preprocessor_config.json. Errors: CheckpointError for a value that is wrong or not supported."""
    path = folder / "preprocessor_config.json"
    config = read_json_object(path)
    _refuse_unsupported(config, vision, path)
    low, high = _pixel_bounds(config, OFFICIAL_IMAGE_PIXELS, path)
    return ImageSettings(low, high, _normalization(config, path))


def read_video_settings(
    folder: Path, vision: VisionConfig, resize_backend: ResizeBackend = "torch"
) -> tuple[VideoSettings, Normalization]:
    """Read video_preprocessor_config.json. Errors: CheckpointError for a value that is wrong or not supported."""
    path = folder / "video_preprocessor_config.json"
    config = read_json_object(path)
    _refuse_unsupported(config, vision, path)
    low, high = _pixel_bounds(config, OFFICIAL_VIDEO_PIXELS, path)
    sampling = {key: config[key] for key in ("fps", "min_frames", "max_frames") if config.get(key) is not None}
    for key, value in sampling.items():
        if not isinstance(value, int | float) or value <= 0:
            raise CheckpointError(f"{path}: {key} is {value!r}; it must be a number above 0")
    settings = VideoSettings(
        min_total_pixels=low,
        max_total_pixels=high,
        factor=vision.patch_size * vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        resize_backend=resize_backend,
        **sampling,
    )
    return settings, _normalization(config, path)


def _refuse_unsupported(config: Mapping[str, Any], vision: VisionConfig, path: Path) -> None:
    supported = {
        "patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "merge_size": vision.spatial_merge_size,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_sample_frames": True,
        "resample": _BICUBIC,
    }
    for key, expected in supported.items():
        if config.get(key) is not None and config[key] != expected:
            raise CheckpointError(f"{path}: {key} is {config[key]!r}; only {expected!r} is supported with this model")
    scale = config.get("rescale_factor")
    if scale is not None and abs(scale * 255 - 1) > 1e-6:
        raise CheckpointError(f"{path}: rescale_factor is {scale!r}; only 1/255 is supported")


def _pixel_bounds(config: Mapping[str, Any], official: tuple[int, int], path: Path) -> tuple[int, int]:
    size = config.get("size")
    size = size if isinstance(size, Mapping) else {}
    bounds = []
    for own_key, size_key, default in zip(
        ("min_pixels", "max_pixels"), ("shortest_edge", "longest_edge"), official, strict=True
    ):
        candidates = (config.get(own_key), size.get(own_key), size.get(size_key))
        value = next((found for found in candidates if found is not None), default)
        if not isinstance(value, int) or value < 1:
            raise CheckpointError(f"{path}: {own_key} is {value!r}; it must be a whole number of pixels")
        bounds.append(value)
    if bounds[0] > bounds[1]:
        raise CheckpointError(f"{path}: the smallest area {bounds[0]} is above the largest {bounds[1]}; swap them")
    return bounds[0], bounds[1]


def _normalization(config: Mapping[str, Any], path: Path) -> Normalization:
    made = {}
    for key, name in (("image_mean", "mean"), ("image_std", "std")):
        values = config.get(key, [0.5, 0.5, 0.5])
        is_good = isinstance(values, list) and len(values) == 3 and all(isinstance(v, int | float) for v in values)
        if not is_good or (name == "std" and 0 in values):
            raise CheckpointError(f"{path}: {key} is {values!r}; it must be three numbers, one for each colour")
        made[name] = tuple(float(v) for v in values)
    return Normalization(**made)
