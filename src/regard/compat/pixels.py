"""Pixels as the reference's processors take them: files, PIL pictures, arrays and tensors, whole or already resized.

Two habits of the reference are kept, since pixels have to be equal:

- a file or URL is turned upright by its EXIF tag and its transparency is dropped, while a PIL picture is taken as it
  lies and its transparency is laid on white;
- a float picture stays float: it is resized without rounding, and a value above 255 is not cut off.

Shape letters: N frames, C = 3 channels, H height, W width, P patches, D values of a patch.
"""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np
import PIL.Image
import torch
from PIL import ImageOps
from torch import Tensor

from regard.compat.refusal import shown
from regard.errors import InputError
from regard.model.config import VisionConfig
from regard.processing.fetch import source_name
from regard.processing.image import open_image, patchify
from regard.processing.media_settings import Normalization


def picture_pixels(image: Any) -> Tensor:
    """One picture. Shapes: returns (C, H, W), uint8, or float32 for float arrays; arrays channels first or last.

    Errors: InputError for what is no picture.
    """
    if isinstance(image, str | os.PathLike | bytes):
        return pil_pixels(_upright_rgb(image))
    if isinstance(image, PIL.Image.Image):
        return pil_pixels(on_white(open_image(image)))
    if isinstance(image, np.ndarray | Tensor):
        return _array_pixels(image)
    raise InputError(f"{shown(image)} is no picture; give a path, a URL, a PIL picture, an array or a tensor")


def pil_pixels(picture: PIL.Image.Image) -> Tensor:
    """An RGB picture as (C, H, W) uint8."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    """RGB; transparency is laid on white."""
    if "A" not in picture.getbands() and picture.info.get("transparency") is None:
        return decoded(picture, "RGB")
    picture = decoded(picture, "RGBA")
    white = PIL.Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return PIL.Image.alpha_composite(white, picture).convert("RGB")


def decoded(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """Decode and convert. Errors: InputError for a picture that is damaged."""
    try:
        return picture.convert(mode)
    except Exception as error:  # Pillow's decoders raise whatever they trip over
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise InputError(f"a picture is damaged or cut short ({reason}); save or download it again") from None


def _upright_rgb(source: Any) -> PIL.Image.Image:
    picture = open_image(source)
    try:
        picture = ImageOps.exif_transpose(picture)
    except Exception as error:  # as in `decoded`
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise InputError(f"{source_name(source)} is damaged or cut short ({reason}); save it again") from None
    return decoded(picture, "RGB")


def _array_pixels(array: np.ndarray[Any, Any] | Tensor) -> Tensor:
    pixels = as_pixels(array)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3:
        raise InputError(f"a picture has the shape {tuple(pixels.shape)}; it must be (3, height, width)")
    if pixels.shape[0] not in (1, 3) and pixels.shape[-1] in (1, 3):
        pixels = pixels.permute(2, 0, 1)
    if pixels.shape[0] not in (1, 3):
        raise InputError(f"a picture has the shape {tuple(pixels.shape)}; give three channels, first or last")
    return pixels.expand(3, -1, -1)


def clip_pixels(frames: Any) -> Tensor:
    """The frames of one clip: a list of pictures, or an array of all. Shapes: returns (N, C, H, W).

    Errors: InputError for frames of different sizes, or no frame.
    """
    if isinstance(frames, np.ndarray | Tensor):
        pixels = as_pixels(frames)
        if pixels.ndim != 4 or len(pixels) == 0:
            raise InputError(f"a clip has the shape {tuple(pixels.shape)}; it must be (frames, 3, height, width)")
        if pixels.shape[1] != 3 and pixels.shape[-1] == 3:
            pixels = pixels.permute(0, 3, 1, 2)
        if pixels.shape[1] != 3:
            raise InputError(f"a clip has the shape {tuple(pixels.shape)}; give three channels, second or last")
        return pixels
    pictures = [picture_pixels(frame) for frame in frames]
    sizes = {tuple(picture.shape[1:]) for picture in pictures}
    if len(sizes) != 1:
        raise InputError(f"the frames of a clip have {len(sizes)} sizes; give one frame or more, all of one size")
    return torch.stack(pictures)


def as_pixels(array: Any) -> Tensor:
    """A tensor of uint8 or float32. Errors: InputError for other numbers."""
    if isinstance(array, np.ndarray):
        array = np.ascontiguousarray(array)
        pixels = torch.from_numpy(array if array.flags.writeable else array.copy())
    else:
        pixels = array.detach().cpu()
    if pixels.dtype == torch.uint8:
        return pixels
    if pixels.is_floating_point():
        return pixels.float()
    raise InputError(f"pixels have the type {pixels.dtype}; give uint8, or floats from 0 to 255")


def resize_pixels(frames_NCHW: Tensor, height: int, width: int) -> Tensor:
    """Resample bicubically with antialiasing; an unchanged size is not resampled. uint8 stays uint8."""
    if frames_NCHW.shape[-2:] == (height, width):
        return frames_NCHW
    return torch.nn.functional.interpolate(
        frames_NCHW, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )


def cut(frames_NCHW: Tensor, vision: VisionConfig, normalization: Normalization) -> tuple[Tensor, tuple[int, int, int]]:
    """Normalise and cut into patches. Shapes: returns (P, D) float32 and the grid (t, h, w) in patches.

    Errors: InputError if a side is no multiple of a merged patch.
    """
    height, width = frames_NCHW.shape[-2:]
    factor = vision.patch_size * vision.spatial_merge_size
    if height % factor or width % factor:
        raise InputError(
            f"do_resize is False and a picture is {width}x{height}; its sides must be multiples of {factor} pixels"
        )
    frames_NHWC = frames_NCHW.permute(0, 2, 3, 1).contiguous().numpy()
    # Patches are made by the same arithmetic from float frames: they are widened to float32 there.
    values, grid = patchify(cast(Any, frames_NHWC), vision=vision, mean=normalization.mean, std=normalization.std)
    return torch.from_numpy(values), grid


def check_size(size: Any, old: tuple[int, int], name: str) -> tuple[int, int]:
    """Area bounds in pixels from {"shortest_edge": least, "longest_edge": most}; a missing key keeps the old bound.

    Errors: InputError for other keys, or bounds that cross.
    """
    try:
        given = {key: value for key, value in dict(size).items() if value is not None}
    except (TypeError, ValueError):
        given = {"": size}
    unknown = set(given) - {"shortest_edge", "longest_edge", "min_pixels", "max_pixels"}
    least = given.get("shortest_edge", given.get("min_pixels", old[0]))
    most = given.get("longest_edge", given.get("max_pixels", old[1]))
    is_whole = all(isinstance(bound, int) and not isinstance(bound, bool) for bound in (least, most))
    if unknown or not is_whole or not 0 < least <= most:
        raise InputError(
            f"the size of the {name} is {shown(size)}; it must be {{'shortest_edge': least, 'longest_edge': most}}, "
            "whole numbers of pixels"
        )
    return least, most
