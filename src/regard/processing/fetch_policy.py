"""What may be fetched, and how much of it may be decoded: one frozen value, handed down to whoever reads media.

    DEFAULT_POLICY                                       a person on their own machine: any local file
    STRICT_POLICY                                        strangers ask: no local file, smaller sizes
    replace(STRICT_POLICY, local_folders=(folder,))      ... and the files of one folder

Addresses that are not on the public internet are fetched only with `allow_private`, whoever asks.

It holds values only; each reader enforces its own lines, before it decodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regard.errors import ConfigError

MediaKind = Literal["image", "video", "document"]

MIB = 1024 * 1024
_SCHEMES = frozenset({"http", "https"})


@dataclass(frozen=True)
class FetchPolicy:
    """Bounds on media.

    schemes             of the addresses that are fetched; empty: nothing comes over the network
    allow_private       fetch from loopback, private, link-local and other addresses inside the house
    local_folders       whose files may be named, links followed first; None: any file. Strangers must not be able
                        to write into them: a file is checked before it is opened
    max_*_bytes         of what is read whole into memory (local clips and PDFs are read piecewise)
    timeout_s           of one download, from the name look-up to the last byte, redirects included
    max_image_pixels    of one decoded picture, frame or page, by its header
    max_resized_pixels  of one picture as the model gets it, or of all frames of a clip
    max_video_frames    used of one clip
    max_video_s         how long a clip may be, of which a stretch or a few frames are used
    Errors: ConfigError for a scheme that cannot be fetched.
    """

    schemes: frozenset[str] = _SCHEMES
    allow_private: bool = False
    local_folders: tuple[Path, ...] | None = None
    max_image_bytes: int = 512 * MIB
    max_video_bytes: int = 512 * MIB
    max_document_bytes: int = 512 * MIB
    timeout_s: float = 30.0
    max_redirects: int = 5
    max_image_pixels: int = 128 * MIB
    max_resized_pixels: int = 512 * MIB
    max_video_frames: int = 4096
    max_video_s: float = math.inf

    def __post_init__(self) -> None:
        if unknown := sorted(self.schemes - _SCHEMES):
            raise ConfigError(f"the scheme {unknown[0]!r} cannot be fetched; choose from http and https")

    def max_bytes(self, kind: MediaKind) -> int:
        """How many bytes of one kind of media are read."""
        limits = {"image": self.max_image_bytes, "video": self.max_video_bytes, "document": self.max_document_bytes}
        return limits[kind]


DEFAULT_POLICY = FetchPolicy()

STRICT_POLICY = FetchPolicy(
    local_folders=(),
    max_image_bytes=32 * MIB,
    max_video_bytes=256 * MIB,
    max_document_bytes=64 * MIB,
    timeout_s=20.0,
    max_redirects=3,
    max_image_pixels=64 * MIB,
    max_resized_pixels=64 * MIB,
    max_video_frames=1024,
    max_video_s=4 * 3600.0,
)
