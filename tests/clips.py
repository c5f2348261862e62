"""Clips whose frames say which they are: the number of a frame is painted as 12 black or white bars.

`write_clip(path, times)` encodes one frame per time; `read_number(frame)` reads it back from any resized
frame. So a test can prove that the frames used are the right ones, whatever the container did.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

BARS = 12
WIDTH, HEIGHT = BARS * 16, 64
CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".avi": "mpeg4", ".webm": "libvpx-vp9"}


def paint_number(number: int) -> npt.NDArray[np.uint8]:
    """A frame (64, 192, 3) that shows `number`, lowest bit on the left."""
    bits = np.array([255 * (number >> bit & 1) for bit in range(BARS)], np.uint8)
    return np.ascontiguousarray(np.broadcast_to(bits.repeat(16)[None, :, None], (HEIGHT, WIDTH, 3)))


def read_number(frame: npt.NDArray[np.uint8]) -> int:
    """The number that a frame of any size shows."""
    height, width = frame.shape[:2]
    bars = frame[height // 4 : -height // 4].mean(axis=(0, 2)).reshape(-1)
    centres = ((np.arange(BARS) + 0.5) * width / BARS).astype(int)
    return sum(1 << bit for bit in range(BARS) if bars[centres[bit]] > 127)


def write_clip(
    path: Path,
    times_s: Sequence[float],
    *,
    fps: Fraction = Fraction(25),
    codec: str | None = None,
    num_b_frames: int = 3,
    key_every: int = 12,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode one numbered frame per time. `fps` is what the header may say; the times decide."""
    import av

    ticks_per_s = fps.numerator * 1000
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec or CODECS[path.suffix], rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = key_every
        stream.codec_context.max_b_frames = num_b_frames
        at_constant_rate = path.suffix == ".avi"
        stream.codec_context.time_base = 1 / fps if at_constant_rate else Fraction(1, ticks_per_s)
        if stream.codec_context.name == "libx264":
            stream.codec_context.options = {"preset": "veryfast"}
        elif stream.codec_context.name == "libvpx-vp9":
            stream.codec_context.options = {"deadline": "realtime", "cpu-used": "8"}
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(paint_number(number), format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = number if at_constant_rate else round(time_s * ticks_per_s)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def constant_times(count: int, fps: Fraction = Fraction(25)) -> list[float]:
    """`count` times at a constant rate."""
    return [float(number / fps) for number in range(count)]
