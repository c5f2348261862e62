"""How much of a stranger's file this process is willing to touch.

One frozen value, handed down to everything that reads media. The defaults suit a person on their own
machine: local files are allowed, private network addresses are not. A server builds its own value.

It holds numbers only; each reader enforces its own lines, before it decodes.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class MediaLimits:
    """Bounds on media.

    `max_bytes` holds for anything read whole into memory (all but local videos and PDFs, which are read
    piecewise); `max_image_pixels` for one decoded picture, video frame or rendered page, checked from the
    header; `timeout_s` for one download from the first packet to the last byte, redirects included.
    """

    max_bytes: int = 512 * MIB
    max_image_pixels: int = 128 * MIB
    max_video_frames: int = 4096
    timeout_s: float = 30.0
    max_redirects: int = 5
    allow_private_addresses: bool = False
    allow_local_files: bool = True


DEFAULT_LIMITS = MediaLimits()
