"""`process_vision_info`, as qwen-vl-utils 0.0.14: the pictures and clips of conversations, fetched and resized.

    images, videos = process_vision_info(messages, image_patch_size=16)
    images, videos, video_kwargs = process_vision_info(
        messages, image_patch_size=16, return_video_kwargs=True, return_video_metadata=True
    )
    processor(text=text, images=images, videos=..., video_metadata=..., do_resize=False, **video_kwargs)

Pictures come back as PIL pictures, clips as float tensors (N, C, H, W) from 0 to 255, or as (tensor, metadata) with
`return_video_metadata`; None where there are none. `video_kwargs` is {"do_sample_frames": False}, and without metadata
also the rate of each clip as "fps". Sizes are multiples of twice `image_patch_size`, whose default, 14, is that
library's and belongs to an older family: pass 16.

Options of a part: min_pixels and max_pixels (of a picture or frame), resized_height with resized_width, and for clips
fps or nframes, min_frames, max_frames, video_start, video_end, total_pixels, sample_fps and raw_fps (lists of frames).
Its arithmetic is kept to the pixel, its rounding of frames to even numbers too. Other keys, which it ignores, are
refused. Files are decoded by PyAV; downloads have limits of size and time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from regard.compat.pixels import decoded, pil_pixels
from regard.compat.refusal import shown
from regard.compat.video_processor import decode_file
from regard.errors import InputError
from regard.processing.image import check_aspect_ratio, open_image

MERGE_SIZE = 2
IMAGE_TOKENS = (4, 16384)
FRAME_TOKENS = (128, 768)
FRAME_FACTOR = 2
DEFAULT_FPS = 2.0
MIN_FRAMES, MAX_FRAMES = 4, 768
CONTEXT_TOKENS, CONTEXT_SHARE = 128000, 0.9

_SIZE_KEYS = {"type", "min_pixels", "max_pixels", "resized_height", "resized_width"}
_IMAGE_KEYS = _SIZE_KEYS | {"image", "image_url"}
_VIDEO_KEYS = _SIZE_KEYS | {
    *("video", "fps", "nframes", "min_frames", "max_frames", "video_start", "video_end"),
    *("total_pixels", "sample_fps", "raw_fps"),
}


def process_vision_info(
    conversations: Any,
    return_video_kwargs: bool = False,
    return_video_metadata: bool = False,
    image_patch_size: int = 14,
) -> tuple[Any, ...]:
    """Fetch and resize all pictures and clips of a conversation, or of a batch; see above for what comes back.

    Errors: InputError for a part that cannot be used.
    """
    images: list[PIL.Image.Image] = []
    videos: list[Any] = []
    rates: list[float] = []
    for part in vision_parts(conversations):
        if "image" in part or "image_url" in part:
            images.append(fetch_image(part, image_patch_size))
        elif "video" in part:
            frames_NCHW, metadata, rate = fetch_video(part, image_patch_size)
            videos.append((frames_NCHW, metadata) if return_video_metadata else frames_NCHW)
            rates.append(rate)
        else:
            raise InputError(f"a part is {shown(part)}; it must name an 'image', an 'image_url' or a 'video'")
    found = (images or None, videos or None)
    if not return_video_kwargs:
        return found
    return (*found, {"do_sample_frames": False} | ({} if return_video_metadata else {"fps": rates}))


def vision_parts(conversations: Any) -> Iterator[Mapping[str, Any]]:
    """The parts that are to be looked at, in order."""
    if conversations and isinstance(conversations[0], Mapping):
        conversations = [conversations]
    for conversation in conversations:
        for message in conversation:
            parts = message.get("content")
            for part in parts if isinstance(parts, list | tuple) else []:
                is_named = any(key in part for key in ("image", "image_url", "video"))
                if is_named or part.get("type", "text") in ("image", "image_url", "video"):
                    yield part


def fetch_image(part: Mapping[str, Any], image_patch_size: int = 14) -> PIL.Image.Image:
    """One picture: RGB, transparency on white, resized to multiples of a merged patch."""
    _refuse_unknown(part, _IMAGE_KEYS)
    source = part["image"] if "image" in part else part["image_url"]
    if isinstance(source, Mapping):
        source = source.get("url")
    return _resized_image(source, part, image_patch_size)


def _resized_image(source: Any, part: Mapping[str, Any], image_patch_size: int) -> PIL.Image.Image:
    picture = open_image(source)
    if picture.mode == "RGBA":
        white = PIL.Image.new("RGB", picture.size, (255, 255, 255))
        picture = decoded(picture, "RGBA")
        white.paste(picture, mask=picture.split()[3])
        picture = white
    else:
        picture = decoded(picture, "RGB")
    factor = image_patch_size * MERGE_SIZE
    low, high = (part.get(key, tokens * factor**2) for key, tokens in zip(_BOUNDS, IMAGE_TOKENS, strict=True))
    height, width = _target(part, picture.height, picture.width, factor, low, high)
    return picture.resize((width, height))


_BOUNDS = ("min_pixels", "max_pixels")


def fetch_video(part: Mapping[str, Any], image_patch_size: int = 14) -> tuple[Tensor, dict[str, Any], float]:
    """One clip, its metadata, and how many of its frames there are in a second. Shapes: (N, C, H, W) float32."""
    _refuse_unknown(part, _VIDEO_KEYS)
    factor = image_patch_size * MERGE_SIZE
    if isinstance(part["video"], list | tuple):
        frames_NCHW, metadata, rate = _from_frames(part, factor)
    else:
        frames_NCHW, metadata, rate = _from_file(part)
    num_frames, _, height, width = frames_NCHW.shape
    low = part.get("min_pixels", FRAME_TOKENS[0] * factor**2)
    context = int(float(os.environ.get("MODEL_SEQ_LEN", CONTEXT_TOKENS)))  # as in that library
    total = part.get("total_pixels", context * factor**2 * CONTEXT_SHARE)
    high = max(min(FRAME_TOKENS[1] * factor**2, total / num_frames * FRAME_FACTOR), int(low * 1.05))
    target = _target(part, height, width, factor, low, min(part.get("max_pixels", high), high))
    return _resized_frames(frames_NCHW, *target), metadata, rate


def _from_frames(part: Mapping[str, Any], factor: int) -> tuple[Tensor, dict[str, Any], float]:
    sources = list(part["video"])
    if not sources:
        raise InputError("the list of frames is empty; give at least one")
    # The factor stands where a patch size belongs, as in that library: frames first get sides of twice the factor.
    frames = [pil_pixels(_resized_image(source, part, factor)) for source in sources]
    frames += [frames[-1]] * (-len(frames) % FRAME_FACTOR)
    if len({frame.shape for frame in frames}) != 1:
        raise InputError("the frames of a clip have several sizes; give frames of one size")
    rate = float(part.get("sample_fps", DEFAULT_FPS))
    source_fps = float(part.get("raw_fps", rate))
    metadata = {
        "fps": source_fps,
        "frames_indices": list(range(len(frames))),
        "total_num_frames": len(frames) / rate * source_fps,
    }
    return torch.stack(frames), metadata, rate


def _from_file(part: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any], float]:
    num_in_range = 0

    def choose(total: int, fps: float) -> list[int]:
        nonlocal num_in_range
        first, last = _frame_range(part, total, fps)
        num_in_range = last - first + 1
        wished = _num_frames(part, num_in_range, fps)
        return [int(index) for index in torch.linspace(first, last, wished).round().long()]

    frames_NCHW, known = decode_file(part["video"], choose)
    assert known.fps is not None
    metadata = {
        "fps": known.fps,
        "frames_indices": known.frames_indices,
        "total_num_frames": num_in_range,
        "video_backend": known.video_backend,
    }
    return frames_NCHW, metadata, len(frames_NCHW) / max(num_in_range, 1e-6) * known.fps


def _frame_range(part: Mapping[str, Any], total: int, fps: float) -> tuple[int, int]:
    """First and last frame between `video_start` and `video_end` (seconds)."""
    duration_s = total / fps
    start, end = part.get("video_start"), part.get("video_end")
    first = 0 if start is None else math.ceil(max(0.0, min(start, duration_s)) * fps)
    last = total - 1 if end is None else min(math.floor(max(0.0, min(end, duration_s)) * fps), total - 1)
    if first >= last and (start is not None or end is not None):
        raise InputError(
            f"from {start if start is not None else 0} s to {end if end is not None else round(duration_s, 2)} s there "
            f"is less than two frames of a clip of {duration_s:.2f} s; widen the range"
        )
    return first, last


def _num_frames(part: Mapping[str, Any], total: int, fps: float) -> int:
    """How many frames are used: an even number."""
    if "fps" in part and "nframes" in part:
        raise InputError("a part has both fps and nframes; give one of them")
    if "nframes" in part:
        wished = round(part["nframes"] / FRAME_FACTOR) * FRAME_FACTOR
    else:
        low = math.ceil(part.get("min_frames", MIN_FRAMES) / FRAME_FACTOR) * FRAME_FACTOR
        high = math.floor(part.get("max_frames", min(MAX_FRAMES, total)) / FRAME_FACTOR) * FRAME_FACTOR
        wished = min(min(max(total / fps * part.get("fps", DEFAULT_FPS), low), high), total)
        wished = math.floor(wished / FRAME_FACTOR) * FRAME_FACTOR
    if not FRAME_FACTOR <= wished <= total:
        raise InputError(
            f"{wished} frames are asked for of a clip that has {total}; give from {FRAME_FACTOR} to {total}"
        )
    return int(wished)


def _target(part: Mapping[str, Any], height: int, width: int, factor: int, low: float, high: float) -> tuple[int, int]:
    """Height and width in pixels."""
    if "resized_height" in part and "resized_width" in part:
        low, high = (tokens * factor**2 for tokens in IMAGE_TOKENS)
        return _smart_resize(part["resized_height"], part["resized_width"], factor, low, high)
    if "resized_height" in part or "resized_width" in part:
        raise InputError("a part has one of resized_height and resized_width; give both")
    return _smart_resize(height, width, factor, low, high)


def _smart_resize(height: int, width: int, factor: int, low: float, high: float) -> tuple[int, int]:
    """As `processing.image.smart_resize`, but a side is raised to `factor` before the area is compared, not after."""
    if high < low:
        raise InputError(f"min_pixels {low:g} is above max_pixels {high:g}; lower one or raise the other")
    check_aspect_ratio(height, width)
    new_height = max(factor, round(height / factor) * factor)
    new_width = max(factor, round(width / factor) * factor)
    if new_height * new_width > high:
        shrink = math.sqrt(height * width / high)
        new_height = math.floor(height / shrink / factor) * factor
        new_width = math.floor(width / shrink / factor) * factor
    elif new_height * new_width < low:
        grow = math.sqrt(low / (height * width))
        new_height = math.ceil(height * grow / factor) * factor
        new_width = math.ceil(width * grow / factor) * factor
    if not new_height or not new_width:
        raise InputError(f"{width}x{height} pixels within {high:g} leave a side of 0; raise max_pixels")
    return new_height, new_width


def _resized_frames(frames_NCHW: Tensor, height: int, width: int) -> Tensor:
    """Bicubic with antialiasing in float32, then cut to 0..255 and rounded: torchvision's older functional resize."""
    if frames_NCHW.shape[-2:] == (height, width):
        return frames_NCHW.float()
    resized = torch.nn.functional.interpolate(
        frames_NCHW.float(), size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(0, 255).round()


def _refuse_unknown(part: Mapping[str, Any], known: set[str]) -> None:
    for key in part:
        if key not in known:
            raise InputError(
                f"a part has the key {key!r}, which is not honoured; the keys are {', '.join(sorted(known))}"
            )
