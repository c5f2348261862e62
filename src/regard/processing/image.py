"""One picture: from bytes to RGB, to the size the model wants, to patches.

    picture = load_image("shot.png")                                    # RGB, upright, alpha on white
    height, width = smart_resize(picture.height, picture.width, min_pixels=65536, max_pixels=16777216)
    pixel_values, grid_thw = patchify(resize(picture, height, width)[None], vision=..., mean=..., std=...)

The header is read and the size checked before a pixel is decoded. Resizing is bicubic with antialiasing on
8-bit values: torch's `interpolate` by default, bit for bit what the reference's torchvision path computes;
Pillow's kernel on request, up to 2 levels of 255 apart. `patchify` and the normalisation are numpy.

It does not apply colour profiles, does not play animations (the first frame of a GIF is the picture) and
does not read HEIF, AVIF or SVG.
"""

from __future__ import annotations

import io
import math
import numbers
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from regard.errors import InputError
from regard.inputs import normalise
from regard.model.config import VisionConfig
from regard.processing.download import NETWORK, Network
from regard.processing.fetch import describe_bytes, read_bytes, source_name
from regard.processing.fetch_policy import DEFAULT_POLICY, FetchPolicy

ResizeBackend = Literal["torch", "pillow"]
Pixels = npt.NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_ASPECT_RATIO = 200
MAX_PIXELS = 10**12  # of any bound that is given


def load_image(source: Any, *, policy: FetchPolicy = DEFAULT_POLICY, network: Network = NETWORK) -> Image.Image:
    """Load any image source as RGB: turned upright by its EXIF tag, transparency laid on white.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8.
    Errors: InputError for a source that is missing, damaged, too large or no image.
    """
    name = source_name(source)
    image = open_image(source, policy=policy, network=network)
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
        return _to_rgb(image, name)
    except InputError:
        raise
    except MemoryError:
        size = f"{image.width}x{image.height}"
        raise InputError(f"{name} is {size}, too large for this machine's memory; make it smaller") from None
    except Exception as error:
        # Pillow's decoders raise whatever they trip over: OSError, SyntaxError, struct.error, zlib.error, EOFError.
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise InputError(f"{name} is damaged or cut short ({reason}); save or download it again") from None


def open_image(source: Any, *, policy: FetchPolicy = DEFAULT_POLICY, network: Network = NETWORK) -> Image.Image:
    """Open an image source as it is stored: its size is checked, nothing is decoded or converted yet.

    Errors: InputError for a source that is missing, too large or no image.
    """
    name = source_name(source)
    if isinstance(source, np.ndarray):
        image = _from_array(source)
    elif isinstance(source, Image.Image):
        image = source
    else:
        image = _open(read_bytes(source, policy=policy, network=network), name)
    _check_size(image, name, policy)
    return image


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.size == 0:
        raise InputError(f"the array has shape {array.shape} and type {array.dtype}; give (height, width, 3) uint8")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        raise InputError(f"the array has {array.shape[2]} channels; give (height, width, 3) uint8, channels last")
    return Image.fromarray(np.ascontiguousarray(array))


def _open(data: bytes, name: str) -> Image.Image:
    """Read the header only.

    The formats are tried one by one instead of through `Image.open`, whose own size check is a
    process-wide setting: ours is per call and has our wording.
    """
    Image.preinit()
    Image.init()
    for format_name in FORMATS:
        factory, accept = Image.OPEN[format_name]
        if accept is not None and not accept(data[:16]):
            continue
        try:
            return factory(io.BytesIO(data), "")
        except Exception as error:  # as in load_image: header parsers raise anything
            reason = str(error).strip().rstrip(".") or type(error).__name__
            raise InputError(f"{name} has a damaged {format_name} header ({reason}); save it again") from None
    raise InputError(f"{name} is {describe_bytes(data)}, not a picture; give PNG, JPEG, WebP, GIF, BMP or TIFF")


def _check_size(image: Image.Image, name: str, policy: FetchPolicy) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError(f"{name} is {width}x{height} pixels; a picture has at least one")
    if width * height > policy.max_image_pixels:
        raise InputError(
            f"{name} is {width}x{height} = {width * height / 1e6:.1f} Mpx, "
            f"the limit is {policy.max_image_pixels / 1e6:.1f} Mpx; make it smaller"
        )


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        image = _from_16_bit(image, name)
    elif image.mode == "F":
        raise InputError(f"{name} has float pixels without a known range; convert it to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image, name: str) -> Image.Image:
    """Keep the high byte, as Pillow itself does for 16-bit colour; a transparent level becomes white."""
    levels = np.array(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 0xFFFF:
        raise InputError(f"{name} has 32-bit pixels without a known range; convert it to 8 or 16 bits")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        levels[levels == transparent] = 0xFFFF
    return Image.fromarray((levels >> 8).astype(np.uint8))


def pixel_bounds(
    min_pixels: int | None, max_pixels: int | None, *, default_min: int, default_max: int
) -> tuple[int, int]:
    """Combine what a user asked for with the checkpoint's bounds: a default gives way to a request.

    Errors: InputError when a bound is not positive or both are given and cross.
    """
    check_pixels("min_pixels", min_pixels)
    check_pixels("max_pixels", max_pixels)
    if min_pixels is not None and max_pixels is not None and min_pixels > max_pixels:
        raise InputError(f"min_pixels {min_pixels} is above max_pixels {max_pixels}; lower one or raise the other")
    if min_pixels is None:
        min_pixels = min(default_min, max_pixels) if max_pixels is not None else default_min
    if max_pixels is None:
        max_pixels = max(default_max, min_pixels)
    return min_pixels, max_pixels


def check_pixels(name: str, value: float | None) -> None:
    """Refuse an area that is no number, below one pixel, or so large that arithmetic with it fails."""
    if value is not None and not (isinstance(value, numbers.Real) and 1 <= value <= MAX_PIXELS):
        raise InputError(f"{name} is {str(value)[:40]}; it must be at least 1 and at most {MAX_PIXELS}")


def check_resized(num_pixels: int, name: str, policy: FetchPolicy) -> None:
    """Refuse what would fill the memory once it is resized."""
    if num_pixels > policy.max_resized_pixels:
        raise InputError(
            f"{name} would have {num_pixels / 1e6:.1f} Mpx after resizing, "
            f"the limit is {policy.max_resized_pixels / 1e6:.1f} Mpx; lower min_pixels, max_pixels or num_frames"
        )


def check_aspect_ratio(height: int, width: int, name: str = "the picture") -> None:
    """Refuse what the model was never trained on: a picture more than 200 times longer than wide."""
    if max(height, width) / min(height, width) > MAX_ASPECT_RATIO:
        ratio = max(height, width) / min(height, width)
        raise InputError(
            f"{name} is {width}x{height}, an aspect ratio of {ratio:.4g}; "
            f"the limit is {MAX_ASPECT_RATIO}, so cut it into pieces"
        )


def smart_resize(height: int, width: int, *, factor: int = 32, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Choose the size in pixels, (height, width), both multiples of `factor`, area inside the bounds.

    The rounding is the reference's: to the nearest multiple with halves to even; down to the floor when
    the area is too large, up to the ceiling when it is too small.
    Errors: InputError when the aspect ratio is above 200.
    Source: transformers Qwen2VLImageProcessor (tests/parity/test_pixels.py).
    """
    check_aspect_ratio(height, width)
    new_height, new_width = round(height / factor) * factor, round(width / factor) * factor
    if new_height * new_width > max_pixels:
        shrink = math.sqrt((height * width) / max_pixels)
        new_height = max(factor, math.floor(height / shrink / factor) * factor)
        new_width = max(factor, math.floor(width / shrink / factor) * factor)
    elif new_height * new_width < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        new_height = math.ceil(height * grow / factor) * factor
        new_width = math.ceil(width * grow / factor) * factor
    return new_height, new_width


def resize(image: Image.Image | Pixels, height: int, width: int, *, backend: ResizeBackend = "torch") -> Pixels:
    """Resample an RGB picture to (height, width, 3) uint8; an unchanged size is not resampled."""
    pixels = np.asarray(image, dtype=np.uint8)
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    if backend == "pillow":
        picture = image if isinstance(image, Image.Image) else Image.fromarray(pixels)
        return np.array(picture.resize((width, height), Image.Resampling.BICUBIC))
    import torch

    channels_first = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]
    resized = torch.nn.functional.interpolate(
        channels_first, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return np.ascontiguousarray(resized[0].numpy().transpose(1, 2, 0))


def patchify(
    frames: Pixels, *, vision: VisionConfig, mean: Sequence[float], std: Sequence[float]
) -> tuple[npt.NDArray[np.float32], tuple[int, int, int]]:
    """Cut frames into normalised patches: `cut`, then `inputs.normalise`. Shapes: (P, C) float32, and (t, h, w).

    Source: transformers Qwen2VLImageProcessor and Qwen3VLVideoProcessor (tests/parity/test_pixels.py).
    """
    patches, grid = cut(frames, vision=vision)
    return normalise(patches, mean, std), grid


def cut(frames: Pixels, *, vision: VisionConfig) -> tuple[Pixels, tuple[int, int, int]]:
    """Cut frames into patches.

    Shapes: frames (n, H, W, 3), H and W multiples of patch_size * spatial_merge_size; returns (P, C) uint8 with
    C = (channel, temporal slot, patch row, patch column) flattened and P = t * h * w, and (t, h, w).
    Order: time, then blocks of merge x merge patches row by row, then the patches inside a block, so that
    rows 0..3 form the first merged token: (h, w) = (0,0), (0,1), (1,0), (1,1), then (0,2), (0,3), ...
    A missing last frame is the last one repeated: a picture fills both temporal slots.
    """
    patch, merge, slots = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
    n, height, width, channels = frames.shape
    if missing := -n % slots:
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    grid = (len(frames) // slots, height // patch, width // patch)
    blocks = frames.reshape(grid[0], slots, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch, channels)
    # (t, slot, H block, h, row, W block, w, column, channel) -> (t, H block, W block, h, w, channel, slot, row, column)
    ordered = blocks.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
    return ordered.reshape(math.prod(grid), vision.patch_dim), grid
